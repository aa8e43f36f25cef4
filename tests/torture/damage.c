/* SPDX-License-Identifier: Apache-2.0 */
/* Every bit of a log that holds every type of record flipped, and every truncation of it; the same
 * of the ring of a killed run. Exactly what the damage touches is lost, and no value is wrong.
 *
 *   damage [STRIDE]      each STRIDE-th bit and length; 1: all of them (docs/evidence/torture.md)
 */
#include "../runlog/craft.h"
#include "look.h"
#include "runlog/ring_file.h"

#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_ENTRIES 128
#define MAX_FRAMES 64
#define RUN UINT64_C(0x5eed5eed5eed)
#define TORN_STEP 10 /* the run was resumed here */

static size_t stride = 1;
static uint64_t n_read, n_entries_lost; /* told at the end */

/* --- what a reader gives -------------------------------------------------------------------- */

typedef struct reading {
    bp_status status;
    uint64_t entry[MAX_ENTRIES]; /* a hash of all that is said */
    size_t n;
    bp_runlog_damage damage;
    bp_run_end end;
} reading;

static uint64_t mix(uint64_t hash, const void *bytes, size_t n_bytes) { /* FNV-1a */
    for (size_t i = 0; i < n_bytes; i++)
        hash = (hash ^ ((const uint8_t *)bytes)[i]) * UINT64_C(1099511628211);
    return hash;
}

/* Only what was measured: a network that grew has more rows. */
static uint64_t hash_of(const bp_runlog_entry *entry) {
    uint64_t hash = UINT64_C(14695981039346656037);
    if (entry->event) {
        uint8_t bytes[BP_EVENT_MAX_BYTES];
        bp_writer writer;
        bp_writer_init(&writer, bytes, sizeof bytes);
        bp_event_encode(entry->event, &writer);
        hash = mix(hash, &entry->event->kind, sizeof entry->event->kind);
        return mix(hash, bytes, writer.length);
    }
    const bp_record *record = entry->record;
    hash = mix(hash, &record->step, sizeof record->step);
    for (int quantity = 0; quantity < BP_N_QUANTITIES; quantity++)
        for (uint32_t row = 0; row <= record->n_layers; row++) {
            if (!bp_record_has(record, (bp_quantity)quantity, row)) continue;
            const double value = bp_record_get(record, (bp_quantity)quantity, row);
            const uint64_t cell = (uint64_t)quantity << 32 | row;
            hash = mix(mix(hash, &cell, sizeof cell), &value, sizeof value);
        }
    return hash;
}

static reading read_folder(const char *folder) {
    reading found = {0};
    bp_runlog_reader *reader;
    bp_runlog_entry entry;
    bp_error error;
    n_read++;
    found.status = bp_runlog_reader_open(&reader, folder, NULL, &error);
    if (found.status != BP_OK) return found;
    for (;;) {
        assert_int_equal(bp_runlog_reader_next_entry(reader, &entry, &error), BP_OK);
        if (!entry.record && !entry.event) break;
        assert_true(found.n < MAX_ENTRIES);
        found.entry[found.n++] = hash_of(&entry);
    }
    found.damage = *bp_runlog_reader_damage(reader);
    found.end = bp_runlog_reader_end(reader);
    bp_runlog_reader_close(reader);
    return found;
}

/* --- a log with everything in it ------------------------------------------------------------ */

typedef struct frame { /* one that was crafted */
    size_t segment, place, end;
    unsigned type;
    size_t n_entries; /* that a reader gives of it */
    uint64_t n_numbers;
    bool needs_one_before; /* a step of a network that grew just before */
} frame;

typedef struct full_log {
    char folder[FIXTURE_PATH_BYTES];
    craft segment[2];
    frame frames[MAX_FRAMES];
    size_t n_frames;
    reading alone; /* the first segment, before the run was resumed */
    reading good;
} full_log;

