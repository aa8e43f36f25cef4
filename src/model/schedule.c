/* SPDX-License-Identifier: Apache-2.0 */
/* The learning rate of each step. */
#include "model/model.h"

#include <math.h>

#define PI 3.14159265358979323846

/* epoch: how many epochs are done at the step, a fraction too. */
static double scheduled(const bp_recipe *recipe, double epoch) {
    const double rate = recipe->learning_rate, last = recipe->final_learning_rate;
    switch (recipe->schedule) {
    case BP_SCHEDULE_STEP: /* a factor at the end of every step_epochs */
        return rate * pow(recipe->step_factor, floor(epoch / recipe->step_epochs + 1e-9));
    case BP_SCHEDULE_COSINE: /* half a wave over the epochs behind the warm-up */
        epoch -= recipe->warm_up_epochs;
        epoch /= fmax((double)recipe->epochs - recipe->warm_up_epochs, 1e-9);
        return last + 0.5 * (rate - last) * (1 + cos(PI * fmin(fmax(epoch, 0), 1)));
    case BP_SCHEDULE_CONSTANT:
        return rate;
    }
    return rate;
}

double bp_recipe_learning_rate(const bp_recipe *recipe, int64_t step) {
    const double epoch_steps = recipe->epoch_steps > 0 ? (double)recipe->epoch_steps : 1;
    const double rate = scheduled(recipe, (double)step / epoch_steps);
    const double warm_up = recipe->warm_up_epochs * epoch_steps;
    return (double)step < warm_up ? rate * ((double)step + 1) / ceil(warm_up) : rate;
}
