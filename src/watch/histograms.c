/* SPDX-License-Identifier: Apache-2.0 */
/* Histograms of exponents: at which full steps they are taken, and how they come into the log. */
#include "watch/state.h"

#define FIRST_MOMENTS 16u
#define MOST_OF_A_DOUBLING 512u

/* A run of n full steps gets about 1.5 sqrt(n) of them, and never more than MOST_OF_A_DOUBLING
 * while its full steps become twice as many. By number alone, so that a run that comes again, or
 * goes on, has the same ones. */
static bool is_moment(uint64_t number) {
    if (number < FIRST_MOMENTS) return true;
    uint64_t stride = 1;
    while (stride <= number / stride || stride <= number / MOST_OF_A_DOUBLING) stride *= 2;
    return number % stride == 0;
}

bool bp_watch_wants_histograms(const bp_watch *watch) {
    const bp_governor *governor = &watch->governor;
    return watch->log && governor->full &&
           is_moment(watch->before.full_steps + governor->n_full - 1);
}

/* Of tensors with slots that of the weights. */
bool bp_watch_takes_histogram(const bp_watch *watch, bp_role role, bp_slot slot) {
    if (!watch->is_moment || slot != BP_SLOT_WEIGHT) return false;
    return role == BP_ROLE_PARAMETER || role == BP_ROLE_GRADIENT;
}

static bool is_valid(const bp_histogram *histogram) {
    const int64_t first = histogram->first_octave, n = histogram->n_octaves;
    if (n == 0) return true;
    return n <= BP_HISTOGRAM_OCTAVES && first >= BP_EXPONENT_MIN &&
           first + n - 1 <= BP_EXPONENT_MAX && histogram->count[0] > 0 &&
           histogram->count[n - 1] > 0;
}

void bp_watch_tell_histogram(bp_watch *watch, uint32_t layer, bp_role role,
                             const bp_histogram *histogram) {
    if (!watch->in_step || !watch->is_moment || layer > watch->n_layers || !is_valid(histogram))
        return;
    const bp_event event = {.kind = BP_EVENT_HISTOGRAM,
                            .as.histogram = {.step = watch->step.step,
                                             .layer = layer,
                                             .role = (uint32_t)role,
                                             .histogram = *histogram}};
    bp_watch_log_event(watch, &event);
}

void bp_note_exponents(bp_watch *watch, uint32_t layer, bp_role role, const bp_summary *summary) {
    bp_histogram histogram;
    bp_histogram_of(&histogram, summary, &watch->exponents);
    bp_watch_tell_histogram(watch, layer, role, &histogram);
}
