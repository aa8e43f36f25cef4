/* SPDX-License-Identifier: Apache-2.0 */
/* Room report: findings as text for a terminal, as JSON, and in the formats of others. It is given
 * a model, a diagnosis and how the run ended; it measures nothing, opens no run and knows no syntax
 * of network files (the caller applies a remedy's edits). Invariant: no byte of a name that came
 * from a file reaches the output unescaped. Called by cli. */
#ifndef BP_REPORT_REPORT_H
#define BP_REPORT_REPORT_H

#include "base/base.h"
#include "model/model.h"
#include "report/choice.h"
#include <backprobe/diagnosis.h>
#include <backprobe/remedy.h>
#include <backprobe/runlog.h>
#include <stdio.h>

/* What is reported on; all of it borrowed for the call. */
typedef struct bp_report_run {
    const char *name; /* as the user named it */
    const bp_model *model;
    bp_diagnosis *diagnosis;
    bp_run_end end;
    const bp_runlog_damage *damage; /* NULL: none was looked for */
    const bp_event_watch *watching; /* NULL: not known */
    const bp_runlog_rank *ranks;    /* of a run of several processes: what each log gave */
    uint32_t n_ranks;               /* 0: of one process */
    const char *network_text;       /* the network file as used; NULL when it is not known */
    /* network_text with the edits applied, borrowed until the next call; NULL when they do not
     * apply. May be NULL where network_text is. */
    const char *(*edited)(void *context, const bp_edit *edits, uint32_t n_edits);
    void *context;
    const char *network_path; /* where that file lies, for those who point at its lines; or NULL */
    const bp_choice *choice;  /* which findings are shown; NULL: all */
    int fail_on;              /* the mildest bp_severity that counts as a failure; 0: none does */
} bp_report_run;

typedef struct bp_report_style {
    bool colour;
    int width; /* columns; 60 at least are used */
} bp_report_style;

#define BP_REPORT_WIDTH 100

/* --- text.c: all that `check` prints of a run: one quiet line, or every finding with its
 * consequences beneath it and the table of symptoms of the first. */
void bp_report_text(FILE *out, const bp_report_style *style, const bp_report_run *run);
/* What it begins with: the quiet line, or how many findings there are in how many steps. */
void bp_report_overview(FILE *out, const bp_report_style *style, const bp_report_run *run,
                        const bp_findings *findings);
/* One finding in full: title, profile over depth, cause, note, remedy as a diff. */
void bp_report_finding(FILE *out, const bp_report_style *style, const bp_report_run *run,
                       const bp_finding *finding);
/* "error[vanishing-gradient]: title" in one line. */
void bp_report_headline(FILE *out, const bp_report_style *style, const bp_finding *finding);
/* text with control characters escaped and invalid UTF-8 replaced. */
void bp_report_escaped(FILE *out, const char *text);

/* --- prediction.c, prediction_json.c: what theory says beside what one batch shows ---------------
 */

/* Means over seeds of what one batch showed, by cut point; NaN is not measured. */
typedef struct bp_measured_gain {
    double gain, standard_error; /* the latter of two seeds at least, else NaN */
    double error_norm;
} bp_measured_gain;

typedef struct bp_report_foretold {
    bp_report_run run; /* its name, its model, the text of its network file and how to edit it */
    const bp_prediction *prediction;
    const bp_gain *gains; /* predicted: of each seed's batch, mean over seeds */
    uint32_t n_gains;
    const bp_measured_gain *measured; /* [n_gains]; NULL: nothing was measured */
    const char *why_not_measured;     /* NULL where it was */
    int64_t n_seeds, n_samples;       /* samples of a batch; 0: no data */
    double loss;                      /* mean over seeds; NaN */
    bp_problem problem;  /* that is to be expected: by theory, or where that says nothing of any */
    const char *verdict; /* layer, as measured; 0: none */
    uint32_t blamed_layer;
} bp_report_foretold;
void bp_report_prediction(FILE *out, const bp_report_style *style,
                          const bp_report_foretold *report);
