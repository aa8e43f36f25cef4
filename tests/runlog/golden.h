/* SPDX-License-Identifier: Apache-2.0 */
/* What tests/golden/runlog-1b and runlog-1c tell, for who makes them and who reads them. */
#ifndef BP_TESTS_RUNLOG_GOLDEN_H
#define BP_TESTS_RUNLOG_GOLDEN_H

#include "fixture.h"

#define GOLDEN_SEGMENT_BYTES 9000
#define GOLDEN_MAX_BYTES 18500
#define GOLDEN_LOSSES ((int64_t)30)   /* steps before are whole, those from it on losses */
#define GOLDEN_FINDING ((int64_t)300) /* whole again */
#define GOLDEN_GROWN ((int64_t)301)   /* the network has a fourth layer */

static inline double golden_loss(int64_t step) {
    return step == 100 ? (double)INFINITY : 1.0 / (double)step;
}

static const bp_event golden_watch = {.kind = BP_EVENT_WATCH,
                                      .as.watch = {.step = 299,
                                                   .mode = BP_WATCH_BUDGET,
                                                   .every = 10,
                                                   .budget_fraction = 0.01,
                                                   .full_steps = 30,
                                                   .light_steps = 270,
                                                   .watch_seconds = 0.5,
                                                   .run_seconds = 64.0}};
static const bp_event golden_finding = {
    .kind = BP_EVENT_FINDING,
    .as.finding = {
        .step = 300, .since_step = 280, .problem = 2, .severity = 1, .state = BP_FINDING_OPENED}};
static const bp_event golden_checkpoint = {
    .kind = BP_EVENT_CHECKPOINT,
    .as.checkpoint = {.step = 300, .file = "step-000000300.safetensors"}};

static inline void golden_grow(bp_model *model) {
    const bp_layer layer = {.name = "added",
                            .kind = BP_LAYER_DENSE,
                            .activation = BP_ACTIVATION_RELU,
                            .norm = BP_NORM_NONE,
                            .has_bias = true,
                            .output_shape = {2, 1, 1},
                            .fan_in = 3,
                            .fan_out = 2,
                            .weight_init = {BP_INIT_HE, 1.0},
                            .bias_init = {BP_INIT_ZEROS, 0.0}};
    bp_error error;
    if (bp_model_add_layer(model, &layer, NULL, &error) != BP_OK) fail_msg("%s", error.text);
}

/* A network of a framework: the model of version 3. */
static inline bp_model *golden_framework_model(void) {
    bp_model *model = NULL;
    bp_error error;
    const bp_layer layers[] = {{.name = "net.0",
                                .kind = BP_LAYER_DENSE,
                                .activation = BP_ACTIVATION_SIGMOID,
                                .activation_name = "net.1",
                                .has_bias = true,
                                .output_shape = {4, 1, 1},
                                .fan_in = 2,
                                .fan_out = 4,
                                .weight_init = {BP_INIT_PYTORCH_DEFAULT, 1.0}},
                               {.name = "net.2",
                                .kind = BP_LAYER_DENSE,
                                .output_shape = {3, 1, 1},
                                .fan_in = 4,
                                .fan_out = 3,
                                .weight_init = {BP_INIT_NORMAL, 0.25}},
                               {.name = "head", .kind = BP_LAYER_OTHER}};
    const int64_t input[3] = {2, 1, 1};
    const bp_recipe recipe = {.loss = BP_LOSS_OTHER,
                              .optimiser = BP_ADAMW,
                              .learning_rate = 0.0625,
                              .trivial_loss = (double)NAN,
                              .chance_accuracy = (double)NAN,
                              .unsupervised = true};
    assert_int_equal(bp_model_open(&model, NULL), BP_OK);
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
        if (bp_model_add_layer(model, &layers[i], NULL, &error) != BP_OK)
            fail_msg("%s", error.text);
    if (bp_model_set_input_shape(model, input, &error) != BP_OK) fail_msg("%s", error.text);
    assert_int_equal(bp_model_set_origin(model, "pytorch"), BP_OK);
    bp_model_set_recipe(model, &recipe);
    return model;
}

/* Opens the record. */
static inline void golden_grown_record(bp_record *record, int64_t step) {
    assert_int_equal(bp_record_init(record, FIXTURE_LAYERS + 1, NULL), BP_OK);
    record->step = step;
    record->wall_time = 1700000000.0;
    bp_record_set(record, BP_Q_LOSS, 0, 0.25);
    bp_record_set(record, BP_Q_WEIGHT_RMS, FIXTURE_LAYERS + 1, 0.5);
}

#endif
