/* SPDX-License-Identifier: Apache-2.0 */
/* What reading a run log costs beside plain reading of the same files.
 *
 *   runlog_read load FOLDER [LAYERS STEPS QUANTITIES ROUNDS]
 *       writes a log into the empty FOLDER; each round loads it into a table of f32, every checksum
 *       verified, and reads the same files in blocks of 1 MiB with their checksum, in turns
 *   runlog_read view FOLDER [LAYERS STEPS COLUMNS ROUNDS]
 *       writes a log of one quantity, builds its pyramid, opens it again and times views of all
 *       steps and of a tenth of them
 *
 * One JSON line a round; times are of the one thread, from a warm cache. */
#include "runlog/pyramid.h"
#include "runlog/segments.h"
#include "synthetic.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const bp_quantity QUANTITIES[] = {BP_Q_ACTIVATION_RMS, BP_Q_ERROR_RMS, BP_Q_WEIGHT_RMS,
                                         BP_Q_GRADIENT_RMS};
enum { MAX_QUANTITIES = sizeof QUANTITIES / sizeof *QUANTITIES };

static void fail(const char *what) {
    fprintf(stderr, "runlog_read: %s\n", what);
    exit(2);
}

static double seconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static double cpu_seconds(void) {
    return seconds(CLOCK_THREAD_CPUTIME_ID);
}

/* --- loading -------------------------------------------------------------------------------- */

/* table: [step][quantity][layer - 1]. */
static int64_t load(const synthetic_log *log, float *table) {
    bp_runlog_reader *reader;
    bp_error error;
    const bp_record *record;
    int64_t n = 0;
    if (bp_runlog_reader_open(&reader, log->folder, NULL, &error) != BP_OK) fail(error.text);
    for (;;) {
        if (bp_runlog_reader_next(reader, &record, &error) != BP_OK) fail(error.text);
        if (!record) break;
        float *to = table + (size_t)record->step * log->n_quantities * log->n_layers;
        for (size_t q = 0; q < log->n_quantities; q++) {
            const double *from = record->value + bp_record_cell(record, log->quantities[q], 1);
            for (uint32_t i = 0; i < log->n_layers; i++) *to++ = (float)from[i];
        }
        n++;
    }
    if (bp_runlog_reader_damage(reader)->damaged_places > 0) fail("the log is damaged");
    bp_runlog_reader_close(reader);
    return n;
}

static void check_table(const synthetic_log *log, const float *table) {
    for (int64_t step = 0; step < log->n_steps; step += 997)
        for (size_t q = 0; q < log->n_quantities; q++)
            for (uint32_t layer = 1; layer <= log->n_layers; layer++) {
                const size_t at =
                    ((size_t)step * log->n_quantities + q) * log->n_layers + layer - 1;
                const double expected =
                    bp_log16_decode(bp_log16_encode(synthetic_value(step, layer, q)));
                if (table[at] != (float)expected) fail("a value is wrong");
            }
}

static uint32_t read_plainly(const synthetic_log *log, uint64_t *n_bytes) {
    static uint8_t block[1 << 20];
    bp_segments segments;
    bp_error error;
    uint32_t crc = 0;
    *n_bytes = 0;
    if (bp_segments_list(&segments, log->folder, &bp_allocator_system, &error) != BP_OK)
        fail(error.text);
    for (size_t i = 0; i < segments.n; i++) {
        char path[4096], name[BP_SEGMENT_NAME_BYTES];
        snprintf(path, sizeof path, "%s/%s", log->folder, bp_segment_name(name, segments.index[i]));
        const int file = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n;
        if (file < 0) fail(path);
        while ((n = read(file, block, sizeof block)) > 0) {
            crc = bp_crc32c(crc, block, (size_t)n);
            *n_bytes += (uint64_t)n;
        }
        close(file);
    }
    bp_segments_free(&segments, &bp_allocator_system);
    return crc;
}

