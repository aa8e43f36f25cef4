/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor.h"

#include <math.h>
#include <string.h>

const char *native_reason_text(native_reason reason) {
    static const char *const texts[] = {
#define NATIVE_REASON_TEXT(id, text) text,
        NATIVE_REASONS(NATIVE_REASON_TEXT)
#undef NATIVE_REASON_TEXT
    };
    return texts[reason];
}

/* --- from sizes to a view --------------------------------------------------------------------- */

/* Neighbours that lie like one dimension become one; the first, that of the samples, stays. */
static bool fold(bp_tensor *tensor, int32_t ndim, const int64_t *shape, const int64_t *stride) {
    tensor->ndim = 1;
    tensor->shape[0] = shape[0];
    tensor->stride[0] = stride[0];
    for (int32_t d = 1; d < ndim; d++) {
        const int32_t last = tensor->ndim - 1;
        int64_t joined;
        if (shape[d] == 1) continue;
        if (last > 0 && !__builtin_mul_overflow(shape[d], stride[d], &joined) &&
            joined == tensor->stride[last]) {
            tensor->shape[last] *= shape[d];
            tensor->stride[last] = stride[d];
            continue;
        }
        if (tensor->ndim == BP_TENSOR_MAX_NDIM) return false;
        tensor->shape[tensor->ndim] = shape[d];
        tensor->stride[tensor->ndim++] = stride[d];
    }
    return true;
}

/* stride NULL: row-major. */
static native_reason shape_view(bp_tensor *tensor, int32_t ndim, const int64_t *shape,
                                const int64_t *stride) {
    if (ndim > BP_TENSOR_MAX_NDIM) {
        if (stride && fold(tensor, ndim, shape, stride)) return NATIVE_MEASURED;
        return NATIVE_DIMENSIONS;
    }
    int64_t step = 1;
    tensor->ndim = ndim;
    for (int32_t d = ndim - 1; d >= 0; d--) {
        tensor->shape[d] = shape[d];
        tensor->stride[d] = stride ? stride[d] : step;
        step *= shape[d];
    }
    return NATIVE_MEASURED;
}

static native_reason dtype_of(const dlpack_tensor *told, bp_dtype *dtype) {
    const unsigned code = told->dtype.code, bits = told->dtype.bits;
    if (told->dtype.lanes != 1) return NATIVE_OTHER_DTYPE;
    if (code == DLPACK_INT || code == DLPACK_UINT || code == DLPACK_BOOL) return NATIVE_INTEGERS;
    if (code == DLPACK_COMPLEX) return NATIVE_COMPLEX;
    if (code >= DLPACK_FLOAT8_FIRST) return NATIVE_SMALL_FLOATS;
    if (code == DLPACK_BFLOAT && bits == 16) {
        *dtype = BP_BF16;
        return NATIVE_MEASURED;
    }
    if (code != DLPACK_FLOAT || (bits != 16 && bits != 32 && bits != 64)) return NATIVE_OTHER_DTYPE;
    *dtype = bits == 16 ? BP_F16 : bits == 32 ? BP_F32 : BP_F64;
    return NATIVE_MEASURED;
}

static native_reason adopt(bp_tensor *tensor, const dlpack_tensor *told) {
    const int32_t device = told->device.type;
    if (device != DLPACK_CPU && device != DLPACK_CUDA_HOST && device != DLPACK_ROCM_HOST)
        return NATIVE_DEVICE;
    native_reason reason = dtype_of(told, &tensor->dtype);
    if (reason == NATIVE_MEASURED)
        reason = shape_view(tensor, told->ndim, told->shape, told->strides);
    if (reason != NATIVE_MEASURED) return reason;
    tensor->data = told->data ? (const char *)told->data + told->byte_offset : NULL;
    return tensor->data || bp_tensor_count(tensor) == 0 ? NATIVE_MEASURED : NATIVE_WRAPPED;
}

/* --- types ------------------------------------------------------------------------------------ */

int native_reader_traverse(const native_reader *reader, visitproc visit, void *arg) {
    for (unsigned i = 0; i < reader->n_kinds; i++) Py_VISIT(reader->kinds[i].type);
    return 0;
}

void native_reader_clear(native_reader *reader) {
    while (reader->n_kinds > 0) {
        PyTypeObject *type = reader->kinds[--reader->n_kinds].type;
        reader->kinds[reader->n_kinds].type = NULL;
        Py_XDECREF((PyObject *)type);
    }
}

