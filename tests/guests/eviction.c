/* Code that leaves the translation cache while others lead to it, and comes back: more of it than a small cache
 * holds is run in between. With a cache that holds everything, it is a test of calls and jumps. */
#include "tests/guests/stage.h"

/* Filler functions of 256 bytes: 1 MiB of them. */
enum { FILLERS = 4096, FILLER_BYTES = 256, ADDS = 48, ROUNDS = 60 };
enum { LINKS = 12 };

static uint32_t fillers[FILLERS / 16], next_filler, fill_sum, random_state = 1;

static uint32_t call(uint32_t address) {
    uint32_t result;
    __asm__ volatile("call *%1" : "=a"(result) : "r"(address) : "ecx", "edx", "memory");
    return result;
}

static uint32_t random_below(uint32_t limit) {
    random_state = random_state * 1664525 + 1013904223;
    return (random_state >> 8) % limit;
}

/* mov $number, %eax; add $i, %eax ...; ret */
static void write_filler(uint32_t number) {
    uint8_t *at = (uint8_t *)(fillers[number / 16] + number % 16 * FILLER_BYTES);
    *at++ = 0xb8;
    memcpy(at, &number, 4);
    at += 4;
    for (uint32_t i = 0; i < ADDS; i++, at += 5) {
        at[0] = 0x05;
        memcpy(at + 1, &i, 4);
    }
    *at = 0xc3;
}

static void make_fillers(void) {
    for (uint32_t i = 0; i < FILLERS / 16; i++)
        fillers[i] = page_take();
    for (uint32_t i = 0; i < FILLERS; i++)
        write_filler(i);
}

/* Runs as many of them; each is new to a cache that does not hold them all. */
static void fill(uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        uint32_t number = next_filler++ % FILLERS;
        uint32_t result = call(fillers[number / 16] + number % 16 * FILLER_BYTES);
        fill_sum += result != number + ADDS * (ADDS - 1) / 2;
    }
}

/* From nothing to several times what a cache of 64 KiB holds. */
static void fill_some(void) { fill(random_below(4) ? random_below(160) : random_below(1000)); }

/* Blocks on pages of their own that jump to each other: each adds its number to EAX, the last returns. */
static uint32_t links[LINKS];

static void write_link(uint32_t i, uint8_t add) {
    uint8_t *at = (uint8_t *)links[i];
    at[0] = 0x83, at[1] = 0xc0, at[2] = add; /* add $add, %eax */
    uint32_t to = i + 1 < LINKS ? links[i + 1] - (links[i] + 8) : 0;
    at[3] = i + 1 < LINKS ? 0xe9 : 0xc3;
    memcpy(at + 4, &to, 4);
}

static uint32_t run_links(uint32_t from) {
    uint32_t result = 0;
    __asm__ volatile("call *%1" : "+a"(result) : "r"(links[from]) : "ecx", "edx", "memory");
    return result;
}

/* The chain is entered anywhere, so that its blocks are made at different times; and some change. */
static void chains(void) {
    uint8_t adds[LINKS];
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < LINKS; i++)
        links[i] = page_take();
    for (uint32_t i = 0; i < LINKS; i++)
        write_link(i, adds[i] = (uint8_t)(i + 1));
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint32_t from = random_below(LINKS), sum = 0;
        for (uint32_t i = from; i < LINKS; i++)
            sum += adds[i];
        wrong += run_links(from) != sum;
        fill_some();
        if (round % 3 == 0) {
            uint32_t changed = random_below(LINKS);
            write_link(changed, adds[changed] = (uint8_t)random_below(100));
        }
    }
    check("chains", 0, wrong);
}

/* Each depth returns to code that has been evicted meanwhile. */
__attribute__((noinline)) static uint32_t deep(uint32_t depth) {
    fill(20);
    uint32_t result = depth ? deep(depth - 1) : 0;
    fill(depth % 8 ? 0 : 200);
    return result + 1;
}

