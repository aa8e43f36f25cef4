/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/choice.h"

#include <string.h>

static bp_status add_all(bp_choice *choice, const bp_words *words, bool ignore, bp_error *error) {
    bp_status status = BP_OK;
    for (size_t i = 0; status == BP_OK && i < words->n; i++)
        status = bp_choice_add(choice, words->items[i], ignore, error);
    return status;
}

int bp_choice_read(const bp_command *command, bp_choice *choice, const bp_choice_options *given) {
    bp_error error = {.status = BP_OK};
    *choice = (bp_choice){0};
    if (add_all(choice, &given->select, false, &error) != BP_OK)
        return bp_usage_error(command, "--select: %s", error.text);
    if (add_all(choice, &given->ignore, true, &error) != BP_OK)
        return bp_usage_error(command, "--ignore: %s", error.text);
    return -1;
}

int bp_fail_on(const bp_choice_options *given) {
    for (int severity = BP_HINT; severity <= BP_ERROR; severity++)
        if (strcmp(given->fail_on, bp_severity_name((bp_severity)severity)) == 0) return severity;
    return 0;
}
