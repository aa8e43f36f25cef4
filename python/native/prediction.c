/* SPDX-License-Identifier: Apache-2.0 */
/* What theory says of the network whose step was recorded last, at the size that its weights have.
 */
#include "probe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Doubles as bytes, aligned; NULL where `bytes` is None, or with an exception. */
static double *doubles_of(PyObject *bytes, size_t n) {
    char *from;
    Py_ssize_t n_bytes;
    if (bytes == Py_None || n == 0) return NULL;
    if (PyBytes_AsStringAndSize(bytes, &from, &n_bytes)) return NULL;
    if ((size_t)n_bytes != n * sizeof(double)) {
        PyErr_Format(PyExc_ValueError, "expected %zu numbers", n);
        return NULL;
    }
    double *copy = malloc((size_t)n_bytes);
    if (!copy) {
        PyErr_NoMemory();
        return NULL;
    }
    memcpy(copy, from, (size_t)n_bytes);
    return copy;
}

/* A quantity of each layer, NaN where it was not measured. */
static double *column_of(const bp_record *record, bp_quantity quantity) {
    double *column = malloc((record->n_layers + 1u) * sizeof *column);
    for (uint32_t row = 0; column && row <= record->n_layers; row++)
        column[row] = bp_record_has(record, quantity, row) ? bp_record_get(record, quantity, row)
                                                           : (double)NAN;
    if (!column) PyErr_NoMemory();
    return column;
}

static int put_number(PyObject *dict, const char *key, double value) {
    return native_put(dict, key, isnan(value) ? Py_NewRef(Py_None) : PyFloat_FromDouble(value));
}

static PyObject *gains_of(const bp_model *model, const bp_prediction *prediction) {
    const bp_gain *gains;
    const uint32_t n = bp_prediction_profile(prediction, &gains);
    PyObject *list = PyList_New(0);
    for (uint32_t i = 0; list && i < n; i++) {
        PyObject *row = native_gain(model, &gains[i]);
        const bp_layer_prediction *layer = bp_prediction_layer(prediction, gains[i].layer);
        if (row && put_number(row, "critical_std", layer->critical_std)) Py_CLEAR(row);
        if (native_append(list, row)) Py_CLEAR(list);
    }
    return list;
}

static PyObject *told(const bp_model *model, const bp_prediction *prediction) {
    const bp_prediction_overview *o = bp_prediction_overview_of(prediction);
    const bp_layer_prediction *main = bp_prediction_layer(prediction, o->main_layer);
    const struct {
        const char *name;
        double value;
    } numbers[] = {{"trainable_layers", o->trainable_layers},
                   {"depth_forward", o->depth_forward},
                   {"depth_backward", o->depth_backward},
                   {"sigma_w", main->sigma_w},
                   {"critical_sigma", main->critical_sigma}};
    PyObject *dict = Py_BuildValue("{sN sN sI sN}", "verdict", native_text(o->verdict),
                                   "not_predicted", native_text(o->not_predicted), "main_layer",
                                   (unsigned)o->main_layer, "gains", gains_of(model, prediction));
    for (size_t i = 0; dict && i < sizeof numbers / sizeof *numbers; i++)
        if (put_number(dict, numbers[i].name, numbers[i].value)) Py_CLEAR(dict);
    return dict;
}

static PyObject *predict(const bp_model *model, const bp_prediction_input *input) {
    bp_prediction *prediction = NULL;
    bp_error error = {0};
    if (bp_prediction_open(&prediction, model, input, NULL, &error) != BP_OK)
        return native_raise(&error);
    PyObject *dict = told(model, prediction);
    bp_prediction_close(prediction);
    return dict;
}

PyObject *native_prediction(native_probe *probe, PyObject *args) {
    PyObject *inputs, *means, *errors;
    unsigned n;
    bp_prediction_input input = BP_PREDICTION_INPUT_INIT;
    if (!PyArg_ParseTuple(args, "IOOOdd", &n, &inputs, &means, &errors, &input.near, &input.far))
        return NULL;
    const bp_record *record =
        probe->watch && !native_is_out(probe) ? bp_watch_record(probe->watch) : NULL;
    if (!record) Py_RETURN_NONE;
    double *const gram = doubles_of(inputs, (size_t)n * n), *const mean = doubles_of(means, n);
    double *const error = doubles_of(errors, (size_t)n * n);
    double *const weights = column_of(record, BP_Q_WEIGHT_RMS);
    double *const biases = column_of(record, BP_Q_BIAS_RMS);
    input.n_samples = gram ? n : 0;
    input.inputs = gram;
    input.means = mean;
    input.errors = error;
    input.weight_std = weights;
    input.bias_std = biases;
    PyObject *dict = PyErr_Occurred() ? NULL : predict(probe->model, &input);
    free(gram);
    free(mean);
    free(error);
    free(weights);
    free(biases);
    return dict;
}
