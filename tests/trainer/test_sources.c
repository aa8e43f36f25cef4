/* SPDX-License-Identifier: Apache-2.0 */
/* Data sets from files and formulas: bp_dataset_open_source. */
#include "../faults.h"
#include "../formats/files.h"
#include "trainer/samples.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/backprobe-sources-XXXXXX";
static const char *const names[] = {"x", "y", "x2", "y2", "a.npz", "t.csv", "t2.csv"};

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char full[100];
        snprintf(full, sizeof full, "%s/%s", folder, names[i]);
        unlink(full);
    }
    return rmdir(folder);
}

static void write_bytes(const char *name, const void *bytes, size_t n) {
    char full[100];
    snprintf(full, sizeof full, "%s/%s", folder, name);
    FILE *out = fopen(full, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(bytes, 1, n, out), n);
    assert_int_equal(fclose(out), 0);
}

static void write_file(const char *name, const made_file *file) {
    write_bytes(name, file->bytes, file->n);
}

static void write_text(const char *name, const char *text) {
    write_bytes(name, text, strlen(text));
}

static bp_dataset *open_source(bp_data_source source) {
    bp_dataset *data = NULL;
    bp_error error = {.text = ""};
    source.folder = folder;
    if (bp_dataset_open_source(&data, &source, NULL, &error) != BP_OK) fail_msg("%s", error.text);
    return data;
}

static void refuse(bp_data_source source, const char *words) {
    bp_dataset *data = NULL;
    bp_error error = {.text = ""};
    source.folder = folder;
    assert_int_equal(bp_dataset_open_source(&data, &source, NULL, &error), BP_ERROR_INPUT);
    assert_null(data);
    if (!strstr(error.text, words)) fail_msg("expected '%s' in '%s'", words, error.text);
}

static bool same_part(const bp_part *a, const bp_part *b, size_t units) {
    const size_t n = (size_t)a->n;
    return a->n == b->n && memcmp(a->inputs, b->inputs, n * units * sizeof(bp_real)) == 0 &&
           memcmp(a->classes, b->classes, n * sizeof(int32_t)) == 0;
}

static bool same_data(const bp_dataset *a, const bp_dataset *b, size_t units) {
    return same_part(&a->train, &b->train, units) &&
           same_part(&a->validation, &b->validation, units) && same_part(&a->test, &b->test, units);
}

static void expect_sizes(const bp_dataset *data, int64_t train, int64_t validation, int64_t test) {
    assert_int_equal(data->train.n, train);
    assert_int_equal(data->validation.n, validation);
    assert_int_equal(data->test.n, test);
}

static void expect_shape(const bp_dataset *data, int64_t a, int64_t b, int64_t c) {
    assert_int_equal(data->input_shape[0], a);
    assert_int_equal(data->input_shape[1], b);
    assert_int_equal(data->input_shape[2], c);
}

/* --- arrays ----------------------------------------------------------------------------------- */

enum { N = 20 };

/* Sample i holds the numbers 4 i ... 4 i + 3, its label is i % 3. */
static void write_arrays(void) {
    uint8_t x[4 * N], y[N];
    for (int i = 0; i < 4 * N; i++) x[i] = (uint8_t)i;
    for (int i = 0; i < N; i++) y[i] = (uint8_t)(i % 3);
    const made_file images = make_idx(8, 3, (uint32_t[]){N, 2, 2}, x, sizeof x);
    const made_file packed = deflated(&images, 31);
    const made_file labels = make_idx(8, 1, (uint32_t[]){N}, y, sizeof y);
    const made_file nx = make_npy("|u1", false, "(20, 2, 2)", x, sizeof x);
    const made_file ny = make_npy("|u1", false, "(20,)", y, sizeof y);
    const made_member members[] = {{"inputs.npy", &nx}, {"labels.npy", &ny}};
    const made_file archive = make_npz(8, members, 2);
    write_file("x", &packed);
    write_file("y", &labels);
    write_file("x2", &nx);
    write_file("y2", &ny);
    write_file("a.npz", &archive);
}

