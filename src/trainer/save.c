/* SPDX-License-Identifier: Apache-2.0 */
/* Weights and checkpoints to and from safetensors. A checkpoint is a file of weights with more in
 * it: tensors "optimiser.first_moment.NAME" and "optimiser.second_moment.NAME", and texts. */
#include "formats/safetensors.h"
#include "trainer/run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define STATE_PREFIX "optimiser."
#define MAX_NOTES 16
#define NOTE_BYTES 40

/* --- what is in a file --------------------------------------------------------------------------
 */

typedef struct saved_tensor {
    bp_named_tensor named; /* its name points at the parameter's, or at `name` */
    bp_real *data;         /* where it is loaded to */
    char name[sizeof(STATE_PREFIX) + 32 + sizeof((bp_parameter *)NULL)->name];
} saved_tensor;

/* Parameters, running statistics, then the optimiser's arrays. */
typedef struct saved_list {
    saved_tensor *list;
    size_t n, capacity;
} saved_list;

static void add(saved_list *saved, const char *name, const bp_tensor *form, bp_real *data) {
    saved_tensor *added = &saved->list[saved->n++];
    added->named = (bp_named_tensor){name, *form};
    added->named.tensor.data = data;
    added->data = data;
}

static void add_state(saved_list *saved, const bp_network *network, const char *what,
                      bp_real *state) {
    for (size_t i = 0; state && i < network->n_parameters; i++) {
        const bp_network_parameter *parameter = &network->parameters[i];
        saved_tensor *added = &saved->list[saved->n];
        snprintf(added->name, sizeof added->name, STATE_PREFIX "%s.%s", what,
                 parameter->parameter.name);
        add(saved, added->name, &parameter->parameter.value, state + parameter->offset);
    }
}

static bool list_saved(saved_list *saved, const bp_network *network, bool with_state) {
    const size_t n_states = with_state ? 2 : 0;
    saved->n = 0;
    saved->capacity = (1 + n_states) * network->n_parameters + network->n_running;
    saved->list = bp_allocate(&network->allocator, saved->capacity, sizeof *saved->list);
    if (!saved->list) return false;
    for (size_t i = 0; i < network->n_parameters; i++) {
        const bp_network_parameter *parameter = &network->parameters[i];
        add(saved, parameter->parameter.name, &parameter->parameter.value,
            network->values + parameter->offset);
    }
    for (size_t i = 0; i < network->n_running; i++)
        add(saved, network->running[i].name, &network->running[i].value, network->running[i].data);
    if (!with_state) return true;
    add_state(saved, network, "first_moment", network->first_moment);
    add_state(saved, network, "second_moment", network->second_moment);
    return true;
}

static void release_saved(saved_list *saved, const bp_network *network) {
    bp_release(&network->allocator, saved->list, saved->capacity, sizeof *saved->list);
}

/* --- writing ------------------------------------------------------------------------------------
 */

static bp_status write_list(const saved_list *saved, const bp_network *network, const char *path,
                            const char *const *notes, size_t n_notes, bp_error *error) {
    const bp_allocator *allocator = &network->allocator;
    bp_named_tensor *tensors = bp_allocate(allocator, saved->n, sizeof *tensors);
    if (!tensors) return bp_fail(error, BP_ERROR_MEMORY, "no memory to save %zu tensors", saved->n);
    for (size_t i = 0; i < saved->n; i++) tensors[i] = saved->list[i].named;
    const bp_status status = bp_safetensors_write(&bp_io_system, path, tensors, saved->n, notes,
                                                  n_notes, allocator, error);
    bp_release(allocator, tensors, saved->n, sizeof *tensors);
    return status;
}

bp_status bp_trainer_save(const bp_trainer *trainer, const char *path, bp_error *error) {
    const char *const notes[] = {"format", "backprobe", "version", bp_version()};
    const bp_network *network = &trainer->network;
    saved_list saved;
    if (!list_saved(&saved, network, false))
        return bp_fail(error, BP_ERROR_MEMORY, "no memory to save the network");
    const bp_status status = write_list(&saved, network, path, notes, 2, error);
    release_saved(&saved, network);
    return status;
}

/* --- notes: a checkpoint's texts ------------------------------------------------------------- */

/* Numbers of a checkpoint by name, each an int64_t or a double. */
typedef struct note {
    const char *key;
    int64_t *whole;
    double *number;
} note;

