/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of bp_diagnosis, shared by the files of this room only. Everything is sized at open.
 */
#ifndef BP_DIAGNOSIS_STATE_H
#define BP_DIAGNOSIS_STATE_H

#include "diagnosis/diagnosis.h"
#include "diagnosis/generalisation.h"
#include "diagnosis/loss_shape.h"
#include "diagnosis/precision.h"
#include "diagnosis/rates.h"
#include "diagnosis/setup.h"
#include "diagnosis/symmetry.h"
#include "diagnosis/through_time.h"
#include "diagnosis/units.h"

#define WINDOW_MAX 200            /* records that a judgement over time looks back on */
#define WINDOW_MIN 20             /* fewer are not judged */
#define LN_SPAN 6.907755278982137 /* ln 1e3: a candidate for vanishing or exploding */
#define FORWARD_LIMIT 1e-3        /* spread over samples / size: below it they look alike (f32) */
#define RUN_UP 10                 /* steps between an explosion and what it is blamed for */
#define SPAN_HEALTHY 3.4          /* ln 30: what a repaired chain may span */

/* --- profile.c ---------------------------------------------------------------------------------
 * One record's error signals over depth. Arrays are indexed by cut point, 1 ... n_cuts. */
/* What a cut point's layer is, looked up once. */
typedef struct bp_cut_facts {
    uint32_t id, branch; /* branch: the first layer of a residual block's branch; 0: none */
    bool is_residual, has_parts, has_activation, has_norm, norm_after_activation;
    bool is_normalised; /* bp_model_cut_is_normalised */
    double root_fan_in; /* sqrt(bp_model_mean_fan_in); NaN: no sum of weighted inputs */
} bp_cut_facts;

typedef struct bp_profile {
    uint32_t n_cuts;
    bp_cut_facts *facts; /* [n_cuts + 1] */
    bool measured;
    int64_t step;
    uint32_t *queue;    /* scratch of bp_profile_narrow */
    double *error_norm; /* s_k */
    double *level;      /* cumulated ln of the segments' measure; level[1] = 0 */
    bp_gain *gain;      /* of the layers that end at the cut points */
    double vanish_span; /* D: the largest rise of level from the input towards the loss */
    uint32_t vanish_from, vanish_to;
    double explode_span; /* the largest fall */
    uint32_t explode_from, explode_to;
} bp_profile;
BP_MUST_USE bool bp_profile_init(bp_profile *profile, const bp_model *model,
                                 const bp_allocator *allocator);
void bp_profile_finish(bp_profile *profile, const bp_allocator *allocator);
void bp_profile_measure(bp_profile *profile, const bp_record *record);
void bp_profile_copy(bp_profile *to, const bp_profile *from);
/* The shortest stretch of transitions within [from, to] that holds 0.8 of the span; true when it is
 * one alone or shorter than half of them: the cause sits there and is not uniform over depth. */
bool bp_profile_narrow(const bp_profile *profile, double sign, uint32_t *from, uint32_t *to);

/* When something began: the best guess, and what it lies within. */
typedef struct bp_onset {
    int64_t step, earliest, latest;
} bp_onset;

/* --- window.c ---------------------------------------------------------------------------------
 * The last records: losses, shares of learning, candidates. Rings indexed by record modulo size. */
typedef struct bp_window {
    uint32_t size;    /* W */
    uint64_t n_total; /* records pushed so far */
    int64_t step[WINDOW_MAX];
    double loss[WINDOW_MAX];
    uint8_t backward[WINDOW_MAX]; /* D was a candidate */
    uint8_t explode[WINDOW_MAX];
    uint8_t forward[WINDOW_MAX];
    float *share;      /* [size][n_layers + 1]; NaN: the layer has none */
    uint32_t *below;   /* per layer: entries under the limit of starved layers */
    uint32_t *below_3; /* ... under three times that */
    uint32_t *counted; /* per layer: entries that are a number */
    uint32_t n_layers;
} bp_window;
BP_MUST_USE bool bp_window_init(bp_window *window, uint32_t n_layers, int64_t epoch_steps,
                                const bp_allocator *allocator);
void bp_window_finish(bp_window *window, const bp_allocator *allocator);
/* shares: [n_layers + 1], NaN where none; limit: of a starved layer. */
void bp_window_push(bp_window *window, int64_t step, double loss, const double *shares,
                    double limit, bool backward, bool explode, bool forward);
uint32_t bp_window_length(const bp_window *window);
double bp_window_mean_loss(const bp_window *window); /* of finite losses; NaN when none */
bool bp_window_majority(const bp_window *window, const uint8_t *flags);
double bp_window_median_share(const bp_window *window, uint32_t layer);
/* Since when a flag (or a layer's starvation) holds, by change point: the start of the stretch up
 * to now in which the entries that hold outweigh the others most; within: all starts that are as
 * likely but for a factor, down to the record before the first of them. */
