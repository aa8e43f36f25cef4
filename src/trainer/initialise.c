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
static double he_std(const bp_layer *layer, int64_t fan_in, int64_t fan_out) {
    const double std = bp_init_std(&layer->weight_init, fan_in, fan_out);
    const double slope =
        layer->activation == BP_ACTIVATION_LEAKY_RELU ? layer->activation_slope : 0;
    return std / sqrt(1 + slope * slope);
}

/* What says nothing of biases, which then start at 0. */
static bool is_for_weights(bp_init_kind kind) {
    return kind == BP_INIT_XAVIER || kind == BP_INIT_HE || kind == BP_INIT_ORTHOGONAL ||
           kind == BP_INIT_LECUN || kind == BP_INIT_LSUV;
}

/* A parameter to be filled: its blocks, one a gate, are matrices of their own. */
typedef struct filling {
    const bp_layer *layer;
    const bp_init *init;
    const bp_random_key *key;
    int64_t count, blocks;
    int64_t fan_in, fan_out; /* of a block */
    int64_t columns;         /* of the matrix */
    bp_real *value;
} filling;

static void fill_orthogonal(const filling *f) {
    const int64_t block = f->count / f->blocks;
    fill_normal(1, f->key, f->count, f->value);
    for (int64_t i = 0; i < f->blocks; i++)
        bp_orthogonalise(f->init->kind == BP_INIT_LSUV ? 1 : f->init->parameter, block / f->columns,
                         f->columns, f->value + i * block);
}

/* PyTorch's: embeddings are normal, recurrent layers have one bound for all their parameters. */
static void fill_pytorch_default(const filling *f) {
    const int64_t fan = bp_layer_is_recurrent(f->layer) ? f->layer->fan_out : f->layer->fan_in;
    if (f->layer->kind == BP_LAYER_EMBEDDING)
        fill_normal(1, f->key, f->count, f->value);
    else
        fill_uniform(1 / sqrt((double)fan), f->key, f->count, f->value);
}

static void fill_by(const filling *f) {
    switch (f->init->kind) {
    case BP_INIT_CONSTANT:
        fill((bp_real)f->init->parameter, f->count, f->value);
        return;
    case BP_INIT_NORMAL:
        fill_normal(f->init->parameter, f->key, f->count, f->value);
        return;
    case BP_INIT_UNIFORM:
        fill_uniform(f->init->parameter, f->key, f->count, f->value);
        return;
    case BP_INIT_XAVIER:
    case BP_INIT_LECUN:
        fill_normal(bp_init_std(f->init, f->fan_in, f->fan_out), f->key, f->count, f->value);
        return;
    case BP_INIT_HE:
        fill_normal(he_std(f->layer, f->fan_in, f->fan_out), f->key, f->count, f->value);
        return;
    case BP_INIT_PYTORCH_DEFAULT:
        fill_pytorch_default(f);
        return;
    case BP_INIT_ORTHOGONAL:
    case BP_INIT_LSUV: /* begins orthogonal; lsuv.c goes on */
        fill_orthogonal(f);
        return;
    case BP_INIT_ZEROS:
    case BP_INIT_UNKNOWN: /* refused by bp_trainer_open */
        fill(0, f->count, f->value);
        return;
    }
}

static void fill_weights(filling *f, bp_slot slot) {
    const bp_layer *layer = f->layer;
    const bool recurrent = slot == BP_SLOT_RECURRENT_WEIGHT;
    f->init = &layer->weight_init;
    f->fan_in = recurrent ? layer->fan_out : layer->fan_in;
    f->fan_out = layer->fan_out;
    f->columns = layer->kind == BP_LAYER_EMBEDDING ? layer->fan_out : f->fan_in;
    fill_by(f);
}

/* The second gate of an LSTM is the one that forgets (Gers et al. 2000). */
static void fill_biases(filling *f, bp_slot slot) {
    const bp_layer *layer = f->layer;
    f->init = &layer->bias_init;
    if (is_for_weights(f->init->kind))
        fill(0, f->count, f->value);
    else
        fill_by(f);
    if (layer->kind != BP_LAYER_LSTM || slot != BP_SLOT_BIAS) return;
    for (int64_t i = layer->fan_out; i < 2 * layer->fan_out; i++)
        f->value[i] += (bp_real)layer->forget_bias;
}

void bp_initialise(const bp_layer *layer, bp_slot slot, uint64_t seed, size_t parameter,
                   int64_t count, bp_real *value) {
    const bp_random_key key = {.seed = seed,
                               .purpose = (uint32_t)(BP_PURPOSE_PARAMETER + parameter)};
    filling f = {.layer = layer,
                 .key = &key,
                 .count = count,
                 .blocks = bp_layer_is_recurrent(layer) ? bp_layer_n_gates(layer) : 1,
                 .fan_in = layer->fan_in,
                 .fan_out = layer->fan_out,
                 .value = value};
    if (slot == BP_SLOT_NORM_GAIN)
        fill(1, count, value);
    else if (slot == BP_SLOT_NORM_BIAS)
        fill(0, count, value);
    else if (slot == BP_SLOT_WEIGHT || slot == BP_SLOT_RECURRENT_WEIGHT)
        fill_weights(&f, slot);
    else
        fill_biases(&f, slot);
}
