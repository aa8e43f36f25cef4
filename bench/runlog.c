/* SPDX-License-Identifier: Apache-2.0 */
/* The side of bench/runlog.py that is written in C: one log of LAYERS layers, four values each.
 *
 *   runlog write SIDE FOLDER LAYERS STEPS                          as fast as it goes
 *   runlog pace SIDE FOLDER LAYERS STEPS MICROSECONDS DISK         between pieces of work
 *   runlog load SIDE FOLDER ROUNDS                                 what write left
 *
 * SIDE: ring or direct (our writer), or frame (the least that a log can be: length, checksum, step,
 * the values as f32, one write(2) a step). DISK: quiet; busy: a thread beside writes and fsyncs
 * without pause; frozen: write and fsync block for the middle half of the run. The answer is one
 * line of JSON. */
#include "peak.h"

#include "model/model.h"
#include "runlog/runlog.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define QUANTITIES 4
#define COLD_BYTES                                                                 \
    ((size_t)16 << 20) /* of the work between steps: more than a core's own caches \
                        */
#define LARGE_RING_BYTES \
    ((uint64_t)64 << 20) /* so that nothing is dropped when no time is between steps */
#define BUSY_BYTES ((size_t)1 << 20)

static const bp_quantity quantities[QUANTITIES] = {BP_Q_ACTIVATION_RMS, BP_Q_WEIGHT_RMS,
                                                   BP_Q_GRADIENT_RMS, BP_Q_UPDATE_RMS};

typedef struct bench_frame_head {
    uint32_t n_bytes, crc; /* of what follows these two */
    int64_t step;
} bench_frame_head;

typedef struct bench_log { /* one side, open for writing */
    bool is_frame;
    const char *path;
    uint32_t n_layers;
    bp_io io;
    bp_model *model;
    bp_runlog_writer *writer;
    int file;
    bp_record record;
    uint8_t *bytes; /* of the step at hand */
    size_t n_bytes;
} bench_log;

static _Noreturn void fail(const char *text) {
    fprintf(stderr, "runlog: %s\n", text);
    exit(1);
}

static void must(bp_status status, const bp_error *error) {
    if (status != BP_OK) fail(error->text);
}

static void *need(size_t n_bytes) {
    void *block = calloc(1, n_bytes);
    if (!block) fail("out of memory");
    return block;
}

/* --- a disk that can freeze ----------------------------------------------------------------- */

static atomic_bool is_frozen, is_over;

static void wait_for_disk(void) {
    while (atomic_load(&is_frozen)) usleep(200);
}

static ssize_t slow_write(void *context, int file, const void *bytes, size_t n_bytes) {
    wait_for_disk();
    return bp_io_system.write(context, file, bytes, n_bytes);
}

static int slow_fsync(void *context, int file) {
    wait_for_disk();
    return bp_io_system.fsync(context, file);
}

/* Freezes for the middle half of the run. context: seconds of it. */
static void *freeze(void *context) {
    const double seconds = *(const double *)context;
    usleep((useconds_t)(seconds / 4 * 1e6));
    atomic_store(&is_frozen, true);
    usleep((useconds_t)(seconds / 2 * 1e6));
    atomic_store(&is_frozen, false);
    return NULL;
}

