/* SPDX-License-Identifier: Apache-2.0 */
#include "report/colours.h"
#include "report/scale.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_colour(bp_rgb colour, unsigned expected) {
    assert_int_equal(
        (unsigned)colour.red << 16 | (unsigned)colour.green << 8 | (unsigned)colour.blue, expected);
}

static void test_ends_and_nodes(void **state) {
    (void)state;
    assert_colour(bp_colour_at(BP_MAP_VIRIDIS, 0), 0x440154);
    assert_colour(bp_colour_at(BP_MAP_VIRIDIS, 0.5), 0x21908C);
    assert_colour(bp_colour_at(BP_MAP_VIRIDIS, 1), 0xFDE725);
    assert_colour(bp_colour_at(BP_MAP_CIVIDIS, 0), 0x00224E);
    assert_colour(bp_colour_at(BP_MAP_CIVIDIS, 1), 0xFEE838);
    assert_colour(bp_colour_at(BP_MAP_DIVERGING, 0.5), 0xE9E8E5);
    assert_colour(bp_colour_at(BP_MAP_VIRIDIS, 1.5 / 32), 0x481365); /* between two nodes */
    assert_colour(bp_colour_at(BP_MAP_VIRIDIS, -3), 0x440154);
    assert_colour(bp_colour_at(BP_MAP_VIRIDIS, INFINITY), 0xFDE725);
    assert_colour(bp_colour_at(BP_MAP_VIRIDIS, NAN), 0x440154);
}

static double luminance(bp_rgb c) {
    return 0.2126 * pow(c.red, 2.2) + 0.7152 * pow(c.green, 2.2) + 0.0722 * pow(c.blue, 2.2);
}

/* What makes them readable in grey, and for who sees few colours. */
static void test_lightness_rises(void **state) {
    (void)state;
    for (int map = BP_MAP_VIRIDIS; map <= BP_MAP_CIVIDIS; map++)
        for (int i = 1; i <= 100; i++)
            assert_true(luminance(bp_colour_at((bp_colour_map)map, i / 100.0)) >
                        luminance(bp_colour_at((bp_colour_map)map, (i - 1) / 100.0)));
    for (int i = 1; i <= 50; i++) {
        const double a = luminance(bp_colour_at(BP_MAP_DIVERGING, 0.5 + i / 100.0));
        const double b = luminance(bp_colour_at(BP_MAP_DIVERGING, 0.5 - i / 100.0));
        assert_true(a < luminance(bp_colour_at(BP_MAP_DIVERGING, 0.5 + (i - 1) / 100.0)));
        assert_true(b < luminance(bp_colour_at(BP_MAP_DIVERGING, 0.5 - (i - 1) / 100.0)));
    }
}

static int distance_256(bp_rgb c, int index) {
    static const int levels[] = {0, 95, 135, 175, 215, 255};
    int r, g, b;
    if (index < 232) {
        r = levels[(index - 16) / 36];
        g = levels[(index - 16) / 6 % 6];
        b = levels[(index - 16) % 6];
    } else {
        r = g = b = 8 + 10 * (index - 232);
    }
    return (c.red - r) * (c.red - r) + (c.green - g) * (c.green - g) + (c.blue - b) * (c.blue - b);
}

static void test_256_is_the_nearest(void **state) {
    (void)state;
    for (int i = 0; i < 4096 * 8; i++) {
        const bp_rgb c = {(uint8_t)(i * 37), (uint8_t)(i / 7 * 11), (uint8_t)(i / 64)};
        int best = 1 << 30;
        for (int index = 16; index < 256; index++)
            if (distance_256(c, index) < best) best = distance_256(c, index);
        if (distance_256(c, bp_colour_256(c)) != best)
            fail_msg("%d %d %d: %d, not the nearest", c.red, c.green, c.blue, bp_colour_256(c));
    }
}

static void test_16(void **state) {
    (void)state;
    assert_int_equal(bp_colour_16(BP_MAP_VIRIDIS, 0), 5);
    assert_int_equal(bp_colour_16(BP_MAP_VIRIDIS, 1), 11);
    assert_int_equal(bp_colour_16(BP_MAP_DIVERGING, 0.5), 7);
    assert_int_equal(bp_colour_16(BP_MAP_DIVERGING, NAN), 4);
    assert_int_equal(bp_colour_16(BP_MAP_CIVIDIS, 9), 11);
}

