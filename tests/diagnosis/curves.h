/* SPDX-License-Identifier: Apache-2.0 */
/* Made-up losses of healthy runs of many styles, drawn by seed: exponential and power-law decay to
 * a floor, noise of batches (of small ones with heavy tails), warm-up, constant, cosine and step
 * schedules, wiggles at the edge of stability, short last batches, noisy validation. */
#ifndef BP_TESTS_DIAGNOSIS_CURVES_H
#define BP_TESTS_DIAGNOSIS_CURVES_H

#include "chain.h"

typedef enum curve_schedule { CURVE_CONSTANT, CURVE_COSINE, CURVE_STEPS } curve_schedule;

typedef struct curve_run {
    uint64_t state; /* of the random numbers */
    int64_t steps, epoch, warm_up, validation_every;
    double trivial, floor, time, power; /* power 0: exponential */
    double batch;                       /* samples */
    double noise;                       /* relative deviation of one sample's loss */
    curve_schedule schedule;
    double wiggle, period; /* relative amplitude; steps */
    double gap;            /* validation loss over training loss at the end */
    double validation_samples;
    bool has_accuracy, knows_trivial, is_sparse; /* sparse: full records now and then */
    double rate;                                 /* learning rate of the step, 1 at its height */
} curve_run;

static inline double curve_random(curve_run *run) { /* xorshift64*, Vigna 2016; 0 < x < 1 */
    run->state ^= run->state >> 12;
    run->state ^= run->state << 25;
    run->state ^= run->state >> 27;
    return ((double)((run->state * 0x2545F4914F6CDD1DU) >> 11) + 0.5) * 0x1p-53;
}

static inline double curve_between(curve_run *run, double low, double high) {
    return low + (high - low) * curve_random(run);
}

static inline double curve_between_logs(curve_run *run, double low, double high) {
    return low * pow(high / low, curve_random(run));
}

static inline double curve_normal(curve_run *run) {
    const double radius = sqrt(-2 * log(curve_random(run)));
    return radius * cos(6.283185307179586 * curve_random(run));
}

static inline bool curve_coin(curve_run *run, double share) {
    return curve_random(run) < share;
}

static inline void curve_draw(curve_run *run, uint64_t seed) {
    memset(run, 0, sizeof *run);
    run->state = (seed + 1) * 0x9E3779B97F4A7C15U;
    for (int i = 0; i < 10; i++) curve_random(run);
    run->steps = (int64_t)curve_between_logs(run, 100, 4000);
    run->epoch = (int64_t)curve_between_logs(run, 10, 400);
    run->trivial = curve_between_logs(run, 0.05, 10);
    run->floor = run->trivial * (curve_coin(run, 0.5) ? curve_between_logs(run, 1e-4, 0.1)
                                                      : curve_between(run, 0.1, 0.7));
    run->power = curve_coin(run, 0.5) ? curve_between(run, 0.3, 1.2) : 0;
    run->time = curve_between_logs(run, 5, 0.3 * (double)run->steps);
    run->batch = pow(2, floor(curve_between(run, 0, 10)));
    run->noise = curve_between(run, 0.5, 1.5);
    run->schedule = (curve_schedule)floor(curve_between(run, 0, 3));
    run->warm_up = curve_coin(run, 0.3) ? (int64_t)(0.1 * (double)run->steps) : 0;
    run->wiggle = curve_coin(run, 0.3) ? curve_between(run, 0.02, 0.2) : 0;
    run->period = curve_between(run, 2, 12);
    run->gap = curve_between(run, 1, fmin(2, 0.5 + 0.5 * run->trivial / run->floor));
    run->validation_samples = curve_between_logs(run, 100, 10000);
    run->has_accuracy = curve_coin(run, 0.5);
    run->knows_trivial = curve_coin(run, 0.8);
    run->is_sparse = curve_coin(run, 0.3);
    run->validation_every =
        curve_coin(run, 0.7) ? run->epoch : (int64_t)curve_between_logs(run, 1, 100);
    run->rate = 1;
}

/* What is expected at the step, without noise: 1 is the level of guessing, 0 the floor. */
static inline double curve_level(const curve_run *run, double step) {
    const double warm = (double)run->warm_up;
    const double worked = step < warm ? step * step / (2 * warm) : step - warm / 2;
    const double t = worked / run->time;
    return run->power > 0 ? pow(1 + t, -run->power) : exp(-t);
}

