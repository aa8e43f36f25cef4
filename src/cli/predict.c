/* SPDX-License-Identifier: Apache-2.0 */
/* `backprobe predict NET.yaml`: what the chain rule will do to a network, before it is trained. */
#include "cli/cli.h"
#include "cli/measure.h"
#include "cli/session.h"

#include <math.h>
#include <string.h>

typedef struct predict_options {
    bp_common_options common;
    bp_words set;
    int64_t seeds;
    const char *input;
    bool measure, json;
} predict_options;

#define AT(member) offsetof(predict_options, member)

static const bp_option options[] = {
    {"set", 's', BP_OPTION_LIST, "KEY=VALUE", NULL, 0, 0,
     "override a key of the network file; may be given several times", AT(set)},
    {"seeds", 'n', BP_OPTION_INTEGER, "N", NULL, 1, 1000,
     "measure under so many seeds, from that of the file on: mean and standard error; 1 unless "
     "told "
     "otherwise",
     AT(seeds)},
    {"measure", 0, BP_OPTION_SWITCH, NULL, NULL, 0, 0,
     "send a batch through the network, forward and back; on unless told otherwise", AT(measure)},
    {"input", 0, BP_OPTION_TEXT, "SHAPE", NULL, 0, 0,
     "shape of a sample, 64 or 3x32x32; then no data are read and nothing is measured", AT(input)},
    {"json", 0, BP_OPTION_FLAG, NULL, NULL, 0, 0,
     "print one line of JSON (schema backprobe.prediction/1)", AT(json)},
    BP_COMMON_OPTIONS,
};

static const bp_example examples[] = {
    {"backprobe predict net.yaml", "predicted and measured gain of each layer, on one batch"},
    {"backprobe predict net.yaml --seeds 5", "measured under five seeds, with standard errors"},
    {"backprobe predict net.yaml --set init=he", "the same network with another initialiser"},
    {"backprobe predict net.yaml --input 1x28x28", "without the data"},
    {NULL, NULL},
};

static bp_status read_network(bp_network *network, const char *path, const predict_options *given,
                              bp_error *error) {
    bp_status status = bp_network_read(network, path, error);
    for (size_t i = 0; status == BP_OK && i < given->set.n; i++) {
        char *key = given->set.items[i], *equals = strchr(key, '=');
        if (!equals || equals == key)
            return bp_fail(error, BP_ERROR_ARGUMENT, "--set: expected KEY=VALUE, got '%s'", key);
        *equals = '\0';
        status = bp_network_set(network, key, equals + 1, error);
    }
    return status;
}

/* "64", "3x32x32" */
static bp_status shape_of(const char *text, int64_t shape[3], bp_error *error) {
    int n = 0;
    shape[1] = shape[2] = 1;
    for (const char *at = text; n < 3; at++) {
        char number[20] = "";
        const size_t length = strcspn(at, "x");
        if (length > 0 && length < sizeof number) memcpy(number, at, length);
        if (!bp_parse_integer(number, &shape[n]) || shape[n] < 1) break;
        n++;
        at += length;
        if (*at == '\0') return BP_OK;
    }
    return bp_fail(error, BP_ERROR_ARGUMENT, "--input: expected 64 or 3x32x32, got '%s'", text);
}

/* From the file's text alone. */
static bp_status open_model(bp_model **model, const bp_network *network, const int64_t shape[3],
                            bp_error *error) {
    bp_netfile *file = NULL;
    bp_status status =
        bp_netfile_parse(&file, network->path, network->text, strlen(network->text), NULL, error);
    if (status == BP_OK) status = bp_netfile_model(file, model, error);
    if (status == BP_OK) status = bp_model_set_input(*model, shape, error);
    bp_netfile_close(file);
    return status;
}

