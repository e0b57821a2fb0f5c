/* Host encodings, and the ways into and out of fragments: pads, thunks, links, the attention flag,
 * windows by hint, limits and what is not offered. Flags and registers must pass through all of them. */
#include <Zydis/Zydis.h>

#include "translator/emit.h"
#include "translator/tripwire.h"

#include "tests/unit/translator_native.h"

static void decode64(const uint8_t *bytes, unsigned len, ZydisDecodedInstruction *z,
                     ZydisDecodedOperand *operands) {
    ZydisDecoder decoder;
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    ck_assert(ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, len, z, operands)));
}

static void check_memory_operand(const struct memref *m, bool wide) {
    uint8_t bytes[16];
    struct emit e = {.at = bytes, .end = bytes + sizeof bytes};
    ZydisDecodedInstruction z;
    ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];
    struct encoding enc = {.opcode = 0x8b, .has_modrm = true, .reg = R9, .mem = m, .rex_w = wide};
    emit_insn(&e, &enc);
    ck_assert(!e.overflow);
    decode64(bytes, (unsigned)(e.at - bytes), &z, o);
    ck_assert_uint_eq(z.length, (unsigned)(e.at - bytes));
    ZydisRegister first = m->addr32 ? ZYDIS_REGISTER_EAX : ZYDIS_REGISTER_RAX;
    ZydisRegister base = m->base == NO_REG ? ZYDIS_REGISTER_NONE : first + m->base;
    ZydisRegister index = m->index == NO_REG ? ZYDIS_REGISTER_NONE : first + m->index;
    ck_assert_int_eq(z.mnemonic, ZYDIS_MNEMONIC_MOV);
    ck_assert_int_eq(o[0].reg.value, (wide ? ZYDIS_REGISTER_RAX : ZYDIS_REGISTER_EAX) + R9);
    ck_assert_int_eq(o[1].mem.base, base);
    ck_assert_int_eq(o[1].mem.index, index);
    if (m->index != NO_REG)
        ck_assert_uint_eq(o[1].mem.scale, 1u << m->scale);
    ck_assert_int_eq(o[1].mem.disp.has_displacement ? (int32_t)o[1].mem.disp.value : 0, m->disp);
    if (m->gs)
        ck_assert_int_eq(o[1].mem.segment, ZYDIS_REGISTER_GS);
}

START_TEST(every_memory_operand_says_what_it_should) {
    static const int32_t displacements[] = {0, 1, -1, 127, 128, -128, -129, 0x7fffffff, INT32_MIN};
    for (unsigned base = 0; base <= 16; base++)
        for (unsigned index = 0; index <= 16; index++)
            for (unsigned i = 0; i < 9 * 8; i++) {
                struct memref m = {.base = base == 16 ? NO_REG : (uint8_t)base,
                                   .index = index == 16 ? NO_REG : (uint8_t)index,
                                   .scale = (uint8_t)(index == 16 ? 0 : i & 3),
                                   .disp = displacements[i / 8],
                                   .gs = i & 4,
                                   .addr32 = i & 4};
                if (index != RSP)
                    check_memory_operand(&m, i & 1);
            }
}
END_TEST

START_TEST(overflow_is_said_and_nothing_is_written_behind_the_end) {
    struct memref m = {
        .base = R12, .index = R9, .scale = 3, .disp = 0x12345678, .gs = true, .addr32 = true};
    for (unsigned room = 0; room < 16; room++) {
        uint8_t bytes[32];
        memset(bytes, 0xee, sizeof bytes);
        struct emit e = {.at = bytes, .end = bytes + room};
        emit_store_imm(&e, &m, 0x9abcdef0);
        ck_assert_int_eq(e.overflow, room < 14);
        for (unsigned i = room; i < sizeof bytes; i++)
            ck_assert_uint_eq(bytes[i], 0xee);
    }
}
END_TEST

