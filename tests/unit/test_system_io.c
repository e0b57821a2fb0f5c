/* Port instructions: permission, sizes, repetition and what a fault in the middle leaves. */
#include "runtime/debug_registers.h"
#include "system_fixture.h"

#define PORT 0x3f8u
#define MAP_BASE 0x68u /* of the I/O permission bitmap in the TSS */
#define IN_DX(size) ((size) << 16 | CALLOUT_PORT_DX)
#define REP(size) ((size) << 16 | CALLOUT_REP)

static struct {
    uint32_t next, last;
    unsigned reads, writes, size;
    unsigned stop_after; /* reads after which the device asks for attention */
    bool power_off;
} port;

static uint32_t port_read(void *device, uint16_t at, unsigned size) {
    (void)device, (void)at;
    port.size = size;
    if (++port.reads == port.stop_after)
        CPU->attention = 1;
    return port.next++;
}
static void port_write(void *device, uint16_t at, uint32_t value, unsigned size) {
    (void)device, (void)at;
    port.last = value;
    port.size = size;
    port.writes++;
    if (port.power_off)
        vcpu_request_exit(V, EXIT_POWER_OFF, 0);
}

static void setup_port(void) {
    setup();
    memset(&port, 0, sizeof port);
    port.next = 0xa1b2c300;
    bus_claim(&fake.bus, "test", PORT, 8, port_read, port_write, NULL);
    CPU->gpr[EDX] = 0xffff0000 | PORT;
    CPU->gpr[ESI] = CPU->gpr[EDI] = SCRATCH;
    load_segment(SEG_DS, SEL_UDATA);
    load_segment(SEG_ES, SEL_UDATA);
}

START_TEST(in_by_size) {
    CPU->gpr[EAX] = 0x11223344;
    ck_assert_int_eq(callout_in(V, 1 << 16 | 0xf8, 0), CALLOUT_NEXT); /* unclaimed */
    ck_assert_uint_eq(CPU->gpr[EAX], 0x112233ff);
    callout_in(V, IN_DX(1u), 0);
    ck_assert_uint_eq(CPU->gpr[EAX], 0x11223300);
    callout_in(V, IN_DX(2u), 0);
    ck_assert_uint_eq(CPU->gpr[EAX], 0x1122c301);
    callout_in(V, IN_DX(4u), 0);
    ck_assert_uint_eq(CPU->gpr[EAX], 0xa1b2c302);
}
END_TEST

START_TEST(out_by_size) {
    CPU->gpr[EAX] = 0x11223344;
    ck_assert_int_eq(callout_out(V, IN_DX(1u), 0), CALLOUT_NEXT);
    ck_assert_uint_eq(port.last, 0x44);
    callout_out(V, IN_DX(2u), 0);
    ck_assert_uint_eq(port.last, 0x3344);
    callout_out(V, IN_DX(4u), 0);
    ck_assert_uint_eq(port.last, 0x11223344);
    ck_assert_uint_eq(port.size, 4);
}
END_TEST

START_TEST(a_device_ends_the_machine) {
    port.power_off = true;
    ck_assert_int_eq(callout_out(V, IN_DX(1u), 0), CALLOUT_EXIT);
    ck_assert_uint_eq(CPU->eip, 0x5002);
    ck_assert_int_eq(V->exit, EXIT_POWER_OFF);
}
END_TEST

static void user_with_bitmap(uint32_t map_base, uint32_t tss_limit) {
    enter_level(3);
    CPU->gpr[EDX] = PORT;
    put16(FAKE_TSS + 0x66, map_base);
    CPU->tr.limit = tss_limit;
    memset(fake.ram.base + FAKE_TSS + map_base, 0xff, 0x100);
}

START_TEST(iopl_decides_first) {
    for (unsigned iopl = 0; iopl < 4; iopl++) {
        enter_level(1);
        CPU->gpr[EDX] = PORT;
        CPU->sys_flags = iopl << 12;
        if (iopl >= 1)
            ck_assert_int_eq(callout_in(V, IN_DX(1u), 0), CALLOUT_NEXT);
        else
            ASSERT_UNTOUCHED_FAULT(callout_in(V, IN_DX(1u), 0), VEC_GP, 0);
    }
}
END_TEST

