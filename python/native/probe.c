/* SPDX-License-Identifier: Apache-2.0 */
/* The type Probe. What its methods mean stands in _native.pyi. */
#include "probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* --- what every call begins with -------------------------------------------------------------- */

void native_miss(native_probe *probe, native_reason reason) {
    if (reason != NATIVE_MEASURED) probe->not_measured[reason]++;
}

bool native_is_out(native_probe *probe) {
    if (probe->busy) native_miss(probe, NATIVE_BUSY);
    return probe->closed || probe->busy || probe->generation != native_generation();
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

double native_begins(const native_probe *probe) {
    return probe->timed ? now() : 0;
}

void native_ends(native_probe *probe, double began) {
    if (!probe->timed) return;
    probe->spent += now() - began;
    native_charge(probe);
}

void native_charge(native_probe *probe) {
    if (!probe->watch) return;
    bp_watch_charge(probe->watch, probe->spent);
    probe->spent = 0;
}

/* --- life ------------------------------------------------------------------------------------- */

static PyObject *new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)kwargs;
    if (PyTuple_Size(args) != 0) {
        PyErr_SetString(PyExc_TypeError, "Probe() takes no arguments");
        return NULL;
    }
    allocfunc allocate = __extension__(allocfunc) PyType_GetSlot(type, Py_tp_alloc);
    native_probe *probe = (native_probe *)allocate(type, 0);
    if (!probe) return NULL;
    probe->state = PyType_GetModuleState(type);
    probe->reader.names = &probe->state->names;
    probe->link = calloc(1, sizeof *probe->link);
    probe->generation = native_generation();
    probe->full = probe->timed = true;
    probe->factor = 1;
    native_outputs_clear(&probe->outputs);
    if (!probe->link) {
        Py_DECREF((PyObject *)probe);
        return PyErr_NoMemory();
    }
    *probe->link = (native_link){.n_owners = 1, .probe = probe};
    return (PyObject *)probe;
}

