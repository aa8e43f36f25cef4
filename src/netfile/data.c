/* SPDX-License-Identifier: Apache-2.0 */
/* `data`: a name, or a mapping that says where the samples come from. */
#include "netfile/file.h"

#include <string.h>

/* Kinds of sources, as far as they differ in their keys. */
enum { DIGITS = 1, FASHION_MNIST, SPIRALS, ADDING, IDX, NPY, NPZ, CSV };
static const bp_word kinds[] = {{"digits", DIGITS},
                                {"fashion_mnist", FASHION_MNIST},
                                {"spirals", SPIRALS},
                                {"adding", ADDING},
                                {"idx", IDX},
                                {"npy", NPY},
                                {"npz", NPZ},
                                {"csv", CSV},
                                {NULL, 0}};

#define BIT(kind) (1u << (unsigned)(kind))
#define GENERATED (BIT(SPIRALS) | BIT(ADDING))
#define ARRAYS (BIT(IDX) | BIT(NPY) | BIT(NPZ))
#define FILES (ARRAYS | BIT(CSV))

/* Who has a key, and who needs it. */
static const struct {
    const char *key;
    unsigned owners, needed;
} keys[] = {{"path", FILES, FILES},
            {"test_path", FILES, 0},
            {"inputs", BIT(NPZ), 0},
            {"targets", FILES, FILES},
            {"test_targets", BIT(IDX) | BIT(NPY), 0},
            {"header", BIT(CSV), 0},
            {"task", FILES, 0},
            {"layout", ARRAYS, 0},
            {"normalise", FILES | GENERATED | BIT(FASHION_MNIST), 0},
            {"validation_fraction", FILES | GENERATED, 0},
            {"test_fraction", FILES | GENERATED, 0},
            {"seed", FILES | GENERATED | BIT(FASHION_MNIST), 0},
            {"samples", GENERATED, 0},
            {"steps", BIT(ADDING), 0},
            {"noise", BIT(SPIRALS), 0}};

static const bp_node *value_of(const bp_node *values[BP_MAX_KEYS], const char *key) {
    return values[bp_schema_find(&bp_schema_data, key)];
}

static bp_status check_key(const bp_reader *reader, const bp_node *map, const bp_node *value,
                           size_t i, const bp_word *kind) {
    const unsigned bit = BIT(kind->number);
    if (!value && (keys[i].needed & bit))
        return bp_fail_at(reader->error, map->line, map->column, "data.%s is missing; %s needs it",
                          keys[i].key, kind->name);
    if (!value || (keys[i].owners & bit)) return BP_OK;
    char sentence[BP_ERROR_TEXT_BYTES];
    bp_text text;
    bp_text_init(&text, sentence, sizeof sentence);
    bp_text_add(&text, "data.%s belongs to ", keys[i].key);
    bp_add_owners(&text, "source", kinds, keys[i].owners);
    bp_text_add(&text, ", found %s", kind->name);
    return bp_fail_at(reader->error, value->line, value->column, "%s", sentence);
}

static bp_status check_pairs(const bp_reader *reader, const bp_data_source *source,
                             const bp_node *values[BP_MAX_KEYS]) {
    const bool two_files = source->format == BP_DATA_IDX || source->format == BP_DATA_NPY;
    const bp_node *test = value_of(values, "test_path");
    if (test && two_files && !source->test_targets)
        return bp_fail_at(reader->error, test->line, test->column,
                          "data.test_path needs its data.test_targets");
    if (source->validation_fraction + source->test_fraction >= 1) {
        const bp_node *value = value_of(values, "validation_fraction");
        if (!value) value = value_of(values, "test_fraction");
        return bp_fail_at(reader->error, value->line, value->column,
                          "data.validation_fraction and data.test_fraction leave nothing to train");
    }
    return BP_OK;
}

/* An unknown name is the data room's to refuse: it knows which there are. */
static bp_status check_keys(const bp_reader *reader, const bp_node *map,
                            const bp_data_source *source, const bp_node *values[BP_MAX_KEYS]) {
    const bp_node *name = value_of(values, "name"), *format = value_of(values, "format");
    if (!name == !format)
        return bp_fail_at(reader->error, map->line, map->column,
                          "data needs a name, such as digits, or a format, such as csv%s",
                          name ? ", not both" : "");
    const char *what = name ? source->name : bp_node_text(reader->tree, format);
    const bp_word *kind = kinds;
    while (kind->name && strcmp(kind->name, what) != 0) kind++;
    for (size_t i = 0; kind->name && i < sizeof keys / sizeof *keys; i++) {
        const bp_status status = check_key(reader, map, value_of(values, keys[i].key), i, kind);
        if (status != BP_OK) return status;
    }
    return check_pairs(reader, source, values);
}

/* A fraction of 0 is meant; to the data room 0 means the default, less than 0 none. */
static double fraction(double given) {
    return given > 0 ? given : -1;
}

bp_status bp_data_read(const bp_reader *reader, const bp_node *node, bp_netfile *netfile) {
    static const bp_node nothing = {.kind = BP_NODE_MAP, .first = BP_NO_NODE, .next = BP_NO_NODE};
    const bool is_map = node->kind == BP_NODE_MAP;
    const bp_node *values[BP_MAX_KEYS];
    bp_data_source *source = &netfile->source;
    netfile->data_line = node->line;
    netfile->data_column = node->column;
    bp_status status =
        bp_schema_read(reader, is_map ? node : &nothing, "data", &bp_schema_data, netfile, values);
    if (status == BP_OK && !is_map)
        status = bp_schema_value(reader, bp_schema_key(&bp_schema_data, "name"), node, "data",
                                 &source->name);
    if (status == BP_OK && is_map) status = check_keys(reader, node, source, values);
    if (status != BP_OK) return status;
    if (!source->format) source->format = BP_DATA_NAMED;
    if (source->format != BP_DATA_NAMED) {
        const char *slash = strrchr(source->path, '/');
        source->name = slash && slash[1] ? slash + 1 : source->path;
    }
    source->no_header = !netfile->has_header;
    source->validation_fraction = fraction(source->validation_fraction);
    source->test_fraction = fraction(source->test_fraction);
    return BP_OK;
}
