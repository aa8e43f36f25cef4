/* SPDX-License-Identifier: Apache-2.0 */
/* kill -9 at random moments: while a run begins, writes, rotates, ends, and while another process
 * salvages it. What was acknowledged is read, each record once, and every folder is readable.
 * `test_kill N [SEED]` does N kills instead of the usual few and says what it saw. */
#include "fixture.h"
#include "runlog/reader.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FEW = 150, MOST_STEPS = 100000 };

static int n_kills = FEW;
static uint64_t seed = 1;
static char ring_folder[] = "/dev/shm/backprobe-kill-XXXXXX";

/* What the child has been told is recorded. */
typedef struct progress {
    atomic_llong acknowledged; /* steps */
    atomic_int opened, closed;
    atomic_int dropped; /* the disk did not keep up, and the child waits for its end */
} progress;

static progress *shared_progress(void) {
    progress *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    return shared;
}

static uint64_t draw(uint64_t n) {
    static uint64_t index;
    uint32_t out[4];
    const bp_random_key key = {.seed = seed, .purpose = 1};
    bp_random_block(&key, index++, out);
    return ((uint64_t)out[1] << 32 | out[0]) % n;
}

static void sleep_microseconds(uint64_t n) {
    const struct timespec rest = {(time_t)(n / 1000000), (long)(n % 1000000) * 1000};
    nanosleep(&rest, NULL);
}

/* A full record each 8 steps, else a loss alone. In the child: no assertion, no return. */
static void write_run(const char *folder, progress *shared, int64_t n_steps, bool direct) {
    const bp_runlog_options options = {
        .segment_bytes = 6000, .ring_bytes = 8 << 20, .ring_folder = ring_folder, .direct = direct};
    bp_runlog_writer *writer;
    uint8_t bytes[4096];
    bp_record record;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody behind */
    bp_model *model = fixture_model();
    if (bp_runlog_writer_open(&writer, folder, model, &options, NULL) != BP_OK) _exit(3);
    if (bp_record_init(&record, FIXTURE_LAYERS, NULL) != BP_OK) _exit(3);
    atomic_store(&shared->opened, 1);
    for (int64_t step = 0; step < n_steps; step++) {
        bp_writer encoded;
        bp_status status;
        fixture_record(&record, step);
        bp_writer_init(&encoded, bytes, sizeof bytes);
        bp_record_encode(&record, &encoded);
        status = step % 8 == 0
                     ? bp_runlog_writer_step(writer, step, bytes, encoded.length, NULL)
                     : bp_runlog_writer_loss(writer, step, 1.0 / (double)(step + 1), NULL);
        if (status != BP_OK) {
            atomic_store(&shared->dropped, 1);
            for (;;) pause();
        }
        atomic_store(&shared->acknowledged, step + 1);
        if (step % 64 == 0) sleep_microseconds(1000);
    }
    if (bp_runlog_writer_close(writer, BP_RUN_FINISHED, NULL) == BP_OK)
        atomic_store(&shared->closed, 1);
    _exit(0);
}

static void kill_and_wait(pid_t child) {
    int status;
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
}

/* A reader that is killed while it salvages. */
static void kill_a_reader(const char *folder) {
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        uint64_t n;
        (void)!bp_runlog_salvage(&bp_io_system, folder, NULL, &n, NULL);
        _exit(0);
    }
    sleep_microseconds(draw(1500));
    kill_and_wait(child);
}

typedef struct found {
    int64_t n_steps, n_losses;
    bp_run_end end;
} found;

