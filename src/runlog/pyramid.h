/* SPDX-License-Identifier: Apache-2.0 */
/* A series of a whole run at every zoom, in time that does not depend on the number of steps: its
 * values, and bins of 4, 16, 64, ... steps with smallest, largest, mean and last. Derived from the
 * log and kept beside it, in RUN/pyramid, from where it may be deleted at any time; never trusted:
 * what does not fit the log or its own checksums is built again, and where nothing can be written
 * it lives in memory. Called by who shows runs. */
#ifndef BP_RUNLOG_PYRAMID_H
#define BP_RUNLOG_PYRAMID_H

#include "record/series.h"
#include "runlog/runlog.h"

#define BP_VIEW_HAS_NAN 1u
#define BP_VIEW_HAS_INF 2u

/* Of the finite values; NaN where there is none. A mean is at most 0.2% off where values are 16-bit
 * logarithms, and as exact as they are else. */
typedef struct bp_view_cell {
    double min, max, mean;
    double last;    /* any value */
    uint32_t count; /* values, finite or not; 0: nothing was measured */
    uint32_t flags; /* BP_VIEW_HAS_...: a single one in a bin is seen at every zoom */
} bp_view_cell;

typedef struct bp_view {
    uint32_t n_rows, n_columns;
    bp_view_cell *cells; /* [n_columns][n_rows]; row 0 is the network or its input, row l layer l */
    uint64_t *starts;    /* n_columns + 1: column c holds steps starts[c] ... starts[c + 1] - 1 */
    size_t cells_capacity, starts_capacity;
    bp_allocator allocator; /* of the pyramid that filled it first */
} bp_view;

typedef struct bp_pyramid bp_pyramid;

typedef struct bp_pyramid_options {
    const bp_io *io;        /* borrowed; NULL: the system */
    bp_allocator allocator; /* resize NULL: malloc */
    bool in_memory;         /* writes nothing */
    uint64_t memory_bytes;  /* in memory, the finest levels are given up above this; 0: 256 MiB */
} bp_pyramid_options;

/* run: a run folder. Takes all that the log holds now. */
BP_MUST_USE bp_status bp_pyramid_open(bp_pyramid **pyramid, const char *run, bp_series series,
                                      const bp_pyramid_options *options, bp_error *error);
void bp_pyramid_close(bp_pyramid *pyramid);
/* Takes what the log has got since. */
BP_MUST_USE bp_status bp_pyramid_update(bp_pyramid *pyramid, bp_error *error);
/* The last step that has the series; -1 when there is none. */
int64_t bp_pyramid_last_step(const bp_pyramid *pyramid);
/* Of a view. */
uint32_t bp_pyramid_n_rows(const bp_pyramid *pyramid);
/* False: nothing is kept beside the run. */
bool bp_pyramid_is_kept(const bp_pyramid *pyramid);

/* Steps first ... last in at most n_columns columns of nearly the same width, which are whole bins:
 * the first may begin a little before and the last end a little behind. view: bp_view_free'd by the
 * caller, before the pyramid is closed; zero at first, and may be used again. */
BP_MUST_USE bp_status bp_pyramid_view(bp_pyramid *pyramid, bp_view *view, int64_t first,
                                      int64_t last, uint32_t n_columns, bp_error *error);
void bp_view_free(bp_view *view);

/* A column as elements of the series, [n_rows] each: absent in all where nothing was measured, NaN
 * in all where nothing finite was. */
typedef struct bp_view_strip {
    const void *mean, *min, *max;
    const uint8_t *flags;
} bp_view_strip;

/* What becomes of a view that nobody needs to have as a whole. What it is given is borrowed for the
 * call. */
typedef struct bp_view_sink {
    void *context;
    /* Before the first column, and again when the pyramid had to be built anew. */
    bp_status (*begin)(void *context, uint32_t n_rows, uint32_t n_columns, const uint64_t *starts,
                       bp_error *error);
    void (*strip)(void *context, uint32_t column, const bp_view_strip *strip); /* ascending */
} bp_view_sink;

/* As bp_pyramid_view, a column at a time. */
BP_MUST_USE bp_status bp_pyramid_draw(bp_pyramid *pyramid, const bp_view_sink *sink, int64_t first,
                                      int64_t last, uint32_t n_columns, bp_error *error);
bp_series bp_pyramid_series(const bp_pyramid *pyramid);
/* Room for so many cells, which hold anything; view->allocator is set. For who fills views. */
BP_MUST_USE bp_status bp_view_reserve(bp_view *view, uint32_t n_rows, uint32_t n_columns,
                                      bp_error *error);

#endif
