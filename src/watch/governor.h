/* SPDX-License-Identifier: Apache-2.0 */
/* Which steps are looked at in full: every n-th, or as many as a share of the run's time pays for.
 * Pure arithmetic over a clock that its caller reads; for the files of this room and its tests
 * only. A step that is not looked at is *light*: its loss and a tripwire alone. */
#ifndef BP_WATCH_GOVERNOR_H
#define BP_WATCH_GOVERNOR_H

#include "base/base.h"

/* What the first looks cost is not counted: a run of a second is seen whole. */
#define BP_GOVERNOR_FREE_SECONDS 0.2
/* Full steps after something looked wrong, whatever the budget says. */
#define BP_GOVERNOR_LOOK_STEPS 16
/* Light steps between two readings of the clock, and between two that are timed. */
#define BP_GOVERNOR_CLOCK_STEPS 8
#define BP_GOVERNOR_TIMED_STEPS 64

typedef struct bp_governor {
    int64_t every; /* > 0: every so many steps, nothing is decided */
    double budget; /* share of the run's time, 0 ... 1 */
    double opened; /* steady clock, seconds; likewise read: the last reading */
    double read;
    double watching;      /* seconds so far: in our calls and what they cost the host beside */
    double called;        /* seconds in our calls in this step */
    double plain_step;    /* seconds of a step without statistics; NaN before the first */
    double full_cost;     /* expected of the next full step; NaN before the first */
    double last_called;   /* seconds in our calls in the last full step */
    double recovery_cost; /* running: of the light step behind a full one */
    double loss_mean, loss_deviation; /* running; the mean is NaN before the first */
    int64_t n_since_read;             /* steps begun since the last reading */
    int64_t look;                     /* steps that an alarm wants to be full */
    uint64_t n_full, n_light;
    bool shared;       /* other ranks watch the same steps, each within a budget of its own */
    bool knows_beside; /* a full step was compared with a plain one */
    bool full;         /* the current step is */
    bool recovers;     /* it is the first behind a full one */
    bool timed;        /* our calls in it are */
} bp_governor;

/* every 0: by budget. */
void bp_governor_init(bp_governor *governor, int64_t every, double budget, double now);
/* To be said before the first step. Full steps of several ranks are of use when they are the same:
 * they are then multiples of a power of two, so that those of the rank that can afford fewest are
 * everybody's. */
void bp_governor_share(bp_governor *governor);
/* Whether the clock must be read for bp_governor_begin of this step. */
bool bp_governor_wants_clock(const bp_governor *governor, int64_t step);
/* A step begins; now: the steady clock, only read if wanted. Decides about this step. */
void bp_governor_begin(bp_governor *governor, int64_t step, double now);
/* The step that was decided on last was looked at otherwise. */
void bp_governor_observed(bp_governor *governor, bool full);
/* Seconds that one of our calls took in a step that is timed. */
void bp_governor_charge(bp_governor *governor, double seconds);
/* The loss of the current step; one far above the recent ones is an alarm. */
void bp_governor_note_loss(bp_governor *governor, double loss);
/* Something looks wrong: the next steps are looked at in full. */
void bp_governor_alarm(bp_governor *governor);
/* Seconds of the run up to the last reading. */
double bp_governor_run_seconds(const bp_governor *governor);

#endif