/* Each step once, in order, with its own values. */
static found read_run(const char *folder, int64_t acknowledged, int dropped) {
    found all = {0};
    bp_runlog_reader *reader;
    const bp_record *record;
    bp_record expected;
    bp_error error;
    if (bp_runlog_reader_open(&reader, folder, NULL, &error) != BP_OK) {
        if (acknowledged > 0) fail_msg("%s", error.text);
        return all;
    }
    assert_int_equal(bp_record_init(&expected, FIXTURE_LAYERS, NULL), BP_OK);
    for (;;) {
        assert_int_equal(bp_runlog_reader_next(reader, &record, &error), BP_OK);
        if (!record) break;
        if (record->step != all.n_steps)
            fail_msg("step %lld where %lld was expected", (long long)record->step,
                     (long long)all.n_steps);
        if (record->step % 8 == 0) {
            fixture_decoded(&expected, record->step);
            assert_same_record(record, &expected);
        } else {
            assert_true(bp_record_get(record, BP_Q_LOSS, 0) == 1.0 / (double)(record->step + 1));
            all.n_losses++;
        }
        all.n_steps++;
    }
    const bp_runlog_damage *damage = bp_runlog_reader_damage(reader);
    assert_true(damage->lost_records <= (uint64_t)dropped);
    if (damage->damaged_places) fail_msg("%s", damage->first.text);
    all.end = bp_runlog_reader_end(reader);
    bp_record_finish(&expected, NULL);
    bp_runlog_reader_close(reader);
    return all;
}

typedef struct tally {
    int64_t n_records, n_unopened, n_closed, n_salvage_kills, n_ahead;
} tally;

static void kill_once(tally *sum) {
    char folder[FIXTURE_PATH_BYTES];
    progress *shared = shared_progress();
    fixture_make_folder(folder);
    const bool is_short = draw(3) == 0; /* so that the end of the run is hit, too */
    const bool direct = draw(8) == 0;
    const int64_t n_steps = is_short ? (int64_t)draw(400) : MOST_STEPS;
    const uint64_t wait = draw(is_short ? 20000 : 60000);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) write_run(folder, shared, n_steps, direct);
    /* Opening takes a while: one in four is killed in it. */
    if (draw(4) > 0)
        for (int i = 0; i < 100000 && !atomic_load(&shared->opened); i++) sleep_microseconds(100);
    sleep_microseconds(wait);
    kill_and_wait(child);
    for (uint64_t i = draw(3); i > 0; i--, sum->n_salvage_kills++) kill_a_reader(folder);
    const int64_t acknowledged = atomic_load(&shared->acknowledged);
    const int dropped = atomic_load(&shared->dropped);
    const found first = read_run(folder, acknowledged, dropped);
    const found second = read_run(folder, acknowledged, dropped);
    if (first.n_steps < acknowledged)
        fail_msg("%s: %lld of %lld steps", folder, (long long)first.n_steps,
                 (long long)acknowledged);
    assert_int_equal(first.n_steps, second.n_steps);
    if (atomic_load(&shared->closed)) assert_int_equal(first.end, BP_RUN_FINISHED);
    sum->n_records += acknowledged;
    sum->n_ahead += first.n_steps - acknowledged;
    sum->n_unopened += !atomic_load(&shared->opened);
    sum->n_closed += atomic_load(&shared->closed);
    munmap(shared, sizeof *shared);
    fixture_remove_folder(folder);
}

static void nothing_acknowledged_is_lost(void **state) {
    (void)state;
    tally sum = {0};
    assert_non_null(mkdtemp(ring_folder));
    for (int i = 0; i < n_kills; i++) kill_once(&sum);
    printf("%d kills (%lld before the run was open, %lld after its end), %lld more of readers that "
           "salvaged: %lld records acknowledged, 0 lost, 0 unreadable folders\n",
           n_kills, (long long)sum.n_unopened, (long long)sum.n_closed,
           (long long)sum.n_salvage_kills, (long long)sum.n_records);
    assert_true(sum.n_records > 0);
    fixture_remove_folder(ring_folder); /* whatever was left there */
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_acknowledged_is_lost)};
    if (argc > 1) n_kills = atoi(argv[1]);
    if (argc > 2) seed = strtoull(argv[2], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
