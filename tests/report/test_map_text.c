/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures of views that are made by hand, byte by byte. */
#include "report/curve_text.h"
#include "report/map_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Values of rows 1 ... n, column by column; row 0 is not measured. */
#define ABSENT (-1.0)

static bp_view view_of(uint32_t n_layers, uint32_t n_columns, uint64_t steps_a_column,
                       const double *values) {
    bp_view view = {.n_rows = n_layers + 1, .n_columns = n_columns};
    view.cells = calloc((size_t)view.n_rows * n_columns, sizeof *view.cells);
    view.starts = calloc((size_t)n_columns + 1, sizeof *view.starts);
    assert_non_null(view.cells);
    assert_non_null(view.starts);
    for (uint32_t c = 0; c <= n_columns; c++) view.starts[c] = c * steps_a_column;
    for (uint32_t c = 0; c < n_columns; c++)
        for (uint32_t l = 0; l < n_layers; l++) {
            const double value = values[c * n_layers + l];
            if (value == ABSENT) continue;
            const bool finite = isfinite(value);
            view.cells[(size_t)c * view.n_rows + l + 1] =
                (bp_view_cell){.min = finite ? value : (double)NAN,
                               .max = finite ? 10 * value : (double)NAN,
                               .mean = finite ? value : (double)NAN,
                               .last = value,
                               .count = 1,
                               .flags = isnan(value)   ? BP_VIEW_HAS_NAN
                                        : isinf(value) ? BP_VIEW_HAS_INF
                                                       : 0};
        }
    return view;
}

static void view_done(bp_view *view) {
    free(view->cells);
    free(view->starts);
}

static bp_model *model_of(uint32_t n_layers, const char *const *names) {
    bp_model *model = NULL;
    assert_int_equal(bp_model_open(&model, NULL), BP_OK);
    for (uint32_t i = 0; i < n_layers; i++) {
        const bp_layer layer = {.kind = BP_LAYER_DENSE,
                                .activation = BP_ACTIVATION_TANH,
                                .norm = BP_NORM_NONE,
                                .name = names[i],
                                .output_shape = {8, 1, 1}};
        assert_int_equal(bp_model_add_layer(model, &layer, NULL, NULL), BP_OK);
    }
    return model;
}

/* What a picture is made with. */
typedef struct drawing {
    bp_chart chart;
    bp_map map;
    char *text;
    size_t n_bytes;
} drawing;

static void begin(drawing *d, bp_colour_depth depth, bp_characters characters, int width,
                  int64_t last) {
    *d = (drawing){.chart = {.depth = depth,
                             .characters = characters,
                             .width = width,
                             .first = 0,
                             .last = last},
                   .map = {.series = (bp_series)BP_Q_GRADIENT_RMS, .lines = 10}};
    d->chart.out = open_memstream(&d->text, &d->n_bytes);
    assert_non_null(d->chart.out);
}

/* The picture without its title. */
static const char *end(drawing *d) {
    assert_int_equal(bp_map_text(&d->chart, &d->map, NULL), BP_OK);
    assert_int_equal(fclose(d->chart.out), 0);
    return strchr(d->text, '\n') + 1;
}

static const char *const names[] = {"trunk.0", "trunk.1", "head", "trunk.2", "trunk.3"};

/* Three layers, eight columns: magnitudes of three decades, with all that is no magnitude. */
static const double magnitudes[] = {1e-3,     1e-2, 1,      2e-3,   0.02, 0.9,  3e-3, ABSENT,
                                    1,        1e-3, NAN,    1,      1e-3, 0.01, 0.,   1e-3,
                                    INFINITY, 1,    ABSENT, ABSENT, 1,    0.5,  0.5,  0.5};

static const char *draw(drawing *d, bp_view *view, uint32_t n_layers) {
    bp_model *model = model_of(n_layers, names);
    d->map.view = view;
    d->map.model = model;
    const char *text = end(d);
    bp_model_close(model);
    return text;
}

static char *drawn(bp_colour_depth depth, bp_characters characters, int lines) {
    drawing d;
    bp_view view = view_of(3, 8, 10, magnitudes);
    begin(&d, depth, characters, 28, 79); /* sixteen columns beside a margin of 12 */
    d.map.lines = lines;
    char *text = strdup(draw(&d, &view, 3));
    assert_int_equal(d.chart.margin + d.chart.columns, 28);
    free(d.text);
    view_done(&view);
    return text;
}

