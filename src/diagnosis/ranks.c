/* SPDX-License-Identifier: Apache-2.0 */
/* rank-mismatch: processes that train one network hold different parameters, or their optimisers
 * get different gradients. Equal copies give equal numbers, for sums have a fixed order; other
 * devices may round a number to the next of the logarithm's codes. */
#include "diagnosis/state.h"

#include <math.h>

#define BEYOND_ONE_CODE 4.5e-3 /* codes are 3.0e-3 apart */
#define FAINT_RECORDS 3u       /* so often the next code is no rounding */
#define OVER_RECORDS 20u       /* equal again for so long */

/* True when they are not equal in this record. *beyond: by more than one code. */
static bool note_spread(const bp_diagnosis *d, bp_rank_spread *spread, const bp_record *record,
                        bp_quantity quantity, bool *beyond) {
    bool any = false;
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        if (!bp_record_has(record, quantity, id)) continue;
        const double difference = bp_record_get(record, quantity, id);
        if (!(difference > 0)) continue;
        any = true;
        *beyond = *beyond || difference > BEYOND_ONE_CODE;
        spread->layers[id] = 1;
        if (!(difference > spread->difference)) continue;
        spread->difference = difference;
        spread->layer = id;
        spread->step = record->step;
        spread->rank = (uint32_t)bp_count_of(record, BP_Q_RANK_APART, id);
    }
    if (!any) return false;
    if (spread->since < 0) spread->since = record->step;
    spread->n++;
    return true;
}

/* A single code, once or twice: rounding. */
static void forget(const bp_diagnosis *d, bp_rank_spread *spread) {
    uint8_t *layers = spread->layers;
    for (uint32_t id = 0; id <= d->n_layers; id++) layers[id] = 0;
    *spread = (bp_rank_spread){.since = -1, .layers = layers};
}

static void add_evidence(bp_diagnosis *d, bp_finding_slot *slot) {
    const bp_rank_spread *p = &d->parameters, *g = &d->gradients,
                         *worst = slot->finding.severity == BP_ERROR ? p : g;
    bp_finding_add_evidence(slot, "parameter_spread",
                            "largest relative difference between the ranks' parameters", p->layer,
                            p->step, p->difference, p->since >= 0);
    bp_finding_add_evidence(slot, "gradient_spread", "the same of what their optimisers get and do",
                            g->layer, g->step, g->difference, g->since >= 0);
    bp_finding_add_evidence(slot, "rank", "that differs most", worst->layer, worst->step,
                            worst->rank, true);
    bp_finding_add_evidence(slot, "ranks", "whose copies were compared", 0, worst->step, d->n_ranks,
                            true);
}

static int64_t earlier(int64_t a, int64_t b) {
    if (a < 0 || b < 0) return a < 0 ? b : a;
    return a < b ? a : b;
}

static uint32_t tell(bp_diagnosis *d, int64_t step, bool parameters) {
    const bool is_new = !d->slots[BP_PROBLEM_RANK_MISMATCH].exists;
    bp_finding_slot *slot = bp_finding_open(d, BP_PROBLEM_RANK_MISMATCH,
                                            earlier(d->parameters.since, d->gradients.since), step);
    const bp_severity before = slot->finding.severity;
    if (parameters) slot->finding.severity = BP_ERROR;
    const uint8_t *layers =
        slot->finding.severity == BP_ERROR ? d->parameters.layers : d->gradients.layers;
    for (uint32_t id = 1; id <= d->n_layers; id++)
        if (layers[id]) bp_finding_add_layer(slot, id);
    add_evidence(d, slot);
    return is_new || slot->finding.severity != before;
}

uint32_t bp_judge_ranks(bp_diagnosis *d, const bp_record *record) {
    bp_finding_slot *slot = &d->slots[BP_PROBLEM_RANK_MISMATCH];
    bp_rank_spread *p = &d->parameters, *g = &d->gradients;
    bool p_beyond = false, g_beyond = false;
    if (!bp_record_has(record, BP_Q_RANKS, 0)) return 0; /* of one process, or of a light step */
    d->n_ranks = (uint32_t)bp_count_of(record, BP_Q_RANKS, 0);
    const bool p_differ = note_spread(d, p, record, BP_Q_PARAMETER_SPREAD, &p_beyond);
    const bool g_differ = note_spread(d, g, record, BP_Q_GRADIENT_SPREAD, &g_beyond);
    if (!p_differ && !g_differ) {
        d->n_equal++;
        if (!slot->exists) {
            forget(d, p);
            forget(d, g);
        } else if (d->n_equal >= OVER_RECORDS) {
            slot->finding.open = false;
        }
        return 0;
    }
    d->n_equal = 0;
    const bool parameters = p_beyond || p->n >= FAINT_RECORDS;
    if (!slot->exists && !parameters && !g_beyond && g->n < FAINT_RECORDS) return 0;
    return tell(d, record->step, parameters);
}

/* --- in words --------------------------------------------------------------------------------- */

void bp_text_ranks_title(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *text) {
    const bool parameters = slot->finding.severity == BP_ERROR;
    bp_text_add(text, "%u ranks %s different %s in ", d->n_ranks, parameters ? "hold" : "get",
                parameters ? "parameters" : "gradients");
    bp_text_layers_named(text, slot->layers, slot->finding.n_layers);
    bp_text_add(text, " of %u", d->n_layers);
}

static void text_spread(const bp_diagnosis *d, const bp_rank_spread *spread, const char *what,
                        bp_text *text) {
    bp_text_add(text, "rank %u's %s of layer %u (%s) differ by ", spread->rank, what, spread->layer,
                bp_model_layer(d->model, spread->layer)->name);
    bp_text_add_number(text, 100 * spread->difference, 2);
    bp_text_add(text, "%% at step %lld", (long long)spread->step);
}

static void text_parameters(const bp_diagnosis *d, bp_text *text) {
    const bp_rank_spread *p = &d->parameters, *g = &d->gradients;
    text_spread(d, p, "parameters", text);
    if (p->since == d->history.first_step)
        bp_text_add(text, "; they did at the first step that was seen: the ranks began with "
                          "different parameters");
    else if (g->since >= 0 && g->since <= p->since)
        bp_text_add(text, "; they part since step %lld", (long long)p->since);
    else
        bp_text_add(text,
                    "; they part since step %lld, up to which the optimisers got the same "
                    "gradients: one rank changed its parameters alone",
                    (long long)p->since);
    if (g->since < 0) return;
    bp_text_add(text, "; gradients differ since step %lld, by up to ", (long long)g->since);
    bp_text_add_number(text, 100 * g->difference, 2);
    bp_text_add(text, "%%: they are not averaged over the ranks, and each trains a network of its "
                      "own");
}

void bp_text_ranks(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *text,
                   bp_text *note) {
    const bool parameters = slot->finding.severity == BP_ERROR;
    if (parameters) {
        text_parameters(d, text);
    } else {
        text_spread(d, &d->gradients, "gradients", text);
        bp_text_add(text, ": they are not averaged over the ranks, or not all of them; the "
                          "parameters are equal as far as their sizes show");
    }
    bp_text_add(note, "%s",
                parameters ? "ranks that hold other parts of a network on purpose (stages, "
                             "experts) are no fault"
                           : "an optimiser that averages inside its own step gets them so on "
                             "purpose");
    if (!slot->finding.open)
        bp_text_add(note, "; they are equal again after step %lld",
                    (long long)slot->finding.last_step);
}
