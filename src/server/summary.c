/* SPDX-License-Identifier: Apache-2.0 */
/* The list of runs as JSON, and what a run folder's findings.json adds to it. The file is hostile:
 * of it come numbers and words that we know, and nothing else. */
#include "report/json.h"
#include "server/runs.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SCHEMA "backprobe.runs/1"
#define MAX_NESTING 32

/* --- findings.json ---------------------------------------------------------------------------- */

static bool is_same_file(const bp_stamp *a, const bp_stamp *b) {
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->modified >= b->modified && a->modified <= b->modified;
}

/* Not through a link, and never a wait for a pipe of that name. */
static int open_findings(int folder, bp_stamp *stamp) {
    struct stat found;
    *stamp = (bp_stamp){0};
    const int file =
        openat(folder, "findings.json", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (file < 0) return -1;
    if (fstat(file, &found) == 0 && S_ISREG(found.st_mode) &&
        (uint64_t)found.st_size <= BP_SUMMARY_MAX_BYTES) {
        *stamp = (bp_stamp){.device = (uint64_t)found.st_dev,
                            .inode = (uint64_t)found.st_ino,
                            .size = (uint64_t)found.st_size,
                            .modified = (double)found.st_mtim.tv_sec +
                                        (double)found.st_mtim.tv_nsec * 1e-9};
        return file;
    }
    close(file);
    return -1;
}

static json_object *member(json_object *object, const char *key, json_type type) {
    json_object *value = NULL;
    if (!json_object_is_type(object, json_type_object)) return NULL;
    if (!json_object_object_get_ex(object, key, &value)) return NULL;
    return json_object_is_type(value, type) ? value : NULL;
}

static const char *word(json_object *object, const char *key) {
    json_object *value = member(object, key, json_type_string);
    return value ? json_object_get_string(value) : "";
}

static bp_run_end end_of(const char *name) {
    for (bp_run_end end = BP_RUN_OPEN; end <= BP_RUN_STOPPED; end++)
        if (strcmp(bp_run_end_name(end), name) == 0) return end;
    return BP_RUN_OPEN;
}

/* A number, or the word of one that is not finite; false for null and all else. */
static bool number(json_object *object, const char *key, double *value) {
    static const struct {
        const char *word;
        double value;
    } words[] = {{"NaN", (double)NAN}, {"Infinity", HUGE_VAL}, {"-Infinity", -HUGE_VAL}};
    json_object *found = member(object, key, json_type_double);
    if (!found) found = member(object, key, json_type_int);
    if (found) {
        *value = json_object_get_double(found);
        return true;
    }
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(word(object, key), words[i].word) != 0) continue;
        *value = words[i].value;
        return true;
    }
    return false;
}

static const char *problem_of(const char *name) {
    static const bp_problem problems[] = {
#define BP_PROBLEM_OF(id, name_, number_) BP_PROBLEM_##id,
        BP_PROBLEMS(BP_PROBLEM_OF)
#undef BP_PROBLEM_OF
    };
    for (size_t i = 0; i < sizeof problems / sizeof *problems; i++)
        if (strcmp(bp_problem_name(problems[i]), name) == 0) return bp_problem_name(problems[i]);
    return NULL;
}

static int severity_of(const char *name) {
    for (int severity = BP_HINT; severity <= BP_ERROR; severity++)
        if (strcmp(bp_severity_name((bp_severity)severity), name) == 0) return severity;
    return 0;
}

static void take_finding(bp_run_summary *summary, json_object *finding) {
    json_object *open = member(finding, "open", json_type_boolean);
    const int severity = severity_of(word(finding, "severity"));
    const char *problem = problem_of(word(finding, "problem"));
    summary->n_findings++;
    if (!open || !json_object_get_boolean(open) || severity <= summary->severity || !problem)
        return;
    summary->severity = severity;
    summary->problem = problem;
}

