/* SPDX-License-Identifier: Apache-2.0 */
/* Real networks on the digits: weight scales from far too small to far too large, and a network
 * that learns few samples by heart. */
#include "cli/lesson.h"

#include <backprobe/train.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#define MAX_LAYERS 32

typedef struct net {
    bp_model *model;
    bp_dataset *dataset;
    bp_trainer *trainer;
} net;

static void close_net(net *n) {
    bp_trainer_close(n->trainer);
    bp_dataset_close(n->dataset);
    bp_model_close(n->model);
}

static bp_status add_dense(bp_model *model, int64_t units, bp_activation activation, double gain,
                           bp_error *error) {
    const bp_layer layer = {.kind = BP_LAYER_DENSE,
                            .activation = activation,
                            .has_bias = true,
                            .output_shape = {units, 1, 1},
                            .weight_init = {BP_INIT_HE, gain},
                            .bias_init = {BP_INIT_ZEROS, 0}};
    return bp_model_add_layer(model, &layer, NULL, error);
}

/* `hidden` layers of ReLUs, weights `gain` times what He et al. advise, on the digits. */
static bp_status open_net(net *n, int hidden, int64_t units, double gain, const bp_recipe *recipe,
                          int64_t train_samples, bp_error *error) {
    const bp_data_source source = {.name = "digits", .train_samples = train_samples};
    *n = (net){NULL, NULL, NULL};
    bp_status status = bp_model_open(&n->model, NULL);
    for (int i = 0; i < hidden && status == BP_OK; i++)
        status = add_dense(n->model, units, BP_ACTIVATION_RELU, gain, error);
    if (status == BP_OK) status = add_dense(n->model, 10, BP_ACTIVATION_LINEAR, 1, error);
    if (status == BP_OK) status = bp_dataset_open_source(&n->dataset, &source, NULL, error);
    if (status == BP_OK) status = bp_model_set_input(n->model, n->dataset->input_shape, error);
    if (status == BP_OK) bp_model_set_recipe(n->model, recipe);
    if (status == BP_OK) status = bp_trainer_open(&n->trainer, n->model, n->dataset, NULL, error);
    if (status != BP_OK) close_net(n);
    return status;
}

/* --- 4: scales ----------------------------------------------------------------------------------
 */

#define DEPTH 12
#define EPOCHS 4
static const double scales[] = {0.1, 0.3, 0.5, 0.7, 0.85, 1, 1.2, 1.5, 2, 3, 5};
enum { N_SCALES = sizeof scales / sizeof *scales };
static const int drawn[] = {1, 5, 9}; /* of scales: error signal against depth */

typedef struct swept {
    double error[MAX_LAYERS]; /* rms of dL/da of each layer in the first step; NaN: not finite */
    double accuracy;
    bool finite; /* the loss at the end is */
    uint32_t wanted[MAX_LAYERS];
} swept;

static bp_plan on_begin(void *context, const bp_step *step) {
    swept *s = context;
    for (uint32_t l = 0; l <= DEPTH + 1; l++)
        s->wanted[l] = step->step == 0 ? 1u << BP_ROLE_ERROR_OUTPUT : 0;
    return (bp_plan){s->wanted, DEPTH + 1};
}

static void on_tensor(void *context, uint32_t layer, bp_role role, bp_slot slot,
                      const bp_tensor *tensor) {
    bp_summary summary;
    (void)role, (void)slot;
    bp_summarise(&summary, tensor);
    ((swept *)context)->error[layer] =
        bp_summary_non_finite(&summary) ? (double)NAN : bp_summary_rms(&summary);
}

