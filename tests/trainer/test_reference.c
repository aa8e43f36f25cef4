/* SPDX-License-Identifier: Apache-2.0 */
/* The trainer as users get it, in f32, against PyTorch's values: outputs and error signals of every
 * layer, the loss, every parameter's gradient, and the parameters after the steps. PyTorch's side
 * lies in files that make_reference.py writes, so that no test needs PyTorch.
 *
 *   test_trainer_reference               the files of the source folder
 *   test_trainer_reference FOLDER        the files of another folder
 *   test_trainer_reference --describe    the cases for make_reference.py, a JSON text a line
 *
 * A file holds input [n, units]; target [n, m] or class [n]; start.PARAMETER, the weights to begin
 * with; and what PyTorch found: losses [steps]; of the first step activation.LAYER, error.LAYER
 * (dL/d output of the layer), gradient.PARAMETER; end.PARAMETER after the last of several steps,
 * and end.running_... always. */
#include "cases.h"
#include "formats/safetensors.h"
#include "trainer/run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOLERANCE 1e-5 /* of the largest number of the tensor */

static const char *folder = BP_SOURCE_ROOT "/tests/trainer/reference";

typedef struct run {
    const reference_case *of;
    bp_safetensors *file;
    bp_dataset *dataset;
    bp_model *model;
    bp_trainer *trainer;
    uint32_t wanted[CASE_MAX_LAYERS + 1];
    int64_t row_of[64]; /* where a sample of the file lies in the shuffled batch */
    bool told[CASE_MAX_LAYERS + 1][BP_N_ROLES];
    double worst; /* largest difference relative to the largest number of its tensor */
    int64_t n_compared;
} run;

/* --- comparing -------------------------------------------------------------------------------- */

static const bp_tensor *find(const run *r, const char *prefix, const char *name, int64_t count) {
    char full[600];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const bp_named_tensor *found = bp_safetensors_find(r->file, full);
    if (!found) fail_msg("%s: no tensor %s", r->of->name, full);
    assert_int_equal(found->tensor.dtype, BP_F32);
    if (count >= 0) assert_int_equal(bp_tensor_count(&found->tensor), count);
    return &found->tensor;
}

/* rows of `width` numbers; row i of the file is row row_of[i] of ours (NULL: i itself). */
static void compare(run *r, const char *prefix, const char *name, int64_t rows, int64_t width,
                    const bp_real *ours, const int64_t *row_of) {
    const float *theirs = find(r, prefix, name, rows * width)->data;
    double largest = 0;
    for (int64_t i = 0; i < rows * width; i++) largest = fmax(largest, fabs((double)theirs[i]));
    for (int64_t i = 0; i < rows * width; i++, r->n_compared++) {
        const int64_t row = row_of ? row_of[i / width] : i / width;
        const double found = (double)ours[row * width + i % width];
        const double difference = fabs(found - (double)theirs[i]);
        if (!(difference <= TOLERANCE * largest))
            fail_msg("%s: %s%s[%lld] is %.9g, PyTorch has %.9g", r->of->name, prefix, name,
                     (long long)i, found, (double)theirs[i]);
        if (difference > 0) r->worst = fmax(r->worst, difference / largest);
    }
}

/* --- what the observer hears ------------------------------------------------------------------ */

static bp_plan on_begin(void *context, const bp_step *step) {
    (void)step;
    run *r = context;
    return (bp_plan){r->wanted, bp_model_n_layers(r->model)};
}

static void find_rows(run *r, const bp_tensor *batch) {
    const int64_t n = batch->shape[0], units = batch->shape[1];
    const float *input = find(r, "", "input", n * units)->data;
    const bp_real *shuffled = batch->data;
    for (int64_t i = 0; i < n; i++) {
        r->row_of[i] = -1;
        for (int64_t row = 0; row < n; row++)
            if (memcmp(input + i * units, shuffled + row * units, (size_t)units * sizeof *input) ==
                0)
                r->row_of[i] = row;
        assert_true(r->row_of[i] >= 0);
    }
}

static void on_tensor(void *context, uint32_t layer, bp_role role, bp_slot slot,
                      const bp_tensor *tensor) {
    (void)slot;
    run *r = context;
    char number[16];
    if (layer == 0) {
        find_rows(r, tensor);
        return;
    }
    snprintf(number, sizeof number, "%u", layer);
    compare(r, role == BP_ROLE_ACTIVATION ? "activation." : "error.", number, tensor->shape[0],
            tensor->shape[1], tensor->data, r->row_of);
    r->told[layer][role] = true;
}

