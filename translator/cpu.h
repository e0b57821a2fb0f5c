/* The guest CPU's state, as translated code reaches it.
 *
 * r15 points at this struct while translated code runs; the emitter knows the offsets of its
 * fields. Between fragments and in callouts gpr[], eip and flags hold the guest's registers;
 * inside a fragment they live in host registers (docs/architecture.md, "Registers").
 *
 * EFLAGS is kept in three parts: the arithmetic flags and DF (`flags`, in host flags inside a
 * fragment), IF (`iflag`, so that CLI and STI are one store), and the rest (`sys_flags`). */
#ifndef RING3_TRANSLATOR_CPU_H
#define RING3_TRANSLATOR_CPU_H

#include <stdbool.h>
#include <stdint.h>

#include "memory/walk.h"

enum gpr { EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI };
enum segment_index { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_COUNT };

#define FL_CF (1u << 0)
#define FL_ONE (1u << 1)
#define FL_PF (1u << 2)
#define FL_AF (1u << 4)
#define FL_ZF (1u << 6)
#define FL_SF (1u << 7)
#define FL_TF (1u << 8)
#define FL_IF (1u << 9)
#define FL_DF (1u << 10)
#define FL_OF (1u << 11)
#define FL_IOPL (3u << 12)
#define FL_NT (1u << 14)
#define FL_RF (1u << 16)
#define FL_VM (1u << 17)
#define FL_AC (1u << 18)
#define FL_VIF (1u << 19)
#define FL_VIP (1u << 20)
#define FL_ID (1u << 21)
#define FL_ARITH (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF)
#define FL_HOST (FL_ARITH | FL_DF) /* what may live in host flags */
#define FL_SYS (FL_TF | FL_IOPL | FL_NT | FL_RF | FL_VM | FL_AC | FL_VIF | FL_VIP | FL_ID)
#define FL_ALL (FL_HOST | FL_IF | FL_SYS)

/* How translated code may use a segment (docs/architecture.md, "Segments"). */
enum segment_class {
    SEGMENT_FLAT,    /* base 0, limit 4 GiB, readable and writable: costs nothing */
    SEGMENT_BASED,   /* the same with a base: the base is added */
    SEGMENT_GENERAL, /* everything else, unusable ones included: checked by a callout */
    SEGMENT_64K,     /* data, 64 KiB or more: checked by a callout but for 16-bit offsets inside */
};

/* Segment register with its hidden part (SDM vol. 3A, 3.4.3). */
struct segment {
    uint16_t selector;
    uint16_t attr;  /* descriptor bits 40-55: type 0-3, S 4, DPL 5-6, P 7, AVL 12, L 13, DB 14, G 15 */
    uint32_t base;
    uint32_t limit; /* in bytes, granularity applied */
    uint8_t cls;    /* enum segment_class; kept by cpu_segment_changed */
    bool usable;    /* false after a null selector */
};

#define SEG_ATTR_TYPE 0x000fu
#define SEG_ATTR_ACCESSED 0x0001u
#define SEG_ATTR_WRITABLE 0x0002u /* data: writable; code: readable */
#define SEG_ATTR_DOWN 0x0004u     /* data: expand down; code: conforming */
#define SEG_ATTR_CODE 0x0008u
#define SEG_ATTR_S 0x0010u
#define SEG_ATTR_DPL(attr) ((attr) >> 5 & 3u)
#define SEG_ATTR_P 0x0080u
#define SEG_ATTR_DB 0x4000u
#define SEG_ATTR_G 0x8000u

struct table_register {
    uint32_t base;
    uint32_t limit;
};

/* Model-specific registers that the model has. */
struct msrs {
    uint32_t sysenter_cs, sysenter_esp, sysenter_eip;
    uint64_t pat, misc_enable, apic_base, tsc_aux;
    uint64_t mtrr_def_type, mtrr_fixed[11], mtrr_base[8], mtrr_mask[8];
    uint64_t mcg_status, spec_ctrl;
    uint64_t bios_sign_id;
};

/* What a translation assumes of the CPU besides addresses; part of every fragment's key. Jump
 * caches and direct links hold within one mode only. */
