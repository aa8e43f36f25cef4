/* SPDX-License-Identifier: Apache-2.0 */
/* The loops of wide.h for any CPU, and which are in use. */
#include "stats/cpu.h"
#include "stats/kernels/wide_loops.h"

const bp_wide bp_wide_plain = {
    .f32 = add_f32, .f64 = add_f64, .f16 = add_f16, .bf16 = add_bf16, .update = add_update};

const bp_wide *bp_wide_of_cpu(void) {
#if defined(__x86_64__)
    const bp_level *level = bp_cpu();
    if (level == &bp_level_avx512) return &bp_wide_avx512;
    if (level == &bp_level_avx2) return &bp_wide_avx2;
#endif
    return &bp_wide_plain;
}
