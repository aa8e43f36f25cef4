/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the corpus, and a network in words. */
#ifndef BP_TESTS_NETFILE_FIXTURE_H
#define BP_TESTS_NETFILE_FIXTURE_H

#include "netfile/netfile.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FIXTURE_PATH_BYTES 1024

/* A file of the source tree as a text; fails the test when it is missing. Freed by the caller. */
static inline char *fixture_read(const char *path, size_t *n_bytes) {
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("cannot open %s", path);
    char *text = calloc(1, BP_NETFILE_MAX_BYTES + 1);
    assert_non_null(text);
    *n_bytes = fread(text, 1, BP_NETFILE_MAX_BYTES, file);
    fclose(file);
    return text;
}

/* Calls visit for every file *.yaml of a folder and returns how many there were. */
static inline size_t fixture_each(const char *folder, void (*visit)(const char *path)) {
    struct dirent **entries;
    const int n = scandir(folder, &entries, NULL, alphasort);
    if (n < 0) fail_msg("cannot read the folder %s", folder);
    size_t n_visited = 0;
    for (int i = 0; i < n; i++) {
        const char *name = entries[i]->d_name;
        const size_t length = strlen(name);
        if (length > 5 && strcmp(name + length - 5, ".yaml") == 0) {
            char path[FIXTURE_PATH_BYTES];
            snprintf(path, sizeof path, "%s/%s", folder, name);
            visit(path);
            n_visited++;
        }
        free(entries[i]);
    }
    free(entries);
    return n_visited;
}

/* "x/y.yaml" to the text of "x/y.txt". */
static inline char *fixture_expected(const char *path) {
    char expected[FIXTURE_PATH_BYTES];
    size_t n_bytes;
    snprintf(expected, sizeof expected, "%.*s.txt", (int)(strlen(path) - 5), path);
    return fixture_read(expected, &n_bytes);
}

static inline void fixture_add_init(bp_text *text, const char *what, const bp_init *init) {
    bp_text_add(text, " %s %s", what, bp_init_name(init->kind));
    if (init->parameter != 0) {
        bp_text_add(text, " ");
        bp_text_add_number(text, init->parameter, 6);
    }
}

static inline void fixture_add_number(bp_text *text, const char *what, double value) {
    bp_text_add(text, " %s ", what);
    bp_text_add_number(text, value, 9);
}

/* What only some kinds of layer have; nothing where it is 0. */
static inline void fixture_add_kind(bp_text *text, const bp_layer *layer) {
    bp_text_add(text, "%u %s: %s", layer->id, layer->name, bp_layer_kind_name(layer->kind));
    if (layer->output_shape[0]) bp_text_add(text, " %lld", (long long)layer->output_shape[0]);
    if (layer->pool) bp_text_add(text, " %d", layer->pool);
    if (layer->kind == BP_LAYER_CONV)
        bp_text_add(text, " kernel %d stride %d padding %d", layer->kernel, layer->stride,
                    layer->padding);
    if (layer->kind == BP_LAYER_DROPOUT) fixture_add_number(text, "of", layer->drop_fraction);
    if (layer->vocabulary) bp_text_add(text, " vocabulary %lld", (long long)layer->vocabulary);
    if (layer->return_sequences) bp_text_add(text, " sequences");
    if (layer->forget_bias != 0) fixture_add_number(text, "forget_bias", layer->forget_bias);
}

static inline void fixture_add_layer(bp_text *text, const bp_layer *layer) {
    fixture_add_kind(text, layer);
    if (layer->norm != BP_NORM_NONE && !layer->norm_after_activation)
        bp_text_add(text, " %s", bp_norm_name(layer->norm));
    bp_text_add(text, " %s", bp_activation_name(layer->activation));
    if (layer->activation_slope != 0) {
        bp_text_add(text, " ");
        bp_text_add_number(text, layer->activation_slope, 6);
    }
    if (layer->norm_after_activation) bp_text_add(text, " %s", bp_norm_name(layer->norm));
    if (layer->weight_init.kind != BP_INIT_UNKNOWN) {
        fixture_add_init(text, "weights", &layer->weight_init);
        fixture_add_init(text, "biases", &layer->bias_init);
        if (!layer->has_bias) bp_text_add(text, " without-bias");
    }
    if (layer->frozen) bp_text_add(text, " frozen");
    if (layer->kind == BP_LAYER_RESIDUAL) {
        bp_text_add(text, " of %u from %u scale ", layer->n_branch, layer->skip_from);
        bp_text_add_number(text, layer->branch_scale, 6);
    }
    if (layer->parent) bp_text_add(text, " in %s", layer->parent);
    if (layer->depth_in_blocks) bp_text_add(text, " depth %u", layer->depth_in_blocks);
    bp_text_add(text, " @ item %u, %d:%d\n", layer->item, layer->line, layer->column);
}

