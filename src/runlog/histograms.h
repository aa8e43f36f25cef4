/* SPDX-License-Identifier: Apache-2.0 */
/* Histograms of exponents over time, from the run's log: of one layer and one role (gradient, ...),
 * as a view whose rows are octaves. They are recorded seldom, so that they cost the log little, and
 * read when somebody looks. Called by who shows runs. */
#ifndef BP_RUNLOG_HISTOGRAMS_H
#define BP_RUNLOG_HISTOGRAMS_H

#include "runlog/pyramid.h"

typedef struct bp_histograms bp_histograms;

/* run: a run folder. Takes all that the log holds now; remembers where histograms stand, not what
 * they are. */
BP_MUST_USE bp_status bp_histograms_open(bp_histograms **histograms, const char *run,
                                         const bp_io *io, const bp_allocator *allocator,
                                         bp_error *error);
void bp_histograms_close(bp_histograms *histograms);
BP_MUST_USE bp_status bp_histograms_update(bp_histograms *histograms, bp_error *error);
/* The last step that has one of this role; -1 when there is none. role: a bp_role of observe, by
 * its pinned number in the log. */
int64_t bp_histograms_last_step(const bp_histograms *histograms, unsigned role);

/* BP_EXPONENT_MIN ... : octaves that no histogram of the span uses have no row; at most 128 rows
 * are given, and what lies below counts in the first. Without a histogram there is no row at all.
 * Row r of the view tells of elements with 2^(first_octave + r) <= |x| < 2^(first_octave + r + 1):
 * mean, min and max are shares of all the elements (with zeros and non-finite ones), over the
 * histograms of a column; count says how many these were. The rest as bp_pyramid_view. */
BP_MUST_USE bp_status bp_histograms_view(bp_histograms *histograms, bp_view *view,
                                         int32_t *first_octave, unsigned role, uint32_t layer,
                                         int64_t first, int64_t last, uint32_t n_columns,
                                         bp_error *error);

#endif
