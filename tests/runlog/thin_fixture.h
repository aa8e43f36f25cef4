/* SPDX-License-Identifier: Apache-2.0 */
/* Run folders of many small segments, as the writer leaves them, and what is left in them. */
#ifndef BP_TESTS_RUNLOG_THIN_FIXTURE_H
#define BP_TESTS_RUNLOG_THIN_FIXTURE_H

#include "craft.h"
#include "runlog/thin.h"

#define THIN_RUN UINT64_C(0x1122334455667788)

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
/* One call from a fresh thinner; io NULL: the system. */
bp_status thin_once(const char *folder, const bp_io *io, uint64_t max_bytes, uint32_t current,
                    bp_error *error);

#endif
