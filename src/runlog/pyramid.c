/* SPDX-License-Identifier: Apache-2.0 */
#include "model/model.h"
#include "runlog/levels.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define VERSION 3u
#define MAGIC \
    "\x89"    \
    "BPPYR\r\n"
#define BASE_AT 28 /* in a header */
#define FOLDER "pyramid"
#define NAME_BYTES 96
#define MEMORY_BYTES ((uint64_t)256 << 20)
#define READ_BYTES ((size_t)1 << 20)
#define MAX_BASE_BITS 20u
/* So many records tell how many steps lie between two. */
#define SPACING_RECORDS 64

/* What stops the building: begin again, or give up. */
typedef enum outcome { GOOD, STALE, UNWRITABLE, NO_MEMORY } outcome;

/* --- levels --------------------------------------------------------------------------------- */

static size_t element_bytes(const bp_pyramid *pyramid) {
    return bp_series_is_log16(pyramid->series) ? sizeof(uint16_t) : sizeof(double);
}

static void make_header(const bp_pyramid *pyramid, unsigned shift,
                        uint8_t header[BP_STORE_HEADER_BYTES]) {
    memset(header, 0, BP_STORE_HEADER_BYTES);
    memcpy(header, MAGIC, 8);
    bp_put_u32(header + 8, VERSION);
    bp_put_u32(header + 12, bp_series_number(pyramid->series));
    bp_put_u64(header + 16, bp_runlog_reader_run(pyramid->reader));
    bp_put_u32(header + 24, shift);
    bp_put_u32(header + BASE_AT, pyramid->base_bits);
    bp_put_u32(header + 32, pyramid->n_rows);
    bp_put_u32(header + 36, (uint32_t)element_bytes(pyramid));
}

/* The name has the series, for who looks at the folder, and the level. */
static bool make_path(bp_pyramid *pyramid, unsigned k) {
    char *path = bp_allocate(&pyramid->allocator, pyramid->path_bytes, 1);
    pyramid->levels[k].path = path;
    if (!path) return false;
    snprintf(path, pyramid->path_bytes, "%s/%s-%u.pyramid", pyramid->folder,
             bp_series_name(pyramid->series), k);
    return true;
}

static size_t slot_bytes(const bp_pyramid *pyramid, unsigned k) {
    const size_t row = pyramid->n_rows * element_bytes(pyramid);
    return BP_SLOT_HEAD_BYTES + (k == 0 ? row : 4 * row);
}

static bool begin_level(bp_pyramid *pyramid, unsigned k) {
    bp_level *level = &pyramid->levels[k];
    uint8_t header[BP_STORE_HEADER_BYTES];
    level->shift = k == 0 ? 0 : pyramid->base_bits + (k - 1) * BP_LEVEL_BITS;
    make_header(pyramid, level->shift, header);
    bp_store_init(&level->store, pyramid->io, &pyramid->allocator,
                  pyramid->in_memory ? NULL : level->path, header, slot_bytes(pyramid, k));
    level->given_up = level->is_open = false;
    return k == 0 || bp_cells_init(&level->cells, pyramid->series, pyramid->n_rows, pyramid->table,
                                   &pyramid->allocator);
}

static void close_reader(bp_pyramid *pyramid) {
    bp_series_maker_finish(&pyramid->maker, &pyramid->allocator);
    bp_runlog_reader_close(pyramid->reader);
    pyramid->reader = NULL;
}

static void end_levels(bp_pyramid *pyramid) {
    for (unsigned k = 0; k < BP_LEVELS; k++) {
        bp_level *level = &pyramid->levels[k];
        bp_store_close(&level->store);
        bp_cells_finish(&level->cells, &pyramid->allocator);
    }
    bp_cells_finish(&pyramid->column, &pyramid->allocator);
    close_reader(pyramid);
    pyramid->last_step = -1;
}

