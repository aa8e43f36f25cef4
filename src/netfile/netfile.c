/* SPDX-License-Identifier: Apache-2.0 */
/* The network file as a whole: what stands at its top level, and the model that it says. */
#include "netfile/file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double adam_learning_rate = 0.001;

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

static bp_status read_data(const bp_reader *reader, const bp_node *node, bp_netfile *netfile) {
    const bp_key *name = bp_schema_key(&bp_schema_data, "name");
    netfile->data_line = node->line;
    netfile->data_column = node->column;
    if (node->kind != BP_NODE_MAP)
        return bp_schema_value(reader, name, node, "data", &netfile->data);
    for (const bp_node *key = bp_node_first(reader->tree, node); key;
         key = bp_node_next(reader->tree, bp_node_next(reader->tree, key))) {
        const char *word = bp_node_text(reader->tree, key);
        if (strcmp(word, "format") != 0 && strcmp(word, "path") != 0) continue;
        bp_fail_at(reader->error, key->line, key->column,
                   "data.%s is not supported yet; this version knows its bundled data sets only, "
                   "as in 'data: digits'",
                   word);
        if (reader->error) reader->error->status = BP_ERROR_NOT_SUPPORTED;
        return BP_ERROR_NOT_SUPPORTED;
    }
    const bp_node *values[BP_MAX_KEYS];
    return bp_schema_read(reader, node, "data", &bp_schema_data, netfile, values);
}

/* A setting of the other optimiser would be ignored in silence. */
static bp_status check_optimiser(const bp_reader *reader, const bp_recipe *recipe,
                                 const bp_node *values[BP_MAX_KEYS]) {
    static const struct {
        const char *key;
        bp_optimiser optimiser;
    } owned[] = {
        {"momentum", BP_SGD}, {"beta1", BP_ADAM}, {"beta2", BP_ADAM}, {"epsilon", BP_ADAM}};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) {
        const bp_node *value = values[bp_schema_find(&bp_schema_train, owned[i].key)];
        if (value && recipe->optimiser != owned[i].optimiser)
            return bp_fail_at(reader->error, value->line, value->column,
                              "train.%s belongs to the optimiser %s, found the optimiser %s",
                              owned[i].key, bp_optimiser_name(owned[i].optimiser),
                              bp_optimiser_name(recipe->optimiser));
    }
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
    if (recipe->optimiser == BP_ADAM && !values[bp_schema_find(&bp_schema_train, "learning_rate")])
        recipe->learning_rate = adam_learning_rate;
    return check_optimiser(reader, recipe, values);
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
    enum { VERSION, DATA, NET, INIT, LOSS, TRAIN }; /* the order of the table */
    const bp_reader reader = {&netfile->tree, error};
    const bp_node *root = bp_tree_root(&netfile->tree), *values[BP_MAX_KEYS];
    if (root->kind != BP_NODE_MAP)
        return bp_wrong_value(&reader, root, "the file", "a mapping that begins with 'version: 1'");
    bp_status status = bp_schema_read(&reader, root, "", &bp_schema_top, netfile, values);
    if (status == BP_OK) status = check_version(&reader, values[VERSION], netfile->version);
    if (status == BP_OK) status = read_data(&reader, values[DATA], netfile);
    if (status == BP_OK) status = read_net(&reader, values[NET], netfile);
    netfile->init = bp_init_default();
    if (status == BP_OK && values[INIT])
        status = bp_init_read(&reader, values[INIT], "init", &netfile->init);
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

const char *bp_netfile_data(const bp_netfile *netfile, int32_t *line, int32_t *column) {
    if (line) *line = netfile->data_line;
    if (column) *column = netfile->data_column;
    return netfile->data;
}

const char *bp_netfile_text(const bp_netfile *netfile) {
    return netfile->text;
}
