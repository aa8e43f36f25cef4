/* SPDX-License-Identifier: Apache-2.0 */
/* Weights to a file and back. */
#include "../faults.h"
#include "formats/safetensors.h"
#include "kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64], path[96];

static int make_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/backprobe-save-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/weights.safetensors", folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder); /* fails when a temporary file was left */
}

typedef struct run {
    bp_dataset *data;
    bp_model *model;
    bp_trainer *trainer;
} run;

static const int64_t shape[3] = {5, 1, 1};

static run open_run(int64_t width, bp_norm norm, uint64_t seed, const bp_allocator *allocator) {
    run r = {.data = kit_data(shape, 3, true, 40)};
    bp_recipe recipe = kit_recipe(BP_CROSS_ENTROPY, 8);
    recipe.learning_rate = 0.1;
    recipe.seed = seed;
    const bp_layer layers[] = {kit_normed(width, BP_ACTIVATION_TANH, norm, false),
                               kit_dense(3, BP_ACTIVATION_LINEAR),
                               {0}};
    r.model = kit_model(layers, &recipe, shape);
    assert_int_equal(bp_trainer_open(&r.trainer, r.model, r.data, allocator, NULL), BP_OK);
    return r;
}

static void close_run(run *r) {
    bp_trainer_close(r->trainer);
    bp_model_close(r->model);
    bp_dataset_close(r->data);
}

static void save(const run *r) {
    bp_error error;
    if (bp_trainer_save(r->trainer, path, &error) != BP_OK) fail_msg("%s", error.text);
}

/* With batch norm: its running statistics travel too, or the evaluation would differ. */
static void test_round_trip(void **state) {
    (void)state;
    run first = open_run(4, BP_NORM_BATCH, 1, NULL), second = open_run(4, BP_NORM_BATCH, 2, NULL);
    for (int step = 0; step < 20; step++) bp_trainer_step(first.trainer);
    const bp_score before = bp_trainer_evaluate(first.trainer, &first.data->validation);
    bp_score after = bp_trainer_evaluate(second.trainer, &second.data->validation);
    assert_memory_not_equal(&before, &after, sizeof before);
    save(&first);
    bp_error error;
    if (bp_trainer_load(second.trainer, path, &error) != BP_OK) fail_msg("%s", error.text);
    after = bp_trainer_evaluate(second.trainer, &second.data->validation);
    assert_memory_equal(&before, &after, sizeof before);
    close_run(&first);
    close_run(&second);
}

static void test_names_and_shapes(void **state) {
    (void)state;
    const char *const names[] = {
        "dense_1.weight", "dense_1.bias", "dense_1.norm_gain",    "dense_1.norm_bias",
        "dense_2.weight", "dense_2.bias", "dense_1.running_mean", "dense_1.running_variance"};
    run r = open_run(4, BP_NORM_BATCH, 1, NULL);
    save(&r);
    bp_safetensors *file;
    bp_error error;
    if (bp_safetensors_open(&file, &bp_io_system, path, NULL, &error) != BP_OK)
        fail_msg("%s", error.text);
    assert_int_equal(bp_safetensors_count(file), 8);
    for (size_t i = 0; i < 8; i++) assert_non_null(bp_safetensors_find(file, names[i]));
    const bp_tensor *weight = &bp_safetensors_find(file, "dense_1.weight")->tensor;
    assert_int_equal(weight->shape[0], 4);
    assert_int_equal(weight->shape[1], 5);
    const bp_tensor *own = &bp_trainer_parameter(r.trainer, 0)->value;
    assert_memory_equal(weight->data, own->data, 20 * sizeof(bp_real));
    const bp_real *mean = bp_safetensors_find(file, names[6])->tensor.data;
    const bp_real *variance = bp_safetensors_find(file, names[7])->tensor.data;
    for (int i = 0; i < 4; i++) assert_true(mean[i] == 0 && variance[i] == 1); /* no step yet */
    bp_safetensors_close(file);
    close_run(&r);
}

/* The refused file leaves the network as it was. */
static void refuse(const run *saved, run *loading, const char *words) {
    save(saved);
    const bp_score before = bp_trainer_evaluate(loading->trainer, &loading->data->validation);
    bp_error error = {0};
    assert_int_equal(bp_trainer_load(loading->trainer, path, &error), BP_ERROR_INPUT);
    if (!strstr(error.text, words)) fail_msg("expected '%s' in '%s'", words, error.text);
    assert_non_null(strstr(error.text, path));
    const bp_score after = bp_trainer_evaluate(loading->trainer, &loading->data->validation);
    assert_memory_equal(&before, &after, sizeof before);
}

static void test_other_networks_are_refused(void **state) {
    (void)state;
    run normed = open_run(4, BP_NORM_BATCH, 1, NULL), plain = open_run(4, BP_NORM_NONE, 2, NULL);
    run wide = open_run(6, BP_NORM_NONE, 3, NULL);
    refuse(&wide, &plain, "tensor 'dense_1.weight' is f32 [6, 5], but the network's is f32 [4, 5]");
    refuse(&plain, &normed, "no tensor 'dense_1.norm_gain'");
    refuse(&normed, &plain, "8 tensors, but the network has 4");
    close_run(&normed);
    close_run(&plain);
    close_run(&wide);
}

static void test_missing_file(void **state) {
    (void)state;
    run r = open_run(4, BP_NORM_NONE, 1, NULL);
    bp_error error = {0};
    assert_int_equal(bp_trainer_load(r.trainer, path, &error), BP_ERROR_IO);
    assert_non_null(strstr(error.text, path));
    char nowhere[160];
    snprintf(nowhere, sizeof nowhere, "%s/none/weights.safetensors", folder);
    assert_int_equal(bp_trainer_save(r.trainer, nowhere, &error), BP_ERROR_IO);
    close_run(&r);
}

static void test_nth_allocation_fails(void **state) {
    (void)state;
    faulty_memory memory = {0};
    const bp_allocator allocator = faulty_allocator(&memory);
    run r = open_run(4, BP_NORM_BATCH, 1, &allocator);
    save(&r);
    const size_t live = memory.live_blocks;
    for (int loading = 0; loading < 2; loading++) {
        size_t n = 1;
        for (;; n++) {
            memory.requests = 0;
            memory.fail_at = n;
            const bp_status status = loading ? bp_trainer_load(r.trainer, path, NULL)
                                             : bp_trainer_save(r.trainer, path, NULL);
            assert_int_equal(memory.live_blocks, live);
            if (status == BP_OK) break;
            assert_int_equal(status, BP_ERROR_MEMORY);
        }
        assert_true(n > 1);
    }
    memory.fail_at = 0;
    close_run(&r);
    assert_int_equal(memory.live_blocks, 0);
    assert_int_equal(memory.wrong_sizes, 0);
}

int main(void) {
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_round_trip),
        IN_FOLDER(test_names_and_shapes),
        IN_FOLDER(test_other_networks_are_refused),
        IN_FOLDER(test_missing_file),
        IN_FOLDER(test_nth_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
