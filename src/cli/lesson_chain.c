/* SPDX-License-Identifier: Apache-2.0 */
/* Chains of single units: a layer makes 1 of 1 (w · 1 + (1 − w)) and passes on w of the error
 * signal, so that what the chain rule does is all there is to see. Real networks of the trainer,
 * listened to by an observer; nothing is worked out beside them. */
#include "cli/lesson.h"

#include <backprobe/train.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#define FACTORS 10 /* between the first layer and the last */
#define MAX_LAYERS 2048

/* What one step of a chain told, by layer. */
typedef struct told {
    uint32_t n_layers;
    double loss;
    double gradient[MAX_LAYERS + 1]; /* dL/dw */
    double before[MAX_LAYERS + 1], after[MAX_LAYERS + 1];
    uint32_t wanted[MAX_LAYERS + 1];
} told;

typedef struct chain {
    bp_model *model;
    bp_dataset *dataset;
    bp_trainer *trainer;
    bp_observer observer;
    told told;
} chain;

static bp_plan on_begin(void *context, const bp_step *step) {
    told *t = context;
    (void)step;
    for (uint32_t l = 1; l <= t->n_layers; l++) t->wanted[l] = 1u << BP_ROLE_UPDATE;
    return (bp_plan){t->wanted, t->n_layers};
}

static double number_of(const bp_tensor *tensor) {
    return (double)*(const float *)tensor->data;
}

static void on_update(void *context, uint32_t layer, bp_slot slot, const bp_tensor *gradient,
                      const bp_tensor *before, const bp_tensor *after) {
    told *t = context;
    if (slot != BP_SLOT_WEIGHT) return;
    t->gradient[layer] = number_of(gradient);
    t->before[layer] = number_of(before);
    t->after[layer] = number_of(after);
}

static void on_scalar(void *context, bp_metric metric, double value) {
    if (metric == BP_METRIC_LOSS) ((told *)context)->loss = value;
}

static void close_chain(chain *c) {
    bp_trainer_close(c->trainer);
    bp_dataset_close(c->dataset);
    bp_model_close(c->model);
}

static bp_status add_layers(chain *c, double factor, bp_error *error) {
    bp_status status = BP_OK;
    for (uint32_t l = 0; l < c->told.n_layers && status == BP_OK; l++) {
        const bp_layer layer = {.kind = BP_LAYER_DENSE,
                                .has_bias = true,
                                .output_shape = {1, 1, 1},
                                .weight_init = {BP_INIT_CONSTANT, factor},
                                .bias_init = {BP_INIT_CONSTANT, 1 - factor}};
        status = bp_model_add_layer(c->model, &layer, NULL, error);
    }
    return status;
}

/* n_layers layers, each of which passes on `factor`; the loss's own derivative is 1. */
static bp_status open_chain(chain *c, uint32_t n_layers, double factor, double rate,
                            bp_error *error) {
    static const int64_t shape[3] = {1, 1, 1};
    const float input = 1, target = 0.5F; /* L = (1 - 0.5)^2, dL/dy = 1 */
    const bp_part sample = {.n = 1, .inputs = &input, .targets = &target};
    const bp_recipe recipe = {.loss = BP_MSE,
                              .optimiser = BP_SGD,
                              .learning_rate = rate,
                              .batch = 1,
                              .epochs = 1,
                              .seed = 1};
    *c = (chain){.told = {.n_layers = n_layers}};
    bp_status status = bp_model_open(&c->model, NULL);
    if (status == BP_OK) status = add_layers(c, factor, error);
    if (status == BP_OK) status = bp_model_set_input(c->model, shape, error);
    if (status == BP_OK) bp_model_set_recipe(c->model, &recipe);
    if (status == BP_OK)
        status = bp_dataset_from_memory(&c->dataset, "one number", shape, 1, &sample, NULL, NULL,
                                        NULL, error);
    if (status == BP_OK) status = bp_trainer_open(&c->trainer, c->model, c->dataset, NULL, error);
    if (status != BP_OK) {
        close_chain(c);
        return status;
    }
    c->observer = (bp_observer){
        .context = &c->told, .step_begin = on_begin, .update = on_update, .scalar = on_scalar};
    bp_trainer_observe(c->trainer, &c->observer);
    return BP_OK;
}

/* The first step of a chain, told. */
static bp_status step_once(told *result, uint32_t n_layers, double factor, double rate,
                           bp_error *error) {
    static chain c; /* large; one lesson at a time */
    const bp_status status = open_chain(&c, n_layers, factor, rate, error);
    if (status != BP_OK) return status;
    bp_trainer_step(c.trainer);
    *result = c.told;
    close_chain(&c);
    return BP_OK;
}