/* Returns its loss. */
static bp_real first_step(run *r) {
    const bp_observer observer = {.context = r, .step_begin = on_begin, .tensor = on_tensor};
    const uint32_t n_layers = bp_model_n_layers(r->model);
    r->wanted[0] = 1u << BP_ROLE_ACTIVATION;
    for (uint32_t l = 1; l <= n_layers; l++)
        r->wanted[l] = 1u << BP_ROLE_ACTIVATION | 1u << BP_ROLE_ERROR_OUTPUT;
    bp_trainer_observe(r->trainer, &observer);
    const bp_real loss = (bp_real)bp_trainer_step(r->trainer);
    bp_trainer_observe(r->trainer, NULL);
    for (uint32_t l = 1; l <= n_layers; l++)
        assert_true(r->told[l][BP_ROLE_ACTIVATION] && r->told[l][BP_ROLE_ERROR_OUTPUT]);
    return loss;
}

/* --- a case ----------------------------------------------------------------------------------- */

static void open_data(run *r) {
    const bp_recipe *recipe = &r->of->recipe;
    const int64_t *shape = r->of->shape, n = recipe->batch;
    const bp_layer *last = bp_model_layer(r->model, bp_model_n_layers(r->model));
    const int64_t m = bp_model_units(r->model, last->id);
    bp_part part = {.n = n,
                    .inputs = find(r, "", "input", n * shape[0] * shape[1] * shape[2])->data};
    int32_t classes[64];
    assert_true(n <= 64);
    if (recipe->loss == BP_CROSS_ENTROPY) {
        const float *given = find(r, "", "class", n)->data;
        for (int64_t i = 0; i < n; i++) classes[i] = (int32_t)given[i];
        part.classes = classes;
    } else {
        part.targets = find(r, "", "target", n * m)->data;
    }
    bp_error error;
    if (bp_dataset_from_memory(&r->dataset, r->of->name, shape, m, &part, NULL, NULL, NULL,
                               &error) != BP_OK)
        fail_msg("%s: %s", r->of->name, error.text);
}

static void open_trainer(run *r, const reference_case *of) {
    char path[600];
    bp_error error;
    *r = (run){.of = of};
    snprintf(path, sizeof path, "%s/%s.safetensors", folder, of->name);
    if (bp_safetensors_open(&r->file, &bp_io_system, path, NULL, &error) != BP_OK)
        fail_msg("%s", error.text);
    r->model = kit_model(of->layers, &of->recipe, of->shape);
    open_data(r);
    r->trainer = kit_trainer(r->model, r->dataset);
    for (size_t p = 0; p < bp_trainer_n_parameters(r->trainer); p++) {
        const bp_parameter *parameter = bp_trainer_parameter(r->trainer, p);
        const int64_t count = bp_tensor_count(&parameter->value);
        memcpy(kit_values(&parameter->value), find(r, "start.", parameter->name, count)->data,
               (size_t)count * sizeof(bp_real));
    }
}

static void close_trainer(run *r) {
    bp_trainer_close(r->trainer);
    bp_dataset_close(r->dataset);
    bp_model_close(r->model);
    bp_safetensors_close(r->file);
}

static void compare_parameters(run *r, const char *prefix, bool gradients) {
    for (size_t p = 0; p < bp_trainer_n_parameters(r->trainer); p++) {
        const bp_parameter *parameter = bp_trainer_parameter(r->trainer, p);
        const bp_tensor *tensor = gradients ? &parameter->gradient : &parameter->value;
        compare(r, prefix, parameter->name, 1, bp_tensor_count(tensor), tensor->data, NULL);
    }
}

static void compare_running(run *r) {
    for (size_t i = 0; i < r->trainer->network.n_running; i++) {
        const bp_running *running = &r->trainer->network.running[i];
        compare(r, "end.", running->name, 1, bp_tensor_count(&running->value), running->data, NULL);
    }
}

static void test_case(void **state) {
    run r;
    open_trainer(&r, *state);
    bp_real losses[64] = {first_step(&r)};
    assert_true(r.of->steps <= 64);
    compare_parameters(&r, "gradient.", true);
    for (int64_t step = 1; step < r.of->steps; step++)
        losses[step] = (bp_real)bp_trainer_step(r.trainer);
    compare(&r, "", "losses", 1, r.of->steps, losses, NULL);
    if (r.of->steps > 1) compare_parameters(&r, "end.", false);
    compare_running(&r);
    print_message("%-26s %6lld numbers, largest relative difference %.1e\n", r.of->name,
                  (long long)r.n_compared, r.worst);
    close_trainer(&r);
}

/* --- the cases in words ----------------------------------------------------------------------- */

