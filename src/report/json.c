/* SPDX-License-Identifier: Apache-2.0 */
/* Schema backprobe.findings/1 (docs/findings-json.md, docs/findings.schema.json). Additive only. A
 * non-finite number is the string "NaN", "Infinity" or "-Infinity"; null is "not measured". */
#include "report/json.h"

#include <stdlib.h>
#include <string.h>

#define SCHEMA "backprobe.findings/1"
#define LINE_SCHEMA "backprobe.finding/1"
#define MAX_DIFF_LINES 100u

static json_object *layer_of(bp_json_builder *b, const bp_layer *layer) {
    json_object *object = bp_json_checked(b, json_object_new_object());
    bp_json_add(b, object, "id", bp_json_integer(b, layer->id));
    bp_json_add(b, object, "name", bp_json_text(b, layer->name));
    bp_json_add(b, object, "kind", bp_json_text(b, bp_layer_kind_name(layer->kind)));
    bp_json_add(b, object, "activation", bp_json_text(b, bp_activation_name(layer->activation)));
    bp_json_add(b, object, "norm", bp_json_text(b, bp_norm_name(layer->norm)));
    bp_json_add(b, object, "frozen", bp_json_boolean(b, layer->frozen));
    bp_json_add(b, object, "fan_in", bp_json_integer(b, layer->fan_in));
    bp_json_add(b, object, "fan_out", bp_json_integer(b, layer->fan_out));
    bp_json_add(b, object, "line", layer->line > 0 ? bp_json_integer(b, layer->line) : NULL);
    return object;
}

static json_object *network_of(bp_json_builder *b, const bp_model *model) {
    json_object *network = bp_json_checked(b, json_object_new_object());
    json_object *layers = bp_json_checked(b, json_object_new_array());
    for (uint32_t id = 1; id <= bp_model_n_layers(model); id++)
        bp_json_append(b, layers, layer_of(b, bp_model_layer(model, id)));
    bp_json_add(b, network, "origin", bp_json_text(b, bp_model_origin(model)));
    bp_json_add(b, network, "layers", layers);
    return network;
}

static json_object *steps_of(bp_json_builder *b, const bp_diagnosis_overview *overview) {
    json_object *steps = bp_json_checked(b, json_object_new_object());
    bool any = overview->n_records > 0;
    bp_json_add(b, steps, "first", any ? bp_json_integer(b, overview->first_step) : NULL);
    bp_json_add(b, steps, "last", any ? bp_json_integer(b, overview->last_step) : NULL);
    bp_json_add(b, steps, "records", bp_json_count(b, overview->n_records));
    return steps;
}

static json_object *loss_of(bp_json_builder *b, const bp_diagnosis_overview *overview,
                            const bp_recipe *recipe) {
    json_object *loss = bp_json_checked(b, json_object_new_object());
    bool any = overview->n_records > 0;
    bp_json_add(b, loss, "first", any ? bp_json_number(b, overview->first_loss) : NULL);
    bp_json_add(b, loss, "last", any ? bp_json_number(b, overview->last_loss) : NULL);
    bp_json_add(b, loss, "best", any ? bp_json_number(b, overview->best_loss) : NULL);
    bp_json_add(b, loss, "trivial", recipe ? bp_json_measured(b, recipe->trivial_loss) : NULL);
    return loss;
}

/* What silence does not say. */
static json_object *not_judged_of(bp_json_builder *b, const bp_diagnosis *diagnosis) {
    json_object *array = bp_json_checked(b, json_object_new_array());
    for (int problem = 1; problem < BP_N_PROBLEMS; problem++) {
        const char *missing = bp_diagnosis_unjudged(diagnosis, (bp_problem)problem);
        if (!missing) continue;
        json_object *object = bp_json_checked(b, json_object_new_object());
        bp_json_add(b, object, "problem", bp_json_text(b, bp_problem_name((bp_problem)problem)));
        bp_json_add(b, object, "missing", bp_json_text(b, missing));
        bp_json_append(b, array, object);
    }
    return array;
}

