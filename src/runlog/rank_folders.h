/* SPDX-License-Identifier: Apache-2.0 */
/* Which processes of a training left a folder: `rank-N` below the run folder. For the files of this
 * room only. */
#ifndef BP_RUNLOG_RANK_FOLDERS_H
#define BP_RUNLOG_RANK_FOLDERS_H

#include "runlog/runlog.h"

/* More are not looked for: each is a file that is open. */
#define BP_RANK_FOLDERS_MAX 65536u

typedef struct bp_rank_folders {
    uint32_t *rank; /* ascending, without 0 */
    uint32_t n, capacity;
} bp_rank_folders;

/* An empty list where path is no folder. */
BP_MUST_USE bp_status bp_rank_folders_list(bp_rank_folders *folders, const char *path,
                                           const bp_allocator *allocator, bp_error *error);
void bp_rank_folders_free(bp_rank_folders *folders, const bp_allocator *allocator);

/* path/rank-N into text, which has room for BP_RANK_FOLDER_BYTES more than path. */
#define BP_RANK_FOLDER_BYTES 20
char *bp_rank_folder_path(char *text, const char *path, uint32_t rank);

#endif
