/* SPDX-License-Identifier: Apache-2.0 */
/* Room base: memory, status, bytes, text of numbers, files and clock through one seam, random
 * numbers. It has never heard of networks. Everyone calls it; it calls nobody. */
#ifndef BP_BASE_BASE_H
#define BP_BASE_BASE_H

#include <backprobe/base.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

/* --- status.c ------------------------------------------------------------------------------- */

/* Fills *error (may be NULL) and returns status, so that a function can `return bp_fail(...)`. */
bp_status bp_fail(bp_error *error, bp_status status, const char *format, ...) BP_PRINTF(3, 4);
/* The same with the system's reason appended: "cannot open X: No space left on device". */
bp_status bp_fail_os(bp_error *error, int os_errno, const char *format, ...) BP_PRINTF(3, 4);
/* The same with a place in a text file; line and column are 1-based. */
bp_status bp_fail_at(bp_error *error, int32_t line, int32_t column, const char *format, ...)
    BP_PRINTF(4, 5);

/* --- memory.c ------------------------------------------------------------------------------- */

/* malloc behind the allocator interface. */
extern const bp_allocator bp_allocator_system;
/* The allocator to use for an option that may be NULL or empty. */
const bp_allocator *bp_allocator_or_system(const bp_allocator *allocator);
/* count * size zeroed bytes, checked for overflow; NULL when refused; count * size 0 gives a block
 * that may be freed. */
void *bp_allocate(const bp_allocator *allocator, size_t count, size_t size);
/* block may be NULL. count and size as allocated. */
void bp_release(const bp_allocator *allocator, void *block, size_t count, size_t size);
/* A copy of text; NULL when refused. Freed with bp_release_text. */
char *bp_copy_text(const bp_allocator *allocator, const char *text);
void bp_release_text(const bp_allocator *allocator, char *text);

/* --- text.c --------------------------------------------------------------------------------- */

/* A bounded text under construction; never overflows, always NUL-terminated; `cut` tells. */
typedef struct bp_text {
    char *bytes; /* borrowed */
    size_t capacity;
    size_t length;
    bool cut;
} bp_text;
void bp_text_init(bp_text *text, char *bytes, size_t capacity);
/* No %g, %f or %e: those follow the host's locale; bp_text_add_number is for them. */
void bp_text_add(bp_text *text, const char *format, ...) BP_PRINTF(2, 3);
/* A number as people read it ("0.14", "3.1e-18", "NaN", "Infinity", "-Infinity"), `digits`
 * significant digits, independent of the locale. */
void bp_text_add_number(bp_text *text, double value, int digits);
/* The same into bytes; returns bytes. 32 bytes are enough. */
char *bp_number_text(char *bytes, size_t capacity, double value, int digits);
/* The shortest text that reads back as the same double; non-finite as above. */
char *bp_number_exact(char *bytes, size_t capacity, double value);
/* Parses all of text as a finite decimal number, independent of the locale; false when it is none.
 */
bool bp_parse_number(const char *text, double *value);
bool bp_parse_integer(const char *text, int64_t *value);

/* --- nearest.c ------------------------------------------------------------------------------ */

/* The word of words[0 ... n - 1] nearest to text by edit distance or continuing it, NULL when none
 * is near enough to be meant. */
const char *bp_nearest_word(const char *text, const char *const *words, size_t n_words);

/* --- crc32c.c ------------------------------------------------------------------------------- */

uint32_t bp_crc32c(uint32_t crc, const void *bytes, size_t n_bytes); /* Castagnoli; start with 0 */

/* --- bytes.c -------------------------------------------------------------------------------- */

void bp_put_u16(uint8_t *bytes, uint16_t value); /* little endian */
void bp_put_u32(uint8_t *bytes, uint32_t value);
void bp_put_u64(uint8_t *bytes, uint64_t value);
uint16_t bp_get_u16(const uint8_t *bytes);
uint32_t bp_get_u32(const uint8_t *bytes);
uint64_t bp_get_u64(const uint8_t *bytes);

/* Appends to a fixed buffer; `cut` is sticky when it does not fit. */
typedef struct bp_writer {
    uint8_t *bytes; /* borrowed */
    size_t capacity, length;
    bool cut;
} bp_writer;
void bp_writer_init(bp_writer *writer, void *bytes, size_t capacity);
void bp_write_bytes(bp_writer *writer, const void *bytes, size_t n_bytes);
void bp_write_u8(bp_writer *writer, uint8_t value);
void bp_write_u16(bp_writer *writer, uint16_t value);
void bp_write_u32(bp_writer *writer, uint32_t value);
void bp_write_u64(bp_writer *writer, uint64_t value);
void bp_write_f64(bp_writer *writer, double value);
void bp_write_varint(bp_writer *writer, uint64_t value); /* LEB128 */
void bp_write_text(bp_writer *writer, const char *text); /* varint length, bytes; NULL as "" */

