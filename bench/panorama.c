/* SPDX-License-Identifier: Apache-2.0 */
/* A run too large to be looked at number by number, and how it is looked at.
 *
 *   panorama write FOLDER LAYERS STEPS EVERY BAD_STEP BAD_LAYER
 *       writes a run as a training would, into the empty FOLDER: losses at every step, every EVERY
 *       steps a full record of what the watch measures, a validation now and then, histograms; at
 *       BAD_STEP one NaN among the gradients of BAD_LAYER, and the finding that tells of it
 *   panorama dense FOLDER LAYERS STEPS BAD_STEP BAD_LAYER
 *       gradient_rms and error_norm of all layers at every step, thinned as it comes
 *   panorama look FOLDER BAD_STEP BAD_LAYER COLUMNS ROUNDS SERIES...
 *       opens the pyramid of each series, twice, takes tiles of the whole run and of shorter and
 *       shorter spans around BAD_STEP; gradient_rms must show the bad step, and no other, in each
 *
 * One JSON line a result. */
#include "diagnosis/diagnosis.h"
#include "model/model.h"
#include "record/event.h"
#include "record/log16.h"
#include "report/tile.h"
#include "runlog/runlog.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define VALIDATION_EVERY 5000
#define HISTOGRAM_OCTAVES 24u
#define GRADIENT_ROLE 6u /* bp_role: pinned */

static void fail(const char *what) {
    fprintf(stderr, "panorama: %s\n", what);
    exit(2);
}

static double seconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Of the wall, and of this thread: they differ when others keep the machine busy. */
typedef struct times {
    double wall, cpu;
} times;

static times now(void) {
    return (times){seconds(CLOCK_MONOTONIC), seconds(CLOCK_THREAD_CPUTIME_ID)};
}

static times since(times began) {
    const times t = now();
    return (times){t.wall - began.wall, t.cpu - began.cpu};
}

static double peak_megabytes(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024;
}

/* --- the run ------------------------------------------------------------------------------------
 */

/* Blocks of a transformer, as deep as it takes. */
static bp_model *make_model(uint32_t n_layers) {
    static const char *const parts[] = {"attn.q", "attn.k",   "attn.v",   "attn.out",
                                        "mlp.up", "mlp.gate", "mlp.down", "norm"};
    bp_model *model;
    if (bp_model_open(&model, NULL) != BP_OK) fail("no memory");
    for (uint32_t i = 0; i < n_layers; i++) {
        char name[64];
        snprintf(name, sizeof name, "blocks.%u.%s", (unsigned)i / 8, parts[i % 8]);
        const bp_layer layer = {.name = name,
                                .kind = BP_LAYER_DENSE,
                                .activation = BP_ACTIVATION_LINEAR,
                                .has_bias = true,
                                .fan_in = 64,
                                .fan_out = 64};
        if (bp_model_add_layer(model, &layer, NULL, NULL) != BP_OK) fail("no memory");
    }
    bp_model_set_recipe(model, &(bp_recipe){.loss = BP_CROSS_ENTROPY,
                                            .optimiser = BP_ADAMW,
                                            .learning_rate = 1e-4,
                                            .batch = 32,
                                            .trivial_loss = log(1000.0)});
    return model;
}

/* Uniform in 0 ... 1, the same for the same place. */
static double noise(uint64_t a, uint64_t b) {
    uint64_t x = a * UINT64_C(0x9E3779B97F4A7C15) + b * UINT64_C(0xD1B54A32D192ED03);
    x = (x ^ x >> 31) * UINT64_C(0xBF58476D1CE4E5B9);
    return (double)(x >> 11) * 0x1p-53;
}

/* A value of a layer that drifts with the steps and over depth, with noise: healthy. */
static double value(int64_t step, uint32_t layer, unsigned what, double size) {
    const double drift = sin((double)step / 60000.0 + layer / 90.0 + what);
    return size * exp(0.5 * drift + 0.4 * noise((uint64_t)step, (uint64_t)layer << 8 | what));
}

static double loss_of(int64_t step) {
    return 1.5 + 5.4 * exp(-(double)step / 150000.0) + 0.2 * noise((uint64_t)step, 77);
}

