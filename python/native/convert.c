/* SPDX-License-Identifier: Apache-2.0 */
/* What the library says as plain lists and dicts; its errors as exceptions. */
#include "native.h"

#include <math.h>
#include <string.h>

PyObject *native_raise(const bp_error *error) {
    switch (error->status) {
    case BP_ERROR_MEMORY:
        return PyErr_NoMemory();
    case BP_ERROR_IO: {
        /* With an errno OSError picks its own subclass, FileNotFoundError and the like. */
        PyObject *exception =
            PyObject_CallFunction(PyExc_OSError, "is", error->os_errno, error->text);
        if (!exception) return NULL;
        PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
        Py_DECREF(exception);
        return NULL;
    }
    default:
        PyErr_SetString(PyExc_ValueError, error->text);
        return NULL;
    }
}

/* Text of a log may be any bytes. */
PyObject *native_text(const char *bytes) {
    if (!bytes) Py_RETURN_NONE;
    return PyUnicode_DecodeUTF8(bytes, (Py_ssize_t)strlen(bytes), "replace");
}

static PyObject *reading(double value, bool measured) {
    if (!measured) Py_RETURN_NONE;
    return PyFloat_FromDouble(value);
}

/* Takes the item. */
int native_append(PyObject *list, PyObject *item) {
    if (!item) return -1;
    const int result = PyList_Append(list, item);
    Py_DECREF(item);
    return result;
}

/* Takes the value. */
int native_put(PyObject *dict, const char *key, PyObject *value) {
    if (!value) return -1;
    const int result = PyDict_SetItemString(dict, key, value);
    Py_DECREF(value);
    return result;
}

static PyObject *layer_name(const bp_model *model, uint32_t id) {
    const bp_layer *layer = bp_model_layer(model, id);
    return native_text(layer ? layer->name : NULL);
}

static PyObject *evidence_of(const bp_model *model, const bp_finding *finding) {
    PyObject *list = PyList_New(0);
    for (uint32_t i = 0; list && i < finding->n_evidence; i++) {
        const bp_evidence *e = &finding->evidence[i];
        PyObject *row = Py_BuildValue(
            "{sN sN sN sI sL sN}", "name", native_text(e->name), "meaning", native_text(e->meaning),
            "layer", layer_name(model, e->layer), "layer_id", (unsigned)e->layer, "step",
            (long long)e->step, "value", reading(e->value, e->measured));
        if (native_append(list, row)) Py_CLEAR(list);
    }
    return list;
}

PyObject *native_gain(const bp_model *model, const bp_gain *gain) {
    const struct {
        const char *name;
        double value;
    } parts[] = {{"error_norm", gain->error_norm},
                 {"share", gain->share},
                 {"gain", gain->gain},
                 {"activation", gain->activation},
                 {"norm", gain->norm},
                 {"weight", gain->weight},
                 {"alignment", gain->alignment},
                 {"branch", gain->branch},
                 {"contribution", gain->contribution}};
    PyObject *row = Py_BuildValue("{sN sI}", "layer", layer_name(model, gain->layer), "layer_id",
                                  (unsigned)gain->layer);
    for (size_t i = 0; row && i < sizeof parts / sizeof *parts; i++)
        if (native_put(row, parts[i].name, reading(parts[i].value, !isnan(parts[i].value))))
            Py_CLEAR(row);
    return row;
}

static PyObject *gains_of(const bp_model *model, const bp_finding *finding) {
    PyObject *list = PyList_New(0);
    for (uint32_t i = 0; list && i < finding->n_gains; i++)
        if (native_append(list, native_gain(model, &finding->gains[i]))) Py_CLEAR(list);
    return list;
}

static PyObject *symptoms_of(const bp_finding *finding) {
    PyObject *list = PyList_New(0);
    for (uint32_t i = 0; list && i < finding->n_symptoms; i++) {
        const bp_symptom *s = &finding->symptoms[i];
        PyObject *row =
            Py_BuildValue("{sN sN sN sN sN}", "exploding", native_text(s->exploding), "vanishing",
                          native_text(s->vanishing), "measured", native_text(s->measured),
                          "speaks_for_exploding", PyBool_FromLong(s->speaks_for_exploding),
                          "speaks_for_vanishing", PyBool_FromLong(s->speaks_for_vanishing));
        if (native_append(list, row)) Py_CLEAR(list);
    }
    return list;
}