/* Texts have no quotes and numbers are finite, so plain printing makes JSON. */
static void describe_layer(const bp_layer *l) {
    printf("{\"kind\": \"%s\", \"name\": \"%s\", \"activation\": \"%s\", \"slope\": %.17g, ",
           bp_layer_kind_name(l->kind), l->name, bp_activation_name(l->activation),
           l->activation_slope);
    printf("\"norm\": \"%s\", \"norm_after_activation\": %d, ", bp_norm_name(l->norm),
           l->norm_after_activation);
    printf("\"shape\": [%lld, %lld, %lld], ", (long long)l->output_shape[0],
           (long long)l->output_shape[1], (long long)l->output_shape[2]);
    printf("\"pool\": %d, \"kernel\": %d, \"stride\": %d, \"padding\": %d, ", l->pool, l->kernel,
           l->stride, l->padding);
    printf("\"vocabulary\": %lld, \"return_sequences\": %d, \"fan_in\": %lld, \"fan_out\": %lld, ",
           (long long)l->vocabulary, l->return_sequences, (long long)l->fan_in,
           (long long)l->fan_out);
    printf("\"skip_from\": %u, \"branch_scale\": %.17g}", l->skip_from, l->branch_scale);
}

static void describe_recipe(const bp_recipe *r) {
    printf("\"loss\": \"%s\", \"optimiser\": \"%s\", ", bp_loss_name(r->loss),
           bp_optimiser_name(r->optimiser));
    printf("\"learning_rate\": %.17g, \"momentum\": %.17g, ", r->learning_rate, r->momentum);
    printf("\"beta1\": %.17g, \"beta2\": %.17g, \"epsilon\": %.17g, ", r->beta1, r->beta2,
           r->epsilon);
    printf("\"nesterov\": %d, \"alpha\": %.17g, \"weight_decay\": %.17g, ", r->nesterov, r->alpha,
           r->weight_decay);
    printf("\"l1\": %.17g, \"l2\": %.17g, \"huber_delta\": %.17g, ", r->l1, r->l2, r->huber_delta);
    printf("\"clip_norm\": %.17g, \"clip_value\": %.17g, ", r->clip_norm, r->clip_value);
    printf("\"schedule\": \"%s\", \"warm_up_epochs\": %.17g, \"final_learning_rate\": %.17g, ",
           bp_schedule_name(r->schedule ? r->schedule : BP_SCHEDULE_CONSTANT), r->warm_up_epochs,
           r->final_learning_rate);
    printf("\"step_epochs\": %.17g, \"step_factor\": %.17g, ", r->step_epochs, r->step_factor);
}

/* The trainer is opened for the parameters' names and shapes; its data do not matter, and classes
 * fit every loss. */
static void describe(const reference_case *of) {
    bp_model *model = kit_model(of->layers, &of->recipe, of->shape);
    const uint32_t n_layers = bp_model_n_layers(model);
    bp_dataset *dataset =
        kit_data(of->shape, bp_model_units(model, n_layers), true, of->recipe.batch);
    bp_trainer *trainer = kit_trainer(model, dataset);
    printf("{\"name\": \"%s\", \"input\": [%lld, %lld, %lld], \"samples\": %lld, \"steps\": %lld, ",
           of->name, (long long)of->shape[0], (long long)of->shape[1], (long long)of->shape[2],
           (long long)of->recipe.batch, (long long)of->steps);
    describe_recipe(&of->recipe);
    printf("\"layers\": [");
    for (uint32_t l = 1; l <= n_layers; l++) {
        describe_layer(bp_model_layer(model, l));
        printf(l < n_layers ? ", " : "], \"parameters\": {");
    }
    for (size_t p = 0; p < bp_trainer_n_parameters(trainer); p++) {
        const bp_parameter *parameter = bp_trainer_parameter(trainer, p);
        const bp_tensor *value = &parameter->value;
        printf("%s\"%s\": [%lld", p ? ", " : "", parameter->name, (long long)value->shape[0]);
        printf(value->ndim == 2 ? ", %lld]" : "]", (long long)value->shape[1]);
    }
    printf("}}\n");
    bp_trainer_close(trainer);
    bp_dataset_close(dataset);
    bp_model_close(model);
}

int main(int argc, char **argv) {
    struct CMUnitTest tests[128] = {0};
    size_t n;
    reference_case *cases = reference_cases(&n);
    const bool is_asked = argc > 1 && strcmp(argv[1], "--describe") == 0;
    if (argc > 1 && !is_asked) folder = argv[1];
    for (size_t i = 0; i < n; i++) {
        if (is_asked) describe(&cases[i]);
        tests[i] = (struct CMUnitTest){cases[i].name, test_case, NULL, NULL, &cases[i]};
    }
    return is_asked ? 0 : _cmocka_run_group_tests("reference", tests, n, NULL, NULL);
}
