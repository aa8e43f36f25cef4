/* SPDX-License-Identifier: Apache-2.0 */
/* What a network that ignores its input can reach: the loss of the best constant output. */
#include "trainer/operators.h"

#include <math.h>

#define HALVINGS 24

static double label_entropy(const bp_dataset *dataset) {
    double entropy = 0;
    for (int64_t class = 0; class < dataset->n_outputs; class++) {
        int64_t count = 0;
        for (int64_t i = 0; i < dataset->train.n; i++) count += dataset->train.classes[i] == class;
        const double share = (double)count / (double)dataset->train.n;
        if (share > 0) entropy -= share * log(share);
    }
    return entropy;
}

/* --- losses by output: a column of targets, m apart, has its own best constant ------------------
 */

typedef struct column {
    const bp_real *targets;
    int64_t n, m;
} column;

static double target(const column *c, int64_t i) {
    return (double)c->targets[i * c->m];
}

static double mean_of(const column *c) {
    double sum = 0;
    for (int64_t i = 0; i < c->n; i++) sum += target(c, i);
    return sum / (double)c->n;
}

static double mean_loss(const bp_recipe *recipe, const column *c, double constant, double *slope) {
    double sum = 0;
    *slope = 0;
    for (int64_t i = 0; i < c->n; i++) {
        double own;
        sum += bp_output_loss(recipe, constant, target(c, i), &own);
        *slope += own;
    }
    return sum / (double)c->n;
}

/* The median (mae), or what lies between it and the mean (huber): where the slope changes its sign.
 */
static double balance_of(const bp_recipe *recipe, const column *c) {
    double low = INFINITY, high = -INFINITY, slope;
    for (int64_t i = 0; i < c->n; i++) {
        low = fmin(low, target(c, i));
        high = fmax(high, target(c, i));
    }
    for (int i = 0; i < HALVINGS; i++) {
        const double middle = low + (high - low) / 2;
        mean_loss(recipe, c, middle, &slope);
        if (slope == 0) return middle;
        *(slope < 0 ? &low : &high) = middle;
    }
    return low + (high - low) / 2;
}

static double best_loss(const bp_recipe *recipe, const column *c) {
    double constant =
        recipe->loss == BP_MAE || recipe->loss == BP_HUBER ? balance_of(recipe, c) : mean_of(c);
    double unused;
    if (recipe->loss == BP_BINARY_CROSS_ENTROPY) { /* the entropy, at the mean's logit */
        if (constant <= 0 || constant >= 1) return 0;
        constant = log(constant / (1 - constant));
    }
    return mean_loss(recipe, c, constant, &unused);
}

double bp_dataset_trivial_loss(const bp_dataset *dataset, const bp_recipe *recipe) {
    const bp_part *train = &dataset->train;
    const int64_t m = dataset->n_outputs;
    if (recipe->loss == BP_CROSS_ENTROPY)
        return dataset->has_classes ? label_entropy(dataset) : (double)NAN;
    if (recipe->loss == BP_LOSS_OTHER) return (double)NAN;
    double sum = 0;
    for (int64_t j = 0; j < m; j++) {
        const column c = {train->targets + j, train->n, m};
        sum += best_loss(recipe, &c);
    }
    return sum / (double)m;
}
