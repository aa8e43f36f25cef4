/* SPDX-License-Identifier: Apache-2.0 */
/* The parameters before the first step. Counter-based: a value depends on the seed, its parameter
 * and its place alone. */
#include "base/base.h"
#include "model/model.h"
#include "trainer/operators.h"

#include <math.h>

static void fill(bp_real value, int64_t count, bp_real *out) {
    for (int64_t i = 0; i < count; i++) out[i] = value;
}

static void fill_normal(double std, const bp_random_key *key, int64_t count, bp_real *out) {
    for (int64_t i = 0; i < count; i++)
        out[i] = (bp_real)(std * bp_random_normal(key, (uint64_t)i));
}

static void fill_uniform(double bound, const bp_random_key *key, int64_t count, bp_real *out) {
    for (int64_t i = 0; i < count; i++)
        out[i] = (bp_real)(bound * (2 * bp_random_uniform(key, (uint64_t)i) - 1));
}

/* He et al. 2015, equation 15: a unit passes on (1 + slope^2) / 2 of the variance. */
static double he_std(const bp_layer *layer) {
    const double std = bp_init_std(&layer->weight_init, layer->fan_in, layer->fan_out);
    const double slope =
        layer->activation == BP_ACTIVATION_LEAKY_RELU ? layer->activation_slope : 0;
    return std / sqrt(1 + slope * slope);
}

/* What says nothing of biases, which then start at 0. */
static bool is_for_weights(bp_init_kind kind) {
    return kind == BP_INIT_XAVIER || kind == BP_INIT_HE || kind == BP_INIT_ORTHOGONAL ||
           kind == BP_INIT_LECUN || kind == BP_INIT_LSUV;
}

/* weight or bias */
static void initialise_dense(const bp_layer *layer, bool is_bias, const bp_random_key *key,
                             int64_t count, bp_real *value) {
    const bp_init *init = is_bias ? &layer->bias_init : &layer->weight_init;
    if (is_bias && is_for_weights(init->kind)) {
        fill(0, count, value);
        return;
    }
    switch (init->kind) {
    case BP_INIT_CONSTANT:
        fill((bp_real)init->parameter, count, value);
        return;
    case BP_INIT_NORMAL:
        fill_normal(init->parameter, key, count, value);
        return;
    case BP_INIT_UNIFORM:
        fill_uniform(init->parameter, key, count, value);
        return;
    case BP_INIT_XAVIER:
    case BP_INIT_LECUN:
        fill_normal(bp_init_std(init, layer->fan_in, layer->fan_out), key, count, value);
        return;
    case BP_INIT_HE:
        fill_normal(he_std(layer), key, count, value);
        return;
    case BP_INIT_PYTORCH_DEFAULT:
        fill_uniform(1 / sqrt((double)layer->fan_in), key, count, value);
        return;
    case BP_INIT_ZEROS:
    case BP_INIT_ORTHOGONAL:
    case BP_INIT_LSUV:
    case BP_INIT_UNKNOWN: /* refused by bp_trainer_open */
        fill(0, count, value);
        return;
    }
}

void bp_initialise(const bp_layer *layer, bp_slot slot, uint64_t seed, size_t parameter,
                   int64_t count, bp_real *value) {
    const bp_random_key key = {.seed = seed,
                               .purpose = (uint32_t)(BP_PURPOSE_PARAMETER + parameter)};
    if (slot == BP_SLOT_NORM_GAIN)
        fill(1, count, value);
    else if (slot == BP_SLOT_NORM_BIAS)
        fill(0, count, value);
    else
        initialise_dense(layer, slot == BP_SLOT_BIAS, &key, count, value);
}
