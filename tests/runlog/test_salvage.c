/* SPDX-License-Identifier: Apache-2.0 */
/* What a killed run left in its ring: read, once, by whoever comes; whatever else happens to be
 * there is left alone. The children that are killed cannot write: their disk is frozen. */
#include "fixture.h"
#include "record/event.h"
#include "runlog/reader.h"
#include "runlog/salvage.h"
#include "slow_disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

enum { STEPS = 30 };

static char ring_folder[] = "/dev/shm/backprobe-salvage-XXXXXX";

typedef struct killed_run {
    char folder[FIXTURE_PATH_BYTES], ring[FIXTURE_PATH_BYTES];
} killed_run;

/* --- making one ----------------------------------------------------------------------------- */

/* One more layer, and a step of the larger network. */
static void grow_once(bp_runlog_writer *writer, bp_model *model) {
    uint8_t bytes[1024];
    bp_writer encoded;
    bp_record record;
    const bp_layer layer = {.name = "fourth",
                            .kind = BP_LAYER_DENSE,
                            .activation = BP_ACTIVATION_LINEAR,
                            .norm = BP_NORM_NONE,
                            .output_shape = {3, 1, 1},
                            .weight_init = {BP_INIT_PYTORCH_DEFAULT, 1.0},
                            .bias_init = {BP_INIT_ZEROS, 0.0}};
    if (bp_model_add_layer(model, &layer, NULL, NULL) != BP_OK ||
        bp_runlog_writer_model(writer, model, NULL) != BP_OK ||
        bp_record_init(&record, FIXTURE_LAYERS + 1, NULL) != BP_OK)
        _exit(3);
    record.step = STEPS;
    bp_record_set(&record, BP_Q_WEIGHT_RMS, FIXTURE_LAYERS + 1, 0.25);
    bp_writer_init(&encoded, bytes, sizeof bytes);
    bp_record_encode(&record, &encoded);
    if (bp_runlog_writer_step(writer, STEPS, bytes, encoded.length, NULL) != BP_OK) _exit(3);
}

/* Each kind of event that a run tells of between its steps. */
static const bp_event told_events[] = {
    {.kind = BP_EVENT_FINDING, .as.finding = {STEPS, 1, 1, 2, BP_FINDING_OPENED}},
    {.kind = BP_EVENT_CHECKPOINT, .as.checkpoint = {STEPS, "step.safetensors"}},
    {.kind = BP_EVENT_WATCH, .as.watch = {STEPS, BP_WATCH_EVERY, 1, 0.01, STEPS, 0, 1, 2}},
    {.kind = BP_EVENT_HISTOGRAM, .as.histogram = {STEPS, 2, 6, {1, 0, -9, 2, {3, 4}}}},
};
enum { N_TOLD = sizeof told_events / sizeof *told_events };

static void tell_events(bp_runlog_writer *writer) {
    for (size_t i = 0; i < N_TOLD; i++) {
        uint8_t bytes[BP_EVENT_MAX_BYTES];
        bp_writer encoded;
        bp_writer_init(&encoded, bytes, sizeof bytes);
        bp_event_encode(&told_events[i], &encoded);
        if (bp_runlog_writer_event(writer, (bp_runlog_type)told_events[i].kind, bytes,
                                   encoded.length, NULL) != BP_OK)
            _exit(3);
    }
}

static bool child_grows, child_tells; /* inherited by the next child */

/* In a child: opens, puts n steps of which the first `written` reach the disk, tells, waits. */
static void be_killed(const char *folder, int pipe_end, int64_t written, int64_t n_steps,
                      uint64_t ring_bytes) {
    static slow_disk disk;
    static bp_io io;
    io = slow_io(&disk);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody behind */
    const bp_runlog_options options = {
        .io = &io, .ring_folder = ring_folder, .ring_bytes = ring_bytes};
    bp_runlog_writer *writer;
    bp_model *model = fixture_model();
    if (bp_runlog_writer_open(&writer, folder, model, &options, NULL) != BP_OK ||
        !bp_runlog_writer_transport(writer).ring)
        _exit(3);
    const long long before = atomic_load(&disk.n_writes);
    for (int64_t step = 0; step < written; step++)
        if (fixture_put_step(writer, step, NULL) != BP_OK) _exit(3);
    while (written > 0 && atomic_load(&disk.n_writes) == before) usleep(1000);
    usleep(written > 0 ? 50000 : 0); /* the tail of the ring has moved */
    atomic_store(&disk.frozen, 1);
    for (int64_t step = written; step < n_steps; step++)
        (void)!fixture_put_step(writer, step, NULL);
    if (child_grows) grow_once(writer, model);
    if (child_tells) tell_events(writer);
    if (write(pipe_end, "x", 1) != 1) _exit(3);
    for (;;) pause();
}

