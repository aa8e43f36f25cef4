/* SPDX-License-Identifier: Apache-2.0 */
/* Items of `net`: short and long forms to the same struct. */
#include "netfile/item.h"

#include <stdio.h>
#include <string.h>

/* One item under construction. */
typedef struct item_reader {
    const bp_reader *reader;
    const bp_node *node;
    const char *place; /* "net[3].residual[0]" */
    bp_items *items;
    bp_item *item;
} item_reader;

static bp_item new_item(const bp_node *node) {
    return (bp_item){.repeat = 1,
                     .slope = 0.01,
                     .scale = 1,
                     .bias = true,
                     .first = BP_NO_NODE,
                     .next = BP_NO_NODE,
                     .line = node->line,
                     .column = node->column};
}

/* --- short form ----------------------------------------------------------------------------- */

static bool is_blank(char letter) {
    return letter == ' ' || letter == '\t' || letter == '\n';
}

static bool is_digits(const char *text) {
    return *text && strspn(text, "0123456789") == strlen(text);
}

void bp_short_split(bp_short *parts, const char *text) {
    *parts = (bp_short){.n_words = 0};
    for (size_t at = 0; text[at];) {
        while (is_blank(text[at])) at++;
        const size_t start = at;
        while (text[at] && !is_blank(text[at])) at++;
        if (at == start) break;
        const size_t i = parts->n_words++;
        if (i >= BP_SHORT_WORDS) continue;
        const size_t kept =
            at - start < sizeof parts->words[i] ? at - start : sizeof parts->words[i] - 1;
        memcpy(parts->words[i], text + start, kept);
        parts->starts[i] = start;
        parts->lengths[i] = at - start;
    }
    if (parts->n_words >= 2 && is_digits(parts->words[0]) && strcmp(parts->words[1], "x") == 0)
        parts->head = 2;
}

size_t bp_short_activation(const bp_short *parts) {
    const size_t last = parts->n_words < BP_SHORT_WORDS ? parts->n_words : BP_SHORT_WORDS;
    for (size_t i = parts->head; i < last; i++)
        if (bp_word_number(bp_activation_words, parts->words[i])) return i;
    return parts->n_words;
}

/* In a short item as it was typed the column of a word is known. */
static int32_t word_column(const item_reader *r, const bp_short *parts, size_t word) {
    const bool as_typed = r->node->plain && r->node->end - r->node->start == r->node->text_length;
    return r->node->column + (as_typed && word < parts->n_words && word < BP_SHORT_WORDS
                                  ? (int32_t)parts->starts[word]
                                  : 0);
}

static bp_status refuse_word(const item_reader *r, const bp_short *parts, size_t word,
                             const char *sentence) {
    return bp_fail_at(r->reader->error, r->node->line, word_column(r, parts, word), "%s: %s",
                      r->place, sentence);
}

static bp_status word_too_many(const item_reader *r, const bp_short *parts, size_t word) {
    char sentence[BP_ERROR_TEXT_BYTES], safe[BP_FOUND_BYTES];
    const char *found = parts->words[word];
    snprintf(sentence, sizeof sentence, "the item should end here, found '%s'",
             bp_safe_text(found, strlen(found), safe));
    return refuse_word(r, parts, word, sentence);
}

static bp_status word_value(const item_reader *r, const bp_short *parts, size_t word,
                            const char *key, void *out) {
    char place[BP_PLACE_BYTES];
    return bp_schema_word(r->reader, bp_schema_key(&bp_schema_item, key), parts->words[word],
                          r->node->line, word_column(r, parts, word),
                          bp_place(place, r->place, key), out);
}

static bp_status unknown_word(const item_reader *r, const bp_short *parts, size_t word,
                              bool items_too) {
    const char *names[BP_MAX_KEYS] = {"dense", "batch_norm", "layer_norm", "avg_pool"};
    const size_t n_items = items_too ? 4 : 0;
    const size_t n =
        n_items + bp_word_names(bp_activation_words, names + n_items, BP_MAX_KEYS - n_items);
    char sentence[BP_ERROR_TEXT_BYTES], safe[BP_FOUND_BYTES];
    bp_text text;
    bp_text_init(&text, sentence, sizeof sentence);
    const char *found = parts->words[word];
    bp_text_add(&text, "unknown %s '%s'", items_too ? "item" : "activation",
                bp_safe_text(found, strlen(found), safe));
    bp_suggest(&text, found, names, n);
    return refuse_word(r, parts, word, sentence);
}