#define MODE_CPL 0x0003u       /* current privilege level */
#define MODE_CODE16 0x0004u    /* CS.D = 0 */
#define MODE_STACK16 0x0008u   /* SS.B = 0 */
#define MODE_GENERAL_CS 0x0010u /* CS is not FLAT: its base and limit count, too */
#define MODE_DATA_CS 0x0020u   /* real and virtual-8086 mode: data in CS is of class 64K */
#define MODE_FS_SHIFT 8 /* two bits: FS's class; GENERAL at CPL 0 in protected mode, whatever it is */
#define MODE_GS_SHIFT 10 /* GS's, likewise */
#define MODE_DS_SHIFT 22
#define MODE_ES_SHIFT 24
#define MODE_SS_SHIFT 26
#define MODE_TF 0x1000u        /* single step */
#define MODE_DEBUG 0x2000u     /* a breakpoint is armed in DR7, or cpu->inspected */
#define MODE_ALIGN 0x4000u     /* alignment checks are on */
#define MODE_NO_FPU 0x8000u    /* CR0.EM or CR0.TS: x87/MMX/SSE raise #NM or #UD */
#define MODE_NO_SSE 0x10000u   /* CR4.OSFXSR clear or CR0.EM set */
#define MODE_NO_AVX 0x20000u   /* CR4.OSXSAVE or XCR0 do not allow AVX */
#define MODE_VM86 0x40000u
#define MODE_REAL 0x80000u     /* CR0.PE clear */
#define MODE_SPARSE 0x200000u /* CPL 3: the window has few pages, data are looked up (runtime/sparse_windows.c) */
#define MODE_WAIT_NM 0x100000u /* CR0.MP and CR0.TS: FWAIT raises #NM */
/* Class GENERAL or 64K: an access may call out. */
#define MODE_GENERAL_DS (2u << MODE_DS_SHIFT)
#define MODE_GENERAL_ES (2u << MODE_ES_SHIFT)
#define MODE_GENERAL_SS (2u << MODE_SS_SHIFT)

/* cpu->interrupt_shadow right behind an STI: a shadow only if IF was clear before it. */
#define SHADOW_OF_STI 2u

/* Host entry points that fragments reach through r15 (runtime/stubs.S). */
enum stub {
    STUB_CALLOUT, /* r9d id, r10d argument, r11d operand */
    STUB_CHAIN,   /* a direct exit not yet linked; r11d target eip, r10 link slot */
    STUB_MISS,    /* jump cache miss; r11d target eip */
    STUB_ATTENTION, /* r11d eip to resume at */
    STUB_RETURN,    /* r11d eip: a return that was predicted wrong, through the jump cache */
    STUB_LEAVE,     /* r11d eip: to the run loop, whatever the jump cache knows */
    STUB_REACH,     /* the callout `reach`, by C only where it must; r10d argument, r11d operand */
    STUB_REACH_READ, /* the same, of an operand that is only read */
    STUB_LOAD_SEGMENT, /* r9d offset of cpu->kernels[...], r11d selector; back: rcx zero where it is loaded, ecx in r8 */
    STUB_COUNT
};

/* What a data segment was last loaded from: a load of the same selector from the same bytes changes nothing.
 * Negative, so that a sum is zero where they agree. */
struct loaded_segment {
    uint64_t at; /* host address of the descriptor; of `no_descriptor`, which never agrees */
    uint64_t minus_descriptor, minus_selector;
};

/* What a kernel's FS or GS becomes by a load of a selector from a descriptor (for null, of `no_descriptor`). */
struct kernel_load {
    struct loaded_segment from;
    struct segment segment;
    uint64_t window[2]; /* cpu->fs_window or gs_window, then */
    uint64_t segment_at, window_at; /* host addresses of what changes */
};
enum kernel_load_index { KERNEL_LOAD_LAST, KERNEL_LOAD_NULL, KERNEL_LOADS };

struct cpu {
    /* Hot: within a signed byte of r15. */
    uint32_t gpr[8];
    uint32_t eip;      /* of the current instruction while a callout runs */
    uint32_t next_eip; /* of the one after it */
    uint32_t flags;    /* FL_HOST bits and FL_ONE */
    uint32_t iflag;    /* FL_IF or 0 */
    uint32_t sys_flags;       /* FL_SYS bits */
    uint32_t attention;   /* nonzero: leave translated code at the next check */
    uint32_t irq_pending; /* the PIC asserts INTR */
    uint32_t scratch;     /* an effective address, while its window is chosen */
    uint64_t super_window, user_window; /* bases */
    uint64_t window; /* the one of the current privilege level, which GS and r14 hold */
    uint64_t jump_cache;  /* r13: the current mode's and address space's */
    uint32_t result, result2; /* what a callout hands back to its fragment */
    uint64_t fs_window[2]; /* for CPL 0: see cpu_place_segments */
    uint64_t return_rsp; /* translated code's RSP: its stack of host return addresses */
    uint64_t victims;    /* jump targets that share their slot with another */
    uint64_t reach_tlb;  /* STUB_REACH: look-aside buffer of the current privilege level, */
    uint64_t reach_bits; /* bits of bytes that code hangs on; that of host address h is bit h % 8 at this + h / 8 */
    int32_t reach_left;  /* so many accesses until C samples one */
    uint32_t clean_from, clean_len; /* STUB_REACH: accesses of up to 16 bytes from here on are all right (clean_range.c); */
    uint64_t clean_delta;           /* host minus linear address */
    uint64_t reach_saved[2];
    uint64_t reached, reached2; /* host addresses that the callouts `reach` and `reach_string` hand back */
    uint64_t resume;     /* where the handler of a fault goes on */
    uint64_t chain_site; /* STUB_CHAIN: host address of the rel32 to patch */
    uint64_t host_rsp;   /* of the run loop's frame, while translated code runs */