static pid_t start_run(killed_run *run, int64_t written, int64_t n_steps, uint64_t ring_bytes) {
    int ends[2];
    char told, note[FIXTURE_PATH_BYTES + 8], path[BP_RING_PATH_BYTES];
    fixture_make_folder(run->folder);
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) be_killed(run->folder, ends[1], written, n_steps, ring_bytes);
    close(ends[1]);
    assert_int_equal(read(ends[0], &told, 1), 1);
    close(ends[0]);
    snprintf(note, sizeof note, "%s/ring", run->folder);
    assert_int_equal(access(note, F_OK), 0);
    assert_true(bp_ring_read_note(&bp_io_system, run->folder, path, NULL));
    assert_true(strlen(path) < sizeof run->ring);
    strcpy(run->ring, path);
    return child;
}

static void kill_run(pid_t child) {
    int status;
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}

static void make_killed(killed_run *run, int64_t written) {
    kill_run(start_run(run, written, STEPS, 65536));
}

static bool stands(const char *path) {
    return access(path, F_OK) == 0;
}

static bool has_note(const killed_run *run) {
    char note[FIXTURE_PATH_BYTES + 8];
    snprintf(note, sizeof note, "%s/ring", run->folder);
    return stands(note);
}

static uint32_t n_segments(const killed_run *run) {
    char path[FIXTURE_PATH_BYTES];
    uint32_t n = 0;
    while (stands(fixture_segment(path, run->folder, n + 1))) n++;
    return n;
}

static void assert_whole(const killed_run *run) {
    const fixture_reading reading = fixture_read_log(run->folder);
    if (reading.opened != BP_OK) fail_msg("%s", reading.error.text);
    assert_int_equal(reading.n_given, STEPS);
    assert_int_equal(reading.damage.lost_records, 0);
    if (reading.damage.damaged_places) fail_msg("%s", reading.damage.first.text);
    assert_int_equal(reading.end, BP_RUN_OPEN);
}

static void remove_run(const killed_run *run) {
    fixture_remove_folder(run->folder);
    unlink(run->ring);
}

/* --- the usual ------------------------------------------------------------------------------ */

static void a_killed_run_is_read_whole(void **state) {
    (void)state;
    for (int64_t written = 0; written <= 20; written += 10) {
        killed_run run;
        make_killed(&run, written);
        assert_true(stands(run.ring));
        assert_whole(&run);
        assert_false(stands(run.ring));
        assert_false(has_note(&run));
        assert_int_equal(n_segments(&run), 2);
        assert_whole(&run);
        assert_int_equal(n_segments(&run), 2);
        remove_run(&run);
    }
}

static void salvage_counts(void **state) {
    (void)state;
    killed_run run;
    uint64_t n;
    bp_error error;
    make_killed(&run, 10);
    assert_int_equal(bp_runlog_salvage(&bp_io_system, run.folder, NULL, &n, &error), BP_OK);
    assert_int_equal(n, STEPS - 10);
    assert_int_equal(bp_runlog_salvage(&bp_io_system, run.folder, NULL, &n, &error), BP_OK);
    assert_int_equal(n, 0);
    assert_whole(&run);
    remove_run(&run);
}

/* The layers that came last stand in the ring alone. */
static void a_network_that_grew_before_the_kill(void **state) {
    (void)state;
    killed_run run;
    bp_runlog_reader *reader;
    const bp_record *record;
    child_grows = true;
    make_killed(&run, 10);
    child_grows = false;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(bp_runlog_reader_open(&reader, run.folder, NULL, NULL), BP_OK);
        assert_int_equal(bp_model_n_layers(bp_runlog_reader_model(reader)), FIXTURE_LAYERS + 1);
        for (int64_t step = 0; step <= STEPS; step++) {
            assert_int_equal(bp_runlog_reader_next(reader, &record, NULL), BP_OK);
            assert_non_null(record);
            assert_int_equal(record->step, step);
        }
        assert_true(bp_record_get(record, BP_Q_WEIGHT_RMS, FIXTURE_LAYERS + 1) > 0.24);
        assert_int_equal(bp_runlog_reader_damage(reader)->lost_records, 0);
        bp_runlog_reader_close(reader);
    }
    remove_run(&run);
}

