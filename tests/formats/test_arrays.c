/* SPDX-License-Identifier: Apache-2.0 */
/* IDX, NPY, NPZ, gzip. That NPY and NPZ are read as NumPy reads them: npy_against_numpy.py. */
#include "../faults.h"
#include "files.h"
#include "formats/array.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

static char path[] = "/tmp/backprobe-arrays-XXXXXX";

static int make_path(void **state) {
    (void)state;
    const int file = mkstemp(path);
    return file < 0 ? -1 : close(file);
}

static int remove_path(void **state) {
    (void)state;
    return unlink(path);
}

static void write_file(const made_file *file) {
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(file->bytes, 1, file->n, out), file->n);
    assert_int_equal(fclose(out), 0);
}

typedef bp_status reader(bp_array *array, const uint8_t *bytes, size_t n_bytes, bp_error *error);

static bp_status read_npz(bp_array *array, const uint8_t *bytes, size_t n_bytes, bp_error *error) {
    return bp_npz_read(array, bytes, n_bytes, "X", NULL, error);
}

static bp_status read_gzip(bp_array *array, const uint8_t *bytes, size_t n_bytes, bp_error *error) {
    const bp_allocator *allocator = bp_allocator_or_system(NULL);
    uint8_t *plain;
    size_t n_plain;
    bp_status status =
        bp_inflate(BP_DEFLATE_GZIP, bytes, n_bytes, 100000, allocator, &plain, &n_plain, error);
    if (status != BP_OK) return status;
    status = bp_idx_read(array, plain, n_plain, error);
    if (status != BP_OK) {
        bp_release(allocator, plain, n_plain + 1, 1);
        return status;
    }
    array->owned = plain;
    array->n_owned = n_plain;
    return BP_OK;
}

/* Over a block of exactly these bytes, every element is touched. Fails without a sentence; -1 when
 * refused, else the number of elements. */
static int64_t attempt(reader *read, const made_file *file, char sentence[BP_ERROR_TEXT_BYTES]) {
    uint8_t *exact = malloc(file->n ? file->n : 1);
    bp_array array = {.count = 0};
    bp_error error = {.status = BP_OK};
    int64_t count = -1;
    assert_non_null(exact);
    memcpy(exact, file->bytes, file->n);
    const bp_status status = read(&array, exact, file->n, &error);
    if (status == BP_OK) {
        volatile double seen = 0;
        count = array.count;
        for (int64_t i = 0; i < count; i++) seen += bp_array_get(&array, i);
        (void)seen;
    } else {
        assert_int_equal(error.status, status);
        assert_true(strlen(error.text) > 10);
    }
    if (sentence) snprintf(sentence, BP_ERROR_TEXT_BYTES, "%s", error.text);
    bp_array_finish(&array);
    free(exact);
    return count;
}

static void accept(reader *read, const made_file *file, int64_t count) {
    char sentence[BP_ERROR_TEXT_BYTES];
    const int64_t found = attempt(read, file, sentence);
    if (found != count) fail_msg("%lld numbers: %s", (long long)found, sentence);
}

static void refuse(reader *read, const made_file *file, const char *words) {
    char sentence[BP_ERROR_TEXT_BYTES];
    if (attempt(read, file, sentence) >= 0) fail_msg("accepted; expected '%s'", words);
    if (!strstr(sentence, words)) fail_msg("expected '%s' in '%s'", words, sentence);
}

/* --- good files ------------------------------------------------------------------------------- */

/* -2, 1, 3 as each type has them, little-endian. */
static const struct {
    char descr[3];
    uint8_t idx;
    uint64_t bits[3];
} types[] = {
    {"i1", 0x09, {0xfe, 1, 3}},
    {"i2", 0x0B, {0xfffe, 1, 3}},
    {"i4", 0x0C, {0xfffffffe, 1, 3}},
    {"i8", 0, {UINT64_C(0xfffffffffffffffe), 1, 3}},
    {"f2", 0, {0xc000, 0x3c00, 0x4200}},
    {"f4", 0x0D, {0xc0000000, 0x3f800000, 0x40400000}},
    {"f8",
     0x0E,
     {UINT64_C(0xc000000000000000), UINT64_C(0x3ff0000000000000), UINT64_C(0x4008000000000000)}},
    {"u1", 0x08, {254, 1, 3}},
    {"u2", 0, {65534, 1, 3}},
    {"u4", 0, {UINT64_C(4294967294), 1, 3}},
    {"u8", 0, {UINT64_C(9223372036854775808), 1, 3}},
};
enum { N_TYPES = sizeof types / sizeof *types };

