/* SPDX-License-Identifier: Apache-2.0 */
/* Values checked against the schema table. */
#include "netfile/schema.h"

#include <stdio.h>
#include <string.h>

/* --- messages ------------------------------------------------------------------------------- */

const char *bp_place(char place[BP_PLACE_BYTES], const char *parent, const char *key) {
    bp_text text;
    bp_text_init(&text, place, BP_PLACE_BYTES);
    bp_text_add(&text, "%s%s%s", parent, *parent ? "." : "", key);
    return place;
}

bp_status bp_wrong_value(const bp_reader *reader, const bp_node *node, const char *place,
                         const char *expected) {
    char found[BP_FOUND_BYTES];
    return bp_fail_at(reader->error, node->line, node->column, "%s must be %s, found %s", place,
                      expected, bp_node_found(reader->tree, node, found));
}

void bp_suggest(bp_text *text, const char *found, const char *const *names, size_t n_names) {
    const char *nearest = bp_nearest_word(found, names, n_names);
    if (nearest) {
        bp_text_add(text, "; did you mean '%s'?", nearest);
        return;
    }
    for (size_t i = 0; i < n_names; i++)
        bp_text_add(text, "%s%s", i ? ", " : "; known: ", names[i]);
}

size_t bp_word_names(const bp_word *words, const char **names, size_t capacity) {
    size_t n = 0;
    for (; words->name && n < capacity; words++) names[n++] = words->name;
    return n;
}

int bp_word_number(const bp_word *words, const char *name) {
    for (; words->name; words++)
        if (strcmp(words->name, name) == 0) return words->number;
    return 0;
}

static void add_words(bp_text *text, const bp_word *words) {
    for (const bp_word *word = words; word->name; word++)
        bp_text_add(text, "%s%s", word == words ? "" : word[1].name ? ", " : " or ", word->name);
}

static void add_range(bp_text *text, const bp_key *key) {
    char low[32], high[32];
    bp_text_add(text, "%s %s %s %s",
                key->type == BP_VALUE_WHOLE ? "a whole number from"
                : key->above_low            ? "a number above"
                                            : "a number from",
                bp_number_exact(low, sizeof low, key->low), key->below_high ? "to below" : "to",
                bp_number_exact(high, sizeof high, key->high));
}

void bp_key_expectation(const bp_key *key, bp_text *text) {
    switch (key->type) {
    case BP_VALUE_WHOLE:
    case BP_VALUE_NUMBER:
        add_range(text, key);
        return;
    case BP_VALUE_FLAG:
        bp_text_add(text, "true or false");
        return;
    case BP_VALUE_WORD:
        add_words(text, key->words);
        return;
    case BP_VALUE_NAME:
        bp_text_add(text, "a name of 1 to %zu printable bytes", key->limit);
        return;
    case BP_VALUE_OTHER:
        bp_text_add(text, "%s", key->expected);
        return;
    }
}

/* --- one value ------------------------------------------------------------------------------ */

static bool in_range(const bp_key *key, double value) {
    return (key->above_low ? value > key->low : value >= key->low) &&
           (key->below_high ? value < key->high : value <= key->high);
}

/* Stores the value that text says; false when the key cannot have it. Quoted numbers are texts. */
static bool store(const bp_key *key, const char *text, bool plain, void *out) {
    switch (key->type) {
    case BP_VALUE_WHOLE: {
        int64_t value;
        if (!plain || !bp_parse_integer(text, &value) || !in_range(key, (double)value))
            return false;
        *(int64_t *)out = value;
        return true;
    }
    case BP_VALUE_NUMBER: {
        double value;
        if (!plain || !bp_parse_number(text, &value) || !in_range(key, value)) return false;
        *(double *)out = value;
        return true;
    }
    case BP_VALUE_FLAG:
        if (!plain || (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)) return false;
        *(bool *)out = *text == 't';
        return true;
    case BP_VALUE_WORD: {
        const int number = bp_word_number(key->words, text);
        if (number) *(int *)out = number;
        return number != 0;
    }
    case BP_VALUE_NAME: {
        const size_t length = strlen(text);
        if (length == 0 || length > key->limit || !bp_is_printable(text, length)) return false;
        *(const char **)out = text;
        return true;
    }
    case BP_VALUE_OTHER:
        return true;
    }
    return false;
}

static bp_status wrong_value(const bp_reader *reader, const bp_key *key, const char *word,
                             const char *found, int32_t line, int32_t column, const char *place) {
    char sentence[BP_ERROR_TEXT_BYTES];
    bp_text message;
    bp_text_init(&message, sentence, sizeof sentence);
    bp_text_add(&message, "%s must be ", place);
    bp_key_expectation(key, &message);
    bp_text_add(&message, ", found %s", found);
    if (key->type == BP_VALUE_WORD) {
        const char *names[BP_MAX_KEYS];
        const size_t n = bp_word_names(key->words, names, BP_MAX_KEYS);
        if (bp_nearest_word(word, names, n)) bp_suggest(&message, word, names, n);
    }
    return bp_fail_at(reader->error, line, column, "%s", sentence);
}

bp_status bp_schema_value(const bp_reader *reader, const bp_key *key, const bp_node *node,
                          const char *place, void *out) {
    const char *text = bp_node_text(reader->tree, node);
    if (key->type == BP_VALUE_OTHER) return BP_OK;
    if (node->kind == BP_NODE_SCALAR && store(key, text, node->plain, out)) return BP_OK;
    char found[BP_FOUND_BYTES], sentence[BP_FOUND_BYTES + 16];
    const bool quoted =
        node->kind == BP_NODE_SCALAR && !node->plain &&
        (key->type == BP_VALUE_WHOLE || key->type == BP_VALUE_NUMBER || key->type == BP_VALUE_FLAG);
    snprintf(sentence, sizeof sentence, "%s%s", quoted ? "the quoted text " : "",
             bp_node_found(reader->tree, node, found));
    return wrong_value(reader, key, text, sentence, node->line, node->column, place);
}

