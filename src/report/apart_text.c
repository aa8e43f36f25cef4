/* SPDX-License-Identifier: Apache-2.0 */
/* Where two runs part, for people. */
#include "report/apart.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define MAX_PLACES 12u /* rows of the table */
#define MAX_SHOWN 4u   /* layers of a kind that are named */

enum { PHASE = 15, LAYER = 20, QUANTITY = 22, NUMBER = 11 };

bool bp_apart_parts(const bp_apart_report *report) {
    const bp_apart *apart = report->apart;
    return report->n_places > 0 || apart->last_a != apart->last_b || bp_apart_networks(apart);
}

static void put_sentence(bp_page *page, const char *label, const bp_text *text) {
    bp_page_pad(page, 2);
    bp_page_put(page, BP_INK_BOLD, label);
    bp_page_pad(page, 12);
    bp_page_wrap(page, BP_INK_PLAIN, 12, text->bytes, text->length);
    bp_page_end_line(page);
}

static void add_layer(bp_text *text, const bp_apart *apart, const bp_apart_place *place) {
    const bp_layer *layer = bp_model_layer(apart->a, apart->row_a[place->row]);
    if (layer) bp_text_add(text, " of layer %u (%.100s)", layer->id, layer->name);
}

static void add_pair(bp_text *text, bp_quantity quantity, double a, double b) {
    char number[40];
    bp_text_add(text, "%s against ", bp_apart_number(number, sizeof number, quantity, a));
    bp_text_add(text, "%s", bp_apart_number(number, sizeof number, quantity, b));
}

static void put_first(bp_page *page, const bp_apart_report *report) {
    char bytes[512];
    bp_text text;
    bp_text_init(&text, bytes, sizeof bytes);
    const bp_apart_place *place = &report->places[0];
    bp_text_add(&text, "the %s", bp_phase_name(place->phase));
    add_layer(&text, report->apart, place);
    if (place->phase == BP_PHASE_PARAMETERS) bp_text_add(&text, " before the update");
    bp_text_add(&text, ": ");
    if (place->phase != BP_PHASE_LOSS && place->phase != BP_PHASE_LEARNING_RATE)
        bp_text_add(&text, "%s ", bp_quantity_name(place->quantity));
    add_pair(&text, place->quantity, place->cell->a, place->cell->b);
    if (place->phase == BP_PHASE_LOSS && report->apart->tolerance <= 0)
        bp_text_add(&text, "; it is compared bit by bit, most of what leads to it as finely as "
                           "the log has it (0.3%%)");
    put_sentence(page, "first", &text);
}

static void put_settings(bp_page *page, const bp_apart *apart) {
    char bytes[1024];
    bp_text text;
    bp_text_init(&text, bytes, sizeof bytes);
    bp_apart_setting settings[BP_APART_MAX_SETTINGS];
    const uint32_t n = bp_apart_recipe(apart, settings);
    for (uint32_t i = 0; i < n; i++)
        bp_text_add(&text, "%s%s %s against %s", i ? ", " : "", settings[i].key, settings[i].a,
                    settings[i].b);
    if (n > 0) put_sentence(page, "recipe", &text);
}

/* "layers only in A: x, y and 3 more" */
static void add_single(bp_text *text, const bp_apart *apart, bool in_a) {
    const bp_model *model = in_a ? apart->a : apart->b;
    uint32_t n = 0;
    for (uint32_t id = 1; id <= bp_model_n_layers(model); id++) {
        if (!bp_apart_is_single(apart, in_a, id) || n++ >= MAX_SHOWN) continue;
        if (n == 1) bp_text_add(text, "%sonly in %c: ", text->length ? "; " : "", in_a ? 'A' : 'B');
        bp_text_add(text, "%s%.60s", n > 1 ? ", " : "", bp_model_layer(model, id)->name);
    }
    if (n > MAX_SHOWN) bp_text_add(text, " and %u more", n - MAX_SHOWN);
}

static void put_networks(bp_page *page, const bp_apart *apart) {
    char bytes[1024];
    bp_text text;
    bp_text_init(&text, bytes, sizeof bytes);
    bp_apart_setting settings[BP_APART_MAX_SETTINGS];
    uint32_t n = 0;
    if (!bp_apart_networks(apart)) return;
    add_single(&text, apart, true);
    add_single(&text, apart, false);
    for (uint32_t row = 1; row < apart->n_rows; row++) {
        const uint32_t changed = bp_apart_layer(apart, row, settings);
        for (uint32_t i = 0; i < changed; i++)
            if (n++ < MAX_SHOWN)
                bp_text_add(&text, "%s%.60s: %s %s against %s", text.length ? "; " : "",
                            bp_model_layer(apart->a, apart->row_a[row])->name, settings[i].key,
                            settings[i].a, settings[i].b);
    }
    if (n > MAX_SHOWN) bp_text_add(&text, " and %u more settings", n - MAX_SHOWN);
    put_sentence(page, "networks", &text);
}

static void put_number(bp_page *page, double value) {
    char number[32];
    bp_page_cell(page, BP_INK_PLAIN, NUMBER, true, bp_number_text(number, sizeof number, value, 3));
}

/* "5%", "3e-7%" */
static void put_difference(bp_page *page, double difference) {
    char number[32], text[40];
    snprintf(text, sizeof text, "%s%%", bp_number_text(number, sizeof number, 100 * difference, 2));
    bp_page_cell(page, BP_INK_PLAIN, NUMBER, true, text);
}

