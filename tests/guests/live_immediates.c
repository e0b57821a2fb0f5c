/* Immediates that are patched again and again in code that keeps running: every form of instruction that has
 * one, by stores of all sizes, beside copies at addresses that were never written before; and stores that meet
 * code by a byte, or miss it by one. */
#include "tests/guests/stage.h"

enum {
    ROUNDS = 24,
    MANY = 400, /* every store's site goes past the windows on the way */
    TARGET = PROBE, /* the patched code, one page, and one behind it */
    TARGET2 = TARGET + PAGE_SIZE,
    ALIAS = PROBE + 0x10000, /* another mapping of TARGET */
    FRESH = PROBE + 0x20000, /* copies */
    FRESH_PAGES = 16,
    WORD = DATA + 4, /* the forms' memory operand, at 4(%ebx) */
    ARITHMETIC = 0x8d5,
};

/* Bytes before the immediate, its size, bytes behind it. */
struct form {
    const char *name, *head;
    uint8_t head_len, size;
    const char *tail;
    uint8_t tail_len;
};
#define FORM(name, head, size) {name, head, sizeof head - 1, size, "", 0}
#define PUSH(name, head, size, tail) {name, head, sizeof head - 1, size, tail, sizeof tail - 1}
static const struct form forms[] = {
    FORM("add.eax", "\x05", 4), FORM("or.eax", "\x0d", 4), FORM("adc.eax", "\x15", 4), FORM("sbb.eax", "\x1d", 4),
    FORM("and.eax", "\x25", 4), FORM("sub.eax", "\x2d", 4), FORM("xor.eax", "\x35", 4), FORM("cmp.eax", "\x3d", 4),
    FORM("add.ax", "\x66\x05", 2), FORM("sbb.ax", "\x66\x1d", 2), FORM("adc.al", "\x14", 1), FORM("cmp.al", "\x3c", 1),
    FORM("add.ecx", "\x81\xc1", 4), FORM("or.ecx", "\x81\xc9", 4), FORM("adc.ecx", "\x81\xd1", 4),
    FORM("sbb.ecx", "\x81\xd9", 4), FORM("and.ecx", "\x81\xe1", 4), FORM("sub.ecx", "\x81\xe9", 4),
    FORM("xor.ecx", "\x81\xf1", 4), FORM("cmp.ecx", "\x81\xf9", 4), FORM("adc.cx", "\x66\x81\xd1", 2),
    FORM("sub.ecx.short", "\x83\xe9", 1), FORM("adc.dx.short", "\x66\x83\xd2", 1), FORM("sbb.dl", "\x80\xda", 1),
    FORM("add.ch", "\x80\xc5", 1), FORM("xor.cl.82", "\x82\xf1", 1),
    FORM("add.memory", "\x81\x43\x04", 4), FORM("cmp.memory", "\x81\x7b\x04", 4), FORM("sbb.memory.16", "\x66\x81\x5b\x04", 2),
    FORM("and.memory.short", "\x83\x63\x04", 1), FORM("or.memory.8", "\x80\x4b\x04", 1),
    FORM("add.locked", "\xf0\x81\x43\x04", 4), FORM("sub.locked.8", "\xf0\x80\x6b\x05", 1),
    FORM("mov.eax", "\xb8", 4), FORM("mov.ecx", "\xb9", 4), FORM("mov.edx", "\xba", 4), FORM("mov.dx", "\x66\xba", 2),
    FORM("mov.dl", "\xb2", 1), FORM("mov.ch", "\xb5", 1), FORM("mov.ecx.long", "\xc7\xc1", 4),
    FORM("mov.memory", "\xc7\x43\x04", 4), FORM("mov.memory.16", "\x66\xc7\x43\x04", 2), FORM("mov.memory.8", "\xc6\x43\x05", 1),
    FORM("test.eax", "\xa9", 4), FORM("test.al", "\xa8", 1), FORM("test.edx", "\xf7\xc2", 4), FORM("test.ah", "\xf6\xc4", 1),
    FORM("test.memory.8", "\xf6\x43\x04", 1),
    FORM("imul", "\x69\xca", 4), FORM("imul.short", "\x6b\xc9", 1), FORM("imul.16", "\x66\x69\xca", 2),
    FORM("imul.memory", "\x69\x4b\x04", 4), FORM("imul.memory.own", "\x69\x5b\x04", 4),
    FORM("add.fs", "\x64\x81\x43\x04", 4), FORM("add.addr16", "\x67\x81\xc1", 4),
    PUSH("push", "\x68", 4, "\x59"), PUSH("push.short", "\x6a", 1, "\x59"), PUSH("push.16", "\x66\x68", 2, "\x66\x59"),
    FORM("rol", "\xc1\xc0", 1), FORM("shld", "\x0f\xa4\xc8", 1), FORM("bt", "\x0f\xba\xe1", 1),
};

struct state {
    uint32_t eax, ecx, edx, ebx, flags, word;
};

