/* SPDX-License-Identifier: Apache-2.0 */
/* The networks of the demo; a test compares them with the files in examples/. */
#ifndef BP_CLI_DEMO_H
#define BP_CLI_DEMO_H

#include <stdbool.h>

typedef struct bp_demo_case {
    const char *name; /* of its files; NULL ends the table */
    const char *title, *says;
    const char *text; /* the network file */
    bool sick;
} bp_demo_case;
extern const bp_demo_case bp_demo_cases[];

#endif
