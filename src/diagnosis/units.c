/* SPDX-License-Identifier: Apache-2.0 */
/* Units that no longer take part: dead ones (never active) and saturated ones (their phi' is 0). */
#include "diagnosis/state.h"

bool bp_units_open(bp_diagnosis *d) {
    d->units.n_records = 0;
    return true;
}

void bp_units_close(bp_diagnosis *d) {
    (void)d;
}

uint32_t bp_judge_units(bp_diagnosis *d, const bp_record *record) {
    (void)record;
    d->units.n_records++;
    return 0;
}

/* --- in words --------------------------------------------------------------------------------- */

void bp_units_title(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *text) {
    (void)d;
    bp_text_layers_named(text, slot->layers, slot->finding.n_layers);
}

void bp_units_words(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *cause,
                    bp_text *note) {
    (void)d, (void)slot, (void)cause, (void)note;
}
