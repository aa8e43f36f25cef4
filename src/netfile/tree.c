/* SPDX-License-Identifier: Apache-2.0 */
/* libyaml's events become a tree. Depth is limited on the events, before anything recurses. */
#include "netfile/tree.h"

#include <string.h>
#include <yaml.h>

/* One run of libyaml over text[base ...]. */
typedef struct builder {
    bp_tree *tree;
    const char *text; /* the whole source */
    size_t n_bytes;
    size_t limit;  /* the source goes on up to here */
    bool is_inner; /* a list in a scalar, see list_in_repeat */
    size_t base;   /* where this run starts, and what place that is */
    int32_t base_line, base_column;
    size_t characters, bytes; /* one known pair of a libyaml index and its byte */
    uint32_t open[BP_NETFILE_MAX_DEPTH];
    uint32_t last_child[BP_NETFILE_MAX_DEPTH];
    uint32_t depth, outer_depth;
    uint32_t root;
    uint32_t n_documents;
    bool done;
    bp_error *error;
} builder;

static bp_status read_events(builder *b);

/* --- places --------------------------------------------------------------------------------- */

/* libyaml counts characters. Its marks hardly move between two calls, so walking from the last one
 * keeps the whole parse linear. */
static size_t byte_of(builder *b, const yaml_mark_t *mark) {
    while (b->characters < mark->index && b->bytes < b->n_bytes) {
        b->bytes += bp_character_bytes(b->text + b->bytes, b->n_bytes - b->bytes);
        b->characters++;
    }
    while (b->characters > mark->index && b->bytes > b->base) {
        do b->bytes--;
        while (((uint8_t)b->text[b->bytes] & 0xc0) == 0x80);
        b->characters--;
    }
    return b->bytes;
}

static int32_t line_of(const builder *b, const yaml_mark_t *mark) {
    return b->base_line + (int32_t)mark->line;
}

static int32_t column_of(const builder *b, const yaml_mark_t *mark) {
    return (mark->line == 0 ? b->base_column : 1) + (int32_t)mark->column;
}

static bp_status refuse(const builder *b, const yaml_mark_t *mark, const char *why) {
    return bp_fail_at(b->error, line_of(b, mark), column_of(b, mark), "%s", why);
}

static bp_status no_memory(const builder *b) {
    return bp_fail(b->error, BP_ERROR_MEMORY, "no memory to read the network file");
}

/* --- what libyaml refuses ------------------------------------------------------------------- */

static bool only_blanks_before(const builder *b, size_t at) {
    while (at > b->base && (b->text[at - 1] == ' ' || b->text[at - 1] == '\t')) at--;
    return at == 0 || b->text[at - 1] == '\n' || b->text[at - 1] == '\r';
}

static bool follows_times(const builder *b, size_t at) {
    while (at > b->base && b->text[at - 1] == ' ') at--;
    return at >= 3 && b->text[at - 1] == 'x' && b->text[at - 2] == ' ' && b->text[at - 3] >= '0' &&
           b->text[at - 3] <= '9';
}

/* The text of an inner run ends where YAML ends the plain scalar, perhaps too early. */
static bp_status inner_refused(const builder *b) {
    const bool cut_at_colon = b->n_bytes < b->limit && b->text[b->n_bytes] == ':';
    return bp_fail_at(
        b->error, b->base_line, b->base_column,
        cut_at_colon ? "a repeated list with long items is written {repeat: 8, net: [{dense: 64}]}"
                     : "the list of '8 x [dense 64]' is not closed, or more follows it");
}

