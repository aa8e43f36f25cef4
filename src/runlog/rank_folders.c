/* SPDX-License-Identifier: Apache-2.0 */
#include "runlog/rank_folders.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *bp_rank_folder_path(char *text, const char *path, uint32_t rank) {
    snprintf(text, strlen(path) + BP_RANK_FOLDER_BYTES, "%s/rank-%u", path, (unsigned)rank);
    return text;
}

/* 0 when it is no name that is given to a rank's folder. */
static uint32_t rank_of(const char *name) {
    uint64_t rank = 0;
    char canonical[BP_RANK_FOLDER_BYTES];
    if (strncmp(name, "rank-", 5) != 0) return 0;
    for (const char *c = name + 5; *c >= '0' && *c <= '9' && rank <= UINT32_MAX; c++)
        rank = rank * 10 + (uint64_t)(*c - '0');
    if (rank > UINT32_MAX) return 0;
    snprintf(canonical, sizeof canonical, "rank-%u", (unsigned)rank);
    return strcmp(name, canonical) == 0 ? (uint32_t)rank : 0;
}

static bp_status add(bp_rank_folders *folders, uint32_t rank, const bp_allocator *allocator) {
    if (folders->n == BP_RANK_FOLDERS_MAX) return BP_ERROR_LIMIT;
    if (folders->n == folders->capacity) {
        const uint32_t wanted = folders->capacity ? 2 * folders->capacity : 16;
        uint32_t *grown =
            allocator->resize(allocator->context, folders->rank, folders->capacity * sizeof *grown,
                              wanted * sizeof *grown);
        if (!grown) return BP_ERROR_MEMORY;
        folders->rank = grown;
        folders->capacity = wanted;
    }
    folders->rank[folders->n++] = rank;
    return BP_OK;
}

static int ascending(const void *a, const void *b) {
    const uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

bp_status bp_rank_folders_list(bp_rank_folders *folders, const char *path,
                               const bp_allocator *allocator, bp_error *error) {
    bp_rank_folders list = {0};
    DIR *directory;
    *folders = list;
    do directory = opendir(path);
    while (!directory && errno == EINTR);
    if (!directory) return BP_OK; /* a file, or nothing: who reads it says so */
    bp_status status = BP_OK;
    const struct dirent *entry;
    while (status == BP_OK && (entry = readdir(directory))) {
        const uint32_t rank = rank_of(entry->d_name);
        if (rank) status = add(&list, rank, allocator);
    }
    closedir(directory);
    if (status != BP_OK) {
        bp_rank_folders_free(&list, allocator);
        return bp_fail(error, status, "%s: %s", path,
                       status == BP_ERROR_LIMIT ? "too many folders of ranks"
                                                : "no memory for the list of ranks");
    }
    if (list.n) qsort(list.rank, list.n, sizeof *list.rank, ascending);
    *folders = list;
    return BP_OK;
}

void bp_rank_folders_free(bp_rank_folders *folders, const bp_allocator *allocator) {
    bp_release(allocator, folders->rank, folders->capacity, sizeof *folders->rank);
    *folders = (bp_rank_folders){0};
}
