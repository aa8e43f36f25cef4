/* SPDX-License-Identifier: Apache-2.0 */
/* What every other header needs: status codes, the error that a cold call fills, the allocator. */
#ifndef BACKPROBE_BASE_H
#define BACKPROBE_BASE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define BP_API __attribute__((visibility("default")))
#define BP_MUST_USE __attribute__((warn_unused_result))
#define BP_PRINTF(format_index, first) __attribute__((format(printf, format_index, first)))
#else
#define BP_API
#define BP_MUST_USE
#define BP_PRINTF(format_index, first)
#endif

/* 0 is good, negative is bad. The numbers are pinned for ever. A bad training value (NaN, Inf, an
 * empty tensor) is never an error: it is a reading. */
typedef enum bp_status {
    BP_OK = 0,
    BP_ERROR_ARGUMENT = -1,     /* the caller's mistake */
    BP_ERROR_INPUT = -2,        /* a file or text that is not what it should be */
    BP_ERROR_IO = -3,           /* the system refused; os_errno says why */
    BP_ERROR_MEMORY = -4,       /* the allocator refused */
    BP_ERROR_LIMIT = -5,        /* a stated limit was met */
    BP_ERROR_BLIND = -6,        /* the watch gave up earlier and says so */
    BP_ERROR_NOT_SUPPORTED = -7 /* well-formed, but not for this build or version */
} bp_status;

#define BP_ERROR_TEXT_BYTES 512

/* Lives on the caller's stack. Filled only when a call fails; always NUL-terminated. */
typedef struct bp_error {
    bp_status status;
    int os_errno;   /* 0 when the system was not involved */
    int64_t offset; /* place in a binary file, -1 when it has none */
    int32_t line;   /* 1-based place in a text file, 0 when it has none */
    int32_t column;
    char text[BP_ERROR_TEXT_BYTES]; /* one sentence without a full stop: place, expected, found */
} bp_error;

/* One function for all: new_bytes 0 frees, block NULL allocates. Returns NULL when it cannot.
 * Blocks are aligned for any type. Copied by every handle that takes one; the context is borrowed
 * until that handle is closed. */
typedef struct bp_allocator {
    void *(*resize)(void *context, void *block, size_t old_bytes, size_t new_bytes);
    void *context;
} bp_allocator;

/* The version of the library, "0.1.0"; static. */
BP_API const char *bp_version(void);

/* The name of a status, "bad input"; static, never NULL. */
BP_API const char *bp_status_name(bp_status status);

#ifdef __cplusplus
}
#endif
#endif
