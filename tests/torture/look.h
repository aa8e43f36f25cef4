/* SPDX-License-Identifier: Apache-2.0 */
/* What a log gives of a run of the network of net.h, compared with what happened. */
#ifndef BP_TESTS_TORTURE_LOOK_H
#define BP_TESTS_TORTURE_LOOK_H

#include "net.h"

#include <backprobe/runlog.h>

typedef struct look {
    net net; /* trains along: what the log says of a step must be what happened */
    double loss, weight_rms;
    int64_t n, first, last;
    int64_t missing; /* steps before the last one that are not given */
    int64_t doubled, wrong;
    bp_runlog_damage damage;
    bp_run_end end;
} look;

/* Reads all of folder, the log of a run with this seed. */
BP_MUST_USE bp_status look_at(look *l, const char *folder, uint64_t seed, bp_error *error);

#endif
