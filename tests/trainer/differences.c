/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters are moved through the public views, activations by an observer that changes them while
 * they are shown to it. */
#include "differences.h"
#include "trainer/run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TOLERANCE 1e-6
#define SAMPLES 6

static double worst; /* of the network at hand */

/* The first step once more: with its batch, and what a dropout draws for it. */
static double step_again(bp_trainer *trainer) {
    trainer->steps_done = 0;
    return bp_trainer_step(trainer);
}

/* Four points: the error falls with h^4, so that h can stay far from the rounding of the loss. */
static double derivative(double (*loss)(void *context, double move), void *context) {
    const double h = 1e-4;
    const double near = loss(context, h) - loss(context, -h);
    const double far = loss(context, 2 * h) - loss(context, -2 * h);
    return (8 * near - far) / (12 * h);
}

/* Relative to the number itself, but not below 1e-4 of the largest of its kind. */
static void compare(const char *what, double found, double expected, double largest) {
    const double scale = fmax(fmax(fabs(found), fabs(expected)), 1e-4 * largest);
    const double relative = fabs(found - expected) / scale;
    if (!(relative < TOLERANCE))
        fail_msg("%s: %.12g by backward, %.12g by finite differences", what, found, expected);
    worst = fmax(worst, relative);
}

static double max_abs(const bp_real *values, int64_t count) {
    double largest = 0;
    for (int64_t i = 0; i < count; i++) largest = fmax(largest, fabs(values[i]));
    return largest;
}

/* --- parameters ------------------------------------------------------------------------------- */

typedef struct moved_value {
    bp_trainer *trainer;
    bp_real *value;
} moved_value;

static double loss_with_value(void *context, double move) {
    moved_value *moved = context;
    const double kept = *moved->value;
    *moved->value = kept + move;
    const double loss = step_again(moved->trainer);
    *moved->value = kept;
    return loss;
}

/* Gains at 1 and biases at 0 would hide a forgotten factor. */
static void disturb_norms(bp_trainer *trainer) {
    const bp_random_key key = {.seed = 5};
    for (size_t p = 0; p < bp_trainer_n_parameters(trainer); p++) {
        const bp_parameter *parameter = bp_trainer_parameter(trainer, p);
        bp_real *values = kit_values(&parameter->value);
        for (int64_t i = 0; i < bp_tensor_count(&parameter->value); i++)
            if (parameter->slot >= BP_SLOT_NORM_GAIN)
                values[i] += 0.3 * bp_random_normal(&key, 1000 * p + (uint64_t)i);
    }
}

/* Returns how many numbers were compared. */
static int64_t check_gradients(bp_trainer *trainer) {
    int64_t n_compared = 0;
    double largest = 0;
    step_again(trainer);
    for (size_t p = 0; p < bp_trainer_n_parameters(trainer); p++) {
        const bp_parameter *parameter = bp_trainer_parameter(trainer, p);
        largest =
            fmax(largest, max_abs(parameter->gradient.data, bp_tensor_count(&parameter->gradient)));
    }
    assert_true(largest > 0);
    for (size_t p = 0; p < bp_trainer_n_parameters(trainer); p++) {
        const bp_parameter *parameter = bp_trainer_parameter(trainer, p);
        if (!parameter->trained) continue;
        const int64_t count = bp_tensor_count(&parameter->value);
        bp_real *gradient = calloc((size_t)count, sizeof *gradient);
        step_again(trainer);
        memcpy(gradient, parameter->gradient.data, (size_t)count * sizeof *gradient);
        for (int64_t i = 0; i < count; i++, n_compared++) {
            moved_value moved = {trainer, kit_values(&parameter->value) + i};
            compare(parameter->name, gradient[i], derivative(loss_with_value, &moved), largest);
        }
        free(gradient);
    }
    return n_compared;
}

/* --- error signals ---------------------------------------------------------------------------- */