static json_object *damage_of(bp_json_builder *b, const bp_runlog_damage *damage) {
    if (!damage) return NULL;
    json_object *object = bp_json_checked(b, json_object_new_object());
    bool any = damage->first.status != BP_OK;
    bp_json_add(b, object, "lost_records", bp_json_count(b, damage->lost_records));
    bp_json_add(b, object, "damaged_places", bp_json_count(b, damage->damaged_places));
    bp_json_add(b, object, "lost_bytes", bp_json_count(b, damage->lost_bytes));
    bp_json_add(b, object, "unknown_records", bp_json_count(b, damage->unknown));
    bp_json_add(b, object, "torn_tail", bp_json_boolean(b, damage->torn_tail));
    bp_json_add(b, object, "first", any ? bp_json_text(b, damage->first.text) : NULL);
    return object;
}

static json_object *watching_of(bp_json_builder *b, const bp_event_watch *watching) {
    if (!watching) return NULL;
    json_object *object = bp_json_checked(b, json_object_new_object());
    const bool governed = watching->mode == BP_WATCH_BUDGET;
    bp_json_add(b, object, "every", governed ? NULL : bp_json_count(b, watching->every));
    bp_json_add(b, object, "budget_fraction",
                governed ? bp_json_number(b, watching->budget_fraction) : NULL);
    bp_json_add(b, object, "full_steps", bp_json_count(b, watching->full_steps));
    bp_json_add(b, object, "light_steps", bp_json_count(b, watching->light_steps));
    bp_json_add(b, object, "watch_seconds", bp_json_number(b, watching->watch_seconds));
    bp_json_add(b, object, "run_seconds", bp_json_number(b, watching->run_seconds));
    return object;
}

const char *bp_run_end_name(bp_run_end end) {
    static const char *const names[] = {"open", "finished", "interrupted", "stopped"};
    return (unsigned)end < sizeof names / sizeof *names ? names[end] : "open";
}

static json_object *ranks_of(bp_json_builder *b, const bp_report_run *run) {
    if (run->n_ranks < 2) return NULL;
    json_object *array = bp_json_checked(b, json_object_new_array());
    for (uint32_t i = 0; i < run->n_ranks; i++) {
        const bp_runlog_rank *rank = &run->ranks[i];
        const bool any = rank->first_step >= 0, left_out = rank->error.status != BP_OK;
        json_object *object = bp_json_checked(b, json_object_new_object());
        bp_json_add(b, object, "rank", bp_json_integer(b, rank->rank));
        bp_json_add(b, object, "first", any ? bp_json_integer(b, rank->first_step) : NULL);
        bp_json_add(b, object, "last", any ? bp_json_integer(b, rank->last_step) : NULL);
        bp_json_add(b, object, "records", bp_json_count(b, rank->n_steps));
        bp_json_add(b, object, "missing", bp_json_count(b, rank->missing_steps));
        bp_json_add(b, object, "end", bp_json_text(b, bp_run_end_name(rank->end)));
        bp_json_add(b, object, "error", left_out ? bp_json_text(b, rank->error.text) : NULL);
        bp_json_append(b, array, object);
    }
    return array;
}

static json_object *layers_of(bp_json_builder *b, const bp_model *model,
                              const bp_finding *finding) {
    json_object *layers = bp_json_checked(b, json_object_new_array());
    for (uint32_t i = 0; i < finding->n_layers; i++) {
        const bp_layer *layer = bp_model_layer(model, finding->layers[i]);
        json_object *object = bp_json_checked(b, json_object_new_object());
        bp_json_add(b, object, "id", bp_json_integer(b, finding->layers[i]));
        bp_json_add(b, object, "name", layer ? bp_json_text(b, layer->name) : NULL);
        bp_json_append(b, layers, object);
    }
    return layers;
}

