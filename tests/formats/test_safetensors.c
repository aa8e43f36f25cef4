/* SPDX-License-Identifier: Apache-2.0 */
#include "../faults.h"
#include "formats/safetensors.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64], path[128];

static int make_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/backprobe-formats-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/weights.safetensors", folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder); /* fails when a temporary file was left */
}

static size_t files_in_folder(void) {
    size_t n = 0;
    DIR *entries = opendir(folder);
    assert_non_null(entries);
    for (const struct dirent *entry; (entry = readdir(entries));) n += entry->d_name[0] != '.';
    closedir(entries);
    return n;
}

/* --- what is written comes back ------------------------------------------------------------- */

static const float f32_values[6] = {1, -2, 3.5f, 0, 1e-42f, 3e38f};
static const double f64_values[2] = {1e300, -5e-324};
static const uint16_t half_values[5] = {0x3c00, 0x0001, 0x7c00, 0xfe00, 0x8000};

static size_t make_tensors(bp_named_tensor tensors[8]) {
    size_t n = 0;
    tensors[n++] = (bp_named_tensor){"dense_1.weight", bp_tensor_matrix(f32_values, BP_F32, 2, 3)};
    tensors[n++] = (bp_named_tensor){"f64", bp_tensor_matrix(f64_values, BP_F64, 2, 0)};
    tensors[n++] = (bp_named_tensor){"f16", bp_tensor_matrix(half_values, BP_F16, 5, 0)};
    tensors[n++] = (bp_named_tensor){"bf16", bp_tensor_matrix(half_values, BP_BF16, 1, 3)};
    tensors[n++] = (bp_named_tensor){"empty", bp_tensor_matrix(NULL, BP_F32, 0, 4)};
    tensors[n++] =
        (bp_named_tensor){"scalar", {.data = f32_values + 2, .dtype = BP_F32, .ndim = 0}};
    tensors[n++] = (bp_named_tensor){"\"odd\\ \x01\n\xc3\xa4\xf0\x9f\x98\x80/",
                                     bp_tensor_matrix(f32_values, BP_F32, 1, 0)};
    bp_tensor deep = {.data = f32_values, .dtype = BP_F32, .ndim = 8};
    for (int i = 0; i < 8; i++) {
        deep.shape[i] = i == 3 ? 2 : i == 6 ? 3 : 1;
        deep.stride[i] = i <= 2 ? 6 : i <= 5 ? 3 : 1;
    }
    tensors[n++] = (bp_named_tensor){"deep", deep};
    return n;
}

static const char *const metadata[] = {"format", "backprobe", "quote\"", "line\nend", "", ""};
enum { N_METADATA = 3 };

static size_t bytes_of(const bp_tensor *tensor) {
    return (size_t)bp_tensor_count(tensor) * bp_dtype_bytes(tensor->dtype);
}

static void assert_same_tensor(const bp_named_tensor *found, const bp_named_tensor *expected) {
    assert_string_equal(found->name, expected->name);
    assert_int_equal(found->tensor.dtype, expected->tensor.dtype);
    assert_int_equal(found->tensor.ndim, expected->tensor.ndim);
    for (int32_t i = 0; i < expected->tensor.ndim; i++)
        assert_int_equal(found->tensor.shape[i], expected->tensor.shape[i]);
    assert_true(bp_tensor_is_contiguous(&found->tensor));
    if (bytes_of(&expected->tensor))
        assert_memory_equal(found->tensor.data, expected->tensor.data, bytes_of(&found->tensor));
}

static void assert_same_file(const bp_safetensors *file, const bp_named_tensor *tensors, size_t n) {
    assert_int_equal(bp_safetensors_count(file), n);
    for (size_t i = 0; i < n; i++) {
        assert_same_tensor(bp_safetensors_get(file, i), &tensors[i]);
        assert_same_tensor(bp_safetensors_find(file, tensors[i].name), &tensors[i]);
    }
    assert_null(bp_safetensors_get(file, n));
    assert_null(bp_safetensors_find(file, "dense_1"));
    assert_null(bp_safetensors_find(file, "__metadata__"));
}

