/* SPDX-License-Identifier: Apache-2.0 */
/* Run folders: made once, never shared, removed again when a run could not begin. */
#ifndef BP_CLI_FOLDER_H
#define BP_CLI_FOLDER_H

#include "base/base.h"

/* Makes `path` and its parents; a folder that is there already must be empty. *made tells whether
 * the last one was made here. */
BP_MUST_USE bp_status bp_folder_make(const char *path, bool *made, bp_error *error);
/* Makes the first of runs/<name>-1, runs/<name>-2 … that is free; atomic by mkdir. *path is
 * released with free(). */
BP_MUST_USE bp_status bp_folder_make_numbered(char **path, const char *name, bp_error *error);
/* "a/b/net.yaml" -> "net". */
BP_MUST_USE bp_status bp_folder_name_of(char *name, size_t capacity, const char *path,
                                        bp_error *error);
bool bp_path_is_folder(const char *path);
/* "folder/name", released with free(); NULL without memory. */
char *bp_path_join(const char *folder, const char *name);
/* Undoes bp_folder_make_numbered: also the folder runs/ when nothing else is in it. */
void bp_folder_remove_numbered(const char *path);
/* Removes the files in a folder, and it; folders within likewise, `depth` levels deep. */
void bp_folder_remove(const char *path, int depth);

#endif
