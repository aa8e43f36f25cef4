/* SPDX-License-Identifier: Apache-2.0 */
/* A view of a pyramid: the coarsest level that is fine enough, its bins joined into columns. They
 * are kept, or given away one by one. */
#include "runlog/levels.h"

#include <errno.h>

#define MAX_CELLS ((uint64_t)16 << 20)

/* Bins first_bin ... first_bin + n_bins - 1 of a level in columns. */
typedef struct viewing {
    bp_view *view;            /* without cells where there is a sink */
    const bp_view_sink *sink; /* NULL: columns are kept */
    const bp_level *level;
    uint64_t first_bin, n_bins;
    uint32_t at; /* the column that pyramid->column is for */
} viewing;

static size_t plane_bytes(const bp_pyramid *pyramid) {
    return pyramid->n_rows * sizeof(double);
}

static void give_strip(bp_pyramid *pyramid, const viewing *job) {
    uint8_t *mean = pyramid->strip, *min = mean + plane_bytes(pyramid);
    uint8_t *max = min + plane_bytes(pyramid);
    bp_cells_give_elements(&pyramid->column, mean, min, max);
    const bp_view_strip strip = {mean, min, max, pyramid->column.flags};
    job->sink->strip(job->sink->context, job->at, &strip);
}

static void give_column(bp_pyramid *pyramid, viewing *job) {
    const bp_view *view = job->view;
    if (job->sink)
        give_strip(pyramid, job);
    else
        bp_cells_give(&pyramid->column, view->cells + (size_t)job->at * view->n_rows);
    bp_cells_clear(&pyramid->column);
    job->at++;
}

/* To the column that has this bin; bins come in their order. */
static void go_to(bp_pyramid *pyramid, viewing *job, uint64_t bin) {
    const uint64_t step = bin << job->level->shift;
    while (step >= job->view->starts[job->at + 1]) give_column(pyramid, job);
}

/* The coarsest level whose bins are no wider than a column, or than four thirds of one: better
 * fewer columns than four times as many bins. */
static unsigned choose_level(const bp_pyramid *pyramid, uint64_t first, uint64_t last,
                             uint32_t n_columns) {
    unsigned chosen = BP_LEVELS;
    for (unsigned k = BP_LEVELS; k-- > 0;) {
        const bp_level *level = &pyramid->levels[k];
        if (level->given_up) continue;
        chosen = k;
        if ((last - first + 1) >> level->shift >= n_columns - n_columns / 4) break;
    }
    return chosen;
}

static bool grow(void **block, size_t *capacity, size_t wanted, size_t size,
                 const bp_allocator *allocator) {
    if (*capacity >= wanted) return true;
    bp_release(allocator, *block, *capacity, size);
    *block = bp_allocate(allocator, wanted, size);
    *capacity = *block ? wanted : 0;
    return *block != NULL;
}

static bp_status no_memory(bp_error *error) {
    return bp_fail(error, BP_ERROR_MEMORY, "no memory to view a run");
}

static bp_status reserve(bp_view *view, uint32_t n_rows, uint32_t n_columns, bool keeps,
                         bp_error *error) {
    const uint64_t n_cells = (uint64_t)n_columns * n_rows;
    if (n_cells > MAX_CELLS)
        return bp_fail(error, BP_ERROR_LIMIT, "a view has at most %llu cells",
                       (unsigned long long)MAX_CELLS);
    void *cells = view->cells, *starts = view->starts;
    const bool good = grow(&cells, &view->cells_capacity, keeps ? (size_t)n_cells : 0,
                           sizeof *view->cells, &view->allocator) &&
                      grow(&starts, &view->starts_capacity, (size_t)n_columns + 1,
                           sizeof *view->starts, &view->allocator);
    view->cells = view->cells_capacity ? cells : NULL;
    view->starts = view->starts_capacity ? starts : NULL;
    view->n_columns = n_columns;
    view->n_rows = n_rows;
    return good ? BP_OK : no_memory(error);
}

bp_status bp_view_reserve(bp_view *view, uint32_t n_rows, uint32_t n_columns, bp_error *error) {
    return reserve(view, n_rows, n_columns, true, error);
}

static bp_status prepare(bp_pyramid *pyramid, viewing *job, uint64_t first, uint64_t last,
                         uint32_t n_columns, bp_error *error) {
    const bp_level *level = &pyramid->levels[choose_level(pyramid, first, last, n_columns)];
    bp_view *view = job->view;
    job->level = level;
    job->first_bin = first >> level->shift;
    job->n_bins = (last >> level->shift) - job->first_bin + 1;
    job->at = 0;
    if (n_columns > job->n_bins) n_columns = (uint32_t)job->n_bins;
    if (!view->cells && !view->starts) view->allocator = pyramid->allocator;
    const bp_status status = reserve(view, pyramid->n_rows, n_columns, !job->sink, error);
    if (status != BP_OK) return status;
    for (uint64_t c = 0; c <= n_columns; c++) { /* c * n_bins / n_columns, without overflow */
        const uint64_t bin =
            c * (job->n_bins / n_columns) + c * (job->n_bins % n_columns) / n_columns;
        view->starts[c] = (job->first_bin + bin) << level->shift;
    }
    if (!job->sink) return BP_OK;
    if (!grow(&pyramid->strip, &pyramid->strip_bytes, 3 * plane_bytes(pyramid), 1,
              &pyramid->allocator))
        return no_memory(error);
    return job->sink->begin(job->sink->context, view->n_rows, n_columns, view->starts, error);
}

