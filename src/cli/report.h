/* SPDX-License-Identifier: Apache-2.0 */
/* What `report` writes, for commands that have just made a run. */
#ifndef BP_CLI_REPORT_H
#define BP_CLI_REPORT_H

#include "base/base.h"

#define BP_REPORT_MAX_RUNS 2u

/* The page with these runs inside, within the default size, as the file `output`. Fails with
 * BP_ERROR_NOT_SUPPORTED when this was built without the page. */
BP_MUST_USE bp_status bp_report_write(char *const *paths, size_t n_paths, const char *output,
                                      bp_error *error);

#endif
