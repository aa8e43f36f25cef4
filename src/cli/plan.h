/* SPDX-License-Identifier: Apache-2.0 */
/* What `train --dry-run` shows. */
#ifndef BP_CLI_PLAN_H
#define BP_CLI_PLAN_H

#include "replay/network.h"

/* Prints layers with shapes and numbers of parameters, and the recipe. Takes the network out of
 * *network, also on failure. */
BP_MUST_USE bp_status bp_plan_show(bp_network *network, bool json, bp_error *error);

#endif