bp_onset bp_window_onset(const bp_window *window, const uint8_t *flags);
bp_onset bp_window_onset_of_layer(const bp_window *window, uint32_t layer, double limit);
/* The same of any ring of flags by record modulo size. */
bp_onset bp_onset_of_flags(const int64_t *step, const uint8_t *flags, uint32_t size,
                           uint64_t n_total);
/* The last full record before a step; -1: none is remembered. */
int64_t bp_window_step_before(const bp_window *window, int64_t step);

/* --- history.c --------------------------------------------------------------------------------
 * What is remembered of the whole run, layer by layer. */
typedef struct bp_layer_history {
    double first_weight_rms, last_weight_rms; /* NaN before the first */
    double first_alignment;                   /* at the first record; NaN not measured */
    double first_activation;                  /* the activation's part of the gain there */
    double sum_update_ratio;
    uint64_t n_update_ratio;
    double last_update_ratio, largest_update_ratio;
    double own_update_ratio; /* of the last record alone, without growth between records */
    double
        weight_floor; /* rms below which weights count as near 0; NaN: their scale says nothing */
    bool is_trained;
    bool starved;
    bp_onset starved_since;
} bp_layer_history;

typedef struct bp_history {
    bool began;
    int64_t first_step, last_step, previous_step; /* -1: none */
    uint64_t n_records;
    double first_loss, last_loss; /* single readings */
    double first_mean, best_mean,
        last_mean;       /* window means; NaN before the window is long enough */
    double largest_jump; /* loss / the loss before */
    int64_t largest_jump_step;
    double largest_loss;
    int64_t out_of_bounds_step; /* the last one with a loss > 10 x trivial; -1: none */
    uint32_t n_out_of_bounds;   /* records in a row up to now with a loss > 10 x trivial */
    double clipping; /* largest norm of all gradients before / after they were clipped; 0 never */
    uint64_t nan_parameters;
    int64_t nan_since; /* -1: never */
    double largest_span;
    bp_layer_history *layer; /* [n_layers + 1] */
} bp_history;

/* --- findings --------------------------------------------------------------------------------- */
#define MAX_EVIDENCE 16
#define TITLE_BYTES 256
#define CAUSE_BYTES 1600
#define NOTE_BYTES 800
#define SYMPTOM_BYTES 256
#define NOT_OBSERVED_BYTES 256

typedef struct bp_finding_slot {
    bp_finding finding; /* points into what follows */
    bool exists;
    bp_profile profile; /* of the record that it rests on */
    uint32_t *layers;
    bp_evidence evidence[MAX_EVIDENCE];
    bp_symptom symptoms[3];
    char title[TITLE_BYTES], cause[CAUSE_BYTES], note[NOTE_BYTES];
    char symptom_text[3][SYMPTOM_BYTES];
    uint32_t blamed_from, blamed_to; /* cut points of a narrow cause; equal to span when uniform */
    bool narrow;
    bool forward; /* vanishing: the input no longer reaches the end */
    uint32_t forward_cut;
    uint32_t n_quiet;  /* weights: records since it last acted */
    bool temporal;     /* exploding: in steps, not over depth */
    bool through_time; /* vanishing, exploding: inside recurrent layers, not over depth */
} bp_finding_slot;

/* The non-finite value: where and how it came to be. */
typedef struct bp_non_finite {
    bool seen;
    int64_t step;
    uint32_t layer;        /* the producer; 0 = the input data, or the loss */
    const char *place;     /* what became non-finite there: "activation", "error signal" ... */
    bool loss_is_bad;      /* the loss of that step, too, is not finite */
    bool is_watched;       /* what went into the place was looked at and finite */
    bool is_data;          /* the input itself: nothing in the network produced it */
    bool is_inherited;     /* the parameters came in so: produced before the first record */
    uint64_t n_nan, n_inf; /* values at the place */
    double largest_before; /* largest finite magnitude in the tensor that it was made from */
    uint32_t n_passers;    /* layers that passed it on in the same step */
} bp_non_finite;

/* What the initialiser gave a stretch of layers, and what the critical one would have given. */
typedef struct bp_verdict {
    bool known;
    double own, mended; /* sum of ln gain over the stretch: as it is, with critical weights */
    double log_alignment;
    uint32_t n_alignments;
    uint32_t n_off; /* layers whose weights are off the critical value */
} bp_verdict;

