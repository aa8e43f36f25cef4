/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of the number format: underflow, overflow, clipping by a norm that overflowed. */
#include "diagnosis/state.h"

bool bp_precision_open(bp_diagnosis *d) {
    d->precision.n_records = 0;
    return true;
}

void bp_precision_close(bp_diagnosis *d) {
    (void)d;
}

uint32_t bp_judge_precision(bp_diagnosis *d, const bp_record *record) {
    (void)record;
    d->precision.n_records++;
    return 0;
}

/* --- in words --------------------------------------------------------------------------------- */

void bp_precision_title(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *text) {
    (void)d;
    bp_text_layers_named(text, slot->layers, slot->finding.n_layers);
}

void bp_precision_words(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *cause,
                        bp_text *note) {
    (void)d, (void)slot, (void)cause, (void)note;
}
