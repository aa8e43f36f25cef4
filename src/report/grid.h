/* SPDX-License-Identifier: Apache-2.0 */
/* A view made as small as a picture of characters: layers joined in groups, steps in the columns of
 * its axis. What is not finite is never lost in it. */
#ifndef BP_REPORT_GRID_H
#define BP_REPORT_GRID_H

#include "report/chart.h"
#include "runlog/pyramid.h"

/* From what gives way to what stays when cells are joined. */
typedef enum bp_grid_kind {
    BP_GRID_ABSENT, /* not measured */
    BP_GRID_VALUE,
    BP_GRID_ZERO, /* on a scale of powers */
    BP_GRID_INF,
    BP_GRID_NAN,
    BP_N_GRID_KINDS
} bp_grid_kind;

typedef struct bp_grid_cell {
    double place; /* on the scale; of VALUE only */
    bp_grid_kind kind;
} bp_grid_cell;

typedef struct bp_grid {
    uint32_t first_row, n_rows; /* of the view: layers, or row 0 of the network */
    uint32_t n_groups;
    int columns;
    bp_grid_cell *cells; /* [n_groups][columns] */
    bp_scale scale;
    bool has[BP_N_GRID_KINDS];
} bp_grid;

/* Which rows of the view there are to show: row 0 only where something of it was measured. */
void bp_grid_rows(bp_grid *grid, const bp_view *view);
/* After bp_grid_rows, in at most n_groups groups, over the columns of the chart. largest: the
 * largest value of a column, else the mean; of layers in a group the one that is farthest from what
 * is usual. Columns of which nothing was measured repeat the one before. */
BP_MUST_USE bp_status bp_grid_fill(bp_grid *grid, const bp_view *view, bp_series series,
                                   bool largest, const bp_chart *chart, bp_error *error);
void bp_grid_free(bp_grid *grid);
/* The first row of a group, of n_groups the row behind the last. */
uint32_t bp_grid_start(const bp_grid *grid, uint32_t group);

/* Steps from ... to - 1 of a row of the view, over all of its columns that lie in them. */
bp_view_cell bp_grid_join(const bp_view *view, uint32_t row, uint64_t from, uint64_t to);

#endif
