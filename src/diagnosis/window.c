/* SPDX-License-Identifier: Apache-2.0 */
/* The last records: rings with running counts, so that a median is compared to a limit in O(1). */
#include "diagnosis/state.h"

#include <math.h>
#include <stdlib.h>

bool bp_window_init(bp_window *window, uint32_t n_layers, int64_t epoch_steps,
                    const bp_allocator *allocator) {
    int64_t size = epoch_steps > 0 && epoch_steps < WINDOW_MAX ? epoch_steps : WINDOW_MAX;
    if (size < WINDOW_MIN) size = WINDOW_MIN;
    window->size = (uint32_t)size;
    window->n_layers = n_layers;
    const size_t rows = (size_t)n_layers + 1;
    window->share = bp_allocate(allocator, rows * window->size, sizeof *window->share);
    window->below = bp_allocate(allocator, rows, sizeof *window->below);
    window->below_3 = bp_allocate(allocator, rows, sizeof *window->below_3);
    window->counted = bp_allocate(allocator, rows, sizeof *window->counted);
    return window->share && window->below && window->below_3 && window->counted;
}

void bp_window_finish(bp_window *window, const bp_allocator *allocator) {
    const size_t rows = (size_t)window->n_layers + 1;
    bp_release(allocator, window->share, rows * window->size, sizeof *window->share);
    bp_release(allocator, window->below, rows, sizeof *window->below);
    bp_release(allocator, window->below_3, rows, sizeof *window->below_3);
    bp_release(allocator, window->counted, rows, sizeof *window->counted);
}

static void count(bp_window *window, uint32_t layer, float share, double limit, int by) {
    if (isnan(share)) return;
    window->counted[layer] += (uint32_t)by;
    if ((double)share < limit) window->below[layer] += (uint32_t)by;
    if ((double)share < 3 * limit) window->below_3[layer] += (uint32_t)by;
}

void bp_window_push(bp_window *window, int64_t step, double loss, const double *shares,
                    double limit, bool backward, bool explode, bool forward) {
    const uint32_t at = (uint32_t)(window->n_total % window->size);
    float *row = window->share + (size_t)at * (window->n_layers + 1u);
    for (uint32_t layer = 1; layer <= window->n_layers; layer++) {
        if (window->n_total >= window->size) count(window, layer, row[layer], limit, -1);
        row[layer] = (float)shares[layer];
        count(window, layer, row[layer], limit, 1);
    }
    window->step[at] = step;
    window->loss[at] = loss;
    window->backward[at] = backward;
    window->explode[at] = explode;
    window->forward[at] = forward;
    window->n_total++;
}

uint32_t bp_window_length(const bp_window *window) {
    return window->n_total < window->size ? (uint32_t)window->n_total : window->size;
}

double bp_window_mean_loss(const bp_window *window) {
    const uint32_t length = bp_window_length(window);
    double sum = 0;
    uint32_t n = 0;
    for (uint32_t i = 0; i < length; i++)
        if (isfinite(window->loss[i])) {
            sum += window->loss[i];
            n++;
        }
    return n ? sum / n : (double)NAN;
}

bool bp_window_majority(const bp_window *window, const uint8_t *flags) {
    const uint32_t length = bp_window_length(window);
    uint32_t n = 0;
    for (uint32_t i = 0; i < length; i++) n += flags[i];
    return 2 * n > length;
}

