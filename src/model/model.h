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
#define BP_MODEL_ORIGIN_BYTES 32
#define BP_MODEL_MAX_UNITS ((int64_t)1 << 31)

/* Klambauer et al. 2017: with these, mean 0 and variance 1 are a fixed point of selu. */
#define BP_SELU_ALPHA 1.6732632423543772848
#define BP_SELU_LAMBDA 1.0507009873554804934

/* The standard deviation that an initialiser gives; 0 for zeros and constant, NaN for unknown. */
double bp_init_std(const bp_init *init, int64_t fan_in, int64_t fan_out);

/* Elements of one sample at the layer's output (0 = the input). */
int64_t bp_model_units(const bp_model *model, uint32_t layer);
/* Has a weight matrix: DENSE, CONV, EMBEDDING, the recurrent ones, and OTHER with a fan_in. */
bool bp_layer_has_weights(const bp_layer *layer);
/* DENSE or CONV: sums of fan_in inputs, each weight used once on the way to the loss of a place, so
 * that theory of initialisation holds for it. */
bool bp_layer_is_weighted_sum(const bp_layer *layer);
/* fan_in of a weighted sum as its outputs have it on average: some of a convolution's lie so near
 * to the border that a part of the kernel sees the zeros around the image. */
double bp_model_mean_fan_in(const bp_model *model, uint32_t layer);
/* RNN, GRU, LSTM */
bool bp_layer_is_recurrent(const bp_layer *layer);
/* Gates of a recurrent layer, each with rows of its own in the weights: 1, 3 or 4. */
int64_t bp_layer_n_gates(const bp_layer *layer);
/* Time steps and features of a sequence. A sample of shape (steps, features, 1) is read so; an
 * image of one channel row by row; of any other shape the first size is time. */
void bp_sequence_of(const int64_t shape[3], int64_t *steps, int64_t *features);
/* Units that a layer's normalisation has a gain for: of a batch norm the channels (a vector's
 * units), of a layer norm all. */
int64_t bp_layer_norm_units(const bp_layer *layer);
/* Elements of all weight matrices of a layer; no biases. */
int64_t bp_layer_n_weights(const bp_layer *layer);
/* Number of parameters of a layer. */
int64_t bp_layer_n_parameters(const bp_layer *layer);
/* Cut points 1 ... K (bp_model_n_cuts): tensors that every path from input to loss crosses;
 * bp_model_cut(model, 0) is 0, the input. */
uint32_t bp_model_n_cuts(const bp_model *model);
uint32_t bp_model_cut(const bp_model *model, uint32_t cut);
/* The last layer whose output has a shape: what a framework lists behind it was never called. */
uint32_t bp_model_output_layer(const bp_model *model);
/* True when between cut - 1 and cut a normalisation makes the weights' scale meaningless. */
bool bp_model_cut_is_normalised(const bp_model *model, uint32_t cut);

/* The model as bytes (in the run log's header record). */
void bp_model_encode(const bp_model *model, bp_writer *writer);
/* Bytes that bp_model_encode can take at most. */
size_t bp_model_max_bytes(const bp_model *model);
BP_MUST_USE bp_status bp_model_decode(bp_model **model, bp_cursor *cursor,
                                      const bp_allocator *allocator, bp_error *error);

/* Layers that a network gets while it is trained: those from `first` on. */
void bp_model_encode_layers(const bp_model *model, uint32_t first, bp_writer *writer);
/* Adds them behind the model's last; all or none. */
BP_MUST_USE bp_status bp_model_decode_layers(bp_model *model, uint32_t n_layers, bp_cursor *cursor,
                                             bp_error *error);
/* Each gets what the other holds, so that a pointer to a model may outlive its contents. */
void bp_model_swap(bp_model *a, bp_model *b);

#endif