static const bp_data_source idx_source = {.format = BP_DATA_IDX,
                                          .path = "x",
                                          .targets = "y",
                                          .normalise = BP_NORMALISE_NONE,
                                          .validation_fraction = 0.25,
                                          .test_fraction = 0.25};

/* Marks which samples a part holds, and that each holds together. */
static void mark(const bp_part *part, int seen[N]) {
    for (int64_t k = 0; k < part->n; k++) {
        const int i = (int)part->inputs[4 * k] / 4;
        assert_in_range(i, 0, N - 1);
        for (int j = 0; j < 4; j++) assert_true(part->inputs[4 * k + j] == (bp_real)(4 * i + j));
        assert_int_equal(part->classes[k], i % 3);
        for (int j = 0; j < 3; j++) assert_true(part->targets[3 * k + j] == (bp_real)(j == i % 3));
        seen[i]++;
    }
}

static void check_split(const bp_dataset *data) {
    int seen[N] = {0};
    expect_sizes(data, 10, 5, 5);
    assert_int_equal(data->n_outputs, 3);
    mark(&data->train, seen);
    mark(&data->validation, seen);
    mark(&data->test, seen);
    for (int i = 0; i < N; i++) assert_int_equal(seen[i], 1);
}

static void idx_npy_and_npz_are_one_data_set(void **state) {
    (void)state;
    write_arrays();
    bp_data_source source = idx_source;
    bp_dataset *idx = open_source(source);
    source.format = BP_DATA_NPY;
    source.path = "x2";
    source.targets = "y2";
    bp_dataset *npy = open_source(source);
    source.format = BP_DATA_NPZ;
    source.path = "a.npz";
    source.inputs = "inputs";
    source.targets = "labels";
    bp_dataset *npz = open_source(source);
    check_split(idx);
    expect_shape(idx, 1, 2, 2);
    assert_true(same_data(idx, npy, 4));
    assert_true(same_data(idx, npz, 4));
    source.seed = 7; /* another split, as good */
    bp_dataset *other = open_source(source);
    check_split(other);
    assert_false(same_data(idx, other, 4));
    bp_dataset_close(other);
    bp_dataset_close(npz);
    bp_dataset_close(npy);
    bp_dataset_close(idx);
}

static void fewer_to_train_leaves_the_rest(void **state) {
    (void)state;
    write_arrays();
    bp_data_source source = idx_source;
    bp_dataset *all = open_source(source);
    source.train_samples = 4;
    bp_dataset *few = open_source(source);
    expect_sizes(few, 4, 5, 5);
    assert_memory_equal(few->validation.inputs, all->validation.inputs, 5 * 4 * sizeof(bp_real));
    assert_memory_equal(few->test.inputs, all->test.inputs, 5 * 4 * sizeof(bp_real));
    assert_memory_equal(few->train.inputs, all->train.inputs, 4 * 4 * sizeof(bp_real));
    bp_dataset_close(few);
    bp_dataset_close(all);
}

static void fractions(void **state) {
    (void)state;
    write_arrays();
    bp_data_source source = idx_source;
    source.validation_fraction = source.test_fraction = 0; /* the default: 0.15 each */
    bp_dataset *data = open_source(source);
    expect_sizes(data, 14, 3, 3);
    bp_dataset_close(data);
    source.validation_fraction = source.test_fraction = -1; /* none */
    data = open_source(source);
    expect_sizes(data, 20, 0, 0);
    bp_dataset_close(data);
    source.validation_fraction = source.test_fraction = 0.5;
    refuse(source, "20 samples cannot be split");
    source = idx_source; /* a test part of its own is taken whole and in its order */
    source.test_path = "x2";
    source.test_targets = "y2";
    data = open_source(source);
    expect_sizes(data, 15, 5, 20);
    for (int i = 0; i < 4 * N; i++) assert_true(data->test.inputs[i] == (bp_real)i);
    bp_dataset_close(data);
}

