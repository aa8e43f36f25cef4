/* SPDX-License-Identifier: Apache-2.0 */
/* Units that are copies of each other: weights that begin all equal, or all zero, get equal
 * gradients and stay equal. */
#ifndef BP_DIAGNOSIS_SYMMETRY_H
#define BP_DIAGNOSIS_SYMMETRY_H

#include "diagnosis/diagnosis.h"

typedef enum bp_beginning {
    BP_BEGAN_UNKNOWN,
    BP_BEGAN_APART, /* its weights differed in the first record */
    BP_BEGAN_EQUAL, /* they were all the same and not 0 */
    BP_BEGAN_ZERO
} bp_beginning;

typedef struct bp_layer_symmetry {
    bool is_trained; /* sums with weights that are trained */
    bool is_hidden;
    bool is_equal;                  /* units are copies, for long enough and after updates */
    bool was_told, began_as_copies; /* units, and that they were equal when they first were */
    /* Of weights that are zeros still, in the last record: */
    bool gets_input, gets_error, gives_nothing;
    bp_beginning began;
    uint32_t n_updates;        /* records in which its weights moved, up to 2 */
    uint32_t n_equal, n_stuck; /* records in a row up to now: units equal; weights still all 0 */
    int64_t equal_step;        /* since when units were equal as often as they were told */
    uint64_t units, distinct;  /* as told last, dead ones left out */
    uint64_t first_units, first_distinct;
} bp_layer_symmetry;

typedef struct bp_symmetry {
    bp_layer_symmetry *layer; /* [n_layers + 1] */
    uint32_t equal_layer, stuck_layer;
} bp_symmetry;

#endif
