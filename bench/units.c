/* SPDX-License-Identifier: Apache-2.0 */
/* Units, updates and the panel beside bp_summarise over the same f32, in turns in one run.
 *
 *   units ROUNDS MILLISECONDS
 *
 * A round gives each side a turn of about so many milliseconds; a ratio is that of two turns of one
 * round: per element, to one summary. One JSON line a result, then a table. `units` and `channels`
 * are bp_units_add and bp_units_variation over [samples, units] and [samples, channels, pixels];
 * `update` reads three tensors; `panel` is a whole step of a panel: gradient, weights before and
 * after, reading. */
#include "peak.h"
#include "stats/stats.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_ROUNDS = 1001 };
typedef enum side { SUMMARY, UNITS, CHANNELS, UPDATE, PANEL, N_SIDES } side;
static const char *const names[] = {"summary", "units", "channels", "update", "panel"};

typedef struct shape {
    size_t samples, units, channels;
} shape;
static const shape shapes[] = {{64, 256, 0},   {64, 784, 1},    {256, 1024, 0},
                               {32, 1600, 16}, {64, 10, 0},     {16, 32, 0},
                               {32, 4704, 6},  {1024, 1024, 0}, {4096, 4096, 0}};

typedef struct work {
    bp_tensor tensors[3];
    bp_units units, channels;
    bp_panel panel;
    double *numbers;
    uint64_t *words;
    float *values[3];
} work;

static volatile double sink; /* what is never read may be left out */

static void *take(size_t n, size_t size) {
    void *block = NULL;
    if (posix_memalign(&block, 64, n * size) != 0) {
        fprintf(stderr, "units: out of memory\n");
        exit(1);
    }
    return block;
}

static work open_work(shape sizes) {
    const size_t n = sizes.samples * sizes.units;
    work w = {.words = NULL};
    w.numbers = take(6 * sizes.units, sizeof *w.numbers);
    w.words = take(bp_panel_words(n), sizeof *w.words);
    for (size_t t = 0; t < 3; t++) {
        w.values[t] = take(n, sizeof(float));
        for (size_t i = 0; i < n; i++)
            w.values[t][i] = (float)sin(1.7 * (double)i + (double)t) + (t == 2 ? 1e-3f : 0.0f);
        w.tensors[t] =
            bp_tensor_matrix(w.values[t], BP_F32, (int64_t)sizes.samples, (int64_t)sizes.units);
    }
    const size_t u = sizes.units, c = sizes.channels;
    bp_units_init(&w.units, w.numbers, w.numbers + u, w.numbers + 2 * u, u);
    bp_units_init(&w.channels, w.numbers + 3 * u, w.numbers + 4 * u, w.numbers + 5 * u, c);
    if (c) w.channels.n_inner = u / c;
    bp_panel_init(&w.panel, w.words, n, 0);
    return w;
}

static void close_work(work *w) {
    for (size_t t = 0; t < 3; t++) free(w->values[t]);
    free(w->numbers);
    free(w->words);
}

static void see_units(bp_units *units, const bp_tensor *tensor) {
    double variation = 0;
    bp_units_add(units, tensor);
    bp_units_variation(units, 1, &variation);
    bp_units_reset(units);
    sink = variation;
}

static void once(work *w, side which) {
    bp_summary summary;
    bp_update_stats update = {0};
    bp_panel_reading reading = {.effect = 0};
    switch (which) {
    case SUMMARY:
        bp_summarise(&summary, &w->tensors[0]);
        sink = summary.sum;
        break;
    case UNITS:
        see_units(&w->units, &w->tensors[0]);
        break;
    case CHANNELS:
        see_units(&w->channels, &w->tensors[0]);
        break;
    case UPDATE:
        bp_update_stats_add(&update, &w->tensors[0], &w->tensors[1], &w->tensors[2]);
        sink = update.effect;
        break;
    case PANEL:
        bp_panel_before(&w->panel, &w->tensors[0], &w->tensors[1]);
        bp_panel_after(&w->panel, &w->tensors[2], &reading);
        sink = reading.effect;
        break;
    case N_SIDES:
        break;
    }
}

static double turn(work *w, side which, long repeats) {
    const double begin = bench_seconds();
    for (long i = 0; i < repeats; i++) once(w, which);
    return (bench_seconds() - begin) / (double)repeats;
}

static long repeats_of(work *w, side which, double seconds) {
    long repeats = 1;
    double taken;
    while ((taken = turn(w, which, repeats) * (double)repeats) < seconds / 4) repeats *= 2;
    const double fitting = (double)repeats * seconds / taken;
    return fitting > 1 ? lrint(fitting) : 1;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(shape sizes, int rounds, double seconds, char *row, size_t room) {
    static double times[N_SIDES][MAX_ROUNDS], ratios[MAX_ROUNDS];
    work w = open_work(sizes);
    long repeats[N_SIDES];
    const size_t n = sizes.samples * sizes.units;
    size_t used = (size_t)snprintf(row, room, "| %zu × %zu |", sizes.samples, sizes.units);
    for (side s = 0; s < N_SIDES; s++) repeats[s] = repeats_of(&w, s, seconds);
    for (int round = 0; round < rounds; round++)
        for (side s = 0; s < N_SIDES; s++) times[s][round] = turn(&w, s, repeats[s]);
    for (side s = 0; s < N_SIDES; s++) {
        if (s == CHANNELS && !sizes.channels) {
            used += (size_t)snprintf(row + used, room - used, " – |");
            continue;
        }
        for (int i = 0; i < rounds; i++) ratios[i] = times[s][i] / times[SUMMARY][i];
        qsort(ratios, (size_t)rounds, sizeof *ratios, ascending);
        qsort(times[s], s == SUMMARY ? 0 : (size_t)rounds, sizeof *times[s], ascending);
        const double ns = 1e9 * times[s][rounds / 2] / (double)n;
        const double median = ratios[rounds / 2], low = ratios[0], high = ratios[rounds - 1];
        printf("{\"bench\": \"units\", \"samples\": %zu, \"units\": %zu, \"what\": \"%s\", "
               "\"ns_per_element\": %.4g, \"ratio\": {\"median\": %.4g, \"min\": %.4g, \"max\": "
               "%.4g}}\n",
               sizes.samples, sizes.units, names[s], ns, median, low, high);
        used += s == SUMMARY ? (size_t)snprintf(row + used, room - used, " %.3f |", ns)
                             : (size_t)snprintf(row + used, room - used, " %.2f (%.2f–%.2f) |",
                                                median, low, high);
    }
    fflush(stdout);
    close_work(&w);
}

int main(int argc, char **argv) {
    const int rounds = argc == 3 ? atoi(argv[1]) : 0;
    const double seconds = argc == 3 ? 1e-3 * atof(argv[2]) : 0;
    if (rounds < 1 || rounds > MAX_ROUNDS || !(seconds > 0)) {
        fprintf(stderr, "usage: units ROUNDS MILLISECONDS\n");
        return 2;
    }
    enum { N_SHAPES = sizeof shapes / sizeof *shapes };
    static char rows[N_SHAPES][256];
    for (size_t i = 0; i < N_SHAPES; i++)
        measure(shapes[i], rounds, seconds, rows[i], sizeof rows[i]);
    printf("\nCPU level %s. Times as multiples of one summary's: median (min–max).\n\n",
           bp_cpu_level());
    printf("| f32 | a summary, ns an element | units | channels | update | panel |\n"
           "| --- | --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < N_SHAPES; i++) printf("%s\n", rows[i]);
    return 0;
}