static void layouts(void **state) {
    (void)state;
    const uint8_t numbers[24] = {0};
    const struct {
        const char *shape;
        bp_layout layout;
        int64_t expected[3];
    } cases[] = {
        {"(2, 12)", 0, {12, 1, 1}},
        {"(2, 3, 4)", 0, {1, 3, 4}},
        {"(2, 3, 4)", BP_LAYOUT_IMAGE, {1, 3, 4}},
        {"(2, 3, 4)", BP_LAYOUT_SEQUENCE, {3, 4, 1}},
        {"(2, 3, 4)", BP_LAYOUT_VECTOR, {12, 1, 1}},
        {"(2, 3, 2, 2)", BP_LAYOUT_IMAGE, {3, 2, 2}},
        {"(2, 3, 2, 2)", BP_LAYOUT_VECTOR, {12, 1, 1}},
    };
    const made_file y = make_npy("|u1", false, "(2,)", "\0\1", 2);
    write_file("y", &y);
    bp_data_source source = idx_source;
    source.format = BP_DATA_NPY;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const made_file x = make_npy("|u1", false, cases[i].shape, numbers, sizeof numbers);
        write_file("x", &x);
        source.layout = cases[i].layout;
        bp_dataset *data = open_source(source);
        expect_shape(data, cases[i].expected[0], cases[i].expected[1], cases[i].expected[2]);
        bp_dataset_close(data);
    }
}

static void tasks_of_arrays(void **state) {
    (void)state;
    const float values[4] = {0.5f, 1, 0, 0.25f};
    const made_file x = make_npy("<f4", false, "(2, 2)", values, sizeof values);
    const made_file floats = make_npy("<f4", false, "(2, 2)", values, sizeof values);
    const made_file labels = make_npy("|u1", false, "(2, 2)", "\0\1\1\1", 4);
    const made_file wrong = make_npy("|u1", false, "(2, 2)", "\0\1\2\1", 4);
    const made_file short_ones = make_npy("|u1", false, "(3,)", "\0\1\2", 3);
    bp_data_source source = idx_source;
    source.format = BP_DATA_NPY;
    write_file("x", &x);
    write_file("y", &floats);
    bp_dataset *data = open_source(source); /* floats are values */
    assert_false(data->has_classes);
    assert_int_equal(data->n_outputs, 2);
    bp_dataset_close(data);
    source.task = BP_TASK_MULTILABEL;
    bp_dataset_close(open_source(source));
    source.task = BP_TASK_CLASSIFICATION;
    refuse(source, "2 classes a sample, expected one");
    source.task = 0;
    write_file("y", &labels); /* whole numbers, several a sample, are labels */
    data = open_source(source);
    assert_false(data->has_classes);
    assert_int_equal(data->n_outputs, 2);
    bp_dataset_close(data);
    write_file("y", &wrong);
    refuse(source, "y, sample 2, number 1: expected a label from 0 to 1, found 2");
    write_file("y", &short_ones);
    refuse(source, "expected targets for 2 samples");
    const made_file halves = make_npy("<f4", false, "(2,)", values, 8);
    write_file("y", &halves);
    source.task = BP_TASK_CLASSIFICATION;
    refuse(source, "y, sample 1: expected a class, a whole number from 0 on, found 0.5");
    const made_file minus = make_npy("|i1", false, "(2,)", "\0\xff", 2);
    write_file("y", &minus);
    refuse(source, "y, sample 2: expected a class, a whole number from 0 on, found -1");
    source.targets = "missing";
    bp_dataset *none = NULL;
    bp_error error;
    source.folder = folder;
    assert_int_equal(bp_dataset_open_source(&none, &source, NULL, &error), BP_ERROR_IO);
    assert_non_null(strstr(error.text, "/missing"));
    source.format = BP_DATA_NPZ; /* a file that is no archive holds no two arrays */
    source.inputs = source.targets = "x";
    refuse(source, "expected an archive");
}

