/* SPDX-License-Identifier: Apache-2.0 */
/* Logs of released formats, and the one in the documentation, are read for ever. SOURCE_ROOT is the
 * project's folder. */
#include "golden.h"

#define GOLDEN SOURCE_ROOT "/tests/golden/runlog-1"
#define GOLDEN_1B SOURCE_ROOT "/tests/golden/runlog-1b"
#define GOLDEN_1C SOURCE_ROOT "/tests/golden/runlog-1c"
#define DOCUMENT SOURCE_ROOT "/docs/runlog-format.md"

static double value_of(const bp_record *record, bp_quantity quantity, uint32_t row) {
    assert_true(bp_record_has(record, quantity, row));
    return bp_record_get(record, quantity, row);
}

static void the_golden_log_gives_every_value(void **state) {
    (void)state;
    const fixture_reading reading = fixture_read_log(GOLDEN);
    assert_int_equal(reading.opened, BP_OK);
    assert_int_equal(reading.n_given, 5);
    assert_int_equal(reading.end, BP_RUN_FINISHED);
    assert_int_equal(reading.damage.lost_records, 0);
    assert_int_equal(reading.damage.damaged_places, 0);
    assert_int_equal(reading.damage.unknown, 0);
}

/* Literal numbers: a codec that changed in both directions would not be seen otherwise. */
static void some_of_its_values_by_hand(void **state) {
    (void)state;
    bp_runlog_reader *reader;
    bp_error error;
    const bp_record *record;
    assert_int_equal(bp_runlog_reader_open(&reader, GOLDEN, NULL, &error), BP_OK);
    for (int64_t step = 0; step < 5; step++) {
        assert_int_equal(bp_runlog_reader_next(reader, &record, &error), BP_OK);
        assert_non_null(record);
        assert_int_equal(record->step, step);
        assert_int_equal(bp_record_has(record, BP_Q_WEIGHT_RMS, 1), step != 2);
        assert_false(bp_record_has(record, BP_Q_WEIGHT_RMS, 0));
        assert_int_equal(bp_record_has(record, BP_Q_VALIDATION_LOSS, 0), step % 2 == 1);
        assert_true(value_of(record, BP_Q_STALLED, 3) == 3000.0 + (double)step);
        if (step == 0) {
            assert_true(value_of(record, BP_Q_LOSS, 0) == 1.0);
            assert_true(value_of(record, BP_Q_WEIGHT_RMS, 1) == 0.5);
            assert_true(value_of(record, BP_Q_WEIGHT_RMS, 2) == 0.0);
            assert_true(value_of(record, BP_Q_ERROR_NORM, 1) == 0x1p-18);
            assert_true(value_of(record, BP_Q_EFFECT, 2) == -1e-17);
            assert_true(fabs(value_of(record, BP_Q_WEIGHT_RMS, 3) * 6.0 - 1.0) <= 0.0016);
        }
        if (step == 3) {
            assert_int_equal(record->flags, BP_RECORD_UPDATE_SKIPPED);
            assert_true(isinf(value_of(record, BP_Q_GRADIENT_RMS, 1)));
            assert_true(signbit(value_of(record, BP_Q_VALIDATION_LOSS, 0)));
        }
        if (step == 4) {
            assert_true(isnan(value_of(record, BP_Q_LOSS, 0)));
            assert_true(isnan(value_of(record, BP_Q_ERROR_NORM, 3)));
            assert_true(value_of(record, BP_Q_ACTIVATION_NAN, 3) == 300.0);
        }
    }
    bp_runlog_reader_close(reader);
}

/* --- numbers for data alone, and a record of each type -------------------------------------- */

static bp_runlog_entry next_entry(bp_runlog_reader *reader) {
    bp_runlog_entry entry;
    bp_error error;
    assert_int_equal(bp_runlog_reader_next_entry(reader, &entry, &error), BP_OK);
    return entry;
}

static const bp_event *next_event(bp_runlog_reader *reader, bp_event_kind kind) {
    const bp_runlog_entry entry = next_entry(reader);
    assert_non_null(entry.event);
    assert_int_equal(entry.event->kind, kind);
    return entry.event;
}

static void read_thinned(bp_runlog_reader *reader) {
    const int64_t kept[] = {0, 4, 5, 9, 13, 17, 21, 25, 29};
    const bp_event_thinned *thinned = &next_event(reader, BP_EVENT_THINNED)->as.thinned;
    assert_int_equal(thinned->every, 4);
    assert_int_equal(thinned->first_sequence, 0);
    assert_int_equal(thinned->last_sequence, 301);
    assert_int_equal(thinned->n_dropped, 21);
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        const bp_record *record = next_entry(reader).record;
        assert_non_null(record);
        assert_int_equal(record->step, kept[i]);
        assert_true(value_of(record, BP_Q_STALLED, 3) == 3000.0 + (double)kept[i]);
        assert_true(kept[i] == 4 ? isnan(value_of(record, BP_Q_LOSS, 0))
                                 : value_of(record, BP_Q_LOSS, 0) == 1.0 / (1.0 + (double)kept[i]));
    }
}

