/* SPDX-License-Identifier: Apache-2.0 */
/* Markdown for issues and pull requests, in the dialect of GitHub: a heading for each root, a table
 * of layers, cause, remedy as a diff or a program. No text from a run is read as markup, as a
 * mention or as a link. */
#include "report/markdown.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define MAX_DIFF_LINES 40u
#define MAX_DIFF_BYTES 600u

/* --- text that is no markup ---------------------------------------------------------------------
 */

/* A mention and a number of an issue are found in the finished page: a comment takes them apart. */
static void put_character(FILE *out, char before, char c, char after) {
    const bool is_markup = strchr("\\`*_[]<>|~#$&!", c) != NULL;
    const bool makes_link = (c == ':' && after == '/') || (c == '.' && (before | ' ') == 'w');
    if (is_markup || makes_link) fputc('\\', out);
    fputc(c, out);
    if (c == '@' || (c == '#' && after >= '0' && after <= '9')) fputs("<!-- -->", out);
}

static void put(FILE *out, const char *text) {
    char before = ' ';
    for (size_t left = strlen(text); left > 0;) {
        const bp_glyph glyph = bp_glyph_next(text, left);
        text += glyph.n_read;
        left -= glyph.n_read;
        for (const char *c = glyph.bytes; *c; c++) {
            put_character(out, before, *c, c[1] ? c[1] : *text);
            before = *c;
        }
    }
}

static int longest_run(const char *text) {
    int longest = 0, run = 0;
    for (; *text; text++) {
        run = *text == '`' ? run + 1 : 0;
        if (run > longest) longest = run;
    }
    return longest;
}

static void put_times(FILE *out, char c, int n) {
    while (n-- > 0) fputc(c, out);
}

void bp_markdown_name(FILE *out, const char *name, bool in_table) {
    const int ticks = longest_run(name) + 1;
    put_times(out, '`', ticks);
    if (ticks > 1) fputc(' ', out);
    for (size_t left = strlen(name); left > 0;) {
        const bp_glyph glyph = bp_glyph_next(name, left);
        if (in_table && glyph.code == '|') fputc('\\', out);
        fputs(glyph.bytes, out);
        name += glyph.n_read;
        left -= glyph.n_read;
    }
    if (ticks > 1) fputc(' ', out);
    put_times(out, '`', ticks);
}

static void put_paragraph(FILE *out, const char *label, const char *text) {
    if (!text || !*text) return;
    fprintf(out, "\n**%s** ", label);
    put(out, text);
    fputc('\n', out);
}

/* --- tables of layers ---------------------------------------------------------------------------
 */

static bool is_concerned(const bp_finding *finding, uint32_t layer) {
    for (uint32_t i = 0; i < finding->n_layers; i++)
        if (finding->layers[i] == layer) return true;
    return false;
}

static void put_layer(FILE *out, const bp_model *model, uint32_t id, bool marked) {
    const bp_layer *layer = bp_model_layer(model, id);
    const char *mark = marked ? "**" : "";
    fprintf(out, "| %s%u%s | ", mark, id, mark);
    bp_markdown_name(out, layer && layer->name ? layer->name : "?", true);
}

void bp_markdown_number(FILE *out, double value) {
    char number[32];
    fprintf(out, " | %s", isnan(value) ? "–" : bp_number_text(number, sizeof number, value, 2));
}

static void put_gains(FILE *out, const bp_report_run *run, const bp_finding *finding) {
    uint32_t rows[BP_PICTURE_ROWS];
    const uint32_t n = bp_picture_rows(rows, finding->gains, finding->n_gains);
    fputs("\n| | layer | error signal | gain | share of learning |\n| --: | :-- | --: | --: | --: "
          "|\n",
          out);
    for (uint32_t i = 0; i < n; i++) {
        const bp_gain *gain = &finding->gains[rows[i]];
        put_layer(out, run->model, gain->layer, is_concerned(finding, gain->layer));
        bp_markdown_number(out, gain->error_norm);
        bp_markdown_number(out, gain->gain);
        bp_markdown_number(out, gain->share);
        fputs(" |\n", out);
    }
    if (n < finding->n_gains) fprintf(out, "\n%u of %u layers are shown.\n", n, finding->n_gains);
}

