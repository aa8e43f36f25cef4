/* SPDX-License-Identifier: Apache-2.0 */
/* A YAML text as a small bounded tree in which every node knows the bytes it stands in. libyaml
 * does the syntax; anchors, tags, directives and further documents are refused. */
#ifndef BP_NETFILE_TREE_H
#define BP_NETFILE_TREE_H

#include "netfile/characters.h"
#include "netfile/netfile.h"

#define BP_TREE_MAX_NODES 100000u
#define BP_NO_NODE UINT32_MAX

typedef enum bp_node_kind { BP_NODE_SCALAR, BP_NODE_LIST, BP_NODE_MAP } bp_node_kind;

typedef struct bp_node {
    bp_node_kind kind;
    bool plain;               /* SCALAR: written without quotes and not as a block */
    bool flow;                /* LIST, MAP: written in brackets */
    uint32_t first, next;     /* children; those of a MAP are key, value, key, value ... */
    uint32_t n_children;      /* a MAP's keys and values both count */
    uint32_t inner;           /* SCALAR "8 x [a, b]": the list in it */
    size_t start, end;        /* its bytes in the source, without what follows (blanks, comments) */
    int32_t line, column;     /* 1-based, in characters */
    size_t text, text_length; /* SCALAR: its value in the tree's texts */
} bp_node;

typedef struct bp_tree {
    bp_allocator allocator;
    bp_node *nodes; /* nodes[0] is the root */
    uint32_t n_nodes;
    size_t capacity;
    char *texts; /* values of the scalars, each with a NUL behind it */
    size_t texts_length, texts_capacity;
} bp_tree;

/* Fills tree from text, which is only read. On failure there is nothing to finish. */
BP_MUST_USE bp_status bp_tree_parse(bp_tree *tree, const char *text, size_t n_bytes,
                                    const bp_allocator *allocator, bp_error *error);
void bp_tree_finish(bp_tree *tree);

/* Borrowed until bp_tree_finish; NULL where there is none. */
const bp_node *bp_tree_root(const bp_tree *tree);
const bp_node *bp_node_first(const bp_tree *tree, const bp_node *node);
const bp_node *bp_node_next(const bp_tree *tree, const bp_node *node);
const bp_node *bp_node_inner(const bp_tree *tree, const bp_node *node);
/* A scalar's value, "" for other nodes. */
const char *bp_node_text(const bp_tree *tree, const bp_node *node);

/* What a message says was found: 'many', nothing, a list, a mapping. Safe in a message;
 * returns found. */
const char *bp_node_found(const bp_tree *tree, const bp_node *node, char found[BP_FOUND_BYTES]);

#endif