/* The 64 patterns of the arithmetic flags and DF beside them. */
static uint32_t flag_pattern(unsigned i) {
    return (i & 1 ? FL_CF : 0) | (i & 2 ? FL_PF : 0) | (i & 4 ? FL_AF : 0) | (i & 8 ? FL_ZF : 0) |
           (i & 16 ? FL_SF : 0) | (i & 32 ? FL_OF : 0) | (i & 64 ? FL_DF : 0);
}
#define FLAG_PATTERNS 128u

static struct outcome before(unsigned pattern) {
    struct outcome in = {.flags = flag_pattern(pattern)};
    for (unsigned i = 0; i < 8; i++)
        in.gpr[i] = 0x01010101u * (i + 1) + 0x80000000u * (i & 1);
    in.gpr[ESP] = DATA_AT + 0x800;
    in.vector[0] = 0x7f, in.vector[1] = 3, in.vector[24] = 0x80, in.vector[25] = 0x1f;
    in.vector[512] = 3;
    return in;
}

static int run(unsigned pattern, uint32_t mode, struct outcome *out) {
    struct outcome in = before(pattern);
    int reason = run_translated(&in, mode, out);
    ck_assert_int_eq(out->trap, TRAP_NONE);
    ck_assert_uint_eq(out->flags, in.flags);
    ck_assert_mem_eq(out->gpr, in.gpr, sizeof in.gpr);
    return reason;
}

#define BODY (dual.emitted + 0x400)
#define PAD (dual.emitted + 0x800)
#define HERE 0x10002345u
#define REACHED 0x7777u

/* The body says that it was reached by leaving through STUB_ATTENTION; `enter` goes to `to` with
 * r11d. */
static void place_body(void) {
    struct emit e = {.at = BODY, .end = BODY + 64};
    struct memref stub =
        mem_cpu((uint32_t) __builtin_offsetof(struct cpu, stubs) + STUB_ATTENTION * 8u);
    emit_mov_reg_imm(&e, R11, REACHED);
    emit_jump_mem(&e, &stub);
}
static void place_entry(uint32_t target, const uint8_t *to) {
    struct emit e = {.at = dual.emitted, .end = dual.emitted + 64};
    emit_mov_reg_imm(&e, R11, target);
    emit8(&e, 0xe9);
    emit32(&e, (uint32_t)(int32_t)(to - (e.at + 4)));
}

#define POLL_AT 0x40000000u
static void map_poll_page(void) {
    map_at(POLL_AT, PAGE_SIZE, PROT_READ, -1);
    map_at(POLL_AT + PAGE_SIZE, TRIPWIRE_REACH, PROT_NONE, -1);
}

/* Tripped: nothing of the guest has changed, and the code tells what was expected. */
static void expect_trip(unsigned pattern, const uint8_t *at, enum tripwire kind, uint32_t expected) {
    struct outcome in = before(pattern), out;
    uint32_t read_back;
    run_translated(&in, 0, &out);
    ck_assert_int_eq(out.trap, 14);
    ck_assert_uint_eq(out.flags, in.flags);
    ck_assert_mem_eq(out.gpr, in.gpr, sizeof in.gpr);
    ck_assert_int_eq(tripwire_at(at + TRIPWIRE_LOAD, &read_back), kind);
    ck_assert_uint_eq(read_back, expected);
}

START_TEST(pad_lets_its_own_target_in_and_nobody_else) {
    struct outcome out;
    map_poll_page();
    place_body();
    ck_assert_uint_gt(translate_pad(PAD, 256, PAD, HERE, BODY, POLL_AT), 0);
    for (unsigned pattern = 0; pattern < FLAG_PATTERNS; pattern++) {
        mprotect((void *)(uintptr_t)POLL_AT, PAGE_SIZE, PROT_READ);
        place_entry(HERE, PAD);
        ck_assert_int_eq(run(pattern, 0, &out), LEAVE_ATTENTION_);
        ck_assert_uint_eq(out.eip, REACHED);
        for (unsigned bit = 0; bit < 32; bit++) {
            place_entry(HERE ^ 1u << bit, PAD);
            expect_trip(pattern, PAD, TRIPWIRE_PAD, HERE);
        }
        place_entry(HERE, PAD);
        mprotect((void *)(uintptr_t)POLL_AT, PAGE_SIZE, PROT_NONE);
        expect_trip(pattern, PAD, TRIPWIRE_PAD, HERE);
    }
    ck_assert_uint_eq(translate_pad(PAD, 8, PAD, HERE, BODY, POLL_AT), 0); /* no room */
}
END_TEST