static void put_place(bp_page *page, const bp_apart *apart, const bp_apart_place *place) {
    char text[128];
    const bp_apart_cell *cell = place->cell;
    const bp_layer *layer = bp_model_layer(apart->a, apart->row_a[place->row]);
    bp_page_pad(page, 2);
    snprintf(text, sizeof text, "%" PRId64, cell->first_step);
    bp_page_cell(page, BP_INK_PLAIN, 8, false, text);
    bp_page_cell(page, BP_INK_PLAIN, PHASE, false, bp_phase_name(place->phase));
    text[0] = '\0';
    if (layer) snprintf(text, sizeof text, "%u %.100s", layer->id, layer->name);
    bp_page_cell(page, BP_INK_PLAIN, LAYER - 1, false, text);
    bp_page_put(page, BP_INK_PLAIN, " ");
    bp_page_cell(page, BP_INK_PLAIN, QUANTITY, false, bp_quantity_name(place->quantity));
    put_number(page, cell->a);
    put_number(page, cell->b);
    put_difference(page, bp_apart_difference(cell->last_a, cell->last_b));
    bp_page_end_line(page);
}

/* One row for each phase of each layer, in the order in which they part. */
static void put_table(bp_page *page, const bp_apart_report *report) {
    static const struct {
        const char *text;
        int columns;
        bool right;
    } head[] = {{"step", 8, false},          {"in", PHASE, false},
                {"layer", LAYER, false},     {"quantity", QUANTITY, false},
                {"A", NUMBER, true},         {"B", NUMBER, true},
                {"at the end", NUMBER, true}};
    const bp_apart_place *before = NULL;
    uint32_t n = 0;
    bp_page_end_line(page);
    bp_page_pad(page, 2);
    for (size_t i = 0; i < sizeof head / sizeof *head; i++)
        bp_page_cell(page, BP_INK_DIM, head[i].columns, head[i].right, head[i].text);
    bp_page_end_line(page);
    for (size_t i = 0; i < report->n_places && n < MAX_PLACES; i++) {
        const bp_apart_place *place = &report->places[i];
        if (before && before->phase == place->phase && before->row == place->row &&
            before->cell->first_step == place->cell->first_step)
            continue;
        put_place(page, report->apart, place);
        before = place;
        n++;
    }
    if (n < report->n_places) {
        bp_page_pad(page, 2);
        bp_page_add(page, BP_INK_DIM, "(%zu quantities differ; --json has all)", report->n_places);
        bp_page_end_line(page);
    }
    bp_page_end_line(page);
}

static void put_length(bp_page *page, const bp_apart_report *report) {
    char bytes[256];
    bp_text text;
    bp_text_init(&text, bytes, sizeof bytes);
    const bp_apart *apart = report->apart;
    const bp_apart_cell *loss = &apart->cells[BP_Q_LOSS];
    bp_text_add(&text, "%" PRIu64 " step%s in common", apart->n_common,
                apart->n_common == 1 ? "" : "s");
    if (loss->last_step >= 0) {
        bp_text_add(&text, "; loss at step %" PRId64 ": ", loss->last_step);
        add_pair(&text, BP_Q_LOSS, loss->last_a, loss->last_b);
    }
    if (apart->last_a != apart->last_b)
        bp_text_add(&text, "; A ends at step %" PRId64 ", B at step %" PRId64, apart->last_a,
                    apart->last_b);
    put_sentence(page, "steps", &text);
}

static const bp_finding *finding_of(const bp_findings *findings, bp_problem problem) {
    for (uint32_t i = 0; i < findings->n; i++)
        if (findings->list[i].problem == problem) return &findings->list[i];
    return NULL;
}

static void put_findings(bp_page *page, const bp_findings *here, const bp_findings *there,
                         const char *label) {
    char bytes[1024];
    bp_text text;
    bp_text_init(&text, bytes, sizeof bytes);
    for (uint32_t i = 0; i < here->n; i++) {
        const bp_finding *finding = &here->list[i];
        if (finding_of(there, finding->problem)) continue;
        bp_text_add(&text, "%s%s (%s, since step %" PRId64 ")", text.length ? ", " : "",
                    bp_problem_name(finding->problem), bp_severity_name(finding->severity),
                    finding->since_step);
    }
    if (text.length) put_sentence(page, label, &text);
}

static void put_verdict(bp_page *page, const bp_apart_report *report) {
    bp_page_put(page, BP_INK_BOLD, "A ");
    bp_page_put(page, BP_INK_PLAIN, report->a->name);
    bp_page_put(page, BP_INK_BOLD, " and B ");
    bp_page_put(page, BP_INK_PLAIN, report->b->name);
    if (report->n_places > 0)
        bp_page_add(page, BP_INK_WARNING, " part at step %" PRId64,
                    report->places[0].cell->first_step);
    else if (bp_apart_networks(report->apart))
        bp_page_put(page, BP_INK_WARNING, " are of different networks");
    else if (bp_apart_parts(report))
        bp_page_put(page, BP_INK_WARNING, " are the same as far as both go");
    else
        bp_page_put(page, BP_INK_NEW, " are the same");
    bp_page_end_line(page);
}

void bp_apart_text(FILE *out, const bp_report_style *style, const bp_apart_report *report) {
    bp_page page = bp_page_begin(out, style);
    bp_findings a, b;
    bp_findings_choose(&a, report->a->diagnosis, report->a->model, report->a->choice);
    bp_findings_choose(&b, report->b->diagnosis, report->b->model, report->b->choice);
    put_verdict(&page, report);
    if (report->n_places > 0) put_first(&page, report);
    put_settings(&page, report->apart);
    put_networks(&page, report->apart);
    if (report->n_places > 0) put_table(&page, report);
    put_length(&page, report);
    put_findings(&page, &a, &b, "only in A");
    put_findings(&page, &b, &a, "only in B");
}
