/* SPDX-License-Identifier: Apache-2.0 */
/* Candidates for mending a whole chain of layers; of this room only. */
#ifndef BP_REMEDY_CANDIDATE_H
#define BP_REMEDY_CANDIDATE_H

#include "remedy/remedy.h"

#define BP_N_CANDIDATES 6

typedef struct bp_candidate {
    bp_activation activation; /* 0: the layers keep theirs */
    bp_init_kind init;        /* 0: the layers keep theirs (what is there now) */
    int change;               /* 1 initialiser, 2 and the same shape of activation, 3 and another */
    bp_chain_prediction predicted;
    bool is_made_for_it; /* He for rectifiers, Xavier for the others */
    bool admissible;
    double score; /* lower is better */
} bp_candidate;

/* The activation to change: that of most hidden layers, or sigmoid where there are several. */
bp_activation bp_main_activation(const bp_model *model);
/* What is there now, judged like a candidate. */
void bp_candidate_now(bp_candidate *now, const bp_model *model);
/* Fills list[BP_N_CANDIDATES]. */
void bp_candidates_list(bp_candidate *list, const bp_model *model);
/* The smallest change among those that theory admits; the best one of all when it admits none. */
const bp_candidate *bp_candidates_choose(const bp_candidate *list);
/* The one of the others whose gain alone is best, for comparison; may be NULL. */
const bp_candidate *bp_candidates_second(const bp_candidate *list, const bp_candidate *best);

const char *bp_init_title(bp_init_kind init); /* "Xavier" */
void bp_candidate_name(bp_text *text, const bp_candidate *candidate);
/* Whether theory said something of a chain: of layers in a row, not of those inside blocks. */
bool bp_candidate_is_predicted(const bp_candidate *candidate);
void bp_candidate_explain(bp_text *text, const bp_candidate *candidate);

#endif
