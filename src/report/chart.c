/* SPDX-License-Identifier: Apache-2.0 */
#include "report/chart.h"

#include <inttypes.h>
#include <string.h>

#define SHADES 64.0 /* fewer changes of colour in a line, and no eye tells more */

/* What a bp_paint's colours are: a kind and its value. */
enum { KIND_16 = 1 << 24, KIND_256 = 2 << 24, KIND_24BIT = 3 << 24, VALUE = 0xFFFFFF };

uint64_t bp_chart_start(const bp_chart *chart, int n, int cell) {
    const uint64_t span = (uint64_t)(chart->last - chart->first) + 1, all = (uint64_t)n;
    const uint64_t at = (uint64_t)cell; /* span * cell / n, without overflow */
    return (uint64_t)chart->first + span / all * at + span % all * at / all;
}

int bp_chart_column(const bp_chart *chart, int64_t step) {
    if (step < chart->first || step > chart->last) return -1;
    int low = 0, high = chart->columns - 1; /* the last one that does not begin behind it */
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (bp_chart_start(chart, chart->columns, middle) <= (uint64_t)step)
            low = middle;
        else
            high = middle - 1;
    }
    /* Of columns that are narrower than a step it has several: the first. */
    while (low > 0 && bp_chart_start(chart, chart->columns, low - 1) == (uint64_t)step) low--;
    return low;
}

const char *bp_chart_either(const bp_chart *chart, const char *text, const char *ascii) {
    return chart->characters == BP_CHARACTERS_ASCII ? ascii : text;
}

const char *bp_chart_number(const bp_chart *chart, char bytes[12], uint32_t number) {
    if (chart->characters != BP_CHARACTERS_ASCII && number >= 1 && number <= 20)
        (void)snprintf(bytes, 12, "\xE2\x91%c", (char)(0x9F + number)); /* U+2460 ... */
    else
        (void)snprintf(bytes, 12, "%" PRIu32, number);
    return bytes;
}

/* --- colours ------------------------------------------------------------------------------------
 */

static uint32_t colour_of(const bp_chart *chart, bp_rgb rgb, uint8_t of_16) {
    switch (chart->depth) {
    case BP_COLOURS_24BIT:
        return KIND_24BIT | (uint32_t)rgb.red << 16 | (uint32_t)rgb.green << 8 | rgb.blue;
    case BP_COLOURS_256:
        return KIND_256 | bp_colour_256(rgb);
    case BP_COLOURS_16:
        return KIND_16 | of_16;
    case BP_COLOURS_NONE:
        break;
    }
    return 0;
}

static double shade(double place) {
    return floor(place * SHADES) / (SHADES - 1);
}

uint32_t bp_chart_colour(const bp_chart *chart, bp_colour_map map, double place) {
    return colour_of(chart, bp_colour_at(map, shade(place)), bp_colour_16(map, place));
}

uint32_t bp_chart_contrast(const bp_chart *chart, bp_colour_map map, double place) {
    const bool light = bp_colour_is_light(bp_colour_at(map, shade(place)));
    const uint8_t level = light ? 0 : 255;
    return colour_of(chart, (bp_rgb){level, level, level}, light ? 0 : 15);
}

uint32_t bp_chart_accent(const bp_chart *chart, uint8_t colour) {
    return chart->depth == BP_COLOURS_NONE ? 0 : KIND_16 | (uint32_t)colour;
}

static void put_colour(FILE *out, uint32_t colour, bool ground) {
    const unsigned value = colour & VALUE;
    switch (colour & ~(uint32_t)VALUE) {
    case KIND_16:
        fprintf(out, ";%u", value + (value < 8 ? 30 : 82) + (ground ? 10 : 0));
        break;
    case KIND_256:
        fprintf(out, ";%d;5;%u", ground ? 48 : 38, value);
        break;
    case KIND_24BIT:
        fprintf(out, ";%d;2;%u;%u;%u", ground ? 48 : 38, value >> 16, value >> 8 & 0xFF,
                value & 0xFF);
        break;
    default:
        break;
    }
}

void bp_chart_paint(bp_chart *chart, bp_paint paint) {
    const bp_paint *now = &chart->paint;
    if (chart->depth == BP_COLOURS_NONE) return;
    if (now->ink == paint.ink && now->ground == paint.ground && now->reverse == paint.reverse &&
        now->bold == paint.bold)
        return;
    fputs("\033[0", chart->out);
    if (paint.bold) fputs(";1", chart->out);
    if (paint.reverse) fputs(";7", chart->out);
    put_colour(chart->out, paint.ink, false);
    put_colour(chart->out, paint.ground, true);
    fputc('m', chart->out);
    chart->paint = paint;
}

void bp_chart_end_line(bp_chart *chart) {
    bp_chart_paint(chart, (bp_paint){0});
    fputc('\n', chart->out);
}

/* --- axis ---------------------------------------------------------------------------------------
 */

/* 1, 2 or 5 times a power of ten, so that numbers have room. */
static int64_t tick_distance(const bp_chart *chart) {
    const int64_t span = chart->last - chart->first + 1;
    const int room = snprintf(NULL, 0, "%" PRId64, chart->last) + 4;
    const int64_t most = chart->columns / room > 1 ? chart->columns / room : 1;
    int64_t distance = 1;
    for (int i = 0; span / distance > most && distance <= INT64_MAX / 10; i++)
        distance = i % 3 == 1 ? distance / 2 * 5 : distance * 2;
    return distance;
}

void bp_chart_axis(bp_chart *chart) {
    const int64_t distance = tick_distance(chart);
    int column = 0;
    fprintf(chart->out, "%*s ", chart->margin - 1, "step");
    const int64_t rest = chart->first % distance;
    for (int64_t step = chart->first - rest + (rest ? distance : 0); step <= chart->last;
         step += distance) {
        const int at = bp_chart_column(chart, step);
        char text[32];
        const int n = snprintf(text, sizeof text, "%" PRId64, step) + 1;
        if (at < column || at + n > chart->columns) continue;
        const bool simple = chart->characters != BP_CHARACTERS_ALL;
        fprintf(chart->out, "%*s%s%s", at - column, "", simple ? "|" : "╵", text);
        column = at + n;
        if (step > INT64_MAX - distance) break;
    }
    bp_chart_end_line(chart);
}