static void numbers_must_be_finite(void **state) {
    (void)state;
    const double values[4] = {0, 1, (double)NAN, 2}, large[4] = {0, 1e300, 1, 2};
    const made_file y = make_npy("|u1", false, "(2,)", "\0\1", 2);
    made_file x = make_npy("<f8", false, "(2, 2)", values, sizeof values);
    bp_data_source source = idx_source;
    source.format = BP_DATA_NPY;
    write_file("x", &x);
    write_file("y", &y);
    refuse(source, "x, sample 2, number 1: expected a finite number, found ");
    x = make_npy("<f8", false, "(2, 2)", large, sizeof large); /* infinite in f32 */
    write_file("x", &x);
    refuse(source, "x, sample 1, number 2: expected a finite number, found 1e300");
}

/* --- tables ----------------------------------------------------------------------------------- */

static const bp_data_source csv_source = {.format = BP_DATA_CSV,
                                          .path = "t.csv",
                                          .targets = "kind",
                                          .normalise = BP_NORMALISE_NONE,
                                          .validation_fraction = -1,
                                          .test_fraction = -1};

/* The class of the sample whose first input is x. */
static int class_at(const bp_dataset *data, double x) {
    const int64_t units = data->input_shape[0];
    for (int64_t i = 0; i < data->train.n; i++)
        if ((double)data->train.inputs[i * units] == x) return data->train.classes[i];
    fail_msg("no sample with %g", x);
    return -1;
}

static void classes_by_words(void **state) {
    (void)state;
    write_text("t.csv", "a,kind,b\n1,rose,5\n2,\"lily, white\",6\n3,rose,7\n4,aster,8\n");
    bp_dataset *data = open_source(csv_source);
    expect_shape(data, 2, 1, 1);
    assert_int_equal(data->n_outputs, 3);
    assert_int_equal(class_at(data, 1), 2); /* sorted: aster, lily, rose */
    assert_int_equal(class_at(data, 2), 1);
    assert_int_equal(class_at(data, 3), 2);
    assert_int_equal(class_at(data, 4), 0);
    bp_dataset_close(data);
}

/* By their bytes alone 9 < 10 < "1a" < 9 would go round in a circle. */
static void classes_of_numbers_and_words(void **state) {
    (void)state;
    static const char *const words[] = {"-1", "2", "9", "10", "11", "1a", "9a", "x"};
    char text[400] = "a,kind\n";
    for (int round = 0; round < 3; round++)
        for (int i = 7; i >= 0; i--)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%d,%s\n", i,
                     words[(i * 5 + 3) % 8]);
    write_text("t.csv", text);
    bp_dataset *data = open_source(csv_source);
    assert_int_equal(data->n_outputs, 8);
    for (int i = 0; i < 8; i++) assert_int_equal(class_at(data, i), (i * 5 + 3) % 8);
    bp_dataset_close(data);
}

static void regression_and_labels(void **state) {
    (void)state;
    write_text("t.csv", "a,b,c,d\n1,10,0,0.5\n2,20,1,1.5\n3,30,1,2.5\n");
    bp_data_source source = csv_source;
    source.task = BP_TASK_REGRESSION;
    source.targets = "d, b";
    bp_dataset *data = open_source(source);
    assert_int_equal(data->n_outputs, 2);
    expect_shape(data, 2, 1, 1);
    for (int64_t i = 0; i < 3; i++) {
        const bp_real a = data->train.inputs[2 * i];
        assert_true(data->train.targets[2 * i] == a - (bp_real)0.5);
        assert_true(data->train.targets[2 * i + 1] == 10 * a);
    }
    bp_dataset_close(data);
    source.task = BP_TASK_MULTILABEL;
    refuse(source, "t.csv, line ");
    source.targets = "c";
    data = open_source(source);
    assert_false(data->has_classes);
    assert_int_equal(data->n_outputs, 1);
    bp_dataset_close(data);
    source.task = BP_TASK_CLASSIFICATION;
    source.targets = "b,d";
    refuse(source, "data.targets names 2 columns, but a classification has one");
}

static void without_a_header(void **state) {
    (void)state;
    write_text("t.csv", "1,7,one\n2,8,two\n3,9,one\n");
    bp_data_source source = csv_source;
    source.no_header = true;
    source.targets = "3";
    bp_dataset *data = open_source(source);
    assert_int_equal(data->train.n, 3);
    assert_int_equal(class_at(data, 2), 1);
    bp_dataset_close(data);
    source.targets = "4";
    refuse(source, "without a header columns are numbers from 1 on");
}

