/* SPDX-License-Identifier: Apache-2.0 */
/* The schema table. A row of a key says all that check, defaults, messages and documentation know
 * of it; docs/network-file.md has a row for each, and a test compares them. */
#include "netfile/file.h"

#define WORD(id, name, number) {name, number},
#define N_KEYS(keys) (sizeof(keys) / sizeof *(keys))

const bp_word bp_activation_words[] = {BP_ACTIVATIONS(WORD){NULL, 0}};
const bp_word bp_norm_words[] = {
    {"batch_norm", BP_NORM_BATCH}, {"layer_norm", BP_NORM_LAYER}, {NULL, 0}};
const bp_word bp_init_words[] = {{"pytorch_default", BP_INIT_PYTORCH_DEFAULT},
                                 {"xavier", BP_INIT_XAVIER},
                                 {"he", BP_INIT_HE},
                                 {"normal", BP_INIT_NORMAL},
                                 {"uniform", BP_INIT_UNIFORM},
                                 {"constant", BP_INIT_CONSTANT},
                                 {"zeros", BP_INIT_ZEROS},
                                 {"orthogonal", BP_INIT_ORTHOGONAL},
                                 {"lecun", BP_INIT_LECUN},
                                 {"lsuv", BP_INIT_LSUV},
                                 {NULL, 0}};
static const bp_word loss_words[] = {{"cross_entropy", BP_CROSS_ENTROPY},
                                     {"mse", BP_MSE},
                                     {"binary_cross_entropy", BP_BINARY_CROSS_ENTROPY},
                                     {"mae", BP_MAE},
                                     {"huber", BP_HUBER},
                                     {NULL, 0}};
static const bp_word optimiser_words[] = {{"sgd", BP_SGD},         {"adam", BP_ADAM},
                                          {"adamw", BP_ADAMW},     {"rmsprop", BP_RMSPROP},
                                          {"adagrad", BP_ADAGRAD}, {NULL, 0}};
static const bp_word format_words[] = {{"idx", BP_DATA_IDX},
                                       {"npy", BP_DATA_NPY},
                                       {"npz", BP_DATA_NPZ},
                                       {"csv", BP_DATA_CSV},
                                       {NULL, 0}};
static const bp_word task_words[] = {BP_TASKS(WORD){NULL, 0}};
static const bp_word layout_words[] = {BP_LAYOUTS(WORD){NULL, 0}};
static const bp_word normalise_words[] = {BP_NORMALISATIONS(WORD){NULL, 0}};
static const bp_word only_true[] = {{"true", 1}, {NULL, 0}};
static const bp_word schedule_words[] = {BP_SCHEDULES(WORD){NULL, 0}};

#define WHOLE(least, most) .type = BP_VALUE_WHOLE, .low = (least), .high = (most)
#define NUMBER(least, most) .type = BP_VALUE_NUMBER, .low = (least), .high = (most)
#define FLAG .type = BP_VALUE_FLAG
#define WORDS(list) .type = BP_VALUE_WORD, .words = (list)
#define NAME(most_bytes) .type = BP_VALUE_NAME, .limit = (most_bytes)
#define OTHER(text) .type = BP_VALUE_OTHER, .expected = text

#define AT(member) .offset = offsetof(bp_netfile, member)
static const bp_key top_keys[] = {
    {"version", WHOLE(0, 1000000), AT(version), .required = true, .lesson = "'version: 1'"},
    {"data", OTHER("the name of a data set, or a mapping"), .required = true,
     .lesson = "'data: digits'"},
    {"net", OTHER("a list of items"), .required = true,
     .lesson = "'net: [dense 64 relu, dense 10]'"},
    {"init", OTHER("an initialiser, or {weights: ..., biases: ...}"),
     .fallback = "pytorch_default"},
    {"loss", WORDS(loss_words), AT(recipe.loss), .fallback = "cross_entropy"},
    {"huber_delta", NUMBER(0, 1e6), AT(recipe.huber_delta), .above_low = true, .fallback = "1"},
    {"train", OTHER("a mapping")},
};