static void check(bp_colour_depth depth, bp_characters characters, int lines,
                  const char *expected) {
    char *text = drawn(depth, characters, lines);
    assert_string_equal(text, expected);
    free(text);
}

/* clang-format off: pictures */
/* Values are places on a scale of three decades. */
static void test_bars(void **state) {
    (void)state;
    check(BP_COLOURS_NONE, BP_CHARACTERS_ALL, 10,
          "  10⁻³ ▁▁▂▂▃▃▄▄▅▅▆▆▇▇██ 1  0 zero  I infinite  N NaN  blank: not measured\n"
          "  1 trunk.0 ▁▁▁▁▂▂▁▁▁▁▁▁  ██\n"
          "  2 trunk.1 ▃▃▄▄  NN▃▃II  ██\n"
          "  3 head    ████████00██████\n");
}

static void test_ascii(void **state) {
    (void)state;
    check(BP_COLOURS_NONE, BP_CHARACTERS_ASCII, 10,
          "  1e-3 ..::--==++**##@@ 1  0 zero  I infinite  N NaN  blank: not measured\n"
          "  1 trunk.0 ....::......  @@\n"
          "  2 trunk.1 --==  NN--II  @@\n"
          "  3 head    @@@@@@@@00@@@@@@\n");
}

static void test_16(void **state) {
    (void)state;
    check(BP_COLOURS_16, BP_CHARACTERS_ALL, 10,
          "  10⁻³ \033[0;45m   \033[0;44m  \033[0;46m   \033[0;42m  \033[0;102m   \033[0;103m   "
          "\033[0m 1  \033[0;97;45m0\033[0m zero  \033[0;1;7mI\033[0m infinite  \033[0;1;7mN"
          "\033[0m NaN  blank: not measured\n"
          "  1 trunk.0 \033[0;45m            \033[0m  \033[0;103m  \033[0m\n"
          "  2 trunk.1 \033[0;46m    \033[0m  \033[0;1;7mNN\033[0;46m  \033[0;1;7mII\033[0m  "
          "\033[0;103m  \033[0m\n"
          "  3 head    \033[0;103m        \033[0;97;45m00\033[0;103m      \033[0m\n");
}

static void test_256(void **state) {
    (void)state;
    check(BP_COLOURS_256, BP_CHARACTERS_ALL, 10,
          "  10⁻³ \033[0;48;5;53m  \033[0;48;5;54m \033[0;48;5;60m   \033[0;48;5;30m   "
          "\033[0;48;5;36m \033[0;48;5;72m \033[0;48;5;77m \033[0;48;5;113m \033[0;48;5;149m "
          "\033[0;48;5;184m \033[0;48;5;220m \033[0m 1  \033[0;38;5;231;48;5;53m0\033[0m zero  "
          "\033[0;1;7mI\033[0m infinite  \033[0;1;7mN\033[0m NaN  blank: not measured\n"
          "  1 trunk.0 \033[0;48;5;53m  \033[0;48;5;54m  \033[0;48;5;60m  \033[0;48;5;53m      "
          "\033[0m  \033[0;48;5;148m  \033[0m\n"
          "  2 trunk.1 \033[0;48;5;60m  \033[0;48;5;30m  \033[0m  \033[0;1;7mNN\033[0;48;5;60m  "
          "\033[0;1;7mII\033[0m  \033[0;48;5;148m  \033[0m\n"
          "  3 head    \033[0;48;5;220m        \033[0;38;5;231;48;5;53m00\033[0;48;5;220m    "
          "\033[0;48;5;148m  \033[0m\n");
}

