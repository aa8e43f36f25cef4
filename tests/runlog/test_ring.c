/* SPDX-License-Identifier: Apache-2.0 */
/* The ring as memory: what is put is got, in order, through every wrap; and nothing that was
 * damaged is got. */
#include "fixture.h"
#include "runlog/ring.h"

#include <pthread.h>
#include <sched.h>

enum { CAPACITY = 4096 };

static bp_ring_header *make_ring(uint64_t capacity) {
    const size_t n_bytes = bp_ring_file_bytes(capacity);
    bp_ring_header *header = aligned_alloc(64, n_bytes);
    assert_non_null(header);
    memset(header, 0, n_bytes);
    const bp_ring_about about = {.owner = {.uid = 7, .pid = 8, .start = 9, .boot_id = "boot"},
                                 .run = 10,
                                 .capacity = capacity,
                                 .folder = "/somewhere"};
    bp_ring_begin(header, &about);
    return header;
}

/* The item number i has i % 700 bytes that follow from i. */
static bp_ring_item item_number(uint64_t i, uint8_t bytes[700]) {
    const uint32_t n_bytes = (uint32_t)(i % 700);
    for (uint32_t k = 0; k < n_bytes; k++) bytes[k] = (uint8_t)(i * 31 + k);
    return (bp_ring_item){.type = (uint16_t)(1 + i % 12),
                          .n_bytes = n_bytes,
                          .sequence = i,
                          .step = (int64_t)(i * 3),
                          .payload = bytes};
}

static void assert_is_number(const bp_ring_item *item, uint64_t i) {
    uint8_t bytes[700];
    const bp_ring_item expected = item_number(i, bytes);
    assert_int_equal(item->sequence, i);
    assert_int_equal(item->type, expected.type);
    assert_int_equal(item->step, expected.step);
    assert_int_equal(item->n_bytes, expected.n_bytes);
    assert_memory_equal(item->payload, bytes, expected.n_bytes);
}

static void what_is_put_is_got(void **state) {
    (void)state;
    bp_ring_header *header = make_ring(CAPACITY);
    bp_ring_producer producer;
    bp_ring_item item;
    uint8_t bytes[700];
    uint64_t put = 0, got = 0, position = 0;
    bp_ring_producer_init(&producer, header);
    while (got < 20000) {
        for (;; put++) {
            const bp_ring_item next = item_number(put, bytes);
            if (!bp_ring_has_room(&producer, bp_ring_item_bytes(next.n_bytes), CAPACITY)) break;
            bp_ring_put(&producer, &next);
        }
        assert_true(put > got);
        /* Some of them stay, so that all alignments meet the end. */
        for (uint64_t n = 1 + put % 5; n > 0 && got < put; n--) {
            const uint64_t head = atomic_load(&header->head);
            assert_int_equal(bp_ring_next(bp_ring_items(header), CAPACITY, &position, head, &item),
                             BP_RING_ITEM);
            assert_is_number(&item, got++);
            atomic_store(&header->tail, position);
        }
    }
    assert_true(bp_ring_is_good(header, bp_ring_file_bytes(CAPACITY)));
    free(header);
}

static void a_limit_is_kept(void **state) {
    (void)state;
    bp_ring_header *header = make_ring(CAPACITY);
    bp_ring_producer producer;
    const uint8_t bytes[64] = {0};
    const bp_ring_item item = {.type = 2, .n_bytes = sizeof bytes, .payload = bytes};
    bp_ring_producer_init(&producer, header);
    while (bp_ring_has_room(&producer, bp_ring_item_bytes(sizeof bytes), CAPACITY / 4 * 3))
        bp_ring_put(&producer, &item);
    assert_true(producer.head <= CAPACITY / 4 * 3);
    assert_true(producer.head + 96 > CAPACITY / 4 * 3);
    assert_true(bp_ring_has_room(&producer, 96, CAPACITY));
    free(header);
}

typedef struct race {
    bp_ring_header *header;
    uint64_t n;
} race;

static void *consume(void *context) {
    race *state = context;
    bp_ring_header *header = state->header;
    uint64_t position = 0, got = 0;
    while (got < state->n) {
        bp_ring_item item;
        const uint64_t head = atomic_load_explicit(&header->head, memory_order_acquire);
        while (bp_ring_next(bp_ring_items(header), CAPACITY, &position, head, &item) ==
               BP_RING_ITEM)
            assert_is_number(&item, got++);
        assert_int_equal(position, head);
        if (head == atomic_load_explicit(&header->tail, memory_order_relaxed)) sched_yield();
        atomic_store_explicit(&header->tail, position, memory_order_release);
    }
    return NULL;
}

