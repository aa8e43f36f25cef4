/* SPDX-License-Identifier: Apache-2.0 */
/* Folders of runs, among them those that somebody made to do harm. */
#include "server/runs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char top[64];
static bp_runs found;

static char *path_of(const char *below) {
    static char path[2][8192];
    static int i;
    i = !i;
    snprintf(path[i], sizeof path[i], "%s/%s", top, below);
    return path[i];
}

static void folder(const char *below) {
    assert_int_equal(mkdir(path_of(below), 0777), 0);
}

static void file(const char *below, const char *text) {
    FILE *out = fopen(path_of(below), "w");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

/* A folder with a log of three bytes. */
static void run_folder(const char *below) {
    char log[4096];
    folder(below);
    snprintf(log, sizeof log, "%s/log-000001.bplog", below);
    file(log, "log");
}

static int begin(void **state) {
    (void)state;
    strcpy(top, "/tmp/backprobe-test-XXXXXX");
    return mkdtemp(top) ? 0 : -1;
}

static int end(void **state) {
    (void)state;
    char command[128];
    bp_runs_free(&found);
    snprintf(command, sizeof command, "rm -rf %s", top);
    return system(command); /* NOLINT: a name of ours */
}

static bp_runs scan(const bp_runs *before) {
    bp_runs runs;
    bp_error error;
    const int place = open(top, O_RDONLY | O_DIRECTORY);
    const double now = bp_io_system.wall_clock(NULL);
    assert_int_equal(bp_runs_scan(&runs, place, "top", before, now, &error), BP_OK);
    close(place);
    return runs;
}

static const bp_run *run_at(const char *path) {
    for (uint32_t i = 0; i < found.n; i++)
        if (strcmp(found.list[i].path, path) == 0) return &found.list[i];
    return NULL;
}

static void finds_runs(void **state) {
    (void)state;
    run_folder("b");
    run_folder("a");
    folder("group");
    run_folder("group/c");
    folder("nothing");
    file("nothing/log-000001.txt", "x");
    found = scan(NULL);
    assert_int_equal(found.n, 3);
    assert_string_equal(found.list[0].path, "a");
    assert_string_equal(found.list[1].path, "b");
    assert_string_equal(found.list[2].name, "group/c");
    assert_int_equal(found.list[0].bytes, 3);
    assert_true(found.list[0].live);
    assert_false(found.cut);
    for (uint32_t i = 0; i < found.n; i++) {
        assert_true(bp_run_id_is_good(found.list[i].id));
        assert_ptr_equal(bp_runs_find(&found, found.list[i].id), &found.list[i]);
    }
    assert_null(bp_runs_find(&found, "0000000000000000"));
}

static void the_folder_itself(void **state) {
    (void)state;
    file("log-000001.bplog", "log");
    file("log-000002.bplog", "more");
    found = scan(NULL);
    assert_int_equal(found.n, 1);
    assert_string_equal(found.list[0].path, ".");
    assert_string_equal(found.list[0].name, "top");
    assert_int_equal(found.list[0].bytes, 7);
}

static void parts_of_a_run_are_no_runs(void **state) {
    (void)state;
    run_folder("run");
    run_folder("run/rank-1");
    run_folder("run/pyramid");
    run_folder("run/checkpoints");
    run_folder("run/rank-x");
    run_folder("run/rank-");
    run_folder(".hidden");
    found = scan(NULL);
    assert_int_equal(found.n, 3);
    assert_non_null(run_at("run/rank-x"));
    assert_non_null(run_at("run/rank-"));
}

static void links_are_not_followed(void **state) {
    (void)state;
    run_folder("real");
    assert_int_equal(symlink("real", path_of("link")), 0);
    assert_int_equal(symlink("..", path_of("real/loop")), 0);
    assert_int_equal(symlink("/", path_of("root")), 0);
    folder("faked"); /* its log lies elsewhere */
    assert_int_equal(symlink("../real/log-000001.bplog", path_of("faked/log-000001.bplog")), 0);
    folder("broken");
    assert_int_equal(symlink("nowhere", path_of("broken/log-000001.bplog")), 0);
    found = scan(NULL);
    assert_int_equal(found.n, 1);
    assert_string_equal(found.list[0].path, "real");
}

static void pipes_do_not_hang(void **state) {
    (void)state;
    folder("pipe");
    assert_int_equal(mkfifo(path_of("pipe/log-000001.bplog"), 0666), 0);
    run_folder("run");
    assert_int_equal(mkfifo(path_of("run/findings.json"), 0666), 0);
    folder("folder");
    folder("folder/log-000001.bplog");
    found = scan(NULL);
    assert_int_equal(found.n, 1);
    assert_false(found.list[0].summary.known);
}

static void depth_is_limited(void **state) {
    (void)state;
    char path[64] = "d";
    folder(path);
    for (int depth = 2; depth <= 8; depth++) {
        strcat(path, "/d");
        run_folder(path);
    }
    found = scan(NULL);
    assert_int_equal(found.n, 5); /* at depths 2 ... 6 */
}

static void names_are_data(void **state) {
    (void)state;
    static const char *const names[] = {"<img src=x onerror=alert(1)>",
                                        "a\nb",
                                        "\x1b[31mred",
                                        "%2e%2e",
                                        "a\"b\\c",
                                        "caf\xc3\xa9",
                                        "bad\xff\xfe",
                                        " "};
    char *text = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) run_folder(names[i]);
    found = scan(NULL);
    assert_int_equal(found.n, sizeof names / sizeof *names);
    assert_int_equal(bp_runs_json(&text, &found, "top", NULL), BP_OK);
    assert_non_null(strstr(text, "\"name\":\"a\\nb\""));
    assert_non_null(strstr(text, "\"name\":\"\\u001b[31mred\""));
    assert_non_null(strstr(text, "\"name\":\"a\\\"b\\\\c\""));
    assert_non_null(strstr(text, "\"name\":\"bad\xef\xbf\xbd\xef\xbf\xbd\""));
    assert_null(strchr(text, 0x1b));
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    free(text);
}