/* Lines of a program as one text; None without any. */
static PyObject *code_of(const bp_remedy *remedy) {
    if (remedy->n_lines == 0) Py_RETURN_NONE;
    PyObject *lines = PyList_New(0);
    for (uint32_t i = 0; lines && i < remedy->n_lines; i++)
        if (native_append(lines, native_text(remedy->lines[i]))) Py_CLEAR(lines);
    if (lines && native_append(lines, native_text(""))) Py_CLEAR(lines);
    PyObject *newline = lines ? native_text("\n") : NULL;
    PyObject *code = newline ? PyUnicode_Join(newline, lines) : NULL;
    Py_XDECREF(newline);
    Py_XDECREF(lines);
    return code;
}

/* Of a consequence, too: it is a root where its cause is not shown. */
static PyObject *remedy_of(const bp_model *model, const bp_finding *finding) {
    bp_remedy *remedy = NULL;
    bp_error error;
    if (bp_remedy_open(&remedy, model, finding, NULL, &error) != BP_OK) return native_raise(&error);
    if (!remedy) Py_RETURN_NONE;
    PyObject *edits = PyList_New(0);
    for (uint32_t i = 0; edits && i < remedy->n_edits; i++) {
        const bp_edit *edit = &remedy->edits[i];
        PyObject *row = Py_BuildValue("{sN sN}", "key", native_text(edit->key), "value",
                                      native_text(edit->value));
        if (native_append(edits, row)) Py_CLEAR(edits);
    }
    PyObject *row = NULL;
    if (edits)
        row = Py_BuildValue("{sN sN sN sN}", "title", native_text(remedy->title), "reason",
                            native_text(remedy->reason), "edits", edits, "code", code_of(remedy));
    bp_remedy_close(remedy);
    return row;
}

static PyObject *layers_of(const bp_model *model, const bp_finding *finding, bool names) {
    PyObject *tuple = PyTuple_New((Py_ssize_t)finding->n_layers);
    for (uint32_t i = 0; tuple && i < finding->n_layers; i++) {
        PyObject *item = names ? layer_name(model, finding->layers[i])
                               : PyLong_FromUnsignedLong(finding->layers[i]);
        if (!item || PyTuple_SetItem(tuple, (Py_ssize_t)i, item)) Py_CLEAR(tuple);
    }
    return tuple;
}

PyObject *native_finding(const bp_model *model, const bp_finding *finding) {
    PyObject *row = PyDict_New();
    if (!row) return NULL;
    if (native_put(row, "problem", native_text(bp_problem_name(finding->problem))) ||
        native_put(row, "severity", native_text(bp_severity_name(finding->severity))) ||
        native_put(row, "since_step", PyLong_FromLongLong(finding->since_step)) ||
        native_put(row, "since_earliest", PyLong_FromLongLong(finding->since_earliest)) ||
        native_put(row, "since_latest", PyLong_FromLongLong(finding->since_latest)) ||
        native_put(row, "last_step", PyLong_FromLongLong(finding->last_step)) ||
        native_put(row, "open", PyBool_FromLong(finding->open)) ||
        native_put(row, "layers", layers_of(model, finding, true)) ||
        native_put(row, "layer_ids", layers_of(model, finding, false)) ||
        native_put(row, "title", native_text(finding->title)) ||
        native_put(row, "cause", native_text(finding->cause)) ||
        native_put(row, "note", native_text(finding->note)) ||
        native_put(row, "evidence", evidence_of(model, finding)) ||
        native_put(row, "gains", gains_of(model, finding)) ||
        native_put(row, "symptoms", symptoms_of(finding)) ||
        native_put(row, "remedy", remedy_of(model, finding)) ||
        native_put(row, "parent", PyLong_FromLong(finding->parent)))
        Py_CLEAR(row);
    return row;
}

PyObject *native_findings(const bp_model *model, bp_diagnosis *diagnosis) {
    PyObject *list = PyList_New(0);
    const uint32_t n = bp_diagnosis_n_findings(diagnosis);
    for (uint32_t i = 0; list && i < n; i++)
        if (native_append(list, native_finding(model, bp_diagnosis_finding(diagnosis, i))))
            Py_CLEAR(list);
    return list;
}