/* What may follow: an activation, then leaky_relu's slope, then nothing. */
static bp_status short_activation(const item_reader *r, const bp_short *parts, size_t word) {
    bp_item *item = r->item;
    if (word < parts->n_words) {
        item->activation = bp_word_number(bp_activation_words, parts->words[word]);
        if (!item->activation) return unknown_word(r, parts, word, false);
        word++;
    }
    if (word < parts->n_words && item->activation == BP_ACTIVATION_LEAKY_RELU) {
        const bp_status status = word_value(r, parts, word, "slope", &item->slope);
        if (status != BP_OK) return status;
        word++;
    }
    return word < parts->n_words ? word_too_many(r, parts, word) : BP_OK;
}

static bp_status short_head(const item_reader *r, const bp_short *parts, size_t head) {
    bp_item *item = r->item;
    const char *word = parts->words[head];
    const bool has_number = head + 1 < parts->n_words;
    const bool is_dense = strcmp(word, "dense") == 0;
    if (is_dense || strcmp(word, "avg_pool") == 0) {
        item->kind = is_dense ? BP_ITEM_DENSE : BP_ITEM_AVG_POOL;
        if (!has_number)
            return refuse_word(r, parts, head,
                               is_dense ? "'dense' needs its number of units, as in 'dense 64'"
                                        : "'avg_pool' needs its window, as in 'avg_pool 2'");
        const bp_status status =
            word_value(r, parts, head + 1, word, is_dense ? &item->units : &item->pool);
        if (status != BP_OK) return status;
        if (is_dense) return short_activation(r, parts, head + 2);
        return parts->n_words > head + 2 ? word_too_many(r, parts, head + 2) : BP_OK;
    }
    item->norm = bp_word_number(bp_norm_words, word);
    if (item->norm) {
        item->kind = BP_ITEM_NORM;
        return has_number ? word_too_many(r, parts, head + 1) : BP_OK;
    }
    if (strcmp(word, "residual") == 0)
        return refuse_word(r, parts, head,
                           "a residual block is written {residual: [dense 64 relu, dense 64]}");
    if (!bp_word_number(bp_activation_words, word)) return unknown_word(r, parts, head, true);
    item->kind = BP_ITEM_ACTIVATION;
    return short_activation(r, parts, head);
}

static bp_status read_children(const item_reader *r, const bp_node *list, const char *key) {
    char place[BP_PLACE_BYTES];
    return bp_items_read(r->reader, r->items, list, bp_place(place, r->place, key),
                         &r->item->first);
}

static bp_status read_short(const item_reader *r) {
    bp_short parts;
    bp_short_split(&parts, bp_node_text(r->reader->tree, r->node));
    if (parts.n_words == 0)
        return bp_wrong_value(r->reader, r->node, r->place, "an item such as 'dense 64'");
    if (parts.head) {
        const bp_status status = word_value(r, &parts, 0, "repeat", &r->item->repeat);
        if (status != BP_OK) return status;
        if (parts.n_words == 2) return refuse_word(r, &parts, 0, "nothing follows 'x'");
    } else if (parts.words[0][0] >= '0' && parts.words[0][0] <= '9') {
        return refuse_word(r, &parts, 0, "a repeated item is written '20 x dense 64'");
    }
    const bp_node *inner = bp_node_inner(r->reader->tree, r->node);
    if (inner) {
        r->item->kind = BP_ITEM_GROUP;
        return read_children(r, inner, "net");
    }
    if (parts.words[parts.head][0] == '[')
        return refuse_word(r, &parts, parts.head,
                           "a repeated list is written without quotes: 8 x [dense 64, relu]");
    return short_head(r, &parts, parts.head);
}

