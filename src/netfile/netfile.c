/* SPDX-License-Identifier: Apache-2.0 */
/* The network file as a whole: what stands at its top level, and the model that it says. */
#include "netfile/file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* PyTorch's, but for SGD, which has none there. */
static const struct {
    bp_optimiser optimiser;
    double learning_rate, epsilon;
} optimiser_defaults[] = {{BP_SGD, 0.1, 1e-8},
                          {BP_ADAM, 0.001, 1e-8},
                          {BP_ADAMW, 0.001, 1e-8},
                          {BP_RMSPROP, 0.01, 1e-8},
                          {BP_ADAGRAD, 0.01, 1e-10}};

/* --- names of items ------------------------------------------------------------------------- */

/* A name within its scope, the nearest named item around it. */
typedef struct named_item {
    uint32_t scope, item;
    const char *name;
} named_item;

static int compare_names(const void *left, const void *right) {
    const named_item *a = left, *b = right;
    if (a->scope != b->scope) return a->scope < b->scope ? -1 : 1;
    const int order = strcmp(a->name, b->name);
    return order ? order : (a->item < b->item ? -1 : 1);
}

static size_t collect_names(const bp_items *items, uint32_t first, uint32_t scope,
                            named_item *names, size_t n) {
    for (uint32_t id = first; id != BP_NO_NODE; id = items->list[id].next) {
        const bp_item *item = &items->list[id];
        if (item->name) names[n++] = (named_item){scope, id, item->name};
        n = collect_names(items, item->first, item->name ? id : scope, names, n);
    }
    return n;
}

static bp_status check_names(const bp_netfile *netfile, bp_error *error) {
    const bp_items *items = &netfile->items;
    named_item *names = bp_allocate(&netfile->allocator, items->n, sizeof *names);
    if (!names) return bp_fail(error, BP_ERROR_MEMORY, "no memory for the names of the layers");
    const size_t n = collect_names(items, netfile->first_item, BP_NO_NODE, names, 0);
    qsort(names, n, sizeof *names, compare_names);
    bp_status status = BP_OK;
    for (size_t i = 1; i < n && status == BP_OK; i++) {
        if (names[i].scope != names[i - 1].scope || strcmp(names[i].name, names[i - 1].name) != 0)
            continue;
        const bp_item *first = &items->list[names[i - 1].item],
                      *second = &items->list[names[i].item];
        status = bp_fail_at(error, second->line, second->column,
                            "the name '%s' is already that of the item at line %d, column %d",
                            second->name, first->line, first->column);
    }
    bp_release(&netfile->allocator, names, items->n, sizeof *names);
    return status;
}

/* --- sections ------------------------------------------------------------------------------- */

/* --- train: a setting of another optimiser or schedule would be ignored in silence -------------
 */

#define BIT(number) (1u << (unsigned)(number))

/* Who has a setting: bits by number of optimiser or schedule. */
typedef struct owned_key {
    const char *key;
    unsigned owners;
} owned_key;

static const owned_key of_optimisers[] = {
    {"momentum", BIT(BP_SGD) | BIT(BP_RMSPROP)},
    {"nesterov", BIT(BP_SGD)},
    {"beta1", BIT(BP_ADAM) | BIT(BP_ADAMW)},
    {"beta2", BIT(BP_ADAM) | BIT(BP_ADAMW)},
    {"alpha", BIT(BP_RMSPROP)},
    {"epsilon", BIT(BP_ADAM) | BIT(BP_ADAMW) | BIT(BP_RMSPROP) | BIT(BP_ADAGRAD)},
    {"weight_decay", BIT(BP_ADAMW)},
    {NULL, 0}};
static const owned_key of_schedules[] = {{"step_epochs", BIT(BP_SCHEDULE_STEP)},
                                         {"step_factor", BIT(BP_SCHEDULE_STEP)},
                                         {"final_learning_rate", BIT(BP_SCHEDULE_COSINE)},
                                         {NULL, 0}};

static const bp_node *train_value(const bp_node *values[BP_MAX_KEYS], const char *key) {
    return values[bp_schema_find(&bp_schema_train, key)];
}

/* "the optimisers sgd and rmsprop" */
void bp_add_owners(bp_text *text, const char *what, const bp_word *words, unsigned owners) {
    size_t n = 0;
    for (const bp_word *word = words; word->name; word++) n += (owners & BIT(word->number)) != 0;
    bp_text_add(text, "the %s%s ", what, n == 1 ? "" : "s");
    for (const bp_word *word = words; word->name; word++) {
        if (!(owners & BIT(word->number))) continue;
        n--;
        bp_text_add(text, "%s%s", word->name, n > 1 ? ", " : n == 1 ? " and " : "");
    }
}

