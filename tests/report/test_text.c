/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

static void print_text(FILE *out, void *context) {
    bp_report_text(out, context, &fixture_now->run);
}

static char *printed_at(int width, bool colour) {
    bp_report_style style = {colour, width};
    return fixture_printed(print_text, &style);
}

/* clang-format off */
static const char whole[] =
    "runs/deep-1: 2 findings · 341 steps · loss 2.31 → 2.3\n"
    "\n"
    "error[vanishing-gradient]: layers 1–4 of 20 do not learn\n"
    "  since step 0 · now step 340 · train loss 2.303 (guessing is 2.303)\n"
    "  layer       (log; 7 of 20 layers)         error signal     gain  share of learning\n"
    "   1 dense_1  ▏                                    1e-21        –                  0\n"
    "   5 dense_5  █████▉                               1e-17      0.1                  0\n"
    "   7 dense_7  ████████▉                            1e-15      0.1                  0\n"
    "  10 dense_10 █████████████▎                       1e-12      0.1                  0\n"
    "  12 dense_12 ████████████████▎                    1e-10      0.1                  0\n"
    "  15 dense_15 ████████████████████▋                 1e-7      0.1                  0\n"
    "  20 dense_20 ████████████████████████████          0.01      0.1                  1\n"
    "  cause: the chain rule multiplies the layers' gains, about 0.1 each; of it sigmoid passes on 0.24\n"
    "         (at most 0.25), the weights 0.58\n"
    "  note:  Adam would not help: nothing arrives\n"
    "  help:  use tanh with Xavier initialisation\n"
    "         predicted gain 0.94 a layer instead of 0.14\n"
    "         line 2: -net: [20 x dense 64 sigmoid]\n"
    "                 +net: [20 x dense 64 tanh]\n"
    "         line 3: -init: pytorch_default\n"
    "                 +init: xavier\n"
    "  see:   backprobe explain vanishing-gradient\n"
    "    └ warning[non-finite]: NaN first in the loss · since step 7, over\n"
    "\n"
    "    exploding gradient     │   vanishing gradient               │ measured here (● shown)\n"
    "  ─────────────────────────┼────────────────────────────────────┼───────────────────────────────────\n"
    "    exponential growth of  │ ● parameters of the higher layers  │ early layers changed by 1e-9 of\n"
    "    the parameters of the  │   change significantly, those of   │ their size, late ones by 0.2\n"
    "    initial layers         │   the lower layers little          │ \n"
    "    weights may become NaN │   weights may become close to 0    │ all finite\n";

static const char narrow[] =
    "runs/deep-1: 2 findings · 341 steps · loss 2.31 → 2.3\n"
    "\n"
    "error[vanishing-gradient]: layers 1–4 of 20 do not learn\n"
    "  since step 0 · now step 340 · train loss 2.303 (guessing\n"
    "  is 2.303)\n"
    "  layer        error signal     gain  share of learning\n"
    "   1 dense_1          1e-21        –                  0\n"
    "   5 dense_5          1e-17      0.1                  0\n"
    "   7 dense_7          1e-15      0.1                  0\n"
    "  10 dense_10         1e-12      0.1                  0\n"
    "  12 dense_12         1e-10      0.1                  0\n"
    "  15 dense_15          1e-7      0.1                  0\n"
    "  20 dense_20          0.01      0.1                  1\n"
    "  (7 of 20 layers are shown)\n"
    "  cause: the chain rule multiplies the layers' gains, about\n"
    "         0.1 each; of it sigmoid passes on 0.24 (at most\n"
    "         0.25), the weights 0.58\n"
    "  note:  Adam would not help: nothing arrives\n"
    "  help:  use tanh with Xavier initialisation\n"
    "         predicted gain 0.94 a layer instead of 0.14\n"
    "         line 2: -net: [20 x dense 64 sigmoid]\n"
    "                 +net: [20 x dense 64 tanh]\n"
    "         line 3: -init: pytorch_default\n"
    "                 +init: xavier\n"
    "  see:   backprobe explain vanishing-gradient\n"
    "    └ warning[non-finite]: NaN first in the loss · since\n"
    "        step 7, over\n"
    "\n"
    "    exploding     │   vanishing gradient    │ measured here\n"
    "    gradient      │                         │ (● shown)\n"
    "  ────────────────┼─────────────────────────┼───────────────\n"
    "    exponential   │ ● parameters of the     │ early layers\n"
    "    growth of the │   higher layers change  │ changed by\n"
    "    parameters of │   significantly, those  │ 1e-9 of their\n"
    "    the initial   │   of the lower layers   │ size, late\n"
    "    layers        │   little                │ ones by 0.2\n"
    "    weights may   │   weights may become    │ all finite\n"
    "    become NaN    │   close to 0            │ \n";