START_TEST(tripwire_trips_at_any_difference) {
    static const uint32_t expected[] = {0, 1, 0x7fffffff, 0x80000000, 0xc1234567, UINT32_MAX};
    map_poll_page();
    place_body();
    for (unsigned i = 0; i < sizeof expected / sizeof *expected; i++) {
        ck_assert_uint_gt(translate_pad(PAD, 256, PAD, expected[i], BODY, POLL_AT), 0);
        for (int difference = -9000; difference <= 9000; difference++) {
            struct outcome in = before(0), out;
            place_entry(expected[i] + (uint32_t)difference, PAD);
            run_translated(&in, 0, &out);
            ck_assert_int_eq(out.trap, difference ? 14 : TRAP_NONE);
        }
    }
}
END_TEST

START_TEST(wary_landing_goes_back_or_returns_elsewhere) {
    struct outcome out;
    place_body();
    ck_assert_uint_gt(translate_wary_landing(PAD, 256, PAD, HERE, BODY), 0);
    for (unsigned pattern = 0; pattern < FLAG_PATTERNS; pattern++) {
        place_entry(HERE, PAD);
        ck_assert_int_eq(run(pattern, 0, &out), LEAVE_ATTENTION_);
        ck_assert_uint_eq(out.eip, REACHED);
        for (unsigned bit = 0; bit < 32; bit++) {
            place_entry(HERE ^ 1u << bit, PAD);
            ck_assert_int_eq(run(pattern, 0, &out), LEAVE_LOOKUP_);
            ck_assert_uint_eq(out.eip, HERE ^ 1u << bit);
        }
    }
    ck_assert_uint_eq(translate_wary_landing(PAD, 8, PAD, HERE, BODY), 0);
}
END_TEST

START_TEST(thunk_goes_through_the_slot_of_its_target) {
    struct outcome out;
    place_body();
    ck_assert_uint_gt(translate_thunk(PAD, 256, HERE), 0);
    for (unsigned pattern = 0; pattern < FLAG_PATTERNS; pattern++) {
        place_entry(0, PAD);
        ck_assert_int_eq(run(pattern, 0, &out), LEAVE_LOOKUP_); /* the slot is empty */
        ck_assert_uint_eq(out.eip, HERE);
        dual.jump_cache.slots[jump_cache_slot(HERE)] = (uint64_t)(uintptr_t)BODY;
        ck_assert_int_eq(run(pattern, 0, &out), LEAVE_ATTENTION_);
        ck_assert_uint_eq(out.eip, REACHED);
        dual.jump_cache.slots[jump_cache_slot(HERE)] = (uint64_t)(uintptr_t)stub_miss;
    }
    ck_assert_uint_eq(translate_thunk(PAD, 4, HERE), 0);
}
END_TEST

static struct translate_request request(const uint8_t *bytes, uint32_t len, uint32_t mode) {
    return (struct translate_request){.bytes = bytes,
                                      .len = len,
                                      .page_bytes = len,
                                      .eip = CODE_AT,
                                      .linear = CODE_AT,
                                      .mode = mode,
                                      .tsc_is_host = true};
}
static void translate(const struct translate_request *req) {
    ck_assert_int_eq(translate_block(req, dual.emitted, EMITTED_BYTES, &dual.out), TRANSLATE_OK);
}

static bool taken(unsigned cc, uint32_t flags) {
    bool c = flags & FL_CF, z = flags & FL_ZF, s = flags & FL_SF, o = flags & FL_OF,
         p = flags & FL_PF;
    const bool by_pair[8] = {o, c, z, c || z, s, p, s != o, z || s != o};
    return by_pair[cc >> 1] != (cc & 1);
}