static void put(bp_page *page, bp_ink ink, int columns, double value, int digits) {
    char text[32];
    bp_page_cell(page, ink, columns, true, bp_number_text(text, sizeof text, value, digits));
}

/* --- 1: products of factors ---------------------------------------------------------------------
 */

bp_status bp_lesson_factors(bp_page *page, bp_error *error) {
    static told small, large;
    bp_status status = step_once(&small, FACTORS + 1, 0.1, 0, error);
    if (status == BP_OK) status = step_once(&large, FACTORS + 1, 2, 0, error);
    if (status != BP_OK) return status;
    bp_lesson_say(page,
                  "Two chains of %d layers with one unit each. Backwards, from the loss to the "
                  "input, a layer of the left chain passes on 0.1 of the error signal, one of the "
                  "right chain 2. By the chain rule dL/dw of a layer is the product of the factors "
                  "of all later layers.",
                  FACTORS + 1);
    bp_lesson_space(page);
    bp_page_put(page, BP_INK_BOLD, "layer   dL/dw     0.1^k                dL/dw     2^k");
    bp_page_end_line(page);
    const int bar = page->width >= 76 ? 9 : 0;
    for (uint32_t l = FACTORS + 1; l >= 1; l--) {
        const double k = FACTORS + 1 - l;
        bp_page_add(page, BP_INK_PLAIN, "%5u", l);
        put(page, BP_INK_PLAIN, 8, small.gradient[l], 3);
        put(page, BP_INK_DIM, 10, pow(0.1, k), 3);
        bp_page_put(page, BP_INK_PLAIN, "  ");
        bp_lesson_bar(page, BP_INK_HINT, bar, 1 + log10(fabs(small.gradient[l])) / FACTORS);
        put(page, BP_INK_PLAIN, 8, large.gradient[l], 5);
        put(page, BP_INK_DIM, 9, pow(2, k), 5);
        bp_page_put(page, BP_INK_PLAIN, "  ");
        bp_lesson_bar(page, BP_INK_WARNING, bar, log2(fabs(large.gradient[l])) / FACTORS);
        bp_page_end_line(page);
    }
    bp_lesson_space(page);
    char ratio[2][32];
    bp_lesson_say(page,
                  "The first layer's gradient is %s of the last's on the left, %s times the last's "
                  "on the right: it vanishes, or it explodes. (Bars are logarithmic.)",
                  bp_number_text(ratio[0], 32, small.gradient[1] / small.gradient[FACTORS + 1], 4),
                  bp_number_text(ratio[1], 32, large.gradient[1] / large.gradient[FACTORS + 1], 5));
    return BP_OK;
}

/* --- 2: w_new = w_old - rate dL/dw in float32 ---------------------------------------------------
 */

/* Half of the distance to the next float32: what is smaller than this is rounded away. */
static double half_unit(double w) {
    const float at = (float)w;
    return ((double)nextafterf(fabsf(at), INFINITY) - fabs((double)at)) / 2;
}

static void put_update(bp_page *page, const told *t, uint32_t l, double rate) {
    const bool stays = t->before[l] == t->after[l];
    bp_page_add(page, BP_INK_PLAIN, "%5u", l);
    put(page, BP_INK_PLAIN, 14, t->before[l], 9);
    put(page, BP_INK_PLAIN, 12, rate * t->gradient[l], 3);
    put(page, BP_INK_DIM, 12, half_unit(t->before[l]), 3);
    put(page, stays ? BP_INK_WARNING : BP_INK_PLAIN, 14, t->after[l], 9);
    bp_page_put(page, stays ? BP_INK_WARNING : BP_INK_PLAIN, stays ? "  the same" : "  moved");
    bp_page_end_line(page);
}

static uint32_t count_still(const told *t) {
    uint32_t n = 0;
    for (uint32_t l = 1; l <= t->n_layers; l++) n += t->before[l] == t->after[l];
    return n;
}

