/* SPDX-License-Identifier: Apache-2.0 */
/* A small network, records whose values follow from their step, and files to damage. The golden log
 * was made from the same model and records: what they give must never change. */
#ifndef BP_TESTS_RUNLOG_FIXTURE_H
#define BP_TESTS_RUNLOG_FIXTURE_H

#include "model/model.h"
#include "runlog/frame.h"
#include "runlog/runlog.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FIXTURE_LAYERS 3
#define FIXTURE_PATH_BYTES 256

/* A folder of its own below the working folder; removed with what is in it. */
void fixture_make_folder(char folder[FIXTURE_PATH_BYTES]);
void fixture_remove_folder(const char *folder);
/* folder/log-00000<index>.bplog */
char *fixture_segment(char path[FIXTURE_PATH_BYTES], const char *folder, uint32_t index);

bp_model *fixture_model(void);
void fixture_record(bp_record *record, int64_t step);
/* As above after encode and decode. */
void fixture_decoded(bp_record *record, int64_t step);
void assert_fixture_model(const bp_model *model);
/* Same values, same presence, same head. */
void assert_same_record(const bp_record *found, const bp_record *expected);

/* Encodes the fixture's record of that step and hands it to the writer. */
bp_status fixture_put_step(bp_runlog_writer *writer, int64_t step, bp_error *error);
/* Writes steps 0 ... n - 1 and the end FINISHED. */
void fixture_write_log(const char *folder, int64_t n_steps, const bp_runlog_options *options);

typedef struct fixture_bytes {
    uint8_t *bytes;
    size_t length;
} fixture_bytes;
fixture_bytes fixture_read_file(const char *path);
void fixture_write_file(const char *path, const uint8_t *bytes, size_t length);

/* A frame of a good log, in order. */
typedef struct fixture_frame {
    size_t place, n_bytes;
    bp_frame frame;
    int64_t step; /* -1 when it is no step */
} fixture_frame;
#define FIXTURE_MAX_FRAMES 256
/* Walks a good segment file; returns how many; *salt as in its header. */
size_t fixture_frames(fixture_bytes log, fixture_frame *frames, bp_segment_id *salt);

/* Reads all of path. Each record must be equal to the fixture's of its step, and the steps must
 * ascend. Marks given[step]; returns how many. */
typedef struct fixture_reading {
    bp_status opened;
    bp_error error;
    bool given[FIXTURE_MAX_FRAMES];
    size_t n_given;
    bp_runlog_damage damage;
    bp_run_end end;
} fixture_reading;
fixture_reading fixture_read_log(const char *path);
/* The same over bytes in memory, as if they stood in path, which must exist: thousands of damaged
 * files need no disk. */
fixture_reading fixture_read_bytes(const char *path, const uint8_t *bytes, size_t length);

/* An allocator that refuses the n-th request, and counts. */
typedef struct fixture_memory {
    int64_t left; /* requests until the refusal; negative: never */
    int64_t in_use, peak;
    int64_t requests;
} fixture_memory;
bp_allocator fixture_allocator(fixture_memory *memory);

/* The system with a fault: the call number fail_at (from 0), or all from it on, fails with
 * ENOSPC; a failing write writes half of its bytes first. close does close all the same. */
typedef struct fixture_faults {
    int64_t fail_at; /* negative: never */
    bool persistent;
    int64_t calls, failed; /* without clocks */
    int64_t open_files, n_fsyncs;
    double steady; /* what the steady clock says */
} fixture_faults;
bp_io fixture_io(fixture_faults *faults);

#endif
