/* SPDX-License-Identifier: Apache-2.0 */
/* What was seen in a step: calls of sites, their error signals, backward passes. Arrays grow and
 * stay, so that a step that is like the ones before allocates nothing. */
#include "probe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TIME_BITS (NATIVE_FIRST_TENTH | NATIVE_LAST_TENTH | NATIVE_TIME_SECOND)

/* --- memory ----------------------------------------------------------------------------------- */

/* Room for one more; false without memory. */
static bool grow(void **array, size_t *room, size_t n, size_t item_bytes) {
    if (n < *room) return true;
    const size_t wanted = *room ? 2 * *room : 64;
    void *grown = realloc(*array, wanted * item_bytes);
    if (!grown) return false;
    *array = grown;
    *room = wanted;
    return true;
}

native_site *native_stage_site(native_stage *stage, uint32_t site) {
    if (site >= NATIVE_MOST_SITES) return NULL;
    if (site < stage->n_sites) return &stage->sites[site];
    const size_t wanted = site < 64 ? 64 : 2 * (size_t)site;
    native_site *grown = realloc(stage->sites, wanted * sizeof *grown);
    if (!grown) return NULL;
    memset(grown + stage->n_sites, 0, (wanted - stage->n_sites) * sizeof *grown);
    stage->sites = grown;
    stage->n_sites = wanted;
    return &grown[site];
}

void native_stage_clear(native_stage *stage) {
    stage->n_calls = stage->n_errors = stage->n_passes = 0;
    stage->serial++;
    for (size_t i = 0; i < stage->n_sites; i++) {
        native_site *site = &stage->sites[i];
        site->has_variation = site->has_counts = site->has_scales = false;
    }
}

void native_stage_finish(native_stage *stage) {
    for (size_t i = 0; i < stage->n_sites; i++) native_units_finish(&stage->sites[i]);
    free(stage->scratch);
    free(stage->calls);
    free(stage->errors);
    free(stage->passes);
    free(stage->sites);
    *stage = (native_stage){.serial = stage->serial + 1};
}

native_pass *native_stage_begin(native_stage *stage, native_pass pass) {
    if (!grow((void **)&stage->passes, &stage->passes_room, stage->n_passes, sizeof pass))
        return NULL;
    stage->passes[stage->n_passes] = pass;
    return &stage->passes[stage->n_passes++];
}

native_call *native_stage_call(native_stage *stage, uint32_t site, native_reason *reason) {
    *reason = NATIVE_MEMORY;
    if (stage->n_calls >= NATIVE_MOST_CALLS) {
        *reason = NATIVE_CALLS;
        return NULL;
    }
    if (!native_stage_site(stage, site)) return NULL;
    if (!grow((void **)&stage->calls, &stage->calls_room, stage->n_calls, sizeof(native_call)))
        return NULL;
    native_call *call = &stage->calls[stage->n_calls++];
    *call = (native_call){.site = site};
    return call;
}

native_reason native_stage_error(native_stage *stage, uint32_t call, const bp_summary *summary,
                                 int precision) {
    if (stage->n_passes == 0 &&
        !native_stage_begin(stage, (native_pass){.factor = 1, .task = -1, .implied = true}))
        return NATIVE_MEMORY;
    if (stage->n_errors >= 2 * NATIVE_MOST_CALLS) return NATIVE_CALLS;
    if (!grow((void **)&stage->errors, &stage->errors_room, stage->n_errors, sizeof(native_error)))
        return NATIVE_MEMORY;
    stage->errors[stage->n_errors++] = (native_error){.call = call,
                                                      .pass = (uint32_t)stage->n_passes - 1,
                                                      .precision = precision,
                                                      .summary = *summary};
    stage->calls[call].forgotten = false;
    return NATIVE_MEASURED;
}

/* All passes but the newest do not count, nor do calls that only they came back to. */
void native_stage_fresh(native_stage *stage) {
    if (stage->n_passes < 2) return;
    const uint32_t newest = (uint32_t)stage->n_passes - 1;
    for (size_t i = 0; i < newest; i++) stage->passes[i].forgotten = true;
    for (size_t i = 0; i < stage->n_errors; i++)
        stage->calls[stage->errors[i].call].forgotten = true;
    for (size_t i = 0; i < stage->n_errors; i++)
        if (stage->errors[i].pass == newest) stage->calls[stage->errors[i].call].forgotten = false;
}

/* --- an activation ---------------------------------------------------------------------------- */

static void measure(native_probe *probe, const bp_tensor *tensor, bp_summary *summary,
                    native_site *spread) {
    PyThreadState *state = NULL;
    if (bp_tensor_count(tensor) > NATIVE_LONG) {
        probe->busy = true;
        state = PyEval_SaveThread();
    }
    bp_summarise(summary, tensor);
    if (spread) native_units_add(spread, tensor);
    if (state) {
        PyEval_RestoreThread(state);
        probe->busy = false;
    }
}

