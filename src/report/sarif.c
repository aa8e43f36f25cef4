/* SPDX-License-Identifier: Apache-2.0 */
/* SARIF 2.1.0 (OASIS 2020): the problems are the rules, findings the results, layers the logical
 * locations. Written run by run, so that a document of many is never in memory as a whole. */
#include "report/json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SCHEMA_URI "https://json.schemastore.org/sarif-2.1.0.json"
#define MAX_LOCATIONS 100u /* of a result; GitHub reads a thousand at most */

/* --- texts --------------------------------------------------------------------------------------
 */

/* In a message brackets make a link and braces a placeholder (3.11.5, 3.11.6). */
static json_object *message_text(bp_json_builder *b, const char *text) {
    char *bytes = NULL;
    size_t n_bytes = 0;
    FILE *stream = open_memstream(&bytes, &n_bytes);
    if (!stream) return bp_json_checked(b, NULL);
    for (; *text; text++) {
        if (*text == '[' || *text == ']') fputc('\\', stream);
        if (*text == '{' || *text == '}') fputc(*text, stream);
        fputc(*text, stream);
    }
    json_object *value = fclose(stream) == 0 ? bp_json_text(b, bytes) : bp_json_checked(b, NULL);
    free(bytes);
    return value;
}

static json_object *message_of(bp_json_builder *b, const char *text) {
    json_object *message = bp_json_checked(b, json_object_new_object());
    bp_json_add(b, message, "text", message_text(b, text));
    return message;
}

/* A path as a URI reference (RFC 3986). */
static json_object *uri_of(bp_json_builder *b, const char *path) {
    static const char plain[] = "-._~/";
    char *bytes = NULL;
    size_t n_bytes = 0;
    FILE *stream = open_memstream(&bytes, &n_bytes);
    if (!stream) return bp_json_checked(b, NULL);
    if (*path == '/') fputs("file://", stream);
    for (; *path; path++) {
        const unsigned char c = (unsigned char)*path;
        const bool is_plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
                              (c >= 'a' && c <= 'z') || strchr(plain, c);
        fprintf(stream, is_plain ? "%c" : "%%%02X", c);
    }
    json_object *value = fclose(stream) == 0 ? bp_json_text(b, bytes) : bp_json_checked(b, NULL);
    free(bytes);
    return value;
}

/* --- rules --------------------------------------------------------------------------------------
 */

/* "vanishing-gradient" -> "VanishingGradient" */
static json_object *rule_name(bp_json_builder *b, const char *problem) {
    char name[64];
    size_t n = 0;
    bool upper = true;
    for (; *problem && n + 1 < sizeof name; problem++) {
        if (*problem != '-')
            name[n++] = (char)(upper && *problem >= 'a' ? *problem - 32 : *problem);
        upper = *problem == '-';
    }
    name[n] = '\0';
    return bp_json_text(b, name);
}

static json_object *help_of(bp_json_builder *b, const char *page) {
    json_object *help = message_of(b, page);
    char *fenced = NULL;
    if (asprintf(&fenced, "```text\n%s\n```\n", page) < 0) fenced = NULL;
    bp_json_add(b, help, "markdown", fenced ? message_text(b, fenced) : bp_json_checked(b, NULL));
    free(fenced);
    return help;
}

static json_object *rule_of(bp_json_builder *b, bp_problem problem) {
    char bytes[1024];
    bp_text summary;
    bp_text_init(&summary, bytes, sizeof bytes);
    bp_report_problem(&summary, problem);
    const char *page = bp_problem_explanation(problem);
    json_object *rule = bp_json_checked(b, json_object_new_object());
    bp_json_add(b, rule, "id", bp_json_text(b, bp_problem_name(problem)));
    bp_json_add(b, rule, "name", rule_name(b, bp_problem_name(problem)));
    bp_json_add(b, rule, "shortDescription", message_of(b, bytes));
    bp_json_add(b, rule, "help", help_of(b, page ? page : bytes));
    return rule;
}

