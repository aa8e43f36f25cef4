/* SPDX-License-Identifier: Apache-2.0 */
/* Findings as they are kept: one slot a problem, and their order in the output. */
#include "diagnosis/state.h"

#include <math.h>
#include <string.h>

bp_finding_slot *bp_finding_open(bp_diagnosis *d, bp_problem problem, int64_t since, int64_t step) {
    const int64_t before = bp_window_step_before(&d->window, since);
    const bp_onset onset = {since, before < 0 ? since : before + 1, since};
    return bp_finding_open_within(d, problem, &onset, step);
}

bp_finding_slot *bp_finding_open_within(bp_diagnosis *d, bp_problem problem, const bp_onset *since,
                                        int64_t step) {
    bp_finding_slot *slot = &d->slots[problem];
    if (!slot->exists) {
        slot->exists = true;
        slot->finding = (bp_finding){.struct_size = sizeof slot->finding,
                                     .problem = problem,
                                     .severity = BP_WARNING,
                                     .since_step = since->step,
                                     .since_earliest = since->earliest,
                                     .since_latest = since->latest,
                                     .layers = slot->layers,
                                     .evidence = slot->evidence,
                                     .symptoms = slot->symptoms,
                                     .title = slot->title,
                                     .cause = slot->cause,
                                     .note = slot->note,
                                     .parent = -1};
    }
    slot->finding.open = true;
    slot->finding.last_step = step;
    slot->finding.n_layers = 0;
    slot->finding.n_evidence = 0;
    return slot;
}

uint32_t bp_finding_settle(bp_finding_slot *slot, bool existed, bp_severity severity) {
    const bool changed = !existed || slot->finding.severity != severity;
    slot->finding.severity = severity;
    return changed;
}

uint32_t bp_finding_close(bp_diagnosis *d, bp_problem problem) {
    bp_finding_slot *slot = &d->slots[problem];
    if (!slot->exists || !slot->finding.open) return 0;
    slot->finding.open = false;
    return bp_finding_settle(slot, true, BP_HINT);
}

bool bp_finding_still_costs(const bp_diagnosis *d, const bp_finding *finding, int64_t step) {
    const double level = bp_trivial_level(d);
    if (!(bp_window_mean_loss(&d->window) > 0.5 * level)) return false;
    return 4 * (finding->last_step - finding->since_step) > step - d->history.first_step;
}

void bp_finding_add_layer(bp_finding_slot *slot, uint32_t layer) {
    bp_finding *finding = &slot->finding;
    if (finding->n_layers && slot->layers[finding->n_layers - 1] == layer) return;
    slot->layers[finding->n_layers++] = layer;
}

void bp_finding_add_evidence(bp_finding_slot *slot, const char *name, const char *meaning,
                             uint32_t layer, int64_t step, double value, bool measured) {
    if (slot->finding.n_evidence >= MAX_EVIDENCE) return;
    slot->evidence[slot->finding.n_evidence++] = (bp_evidence){.name = name,
                                                               .meaning = meaning,
                                                               .layer = layer,
                                                               .step = step,
                                                               .value = value,
                                                               .measured = measured};
}

double bp_finding_evidence(const bp_finding *finding, const char *name) {
    for (uint32_t i = 0; i < finding->n_evidence; i++)
        if (strcmp(finding->evidence[i].name, name) == 0 && finding->evidence[i].measured)
            return finding->evidence[i].value;
    return (double)NAN;
}

uint32_t bp_finding_blamed_layer(const bp_finding *finding) {
    const double layer = bp_finding_evidence(finding, "blamed_layer");
    return layer >= 1 ? (uint32_t)layer : 0;
}

static void place(bp_diagnosis *d, const bp_problem *cause, bp_problem problem, int32_t parent) {
    const int32_t index = (int32_t)d->n_order;
    d->order[d->n_order++] = problem;
    d->slots[problem].finding.parent = parent;
    for (uint32_t child = 1; child < BP_N_PROBLEMS; child++)
        if (d->slots[child].exists && cause[child] == problem)
            place(d, cause, (bp_problem)child, index);
}

void bp_finding_sort(bp_diagnosis *d) {
    bp_problem cause[BP_N_PROBLEMS];
    for (uint32_t problem = 1; problem < BP_N_PROBLEMS; problem++)
        if (d->slots[problem].exists) cause[problem] = bp_cause_of(d, (bp_problem)problem);
    d->n_order = 0;
    for (int severity = BP_ERROR; severity >= BP_HINT; severity--) /* what is worst stands first */
        for (uint32_t problem = 1; problem < BP_N_PROBLEMS; problem++)
            if (d->slots[problem].exists && cause[problem] == 0 &&
                (int)d->slots[problem].finding.severity == severity)
                place(d, cause, (bp_problem)problem, -1);
}
