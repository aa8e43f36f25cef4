/* SPDX-License-Identifier: Apache-2.0 */
/* Room observe: the observer interface (decision 5). All of it is public; this room adds the names
 * of its words. Called by trainer and watch. */
#ifndef BP_OBSERVE_OBSERVE_H
#define BP_OBSERVE_OBSERVE_H

#include "model/model.h"
#include <backprobe/observe.h>

/* "error signal"; static, NULL outside. */
const char *bp_role_name(bp_role role);
const char *bp_metric_name(bp_metric metric);

#endif