/* One line, schema backprobe.prediction/1 (docs/prediction.md). */
void bp_report_prediction_json(FILE *out, const bp_report_foretold *report);
/* What would mend it: a finding as the diagnosis would open it at step 0, without evidence but the
 * layer that is to blame. */
bp_finding bp_foretold_finding(const bp_report_foretold *report, bp_evidence *evidence);

/* --- json.c: schema backprobe.findings/1 (docs/findings-json.md), *text released with free().
 * pretty: several lines; otherwise one line. A newline ends both. */
BP_MUST_USE bp_status bp_report_json(char **text, const bp_report_run *run, bool pretty,
                                     bp_error *error);
/* One finding as such a document has it, in one line; for events. */
BP_MUST_USE bp_status bp_report_finding_json(char **text, const bp_report_run *run,
                                             const bp_finding *finding, bp_error *error);

/* One line for each finding that is shown: `run`, `index`, `parent`, and the finding. */
BP_MUST_USE bp_status bp_report_jsonl(FILE *out, const bp_report_run *run, bp_error *error);

/* --- format.c: the formats of `check` ----------------------------------------------------------
 */

/* One document over several runs. What is NULL is left out. */
typedef struct bp_report_format {
    const char *name;
    void (*begin)(FILE *out);
    /* index: 0 for the first of the document. */
    bp_status (*run)(FILE *out, const bp_report_style *style, const bp_report_run *run,
                     uint32_t index, bp_error *error);
    /* A run that could not be read. */
    void (*failed)(FILE *out, const char *name, const bp_error *why, uint32_t index);
    void (*end)(FILE *out);
} bp_report_format;
#define BP_REPORT_FORMATS "text|json|jsonl|github|markdown|sarif|junit"
const bp_report_format *bp_report_format_named(const char *name); /* NULL: there is none */

/* sarif.c: 2.1.0, one of its runs for each of ours. */
void bp_sarif_begin(FILE *out);
bp_status bp_sarif_run(FILE *out, const bp_report_style *style, const bp_report_run *run,
                       uint32_t index, bp_error *error);
void bp_sarif_failed(FILE *out, const char *name, const bp_error *why, uint32_t index);
void bp_sarif_end(FILE *out);
/* junit.c: a suite a run, a case a problem. */
void bp_junit_begin(FILE *out);
bp_status bp_junit_run(FILE *out, const bp_report_style *style, const bp_report_run *run,
                       uint32_t index, bp_error *error);
void bp_junit_failed(FILE *out, const char *name, const bp_error *why, uint32_t index);
void bp_junit_end(FILE *out);
/* markdown.c: for issues and pull requests. */
bp_status bp_markdown_run(FILE *out, const bp_report_style *style, const bp_report_run *run,
                          uint32_t index, bp_error *error);
void bp_markdown_failed(FILE *out, const char *name, const bp_error *why, uint32_t index);
/* github.c: workflow commands, a root each. */
bp_status bp_github_run(FILE *out, const bp_report_style *style, const bp_report_run *run,
                        uint32_t index, bp_error *error);
void bp_github_failed(FILE *out, const char *name, const bp_error *why, uint32_t index);

/* "finished", "interrupted", "stopped", "open". */
const char *bp_run_end_name(bp_run_end end);
/* "since step 10 · now step 340" or "from step 10 to step 50 · over". */
void bp_report_steps(bp_text *text, const bp_finding *finding);

/* The first paragraph of a problem's page, which says what it is. */
void bp_report_problem(bp_text *text, bp_problem problem);

/* --- json_line.c: one JSON object on one line, flushed at its end: an event. Begin with
 * {out, false}. */
typedef struct bp_json_line {
    FILE *out;
    bool any;
} bp_json_line;
void bp_json_line_text(bp_json_line *line, const char *key, const char *text);
void bp_json_line_integer(bp_json_line *line, const char *key, int64_t value);
void bp_json_line_number(bp_json_line *line, const char *key, double value);
void bp_json_line_flag(bp_json_line *line, const char *key, bool value);
void bp_json_line_json(bp_json_line *line, const char *key, const char *json); /* up to its \n */
void bp_json_line_end(bp_json_line *line);

/* --- escape.c: one character of a hostile text ------------------------------------------------ */

