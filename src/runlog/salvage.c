/* SPDX-License-Identifier: Apache-2.0 */
#include "runlog/salvage.h"
#include "runlog/log_end.h"
#include "runlog/pour.h"
#include "runlog/segments.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define ASIDE "salvage.tmp"
#define BUSY_TRIES 200
#define BUSY_SECONDS 0.01
#define UNFINISHED_SECONDS 60.0 /* a ring without a header may be one that is just being made */
#define STRAY_SECONDS 3600.0    /* a ring whose folder has no segment of its run any more */
#define MOST_SWEPT 64           /* so that opening a run takes bounded time */

/* --- a segment in memory -------------------------------------------------------------------- */

typedef struct image {
    const bp_allocator *allocator;
    uint8_t *bytes;
    size_t length, capacity;
} image;

static int image_put(void *context, const void *bytes, size_t n_bytes) {
    image *made = context;
    if (made->capacity - made->length < n_bytes) {
        const size_t wanted = 2 * made->capacity + n_bytes;
        uint8_t *grown =
            made->allocator->resize(made->allocator->context, made->bytes, made->capacity, wanted);
        if (!grown) return ENOMEM;
        made->bytes = grown;
        made->capacity = wanted;
    }
    memcpy(made->bytes + made->length, bytes, n_bytes);
    made->length += n_bytes;
    return 0;
}

static int image_close(void *context) {
    (void)context;
    return 0;
}

/* --- from the ring to the segment ----------------------------------------------------------- */

typedef struct salvage {
    const bp_io *io;
    const char *folder;
    const bp_allocator *allocator;
    bp_dead_ring ring;
    bp_log_end end; /* of what the folder has */
    image made;
    uint64_t n_records;
    bp_error *error;
} salvage;

static bool is_known(uint16_t type) {
    return type == BP_RUNLOG_STEP || type == BP_RUNLOG_GAP || type == BP_RUNLOG_END ||
           (type >= BP_RUNLOG_FINDING && type <= BP_RUNLOG_LOSSES) || type == BP_RUNLOG_HISTOGRAM;
}

/* Whether a producer can have put this item behind one that needs `expected` next. */
static bool is_plausible(const bp_ring_item *item, uint64_t expected) {
    return is_known(item->type) && item->step >= 0 && item->sequence >= expected &&
           item->sequence < BP_RUNLOG_MAX_SEQUENCE;
}

/* Numbers that were spent and of which there is no item. */
static int pour_losses(const bp_ring_header *header, bp_pour *pour, uint64_t expected,
                       bool damaged) {
    const uint64_t next = atomic_load(&header->next_sequence);
    if (next <= expected || next >= BP_RUNLOG_MAX_SEQUENCE) return 0;
    const uint64_t first = atomic_load(&header->first_lost), last = atomic_load(&header->last_lost);
    const bp_gap gap = {.reason = damaged ? BP_GAP_MEMORY_DAMAGED : BP_GAP_DISK_SLOW,
                        .n_lost = next - expected,
                        .first_step = first <= INT64_MAX ? (int64_t)first : 0,
                        .last_step = last <= INT64_MAX ? (int64_t)last : 0};
    uint8_t payload[BP_SMALL_PAYLOAD_BYTES];
    const bp_ring_item item = {.type = BP_RUNLOG_GAP,
                               .n_bytes = (uint32_t)bp_gap_encode(&gap, payload),
                               .sequence = next,
                               .payload = payload};
    return bp_pour_item(pour, &item, 0);
}

static int pour_items(salvage *job, bp_pour *pour) {
    const bp_ring_header *header = job->ring.header;
    const uint8_t *items = job->ring.bytes + BP_RING_HEADER_BYTES;
    const uint64_t head = atomic_load(&header->head);
    uint64_t position = atomic_load(&header->tail), expected = 0;
    bp_ring_verdict verdict;
    bp_ring_item item;
    int trouble = 0;
    do {
        verdict = bp_ring_next(items, header->about.capacity, &position, head, &item);
        if (verdict != BP_RING_ITEM) break;
        if (!is_plausible(&item, expected)) {
            verdict = BP_RING_BAD;
            break;
        }
        expected = item.sequence + bp_runlog_is_data(item.type);
        if (item.sequence >= job->end.sequence) trouble = bp_pour_item(pour, &item, 0);
    } while (!trouble);
    if (expected < job->end.sequence) expected = job->end.sequence;
    if (!trouble) trouble = pour_losses(header, pour, expected, verdict == BP_RING_BAD);
    return trouble ? trouble : bp_pour_finish(pour);
}