static void a_file_comes_back(void **state) {
    (void)state;
    bp_named_tensor tensors[8];
    const size_t n_all = make_tensors(tensors);
    for (size_t n = 0; n <= n_all; n++)
        for (size_t n_metadata = 0; n_metadata <= N_METADATA; n_metadata++) {
            bp_error error = {.text = ""};
            assert_int_equal(bp_safetensors_write(&bp_io_system, path, tensors, n, metadata,
                                                  n_metadata, NULL, &error),
                             BP_OK);
            bp_safetensors *file = NULL;
            const bp_status status = bp_safetensors_open(&file, &bp_io_system, path, NULL, &error);
            if (status != BP_OK) fail_msg("%s", error.text);
            assert_same_file(file, tensors, n);
            if (n) /* the data begin aligned */
                assert_int_equal((uintptr_t)bp_safetensors_get(file, 0)->tensor.data % 8, 0);
            bp_safetensors_close(file);
        }
    bp_safetensors_close(NULL);
}

/* The bytes as another implementation expects them. */
static void the_bytes_are_those_of_the_format(void **state) {
    (void)state;
    static const char header[] = "{\"__metadata__\":{\"a\":\"b\"},"
                                 "\"w\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[0,8]},"
                                 "\"h\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[8,10]}}";
    const float w[2] = {1, -2};
    const uint16_t h = 0x3f80;
    const bp_named_tensor tensors[2] = {
        {"w", bp_tensor_matrix(w, BP_F32, 2, 1)},
        {"h", {.data = &h, .dtype = BP_BF16, .ndim = 0}},
    };
    const char *const pair[] = {"a", "b"};
    assert_int_equal(bp_safetensors_write(&bp_io_system, path, tensors, 2, pair, 1, NULL, NULL),
                     BP_OK);
    uint8_t *bytes;
    size_t n_bytes;
    assert_int_equal(bp_io_read_file(&bp_io_system, path, 4096, NULL, &bytes, &n_bytes, NULL),
                     BP_OK);
    const size_t n_header = (sizeof header - 1 + 7) / 8 * 8;
    assert_int_equal(n_bytes, 8 + n_header + 10);
    assert_int_equal(bp_get_u64(bytes), n_header);
    assert_memory_equal(bytes + 8, header, sizeof header - 1);
    for (size_t i = sizeof header - 1; i < n_header; i++) assert_int_equal(bytes[8 + i], ' ');
    assert_memory_equal(bytes + 8 + n_header, w, 8);
    assert_memory_equal(bytes + 8 + n_header + 8, &h, 2);
    bp_release(NULL, bytes, n_bytes + 1, 1);
}

/* --- what is refused ------------------------------------------------------------------------ */

/* A whole file in memory from a header and a number of data bytes. */
static uint8_t *make_file(const char *header, size_t n_data, size_t *n_bytes) {
    const size_t n_header = strlen(header);
    *n_bytes = 8 + n_header + n_data;
    uint8_t *bytes = malloc(*n_bytes); /* exactly, so that a sanitizer sees one byte too far */
    assert_non_null(bytes);
    bp_put_u64(bytes, n_header);
    memcpy(bytes + 8, header, n_header);
    for (size_t i = 0; i < n_data; i++) bytes[8 + n_header + i] = (uint8_t)i;
    return bytes;
}

static bp_status open_header(const char *header, size_t n_data, bp_error *error) {
    size_t n_bytes;
    uint8_t *bytes = make_file(header, n_data, &n_bytes);
    bp_safetensors *file = NULL;
    faulty_memory memory = {0};
    const bp_allocator allocator = faulty_allocator(&memory);
    const bp_status status = bp_safetensors_open_bytes(&file, bytes, n_bytes, &allocator, error);
    assert_true((status == BP_OK) == (file != NULL));
    bp_safetensors_close(file);
    assert_int_equal(memory.live_blocks, 0);
    assert_int_equal(memory.wrong_sizes, 0);
    free(bytes);
    return status;
}

#define F32(name, shape, begin, end)                                                               \
    "\"" name "\":{\"dtype\":\"F32\",\"shape\":[" shape "],\"data_offsets\":[" #begin "," #end "]" \
    "}"

