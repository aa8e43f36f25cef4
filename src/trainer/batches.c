/* SPDX-License-Identifier: Apache-2.0 */
/* Permutation and gathering. */
#include "trainer/batches.h"
#include "trainer/operators.h"

#include <string.h>

int64_t bp_epoch_steps(int64_t samples, int64_t batch, int64_t least) {
    return samples / batch + (samples % batch >= least ? 1 : 0);
}

static void lay_out(bp_batches *batches) {
    bp_arena *arena = &batches->arena;
    const bp_dataset *dataset = batches->dataset;
    batches->order = bp_arena_take(arena, dataset->train.n, 1, sizeof *batches->order);
    batches->inputs = bp_arena_take(arena, batches->size, batches->units, sizeof *batches->inputs);
    if (batches->wants_targets)
        batches->targets =
            bp_arena_take(arena, batches->size, dataset->n_outputs, sizeof *batches->targets);
    if (dataset->has_classes)
        batches->classes = bp_arena_take(arena, batches->size, 1, sizeof *batches->classes);
}

bp_status bp_batches_open(bp_batches *batches, const bp_dataset *dataset, const bp_recipe *recipe,
                          const bp_ranks *ranks, const bp_allocator *allocator, bp_error *error) {
    const int64_t *shape = dataset->input_shape;
    *batches = (bp_batches){.dataset = dataset,
                            .size = recipe->batch,
                            .epoch_steps = recipe->epoch_steps,
                            .units = shape[0] * shape[1] * shape[2],
                            .wants_targets = recipe->loss != BP_CROSS_ENTROPY,
                            .rank = ranks->rank,
                            .n_ranks = ranks->n_ranks,
                            .seed = recipe->seed,
                            .epoch = -1};
    lay_out(batches);
    const bp_status status = bp_arena_fill(&batches->arena, "a batch", allocator, error);
    if (status == BP_OK) lay_out(batches);
    return status;
}

void bp_batches_close(bp_batches *batches, const bp_allocator *allocator) {
    bp_arena_release(&batches->arena, allocator);
}

static void shuffle(bp_batches *batches, int64_t epoch) {
    const bp_random_key key = {
        .seed = batches->seed, .purpose = BP_PURPOSE_SHUFFLE, .step = (uint32_t)epoch};
    bp_random_permutation(&key, batches->order, (uint32_t)batches->dataset->train.n);
    batches->epoch = epoch;
}

/* Full batches are cut evenly; a short one as evenly as it goes. */
static bp_share share_of(const bp_batches *batches, int64_t left) {
    const int64_t all = batches->size * batches->n_ranks, whole = left < all ? left : all;
    const int64_t first = whole * batches->rank / batches->n_ranks;
    return (bp_share){whole * (batches->rank + 1) / batches->n_ranks - first, first, whole};
}

bp_part bp_batches_gather(bp_batches *batches, int64_t step, bp_share *share) {
    const bp_part *train = &batches->dataset->train;
    const int64_t epoch = step / batches->epoch_steps;
    const int64_t begin = step % batches->epoch_steps * batches->size * batches->n_ranks;
    if (epoch != batches->epoch) shuffle(batches, epoch);
    *share = share_of(batches, train->n - begin);
    const size_t units = (size_t)batches->units, m = (size_t)batches->dataset->n_outputs;
    for (int64_t i = 0; i < share->n; i++) {
        const size_t to = (size_t)i, from = batches->order[begin + share->first + i];
        memcpy(batches->inputs + to * units, train->inputs + from * units,
               units * sizeof *batches->inputs);
        if (batches->wants_targets)
            memcpy(batches->targets + to * m, train->targets + from * m,
                   m * sizeof *batches->targets);
        if (batches->classes) batches->classes[to] = train->classes[from];
    }
    return (bp_part){share->n, batches->inputs, batches->classes, batches->targets};
}
