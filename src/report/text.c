/* SPDX-License-Identifier: Apache-2.0 */
/* A finding as the compilers show their diagnostics: what, where, since when, how bad, why with the
 * measured numbers, what to do as a change that can be applied. */
#include "report/report.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { LABEL = 2, BODY = 9, CONSEQUENCE = 4 }; /* columns */
#define MAX_ROOTS 3u                           /* that are told in full; of others the headline */
#define MAX_CONSEQUENCES 5u                    /* of a root */

static bp_ink ink_of(bp_severity severity) {
    return severity == BP_ERROR     ? BP_INK_ERROR
           : severity == BP_WARNING ? BP_INK_WARNING
                                    : BP_INK_HINT;
}

static const char *known(const char *text, const char *otherwise) {
    return text ? text : otherwise;
}

static void put_headline(bp_page *page, const bp_finding *finding, const char *title, int hang) {
    bp_page_add(page, ink_of(finding->severity), "%s[%s]",
                known(bp_severity_name(finding->severity), "finding"),
                known(bp_problem_name(finding->problem), "unknown"));
    bp_page_put(page, BP_INK_BOLD, ": ");
    bp_page_wrap(page, BP_INK_BOLD, hang, title, strlen(title));
    bp_page_end_line(page);
}

#define WIDE 10 /* steps: a narrower onset is told as one */

void bp_report_steps(bp_text *text, const bp_finding *finding) {
    bp_text_add(text, "%s step %" PRId64, finding->open ? "since" : "from", finding->since_step);
    if (finding->since_latest - finding->since_earliest >= WIDE)
        bp_text_add(text, " (%" PRId64 "–%" PRId64 ")", finding->since_earliest,
                    finding->since_latest);
    if (finding->open)
        bp_text_add(text, " · now step %" PRId64, finding->last_step);
    else
        bp_text_add(text, " to step %" PRId64 " · over", finding->last_step);
}

void bp_report_problem(bp_text *text, bp_problem problem) {
    const char *page = bp_problem_explanation(problem);
    const char *from = page ? strchr(page, '\n') : NULL; /* behind the first heading */
    const char *to = from ? strstr(from, "\n\n") : NULL;
    while (from && from < to) {
        from += strspn(from, "\n ");
        const size_t n = strcspn(from, "\n");
        bp_text_add(text, "%s%.*s", text->length ? " " : "", (int)n, from);
        from += n;
    }
}

static void add_loss(bp_text *text, const bp_report_run *run) {
    bp_diagnosis_overview overview;
    bp_diagnosis_overview_of(run->diagnosis, &overview);
    if (overview.n_records == 0) return;
    bp_text_add(text, " · train loss ");
    bp_text_add_number(text, overview.last_loss, 4);
    const bp_recipe *recipe = bp_model_recipe(run->model);
    if (!recipe || !isfinite(recipe->trivial_loss) || !(recipe->trivial_loss > 0)) return;
    bp_text_add(text, " (guessing is ");
    bp_text_add_number(text, recipe->trivial_loss, 4);
    bp_text_add(text, ")");
}

static void put_when(bp_page *page, const bp_finding *finding, const bp_report_run *run) {
    char bytes[256];
    bp_text text;
    bp_text_init(&text, bytes, sizeof bytes);
    bp_report_steps(&text, finding);
    add_loss(&text, run);
    bp_page_pad(page, LABEL);
    bp_page_wrap(page, BP_INK_PLAIN, LABEL, bytes, text.length);
    bp_page_end_line(page);
}

static void put_paragraph(bp_page *page, const char *label, const char *text) {
    if (!text || !*text) return;
    bp_page_pad(page, LABEL);
    bp_page_put(page, BP_INK_BOLD, label);
    bp_page_pad(page, BODY);
    bp_page_wrap(page, BP_INK_PLAIN, BODY, text, strlen(text));
    bp_page_end_line(page);
}

/* As it is to be pasted: a line that is too long breaks, and nothing else is changed. */
static void put_code(bp_page *page, const bp_remedy *remedy) {
    for (uint32_t i = 0; i < remedy->n_lines; i++) {
        const char *line = remedy->lines[i];
        bp_page_pad(page, BODY);
        bp_page_wrap(page, *line == '#' ? BP_INK_DIM : BP_INK_NEW, BODY + 8, line, strlen(line));
        bp_page_end_line(page);
    }
}

static void put_edits(bp_page *page, const bp_report_run *run, const bp_remedy *remedy) {
    const char *edited = NULL;
    if (remedy->n_edits > 0 && run->network_text && run->edited)
        edited = run->edited(run->context, remedy->edits, remedy->n_edits);
    if (edited) {
        bp_diff_print(page, BODY, run->network_text, edited);
        return;
    }
    for (uint32_t i = 0; i < remedy->n_edits; i++) {
        bp_page_pad(page, BODY);
        bp_page_put(page, BP_INK_NEW, remedy->edits[i].key);
        bp_page_put(page, BP_INK_PLAIN, ": ");
        bp_page_wrap(page, BP_INK_NEW, BODY + 2, remedy->edits[i].value,
                     strlen(remedy->edits[i].value));
        bp_page_end_line(page);
    }
}

