/* SPDX-License-Identifier: Apache-2.0 */
/* What the validation set says: overfitting, overconfidence, memorising. */
#include "diagnosis/state.h"

bool bp_generalisation_open(bp_diagnosis *d) {
    d->generalisation.n_records = 0;
    return true;
}

void bp_generalisation_close(bp_diagnosis *d) {
    (void)d;
}

uint32_t bp_judge_generalisation(bp_diagnosis *d, const bp_record *record) {
    (void)record;
    d->generalisation.n_records++;
    return 0;
}

/* --- in words --------------------------------------------------------------------------------- */

void bp_generalisation_title(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *text) {
    (void)d;
    bp_text_layers_named(text, slot->layers, slot->finding.n_layers);
}

void bp_generalisation_words(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *cause,
                             bp_text *note) {
    (void)d, (void)slot, (void)cause, (void)note;
}