/* Two names with the same hash (64-bit FNV-1a), which somebody sought. */
static void hashes_that_collide(void **state) {
    (void)state;
    static const char a[] = "8yn0iYCKYHlIj4-BwPqk", b[] = "GReLUrM4wMqfg9yzV3KQ";
    assert_true(bp_run_hash(a) == bp_run_hash(b));
    run_folder(a);
    run_folder(b);
    found = scan(NULL);
    assert_int_equal(found.n, 2);
    assert_string_not_equal(found.list[0].id, found.list[1].id);
    assert_ptr_equal(bp_runs_find(&found, found.list[1].id), &found.list[1]);
}

/* --- findings.json ---------------------------------------------------------------------------- */

static bp_run_summary summary_of(const char *text) {
    bp_runs_free(&found);
    file("run/findings.json", text);
    found = scan(NULL);
    assert_int_equal(found.n, 1);
    return found.list[0].summary;
}

static void summaries(void **state) {
    (void)state;
    run_folder("run");
    bp_run_summary s = summary_of(
        "{\"end\":\"interrupted\",\"steps\":{\"last\":41},\"loss\":{\"last\":0.5},\"findings\":["
        "{\"problem\":\"plateau\",\"severity\":\"hint\",\"open\":true},"
        "{\"problem\":\"exploding-gradient\",\"severity\":\"error\",\"open\":false},"
        "{\"problem\":\"vanishing-gradient\",\"severity\":\"warning\",\"open\":true}]}");
    assert_true(s.known);
    assert_int_equal(s.end, BP_RUN_INTERRUPTED);
    assert_int_equal(s.last_step, 41);
    assert_true(s.has_loss && s.loss > 0.49 && s.loss < 0.51);
    assert_int_equal(s.n_findings, 3);
    assert_int_equal(s.severity, BP_WARNING);
    assert_string_equal(s.problem, "vanishing-gradient");
    s = summary_of("{\"findings\":[],\"loss\":{\"last\":\"NaN\"},\"steps\":{\"last\":null}}");
    assert_true(s.known && s.has_loss && isnan(s.loss) && s.severity == 0 && !s.problem);
    assert_int_equal(s.last_step, -1);
    char *text = NULL;
    assert_int_equal(bp_runs_json(&text, &found, "top", NULL), BP_OK);
    assert_non_null(strstr(text, "\"loss\":\"NaN\""));
    assert_non_null(strstr(text, "\"last_step\":null"));
    free(text);
}