static json_object *evidence_of(bp_json_builder *b, const bp_finding *finding) {
    json_object *array = bp_json_checked(b, json_object_new_array());
    for (uint32_t i = 0; i < finding->n_evidence; i++) {
        const bp_evidence *evidence = &finding->evidence[i];
        json_object *object = bp_json_checked(b, json_object_new_object());
        bp_json_add(b, object, "name", bp_json_text(b, evidence->name));
        bp_json_add(b, object, "meaning", bp_json_text(b, evidence->meaning));
        bp_json_add(b, object, "layer", bp_json_integer(b, evidence->layer));
        bp_json_add(b, object, "step", bp_json_integer(b, evidence->step));
        bp_json_add(b, object, "value",
                    evidence->measured ? bp_json_number(b, evidence->value) : NULL);
        bp_json_append(b, array, object);
    }
    return array;
}

static json_object *gains_of(bp_json_builder *b, const bp_finding *finding) {
    json_object *array = bp_json_checked(b, json_object_new_array());
    for (uint32_t i = 0; i < finding->n_gains; i++) {
        const bp_gain *gain = &finding->gains[i];
        json_object *object = bp_json_checked(b, json_object_new_object());
        bp_json_add(b, object, "layer", bp_json_integer(b, gain->layer));
        bp_json_add(b, object, "error_norm", bp_json_measured(b, gain->error_norm));
        bp_json_add(b, object, "share", bp_json_measured(b, gain->share));
        bp_json_add(b, object, "gain", bp_json_measured(b, gain->gain));
        bp_json_add(b, object, "activation", bp_json_measured(b, gain->activation));
        bp_json_add(b, object, "norm", bp_json_measured(b, gain->norm));
        bp_json_add(b, object, "weight", bp_json_measured(b, gain->weight));
        bp_json_add(b, object, "alignment", bp_json_measured(b, gain->alignment));
        bp_json_add(b, object, "branch", bp_json_measured(b, gain->branch));
        bp_json_add(b, object, "contribution", bp_json_measured(b, gain->contribution));
        bp_json_append(b, array, object);
    }
    return array;
}

static json_object *symptoms_of(bp_json_builder *b, const bp_finding *finding) {
    json_object *array = bp_json_checked(b, json_object_new_array());
    for (uint32_t i = 0; i < finding->n_symptoms; i++) {
        const bp_symptom *symptom = &finding->symptoms[i];
        json_object *object = bp_json_checked(b, json_object_new_object());
        bp_json_add(b, object, "exploding", bp_json_text(b, symptom->exploding));
        bp_json_add(b, object, "vanishing", bp_json_text(b, symptom->vanishing));
        bp_json_add(b, object, "measured", bp_json_text(b, symptom->measured));
        bp_json_add(b, object, "speaks_for_exploding",
                    bp_json_boolean(b, symptom->speaks_for_exploding));
        bp_json_add(b, object, "speaks_for_vanishing",
                    bp_json_boolean(b, symptom->speaks_for_vanishing));
        bp_json_append(b, array, object);
    }
    return array;
}

/* Lines of a program as one text; null where the remedy is one of a network file. */
static json_object *code_of(bp_json_builder *b, const bp_remedy *remedy) {
    if (remedy->n_lines == 0) return NULL;
    char *text = NULL;
    size_t n_bytes = 0;
    FILE *stream = open_memstream(&text, &n_bytes);
    if (!stream) return bp_json_checked(b, NULL);
    for (uint32_t i = 0; i < remedy->n_lines; i++) fprintf(stream, "%s\n", remedy->lines[i]);
    json_object *code = fclose(stream) == 0 ? bp_json_text(b, text) : bp_json_checked(b, NULL);
    free(text);
    return code;
}

static json_object *diff_line_of(bp_json_builder *b, const bp_diff_line *line) {
    json_object *object = bp_json_checked(b, json_object_new_object());
    char *text = strndup(line->text, line->n_bytes);
    bp_json_add(b, object, "added", bp_json_boolean(b, line->added));
    bp_json_add(b, object, "line", bp_json_integer(b, line->number));
    bp_json_add(b, object, "text", text ? bp_json_text(b, text) : bp_json_checked(b, NULL));
    free(text);
    return object;
}

