/* SPDX-License-Identifier: Apache-2.0 */
/* What a network dies of: jumps that only light steps saw, death after a jump, weights that are too
 * large in residual branches and in saturated layers. */
#include "chain.h"

/* A healthy chain whose update of one step is larger than its weights. */
static void jump(chain *c, int64_t step, double loss) {
    c->update_rms[3] = 1;
    c->loss = loss;
    chain_step(c, step);
    c->update_rms[3] = 1e-4;
}

/* From here on the error signal does not get past layer 5, and nothing is learnt. */
static void die(chain *c) {
    c->gain[5] = 1e-9;
    c->loss = CHAIN_TRIVIAL;
    chain_starve_below(c, 5);
}

static void death_after_a_jump_hangs_under_it(void **state) {
    (void)state;
    chain c;
    chain_open(&c, 6, BP_ACTIVATION_RELU, BP_NORM_NONE);
    chain_run(&c, 0, 30);
    jump(&c, 30, 100);
    die(&c);
    chain_run(&c, 31, 120);
    const bp_finding *root = bp_diagnosis_finding(c.diagnosis, 0);
    assert_int_equal(root->problem, BP_PROBLEM_EXPLODING_GRADIENT);
    assert_int_equal(root->since_step, 30);
    assert_int_equal(root->last_step, 119);
    assert_int_equal(root->severity, BP_ERROR);
    assert_int_equal(chain_find(&c, BP_PROBLEM_VANISHING_GRADIENT)->parent, 0);
    /* the loss was thrown before the step was taken: a batch did it, not the rate */
    assert_null(chain_find(&c, BP_PROBLEM_LEARNING_RATE_TOO_HIGH));
    chain_close(&c);
}

static void a_jump_long_before_is_not_what_it_died_of(void **state) {
    (void)state;
    chain c;
    chain_open(&c, 6, BP_ACTIVATION_RELU, BP_NORM_NONE);
    jump(&c, 0, 100);
    c.loss = 1.5;
    chain_run(&c, 1, 100);
    die(&c);
    chain_run(&c, 100, 200);
    assert_null(chain_find(&c, BP_PROBLEM_EXPLODING_GRADIENT));
    assert_non_null(chain_find(&c, BP_PROBLEM_VANISHING_GRADIENT));
    chain_close(&c);
}

static void what_was_dead_before_the_jump_is_not_what_it_died_of(void **state) {
    (void)state;
    for (int64_t death = 0; death <= 30; death += 30) {
        chain c;
        chain_open(&c, 6, BP_ACTIVATION_RELU, BP_NORM_NONE);
        chain_run(&c, 0, death);
        die(&c);
        jump(&c, death, death ? CHAIN_TRIVIAL : 100);
        c.loss = CHAIN_TRIVIAL;
        chain_run(&c, death + 1, 100);
        jump(&c, 100, 100);
        c.loss = CHAIN_TRIVIAL;
        chain_run(&c, 101, 110);
        assert_null(chain_find(&c, BP_PROBLEM_EXPLODING_GRADIENT));
        assert_non_null(chain_find(&c, BP_PROBLEM_VANISHING_GRADIENT));
        chain_close(&c);
    }
}

static void later_jumps_do_not_move_the_onset(void **state) {
    (void)state;
    chain c;
    chain_open(&c, 6, BP_ACTIVATION_RELU, BP_NORM_NONE);
    chain_run(&c, 0, 30);
    jump(&c, 30, 100);
    die(&c);
    chain_run(&c, 31, 45);
    jump(&c, 45, CHAIN_TRIVIAL);
    chain_run(&c, 46, 120);
    assert_int_equal(chain_find(&c, BP_PROBLEM_EXPLODING_GRADIENT)->since_step, 30);
    chain_close(&c);
}

static void a_jump_that_the_loss_does_not_show_kills_nothing(void **state) {
    (void)state;
    chain c;
    chain_open(&c, 6, BP_ACTIVATION_RELU, BP_NORM_NONE);
    chain_run(&c, 0, 30);
    jump(&c, 30, 1.5);
    die(&c);
    chain_run(&c, 31, 120);
    assert_null(chain_find(&c, BP_PROBLEM_EXPLODING_GRADIENT));
    chain_close(&c);
}

