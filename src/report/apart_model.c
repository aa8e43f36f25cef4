/* SPDX-License-Identifier: Apache-2.0 */
/* What two networks and their recipes do not share. */
#include "report/apart.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

typedef struct listing {
    bp_apart_setting *settings;
    uint32_t n;
} listing;

static void add_words(listing *list, const char *key, const char *a, const char *b) {
    a = a ? a : "none";
    b = b ? b : "none";
    if (strcmp(a, b) == 0 || list->n == BP_APART_MAX_SETTINGS) return;
    bp_apart_setting *setting = &list->settings[list->n++];
    setting->key = key;
    snprintf(setting->a, sizeof setting->a, "%s", a);
    snprintf(setting->b, sizeof setting->b, "%s", b);
}

static void add_real(listing *list, const char *key, double a, double b) {
    char text_a[40], text_b[40];
    if (a == b || (isnan(a) && isnan(b))) return;
    bp_number_exact(text_a, sizeof text_a, a);
    bp_number_exact(text_b, sizeof text_b, b);
    add_words(list, key, text_a, text_b);
}

static void add_whole(listing *list, const char *key, int64_t a, int64_t b) {
    char text_a[40], text_b[40];
    snprintf(text_a, sizeof text_a, "%" PRId64, a);
    snprintf(text_b, sizeof text_b, "%" PRId64, b);
    add_words(list, key, text_a, text_b);
}

static void add_flag(listing *list, const char *key, bool a, bool b) {
    add_words(list, key, a ? "yes" : "no", b ? "yes" : "no");
}

uint32_t bp_apart_recipe(const bp_apart *apart, bp_apart_setting settings[BP_APART_MAX_SETTINGS]) {
    const bp_recipe *a = bp_model_recipe(apart->a), *b = bp_model_recipe(apart->b);
    listing list = {settings, 0};
    add_words(&list, "loss", bp_loss_name(a->loss), bp_loss_name(b->loss));
    add_words(&list, "optimiser", bp_optimiser_name(a->optimiser), bp_optimiser_name(b->optimiser));
    add_words(&list, "schedule", bp_schedule_name(a->schedule), bp_schedule_name(b->schedule));
#define REAL(field) add_real(&list, #field, a->field, b->field);
#define WHOLE(field) add_whole(&list, #field, (int64_t)a->field, (int64_t)b->field);
    REAL(learning_rate)
    REAL(momentum)
    REAL(beta1)
    REAL(beta2)
    REAL(epsilon)
    REAL(alpha)
    REAL(weight_decay)
    REAL(l1)
    REAL(l2)
    REAL(huber_delta)
    REAL(clip_norm)
    REAL(clip_value)
    REAL(warm_up_epochs)
    REAL(step_epochs)
    REAL(step_factor)
    REAL(final_learning_rate)
    WHOLE(batch)
    WHOLE(epochs)
    WHOLE(epoch_steps)
    WHOLE(train_samples)
    WHOLE(seed)
    WHOLE(n_outputs)
    REAL(trivial_loss)
    add_flag(&list, "nesterov", a->nesterov, b->nesterov);
    add_flag(&list, "unsupervised", a->unsupervised, b->unsupervised);
    return list.n;
}

static void add_init(listing *list, const char *key, const bp_init *a, const bp_init *b) {
    add_words(list, key, bp_init_name(a->kind), bp_init_name(b->kind));
    if (a->kind == b->kind) add_real(list, key, a->parameter, b->parameter);
}

uint32_t bp_apart_layer(const bp_apart *apart, uint32_t row,
                        bp_apart_setting settings[BP_APART_MAX_SETTINGS]) {
    listing list = {settings, 0};
    const bp_layer *a = bp_model_layer(apart->a, apart->row_a[row]);
    const bp_layer *b = bp_model_layer(apart->b, apart->row_b[row]);
    if (!a || !b) return 0;
    add_words(&list, "kind", bp_layer_kind_name(a->kind), bp_layer_kind_name(b->kind));
    add_words(&list, "activation", bp_activation_name(a->activation),
              bp_activation_name(b->activation));
    add_words(&list, "norm", bp_norm_name(a->norm), bp_norm_name(b->norm));
    add_init(&list, "init", &a->weight_init, &b->weight_init);
    add_init(&list, "bias_init", &a->bias_init, &b->bias_init);
    WHOLE(fan_in)
    WHOLE(fan_out)
    WHOLE(kernel)
    WHOLE(stride)
    REAL(drop_fraction)
    add_flag(&list, "frozen", a->frozen, b->frozen);
    return list.n;
}

bool bp_apart_networks(const bp_apart *apart) {
    bp_apart_setting settings[BP_APART_MAX_SETTINGS];
    if (bp_model_n_layers(apart->a) != bp_model_n_layers(apart->b)) return true;
    if (apart->n_rows != bp_model_n_layers(apart->a) + 1) return true;
    for (uint32_t row = 1; row < apart->n_rows; row++)
        if (bp_apart_layer(apart, row, settings) > 0) return true;
    return false;
}
