/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of mappings set, inserted and removed in the text, in flow and in block style. */
#include "netfile/splice.h"
#include "netfile/schema.h"

#include <string.h>

bp_status bp_splicer_init(bp_splicer *splicer, const char *text, const bp_allocator *allocator,
                          bp_error *error) {
    allocator = bp_allocator_or_system(allocator);
    *splicer = (bp_splicer){.allocator = allocator, .error = error};
    splicer->text = bp_copy_text(allocator, text);
    if (!splicer->text)
        return bp_fail(error, BP_ERROR_MEMORY, "no memory to edit the network file");
    const bp_status status =
        bp_tree_parse(&splicer->tree, splicer->text, strlen(text), allocator, error);
    if (status != BP_OK) bp_release_text(allocator, splicer->text);
    return status;
}

void bp_splicer_finish(bp_splicer *splicer) {
    bp_tree_finish(&splicer->tree);
    bp_release_text(splicer->allocator, splicer->text);
}

static size_t pieces_bytes(const bp_piece *pieces, size_t n_pieces) {
    size_t sum = 0;
    for (size_t i = 0; i < n_pieces; i++) sum += pieces[i].n_bytes;
    return sum;
}

bp_status bp_splice(bp_splicer *splicer, size_t start, size_t end, const bp_piece *pieces,
                    size_t n_pieces) {
    const size_t old_length = strlen(splicer->text);
    const size_t length = old_length - (end - start) + pieces_bytes(pieces, n_pieces);
    char *text = bp_allocate(splicer->allocator, length + 1, 1);
    if (!text)
        return bp_fail(splicer->error, BP_ERROR_MEMORY, "no memory to edit the network file");
    size_t at = start;
    memcpy(text, splicer->text, start);
    for (size_t i = 0; i < n_pieces; i++) {
        memcpy(text + at, pieces[i].bytes, pieces[i].n_bytes);
        at += pieces[i].n_bytes;
    }
    memcpy(text + at, splicer->text + end, old_length - end);
    bp_tree tree;
    const bp_status status = bp_tree_parse(&tree, text, length, splicer->allocator, splicer->error);
    if (status != BP_OK) {
        bp_release_text(splicer->allocator, text);
        return status;
    }
    bp_splicer_finish(splicer);
    splicer->text = text;
    splicer->tree = tree;
    return BP_OK;
}

static bp_piece piece(const char *text) {
    return (bp_piece){text, strlen(text)};
}

#define SPLICE(splicer, start, end, ...)                            \
    bp_splice(splicer, start, end, (const bp_piece[]){__VA_ARGS__}, \
              sizeof((const bp_piece[]){__VA_ARGS__}) / sizeof(bp_piece))

bp_status bp_splice_node(bp_splicer *splicer, const bp_node *node, const char *value) {
    return SPLICE(splicer, node->start, node->end, piece(value));
}

/* --- lines ---------------------------------------------------------------------------------- */

static bool is_line_end(char letter) {
    return letter == '\n' || letter == '\r' || letter == '\0';
}

static size_t skip_blanks(const char *text, size_t at) {
    while (text[at] == ' ' || text[at] == '\t') at++;
    return at;
}

static size_t blanks_before(const char *text, size_t at) {
    while (at > 0 && (text[at - 1] == ' ' || text[at - 1] == '\t')) at--;
    return at;
}

static size_t line_end(const char *text, size_t at) {
    while (!is_line_end(text[at])) at++;
    return at;
}

/* How this file ends its lines. */
static const char *line_break(const char *text) {
    const size_t end = line_end(text, 0);
    if (text[end] != '\r') return "\n";
    return text[end + 1] == '\n' ? "\r\n" : "\r";
}

/* --- keys ----------------------------------------------------------------------------------- */

/* The same word, or two spellings of one key. */
static bool is_key(const char *written, const char *name) {
    if (strcmp(written, name) == 0) return true;
    const size_t key = bp_schema_find(&bp_schema_train, name);
    return key < bp_schema_train.n_keys && bp_schema_find(&bp_schema_train, written) == key;
}

const bp_node *bp_map_key(const bp_tree *tree, const bp_node *map, const char *name) {
    if (map->kind != BP_NODE_MAP) return NULL;
    for (const bp_node *key = bp_node_first(tree, map); key;
         key = bp_node_next(tree, bp_node_next(tree, key)))
        if (is_key(bp_node_text(tree, key), name)) return key;
    return NULL;
}

static bool is_block(const bp_splicer *splicer, const bp_node *node) {
    if (node->kind != BP_NODE_SCALAR) return !node->flow;
    const char first = splicer->text[node->start];
    return !node->plain && (first == '|' || first == '>');
}