static void other_writers_are_understood(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t n_data;
    } good[] = {
        {"{}", 0},
        {"{ } \n\t\r ", 0},
        {"{" F32("a", "2", 0, 8) "," F32("b", "1", 8, 12) "}", 12},
        {"{" F32("b", "1", 8, 12) "," F32("a", "2", 0, 8) "}", 12}, /* any order */
        {"{" F32("a", "0", 0, 0) "," F32("b", "1", 0, 4) "," F32("c", "5,0", 0, 0) "}", 4},
        {"{" F32("a", "0,2305843009213693952,2", 0, 0) "}", 0},

        {"{ \"a\" : { \"data_offsets\" : [ 0 , 8 ] , \"shape\" : [ 1 , 1 ] , \"dtype\" : "
         "\"F64\" } , \"__metadata__\" : { } }",
         8},
        {"{" F32("\\u0061\\ud83d\\ude00\\/\\b\\f\\n\\r\\t\\\\\\\"", "1", 0, 4) "}", 4},
        {"{" F32("", "1", 0, 4) "}", 4},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        bp_error error = {.text = ""};
        if (open_header(good[i].header, good[i].n_data, &error) != BP_OK)
            fail_msg("%s: %s", good[i].header, error.text);
    }
}

static void bad_headers_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *header, *reason;
        size_t n_data;
        bp_status status;
    } bad[] = {
        /* the data */
        {"{" F32("a", "1", 4, 8) "}", "a hole", 8, BP_ERROR_INPUT},
        {"{" F32("a", "1", 0, 4) "," F32("b", "1", 8, 12) "}", "a hole", 12, BP_ERROR_INPUT},
        {"{" F32("a", "2", 0, 8) "," F32("b", "2", 4, 12) "}", "an overlap", 12, BP_ERROR_INPUT},
        {"{" F32("a", "1", 0, 4) "," F32("b", "1", 0, 4) "}", "an overlap", 4, BP_ERROR_INPUT},
        {"{" F32("a", "1", 0, 4) "}", "the file has 5", 5, BP_ERROR_INPUT},
        {"{" F32("a", "1", 0, 4) "}", "the file has 3", 3, BP_ERROR_INPUT},
        {"{}", "the file has 1", 1, BP_ERROR_INPUT},
        {"{" F32("a", "1", 4, 0) "}", "before it begins", 4, BP_ERROR_INPUT},
        {"{" F32("a", "2", 0, 4) "}", "shape needs 8 bytes", 4, BP_ERROR_INPUT},
        {"{" F32("a", "0", 0, 4) "}", "shape needs 0 bytes", 4, BP_ERROR_INPUT},
        {"{" F32("a", "", 0, 8) "}", "shape needs 4 bytes", 8, BP_ERROR_INPUT},
        {"{" F32("a", "4294967296,4294967296", 0, 0) "}", "overflows", 0, BP_ERROR_INPUT},
        {"{" F32("a", "4611686018427387904,4", 0, 0) "}", "overflows", 0, BP_ERROR_INPUT},
        {"{" F32("a", "4611686018427387905", 0, 4) "}", "overflows", 4, BP_ERROR_INPUT},
        {"{" F32("a", "0,4611686018427387904,4", 0, 0) "}", "overflows", 0, BP_ERROR_INPUT},
        {"{" F32("a", "9223372036854775808", 0, 4) "}", "larger than 2^63", 4, BP_ERROR_INPUT},
        {"{" F32("a", "1", 0, 18446744073709551620) "}", "larger than 2^63", 4, BP_ERROR_INPUT},
        {"{" F32("a", "1,1,1,1,1,1,1,1,1", 0, 4) "}", "more than 8 dim", 4, BP_ERROR_LIMIT},
        {"{" F32("a", "-1", 0, 4) "}", "a whole number", 4, BP_ERROR_INPUT},
        {"{" F32("a", "01", 0, 4) "}", "leading zero", 4, BP_ERROR_INPUT},
        {"{" F32("a", "1.0", 0, 4) "}", "']' or ','", 4, BP_ERROR_INPUT},
        {"{" F32("a", "1,", 0, 4) "}", "a whole number", 4, BP_ERROR_INPUT},
        /* the names */
        {"{" F32("a", "1", 0, 4) "," F32("a", "1", 4, 8) "}", "stands twice", 8, BP_ERROR_INPUT},
        {"{" F32("a", "1", 0, 4) "," F32("\\u0061", "1", 4, 8) "}", "twice", 8, BP_ERROR_INPUT},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", "__metadata__ stands twice", 0,
         BP_ERROR_INPUT},
        {"{\"__metadata__\":{\"k\":\"1\",\"l\":\"\",\"k\":\"2\"}}", "key \"k\" stands twice", 0,
         BP_ERROR_INPUT},
        {"{\"__metadata__\":{\"k\":1}}", "expected a metadata value", 0, BP_ERROR_INPUT},
        {"{\"__metadata__\":[]}", "__metadata__", 0, BP_ERROR_INPUT},
        {"{" F32("a\\u0000b", "1", 0, 4) "}", "no character", 4, BP_ERROR_INPUT},
        {"{" F32("\\ud83d", "1", 0, 4) "}", "no character", 4, BP_ERROR_INPUT},
        {"{" F32("\\ude00\\ud83d", "1", 0, 4) "}", "no character", 4, BP_ERROR_INPUT},
        {"{" F32("\\x41", "1", 0, 4) "}", "no character", 4, BP_ERROR_INPUT},
        {"{" F32("\\u00g1", "1", 0, 4) "}", "no character", 4, BP_ERROR_INPUT},
        {"{" F32("a\nb", "1", 0, 4) "}", "0x0a, expected UTF-8", 4, BP_ERROR_INPUT},
        {"{" F32("\xff", "1", 0, 4) "}", "0xff, expected UTF-8", 4, BP_ERROR_INPUT},
        {"{" F32("\xc0\xaf", "1", 0, 4) "}", "expected UTF-8", 4, BP_ERROR_INPUT},
        {"{" F32("\xed\xa0\x80", "1", 0, 4) "}", "expected UTF-8", 4, BP_ERROR_INPUT},
        {"{" F32("\xf4\x90\x80\x80", "1", 0, 4) "}", "expected UTF-8", 4, BP_ERROR_INPUT},
        /* the form */
        {"", "does not begin with '{'", 0, BP_ERROR_INPUT},
        {" {}", "does not begin with '{'", 0, BP_ERROR_INPUT},
        {"[]", "does not begin with '{'", 0, BP_ERROR_INPUT},
        {"{", "end of the header", 0, BP_ERROR_INPUT},
        {"{}}", "behind the header's end", 0, BP_ERROR_INPUT},
        {"{,}", "a tensor's name", 0, BP_ERROR_INPUT},
        {"{" F32("a", "1", 0, 4) ",}", "a tensor's name", 4, BP_ERROR_INPUT},
        {"{\"a\"", "':'", 0, BP_ERROR_INPUT},
        {"{\"a\":1}", "'{' before dtype", 0, BP_ERROR_INPUT},
        {"{\"a", "does not end within the header", 0, BP_ERROR_INPUT},
        {"{\"a\\", "no character", 0, BP_ERROR_INPUT},
        {"{\"a\\u12", "no character", 0, BP_ERROR_INPUT},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", "the next of dtype", 0, BP_ERROR_INPUT},
        {"{\"a\":{}}", "a field's name", 0, BP_ERROR_INPUT},
        {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1]}}", "dtype twice", 0,
         BP_ERROR_INPUT},
        {"{\"a\":{\"dtype\":\"F32\",\"offsets\":[0,4]}}", "a field offsets", 0, BP_ERROR_INPUT},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", "']' behind", 4,
         BP_ERROR_INPUT},
        {"{\"a\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]}}", "dtype I64", 8,
         BP_ERROR_NOT_SUPPORTED},
        {"{\"a\":{\"dtype\":\"f32\",\"shape\":[1],\"data_offsets\":[0,4]}}", "dtype f32", 4,
         BP_ERROR_NOT_SUPPORTED},
        {"{\"a\":{\"dtype\":32,\"shape\":[1],\"data_offsets\":[0,4]}}", "expected dtype", 4,
         BP_ERROR_INPUT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        bp_error error = {.text = ""};
        const bp_status status = open_header(bad[i].header, bad[i].n_data, &error);
        if (status != bad[i].status || !strstr(error.text, bad[i].reason))
            fail_msg("%s\n  gave %d, %s\n  expected %d, %s", bad[i].header, status, error.text,
                     bad[i].status, bad[i].reason);
        assert_true(error.offset >= 0);
        assert_non_null(strstr(error.text, "byte "));
    }
}