/* clang-format on */

static void test_whole(void **state) {
    (void)state;
    fixture f;
    fixture_open(&f, NULL);
    char *text = printed_at(100, false);
    assert_string_equal(text, whole);
    free(text);
    fixture_close(&f);
}

static void test_narrow(void **state) {
    (void)state;
    fixture f;
    fixture_open(&f, NULL);
    char *text = printed_at(60, false);
    assert_string_equal(text, narrow);
    free(text);
    fixture_close(&f);
}

/* At any width no line is wider, in any language; but for the first, which is one line always. */
static void test_every_width(void **state) {
    (void)state;
    fixture f;
    fixture_open(&f, "深い深い深い深い深い深い深い深い深い深い深い深い");
    for (int width = 60; width <= 160; width++) {
        char *text = printed_at(width, false);
        (void)strtok(text, "\n");
        for (char *line; (line = strtok(NULL, "\n"));)
            if (bp_text_columns(line) > width)
                fail_msg("%d columns at width %d: %s", bp_text_columns(line), width, line);
        free(text);
    }
    fixture_close(&f);
}

/* Without colours not one escape byte; with colours the same text. */
static void test_colours(void **state) {
    (void)state;
    fixture f;
    fixture_open(&f, NULL);
    char *plain = printed_at(100, false), *coloured = printed_at(100, true);
    assert_null(strchr(plain, '\033'));
    assert_non_null(strstr(coloured, "\033[1;31merror[vanishing-gradient]\033[0m"));
    size_t n = 0;
    for (const char *c = coloured; *c; c++) {
        if (*c == '\033')
            c += strcspn(c, "m");
        else
            coloured[n++] = *c;
    }
    coloured[n] = '\0';
    assert_string_equal(coloured, plain);
    free(plain);
    free(coloured);
    fixture_close(&f);
}

/* A name from a hostile log in every place where one is printed. */
static void test_hostile_names(void **state) {
    (void)state;
    fixture f;
    fixture_open(&f, "evil\x1b[2J\x9b\xff\r\n");
    f.run.name = "runs/\x1b]0;title\x07";
    f.findings[0].title = "layer \x1b[31m";
    f.findings[0].cause = "because\x1b[0m of \xc2\x9bm";
    f.findings[0].note = "\x1b";
    f.remedy.title = "\x1b\\";
    f.run.network_text = "\x1b[1m\n";
    char *text = printed_at(100, false);
    for (const char *c = text; *c; c++) {
        assert_true(*c == '\n' || (unsigned char)*c >= 0x20);
        assert_false(c[0] == '\xc2' && (unsigned char)c[1] < 0xa0);
    }
    assert_non_null(strstr(text, "runs/\\x1b]0;title\\x07: 2 findings"));
    free(text);
    fixture_close(&f);
}

/* The edits themselves where there is no file to show a diff of. */
static void test_edits_without_file(void **state) {
    (void)state;
    fixture f;
    fixture_open(&f, NULL);
    f.run.network_text = NULL;
    char *text = printed_at(100, false);
    assert_non_null(strstr(text, "         net[0].activation: tanh\n         init: xavier\n"));
    free(text);
    f.has_remedy = false;
    text = printed_at(100, false);
    assert_null(strstr(text, "\n  help:"));
    free(text);
    fixture_close(&f);
}

static void test_code(void **state) {
    (void)state;
    static const char *const lines[] = {
        "# once, before training", "for name in [\"a\\x1b\"]:", "    init(name, \"\033[31m\")"};
    fixture f;
    fixture_open(&f, NULL);
    f.remedy.n_edits = 0;
    f.remedy.lines = lines;
    f.remedy.n_lines = 3;
    char *text = printed_at(100, false);
    assert_non_null(strstr(text, "         # once, before training\n"
                                 "         for name in [\"a\\x1b\"]:\n"
                                 "             init(name, \"\\x1b[31m\")\n"
                                 "  see: "));
    free(text);
    fixture_close(&f);
}

static void test_quiet_line(void **state) {
    (void)state;
    fixture f;
    fixture_open(&f, NULL);
    f.n_findings = 0;
    f.overview.last_loss = 0.0512;
    f.overview.backward_span_log = log(4.1);
    char *text = printed_at(100, false);
    assert_string_equal(text, "runs/deep-1: no findings · 341 steps · loss 2.31 → 0.0512 · error "
                              "signals keep within ×4.1 over depth\n");
    free(text);
    f.overview = (bp_diagnosis_overview){.backward_span_log = (double)NAN, .not_observed = ""};
    f.run.end = BP_RUN_OPEN;
    text = printed_at(100, false);
    assert_string_equal(text, "runs/deep-1: no findings · 0 steps · no end recorded: still running "
                              "or killed\n");
    free(text);
    fixture_close(&f);
}

