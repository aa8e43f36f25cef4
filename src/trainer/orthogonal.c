/* SPDX-License-Identifier: Apache-2.0 */
/* Orthonormal rows or columns from a Gaussian matrix (Saxe et al. 2013), by Gram and Schmidt. Its R
 * has a positive diagonal, so that all orthogonal matrices are equally likely (Mezzadri 2007). */
#include "trainer/operators.h"

#include <math.h>

/* Vector i of a matrix lies at i * between, its elements `step` apart. */
typedef struct vectors {
    bp_real *first;
    int64_t n, length, between, step;
} vectors;

static double dot(const vectors *v, int64_t i, int64_t j) {
    const bp_real *a = v->first + i * v->between, *b = v->first + j * v->between;
    double sum = 0;
    for (int64_t k = 0; k < v->length; k++) sum += (double)a[k * v->step] * (double)b[k * v->step];
    return sum;
}

/* a := a - factor b */
static void take_off(const vectors *v, int64_t i, int64_t j, double factor) {
    bp_real *a = v->first + i * v->between;
    const bp_real *b = v->first + j * v->between;
    for (int64_t k = 0; k < v->length; k++)
        a[k * v->step] = (bp_real)((double)a[k * v->step] - factor * (double)b[k * v->step]);
}

static void multiply(const vectors *v, int64_t i, double factor) {
    bp_real *a = v->first + i * v->between;
    for (int64_t k = 0; k < v->length; k++)
        a[k * v->step] = (bp_real)((double)a[k * v->step] * factor);
}

/* Twice is enough (Giraud et al. 2005): once would leave rounding errors of nearly parallel ones.
 */
void bp_orthogonalise(double gain, int64_t rows, int64_t columns, bp_real *matrix) {
    const bool wide = rows <= columns;
    const vectors v = {matrix, wide ? rows : columns, wide ? columns : rows, wide ? columns : 1,
                       wide ? 1 : columns};
    for (int64_t i = 0; i < v.n; i++)
        for (int round = 0; round < 2; round++) {
            for (int64_t j = 0; j < i; j++) take_off(&v, i, j, dot(&v, i, j));
            multiply(&v, i, 1 / sqrt(dot(&v, i, i)));
        }
    for (int64_t i = 0; i < v.n; i++) multiply(&v, i, gain);
}