/* What was measured of one layer: "saturated 0.9, dead 3". */
static void put_measured(FILE *out, const bp_finding *finding, uint32_t layer) {
    char number[32];
    bool any = false;
    for (uint32_t i = 0; i < finding->n_evidence; i++) {
        const bp_evidence *evidence = &finding->evidence[i];
        if (evidence->layer != layer || !evidence->measured) continue;
        fputs(any ? ", " : "", out);
        put(out, evidence->name);
        fprintf(out, " %s", bp_number_text(number, sizeof number, evidence->value, 3));
        any = true;
    }
}

static void put_layers(FILE *out, const bp_report_run *run, const bp_finding *finding) {
    if (finding->n_layers == 0) return;
    const uint32_t n = finding->n_layers < BP_PICTURE_ROWS ? finding->n_layers : BP_PICTURE_ROWS;
    fputs("\n| | layer | measured |\n| --: | :-- | :-- |\n", out);
    for (uint32_t i = 0; i < n; i++) {
        put_layer(out, run->model, finding->layers[i], false);
        fputs(" | ", out);
        put_measured(out, finding, finding->layers[i]);
        fputs(" |\n", out);
    }
    if (n < finding->n_layers) fprintf(out, "\nAnd %u more layers.\n", finding->n_layers - n);
}

/* --- remedies -----------------------------------------------------------------------------------
 */

static void put_raw(FILE *out, const char *text, size_t n_bytes) {
    while (n_bytes > 0) {
        const bp_glyph glyph = bp_glyph_next(text, n_bytes);
        fputs(glyph.bytes, out);
        text += glyph.n_read;
        n_bytes -= glyph.n_read;
    }
}

static int begin_fence(FILE *out, const char *language, int longest) {
    const int ticks = longest < 3 ? 3 : longest + 1;
    fputc('\n', out);
    put_times(out, '`', ticks);
    fprintf(out, "%s\n", language);
    return ticks;
}

static void end_fence(FILE *out, int ticks) {
    put_times(out, '`', ticks);
    fputc('\n', out);
}

static void put_diff(FILE *out, const char *before, const char *after) {
    bp_diff_line lines[MAX_DIFF_LINES];
    const uint32_t n = bp_diff_lines(before, after, lines, MAX_DIFF_LINES);
    const uint32_t shown = n < MAX_DIFF_LINES ? n : MAX_DIFF_LINES;
    const int longest = longest_run(before), other = longest_run(after);
    const int ticks = begin_fence(out, "diff", longest > other ? longest : other);
    for (uint32_t i = 0; i < shown; i++) {
        const bp_diff_line *line = &lines[i];
        if (line->begins) fprintf(out, "@@ line %u @@\n", line->number);
        fputc(line->added ? '+' : '-', out);
        put_raw(out, line->text, line->n_bytes < MAX_DIFF_BYTES ? line->n_bytes : MAX_DIFF_BYTES);
        fputs(line->n_bytes > MAX_DIFF_BYTES ? " …\n" : "\n", out);
    }
    if (n > shown) fprintf(out, "@@ and %u more lines @@\n", n - shown);
    end_fence(out, ticks);
}

static void put_edits(FILE *out, const bp_report_run *run, const bp_remedy *remedy) {
    if (remedy->n_edits == 0) return;
    const char *edited = run->network_text && run->edited
                             ? run->edited(run->context, remedy->edits, remedy->n_edits)
                             : NULL;
    if (edited) {
        put_diff(out, run->network_text, edited);
        return;
    }
    const int ticks = begin_fence(out, "yaml", 0);
    for (uint32_t i = 0; i < remedy->n_edits; i++)
        fprintf(out, "%s: %s\n", remedy->edits[i].key, remedy->edits[i].value);
    end_fence(out, ticks);
}

static void put_code(FILE *out, const bp_remedy *remedy) {
    int longest = 0;
    if (remedy->n_lines == 0) return;
    for (uint32_t i = 0; i < remedy->n_lines; i++) {
        const int run = longest_run(remedy->lines[i]);
        if (run > longest) longest = run;
    }
    const int ticks = begin_fence(out, "python", longest);
    for (uint32_t i = 0; i < remedy->n_lines; i++) {
        put_raw(out, remedy->lines[i], strlen(remedy->lines[i]));
        fputc('\n', out);
    }
    end_fence(out, ticks);
}

