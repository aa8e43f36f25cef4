/* SPDX-License-Identifier: Apache-2.0 */
/* Where two runs part: step records of both in, for each layer and quantity the first step at which
 * they differ out. Memory is taken at open, by the sizes of the networks. */
#ifndef BP_REPORT_APART_H
#define BP_REPORT_APART_H

#include "report/report.h"
#include <backprobe/record.h>

/* The order in which a step is computed. */
typedef enum bp_phase {
    BP_PHASE_DATA,
    BP_PHASE_PARAMETERS, /* before the update */
    BP_PHASE_FORWARD,
    BP_PHASE_LOSS,
    BP_PHASE_BACKWARD,
    BP_PHASE_GRADIENT,
    BP_PHASE_LEARNING_RATE,
    BP_PHASE_UPDATE,
    BP_PHASE_EVALUATION,
    BP_N_PHASES
} bp_phase;
const char *bp_phase_name(bp_phase phase); /* "forward pass" */

/* What is known of one quantity of one layer that both runs have. */
typedef struct bp_apart_cell {
    int64_t first_step; /* at which it differs; -1: never */
    double a, b;        /* there */
    int64_t last_step;  /* the last at which both measured it; -1: never */
    double last_a, last_b;
    uint64_t n_compared, n_different;
    uint64_t only_a, only_b; /* records in which one alone measured it */
} bp_apart_cell;

typedef struct bp_apart {
    const bp_model *a, *b;
    double tolerance;        /* relative; 0: as exactly as the log has it */
    uint32_t n_rows;         /* layers of the same name, and row 0 */
    uint32_t *row_a, *row_b; /* their numbers in either network, ascending in a */
    bp_apart_cell *cells;    /* [n_rows][BP_N_QUANTITIES] */
    int64_t first_common, last_common;
    int64_t last_a, last_b;            /* steps; -1 without any */
    uint64_t n_common, only_a, only_b; /* steps */
    bool out_of_step;                  /* they were not looked at in full in the same steps */
} bp_apart;

/* The models are borrowed. */
BP_MUST_USE bp_status bp_apart_open(bp_apart *apart, const bp_model *a, const bp_model *b,
                                    double tolerance, bp_error *error);
void bp_apart_close(bp_apart *apart);
/* The records of one step; NULL where a run has none of it. */
void bp_apart_step(bp_apart *apart, const bp_record *a, const bp_record *b);

/* A quantity that differs, in the order of (step, computation). */
typedef struct bp_apart_place {
    uint32_t row; /* of `cells` */
    bp_quantity quantity;
    bp_phase phase;
    const bp_apart_cell *cell;
} bp_apart_place;
/* *places is released with free(); NULL when there are none. */
BP_MUST_USE bp_status bp_apart_places(const bp_apart *apart, bp_apart_place **places, size_t *n,
                                      bp_error *error);
/* |a - b| / the larger of them; Inf where one is not finite and the other is another value. */
double bp_apart_difference(double a, double b);
/* The loss and the like in every bit, what the log has as a logarithm in four digits. 40 bytes are
 * enough. */
const char *bp_apart_number(char *bytes, size_t capacity, bp_quantity quantity, double value);

/* --- apart_model.c: what the networks and recipes do not share ---------------------------------
 */

typedef struct bp_apart_setting {
    const char *key; /* "seed", "activation"; static */
    char a[40], b[40];
} bp_apart_setting;
#define BP_APART_MAX_SETTINGS 32u
/* Of the recipes. Returns how many were written. */
uint32_t bp_apart_recipe(const bp_apart *apart, bp_apart_setting settings[BP_APART_MAX_SETTINGS]);
/* Of a layer that both have. */
uint32_t bp_apart_layer(const bp_apart *apart, uint32_t row,
                        bp_apart_setting settings[BP_APART_MAX_SETTINGS]);
/* A layer of one network (in_a: of a) whose name the other does not have. */
bool bp_apart_is_single(const bp_apart *apart, bool in_a, uint32_t id);
/* Something of the networks differs; recipes do not count. */
bool bp_apart_networks(const bp_apart *apart);

/* --- apart_text.c, apart_json.c ----------------------------------------------------------------
 */

typedef struct bp_apart_report {
    const bp_apart *apart;
    const bp_report_run *a, *b;
    const bp_apart_place *places;
    size_t n_places;
} bp_apart_report;
/* The runs are not the same: a value, a network or a length. */
bool bp_apart_parts(const bp_apart_report *report);
void bp_apart_text(FILE *out, const bp_report_style *style, const bp_apart_report *report);
/* Schema backprobe.diff/1; *text is released with free(). */
BP_MUST_USE bp_status bp_apart_json(char **text, const bp_apart_report *report, bp_error *error);

#endif