/* A block, or nothing, gives way to a value on the line of its key; a comment behind the key
 * stays. */
static bp_status replace_block(bp_splicer *splicer, const bp_node *key, const bp_node *value,
                               const char *new_value) {
    const char *text = splicer->text;
    const size_t colon = skip_blanks(text, key->end);
    if (text[colon] != ':')
        return SPLICE(splicer, key->end, key->end, piece(": "), piece(new_value));
    const size_t behind = colon + 1;
    if (value->start == value->end)
        return SPLICE(splicer, behind, behind, piece(" "), piece(new_value));
    size_t kept = blanks_before(text, value->start);
    if (kept > behind && text[kept - 1] == '\n') kept--;
    if (kept > behind && text[kept - 1] == '\r') kept--;
    if (kept < behind) kept = behind;
    return SPLICE(splicer, behind, value->end, piece(" "), piece(new_value),
                  {text + behind, kept - behind});
}

static bp_status insert_in_flow(bp_splicer *splicer, const bp_node *map, const bp_node *last,
                                const char *name, const char *value) {
    const char *text = splicer->text;
    const bp_node *first = bp_node_first(&splicer->tree, map);
    if (!first)
        return SPLICE(splicer, map->start + 1, map->start + 1, piece(name), piece(": "),
                      piece(value));
    if (text[map->start] != '{') /* [dense: 64] is short for [{dense: 64}] */
        return SPLICE(splicer, map->start, map->end, piece("{"),
                      {text + map->start, map->end - map->start}, piece(", "), piece(name),
                      piece(": "), piece(value), piece("}"));
    return last ? SPLICE(splicer, last->end, last->end, piece(", "), piece(name), piece(": "),
                         piece(value))
                : SPLICE(splicer, first->start, first->start, piece(name), piece(": "),
                         piece(value), piece(", "));
}

bp_status bp_splice_insert(bp_splicer *splicer, const bp_node *map, const bp_node *behind,
                           const char *name, const char *value) {
    const bp_node *last = behind ? bp_node_next(&splicer->tree, behind) : NULL;
    if (map->flow) return insert_in_flow(splicer, map, last, name, value);
    const bp_node *first = bp_node_first(&splicer->tree, map);
    char indent[256];
    if (first->column > (int32_t)sizeof indent)
        return bp_fail_at(splicer->error, first->line, first->column,
                          "this mapping is indented too far to be edited");
    memset(indent, ' ', sizeof indent);
    const bp_piece indentation = {indent, (size_t)(first->column - 1)};
    const bp_piece end = piece(line_break(splicer->text));
    if (!last)
        return SPLICE(splicer, first->start, first->start, piece(name), piece(": "), piece(value),
                      end, indentation);
    const size_t at = line_end(splicer->text, last->end);
    return SPLICE(splicer, at, at, end, indentation, piece(name), piece(": "), piece(value));
}

bp_status bp_splice_key(bp_splicer *splicer, const bp_node *map, const char *name,
                        const char *value) {
    const bp_node *key = bp_map_key(&splicer->tree, map, name);
    if (key) {
        const bp_node *old = bp_node_next(&splicer->tree, key);
        if (old->start == old->end || is_block(splicer, old))
            return replace_block(splicer, key, old, value);
        return bp_splice_node(splicer, old, value);
    }
    const bp_node *last = NULL;
    for (key = bp_node_first(&splicer->tree, map); key;
         key = bp_node_next(&splicer->tree, bp_node_next(&splicer->tree, key)))
        last = key;
    return bp_splice_insert(splicer, map, last, name, value);
}

bp_status bp_splice_remove(bp_splicer *splicer, const bp_node *map, const char *name) {
    const char *text = splicer->text;
    const bp_node *key = bp_map_key(&splicer->tree, map, name);
    if (!key) return BP_OK;
    const bp_node *value = bp_node_next(&splicer->tree, key);
    const bp_node *next = bp_node_next(&splicer->tree, value);
    size_t start = key->start, end = value->end;
    if (map->flow) {
        const size_t comma = skip_blanks(text, end), before = blanks_before(text, start);
        if (text[comma] == ',')
            end = skip_blanks(text, comma + 1);
        else if (before > 0 && text[before - 1] == ',')
            start = before - 1;
    } else if (key == bp_node_first(&splicer->tree, map)) {
        if (next) end = next->start; /* its line may begin with the "- " of the item */
    } else {
        start = blanks_before(text, start);
        end = line_end(text, end);
        if (text[end] == '\r') end++;
        if (text[end] == '\n') end++;
    }
    return SPLICE(splicer, start, end, piece(""));
}
