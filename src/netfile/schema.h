/* SPDX-License-Identifier: Apache-2.0 */
/* The one table of the network file's keys: it drives checks, defaults, did-you-mean and (a test
 * compares them) the tables of docs/network-file.md. */
#ifndef BP_NETFILE_SCHEMA_H
#define BP_NETFILE_SCHEMA_H

#include "netfile/tree.h"

typedef enum bp_value_type {
    BP_VALUE_WHOLE,  /* int64_t */
    BP_VALUE_NUMBER, /* double */
    BP_VALUE_FLAG,   /* bool */
    BP_VALUE_WORD,   /* int, the number of the word */
    BP_VALUE_NAME,   /* const char *, borrowed from the tree */
    BP_VALUE_OTHER   /* read by other code */
} bp_value_type;

typedef struct bp_word {
    const char *name; /* NULL ends a list */
    int number;
} bp_word;

typedef struct bp_key {
    const char *name;
    bp_value_type type;
    double low, high;
    bool above_low, below_high; /* the bound itself is excluded */
    const bp_word *words;
    size_t limit;         /* NAME: most bytes */
    const char *expected; /* OTHER: what a value is, for messages and documentation */
    size_t offset;        /* in the struct that bp_schema_read fills */
    const char *fallback; /* the default as text; NULL: none */
    bool required;
    const char *alias;  /* another spelling */
    unsigned kinds;     /* items of net: bits of the kinds of item that have this key */
    const char *lesson; /* what to write when a required key is missing */
} bp_key;

#define BP_MAX_KEYS 40
typedef struct bp_schema {
    const bp_key *keys;
    size_t n_keys;
} bp_schema;

extern const bp_schema bp_schema_top, bp_schema_data, bp_schema_train, bp_schema_item,
    bp_schema_init;

extern const bp_word bp_activation_words[], bp_norm_words[], bp_init_words[];

/* What the readers of this room share. */
typedef struct bp_reader {
    const bp_tree *tree;
    bp_error *error;
} bp_reader;

#define BP_PLACE_BYTES 256
/* "train" and "batch" to "train.batch", "" and "net" to "net"; returns place. */
const char *bp_place(char place[BP_PLACE_BYTES], const char *parent, const char *key);

/* Reads a mapping: refuses unknown and repeated keys and bad values, fills `out` with what the
 * file says or the default. values[k] is the node of key k, NULL when it is absent. */
BP_MUST_USE bp_status bp_schema_read(const bp_reader *reader, const bp_node *map, const char *place,
                                     const bp_schema *schema, void *out,
                                     const bp_node *values[BP_MAX_KEYS]);
/* The index of a key, also by its other spelling; n_keys when there is none. */
size_t bp_schema_find(const bp_schema *schema, const char *name);
/* One value of a key, checked and stored at out: a node, or a word of a short item. */
BP_MUST_USE bp_status bp_schema_value(const bp_reader *reader, const bp_key *key,
                                      const bp_node *node, const char *place, void *out);
BP_MUST_USE bp_status bp_schema_word(const bp_reader *reader, const bp_key *key, const char *word,
                                     int32_t line, int32_t column, const char *place, void *out);
/* The key of that name, which must exist. */
const bp_key *bp_schema_key(const bp_schema *schema, const char *name);
/* "a whole number from 1 to 1000000". */
void bp_key_expectation(const bp_key *key, bp_text *text);

/* The number of a word; 0 when it is unknown. */
int bp_word_number(const bp_word *words, const char *name);
/* Appends "; did you mean 'X'?" or, when none is near, "; known: A, B, C". */
void bp_suggest(bp_text *text, const char *found, const char *const *names, size_t n_names);
size_t bp_word_names(const bp_word *words, const char **names, size_t capacity);
/* bp_fail_at(node's place, "PLACE must be EXPECTED, found FOUND"). */
bp_status bp_wrong_value(const bp_reader *reader, const bp_node *node, const char *place,
                         const char *expected);

#endif