static void wrong_tables(void **state) {
    (void)state;
    bp_data_source source = csv_source;
    write_text("t.csv", "a,kind\n1,x\n\n\"2\",y\nthree,x\n");
    refuse(source, "t.csv, line 5, column 1 (a): expected a finite number, found 'three'");
    write_text("t.csv", "a,kind\n1,x\n,y\n");
    refuse(source, "t.csv, line 3, column 1 (a): expected a finite number, found ''");
    write_text("t.csv", "a,kind\nnan,x\n1,y\n");
    refuse(source, "found 'nan'");
    write_text("t.csv", "a,kind\n1,x\n2,x\n");
    refuse(source, "1 different classes, expected 2");
    write_text("t.csv", "a,kind\n1,x\n2,\n");
    refuse(source, "t.csv, line 3: expected a class, found an empty cell");
    write_text("t.csv", "a,kinds\n1,x\n2,y\n");
    refuse(source, "has no column 'kind'; did you mean 'kinds'?");
    write_text("t.csv", "kind\nx\ny\n");
    refuse(source, "has no column but the targets");
    write_text("t.csv", "kind,a,kind\nx,1,x\ny,2,y\n"); /* one would tell the other */
    refuse(source, "has two columns 'kind'");
    write_text("t.csv", "a,kind\n1,x\n2,y\n");
    source.targets = "kind,kind";
    source.task = BP_TASK_REGRESSION;
    refuse(source, "names 'kind' twice");
    source = csv_source;
    source.test_path = "t2.csv";
    write_text("t2.csv", "kind,a\nx,1\n");
    refuse(source, "column 1 is 'kind', expected 'a'");
    write_text("t2.csv", "a,b,kind\n1,2,x\n");
    refuse(source, "3 columns, expected 2");
    write_text("t2.csv", "a,kind\n1,y\n");
    bp_dataset *data = open_source(source);
    expect_sizes(data, 2, 0, 1);
    assert_int_equal(data->test.classes[0], 1);
    bp_dataset_close(data);
}

/* --- normalisation -----------------------------------------------------------------------------
 */

/* Mean and deviation of column j over the training part. */
static void moments(const bp_dataset *data, int64_t j, double *mean, double *deviation) {
    const int64_t units = data->input_shape[0] * data->input_shape[1] * data->input_shape[2];
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < data->train.n; i++) {
        const double x = (double)data->train.inputs[i * units + j];
        sum += x;
        squares += x * x;
    }
    *mean = sum / (double)data->train.n;
    *deviation = sqrt(squares / (double)data->train.n - *mean * *mean);
}

static void each_column_for_itself(void **state) {
    (void)state;
    write_text("t.csv", "a,b,c,kind\n1,5,-100,x\n2,5,300,y\n3,5,0,x\n6,5,20,y\n");
    bp_data_source source = csv_source;
    source.normalise = BP_NORMALISE_STANDARD;
    bp_dataset *data = open_source(source);
    for (int64_t j = 0; j < 3; j++) {
        double mean, deviation;
        moments(data, j, &mean, &deviation);
        assert_true(fabs(mean) < 1e-6);
        assert_true(fabs(deviation - (j == 1 ? 0 : 1)) < 1e-5); /* b is constant: 0 */
    }
    for (int64_t i = 0; i < 4; i++) assert_true(data->train.inputs[3 * i + 1] == 0);
    bp_dataset_close(data);
    source.normalise = BP_NORMALISE_MINMAX;
    data = open_source(source);
    for (int64_t j = 0; j < 3; j++) {
        bp_real low = 9, high = -9;
        for (int64_t i = 0; i < 4; i++) {
            const bp_real x = data->train.inputs[3 * i + j];
            if (x < low) low = x;
            if (x > high) high = x;
        }
        assert_true(low == 0 && high == (j == 1 ? 0 : 1));
    }
    bp_dataset_close(data);
}

