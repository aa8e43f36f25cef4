/* SPDX-License-Identifier: Apache-2.0 */
/* Many names in a few words: those that differ by one number become a range. */
#include "remedy/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIN_RANGE 3u     /* fewer are as short when written out */
#define MAX_DIGITS 9u    /* of a number that is counted */
#define MAX_RANGES 64u   /* further names are written out */
#define LINE_COLUMNS 88u /* of code */

void bp_names_add(bp_names *names, const bp_allocator *allocator, const char *name) {
    if (names->failed) return;
    if (names->n == names->capacity) {
        const uint32_t wanted = 2 * names->capacity + 16;
        const char **list = allocator->resize(
            allocator->context, names->list, names->capacity * sizeof *list, wanted * sizeof *list);
        names->failed = !list;
        if (!list) return;
        names->list = list;
        names->capacity = wanted;
    }
    names->list[names->n++] = name;
}

void bp_names_finish(bp_names *names, const bp_allocator *allocator) {
    bp_release(allocator, names->list, names->capacity, sizeof *names->list);
    *names = (bp_names){0};
}

/* --- ranges -------------------------------------------------------------------------------------
 */

typedef struct range {
    const char *name;      /* the first: prefix, number, suffix */
    size_t prefix, suffix; /* bytes before the number; where what follows it begins */
    uint64_t first, step, count;
} range;

/* Names that are not part of a range yet, and which places `values` came from. */
typedef struct search {
    const bp_names *names;
    bool *taken;
    uint64_t *values;
} search;

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* The number at `at`; its end, NULL where it is none that could be counted. */
static const char *number_at(const char *at, uint64_t *value) {
    const char *end = at;
    *value = 0;
    while (is_digit(*end)) *value = 10 * *value + (uint64_t)(*end++ - '0');
    const size_t n = (size_t)(end - at);
    return n == 0 || n > MAX_DIGITS || (n > 1 && *at == '0') ? NULL : end;
}

/* The number of a name that is like r->name but for it. */
static bool number_like(const char *name, const range *r, uint64_t *value) {
    if (strncmp(name, r->name, r->prefix) != 0) return false;
    const char *end = number_at(name + r->prefix, value);
    return end && strcmp(end, r->name + r->suffix) == 0;
}

static int compare(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The longest run of equal steps up from the first's number. */
static void measure(range *r, const search *s) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->names->n; i++) {
        uint64_t value;
        if (s->taken[i] || !number_like(s->names->list[i], r, &value)) continue;
        if (value > r->first) s->values[n++] = value;
    }
    r->count = 1;
    if (n == 0) return;
    qsort(s->values, n, sizeof *s->values, compare);
    r->step = s->values[0] - r->first;
    for (uint32_t i = 0; i < n; i++)
        if (s->values[i] == r->first + r->count * r->step) r->count++;
}

static range longest_range(const char *name, const search *s) {
    range best = {.name = name, .count = 1};
    for (const char *at = name; *at; at++) {
        if (!is_digit(*at) || (at > name && is_digit(at[-1]))) continue;
        range r = {.name = name, .prefix = (size_t)(at - name)};
        const char *end = number_at(at, &r.first);
        if (!end) continue;
        r.suffix = (size_t)(end - name);
        measure(&r, s);
        if (r.count > best.count) best = r;
    }
    return best;
}

static void take(const range *r, const search *s) {
    for (uint32_t i = 0; i < s->names->n; i++) {
        uint64_t value;
        if (s->taken[i] || !number_like(s->names->list[i], r, &value) || value < r->first) continue;
        const uint64_t distance = value - r->first;
        s->taken[i] = distance % r->step == 0 && distance / r->step < r->count;
    }
}

/* --- expressions --------------------------------------------------------------------------------
 */

static void add_range_call(bp_code *code, const range *r) {
    const unsigned long long end = r->first + (r->count - 1) * r->step + 1;
    if (r->step > 1)
        bp_code_add(code, "range(%llu, %llu, %llu)", (unsigned long long)r->first, end,
                    (unsigned long long)r->step);
    else if (r->first > 0)
        bp_code_add(code, "range(%llu, %llu)", (unsigned long long)r->first, end);
    else
        bp_code_add(code, "range(%llu)", end);
}

/* f"net.{i}" */
static void add_pattern(bp_code *code, const range *r) {
    bp_code_add(code, "f\"%.*s{i}%s\"", (int)r->prefix, r->name, r->name + r->suffix);
}

/* Inside a formatted literal braces, quotes and backslashes mean something. */
static bool can_be_pattern(const char *name) {
    for (const char *at = name; *at; at++)
        if ((unsigned char)*at < 0x20 || strchr("{}\"\\\x7f", *at)) return false;
    return true;
}

static bool is_keyword(const char *word, size_t n) {
    static const char *const words[] = {
        "False",  "None",   "True",  "and",      "as",      "assert",   "async",
        "await",  "break",  "class", "continue", "def",     "del",      "elif",
        "else",   "except", "for",   "from",     "finally", "global",   "if",
        "import", "in",     "is",    "not",      "lambda",  "nonlocal", "or",
        "pass",   "raise",  "try",   "return",   "while",   "with",     "yield"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strlen(words[i]) == n && strncmp(words[i], word, n) == 0) return true;
    return false;
}

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_identifier(const char *word, size_t n) {
    if (n == 0 || !is_letter(*word) || is_keyword(word, n)) return false;
    for (size_t i = 0; i < n; i++)
        if (!is_letter(word[i]) && !is_digit(word[i])) return false;
    return true;
}

