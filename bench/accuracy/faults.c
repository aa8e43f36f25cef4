/* SPDX-License-Identifier: Apache-2.0 */
#include "faults.h"

#include "trainer/run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- reading ------------------------------------------------------------------------------------
 */

static const struct {
    const char *name;
    int n;
} known[] = {{"inputs", 2}, {"feature", 2},    {"nan", 1},        {"targets", 2}, {"permuted", 0},
             {"noise", 1},  {"autoencode", 0}, {"validation", 1}, {"scale", 4},   {"weights", 4},
             {"biases", 4}, {"same", 3},       {"rate", 3},       {"poison", 2}};

bool fault_read(bench_fault *fault, const char *text) {
    const size_t length = strcspn(text, ":");
    *fault = (bench_fault){0};
    if (length >= sizeof fault->name) return false;
    memcpy(fault->name, text, length);
    for (const char *at = text + length; *at == ':' && at[1];) {
        char *end;
        if (fault->n == 4) return false;
        fault->number[fault->n++] = strtod(at + 1, &end);
        if (end == at + 1) return false;
        at = end;
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].name, fault->name) == 0) return known[i].n == fault->n;
    return false;
}

static bool is(const bench_fault *fault, const char *name) {
    return strcmp(fault->name, name) == 0;
}

/* --- data ---------------------------------------------------------------------------------------
 */

/* Knuth's generator: good enough to shuffle by. */
static uint64_t draw(uint64_t *state, uint64_t below) {
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (*state >> 33) % below;
}

static int64_t units_of(const bp_dataset *dataset) {
    return dataset->input_shape[0] * dataset->input_shape[1] * dataset->input_shape[2];
}

/* A data set owns its block of memory; its parts only let one read in it. */
static void *inside(const bp_dataset *dataset, const void *place) {
    return (char *)dataset->memory + ((const char *)place - (const char *)dataset->memory);
}

static void change_inputs(const bp_dataset *dataset, const bp_part *part,
                          const bench_fault *fault) {
    const int64_t units = units_of(dataset), n = part->n * units;
    bp_real *inputs = part->n > 0 ? inside(dataset, part->inputs) : NULL;
    const bp_real first = (bp_real)fault->number[0], second = (bp_real)fault->number[1];
    for (int64_t i = 0; i < n; i++)
        if (is(fault, "inputs"))
            inputs[i] = inputs[i] * first + second;
        else if (i % units == (int64_t)fault->number[0])
            inputs[i] *= second;
}

static void change_targets(const bp_dataset *dataset, const bp_part *part,
                           const bench_fault *fault) {
    bp_real *targets = part->n > 0 ? inside(dataset, part->targets) : NULL;
    for (int64_t i = 0; i < part->n * dataset->n_outputs; i++)
        targets[i] = targets[i] * (bp_real)fault->number[0] + (bp_real)fault->number[1];
}

static void set_class(const bp_dataset *dataset, int64_t sample, int32_t class) {
    const int64_t m = dataset->n_outputs;
    int32_t *classes = inside(dataset, dataset->train.classes);
    bp_real *targets = inside(dataset, dataset->train.targets);
    classes[sample] = class;
    for (int64_t j = 0; j < m; j++) targets[sample * m + j] = j == class ? 1 : 0;
}

static bool change_classes(const bp_dataset *dataset, const bench_fault *fault, uint64_t seed) {
    const int64_t n = dataset->train.n;
    uint64_t state = seed + 1;
    if (!dataset->has_classes) return false;
    for (int64_t i = n - 1; i > 0; i--) {
        const int64_t other = (int64_t)draw(&state, (uint64_t)i + 1);
        const int32_t mine = dataset->train.classes[i];
        if (is(fault, "permuted")) {
            set_class(dataset, i, dataset->train.classes[other]);
            set_class(dataset, other, mine);
        } else if ((double)draw(&state, 1000) < 1000 * fault->number[0]) {
            set_class(dataset, i, (int32_t)draw(&state, (uint64_t)dataset->n_outputs));
        }
    }
    return true;
}

