/* SPDX-License-Identifier: Apache-2.0 */
#include "runlog/order.h"

/* Each change of the shift reads the rest of the file once. */
#define MAX_SHIFTS 16u

void bp_order_init(bp_order *order) {
    *order = (bp_order){.ahead = {.file = -1}};
}

void bp_order_finish(bp_order *order) {
    bp_scan_close(&order->ahead);
}

static int64_t shift_of(const bp_scan_event *event) {
    return (int64_t)event->place - (int64_t)event->frame.offset;
}

static bp_status start_ahead(bp_order *order, const bp_scan *scan, bp_error *error) {
    if (order->ahead.file >= 0) return BP_OK;
    bp_status status = BP_OK;
    if (scan->in_memory)
        bp_scan_open_memory(&order->ahead, scan->buffer, scan->capacity, scan->path,
                            scan->allocator);
    else
        status = bp_scan_open(&order->ahead, scan->io, scan->path, scan->allocator, error);
    if (status != BP_OK) return status;
    order->ahead.salt = scan->salt;
    bp_scan_start start;
    status = bp_scan_header(&order->ahead, &start, error);
    if (status != BP_OK) bp_order_finish(order);
    return status;
}

/* The next frame behind `place` that stands with the old shift; *found is 0 when there is none. */
static bp_status look_ahead(bp_order *order, uint64_t place, uint64_t expected, uint64_t *found,
                            bp_error *error) {
    bp_scan_event event;
    do {
        const bp_status status = bp_scan_next(&order->ahead, &event, error);
        if (status != BP_OK) return status;
        if (event.kind == BP_SCAN_FRAME && event.place > place &&
            event.frame.sequence >= expected && shift_of(&event) == order->shift) {
            *found = event.place;
            return BP_OK;
        }
    } while (event.kind != BP_SCAN_END);
    *found = 0;
    return BP_OK;
}

bp_status bp_order_check(bp_order *order, const bp_scan *scan, const bp_scan_event *event,
                         uint64_t expected, bool *belongs, bp_error *error) {
    *belongs = shift_of(event) == order->shift;
    if (*belongs || order->n_shifts == MAX_SHIFTS || order->found > event->place) return BP_OK;
    bp_status status = start_ahead(order, scan, error);
    if (status != BP_OK) return status;
    status = look_ahead(order, event->place, expected, &order->found, error);
    if (status != BP_OK || order->found) return status;
    order->shift = shift_of(event);
    order->n_shifts++;
    bp_order_finish(order);
    *belongs = true;
    return BP_OK;
}