#define N_NOTES 9
static void list_notes(bp_standing *standing, note notes[N_NOTES]) {
    const note all[N_NOTES] = {{"step", &standing->step, NULL},
                               {"epoch_loss_sum", NULL, &standing->epoch_loss_sum},
                               {"epoch_loss", NULL, &standing->epoch_loss},
                               {"validation_loss", NULL, &standing->validation.loss},
                               {"validation_accuracy", NULL, &standing->validation.accuracy},
                               {"best_step", &standing->best_step, NULL},
                               {"best_loss", NULL, &standing->best_loss},
                               {"seconds", NULL, &standing->seconds},
                               {NULL, NULL, NULL}};
    memcpy(notes, all, sizeof all);
}

static void write_note(const note *from, char text[NOTE_BYTES]) {
    if (from->whole)
        snprintf(text, NOTE_BYTES, "%lld", (long long)*from->whole);
    else if (isnan(*from->number))
        snprintf(text, NOTE_BYTES, "unknown");
    else
        bp_number_exact(text, NOTE_BYTES, *from->number);
}

static bool read_note(const char *text, const note *to) {
    if (to->whole) return bp_parse_integer(text, to->whole) && *to->whole >= 0;
    *to->number = (double)NAN;
    return strcmp(text, "unknown") == 0 || bp_parse_number(text, to->number);
}

/* Over the tensors' bytes, in our order; of a file that was read, or of the trainer itself. */
static void write_checksum(const saved_list *saved, const bp_safetensors *file,
                           char text[NOTE_BYTES]) {
    uint32_t crc = 0;
    for (size_t i = 0; i < saved->n; i++) {
        const bp_named_tensor *own = &saved->list[i].named;
        const bp_tensor *tensor =
            file ? &bp_safetensors_find(file, own->name)->tensor : &own->tensor;
        crc = bp_crc32c(crc, tensor->data, (size_t)bp_tensor_count(tensor) * sizeof(bp_real));
    }
    snprintf(text, NOTE_BYTES, "%08x", (unsigned)crc);
}

/* What of the recipe decides the steps that follow, beside the optimiser's kind. */
typedef struct settings {
    char seed[NOTE_BYTES], batch[NOTE_BYTES], processes[NOTE_BYTES];
} settings;

static void write_settings(const bp_trainer *trainer, settings *texts) {
    snprintf(texts->seed, NOTE_BYTES, "%llu", (unsigned long long)trainer->recipe.seed);
    snprintf(texts->batch, NOTE_BYTES, "%lld", (long long)trainer->recipe.batch);
    snprintf(texts->processes, NOTE_BYTES, "%d", (int)trainer->ranks.n_ranks);
}

bp_status bp_trainer_save_checkpoint(const bp_trainer *trainer, const char *path,
                                     const bp_standing *standing, bp_error *error) {
    bp_standing now = *standing;
    note notes[N_NOTES];
    char texts[MAX_NOTES][NOTE_BYTES], crc32c[NOTE_BYTES];
    settings given;
    saved_list saved;
    const char *pairs[2 * MAX_NOTES];
    size_t n = 0;
    if (!list_saved(&saved, &trainer->network, true))
        return bp_fail(error, BP_ERROR_MEMORY, "no memory to save the network");
    now.step = trainer->steps_done;
    write_checksum(&saved, NULL, crc32c);
    write_settings(trainer, &given);
    const char *const fixed[][2] = {{"format", "backprobe checkpoint"},
                                    {"version", bp_version()},
                                    {"optimiser", bp_optimiser_name(trainer->recipe.optimiser)},
                                    {"seed", given.seed},
                                    {"batch", given.batch},
                                    {"processes", given.processes},
                                    {"crc32c", crc32c}};
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++, n++) {
        pairs[2 * n] = fixed[i][0];
        pairs[2 * n + 1] = fixed[i][1];
    }
    list_notes(&now, notes);
    for (size_t i = 0; notes[i].key; i++, n++) {
        write_note(&notes[i], texts[i]);
        pairs[2 * n] = notes[i].key;
        pairs[2 * n + 1] = texts[i];
    }
    const bp_status status = write_list(&saved, &trainer->network, path, pairs, n, error);
    release_saved(&saved, &trainer->network);
    return status;
}

/* --- reading ------------------------------------------------------------------------------------
 */

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

static size_t count_of(const bp_safetensors *file, bool with_state) {
    size_t n = 0;
    for (size_t i = 0; i < bp_safetensors_count(file); i++)
        n += with_state ||
             strncmp(bp_safetensors_get(file, i)->name, STATE_PREFIX, strlen(STATE_PREFIX)) != 0;
    return n;
}

