/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a Probe, shared by the files that work on it. Everything happens with the GIL held,
 * but for long passes over numbers: `busy` stands while one goes on without it. */
#ifndef BP_NATIVE_PROBE_H
#define BP_NATIVE_PROBE_H

#include "tensor.h"
#include <backprobe/observe.h>
#include <backprobe/record.h>
#include <backprobe/stats.h>
#include <backprobe/watch.h>

/* What is wanted of a tensor. Of the error signal of a sequence the first or the last tenth of the
 * time steps alone may be; time is its first dimension, its second with NATIVE_TIME_SECOND. */
enum {
    NATIVE_ACTIVATION = 1,
    NATIVE_SPREAD = 2,
    NATIVE_ERROR = 4,
    NATIVE_FIRST_TENTH = 8,
    NATIVE_LAST_TENTH = 16,
    NATIVE_TIME_SECOND = 32
};

/* The spread of a site rests on at most so many units and samples, evenly picked: an estimate. */
#define NATIVE_SPREAD_UNITS 4096
#define NATIVE_SPREAD_SAMPLES 128
#define NATIVE_SPREAD_ENOUGH 32 /* samples that tell how much an activation varies */
#define NATIVE_MOST_SITES 65536
#define NATIVE_MOST_CALLS 32768
/* Passes over more numbers go on without the GIL. */
#define NATIVE_LONG 32768

/* --- stage: what was seen in a step ----------------------------------------------------------- */

/* A tensor passed a site once. */
typedef struct native_call {
    uint32_t site;
    bool hooked;    /* its error signal is awaited */
    bool given;     /* by the host, which knows that it counts */
    bool forgotten; /* an earlier backward pass had it, which does not count */
    bool has_activation;
    unsigned part;     /* bits of `what` that choose time steps of the error signal; 0: all of it */
    int precision;     /* of the activation: significand bits; 0 unknown */
    uint32_t n_errors; /* that count */
    int64_t rows;
    bp_summary activation;
} native_call;

typedef struct native_error {
    uint32_t call, pass;
    int precision; /* significand bits; 0 unknown */
    bp_summary summary;
} native_error;

/* A backward pass; of several losses when they were added. */
typedef struct native_pass {
    double factor;  /* the largest of its losses'; NaN: not known yet */
    double loss;    /* sum over its losses of value * factor / the largest factor */
    int64_t terms;  /* of the loss with the largest factor; 0 unknown */
    long long task; /* the framework's number of it; -1 unknown */
    bool has_loss;
    bool implied; /* no loss was told: an error signal came */
    bool forgotten;
} native_pass;

#define NATIVE_HALF 11 /* significand bits of float16; bfloat16 has fewer */

/* How numbers were stored. */
typedef struct native_format {
    int precision; /* significand bits, of several formats the fewest; 0 unknown */
    double tiny;   /* of half formats: values that are subnormal */
    double all;    /* and how many there are but zeros */
} native_format;

/* Where the units of an activation lie, and what is known of them. */
typedef struct native_geometry {
    int32_t axis;     /* of the tensor; 0: it is not known, or none */
    uint64_t n_units; /* along it; what is flattened has them as stretches of equal length */
    bp_unit_kind kind;
    uint64_t dead_samples;
    bool exact;    /* else values were left out at random, so that copies differ */
    bool is_input; /* row 0 */
} native_geometry;

/* What is kept of a site, and what a step comes to. */
typedef struct native_site {
    bp_units units;
    double *numbers; /* three times `capacity` */
    uint64_t capacity;
    native_geometry geometry;
    int32_t ndim; /* of the tensor as `units` was given it; likewise the next two */
    int64_t shape[BP_TENSOR_MAX_NDIM];
    bool is_thinned;     /* but for samples */
    bp_unit_shape given; /* by a host that has its own sums; no units: by none */
    uint64_t n_looked;   /* how often `units` was read: places are chosen in turn */
    bp_activity activity;
    uint64_t *quiet; /* of `activity` */
    bp_unit_counts counts;
    double variation, scales;
    bool has_variation, has_counts, has_scales;
    bp_summary activation, error;
    native_format activation_format, error_format;
    uint32_t n_activations, n_errors;
    int64_t rows;
} native_site;

typedef union native_scratch {
    uint64_t word;
    double number;
} native_scratch;

typedef struct native_stage {
    native_call *calls;
    native_error *errors;
    native_pass *passes;
    native_site *sites;
    size_t n_calls, n_errors, n_passes, n_sites;
    size_t calls_room, errors_room, passes_room;
    native_scratch *scratch; /* for the units of one site at a time */
    size_t scratch_words;
    uint64_t serial; /* of the step: what hooks of an older one bring is ignored */
} native_stage;

