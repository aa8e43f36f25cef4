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
    native_light light = {.n_losses = 0};
    if (!PyArg_ParseTuple(args, "OO", &light.model, &light.optimiser)) return NULL;
    native_light_drop(&probe->light);
    if (light.model == Py_None) Py_RETURN_NONE;
    Py_INCREF(light.model);
    Py_INCREF(light.optimiser);
    probe->light.model = light.model;
    probe->light.optimiser = light.optimiser;
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

/* The only number of a tensor whose memory can be read. */
static bool read_scalar(native_probe *probe, PyObject *tensor, double *value) {
    native_view view;
    if (native_view_open(&probe->reader, tensor, &view) != NATIVE_MEASURED) return false;
    const bool is_one = bp_tensor_count(&view.tensor) == 1;
    if (is_one) *value = native_element(&view.tensor, 0);
    native_view_close(&view);
    return is_one;
}

PyObject *native_light_loss(native_probe *probe, PyObject *loss) {
    if (!is_light(probe)) Py_RETURN_FALSE;
    const double began = native_begins(probe);
    native_pass pass = {.factor = 1, .task = -1, .has_loss = true};
    const bool taken = is_true(probe->light.model, probe->state->names.training) &&
                       is_true(loss, probe->state->names.requires_grad) &&
                       read_scalar(probe, loss, &pass.loss) && isfinite(pass.loss) &&
                       native_stage_begin(&probe->stage, pass);
    if (taken) probe->light.n_losses++;
    native_ends(probe, began);
    if (native_hush()) return NULL;
    return PyBool_FromLong(taken);
}

/* 0: nothing was done; 1: the step was told; 2: and now there is something to see to. */
PyObject *native_light_step(native_probe *probe, PyObject *optimiser) {
    const bool has_all = probe->light.n_losses == probe->stage.n_passes;
    probe->light.n_losses = 0;
    if (!is_light(probe) || !has_all || optimiser != probe->light.optimiser)
        return PyLong_FromLong(0);
    bp_step step = {.struct_size = sizeof step,
                    .step = probe->step,
                    .learning_rate = (double)NAN,
                    .flags = BP_STEP_SAMPLES_UNKNOWN};
    native_end_step(probe, &step, 1);
    return PyLong_FromLong(probe->full || probe->news || probe->blind[0] ? 2 : 1);
}
