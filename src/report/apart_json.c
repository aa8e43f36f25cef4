/* SPDX-License-Identifier: Apache-2.0 */
/* Where two runs part as JSON: schema backprobe.diff/1 (docs/diff.md). Additive only. */
#include "report/apart.h"
#include "report/json.h"

#define SCHEMA "backprobe.diff/1"

static json_object *step_of(bp_json_builder *b, int64_t step) {
    return step >= 0 ? bp_json_integer(b, step) : NULL;
}

static json_object *place_of(bp_json_builder *b, const bp_apart *apart,
                             const bp_apart_place *place) {
    const bp_apart_cell *cell = place->cell;
    const bp_layer *layer = bp_model_layer(apart->a, apart->row_a[place->row]);
    json_object *object = bp_json_checked(b, json_object_new_object());
    bp_json_add(b, object, "step", bp_json_integer(b, cell->first_step));
    bp_json_add(b, object, "phase", bp_json_text(b, bp_phase_name(place->phase)));
    bp_json_add(b, object, "layer", layer ? bp_json_text(b, layer->name) : NULL);
    bp_json_add(b, object, "quantity", bp_json_text(b, bp_quantity_name(place->quantity)));
    bp_json_add(b, object, "a", bp_json_number(b, cell->a));
    bp_json_add(b, object, "b", bp_json_number(b, cell->b));
    bp_json_add(b, object, "difference", bp_json_number(b, bp_apart_difference(cell->a, cell->b)));
    bp_json_add(b, object, "last_step", bp_json_integer(b, cell->last_step));
    bp_json_add(b, object, "last_a", bp_json_number(b, cell->last_a));
    bp_json_add(b, object, "last_b", bp_json_number(b, cell->last_b));
    bp_json_add(b, object, "last_difference",
                bp_json_number(b, bp_apart_difference(cell->last_a, cell->last_b)));
    bp_json_add(b, object, "compared", bp_json_count(b, cell->n_compared));
    bp_json_add(b, object, "different", bp_json_count(b, cell->n_different));
    return object;
}

static json_object *settings_of(bp_json_builder *b, const bp_apart_setting *settings, uint32_t n) {
    json_object *array = bp_json_checked(b, json_object_new_array());
    for (uint32_t i = 0; i < n; i++) {
        json_object *object = bp_json_checked(b, json_object_new_object());
        bp_json_add(b, object, "key", bp_json_text(b, settings[i].key));
        bp_json_add(b, object, "a", bp_json_text(b, settings[i].a));
        bp_json_add(b, object, "b", bp_json_text(b, settings[i].b));
        bp_json_append(b, array, object);
    }
    return array;
}

static json_object *single_of(bp_json_builder *b, const bp_apart *apart, bool in_a) {
    const bp_model *model = in_a ? apart->a : apart->b;
    json_object *array = bp_json_checked(b, json_object_new_array());
    for (uint32_t id = 1; id <= bp_model_n_layers(model); id++)
        if (bp_apart_is_single(apart, in_a, id))
            bp_json_append(b, array, bp_json_text(b, bp_model_layer(model, id)->name));
    return array;
}

static json_object *network_of(bp_json_builder *b, const bp_apart *apart) {
    bp_apart_setting settings[BP_APART_MAX_SETTINGS];
    json_object *network = bp_json_checked(b, json_object_new_object());
    json_object *changed = bp_json_checked(b, json_object_new_array());
    for (uint32_t row = 1; row < apart->n_rows; row++) {
        const uint32_t n = bp_apart_layer(apart, row, settings);
        if (n == 0) continue;
        json_object *layer = bp_json_checked(b, json_object_new_object());
        bp_json_add(b, layer, "layer",
                    bp_json_text(b, bp_model_layer(apart->a, apart->row_a[row])->name));
        bp_json_add(b, layer, "settings", settings_of(b, settings, n));
        bp_json_append(b, changed, layer);
    }
    bp_json_add(b, network, "same", bp_json_boolean(b, !bp_apart_networks(apart)));
    bp_json_add(b, network, "only_a", single_of(b, apart, true));
    bp_json_add(b, network, "only_b", single_of(b, apart, false));
    bp_json_add(b, network, "changed", changed);
    return network;
}

