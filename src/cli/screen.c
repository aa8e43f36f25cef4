/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/screen.h"
#include "report/report.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define ENTER "\033[?1049h\033[?25l\033[2J" /* the other screen, without a cursor */
#define LEAVE "\033[0m\033[?25h\033[?1049l"

/* Signals can tell nobody else. */
static volatile sig_atomic_t asked_to_end, asked_to_stop;
static const int caught[] = {SIGINT, SIGTERM, SIGHUP, SIGTSTP, SIGWINCH};
enum { N_CAUGHT = sizeof caught / sizeof *caught };
static struct sigaction before[N_CAUGHT];

static void on_signal(int number) {
    if (number == SIGTSTP)
        asked_to_stop = 1;
    else if (number != SIGWINCH) /* which only wakes: the size is asked for each picture */
        asked_to_end = 1;
}

bool bp_screen_size(int *width, int *height) {
    struct winsize size;
    if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) return false;
    if (size.ws_col == 0 || size.ws_row == 0) return false;
    *width = size.ws_col;
    *height = size.ws_row;
    return true;
}

static void catch_signals(void) {
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < N_CAUGHT; i++) sigaction(caught[i], &action, &before[i]);
}

void bp_screen_begin(bp_screen *screen) {
    *screen = (bp_screen){0};
    asked_to_end = asked_to_stop = 0;
    catch_signals();
    fputs(ENTER, stdout);
    fflush(stdout);
}

void bp_screen_end(bp_screen *screen) {
    fputs(LEAVE, stdout);
    fflush(stdout);
    for (int i = 0; i < N_CAUGHT; i++) sigaction(caught[i], &before[i], NULL);
    free(screen->shown);
    screen->shown = NULL;
}

/* --- pictures -----------------------------------------------------------------------------------
 */

static size_t sequence_bytes(const char *text, size_t n_bytes) {
    if (text[0] != '\033') return 0;
    const char *end = memchr(text, 'm', n_bytes);
    return end ? (size_t)(end - text) + 1 : n_bytes;
}

/* Bytes of a line that fill so many columns at most; *columns: how many they are. */
static size_t cut(const char *line, size_t n_bytes, int most, int *columns) {
    size_t at = 0;
    *columns = 0;
    while (at < n_bytes) {
        const size_t sequence = sequence_bytes(line + at, n_bytes - at);
        if (sequence > 0) {
            at += sequence;
            continue;
        }
        const bp_glyph glyph = bp_glyph_next(line + at, n_bytes - at);
        if (*columns + glyph.columns > most) break;
        *columns += glyph.columns;
        at += glyph.n_read;
    }
    return at;
}

/* Where the new line is to be taken up: at the last sequence that sets all anew, "\033[0…", that
 * begins within what both share. */
static size_t shared_bytes(const char *a, size_t n_a, const char *b, size_t n_b) {
    size_t n = 0;
    while (n < n_a && n < n_b && a[n] == b[n]) n++;
    if (n == n_a && n == n_b) return n;
    while (n > 0 && !(n + 3 <= n_a && n + 3 <= n_b && memcmp(a + n, "\033[0", 3) == 0 &&
                      memcmp(b + n, "\033[0", 3) == 0))
        n--;
    return n;
}

static void put_line(const bp_screen *screen, int row, const char *old, size_t n_old,
                     const char *line, size_t n_bytes) {
    int columns;
    const size_t shared = old ? shared_bytes(old, n_old, line, n_bytes) : 0;
    if (old && shared == n_bytes && shared == n_old) return;
    const size_t fits = cut(line, n_bytes, screen->width, &columns);
    (void)cut(line, shared, screen->width, &columns);
    if (shared >= fits && shared > 0 && columns >= screen->width) return;
    printf("\033[%d;%dH\033[0m%.*s\033[0m", row, columns + 1, (int)(fits - shared), line + shared);
    (void)cut(line, fits, screen->width, &columns);
    if (columns < screen->width)
        fputs("\033[K", stdout); /* at the edge it would take a character */
}

void bp_screen_put(bp_screen *screen, char *text) {
    int width = screen->width, height = screen->height;
    (void)bp_screen_size(&width, &height);
    if (width != screen->width || height != screen->height) {
        free(screen->shown);
        screen->shown = NULL;
        fputs("\033[0m\033[2J", stdout);
    }
    screen->width = width;
    screen->height = height;
    const char *old = screen->shown, *line = text;
    int row = 1;
    for (; *line && row <= height; row++) {
        const size_t n_bytes = strcspn(line, "\n"), n_old = old && *old ? strcspn(old, "\n") : 0;
        put_line(screen, row, old && *old ? old : NULL, n_old, line, n_bytes);
        line += n_bytes + (line[n_bytes] == '\n');
        if (old && *old) old += n_old + (old[n_old] == '\n');
    }
    if (row <= height && old && *old) printf("\033[%d;1H\033[0m\033[J", row);
    fflush(stdout);
    free(screen->shown);
    screen->shown = text;
}

static void suspend(bp_screen *screen) {
    bp_screen_end(screen);
    raise(SIGSTOP); /* and here it goes on */
    bp_screen_begin(screen);
}

bool bp_screen_wait(bp_screen *screen, double seconds) {
    const struct timespec time = {(time_t)seconds,
                                  (long)((seconds - (double)(time_t)seconds) * 1e9)};
    if (!asked_to_end && !asked_to_stop) nanosleep(&time, NULL);
    if (asked_to_stop && !asked_to_end) suspend(screen);
    return !asked_to_end;
}