static const struct translation_exit *exit_at(uint64_t site) {
    for (unsigned i = 0; i < dual.out.exit_count; i++)
        if ((uint64_t)(uintptr_t)(dual.emitted + dual.out.exits[i].site) == site)
            return &dual.out.exits[i];
    return NULL;
}

/* Each link first leads to its stub, which names the rel32 to patch; patched, it goes where it was
 * told. */
START_TEST(links_lead_to_their_stubs_and_can_be_patched) {
    struct outcome out;
    place_body();
    for (unsigned cc = 0; cc < 16; cc++) {
        const uint8_t jcc[] = {(uint8_t)(0x70 | cc), 0x10};
        struct translate_request req = request(jcc, 2, 3);
        for (unsigned pattern = 0; pattern < FLAG_PATTERNS; pattern++) {
            translate(&req);
            uint32_t target = CODE_AT + (taken(cc, flag_pattern(pattern)) ? 0x12 : 2);
            ck_assert_int_eq(run(pattern, 3, &out), LEAVE_CHAIN_);
            ck_assert_uint_eq(out.eip, target);
            const struct translation_exit *exit = exit_at(dual.v.cpu.chain_site);
            ck_assert_ptr_nonnull(exit);
            ck_assert_uint_eq(exit->target, target);
            uint8_t *site = dual.emitted + exit->site;
            place_body();
            int32_t distance = (int32_t)(BODY - (site + 4));
            memcpy(site, &distance, 4);
            ck_assert_int_eq(run(pattern, 3, &out), LEAVE_ATTENTION_);
            ck_assert_uint_eq(out.eip, REACHED);
        }
    }
}
END_TEST

#define DRAFT 0x800u
#define STUBS_AT 0x100000u /* from the emitted code on; nothing is called */

/* The calls and jumps in [code, code + len) that lead to each stub. None goes through r15. */
static void count_direct(const uint8_t *code, uint32_t len, const uintptr_t *stubs, unsigned counts[STUB_COUNT]) {
    ZydisDecodedInstruction z;
    ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];
    for (uint32_t at = 0; at < len; at += z.length) {
        decode64(code + at, len - at < 15 ? len - at : 15, &z, o);
        bool call = z.mnemonic == ZYDIS_MNEMONIC_CALL, jump = z.mnemonic == ZYDIS_MNEMONIC_JMP;
        if (!call && !jump)
            continue;
        ck_assert(o[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE || o[0].mem.base != ZYDIS_REGISTER_R15);
        for (unsigned i = 0; i < STUB_COUNT; i++)
            counts[i] += (uintptr_t)code + at + z.length + (uintptr_t)o[0].imm.value.s == stubs[i];
    }
}

/* In a block that moves when it is done, behind a branch that grows, and in cold code. */
START_TEST(near_stubs_are_reached_directly_wherever_the_block_comes_to_lie) {
    uint8_t code[2 + 2 * 32 + 2] = {0x74, 2 * 32}; /* JZ over 32 CPUIDs, to a JMP */
    uintptr_t stubs[STUB_COUNT];
    for (unsigned i = 0; i < 32; i++)
        memcpy(code + 2 + 2 * i, (const uint8_t[]){0x0f, 0xa2}, 2);
    memcpy(code + 2 + 2 * 32, (const uint8_t[]){0xeb, 0x10}, 2);
    for (unsigned i = 0; i < STUB_COUNT; i++)
        stubs[i] = (uintptr_t)dual.emitted + STUBS_AT + 16 * i;
    for (unsigned up = 0; up < 3; up++) {
        unsigned hot[STUB_COUNT] = {0}, cold[STUB_COUNT] = {0};
        struct translate_request req = request(code, sizeof code, 0);
        req.max_branches = 8;
        req.stubs = stubs;
        req.cold = dual.emitted + COLD_AT;
        req.cold_room = EMITTED_BYTES - COLD_AT;
        req.place = (struct translation_place){.alignment = 16};
        if (up)
            *(up == 1 ? &req.place.start : &req.place.end) = dual.emitted + (up == 1 ? 0x100 : COLD_AT - 0x40);
        ck_assert_int_eq(translate_block(&req, dual.emitted + DRAFT, COLD_AT - DRAFT - 0x40, &dual.out), TRANSLATE_OK);
        ck_assert_int_eq(dual.out.code == dual.emitted + DRAFT, !up);
        ck_assert_uint_eq(dual.out.insn_count, 34);
        ck_assert_uint_eq(dual.out.code[0], 0x0f); /* JZ rel32 */
        count_direct(dual.out.code, dual.out.code_len, stubs, hot);
        count_direct(req.cold, dual.out.cold_len, stubs, cold);
        ck_assert_uint_eq(hot[STUB_CALLOUT], 32);
        ck_assert_uint_eq(cold[STUB_CHAIN], dual.out.exit_count);
        ck_assert_uint_ge(dual.out.exit_count, 1);
    }
}
END_TEST

