/* SPDX-License-Identifier: Apache-2.0 */
/* Room remedy: finding -> edits as (key path, value), chosen by the gains that theory predicts for
 * each candidate. It changes nothing itself: whoever holds the network file applies the edits.
 * Called by report's callers and python. */
#ifndef BP_REMEDY_REMEDY_H
#define BP_REMEDY_REMEDY_H

#include "diagnosis/diagnosis.h"
#include <backprobe/remedy.h>

#endif
