/* SPDX-License-Identifier: Apache-2.0 */
/* The bundled digits (data/digits/README.md): form, split and standardisation. */
#ifndef BP_TRAINER_DIGITS_H
#define BP_TRAINER_DIGITS_H

#include <backprobe/train.h>

#define BP_DIGITS_IMAGES 1797
#define BP_DIGITS_SIDE 8
#define BP_DIGITS_PIXELS (BP_DIGITS_SIDE * BP_DIGITS_SIDE)
#define BP_DIGITS_CLASSES 10
#define BP_DIGITS_HELD_OUT 540
#define BP_DIGITS_BYTES (1 + BP_DIGITS_PIXELS + 1)

/* Class and pixels of each image as text; made from data/digits/digits.txt by the build. */
extern const char bp_digits[BP_DIGITS_IMAGES][BP_DIGITS_BYTES];

BP_MUST_USE bp_status bp_digits_open(bp_dataset **dataset, const bp_allocator *allocator,
                                     bp_error *error);

#endif
