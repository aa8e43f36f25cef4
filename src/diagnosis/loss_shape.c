/* SPDX-License-Identifier: Apache-2.0 */
/* The shape of the loss over steps: spikes, oscillation, plateaus, slow convergence, underfitting;
 * a constant output. */
#include "diagnosis/state.h"

bool bp_loss_shape_open(bp_diagnosis *d) {
    d->loss_shape.n_records = 0;
    return true;
}

void bp_loss_shape_close(bp_diagnosis *d) {
    (void)d;
}

uint32_t bp_judge_loss_shape(bp_diagnosis *d, const bp_record *record) {
    (void)record;
    d->loss_shape.n_records++;
    return 0;
}

void bp_loss_shape_note(bp_diagnosis *d, int64_t step, double loss) {
    (void)d, (void)step, (void)loss;
}

/* --- in words --------------------------------------------------------------------------------- */

void bp_loss_shape_title(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *text) {
    (void)d;
    bp_text_layers_named(text, slot->layers, slot->finding.n_layers);
}

void bp_loss_shape_words(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *cause,
                         bp_text *note) {
    (void)d, (void)slot, (void)cause, (void)note;
}
