/* Hardware task switches, in the order of SDM vol. 3A, 7.3.
 *
 *   1. check the new TSS's descriptor, and both limits       the old task's faults,
 *   2. read the new TSS, probe everything to be written      nothing changed
 *   3. save the old task, mark both tasks, load TR
 *   ---- commit point ----
 *   4. load registers, flags, CR3                            the new task's faults
 *   5. load and check LDTR and the segments (table 7-1)
 *   6. push an error code, check EIP, take the debug trap */
#include "runtime/task_switch.h"

#include <assert.h>
#include <string.h>

#include "runtime/callout_support.h"
#include "runtime/control.h"
#include "runtime/debug_registers.h"
#include "runtime/exception.h"
#include "runtime/guest_access.h"
#include "runtime/stack.h"
#include "runtime/virtual_8086.h"

/* Where the two formats keep their fields (SDM vol. 3A, figures 7-2 and 7-10). General registers
 * and segment selectors stand in the order of enum gpr and enum segment_index. */
struct tss_format {
    uint8_t size;  /* that a switch needs */
    uint8_t item;  /* bytes from one saved register to the next */
    uint8_t saved; /* EIP, EFLAGS, eight registers: what a switch stores begins here */
    uint8_t segments, segment_count;
    uint8_t ldt;
};
static const struct tss_format format32 = {104, 4, 0x20, 0x48, 6, 0x60};
static const struct tss_format format16 = {44, 2, 0x0e, 0x22, 4, 0x2a};

#define TSS_LINK 0x00u
#define TSS32_CR3 0x1cu
#define TSS32_TRAP 0x64u
#define TSS_SIZE_MAX 104u
#define REGISTERS 10u /* EIP, EFLAGS, general registers */

#define DR7_LOCAL 0x155u /* L0-L3 and LE */

static const struct tss_format *format_of(uint32_t attr) {
    return attr & TYPE_32BIT ? &format32 : &format16;
}

/* What a TSS says of a task. */
struct task {
    uint32_t eip, eflags, gpr[8], cr3;
    uint16_t selector[SEG_COUNT], ldt;
    bool trap;
};

static bool raise(struct vcpu *v, enum vector vector, uint32_t selector, uint32_t ext) {
    fault_raise_error(v, vector, selector_error(selector, ext));
    return false;
}

/* A present TSS in the GDT that is busy or not as the kind of switch wants it. */
static bool fetch_tss(struct vcpu *v, const struct task_switch *s, struct descriptor *tss) {
    bool back = s->entry == TASK_RETURN;
    enum vector vector = back ? VEC_TS : VEC_GP;
    if ((s->selector & 4u) || selector_is_null(s->selector))
        return raise(v, vector, s->selector, s->ext);
    if (!descriptor_fetch(v, s->selector, vector, s->ext, tss))
        return false;
    unsigned type = descriptor_type(tss), wanted = SYSTEM_TSS16 | (back ? TYPE_BUSY : 0);
    if (!descriptor_is_system(tss) || (type & ~TYPE_32BIT) != wanted)
        return raise(v, vector, s->selector, s->ext);
    if (!descriptor_present(tss))
        return raise(v, VEC_NP, s->selector, s->ext);
    if (descriptor_limit(tss) < format_of(type)->size - 1u)
        return raise(v, VEC_TS, s->selector, s->ext);
    return true;
}

static uint32_t field(const uint8_t *bytes, uint32_t size) {
    uint32_t value = 0;
    memcpy(&value, bytes, size);
    return value;
}

static bool read_task(struct vcpu *v, const struct descriptor *tss, struct task *task) {
    const struct tss_format *f = format_of(descriptor_type(tss));
    uint8_t bytes[TSS_SIZE_MAX];
    if (!guest_read(v, descriptor_base(tss), bytes, f->size, true))
        return false;
    *task = (struct task){.eip = field(bytes + f->saved, f->item)};
    task->eflags = field(bytes + f->saved + f->item, f->item);
    for (unsigned i = 0; i < 8; i++)
        task->gpr[i] = field(bytes + f->saved + (2 + i) * f->item, f->item);
    for (unsigned i = 0; i < f->segment_count; i++)
        task->selector[i] = (uint16_t)field(bytes + f->segments + i * f->item, 2);
    task->ldt = (uint16_t)field(bytes + f->ldt, 2);
    if (f == &format32) {
        task->cr3 = field(bytes + TSS32_CR3, 4);
        task->trap = bytes[TSS32_TRAP] & 1;
    }
    return true;
}

/* What is written to memory: the old task's registers, the link, and the busy bits. */
struct marks {
    gva_t old_access, new_access; /* of the descriptors */
    gva_t link;
};

static struct marks find_marks(const struct cpu *cpu, const struct descriptor *tss) {
    return (struct marks){
        .old_access = cpu->gdt.base + (cpu->tr.selector & 0xfff8u) + 5,
        .new_access = tss->gva + 5,
        .link = descriptor_base(tss) + TSS_LINK,
    };
}

