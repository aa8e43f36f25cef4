/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters, their gradients and what the update did to them: one pass over all, without the GIL
 * where there is much. */
#include "probe.h"

#include <math.h>
#include <stdlib.h>

void native_parameters_clear(native_probe *probe) {
    for (size_t i = 0; i < probe->n_parameters; i++) {
        native_parameter *p = &probe->parameters[i];
        p->has_value = p->has_gradient = p->has_unclipped = false;
        p->has_update = p->has_cosine = p->has_adaptivity = p->is_missing = false;
    }
    for (size_t i = 0; probe->has_exponents && i < probe->n_parameters; i++)
        probe->exponents[i].has_value = probe->exponents[i].has_gradient = false;
    probe->has_exponents = false;
    probe->factor = 1;
}

void native_parameters_finish(native_probe *probe) {
    for (size_t i = 0; i < probe->n_parameters; i++) free(probe->parameters[i].words);
    free(probe->parameters);
    free(probe->exponents);
    free(probe->cells);
    free(probe->joints);
    free(probe->updates);
    free(probe->views);
    free(probe->tensors);
    free(probe->summaries);
    probe->parameters = NULL;
    probe->exponents = NULL;
    probe->cells = NULL;
    probe->joints = NULL;
    probe->updates = NULL;
    probe->views = NULL;
    probe->tensors = NULL;
    probe->summaries = NULL;
    probe->n_parameters = probe->n_cells = 0;
}

/* --- sequences -------------------------------------------------------------------------------- */

/* Fails with TypeError unless it has an item for each parameter. */
static int check_length(const native_probe *probe, PyObject *sequence) {
    const Py_ssize_t n = PySequence_Size(sequence);
    if (n == (Py_ssize_t)probe->n_parameters) return 0;
    if (n >= 0)
        PyErr_Format(PyExc_ValueError, "expected an item for each of %zd parameters, found %zd",
                     (Py_ssize_t)probe->n_parameters, n);
    return -1;
}

/* Item i as a view; false: not measured. None: `if_none`; False: nothing was to be there. */
static bool open_item(native_probe *probe, PyObject *sequence, size_t i, native_view *view,
                      native_reason if_none) {
    PyObject *item = PySequence_GetItem(sequence, (Py_ssize_t)i);
    const bool is_tensor = item && item != Py_None && item != Py_False;
    native_reason reason = NATIVE_NO_TENSOR;
    if (is_tensor)
        reason = native_view_open(&probe->reader, item, view);
    else if (item)
        reason = item == Py_None ? if_none : NATIVE_MEASURED;
    Py_XDECREF(item);
    native_hush();
    native_miss(probe, reason);
    return reason == NATIVE_MEASURED && is_tensor;
}

static bool is_none(PyObject *sequence, size_t i) {
    PyObject *item = PySequence_GetItem(sequence, (Py_ssize_t)i);
    const bool is = item == Py_None;
    Py_XDECREF(item);
    native_hush();
    return is;
}

/* --- a pass over many tensors ----------------------------------------------------------------- */

static PyThreadState *let_go(native_probe *probe, int64_t elements) {
    if (elements <= NATIVE_LONG) return NULL;
    probe->busy = true;
    return PyEval_SaveThread();
}

static void take_back(native_probe *probe, PyThreadState *state) {
    if (!state) return;
    PyEval_RestoreThread(state);
    probe->busy = false;
}

static PyObject *done(native_probe *probe, double began) {
    native_ends(probe, began);
    if (PyErr_Occurred()) return NULL;
    Py_RETURN_NONE;
}

/* --- gradients before clipping ---------------------------------------------------------------- */

PyObject *native_gradients(native_probe *probe, PyObject *sequence) {
    if (!probe->full || !probe->watch || native_is_out(probe)) Py_RETURN_NONE;
    if (check_length(probe, sequence)) return NULL;
    const double began = native_begins(probe);
    size_t n = 0;
    int64_t elements = 0;
    for (size_t i = 0; i < probe->n_parameters && !PyErr_Occurred(); i++) {
        native_parameter *p = &probe->parameters[i];
        p->has_unclipped = open_item(probe, sequence, i, &probe->views[n], NATIVE_MEASURED);
        if (!p->has_unclipped) continue;
        probe->tensors[n] = probe->views[n].tensor;
        elements += bp_tensor_count(&probe->tensors[n++]);
    }
    PyThreadState *state = let_go(probe, elements);
    bp_summarise_many(probe->summaries, probe->tensors, n);
    take_back(probe, state);
    size_t at = 0;
    for (size_t i = 0; at < n; i++) {
        native_parameter *p = &probe->parameters[i];
        if (!p->has_unclipped) continue;
        p->unclipped_bits = bp_dtype_precision(probe->tensors[at].dtype);
        p->unclipped = probe->summaries[at++];
    }
    while (n > 0) native_view_close(&probe->views[--n]);
    return done(probe, began);
}

