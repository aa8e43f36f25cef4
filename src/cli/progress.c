/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/progress.h"
#include "cli/cli.h"

#include <inttypes.h>
#include <math.h>
#include <unistd.h>

#define SECONDS_BETWEEN 0.1
#define BAR_COLUMNS 20

bp_progress bp_progress_begin(bool wanted) {
    static const bp_common_options never = {false, "never"};
    bp_progress progress = {.on = wanted && isatty(STDERR_FILENO), .last = -1e9};
    progress.width = bp_style_of(stderr, &never).width;
    return progress;
}

void bp_progress_clear(bp_progress *progress) {
    if (!progress->drawn) return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    progress->drawn = false;
    progress->last = -1e9;
}

static void add_number(bp_text *text, const char *before, double value, int digits) {
    if (isnan(value)) return;
    bp_text_add(text, "%s", before);
    bp_text_add_number(text, value, digits);
}

/* "epoch 3/10 ━━━━━━────── 12300 samples/s · 0:02 left · loss 0.312 · validation 0.29, 0.92" */
static void compose(bp_text *text, const bp_session *session) {
    const bp_recipe *recipe = bp_model_recipe(session->model);
    int64_t all = recipe->epochs * recipe->epoch_steps;
    double done = all > 0 ? (double)session->standing.step / (double)all : 0;
    double left = done > 0 ? session->standing.seconds / done * (1 - done) : 0;
    double samples = (double)recipe->train_samples * (double)session->standing.step /
                     (double)(recipe->epoch_steps > 0 ? recipe->epoch_steps : 1);
    int64_t epoch = session->epoch < recipe->epochs ? session->epoch + 1 : recipe->epochs;
    bp_text_add(text, "epoch %" PRId64 "/%" PRId64 " ", epoch, recipe->epochs);
    for (int i = 0; i < BAR_COLUMNS; i++) bp_text_add(text, i < done * BAR_COLUMNS ? "━" : "─");
    if (session->standing.seconds > 0)
        bp_text_add(text, " %.0f samples/s · %d:%02d left", samples / session->standing.seconds,
                    (int)fmin(left, 1e6) / 60, (int)fmin(left, 1e6) % 60);
    add_number(text, " · loss ", session->loss, 3);
    add_number(text, " · validation ", session->standing.validation.loss, 3);
    add_number(text, ", ", session->standing.validation.accuracy, 3);
}

void bp_progress_step(bp_progress *progress, const bp_session *session) {
    if (!progress->on) return;
    double now = bp_io_system.steady_clock(bp_io_system.context);
    if (now - progress->last < SECONDS_BETWEEN) return;
    progress->last = now;
    char bytes[400];
    bp_text text;
    bp_text_init(&text, bytes, sizeof bytes);
    compose(&text, session);
    fputs("\r\033[K", stderr);
    bp_page page = bp_page_begin(stderr, &(bp_report_style){false, progress->width});
    bp_page_cell(&page, BP_INK_PLAIN, progress->width - 1, false, bytes);
    fflush(stderr);
    progress->drawn = true;
}