static void take_document(bp_run_summary *summary, json_object *document) {
    json_object *findings = member(document, "findings", json_type_array);
    json_object *steps = member(document, "steps", json_type_object);
    json_object *last = member(steps, "last", json_type_int);
    if (!findings) return;
    summary->known = true;
    summary->end = end_of(word(document, "end"));
    if (last) summary->last_step = json_object_get_int64(last);
    summary->has_loss = number(member(document, "loss", json_type_object), "last", &summary->loss);
    for (size_t i = 0; i < json_object_array_length(findings); i++)
        take_finding(summary, json_object_array_get_idx(findings, i));
}

void bp_run_summary_parse(bp_run_summary *summary, const char *text, size_t n_bytes) {
    *summary = (bp_run_summary){.last_step = -1};
    json_tokener *tokener = json_tokener_new_ex(MAX_NESTING);
    if (!tokener || n_bytes == 0 || n_bytes > BP_SUMMARY_MAX_BYTES) {
        if (tokener) json_tokener_free(tokener);
        return;
    }
    json_object *document = json_tokener_parse_ex(tokener, text, (int)n_bytes);
    take_document(summary, document);
    json_object_put(document);
    json_tokener_free(tokener);
}

void bp_run_summary_read(bp_run_summary *summary, bp_stamp *stamp, int folder) {
    bp_stamp now;
    const int file = open_findings(folder, &now);
    if (file >= 0 && is_same_file(stamp, &now)) {
        close(file);
        return;
    }
    *stamp = now;
    *summary = (bp_run_summary){.last_step = -1};
    if (file < 0) return;
    char *text = malloc(now.size + 1);
    size_t n = 0;
    for (ssize_t got = 1; text && got > 0 && n < now.size; n += got > 0 ? (size_t)got : 0)
        got = read(file, text + n, now.size - n);
    if (text && n == now.size) bp_run_summary_parse(summary, text, n);
    free(text);
    close(file);
}

/* --- the list --------------------------------------------------------------------------------- */

static json_object *run_of(bp_json_builder *b, const bp_run *run) {
    const bp_run_summary *s = &run->summary;
    json_object *object = bp_json_checked(b, json_object_new_object());
    bp_json_add(b, object, "id", bp_json_text(b, run->id));
    bp_json_add(b, object, "name", bp_json_text(b, run->name));
    bp_json_add(b, object, "modified", bp_json_number(b, run->modified));
    bp_json_add(b, object, "bytes", bp_json_count(b, run->bytes));
    bp_json_add(b, object, "live", bp_json_boolean(b, run->live));
    bp_json_add(b, object, "end", s->known ? bp_json_text(b, bp_run_end_name(s->end)) : NULL);
    bp_json_add(b, object, "last_step",
                s->known && s->last_step >= 0 ? bp_json_integer(b, s->last_step) : NULL);
    bp_json_add(b, object, "loss", s->known && s->has_loss ? bp_json_number(b, s->loss) : NULL);
    bp_json_add(b, object, "severity",
                s->severity ? bp_json_text(b, bp_severity_name((bp_severity)s->severity)) : NULL);
    bp_json_add(b, object, "problem", bp_json_text(b, s->problem));
    bp_json_add(b, object, "n_findings", s->known ? bp_json_count(b, s->n_findings) : NULL);
    return object;
}

bp_status bp_runs_json(char **text, const bp_runs *runs, const char *folder, bp_error *error) {
    bp_json_builder b = {false};
    json_object *document = bp_json_checked(&b, json_object_new_object());
    json_object *list = bp_json_checked(&b, json_object_new_array());
    for (uint32_t i = 0; i < runs->n; i++) bp_json_append(&b, list, run_of(&b, &runs->list[i]));
    bp_json_add(&b, document, "schema", bp_json_text(&b, SCHEMA));
    bp_json_add(&b, document, "folder", bp_json_text(&b, folder));
    bp_json_add(&b, document, "cut", bp_json_boolean(&b, runs->cut));
    bp_json_add(&b, document, "runs", list);
    return bp_json_finish(&b, document, false, text, error);
}