/* A bounded cursor; `bad` is sticky and everything read after it is 0. */
typedef struct bp_cursor {
    const uint8_t *bytes; /* borrowed */
    size_t length, position;
    bool bad;
} bp_cursor;
void bp_cursor_init(bp_cursor *cursor, const void *bytes, size_t n_bytes);
const uint8_t *bp_read_bytes(bp_cursor *cursor, size_t n_bytes); /* NULL when bad */
uint8_t bp_read_u8(bp_cursor *cursor);
uint16_t bp_read_u16(bp_cursor *cursor);
uint32_t bp_read_u32(bp_cursor *cursor);
uint64_t bp_read_u64(bp_cursor *cursor);
double bp_read_f64(bp_cursor *cursor);
uint64_t bp_read_varint(bp_cursor *cursor); /* at most 10 bytes */
/* A text of at most limit - 1 bytes without NUL inside, copied and NUL-terminated. */
void bp_read_text(bp_cursor *cursor, char *text, size_t limit);

/* --- io.c ----------------------------------------------------------------------------------- */

/* The one seam to the system: failing calls, frozen disks and time are unit tests. Functions
 * behave like the system calls of their names (negative result and errno). */
typedef struct bp_io {
    int (*open)(void *context, const char *path, int flags, mode_t mode);
    ssize_t (*read)(void *context, int file, void *bytes, size_t n_bytes);
    ssize_t (*write)(void *context, int file, const void *bytes, size_t n_bytes);
    ssize_t (*read_at)(void *context, int file, void *bytes, size_t n_bytes, uint64_t place);
    int (*fsync)(void *context, int file);
    int (*close)(void *context, int file);
    int (*rename)(void *context, const char *from, const char *to);
    int (*unlink)(void *context, const char *path);
    int (*mkdir)(void *context, const char *path, mode_t mode);
    double (*wall_clock)(void *context);   /* seconds since 1970 */
    double (*steady_clock)(void *context); /* seconds since some moment, never back */
    /* Gives the file n_bytes that are really there: nobody dies of SIGBUS because a disk is full.
     */
    int (*reserve)(void *context, int file, uint64_t n_bytes);
    int (*truncate)(void *context, int file, uint64_t n_bytes);
    /* The file's first n_bytes, shared, to read and write, present in memory; NULL and errno. */
    void *(*map)(void *context, int file, size_t n_bytes);
    int (*unmap)(void *context, void *bytes, size_t n_bytes);
    /* Sleeps until *word is another value (bp_io.wake tells), or for so many seconds. */
    void (*wait)(void *context, const atomic_uint *word, unsigned value, double seconds);
    void (*wake)(void *context, atomic_uint *word);
    void *context;
} bp_io;
extern const bp_io bp_io_system;

/* The most bytes that a file of this process may grow to. A write beyond would not just fail: its
 * signal (SIGXFSZ) ends a process that does not expect it. */
uint64_t bp_io_file_limit(void);
/* All bytes, through EINTR and short writes; errno tells on failure. */
BP_MUST_USE bool bp_io_write_all(const bp_io *io, int file, const void *bytes, size_t n_bytes);
/* A whole file of at most limit bytes into a block of *n_bytes (+ a NUL behind it) that the caller
 * releases with bp_release(allocator, *bytes, *n_bytes + 1, 1). */
BP_MUST_USE bp_status bp_io_read_file(const bp_io *io, const char *path, size_t limit,
                                      const bp_allocator *allocator, uint8_t **bytes,
                                      size_t *n_bytes, bp_error *error);
/* Never half-written: temporary file in the same folder, fsync, read back and compare, rename,
 * fsync of the folder. On failure the temporary file is removed and the old file stands; only
 * when the folder's fsync itself fails the new file stands and the error says that a power cut may
 * undo it. */
BP_MUST_USE bp_status bp_io_write_file_atomic(const bp_io *io, const char *path, const void *bytes,
                                              size_t n_bytes, const bp_allocator *allocator,
                                              bp_error *error);

/* --- random.c ------------------------------------------------------------------------------- */

/* Counter-based (Philox 4x32-10, Salmon et al. 2011), keyed by (seed, purpose, step, index):
 * resume is bit-exact for free and nothing holds state. */
typedef struct bp_random_key {
    uint64_t seed;
    uint32_t purpose; /* what it is drawn for: initialiser of a parameter, shuffle, dropout ... */
    uint32_t step;
} bp_random_key;
void bp_random_block(const bp_random_key *key, uint64_t index, uint32_t out[4]);
double bp_random_uniform(const bp_random_key *key, uint64_t index); /* [0, 1), 53 bits */
double bp_random_normal(const bp_random_key *key, uint64_t index);  /* Box-Muller; N(0, 1) */
/* A permutation of 0 ... n - 1 (Fisher-Yates). */
void bp_random_permutation(const bp_random_key *key, uint32_t *out, uint32_t n);

#endif
