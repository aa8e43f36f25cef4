/* SPDX-License-Identifier: Apache-2.0 */
#include "report/run_document.h"
#include "record/series.h"
#include "report/json.h"

#include <backprobe/observe.h>
#include <string.h>

#define SCHEMA "backprobe.run/1"

/* The layers that every way from the input to the loss crosses. */
static json_object *path_of(bp_json_builder *b, const bp_model *model) {
    json_object *path = bp_json_checked(b, json_object_new_array());
    for (uint32_t cut = 0; cut <= bp_model_n_cuts(model); cut++)
        bp_json_append(b, path, bp_json_integer(b, bp_model_cut(model, cut)));
    return path;
}

static json_object *series_of(bp_json_builder *b, uint64_t columns) {
    json_object *array = bp_json_checked(b, json_object_new_array());
    for (unsigned i = 0; i < BP_N_SERIES; i++) {
        const bp_series series = (bp_series)i;
        if (!bp_series_is_in(series, columns)) continue;
        json_object *object = bp_json_checked(b, json_object_new_object());
        bp_json_add(b, object, "name", bp_json_text(b, bp_series_name(series)));
        bp_json_add(b, object, "meaning", bp_json_text(b, bp_series_meaning(series)));
        bp_json_add(b, object, "of",
                    bp_json_text(b, bp_series_is_of_layers(series) ? "layers" : "network"));
        bp_json_append(b, array, object);
    }
    return array;
}

static const char *const role_names[BP_N_ROLES] = {[BP_ROLE_ACTIVATION] = "activation",
                                                   [BP_ROLE_ERROR_OUTPUT] = "error_signal",
                                                   [BP_ROLE_PARAMETER] = "parameter",
                                                   [BP_ROLE_GRADIENT] = "gradient"};

const char *bp_histogram_role_name(uint32_t role) {
    return role < BP_N_ROLES ? role_names[role] : NULL;
}

bool bp_histogram_role_find(uint32_t *role, const char *name) {
    for (uint32_t i = 0; i < BP_N_ROLES; i++) {
        if (!role_names[i] || strcmp(role_names[i], name) != 0) continue;
        *role = i;
        return true;
    }
    return false;
}

static json_object *histograms_of(bp_json_builder *b, uint32_t roles) {
    json_object *array = bp_json_checked(b, json_object_new_array());
    for (uint32_t role = 0; role < BP_N_ROLES; role++)
        if (role_names[role] && roles >> role & 1)
            bp_json_append(b, array, bp_json_text(b, role_names[role]));
    return array;
}

bp_status bp_run_document(char **text, const bp_report_run *run, const bp_run_facts *facts,
                          bp_error *error) {
    bp_json_builder b = {false};
    json_object *document = bp_json_checked(&b, json_object_new_object());
    bp_json_add(&b, document, "schema", bp_json_text(&b, SCHEMA));
    bp_json_add(&b, document, "id", bp_json_text(&b, facts->id));
    bp_json_add(&b, document, "name", bp_json_text(&b, run->name));
    bp_json_add(&b, document, "live", bp_json_boolean(&b, facts->live));
    bp_json_add(&b, document, "read_fraction", bp_json_number(&b, facts->read_fraction));
    bp_json_add(&b, document, "path", path_of(&b, run->model));
    bp_json_add(&b, document, "series", series_of(&b, facts->columns));
    bp_json_add(&b, document, "histograms", histograms_of(&b, facts->histogram_roles));
    bp_json_add(&b, document, "findings", bp_json_findings(&b, run));
    bp_json_add(&b, document, "view_columns",
                facts->view_columns > 0 ? bp_json_integer(&b, facts->view_columns) : NULL);
    return bp_json_finish(&b, document, false, text, error);
}
