/* What the emitted code may assume of the CPU, derived from its state.
 *
 * Two derivations: a segment's class from its hidden part, and the mode word from the classes,
 * the control registers and the flags. Both run at every system call and interrupt, so they are
 * a few tests and shifts, no tables. */
#include "translator/cpu.h"

#include <assert.h>

#define ATTR_PRESENT_SEGMENT (SEG_ATTR_P | SEG_ATTR_S)
#define ALL_4G (1ull << 32)
#define XCR0_FOR_AVX 6u /* SSE and AVX state (SDM vol. 1, 13.3) */

/* Can it be used without checks of rights, once base and limit allow? */
static bool has_full_rights(const struct segment *segment, bool is_cs) {
    uint32_t attr = segment->attr;
    if ((attr & ATTR_PRESENT_SEGMENT) != ATTR_PRESENT_SEGMENT)
        return false;
    if (attr & SEG_ATTR_CODE)
        return is_cs; /* fetches need no read permission; data accesses through it do */
    /* In real mode CS holds a data descriptor. */
    return (attr & (SEG_ATTR_WRITABLE | SEG_ATTR_DOWN)) == SEG_ATTR_WRITABLE;
}

/* CS and SS have more in the mode than their class. */
static const uint8_t shifts[SEG_COUNT] = {[SEG_ES] = MODE_ES_SHIFT, [SEG_DS] = MODE_DS_SHIFT,
                                          [SEG_FS] = MODE_FS_SHIFT, [SEG_GS] = MODE_GS_SHIFT};

/* FS and GS at CPL 0: a kernel finds the user's, loads its own and goes back to the user's; their classes must not split
 * its code in modes. */
static bool is_kernels(const struct cpu *cpu, uintptr_t index) {
    return (index == SEG_FS || index == SEG_GS) && !(cpu->mode & (MODE_CPL | MODE_REAL | MODE_VM86));
}

/* Does the mode word say of a data segment what its class is? */
static bool mode_holds(const struct cpu *cpu, const struct segment *segment) {
    uintptr_t index = ((uintptr_t)segment - (uintptr_t)cpu->seg) / sizeof *segment;
    return index < SEG_COUNT && shifts[index] &&
           (is_kernels(cpu, index) || (cpu->mode >> shifts[index] & 3u) == segment->cls);
}

/* Behind a base in the upper half of the address space, a displacement there wraps. */
static void place(const struct cpu *cpu, const struct segment *segment, uint64_t *window) {
    bool flat = segment->cls == SEGMENT_FLAT || segment->cls == SEGMENT_BASED;
    uint64_t base = flat ? segment->base : ALL_4G;
    window[0] = cpu->super_window + base;
    window[1] = window[0] + (flat && base >> 31 ? 0 : ALL_4G);
}

void cpu_forget_all_loaded(struct cpu *cpu) {
    for (unsigned i = 0; i < SEG_COUNT; i++)
        cpu_forget_loaded(cpu, i);
    for (unsigned i = 0; i < 2 * KERNEL_LOADS; i++)
        cpu->kernels[i / KERNEL_LOADS][i % KERNEL_LOADS].from = cpu->loaded[SEG_ES];
}

void cpu_note_kernels(struct cpu *cpu, enum segment_index index, uint32_t selector, const void *at, uint64_t descriptor) {
    bool is_gs = index == SEG_GS;
    uint64_t *window = is_gs ? cpu->gs_window : cpu->fs_window;
    assert(index == SEG_FS || is_gs);
    cpu->kernels[is_gs][at ? KERNEL_LOAD_LAST : KERNEL_LOAD_NULL] = (struct kernel_load){
        .from = {.at = (uint64_t)(uintptr_t)(at ? at : &cpu->no_descriptor),
                 .minus_descriptor = -descriptor,
                 .minus_selector = -(uint64_t)selector},
        .segment = cpu->seg[index],
        .window = {window[0], window[1]},
        .segment_at = (uint64_t)(uintptr_t)&cpu->seg[index],
        .window_at = (uint64_t)(uintptr_t)window,
    };
}

void cpu_place_segments(struct cpu *cpu) {
    place(cpu, &cpu->seg[SEG_FS], cpu->fs_window);
    place(cpu, &cpu->seg[SEG_GS], cpu->gs_window);
}

void cpu_segment_changed(struct cpu *cpu, struct segment *segment) {
    bool is_cs = segment == &cpu->seg[SEG_CS];
    if (!segment->usable || segment->limit < 0xffff || !has_full_rights(segment, is_cs))
        segment->cls = SEGMENT_GENERAL;
    else if (segment->limit != UINT32_MAX)
        segment->cls = SEGMENT_64K;
    else
        segment->cls = segment->base == 0 ? SEGMENT_FLAT : SEGMENT_BASED;
    uintptr_t index = ((uintptr_t)segment - (uintptr_t)cpu->seg) / sizeof *segment;
    if (index < SEG_COUNT)
        cpu_forget_loaded(cpu, (unsigned)index);
    if (index == SEG_FS || index == SEG_GS)
        place(cpu, segment, index == SEG_FS ? cpu->fs_window : cpu->gs_window);
    cpu->mode_dirty |= !mode_holds(cpu, segment);
}