static bp_status yaml_refused(builder *b, const yaml_parser_t *parser) {
    if (parser->error == YAML_MEMORY_ERROR) return no_memory(b);
    const yaml_mark_t *mark = &parser->problem_mark;
    const size_t at = byte_of(b, mark);
    const char found = at < b->n_bytes ? b->text[at] : '\0';
    if (found == '\t')
        return refuse(b, mark,
                      only_blanks_before(b, at) ? "a tab cannot indent; use spaces"
                                                : "a tab cannot stand here; use a space");
    if (b->is_inner) return inner_refused(b);
    if (found == '[' && follows_times(b, at))
        return refuse(b, mark,
                      "inside brackets a repeated list is written {repeat: 8, net: [dense 64]}");
    const char *problem = parser->problem ? parser->problem : "it cannot be read";
    if (strstr(problem, "<document start>"))
        return refuse(b, mark, "unexpected text behind the end of the file's mapping");
    if (parser->context && parser->context_mark.line != mark->line)
        return bp_fail_at(b->error, line_of(b, mark), column_of(b, mark),
                          "not valid YAML: %s %s that starts at line %d", problem, parser->context,
                          line_of(b, &parser->context_mark));
    return bp_fail_at(b->error, line_of(b, mark), column_of(b, mark), "not valid YAML: %s%s%s",
                      problem, parser->context ? " " : "", parser->context ? parser->context : "");
}

/* --- nodes ---------------------------------------------------------------------------------- */

static void *grown(const bp_tree *tree, void *block, size_t *capacity, size_t size, size_t needed) {
    size_t wanted = *capacity ? *capacity : 64;
    while (wanted < needed) wanted *= 2;
    void *larger =
        tree->allocator.resize(tree->allocator.context, block, *capacity * size, wanted * size);
    if (larger) *capacity = wanted;
    return larger;
}

static bool keep_text(bp_tree *tree, bp_node *node, const char *value, size_t length) {
    if (tree->texts_length + length + 1 > tree->texts_capacity) {
        char *texts =
            grown(tree, tree->texts, &tree->texts_capacity, 1, tree->texts_length + length + 1);
        if (!texts) return false;
        tree->texts = texts;
    }
    node->text = tree->texts_length;
    node->text_length = length;
    memcpy(tree->texts + node->text, value, length);
    tree->texts[node->text + length] = '\0';
    tree->texts_length += length + 1;
    return true;
}

static bool is_key_next(const builder *b) {
    const bp_node *parent = &b->tree->nodes[b->open[b->depth - 1]];
    return parent->kind == BP_NODE_MAP && parent->n_children % 2 == 0;
}

static void hang_on_parent(builder *b, uint32_t id) {
    if (b->depth == b->outer_depth) {
        b->root = id;
        return;
    }
    bp_node *nodes = b->tree->nodes;
    bp_node *parent = &nodes[b->open[b->depth - 1]];
    if (parent->n_children++ == 0)
        parent->first = id;
    else
        nodes[b->last_child[b->depth - 1]].next = id;
    b->last_child[b->depth - 1] = id;
}

static bp_status add_node(builder *b, const yaml_event_t *event, bp_node_kind kind,
                          bp_node **added) {
    bp_tree *tree = b->tree;
    const yaml_mark_t *mark = &event->start_mark;
    if (kind != BP_NODE_SCALAR && b->depth > b->outer_depth && is_key_next(b))
        return refuse(b, mark, "a key must be a word, found a list or a mapping");
    if (tree->n_nodes >= BP_TREE_MAX_NODES)
        return refuse(b, mark, "the file has more than 100000 values; that is no network file");
    if (tree->n_nodes == tree->capacity) {
        bp_node *nodes =
            grown(tree, tree->nodes, &tree->capacity, sizeof *nodes, (size_t)tree->n_nodes + 1);
        if (!nodes) return no_memory(b);
        tree->nodes = nodes;
    }
    bp_node *node = &tree->nodes[tree->n_nodes];
    *node = (bp_node){.kind = kind,
                      .first = BP_NO_NODE,
                      .next = BP_NO_NODE,
                      .inner = BP_NO_NODE,
                      .line = line_of(b, mark),
                      .column = column_of(b, mark)};
    node->start = byte_of(b, mark);
    node->end = byte_of(b, &event->end_mark);
    hang_on_parent(b, tree->n_nodes++);
    *added = node;
    return BP_OK;
}

/* --- events --------------------------------------------------------------------------------- */

/* "8 x [dense 64 relu, dense 64]" is a plain scalar for YAML; the list in it is read by a run of
 * its own. Brackets cannot stand in a plain scalar inside brackets, so this happens once at most.
 */