START_TEST(back_edge_tests_for_attention) {
    struct outcome out;
    static const uint8_t back[] = {0xeb, 0xe0}, forth[] = {0xeb, 0x20};
    for (unsigned pattern = 0; pattern < FLAG_PATTERNS; pattern++)
        for (unsigned attention = 0; attention < 2; attention++) {
            struct translate_request req = request(back, 2, 0);
            translate(&req);
            dual.v.cpu.attention = attention;
            ck_assert_int_eq(run(pattern, 0, &out), attention ? LEAVE_ATTENTION_ : LEAVE_CHAIN_);
            ck_assert_uint_eq(out.eip, CODE_AT + 2 - 0x20);
            req = request(forth, 2, 0);
            translate(&req);
            ck_assert_int_eq(run(pattern, 0, &out), LEAVE_CHAIN_);
            ck_assert_uint_eq(out.eip, CODE_AT + 2 + 0x20);
        }
}
END_TEST

/* The cheap test: a load from a page that is closed when attention is wanted. The branch is then
 * run again, so it must not have done anything yet. */
START_TEST(back_edge_polls_a_page_before_it_does_anything) {
    static const uint8_t edges[][7] = {
        {2, 0xeb, 0xe0},                   /* JMP */
        {2, 0x74, 0xe0},                   /* JZ */
        {2, 0xe2, 0xe0},                   /* LOOP */
        {2, 0xe1, 0xe0},                   /* LOOPE */
        {2, 0xe3, 0xe0},                   /* JECXZ */
        {5, 0xe8, 0xe0, 0xff, 0xff, 0xff}, /* CALL */
        {3, 0x51, 0xeb, 0xe0},             /* PUSH ECX; JMP */
        {3, 0x59, 0xe2, 0xe0},             /* POP ECX; LOOP */
    };
    const uint32_t page = 0x40000000;
    map_at(page, PAGE_SIZE, PROT_READ, -1);
    for (unsigned i = 0; i < sizeof edges / sizeof *edges; i++)
        for (unsigned pattern = 0; pattern < FLAG_PATTERNS; pattern++) {
            struct translate_request req = request(edges[i] + 1, edges[i][0], 3);
            struct outcome in = before(pattern), open, closed;
            req.poll_address = page;
            translate(&req);
            memset(dual.window.data, 1, DATA_BYTES);
            mprotect((void *)(uintptr_t)page, PAGE_SIZE, PROT_READ);
            run_translated(&in, 3, &open);
            ck_assert_int_eq(open.trap, TRAP_NONE);
            memset(dual.window.data, 1, DATA_BYTES);
            mprotect((void *)(uintptr_t)page, PAGE_SIZE, PROT_NONE);
            run_translated(&in, 3, &closed);
            if (closed.trap == TRAP_NONE)
                continue; /* not taken, or it tests the flag */
            ck_assert_uint_eq(closed.cr2, page);
            /* From where it stopped, the rest of the block does what the whole does. */
            unsigned done = closed.eip - CODE_AT;
            ck_assert(done < edges[i][0]);
            req = request(edges[i] + 1 + done, edges[i][0] - done, 3);
            req.eip = req.linear = closed.eip;
            translate(&req);
            closed.vector[512] = 3;
            closed.trap = TRAP_NONE;
            struct outcome again;
            run_translated(&closed, 3, &again);
            ck_assert_uint_eq(again.eip, open.eip);
            ck_assert_uint_eq(again.flags, open.flags);
            ck_assert_mem_eq(again.gpr, open.gpr, sizeof open.gpr);
        }
}
END_TEST

