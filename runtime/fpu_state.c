/* FXSAVE, FXRSTOR, XSAVE, XRSTOR, FNSAVE, FNSTENV (SDM vol. 1, 8.1.10, 10.5, 13.7 and 13.8).
 *
 * The guest's x87 and vector state is live in the host's registers while this file runs: it uses
 * none of them but in these instructions. They go through an aligned buffer on our own stack, for
 * three reasons: the 64-bit forms write registers that a 32-bit guest does not have, guest memory
 * may fault half way, and the x87 instruction pointer would show a host address. XMM8 to XMM15
 * belong to nobody and are set to zero where a restore covers them. */
#include "runtime/fpu_state.h"

#include <assert.h>
#include <string.h>

#include "runtime/callout_support.h"
#include "runtime/cpuid.h"
#include "runtime/guest_access.h"
#include "runtime/segment_access.h"

/* Offsets in the FXSAVE and XSAVE areas. */
enum {
    AREA_FIP = 8,
    AREA_FDP = 16,
    AREA_MXCSR = 24,
    AREA_MXCSR_MASK = 28,
    AREA_ST0 = 32,
    AREA_XMM0 = 160,
    AREA_XMM8 = 288, /* a 32-bit FXSAVE ends here */
    AREA_LEGACY_END = 512,
    AREA_HEADER = 512,
    AREA_YMM0 = 576,
    AREA_YMM8 = 704,
    AREA_END = 832,
};

#define MXCSR_VALID 0x0000ffffu
#define HEADER_CHECKED 24u /* bytes of the header that XRSTOR looks at */

struct area {
    _Alignas(64) uint8_t bytes[AREA_END];
};

static uint64_t get64(const struct area *area, unsigned at) {
    uint64_t value;
    memcpy(&value, area->bytes + at, sizeof value);
    return value;
}
static void put64(struct area *area, unsigned at, uint64_t value) {
    memcpy(area->bytes + at, &value, sizeof value);
}
static uint32_t get32(const struct area *area, unsigned at) { return (uint32_t)get64(area, at); }
static void put32(struct area *area, unsigned at, uint32_t value) {
    memcpy(area->bytes + at, &value, sizeof value);
}

static void host_fxsave(struct area *area) { __asm__ volatile("fxsave64 %0" : "=m"(*area)); }
static void host_xsave(struct area *area, uint32_t mask) {
    assert(((uintptr_t)area & 63u) == 0);
    __asm__ volatile("xsave64 %0" : "+m"(*area) : "a"(mask), "d"(0));
}
static void host_xrstor(const struct area *area, uint32_t mask) {
    assert(((uintptr_t)area & 63u) == 0);
    __asm__ volatile("xrstor64 %0" : : "m"(*area), "a"(mask), "d"(0));
}

/* An address below 4 GiB is one that the guest itself restored: no translated code lies there. */
static uint32_t guest_fip(struct vcpu *v, uint64_t fip) {
    return fip >> 32 ? engine_guest_fip(v, fip) : (uint32_t)fip;
}

void fpu_forget_code(struct vcpu *v, uintptr_t code, uint32_t len) {
    struct area area;
    host_fxsave(&area);
    uint64_t fip = get64(&area, AREA_FIP);
    if (fip - code >= len)
        return;
    put64(&area, AREA_FIP, engine_guest_fip(v, fip));
    __asm__ volatile("fxrstor64 %0" : : "m"(area));
}

/* Turns what the host saved into the 32-bit format: pointers narrowed, their selectors zero. */
static void pointers_to_guest(struct vcpu *v, struct area *area) {
    put64(area, AREA_FIP, guest_fip(v, get64(area, AREA_FIP)));
    put64(area, AREA_FDP, get32(area, AREA_FDP));
    put32(area, AREA_MXCSR_MASK, MXCSR_VALID);
}
static void pointers_from_guest(struct area *area) {
    put64(area, AREA_FIP, get32(area, AREA_FIP));
    put64(area, AREA_FDP, get32(area, AREA_FDP));
}

