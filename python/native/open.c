/* SPDX-License-Identifier: Apache-2.0 */
/* The network of a probe becomes known: its model, its watch, what belongs to which layer. */
#include "probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const slot_words[BP_N_SLOTS] = {
    [BP_SLOT_WEIGHT] = "weight",
    [BP_SLOT_BIAS] = "bias",
    [BP_SLOT_NORM_GAIN] = "norm_gain",
    [BP_SLOT_NORM_BIAS] = "norm_bias",
    [BP_SLOT_RECURRENT_WEIGHT] = "recurrent_weight",
    [BP_SLOT_RECURRENT_BIAS] = "recurrent_bias",
};

static const char *const role_words[] = {
    [BP_ROLE_ACTIVATION] = "activation",
    [BP_ROLE_ERROR_OUTPUT] = "error_output",
    [BP_ROLE_ERROR_PRE_ACTIVATION] = "error_pre_activation",
    [BP_ROLE_ERROR_PRE_NORM] = "error_pre_norm",
    [BP_ROLE_ERROR_INPUT] = "error_input",
    [NATIVE_ROLE_THROUGH_TIME] = "error_through_time",
};

/* The index of a word in a list, which may have gaps; -1 with an exception. */
static int index_of(const char *what, const char *word, const char *const *words, int n) {
    for (int i = 0; i < n; i++)
        if (words[i] && strcmp(word, words[i]) == 0) return i;
    PyErr_Format(PyExc_ValueError, "%s: '%s' is not known", what, word);
    return -1;
}

static bool layer_fits(const native_probe *probe, unsigned long layer) {
    if (layer <= probe->n_layers) return true;
    PyErr_Format(PyExc_ValueError, "layer %lu: the network has %u", layer,
                 (unsigned)probe->n_layers);
    return false;
}

/* Item i of a sequence, which must be a tuple; owned. */
static PyObject *tuple_at(PyObject *sequence, size_t i) {
    PyObject *tuple = PySequence_GetItem(sequence, (Py_ssize_t)i);
    if (!tuple || PyTuple_Check(tuple)) return tuple;
    Py_DECREF(tuple);
    PyErr_SetString(PyExc_TypeError, "a site or parameter is a tuple");
    return NULL;
}

/* --- sites ------------------------------------------------------------------------------------ */

static void note_geometry(native_probe *probe, const native_place *place, int axis,
                          uint64_t n_units, bool exact) {
    native_site *site = native_stage_site(&probe->stage, place->site);
    if (!site || axis < 1) return;
    site->geometry = (native_geometry){
        .axis = axis, .n_units = n_units, .exact = exact, .is_input = place->layer == 0};
    if (place->layer == 0) return;
    site->geometry.kind = bp_layer_unit_kind(bp_model_layer(probe->model, place->layer));
    site->geometry.dead_samples = bp_dead_samples(bp_model_recipe(probe->model));
}

static bool read_place(native_probe *probe, PyObject *tuple, native_place *place) {
    unsigned long site, layer;
    unsigned long long n_units = 0;
    const char *word;
    int axis = 0, exact = 1;
    if (!PyArg_ParseTuple(tuple, "kks|iKp", &site, &layer, &word, &axis, &n_units, &exact))
        return false;
    const int role =
        index_of("role", word, role_words, (int)(sizeof role_words / sizeof *role_words));
    if (role < 0 || !layer_fits(probe, layer)) return false;
    *place = (native_place){.layer = (uint32_t)layer,
                            .role = (bp_role)role,
                            .site = site < NATIVE_MOST_SITES ? (uint32_t)site : NATIVE_MOST_SITES};
    if (role == BP_ROLE_ACTIVATION) note_geometry(probe, place, axis, n_units, exact);
    return true;
}

static bool read_places(native_probe *probe, PyObject *sequence) {
    const Py_ssize_t n = PySequence_Size(sequence);
    if (n < 0) return false;
    probe->places = calloc((size_t)n + 1, sizeof *probe->places);
    if (!probe->places) {
        PyErr_NoMemory();
        return false;
    }
    for (probe->n_places = 0; probe->n_places < (size_t)n; probe->n_places++) {
        PyObject *tuple = tuple_at(sequence, probe->n_places);
        const bool good = tuple && read_place(probe, tuple, &probe->places[probe->n_places]);
        Py_XDECREF(tuple);
        if (!good) return false;
    }
    return true;
}

/* --- parameters ------------------------------------------------------------------------------- */

static uint32_t cell_of(native_probe *probe, uint32_t layer, bp_slot slot) {
    for (size_t i = 0; i < probe->n_cells; i++)
        if (probe->cells[i].layer == layer && probe->cells[i].slot == slot) return (uint32_t)i;
    probe->cells[probe->n_cells] = (native_cell){.layer = layer, .slot = slot};
    return (uint32_t)probe->n_cells++;
}

static bool read_parameter(native_probe *probe, PyObject *tuple, native_parameter *parameter) {
    unsigned long layer;
    long long shard;
    const char *word;
    if (!PyArg_ParseTuple(tuple, "ksL", &layer, &word, &shard)) return false;
    const int slot = index_of("slot", word, slot_words, BP_N_SLOTS);
    if (slot < 0 || !layer_fits(probe, layer)) return false;
    parameter->layer = (uint32_t)layer;
    parameter->slot = (bp_slot)slot;
    parameter->shard = shard;
    parameter->cell = cell_of(probe, parameter->layer, parameter->slot);
    return true;
}

