/* SPDX-License-Identifier: Apache-2.0 */
/* One JSON object on one line, written as it comes: the events of a run. */
#include "report/report.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static void put_text(FILE *out, const char *text) {
    fputc('"', out);
    for (size_t left = strlen(text); left > 0;) {
        bp_glyph glyph = bp_glyph_next(text, left);
        if (glyph.code == '"' || glyph.code == '\\')
            fprintf(out, "\\%c", (int)glyph.code);
        else if (glyph.escaped && glyph.code >= 0x10000)
            fprintf(out, "\\u%04x\\u%04x", 0xD7C0u + (glyph.code >> 10),
                    0xDC00u + (glyph.code & 0x3FFu));
        else if (glyph.escaped)
            fprintf(out, "\\u%04x", glyph.code);
        else
            fputs(glyph.bytes, out);
        text += glyph.n_read;
        left -= glyph.n_read;
    }
    fputc('"', out);
}

static void put_key(bp_json_line *line, const char *key) {
    fputs(line->any ? "," : "{", line->out);
    line->any = true;
    put_text(line->out, key);
    fputc(':', line->out);
}

void bp_json_line_text(bp_json_line *line, const char *key, const char *text) {
    put_key(line, key);
    put_text(line->out, text);
}

void bp_json_line_integer(bp_json_line *line, const char *key, int64_t value) {
    put_key(line, key);
    fprintf(line->out, "%" PRId64, value);
}

void bp_json_line_number(bp_json_line *line, const char *key, double value) {
    char text[40];
    put_key(line, key);
    fprintf(line->out, isfinite(value) ? "%s" : "\"%s\"",
            bp_number_exact(text, sizeof text, value));
}

void bp_json_line_flag(bp_json_line *line, const char *key, bool value) {
    put_key(line, key);
    fputs(value ? "true" : "false", line->out);
}

void bp_json_line_json(bp_json_line *line, const char *key, const char *json) {
    put_key(line, key);
    fwrite(json, 1, strcspn(json, "\n"), line->out);
}

void bp_json_line_end(bp_json_line *line) {
    fputs(line->any ? "}\n" : "{}\n", line->out);
    fflush(line->out);
}
