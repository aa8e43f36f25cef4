/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of bp_pyramid, shared by who builds it and who views it. */
#ifndef BP_RUNLOG_LEVELS_H
#define BP_RUNLOG_LEVELS_H

#include "runlog/cells.h"
#include "runlog/pyramid.h"
#include "runlog/reader.h"
#include "runlog/store.h"

/* Level 0 has the values of each step; level k >= 1 bins of base * 4^(k - 1) steps. */
#define BP_LEVELS 12u
#define BP_LEVEL_BITS 2u
/* How often it is built again when a log changes under our hands or a folder cannot be written. */
#define BP_PYRAMID_STARTS 4

/* Kinds of slots: the values of a step; a bin; how often each row of the bin before was measured,
 * where that is not the same for all. */
enum { BP_SLOT_VALUES = 1, BP_SLOT_ROW = 2, BP_SLOT_COUNTS = 3 };

typedef struct bp_level {
    unsigned shift; /* log2 of a bin's steps */
    char *path;
    bp_store store; /* bins that are whole, ascending */
    bool given_up;  /* no room in memory for its rows */
    bp_cells cells; /* the bin that holds the last step, as far as finer bins are whole */
    bool is_open;   /* cells hold something */
    uint64_t bin;
} bp_level;

struct bp_pyramid {
    const bp_io *io;
    bp_allocator allocator;
    char *run, *folder;
    size_t folder_bytes, path_bytes;
    bp_series series;
    bp_series_maker maker; /* of the network as the reader opened it */
    bool in_memory;
    uint64_t memory_bytes;
    bp_runlog_reader *reader;
    uint32_t n_rows;
    unsigned base_bits;
    bp_level levels[BP_LEVELS];
    double *table;   /* of log16 codes */
    bp_cells column; /* of a view, under construction */
    void *strip;     /* the same as elements */
    size_t strip_bytes;
    int64_t last_step;
    uint8_t *block; /* slots that were read; room for two at least */
    size_t block_bytes;
};

/* Until all that the log holds is in the levels. begun: they stand where they were left. */
BP_MUST_USE bp_status bp_pyramid_build(bp_pyramid *pyramid, bool begun, bp_error *error);
/* Its files. */
void bp_pyramid_remove(bp_pyramid *pyramid);

#endif