static void read_losses(bp_runlog_reader *reader) {
    for (int64_t step = 30; step < 300; step++) {
        const bp_record *record = next_entry(reader).record;
        assert_non_null(record);
        assert_int_equal(record->step, step);
        assert_true(record->wall_time == 1700000000.0);
        assert_false(bp_record_has(record, BP_Q_SAMPLES, 0));
        assert_true(value_of(record, BP_Q_LOSS, 0) == golden_loss(step));
    }
}

static void read_events(bp_runlog_reader *reader) {
    const bp_event_watch *watch = &next_event(reader, BP_EVENT_WATCH)->as.watch;
    assert_int_equal(watch->step, 299);
    assert_int_equal(watch->mode, BP_WATCH_BUDGET);
    assert_int_equal(watch->every, 10);
    assert_true(watch->budget_fraction == 0.01);
    assert_int_equal(watch->full_steps, 30);
    assert_int_equal(watch->light_steps, 270);
    assert_true(watch->watch_seconds == 0.5 && watch->run_seconds == 64.0);
    assert_int_equal(next_entry(reader).record->step, 300);
    const bp_event_finding *finding = &next_event(reader, BP_EVENT_FINDING)->as.finding;
    assert_int_equal(finding->step, 300);
    assert_int_equal(finding->since_step, 280);
    assert_int_equal(finding->problem, 2);
    assert_int_equal(finding->severity, 1);
    assert_int_equal(finding->state, BP_FINDING_OPENED);
    const bp_event_checkpoint *checkpoint = &next_event(reader, BP_EVENT_CHECKPOINT)->as.checkpoint;
    assert_int_equal(checkpoint->step, 300);
    assert_string_equal(checkpoint->file, "step-000000300.safetensors");
    const bp_event_model_delta *delta = &next_event(reader, BP_EVENT_MODEL_DELTA)->as.model_delta;
    assert_int_equal(delta->first_layer, 4);
    assert_int_equal(delta->n_layers, 1);
}

/* Step 302 comes once, from the segment that begins with a rewind; 303 found no room on the disk.
 */
static void read_resumed(bp_runlog_reader *reader) {
    for (int64_t step = 301; step <= 304; step++) {
        if (step == 303) {
            const bp_event_gap *gap = &next_event(reader, BP_EVENT_GAP)->as.gap;
            assert_int_equal(gap->reason, 1);
            assert_int_equal(gap->n_steps, 1);
            assert_int_equal(gap->first_step, 303);
            assert_int_equal(gap->last_step, 303);
            continue;
        }
        const bp_record *record = next_entry(reader).record;
        assert_non_null(record);
        assert_int_equal(record->step, step);
        assert_int_equal(record->n_layers, 4);
        assert_true(value_of(record, BP_Q_WEIGHT_RMS, 4) == 0.5);
        assert_false(bp_record_has(record, BP_Q_WEIGHT_RMS, 3));
    }
}

static void the_golden_log_with_all_types(void **state) {
    (void)state;
    bp_runlog_reader *reader;
    bp_error error;
    if (bp_runlog_reader_open(&reader, GOLDEN_1B, NULL, &error) != BP_OK)
        fail_msg("%s", error.text);
    const bp_model *model = bp_runlog_reader_model(reader);
    assert_int_equal(bp_model_n_layers(model), 4);
    assert_string_equal(bp_model_layer(model, 4)->name, "added");
    assert_int_equal(bp_model_layer(model, 4)->fan_in, 3);
    read_thinned(reader);
    read_losses(reader);
    read_events(reader);
    read_resumed(reader);
    const bp_runlog_entry end = next_entry(reader);
    assert_true(!end.record && !end.event);
    assert_int_equal(bp_runlog_reader_end(reader), BP_RUN_FINISHED);
    const bp_runlog_damage *damage = bp_runlog_reader_damage(reader);
    assert_int_equal(damage->thinned_records, 21);
    assert_int_equal(damage->lost_records, 1);
    assert_int_equal(damage->damaged_places, 0);
    assert_int_equal(damage->unknown, 0);
    assert_false(damage->torn_tail);
    bp_runlog_reader_close(reader);
}

static void the_golden_log_of_a_framework(void **state) {
    (void)state;
    bp_runlog_reader *reader;
    bp_error error;
    if (bp_runlog_reader_open(&reader, GOLDEN_1C, NULL, &error) != BP_OK)
        fail_msg("%s", error.text);
    const bp_model *model = bp_runlog_reader_model(reader);
    assert_string_equal(bp_model_origin(model), "pytorch");
    assert_true(bp_model_recipe(model)->unsupervised);
    assert_true(bp_model_recipe(model)->learning_rate == 0.0625);
    assert_int_equal(bp_model_input(model)[0], 2);
    assert_int_equal(bp_model_n_layers(model), 3);
    assert_string_equal(bp_model_layer(model, 1)->activation_name, "net.1");
    assert_null(bp_model_layer(model, 2)->activation_name);
    assert_int_equal(bp_model_layer(model, 2)->fan_in, 4);
    assert_int_equal(bp_model_layer(model, 3)->kind, BP_LAYER_OTHER);
    for (int64_t step = 0; step < 3; step++) {
        const bp_record *record = next_entry(reader).record;
        assert_non_null(record);
        assert_int_equal(record->step, step);
        assert_true(value_of(record, BP_Q_STALLED, 3) == 3000.0 + (double)step);
    }
    assert_int_equal(bp_runlog_reader_damage(reader)->damaged_places, 0);
    bp_runlog_reader_close(reader);
}