static inline double curve_rate(const curve_run *run, int64_t step) {
    const double at = (double)step / (double)run->steps;
    if (step < run->warm_up) return (double)(step + 1) / (double)run->warm_up;
    if (run->schedule == CURVE_COSINE) return 0.5 * (1 + cos(3.141592653589793 * at));
    if (run->schedule == CURVE_STEPS) return pow(0.1, floor(3 * at));
    return 1;
}

/* The mean of a batch's losses; one sample's are spread like exp(normal). */
static inline double curve_noisy(curve_run *run, double level, double samples) {
    if (samples >= 32)
        return fmax(0.05, 1 + run->noise / sqrt(samples) * curve_normal(run)) * level;
    double sum = 0;
    for (int i = 0; i < (int)samples; i++) {
        const double s = run->noise;
        sum += exp(s * curve_normal(run) - 0.5 * s * s);
    }
    return level * sum / samples;
}

static inline double curve_loss(curve_run *run, int64_t step) {
    run->rate = curve_rate(run, step);
    const double level = run->floor + (run->trivial - run->floor) * curve_level(run, (double)step);
    const double wiggle =
        1 + run->wiggle * run->rate * sin(6.283185307179586 * (double)step / run->period);
    const bool is_short = step % run->epoch == run->epoch - 1;
    return curve_noisy(run, level * wiggle,
                       is_short && run->batch > 4 ? run->batch / 4 : run->batch);
}

static inline double curve_validation_loss(curve_run *run, int64_t step) {
    const double level = curve_level(run, (double)step);
    const double loss = run->floor * run->gap + (run->trivial - run->floor * run->gap) * level;
    const double floor = fmax(loss, 0.02 * run->trivial);
    return floor * (1 + run->noise / sqrt(run->validation_samples) * curve_normal(run));
}

static inline double curve_share(curve_run *run, double expected) {
    const double p = fmin(fmax(expected, 0), 1), n = run->validation_samples;
    return fmin(fmax(p + sqrt(p * (1 - p) / n) * curve_normal(run), 0), 1);
}

static inline double curve_validation_accuracy(curve_run *run, int64_t step) {
    const double best = 1 - 0.5 * run->floor / run->trivial;
    return curve_share(run, 0.1 + (best - 0.1) * (1 - curve_level(run, (double)step)));
}

/* A chain whose recipe is the run's. */
static inline void curve_open(chain *c, const curve_run *run) {
    chain_open(c, 3, BP_ACTIVATION_RELU, BP_NORM_NONE);
    bp_recipe recipe = *bp_model_recipe(c->model);
    recipe.trivial_loss = run->knows_trivial ? run->trivial : (double)NAN;
    recipe.epoch_steps = run->epoch;
    recipe.batch = (int64_t)run->batch;
    recipe.chance_accuracy = run->has_accuracy ? 0.1 : (double)NAN;
    bp_model_set_recipe(c->model, &recipe);
}

static inline bool curve_is_validated(const curve_run *run, int64_t step) {
    return (step + 1) % run->validation_every == 0;
}

/* One step: NaN for a validation that there is not. */
static inline void curve_step(chain *c, const curve_run *run, int64_t step, double loss,
                              double validation_loss, double validation_accuracy) {
    const bool is_validated = !isnan(validation_loss) || !isnan(validation_accuracy);
    if (run->is_sparse && step % 13 && !is_validated) {
        bp_diagnosis_loss(c->diagnosis, step, loss);
        return;
    }
    c->loss = loss;
    chain_fill(c, step);
    bp_record_set(&c->record, BP_Q_LEARNING_RATE, 0, 0.1 * run->rate);
    bp_record_set(&c->record, BP_Q_SAMPLES, 0, run->batch);
    if (!isnan(validation_loss))
        bp_record_set(&c->record, BP_Q_VALIDATION_LOSS, 0, validation_loss);
    if (!isnan(validation_accuracy))
        bp_record_set(&c->record, BP_Q_VALIDATION_ACCURACY, 0, validation_accuracy);
    bp_diagnosis_step(c->diagnosis, &c->record);
}

static inline void curve_healthy_step(chain *c, curve_run *run, int64_t step) {
    const double loss = curve_loss(run, step);
    double validation[2] = {(double)NAN, (double)NAN};
    if (curve_is_validated(run, step)) {
        validation[0] = curve_validation_loss(run, step);
        if (run->has_accuracy) validation[1] = curve_validation_accuracy(run, step);
    }
    curve_step(c, run, step, loss, validation[0], validation[1]);
}

#endif
