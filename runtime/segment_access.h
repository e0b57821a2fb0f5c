/* A data access through a segment register, checked: the general path beside the flat one. */
#ifndef RING3_RUNTIME_SEGMENT_ACCESS_H
#define RING3_RUNTIME_SEGMENT_ACCESS_H

#include "runtime/vcpu.h"

/* Rights and limit (SDM vol. 3A, 5.3-5.5), alignment (6.15, #AC); tells the data breakpoints. The
 * linear address goes to *linear. False: v->fault. */
bool segment_access(struct vcpu *v, unsigned segment, uint32_t offset, uint32_t size, bool write,
                    gva_t *linear);
/* The same for what is aligned otherwise than its size says. */
bool segment_access_aligned(struct vcpu *v, unsigned segment, uint32_t offset, uint32_t size,
                            uint32_t align, bool write, gva_t *linear);
/* VMASKMOV and VPMASKMOV, as an argument of `check` describes them. */
bool segment_access_masked(struct vcpu *v, unsigned segment, uint32_t offset, uint32_t arg, bool write,
                           gva_t *linear);
/* CLFLUSH and CLFLUSHOPT: a byte, in execute-only code, too. */
bool segment_flush(struct vcpu *v, unsigned segment, uint32_t offset, gva_t *linear);

/* A far pointer whose offset, of `unit` bytes at `at`, was checked; its selector comes behind and
 * is checked when the offset has been read. */
bool segment_read_pointer(struct vcpu *v, unsigned segment, gva_t at, uint32_t unit,
                          uint32_t *offset, uint16_t *selector);

#endif