/* --- before the update ------------------------------------------------------------------------ */

static bool fit_panel(native_parameter *p, uint64_t count) {
    if (p->words && p->panel.count == count) return true;
    const size_t n_words = bp_panel_words(count);
    uint64_t *words = realloc(p->words, (n_words ? n_words : 1) * sizeof *words);
    if (!words) return false;
    p->words = words;
    bp_panel_init(&p->panel, words, count, p->number);
    return true;
}

/* Each parameter, then its gradient. A parameter that is None belongs to another optimiser: what is
 * known of it stays. */
static size_t open_pairs(native_probe *probe, PyObject *parameters, PyObject *gradients,
                         int64_t *elements) {
    size_t n = 0;
    for (size_t i = 0; i < probe->n_parameters; i++)
        probe->parameters[i].is_open = probe->parameters[i].has_open_gradient = false;
    for (size_t i = 0; i < probe->n_parameters && !PyErr_Occurred(); i++) {
        native_parameter *p = &probe->parameters[i];
        if (!open_item(probe, parameters, i, &probe->views[n], NATIVE_MEASURED)) continue;
        p->is_open = true;
        probe->tensors[n] = probe->views[n].tensor;
        *elements += bp_tensor_count(&probe->tensors[n++]);
        p->is_missing = is_none(gradients, i);
        if (!open_item(probe, gradients, i, &probe->views[n], NATIVE_NO_GRADIENT)) continue;
        p->has_open_gradient = true;
        probe->tensors[n] = probe->views[n].tensor;
        *elements += bp_tensor_count(&probe->tensors[n++]);
    }
    return n;
}

static bool take_exponents(bp_histogram *histogram, bp_exponents *exponents,
                           const bp_tensor *tensor) {
    bp_summary summary;
    bp_summarise_exponents(&summary, exponents, tensor);
    bp_histogram_of(histogram, &summary, exponents);
    return true;
}

/* A second look at the weights and their gradients, in the few steps that want it. */
static void pass_exponents(native_probe *probe) {
    bp_exponents exponents;
    size_t at = 0;
    bp_exponents_init(&exponents);
    for (size_t i = 0; i < probe->n_parameters; i++) {
        const native_parameter *p = &probe->parameters[i];
        native_exponents *taken = &probe->exponents[i];
        if (!p->is_open) continue;
        const bp_tensor *value = &probe->tensors[at++];
        const bp_tensor *gradient = p->has_open_gradient ? &probe->tensors[at++] : NULL;
        if (p->slot != BP_SLOT_WEIGHT) continue;
        taken->has_value = take_exponents(&taken->value, &exponents, value);
        taken->has_gradient = gradient && take_exponents(&taken->gradient, &exponents, gradient);
    }
    probe->has_exponents = true;
}

/* Over the numbers alone. */
static void pass_before(native_probe *probe, size_t n) {
    size_t at = 0;
    bp_summarise_many(probe->summaries, probe->tensors, n);
    for (size_t i = 0; i < probe->n_parameters; i++) {
        native_parameter *p = &probe->parameters[i];
        if (!p->is_open) continue;
        const bp_tensor *value = &probe->tensors[at];
        p->value_bits = bp_dtype_precision(value->dtype);
        p->value = probe->summaries[at++];
        p->has_value = true;
        p->has_gradient = p->has_open_gradient;
        if (!p->has_gradient) continue;
        const bp_tensor *gradient = &probe->tensors[at];
        p->gradient_bits = bp_dtype_precision(gradient->dtype);
        p->gradient = probe->summaries[at++];
        if (fit_panel(p, p->value.count)) bp_panel_before(&p->panel, gradient, value);
    }
    if (bp_watch_wants_histograms(probe->watch)) pass_exponents(probe);
}