/* What stands in the segment since the last call is one frame. */
static void note(full_log *log, size_t segment, unsigned type, size_t n_entries,
                 uint64_t n_numbers) {
    const frame *last = log->n_frames ? &log->frames[log->n_frames - 1] : NULL;
    const size_t place = last && last->segment == segment ? last->end : BP_SEGMENT_START;
    log->frames[log->n_frames++] =
        (frame){segment, place, log->segment[segment].length, type, n_entries, n_numbers, false};
}

static void add_steps(full_log *log, size_t segment, int64_t from, int64_t to) {
    for (int64_t step = from; step < to; step++) {
        craft_fixture_step(&log->segment[segment], step);
        note(log, segment, BP_RUNLOG_STEP, segment == 1 || step < TORN_STEP, 1);
    }
}

static void add_event(full_log *log, size_t segment, const bp_event *event) {
    craft_event(&log->segment[segment], event);
    note(log, segment, (unsigned)event->kind, 1, 1);
}

static void add_model(full_log *log, size_t segment, const bp_model *model) {
    craft_model(&log->segment[segment], model);
    note(log, segment, BP_RUNLOG_MODEL, 0, 0);
}

static void add_header(full_log *log, size_t segment) {
    craft *made = &log->segment[segment];
    craft_frame(made, BP_RUNLOG_HEADER, made->bytes, BP_SEGMENT_HEADER_BYTES, 0);
    note(log, segment, BP_RUNLOG_HEADER, 0, 0);
}

/* Steps 6 and 7 could not be recorded: they spent numbers. */
static void add_gap(full_log *log) {
    uint8_t bytes[16];
    bp_writer writer;
    log->segment[0].sequence += 2;
    bp_writer_init(&writer, bytes, sizeof bytes);
    bp_write_varint(&writer, 2);
    bp_write_varint(&writer, 2);
    bp_write_varint(&writer, 6);
    bp_write_varint(&writer, 7);
    craft_frame(&log->segment[0], BP_RUNLOG_GAP, bytes, writer.length, 0);
    note(log, 0, BP_RUNLOG_GAP, 1, 0);
}

static void fill_first(full_log *log, const bp_model *model) {
    const double loss[3] = {0.5, 0.25, 0.125};
    const bp_event finding = {.kind = BP_EVENT_FINDING,
                              .as.finding = {2, 1, 1, 2, BP_FINDING_OPENED}};
    const bp_event checkpoint = {.kind = BP_EVENT_CHECKPOINT,
                                 .as.checkpoint = {5, "step-000000005.safetensors"}};
    const bp_event watch = {.kind = BP_EVENT_WATCH,
                            .as.watch = {8, BP_WATCH_BUDGET, 0, 0.01, 7, 93, 0.5, 50.0}};
    craft_begin(&log->segment[0], RUN, 1, 0, true, false);
    add_model(log, 0, model);
    add_steps(log, 0, 0, 3);
    add_event(log, 0, &finding);
    craft_losses(&log->segment[0], 3, loss, 3);
    note(log, 0, BP_RUNLOG_LOSSES, 3, 3);
    add_event(log, 0, &checkpoint);
    add_gap(log);
    add_steps(log, 0, 8, 9);
    add_event(log, 0, &watch);
    add_header(log, 0);
    add_model(log, 0, model);
    add_steps(log, 0, 9, TORN_STEP + 2);
}

/* A fourth layer, and a step of the larger network. */
static void add_growth(full_log *log, bp_model *model) {
    const bp_layer layer = {
        .kind = BP_LAYER_DENSE, .activation = BP_ACTIVATION_TANH, .output_shape = {2, 1, 1}};
    craft *segment = &log->segment[1];
    bp_record record;
    assert_int_equal(bp_model_add_layer(model, &layer, NULL, NULL), BP_OK);
    craft_model_delta(segment, model, FIXTURE_LAYERS + 1);
    note(log, 1, BP_RUNLOG_MODEL_DELTA, 1, 1);
    assert_int_equal(bp_record_init(&record, FIXTURE_LAYERS + 1, NULL), BP_OK);
    record.step = TORN_STEP + 3;
    bp_record_set(&record, BP_Q_LOSS, 0, 0.0625);
    bp_record_set(&record, BP_Q_WEIGHT_RMS, FIXTURE_LAYERS + 1, 0.5);
    craft_step(segment, &record);
    bp_record_finish(&record, NULL);
    note(log, 1, BP_RUNLOG_STEP, 1, 1);
    log->frames[log->n_frames - 1].needs_one_before = true;
}

