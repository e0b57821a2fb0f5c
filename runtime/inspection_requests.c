/* What a stopped vCPU does for those who inspect it (inspection.h). Each request is copied once and
 * then checked. */
#include "runtime/inspection_requests.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "runtime/engine_private.h"
#include "runtime/fpu_state.h"
#include "runtime/mmu.h"
#include "runtime/msr.h"
#include "runtime/system.h"
#include "runtime/vector_state.h"

#define MSR_EFER 0xc0000080u
#define XSAVE_HEADER 512u
#define XSAVE_AREA_BYTES 832u /* with AVX's upper halves */
#define FXSAVE_FIP 8u
#define FXSAVE_MXCSR 24u
#define FXSAVE_MXCSR_MASK 28u
#define MXCSR_MASK_DEFAULT 0xffbfu

static int find_place(struct vcpu *v, uint64_t address, bool physical, uint64_t *place) {
    gpa_t gpa = address;
    if (!physical) {
        struct paging paging = v->cpu.paging;
        paging.ac = true; /* SMAP does not bind a debugger */
        struct walk walk = walk_page(v->ram, &paging, (gva_t)address, ACCESS_READ, false, false);
        if (!walk.ok)
            return -EFAULT;
        gpa = walk.gpa;
    }
    *place = ram_locate(v->ram, gpa);
    if (*place == RAM_NOWHERE)
        return -EFAULT;
    if (!ram_is_writable(v->ram, *place))
        return -EROFS;
    return ram_allocate(v->ram, *place, 1) ? -EFAULT : 0;
}

static uint32_t part_of_page(uint64_t address, uint32_t len) {
    uint32_t left = PAGE_SIZE - (uint32_t)(address & PAGE_MASK);
    return left < len ? left : len;
}

static int write_memory(struct vcpu *v, const struct inspection_request *r, const uint8_t *data) {
    uint64_t place, end = r->address + r->len;
    if (r->len > INSPECTION_DATA_MAX || end < r->address || (!r->physical && end > 1ull << 32))
        return -EFAULT;
    for (uint32_t done = 0; done < r->len; done += part_of_page(r->address + done, r->len - done)) {
        int rc = find_place(v, r->address + done, r->physical, &place);
        if (rc)
            return rc;
    }
    for (uint32_t done = 0, part; done < r->len; done += part) {
        part = part_of_page(r->address + done, r->len - done);
        find_place(v, r->address + done, r->physical, &place);
        fragments_invalidate_range(v, place, part, &v->counters->invalidate_device);
        memcpy(v->ram->base + place, data + done, part);
    }
    return 0;
}

/* A callout's checks and consequences, whatever the privilege level is. */
static int as_supervisor(struct vcpu *v,
                         enum callout_result (*callout)(struct vcpu *, uint32_t, uint32_t),
                         uint32_t arg, uint32_t operand) {
    struct cpu *cpu = &v->cpu;
    struct guest_fault fault = v->fault;
    unsigned cpl = cpu_cpl(cpu);
    cpu->mode &= ~MODE_CPL;
    cpu->next_eip = cpu->eip;
    enum callout_result result = callout(v, arg, operand);
    cpu_update_mode(cpu, cpu->paging.cr0 & CR0_PE ? cpl : 0);
    v->fault = fault;
    return result == CALLOUT_NEXT || result == CALLOUT_JUMP ? 0 : -EINVAL;
}

/* As MOV loads it, without the shadow that a load of SS casts. */
static int write_segment(struct vcpu *v, unsigned index, uint32_t selector) {
    struct cpu *cpu = &v->cpu;
    struct guest_fault fault = v->fault;
    uint8_t shadow = cpu->interrupt_shadow;
    bool debug_shadow = cpu->debug_shadow;
    if (index == SEG_CS)
        return -ENOTSUP;
    cpu->next_eip = cpu->eip;
    enum callout_result result = callout_mov_to_seg(v, index, selector);
    cpu->interrupt_shadow = shadow;
    cpu->debug_shadow = debug_shadow;
    v->fault = fault;
    return result == CALLOUT_FAULT ? -EINVAL : 0;
}

static int write_base(struct cpu *cpu, enum segment_index index, uint32_t base) {
    cpu->seg[index].base = base;
    cpu_segment_changed(cpu, &cpu->seg[index]);
    return 0;
}