bp_status bp_schema_word(const bp_reader *reader, const bp_key *key, const char *word, int32_t line,
                         int32_t column, const char *place, void *out) {
    if (store(key, word, true, out)) return BP_OK;
    char safe[BP_FOUND_BYTES], found[BP_FOUND_BYTES + 2];
    snprintf(found, sizeof found, "'%s'", bp_safe_text(word, strlen(word), safe));
    return wrong_value(reader, key, word, found, line, column, place);
}

/* --- mappings ------------------------------------------------------------------------------- */

size_t bp_schema_find(const bp_schema *schema, const char *name) {
    for (size_t i = 0; i < schema->n_keys; i++) {
        const bp_key *key = &schema->keys[i];
        if (strcmp(key->name, name) == 0 || (key->alias && strcmp(key->alias, name) == 0)) return i;
    }
    return schema->n_keys;
}

const bp_key *bp_schema_key(const bp_schema *schema, const char *name) {
    return &schema->keys[bp_schema_find(schema, name)];
}

/* The kinds of item that can have all keys of a mapping that are known; all where none can. */
static unsigned possible_kinds(const bp_tree *tree, const bp_node *map, const bp_schema *schema) {
    unsigned kinds = ~0u;
    for (const bp_node *key = bp_node_first(tree, map); key;
         key = bp_node_next(tree, bp_node_next(tree, key))) {
        const size_t found = bp_schema_find(schema, bp_node_text(tree, key));
        if (found < schema->n_keys) kinds &= schema->keys[found].kinds;
    }
    return kinds ? kinds : ~0u;
}

static bp_status unknown_key(const bp_reader *reader, const bp_node *map, const bp_node *key,
                             const char *place, const bp_schema *schema) {
    const char *names[BP_MAX_KEYS], *fitting[BP_MAX_KEYS];
    const char *text_of_key = bp_node_text(reader->tree, key);
    const unsigned kinds = possible_kinds(reader->tree, map, schema);
    size_t n_fitting = 0;
    for (size_t i = 0; i < schema->n_keys; i++) {
        names[i] = schema->keys[i].name;
        if (!schema->keys[i].kinds || schema->keys[i].kinds & kinds)
            fitting[n_fitting++] = names[i];
    }
    const bool is_near = bp_nearest_word(text_of_key, names, schema->n_keys) != NULL;
    char sentence[BP_ERROR_TEXT_BYTES], found[BP_FOUND_BYTES];
    bp_text text;
    bp_text_init(&text, sentence, sizeof sentence);
    bp_text_add(&text, "unknown key %s", bp_node_found(reader->tree, key, found));
    if (*place) bp_text_add(&text, " in %s", place);
    bp_suggest(&text, text_of_key, is_near ? names : fitting, is_near ? schema->n_keys : n_fitting);
    return bp_fail_at(reader->error, key->line, key->column, "%s", sentence);
}

static bp_status repeated_key(const bp_reader *reader, const bp_node *key, const bp_node *first,
                              const char *place) {
    char found[BP_FOUND_BYTES];
    return bp_fail_at(reader->error, key->line, key->column,
                      "the key %s stands twice%s%s; its first value is at line %d, column %d",
                      bp_node_found(reader->tree, key, found), *place ? " in " : "", place,
                      first->line, first->column);
}

static bp_status fill_missing(const bp_reader *reader, const bp_node *map, const char *place,
                              const bp_key *key, void *out) {
    char full[BP_PLACE_BYTES];
    if (key->required)
        return bp_fail_at(reader->error, map->line, map->column, "%s is missing%s%s",
                          bp_place(full, place, key->name), key->lesson ? "; write " : "",
                          key->lesson ? key->lesson : "");
    if (key->fallback && !store(key, key->fallback, true, out))
        return bp_fail(reader->error, BP_ERROR_ARGUMENT, "the default of %s is wrong", key->name);
    return BP_OK;
}

bp_status bp_schema_read(const bp_reader *reader, const bp_node *map, const char *place,
                         const bp_schema *schema, void *out, const bp_node *values[BP_MAX_KEYS]) {
    const bp_tree *tree = reader->tree;
    for (size_t i = 0; i < BP_MAX_KEYS; i++) values[i] = NULL;
    for (const bp_node *key = bp_node_first(tree, map), *value; key;
         key = bp_node_next(tree, value)) {
        value = bp_node_next(tree, key);
        const size_t found = bp_schema_find(schema, bp_node_text(tree, key));
        if (found == schema->n_keys) return unknown_key(reader, map, key, place, schema);
        if (values[found]) return repeated_key(reader, key, values[found], place);
        values[found] = value;
        char full[BP_PLACE_BYTES];
        const bp_key *known = &schema->keys[found];
        const bp_status status =
            bp_schema_value(reader, known, value, bp_place(full, place, known->name),
                            out ? (char *)out + known->offset : NULL);
        if (status != BP_OK) return status;
    }
    for (size_t i = 0; i < schema->n_keys; i++) {
        if (values[i]) continue;
        const bp_key *key = &schema->keys[i];
        const bp_status status =
            fill_missing(reader, map, place, key, out ? (char *)out + key->offset : NULL);
        if (status != BP_OK) return status;
    }
    return BP_OK;
}