static void fill_second(full_log *log, bp_model *model) {
    craft *segment = &log->segment[1];
    craft_begin(segment, RUN, 2, log->segment[0].sequence, true, true);
    add_model(log, 1, model);
    craft_rewind(segment, TORN_STEP);
    note(log, 1, BP_RUNLOG_REWIND, 0, 0);
    add_steps(log, 1, TORN_STEP, TORN_STEP + 3);
    add_header(log, 1);
    add_model(log, 1, model);
    add_growth(log, model);
    /* A reader cannot know whether it spent a number: here the end's would be in doubt. */
    craft_frame(segment, 4711, "of a later version", 18, 0);
    note(log, 1, 4711, 0, 0);
    craft_end(segment, BP_RUN_FINISHED);
    note(log, 1, BP_RUNLOG_END, 0, 1);
}

static full_log made;

static int make_log(void **state) {
    (void)state;
    strcpy(made.folder, "/dev/shm/torture-damage-XXXXXX");
    if (!mkdtemp(made.folder)) return -1;
    bp_model *model = fixture_model();
    fill_first(&made, model);
    fill_second(&made, model);
    bp_model_close(model);
    craft_write(&made.segment[0], made.folder);
    made.alone = read_folder(made.folder);
    craft_write(&made.segment[1], made.folder);
    made.good = read_folder(made.folder);
    size_t n_entries = 0;
    for (size_t i = 0; i < made.n_frames; i++) n_entries += made.frames[i].n_entries;
    assert_int_equal(made.good.n, n_entries);
    assert_int_equal(made.good.damage.damaged_places, 0);
    assert_int_equal(made.good.damage.lost_records, 2); /* in the gap */
    assert_int_equal(made.good.end, BP_RUN_FINISHED);
    return 0;
}

static int remove_log(void **state) {
    (void)state;
    fixture_remove_folder(made.folder);
    for (size_t i = 0; i < 2; i++) craft_free(&made.segment[i]);
    return 0;
}

/* --- the log damaged ------------------------------------------------------------------------ */

static bool is_hit(const frame *one, size_t segment, size_t from, size_t to) {
    return one->segment == segment && one->place < to && one->end > from;
}

/* All entries but those of frames that touch [from, to) of the segment, in their order. */
static void assert_rest(const reading *found, size_t segment, size_t from, size_t to) {
    size_t at = 0, entry = 0;
    assert_int_equal(found->status, BP_OK);
    for (size_t i = 0; i < made.n_frames; i++) {
        const frame *one = &made.frames[i];
        const bool hit = is_hit(one, segment, from, to) ||
                         (one->needs_one_before && is_hit(one - 1, segment, from, to));
        for (size_t k = 0; k < one->n_entries; k++, entry++) {
            n_entries_lost += hit;
            if (hit) continue;
            assert_true(at < found->n);
            assert_true(found->entry[at] == made.good.entry[entry]);
            at++;
        }
    }
    assert_int_equal(found->n, at);
}

static const frame *frame_at(size_t segment, size_t place) {
    for (size_t i = 0; i < made.n_frames; i++)
        if (is_hit(&made.frames[i], segment, place, place + 1)) return &made.frames[i];
    return NULL; /* in the segment's head */
}

