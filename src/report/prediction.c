/* SPDX-License-Identifier: Apache-2.0 */
/* A prediction as text: what theory says of each layer beside what a batch showed, the verdict, how
 * deep the initialisation reaches, and what would mend it. */
#include "report/report.h"

#include <math.h>
#include <string.h>

enum { MARGIN = 2, BODY = 13, MAX_NAME = 24 };
enum { PREDICTED_COLUMNS = 11, MEASURED_COLUMNS = 17, OFF_COLUMNS = 8 };

static void put_paragraph(bp_page *page, const char *label, const char *text) {
    bp_page_pad(page, MARGIN);
    bp_page_put(page, BP_INK_BOLD, label);
    bp_page_pad(page, BODY);
    bp_page_wrap(page, BP_INK_PLAIN, BODY, text, strlen(text));
    bp_page_end_line(page);
}

static void put_text(bp_page *page, const char *label, const bp_text *text) {
    if (text->length) put_paragraph(page, label, text->bytes);
}

/* --- the table ----------------------------------------------------------------------------------
 */

static void put_number(bp_page *page, int columns, double value, const char *unit) {
    char number[32], cell[48];
    bp_number_text(number, sizeof number, value, 3);
    snprintf(cell, sizeof cell, "%s%s", number, unit);
    bp_page_cell(page, isnan(value) ? BP_INK_DIM : BP_INK_PLAIN, columns, true,
                 isnan(value) ? "–" : cell);
}

/* "0.141 ± 0.002" */
static void put_measured(bp_page *page, const bp_measured_gain *measured) {
    char gain[32], error[32], cell[80];
    if (isnan(measured->gain) || isnan(measured->standard_error)) {
        put_number(page, MEASURED_COLUMNS, measured->gain, "");
        return;
    }
    snprintf(cell, sizeof cell, "%s ± %s", bp_number_text(gain, sizeof gain, measured->gain, 3),
             bp_number_text(error, sizeof error, measured->standard_error, 1));
    bp_page_cell(page, BP_INK_PLAIN, MEASURED_COLUMNS, true, cell);
}

static int label_columns(const bp_report_foretold *r, int *digits) {
    int name = 0;
    *digits = snprintf(NULL, 0, "%u", r->gains[r->n_gains - 1].layer);
    for (uint32_t i = 0; i < r->n_gains; i++) {
        const int columns = bp_text_columns(bp_model_layer(r->run.model, r->gains[i].layer)->name);
        if (columns > name) name = columns < MAX_NAME ? columns : MAX_NAME;
    }
    return name + *digits + 1 > 5 ? name + *digits + 1 : 5;
}

static void put_head(bp_page *page, const bp_report_foretold *r, int label,
                     const bp_bar_scale *scale) {
    bp_page_pad(page, MARGIN);
    bp_page_cell(page, BP_INK_DIM, label, false, "layer");
    if (scale->columns > 0)
        bp_page_cell(page, BP_INK_DIM, scale->columns + 1, false, " error signal (log)");
    bp_page_cell(page, BP_INK_DIM, PREDICTED_COLUMNS, true, "gain");
    if (r->measured) bp_page_cell(page, BP_INK_DIM, MEASURED_COLUMNS, true, "measured");
    if (r->measured) bp_page_cell(page, BP_INK_DIM, OFF_COLUMNS, true, "off");
    bp_page_end_line(page);
}