static outcome begin_levels(bp_pyramid *pyramid) {
    for (unsigned k = 0; k < BP_LEVELS; k++)
        if (!begin_level(pyramid, k)) return NO_MEMORY;
    if (!bp_cells_init(&pyramid->column, pyramid->series, pyramid->n_rows, pyramid->table,
                       &pyramid->allocator))
        return NO_MEMORY;
    return GOOD;
}

/* --- building ------------------------------------------------------------------------------- */

/* The level's bin is whole: it becomes a row. */
static outcome put_row(bp_pyramid *pyramid, unsigned k) {
    bp_level *level = &pyramid->levels[k];
    const bp_cells *cells = &level->cells;
    const bool irregular = bp_cells_are_irregular(cells);
    for (unsigned part = 0; part < (irregular ? 2u : 1u); part++) {
        uint8_t *slot = bp_store_next(&level->store);
        if (!slot) return NO_MEMORY;
        const bp_slot_head head = {.kind = part ? BP_SLOT_COUNTS : BP_SLOT_ROW,
                                   .count = cells->n_records,
                                   .bin = level->bin};
        memset(slot, 0, level->store.slot_bytes);
        if (part)
            bp_cells_put_counts(cells, slot + BP_SLOT_HEAD_BYTES);
        else
            bp_cells_put(cells, slot + BP_SLOT_HEAD_BYTES);
        if (!bp_store_append(&level->store, &head)) return UNWRITABLE;
    }
    return GOOD;
}

static void open_bin(bp_level *level, uint64_t bin) {
    if (!level->is_open) bp_cells_clear(&level->cells);
    level->is_open = true;
    level->bin = bin;
}

/* Bins that end before this step are whole; finer ones go into the coarser ones first. */
static outcome close_bins(bp_pyramid *pyramid, uint64_t step) {
    for (unsigned k = 1; k < BP_LEVELS; k++) {
        bp_level *level = &pyramid->levels[k];
        if (!level->is_open || level->bin == step >> level->shift) continue;
        const outcome done = level->given_up ? GOOD : put_row(pyramid, k);
        if (done != GOOD) return done;
        level->is_open = false;
        if (k + 1 == BP_LEVELS) continue;
        open_bin(&level[1], level->bin >> (level[1].shift - level->shift));
        bp_cells_add(&level[1].cells, &level->cells);
    }
    return GOOD;
}

static outcome add_values(bp_pyramid *pyramid, const bp_sources *sources) {
    bp_level *values = pyramid->levels, *first = values + 1;
    uint8_t *slot = bp_store_next(&values->store);
    if (!slot) return NO_MEMORY;
    uint8_t *elements = slot + BP_SLOT_HEAD_BYTES;
    if (!bp_series_make(&pyramid->maker, sources, elements)) return GOOD; /* nothing, or damaged */
    const uint64_t step = (uint64_t)sources->step;
    outcome done = close_bins(pyramid, step);
    if (done != GOOD) return done;
    open_bin(first, step >> first->shift);
    bp_cells_add_values(&first->cells, elements);
    pyramid->last_step = sources->step;
    if (values->given_up) return GOOD;
    const bp_runlog_position place = bp_runlog_reader_tell(pyramid->reader);
    const bp_slot_head head = {.kind = BP_SLOT_VALUES,
                               .count = 1,
                               .bin = step,
                               .segment = place.segment,
                               .place = place.place,
                               .sequence = place.sequence};
    return bp_store_append(&values->store, &head) ? GOOD : UNWRITABLE;
}

/* Where memory is short, the finest rows go first. */
static void give_up_some(bp_pyramid *pyramid) {
    if (!pyramid->in_memory) return;
    uint64_t n_bytes = 0;
    for (unsigned k = 0; k < BP_LEVELS; k++) n_bytes += pyramid->levels[k].store.capacity;
    for (unsigned k = 0; k + 1 < BP_LEVELS && n_bytes > pyramid->memory_bytes; k++) {
        bp_level *level = &pyramid->levels[k];
        if (level->given_up) continue;
        n_bytes -= level->store.capacity;
        bp_store_close(&level->store);
        level->given_up = true;
    }
}