/* Both say the same, names and places in the file apart. In words: a struct has bytes between its
 * members that are nobody's. */
static inline void fixture_expect_same_layer(const bp_layer *left, const bp_layer *right) {
    const bp_layer *const layers[] = {left, right};
    char words[2][512];
    for (size_t i = 0; i < 2; i++) {
        bp_layer layer = *layers[i];
        layer.name = "";
        layer.parent = NULL;
        layer.line = layer.column = 0;
        bp_text text;
        bp_text_init(&text, words[i], sizeof words[i]);
        fixture_add_layer(&text, &layer);
        assert_false(text.cut);
    }
    assert_string_equal(words[0], words[1]);
    assert_int_equal(left->own_init, right->own_init);
}

/* What a recipe may have or not; nothing where it has not. */
static inline void fixture_add_options(bp_text *text, const bp_recipe *recipe) {
    if (recipe->loss == BP_HUBER) fixture_add_number(text, "huber_delta", recipe->huber_delta);
    if (recipe->optimiser == BP_RMSPROP) fixture_add_number(text, "alpha", recipe->alpha);
    if (recipe->weight_decay != 0) fixture_add_number(text, "weight_decay", recipe->weight_decay);
    if (recipe->nesterov) bp_text_add(text, " nesterov");
    if (recipe->l1 != 0) fixture_add_number(text, "l1", recipe->l1);
    if (recipe->l2 != 0) fixture_add_number(text, "l2", recipe->l2);
    if (recipe->clip_norm != 0) fixture_add_number(text, "clip_norm", recipe->clip_norm);
    if (recipe->clip_value != 0) fixture_add_number(text, "clip_value", recipe->clip_value);
    if (recipe->warm_up_epochs != 0) fixture_add_number(text, "warm_up", recipe->warm_up_epochs);
    if (recipe->schedule == BP_SCHEDULE_STEP) {
        fixture_add_number(text, "step", recipe->step_epochs);
        fixture_add_number(text, "by", recipe->step_factor);
    }
    if (recipe->schedule == BP_SCHEDULE_COSINE)
        fixture_add_number(text, "cosine to", recipe->final_learning_rate);
}

/* The whole file in words: one line for the recipe, one for each layer. */
static inline void fixture_describe(bp_text *text, const bp_netfile *netfile) {
    bp_model *model = NULL;
    bp_error error;
    assert_int_equal(bp_netfile_model(netfile, &model, &error), BP_OK);
    const bp_recipe *recipe = bp_model_recipe(model);
    bp_text_add(text, "%s %s %s", bp_netfile_data(netfile, NULL, NULL)->name,
                bp_loss_name(recipe->loss), bp_optimiser_name(recipe->optimiser));
    fixture_add_number(text, "learning_rate", recipe->learning_rate);
    fixture_add_number(text, "momentum", recipe->momentum);
    fixture_add_number(text, "beta1", recipe->beta1);
    fixture_add_number(text, "beta2", recipe->beta2);
    fixture_add_number(text, "epsilon", recipe->epsilon);
    fixture_add_options(text, recipe);
    bp_text_add(text, " batch %lld epochs %lld seed %llu\n", (long long)recipe->batch,
                (long long)recipe->epochs, (unsigned long long)recipe->seed);
    for (uint32_t id = 1; id <= bp_model_n_layers(model); id++)
        fixture_add_layer(text, bp_model_layer(model, id));
    bp_model_close(model);
}

#endif
