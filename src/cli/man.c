/* SPDX-License-Identifier: Apache-2.0 */
/* The manual page, from the tables of options. */
#include "cli/cli.h"

#include <string.h>

/* A backslash and a hyphen mean something to troff, as does a dot at the beginning of a line; what
 * is not ASCII is given by its code, so that the page needs no encoding. */
static void put(FILE *out, const char *text) {
    for (size_t left = strlen(text); left > 0;) {
        bp_glyph glyph = bp_glyph_next(text, left);
        if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '-')
            fputs("\\-", out);
        else if (*text == '.' || *text == '\'')
            fprintf(out, "\\&%c", *text);
        else if (glyph.code >= 0x80)
            fprintf(out, "\\[u%04X]", glyph.code);
        else
            fputs(glyph.bytes, out);
        text += glyph.n_read;
        left -= glyph.n_read;
    }
}

static void put_line(FILE *out, const char *macro, const char *text) {
    fputs(macro, out);
    put(out, text);
    fputc('\n', out);
}

static void put_option(FILE *out, const bp_option *option) {
    fputs(".TP\n", out);
    if (option->letter) fprintf(out, "\\fB\\-%c\\fR, ", option->letter);
    fputs("\\fB", out);
    put(out, option->kind == BP_OPTION_SWITCH ? "--[no-]" : "--");
    put(out, option->name);
    fputs("\\fR", out);
    if (option->value) {
        fputs(" \\fI", out);
        put(out, option->value);
        fputs("\\fR", out);
    }
    fputc('\n', out);
    put(out, option->help);
    if (option->choices) {
        fputs(" (", out);
        put(out, option->choices);
        fputc(')', out);
    }
    fputc('\n', out);
}

static void put_command(FILE *out, const bp_command *command) {
    fputs(".SS \"backprobe ", out);
    put(out, command->name);
    fputs(*command->arguments ? " " : "", out);
    put(out, command->arguments);
    put(out, " [OPTION]…");
    fputs("\"\n", out);
    put_line(out, "", command->description);
    for (const bp_option *o = command->options; o->name; o++) put_option(out, o);
    put_line(out, ".PP\nExit code: ", command->exits);
    for (const bp_example *e = command->examples; e->line; e++) {
        put_line(out, ".PP\n.nf\n.RS\n", e->line);
        put_line(out, ".RE\n.fi\n.RS\n", e->does);
        fputs(".RE\n", out);
    }
}

void bp_man_page(FILE *out) {
    fputs(".TH BACKPROBE 1 \"\" \"backprobe " BP_VERSION "\" \"User commands\"\n"
          ".SH NAME\nbackprobe \\- watches the gradients of deep networks while they train\n"
          ".SH SYNOPSIS\n\\fBbackprobe\\fR \\fICOMMAND\\fR [\\fIOPTION\\fR]\n"
          ".SH DESCRIPTION\n",
          out);
    put_line(out, "",
             "Trains deep networks and watches what the chain rule does to their gradients: "
             "which layers no longer learn or blow up, since which step, why with the measured "
             "numbers, and which change of the network file would mend it.");
    fputs(".SH COMMANDS\n", out);
    for (const bp_command *const *c = bp_commands; *c; c++) put_command(out, *c);
    fputs(".SH ENVIRONMENT\n.TP\n\\fBNO_COLOR\\fR, \\fBFORCE_COLOR\\fR\n", out);
    put_line(out, "",
             "No colours, or colours even where there is no terminal; --color decides "
             "before them.");
    fputs(".TP\n\\fBBP_CPU\\fR\n", out);
    put_line(out, "",
             "scalar, avx2, avx512 or neon: no better one is used for statistics. All give the "
             "same bits.");
    fputs(".SH FILES\n.TP\n\\fIruns/NAME\\-N\\fR\n", out);
    put_line(out, "",
             "The folder that a training run leaves: its log, the network file as used, "
             "the weights and the findings as JSON.");
}
