/* SPDX-License-Identifier: Apache-2.0 */
/* f32 in chunks of whole lanes, so that the loops become vectors. A chunk with a NaN or Inf is left
 * to the plain definition: it is rare, and then nothing is in a hurry. */
#include "base/vectorised.h"
#include "stats/kernels/kernel.h"

#include <stdbool.h>
#include <string.h>

#define CHUNK ((size_t)512) /* elements: little is done again, and counts fit anything */

enum { MAGNITUDE = 0x7fffffff, SMALLEST_NORMAL = 0x00800000, INFINITE = 0x7f800000 };

static int32_t total(const int32_t counts[BP_LANES]) {
    int32_t sum = 0;
    for (int j = 0; j < BP_LANES; j++) sum += counts[j];
    return sum;
}

/* n: a multiple of the lanes, at most CHUNK. False, and nothing done, where one is not finite. */
BP_VECTORISED static bool add_finite(bp_lanes *lanes, const uint8_t *at, size_t n) {
    int32_t zero[BP_LANES] = {0}, small[BP_LANES] = {0};
    int32_t min_key[BP_LANES], max_key[BP_LANES];
    double sum[BP_LANES], squares[BP_LANES];
    for (int j = 0; j < BP_LANES; j++) {
        min_key[j] = INT32_MAX;
        max_key[j] = INT32_MIN;
        sum[j] = lanes->sum[j];
        squares[j] = lanes->squares[j];
    }
    for (size_t i = 0; i < n; i += BP_LANES, at += BP_LANES * sizeof(float))
        for (int j = 0; j < BP_LANES; j++) {
            int32_t bits;
            float narrow;
            memcpy(&bits, at + (size_t)j * sizeof bits, sizeof bits);
            memcpy(&narrow, &bits, sizeof narrow);
            const int32_t magnitude = bits & MAGNITUDE;
            zero[j] += magnitude == 0;
            small[j] += magnitude < SMALLEST_NORMAL;
            const int32_t key = bits ^ (bits >> 31 & MAGNITUDE); /* of a negative: -magnitude - 1 */
            min_key[j] = key < min_key[j] ? key : min_key[j];
            max_key[j] = key > max_key[j] ? key : max_key[j];
            const double value = (double)narrow;
            sum[j] += value;
            squares[j] += value * value;
        }
    for (int j = 0; j < BP_LANES; j++) /* the extremes tell */
        if (max_key[j] >= INFINITE || min_key[j] <= -INFINITE - 1) return false;
    lanes->zero += (uint64_t)total(zero);
    lanes->subnormal += (uint64_t)(total(small) - total(zero));
    for (int j = 0; j < BP_LANES; j++) {
        if (min_key[j] < lanes->min_key) lanes->min_key = min_key[j];
        if (max_key[j] > lanes->max_key) lanes->max_key = max_key[j];
        lanes->sum[j] = sum[j];
        lanes->squares[j] = squares[j];
    }
    return true;
}

void bp_add_f32_by_lanes(bp_lanes *lanes, const void *elements, size_t n) {
    const uint8_t *at = elements;
    size_t chunk;
    for (; n >= BP_LANES; n -= chunk, at += chunk * sizeof(float)) {
        chunk = n < CHUNK ? n - n % BP_LANES : CHUNK;
        if (!add_finite(lanes, at, chunk)) bp_kernel_scalar.f32(lanes, at, chunk);
    }
    bp_kernel_scalar.f32(lanes, at, n);
}
