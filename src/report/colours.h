/* SPDX-License-Identifier: Apache-2.0 */
/* Colour maps as sRGB, for terminals and pictures. viridis and cividis rise evenly in lightness and
 * are read by people who see no red or green; the diverging one is light in its middle. */
#ifndef BP_REPORT_COLOURS_H
#define BP_REPORT_COLOURS_H

#include <stdbool.h>
#include <stdint.h>

typedef enum bp_colour_map {
    BP_MAP_VIRIDIS,
    BP_MAP_CIVIDIS,
    BP_MAP_DIVERGING, /* blue, light grey at 0.5, red */
    BP_N_COLOUR_MAPS
} bp_colour_map;

typedef struct bp_rgb {
    uint8_t red, green, blue;
} bp_rgb;

/* place: 0 ... 1; smaller, larger ones and NaN are taken for the nearest end (NaN for the lower).
 */
bp_rgb bp_colour_at(bp_colour_map map, double place);
/* The nearest of xterm's colours 16 ... 255, which are the same everywhere. */
uint8_t bp_colour_256(bp_rgb colour);
/* Of the 16 colours, which every terminal has in tints of its own, the one that stands for this
 * place: 0 ... 7 and 8 ... 15, the bright ones. Nearness means nothing there; the order is kept. */
uint8_t bp_colour_16(bp_colour_map map, double place);
/* Whether black is read better on it than white. */
bool bp_colour_is_light(bp_rgb colour);

#endif
