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
    native_raise(&error);
    return -1;
}

PyObject *native_check(PyObject *module, PyObject *path_bytes) {
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
    Py_END_ALLOW_THREADS if (status != BP_OK) native_raise(&error);
    else if (replay(reader, diagnosis) == 0) run = Py_BuildValue(
        "{sN sN ss}", "findings", native_findings(bp_runlog_reader_model(reader), diagnosis),
        "damage", damage_of(bp_runlog_reader_damage(reader)), "end",
        end_name(bp_runlog_reader_end(reader)));
    bp_diagnosis_close(diagnosis);
    bp_runlog_reader_close(reader);
    return run;
}