/* Processors look at an area's last byte before the rest: that is the address of a fault. */
static bool probe_area(struct vcpu *v, gva_t gva, uint32_t len, bool write) {
    uint8_t last;
    return write ? guest_probe_write(v, gva + len - 1, 1, false) &&
                       guest_probe_write(v, gva, len, false)
                 : guest_read(v, gva + len - 1, &last, 1, false);
}

enum callout_result callout_fxsave(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg;
    struct area area;
    if (operand & 15u)
        return fault_raise_gp(v, 0);
    if (!probe_area(v, operand, AREA_LEGACY_END, true))
        return CALLOUT_FAULT;
    host_fxsave(&area);
    pointers_to_guest(v, &area);
    return guest_write(v, operand, area.bytes, AREA_XMM8, false) ? CALLOUT_NEXT : CALLOUT_FAULT;
}

enum callout_result callout_fxrstor(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg;
    struct area area;
    if (operand & 15u)
        return fault_raise_gp(v, 0);
    memset(area.bytes + AREA_XMM8, 0, AREA_LEGACY_END - AREA_XMM8);
    if (!probe_area(v, operand, AREA_LEGACY_END, false) ||
        !guest_read(v, operand, area.bytes, AREA_XMM8, false))
        return CALLOUT_FAULT;
    if (get32(&area, AREA_MXCSR) & ~MXCSR_VALID)
        return fault_raise_gp(v, 0);
    pointers_from_guest(&area);
    __asm__ volatile("fxrstor64 %0" : : "m"(area));
    return CALLOUT_NEXT;
}

/* The state components that an XSAVE or XRSTOR is about; faults that both share. False: v->fault.
 */
static bool xsave_mask(struct vcpu *v, gva_t gva, uint32_t *mask) {
    const struct cpu *cpu = &v->cpu;
    if (!(cpu->paging.cr4 & CR4_OSXSAVE)) {
        fault_raise(v, VEC_UD);
        return false;
    }
    if (cpu->paging.cr0 & CR0_TS) {
        fault_raise(v, VEC_NM);
        return false;
    }
    if (gva & 63u) {
        fault_raise_gp(v, 0);
        return false;
    }
    *mask = cpu->gpr[EAX] & (uint32_t)cpu->xcr0; /* no component above bit 31 exists */
    return true;
}

static bool copy_out(struct vcpu *v, gva_t gva, const struct area *area, uint32_t from,
                     uint32_t to) {
    return guest_write(v, gva + from, area->bytes + from, to - from, false);
}

/* Writes the components of `mask` that `present` has, and the header's first word. The whole area
 * was probed. */
static void write_components(struct vcpu *v, gva_t gva, const struct area *area, uint32_t mask,
                             uint32_t present) {
    uint32_t both = mask & present;
    bool done = true;
    if ((both & (XCR0_X87 | XCR0_SSE)) == (XCR0_X87 | XCR0_SSE)) {
        done = copy_out(v, gva, area, 0, AREA_XMM8);
    } else {
        if (both & XCR0_X87)
            done = copy_out(v, gva, area, 0, AREA_MXCSR) &&
                   copy_out(v, gva, area, AREA_ST0, AREA_XMM0);
        if (mask & (XCR0_SSE | XCR0_AVX))
            done = done && copy_out(v, gva, area, AREA_MXCSR, AREA_ST0);
        if (both & XCR0_SSE)
            done = done && copy_out(v, gva, area, AREA_XMM0, AREA_XMM8);
    }
    if (both & XCR0_AVX)
        done = done && copy_out(v, gva, area, AREA_YMM0, AREA_YMM8);
    done = done && copy_out(v, gva, area, AREA_HEADER, AREA_HEADER + 8);
    assert(done);
    (void)done;
}

