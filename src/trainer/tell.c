/* SPDX-License-Identifier: Apache-2.0 */
/* Asked, then told. A function that an observer leaves out is not missed. */
#include "trainer/tell.h"

bp_teller bp_tell_begin(const bp_observer *observer, const bp_step *step) {
    bp_teller teller = {.observer = observer};
    if (observer && observer->step_begin)
        teller.plan = observer->step_begin(observer->context, step);
    return teller;
}

bool bp_teller_wants(const bp_teller *teller, uint32_t layer, bp_role role) {
    return teller->observer && teller->plan.wanted && bp_plan_wants(&teller->plan, layer, role);
}

void bp_tell_matrix(const bp_teller *teller, uint32_t layer, bp_role role, const bp_real *data,
                    int64_t samples, int64_t units) {
    if (!bp_teller_wants(teller, layer, role)) return;
    bp_tensor tensor = {.data = data,
                        .dtype = BP_REAL_DTYPE,
                        .ndim = 2,
                        .shape = {samples, units},
                        .stride = {units, 1}};
    bp_tell_tensor(teller, layer, role, BP_SLOT_WEIGHT, &tensor);
}

void bp_tell_tensor(const bp_teller *teller, uint32_t layer, bp_role role, bp_slot slot,
                    const bp_tensor *tensor) {
    if (bp_teller_wants(teller, layer, role) && teller->observer->tensor)
        teller->observer->tensor(teller->observer->context, layer, role, slot, tensor);
}

void bp_tell_update(const bp_teller *teller, const bp_parameter *parameter, const bp_real *before) {
    if (!bp_teller_wants(teller, parameter->layer, BP_ROLE_UPDATE) || !teller->observer->update)
        return;
    bp_tensor old = parameter->value;
    old.data = before;
    teller->observer->update(teller->observer->context, parameter->layer, parameter->slot,
                             &parameter->gradient, &old, &parameter->value);
}

void bp_tell_scalar(const bp_teller *teller, bp_metric metric, double value) {
    if (teller->observer && teller->observer->scalar)
        teller->observer->scalar(teller->observer->context, metric, value);
}

void bp_tell_end(const bp_teller *teller) {
    if (teller->observer && teller->observer->step_end)
        teller->observer->step_end(teller->observer->context);
}