static made_file elements(size_t t, bool big_endian) {
    const int n_bytes = types[t].descr[1] - '0';
    made_file data = {.n = 0};
    for (int i = 0; i < 3; i++)
        for (int byte = 0; byte < n_bytes; byte++) {
            const int at = big_endian ? n_bytes - 1 - byte : byte;
            put_number(&data, types[t].bits[i] >> 8 * at & 0xff, 1);
        }
    return data;
}

static void check_elements(const bp_array *array, size_t t) {
    const double first = types[t].descr[0] == 'u' ? (double)types[t].bits[0] : -2;
    assert_int_equal(array->ndim, 1);
    assert_int_equal(array->count, 3);
    assert_true(bp_array_get(array, 0) == first);
    assert_true(bp_array_get(array, 1) == 1);
    assert_true(bp_array_get(array, 2) == 3);
}

static void idx_has_every_type(void **state) {
    (void)state;
    int n = 0;
    for (size_t t = 0; t < N_TYPES; t++) {
        if (!types[t].idx) continue;
        const made_file data = elements(t, true);
        const made_file file = make_idx(types[t].idx, 1, (uint32_t[]){3}, data.bytes, data.n);
        bp_array array = {.count = 0};
        assert_int_equal(bp_idx_read(&array, file.bytes, file.n, NULL), BP_OK);
        check_elements(&array, t);
        n++;
    }
    assert_int_equal(n, 6);
}

static void npy_has_every_type_and_byte_order(void **state) {
    (void)state;
    for (size_t t = 0; t < N_TYPES; t++)
        for (int order = 0; order < 2; order++) {
            char descr[8];
            snprintf(descr, sizeof descr, "%c%.2s", order ? '>' : '<', types[t].descr);
            const made_file data = elements(t, order);
            const made_file file = make_npy(descr, false, "(3,)", data.bytes, data.n);
            bp_array array = {.count = 0};
            assert_int_equal(bp_npy_read(&array, file.bytes, file.n, NULL), BP_OK);
            check_elements(&array, t);
        }
    const made_file file = make_npy("|b1", false, "(3,)", "\0\1\2", 3);
    bp_array array = {.count = 0};
    assert_int_equal(bp_npy_read(&array, file.bytes, file.n, NULL), BP_OK);
    assert_true(bp_array_get(&array, 0) == 0 && bp_array_get(&array, 1) == 1);
    assert_true(bp_array_get(&array, 2) == 1);
}

/* Index (i, j, k) of 2 x 3 x 4 is i * 12 + j * 4 + k, however it is stored. */
static void npy_has_both_element_orders(void **state) {
    (void)state;
    for (int fortran = 0; fortran < 2; fortran++) {
        uint8_t data[24];
        for (int i = 0; i < 2; i++)
            for (int j = 0; j < 3; j++)
                for (int k = 0; k < 4; k++)
                    data[fortran ? i + 2 * j + 6 * k : 12 * i + 4 * j + k] =
                        (uint8_t)(12 * i + 4 * j + k);
        const made_file file = make_npy("|u1", fortran, "(2, 3, 4)", data, sizeof data);
        bp_array array = {.count = 0};
        assert_int_equal(bp_npy_read(&array, file.bytes, file.n, NULL), BP_OK);
        assert_int_equal(array.ndim, 3);
        assert_int_equal(array.shape[2], 4);
        for (int n = 0; n < 24; n++) assert_true(bp_array_get(&array, n) == n);
    }
}

