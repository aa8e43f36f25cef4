/* SPDX-License-Identifier: Apache-2.0 */
/* Histograms of exponents in what a record has room for. */
#include "record/record.h"

#define OCTAVES ((int32_t)BP_HISTOGRAM_OCTAVES)

static uint64_t in_octave(const bp_exponents *exponents, int32_t octave) {
    return exponents->count[octave - BP_EXPONENT_MIN];
}

/* Where the OCTAVES octaves begin that hold most of what lies in low ... high; of several the
 * highest. */
static int32_t fullest(const bp_exponents *exponents, int32_t low, int32_t high) {
    uint64_t held = bp_exponents_between(exponents, low, low + OCTAVES), most = held;
    int32_t found = low;
    for (int32_t first = low + 1; first + OCTAVES - 1 <= high; first++) {
        held += in_octave(exponents, first + OCTAVES - 1) - in_octave(exponents, first - 1);
        if (held >= most) found = first;
        if (held >= most) most = held;
    }
    return found;
}

/* Octaves alone. */
static void take_octaves(bp_histogram *histogram, const bp_exponents *exponents) {
    int32_t low = exponents->lowest, high = exponents->highest;
    while (low <= high && in_octave(exponents, low) == 0) low++;
    while (low <= high && in_octave(exponents, high) == 0) high--;
    if (low > high) return;
    const bool fits = high - low < OCTAVES;
    const int32_t first = fits ? low : fullest(exponents, low, high);
    const int32_t last = fits ? high : first + OCTAVES - 1;
    histogram->first_octave = first;
    histogram->n_octaves = (uint32_t)(last - first + 1);
    for (int32_t k = low; k <= high; k++)
        histogram->count[(k < first  ? first
                          : k > last ? last
                                     : k) -
                         first] += in_octave(exponents, k);
}

void bp_histogram_of(bp_histogram *histogram, const bp_summary *summary,
                     const bp_exponents *exponents) {
    *histogram =
        (bp_histogram){.zeros = summary->zero, .non_finite = bp_summary_non_finite(summary)};
    take_octaves(histogram, exponents);
}

static void add_octaves(bp_exponents *exponents, const bp_histogram *histogram) {
    if (histogram->n_octaves == 0) return;
    const int32_t first = histogram->first_octave;
    const int32_t last = first + (int32_t)histogram->n_octaves - 1;
    for (uint32_t i = 0; i < histogram->n_octaves; i++)
        exponents->count[first - BP_EXPONENT_MIN + (int32_t)i] += histogram->count[i];
    if (first < exponents->lowest) exponents->lowest = first;
    if (last > exponents->highest) exponents->highest = last;
}

void bp_histogram_join(bp_histogram *into, const bp_histogram *other) {
    bp_exponents exponents;
    bp_exponents_init(&exponents);
    add_octaves(&exponents, into);
    add_octaves(&exponents, other);
    *into = (bp_histogram){.zeros = into->zeros + other->zeros,
                           .non_finite = into->non_finite + other->non_finite};
    take_octaves(into, &exponents);
}

uint64_t bp_histogram_elements(const bp_histogram *histogram) {
    uint64_t n = histogram->zeros + histogram->non_finite;
    for (uint32_t i = 0; i < histogram->n_octaves; i++) n += histogram->count[i];
    return n;
}