static bool autoencode(bp_dataset **dataset) {
    bp_dataset *made, *old = *dataset;
    const int64_t shape[3] = {units_of(old), 1, 1};
    bp_part parts[3] = {old->train, old->validation, old->test};
    for (int i = 0; i < 3; i++) {
        parts[i].classes = NULL;
        parts[i].targets = parts[i].inputs;
    }
    if (bp_dataset_from_memory(&made, old->name, shape, shape[0], &parts[0], &parts[1], &parts[2],
                               NULL, NULL) != BP_OK)
        return false;
    bp_dataset_close(old);
    *dataset = made;
    return true;
}

bool fault_data(const bench_fault *fault, bp_dataset **dataset, uint64_t seed) {
    bp_dataset *d = *dataset;
    const bp_part *parts[] = {&d->train, &d->validation, &d->test};
    if (is(fault, "autoencode")) return autoencode(dataset);
    if (is(fault, "permuted") || is(fault, "noise")) return change_classes(d, fault, seed);
    if (is(fault, "validation") && fault->number[0] < (double)d->validation.n)
        d->validation.n = (int64_t)fault->number[0];
    for (int i = 0; i < 3; i++)
        if (is(fault, "inputs") || is(fault, "feature"))
            change_inputs(d, parts[i], fault);
        else if (is(fault, "targets"))
            change_targets(d, parts[i], fault);
    if (is(fault, "nan")) {
        bp_real *inputs = inside(d, d->train.inputs);
        inputs[(int64_t)fault->number[0] % d->train.n * units_of(d) + units_of(d) / 2] =
            (bp_real)NAN;
    }
    return true;
}

/* --- a running training -------------------------------------------------------------------------
 */

static bool is_weight(bp_slot slot) {
    return slot == BP_SLOT_WEIGHT || slot == BP_SLOT_RECURRENT_WEIGHT;
}

static void change_parameter(const bench_fault *fault, const bp_parameter *about, bp_real *values,
                             int64_t count) {
    const bp_real value = (bp_real)fault->number[2];
    const int64_t fan_in = about->value.ndim > 1 ? count / about->value.shape[0] : 1;
    for (int64_t i = 0; i < count; i++)
        if (is(fault, "scale") && is_weight(about->slot))
            values[i] *= value;
        else if ((is(fault, "weights") && is_weight(about->slot)) ||
                 (is(fault, "biases") && about->slot == BP_SLOT_BIAS))
            values[i] = value;
        else if (is(fault, "same"))
            values[i] = values[about->slot == BP_SLOT_WEIGHT ? i % fan_in : 0];
}

static void change_parameters(const bench_fault *fault, bp_trainer *trainer) {
    for (size_t i = 0; i < trainer->network.n_parameters; i++) {
        const bp_network_parameter *parameter = &trainer->network.parameters[i];
        if (parameter->parameter.layer >= fault->number[0] &&
            parameter->parameter.layer <= fault->number[1])
            change_parameter(fault, &parameter->parameter,
                             trainer->network.values + parameter->offset, parameter->count);
    }
}

static void change_rate(const bench_fault *fault, bp_trainer *trainer, double step) {
    if (step == fault->number[1]) trainer->recipe.learning_rate *= fault->number[0];
    if (step == fault->number[2]) trainer->recipe.learning_rate /= fault->number[0];
}

static void scale_all_inputs(bp_dataset *dataset, bp_real factor) {
    bp_real *inputs = inside(dataset, dataset->train.inputs);
    for (int64_t i = 0; i < dataset->train.n * units_of(dataset); i++) inputs[i] *= factor;
}

void fault_step(const bench_fault *fault, bp_trainer *trainer, bp_dataset *dataset) {
    const double step = (double)bp_trainer_steps_done(trainer);
    if (is(fault, "rate")) change_rate(fault, trainer, step);
    if (is(fault, "poison")) {
        const bp_real factor = (bp_real)fault->number[0];
        if (step == fault->number[1]) scale_all_inputs(dataset, factor);
        if (step == fault->number[1] + 1) scale_all_inputs(dataset, 1 / factor);
    }
    const bool last_is_step =
        is(fault, "scale") || is(fault, "weights") || is(fault, "biases") || is(fault, "same");
    if (last_is_step && step == fault->number[fault->n - 1]) change_parameters(fault, trainer);
}