/* Real mode, or virtual-8086 mode: MODE_REAL, MODE_VM86 or 0. */
static uint32_t old_mode(const struct cpu *cpu) {
    if (!(cpu->paging.cr0 & CR0_PE))
        return MODE_REAL;
    return cpu->sys_flags & FL_VM ? MODE_VM86 : 0;
}

static uint32_t segment_mode(const struct cpu *cpu, unsigned cpl) {
    const struct segment *seg = cpu->seg;
    uint32_t old = old_mode(cpu), mode = cpl | old;
    bool cs_is_data = !(seg[SEG_CS].attr & SEG_ATTR_CODE) && seg[SEG_CS].cls != SEGMENT_GENERAL;
    mode |= seg[SEG_CS].attr & SEG_ATTR_DB ? 0 : MODE_CODE16;
    mode |= seg[SEG_SS].attr & SEG_ATTR_DB ? 0 : MODE_STACK16;
    mode |= seg[SEG_CS].cls == SEGMENT_FLAT ? 0 : MODE_GENERAL_CS;
    mode |= old && cs_is_data ? MODE_DATA_CS : 0;
    mode |= (uint32_t)seg[SEG_DS].cls << MODE_DS_SHIFT;
    mode |= (uint32_t)seg[SEG_ES].cls << MODE_ES_SHIFT;
    mode |= (uint32_t)seg[SEG_SS].cls << MODE_SS_SHIFT;
    mode |= (uint32_t)(cpl == 0 && !old ? SEGMENT_GENERAL : seg[SEG_FS].cls) << MODE_FS_SHIFT;
    mode |= (uint32_t)(cpl == 0 && !old ? SEGMENT_GENERAL : seg[SEG_GS].cls) << MODE_GS_SHIFT;
    return mode;
}

static uint32_t unit_mode(const struct cpu *cpu) {
    uint32_t cr0 = cpu->paging.cr0, cr4 = cpu->paging.cr4, mode = 0;
    if (cr0 & (CR0_EM | CR0_TS))
        mode |= MODE_NO_FPU;
    if ((cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS))
        mode |= MODE_WAIT_NM;
    if (!(cr4 & CR4_OSFXSR) || (cr0 & CR0_EM))
        mode |= MODE_NO_SSE;
    if (!(cr4 & CR4_OSXSAVE) || (cpu->xcr0 & XCR0_FOR_AVX) != XCR0_FOR_AVX)
        mode |= MODE_NO_AVX;
    return mode;
}

void cpu_update_mode(struct cpu *cpu, unsigned cpl) {
    assert(cpl <= 3);
    uint32_t mode = segment_mode(cpu, cpl) | unit_mode(cpu);
    if (cpu->sys_flags & FL_TF)
        mode |= MODE_TF;
    if (cpu->dr[7] & 0xffu || cpu->inspected)
        mode |= MODE_DEBUG;
    if (cpl == 3 && (cpu->paging.cr0 & CR0_AM) && (cpu->sys_flags & FL_AC))
        mode |= MODE_ALIGN;
    if (cpl == 3 && !(mode & MODE_VM86))
        mode |= cpu->user_sparse;
    cpu->mode = mode;
    cpu->mode_dirty = false;
}

void cpu_update_mode_for(struct cpu *cpu, enum segment_index index) {
    assert(index < SEG_COUNT && shifts[index]);
    if (!is_kernels(cpu, index))
        cpu->mode = (cpu->mode & ~(3u << shifts[index])) | (uint32_t)cpu->seg[index].cls << shifts[index];
    cpu->mode_dirty = false;
}

void cpu_update_mode_flat(struct cpu *cpu, unsigned cpl) {
    const uint32_t replaced = MODE_CPL | MODE_CODE16 | MODE_STACK16 | MODE_GENERAL_CS | MODE_DATA_CS | MODE_ALIGN |
                              MODE_SPARSE | 3u << MODE_FS_SHIFT | 3u << MODE_GS_SHIFT | 3u << MODE_SS_SHIFT;
    if (cpu->mode_dirty || cpu->mode & (MODE_REAL | MODE_VM86)) {
        cpu_update_mode(cpu, cpl);
        return;
    }
    uint32_t fs = cpl == 0 ? SEGMENT_GENERAL : cpu->seg[SEG_FS].cls;
    uint32_t gs = cpl == 0 ? SEGMENT_GENERAL : cpu->seg[SEG_GS].cls;
    bool aligned = cpl == 3 && (cpu->paging.cr0 & CR0_AM) && (cpu->sys_flags & FL_AC);
    assert(cpu->seg[SEG_CS].cls == SEGMENT_FLAT && cpu->seg[SEG_SS].cls == SEGMENT_FLAT);
    cpu->mode = (cpu->mode & ~replaced) | cpl | fs << MODE_FS_SHIFT | gs << MODE_GS_SHIFT | (aligned ? MODE_ALIGN : 0) |
                (cpl == 3 ? cpu->user_sparse : 0);
}
