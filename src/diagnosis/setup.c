/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong before the first step, or with what the optimiser was given: data, targets, last
 * layer, parameters that get no gradient. */
#include "diagnosis/state.h"

bool bp_setup_open(bp_diagnosis *d) {
    d->setup.n_records = 0;
    return true;
}

void bp_setup_close(bp_diagnosis *d) {
    (void)d;
}

uint32_t bp_judge_setup(bp_diagnosis *d, const bp_record *record) {
    (void)record;
    d->setup.n_records++;
    return 0;
}

/* --- in words --------------------------------------------------------------------------------- */

void bp_setup_title(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *text) {
    (void)d;
    bp_text_layers_named(text, slot->layers, slot->finding.n_layers);
}

void bp_setup_words(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *cause,
                    bp_text *note) {
    (void)d, (void)slot, (void)cause, (void)note;
}
