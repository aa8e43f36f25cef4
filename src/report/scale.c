/* SPDX-License-Identifier: Apache-2.0 */
#include "report/scale.h"

#include <math.h>
#include <stdio.h>

#define MIN_DECADES 3    /* a flat profile is to look flat */
#define UPDATE_RATIO -3  /* log10 of where it is healthy */
#define AROUND_DECADES 2 /* from the middle to an end, at most: what is farther is as bad */

void bp_extent_add(bp_extent *extent, double value) {
    if (!isfinite(value)) return;
    extent->min = fmin(extent->min, value);
    extent->max = fmax(extent->max, value);
    if (value > 0) extent->min_magnitude = fmin(extent->min_magnitude, value);
}

static bp_scale_kind kind_of(bp_series series) {
#define CODEC_OF(id, name, number, codec, rows, meaning) [BP_Q_##id] = BP_CODEC_##codec,
    static const bp_quantity_codec codecs[BP_N_QUANTITIES] = {BP_QUANTITIES(CODEC_OF)};
#undef CODEC_OF
    switch ((int)series) {
    case BP_SERIES_GAIN:
    case BP_SERIES_UPDATE_RATIO:
        return BP_SCALE_AROUND;
    case BP_SERIES_DEAD_FRACTION:
    case BP_SERIES_SATURATED_FRACTION:
    case BP_Q_ERROR_TINY:
    case BP_Q_GRADIENT_TINY:
        return BP_SCALE_SHARE;
    case BP_SERIES_NON_FINITE:
        return BP_SCALE_COUNT;
    default:
        break;
    }
    return codecs[series] == BP_CODEC_LOG     ? BP_SCALE_LOG
           : codecs[series] == BP_CODEC_COUNT ? BP_SCALE_COUNT
                                              : BP_SCALE_LINEAR;
}

/* Powers of ten around what there is; where that is little, more below and above. */
static void set_powers(bp_scale *scale, double min, double max) {
    scale->low = min <= max ? floor(log10(min)) : -MIN_DECADES;
    scale->high = min <= max ? ceil(log10(max)) : 0;
    for (int i = 0; scale->high - scale->low < MIN_DECADES; i++)
        if (i % 2 == 0)
            scale->low--;
        else
            scale->high++;
}

static void set_around(bp_scale *scale, double middle, double min, double max) {
    double farthest = 1;
    if (min <= max) farthest = fmax(fabs(log10(min) - middle), fabs(log10(max) - middle));
    const double reach = fmin(fmax(ceil(farthest), 1), AROUND_DECADES);
    scale->map = BP_MAP_DIVERGING;
    scale->low = middle - reach;
    scale->high = middle + reach;
    scale->cut_low = min <= max && log10(min) < scale->low;
    scale->cut_high = min <= max && log10(max) > scale->high;
}

static void set_linear(bp_scale *scale, double min, double max) {
    if (min < 0 && max > 0) {
        const double reach = fmax(-min, max);
        scale->map = BP_MAP_DIVERGING;
        min = -reach;
        max = reach;
    }
    scale->low = min <= max ? min : 0;
    scale->high = min < max ? max : scale->low + 1;
}

bp_scale bp_scale_of(bp_series series, const bp_extent *extent) {
    bp_scale scale = {.kind = kind_of(series), .map = BP_MAP_VIRIDIS, .low = 0, .high = 1};
    const double min = extent->min_magnitude, max = extent->max;
    switch (scale.kind) {
    case BP_SCALE_LOG:
        set_powers(&scale, min, max);
        break;
    case BP_SCALE_AROUND:
        set_around(&scale, series == BP_SERIES_UPDATE_RATIO ? UPDATE_RATIO : 0, min, max);
        break;
    case BP_SCALE_COUNT:
        scale.high = max > 1 ? ceil(log10(max)) : 1;
        break;
    case BP_SCALE_LINEAR:
        set_linear(&scale, extent->min, max);
        break;
    case BP_SCALE_SHARE:
        break;
    }
    return scale;
}

static double clamp(double place) {
    return fmin(fmax(place, 0), 1);
}

double bp_scale_place(const bp_scale *scale, double value) {
    const bool powers = scale->kind == BP_SCALE_LOG || scale->kind == BP_SCALE_AROUND;
    if (!isfinite(value) || (powers && !(value > 0))) return NAN;
    if (scale->kind == BP_SCALE_COUNT)
        return clamp(log1p(fmax(value, 0)) / log1p(pow(10, scale->high)));
    if (powers) value = log10(value);
    return clamp((value - scale->low) / (scale->high - scale->low));
}

double bp_scale_oddness(const bp_scale *scale, double usual, double value) {
    const double place = bp_scale_place(scale, value);
    if (scale->kind == BP_SCALE_AROUND) usual = 0.5;
    if (scale->kind == BP_SCALE_SHARE || scale->kind == BP_SCALE_COUNT) usual = 0;
    return isnan(place) ? 1 : fabs(place - usual); /* 0 among magnitudes is as odd as can be */
}

/* --- words --------------------------------------------------------------------------------------
 */

void bp_text_add_power(bp_text *text, int exponent, bool ascii) {
    static const char *const raised[] = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
    if (exponent == 0 || exponent == 1) {
        bp_text_add(text, exponent ? "10" : "1");
        return;
    }
    if (ascii) {
        bp_text_add(text, "1e%d", exponent);
        return;
    }
    char digits[16];
    (void)snprintf(digits, sizeof digits, "%d", exponent);
    bp_text_add(text, "10");
    for (const char *digit = digits; *digit; digit++)
        bp_text_add(text, "%s", *digit == '-' ? "⁻" : raised[*digit - '0']);
}

void bp_scale_words(bp_text *text, const bp_scale *scale, double place, bool ascii) {
    if (place == 0 && scale->cut_low) bp_text_add(text, ascii ? "<=" : "≤");
    if (place == 1 && scale->cut_high) bp_text_add(text, ascii ? ">=" : "≥");
    const double value = scale->low + place * (scale->high - scale->low);
    const bool powers = scale->kind == BP_SCALE_LOG || scale->kind == BP_SCALE_AROUND ||
                        (scale->kind == BP_SCALE_COUNT && place > 0);
    if (powers)
        bp_text_add_power(text, (int)lround(value), ascii);
    else
        bp_text_add_number(text, value, 3);
}
