/* SPDX-License-Identifier: Apache-2.0 */
/* Values for json-c's documents; of this room only. */
#ifndef BP_REPORT_JSON_H
#define BP_REPORT_JSON_H

#include "report/report.h"

#include <json-c/json.h>

/* json-c answers a failed allocation with NULL, which is also JSON's null: told apart here. */
typedef struct bp_json_builder {
    bool failed;
} bp_json_builder;

json_object *bp_json_checked(bp_json_builder *b, json_object *value);
/* Both take the value. */
void bp_json_add(bp_json_builder *b, json_object *object, const char *key, json_object *value);
void bp_json_append(bp_json_builder *b, json_object *array, json_object *value);
json_object *bp_json_text(bp_json_builder *b, const char *text); /* NULL is null */
json_object *bp_json_integer(bp_json_builder *b, int64_t value);
json_object *bp_json_count(bp_json_builder *b, uint64_t value);
json_object *bp_json_boolean(bp_json_builder *b, bool value);
json_object *bp_json_number(bp_json_builder *b, double value);
json_object *bp_json_measured(bp_json_builder *b, double value); /* NaN is null */
/* The document as *text, released with free(); a newline ends it. Takes the document. */
bp_status bp_json_finish(bp_json_builder *b, json_object *document, bool pretty, char **text,
                         bp_error *error);

/* --- json.c: a finding with all but its consequences, as backprobe.findings/1 has it. */
json_object *bp_json_finding(bp_json_builder *b, const bp_report_run *run,
                             const bp_finding *finding);
/* The whole document backprobe.findings/1. */
json_object *bp_json_findings(bp_json_builder *b, const bp_report_run *run);

#endif