/* One row of a block of slots; *used: how many slots it takes, 0 when the block ends inside it. */
static bool add_slot(bp_pyramid *pyramid, viewing *job, const uint8_t *slot, uint64_t n_left,
                     bool more, uint64_t *used) {
    const bp_store *store = &job->level->store;
    const bp_slot_head head = bp_slot_head_of(slot);
    const uint8_t *elements = slot + BP_SLOT_HEAD_BYTES, *counts = NULL;
    *used = n_left == 1 && more ? 0 : 1;
    if (*used == 0) return true;
    go_to(pyramid, job, head.bin);
    if (job->level == pyramid->levels) {
        bp_cells_add_values(&pyramid->column, elements);
        return head.kind == BP_SLOT_VALUES;
    }
    if (head.kind != BP_SLOT_ROW) return false;
    if (n_left > 1 && bp_slot_head_of(slot + store->slot_bytes).kind == BP_SLOT_COUNTS) {
        if (bp_slot_head_of(slot + store->slot_bytes).bin != head.bin) return false;
        counts = slot + store->slot_bytes + BP_SLOT_HEAD_BYTES;
        *used = 2;
    }
    return bp_cells_add_row(&pyramid->column, elements, head.count, counts);
}

/* Whole rows of the level; false when one is damaged. */
static bool add_rows(bp_pyramid *pyramid, viewing *job) {
    const bp_store *store = &job->level->store;
    const uint64_t a_block = pyramid->block_bytes / store->slot_bytes;
    uint64_t index, lowest = job->first_bin;
    if (!bp_store_find(store, job->first_bin, pyramid->block, &index)) return false;
    while (index < store->n_slots) {
        const uint64_t left = store->n_slots - index, n = left < a_block ? left : a_block;
        if (!bp_store_read(store, index, n, pyramid->block)) return false;
        uint64_t used, i = 0;
        for (; i < n; i += used) {
            const uint8_t *slot = pyramid->block + i * store->slot_bytes;
            const uint64_t bin = bp_slot_head_of(slot).bin;
            if (bin < lowest) return false; /* they ascend */
            if (bin - job->first_bin >= job->n_bins) return true;
            if (!add_slot(pyramid, job, slot, n - i, n < left, &used)) return false;
            if (used == 0) break;
            lowest = bin;
        }
        index += i;
    }
    return true;
}

/* What is not in whole rows yet: bins that hold the last step, the coarser ones the older. */
static void add_open(bp_pyramid *pyramid, viewing *job) {
    for (const bp_level *level = job->level; level > pyramid->levels; level--) {
        if (!level->is_open) continue;
        const uint64_t bin = level->bin << level->shift >> job->level->shift;
        if (bin < job->first_bin || bin - job->first_bin >= job->n_bins) continue;
        go_to(pyramid, job, bin);
        bp_cells_add(&pyramid->column, &level->cells);
    }
}

static bp_status view_steps(bp_pyramid *pyramid, bp_view *view, const bp_view_sink *sink,
                            int64_t first, int64_t last, uint32_t n_columns, bp_error *error) {
    if (first < 0 || last < first || n_columns == 0)
        return bp_fail(error, BP_ERROR_ARGUMENT, "a view has steps from 0 on and columns");
    const int saved = errno;
    bool whole = false, rebuilt = false;
    viewing job = {.view = view, .sink = sink};
    bp_status status = prepare(pyramid, &job, (uint64_t)first, (uint64_t)last, n_columns, error);
    while (status == BP_OK && !whole) {
        bp_cells_clear(&pyramid->column);
        whole = add_rows(pyramid, &job);
        if (whole) break;
        /* A row that was changed or cannot be read: all is built again, a second time in memory. */
        if (rebuilt) pyramid->in_memory = true;
        if (!pyramid->in_memory) bp_pyramid_remove(pyramid);
        rebuilt = true;
        status = bp_pyramid_build(pyramid, false, error);
        if (status == BP_OK)
            status = prepare(pyramid, &job, (uint64_t)first, (uint64_t)last, n_columns, error);
    }
    if (whole) add_open(pyramid, &job);
    while (whole && job.at < view->n_columns) give_column(pyramid, &job);
    errno = saved;
    return status;
}

bp_status bp_pyramid_view(bp_pyramid *pyramid, bp_view *view, int64_t first, int64_t last,
                          uint32_t n_columns, bp_error *error) {
    return view_steps(pyramid, view, NULL, first, last, n_columns, error);
}

bp_status bp_pyramid_draw(bp_pyramid *pyramid, const bp_view_sink *sink, int64_t first,
                          int64_t last, uint32_t n_columns, bp_error *error) {
    bp_view view = {0};
    const bp_status status = view_steps(pyramid, &view, sink, first, last, n_columns, error);
    bp_view_free(&view);
    return status;
}

void bp_view_free(bp_view *view) {
    bp_release(&view->allocator, view->cells, view->cells_capacity, sizeof *view->cells);
    bp_release(&view->allocator, view->starts, view->starts_capacity, sizeof *view->starts);
    *view = (bp_view){0};
}
