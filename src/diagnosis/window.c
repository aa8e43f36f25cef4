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
    double sum = 0;
    uint32_t n = 0;
    for (uint32_t i = 0; i < bp_window_length(window); i++)
        if (isfinite(window->loss[i])) {
            sum += window->loss[i];
            n++;
        }
    return n ? sum / n : (double)NAN;
}

bool bp_window_majority(const bp_window *window, const uint8_t *flags) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < bp_window_length(window); i++) n += flags[i];
    return 2 * n > bp_window_length(window);
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

/* Ring position of the entry that is `back` records old. */
static uint32_t position(const bp_window *window, uint32_t back) {
    return (uint32_t)((window->n_total - 1 - back) % window->size);
}

/* The change point of a yes/no series: walking back from now, +1 for yes, -1 for no; the onset is
 * where the sum is largest (the older one among equals). */
typedef struct change_point {
    int64_t sum, best, onset;
} change_point;

static void change_point_add(change_point *change, bool yes, int64_t step) {
    change->sum += yes ? 1 : -1;
    if (yes && change->sum >= change->best) {
        change->best = change->sum;
        change->onset = step;
    }
}

int64_t bp_window_onset(const bp_window *window, const uint8_t *flags) {
    change_point change = {0, 0, window->step[position(window, 0)]};
    for (uint32_t back = 0; back < bp_window_length(window); back++) {
        const uint32_t at = position(window, back);
        change_point_add(&change, flags[at], window->step[at]);
    }
    return change.onset;
}

int64_t bp_window_onset_of_layer(const bp_window *window, uint32_t layer, double limit) {
    change_point change = {0, 0, window->step[position(window, 0)]};
    for (uint32_t back = 0; back < bp_window_length(window); back++) {
        const uint32_t at = position(window, back);
        const float share = window->share[(size_t)at * (window->n_layers + 1u) + layer];
        if (!isnan(share)) change_point_add(&change, (double)share < limit, window->step[at]);
    }
    return change.onset;
}
