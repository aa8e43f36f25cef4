/* SPDX-License-Identifier: Apache-2.0 */
/* What is said of one step: quantities (columns) of the network and of its layers (rows); and of
 * what happened between steps: events. */
#ifndef BACKPROBE_RECORD_H
#define BACKPROBE_RECORD_H

#include <backprobe/base.h>
#include <backprobe/model.h>
#include <backprobe/stats.h>

#ifdef __cplusplus
extern "C" {
#endif

/* id, name, pinned number, codec, rows, meaning.
 * Codecs: REAL f64 bits; LOG 16-bit logarithm (+-0.16%, codes for 0, Inf, NaN; the sign is
 * lost: magnitudes only); COUNT unsigned varint. Rows: NETWORK = row 0 only, LAYER = rows 0 ... n
 * (row 0: input).
 */
#define BP_QUANTITIES(X)                                                                           \
    X(LOSS, "loss", 1, REAL, NETWORK, "of the batch, before the update")                           \
    X(SAMPLES, "samples", 2, COUNT, NETWORK, "in the batch")                                       \
    X(LOSS_TERMS, "loss_terms", 3, COUNT, NETWORK, "that the loss is the mean of")                 \
    X(LEARNING_RATE, "learning_rate", 4, REAL, NETWORK, "of this update")                          \
    X(TRAIN_ACCURACY, "train_accuracy", 5, REAL, NETWORK, "of the batch")                          \
    X(VALIDATION_LOSS, "validation_loss", 6, REAL, NETWORK, "after this update")                   \
    X(VALIDATION_ACCURACY, "validation_accuracy", 7, REAL, NETWORK, "after this update")           \
    X(LOSS_SCALE, "loss_scale", 8, REAL, NETWORK,                                                  \
      "factor of a loss scaler; gradients are told without")                                       \
    X(GRADIENT_NORM, "gradient_norm", 9, LOG, NETWORK,                                             \
      "of all gradients, as the optimiser gets them")                                              \
    X(UNCLIPPED_NORM, "unclipped_norm", 10, LOG, NETWORK, "of all gradients before clipping")      \
    X(TARGET_MIN, "target_min", 11, REAL, NETWORK, "smallest target of the batch, or class")       \
    X(TARGET_MAX, "target_max", 12, REAL, NETWORK, "largest target of the batch, or class")        \
    X(ACTIVATION_NORM, "activation_norm", 16, LOG, LAYER, "rms over samples of |x|")               \
    X(ACTIVATION_RMS, "activation_rms", 17, LOG, LAYER, "of the layer's output")                   \
    X(ACTIVATION_MAX, "activation_max", 18, LOG, LAYER, "largest finite magnitude")                \
    X(ACTIVATION_NAN, "activation_nan", 19, COUNT, LAYER, "NaN values")                            \
    X(ACTIVATION_INF, "activation_inf", 20, COUNT, LAYER, "infinite values")                       \
    X(VARIATION, "variation", 21, LOG, LAYER, "sqrt(mean over units of var over samples) / rms")   \
    X(UNITS, "units", 22, COUNT, LAYER, "units (a convolution's channels) that were looked at")    \
    X(SILENT_UNITS, "silent_units", 23, COUNT, LAYER, "of them never active in these samples")     \
    X(DEAD_UNITS, "dead_units", 24, COUNT, LAYER,                                                  \
      "of them not active for max(an epoch, 10,000) samples")                                      \
    X(SATURATED_UNITS, "saturated_units", 25, COUNT, LAYER,                                        \
      "of them with mean phi' below 1% of its maximum")                                            \
    X(DISTINCT_UNITS, "distinct_units", 26, COUNT, LAYER, "of them that differ in these samples")  \
    X(ACTIVATION_PRECISION, "activation_precision", 27, COUNT, LAYER,                              \
      "significand bits of the format: 53, 24, 11 (float16), 8 (bfloat16)")                        \
    X(FEATURE_SCALES, "feature_scales", 28, LOG, LAYER,                                            \
      "row 0, now and then: largest / median deviation of an input feature")                       \
    X(ERROR_NORM, "error_norm", 32, LOG, LAYER, "rms over samples of |dL/d output| * loss terms")  \
    X(ERROR_RMS, "error_rms", 33, LOG, LAYER, "of dL/d output * loss terms")                       \
    X(ERROR_NAN, "error_nan", 34, COUNT, LAYER, "NaN values in dL/d output")                       \
    X(ERROR_INF, "error_inf", 35, COUNT, LAYER, "infinite values in dL/d output")                  \
    X(ERROR_PRE_ACTIVATION, "error_pre_activation", 36, LOG, LAYER, "rms of dL/dz * loss terms")   \
    X(ERROR_PRE_NORM, "error_pre_norm", 37, LOG, LAYER, "rms of dL/d(norm input) * loss terms")    \
    X(ERROR_INPUT_NORM, "error_input_norm", 38, LOG, LAYER, "|dL/dx| through this layer alone")    \
    X(ERROR_MAX, "error_max", 39, LOG, LAYER, "largest finite magnitude of dL/d output")           \
    X(ERROR_THROUGH_TIME, "error_through_time", 40, LOG, LAYER,                                    \
      "rms of dL/d input of a recurrent layer: first tenth of the time steps / last tenth")        \
    X(ERROR_TINY, "error_tiny", 41, REAL, LAYER,                                                   \
      "share of dL/d output, zeros left out, that is subnormal in its format")                     \
    X(ERROR_PRECISION, "error_precision", 42, COUNT, LAYER, "significand bits of its format")      \
    X(WEIGHT_RMS, "weight_rms", 48, LOG, LAYER, "before the update")                               \
    X(WEIGHT_MAX, "weight_max", 49, LOG, LAYER, "largest finite magnitude")                        \
    X(BIAS_RMS, "bias_rms", 50, LOG, LAYER, "before the update")                                   \
    X(PARAMETER_NAN, "parameter_nan", 51, COUNT, LAYER, "NaN parameters before the update")        \
    X(PARAMETER_INF, "parameter_inf", 52, COUNT, LAYER, "infinite parameters before the update")   \
    X(WEIGHT_SPREAD, "weight_spread", 53, LOG, LAYER,                                              \
      "standard deviation of the weights / their rms; 0: all are equal")                           \
    X(PARAMETER_PRECISION, "parameter_precision", 54, COUNT, LAYER,                                \
      "significand bits of the weights' format")                                                   \
    X(GRADIENT_RMS, "gradient_rms", 64, LOG, LAYER, "of the weights' gradient")                    \
    X(GRADIENT_MAX, "gradient_max", 65, LOG, LAYER, "largest finite magnitude, all parameters")    \
    X(BIAS_GRADIENT_RMS, "bias_gradient_rms", 66, LOG, LAYER, "of the biases' gradient")           \
    X(GRADIENT_NAN, "gradient_nan", 67, COUNT, LAYER, "NaN values, all parameters")                \
    X(GRADIENT_INF, "gradient_inf", 68, COUNT, LAYER, "infinite values, all parameters")           \
    X(UNCLIPPED_RMS, "unclipped_rms", 69, LOG, LAYER, "of the weights' gradient before clipping")  \
    X(MISSING_GRADIENTS, "missing_gradients", 70, COUNT, LAYER,                                    \
      "parameters that the optimiser has and that got no gradient")                                \
    X(GRADIENT_TINY, "gradient_tiny", 71, REAL, LAYER,                                             \
      "share of the gradient as stored (scaled), zeros left out, that is subnormal")               \
    X(UPDATE_RMS, "update_rms", 80, LOG, LAYER, "of the weights' change w_after - w_before")       \
    X(EFFECT, "effect", 81, REAL, LAYER, "-<g, change of w>: first-order fall of the loss")        \
    X(UPDATE_BAD, "update_bad", 82, COUNT, LAYER, "parameters that the update made non-finite")    \
    X(STALLED, "stalled", 83, COUNT, LAYER, "parameters with g != 0 that the update did not move") \
    X(PARAMETERS, "parameters", 84, COUNT, LAYER, "parameters that the update was given")          \
    X(ADAPTIVITY, "adaptivity", 85, LOG, LAYER,                                                    \
      "mean of sqrt(v) / (sqrt(v) + eps): 1 = Adam normalises")                                    \
    X(GRADIENT_COSINE, "gradient_cosine", 86, REAL, LAYER,                                         \
      "of the weights' gradient and the last one")                                                 \
    X(SHARD_WEIGHTS, "shard_weights", 87, COUNT, LAYER,                                            \
      "of this rank; not measured where it has all")                                               \
    X(PARAMETER_SPREAD, "parameter_spread", 96, LOG, LAYER,                                        \
      "of the ranks' copies of the parameters, largest relative difference")                       \
    X(GRADIENT_SPREAD, "gradient_spread", 97, LOG, LAYER,                                          \
      "the same of what their optimisers got and did")                                             \
    X(RANK_APART, "rank_apart", 98, COUNT, LAYER, "the rank that differs most")                    \
    X(RANKS, "ranks", 99, COUNT, NETWORK, "whose copies were compared")

typedef enum bp_quantity_codec { BP_CODEC_REAL, BP_CODEC_LOG, BP_CODEC_COUNT } bp_quantity_codec;

/* Dense indexes of the quantities in memory (not pinned; the numbers above are). */
#define BP_ENUM_MEMBER_QUANTITY(id, name, number, codec, rows, meaning) BP_Q_##id,
typedef enum bp_quantity { BP_QUANTITIES(BP_ENUM_MEMBER_QUANTITY) BP_N_QUANTITIES } bp_quantity;

/* A record is a table of BP_N_QUANTITIES columns and n_layers + 1 rows. */
typedef struct bp_record {
    int64_t step;
    double wall_time; /* seconds since 1970 */
    uint32_t stream;  /* one optimiser = one stream; 0 */
    uint32_t micro_step;
    uint32_t flags; /* BP_RECORD_... */
    uint32_t n_layers;
    uint8_t *measured; /* [BP_N_QUANTITIES][n_layers + 1], 0 or 1; owned by who opened it */
    double *value;     /* the same shape; NaN is a measured NaN when measured is 1 */
    uint64_t columns;  /* a bit for each quantity of which something may be measured; kept by who
                          sets values, so that clearing need not look at all */
} bp_record;

#define BP_RECORD_UPDATE_SKIPPED 1u

BP_API BP_MUST_USE bp_status bp_record_init(bp_record *record, uint32_t n_layers,
                                            const bp_allocator *allocator);
BP_API void bp_record_finish(bp_record *record, const bp_allocator *allocator);

static inline size_t bp_record_cell(const bp_record *record, bp_quantity quantity, uint32_t row) {
    return (size_t)quantity * (record->n_layers + 1u) + row;
}

static inline int bp_record_has(const bp_record *record, bp_quantity quantity, uint32_t row) {
    return row <= record->n_layers && record->measured[bp_record_cell(record, quantity, row)];
}

/* NaN when it is not measured: ask bp_record_has where the difference matters. row <= n_layers. */
static inline double bp_record_get(const bp_record *record, bp_quantity quantity, uint32_t row) {
    return record->value[bp_record_cell(record, quantity, row)];
}

/* Forgets all values. */
BP_API void bp_record_clear(bp_record *record);
BP_API void bp_record_set(bp_record *record, bp_quantity quantity, uint32_t row, double value);

BP_API const char *bp_quantity_name(bp_quantity quantity); /* "weight_rms"; static, NULL outside */

/* --- histograms ------------------------------------------------------------------------------- */

/* How many elements of a tensor lie in each octave 2^k <= |x| < 2^(k + 1), in what a record has
 * room for. Where more octaves are in use than BP_HISTOGRAM_OCTAVES, those that hold most are
 * taken, and what lies below or above counts in the first or last of them. */
#define BP_HISTOGRAM_OCTAVES 64
typedef struct bp_histogram {
    uint64_t zeros, non_finite; /* which are in no octave */
    int32_t first_octave;       /* of count[0]; 0 where there is none */
    uint32_t n_octaves;         /* the first and the last are not empty */
    uint64_t count[BP_HISTOGRAM_OCTAVES];
} bp_histogram;

BP_API void bp_histogram_of(bp_histogram *histogram, const bp_summary *summary,
                            const bp_exponents *exponents);
/* into := into joined with other; exact where neither needed more octaves. */
BP_API void bp_histogram_join(bp_histogram *into, const bp_histogram *other);
/* All elements, the zeros and non-finite ones too. */
BP_API uint64_t bp_histogram_elements(const bp_histogram *histogram);

/* --- events ----------------------------------------------------------------------------------- */

/* Pinned: they are types of records in run logs. */
typedef enum bp_event_kind {
    BP_EVENT_GAP = 3,         /* steps that could not be recorded */
    BP_EVENT_FINDING = 7,     /* one opened, changed or closed */
    BP_EVENT_CHECKPOINT = 8,  /* one was written */
    BP_EVENT_MODEL_DELTA = 9, /* the network grew */
    BP_EVENT_WATCH = 10,      /* how often steps are looked at in full, and what watching costs */
    BP_EVENT_THINNED = 12,    /* records were dropped so that the log stays within its limit */
    BP_EVENT_HISTOGRAM = 13   /* of the exponents of a tensor */
} bp_event_kind;

typedef struct bp_event_gap {
    uint64_t reason; /* 1 a write failed, 2 the disk did not keep up */
    uint64_t n_steps;
    int64_t first_step, last_step;
} bp_event_gap;

typedef enum bp_finding_state {
    BP_FINDING_OPENED = 1,
    BP_FINDING_CHANGED = 2,
    BP_FINDING_CLOSED = 3
} bp_finding_state;

typedef struct bp_event_finding {
    int64_t step, since_step; /* since_step <= step */
    uint32_t problem;         /* its number in BP_PROBLEMS */
    uint32_t severity;        /* bp_severity */
    bp_finding_state state;
} bp_event_finding;

#define BP_EVENT_FILE_BYTES 256
typedef struct bp_event_checkpoint {
    int64_t step;
    char file[BP_EVENT_FILE_BYTES]; /* a name without a folder */
} bp_event_checkpoint;

typedef struct bp_event_model_delta {
    uint32_t first_layer, n_layers; /* the new ones */
} bp_event_model_delta;

typedef enum bp_watch_mode { BP_WATCH_EVERY = 1, BP_WATCH_BUDGET = 2 } bp_watch_mode;

typedef struct bp_event_watch {
    int64_t step;
    bp_watch_mode mode;
    uint64_t every;                    /* EVERY: each so manieth step is looked at in full */
    double budget_fraction;            /* BUDGET: share of the run's time; 0 ... 1 */
    uint64_t full_steps, light_steps;  /* so far */
    double watch_seconds, run_seconds; /* so far */
} bp_event_watch;

typedef struct bp_event_thinned {
    uint64_t every;                         /* each so manieth step was kept */
    uint64_t first_sequence, last_sequence; /* of the records among which */
    uint64_t n_dropped;
} bp_event_thinned;

typedef struct bp_event_histogram {
    int64_t step;
    uint32_t layer; /* 0: the input */
    uint32_t role;  /* bp_role of observe.h; of parameters and gradients those of the weights */
    bp_histogram histogram;
} bp_event_histogram;

typedef struct bp_event {
    bp_event_kind kind; /* which of these holds */
    union {
        bp_event_gap gap;
        bp_event_finding finding;
        bp_event_checkpoint checkpoint;
        bp_event_model_delta model_delta;
        bp_event_watch watch;
        bp_event_thinned thinned;
        bp_event_histogram histogram;
    } as;
} bp_event;

#ifdef __cplusplus
}
#endif
#endif