static void sizes_are_checked_before_memory_is_taken(void **state) {
    (void)state;
    uint8_t bytes[10] = {0};
    bp_safetensors *file = NULL;
    bp_error error;
    const uint64_t lengths[] = {3, BP_SAFETENSORS_MAX_HEADER, BP_SAFETENSORS_MAX_HEADER + 1,
                                UINT64_MAX, UINT64_MAX - 7};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        faulty_memory memory = {0};
        const bp_allocator allocator = faulty_allocator(&memory);
        bp_put_u64(bytes, lengths[i]);
        assert_int_equal(bp_safetensors_open_bytes(&file, bytes, sizeof bytes, &allocator, &error),
                         lengths[i] > BP_SAFETENSORS_MAX_HEADER ? BP_ERROR_LIMIT : BP_ERROR_INPUT);
        assert_int_equal(memory.requests, 1); /* the handle */
        assert_int_equal(memory.live_blocks, 0);
    }
    for (size_t n = 0; n < 8; n++)
        assert_int_equal(bp_safetensors_open_bytes(&file, bytes, n, NULL, &error), BP_ERROR_INPUT);
}

static void long_names_are_refused(void **state) {
    (void)state;
    for (size_t length = BP_SAFETENSORS_MAX_NAME - 1; length <= BP_SAFETENSORS_MAX_NAME + 1;
         length++) {
        char name[BP_SAFETENSORS_MAX_NAME + 2], header[2048];
        memset(name, 'n', length);
        name[length] = '\0';
        snprintf(header, sizeof header,
                 "{\"%s\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", name);
        bp_error error;
        const bp_status expected = length > BP_SAFETENSORS_MAX_NAME ? BP_ERROR_LIMIT : BP_OK;
        assert_int_equal(open_header(header, 4, &error), expected);
        const bp_named_tensor tensor = {name, bp_tensor_matrix(f32_values, BP_F32, 1, 0)};
        assert_int_equal(
            bp_safetensors_write(&bp_io_system, path, &tensor, 1, NULL, 0, NULL, &error), expected);
    }
}