/* The AVX part against its segment's limit; translated code has checked what every form reaches. */
static bool holds_avx(struct vcpu *v, uint32_t segment, gva_t gva, bool write) {
    gva_t linear;
    return segment_access(v, segment, gva + AREA_YMM0 - v->cpu.seg[segment].base,
                          AREA_END - AREA_YMM0, write, &linear);
}

/* XSAVEOPT leaves out components in their initial state; not writing them is all it may do. */
enum callout_result callout_xsave(struct vcpu *v, uint32_t arg, uint32_t operand) {
    struct area area;
    uint32_t mask;
    uint64_t header;
    if (!xsave_mask(v, operand, &mask))
        return CALLOUT_FAULT;
    uint32_t len = mask & XCR0_AVX ? AREA_END : AREA_YMM0;
    uint32_t first = mask & XCR0_X87 ? 0 : mask ? AREA_MXCSR : AREA_HEADER;
    if (mask & XCR0_AVX && !holds_avx(v, arg >> 16, operand, true))
        return CALLOUT_FAULT;
    if (!probe_area(v, operand + first, len - first, true) ||
        !guest_read(v, operand + AREA_HEADER, &header, sizeof header, false))
        return CALLOUT_FAULT;
    memset(area.bytes + AREA_HEADER, 0, AREA_YMM0 - AREA_HEADER);
    host_xsave(&area, mask | XCR0_X87 | XCR0_SSE);
    pointers_to_guest(v, &area);
    uint32_t in_use = get32(&area, AREA_HEADER) & mask;
    put64(&area, AREA_HEADER, (header & ~(uint64_t)mask) | in_use);
    bool optimized = arg & 1;
    write_components(v, operand, &area, mask, optimized ? in_use : mask);
    return CALLOUT_NEXT;
}

/* The standard form's header: no unknown component, nothing reserved. */
static bool header_is_valid(const struct area *area, uint64_t xcr0) {
    return !(get64(area, AREA_HEADER) & ~xcr0) && get64(area, AREA_HEADER + 8) == 0 &&
           get64(area, AREA_HEADER + 16) == 0;
}

/* Reads what XRSTOR needs, in the processor's order. */
static bool read_area(struct vcpu *v, gva_t gva, uint32_t mask, struct area *area) {
    uint8_t last;
    if (!guest_read(v, gva + AREA_HEADER + 8, area->bytes + AREA_HEADER + 8, 8, false) ||
        !guest_read(v, gva + AREA_HEADER, area->bytes + AREA_HEADER, HEADER_CHECKED, false))
        return false;
    uint32_t first = mask & XCR0_X87 ? 0 : AREA_MXCSR;
    if (mask && (!guest_read(v, gva + first, area->bytes + first, AREA_XMM8 - first, false) ||
                 !guest_read(v, gva, area->bytes, AREA_XMM8, false)))
        return false;
    if (!header_is_valid(area, v->cpu.xcr0)) {
        fault_raise_gp(v, 0);
        return false;
    }
    if (mask & XCR0_AVX && !guest_read(v, gva + AREA_END - 1, &last, 1, false))
        return false;
    return !(mask & get32(area, AREA_HEADER) & XCR0_AVX) ||
           guest_read(v, gva + AREA_YMM0, area->bytes + AREA_YMM0, AREA_YMM8 - AREA_YMM0, false);
}

enum callout_result callout_xrstor(struct vcpu *v, uint32_t arg, uint32_t operand) {
    struct area area;
    uint32_t mask;
    if (!xsave_mask(v, operand, &mask))
        return CALLOUT_FAULT;
    if (mask & XCR0_AVX && !holds_avx(v, arg >> 16, operand, false))
        return CALLOUT_FAULT;
    memset(area.bytes + AREA_XMM8, 0, AREA_END - AREA_XMM8);
    if (!read_area(v, operand, mask, &area))
        return CALLOUT_FAULT;
    bool loads_mxcsr = mask & (XCR0_SSE | XCR0_AVX);
    if (loads_mxcsr && (get32(&area, AREA_MXCSR) & ~MXCSR_VALID))
        return fault_raise_gp(v, 0);
    pointers_from_guest(&area);
    host_xrstor(&area, mask);
    return CALLOUT_NEXT;
}

