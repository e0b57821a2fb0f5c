/* What differential tests run under besides flat 32-bit segments: 16-bit code, and data segments of
 * 64 KiB, one whose first and one whose last offsets are the data area. Both sides get the same:
 * the processor by descriptors of the LDT, translated code by the CPU struct and its mode. */
#ifndef RING3_TESTS_TRANSLATOR_SEGMENTS_H
#define RING3_TESTS_TRANSLATOR_SEGMENTS_H

#include "tests/unit/translator_native.h"

enum place { PLACE_FLAT, PLACE_LOW, PLACE_HIGH, PLACE_COUNT };

/* How a case is run. FS and GS are one segment: the C library has the processor's FS. */
struct setting {
    bool code16;
    enum place ds, es, ss, gs; /* gs: PLACE_FLAT stands for a based one of 4 GiB */
};

static const uint32_t place_bases[PLACE_COUNT] = {0, DATA_AT, DATA_AT - 0xf000};
#define LDT_SELECTOR(entry) ((uint16_t)((entry) << 3 | 7))

/* False: the kernel gives no 16-bit segments. */
static inline bool setting_make_segments(void) {
    struct user_desc code = {
        .entry_number = 2, .base_addr = CODE_AREA, .limit = 0xffff, .contents = 2, .useable = 1};
    bool good = syscall(SYS_modify_ldt, 1, &code, sizeof code) == 0;
    for (unsigned i = PLACE_LOW; i <= PLACE_HIGH; i++) {
        struct user_desc data = {
            .entry_number = 2 + i, .base_addr = place_bases[i], .limit = 0xffff, .useable = 1};
        good = good && syscall(SYS_modify_ldt, 1, &data, sizeof data) == 0;
    }
    return good && dual.ldt_selector;
}

static inline uint16_t place_selector(enum place place) {
    return place == PLACE_FLAT ? 0x2b : LDT_SELECTOR(2 + place);
}

static inline enum place setting_place(const struct setting *s, unsigned segment) {
    switch (segment) {
    case SEG_DS:
        return s->ds;
    case SEG_ES:
        return s->es;
    case SEG_SS:
        return s->ss;
    default:
        return PLACE_FLAT;
    }
}

static inline uint32_t setting_base(const struct setting *s, unsigned segment) {
    if (segment == SEG_CS)
        return s->code16 ? CODE_AREA : 0;
    if (segment == SEG_FS || segment == SEG_GS)
        return s->gs == PLACE_FLAT ? SEGMENT_BASE : place_bases[s->gs];
    return place_bases[setting_place(s, segment)];
}

static inline void set_segment(unsigned index, enum place place, uint32_t base) {
    struct segment *segment = &dual.v.cpu.seg[index];
    bool flat = place == PLACE_FLAT;
    *segment = (struct segment){.selector = place_selector(place),
                                .attr = flat ? 0xc0f3 : 0x00f3,
                                .base = base,
                                .limit = flat ? UINT32_MAX : 0xffff,
                                .usable = true};
    cpu_segment_changed(&dual.v.cpu, segment);
}

/* Loads the segments of translated code, and has the native side load its own. */
static inline void setting_enter(const struct setting *s) {
    struct cpu *cpu = &dual.v.cpu;
    for (unsigned i = SEG_ES; i <= SEG_DS; i++)
        set_segment(i, setting_place(s, i), setting_base(s, i));
    set_segment(SEG_FS, s->gs, setting_base(s, SEG_FS));
    set_segment(SEG_GS, s->gs, setting_base(s, SEG_GS));
    cpu->seg[SEG_FS].selector = 0;
    cpu->seg[SEG_GS].selector = s->gs == PLACE_FLAT ? dual.ldt_selector : place_selector(s->gs);
    cpu->seg[SEG_CS] = (struct segment){.selector = s->code16 ? LDT_SELECTOR(2) : 0x23,
                                        .attr = s->code16 ? 0x00fb : 0xc0fb,
                                        .base = setting_base(s, SEG_CS),
                                        .limit = s->code16 ? 0xffff : UINT32_MAX,
                                        .usable = true};
    cpu_segment_changed(cpu, &cpu->seg[SEG_CS]);
    native_io.far_selector = cpu->seg[SEG_CS].selector;
    native_io.ds = place_selector(s->ds);
    native_io.es = place_selector(s->es);
    native_io.ss = place_selector(s->ss);
    native_io.gs = cpu->seg[SEG_GS].selector;
    dual.code_base = cpu->seg[SEG_CS].base;
}

/* MODE_* bits of a setting. */
static inline uint32_t setting_mode(const struct setting *s) {
    uint32_t mode = 0;
    mode |= s->code16 ? MODE_CODE16 | MODE_GENERAL_CS : 0;
    mode |= s->ss == PLACE_FLAT ? 0 : MODE_STACK16;
    mode |= s->ds == PLACE_FLAT ? 0 : SEGMENT_64K << MODE_DS_SHIFT;
    mode |= s->es == PLACE_FLAT ? 0 : SEGMENT_64K << MODE_ES_SHIFT;
    mode |= s->ss == PLACE_FLAT ? 0 : SEGMENT_64K << MODE_SS_SHIFT;
    uint32_t gs = s->gs == PLACE_FLAT ? SEGMENT_BASED : SEGMENT_64K;
    return mode | gs << MODE_FS_SHIFT | gs << MODE_GS_SHIFT;
}

#endif