/* The index of a rule is the number of its problem less one. */
static json_object *tool_of(bp_json_builder *b) {
    json_object *tool = bp_json_checked(b, json_object_new_object());
    json_object *driver = bp_json_checked(b, json_object_new_object());
    json_object *rules = bp_json_checked(b, json_object_new_array());
    for (int problem = 1; problem < BP_N_PROBLEMS; problem++)
        bp_json_append(b, rules, rule_of(b, (bp_problem)problem));
    bp_json_add(b, driver, "name", bp_json_text(b, "Backprobe"));
    bp_json_add(b, driver, "semanticVersion", bp_json_text(b, bp_version()));
    bp_json_add(b, driver, "rules", rules);
    bp_json_add(b, tool, "driver", driver);
    return tool;
}

/* --- results ------------------------------------------------------------------------------------
 */

static json_object *physical_location(bp_json_builder *b, const char *path, int32_t line) {
    json_object *physical = bp_json_checked(b, json_object_new_object());
    json_object *artifact = bp_json_checked(b, json_object_new_object());
    bp_json_add(b, artifact, "uri", uri_of(b, path));
    bp_json_add(b, physical, "artifactLocation", artifact);
    if (line > 0) {
        json_object *region = bp_json_checked(b, json_object_new_object());
        bp_json_add(b, region, "startLine", bp_json_integer(b, line));
        bp_json_add(b, physical, "region", region);
    }
    return physical;
}

static json_object *location_of(bp_json_builder *b, const bp_report_run *run,
                                const bp_layer *layer) {
    json_object *location = bp_json_checked(b, json_object_new_object());
    if (run->network_path)
        bp_json_add(b, location, "physicalLocation",
                    physical_location(b, run->network_path, layer ? layer->line : 0));
    if (!layer) return location;
    json_object *logical = bp_json_checked(b, json_object_new_array());
    json_object *named = bp_json_checked(b, json_object_new_object());
    bp_json_add(b, named, "fullyQualifiedName", bp_json_text(b, layer->name));
    bp_json_add(b, named, "kind", bp_json_text(b, "layer"));
    bp_json_append(b, logical, named);
    bp_json_add(b, location, "logicalLocations", logical);
    return location;
}

static json_object *locations_of(bp_json_builder *b, const bp_report_run *run,
                                 const bp_finding *finding) {
    json_object *locations = bp_json_checked(b, json_object_new_array());
    for (uint32_t i = 0; i < finding->n_layers && i < MAX_LOCATIONS; i++)
        bp_json_append(b, locations,
                       location_of(b, run, bp_model_layer(run->model, finding->layers[i])));
    if (finding->n_layers == 0 && run->network_path)
        bp_json_append(b, locations, location_of(b, run, NULL));
    return locations;
}

/* The same problem of the same layers is the same alert, whenever it began. FNV-1a, 64 bits. */
static json_object *fingerprints_of(bp_json_builder *b, const bp_report_run *run,
                                    const bp_finding *finding) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (uint32_t i = 0; i < finding->n_layers; i++) {
        const bp_layer *layer = bp_model_layer(run->model, finding->layers[i]);
        for (const char *c = layer ? layer->name : ""; *c; c++)
            hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
        hash = (hash ^ '\n') * 0x100000001b3u;
    }
    char text[96];
    snprintf(text, sizeof text, "%s:%016" PRIx64, bp_problem_name(finding->problem), hash);
    json_object *prints = bp_json_checked(b, json_object_new_object());
    bp_json_add(b, prints, "problemAndLayers/v1", bp_json_text(b, text));
    return prints;
}

static json_object *result_message(bp_json_builder *b, const bp_finding *finding) {
    char bytes[3072];
    bp_text text;
    bp_text_init(&text, bytes, sizeof bytes);
    bp_text_add(&text, "%s. ", finding->title);
    bp_report_steps(&text, finding);
    bp_text_add(&text, ". %s%s%s", finding->cause,
                finding->note && *finding->note ? ". Note: " : "",
                finding->note ? finding->note : "");
    return message_of(b, bytes);
}