static outcome flush(bp_pyramid *pyramid) {
    for (unsigned k = 0; k < BP_LEVELS; k++)
        if (!bp_store_flush(&pyramid->levels[k].store)) return UNWRITABLE;
    return GOOD;
}

static bool has_more_layers(const bp_pyramid *pyramid, const bp_sources *sources) {
    return sources->n_layers > bp_model_n_layers(bp_runlog_reader_model(pyramid->reader));
}

static bool has_more_rows(const bp_pyramid *pyramid, const bp_sources *sources) {
    return bp_series_is_of_layers(pyramid->series) && sources->n_layers + 1 > pyramid->n_rows;
}

/* All that the log has behind what was taken. */
static outcome take_log(bp_pyramid *pyramid, bp_status *status, bp_error *error) {
    for (;;) {
        const bp_sources *sources;
        *status = bp_runlog_reader_next_sources(pyramid->reader, pyramid->series, &sources, error);
        if (*status != BP_OK) return GOOD;
        if (!sources) return flush(pyramid);
        /* A run that was resumed meanwhile, or whose network grew. */
        if (has_more_layers(pyramid, sources)) continue; /* damaged: than the network ever had */
        if (sources->step < pyramid->last_step || has_more_rows(pyramid, sources)) return STALE;
        const outcome done = add_values(pyramid, sources);
        if (done != GOOD) return done;
        give_up_some(pyramid);
    }
}

/* --- what is there already ------------------------------------------------------------------- */

static bool read_slot(bp_pyramid *pyramid, const bp_store *store, uint64_t index) {
    return bp_store_read(store, index, 1, pyramid->block);
}

/* A row at store[*index] into cells; *index is behind it then. */
static bool take_row(bp_pyramid *pyramid, unsigned k, uint64_t *index, bp_cells *cells,
                     bp_slot_head *head) {
    const bp_store *store = &pyramid->levels[k].store;
    uint8_t *slot = pyramid->block;
    if (!bp_store_read(store, *index, 1, slot)) return false;
    *head = bp_slot_head_of(slot);
    if (k == 0) {
        if (head->kind != BP_SLOT_VALUES) return false;
        bp_cells_add_values(cells, slot + BP_SLOT_HEAD_BYTES);
        ++*index;
        return true;
    }
    const uint8_t *counts = NULL;
    if (head->kind != BP_SLOT_ROW) return false;
    if (*index + 1 < store->n_slots) {
        uint8_t *next = slot + store->slot_bytes;
        if (!bp_store_read(store, *index + 1, 1, next)) return false;
        const bp_slot_head behind = bp_slot_head_of(next);
        if (behind.kind == BP_SLOT_COUNTS && behind.bin != head->bin) return false;
        if (behind.kind == BP_SLOT_COUNTS) counts = next + BP_SLOT_HEAD_BYTES;
    }
    *index += counts ? 2 : 1;
    return bp_cells_add_row(cells, slot + BP_SLOT_HEAD_BYTES, head->count, counts);
}

/* From the rows of the finer level, what this one lacks: rows that were not written, and the bin
 * that is not whole. */
