/* SPDX-License-Identifier: Apache-2.0 */
/* Small networks and data sets for the trainer's tests. */
#ifndef BP_TESTS_TRAINER_KIT_H
#define BP_TESTS_TRAINER_KIT_H

/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#include "trainer/operators.h"
#include "trainer/trainer.h"

/* Layers, initialised by PyTorch's default. */
bp_layer kit_dense(int64_t units, bp_activation activation);
bp_layer kit_normed(int64_t units, bp_activation activation, bp_norm norm, bool norm_last);
bp_layer kit_norm(bp_norm norm); /* standalone when it follows no dense layer */
bp_layer kit_activation(bp_activation activation);
bp_layer kit_pool(int32_t window); /* avg_pool */
bp_layer kit_max_pool(int32_t window);
bp_layer kit_conv(int64_t channels, int32_t kernel, int32_t stride, int32_t padding,
                  bp_activation activation);
bp_layer kit_dropout(double drop_fraction);
/* RNN (of tanh), GRU or LSTM */
bp_layer kit_recurrent(bp_layer_kind kind, int64_t units, bool return_sequences);
bp_layer kit_embedding(int64_t vocabulary, int64_t features);
/* Ends a block whose branch is the n_branch layers before. */
bp_layer kit_residual(uint32_t n_branch, double scale);

/* sgd, no momentum, learning rate 0: a step measures and changes nothing. */
bp_recipe kit_recipe(bp_loss loss, int64_t batch);

/* Ends at kind 0. Residual sums are joined to their blocks. */
bp_model *kit_model(const bp_layer *layers, const bp_recipe *recipe, const int64_t shape[3]);

/* Normally distributed inputs with random classes (or targets): n to train and n to validate. */
bp_dataset *kit_data(const int64_t shape[3], int64_t n_outputs, bool has_classes, int64_t n);

bp_trainer *kit_trainer(bp_model *model, const bp_dataset *dataset);

/* A layer's operator alone, for n samples, without parameters; shapes by the model. Keep the whole
 * until kit_operator_close. */
typedef struct kit_operator {
    bp_operator op;
    bp_model *model;
    bp_arena arena;
} kit_operator;
kit_operator kit_operator_open(bp_layer layer, const int64_t in_shape[3], int64_t n);
void kit_operator_close(kit_operator *alone);

/* count numbers from N(0, 1). */
void kit_random(uint32_t purpose, int64_t count, bp_real *values);

/* The owner's memory behind a view, to be changed. */
bp_real *kit_own(const bp_real *values);
bp_real *kit_values(const bp_tensor *tensor);

#endif