/* STI; NOP: an interrupt that waits is seen behind the NOP, not before it. */
START_TEST(sti_is_followed_by_one_instruction_and_a_look) {
    struct outcome out;
    static const uint8_t code[] = {0xfb, 0x90, 0x90};
    struct translate_request req = request(code, 3, 0);
    for (unsigned pattern = 0; pattern < FLAG_PATTERNS; pattern++)
        for (unsigned pending = 0; pending < 2; pending++) {
            translate(&req);
            dual.v.cpu.attention = 0;
            dual.v.cpu.iflag = 0;
            dual.v.cpu.irq_pending = pending;
            ck_assert_int_eq(run(pattern, 0, &out), pending ? LEAVE_ATTENTION_ : LEAVE_CHAIN_);
            ck_assert_uint_eq(out.eip, CODE_AT + 2);
            ck_assert_uint_eq(dual.v.cpu.iflag, FL_IF);
        }
}
END_TEST

static uint8_t fixed_hint(void *opaque, uint32_t eip) {
    (void)eip;
    return *(const uint8_t *)opaque;
}

/* mov [0x20000800], eax; push eax: which window each operand goes through. */
START_TEST(hints_choose_the_window_of_each_operand) {
    static const uint8_t store[] = {0xa3, 0, 8, 0, 0x20}, push[] = {0x50};
    unsigned missing = (unsigned)_i; /* the window without memory */
    munmap((void *)(window_base(missing) + DATA_AT), DATA_BYTES);
    for (unsigned hint = 0; hint < 3; hint++)
        for (unsigned kind = 0; kind < 2; kind++)
            for (unsigned granule = 0; granule < 2; granule++) {
                uint8_t value = (uint8_t)(kind ? hint << 2 : hint);
                struct translate_request req =
                    kind ? request(push, sizeof push, 0) : request(store, sizeof store, 0);
                req.hint = fixed_hint;
                req.opaque = &value;
                translate(&req);
                dual.v.cpu.granule_window[DATA_AT >> 24] = window_base(granule);
                struct outcome in = before(0), out;
                run_translated(&in, 0, &out);
                unsigned used = hint == WINDOW_SUPER ? 0 : hint == WINDOW_USER ? 1 : granule;
                ck_assert_int_eq(out.trap, used == missing ? 14 : TRAP_NONE);
            }
}
END_TEST

struct unit_case {
    uint8_t bytes[4];
    uint32_t len, mode;
    int vector;
};

START_TEST(units_that_are_off_raise_nm_or_ud) {
    static const struct unit_case list[] = {
        {{0xd9, 0xe8}, 2, MODE_NO_FPU, 7}, /* FLD1 */
        {{0x9b}, 1, MODE_WAIT_NM, 7},      /* FWAIT */
        {{0x9b}, 1, MODE_NO_FPU, TRAP_NONE},
        {{0x0f, 0x77}, 2, MODE_NO_FPU, 7}, /* EMMS */
        {{0x0f, 0x77}, 2, MODE_NO_FPU | MODE_NO_SSE, 6},
        {{0x0f, 0x58, 0xc0}, 3, MODE_NO_FPU, 7}, /* ADDPS */
        {{0x0f, 0x58, 0xc0}, 3, MODE_NO_SSE, 6},
        {{0xc5, 0xf8, 0x58, 0xc0}, 4, MODE_NO_AVX, 6}, /* VADDPS */
        {{0xc5, 0xf8, 0x58, 0xc0}, 4, MODE_NO_FPU, 7},
        {{0x0f, 0x0b}, 2, 0, 6},             /* UD2 */
        {{0x0f, 0x05}, 2, 0, 6},             /* SYSCALL */
        {{0xf0, 0x90}, 2, 0, 6},             /* LOCK NOP */
        {{0x62, 0xf1, 0x7c, 0x48}, 4, 0, 6}, /* EVEX */
        {{0x8e, 0xc8}, 2, 0, 6},             /* MOV CS, EAX */
        {{0x63, 0xc8}, 2, MODE_REAL, 6},     /* ARPL, and others that know selectors */
        {{0x0f, 0x02, 0xc8}, 3, MODE_REAL | MODE_CODE16, 6},
        {{0x0f, 0x03, 0xc8}, 3, 3 | MODE_VM86 | MODE_CODE16, 6},
        {{0x0f, 0x00, 0xc0}, 3, MODE_REAL, 6},       /* SLDT */
        {{0x0f, 0x00, 0xd8}, 3, 3 | MODE_VM86, 6},   /* LTR */
        {{0xc5, 0xf8, 0x58, 0xc0}, 4, MODE_REAL, 6}, /* LDS AX, AX: no VEX there */
    };
    for (unsigned i = 0; i < sizeof list / sizeof *list; i++) {
        uint8_t bytes[16] = {0};
        memcpy(bytes, list[i].bytes, list[i].len);
        struct translate_request req = request(bytes, 16, list[i].mode);
        req.max_insns = 1;
        translate(&req);
        struct outcome in = before(0), out;
        run_translated(&in, list[i].mode, &out);
        ck_assert_msg(out.trap == list[i].vector, "case %u: trap %d", i, out.trap);
    }
}
END_TEST