/* --- the document --------------------------------------------------------------------------- */

/* Bytes of a line "0040  8b 77 0e ...  meaning"; false where it is no such line. */
static bool take_line(const char *line, uint8_t *bytes, size_t *length) {
    char *end;
    const unsigned long offset = strtoul(line, &end, 16);
    if (end != line + 4 || strncmp(end, "  ", 2) != 0) return false;
    assert_int_equal(offset, *length);
    for (const char *at = end + 2;; at += 3) {
        const unsigned long byte = strtoul(at, &end, 16);
        assert_ptr_equal(end, at + 2);
        bytes[(*length)++] = (uint8_t)byte;
        if (*end != ' ' || end[1] == ' ' || end[1] == '\0') return true;
    }
}

static size_t bytes_of_the_document(uint8_t *bytes, size_t capacity) {
    FILE *file = fopen(DOCUMENT, "r");
    char line[256];
    size_t length = 0;
    bool inside = false;
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "```", 3) == 0) {
            inside = strcmp(line, "```text") == 0;
            continue;
        }
        if (!inside || line[0] == '#') continue;
        assert_true(length + 8 <= capacity);
        assert_true(take_line(line, bytes, &length));
    }
    fclose(file);
    return length;
}

static void the_documented_log_is_one(void **state) {
    (void)state;
    uint8_t bytes[4096];
    char folder[FIXTURE_PATH_BYTES], path[FIXTURE_PATH_BYTES];
    bp_runlog_reader *reader;
    bp_error error;
    const bp_record *record;
    const size_t length = bytes_of_the_document(bytes, sizeof bytes);
    assert_true(length > 300);
    fixture_make_folder(folder);
    fixture_write_file(fixture_segment(path, folder, 1), bytes, length);
    if (bp_runlog_reader_open(&reader, folder, NULL, &error) != BP_OK) fail_msg("%s", error.text);
    const bp_model *model = bp_runlog_reader_model(reader);
    assert_int_equal(bp_model_n_layers(model), 1);
    assert_string_equal(bp_model_layer(model, 1)->name, "out");
    assert_int_equal(bp_model_layer(model, 1)->weight_init.kind, BP_INIT_HE);
    assert_int_equal(bp_model_layer(model, 1)->fan_in, 3);
    assert_true(bp_model_recipe(model)->learning_rate == 0.5);
    assert_int_equal(bp_runlog_reader_next(reader, &record, &error), BP_OK);
    assert_non_null(record);
    assert_int_equal(record->step, 0);
    assert_true(record->wall_time == 1700000000.0);
    assert_true(value_of(record, BP_Q_LOSS, 0) == 0.75);
    assert_true(value_of(record, BP_Q_SAMPLES, 0) == 4.0);
    assert_true(value_of(record, BP_Q_ACTIVATION_RMS, 0) == 1.0);
    assert_true(value_of(record, BP_Q_ACTIVATION_RMS, 1) == 0.0);
    assert_true(value_of(record, BP_Q_WEIGHT_RMS, 1) == 0.5);
    assert_true(isnan(value_of(record, BP_Q_GRADIENT_RMS, 1)));
    assert_true(value_of(record, BP_Q_STALLED, 1) == 300.0);
    assert_false(bp_record_has(record, BP_Q_STALLED, 0));
    assert_int_equal(bp_runlog_reader_next(reader, &record, &error), BP_OK);
    assert_non_null(record);
    assert_int_equal(record->step, 1);
    assert_true(value_of(record, BP_Q_LOSS, 0) == 0.5);
    assert_false(bp_record_has(record, BP_Q_SAMPLES, 0));
    assert_int_equal(bp_runlog_reader_next(reader, &record, &error), BP_OK);
    assert_null(record);
    assert_int_equal(bp_runlog_reader_end(reader), BP_RUN_OPEN);
    assert_int_equal(bp_runlog_reader_damage(reader)->damaged_places, 0);
    bp_runlog_reader_close(reader);
    fixture_remove_folder(folder);
}

static void the_documented_checksum_is_the_one(void **state) {
    (void)state;
    assert_int_equal(bp_crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(bp_crc32c(bp_crc32c(0, "1234", 4), "56789", 5), 0xe3069283);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_golden_log_gives_every_value),
        cmocka_unit_test(some_of_its_values_by_hand),
        cmocka_unit_test(the_golden_log_with_all_types),
        cmocka_unit_test(the_golden_log_of_a_framework),
        cmocka_unit_test(the_documented_log_is_one),
        cmocka_unit_test(the_documented_checksum_is_the_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
