/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/checkpoints.h"
#include "cli/folder.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEPT 2
#define NAME_BYTES 64
#define NAME_FORMAT "step-%09" PRId64 ".safetensors"

/* -1 when it is not the name of a checkpoint: only names that are given here count. */
static int64_t step_of(const char *name) {
    char given[NAME_BYTES];
    int64_t step;
    if (sscanf(name, "step-%" SCNd64 ".safetensors", &step) != 1 || step < 0) return -1;
    snprintf(given, sizeof given, NAME_FORMAT, step);
    return strcmp(given, name) == 0 ? step : -1;
}

static int descending(const void *a, const void *b) {
    const int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left < right) - (left > right);
}

/* The steps of a folder's checkpoints, the last one first; released with free(). */
static int64_t *list_steps(const char *folder, size_t *n) {
    DIR *directory = opendir(folder);
    int64_t *steps = NULL;
    const struct dirent *entry;
    *n = 0;
    while (directory && (entry = readdir(directory))) {
        const int64_t step = step_of(entry->d_name);
        if (step < 0) continue;
        int64_t *grown = realloc(steps, (*n + 1) * sizeof *steps);
        if (!grown) break;
        steps = grown;
        steps[(*n)++] = step;
    }
    if (directory) closedir(directory);
    if (steps) qsort(steps, *n, sizeof *steps, descending);
    return steps;
}

static char *path_of(const char *folder, int64_t step) {
    char name[NAME_BYTES];
    snprintf(name, sizeof name, NAME_FORMAT, step);
    return bp_path_join(folder, name);
}

/* What a kill in the middle of a write has left. */
static void remove_temporaries(const char *folder) {
    DIR *directory = opendir(folder);
    const struct dirent *entry;
    while (directory && (entry = readdir(directory))) {
        if (!strstr(entry->d_name, ".safetensors.tmp")) continue;
        char *path = bp_path_join(folder, entry->d_name);
        if (path) unlink(path);
        free(path);
    }
    if (directory) closedir(directory);
}

bp_status bp_checkpoints_open(bp_checkpoints *checkpoints, const char *run_folder,
                              bp_error *error) {
    *checkpoints = (bp_checkpoints){.folder = bp_path_join(run_folder, "checkpoints"),
                                    .last_saved = bp_io_system.steady_clock(bp_io_system.context),
                                    .last_step = -1};
    if (!checkpoints->folder) return bp_fail(error, BP_ERROR_MEMORY, "out of memory");
    if (mkdir(checkpoints->folder, 0777) == 0) return BP_OK;
    if (errno == EEXIST) {
        remove_temporaries(checkpoints->folder);
        return BP_OK;
    }
    const bp_status status =
        bp_fail_os(error, errno, "cannot make the folder %s", checkpoints->folder);
    bp_checkpoints_close(checkpoints);
    return status;
}

void bp_checkpoints_close(bp_checkpoints *checkpoints) {
    free(checkpoints->folder);
    checkpoints->folder = NULL;
}

/* Of those up to `step`: later ones are of a future that could not be read, and take no places. */
static void remove_old(const char *folder, int64_t step) {
    size_t n, n_kept = 0;
    int64_t *steps = list_steps(folder, &n);
    for (size_t i = 0; i < n; i++) {
        if (steps[i] > step || n_kept++ < KEPT) continue;
        char *path = path_of(folder, steps[i]);
        if (path) unlink(path); /* one that stays does no harm */
        free(path);
    }
    free(steps);
}

bp_status bp_checkpoints_save(bp_checkpoints *checkpoints, const bp_trainer *trainer,
                              const bp_standing *standing, bool best, char **path,
                              bp_error *error) {
    const int64_t step = bp_trainer_steps_done(trainer);
    char *file = best ? bp_path_join(checkpoints->folder, "best.safetensors")
                      : path_of(checkpoints->folder, step);
    if (!file) return bp_fail(error, BP_ERROR_MEMORY, "out of memory");
    const bp_status status = bp_trainer_save_checkpoint(trainer, file, standing, error);
    if (status == BP_OK && !best) {
        remove_old(checkpoints->folder, step);
        checkpoints->last_saved = bp_io_system.steady_clock(bp_io_system.context);
        checkpoints->last_step = step;
    }
    if (path && status == BP_OK)
        *path = file;
    else
        free(file);
    return status;
}

bp_status bp_checkpoints_resume(bp_trainer *trainer, const char *run_folder, bp_standing *standing,
                                int *skipped, bp_error *error) {
    char *folder = bp_path_join(run_folder, "checkpoints");
    size_t n = 0;
    int64_t *steps = folder ? list_steps(folder, &n) : NULL;
    bp_status status = bp_fail(error, BP_ERROR_INPUT,
                               "%s has no checkpoint to go on from (expected "
                               "checkpoints/step-N.safetensors)",
                               run_folder);
    *skipped = 0;
    for (size_t i = 0; i < n && status != BP_OK; i++) {
        char *path = path_of(folder, steps[i]);
        status = path ? bp_trainer_resume(trainer, path, standing, error)
                      : bp_fail(error, BP_ERROR_MEMORY, "out of memory");
        free(path);
        if (status != BP_OK) ++*skipped;
    }
    free(steps);
    free(folder);
    return status;
}