static void put_remedy(bp_page *page, const bp_report_run *run, const bp_finding *finding) {
    bp_remedy *remedy = NULL;
    if (bp_remedy_open(&remedy, run->model, finding, NULL, NULL) != BP_OK || !remedy) return;
    bp_page_pad(page, LABEL);
    bp_page_put(page, BP_INK_BOLD, "help:");
    bp_page_pad(page, BODY);
    bp_page_wrap(page, BP_INK_BOLD, BODY, remedy->title, strlen(remedy->title));
    bp_page_end_line(page);
    if (remedy->reason && *remedy->reason) {
        bp_page_pad(page, BODY);
        bp_page_wrap(page, BP_INK_PLAIN, BODY, remedy->reason, strlen(remedy->reason));
        bp_page_end_line(page);
    }
    put_edits(page, run, remedy);
    put_code(page, remedy);
    bp_remedy_close(remedy);
}

static void put_root(bp_page *page, const bp_report_run *run, const bp_finding *finding) {
    put_headline(page, finding, finding->title, LABEL);
    put_when(page, finding, run);
    bp_picture(page, run->model, finding);
    put_paragraph(page, "cause:", finding->cause);
    put_paragraph(page, "note:", finding->note);
    put_remedy(page, run, finding);
    bp_page_pad(page, LABEL);
    bp_page_put(page, BP_INK_BOLD, "see:");
    bp_page_pad(page, BODY);
    bp_page_add(page, BP_INK_PLAIN, "backprobe explain %s",
                known(bp_problem_name(finding->problem), ""));
    bp_page_end_line(page);
}

/* A consequence is mended with its cause: its headline is enough on a screen, JSON has all. */
static void put_consequence(bp_page *page, const bp_finding *finding) {
    char bytes[512];
    bp_text text;
    bp_text_init(&text, bytes, sizeof bytes);
    bp_text_add(&text, "%s · since step %" PRId64 "%s", finding->title, finding->since_step,
                finding->open ? "" : ", over");
    bp_page_put(page, BP_INK_DIM, "└ ");
    put_headline(page, finding, bytes, LABEL + 2);
}

/* Under how many causes it hangs. */
static int depth_of(const bp_findings *findings, int32_t parent) {
    int depth = 0;
    for (; parent >= 0; parent = findings->list[parent].parent) depth++;
    return depth;
}

void bp_report_headline(FILE *out, const bp_report_style *style, const bp_finding *finding) {
    bp_page page = bp_page_begin(out, style);
    put_headline(&page, finding, finding->title, LABEL);
}

void bp_report_finding(FILE *out, const bp_report_style *style, const bp_report_run *run,
                       const bp_finding *finding) {
    bp_page page = bp_page_begin(out, style);
    put_root(&page, run, finding);
}

static const char *end_words(bp_run_end end) {
    static const char *const words[] = {"no end recorded: still running or killed", NULL,
                                        "interrupted", "stopped"};
    return (unsigned)end < sizeof words / sizeof *words ? words[end] : NULL;
}

/* " · watching took 0.2 s, 1.8% of the time, 312 of 9000 steps in full" */
static void put_watching(bp_page *page, const bp_event_watch *watching) {
    char seconds[32], percent[32];
    if (!watching || watching->full_steps == 0 || !(watching->run_seconds > 0)) return;
    const double fraction = watching->watch_seconds / watching->run_seconds;
    bp_page_add(page, BP_INK_DIM, " · watching took %s s, %s%% of the time",
                bp_number_text(seconds, sizeof seconds, watching->watch_seconds, 2),
                bp_number_text(percent, sizeof percent, 100 * fraction, 2));
    if (watching->light_steps > 0)
        bp_page_add(page, BP_INK_DIM, ", %" PRIu64 " of %" PRIu64 " steps in full",
                    watching->full_steps, watching->full_steps + watching->light_steps);
}

/* "390 steps · loss 2.31 → 0.05" */
static void put_overview(bp_page *page, const bp_report_run *run,
                         const bp_diagnosis_overview *overview) {
    char first[32], last[32];
    if (run->n_ranks > 1) bp_page_add(page, BP_INK_PLAIN, " · %u ranks", run->n_ranks);
    bp_page_add(page, BP_INK_PLAIN, " · %" PRIu64 " step%s", overview->n_records,
                overview->n_records == 1 ? "" : "s");
    if (overview->n_records > 0)
        bp_page_add(page, BP_INK_PLAIN, " · loss %s → %s",
                    bp_number_text(first, sizeof first, overview->first_loss, 3),
                    bp_number_text(last, sizeof last, overview->last_loss, 3));
    const char *end = end_words(run->end);
    if (end) bp_page_add(page, BP_INK_PLAIN, " · %s", end);
}