/* After this no access can fault before the commit point. */
static bool probe_writes(struct vcpu *v, const struct task_switch *s, const struct marks *marks) {
    const struct segment *tr = &v->cpu.tr;
    const struct tss_format *f = format_of(tr->attr);
    uint32_t end = f->segments + (f->segment_count - 1u) * f->item + 2;
    if (!tr->usable || tr->limit < end - 1)
        return raise(v, VEC_TS, tr->selector, s->ext);
    if (!guest_probe_write(v, tr->base + f->saved, end - f->saved, true))
        return false;
    if (s->entry == TASK_CALL && !guest_probe_write(v, marks->link, 2, true))
        return false;
    if (s->entry != TASK_CALL && !guest_probe_write(v, marks->old_access, 1, true))
        return false;
    return s->entry == TASK_RETURN || guest_probe_write(v, marks->new_access, 1, true);
}

/* A write that has been probed. */
static void store(struct vcpu *v, gva_t gva, const void *from, uint32_t len) {
    bool written = guest_write(v, gva, from, len, true);
    assert(written);
    (void)written;
}

static void save_task(struct vcpu *v, const struct task_switch *s) {
    const struct cpu *cpu = &v->cpu;
    const struct tss_format *f = format_of(cpu->tr.attr);
    uint32_t registers[REGISTERS] = {s->return_eip, cpu_eflags(cpu) | s->image_flags};
    if (s->entry == TASK_RETURN)
        registers[1] &= ~FL_NT;
    memcpy(&registers[2], cpu->gpr, sizeof cpu->gpr);
    uint32_t len = stack_pack(registers, REGISTERS, f->item);
    store(v, cpu->tr.base + f->saved, registers, len);
    for (unsigned i = 0; i < f->segment_count; i++)
        store(v, cpu->tr.base + f->segments + i * f->item, &cpu->seg[i].selector, 2);
}

static void set_busy(struct vcpu *v, gva_t at, bool busy) {
    uint8_t access;
    bool readable = guest_read(v, at, &access, 1, true);
    assert(readable);
    (void)readable;
    access = (uint8_t)(busy ? access | TYPE_BUSY : access & ~TYPE_BUSY);
    store(v, at, &access, 1);
}

static void mark_tasks(struct vcpu *v, const struct task_switch *s, const struct marks *marks) {
    if (s->entry == TASK_CALL)
        store(v, marks->link, &v->cpu.tr.selector, 2);
    else
        set_busy(v, marks->old_access, false);
    if (s->entry != TASK_RETURN)
        set_busy(v, marks->new_access, true);
}

/* TR, flags and general registers; selectors without what they name, which comes later. */
static unsigned load_registers(struct vcpu *v, const struct task_switch *s, struct descriptor *tss,
                               const struct task *task) {
    struct cpu *cpu = &v->cpu;
    tss->high |= TYPE_BUSY << 8;
    segment_unpack(&cpu->tr, s->selector, tss);
    memcpy(cpu->gpr, task->gpr, sizeof cpu->gpr);
    cpu->eip = cpu->next_eip = task->eip;
    cpu_set_eflags(cpu, task->eflags | (s->entry == TASK_CALL ? FL_NT : 0), FL_ALL);
    bool vm86 = cpu->sys_flags & FL_VM;
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        cpu->seg[i] = (struct segment){.selector = task->selector[i], .usable = false};
        cpu_segment_changed(cpu, &cpu->seg[i]);
        if (vm86)
            segment_set_v86(cpu, (enum segment_index)i, task->selector[i]);
    }
    cpu->ldt = (struct segment){.selector = task->ldt, .usable = false};
    cpu->paging.cr0 |= CR0_TS;
    cpu->dr[7] &= ~DR7_LOCAL;
    cpu->interrupt_shadow = 0;
    cpu->debug_shadow = cpu->halted = false;
    v->traps_dropped = true;
    v->breakpoint_hits = v->held_hits = 0;
    unsigned cpl = vm86 ? 3 : selector_rpl(task->selector[SEG_CS]);
    cpu_update_mode(cpu, cpl);
    return cpl;
}

static bool load_ldt(struct vcpu *v, uint32_t selector, uint32_t ext) {
    struct descriptor d;
    if (selector_is_null(selector))
        return true;
    if (selector & 4u)
        return raise(v, VEC_TS, selector, ext);
    if (!descriptor_fetch(v, selector, VEC_TS, ext, &d))
        return false;
    if (!descriptor_is_system(&d) || descriptor_type(&d) != SYSTEM_LDT || !descriptor_present(&d))
        return raise(v, VEC_TS, selector, ext);
    segment_unpack(&v->cpu.ldt, selector, &d);
    return true;
}