/* Magnitudes that a watch measures of a layer, and their sizes. */
static const struct {
    bp_quantity quantity;
    double size;
} magnitudes[] = {
    {BP_Q_ACTIVATION_NORM, 8},      {BP_Q_ACTIVATION_RMS, 1},
    {BP_Q_ACTIVATION_MAX, 5},       {BP_Q_VARIATION, 0.7},
    {BP_Q_ERROR_NORM, 1e-2},        {BP_Q_ERROR_RMS, 1e-3},
    {BP_Q_ERROR_MAX, 1e-2},         {BP_Q_ERROR_PRE_ACTIVATION, 1e-3},
    {BP_Q_ERROR_INPUT_NORM, 1e-2},  {BP_Q_WEIGHT_RMS, 0.1},
    {BP_Q_WEIGHT_MAX, 0.5},         {BP_Q_BIAS_RMS, 0.02},
    {BP_Q_GRADIENT_RMS, 1e-4},      {BP_Q_GRADIENT_MAX, 1e-3},
    {BP_Q_BIAS_GRADIENT_RMS, 1e-4}, {BP_Q_UPDATE_RMS, 1e-4},
};
/* Counts, which are the same for long. */
static const struct {
    bp_quantity quantity;
    double count;
} counts[] = {
    {BP_Q_ACTIVATION_NAN, 0},  {BP_Q_ACTIVATION_INF, 0}, {BP_Q_UNITS, 64},
    {BP_Q_SILENT_UNITS, 0},    {BP_Q_DEAD_UNITS, 0},     {BP_Q_SATURATED_UNITS, 1},
    {BP_Q_DISTINCT_UNITS, 64}, {BP_Q_ERROR_NAN, 0},      {BP_Q_ERROR_INF, 0},
    {BP_Q_PARAMETER_NAN, 0},   {BP_Q_PARAMETER_INF, 0},  {BP_Q_GRADIENT_NAN, 0},
    {BP_Q_GRADIENT_INF, 0},    {BP_Q_STALLED, 0},        {BP_Q_PARAMETERS, 4160},
};

typedef struct writing {
    bp_runlog_writer *log;
    bp_model *model;
    uint32_t n_layers;
    int64_t bad_step;
    uint32_t bad_layer;
    bp_record record;
    uint8_t *bytes;
    size_t capacity;
} writing;

static void begin(writing *w, const char *folder, uint32_t n_layers) {
    bp_error error;
    const bp_runlog_options options = {.direct = true};
    w->n_layers = n_layers;
    w->model = make_model(n_layers);
    w->capacity = bp_record_max_bytes(n_layers);
    w->bytes = malloc(w->capacity);
    if (!w->bytes || bp_record_init(&w->record, n_layers, NULL) != BP_OK) fail("no memory");
    if (bp_runlog_writer_open(&w->log, folder, w->model, &options, &error) != BP_OK)
        fail(error.text);
}

static void end(writing *w) {
    bp_error error = {.status = BP_OK};
    const bp_status status = bp_runlog_writer_close(w->log, BP_RUN_FINISHED, &error);
    if (status != BP_OK) fail(error.text);
    bp_record_finish(&w->record, NULL);
    bp_model_close(w->model);
    free(w->bytes);
}

static void put_step(writing *w, int64_t step) {
    bp_error error;
    bp_writer writer;
    w->record.step = step;
    w->record.wall_time = 1700000000.0 + (double)step / 20.0;
    bp_record_set(&w->record, BP_Q_LOSS, 0, loss_of(step));
    if (step == w->bad_step) {
        bp_record_set(&w->record, BP_Q_GRADIENT_RMS, w->bad_layer, (double)NAN);
        bp_record_set(&w->record, BP_Q_GRADIENT_NAN, w->bad_layer, 1);
    }
    bp_writer_init(&writer, w->bytes, w->capacity);
    bp_record_encode(&w->record, &writer);
    if (bp_runlog_writer_step(w->log, step, w->bytes, writer.length, &error) != BP_OK)
        fail(error.text);
    bp_record_clear(&w->record);
}

static void put_event(writing *w, const bp_event *event) {
    uint8_t bytes[BP_EVENT_MAX_BYTES];
    bp_writer writer;
    bp_error error;
    bp_writer_init(&writer, bytes, sizeof bytes);
    bp_event_encode(event, &writer);
    if (bp_runlog_writer_event(w->log, (bp_runlog_type)event->kind, bytes, writer.length, &error) !=
        BP_OK)
        fail(error.text);
}

static void tell_finding(writing *w, int64_t step) {
    put_event(w, &(bp_event){.kind = BP_EVENT_FINDING,
                             .as.finding = {.step = step,
                                            .since_step = step,
                                            .problem = BP_PROBLEM_NON_FINITE,
                                            .severity = BP_ERROR,
                                            .state = BP_FINDING_OPENED}});
}

