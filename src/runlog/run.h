/* SPDX-License-Identifier: Apache-2.0 */
/* The segments of a run: which files, in which order, whose they are, where the run was resumed,
 * and its network. Knows no step. For the files of this room only. */
#ifndef BP_RUNLOG_RUN_H
#define BP_RUNLOG_RUN_H

#include "runlog/scan.h"

typedef struct bp_run_segment {
    uint32_t name;    /* number in the file's name; 0 for a file that was named by the caller */
    bp_segment_id id; /* as its header says, or as its neighbours let us guess */
    uint64_t first_sequence;
    bool has_header;
    bool is_foreign;   /* of another run */
    bool numbers_data; /* BP_RUNLOG_NUMBERS_DATA */
    bool rewinds;      /* the run was resumed here */
    bool is_begun;     /* it was resumed here, and the file ends before it is said where */
    bool is_salvaged;  /* BP_RUNLOG_SALVAGED */
    bool is_image;     /* in the run's memory, because the folder cannot be written */
    int64_t rewind;    /* rewinds: the first step that comes again */
    int64_t limit;     /* a later segment has the steps from here on */
} bp_run_segment;

typedef struct bp_run {
    const bp_io *io; /* borrowed */
    bp_allocator allocator;
    char *path; /* as the caller gave it */
    char *file; /* path of the segment that was opened last */
    size_t file_bytes;
    bool is_folder;
    bp_run_segment *segments;
    size_t n_segments, capacity;
    uint8_t *image; /* the segment that is_image; NULL: none */
    size_t image_bytes;
    bp_segment_header first; /* of the first segment that has one */
    bp_model *model;
} bp_run;

/* path: a run folder or one segment. On failure nothing is left open. */
BP_MUST_USE bp_status bp_run_open(bp_run *run, const bp_io *io, const char *path,
                                  const bp_allocator *allocator, bp_error *error);
void bp_run_close(bp_run *run);

/* Opens a segment's file; the scan, which borrows from the run, stands behind the header. */
BP_MUST_USE bp_status bp_run_open_segment(bp_run *run, size_t index, bp_scan *scan,
                                          bp_scan_start *start, bp_error *error);
/* Adds the segments that were begun behind the last one since. One that holds no header yet is left
 * for later. */
BP_MUST_USE bp_status bp_run_look_again(bp_run *run, bp_error *error);

/* A segment's path becomes run->file. */
void bp_run_name_file(bp_run *run, size_t index);
/* The same; returns the file's bytes now, 0 when it is gone. */
uint64_t bp_run_segment_bytes(bp_run *run, size_t index);

/* A cut frame at the end of this segment is what a kill leaves: nothing comes behind it, or a run
 * that was resumed, or what was salvaged of the killed one. */
bool bp_run_may_be_torn(const bp_run *run, size_t index);

/* A record of the model or of layers that were added. *grew when the model has more layers now.
 * What cannot be read is BP_ERROR_INPUT and changes nothing. */
BP_MUST_USE bp_status bp_run_take_model(bp_run *run, const bp_scan_event *event, bool *grew,
                                        bp_error *error);

#endif
