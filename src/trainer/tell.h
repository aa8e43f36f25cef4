/* SPDX-License-Identifier: Apache-2.0 */
/* How the trainer tells its observer: each call asks the plan of the step first. */
#ifndef BP_TRAINER_TELL_H
#define BP_TRAINER_TELL_H

#include <backprobe/train.h>

typedef struct bp_teller {
    const bp_observer *observer; /* NULL: nobody listens */
    bp_plan plan;
} bp_teller;

bp_teller bp_tell_begin(const bp_observer *observer, const bp_step *step);
bool bp_teller_wants(const bp_teller *teller, uint32_t layer, bp_role role);
/* An activation or error signal: [samples, units]. */
void bp_tell_matrix(const bp_teller *teller, uint32_t layer, bp_role role, const bp_real *data,
                    int64_t samples, int64_t units);
void bp_tell_tensor(const bp_teller *teller, uint32_t layer, bp_role role, bp_slot slot,
                    const bp_tensor *tensor);
void bp_tell_update(const bp_teller *teller, const bp_parameter *parameter, const bp_real *before);
void bp_tell_scalar(const bp_teller *teller, bp_metric metric, double value);
void bp_tell_end(const bp_teller *teller);

#endif