static bool is_index(const char *word, size_t n) {
    uint64_t value;
    return n > 0 && number_at(word, &value) == word + n;
}

/* All components are names or indices, and `variable` (NULL: none) begins one of the latter. */
static bool is_path(const char *name, const char *variable) {
    bool found = !variable;
    for (const char *at = name;; at++) {
        const size_t n = strcspn(at, ".");
        const bool index = is_index(at, n);
        if (!index && !is_identifier(at, n)) return false;
        found |= index && at == variable;
        at += n;
        if (!*at) return found;
    }
}

/* Adds model.net[0].conv for "net.0.conv", with `i` for the index at `variable`. */
static void add_path(bp_code *code, const char *name, const char *variable) {
    bp_code_add(code, "model");
    for (const char *at = name;; at++) {
        const size_t n = strcspn(at, ".");
        if (at == variable)
            bp_code_add(code, "[i]");
        else
            bp_code_add(code, is_digit(*at) ? "[%.*s]" : ".%.*s", (int)n, at);
        at += n;
        if (!*at) return;
    }
}

bp_name_form bp_names_add_one(bp_code *code, const char *name) {
    const bool path = is_path(name, NULL);
    if (path)
        add_path(code, name, NULL);
    else
        bp_code_text(code, name);
    return path ? BP_NAME_PATH : BP_NAME_TEXT;
}

/* One range and nothing else: `for i in range(…):` */
static bp_name_form add_range_loop(bp_code *code, bp_code *one, const range *r) {
    bp_code_add(code, "for i in ");
    add_range_call(code, r);
    bp_code_add(code, ":\n");
    const bool path = is_path(r->name, r->name + r->prefix);
    if (path)
        add_path(one, r->name, r->name + r->prefix);
    else
        add_pattern(one, r);
    return path ? BP_NAME_PATH : BP_NAME_TEXT;
}

/* The names as items of a list; long lists have lines of their own. */
static void add_items(bp_code *code, const search *s, bool lines) {
    size_t column = LINE_COLUMNS;
    uint32_t n_ranges = 0;
    for (uint32_t i = 0; i < s->names->n; i++) {
        const char *name = s->names->list[i];
        if (s->taken[i]) continue;
        const bool look = n_ranges < MAX_RANGES && can_be_pattern(name);
        const range r = look ? longest_range(name, s) : (range){.count = 1};
        bp_code item = {.allocator = code->allocator};
        if (r.count >= MIN_RANGE) {
            bp_code_add(&item, "*(");
            add_pattern(&item, &r);
            bp_code_add(&item, " for i in ");
            add_range_call(&item, &r);
            bp_code_add(&item, ")");
            take(&r, s);
            n_ranges++;
        } else {
            bp_code_text(&item, name);
            s->taken[i] = true;
        }
        const bool begins = lines && column + item.length + 2 > LINE_COLUMNS;
        if (begins)
            bp_code_add(code, "%s\n    ", column == LINE_COLUMNS ? "" : ",");
        else if (i > 0)
            bp_code_add(code, ", ");
        column = begins ? 4 + item.length : column + item.length + 2;
        code->failed |= item.failed;
        if (!item.failed) bp_code_add(code, "%s", item.bytes);
        bp_code_finish(&item);
    }
    if (lines) bp_code_add(code, ",\n");
}

static bp_name_form add_loop(bp_code *code, bp_code *one, const search *s) {
    const char *first = s->names->list[0];
    if (can_be_pattern(first)) {
        const range r = longest_range(first, s);
        if (r.count == s->names->n) return add_range_loop(code, one, &r);
    }
    bp_code items = {.allocator = code->allocator};
    add_items(&items, s, false);
    const bool lines = items.length + sizeof "for name in []:" > LINE_COLUMNS;
    if (lines) {
        items.length = 0;
        memset(s->taken, 0, s->names->n * sizeof *s->taken);
        add_items(&items, s, true);
    }
    code->failed |= items.failed;
    if (!items.failed) bp_code_add(code, "for name in [%s]:\n", items.bytes);
    bp_code_finish(&items);
    bp_code_add(one, "name");
    return BP_NAME_TEXT;
}

bp_name_form bp_names_add_loop(bp_code *code, bp_code *one, const bp_names *names) {
    const bp_allocator *allocator = &code->allocator;
    search s = {.names = names};
    s.taken = bp_allocate(allocator, names->n, sizeof *s.taken);
    s.values = bp_allocate(allocator, names->n, sizeof *s.values);
    bp_name_form form = BP_NAME_TEXT;
    if (s.taken && s.values)
        form = add_loop(code, one, &s);
    else
        code->failed = true;
    bp_release(allocator, s.taken, names->n, sizeof *s.taken);
    bp_release(allocator, s.values, names->n, sizeof *s.values);
    return form;
}
