/* SPDX-License-Identifier: Apache-2.0 */
/* The network file (NET.yaml, libbackprobe-train): parsed with source spans, checked, edited as
 * text so that comments survive. docs/network-file.md describes it. */
#ifndef BACKPROBE_NETFILE_H
#define BACKPROBE_NETFILE_H

#include <backprobe/model.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BP_NETFILE_MAX_BYTES ((size_t)4 << 20)
#define BP_NETFILE_MAX_DEPTH 64
#define BP_NETFILE_VERSION 1

typedef struct bp_netfile bp_netfile;

/* Parses and checks. path only names the file in messages. The error names line, column, what was
 * expected, what was found and the nearest known word. */
BP_API BP_MUST_USE bp_status bp_netfile_parse(bp_netfile **netfile, const char *path,
                                              const char *text, size_t n_bytes,
                                              const bp_allocator *allocator, bp_error *error);
BP_API void bp_netfile_close(bp_netfile *netfile);

/* The network, without shapes (bp_model_set_input gives them). Each call builds a new one that the
 * caller closes. Recipe: loss ... seed set; what the data decide is 0 or NaN. */
BP_API BP_MUST_USE bp_status bp_netfile_model(const bp_netfile *netfile, bp_model **model,
                                              bp_error *error);
/* What `data` says; borrowed, its folder not set. Where it stands goes into *line and *column
 * (1-based), each may be NULL. */
BP_API const bp_data_source *bp_netfile_data(const bp_netfile *netfile, int32_t *line,
                                             int32_t *column);
BP_API const char *bp_netfile_text(const bp_netfile *netfile); /* as parsed; borrowed */

/* One change of the file. key is a path: "init", "train.learning_rate", "net[0].activation",
 * "net[3].init", "net[0]"; value is YAML flow text: "xavier", "0.01", "{xavier: {gain: 1.2}}".
 * "net[0].activation" works on short items ("20 x dense 64 sigmoid") and long ones alike. A missing
 * key is inserted in its usual place. */
typedef struct bp_netfile_edit {
    const char *key;
    const char *value;
} bp_netfile_edit;
/* Applies the edits one after the other to text; everything else keeps its bytes, comments too.
 * The result is parsed again: an edit that makes no valid file fails. *edited is released with
 * bp_netfile_release. */
BP_API BP_MUST_USE bp_status bp_netfile_apply(const char *path, const char *text,
                                              const bp_netfile_edit *edits, size_t n_edits,
                                              const bp_allocator *allocator, char **edited,
                                              bp_error *error);
BP_API void bp_netfile_release(const bp_allocator *allocator, char *edited);

#ifdef __cplusplus
}
#endif
#endif