static void events_before_the_kill(void **state) {
    (void)state;
    killed_run run;
    bp_runlog_reader *reader;
    bp_runlog_entry entry;
    size_t n = 0;
    child_tells = true;
    make_killed(&run, 10);
    child_tells = false;
    assert_int_equal(bp_runlog_reader_open(&reader, run.folder, NULL, NULL), BP_OK);
    do {
        assert_int_equal(bp_runlog_reader_next_entry(reader, &entry, NULL), BP_OK);
        if (!entry.event) continue;
        assert_true(n < N_TOLD);
        assert_int_equal(entry.event->kind, told_events[n++].kind);
    } while (entry.record || entry.event);
    assert_int_equal(n, N_TOLD);
    assert_int_equal(bp_runlog_reader_damage(reader)->lost_records, 0);
    bp_runlog_reader_close(reader);
    remove_run(&run);
}

/* A parent that has not waited yet: the dead process still has its entry in /proc. */
/* A process is a zombie as soon as its first thread is; its locks go with the last one. */
static bool has_one_thread(pid_t process) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", (int)process);
    DIR *tasks = opendir(path);
    int n = 0;
    assert_non_null(tasks);
    for (const struct dirent *one = readdir(tasks); one; one = readdir(tasks))
        n += one->d_name[0] != '.';
    closedir(tasks);
    return n == 1;
}

static void a_zombie_is_dead(void **state) {
    (void)state;
    killed_run run;
    int status;
    char path[64], text[256] = "";
    const pid_t child = start_run(&run, 10, STEPS, 65536);
    assert_int_equal(kill(child, SIGKILL), 0);
    snprintf(path, sizeof path, "/proc/%d/stat", (int)child);
    for (int i = 0; i < 5000 && !(strstr(text, ") Z ") && has_one_thread(child)); i++) {
        FILE *file = fopen(path, "r");
        assert_non_null(file);
        assert_non_null(fgets(text, sizeof text, file));
        fclose(file);
        usleep(1000);
    }
    assert_whole(&run);
    assert_false(stands(run.ring));
    assert_int_equal(waitpid(child, &status, 0), child);
    remove_run(&run);
}

static void a_live_run_is_left_alone(void **state) {
    (void)state;
    killed_run run;
    uint64_t n;
    bp_runlog_writer *writer;
    bp_error error;
    const pid_t child = start_run(&run, 10, STEPS, 65536);
    assert_int_equal(bp_runlog_salvage(&bp_io_system, run.folder, NULL, &n, &error), BP_OK);
    assert_int_equal(n, 0);
    assert_true(stands(run.ring));
    assert_int_equal(n_segments(&run), 1);
    const fixture_reading reading = fixture_read_log(run.folder);
    assert_true(reading.n_given >= 1 && reading.n_given < STEPS);
    bp_model *model = fixture_model();
    const bp_runlog_options options = {
        .resumes = true, .resume_step = 5, .ring_folder = ring_folder};
    assert_int_equal(bp_runlog_writer_open(&writer, run.folder, model, &options, &error),
                     BP_ERROR_INPUT);
    assert_non_null(strstr(error.text, "still writing"));
    bp_model_close(model);
    bp_salvage_sweep(&bp_io_system, ring_folder, NULL);
    assert_true(stands(run.ring));
    kill_run(child);
    assert_whole(&run);
    remove_run(&run);
}

/* A reader that follows a run gets what it left, too. */
static void a_follower_gets_the_rest(void **state) {
    (void)state;
    killed_run run;
    bp_runlog_reader *reader;
    const bp_record *record;
    const pid_t child = start_run(&run, 10, STEPS, 65536);
    int64_t n = 0;
    assert_int_equal(bp_runlog_reader_open(&reader, run.folder, NULL, NULL), BP_OK);
    for (int i = 0; i < 3; i++) /* as long as it lives there is no more */
        while (bp_runlog_reader_next(reader, &record, NULL) == BP_OK && record)
            assert_int_equal(record->step, n++);
    assert_true(n >= 1 && n < STEPS);
    kill_run(child);
    while (bp_runlog_reader_next(reader, &record, NULL) == BP_OK && record)
        assert_int_equal(record->step, n++);
    assert_int_equal(n, STEPS);
    assert_int_equal(bp_runlog_reader_damage(reader)->lost_records, 0);
    bp_runlog_reader_close(reader);
    assert_false(stands(run.ring));
    remove_run(&run);
}

