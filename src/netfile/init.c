/* SPDX-License-Identifier: Apache-2.0 */
/* Initialisers: a word, a word with its parameter, or one for weights and one for biases. */
#include "netfile/init.h"

#include <string.h>

bp_init_pair bp_init_default(void) {
    const bp_init both = {.kind = BP_INIT_PYTORCH_DEFAULT};
    return (bp_init_pair){both, both};
}

static bp_status unknown_init(const bp_reader *reader, const bp_node *node, const char *place) {
    const char *names[BP_MAX_KEYS];
    const size_t n = bp_word_names(bp_init_words, names, BP_MAX_KEYS);
    char sentence[BP_ERROR_TEXT_BYTES], found[BP_FOUND_BYTES];
    bp_text text;
    bp_text_init(&text, sentence, sizeof sentence);
    bp_text_add(&text, "%s must be an initialiser, found %s", place,
                bp_node_found(reader->tree, node, found));
    bp_suggest(&text, bp_node_text(reader->tree, node), names, n);
    return bp_fail_at(reader->error, node->line, node->column, "%s", sentence);
}

static bp_status bare_init(const bp_reader *reader, const bp_node *node, const char *place,
                           bp_init *init) {
    const char *word = bp_node_text(reader->tree, node);
    const int kind = bp_word_number(bp_init_words, word);
    if (!kind) return unknown_init(reader, node, place);
    const bp_key *parameter = bp_init_parameter(kind);
    const bool has_default = parameter && strcmp(parameter->name, "gain") == 0;
    if (parameter && !has_default)
        return bp_fail_at(reader->error, node->line, node->column,
                          "%s: '%s' needs its %s, written {%s: {%s: 0.05}}", place, word,
                          parameter->name, word, parameter->name);
    *init = (bp_init){.kind = (bp_init_kind)kind, .parameter = has_default ? 1 : 0};
    return BP_OK;
}

/* {normal: {std: 0.05}}, or {normal: 0.05} for short. */
static bp_status init_with_parameter(const bp_reader *reader, const bp_node *map, const char *place,
                                     bp_init *init) {
    const bp_node *word = bp_node_first(reader->tree, map);
    if (!word) return bp_wrong_value(reader, map, place, "an initialiser");
    const bp_node *value = bp_node_next(reader->tree, word);
    const char *name = bp_node_text(reader->tree, word);
    const int kind = bp_word_number(bp_init_words, name);
    if (!kind) return unknown_init(reader, word, place);
    const bp_node *second = bp_node_next(reader->tree, value);
    if (second)
        return bp_fail_at(reader->error, second->line, second->column,
                          "%s must be one initialiser, found a second key", place);
    const bp_key *parameter = bp_init_parameter(kind);
    if (!parameter)
        return bp_fail_at(reader->error, value->line, value->column,
                          "%s: '%s' has no parameter; write '%s' alone", place, name, name);
    char full[BP_PLACE_BYTES];
    bp_place(full, place, name);
    init->kind = (bp_init_kind)kind;
    if (value->kind != BP_NODE_MAP)
        return bp_schema_value(reader, parameter, value, full, &init->parameter);
    const bp_schema schema = {parameter, 1};
    const bp_node *values[BP_MAX_KEYS];
    return bp_schema_read(reader, value, full, &schema, &init->parameter, values);
}

static bp_status one_init(const bp_reader *reader, const bp_node *node, const char *place,
                          bp_init *init) {
    switch (node->kind) {
    case BP_NODE_SCALAR:
        return bare_init(reader, node, place, init);
    case BP_NODE_MAP:
        return init_with_parameter(reader, node, place, init);
    case BP_NODE_LIST:
        break;
    }
    return bp_wrong_value(reader, node, place, "an initialiser");
}

static bp_status both_inits(const bp_reader *reader, const bp_node *map, const char *place,
                            bp_init_pair *init) {
    const bp_node *values[BP_MAX_KEYS];
    bp_status status = bp_schema_read(reader, map, place, &bp_schema_init, NULL, values);
    bp_init *const parts[] = {&init->weights, &init->biases};
    *init = (bp_init_pair){{.kind = BP_INIT_PYTORCH_DEFAULT}, {.kind = BP_INIT_ZEROS}};
    for (size_t i = 0; i < 2 && status == BP_OK; i++) {
        char full[BP_PLACE_BYTES];
        bp_place(full, place, bp_schema_init.keys[i].name);
        if (values[i]) status = one_init(reader, values[i], full, parts[i]);
    }
    return status;
}

/* The first key tells the two mappings apart; misspelt, the nearest word does. */
static bool is_both(const bp_reader *reader, const bp_node *map) {
    const bp_node *first = bp_node_first(reader->tree, map);
    if (!first) return false;
    const char *word = bp_node_text(reader->tree, first);
    const char *const names[] = {"weights", "biases"};
    return !bp_word_number(bp_init_words, word) && bp_nearest_word(word, names, 2) != NULL;
}

bp_status bp_init_read(const bp_reader *reader, const bp_node *node, const char *place,
                       bp_init_pair *init) {
    if (node->kind == BP_NODE_MAP && is_both(reader, node))
        return both_inits(reader, node, place, init);
    const bp_status status = one_init(reader, node, place, &init->weights);
    if (status != BP_OK) return status;
    init->biases = (bp_init){.kind = BP_INIT_ZEROS};
    if (init->weights.kind == BP_INIT_PYTORCH_DEFAULT) init->biases = init->weights;
    return BP_OK;
}
