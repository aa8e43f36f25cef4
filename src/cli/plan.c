/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/plan.h"
#include "cli/session.h"
#include "model/model.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TEXT_BYTES 64

/* "28 x 28", "6 x 28 x 28", "64" */
static const char *shape_text(char text[TEXT_BYTES], const int64_t shape[3]) {
    if (shape[2] > 1)
        snprintf(text, TEXT_BYTES, "%" PRId64 " x %" PRId64 " x %" PRId64, shape[0], shape[1],
                 shape[2]);
    else if (shape[1] > 1)
        snprintf(text, TEXT_BYTES, "%" PRId64 " x %" PRId64, shape[0], shape[1]);
    else
        snprintf(text, TEXT_BYTES, "%" PRId64, shape[0]);
    return text;
}

/* "conv 5 x 5, batch_norm, relu" */
static const char *kind_text(char text[TEXT_BYTES], const bp_layer *layer) {
    bp_text out;
    bp_text_init(&out, text, TEXT_BYTES);
    bp_text_add(&out, "%s", bp_layer_kind_name(layer->kind));
    if (layer->kind == BP_LAYER_CONV) bp_text_add(&out, " %d x %d", layer->kernel, layer->kernel);
    if (layer->pool) bp_text_add(&out, " %d", layer->pool);
    if (layer->kind == BP_LAYER_DROPOUT) {
        bp_text_add(&out, " ");
        bp_text_add_number(&out, layer->drop_fraction, 3);
    }
    const bool norm = layer->norm != BP_NORM_NONE && bp_layer_has_weights(layer);
    if (norm && !layer->norm_after_activation) bp_text_add(&out, ", %s", bp_norm_name(layer->norm));
    if (layer->activation != BP_ACTIVATION_LINEAR)
        bp_text_add(&out, ", %s", bp_activation_name(layer->activation));
    if (norm && layer->norm_after_activation) bp_text_add(&out, ", %s", bp_norm_name(layer->norm));
    if (layer->frozen) bp_text_add(&out, ", frozen");
    return text;
}

static const char *init_text(const bp_layer *layer) {
    return bp_layer_has_weights(layer) ? bp_init_name(layer->weight_init.kind) : "";
}

/* --- text ------------------------------------------------------------------------------------- */

static int wider(int width, const char *text) {
    const int columns = bp_text_columns(text);
    return columns > width ? columns : width;
}

static void put_layers(const bp_session *session, int64_t *n_parameters) {
    const bp_model *model = session->model;
    const bp_report_style plain = {false, 1000};
    int name = 4, kind = 4, shape = 6;
    char text[TEXT_BYTES];
    bp_page page = bp_page_begin(stdout, &plain);
    shape = wider(shape, shape_text(text, bp_model_input(model)));
    for (uint32_t id = 1; id <= bp_model_n_layers(model); id++) {
        const bp_layer *layer = bp_model_layer(model, id);
        name = wider(name, layer->name);
        kind = wider(kind, kind_text(text, layer));
        shape = wider(shape, shape_text(text, layer->output_shape));
    }
    printf("layer  %-*s  %-*s  %-*s  parameters  initialiser\n", name, "name", kind, "kind", shape,
           "output");
    printf("    0  %-*s  %-*s  %-*s\n", name, "", kind, "input", shape,
           shape_text(text, bp_model_input(model)));
    for (uint32_t id = 1; id <= bp_model_n_layers(model); id++) {
        const bp_layer *layer = bp_model_layer(model, id);
        const int64_t n = bp_layer_n_parameters(layer);
        *n_parameters += n;
        bp_page_add(&page, BP_INK_PLAIN, "%5u  ", id);
        bp_page_cell(&page, BP_INK_PLAIN, name, false, layer->name); /* names are a file's */
        bp_page_add(&page, BP_INK_PLAIN, "  %-*s", kind, kind_text(text, layer));
        bp_page_add(&page, BP_INK_PLAIN, "  %-*s  %10" PRId64 "  %s", shape,
                    shape_text(text, layer->output_shape), n, init_text(layer));
        bp_page_end_line(&page);
    }
}

/* A knob that differs from nothing: " · momentum 0.9". */
static void put_knob(const char *name, double value) {
    char number[32];
    if (value > 0) printf(" · %s %s", name, bp_number_text(number, sizeof number, value, 4));
}

