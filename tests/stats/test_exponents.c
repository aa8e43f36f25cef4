/* SPDX-License-Identifier: Apache-2.0 */
/* The histogram of octaves against ilogb of values decoded by arithmetic. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "planted.h"

#include <sys/mman.h>
#include <unistd.h>

enum { N = 5000 };
static double data[2 * N];

static void count_slowly(bp_exponents *slow, bp_dtype dtype, const void *elements, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const double value = decode(dtype, get_bits(elements, dtype, (int64_t)i));
        if (value == 0 || !isfinite(value)) continue;
        const int octave = ilogb(value);
        slow->count[octave - BP_EXPONENT_MIN]++;
        if (octave < slow->lowest) slow->lowest = octave;
        if (octave > slow->highest) slow->highest = octave;
    }
}

/* The summary is that of bp_summarise, bit for bit. */
static void assert_counted(bp_exponents *found, const bp_tensor *tensor, const bp_exponents *slow) {
    bp_summary with, without;
    memset(&with, 0x5a, sizeof with);
    memset(&without, 0x5a, sizeof without);
    bp_summarise_exponents(&with, found, tensor);
    bp_summarise(&without, tensor);
    assert_memory_equal(&with, &without, sizeof with);
    assert_memory_equal(found, slow, sizeof *slow);
    uint64_t n = 0;
    for (int32_t k = BP_EXPONENT_MIN; k <= BP_EXPONENT_MAX; k++)
        n += found->count[k - BP_EXPONENT_MIN];
    assert_int_equal(n, with.count - with.zero - bp_summary_non_finite(&with));
}

static void fill(bp_dtype dtype, size_t n, int kind) {
    const layout l = layout_of(dtype);
    const bp_random_key key = {.seed = (uint64_t)kind};
    for (size_t i = 0; i < n; i++) {
        uint64_t bits = ordinary_bits(dtype, (uint64_t)kind, i);
        if (kind == 1 && i % 3 == 0) bits = 0;
        if (kind == 2) bits &= (UINT64_C(1) << l.mantissa_bits) - 1; /* subnormal */
        if (kind == 3)
            bits = (uint64_t)(bp_random_uniform(&key, i) * 0x1p53) << 11 >> (64 - l.bits);
        if (kind == 4 && i % 700 == 5) bits = special_bits(dtype, (special)(i % N_SPECIALS));
        put_bits(data, dtype, i, bits);
    }
}

static void all_formats_and_kinds(void **state) {
    (void)state;
    static bp_exponents found, slow;
    bp_exponents_init(&found);
    for (size_t d = 0; d < N_DTYPES; d++)
        for (int kind = 0; kind < 5; kind++)
            for (size_t n = 1; n <= N; n = n * 7 / 3 + 3) {
                fill(all_dtypes[d], n, kind);
                bp_exponents_init(&slow);
                count_slowly(&slow, all_dtypes[d], data, n);
                const bp_tensor tensor = bp_tensor_matrix(data, all_dtypes[d], (int64_t)n, 0);
                assert_counted(&found, &tensor, &slow); /* replaces what it held */
            }
}

static void every_16_bit_pattern(void **state) {
    (void)state;
    static bp_exponents found, slow;
    static uint16_t patterns[65536];
    for (uint32_t i = 0; i < 65536; i++) patterns[i] = (uint16_t)i;
    const bp_dtype halves[] = {BP_F16, BP_BF16};
    bp_exponents_init(&found);
    for (size_t d = 0; d < 2; d++) {
        bp_exponents_init(&slow);
        count_slowly(&slow, halves[d], patterns, 65536);
        const bp_tensor all = bp_tensor_matrix(patterns, halves[d], 256, 256);
        assert_counted(&found, &all, &slow);
    }
}

/* Rows with gaps: long ones are not gathered, whole rounds or not. */
static void strided_rows(void **state) {
    (void)state;
    static bp_exponents found, slow;
    static uint8_t packed[sizeof data];
    static const int64_t columns[] = {1, 7, 16, 511, 512, 520, 528, 530, 1024};
    bp_exponents_init(&found);
    for (size_t d = 0; d < N_DTYPES; d++)
        for (size_t c = 0; c < sizeof columns / sizeof *columns; c++)
            for (int64_t gap = 1; gap < 20; gap += 6) {
                const bp_dtype dtype = all_dtypes[d];
                const size_t size = bp_dtype_bytes(dtype);
                const int64_t rows = 4, stride = columns[c] + gap;
                fill(dtype, (size_t)(rows * stride), gap == 1 ? 4 : 0);
                bp_tensor tensor = bp_tensor_matrix(data, dtype, rows, columns[c]);
                tensor.stride[0] = stride;
                for (int64_t i = 0; i < rows; i++)
                    memcpy(packed + (size_t)(i * columns[c]) * size,
                           (const uint8_t *)data + (size_t)(i * stride) * size,
                           (size_t)columns[c] * size);
                bp_exponents_init(&slow);
                count_slowly(&slow, dtype, packed, (size_t)(rows * columns[c]));
                assert_counted(&found, &tensor, &slow);
                const bp_tensor whole = bp_tensor_matrix(packed, dtype, rows, columns[c]);
                bp_summary strided, contiguous;
                memset(&strided, 0x5a, sizeof strided);
                memset(&contiguous, 0x5a, sizeof contiguous);
                bp_summarise(&strided, &tensor);
                bp_summarise(&contiguous, &whole);
                assert_memory_equal(&strided, &contiguous, sizeof strided);
            }
}