static void two_threads(void **state) {
    (void)state;
    race shared = {make_ring(CAPACITY), 20000};
    bp_ring_producer producer;
    pthread_t consumer;
    uint8_t bytes[700];
    bp_ring_producer_init(&producer, shared.header);
    assert_int_equal(pthread_create(&consumer, NULL, consume, &shared), 0);
    for (uint64_t i = 0; i < shared.n; i++) {
        const bp_ring_item item = item_number(i, bytes);
        while (!bp_ring_has_room(&producer, bp_ring_item_bytes(item.n_bytes), CAPACITY))
            sched_yield();
        bp_ring_put(&producer, &item);
    }
    assert_int_equal(pthread_join(consumer, NULL), 0);
    free(shared.header);
}

/* Every bit of a ring with items is flipped: each item that is still given is one that was put. */
static void every_flipped_bit(void **state) {
    (void)state;
    bp_ring_header *header = make_ring(CAPACITY);
    const size_t n_bytes = bp_ring_file_bytes(CAPACITY);
    bp_ring_producer producer;
    uint8_t bytes[700];
    bp_ring_producer_init(&producer, header);
    for (uint64_t i = 660; i < 664; i++) {
        const bp_ring_item item = item_number(i, bytes);
        assert_true(bp_ring_has_room(&producer, bp_ring_item_bytes(item.n_bytes), CAPACITY));
        bp_ring_put(&producer, &item);
    }
    uint64_t n_missed = 0;
    for (size_t bit = 0; bit < n_bytes * 8; bit++) {
        ((uint8_t *)header)[bit / 8] ^= (uint8_t)(1u << bit % 8);
        const uint64_t head = atomic_load(&header->head);
        uint64_t position = atomic_load(&header->tail), got = 660;
        bp_ring_item item;
        if (bp_ring_is_good(header, n_bytes))
            while (bp_ring_next(bp_ring_items(header), CAPACITY, &position, head, &item) ==
                   BP_RING_ITEM)
                assert_is_number(&item, got++);
        n_missed += got < 664;
        ((uint8_t *)header)[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(n_missed > 8 * 4 * 660);
    free(header);
}

/* Heads, lengths and pads that no producer makes. */
static void hostile_numbers(void **state) {
    (void)state;
    bp_ring_header *header = make_ring(CAPACITY);
    uint8_t *items = bp_ring_items(header);
    bp_ring_item item;
    const uint64_t ends[] = {8, 16, 24, 32, 40, 2048, CAPACITY};
    for (size_t e = 0; e < sizeof ends / sizeof *ends; e++) {
        for (uint32_t length = 0; length < 64; length++) {
            uint64_t position = 0;
            memset(items, 0, CAPACITY);
            const uint32_t lengths[] = {length, UINT32_MAX - length, CAPACITY - 32 + length};
            for (size_t i = 0; i < 3; i++) {
                memcpy(items, &lengths[i], 4);
                memcpy(items + 6, "\x70\x62", 2);
                assert_int_not_equal(bp_ring_next(items, CAPACITY, &position, ends[e], &item),
                                     BP_RING_ITEM);
            }
        }
    }
    static const uint64_t bad[][2] = {{4, 0}, {8, 4}, {8, 16}, {CAPACITY + 8, 0}, {UINT64_MAX, 0}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        atomic_store(&header->head, bad[i][0]);
        atomic_store(&header->tail, bad[i][1]);
        assert_false(bp_ring_is_good(header, bp_ring_file_bytes(CAPACITY)));
    }
    atomic_store(&header->head, 0);
    atomic_store(&header->tail, 0);
    assert_true(bp_ring_is_good(header, bp_ring_file_bytes(CAPACITY)));
    for (uint64_t n = 0; n < bp_ring_file_bytes(CAPACITY); n += 8)
        assert_false(bp_ring_is_good(header, n));
    free(header);
}

static void capacities(void **state) {
    (void)state;
    assert_int_equal(bp_ring_capacity(0), BP_RING_LEAST_BYTES);
    assert_int_equal(bp_ring_capacity(4097), 8192);
    assert_int_equal(bp_ring_capacity(8u << 20), 8u << 20);
    assert_int_equal(bp_ring_capacity(UINT64_MAX), BP_RING_MOST_BYTES);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_is_got), cmocka_unit_test(a_limit_is_kept),
        cmocka_unit_test(two_threads),        cmocka_unit_test(every_flipped_bit),
        cmocka_unit_test(hostile_numbers),    cmocka_unit_test(capacities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
