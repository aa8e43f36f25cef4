/* SPDX-License-Identifier: Apache-2.0 */
/* A prediction as a whole: what is known of a network goes forward and back, and is judged as the
 * diagnosis judges what it measures. */
#include "diagnosis/predict.h"
#include "diagnosis/state.h"

#include <math.h>
#include <string.h>

#define SMALLEST 1e-46
#define MEMORY_NUMBERS ((size_t)1 << 22) /* of all layers' matrices together */
#define N_MATRICES 3                     /* of a layer: out, slopes, norm */
#define LARGEST_F32_LN 88.0
#define LN_SPAN_NORMALISED 9.210340371976182 /* ln 1e4 */

/* --- memory -------------------------------------------------------------------------------------
 */

/* As many samples as there are, but not so many that deep networks take much memory. */
static uint32_t samples_of(const bp_model *model, const bp_prediction_input *input) {
    const int64_t batch = bp_model_recipe(model)->batch;
    uint32_t n = input->n_samples          ? input->n_samples
                 : batch > 0 && batch < 32 ? (uint32_t)batch
                                           : 32;
    if (n > 64) n = 64;
    while (n > 4 && (size_t)n * n * N_MATRICES * bp_model_n_layers(model) > MEMORY_NUMBERS) n--;
    return n;
}

static double *take(double **at, size_t n) {
    double *taken = *at;
    *at += n;
    return taken;
}

static void lay_out(bp_prediction *p) {
    const size_t n = p->n, square = n * n;
    double *at = p->numbers;
    for (uint32_t id = 0; id <= p->n_layers; id++) {
        bp_station *s = &p->stations[id];
        s->out.k = take(&at, square);
        s->slopes = take(&at, square);
        s->norm.matrix = take(&at, square);
        s->out.mean = take(&at, n);
        s->norm.inverse = take(&at, n);
    }
    for (int i = 0; i < 4; i++) p->scratch[i] = take(&at, square + 4 * n);
    p->level = take(&at, (size_t)p->n_cuts + 1);
}

static bool open_memory(bp_prediction *p) {
    const size_t n = p->n, rows = (size_t)p->n_layers + 1, cuts = (size_t)p->n_cuts + 1;
    p->n_numbers = rows * (N_MATRICES * n * n + 2 * n) + 4 * (n * n + 4 * n) + cuts;
    p->numbers = bp_allocate(&p->allocator, p->n_numbers, sizeof *p->numbers);
    p->stations = bp_allocate(&p->allocator, rows, sizeof *p->stations);
    p->layers = bp_allocate(&p->allocator, rows, sizeof *p->layers);
    p->gains = bp_allocate(&p->allocator, cuts, sizeof *p->gains);
    p->expansions = bp_allocate(&p->allocator, n, sizeof *p->expansions);
    if (!p->numbers || !p->stations || !p->layers || !p->gains || !p->expansions) return false;
    lay_out(p);
    return true;
}

/* What the theory was reckoned with is let go; what it says stays. */
static void close_workings(bp_prediction *p) {
    bp_release(&p->allocator, p->numbers, p->n_numbers, sizeof *p->numbers);
    bp_release(&p->allocator, p->stations, (size_t)p->n_layers + 1, sizeof *p->stations);
    bp_release(&p->allocator, p->expansions, p->n, sizeof *p->expansions);
    p->numbers = NULL;
    p->stations = NULL;
    p->expansions = NULL;
}

/* --- the beginning ------------------------------------------------------------------------------
 */

/* A layer reads the one before, but for a projection beside a residual block's branch (the block's
 * input goes through it to the sum) and what is listed behind it. */
static void connect(bp_prediction *p) {
    for (uint32_t id = 1; id <= p->n_layers; id++) p->stations[id].input = id - 1;
    for (uint32_t id = 1; id <= p->n_layers; id++) {
        const bp_layer *sum = bp_model_layer(p->model, id);
        const uint32_t skip = sum->skip_from;
        if (sum->kind != BP_LAYER_RESIDUAL || sum->n_branch >= id) continue;
        const uint32_t before = id - sum->n_branch - 1;
        p->stations[before + 1].begins_branch = true;
        if (skip <= before || skip >= id) continue;
        p->stations[skip].input = before;
        p->stations[skip + 1].input = skip > before + 1 ? skip - 1 : before;
    }
}

