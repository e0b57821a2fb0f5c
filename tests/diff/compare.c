/* Two outcomes side by side, and how a difference is printed. */
#include <capstone/capstone.h>
#include <stdio.h>
#include <string.h>

#include "tests/diff/sequence.h"

static const char *const gpr_names[8] = {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"};
static const char *const seg_names[6] = {"es", "cs", "ss", "ds", "fs", "gs"};

/* An XSAVE image leaves out what is in its initial state; comparing wants it spelt out. FIP and FDP
 * name host addresses in ring3 (what the guest stores of them is compared as memory); registers 8
 * to 15 are not the guest's. */
static void normalise(uint8_t *image) {
    if (!(image[512] & 1)) {
        memset(image, 0, 24);
        memcpy(image, (const uint8_t[]){0x7f, 0x03}, 2);
        memset(image + 32, 0, 128);
    }
    if (!(image[512] & 2))
        memset(image + 160, 0, 128);
    if (!(image[512] & 4))
        memset(image + 576, 0, 128);
    memset(image + 6, 0, 18);
    memset(image + 28, 0, 4); /* MXCSR_MASK */
    memset(image + 288, 0, 288);
    memset(image + 704, 0, 128);
    for (unsigned i = 0; i < 8; i++) /* reserved halves of the x87 registers' slots */
        memset(image + 32 + 16 * i + 10, 0, 6);
}

static const char *compare_ending(const struct outcome *a, const struct outcome *b) {
    if (a->ending != b->ending)
        return "ending";
    if (a->ending != ENDED_TRAP)
        return NULL;
    if (a->trap != b->trap)
        return "vector";
    if (a->error != b->error)
        return "error code";
    return a->cr2 != b->cr2 ? "fault address" : NULL;
}

/* Of a null selector the processor forgets the RPL when an interrupt returns. */
static uint16_t selector(uint16_t value) { return value < 4 ? 0 : value; }

const char *compare(const struct sequence *s, struct outcome *native, struct outcome *guest) {
    normalise(native->out.vector);
    normalise(guest->out.vector);
    const char *what = compare_ending(native, guest);
    if (what || native->ending != ENDED_TRAP)
        return what;
    if (native->out.eip != guest->out.eip)
        return "eip";
    for (unsigned i = 0; i < 8; i++)
        if (native->out.gpr[i] != guest->out.gpr[i])
            return gpr_names[i];
    if ((native->out.eflags ^ guest->out.eflags) & ~undefined_flags(s))
        return "eflags";
    for (unsigned i = 0; i < 6; i++)
        if (selector(native->out.seg[i]) != selector(guest->out.seg[i]))
            return seg_names[i];
    if (memcmp(native->memory, guest->memory, WRITABLE_BYTES) && !memory_is_open(s, native, guest))
        return "memory";
    if (vector_state_is_open(s, native))
        return NULL;
    return memcmp(native->out.vector, guest->out.vector, VECTOR_BYTES) ? "vector state" : NULL;
}

static void print_code(const struct sequence *s, const struct job *job) {
    csh capstone;
    if (cs_open(CS_ARCH_X86, CS_MODE_32, &capstone) != CS_ERR_OK)
        return;
    uint32_t offset = 0;
    for (unsigned i = 0; i < s->count; i++) {
        if (s->elements[i].removed)
            continue;
        cs_insn *insn;
        const uint8_t *bytes = job->code + offset;
        uint32_t len = s->elements[i].len, eip = job->in.eip + offset;
        size_t got = cs_disasm(capstone, bytes, len, eip, 1, &insn);
        printf("  %08x ", eip);
        for (unsigned j = 0; j < 15; j++)
            j < len ? printf(" %02x", bytes[j]) : printf("   ");
        got ? printf("  %s %s\n", insn->mnemonic, insn->op_str) : printf("  (bad)\n");
        if (got)
            cs_free(insn, got);
        offset += len;
    }
    cs_close(&capstone);
}

static void print_state(const char *name, const struct state *s) {
    printf("  %-8s eip %08x eflags %08x\n          ", name, s->eip, s->eflags);
    for (unsigned i = 0; i < 8; i++)
        printf(" %s %08x", gpr_names[i], s->gpr[i]);
    printf("\n          ");
    for (unsigned i = 0; i < 6; i++)
        printf(" %s %04x", seg_names[i], s->seg[i]);
    printf("\n");
}

static void print_ending(const char *name, const struct outcome *o) {
    if (o->ending == ENDED_TRAP)
        printf("  %-8s vector %d error %x cr2 %08x\n", name, o->trap, o->error, o->cr2);
    else
        printf("  %-8s %s\n", name, o->ending == ENDED_TIMEOUT ? "endless" : "system call");
}

static void print_bytes(const char *name, const uint8_t *a, const uint8_t *b, uint32_t size,
                        bool memory) {
    unsigned printed = 0;
    for (uint32_t i = 0; i < size && printed < 8; i++) {
        if (a[i] == b[i])
            continue;
        uint32_t at = memory ? DATA_PAGE(writable_page[i >> 12]) + (i & 0xfff) : i;
        printf("  %s %08x: native %02x ring3 %02x\n", name, at, a[i], b[i]);
        printed++;
    }
}

static void print_vector(const uint8_t *v) {
    uint32_t mxcsr;
    memcpy(&mxcsr, v + 24, 4);
    printf("           fcw %02x%02x fsw %02x%02x tags %02x mxcsr %08x\n", v[1], v[0], v[3], v[2],
           v[4], mxcsr);
}

void print_failure(const struct sequence *s, const struct job *job, const struct outcome *native,
                   const struct outcome *guest, const char *what) {
    printf("sequence %llu of seed %llu: %s differ%s\n", (unsigned long long)s->number,
           (unsigned long long)s->seed, what, strchr(what, ' ') ? "" : "s");
    print_code(s, job);
    print_state("before", &job->in);
    print_vector(job->in.vector);
    for (unsigned i = 0; i < job->patch_count; i++)
        printf("%s[%08x]=%08x%s", i % 4 ? " " : "           ", job->patches[i].at,
               job->patches[i].value, i % 4 == 3 || i + 1 == job->patch_count ? "\n" : "");
    print_ending("native", native);
    print_ending("ring3", guest);
    print_state("native", &native->out);
    print_state("ring3", &guest->out);
    if (native->ending == ENDED_TRAP && guest->ending == ENDED_TRAP) {
        print_bytes("memory", native->memory, guest->memory, WRITABLE_BYTES, true);
        print_bytes("vector image", native->out.vector, guest->out.vector, VECTOR_BYTES, false);
    }
    fflush(stdout);
}
