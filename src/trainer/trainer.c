/* SPDX-License-Identifier: Apache-2.0 */
/* A training run: the next batch forward, its loss, backward, update; and evaluation. */
#include "trainer/trainer.h"
#include "trainer/check.h"
#include "trainer/gemm.h"
#include "trainer/run.h"

#include <math.h>
#include <string.h>

/* --- open and close --------------------------------------------------------------------------- */

/* What the data decide of the recipe. */
static void complete_recipe(bp_model *model, const bp_dataset *dataset, int64_t n_ranks) {
    bp_recipe recipe = *bp_model_recipe(model);
    const int64_t samples = dataset->train.n, most = (samples + n_ranks - 1) / n_ranks;
    if (recipe.batch > most) recipe.batch = most;
    recipe.train_samples = samples;
    recipe.epoch_steps =
        bp_epoch_steps(samples, recipe.batch * n_ranks, bp_has_batch_norm(model) ? 2 * n_ranks : 1);
    recipe.trivial_loss = bp_dataset_trivial_loss(dataset, &recipe);
    recipe.n_outputs = dataset->n_outputs;
    /* Accuracy by output is another than that of the most frequent class. */
    recipe.chance_accuracy =
        recipe.loss == BP_BINARY_CROSS_ENTROPY ? (double)NAN : dataset->chance_accuracy;
    bp_model_set_recipe(model, &recipe);
}

static bp_status open_parts(bp_trainer *trainer, bp_error *error) {
    bp_status status = bp_batches_open(&trainer->batches, trainer->dataset, &trainer->recipe,
                                       &trainer->ranks, &trainer->allocator, error);
    if (status == BP_OK)
        status = bp_network_open(&trainer->network, trainer->model, &trainer->allocator, error);
    return status;
}

/* Summed with zeros, the parameters of rank 0 are everybody's. */
static void share_parameters(bp_trainer *trainer) {
    const bp_network *network = &trainer->network;
    if (trainer->ranks.n_ranks == 1) return;
    if (trainer->ranks.rank != 0)
        memset(network->values, 0, (size_t)network->n_values * sizeof *network->values);
    trainer->ranks.sum(trainer->ranks.context, network->values, network->n_values);
}

bp_status bp_trainer_open_ranked(bp_trainer **trainer, bp_model *model, const bp_dataset *dataset,
                                 const bp_ranks *ranks, const bp_allocator *allocator,
                                 bp_error *error) {
    static const bp_ranks alone = {.n_ranks = 1};
    if (!ranks) ranks = &alone;
    bp_status status = bp_check_recipe(bp_model_recipe(model), error);
    if (status != BP_OK) return status;
    complete_recipe(model, dataset, ranks->n_ranks);
    status = bp_check_network(model, dataset, error);
    if (status != BP_OK) return status;
    allocator = bp_allocator_or_system(allocator);
    bp_trainer *opened = bp_allocate(allocator, 1, sizeof *opened);
    if (!opened) return bp_fail(error, BP_ERROR_MEMORY, "no memory for a trainer");
    opened->allocator = *allocator;
    opened->model = model;
    opened->dataset = dataset;
    opened->recipe = *bp_model_recipe(model);
    opened->ranks = *ranks;
    bp_gemm_use_one_thread();
    status = open_parts(opened, error);
    if (status != BP_OK) {
        bp_trainer_close(opened);
        return status;
    }
    bp_share share;
    const bp_part first = bp_batches_gather(&opened->batches, 0, &share);
    bp_network_lsuv(&opened->network, first.inputs, first.n);
    share_parameters(opened);
    *trainer = opened;
    return BP_OK;
}

bp_status bp_trainer_open(bp_trainer **trainer, bp_model *model, const bp_dataset *dataset,
                          const bp_allocator *allocator, bp_error *error) {
    return bp_trainer_open_ranked(trainer, model, dataset, NULL, allocator, error);
}

void bp_trainer_close(bp_trainer *trainer) {
    if (!trainer) return;
    const bp_allocator allocator = trainer->allocator;
    bp_network_close(&trainer->network);
    bp_batches_close(&trainer->batches, &allocator);
    bp_release(&allocator, trainer, 1, sizeof *trainer);
}