static void what_cannot_be_written_is_refused(void **state) {
    (void)state;
    const bp_tensor good = bp_tensor_matrix(f32_values, BP_F32, 2, 0);
    bp_tensor strided = good, unknown = good, missing = good, negative = good, deep = good;
    strided.stride[0] = 2;
    unknown.dtype = (bp_dtype)9;
    missing.data = NULL;
    negative.shape[0] = -1;
    deep.ndim = 9;
    const bp_named_tensor bad[][2] = {
        {{"a", good}, {"a", good}},     {{"a", good}, {"__metadata__", good}},
        {{"a", good}, {"\xff", good}},  {{"a", good}, {"s", strided}},
        {{"a", good}, {"u", unknown}},  {{"a", good}, {"m", missing}},
        {{"a", good}, {"n", negative}}, {{"a", good}, {"d", deep}},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        bp_error error = {.text = ""};
        assert_int_equal(
            bp_safetensors_write(&bp_io_system, path, bad[i], 2, NULL, 0, NULL, &error),
            BP_ERROR_ARGUMENT);
        assert_true(strlen(error.text) > 0);
    }
    const char *const twice[] = {"k", "1", "k", "2"}, *const no_text[] = {"k", "\xc3"};
    assert_int_equal(bp_safetensors_write(&bp_io_system, path, NULL, 0, twice, 2, NULL, NULL),
                     BP_ERROR_ARGUMENT);
    assert_int_equal(bp_safetensors_write(&bp_io_system, path, NULL, 0, no_text, 1, NULL, NULL),
                     BP_ERROR_ARGUMENT);
    assert_int_equal(files_in_folder(), 0);
}

/* --- damage --------------------------------------------------------------------------------- */