/* All is checked before anything is copied: a network is never half loaded. */
static bp_status check_tensors(const saved_list *saved, const bp_safetensors *file, bool with_state,
                               const char *path, bp_error *error) {
    for (size_t i = 0; i < saved->n; i++) {
        const bp_named_tensor *expected = &saved->list[i].named;
        const bp_status status =
            check_found(expected, bp_safetensors_find(file, expected->name), path, error);
        if (status != BP_OK) return status;
    }
    const size_t found = count_of(file, with_state);
    if (found == saved->n) return BP_OK;
    return bp_fail(error, BP_ERROR_INPUT,
                   "%.200s: %zu tensors, but the network has %zu; it is of another network", path,
                   found, saved->n);
}

static bp_status check_note(const bp_safetensors *file, const char *path, const char *key,
                            const char *expected, bp_error *error) {
    const char *found = bp_safetensors_metadata(file, key);
    if (found && strcmp(found, expected) == 0) return BP_OK;
    return bp_fail(error, BP_ERROR_INPUT,
                   "%.200s: cannot go on from it: expected %s %s, found %.60s", path, key, expected,
                   found ? found : "none");
}

static bp_status read_notes(const bp_trainer *trainer, const bp_safetensors *file, const char *path,
                            bp_standing *standing, bp_error *error) {
    note notes[N_NOTES];
    settings own;
    const char *format = bp_safetensors_metadata(file, "format");
    if (!format || strcmp(format, "backprobe checkpoint") != 0)
        return bp_fail(error, BP_ERROR_INPUT,
                       "%.200s: no checkpoint; a file of weights alone is for --weights", path);
    write_settings(trainer, &own);
    const char *optimiser = bp_optimiser_name(trainer->recipe.optimiser);
    bp_status status = check_note(file, path, "optimiser", optimiser, error);
    if (status == BP_OK) status = check_note(file, path, "seed", own.seed, error);
    if (status == BP_OK) status = check_note(file, path, "batch", own.batch, error);
    if (status == BP_OK) status = check_note(file, path, "processes", own.processes, error);
    if (status != BP_OK) return status;
    list_notes(standing, notes);
    for (size_t i = 0; notes[i].key; i++) {
        const char *text = bp_safetensors_metadata(file, notes[i].key);
        if (!text || !read_note(text, &notes[i]))
            return bp_fail(error, BP_ERROR_INPUT, "%.200s: expected a number as %s, found '%.60s'",
                           path, notes[i].key, text ? text : "");
    }
    return BP_OK;
}

static void copy_tensors(const saved_list *saved, const bp_safetensors *file) {
    for (size_t i = 0; i < saved->n; i++) {
        const bp_named_tensor *to = &saved->list[i].named;
        memcpy(saved->list[i].data, bp_safetensors_find(file, to->name)->tensor.data,
               (size_t)bp_tensor_count(&to->tensor) * sizeof(bp_real));
    }
}

/* A bit that turned on the disk is no number to go on from. */
static bp_status check_checksum(const saved_list *saved, const bp_safetensors *file,
                                const char *path, bp_error *error) {
    char crc32c[NOTE_BYTES];
    const char *found = bp_safetensors_metadata(file, "crc32c");
    write_checksum(saved, file, crc32c);
    if (found && strcmp(found, crc32c) == 0) return BP_OK;
    return bp_fail(error, BP_ERROR_INPUT,
                   "%.200s: damaged: the crc32c of its tensors is %s, "
                   "expected %.60s",
                   path, crc32c, found ? found : "one");
}

/* standing NULL: the weights alone are wanted. */
static bp_status load(bp_trainer *trainer, const char *path, bp_standing *standing,
                      bp_error *error) {
    bp_safetensors *file;
    saved_list saved;
    bp_status status = bp_safetensors_open(&file, &bp_io_system, path, &trainer->allocator, error);
    if (status != BP_OK) return status;
    if (standing) status = read_notes(trainer, file, path, standing, error);
    if (status == BP_OK && !list_saved(&saved, &trainer->network, standing != NULL))
        status = bp_fail(error, BP_ERROR_MEMORY, "no memory to load %.200s", path);
    else if (status == BP_OK) {
        status = check_tensors(&saved, file, standing != NULL, path, error);
        if (status == BP_OK && standing) status = check_checksum(&saved, file, path, error);
        if (status == BP_OK) copy_tensors(&saved, file);
        release_saved(&saved, &trainer->network);
    }
    bp_safetensors_close(file);
    return status;
}

bp_status bp_trainer_load(bp_trainer *trainer, const char *path, bp_error *error) {
    return load(trainer, path, NULL, error);
}

bp_status bp_trainer_resume(bp_trainer *trainer, const char *path, bp_standing *standing,
                            bp_error *error) {
    bp_standing found = {.step = 0};
    const bp_status status = load(trainer, path, &found, error);
    if (status != BP_OK) return status;
    trainer->steps_done = found.step;
    *standing = found;
    return BP_OK;
}