/* what: "optimiser" or "schedule", also the key that chooses it; number: the chosen one. */
static bp_status check_owned(const bp_reader *reader, const bp_node *values[BP_MAX_KEYS],
                             const owned_key *keys, const char *what, int number) {
    const bp_word *words = bp_schema_key(&bp_schema_train, what)->words;
    for (; keys->key; keys++) {
        const bp_node *value = train_value(values, keys->key);
        if (!value || keys->owners & BIT(number)) continue;
        char sentence[BP_ERROR_TEXT_BYTES];
        bp_text text;
        bp_text_init(&text, sentence, sizeof sentence);
        bp_text_add(&text, "train.%s belongs to ", keys->key);
        bp_add_owners(&text, what, words, keys->owners);
        bp_text_add(&text, ", found ");
        bp_add_owners(&text, what, words, BIT(number));
        return bp_fail_at(reader->error, value->line, value->column, "%s", sentence);
    }
    return BP_OK;
}

static void fill_defaults(bp_recipe *recipe, const bp_node *values[BP_MAX_KEYS]) {
    for (size_t i = 0; i < sizeof optimiser_defaults / sizeof *optimiser_defaults; i++) {
        if (optimiser_defaults[i].optimiser != recipe->optimiser) continue;
        if (!train_value(values, "learning_rate"))
            recipe->learning_rate = optimiser_defaults[i].learning_rate;
        if (!train_value(values, "epsilon")) recipe->epsilon = optimiser_defaults[i].epsilon;
    }
    if (recipe->optimiser != BP_ADAMW) recipe->weight_decay = 0;
}

static bp_status check_train(const bp_reader *reader, const bp_recipe *recipe,
                             const bp_node *values[BP_MAX_KEYS]) {
    bp_status status =
        check_owned(reader, values, of_optimisers, "optimiser", (int)recipe->optimiser);
    if (status == BP_OK)
        status = check_owned(reader, values, of_schedules, "schedule", (int)recipe->schedule);
    if (status != BP_OK) return status;
    const bp_node *nesterov = train_value(values, "nesterov");
    if (nesterov && recipe->nesterov && !(recipe->momentum > 0))
        return bp_fail_at(reader->error, nesterov->line, nesterov->column,
                          "train.nesterov needs a momentum above 0, such as momentum: 0.9");
    const bp_node *warm_up = train_value(values, "warm_up_epochs");
    if (warm_up && recipe->warm_up_epochs > (double)recipe->epochs)
        return bp_fail_at(reader->error, warm_up->line, warm_up->column,
                          "train.warm_up_epochs is more than the %lld epochs of the run",
                          (long long)recipe->epochs);
    return BP_OK;
}

static bp_status read_train(const bp_reader *reader, const bp_node *node, bp_recipe *recipe) {
    static const bp_node nothing = {.kind = BP_NODE_MAP, .first = BP_NO_NODE, .next = BP_NO_NODE};
    if (!node) node = &nothing;
    if (node->kind != BP_NODE_MAP)
        return bp_wrong_value(reader, node, "train", "a mapping such as {learning_rate: 0.1}");
    const bp_node *values[BP_MAX_KEYS];
    const bp_status status =
        bp_schema_read(reader, node, "train", &bp_schema_train, recipe, values);
    if (status != BP_OK) return status;
    fill_defaults(recipe, values);
    return check_train(reader, recipe, values);
}

static bp_status check_loss(const bp_reader *reader, const bp_node *delta,
                            const bp_recipe *recipe) {
    if (!delta || recipe->loss == BP_HUBER) return BP_OK;
    return bp_fail_at(reader->error, delta->line, delta->column,
                      "huber_delta belongs to the loss huber, found the loss %s",
                      bp_loss_name(recipe->loss));
}

static bp_status check_version(const bp_reader *reader, const bp_node *node, int64_t version) {
    if (version == BP_NETFILE_VERSION) return BP_OK;
    bp_fail_at(reader->error, node->line, node->column,
               "version must be %d, found %lld, which this program does not know",
               BP_NETFILE_VERSION, (long long)version);
    if (reader->error) reader->error->status = BP_ERROR_NOT_SUPPORTED;
    return BP_ERROR_NOT_SUPPORTED;
}

static bp_status read_net(const bp_reader *reader, const bp_node *node, bp_netfile *netfile) {
    bp_items *items = &netfile->items;
    items->capacity = netfile->tree.n_nodes; /* every item has a node of its own */
    items->list = bp_allocate(&netfile->allocator, items->capacity, sizeof *items->list);
    if (!items->list)
        return bp_fail(reader->error, BP_ERROR_MEMORY, "no memory for the items of net");
    const bp_status status = bp_items_read(reader, items, node, "net", &netfile->first_item);
    return status == BP_OK ? check_names(netfile, reader->error) : status;
}