bp_status bp_lesson_update(bp_page *page, bp_error *error) {
    static told t;
    const double rate = 0.1;
    double small_rate = rate;
    bp_status status = step_once(&t, FACTORS + 1, 0.1, rate, error);
    if (status != BP_OK) return status;
    bp_lesson_say(page,
                  "A weight moves by  w_new = w_old − η · dL/dw.  Here are the updates of the "
                  "chain with the factors 0.1, with η = 0.1. float32 keeps about seven "
                  "digits: a change below half of the last digit's unit is rounded away.");
    bp_lesson_space(page);
    bp_page_put(page, BP_INK_BOLD, "layer         w_old   η · dL/dw   half unit         w_new");
    bp_page_end_line(page);
    for (uint32_t l = FACTORS + 1; l >= 1; l -= 2) {
        put_update(page, &t, l, rate);
        if (l == 1) break;
    }
    bp_lesson_space(page);
    const uint32_t still = count_still(&t);
    bp_lesson_say(page,
                  "%u of %u weights are bit for bit what they were. The early layers do not "
                  "learn, however long one trains.",
                  still, t.n_layers);
    bp_lesson_space(page);
    /* The last layer's gradient is 1: which rate is too small even for that? */
    do {
        small_rate /= 10;
        status = step_once(&t, FACTORS + 1, 0.1, small_rate, error);
        if (status != BP_OK) return status;
    } while (t.before[t.n_layers] != t.after[t.n_layers]);
    char text[32];
    bp_lesson_say(page,
                  "A learning rate that is too small does the same where nothing vanishes: "
                  "the last layer, whose gradient is 1, with η = %s:",
                  bp_number_text(text, sizeof text, small_rate, 2));
    put_update(page, &t, t.n_layers, small_rate);
    return BP_OK;
}

/* --- 3: growth over depth and over steps until float32 ends -------------------------------------
 */

/* The shortest chain of factors 2 whose first gradient float32 cannot hold. */
static bp_status find_overflow(uint32_t *n_layers, double *last_finite, bp_error *error) {
    static told t;
    *last_finite = 0;
    for (uint32_t n = 16; n <= MAX_LAYERS; n++) {
        const bp_status status = step_once(&t, n, 2, 0, error);
        if (status != BP_OK) return status;
        *n_layers = n;
        if (!isfinite(t.gradient[1])) return BP_OK;
        *last_finite = t.gradient[1];
    }
    return BP_OK;
}

static uint32_t count_bad(const told *t) {
    uint32_t n = 0;
    for (uint32_t l = 1; l <= t->n_layers; l++) n += isfinite(t->after[l]) ? 0 : 1;
    return n;
}

static double largest(const told *t) {
    double most = 0;
    for (uint32_t l = 1; l <= t->n_layers; l++) {
        if (isnan(t->after[l])) return (double)NAN;
        most = fmax(most, fabs(t->after[l]));
    }
    return most;
}

bp_status bp_lesson_overflow(bp_page *page, bp_error *error) {
    enum { MOST_STEPS = 12 };
    static chain c;
    const double rate = 0.1;
    uint32_t n_layers;
    double last_finite;
    bp_status status = find_overflow(&n_layers, &last_finite, error);
    if (status == BP_OK) status = open_chain(&c, FACTORS + 1, 2, rate, error);
    if (status != BP_OK) return status;
    char number[32], limit[32];
    bp_lesson_say(page,
                  "Now the chain of %d layers with the factors 2 is trained, with η = 0.1. "
                  "Each step makes weights larger, and with them the factors of the next "
                  "step.",
                  FACTORS + 1);
    bp_lesson_space(page);
    bp_page_put(page, BP_INK_BOLD,
                "step        loss   first dL/dw   largest weight then   weights NaN or Inf");
    bp_page_end_line(page);
    int64_t nan_step = -1;
    for (int64_t step = 0; step < MOST_STEPS && nan_step < 0; step++) {
        bp_trainer_step(c.trainer);
        const uint32_t bad = count_bad(&c.told);
        bp_page_add(page, BP_INK_PLAIN, "%4" PRId64, step);
        put(page, BP_INK_PLAIN, 12, c.told.loss, 3);
        put(page, BP_INK_PLAIN, 14, c.told.gradient[1], 3);
        put(page, BP_INK_PLAIN, 22, largest(&c.told), 3);
        bp_page_add(page, bad ? BP_INK_ERROR : BP_INK_PLAIN, "%16u of %u", bad, c.told.n_layers);
        bp_page_end_line(page);
        if (isnan(largest(&c.told))) nan_step = step;
    }
    close_chain(&c);
    bp_lesson_space(page);
    if (nan_step >= 0)
        bp_lesson_say(page,
                      "After the update of step %" PRId64 " weights are NaN (not a number: "
                      "Inf − Inf, 0 · Inf). No later step can mend that.",
                      nan_step);
    bp_lesson_say(page,
                  "Depth alone can do it too: a chain of %u such layers has a first gradient "
                  "of %s, and with %u it is Inf before anything was learnt: float32 ends at "
                  "%s.",
                  n_layers - 1, bp_number_text(number, sizeof number, last_finite, 2), n_layers,
                  bp_number_text(limit, sizeof limit, (double)FLT_MAX, 2));
    return BP_OK;
}
