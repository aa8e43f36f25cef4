/* SPDX-License-Identifier: Apache-2.0 */
/* Room model: the network as the instrument sees it, spoken by trainer, Python, run log and
 * diagnosis, and therefore low and nobody's. No numbers of a run live here. Invariants: ids are
 * 1 ... L in forward order and never re-used; names are unique; a layer is a weighted operator with
 * the norm and activation that follow it (grouped in bp_model_add_layer, nowhere else). */
#ifndef BP_MODEL_MODEL_H
#define BP_MODEL_MODEL_H

#include "base/base.h"
#include <backprobe/model.h>

#define BP_MODEL_MAX_LAYERS 10000u
/* Longest name or parent path that is kept whole. */
#define BP_LAYER_NAME_BYTES 256
#define BP_MODEL_MAX_UNITS ((int64_t)1 << 31)

/* The standard deviation that an initialiser gives; 0 for zeros and constant, NaN for unknown. */
double bp_init_std(const bp_init *init, int64_t fan_in, int64_t fan_out);

/* Elements of one sample at the layer's output (0 = the input). */
int64_t bp_model_units(const bp_model *model, uint32_t layer);
/* DENSE: has a weight matrix. */
bool bp_layer_has_weights(const bp_layer *layer);
/* Number of parameters of a layer. */
int64_t bp_layer_n_parameters(const bp_layer *layer);
/* Cut points 1 ... K (bp_model_n_cuts): tensors that every path from input to loss crosses;
 * bp_model_cut(model, 0) is 0, the input. */
uint32_t bp_model_n_cuts(const bp_model *model);
uint32_t bp_model_cut(const bp_model *model, uint32_t cut);
/* True when between cut - 1 and cut a normalisation makes the weights' scale meaningless. */
bool bp_model_cut_is_normalised(const bp_model *model, uint32_t cut);

/* The model as bytes (in the run log's header record). */
void bp_model_encode(const bp_model *model, bp_writer *writer);
/* Bytes that bp_model_encode can take at most. */
size_t bp_model_max_bytes(const bp_model *model);
BP_MUST_USE bp_status bp_model_decode(bp_model **model, bp_cursor *cursor,
                                      const bp_allocator *allocator, bp_error *error);

#endif
