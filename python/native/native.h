/* SPDX-License-Identifier: Apache-2.0 */
/* The extension backprobe._native: the public headers of libbackprobe for Python, over the limited
 * API. One noun a file: convert (what the library says as lists and dicts), replay (check),
 * records (of a log), tensor (where an array's numbers lie), network (dicts to a model), stage
 * (what was seen in a step), parameters, hook (what a backward pass calls), step (what a step tells
 * the watch), probe (the type). */
#ifndef BP_NATIVE_NATIVE_H
#define BP_NATIVE_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <backprobe/diagnosis.h>
#include <backprobe/model.h>
#include <backprobe/remedy.h>
#include <stdbool.h>

/* A slot that is a function: Python's tables want a pointer to an object. */
#define NATIVE_SLOT(id, function) {id, __extension__(void *) function}

/* --- module.c --------------------------------------------------------------------------------- */

/* clang-format off */
#define NATIVE_NAMES(X) \
    X(register_hook) X(_backward_hooks) X(_register_hook_dict) X(grad_fn) X(requires_grad) \
    X(training) X(is_neg) X(data_ptr) X(dtype) X(shape) \
    X(stride) X(device) X(type) X(layout) X(is_quantized) \
    X(__dlpack__) X(__dlpack_c_exchange_api__) X(__torch_dispatch__)
/* clang-format on */

/* Attribute names, interned once. */
typedef struct native_names {
#define NATIVE_NAME_MEMBER(name) PyObject *name;
    NATIVE_NAMES(NATIVE_NAME_MEMBER)
#undef NATIVE_NAME_MEMBER
} native_names;

/* Of the module; there are no objects in static memory. */
typedef struct native_state {
    PyTypeObject *probe_type, *hook_type;
    PyObject *ordered_dict; /* the type */
    native_names names;
} native_state;

/* Changes in the child of a fork. */
unsigned native_generation(void);

/* Forgets an exception that is no business of the training loop. KeyboardInterrupt and its like
 * stay: then true. */
bool native_hush(void);

/* --- convert.c -------------------------------------------------------------------------------- */

/* Sets the exception that fits; NULL. */
PyObject *native_raise(const bp_error *error);
/* None for NULL. */
PyObject *native_text(const char *bytes);
PyObject *native_finding(const bp_model *model, const bp_finding *finding);
PyObject *native_findings(const bp_model *model, bp_diagnosis *diagnosis);
/* Both take what they add, which may be NULL after an error; -1 with an exception. */
PyObject *native_gain(const bp_model *model, const bp_gain *gain);
/* {quantity: {row: value}} of what was measured. */
PyObject *native_quantities(const bp_record *record);
int native_append(PyObject *list, PyObject *item);
int native_put(PyObject *dict, const char *key, PyObject *value);

/* --- replay.c --------------------------------------------------------------------------------- */

PyObject *native_check(PyObject *module, PyObject *path);

/* --- records.c -------------------------------------------------------------------------------- */

PyObject *native_records(PyObject *module, PyObject *path);

/* --- network.c -------------------------------------------------------------------------------- */

/* A model from dicts as _native.pyi has them; NULL with ValueError or TypeError. */
bp_model *native_network(PyObject *layers, PyObject *recipe, const int64_t input[3]);
/* dict[key], borrowed; NULL where it is absent or None, or with an exception. */
PyObject *native_item(PyObject *dict, const char *key);
/* Three whole numbers; -1 with an exception. */
int native_shape(PyObject *tuple, int64_t shape[3]);

#endif
