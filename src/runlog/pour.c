/* SPDX-License-Identifier: Apache-2.0 */
#include "runlog/pour.h"

#include <errno.h>
#include <string.h>

void bp_pour_init(bp_pour *pour, bp_segment_writer *writer) {
    memset(pour, 0, sizeof *pour);
    pour->writer = writer;
}

size_t bp_losses_encode(uint8_t *bytes, double wall_time, int64_t first_step, const double *losses,
                        size_t n) {
    bp_writer writer;
    bp_writer_init(&writer, bytes, BP_LOSSES_BYTES(n));
    bp_write_f64(&writer, wall_time);
    bp_write_varint(&writer, (uint64_t)first_step);
    bp_write_varint(&writer, n);
    for (size_t i = 0; i < n; i++) bp_write_f64(&writer, losses[i]);
    return writer.length;
}

static int put(bp_pour *pour, const bp_segment_record *record, size_t n_records) {
    const int trouble = bp_segment_writer_put(pour->writer, record);
    if (trouble == EMSGSIZE) {
        pour->n_too_long += n_records;
        return 0;
    }
    if (trouble) return trouble;
    pour->n_records += n_records;
    return 0;
}

int bp_pour_finish(bp_pour *pour) {
    uint8_t payload[BP_LOSSES_BYTES(BP_POUR_LOSSES)];
    if (pour->n_losses == 0) return 0;
    const size_t n = pour->n_losses;
    pour->n_losses = 0;
    const bp_segment_record record = {
        .type = BP_RUNLOG_LOSSES,
        .sequence = pour->first_sequence,
        .payload = payload,
        .n_bytes = bp_losses_encode(payload, pour->wall_time, pour->first_step, pour->losses, n),
        .mark = pour->mark};
    return put(pour, &record, n);
}

void bp_pour_forget(bp_pour *pour) {
    pour->n_losses = 0;
}

static bool follows(const bp_pour *pour, const bp_ring_item *item) {
    return pour->n_losses < BP_POUR_LOSSES &&
           item->sequence == pour->first_sequence + pour->n_losses &&
           item->step == pour->first_step + (int64_t)pour->n_losses;
}

static int pour_loss(bp_pour *pour, const bp_ring_item *item, uint64_t mark) {
    if (item->n_bytes != sizeof(double)) return 0; /* not one of ours */
    if (pour->n_losses && !follows(pour, item)) {
        const int trouble = bp_pour_finish(pour);
        if (trouble) return trouble;
    }
    if (pour->n_losses == 0) {
        pour->first_sequence = item->sequence;
        pour->first_step = item->step;
    }
    memcpy(&pour->losses[pour->n_losses++], item->payload, sizeof(double));
    pour->mark = mark;
    return 0;
}

int bp_pour_item(bp_pour *pour, const bp_ring_item *item, uint64_t mark) {
    if (item->type == BP_RUNLOG_LOSSES) return pour_loss(pour, item, mark);
    const int trouble = bp_pour_finish(pour);
    if (trouble) return trouble;
    const bp_segment_record record = {.type = (bp_runlog_type)item->type,
                                      .sequence = item->sequence,
                                      .payload = item->payload,
                                      .n_bytes = item->n_bytes,
                                      .mark = mark};
    return put(pour, &record, item->type != BP_RUNLOG_GAP);
}