/* Copies of the parameters, or what the optimisers of the ranks got, that were not equal. */
typedef struct bp_rank_spread {
    int64_t since;     /* the first record in which they were not; -1: never */
    uint32_t n;        /* records since in which they were not */
    double difference; /* the largest, relative, and where it was */
    uint32_t layer, rank;
    int64_t step;
    uint8_t *layers; /* [n_layers + 1]: 1 where they were not */
} bp_rank_spread;

struct bp_diagnosis {
    bp_allocator allocator;
    const bp_model *model;
    uint32_t n_layers;
    uint32_t n_learning; /* layers that are trained: L of the shares */
    double limit;        /* 1e-3 / L */
    bp_profile now;
    bp_profile first; /* of the first full record: what the initialisation did */
    bp_window window;
    bp_history history;
    double *shares;     /* [n_layers + 1], scratch */
    uint64_t seen;      /* a bit for each quantity of which something was measured */
    char *not_observed; /* [NOT_OBSERVED_BYTES], the overview's */
    bp_non_finite non_finite;
    bp_verdict too_small, too_large;
    double forward_worst; /* last measured: the spread at the first cut point without any */
    uint32_t forward_cut;
    double forward_input;
    int64_t full_step, full_distance;    /* the last record with updates, and from the one before */
    int64_t explode_step, explode_since; /* last record that grew over depth, and its series */
    bp_profile explode;                  /* of that record */
    int64_t jump_step, jump_since;       /* last record with an update ratio > 1, and its series */
    double jump_ratio;                   /* the largest one where the series began */
    uint32_t jump_layer;
    bool out_by_jump; /* the loss is out of bounds since updates were larger than weights */
    int64_t shot_since, shot_step; /* the last such jump that the loss showed: began, last seen */
    bp_rank_spread parameters, gradients; /* over the ranks */
    uint32_t n_ranks;                     /* whose copies were compared; 0: of none */
    uint32_t n_equal;                     /* records up to now in which all were equal */
    bp_unit_health units;
    bp_symmetry symmetry;
    bp_generalisation generalisation;
    bp_loss_shape loss_shape;
    bp_rates rates;
    bp_setup setup;
    bp_precision precision;
    bp_through_time through_time;
    bp_finding_slot slots[BP_N_PROBLEMS]; /* by problem number */
    uint32_t order[BP_N_PROBLEMS];        /* problems in the order of output */
    uint32_t n_order;
};

/* --- the judges: each file one problem or family ------------------------------------------------
 */
/* A count of the record, 0 where it is not measured; huge and impossible ones are cut. */
/* 0 where it was not measured. row <= n_layers */
static inline uint64_t bp_count_of(const bp_record *record, bp_quantity quantity, uint32_t row) {
    const double count = bp_record_get(record, quantity, row);
    if (!(count > 0)) return 0;
    return count < 0x1p62 ? (uint64_t)(int64_t)count : (uint64_t)1 << 62;
}
/* A count of non-finite values above 0 anywhere; history.c */
bool bp_any_non_finite(const bp_record *record);
/* any_non_finite: as of this record; history.c */
void bp_history_note(bp_diagnosis *d, const bp_record *record, bool any_non_finite);
/* A light step: its loss is all that is known. */
void bp_history_note_loss(bp_diagnosis *d, int64_t step, double loss); /* history.c */
bool bp_effect_shares(bp_diagnosis *d, const bp_record *record); /* effect.c: fills d->shares */
uint32_t bp_judge_vanishing(bp_diagnosis *d, const bp_record *record); /* vanishing.c */
uint32_t bp_judge_exploding(bp_diagnosis *d, const bp_record *record); /* exploding.c */
uint32_t bp_judge_non_finite(bp_diagnosis *d, const bp_record *record,
                             bool any_non_finite);                   /* non_finite.c */
uint32_t bp_judge_weights(bp_diagnosis *d, const bp_record *record); /* weights.c */
uint32_t bp_judge_ranks(bp_diagnosis *d, const bp_record *record);   /* ranks.c */

/* A family of detectors (<family>.c): its state is `d-><family>`, opened (false: no memory) and
 * closed with the diagnosis; judge takes every record that has more than a loss and returns how
 * many findings opened or changed their severity; title and words write a finding of the family. */
#define BP_FAMILIES(X) \
    X(units)           \
    X(symmetry)        \
    X(generalisation)  \
    X(loss_shape)      \
    X(rates)           \
    X(setup)           \
    X(precision)       \
    X(through_time)
#define BP_FAMILY_DECLARE(family)              \
    bool bp_##family##_open(bp_diagnosis *d);  \
    void bp_##family##_close(bp_diagnosis *d); \
    uint32_t bp_judge_##family(bp_diagnosis *d, const bp_record *record);
BP_FAMILIES(BP_FAMILY_DECLARE)

/* A finding in words: its title, its cause with the measured numbers, its note. text.c's table says
 * which of these writes a problem's. */