static void put_rates(const bp_recipe *recipe) {
    char number[32];
    const int64_t last = recipe->epochs * recipe->epoch_steps - 1;
    const bool constant = recipe->schedule <= BP_SCHEDULE_CONSTANT && recipe->warm_up_epochs == 0;
    if (constant || last < 1) return;
    printf("rates      ");
    for (int i = 0; i <= 4; i++)
        printf("%sstep %" PRId64 ": %s", i ? " · " : "", last * i / 4,
               bp_number_text(number, sizeof number, bp_recipe_learning_rate(recipe, last * i / 4),
                              3));
    putchar('\n');
}

static void put_recipe(const bp_session *session) {
    const bp_recipe *recipe = bp_model_recipe(session->model);
    const bp_dataset *data = session->dataset;
    char rate[32];
    printf("data       %s: %" PRId64 " to train, %" PRId64 " to validate, %" PRId64 " to test\n",
           data->name, data->train.n, data->validation.n, data->test.n);
    printf("recipe     %s · %s · learning rate %s", bp_loss_name(recipe->loss),
           bp_optimiser_name(recipe->optimiser),
           bp_number_text(rate, sizeof rate, recipe->learning_rate, 4));
    if (recipe->schedule > BP_SCHEDULE_CONSTANT) printf(", %s", bp_schedule_name(recipe->schedule));
    put_knob("warm-up epochs", recipe->warm_up_epochs);
    put_knob("momentum", recipe->momentum);
    put_knob("weight decay", recipe->weight_decay);
    put_knob("l1", recipe->l1);
    put_knob("l2", recipe->l2);
    put_knob("clip norm", recipe->clip_norm);
    put_knob("clip value", recipe->clip_value);
    printf("\nsteps      %" PRId64 " epochs of %" PRId64 " steps, batch %" PRId64 ", seed %" PRIu64
           "\n",
           recipe->epochs, recipe->epoch_steps, recipe->batch, recipe->seed);
    put_rates(recipe);
}

static void put_text(const bp_session *session) {
    int64_t n_parameters = 0;
    char megabytes[32];
    put_layers(session, &n_parameters);
    printf("\nparameters %" PRId64 "\nmemory     %s MB\n", n_parameters,
           bp_number_text(megabytes, sizeof megabytes,
                          (double)bp_trainer_bytes(session->trainer) / 1e6, 3));
    put_recipe(session);
}

/* --- JSON: an event a layer, then one for the whole ------------------------------------------- */

static void put_json(const bp_session *session) {
    const bp_recipe *recipe = bp_model_recipe(session->model);
    int64_t n_parameters = 0;
    char text[TEXT_BYTES];
    for (uint32_t id = 1; id <= bp_model_n_layers(session->model); id++) {
        const bp_layer *layer = bp_model_layer(session->model, id);
        bp_json_line line = {stdout, false};
        bp_json_line_text(&line, "event", "layer");
        bp_json_line_integer(&line, "layer", id);
        bp_json_line_text(&line, "name", layer->name);
        bp_json_line_text(&line, "kind", bp_layer_kind_name(layer->kind));
        bp_json_line_text(&line, "output", shape_text(text, layer->output_shape));
        bp_json_line_integer(&line, "parameters", bp_layer_n_parameters(layer));
        bp_json_line_end(&line);
        n_parameters += bp_layer_n_parameters(layer);
    }
    bp_json_line line = {stdout, false};
    bp_json_line_text(&line, "event", "plan");
    bp_json_line_integer(&line, "layers", bp_model_n_layers(session->model));
    bp_json_line_integer(&line, "parameters", n_parameters);
    bp_json_line_integer(&line, "bytes", bp_trainer_bytes(session->trainer));
    bp_json_line_integer(&line, "epochs", recipe->epochs);
    bp_json_line_integer(&line, "epoch_steps", recipe->epoch_steps);
    bp_json_line_end(&line);
}

bp_status bp_plan_show(bp_network *network, bool json, bp_error *error) {
    bp_session session;
    const bp_status status = bp_session_open_dry(&session, network, error);
    if (status != BP_OK) return status;
    if (json)
        put_json(&session);
    else
        put_text(&session);
    return bp_session_close(&session, error);
}
