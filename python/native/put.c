/* SPDX-License-Identifier: Apache-2.0 */
/* Readings that the host made itself: on a device, of a shard. */
#include "probe.h"

#include <math.h>
#include <string.h>

/* The loss of the oldest backward pass that still waits for one, else of a pass of its own. */
PyObject *native_put_loss(native_probe *probe, PyObject *args) {
    double value, factor;
    long long terms;
    if (!PyArg_ParseTuple(args, "ddL", &value, &factor, &terms)) return NULL;
    if (native_is_out(probe)) Py_RETURN_NONE;
    native_stage *stage = &probe->stage;
    native_pass *pass = NULL;
    for (size_t i = 0; i < stage->n_passes && !pass; i++)
        if (!stage->passes[i].has_loss && !stage->passes[i].implied) pass = &stage->passes[i];
    if (!pass) pass = native_stage_begin(stage, (native_pass){.task = -1});
    if (!pass) return PyErr_NoMemory();
    pass->factor = factor;
    pass->loss = value;
    pass->terms = terms;
    pass->has_loss = true;
    Py_RETURN_NONE;
}

/* --- targets ---------------------------------------------------------------------------------- */

void native_outputs_clear(native_outputs *outputs) {
    *outputs = (native_outputs){.target_min = (double)INFINITY, .target_max = -(double)INFINITY};
}

PyObject *native_put_targets(native_probe *probe, PyObject *args) {
    double low, high;
    if (!PyArg_ParseTuple(args, "dd", &low, &high)) return NULL;
    if (!probe->full || native_is_out(probe)) Py_RETURN_NONE;
    probe->outputs.target_min = fmin(probe->outputs.target_min, low);
    probe->outputs.target_max = fmax(probe->outputs.target_max, high);
    Py_RETURN_NONE;
}

PyObject *native_put_guesses(native_probe *probe, PyObject *args) {
    double right, guesses;
    if (!PyArg_ParseTuple(args, "dd", &right, &guesses)) return NULL;
    if (!probe->full || native_is_out(probe)) Py_RETURN_NONE;
    probe->outputs.right += right;
    probe->outputs.guesses += guesses;
    Py_RETURN_NONE;
}

/* --- summaries -------------------------------------------------------------------------------- */

static bool read_numbers(PyObject *tuple, bp_summary *summary) {
    unsigned long long count, nan, positive, negative, zero;
    bp_summary_init(summary);
    if (!PyArg_ParseTuple(tuple, "KKKKKdddd;nine numbers", &count, &nan, &positive, &negative,
                          &zero, &summary->min, &summary->max, &summary->sum,
                          &summary->sum_squares))
        return false;
    summary->count = count;
    summary->nan = nan;
    summary->positive_inf = positive;
    summary->negative_inf = negative;
    summary->zero = zero;
    if (bp_summary_non_finite(summary) <= count) return true;
    PyErr_SetString(PyExc_ValueError, "more non-finite elements than elements");
    return false;
}

static native_reason put_at_site(native_probe *probe, uint32_t site, const bp_summary *summary,
                                 int precision, bool is_error) {
    native_reason reason;
    native_call *call = native_stage_call(&probe->stage, site, &reason);
    if (!call) return reason;
    call->given = true;
    if (is_error)
        return native_stage_error(&probe->stage, (uint32_t)(probe->stage.n_calls - 1), summary,
                                  precision);
    call->has_activation = true;
    call->precision = precision;
    call->activation = *summary;
    return NATIVE_MEASURED;
}

static native_parameter *parameter_at(native_probe *probe, unsigned long index) {
    if (index < probe->n_parameters) return &probe->parameters[index];
    PyErr_Format(PyExc_ValueError, "parameter %lu: there are %zd", index,
                 (Py_ssize_t)probe->n_parameters);
    return NULL;
}

