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
                                 {NULL, 0}};
static const bp_word loss_words[] = {
    {"cross_entropy", BP_CROSS_ENTROPY}, {"mse", BP_MSE}, {NULL, 0}};
static const bp_word optimiser_words[] = {{"sgd", BP_SGD}, {"adam", BP_ADAM}, {NULL, 0}};

#define WHOLE(least, most) .type = BP_VALUE_WHOLE, .low = (least), .high = (most)
#define NUMBER(least, most) .type = BP_VALUE_NUMBER, .low = (least), .high = (most)
#define FLAG .type = BP_VALUE_FLAG
#define WORDS(list) .type = BP_VALUE_WORD, .words = (list)
#define NAME(most_bytes) .type = BP_VALUE_NAME, .limit = (most_bytes)
#define OTHER(text) .type = BP_VALUE_OTHER, .expected = text

#define AT(member) .offset = offsetof(bp_netfile, member)
static const bp_key top_keys[] = {
    {"version", WHOLE(0, 1000000), AT(version), .required = true, .lesson = "'version: 1'"},
    {"data", OTHER("the name of a data set"), .required = true, .lesson = "'data: digits'"},
    {"net", OTHER("a list of items"), .required = true,
     .lesson = "'net: [dense 64 relu, dense 10]'"},
    {"init", OTHER("an initialiser, or {weights: ..., biases: ...}"),
     .fallback = "pytorch_default"},
    {"loss", WORDS(loss_words), AT(recipe.loss), .fallback = "cross_entropy"},
    {"train", OTHER("a mapping")},
};

static const bp_key data_keys[] = {
    {"name", NAME(BP_DATA_MAX_BYTES), AT(data), .required = true},
};
#undef AT

#define AT(member) .offset = offsetof(bp_recipe, member)
static const bp_key train_keys[] = {
    {"optimiser", WORDS(optimiser_words), AT(optimiser), .fallback = "sgd", .alias = "optimizer"},
    /* adam's default differs: BP_ADAM_LEARNING_RATE */
    {"learning_rate", NUMBER(0, 1e6), AT(learning_rate), .fallback = "0.1"},
    {"momentum", NUMBER(0, 1), AT(momentum), .below_high = true, .fallback = "0"},
    {"beta1", NUMBER(0, 1), AT(beta1), .below_high = true, .fallback = "0.9"},
    {"beta2", NUMBER(0, 1), AT(beta2), .below_high = true, .fallback = "0.999"},
    {"epsilon", NUMBER(0, 1), AT(epsilon), .above_low = true, .fallback = "1e-8"},
    {"batch", WHOLE(1, 1000000), AT(batch), .fallback = "32"},
    {"epochs", WHOLE(1, 1000000), AT(epochs), .fallback = "10"},
    {"seed", WHOLE(0, 9007199254740991), AT(seed), .fallback = "1"},
};
#undef AT

#define AT(member) .offset = offsetof(bp_item, member)
#define ALL_KINDS                                                                         \
    (BP_ITEM_DENSE | BP_ITEM_RESIDUAL | BP_ITEM_GROUP | BP_ITEM_AVG_POOL | BP_ITEM_NORM | \
     BP_ITEM_ACTIVATION)
static const bp_key item_keys[] = {
    {"dense", WHOLE(1, BP_MAX_UNITS), AT(units), .kinds = BP_ITEM_DENSE},
    {"residual", OTHER("a list of items"), .kinds = BP_ITEM_RESIDUAL},
    {"net", OTHER("a list of items"), .kinds = BP_ITEM_GROUP},
    {"avg_pool", WHOLE(1, BP_MAX_UNITS), AT(pool), .kinds = BP_ITEM_AVG_POOL},
    {"norm", WORDS(bp_norm_words), AT(norm), .kinds = BP_ITEM_DENSE | BP_ITEM_NORM},
    {"activation", WORDS(bp_activation_words), AT(activation),
     .kinds = BP_ITEM_DENSE | BP_ITEM_ACTIVATION},
    {"slope", NUMBER(0, 1), AT(slope), .fallback = "0.01",
     .kinds = BP_ITEM_DENSE | BP_ITEM_ACTIVATION},
    {"bias", FLAG, AT(bias), .fallback = "true", .kinds = BP_ITEM_DENSE},
    {"init", OTHER("an initialiser, or {weights: ..., biases: ...}"), .kinds = BP_ITEM_DENSE},
    {"frozen", FLAG, AT(frozen), .fallback = "false", .kinds = BP_ITEM_DENSE | BP_ITEM_NORM},
    {"scale", NUMBER(0, 1e6), AT(scale), .fallback = "1", .kinds = BP_ITEM_RESIDUAL},
    {"name", NAME(BP_NAME_MAX_BYTES), AT(name), .kinds = ALL_KINDS},
    {"repeat", WHOLE(1, BP_MODEL_MAX_LAYERS), AT(repeat), .fallback = "1", .kinds = ALL_KINDS},
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
