/* SPDX-License-Identifier: Apache-2.0 */
/* What reading a run log costs beside plain reading of the same files.
 *
 *   runlog_read load FOLDER [LAYERS STEPS QUANTITIES ROUNDS]
 *       writes a log into the empty FOLDER; each round loads it into a table of f32, every checksum
 *       verified, and reads the same files in blocks of 1 MiB with their checksum, in turns
 *
 * One JSON line a round; times are of the one thread, from a warm cache. */
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

static long argument(int argc, char **argv, int i, long otherwise) {
    return argc > i ? strtol(argv[i], NULL, 10) : otherwise;
}

int main(int argc, char **argv) {
    if (argc < 3 || strcmp(argv[1], "load") != 0) {
        fprintf(stderr, "usage: runlog_read load FOLDER [LAYERS STEPS QUANTITIES ROUNDS]\n");
        return 2;
    }
    const long n_quantities = argument(argc, argv, 5, MAX_QUANTITIES);
    if (n_quantities < 1 || n_quantities > MAX_QUANTITIES) fail("1 to 4 quantities");
    const synthetic_log log = {.folder = argv[2],
                               .n_layers = (uint32_t)argument(argc, argv, 3, 50),
                               .n_steps = argument(argc, argv, 4, 20000),
                               .quantities = QUANTITIES,
                               .n_quantities = (size_t)n_quantities};
    bench_load(&log, (int)argument(argc, argv, 6, 10));
    return 0;
}