static int traverse(PyObject *self, visitproc visit, void *arg) {
    const native_probe *probe = (native_probe *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(probe->on_backward);
    Py_VISIT(probe->plain_tensor);
    Py_VISIT(probe->task_number);
    Py_VISIT(probe->last_findings);
    Py_VISIT(probe->last_cost);
    Py_VISIT(probe->last_overview);
    Py_VISIT(probe->light.model);
    Py_VISIT(probe->light.optimiser);
    return native_reader_traverse(&probe->reader, visit, arg);
}

static int clear(PyObject *self) {
    native_probe *probe = (native_probe *)self;
    Py_CLEAR(probe->on_backward);
    Py_CLEAR(probe->plain_tensor);
    Py_CLEAR(probe->task_number);
    Py_CLEAR(probe->last_findings);
    Py_CLEAR(probe->last_cost);
    Py_CLEAR(probe->last_overview);
    native_light_drop(&probe->light);
    native_reader_clear(&probe->reader);
    return 0;
}

/* In the child of a fork the log is the parent's: it is left alone, its memory with it. */
static void close_watch(native_probe *probe, bp_run_end end) {
    bp_watch *watch = probe->watch;
    bp_error error = {.status = BP_OK};
    probe->watch = NULL;
    probe->diagnosis = NULL;
    if (!watch || probe->generation != native_generation()) return;
    if (bp_watch_close(watch, end, &error) != BP_OK && !probe->blind[0])
        snprintf(probe->blind, sizeof probe->blind, "%s", error.text);
}

static void dealloc(PyObject *self) {
    native_probe *probe = (native_probe *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (probe->link) probe->link->probe = NULL;
    native_link_drop(probe->link);
    close_watch(probe, BP_RUN_INTERRUPTED);
    bp_model_close(probe->model);
    native_parameters_finish(probe);
    native_stage_finish(&probe->stage);
    free(probe->places);
    clear(self);
    freefunc release = __extension__(freefunc) PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF((PyObject *)type);
}

/* --- in a step -------------------------------------------------------------------------------- */

static PyObject *forward(PyObject *self, PyObject *const *args, Py_ssize_t n) {
    return native_forward((native_probe *)self, args, n);
}

static PyObject *loss(PyObject *self, PyObject *const *args, Py_ssize_t n) {
    return native_loss((native_probe *)self, args, n);
}

static PyObject *fresh(PyObject *self, PyObject *unused) {
    native_probe *probe = (native_probe *)self;
    (void)unused;
    if (!native_is_out(probe)) native_stage_fresh(&probe->stage);
    Py_RETURN_NONE;
}

static PyObject *forget(PyObject *self, PyObject *unused) {
    native_probe *probe = (native_probe *)self;
    (void)unused;
    if (native_is_out(probe)) Py_RETURN_NONE;
    for (size_t i = 0; i < probe->stage.n_sites; i++) bp_units_reset(&probe->stage.sites[i].units);
    native_stage_clear(&probe->stage);
    native_parameters_clear(probe);
    native_outputs_clear(&probe->outputs);
    Py_RETURN_NONE;
}

static PyObject *gradients(PyObject *self, PyObject *sequence) {
    return native_gradients((native_probe *)self, sequence);
}

static PyObject *before_update(PyObject *self, PyObject *args) {
    PyObject *parameters, *gradients_of;
    double factor;
    if (!PyArg_ParseTuple(args, "OOd", &parameters, &gradients_of, &factor)) return NULL;
    return native_before_update((native_probe *)self, parameters, gradients_of, factor);
}

static PyObject *after_update(PyObject *self, PyObject *parameters) {
    return native_after_update((native_probe *)self, parameters);
}

static PyObject *second_moments(PyObject *self, PyObject *args) {
    PyObject *moments, *epsilons, *corrections;
    if (!PyArg_ParseTuple(args, "OOO", &moments, &epsilons, &corrections)) return NULL;
    return native_second_moments((native_probe *)self, moments, epsilons, corrections);
}

void native_end_step(native_probe *probe, bp_step *step, double loss_scale) {
    double began = native_begins(probe);
    const native_outcome outcome = native_stage_merge(probe, step->samples);
    step->samples = outcome.samples;
    step->loss_terms = outcome.terms;
    probe->has_last_loss = outcome.has_loss;
    probe->last_loss = outcome.loss;
    native_ends(probe, began);
    native_tell_step(probe, step, &outcome, loss_scale); /* the watch times itself */
    began = native_begins(probe);
    native_stage_clear(&probe->stage);
    if (probe->full) native_parameters_clear(probe);
    native_outputs_clear(&probe->outputs);
    native_ends(probe, began);
    probe->step++;
    probe->full = bp_watch_decide(probe->watch, probe->step);
    probe->timed = bp_watch_is_timed(probe->watch);
}

static PyObject *end_step(PyObject *self, PyObject *args) {
    native_probe *probe = (native_probe *)self;
    double learning_rate, loss_scale = 1;
    long long samples;
    int skipped = 0;
    if (!PyArg_ParseTuple(args, "dL|pd", &learning_rate, &samples, &skipped, &loss_scale))
        return NULL;
    if (native_is_out(probe)) Py_RETURN_FALSE;
    if (!probe->watch) {
        native_stage_clear(&probe->stage);
        Py_RETURN_TRUE;
    }
    bp_step step = {.struct_size = sizeof step,
                    .step = probe->step,
                    .samples = samples,
                    .learning_rate = learning_rate,
                    .flags = skipped ? BP_STEP_UPDATE_SKIPPED : 0};
    if (!probe->full && samples < 1) step.flags |= BP_STEP_SAMPLES_UNKNOWN;
    native_end_step(probe, &step, loss_scale);
    return PyBool_FromLong(probe->full);
}

static PyObject *observed(PyObject *self, PyObject *args) {
    native_probe *probe = (native_probe *)self;
    double seconds;
    int full;
    if (!PyArg_ParseTuple(args, "pd", &full, &seconds)) return NULL;
    if (!probe->watch || native_is_out(probe)) Py_RETURN_NONE;
    bp_watch_observed(probe->watch, probe->step, full);
    probe->full = full;
    probe->timed = bp_watch_is_timed(probe->watch);
    probe->spent += seconds;
    native_charge(probe);
    Py_RETURN_NONE;
}

static PyObject *settle(PyObject *self, PyObject *args) {
    return native_settle((native_probe *)self, args);
}

static PyObject *light_loss(PyObject *self, PyObject *loss_of) {
    return native_light_loss((native_probe *)self, loss_of);
}

static PyObject *light_step(PyObject *self, PyObject *optimiser) {
    return native_light_step((native_probe *)self, optimiser);
}

static PyObject *put_loss(PyObject *self, PyObject *args) {
    return native_put_loss((native_probe *)self, args);
}

static PyObject *put_targets(PyObject *self, PyObject *args) {
    return native_put_targets((native_probe *)self, args);
}

static PyObject *put_guesses(PyObject *self, PyObject *args) {
    return native_put_guesses((native_probe *)self, args);
}

static PyObject *put_summary(PyObject *self, PyObject *args) {
    return native_put_summary((native_probe *)self, args);
}

static PyObject *put_missing(PyObject *self, PyObject *args) {
    return native_put_missing((native_probe *)self, args);
}

static PyObject *put_units(PyObject *self, PyObject *args) {
    return native_put_units((native_probe *)self, args);
}

static PyObject *put_spread(PyObject *self, PyObject *args) {
    return native_put_spread((native_probe *)self, args);
}

static PyObject *put_update(PyObject *self, PyObject *args) {
    return native_put_update((native_probe *)self, args);
}

static PyObject *put_adaptivity(PyObject *self, PyObject *args) {
    return native_put_adaptivity((native_probe *)self, args);
}

/* --- the run ---------------------------------------------------------------------------------- */

static PyObject *open_probe(PyObject *self, PyObject *args) {
    return native_open((native_probe *)self, args);
}

static int read_metric(PyObject *value, double *number) {
    if (value == Py_None) return 0;
    *number = PyFloat_AsDouble(value);
    return PyErr_Occurred() ? -1 : 1;
}

static PyObject *validation(PyObject *self, PyObject *args) {
    native_probe *probe = (native_probe *)self;
    static const bp_metric metrics[2] = {BP_METRIC_VALIDATION_LOSS, BP_METRIC_VALIDATION_ACCURACY};
    PyObject *values[2];
    double number = 0;
    if (!PyArg_ParseTuple(args, "OO", &values[0], &values[1])) return NULL;
    for (int i = 0; i < 2; i++) {
        const int given = read_metric(values[i], &number);
        if (given < 0) return NULL;
        if (!given || !probe->watch || native_is_out(probe)) continue;
        const bp_observer *observer = bp_watch_observer(probe->watch);
        observer->scalar(observer->context, metrics[i], number);
    }
    Py_RETURN_NONE;
}

static PyObject *checkpoint(PyObject *self, PyObject *args) {
    native_probe *probe = (native_probe *)self;
    long long step;
    const char *file;
    if (!PyArg_ParseTuple(args, "Ls", &step, &file)) return NULL;
    if (probe->watch && !native_is_out(probe)) bp_watch_note_checkpoint(probe->watch, step, file);
    Py_RETURN_NONE;
}

static PyObject *news(PyObject *self, PyObject *unused) {
    native_probe *probe = (native_probe *)self;
    (void)unused;
    PyObject *list = PyList_New(0);
    if (!probe->news || !probe->diagnosis || native_is_out(probe)) return list;
    const uint32_t n = bp_diagnosis_n_findings(probe->diagnosis);
    for (uint32_t i = 0; list && i < n; i++) {
        const bp_finding *finding = bp_diagnosis_finding(probe->diagnosis, i);
        if (!(probe->news >> (unsigned)finding->problem & 1)) continue;
        if (native_append(list, native_finding(probe->model, finding))) Py_CLEAR(list);
    }
    if (list) probe->news = 0;
    return list;
}

/* What a closed probe said last, else what there is before it was opened. */
static PyObject *last(PyObject *kept, PyObject *empty) {
    if (!kept) return empty;
    Py_XDECREF(empty);
    Py_INCREF(kept);
    return kept;
}

static PyObject *findings(PyObject *self, PyObject *unused) {
    native_probe *probe = (native_probe *)self;
    (void)unused;
    if (!probe->watch || native_is_out(probe)) return last(probe->last_findings, PyList_New(0));
    return native_findings(probe->model, bp_watch_diagnosis(probe->watch));
}

static PyObject *cost(PyObject *self, PyObject *unused) {
    native_probe *probe = (native_probe *)self;
    bp_event_watch spent = {.step = 0};
    (void)unused;
    if (probe->watch && !native_is_out(probe))
        spent = bp_watch_cost(probe->watch);
    else if (probe->last_cost)
        return last(probe->last_cost, NULL);
    return Py_BuildValue("{sd sd sd sd sd sd sd}", "full_steps", (double)spent.full_steps,
                         "light_steps", (double)spent.light_steps, "watch_seconds",
                         spent.watch_seconds, "run_seconds", spent.run_seconds, "mode",
                         (double)spent.mode, "every", (double)spent.every, "budget",
                         spent.budget_fraction);
}

static PyObject *overview(PyObject *self, PyObject *unused) {
    native_probe *probe = (native_probe *)self;
    bp_diagnosis_overview seen;
    (void)unused;
    if (!probe->watch || native_is_out(probe)) return last(probe->last_overview, PyDict_New());
    bp_diagnosis_overview_of(probe->diagnosis, &seen);
    return Py_BuildValue("{sK sL sL sd sd sd sd sN}", "n_records",
                         (unsigned long long)seen.n_records, "first_step",
                         (long long)seen.first_step, "last_step", (long long)seen.last_step,
                         "first_loss", seen.first_loss, "last_loss", seen.last_loss, "best_loss",
                         seen.best_loss, "backward_span_log", seen.backward_span_log,
                         "not_observed", native_text(seen.not_observed));
}

static PyObject *profile(PyObject *self, PyObject *unused) {
    (void)unused;
    return native_profile((native_probe *)self);
}

static PyObject *prediction(PyObject *self, PyObject *args) {
    return native_prediction((native_probe *)self, args);
}

static int end_of(const char *word, bp_run_end *end) {
    static const struct {
        const char *word;
        bp_run_end end;
    } ends[] = {{"open", BP_RUN_OPEN},
                {"finished", BP_RUN_FINISHED},
                {"interrupted", BP_RUN_INTERRUPTED},
                {"stopped", BP_RUN_STOPPED}};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (strcmp(ends[i].word, word) == 0) {
            *end = ends[i].end;
            return 0;
        }
    PyErr_Format(PyExc_ValueError, "end: '%s' is not known", word);
    return -1;
}

static PyObject *close_probe(PyObject *self, PyObject *word) {
    native_probe *probe = (native_probe *)self;
    const char *text = PyUnicode_Check(word) ? PyUnicode_AsUTF8AndSize(word, NULL) : "";
    bp_run_end end;
    if (!text || end_of(text, &end)) return NULL;
    if (probe->closed || native_is_out(probe)) Py_RETURN_NONE;
    probe->last_findings = findings(self, NULL);
    probe->last_overview = overview(self, NULL);
    probe->last_cost = cost(self, NULL);
    native_hush();
    probe->closed = true;
    probe->full = false;
    native_light_drop(&probe->light);
    PyThreadState *state = PyEval_SaveThread();
    close_watch(probe, end);
    PyEval_RestoreThread(state);
    native_stage_finish(&probe->stage);
    Py_CLEAR(probe->on_backward); /* it may know the whole model */
    if (PyErr_Occurred()) return NULL;
    Py_RETURN_NONE;
}

/* --- attributes ------------------------------------------------------------------------------- */

static PyObject *get_full(PyObject *self, void *unused) {
    const native_probe *probe = (native_probe *)self;
    (void)unused;
    return PyBool_FromLong(probe->full && probe->generation == native_generation());
}

static PyObject *get_step(PyObject *self, void *unused) {
    (void)unused;
    return PyLong_FromLongLong(((native_probe *)self)->step);
}

static PyObject *get_last_loss(PyObject *self, void *unused) {
    const native_probe *probe = (native_probe *)self;
    (void)unused;
    if (!probe->has_last_loss) Py_RETURN_NONE;
    return PyFloat_FromDouble(probe->last_loss);
}

static PyObject *get_shares(PyObject *self, void *unused) {
    (void)unused;
    return PyBool_FromLong(((const native_probe *)self)->shares);
}

static int set_shares(PyObject *self, PyObject *value, void *unused) {
    (void)unused;
    const int shares = value ? PyObject_IsTrue(value) : 0;
    if (shares < 0) return -1;
    ((native_probe *)self)->shares = shares;
    return 0;
}

static PyObject *get_blind(PyObject *self, void *unused) {
    const native_probe *probe = (native_probe *)self;
    (void)unused;
    return native_text(probe->blind[0] ? probe->blind : NULL);
}

static PyObject *get_not_measured(PyObject *self, void *unused) {
    const native_probe *probe = (native_probe *)self;
    (void)unused;
    PyObject *dict = PyDict_New();
    for (int i = 0; dict && i < NATIVE_N_REASONS; i++)
        if (probe->not_measured[i] &&
            native_put(dict, native_reason_text((native_reason)i),
                       PyLong_FromUnsignedLongLong(probe->not_measured[i])))
            Py_CLEAR(dict);
    return dict;
}

static PyObject *get_on_backward(PyObject *self, void *unused) {
    PyObject *callback = ((native_probe *)self)->on_backward;
    (void)unused;
    if (!callback) Py_RETURN_NONE;
    Py_INCREF(callback);
    return callback;
}

static int set_on_backward(PyObject *self, PyObject *callback, void *unused) {
    native_probe *probe = (native_probe *)self;
    (void)unused;
    if (callback && callback != Py_None && !PyCallable_Check(callback)) {
        PyErr_SetString(PyExc_TypeError, "on_backward must be callable or None");
        return -1;
    }
    PyObject *before = probe->on_backward;
    probe->on_backward = callback == Py_None ? NULL : callback;
    Py_XINCREF(probe->on_backward);
    Py_XDECREF(before);
    return 0;
}

/* --- the table -------------------------------------------------------------------------------- */

#define FAST(function) __extension__(PyCFunction)(void (*)(void)) function

static PyMethodDef methods[] = {
    {"forward", FAST(forward), METH_FASTCALL, "An activation passes a site."},
    {"loss", FAST(loss), METH_FASTCALL, "The loss of a batch, in every step."},
    {"fresh", fresh, METH_NOARGS, "The gradients were zero as this backward pass began."},
    {"forget", forget, METH_NOARGS, "Forgets what was seen in this step."},
    {"gradients", gradients, METH_O, "All gradients before clipping."},
    {"before_update", before_update, METH_VARARGS, "As the optimiser is about to get them."},
    {"after_update", after_update, METH_O, "The parameters after the update."},
    {"second_moments", second_moments, METH_VARARGS, "Adam's."},
    {"end_step", end_step, METH_VARARGS, "Tells the step; whether the next one is full."},
    {"observed", observed, METH_VARARGS, "How a host that is late has looked at this step."},
    {"settle", settle, METH_VARARGS, "Light steps are all alike from here on."},
    {"light_loss", light_loss, METH_O, "The loss of a batch in such a step."},
    {"light_step", light_step, METH_O, "Such a step has ended."},
    {"put_loss", put_loss, METH_VARARGS, "A loss that the host read itself."},
    {"put_targets", put_targets, METH_VARARGS, "Extremes of a loss's targets."},
    {"put_guesses", put_guesses, METH_VARARGS, "How many classes were predicted rightly."},
    {"put_summary", put_summary, METH_VARARGS, "A summary that the host made itself."},
    {"put_missing", put_missing, METH_VARARGS, "A gradient that did not come."},
    {"put_units", put_units, METH_VARARGS, "Units that the host summed up itself."},
    {"put_spread", put_spread, METH_VARARGS, "A variation that the host made itself."},
    {"put_update", put_update, METH_VARARGS, "An update that the host measured itself."},
    {"put_adaptivity", put_adaptivity, METH_VARARGS, "Adam's, that the host measured itself."},
    {"open", open_probe, METH_VARARGS, "The network is known."},
    {"validation", validation, METH_VARARGS, "Of an evaluation after this step."},
    {"checkpoint", checkpoint, METH_VARARGS, "A checkpoint was written."},
    {"news", news, METH_NOARGS, "Findings that opened or changed."},
    {"findings", findings, METH_NOARGS, "All findings so far."},
    {"cost", cost, METH_NOARGS, "What watching cost."},
    {"overview", overview, METH_NOARGS, "What the diagnosis saw."},
    {"profile", profile, METH_NOARGS, "The last full step over depth."},
    {"prediction", prediction, METH_VARARGS, "What theory says of the last full step."},
    {"close", close_probe, METH_O, "Ends the log."},
    {NULL, NULL, 0, NULL}};

static PyGetSetDef attributes[] = {
    {"full", get_full, NULL, "The current step is looked at in full.", NULL},
    {"step", get_step, NULL, "Updates told so far.", NULL},
    {"loss_of_last_step", get_last_loss, NULL, "None where it was not told.", NULL},
    {"shares", get_shares, set_shares, "Losses of a step's passes add up to one.", NULL},
    {"blind", get_blind, NULL, "Why the log is not written any more.", NULL},
    {"not_measured", get_not_measured, NULL, "Reason: how many tensors.", NULL},
    {"on_backward", get_on_backward, set_on_backward, "Called as a backward pass begins.", NULL},
    {NULL, NULL, NULL, NULL, NULL}};

static PyType_Slot slots[] = {NATIVE_SLOT(Py_tp_new, new),
                              NATIVE_SLOT(Py_tp_dealloc, dealloc),
                              NATIVE_SLOT(Py_tp_traverse, traverse),
                              NATIVE_SLOT(Py_tp_clear, clear),
                              {Py_tp_methods, methods},
                              {Py_tp_getset, attributes},
                              {0, NULL}};

PyType_Spec native_probe_spec = {.name = "backprobe._native.Probe",
                                 .basicsize = sizeof(native_probe),
                                 .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
                                 .slots = slots};