static void set_full(writing *w, int64_t step) {
    for (uint32_t layer = 1; layer <= w->n_layers; layer++) {
        for (unsigned i = 0; i < sizeof magnitudes / sizeof *magnitudes; i++)
            bp_record_set(&w->record, magnitudes[i].quantity, layer,
                          value(step, layer, i, magnitudes[i].size));
        for (unsigned i = 0; i < sizeof counts / sizeof *counts; i++)
            bp_record_set(&w->record, counts[i].quantity, layer, counts[i].count);
        bp_record_set(&w->record, BP_Q_EFFECT, layer, value(step, layer, 99, 1e-6));
    }
    bp_record_set(&w->record, BP_Q_SAMPLES, 0, 32);
    bp_record_set(&w->record, BP_Q_LOSS_TERMS, 0, 32);
    bp_record_set(&w->record, BP_Q_LEARNING_RATE, 0, 1e-4);
    bp_record_set(&w->record, BP_Q_GRADIENT_NORM, 0, value(step, 0, 0, 0.5));
    if (step % VALIDATION_EVERY == 0)
        bp_record_set(&w->record, BP_Q_VALIDATION_LOSS, 0, loss_of(step) + 0.1);
}

/* As seldom as the watch: the first full steps, then as the root of their number. */
static bool has_histograms(int64_t full) {
    const int64_t root = (int64_t)sqrt((double)full);
    return full < 16 || root * root == full;
}

static void put_histograms(writing *w, int64_t step) {
    for (uint32_t layer = 1; layer <= w->n_layers; layer++) {
        bp_event event = {.kind = BP_EVENT_HISTOGRAM,
                          .as.histogram = {.step = step, .layer = layer, .role = GRADIENT_ROLE}};
        bp_histogram *h = &event.as.histogram.histogram;
        h->first_octave = -30 + (int32_t)(4 * noise(layer, (uint64_t)step));
        h->n_octaves = HISTOGRAM_OCTAVES;
        for (unsigned i = 0; i < HISTOGRAM_OCTAVES; i++) h->count[i] = 1 + 340 / (1 + i % 13);
        put_event(w, &event);
    }
}

static void write_run(const char *folder, uint32_t n_layers, int64_t n_steps, int64_t every,
                      int64_t bad_step, uint32_t bad_layer) {
    writing w = {.bad_step = bad_step, .bad_layer = bad_layer};
    bp_error error;
    int64_t n_full = 0;
    if (every < 1) fail("expected every 1 step or more");
    begin(&w, folder, n_layers);
    for (int64_t step = 0; step < n_steps; step++) {
        if (step % every == 0) {
            set_full(&w, step);
            put_step(&w, step);
            if (has_histograms(n_full++)) put_histograms(&w, step);
        } else if (bp_runlog_writer_loss(w.log, step, loss_of(step), &error) != BP_OK) {
            fail(error.text);
        }
        if (step == bad_step) tell_finding(&w, step);
    }
    end(&w);
}

static void write_dense(const char *folder, uint32_t n_layers, int64_t n_steps, int64_t bad_step,
                        uint32_t bad_layer) {
    writing w = {.bad_step = bad_step, .bad_layer = bad_layer};
    begin(&w, folder, n_layers);
    for (int64_t step = 0; step < n_steps; step++) {
        const double drift = exp(0.5 * sin((double)step / 60000.0)); /* cheap: they are many */
        for (uint32_t layer = 1; layer <= n_layers; layer++) {
            const double size = drift * (1 + layer / 500.0) * (1 + noise((uint64_t)step, layer));
            bp_record_set(&w.record, BP_Q_GRADIENT_RMS, layer, 1e-4 * size);
            bp_record_set(&w.record, BP_Q_ERROR_NORM, layer, 1e-2 * size);
        }
        put_step(&w, step);
        if (step == bad_step) tell_finding(&w, step);
    }
    end(&w);
}

/* --- looking ------------------------------------------------------------------------------------
 */

typedef struct looking {
    const char *folder;
    bp_series series;
    bp_pyramid *pyramid;
    uint8_t *tile; /* the last one */
    size_t n_bytes;
    int64_t bad_step;
    uint32_t bad_layer, n_columns;
} looking;

static times open_once(looking *l) {
    bp_error error;
    const times began = now();
    if (bp_pyramid_open(&l->pyramid, l->folder, l->series, NULL, &error) != BP_OK) fail(error.text);
    return since(began);
}

/* A tile as the server makes it. */
static times draw(looking *l, int64_t first, int64_t last) {
    bp_error error;
    free(l->tile);
    const times began = now();
    if (bp_tile_draw(&l->tile, &l->n_bytes, l->pyramid, first, last, l->n_columns, &error) != BP_OK)
        fail(error.text);
    return since(began);
}

static uint32_t rows_of(const looking *l) {
    return bp_get_u32(l->tile + 8);
}

static uint32_t columns_of(const looking *l) {
    return bp_get_u32(l->tile + 12);
}

