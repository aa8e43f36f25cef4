/* SPDX-License-Identifier: Apache-2.0 */
#include "runlog/thin.h"
#include "record/event.h"
#include "runlog/segments.h"
#include "runlog/twin.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define ASIDE_SUFFIX ".thin"
/* Below this share of a segment it is not worth to write it again. */
#define MIN_SAVED_FRACTION 8 /* an eighth */
/* The newest ones, that which is being written among them. */
#define SPARED_SEGMENTS ((size_t)5)

bp_status bp_thinner_init(bp_thinner *thinner, const bp_io *io, const char *folder, uint64_t run,
                          const bp_allocator *allocator, bp_error *error) {
    *thinner = (bp_thinner){.io = io, .run = run, .allocator = *bp_allocator_or_system(allocator)};
    thinner->path_bytes = strlen(folder) + 1 + BP_SEGMENT_NAME_BYTES + sizeof ASIDE_SUFFIX;
    thinner->folder = bp_copy_text(&thinner->allocator, folder);
    thinner->path = bp_allocate(&thinner->allocator, thinner->path_bytes, 1);
    thinner->aside = bp_allocate(&thinner->allocator, thinner->path_bytes, 1);
    if (thinner->folder && thinner->path && thinner->aside) return BP_OK;
    bp_thinner_finish(thinner);
    return bp_fail(error, BP_ERROR_MEMORY, "no memory to thin the run log in %s", folder);
}

void bp_thinner_finish(bp_thinner *thinner) {
    if (!thinner->allocator.resize) return;
    const bp_allocator allocator = thinner->allocator;
    bp_keep_free(&thinner->points, &allocator);
    bp_release(&allocator, thinner->segments, thinner->capacity, sizeof *thinner->segments);
    bp_release(&allocator, thinner->aside, thinner->path_bytes, 1);
    bp_release(&allocator, thinner->path, thinner->path_bytes, 1);
    bp_release_text(&allocator, thinner->folder);
    *thinner = (bp_thinner){0};
}

static void make_paths(bp_thinner *thinner, uint32_t index) {
    char name[BP_SEGMENT_NAME_BYTES];
    snprintf(thinner->path, thinner->path_bytes, "%s/%s", thinner->folder,
             bp_segment_name(name, index));
    snprintf(thinner->aside, thinner->path_bytes, "%s" ASIDE_SUFFIX, thinner->path);
}

/* --- what is there -------------------------------------------------------------------------- */

/* A segment of this name that is no plain file is another's. */
static void measure(bp_thinner *thinner, bp_thin_segment *segment) {
    struct stat found;
    make_paths(thinner, segment->index);
    const bool is_file = lstat(thinner->path, &found) == 0 && S_ISREG(found.st_mode);
    segment->n_bytes = is_file ? (uint64_t)found.st_size : 0;
    segment->mode = is_file ? found.st_mode & 0777 : 0;
    if (!is_file) segment->is_left = true;
}

/* Takes what is known of the old list; both ascend. */
static void merge(bp_thinner *thinner, bp_thin_segment *fresh, const bp_segments *list) {
    size_t old = 0;
    for (size_t i = 0; i < list->n; i++) {
        while (old < thinner->n_segments && thinner->segments[old].index < list->index[i]) old++;
        const bool known =
            old < thinner->n_segments && thinner->segments[old].index == list->index[i];
        fresh[i] = known ? thinner->segments[old] : (bp_thin_segment){.index = list->index[i]};
        if (!known) { /* left behind by a thinning that was killed */
            make_paths(thinner, list->index[i]);
            (void)thinner->io->unlink(thinner->io->context, thinner->aside);
        }
        if (!fresh[i].is_left) measure(thinner, &fresh[i]);
    }
}

static bp_status refresh(bp_thinner *thinner, bp_error *error) {
    bp_segments list;
    const bp_status status = bp_segments_list(&list, thinner->folder, &thinner->allocator, error);
    if (status != BP_OK) return status;
    bp_thin_segment *fresh = bp_allocate(&thinner->allocator, list.n, sizeof *fresh);
    if (fresh) {
        merge(thinner, fresh, &list);
        bp_release(&thinner->allocator, thinner->segments, thinner->capacity, sizeof *fresh);
        thinner->segments = fresh;
        thinner->n_segments = thinner->capacity = list.n;
    }
    bp_segments_free(&list, &thinner->allocator);
    return fresh ? BP_OK
                 : bp_fail(error, BP_ERROR_MEMORY, "no memory to thin the run log in %s",
                           thinner->folder);
}

