/* SPDX-License-Identifier: Apache-2.0 */
/* The host that is killed, starved and lied to: it trains a tiny network and has it watched, as any
 * C program would. And the one who looks at the log afterwards.
 *
 *   host train FOLDER [NAME=NUMBER ...] [page=FILE]   prints "hash" and a hash of losses and
 * weights host look FOLDER [NAME=NUMBER ...]                prints what the log gives as a line of
 * JSON
 *
 * Numbers: steps, layers, seed, every (full statistics at each n-th step), pace_us (between steps),
 * die (by SIGKILL before this step), resume (go on at this step), threads (so many runs at once, in
 * FOLDER/1 ...), writer (1: the run log's writer alone, without a watch) and, for it,
 * segment_bytes, ring_bytes, direct. A watch that cannot open or goes blind is told in one line;
 * the training goes on. page: a file that is shared with who kills: three int64, phase, last
 * recorded step, steps done.
 */
#include "look.h"
#include "runlog/runlog.h"

#include <backprobe/watch.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef enum host_phase { STARTING, OPENING, TRAINING, CLOSING, CLOSED } host_phase;

typedef struct host_page {
    _Atomic int64_t phase, recorded, done;
} host_page;

#define NUMBERS(X)      \
    X(steps, 200)       \
    X(layers, 3)        \
    X(seed, 1)          \
    X(every, 1)         \
    X(pace_us, 0)       \
    X(die, -1)          \
    X(resume, -1)       \
    X(threads, 1)       \
    X(writer, 0)        \
    X(segment_bytes, 0) \
    X(ring_bytes, 0)    \
    X(direct, 0)
#define MEMBER(name, standard) int64_t name;
#define STANDARD(name, standard) .name = standard,

typedef struct host_options {
    NUMBERS(MEMBER)
    const char *folder, *page;
} host_options;

typedef struct host {
    host_options options;
    host_page *page, own_page;
    net net;
    bp_model *model;
    bp_watch *watch;
    bp_runlog_writer *writer;
    bp_record record;
    uint8_t *bytes; /* the record, encoded */
    int n_lines;    /* told on stderr */
} host;

static void on_message(void *context, const char *text) {
    ((host *)context)->n_lines++;
    fprintf(stderr, "host: %s\n", text);
}

/* What a call says that was not told before. */
static void tell(host *h, bp_status status, const bp_error *error) {
    if (status != BP_OK && h->n_lines == 0) on_message(h, error->text);
}

static void set_phase(host *h, host_phase phase) {
    atomic_store(&h->page->phase, phase);
}

/* --- with a watch --------------------------------------------------------------------------- */

static void open_watch(host *h) {
    bp_watch_options options = BP_WATCH_OPTIONS_INIT;
    bp_error error;
    options.run_folder = h->options.folder;
    options.every = h->options.every;
    options.on_message = on_message;
    options.context = h;
    options.resumes = h->options.resume >= 0;
    options.resume_step = options.resumes ? h->options.resume : 0;
    tell(h, bp_watch_open(&h->watch, h->model, &options, &error), &error);
}

/* A step is recorded when the next one has begun: until then a validation may belong to it. */
static void watched_step(host *h) {
    const bool sees = h->watch && bp_watch_status(h->watch, NULL) == BP_OK;
    const int64_t step = h->net.step;
    net_step(&h->net, h->watch ? bp_watch_observer(h->watch) : NULL);
    if (sees && bp_watch_status(h->watch, NULL) == BP_OK)
        atomic_store(&h->page->recorded, step - 1);
}

/* --- with a writer -------------------------------------------------------------------------- */

static void open_writer(host *h) {
    const bp_runlog_options options = {.segment_bytes = (uint64_t)h->options.segment_bytes,
                                       .direct = h->options.direct != 0,
                                       .ring_bytes = (uint64_t)h->options.ring_bytes,
                                       .resumes = h->options.resume >= 0,
                                       .resume_step = h->options.resume};
    bp_error error;
    tell(h, bp_runlog_writer_open(&h->writer, h->options.folder, h->model, &options, &error),
         &error);
    h->bytes = malloc(bp_record_max_bytes(h->net.n_layers));
    if (!h->bytes || bp_record_init(&h->record, h->net.n_layers, NULL) != BP_OK) exit(3);
}

/* Every fifth step is one of which only the loss is known. */
static bp_status put_step(host *h, bp_error *error) {
    const bp_record *record = &h->record;
    if (record->step % 5 == 4)
        return bp_runlog_writer_loss(h->writer, record->step, bp_record_get(record, BP_Q_LOSS, 0),
                                     error);
    bp_writer writer;
    bp_writer_init(&writer, h->bytes, bp_record_max_bytes(h->net.n_layers));
    bp_record_encode(record, &writer);
    return bp_runlog_writer_step(h->writer, record->step, h->bytes, writer.length, error);
}

static void write_step(host *h) {
    bp_record *record = &h->record;
    bp_error error;
    bp_record_clear(record);
    record->step = h->net.step;
    for (uint32_t layer = 1; layer <= h->net.n_layers; layer++)
        bp_record_set(record, BP_Q_WEIGHT_RMS, layer, net_weight_rms(&h->net, layer));
    bp_record_set(record, BP_Q_LOSS, 0, net_step(&h->net, NULL));
    if (!h->writer) return;
    const bp_status status = put_step(h, &error);
    tell(h, status, &error);
    if (status == BP_OK && h->n_lines == 0) atomic_store(&h->page->recorded, record->step);
}