PyObject *native_before_update(native_probe *probe, PyObject *parameters, PyObject *gradients,
                               double factor) {
    if (!probe->full || !probe->watch || native_is_out(probe)) Py_RETURN_NONE;
    if (check_length(probe, parameters) || check_length(probe, gradients)) return NULL;
    const double began = native_begins(probe);
    int64_t elements = 0;
    size_t n = open_pairs(probe, parameters, gradients, &elements);
    probe->factor = factor;
    if (PyErr_Occurred()) {
        native_parameters_clear(probe);
    } else {
        PyThreadState *state = let_go(probe, elements);
        pass_before(probe, n);
        take_back(probe, state);
    }
    while (n > 0) native_view_close(&probe->views[--n]);
    return done(probe, began);
}

/* --- after it --------------------------------------------------------------------------------- */

static void read_panel(native_parameter *p, const bp_tensor *after) {
    bp_panel_reading reading;
    if (!p->words || !bp_panel_after(&p->panel, after, &reading)) return;
    p->has_update = true;
    p->count = p->panel.count;
    p->looked = (double)reading.update.count;
    p->squares = reading.update.sum_squares_change;
    p->effect = reading.update.effect;
    p->bad = (double)reading.update.made_non_finite;
    p->stalled = (double)reading.update.stalled;
    p->has_cosine = reading.has_cosine;
    p->cosine = reading.cosine;
}

PyObject *native_after_update(native_probe *probe, PyObject *parameters) {
    if (!probe->full || !probe->watch || native_is_out(probe)) Py_RETURN_NONE;
    if (check_length(probe, parameters)) return NULL;
    const double began = native_begins(probe);
    for (size_t i = 0; i < probe->n_parameters && !PyErr_Occurred(); i++) {
        native_parameter *p = &probe->parameters[i];
        if (!p->has_value || !p->has_gradient) continue;
        native_view view;
        if (!open_item(probe, parameters, i, &view, NATIVE_MEASURED)) continue;
        read_panel(p, &view.tensor);
        native_view_close(&view);
    }
    return done(probe, began);
}

/* --- Adam's second moments -------------------------------------------------------------------- */

#define MOMENT_PLACES 2048

/* Mean of sqrt(v) / (sqrt(v) + epsilon) over evenly spread places. */
static bool adaptivity_of(const bp_tensor *moments, double epsilon, double correction,
                          double *adaptivity) {
    const int64_t count = bp_tensor_count(moments);
    const int64_t n = count < MOMENT_PLACES ? count : MOMENT_PLACES;
    double sum = 0;
    if (n == 0 || !(correction > 0)) return false;
    for (int64_t k = 0; k < n; k++) {
        /* Stretches of count / n, without a product that could overflow. */
        const int64_t place = k * (count / n) + k * (count % n) / n;
        const double root = sqrt(native_element(moments, place) / correction);
        sum += root > 0 ? root / (root + epsilon) : 0;
    }
    *adaptivity = sum / (double)n;
    return isfinite(*adaptivity);
}

static bool number_at(PyObject *sequence, size_t i, double *number) {
    PyObject *item = PySequence_GetItem(sequence, (Py_ssize_t)i);
    *number = item ? PyFloat_AsDouble(item) : 0;
    Py_XDECREF(item);
    return !PyErr_Occurred();
}

PyObject *native_second_moments(native_probe *probe, PyObject *moments, PyObject *epsilons,
                                PyObject *corrections) {
    if (!probe->full || !probe->watch || native_is_out(probe)) Py_RETURN_NONE;
    if (check_length(probe, moments) || check_length(probe, epsilons) ||
        check_length(probe, corrections))
        return NULL;
    const double began = native_begins(probe);
    for (size_t i = 0; i < probe->n_parameters && !PyErr_Occurred(); i++) {
        native_parameter *p = &probe->parameters[i];
        double epsilon, correction;
        native_view view;
        if (!number_at(epsilons, i, &epsilon) || !number_at(corrections, i, &correction)) break;
        if (!open_item(probe, moments, i, &view, NATIVE_MEASURED)) continue;
        p->has_adaptivity = adaptivity_of(&view.tensor, epsilon, correction, &p->adaptivity);
        if (p->has_adaptivity) p->count = (uint64_t)bp_tensor_count(&view.tensor);
        native_view_close(&view);
    }
    return done(probe, began);
}
