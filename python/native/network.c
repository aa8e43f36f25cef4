/* SPDX-License-Identifier: Apache-2.0 */
/* A network told as dicts becomes a model. */
#include "native.h"

#include <math.h>
#include <string.h>

PyObject *native_item(PyObject *dict, const char *key) {
    PyObject *name = PyUnicode_FromString(key);
    PyObject *value = name ? PyDict_GetItemWithError(dict, name) : NULL;
    Py_XDECREF(name);
    return value == Py_None ? NULL : value;
}

/* The readers below leave *out as it is where the key is absent; false with an exception. */

static bool read_whole(PyObject *dict, const char *key, int64_t *out) {
    PyObject *value = native_item(dict, key);
    if (!value) return !PyErr_Occurred();
    *out = PyLong_AsLongLong(value);
    return !(*out == -1 && PyErr_Occurred());
}

static bool read_small(PyObject *dict, const char *key, int32_t *out) {
    int64_t value = *out;
    if (!read_whole(dict, key, &value)) return false;
    if (value < INT32_MIN || value > INT32_MAX) {
        PyErr_Format(PyExc_ValueError, "%s: %lld is impossible", key, (long long)value);
        return false;
    }
    *out = (int32_t)value;
    return true;
}

static bool read_index(PyObject *dict, const char *key, uint32_t *out) {
    int32_t value = (int32_t)*out;
    if (!read_small(dict, key, &value)) return false;
    if (value < 0) {
        PyErr_Format(PyExc_ValueError, "%s: %d is impossible", key, (int)value);
        return false;
    }
    *out = (uint32_t)value;
    return true;
}

static bool read_real(PyObject *dict, const char *key, double *out) {
    PyObject *value = native_item(dict, key);
    if (!value) return !PyErr_Occurred();
    *out = PyFloat_AsDouble(value);
    return !PyErr_Occurred();
}

static bool read_flag(PyObject *dict, const char *key, bool *out) {
    PyObject *value = native_item(dict, key);
    if (!value) return !PyErr_Occurred();
    const int is_true = PyObject_IsTrue(value);
    *out = is_true > 0;
    return is_true >= 0;
}

#define WORDS(name, type)                        \
    static const char *name##_word(int number) { \
        return bp_##name##_name((type)number);   \
    }
WORDS(layer_kind, bp_layer_kind)
WORDS(activation, bp_activation)
WORDS(norm, bp_norm)
WORDS(init, bp_init_kind)
WORDS(loss, bp_loss)
WORDS(optimiser, bp_optimiser)

/* The number of one of the library's words; 0 with an exception. Its lists begin at 1 and have no
 * gap. */
static int number_of(const char *what, PyObject *word, const char *(*name)(int)) {
    const char *text = PyUnicode_Check(word) ? PyUnicode_AsUTF8AndSize(word, NULL) : NULL;
    if (PyErr_Occurred()) return 0;
    for (int number = 1; text && name(number); number++)
        if (strcmp(text, name(number)) == 0) return number;
    PyErr_Format(PyExc_ValueError, "%s: %R is not known", what, word);
    return 0;
}

static bool read_word(PyObject *dict, const char *key, const char *(*name)(int), int *out) {
    PyObject *value = native_item(dict, key);
    if (!value) return !PyErr_Occurred();
    *out = number_of(key, value, name);
    return *out != 0;
}

int native_shape(PyObject *tuple, int64_t shape[3]) {
    long long numbers[3];
    if (!PyArg_ParseTuple(tuple, "LLL;a shape is three whole numbers", &numbers[0], &numbers[1],
                          &numbers[2]))
        return -1;
    for (int i = 0; i < 3; i++) shape[i] = numbers[i];
    return 0;
}

static bool read_shape(PyObject *dict, const char *key, int64_t shape[3]) {
    PyObject *value = native_item(dict, key);
    if (!value) return !PyErr_Occurred();
    if (PyTuple_Check(value)) return native_shape(value, shape) == 0;
    PyErr_Format(PyExc_TypeError, "%s: expected a tuple of three whole numbers", key);
    return false;
}

/* A pair: the initialiser's word and its parameter. */
static bool read_init(PyObject *dict, const char *key, bp_init *init) {
    PyObject *value = native_item(dict, key), *word;
    if (!value) return !PyErr_Occurred();
    if (!PyTuple_Check(value)) {
        PyErr_Format(PyExc_TypeError, "%s: expected a word and a number", key);
        return false;
    }
    if (!PyArg_ParseTuple(value, "Od", &word, &init->parameter)) return false;
    const int number = number_of(key, word, init_word);
    init->kind = (bp_init_kind)number;
    return number != 0;
}

/* --- a layer ---------------------------------------------------------------------------------- */

static bool read_words(PyObject *dict, bp_layer *layer) {
    int kind = 0, activation = 0, norm = 0;
    if (!read_word(dict, "kind", layer_kind_word, &kind) ||
        !read_word(dict, "activation", activation_word, &activation) ||
        !read_word(dict, "norm", norm_word, &norm))
        return false;
    if (!kind) PyErr_SetString(PyExc_ValueError, "a layer needs its kind");
    layer->kind = (bp_layer_kind)kind;
    layer->activation = (bp_activation)activation;
    layer->norm = (bp_norm)norm;
    return kind != 0;
}

