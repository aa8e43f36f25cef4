/* SPDX-License-Identifier: Apache-2.0 */
/* bp_netfile_apply: key paths found in the tree, values put into the text. */
#include "netfile/file.h"
#include "netfile/splice.h"

#include <stdio.h>
#include <string.h>

/* "net[3].residual[0].init" is net, 3, residual, 0, init. */
typedef struct step {
    char name[32]; /* "" for an index */
    uint32_t index;
} step;

/* A list and its index take two levels of the tree. */
#define MAX_STEPS (BP_NETFILE_MAX_DEPTH + 4)

typedef struct edit {
    bp_splicer *splicer;
    const char *key, *value; /* as the caller wrote them; value without blanks around it */
    step steps[MAX_STEPS];
    size_t n_steps;
    bp_error *error;
} edit;

static bp_status set_on_item(edit *e, size_t n_steps, const char *leaf, bool everywhere,
                             size_t *n_set);

/* --- the path ------------------------------------------------------------------------------- */

static bp_status bad_key(const edit *e, const char *why) {
    char safe[BP_FOUND_BYTES];
    return bp_fail(e->error, BP_ERROR_INPUT, "cannot edit '%s': %s",
                   bp_safe_text(e->key, strlen(e->key), safe), why);
}

static bp_status parse_key(edit *e) {
    const char *malformed = "a key is a path such as train.learning_rate or net[0].activation";
    const char *at = e->key;
    for (;;) {
        if (e->n_steps == MAX_STEPS - 2) return bad_key(e, "the path is too long");
        step *next = &e->steps[e->n_steps++];
        *next = (step){.name = ""};
        if (*at == '[') {
            const size_t digits = strspn(at + 1, "0123456789");
            if (digits == 0 || digits > 6 || at[1 + digits] != ']') return bad_key(e, malformed);
            for (size_t i = 1; i <= digits; i++)
                next->index = next->index * 10 + (uint32_t)(at[i] - '0');
            at += digits + 2;
        } else {
            const size_t length = strspn(at, "abcdefghijklmnopqrstuvwxyz_0123456789");
            if (length == 0 || length >= sizeof next->name) return bad_key(e, malformed);
            memcpy(next->name, at, length);
            at += length;
        }
        if (*at == '\0') return BP_OK;
        if (*at == '.')
            at++;
        else if (*at != '[')
            return bad_key(e, malformed);
        if (at[-1] == '.' && *at == '[') return bad_key(e, malformed);
    }
}

static const bp_node *child_at(const bp_tree *tree, const bp_node *list, uint32_t index) {
    if (list->kind != BP_NODE_LIST) return NULL;
    const bp_node *child = bp_node_first(tree, list);
    while (child && index--) child = bp_node_next(tree, child);
    return child;
}

static const bp_node *child_of(const bp_tree *tree, const bp_node *node, const step *to) {
    if (!*to->name) return child_at(tree, node, to->index);
    if (strcmp(to->name, "net") == 0 && bp_node_inner(tree, node)) return bp_node_inner(tree, node);
    const bp_node *key = bp_map_key(tree, node, to->name);
    return key ? bp_node_next(tree, key) : NULL;
}

/* NULL when the path leads nowhere. */
static const bp_node *find(const edit *e, size_t n_steps) {
    const bp_tree *tree = &e->splicer->tree;
    const bp_node *node = bp_tree_root(tree);
    for (size_t i = 0; i < n_steps && node; i++) node = child_of(tree, node, &e->steps[i]);
    return node;
}

/* --- the value ------------------------------------------------------------------------------ */

/* One value in flow style and nothing behind it: no second value, comment, line end or document
 * that would change more than its key. */