/* Batches are shuffled: rows are told by their inputs, and kept in the data's order. */
typedef struct listener {
    bp_trainer *trainer;
    const bp_dataset *dataset;
    int64_t row_of[SAMPLES];
    uint32_t n_layers;
    uint32_t wanted[NET_MAX_LAYERS + 1];
    uint32_t layer; /* whose activation is moved; UINT32_MAX: of none */
    int64_t sample, unit;
    double move;
    bp_real *seen[NET_MAX_LAYERS + 1][BP_N_ROLES]; /* copies of the error signals */
    int64_t units[NET_MAX_LAYERS + 1];
} listener;

static bp_plan on_begin(void *context, const bp_step *step) {
    (void)step;
    listener *l = context;
    return (bp_plan){l->wanted, l->n_layers};
}

static void find_rows(listener *l, const bp_tensor *batch) {
    const bp_real *inputs = batch->data;
    const int64_t units = batch->shape[1];
    assert_int_equal(batch->shape[0], SAMPLES);
    for (int64_t sample = 0; sample < SAMPLES; sample++) {
        int n_found = 0;
        for (int64_t row = 0; row < SAMPLES; row++)
            if (memcmp(inputs + row * units, l->dataset->train.inputs + sample * units,
                       (size_t)units * sizeof *inputs) == 0) {
                l->row_of[sample] = row;
                n_found++;
            }
        assert_int_equal(n_found, 1);
    }
}

static void keep(listener *l, uint32_t layer, bp_role role, const bp_tensor *tensor) {
    const int64_t units = tensor->shape[1];
    const bp_real *error = tensor->data;
    if (role == BP_ROLE_ERROR_OUTPUT) l->units[layer] = units;
    assert_int_equal(tensor->shape[0], SAMPLES);
    assert_null(l->seen[layer][role]); /* each once */
    bp_real *kept = calloc((size_t)(SAMPLES * units), sizeof *kept);
    for (int64_t sample = 0; sample < SAMPLES; sample++)
        memcpy(kept + sample * units, error + l->row_of[sample] * units,
               (size_t)units * sizeof *kept);
    l->seen[layer][role] = kept;
}

static void on_tensor(void *context, uint32_t layer, bp_role role, bp_slot slot,
                      const bp_tensor *tensor) {
    (void)slot;
    listener *l = context;
    if (role != BP_ROLE_ACTIVATION)
        keep(l, layer, role, tensor);
    else if (layer == 0)
        find_rows(l, tensor);
    if (role == BP_ROLE_ACTIVATION && layer == l->layer)
        kit_values(tensor)[l->row_of[l->sample] * tensor->shape[1] + l->unit] += l->move;
}

static double loss_with_activation(void *context, double move) {
    listener *l = context;
    l->move = move;
    return step_again(l->trainer);
}

static const bp_parameter *parameter_of(bp_trainer *trainer, uint32_t layer, bp_slot slot) {
    for (size_t p = 0; p < bp_trainer_n_parameters(trainer); p++) {
        const bp_parameter *parameter = bp_trainer_parameter(trainer, p);
        if (parameter->layer == layer && parameter->slot == slot) return parameter;
    }
    return NULL;
}

/* A bias is added to what the error signal belongs to, so its gradient is the signal's sum; an
 * image's channel has one bias for all its places. */
static void check_bias(const listener *l, uint32_t layer, bp_slot slot, bp_role role) {
    const bp_parameter *bias = parameter_of(l->trainer, layer, slot);
    if (!bias || !bias->trained) return;
    const bp_real *error = l->seen[layer][role], *gradient = bias->gradient.data;
    assert_non_null(error);
    const int64_t units = l->units[layer], count = bp_tensor_count(&bias->gradient);
    const double largest = max_abs(error, SAMPLES * units);
    for (int64_t j = 0; j < count; j++) {
        double sum = 0;
        for (int64_t i = 0; i < SAMPLES; i++)
            for (int64_t a = 0; a < units / count; a++)
                sum += error[i * units + j * (units / count) + a];
        compare(bias->name, sum, gradient[j], largest);
    }
}

