/* SPDX-License-Identifier: Apache-2.0 */
/* Workflow commands of GitHub Actions: `::error file=…,line=…,title=…::message`. A root each, with
 * its consequences in the message: a step shows ten annotations of a kind at most. */
#include "report/report.h"

#include <string.h>

/* A command ends with the line; in a property ':' and ',' have a meaning, too. */
static void put(FILE *out, const char *text, bool is_property) {
    for (size_t left = strlen(text); left > 0;) {
        const bp_glyph glyph = bp_glyph_next(text, left);
        const bool special =
            glyph.code == '%' || (is_property && (glyph.code == ':' || glyph.code == ','));
        if (special)
            fprintf(out, "%%%02X", (unsigned)glyph.code);
        else
            fputs(glyph.bytes, out);
        text += glyph.n_read;
        left -= glyph.n_read;
    }
}

static void put_line(FILE *out, const char *label, const char *text) {
    if (!text || !*text) return;
    fprintf(out, "%%0A%s", label);
    put(out, text, false);
}

/* The first of the finding's layers that stands somewhere in the network file. */
static int32_t line_of(const bp_model *model, const bp_finding *finding) {
    for (uint32_t i = 0; i < finding->n_layers; i++) {
        const bp_layer *layer = bp_model_layer(model, finding->layers[i]);
        if (layer && layer->line > 0) return layer->line;
    }
    return 0;
}

static void put_place(FILE *out, const bp_report_run *run, const bp_finding *finding) {
    if (!run->network_path) return;
    const int32_t line = line_of(run->model, finding);
    fputs("file=", out);
    put(out, run->network_path, true);
    if (line > 0) fprintf(out, ",line=%d", (int)line);
    fputc(',', out);
}

static void put_consequences(FILE *out, const bp_findings *findings, uint32_t root) {
    for (uint32_t i = root + 1; i < findings->n && findings->list[i].parent >= 0; i++) {
        fprintf(out, "%%0Aconsequence: %s: ", bp_problem_name(findings->list[i].problem));
        put(out, findings->list[i].title, false);
    }
}

static void put_root(FILE *out, const bp_report_run *run, const bp_findings *findings,
                     uint32_t index) {
    static const char *const commands[] = {"notice", "notice", "warning", "error"};
    const bp_finding *finding = &findings->list[index];
    char bytes[128];
    bp_text steps;
    bp_text_init(&steps, bytes, sizeof bytes);
    bp_report_steps(&steps, finding);
    fprintf(out, "::%s ", commands[finding->severity & 3]);
    put_place(out, run, finding);
    fprintf(out, "title=%s in ", bp_problem_name(finding->problem));
    put(out, run->name, true);
    fputs("::", out);
    put(out, finding->title, false);
    put_line(out, "", bytes);
    put_line(out, "cause: ", finding->cause);
    put_line(out, "note: ", finding->note);
    bp_remedy *remedy = NULL;
    if (bp_remedy_open(&remedy, run->model, finding, NULL, NULL) == BP_OK && remedy) {
        put_line(out, "help: ", remedy->title);
        bp_remedy_close(remedy);
    }
    put_consequences(out, findings, index);
    fputc('\n', out);
}

bp_status bp_github_run(FILE *out, const bp_report_style *style, const bp_report_run *run,
                        uint32_t index, bp_error *error) {
    (void)style, (void)index, (void)error;
    bp_findings findings;
    bp_findings_choose(&findings, run->diagnosis, run->model, run->choice);
    for (uint32_t i = 0; i < findings.n; i++)
        if (findings.list[i].parent < 0) put_root(out, run, &findings, i);
    return BP_OK;
}

void bp_github_failed(FILE *out, const char *name, const bp_error *why, uint32_t index) {
    (void)index;
    fputs("::error title=cannot check ", out);
    put(out, name, true);
    fputs("::", out);
    put(out, why->text, false);
    fputc('\n', out);
}
