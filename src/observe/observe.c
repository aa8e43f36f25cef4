/* SPDX-License-Identifier: Apache-2.0 */
/* Names of the observer's words. */
#include "observe/observe.h"

#define NAME_AT(id, name, number) [number] = name,

static const char *const role_names[BP_N_ROLES] = {BP_ROLES(NAME_AT)};
static const char *const metric_names[BP_N_METRICS] = {BP_METRICS(NAME_AT)};

const char *bp_role_name(bp_role role) {
    return (unsigned)role < BP_N_ROLES ? role_names[role] : NULL;
}

const char *bp_metric_name(bp_metric metric) {
    return (unsigned)metric < BP_N_METRICS ? metric_names[metric] : NULL;
}
