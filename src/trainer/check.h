/* SPDX-License-Identifier: Apache-2.0 */
/* What is checked before a run takes any memory. */
#ifndef BP_TRAINER_CHECK_H
#define BP_TRAINER_CHECK_H

#include "model/model.h"
#include <backprobe/train.h>

BP_MUST_USE bp_status bp_check_recipe(const bp_recipe *recipe, bp_error *error);
/* The model with its recipe, against the data. */
BP_MUST_USE bp_status bp_check_network(const bp_model *model, const bp_dataset *dataset,
                                       bp_error *error);
bool bp_has_batch_norm(const bp_model *model);

#endif
