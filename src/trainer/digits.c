/* SPDX-License-Identifier: Apache-2.0 */
/* The bundled digits as a data set. */
#include "trainer/digits.h"
#include "trainer/dataset.h"

#include <math.h>

enum { TRAIN, VALIDATION, TEST, N_PARTS };

static int class_of(int64_t image) {
    return bp_digits[image][0] - '0';
}

/* 0 ... 16 */
static int pixel_of(int64_t image, int64_t pixel) {
    const char digit = bp_digits[image][1 + pixel];
    return digit <= '9' ? digit - '0' : digit - 'a' + 10;
}

/* The split of data/digits/README.md: counted by class, then in the file's order, images are held
 * out at even distances and go in turn to validation and test. */
static void split(uint8_t part_of[BP_DIGITS_IMAGES], int64_t n[N_PARTS]) {
    int64_t place = 0, held_out = 0;
    n[TRAIN] = n[VALIDATION] = n[TEST] = 0;
    for (int class = 0; class < BP_DIGITS_CLASSES; class++)
        for (int64_t image = 0; image < BP_DIGITS_IMAGES; image++) {
            if (class_of(image) != class) continue;
            place++;
            uint8_t part = TRAIN;
            if (place * BP_DIGITS_HELD_OUT / BP_DIGITS_IMAGES > held_out)
                part = held_out++ % 2 == 0 ? VALIDATION : TEST;
            part_of[image] = part;
            n[part]++;
        }
}

/* One mean and one deviation of all pixels of the training part. */
static void training_moments(const uint8_t part_of[BP_DIGITS_IMAGES], double *mean, double *std) {
    int64_t sum = 0, sum_squares = 0, count = 0;
    for (int64_t image = 0; image < BP_DIGITS_IMAGES; image++) {
        if (part_of[image] != TRAIN) continue;
        for (int64_t pixel = 0; pixel < BP_DIGITS_PIXELS; pixel++, count++) {
            const int value = pixel_of(image, pixel);
            sum += value;
            sum_squares += value * value;
        }
    }
    *mean = (double)sum / (double)count;
    *std = sqrt((double)sum_squares / (double)count - *mean * *mean);
}

bp_status bp_digits_open(bp_dataset **dataset, const bp_allocator *allocator, bp_error *error) {
    uint8_t part_of[BP_DIGITS_IMAGES];
    int64_t n[N_PARTS], filled[N_PARTS] = {0};
    double mean, std;
    split(part_of, n);
    training_moments(part_of, &mean, &std);
    const int64_t shape[3] = {1, BP_DIGITS_SIDE, BP_DIGITS_SIDE};
    bp_part_memory parts[N_PARTS];
    const bp_status status = bp_dataset_new(dataset, parts, "digits", shape, BP_DIGITS_CLASSES,
                                            true, n, allocator, error);
    if (status != BP_OK) return status;
    for (int64_t image = 0; image < BP_DIGITS_IMAGES; image++) {
        const bp_part_memory *part = &parts[part_of[image]];
        const int64_t sample = filled[part_of[image]]++;
        part->classes[sample] = class_of(image);
        for (int64_t pixel = 0; pixel < BP_DIGITS_PIXELS; pixel++)
            part->inputs[sample * BP_DIGITS_PIXELS + pixel] =
                (bp_real)((pixel_of(image, pixel) - mean) / std);
    }
    bp_dataset_finish(*dataset, parts);
    return BP_OK;
}
