/* SPDX-License-Identifier: Apache-2.0 */
/* Logs with gaps, NaN and Inf, sparse and light steps, and a plain reckoning over all their records
 * that a pyramid is compared with. */
#ifndef BP_TESTS_RUNLOG_PLAIN_H
#define BP_TESTS_RUNLOG_PLAIN_H

#include "craft.h"
#include "runlog/pyramid.h"

enum { ROWS = FIXTURE_LAYERS + 1 };
#define LOSS ((bp_series)BP_Q_LOSS)
#define GRADIENT_RMS ((bp_series)BP_Q_GRADIENT_RMS)
#define ACTIVATION_NAN ((bp_series)BP_Q_ACTIVATION_NAN)
#define WEIGHT_RMS ((bp_series)BP_Q_WEIGHT_RMS)
#define BIAS_RMS ((bp_series)BP_Q_BIAS_RMS)

/* A log under construction, in a folder of its own. */
typedef struct plain_log {
    char folder[FIXTURE_PATH_BYTES];
    bp_model *model;
    craft segment;
    uint64_t draws;
} plain_log;

void plain_start(plain_log *b, uint64_t seed);
void plain_stop(plain_log *b);
uint32_t plain_draw(plain_log *b, uint32_t below);
void plain_next_segment(plain_log *b, bool rewinds);
void plain_put_step(plain_log *b, int64_t step);
/* Steps from *step on: dense, sparse, light and lost ones; they are in the folder then. */
void plain_put_some(plain_log *b, int64_t *step, int n);

bp_pyramid *plain_open(const char *folder, bp_series series, const bp_pyramid_options *options);
void plain_remove_pyramid(const char *folder);

/* What the log in the folder says of a series, for the comparisons. */
void plain_read(const char *folder, bp_series series);
void plain_assert_view(bp_pyramid *pyramid, int64_t first, int64_t last, uint32_t n_columns,
                       bp_series series);
/* Reads, and compares views of all kinds. */
void plain_assert_views(bp_pyramid *pyramid, const char *folder, bp_series series);
/* Opens, compares, closes. */
void plain_assert_pyramid(const char *folder, bp_series series, bool kept);

#endif