typedef void bp_title(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *title);
typedef void bp_words(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *cause,
                      bp_text *note);
bp_title bp_precision_title;
bp_words bp_precision_words;
bp_title bp_through_time_title; /* of the gradients' slots, where through_time is set */
bp_words bp_through_time_words;
bp_title bp_units_title;
bp_words bp_units_words;
bp_title bp_symmetry_title;
bp_words bp_symmetry_words;
bp_title bp_rates_title;
bp_words bp_rates_words;
bp_title bp_loss_shape_title;
bp_words bp_loss_shape_words;
bp_title bp_generalisation_title;
bp_words bp_generalisation_words;
bp_title bp_setup_title;
bp_words bp_setup_words;
/* Every finite loss, of light steps too. loss_shape.c; rates.h has one, too */
void bp_loss_shape_note(bp_diagnosis *d, int64_t step, double loss);

/* sigma_w = rms * sqrt(fan_in) by the activation's critical value: 1 is right. NaN where it has no
 * meaning, before a normalisation among others. weights.c */
double bp_weight_scale(const bp_diagnosis *d, uint32_t id, double rms);

/* --- finding.c ----------------------------------------------------------------------------------
 */
/* Opens the problem's finding, or returns it when it exists. since counts when it opens: the onset,
 * which may lie anywhere behind the full record before. */
bp_finding_slot *bp_finding_open(bp_diagnosis *d, bp_problem problem, int64_t since, int64_t step);
/* The same where the onset is known better than that: by a change point, or as an exact step. */
bp_finding_slot *bp_finding_open_within(bp_diagnosis *d, bp_problem problem, const bp_onset *since,
                                        int64_t step);
/* How bad it is now; existed: before this record. Returns 1 when it opened or its severity changed.
 */
uint32_t bp_finding_settle(bp_finding_slot *slot, bool existed, bp_severity severity);
/* It no longer holds, and nothing was lost but time: what remains is a hint that it did. Returns 1
 * when that changed its severity. */
uint32_t bp_finding_close(bp_diagnosis *d, bp_problem problem);
/* What has healed costs the steps until then, while the loss has not made up for them: it held for
 * more than a quarter of the run, and half of what there is to learn is still to be learnt. */
bool bp_finding_still_costs(const bp_diagnosis *d, const bp_finding *finding, int64_t step);
void bp_finding_add_layer(bp_finding_slot *slot, uint32_t layer);
void bp_finding_add_evidence(bp_finding_slot *slot, const char *name, const char *meaning,
                             uint32_t layer, int64_t step, double value, bool measured);
/* The finding of the problem that explains this one; 0: it is a root. causes.c */
bp_problem bp_cause_of(const bp_diagnosis *d, bp_problem problem);
/* The graph has this edge, whatever its condition says of a run. */
bool bp_may_explain(bp_problem cause, bp_problem effect);
/* Roots first, each followed by its consequences. */
void bp_finding_sort(bp_diagnosis *d);

/* --- observed.c ----------------------------------------------------------------------------------
 */
/* What the problem's judgement needs was there. */
bool bp_was_observed(const bp_diagnosis *d, bp_problem problem);
/* "units, validation"; written anew, valid until the next call. */
const char *bp_not_observed(const bp_diagnosis *d);

/* --- text.c -------------------------------------------------------------------------------------
 */
void bp_text_compose(bp_diagnosis *d, bp_finding_slot *slot); /* title, cause, note, symptoms */
bp_title bp_text_ranks_title;                                 /* ranks.c */
bp_words bp_text_ranks;
/* The lecture's table for this run (symptoms.c). */
void bp_text_symptoms(bp_diagnosis *d, bp_finding_slot *slot);
/* "1-4, 7" */
void bp_text_layers(bp_text *text, const uint32_t *layers, uint32_t n_layers);
/* "layer 7" or "layers 1-4, 7" */
void bp_text_layers_named(bp_text *text, const uint32_t *layers, uint32_t n_layers);

/* The trivial level of the loss, or the first window's mean where it is not known; NaN for a loss
 * that has no level (negative) or tells nothing about learning. */
double bp_trivial_level(const bp_diagnosis *d);
/* The loss is below 0.95 of the trivial level (as a mean over the window up to now). True for a
 * loss that tells nothing about learning: nothing is said to be stuck by it. */
bool bp_loss_left_trivial(const bp_diagnosis *d);
/* The loss tells about learning at all. */
bool bp_loss_is_judged(const bp_diagnosis *d);
/* Update ratio of a layer's weights: rms(update) / max(rms w, 0.1/sqrt(fan_in)); history.layer. */
void bp_history_begin(bp_diagnosis *d); /* history.c */

#endif