static bp_status check_value(const edit *e) {
    const size_t length = strlen(e->value);
    const bp_allocator *allocator = e->splicer->allocator;
    char *wrapped = bp_allocate(allocator, length + 3, 1);
    if (!wrapped) return bp_fail(e->error, BP_ERROR_MEMORY, "no memory to edit the network file");
    wrapped[0] = '[';
    memcpy(wrapped + 1, e->value, length);
    wrapped[length + 1] = ']';
    bp_tree tree;
    bp_error ignored;
    bp_status status = bp_tree_parse(&tree, wrapped, length + 2, allocator, &ignored);
    bool good = false;
    if (status == BP_OK) {
        const bp_node *root = bp_tree_root(&tree), *value = bp_node_first(&tree, root);
        good = root->kind == BP_NODE_LIST && root->n_children == 1 && root->end == length + 2 &&
               value->start == 1 && value->end == length + 1 && !strpbrk(e->value, "\r\n") &&
               (value->kind != BP_NODE_MAP || *e->value == '{');
        bp_tree_finish(&tree);
    }
    bp_release(allocator, wrapped, length + 3, 1);
    if (status == BP_ERROR_MEMORY)
        return bp_fail(e->error, status, "no memory to edit the network file");
    char safe[BP_FOUND_BYTES];
    return good ? BP_OK
                : bp_fail(e->error, BP_ERROR_INPUT,
                          "cannot edit '%s': the value must be one YAML value such as 0.1, relu or "
                          "{xavier: {gain: 1.2}}, found '%s'",
                          e->key, bp_safe_text(e->value, length, safe));
}

/* --- items as they are written -------------------------------------------------------------- */

/* What an item in any form is, without checking it. */
typedef struct item_view {
    unsigned kind; /* of a form with a word of its own (bp_item_forms); else 0 */
    bool norm, activation, repeated;
    const char *list; /* key of the list in it, NULL when it has none */
} item_view;

static bool has_key(const bp_tree *tree, const bp_node *map, const char *name) {
    return bp_map_key(tree, map, name) != NULL;
}

static item_view view_item(const bp_tree *tree, const bp_node *node) {
    if (node->kind == BP_NODE_MAP) {
        const bp_item_form *form = bp_item_forms;
        while (form->word && !has_key(tree, node, form->word)) form++;
        return (item_view){.kind = form->kind,
                           .norm = has_key(tree, node, "norm"),
                           .activation = has_key(tree, node, "activation"),
                           .repeated = has_key(tree, node, "repeat"),
                           .list = has_key(tree, node, "residual") ? "residual"
                                   : has_key(tree, node, "net")    ? "net"
                                                                   : NULL};
    }
    bp_short parts;
    bp_short_split(&parts, bp_node_text(tree, node));
    const char *head = parts.n_words > parts.head ? parts.words[parts.head] : "";
    const bp_item_form *form = bp_item_form_of(head);
    return (item_view){.kind = form ? form->kind : 0,
                       .norm = bp_word_number(bp_norm_words, head) != 0,
                       .activation = bp_short_activation(&parts) < parts.n_words,
                       .repeated = parts.head != 0,
                       .list = bp_node_inner(tree, node) ? "net" : NULL};
}

/* Items of this kind can have the key. */
static bool kind_has(unsigned kind, const char *key) {
    return (bp_schema_key(&bp_schema_item, key)->kinds & kind) != 0;
}

/* --- short items made long ------------------------------------------------------------------ */

/* The pairs of a long item under construction; the edited key gets its new value in its place. */
typedef struct long_item {
    bp_text *text;
    const char *leaf, *value; /* leaf "": nothing is edited */
    bool has_leaf;
} long_item;

static void add_pair(long_item *item, const char *key, const char *value) {
    const bool is_leaf = strcmp(key, item->leaf) == 0;
    bp_text_add(item->text, "%s%s: %s", item->text->length > 1 ? ", " : "", key,
                is_leaf ? item->value : value);
    if (is_leaf) item->has_leaf = true;
}

static const char *word_at(const bp_short *parts, size_t i) {
    return i < parts->n_words && i < BP_SHORT_WORDS ? parts->words[i] : "";
}