static void hostile_summaries(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        "[]",
        "null",
        "{\"findings\":",
        "{\"findings\":{}}",
        "{\"findings\":\"x\"}",
        "{\"end\":\"finished\"}",
        "\xff\xfe{}",
    };
    run_folder("run");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(summary_of(bad[i]).known);
    bp_run_summary s =
        summary_of("{\"end\":7,\"steps\":[],\"loss\":{\"last\":{}},\"findings\":[null,7,\"x\",{},"
                   "{\"problem\":\"<b>\",\"severity\":\"error\",\"open\":true},"
                   "{\"problem\":\"plateau\",\"severity\":\"catastrophe\",\"open\":true},"
                   "{\"problem\":\"plateau\",\"severity\":\"hint\",\"open\":\"yes\"}]}");
    assert_true(s.known && s.end == BP_RUN_OPEN && s.last_step == -1 && !s.has_loss);
    assert_true(s.severity == 0 && !s.problem && s.n_findings == 7);
    char deep[4096] = "{\"findings\":";
    for (int i = 0; i < 1000; i++) strcat(deep, "[");
    assert_false(summary_of(deep).known);
}

static void too_large_a_summary(void **state) {
    (void)state;
    run_folder("run");
    file("run/findings.json", "{\"findings\":[]}");
    assert_int_equal(truncate(path_of("run/findings.json"), (off_t)BP_SUMMARY_MAX_BYTES + 1), 0);
    found = scan(NULL);
    assert_false(found.list[0].summary.known);
}

static void summary_through_a_link(void **state) {
    (void)state;
    run_folder("run");
    file("elsewhere", "{\"findings\":[]}");
    assert_int_equal(symlink("../elsewhere", path_of("run/findings.json")), 0);
    found = scan(NULL);
    assert_false(found.list[0].summary.known);
}

/* What did not change is not read again; what changed is. */
static void again(void **state) {
    (void)state;
    run_folder("run");
    run_folder("other");
    file("run/findings.json", "{\"findings\":[],\"end\":\"finished\"}");
    found = scan(NULL);
    assert_false(run_at("run")->live);
    bp_runs next = scan(&found);
    assert_false(bp_runs_differ(&found, &next));
    assert_string_equal(next.list[1].id, found.list[1].id);
    assert_int_equal(next.list[1].summary.end, BP_RUN_FINISHED);
    bp_runs_free(&next);
    file("run/findings.json", "{\"findings\":[{}],\"end\":\"stopped\"}");
    next = scan(&found);
    assert_true(bp_runs_differ(&found, &next));
    assert_int_equal(next.list[1].summary.end, BP_RUN_STOPPED);
    bp_runs_free(&next);
    run_folder("third");
    next = scan(&found);
    assert_true(bp_runs_differ(&found, &next));
    bp_runs_free(&next);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(finds_runs, begin, end),
        cmocka_unit_test_setup_teardown(the_folder_itself, begin, end),
        cmocka_unit_test_setup_teardown(parts_of_a_run_are_no_runs, begin, end),
        cmocka_unit_test_setup_teardown(links_are_not_followed, begin, end),
        cmocka_unit_test_setup_teardown(pipes_do_not_hang, begin, end),
        cmocka_unit_test_setup_teardown(depth_is_limited, begin, end),
        cmocka_unit_test_setup_teardown(names_are_data, begin, end),
        cmocka_unit_test_setup_teardown(hashes_that_collide, begin, end),
        cmocka_unit_test_setup_teardown(summaries, begin, end),
        cmocka_unit_test_setup_teardown(hostile_summaries, begin, end),
        cmocka_unit_test_setup_teardown(too_large_a_summary, begin, end),
        cmocka_unit_test_setup_teardown(summary_through_a_link, begin, end),
        cmocka_unit_test_setup_teardown(again, begin, end),
    };
    return cmocka_run_group_tests_name("runs", tests, NULL, NULL);
}
