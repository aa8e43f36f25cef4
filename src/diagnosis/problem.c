/* SPDX-License-Identifier: Apache-2.0 */
/* The table of problems in words: names and explain pages. */
#include "diagnosis/diagnosis.h"
#include "diagnosis/pages.h"

#define NAME_AT(id, name, number) [number] = name,

static const char *const names[BP_N_PROBLEMS] = {BP_PROBLEMS(NAME_AT)};

/* One literal a line of the page. */
/* clang-format off */
static const char *const explanations[BP_N_PROBLEMS] = {
    [BP_PROBLEM_VANISHING_GRADIENT] =
        "What it is\n"
        "  The gradient of the early layers is so small that their weights do not move.\n"
        "\n"
        "Why it happens\n"
        "  A weight moves by w_new = w_old - eta * dL/dw. By the chain rule dL/dw of an early\n"
        "  layer is a product of one factor, the gain, for each later layer:\n"
        "      dL/dx_0 = W_1' phi'(z_1) ... W_L' phi'(z_L) dL/dx_L\n"
        "  0.1 ten times over leaves 0.1^10 = 1e-10. A sigmoid passes on at most 0.25 of the\n"
        "  error signal, whatever the weights; weights that are too small do the same to any\n"
        "  activation. Hochreiter 1991; Glorot & Bengio 2010; Schoenholz et al. 2017 (arXiv\n"
        "  1611.01232).\n"
        "\n"
        "How it is recognised\n"
        "  Two things must hold together. (1) The error signal falls by more than a factor\n"
        "  1e3 towards the input, measured as a norm per sample at the points that every path\n"
        "  crosses (in normalised stretches times the activation's norm); or the activations\n"
        "  of different samples have become the same (spread / size < 1e-3). (2) Layers are\n"
        "  starved: the median over a window of the share that a layer's update has in the\n"
        "  fall of the loss, |<g_l, dw_l>| / sum |<g, dw>|, is below 1e-3 of a fair share\n"
        "  while there is loss left to lose. It is an error while the loss has not come below\n"
        "  0.95 of that of guessing, a warning when the late layers learn on features that\n"
        "  stay random, or when it has healed after more than a quarter of the run and half of\n"
        "  what there is to learn is still to be learnt.\n"
        "  Through time, inside a recurrent layer, it is judged apart: the error signal at the\n"
        "  first tenth of the time steps is, in the median of at least 20 records, below 1e-3 of\n"
        "  that at the last tenth, it does not rise, and after 200 steps nothing has been learnt:\n"
        "  an error; of GRU and LSTM, whose gates may open, a warning after 1,000. There the product\n"
        "  is one of dh_t/dh_(t-1) = U' diag(phi'(z_t)) over the steps (Bengio et al. 1994;\n"
        "  Pascanu et al. 2013, arXiv 1211.5063).\n"
        "\n"
        "The lecture's table\n"
        "  Parameters of the higher layers change significantly, those of the lower layers\n"
        "  little or not at all; weights may become close to 0; the model learns very slowly,\n"
        "  training stagnates at a very early stage.\n"
        "\n"
        "What helps\n"
        "  tanh with Xavier or ReLU with He initialisation instead of sigmoid; the\n"
        "  activation's critical initialiser where the weights are too small; batch or layer\n"
        "  normalisation; residual connections. Adam does not: it rescales what arrives, and\n"
        "  nothing arrives.\n"
        "  Through time: LSTM or GRU, whose cell carries on; an LSTM's forget bias of 1 or more;\n"
        "  orthogonal recurrent weights; shorter sequences.\n"
        "\n"
        "What looks like it but is not\n"
        "  Tiny parameter gradients under pooling, normalisation or a scaled loss; a\n"
        "  converged run; a learning rate that is too low (then all layers move little);\n"
        "  frozen layers.\n",
    [BP_PROBLEM_EXPLODING_GRADIENT] =
        "What it is\n"
        "  The gradient grows layer by layer towards the input (or update by update), until\n"
        "  steps are larger than the weights and numbers overflow.\n"
        "\n"
        "Why it happens\n"
        "  The same product as for vanishing gradients, with factors above 1: 2^10 = 1024,\n"
        "  and 3^20 = 3e9. float32 ends at 3.4e38; beyond it there is Inf, then Inf - Inf =\n"
        "  NaN. Weights that are too large decide it, or a learning rate that throws the\n"
        "  weights far. Pascanu, Mikolov & Bengio 2013; He et al. 2015.\n"
        "\n"
        "How it is recognised\n"
        "  The error signal grows by more than 1e3 from the loss towards the input, and that\n"
        "  harms: the loss is above ten times that of guessing, or an update is larger than\n"
        "  the weights that it changes, or a number stops being finite within 10 steps. One\n"
        "  step suffices. It also harms when nothing is learnt over a whole window. The other\n"
        "  way in, where depth is not to blame: an update larger than the weights, after\n"
        "  which the loss stays out of bounds for 20 steps or numbers stop being finite.\n"
        "\n"
        "The lecture's table\n"
        "  Exponential growth of the parameters of the lower (initial) layers; weights may\n"
        "  become NaN during training; the loss abruptly increases by a large amount.\n"
        "\n"
        "What helps\n"
        "  The activation's critical initialiser (He for ReLU, Xavier for tanh); a lower\n"
        "  learning rate where updates are to blame; clipping by norm; normalisation;\n"
        "  residual branches scaled by 1/sqrt(depth).\n"
        "\n"
        "What looks like it but is not\n"
        "  Large gradients in normalised networks (the weights' scale does not matter there);\n"
        "  the last, shorter batch of an epoch; a spike of the loss that passes.\n",
    [BP_PROBLEM_NON_FINITE] =
        "What it is\n"
        "  A NaN or an infinity in data, activations, loss, gradients or parameters.\n"
        "\n"
        "Why it happens\n"
        "  Overflow (beyond 3.4e38 in float32) gives Inf; Inf - Inf, 0 * Inf and 0/0 give\n"
        "  NaN, and a NaN passes through everything that it touches. Usually Inf comes first\n"
        "  and NaN one layer on.\n"
        "\n"
        "How it is recognised\n"
        "  By counting bit patterns in every tensor that is watched, at every step. The order\n"
        "  of computation within a step (data, parameters, forward, loss, backward,\n"
        "  gradients, update) tells the producer, whose input was finite, from the layers\n"
        "  that only passed it on. Afterwards nothing else is judged.\n"
        "\n"
        "What helps\n"
        "  What helps its cause: see the finding that it hangs under. Bad data: look at the\n"
        "  batch.\n"
        "\n"
        "What looks like it but is not\n"
        "  -Inf in attention masks; single steps that a loss scaler skips on purpose.\n",
    [BP_PROBLEM_WEIGHTS_TOO_SMALL] =
        "What it is\n"
        "  The initialiser gives weights so small that signals shrink from layer to layer.\n"
        "\n"
        "Why it happens\n"
        "  With independent weights of standard deviation s a layer passes on\n"
        "      gain^2 = s^2 * fan_in * E[phi'(z)^2]\n"
        "  of the error signal. It is 1 at the critical value of s^2 * fan_in: 1 for linear\n"
        "  and tanh (Glorot & Bengio 2010, Xavier), 2 / (1 + a^2) for ReLU and its kin of\n"
        "  slope a (He et al. 2015). PyTorch's default gives 1/3.\n"
        "\n"
        "How it is recognised\n"
        "  Gradients vanish, they did so at step 0, the measured gains are those that\n"
        "  independent weights of this size give, it has held ever since (or the weights have\n"
        "  not moved), they are below 0.8 of the critical size, and theory says that the\n"
        "  critical initialiser alone mends the stretch. The first layer's weights, whose\n"
        "  gain leads to the input, are blamed when they are below a thirtieth of it and\n"
        "  nothing is learnt over a whole window.\n"
        "\n"
        "What helps\n"
        "  The activation's critical initialiser. A single layer: initialise it like the\n"
        "  others.\n"
        "\n"
        "What looks like it but is not\n"
        "  Weights before a normalisation, whose scale does not matter; a deep sigmoid\n"
        "  network, where no size of weights helps; shallow networks, which train with any of\n"
        "  them.\n",
    [BP_PROBLEM_WEIGHTS_TOO_LARGE] =
        "What it is\n"
        "  The initialiser gives weights so large that signals grow from layer to layer, or\n"
        "  that tanh and sigmoid units saturate and neighbouring samples part chaotically.\n"
        "\n"
        "Why it happens\n"
        "  gain^2 = s^2 * fan_in * E[phi'(z)^2] above 1 (see weights-too-small): three times\n"
        "  He's size is a gain of 3 a layer, 3^20 = 3e9 over twenty.\n"
        "\n"
        "How it is recognised\n"
        "  Gradients explode (or the first pass overflows, or nothing is learnt while error\n"
        "  signals grow by more than 1e3 towards the input), they did so at step 0,\n"
        "  independent weights of this size explain it, they are above 1.25 of the critical\n"
        "  size, and theory says that the critical initialiser alone mends it.\n"
        "\n"
        "What helps\n"
        "  The activation's critical initialiser: He for ReLU, Xavier for tanh.\n"
        "\n"
        "What looks like it but is not\n"
        "  Large weights before a normalisation; a learning rate that is too high.\n",
    [BP_PROBLEM_RANK_MISMATCH] =
        "What it is\n"
        "  Several processes (ranks) train one network, and their copies of its parameters, or\n"
        "  the gradients that their optimisers get, are not the same.\n"
        "\n"
        "Why it happens\n"
        "  In data-parallel training each rank sees other samples; gradients are averaged over\n"
        "  the ranks, so equal copies stay equal. They part when the ranks begin with\n"
        "  different parameters, when the mean is left out (a model outside of its wrapper,\n"
        "  no_sync at the optimiser's step, parameters that were added later), or when one\n"
        "  rank changes its parameters alone (a checkpoint that it alone loads, a condition\n"
        "  on the rank). What is saved then is the network of one rank, trained on a part of\n"
        "  the data.\n"
        "\n"
        "How it is recognised\n"
        "  The logs of all ranks are read side by side. Of the layers that every rank has\n"
        "  whole, the size (rms) and the largest magnitude of weights, biases, gradients and\n"
        "  updates are compared at each step that was looked at in full. They are logged with\n"
        "  a step of 0.3%, and equal copies give equal numbers. A difference of more than one\n"
        "  such step counts at once, one of a single step when it comes three times. It is an\n"
        "  error when parameters differ, a warning while gradients alone do.\n"
        "\n"
        "What helps\n"
        "  Wrap the model before the optimiser is made, and call the wrapper, not the model\n"
        "  inside; let the wrapper broadcast rank 0's parameters; load a checkpoint in all\n"
        "  ranks. From where ranks have parted, go on from rank 0's last good checkpoint.\n"
        "\n"
        "What looks like it but is not\n"
        "  Sharded parameters, which are put together from their parts; ranks that hold other\n"
        "  parts of a network on purpose (stages of a pipeline, experts); an optimiser that\n"
        "  averages inside its own step gets gradients that differ, and its parameters stay\n"
        "  equal.\n",
    [BP_PROBLEM_CLIP_TO_ZERO] = bp_page_clip_to_zero,
    [BP_PROBLEM_DEAD_UNITS] = bp_page_dead_units,
    [BP_PROBLEM_SATURATED_UNITS] = bp_page_saturated_units,
    [BP_PROBLEM_SYMMETRIC_UNITS] = bp_page_symmetric_units,
    [BP_PROBLEM_CONSTANT_INIT] = bp_page_constant_init,
    [BP_PROBLEM_ZERO_INIT] = bp_page_zero_init,
    [BP_PROBLEM_LEARNING_RATE_TOO_HIGH] = bp_page_learning_rate_too_high,
    [BP_PROBLEM_LEARNING_RATE_TOO_LOW] = bp_page_learning_rate_too_low,
    [BP_PROBLEM_STALLED_UPDATE] = bp_page_stalled_update,
    [BP_PROBLEM_OSCILLATING_LOSS] = bp_page_oscillating_loss,
    [BP_PROBLEM_LOSS_SPIKE] = bp_page_loss_spike,
    [BP_PROBLEM_PLATEAU] = bp_page_plateau,
    [BP_PROBLEM_SLOW_CONVERGENCE] = bp_page_slow_convergence,
    [BP_PROBLEM_CONSTANT_OUTPUT] = bp_page_constant_output,
    [BP_PROBLEM_OVERFITTING] = bp_page_overfitting,
    [BP_PROBLEM_OVERCONFIDENT] = bp_page_overconfident,
    [BP_PROBLEM_MEMORISING] = bp_page_memorising,
    [BP_PROBLEM_UNDERFITTING] = bp_page_underfitting,
    [BP_PROBLEM_INPUT_NOT_NORMALISED] = bp_page_input_not_normalised,
    [BP_PROBLEM_LABELS_OUT_OF_RANGE] = bp_page_labels_out_of_range,
    [BP_PROBLEM_WRONG_LAST_LAYER] = bp_page_wrong_last_layer,
    [BP_PROBLEM_FROZEN_PARAMETER] = bp_page_frozen_parameter,
    [BP_PROBLEM_UNUSED_PARAMETER] = bp_page_unused_parameter,
    [BP_PROBLEM_LOW_PRECISION_UNDERFLOW] = bp_page_low_precision_underflow,
    [BP_PROBLEM_LOW_PRECISION_OVERFLOW] = bp_page_low_precision_overflow,
    [BP_PROBLEM_UPDATE_IMBALANCE] = bp_page_update_imbalance,
};
/* clang-format on */

const char *bp_problem_name(bp_problem problem) {
    return (unsigned)problem < BP_N_PROBLEMS ? names[problem] : NULL;
}

const char *bp_problem_explanation(bp_problem problem) {
    return (unsigned)problem < BP_N_PROBLEMS ? explanations[problem] : NULL;
}

const char *bp_severity_name(bp_severity severity) {
    switch (severity) {
    case BP_HINT:
        return "hint";
    case BP_WARNING:
        return "warning";
    case BP_ERROR:
        return "error";
    }
    return NULL;
}