static void test_24bit(void **state) {
    (void)state;
    check(BP_COLOURS_24BIT, BP_CHARACTERS_ALL, 10,
          "  10⁻³ \033[0;48;2;68;1;84m \033[0;48;2;72;24;106m \033[0;48;2;71;46;123m "
          "\033[0;48;2;66;65;134m \033[0;48;2;56;87;140m \033[0;48;2;48;104;142m "
          "\033[0;48;2;42;120;142m \033[0;48;2;36;135;142m \033[0;48;2;31;154;138m "
          "\033[0;48;2;35;168;131m \033[0;48;2;53;183;121m \033[0;48;2;82;197;105m "
          "\033[0;48;2;128;211;77m \033[0;48;2;170;220;51m \033[0;48;2;212;226;26m "
          "\033[0;48;2;253;231;37m \033[0m 1  \033[0;38;2;255;255;255;48;2;68;1;84m0"
          "\033[0m zero  \033[0;1;7mI\033[0m infinite  \033[0;1;7mN"
          "\033[0m NaN  blank: not measured\n"
          "  1 trunk.0 \033[0;48;2;68;1;84m  \033[0;48;2;72;35;116m  \033[0;48;2;69;55;129m  "
          "\033[0;48;2;68;1;84m      \033[0m  \033[0;48;2;191;223;37m  \033[0m\n"
          "  2 trunk.1 \033[0;48;2;48;104;142m  \033[0;48;2;39;127;142m  \033[0m  \033[0;1;7mNN"
          "\033[0;48;2;48;104;142m  \033[0;1;7mII\033[0m  \033[0;48;2;191;223;37m  \033[0m\n"
          "  3 head    \033[0;48;2;253;231;37m        \033[0;38;2;255;255;255;48;2;68;1;84m00"
          "\033[0;48;2;253;231;37m    \033[0;48;2;191;223;37m  \033[0m\n");
}

/* More layers than lines: two a line, letters in the half that they belong to. */
static void test_halves(void **state) {
    (void)state;
    check(BP_COLOURS_16, BP_CHARACTERS_ALL, 2,
          "  10⁻³ \033[0;45m   \033[0;44m  \033[0;46m   \033[0;42m  \033[0;102m   \033[0;103m   "
          "\033[0m 1  \033[0;97;45m0\033[0m ⁰ ₀ zero  \033[0;1;7mI\033[0m ⁱ ᵢ infinite  "
          "\033[0;1;7mN\033[0m ⁿ ₙ NaN  blank: not measured\n"
          "  1–2 trun… \033[0;35;46m▀▀▀▀\033[0;35m▀▀\033[0;1;97;45mₙₙ\033[0;35;46m▀▀"
          "\033[0;1;97;45mᵢᵢ\033[0m  \033[0;103m  \033[0m\n"
          "  3 head    \033[0;93m▀▀▀▀▀▀▀▀\033[0;1;7m⁰⁰\033[0;93m▀▀▀▀▀▀\033[0m\n");
}

/* Without half blocks they are joined: NaN and Inf stay, else what is farthest from the usual. */
static void test_joined(void **state) {
    (void)state;
    check(BP_COLOURS_NONE, BP_CHARACTERS_ALL, 1,
          "  10⁻³ ▁▁▂▂▃▃▄▄▅▅▆▆▇▇██ 1  0 zero  I infinite  N NaN\n"
          "  1–3     ▁▁▁▁██NNN00III████\n");
    check(BP_COLOURS_16, BP_CHARACTERS_ASCII, 1,
          "  1e-3 \033[0;45m   \033[0;44m  \033[0;46m   \033[0;42m  \033[0;102m   \033[0;103m   "
          "\033[0m 1  \033[0;97;45m0\033[0m zero  \033[0;1;7mI\033[0m infinite  \033[0;1;7mN"
          "\033[0m NaN\n"
          "  1-3     \033[0;45m    \033[0;103m  \033[0;1;7mNNN\033[0;97;45m00\033[0;1;7mIII"
          "\033[0;103m    \033[0m\n");
}

/* clang-format on */

static const uint32_t first_layers[] = {1, 2}, last_layers[] = {2, 3};
static const bp_finding root = {.problem = BP_PROBLEM_VANISHING_GRADIENT,
                                .severity = BP_ERROR,
                                .since_step = 45,
                                .n_layers = 2,
                                .layers = first_layers,
                                .parent = -1};

static char *marked(const int64_t *since, uint32_t n, bp_colour_depth depth,
                    bp_characters characters) {
    drawing d;
    bp_findings findings = {.n = n};
    bp_view view = view_of(3, 8, 10, magnitudes);
    begin(&d, depth, characters, 28, 79);
    for (uint32_t i = 0; i < n; i++) {
        findings.list[i] = root;
        findings.list[i].since_step = since[i];
        if (i > 0) findings.list[i].layers = last_layers;
        if (i > 0) findings.list[i].severity = BP_WARNING;
    }
    d.map.findings = &findings;
    char *text = strdup(draw(&d, &view, 3));
    free(d.text);
    view_done(&view);
    return text;
}