START_TEST(bitmap_bits) {
    user_with_bitmap(MAP_BASE, MAP_BASE + 0x100);
    uint8_t *byte = fake.ram.base + FAKE_TSS + MAP_BASE + PORT / 8;
    ASSERT_UNTOUCHED_FAULT(callout_in(V, IN_DX(1u), 0), VEC_GP, 0);
    *byte = 0xfe; /* only the first port */
    ck_assert_int_eq(callout_in(V, IN_DX(1u), 0), CALLOUT_NEXT);
    ASSERT_UNTOUCHED_FAULT(callout_in(V, IN_DX(2u), 0), VEC_GP, 0);
    *byte = 0xf0;
    ck_assert_int_eq(callout_out(V, IN_DX(4u), 0), CALLOUT_NEXT);
    CPU->gpr[EDX] = PORT + 1;
    ASSERT_UNTOUCHED_FAULT(callout_out(V, IN_DX(4u), 0), VEC_GP, 0);
    *byte = 0x1f; /* an access across two bytes of the map */
    CPU->gpr[EDX] = PORT + 6;
    byte[1] = 0xfc;
    ck_assert_int_eq(callout_in(V, IN_DX(4u), 0), CALLOUT_NEXT);
    byte[1] = 0xfd;
    ASSERT_UNTOUCHED_FAULT(callout_in(V, IN_DX(4u), 0), VEC_GP, 0);
}
END_TEST

START_TEST(bitmap_bounds) {
    uint32_t offset = MAP_BASE + PORT / 8;
    user_with_bitmap(MAP_BASE, offset + 1);
    memset(fake.ram.base + FAKE_TSS + MAP_BASE, 0, 0x100);
    ck_assert_int_eq(callout_in(V, IN_DX(1u), 0), CALLOUT_NEXT);
    CPU->tr.limit = offset; /* the second byte of the two that are read */
    ASSERT_UNTOUCHED_FAULT(callout_in(V, IN_DX(1u), 0), VEC_GP, 0);
    CPU->tr.limit = 102;
    ASSERT_UNTOUCHED_FAULT(callout_in(V, IN_DX(1u), 0), VEC_GP, 0);
    CPU->tr.limit = offset + 1;
    CPU->tr.attr = 0x83; /* a 16-bit TSS has no bitmap */
    ASSERT_UNTOUCHED_FAULT(callout_in(V, IN_DX(1u), 0), VEC_GP, 0);
    CPU->tr.attr = 0x8b;
    fake.pages[FAKE_TSS >> PAGE_SHIFT] = PAGE_NO_READ;
    ASSERT_UNTOUCHED_FAULT(callout_in(V, IN_DX(1u), 0), VEC_PF, 0);
}
END_TEST

START_TEST(rep_ins) {
    CPU->gpr[ECX] = 3;
    ck_assert_int_eq(callout_ins(V, REP(2u), 0), CALLOUT_NEXT);
    ck_assert_uint_eq(CPU->gpr[ECX], 0);
    ck_assert_uint_eq(CPU->gpr[EDI], SCRATCH + 6);
    ck_assert_uint_eq(get16(SCRATCH + 4), 0xc302);
    ck_assert_int_eq(callout_ins(V, REP(2u), 0), CALLOUT_NEXT); /* ECX 0: nothing */
    ck_assert_uint_eq(port.reads, 3);
}
END_TEST

START_TEST(outs_backwards) {
    cpu_set_eflags(CPU, FL_DF, FL_DF);
    put32(SCRATCH, 0x12345678);
    ck_assert_int_eq(callout_outs(V, 4u << 16 | SEG_DS, 0), CALLOUT_NEXT);
    ck_assert_uint_eq(port.last, 0x12345678);
    ck_assert_uint_eq(CPU->gpr[ESI], SCRATCH - 4);
}
END_TEST

START_TEST(sixteen_bit_addresses) {
    CPU->gpr[ECX] = 0xabcd0002;
    CPU->gpr[EDI] = 0x9999ffff;
    ck_assert_int_eq(callout_ins(V, REP(1u) | CALLOUT_ADDR16, 0), CALLOUT_NEXT);
    ck_assert_uint_eq(CPU->gpr[ECX], 0xabcd0000);
    ck_assert_uint_eq(CPU->gpr[EDI], 0x99990001);
    ck_assert_uint_eq(fake.ram.base[0xffff], 0x00);
    ck_assert_uint_eq(fake.ram.base[0], 0x01);
}
END_TEST

/* The third element does not fit: two are done, the port was read twice. */
START_TEST(fault_in_the_middle) {
    CPU->gpr[ECX] = 8;
    CPU->gpr[EDI] = 0xcffc;
    fake.pages[0xd] = PAGE_NO_WRITE;
    assert_fault(callout_ins(V, REP(2u), 0), VEC_PF, PF_PRESENT | PF_WRITE);
    ck_assert_uint_eq(V->fault.cr2, 0xd000);
    ck_assert_uint_eq(CPU->gpr[ECX], 6);
    ck_assert_uint_eq(CPU->gpr[EDI], 0xd000);
    ck_assert_uint_eq(port.reads, 2);
    fake.pages[0xd] = 0;
    ck_assert_int_eq(callout_ins(V, REP(2u), 0), CALLOUT_NEXT);
    ck_assert_uint_eq(port.reads, 8);
}
END_TEST

