/* SPDX-License-Identifier: Apache-2.0 */
/* Schema backprobe.findings/1 (docs/findings-json.md, docs/findings.schema.json). Additive only. A
 * non-finite number is the string "NaN", "Infinity" or "-Infinity"; null is "not measured". */
#include "report/report.h"

#include <json-c/json.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SCHEMA "backprobe.findings/1"

/* json-c answers a failed allocation with NULL, which is also JSON's null: told apart here. */
typedef struct builder {
    bool failed;
} builder;

static json_object *checked(builder *b, json_object *value) {
    if (!value) b->failed = true;
    return value;
}

static void add(builder *b, json_object *object, const char *key, json_object *value) {
    if (object && json_object_object_add(object, key, value) == 0) return;
    b->failed = true;
    json_object_put(value);
}

static void append(builder *b, json_object *array, json_object *value) {
    if (array && value && json_object_array_add(array, value) == 0) return;
    b->failed = true;
    json_object_put(value);
}

/* Names come from files: json-c would pass invalid UTF-8 on, and JSON must be UTF-8. */
static json_object *text_of(builder *b, const char *text) {
    if (!text) return NULL;
    size_t length = strlen(text), n = 0;
    char *clean = malloc(length * 3 + 1); /* a bad byte becomes U+FFFD: 3 bytes */
    if (!clean) return checked(b, NULL);
    while (length > 0) {
        bp_glyph glyph = bp_glyph_next(text, length);
        const char *bytes = glyph.escaped ? text : glyph.bytes; /* the serialiser escapes these */
        size_t n_bytes = glyph.escaped ? glyph.n_read : strlen(glyph.bytes);
        memcpy(clean + n, bytes, n_bytes);
        n += n_bytes;
        text += glyph.n_read;
        length -= glyph.n_read;
    }
    clean[n] = '\0';
    json_object *value = json_object_new_string_len(clean, (int)n);
    free(clean);
    return checked(b, value);
}

static json_object *integer_of(builder *b, int64_t value) {
    return checked(b, json_object_new_int64(value));
}

static json_object *count_of(builder *b, uint64_t value) {
    return checked(b, json_object_new_uint64(value));
}

static json_object *boolean_of(builder *b, bool value) {
    return checked(b, json_object_new_boolean(value));
}

/* The shortest text that reads back as the same double, whatever the locale. */
static json_object *number_of(builder *b, double value) {
    char text[40];
    bp_number_exact(text, sizeof text, value);
    if (!isfinite(value)) return text_of(b, text);
    return checked(b, json_object_new_double_s(value, text));
}

/* Where NaN means that it was not measured. */
static json_object *measured_of(builder *b, double value) {
    return isnan(value) ? NULL : number_of(b, value);
}

static json_object *layer_of(builder *b, const bp_layer *layer) {
    json_object *object = checked(b, json_object_new_object());
    add(b, object, "id", integer_of(b, layer->id));
    add(b, object, "name", text_of(b, layer->name));
    add(b, object, "kind", text_of(b, bp_layer_kind_name(layer->kind)));
    add(b, object, "activation", text_of(b, bp_activation_name(layer->activation)));
    add(b, object, "norm", text_of(b, bp_norm_name(layer->norm)));
    add(b, object, "frozen", boolean_of(b, layer->frozen));
    add(b, object, "fan_in", integer_of(b, layer->fan_in));
    add(b, object, "fan_out", integer_of(b, layer->fan_out));
    add(b, object, "line", layer->line > 0 ? integer_of(b, layer->line) : NULL);
    return object;
}

static json_object *network_of(builder *b, const bp_model *model) {
    json_object *network = checked(b, json_object_new_object());
    json_object *layers = checked(b, json_object_new_array());
    for (uint32_t id = 1; id <= bp_model_n_layers(model); id++)
        append(b, layers, layer_of(b, bp_model_layer(model, id)));
    add(b, network, "origin", text_of(b, bp_model_origin(model)));
    add(b, network, "layers", layers);
    return network;
}

static json_object *steps_of(builder *b, const bp_diagnosis_overview *overview) {
    json_object *steps = checked(b, json_object_new_object());
    bool any = overview->n_records > 0;
    add(b, steps, "first", any ? integer_of(b, overview->first_step) : NULL);
    add(b, steps, "last", any ? integer_of(b, overview->last_step) : NULL);
    add(b, steps, "records", count_of(b, overview->n_records));
    return steps;
}

