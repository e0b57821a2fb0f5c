/* The list of rows and the choice among them. */
#include "bench/host/rows.h"

#include <assert.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#define NANO(name, text, ...)                                                                      \
    { SECTION_NANO, "nano." name, text, __VA_ARGS__ }
#define LINUX(section, name, text, ...)                                                            \
    { SECTION_##section, name, text, __VA_ARGS__ }

const struct row bench_rows[] = {
    NANO("syscall", "SYSENTER and SYSEXIT, from ring 3 and back", .vmware = {0}),
    NANO("int80", "INT and IRET, from ring 3 and back", .vmware = {0}),
    NANO("in", "IN from port 80h", .vmware = {3209, 214, 15826}),
    NANO("out", "OUT to port 80h", .vmware = {0}),
    NANO("cr3-write", "MOV to CR3, the same value", .vmware = {0}),
    NANO("cr0-write", "MOV to CR0, the same value", .vmware = {0}),
    NANO("cr0-read", "MOV from CR0", .vmware = {0}),
    NANO("call-ret", "CALL and RET", .vmware = {11, 51, 11}, .plain = true),
    NANO("call-indirect", "CALL through a table, four targets in turn", .plain = true),
    NANO("pgfault", "page fault of ring 3, handler and back", .vmware = {1093, 3927, 11242}),
    NANO("hidden-fault", "first touch of a page that is mapped", .vmware = {0}),
    NANO("divzero", "divide error of ring 3, handler and back", .vmware = {889, 3223, 1014}),
    NANO("ptemod", "store to a page table entry", .vmware = {1, 391, 12733}),
    NANO("ptemod-flush", "the same and INVLPG", .vmware = {0}),
    NANO("ptemod-touch", "the same and a load from the page", .vmware = {0}),
    NANO("context-switch", "MOV to CR3, another space, four loads", .vmware = {0}),
    NANO("interrupt", "interrupt raised by OUT, handler, IRET, OUT", .vmware = {0}),
    NANO("mmio-read", "load from memory that nobody claims", .vmware = {0}),
    NANO("iret", "IRET within ring 0, and its three pushes", .vmware = {0}),
    NANO("sti-cli", "STI and CLI", .vmware = {0}),
    NANO("invlpg", "INVLPG of a page in use, unchanged", .vmware = {0}),
    NANO("rdtsc", "RDTSC", .plain = true),
    NANO("cpuid", "CPUID, leaf 0", .plain = true),
    NANO("self-modify", "store into the next function, and its call", .plain = true),

    LINUX(BOOT, "boot.linux", "from the start of the program to /init", .mib = 0),

    LINUX(KERNEL, "kernel.getppid", "the cheapest system call", .mib = 0),
    LINUX(KERNEL, "kernel.page-fault", "first write to an anonymous page", .mib = 0),
    LINUX(KERNEL, "kernel.mmap", "mmap of 64 KiB, one touch, munmap", .mib = 0),
    LINUX(KERNEL, "kernel.fork", "fork, exit and wait", .mib = 0),
    LINUX(KERNEL, "kernel.exec", "fork, exec of busybox true, and wait", .mib = 0),
    LINUX(KERNEL, "kernel.pipe", "a byte there and back between two processes", .mib = 0),
    LINUX(KERNEL, "kernel.signal", "a signal to oneself, handled", .mib = 0),
    LINUX(KERNEL, "kernel.switch-2", "switch among 2 processes, 64 KiB touched each", .mib = 0),
    LINUX(KERNEL, "kernel.switch-4", "among 4", .mib = 0),
    LINUX(KERNEL, "kernel.switch-8", "among 8", .mib = 0),
    LINUX(KERNEL, "kernel.switch-16", "among 16", .mib = 0),
    LINUX(KERNEL, "kernel.file-write", "4 KiB into a file of tmpfs", .mib = 0),
    LINUX(KERNEL, "kernel.file-read", "4 KiB out of a file of tmpfs", .mib = 0),

    LINUX(PROGRAM, "int.bytecode", "an interpreter of bytecode", .mib = 0),
    LINUX(PROGRAM, "int.lz", "compression after LZ4, and back", .mib = 0),
    LINUX(PROGRAM, "int.sort", "quicksort", .mib = 0),
    LINUX(PROGRAM, "int.hash", "hashes and a hash table", .mib = 0),
    LINUX(PROGRAM, "int.sieve", "primes", .mib = 0),
    LINUX(PROGRAM, "int.fib", "recursive Fibonacci numbers", .mib = 0),
    LINUX(PROGRAM, "int.virtual", "methods of objects of eight classes", .mib = 0),
    LINUX(PROGRAM, "fp.nbody", "motion of five bodies", .mib = 0),
    LINUX(PROGRAM, "fp.linpack", "dense linear systems", .mib = 0),
    LINUX(PROGRAM, "fp.fft", "fast Fourier transforms", .mib = 0),
    LINUX(PROGRAM, "mem.stream", "copy, scale, add, triad over 48 MiB", .mib = 48),
    LINUX(PROGRAM, "mem.chase-16k", "a load from a chain of 16 KiB", .mib = 0),
    LINUX(PROGRAM, "mem.chase-256k", "from 256 KiB", .mib = 0),
    LINUX(PROGRAM, "mem.chase-4m", "from 4 MiB", .mib = 0),
    LINUX(PROGRAM, "mem.chase-32m", "from 32 MiB", .mib = 34),
    LINUX(PROGRAM, "mem.chase-256m", "from 256 MiB", .mib = 272, .long_only = true),
    LINUX(PROGRAM, "mem.random-32m", "a load and a store anywhere in 32 MiB", .mib = 32),
    LINUX(PROGRAM, "mem.random-512m", "anywhere in 512 MiB", .mib = 512, .long_only = true),
    LINUX(PROGRAM, "code.footprint", "8192 functions, 2 MiB of code", .mib = 0),
    LINUX(PROGRAM, "exec.shell", "a shell script of 1000 short processes", .mib = 0),
    LINUX(PROGRAM, "jit.compile", "functions written and run a hundred times", .mib = 0),
    LINUX(PROGRAM, "jit.patch", "an operand changed every hundred calls", .mib = 0),

    LINUX(GROWTH, "grow.memory-64", "boot of a guest with so many MiB", .guest_mib = 64, .size = 64),
    LINUX(GROWTH, "grow.memory-128", "boot of a guest with so many MiB", .guest_mib = 128, .size = 128, .long_only = true),
    LINUX(GROWTH, "grow.memory-256", "boot of a guest with so many MiB", .guest_mib = 256, .size = 256),
    LINUX(GROWTH, "grow.memory-512", "boot of a guest with so many MiB", .guest_mib = 512, .size = 512, .long_only = true),
    LINUX(GROWTH, "grow.memory-1024", "boot of a guest with so many MiB", .guest_mib = 1024, .size = 1024),
    LINUX(GROWTH, "grow.memory-2048", "boot of a guest with so many MiB", .guest_mib = 2048, .size = 2048, .long_only = true),
    LINUX(GROWTH, "grow.memory-3072", "boot of a guest with so many MiB", .guest_mib = 3072, .size = 3072, .long_only = true),
    LINUX(GROWTH, "grow.processes-2", "switch among so many processes, 64 KiB touched each", .size = 2),
    LINUX(GROWTH, "grow.processes-8", "switch among so many processes, 64 KiB touched each", .size = 8),
    LINUX(GROWTH, "grow.processes-16", "switch among so many processes, 64 KiB touched each", .size = 16, .long_only = true),
    LINUX(GROWTH, "grow.processes-32", "switch among so many processes, 64 KiB touched each", .size = 32),
    LINUX(GROWTH, "grow.processes-64", "switch among so many processes, 64 KiB touched each", .size = 64, .long_only = true),
    LINUX(GROWTH, "grow.processes-128", "switch among so many processes, 64 KiB touched each", .size = 128),
    LINUX(GROWTH, "grow.processes-200", "switch among so many processes, 64 KiB touched each", .size = 200, .long_only = true),
    LINUX(GROWTH, "grow.code-64k", "a call, with so much code in use (axis: KiB)", .mib = 8, .size = 64),
    LINUX(GROWTH, "grow.code-256k", "a call, with so much code in use (axis: KiB)", .mib = 8, .size = 256, .long_only = true),
    LINUX(GROWTH, "grow.code-1m", "a call, with so much code in use (axis: KiB)", .mib = 8, .size = 1024),
    LINUX(GROWTH, "grow.code-2m", "a call, with so much code in use (axis: KiB)", .mib = 8, .size = 2048, .long_only = true),
    LINUX(GROWTH, "grow.code-4m", "a call, with so much code in use (axis: KiB)", .mib = 8, .size = 4096, .long_only = true),
    LINUX(GROWTH, "grow.code-8m", "a call, with so much code in use (axis: KiB)", .mib = 8, .size = 8192),
    LINUX(GROWTH, "grow.cache-1536k", "2 MiB of code in changing order, with such a translation cache (axis: KiB)", .mib = 8, .cache_kib = 1536, .size = 1536, .long_only = true),
    LINUX(GROWTH, "grow.cache-2m", "2 MiB of code in changing order, with such a translation cache (axis: KiB)", .mib = 8, .cache_kib = 2048, .size = 2048),
    LINUX(GROWTH, "grow.cache-3m", "2 MiB of code in changing order, with such a translation cache (axis: KiB)", .mib = 8, .cache_kib = 3072, .size = 3072, .long_only = true),
    LINUX(GROWTH, "grow.cache-4m", "2 MiB of code in changing order, with such a translation cache (axis: KiB)", .mib = 8, .cache_kib = 4096, .size = 4096),
    LINUX(GROWTH, "grow.cache-5m", "2 MiB of code in changing order, with such a translation cache (axis: KiB)", .mib = 8, .cache_kib = 5120, .size = 5120, .long_only = true),
    LINUX(GROWTH, "grow.cache-6m", "2 MiB of code in changing order, with such a translation cache (axis: KiB)", .mib = 8, .cache_kib = 6144, .size = 6144),
    LINUX(GROWTH, "grow.cache-8m", "2 MiB of code in changing order, with such a translation cache (axis: KiB)", .mib = 8, .cache_kib = 8192, .size = 8192, .long_only = true),
    LINUX(GROWTH, "grow.cache-16m", "2 MiB of code in changing order, with such a translation cache (axis: KiB)", .mib = 8, .cache_kib = 16384, .size = 16384),
    LINUX(GROWTH, "grow.cycle-1536k", "the same in the same order again and again (axis: KiB)", .mib = 8, .cache_kib = 1536, .size = 1536, .long_only = true),
    LINUX(GROWTH, "grow.cycle-2m", "the same in the same order again and again (axis: KiB)", .mib = 8, .cache_kib = 2048, .size = 2048),
    LINUX(GROWTH, "grow.cycle-3m", "the same in the same order again and again (axis: KiB)", .mib = 8, .cache_kib = 3072, .size = 3072, .long_only = true),
    LINUX(GROWTH, "grow.cycle-4m", "the same in the same order again and again (axis: KiB)", .mib = 8, .cache_kib = 4096, .size = 4096),
    LINUX(GROWTH, "grow.cycle-5m", "the same in the same order again and again (axis: KiB)", .mib = 8, .cache_kib = 5120, .size = 5120, .long_only = true),
    LINUX(GROWTH, "grow.cycle-6m", "the same in the same order again and again (axis: KiB)", .mib = 8, .cache_kib = 6144, .size = 6144),
    LINUX(GROWTH, "grow.cycle-8m", "the same in the same order again and again (axis: KiB)", .mib = 8, .cache_kib = 8192, .size = 8192, .long_only = true),
    LINUX(GROWTH, "grow.cycle-16m", "the same in the same order again and again (axis: KiB)", .mib = 8, .cache_kib = 16384, .size = 16384),
};
const unsigned bench_row_count = sizeof bench_rows / sizeof *bench_rows;
_Static_assert(sizeof bench_rows / sizeof *bench_rows <= ROWS_MAX, "a selection holds all rows");

static const struct {
    const char *name, *title;
} sections[SECTION_COUNT] = {
    [SECTION_NANO] = {"nano", "Nanobenchmarks, TSC cycles an operation"},
    [SECTION_BOOT] = {"boot", "Boot"},
    [SECTION_KERNEL] = {"kernel", "A Linux guest's kernel, time an operation"},
    [SECTION_PROGRAM] = {"program", "Programs, time a run or a memory access"},
    [SECTION_GROWTH] = {"growth", "Growth, time a boot, a switch, a call"},
};

const char *section_name(enum section section) {
    assert(section < SECTION_COUNT);
    return sections[section].name;
}

const char *section_title(enum section section) {
    assert(section < SECTION_COUNT);
    return sections[section].title;
}

bool rows_are_alike(const struct row *a, const struct row *b) {
    size_t len = strcspn(a->name, "-");
    return a->section == b->section && a->size > 0 && b->size > 0 && len == strcspn(b->name, "-") &&
           !strncmp(a->name, b->name, len);
}

static bool in_group(const struct row *row, const char *word) {
    size_t len = strlen(word);
    return !strncmp(row->name, word, len) && row->name[len] == '.';
}

static bool fits(const struct row *row, const char *word, bool quick) {
    if (!strcmp(row->name, word))
        return true;
    if (quick && row->long_only)
        return false;
    return in_group(row, word) || !strcmp(section_name(row->section), word) ||
           !fnmatch(word, row->name, 0);
}

int rows_select(struct selection *selection, char **words, int count, bool quick,
                struct error *error) {
    bool taken[ROWS_MAX] = {false};
    for (int i = 0; i < count; i++) {
        bool known = false;
        for (unsigned k = 0; k < bench_row_count; k++) {
            known = known || fits(&bench_rows[k], words[i], false);
            taken[k] = taken[k] || fits(&bench_rows[k], words[i], quick);
        }
        if (!known)
            return error_set(error, "no row '%s' (see ring3 bench --list)", words[i]);
    }
    selection->count = 0;
    for (unsigned k = 0; k < bench_row_count; k++)
        if (count ? taken[k] : !(quick && bench_rows[k].long_only))
            selection->rows[selection->count++] = &bench_rows[k];
    if (!selection->count)
        return error_set(error, "--quick leaves out all of these rows, unless they are given "
                                "by their full names");
    return 0;
}

bool selection_has_section(const struct selection *selection, enum section section) {
    for (unsigned i = 0; i < selection->count; i++)
        if (selection->rows[i]->section == section)
            return true;
    return false;
}

void selection_drop_section(struct selection *selection, enum section section) {
    unsigned kept = 0;
    for (unsigned i = 0; i < selection->count; i++)
        if (selection->rows[i]->section != section)
            selection->rows[kept++] = selection->rows[i];
    selection->count = kept;
}

void rows_print(void) {
    for (unsigned i = 0; i < bench_row_count; i++)
        printf("%-8s %-20s %s%s\n", section_name(bench_rows[i].section), bench_rows[i].name,
               bench_rows[i].text, bench_rows[i].long_only ? " (not with --quick)" : "");
}