/* context: a path of its own. */
static void *keep_busy(void *context) {
    const int file = open(context, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    void *block = need(BUSY_BYTES);
    while (file >= 0 && !atomic_load(&is_over)) {
        if (pwrite(file, block, BUSY_BYTES, 0) < 0 || fsync(file) < 0) fail("the disk is broken");
    }
    free(block);
    close(file);
    unlink(context);
    return NULL;
}

/* --- the steps ------------------------------------------------------------------------------ */

/* Positive numbers around 0.03, like those of a network in training; a linear congruential
 * generator (Knuth). */
static void fill(bp_record *record, int64_t step) {
    static uint64_t state = 1;
    bp_record_clear(record);
    record->step = step;
    record->wall_time = 1.7e9 + 2e-4 * (double)step;
    for (int i = 0; i < QUANTITIES; i++)
        for (uint32_t layer = 1; layer <= record->n_layers; layer++) {
            state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            bp_record_set(record, quantities[i], layer,
                          0.01 + 0.04 * (double)(state >> 33) / 2147483648.0);
        }
}

/* What the training thread has in hand when it hands over: the record, encoded. */
static void prepare(bench_log *log, int64_t step) {
    fill(&log->record, step);
    if (!log->is_frame) {
        bp_writer writer;
        bp_writer_init(&writer, log->bytes, bp_record_max_bytes(log->n_layers));
        bp_record_encode(&log->record, &writer);
        log->n_bytes = writer.length;
        return;
    }
    bench_frame_head head = {.step = step};
    float *value = (float *)(void *)(log->bytes + sizeof head);
    for (int i = 0; i < QUANTITIES; i++)
        for (uint32_t layer = 1; layer <= log->n_layers; layer++)
            *value++ = (float)bp_record_get(&log->record, quantities[i], layer);
    log->n_bytes = (size_t)((uint8_t *)value - log->bytes);
    head.n_bytes = (uint32_t)(log->n_bytes - 2 * sizeof head.n_bytes);
    memcpy(log->bytes, &head, sizeof head);
}

static void hand_over(bench_log *log) {
    bp_error error;
    if (!log->is_frame) {
        must(bp_runlog_writer_step(log->writer, log->record.step, log->bytes, log->n_bytes, &error),
             &error);
        return;
    }
    const size_t head = 2 * sizeof(uint32_t);
    const uint32_t crc = bp_crc32c(0, log->bytes + head, log->n_bytes - head);
    memcpy(log->bytes + sizeof crc, &crc, sizeof crc);
    if (!bp_io_write_all(&log->io, log->file, log->bytes, log->n_bytes)) fail("cannot write");
}

static bp_model *open_model(uint32_t n_layers) {
    const bp_layer layer = {.kind = BP_LAYER_DENSE,
                            .activation = BP_ACTIVATION_TANH,
                            .has_bias = true,
                            .output_shape = {64, 1, 1}};
    const bp_recipe recipe = {.loss = BP_MSE, .optimiser = BP_SGD, .learning_rate = 0.01};
    const int64_t input[3] = {64, 1, 1};
    bp_error error = {.text = "out of memory"};
    bp_model *model;
    must(bp_model_open(&model, NULL), &error);
    for (uint32_t i = 0; i < n_layers; i++)
        must(bp_model_add_layer(model, &layer, NULL, &error), &error);
    must(bp_model_set_input(model, input, &error), &error);
    bp_model_set_recipe(model, &recipe);
    return model;
}

static void open_log(bench_log *log, const char *side, const char *folder, uint32_t n_layers,
                     uint64_t ring_bytes, bool can_freeze) {
    static char path[4096];
    bp_error error = {.text = "out of memory"};
    *log = (bench_log){.is_frame = strcmp(side, "frame") == 0, .n_layers = n_layers};
    log->io = bp_io_system;
    if (can_freeze) {
        log->io.write = slow_write;
        log->io.fsync = slow_fsync;
    }
    must(bp_record_init(&log->record, n_layers, NULL), &error);
    log->bytes = need(bp_record_max_bytes(n_layers) + sizeof(bench_frame_head));
    if (mkdir(folder, 0755) != 0) fail("cannot make the folder");
    if (log->is_frame) {
        snprintf(path, sizeof path, "%s/frames", folder);
        log->file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (log->file < 0) fail("cannot make the file");
        return;
    }
    const bool direct = strcmp(side, "direct") == 0;
    const bp_runlog_options options = {.io = &log->io, .direct = direct, .ring_bytes = ring_bytes};
    log->model = open_model(n_layers);
    must(bp_runlog_writer_open(&log->writer, folder, log->model, &options, &error), &error);
    const bp_runlog_transport transport = bp_runlog_writer_transport(log->writer);
    if (!direct && !transport.ring) fail(transport.reason);
}

static void close_log(bench_log *log) {
    bp_error error;
    if (log->writer) must(bp_runlog_writer_close(log->writer, BP_RUN_FINISHED, &error), &error);
    if (log->is_frame && (fsync(log->file) < 0 || close(log->file) < 0)) fail("cannot close");
    bp_model_close(log->model);
    bp_record_finish(&log->record, NULL);
    free(log->bytes);
}

static double values_of(uint32_t n_layers, int64_t n_steps) {
    return (double)QUANTITIES * n_layers * (double)n_steps;
}

static void write_log(const char *side, const char *folder, uint32_t n_layers, int64_t n_steps) {
    bench_log log;
    double seconds = 0;
    open_log(&log, side, folder, n_layers, LARGE_RING_BYTES, false);
    for (int64_t step = 0; step < n_steps; step++) {
        prepare(&log, step);
        const double begin = bench_seconds();
        hand_over(&log);
        seconds += bench_seconds() - begin;
    }
    const double begin = bench_seconds();
    close_log(&log);
    printf("{\"values\": %.0f, \"hand_over_s\": %.9f, \"close_s\": %.9f}\n",
           values_of(n_layers, n_steps), seconds, bench_seconds() - begin);
}

/* --- paced ---------------------------------------------------------------------------------- */

static volatile uint64_t sink; /* what is never read may be left out */

/* Reads memory until the time is over, so that the next hand-over finds its caches cold. */
static void work(const uint64_t *cold, double until) {
    static size_t at;
    uint64_t sum = 0;
    while (bench_seconds() < until)
        for (int i = 0; i < 512; i++) {
            sum += cold[at];
            at = (at + 8) % (COLD_BYTES / sizeof *cold);
        }
    sink = sum;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_times(double *seconds, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += seconds[i];
    qsort(seconds, (size_t)n, sizeof *seconds, ascending);
    printf("{\"steps\": %lld, \"mean_us\": %.4f, \"p50_us\": %.4f, \"p99_us\": %.4f, "
           "\"p999_us\": %.4f, \"max_us\": %.4f}\n",
           (long long)n, 1e6 * sum / (double)n, 1e6 * seconds[n / 2],
           1e6 * seconds[n - 1 - n / 100], 1e6 * seconds[n - 1 - n / 1000], 1e6 * seconds[n - 1]);
}

static void pace_steps(bench_log *log, double *seconds, int64_t n_steps, double pause) {
    uint64_t *cold = need(COLD_BYTES);
    memset(cold, 1, COLD_BYTES);
    for (int64_t step = 0; step < n_steps; step++) {
        prepare(log, step);
        work(cold, bench_seconds() + pause);
        const double begin = bench_seconds();
        hand_over(log);
        seconds[step] = bench_seconds() - begin;
    }
    free(cold);
}

static void pace(const char *side, const char *folder, uint32_t n_layers, int64_t n_steps,
                 double pause, const char *disk) {
    bench_log log;
    char path[4096];
    pthread_t thread;
    const bool busy = strcmp(disk, "busy") == 0, frozen = strcmp(disk, "frozen") == 0;
    double whole = pause * (double)n_steps, *seconds = need((size_t)n_steps * sizeof *seconds);
    open_log(&log, side, folder, n_layers, 0, frozen);
    snprintf(path, sizeof path, "%s/busy", folder);
    if (busy && pthread_create(&thread, NULL, keep_busy, path) != 0) fail("cannot start a thread");
    if (frozen && pthread_create(&thread, NULL, freeze, &whole) != 0) fail("cannot start a thread");
    pace_steps(&log, seconds, n_steps, pause);
    atomic_store(&is_over, true);
    if (busy || frozen) pthread_join(thread, NULL);
    close_log(&log);
    print_times(seconds, n_steps);
    free(seconds);
}

/* --- loading -------------------------------------------------------------------------------- */

static double sum; /* what is loaded must be of use */

static double load_log(const char *folder) {
    bp_runlog_reader *reader;
    const bp_record *record;
    bp_error error;
    double n_values = 0;
    must(bp_runlog_reader_open(&reader, folder, NULL, &error), &error);
    for (;;) {
        must(bp_runlog_reader_next(reader, &record, &error), &error);
        if (!record) break;
        for (int i = 0; i < QUANTITIES; i++)
            for (uint32_t layer = 1; layer <= record->n_layers; layer++)
                sum += bp_record_get(record, quantities[i], layer);
        n_values += values_of(record->n_layers, 1);
    }
    const bp_runlog_damage *damage = bp_runlog_reader_damage(reader);
    if (damage->lost_records || damage->damaged_places) fail("the log is damaged");
    bp_runlog_reader_close(reader);
    return n_values;
}

static double load_frames(const char *folder) {
    char path[4096];
    uint8_t *bytes;
    size_t n_bytes, n_values = 0;
    bp_error error;
    snprintf(path, sizeof path, "%s/frames", folder);
    must(bp_io_read_file(&bp_io_system, path, (size_t)1 << 40, NULL, &bytes, &n_bytes, &error),
         &error);
    for (size_t at = 0; at < n_bytes;) {
        bench_frame_head head;
        float value;
        if (n_bytes - at < sizeof head) fail("the frames are damaged");
        memcpy(&head, bytes + at, sizeof head);
        const uint8_t *body = bytes + at + 2 * sizeof(uint32_t);
        if (head.n_bytes > n_bytes - at - 2 * sizeof(uint32_t) || head.n_bytes < sizeof head.step ||
            bp_crc32c(0, body, head.n_bytes) != head.crc)
            fail("the frames are damaged");
        for (size_t i = sizeof head.step; i < head.n_bytes; i += sizeof value, n_values++) {
            memcpy(&value, body + i, sizeof value);
            sum += (double)value;
        }
        at += 2 * sizeof(uint32_t) + head.n_bytes;
    }
    bp_release(NULL, bytes, n_bytes + 1, 1);
    return (double)n_values;
}

/* Of this process alone: the peak in getrusage is at least that of the process that started it. */
static long peak_kib(void) {
    char line[128];
    long kib = 0;
    FILE *file = fopen("/proc/self/status", "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "VmHWM: %ld", &kib) == 1) break;
    if (file) fclose(file);
    return kib;
}

static void load(const char *side, const char *folder, int64_t rounds) {
    double n_values = 0;
    printf("{\"seconds\": [");
    for (int64_t i = 0; i < rounds; i++) {
        const double begin = bench_seconds();
        n_values = strcmp(side, "frame") == 0 ? load_frames(folder) : load_log(folder);
        printf("%s%.9f", i ? ", " : "", bench_seconds() - begin);
    }
    printf("], \"values\": %.0f, \"sum\": %.9g, \"peak_bytes\": %ld}\n", n_values,
           sum / (double)rounds, peak_kib() * 1024);
}

/* --- the command line ----------------------------------------------------------------------- */

static int usage(void) {
    fprintf(stderr, "usage: runlog write|pace|load ring|direct|frame FOLDER ...\n");
    return 2;
}

static int64_t count_of(const char *text) {
    const int64_t count = atoll(text);
    if (count < 1) exit(usage());
    return count;
}

int main(int argc, char **argv) {
    if (argc < 5) return usage();
    const char *what = argv[1], *side = argv[2], *folder = argv[3];
    if (strcmp(side, "ring") != 0 && strcmp(side, "direct") != 0 && strcmp(side, "frame") != 0)
        return usage();
    const int64_t first = count_of(argv[4]);
    if (strcmp(what, "load") == 0 && argc == 5)
        load(side, folder, first);
    else if (strcmp(what, "write") == 0 && argc == 6)
        write_log(side, folder, (uint32_t)first, count_of(argv[5]));
    else if (strcmp(what, "pace") == 0 && argc == 8)
        pace(side, folder, (uint32_t)first, count_of(argv[5]), 1e-6 * (double)count_of(argv[6]),
             argv[7]);
    else
        return usage();
    return 0;
}