static void put_ignored(bp_page *page, uint32_t n) {
    if (n > 0) bp_page_add(page, BP_INK_DIM, " (%u ignored)", n);
}

static void put_quiet_line(bp_page *page, const bp_report_run *run, uint32_t n_ignored) {
    bp_diagnosis_overview overview;
    bp_diagnosis_overview_of(run->diagnosis, &overview);
    bp_page_put(page, BP_INK_PLAIN, run->name);
    bp_page_put(page, BP_INK_PLAIN, ": ");
    bp_page_put(page, BP_INK_NEW, "no findings");
    put_ignored(page, n_ignored);
    put_overview(page, run, &overview);
    if (!isnan(overview.backward_span_log)) {
        char factor[32];
        const double span = exp(fabs(overview.backward_span_log));
        bp_page_add(page, BP_INK_PLAIN, " · error signals %s ×%s over depth",
                    span < 1000 ? "keep within" : "differ by up to",
                    bp_number_text(factor, sizeof factor, span, 2));
    }
    if (overview.not_observed && *overview.not_observed)
        bp_page_add(page, BP_INK_DIM, " · not observed: %s", overview.not_observed);
    put_watching(page, run->watching);
    bp_page_end_line(page);
}

static void put_summary_line(bp_page *page, const bp_report_run *run, const bp_findings *findings) {
    bp_diagnosis_overview overview;
    bp_diagnosis_overview_of(run->diagnosis, &overview);
    bp_page_put(page, BP_INK_PLAIN, run->name);
    bp_page_put(page, BP_INK_PLAIN, ": ");
    bp_page_add(page, BP_INK_BOLD, "%u finding%s", findings->n, findings->n == 1 ? "" : "s");
    put_ignored(page, findings->n_ignored);
    put_overview(page, run, &overview);
    put_watching(page, run->watching);
    bp_page_end_line(page);
    if (overview.not_observed && *overview.not_observed) {
        bp_page_add(page, BP_INK_DIM, "  not observed: %s", overview.not_observed);
        bp_page_end_line(page);
    }
}

void bp_report_overview(FILE *out, const bp_report_style *style, const bp_report_run *run,
                        const bp_findings *findings) {
    bp_page page = bp_page_begin(out, style);
    if (findings->n == 0)
        put_quiet_line(&page, run, findings->n_ignored);
    else
        put_summary_line(&page, run, findings);
}

/* Headlines of what would fill more than a screen. */
static void put_more(bp_page *page, const bp_findings *findings, uint32_t from, uint32_t to) {
    if (to - from == 1) {
        put_consequence(page, &findings->list[from]);
        return;
    }
    bp_page_add(page, BP_INK_DIM, "└ and %u more consequences, which --format json has", to - from);
    bp_page_end_line(page);
}

/* The root at `root` in full, and what follows from it. Gives where the next root is. */
static uint32_t put_tree(bp_page *page, const bp_report_run *run, const bp_findings *findings,
                         uint32_t root, bool in_full) {
    uint32_t end = root + 1, shown = root + 1;
    while (end < findings->n && findings->list[end].parent >= 0) end++;
    if (in_full) {
        bp_page_end_line(page);
        put_root(page, run, &findings->list[root]);
    } else {
        put_headline(page, &findings->list[root], findings->list[root].title, LABEL);
    }
    for (; in_full && shown < end && shown - root <= MAX_CONSEQUENCES; shown++) {
        page->indent = CONSEQUENCE * depth_of(findings, findings->list[shown].parent);
        put_consequence(page, &findings->list[shown]);
    }
    page->indent = CONSEQUENCE;
    if (shown < end) put_more(page, findings, shown, end);
    page->indent = 0;
    return end;
}

void bp_report_text(FILE *out, const bp_report_style *style, const bp_report_run *run) {
    bp_findings findings;
    bp_findings_choose(&findings, run->diagnosis, run->model, run->choice);
    bp_report_overview(out, style, run, &findings);
    if (findings.n == 0) return;
    bp_page page = bp_page_begin(out, style);
    uint32_t n_roots = 0;
    for (uint32_t i = 0; i < findings.n;) {
        if (n_roots == MAX_ROOTS) bp_page_end_line(&page);
        i = put_tree(&page, run, &findings, i, n_roots++ < MAX_ROOTS);
    }
    if (findings.list[0].n_symptoms == 0) return;
    bp_page_end_line(&page);
    bp_symptoms(&page, &findings.list[0]);
}