static bp_status sweep_one(swept *s, double gain, bp_error *error) {
    const bp_recipe recipe = {.loss = BP_CROSS_ENTROPY,
                              .optimiser = BP_SGD,
                              .learning_rate = 0.02,
                              .batch = 32,
                              .epochs = EPOCHS,
                              .seed = 1};
    net n;
    const bp_status status = open_net(&n, DEPTH, 64, gain, &recipe, 0, error);
    if (status != BP_OK) return status;
    const bp_observer observer = {.context = s, .step_begin = on_begin, .tensor = on_tensor};
    bp_trainer_observe(n.trainer, &observer);
    const int64_t steps = EPOCHS * bp_model_recipe(n.model)->epoch_steps;
    for (int64_t i = 0; i < steps; i++) bp_trainer_step(n.trainer);
    const bp_score score = bp_trainer_evaluate(n.trainer, &n.dataset->test);
    s->accuracy = score.accuracy;
    s->finite = isfinite(score.loss);
    close_net(&n);
    return BP_OK;
}

static void put_depth(bp_page *page, const swept *all) {
    char text[64];
    bp_page_put(page, BP_INK_BOLD, "layer");
    for (int i = 0; i < 3; i++) {
        snprintf(text, sizeof text, "  weights × %s",
                 bp_number_text((char[32]){0}, 32, scales[drawn[i]], 2));
        bp_page_cell(page, BP_INK_BOLD, 23, false, text);
    }
    bp_page_end_line(page);
    for (uint32_t l = 1; l <= DEPTH + 1; l += 2) {
        bp_page_add(page, BP_INK_PLAIN, "%5u", l);
        for (int i = 0; i < 3; i++) {
            const double g = all[drawn[i]].error[l];
            bp_page_put(page, BP_INK_PLAIN, "  ");
            bp_page_cell(page, BP_INK_PLAIN, 8, true, bp_number_text(text, sizeof text, g, 2));
            bp_page_put(page, BP_INK_PLAIN, " ");
            /* from 1e-8 to 1e8 */
            bp_lesson_bar(page,
                          i == 0   ? BP_INK_HINT
                          : i == 1 ? BP_INK_NEW
                                   : BP_INK_WARNING,
                          12, (log10(g) + 8) / 16);
        }
        bp_page_end_line(page);
    }
}

bp_status bp_lesson_scales(bp_page *page, bp_error *error) {
    static swept all[N_SCALES];
    int best = 0;
    for (int i = 0; i < N_SCALES; i++) {
        const bp_status status = sweep_one(&all[i], scales[i], error);
        if (status != BP_OK) return status;
        if (all[i].accuracy > all[best].accuracy) best = i;
    }
    bp_lesson_say(
        page,
        "A network of %d layers of 64 ReLUs on 1,257 real digits, its weights scaled "
        "against what He et al. (2015) advise. Size of the error signal, the gradient with "
        "respect to a layer's output, in the first step (bars from 1e-8 to 1e8):",
        DEPTH);
    put_depth(page, all);
    char text[32];
    bp_page_add(page, BP_INK_BOLD, "weights ×   accuracy on the test digits after %d epochs",
                EPOCHS);
    bp_page_end_line(page);
    for (int i = 0; i < N_SCALES; i++) {
        bp_page_cell(page, BP_INK_PLAIN, 9, true, bp_number_text(text, sizeof text, scales[i], 2));
        bp_page_put(page, BP_INK_PLAIN, "   ");
        bp_lesson_bar(page, i == best ? BP_INK_NEW : BP_INK_PLAIN, 30, all[i].accuracy);
        bp_page_put(page, BP_INK_PLAIN, " ");
        bp_page_put(page, BP_INK_PLAIN,
                    all[i].finite ? bp_number_text(text, sizeof text, all[i].accuracy, 3)
                                  : "NaN, nothing is right");
        if (i == best) bp_page_put(page, BP_INK_NEW, "  best");
        bp_page_end_line(page);
    }
    return BP_OK;
}

/* --- 6: overfitting -----------------------------------------------------------------------------
 */

#define FEW 60
#define LONG_EPOCHS 64
#define ROWS 10

typedef struct curves {
    double train[LONG_EPOCHS], validation[LONG_EPOCHS], accuracy[LONG_EPOCHS];
    int best; /* epoch of the lowest validation loss */
} curves;