static double start_of(const looking *l, size_t column) {
    double start;
    memcpy(&start, l->tile + 32 + 8 * column, sizeof start);
    return start;
}

/* Of the tile's cells that are not finite: whether there is one, and it is the bad one. */
static bool shows_bad_step(const looking *l) {
    const size_t rows = rows_of(l), columns = columns_of(l), cells = rows * columns;
    const uint8_t *flags = l->tile + l->n_bytes - (cells + 7) / 8 * 8; /* padded, at the end */
    uint32_t n = 0;
    bool right = true;
    for (size_t i = 0; i < cells; i++) {
        if (flags[i] == 0) continue;
        n++;
        right = right && i / columns == l->bad_layer &&
                start_of(l, i % columns) <= (double)l->bad_step &&
                (double)l->bad_step < start_of(l, i % columns + 1);
    }
    return n == 1 && right;
}

/* Half the span each time, the bad step in it but not always in its middle. */
static void zoom(looking *l) {
    const int64_t last_step = bp_pyramid_last_step(l->pyramid);
    for (int64_t span = last_step + 1; span > 0; span /= 2) {
        int64_t first = l->bad_step - span / 3;
        if (first + span > last_step + 1) first = last_step + 1 - span;
        if (first < 0) first = 0;
        const times took = draw(l, first, first + span - 1);
        printf("{\"look\": \"zoom\", \"series\": \"%s\", \"span\": %lld, \"columns\": %u, "
               "\"tile_ms\": %.2f, \"tile_cpu_ms\": %.2f, \"bytes\": %zu, \"bad_step\": %s}\n",
               bp_series_name(l->series), (long long)span, (unsigned)columns_of(l), 1e3 * took.wall,
               1e3 * took.cpu, l->n_bytes, shows_bad_step(l) ? "true" : "false");
    }
}

static void look(looking *l, const char *name, int rounds) {
    if (!bp_series_find(&l->series, name)) fail("no such series");
    const times built = open_once(l);
    bp_pyramid_close(l->pyramid);
    const times opened = open_once(l);
    const int64_t last = bp_pyramid_last_step(l->pyramid);
    if (last < 0) fail("the log has nothing of a series");
    for (int round = 0; round < rounds; round++) {
        const times took = draw(l, 0, last);
        printf("{\"look\": \"whole\", \"series\": \"%s\", \"round\": %d, \"steps\": %lld, "
               "\"rows\": %u, \"columns\": %u, \"build_s\": %.3f, \"build_cpu_s\": %.3f, "
               "\"open_ms\": %.2f, \"tile_ms\": %.2f, \"tile_cpu_ms\": %.2f, \"bytes\": %zu, "
               "\"kept\": %s, \"peak_mb\": %.1f}\n",
               name, round, (long long)last + 1, (unsigned)rows_of(l), (unsigned)columns_of(l),
               built.wall, built.cpu, 1e3 * opened.wall, 1e3 * took.wall, 1e3 * took.cpu,
               l->n_bytes, bp_pyramid_is_kept(l->pyramid) ? "true" : "false", peak_megabytes());
    }
    if (l->series == (bp_series)BP_Q_GRADIENT_RMS) zoom(l);
    bp_pyramid_close(l->pyramid);
    free(l->tile);
    l->tile = NULL;
    fflush(stdout);
}

static int64_t number(const char *text, int64_t most) {
    int64_t n;
    if (!bp_parse_integer(text, &n) || n < 0 || n > most) fail("expected a number");
    return n;
}

int main(int argc, char **argv) {
    const int64_t steps = INT64_C(1) << 40, layers = 100000;
    if (argc == 8 && strcmp(argv[1], "write") == 0) {
        write_run(argv[2], (uint32_t)number(argv[3], layers), number(argv[4], steps),
                  number(argv[5], steps), number(argv[6], steps),
                  (uint32_t)number(argv[7], layers));
        return 0;
    }
    if (argc == 7 && strcmp(argv[1], "dense") == 0) {
        write_dense(argv[2], (uint32_t)number(argv[3], layers), number(argv[4], steps),
                    number(argv[5], steps), (uint32_t)number(argv[6], layers));
        return 0;
    }
    if (argc >= 8 && strcmp(argv[1], "look") == 0) {
        looking l = {.folder = argv[2],
                     .bad_step = number(argv[3], steps),
                     .bad_layer = (uint32_t)number(argv[4], layers),
                     .n_columns = (uint32_t)number(argv[5], 1 << 20)};
        for (int i = 7; i < argc; i++) look(&l, argv[i], (int)number(argv[6], 1000));
        return 0;
    }
    fail("expected write, dense or look");
}
