/* Forward branches in all shapes: both ways of a condition, over and into what is no instruction, over faults and
 * changed bytes, with pushes on either side, near and far. Each is taken and not taken, again and again. */
#include "tests/guests/stage.h"

enum { ROUNDS = 64, TARGET = PROBE, STACK_FILL = 0x5a5a0000 };

static struct machine run_with(unsigned ring, const uint8_t *code, uint32_t size, uint32_t eax) {
    struct machine m = stage_at(ring, CODE, code, size);
    for (unsigned i = 1; i <= 8; i++)
        *word_at(STACK_TOP - 4 * i) = STACK_FILL + i;
    m.eax = eax;
    guest_run(&m);
    return m;
}
#define RUN_WITH(ring, name, eax) run_with(ring, name, SNIPPET_SIZE(name), eax)

static void check_done(const char *name, const struct machine *m, uint32_t size) {
    check_trap(name, m, VECTOR_DONE, 0, CODE + size);
}

/* Steps of 3n+1, with both ways inside a loop. */
SNIPPET(steps, "xor %ecx, %ecx\n"
               "1: cmp $1, %eax; je 4f; test $1, %al; jz 2f; lea 1(%eax,%eax,2), %eax; jmp 3f\n"
               "2: shr %eax; 3: inc %ecx; jmp 1b\n4:" DONE);
static void both_ways(unsigned ring) {
    for (uint32_t n = 1; n <= ROUNDS; n++) {
        uint32_t count = 0;
        for (uint32_t x = n; x != 1; x = x & 1 ? 3 * x + 1 : x / 2)
            count++;
        struct machine m = RUN_WITH(ring, steps, n);
        check_done("steps", &m, SNIPPET_SIZE(steps));
        check("steps.count", count, m.ecx);
    }
}

/* Branches that overlap, end at the same place, and go on behind a jump and a return. */
SNIPPET(woven, "xor %edx, %edx; test $1, %al; jnz 1f; add $1, %edx; test $2, %al; jnz 2f; add $2, %edx\n"
               "1: add $4, %edx; test $4, %al; jnz 3f; add $8, %edx\n"
               "2: add $16, %edx; test $8, %al; jnz 3f; add $32, %edx; test $16, %al; jz 4f; jmp 5f\n"
               "3: add $64, %edx\n4: add $128, %edx; jmp 6f\n5: add $256, %edx\n6:" DONE);
static uint32_t weave(uint32_t a) {
    uint32_t d = 0;
    if (!(a & 1)) {
        d += 1;
        if (a & 2)
            goto two;
        d += 2;
    }
    d += 4;
    if (a & 4)
        return d + 64 + 128;
    d += 8;
two:
    d += 16;
    if (a & 8)
        return d + 64 + 128;
    d += 32;
    return d + (a & 16 ? 256 : 128);
}

/* A function called from a block, with returns in the middle. */
SNIPPET(returns, "xor %edx, %edx; call 1f; call 1f; jmp 9f\n"
                 "1: shr %eax; jc 2f; inc %edx; ret\n2: test $1, %al; jz 3f; add $16, %edx; ret\n"
                 "3: add $32, %edx; ret\n9:" DONE);
static uint32_t returned(uint32_t a) {
    uint32_t d = 0;
    for (unsigned i = 0; i < 2; i++) {
        uint32_t carry = a & 1;
        a >>= 1;
        d += !carry ? 1 : a & 1 ? 16 : 32;
    }
    return d;
}

/* Into the middle of an instruction, which is another one from there; and to its start over it. */
SNIPPET(middle, "xor %edx, %edx; xor %ecx, %ecx; test $1, %al; jnz 1f\n"
                ".byte 0xb9; 1: .byte 0x42, 0x90, 0x90, 0x90\n" /* mov $0x90909042, %ecx; inc %edx */
                "test $2, %al; jnz 2f; inc %edx; .byte 0x81; 2: .byte 0xc2, 4, 0, 0, 0\n" /* add $4, %edx; ret $4 */
                DONE);