static bool put_at_parameter(native_probe *probe, const char *role, unsigned long index,
                             const bp_summary *summary, int precision) {
    native_parameter *p = parameter_at(probe, index);
    if (!p) return false;
    if (strcmp(role, "parameter") == 0) {
        p->value = *summary;
        p->has_value = true;
        p->value_bits = precision;
    } else if (strcmp(role, "gradient") == 0) {
        p->gradient = *summary;
        p->has_gradient = true;
        p->gradient_bits = precision;
    } else if (strcmp(role, "unclipped") == 0) {
        p->unclipped = *summary;
        p->has_unclipped = true;
        p->unclipped_bits = precision;
    } else {
        PyErr_Format(PyExc_ValueError, "role: '%s' is not known", role);
        return false;
    }
    return true;
}

PyObject *native_put_summary(native_probe *probe, PyObject *args) {
    const char *role;
    unsigned long index;
    unsigned long long tiny = 0;
    int precision = 0;
    PyObject *numbers;
    bp_summary summary;
    if (!PyArg_ParseTuple(args, "skO!|iK", &role, &index, &PyTuple_Type, &numbers, &precision,
                          &tiny))
        return NULL;
    if (!read_numbers(numbers, &summary)) return NULL;
    summary.subnormal = tiny;
    if (!probe->full || native_is_out(probe)) Py_RETURN_NONE;
    const bool is_error = strcmp(role, "error") == 0;
    if (is_error || strcmp(role, "activation") == 0)
        native_miss(probe,
                    put_at_site(probe,
                                index < NATIVE_MOST_SITES ? (uint32_t)index : NATIVE_MOST_SITES,
                                &summary, precision, is_error));
    else if (!put_at_parameter(probe, role, index, &summary, precision))
        return NULL;
    Py_RETURN_NONE;
}

PyObject *native_put_missing(native_probe *probe, PyObject *args) {
    unsigned long index;
    if (!PyArg_ParseTuple(args, "k", &index)) return NULL;
    if (!probe->full || native_is_out(probe)) Py_RETURN_NONE;
    native_parameter *p = parameter_at(probe, index);
    if (!p) return NULL;
    p->is_missing = true;
    Py_RETURN_NONE;
}

PyObject *native_put_spread(native_probe *probe, PyObject *args) {
    unsigned long index;
    double variation;
    if (!PyArg_ParseTuple(args, "kd", &index, &variation)) return NULL;
    if (!probe->full || native_is_out(probe)) Py_RETURN_NONE;
    native_site *site =
        index < NATIVE_MOST_SITES ? native_stage_site(&probe->stage, (uint32_t)index) : NULL;
    if (!site || !(variation >= 0)) Py_RETURN_NONE;
    site->variation = variation;
    site->has_variation = true;
    Py_RETURN_NONE;
}

/* --- updates ---------------------------------------------------------------------------------- */

PyObject *native_put_update(native_probe *probe, PyObject *args) {
    unsigned long index;
    unsigned long long looked, bad, stalled;
    double squares, effect;
    PyObject *cosine;
    if (!PyArg_ParseTuple(args, "k(KddKK)O", &index, &looked, &squares, &effect, &bad, &stalled,
                          &cosine))
        return NULL;
    if (!probe->full || native_is_out(probe)) Py_RETURN_NONE;
    native_parameter *p = parameter_at(probe, index);
    if (!p) return NULL;
    const double angle = cosine == Py_None ? 0 : PyFloat_AsDouble(cosine);
    if (PyErr_Occurred()) return NULL;
    p->has_update = looked > 0;
    p->looked = (double)looked;
    p->count = p->has_value ? p->value.count : looked;
    p->squares = squares;
    p->effect = effect;
    p->bad = (double)bad;
    p->stalled = (double)stalled;
    p->has_cosine = cosine != Py_None;
    p->cosine = angle;
    Py_RETURN_NONE;
}

PyObject *native_put_adaptivity(native_probe *probe, PyObject *args) {
    unsigned long index;
    double mean;
    if (!PyArg_ParseTuple(args, "kd", &index, &mean)) return NULL;
    if (!probe->full || native_is_out(probe)) Py_RETURN_NONE;
    native_parameter *p = parameter_at(probe, index);
    if (!p) return NULL;
    p->has_adaptivity = mean >= 0 && mean <= 1;
    p->adaptivity = mean;
    if (p->has_value) p->count = p->value.count;
    Py_RETURN_NONE;
}
