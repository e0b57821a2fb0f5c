/* Guest file -> guest RAM + initial CPU state.
 *
 * Recognises Linux bzImage (boot protocol 2.03 and later, 32-bit entry), Multiboot 1 (ELF and
 * a.out-kludge) and plain ELF32. Everything in the files is hostile: every offset and size is
 * checked before use, and a refusal is one line naming file, offset and reason. */
#ifndef RING3_LOADER_LOADER_H
#define RING3_LOADER_LOADER_H

#include <stdint.h>

#include "base/error.h"
#include "memory/ram.h"
#include "translator/cpu.h"

/* Who unpacks a Linux kernel: its own stub in the guest, or the loader. */
enum unpack_where { UNPACK_GUEST, UNPACK_HOST };

struct load_options {
    const char *kernel;
    const char *initrd; /* NULL: none. Multiboot: the first module ("file args") */
    const char *append; /* NULL: empty */
    enum unpack_where unpack;
    const char *cache; /* the directory where UNPACK_HOST keeps unpacked kernels, or NULL */
};

/* The CPU as the boot protocol wants it at entry; applied to the vCPU by the caller. */
struct load_result {
    uint32_t eip;
    uint32_t gpr[8];
    const char *protocol; /* "linux", "multiboot", "elf" */
};

/* Loads the files into `ram` (fresh: all zero) and writes the firmware tables (memory map, ACPI)
 * that the protocol promises. After entry: protected mode, paging off, flat 4 GiB segments CS 0x10,
 * DS/ES/SS/FS/GS 0x18 (their GDT lies where place.h says, and is reported here), IF clear.
 * 0, or -1 with `error` filled. */
int loader_load(const struct load_options *options, struct ram *ram, struct load_result *result,
                struct table_register *gdt, struct error *error);

/* Puts a CPU that was reset into the entry state that loader_load described. */
void loader_enter(struct cpu *cpu, const struct load_result *result,
                  const struct table_register *gdt);

#endif
