/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of a given width on a stream: colours, wrapping with a hanging indent, cells of tables.
 * Whatever passes through here is escaped. */
#include "report/report.h"

#include <string.h>

#define MIN_WIDTH 60

static const char *const inks[] = {
    [BP_INK_PLAIN] = "",           [BP_INK_BOLD] = "\033[1m",       [BP_INK_DIM] = "\033[2m",
    [BP_INK_ERROR] = "\033[1;31m", [BP_INK_WARNING] = "\033[1;33m", [BP_INK_HINT] = "\033[1;36m",
    [BP_INK_OLD] = "\033[31m",     [BP_INK_NEW] = "\033[32m",
};

bp_page bp_page_begin(FILE *out, const bp_report_style *style) {
    int width = style->width < MIN_WIDTH ? MIN_WIDTH : style->width;
    return (bp_page){.out = out, .colour = style->colour, .width = width};
}

static void spaces(bp_page *page, int n) {
    if (n <= 0) return;
    fprintf(page->out, "%*s", n, "");
    page->column += n;
}

/* The margin is written with the first thing on a line, so that empty lines stay empty. */
static void begin(bp_page *page, bp_ink ink) {
    if (page->column < page->indent) spaces(page, page->indent - page->column);
    if (page->colour) fputs(inks[ink], page->out);
}

static void end(bp_page *page, bp_ink ink) {
    if (page->colour && ink != BP_INK_PLAIN) fputs("\033[0m", page->out);
}

void bp_page_end_line(bp_page *page) {
    fputc('\n', page->out);
    page->column = 0;
}

void bp_page_pad(bp_page *page, int column) {
    spaces(page, page->indent + column - page->column);
}

void bp_page_put(bp_page *page, bp_ink ink, const char *text) {
    begin(page, ink);
    for (size_t left = strlen(text); left > 0;) {
        bp_glyph glyph = bp_glyph_next(text, left);
        fputs(glyph.bytes, page->out);
        page->column += glyph.columns;
        text += glyph.n_read;
        left -= glyph.n_read;
    }
    end(page, ink);
}

void bp_page_add(bp_page *page, bp_ink ink, const char *format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    bp_page_put(page, ink, text);
}

int bp_text_columns(const char *text) {
    int columns = 0;
    for (size_t left = strlen(text); left > 0;) {
        bp_glyph glyph = bp_glyph_next(text, left);
        columns += glyph.columns;
        text += glyph.n_read;
        left -= glyph.n_read;
    }
    return columns;
}

static int word_columns(const char *word, size_t n_bytes) {
    int columns = 0;
    while (n_bytes > 0) {
        bp_glyph glyph = bp_glyph_next(word, n_bytes);
        columns += glyph.columns;
        word += glyph.n_read;
        n_bytes -= glyph.n_read;
    }
    return columns;
}

static void break_line(bp_page *page, int hang) {
    bp_page_end_line(page);
    bp_page_pad(page, hang);
}

void bp_page_wrap(bp_page *page, bp_ink ink, int hang, const char *text, size_t n_bytes) {
    const char *end_of_text = text + n_bytes;
    bool first = true;
    begin(page, ink);
    while (text < end_of_text) {
        const char *blank = memchr(text, ' ', (size_t)(end_of_text - text));
        const char *word_end = blank ? blank : end_of_text;
        int columns = word_columns(text, (size_t)(word_end - text));
        bool fits = page->column + (first ? 0 : 1) + columns <= page->width;
        if (!fits && (!first || page->column > page->indent + hang))
            break_line(page, hang);
        else if (!first)
            spaces(page, 1);
        while (text < word_end) {
            bp_glyph glyph = bp_glyph_next(text, (size_t)(word_end - text));
            if (page->column + glyph.columns > page->width) break_line(page, hang);
            fputs(glyph.bytes, page->out);
            page->column += glyph.columns;
            text += glyph.n_read;
        }
        first = false;
        if (blank) text++;
    }
    end(page, ink);
}

void bp_page_cell(bp_page *page, bp_ink ink, int columns, bool right, const char *text) {
    int wanted = bp_text_columns(text);
    bool cut = wanted > columns;
    if (right && !cut) spaces(page, columns - wanted);
    begin(page, ink);
    int room = cut ? columns - 1 : columns, used = 0;
    for (size_t left = strlen(text); left > 0;) {
        bp_glyph glyph = bp_glyph_next(text, left);
        if (used + glyph.columns > room) break;
        fputs(glyph.bytes, page->out);
        used += glyph.columns;
        text += glyph.n_read;
        left -= glyph.n_read;
    }
    if (cut) {
        fputs("…", page->out);
        used++;
    }
    end(page, ink);
    page->column += used;
    if (!right || cut) spaces(page, columns - used);
}
