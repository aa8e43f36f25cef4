/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

fixture *fixture_now;

uint32_t __wrap_bp_diagnosis_n_findings(const bp_diagnosis *diagnosis);
const bp_finding *__wrap_bp_diagnosis_finding(bp_diagnosis *diagnosis, uint32_t index);
void __wrap_bp_diagnosis_overview_of(const bp_diagnosis *diagnosis,
                                     bp_diagnosis_overview *overview);
bp_status __wrap_bp_remedy_open(bp_remedy **remedy, const bp_model *model,
                                const bp_finding *finding, const bp_allocator *allocator,
                                bp_error *error);
void __wrap_bp_remedy_close(bp_remedy *remedy);
const char *__wrap_bp_diagnosis_unjudged(const bp_diagnosis *diagnosis, bp_problem problem);

const char *__wrap_bp_diagnosis_unjudged(const bp_diagnosis *diagnosis, bp_problem problem) {
    (void)diagnosis;
    return problem == fixture_now->unjudged ? "validation" : NULL;
}

uint32_t __wrap_bp_diagnosis_n_findings(const bp_diagnosis *diagnosis) {
    (void)diagnosis;
    return fixture_now->n_findings;
}

const bp_finding *__wrap_bp_diagnosis_finding(bp_diagnosis *diagnosis, uint32_t index) {
    (void)diagnosis;
    return index < fixture_now->n_findings ? &fixture_now->findings[index] : NULL;
}

void __wrap_bp_diagnosis_overview_of(const bp_diagnosis *diagnosis,
                                     bp_diagnosis_overview *overview) {
    (void)diagnosis;
    *overview = fixture_now->overview;
}

bp_status __wrap_bp_remedy_open(bp_remedy **remedy, const bp_model *model,
                                const bp_finding *finding, const bp_allocator *allocator,
                                bp_error *error) {
    (void)model, (void)finding, (void)allocator, (void)error;
    *remedy = fixture_now->has_remedy ? &fixture_now->remedy : NULL;
    return BP_OK;
}

void __wrap_bp_remedy_close(bp_remedy *remedy) {
    (void)remedy;
}

static const char before[] = "# a comment\nnet: [20 x dense 64 sigmoid]\ninit: pytorch_default\n";
static const char after[] = "# a comment\nnet: [20 x dense 64 tanh]\ninit: xavier\n";

static const char *edited(void *context, const bp_edit *edits, uint32_t n_edits) {
    (void)context;
    assert_int_equal(n_edits, 2);
    assert_string_equal(edits[1].value, "xavier");
    return after;
}

static bp_gain gains[FIXTURE_LAYERS];
static const uint32_t layers[] = {1, 2, 3, 4};

static const bp_edit edits[] = {{"net[0].activation", "tanh"}, {"init", "xavier"}};

static const bp_evidence evidence[] = {
    {"backward_span_log", "ln of the largest ratio", 0, 340, 38.5, true},
    {"error_norm", "at the first layer", 1, 340, (double)NAN, true},
    {"error_norm", "at the second layer", 2, 340, (double)INFINITY, true},
    {"variation", "of the input", 0, 340, (double)NAN, false},
};

static const bp_symptom symptoms[] = {
    {"exponential growth of the parameters of the initial layers",
     "parameters of the higher layers change significantly, those of the lower layers little",
     "early layers changed by 1e-9 of their size, late ones by 0.2", false, true},
    {"weights may become NaN", "weights may become close to 0", "all finite", false, false},
};

static void add_layers(bp_model *model, const char *odd_name) {
    const int64_t input[3] = {64, 1, 1};
    for (uint32_t i = 0; i < FIXTURE_LAYERS; i++) {
        bp_layer layer = {.kind = BP_LAYER_DENSE,
                          .activation = BP_ACTIVATION_SIGMOID,
                          .norm = BP_NORM_NONE,
                          .has_bias = true,
                          .output_shape = {8, 1, 1},
                          .weight_init = {BP_INIT_PYTORCH_DEFAULT, 0},
                          .bias_init = {BP_INIT_ZEROS, 0}};
        if (i == 1) layer.name = odd_name;
        assert_int_equal(bp_model_add_layer(model, &layer, NULL, NULL), BP_OK);
    }
    assert_int_equal(bp_model_set_input(model, input, NULL), BP_OK);
}

static void add_gains(void) {
    for (uint32_t i = 0; i < FIXTURE_LAYERS; i++)
        gains[i] = (bp_gain){.layer = i + 1,
                             .error_norm = pow(10, (double)i - 21),
                             .share = i < 19 ? 0 : 1,
                             .gain = i == 0 ? (double)NAN : 0.1,
                             .activation = 0.24,
                             .norm = (double)NAN,
                             .weight = 0.58,
                             .alignment = 1,
                             .branch = (double)NAN,
                             .contribution = 0.05};
}

void fixture_open(fixture *f, const char *odd_name) {
    memset(f, 0, sizeof *f);
    fixture_now = f;
    assert_int_equal(bp_model_open(&f->model, NULL), BP_OK);
    add_layers(f->model, odd_name);
    add_gains();
    bp_model_set_recipe(f->model, &(bp_recipe){.trivial_loss = 2.302585093});
    f->findings[0] = (bp_finding){.struct_size = sizeof(bp_finding),
                                  .problem = BP_PROBLEM_VANISHING_GRADIENT,
                                  .severity = BP_ERROR,
                                  .last_step = 340,
                                  .open = true,
                                  .n_layers = 4,
                                  .layers = layers,
                                  .title = "layers 1–4 of 20 do not learn",
                                  .cause = "the chain rule multiplies the layers' gains, about "
                                           "0.1 each; of it sigmoid passes on 0.24 (at most "
                                           "0.25), the weights 0.58",
                                  .note = "Adam would not help: nothing arrives",
                                  .n_evidence = 4,
                                  .evidence = evidence,
                                  .n_gains = FIXTURE_LAYERS,
                                  .gains = gains,
                                  .n_symptoms = 2,
                                  .symptoms = symptoms,
                                  .parent = -1};
    f->findings[1] = (bp_finding){.struct_size = sizeof(bp_finding),
                                  .problem = BP_PROBLEM_NON_FINITE,
                                  .severity = BP_WARNING,
                                  .since_step = 7,
                                  .last_step = 9,
                                  .title = "NaN first in the loss",
                                  .cause = "what went in was finite",
                                  .note = "",
                                  .parent = 0};
    f->n_findings = 2;
    f->overview = (bp_diagnosis_overview){.n_records = 341,
                                          .last_step = 340,
                                          .first_loss = 2.31,
                                          .last_loss = 2.3034,
                                          .best_loss = 2.3,
                                          .backward_span_log = 38.5,
                                          .not_observed = ""};
    f->remedy = (bp_remedy){"use tanh with Xavier initialisation",
                            "predicted gain 0.94 a layer instead of 0.14",
                            2,
                            edits,
                            0,
                            NULL};
    f->has_remedy = true;
    f->run = (bp_report_run){.name = "runs/deep-1",
                             .model = f->model,
                             .end = BP_RUN_FINISHED,
                             .network_text = before,
                             .edited = edited};
}

void fixture_close(fixture *f) {
    bp_model_close(f->model);
    fixture_now = NULL;
}

char *fixture_printed(void (*print)(FILE *out, void *context), void *context) {
    char *text = NULL;
    size_t n_bytes = 0;
    FILE *out = open_memstream(&text, &n_bytes);
    assert_non_null(out);
    print(out, context);
    assert_int_equal(fclose(out), 0);
    return text;
}