static bool requires_gradient(native_probe *probe, PyObject *tensor) {
    PyObject *answer = PyObject_GetAttr(tensor, probe->state->names.requires_grad);
    const bool does = answer == Py_True;
    Py_XDECREF(answer);
    native_hush();
    return does;
}

static native_reason observe(native_probe *probe, uint32_t site, PyObject *tensor, unsigned what) {
    native_stage *stage = &probe->stage;
    native_view view;
    native_reason reason = native_view_open(&probe->reader, tensor, &view);
    if (reason != NATIVE_MEASURED) return reason;
    bp_summary summary;
    native_site *spread = what & NATIVE_SPREAD ? native_stage_site(stage, site) : NULL;
    const uint64_t serial = stage->serial;
    if (what & (NATIVE_ACTIVATION | NATIVE_SPREAD)) measure(probe, &view.tensor, &summary, spread);
    const int64_t rows = view.tensor.ndim > 0 ? view.tensor.shape[0] : 1;
    const int precision = bp_dtype_precision(view.tensor.dtype);
    native_view_close(&view);
    if (stage->serial != serial) return NATIVE_MEASURED; /* forgotten in the meantime */
    native_call *call = native_stage_call(stage, site, &reason);
    if (!call) return reason;
    call->rows = rows;
    call->precision = precision;
    call->part = what & TIME_BITS;
    call->has_activation = what & NATIVE_ACTIVATION;
    if (call->has_activation) call->activation = summary;
    const uint32_t number = (uint32_t)(stage->n_calls - 1);
    if (!(what & NATIVE_ERROR) || !requires_gradient(probe, tensor)) return NATIVE_MEASURED;
    call->hooked = true;
    native_hook_error(probe, tensor, number);
    return NATIVE_MEASURED;
}

PyObject *native_forward(native_probe *probe, PyObject *const *args, Py_ssize_t n_args) {
    if (n_args != 3) {
        PyErr_SetString(PyExc_TypeError, "forward(site, tensor, what)");
        return NULL;
    }
    if (!probe->full || native_is_out(probe)) Py_RETURN_FALSE;
    const unsigned long site = PyLong_AsUnsignedLong(args[0]);
    const unsigned long what = PyErr_Occurred() ? 0 : PyLong_AsUnsignedLong(args[2]);
    if (PyErr_Occurred()) return NULL;
    const double began = native_begins(probe);
    const native_reason reason =
        observe(probe, site < NATIVE_MOST_SITES ? (uint32_t)site : NATIVE_MOST_SITES, args[1],
                (unsigned)what);
    native_miss(probe, reason);
    native_ends(probe, began);
    if (PyErr_Occurred()) return NULL;
    return PyBool_FromLong(reason == NATIVE_MEASURED);
}

/* --- an error signal -------------------------------------------------------------------------- */

/* The time steps that are wanted; false: there is no time. Without a batch it comes first. */
static bool narrow(bp_tensor *tensor, unsigned part) {
    if (part == 0) return true;
    if (tensor->ndim < 2) return false;
    const int32_t axis = tensor->ndim > 2 && part & NATIVE_TIME_SECOND ? 1 : 0;
    const int64_t steps = tensor->shape[axis], tenth = steps < 10 ? 1 : steps / 10;
    if (steps < 1) return false;
    if (part & NATIVE_LAST_TENTH) {
        const int64_t skipped = (steps - tenth) * tensor->stride[axis];
        tensor->data =
            (const uint8_t *)tensor->data + skipped * (int64_t)bp_dtype_bytes(tensor->dtype);
    }
    tensor->shape[axis] = tenth;
    return true;
}

static native_reason take_error(native_probe *probe, uint32_t number, PyObject *gradient) {
    native_stage *stage = &probe->stage;
    native_view view;
    bp_summary summary;
    const uint64_t serial = stage->serial;
    native_reason reason = native_view_open(&probe->reader, gradient, &view);
    if (reason != NATIVE_MEASURED) return reason;
    const bool has_part = narrow(&view.tensor, stage->calls[number].part);
    if (has_part) measure(probe, &view.tensor, &summary, NULL);
    const int precision = bp_dtype_precision(view.tensor.dtype);
    native_view_close(&view);
    if (!has_part || stage->serial != serial) return NATIVE_MEASURED;
    return native_stage_error(stage, number, &summary, precision);
}

int native_error_came(native_probe *probe, uint64_t serial, uint32_t call, PyObject *gradient) {
    const bool is_ours = serial == probe->stage.serial && call < probe->stage.n_calls;
    if (!is_ours || gradient == Py_None || native_is_out(probe)) return 0;
    const double began = native_begins(probe);
    native_miss(probe, take_error(probe, call, gradient));
    native_ends(probe, began);
    return PyErr_Occurred() ? -1 : 0;
}

/* --- a loss ----------------------------------------------------------------------------------- */