static void put_row(bp_page *page, const bp_report_foretold *r, uint32_t i, int label, int digits,
                    const bp_bar_scale *scale) {
    const bp_gain *gain = &r->gains[i];
    const bool first = i == 0; /* its gain leads to the data */
    bp_page_pad(page, MARGIN);
    bp_page_add(page, BP_INK_PLAIN, "%*u ", digits, gain->layer);
    bp_page_cell(page, BP_INK_PLAIN, label - 1 - digits, false,
                 bp_model_layer(r->run.model, gain->layer)->name);
    if (scale->columns > 0) {
        bp_page_put(page, BP_INK_PLAIN, " ");
        bp_bar(page, BP_INK_HINT, scale, gain->error_norm);
    }
    put_number(page, PREDICTED_COLUMNS, first ? (double)NAN : gain->gain, "");
    if (r->measured) {
        const double seen = first ? (double)NAN : r->measured[i].gain;
        bp_measured_gain shown = r->measured[i];
        shown.gain = seen;
        put_measured(page, &shown);
        char off[32] = "–", number[32];
        if (seen > 0 && !isnan(gain->gain))
            snprintf(off, sizeof off, "%s%%",
                     bp_number_text(number, sizeof number, 100 * fabs(gain->gain / seen - 1), 2));
        bp_page_cell(page, isnan(seen) ? BP_INK_DIM : BP_INK_PLAIN, OFF_COLUMNS, true, off);
    }
    bp_page_end_line(page);
}

static void put_table(bp_page *page, const bp_report_foretold *r) {
    uint32_t rows[BP_PICTURE_ROWS];
    int digits;
    if (r->n_gains == 0) return;
    const uint32_t n = bp_picture_rows(rows, r->gains, r->n_gains);
    const int label = label_columns(r, &digits);
    int rest = page->width - MARGIN - PREDICTED_COLUMNS - label - 1;
    if (r->measured) rest -= MEASURED_COLUMNS + OFF_COLUMNS;
    bp_bar_scale scale = bp_bar_scale_of(r->gains, r->n_gains);
    bp_bar_fit(&scale, rest);
    put_head(page, r, label, &scale);
    for (uint32_t i = 0; i < n; i++) put_row(page, r, rows[i], label, digits, &scale);
    if (n == r->n_gains) return;
    bp_page_pad(page, MARGIN);
    bp_page_add(page, BP_INK_DIM, "(%u of %u layers are shown)", n, r->n_gains);
    bp_page_end_line(page);
}

/* --- what it means ------------------------------------------------------------------------------
 */

static void add_scale(bp_text *text, const char *changes, const char *keeps, double layers) {
    if (isnan(layers)) return;
    if (isinf(layers)) {
        bp_text_add(text, "; %s", keeps);
        return;
    }
    bp_text_add(text, "; %s by e in ", changes);
    bp_text_add_number(text, layers, 2);
    bp_text_add(text, " layers");
}

static void put_depth(bp_page *page, const bp_report_foretold *r) {
    const bp_prediction_overview *o = bp_prediction_overview_of(r->prediction);
    char bytes[400];
    bp_text text;
    bp_text_init(&text, bytes, sizeof bytes);
    if (isnan(o->trainable_layers)) return;
    if (isinf(o->trainable_layers)) {
        bp_text_add(&text, "any number of such layers can be trained");
    } else {
        bp_text_add(&text, "about ");
        bp_text_add_number(&text, fmax(1, round(o->trainable_layers)), 3);
        bp_text_add(&text, " such layers can be trained, the network has %u", o->n_gains);
    }
    add_scale(&text, "the square of the error signal changes", "the error signal keeps its size",
              o->depth_backward);
    add_scale(&text, "what sets samples apart falls", "what sets samples apart is kept",
              o->depth_forward);
    put_text(page, "depth:", &text);
}

static void put_critical(bp_page *page, const bp_report_foretold *r) {
    const uint32_t id = bp_prediction_overview_of(r->prediction)->main_layer;
    const bp_layer_prediction *p = bp_prediction_layer(r->prediction, id);
    char bytes[400];
    bp_text text;
    if (!id || !p) return;
    const bp_layer *layer = bp_model_layer(r->run.model, id);
    bp_text_init(&text, bytes, sizeof bytes);
    bp_text_add(&text, "%s layers of this depth pass the error signal on ",
                bp_activation_name(layer->activation));
    if (isnan(p->critical_sigma)) {
        bp_text_add(&text, "with no weights");
        put_text(page, "critical:", &text);
        return;
    }
    bp_text_add(&text, "with weights of std ");
    bp_text_add_number(&text, p->critical_std, 2);
    bp_text_add(&text, ", that is ");
    bp_text_add_number(&text, p->critical_sigma, 3);
    bp_text_add(&text, " / sqrt(fan_in); here it is ");
    bp_text_add_number(&text, p->sigma_w, 3);
    bp_text_add(&text, " / sqrt(fan_in)");
    put_text(page, "critical:", &text);
}

