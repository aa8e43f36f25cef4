/* SPDX-License-Identifier: Apache-2.0 */
/* Sums of products of two arrays, and the cosine between them. */
#ifndef BP_STATS_PRODUCTS_H
#define BP_STATS_PRODUCTS_H

#include "stats/kernels/kernel.h"

typedef struct bp_products {
    double ab[BP_LANES], aa[BP_LANES], bb[BP_LANES]; /* zero them first */
} bp_products;

/* Pairs of which one is not finite are left out. n: of all calls but the last a multiple of 16. */
void bp_products_add(bp_products *sums, const double *a, const double *b, size_t n);
/* False: one of the two is 0. */
bool bp_products_cosine(const bp_products *sums, double *cosine);

#endif