static void begin_input(bp_prediction *p) {
    const bp_prediction_input *in = &p->input;
    const int64_t *shape = bp_model_input(p->model);
    bp_signal *out = &p->stations[0].out;
    const uint32_t n = p->n, given = in->n_samples;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < n; j++)
            out->k[i * n + j] = in->inputs ? in->inputs[i * given + j] : i == j ? 1 : 0.5;
    for (uint32_t i = 0; i < n; i++) out->mean[i] = in->means ? in->means[i] : 0;
    out->places = shape[1] > 1 && shape[2] > 1 ? (double)shape[1] * (double)shape[2] : 1;
    out->near = isnan(in->near) ? 0.5 : in->near;
    out->far = isnan(in->far) ? 0.1 : in->far;
    p->stations[0].known = true;
}

static void forget(bp_prediction *p) {
    const double no = (double)NAN;
    for (uint32_t id = 0; id <= p->n_layers; id++)
        p->layers[id] = (bp_layer_prediction){id, no, no, no, no, no, no, no, no, no, no};
    for (uint32_t k = 1; k <= p->n_cuts; k++)
        p->gains[k] = (bp_gain){bp_model_cut(p->model, k), no, no, no, no, no, no, no, no, no};
}

/* --- gains --------------------------------------------------------------------------------------
 */

static void set_parts(const bp_prediction *p, const bp_layer *layer, const bp_station *s,
                      double trace, bp_gain *gain) {
    if (layer->kind == BP_LAYER_RESIDUAL) {
        const uint32_t first = layer->id - layer->n_branch;
        if (layer->n_branch < layer->id && first != layer->skip_from)
            gain->branch = sqrt(p->stations[first].passed / trace);
        return;
    }
    const bool norm_first = layer->norm_after_activation;
    gain->norm = sqrt(norm_first ? s->at_operator / trace : s->at_operator / s->at_activation);
    gain->activation =
        sqrt(norm_first ? s->at_activation / s->at_operator : s->at_activation / trace);
    gain->weight = gain->gain / (gain->norm * gain->activation);
    if (bp_layer_is_weighted_sum(layer)) gain->alignment = 1;
}

static void set_gains(bp_prediction *p) {
    for (uint32_t k = 1; k <= p->n_cuts; k++) {
        bp_gain *gain = &p->gains[k];
        const bp_station *s = &p->stations[gain->layer];
        const double trace = bp_signal_trace(p, s->out.k);
        const uint32_t before = bp_model_cut(p->model, k - 1);
        if (gain->layer > bp_model_output_layer(p->model)) continue; /* never called */
        gain->error_norm = sqrt(trace);
        gain->gain = sqrt(bp_signal_trace(p, p->stations[before].out.k) / trace);
        set_parts(p, bp_model_layer(p->model, gain->layer), s, trace, gain);
    }
}

static void set_layers(bp_prediction *p) {
    double last_b = (double)NAN, last_slope = 0, critical = (double)NAN;
    bp_activation last = 0;
    for (uint32_t id = 1; id <= p->n_layers; id++) {
        const bp_layer *layer = bp_model_layer(p->model, id);
        bp_layer_prediction *told = &p->layers[id];
        const bp_station *s = &p->stations[id];
        if (!bp_layer_is_weighted_sum(layer) || layer->norm != BP_NORM_NONE || !s->known) continue;
        const double b = bp_predicted_bias_std(p, layer), slope = layer->activation_slope;
        const double phi = s->has_slopes ? bp_signal_trace(p, s->slopes) : 1;
        told->chi = told->sigma_w * told->sigma_w * phi;
        if (layer->activation != last || b != last_b || slope != last_slope)
            critical = bp_critical_sigma(layer->activation, slope, b, p->n_cuts);
        last = layer->activation;
        last_b = b;
        last_slope = slope;
        told->critical_sigma = critical;
        told->critical_std = critical / sqrt(bp_model_mean_fan_in(p->model, id));
    }
}

/* --- what it means ------------------------------------------------------------------------------
 */

/* ln of the error signal over depth as profile.c has it: times the activations' norm where a
 * normalisation makes the scale of weights meaningless. */