static void a_resumed_run_salvages_first(void **state) {
    (void)state;
    killed_run run;
    bp_runlog_writer *writer;
    bp_error error;
    make_killed(&run, 10);
    bp_model *model = fixture_model();
    const bp_runlog_options options = {
        .resumes = true, .resume_step = 20, .ring_folder = ring_folder};
    if (bp_runlog_writer_open(&writer, run.folder, model, &options, &error) != BP_OK)
        fail_msg("%s", error.text);
    bp_model_close(model);
    assert_false(stands(run.ring));
    assert_true(has_note(&run)); /* its own */
    for (int64_t step = 20; step < 40; step++)
        assert_int_equal(fixture_put_step(writer, step, &error), BP_OK);
    assert_int_equal(bp_runlog_writer_close(writer, BP_RUN_FINISHED, &error), BP_OK);
    const fixture_reading reading = fixture_read_log(run.folder);
    assert_int_equal(reading.n_given, 40);
    assert_int_equal(reading.damage.lost_records, 0);
    assert_int_equal(reading.damage.damaged_places, 0);
    assert_int_equal(reading.end, BP_RUN_FINISHED);
    assert_int_equal(n_segments(&run), 3);
    remove_run(&run);
}

/* What was dropped behind the last record in the ring is counted, too. */
static void a_full_ring_tells_what_it_lacks(void **state) {
    (void)state;
    killed_run run;
    kill_run(start_run(&run, 0, 200, 8192));
    for (int i = 0; i < 2; i++) {
        const fixture_reading reading = fixture_read_log(run.folder);
        assert_int_equal(reading.opened, BP_OK);
        assert_true(reading.n_given > 5 && reading.n_given < 50);
        assert_int_equal(reading.damage.lost_records, 200 - reading.n_given);
        assert_int_equal(reading.damage.damaged_places, 0);
    }
    remove_run(&run);
}

/* --- whose ring it is ----------------------------------------------------------------------- */

/* The process of the name runs, but began at another time: its number was given again. */
static void a_number_that_was_given_again(void **state) {
    (void)state;
    killed_run run;
    char other[FIXTURE_PATH_BYTES], note[FIXTURE_PATH_BYTES + 8], line[FIXTURE_PATH_BYTES + 2];
    make_killed(&run, 10);
    snprintf(other, sizeof other, "%s/backprobe-%u-%d-1-ab", ring_folder, (unsigned)geteuid(),
             (int)getpid());
    assert_int_equal(rename(run.ring, other), 0);
    snprintf(note, sizeof note, "%s/ring", run.folder);
    snprintf(line, sizeof line, "%s\n", other);
    fixture_write_file(note, (const uint8_t *)line, strlen(line));
    assert_whole(&run);
    assert_false(stands(other));
    remove_run(&run);
}

static int other_boot(void *context, const char *path, int flags, mode_t mode) {
    const char *file = context;
    return bp_io_system.open(NULL, strstr(path, "boot_id") ? file : path, flags, mode);
}

static void owners(void **state) {
    (void)state;
    bp_owner owner;
    assert_true(bp_owner_self(&owner, &bp_io_system));
    assert_int_equal(owner.pid, getpid());
    assert_true(owner.start > 0);
    assert_int_equal(strlen(owner.boot_id), 36);
    assert_int_equal(bp_owner_look(&owner, &bp_io_system), BP_OWNER_RUNS);
    owner.start++;
    assert_int_equal(bp_owner_look(&owner, &bp_io_system), BP_OWNER_UNKNOWN);
    owner.start--;
    owner.pid = 1u << 30;
    assert_int_equal(bp_owner_look(&owner, &bp_io_system), BP_OWNER_UNKNOWN);
    char file[] = "boot-id-XXXXXX";
    const int made = mkstemp(file);
    assert_true(made >= 0);
    assert_int_equal(write(made, "01234567-89ab\n", 14), 14);
    close(made);
    bp_io io = bp_io_system;
    io.open = other_boot;
    io.context = file;
    assert_true(bp_owner_self(&owner, &bp_io_system));
    assert_int_equal(bp_owner_look(&owner, &io), BP_OWNER_GONE);
    assert_int_equal(unlink(file), 0);
}

