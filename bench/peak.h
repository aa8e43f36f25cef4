/* SPDX-License-Identifier: Apache-2.0 */
/* What one core can do: the measure for flops. */
#ifndef BP_BENCH_PEAK_H
#define BP_BENCH_PEAK_H

double bench_seconds(void); /* monotonic */
/* Multiply-adds between registers in the widest vectors of the CPU; 0 where no code is written for
 * it. */
double bench_fma_flops(double seconds);
/* The trainer's own matrix product, 1024 x 1024 x 1024. */
double bench_sgemm_flops(double seconds);

#endif