static uint8_t *small_file(size_t *n_bytes) {
    bp_named_tensor tensors[8];
    const size_t n = make_tensors(tensors);
    assert_int_equal(
        bp_safetensors_write(&bp_io_system, path, tensors, n, metadata, N_METADATA, NULL, NULL),
        BP_OK);
    uint8_t *whole, *bytes;
    assert_int_equal(bp_io_read_file(&bp_io_system, path, 1 << 16, NULL, &whole, n_bytes, NULL),
                     BP_OK);
    bytes = malloc(*n_bytes); /* without the NUL behind it */
    assert_non_null(bytes);
    memcpy(bytes, whole, *n_bytes);
    bp_release(NULL, whole, *n_bytes + 1, 1);
    return bytes;
}

static void every_truncation_is_refused(void **state) {
    (void)state;
    size_t n_bytes;
    uint8_t *bytes = small_file(&n_bytes);
    for (size_t cut = 0; cut < n_bytes; cut++) {
        uint8_t *part = malloc(cut ? cut : 1);
        assert_non_null(part);
        memcpy(part, bytes, cut);
        bp_safetensors *file = NULL;
        assert_int_equal(bp_safetensors_open_bytes(&file, part, cut, NULL, NULL), BP_ERROR_INPUT);
        free(part);
    }
    free(bytes);
}

/* The format has no checksum: what a flipped bit may change unseen is a letter of a name, a
 * dimension of an empty tensor or a byte of the data; never where the data lie. */
static void every_flipped_bit_is_refused_or_harmless(void **state) {
    (void)state;
    size_t n_bytes, n_refused = 0;
    uint8_t *bytes = small_file(&n_bytes);
    bp_named_tensor tensors[8];
    const size_t n = make_tensors(tensors);
    const size_t data_begin = 8 + (size_t)bp_get_u64(bytes);
    for (size_t bit = 0; bit < 8 * n_bytes; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        bp_safetensors *file = NULL;
        if (bp_safetensors_open_bytes(&file, bytes, n_bytes, NULL, NULL) != BP_OK) {
            assert_true(bit / 8 < data_begin);
            n_refused++;
        } else {
            assert_int_equal(bp_safetensors_count(file), n);
            const uint8_t *at = bytes + data_begin;
            for (size_t i = 0; i < n; i++) {
                const bp_tensor *found = &bp_safetensors_get(file, i)->tensor;
                assert_int_equal(found->dtype, tensors[i].tensor.dtype);
                assert_ptr_equal(found->data, at);
                assert_int_equal(bytes_of(found), bytes_of(&tensors[i].tensor));
                at += bytes_of(found);
            }
        }
        bp_safetensors_close(file);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(n_refused > 4000);
    free(bytes);
}

/* Bytes replaced, removed and doubled at random: only "no crash, no leak" is asked. */
static void random_damage_does_no_harm(void **state) {
    (void)state;
    size_t n_bytes;
    uint8_t *bytes = small_file(&n_bytes);
    const bp_random_key key = {.seed = 4};
    size_t n_opened = 0;
    for (uint64_t round = 0; round < 20000; round++) {
        uint32_t block[4];
        bp_random_block(&key, round, block);
        const size_t from = block[0] % n_bytes, to = block[1] % n_bytes;
        const size_t most = n_bytes - (from > to ? from : to);
        const size_t length = block[2] % 32 < most ? block[2] % 32 : most;
        uint8_t *damaged = malloc(n_bytes);
        assert_non_null(damaged);
        memcpy(damaged, bytes, n_bytes);
        memmove(damaged + to, bytes + from, length);
        if (block[3] & 1) damaged[block[3] % n_bytes] = (uint8_t)(block[3] >> 8);
        faulty_memory memory = {0};
        const bp_allocator allocator = faulty_allocator(&memory);
        bp_safetensors *file = NULL;
        n_opened += bp_safetensors_open_bytes(&file, damaged, n_bytes, &allocator, NULL) == BP_OK;
        bp_safetensors_close(file);
        assert_int_equal(memory.live_blocks, 0);
        free(damaged);
    }
    assert_true(n_opened > 0 && n_opened < 20000);
    free(bytes);
}

/* --- failing memory and system -------------------------------------------------------------- */

static void a_failing_allocation_is_told(void **state) {
    (void)state;
    enum { MANY = 40 }; /* enough for the arrays to grow */
    bp_named_tensor tensors[MANY];
    char names[MANY][16];
    const char *pairs[2 * MANY];
    for (size_t i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "tensor_%zu", i);
        tensors[i] = (bp_named_tensor){names[i], bp_tensor_matrix(f32_values, BP_F32, 2, 3)};
        pairs[2 * i] = pairs[2 * i + 1] = names[i];
    }
    size_t n_failed = 0;
    for (size_t n = 1;; n++) {
        faulty_memory memory = {.fail_at = n};
        const bp_allocator allocator = faulty_allocator(&memory);
        bp_error error = {.text = ""};
        bp_safetensors *file = NULL;
        bp_status status = bp_safetensors_write(&bp_io_system, path, tensors, MANY, pairs, MANY,
                                                &allocator, &error);
        if (status == BP_OK)
            status = bp_safetensors_open(&file, &bp_io_system, path, &allocator, &error);
        if (status == BP_OK) assert_same_file(file, tensors, MANY);
        assert_true((status == BP_OK) == (file != NULL));
        bp_safetensors_close(file);
        assert_int_equal(memory.live_blocks, 0);
        assert_int_equal(memory.wrong_sizes, 0);
        if (status == BP_OK) break;
        assert_int_equal(status, BP_ERROR_MEMORY);
        assert_true(strlen(error.text) > 0);
        n_failed++;
    }
    assert_true(n_failed >= 12);
}