static json_object *loss_of(builder *b, const bp_diagnosis_overview *overview,
                            const bp_recipe *recipe) {
    json_object *loss = checked(b, json_object_new_object());
    bool any = overview->n_records > 0;
    add(b, loss, "first", any ? number_of(b, overview->first_loss) : NULL);
    add(b, loss, "last", any ? number_of(b, overview->last_loss) : NULL);
    add(b, loss, "best", any ? number_of(b, overview->best_loss) : NULL);
    add(b, loss, "trivial", recipe ? measured_of(b, recipe->trivial_loss) : NULL);
    return loss;
}

static json_object *damage_of(builder *b, const bp_runlog_damage *damage) {
    if (!damage) return NULL;
    json_object *object = checked(b, json_object_new_object());
    bool any = damage->first.status != BP_OK;
    add(b, object, "lost_records", count_of(b, damage->lost_records));
    add(b, object, "damaged_places", count_of(b, damage->damaged_places));
    add(b, object, "lost_bytes", count_of(b, damage->lost_bytes));
    add(b, object, "unknown_records", count_of(b, damage->unknown));
    add(b, object, "torn_tail", boolean_of(b, damage->torn_tail));
    add(b, object, "first", any ? text_of(b, damage->first.text) : NULL);
    return object;
}

static json_object *watching_of(builder *b, const bp_event_watch *watching) {
    if (!watching) return NULL;
    json_object *object = checked(b, json_object_new_object());
    const bool governed = watching->mode == BP_WATCH_BUDGET;
    add(b, object, "every", governed ? NULL : count_of(b, watching->every));
    add(b, object, "budget_fraction", governed ? number_of(b, watching->budget_fraction) : NULL);
    add(b, object, "full_steps", count_of(b, watching->full_steps));
    add(b, object, "light_steps", count_of(b, watching->light_steps));
    add(b, object, "watch_seconds", number_of(b, watching->watch_seconds));
    add(b, object, "run_seconds", number_of(b, watching->run_seconds));
    return object;
}

static const char *end_name(bp_run_end end) {
    static const char *const names[] = {"open", "finished", "interrupted", "stopped"};
    return (unsigned)end < sizeof names / sizeof *names ? names[end] : "open";
}

static json_object *ranks_of(builder *b, const bp_report_run *run) {
    if (run->n_ranks < 2) return NULL;
    json_object *array = checked(b, json_object_new_array());
    for (uint32_t i = 0; i < run->n_ranks; i++) {
        const bp_runlog_rank *rank = &run->ranks[i];
        const bool any = rank->first_step >= 0, left_out = rank->error.status != BP_OK;
        json_object *object = checked(b, json_object_new_object());
        add(b, object, "rank", integer_of(b, rank->rank));
        add(b, object, "first", any ? integer_of(b, rank->first_step) : NULL);
        add(b, object, "last", any ? integer_of(b, rank->last_step) : NULL);
        add(b, object, "records", count_of(b, rank->n_steps));
        add(b, object, "missing", count_of(b, rank->missing_steps));
        add(b, object, "end", text_of(b, end_name(rank->end)));
        add(b, object, "error", left_out ? text_of(b, rank->error.text) : NULL);
        append(b, array, object);
    }
    return array;
}

static json_object *layers_of(builder *b, const bp_model *model, const bp_finding *finding) {
    json_object *layers = checked(b, json_object_new_array());
    for (uint32_t i = 0; i < finding->n_layers; i++) {
        const bp_layer *layer = bp_model_layer(model, finding->layers[i]);
        json_object *object = checked(b, json_object_new_object());
        add(b, object, "id", integer_of(b, finding->layers[i]));
        add(b, object, "name", layer ? text_of(b, layer->name) : NULL);
        append(b, layers, object);
    }
    return layers;
}

static json_object *evidence_of(builder *b, const bp_finding *finding) {
    json_object *array = checked(b, json_object_new_array());
    for (uint32_t i = 0; i < finding->n_evidence; i++) {
        const bp_evidence *evidence = &finding->evidence[i];
        json_object *object = checked(b, json_object_new_object());
        add(b, object, "name", text_of(b, evidence->name));
        add(b, object, "meaning", text_of(b, evidence->meaning));
        add(b, object, "layer", integer_of(b, evidence->layer));
        add(b, object, "step", integer_of(b, evidence->step));
        add(b, object, "value", evidence->measured ? number_of(b, evidence->value) : NULL);
        append(b, array, object);
    }
    return array;
}