/* The x87 environment in its 32-bit format; 16-bit: the low halves of the first seven items. */
struct environment {
    uint32_t control, status, tag, fip, fcs_opcode, fdp, fds;
};
#define ENVIRONMENT_ITEMS 7
#define REGISTERS_BYTES 80 /* eight registers of ten bytes follow in FNSAVE */

struct fnsave_image {
    struct environment environment;
    uint8_t registers[REGISTERS_BYTES];
};

/* Real and virtual-8086 mode: pointers are linear addresses, their high parts stand above the opcode
 * and where the selector of the operand would be (SDM vol. 1, figures 8-10 and 8-12). */
static void pointers_to_real(struct environment *e) {
    uint32_t opcode = e->fcs_opcode >> 16 & 0x7ffu;
    e->fcs_opcode = e->fip >> 16 << 12 | opcode;
    e->fds = e->fdp >> 16 << 12;
    e->fip &= 0xffffu;
    e->fdp &= 0xffffu;
}

/* Writes the image in the guest's format. Nothing is left to fault: it was probed. */
static enum callout_result write_image(struct vcpu *v, gva_t gva, bool narrow,
                                       struct fnsave_image *image, uint64_t host_fip,
                                       uint32_t register_bytes) {
    struct environment *e = &image->environment;
    e->fip = guest_fip(v, host_fip);
    e->fcs_opcode &= 0xffff0000u; /* the selectors are not kept (CPUID leaf 7, EBX bit 13) */
    e->fds &= 0xffff0000u;
    if (v->cpu.mode & (MODE_REAL | MODE_VM86))
        pointers_to_real(e);
    if (!narrow)
        return guest_write(v, gva, image, sizeof *e + register_bytes, false) ? CALLOUT_NEXT
                                                                             : CALLOUT_FAULT;
    uint8_t bytes[ENVIRONMENT_ITEMS * 2 + REGISTERS_BYTES];
    const uint32_t items[ENVIRONMENT_ITEMS] = {e->control,    e->status, e->tag, e->fip,
                                               e->fcs_opcode, e->fdp,    e->fds};
    for (unsigned i = 0; i < ENVIRONMENT_ITEMS; i++)
        memcpy(bytes + 2 * i, &items[i], 2);
    memcpy(bytes + ENVIRONMENT_ITEMS * 2, image->registers, register_bytes);
    return guest_write(v, gva, bytes, ENVIRONMENT_ITEMS * 2 + register_bytes, false)
               ? CALLOUT_NEXT
               : CALLOUT_FAULT;
}

static bool probe_image(struct vcpu *v, uint32_t arg, gva_t gva, uint32_t register_bytes) {
    uint32_t len = ENVIRONMENT_ITEMS * callout_unit(arg) + register_bytes;
    return guest_probe_write(v, gva, callout_unit(arg), false) && probe_area(v, gva, len, true);
}

enum callout_result callout_fnstenv(struct vcpu *v, uint32_t arg, uint32_t operand) {
    struct area area;
    struct fnsave_image image;
    if (!probe_image(v, arg, operand, 0))
        return CALLOUT_FAULT;
    host_fxsave(&area); /* only it has the whole instruction pointer */
    __asm__ volatile("fnstenv %0" : "=m"(image.environment));
    return write_image(v, operand, callout_is_16bit(arg), &image, get64(&area, AREA_FIP), 0);
}

enum callout_result callout_fnsave(struct vcpu *v, uint32_t arg, uint32_t operand) {
    struct area area;
    struct fnsave_image image;
    if (!probe_image(v, arg, operand, REGISTERS_BYTES))
        return CALLOUT_FAULT;
    host_fxsave(&area);
    __asm__ volatile("fnsave %0" : "=m"(image));
    return write_image(v, operand, callout_is_16bit(arg), &image, get64(&area, AREA_FIP),
                       REGISTERS_BYTES);
}