/* A loop, and what it calls: gone and there again while it runs, and between its runs. */
SNIPPET(self_loop, "1: inc %eax; dec %ecx; jnz 1b" DONE);
SNIPPET(calling_loop, "1: push %ecx; push %edx; call *%edx; pop %edx; pop %ecx; inc %esi; dec %ecx; jnz 1b" DONE);
static void fill_from_loop(void) { fill(100); }

static void loops(void) {
    struct machine m = STAGE(0, self_loop);
    struct machine start = m;
    for (uint32_t i = 0; i < 8; i++) {
        m = start;
        m.eax = 0, m.ecx = 1000;
        guest_run(&m);
        check("self-loop", 1000, m.eax);
        fill(i * 100);
    }
    m = STAGE(0, calling_loop);
    m.ecx = 50, m.esi = 0, m.edx = (uint32_t)fill_from_loop;
    guest_run(&m);
    check("calling-loop", 50, m.esi);
}

/* User code is in the middle of calls when the kernel evicts what it will return to. */
SNIPPET(user_nest, "mov $5, %ecx; call 1f; inc %edi" DONE
                   "1: push %ecx; dec %ecx; jz 2f; call 1b; 3: pop %ecx; inc %esi; ret\n"
                   "2: int $0x80; jmp 3b");
static void user_returns(void) {
    struct machine start = STAGE(3, user_nest);
    for (uint32_t i = 0; i < 10; i++) {
        struct machine m = start;
        m.esi = m.edi = 0;
        guest_run(&m);
        check("user-call.stops", 0x80, m.vector);
        fill(i * 60);
        guest_run(&m);
        check("user-call.ends", VECTOR_DONE, m.vector);
        check("user-call.returns", 5 << 8 | 1, m.esi << 8 | m.edi);
    }
}

/* The page of an evicted function is written to, and of one that shares it with one that is not. */
static void changes(void) {
    uint32_t page = page_take(), wrong = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint8_t *one = (uint8_t *)page, *other = one + 64 * (1 + random_below(60));
        one[0] = other[0] = 0xb8; /* mov $value, %eax; ret */
        one[5] = other[5] = 0xc3;
        uint32_t value = round * 0x10001, second = ~value;
        memcpy(one + 1, &value, 4);
        memcpy(other + 1, &second, 4);
        wrong += call(page) != value;
        fill_some();
        wrong += call(address_of(other)) != second;
        wrong += call(page) != value;
        fill_some();
    }
    check("changed-after-eviction", 0, wrong);
}

/* What is called directly at first, and by its address later, has its landing pad elsewhere; returns that go elsewhere
 * find a landing changed. */
SNIPPET(pads, "test %esi, %esi; jnz 1f; call 2f; jmp 3f; 1: call *%edx; 3: call 4f; inc %edi; inc %edi" DONE
              "2: mov $7, %eax; ret; 4: test %ecx, %ecx; jz 6f; addl $1, (%esp); 6: ret");
static void late_code(void) {
    struct machine start = STAGE(0, pads);
    uint32_t target = CODE, wrong = 0;
    while (*byte_at(target) != 0xb8)
        target++;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        struct machine m = start;
        m.esi = random_below(2), m.ecx = random_below(2), m.edx = target, m.edi = m.eax = 0;
        guest_run(&m);
        wrong += m.eax != 7 || m.edi != 2 - m.ecx || m.vector != VECTOR_DONE;
        fill_some();
    }
    check("late-code", 0, wrong);
}

/* The x87 knows where its last instruction was, whatever became of its translation. */
SNIPPET(x87_constant, "nop; fldpi" DONE);
static void x87_pointer(void) {
    uint32_t environment[7];
    for (uint32_t i = 0; i < 5; i++) {
        __asm__ volatile("fninit");
        STAGE_RUN(0, x87_constant);
        fill(i * 200);
        __asm__ volatile("fnstenv %0" : "=m"(environment));
        check("x87-pointer", CODE + 1, environment[3]);
        __asm__ volatile("fninit");
    }
}

void guest_main(void) {
    stage_start();
    make_fillers();
    chains();
    check("deep-calls", 101, deep(100));
    loops();
    user_returns();
    changes();
    late_code();
    x87_pointer();
    check("fillers", 0, fill_sum);
    check_finish("eviction");
}
