/* SPDX-License-Identifier: Apache-2.0 */
/* The binding: a run log is replayed through the diagnosis, the findings come out as plain lists
 * and dicts, flat, each with the index of its parent. Over the public headers alone. */
#include <Python.h>

#include <backprobe/diagnosis.h>
#include <backprobe/remedy.h>
#include <backprobe/runlog.h>
#include <math.h>
#include <string.h>

/* Records between two looks at pending signals: Ctrl-C in a long log must work. */
#define RECORDS_PER_TURN 1024

static PyObject *raise_error(const bp_error *error) {
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
static PyObject *text(const char *bytes) {
    if (!bytes) Py_RETURN_NONE;
    return PyUnicode_DecodeUTF8(bytes, (Py_ssize_t)strlen(bytes), "replace");
}

static PyObject *reading(double value, bool measured) {
    if (!measured) Py_RETURN_NONE;
    return PyFloat_FromDouble(value);
}

/* Takes the item. */
static int append(PyObject *list, PyObject *item) {
    if (!item) return -1;
    const int result = PyList_Append(list, item);
    Py_DECREF(item);
    return result;
}

/* Takes the value. */
static int put(PyObject *dict, const char *key, PyObject *value) {
    if (!value) return -1;
    const int result = PyDict_SetItemString(dict, key, value);
    Py_DECREF(value);
    return result;
}

static PyObject *layer_name(const bp_model *model, uint32_t id) {
    const bp_layer *layer = bp_model_layer(model, id);
    return text(layer ? layer->name : NULL);
}

static PyObject *evidence_of(const bp_model *model, const bp_finding *finding) {
    PyObject *list = PyList_New(0);
    for (uint32_t i = 0; list && i < finding->n_evidence; i++) {
        const bp_evidence *e = &finding->evidence[i];
        PyObject *row =
            Py_BuildValue("{sN sN sN sI sL sN}", "name", text(e->name), "meaning", text(e->meaning),
                          "layer", layer_name(model, e->layer), "layer_id", (unsigned)e->layer,
                          "step", (long long)e->step, "value", reading(e->value, e->measured));
        if (append(list, row)) Py_CLEAR(list);
    }
    return list;
}

static PyObject *gain_of(const bp_model *model, const bp_gain *gain) {
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
        if (put(row, parts[i].name, reading(parts[i].value, !isnan(parts[i].value)))) Py_CLEAR(row);
    return row;
}

static PyObject *gains_of(const bp_model *model, const bp_finding *finding) {
    PyObject *list = PyList_New(0);
    for (uint32_t i = 0; list && i < finding->n_gains; i++)
        if (append(list, gain_of(model, &finding->gains[i]))) Py_CLEAR(list);
    return list;
}

static PyObject *symptoms_of(const bp_finding *finding) {
    PyObject *list = PyList_New(0);
    for (uint32_t i = 0; list && i < finding->n_symptoms; i++) {
        const bp_symptom *s = &finding->symptoms[i];
        PyObject *row =
            Py_BuildValue("{sN sN sN sN sN}", "exploding", text(s->exploding), "vanishing",
                          text(s->vanishing), "measured", text(s->measured), "speaks_for_exploding",
                          PyBool_FromLong(s->speaks_for_exploding), "speaks_for_vanishing",
                          PyBool_FromLong(s->speaks_for_vanishing));
        if (append(list, row)) Py_CLEAR(list);
    }
    return list;
}

/* Lines of a program as one text; None without any. */
static PyObject *code_of(const bp_remedy *remedy) {
    if (remedy->n_lines == 0) Py_RETURN_NONE;
    PyObject *lines = PyList_New(0);
    for (uint32_t i = 0; lines && i < remedy->n_lines; i++)
        if (append(lines, text(remedy->lines[i]))) Py_CLEAR(lines);
    if (lines && append(lines, text(""))) Py_CLEAR(lines);
    PyObject *newline = lines ? text("\n") : NULL;
    PyObject *code = newline ? PyUnicode_Join(newline, lines) : NULL;
    Py_XDECREF(newline);
    Py_XDECREF(lines);
    return code;
}

/* Of a root: what mends it mends its consequences. */
static PyObject *remedy_of(const bp_model *model, const bp_finding *finding) {
    if (finding->parent >= 0) Py_RETURN_NONE;
    bp_remedy *remedy = NULL;
    bp_error error;
    if (bp_remedy_open(&remedy, model, finding, NULL, &error) != BP_OK) return raise_error(&error);
    if (!remedy) Py_RETURN_NONE;
    PyObject *edits = PyList_New(0);
    for (uint32_t i = 0; edits && i < remedy->n_edits; i++) {
        const bp_edit *edit = &remedy->edits[i];
        PyObject *row =
            Py_BuildValue("{sN sN}", "key", text(edit->key), "value", text(edit->value));
        if (append(edits, row)) Py_CLEAR(edits);
    }
    PyObject *row = NULL;
    if (edits)
        row = Py_BuildValue("{sN sN sN sN}", "title", text(remedy->title), "reason",
                            text(remedy->reason), "edits", edits, "code", code_of(remedy));
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

static PyObject *finding_of(const bp_model *model, const bp_finding *finding) {
    PyObject *row = PyDict_New();
    if (!row) return NULL;
    if (put(row, "problem", text(bp_problem_name(finding->problem))) ||
        put(row, "severity", text(bp_severity_name(finding->severity))) ||
        put(row, "since_step", PyLong_FromLongLong(finding->since_step)) ||
        put(row, "last_step", PyLong_FromLongLong(finding->last_step)) ||
        put(row, "open", PyBool_FromLong(finding->open)) ||
        put(row, "layers", layers_of(model, finding, true)) ||
        put(row, "layer_ids", layers_of(model, finding, false)) ||
        put(row, "title", text(finding->title)) || put(row, "cause", text(finding->cause)) ||
        put(row, "note", text(finding->note)) ||
        put(row, "evidence", evidence_of(model, finding)) ||
        put(row, "gains", gains_of(model, finding)) || put(row, "symptoms", symptoms_of(finding)) ||
        put(row, "remedy", remedy_of(model, finding)) ||
        put(row, "parent", PyLong_FromLong(finding->parent)))
        Py_CLEAR(row);
    return row;
}

static PyObject *findings_of(const bp_model *model, bp_diagnosis *diagnosis) {
    PyObject *list = PyList_New(0);
    const uint32_t n = bp_diagnosis_n_findings(diagnosis);
    for (uint32_t i = 0; list && i < n; i++)
        if (append(list, finding_of(model, bp_diagnosis_finding(diagnosis, i)))) Py_CLEAR(list);
    return list;
}

static PyObject *damage_of(const bp_runlog_damage *damage) {
    return Py_BuildValue(
        "{sK sK sK sK sN sN}", "lost_records", (unsigned long long)damage->lost_records,
        "damaged_places", (unsigned long long)damage->damaged_places, "lost_bytes",
        (unsigned long long)damage->lost_bytes, "unknown", (unsigned long long)damage->unknown,
        "torn_tail", PyBool_FromLong(damage->torn_tail), "first",
        text(damage->first.status == BP_OK ? NULL : damage->first.text));
}

static const char *end_name(bp_run_end end) {
    switch (end) {
    case BP_RUN_FINISHED:
        return "finished";
    case BP_RUN_INTERRUPTED:
        return "interrupted";
    case BP_RUN_STOPPED:
        return "stopped";
    case BP_RUN_OPEN:
        break;
    }
    return "open";
}

/* Reads all records into the diagnosis; 0 when it could, else an exception is set. */
static int replay(bp_runlog_reader *reader, bp_diagnosis *diagnosis) {
    const bp_record *record = NULL;
    bp_error error;
    bp_status status = BP_OK;
    do {
        Py_BEGIN_ALLOW_THREADS for (int i = 0; i < RECORDS_PER_TURN; i++) {
            status = bp_runlog_reader_next(reader, &record, &error);
            if (status != BP_OK || !record) break;
            bp_diagnosis_step(diagnosis, record);
        }
        Py_END_ALLOW_THREADS if (PyErr_CheckSignals()) return -1;
    } while (status == BP_OK && record);
    if (status == BP_OK) return 0;
    raise_error(&error);
    return -1;
}

static PyObject *check(PyObject *module, PyObject *path_bytes) {
    (void)module;
    char *path;
    /* Without a length it refuses a path with a NUL byte inside. */
    if (PyBytes_AsStringAndSize(path_bytes, &path, NULL)) return NULL;
    bp_runlog_reader *reader = NULL;
    bp_diagnosis *diagnosis = NULL;
    PyObject *run = NULL;
    bp_error error;
    bp_status status;
    Py_BEGIN_ALLOW_THREADS status = bp_runlog_reader_open(&reader, path, NULL, &error);
    if (status == BP_OK)
        status = bp_diagnosis_open(&diagnosis, bp_runlog_reader_model(reader), NULL, &error);
    Py_END_ALLOW_THREADS if (status != BP_OK) raise_error(&error);
    else if (replay(reader, diagnosis) == 0) run = Py_BuildValue(
        "{sN sN ss}", "findings", findings_of(bp_runlog_reader_model(reader), diagnosis), "damage",
        damage_of(bp_runlog_reader_damage(reader)), "end", end_name(bp_runlog_reader_end(reader)));
    bp_diagnosis_close(diagnosis);
    bp_runlog_reader_close(reader);
    return run;
}

static PyObject *version(PyObject *module, PyObject *unused) {
    (void)module;
    (void)unused;
    return text(bp_version());
}

static PyMethodDef functions[] = {
    {"check", check, METH_O, "Replays the run log at a path (bytes) through the diagnosis."},
    {"version", version, METH_NOARGS, "The version of the library."},
    {NULL, NULL, 0, NULL}};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "backprobe._native",
    .m_doc = "The binding of libbackprobe.",
    .m_size = 0,
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__native(void);
PyMODINIT_FUNC PyInit__native(void) {
    return PyModuleDef_Init(&definition);
}
