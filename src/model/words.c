/* SPDX-License-Identifier: Apache-2.0 */
/* The words of model's lists: from number to name. */
#include "model/model.h"

typedef struct word {
    const char *name;
    int number;
} word;

#define WORD(id, name, number) {name, number},

static const word layer_kind_words[] = {BP_LAYER_KINDS(WORD){NULL, 0}};
static const word activation_words[] = {BP_ACTIVATIONS(WORD){NULL, 0}};
static const word norm_words[] = {BP_NORMS(WORD){NULL, 0}};
static const word init_words[] = {BP_INITS(WORD){NULL, 0}};
static const word loss_words[] = {BP_LOSSES(WORD){NULL, 0}};
static const word optimiser_words[] = {BP_OPTIMISERS(WORD){NULL, 0}};
static const word schedule_words[] = {BP_SCHEDULES(WORD){NULL, 0}};

static const char *name_of(const word *words, int number) {
    for (; words->name; words++)
        if (words->number == number) return words->name;
    return NULL;
}

const char *bp_layer_kind_name(bp_layer_kind kind) {
    return name_of(layer_kind_words, (int)kind);
}
const char *bp_activation_name(bp_activation activation) {
    return name_of(activation_words, (int)activation);
}
const char *bp_norm_name(bp_norm norm) {
    return name_of(norm_words, (int)norm);
}
const char *bp_init_name(bp_init_kind init) {
    return name_of(init_words, (int)init);
}
const char *bp_loss_name(bp_loss loss) {
    return name_of(loss_words, (int)loss);
}
const char *bp_optimiser_name(bp_optimiser optimiser) {
    return name_of(optimiser_words, (int)optimiser);
}
const char *bp_schedule_name(bp_schedule schedule) {
    return name_of(schedule_words, (int)schedule);
}