static void add_head(long_item *item, const bp_short *parts) {
    const char *head = word_at(parts, parts->head);
    const bp_item_form *form = bp_item_form_of(head);
    if (bp_word_number(bp_norm_words, head)) add_pair(item, "norm", head);
    if (form && !form->keys[0]) add_pair(item, head, "true");
    for (size_t i = 0; i < 2 && form && form->keys[i]; i++)
        add_pair(item, form->keys[i], word_at(parts, parts->head + 1 + i));
}

static void add_activation(long_item *item, const bp_short *parts) {
    const size_t word = bp_short_activation(parts);
    if (word >= parts->n_words) return;
    add_pair(item, "activation", word_at(parts, word));
    const char *parameter =
        bp_activation_parameter(bp_word_number(bp_activation_words, word_at(parts, word)));
    if (parameter && *word_at(parts, word + 1)) add_pair(item, parameter, word_at(parts, word + 1));
}

/* "20 x dense 64 sigmoid" with frozen := true is
 * {repeat: 20, dense: 64, activation: sigmoid, frozen: true}. */
static void write_long(const edit *e, const bp_node *node, const char *leaf, bp_text *text) {
    const bp_tree *tree = &e->splicer->tree;
    const bp_node *inner = bp_node_inner(tree, node);
    long_item item = {text, leaf, e->value, false};
    bp_short parts;
    bp_short_split(&parts, bp_node_text(tree, node));
    bp_text_add(text, "{");
    if (parts.head) add_pair(&item, "repeat", parts.words[0]);
    if (inner) {
        bp_text_add(text, ", net: %.*s", (int)(inner->end - inner->start),
                    e->splicer->text + inner->start);
    } else {
        add_head(&item, &parts);
        add_activation(&item, &parts);
    }
    if (*leaf && !item.has_leaf) add_pair(&item, leaf, e->value);
    bp_text_add(text, "}");
}

static bp_status make_long(const edit *e, const bp_node *node, const char *leaf) {
    const size_t capacity = node->end - node->start + strlen(e->value) + 512;
    char *bytes = bp_allocate(e->splicer->allocator, capacity, 1);
    if (!bytes) return bp_fail(e->error, BP_ERROR_MEMORY, "no memory to edit the network file");
    bp_text text;
    bp_text_init(&text, bytes, capacity);
    write_long(e, node, leaf, &text);
    const bp_status status =
        text.cut ? bad_key(e, "the item is too long") : bp_splice_node(e->splicer, node, bytes);
    bp_release(e->splicer->allocator, bytes, capacity, 1);
    return status;
}

/* In "8 x [dense 64, relu]", a plain scalar, no item can be in long form. Those along the first
 * n_steps of the path become {repeat: 8, net: [dense 64, relu]}. */
static bp_status open_repeats(const edit *e, size_t n_steps) {
    for (size_t i = 1; i <= n_steps; i++) {
        const bp_node *node = find(e, i);
        if (!node || !bp_node_inner(&e->splicer->tree, node)) continue;
        const bp_status status = make_long(e, node, "");
        if (status != BP_OK) return status;
    }
    return BP_OK;
}

/* --- activations ---------------------------------------------------------------------------- */

/* The value "leaky_relu 0.1" is a word and perhaps its number. */
typedef struct activation_value {
    bp_short parts;
    const char *word, *number; /* number NULL when there is none */
    const char *parameter;     /* key of the number that the word can have; NULL when it has none */
} activation_value;