static int hiding_open(void *context, const char *path, int flags, mode_t mode) {
    if (strcmp(path, context) != 0) return bp_io_system.open(NULL, path, flags, mode);
    errno = ENOENT;
    return -1;
}

/* From another container the process cannot be seen, but its lock can. */
static void an_owner_that_cannot_be_seen(void **state) {
    (void)state;
    killed_run run;
    char stat[64];
    uint64_t n;
    const pid_t child = start_run(&run, 10, STEPS, 65536);
    snprintf(stat, sizeof stat, "/proc/%d/stat", (int)child);
    bp_io io = bp_io_system;
    io.open = hiding_open;
    io.context = stat;
    assert_int_equal(bp_runlog_salvage(&io, run.folder, NULL, &n, NULL), BP_OK);
    assert_int_equal(n, 0);
    bp_salvage_sweep(&io, ring_folder, NULL);
    assert_true(stands(run.ring));
    assert_int_equal(n_segments(&run), 1);
    kill_run(child);
    assert_int_equal(bp_runlog_salvage(&io, run.folder, NULL, &n, NULL), BP_OK);
    assert_true(n >= STEPS - 10);
    assert_whole(&run);
    remove_run(&run);
}

static void write_note(const killed_run *run, const char *text) {
    char note[FIXTURE_PATH_BYTES + 8];
    snprintf(note, sizeof note, "%s/ring", run->folder);
    unlink(note);
    fixture_write_file(note, (const uint8_t *)text, strlen(text));
}

/* A folder from elsewhere may name anything. */
static void notes_are_not_believed(void **state) {
    (void)state;
    killed_run run, other;
    char text[2 * FIXTURE_PATH_BYTES + 20];
    uint64_t n;
    make_killed(&run, 10);
    make_killed(&other, 10); /* whose begin swept the one before */
    assert_int_equal(n_segments(&run), 2);
    fixture_write_file("not-a-ring", (const uint8_t *)"x", 1);
    snprintf(text, sizeof text, "%s\n", other.ring);
    const char *notes[] = {
        "",    "\n", "ring\n", "/etc/passwd\n", "/dev/shm/\n", "/dev/zero\n", "not-a-ring\n",
        "/\n", "x",  text};
    for (size_t i = 0; i < sizeof notes / sizeof *notes; i++) {
        write_note(&run, notes[i]);
        assert_int_equal(bp_runlog_salvage(&bp_io_system, run.folder, NULL, &n, NULL), BP_OK);
        assert_int_equal(n, 0);
        assert_int_equal(fixture_read_log(run.folder).opened, BP_OK);
        assert_int_equal(n_segments(&run), 2);
    }
    assert_true(stands("not-a-ring"));
    assert_true(stands(other.ring)); /* of another run: it stays for that */
    assert_whole(&other);
    /* A link instead of a ring, and a ring that others may write. */
    remove_run(&other);
    make_killed(&other, 10);
    snprintf(text, sizeof text, "%s/backprobe-%u-1-1-1", ring_folder, (unsigned)geteuid());
    assert_int_equal(symlink(other.ring, text), 0);
    char line[sizeof text + 2];
    snprintf(line, sizeof line, "%s\n", text);
    write_note(&other, line);
    assert_int_equal(bp_runlog_salvage(&bp_io_system, other.folder, NULL, &n, NULL), BP_OK);
    assert_int_equal(n, 0);
    assert_int_equal(unlink(text), 0);
    snprintf(line, sizeof line, "%s\n", other.ring);
    write_note(&other, line);
    assert_int_equal(chmod(other.ring, 0622), 0);
    assert_int_equal(bp_runlog_salvage(&bp_io_system, other.folder, NULL, &n, NULL), BP_OK);
    assert_int_equal(n, 0);
    assert_int_equal(chmod(other.ring, 0600), 0);
    assert_whole(&other);
    unlink("not-a-ring");
    remove_run(&run);
    remove_run(&other);
}

/* --- damage --------------------------------------------------------------------------------- */

