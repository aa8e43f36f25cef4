/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const char *const words[] = {"sigmoid", "tanh",       "relu",          "leaky_relu", "gelu",
                                    "linear",  "layer_norm", "learning_rate", "lr"};
enum { N_WORDS = sizeof words / sizeof *words };

static void assert_nearest(const char *text, const char *expected) {
    const char *found = bp_nearest_word(text, words, N_WORDS);
    if (!expected) {
        assert_null(found);
        return;
    }
    assert_non_null(found);
    assert_string_equal(found, expected);
}

static void a_slip_is_understood(void **state) {
    (void)state;
    assert_nearest("sigmoid", "sigmoid");
    assert_nearest("Sigmoid", "sigmoid");
    assert_nearest("SIGMIOD", "sigmoid"); /* two letters swapped count once */
    assert_nearest("sgimoid", "sigmoid");
    assert_nearest("sigmoi", "sigmoid");
    assert_nearest("tahn", "tanh");
    assert_nearest("rleu", "relu");
    assert_nearest("leakyrelu", "leaky_relu");
    assert_nearest("learning-rate", "learning_rate");
    assert_nearest("layernorm", "layer_norm");
}

static void a_unique_beginning_is_understood(void **state) {
    (void)state;
    assert_nearest("sig", "sigmoid");
    assert_nearest("LEARN", "learning_rate");
    assert_nearest("lea", NULL); /* leaky_relu or learning_rate */
    assert_nearest("si", NULL);
}

static void what_is_far_is_not_guessed(void **state) {
    (void)state;
    assert_nearest("", NULL);
    assert_nearest("x", NULL);
    assert_nearest("softmax", NULL);
    assert_nearest("abcd", NULL);
    char endless[5000];
    memset(endless, 'a', sizeof endless - 1);
    endless[sizeof endless - 1] = '\0';
    assert_nearest(endless, NULL);
    const char *const long_words[] = {endless};
    assert_null(bp_nearest_word("sigmoid", long_words, 1));
    assert_null(bp_nearest_word("sigmoid", NULL, 0));
    const char *const letters[] = {"a", "b"};
    assert_null(bp_nearest_word("x", letters, 2)); /* one edit, but nothing in common */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slip_is_understood),
        cmocka_unit_test(a_unique_beginning_is_understood),
        cmocka_unit_test(what_is_far_is_not_guessed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
