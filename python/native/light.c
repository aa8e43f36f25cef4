/* SPDX-License-Identifier: Apache-2.0 */
/* Light steps of a loop that is known: a loss and an update that are like those of the full steps
 * before. What is done here is done a hundred times for one full step. */
#include "probe.h"

#include <math.h>

void native_light_drop(native_light *light) {
    Py_CLEAR(light->model);
    Py_CLEAR(light->optimiser);
}

/* settle(model, optimizer); settle(None, None) ends it. */
PyObject *native_settle(native_probe *probe, PyObject *args) {
    native_light light;
    if (!PyArg_ParseTuple(args, "OO", &light.model, &light.optimiser)) return NULL;
    native_light_drop(&probe->light);
    if (light.model == Py_None) Py_RETURN_NONE;
    Py_INCREF(light.model);
    Py_INCREF(light.optimiser);
    probe->light = light;
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

PyObject *native_light_loss(native_probe *probe, PyObject *const *args, Py_ssize_t n_args) {
    if (n_args != 2) {
        PyErr_SetString(PyExc_TypeError, "light_loss(loss, adds)");
        return NULL;
    }
    if (!is_light(probe)) Py_RETURN_FALSE;
    const double began = native_begins(probe);
    native_pass pass = {.factor = 1, .task = -1, .adds = args[1] == Py_True, .has_loss = true};
    const bool taken = is_true(probe->light.model, probe->state->names.training) &&
                       is_true(args[0], probe->state->names.requires_grad) &&
                       native_read_scalar(probe, args[0], &pass.loss) &&
                       native_stage_begin(&probe->stage, pass);
    native_ends(probe, began);
    if (native_hush()) return NULL;
    return PyBool_FromLong(taken);
}

/* The learning rate of an optimiser's only group; NaN: it has several, or keeps it elsewhere. */
static double rate_of(const native_names *names, PyObject *optimiser) {
    PyObject *groups = PyObject_GetAttr(optimiser, names->param_groups);
    const bool has_one = groups && PyList_Check(groups) && PyList_Size(groups) == 1;
    PyObject *group = has_one ? PyList_GetItem(groups, 0) : NULL;
    PyObject *rate =
        group && PyDict_Check(group) ? PyDict_GetItemWithError(group, names->lr) : NULL;
    const double value = rate && PyFloat_Check(rate) ? PyFloat_AsDouble(rate) : (double)NAN;
    Py_XDECREF(groups);
    return value;
}

/* 0: nothing was done; 1: the step was told; 2: and now there is something to see to. */
PyObject *native_light_step(native_probe *probe, PyObject *optimiser) {
    if (!is_light(probe) || optimiser != probe->light.optimiser) return PyLong_FromLong(0);
    const double began = native_begins(probe);
    bp_step step = {.struct_size = sizeof step,
                    .step = probe->step,
                    .learning_rate = rate_of(&probe->state->names, optimiser)};
    native_ends(probe, began);
    if (native_hush()) return NULL;
    if (isnan(step.learning_rate)) return PyLong_FromLong(0);
    native_end_step(probe, &step, 1);
    return PyLong_FromLong(probe->full || probe->news || probe->blind[0] ? 2 : 1);
}