/* What becomes of the lines of the network file; null where there is none, or where the edits do
 * not fit it, or change more of it than anybody would read. */
static json_object *diff_of(bp_json_builder *b, const bp_report_run *run, const bp_remedy *remedy) {
    if (!run->network_text || !run->edited || remedy->n_edits == 0) return NULL;
    const char *edited = run->edited(run->context, remedy->edits, remedy->n_edits);
    if (!edited) return NULL;
    bp_diff_line lines[MAX_DIFF_LINES];
    const uint32_t n = bp_diff_lines(run->network_text, edited, lines, MAX_DIFF_LINES);
    if (n == 0 || n > MAX_DIFF_LINES) return NULL;
    json_object *array = bp_json_checked(b, json_object_new_array());
    for (uint32_t i = 0; i < n; i++) bp_json_append(b, array, diff_line_of(b, &lines[i]));
    return array;
}

static json_object *remedy_of(bp_json_builder *b, const bp_report_run *run,
                              const bp_finding *finding) {
    bp_remedy *remedy = NULL;
    if (finding->parent >= 0) return NULL; /* mended with its cause */
    if (bp_remedy_open(&remedy, run->model, finding, NULL, NULL) != BP_OK || !remedy) return NULL;
    json_object *object = bp_json_checked(b, json_object_new_object());
    json_object *edits = bp_json_checked(b, json_object_new_array());
    for (uint32_t i = 0; i < remedy->n_edits; i++) {
        json_object *edit = bp_json_checked(b, json_object_new_object());
        bp_json_add(b, edit, "key", bp_json_text(b, remedy->edits[i].key));
        bp_json_add(b, edit, "value", bp_json_text(b, remedy->edits[i].value));
        bp_json_append(b, edits, edit);
    }
    bp_json_add(b, object, "title", bp_json_text(b, remedy->title));
    bp_json_add(b, object, "reason", bp_json_text(b, remedy->reason));
    bp_json_add(b, object, "edits", edits);
    bp_json_add(b, object, "code", code_of(b, remedy));
    bp_json_add(b, object, "diff", diff_of(b, run, remedy));
    bp_remedy_close(remedy);
    return object;
}

/* Everything but the consequences. */
json_object *bp_json_finding(bp_json_builder *b, const bp_report_run *run,
                             const bp_finding *finding) {
    const bp_model *model = run->model;
    json_object *object = bp_json_checked(b, json_object_new_object());
    bp_json_add(b, object, "problem", bp_json_text(b, bp_problem_name(finding->problem)));
    bp_json_add(b, object, "severity", bp_json_text(b, bp_severity_name(finding->severity)));
    bp_json_add(b, object, "since_step", bp_json_integer(b, finding->since_step));
    bp_json_add(b, object, "since_earliest", bp_json_integer(b, finding->since_earliest));
    bp_json_add(b, object, "since_latest", bp_json_integer(b, finding->since_latest));
    bp_json_add(b, object, "last_step", bp_json_integer(b, finding->last_step));
    bp_json_add(b, object, "open", bp_json_boolean(b, finding->open));
    bp_json_add(b, object, "layers", layers_of(b, model, finding));
    bp_json_add(b, object, "title", bp_json_text(b, finding->title));
    bp_json_add(b, object, "cause", bp_json_text(b, finding->cause));
    bp_json_add(b, object, "note", bp_json_text(b, finding->note ? finding->note : ""));
    bp_json_add(b, object, "evidence", evidence_of(b, finding));
    bp_json_add(b, object, "gains", gains_of(b, finding));
    bp_json_add(b, object, "symptoms", symptoms_of(b, finding));
    bp_json_add(b, object, "remedy", remedy_of(b, run, finding));
    return object;
}

/* The findings whose parent is `parent`, each with its own consequences. A parent comes before its
 * consequences, so this ends. */