static bp_status fail(const salvage *job, int trouble) {
    if (trouble == ENOMEM)
        return bp_fail(job->error, BP_ERROR_MEMORY, "no memory to salvage the run in %s",
                       job->folder);
    return bp_fail_os(job->error, trouble, "cannot salvage what the run in %s had not yet written",
                      job->folder);
}

/* Makes the segment; its memory is borrowed from the job. */
static int fill_image(salvage *job, bp_segment_writer *writer) {
    const bp_sink sink = {&job->made, image_put, image_close};
    bp_pour pour;
    writer->own = &sink;
    bp_pour_init(&pour, writer);
    pour.wall_time = job->end.written > job->ring.written ? job->end.written : job->ring.written;
    int trouble = pour_items(job, &pour);
    if (!trouble) trouble = bp_segment_writer_close(writer);
    job->n_records = pour.n_records;
    return trouble;
}

static bp_status make_image(salvage *job) {
    bp_segment_writer *writer = bp_allocate(job->allocator, 1, sizeof *writer);
    /* An item is smaller than the ring, so one frame and a batch fit. */
    const size_t buffer_bytes = BP_SEGMENT_BATCH_BYTES + BP_SEGMENT_START + job->ring.n_bytes +
                                job->end.model_bytes + BP_POUR_LOSSES * sizeof(double);
    uint8_t *buffer = bp_allocate(job->allocator, buffer_bytes, 1);
    const size_t path_bytes = strlen(job->folder) + 1 + BP_SEGMENT_NAME_BYTES;
    char *path = bp_allocate(job->allocator, path_bytes, 1);
    int trouble = ENOMEM;
    if (writer && buffer && path) {
        writer->io = job->io;
        writer->folder = job->folder;
        writer->path = path;
        writer->path_bytes = path_bytes;
        writer->segment_bytes = UINT64_MAX;
        writer->memory = (bp_segment_memory){.model = job->end.model,
                                             .model_bytes = job->end.model_bytes,
                                             .buffer = buffer,
                                             .buffer_bytes = buffer_bytes};
        writer->compatible = BP_RUNLOG_SALVAGED;
        writer->run = job->ring.header->about.run;
        writer->segment = job->end.last_index;
        writer->rewind_step = -1;
        trouble = fill_image(job, writer);
    }
    bp_release(job->allocator, path, path_bytes, 1);
    bp_release(job->allocator, buffer, buffer_bytes, 1);
    bp_release(job->allocator, writer, 1, sizeof *writer);
    return trouble ? fail(job, trouble) : BP_OK;
}

/* What the folder lacks; made.length is 0 when it lacks nothing. */
static bp_status compose(salvage *job) {
    bp_status status = bp_log_end_find(&job->end, job->io, job->folder, job->ring.header->about.run,
                                       job->allocator, job->error);
    job->made.allocator = job->allocator;
    if (status != BP_OK) return status;
    const bp_ring_header *header = job->ring.header;
    if (!job->end.model && atomic_load(&header->head) == 0) return BP_OK; /* killed when it began */
    if (!job->end.model)
        return bp_fail(job->error, BP_ERROR_INPUT,
                       "%s lacks the segments to which the ring %s belongs", job->folder,
                       job->ring.path);
    return make_image(job);
}

static void finish(salvage *job) {
    bp_release(job->allocator, job->made.bytes, job->made.capacity, 1);
    bp_log_end_free(&job->end, job->allocator);
    bp_dead_ring_close(&job->ring, job->allocator);
}

/* --- from the segment to the folder --------------------------------------------------------- */

