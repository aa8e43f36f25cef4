/* SPDX-License-Identifier: Apache-2.0 */
/* Logs made frame by frame, with any type, number and payload. */
#ifndef BP_TESTS_RUNLOG_CRAFT_H
#define BP_TESTS_RUNLOG_CRAFT_H

#include "fixture.h"
#include "record/event.h"

typedef struct craft {
    uint8_t *bytes;
    size_t length, capacity;
    bp_segment_id salt;
    uint64_t sequence; /* of the next record that spends one */
    bool numbers_data;
} craft;

/* Begins a segment of the run `run`, with the header that these options give, twice. */
void craft_begin(craft *segment, uint64_t run, uint32_t index, uint64_t first_sequence,
                 bool numbers_data, bool rewinds);
void craft_free(craft *segment);
/* Writes it as folder/log-00000<index>.bplog. */
void craft_write(const craft *segment, const char *folder);

/* With the next number or numbers, as the segment's header says. */
void craft_frame(craft *segment, unsigned type, const void *payload, size_t n_bytes,
                 uint64_t n_numbers);
void craft_model(craft *segment, const bp_model *model);
void craft_step(craft *segment, const bp_record *record);
/* The fixture's record of that step. */
void craft_fixture_step(craft *segment, int64_t step);
void craft_losses(craft *segment, int64_t first_step, const double *loss, size_t n);
void craft_event(craft *segment, const bp_event *event);
/* The layers of `model` from `first` on. */
void craft_model_delta(craft *segment, const bp_model *model, uint32_t first);
void craft_rewind(craft *segment, int64_t step);
void craft_end(craft *segment, bp_run_end end);

#endif