/* The library's table of C functions, of a version that we know. */
static dlpack_read *table_read(const native_names *names, PyTypeObject *type) {
    PyObject *capsule = PyObject_GetAttr((PyObject *)type, names->__dlpack_c_exchange_api__);
    const dlpack_table *table = capsule && PyCapsule_IsValid(capsule, DLPACK_TABLE_CAPSULE)
                                    ? PyCapsule_GetPointer(capsule, DLPACK_TABLE_CAPSULE)
                                    : NULL;
    Py_XDECREF(capsule); /* the table lives as long as the process */
    native_hush();
    while (table && table->version.major > DLPACK_MAJOR) table = table->older;
    return table && table->version.major == DLPACK_MAJOR ? table->tensor_from_object : NULL;
}

/* A subclass of torch.Tensor with an own __torch_dispatch__ stands for tensors that it holds. */
static bool is_wrapper(const native_names *names, PyTypeObject *type) {
    PyObject *modules = PyImport_GetModuleDict();
    PyObject *torch = modules ? PyDict_GetItemString(modules, "torch") : NULL;
    PyObject *base = torch ? PyObject_GetAttrString(torch, "Tensor") : NULL;
    PyObject *plain = base ? PyObject_GetAttr(base, names->__torch_dispatch__) : NULL;
    PyObject *own = plain ? PyObject_GetAttr((PyObject *)type, names->__torch_dispatch__) : NULL;
    const bool differs = plain && own && plain != own;
    Py_XDECREF(own);
    Py_XDECREF(plain);
    Py_XDECREF(base);
    native_hush();
    return differs;
}

static const native_kind *kind_of(native_reader *reader, PyTypeObject *type) {
    for (unsigned i = 0; i < reader->n_kinds; i++)
        if (reader->kinds[i].type == type) return &reader->kinds[i];
    const native_kind found = {
        .type = type,
        .read = table_read(reader->names, type),
        .wrapped = is_wrapper(reader->names, type),
        .can_negate = PyObject_HasAttr((PyObject *)type, reader->names->is_neg) == 1,
    };
    Py_INCREF((PyObject *)type);
    if (reader->n_kinds < NATIVE_KINDS) {
        reader->kinds[reader->n_kinds] = found;
        return &reader->kinds[reader->n_kinds++];
    }
    native_kind *place = &reader->kinds[reader->next];
    PyTypeObject *old = place->type;
    reader->next = (reader->next + 1) % NATIVE_KINDS;
    *place = found;
    Py_DECREF((PyObject *)old);
    return place;
}

/* --- why not ---------------------------------------------------------------------------------- */

/* Whether str(object.name) ends with `word`. */
static bool attribute_is(PyObject *object, PyObject *name, const char *word) {
    PyObject *value = PyObject_GetAttr(object, name);
    PyObject *string = value ? PyObject_Str(value) : NULL;
    const char *text = string ? PyUnicode_AsUTF8AndSize(string, NULL) : NULL;
    const size_t n = text ? strlen(text) : 0, n_word = strlen(word);
    const bool is = n >= n_word && strcmp(text + n - n_word, word) == 0;
    Py_XDECREF(string);
    Py_XDECREF(value);
    native_hush();
    return is;
}

static bool attribute_is_true(PyObject *object, PyObject *name) {
    PyObject *value = PyObject_GetAttr(object, name);
    const bool is = value == Py_True;
    Py_XDECREF(value);
    native_hush();
    return is;
}

/* Of an array that did not let itself be read. */
static native_reason why_not(const native_names *names, PyObject *object) {
    if (PyObject_HasAttr(object, names->layout) != 1) return NATIVE_NO_TENSOR;
    if (attribute_is_true(object, names->is_quantized)) return NATIVE_QUANTISED;
    PyObject *device = PyObject_GetAttr(object, names->device);
    native_hush();
    const bool is_meta = device && attribute_is(device, names->type, "meta");
    const bool is_cpu = device && attribute_is(device, names->type, "cpu");
    Py_XDECREF(device);
    if (is_meta) return NATIVE_META;
    if (!is_cpu) return NATIVE_DEVICE;
    if (!attribute_is(object, names->layout, "torch.strided")) return NATIVE_SPARSE;
    return NATIVE_UNREADABLE;
}

/* --- the ways to a tensor's memory ------------------------------------------------------------ */

