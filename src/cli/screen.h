/* SPDX-License-Identifier: Apache-2.0 */
/* A picture that is drawn again and again on a terminal: of a new one only what differs is sent.
 * Whatever ends the program by a signal that can be caught, the terminal is as it was. */
#ifndef BP_CLI_SCREEN_H
#define BP_CLI_SCREEN_H

#include "base/base.h"

typedef struct bp_screen {
    char *shown; /* the picture that stands there; NULL: it must be drawn whole */
    int width, height;
} bp_screen;

/* stdout's. False where it is none. */
bool bp_screen_size(int *width, int *height);
/* Takes the terminal over; one at a time. */
void bp_screen_begin(bp_screen *screen);
/* Lines of text with colours as bp_chart writes them; what is too much for the terminal is cut. The
 * text is taken, released with free(). */
void bp_screen_put(bp_screen *screen, char *text);
/* Gives it back. */
void bp_screen_end(bp_screen *screen);

/* Waits, or until a signal came. False: one that asks to end. Suspends the program and takes it up
 * again where that is asked for. */
bool bp_screen_wait(bp_screen *screen, double seconds);

#endif
