/* The byte ring: order, wrap-around, refusal, waking, and two processes at its ends. */
#include "base/ring.h"

#include <sched.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/device_fixture.h"

START_TEST(refuses_what_does_not_fit) {
    uint8_t bytes[8];
    struct byte_ring ring;
    ring_init(&ring, bytes, sizeof bytes);
    ck_assert_uint_eq(ring_write(&ring, "0123456789", 10), 8);
    ck_assert_uint_eq(ring_free(&ring), 0);
    ck_assert_uint_eq(ring_write(&ring, "x", 1), 0);
    char text[11] = {0};
    ck_assert_uint_eq(ring_read(&ring, text, 10), 8);
    ck_assert_str_eq(text, "01234567");
    ck_assert_uint_eq(ring_read(&ring, text, 10), 0);
}
END_TEST

START_TEST(wraps_around_also_where_indices_overflow) {
    uint8_t bytes[8];
    struct byte_ring ring;
    ring_init(&ring, bytes, sizeof bytes);
    atomic_store(&ring.head, UINT32_MAX - 2);
    atomic_store(&ring.tail, UINT32_MAX - 2);
    for (int round = 0; round < 5; round++) {
        char text[8] = {0};
        ck_assert_uint_eq(ring_write(&ring, "abcde", 5), 5);
        ck_assert_uint_eq(ring_used(&ring), 5);
        ck_assert_uint_eq(ring_read(&ring, text, sizeof text), 5);
        ck_assert_str_eq(text, "abcde");
    }
}
END_TEST

START_TEST(wakes_a_reader_that_had_caught_up) {
    uint8_t bytes[8], byte;
    struct byte_ring ring;
    bool wake;
    ring_init(&ring, bytes, sizeof bytes);
    ring_write_wake(&ring, "a", 1, &wake);
    ck_assert(wake);
    ring_write_wake(&ring, "b", 1, &wake);
    ck_assert(!wake);
    ring_read(&ring, &byte, 1);
    ring_read(&ring, &byte, 1);
    ring_write_wake(&ring, "c", 1, &wake);
    ck_assert(wake);
}
END_TEST

START_TEST(a_hostile_index_stays_inside_the_buffer) {
    uint8_t around[24];
    struct byte_ring ring;
    memset(around, 0x5a, sizeof around);
    ring_init(&ring, around + 8, 8);
    atomic_store(&ring.head, 0x12345678);
    uint8_t out[64];
    ck_assert_uint_eq(ring_used(&ring), 8);
    ck_assert_uint_eq(ring_free(&ring), 0);
    ck_assert_uint_eq(ring_read(&ring, out, sizeof out), 8);
    ring_write(&ring, out, sizeof out);
    for (int i = 0; i < 8; i++)
        ck_assert(around[i] == 0x5a && around[16 + i] == 0x5a);
}
END_TEST

START_TEST(carries_a_stream_between_processes) {
    enum { LEN = 50000 };
    struct fixture f;
    fixture_setup(&f);
    struct byte_ring *ring = ARENA_NEW(&f.arena, struct byte_ring);
    ring_init(ring, arena_alloc(&f.arena, 64, 64), 64);
    pid_t child = fork();
    if (child == 0) {
        for (uint32_t i = 0; i < LEN;) {
            uint8_t byte = (uint8_t)(i * 7);
            uint32_t written = ring_write(ring, &byte, 1);
            if (written == 0)
                sched_yield();
            i += written;
        }
        _exit(0);
    }
    for (uint32_t i = 0; i < LEN;) {
        uint8_t got[32];
        uint32_t count = ring_read(ring, got, sizeof got);
        if (count == 0)
            sched_yield();
        for (uint32_t k = 0; k < count; k++, i++)
            ck_assert_uint_eq(got[k], (uint8_t)(i * 7));
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    fixture_teardown(&f);
}
END_TEST

RUN_SUITE("ring", refuses_what_does_not_fit, wraps_around_also_where_indices_overflow,
          wakes_a_reader_that_had_caught_up, a_hostile_index_stays_inside_the_buffer,
          carries_a_stream_between_processes)
