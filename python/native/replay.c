/* SPDX-License-Identifier: Apache-2.0 */
/* A run log is replayed through the diagnosis. */
#include "native.h"

#include <backprobe/runlog.h>

/* Records between two looks at pending signals: Ctrl-C in a long log must work. */
#define RECORDS_PER_TURN 1024

static PyObject *damage_of(const bp_runlog_damage *damage) {
    return Py_BuildValue(
        "{sK sK sK sK sN sN}", "lost_records", (unsigned long long)damage->lost_records,
        "damaged_places", (unsigned long long)damage->damaged_places, "lost_bytes",
        (unsigned long long)damage->lost_bytes, "unknown", (unsigned long long)damage->unknown,
        "torn_tail", PyBool_FromLong(damage->torn_tail), "first",
        native_text(damage->first.status == BP_OK ? NULL : damage->first.text));
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

static PyObject *step_or_none(int64_t step) {
    if (step < 0) Py_RETURN_NONE;
    return PyLong_FromLongLong(step);
}

static PyObject *rank_of(const bp_runlog_rank *rank) {
    return Py_BuildValue("{sI sN sN sK sK ss sN}", "rank", (unsigned)rank->rank, "first",
                         step_or_none(rank->first_step), "last", step_or_none(rank->last_step),
                         "records", (unsigned long long)rank->n_steps, "missing",
                         (unsigned long long)rank->missing_steps, "end", end_name(rank->end),
                         "error",
                         native_text(rank->error.status == BP_OK ? NULL : rank->error.text));
}

static PyObject *ranks_of(bp_runlog_ranks *logs) {
    const uint32_t n = bp_runlog_ranks_n(logs);
    PyObject *list = PyList_New(0);
    for (uint32_t i = 0; list && n > 1 && i < n; i++) {
        PyObject *rank = rank_of(bp_runlog_ranks_rank(logs, i));
        if (!rank || PyList_Append(list, rank)) Py_CLEAR(list);
        Py_XDECREF(rank);
    }
    return list;
}

/* Reads all records into the diagnosis; 0 when it could, else an exception is set. */
static int replay(bp_runlog_ranks *logs, bp_diagnosis *diagnosis) {
    const bp_record *record = NULL;
    bp_error error;
    bp_status status = BP_OK;
    do {
        Py_BEGIN_ALLOW_THREADS for (int i = 0; i < RECORDS_PER_TURN; i++) {
            status = bp_runlog_ranks_next(logs, &record, &error);
            if (status != BP_OK || !record) break;
            bp_diagnosis_step(diagnosis, record);
        }
        Py_END_ALLOW_THREADS if (PyErr_CheckSignals()) return -1;
    } while (status == BP_OK && record);
    if (status == BP_OK) return 0;
    native_raise(&error);
    return -1;
}

PyObject *native_check(PyObject *module, PyObject *path_bytes) {
    (void)module;
    char *path;
    /* Without a length it refuses a path with a NUL byte inside. */
    if (PyBytes_AsStringAndSize(path_bytes, &path, NULL)) return NULL;
    bp_runlog_ranks *logs = NULL;
    bp_diagnosis *diagnosis = NULL;
    PyObject *run = NULL;
    bp_error error;
    bp_status status;
    Py_BEGIN_ALLOW_THREADS status = bp_runlog_ranks_open(&logs, path, NULL, &error);
    if (status == BP_OK)
        status = bp_diagnosis_open(&diagnosis, bp_runlog_ranks_model(logs), NULL, &error);
    Py_END_ALLOW_THREADS if (status != BP_OK) native_raise(&error);
    else if (replay(logs, diagnosis) == 0) run = Py_BuildValue(
        "{sN sN sN ss}", "findings", native_findings(bp_runlog_ranks_model(logs), diagnosis),
        "damage", damage_of(bp_runlog_ranks_damage(logs)), "ranks", ranks_of(logs), "end",
        end_name(bp_runlog_ranks_end(logs)));
    bp_diagnosis_close(diagnosis);
    bp_runlog_ranks_close(logs);
    return run;
}