static int write_aside(const salvage *job, const char *aside) {
    const bp_io *io = job->io;
    if (job->made.length > bp_io_file_limit()) return EFBIG;
    io->unlink(io->context, aside); /* of a salvage that was killed: nobody else has the lock */
    const int file =
        io->open(io->context, aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (file < 0) return errno ? errno : EIO;
    int trouble = bp_io_write_all(io, file, job->made.bytes, job->made.length) ? 0 : errno;
    if (!trouble && io->fsync(io->context, file) != 0) trouble = errno;
    if (io->close(io->context, file) != 0 && !trouble) trouble = errno;
    return trouble;
}

static void sync_folder(const salvage *job) {
    const int file =
        job->io->open(job->io->context, job->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (file < 0) return;
    (void)job->io->fsync(job->io->context, file);
    job->io->close(job->io->context, file);
}

/* Written aside and renamed: a kill leaves the folder as it was or with all of it. */
static int append_image(const salvage *job, char *aside, char *path, size_t path_bytes) {
    char name[BP_SEGMENT_NAME_BYTES];
    snprintf(aside, path_bytes, "%s/%s", job->folder, ASIDE);
    snprintf(path, path_bytes, "%s/%s", job->folder,
             bp_segment_name(name, job->end.last_index + 1));
    int trouble = write_aside(job, aside);
    if (!trouble && job->io->rename(job->io->context, aside, path) != 0) trouble = errno;
    if (trouble) job->io->unlink(job->io->context, aside);
    if (!trouble) sync_folder(job);
    return trouble;
}

static bp_status append(const salvage *job) {
    const size_t path_bytes = strlen(job->folder) + 1 + BP_SEGMENT_NAME_BYTES;
    char *aside = bp_allocate(job->allocator, path_bytes, 1);
    char *path = bp_allocate(job->allocator, path_bytes, 1);
    const int trouble = aside && path ? append_image(job, aside, path, path_bytes) : ENOMEM;
    bp_release(job->allocator, aside, path_bytes, 1);
    bp_release(job->allocator, path, path_bytes, 1);
    return trouble ? fail(job, trouble) : BP_OK;
}

static bool is_folder_of(const char *folder, const bp_ring_about *about) {
    struct stat found, there;
    if (stat(folder, &found) != 0) return false;
    if ((uint64_t)found.st_dev == about->folder_device &&
        (uint64_t)found.st_ino == about->folder_inode)
        return true;
    return stat(about->folder, &there) == 0 && there.st_dev == found.st_dev &&
           there.st_ino == found.st_ino;
}

/* The ring is locked and its folder known. */
static bp_status salvage_locked(salvage *job) {
    bp_status status = compose(job);
    if (status == BP_OK && job->made.length > 0) status = append(job);
    if (status == BP_OK) bp_dead_ring_remove(&job->ring, job->folder);
    return status;
}

/* The ring that the folder's note names. While somebody else is at it, we wait: what he adds must
 * be read. */
static bp_status open_ring(salvage *job, bp_ring_state *state) {
    char path[BP_RING_PATH_BYTES];
    atomic_uint nothing = 0;
    int trouble = 0;
    *state = BP_RING_NONE;
    for (int i = 0; i < BUSY_TRIES && bp_ring_read_note(job->io, job->folder, path, &trouble);
         i++) {
        const bp_status status =
            bp_dead_ring_open(&job->ring, state, job->io, path, job->allocator, job->error);
        if (status != BP_OK || *state != BP_RING_BUSY) return status;
        job->io->wait(job->io->context, &nothing, 0, BUSY_SECONDS);
    }
    if (trouble)
        return bp_fail_os(job->error, trouble, "cannot read whether the run in %s left a ring",
                          job->folder);
    if (*state != BP_RING_BUSY) return BP_OK;
    return bp_fail(job->error, BP_ERROR_IO, "another process is salvaging the run in %s",
                   job->folder);
}

/* A note may come with a folder from elsewhere and name anything: a ring of another run stays. */
static void let_go_of_strangers(salvage *job, bp_ring_state *state) {
    if (*state != BP_RING_DEAD) return;
    if (job->ring.header && is_folder_of(job->folder, &job->ring.header->about)) return;
    bp_dead_ring_close(&job->ring, job->allocator);
    *state = BP_RING_NONE;
}

static bp_status find(salvage *job, const bp_io *io, const char *folder,
                      const bp_allocator *allocator, bp_ring_state *state, bp_error *error) {
    *job = (salvage){.io = io,
                     .folder = folder,
                     .allocator = bp_allocator_or_system(allocator),
                     .ring = {.file = -1},
                     .error = error};
    const bp_status status = open_ring(job, state);
    if (status == BP_OK) let_go_of_strangers(job, state);
    return status;
}

bp_status bp_salvage_folder(const bp_io *io, const char *folder, const bp_allocator *allocator,
                            bp_ring_state *state, uint64_t *n_records, bp_error *error) {
    const int saved = errno;
    salvage job;
    *n_records = 0;
    bp_status status = find(&job, io, folder, allocator, state, error);
    if (status == BP_OK && *state == BP_RING_DEAD) status = salvage_locked(&job);
    if (status == BP_OK) *n_records = job.n_records;
    finish(&job);
    errno = saved;
    return status;
}

bp_status bp_runlog_salvage(const bp_io *io, const char *folder, const bp_allocator *allocator,
                            uint64_t *n_records, bp_error *error) {
    bp_ring_state state;
    return bp_salvage_folder(io, folder, allocator, &state, n_records, error);
}

bp_status bp_runlog_salvage_image(const bp_io *io, const char *folder,
                                  const bp_allocator *allocator, uint8_t **bytes, size_t *n_bytes,
                                  bp_error *error) {
    const int saved = errno;
    salvage job;
    bp_ring_state state;
    *bytes = NULL;
    *n_bytes = 0;
    bp_status status = find(&job, io, folder, allocator, &state, error);
    if (status == BP_OK && state == BP_RING_DEAD) status = compose(&job);
    if (status == BP_OK && job.made.length > 0) {
        uint8_t *copy = bp_allocate(allocator, job.made.length, 1);
        if (copy) memcpy(copy, job.made.bytes, job.made.length);
        *bytes = copy;
        *n_bytes = copy ? job.made.length : 0;
        if (!copy) status = fail(&job, ENOMEM);
    }
    finish(&job);
    errno = saved;
    return status;
}

/* --- rings that nobody reads ---------------------------------------------------------------- */

static void sweep_ring(salvage *job, double age_seconds) {
    struct stat found;
    const bp_ring_header *header = job->ring.header;
    if (!header) {
        if (age_seconds > UNFINISHED_SECONDS) bp_dead_ring_remove(&job->ring, NULL);
        return;
    }
    if (stat(header->about.folder, &found) != 0) {
        if (errno == ENOENT || errno == ENOTDIR) bp_dead_ring_remove(&job->ring, NULL);
        return;
    }
    char named[BP_RING_PATH_BYTES];
    job->folder = header->about.folder;
    /* A folder with the note of another ring may have an owner that lives. */
    if (bp_ring_read_note(job->io, job->folder, named, NULL) &&
        strcmp(named, job->ring.path) != 0) {
        if (compose(job) == BP_OK && job->made.length == 0) bp_dead_ring_remove(&job->ring, NULL);
        return;
    }
    if (salvage_locked(job) == BP_ERROR_INPUT && age_seconds > STRAY_SECONDS)
        bp_dead_ring_remove(&job->ring, NULL);
}

/* True when there was a dead ring. */
static bool sweep_path(const bp_io *io, const char *path, const bp_allocator *allocator) {
    salvage job = {.io = io, .allocator = allocator, .ring = {.file = -1}};
    bp_ring_state state;
    if (bp_dead_ring_open(&job.ring, &state, io, path, allocator, NULL) != BP_OK) return false;
    if (state == BP_RING_DEAD) {
        sweep_ring(&job, io->wall_clock(io->context) - job.ring.written);
        finish(&job);
    }
    return state == BP_RING_DEAD;
}

void bp_salvage_sweep(const bp_io *io, const char *ring_folder, const bp_allocator *allocator) {
    char path[BP_RING_PATH_BYTES];
    allocator = bp_allocator_or_system(allocator);
    DIR *directory = opendir(ring_folder);
    if (!directory) return;
    const struct dirent *entry;
    for (int left = MOST_SWEPT; left > 0 && (entry = readdir(directory));) {
        if (!bp_ring_is_name(entry->d_name)) continue;
        if (snprintf(path, sizeof path, "%s/%s", ring_folder, entry->d_name) >= (int)sizeof path)
            continue;
        if (sweep_path(io, path, allocator)) left--;
    }
    closedir(directory);
}