    /* Reached with a 32-bit displacement. */
    uint64_t gs_window[2];
    struct segment seg[SEG_COUNT];
    struct segment ldt, tr;
    struct loaded_segment loaded[SEG_COUNT]; /* DS, ES */
    struct kernel_load kernels[2][KERNEL_LOADS]; /* FS, GS */
    uint64_t no_descriptor;
    struct table_register gdt, idt;
    uint64_t stubs[STUB_COUNT];
    uint64_t callout_counts[128];
    uint64_t granule_window[256]; /* window to try for each 16 MiB of linear space (site class BOTH) */
    struct paging paging; /* CR0, CR3, CR4, EFER, PDPTEs */
    uint32_t cr2;
    uint32_t dr[8]; /* 4 and 5 unused */
    uint64_t xcr0;
    uint64_t bit_offset; /* of BT and its kin, while it is divided */
    uint64_t tsc_offset;
    struct msrs msr;
    uint32_t mode;    /* MODE_* */
    uint32_t user_sparse; /* MODE_SPARSE at CPL 3 in this address space, or 0 */
    bool mode_dirty;  /* mode must be recomputed before the next fragment is entered */
    uint8_t interrupt_shadow; /* STI or MOV SS: no interrupt before the next instruction is done */
    uint8_t if_before_sti;    /* nonzero: the last STI found IF set already */
    bool debug_shadow;     /* MOV SS: no debug exception either */
    bool halted;
    bool nmi_blocked; /* until the next IRET */
    bool nmi_pending;
    bool inspected;   /* instructions run one by one, operands checked: MODE_DEBUG (inspection.h) */
    bool events_held; /* neither interrupts nor NMIs: a single step */
};

static inline unsigned cpu_cpl(const struct cpu *cpu) { return cpu->mode & MODE_CPL; }
static inline uint32_t cpu_eflags(const struct cpu *cpu) {
    return (cpu->flags & FL_HOST) | FL_ONE | cpu->iflag | cpu->sys_flags;
}
/* Replaces the bits of EFLAGS that `mask` names. The mode may change. */
static inline void cpu_set_eflags(struct cpu *cpu, uint32_t value, uint32_t mask) {
    uint32_t eflags = (cpu_eflags(cpu) & ~mask) | (value & mask);
    cpu->mode_dirty |= ((eflags ^ cpu->sys_flags) & (FL_TF | FL_VM | FL_AC)) != 0;
    cpu->flags = (eflags & FL_HOST) | FL_ONE;
    cpu->iflag = eflags & FL_IF;
    cpu->sys_flags = eflags & FL_SYS;
}

/* Nothing is known of where the segment came from. */
static inline void cpu_forget_loaded(struct cpu *cpu, unsigned index) {
    cpu->loaded[index] = (struct loaded_segment){.at = (uint64_t)(uintptr_t)&cpu->no_descriptor, .minus_descriptor = 1};
}
void cpu_forget_all_loaded(struct cpu *cpu);
/* FS or GS has just been loaded at CPL 0 from `descriptor`, at a host address; from none, if that is NULL. */
void cpu_note_kernels(struct cpu *cpu, enum segment_index index, uint32_t selector, const void *at, uint64_t descriptor);
/* Recomputes a segment's class after its hidden part changed, and marks the mode dirty if it does
 * not hold any more. */
void cpu_segment_changed(struct cpu *cpu, struct segment *segment);
/* Where code at CPL 0 finds offset 0 of FS and GS, if they are flat but for a base: in the supervisor's window. The second
 * word is 4 GiB more, for displacements that the host takes for negative. Where they are anything else, all of it lies beyond
 * the window, where nothing is mapped: the fault gives the site HINT_WRAPS, and it asks `check` from then on. */
void cpu_place_segments(struct cpu *cpu);
/* Recomputes `mode` from the state; `cpl` is the privilege level (not derivable from CS in the
 * middle of a transfer). */
void cpu_update_mode(struct cpu *cpu, unsigned cpl);
/* The same where the mode held until DS, ES, FS or GS was loaded; and until CS and SS became flat ones of 32 bits
 * at a level of protected mode. */
void cpu_update_mode_for(struct cpu *cpu, enum segment_index index);
void cpu_update_mode_flat(struct cpu *cpu, unsigned cpl);

#endif