/* --- parameters ------------------------------------------------------------------------------- */

typedef struct native_parameter {
    uint32_t layer;
    bp_slot slot;
    uint32_t cell; /* of the layer and slot */
    int64_t shard; /* elements of which this rank holds a part; 0: it has all */
    uint32_t number;
    bool is_open, has_open_gradient; /* in the call that goes on */
    bool has_value, has_gradient, has_unclipped, has_update, has_cosine, has_adaptivity;
    bool is_missing; /* its gradient, although it was to have one */
    bp_summary value, gradient, unclipped;
    int value_bits, gradient_bits, unclipped_bits; /* significand bits; 0 unknown */
    bp_panel panel;
    uint64_t *words;
    size_t n_words;
    uint64_t count;                               /* elements that the update was given */
    double looked, squares, effect, bad, stalled; /* what the update did, at places looked at */
    double cosine, adaptivity;
} native_parameter;

/* Of a weight, in the few steps of which the log gets them. */
typedef struct native_exponents {
    bp_histogram value, gradient;
    bool has_value, has_gradient;
} native_exponents;

/* All parameters of one layer and slot. */
typedef struct native_cell {
    uint32_t layer;
    bp_slot slot;
} native_cell;

/* What they come to: attention's q, k and v are three weights of one layer. */
typedef struct native_joint {
    bp_summary value, gradient, unclipped;
    bool has_value, has_gradient, has_unclipped, is_shard;
    native_exponents *exponents; /* all of them, kept in those of the first; NULL: none */
} native_joint;

/* What the update found in a layer, and did to it. */
typedef struct native_update {
    double effect, bad, stalled, parameters;
    double squares, weights;       /* of the slot "weight" */
    double cosine, cosine_weights; /* weighted by elements; likewise the next */
    double adaptivity, adaptivity_weights;
    double missing; /* parameters that were to have a gradient and got none */
    bool was_seen;  /* a parameter, before the update */
    native_format weights_format, gradient_format;
} native_update;

/* Beside the roles: the error signal of a recurrent layer's input. Of the first time steps it
 * passes the place's site, of the last ones the site with the next number. */
#define NATIVE_ROLE_THROUGH_TIME BP_N_ROLES

typedef struct native_place {
    uint32_t layer;
    bp_role role;
    uint32_t site;
} native_place;

/* Of the losses of a step. */
typedef struct native_outputs {
    double target_min, target_max; /* min > max: not known */
    double right, guesses;         /* predictions of classes that are right, of how many */
} native_outputs;

/* --- the type --------------------------------------------------------------------------------- */

struct native_probe;

/* Light steps of a loop that is known. */
typedef struct native_light {
    PyObject *model, *optimiser; /* owned; NULL: nothing is known */
    size_t n_losses;             /* taken in this step */
} native_light;

/* Between a hook, which lives as long as a graph, and the probe. */
typedef struct native_link {
    long n_owners;
    struct native_probe *probe; /* NULL: it is gone */
} native_link;

typedef struct native_probe {
    PyObject_HEAD const native_state *state; /* borrowed: the type keeps the module */
    native_link *link;
    native_reader reader;
    native_stage stage;
    native_light light;
    PyObject *on_backward;   /* or NULL */
    PyObject *plain_tensor;  /* torch.Tensor; NULL before the first hook, or none */
    PyObject *task_number;   /* the framework's function; NULL before the first loss, or none */
    PyObject *last_findings; /* of a closed probe; likewise the next */
    PyObject *last_cost, *last_overview;
    bool looked_for_task_number;

    bp_model *model;
    bp_watch *watch; /* NULL before open and after close */
    bp_diagnosis *diagnosis;
    native_parameter *parameters;
    native_exponents *exponents; /* of the parameters */
    native_cell *cells;
    native_joint *joints;   /* of the cells */
    native_update *updates; /* of layers 0 ... n_layers */
    native_place *places;
    native_view *views; /* two for each parameter; likewise the next */
    bp_tensor *tensors;
    bp_summary *summaries;
    size_t n_parameters, n_cells, n_places;
    uint32_t n_layers;

    unsigned generation; /* of the process that made it */
    int64_t step;
    double last_loss;
    bool has_last_loss;
    native_outputs outputs;
    bool shares; /* losses of a step's passes add up to one */
    bool full, timed, closed, busy;
    double spent;  /* seconds in our calls that the watch was not charged with yet */
    double factor; /* of before_update */
    bool has_exponents;
    uint64_t not_measured[NATIVE_N_REASONS];
    uint64_t news; /* a bit a problem */
    char blind[BP_ERROR_TEXT_BYTES];
} native_probe;

