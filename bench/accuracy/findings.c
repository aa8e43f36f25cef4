/* SPDX-License-Identifier: Apache-2.0 */
#include "findings.h"

#include <backprobe/runlog.h>
#include <stdio.h>
#include <stdlib.h>

static void write_text(FILE *file, const char *text) {
    fputc('"', file);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') fputc('\\', file);
        if ((unsigned char)*text < ' ')
            fprintf(file, "\\u%04x", (unsigned)*text);
        else
            fputc(*text, file);
    }
    fputc('"', file);
}

static void write_finding(FILE *file, const bp_finding *finding) {
    fputs("{\"problem\": ", file);
    write_text(file, bp_problem_name(finding->problem));
    fputs(", \"severity\": ", file);
    write_text(file, bp_severity_name(finding->severity));
    fprintf(file,
            ", \"since_step\": %lld, \"last_step\": %lld, \"open\": %s, \"parent\": %d, "
            "\"since_earliest\": %lld, \"since_latest\": %lld, \"layers\": [",
            (long long)finding->since_step, (long long)finding->last_step,
            finding->open ? "true" : "false", finding->parent, (long long)finding->since_earliest,
            (long long)finding->since_latest);
    for (uint32_t i = 0; i < finding->n_layers; i++)
        fprintf(file, i > 0 ? ", %u" : "%u", finding->layers[i]);
    fputs("], \"title\": ", file);
    write_text(file, finding->title);
    fputs(", \"cause\": ", file);
    write_text(file, finding->cause);
    fputs(", \"note\": ", file);
    write_text(file, finding->note);
    fputs("}", file);
}

bool findings_write(bp_diagnosis *diagnosis, const char *folder, const char *name) {
    char path[4200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    if (!file) return false;
    const uint32_t n = diagnosis ? bp_diagnosis_n_findings(diagnosis) : 0;
    fputs("[", file);
    for (uint32_t i = 0; i < n; i++) {
        if (i > 0) fputs(",\n", file);
        write_finding(file, bp_diagnosis_finding(diagnosis, i));
    }
    fputs("]\n", file);
    return fclose(file) == 0;
}

/* --- following ----------------------------------------------------------------------------------
 */

struct follower {
    const char *run;
    bp_runlog_reader *reader;
    bp_diagnosis *diagnosis;
    int turns;
};

follower *follower_open(const char *run) {
    follower *opened = calloc(1, sizeof *opened);
    if (opened) opened->run = run;
    return opened;
}

static bool begin(follower *f) {
    if (bp_runlog_reader_open(&f->reader, f->run, NULL, NULL) != BP_OK) {
        f->reader = NULL;
        return true;
    }
    return bp_diagnosis_open(&f->diagnosis, bp_runlog_reader_model(f->reader), NULL, NULL) == BP_OK;
}

bool follower_read(follower *f) {
    bool any = false;
    if (!f->reader && !begin(f)) return false;
    while (f->reader) {
        const bp_record *record;
        if (bp_runlog_reader_next(f->reader, &record, NULL) != BP_OK) return false;
        if (!record) break;
        bp_diagnosis_step(f->diagnosis, record);
        any = true;
    }
    f->turns += any;
    return true;
}

bp_diagnosis *follower_diagnosis(follower *f) {
    return f->diagnosis;
}

int follower_turns(const follower *f) {
    return f->turns;
}

void follower_close(follower *f) {
    if (!f) return;
    bp_diagnosis_close(f->diagnosis);
    bp_runlog_reader_close(f->reader);
    free(f);
}
