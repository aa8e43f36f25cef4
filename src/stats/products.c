/* SPDX-License-Identifier: Apache-2.0 */
#include "stats/products.h"
#include "base/vectorised.h"

#include <float.h>
#include <math.h>

/* Static: the clones of a function and its resolver are exported, whatever is said of visibility.
 */
BP_VECTORISED static void add_pairs(bp_products *sums, const double *a, const double *b, size_t n) {
    bp_products s = *sums;
    const size_t whole = n - n % BP_LANES;
    for (size_t i = 0; i < n; i += BP_LANES) {
        const size_t some = i < whole ? BP_LANES : n - whole;
        for (size_t j = 0; j < some; j++) {
            const bool finite = fabs(a[i + j]) <= DBL_MAX && fabs(b[i + j]) <= DBL_MAX;
            const double x = finite ? a[i + j] : 0, y = finite ? b[i + j] : 0;
            s.ab[j] += x * y;
            s.aa[j] += x * x;
            s.bb[j] += y * y;
        }
    }
    *sums = s;
}

void bp_products_add(bp_products *sums, const double *a, const double *b, size_t n) {
    add_pairs(sums, a, b, n);
}

bool bp_products_cosine(const bp_products *sums, double *cosine) {
    const double aa = bp_lanes_total(sums->aa), bb = bp_lanes_total(sums->bb);
    if (aa == 0 || bb == 0) return false;
    const double result = bp_lanes_total(sums->ab) / (sqrt(aa) * sqrt(bb));
    *cosine = fmin(fmax(result, -1), 1);
    return true;
}