static const bp_key data_keys[] = {
    {"name", NAME(BP_DATA_MAX_BYTES), AT(source.name)},
    {"format", WORDS(format_words), AT(source.format)},
    {"path", NAME(BP_PATH_MAX_BYTES), AT(source.path)},
    {"test_path", NAME(BP_PATH_MAX_BYTES), AT(source.test_path)},
    {"inputs", NAME(BP_NAME_MAX_BYTES), AT(source.inputs), .fallback = "X"},
    {"targets", NAME(BP_PATH_MAX_BYTES), AT(source.targets)},
    {"test_targets", NAME(BP_PATH_MAX_BYTES), AT(source.test_targets)},
    {"header", FLAG, AT(has_header), .fallback = "true"},
    {"task", WORDS(task_words), AT(source.task)},
    {"layout", WORDS(layout_words), AT(source.layout)},
    {"normalise", WORDS(normalise_words), AT(source.normalise), .alias = "normalize"},
    {"validation_fraction", NUMBER(0, 1), AT(source.validation_fraction), .below_high = true,
     .fallback = "0.15"},
    {"test_fraction", NUMBER(0, 1), AT(source.test_fraction), .below_high = true,
     .fallback = "0.15"},
    {"train_samples", WHOLE(1, 1000000000), AT(source.train_samples)},
    {"seed", WHOLE(0, 9007199254740991), AT(source.seed), .fallback = "1"},
    {"samples", WHOLE(10, 10000000), AT(source.samples)},
    {"steps", WHOLE(2, 100000), AT(source.steps), .fallback = "50"},
    {"noise", NUMBER(0, 10), AT(source.noise), .fallback = "0.02"},
};
#undef AT

#define AT(member) .offset = offsetof(bp_recipe, member)
static const bp_key train_keys[] = {
    {"optimiser", WORDS(optimiser_words), AT(optimiser), .fallback = "sgd", .alias = "optimizer"},
    /* the defaults of learning_rate and epsilon depend on the optimiser: netfile.c */
    {"learning_rate", NUMBER(0, 1e6), AT(learning_rate), .fallback = "0.1"},
    {"momentum", NUMBER(0, 1), AT(momentum), .below_high = true, .fallback = "0"},
    {"nesterov", FLAG, AT(nesterov), .fallback = "false"},
    {"beta1", NUMBER(0, 1), AT(beta1), .below_high = true, .fallback = "0.9"},
    {"beta2", NUMBER(0, 1), AT(beta2), .below_high = true, .fallback = "0.999"},
    {"alpha", NUMBER(0, 1), AT(alpha), .below_high = true, .fallback = "0.99"},
    {"epsilon", NUMBER(0, 1), AT(epsilon), .above_low = true, .fallback = "1e-8"},
    {"weight_decay", NUMBER(0, 1000), AT(weight_decay), .fallback = "0.01"},
    {"l1", NUMBER(0, 1000), AT(l1), .fallback = "0"},
    {"l2", NUMBER(0, 1000), AT(l2), .fallback = "0"},
    {"clip_norm", NUMBER(0, 1e6), AT(clip_norm), .above_low = true},
    {"clip_value", NUMBER(0, 1e6), AT(clip_value), .above_low = true},
    {"schedule", WORDS(schedule_words), AT(schedule), .fallback = "constant"},
    {"warm_up_epochs", NUMBER(0, 1e6), AT(warm_up_epochs), .fallback = "0"},
    {"step_epochs", NUMBER(0, 1e6), AT(step_epochs), .above_low = true, .fallback = "10"},
    {"step_factor", NUMBER(0, 1), AT(step_factor), .fallback = "0.1"},
    {"final_learning_rate", NUMBER(0, 1e6), AT(final_learning_rate), .fallback = "0"},
    {"batch", WHOLE(1, 1000000), AT(batch), .fallback = "32"},
    {"epochs", WHOLE(1, 1000000), AT(epochs), .fallback = "10"},
    {"seed", WHOLE(0, 9007199254740991), AT(seed), .fallback = "1"},
};
#undef AT