static uint64_t total_bytes(const bp_thinner *thinner) {
    uint64_t total = 0;
    for (size_t i = 0; i < thinner->n_segments; i++) total += thinner->segments[i].n_bytes;
    return total;
}

/* --- what is in it -------------------------------------------------------------------------- */

static bool decode(bp_event *event, bp_event_kind kind, const bp_walk_step *step) {
    bp_cursor cursor;
    bp_cursor_init(&cursor, step->payload, step->frame.n_bytes);
    return bp_event_decode(event, kind, &cursor, NULL) == BP_OK;
}

/* Of a THINNED record; false when this version would not have written it. */
static bool take_thinned(bp_thin_segment *segment, const bp_walk_step *step) {
    bp_event event;
    if (!decode(&event, BP_EVENT_THINNED, step)) return false;
    unsigned level = 0;
    while (level < BP_KEEP_MAX_LEVEL && (uint64_t)1 << level < event.as.thinned.every) level++;
    segment->keep.from = level;
    segment->dropped = event.as.thinned.n_dropped;
    return event.as.thinned.every == (uint64_t)1 << level;
}

/* Its step, and since when it was so. */
static bp_status take_finding(bp_thinner *thinner, const bp_walk_step *step) {
    bp_event event;
    if (!decode(&event, BP_EVENT_FINDING, step)) return BP_OK;
    const bp_event_finding *finding = &event.as.finding;
    const bp_status status =
        bp_keep_add(&thinner->points, finding->since_step, &thinner->allocator);
    return status == BP_OK ? bp_keep_add(&thinner->points, finding->step, &thinner->allocator)
                           : status;
}

/* A walk's end that leaves the segment as it is, for good or for this call. */
static void judge_end(bp_thin_segment *segment, const bp_walk_step *step, bool *stopped) {
    *stopped = step->kind == BP_WALK_STOPPED;
    if (step->kind == BP_WALK_FOREIGN) segment->is_left = true;
}

static bp_status survey_frames(bp_thinner *thinner, bp_thin_segment *segment, bp_walk *walk,
                               bool *stopped, bp_error *error) {
    bool any = false;
    bp_walk_step step;
    for (;;) {
        bp_status status = bp_walk_next(walk, &step, error);
        if (status != BP_OK) return status;
        if (step.kind != BP_WALK_FRAME) break;
        if (step.may_go) {
            if (!any) segment->keep.first = step.frame.sequence;
            segment->keep.last = step.frame.sequence + step.n_numbers - 1;
            any = true;
        }
        if (step.frame.type == BP_RUNLOG_THINNED && !take_thinned(segment, &step))
            segment->is_left = true;
        if (step.frame.type == BP_RUNLOG_FINDING) status = take_finding(thinner, &step);
        if (status != BP_OK)
            return bp_fail(error, status, "no memory to thin the run log in %s", thinner->folder);
    }
    judge_end(segment, &step, stopped);
    segment->surveyed = !*stopped;
    if (!any) segment->is_left = true;
    segment->keep.level = segment->keep.from + 1;
    return BP_OK;
}

/* An unreadable segment is left as it is; what others know of it is not ours to say. */
static bp_status leave_unreadable(bp_thin_segment *segment, bp_status status) {
    if (status != BP_ERROR_IO) return status;
    segment->is_left = true;
    return BP_OK;
}

static bp_status open_walk(bp_thinner *thinner, bp_thin_segment *segment,
                           const bp_thin_budget *budget, bp_walk *walk, bool *found,
                           bp_error *error) {
    make_paths(thinner, segment->index);
    *found = false;
    const bp_status status = bp_walk_open(walk, thinner->io, thinner->path,
                                          (bp_segment_id){thinner->run, segment->index},
                                          &thinner->allocator, budget->meanwhile, found, error);
    if (!*found) segment->is_left = true;
    return leave_unreadable(segment, status);
}