/* Error signals inside a layer: where it has a norm or an activation, and what they say. */
static void check_inner(const listener *l, const bp_layer *layer) {
    const bool has_norm = layer->norm != BP_NORM_NONE;
    const bool recurrent = bp_layer_is_recurrent(layer); /* phi lies in its recurrence */
    const bool is_active = layer->activation != BP_ACTIVATION_LINEAR && !recurrent;
    assert_int_equal(l->seen[layer->id][BP_ROLE_ERROR_PRE_NORM] != NULL, has_norm);
    assert_int_equal(l->seen[layer->id][BP_ROLE_ERROR_PRE_ACTIVATION] != NULL, is_active);
    const bool norm_last = layer->norm_after_activation;
    const bp_role after_norm =
        is_active && !norm_last ? BP_ROLE_ERROR_PRE_ACTIVATION : BP_ROLE_ERROR_OUTPUT;
    bp_role operated = is_active ? BP_ROLE_ERROR_PRE_ACTIVATION : BP_ROLE_ERROR_OUTPUT;
    if (has_norm && !(is_active && norm_last)) operated = BP_ROLE_ERROR_PRE_NORM;
    check_bias(l, layer->id, BP_SLOT_NORM_BIAS, after_norm);
    if (!recurrent) check_bias(l, layer->id, BP_SLOT_BIAS, operated);
}

static bool is_branch_begin(const bp_model *model, uint32_t layer) {
    for (uint32_t id = 1; id <= bp_model_n_layers(model); id++) {
        const bp_layer *sum = bp_model_layer(model, id);
        if (sum->kind == BP_LAYER_RESIDUAL && sum->skip_from == layer - 1) return true;
    }
    return false;
}

/* What the sums of the blocks that begin behind a layer pass on to it. */
static double passed_by_sums(const listener *l, const bp_model *model, uint32_t source, int64_t i) {
    double sum = 0;
    for (uint32_t id = 1; id <= l->n_layers; id++)
        if (bp_model_layer(model, id)->kind == BP_LAYER_RESIDUAL &&
            bp_model_layer(model, id)->skip_from == source)
            sum += l->seen[id][BP_ROLE_ERROR_OUTPUT][i];
    return sum;
}

/* At the input of blocks: what their sums pass on plus what the branch passes on. */
static void check_skip(const listener *l, const bp_model *model, uint32_t layer) {
    const bool given = l->seen[layer][BP_ROLE_ERROR_INPUT] != NULL;
    assert_int_equal(given, layer == 1 || is_branch_begin(model, layer));
    if (!given || layer == 1) return;
    const uint32_t source = layer - 1;
    for (int64_t i = 0; i < SAMPLES * l->units[source]; i++) {
        const double sum =
            l->seen[layer][BP_ROLE_ERROR_INPUT][i] + passed_by_sums(l, model, source, i);
        compare("sum at a block's input", l->seen[source][BP_ROLE_ERROR_OUTPUT][i], sum, 0);
    }
}

/* The first layer's error signal at its input, and the skips' that begin there, against the loss
 * when the input is moved. Token ids cannot be moved a little. What has come so far through depth
 * and time is small beside the loss's rounding: "largest" is that of where it begins. */
static int64_t check_input(listener *l, const bp_model *model) {
    const int64_t units = bp_model_units(model, 0);
    const bp_real *error = l->seen[1][BP_ROLE_ERROR_INPUT];
    const double largest =
        max_abs(l->seen[l->n_layers][BP_ROLE_ERROR_OUTPUT], SAMPLES * l->units[l->n_layers]);
    if (bp_model_layer(model, 1)->kind == BP_LAYER_EMBEDDING) return 0;
    l->layer = 0;
    for (l->sample = 0; l->sample < SAMPLES; l->sample++)
        for (l->unit = 0; l->unit < units; l->unit++) {
            const int64_t i = l->sample * units + l->unit;
            compare("error signal of the input", error[i] + passed_by_sums(l, model, 0, i),
                    derivative(loss_with_activation, l), largest);
        }
    return SAMPLES * units;
}

/* Every error signal at a layer's output against the loss when that output is moved. */
static int64_t check_outputs(listener *l) {
    int64_t n_compared = 0;
    for (l->layer = 1; l->layer <= l->n_layers; l->layer++) {
        const int64_t units = l->units[l->layer];
        const bp_real *error = l->seen[l->layer][BP_ROLE_ERROR_OUTPUT];
        const double largest = max_abs(error, SAMPLES * units);
        assert_true(largest > 0);
        for (l->sample = 0; l->sample < SAMPLES; l->sample++)
            for (l->unit = 0; l->unit < units; l->unit++, n_compared++)
                compare("error signal", error[l->sample * units + l->unit],
                        derivative(loss_with_activation, l), largest);
    }
    return n_compared;
}