/* Of a loss that was not reduced: its mean, and the sum of its gradient. */
static native_reason read_number(native_probe *probe, PyObject *object, bool as_sum,
                                 double *value) {
    native_view view;
    if (PyFloat_Check(object) || PyLong_Check(object)) {
        *value = PyFloat_AsDouble(object);
        return native_hush() ? NATIVE_UNREADABLE : NATIVE_MEASURED;
    }
    const native_reason reason = native_view_open(&probe->reader, object, &view);
    if (reason != NATIVE_MEASURED) return reason;
    const int64_t count = bp_tensor_count(&view.tensor);
    *value = (double)NAN;
    if (count == 1) {
        *value = native_element(&view.tensor, 0);
    } else if (count > 1) {
        bp_summary summary;
        bp_summarise(&summary, &view.tensor);
        const double mean =
            bp_summary_non_finite(&summary) ? (double)NAN : bp_summary_mean(&summary);
        *value = as_sum ? mean * (double)count : mean;
    }
    native_view_close(&view);
    return NATIVE_MEASURED;
}

/* The framework's number of the backward pass that goes on; -1: unknown. Losses that are added have
 * one pass. */
static long long task_number(native_probe *probe) {
    if (!probe->looked_for_task_number) {
        probe->looked_for_task_number = true;
        PyObject *modules = PyImport_GetModuleDict();
        PyObject *inner = modules ? PyDict_GetItemString(modules, "torch._C") : NULL;
        if (inner) probe->task_number = PyObject_GetAttrString(inner, "_current_graph_task_id");
        native_hush();
    }
    if (!probe->task_number) return -1;
    PyObject *answer = PyObject_CallNoArgs(probe->task_number);
    const long long number = answer ? PyLong_AsLongLong(answer) : -1;
    Py_XDECREF(answer);
    native_hush();
    return number;
}

/* One more loss of a pass that goes on. */
static void join_pass(native_pass *pass, double value, double factor, int64_t terms) {
    if (fabs(factor) > fabs(pass->factor)) {
        pass->loss = pass->loss * (pass->factor / factor) + value;
        pass->factor = factor;
        pass->terms = terms;
    } else {
        const double share = factor / pass->factor;
        pass->loss += value * (isnan(share) ? 1 : share);
    }
}

static int call_on_backward(native_probe *probe, size_t number) {
    PyObject *callback = probe->on_backward;
    if (!callback || !probe->full) return 0;
    Py_INCREF(callback);
    PyObject *argument = PyLong_FromSize_t(number);
    PyObject *answer = argument ? PyObject_CallFunctionObjArgs(callback, argument, NULL) : NULL;
    Py_XDECREF(answer);
    Py_XDECREF(argument);
    Py_DECREF(callback);
    return native_hush() ? -1 : 0;
}

int native_backward_began(native_probe *probe, double value, bool has_value, int64_t terms,
                          PyObject *gradient) {
    double factor = (double)NAN;
    if (native_is_out(probe)) return 0;
    const double began = native_begins(probe);
    read_number(probe, gradient, true, &factor);
    native_stage *stage = &probe->stage;
    const long long task = task_number(probe);
    native_pass *newest = stage->n_passes ? &stage->passes[stage->n_passes - 1] : NULL;
    const bool goes_on = newest && task >= 0 && newest->task == task;
    if (goes_on && has_value)
        join_pass(newest, value, factor, terms);
    else if (!goes_on)
        native_stage_begin(stage, (native_pass){.factor = factor,
                                                .loss = has_value ? value : 0,
                                                .terms = terms,
                                                .task = task,
                                                .has_loss = has_value});
    native_ends(probe, began);
    if (PyErr_Occurred()) return -1;
    return goes_on ? 0 : call_on_backward(probe, stage->n_passes);
}

PyObject *native_loss(native_probe *probe, PyObject *const *args, Py_ssize_t n_args) {
    if (n_args != 2) {
        PyErr_SetString(PyExc_TypeError, "loss(tensor, terms)");
        return NULL;
    }
    const long long terms = PyLong_AsLongLong(args[1]);
    if (terms == -1 && PyErr_Occurred()) return NULL;
    if (native_is_out(probe)) Py_RETURN_NONE;
    const double began = native_begins(probe);
    double value = (double)NAN;
    const native_reason reason = read_number(probe, args[0], false, &value);
    const bool is_number = PyFloat_Check(args[0]) || PyLong_Check(args[0]);
    if (is_number)
        native_stage_begin(
            &probe->stage,
            (native_pass){
                .factor = 1, .loss = value, .terms = terms, .task = -1, .has_loss = true});
    else if (!PyErr_Occurred() && requires_gradient(probe, args[0]))
        native_hook_loss(probe, args[0], value, reason == NATIVE_MEASURED, terms);
    native_ends(probe, began);
    if (PyErr_Occurred()) return NULL;
    Py_RETURN_NONE;
}
