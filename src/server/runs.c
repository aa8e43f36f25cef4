/* SPDX-License-Identifier: Apache-2.0 */
#include "server/runs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* FNV-1a. Names that collide on purpose get another number (give_ids). */
uint64_t bp_run_hash(const char *path) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *path; path++) hash = (hash ^ (uint8_t)*path) * 0x100000001b3u;
    return hash;
}

static void free_run(bp_run *run) {
    free(run->path);
    free(run->name);
}

void bp_runs_free(bp_runs *runs) {
    for (uint32_t i = 0; i < runs->n; i++) free_run(&runs->list[i]);
    free(runs->list);
    *runs = (bp_runs){0};
}

const bp_run *bp_runs_find(const bp_runs *runs, const char *id) {
    for (uint32_t i = 0; i < runs->n; i++)
        if (strcmp(runs->list[i].id, id) == 0) return &runs->list[i];
    return NULL;
}

/* --- the walk --------------------------------------------------------------------------------- */

typedef struct walk {
    bp_runs *runs;
    const bp_runs *before;
    const char *name; /* of the folder itself */
    double now;
    uint32_t n_entries;
    bool out_of_memory;
} walk;

static double seconds_of(struct timespec time) {
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* Never through a link, never a wait for what is no folder. */
static DIR *open_folder(int parent, const char *name) {
    const int file =
        openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    DIR *folder = file < 0 ? NULL : fdopendir(file);
    if (file >= 0 && !folder) close(file);
    return folder;
}

static bool is_log(const char *name) {
    const size_t n = strlen(name);
    return n > 10 && strncmp(name, "log-", 4) == 0 && strcmp(name + n - 6, ".bplog") == 0;
}

/* Logs of other ranks, what is derived, weights, and what people hide. */
static bool is_passed_over(const char *name) {
    return *name == '.' || strcmp(name, "pyramid") == 0 || strcmp(name, "checkpoints") == 0 ||
           (strncmp(name, "rank-", 5) == 0 && name[5] && !name[5 + strspn(name + 5, "0123456789")]);
}

static int by_path(const void *a, const void *b) {
    return strcmp(((const bp_run *)a)->path, ((const bp_run *)b)->path);
}

/* path: as in *run, which does not hold it yet. */
static const bp_run *seen_before(const walk *w, const bp_run *run, char *path) {
    const bp_run key = {.path = path};
    if (!w->before || w->before->n == 0) return NULL;
    const bp_run *old =
        bsearch(&key, w->before->list, w->before->n, sizeof *w->before->list, by_path);
    return old && old->device == run->device && old->inode == run->inode ? old : NULL;
}

static bool add_run(walk *w, const bp_run *found, const char *path, int folder) {
    bp_runs *runs = w->runs;
    if (runs->n == BP_RUNS_MAX) {
        runs->cut = true;
        return true;
    }
    if (runs->n == runs->capacity) {
        const uint32_t capacity = runs->capacity ? 2 * runs->capacity : 64;
        bp_run *list = realloc(runs->list, capacity * sizeof *list);
        if (!list) return false;
        runs->list = list;
        runs->capacity = capacity;
    }
    bp_run run = *found;
    run.path = strdup(path);
    run.name = strdup(strcmp(path, ".") == 0 ? w->name : path);
    if (!run.path || !run.name) {
        free_run(&run);
        return false;
    }
    const bp_run *old = seen_before(w, &run, run.path);
    if (old) {
        run.findings = old->findings;
        run.summary = old->summary;
    }
    bp_run_summary_read(&run.summary, &run.findings, folder);
    /* A log that was added to since its findings were written goes on; its last bytes may come a
     * little behind them. */
    run.live = w->now - run.modified < BP_LIVE_SECONDS &&
               !(run.findings.inode && run.findings.modified + BP_CLOSING_SECONDS > run.modified);
    runs->list[runs->n++] = run;
    return true;
}

static void look_at_log(bp_run *run, int folder, const char *name) {
    struct stat found;
    if (fstatat(folder, name, &found, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(found.st_mode)) return;
    run->bytes += (uint64_t)found.st_size;
    const double modified = seconds_of(found.st_mtim);
    if (modified > run->modified || run->inode == 0) run->modified = modified;
    run->inode = 1; /* there is a log; walk_into says whose */
}

static void walk_into(walk *w, DIR *folder, const char *path, int depth);

static void walk_below(walk *w, int parent, const char *path, const char *name, int depth) {
    char *below = NULL;
    DIR *folder = open_folder(parent, name);
    if (!folder) return;
    if (strcmp(path, ".") == 0)
        below = strdup(name);
    else if (asprintf(&below, "%s/%s", path, name) < 0)
        below = NULL;
    if (below)
        walk_into(w, folder, below, depth);
    else
        w->out_of_memory = true;
    closedir(folder);
    free(below);
}

static bool may_be_folder(const struct dirent *entry) {
    return entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN;
}

/* The folder's own log first, then what lies below. */
static void walk_into(walk *w, DIR *folder, const char *path, int depth) {
    bp_run run = {.summary = {.last_step = -1}};
    const int file = dirfd(folder);
    struct dirent *entry;
    while ((entry = readdir(folder)) && ++w->n_entries <= BP_RUNS_MAX_ENTRIES)
        if (is_log(entry->d_name)) look_at_log(&run, file, entry->d_name);
    struct stat found;
    if (run.inode && fstat(file, &found) == 0) {
        run.device = (uint64_t)found.st_dev;
        run.inode = (uint64_t)found.st_ino;
        if (!add_run(w, &run, path, file)) w->out_of_memory = true;
    }
    if (depth == BP_RUNS_MAX_DEPTH) return;
    rewinddir(folder);
    while (!w->out_of_memory && (entry = readdir(folder)) && w->n_entries <= BP_RUNS_MAX_ENTRIES)
        if (may_be_folder(entry) && !is_passed_over(entry->d_name))
            walk_below(w, file, path, entry->d_name, depth + 1);
}

/* --- ids -------------------------------------------------------------------------------------- */

typedef struct numbered {
    uint64_t hash;
    uint32_t index;
} numbered;

static int by_hash(const void *a, const void *b) {
    const numbered *x = a, *y = b;
    if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
    return x->index < y->index ? -1 : 1;
}

/* Of runs with the same hash (somebody sought one) all but the first by path get the next free
 * number. */
static bool give_ids(bp_runs *runs) {
    numbered *all = malloc((runs->n + 1u) * sizeof *all);
    if (!all) return false;
    for (uint32_t i = 0; i < runs->n; i++) all[i] = (numbered){bp_run_hash(runs->list[i].path), i};
    qsort(all, runs->n, sizeof *all, by_hash);
    for (uint32_t i = 0; i < runs->n; i++) {
        if (i > 0 && all[i].hash <= all[i - 1].hash) all[i].hash = all[i - 1].hash + 1;
        snprintf(runs->list[all[i].index].id, BP_RUN_ID_BYTES, "%016llx",
                 (unsigned long long)all[i].hash);
    }
    free(all);
    return true;
}

bp_status bp_runs_scan(bp_runs *runs, int folder, const char *name, const bp_runs *before,
                       double now, bp_error *error) {
    *runs = (bp_runs){0};
    walk w = {.runs = runs, .before = before, .name = name, .now = now};
    DIR *top = open_folder(folder, ".");
    if (!top) return bp_fail_os(error, errno, "%s: cannot read the folder", name);
    walk_into(&w, top, ".", 0);
    closedir(top);
    if (w.n_entries > BP_RUNS_MAX_ENTRIES) runs->cut = true;
    if (runs->n > 0) qsort(runs->list, runs->n, sizeof *runs->list, by_path);
    if (!w.out_of_memory && give_ids(runs)) return BP_OK;
    bp_runs_free(runs);
    return bp_fail(error, BP_ERROR_MEMORY, "out of memory for the list of runs");
}

static bool is_same_summary(const bp_run_summary *a, const bp_run_summary *b) {
    return a->known == b->known && a->end == b->end && a->severity == b->severity &&
           a->problem == b->problem && a->n_findings == b->n_findings &&
           a->last_step == b->last_step;
}

bool bp_runs_differ(const bp_runs *a, const bp_runs *b) {
    if (a->n != b->n) return true;
    for (uint32_t i = 0; i < a->n; i++) {
        const bp_run *x = &a->list[i], *y = &b->list[i];
        if (strcmp(x->id, y->id) != 0 || strcmp(x->path, y->path) != 0 || x->inode != y->inode ||
            x->live != y->live || !is_same_summary(&x->summary, &y->summary))
            return true;
    }
    return false;
}