static bool is_closed(const bp_thin_segment *segment, const bp_thin_budget *budget) {
    return segment->index < budget->current && !segment->is_left;
}

/* Findings of any segment may have begun in an older one: all are known before one is thinned. */
static bp_status survey(bp_thinner *thinner, const bp_thin_budget *budget, bool *stopped,
                        bp_error *error) {
    for (size_t i = 0; i < thinner->n_segments && !*stopped; i++) {
        bp_thin_segment *segment = &thinner->segments[i];
        if (segment->surveyed || !is_closed(segment, budget)) continue;
        bp_walk walk;
        bool found;
        bp_status status = open_walk(thinner, segment, budget, &walk, &found, error);
        if (status != BP_OK) return status;
        if (!found) continue;
        status = survey_frames(thinner, segment, &walk, stopped, error);
        bp_walk_close(&walk);
        status = leave_unreadable(segment, status);
        if (status != BP_OK) return status;
    }
    return BP_OK;
}

/* --- what would stay ------------------------------------------------------------------------ */

/* Of a segment at each level. */
typedef struct thin_plan {
    bp_keep keep[BP_KEEP_MAX_LEVEL + 1];
    uint64_t n_bytes[BP_KEEP_MAX_LEVEL + 1];
    uint64_t n_frames[BP_KEEP_MAX_LEVEL + 1];
    uint64_t dropped[BP_KEEP_MAX_LEVEL + 1];
    unsigned first; /* the lowest level that is asked */
} thin_plan;

static void plan_frame(thin_plan *plan, const bp_walk_step *step, const bp_keep_points *points) {
    const int64_t distance =
        step->may_go ? bp_keep_distance(points, step->first_step, step->last_step) : 0;
    if (step->frame.type == BP_RUNLOG_THINNED) return;
    for (unsigned level = plan->first; level <= BP_KEEP_MAX_LEVEL; level++) {
        if (bp_keep_asks(&plan->keep[level], step, distance)) {
            plan->n_bytes[level] += BP_FRAME_HEADER_BYTES + step->frame.n_bytes;
            plan->n_frames[level]++;
        } else {
            plan->dropped[level] += step->n_numbers;
        }
    }
}

static bp_status make_plan(bp_thinner *thinner, bp_thin_segment *segment,
                           const bp_thin_budget *budget, thin_plan *plan, bool *stopped,
                           bp_error *error) {
    bp_walk walk;
    bp_walk_step step;
    bool found;
    plan->first = segment->keep.from + 1;
    for (unsigned level = plan->first; level <= BP_KEEP_MAX_LEVEL; level++) {
        plan->keep[level] = segment->keep;
        plan->keep[level].level = level;
        plan->n_bytes[level] = BP_SEGMENT_START;
    }
    bp_status status = open_walk(thinner, segment, budget, &walk, &found, error);
    if (status != BP_OK || !found) return status;
    status = bp_walk_next(&walk, &step, error);
    while (status == BP_OK && step.kind == BP_WALK_FRAME) {
        plan_frame(plan, &step, &thinner->points);
        status = bp_walk_next(&walk, &step, error);
    }
    bp_walk_close(&walk);
    if (status != BP_OK) return leave_unreadable(segment, status);
    judge_end(segment, &step, stopped);
    return BP_OK;
}

/* The lowest level at which it would lose enough; above the highest when there is none. */
static unsigned worthy_level(const thin_plan *plan, uint64_t n_bytes) {
    unsigned level = plan->first;
    while (level <= BP_KEEP_MAX_LEVEL &&
           (plan->n_bytes[level] >= n_bytes ||
            n_bytes - plan->n_bytes[level] < n_bytes / MIN_SAVED_FRACTION))
        level++;
    return level;
}

/* --- thinning ------------------------------------------------------------------------------- */

/* The one that is oldest for what it still keeps: resolution falls with age. Age is counted in
 * segments. NULL: none of that age can be thinned. */
