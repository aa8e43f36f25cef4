/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of bp_netfile, shared by the files of this room only. */
#ifndef BP_NETFILE_FILE_H
#define BP_NETFILE_FILE_H

#include "netfile/item.h"

#define BP_DATA_MAX_BYTES 63
#define BP_PATH_MAX_BYTES 4000

struct bp_netfile {
    bp_allocator allocator;
    char *text; /* as given, with a NUL behind it */
    size_t n_bytes;
    bp_tree tree; /* names and data point into its texts */
    bp_items items;
    uint32_t first_item; /* of net */
    int64_t version;
    bp_data_source source;
    bool has_header; /* of a CSV */
    int32_t data_line, data_column;
    bp_recipe recipe;
    bp_init_pair init;
};

/* data.c: what stands at `data`. */
BP_MUST_USE bp_status bp_data_read(const bp_reader *reader, const bp_node *node,
                                   bp_netfile *netfile);
/* "the optimisers sgd and rmsprop": the words of the numbers in `bits`. */
void bp_add_owners(bp_text *text, const char *what, const bp_word *words, unsigned bits);

/* Appends the items, expanded, to a model; refuses too many before it adds one. */
BP_MUST_USE bp_status bp_expand(const bp_netfile *netfile, bp_model *model, bp_error *error);

#endif
