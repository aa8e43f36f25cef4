/* SPDX-License-Identifier: Apache-2.0 */
/* What is to be changed, said of layers and knobs; written as edits of a network file or as lines
 * of Python. Of this room only. */
#ifndef BP_REMEDY_PLAN_H
#define BP_REMEDY_PLAN_H

#include "remedy/remedy.h"

typedef struct bp_plan {
    bp_activation from, to; /* hidden layers with the one get the other; 0: activations stay */
    bp_init_kind init;      /* HE or XAVIER; 0: weights stay */
    uint32_t layer;         /* the only one whose weights are meant; 0: all, or `layers` */
    const uint32_t *layers; /* those whose weights are meant, borrowed from the finding */
    uint32_t n_layers;      /* 0: all */
    double learning_rate;   /* NaN: it stays */
    double clip_norm;       /* 0: gradients are not to be clipped */
    double warm_up_epochs;  /* 0: as it is, of these as well: */
    double decay;           /* of weights: AdamW's, or L2 */
    int64_t epochs;
    bool normalise_input;
    bool last_linear;     /* the last layer loses its activation */
    uint32_t gated_layer; /* becomes an LSTM, or if it is one gets a forget bias of 1 */
} bp_plan;

/* A hidden layer whose activation the plan changes. */
bool bp_plan_changes_activation(const bp_plan *plan, const bp_model *model, uint32_t id);
/* A layer whose weights the plan draws anew. */
bool bp_plan_draws_weights(const bp_plan *plan, const bp_model *model, uint32_t id);

/* --- edits.c -----------------------------------------------------------------------------------
 */

#define BP_MAX_EDITS 64
#define BP_EDIT_KEY_BYTES 64
#define BP_EDIT_VALUE_BYTES 96

typedef struct bp_edits {
    uint32_t n;
    bp_edit list[BP_MAX_EDITS];
    char key[BP_MAX_EDITS][BP_EDIT_KEY_BYTES];
    char value[BP_MAX_EDITS][BP_EDIT_VALUE_BYTES];
    bool too_many;
} bp_edits;

/* The network file's key paths reach what the plan changes: nothing inside residual blocks. */
bool bp_edits_reach(const bp_plan *plan, const bp_model *model);
/* False when there are too many. */
bool bp_edits_write(bp_edits *edits, const bp_plan *plan, const bp_model *model);

/* --- code.c: text that grows -------------------------------------------------------------------
 */

typedef struct bp_code {
    bp_allocator allocator;
    char *bytes; /* ends with NUL once anything was added */
    size_t length, capacity;
    bool failed; /* no memory */
} bp_code;

void bp_code_finish(bp_code *code);
void bp_code_add(bp_code *code, const char *format, ...) BP_PRINTF(2, 3);
/* A literal of Python. */
void bp_code_text(bp_code *code, const char *text);

/* --- names.c: many names in a few words ----------------------------------------------------------
 */

typedef struct bp_names {
    const char **list;
    uint32_t n, capacity;
    bool failed;
} bp_names;

void bp_names_add(bp_names *names, const bp_allocator *allocator, const char *name); /* borrowed */
void bp_names_finish(bp_names *names, const bp_allocator *allocator);

typedef enum bp_name_form {
    BP_NAME_PATH, /* "model.net[0]" */
    BP_NAME_TEXT  /* a text that get_submodule takes */
} bp_name_form;

/* Adds how one module is named. */
bp_name_form bp_names_add_one(bp_code *code, const char *name);
/* Adds `for i in range(0, 9, 2):` or `for name in […]:`, and to `one` what names the module inside.
 * At least two names, each once. */
bp_name_form bp_names_add_loop(bp_code *code, bp_code *one, const bp_names *names);

/* --- pytorch.c
 * ------------------------------------------------------------------------------------ */

/* Lines of Python on `model` and `optimizer`, with torch and torch.nn as nn. Nothing is written
 * where a layer that is meant has no name that could be used. */
void bp_pytorch_write(bp_code *code, const bp_plan *plan, const bp_model *model);

#endif