static bp_status read_top(bp_netfile *netfile, bp_error *error) {
    enum { VERSION, DATA, NET, INIT, LOSS, HUBER_DELTA, TRAIN }; /* the order of the table */
    const bp_reader reader = {&netfile->tree, error};
    const bp_node *root = bp_tree_root(&netfile->tree), *values[BP_MAX_KEYS];
    if (root->kind != BP_NODE_MAP)
        return bp_wrong_value(&reader, root, "the file", "a mapping that begins with 'version: 1'");
    bp_status status = bp_schema_read(&reader, root, "", &bp_schema_top, netfile, values);
    if (status == BP_OK) status = check_version(&reader, values[VERSION], netfile->version);
    if (status == BP_OK) status = bp_data_read(&reader, values[DATA], netfile);
    if (status == BP_OK) status = read_net(&reader, values[NET], netfile);
    netfile->init = bp_init_default();
    if (status == BP_OK && values[INIT])
        status = bp_init_read(&reader, values[INIT], "init", &netfile->init);
    if (status == BP_OK) status = check_loss(&reader, values[HUBER_DELTA], &netfile->recipe);
    if (status == BP_OK) status = read_train(&reader, values[TRAIN], &netfile->recipe);
    return status;
}

/* --- public --------------------------------------------------------------------------------- */

static bp_status read_all(bp_netfile *netfile, bp_error *error) {
    bp_status status =
        bp_tree_parse(&netfile->tree, netfile->text, netfile->n_bytes, &netfile->allocator, error);
    if (status == BP_OK) status = read_top(netfile, error);
    if (status != BP_OK) return status;
    /* What only the expanded network shows: names that clash, too many layers. */
    bp_model *model = NULL;
    status = bp_netfile_model(netfile, &model, error);
    bp_model_close(model);
    return status;
}

bp_status bp_netfile_parse(bp_netfile **netfile, const char *path, const char *text, size_t n_bytes,
                           const bp_allocator *allocator, bp_error *error) {
    if (n_bytes > BP_NETFILE_MAX_BYTES)
        return bp_fail(error, BP_ERROR_INPUT,
                       "%s is larger than %zu bytes; that is no network file", path,
                       BP_NETFILE_MAX_BYTES);
    allocator = bp_allocator_or_system(allocator);
    bp_netfile *parsed = bp_allocate(allocator, 1, sizeof *parsed);
    if (!parsed) return bp_fail(error, BP_ERROR_MEMORY, "no memory for %s", path);
    parsed->allocator = *allocator;
    parsed->tree.allocator = *allocator;
    parsed->n_bytes = n_bytes;
    parsed->recipe.trivial_loss = NAN;
    parsed->recipe.chance_accuracy = NAN;
    parsed->text = bp_allocate(allocator, n_bytes + 1, 1);
    bp_status status;
    if (parsed->text) {
        if (n_bytes) memcpy(parsed->text, text, n_bytes);
        status = read_all(parsed, error);
    } else {
        status = bp_fail(error, BP_ERROR_MEMORY, "no memory for %s", path);
    }
    if (status == BP_OK)
        *netfile = parsed;
    else
        bp_netfile_close(parsed);
    return status;
}

void bp_netfile_close(bp_netfile *netfile) {
    if (!netfile) return;
    const bp_allocator allocator = netfile->allocator;
    bp_release(&allocator, netfile->items.list, netfile->items.capacity,
               sizeof *netfile->items.list);
    bp_tree_finish(&netfile->tree);
    bp_release(&allocator, netfile->text, netfile->n_bytes + 1, 1);
    bp_release(&allocator, netfile, 1, sizeof *netfile);
}

bp_status bp_netfile_model(const bp_netfile *netfile, bp_model **model, bp_error *error) {
    bp_model *built = NULL;
    bp_status status = bp_model_open(&built, &netfile->allocator);
    if (status != BP_OK) return bp_fail(error, status, "no memory for the network");
    status = bp_expand(netfile, built, error);
    if (status != BP_OK) {
        bp_model_close(built);
        return status;
    }
    bp_model_set_recipe(built, &netfile->recipe);
    *model = built;
    return BP_OK;
}

const bp_data_source *bp_netfile_data(const bp_netfile *netfile, int32_t *line, int32_t *column) {
    if (line) *line = netfile->data_line;
    if (column) *column = netfile->data_column;
    return &netfile->source;
}

const char *bp_netfile_text(const bp_netfile *netfile) {
    return netfile->text;
}