bp_finding bp_foretold_finding(const bp_report_foretold *r, bp_evidence *evidence) {
    *evidence = (bp_evidence){.name = "blamed_layer",
                              .meaning = "",
                              .layer = r->blamed_layer,
                              .value = r->blamed_layer,
                              .measured = true};
    return (bp_finding){.struct_size = (uint32_t)sizeof(bp_finding),
                        .problem = r->problem,
                        .severity = BP_ERROR,
                        .open = true,
                        .title = "",
                        .cause = "",
                        .note = "",
                        .n_evidence = r->blamed_layer ? 1 : 0,
                        .evidence = evidence,
                        .parent = -1};
}

static void put_remedy(bp_page *page, const bp_report_foretold *r) {
    bp_remedy *remedy = NULL;
    bp_evidence evidence;
    const bp_finding finding = bp_foretold_finding(r, &evidence);
    if (bp_remedy_open(&remedy, r->run.model, &finding, NULL, NULL) != BP_OK || !remedy) return;
    put_paragraph(page, "help:", remedy->title);
    if (*remedy->reason) put_paragraph(page, "", remedy->reason);
    const char *edited = NULL;
    if (remedy->n_edits > 0 && r->run.network_text && r->run.edited)
        edited = r->run.edited(r->run.context, remedy->edits, remedy->n_edits);
    if (edited) bp_diff_print(page, BODY, r->run.network_text, edited);
    bp_remedy_close(remedy);
}

static void put_batch(bp_page *page, const bp_report_foretold *r) {
    char bytes[400];
    bp_text text;
    bp_text_init(&text, bytes, sizeof bytes);
    if (r->why_not_measured) {
        bp_text_add(&text, "%s", r->why_not_measured);
    } else {
        bp_text_add(&text, "a batch of %lld samples", (long long)r->n_samples);
        if (r->n_seeds > 1)
            bp_text_add(&text, " under each of %lld seeds, mean ± standard error",
                        (long long)r->n_seeds);
        if (!isnan(r->loss)) {
            bp_text_add(&text, "; loss ");
            bp_text_add_number(&text, r->loss, 3);
        }
    }
    put_text(page, "measured:", &text);
}

static void put_headline(bp_page *page, const bp_report_foretold *r) {
    const bp_prediction_overview *o = bp_prediction_overview_of(r->prediction);
    bp_page_put(page, BP_INK_PLAIN, r->run.name);
    bp_page_put(page, BP_INK_PLAIN, ": ");
    if (r->problem)
        bp_page_add(page, BP_INK_ERROR, "expect[%s]", bp_problem_name(r->problem));
    else
        bp_page_put(page, r->verdict ? BP_INK_NEW : BP_INK_WARNING,
                    r->verdict ? "fine" : "not predicted");
    const char *verdict = r->verdict ? r->verdict : o->verdict;
    bp_page_put(page, BP_INK_BOLD, ": ");
    bp_page_wrap(page, BP_INK_BOLD, MARGIN, verdict, strlen(verdict));
    bp_page_end_line(page);
}

void bp_report_prediction(FILE *out, const bp_report_style *style,
                          const bp_report_foretold *report) {
    const bp_prediction_overview *o = bp_prediction_overview_of(report->prediction);
    bp_page page = bp_page_begin(out, style);
    put_headline(&page, report);
    put_table(&page, report);
    put_batch(&page, report);
    if (*o->not_predicted) put_paragraph(&page, "unknown:", o->not_predicted);
    put_depth(&page, report);
    put_critical(&page, report);
    if (!report->problem) return;
    put_remedy(&page, report);
    bp_page_pad(&page, MARGIN);
    bp_page_put(&page, BP_INK_BOLD, "see:");
    bp_page_pad(&page, BODY);
    bp_page_add(&page, BP_INK_PLAIN, "backprobe explain %s", bp_problem_name(report->problem));
    bp_page_end_line(&page);
}