static void in_the_middle(unsigned ring) {
    for (uint32_t i = 0; i < ROUNDS; i++) {
        struct machine m = RUN_WITH(ring, middle, i & 1);
        check_done("middle", &m, SNIPPET_SIZE(middle));
        check("middle.start", i & 1 ? 0 : 0x90909042, m.ecx);
        check("middle.inside", (i & 1) + 5, m.edx);
        if (ring == 0)
            continue; /* it keeps its own stack */
        m = stage_at(ring, CODE, middle, SNIPPET_SIZE(middle));
        m.eax = 2 | (i & 1);
        m.esp -= 16;
        *word_at(m.esp) = CODE + SNIPPET_SIZE(middle) - 2;
        guest_run(&m);
        check_done("middle.return", &m, SNIPPET_SIZE(middle));
        check("middle.esp", STACK_TOP - 8, m.esp);
        check("middle.without", i & 1, m.edx);
    }
}

static void many_values(unsigned ring) {
    for (uint32_t i = 0; i < ROUNDS; i++) {
        struct machine m = RUN_WITH(ring, woven, i);
        check_done("woven", &m, SNIPPET_SIZE(woven));
        check("woven.sum", weave(i), m.edx);
        m = RUN_WITH(ring, returns, i);
        check_done("returns", &m, SNIPPET_SIZE(returns));
        check("returns.sum", returned(i), m.edx);
    }
}

/* Pushes before the branch, over it and behind: ESP is right where it lands, and where something faults. */
SNIPPET(stack, "push %eax; push %ebx; test $1, %al; jz 1f; push $7; push $8; pop %ecx; test $2, %al; jz 1f; pop %ecx\n"
               "1: push %eax; mov (%esp), %edx; add 4(%esp), %edx; test $4, %al; jz 2f; mov -4096(%esi), %edx\n"
               "2: pop %ecx; mov %esp, %edi" DONE);
SNIPPET(fault_at, "push %eax; test $1, %al; jz 1f; push %ecx; push %ecx; 1: mov (%esi), %edx; pop %ecx" DONE);
static void stacks(unsigned ring) {
    uint32_t top = ring ? STACK_TOP : 0; /* in ring 0 another one, which the first run tells */
    for (uint32_t i = 0; i < ROUNDS; i++) {
        struct machine m = stage_at(ring, CODE, stack, SNIPPET_SIZE(stack));
        m.eax = i & 3;
        m.ebx = 100;
        m.esi = DATA + PAGE_SIZE;
        guest_run(&m);
        check_done("stack", &m, SNIPPET_SIZE(stack));
        bool seven = (i & 3) == 1;
        top = top ? top : m.edi + 8;
        check("stack.edi", top - 8 - (seven ? 4 : 0), m.edi);
        check("stack.edx", (i & 3) + (seven ? 7 : 100), m.edx);
        m = stage_at(ring, CODE, fault_at, SNIPPET_SIZE(fault_at));
        m.eax = i & 1;
        m.esi = HOLE;
        guest_run(&m);
        check_trap("fault-where-it-lands", &m, VECTOR_PF, ring ? 4 : 0, CODE + SNIPPET_SIZE(fault_at) - 5);
        check("fault-where-it-lands.esp", top - 4 - (i & 1 ? 8 : 0), m.esp);
    }
}

/* What is jumped over faults, when it is not. */
SNIPPET(over_fault, "xor %edx, %edx; test $1, %al; jz 1f; inc %edx; mov %eax, (%esi); 1: add $16, %edx" DONE);
SNIPPET(over_undefined, "xor %edx, %edx; test $1, %al; jz 1f; inc %edx; ud2; 1: add $16, %edx" DONE);
static void over_faults(unsigned ring) {
    for (uint32_t i = 0; i < ROUNDS; i++) {
        bool runs = i % 3 == 1;
        struct machine m = stage_at(ring, CODE, over_fault, SNIPPET_SIZE(over_fault));
        m.eax = runs;
        m.esi = HOLE + i;
        guest_run(&m);
        check("over-fault.vector", runs ? VECTOR_PF : VECTOR_DONE, m.vector);
        check("over-fault.edx", runs ? 1 : 16, m.edx);
        check("over-fault.eip", CODE + (runs ? 7 : SNIPPET_SIZE(over_fault)), m.eip);
        m = RUN_WITH(ring, over_undefined, runs);
        check("over-undefined.vector", runs ? 6 : VECTOR_DONE, m.vector);
        check("over-undefined.edx", runs ? 1 : 16, m.edx);
        check("over-undefined.eip", CODE + (runs ? 7 : SNIPPET_SIZE(over_undefined)), m.eip);
    }
}

