/* SPDX-License-Identifier: Apache-2.0 */
#include "report/colours.h"

#include <math.h>
#include <stdlib.h>

#define N_NODES 33

/* Every eighth colour of viridis and cividis as in Matplotlib's tables (lib/matplotlib/
 * _cm_listed.py); between them lines, at most 6 of 255 beside the tables. viridis is by Stéfan van
 * der Walt, Nathaniel Smith and Eric Firing, under CC0; cividis by Nuñez, Anderton and Renslow
 * (PLOS ONE 13(7), 2018, CC BY). The diverging map is our own: lines in Oklab from a light grey to
 * a blue and a red of the same darkness. */
/* clang-format off */
static const uint32_t nodes[BP_N_COLOUR_MAPS][N_NODES] = {
[BP_MAP_VIRIDIS] = {
    0x440154, 0x470D60, 0x48186A, 0x482374,
    0x472D7B, 0x453681, 0x424086, 0x3F4989,
    0x3B528B, 0x375A8D, 0x33638D, 0x2F6A8E,
    0x2C728E, 0x297A8E, 0x26818E, 0x23898E,
    0x21908C, 0x1F988B, 0x1F9F88, 0x21A685,
    0x28AE80, 0x31B57B, 0x3EBC74, 0x4CC26C,
    0x5DC963, 0x6ECE58, 0x82D34C, 0x96D83F,
    0xABDC32, 0xC0DF24, 0xD5E21A, 0xEAE51A,
    0xFDE725,
},
[BP_MAP_CIVIDIS] = {
    0x00224E, 0x00285B, 0x002E6A, 0x043371,
    0x1A386F, 0x273E6E, 0x32436D, 0x3B496C,
    0x434E6C, 0x4B546C, 0x52596D, 0x5A5F6E,
    0x61656F, 0x686A71, 0x6F7073, 0x757676,
    0x7C7B78, 0x848179, 0x8B8778, 0x938D78,
    0x9B9376, 0xA39A75, 0xABA072, 0xB3A670,
    0xBBAD6C, 0xC3B469, 0xCCBA64, 0xD4C15F,
    0xDDC958, 0xE6D051, 0xEFD748, 0xF8DF3C,
    0xFEE838,
},
[BP_MAP_DIVERGING] = {
    0x153D87, 0x21488E, 0x2D5296, 0x395D9D,
    0x4567A4, 0x5172AC, 0x5D7CB3, 0x6A87B9,
    0x7691C0, 0x839CC6, 0x90A7CD, 0x9EB1D3,
    0xACBCD8, 0xBAC7DD, 0xC8D2E2, 0xD7DDE5,
    0xE9E8E5, 0xEBDAD4, 0xE9CDC6, 0xE5C1B8,
    0xE1B5AB, 0xDCAA9E, 0xD79E92, 0xD29285,
    0xCC8779, 0xC67C6D, 0xBF7162, 0xB96556,
    0xB25A4B, 0xAB4F3F, 0xA44334, 0x9D3728,
    0x952A1B,
},
};
/* clang-format on */

static double channel(uint32_t colour, int shift) {
    return (double)(colour >> shift & 0xFF);
}

static uint8_t between(uint32_t low, uint32_t high, double part, int shift) {
    return (uint8_t)lround(channel(low, shift) * (1 - part) + channel(high, shift) * part);
}

static double inside(double place) {
    return place > 0 ? fmin(place, 1) : 0; /* also of NaN */
}

bp_rgb bp_colour_at(bp_colour_map map, double place) {
    const double at = inside(place) * (N_NODES - 1);
    const int node = at < N_NODES - 1 ? (int)at : N_NODES - 2;
    const uint32_t low = nodes[map][node], high = nodes[map][node + 1];
    return (bp_rgb){between(low, high, at - node, 16), between(low, high, at - node, 8),
                    between(low, high, at - node, 0)};
}

/* --- terminals ---------------------------------------------------------------------------------
 */

/* Levels of the cube of 6 x 6 x 6 colours: 0, 95, 135, 175, 215, 255. */
static int cube_level(int index) {
    return index == 0 ? 0 : 55 + 40 * index;
}

static int cube_index(uint8_t value) {
    return value < 48 ? 0 : value < 115 ? 1 : (value - 35) / 40;
}

static int distance(bp_rgb colour, int red, int green, int blue) {
    const int r = colour.red - red, g = colour.green - green, b = colour.blue - blue;
    return r * r + g * g + b * b;
}

uint8_t bp_colour_256(bp_rgb colour) {
    const int r = cube_index(colour.red), g = cube_index(colour.green), b = cube_index(colour.blue);
    const int mean = (colour.red + colour.green + colour.blue) / 3;
    const int step = mean < 8 ? 0 : mean > 238 ? 23 : (mean - 3) / 10; /* greys 8, 18 ... 238 */
    const int grey = 8 + 10 * step;
    if (distance(colour, grey, grey, grey) <
        distance(colour, cube_level(r), cube_level(g), cube_level(b)))
        return (uint8_t)(232 + step);
    return (uint8_t)(16 + 36 * r + 6 * g + b);
}

uint8_t bp_colour_16(bp_colour_map map, double place) {
    enum { RED = 1, GREEN, YELLOW, BLUE, MAGENTA, CYAN, WHITE, BRIGHT = 8 };
    static const struct {
        uint8_t n, colour[6];
    } ramps[BP_N_COLOUR_MAPS] = {
        [BP_MAP_VIRIDIS] = {6, {MAGENTA, BLUE, CYAN, GREEN, BRIGHT + GREEN, BRIGHT + YELLOW}},
        [BP_MAP_CIVIDIS] = {5, {BLUE, BRIGHT, WHITE, YELLOW, BRIGHT + YELLOW}},
        [BP_MAP_DIVERGING] = {5, {BLUE, BRIGHT + BLUE, WHITE, BRIGHT + RED, RED}},
    };
    const int n = ramps[map].n, at = (int)(inside(place) * n);
    return ramps[map].colour[at < n ? at : n - 1];
}

/* Relative luminance of WCAG 2: on 0.179 black and white are read alike. */
static double linear(uint8_t value) {
    const double c = value / 255.0;
    return c <= 0.04045 ? c / 12.92 : pow((c + 0.055) / 1.055, 2.4);
}

bool bp_colour_is_light(bp_rgb colour) {
    return 0.2126 * linear(colour.red) + 0.7152 * linear(colour.green) +
               0.0722 * linear(colour.blue) >
           0.179;
}