static outcome restore_level(bp_pyramid *pyramid, unsigned k) {
    bp_level *level = &pyramid->levels[k];
    const bp_level *finer = level - 1;
    const unsigned shift = level->shift - finer->shift;
    uint64_t next = 0, index;
    if (level->store.n_slots > 0) {
        if (!read_slot(pyramid, &level->store, level->store.n_slots - 1)) return STALE;
        next = bp_slot_head_of(pyramid->block).bin + 1;
        if (next > (uint64_t)pyramid->last_step >> level->shift) return STALE; /* ahead of values */
    }
    if (next << shift >> shift != next ||
        !bp_store_find(&finer->store, next << shift, pyramid->block, &index))
        return STALE;
    while (index < finer->store.n_slots) {
        bp_slot_head head;
        if (!read_slot(pyramid, &finer->store, index)) return STALE;
        const uint64_t bin = bp_slot_head_of(pyramid->block).bin >> shift;
        if (level->is_open && bin < level->bin) return STALE;
        if (level->is_open && bin != level->bin) {
            const outcome done = put_row(pyramid, k);
            if (done != GOOD) return done;
            level->is_open = false;
        }
        open_bin(level, bin);
        if (!take_row(pyramid, k - 1, &index, &level->cells, &head)) return STALE;
    }
    if (!level->is_open || level->bin == (uint64_t)pyramid->last_step >> level->shift) return GOOD;
    level->is_open = false;
    return put_row(pyramid, k);
}

static outcome restore(bp_pyramid *pyramid, bp_status *status, bp_error *error) {
    const bp_store *values = &pyramid->levels[0].store;
    if (!read_slot(pyramid, values, values->n_slots - 1)) return STALE;
    const bp_slot_head head = bp_slot_head_of(pyramid->block);
    const bp_runlog_position position = {head.segment, head.place, head.sequence};
    if (head.kind != BP_SLOT_VALUES || head.bin > INT64_MAX) return STALE;
    pyramid->last_step = (int64_t)head.bin;
    for (unsigned k = 1; k < BP_LEVELS; k++) {
        const outcome done = restore_level(pyramid, k);
        if (done != GOOD) return done;
    }
    *status = bp_runlog_reader_jump(pyramid->reader, &position, error);
    if (*status != BP_ERROR_INPUT) return GOOD;
    *status = BP_OK;
    return STALE;
}

/* --- beginning ------------------------------------------------------------------------------ */

static bp_status open_reader(bp_pyramid *pyramid, bp_error *error) {
    const bp_status status = bp_runlog_reader_open_through(
        &pyramid->reader, pyramid->io, pyramid->run, &pyramid->allocator, error);
    if (status != BP_OK) return status;
    if (!bp_series_maker_init(&pyramid->maker, pyramid->series,
                              bp_runlog_reader_model(pyramid->reader), &pyramid->allocator))
        return bp_fail(error, BP_ERROR_MEMORY, "no memory to view %s", pyramid->run);
    pyramid->n_rows = pyramid->maker.n_rows;
    return BP_OK;
}

/* Bins of level 1 hold four records or more, also of a series that few steps have. */
static bp_status choose_base(bp_pyramid *pyramid, bp_error *error) {
    int64_t first = 0, last = 0;
    uint64_t n = 0;
    pyramid->base_bits = BP_LEVEL_BITS;
    while (n < SPACING_RECORDS) {
        const bp_sources *sources;
        const bp_status status =
            bp_runlog_reader_next_sources(pyramid->reader, pyramid->series, &sources, error);
        if (status != BP_OK) return status;
        if (!sources) break;
        if (n++ == 0) first = sources->step;
        last = sources->step;
    }
    close_reader(pyramid);
    const uint64_t spacing = n > 1 && last > first ? (uint64_t)(last - first) / (n - 1) : 1;
    while (pyramid->base_bits < MAX_BASE_BITS && 1u << pyramid->base_bits < 3 * spacing)
        pyramid->base_bits += BP_LEVEL_BITS;
    return open_reader(pyramid, error);
}

/* What is kept goes on as it was begun, also when the log was thinned since: what it has to be is
 * checked with the rest of its header. False when there is none. */
