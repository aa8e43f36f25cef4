/* SPDX-License-Identifier: Apache-2.0 */
/* The map as a picture, from cells that are made by hand. That it is well-formed is tested in
 * tests/cli/test_report.py, too, by a parser. */
#include "fixture.h"
#include "report/svg.h"

#define COLUMNS 34u /* of ten steps */

typedef struct drawn {
    fixture f;
    bp_view view;
    bp_svg svg;
} drawn;

static bp_view_cell *cell(drawn *d, uint32_t row, uint32_t column) {
    return &d->view.cells[(size_t)column * d->view.n_rows + row];
}

static void set(drawn *d, uint32_t row, uint32_t column, double value, uint32_t flags) {
    *cell(d, row, column) = (bp_view_cell){value, value, value, value, 10, flags};
}

/* Layer l holds 10^(l - 21) throughout, row 0 nothing. */
static void begin(drawn *d, const char *odd_name) {
    fixture_open(&d->f, odd_name);
    d->view = (bp_view){.n_rows = FIXTURE_LAYERS + 1, .n_columns = COLUMNS};
    d->view.cells = calloc((size_t)COLUMNS * d->view.n_rows, sizeof *d->view.cells);
    d->view.starts = calloc(COLUMNS + 1, sizeof *d->view.starts);
    assert_non_null(d->view.cells);
    assert_non_null(d->view.starts);
    for (uint32_t c = 0; c <= COLUMNS; c++) d->view.starts[c] = c * 10;
    for (uint32_t c = 0; c < COLUMNS; c++)
        for (uint32_t row = 1; row <= FIXTURE_LAYERS; row++) set(d, row, c, pow(10, row - 21.0), 0);
    d->svg = (bp_svg){
        .run = &d->f.run, .series = (bp_series)BP_Q_GRADIENT_RMS, .view = &d->view, .last = 339};
}

static void end(drawn *d) {
    free(d->view.cells);
    free(d->view.starts);
    fixture_close(&d->f);
}

static void print_svg(FILE *out, void *context) {
    assert_int_equal(bp_svg_write(out, context, NULL), BP_OK);
}

static char *printed(drawn *d) {
    return fixture_printed(print_svg, &d->svg);
}

static int times(const char *text, const char *part) {
    int n = 0;
    for (; (text = strstr(text, part)); text++) n++;
    return n;
}

static void expect_in(const char *text, const char *part) {
    if (!strstr(text, part)) fail_msg("no '%s' in:\n%s", part, text);
}

static void the_map(void **state) {
    (void)state;
    drawn d;
    begin(&d, NULL);
    char *text = printed(&d);
    /* A row of one shade is one rectangle: the extremes are the ends of the scale. */
    expect_in(text, "<path d=\"M0 0h34v1h-34z\" fill=\"#440154\"/>");
    expect_in(text, "<path d=\"M0 19h34v1h-34z\" fill=\"#fde725\"/>");
    expect_in(text, "viewBox=\"0 0 34 20\"");
    expect_in(text, ">1 dense_1</text>");
    expect_in(text, ">20 dense_20</text>");
    expect_in(text, ">10⁻²⁰</text>");
    expect_in(text, ">300</text>");
    expect_in(text, "<tspan font-weight=\"bold\">runs/deep-1</tspan>");
    assert_null(strstr(text, "url(#"));
    assert_null(strstr(text, "input"));
    free(text);
    end(&d);
}

static void what_is_no_number(void **state) {
    (void)state;
    drawn d;
    begin(&d, NULL);
    set(&d, 3, 5, (double)NAN, BP_VIEW_HAS_NAN);
    set(&d, 3, 6, (double)NAN, BP_VIEW_HAS_NAN);
    set(&d, 4, 5, 1, BP_VIEW_HAS_INF);
    set(&d, 5, 5, 0, 0);
    cell(&d, 6, 5)->count = 0;
    char *text = printed(&d);
    assert_int_equal(times(text, "fill=\"url(#bp-nan)\""), 2); /* two cells, one key */
    assert_int_equal(times(text, "fill=\"url(#bp-inf)\""), 2);
    assert_int_equal(times(text, "fill=\"url(#bp-zero)\""), 2);
    expect_in(text, ">NaN</text>");
    expect_in(text, ">infinite</text>");
    expect_in(text, ">zero</text>");
    expect_in(text, ">not measured</text>");
    expect_in(text, "M0 5h5v1h-5zM6 5h28v1h-28z"); /* around what was not measured */
    free(text);
    end(&d);
}