/* --- a run ---------------------------------------------------------------------------------- */

static void pause_for(int64_t microseconds) {
    if (microseconds > 0) usleep((useconds_t)microseconds);
}

static void close_log(host *h) {
    bp_error error;
    if (h->watch) tell(h, bp_watch_close(h->watch, BP_RUN_FINISHED, &error), &error);
    if (h->writer) tell(h, bp_runlog_writer_close(h->writer, BP_RUN_FINISHED, &error), &error);
    if (h->n_lines == 0) atomic_store(&h->page->recorded, h->net.step - 1);
    if (h->options.writer) bp_record_finish(&h->record, NULL);
    free(h->bytes);
}

static void *run(void *context) {
    host *h = context;
    const host_options *options = &h->options;
    net_init(&h->net, (uint32_t)options->layers, (uint64_t)options->seed);
    h->model = net_model(&h->net);
    if (!h->model) exit(3);
    while (h->net.step < options->resume) net_step(&h->net, NULL);
    set_phase(h, OPENING);
    options->writer ? open_writer(h) : open_watch(h);
    set_phase(h, TRAINING);
    while (h->net.step < options->steps) {
        if (h->net.step == options->die) kill(getpid(), SIGKILL);
        options->writer ? write_step(h) : watched_step(h);
        atomic_store(&h->page->done, h->net.step);
        pause_for(options->pace_us);
    }
    set_phase(h, CLOSING);
    close_log(h);
    set_phase(h, CLOSED);
    bp_model_close(h->model);
    return NULL;
}

static host *open_host(const host_options *options) {
    host *h = calloc(1, sizeof *h);
    if (!h) exit(3);
    h->options = *options;
    h->page = &h->own_page;
    if (options->page) {
        const int file = open(options->page, O_RDWR | O_CLOEXEC);
        h->page = mmap(NULL, sizeof *h->page, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (h->page == MAP_FAILED) exit(3);
        close(file);
    }
    atomic_store(&h->page->recorded, -1);
    return h;
}

static int train_alone(const host_options *options) {
    host *h = open_host(options);
    run(h);
    printf("hash %016llx\n", (unsigned long long)net_hash(&h->net));
    free(h);
    return 0;
}

static int train_together(const host_options *options) {
    enum { MOST = 16 };
    host *hosts[MOST];
    char folders[MOST][4096];
    pthread_t threads[MOST];
    const int n = options->threads < MOST ? (int)options->threads : MOST;
    for (int i = 0; i < n; i++) {
        host_options one = *options;
        one.folder = folders[i];
        one.seed += i;
        snprintf(folders[i], sizeof folders[i], "%s/%d", options->folder, i + 1);
        mkdir(folders[i], 0755);
        hosts[i] = open_host(&one);
    }
    for (int i = 0; i < n; i++)
        if (pthread_create(&threads[i], NULL, run, hosts[i]) != 0) exit(3);
    for (int i = 0; i < n; i++) {
        pthread_join(threads[i], NULL);
        printf("hash %016llx\n", (unsigned long long)net_hash(&hosts[i]->net));
        free(hosts[i]);
    }
    return 0;
}

/* --- looking -------------------------------------------------------------------------------- */

static int tell_look(const host_options *options) {
    static look l;
    bp_error error;
    if (look_at(&l, options->folder, (uint64_t)options->seed, &error) != BP_OK) {
        fprintf(stderr, "host: %s\n", error.text);
        return 1;
    }
    printf(
        "{\"steps\": %lld, \"first\": %lld, \"last\": %lld, \"missing\": %lld, \"doubled\": %lld, "
        "\"wrong\": %lld, \"lost\": %llu, \"places\": %llu, \"torn\": %d, \"unknown\": %llu, "
        "\"end\": %d}\n",
        (long long)l.n, (long long)l.first, (long long)l.last, (long long)l.missing,
        (long long)l.doubled, (long long)l.wrong, (unsigned long long)l.damage.lost_records,
        (unsigned long long)l.damage.damaged_places, l.damage.torn_tail,
        (unsigned long long)l.damage.unknown, (int)l.end);
    return 0;
}

/* --- the command line ----------------------------------------------------------------------- */

static int usage(void) {
    fprintf(stderr, "usage: host train|look FOLDER [NAME=NUMBER ...] [page=FILE]\n");
    return 2;
}

#define FIELD(name, standard) {#name, offsetof(host_options, name)},

static bool set_number(host_options *options, const char *word) {
    static const struct {
        const char *name;
        size_t offset;
    } fields[] = {NUMBERS(FIELD)};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const size_t length = strlen(fields[i].name);
        if (strncmp(word, fields[i].name, length) != 0 || word[length] != '=') continue;
        const int64_t number = strtoll(word + length + 1, NULL, 10);
        memcpy((char *)options + fields[i].offset, &number, sizeof number);
        return true;
    }
    return false;
}

int main(int argc, char **argv) {
    if (argc < 3) return usage();
    host_options options = {NUMBERS(STANDARD).folder = argv[2]};
    for (int i = 3; i < argc; i++) {
        if (strncmp(argv[i], "page=", 5) == 0)
            options.page = argv[i] + 5;
        else if (!set_number(&options, argv[i]))
            return usage();
    }
    if (options.layers < 1 || options.layers > NET_MAX_LAYERS) return usage();
    if (strcmp(argv[1], "look") == 0) return tell_look(&options);
    if (strcmp(argv[1], "train") != 0) return usage();
    return options.threads > 1 ? train_together(&options) : train_alone(&options);
}