static void images_as_a_whole(void **state) {
    (void)state;
    write_arrays();
    bp_data_source source = idx_source;
    source.normalise = BP_NORMALISE_STANDARD;
    bp_dataset *data = open_source(source);
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < 4 * data->train.n; i++) {
        sum += (double)data->train.inputs[i];
        squares += (double)(data->train.inputs[i] * data->train.inputs[i]);
    }
    assert_true(fabs(sum) < 1e-4);
    assert_true(fabs(squares / (4 * (double)data->train.n) - 1) < 1e-5);
    const bp_real step = data->train.inputs[1] - data->train.inputs[0];
    for (int j = 1; j < 4; j++) /* neighbours stay one apart, in the same unit */
        assert_true(fabs((double)(data->train.inputs[j] - data->train.inputs[j - 1] - step)) <
                    1e-5);
    bp_dataset_close(data);
}

/* An outlier that only validation or test hold changes no training number. */
static void only_the_training_part_teaches(void **state) {
    (void)state;
    for (int normalise = BP_NORMALISE_STANDARD; normalise <= BP_NORMALISE_MINMAX; normalise++) {
        bp_data_source source = csv_source;
        source.normalise = (bp_normalise)normalise;
        source.test_path = "t2.csv";
        source.validation_fraction = 0.25;
        write_text("t.csv", "a,kind\n1,x\n2,y\n3,x\n4,y\n5,x\n6,y\n7,x\n8,y\n");
        write_text("t2.csv", "a,kind\n4,x\n");
        bp_dataset *plain = open_source(source);
        write_text("t2.csv", "a,kind\n4e9,x\n");
        bp_dataset *outlier = open_source(source);
        expect_sizes(outlier, 6, 2, 1);
        assert_memory_equal(outlier->train.inputs, plain->train.inputs, 6 * sizeof(bp_real));
        assert_memory_equal(outlier->validation.inputs, plain->validation.inputs,
                            2 * sizeof(bp_real));
        assert_true(outlier->test.inputs[0] > 1e8f); /* scaled alike */
        bp_dataset_close(outlier);
        bp_dataset_close(plain);
    }
}

/* The same for a sample that the split puts into validation. */
static void a_validation_sample_teaches_nothing(void **state) {
    (void)state;
    uint8_t x[N], y[N];
    bp_data_source source = idx_source;
    source.normalise = BP_NORMALISE_STANDARD;
    for (int i = 0; i < N; i++) {
        x[i] = (uint8_t)i;
        y[i] = (uint8_t)(i % 2);
    }
    int same = 0;
    bp_dataset *plain = NULL;
    for (int changed = -1; changed < N; changed++) {
        if (changed >= 0) x[changed] = 255;
        const made_file inputs = make_idx(8, 2, (uint32_t[]){N, 1}, x, sizeof x);
        const made_file labels = make_idx(8, 1, (uint32_t[]){N}, y, sizeof y);
        if (changed >= 0) x[changed] = (uint8_t)changed;
        write_file("x", &inputs);
        write_file("y", &labels);
        bp_dataset *data = open_source(source);
        if (!plain) {
            plain = data;
            continue;
        }
        same += memcmp(data->train.inputs, plain->train.inputs, 10 * sizeof(bp_real)) == 0;
        bp_dataset_close(data);
    }
    assert_int_equal(same, 10); /* as many as are not in the training part */
    bp_dataset_close(plain);
}

/* --- generated and installed ------------------------------------------------------------------ */

