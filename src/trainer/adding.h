/* SPDX-License-Identifier: Apache-2.0 */
/* The adding problem (Hochreiter & Schmidhuber 1997, in the form of Le et al. 2015). */
#ifndef BP_TRAINER_ADDING_H
#define BP_TRAINER_ADDING_H

#include <backprobe/train.h>

#define BP_ADDING_MAX_STEPS 1000

/* The number of steps that a name such as "adding 50" asks for; 0 where it is no such name. */
int64_t bp_adding_steps(const char *name);
BP_MUST_USE bp_status bp_adding_open(bp_dataset **dataset, int64_t steps,
                                     const bp_allocator *allocator, bp_error *error);

#endif
