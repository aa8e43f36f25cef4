/* SPDX-License-Identifier: Apache-2.0 */
/* Schema backprobe.prediction/1 (docs/prediction.md). Additive only. null is "not predicted", "not
 * measured"; other numbers that are not finite are strings, as in findings. */
#include "report/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void put(bp_json_line *line, const char *key, double value) {
    if (isnan(value))
        bp_json_line_json(line, key, "null");
    else
        bp_json_line_number(line, key, value);
}

static void put_gain(bp_json_line *line, const bp_gain *gain) {
    put(line, "error_norm", gain->error_norm);
    put(line, "gain", gain->gain);
    put(line, "gain_activation", gain->activation);
    put(line, "gain_norm", gain->norm);
    put(line, "gain_weight", gain->weight);
    put(line, "gain_branch", gain->branch);
}

static void put_layer(bp_json_line *line, const bp_report_foretold *r, uint32_t id,
                      const bp_gain *gain, const bp_measured_gain *measured) {
    const bp_layer *layer = bp_model_layer(r->run.model, id);
    const bp_layer_prediction *p = bp_prediction_layer(r->prediction, id);
    bp_json_line_integer(line, "layer", id);
    bp_json_line_text(line, "name", layer->name);
    bp_json_line_text(line, "kind", bp_layer_kind_name(layer->kind));
    bp_json_line_text(line, "activation", bp_activation_name(layer->activation));
    put(line, "q", p->q);
    put(line, "chi", p->chi);
    put(line, "sigma_w", p->sigma_w);
    put(line, "critical_sigma", p->critical_sigma);
    put(line, "critical_std", p->critical_std);
    put(line, "activation_rms", p->activation_rms);
    put(line, "mean", p->mean);
    put(line, "correlation", p->correlation);
    put(line, "variation", p->variation);
    put(line, "forward", p->forward);
    bp_json_line_flag(line, "cut", gain != NULL);
    if (gain) put_gain(line, gain);
    if (!measured) return;
    put(line, "measured_gain", measured->gain);
    put(line, "standard_error", measured->standard_error);
    put(line, "measured_error_norm", measured->error_norm);
}

/* An object of its own in front of `out`, without the end of its line. */
static void put_layers(FILE *out, const bp_report_foretold *r) {
    uint32_t k = 0;
    fputc('[', out);
    for (uint32_t id = 1; id <= bp_model_n_layers(r->run.model); id++) {
        char *text = NULL;
        size_t n_bytes = 0;
        FILE *memory = open_memstream(&text, &n_bytes);
        if (!memory) return;
        const bool cut = k < r->n_gains && r->gains[k].layer == id;
        bp_json_line line = {memory, false};
        put_layer(&line, r, id, cut ? &r->gains[k] : NULL,
                  cut && r->measured ? &r->measured[k] : NULL);
        k += cut;
        bp_json_line_end(&line);
        fclose(memory);
        fprintf(out, "%s%.*s", id > 1 ? "," : "", (int)strcspn(text, "\n"), text);
        free(text);
    }
    fputc(']', out);
}

static void put_edits(FILE *out, const bp_remedy *remedy) {
    fputc('[', out);
    for (uint32_t i = 0; i < remedy->n_edits; i++) {
        char *text = NULL;
        size_t n_bytes = 0;
        FILE *memory = open_memstream(&text, &n_bytes);
        if (!memory) return;
        bp_json_line line = {memory, false};
        bp_json_line_text(&line, "key", remedy->edits[i].key);
        bp_json_line_text(&line, "value", remedy->edits[i].value);
        bp_json_line_end(&line);
        fclose(memory);
        fprintf(out, "%s%.*s", i > 0 ? "," : "", (int)strcspn(text, "\n"), text);
        free(text);
    }
    fputc(']', out);
}

/* A member whose value somebody writes. */
static void put_written(bp_json_line *line, const char *key,
                        void (*write)(FILE *out, const void *what), const void *what) {
    char *text = NULL;
    size_t n_bytes = 0;
    FILE *memory = open_memstream(&text, &n_bytes);
    if (!memory) return;
    write(memory, what);
    fclose(memory);
    bp_json_line_json(line, key, text);
    free(text);
}

static void write_layers(FILE *out, const void *what) {
    put_layers(out, what);
}

static void write_edits(FILE *out, const void *what) {
    put_edits(out, what);
}

static void put_remedy(bp_json_line *line, const bp_report_foretold *r) {
    bp_remedy *remedy = NULL;
    bp_evidence evidence;
    const bp_finding finding = bp_foretold_finding(r, &evidence);
    if (!finding.problem || bp_remedy_open(&remedy, r->run.model, &finding, NULL, NULL) != BP_OK ||
        !remedy)
        return;
    bp_json_line_text(line, "remedy", remedy->title);
    bp_json_line_text(line, "reason", remedy->reason);
    put_written(line, "edits", write_edits, remedy);
    bp_remedy_close(remedy);
}

void bp_report_prediction_json(FILE *out, const bp_report_foretold *r) {
    const bp_prediction_overview *o = bp_prediction_overview_of(r->prediction);
    bp_json_line line = {out, false};
    bp_json_line_text(&line, "schema", "backprobe.prediction/1");
    bp_json_line_text(&line, "network", r->run.name);
    bp_json_line_text(&line, "verdict", r->verdict ? r->verdict : o->verdict);
    bp_json_line_text(&line, "verdict_by",
                      o->n_gains   ? "theory"
                      : r->verdict ? "batch"
                                   : "nothing");
    if (r->problem)
        bp_json_line_text(&line, "problem", bp_problem_name(r->problem));
    else
        bp_json_line_json(&line, "problem", "null");
    bp_json_line_text(&line, "not_predicted", o->not_predicted);
    put(&line, "mean_gain", o->mean_gain);
    put(&line, "log_gain", o->log_gain);
    put(&line, "span_log", o->span_log);
    put(&line, "depth_backward", o->depth_backward);
    put(&line, "depth_forward", o->depth_forward);
    put(&line, "trainable_layers", o->trainable_layers);
    put(&line, "fluctuation", o->fluctuation);
    bp_json_line_integer(&line, "main_layer", o->main_layer);
    bp_json_line_integer(&line, "blamed_layer", r->blamed_layer);
    bp_json_line_integer(&line, "seeds", r->measured ? r->n_seeds : 0);
    bp_json_line_integer(&line, "samples", r->n_samples);
    put(&line, "loss", r->loss);
    put_remedy(&line, r);
    put_written(&line, "layers", write_layers, r);
    bp_json_line_end(&line);
}