/* Going on elsewhere leaves HLT and shadows behind. */
static int write_eip(struct cpu *cpu, uint32_t eip) {
    if (cpu->eip == eip)
        return 0;
    cpu->eip = eip;
    cpu->halted = cpu->debug_shadow = false;
    cpu->interrupt_shadow = 0;
    return 0;
}

static int write_debug(struct vcpu *v, unsigned index, uint32_t value) {
    uint32_t dr7 = v->cpu.dr[7];
    if (index == 4 || index == 5)
        return -ENOTSUP;
    v->cpu.dr[7] &= ~(1u << 13); /* general detect is for the guest */
    int rc = as_supervisor(v, callout_mov_to_dr, index, value);
    if (index != 7)
        v->cpu.dr[7] = dr7;
    return rc;
}

static int write_register(struct vcpu *v, const struct inspection_request *r) {
    struct cpu *cpu = &v->cpu;
    uint32_t value = (uint32_t)r->value, index = r->index;
    if (index < INSPECT_EIP) {
        cpu->gpr[index] = value;
        return 0;
    }
    if (index >= INSPECT_SEGMENT && index < INSPECT_SEGMENT + SEG_COUNT)
        return write_segment(v, index - INSPECT_SEGMENT, value & 0xffffu);
    if (index >= INSPECT_DR && index < INSPECT_REGISTERS)
        return write_debug(v, index - INSPECT_DR, value);
    switch (index) {
    case INSPECT_EIP:
        return write_eip(cpu, value);
    case INSPECT_EFLAGS:
        cpu_set_eflags(cpu, value, FL_ALL & ~FL_VM);
        return 0;
    case INSPECT_FS_BASE:
        return write_base(cpu, SEG_FS, value);
    case INSPECT_GS_BASE:
        return write_base(cpu, SEG_GS, value);
    case INSPECT_CR0:
    case INSPECT_CR2:
    case INSPECT_CR3:
    case INSPECT_CR4:
        return as_supervisor(v, callout_mov_to_cr,
                             (const uint8_t[]){0, 2, 3, 4}[index - INSPECT_CR0], value);
    case INSPECT_EFER:
        return msr_write(v, MSR_EFER, r->value) ? 0 : -EINVAL;
    default:
        return -ENOTSUP;
    }
}

static uint32_t read32(const uint8_t *from) {
    uint32_t value;
    memcpy(&value, from, sizeof value);
    return value;
}

static int save_vector(struct vcpu *v) {
    struct engine *e = v->engine;
    uint64_t fip;
    vector_save(e->vector_area, e->use_xsave);
    memcpy(v->inspection->data, e->vector_area, XSAVE_AREA_BYTES);
    memcpy(&fip, e->vector_area + FXSAVE_FIP, sizeof fip);
    v->inspection->value = engine_guest_fip(v, fip);
    return 0;
}

/* What XRSTOR and FXRSTOR would fault on is not taken over. */
static int load_vector(struct vcpu *v) {
    struct engine *e = v->engine;
    const uint8_t *data = v->inspection->data;
    vector_save(e->vector_area, e->use_xsave);
    uint32_t mask = read32(e->vector_area + FXSAVE_MXCSR_MASK), mxcsr = read32(data + FXSAVE_MXCSR);
    mxcsr &= mask ? mask : MXCSR_MASK_DEFAULT;
    memcpy(e->vector_area, data, FXSAVE_FIP); /* FIP and FDP stay */
    memcpy(e->vector_area + FXSAVE_MXCSR, &mxcsr, sizeof mxcsr);
    memcpy(e->vector_area + 32, data + 32, 416 - 32); /* ST and XMM registers */
    if (e->use_xsave) {
        const uint64_t all = 7;
        uint64_t usable;
        uint32_t low, high;
        __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        usable = all & low;
        if (usable & 4)
            memcpy(e->vector_area + XSAVE_HEADER + 64, data + XSAVE_HEADER + 64, 256);
        memcpy(e->vector_area + XSAVE_HEADER, &usable, sizeof usable);
    }
    vector_restore(e->vector_area, e->use_xsave);
    return 0;
}

/* MOV r32, [ESP]; RET: calls may have been translated without a visit to it (UNDO_GUESS). */
static bool is_thunk(struct vcpu *v, gva_t address) {
    uint64_t place;
    return !find_place(v, address, false, &place) && place + 4 <= v->ram->size &&
           (read32(v->ram->base + place) & 0xffffc7ffu) == 0xc324048bu;
}

