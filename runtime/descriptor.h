/* Segment descriptors (SDM vol. 3A, 3.4.5): fetching one from the GDT or the LDT, what its bits
 * mean, and filling a segment register's hidden part from it.
 *
 * Everything that loads a segment does it in this order: fetch, check, set the accessed bit
 * (which can fault), then load (which cannot). */
#ifndef RING3_RUNTIME_DESCRIPTOR_H
#define RING3_RUNTIME_DESCRIPTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/vcpu.h"

struct descriptor {
    uint32_t low, high;
    gva_t gva; /* where it stands, for the accessed and busy bits */
};

/* System descriptor types (SDM vol. 3A, table 3-2). */
enum system_type {
    SYSTEM_TSS16 = 1,
    SYSTEM_LDT = 2,
    SYSTEM_TSS16_BUSY = 3,
    SYSTEM_CALL_GATE16 = 4,
    SYSTEM_TASK_GATE = 5,
    SYSTEM_INTERRUPT_GATE16 = 6,
    SYSTEM_TRAP_GATE16 = 7,
    SYSTEM_TSS32 = 9,
    SYSTEM_TSS32_BUSY = 11,
    SYSTEM_CALL_GATE32 = 12,
    SYSTEM_INTERRUPT_GATE32 = 14,
    SYSTEM_TRAP_GATE32 = 15,
};

#define TSS32_IO_MAP_BASE 102u
#define TSS32_MIN_LIMIT 103u
#define TYPE_BUSY 2u  /* of a TSS */
#define TYPE_32BIT 8u /* of a TSS or gate */

#define ERROR_EXT 1u /* error code: the event was external to the program */
#define ERROR_IDT 2u /* error code: the index is a vector */

/* Selectors 0-3: the null selector with any RPL. */
static inline bool selector_is_null(uint32_t selector) { return (selector & 0xfffcu) == 0; }
static inline unsigned selector_rpl(uint32_t selector) { return selector & 3u; }
/* The error code that names a selector (SDM vol. 3A, 6.13). */
static inline uint32_t selector_error(uint32_t selector, uint32_t ext) {
    return (selector & 0xfffcu) | ext;
}

static inline uint16_t descriptor_attr(const struct descriptor *d) {
    return (uint16_t)(d->high >> 8 & 0xf0ffu);
}
static inline unsigned descriptor_dpl(const struct descriptor *d) { return d->high >> 13 & 3u; }
static inline bool descriptor_present(const struct descriptor *d) { return d->high & 1u << 15; }
static inline bool descriptor_is_system(const struct descriptor *d) {
    return !(d->high & 1u << 12);
}
/* enum system_type, for system descriptors. */
static inline unsigned descriptor_type(const struct descriptor *d) { return d->high >> 8 & 15u; }
static inline bool descriptor_is_code(const struct descriptor *d) {
    return (d->high >> 8 & 0x18u) == 0x18u;
}
static inline bool descriptor_is_conforming(const struct descriptor *d) {
    return (d->high >> 8 & 0x1cu) == 0x1cu;
}
static inline bool descriptor_is_writable(const struct descriptor *d) {
    return (d->high >> 8 & 0x1au) == 0x12u;
}
/* Data, or code that may be read. */
static inline bool descriptor_is_readable(const struct descriptor *d) {
    return !descriptor_is_system(d) && (d->high >> 8 & 0x0au) != 0x08u;
}
static inline uint32_t descriptor_base(const struct descriptor *d) {
    return d->low >> 16 | (d->high & 0xffu) << 16 | (d->high & 0xff000000u);
}
static inline uint32_t descriptor_limit(const struct descriptor *d) {
    uint32_t limit = (d->low & 0xffffu) | (d->high & 0xf0000u);
    return d->high & 1u << 23 ? limit << 12 | 0xfffu : limit;
}
/* Gates: where they lead. */
static inline uint16_t gate_selector(const struct descriptor *d) {
    return (uint16_t)(d->low >> 16);
}
static inline uint32_t gate_offset(const struct descriptor *d, bool wide) {
    return (d->low & 0xffffu) | (wide ? d->high & 0xffff0000u : 0);
}

/* Where `selector`'s descriptor stands; false when it lies outside its table. */
bool descriptor_locate(const struct cpu *cpu, uint32_t selector, gva_t *gva);
/* Reads it. False: v->fault is `vector` naming the selector (outside the table), or a #PF. */
bool descriptor_fetch(struct vcpu *v, uint32_t selector, enum vector vector, uint32_t ext,
                      struct descriptor *d);
/* Sets type bits in memory (accessed: 1, busy: TYPE_BUSY) and in `d`. False: v->fault. */
bool descriptor_set_type_bits(struct vcpu *v, struct descriptor *d, uint32_t bits);
static inline bool descriptor_set_accessed(struct vcpu *v, struct descriptor *d) {
    return d->high & 1u << 8 || descriptor_set_type_bits(v, d, 1);
}

/* Fills a segment register, or LDTR or TR, from a checked descriptor. */
void segment_unpack(struct segment *segment, uint32_t selector, const struct descriptor *d);
void segment_set(struct cpu *cpu, enum segment_index index, uint32_t selector,
                 const struct descriptor *d);
void segment_set_null(struct cpu *cpu, enum segment_index index, uint32_t selector);
/* Real mode: the base follows from the selector; limit, kind and size stay as they were, but CS gets the
 * rights of data that can be written (SDM vol. 3A, 9.9.2). A null segment becomes one of 64 KiB. */
void segment_set_real(struct cpu *cpu, enum segment_index index, uint32_t selector);
/* Virtual-8086 mode: the rest is fixed, too. */
void segment_set_v86(struct cpu *cpu, enum segment_index index, uint32_t selector);
/* One of the two, by the mode. */
static inline void segment_set_8086(struct cpu *cpu, enum segment_index index, uint32_t selector) {
    if (cpu->mode & MODE_VM86)
        segment_set_v86(cpu, index, selector);
    else
        segment_set_real(cpu, index, selector);
}
/* Loads the flat 4 GiB segment that SYSENTER and SYSEXIT define. `type`: SEG_ATTR_TYPE bits. */
void segment_set_flat(struct cpu *cpu, enum segment_index index, uint32_t selector, uint32_t type,
                      unsigned dpl);

/* Do `len` bytes at `offset` lie inside the limit? */
bool segment_holds(const struct segment *segment, uint32_t offset, uint32_t len);
/* May data be read, or written, through it at all? */
bool segment_allows(const struct segment *segment, bool write);

#endif
