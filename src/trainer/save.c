/* SPDX-License-Identifier: Apache-2.0 */
/* Weights to and from safetensors. */
#include "formats/safetensors.h"
#include "trainer/run.h"

#include <string.h>

static size_t n_saved(const bp_network *network) {
    return network->n_parameters + network->n_running;
}

/* Parameters, then running statistics. */
static bp_named_tensor saved(const bp_network *network, size_t index) {
    if (index < network->n_parameters) {
        const bp_parameter *parameter = &network->parameters[index].parameter;
        return (bp_named_tensor){parameter->name, parameter->value};
    }
    const bp_running *running = &network->running[index - network->n_parameters];
    return (bp_named_tensor){running->name, running->value};
}

static bp_real *saved_data(const bp_network *network, size_t index) {
    return index < network->n_parameters ? network->values + network->parameters[index].offset
                                         : network->running[index - network->n_parameters].data;
}

bp_status bp_trainer_save(const bp_trainer *trainer, const char *path, bp_error *error) {
    const bp_network *network = &trainer->network;
    const size_t n = n_saved(network);
    bp_named_tensor *tensors = bp_allocate(&trainer->allocator, n, sizeof *tensors);
    if (!tensors) return bp_fail(error, BP_ERROR_MEMORY, "no memory to save %zu tensors", n);
    for (size_t i = 0; i < n; i++) tensors[i] = saved(network, i);
    const char *const metadata[] = {"format", "backprobe", "version", bp_version()};
    const bp_status status = bp_safetensors_write(&bp_io_system, path, tensors, n, metadata, 2,
                                                  &trainer->allocator, error);
    bp_release(&trainer->allocator, tensors, n, sizeof *tensors);
    return status;
}

/* "[64, 32]" */
static void add_shape(bp_text *text, const bp_tensor *tensor) {
    bp_text_add(text, "[");
    for (int32_t i = 0; i < tensor->ndim; i++)
        bp_text_add(text, "%s%lld", i ? ", " : "", (long long)tensor->shape[i]);
    bp_text_add(text, "]");
}

static bool is_same_form(const bp_tensor *a, const bp_tensor *b) {
    if (a->dtype != b->dtype || a->ndim != b->ndim) return false;
    for (int32_t i = 0; i < a->ndim; i++)
        if (a->shape[i] != b->shape[i]) return false;
    return true;
}

static bp_status check_found(const bp_named_tensor *expected, const bp_named_tensor *found,
                             const char *path, bp_error *error) {
    if (!found)
        return bp_fail(error, BP_ERROR_INPUT, "%.200s: no tensor '%.100s', which the network has",
                       path, expected->name);
    if (is_same_form(&expected->tensor, &found->tensor)) return BP_OK;
    char have[96], want[96];
    bp_text have_text, want_text;
    bp_text_init(&have_text, have, sizeof have);
    bp_text_init(&want_text, want, sizeof want);
    add_shape(&have_text, &found->tensor);
    add_shape(&want_text, &expected->tensor);
    return bp_fail(error, BP_ERROR_INPUT,
                   "%.200s: tensor '%.100s' is %s %s, but the network's is %s %s", path,
                   expected->name, bp_dtype_name(found->tensor.dtype), have,
                   bp_dtype_name(expected->tensor.dtype), want);
}

/* All is checked before anything is copied: a network is never half loaded. */
static bp_status check_file(const bp_network *network, const bp_safetensors *file, const char *path,
                            bp_error *error) {
    for (size_t i = 0; i < n_saved(network); i++) {
        const bp_named_tensor expected = saved(network, i);
        const bp_status status =
            check_found(&expected, bp_safetensors_find(file, expected.name), path, error);
        if (status != BP_OK) return status;
    }
    if (bp_safetensors_count(file) != n_saved(network))
        return bp_fail(error, BP_ERROR_INPUT,
                       "%.200s: %zu tensors, but the network has %zu; it is of another network",
                       path, bp_safetensors_count(file), n_saved(network));
    return BP_OK;
}

bp_status bp_trainer_load(bp_trainer *trainer, const char *path, bp_error *error) {
    const bp_network *network = &trainer->network;
    bp_safetensors *file;
    bp_status status = bp_safetensors_open(&file, &bp_io_system, path, &trainer->allocator, error);
    if (status != BP_OK) return status;
    status = check_file(network, file, path, error);
    for (size_t i = 0; i < n_saved(network) && status == BP_OK; i++) {
        const bp_named_tensor to = saved(network, i);
        memcpy(saved_data(network, i), bp_safetensors_find(file, to.name)->tensor.data,
               (size_t)bp_tensor_count(&to.tensor) * sizeof(bp_real));
    }
    bp_safetensors_close(file);
    return status;
}