static void any_split_merges_to_the_whole(void **state) {
    (void)state;
    static bp_exponents whole, part, merged;
    bp_exponents_init(&whole);
    bp_exponents_init(&part);
    const bp_random_key key = {.seed = 9};
    for (uint64_t round = 0; round < 300; round++) {
        const bp_dtype dtype = all_dtypes[round % N_DTYPES];
        fill(dtype, N, (int)(round / N_DTYPES % 5));
        const bp_tensor all = bp_tensor_matrix(data, dtype, N, 0);
        bp_summary summary;
        bp_summarise_exponents(&summary, &whole, &all);
        bp_exponents_init(&merged);
        size_t cuts[5] = {0, 0, 0, 0, N};
        for (uint64_t i = 1; i < 4; i++)
            cuts[i] = cuts[i - 1] +
                      (size_t)(bp_random_uniform(&key, 3 * round + i) * (double)(N - cuts[i - 1]));
        for (size_t i = 0; i < 4; i++) {
            const bp_tensor piece =
                bp_tensor_matrix((const uint8_t *)data + cuts[i] * bp_dtype_bytes(dtype), dtype,
                                 (int64_t)(cuts[i + 1] - cuts[i]), 0);
            bp_summarise_exponents(&summary, &part, &piece);
            bp_exponents_merge(&merged, &part);
        }
        assert_memory_equal(&merged, &whole, sizeof whole);
    }
}

static void windows(void **state) {
    (void)state;
    static bp_exponents e;
    const double values[] = {5e-324, 0x1p-1022, 0x1p-25, 0x1.8p-25, 0x1p-24,
                             1,      -1.5,      2,       DBL_MAX,   0};
    const bp_tensor tensor = bp_tensor_matrix(values, BP_F64, sizeof values / sizeof *values, 0);
    bp_summary summary;
    bp_exponents_init(&e);
    assert_int_equal(bp_exponents_between(&e, BP_EXPONENT_MIN, BP_EXPONENT_MAX + 1), 0);
    bp_summarise_exponents(&summary, &e, &tensor);
    assert_int_equal(bp_exponents_between(&e, BP_EXPONENT_MIN, BP_EXPONENT_MAX + 1), 9);
    assert_int_equal(bp_exponents_between(&e, INT32_MIN, INT32_MAX), 9);
    assert_int_equal(bp_exponents_between(&e, INT32_MIN, -24), 4); /* below float16's smallest */
    assert_int_equal(bp_exponents_between(&e, -24, 0), 1);
    assert_int_equal(bp_exponents_between(&e, 0, 1), 2);
    assert_int_equal(bp_exponents_between(&e, 1, 1), 0);
    assert_int_equal(bp_exponents_between(&e, 5, 2), 0);
    assert_int_equal(bp_exponents_between(&e, 1023, 1024), 1);
    assert_int_equal(e.lowest, BP_EXPONENT_MIN);
    assert_int_equal(e.highest, BP_EXPONENT_MAX);
}

/* So many that the levels' counters are full on the way. The same few pages lie there many times.
 */
static void very_many(void **state) {
    (void)state;
    static bp_exponents e;
    enum { CHUNK = 1 << 19, CHUNKS = 514 }; /* AVX-512 counts up to 2^24 vectors of 16 */
    const size_t chunk_bytes = CHUNK * sizeof(float), n = (size_t)CHUNK * CHUNKS;
    const int file = memfd_create("chunk", 0);
    assert_true(file >= 0 && ftruncate(file, (off_t)chunk_bytes) == 0);
    uint8_t *at = mmap(NULL, chunk_bytes * CHUNKS, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(at != MAP_FAILED);
    for (size_t i = 0; i < CHUNKS; i++)
        assert_true(mmap(at + i * chunk_bytes, chunk_bytes, PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_FIXED, file, 0) != MAP_FAILED);
    float *chunk = (float *)(void *)at;
    uint64_t n_small = 0;
    for (size_t i = 0; i < CHUNK; i++) {
        chunk[i] = i % 5003 == 3 ? -0x1.8p-7f : 1; /* nearly always the same bit */
        n_small += i % 5003 == 3;
    }
    const bp_tensor tensor = bp_tensor_matrix(at, BP_F32, (int64_t)n, 0);
    static const unsigned masks[] = {BP_CPU_AVX2, BP_CPU_ALL};
    bp_exponents_init(&e);
    for (size_t i = 0; i < 2; i++) {
        bp_summary summary;
        bp_cpu_set_mask(masks[i]);
        bp_summarise_exponents(&summary, &e, &tensor);
        assert_int_equal(bp_exponents_between(&e, -7, -6), CHUNKS * n_small);
        assert_int_equal(bp_exponents_between(&e, 0, 1), n - CHUNKS * n_small);
        assert_int_equal(bp_exponents_between(&e, BP_EXPONENT_MIN, BP_EXPONENT_MAX + 1), n);
    }
    assert_int_equal(munmap(at, chunk_bytes * CHUNKS), 0);
    assert_int_equal(close(file), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_formats_and_kinds),
        cmocka_unit_test(every_16_bit_pattern),
        cmocka_unit_test(strided_rows),
        cmocka_unit_test(any_split_merges_to_the_whole),
        cmocka_unit_test(windows),
        cmocka_unit_test(very_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