/* The jump lies among light steps: of it only the losses and the weights' growth are known. */
static void light_steps_then_dead(chain *c, double grown, int64_t distance) {
    chain_open(c, 6, BP_ACTIVATION_RELU, BP_NORM_NONE);
    chain_run(c, 0, 30);
    for (int64_t step = 30; step < 29 + distance; step++)
        bp_diagnosis_loss(c->diagnosis, step, step == 30 ? 100 : CHAIN_TRIVIAL);
    c->weight_rms[3] *= grown;
    die(c);
    c->loss = distance > 1 ? CHAIN_TRIVIAL : 100;
    chain_step(c, 29 + distance);
    c->loss = CHAIN_TRIVIAL;
    chain_run(c, 30 + distance, 150);
}

static void a_jump_among_light_steps_shows_in_the_weights(void **state) {
    (void)state;
    chain c;
    light_steps_then_dead(&c, 3, 6);
    const bp_finding *root = bp_diagnosis_finding(c.diagnosis, 0);
    assert_int_equal(root->problem, BP_PROBLEM_LEARNING_RATE_TOO_HIGH);
    assert_int_equal(root->since_step, 35);
    assert_int_equal(root->since_earliest, 30);
    assert_int_equal(root->layers[0], 3);
    assert_int_equal(root->n_layers, 1);
    chain_close(&c);
    light_steps_then_dead(&c, 1.5, 6); /* they have not outgrown themselves */
    assert_null(chain_find(&c, BP_PROBLEM_EXPLODING_GRADIENT));
    chain_close(&c);
    light_steps_then_dead(&c, 3, 1); /* nothing was left unseen: training did not do it */
    assert_null(chain_find(&c, BP_PROBLEM_EXPLODING_GRADIENT));
    chain_close(&c);
    light_steps_then_dead(&c, 3, 30); /* many steps may well do that, each of them small */
    assert_null(chain_find(&c, BP_PROBLEM_EXPLODING_GRADIENT));
    chain_close(&c);
}

/* tanh layers of twice the gain that is critical: the error signal grows by 2^9 < 1e3. */
static void saturated(chain *c, double scale) {
    chain_open(c, 10, BP_ACTIVATION_TANH, BP_NORM_NONE);
    for (uint32_t i = 1; i < 10; i++) {
        c->weight_rms[i] = scale / 8;
        c->activation_part[i] = 2 / scale;
        c->gain[i] = 2;
    }
    c->loss = CHAIN_TRIVIAL;
}

static void saturated_layers_that_learn_nothing_are_blamed_on_their_weights(void **state) {
    (void)state;
    chain c;
    saturated(&c, 7);
    chain_run(&c, 0, 39);
    assert_int_equal(chain_n_findings(&c), 0);
    chain_run(&c, 39, 60);
    const bp_finding *root = bp_diagnosis_finding(c.diagnosis, 0);
    assert_int_equal(root->problem, BP_PROBLEM_WEIGHTS_TOO_LARGE);
    assert_int_equal(root->since_step, 0);
    assert_int_equal(root->n_layers, 9);
    chain_close(&c);
    saturated(&c, 7); /* the same weights, but it learns */
    c.loss = 2;
    chain_run(&c, 0, 300);
    assert_int_equal(chain_n_findings(&c), 0);
    chain_close(&c);
    saturated(&c, 1.2); /* nothing is learnt, but not for the weights */
    chain_run(&c, 0, 300);
    assert_null(chain_find(&c, BP_PROBLEM_WEIGHTS_TOO_LARGE));
    chain_close(&c);
}

#define BLOCKS 8