/* The line of marks. */
static void check_marks(const int64_t *since, uint32_t n, const char *expected) {
    char *text = marked(since, n, BP_COLOURS_NONE, BP_CHARACTERS_ALL);
    char *line = strchr(text, '\n') + 1;
    *strchr(line, '\n') = '\0';
    assert_string_equal(line, expected);
    free(text);
}

static void test_marks(void **state) {
    (void)state;
    check_marks((int64_t[]){45}, 1, "                    ①▼");
    check_marks((int64_t[]){0}, 1, "            ▼①");
    check_marks((int64_t[]){45, 45, 47}, 3, "                    ①▼②③");
    check_marks((int64_t[]){45, 50}, 2, "                    ①▼▼②");
    check_marks((int64_t[]){79}, 1, "                          ①▼");
    check_marks((int64_t[]){80}, 1, ""); /* not in the picture */
}

/* What follows from a root has no number, and no mark of its own. */
static void test_consequences(void **state) {
    (void)state;
    bp_findings findings = {.n = 3, .list = {root, root, root}};
    findings.list[1].parent = 0;
    assert_int_equal(bp_findings_number(&findings, 0), 1);
    assert_int_equal(bp_findings_number(&findings, 1), 0);
    assert_int_equal(bp_findings_number(&findings, 2), 2);
    findings.list[1].since_step = 10;
    findings.list[1].layers = last_layers;
    findings.list[2].since_step = 70;
    drawing d;
    bp_view view = view_of(3, 8, 10, magnitudes);
    begin(&d, BP_COLOURS_NONE, BP_CHARACTERS_ALL, 28, 79);
    d.map.findings = &findings;
    const char *text = draw(&d, &view, 3);
    assert_non_null(strstr(text, "\n                    ①▼   ②▼\n① 1 "));
    assert_non_null(strstr(text, "\n  3 head "));
    free(d.text);
    view_done(&view);
}

static void test_sides(void **state) {
    (void)state;
    char *text = marked((int64_t[]){45, 45}, 2, BP_COLOURS_16, BP_CHARACTERS_ALL);
    assert_non_null(strstr(text, "\n                    \033[0;31m①▼\033[0;33m②\033[0m\n"));
    assert_non_null(strstr(text, "\033[0;31m①\033[0m 1 trunk.0 "));
    assert_non_null(strstr(text, "\033[0;31m①\033[0m 2 trunk.1 ")); /* the first of its findings */
    assert_non_null(strstr(text, "\033[0;33m②\033[0m 3 head    "));
    free(text);
    text = marked((int64_t[]){45, 45}, 2, BP_COLOURS_NONE, BP_CHARACTERS_ASCII);
    assert_non_null(strstr(text, "\n                    1v2\n1 1 trunk.0 "));
    free(text);
}

/* A name can neither write to the terminal nor shift what stands beside it. */
static void test_hostile_names(void **state) {
    (void)state;
    static const char *const hostile[] = {"\033[2J\a\r\nx", "深い深い深い深い深い", "a\u202Eb"};
    static const double ones[] = {1, 1, 1, 1, 1, 1};
    for (int width = 20; width < 90; width++) {
        drawing d;
        bp_model *model = model_of(3, hostile);
        bp_view view = view_of(3, 2, 1, ones);
        begin(&d, BP_COLOURS_NONE, BP_CHARACTERS_ALL, width, 1);
        d.map.view = &view;
        d.map.model = model;
        char *text = strdup(end(&d));
        assert_null(strpbrk(text, "\033\a\r"));
        int n_lines = 0;
        for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), n_lines++)
            if (n_lines > 0) assert_int_equal(bp_text_columns(line), width);
        assert_int_equal(n_lines, 4);
        free(text);
        free(d.text);
        view_done(&view);
        bp_model_close(model);
    }
}