/* True in a closed probe, in the child of a fork, and while another thread is served. */
bool native_is_out(native_probe *probe);
void native_miss(native_probe *probe, native_reason reason);

/* Around each of our calls: its time is a cost of the step. */
double native_begins(const native_probe *probe);
void native_ends(native_probe *probe, double began);
void native_charge(native_probe *probe);

/* stage.c */
PyObject *native_forward(native_probe *probe, PyObject *const *args, Py_ssize_t n_args);
/* -1 with an exception that must not be swallowed; likewise the next. */
int native_error_came(native_probe *probe, uint64_t serial, uint32_t call, PyObject *gradient);
int native_backward_began(native_probe *probe, double value, bool has_value, int64_t terms,
                          PyObject *gradient);
PyObject *native_loss(native_probe *probe, PyObject *const *args, Py_ssize_t n_args);
void native_stage_fresh(native_stage *stage);
void native_stage_clear(native_stage *stage);
void native_stage_finish(native_stage *stage);
/* NULL: too many, or no memory. */
native_site *native_stage_site(native_stage *stage, uint32_t site);
/* A new call of a site; NULL and the reason where there is none. */
native_call *native_stage_call(native_stage *stage, uint32_t site, native_reason *reason);
/* An error signal of a call, in the newest pass. */
native_reason native_stage_error(native_stage *stage, uint32_t call, const bp_summary *summary,
                                 int precision);
/* A pass that begins; NULL without memory. */
native_pass *native_stage_begin(native_stage *stage, native_pass pass);

/* profile.c */
PyObject *native_profile(native_probe *probe);

/* --- prediction.c ------------------------------------------------------------------------------
 */

/* (samples, inputs, means, errors, near, far) -> dict; None before the first record. */
PyObject *native_prediction(native_probe *probe, PyObject *args);

/* put.c: readings that the host made itself. */
PyObject *native_put_loss(native_probe *probe, PyObject *args);
PyObject *native_put_summary(native_probe *probe, PyObject *args);
PyObject *native_put_missing(native_probe *probe, PyObject *args);
PyObject *native_put_spread(native_probe *probe, PyObject *args);
PyObject *native_put_update(native_probe *probe, PyObject *args);
PyObject *native_put_adaptivity(native_probe *probe, PyObject *args);
PyObject *native_put_targets(native_probe *probe, PyObject *args);
PyObject *native_put_guesses(native_probe *probe, PyObject *args);
void native_outputs_clear(native_outputs *outputs);

/* light.c */
void native_light_drop(native_light *light);
PyObject *native_settle(native_probe *probe, PyObject *args);
PyObject *native_light_loss(native_probe *probe, PyObject *loss);
PyObject *native_light_step(native_probe *probe, PyObject *optimiser);

/* units.c */
void native_units_add(native_site *site, const bp_tensor *tensor);
/* What units did in a step, and how much they vary, once there were enough samples. */
void native_units_read(native_stage *stage, native_site *site);
PyObject *native_put_units(native_probe *probe, PyObject *args);
void native_units_finish(native_site *site);

/* merge.c: what a step comes to. */
typedef struct native_outcome {
    double loss;
    bool has_loss;
    int64_t terms, samples;
} native_outcome;
native_outcome native_stage_merge(native_probe *probe, int64_t samples);
void native_format_add(native_format *format, int precision, const bp_summary *summary);

/* parameters.c */
PyObject *native_gradients(native_probe *probe, PyObject *sequence);
PyObject *native_before_update(native_probe *probe, PyObject *parameters, PyObject *gradients,
                               double factor);
PyObject *native_after_update(native_probe *probe, PyObject *parameters);
PyObject *native_second_moments(native_probe *probe, PyObject *moments, PyObject *epsilons,
                                PyObject *corrections);
void native_parameters_clear(native_probe *probe);
void native_parameters_finish(native_probe *probe);

/* step.c */
void native_tell_step(native_probe *probe, const bp_step *step, const native_outcome *outcome,
                      double loss_scale);

/* hook.c: both register a hook on a tensor; -1 with an exception that must not be swallowed. */
int native_hook_error(native_probe *probe, PyObject *tensor, uint32_t call);
int native_hook_loss(native_probe *probe, PyObject *tensor, double value, bool has_value,
                     int64_t terms);
void native_link_drop(native_link *link);
extern PyType_Spec native_hook_spec;

/* open.c */
PyObject *native_open(native_probe *probe, PyObject *args);

/* probe.c */
void native_end_step(native_probe *probe, bp_step *step, double loss_scale);
extern PyType_Spec native_probe_spec;

#endif
