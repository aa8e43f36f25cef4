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

const bp_item_form bp_item_forms[] = {
    {"dense", BP_ITEM_DENSE, {"dense"}, "'dense' needs its number of units, as in 'dense 64'"},
    {"conv",
     BP_ITEM_CONV,
     {"conv", "kernel"},
     "'conv' needs its channels and its kernel, as in 'conv 16 3'"},
    {"avg_pool", BP_ITEM_AVG_POOL, {"avg_pool"}, "'avg_pool' needs its window, as in 'avg_pool 2'"},
    {"max_pool", BP_ITEM_MAX_POOL, {"max_pool"}, "'max_pool' needs its window, as in 'max_pool 2'"},
    {"global_avg_pool", BP_ITEM_GLOBAL_AVG_POOL, {NULL}, NULL},
    {"flatten", BP_ITEM_FLATTEN, {NULL}, NULL},
    {"dropout",
     BP_ITEM_DROPOUT,
     {"dropout"},
     "'dropout' needs the share that it drops, as in 'dropout 0.1'"},
    {"embedding",
     BP_ITEM_EMBEDDING,
     {"vocabulary", "embedding"},
     "'embedding' needs its vocabulary and its numbers a token, as in 'embedding 1000 32'"},
    {"rnn", BP_ITEM_RNN, {"rnn"}, "'rnn' needs its number of units, as in 'rnn 64'"},
    {"gru", BP_ITEM_GRU, {"gru"}, "'gru' needs its number of units, as in 'gru 64'"},
    {"lstm", BP_ITEM_LSTM, {"lstm"}, "'lstm' needs its number of units, as in 'lstm 64'"},
    {NULL, 0, {NULL}, NULL}};

const bp_item_form *bp_item_form_of(const char *word) {
    for (const bp_item_form *form = bp_item_forms; form->word; form++)
        if (strcmp(form->word, word) == 0) return form;
    return NULL;
}

const char *bp_activation_parameter(int activation) {
    return activation == BP_ACTIVATION_LEAKY_RELU ? "slope"
           : activation == BP_ACTIVATION_ELU      ? "alpha"
                                                  : NULL;
}

