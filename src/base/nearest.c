/* SPDX-License-Identifier: Apache-2.0 */
/* The word that was probably meant. */
#include "base/base.h"

#include <string.h>

enum { MAX_WORD = 63 };

static char lower(char letter) {
    return letter >= 'A' && letter <= 'Z' ? (char)(letter + ('a' - 'A')) : letter;
}

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Damerau-Levenshtein (optimal string alignment): insert, delete, replace, swap neighbours. */
static size_t edit_distance(const char *a, size_t n_a, const char *b, size_t n_b) {
    size_t rows[3][MAX_WORD + 1]; /* the two rows before and the one under construction */
    size_t *older = rows[0], *old = rows[1], *now = rows[2];
    for (size_t j = 0; j <= n_b; j++) old[j] = j;
    for (size_t i = 1; i <= n_a; i++) {
        now[0] = i;
        for (size_t j = 1; j <= n_b; j++) {
            bool same = lower(a[i - 1]) == lower(b[j - 1]);
            size_t least = old[j - 1] + !same;
            least = smaller(least, smaller(old[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
                lower(a[i - 2]) == lower(b[j - 1]))
                least = smaller(least, older[j - 2] + 1);
            now[j] = least;
        }
        size_t *spare = older;
        older = old;
        old = now;
        now = spare;
    }
    return old[n_b];
}

static bool begins_with(const char *word, const char *text) {
    for (; *text; word++, text++)
        if (lower(*word) != lower(*text)) return false;
    return true;
}

const char *bp_nearest_word(const char *text, const char *const *words, size_t n_words) {
    size_t length = strlen(text);
    if (length == 0 || length > MAX_WORD) return NULL;
    /* Fewer edits than letters: else any one-letter word would be "near" any other. */
    size_t accepted = smaller(length / 3 > 1 ? length / 3 : 1, length - 1);
    const char *nearest = NULL, *continued = NULL;
    size_t nearest_distance = accepted + 1, n_continued = 0;
    for (size_t i = 0; i < n_words; i++) {
        size_t word_length = strlen(words[i]);
        if (word_length <= MAX_WORD) {
            size_t distance = edit_distance(text, length, words[i], word_length);
            if (distance < nearest_distance) {
                nearest_distance = distance;
                nearest = words[i];
            }
        }
        if (length >= 3 && begins_with(words[i], text)) {
            continued = words[i];
            n_continued++;
        }
    }
    if (nearest) return nearest;
    return n_continued == 1 ? continued : NULL;
}