static double level_step(const bp_prediction *p, uint32_t k) {
    const uint32_t id = bp_model_cut(p->model, k), before = bp_model_cut(p->model, k - 1);
    double step = log(fmax(p->gains[k].error_norm, SMALLEST)) -
                  log(fmax(p->gains[k - 1].error_norm, SMALLEST));
    const double x = p->layers[id].activation_rms * sqrt((double)bp_model_units(p->model, id)),
                 y = p->layers[before].activation_rms *
                     sqrt((double)bp_model_units(p->model, before));
    if (bp_model_cut_is_normalised(p->model, k) && x > 0 && y > 0) step += log(x) - log(y);
    return step;
}

/* The largest rise (sign 1) or fall (-1) of the level towards the loss, from cut to cut. */
static double span_of(const bp_prediction *p, double sign, uint32_t *from, uint32_t *to) {
    double best = 0;
    uint32_t lowest = 1;
    *from = *to = 1;
    for (uint32_t k = 2; k <= p->overview.n_gains; k++) {
        const double rise = sign * (p->level[k] - p->level[lowest]);
        if (rise > best) {
            best = rise;
            *from = lowest;
            *to = k;
        }
        if (sign * p->level[k] < sign * p->level[lowest]) lowest = k;
    }
    return best;
}

/* One layer that makes most of a span is its cause. */
static uint32_t blamed(const bp_prediction *p, double sign, double span, uint32_t from,
                       uint32_t to) {
    for (uint32_t k = from + 1; k <= to; k++)
        if (to - from > 2 && sign * (p->level[k] - p->level[k - 1]) >= 0.8 * span)
            return bp_model_cut(p->model, k);
    return 0;
}

/* The layers that are most of the network stand for it. */
static uint32_t main_layer(const bp_prediction *p) {
    uint32_t best = 0, most = 0;
    for (uint32_t id = 1; id < bp_model_output_layer(p->model); id++) {
        if (isnan(p->layers[id].chi)) continue;
        const bp_layer *a = bp_model_layer(p->model, id);
        uint32_t n = 0;
        for (uint32_t other = 1; other < bp_model_output_layer(p->model) && n <= most + 1; other++)
            n += !isnan(p->layers[other].chi) &&
                 bp_model_layer(p->model, other)->activation == a->activation &&
                 fabs(p->layers[other].sigma_w - p->layers[id].sigma_w) <
                     1e-6 * p->layers[id].sigma_w;
        if (n > most) {
            most = n;
            best = id;
        }
    }
    return best;
}

static void find_depth(bp_prediction *p) {
    bp_prediction_overview *o = &p->overview;
    bool plain = true;
    for (uint32_t id = 1; id <= bp_model_output_layer(p->model); id++) {
        const bp_layer *layer = bp_model_layer(p->model, id);
        plain = plain && layer->norm == BP_NORM_NONE && layer->kind != BP_LAYER_RESIDUAL;
        if (bp_layer_is_weighted_sum(layer) && id < bp_model_output_layer(p->model))
            o->fluctuation += 1 / (double)layer->output_shape[0];
    }
    o->main_layer = main_layer(p);
    const bp_layer *layer = bp_model_layer(p->model, o->main_layer);
    if (plain && layer && layer->activation != BP_ACTIVATION_SOFTMAX) {
        const bp_depth_scales d =
            bp_depth_scales_of(layer->activation, layer->activation_slope,
                               p->layers[layer->id].sigma_w, bp_predicted_bias_std(p, layer));
        o->depth_forward = d.forward;
        o->depth_backward = d.backward;
    } else if (o->n_gains > 1 && isfinite(o->log_gain)) {
        const double rate = fabs(p->level[o->n_gains] - p->level[1]) * 2 / (o->n_gains - 1);
        o->depth_backward = rate > 1e-3 ? 1 / rate : (double)INFINITY;
        o->depth_forward = (double)NAN;
    }
    o->trainable_layers = 6 * fmin(o->depth_forward, o->depth_backward);
}

static void say_gains(const bp_prediction *p, bp_text *text, bool grows) {
    const bp_prediction_overview *o = &p->overview;
    const uint32_t first = bp_model_cut(p->model, 1), last = bp_model_cut(p->model, o->n_gains);
    bp_text_add(text, grows ? "grows by " : "passes on ");
    bp_text_add_number(text, o->mean_gain, 2);
    bp_text_add(text, grows ? " a layer: x" : " a layer: ");
    bp_text_add_number(text, exp(o->log_gain), 2);
    bp_text_add(text,
                grows ? " from layer %u to layer %u" : " of the error at layer %u reaches layer %u",
                last, first);
}