static bp_item new_item(const bp_node *node) {
    return (bp_item){.repeat = 1,
                     .slope = 0.01,
                     .alpha = 1,
                     .scale = 1,
                     .stride = 1,
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
    const char *names[BP_MAX_KEYS];
    size_t n = 0;
    for (const bp_item_form *form = bp_item_forms; items_too && form->word; form++)
        names[n++] = form->word;
    if (items_too) n += bp_word_names(bp_norm_words, names + n, BP_MAX_KEYS - n);
    const size_t n_items = n;
    n += bp_word_names(bp_activation_words, names + n, BP_MAX_KEYS - n);
    char sentence[BP_ERROR_TEXT_BYTES], safe[BP_FOUND_BYTES];
    bp_text text;
    bp_text_init(&text, sentence, sizeof sentence);
    const char *found = parts->words[word];
    bp_text_add(&text, "unknown %s '%s'", items_too ? "item" : "activation",
                bp_safe_text(found, strlen(found), safe));
    const bool one_list = !items_too || bp_nearest_word(found, names, n);
    bp_suggest(&text, found, names, one_list ? n : n_items);
    if (!one_list) bp_text_add(&text, ", or an activation such as relu");
    return refuse_word(r, parts, word, sentence);
}

/* What may follow: an activation, then its number if it has one, then nothing. */
static bp_status short_activation(const item_reader *r, const bp_short *parts, size_t word) {
    bp_item *item = r->item;
    if (word < parts->n_words) {
        item->activation = bp_word_number(bp_activation_words, parts->words[word]);
        if (!item->activation) return unknown_word(r, parts, word, false);
        word++;
    }
    const char *parameter = bp_activation_parameter(item->activation);
    if (word < parts->n_words && parameter) {
        double *out = item->activation == BP_ACTIVATION_ELU ? &item->alpha : &item->slope;
        const bp_status status = word_value(r, parts, word, parameter, out);
        if (status != BP_OK) return status;
        word++;
    }
    return word < parts->n_words ? word_too_many(r, parts, word) : BP_OK;
}

/* "conv 16 3 relu": the values of the form's keys, then what may follow. */
static bp_status short_form(const item_reader *r, const bp_short *parts, size_t head,
                            const bp_item_form *form) {
    size_t word = head + 1;
    r->item->kind = form->kind;
    for (size_t i = 0; i < 2 && form->keys[i]; i++, word++) {
        if (word >= parts->n_words) return refuse_word(r, parts, head, form->example);
        const bp_key *key = bp_schema_key(&bp_schema_item, form->keys[i]);
        const bp_status status =
            word_value(r, parts, word, key->name, (char *)r->item + key->offset);
        if (status != BP_OK) return status;
    }
    const unsigned has_activation = bp_schema_key(&bp_schema_item, "activation")->kinds;
    if (has_activation & form->kind) return short_activation(r, parts, word);
    return word < parts->n_words ? word_too_many(r, parts, word) : BP_OK;
}

static bp_status short_head(const item_reader *r, const bp_short *parts, size_t head) {
    bp_item *item = r->item;
    const char *word = parts->words[head];
    const bp_item_form *form = bp_item_form_of(word);
    if (form) return short_form(r, parts, head, form);
    item->norm = bp_word_number(bp_norm_words, word);
    if (item->norm) {
        item->kind = BP_ITEM_NORM;
        return head + 1 < parts->n_words ? word_too_many(r, parts, head + 1) : BP_OK;
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

static const bp_node *value_of(const bp_node *values[BP_MAX_KEYS], const char *key) {
    return values[bp_schema_find(&bp_schema_item, key)];
}

/* The key that says what the item is. Norms and activations may also belong to another item. */
static const char *primary_key(const bp_node *values[BP_MAX_KEYS], bp_item_kind *kind) {
    static const bp_item_form others[] = {{"residual", BP_ITEM_RESIDUAL, {NULL}, NULL},
                                          {"net", BP_ITEM_GROUP, {NULL}, NULL},
                                          {"norm", BP_ITEM_NORM, {NULL}, NULL},
                                          {"activation", BP_ITEM_ACTIVATION, {NULL}, NULL},
                                          {NULL, 0, {NULL}, NULL}};
    const bp_item_form *const lists[] = {bp_item_forms, others};
    for (size_t i = 0; i < 2; i++)
        for (const bp_item_form *form = lists[i]; form->word; form++) {
            *kind = form->kind;
            if (value_of(values, form->word)) return form->word;
        }
    return NULL;
}

static bp_status choose_kind(const item_reader *r, const bp_node *values[BP_MAX_KEYS]) {
    const char *primary = primary_key(values, &r->item->kind);
    if (!primary)
        return bp_fail_at(r->reader->error, r->node->line, r->node->column,
                          "%s does not say what it is: it needs a key such as dense, conv, lstm, "
                          "residual, net, dropout, norm or activation",
                          r->place);
    for (size_t i = 0; i < bp_schema_item.n_keys; i++) {
        const bp_key *key = &bp_schema_item.keys[i];
        if (values[i] && !(key->kinds & r->item->kind))
            return bp_fail_at(r->reader->error, values[i]->line, values[i]->column,
                              "%s.%s does not go with '%s'", r->place, key->name, primary);
    }
    const bp_item_form *form = bp_item_form_of(primary);
    for (size_t i = 0; i < 2 && form && form->keys[i]; i++)
        if (!value_of(values, form->keys[i]))
            return bp_fail_at(r->reader->error, r->node->line, r->node->column,
                              "%s.%s is missing; it goes with '%s'", r->place, form->keys[i],
                              primary);
    return BP_OK;
}

/* slope and alpha belong to one activation each. */
static bp_status check_parameter(const item_reader *r, const bp_node *values[BP_MAX_KEYS],
                                 const char *key, bp_activation owner) {
    const bp_node *value = value_of(values, key);
    if (!value || r->item->activation == (int)owner) return BP_OK;
    return bp_fail_at(r->reader->error, value->line, value->column,
                      "%s.%s belongs to the activation %s", r->place, key,
                      bp_activation_name(owner));
}

static bp_status check_recurrent(const item_reader *r) {
    const int activation = r->item->activation;
    if (r->item->kind != BP_ITEM_RNN || !activation || activation == BP_ACTIVATION_TANH ||
        activation == BP_ACTIVATION_RELU)
        return BP_OK;
    return bp_fail_at(r->reader->error, r->node->line, r->node->column,
                      "%s: the activation of an rnn is tanh or relu, found %s", r->place,
                      bp_activation_name((bp_activation)activation));
}

/* "same" keeps height and width: a kernel of odd size, moved by 1, has as many places. */
static bp_status read_padding(const item_reader *r, const bp_node *value) {
    bp_item *item = r->item;
    char place[BP_PLACE_BYTES];
    const char *text = bp_node_text(r->reader->tree, value);
    bp_place(place, r->place, "padding");
    if (strcmp(text, "same") != 0) {
        if (value->plain && bp_parse_integer(text, &item->padding) && item->padding >= 0 &&
            item->padding <= BP_MAX_KERNEL)
            return BP_OK;
        return bp_wrong_value(r->reader, value, place, BP_PADDING);
    }
    if (item->kernel % 2 == 0 || item->stride != 1)
        return bp_fail_at(r->reader->error, value->line, value->column,
                          "%s: 'same' needs an odd kernel and a stride of 1, found %lld and %lld",
                          place, (long long)item->kernel, (long long)item->stride);
    item->padding = (item->kernel - 1) / 2;
    return BP_OK;
}

static bp_status read_long(const item_reader *r) {
    const bp_node *values[BP_MAX_KEYS];
    bp_status status =
        bp_schema_read(r->reader, r->node, r->place, &bp_schema_item, r->item, values);
    if (status == BP_OK) status = choose_kind(r, values);
    if (status == BP_OK) status = check_parameter(r, values, "slope", BP_ACTIVATION_LEAKY_RELU);
    if (status == BP_OK) status = check_parameter(r, values, "alpha", BP_ACTIVATION_ELU);
    if (status != BP_OK) return status;
    const bp_node *init = value_of(values, "init"), *padding = value_of(values, "padding");
    r->item->last_state_only = value_of(values, "return_sequences") && !r->item->return_sequences;
    if (padding) status = read_padding(r, padding);
    if (status != BP_OK) return status;
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
        bp_status status = node->kind == BP_NODE_SCALAR ? read_short(&r) : read_long(&r);
        if (status == BP_OK) status = check_recurrent(&r);
        if (status != BP_OK) return status;
    }
    return BP_OK;
}