/* However the ring is damaged, what is read is right, and the segments are read whatever it is. */
static void check_damaged(const killed_run *run, const uint8_t *bytes, size_t length,
                          size_t *n_given) {
    uint8_t *image;
    size_t n_bytes;
    fixture_write_file(run->ring, bytes, length);
    assert_int_equal(chmod(run->ring, 0600), 0);
    const bp_status status =
        bp_runlog_salvage_image(&bp_io_system, run->folder, NULL, &image, &n_bytes, NULL);
    assert_true(status == BP_OK);
    *n_given = 0;
    if (!image) return;
    char path[FIXTURE_PATH_BYTES];
    const fixture_reading reading =
        fixture_read_bytes(fixture_segment(path, run->folder, 1), image, n_bytes);
    assert_int_equal(reading.opened, BP_OK);
    assert_int_equal(reading.damage.damaged_places, 0);
    *n_given = reading.n_given;
    bp_release(NULL, image, n_bytes, 1);
}

static void damaged_rings(void **state) {
    (void)state;
    killed_run run;
    size_t n_given, n_whole = 0, n_partly = 0;
    kill_run(start_run(&run, 0, 4, 4096));
    fixture_bytes ring = fixture_read_file(run.ring);
    check_damaged(&run, ring.bytes, ring.length, &n_given);
    assert_true(n_given >= 3);
    const size_t all = n_given;
    for (size_t length = 0; length < ring.length; length += 61) {
        check_damaged(&run, ring.bytes, length, &n_given);
        assert_int_equal(n_given, 0);
    }
    /* Bits of the header that tell something, and of the items. */
    for (size_t bit = 0; bit < 8 * 2048; bit++) {
        const size_t at = bit / 8 < 320 ? bit / 8 : BP_RING_HEADER_BYTES + bit / 8 - 320;
        ring.bytes[at] ^= (uint8_t)(1u << bit % 8);
        check_damaged(&run, ring.bytes, ring.length, &n_given);
        assert_true(n_given <= all);
        n_whole += n_given == all;
        n_partly += n_given < all;
        ring.bytes[at] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(n_partly > 5000 && n_whole > 1000);
    fixture_write_file(run.ring, ring.bytes, ring.length);
    assert_int_equal(fixture_read_log(run.folder).n_given, all);
    bp_release(NULL, ring.bytes, ring.length + 1, 1);
    remove_run(&run);
}

/* --- trouble while salvaging ---------------------------------------------------------------- */

/* The system until call number `left`, where the process ends. */
static int64_t calls_left;

static void count_call(void) {
    if (calls_left-- == 0) _exit(7);
}

static int ending_open(void *context, const char *path, int flags, mode_t mode) {
    count_call();
    return bp_io_system.open(context, path, flags, mode);
}

static ssize_t ending_write(void *context, int file, const void *bytes, size_t n_bytes) {
    if (calls_left == 0) (void)!bp_io_system.write(context, file, bytes, n_bytes / 2);
    count_call();
    return bp_io_system.write(context, file, bytes, n_bytes);
}

static int ending_fsync(void *context, int file) {
    count_call();
    return bp_io_system.fsync(context, file);
}

static int ending_close(void *context, int file) {
    count_call();
    return bp_io_system.close(context, file);
}

static int ending_rename(void *context, const char *from, const char *to) {
    count_call();
    return bp_io_system.rename(context, from, to);
}

static int ending_unlink(void *context, const char *path) {
    count_call();
    return bp_io_system.unlink(context, path);
}

static bp_io ending_io(void) {
    bp_io io = bp_io_system;
    io.open = ending_open;
    io.write = ending_write;
    io.fsync = ending_fsync;
    io.close = ending_close;
    io.rename = ending_rename;
    io.unlink = ending_unlink;
    return io;
}

static void a_salvage_that_is_killed_at_each_call(void **state) {
    (void)state;
    bool done = false;
    int n_killed = 0;
    for (int64_t k = 0; !done; k++) {
        killed_run run;
        int status;
        assert_true(k < 100);
        make_killed(&run, 10);
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            const bp_io io = ending_io();
            uint64_t n;
            calls_left = k;
            _exit(bp_runlog_salvage(&io, run.folder, NULL, &n, NULL) == BP_OK ? 0 : 1);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == 7 || WEXITSTATUS(status) == 0));
        done = WEXITSTATUS(status) == 0;
        n_killed += !done;
        assert_whole(&run);
        assert_int_equal(n_segments(&run), 2);
        bp_salvage_sweep(&bp_io_system, ring_folder, NULL); /* a ring whose note is gone already */
        assert_false(stands(run.ring));
        assert_whole(&run);
        assert_int_equal(n_segments(&run), 2);
        remove_run(&run);
    }
    assert_true(n_killed > 15);
}