static void npy_has_three_versions_and_odd_shapes(void **state) {
    (void)state;
    static const char header[] = "{\"shape\":(2,2),'descr':'<i2',  'fortran_order':False}  \n";
    const uint8_t data[12] = {0};
    for (int major = 1; major <= 3; major++) {
        const made_file file = make_npy_of(major, header, data, 8);
        accept(bp_npy_read, &file, 4);
    }
    const made_file scalar = make_npy("<f4", false, "()", data, 4);
    accept(bp_npy_read, &scalar, 1);
    const made_file empty = make_npy("<f4", true, "(3, 0, 2)", data, 0);
    accept(bp_npy_read, &empty, 0);
    const made_file longer = make_npy("<f4", false, "(1,)", data, 12); /* as NumPy has it */
    accept(bp_npy_read, &longer, 1);
}

static void npz_and_gzip(void **state) {
    (void)state;
    const made_file x = make_npy("|u1", false, "(3,)", "\5\6\7", 3);
    const made_file y = make_npy("|u1", false, "(2,)", "\1\2", 2);
    const made_member members[] = {{"y.npy", &y}, {"X.npy", &x}, {"notes.txt", &y}};
    for (int method = 0; method <= 8; method += 8) {
        const made_file zip = make_npz(method, members, 3);
        accept(read_npz, &zip, 3);
        write_file(&zip);
        bp_array array;
        bp_error error = {.text = ""};
        assert_int_equal(bp_array_open(&array, &bp_io_system, path, "y", NULL, &error), BP_OK);
        assert_int_equal(array.count, 2);
        assert_true(bp_array_get(&array, 1) == 2);
        bp_array_finish(&array);
        assert_int_equal(bp_array_open(&array, &bp_io_system, path, "z", NULL, &error),
                         BP_ERROR_INPUT);
        assert_non_null(strstr(error.text, "no array 'z'"));
        assert_ptr_equal(strstr(error.text, path), error.text);
        assert_int_equal(bp_array_open(&array, &bp_io_system, path, NULL, NULL, &error),
                         BP_ERROR_INPUT);
        assert_non_null(strstr(error.text, "none of them is named"));
    }
    const made_file plain = make_idx(8, 2, (uint32_t[]){2, 2}, "\1\2\3\4", 4);
    made_file packed = deflated(&plain, 31);
    accept(read_gzip, &packed, 4);
    made_file head = {.n = 0}, tail = {.n = 0}; /* two members behind each other */
    put(&head, plain.bytes, 7);
    put(&tail, plain.bytes + 7, plain.n - 7);
    packed = deflated(&head, 31);
    const made_file second = deflated(&tail, 31);
    put(&packed, second.bytes, second.n);
    accept(read_gzip, &packed, 4);
    put(&packed, "x", 1);
    refuse(read_gzip, &packed, "damaged or cut");
}

/* Else one archive that is none would give both inputs and targets. */
static void a_name_wants_an_archive(void **state) {
    (void)state;
    const made_file x = make_npy("|u1", false, "(3,)", "\5\6\7", 3);
    bp_array array;
    bp_error error;
    write_file(&x);
    assert_int_equal(bp_array_open(&array, &bp_io_system, path, "X", NULL, &error), BP_ERROR_INPUT);
    assert_non_null(strstr(error.text, "expected an archive"));
    write_file(&(made_file){.bytes = "GIF89a", .n = 6});
    assert_int_equal(bp_array_open(&array, &bp_io_system, path, NULL, NULL, &error),
                     BP_ERROR_INPUT);
    assert_non_null(strstr(error.text, "other first bytes"));
    write_file(&(made_file){.n = 0});
    assert_int_equal(bp_array_open(&array, &bp_io_system, path, NULL, NULL, &error),
                     BP_ERROR_INPUT);
}

/* --- damage ----------------------------------------------------------------------------------- */

typedef struct sample_file {
    reader *read;
    made_file file;
} sample_file;

