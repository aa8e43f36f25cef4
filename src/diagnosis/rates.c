/* SPDX-License-Identifier: Apache-2.0 */
/* Size and direction of updates: learning rate too high or too low, updates that stall, layers that
 * are updated at very different rates. */
#include "diagnosis/state.h"

bool bp_rates_open(bp_diagnosis *d) {
    d->rates.n_records = 0;
    return true;
}

void bp_rates_close(bp_diagnosis *d) {
    (void)d;
}

uint32_t bp_judge_rates(bp_diagnosis *d, const bp_record *record) {
    (void)record;
    d->rates.n_records++;
    return 0;
}

/* --- in words --------------------------------------------------------------------------------- */

void bp_rates_title(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *text) {
    (void)d;
    bp_text_layers_named(text, slot->layers, slot->finding.n_layers);
}

void bp_rates_words(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *cause,
                    bp_text *note) {
    (void)d, (void)slot, (void)cause, (void)note;
}
