/* SPDX-License-Identifier: Apache-2.0 */
/* Room trainer: layers, chain-rule autodiff, losses, optimisers, data sets. It tells an observer
 * and knows no detector. Invariants: deterministic by seed, bit for bit; a step allocates nothing;
 * one thread. Called by cli. Compiled twice: bp_real is float in the library, double in the
 * gradient tests. */
#ifndef BP_TRAINER_TRAINER_H
#define BP_TRAINER_TRAINER_H

#include "base/base.h"
#include "model/model.h"
#include "observe/observe.h"
#include <backprobe/train.h>

#endif
