/* SPDX-License-Identifier: Apache-2.0 */
/* The text of a network file and what a remedy would make of it. */
#ifndef BP_REPLAY_NETWORK_H
#define BP_REPLAY_NETWORK_H

#include "base/base.h"
#include <backprobe/netfile.h>
#include <backprobe/remedy.h>

typedef struct bp_network {
    char *path; /* names it in messages */
    char *text;
    char *edited; /* by the last bp_network_edited */
} bp_network;

/* Reads a file. *network is zeroed on failure. */
BP_MUST_USE bp_status bp_network_read(bp_network *network, const char *path, bp_error *error);
BP_MUST_USE bp_status bp_network_copy(bp_network *network, const char *path, const char *text,
                                      bp_error *error);
void bp_network_free(bp_network *network);
/* One override or edit; the error begins with "key=value: ". */
BP_MUST_USE bp_status bp_network_set(bp_network *network, const char *key, const char *value,
                                     bp_error *error);
/* For bp_report_run: context is a bp_network. */
const char *bp_network_edited(void *network, const bp_edit *edits, uint32_t n_edits);

#endif
