/* SPDX-License-Identifier: Apache-2.0 */
/* non-finite: the first NaN or Inf, and what produced it. Within a step the order of computation is
 * known: data, parameters, forward, loss, backward, gradients, update. The first place in this
 * order is the producer (finite in, non-finite out); everything after it only passes it on. */
#include "diagnosis/state.h"

#include <math.h>

/* True when this place holds a non-finite value; the first one found becomes the producer. */
static bool look(bp_non_finite *found, const bp_record *record, uint32_t layer, const char *place,
                 bp_quantity nan, bp_quantity inf) {
    const uint64_t n_nan = bp_count_of(record, nan, layer), n_inf = bp_count_of(record, inf, layer);
    if (n_nan + n_inf == 0) return false;
    if (!found->seen)
        *found = (bp_non_finite){.seen = true,
                                 .step = record->step,
                                 .layer = layer,
                                 .place = place,
                                 .n_nan = n_nan,
                                 .n_inf = n_inf,
                                 .is_watched = found->is_watched,
                                 .largest_before = (double)NAN};
    return true;
}

static void look_at_data_and_parameters(bp_diagnosis *d, const bp_record *record) {
    bp_non_finite *found = &d->non_finite;
    if (look(found, record, 0, "input", BP_Q_ACTIVATION_NAN, BP_Q_ACTIVATION_INF))
        found->is_data = true;
    for (uint32_t id = 1; id <= d->n_layers; id++)
        if (look(found, record, id, "parameter", BP_Q_PARAMETER_NAN, BP_Q_PARAMETER_INF) &&
            found->layer == id && !found->is_data)
            found->is_inherited = record->step == d->history.first_step;
}

static void look_forward(bp_diagnosis *d, const bp_record *record, bool any) {
    bp_non_finite *found = &d->non_finite;
    for (uint32_t id = 1; any && id <= d->n_layers; id++) {
        const bool first = !found->seen;
        if (look(found, record, id, "activation", BP_Q_ACTIVATION_NAN, BP_Q_ACTIVATION_INF) &&
            first) {
            found->largest_before = bp_record_get(record, BP_Q_ACTIVATION_MAX, id - 1);
            found->is_watched = bp_record_has(record, BP_Q_ACTIVATION_NAN, id - 1);
        }
    }
    if (found->seen || !bp_record_has(record, BP_Q_LOSS, 0)) return;
    const double loss = bp_record_get(record, BP_Q_LOSS, 0);
    if (isfinite(loss)) return;
    *found = (bp_non_finite){.seen = true,
                             .step = record->step,
                             .place = "loss",
                             .n_nan = isnan(loss) ? 1u : 0u,
                             .n_inf = isnan(loss) ? 0u : 1u};
    found->largest_before = bp_record_get(record, BP_Q_ACTIVATION_MAX, d->n_layers);
    found->is_watched = bp_record_has(record, BP_Q_ACTIVATION_NAN, d->n_layers);
}

static void look_backward(bp_diagnosis *d, const bp_record *record, bool any) {
    bp_non_finite *found = &d->non_finite;
    if (record->flags & BP_RECORD_UPDATE_SKIPPED) return; /* a loss scaler saw it, and it is gone */
    for (uint32_t id = d->n_layers; any && id >= 1; id--) {
        const bool first = !found->seen;
        if (look(found, record, id, "error signal", BP_Q_ERROR_NAN, BP_Q_ERROR_INF) && first) {
            found->is_watched = id == d->n_layers || bp_record_has(record, BP_Q_ERROR_NAN, id + 1);
            if (id < d->n_layers)
                found->largest_before = bp_record_get(record, BP_Q_ERROR_MAX, id + 1);
        }
    }
    if (!found->seen) found->is_watched = true; /* what comes now was made of what was finite */
    if (!any) return;
    for (uint32_t id = d->n_layers; id >= 1; id--)
        look(found, record, id, "gradient", BP_Q_GRADIENT_NAN, BP_Q_GRADIENT_INF);
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        const bool first = !found->seen;
        if (look(found, record, id, "updated parameter", BP_Q_UPDATE_BAD, BP_Q_UPDATE_BAD) &&
            first) {
            found->n_inf = 0; /* the count says only that they are not finite any more */
            found->largest_before = bp_record_get(record, BP_Q_GRADIENT_MAX, id);
        }
    }
}

/* Layers other than the producer that hold a non-finite value anywhere in this step. */
static uint32_t count_passers(const bp_diagnosis *d, const bp_record *record) {
    static const bp_quantity places[] = {
        BP_Q_ACTIVATION_NAN, BP_Q_ACTIVATION_INF, BP_Q_ERROR_NAN, BP_Q_ERROR_INF,
        BP_Q_GRADIENT_NAN,   BP_Q_GRADIENT_INF,   BP_Q_UPDATE_BAD};
    uint32_t n = 0;
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        uint64_t bad = 0;
        for (size_t i = 0; i < sizeof places / sizeof *places; i++)
            bad += bp_count_of(record, places[i], id);
        n += bad > 0 && id != d->non_finite.layer;
    }
    return n;
}

static void add_evidence(bp_diagnosis *d, bp_finding_slot *slot) {
    const bp_non_finite *found = &d->non_finite;
    bp_finding_add_evidence(slot, "nan", "NaN values at the first place", found->layer, found->step,
                            (double)found->n_nan, true);
    bp_finding_add_evidence(slot, "inf", "infinite values at the first place", found->layer,
                            found->step, (double)found->n_inf, true);
    bp_finding_add_evidence(slot, "largest_before", "largest finite magnitude before it",
                            found->layer, found->step, found->largest_before,
                            !isnan(found->largest_before));
    bp_finding_add_evidence(slot, "layers_passing_it_on", "in the same step", 0, found->step,
                            found->n_passers, true);
    bp_finding_add_evidence(slot, "loss_before", "the last finite loss", 0, found->step,
                            d->history.last_loss, !isnan(d->history.last_loss));
}

uint32_t bp_judge_non_finite(bp_diagnosis *d, const bp_record *record, bool any_non_finite) {
    if (d->non_finite.seen) {
        d->slots[BP_PROBLEM_NON_FINITE].finding.last_step = record->step;
        return 0;
    }
    bp_non_finite *found = &d->non_finite;
    if (any_non_finite) look_at_data_and_parameters(d, record);
    look_forward(d, record, any_non_finite);
    look_backward(d, record, any_non_finite);
    if (!found->seen) return 0;
    found->n_passers = count_passers(d, record);
    found->loss_is_bad =
        bp_record_has(record, BP_Q_LOSS, 0) && !isfinite(bp_record_get(record, BP_Q_LOSS, 0));
    /* Where what went in was not watched, it may have come to be since the step before. */
    const int64_t before = d->history.previous_step;
    const bp_onset since = {
        found->step, found->is_watched || before < 0 || before > found->step ? found->step : before,
        found->step};
    bp_finding_slot *slot = bp_finding_open_within(d, BP_PROBLEM_NON_FINITE, &since, record->step);
    slot->finding.severity = BP_ERROR;
    if (found->layer) bp_finding_add_layer(slot, found->layer);
    if (d->first.measured) bp_profile_copy(&slot->profile, &d->first);
    add_evidence(d, slot);
    return 1;
}
