/* SPDX-License-Identifier: Apache-2.0 */
#include "net.h"

#include <math.h>
#include <string.h>

#define LEARNING_RATE 0.05f

/* A linear congruential generator (Knuth), uniform in [-scale, scale). */
static float draw(uint64_t *state, float scale) {
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return scale * (float)(int32_t)(*state >> 32) * 0x1p-31f;
}

void net_init(net *n, uint32_t n_layers, uint64_t seed) {
    uint64_t state = seed;
    memset(n, 0, sizeof *n);
    n->n_layers = n_layers;
    for (uint32_t layer = 1; layer <= n_layers; layer++)
        for (size_t i = 0; i < NET_WEIGHTS; i++) n->parameters[layer][i] = draw(&state, 0.7f);
    for (size_t i = 0; i < NET_CELLS; i++) {
        n->output[0][i] = draw(&state, 1);
        n->target[i] = draw(&state, 0.5f);
    }
}

bp_model *net_model(const net *n) {
    const bp_layer layer = {.kind = BP_LAYER_DENSE,
                            .activation = BP_ACTIVATION_TANH,
                            .has_bias = true,
                            .output_shape = {NET_UNITS, 1, 1}};
    const bp_recipe recipe = {.loss = BP_MSE,
                              .optimiser = BP_SGD,
                              .learning_rate = (double)LEARNING_RATE,
                              .batch = NET_BATCH,
                              .epoch_steps = 100,
                              .trivial_loss = 0.1};
    const int64_t input[3] = {NET_UNITS, 1, 1};
    bp_model *model;
    if (bp_model_open(&model, NULL) != BP_OK) return NULL;
    bp_status status = BP_OK;
    for (uint32_t i = 0; i < n->n_layers && status == BP_OK; i++)
        status = bp_model_add_layer(model, &layer, NULL, NULL);
    if (status == BP_OK) status = bp_model_set_input(model, input, NULL);
    if (status == BP_OK) {
        bp_model_set_recipe(model, &recipe);
        return model;
    }
    bp_model_close(model);
    return NULL;
}

/* --- the four passes of a step -------------------------------------------------------------- */

static void forward(net *n, uint32_t layer) {
    const float *w = n->parameters[layer], *bias = w + NET_WEIGHTS, *x = n->output[layer - 1];
    for (size_t sample = 0; sample < NET_BATCH; sample++)
        for (size_t unit = 0; unit < NET_UNITS; unit++) {
            float z = bias[unit];
            for (size_t i = 0; i < NET_UNITS; i++)
                z += w[unit * NET_UNITS + i] * x[sample * NET_UNITS + i];
            n->output[layer][sample * NET_UNITS + unit] = tanhf(z);
        }
}

static double loss_of(net *n) {
    const float *y = n->output[n->n_layers];
    float *error = n->error[n->n_layers];
    double loss = 0;
    for (size_t i = 0; i < NET_CELLS; i++) {
        const float off = y[i] - n->target[i];
        error[i] = 2 * off / (float)NET_CELLS;
        loss += (double)(off * off);
    }
    return loss / (double)NET_CELLS;
}

static void backward(net *n, uint32_t layer) {
    const float *w = n->parameters[layer], *x = n->output[layer - 1], *y = n->output[layer];
    float *gradient = n->gradient[layer], *below = n->error[layer - 1];
    memset(gradient, 0, sizeof n->gradient[layer]);
    memset(below, 0, sizeof n->error[layer]);
    for (size_t sample = 0; sample < NET_BATCH; sample++)
        for (size_t unit = 0; unit < NET_UNITS; unit++) {
            const size_t cell = sample * NET_UNITS + unit;
            const float dz = n->error[layer][cell] * (1 - y[cell] * y[cell]);
            gradient[NET_WEIGHTS + unit] += dz;
            for (size_t i = 0; i < NET_UNITS; i++) {
                gradient[unit * NET_UNITS + i] += dz * x[sample * NET_UNITS + i];
                below[sample * NET_UNITS + i] += dz * w[unit * NET_UNITS + i];
            }
        }
}

static void update(net *n, uint32_t layer) {
    memcpy(n->before, n->parameters[layer], sizeof n->before);
    for (size_t i = 0; i < NET_PARAMETERS; i++)
        n->parameters[layer][i] -= LEARNING_RATE * n->gradient[layer][i];
}

