/* SPDX-License-Identifier: Apache-2.0 */
/* The formats in which runs are reported. */
#include "report/report.h"

#include <stdlib.h>
#include <string.h>

static bp_status text_run(FILE *out, const bp_report_style *style, const bp_report_run *run,
                          uint32_t index, bp_error *error) {
    (void)error;
    if (index > 0) fputc('\n', out);
    bp_report_text(out, style, run);
    return BP_OK;
}

static bp_status json_run(FILE *out, const bp_report_style *style, const bp_report_run *run,
                          uint32_t index, bp_error *error) {
    (void)style, (void)index;
    char *json = NULL;
    const bp_status status = bp_report_json(&json, run, false, error);
    if (status == BP_OK) fputs(json, out);
    free(json);
    return status;
}

static bp_status jsonl_run(FILE *out, const bp_report_style *style, const bp_report_run *run,
                           uint32_t index, bp_error *error) {
    (void)style, (void)index;
    return bp_report_jsonl(out, run, error);
}

/* In the order of BP_REPORT_FORMATS. */
static const bp_report_format formats[] = {
    {"text", NULL, text_run, NULL, NULL},
    {"json", NULL, json_run, NULL, NULL},
    {"jsonl", NULL, jsonl_run, NULL, NULL},
    {"github", NULL, bp_github_run, bp_github_failed, NULL},
    {"markdown", NULL, bp_markdown_run, bp_markdown_failed, NULL},
    {"sarif", bp_sarif_begin, bp_sarif_run, bp_sarif_failed, bp_sarif_end},
    {"junit", bp_junit_begin, bp_junit_run, bp_junit_failed, bp_junit_end},
};

const bp_report_format *bp_report_format_named(const char *name) {
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strcmp(formats[i].name, name) == 0) return &formats[i];
    return NULL;
}
