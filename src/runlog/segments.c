/* SPDX-License-Identifier: Apache-2.0 */
#include "runlog/segments.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *bp_segment_name(char *name, uint32_t index) {
    snprintf(name, BP_SEGMENT_NAME_BYTES, "log-%06u.bplog", (unsigned)index);
    return name;
}

/* 0 when it is not the name of a segment. Only the form that bp_segment_name gives counts, so that
 * no number comes twice. */
static uint32_t index_of(const char *name) {
    uint64_t index = 0;
    if (strncmp(name, "log-", 4) != 0) return 0;
    for (const char *c = name + 4; *c >= '0' && *c <= '9' && index <= UINT32_MAX; c++)
        index = index * 10 + (uint64_t)(*c - '0');
    char canonical[BP_SEGMENT_NAME_BYTES];
    if (index > UINT32_MAX) return 0;
    return strcmp(name, bp_segment_name(canonical, (uint32_t)index)) == 0 ? (uint32_t)index : 0;
}

static bp_status add(bp_segments *segments, uint32_t index, const bp_allocator *allocator) {
    if (segments->n == BP_SEGMENTS_MAX) return BP_ERROR_LIMIT;
    if (segments->n == segments->capacity) {
        const size_t wanted = segments->capacity ? 2 * segments->capacity : 16;
        uint32_t *grown =
            allocator->resize(allocator->context, segments->index,
                              segments->capacity * sizeof *grown, wanted * sizeof *grown);
        if (!grown) return BP_ERROR_MEMORY;
        segments->index = grown;
        segments->capacity = wanted;
    }
    segments->index[segments->n++] = index;
    return BP_OK;
}

static int ascending(const void *a, const void *b) {
    const uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

bp_status bp_segments_list(bp_segments *segments, const char *folder, const bp_allocator *allocator,
                           bp_error *error) {
    bp_segments list = {0};
    DIR *directory;
    do directory = opendir(folder);
    while (!directory && errno == EINTR);
    if (!directory) return bp_fail_os(error, errno, "cannot read the run folder %s", folder);
    bp_status status = BP_OK;
    const struct dirent *entry;
    while (status == BP_OK && (errno = 0, entry = readdir(directory))) {
        const uint32_t index = index_of(entry->d_name);
        if (index) status = add(&list, index, allocator);
    }
    const int trouble = status == BP_OK ? errno : 0;
    closedir(directory);
    if (trouble) status = bp_fail_os(error, trouble, "cannot read the run folder %s", folder);
    if (status == BP_ERROR_LIMIT)
        bp_fail(error, status, "%s holds more than %u segments of a log", folder, BP_SEGMENTS_MAX);
    if (status == BP_ERROR_MEMORY) bp_fail(error, status, "no memory for the list of %s", folder);
    if (status != BP_OK) {
        bp_segments_free(&list, allocator);
        return status;
    }
    if (list.n) qsort(list.index, list.n, sizeof *list.index, ascending);
    *segments = list;
    return BP_OK;
}

void bp_segments_free(bp_segments *segments, const bp_allocator *allocator) {
    bp_release(allocator, segments->index, segments->capacity, sizeof *segments->index);
    *segments = (bp_segments){0};
}