static json_object *result_of(bp_json_builder *b, const bp_report_run *run,
                              const bp_findings *findings, uint32_t index) {
    static const char *const levels[] = {"none", "note", "warning", "error"};
    const bp_finding *finding = &findings->list[index];
    json_object *result = bp_json_checked(b, json_object_new_object());
    json_object *properties = bp_json_checked(b, json_object_new_object());
    bp_json_add(b, properties, "finding", bp_json_finding(b, run, finding));
    if (finding->parent >= 0)
        bp_json_add(b, properties, "consequenceOf",
                    bp_json_text(b, bp_problem_name(findings->list[finding->parent].problem)));
    bp_json_add(b, result, "ruleId", bp_json_text(b, bp_problem_name(finding->problem)));
    bp_json_add(b, result, "ruleIndex", bp_json_integer(b, (int)finding->problem - 1));
    bp_json_add(b, result, "level", bp_json_text(b, levels[finding->severity & 3]));
    bp_json_add(b, result, "message", result_message(b, finding));
    bp_json_add(b, result, "locations", locations_of(b, run, finding));
    bp_json_add(b, result, "partialFingerprints", fingerprints_of(b, run, finding));
    bp_json_add(b, result, "properties", properties);
    return result;
}

/* --- runs ---------------------------------------------------------------------------------------
 */

/* What tells runs of one document apart: its part before the last slash is the category. */
static json_object *details_of(bp_json_builder *b, const char *name) {
    char *id = NULL;
    if (asprintf(&id, "backprobe/%s/", name) < 0) id = NULL;
    json_object *details = bp_json_checked(b, json_object_new_object());
    bp_json_add(b, details, "id", id ? bp_json_text(b, id) : bp_json_checked(b, NULL));
    free(id);
    return details;
}

static json_object *invocations_of(bp_json_builder *b, const char *why_not) {
    json_object *invocations = bp_json_checked(b, json_object_new_array());
    json_object *invocation = bp_json_checked(b, json_object_new_object());
    bp_json_add(b, invocation, "executionSuccessful", bp_json_boolean(b, !why_not));
    if (why_not) {
        json_object *notices = bp_json_checked(b, json_object_new_array());
        json_object *notice = bp_json_checked(b, json_object_new_object());
        bp_json_add(b, notice, "level", bp_json_text(b, "error"));
        bp_json_add(b, notice, "message", message_of(b, why_not));
        bp_json_append(b, notices, notice);
        bp_json_add(b, invocation, "toolExecutionNotifications", notices);
    }
    bp_json_append(b, invocations, invocation);
    return invocations;
}

static json_object *run_of(bp_json_builder *b, const char *name, json_object *results,
                           const char *why_not) {
    json_object *run = bp_json_checked(b, json_object_new_object());
    bp_json_add(b, run, "tool", tool_of(b));
    bp_json_add(b, run, "automationDetails", details_of(b, name));
    bp_json_add(b, run, "invocations", invocations_of(b, why_not));
    bp_json_add(b, run, "columnKind", bp_json_text(b, "unicodeCodePoints"));
    bp_json_add(b, run, "results", results);
    return run;
}

static bp_status put(FILE *out, bp_json_builder *b, json_object *run, uint32_t index,
                     bp_error *error) {
    char *text = NULL;
    const bp_status status = bp_json_finish(b, run, true, &text, error);
    if (status == BP_OK) fprintf(out, "%s%s", index > 0 ? "," : "", text);
    free(text);
    return status;
}

void bp_sarif_begin(FILE *out) {
    fputs("{\"$schema\": \"" SCHEMA_URI "\",\n\"version\": \"2.1.0\",\n\"runs\": [\n", out);
}

bp_status bp_sarif_run(FILE *out, const bp_report_style *style, const bp_report_run *run,
                       uint32_t index, bp_error *error) {
    (void)style;
    bp_json_builder b = {false};
    bp_findings findings;
    bp_findings_choose(&findings, run->diagnosis, run->model, run->choice);
    json_object *results = bp_json_checked(&b, json_object_new_array());
    for (uint32_t i = 0; i < findings.n; i++)
        bp_json_append(&b, results, result_of(&b, run, &findings, i));
    json_object *document = run_of(&b, run->name, results, NULL);
    json_object *properties = bp_json_checked(&b, json_object_new_object());
    bp_json_add(&b, properties, "ignored", bp_json_count(&b, findings.n_ignored));
    bp_json_add(&b, document, "properties", properties);
    return put(out, &b, document, index, error);
}

void bp_sarif_failed(FILE *out, const char *name, const bp_error *why, uint32_t index) {
    bp_json_builder b = {false};
    json_object *results = bp_json_checked(&b, json_object_new_array());
    (void)put(out, &b, run_of(&b, name, results, why->text), index, NULL);
}

void bp_sarif_end(FILE *out) {
    fputs("]}\n", out);
}
