/* SPDX-License-Identifier: Apache-2.0 */
/* Every operator, every loss and whole networks in f64: gradients and error signals against finite
 * differences of the loss. */
#include "differences.h"

#include <math.h>
#include <string.h>

static double worst; /* largest relative error of the program */

static void check_net(const net *checked) {
    worst = fmax(worst, net_check(checked));
}

/* --- operators, one by one between two dense layers ------------------------------------------- */

static const int64_t vector[3] = {5, 1, 1}, image[3] = {2, 4, 6}, narrow[3] = {4, 2, 1};

static void check_between(const char *name, const int64_t shape[3], bp_layer tested) {
    net checked = {.name = name, .loss = BP_MSE};
    memcpy(checked.shape, shape, sizeof checked.shape);
    int n = 0;
    if (shape == vector) checked.layers[n++] = kit_dense(6, BP_ACTIVATION_TANH);
    if (shape == image) checked.layers[n++] = kit_norm(BP_NORM_LAYER);
    checked.layers[n++] = tested;
    checked.layers[n++] = kit_dense(3, BP_ACTIVATION_LINEAR);
    check_net(&checked);
}

static void test_activations(void **state) {
    (void)state;
    for (int kind = BP_ACTIVATION_LINEAR; kind <= BP_ACTIVATION_SOFTMAX; kind++)
        check_between(bp_activation_name((bp_activation)kind), vector,
                      kit_dense(4, (bp_activation)kind));
    bp_layer steep = kit_dense(4, BP_ACTIVATION_LEAKY_RELU);
    steep.activation_slope = -0.7;
    check_between("leaky_relu, slope -0.7", vector, steep);
    bp_layer bare = kit_dense(4, BP_ACTIVATION_TANH);
    bare.has_bias = false;
    check_between("tanh without bias", vector, bare);
}

static void test_norms(void **state) {
    (void)state;
    const bp_norm norms[] = {BP_NORM_BATCH, BP_NORM_LAYER};
    for (size_t i = 0; i < 2; i++) {
        print_message("%s:\n", bp_norm_name(norms[i]));
        check_between("  before tanh", vector, kit_normed(4, BP_ACTIVATION_TANH, norms[i], false));
        check_between("  after tanh", vector, kit_normed(4, BP_ACTIVATION_TANH, norms[i], true));
        check_between("  without activation", vector,
                      kit_normed(4, BP_ACTIVATION_LINEAR, norms[i], false));
        check_between("  of images", image, kit_norm(norms[i]));
        check_between("  standalone at the input", narrow, kit_norm(norms[i]));
    }
}

static void test_standalone_activation(void **state) {
    (void)state;
    const net checked = {"residual sum, then gelu and norm",
                         {5, 1, 1},
                         BP_MSE,
                         {kit_dense(4, BP_ACTIVATION_TANH), kit_dense(4, BP_ACTIVATION_TANH),
                          kit_residual(1, 1), kit_activation(BP_ACTIVATION_GELU),
                          kit_norm(BP_NORM_LAYER), kit_dense(3, BP_ACTIVATION_LINEAR)}};
    check_net(&checked);
}

static void test_pools(void **state) {
    (void)state;
    check_between("avg_pool of a vector", vector, kit_pool(3));
    check_between("avg_pool of images", image, kit_pool(2));
    check_between("max_pool of a vector", vector, kit_max_pool(3));
    check_between("max_pool of images", image, kit_max_pool(2));
    check_between("global_avg_pool", image, (bp_layer){.kind = BP_LAYER_GLOBAL_AVG_POOL});
    check_between("flatten", image, (bp_layer){.kind = BP_LAYER_FLATTEN});
}

static void test_convolutions(void **state) {
    (void)state;
    const bp_activation tanh_ = BP_ACTIVATION_TANH;
    check_between("conv 3 x 3", image, kit_conv(3, 3, 1, 0, tanh_));
    check_between("conv 3 x 3, padding 2", image, kit_conv(2, 3, 1, 2, tanh_));
    check_between("conv 2 x 2, stride 2", image, kit_conv(3, 2, 2, 0, tanh_));
    check_between("conv 3 x 3, stride 3, padding 1", image, kit_conv(2, 3, 3, 1, tanh_));
    check_between("conv 1 x 1", image, kit_conv(3, 1, 1, 0, BP_ACTIVATION_LINEAR));
    bp_layer bare = kit_conv(2, 4, 2, 1, tanh_);
    bare.has_bias = false;
    check_between("conv 4 x 4, stride 2, no bias", image, bare);
    bp_layer normed = kit_conv(3, 3, 1, 1, BP_ACTIVATION_SILU);
    normed.norm = BP_NORM_BATCH;
    check_between("conv, batch_norm, silu", image, normed);
    normed.norm = BP_NORM_LAYER;
    normed.norm_after_activation = true;
    check_between("conv, silu, layer_norm", image, normed);
}

static void test_dropout(void **state) {
    (void)state;
    check_between("dropout of a vector", vector, kit_dropout(0.4));
    check_between("dropout of images", image, kit_dropout(0.3));
}

