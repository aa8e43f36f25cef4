/* SPDX-License-Identifier: Apache-2.0 */
/* What each layer contributes to learning: c_l = -<g_l, dw_l>, the first-order fall of the loss
 * that layer l brings; its share is |c_l| / sum |c| of the step (a sum over a window would be
 * dominated by one step). */
#include "diagnosis/state.h"

#include <math.h>

bool bp_effect_shares(bp_diagnosis *d, const bp_record *record) {
    double sum = 0;
    bool any = false;
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        d->shares[id] = (double)NAN;
        if (!d->history.layer[id].is_trained || !bp_record_has(record, BP_Q_EFFECT, id)) continue;
        const double effect = fabs(bp_record_get(record, BP_Q_EFFECT, id));
        if (!isfinite(effect)) return false;
        d->shares[id] = effect;
        sum += effect;
        any = true;
    }
    if (!any || !(sum > 0)) return false;
    for (uint32_t id = 1; id <= d->n_layers; id++) d->shares[id] /= sum;
    return true;
}