static json_object *gains_of(builder *b, const bp_finding *finding) {
    json_object *array = checked(b, json_object_new_array());
    for (uint32_t i = 0; i < finding->n_gains; i++) {
        const bp_gain *gain = &finding->gains[i];
        json_object *object = checked(b, json_object_new_object());
        add(b, object, "layer", integer_of(b, gain->layer));
        add(b, object, "error_norm", measured_of(b, gain->error_norm));
        add(b, object, "share", measured_of(b, gain->share));
        add(b, object, "gain", measured_of(b, gain->gain));
        add(b, object, "activation", measured_of(b, gain->activation));
        add(b, object, "norm", measured_of(b, gain->norm));
        add(b, object, "weight", measured_of(b, gain->weight));
        add(b, object, "alignment", measured_of(b, gain->alignment));
        add(b, object, "branch", measured_of(b, gain->branch));
        add(b, object, "contribution", measured_of(b, gain->contribution));
        append(b, array, object);
    }
    return array;
}

static json_object *symptoms_of(builder *b, const bp_finding *finding) {
    json_object *array = checked(b, json_object_new_array());
    for (uint32_t i = 0; i < finding->n_symptoms; i++) {
        const bp_symptom *symptom = &finding->symptoms[i];
        json_object *object = checked(b, json_object_new_object());
        add(b, object, "exploding", text_of(b, symptom->exploding));
        add(b, object, "vanishing", text_of(b, symptom->vanishing));
        add(b, object, "measured", text_of(b, symptom->measured));
        add(b, object, "speaks_for_exploding", boolean_of(b, symptom->speaks_for_exploding));
        add(b, object, "speaks_for_vanishing", boolean_of(b, symptom->speaks_for_vanishing));
        append(b, array, object);
    }
    return array;
}

/* Lines of a program as one text; null where the remedy is one of a network file. */
static json_object *code_of(builder *b, const bp_remedy *remedy) {
    if (remedy->n_lines == 0) return NULL;
    char *text = NULL;
    size_t n_bytes = 0;
    FILE *stream = open_memstream(&text, &n_bytes);
    if (!stream) return checked(b, NULL);
    for (uint32_t i = 0; i < remedy->n_lines; i++) fprintf(stream, "%s\n", remedy->lines[i]);
    json_object *code = fclose(stream) == 0 ? text_of(b, text) : checked(b, NULL);
    free(text);
    return code;
}

static json_object *remedy_of(builder *b, const bp_model *model, const bp_finding *finding) {
    bp_remedy *remedy = NULL;
    if (finding->parent >= 0) return NULL; /* mended with its cause */
    if (bp_remedy_open(&remedy, model, finding, NULL, NULL) != BP_OK || !remedy) return NULL;
    json_object *object = checked(b, json_object_new_object());
    json_object *edits = checked(b, json_object_new_array());
    for (uint32_t i = 0; i < remedy->n_edits; i++) {
        json_object *edit = checked(b, json_object_new_object());
        add(b, edit, "key", text_of(b, remedy->edits[i].key));
        add(b, edit, "value", text_of(b, remedy->edits[i].value));
        append(b, edits, edit);
    }
    add(b, object, "title", text_of(b, remedy->title));
    add(b, object, "reason", text_of(b, remedy->reason));
    add(b, object, "edits", edits);
    add(b, object, "code", code_of(b, remedy));
    bp_remedy_close(remedy);
    return object;
}

/* Everything but the consequences. */
static json_object *finding_of(builder *b, const bp_model *model, const bp_finding *finding) {
    json_object *object = checked(b, json_object_new_object());
    add(b, object, "problem", text_of(b, bp_problem_name(finding->problem)));
    add(b, object, "severity", text_of(b, bp_severity_name(finding->severity)));
    add(b, object, "since_step", integer_of(b, finding->since_step));
    add(b, object, "since_earliest", integer_of(b, finding->since_earliest));
    add(b, object, "since_latest", integer_of(b, finding->since_latest));
    add(b, object, "last_step", integer_of(b, finding->last_step));
    add(b, object, "open", boolean_of(b, finding->open));
    add(b, object, "layers", layers_of(b, model, finding));
    add(b, object, "title", text_of(b, finding->title));
    add(b, object, "cause", text_of(b, finding->cause));
    add(b, object, "note", text_of(b, finding->note ? finding->note : ""));
    add(b, object, "evidence", evidence_of(b, finding));
    add(b, object, "gains", gains_of(b, finding));
    add(b, object, "symptoms", symptoms_of(b, finding));
    add(b, object, "remedy", remedy_of(b, model, finding));
    return object;
}