static void check_flip(size_t segment, size_t place) {
    const reading found = read_folder(made.folder);
    const frame *hit = frame_at(segment, place);
    assert_rest(&found, segment, place, place + 1);
    assert_int_equal(found.damage.damaged_places, 1);
    assert_int_equal(found.damage.first.status, BP_ERROR_INPUT);
    const bool is_last = hit == &made.frames[made.n_frames - 1];
    assert_int_equal(found.end, is_last ? BP_RUN_OPEN : BP_RUN_FINISHED);
    const bool is_before = hit && !is_last && hit[1].needs_one_before;
    const uint64_t lost = hit ? hit->n_numbers + is_before : 0;
    /* The number of the very last record goes with its header. */
    if (is_last)
        assert_true(found.damage.lost_records == 2 || found.damage.lost_records == 3);
    else
        assert_int_equal(found.damage.lost_records, 2 + lost);
}

static void every_bit_of_a_log(void **state) {
    (void)state;
    for (size_t s = 0; s < 2; s++) {
        craft *segment = &made.segment[s];
        for (size_t bit = 0; bit < 8 * segment->length; bit += stride) {
            segment->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            craft_write(segment, made.folder);
            check_flip(s, bit / 8);
            segment->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        craft_write(segment, made.folder);
    }
}

/* Where the second segment does not even say that the run went back, nothing is void. */
static void assert_alone(const reading *found) {
    assert_int_equal(found->n, made.alone.n);
    for (size_t i = 0; i < found->n; i++) assert_true(found->entry[i] == made.alone.entry[i]);
}

static void check_cut(size_t segment, size_t length, size_t whole) {
    const reading found = read_folder(made.folder);
    size_t rewound = 0;
    for (size_t i = 0; i < made.n_frames; i++)
        if (made.frames[i].type == BP_RUNLOG_REWIND) rewound = made.frames[i].end;
    assert_int_equal(found.status, BP_OK);
    if (segment == 1 && length < rewound)
        assert_alone(&found);
    else
        assert_rest(&found, segment, length, whole);
    if (segment == 0) return;
    assert_int_equal(found.end, BP_RUN_OPEN);
    assert_int_equal(found.damage.lost_records, 2);
    assert_int_equal(found.damage.damaged_places, 0);
}

static void every_truncation_of_a_log(void **state) {
    (void)state;
    for (size_t s = 0; s < 2; s++) {
        craft *segment = &made.segment[s];
        const size_t whole = segment->length;
        for (size_t length = 0; length < whole; length += stride) {
            segment->length = length;
            craft_write(segment, made.folder);
            check_cut(s, length, whole);
        }
        segment->length = whole;
        craft_write(segment, made.folder);
    }
}

/* --- the ring damaged ----------------------------------------------------------------------- */

enum { RING_STEPS = 30, RING_LAYERS = 1 };

typedef struct killed {
    char folder[FIXTURE_PATH_BYTES], ring[BP_RING_PATH_BYTES];
    fixture_bytes note, bytes, segment;
} killed;

/* In a child: its steps are in the ring, and none in the segment, for the thread that writes looks
 * every 20 ms. */
static void be_killed(const char *folder) {
    static net n;
    uint8_t bytes[4096];
    bp_record record;
    bp_runlog_writer *writer;
    const bp_runlog_options options = {.ring_bytes = BP_RING_LEAST_BYTES};
    net_init(&n, RING_LAYERS, 1);
    bp_model *model = net_model(&n);
    if (!model || bp_record_init(&record, RING_LAYERS, NULL) != BP_OK) _exit(3);
    if (bp_runlog_writer_open(&writer, folder, model, &options, NULL) != BP_OK) _exit(3);
    while (n.step < RING_STEPS) {
        bp_writer put;
        bp_record_clear(&record);
        record.step = n.step;
        bp_record_set(&record, BP_Q_WEIGHT_RMS, 1, net_weight_rms(&n, 1));
        bp_record_set(&record, BP_Q_LOSS, 0, net_step(&n, NULL));
        bp_writer_init(&put, bytes, sizeof bytes);
        bp_record_encode(&record, &put);
        (void)!bp_runlog_writer_step(writer, record.step, bytes, put.length, NULL);
    }
    kill(getpid(), SIGKILL);
}

static void make_killed(killed *run) {
    int status;
    char path[2 * FIXTURE_PATH_BYTES];
    strcpy(run->folder, "/dev/shm/torture-ring-XXXXXX");
    assert_non_null(mkdtemp(run->folder));
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) be_killed(run->folder);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_true(bp_ring_read_note(&bp_io_system, run->folder, run->ring, NULL));
    run->bytes = fixture_read_file(run->ring);
    snprintf(path, sizeof path, "%s/%s", run->folder, BP_RING_NOTE);
    run->note = fixture_read_file(path);
    run->segment = fixture_read_file(fixture_segment(path, run->folder, 1));
}