static void run(uint32_t at, struct state *s) {
    *word_at(WORD) = s->word;
    __asm__ volatile("push %%ebx; push %5; mov %4, %%ebx; popf; call *%%edi; pushf; pop %%edi; mov %%ebx, %%esi; pop %%ebx"
                     : "+a"(s->eax), "+c"(s->ecx), "+d"(s->edx), "+D"(at), "+S"(s->ebx)
                     : "m"(s->flags)
                     : "memory", "cc");
    s->flags = at & ARITHMETIC;
    s->word = *word_at(WORD);
}

static void put(uint32_t at, uint32_t value, uint32_t size) {
    if (size == 1)
        *byte_at(at) = (uint8_t)value;
    else if (size == 2)
        *(volatile uint16_t *)at = (uint16_t)value;
    else
        *word_at(at) = value;
}

/* All at once, or one byte of it. Returns what the immediate is then. */
static uint32_t patch(uint32_t at, uint32_t old, uint32_t value, uint32_t size, uint32_t round) {
    if (round % 4 != 3) {
        put(at, value, size);
        return value;
    }
    uint32_t shift = round / 4 % size * 8;
    put(at + shift / 8, value, 1);
    return (old & ~(0xffu << shift)) | (value & 0xff) << shift;
}

static void write_form(uint32_t at, const struct form *f, uint32_t value) {
    memcpy((void *)at, f->head, f->head_len);
    memcpy((void *)(at + f->head_len), &value, f->size);
    memcpy((void *)(at + f->head_len + f->size), f->tail, f->tail_len);
    *byte_at(at + f->head_len + f->size + f->tail_len) = 0xc3;
}

static uint32_t random_word(void) {
    static uint32_t x = 2463534242u;
    x ^= x << 13, x ^= x >> 17, x ^= x << 5;
    return x;
}

static bool same(const struct state *a, const struct state *b) { return memcmp(a, b, sizeof *a) == 0; }

static void every_form(void) {
    uint32_t fresh = FRESH;
    for (unsigned i = 0; i < sizeof forms / sizeof *forms; i++) {
        const struct form *f = &forms[i];
        uint32_t at = TARGET + 0x40 + i * 24 % 0xf00, value = random_word(), wrong = 0;
        write_form(at, f, value);
        for (uint32_t round = 0; round < ROUNDS; round++) {
            struct state patched = {random_word(), random_word(), random_word(), DATA, random_word() & ARITHMETIC, random_word()};
            struct state copied = patched;
            if (fresh > FRESH + FRESH_PAGES * PAGE_SIZE - 32)
                fresh = FRESH;
            write_form(fresh, f, value);
            run(at, &patched);
            run(fresh, &copied);
            wrong += !same(&patched, &copied);
            value = patch((round & 1 ? at : at - TARGET + ALIAS) + f->head_len, value, random_word(), f->size, round);
            fresh += 32;
        }
        check(f->name, 0, wrong);
    }
}

static uint32_t call(uint32_t address) {
    uint32_t result;
    __asm__ volatile("call *%1" : "=a"(result) : "r"(address) : "ecx", "edx", "memory");
    return result;
}

/* mov $5, %eax; add $imm, %eax; ret: an immediate that lives, whose instruction then becomes another one. */
static void opcode_changes(void) {
    uint32_t at = TARGET + 0x20, wrong = 0;
    memcpy((void *)at, "\xb8\x05\0\0\0\x05\0\0\0\0\xc3", 11);
    for (uint32_t i = 0; i < MANY; i++) {
        *word_at(at + 6) = i;
        wrong += call(at) != 5 + i;
        if (i % 8 != 7)
            continue;
        *byte_at(at + 5) = 0x2d; /* sub */
        wrong += call(at) != 5 - i;
        *byte_at(at + 5) = 0x35; /* xor; and the immediate's first byte */
        *byte_at(at + 6) = 3;
        wrong += call(at) != (5 ^ ((i & ~0xffu) | 3));
        *byte_at(at + 5) = 0x05;
        *word_at(at + 7) = 0xc3000000u; /* its upper part, and what follows */
        wrong += call(at) != 5 + 3;
        *word_at(at + 4) = 0x00000500u; /* the end of the one before, the opcode and its lower part */
        wrong += call(at) != 5;
    }
    check("opcode-changes", 0, wrong);
}

/* A function at the start of a page, of which a store that comes from the page before changes two bytes. */
static void store_across_pages(void) {
    uint32_t wrong = 0;
    memcpy((void *)TARGET2, "\xb8\0\0\0\0\xc3", 6);
    memcpy((void *)TARGET, "\xb8\0\0\0\0\xc3", 6);
    for (uint32_t i = 0; i < MANY; i++) {
        *word_at(TARGET2 - 2) = 0x00b80000u | i << 24 | (i & 0xffff);
        *word_at(TARGET + 1) = i;
        wrong += call(TARGET) != i || call(TARGET2) != (i & 0xff) || *byte_at(TARGET2 - 2) != (i & 0xff);
    }
    check("store-across-pages", 0, wrong);
}

