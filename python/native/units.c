/* SPDX-License-Identifier: Apache-2.0 */
/* What units of an activation do: a few values of them are looked at, evenly chosen. */
#include "probe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- which values are looked at --------------------------------------------------------------- */

/* A tensor whose channels were flattened with what they hold has a dimension more. */
static bp_tensor unfolded(const bp_tensor *tensor, const native_geometry *geometry) {
    bp_tensor whole = *tensor;
    const int64_t n = (int64_t)geometry->n_units;
    if (geometry->axis != 1 || whole.ndim != 2 || n < 1) return whole;
    if (whole.shape[1] == n || whole.shape[1] % n != 0) return whole;
    whole.ndim = 3;
    whole.shape[2] = whole.shape[1] / n;
    whole.stride[2] = whole.stride[1];
    whole.shape[1] = n;
    whole.stride[1] *= whole.shape[2];
    return whole;
}

static int64_t over(int64_t size, int64_t every) {
    return (size + every - 1) / every;
}

/* Values of a sample when every so manieth along each dimension is taken. */
static int64_t values_of(const bp_tensor *tensor, const int64_t *every) {
    int64_t values = 1;
    for (int32_t d = 1; d < tensor->ndim; d++) values *= over(tensor->shape[d], every[d]);
    return values;
}

/* The dimension with most places, units last: of a channel a few pixels tell much. */
static int32_t longest_of(const bp_tensor *tensor, const int64_t *every, int32_t axis) {
    int32_t longest = 0;
    for (int32_t d = 1; d < tensor->ndim; d++) {
        if (d == axis || over(tensor->shape[d], every[d]) < 2) continue;
        if (!longest || tensor->shape[d] / every[d] > tensor->shape[longest] / every[longest])
            longest = d;
    }
    return longest ? longest : axis > 0 ? axis : 1;
}

/* Every so manieth along each dimension, so that few units and samples stand for all. Where units
 * are known the places of a unit are others each time, so that in the end all are seen. */
static bp_tensor thinned(const bp_tensor *tensor, int32_t axis, uint64_t turn) {
    bp_tensor few = *tensor;
    int64_t every[BP_TENSOR_MAX_NDIM], offset = 0;
    for (int32_t d = 0; d < few.ndim; d++) every[d] = 1;
    every[0] = over(few.shape[0], NATIVE_SPREAD_SAMPLES);
    while (values_of(tensor, every) > NATIVE_SPREAD_UNITS) every[longest_of(tensor, every, axis)]++;
    for (int32_t d = 0; d < few.ndim; d++) {
        few.shape[d] = over(tensor->shape[d], every[d]);
        few.stride[d] = tensor->stride[d] * every[d];
        if (axis < 1 || d < 1 || d == axis || every[d] == 1) continue;
        few.shape[d] = tensor->shape[d] / every[d];
        const uint64_t starts = (uint64_t)(tensor->shape[d] - (few.shape[d] - 1) * every[d]);
        offset += (int64_t)(turn % starts) * tensor->stride[d];
        turn /= starts;
    }
    few.data = (const uint8_t *)few.data + offset * (int64_t)bp_dtype_bytes(few.dtype);
    return few;
}

/* --- adding ----------------------------------------------------------------------------------- */

/* The units' arrays fit the tensor; those of another size begin anew. */
static bool fit_units(native_site *site, uint64_t n_units) {
    if (site->units.n_units == n_units && site->numbers) return true;
    if (n_units > site->capacity || !site->numbers) {
        double *grown = realloc(site->numbers, 3 * n_units * sizeof *grown);
        if (!grown) return false;
        site->numbers = grown;
        site->capacity = n_units;
    }
    bp_units_init(&site->units, site->numbers, site->numbers + n_units, site->numbers + 2 * n_units,
                  n_units);
    return true;
}

void native_units_add(native_site *site, const bp_tensor *tensor) {
    if (tensor->ndim < 1 || bp_tensor_count(tensor) == 0) return;
    const bp_tensor whole = unfolded(tensor, &site->geometry);
    const int32_t axis = site->geometry.axis < whole.ndim ? site->geometry.axis : 0;
    const bp_tensor few = thinned(&whole, axis, site->n_looked);
    if (!fit_units(site, (uint64_t)(bp_tensor_count(&few) / few.shape[0]))) return;
    site->ndim = few.ndim;
    site->is_thinned = false;
    for (int32_t d = 0; d < few.ndim; d++) {
        site->shape[d] = few.shape[d];
        site->is_thinned |= d > 0 && few.shape[d] != whole.shape[d];
    }
    bp_units_add(&site->units, &few);
}

/* --- given ------------------------------------------------------------------------------------ */

/* Numbers of a tensor of f64; false where it has others. */
static bool copy_numbers(double *to, const bp_tensor *from, uint64_t n) {
    if (from->dtype != BP_F64 || from->ndim != 1 || (uint64_t)from->shape[0] != n) return false;
    const double *numbers = from->data;
    for (uint64_t i = 0; i < n; i++) to[i] = numbers[(int64_t)i * from->stride[0]];
    return true;
}

