/* SPDX-License-Identifier: Apache-2.0 */
/* Events as bytes (docs/runlog-format.md). Called by who writes a run log and who reads one. */
#ifndef BP_RECORD_EVENT_H
#define BP_RECORD_EVENT_H

#include "record/record.h"

/* No event but MODEL_DELTA takes more. */
#define BP_EVENT_MAX_BYTES 1024

/* The layers of a MODEL_DELTA follow what is written here (bp_model_encode_layers). */
void bp_event_encode(const bp_event *event, bp_writer *writer);
/* Of a MODEL_DELTA the head alone, of others all bytes. BP_ERROR_INPUT when anything is not as
 * expected; *event is untouched then. */
BP_MUST_USE bp_status bp_event_decode(bp_event *event, bp_event_kind kind, bp_cursor *cursor,
                                      bp_error *error);
/* The step that it tells of; -1 when it tells of none. */
int64_t bp_event_step(const bp_event *event);

#endif
