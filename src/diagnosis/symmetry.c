/* SPDX-License-Identifier: Apache-2.0 */
/* Units that are copies of each other: weights that begin all equal, or all zero, get equal
 * gradients and stay equal. */
#include "diagnosis/state.h"

bool bp_symmetry_open(bp_diagnosis *d) {
    d->symmetry.n_records = 0;
    return true;
}

void bp_symmetry_close(bp_diagnosis *d) {
    (void)d;
}

uint32_t bp_judge_symmetry(bp_diagnosis *d, const bp_record *record) {
    (void)record;
    d->symmetry.n_records++;
    return 0;
}

/* --- in words --------------------------------------------------------------------------------- */

void bp_symmetry_title(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *text) {
    (void)d;
    bp_text_layers_named(text, slot->layers, slot->finding.n_layers);
}

void bp_symmetry_words(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *cause,
                       bp_text *note) {
    (void)d, (void)slot, (void)cause, (void)note;
}