static int fail_rename(void *context, const char *from, const char *to) {
    (void)context, (void)from, (void)to;
    errno = EROFS;
    return -1;
}

/* A folder that cannot be written is read all the same, and the ring stays. */
static void a_folder_that_cannot_be_written(void **state) {
    (void)state;
    killed_run run;
    bp_runlog_reader *reader;
    const bp_record *record;
    bp_io io = bp_io_system;
    io.rename = fail_rename;
    make_killed(&run, 10);
    for (int i = 0; i < 2; i++) {
        int64_t n = 0;
        assert_int_equal(bp_runlog_reader_open_through(&reader, &io, run.folder, NULL, NULL),
                         BP_OK);
        for (;; n++) {
            assert_int_equal(bp_runlog_reader_next(reader, &record, NULL), BP_OK);
            if (!record) break;
            assert_int_equal(record->step, n);
        }
        assert_int_equal(n, STEPS);
        assert_int_equal(bp_runlog_reader_damage(reader)->lost_records, 0);
        assert_int_equal(bp_runlog_reader_damage(reader)->damaged_places, 0);
        bp_runlog_reader_close(reader);
        assert_true(stands(run.ring));
        assert_int_equal(n_segments(&run), 1);
    }
    assert_whole(&run);
    assert_int_equal(n_segments(&run), 2);
    remove_run(&run);
}

static void every_failing_call_and_allocation(void **state) {
    (void)state;
    killed_run run;
    make_killed(&run, 10);
    for (int which = 0; which < 2; which++) {
        bool failed = true;
        for (int64_t k = 0; failed; k++) {
            uint8_t *image;
            size_t n_bytes;
            fixture_faults faults = {.fail_at = which == 0 ? k : -1};
            fixture_memory memory = {.left = which == 1 ? k : -1};
            const bp_io io = fixture_io(&faults);
            const bp_allocator allocator = fixture_allocator(&memory);
            const bp_status status =
                bp_runlog_salvage_image(&io, run.folder, &allocator, &image, &n_bytes, NULL);
            if (status == BP_OK) bp_release(&allocator, image, n_bytes, 1);
            assert_true(status == BP_OK || status == (which ? BP_ERROR_MEMORY : BP_ERROR_IO));
            failed = which == 0 ? faults.failed > 0 : status != BP_OK;
            assert_int_equal(faults.open_files, 0);
            assert_int_equal(memory.in_use, 0);
            assert_true(k < 200);
        }
    }
    assert_whole(&run);
    remove_run(&run);
}

/* Many at once: each gives all records, and nothing is salvaged twice. */
static void salvagers_race(void **state) {
    (void)state;
    enum { READERS = 6, ROUNDS = 10 };
    for (int round = 0; round < ROUNDS; round++) {
        killed_run run;
        pid_t child[READERS];
        int status;
        make_killed(&run, 10);
        for (int i = 0; i < READERS; i++) {
            child[i] = fork();
            assert_true(child[i] >= 0);
            if (child[i] > 0) continue;
            bp_runlog_reader *reader;
            const bp_record *record;
            int64_t n = 0;
            if (bp_runlog_reader_open(&reader, run.folder, NULL, NULL) != BP_OK) _exit(1);
            while (bp_runlog_reader_next(reader, &record, NULL) == BP_OK && record) n++;
            _exit(n == STEPS && bp_runlog_reader_damage(reader)->damaged_places == 0 ? 0 : 2);
        }
        for (int i = 0; i < READERS; i++) {
            assert_int_equal(waitpid(child[i], &status, 0), child[i]);
            assert_true(WIFEXITED(status));
            assert_int_equal(WEXITSTATUS(status), 0);
        }
        assert_whole(&run);
        assert_int_equal(n_segments(&run), 2);
        assert_false(stands(run.ring));
        remove_run(&run);
    }
}

/* --- rings that nobody reads ---------------------------------------------------------------- */