static bp_status read_activation(const edit *e, activation_value *value) {
    bp_short_split(&value->parts, e->value);
    value->word = value->parts.words[0];
    value->number = value->parts.n_words > 1 ? value->parts.words[1] : NULL;
    if (value->parts.n_words > 2) return bad_key(e, "an activation is a word and perhaps a number");
    const bp_reader reader = {NULL, e->error};
    int activation = 0;
    double number;
    bp_status status = bp_schema_word(&reader, bp_schema_key(&bp_schema_item, "activation"),
                                      value->word, 0, 0, e->key, &activation);
    value->parameter = bp_activation_parameter(activation);
    if (status == BP_OK && value->number && !value->parameter)
        return bad_key(e, "only leaky_relu and elu have a number behind them");
    if (status != BP_OK || !value->number) return status;
    char place[BP_PLACE_BYTES];
    snprintf(place, sizeof place, "the %s in %s", value->parameter, e->key);
    return bp_schema_word(&reader, bp_schema_key(&bp_schema_item, value->parameter), value->number,
                          0, 0, place, &number);
}

static bp_status set_short_activation(const edit *e, const bp_node *node,
                                      const activation_value *value) {
    const char *old = bp_node_text(&e->splicer->tree, node);
    bp_short parts;
    bp_short_split(&parts, old);
    const size_t word = bp_short_activation(&parts);
    const size_t kept = word < parts.n_words ? parts.starts[word] : strlen(old);
    const char *old_word = word_at(&parts, word), *number = value->number;
    /* The same activation without a number leaves that of the file. */
    if (!number && value->parameter && strcmp(old_word, value->word) == 0)
        number = word_at(&parts, word + 1);
    char text[256];
    bp_text built;
    bp_text_init(&built, text, sizeof text);
    bp_text_add(&built, "%.*s%s%s", (int)kept, old, word < parts.n_words ? "" : " ", value->word);
    if (number && *number) bp_text_add(&built, " %s", number);
    return built.cut ? bad_key(e, "the item is too long") : bp_splice_node(e->splicer, node, text);
}

/* Each splice makes a new tree, so the item is looked up again before the next one. */
static bp_status set_long_activation(const edit *e, size_t n_steps, const activation_value *value) {
    static const char *const parameters[] = {"slope", "alpha"};
    bp_splicer *splicer = e->splicer;
    bp_status status = bp_splice_key(splicer, find(e, n_steps), "activation", value->word);
    for (size_t i = 0; i < 2 && status == BP_OK; i++) {
        const bool fits = value->parameter && strcmp(value->parameter, parameters[i]) == 0;
        if (!fits)
            status = bp_splice_remove(splicer, find(e, n_steps), parameters[i]);
        else if (value->number)
            status = bp_splice_key(splicer, find(e, n_steps), parameters[i], value->number);
    }
    return status;
}

/* "dense 64", "batch_norm", "relu" are one layer: the activation of the first is the third.
 * Moves the path's last index there; stays where no such item follows. */
static void move_to_activation(edit *e, size_t n_steps) {
    const bp_tree *tree = &e->splicer->tree;
    const bp_node *node = find(e, n_steps);
    const item_view item = view_item(tree, node);
    if (!kind_has(item.kind, "norm") || item.activation || item.repeated) return;
    uint32_t n = 1;
    for (node = bp_node_next(tree, node); node; node = bp_node_next(tree, node), n++) {
        const item_view follower = view_item(tree, node);
        if (follower.repeated || follower.kind || follower.list) return;
        if (follower.activation) {
            e->steps[n_steps - 1].index += n;
            return;
        }
        if (!follower.norm) return;
    }
}

static bp_status set_activation(edit *e, size_t n_steps) {
    activation_value value;
    const bp_status status = read_activation(e, &value);
    if (status != BP_OK) return status;
    const uint32_t index = e->steps[n_steps - 1].index;
    move_to_activation(e, n_steps);
    const bp_node *node = find(e, n_steps);
    const bp_status set = node->kind == BP_NODE_SCALAR ? set_short_activation(e, node, &value)
                                                       : set_long_activation(e, n_steps, &value);
    e->steps[n_steps - 1].index = index;
    return set;
}

/* --- items ---------------------------------------------------------------------------------- */