#define AT(member) .offset = offsetof(bp_item, member)
#define RECURRENT_KINDS (BP_ITEM_RNN | BP_ITEM_GRU | BP_ITEM_LSTM)
#define WEIGHTED_KINDS (BP_ITEM_DENSE | BP_ITEM_CONV | BP_ITEM_EMBEDDING | RECURRENT_KINDS)
#define UNITS WHOLE(1, BP_MAX_UNITS), AT(units)
static const bp_key item_keys[] = {
    {"dense", UNITS, .kinds = BP_ITEM_DENSE},
    {"conv", UNITS, .kinds = BP_ITEM_CONV},
    {"embedding", UNITS, .kinds = BP_ITEM_EMBEDDING},
    {"rnn", UNITS, .kinds = BP_ITEM_RNN},
    {"gru", UNITS, .kinds = BP_ITEM_GRU},
    {"lstm", UNITS, .kinds = BP_ITEM_LSTM},
    {"residual", OTHER("a list of items"), .kinds = BP_ITEM_RESIDUAL},
    {"net", OTHER("a list of items"), .kinds = BP_ITEM_GROUP},
    {"avg_pool", WHOLE(1, BP_MAX_UNITS), AT(pool), .kinds = BP_ITEM_AVG_POOL},
    {"max_pool", WHOLE(1, BP_MAX_UNITS), AT(pool), .kinds = BP_ITEM_MAX_POOL},
    {"global_avg_pool", WORDS(only_true), AT(only), .kinds = BP_ITEM_GLOBAL_AVG_POOL},
    {"flatten", WORDS(only_true), AT(only), .kinds = BP_ITEM_FLATTEN},
    {"dropout", NUMBER(0, 1), AT(drop_fraction), .below_high = true, .kinds = BP_ITEM_DROPOUT},
    {"norm", WORDS(bp_norm_words), AT(norm), .kinds = BP_ITEM_DENSE | BP_ITEM_CONV | BP_ITEM_NORM},
    {"activation", WORDS(bp_activation_words), AT(activation),
     .kinds = BP_ITEM_DENSE | BP_ITEM_CONV | BP_ITEM_RNN | BP_ITEM_ACTIVATION},
    {"slope", NUMBER(0, 1), AT(slope), .fallback = "0.01",
     .kinds = BP_ITEM_DENSE | BP_ITEM_CONV | BP_ITEM_ACTIVATION},
    {"alpha", NUMBER(0, 1000), AT(alpha), .fallback = "1",
     .kinds = BP_ITEM_DENSE | BP_ITEM_CONV | BP_ITEM_ACTIVATION},
    {"kernel", WHOLE(1, BP_MAX_KERNEL), AT(kernel), .kinds = BP_ITEM_CONV},
    {"stride", WHOLE(1, BP_MAX_KERNEL), AT(stride), .fallback = "1", .kinds = BP_ITEM_CONV},
    {"padding", OTHER(BP_PADDING), .fallback = "0", .kinds = BP_ITEM_CONV},
    {"vocabulary", WHOLE(1, BP_MAX_VOCABULARY), AT(vocabulary), .kinds = BP_ITEM_EMBEDDING},
    {"return_sequences", FLAG, AT(return_sequences), .fallback = "false", .kinds = RECURRENT_KINDS},
    {"forget_bias", NUMBER(-1000, 1000), AT(forget_bias), .fallback = "0", .kinds = BP_ITEM_LSTM},
    {"bias", FLAG, AT(bias), .fallback = "true",
     .kinds = BP_ITEM_DENSE | BP_ITEM_CONV | RECURRENT_KINDS},
    {"init", OTHER("an initialiser, or {weights: ..., biases: ...}"), .kinds = WEIGHTED_KINDS},
    {"frozen", FLAG, AT(frozen), .fallback = "false", .kinds = WEIGHTED_KINDS | BP_ITEM_NORM},
    {"scale", NUMBER(0, 1e6), AT(scale), .fallback = "1", .kinds = BP_ITEM_RESIDUAL},
    {"name", NAME(BP_NAME_MAX_BYTES), AT(name), .kinds = BP_ITEM_ANY},
    {"repeat", WHOLE(1, BP_MODEL_MAX_LAYERS), AT(repeat), .fallback = "1", .kinds = BP_ITEM_ANY},
};
#undef AT

static const bp_key init_keys[] = {
    {"weights", OTHER("an initialiser"), .fallback = "pytorch_default"},
    {"biases", OTHER("an initialiser"), .fallback = "zeros"},
};

const bp_schema bp_schema_top = {top_keys, N_KEYS(top_keys)};
const bp_schema bp_schema_data = {data_keys, N_KEYS(data_keys)};
const bp_schema bp_schema_train = {train_keys, N_KEYS(train_keys)};
const bp_schema bp_schema_item = {item_keys, N_KEYS(item_keys)};
const bp_schema bp_schema_init = {init_keys, N_KEYS(init_keys)};

static const bp_key std_key[] = {{"std", NUMBER(0, 1e6), .required = true}};
static const bp_key bound_key[] = {{"bound", NUMBER(0, 1e6), .required = true}};
static const bp_key value_key[] = {{"value", NUMBER(-1e6, 1e6), .required = true}};
static const bp_key gain_key[] = {{"gain", NUMBER(0, 1e6), .required = true}};

const bp_key *bp_init_parameter(int kind) {
    switch ((bp_init_kind)kind) {
    case BP_INIT_NORMAL:
        return std_key;
    case BP_INIT_UNIFORM:
        return bound_key;
    case BP_INIT_CONSTANT:
        return value_key;
    case BP_INIT_XAVIER:
    case BP_INIT_HE:
    case BP_INIT_ORTHOGONAL:
    case BP_INIT_LECUN:
    case BP_INIT_LSUV:
        return gain_key;
    case BP_INIT_UNKNOWN:
    case BP_INIT_ZEROS:
    case BP_INIT_PYTORCH_DEFAULT:
        return NULL;
    }
    return NULL;
}