START_TEST(block_ends_at_its_limits) {
    uint8_t nops[256];
    memset(nops, 0x90, sizeof nops);
    struct translate_request req = request(nops, sizeof nops, 0);
    translate(&req);
    ck_assert_uint_eq(dual.out.insn_count, TRANSLATION_INSNS_MAX);
    req.max_insns = 3;
    translate(&req);
    ck_assert_uint_eq(dual.out.guest_len, 3);
    req.max_insns = 0;
    req.page_bytes = req.len = 7;
    translate(&req);
    ck_assert_uint_eq(dual.out.guest_len, 7);
    static const uint8_t straddling[] = {0xb8, 1, 2, 3, 4, 0x90};
    req = request(straddling, 3, 0);
    ck_assert_int_eq(translate_block(&req, dual.emitted, EMITTED_BYTES, &dual.out), TRANSLATE_MORE);
    req.len = 6;
    req.page_bytes = 3;
    translate(&req);
    ck_assert_uint_eq(dual.out.guest_len, 5); /* alone in its block */
    uint8_t too_long[16];
    memset(too_long, 0x66, sizeof too_long);
    req = request(too_long, sizeof too_long, 0);
    translate(&req);
    struct outcome in = before(0), out;
    run_translated(&in, 0, &out);
    ck_assert_int_eq(out.trap, 13);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("emit");
    TCase *tcase = tcase_create("emit");
    tcase_set_timeout(tcase, 30);
    tcase_add_checked_fixture(tcase, dual_set_up, NULL);
    tcase_add_test(tcase, every_memory_operand_says_what_it_should);
    tcase_add_test(tcase, overflow_is_said_and_nothing_is_written_behind_the_end);
    tcase_add_test(tcase, pad_lets_its_own_target_in_and_nobody_else);
    tcase_add_test(tcase, tripwire_trips_at_any_difference);
    tcase_add_test(tcase, wary_landing_goes_back_or_returns_elsewhere);
    tcase_add_test(tcase, thunk_goes_through_the_slot_of_its_target);
    tcase_add_test(tcase, links_lead_to_their_stubs_and_can_be_patched);
    tcase_add_test(tcase, near_stubs_are_reached_directly_wherever_the_block_comes_to_lie);
    tcase_add_test(tcase, back_edge_tests_for_attention);
    tcase_add_test(tcase, back_edge_polls_a_page_before_it_does_anything);
    tcase_add_test(tcase, sti_is_followed_by_one_instruction_and_a_look);
    tcase_add_loop_test(tcase, hints_choose_the_window_of_each_operand, 0, 2);
    tcase_add_test(tcase, units_that_are_off_raise_nm_or_ud);
    tcase_add_test(tcase, block_ends_at_its_limits);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