static void spirals(void **state) {
    (void)state;
    bp_data_source source = {.name = "spirals", .samples = 400, .normalise = BP_NORMALISE_NONE};
    bp_dataset *data = open_source(source), *again = open_source(source);
    expect_sizes(data, 280, 60, 60);
    expect_shape(data, 2, 1, 1);
    assert_int_equal(data->n_outputs, 2);
    int64_t n_ones = 0;
    for (int64_t i = 0; i < data->train.n; i++) { /* no noise: each lies on its own arm */
        const double x = (double)data->train.inputs[2 * i],
                     y = (double)data->train.inputs[2 * i + 1];
        const double radius = sqrt(x * x + y * y), pi = acos(-1);
        const double angle = 3 * pi * radius + pi * data->train.classes[i];
        assert_true(radius <= 1);
        assert_true(fabs(x - radius * cos(angle)) < 1e-5 && fabs(y - radius * sin(angle)) < 1e-5);
        n_ones += data->train.classes[i];
    }
    assert_in_range(n_ones, 110, 170);
    assert_true(same_data(data, again, 2));
    source.seed = 2;
    bp_dataset *other = open_source(source);
    assert_false(same_data(data, other, 2));
    bp_dataset_close(other);
    bp_dataset_close(again);
    bp_dataset_close(data);
}

static void fashion_mnist(void **state) {
    (void)state;
    bp_dataset *data = open_source((bp_data_source){.name = "fashion_mnist"});
    expect_sizes(data, 50000, 10000, 10000);
    expect_shape(data, 1, 28, 28);
    assert_int_equal(data->n_outputs, 10);
    assert_string_equal(data->name, "fashion_mnist");
    int64_t n[10] = {0}; /* 1,000 of each in the test part */
    for (int64_t i = 0; i < data->test.n; i++) n[data->test.classes[i]]++;
    for (int i = 0; i < 10; i++) assert_int_equal(n[i], 1000);
    bp_dataset_close(data);
}

static void fashion_mnist_is_not_installed(void **state) {
    (void)state;
    bp_dataset *data = NULL;
    bp_error error;
    const bp_data_source source = {.name = "fashion_mnist"};
    assert_int_equal(bp_fashion_open("/nowhere", &source, &data, NULL, &error), BP_ERROR_INPUT);
    assert_string_equal(error.text, "fashion_mnist is not installed (there is no /nowhere); "
                                    "install it by: apt-get install dataset-fashion-mnist");
    assert_null(data);
}

/* --- failing memory ----------------------------------------------------------------------------
 */

static void the_nth_allocation_fails(void **state) {
    (void)state;
    write_arrays();
    write_text("t.csv", "a,kind\n1,x\n2,y\n3,x\n");
    bp_data_source sources[] = {idx_source, csv_source, {.name = "spirals", .samples = 100}};
    for (size_t s = 0; s < 3; s++) {
        bp_status status = BP_ERROR_MEMORY;
        sources[s].folder = folder;
        for (size_t n = 1; status != BP_OK; n++) {
            faulty_memory memory = {.fail_at = n};
            const bp_allocator allocator = faulty_allocator(&memory);
            bp_dataset *data = NULL;
            bp_error error;
            status = bp_dataset_open_source(&data, &sources[s], &allocator, &error);
            bp_dataset_close(data);
            if (status == BP_OK) assert_true(n > 2);
            if (status != BP_OK) assert_int_equal(status, BP_ERROR_MEMORY);
            assert_int_equal(memory.live_blocks, 0);
            assert_int_equal(memory.wrong_sizes, 0);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idx_npy_and_npz_are_one_data_set),
        cmocka_unit_test(fewer_to_train_leaves_the_rest),
        cmocka_unit_test(fractions),
        cmocka_unit_test(layouts),
        cmocka_unit_test(tasks_of_arrays),
        cmocka_unit_test(numbers_must_be_finite),
        cmocka_unit_test(classes_by_words),
        cmocka_unit_test(classes_of_numbers_and_words),
        cmocka_unit_test(regression_and_labels),
        cmocka_unit_test(without_a_header),
        cmocka_unit_test(wrong_tables),
        cmocka_unit_test(each_column_for_itself),
        cmocka_unit_test(images_as_a_whole),
        cmocka_unit_test(only_the_training_part_teaches),
        cmocka_unit_test(a_validation_sample_teaches_nothing),
        cmocka_unit_test(spirals),
        cmocka_unit_test(fashion_mnist),
        cmocka_unit_test(fashion_mnist_is_not_installed),
        cmocka_unit_test(the_nth_allocation_fails),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
