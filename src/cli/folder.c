/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/folder.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_NUMBER 100000
#define RUNS "runs"

static bp_status out_of_memory(bp_error *error) {
    return bp_fail(error, BP_ERROR_MEMORY, "out of memory for a path");
}

bool bp_path_is_folder(const char *path) {
    struct stat found;
    return stat(path, &found) == 0 && S_ISDIR(found.st_mode);
}

char *bp_path_join(const char *folder, const char *name) {
    char *path = NULL;
    return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
}

static bool is_empty(const char *path) {
    DIR *folder = opendir(path);
    if (!folder) return false;
    bool empty = true;
    for (struct dirent *entry; empty && (entry = readdir(folder));)
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    closedir(folder);
    return empty;
}

static bp_status make_parents(char *path, bp_error *error) {
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        bool good = mkdir(path, 0777) == 0 || errno == EEXIST;
        int reason = errno;
        if (!good) bp_fail_os(error, reason, "cannot make the folder %s", path);
        *slash = '/';
        if (!good) return BP_ERROR_IO;
    }
    return BP_OK;
}

bp_status bp_folder_make(const char *path, bool *made, bp_error *error) {
    char *parents = strdup(path);
    if (!parents) return out_of_memory(error);
    size_t length = strlen(parents);
    while (length > 1 && parents[length - 1] == '/') parents[--length] = '\0';
    bp_status status = *parents ? make_parents(parents, error) : BP_OK;
    free(parents);
    if (status != BP_OK) return status;
    *made = mkdir(path, 0777) == 0;
    if (*made) return BP_OK;
    if (errno != EEXIST) return bp_fail_os(error, errno, "cannot make the folder %s", path);
    if (bp_path_is_folder(path) && is_empty(path)) return BP_OK;
    return bp_fail(error, BP_ERROR_ARGUMENT, "%s: expected a new or empty folder, found one in use",
                   path);
}

bp_status bp_folder_make_numbered(char **path, const char *name, bp_error *error) {
    if (mkdir(RUNS, 0777) != 0 && errno != EEXIST)
        return bp_fail_os(error, errno, "cannot make the folder " RUNS);
    for (int number = 1; number <= MAX_NUMBER; number++) {
        char *candidate = NULL;
        if (asprintf(&candidate, RUNS "/%s-%d", name, number) < 0) return out_of_memory(error);
        if (mkdir(candidate, 0777) == 0) {
            *path = candidate;
            return BP_OK;
        }
        int reason = errno;
        if (reason != EEXIST) bp_fail_os(error, reason, "cannot make the folder %s", candidate);
        free(candidate);
        if (reason != EEXIST) return BP_ERROR_IO;
    }
    return bp_fail(error, BP_ERROR_LIMIT, RUNS "/%s-1 … %d are all in use", name, MAX_NUMBER);
}

bp_status bp_folder_name_of(char *name, size_t capacity, const char *path, bp_error *error) {
    const char *slash = strrchr(path, '/'), *file = slash ? slash + 1 : path;
    const char *dot = strrchr(file, '.');
    size_t n = dot && dot > file ? (size_t)(dot - file) : strlen(file);
    if (n == 0 || n >= capacity)
        return bp_fail(error, BP_ERROR_ARGUMENT, "%s: cannot name a run folder after it", path);
    memcpy(name, file, n);
    name[n] = '\0';
    return BP_OK;
}

void bp_folder_remove(const char *path, int depth) {
    DIR *folder = opendir(path);
    if (!folder) return;
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        char *inside = bp_path_join(path, entry->d_name);
        if (inside && unlink(inside) != 0 && depth > 0) bp_folder_remove(inside, depth - 1);
        free(inside);
    }
    closedir(folder);
    rmdir(path);
}

void bp_folder_remove_numbered(const char *path) {
    bp_folder_remove(path, 1);
    rmdir(RUNS); /* fails where other runs are, and should */
}
