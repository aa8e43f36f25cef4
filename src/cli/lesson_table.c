/* SPDX-License-Identifier: Apache-2.0 */
/* The lecture's table of symptoms with the measured numbers of a vanishing and an exploding run, as
 * the diagnosis fills it. */
#include "cli/demo.h"
#include "cli/folder.h"
#include "cli/lesson.h"
#include "cli/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT_BYTES 512
enum { MAX_SYMPTOMS = 3 };

/* A run's own column. */
typedef struct column {
    bool found;
    char title[TEXT_BYTES];
    char lecture[MAX_SYMPTOMS][TEXT_BYTES], measured[MAX_SYMPTOMS][TEXT_BYTES];
    bool speaks[MAX_SYMPTOMS];
    uint32_t n;
} column;

static void no_step(void *context, const bp_session *session) {
    (void)context, (void)session;
}
static void no_finding(void *context, const bp_session *session, const bp_finding *finding) {
    (void)context, (void)session, (void)finding;
}
static void no_message(void *context, const bp_session *session, const char *text) {
    (void)context, (void)session, (void)text;
}
static void no_checkpoint(void *context, const bp_session *session, const char *path, bool best) {
    (void)context, (void)session, (void)path, (void)best;
}

/* The finding of a problem, wherever it stands in the tree. */
static const bp_finding *find(bp_diagnosis *diagnosis, bp_problem problem) {
    for (uint32_t i = 0; i < bp_diagnosis_n_findings(diagnosis); i++) {
        const bp_finding *finding = bp_diagnosis_finding(diagnosis, i);
        if (finding->problem == problem) return finding;
    }
    return NULL;
}

static void fill(column *c, const bp_finding *finding, bool exploding) {
    c->found = finding != NULL;
    if (!finding) return;
    snprintf(c->title, TEXT_BYTES, "%s", finding->title);
    for (c->n = 0; c->n < finding->n_symptoms && c->n < MAX_SYMPTOMS; c->n++) {
        const bp_symptom *symptom = &finding->symptoms[c->n];
        snprintf(c->lecture[c->n], TEXT_BYTES, "%s",
                 exploding ? symptom->exploding : symptom->vanishing);
        snprintf(c->measured[c->n], TEXT_BYTES, "%s", symptom->measured);
        c->speaks[c->n] = exploding ? symptom->speaks_for_exploding : symptom->speaks_for_vanishing;
    }
}

static bp_status train_case(const char *name, const char *folder, bp_problem problem, column *c,
                            bp_error *error) {
    static const volatile sig_atomic_t never = 0;
    const bp_demo_case *network_case = bp_demo_cases;
    while (network_case->name && strcmp(network_case->name, name) != 0) network_case++;
    bp_network network;
    bp_session session;
    const bp_session_listener listener = {NULL,       no_step,    no_step,
                                          no_finding, no_message, no_checkpoint};
    char *run = bp_path_join(folder, name);
    if (!run) return bp_fail(error, BP_ERROR_MEMORY, "out of memory");
    const bp_session_options options = {
        .run_folder = run, .watch = true, .every = 1, .listener = &listener};
    bp_status status = bp_network_copy(&network, name, network_case->text, error);
    if (status == BP_OK) status = bp_network_set(&network, "train.epochs", "6", error);
    if (status == BP_OK) status = bp_session_open(&session, &network, &options, error);
    if (status == BP_OK) {
        bp_session_train(&session, &never);
        fill(c, find(bp_watch_diagnosis(session.watch), problem),
             problem == BP_PROBLEM_EXPLODING_GRADIENT);
        status = bp_session_close(&session, error);
    }
    free(run);
    return status;
}

/* --- two columns --------------------------------------------------------------------------------
 */

/* Bytes of text that fit into so many columns, cut at a space. */
static size_t fitting(const char *text, int columns) {
    size_t at = 0, space = 0, length = strlen(text);
    for (int used = 0; at < length;) {
        const bp_glyph glyph = bp_glyph_next(text + at, length - at);
        if (text[at] == ' ') space = at;
        if (used + glyph.columns > columns) return space ? space : at ? at : glyph.n_read;
        used += glyph.columns;
        at += glyph.n_read;
    }
    return at;
}

static void put_part(bp_page *page, bp_ink ink, const char **text, int columns) {
    char line[TEXT_BYTES];
    const size_t n = fitting(*text, columns);
    snprintf(line, sizeof line, "%.*s", (int)n, *text);
    bp_page_cell(page, ink, columns, false, line);
    *text += n;
    while (**text == ' ') ++*text;
}

static void put_pair(bp_page *page, bp_ink ink, const char *left, const char *right) {
    const int columns = (page->width - 3) / 2;
    while (*left || *right) {
        put_part(page, ink, &left, columns);
        bp_page_put(page, BP_INK_DIM, " │ ");
        put_part(page, ink, &right, columns - 1);
        bp_page_end_line(page);
    }
}

static void put_table(bp_page *page, const column *exploding, const column *vanishing) {
    put_pair(page, BP_INK_BOLD, "exploding gradient", "vanishing gradient");
    for (uint32_t i = 0; i < exploding->n && i < vanishing->n; i++) {
        put_pair(page, BP_INK_PLAIN, exploding->lecture[i], vanishing->lecture[i]);
        char cells[2][TEXT_BYTES + 8];
        snprintf(cells[0], sizeof cells[0], "%s %s", exploding->speaks[i] ? "●" : "○",
                 exploding->measured[i]);
        snprintf(cells[1], sizeof cells[1], "%s %s", vanishing->speaks[i] ? "●" : "○",
                 vanishing->measured[i]);
        put_pair(page, BP_INK_WARNING, cells[0], cells[1]);
    }
}

bp_status bp_lesson_table(bp_page *page, bp_error *error) {
    static column exploding, vanishing;
    char folder[] = "/tmp/backprobe-lesson-XXXXXX";
    if (!mkdtemp(folder)) return bp_fail_os(error, errno, "cannot make a folder in /tmp");
    bp_status status =
        train_case("exploding", folder, BP_PROBLEM_EXPLODING_GRADIENT, &exploding, error);
    if (status == BP_OK)
        status = train_case("vanishing", folder, BP_PROBLEM_VANISHING_GRADIENT, &vanishing, error);
    bp_folder_remove(folder, 2);
    if (status != BP_OK) return status;
    if (!exploding.found || !vanishing.found)
        return bp_fail(error, BP_ERROR_IO, "the two sick runs were not recognised: please report");
    bp_lesson_say(page, "How to identify it? Two runs on the digits: ten ReLU layers with weights "
                        "three times too large, twenty sigmoid layers as they come. The lecture's "
                        "signs, and below each (● it shows) what was measured.");
    bp_lesson_space(page);
    put_table(page, &exploding, &vanishing);
    bp_lesson_space(page);
    bp_lesson_say(page, "left:  %s", exploding.title);
    bp_lesson_say(page, "right: %s", vanishing.title);
    return BP_OK;
}