/* Keys that, set on a block, mean all layers in it that have such a thing. */
static bool means_all_inside(const char *leaf) {
    return strcmp(leaf, "activation") == 0 || strcmp(leaf, "init") == 0 ||
           strcmp(leaf, "frozen") == 0;
}

static bool has_such(const item_view *item, const char *leaf) {
    if (strcmp(leaf, "activation") == 0) return item->activation;
    return kind_has(item->kind, leaf) || (item->norm && strcmp(leaf, "frozen") == 0);
}

static bp_status set_on_all_inside(edit *e, size_t n_steps, const char *list, const char *leaf,
                                   size_t *n_set) {
    if (n_steps + 2 > MAX_STEPS) return bad_key(e, "the path is too long");
    e->steps[n_steps] = (step){.name = ""};
    memcpy(e->steps[n_steps].name, list, strlen(list) + 1);
    const bp_node *node = find(e, n_steps + 1);
    const uint32_t n = node && node->kind == BP_NODE_LIST ? node->n_children : 0;
    for (uint32_t i = 0; i < n; i++) {
        e->steps[n_steps + 1] = (step){.index = i};
        const bp_status status = set_on_item(e, n_steps + 2, leaf, false, n_set);
        if (status != BP_OK) return status;
    }
    return BP_OK;
}

/* everywhere: the caller named this item; otherwise a block around it was named. */
static bp_status set_on_item(edit *e, size_t n_steps, const char *leaf, bool everywhere,
                             size_t *n_set) {
    const bp_node *node = find(e, n_steps);
    const item_view item = view_item(&e->splicer->tree, node);
    if (item.list && means_all_inside(leaf)) {
        const bp_status opened = strcmp(leaf, "activation") == 0 ? BP_OK : open_repeats(e, n_steps);
        if (opened != BP_OK) return opened;
        return set_on_all_inside(e, n_steps, item.list, leaf, n_set);
    }
    if (!everywhere && !has_such(&item, leaf)) return BP_OK;
    ++*n_set;
    if (strcmp(leaf, "activation") == 0) return set_activation(e, n_steps);
    if (node->kind == BP_NODE_SCALAR) return make_long(e, node, leaf);
    return bp_splice_key(e->splicer, node, leaf, e->value);
}

/* --- the top level -------------------------------------------------------------------------- */

static bp_status set_on_top(const edit *e, const char *name, const char *value) {
    const bp_tree *tree = &e->splicer->tree;
    const bp_node *root = bp_tree_root(tree), *behind = NULL;
    if (root->kind != BP_NODE_MAP) return bad_key(e, "the file is not a mapping");
    if (bp_map_key(tree, root, name)) return bp_splice_key(e->splicer, root, name, value);
    size_t place = 0;
    const size_t own_place = bp_schema_find(&bp_schema_top, name);
    for (const bp_node *key = bp_node_first(tree, root); key;
         key = bp_node_next(tree, bp_node_next(tree, key))) {
        const size_t its_place = bp_schema_find(&bp_schema_top, bp_node_text(tree, key));
        if (its_place > own_place || (behind && its_place < place)) continue;
        behind = key;
        place = its_place;
    }
    return bp_splice_insert(e->splicer, root, behind, name, value);
}

static bp_status set_in_new_section(const edit *e, const char *section, const char *leaf) {
    const size_t capacity = strlen(e->value) + 64;
    char *bytes = bp_allocate(e->splicer->allocator, capacity, 1);
    if (!bytes) return bp_fail(e->error, BP_ERROR_MEMORY, "no memory to edit the network file");
    snprintf(bytes, capacity, "{%s: %s}", leaf, e->value);
    const bp_status status = set_on_top(e, section, bytes);
    bp_release(e->splicer->allocator, bytes, capacity, 1);
    return status;
}