static void test_names_of_blocks(void **state) {
    (void)state;
    static const double ones[] = {1, 1, 1, 1, 1};
    drawing d;
    bp_view view = view_of(5, 1, 1, ones);
    begin(&d, BP_COLOURS_NONE, BP_CHARACTERS_ALL, 60, 0);
    d.map.lines = 3; /* 1, 2–3, 4–5 */
    const char *text = draw(&d, &view, 5);
    assert_non_null(strstr(text, "\n  1 trunk.0   ▆"));
    assert_non_null(strstr(text, "\n  2–3         ▆")); /* not of one block */
    assert_non_null(strstr(text, "\n  4–5 trunk.* ▆"));
    free(d.text);
    view_done(&view);
}

static void test_title_and_plane(void **state) {
    (void)state;
    drawing d;
    static const double values[] = {1e-3, 1e-2};
    bp_view view = view_of(1, 2, 1, values);
    begin(&d, BP_COLOURS_NONE, BP_CHARACTERS_ALL, 70, 1);
    d.map.largest = true; /* ten times the mean in these views */
    const char *text = draw(&d, &view, 1);
    assert_memory_equal(d.text,
                        "  gradient_rms: of the weights' gradient (largest of a column's steps)\n",
                        (size_t)(text - d.text));
    assert_non_null(strstr(text, "10⁻³ ▁"));
    assert_non_null(strstr(text, "█ 1\n"));
    free(d.text);
    view_done(&view);
}

/* Steps that were not looked at leave no stripes, and layers that were not stay blank. */
static void test_light_steps(void **state) {
    (void)state;
    drawing d;
    static const double values[] = {ABSENT, ABSENT, 1, ABSENT, ABSENT,
                                    ABSENT, NAN,    1, ABSENT, ABSENT};
    bp_view view = view_of(2, 5, 1, values);
    begin(&d, BP_COLOURS_NONE, BP_CHARACTERS_ASCII, 26, 4); /* three columns a step */
    const char *text = draw(&d, &view, 2);
    assert_int_equal(d.chart.columns, 15);
    assert_non_null(strstr(text, "    ******NNNNNN\n"));
    assert_non_null(strstr(text, "          ******\n"));
    free(d.text);
    view_done(&view);
}

/* --- axis and curve --------------------------------------------------------------------------- */