static void put_remedy(FILE *out, const bp_report_run *run, const bp_finding *finding) {
    bp_remedy *remedy = NULL;
    if (bp_remedy_open(&remedy, run->model, finding, NULL, NULL) != BP_OK || !remedy) return;
    put_paragraph(out, "Remedy:", remedy->title);
    if (remedy->reason && *remedy->reason) {
        fputc('\n', out);
        put(out, remedy->reason);
        fputc('\n', out);
    }
    put_edits(out, run, remedy);
    put_code(out, remedy);
    bp_remedy_close(remedy);
}

/* --- findings -----------------------------------------------------------------------------------
 */

static void put_consequences(FILE *out, const bp_findings *findings, uint32_t root) {
    for (uint32_t i = root + 1; i < findings->n && findings->list[i].parent >= 0; i++) {
        const bp_finding *finding = &findings->list[i];
        if (i == root + 1) fputs("\n**Consequences**\n\n", out);
        fprintf(out, "- %s `%s`: ", bp_severity_name(finding->severity),
                bp_problem_name(finding->problem));
        put(out, finding->title);
        fputs(". ", out);
        put(out, finding->cause);
        fputc('\n', out);
    }
}

static void put_root(FILE *out, const bp_report_run *run, const bp_findings *findings,
                     uint32_t index) {
    const bp_finding *finding = &findings->list[index];
    char bytes[128];
    bp_text steps;
    bp_text_init(&steps, bytes, sizeof bytes);
    bp_report_steps(&steps, finding);
    fprintf(out, "\n### %s: %s\n\n**", bp_severity_name(finding->severity),
            bp_problem_name(finding->problem));
    put(out, finding->title);
    fprintf(out, "** · %s\n", bytes);
    if (finding->n_gains > 0)
        put_gains(out, run, finding);
    else
        put_layers(out, run, finding);
    put_paragraph(out, "Cause:", finding->cause);
    put_paragraph(out, "Note:", finding->note);
    put_remedy(out, run, finding);
    put_consequences(out, findings, index);
}

void bp_markdown_fenced(FILE *out, const char *text) {
    const int ticks = begin_fence(out, "text", longest_run(text));
    fputs(text, out);
    end_fence(out, ticks);
}

bp_status bp_markdown_run(FILE *out, const bp_report_style *style, const bp_report_run *run,
                          uint32_t index, bp_error *error) {
    (void)style, (void)error;
    char first[32], last[32];
    bp_findings findings;
    bp_diagnosis_overview overview;
    bp_diagnosis_overview_of(run->diagnosis, &overview);
    bp_findings_choose(&findings, run->diagnosis, run->model, run->choice);
    if (index > 0) fputc('\n', out);
    fputs("## Backprobe: ", out);
    bp_markdown_name(out, run->name, false);
    fputs("\n\n", out);
    if (findings.n == 0)
        fputs("no findings", out);
    else
        fprintf(out, "%u finding%s", findings.n, findings.n == 1 ? "" : "s");
    if (findings.n_ignored > 0) fprintf(out, " (%u ignored)", findings.n_ignored);
    fprintf(out, " · %" PRIu64 " steps", overview.n_records);
    if (overview.n_records > 0)
        fprintf(out, " · loss %s → %s", bp_number_text(first, sizeof first, overview.first_loss, 3),
                bp_number_text(last, sizeof last, overview.last_loss, 3));
    fprintf(out, " · %s\n",
            run->end == BP_RUN_OPEN ? "no end recorded" : bp_run_end_name(run->end));
    for (uint32_t i = 0; i < findings.n; i++)
        if (findings.list[i].parent < 0) put_root(out, run, &findings, i);
    return BP_OK;
}

void bp_markdown_failed(FILE *out, const char *name, const bp_error *why, uint32_t index) {
    if (index > 0) fputc('\n', out);
    fputs("## Backprobe: ", out);
    bp_markdown_name(out, name, false);
    fputs("\n\ncould not be checked: ", out);
    put(out, why->text);
    fputc('\n', out);
}