static native_reason by_table(const native_names *names, const native_kind *kind, PyObject *object,
                              native_view *view) {
    dlpack_tensor told = {.data = NULL};
    if (kind->read(object, &told) != 0) {
        if (native_hush()) return NATIVE_UNREADABLE;
        return why_not(names, object);
    }
    return adopt(&view->tensor, &told);
}

/* Whole numbers of a tuple; how many, or -1. */
static int32_t numbers_of(PyObject *tuple, int64_t *numbers, int32_t most) {
    const Py_ssize_t n = tuple && PyTuple_Check(tuple) ? PyTuple_Size(tuple) : -1;
    if (n < 0 || n > most) return -1;
    for (Py_ssize_t i = 0; i < n; i++) {
        numbers[i] = PyLong_AsLongLong(PyTuple_GetItem(tuple, i));
        if (numbers[i] == -1 && PyErr_Occurred()) return -1;
    }
    return (int32_t)n;
}

static native_reason dtype_by_name(const native_names *names, PyObject *object, bp_dtype *dtype) {
    static const struct {
        const char *name;
        bp_dtype dtype;
    } known[] = {{"torch.bfloat16", BP_BF16},
                 {"torch.float16", BP_F16},
                 {"torch.float32", BP_F32},
                 {"torch.float64", BP_F64}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (attribute_is(object, names->dtype, known[i].name)) {
            *dtype = known[i].dtype;
            return NATIVE_MEASURED;
        }
    return NATIVE_OTHER_DTYPE;
}

#define MOST_NDIM 64

/* A torch that has no table yet. */
static native_reason by_pointer(const native_names *names, PyObject *object, native_view *view) {
    int64_t shape[MOST_NDIM], stride[MOST_NDIM];
    native_reason reason = why_not(names, object);
    if (reason != NATIVE_UNREADABLE) return reason; /* it is no plain tensor of the CPU */
    reason = dtype_by_name(names, object, &view->tensor.dtype);
    if (reason != NATIVE_MEASURED) return reason;
    PyObject *sizes = PyObject_GetAttr(object, names->shape);
    PyObject *steps = PyObject_CallMethodObjArgs(object, names->stride, NULL);
    PyObject *pointer = PyObject_CallMethodObjArgs(object, names->data_ptr, NULL);
    const int32_t ndim = numbers_of(sizes, shape, MOST_NDIM);
    const bool fits = ndim >= 0 && numbers_of(steps, stride, MOST_NDIM) == ndim && pointer;
    if (fits) view->tensor.data = PyLong_AsVoidPtr(pointer);
    Py_XDECREF(sizes);
    Py_XDECREF(steps);
    Py_XDECREF(pointer);
    if (native_hush() || !fits) return NATIVE_UNREADABLE;
    reason = shape_view(&view->tensor, ndim, shape, stride);
    if (reason == NATIVE_MEASURED && !view->tensor.data && bp_tensor_count(&view->tensor) > 0)
        return NATIVE_WRAPPED;
    return reason;
}

static native_reason buffer_dtype(const Py_buffer *buffer, bp_dtype *dtype) {
    const char *format = buffer->format ? buffer->format : "B";
    if (*format == '@' || *format == '=' || *format == '<') format++;
    if (strlen(format) != 1) return NATIVE_OTHER_DTYPE;
    if (strchr("?bBhHiIlLqQ", *format)) return NATIVE_INTEGERS;
    if (!strchr("efd", *format)) return NATIVE_OTHER_DTYPE;
    *dtype = *format == 'e' ? BP_F16 : *format == 'f' ? BP_F32 : BP_F64;
    return NATIVE_MEASURED;
}

static native_reason by_buffer(PyObject *object, native_view *view) {
    int64_t shape[MOST_NDIM], stride[MOST_NDIM];
    if (PyObject_GetBuffer(object, &view->buffer, PyBUF_STRIDED_RO | PyBUF_FORMAT) != 0) {
        native_hush();
        return NATIVE_UNREADABLE;
    }
    view->has_buffer = true;
    const Py_buffer *buffer = &view->buffer;
    native_reason reason = buffer_dtype(buffer, &view->tensor.dtype);
    if (reason != NATIVE_MEASURED) return reason;
    if (buffer->ndim > MOST_NDIM || buffer->suboffsets || (!buffer->shape && buffer->ndim > 1) ||
        (size_t)buffer->itemsize != bp_dtype_bytes(view->tensor.dtype))
        return NATIVE_UNREADABLE;
    for (int d = 0; d < buffer->ndim; d++) {
        shape[d] = buffer->shape ? buffer->shape[d] : buffer->len / buffer->itemsize;
        if (!buffer->strides) continue; /* ctypes leaves them out where the array is row-major */
        if (buffer->strides[d] % buffer->itemsize) return NATIVE_UNREADABLE;
        stride[d] = buffer->strides[d] / buffer->itemsize;
    }
    view->tensor.data = buffer->buf;
    return shape_view(&view->tensor, buffer->ndim, shape, buffer->strides ? stride : NULL);
}

/* The capsule frees what it holds when nobody holds it any more. */
static native_reason by_capsule(const native_names *names, PyObject *object, native_view *view) {
    PyObject *capsule = PyObject_CallMethodObjArgs(object, names->__dlpack__, NULL);
    const dlpack_tensor *told = capsule && PyCapsule_IsValid(capsule, DLPACK_CAPSULE)
                                    ? PyCapsule_GetPointer(capsule, DLPACK_CAPSULE)
                                    : NULL;
    native_hush();
    if (!told) {
        Py_XDECREF(capsule);
        return NATIVE_UNREADABLE;
    }
    Py_DECREF(view->keeper);
    view->keeper = capsule;
    return adopt(&view->tensor, told);
}

static native_reason read_memory(native_reader *reader, PyObject *object, native_view *view) {
    const native_names *names = reader->names;
    const native_kind *kind = kind_of(reader, Py_TYPE(object));
    if (PyErr_Occurred()) return NATIVE_UNREADABLE;
    if (kind->wrapped) return NATIVE_WRAPPED;
    if (kind->read) return by_table(names, kind, object, view);
    if (PyObject_HasAttr(object, names->data_ptr) == 1) return by_pointer(names, object, view);
    if (PyObject_CheckBuffer(object)) return by_buffer(object, view);
    if (PyObject_HasAttr(object, names->__dlpack__) == 1) return by_capsule(names, object, view);
    return NATIVE_NO_TENSOR;
}

/* A lazily negated view (of a complex tensor's imaginary part) holds the other sign in memory. */
static native_reason check_sign(native_reader *reader, PyObject *object) {
    if (!kind_of(reader, Py_TYPE(object))->can_negate) return NATIVE_MEASURED;
    PyObject *answer = PyObject_CallMethodObjArgs(object, reader->names->is_neg, NULL);
    const native_reason reason = answer == Py_False ? NATIVE_MEASURED : NATIVE_NEGATED;
    Py_XDECREF(answer);
    native_hush();
    return reason;
}

native_reason native_view_open(native_reader *reader, PyObject *object, native_view *view) {
    memset(&view->tensor, 0, sizeof view->tensor);
    view->has_buffer = false;
    view->keeper = object;
    Py_INCREF(object);
    native_reason reason = read_memory(reader, object, view);
    if (reason == NATIVE_MEASURED) reason = check_sign(reader, object);
    if (reason != NATIVE_MEASURED) native_view_close(view);
    return reason;
}

void native_view_close(native_view *view) {
    if (view->has_buffer) PyBuffer_Release(&view->buffer);
    view->has_buffer = false;
    Py_CLEAR(view->keeper);
}

/* --- one element ------------------------------------------------------------------------------ */

static double half(uint16_t bits) {
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    const double magnitude = exponent == 31  ? (fraction ? (double)NAN : (double)INFINITY)
                             : exponent == 0 ? ldexp(fraction, -24)
                                             : ldexp(fraction + 1024, exponent - 25);
    return bits >> 15 ? -magnitude : magnitude;
}

static double brain(uint16_t bits) {
    const uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return (double)value;
}

double native_element(const bp_tensor *tensor, int64_t place) {
    int64_t offset = 0;
    for (int32_t d = tensor->ndim - 1; d >= 0; d--) {
        offset += place % tensor->shape[d] * tensor->stride[d];
        place /= tensor->shape[d];
    }
    union {
        double f64;
        float f32;
        uint16_t bits;
    } value;
    const size_t size = bp_dtype_bytes(tensor->dtype);
    memcpy(&value, (const char *)tensor->data + offset * (int64_t)size, size);
    switch (tensor->dtype) {
    case BP_F64:
        return value.f64;
    case BP_F32:
        return (double)value.f32;
    case BP_F16:
        return half(value.bits);
    case BP_BF16:
        return brain(value.bits);
    }
    return (double)NAN;
}