typedef struct bp_glyph {
    char bytes[12]; /* what may be shown for it; NUL-terminated */
    size_t n_read;  /* bytes of the text that it stands for, at least 1 */
    uint32_t code;  /* the code point; 0xFFFD for a byte that is no UTF-8 */
    int columns;    /* width on a terminal */
    bool escaped;   /* a control or formatting character, shown as \x1b or \u202e */
} bp_glyph;
/* text[0 ... n_bytes - 1], n_bytes at least 1. */
bp_glyph bp_glyph_next(const char *text, size_t n_bytes);
/* text as XML has it, within elements and within double quotes. XML 1.0 has no way to write most
 * control characters and two more: they are shown as escapes. */
void bp_report_xml(FILE *out, const char *text);

/* --- page.c: lines of a given width on a stream ----------------------------------------------- */

typedef enum bp_ink {
    BP_INK_PLAIN,
    BP_INK_BOLD,
    BP_INK_DIM,
    BP_INK_ERROR,
    BP_INK_WARNING,
    BP_INK_HINT,
    BP_INK_OLD,
    BP_INK_NEW
} bp_ink;

typedef struct bp_page {
    FILE *out;
    bool colour;
    int width;
    int indent; /* left margin of all lines */
    int column; /* where the line stands, 0 at its beginning */
} bp_page;

bp_page bp_page_begin(FILE *out, const bp_report_style *style);
/* Escaped, not wrapped. */
void bp_page_put(bp_page *page, bp_ink ink, const char *text);
void bp_page_add(bp_page *page, bp_ink ink, const char *format, ...) BP_PRINTF(3, 4);
/* Wrapped at spaces; later lines begin at column `hang`. Words longer than a line are broken. */
void bp_page_wrap(bp_page *page, bp_ink ink, int hang, const char *text, size_t n_bytes);
/* Spaces up to a column, counted from the margin. */
void bp_page_pad(bp_page *page, int column);
/* At most `columns` columns of text, cut with an ellipsis, filled with spaces. */
void bp_page_cell(bp_page *page, bp_ink ink, int columns, bool right, const char *text);
void bp_page_end_line(bp_page *page);
/* Columns that text takes when it is escaped. */
int bp_text_columns(const char *text);

/* --- picture.c: the profile over depth -------------------------------------------------------- */

#define BP_PICTURE_ROWS 7u
void bp_picture(bp_page *page, const bp_model *model, const bp_finding *finding);
/* Which of the gains to show when there are more than fit: first, last, those that contribute most,
 * the rest evenly spread; ascending. Returns how many of rows[BP_PICTURE_ROWS] were set. */
uint32_t bp_picture_rows(uint32_t rows[BP_PICTURE_ROWS], const bp_gain *gains, uint32_t n_gains);

/* Bars on a logarithmic scale, one a row, of the gains' error signals. */
typedef struct bp_bar_scale {
    double low, high; /* ln of the shortest and of the longest bar */
    int columns;      /* 0: no room for bars */
} bp_bar_scale;
bp_bar_scale bp_bar_scale_of(const bp_gain *gains, uint32_t n_gains);
/* As many columns as look well in this room. */
void bp_bar_fit(bp_bar_scale *scale, int room);
void bp_bar(bp_page *page, bp_ink ink, const bp_bar_scale *scale, double value);

/* --- symptoms.c: the table exploding | vanishing | measured here ------------------------------ */
void bp_symptoms(bp_page *page, const bp_finding *finding);

/* --- diff.c: changed lines ---------------------------------------------------------------------
 */

typedef struct bp_diff_line {
    bool added;
    bool begins;      /* the first of a change */
    uint32_t number;  /* 1-based, in the text that has the line */
    const char *text; /* into that text, not NUL-terminated */
    size_t n_bytes;
} bp_diff_line;
/* Writes the first `capacity` changed lines; returns how many there are. */
uint32_t bp_diff_lines(const char *before, const char *after, bp_diff_line *lines,
                       uint32_t capacity);
/* Prints them beneath each other from column `hang` on. */
void bp_diff_print(bp_page *page, int hang, const char *before, const char *after);

#endif