void bp_trainer_observe(bp_trainer *trainer, const bp_observer *observer) {
    trainer->observer = observer;
}

int64_t bp_trainer_steps_done(const bp_trainer *trainer) {
    return trainer->steps_done;
}

int64_t bp_trainer_bytes(const bp_trainer *trainer) {
    return (int64_t)(trainer->network.arena.block_bytes + trainer->batches.arena.block_bytes);
}

size_t bp_trainer_n_parameters(const bp_trainer *trainer) {
    return trainer->network.n_parameters;
}

const bp_parameter *bp_trainer_parameter(const bp_trainer *trainer, size_t index) {
    return index < trainer->network.n_parameters ? &trainer->network.parameters[index].parameter
                                                 : NULL;
}

/* --- a step ----------------------------------------------------------------------------------- */

static bp_teller begin_step(const bp_trainer *trainer, int64_t samples) {
    const bp_recipe *recipe = &trainer->recipe;
    const bp_step step = {.struct_size = sizeof step,
                          .step = trainer->steps_done,
                          .samples = samples,
                          .loss_terms = bp_loss_terms(recipe->loss, samples, recipe->n_outputs),
                          .learning_rate = bp_recipe_learning_rate(recipe, trainer->steps_done)};
    return bp_tell_begin(trainer->observer, &step);
}

static void tell_parameters(const bp_trainer *trainer, const bp_teller *teller) {
    for (size_t i = 0; i < trainer->network.n_parameters; i++) {
        const bp_parameter *parameter = &trainer->network.parameters[i].parameter;
        bp_tell_tensor(teller, parameter->layer, BP_ROLE_PARAMETER, parameter->slot,
                       &parameter->value);
    }
}

static void tell_gradients(const bp_trainer *trainer, const bp_teller *teller) {
    for (size_t i = 0; i < trainer->network.n_parameters; i++) {
        const bp_parameter *parameter = &trainer->network.parameters[i].parameter;
        if (parameter->trained)
            bp_tell_tensor(teller, parameter->layer, BP_ROLE_GRADIENT, parameter->slot,
                           &parameter->gradient);
    }
}

/* What only a full step is asked for besides its tensors. */
static bool wants_scalars(const bp_teller *teller) {
    return bp_teller_wants(teller, 0, BP_ROLE_ACTIVATION);
}

static void tell_targets(const bp_trainer *trainer, const bp_part *batch, const bp_teller *teller) {
    const bp_real *targets = batch->targets; /* NULL: the loss goes by the classes */
    const int64_t count = batch->n * (targets ? trainer->recipe.n_outputs : 1);
    double least = (double)INFINITY, most = -(double)INFINITY;
    for (int64_t i = 0; i < count; i++) { /* a NaN is neither */
        const double target = targets ? (double)targets[i] : batch->classes[i];
        if (target < least) least = target;
        if (target > most) most = target;
    }
    if (least > most) return;
    bp_tell_scalar(teller, BP_METRIC_TARGET_MIN, least);
    bp_tell_scalar(teller, BP_METRIC_TARGET_MAX, most);
}

static void clip_gradients(const bp_trainer *trainer, const bp_teller *teller) {
    const bp_network *network = &trainer->network;
    double norm;
    const bool asked = wants_scalars(teller);
    if (!bp_clips(&trainer->recipe)) return;
    bp_clip_gradients(&trainer->recipe, network->n_values, network->gradients,
                      asked ? &norm : NULL);
    if (asked) bp_tell_scalar(teller, BP_METRIC_UNCLIPPED_NORM, norm);
}

/* The losses of this process's rows; their derivative goes to where the backward pass begins. */
static bp_loss_sum forward(bp_trainer *trainer, const bp_pass *pass, const bp_part *batch,
                           const bp_teller *teller) {
    bp_network *network = &trainer->network;
    const bp_node *last = &network->nodes[network->n_layers];
    if (batch->n == 0) return (bp_loss_sum){0};
    const bp_real *output = bp_network_forward(network, pass, batch->inputs, batch->n, teller);
    return bp_loss_of(&trainer->recipe, batch->n, last->units, output, batch->classes,
                      batch->targets, last->error);
}