static int64_t check_errors(bp_trainer *trainer, const bp_model *model, const bp_dataset *dataset) {
    listener l = {.trainer = trainer,
                  .dataset = dataset,
                  .n_layers = bp_model_n_layers(model),
                  .layer = UINT32_MAX};
    const bp_observer observer = {.context = &l, .step_begin = on_begin, .tensor = on_tensor};
    l.wanted[0] = 1u << BP_ROLE_ACTIVATION;
    for (uint32_t id = 1; id <= l.n_layers; id++)
        l.wanted[id] = 1u << BP_ROLE_ERROR_OUTPUT | 1u << BP_ROLE_ERROR_PRE_ACTIVATION |
                       1u << BP_ROLE_ERROR_PRE_NORM | 1u << BP_ROLE_ERROR_INPUT;
    bp_trainer_observe(trainer, &observer);
    step_again(trainer);
    for (uint32_t id = 1; id <= l.n_layers; id++) {
        check_inner(&l, bp_model_layer(model, id));
        check_skip(&l, model, id);
    }
    for (uint32_t id = 0; id <= l.n_layers; id++) l.wanted[id] = 1u << BP_ROLE_ACTIVATION;
    const int64_t n_compared = check_input(&l, model) + check_outputs(&l);
    bp_trainer_observe(trainer, NULL);
    for (uint32_t id = 0; id <= l.n_layers; id++)
        for (int role = 0; role < BP_N_ROLES; role++) free(l.seen[id][role]);
    return n_compared;
}

/* --- a network -------------------------------------------------------------------------------- */

/* Token ids for a network that begins with an embedding, in another order in each sample. */
static void make_tokens(const bp_dataset *dataset, int64_t units, int64_t vocabulary) {
    bp_real *inputs = kit_own(dataset->train.inputs);
    for (int64_t s = 0; s < SAMPLES; s++)
        for (int64_t i = 0; i < units; i++)
            inputs[s * units + i] = (bp_real)((s * (i + 1) + i + s / vocabulary) % vocabulary);
}

static void make_probabilities(const bp_dataset *dataset) {
    const bp_part *parts[] = {&dataset->train, &dataset->validation};
    for (int p = 0; p < 2; p++)
        for (int64_t i = 0; i < SAMPLES * dataset->n_outputs; i++) {
            bp_real *target = kit_own(parts[p]->targets + i);
            *target = 1 / (1 + exp(-*target));
        }
}

double net_check(const net *checked) {
    worst = 0;
    bp_recipe recipe = kit_recipe(checked->loss, SAMPLES);
    recipe.huber_delta = 0.7;
    recipe.seed = 4; /* at which no relu lies so near to its kink that a move crosses it */
    bp_model *model = kit_model(checked->layers, &recipe, checked->shape);
    const int64_t outputs = bp_model_units(model, bp_model_n_layers(model));
    bp_dataset *dataset =
        kit_data(checked->shape, outputs, checked->loss == BP_CROSS_ENTROPY, SAMPLES);
    if (checked->layers[0].kind == BP_LAYER_EMBEDDING)
        make_tokens(dataset, bp_model_units(model, 0), checked->layers[0].vocabulary);
    if (checked->loss == BP_BINARY_CROSS_ENTROPY) make_probabilities(dataset);
    bp_trainer *trainer = kit_trainer(model, dataset);
    disturb_norms(trainer);
    const int64_t n_gradients = check_gradients(trainer);
    const int64_t n_errors = check_errors(trainer, model, dataset);
    assert_true(n_gradients > 0 && n_errors > 0);
    print_message("%-34s %5lld gradients, %5lld error signals, largest relative error %.1e\n",
                  checked->name, (long long)n_gradients, (long long)n_errors, worst);
    bp_trainer_close(trainer);
    bp_dataset_close(dataset);
    bp_model_close(model);
    return worst;
}
