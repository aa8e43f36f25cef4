/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of a YAML text at places that its tree names; all other bytes stay. */
#ifndef BP_NETFILE_SPLICE_H
#define BP_NETFILE_SPLICE_H

#include "netfile/tree.h"

/* The text under change and the tree of it as it is now: after each splice the tree is a new one,
 * and nodes of the old one are gone. */
typedef struct bp_splicer {
    const bp_allocator *allocator;
    char *text;
    bp_tree tree;
    bp_error *error;
} bp_splicer;

/* text is copied. */
BP_MUST_USE bp_status bp_splicer_init(bp_splicer *splicer, const char *text,
                                      const bp_allocator *allocator, bp_error *error);
void bp_splicer_finish(bp_splicer *splicer);

/* Puts the pieces, which may lie in the text itself, in the place of the bytes start ... end. */
typedef struct bp_piece {
    const char *bytes;
    size_t n_bytes;
} bp_piece;
BP_MUST_USE bp_status bp_splice(bp_splicer *splicer, size_t start, size_t end,
                                const bp_piece *pieces, size_t n_pieces);
BP_MUST_USE bp_status bp_splice_node(bp_splicer *splicer, const bp_node *node, const char *value);

/* The key's node of a mapping, NULL when it is absent. */
const bp_node *bp_map_key(const bp_tree *tree, const bp_node *map, const char *name);
/* Sets or appends a key of a mapping. */
BP_MUST_USE bp_status bp_splice_key(bp_splicer *splicer, const bp_node *map, const char *name,
                                    const char *value);
/* Inserts a key behind the entry of another key, or before the first when `behind` is NULL. */
BP_MUST_USE bp_status bp_splice_insert(bp_splicer *splicer, const bp_node *map,
                                       const bp_node *behind, const char *name, const char *value);
/* Removes a key of a mapping, if it is there. */
BP_MUST_USE bp_status bp_splice_remove(bp_splicer *splicer, const bp_node *map, const char *name);

#endif
