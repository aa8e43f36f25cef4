/* SPDX-License-Identifier: Apache-2.0 */
/* The host's floating-point environment around our arithmetic. A host may flush subnormals to zero
 * or round differently; what we measure must not depend on it, and it must not see our flags. The
 * guarded arithmetic must stand in a BP_GUARDED function of its own that reads memory: a compiler
 * knows nothing of the environment and moves inlined arithmetic across the guard, and calls, too,
 * of which it sees that they have no effect; but no reading of memory across a barrier. */
#ifndef BP_STATS_FLOAT_GUARD_H
#define BP_STATS_FLOAT_GUARD_H

#include <errno.h>
#include <stdint.h>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#define BP_FLOAT_BARRIER() __asm__ volatile("" : : : "memory")
#define BP_GUARDED static __attribute__((noinline))

typedef struct bp_float_guard {
    uint64_t control;
    int kept_errno;
} bp_float_guard;

static inline bp_float_guard bp_float_guard_enter(void) {
    bp_float_guard guard = {0, errno};
#if defined(__SSE__)
    /* All exceptions masked, round to nearest, subnormals kept. Flags raised earlier do no harm,
     * and a write that changes the register takes longer than a small tensor. */
    guard.control = _mm_getcsr();
    if ((guard.control & ~UINT64_C(0x3f)) != 0x1f80) _mm_setcsr(0x1f80);
#elif defined(__aarch64__)
    __asm__ volatile("mrs %0, fpcr" : "=r"(guard.control));
    __asm__ volatile("msr fpcr, %0" : : "r"(UINT64_C(0)) : "memory");
#endif
    BP_FLOAT_BARRIER();
    return guard;
}

static inline void bp_float_guard_leave(const bp_float_guard *guard) {
    BP_FLOAT_BARRIER();
#if defined(__SSE__)
    if (_mm_getcsr() != guard->control) _mm_setcsr((unsigned)guard->control);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(guard->control) : "memory");
#endif
    errno = guard->kept_errno;
}

#endif