static int set_breakpoint(struct vcpu *v, gva_t address) {
    struct inspection *i = v->inspection;
    if (inspection_breaks_at(i, address, 1))
        return 0;
    if (i->breakpoint_count == INSPECTION_BREAKPOINTS_MAX)
        return -ENOSPC;
    i->breakpoints[i->breakpoint_count++] = address;
    if (is_thunk(v, address))
        v->engine->flush_cache = true;
    else
        fragments_invalidate_linear(v, address);
    return 0;
}

/* What ends before the address goes on without a stop: that costs a link, and is right. */
static int clear_breakpoint(struct inspection *i, gva_t address) {
    for (uint32_t n = 0; n < i->breakpoint_count; n++)
        if (i->breakpoints[n] == address) {
            i->breakpoints[n] = i->breakpoints[--i->breakpoint_count];
            return 0;
        }
    return -ENOENT;
}

static void add_page(struct shadow_watch *pages, unsigned *count, uint32_t page, bool reads) {
    for (unsigned i = 0; i < *count; i++)
        if (pages[i].page == page) {
            pages[i].reads |= reads;
            return;
        }
    assert(*count < SHADOW_WATCHED_MAX);
    pages[(*count)++] = (struct shadow_watch){page, reads};
}

void inspection_watch_pages(struct vcpu *v) {
    const struct inspection *i = v->inspection;
    struct shadow_watch pages[SHADOW_WATCHED_MAX];
    unsigned count = 0;
    assert(i->watchpoint_count <= INSPECTION_WATCHPOINTS_MAX);
    for (uint32_t n = 0; n < i->watchpoint_count; n++) {
        const struct watchpoint *w = &i->watchpoints[n];
        bool reads = w->kind & WATCH_READ;
        add_page(pages, &count, w->address >> PAGE_SHIFT, reads);
        add_page(pages, &count, (w->address + w->len - 1) >> PAGE_SHIFT, reads);
    }
    shadow_watch(&v->engine->shadow, pages, count);
    guest_tlb_flush(v, true);
}

static bool is_watchpoint(const struct inspection_request *r) {
    return r->index >= WATCH_WRITE && r->index <= WATCH_ACCESS && r->len &&
           r->len <= INSPECTION_WATCH_BYTES_MAX && r->address + r->len <= 1ull << 32 &&
           r->address <= UINT32_MAX;
}

static int set_watchpoint(struct vcpu *v, const struct inspection_request *r) {
    struct inspection *i = v->inspection;
    if (!is_watchpoint(r))
        return -EINVAL;
    if (i->watchpoint_count == INSPECTION_WATCHPOINTS_MAX)
        return -ENOSPC;
    i->watchpoints[i->watchpoint_count++] =
        (struct watchpoint){(gva_t)r->address, r->len, r->index};
    inspection_watch_pages(v);
    return 0;
}

static int clear_watchpoint(struct vcpu *v, const struct inspection_request *r) {
    struct inspection *i = v->inspection;
    for (uint32_t n = 0; n < i->watchpoint_count; n++) {
        const struct watchpoint *w = &i->watchpoints[n];
        if (w->address != r->address || w->len != r->len || w->kind != r->index)
            continue;
        i->watchpoints[n] = i->watchpoints[--i->watchpoint_count];
        inspection_watch_pages(v);
        return 0;
    }
    return -ENOENT;
}

int inspection_serve(struct vcpu *v, const struct inspection_request *posted) {
    const struct inspection_request r = *posted;
    switch (r.command) {
    case INSPECT_RESUME:
    case INSPECT_STEP:
        inspection_resume(v, r.command == INSPECT_STEP);
        return 0;
    case INSPECT_WRITE_MEMORY:
        return write_memory(v, &r, v->inspection->data);
    case INSPECT_WRITE_REGISTER:
        return write_register(v, &r);
    case INSPECT_SAVE_VECTOR:
        return save_vector(v);
    case INSPECT_LOAD_VECTOR:
        return load_vector(v);
    case INSPECT_SET_BREAKPOINT:
        return set_breakpoint(v, (gva_t)r.address);
    case INSPECT_CLEAR_BREAKPOINT:
        return clear_breakpoint(v->inspection, (gva_t)r.address);
    case INSPECT_SET_WATCHPOINT:
        return set_watchpoint(v, &r);
    case INSPECT_CLEAR_WATCHPOINT:
        return clear_watchpoint(v, &r);
    default:
        return -EBADR;
    }
}