enum { N_SAMPLES = 8 };
static void make_samples(sample_file samples[N_SAMPLES]) {
    static const uint8_t data[24] = {1, 2, 3, 4, 5, 6, 7, 8};
    static const char header[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n";
    const made_file idx = make_idx(0x0D, 2, (uint32_t[]){2, 3}, data, sizeof data);
    const made_file npy = make_npy("<f4", true, "(2, 3)", data, sizeof data);
    const made_member members[] = {{"y.npy", &npy}, {"X.npy", &npy}};
    samples[0] = (sample_file){bp_idx_read, idx};
    samples[1] = (sample_file){read_gzip, deflated(&idx, 31)};
    for (int major = 1; major <= 3; major++)
        samples[1 + major] =
            (sample_file){bp_npy_read, make_npy_of(major, header, data, sizeof data)};
    samples[5] = (sample_file){bp_npy_read, npy};
    samples[6] = (sample_file){read_npz, make_npz(0, members, 2)};
    samples[7] = (sample_file){read_npz, make_npz(8, members, 2)};
}

static void every_truncation_is_refused(void **state) {
    (void)state;
    static sample_file samples[N_SAMPLES];
    make_samples(samples);
    for (int s = 0; s < N_SAMPLES; s++) {
        accept(samples[s].read, &samples[s].file, 6);
        made_file cut = samples[s].file;
        while (cut.n > 0) {
            cut.n--;
            if (attempt(samples[s].read, &cut, NULL) >= 0)
                fail_msg("file %d is accepted when cut to %zu bytes", s, cut.n);
        }
    }
}

/* A flipped bit may say another number; it never leads out of the file. */
static void every_flipped_bit_is_survived(void **state) {
    (void)state;
    static sample_file samples[N_SAMPLES];
    make_samples(samples);
    for (int s = 0; s < N_SAMPLES; s++) {
        int refused = 0;
        for (size_t bit = 0; bit < 8 * samples[s].file.n; bit++) {
            made_file bad = samples[s].file;
            bad.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            refused += attempt(samples[s].read, &bad, NULL) < 0;
        }
        assert_true(refused > 60); /* most bits of a header matter */
    }
}

/* Each bit of the member's own data is under its checksum. */
static void a_checksum_sees_every_bit(void **state) {
    (void)state;
    const made_file x = make_npy("|u1", false, "(3,)", "\5\6\7", 3);
    const made_member member = {"X.npy", &x};
    for (int method = 0; method <= 8; method += 8) {
        const made_file zip = make_npz(method, &member, 1);
        const size_t first = 30 + 5, last = first + (method ? deflated(&x, -15).n : x.n);
        for (size_t bit = 8 * first; bit < 8 * last; bit++) {
            made_file bad = zip;
            bad.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            if (bit < 8 * last - 8 || method == 0) /* deflate may end before its last byte does */
                assert_int_equal(attempt(read_npz, &bad, NULL), -1);
        }
    }
    const made_file plain = make_idx(8, 1, (uint32_t[]){4}, "\1\2\3\4", 4);
    made_file packed = deflated(&plain, 31);
    packed.bytes[packed.n - 8] ^= 1;
    refuse(read_gzip, &packed, "damaged or cut");
}

static void impossible_sizes(void **state) {
    (void)state;
    const uint32_t most = UINT32_MAX;
    const uint8_t data[64] = {0};
    made_file file =
        make_idx(0x0E, 8, (uint32_t[]){most, most, most, most, most, most, most, most}, data, 8);
    refuse(bp_idx_read, &file, "sizes in the header");
    file = make_idx(8, 2, (uint32_t[]){1u << 31, 1u << 31}, data, 8);
    refuse(bp_idx_read, &file, "sizes in the header");
    file = make_idx(8, 1, (uint32_t[]){3}, data, 4);
    refuse(bp_idx_read, &file, "4 bytes");
    file = make_idx(8, 0, NULL, data, 4);
    refuse(bp_idx_read, &file, "0 dimensions");
    file = make_idx(8, 9, (uint32_t[]){1, 1, 1, 1, 1, 1, 1, 1, 1}, data, 1);
    refuse(bp_idx_read, &file, "9 dimensions");
    file = make_idx(10, 1, (uint32_t[]){1}, data, 1);
    refuse(bp_idx_read, &file, "unknown IDX type 0x0a");
    static const char *const shapes[] = {
        "(4294967296, 4294967296)", "(9223372036854775807,)",   "(1152921504606846976, 16)",
        "(0, 4611686018427387904)", "(2305843009213693952, 0)", "(65,)",
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        file = make_npy("|u1", false, shapes[i], data, sizeof data);
        if (attempt(bp_npy_read, &file, NULL) >= 0) fail_msg("%s is accepted", shapes[i]);
    }
}

static void wrong_npy_headers(void **state) {
    (void)state;
    const uint8_t data[64] = {0};
    static const char *const wrong[] = {
        "",
        "{}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2 2)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (02,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': [2]}",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': False}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'more': 1}",
        "{'descr': '<f4' 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '<f4',, 'fortran_order': False, 'shape': (2,)}",
        " \n {'descr': '<f4', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}\n ",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} x",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)",
        "{'descr': '<f\\x34', 'fortran_order': False, 'shape': (2,)}",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const made_file file = make_npy_of(1, wrong[i], data, sizeof data);
        refuse(bp_npy_read, &file, "the NPY header is not");
    }
    static const char *const types_not_ours[] = {
        "|O", "<c8", "<U3", "|S4", "<f16", "<f1", "<b2", "<i3", "", "<", "<f4 ", "<M8[s]", "!f4"};
    for (size_t i = 0; i < sizeof types_not_ours / sizeof *types_not_ours; i++) {
        const made_file file = make_npy(types_not_ours[i], false, "(1,)", data, sizeof data);
        refuse(bp_npy_read, &file, "NPY elements of type");
    }
    made_file file = make_npy("<f4", false, "(1,)", data, 4);
    file.bytes[6] = 4;
    refuse(bp_npy_read, &file, "NPY version 4.0");
}