static void a_failing_write_spares_the_old_file(void **state) {
    (void)state;
    const bp_named_tensor old = {"old", bp_tensor_matrix(f64_values, BP_F64, 2, 0)};
    bp_named_tensor tensors[8];
    const size_t n = make_tensors(tensors);
    size_t n_failed = 0;
    for (size_t k = 1;; k++) {
        bp_error error;
        assert_int_equal(bp_safetensors_write(&bp_io_system, path, &old, 1, NULL, 0, NULL, NULL),
                         BP_OK);
        faulty_system system = {.fail_at = k, .error = ENOSPC};
        const bp_io io = faulty_io(&system);
        const bp_status status = bp_safetensors_write(&io, path, tensors, n, NULL, 0, NULL, &error);
        assert_int_equal(system.open_files, 0);
        assert_int_equal(files_in_folder(), 1);
        bp_safetensors *file = NULL;
        assert_int_equal(bp_safetensors_open(&file, &bp_io_system, path, NULL, NULL), BP_OK);
        const bool is_old = bp_safetensors_find(file, "old") != NULL;
        if (is_old)
            assert_same_tensor(bp_safetensors_get(file, 0), &old);
        else
            assert_same_file(file, tensors, n);
        bp_safetensors_close(file);
        if (system.calls < k) {
            assert_int_equal(status, BP_OK);
            assert_false(is_old);
            break;
        }
        n_failed += status == BP_ERROR_IO;
    }
    assert_true(n_failed >= 8);
}

static void a_missing_file_is_told(void **state) {
    (void)state;
    bp_safetensors *file = NULL;
    bp_error error;
    assert_int_equal(bp_safetensors_open(&file, &bp_io_system, path, NULL, &error), BP_ERROR_IO);
    assert_int_equal(error.os_errno, ENOENT);
    assert_non_null(strstr(error.text, path));
    assert_null(file);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(a_file_comes_back),
        IN_FOLDER(the_bytes_are_those_of_the_format),
        IN_FOLDER(other_writers_are_understood),
        IN_FOLDER(bad_headers_are_refused),
        IN_FOLDER(sizes_are_checked_before_memory_is_taken),
        IN_FOLDER(long_names_are_refused),
        IN_FOLDER(what_cannot_be_written_is_refused),
        IN_FOLDER(every_truncation_is_refused),
        IN_FOLDER(every_flipped_bit_is_refused_or_harmless),
        IN_FOLDER(random_damage_does_no_harm),
        IN_FOLDER(a_failing_allocation_is_told),
        IN_FOLDER(a_failing_write_spares_the_old_file),
        IN_FOLDER(a_missing_file_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