static bool read_parameters(native_probe *probe, PyObject *sequence) {
    const Py_ssize_t n = PySequence_Size(sequence);
    if (n < 0) return false;
    const size_t room = (size_t)n + 1;
    probe->parameters = calloc(room, sizeof *probe->parameters);
    probe->exponents = calloc(room, sizeof *probe->exponents);
    probe->cells = calloc(room, sizeof *probe->cells);
    probe->joints = calloc(room, sizeof *probe->joints);
    probe->updates = calloc(probe->n_layers + 1u, sizeof *probe->updates);
    probe->views = calloc(2 * room, sizeof *probe->views);
    probe->tensors = calloc(2 * room, sizeof *probe->tensors);
    probe->summaries = calloc(2 * room, sizeof *probe->summaries);
    if (!probe->parameters || !probe->exponents || !probe->cells || !probe->joints ||
        !probe->updates || !probe->views || !probe->tensors || !probe->summaries) {
        PyErr_NoMemory();
        return false;
    }
    for (probe->n_parameters = 0; probe->n_parameters < (size_t)n; probe->n_parameters++) {
        native_parameter *parameter = &probe->parameters[probe->n_parameters];
        parameter->number = (uint32_t)probe->n_parameters;
        PyObject *tuple = tuple_at(sequence, probe->n_parameters);
        const bool good = tuple && read_parameter(probe, tuple, parameter);
        Py_XDECREF(tuple);
        if (!good) return false;
    }
    return true;
}

/* --- the watch -------------------------------------------------------------------------------- */

static void on_message(void *context, const char *text) {
    native_probe *probe = context;
    snprintf(probe->blind, sizeof probe->blind, "%s", text);
}

static void on_finding(void *context, const bp_finding *finding) {
    native_probe *probe = context;
    probe->news |= UINT64_C(1) << (unsigned)finding->problem;
}

static bool whole_option(PyObject *dict, const char *key, int64_t *out, bool *given) {
    PyObject *value = native_item(dict, key);
    if (!value) return !PyErr_Occurred();
    *out = PyLong_AsLongLong(value);
    if (given) *given = true;
    return !PyErr_Occurred();
}

static bool read_options(PyObject *dict, bp_watch_options *options) {
    int64_t most = 0, ranks = 1;
    if (!PyDict_Check(dict)) {
        PyErr_SetString(PyExc_TypeError, "options are a dict");
        return false;
    }
    PyObject *budget = native_item(dict, "budget");
    if (budget) options->budget_fraction = PyFloat_AsDouble(budget);
    if (PyErr_Occurred() || !whole_option(dict, "every", &options->every, NULL) ||
        !whole_option(dict, "max_log_bytes", &most, NULL) ||
        !whole_option(dict, "ranks", &ranks, NULL) ||
        !whole_option(dict, "resume_step", &options->resume_step, &options->resumes))
        return false;
    if (most < 0 || options->resume_step < 0) {
        PyErr_SetString(PyExc_ValueError, "max_log_bytes and resume_step are not negative");
        return false;
    }
    options->max_log_bytes = (uint64_t)most;
    options->ranked = ranks > 1;
    PyObject *folder = native_item(dict, "run_folder");
    if (!folder) return !PyErr_Occurred();
    char *path;
    if (PyBytes_AsStringAndSize(folder, &path, NULL)) return false;
    options->run_folder = path;
    return true;
}

static bool open_watch(native_probe *probe, PyObject *dict) {
    bp_watch_options options = BP_WATCH_OPTIONS_INIT;
    bp_error error;
    bp_status status;
    options.on_message = on_message;
    options.on_finding = on_finding;
    options.context = probe;
    options.summaries_only = true;
    if (!read_options(dict, &options)) return false;
    probe->busy = true;
    PyThreadState *state = PyEval_SaveThread();
    status = bp_watch_open(&probe->watch, probe->model, &options, &error);
    PyEval_RestoreThread(state);
    probe->busy = false;
    if (status != BP_OK) {
        native_raise(&error);
        return false;
    }
    probe->diagnosis = bp_watch_diagnosis(probe->watch);
    probe->step = options.resumes ? options.resume_step : 0;
    probe->full = bp_watch_decide(probe->watch, probe->step);
    probe->timed = bp_watch_is_timed(probe->watch);
    native_charge(probe);
    return true;
}

PyObject *native_open(native_probe *probe, PyObject *args) {
    PyObject *layers, *recipe, *shape, *sites, *parameters, *options;
    int64_t input[3];
    if (!PyArg_ParseTuple(args, "OOOOOO", &layers, &recipe, &shape, &sites, &parameters, &options))
        return NULL;
    if (probe->watch || probe->closed) {
        PyErr_SetString(PyExc_ValueError, "the probe was opened before");
        return NULL;
    }
    if (native_is_out(probe)) Py_RETURN_NONE;
    if (!PyTuple_Check(shape)) {
        PyErr_SetString(PyExc_TypeError, "a shape is a tuple of three whole numbers");
        return NULL;
    }
    if (native_shape(shape, input)) return NULL;
    probe->model = native_network(layers, recipe, input);
    if (!probe->model) return NULL;
    probe->n_layers = bp_model_n_layers(probe->model);
    if (read_places(probe, sites) && read_parameters(probe, parameters) &&
        open_watch(probe, options))
        Py_RETURN_NONE;
    native_parameters_finish(probe);
    free(probe->places);
    probe->places = NULL;
    probe->n_places = 0;
    bp_model_close(probe->model);
    probe->model = NULL;
    return NULL;
}