static void wrong_archives(void **state) {
    (void)state;
    const made_file x = make_npy("|u1", false, "(3,)", "\5\6\7", 3);
    const made_member twice[] = {{"X.npy", &x}, {"X.npy", &x}}, one = {"X.npy", &x};
    made_file zip = make_npz(0, twice, 2);
    refuse(read_npz, &zip, "two arrays have the wanted name");
    zip = make_npz(0, &one, 1);
    const size_t directory = 30 + 5 + x.n, end = zip.n - 22;
    made_file bad = zip;
    bad.bytes[directory + 8] = 1;
    refuse(read_npz, &bad, "encrypted");
    bad = zip;
    bad.bytes[directory + 10] = 12; /* bzip2 */
    refuse(read_npz, &bad, "a method other than");
    bad = zip;
    bad.bytes[30] = 'Y';
    refuse(read_npz, &bad, "name different files");
    bad = zip;
    memset(bad.bytes + directory + 20, 0xff, 8); /* sizes of zip64 without its field */
    refuse(read_npz, &bad, "an entry of its directory");
    bad = zip;
    bad.bytes[end + 10] = 2;
    refuse(read_npz, &bad, "an entry of its directory");
    bad = zip;
    put(&bad, "x", 1);
    refuse(read_npz, &bad, "no directory at its end");
    bad = (made_file){.n = 0};
    put(&bad, "x", 1);
    put(&bad, zip.bytes, zip.n);
    refuse(read_npz, &bad, "does not lie before its end");
    const made_member pair[] = {{"X.npy", &x}, {"y.npy", &x}};
    bad = make_npz(0, pair, 2);
    const size_t entry = 2 * directory + 46 + 5; /* the second says that it is where the first is */
    memset(bad.bytes + entry + 42, 0, 4);
    refuse(read_npz, &bad, "arrays overlap");
}

/* --- limits and failing memory ---------------------------------------------------------------- */