static bp_thin_segment *most_urgent(const bp_thinner *thinner, const bp_thin_budget *budget,
                                    size_t least_age) {
    bp_thin_segment *found = NULL;
    double most = 0.0;
    for (size_t i = 0; i + least_age <= thinner->n_segments; i++) {
        bp_thin_segment *segment = &thinner->segments[i];
        if (!is_closed(segment, budget) || !segment->surveyed) continue;
        const double age = (double)(thinner->n_segments - i);
        const double urgency = age / (double)((uint64_t)1 << segment->keep.level);
        if (urgency > most) found = segment;
        if (urgency > most) most = urgency;
    }
    return found;
}

/* Findings speak of the recent past, so that it stays whole as long as anything else can go. */
static bp_thin_segment *next_to_thin(const bp_thinner *thinner, const bp_thin_budget *budget) {
    bp_thin_segment *old = most_urgent(thinner, budget, SPARED_SEGMENTS + 1);
    return old ? old : most_urgent(thinner, budget, 1);
}

static bp_status make_twin(bp_thinner *thinner, bp_thin_segment *segment,
                           const bp_thin_budget *budget, const thin_plan *plan, bool *stopped,
                           bp_error *error) {
    const unsigned level = segment->keep.level;
    const bp_twin twin = {.io = thinner->io,
                          .allocator = &thinner->allocator,
                          .folder = thinner->folder,
                          .path = thinner->path,
                          .aside = thinner->aside,
                          .mode = segment->mode,
                          .id = {thinner->run, segment->index},
                          .keep = segment->keep,
                          .dropped = segment->dropped + plan->dropped[level],
                          .n_frames = plan->n_frames[level],
                          .points = &thinner->points,
                          .meanwhile = budget->meanwhile};
    bp_twin_end end;
    const bp_status status = bp_twin_make(&twin, &end, &segment->n_bytes, error);
    *stopped = end == BP_TWIN_STOPPED;
    if (end == BP_TWIN_CHANGED && status == BP_OK) segment->is_left = true;
    if (end != BP_TWIN_MADE) return status;
    segment->dropped = twin.dropped;
    segment->keep.from = level;
    segment->keep.level = level + 1;
    segment->is_left = level == BP_KEEP_MAX_LEVEL;
    return status;
}

/* Thins it, or learns that it is not its turn. */
static bp_status thin_one(bp_thinner *thinner, bp_thin_segment *segment,
                          const bp_thin_budget *budget, bool *stopped, bp_error *error) {
    thin_plan plan = {0};
    bp_status status = make_plan(thinner, segment, budget, &plan, stopped, error);
    if (status != BP_OK || segment->is_left || *stopped) return status;
    const unsigned level = worthy_level(&plan, segment->n_bytes);
    const bool its_turn = level == segment->keep.level;
    segment->keep.level = level;
    segment->is_left = level > BP_KEEP_MAX_LEVEL;
    if (segment->is_left || !its_turn) return BP_OK;
    return make_twin(thinner, segment, budget, &plan, stopped, error);
}

static bp_status fail_budget(bp_thinner *thinner, uint64_t total, uint64_t max, bp_error *error) {
    if (thinner->told) return BP_OK;
    thinner->told = true;
    return bp_fail(error, BP_ERROR_LIMIT,
                   "the run log in %s has %llu bytes and cannot be thinned to the %llu that are "
                   "allowed: the rest is kept whatever comes, or is damaged or not readable",
                   thinner->folder, (unsigned long long)total, (unsigned long long)max);
}

bp_status bp_thinner_run(bp_thinner *thinner, const bp_thin_budget *budget, bp_error *error) {
    const uint64_t usable =
        budget->max_bytes > budget->reserved_bytes ? budget->max_bytes - budget->reserved_bytes : 0;
    bp_status status = refresh(thinner, error);
    if (status != BP_OK) return status;
    if (total_bytes(thinner) <= usable) {
        thinner->told = false;
        return BP_OK;
    }
    bool stopped = false;
    status = survey(thinner, budget, &stopped, error);
    const uint64_t goal = usable - usable / 10;
    while (status == BP_OK && !stopped && total_bytes(thinner) > goal) {
        bp_thin_segment *segment = next_to_thin(thinner, budget);
        if (!segment) break;
        status = thin_one(thinner, segment, budget, &stopped, error);
    }
    const uint64_t total = total_bytes(thinner);
    if (status != BP_OK || stopped || total <= usable) return status;
    return fail_budget(thinner, total, budget->max_bytes, error);
}
