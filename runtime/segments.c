/* Loading segment registers, LDTR and TR (SDM vol. 2: MOV, POP, LDS, LLDT, LTR). */
#include <assert.h>

#include "runtime/callout_support.h"
#include "runtime/descriptor.h"
#include "runtime/guest_access.h"
#include "runtime/segment_access.h"
#include "runtime/stack.h"

/* SS takes a writable data segment of exactly the current privilege level. */
static bool check_stack_segment(struct vcpu *v, uint32_t selector, const struct descriptor *d) {
    unsigned cpl = cpu_cpl(&v->cpu);
    if (selector_rpl(selector) != cpl || descriptor_dpl(d) != cpl || !descriptor_is_writable(d)) {
        fault_raise_gp(v, selector_error(selector, 0));
        return false;
    }
    if (!descriptor_present(d)) {
        fault_raise_error(v, VEC_SS, selector_error(selector, 0));
        return false;
    }
    return true;
}

/* The others take data or readable code; conforming code from every level. */
static bool check_data_segment(struct vcpu *v, uint32_t selector, const struct descriptor *d) {
    unsigned dpl = descriptor_dpl(d);
    bool allowed =
        descriptor_is_conforming(d) || (dpl >= selector_rpl(selector) && dpl >= cpu_cpl(&v->cpu));
    if (!descriptor_is_readable(d) || !allowed) {
        fault_raise_gp(v, selector_error(selector, 0));
        return false;
    }
    if (!descriptor_present(d)) {
        fault_raise_error(v, VEC_NP, selector_error(selector, 0));
        return false;
    }
    return true;
}

/* Kernels load what is there already at every entry. Whoever may have loaded it before, CPL 0 may. */
static bool is_loaded(const struct vcpu *v, enum segment_index index, uint32_t selector,
                      const struct descriptor *d) {
    const struct segment *segment = &v->cpu.seg[index];
    return segment->selector == selector && segment->usable && index != SEG_SS &&
           cpu_cpl(&v->cpu) == 0 && segment->attr == descriptor_attr(d) &&
           segment->base == descriptor_base(d) && segment->limit == descriptor_limit(d) &&
           (segment->attr & SEG_ATTR_ACCESSED);
}

/* The protected-mode load. False: v->fault, nothing changed. */
static bool load_protected(struct vcpu *v, enum segment_index index, uint32_t selector) {
    struct descriptor d;
    if (selector_is_null(selector)) {
        if (index == SEG_SS) {
            fault_raise_gp(v, 0);
            return false;
        }
        segment_set_null(&v->cpu, index, selector);
        if ((index == SEG_FS || index == SEG_GS) && !v->plugins)
            cpu_note_kernels(&v->cpu, index, selector, NULL, 0);
        return true;
    }
    if (!descriptor_fetch(v, selector, VEC_GP, 0, &d))
        return false;
    if (is_loaded(v, index, selector, &d)) {
        guest_note_loaded(v, index, selector, d.gva, (uint64_t)d.high << 32 | d.low);
        return true;
    }
    bool good = index == SEG_SS ? check_stack_segment(v, selector, &d)
                                : check_data_segment(v, selector, &d);
    if (!good || !descriptor_set_accessed(v, &d))
        return false;
    segment_set(&v->cpu, index, selector, &d);
    if ((index == SEG_FS || index == SEG_GS) && cpu_cpl(&v->cpu) == 0)
        guest_note_loaded(v, index, selector, d.gva, (uint64_t)d.high << 32 | d.low);
    return true;
}

static bool load(struct vcpu *v, enum segment_index index, uint32_t selector) {
    assert(index != SEG_CS && index < SEG_COUNT);
    if (!cpu_has_descriptors(&v->cpu))
        segment_set_8086(&v->cpu, index, selector);
    else if (!load_protected(v, index, selector))
        return false;
    return true;
}

/* So that MOV ESP may follow undisturbed. Of consecutive loads of SS the first does it (SDM vol. 3A,
 * 6.8.3). */
static void cast_shadow(struct vcpu *v) {
    v->cpu.interrupt_shadow = v->cpu.debug_shadow = !v->behind_mov_ss;
}

/* The load may have been what makes the mode another one. */
static enum callout_result finish_load(struct vcpu *v, enum segment_index index, bool dirty_before) {
    if (dirty_before || index == SEG_SS || !v->cpu.mode_dirty)
        return callout_continue_if_clean(v);
    cpu_update_mode_for(&v->cpu, index);
    return callout_jump(v, v->cpu.next_eip);
}

enum callout_result callout_mov_to_seg(struct vcpu *v, uint32_t arg, uint32_t operand) {
    if (arg == SEG_CS || arg >= SEG_COUNT)
        return fault_raise(v, VEC_UD);
    bool dirty = v->cpu.mode_dirty;
    if (!load(v, (enum segment_index)arg, operand & 0xffffu))
        return CALLOUT_FAULT;
    if (arg == SEG_SS)
        cast_shadow(v);
    return finish_load(v, (enum segment_index)arg, dirty);
}