static size_t list_in_repeat(const builder *b, const bp_node *node) {
    size_t at = node->start;
    while (at < node->end && b->text[at] >= '0' && b->text[at] <= '9') at++;
    if (at == node->start || node->end - at < 4 || memcmp(b->text + at, " x ", 3) != 0) return 0;
    for (at += 3; at < node->end && b->text[at] == ' ';) at++;
    return at < node->end && b->text[at] == '[' ? at : 0;
}

static bp_status read_inner(builder *b, uint32_t id) {
    const bp_node node = b->tree->nodes[id];
    const size_t list = list_in_repeat(b, &node);
    if (!node.plain || list == 0) return BP_OK;
    builder inner = {.tree = b->tree,
                     .text = b->text,
                     .n_bytes = node.end,
                     .limit = b->limit,
                     .is_inner = true,
                     .base = list,
                     .base_line = node.line,
                     .base_column = node.column + (int32_t)(list - node.start),
                     .bytes = list,
                     .depth = b->depth,
                     .outer_depth = b->depth,
                     .error = b->error};
    const bp_status status = read_events(&inner);
    if (status == BP_OK) b->tree->nodes[id].inner = inner.root;
    return status;
}

static bp_status take_scalar(builder *b, const yaml_event_t *event) {
    const char *value = (const char *)event->data.scalar.value;
    const size_t length = event->data.scalar.length;
    const yaml_scalar_style_t style = event->data.scalar.style;
    if (event->data.scalar.anchor || event->data.scalar.tag)
        return refuse(b, &event->start_mark, "anchors (&) and tags (!) are not used here");
    if (memchr(value, '\0', length)) return refuse(b, &event->start_mark, "a NUL byte in a text");
    bp_node *node;
    const bp_status status = add_node(b, event, BP_NODE_SCALAR, &node);
    if (status != BP_OK) return status;
    node->plain = style == YAML_PLAIN_SCALAR_STYLE;
    if (style == YAML_LITERAL_SCALAR_STYLE || style == YAML_FOLDED_SCALAR_STYLE)
        while (node->end > node->start && strchr(" \t\r\n", b->text[node->end - 1])) node->end--;
    if (!keep_text(b->tree, node, value, length)) return no_memory(b);
    return read_inner(b, (uint32_t)(node - b->tree->nodes));
}

static bp_status open_collection(builder *b, const yaml_event_t *event, bp_node_kind kind) {
    const bool list = kind == BP_NODE_LIST;
    const yaml_char_t *anchor =
        list ? event->data.sequence_start.anchor : event->data.mapping_start.anchor;
    const yaml_char_t *tag = list ? event->data.sequence_start.tag : event->data.mapping_start.tag;
    if (anchor || tag)
        return refuse(b, &event->start_mark, "anchors (&) and tags (!) are not used here");
    if (b->depth == BP_NETFILE_MAX_DEPTH)
        return bp_fail_at(b->error, line_of(b, &event->start_mark),
                          column_of(b, &event->start_mark), "nested deeper than %d levels",
                          BP_NETFILE_MAX_DEPTH);
    bp_node *node;
    const bp_status status = add_node(b, event, kind, &node);
    if (status != BP_OK) return status;
    node->flow = list ? event->data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE
                      : event->data.mapping_start.style == YAML_FLOW_MAPPING_STYLE;
    b->open[b->depth++] = (uint32_t)(node - b->tree->nodes);
    return BP_OK;
}

/* libyaml ends a block at the next token, behind comments and blank lines; here it ends with its
 * last child. */
static void close_collection(builder *b, const yaml_event_t *event) {
    bp_node *node = &b->tree->nodes[b->open[--b->depth]];
    const size_t end = byte_of(b, &event->end_mark);
    const bool has_end =
        node->flow && end > node->start && (b->text[end - 1] == ']' || b->text[end - 1] == '}');
    if (has_end)
        node->end = end;
    else if (node->n_children)
        node->end = b->tree->nodes[b->last_child[b->depth]].end;
}

