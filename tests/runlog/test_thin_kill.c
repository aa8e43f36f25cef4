/* SPDX-License-Identifier: Apache-2.0 */
/* A process that thins a log is killed at random moments, 200 times or as often as the first
 * argument says: the log is whole each time, and the next thinning goes on. */
#include "thin_fixture.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { STEPS = 60 };

static unsigned n_kills = 200;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* Ever less is allowed, until nothing more can be dropped. */
static void thin_to_the_end(const char *folder) {
    bp_error error;
    bp_status status = BP_OK;
    uint64_t max = thin_folder_bytes(folder);
    while (status == BP_OK) {
        max -= max / 8;
        status = thin_once(folder, NULL, max, THIN_SEGMENTS, &error);
    }
}

static pid_t start(const char *folder) {
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child > 0) return child;
    thin_to_the_end(folder);
    _exit(0);
}

static void wait_until(double moment) {
    while (now() < moment) {
        const struct timespec nap = {0, 20000};
        nanosleep(&nap, NULL);
    }
}

static void a_killed_thinning_leaves_a_whole_log(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES];
    unsigned n_killed = 0, n_between = 0, n_aside = 0;
    int status;
    fixture_make_folder(folder);
    thin_write_run(folder, THIN_SEGMENTS, STEPS);
    thin_snapshot taken = thin_take(folder);
    double begin = now();
    assert_int_equal(waitpid(start(folder), &status, 0) > 0, 1);
    const double seconds = now() - begin;
    const size_t n_all = thin_assert_whole(&taken, folder);
    assert_int_equal(n_all, THIN_SEGMENTS - 1);
    for (unsigned i = 0; i < n_kills; i++) {
        const bp_random_key key = {.seed = 5, .purpose = 1, .step = i};
        thin_put_back(&taken, folder);
        begin = now();
        const pid_t child = start(folder);
        wait_until(begin + seconds * bp_random_uniform(&key, 0));
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        const size_t n = thin_assert_whole(&taken, folder);
        thin_assert_reads(folder);
        n_killed += WIFSIGNALED(status) != 0;
        n_between += n > 0 && n < n_all;
        n_aside += thin_has_aside(folder);
        if (i % 4) continue;
        thin_to_the_end(folder);
        assert_false(thin_has_aside(folder));
        assert_int_equal(thin_assert_whole(&taken, folder), n_all);
    }
    printf("%u killed, %u of them between two segments, %u while a twin was written\n", n_killed,
           n_between, n_aside);
    assert_true(n_killed > n_kills / 2);
    assert_true(n_between > 0 && n_aside > 0);
    thin_free_snapshot(&taken);
    fixture_remove_folder(folder);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_thinning_leaves_a_whole_log),
    };
    if (argc > 1) n_kills = (unsigned)strtoul(argv[1], NULL, 10);
    if (n_kills == 0) return 2;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
