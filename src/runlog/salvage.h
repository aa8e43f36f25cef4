/* SPDX-License-Identifier: Apache-2.0 */
/* What a killed run recorded and had not yet written: from its ring into a new segment of its
 * folder. For the files of this room and its tests only. */
#ifndef BP_RUNLOG_SALVAGE_H
#define BP_RUNLOG_SALVAGE_H

#include "runlog/ring_file.h"
#include "runlog/runlog.h"

/* As bp_runlog_salvage; *state says what was found. */
BP_MUST_USE bp_status bp_salvage_folder(const bp_io *io, const char *folder,
                                        const bp_allocator *allocator, bp_ring_state *state,
                                        uint64_t *n_records, bp_error *error);
/* Looks through ring_folder for rings that dead processes of this user left: those whose run folder
 * still stands are salvaged, those whose folder is gone are removed. */
void bp_salvage_sweep(const bp_io *io, const char *ring_folder, const bp_allocator *allocator);

#endif
