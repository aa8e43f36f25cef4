/* SPDX-License-Identifier: Apache-2.0 */
/* The records of a log, of several ranks merged, as dicts, number by number: for tests and for
 * tools. */
#include "native.h"

#include <backprobe/record.h>
#include <backprobe/runlog.h>

/* {row: value} of a quantity; row 0 is the network or its input. NULL with an exception. */
static PyObject *column(const bp_record *record, bp_quantity quantity) {
    PyObject *rows = PyDict_New();
    for (uint32_t row = 0; rows && row <= record->n_layers; row++) {
        if (!bp_record_has(record, quantity, row)) continue;
        PyObject *key = PyLong_FromUnsignedLong(row);
        PyObject *value = PyFloat_FromDouble(bp_record_get(record, quantity, row));
        if (!key || !value || PyDict_SetItem(rows, key, value)) Py_CLEAR(rows);
        Py_XDECREF(key);
        Py_XDECREF(value);
    }
    return rows;
}

PyObject *native_quantities(const bp_record *record) {
    PyObject *all = PyDict_New();
    for (int i = 0; all && i < BP_N_QUANTITIES; i++) {
        PyObject *rows = column(record, (bp_quantity)i);
        if (rows && PyDict_Size(rows) == 0) {
            Py_DECREF(rows);
            continue;
        }
        if (native_put(all, bp_quantity_name((bp_quantity)i), rows)) Py_CLEAR(all);
    }
    return all;
}

static PyObject *record_of(const bp_record *record) {
    return Py_BuildValue("{sL sI sd sN}", "step", (long long)record->step, "flags",
                         (unsigned)record->flags, "wall_time", record->wall_time, "quantities",
                         native_quantities(record));
}

static PyObject *all_of(bp_runlog_ranks *logs) {
    PyObject *list = PyList_New(0);
    while (list) {
        const bp_record *record = NULL;
        bp_error error;
        if (bp_runlog_ranks_next(logs, &record, &error) != BP_OK) {
            native_raise(&error);
            Py_CLEAR(list);
        }
        if (!list || !record) break;
        if (native_append(list, record_of(record))) Py_CLEAR(list);
    }
    return list;
}

PyObject *native_records(PyObject *module, PyObject *path_bytes) {
    (void)module;
    char *path;
    if (PyBytes_AsStringAndSize(path_bytes, &path, NULL)) return NULL;
    bp_runlog_ranks *logs = NULL;
    bp_error error;
    if (bp_runlog_ranks_open(&logs, path, NULL, &error) != BP_OK) return native_raise(&error);
    PyObject *list = all_of(logs);
    bp_runlog_ranks_close(logs);
    return list;
}