static void a_bomb_is_stopped_at_the_limit(void **state) {
    (void)state;
    const size_t n_zeros = 1 << 20;
    uint8_t *zeros = calloc(n_zeros, 1), *plain;
    uint8_t packed[4096];
    z_stream stream = {.next_in = zeros, .avail_in = (uInt)n_zeros};
    assert_non_null(zeros);
    stream.next_out = packed;
    stream.avail_out = sizeof packed;
    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    const size_t n_packed = stream.total_out;
    deflateEnd(&stream);
    free(zeros);
    faulty_memory memory = {.fail_at = 0};
    const bp_allocator allocator = faulty_allocator(&memory);
    for (size_t limit = n_zeros - 1; limit <= n_zeros; limit++) {
        size_t n_plain = 0;
        bp_error error = {.text = ""};
        const bp_status status = bp_inflate(BP_DEFLATE_GZIP, packed, n_packed, limit, &allocator,
                                            &plain, &n_plain, &error);
        assert_int_equal(status, limit < n_zeros ? BP_ERROR_LIMIT : BP_OK);
        if (status == BP_OK) {
            assert_int_equal(n_plain, n_zeros);
            bp_release(&allocator, plain, n_plain + 1, 1);
        } else {
            assert_string_equal(error.text, "more than 1048575 bytes come out of it, the limit");
        }
    }
    assert_int_equal(memory.live_blocks, 0);
    assert_int_equal(memory.wrong_sizes, 0);
}

static void the_nth_allocation_fails(void **state) {
    (void)state;
    const made_file idx = make_idx(8, 1, (uint32_t[]){4}, "\1\2\3\4", 4);
    const made_file x = make_npy("|u1", false, "(3,)", "\5\6\7", 3);
    const made_member member = {"X.npy", &x};
    const made_file files[] = {idx, deflated(&idx, 31), x, make_npz(0, &member, 1),
                               make_npz(8, &member, 1)};
    for (int f = 0; f < 5; f++) {
        bp_status status = BP_ERROR_MEMORY;
        write_file(&files[f]);
        for (size_t n = 1; status != BP_OK; n++) {
            faulty_memory memory = {.fail_at = n};
            const bp_allocator allocator = faulty_allocator(&memory);
            bp_array array;
            bp_error error;
            status =
                bp_array_open(&array, &bp_io_system, path, f < 3 ? NULL : "X", &allocator, &error);
            if (status == BP_OK) {
                assert_true(n > 1);
                bp_array_finish(&array);
            } else {
                assert_int_equal(status, BP_ERROR_MEMORY);
            }
            assert_int_equal(memory.live_blocks, 0);
            assert_int_equal(memory.wrong_sizes, 0);
        }
    }
}

static void the_nth_call_of_the_system_fails(void **state) {
    (void)state;
    const made_file x = make_npy("|u1", false, "(3,)", "\5\6\7", 3);
    write_file(&x);
    for (size_t n = 1;; n++) {
        faulty_system system = {.fail_at = n, .error = EIO};
        const bp_io io = faulty_io(&system);
        bp_array array;
        bp_error error;
        const bp_status status = bp_array_open(&array, &io, path, NULL, NULL, &error);
        assert_int_equal(system.open_files, 0);
        if (status == BP_OK) bp_array_finish(&array);
        if (!system.failed) break;
        if (strcmp(system.failed, "close") != 0) assert_int_equal(status, BP_ERROR_IO);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idx_has_every_type),
        cmocka_unit_test(npy_has_every_type_and_byte_order),
        cmocka_unit_test(npy_has_both_element_orders),
        cmocka_unit_test(npy_has_three_versions_and_odd_shapes),
        cmocka_unit_test(npz_and_gzip),
        cmocka_unit_test(a_name_wants_an_archive),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(every_flipped_bit_is_survived),
        cmocka_unit_test(a_checksum_sees_every_bit),
        cmocka_unit_test(impossible_sizes),
        cmocka_unit_test(wrong_npy_headers),
        cmocka_unit_test(wrong_archives),
        cmocka_unit_test(a_bomb_is_stopped_at_the_limit),
        cmocka_unit_test(the_nth_allocation_fails),
        cmocka_unit_test(the_nth_call_of_the_system_fails),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