enum callout_result callout_pop_seg(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)operand;
    struct cpu *cpu = &v->cpu;
    enum segment_index index = (enum segment_index)(arg & 0xffu);
    uint32_t unit = callout_unit(arg), item = 0;
    bool dirty = cpu->mode_dirty;
    if (index == SEG_CS || index >= SEG_COUNT)
        return fault_raise(v, VEC_UD);
    /* ESP moves by the stack size that held before SS was loaded. */
    uint32_t mask = stack_mask(&cpu->seg[SEG_SS]);
    if (!stack_read(v, 0, &item, 2, 2) || !load(v, index, item & 0xffffu))
        return CALLOUT_FAULT;
    cpu->gpr[ESP] = (cpu->gpr[ESP] & ~mask) | ((cpu->gpr[ESP] + unit) & mask);
    if (index == SEG_SS)
        cast_shadow(v);
    return finish_load(v, index, dirty);
}

enum callout_result callout_load_far(struct vcpu *v, uint32_t arg, uint32_t operand) {
    enum segment_index index = (enum segment_index)(arg & 0xffu);
    unsigned gpr = arg >> 8 & 7u;
    bool narrow = callout_is_16bit(arg);
    uint32_t offset;
    uint16_t selector;
    if (index == SEG_CS || index >= SEG_COUNT)
        return fault_raise(v, VEC_UD);
    if (!segment_read_pointer(v, CALLOUT_POINTER_SEGMENT(arg), operand, callout_unit(arg), &offset,
                              &selector))
        return CALLOUT_FAULT;
    if (!load(v, index, selector))
        return CALLOUT_FAULT;
    uint32_t *to = &v->cpu.gpr[gpr];
    *to = narrow ? (*to & 0xffff0000u) | offset : offset;
    return callout_continue_if_clean(v);
}

/* What LLDT and LTR check alike: privilege, and a present system descriptor in the GDT. The types
 * accepted are the bits of `types`. False: v->fault. */
static bool fetch_system(struct vcpu *v, uint32_t selector, uint32_t types, struct descriptor *d) {
    if (selector & 4u) {
        fault_raise_gp(v, selector_error(selector, 0));
        return false;
    }
    if (!descriptor_fetch(v, selector, VEC_GP, 0, d))
        return false;
    if (!descriptor_is_system(d) || !(types >> descriptor_type(d) & 1u)) {
        fault_raise_gp(v, selector_error(selector, 0));
        return false;
    }
    if (!descriptor_present(d)) {
        fault_raise_error(v, VEC_NP, selector_error(selector, 0));
        return false;
    }
    return true;
}

enum callout_result callout_lldt(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg;
    struct cpu *cpu = &v->cpu;
    uint32_t selector = operand & 0xffffu;
    struct descriptor d;
    if (!cpu_has_descriptors(cpu))
        return fault_raise(v, VEC_UD);
    if (cpu_cpl(cpu) != 0)
        return fault_raise_gp(v, 0);
    cpu_forget_all_loaded(cpu);
    if (selector_is_null(selector)) {
        cpu->ldt = (struct segment){.selector = (uint16_t)selector, .usable = false};
        return CALLOUT_NEXT;
    }
    if (!fetch_system(v, selector, 1u << SYSTEM_LDT, &d))
        return CALLOUT_FAULT;
    segment_unpack(&cpu->ldt, selector, &d);
    return CALLOUT_NEXT;
}

enum callout_result callout_ltr(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg;
    struct cpu *cpu = &v->cpu;
    uint32_t selector = operand & 0xffffu;
    struct descriptor d;
    if (!cpu_has_descriptors(cpu))
        return fault_raise(v, VEC_UD);
    if (cpu_cpl(cpu) != 0 || selector_is_null(selector))
        return fault_raise_gp(v, 0);
    if (!fetch_system(v, selector, 1u << SYSTEM_TSS16 | 1u << SYSTEM_TSS32, &d) ||
        !descriptor_set_type_bits(v, &d, TYPE_BUSY))
        return CALLOUT_FAULT;
    segment_unpack(&cpu->tr, selector, &d);
    return CALLOUT_NEXT;
}

static enum callout_result store_selector(struct vcpu *v, const struct segment *segment) {
    if (!cpu_has_descriptors(&v->cpu))
        return fault_raise(v, VEC_UD);
    v->cpu.result = segment->selector;
    return CALLOUT_NEXT;
}

enum callout_result callout_sldt(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg, (void)operand;
    return store_selector(v, &v->cpu.ldt);
}

enum callout_result callout_str(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg, (void)operand;
    return store_selector(v, &v->cpu.tr);
}