static bool read_layer(PyObject *dict, bp_layer *layer) {
    if (!PyDict_Check(dict)) {
        PyErr_SetString(PyExc_TypeError, "a layer is a dict");
        return false;
    }
    PyObject *name = native_item(dict, "name");
    if (!name) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "a layer needs its name");
        return false;
    }
    layer->name = PyUnicode_AsUTF8AndSize(name, NULL);
    PyObject *activation_name = native_item(dict, "activation_name");
    if (activation_name) layer->activation_name = PyUnicode_AsUTF8AndSize(activation_name, NULL);
    return layer->name && !PyErr_Occurred() && read_words(dict, layer) &&
           read_real(dict, "activation_slope", &layer->activation_slope) &&
           read_flag(dict, "norm_after_activation", &layer->norm_after_activation) &&
           read_flag(dict, "has_bias", &layer->has_bias) &&
           read_flag(dict, "frozen", &layer->frozen) &&
           read_whole(dict, "fan_in", &layer->fan_in) &&
           read_whole(dict, "fan_out", &layer->fan_out) &&
           read_shape(dict, "output_shape", layer->output_shape) &&
           read_init(dict, "weight_init", &layer->weight_init) &&
           read_init(dict, "bias_init", &layer->bias_init) &&
           read_small(dict, "kernel", &layer->kernel) &&
           read_small(dict, "stride", &layer->stride) &&
           read_small(dict, "padding", &layer->padding) &&
           read_real(dict, "drop_fraction", &layer->drop_fraction) &&
           read_whole(dict, "vocabulary", &layer->vocabulary) &&
           read_real(dict, "branch_scale", &layer->branch_scale) &&
           read_index(dict, "skip_from", &layer->skip_from) &&
           read_index(dict, "n_branch", &layer->n_branch) &&
           read_index(dict, "depth_in_blocks", &layer->depth_in_blocks);
}

static bool add_layer(bp_model *model, PyObject *dict) {
    bp_layer layer = {.branch_scale = 1};
    bp_error error;
    if (!dict || !read_layer(dict, &layer)) return false;
    if (bp_model_add_layer(model, &layer, NULL, &error) == BP_OK) return true;
    native_raise(&error);
    return false;
}

static bool add_layers(bp_model *model, PyObject *layers) {
    const Py_ssize_t n = PySequence_Size(layers);
    bool good = n >= 0;
    for (Py_ssize_t i = 0; good && i < n; i++) {
        PyObject *dict = PySequence_GetItem(layers, i);
        good = add_layer(model, dict);
        Py_XDECREF(dict);
    }
    return good;
}

/* --- the recipe ------------------------------------------------------------------------------- */

static bool set_recipe(bp_model *model, PyObject *dict) {
    int loss = BP_LOSS_OTHER, optimiser = BP_OPTIMISER_OTHER;
    bp_recipe recipe = {.trivial_loss = (double)NAN, .chance_accuracy = (double)NAN};
    if (!PyDict_Check(dict)) {
        PyErr_SetString(PyExc_TypeError, "a recipe is a dict");
        return false;
    }
    if (!read_word(dict, "loss", loss_word, &loss) ||
        !read_word(dict, "optimiser", optimiser_word, &optimiser) ||
        !read_real(dict, "learning_rate", &recipe.learning_rate) ||
        !read_real(dict, "momentum", &recipe.momentum) ||
        !read_real(dict, "beta1", &recipe.beta1) || !read_real(dict, "beta2", &recipe.beta2) ||
        !read_real(dict, "epsilon", &recipe.epsilon) ||
        !read_flag(dict, "nesterov", &recipe.nesterov) ||
        !read_real(dict, "alpha", &recipe.alpha) ||
        !read_real(dict, "weight_decay", &recipe.weight_decay) ||
        !read_whole(dict, "batch", &recipe.batch) ||
        !read_whole(dict, "epoch_steps", &recipe.epoch_steps) ||
        !read_whole(dict, "train_samples", &recipe.train_samples) ||
        !read_real(dict, "trivial_loss", &recipe.trivial_loss) ||
        !read_real(dict, "chance_accuracy", &recipe.chance_accuracy) ||
        !read_whole(dict, "n_outputs", &recipe.n_outputs) ||
        !read_flag(dict, "unsupervised", &recipe.unsupervised) ||
        !read_flag(dict, "from_probabilities", &recipe.from_probabilities))
        return false;
    recipe.loss = (bp_loss)loss;
    recipe.optimiser = (bp_optimiser)optimiser;
    bp_model_set_recipe(model, &recipe);
    return true;
}

static bool set_origin(bp_model *model, const int64_t input[3]) {
    bp_error error = {0};
    bp_status status = bp_model_set_input_shape(model, input, &error);
    if (status == BP_OK) status = bp_model_set_origin(model, "pytorch");
    if (status != BP_OK) native_raise(&error);
    return status == BP_OK;
}

bp_model *native_network(PyObject *layers, PyObject *recipe, const int64_t input[3]) {
    bp_model *model = NULL;
    if (bp_model_open(&model, NULL) != BP_OK) {
        PyErr_NoMemory();
        return NULL;
    }
    if (add_layers(model, layers) && set_recipe(model, recipe) && set_origin(model, input))
        return model;
    bp_model_close(model);
    return NULL;
}