static void test_non_finite_profile(void **state) {
    (void)state;
    fixture f;
    fixture_open(&f, NULL);
    bp_gain gains[3] = {{.layer = 1, .error_norm = (double)INFINITY, .share = (double)NAN},
                        {.layer = 2, .error_norm = 0, .gain = (double)INFINITY},
                        {.layer = 3, .error_norm = 1e30, .gain = 1e30, .share = 1}};
    f.findings[0].gains = gains;
    f.findings[0].n_gains = 3;
    char *text = printed_at(80, false);
    assert_non_null(strstr(text, "  1 dense_1 ██████████████████████████      Infinity        0"));
    assert_non_null(strstr(text, "  2 dense_2                                        0 Infinity"));
    free(text);
    fixture_close(&f);
}

/* First, last, what stands out, the rest evenly spread; ascending, no row twice. */
static void test_rows(void **state) {
    (void)state;
    bp_gain gains[100] = {{0}};
    uint32_t rows[BP_PICTURE_ROWS];
    assert_int_equal(bp_picture_rows(rows, gains, 3), 3);
    for (uint32_t i = 0; i < 100; i++) gains[i].contribution = 0.001;
    gains[41].contribution = 0.5;
    gains[42].contribution = 0.4;
    assert_int_equal(bp_picture_rows(rows, gains, 100), BP_PICTURE_ROWS);
    bool has_41 = false, has_42 = false;
    for (uint32_t i = 0; i < BP_PICTURE_ROWS; i++) {
        if (i > 0) assert_true(rows[i] > rows[i - 1] && rows[i] - rows[i - 1] < 45);
        has_41 = has_41 || rows[i] == 41;
        has_42 = has_42 || rows[i] == 42;
    }
    assert_true(has_41 && has_42 && rows[0] == 0 && rows[BP_PICTURE_ROWS - 1] == 99);
    for (uint32_t n = 1; n < 100; n++) {
        uint32_t shown = bp_picture_rows(rows, gains, n);
        assert_int_equal(shown, n < BP_PICTURE_ROWS ? n : BP_PICTURE_ROWS);
        for (uint32_t i = 1; i < shown; i++) assert_true(rows[i] > rows[i - 1] && rows[i] < n);
    }
}

static int lines_of(const char *text) {
    int n = 0;
    for (; *text; text++) n += *text == '\n';
    return n;
}

/* However much follows from it: one root cause is one screen. */
static void test_one_screen(void **state) {
    (void)state;
    fixture f;
    fixture_open(&f, NULL);
    for (f.n_findings = 2; f.n_findings < BP_N_PROBLEMS - 1; f.n_findings++) {
        f.findings[f.n_findings] = f.findings[1];
        f.findings[f.n_findings].problem = (bp_problem)(f.n_findings + 2);
    }
    char *text = printed_at(100, false);
    assert_in_range(lines_of(text), 30, 40);
    assert_non_null(strstr(text, "    └ and 26 more consequences, which --format json has\n"));
    free(text);
    f.n_findings = 7;
    text = printed_at(100, false);
    assert_null(strstr(text, "more consequence"));
    free(text);
    fixture_close(&f);
}

/* Of many roots the first three are told in full. */
static void test_many_roots(void **state) {
    (void)state;
    fixture f;
    fixture_open(&f, NULL);
    for (f.n_findings = 0; f.n_findings < BP_N_PROBLEMS - 1; f.n_findings++) {
        f.findings[f.n_findings] = f.findings[0];
        f.findings[f.n_findings].problem = (bp_problem)(f.n_findings + 1);
        f.findings[f.n_findings].n_gains = f.findings[f.n_findings].n_symptoms = 0;
    }
    char *text = printed_at(100, false);
    assert_in_range(lines_of(text), 60, 80);
    for (int problem = 1; problem < BP_N_PROBLEMS; problem++) {
        char headline[64];
        snprintf(headline, sizeof headline, "\nerror[%s]: ", bp_problem_name((bp_problem)problem));
        assert_non_null(strstr(text, headline));
    }
    free(text);
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),         cmocka_unit_test(test_narrow),
        cmocka_unit_test(test_every_width),   cmocka_unit_test(test_colours),
        cmocka_unit_test(test_hostile_names), cmocka_unit_test(test_edits_without_file),
        cmocka_unit_test(test_quiet_line),    cmocka_unit_test(test_non_finite_profile),
        cmocka_unit_test(test_rows),          cmocka_unit_test(test_code),
        cmocka_unit_test(test_one_screen),    cmocka_unit_test(test_many_roots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