/* --- telling -------------------------------------------------------------------------------- */

static void tell_cells(const bp_observer *o, const bp_plan *plan, uint32_t layer, bp_role role,
                       const float *cells) {
    if (!bp_plan_wants(plan, layer, role)) return;
    const bp_tensor tensor = bp_tensor_matrix(cells, BP_F32, NET_BATCH, NET_UNITS);
    o->tensor(o->context, layer, role, BP_SLOT_WEIGHT, &tensor);
}

static bp_tensor slot_of(const float *parameters, bp_slot slot) {
    return slot == BP_SLOT_WEIGHT
               ? bp_tensor_matrix(parameters, BP_F32, NET_UNITS, NET_UNITS)
               : bp_tensor_matrix(parameters + NET_WEIGHTS, BP_F32, 1, NET_UNITS);
}

static void tell_parameters(const bp_observer *o, const bp_plan *plan, uint32_t layer, bp_role role,
                            const float *parameters) {
    if (!bp_plan_wants(plan, layer, role)) return;
    for (int i = 0; i < 2; i++) {
        const bp_slot slot = i ? BP_SLOT_BIAS : BP_SLOT_WEIGHT;
        const bp_tensor tensor = slot_of(parameters, slot);
        o->tensor(o->context, layer, role, slot, &tensor);
    }
}

static void tell_update(const bp_observer *o, const bp_plan *plan, uint32_t layer, const net *n) {
    if (!bp_plan_wants(plan, layer, BP_ROLE_UPDATE)) return;
    for (int i = 0; i < 2; i++) {
        const bp_slot slot = i ? BP_SLOT_BIAS : BP_SLOT_WEIGHT;
        const bp_tensor gradient = slot_of(n->gradient[layer], slot),
                        before = slot_of(n->before, slot),
                        after = slot_of(n->parameters[layer], slot);
        o->update(o->context, layer, slot, &gradient, &before, &after);
    }
}

static void add_to_hash(uint64_t *hash, const void *bytes, size_t n_bytes) { /* FNV-1a */
    if (*hash == 0) *hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < n_bytes; i++)
        *hash = (*hash ^ ((const uint8_t *)bytes)[i]) * UINT64_C(1099511628211);
}

double net_step(net *n, const bp_observer *o) {
    const bp_step info = {.struct_size = sizeof info,
                          .step = n->step,
                          .samples = NET_BATCH,
                          .loss_terms = (int64_t)NET_CELLS,
                          .learning_rate = (double)LEARNING_RATE};
    bp_plan plan = {NULL, 0};
    if (o) plan = o->step_begin(o->context, &info);
    if (o) tell_cells(o, &plan, 0, BP_ROLE_ACTIVATION, n->output[0]);
    for (uint32_t layer = 1; layer <= n->n_layers; layer++) {
        forward(n, layer);
        if (o) tell_cells(o, &plan, layer, BP_ROLE_ACTIVATION, n->output[layer]);
    }
    const double loss = loss_of(n);
    add_to_hash(&n->hash, &loss, sizeof loss);
    if (o) o->scalar(o->context, BP_METRIC_LOSS, loss);
    for (uint32_t layer = n->n_layers; layer >= 1; layer--) {
        if (o) tell_cells(o, &plan, layer, BP_ROLE_ERROR_OUTPUT, n->error[layer]);
        backward(n, layer);
        if (o) tell_parameters(o, &plan, layer, BP_ROLE_PARAMETER, n->parameters[layer]);
        if (o) tell_parameters(o, &plan, layer, BP_ROLE_GRADIENT, n->gradient[layer]);
        update(n, layer);
        if (o) tell_update(o, &plan, layer, n);
    }
    if (o) o->step_end(o->context);
    n->step++;
    return loss;
}

uint64_t net_hash(const net *n) {
    uint64_t hash = n->hash;
    add_to_hash(&hash, n->parameters, sizeof n->parameters);
    return hash;
}

double net_weight_rms(const net *n, uint32_t layer) {
    double sum = 0;
    for (size_t i = 0; i < NET_WEIGHTS; i++) {
        const double w = (double)n->parameters[layer][i];
        sum += w * w;
    }
    return sqrt(sum / (double)NET_WEIGHTS);
}
