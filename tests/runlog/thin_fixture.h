/* SPDX-License-Identifier: Apache-2.0 */
/* Run folders of many small segments, as the writer leaves them, and what is left in them. */
#ifndef BP_TESTS_RUNLOG_THIN_FIXTURE_H
#define BP_TESTS_RUNLOG_THIN_FIXTURE_H

#include "craft.h"
#include "runlog/thin.h"

#define THIN_RUN UINT64_C(0x1122334455667788)
enum { THIN_SEGMENTS = 12 };

/* With its model. rewind: the first step that comes again, -1 for none. */
void thin_begin(craft *segment, uint32_t index, uint64_t sequence, int64_t rewind);
void thin_add_step(craft *segment, int64_t step, double loss);
void thin_add_losses(craft *segment, int64_t first, size_t n, double loss);
void thin_add_finding(craft *segment, int64_t step, int64_t since_step);
/* Into folder; frees it; returns the next sequence number. */
uint64_t thin_write(craft *segment, const char *folder);
/* n segments of so many steps, the first 0. */
void thin_write_run(const char *folder, uint32_t n, int64_t n_steps);

/* What a file holds; fails the test when it is not whole. */
typedef struct thin_content {
    uint64_t every, first, last, dropped; /* of its THINNED record; every 0: it has none */
    uint64_t n_thinned, thinned_sequence;
    size_t thinned_at; /* number of frames before it */
    struct {
        uint16_t type;
        uint64_t sequence, n_numbers;
        int64_t step; /* of STEP and LOSSES, else -1 */
        uint32_t n_bytes, payload_crc;
    } frame[2048];
    size_t n;
} thin_content;
void thin_read(thin_content *content, const char *path);
bool thin_has_step(const thin_content *content, int64_t step);

/* The reader finds no damage and no loss in a run that was written whole; returns how many records
 * it was told were dropped. */
uint64_t thin_assert_reads(const char *folder);
uint64_t thin_folder_bytes(const char *folder);
/* The system, but for fsync: nobody pulls the plug here, and it takes most of the time. */
bp_io thin_io(void);
/* One call from a fresh thinner; io NULL: thin_io. */
bp_status thin_once(const char *folder, const bp_io *io, uint64_t max_bytes, uint32_t current,
                    bp_error *error);

/* --- before and after ---------------------------------------------------------------------- */

fixture_bytes thin_read_segment(const char *folder, uint32_t index);
void thin_free(fixture_bytes file);
bool thin_same(fixture_bytes one, fixture_bytes other);

/* All segments of a folder as they are. */
typedef struct thin_snapshot {
    fixture_bytes file[THIN_SEGMENTS + 1];
} thin_snapshot;
thin_snapshot thin_take(const char *folder);
bool thin_is_as_before(const thin_snapshot *taken, const char *folder, uint32_t index);
void thin_put_back(const thin_snapshot *taken, const char *folder);
void thin_free_snapshot(thin_snapshot *taken);
/* Whether a twin that was not finished lies there. */
bool thin_has_aside(const char *folder);
/* What stays of a thinned segment is what was there, in order; what is missing was counted.
 * *content is what stays. */
void thin_assert_thinned(fixture_bytes old, const char *folder, uint32_t index,
                         thin_content *content);
/* Each segment is as it was or thinned; returns how many are. */
size_t thin_assert_whole(const thin_snapshot *taken, const char *folder);

#endif
