/* SPDX-License-Identifier: Apache-2.0 */
/* The checkpoints of a run: <run>/checkpoints/step-000001200.safetensors, the last two of them, and
 * best.safetensors. A new one is durable before an old one goes. */
#ifndef BP_CLI_CHECKPOINTS_H
#define BP_CLI_CHECKPOINTS_H

#include "base/base.h"
#include <backprobe/train.h>

typedef struct bp_checkpoints {
    char *folder;      /* NULL: none are kept */
    double last_saved; /* steady clock; of the last one, or of the begin */
    int64_t last_step; /* of the last one; -1 before */
    bool failed;       /* the last one could not be written */
} bp_checkpoints;

/* Makes the folder where it is not there. */
BP_MUST_USE bp_status bp_checkpoints_open(bp_checkpoints *checkpoints, const char *run_folder,
                                          bp_error *error);
void bp_checkpoints_close(bp_checkpoints *checkpoints);

/* The last one, or best.safetensors. *path, where asked for, is released with free(). */
BP_MUST_USE bp_status bp_checkpoints_save(bp_checkpoints *checkpoints, const bp_trainer *trainer,
                                          const bp_standing *standing, bool best, char **path,
                                          bp_error *error);

/* Resumes from the last one that can be read; *skipped counts newer ones that cannot. */
BP_MUST_USE bp_status bp_checkpoints_resume(bp_trainer *trainer, const char *run_folder,
                                            bp_standing *standing, int *skipped, bp_error *error);

#endif
