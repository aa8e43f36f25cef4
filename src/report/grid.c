/* SPDX-License-Identifier: Apache-2.0 */
#include "report/grid.h"

#include <stdlib.h>

void bp_grid_rows(bp_grid *grid, const bp_view *view) {
    bool has_input = view->n_rows == 1;
    for (uint32_t c = 0; c < view->n_columns && !has_input; c++)
        has_input = view->cells[(size_t)c * view->n_rows].count > 0;
    *grid = (bp_grid){.first_row = has_input ? 0 : 1};
    grid->n_rows = view->n_rows - grid->first_row;
}

uint32_t bp_grid_start(const bp_grid *grid, uint32_t group) {
    return grid->first_row + (uint32_t)((uint64_t)grid->n_rows * group / grid->n_groups);
}

/* The view's first column that ends behind a step. */
static uint32_t first_column(const bp_view *view, uint64_t step) {
    uint32_t low = 0, high = view->n_columns;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (view->starts[middle + 1] > step)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

bp_view_cell bp_grid_join(const bp_view *view, uint32_t row, uint64_t from, uint64_t to) {
    bp_view_cell joined = {.min = NAN, .max = NAN, .mean = NAN, .last = NAN};
    double sum = 0, n = 0;
    if (to == from) to = from + 1; /* a column narrower than a step */
    for (uint32_t c = first_column(view, from); c < view->n_columns && view->starts[c] < to; c++) {
        const bp_view_cell *cell = &view->cells[(size_t)c * view->n_rows + row];
        if (cell->count == 0) continue;
        joined.count += cell->count;
        joined.flags |= cell->flags;
        joined.last = cell->last;
        joined.min = fmin(joined.min, cell->min); /* of a NaN and a number: the number */
        joined.max = fmax(joined.max, cell->max);
        if (isnan(cell->mean)) continue;
        sum += cell->mean * cell->count;
        n += cell->count;
    }
    if (n > 0) joined.mean = sum / n;
    return joined;
}

static double value_of(const bp_view_cell *cell, bool largest) {
    return largest ? cell->max : cell->mean;
}

static double usual_place(const bp_grid *grid, const bp_view *view, bool largest) {
    double sum = 0, n = 0;
    for (size_t i = 0; i < (size_t)view->n_columns * view->n_rows; i++) {
        const double place = bp_scale_place(&grid->scale, value_of(&view->cells[i], largest));
        if (isnan(place)) continue;
        sum += place;
        n++;
    }
    return n > 0 ? sum / n : 0.5;
}

static bp_grid_kind kind_of(const bp_view_cell *cell, double place) {
    if (cell->count == 0) return BP_GRID_ABSENT;
    if (cell->flags & BP_VIEW_HAS_NAN) return BP_GRID_NAN;
    if (cell->flags & BP_VIEW_HAS_INF) return BP_GRID_INF;
    return isnan(place) ? BP_GRID_ZERO : BP_GRID_VALUE;
}

typedef struct joining {
    const bp_view *view;
    uint32_t first_row, end_row;
    bool largest;
    double usual;
} joining;

static bp_grid_cell join_layers(const bp_grid *grid, const joining *job, uint64_t from,
                                uint64_t to) {
    bp_grid_cell worst = {0};
    double oddest = -1;
    for (uint32_t row = job->first_row; row < job->end_row; row++) {
        const bp_view_cell cell = bp_grid_join(job->view, row, from, to);
        const double value = value_of(&cell, job->largest);
        const double place = bp_scale_place(&grid->scale, value);
        const bp_grid_kind kind = kind_of(&cell, place);
        const double oddness = bp_scale_oddness(&grid->scale, job->usual, value);
        if (kind < worst.kind || (kind == worst.kind && oddness <= oddest)) continue;
        worst = (bp_grid_cell){kind == BP_GRID_VALUE ? place : 0, kind};
        oddest = oddness;
    }
    return worst;
}

/* Between full records of a run nothing is known, and the picture would be stripes. */
static void repeat_empty_columns(bp_grid *grid) {
    for (int column = 1; column < grid->columns; column++) {
        bool empty = true;
        for (uint32_t g = 0; g < grid->n_groups; g++)
            if (grid->cells[(size_t)g * (size_t)grid->columns + (size_t)column].kind !=
                BP_GRID_ABSENT)
                empty = false;
        for (uint32_t g = 0; empty && g < grid->n_groups; g++) {
            bp_grid_cell *cell = &grid->cells[(size_t)g * (size_t)grid->columns + (size_t)column];
            *cell = cell[-1];
        }
    }
}

bp_status bp_grid_fill(bp_grid *grid, const bp_view *view, bp_series series, bool largest,
                       const bp_chart *chart, bp_error *error) {
    bp_extent extent = BP_EXTENT_NONE;
    for (size_t i = 0; i < (size_t)view->n_columns * view->n_rows; i++)
        if (view->cells[i].count > 0) bp_extent_add(&extent, value_of(&view->cells[i], largest));
    grid->scale = bp_scale_of(series, &extent);
    grid->columns = chart->columns;
    grid->cells = calloc((size_t)grid->n_groups * (size_t)grid->columns, sizeof *grid->cells);
    if (!grid->cells) return bp_fail(error, BP_ERROR_MEMORY, "out of memory for a picture");
    joining job = {.view = view, .largest = largest};
    job.usual = usual_place(grid, view, largest);
    for (uint32_t g = 0; g < grid->n_groups; g++) {
        job.first_row = bp_grid_start(grid, g);
        job.end_row = bp_grid_start(grid, g + 1);
        for (int column = 0; column < grid->columns; column++)
            grid->cells[(size_t)g * (size_t)grid->columns + (size_t)column] =
                join_layers(grid, &job, bp_chart_start(chart, grid->columns, column),
                            bp_chart_start(chart, grid->columns, column + 1));
    }
    repeat_empty_columns(grid);
    for (size_t i = 0; i < (size_t)grid->n_groups * (size_t)grid->columns; i++)
        grid->has[grid->cells[i].kind] = true;
    return BP_OK;
}

void bp_grid_free(bp_grid *grid) {
    free(grid->cells);
    grid->cells = NULL;
}