static int tell(const bp_measurement *m, bp_network *network, const bp_model *model,
                const char *why_not, const char *name, const predict_options *given) {
    bp_report_foretold report = {.run = {.name = name,
                                         .model = model,
                                         .network_text = network->text,
                                         .edited = bp_network_edited,
                                         .context = network},
                                 .prediction = m->prediction,
                                 .gains = m->gains,
                                 .n_gains = m->n_gains,
                                 .measured = why_not ? NULL : m->measured,
                                 .why_not_measured = why_not,
                                 .n_seeds = m->n_seeds,
                                 .n_samples = m->n_samples,
                                 .loss = m->loss,
                                 .problem = m->problem,
                                 .verdict = m->verdict,
                                 .blamed_layer = m->blamed_layer};
    const bp_report_style style = bp_style_of(stdout, &given->common);
    if (given->json)
        bp_report_prediction_json(stdout, &report);
    else
        bp_report_prediction(stdout, &style, &report);
    if (!m->verdict) return BP_EXIT_FAILED;
    return m->problem ? BP_EXIT_FINDINGS : BP_EXIT_GOOD;
}

static int without_data(const char *path, const predict_options *given) {
    bp_network network = {0};
    bp_model *model = NULL;
    bp_measurement m = {0};
    bp_error error = {.status = BP_OK};
    int64_t shape[3];
    int code = BP_EXIT_FAILED;
    bp_status status = shape_of(given->input, shape, &error);
    if (status != BP_OK) {
        bp_say_error(NULL, &error);
        return code;
    }
    status = read_network(&network, path, given, &error);
    if (status == BP_OK) status = open_model(&model, &network, shape, &error);
    if (status == BP_OK) status = bp_measurement_open_theory(&m, model, &error);
    if (status == BP_OK)
        code = tell(&m, &network, model,
                    "nothing: no data were read; inputs are taken to be of mean square 1, two of "
                    "them correlated by a half",
                    path, given);
    else
        bp_say_error(path, &error);
    bp_measurement_close(&m);
    bp_model_close(model);
    bp_network_free(&network);
    return code;
}

static int with_data(const char *path, const predict_options *given) {
    bp_network network = {0};
    bp_session session = {0};
    bp_measurement m = {0};
    bp_error error = {.status = BP_OK};
    int code = BP_EXIT_FAILED;
    const char *why_not = given->measure ? NULL
                                         : "nothing, as --no-measure asks for; inputs are "
                                           "taken to be of mean square 1, two of them "
                                           "correlated by a half";
    bp_status status = read_network(&network, path, given, &error);
    if (status == BP_OK) status = bp_session_open_dry(&session, &network, &error);
    if (status == BP_OK)
        status = given->measure
                     ? bp_measurement_open(&m, session.model, session.dataset, given->seeds, &error)
                     : bp_measurement_open_theory(&m, session.model, &error);
    if (status == BP_OK)
        code = tell(&m, &session.network, session.model, why_not, path, given);
    else
        bp_say_error(path, &error);
    bp_measurement_close(&m);
    if (session.trainer) bp_session_close(&session, NULL);
    bp_network_free(&network);
    return code;
}

static int run(int argc, char **argv) {
    predict_options given = {.common = BP_COMMON_DEFAULTS, .seeds = 1, .measure = true};
    bp_words arguments;
    int code = bp_options_parse(&bp_command_predict, argc, argv, &given, &arguments);
    if (code < 0)
        code = given.input ? without_data(arguments.items[0], &given)
                           : with_data(arguments.items[0], &given);
    bp_options_free(&bp_command_predict, &given);
    return code;
}

const bp_command bp_command_predict = {
    .name = "predict",
    .summary = "what a network's initialisation will do to its gradients, before training",
    .arguments = "NET.yaml",
    .description =
        "Predicts by theory (means over Gaussian units in the limit of wide layers) by which "
        "factor "
        "each layer changes the error signal on its way back, and measures it on one batch beside; "
        "says whether gradients will vanish or explode, how many layers this initialisation can "
        "train, and which weights would pass the error signal on as it is. Nothing is trained and "
        "no file is written.",
    .exits = "0 fine, 1 gradients are expected to vanish or explode, 2 could not",
    .options = options,
    .examples = examples,
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
};