static void bench_load(const synthetic_log *log, int rounds) {
    const size_t n_values = (size_t)log->n_steps * log->n_quantities * log->n_layers;
    float *table = malloc(n_values * sizeof *table);
    if (!table) fail("no memory");
    memset(table, 0, n_values * sizeof *table); /* its pages are there before the clock runs */
    synthetic_write(log);
    for (int round = 0; round <= rounds; round++) {
        uint64_t n_bytes;
        const double begin = cpu_seconds();
        if (load(log, table) != log->n_steps) fail("steps are missing");
        const double loaded = cpu_seconds();
        const uint32_t crc = read_plainly(log, &n_bytes);
        const double end = cpu_seconds();
        if (round == 0) { /* warms the cache */
            check_table(log, table);
            continue;
        }
        printf("{\"bench\": \"load\", \"layers\": %u, \"steps\": %lld, \"values\": %zu, "
               "\"bytes\": %llu, \"bytes_a_value\": %.3f, \"load_ms\": %.3f, \"plain_ms\": %.3f, "
               "\"ratio\": %.2f, \"values_a_second\": %.4g, \"crc\": %u}\n",
               (unsigned)log->n_layers, (long long)log->n_steps, n_values,
               (unsigned long long)n_bytes, (double)n_bytes / (double)n_values,
               1e3 * (loaded - begin), 1e3 * (end - loaded), (loaded - begin) / (end - loaded),
               (double)n_values / (loaded - begin), (unsigned)crc);
        fflush(stdout);
    }
    free(table);
}

/* --- views ---------------------------------------------------------------------------------- */

static bp_pyramid *open_pyramid(const synthetic_log *log, double *took) {
    bp_pyramid *pyramid;
    bp_error error;
    const double begin = cpu_seconds();
    if (bp_pyramid_open(&pyramid, log->folder, bp_series_of(log->quantities[0]), NULL, &error) !=
        BP_OK)
        fail(error.text);
    *took = cpu_seconds() - begin;
    return pyramid;
}

static double view_once(bp_pyramid *pyramid, bp_view *view, int64_t first, int64_t last,
                        uint32_t n_columns) {
    bp_error error;
    const double begin = cpu_seconds();
    if (bp_pyramid_view(pyramid, view, first, last, n_columns, &error) != BP_OK) fail(error.text);
    return cpu_seconds() - begin;
}

static void bench_view(const synthetic_log *log, uint32_t n_columns, int rounds) {
    double built, opened;
    bp_view view = {0};
    const uint64_t n_bytes = synthetic_write(log);
    bp_pyramid_close(open_pyramid(log, &built));
    bp_pyramid *pyramid = open_pyramid(log, &opened);
    if (!bp_pyramid_is_kept(pyramid)) fail("the pyramid is not kept");
    for (int round = 0; round <= rounds; round++) {
        const double whole = view_once(pyramid, &view, 0, log->n_steps - 1, n_columns);
        const uint32_t columns = view.n_columns;
        const double tenth = view_once(pyramid, &view, log->n_steps / 3,
                                       log->n_steps / 3 + log->n_steps / 10, n_columns);
        if (round == 0) continue; /* warms the cache and the view's memory */
        printf("{\"bench\": \"view\", \"layers\": %u, \"steps\": %lld, \"columns\": %u, "
               "\"log_bytes\": %llu, \"build_ms\": %.1f, \"open_ms\": %.2f, \"view_ms\": %.2f, "
               "\"tenth_ms\": %.2f, \"tenth_columns\": %u}\n",
               (unsigned)log->n_layers, (long long)log->n_steps, (unsigned)columns,
               (unsigned long long)n_bytes, 1e3 * built, 1e3 * opened, 1e3 * whole, 1e3 * tenth,
               (unsigned)view.n_columns);
        fflush(stdout);
    }
    bp_view_free(&view);
    bp_pyramid_close(pyramid);
}

static long argument(int argc, char **argv, int i, long otherwise) {
    return argc > i ? strtol(argv[i], NULL, 10) : otherwise;
}

static int usage(void) {
    fprintf(stderr, "usage: runlog_read load FOLDER [LAYERS STEPS QUANTITIES ROUNDS]\n"
                    "       runlog_read view FOLDER [LAYERS STEPS COLUMNS ROUNDS]\n");
    return 2;
}

int main(int argc, char **argv) {
    if (argc < 3) return usage();
    const bool loads = strcmp(argv[1], "load") == 0;
    if (!loads && strcmp(argv[1], "view") != 0) return usage();
    const long fifth = argument(argc, argv, 5, loads ? MAX_QUANTITIES : 1600);
    const int rounds = (int)argument(argc, argv, 6, 10);
    if (fifth < 1 || (loads && fifth > MAX_QUANTITIES)) return usage();
    const synthetic_log log = {.folder = argv[2],
                               .n_layers = (uint32_t)argument(argc, argv, 3, 50),
                               .n_steps = argument(argc, argv, 4, 20000),
                               .quantities = QUANTITIES,
                               .n_quantities = loads ? (size_t)fifth : 1};
    if (loads)
        bench_load(&log, rounds);
    else
        bench_view(&log, (uint32_t)fifth, rounds);
    return 0;
}