static void restore(const killed *run, size_t ring_bytes) {
    char path[2 * FIXTURE_PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", run->folder, BP_RING_NOTE);
    fixture_write_file(path, run->note.bytes, run->note.length);
    fixture_write_file(fixture_segment(path, run->folder, 1), run->segment.bytes,
                       run->segment.length);
    unlink(fixture_segment(path, run->folder, 2));
    fixture_write_file(run->ring, run->bytes.bytes, ring_bytes);
    assert_int_equal(chmod(run->ring, 0600), 0);
}

/* What comes is a begin of what was; what was spent and does not come is counted, unless the damage
 * hit the count itself or all of the ring. A begin that was moved on (`tail`) is counted as well.
 */
static void check_ring(const killed *run, int64_t n_good, size_t place) {
    static look l;
    bp_error error;
    n_read++;
    if (look_at(&l, run->folder, 1, &error) != BP_OK) fail_msg("%s", error.text);
    assert_int_equal(l.wrong, 0);
    assert_int_equal(l.doubled, 0);
    assert_true((uint64_t)l.missing <= l.damage.lost_records);
    assert_int_equal(l.damage.damaged_places, 0);
    assert_true(l.n <= n_good);
    n_entries_lost += (uint64_t)(n_good - l.n);
    if (place < BP_RING_HEADER_BYTES) return;
    assert_int_equal(l.missing, 0);
    assert_int_equal(l.damage.lost_records, RING_STEPS - l.n);
}

static void every_bit_of_a_ring(void **state) {
    (void)state;
    static killed run;
    static look l;
    bp_error error;
    make_killed(&run);
    assert_int_equal(look_at(&l, run.folder, 1, &error), BP_OK);
    const int64_t n_good = l.n;
    assert_true(n_good > 10);
    assert_int_equal(l.damage.lost_records, RING_STEPS - n_good); /* for which it was too small */
    for (size_t bit = 0; bit < 8 * run.bytes.length; bit += stride) {
        run.bytes.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        restore(&run, run.bytes.length);
        check_ring(&run, n_good, bit / 8);
        run.bytes.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t length = 0; length < run.bytes.length; length += stride) {
        restore(&run, length);
        check_ring(&run, n_good, 0);
    }
    unlink(run.ring);
    fixture_remove_folder(run.folder);
    const fixture_bytes *files[] = {&run.note, &run.bytes, &run.segment};
    for (size_t i = 0; i < 3; i++) bp_release(NULL, files[i]->bytes, files[i]->length + 1, 1);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bit_of_a_log),
        cmocka_unit_test(every_truncation_of_a_log),
        cmocka_unit_test(every_bit_of_a_ring),
    };
    if (argc > 1) stride = (size_t)strtoul(argv[1], NULL, 10);
    if (stride < 1) return 2;
    const int n_failed = cmocka_run_group_tests(tests, make_log, remove_log);
    printf("%llu damaged logs read, %llu records lost with what the damage touched\n",
           (unsigned long long)n_read, (unsigned long long)n_entries_lost);
    return n_failed;
}
