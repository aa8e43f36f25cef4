/* SPDX-License-Identifier: Apache-2.0 */
/* Room tensor: a view of numbers in someone else's memory: dtype, shape, strides, half formats.
 * Not a tensor library: nothing is owned, copied or computed here. Called by whoever reads numbers.
 */
#ifndef BP_TENSOR_TENSOR_H
#define BP_TENSOR_TENSOR_H

#include <backprobe/tensor.h>
#include <stdbool.h>

float bp_f16_to_f32(uint16_t bits);
float bp_bf16_to_f32(uint16_t bits);
/* Row-major without gaps: element i lies at data[i]. */
bool bp_tensor_is_contiguous(const bp_tensor *tensor);

#endif
