/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

#include <pthread.h>

/* --- forks ------------------------------------------------------------------------------------ */

static unsigned generation; /* counted up in the child of every fork */
static pthread_once_t forks_are_counted = PTHREAD_ONCE_INIT;

static void count_fork(void) {
    generation++;
}

static void count_forks(void) {
    pthread_atfork(NULL, NULL, count_fork);
}

unsigned native_generation(void) {
    return generation;
}

/* --- exceptions ------------------------------------------------------------------------------- */

bool native_hush(void) {
    if (!PyErr_Occurred()) return false;
    if (!PyErr_ExceptionMatches(PyExc_Exception)) return true;
    PyErr_Clear();
    return false;
}

/* --- the module ------------------------------------------------------------------------------- */

static PyObject *version(PyObject *module, PyObject *unused) {
    (void)module;
    (void)unused;
    return native_text(bp_version());
}

static PyMethodDef functions[] = {
    {"check", native_check, METH_O, "Replays the run log at a path (bytes) through the diagnosis."},
    {"records", native_records, METH_O, "The step records of the run log at a path (bytes)."},
    {"version", version, METH_NOARGS, "The version of the library."},
    {NULL, NULL, 0, NULL}};

static int open_names(native_names *names) {
#define NATIVE_INTERN(name)                          \
    names->name = PyUnicode_InternFromString(#name); \
    if (!names->name) return -1;
    NATIVE_NAMES(NATIVE_INTERN)
#undef NATIVE_INTERN
    return 0;
}

static int add_constants(PyObject *module) {
    return PyModule_AddIntConstant(module, "ACTIVATION", NATIVE_ACTIVATION) ||
           PyModule_AddIntConstant(module, "SPREAD", NATIVE_SPREAD) ||
           PyModule_AddIntConstant(module, "ERROR", NATIVE_ERROR) ||
           PyModule_AddIntConstant(module, "FIRST_TENTH", NATIVE_FIRST_TENTH) ||
           PyModule_AddIntConstant(module, "LAST_TENTH", NATIVE_LAST_TENTH) ||
           PyModule_AddIntConstant(module, "TIME_SECOND", NATIVE_TIME_SECOND);
}

static int execute(PyObject *module) {
    native_state *state = PyModule_GetState(module);
    pthread_once(&forks_are_counted, count_forks);
    if (open_names(&state->names) || add_constants(module)) return -1;
    state->probe_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &native_probe_spec, NULL);
    state->hook_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &native_hook_spec, NULL);
    PyObject *collections = PyImport_ImportModule("collections");
    state->ordered_dict = collections ? PyObject_GetAttrString(collections, "OrderedDict") : NULL;
    Py_XDECREF(collections);
    if (!state->probe_type || !state->hook_type || !state->ordered_dict) return -1;
    /* torch.save of a tensor with hooks warns, unless they say that they need not be saved. */
    if (PyObject_SetAttrString((PyObject *)state->hook_type, "__torch_unserializable__", Py_True))
        return -1;
    return PyModule_AddType(module, state->probe_type);
}

static int traverse(PyObject *module, visitproc visit, void *arg) {
    native_state *state = PyModule_GetState(module);
    if (!state) return 0;
    Py_VISIT(state->probe_type);
    Py_VISIT(state->hook_type);
    Py_VISIT(state->ordered_dict);
    return 0;
}

static int clear(PyObject *module) {
    native_state *state = PyModule_GetState(module);
    if (!state) return 0;
    Py_CLEAR(state->probe_type);
    Py_CLEAR(state->hook_type);
    Py_CLEAR(state->ordered_dict);
#define NATIVE_DROP(name) Py_CLEAR(state->names.name);
    NATIVE_NAMES(NATIVE_DROP)
#undef NATIVE_DROP
    return 0;
}

static void release(void *module) {
    clear(module);
}

static PyModuleDef_Slot slots[] = {NATIVE_SLOT(Py_mod_exec, execute), {0, NULL}};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "backprobe._native",
    .m_doc = "The binding of libbackprobe.",
    .m_size = sizeof(native_state),
    .m_methods = functions,
    .m_slots = slots,
    .m_traverse = traverse,
    .m_clear = clear,
    .m_free = release,
};

PyMODINIT_FUNC PyInit__native(void);
PyMODINIT_FUNC PyInit__native(void) {
    return PyModuleDef_Init(&definition);
}