/* A loop that counts its own immediate up, in one block. */
SNIPPET(counts, "call 1f; 1: pop %ebx; 2: add $0x100, %eax; incl 2b+1-1b(%ebx); dec %ecx; jnz 2b" DONE);
static void patches_itself(unsigned ring) {
    check_variant(ring_name(ring));
    for (unsigned i = 0; i < 3; i++) {
        struct machine m = STAGE(ring, counts);
        uint32_t rounds = 50, sum = 0;
        m.eax = 0, m.ecx = rounds;
        for (uint32_t k = 0; k < rounds; k++)
            sum += 0x100 + k;
        guest_run(&m);
        check_trap("patches-itself", &m, VECTOR_DONE, 0, CODE + SNIPPET_SIZE(counts));
        check("patches-itself.sum", sum, m.eax);
    }
    check_variant(NULL);
}

/* Running such code is no access to data: a breakpoint on the immediate meets the store alone. */
static void watched(void) {
    uint32_t at = TARGET + 0x10, wrong = 0;
    memcpy((void *)at, "\xb8\0\0\0\0\xc3", 6);
    for (uint32_t i = 0; i < 8; i++) {
        *word_at(at + 1) = i;
        wrong += call(at) != i;
    }
    write_dr6(0);
    write_dr0(at + 1);
    write_dr7(2 | 3 << 16); /* DR0: reads and writes of a byte */
    wrong += call(at) != 7;
    uint32_t ran = read_dr6() & 1;
    write_dr7(0);
    check("breakpoint-on-immediate", 0, wrong + ran);
}

/* Stores of every size at every distance from a function, some of which change its immediate. */
static void beside_code(void) {
    static uint8_t mirror[PAGE_SIZE];
    uint32_t at = TARGET + 0x800, wrong = 0;
    memset((void *)TARGET, 0, PAGE_SIZE);
    memcpy((void *)at, "\xb8\0\0\0\0\x05\0\0\0\0\xc3", 11);
    memcpy(mirror, (void *)TARGET, PAGE_SIZE);
    for (uint32_t i = 0; i < 4000; i++) {
        uint32_t offset = 0x800 - 12 + i % 36, size = 1u << i / 36 % 3, value = random_word(), kept;
        memcpy(&kept, &mirror[offset], 4);
        for (uint32_t k = 0; k < size; k++) {
            uint32_t byte = offset + k - 0x800;
            bool fixed = byte == 0 || byte == 5 || byte == 10;
            kept = fixed ? kept : (kept & ~(0xffu << k * 8)) | (value & 0xffu << k * 8);
        }
        memcpy(&mirror[offset], &kept, size);
        put((i & 1 ? TARGET : ALIAS) + offset, kept, size);
        uint32_t first, second;
        memcpy(&first, &mirror[0x801], 4);
        memcpy(&second, &mirror[0x806], 4);
        wrong += call(at) != first + second;
    }
    check("beside-code", 0, wrong);
    check("beside-code.memory", 0, (uint32_t)memcmp((void *)TARGET, mirror, PAGE_SIZE));
}

/* The page may not be written any more, and may again: what was looked up before must not count. */
static void rights_change(void) {
    uint32_t at = TARGET + 0x30, entry = *space_entry(&stage, TARGET) & ~0xfffu, wrong = 0;
    static const uint8_t store[] = {0x89, 0x03, 0xcd, 0x81}; /* mov %eax, (%ebx); int $0x81 */
    memcpy((void *)at, "\xb8\0\0\0\0\xc3", 6);
    for (uint32_t i = 0; i < 60; i++) {
        bool writable = i % 4 != 3;
        stage_map(TARGET, entry, writable ? USER_PAGE : USER_PAGE & ~PTE_W);
        struct machine m = stage_at(3, CODE, store, sizeof store);
        m.ebx = at + 1, m.eax = i;
        guest_run(&m);
        wrong += m.vector != (writable ? VECTOR_DONE : VECTOR_PF);
        wrong += call(at) != (writable ? i : i - 1);
    }
    stage_map(TARGET, entry, USER_PAGE);
    check("rights-change", 0, wrong);
}

void guest_main(void) {
    stage_start();
    space_map_new(&stage, TARGET2, USER_PAGE); /* nowhere behind the other one in memory */
    space_map_new(&stage, TARGET, USER_PAGE);
    for (uint32_t i = 0; i < FRESH_PAGES; i++)
        space_map_new(&stage, FRESH + i * PAGE_SIZE, USER_PAGE);
    stage_map(ALIAS, *space_entry(&stage, TARGET) & ~0xfffu, USER_PAGE);
    every_form();
    opcode_changes();
    store_across_pages();
    patches_itself(0);
    patches_itself(3);
    watched();
    beside_code();
    rights_change();
    check_finish("live_immediates");
}