/* The mean loss over the rows of all processes. */
static double share_loss(const bp_trainer *trainer, const bp_loss_sum *own,
                         const bp_teller *teller) {
    double sums[4] = {own->sum, (double)own->terms, (double)own->correct, (double)own->judged};
    if (trainer->ranks.n_ranks > 1) trainer->ranks.sum_f64(trainer->ranks.context, sums, 4);
    bp_tell_scalar(teller, BP_METRIC_LOSS, sums[0] / sums[1]);
    if (sums[3] > 0) bp_tell_scalar(teller, BP_METRIC_TRAIN_ACCURACY, sums[2] / sums[3]);
    return sums[0] / sums[1];
}

/* The gradients of the mean over the own rows become those of the mean over all rows. */
static void share_gradients(const bp_trainer *trainer, const bp_share *share) {
    const bp_network *network = &trainer->network;
    const bp_real part = (bp_real)((double)share->n / (double)share->whole);
    if (trainer->ranks.n_ranks == 1) return;
    for (int64_t i = 0; i < network->n_values; i++)
        network->gradients[i] = share->n > 0 ? network->gradients[i] * part : 0;
    trainer->ranks.sum(trainer->ranks.context, network->gradients, network->n_values);
}

double bp_trainer_step(bp_trainer *trainer) {
    bp_network *network = &trainer->network;
    bp_share share;
    const bp_part batch = bp_batches_gather(&trainer->batches, trainer->steps_done, &share);
    const bp_teller teller = begin_step(trainer, batch.n);
    const bp_pass pass = {.training = true,
                          .seed = trainer->recipe.seed,
                          .step = trainer->steps_done,
                          .first_sample = share.first};
    if (batch.n > 0)
        bp_tell_matrix(&teller, 0, BP_ROLE_ACTIVATION, batch.inputs, batch.n,
                       network->nodes[0].units);
    tell_parameters(trainer, &teller);
    if (wants_scalars(&teller)) tell_targets(trainer, &batch, &teller);
    const bp_loss_sum own = forward(trainer, &pass, &batch, &teller);
    const double loss = share_loss(trainer, &own, &teller);
    if (batch.n > 0) bp_network_backward(network, &pass, batch.n, &teller);
    share_gradients(trainer, &share);
    clip_gradients(trainer, &teller);
    tell_gradients(trainer, &teller);
    const bp_update update = {.recipe = &trainer->recipe,
                              .learning_rate =
                                  bp_recipe_learning_rate(&trainer->recipe, trainer->steps_done),
                              .number = trainer->steps_done + 1};
    bp_network_update(network, &update, &teller);
    bp_tell_end(&teller);
    trainer->steps_done++;
    return loss;
}

/* --- evaluation ------------------------------------------------------------------------------- */

bp_score bp_trainer_evaluate(bp_trainer *trainer, const bp_part *part) {
    bp_network *network = &trainer->network;
    const bp_teller nobody = {0};
    const bp_pass pass = {.training = false};
    const int64_t units = network->nodes[0].units, m = trainer->recipe.n_outputs;
    bp_loss_sum total = {0};
    for (int64_t first = 0; first < part->n; first += network->rows) {
        const int64_t left = part->n - first, n = left < network->rows ? left : network->rows;
        const bp_real *output =
            bp_network_forward(network, &pass, part->inputs + first * units, n, &nobody);
        const bp_loss_sum sum =
            bp_loss_of(&trainer->recipe, n, m, output, part->classes ? part->classes + first : NULL,
                       part->targets + first * m, NULL);
        total.sum += sum.sum;
        total.terms += sum.terms;
        total.correct += sum.correct;
        total.judged += sum.judged;
    }
    return (bp_score){.loss = total.sum / (double)total.terms,
                      .accuracy = total.judged ? (double)total.correct / (double)total.judged
                                               : (double)NAN};
}
