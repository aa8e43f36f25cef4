/* SPDX-License-Identifier: Apache-2.0 */
/* Decompression through zlib, into memory that grows with what really comes out. */
#include "formats/array.h"

#define ZLIB_CONST
#include <zlib.h>

#define STEP ((size_t)1 << 30) /* zlib counts in 32 bits */

typedef struct inflation {
    z_stream stream;
    const bp_allocator *allocator;
    const uint8_t *bytes;
    size_t n_bytes, n_given;
    uint8_t *out;
    size_t n_out, capacity, limit;
} inflation;

static bp_status refuse_size(const inflation *job, bp_error *error) {
    return bp_fail(error, BP_ERROR_LIMIT, "more than %zu bytes come out of it, the limit",
                   job->limit);
}

static bp_status grow(inflation *job, bp_error *error) {
    const size_t most = job->limit + 1; /* so that exactly the limit can be seen to end */
    size_t wanted = job->capacity ? 2 * job->capacity : 65536;
    if (wanted > most) wanted = most;
    uint8_t *grown = job->allocator->resize(job->allocator->context, job->out,
                                            job->out ? job->capacity + 1 : 0, wanted + 1);
    if (!grown) return bp_fail(error, BP_ERROR_MEMORY, "no memory to decompress");
    job->out = grown;
    job->capacity = wanted;
    return BP_OK;
}

static void feed(inflation *job) {
    const size_t left = job->n_bytes - job->n_given, n = left < STEP ? left : STEP;
    if (job->stream.avail_in > 0) return;
    job->stream.next_in = job->bytes + job->n_given;
    job->stream.avail_in = (uInt)n;
    job->n_given += n;
}

/* One call of zlib; *ended at the end of the stream. */
static bp_status advance(inflation *job, bool *ended, bp_error *error) {
    if (job->n_out == job->capacity) {
        const bp_status status = grow(job, error);
        if (status != BP_OK) return status;
    }
    feed(job);
    const size_t room = job->capacity - job->n_out, n = room < STEP ? room : STEP;
    job->stream.next_out = job->out + job->n_out;
    job->stream.avail_out = (uInt)n;
    const int code = inflate(&job->stream, Z_NO_FLUSH);
    job->n_out += n - job->stream.avail_out;
    if (job->n_out > job->limit) return refuse_size(job, error);
    *ended = code == Z_STREAM_END;
    if (code == Z_OK || code == Z_STREAM_END) return BP_OK;
    return bp_fail(error, code == Z_MEM_ERROR ? BP_ERROR_MEMORY : BP_ERROR_INPUT,
                   "the compressed data are damaged or cut (%s)",
                   job->stream.msg ? job->stream.msg : "unexpected end");
}

/* gzip allows members behind each other. */
static bp_status run(inflation *job, bool members, bp_error *error) {
    for (;;) {
        bool ended = false;
        while (!ended) {
            const bp_status status = advance(job, &ended, error);
            if (status != BP_OK) return status;
        }
        const bool more = job->stream.avail_in > 0 || job->n_given < job->n_bytes;
        if (!more) return BP_OK;
        if (!members || inflateReset(&job->stream) != Z_OK)
            return bp_fail(error, BP_ERROR_INPUT, "bytes follow the end of the compressed data");
    }
}

bp_status bp_inflate(bp_deflate_form form, const uint8_t *bytes, size_t n_bytes, size_t limit,
                     const bp_allocator *allocator, uint8_t **out, size_t *n_out, bp_error *error) {
    inflation job = {.allocator = allocator, .bytes = bytes, .n_bytes = n_bytes, .limit = limit};
    if (inflateInit2(&job.stream, form == BP_DEFLATE_RAW ? -MAX_WBITS : MAX_WBITS + 16) != Z_OK)
        return bp_fail(error, BP_ERROR_MEMORY, "no memory to decompress");
    bp_status status = run(&job, form == BP_DEFLATE_GZIP, error);
    inflateEnd(&job.stream);
    if (status == BP_OK) { /* cut to size, so that the caller need not know the capacity */
        uint8_t *fit =
            allocator->resize(allocator->context, job.out, job.capacity + 1, job.n_out + 1);
        if (fit) {
            fit[job.n_out] = 0;
            *out = fit;
            *n_out = job.n_out;
            return BP_OK;
        }
        status = bp_fail(error, BP_ERROR_MEMORY, "no memory to decompress");
    }
    bp_release(allocator, job.out, job.capacity + 1, 1);
    return status;
}