static void say_span(const bp_prediction *p, bp_text *text, double span, uint32_t from,
                     uint32_t to) {
    const bp_prediction_overview *o = &p->overview;
    if (from == 1 && to == o->n_gains && fabs(span - fabs(o->log_gain)) < 0.1 * span) {
        say_gains(p, text, o->problem == BP_PROBLEM_EXPLODING_GRADIENT);
        return;
    }
    bp_text_add(text, "the error signal %s by ",
                o->problem == BP_PROBLEM_EXPLODING_GRADIENT ? "grows" : "falls");
    bp_text_add_number(text, exp(span), 2);
    bp_text_add(text, " from layer %u to layer %u", bp_model_cut(p->model, to),
                bp_model_cut(p->model, from));
}

/* The first cut point whose activations overflow, or at which samples look alike; 0: none. */
static uint32_t first_bad(const bp_prediction *p, bool overflow) {
    for (uint32_t k = 1; k <= p->overview.n_gains; k++) {
        const bp_layer_prediction *layer = &p->layers[bp_model_cut(p->model, k)];
        if (overflow ? log(layer->activation_rms) > LARGEST_F32_LN
                     : layer->variation < FORWARD_LIMIT)
            return layer->layer;
    }
    return 0;
}

/* Weights in front of a normalisation have no scale: a gradient that is too long makes them longer,
 * and the next step is shorter. So growth does less harm there: of batch-normalised chains those of
 * about 50 layers can still be trained (Yang et al. 2019), which grow by 1.2 a layer. */
static double explosive(const bp_prediction *p, uint32_t from, uint32_t to) {
    uint32_t n = 0;
    for (uint32_t k = from + 1; k <= to; k++) n += bp_model_cut_is_normalised(p->model, k);
    return 2 * n > to - from ? LN_SPAN_NORMALISED : LN_SPAN;
}

static void judge(bp_prediction *p, bp_text *text) {
    bp_prediction_overview *o = &p->overview;
    uint32_t from, to, low, high;
    const double rise = span_of(p, 1, &from, &to), fall = span_of(p, -1, &low, &high);
    const uint32_t overflows = first_bad(p, true), alike = first_bad(p, false);
    const bool varies = p->layers[0].variation > 0.1;
    o->span_log = fmax(rise, fall);
    if (rise > LN_SPAN && rise >= fall) {
        o->problem = BP_PROBLEM_VANISHING_GRADIENT;
        o->blamed_layer = blamed(p, 1, rise, from, to);
        say_span(p, text, rise, from, to);
    } else if (fall > explosive(p, low, high)) {
        o->problem = BP_PROBLEM_EXPLODING_GRADIENT;
        o->blamed_layer = blamed(p, -1, fall, low, high);
        say_span(p, text, fall, low, high);
    } else if (alike && varies) {
        o->problem = BP_PROBLEM_VANISHING_GRADIENT;
        bp_text_add(text, "from layer %u on samples look alike: their activations differ by ",
                    alike);
        bp_text_add_number(text, p->layers[alike].variation, 2);
        bp_text_add(text, " of their size");
    } else {
        bp_text_add(text, "the error signal keeps within x");
        bp_text_add_number(text, exp(o->span_log), 2);
        bp_text_add(text, " over %u layers, about ", o->n_gains);
        bp_text_add_number(text, o->mean_gain, 2);
        bp_text_add(text, " a layer");
    }
    if (!overflows) return;
    if (!o->problem) o->problem = BP_PROBLEM_EXPLODING_GRADIENT;
    bp_text_add(text, "; activations overflow 32 bits at layer %u", overflows);
}

/* --- where theory ends ---------------------------------------------------------------------------
 */

static const char *why_not(const bp_layer *layer) {
    if (bp_layer_is_recurrent(layer)) return "it is recurrent, and what is known here is of layers";
    if (layer->kind == BP_LAYER_OTHER) return "what it computes is not known";
    if (layer->weight_init.kind == BP_INIT_CONSTANT)
        return "all its weights are the same number, so all its units are one";
    return "how its weights are drawn is not known";
}

