/* SPDX-License-Identifier: Apache-2.0 */
/* From a finding to changes of the network file, or of a program, that would mend it. */
#ifndef BACKPROBE_REMEDY_H
#define BACKPROBE_REMEDY_H

#include <backprobe/diagnosis.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One change: a key path of the network file and YAML flow text, "net[0].activation" := "tanh". */
typedef struct bp_edit {
    const char *key;
    const char *value;
} bp_edit;

typedef struct bp_remedy {
    const char *title;  /* "use tanh with Xavier initialisation" */
    const char *reason; /* what was predicted for it and for what was not chosen */
    uint32_t n_edits;
    const bp_edit *edits; /* in the order in which they are to be applied */
    uint32_t n_lines;     /* of a program, where bp_model_origin is "pytorch": Python on `model`, */
    const char *const *lines; /* `optimizer`, torch, and torch.nn as nn; comments say what no line
                                 from outside can do */
} bp_remedy;

/* *remedy is NULL where nothing is known to help. Everything in it belongs to it; released with
 * bp_remedy_close. allocator may be NULL; the model and the finding are only read. */
BP_API BP_MUST_USE bp_status bp_remedy_open(bp_remedy **remedy, const bp_model *model,
                                            const bp_finding *finding,
                                            const bp_allocator *allocator, bp_error *error);
BP_API void bp_remedy_close(bp_remedy *remedy);

#ifdef __cplusplus
}
#endif
#endif
