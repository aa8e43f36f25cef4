/* SPDX-License-Identifier: Apache-2.0 */
/* JUnit's XML, as continuous integration reads it: a suite a run, a case a problem. A finding that
 * counts is a failure, a milder one stands in the case's output; a problem that could not be judged
 * is a skipped case. */
#include "report/report.h"

#include <inttypes.h>

static void put_line(FILE *out, const char *label, const char *text) {
    if (!text || !*text) return;
    fputs(label, out);
    bp_report_xml(out, text);
    fputc('\n', out);
}

static void put_remedy(FILE *out, const bp_report_run *run, const bp_finding *finding) {
    bp_remedy *remedy = NULL;
    if (finding->parent >= 0) return; /* mended with its cause */
    if (bp_remedy_open(&remedy, run->model, finding, NULL, NULL) != BP_OK || !remedy) return;
    put_line(out, "help: ", remedy->title);
    put_line(out, "", remedy->reason);
    for (uint32_t i = 0; i < remedy->n_edits; i++) {
        bp_report_xml(out, remedy->edits[i].key);
        put_line(out, ": ", remedy->edits[i].value);
    }
    for (uint32_t i = 0; i < remedy->n_lines; i++) put_line(out, "    ", remedy->lines[i]);
    bp_remedy_close(remedy);
}

static void put_body(FILE *out, const bp_report_run *run, const bp_findings *findings,
                     const bp_finding *finding) {
    char bytes[128];
    bp_text steps;
    bp_text_init(&steps, bytes, sizeof bytes);
    bp_report_steps(&steps, finding);
    put_line(out, "", finding->title);
    put_line(out, "", bytes);
    put_line(out, "cause: ", finding->cause);
    put_line(out, "note: ", finding->note);
    if (finding->parent >= 0)
        put_line(out, "consequence of: ", bp_problem_name(findings->list[finding->parent].problem));
    put_remedy(out, run, finding);
}

typedef enum verdict { PASSED, MILD, FAILED, SKIPPED } verdict;

static const bp_finding *finding_of(const bp_findings *findings, bp_problem problem) {
    for (uint32_t i = 0; i < findings->n; i++)
        if (findings->list[i].problem == problem) return &findings->list[i];
    return NULL;
}

static bool is_ignored(const bp_report_run *run, bp_problem problem) {
    const uint32_t n = bp_diagnosis_n_findings(run->diagnosis);
    for (uint32_t i = 0; i < n; i++) {
        const bp_finding *finding = bp_diagnosis_finding(run->diagnosis, i);
        if (finding->problem == problem) return !bp_choice_shows(run->choice, run->model, finding);
    }
    return false;
}

static const char *why_skipped(const bp_report_run *run, bp_problem problem) {
    if (is_ignored(run, problem)) return "a finding of it is ignored";
    return bp_diagnosis_unjudged(run->diagnosis, problem);
}

static verdict judge(const bp_report_run *run, const bp_findings *findings, bp_problem problem) {
    const bp_finding *finding = finding_of(findings, problem);
    if (!finding) return why_skipped(run, problem) ? SKIPPED : PASSED;
    return run->fail_on && (int)finding->severity >= run->fail_on ? FAILED : MILD;
}

static void put_case(FILE *out, const bp_report_run *run, const bp_findings *findings,
                     bp_problem problem) {
    const bp_finding *finding = finding_of(findings, problem);
    const verdict is = judge(run, findings, problem);
    fprintf(out, "    <testcase name=\"%s\" classname=\"", bp_problem_name(problem));
    bp_report_xml(out, run->name);
    fputs(is == PASSED ? "\"/>\n" : "\">", out);
    if (is == SKIPPED) {
        const bool ignored = is_ignored(run, problem);
        fprintf(out, "<skipped message=\"%s", ignored ? "" : "not judged, not there: ");
        bp_report_xml(out, why_skipped(run, problem));
        fputs("\"/>", out);
    }
    if (is == FAILED) {
        fprintf(out, "<failure type=\"%s\" message=\"", bp_severity_name(finding->severity));
        bp_report_xml(out, finding->title);
        fputs("\">", out);
        put_body(out, run, findings, finding);
        fputs("</failure>", out);
    }
    if (is == MILD) {
        fprintf(out, "<system-out>%s: ", bp_severity_name(finding->severity));
        put_body(out, run, findings, finding);
        fputs("</system-out>", out);
    }
    if (is != PASSED) fputs("</testcase>\n", out);
}

static void begin_suite(FILE *out, const char *name, const uint32_t counts[4], uint32_t errors) {
    const uint32_t n = counts[PASSED] + counts[MILD] + counts[FAILED] + counts[SKIPPED] + errors;
    fputs("  <testsuite name=\"", out);
    bp_report_xml(out, name);
    fprintf(out, "\" tests=\"%u\" failures=\"%u\" errors=\"%u\" skipped=\"%u\">\n", n,
            counts[FAILED], errors, counts[SKIPPED]);
}

void bp_junit_begin(FILE *out) {
    fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"backprobe\">\n", out);
}

bp_status bp_junit_run(FILE *out, const bp_report_style *style, const bp_report_run *run,
                       uint32_t index, bp_error *error) {
    (void)style, (void)index, (void)error;
    uint32_t counts[4] = {0};
    bp_findings findings;
    bp_diagnosis_overview overview;
    bp_diagnosis_overview_of(run->diagnosis, &overview);
    bp_findings_choose(&findings, run->diagnosis, run->model, run->choice);
    for (int problem = 1; problem < BP_N_PROBLEMS; problem++)
        counts[judge(run, &findings, (bp_problem)problem)]++;
    begin_suite(out, run->name, counts, 0);
    fprintf(out,
            "    <properties><property name=\"steps\" value=\"%" PRIu64
            "\"/><property name=\"end\" value=\"%s\"/><property name=\"not observed\" value=\"",
            overview.n_records, bp_run_end_name(run->end));
    bp_report_xml(out, overview.not_observed ? overview.not_observed : "");
    fputs("\"/></properties>\n", out);
    for (int problem = 1; problem < BP_N_PROBLEMS; problem++)
        put_case(out, run, &findings, (bp_problem)problem);
    fputs("  </testsuite>\n", out);
    return BP_OK;
}

void bp_junit_failed(FILE *out, const char *name, const bp_error *why, uint32_t index) {
    static const uint32_t none[4];
    (void)index;
    begin_suite(out, name, none, 1);
    fputs("    <testcase name=\"check\" classname=\"", out);
    bp_report_xml(out, name);
    fputs("\"><error type=\"unreadable\" message=\"", out);
    bp_report_xml(out, why->text);
    fputs("\"/></testcase>\n  </testsuite>\n", out);
}

void bp_junit_end(FILE *out) {
    fputs("</testsuites>\n", out);
}
