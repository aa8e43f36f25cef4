/* SPDX-License-Identifier: Apache-2.0 */
/* Records of one step from several processes of a training become one. Which way each quantity
 * takes is a property of the quantity. Called by runlog. */
#ifndef BP_RECORD_MERGE_H
#define BP_RECORD_MERGE_H

#include "record/record.h"

/* Data parallel: each rank sees other samples, and has a copy of the parameters (or, in a layer
 * with SHARD_WEIGHTS, a part of them). */
typedef enum bp_rank_rule {
    BP_RANKS_NO_RULE = 0, /* of no quantity */
    /* of samples: */
    BP_RANKS_SUM,
    BP_RANKS_MAX,
    BP_RANKS_MIN,
    BP_RANKS_MEAN,            /* each rank counts the same */
    BP_RANKS_MEAN_BY_SAMPLES, /* weighted */
    BP_RANKS_MEAN_BY_TERMS,
    BP_RANKS_RMS_BY_SAMPLES, /* a root mean square of root mean squares */
    /* of parameters: copies are equal, so one is taken (of counts the largest: nothing bad may be
     * lost); where they are parts, they are put together as follows: */
    BP_RANKS_COPY_OR_RMS, /* weighted by the weights of each part */
    BP_RANKS_COPY_OR_MEAN,
    BP_RANKS_COPY_OR_MAX,
    BP_RANKS_COPY_OR_SUM,
    BP_RANKS_COPY_OR_COUNT, /* a sum; of copies the largest */
    BP_RANKS_COPY_OR_NORM,  /* of all parameters: the root of the sum of squares */
    BP_RANKS_COPY,          /* there are no parts of it */
    BP_RANKS_COMPARED       /* is reckoned here: how much copies differ */
} bp_rank_rule;

bp_rank_rule bp_quantity_rank_rule(bp_quantity quantity);

typedef struct bp_rank_records {
    const bp_record *const *record; /* of the same step */
    const uint32_t *rank;           /* whose they are; ascending */
    uint32_t n;                     /* at least 1 */
    uint32_t n_ranks;               /* of the training: where records are missing, parts are not
                                     * put together */
} bp_rank_records;

/* into is cleared first. Layers that a record does not have are not measured of it. */
void bp_record_merge(bp_record *into, const bp_rank_records *from);

#endif
