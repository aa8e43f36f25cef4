/* SPDX-License-Identifier: Apache-2.0 */
/* What the last full step was like over depth: for a prediction, which has no findings yet. */
#include "probe.h"

static PyObject *gains_of(const native_probe *probe) {
    const bp_gain *gains;
    const uint32_t n = bp_diagnosis_profile(probe->diagnosis, &gains);
    PyObject *list = PyList_New(0);
    for (uint32_t i = 0; list && i < n; i++)
        if (native_append(list, native_gain(probe->model, &gains[i]))) Py_CLEAR(list);
    return list;
}

PyObject *native_profile(native_probe *probe) {
    const bp_record *record =
        probe->watch && !native_is_out(probe) ? bp_watch_record(probe->watch) : NULL;
    if (!record) Py_RETURN_NONE;
    return Py_BuildValue("{sN sN}", "gains", gains_of(probe), "quantities",
                         native_quantities(record));
}
