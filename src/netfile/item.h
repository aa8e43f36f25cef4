/* SPDX-License-Identifier: Apache-2.0 */
/* One item of `net`, from its short form ("20 x dense 64 sigmoid") or its long one (a mapping). */
#ifndef BP_NETFILE_ITEM_H
#define BP_NETFILE_ITEM_H

#include "netfile/init.h"
#include "netfile/schema.h"

typedef enum bp_item_kind {
    BP_ITEM_DENSE = 1 << 0,
    BP_ITEM_RESIDUAL = 1 << 1,
    BP_ITEM_GROUP = 1 << 2,
    BP_ITEM_AVG_POOL = 1 << 3,
    BP_ITEM_NORM = 1 << 4,
    BP_ITEM_ACTIVATION = 1 << 5,
    BP_ITEM_CONV = 1 << 6,
    BP_ITEM_MAX_POOL = 1 << 7,
    BP_ITEM_GLOBAL_AVG_POOL = 1 << 8,
    BP_ITEM_FLATTEN = 1 << 9,
    BP_ITEM_DROPOUT = 1 << 10,
    BP_ITEM_EMBEDDING = 1 << 11,
    BP_ITEM_RNN = 1 << 12,
    BP_ITEM_GRU = 1 << 13,
    BP_ITEM_LSTM = 1 << 14,
    BP_ITEM_ANY = (1 << 15) - 1
} bp_item_kind;

#define BP_NAME_MAX_BYTES 200
#define BP_MAX_UNITS 1000000
#define BP_MAX_KERNEL 1000
#define BP_PADDING "a whole number from 0 to 1000, or same"
#define BP_MAX_VOCABULARY 100000000

typedef struct bp_item {
    bp_item_kind kind;
    int64_t repeat;
    int64_t units, pool; /* units: also channels, and numbers of an embedding */
    int64_t kernel, stride, padding, vocabulary;
    int activation, norm; /* bp_activation, bp_norm; 0 when there is none */
    int only;             /* a key whose only value is true */
    double slope, alpha, scale, drop_fraction, forget_bias;
    bool bias, frozen, has_init, return_sequences;
    bool last_state_only; /* the file says return_sequences: false */
    bp_init_pair init;
    const char *name;     /* borrowed from the tree; NULL when it has none */
    uint32_t first, next; /* RESIDUAL, GROUP: its items; BP_NO_NODE ends a list */
    int32_t line, column;
} bp_item;

/* How a kind of item is written short: its word, then the values of these keys. */
typedef struct bp_item_form {
    const char *word; /* also the key that says so in the long form; NULL ends the list */
    bp_item_kind kind;
    const char *keys[2];
    const char *example;
} bp_item_form;
extern const bp_item_form bp_item_forms[];
/* NULL when no such item is known; norms and activations have lists of their own. */
const bp_item_form *bp_item_form_of(const char *word);
/* The key of the number that may follow an activation: "slope", "alpha", or NULL. */
const char *bp_activation_parameter(int activation);

/* The items of a file; there are never more of them than nodes of the tree. */
typedef struct bp_items {
    bp_item *list;
    uint32_t n, capacity;
} bp_items;

/* Reads a list of items; the first one's index goes to *first. */
BP_MUST_USE bp_status bp_items_read(const bp_reader *reader, bp_items *items, const bp_node *list,
                                    const char *place, uint32_t *first);

/* The blank-separated words of a short item. */
#define BP_SHORT_WORDS 8
typedef struct bp_short {
    char words[BP_SHORT_WORDS][32]; /* longer ones are cut: no known word is that long */
    size_t starts[BP_SHORT_WORDS], lengths[BP_SHORT_WORDS];
    size_t n_words; /* may be more than are kept */
    size_t head;    /* index of the first word behind "N x " */
} bp_short;
void bp_short_split(bp_short *parts, const char *text);
/* The index of the word that says the activation of a short item; n_words when it has none. */
size_t bp_short_activation(const bp_short *parts);

#endif
