/* SPDX-License-Identifier: Apache-2.0 */
#include "look.h"

#include <string.h>

#define LOG16_ERROR 0.0016 /* of a magnitude in a log, relative */

static void compare(look *l, const bp_record *record) {
    while (l->net.step <= record->step) {
        l->weight_rms = net_weight_rms(&l->net, 1);
        l->loss = net_step(&l->net, NULL);
    }
    const double rms = bp_record_get(record, BP_Q_WEIGHT_RMS, 1);
    const bool knows_rms = bp_record_has(record, BP_Q_WEIGHT_RMS, 1);
    const bool same_loss =
        bp_record_has(record, BP_Q_LOSS, 0) && bp_record_get(record, BP_Q_LOSS, 0) == l->loss;
    const bool near_rms =
        rms >= l->weight_rms * (1 - LOG16_ERROR) && rms <= l->weight_rms * (1 + LOG16_ERROR);
    l->wrong += !same_loss || (knows_rms && !near_rms);
}

static void take(look *l, const bp_record *record) {
    if (l->n++ == 0) l->first = record->step;
    if (record->step <= l->last) {
        l->doubled++;
        return;
    }
    l->missing += record->step - l->last - 1;
    l->last = record->step;
    compare(l, record);
}

bp_status look_at(look *l, const char *folder, uint64_t seed, bp_error *error) {
    bp_runlog_reader *reader;
    const bp_record *record;
    memset(l, 0, sizeof *l);
    l->last = -1;
    bp_status status = bp_runlog_reader_open(&reader, folder, NULL, error);
    if (status != BP_OK) return status;
    net_init(&l->net, bp_model_n_layers(bp_runlog_reader_model(reader)), seed);
    do {
        status = bp_runlog_reader_next(reader, &record, error);
        if (status == BP_OK && record) take(l, record);
    } while (status == BP_OK && record);
    l->damage = *bp_runlog_reader_damage(reader);
    l->end = bp_runlog_reader_end(reader);
    bp_runlog_reader_close(reader);
    return status;
}
