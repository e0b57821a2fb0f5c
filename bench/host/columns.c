/* The columns and their commands. */
#include "bench/host/columns.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum engine { ENGINE_HOST, ENGINE_RING3, ENGINE_QEMU };

static const struct {
    const char *name, *title, *accel;
    enum engine engine;
} columns[COLUMN_COUNT] = {
    [COLUMN_NATIVE] = {"native", "native", NULL, ENGINE_HOST},
    [COLUMN_RING3_BT] = {"ring3-bt", "ring3 bt", "bt", ENGINE_RING3},
    [COLUMN_RING3_KVM] = {"ring3-kvm", "ring3 kvm", "kvm", ENGINE_RING3},
    [COLUMN_QEMU_TCG] = {"qemu-tcg", "QEMU TCG", "tcg", ENGINE_QEMU},
    [COLUMN_QEMU_KVM] = {"qemu-kvm", "QEMU KVM", "kvm", ENGINE_QEMU},
};

const char *column_name(enum column_id id) {
    assert(id < COLUMN_COUNT);
    return columns[id].name;
}

const char *column_title(enum column_id id) {
    assert(id < COLUMN_COUNT);
    return columns[id].title;
}

bool column_has_row(const struct column *column, enum column_id id, const struct row *row) {
    if (!column->usable)
        return false;
    if (id == COLUMN_NATIVE)
        return row->section == SECTION_NANO ? row->plain : row->section != SECTION_BOOT && !row->guest_mib;
    if (row->cache_kib && id != COLUMN_RING3_BT)
        return false;
    /* Where an instruction takes half a microsecond, Linux does not boot in a useful time. */
    return !column->emulated || row->section == SECTION_NANO;
}

static void add(struct command *command, const char *word) {
    assert(command->argc + 1 < COMMAND_MAX);
    command->argv[command->argc++] = word;
    command->argv[command->argc] = NULL;
}

static void add_two(struct command *command, const char *option, const char *value) {
    add(command, option);
    add(command, value);
}

static void start_guest(struct command *command, enum column_id id, const struct places *places,
                        const char *kernel, const char *append, unsigned mib) {
    bool qemu = columns[id].engine == ENGINE_QEMU;
    snprintf(command->memory, sizeof command->memory, "%uM", mib);
    command->argc = 0;
    add(command, qemu ? places->qemu : places->self);
    if (!qemu)
        add(command, "run");
    add_two(command, "-accel", columns[id].accel);
    add_two(command, "-kernel", kernel);
    add_two(command, "-append", append);
    add_two(command, "-m", command->memory);
    add(command, "-no-reboot");
    if (!qemu)
        return;
    /* The same machine, as far as it goes: no disk, display or network. */
    add_two(command, "-display", "none");
    add_two(command, "-monitor", "none");
    add_two(command, "-serial", "stdio");
    add_two(command, "-vga", "none");
    add_two(command, "-net", "none");
    add_two(command, "-device", "isa-debug-exit,iobase=0xf4,iosize=1");
    if (id == COLUMN_QEMU_KVM)
        add_two(command, "-cpu", "host");
}

void command_nano(struct command *command, enum column_id id, const struct places *places,
                  const char *append) {
    assert(columns[id].engine != ENGINE_HOST);
    start_guest(command, id, places, places->nano, append, 64);
}

void command_linux(struct command *command, enum column_id id, const struct places *places,
                   const char *append, unsigned mib, unsigned cache_kib) {
    if (columns[id].engine == ENGINE_HOST) {
        command->argc = 0;
        add_two(command, places->program, "serve");
        return;
    }
    start_guest(command, id, places, places->kernel, append, mib);
    add_two(command, "-initrd", places->initramfs);
    if (!cache_kib)
        return;
    assert(columns[id].engine == ENGINE_RING3);
    snprintf(command->cache, sizeof command->cache, "cache=%uK", cache_kib);
    add_two(command, "-debug", command->cache);
}

void command_text(const struct command *command, char *text, unsigned size) {
    unsigned at = 0;
    *text = 0;
    for (unsigned i = 0; i < command->argc && at < size; i++)
        at += (unsigned)snprintf(text + at, size - at, "%s%s", i ? " " : "", command->argv[i]);
}