static void test_embeddings(void **state) {
    (void)state;
    const net checked = {"embedding",
                         {4, 1, 1},
                         BP_MSE,
                         {kit_embedding(5, 3), kit_dense(4, BP_ACTIVATION_TANH),
                          kit_dense(2, BP_ACTIVATION_LINEAR)}};
    check_net(&checked);
}

static void test_residuals(void **state) {
    (void)state;
    const net simple = {"residual block",
                        {5, 1, 1},
                        BP_MSE,
                        {kit_dense(4, BP_ACTIVATION_TANH), kit_dense(6, BP_ACTIVATION_GELU),
                         kit_dense(4, BP_ACTIVATION_TANH), kit_residual(2, 0.6),
                         kit_dense(3, BP_ACTIVATION_LINEAR)}};
    check_net(&simple);
    const net chained = {"two blocks, one at the input",
                         {4, 1, 1},
                         BP_MSE,
                         {kit_dense(4, BP_ACTIVATION_TANH), kit_residual(1, 1),
                          kit_dense(4, BP_ACTIVATION_SIGMOID), kit_residual(1, -0.5)}};
    check_net(&chained);
    const net nested = {"nested blocks, one begin shared",
                        {5, 1, 1},
                        BP_MSE,
                        {kit_dense(4, BP_ACTIVATION_TANH), kit_dense(4, BP_ACTIVATION_TANH),
                         kit_residual(1, 0.5), kit_dense(4, BP_ACTIVATION_GELU),
                         kit_dense(4, BP_ACTIVATION_TANH), kit_residual(1, 2), kit_residual(5, 0.3),
                         kit_dense(3, BP_ACTIVATION_LINEAR)}};
    check_net(&nested);
}

/* --- losses and whole networks ---------------------------------------------------------------- */

static void test_losses(void **state) {
    (void)state;
    const net entropy = {
        "cross_entropy", {5, 1, 1}, BP_CROSS_ENTROPY, {kit_dense(4, BP_ACTIVATION_LINEAR)}};
    check_net(&entropy);
    for (int loss = BP_MSE; bp_loss_name((bp_loss)loss); loss++) {
        const net checked = {bp_loss_name((bp_loss)loss),
                             {5, 1, 1},
                             (bp_loss)loss,
                             {kit_dense(4, BP_ACTIVATION_LINEAR)}};
        if (loss != BP_LOSS_OTHER) check_net(&checked);
    }
}

static void test_frozen(void **state) {
    (void)state;
    bp_layer frozen = kit_normed(4, BP_ACTIVATION_TANH, BP_NORM_LAYER, false);
    frozen.frozen = true;
    check_between("frozen layer", vector, frozen);
}

static void test_whole_networks(void **state) {
    (void)state;
    const net plain = {"six layers, cross_entropy",
                       {5, 1, 1},
                       BP_CROSS_ENTROPY,
                       {kit_dense(6, BP_ACTIVATION_SIGMOID), kit_dense(5, BP_ACTIVATION_RELU),
                        kit_dense(6, BP_ACTIVATION_LEAKY_RELU), kit_dense(6, BP_ACTIVATION_GELU),
                        kit_dense(5, BP_ACTIVATION_TANH), kit_dense(4, BP_ACTIVATION_LINEAR)}};
    check_net(&plain);
    const net mixed = {"pool, norms, residual, entropy",
                       {2, 4, 4},
                       BP_CROSS_ENTROPY,
                       {kit_pool(2), kit_normed(6, BP_ACTIVATION_GELU, BP_NORM_BATCH, false),
                        kit_normed(8, BP_ACTIVATION_TANH, BP_NORM_LAYER, true),
                        kit_dense(6, BP_ACTIVATION_LINEAR), kit_residual(2, 0.5),
                        kit_norm(BP_NORM_LAYER), kit_pool(2), kit_dense(4, BP_ACTIVATION_LINEAR)}};
    check_net(&mixed);
    bp_layer second = kit_conv(2, 3, 1, 1, BP_ACTIVATION_GELU);
    second.norm = BP_NORM_BATCH;
    const net convolutional = {"convolutional, block, entropy",
                               {1, 5, 7},
                               BP_CROSS_ENTROPY,
                               {kit_conv(2, 3, 2, 1, BP_ACTIVATION_TANH), second,
                                kit_conv(2, 3, 1, 1, BP_ACTIVATION_LINEAR), kit_residual(2, 0.5),
                                kit_activation(BP_ACTIVATION_SILU),
                                kit_conv(3, 3, 1, 1, BP_ACTIVATION_ELU), kit_dropout(0.2),
                                kit_dense(3, BP_ACTIVATION_LINEAR)}};
    check_net(&convolutional);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_activations),
        cmocka_unit_test(test_norms),
        cmocka_unit_test(test_standalone_activation),
        cmocka_unit_test(test_pools),
        cmocka_unit_test(test_convolutions),
        cmocka_unit_test(test_dropout),
        cmocka_unit_test(test_embeddings),
        cmocka_unit_test(test_residuals),
        cmocka_unit_test(test_losses),
        cmocka_unit_test(test_frozen),
        cmocka_unit_test(test_whole_networks),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    print_message("largest relative error of all: %.1e\n", worst);
    return failed;
}