static void test_axis(void **state) {
    (void)state;
    static const struct {
        int64_t first, last;
        int columns;
        const char *text;
    } cases[] = {
        {0, 99, 40, "  step |0      |20     |40     |60     |80\n"},
        {0, 9, 40, "  step |0      |2      |4      |6      |8\n"},
        {0, 0, 20, "  step |0\n"},
        {150, 1049, 40, "  step   |200     |400     |600    |800\n"},
        {999999000, 999999999, 30, "  step |999999000     |999999500\n"},
        {INT64_MAX - 1, INT64_MAX - 1, 8, "  step \n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        drawing d;
        begin(&d, BP_COLOURS_NONE, BP_CHARACTERS_PLAIN, 50, cases[i].last);
        d.chart.first = cases[i].first;
        d.chart.margin = 7;
        d.chart.columns = cases[i].columns;
        bp_chart_axis(&d.chart);
        assert_int_equal(fclose(d.chart.out), 0);
        assert_string_equal(d.text, cases[i].text);
        free(d.text);
    }
}

/* Each column's first step lies in that column, and nothing is lost between them. */
static void test_columns(void **state) {
    (void)state;
    bp_chart chart = {.first = 5, .columns = 37};
    for (int64_t last = 5; last < 500; last += 13) {
        chart.last = last;
        assert_int_equal(bp_chart_start(&chart, chart.columns, 0), 5);
        assert_int_equal(bp_chart_start(&chart, chart.columns, chart.columns), last + 1);
        int before = 0;
        for (int64_t step = 5; step <= last; step++) {
            const int column = bp_chart_column(&chart, step);
            assert_in_range(column, before, 36);
            assert_true(bp_chart_start(&chart, chart.columns, column) <= (uint64_t)step);
            before = column;
        }
        assert_int_equal(bp_chart_column(&chart, 4), -1);
        assert_int_equal(bp_chart_column(&chart, last + 1), -1);
    }
    chart.first = 0;
    chart.last = INT64_MAX - 1;
    assert_int_equal(bp_chart_column(&chart, INT64_MAX - 1), 36);
}

static char *curve_of(const double *loss, const double *validation, uint32_t n,
                      bp_characters characters, bp_colour_depth depth) {
    drawing d;
    bp_view views[2] = {view_of(1, n, 1, loss), view_of(1, n, 1, validation ? validation : loss)};
    for (int i = 0; i < 2; i++) { /* of the network: one row */
        views[i].n_rows = 1;
        for (uint32_t c = 0; c < n; c++) views[i].cells[c] = views[i].cells[2 * c + 1];
    }
    begin(&d, depth, characters, 20, n - 1);
    d.chart.margin = 8;
    d.chart.columns = 6;
    const bp_curve curve = {
        .loss = &views[0], .validation = validation ? &views[1] : NULL, .lines = 3};
    assert_int_equal(bp_curve_text(&d.chart, &curve, NULL), BP_OK);
    assert_int_equal(fclose(d.chart.out), 0);
    view_done(&views[0]);
    view_done(&views[1]);
    return d.text;
}

static void test_curve(void **state) {
    (void)state;
    static const double loss[] = {3, 2.5, 2, 1.5, 1, NAN};
    static const double validation[] = {ABSENT, ABSENT, 2.5, ABSENT, ABSENT, 2};
    /* clang-format off: pictures */
    char *text = curve_of(loss, validation, 6, BP_CHARACTERS_ALL, BP_COLOURS_NONE);
    assert_string_equal(text, "        ⠒⠒ loss  × validation loss\n"
                              "     3 ┤⠉⣆×  N\n"
                              "       │  ⠧⡀ ×\n"
                              "     1 ┤   ⠉⣆\n");
    free(text);
    text = curve_of(loss, NULL, 6, BP_CHARACTERS_ASCII, BP_COLOURS_NONE);
    assert_string_equal(text, "        ** loss\n"
                              "     3 +*    N\n"
                              "       | **\n"
                              "     1 +   **\n");
    free(text);
    text = curve_of(loss, validation, 6, BP_CHARACTERS_PLAIN, BP_COLOURS_16);
    assert_string_equal(text,
                        "        \033[0;36m**\033[0m loss\033[0;33m  ×\033[0m validation loss\n"
                        "     3 ┤\033[0;36m*\033[0m    \033[0;1;7mN\033[0m\n"
                        "       │ \033[0;36m*\033[0;1;33m×\033[0m  \033[0;1;33m×\033[0m\n"
                        "     1 ┤   \033[0;36m**\033[0m\n");
    free(text);
    static const double wide[] = {1000, 100, 10, 1, 0.1, 0.1};
    text = curve_of(wide, NULL, 6, BP_CHARACTERS_ALL, BP_COLOURS_NONE);
    assert_string_equal(text, "        ⠒⠒ loss  (logarithmic)\n"
                              "  1000 ┤⠉⣆\n"
                              "       │  ⠧⡀\n"
                              "   0.1 ┤   ⠉⣆⣀\n");
    free(text);
    static const double flat[] = {2, 2, 2, 2, 2, 2};
    text = curve_of(flat, NULL, 6, BP_CHARACTERS_ALL, BP_COLOURS_NONE);
    assert_string_equal(text, "        ⠒⠒ loss\n"
                              "   2.2 ┤\n"
                              "       │⠤⠤⠤⠤⠤⠤\n"
                              "   1.8 ┤\n");
    free(text);
    static const double lost[] = {NAN, NAN, INFINITY, INFINITY, ABSENT, ABSENT};
    text = curve_of(lost, NULL, 6, BP_CHARACTERS_ALL, BP_COLOURS_NONE);
    assert_string_equal(text, "        ⠒⠒ loss\n"
                              "       ┤NNII\n"
                              "       │\n"
                              "       ┤\n");
    free(text);
    /* clang-format on */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bars),
        cmocka_unit_test(test_ascii),
        cmocka_unit_test(test_16),
        cmocka_unit_test(test_256),
        cmocka_unit_test(test_24bit),
        cmocka_unit_test(test_halves),
        cmocka_unit_test(test_joined),
        cmocka_unit_test(test_marks),
        cmocka_unit_test(test_sides),
        cmocka_unit_test(test_consequences),
        cmocka_unit_test(test_hostile_names),
        cmocka_unit_test(test_names_of_blocks),
        cmocka_unit_test(test_title_and_plane),
        cmocka_unit_test(test_light_steps),
        cmocka_unit_test(test_axis),
        cmocka_unit_test(test_columns),
        cmocka_unit_test(test_curve),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
