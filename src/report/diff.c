/* SPDX-License-Identifier: Apache-2.0 */
/* Which lines differ between two texts: longest common subsequence of what lies between the common
 * beginning and the common end. */
#include "report/report.h"

#include <stdlib.h>
#include <string.h>

/* Above this many differing lines on a side they count as wholly replaced: a remedy changes a few.
 */
#define MAX_LCS_LINES 512u
#define MAX_PRINTED 12u
#define MAX_LINE_BYTES 600u
#define AROUND 24u /* bytes shown before and behind a change in a long line */

typedef struct lines {
    const char *text; /* at the first line that is left */
    const char *end;
    uint32_t number; /* of that line */
    uint32_t count;
} lines;

static size_t line_bytes(const char *text, const char *end) {
    const char *newline = memchr(text, '\n', (size_t)(end - text));
    return (size_t)((newline ? newline : end) - text);
}

static const char *next_line(const char *text, const char *end) {
    const char *after = text + line_bytes(text, end);
    return after < end ? after + 1 : end;
}

static bool same_line(const char *a, const char *a_end, const char *b, const char *b_end) {
    size_t n = line_bytes(a, a_end);
    return n == line_bytes(b, b_end) && memcmp(a, b, n) == 0;
}

static lines lines_of(const char *text) {
    lines l = {.text = text, .end = text + strlen(text), .number = 1};
    for (const char *at = text; at < l.end; at = next_line(at, l.end)) l.count++;
    return l;
}

static void trim_common(lines *a, lines *b) {
    while (a->count > 0 && b->count > 0 && same_line(a->text, a->end, b->text, b->end)) {
        a->text = next_line(a->text, a->end);
        b->text = next_line(b->text, b->end);
        a->number++, b->number++, a->count--, b->count--;
    }
}

static void starts_of(const lines *l, const char **starts) {
    const char *at = l->text;
    for (uint32_t i = 0; i < l->count; i++, at = next_line(at, l->end)) starts[i] = at;
}

typedef struct output {
    bp_diff_line *lines;
    uint32_t capacity, n;
} output;

static void emit(output *out, const lines *side, const char *text, uint32_t index, bool added,
                 bool begins) {
    if (out->n < out->capacity)
        out->lines[out->n] = (bp_diff_line){.added = added,
                                            .begins = begins,
                                            .number = side->number + index,
                                            .text = text,
                                            .n_bytes = line_bytes(text, side->end)};
    out->n++;
}

/* old[i0 ... i1) was replaced by new[j0 ... j1): as many by as many reads best line by line. */
static void emit_change(output *out, const lines *a, const char **old, uint32_t i0, uint32_t i1,
                        const lines *b, const char **new, uint32_t j0, uint32_t j1) {
    if (i1 - i0 == j1 - j0) {
        for (uint32_t k = 0; k < i1 - i0; k++) {
            emit(out, a, old[i0 + k], i0 + k, false, true);
            emit(out, b, new[j0 + k], j0 + k, true, false);
        }
        return;
    }
    for (uint32_t i = i0; i < i1; i++) emit(out, a, old[i], i, false, i == i0);
    for (uint32_t j = j0; j < j1; j++) emit(out, b, new[j], j, true, j == j0 && i0 == i1);
}

/* length[i][j]: of the longest common subsequence of old[i ...] and new[j ...]. */
static void fill_lcs(uint16_t *length, const lines *a, const char **old, const lines *b,
                     const char **new) {
    uint32_t columns = b->count + 1;
    for (uint32_t i = a->count; i-- > 0;)
        for (uint32_t j = b->count; j-- > 0;) {
            uint16_t down = length[(i + 1) * columns + j], right = length[i * columns + j + 1];
            length[i * columns + j] = same_line(old[i], a->end, new[j], b->end)
                                          ? (uint16_t)(length[(i + 1) * columns + j + 1] + 1)
                                          : (down > right ? down : right);
        }
}

static void walk(output *out, const uint16_t *length, const lines *a, const char **old,
                 const lines *b, const char **new) {
    uint32_t columns = b->count + 1, i = 0, j = 0, i0 = 0, j0 = 0;
    while (i < a->count && j < b->count) {
        if (same_line(old[i], a->end, new[j], b->end)) {
            emit_change(out, a, old, i0, i, b, new, j0, j);
            i0 = ++i, j0 = ++j;
        } else if (length[(i + 1) * columns + j] >= length[i * columns + j + 1]) {
            i++;
        } else {
            j++;
        }
    }
    emit_change(out, a, old, i0, a->count, b, new, j0, b->count);
}