static void test_light(void **state) {
    (void)state;
    assert_true(bp_colour_is_light(bp_colour_at(BP_MAP_VIRIDIS, 1)));
    assert_true(bp_colour_is_light((bp_rgb){118, 118, 118}));
    assert_false(bp_colour_is_light((bp_rgb){117, 117, 117}));
    assert_false(bp_colour_is_light(bp_colour_at(BP_MAP_VIRIDIS, 0)));
}

/* --- scale ------------------------------------------------------------------------------------ */

static bp_scale scale_of(bp_series series, double a, double b) {
    bp_extent extent = BP_EXTENT_NONE;
    bp_extent_add(&extent, a);
    bp_extent_add(&extent, b);
    bp_extent_add(&extent, NAN);
    bp_extent_add(&extent, INFINITY);
    return bp_scale_of(series, &extent);
}

static void assert_ends(const bp_scale *scale, const char *low, const char *high, bool ascii) {
    for (int end = 0; end < 2; end++) {
        char bytes[64];
        bp_text text;
        bp_text_init(&text, bytes, sizeof bytes);
        bp_scale_words(&text, scale, end, ascii);
        assert_string_equal(bytes, end ? high : low);
    }
}

static void test_magnitudes(void **state) {
    (void)state;
    bp_scale scale = scale_of((bp_series)BP_Q_GRADIENT_RMS, 3e-18, 0.02);
    assert_ends(&scale, "10⁻¹⁸", "10⁻¹", false);
    assert_ends(&scale, "1e-18", "1e-1", true);
    assert_true(fabs(bp_scale_place(&scale, 1e-18)) < 1e-12);
    assert_true(fabs(bp_scale_place(&scale, 0.1) - 1) < 1e-12);
    assert_true(isnan(bp_scale_place(&scale, 0)) && isnan(bp_scale_place(&scale, INFINITY)));
    assert_true(bp_scale_oddness(&scale, 0.5, 0) == 1);
    scale = scale_of((bp_series)BP_Q_GRADIENT_RMS, 0.011, 0.02); /* flat */
    assert_ends(&scale, "10⁻³", "1", false);
    scale = scale_of((bp_series)BP_Q_GRADIENT_RMS, 0, 0); /* nothing positive */
    assert_ends(&scale, "10⁻³", "1", false);
}

static void test_around(void **state) {
    (void)state;
    bp_scale scale = scale_of(BP_SERIES_GAIN, 0.5, 2);
    assert_ends(&scale, "10⁻¹", "10", false);
    assert_true(bp_scale_place(&scale, 1) == 0.5);
    assert_true(bp_scale_oddness(&scale, 0.1, 1) == 0); /* whatever is usual */
    scale = scale_of(BP_SERIES_GAIN, 1e-9, 2);
    assert_ends(&scale, "≤10⁻²", "10²", false);
    assert_true(bp_scale_place(&scale, 1e-9) == 0);
    scale = scale_of(BP_SERIES_UPDATE_RATIO, 1e-3, 3);
    assert_ends(&scale, "1e-5", ">=1e-1", true);
}

static void test_shares_counts_others(void **state) {
    (void)state;
    bp_scale scale = scale_of(BP_SERIES_DEAD_FRACTION, 0.1, 0.2);
    assert_ends(&scale, "0", "1", false);
    assert_true(bp_scale_place(&scale, 0) == 0 && bp_scale_place(&scale, 0.25) == 0.25);
    scale = scale_of(BP_SERIES_NON_FINITE, 0, 40);
    assert_ends(&scale, "0", "10²", false);
    assert_true(bp_scale_place(&scale, 0) == 0);
    scale = scale_of((bp_series)BP_Q_LOSS, 2, 3);
    assert_ends(&scale, "2", "3", false);
    scale = scale_of((bp_series)BP_Q_GRADIENT_COSINE, -0.25, 0.5);
    assert_int_equal(scale.map, BP_MAP_DIVERGING);
    assert_ends(&scale, "-0.5", "0.5", false);
    scale = scale_of((bp_series)BP_Q_LOSS, 2, 2);
    assert_ends(&scale, "2", "3", false);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends_and_nodes),
        cmocka_unit_test(test_lightness_rises),
        cmocka_unit_test(test_256_is_the_nearest),
        cmocka_unit_test(test_16),
        cmocka_unit_test(test_light),
        cmocka_unit_test(test_magnitudes),
        cmocka_unit_test(test_around),
        cmocka_unit_test(test_shares_counts_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