static int compare(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

double bp_window_median_share(const bp_window *window, uint32_t layer) {
    float values[WINDOW_MAX];
    size_t n = 0;
    for (uint32_t i = 0; i < bp_window_length(window); i++) {
        const float share = window->share[(size_t)i * (window->n_layers + 1u) + layer];
        if (!isnan(share)) values[n++] = share;
    }
    if (n == 0) return NAN;
    qsort(values, n, sizeof *values, compare);
    const double upper = (double)values[n / 2];
    return n % 2 ? upper : 0.5 * (upper + (double)values[n / 2 - 1]);
}

/* --- onset --------------------------------------------------------------------------------------
 * A yes/no series over the records, and where "yes" began. */
typedef struct yes_no {
    const int64_t *step;  /* [size], a ring by record modulo size */
    const uint8_t *flags; /* [size], or NULL: a layer's shares below the limit */
    const bp_window *window;
    uint32_t layer;
    double limit;
    uint32_t size, length;
    uint64_t n_total;
} yes_no;

/* +1: it holds, -1: it does not, 0: not told. */
static int vote(const yes_no *series, uint32_t back, int64_t *step) {
    const uint32_t at = (uint32_t)((series->n_total - 1 - back) % series->size);
    *step = series->step[at];
    if (series->flags) return series->flags[at] ? 1 : -1;
    const bp_window *window = series->window;
    const float share = window->share[(size_t)at * (window->n_layers + 1u) + series->layer];
    if (isnan(share)) return 0;
    return (double)share < series->limit ? 1 : -1;
}

/* ln of the likelihood ratio that still counts as "might be": 95% of one degree of freedom. */
#define LIKELY 1.92

/* Walking back from now, +1 for yes and -1 for no: the likelihood of a change point is highest
 * where the sum is, for each reading is wrong with a probability e, and one vote more or less is a
 * factor of (1 - e) / e. e is what the best split itself leaves unexplained. */
/* From the oldest to the youngest split that is likely enough. It lies between two records. */
static void bound(const yes_no *series, double least, bp_onset *onset) {
    int64_t step = 0, sum = 0;
    bool any = false, was_likely = false;
    onset->earliest = onset->latest = onset->step;
    for (uint32_t back = 0; back < series->length; back++) {
        const int one = vote(series, back, &step);
        sum += one;
        const bool is_likely = one > 0 && (double)sum >= least;
        if (is_likely && !any && step > onset->latest) onset->latest = step;
        if (is_likely && step < onset->earliest) onset->earliest = step;
        if (was_likely && one < 0 && step + 1 < onset->earliest) onset->earliest = step + 1;
        any = any || is_likely;
        was_likely = is_likely || (was_likely && one == 0);
    }
}

static bp_onset change_point(const yes_no *series) {
    int64_t step = 0, sum = 0, best = 0, n_yes = 0, n = 0;
    bp_onset onset = {0, 0, 0};
    for (uint32_t back = 0; back < series->length; back++) {
        const int one = vote(series, back, &step);
        if (back == 0) onset.step = step;
        sum += one;
        n += one != 0;
        n_yes += one > 0;
        if (one <= 0 || sum < best) continue; /* the older one among equals */
        best = sum;
        onset.step = step;
    }
    /* Wrong are the no's behind the change and the yes's before it. */
    const double wrong = (double)(n_yes - best) + 0.5;
    const double e = fmin(0.45, wrong / ((double)n + 1));
    bound(series, (double)best - LIKELY / log((1 - e) / e), &onset);
    return onset;
}

bp_onset bp_onset_of_flags(const int64_t *step, const uint8_t *flags, uint32_t size,
                           uint64_t n_total) {
    const yes_no series = {.step = step,
                           .flags = flags,
                           .size = size,
                           .n_total = n_total,
                           .length = n_total < size ? (uint32_t)n_total : size};
    return change_point(&series);
}

bp_onset bp_window_onset(const bp_window *window, const uint8_t *flags) {
    return bp_onset_of_flags(window->step, flags, window->size, window->n_total);
}

bp_onset bp_window_onset_of_layer(const bp_window *window, uint32_t layer, double limit) {
    const yes_no series = {.step = window->step,
                           .window = window,
                           .layer = layer,
                           .limit = limit,
                           .size = window->size,
                           .n_total = window->n_total,
                           .length = bp_window_length(window)};
    return change_point(&series);
}

int64_t bp_window_step_before(const bp_window *window, int64_t step) {
    int64_t before = -1;
    for (uint32_t i = 0; i < bp_window_length(window); i++)
        if (window->step[i] < step && window->step[i] > before) before = window->step[i];
    return before;
}