/* The code changes where it is jumped over, where the branch lands, and in the branch itself; the last by a
 * store of the same block. 2: the store that counts. */
SNIPPET(changing, "xor %edx, %edx; 2: mov %cl, 1f + 2 - changing(%ebp); test $1, %al; jz 1f; add $0x11, %edx; nop\n"
                  "1: add $0x22, %edx" DONE);
static void changed(unsigned ring) {
    struct machine m = STAGE(ring, changing);
    uint32_t skipped = 0, landing = 0;
    for (uint32_t at = 2; at + 2 < SNIPPET_SIZE(changing); at++) {
        skipped = *byte_at(CODE + at) == 0x11 ? at : skipped;
        landing = *byte_at(CODE + at) == 0x22 ? at : landing;
    }
    uint8_t branch = *byte_at(CODE + skipped - 3);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        m = STAGE(ring, changing);
        for (unsigned k = 0; k < 4; k++) {
            *byte_at(CODE + skipped) = (uint8_t)(i % 5 + k);
            *byte_at(CODE + skipped - 3) = (uint8_t)(i % 7 == 3 ? branch - 1 : branch); /* from the NOP on */
            m.eip = CODE;
            m.ebp = CODE;
            m.eax = k & 1;
            m.ecx = i & 0x7f;
            guest_run(&m);
            check_done("changing", &m, SNIPPET_SIZE(changing));
            check("changing.sum", (i & 0x7f) + (k & 1 ? i % 5 + k : 0), m.edx);
            m = machine_kernel(CODE, STACK_TOP);
            if (ring)
                m = machine_user(CODE, STACK_TOP);
        }
        check("changing.landing", i & 0x7f, *byte_at(CODE + landing));
    }
}

/* As far as one byte of the host's goes and further, and beyond what a block has. */
static void write_far(uint32_t at, unsigned count) {
    uint8_t *to = (uint8_t *)at;
    uint32_t over = count * 5;
    *to++ = 0xa8, *to++ = 1;    /* test $1, %al */
    *to++ = 0x0f, *to++ = 0x85; /* jnz */
    memcpy(to, &over, 4);
    to += 4;
    for (unsigned i = 0; i < count; i++) {
        *to++ = 0x3e, *to++ = 0x8d, *to++ = 0x52, *to++ = 1; /* lea %ds:1(%edx), %edx */
        *to++ = 0x90;
    }
    memcpy(to, "\x83\xc2\x40\x89\xd0\xc3", 6); /* add $64, %edx; mov %edx, %eax; ret */
}

static uint32_t call(uint32_t address, uint32_t value) {
    uint32_t edx = 0;
    __asm__ volatile("call *%2" : "+a"(value), "+d"(edx) : "r"(address) : "ecx", "memory");
    return value;
}

static void far_away(void) {
    for (unsigned count = 1; count < 80; count++) {
        write_far(TARGET + 64, count);
        for (unsigned i = 0; i < 4; i++)
            check("far", 64 + (i & 1 ? 0 : count), call(TARGET + 64, i));
    }
}

void guest_main(void) {
    stage_start();
    space_map_new(&stage, TARGET, USER_PAGE);
    far_away();
    for (unsigned ring = 0; ring < 4; ring += 3) {
        check_variant(ring_name(ring));
        both_ways(ring);
        many_values(ring);
        in_the_middle(ring);
        stacks(ring);
        over_faults(ring);
        changed(ring);
        check_variant(NULL);
    }
    check_finish("forward_branches");
}