/* A key of an item or of another mapping; the path leads to something. */
static bp_status set_key_of(edit *e, const char *leaf) {
    const size_t n_parent = e->n_steps - 1;
    const bp_node *parent = find(e, n_parent);
    const bool is_item = strcmp(e->steps[0].name, "net") == 0 && !*e->steps[n_parent - 1].name;
    if (is_item && parent->kind != BP_NODE_LIST) {
        size_t n_set = 0;
        bp_status status = BP_OK;
        if (strcmp(leaf, "activation") != 0) status = open_repeats(e, n_parent - 1);
        if (status == BP_OK) status = set_on_item(e, n_parent, leaf, true, &n_set);
        return status == BP_OK && n_set == 0 ? bad_key(e, "no layer in that block has one")
                                             : status;
    }
    return parent->kind == BP_NODE_MAP ? bp_splice_key(e->splicer, parent, leaf, e->value)
                                       : bad_key(e, "what holds that key is not a mapping");
}

static bp_status set_value(edit *e) {
    const size_t n = e->n_steps;
    const step last = e->steps[n - 1], *leaf = &last; /* a block writes deeper paths there */
    if (!*e->steps[0].name) return bad_key(e, "a path begins with a key of the file");
    if (n == 1) return set_on_top(e, leaf->name, e->value);
    const bp_node *parent = find(e, n - 1), *node = find(e, n);
    const bool in_train = n == 2 && strcmp(e->steps[0].name, "train") == 0;
    if (in_train && (!parent || parent->start == parent->end))
        return set_in_new_section(e, "train", leaf->name);
    if (!parent) return bad_key(e, "the file has nothing at that path");
    if (*leaf->name) return set_key_of(e, leaf->name);
    if (!node) return bad_key(e, "the list has no such item");
    const bp_status opened = strchr(e->value, ':') ? open_repeats(e, n - 1) : BP_OK;
    return opened == BP_OK ? bp_splice_node(e->splicer, find(e, n), e->value) : opened;
}

static bp_status apply_one(bp_splicer *splicer, const bp_netfile_edit *wanted, bp_error *error) {
    const char *value = wanted->value + strspn(wanted->value, " ");
    size_t length = strlen(value);
    while (length > 0 && value[length - 1] == ' ') length--;
    char *trimmed = bp_allocate(splicer->allocator, length + 1, 1);
    if (!trimmed) return bp_fail(error, BP_ERROR_MEMORY, "no memory to edit the network file");
    memcpy(trimmed, value, length);
    edit e = {.splicer = splicer, .key = wanted->key, .value = trimmed, .error = error};
    bp_status status = parse_key(&e);
    if (status == BP_OK) status = check_value(&e);
    if (status == BP_OK) status = set_value(&e);
    bp_release(splicer->allocator, trimmed, length + 1, 1);
    return status;
}

bp_status bp_netfile_apply(const char *path, const char *text, const bp_netfile_edit *edits,
                           size_t n_edits, const bp_allocator *allocator, char **edited,
                           bp_error *error) {
    if (strlen(text) > BP_NETFILE_MAX_BYTES)
        return bp_fail(error, BP_ERROR_INPUT,
                       "%s is larger than %zu bytes; that is no network file", path,
                       BP_NETFILE_MAX_BYTES);
    bp_splicer splicer;
    bp_status status = bp_splicer_init(&splicer, text, allocator, error);
    if (status != BP_OK) return status;
    for (size_t i = 0; i < n_edits && status == BP_OK; i++)
        status = apply_one(&splicer, &edits[i], error);
    bp_netfile *checked = NULL;
    if (status == BP_OK)
        status =
            bp_netfile_parse(&checked, path, splicer.text, strlen(splicer.text), allocator, error);
    bp_netfile_close(checked);
    if (status == BP_OK) {
        *edited = splicer.text;
        bp_tree_finish(&splicer.tree);
    } else {
        bp_splicer_finish(&splicer);
    }
    return status;
}

void bp_netfile_release(const bp_allocator *allocator, char *edited) {
    bp_release_text(bp_allocator_or_system(allocator), edited);
}