static void say_end(bp_prediction *p) {
    bp_text text;
    bp_text_init(&text, p->not_predicted, sizeof p->not_predicted);
    const bp_layer *layer = bp_model_layer(p->model, p->stopped_at);
    p->overview.not_predicted = p->not_predicted;
    if (!layer) return;
    bp_text_add(&text, "from layer %u (%.100s) on: ", layer->id, layer->name);
    bp_text_add(&text, "%s", why_not(layer));
}

static void conclude(bp_prediction *p) {
    bp_prediction_overview *o = &p->overview;
    bp_text text;
    const double no = (double)NAN;
    *o = (bp_prediction_overview){.log_gain = no,
                                  .mean_gain = no,
                                  .span_log = no,
                                  .depth_forward = no,
                                  .depth_backward = no,
                                  .trainable_layers = no,
                                  .verdict = p->verdict};
    bp_text_init(&text, p->verdict, sizeof p->verdict);
    for (uint32_t k = 1; k <= p->n_cuts && !isnan(p->gains[k].error_norm); k++) o->n_gains = k;
    say_end(p);
    if (o->n_gains == 0) {
        bp_text_add(&text, "nothing is predicted of this network");
        return;
    }
    p->level[1] = 0;
    for (uint32_t k = 2; k <= o->n_gains; k++) p->level[k] = p->level[k - 1] + level_step(p, k);
    o->log_gain = log(fmax(p->gains[1].error_norm, SMALLEST)) -
                  log(fmax(p->gains[o->n_gains].error_norm, SMALLEST));
    o->mean_gain = o->n_gains > 1 ? exp(o->log_gain / (o->n_gains - 1)) : 1;
    find_depth(p);
    judge(p, &text);
}

/* --- from outside -------------------------------------------------------------------------------
 */

static bool is_whole(const bp_prediction_input *input) {
    return input->struct_size == sizeof *input && (input->n_samples == 0) == !input->inputs &&
           (input->n_samples > 0 || (!input->means && !input->errors));
}

bp_status bp_prediction_open(bp_prediction **prediction, const bp_model *model,
                             const bp_prediction_input *input, const bp_allocator *allocator,
                             bp_error *error) {
    static const bp_prediction_input nothing = BP_PREDICTION_INPUT_INIT;
    if (!input) input = &nothing;
    if (!is_whole(input))
        return bp_fail(error, BP_ERROR_ARGUMENT,
                       "bp_prediction_input: set with BP_PREDICTION_INPUT_INIT; inputs belong to "
                       "n_samples, means and errors to inputs");
    allocator = bp_allocator_or_system(allocator);
    bp_prediction *p = bp_allocate(allocator, 1, sizeof *p);
    if (!p) return bp_fail(error, BP_ERROR_MEMORY, "no memory for a prediction");
    p->allocator = *allocator;
    p->model = model;
    p->input = *input;
    p->n = samples_of(model, input);
    p->n_layers = bp_model_n_layers(model);
    p->n_cuts = bp_model_n_cuts(model);
    if (!open_memory(p)) {
        bp_prediction_close(p);
        return bp_fail(error, BP_ERROR_MEMORY, "no memory for a prediction of %u layers",
                       bp_model_n_layers(model));
    }
    forget(p);
    connect(p);
    begin_input(p);
    bp_predict_forward(p);
    set_layers(p);
    bp_predict_backward(p);
    if (p->stations[bp_model_output_layer(model)].known) set_gains(p);
    conclude(p);
    close_workings(p);
    p->model = NULL;
    *prediction = p;
    return BP_OK;
}

void bp_prediction_close(bp_prediction *p) {
    if (!p) return;
    const bp_allocator allocator = p->allocator;
    close_workings(p);
    bp_release(&allocator, p->layers, (size_t)p->n_layers + 1, sizeof *p->layers);
    bp_release(&allocator, p->gains, (size_t)p->n_cuts + 1, sizeof *p->gains);
    bp_release(&allocator, p, 1, sizeof *p);
}

const bp_prediction_overview *bp_prediction_overview_of(const bp_prediction *p) {
    return &p->overview;
}

const bp_layer_prediction *bp_prediction_layer(const bp_prediction *p, uint32_t layer) {
    return layer <= p->n_layers ? &p->layers[layer] : NULL;
}

uint32_t bp_prediction_profile(const bp_prediction *p, const bp_gain **gains) {
    *gains = p->gains + 1;
    return p->n_cuts;
}
