/* SPDX-License-Identifier: Apache-2.0 */
/* What a colour stands for: the values of a series as places 0 ... 1 on a colour map, and the words
 * of its legend. Ends are powers of ten, so that a picture of a run that goes on rarely changes. */
#ifndef BP_REPORT_SCALE_H
#define BP_REPORT_SCALE_H

#include "record/series.h"
#include "report/colours.h"

#include <math.h>

typedef enum bp_scale_kind {
    BP_SCALE_LOG,    /* magnitudes: powers of ten, three at least; 0 has no place */
    BP_SCALE_AROUND, /* the same around a middle: gain around 1, update ratio around 1e-3 */
    BP_SCALE_SHARE,  /* 0 ... 1 */
    BP_SCALE_COUNT,  /* 0 ... a power of ten, as log(1 + n) */
    BP_SCALE_LINEAR  /* any other number; around 0 when there are both signs */
} bp_scale_kind;

typedef struct bp_scale {
    bp_scale_kind kind;
    bp_colour_map map;
    double low, high; /* at the ends: exponents of ten (LOG, AROUND, COUNT: high), or values */
    bool cut_low, cut_high; /* there are values beyond that end, which get its colour */
} bp_scale;

/* What is known of the values that are to be shown: begin with BP_EXTENT_NONE. */
typedef struct bp_extent {
    double min, max;      /* of the finite ones; min > max: none */
    double min_magnitude; /* smallest positive one */
} bp_extent;
#define BP_EXTENT_NONE                \
    (bp_extent) {                     \
        INFINITY, -INFINITY, INFINITY \
    }
void bp_extent_add(bp_extent *extent, double value);

bp_scale bp_scale_of(bp_series series, const bp_extent *extent);
/* 0 ... 1; NaN for a value that has no place: not finite, or no positive one on a scale of powers.
 */
double bp_scale_place(const bp_scale *scale, double value);
/* How far from what is usual, in the scale's own measure: of layers that share a row the one
 * that is farthest is shown. usual: a place. */
double bp_scale_oddness(const bp_scale *scale, double usual, double value);
/* What an end (0, 1) or the middle (0.5) stands for: "10⁻¹⁸", "≤ 10⁻²", "0.5"; ascii: "1e-18". */
void bp_scale_words(bp_text *text, const bp_scale *scale, double place, bool ascii);
/* 10 to that power as people write it: "10⁻¹⁸", "1", "0.001" as 10⁻³; ascii: "1e-18". */
void bp_text_add_power(bp_text *text, int exponent, bool ascii);

#endif
