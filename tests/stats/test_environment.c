/* SPDX-License-Identifier: Apache-2.0 */
/* A host that flushes subnormals to zero and rounds upward, or that traps every exception, must get
 * the same numbers from every CPU level, and find its own environment and errno untouched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "planted.h"

#include <errno.h>
#if defined(__SSE__)
#include <xmmintrin.h>
static unsigned get_control(void) {
    return _mm_getcsr();
}
static void set_control(unsigned control) {
    _mm_setcsr(control);
}
/* flush-to-zero, subnormals-are-zero, round up; all exceptions masked, none raised */
static const unsigned flushing = 0x1f80 | 0x8000 | 0x0040 | 0x4000;
static const unsigned trapping = 0; /* nothing masked: a result that is not exact is a signal */
#elif defined(__aarch64__)
static unsigned get_control(void) {
    uint64_t control;
    __asm__ volatile("mrs %0, fpcr" : "=r"(control));
    return (unsigned)control;
}
static void set_control(unsigned control) {
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)control) : "memory");
}
static const unsigned flushing = 1u << 24 | 1u << 22; /* flush-to-zero, round up */
static const unsigned trapping = 0x1f00;              /* where the CPU can trap */
#endif

enum { N = 203 };
static double data[3][N], arrays[3][N];

typedef struct answers {
    bp_summary summary, merged, many[3];
    double mean, rms, norm, max_abs, variation;
    bp_update_stats update;
    bool has_variation;
} answers;

static void measure(bp_dtype dtype, answers *a) {
    const bp_tensor tensors[3] = {bp_tensor_matrix(data[0], dtype, 7, N / 7),
                                  bp_tensor_matrix(data[1], dtype, 7, N / 7),
                                  bp_tensor_matrix(data[2], dtype, 7, N / 7)};
    memset(a, 0, sizeof *a);
    bp_summarise(&a->summary, &tensors[0]);
    bp_summarise(&a->merged, &tensors[1]);
    bp_summary_merge(&a->merged, &a->summary);
    bp_summarise_many(a->many, tensors, 3);
    a->mean = bp_summary_mean(&a->summary);
    a->rms = bp_summary_rms(&a->summary);
    a->norm = bp_summary_norm(&a->summary);
    a->max_abs = bp_summary_max_abs(&a->summary);
    bp_update_stats_add(&a->update, &tensors[0], &tensors[1], &tensors[2]);
    bp_units units;
    bp_units_init(&units, arrays[0], arrays[1], arrays[2], N / 7);
    bp_units_add(&units, &tensors[2]);
    a->has_variation = bp_units_variation(&units, 2, &a->variation);
}

static void compare_environments(unsigned hostile, bool subnormal) {
    for (size_t d = 0; d < N_DTYPES; d++) {
        const bp_dtype dtype = all_dtypes[d];
        const uint64_t fraction = (UINT64_C(1) << layout_of(dtype).mantissa_bits) - 1;
        for (size_t t = 0; t < 3; t++)
            for (size_t i = 0; i < N; i++) {
                const uint64_t bits = ordinary_bits(dtype, 40 + t, i);
                put_bits(data[t], dtype, i, subnormal ? bits & fraction : bits);
            }
        answers plain, same;
        measure(dtype, &plain);
        assert_true(plain.rms > 0 && plain.max_abs > 0);
        if (subnormal) assert_true(plain.summary.subnormal > N / 2);
        const unsigned kept = get_control();
        set_control(hostile);
        const unsigned hostile_control = get_control();
        errno = ENOTTY;
        measure(dtype, &same);
        const int errno_after = errno;
        const unsigned control_after = get_control();
        set_control(kept);
        assert_int_equal(errno_after, ENOTTY);
        assert_int_equal(control_after, hostile_control);
        assert_memory_equal(&same, &plain, sizeof plain);
    }
}

/* The C library's ldexp tells overflow and underflow by errno. */
static void results_beyond_the_range_leave_errno(void **state) {
    (void)state;
    double huge[4] = {DBL_MAX, DBL_MAX, DBL_MAX, DBL_MAX}, tiny = 5e-324;
    const bp_tensor tensors[2] = {bp_tensor_matrix(huge, BP_F64, 4, 0),
                                  bp_tensor_matrix(&tiny, BP_F64, 1, 0)};
    bp_summary summaries[2];
    errno = ENOTTY;
    for (int i = 0; i < 2; i++) bp_summarise(&summaries[i], &tensors[i]);
    assert_int_equal(errno, ENOTTY);
    assert_true(bp_summary_norm(&summaries[0]) == DBL_MAX);
    assert_int_equal(errno, ENOTTY);
    bp_summary_merge(&summaries[0], &summaries[1]);
    assert_int_equal(errno, ENOTTY);
}

static const char *const levels[] = {"scalar", "avx2", "avx512", "neon"};

/* A level that the CPU has not becomes the best that it has; tests/stats/test_levels.c says so. */
static void compare_at_every_level(bool subnormal) {
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        unsigned mask;
        assert_int_equal(bp_cpu_mask_of(&mask, levels[i]), BP_OK);
        bp_cpu_set_mask(mask);
        compare_environments(flushing, subnormal);
        compare_environments(trapping, subnormal);
    }
    bp_cpu_set_mask(BP_CPU_ALL);
}

static void ordinary_values(void **state) {
    (void)state;
    compare_at_every_level(false);
}

static void subnormal_values(void **state) {
    (void)state;
    compare_at_every_level(true);
}

/* Signalling NaN, Inf, overflow and underflow of squares: every exception there is. */
static void special_values_without_a_trap(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        for (size_t d = 0; d < N_DTYPES; d++) {
            unsigned mask;
            assert_int_equal(bp_cpu_mask_of(&mask, levels[i]), BP_OK);
            for (size_t j = 0; j < N; j++)
                put_bits(data[0], all_dtypes[d], j,
                         special_bits(all_dtypes[d], (special)(j % N_SPECIALS)));
            const bp_tensor tensor = bp_tensor_matrix(data[0], all_dtypes[d], N, 0);
            bp_summary found;
            static bp_exponents exponents;
            bp_exponents_init(&exponents);
            bp_cpu_set_mask(mask);
            const unsigned kept = get_control();
            set_control(trapping);
            bp_summarise_exponents(&found, &exponents, &tensor);
            set_control(kept);
            const slow_summary slow = slow_summarise(&tensor);
            assert_agrees(&found, &slow);
        }
    bp_cpu_set_mask(BP_CPU_ALL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_beyond_the_range_leave_errno),
        cmocka_unit_test(ordinary_values),
        cmocka_unit_test(subnormal_values),
        cmocka_unit_test(special_values_without_a_trap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