START_TEST(interruptible) {
    CPU->gpr[ECX] = 8;
    port.stop_after = 3;
    ck_assert_int_eq(callout_ins(V, REP(1u), 0), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->eip, 0x5000);
    ck_assert_uint_eq(CPU->gpr[ECX], 5);
    CPU->attention = 0;
    ck_assert_int_eq(callout_ins(V, REP(1u), 0), CALLOUT_NEXT);
    ck_assert_uint_eq(port.reads, 8);
}
END_TEST

START_TEST(segment_checks) {
    segment_set_null(CPU, SEG_ES, 0);
    ASSERT_UNTOUCHED_FAULT(callout_ins(V, 1u << 16, 0), VEC_GP, 0);
    load_segment(SEG_ES, SEL_RODATA);
    ASSERT_UNTOUCHED_FAULT(callout_ins(V, 1u << 16, 0), VEC_GP, 0);
    gdt_set(SEL_FREE, 0, SCRATCH + 2, 0x93, 4);
    load_segment(SEG_SS, SEL_FREE);
    ASSERT_UNTOUCHED_FAULT(callout_outs(V, 4u << 16 | SEG_SS, 0), VEC_SS, 0);
    ck_assert_int_eq(callout_outs(V, 2u << 16 | SEG_SS, 0), CALLOUT_NEXT);
    ck_assert_uint_eq(port.reads, 0);
}
END_TEST

/* A breakpoint on the port at `at`; `length` as in DR7's LEN field. */
static void arm_port(uint32_t at, uint32_t length) {
    CPU->paging.cr4 |= CR4_DE;
    CPU->dr[1] = at;
    CPU->dr[7] |= 1u << 2 | (2u | length << 2) << 20;
    V->breakpoint_hits = 0;
    cpu_update_mode(CPU, 0);
}

START_TEST(port_breakpoints) {
    arm_port(PORT, 0);
    callout_in(V, IN_DX(1u), 0);
    ck_assert_uint_eq(V->breakpoint_hits, DR6_B(1));
    arm_port(PORT + 1, 0);
    callout_in(V, IN_DX(1u), 0);
    ck_assert_uint_eq(V->breakpoint_hits, 0);
    callout_out(V, IN_DX(2u), 0); /* reaches into it */
    ck_assert_uint_eq(V->breakpoint_hits, DR6_B(1));
    arm_port(PORT + 3, 3); /* four ports, aligned */
    callout_out(V, IN_DX(1u), 0);
    ck_assert_uint_eq(V->breakpoint_hits, DR6_B(1));
}
END_TEST

START_TEST(port_breakpoints_need_debugging_extensions) {
    arm_port(PORT, 0);
    CPU->paging.cr4 &= ~CR4_DE;
    callout_in(V, IN_DX(1u), 0);
    ck_assert_uint_eq(V->breakpoint_hits, 0);
}
END_TEST

START_TEST(forbidden_port_is_no_hit) {
    arm_port(PORT, 0);
    CPU->tr.limit = 0;
    enter_level(3);
    ck_assert_int_eq(callout_in(V, IN_DX(1u), 0), CALLOUT_FAULT);
    ck_assert_uint_eq(V->breakpoint_hits, 0);
}
END_TEST

/* Each element is an instruction of its own to the debugger; RF tells that it is not the first. */
START_TEST(stepped_string_stops_after_each_element) {
    CPU->sys_flags |= FL_TF;
    cpu_update_mode(CPU, 0);
    CPU->gpr[ECX] = 2;
    ck_assert_int_eq(callout_ins(V, REP(1u), 0), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->eip, 0x5000);
    ck_assert_uint_eq(CPU->gpr[ECX], 1);
    ck_assert_uint_eq(CPU->sys_flags & FL_RF, FL_RF);
    ck_assert_int_eq(callout_ins(V, REP(1u), 0), CALLOUT_NEXT);
    arm_port(PORT, 0);
    CPU->gpr[ECX] = 2;
    ck_assert_int_eq(callout_outs(V, REP(1u) | SEG_DS, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(V->breakpoint_hits, DR6_B(1));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("system: ports");
    TCase *tc = tcase_create("io");
    tcase_add_checked_fixture(tc, setup_port, teardown);
    tcase_add_test(tc, in_by_size);
    tcase_add_test(tc, out_by_size);
    tcase_add_test(tc, a_device_ends_the_machine);
    tcase_add_test(tc, iopl_decides_first);
    tcase_add_test(tc, bitmap_bits);
    tcase_add_test(tc, bitmap_bounds);
    tcase_add_test(tc, rep_ins);
    tcase_add_test(tc, outs_backwards);
    tcase_add_test(tc, sixteen_bit_addresses);
    tcase_add_test(tc, fault_in_the_middle);
    tcase_add_test(tc, interruptible);
    tcase_add_test(tc, segment_checks);
    tcase_add_test(tc, port_breakpoints);
    tcase_add_test(tc, port_breakpoints_need_debugging_extensions);
    tcase_add_test(tc, forbidden_port_is_no_hit);
    tcase_add_test(tc, stepped_string_stops_after_each_element);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