/* The findings whose parent is `parent`, each with its own consequences. A parent comes before its
 * consequences, so this ends. */
static json_object *findings_of(builder *b, const bp_report_run *run, int32_t parent) {
    json_object *array = checked(b, json_object_new_array());
    uint32_t n = bp_diagnosis_n_findings(run->diagnosis);
    for (uint32_t i = (uint32_t)(parent + 1); i < n; i++) {
        const bp_finding *finding = bp_diagnosis_finding(run->diagnosis, i);
        if (finding->parent != parent) continue;
        json_object *object = finding_of(b, run->model, finding);
        add(b, object, "consequences", findings_of(b, run, (int32_t)i));
        append(b, array, object);
    }
    return array;
}

/* JSON as json-c writes it, and the characters that a terminal would obey escaped: json-c leaves
 * DEL, C1 and formatting characters alone. They can only stand inside strings. */
static char *serialise(json_object *document, bool pretty) {
    int flags = JSON_C_TO_STRING_NOSLASHESCAPE | (pretty ? JSON_C_TO_STRING_PRETTY : 0);
    const char *text = json_object_to_json_string_ext(document, flags);
    size_t left = text ? strlen(text) : 0, n_bytes = 0;
    char *out = NULL;
    FILE *stream = text ? open_memstream(&out, &n_bytes) : NULL;
    if (!stream) return NULL;
    while (left > 0) {
        bp_glyph glyph = bp_glyph_next(text, left);
        if (glyph.escaped && glyph.code >= 0x10000)
            fprintf(stream, "\\u%04x\\u%04x", 0xD7C0u + (glyph.code >> 10),
                    0xDC00u + (glyph.code & 0x3FFu));
        else if (glyph.escaped && glyph.code >= 0x7F)
            fprintf(stream, "\\u%04x", glyph.code);
        else
            fwrite(text, 1, glyph.n_read, stream);
        text += glyph.n_read;
        left -= glyph.n_read;
    }
    fputc('\n', stream);
    if (fclose(stream) == 0) return out;
    free(out);
    return NULL;
}

static bp_status finish(builder *b, json_object *document, bool pretty, char **text,
                        bp_error *error) {
    char *out = b->failed ? NULL : serialise(document, pretty);
    json_object_put(document);
    if (!out) return bp_fail(error, BP_ERROR_MEMORY, "out of memory for the findings as JSON");
    *text = out;
    return BP_OK;
}

bp_status bp_report_json(char **text, const bp_report_run *run, bool pretty, bp_error *error) {
    builder b = {false};
    bp_diagnosis_overview overview;
    bp_diagnosis_overview_of(run->diagnosis, &overview);
    json_object *document = checked(&b, json_object_new_object());
    add(&b, document, "schema", text_of(&b, SCHEMA));
    add(&b, document, "version", text_of(&b, bp_version()));
    add(&b, document, "run", text_of(&b, run->name));
    add(&b, document, "network", network_of(&b, run->model));
    add(&b, document, "end", text_of(&b, end_name(run->end)));
    add(&b, document, "steps", steps_of(&b, &overview));
    add(&b, document, "loss", loss_of(&b, &overview, bp_model_recipe(run->model)));
    add(&b, document, "backward_span_log", measured_of(&b, overview.backward_span_log));
    add(&b, document, "not_observed",
        text_of(&b, overview.not_observed ? overview.not_observed : ""));
    add(&b, document, "damage", damage_of(&b, run->damage));
    add(&b, document, "watching", watching_of(&b, run->watching));
    add(&b, document, "ranks", ranks_of(&b, run));
    add(&b, document, "findings", findings_of(&b, run, -1));
    return finish(&b, document, pretty, text, error);
}

bp_status bp_report_finding_json(char **text, const bp_report_run *run, const bp_finding *finding,
                                 bp_error *error) {
    builder b = {false};
    return finish(&b, finding_of(&b, run->model, finding), false, text, error);
}
