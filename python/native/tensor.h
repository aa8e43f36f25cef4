/* SPDX-License-Identifier: Apache-2.0 */
/* Where the numbers of any Python array lie. */
#ifndef BP_NATIVE_TENSOR_H
#define BP_NATIVE_TENSOR_H

#include "dlpack.h"
#include "native.h"
#include <backprobe/tensor.h>

/* Why an array is not measured. */
#define NATIVE_REASONS(X)                               \
    X(MEASURED, "")                                     \
    X(NO_TENSOR, "not a tensor")                        \
    X(INTEGERS, "integers")                             \
    X(COMPLEX, "complex numbers")                       \
    X(SMALL_FLOATS, "floats of 8 bits or fewer")        \
    X(OTHER_DTYPE, "an unknown number format")          \
    X(SPARSE, "sparse")                                 \
    X(QUANTISED, "quantised")                           \
    X(META, "a tensor without data")                    \
    X(DEVICE, "on another device")                      \
    X(WRAPPED, "a wrapped tensor")                      \
    X(NEGATED, "a view that negates")                   \
    X(DIMENSIONS, "more than 8 dimensions")             \
    X(UNREADABLE, "its memory cannot be read")          \
    X(NO_GRADIENT, "no gradient")                       \
    X(OTHER_SHAPE, "the gradient has another shape")    \
    X(CALLS, "too many calls in one step")              \
    X(FACTOR, "the backward pass has no finite factor") \
    X(BUSY, "another thread was being served")          \
    X(MEMORY, "no memory")

typedef enum native_reason {
#define NATIVE_REASON_MEMBER(id, text) NATIVE_##id,
    NATIVE_REASONS(NATIVE_REASON_MEMBER)
#undef NATIVE_REASON_MEMBER
        NATIVE_N_REASONS
} native_reason;

const char *native_reason_text(native_reason reason);

#define NATIVE_KINDS 8

/* What is known of an array type. */
typedef struct native_kind {
    PyTypeObject *type; /* owned */
    dlpack_read *read;  /* NULL: it has no table */
    bool wrapped;       /* it keeps its numbers elsewhere (a subclass that takes all operations) */
    bool can_negate;
} native_kind;

typedef struct native_reader {
    const native_names *names; /* borrowed */
    native_kind kinds[NATIVE_KINDS];
    unsigned n_kinds, next;
} native_reader;

int native_reader_traverse(const native_reader *reader, visitproc visit, void *arg);
void native_reader_clear(native_reader *reader);

typedef struct native_view {
    bp_tensor tensor; /* borrowed until native_view_close */
    PyObject *keeper; /* what keeps the memory; owned */
    Py_buffer buffer;
    bool has_buffer;
} native_view;

/* MEASURED: the view is open. Else it is not, and only an exception that must not be swallowed
 * (KeyboardInterrupt) is set. */
native_reason native_view_open(native_reader *reader, PyObject *object, native_view *view);
void native_view_close(native_view *view);

/* The element at a place of the row-major order. */
double native_element(const bp_tensor *tensor, int64_t place);

#endif