/* Layers that never have it leave no band; labels and brackets know who is who. */
static void rows_without_a_value(void **state) {
    (void)state;
    drawn d;
    begin(&d, NULL);
    for (uint32_t c = 0; c < COLUMNS; c++)
        for (uint32_t row = 2; row <= 18; row += 4) cell(&d, row, c)->count = 0; /* five of them */
    char *text = printed(&d);
    expect_in(text, "viewBox=\"0 0 34 15\"");
    expect_in(text, ">5 layers without gradient_rms: not shown</text>");
    assert_null(strstr(text, ">2 dense_2<"));
    assert_null(strstr(text, "not measured"));
    expect_in(text, ">3 dense_3<");
    free(text);
    for (size_t i = 0; i < (size_t)COLUMNS * d.view.n_rows; i++) d.view.cells[i].count = 0;
    bp_error error;
    FILE *out = fopen("/dev/null", "w");
    assert_non_null(out);
    assert_int_equal(bp_svg_write(out, &d.svg, &error), BP_ERROR_INPUT);
    assert_string_equal(error.text, "runs/deep-1: gradient_rms was measured of no layer");
    fclose(out);
    end(&d);
}

static void findings(void **state) {
    (void)state;
    drawn d;
    begin(&d, NULL);
    d.f.findings[0].since_step = 171;
    d.f.findings[1].parent = -1;
    d.f.findings[1].since_step = 170; /* discs do not cover each other, and keep their order */
    char *text = printed(&d);
    expect_in(text, "</tspan> layers 1–4 of 20 do not learn</text>");
    expect_in(text, "<tspan font-weight=\"bold\">warning</tspan> NaN first in the loss</text>");
    int first = 0, second = 0;
    const char *disc = strstr(strstr(text, "</defs>"), "<circle cx");
    assert_int_equal(sscanf(disc, "<circle cx=\"%d\"", &first), 1);
    assert_int_equal(sscanf(strstr(disc + 1, "<circle cx"), "<circle cx=\"%d\"", &second), 1);
    assert_true(second - first >= 14);
    assert_true(strstr(disc, ">2</text>") < strstr(disc, ">1</text>"));
    free(text);
    d.f.findings[1].parent = 0; /* a consequence has no number */
    text = printed(&d);
    assert_null(strstr(text, "NaN first"));
    assert_int_equal(times(text, "<circle cx"), 3); /* the pattern's, the mark, the key */
    free(text);
    end(&d);
}

static void a_thousand_layers(void **state) {
    (void)state;
    drawn d;
    begin(&d, NULL);
    for (uint32_t i = FIXTURE_LAYERS; i < 1000; i++) {
        bp_layer layer = {.kind = BP_LAYER_DENSE, .output_shape = {8, 1, 1}};
        assert_int_equal(bp_model_add_layer(d.f.model, &layer, NULL, NULL), BP_OK);
    }
    free(d.view.cells);
    d.view.n_rows = 1001;
    d.view.cells = calloc((size_t)COLUMNS * d.view.n_rows, sizeof *d.view.cells);
    assert_non_null(d.view.cells);
    for (uint32_t c = 0; c < COLUMNS; c++)
        for (uint32_t row = 1; row <= 1000; row++) set(&d, row, c, 1, 0);
    set(&d, 777, 9, (double)NAN, BP_VIEW_HAS_NAN); /* one, among 34,000 */
    char *text = printed(&d);
    assert_int_equal(times(text, "fill=\"url(#bp-nan)\""), 2);
    int height = 0;
    assert_int_equal(sscanf(strstr(text, "height="), "height=\"%d\"", &height), 1);
    assert_true(height < 600);
    expect_in(text, ">1–9</text>");
    free(text);
    end(&d);
}

/* Nothing of a name is markup, and all of it is XML. */
static void names(void **state) {
    (void)state;
    static const char evil[] =
        "</title></svg><script>alert(1)</script>&\"'\x1b[31m\xff\xef\xbf\xbe";
    drawn d;
    begin(&d, evil);
    d.f.run.name = evil;
    d.f.findings[0].title = evil;
    char *text = printed(&d);
    assert_int_equal(times(text, "<script"), 0);
    assert_int_equal(times(text, "</svg>"), 3); /* map, colour bar, all of it */
    expect_in(text, "<title>&lt;/title&gt;&lt;/svg&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;"
                    "&quot;'\\x1b[31m\xef\xbf\xbd\\ufffe: gradient_rms</title>");
    for (const char *c = text; *c; c++) assert_true((unsigned char)*c >= ' ' || *c == '\n');
    free(text);
    end(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_map),           cmocka_unit_test(what_is_no_number),
        cmocka_unit_test(findings),          cmocka_unit_test(names),
        cmocka_unit_test(a_thousand_layers), cmocka_unit_test(rows_without_a_value),
    };
    return cmocka_run_group_tests_name("report_svg", tests, NULL, NULL);
}