/* A dense layer, then residual blocks of two dense layers, the first with a norm; the output. */
static void open_blocks(chain *c, bp_norm norm) {
    memset(c, 0, sizeof *c);
    assert_int_equal(bp_model_open(&c->model, NULL), BP_OK);
    bp_layer dense = {.kind = BP_LAYER_DENSE,
                      .activation = BP_ACTIVATION_RELU,
                      .output_shape = {CHAIN_UNITS, 1, 1}};
    assert_int_equal(bp_model_add_layer(c->model, &dense, NULL, NULL), BP_OK);
    for (uint32_t block = 0; block < BLOCKS; block++) {
        const uint32_t entry = bp_model_n_layers(c->model);
        dense.depth_in_blocks = 1;
        for (int i = 0; i < 2; i++) {
            dense.norm = i == 0 ? norm : BP_NORM_NONE;
            assert_int_equal(bp_model_add_layer(c->model, &dense, NULL, NULL), BP_OK);
        }
        const bp_layer sum = {.kind = BP_LAYER_RESIDUAL,
                              .output_shape = {CHAIN_UNITS, 1, 1},
                              .branch_scale = 1,
                              .skip_from = entry,
                              .n_branch = 2};
        assert_int_equal(bp_model_add_layer(c->model, &sum, NULL, NULL), BP_OK);
    }
    dense.depth_in_blocks = 0;
    dense.activation = BP_ACTIVATION_LINEAR;
    dense.norm = BP_NORM_NONE;
    assert_int_equal(bp_model_add_layer(c->model, &dense, NULL, NULL), BP_OK);
    c->n_layers = bp_model_n_layers(c->model);
    const int64_t input[3] = {CHAIN_UNITS, 1, 1};
    assert_int_equal(bp_model_set_input(c->model, input, NULL), BP_OK);
    const bp_recipe recipe = {.loss = BP_CROSS_ENTROPY, .trivial_loss = CHAIN_TRIVIAL};
    bp_model_set_recipe(c->model, &recipe);
    assert_int_equal(bp_record_init(&c->record, c->n_layers, &bp_allocator_system), BP_OK);
    assert_int_equal(bp_diagnosis_open(&c->diagnosis, c->model, NULL, NULL), BP_OK);
    for (uint32_t i = 0; i <= c->n_layers; i++) {
        c->gain[i] = c->activation_part[i] = c->activation_norm[i] = c->effect[i] = 1;
        c->weight_rms[i] = sqrt(2.0 / 64);
        c->update_rms[i] = 1e-4;
        c->variation[i] = 0.5;
    }
    c->loss = 1e6;
}

/* Blocks pass on gain; error signals inside of them are as at their ends. */
static void blocks_pass_on(chain *c, double gain) {
    for (uint32_t id = 4; id < c->n_layers; id += 3) c->gain[id] = gain;
}

static void too_large_weights_in_branches_are_blamed(void **state) {
    (void)state;
    chain c;
    open_blocks(&c, BP_NORM_NONE);
    blocks_pass_on(&c, sqrt(1 + 81));
    for (uint32_t i = 1; i < c.n_layers; i++) c.weight_rms[i] *= 3;
    chain_step(&c, 0);
    const bp_finding *root = bp_diagnosis_finding(c.diagnosis, 0);
    assert_int_equal(root->problem, BP_PROBLEM_WEIGHTS_TOO_LARGE);
    assert_int_equal(root->layers[0], 1);
    assert_int_equal(root->layers[1], 2); /* in the first branch */
    assert_true(fabs(bp_finding_evidence(root, "mended_gain") - sqrt(2)) < 0.1);
    chain_close(&c);
}

static void a_projection_on_the_skip_is_no_branch(void **state) {
    (void)state;
    chain c;
    open_blocks(&c, BP_NORM_NONE);
    for (uint32_t id = 4; id < c.n_layers; id += 3) {
        bp_layer *sum = (bp_layer *)(uintptr_t)bp_model_layer(c.model, id);
        sum->skip_from = id - 2;
    }
    blocks_pass_on(&c, sqrt(1 + 9));
    for (uint32_t i = 1; i < c.n_layers; i++) c.weight_rms[i] *= 3;
    chain_step(&c, 0);
    const bp_finding *root = bp_diagnosis_finding(c.diagnosis, 0);
    assert_int_equal(root->problem, BP_PROBLEM_WEIGHTS_TOO_LARGE);
    assert_true(fabs(bp_finding_evidence(root, "mended_gain") - sqrt(2)) < 0.1);
    chain_close(&c);
}

static void branches_that_grow_for_another_reason_are_not_blamed(void **state) {
    (void)state;
    chain c;
    open_blocks(&c, BP_NORM_NONE);
    blocks_pass_on(&c, sqrt(1 + 81)); /* He's weights do not explain it */
    chain_step(&c, 0);
    assert_int_equal(bp_diagnosis_finding(c.diagnosis, 0)->problem, BP_PROBLEM_EXPLODING_GRADIENT);
    assert_null(chain_find(&c, BP_PROBLEM_WEIGHTS_TOO_LARGE));
    chain_close(&c);
    open_blocks(&c, BP_NORM_NONE);
    blocks_pass_on(&c, sqrt(1 + 1e6)); /* nor do weights three times as large explain this */
    for (uint32_t i = 1; i < c.n_layers; i++) c.weight_rms[i] *= 3;
    chain_step(&c, 0);
    assert_null(chain_find(&c, BP_PROBLEM_WEIGHTS_TOO_LARGE));
    chain_close(&c);
}