static bp_status learn_by_heart(curves *c, bp_error *error) {
    const bp_recipe recipe = {.loss = BP_CROSS_ENTROPY,
                              .optimiser = BP_ADAM,
                              .learning_rate = 0.01,
                              .beta1 = 0.9,
                              .beta2 = 0.999,
                              .epsilon = 1e-8,
                              .batch = 20,
                              .epochs = LONG_EPOCHS,
                              .seed = 1};
    net n;
    const bp_status status = open_net(&n, 2, 128, 1, &recipe, FEW, error);
    if (status != BP_OK) return status;
    c->best = 0;
    for (int epoch = 0; epoch < LONG_EPOCHS; epoch++) {
        for (int64_t i = 0; i < bp_model_recipe(n.model)->epoch_steps; i++)
            bp_trainer_step(n.trainer);
        const bp_score validation = bp_trainer_evaluate(n.trainer, &n.dataset->validation);
        c->train[epoch] = bp_trainer_evaluate(n.trainer, &n.dataset->train).loss;
        c->validation[epoch] = validation.loss;
        c->accuracy[epoch] = validation.accuracy;
        if (validation.loss < c->validation[c->best]) c->best = epoch;
    }
    close_net(&n);
    return BP_OK;
}

/* The row of a value, 0 at the top. */
static int row_of(double value, double high) {
    return (int)((1 - value / high) * (ROWS - 1) + 0.5);
}

static void draw(bp_page *page, const curves *c) {
    double high = 0;
    char text[32];
    for (int i = 0; i < LONG_EPOCHS; i++) high = fmax(high, fmax(c->train[i], c->validation[i]));
    const int step = page->width >= LONG_EPOCHS + 12 ? 1 : 2;
    for (int row = 0; row < ROWS; row++) {
        const double at = high * (1 - (double)row / (ROWS - 1));
        bp_page_cell(page, BP_INK_DIM, 9, true,
                     row % 3 == 0 ? bp_number_text(text, sizeof text, at, 2) : "");
        bp_page_put(page, BP_INK_DIM, " │");
        for (int i = 0; i < LONG_EPOCHS; i += step) {
            const bool train = row_of(c->train[i], high) == row;
            const bool validation = row_of(c->validation[i], high) == row;
            bp_page_put(page, validation ? BP_INK_WARNING : BP_INK_HINT,
                        validation ? "o"
                        : train    ? "·"
                                   : " ");
        }
        bp_page_end_line(page);
    }
}

bp_status bp_lesson_overfitting(bp_page *page, bp_error *error) {
    static curves c;
    const bp_status status = learn_by_heart(&c, error);
    if (status != BP_OK) return status;
    const int last = LONG_EPOCHS - 1;
    char number[5][32];
    bp_lesson_say(
        page,
        "The third trouble is another one: gradients are healthy, but there is too little "
        "to learn from. A network with two layers of 128 ReLUs sees %d digits for %d "
        "epochs. Loss by epoch:  · training   o validation",
        FEW, LONG_EPOCHS);
    bp_lesson_space(page);
    draw(page, &c);
    bp_lesson_space(page);
    bp_lesson_say(page,
                  "The training loss falls to %s. The validation loss is lowest after epoch %d, at "
                  "%s, and %s %s at the end.",
                  bp_number_text(number[0], 32, c.train[last], 2), c.best + 1,
                  bp_number_text(number[1], 32, c.validation[c.best], 3),
                  c.validation[last] > c.validation[c.best] ? "is up at" : "stands at",
                  bp_number_text(number[2], 32, c.validation[last], 3));
    bp_lesson_say(page,
                  "What the network learns after epoch %d it learns by heart: that is overfitting. "
                  "More data, dropout, weight decay, or stopping there help; backprobe train keeps "
                  "the state of the best epoch.",
                  c.best + 1);
    return BP_OK;
}
