/* SPDX-License-Identifier: Apache-2.0 */
/* Messages for people, and what the terminal can do. */
#include "cli/cli.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define MAX_WIDTH 120

void bp_say(const char *format, ...) {
    char text[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fputs("backprobe: ", stderr);
    bp_report_escaped(stderr, text);
    fputc('\n', stderr);
}

void bp_say_error(const char *path, const bp_error *error) {
    if (path && error->line > 0 && strncmp(error->text, path, strlen(path)) != 0)
        bp_say("%s:%d:%d: %s", path, (int)error->line, (int)error->column, error->text);
    else
        bp_say("%s", error->text);
}

/* errno of an earlier failed write is long gone: the pipe itself is asked. */
static bool is_closed_pipe(int file) {
    struct pollfd asked = {.fd = file, .events = POLLOUT};
    return poll(&asked, 1, 0) == 1 && (asked.revents & POLLERR);
}

int bp_close_output(int code) {
    bool failed = ferror(stdout);
    errno = 0;
    if (fflush(stdout) == 0 && !failed) return code;
    int reason = errno;
    if (reason == EPIPE || is_closed_pipe(STDOUT_FILENO)) return code;
    bp_say("cannot write to standard output: %s", reason ? strerror(reason) : "a write failed");
    return BP_EXIT_FAILED;
}

static bool is_set(const char *name) {
    const char *value = getenv(name);
    return value && *value;
}

static bool wants_colour(FILE *out, const char *when) {
    if (strcmp(when, "always") == 0) return true;
    if (strcmp(when, "never") == 0) return false;
    if (is_set("NO_COLOR")) return false;
    if (is_set("FORCE_COLOR")) return strcmp(getenv("FORCE_COLOR"), "0") != 0;
    const char *terminal = getenv("TERM");
    return isatty(fileno(out)) && !(terminal && strcmp(terminal, "dumb") == 0);
}

bp_report_style bp_style_of(FILE *out, const bp_common_options *options) {
    bp_report_style style = {wants_colour(out, options->colour), BP_REPORT_WIDTH};
    struct winsize size;
    if (isatty(fileno(out)) && ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        style.width = size.ws_col < MAX_WIDTH ? size.ws_col : MAX_WIDTH;
    return style;
}