/* --- long form ------------------------------------------------------------------------------ */

/* The first of these keys that is there says what the item is. */
static const struct {
    const char *key;
    bp_item_kind kind;
} primary_keys[] = {{"dense", BP_ITEM_DENSE}, {"residual", BP_ITEM_RESIDUAL},
                    {"net", BP_ITEM_GROUP},   {"avg_pool", BP_ITEM_AVG_POOL},
                    {"norm", BP_ITEM_NORM},   {"activation", BP_ITEM_ACTIVATION}};

static const bp_node *value_of(const bp_node *values[BP_MAX_KEYS], const char *key) {
    return values[bp_schema_find(&bp_schema_item, key)];
}

static bp_status choose_kind(const item_reader *r, const bp_node *values[BP_MAX_KEYS]) {
    const char *primary = NULL;
    for (size_t i = 0; i < sizeof primary_keys / sizeof *primary_keys && !primary; i++) {
        if (!value_of(values, primary_keys[i].key)) continue;
        primary = primary_keys[i].key;
        r->item->kind = primary_keys[i].kind;
    }
    if (!primary)
        return bp_fail_at(r->reader->error, r->node->line, r->node->column,
                          "%s needs one of the keys dense, residual, net, avg_pool, norm, "
                          "activation",
                          r->place);
    for (size_t i = 0; i < bp_schema_item.n_keys; i++) {
        const bp_key *key = &bp_schema_item.keys[i];
        if (values[i] && !(key->kinds & r->item->kind))
            return bp_fail_at(r->reader->error, values[i]->line, values[i]->column,
                              "%s.%s does not go with '%s'", r->place, key->name, primary);
    }
    return BP_OK;
}

static bp_status read_long(const item_reader *r) {
    const bp_node *values[BP_MAX_KEYS];
    bp_status status =
        bp_schema_read(r->reader, r->node, r->place, &bp_schema_item, r->item, values);
    if (status == BP_OK) status = choose_kind(r, values);
    if (status != BP_OK) return status;
    const bp_node *slope = value_of(values, "slope");
    if (slope && r->item->activation != BP_ACTIVATION_LEAKY_RELU)
        return bp_fail_at(r->reader->error, slope->line, slope->column,
                          "%s.slope belongs to the activation leaky_relu", r->place);
    const bp_node *init = value_of(values, "init");
    if (init) {
        char place[BP_PLACE_BYTES];
        r->item->has_init = true;
        return bp_init_read(r->reader, init, bp_place(place, r->place, "init"), &r->item->init);
    }
    if (r->item->kind == BP_ITEM_RESIDUAL)
        return read_children(r, value_of(values, "residual"), "residual");
    if (r->item->kind == BP_ITEM_GROUP) return read_children(r, value_of(values, "net"), "net");
    return BP_OK;
}

/* --- lists ---------------------------------------------------------------------------------- */

bp_status bp_items_read(const bp_reader *reader, bp_items *items, const bp_node *list,
                        const char *place, uint32_t *first) {
    if (list->kind != BP_NODE_LIST || list->n_children == 0)
        return bp_wrong_value(reader, list, place, "a list of at least one item");
    uint32_t *link = first;
    size_t index = 0;
    for (const bp_node *node = bp_node_first(reader->tree, list); node;
         node = bp_node_next(reader->tree, node), index++) {
        char here[BP_PLACE_BYTES];
        bp_text text;
        bp_text_init(&text, here, sizeof here);
        bp_text_add(&text, "%s[%zu]", place, index);
        const uint32_t id = items->n++;
        const item_reader r = {reader, node, here, items, &items->list[id]};
        *r.item = new_item(node);
        *link = id;
        link = &r.item->next;
        if (node->kind == BP_NODE_LIST)
            return bp_wrong_value(reader, node, here, "an item such as 'dense 64'");
        const bp_status status = node->kind == BP_NODE_SCALAR ? read_short(&r) : read_long(&r);
        if (status != BP_OK) return status;
    }
    return BP_OK;
}