static bool keep_base(bp_pyramid *pyramid) {
    const bp_io *io = pyramid->io;
    uint8_t header[BP_STORE_HEADER_BYTES];
    const int file = io->open(io->context, pyramid->levels[0].path,
                              O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
    if (file < 0) return false;
    const bool whole = io->read_at(io->context, file, header, sizeof header, 0) == sizeof header;
    io->close(io->context, file);
    if (!whole) return false;
    const uint32_t bits = bp_get_u32(header + BASE_AT);
    if (bits < BP_LEVEL_BITS || bits > MAX_BASE_BITS) return false;
    pyramid->base_bits = bits;
    return true;
}

static outcome reserve(bp_pyramid *pyramid) {
    size_t wanted = 2 * slot_bytes(pyramid, 1);
    if (wanted < READ_BYTES) wanted = READ_BYTES;
    if (pyramid->block_bytes >= wanted) return GOOD;
    bp_release(&pyramid->allocator, pyramid->block, pyramid->block_bytes, 1);
    pyramid->block = bp_allocate(&pyramid->allocator, wanted, 1);
    pyramid->block_bytes = pyramid->block ? wanted : 0;
    return pyramid->block ? GOOD : NO_MEMORY;
}

void bp_pyramid_remove(bp_pyramid *pyramid) {
    for (unsigned k = 0; k < BP_LEVELS; k++)
        if (pyramid->levels[k].path)
            (void)pyramid->io->unlink(pyramid->io->context, pyramid->levels[k].path);
}

/* Opens what is kept; STALE: to be removed. Whether level 0 is there says whether anything is. */
static outcome open_files(bp_pyramid *pyramid) {
    bool any = false;
    for (unsigned k = 0; k < BP_LEVELS; k++) {
        const bp_store_found found = bp_store_open(&pyramid->levels[k].store);
        if (found == BP_STORE_TAKEN) return UNWRITABLE;
        if (found == BP_STORE_BAD) return STALE;
        if (found == BP_STORE_GOOD && k > 0 && !any) return STALE;
        any = any || (found == BP_STORE_GOOD && pyramid->levels[k].store.n_slots > 0);
    }
    return GOOD;
}

/* A folder of that name, no link to one elsewhere. */
static bool make_folder(const bp_pyramid *pyramid) {
    struct stat found;
    (void)pyramid->io->mkdir(pyramid->io->context, pyramid->folder, 0777);
    return lstat(pyramid->folder, &found) == 0 && S_ISDIR(found.st_mode);
}

static outcome begin(bp_pyramid *pyramid, bp_status *status, bp_error *error) {
    end_levels(pyramid);
    *status = open_reader(pyramid, error);
    if (*status == BP_OK && (pyramid->in_memory || !keep_base(pyramid)))
        *status = choose_base(pyramid, error);
    if (*status != BP_OK) return GOOD;
    outcome done = reserve(pyramid);
    if (done == GOOD) done = begin_levels(pyramid);
    if (done != GOOD || pyramid->in_memory) return done;
    if (!make_folder(pyramid)) return UNWRITABLE;
    done = open_files(pyramid);
    if (done != GOOD || pyramid->levels[0].store.n_slots == 0) return done;
    return restore(pyramid, status, error);
}

bp_status bp_pyramid_build(bp_pyramid *pyramid, bool begun, bp_error *error) {
    bp_status status = BP_OK;
    for (int start = 0; start < BP_PYRAMID_STARTS; start++) {
        outcome done = begun ? GOOD : begin(pyramid, &status, error);
        if (status != BP_OK) return status;
        if (done == GOOD) done = take_log(pyramid, &status, error);
        if (status != BP_OK || done == GOOD) return status;
        if (done == NO_MEMORY) break;
        if (done == STALE && !pyramid->in_memory) bp_pyramid_remove(pyramid);
        if (done == UNWRITABLE || start + 2 == BP_PYRAMID_STARTS) pyramid->in_memory = true;
        begun = false;
    }
    return bp_fail(error, BP_ERROR_MEMORY, "no memory to view %s", pyramid->run);
}

static bool allocate(bp_pyramid *pyramid, const char *run) {
    const bp_allocator *allocator = &pyramid->allocator;
    pyramid->folder_bytes = strlen(run) + sizeof FOLDER + 1;
    pyramid->path_bytes = pyramid->folder_bytes + NAME_BYTES;
    pyramid->run = bp_copy_text(allocator, run);
    pyramid->folder = bp_allocate(allocator, pyramid->folder_bytes, 1);
    pyramid->table = bp_allocate(allocator, BP_LOG16_CODES, sizeof *pyramid->table);
    if (!pyramid->run || !pyramid->folder || !pyramid->table) return false;
    bp_log16_fill_table(pyramid->table);
    snprintf(pyramid->folder, pyramid->folder_bytes, "%s/%s", run, FOLDER);
    for (unsigned k = 0; k < BP_LEVELS; k++)
        if (!make_path(pyramid, k)) return false;
    return true;
}

bp_status bp_pyramid_open(bp_pyramid **pyramid, const char *run, bp_series series,
                          const bp_pyramid_options *options, bp_error *error) {
    const int saved = errno;
    const bp_allocator *allocator = bp_allocator_or_system(options ? &options->allocator : NULL);
    bp_pyramid *opened = bp_allocate(allocator, 1, sizeof *opened);
    if (!opened) return bp_fail(error, BP_ERROR_MEMORY, "no memory to view %s", run);
    opened->allocator = *allocator;
    opened->io = options && options->io ? options->io : &bp_io_system;
    opened->series = series;
    opened->in_memory = options && options->in_memory;
    opened->memory_bytes = options && options->memory_bytes ? options->memory_bytes : MEMORY_BYTES;
    for (unsigned k = 0; k < BP_LEVELS; k++) opened->levels[k].store.file = -1;
    bp_status status = (unsigned)series < BP_N_SERIES ? BP_OK : BP_ERROR_ARGUMENT;
    if (status != BP_OK) bp_fail(error, status, "there is no series %u", (unsigned)series);
    if (status == BP_OK && !allocate(opened, run))
        status = bp_fail(error, BP_ERROR_MEMORY, "no memory to view %s", run);
    if (status == BP_OK) status = bp_pyramid_build(opened, false, error);
    if (status == BP_OK)
        *pyramid = opened;
    else
        bp_pyramid_close(opened);
    errno = saved;
    return status;
}

void bp_pyramid_close(bp_pyramid *pyramid) {
    if (!pyramid) return;
    const int saved = errno;
    const bp_allocator allocator = pyramid->allocator;
    end_levels(pyramid);
    for (unsigned k = 0; k < BP_LEVELS; k++)
        bp_release(&allocator, pyramid->levels[k].path, pyramid->path_bytes, 1);
    bp_release(&allocator, pyramid->block, pyramid->block_bytes, 1);
    bp_release(&allocator, pyramid->strip, pyramid->strip_bytes, 1);
    bp_release(&allocator, pyramid->folder, pyramid->folder_bytes, 1);
    bp_release(&allocator, pyramid->table, BP_LOG16_CODES, sizeof *pyramid->table);
    bp_release_text(&allocator, pyramid->run);
    bp_release(&allocator, pyramid, 1, sizeof *pyramid);
    errno = saved;
}

bp_status bp_pyramid_update(bp_pyramid *pyramid, bp_error *error) {
    const int saved = errno;
    const bp_status status = bp_pyramid_build(pyramid, true, error);
    errno = saved;
    return status;
}

int64_t bp_pyramid_last_step(const bp_pyramid *pyramid) {
    return pyramid->last_step;
}

bp_series bp_pyramid_series(const bp_pyramid *pyramid) {
    return pyramid->series;
}

uint32_t bp_pyramid_n_rows(const bp_pyramid *pyramid) {
    return pyramid->n_rows;
}

bool bp_pyramid_is_kept(const bp_pyramid *pyramid) {
    return !pyramid->in_memory;
}