static bp_status start_document(builder *b, const yaml_event_t *event) {
    if (b->n_documents++)
        return refuse(b, &event->start_mark,
                      "a second document starts here; a network file has one");
    if (event->data.document_start.version_directive ||
        event->data.document_start.tag_directives.start !=
            event->data.document_start.tag_directives.end)
        return refuse(b, &event->start_mark, "directives (%) are not used here");
    return BP_OK;
}

static bp_status take_event(builder *b, const yaml_event_t *event) {
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        return start_document(b, event);
    case YAML_ALIAS_EVENT:
        return refuse(b, &event->start_mark, "aliases (*) are not used here");
    case YAML_SCALAR_EVENT:
        return take_scalar(b, event);
    case YAML_SEQUENCE_START_EVENT:
        return open_collection(b, event, BP_NODE_LIST);
    case YAML_MAPPING_START_EVENT:
        return open_collection(b, event, BP_NODE_MAP);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        close_collection(b, event);
        return BP_OK;
    case YAML_STREAM_END_EVENT:
        b->done = true;
        return BP_OK;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        return BP_OK;
    }
    return BP_OK;
}

static bp_status read_events(builder *b) {
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) return no_memory(b);
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)b->text + b->base,
                                 b->n_bytes - b->base);
    bp_status status = BP_OK;
    while (status == BP_OK && !b->done) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            status = yaml_refused(b, &parser);
            break;
        }
        status = take_event(b, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return status;
}

bp_status bp_tree_parse(bp_tree *tree, const char *text, size_t n_bytes,
                        const bp_allocator *allocator, bp_error *error) {
    /* A byte order mark would count as a character of the first line and shift its columns. */
    const size_t base = n_bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    bp_status status = bp_check_characters(text + base, n_bytes - base, error);
    if (status != BP_OK) return status;
    bp_tree built = {.allocator = *bp_allocator_or_system(allocator)};
    builder b = {.tree = &built,
                 .text = text,
                 .n_bytes = n_bytes,
                 .limit = n_bytes,
                 .base = base,
                 .base_line = 1,
                 .base_column = 1,
                 .bytes = base,
                 .error = error};
    status = read_events(&b);
    if (status == BP_OK && built.n_nodes == 0)
        status = bp_fail_at(error, 1, 1, "the file is empty; it needs version, data and net");
    if (status != BP_OK) {
        bp_tree_finish(&built);
        return status;
    }
    *tree = built;
    return BP_OK;
}

void bp_tree_finish(bp_tree *tree) {
    bp_release(&tree->allocator, tree->nodes, tree->capacity, sizeof *tree->nodes);
    bp_release(&tree->allocator, tree->texts, tree->texts_capacity, 1);
}

/* --- reading the tree ----------------------------------------------------------------------- */

static const bp_node *node_at(const bp_tree *tree, uint32_t id) {
    return id == BP_NO_NODE ? NULL : &tree->nodes[id];
}

const bp_node *bp_tree_root(const bp_tree *tree) {
    return tree->nodes;
}

const bp_node *bp_node_first(const bp_tree *tree, const bp_node *node) {
    return node_at(tree, node->first);
}

const bp_node *bp_node_next(const bp_tree *tree, const bp_node *node) {
    return node_at(tree, node->next);
}

const bp_node *bp_node_inner(const bp_tree *tree, const bp_node *node) {
    return node_at(tree, node->inner);
}

const char *bp_node_text(const bp_tree *tree, const bp_node *node) {
    return node->kind == BP_NODE_SCALAR ? tree->texts + node->text : "";
}

const char *bp_node_found(const bp_tree *tree, const bp_node *node, char found[BP_FOUND_BYTES]) {
    if (node->kind != BP_NODE_SCALAR) {
        if (node->kind == BP_NODE_LIST) return node->n_children ? "a list" : "an empty list";
        return node->n_children ? "a mapping" : "an empty mapping";
    }
    if (node->text_length == 0) return "nothing";
    char safe[BP_FOUND_BYTES];
    bp_text text;
    bp_text_init(&text, found, BP_FOUND_BYTES);
    bp_text_add(&text, "'%s'", bp_safe_text(bp_node_text(tree, node), node->text_length, safe));
    return found;
}
