/* SPDX-License-Identifier: Apache-2.0 */
/* The status of a call and the sentence that explains a failure. */
#include "base/base.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const char *bp_version(void) {
    return BP_VERSION;
}

const char *bp_status_name(bp_status status) {
    switch (status) {
    case BP_OK:
        return "good";
    case BP_ERROR_ARGUMENT:
        return "bad argument";
    case BP_ERROR_INPUT:
        return "bad input";
    case BP_ERROR_IO:
        return "i/o";
    case BP_ERROR_MEMORY:
        return "memory";
    case BP_ERROR_LIMIT:
        return "limit";
    case BP_ERROR_BLIND:
        return "blind";
    case BP_ERROR_NOT_SUPPORTED:
        return "not supported";
    }
    return "unknown";
}

/* A sentence may quote a hostile file and ends up in a terminal: no control character survives,
 * neither ASCII's nor the C1 set, which UTF-8 writes as C2 80 ... C2 9F. */
static void defuse(char *text) {
    for (unsigned char *at = (unsigned char *)text; *at; at++) {
        if (*at < 0x20 || *at == 0x7f) *at = '?';
        if (at[0] == 0xc2 && at[1] >= 0x80 && at[1] <= 0x9f) at[0] = at[1] = '?';
    }
}

static void fill(bp_error *error, bp_status status, const char *format, va_list arguments) {
    char text[BP_ERROR_TEXT_BYTES] = ""; /* an argument may lie in the error itself */
    vsnprintf(text, sizeof text, format, arguments);
    defuse(text);
    error->status = status;
    error->os_errno = 0;
    error->offset = -1;
    error->line = 0;
    error->column = 0;
    memcpy(error->text, text, sizeof text);
}

bp_status bp_fail(bp_error *error, bp_status status, const char *format, ...) {
    if (!error) return status;
    int kept_errno = errno;
    va_list arguments;
    va_start(arguments, format);
    fill(error, status, format, arguments);
    va_end(arguments);
    errno = kept_errno;
    return status;
}

bp_status bp_fail_at(bp_error *error, int32_t line, int32_t column, const char *format, ...) {
    if (!error) return BP_ERROR_INPUT;
    int kept_errno = errno;
    va_list arguments;
    va_start(arguments, format);
    fill(error, BP_ERROR_INPUT, format, arguments);
    va_end(arguments);
    error->line = line;
    error->column = column;
    errno = kept_errno;
    return BP_ERROR_INPUT;
}

static const char *system_reason(int os_errno, char *buffer, size_t capacity) {
#ifdef __GLIBC__
    return strerror_r(os_errno, buffer, capacity);
#else
    if (strerror_r(os_errno, buffer, capacity) != 0)
        snprintf(buffer, capacity, "error %d", os_errno);
    return buffer;
#endif
}

bp_status bp_fail_os(bp_error *error, int os_errno, const char *format, ...) {
    if (!error) return BP_ERROR_IO;
    int kept_errno = errno;
    va_list arguments;
    va_start(arguments, format);
    fill(error, BP_ERROR_IO, format, arguments);
    va_end(arguments);
    error->os_errno = os_errno;
    char buffer[128], reason[132];
    snprintf(reason, sizeof reason, ": %s", system_reason(os_errno, buffer, sizeof buffer));
    /* A long path must not push the reason out. */
    size_t length = strlen(error->text), last = sizeof error->text - 1 - strlen(reason);
    memcpy(error->text + (length < last ? length : last), reason, strlen(reason) + 1);
    errno = kept_errno;
    return BP_ERROR_IO;
}