static void weights_in_normalised_branches_have_no_size(void **state) {
    (void)state;
    chain c;
    open_blocks(&c, BP_NORM_BATCH);
    blocks_pass_on(&c, sqrt(1 + 81));
    for (uint32_t i = 1; i < c.n_layers; i++) c.weight_rms[i] *= 9;
    chain_step(&c, 0);
    assert_non_null(chain_find(&c, BP_PROBLEM_EXPLODING_GRADIENT));
    assert_null(chain_find(&c, BP_PROBLEM_WEIGHTS_TOO_LARGE));
    chain_close(&c);
}

static void a_first_pass_that_overflows_in_blocks_is_blamed_on_their_weights(void **state) {
    (void)state;
    chain c;
    open_blocks(&c, BP_NORM_NONE);
    for (uint32_t i = 1; i < c.n_layers; i++) c.weight_rms[i] *= 3;
    chain_fill(&c, 0);
    for (uint32_t i = 1; i <= c.n_layers; i++)
        bp_record_set(&c.record, BP_Q_ERROR_NORM, i, (double)NAN);
    bp_record_set(&c.record, BP_Q_ACTIVATION_INF, 12, 5);
    bp_diagnosis_step(c.diagnosis, &c.record);
    assert_int_equal(bp_diagnosis_finding(c.diagnosis, 0)->problem, BP_PROBLEM_WEIGHTS_TOO_LARGE);
    chain_close(&c);
}

/* Frozen layers' weights are not told where only what is trained is looked at. */
static void frozen_weights_are_known_by_their_initialiser(void **state) {
    (void)state;
    for (int known = 0; known < 2; known++) {
        chain c;
        chain_open(&c, 10, BP_ACTIVATION_TANH, BP_NORM_NONE);
        bp_layer *frozen = (bp_layer *)(uintptr_t)bp_model_layer(c.model, 5);
        frozen->frozen = true;
        frozen->weight_init.kind = known ? BP_INIT_NORMAL : 0;
        frozen->weight_init.parameter = 1e-5;
        c.gain[5] = 8e-5;
        c.loss = CHAIN_TRIVIAL;
        chain_starve_below(&c, 5);
        for (int64_t step = 0; step < 60; step++) {
            chain_fill(&c, step);
            bp_record_set(&c.record, BP_Q_WEIGHT_RMS, 5, (double)NAN);
            c.record.measured[bp_record_cell(&c.record, BP_Q_WEIGHT_RMS, 5)] = 0;
            bp_diagnosis_step(c.diagnosis, &c.record);
        }
        const bp_finding *root = bp_diagnosis_finding(c.diagnosis, 0);
        assert_int_equal(root->problem,
                         known ? BP_PROBLEM_WEIGHTS_TOO_SMALL : BP_PROBLEM_VANISHING_GRADIENT);
        if (known) assert_true(fabs(bp_finding_evidence(root, "weight_std") - 1e-5) < 1e-9);
        chain_close(&c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(death_after_a_jump_hangs_under_it),
        cmocka_unit_test(a_jump_long_before_is_not_what_it_died_of),
        cmocka_unit_test(what_was_dead_before_the_jump_is_not_what_it_died_of),
        cmocka_unit_test(later_jumps_do_not_move_the_onset),
        cmocka_unit_test(a_jump_that_the_loss_does_not_show_kills_nothing),
        cmocka_unit_test(a_jump_among_light_steps_shows_in_the_weights),
        cmocka_unit_test(saturated_layers_that_learn_nothing_are_blamed_on_their_weights),
        cmocka_unit_test(too_large_weights_in_branches_are_blamed),
        cmocka_unit_test(a_projection_on_the_skip_is_no_branch),
        cmocka_unit_test(branches_that_grow_for_another_reason_are_not_blamed),
        cmocka_unit_test(weights_in_normalised_branches_have_no_size),
        cmocka_unit_test(frozen_weights_are_known_by_their_initialiser),
        cmocka_unit_test(a_first_pass_that_overflows_in_blocks_is_blamed_on_their_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
