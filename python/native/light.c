/* SPDX-License-Identifier: Apache-2.0 */
/* Light steps of a loop that is known: a loss and an update that are like those of the full steps
 * before. Here every microsecond is paid a thousand times for one full step. */
#include "probe.h"

#include <math.h>

void native_light_drop(native_probe *probe) {
    Py_CLEAR(probe->light.model);
    Py_CLEAR(probe->light.optimiser);
    probe->light.samples = 0;
    probe->light.n_losses = 0;
}

/* settle(model, optimizer, samples_per_row, samples); settle(None, None, 1, 0) ends it. */
PyObject *native_settle(native_probe *probe, PyObject *args) {
    PyObject *model, *optimiser;
    double samples_per_row;
    long long samples;
    if (!PyArg_ParseTuple(args, "OOdL", &model, &optimiser, &samples_per_row, &samples))
        return NULL;
    native_light_drop(probe);
    if (model == Py_None) Py_RETURN_NONE;
    Py_INCREF(model);
    Py_INCREF(optimiser);
    probe->light.model = model;
    probe->light.optimiser = optimiser;
    probe->light.samples_per_row = samples_per_row;
    probe->light.samples_of_loss = samples;
    Py_RETURN_NONE;
}

static bool is_light(native_probe *probe) {
    return probe->light.model && !probe->full && probe->watch && !native_is_out(probe);
}

static bool is_true(PyObject *object, PyObject *name) {
    PyObject *value = PyObject_GetAttr(object, name);
    const bool is = value == Py_True;
    Py_XDECREF(value);
    return is;
}

/* Samples by the first argument's rows; as many as last time where it has none. */
static int64_t samples_of(const native_probe *probe, PyObject *args) {
    PyObject *first =
        PyTuple_Check(args) && PyTuple_Size(args) > 0 ? PyTuple_GetItem(args, 0) : NULL;
    PyObject *shape = first ? PyObject_GetAttr(first, probe->state->names.shape) : NULL;
    PyObject *rows =
        shape && PyTuple_Check(shape) && PyTuple_Size(shape) > 0 ? PyTuple_GetItem(shape, 0) : NULL;
    const long long n = rows && PyLong_Check(rows) ? PyLong_AsLongLong(rows) : -1;
    Py_XDECREF(shape);
    native_hush();
    return n < 0 ? probe->light.samples_of_loss : llround((double)n * probe->light.samples_per_row);
}

/* light_loss(args, loss, adds): args are those of the loss function. */
PyObject *native_light_loss(native_probe *probe, PyObject *const *args, Py_ssize_t n_args) {
    if (n_args != 3) {
        PyErr_SetString(PyExc_TypeError, "light_loss(args, loss, adds)");
        return NULL;
    }
    if (!is_light(probe)) Py_RETURN_FALSE;
    const double began = native_begins(probe);
    double value;
    bool taken = is_true(probe->light.model, probe->state->names.training) &&
                 is_true(args[1], probe->state->names.requires_grad) &&
                 native_read_scalar(probe, args[1], &value);
    taken = taken && native_stage_begin(&probe->stage, (native_pass){.factor = 1,
                                                                     .weighted = value,
                                                                     .task = -1,
                                                                     .adds = args[2] == Py_True,
                                                                     .has_loss = true});
    if (taken) {
        probe->light.n_losses++;
        probe->light.samples += samples_of(probe, args[0]);
    }
    native_ends(probe, began);
    if (native_hush()) return NULL;
    return PyBool_FromLong(taken);
}

/* The learning rate of an optimiser's only group; NaN: it has several, or keeps it elsewhere. */
static double rate_of(const native_probe *probe, PyObject *optimiser) {
    PyObject *groups = PyObject_GetAttr(optimiser, probe->state->names.param_groups);
    PyObject *group = groups && PyList_Check(groups) && PyList_Size(groups) == 1
                          ? PyList_GetItem(groups, 0)
                          : NULL;
    PyObject *rate = group && PyDict_Check(group)
                         ? PyDict_GetItemWithError(group, probe->state->names.lr)
                         : NULL;
    const double value = rate && PyFloat_Check(rate) ? PyFloat_AsDouble(rate) : (double)NAN;
    Py_XDECREF(groups);
    return value;
}

/* 0: nothing was done; 1: the step was told; 2: and now there is something to see to. */
PyObject *native_light_step(native_probe *probe, PyObject *optimiser) {
    /* A loss that was told in another way has samples that are not known here. */
    const bool has_all = probe->stage.n_passes == probe->light.n_losses;
    probe->light.n_losses = 0;
    if (!is_light(probe) || !has_all || optimiser != probe->light.optimiser)
        return PyLong_FromLong(0);
    const double began = native_begins(probe);
    const double rate = rate_of(probe, optimiser);
    native_ends(probe, began);
    if (native_hush()) return NULL;
    if (isnan(rate)) return PyLong_FromLong(0);
    bp_step step = {.struct_size = sizeof step,
                    .step = probe->step,
                    .samples = probe->light.samples,
                    .learning_rate = rate};
    probe->light.samples = 0;
    native_end_step(probe, &step, 1);
    return PyLong_FromLong(probe->full || probe->news || probe->blind[0] ? 2 : 1);
}