/* May the new task have this segment? Raises #TS, #NP or #SS. */
static bool check_segment(struct vcpu *v, enum segment_index index, uint32_t selector, unsigned cpl,
                          uint32_t ext, const struct descriptor *d) {
    unsigned dpl = descriptor_dpl(d), rpl = selector_rpl(selector);
    bool conforming = descriptor_is_conforming(d), good;
    if (index == SEG_CS)
        good = descriptor_is_code(d) && (conforming ? dpl <= rpl : dpl == rpl);
    else if (index == SEG_SS)
        good = descriptor_is_writable(d);
    else
        good = descriptor_is_readable(d) && (conforming || (dpl >= cpl && dpl >= rpl));
    if (!good)
        return raise(v, VEC_TS, selector, ext);
    if (!descriptor_present(d))
        return raise(v, index == SEG_SS ? VEC_SS : VEC_NP, selector, ext);
    if (index == SEG_SS && (dpl != cpl || rpl != cpl)) /* in this order: table 7-1 */
        return raise(v, VEC_TS, selector, ext);
    return true;
}

static bool load_segments(struct vcpu *v, const struct task *task, unsigned cpl, uint32_t ext) {
    static const uint8_t order[SEG_COUNT] = {SEG_CS, SEG_SS, SEG_DS, SEG_ES, SEG_FS, SEG_GS};
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        enum segment_index index = (enum segment_index)order[i];
        uint32_t selector = task->selector[index];
        struct descriptor d;
        if (selector_is_null(selector)) {
            if (index == SEG_CS || index == SEG_SS)
                return raise(v, VEC_TS, selector, ext);
            continue;
        }
        if (!descriptor_fetch(v, selector, VEC_TS, ext, &d) ||
            !check_segment(v, index, selector, cpl, ext, &d) || !descriptor_set_accessed(v, &d))
            return false;
        segment_set(&v->cpu, index, selector, &d);
    }
    return true;
}

static bool push_error(struct vcpu *v, const struct task_switch *s) {
    struct cpu *cpu = &v->cpu;
    uint32_t unit = cpu->tr.attr & TYPE_32BIT ? 4 : 2, esp = cpu->gpr[ESP] - unit;
    if (!stack_write(v, &cpu->seg[SEG_SS], esp, &s->error, unit, unit, s->ext, false))
        return false;
    stack_set_pointer(cpu, esp);
    return true;
}

/* Behind the commit point: everything that may fault does so in the new task. */
static enum callout_result complete(struct vcpu *v, const struct task_switch *s,
                                    const struct task *task, unsigned cpl) {
    struct cpu *cpu = &v->cpu;
    bool wide = cpu->tr.attr & TYPE_32BIT;
    if (wide && (cpu->paging.cr0 & CR0_PG) && task->cr3 != cpu->paging.cr3) {
        enum callout_result loaded = control_load_cr3(v, task->cr3);
        if (loaded != CALLOUT_NEXT)
            return loaded;
    }
    if (!load_ldt(v, task->ldt, s->ext))
        return CALLOUT_FAULT;
    if (!(cpu->mode & MODE_VM86) && !load_segments(v, task, cpl, s->ext))
        return CALLOUT_FAULT;
    cpu_update_mode(cpu, cpl);
    if (s->has_error && !push_error(v, s))
        return CALLOUT_FAULT;
    if (task->eip > cpu->seg[SEG_CS].limit)
        return fault_raise_gp(v, s->ext);
    if (task->trap)
        return exception_deliver_debug(v, DR6_BT, false, false);
    debug_settle_resume_flag(v);
    cpu_check_interrupts(cpu);
    return v86_interrupt_waits(cpu) ? fault_raise_gp(v, 0) : CALLOUT_JUMP;
}

static bool overlaps(const struct segment *tr, const struct descriptor *tss) {
    uint32_t distance = descriptor_base(tss) - tr->base;
    return distance + TSS_SIZE_MAX < 2 * TSS_SIZE_MAX;
}

enum callout_result task_switch(struct vcpu *v, const struct task_switch *s) {
    struct descriptor tss;
    struct task task;
    if (!fetch_tss(v, s, &tss))
        return CALLOUT_FAULT;
    struct marks marks = find_marks(&v->cpu, &tss);
    if (!read_task(v, &tss, &task) || !probe_writes(v, s, &marks))
        return CALLOUT_FAULT;
    TRACE(v->trace, task, v->cpu.tr.selector, s->selector, task.eip);
    save_task(v, s);
    if (overlaps(&v->cpu.tr, &tss)) { /* a task may switch to itself: the saved state is loaded */
        bool readable = read_task(v, &tss, &task);
        assert(readable);
        (void)readable;
    }
    mark_tasks(v, s, &marks);
    return complete(v, s, &task, load_registers(v, s, &tss, &task));
}

enum callout_result task_return(struct vcpu *v) {
    const struct segment *tr = &v->cpu.tr;
    uint16_t link;
    if (!tr->usable || tr->limit < TSS_LINK + 1)
        return fault_raise_error(v, VEC_TS, selector_error(tr->selector, 0));
    if (!guest_read16(v, tr->base + TSS_LINK, &link, true))
        return CALLOUT_FAULT;
    const struct task_switch s = {
        .entry = TASK_RETURN, .selector = link, .return_eip = v->cpu.next_eip};
    return task_switch(v, &s);
}