static json_object *steps_of(bp_json_builder *b, const bp_apart *apart) {
    json_object *steps = bp_json_checked(b, json_object_new_object());
    bp_json_add(b, steps, "common", bp_json_count(b, apart->n_common));
    bp_json_add(b, steps, "only_a", bp_json_count(b, apart->only_a));
    bp_json_add(b, steps, "only_b", bp_json_count(b, apart->only_b));
    bp_json_add(b, steps, "first_common", step_of(b, apart->first_common));
    bp_json_add(b, steps, "last_common", step_of(b, apart->last_common));
    bp_json_add(b, steps, "last_a", step_of(b, apart->last_a));
    bp_json_add(b, steps, "last_b", step_of(b, apart->last_b));
    return steps;
}

/* Quantities of which one run alone tells something. */
static json_object *uncompared_of(bp_json_builder *b, const bp_apart *apart) {
    json_object *array = bp_json_checked(b, json_object_new_array());
    for (int quantity = 0; quantity < BP_N_QUANTITIES; quantity++) {
        uint64_t compared = 0, single = 0;
        for (uint32_t row = 0; row < apart->n_rows; row++) {
            const bp_apart_cell *cell =
                &apart->cells[row * (size_t)BP_N_QUANTITIES + (size_t)quantity];
            compared += cell->n_compared;
            single += cell->only_a + cell->only_b;
        }
        if (compared == 0 && single > 0)
            bp_json_append(b, array, bp_json_text(b, bp_quantity_name((bp_quantity)quantity)));
    }
    return array;
}

static json_object *findings_of(bp_json_builder *b, const bp_report_run *run) {
    bp_findings findings;
    bp_findings_choose(&findings, run->diagnosis, run->model, run->choice);
    json_object *array = bp_json_checked(b, json_object_new_array());
    for (uint32_t i = 0; i < findings.n; i++) {
        const bp_finding *finding = &findings.list[i];
        json_object *object = bp_json_checked(b, json_object_new_object());
        bp_json_add(b, object, "problem", bp_json_text(b, bp_problem_name(finding->problem)));
        bp_json_add(b, object, "severity", bp_json_text(b, bp_severity_name(finding->severity)));
        bp_json_add(b, object, "since_step", bp_json_integer(b, finding->since_step));
        bp_json_append(b, array, object);
    }
    return array;
}

static json_object *run_of(bp_json_builder *b, const bp_report_run *run) {
    json_object *object = bp_json_checked(b, json_object_new_object());
    bp_json_add(b, object, "run", bp_json_text(b, run->name));
    bp_json_add(b, object, "end", bp_json_text(b, bp_run_end_name(run->end)));
    bp_json_add(b, object, "findings", findings_of(b, run));
    return object;
}

bp_status bp_apart_json(char **text, const bp_apart_report *report, bp_error *error) {
    bp_json_builder b = {false};
    const bp_apart *apart = report->apart;
    bp_apart_setting settings[BP_APART_MAX_SETTINGS];
    json_object *document = bp_json_checked(&b, json_object_new_object());
    json_object *places = bp_json_checked(&b, json_object_new_array());
    for (size_t i = 0; i < report->n_places; i++)
        bp_json_append(&b, places, place_of(&b, apart, &report->places[i]));
    bp_json_add(&b, document, "schema", bp_json_text(&b, SCHEMA));
    bp_json_add(&b, document, "version", bp_json_text(&b, bp_version()));
    bp_json_add(&b, document, "a", run_of(&b, report->a));
    bp_json_add(&b, document, "b", run_of(&b, report->b));
    bp_json_add(&b, document, "same", bp_json_boolean(&b, !bp_apart_parts(report)));
    bp_json_add(&b, document, "tolerance", bp_json_number(&b, apart->tolerance));
    bp_json_add(&b, document, "steps", steps_of(&b, apart));
    bp_json_add(&b, document, "recipe",
                settings_of(&b, settings, bp_apart_recipe(apart, settings)));
    bp_json_add(&b, document, "network", network_of(&b, apart));
    bp_json_add(&b, document, "parts", places);
    bp_json_add(&b, document, "not_compared", uncompared_of(&b, apart));
    return bp_json_finish(&b, document, false, text, error);
}