static void the_next_run_sweeps(void **state) {
    (void)state;
    killed_run run, gone;
    char folder[FIXTURE_PATH_BYTES];
    const bp_runlog_options options = {.ring_folder = ring_folder};
    make_killed(&run, 10);
    make_killed(&gone, 10);
    fixture_remove_folder(gone.folder);
    fixture_make_folder(folder);
    fixture_write_log(folder, 3, &options);
    assert_false(stands(gone.ring));
    assert_false(stands(run.ring));
    assert_false(has_note(&run));
    assert_int_equal(n_segments(&run), 2);
    assert_whole(&run);
    fixture_remove_folder(folder);
    remove_run(&run);
}

static void make_old(const char *path, time_t seconds) {
    const struct timespec then = {time(NULL) - seconds, 0}, times[2] = {then, then};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

/* One that was being made when its process was killed is told from one that is being made. */
static void rings_without_a_header(void **state) {
    (void)state;
    char path[FIXTURE_PATH_BYTES];
    snprintf(path, sizeof path, "%s/backprobe-%u-%u-1-ab", ring_folder, (unsigned)geteuid(),
             1u << 30);
    fixture_write_file(path, (const uint8_t *)"", 0);
    assert_int_equal(chmod(path, 0600), 0);
    bp_salvage_sweep(&bp_io_system, ring_folder, NULL);
    assert_true(stands(path));
    make_old(path, 100);
    bp_salvage_sweep(&bp_io_system, ring_folder, NULL);
    assert_false(stands(path));
}

/* Two rings for one folder: what the one tells, the other need not. */
static void an_orphan_beside_the_ring(void **state) {
    (void)state;
    killed_run run;
    char orphan[FIXTURE_PATH_BYTES];
    make_killed(&run, 10);
    snprintf(orphan, sizeof orphan, "%s/backprobe-%u-%u-1-ab", ring_folder, (unsigned)geteuid(),
             1u << 30);
    fixture_bytes ring = fixture_read_file(run.ring);
    fixture_write_file(orphan, ring.bytes, ring.length);
    assert_int_equal(chmod(orphan, 0600), 0);
    bp_salvage_sweep(&bp_io_system, ring_folder, NULL);
    bp_salvage_sweep(&bp_io_system, ring_folder, NULL); /* whichever came first */
    assert_false(stands(run.ring));
    assert_false(stands(orphan));
    assert_int_equal(n_segments(&run), 2);
    assert_whole(&run);
    /* Of a folder that has another run by now, a ring is kept for a while. */
    fixture_write_file(orphan, ring.bytes, ring.length);
    assert_int_equal(chmod(orphan, 0600), 0);
    remove_run(&run);
    assert_int_equal(mkdir(run.folder, 0700), 0);
    bp_salvage_sweep(&bp_io_system, ring_folder, NULL);
    assert_true(stands(orphan));
    make_old(orphan, 2 * 3600);
    bp_salvage_sweep(&bp_io_system, ring_folder, NULL);
    assert_false(stands(orphan));
    assert_int_equal(rmdir(run.folder), 0);
    bp_release(NULL, ring.bytes, ring.length + 1, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_run_is_read_whole),
        cmocka_unit_test(salvage_counts),
        cmocka_unit_test(a_network_that_grew_before_the_kill),
        cmocka_unit_test(events_before_the_kill),
        cmocka_unit_test(a_zombie_is_dead),
        cmocka_unit_test(a_live_run_is_left_alone),
        cmocka_unit_test(a_follower_gets_the_rest),
        cmocka_unit_test(a_resumed_run_salvages_first),
        cmocka_unit_test(a_full_ring_tells_what_it_lacks),
        cmocka_unit_test(a_number_that_was_given_again),
        cmocka_unit_test(owners),
        cmocka_unit_test(an_owner_that_cannot_be_seen),
        cmocka_unit_test(notes_are_not_believed),
        cmocka_unit_test(damaged_rings),
        cmocka_unit_test(a_salvage_that_is_killed_at_each_call),
        cmocka_unit_test(a_folder_that_cannot_be_written),
        cmocka_unit_test(every_failing_call_and_allocation),
        cmocka_unit_test(salvagers_race),
        cmocka_unit_test(the_next_run_sweeps),
        cmocka_unit_test(rings_without_a_header),
        cmocka_unit_test(an_orphan_beside_the_ring),
    };
    if (!mkdtemp(ring_folder)) return 1;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (rmdir(ring_folder) != 0 && failed == 0) return 1;
    return failed;
}