static void take_units(native_site *site, uint64_t samples, const bp_unit_shape *shape,
                       const bp_tensor *means, const bp_tensor *squares) {
    const uint64_t n = shape->outer * shape->n_units * shape->inner;
    if (n == 0 || n > NATIVE_SPREAD_UNITS || !fit_units(site, n)) return;
    bp_units *units = &site->units;
    units->samples = 0;
    if (!copy_numbers(units->shift, means, n) || !copy_numbers(units->sum_squares, squares, n))
        return;
    units->non_finite = false;
    for (uint64_t i = 0; i < n; i++) {
        units->sum[i] = 0;
        units->non_finite |= !isfinite(units->shift[i]) || !isfinite(units->sum_squares[i]);
    }
    units->samples = samples;
    site->given = *shape;
}

PyObject *native_put_units(native_probe *probe, PyObject *args) {
    unsigned long index;
    unsigned long long samples, outer, n_units, inner;
    PyObject *means, *squares;
    native_view views[2];
    if (!PyArg_ParseTuple(args, "kK(KKK)OO", &index, &samples, &outer, &n_units, &inner, &means,
                          &squares))
        return NULL;
    if (!probe->full || native_is_out(probe)) Py_RETURN_NONE;
    native_site *site =
        index < NATIVE_MOST_SITES ? native_stage_site(&probe->stage, (uint32_t)index) : NULL;
    if (!site || native_view_open(&probe->reader, means, &views[0]) != NATIVE_MEASURED)
        Py_RETURN_NONE;
    if (native_view_open(&probe->reader, squares, &views[1]) == NATIVE_MEASURED) {
        const bp_unit_shape shape = {.outer = outer, .n_units = n_units, .inner = inner};
        take_units(site, samples, &shape, &views[0].tensor, &views[1].tensor);
        native_view_close(&views[1]);
    }
    native_view_close(&views[0]);
    if (PyErr_Occurred()) return NULL;
    Py_RETURN_NONE;
}

/* --- reading ---------------------------------------------------------------------------------- */

/* Where the units lie in what was looked at; false: not known. Of a first step the geometry is
 * known only now, behind it: what was thinned without is not used. */
static bool shape_of(const native_site *site, bp_unit_shape *shape) {
    const native_geometry *geometry = &site->geometry;
    const bool was_unknown = site->n_looked == 0;
    *shape = site->given;
    if (shape->n_units > 0) return true;
    if (geometry->axis < 1 || geometry->axis >= site->ndim) return false;
    if (was_unknown && site->is_thinned) return false;
    *shape =
        (bp_unit_shape){.outer = 1, .n_units = (uint64_t)site->shape[geometry->axis], .inner = 1};
    for (int32_t d = 1; d < site->ndim; d++) {
        if (d < geometry->axis) shape->outer *= (uint64_t)site->shape[d];
        if (d > geometry->axis) shape->inner *= (uint64_t)site->shape[d];
    }
    if (site->ndim == 2 && shape->n_units > geometry->n_units && geometry->n_units > 0 &&
        shape->n_units % geometry->n_units == 0 && !site->is_thinned) {
        shape->inner = shape->n_units / geometry->n_units;
        shape->n_units = geometry->n_units;
    }
    return true;
}

static bool fit_scratch(native_stage *stage, uint64_t n_units) {
    size_t words = bp_activity_scratch_words(n_units);
    if (words < n_units) words = (size_t)n_units;
    if (words <= stage->scratch_words) return true;
    native_scratch *grown = realloc(stage->scratch, words * sizeof *grown);
    if (!grown) return false;
    stage->scratch = grown;
    stage->scratch_words = words;
    return true;
}

/* The activity fits the units; those of another number begin anew. */
static bool fit_activity(native_site *site, uint64_t n_units) {
    if (site->activity.n_units == n_units) return true;
    uint64_t *quiet = NULL;
    if (bp_unit_kind_has_silence(site->geometry.kind)) {
        quiet = realloc(site->quiet, n_units * sizeof *quiet);
        if (!quiet) return false;
        site->quiet = quiet;
    }
    bp_activity_init(&site->activity, site->geometry.kind, n_units, site->geometry.dead_samples,
                     quiet, NULL);
    return true;
}

static void read_geometry(native_stage *stage, native_site *site) {
    bp_unit_shape shape;
    if (!shape_of(site, &shape) || !fit_scratch(stage, shape.n_units)) return;
    if (site->geometry.is_input) {
        site->has_scales = bp_units_scales(&site->units, &shape, NATIVE_SPREAD_ENOUGH,
                                           &stage->scratch->number, &site->scales);
        return;
    }
    if (!fit_activity(site, shape.n_units)) return;
    site->activity.scratch =
        site->geometry.exact ? &stage->scratch->word : NULL; /* which may have moved */
    site->has_counts = bp_activity_read(&site->activity, &site->units, &shape, NATIVE_SPREAD_ENOUGH,
                                        &site->counts);
}

void native_units_read(native_stage *stage, native_site *site) {
    bp_units *units = &site->units;
    if (units->samples < NATIVE_SPREAD_ENOUGH) return;
    site->has_variation = bp_units_variation(units, NATIVE_SPREAD_ENOUGH, &site->variation);
    if (!site->has_variation && !units->non_finite) {
        site->has_variation = true; /* all outputs are 0: a dead layer tells nothing */
        site->variation = 0;
    }
    read_geometry(stage, site);
    bp_units_reset(units);
    site->n_looked++;
}

void native_units_finish(native_site *site) {
    free(site->numbers);
    free(site->quiet);
}
