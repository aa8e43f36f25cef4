/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures over steps made of characters: colours of a terminal, the axis of steps, numbers of
 * findings. Parts that lie beneath each other share margin, columns and steps. */
#ifndef BP_REPORT_CHART_H
#define BP_REPORT_CHART_H

#include "report/report.h"
#include "report/scale.h"

typedef enum bp_colour_depth {
    BP_COLOURS_NONE, /* shapes and letters only: pipes, files */
    BP_COLOURS_16,
    BP_COLOURS_256,
    BP_COLOURS_24BIT
} bp_colour_depth;

typedef enum bp_characters {
    BP_CHARACTERS_ASCII,
    BP_CHARACTERS_PLAIN, /* what the text console has, too: no braille */
    BP_CHARACTERS_ALL
} bp_characters;

/* How a cell is written; 0: as the terminal does. Colours come from bp_chart_colour. */
typedef struct bp_paint {
    uint32_t ink, ground;
    bool reverse, bold;
} bp_paint;

typedef struct bp_chart {
    FILE *out;
    bp_colour_depth depth;
    bp_characters characters;
    int width;           /* of a line */
    int64_t first, last; /* steps of the axis */
    int margin, columns; /* of the picture within the line; bp_map_text sets them */
    bp_paint paint;      /* as it was written last */
} bp_chart;

/* Cells 0 ... n - 1 over the axis: the first step of one; of cell n the step behind the axis. */
uint64_t bp_chart_start(const bp_chart *chart, int n, int cell);
/* The column that has the step; -1 outside. */
int bp_chart_column(const bp_chart *chart, int64_t step);
/* "    step ╵0        ╵100", a line. */
void bp_chart_axis(bp_chart *chart);

/* The place's colour in this depth, for a bp_paint; 0 without colours. */
uint32_t bp_chart_colour(const bp_chart *chart, bp_colour_map map, double place);
/* Black or white, whichever is read on such a ground. */
uint32_t bp_chart_contrast(const bp_chart *chart, bp_colour_map map, double place);
/* One of the terminal's 16; 0 without colours. */
uint32_t bp_chart_accent(const bp_chart *chart, uint8_t colour);
/* From here on; every sequence that is written stands for itself, so that a line may be taken up at
 * any of them. */
void bp_chart_paint(bp_chart *chart, bp_paint paint);
void bp_chart_end_line(bp_chart *chart);
/* ① for 1; "1" in ASCII, and above 20. bytes: 12. */
const char *bp_chart_number(const bp_chart *chart, char bytes[12], uint32_t number);
/* One of two texts by the characters that there are. */
const char *bp_chart_either(const bp_chart *chart, const char *text, const char *ascii);

#endif
