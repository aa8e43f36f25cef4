/* SPDX-License-Identifier: Apache-2.0 */
/* What the CPU can do: read once. */
#include "stats/cpu.h"

#include <stdatomic.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>

/* The registers that the operating system keeps over a switch of threads. */
static uint64_t kept_registers(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static unsigned look(void) {
    enum { YMM = 0x06, ZMM = 0xe6 }; /* XCR0: halves of the registers, mask registers */
    const unsigned first = bit_OSXSAVE | bit_AVX | bit_FMA | bit_F16C;
    const unsigned wide = bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL;
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & first) != first) return 0;
    const uint64_t kept = kept_registers();
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_AVX2) || (kept & YMM) != YMM)
        return 0;
    return (b & wide) == wide && (kept & ZMM) == ZMM ? BP_CPU_AVX2 | BP_CPU_AVX512 : BP_CPU_AVX2;
}
#elif defined(__aarch64__)
static unsigned look(void) {
    return BP_CPU_NEON; /* part of every aarch64 */
}
#else
static unsigned look(void) {
    return 0;
}
#endif

static const struct {
    unsigned needs;
    const bp_level *level;
} levels[] = {
/* from the best down */
#if defined(__x86_64__)
    {BP_CPU_AVX2 | BP_CPU_AVX512, &bp_level_avx512},
    {BP_CPU_AVX2, &bp_level_avx2},
#elif defined(__aarch64__)
    {BP_CPU_NEON, &bp_level_neon},
#endif
    {BP_CPU_SCALAR, &bp_level_scalar},
};

#define NOT_LOOKED_YET 0x80000000u
static _Atomic(unsigned) found = NOT_LOOKED_YET;
static _Atomic(unsigned) mask = BP_CPU_ALL;

unsigned bp_cpu_found(void) {
    unsigned bits = atomic_load_explicit(&found, memory_order_relaxed);
    if (bits == NOT_LOOKED_YET) {
        bits = look();
        atomic_store_explicit(&found, bits, memory_order_relaxed);
    }
    return bits;
}

const bp_level *bp_cpu(void) {
    const unsigned bits = bp_cpu_found() & atomic_load_explicit(&mask, memory_order_relaxed);
    size_t i = 0;
    while ((bits & levels[i].needs) != levels[i].needs) i++; /* the last one needs nothing */
    return levels[i].level;
}

void bp_cpu_set_mask(unsigned allowed) {
    atomic_store_explicit(&mask, allowed, memory_order_relaxed);
}

bp_status bp_cpu_mask_of(unsigned *allowed, const char *name) {
    static const struct {
        const char *name;
        unsigned mask;
    } names[] = {{"scalar", BP_CPU_SCALAR},
                 {"avx2", BP_CPU_AVX2},
                 {"avx512", BP_CPU_AVX2 | BP_CPU_AVX512},
                 {"neon", BP_CPU_NEON}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i].name, name) == 0) {
            *allowed = names[i].mask;
            return BP_OK;
        }
    return BP_ERROR_ARGUMENT;
}

const char *bp_cpu_level(void) {
    return bp_cpu()->name;
}
