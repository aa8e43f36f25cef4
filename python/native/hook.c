/* SPDX-License-Identifier: Apache-2.0 */
/* What a backward pass calls with a tensor's gradient. A hook knows numbers only, no tensor, and
 * outlives its probe without harm. */
#include "probe.h"

#include <stdlib.h>

typedef struct native_hook {
    PyObject_HEAD native_link *link;
    bool is_loss, has_value;
    uint32_t call; /* of an error signal; likewise the next */
    uint64_t serial;
    double value; /* of a loss; likewise the next */
    int64_t terms;
} native_hook;

void native_link_drop(native_link *link) {
    if (link && --link->n_owners == 0) free(link);
}

static void dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    native_link_drop(((native_hook *)self)->link);
    freefunc release = __extension__(freefunc) PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF((PyObject *)type);
}

static PyObject *call(PyObject *self, PyObject *args, PyObject *kwargs) {
    const native_hook *hook = (native_hook *)self;
    native_probe *probe = hook->link ? hook->link->probe : NULL;
    PyObject *gradient = PyTuple_Size(args) > 0 ? PyTuple_GetItem(args, 0) : NULL;
    (void)kwargs;
    if (!probe || !gradient) Py_RETURN_NONE;
    Py_INCREF((PyObject *)probe);
    const int failed = hook->is_loss ? native_backward_began(probe, hook->value, hook->has_value,
                                                             hook->terms, gradient)
                                     : native_error_came(probe, hook->serial, hook->call, gradient);
    Py_DECREF((PyObject *)probe);
    if (failed) return NULL;
    Py_RETURN_NONE;
}

static PyObject *plain_tensor(native_probe *probe) {
    if (probe->plain_tensor) return probe->plain_tensor;
    PyObject *modules = PyImport_GetModuleDict();
    PyObject *torch = modules ? PyDict_GetItemString(modules, "torch") : NULL;
    probe->plain_tensor = torch ? PyObject_GetAttrString(torch, "Tensor") : NULL;
    return probe->plain_tensor;
}

/* What torch.Tensor.register_hook does in the common case, without a handle that nobody keeps: the
 * tensor is no subclass's, is a function's result, and has no hook yet. False: it is another. */
static bool put_first(native_probe *probe, PyObject *tensor, PyObject *hook) {
    const native_names *names = &probe->state->names;
    if ((PyObject *)Py_TYPE(tensor) != plain_tensor(probe)) return false;
    PyObject *hooks = PyObject_GetAttr(tensor, names->_backward_hooks);
    PyObject *function = hooks == Py_None ? PyObject_GetAttr(tensor, names->grad_fn) : NULL;
    PyObject *first =
        function && function != Py_None ? PyObject_CallNoArgs(probe->state->ordered_dict) : NULL;
    const bool is_set = first && PyObject_SetItem(first, hook, hook) == 0 &&
                        PyObject_SetAttr(tensor, names->_backward_hooks, first) == 0;
    PyObject *done =
        is_set ? PyObject_CallMethodObjArgs(function, names->_register_hook_dict, tensor, NULL)
               : NULL;
    Py_XDECREF(done);
    Py_XDECREF(first);
    Py_XDECREF(function);
    Py_XDECREF(hooks);
    return is_set;
}

/* The hook is lost without harm where the tensor takes none. */
static int put_on(native_probe *probe, PyObject *tensor, const native_hook *like) {
    PyTypeObject *type = probe->state->hook_type;
    allocfunc allocate = __extension__(allocfunc) PyType_GetSlot(type, Py_tp_alloc);
    native_hook *hook = (native_hook *)allocate(type, 0);
    PyObject *handle = NULL;
    if (hook) {
        hook->link = probe->link;
        hook->link->n_owners++;
        hook->is_loss = like->is_loss;
        hook->has_value = like->has_value;
        hook->call = like->call;
        hook->serial = like->serial;
        hook->value = like->value;
        hook->terms = like->terms;
        const bool is_put = put_first(probe, tensor, (PyObject *)hook);
        if (!is_put && !native_hush())
            handle =
                PyObject_CallMethodObjArgs(tensor, probe->state->names.register_hook, hook, NULL);
        Py_DECREF((PyObject *)hook);
    }
    Py_XDECREF(handle);
    return native_hush() ? -1 : 0;
}

int native_hook_error(native_probe *probe, PyObject *tensor, uint32_t number) {
    const native_hook like = {.call = number, .serial = probe->stage.serial};
    return put_on(probe, tensor, &like);
}

int native_hook_loss(native_probe *probe, PyObject *tensor, double value, bool has_value,
                     int64_t terms) {
    const native_hook like = {
        .is_loss = true, .value = value, .has_value = has_value, .terms = terms};
    return put_on(probe, tensor, &like);
}

static PyType_Slot slots[] = {
    NATIVE_SLOT(Py_tp_dealloc, dealloc),
    NATIVE_SLOT(Py_tp_call, call),
    {Py_tp_doc, (char *)(uintptr_t)"What a backward pass calls with a tensor's gradient."},
    {0, NULL}};

PyType_Spec native_hook_spec = {.name = "backprobe._native.Hook",
                                .basicsize = sizeof(native_hook),
                                .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                                .slots = slots};