uint32_t bp_diff_lines(const char *before, const char *after, bp_diff_line *found,
                       uint32_t capacity) {
    lines a = lines_of(before), b = lines_of(after);
    output out = {.lines = found, .capacity = capacity};
    trim_common(&a, &b);
    const char **starts = calloc((size_t)a.count + b.count + 1, sizeof *starts);
    if (!starts) return 0;
    const char **old = starts, **new = starts + a.count;
    starts_of(&a, old);
    starts_of(&b, new);
    uint32_t tail = 0; /* the common end */
    while (tail < a.count && tail < b.count &&
           same_line(old[a.count - 1 - tail], a.end, new[b.count - 1 - tail], b.end))
        tail++;
    a.count -= tail;
    b.count -= tail;
    bool small = a.count <= MAX_LCS_LINES && b.count <= MAX_LCS_LINES;
    size_t cells = ((size_t)a.count + 1) * ((size_t)b.count + 1);
    uint16_t *length = small ? calloc(cells, sizeof *length) : NULL;
    if (length) {
        fill_lcs(length, &a, old, &b, new);
        walk(&out, length, &a, old, &b, new);
    } else {
        emit_change(&out, &a, old, 0, a.count, &b, new, 0, b.count);
    }
    free(length);
    free(starts);
    return out.n;
}

/* A line that takes the place of a long one, or is one: only what is around the change is shown. */
typedef struct part {
    size_t from, to;
} part;

static bool is_pair(const bp_diff_line *line, uint32_t n_left) {
    return n_left > 1 && !line[0].added && line[1].added && !line[1].begins;
}

static part whole_line(const bp_diff_line *line) {
    return (part){0, line->n_bytes < MAX_LINE_BYTES ? line->n_bytes : MAX_LINE_BYTES};
}

/* pair[0] was replaced by pair[1]. */
static part around_change(const bp_diff_line *pair, const bp_diff_line *line, size_t room) {
    const bp_diff_line *a = &pair[0], *b = &pair[1];
    const size_t shorter = a->n_bytes < b->n_bytes ? a->n_bytes : b->n_bytes;
    const size_t longer = a->n_bytes < b->n_bytes ? b->n_bytes : a->n_bytes;
    size_t head = 0, tail = 0;
    if (longer <= room) return whole_line(line);
    while (head < shorter && a->text[head] == b->text[head]) head++;
    while (tail < shorter - head &&
           a->text[a->n_bytes - 1 - tail] == b->text[b->n_bytes - 1 - tail])
        tail++;
    head = head > AROUND ? head - AROUND : 0;
    tail = tail > AROUND ? tail - AROUND : 0;
    while (head > 0 && line->text[head - 1] != ' ') head--;
    while (tail > 0 && line->text[line->n_bytes - tail] != ' ') tail--;
    part shown = {head, line->n_bytes - tail};
    if (shown.to - shown.from > MAX_LINE_BYTES) shown.to = shown.from + MAX_LINE_BYTES;
    return shown;
}

static void put_part(bp_page *page, int column, const bp_diff_line *line, part shown) {
    const bp_ink ink = line->added ? BP_INK_NEW : BP_INK_OLD;
    bp_page_put(page, ink, line->added ? "+" : "-");
    if (shown.from > 0) bp_page_put(page, BP_INK_DIM, "… ");
    bp_page_wrap(page, ink, column + 1, line->text + shown.from, shown.to - shown.from);
    if (shown.to < line->n_bytes) bp_page_put(page, BP_INK_DIM, " …");
    bp_page_end_line(page);
}

void bp_diff_print(bp_page *page, int hang, const char *before, const char *after) {
    bp_diff_line found[MAX_PRINTED];
    const bp_diff_line *pair = NULL;
    uint32_t n = bp_diff_lines(before, after, found, MAX_PRINTED);
    uint32_t shown = n < MAX_PRINTED ? n : MAX_PRINTED;
    int columns = 0; /* of "line 12: " */
    for (uint32_t i = 0; i < shown; i++) {
        int c = snprintf(NULL, 0, "line %u: ", found[i].number);
        if (c > columns) columns = c;
    }
    const int room = page->width - page->indent - hang - columns - 1;
    for (uint32_t i = 0; i < shown; i++) {
        const bp_diff_line *line = &found[i];
        if (is_pair(line, shown - i)) pair = line;
        bp_page_pad(page, hang);
        if (line->begins) bp_page_add(page, BP_INK_DIM, "line %u:", line->number);
        bp_page_pad(page, hang + columns);
        put_part(page, hang + columns, line,
                 pair ? around_change(pair, line, (size_t)(room > 0 ? room : 0))
                      : whole_line(line));
        if (line->added) pair = NULL;
    }
    if (n > shown) {
        bp_page_pad(page, hang);
        bp_page_add(page, BP_INK_DIM, "(and %u more lines)", n - shown);
        bp_page_end_line(page);
    }
}