static json_object *findings_of(bp_json_builder *b, const bp_report_run *run,
                                const bp_findings *findings, int32_t parent) {
    json_object *array = bp_json_checked(b, json_object_new_array());
    for (uint32_t i = (uint32_t)(parent + 1); i < findings->n; i++) {
        const bp_finding *finding = &findings->list[i];
        if (finding->parent != parent) continue;
        json_object *object = bp_json_finding(b, run, finding);
        bp_json_add(b, object, "consequences", findings_of(b, run, findings, (int32_t)i));
        bp_json_append(b, array, object);
    }
    return array;
}

json_object *bp_json_findings(bp_json_builder *b, const bp_report_run *run) {
    bp_diagnosis_overview overview;
    bp_diagnosis_overview_of(run->diagnosis, &overview);
    bp_findings findings;
    bp_findings_choose(&findings, run->diagnosis, run->model, run->choice);
    json_object *document = bp_json_checked(b, json_object_new_object());
    bp_json_add(b, document, "schema", bp_json_text(b, SCHEMA));
    bp_json_add(b, document, "version", bp_json_text(b, bp_version()));
    bp_json_add(b, document, "run", bp_json_text(b, run->name));
    bp_json_add(b, document, "network", network_of(b, run->model));
    bp_json_add(b, document, "end", bp_json_text(b, bp_run_end_name(run->end)));
    bp_json_add(b, document, "steps", steps_of(b, &overview));
    bp_json_add(b, document, "loss", loss_of(b, &overview, bp_model_recipe(run->model)));
    bp_json_add(b, document, "backward_span_log", bp_json_measured(b, overview.backward_span_log));
    bp_json_add(b, document, "not_observed",
                bp_json_text(b, overview.not_observed ? overview.not_observed : ""));
    bp_json_add(b, document, "not_judged", not_judged_of(b, run->diagnosis));
    bp_json_add(b, document, "damage", damage_of(b, run->damage));
    bp_json_add(b, document, "watching", watching_of(b, run->watching));
    bp_json_add(b, document, "ranks", ranks_of(b, run));
    bp_json_add(b, document, "ignored", bp_json_count(b, findings.n_ignored));
    bp_json_add(b, document, "findings", findings_of(b, run, &findings, -1));
    return document;
}

bp_status bp_report_json(char **text, const bp_report_run *run, bool pretty, bp_error *error) {
    bp_json_builder b = {false};
    return bp_json_finish(&b, bp_json_findings(&b, run), pretty, text, error);
}

bp_status bp_report_finding_json(char **text, const bp_report_run *run, const bp_finding *finding,
                                 bp_error *error) {
    bp_json_builder b = {false};
    return bp_json_finish(&b, bp_json_finding(&b, run, finding), false, text, error);
}

static bp_status put_line(FILE *out, const bp_report_run *run, const bp_findings *findings,
                          uint32_t index, bp_error *error) {
    bp_json_builder b = {false};
    char *text = NULL;
    const int32_t parent = findings->list[index].parent;
    json_object *line = bp_json_checked(&b, json_object_new_object());
    bp_json_add(&b, line, "schema", bp_json_text(&b, LINE_SCHEMA));
    bp_json_add(&b, line, "run", bp_json_text(&b, run->name));
    bp_json_add(&b, line, "index", bp_json_integer(&b, index));
    bp_json_add(&b, line, "parent", parent >= 0 ? bp_json_integer(&b, parent) : NULL);
    bp_json_add(&b, line, "finding", bp_json_finding(&b, run, &findings->list[index]));
    const bp_status status = bp_json_finish(&b, line, false, &text, error);
    if (status == BP_OK) fputs(text, out);
    free(text);
    return status;
}

bp_status bp_report_jsonl(FILE *out, const bp_report_run *run, bp_error *error) {
    bp_findings findings;
    bp_findings_choose(&findings, run->diagnosis, run->model, run->choice);
    bp_status status = BP_OK;
    for (uint32_t i = 0; status == BP_OK && i < findings.n; i++)
        status = put_line(out, run, &findings, i, error);
    return status;
}
