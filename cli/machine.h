/* A machine as a value: everything that the monitor and the vCPU process share, built before the
 * fork. Two of them can live in one process. */
#ifndef RING3_CLI_MACHINE_H
#define RING3_CLI_MACHINE_H

#include "base/arena.h"
#include "base/error.h"
#include "cli/outlet.h"
#include "devices/pc.h"
#include "loader/loader.h"
#include "memory/ram.h"
#include "runtime/vcpu.h"

/* Lies in its own arena; `arena` describes the mapping it lies in. */
struct machine {
    struct arena arena;
    struct ram ram;
    struct clock clock;
    struct timers timers;
    struct trace trace;
    struct counters counters;
    struct bus bus;
    struct pc *pc;
    struct vcpu vcpu;
    struct byte_ring serial_in, serial_out, debug_out;
    struct channel serial, debug; /* of the two that go out */
    volatile bool nmi_pressed;    /* by the monitor: an NMI is asked for */
};

/* Builds a machine with `memory` bytes of RAM and its CPU in reset; `firmware`: with what firmware
 * expects of the board. NULL with `error` filled when the host refuses. */
struct machine *machine_create(uint64_t memory, bool firmware, uint32_t trace_channels,
                               struct error *error);
void machine_destroy(struct machine *machine);

/* Loads the guest and puts the CPU at its entry. 0, or -1 with `error` filled. */
int machine_load(struct machine *machine, const struct load_options *load, struct error *error);

/* Puts firmware into the machine's ROM; the CPU stays in reset. 0, or -1 with `error` filled. */
int machine_load_firmware(struct machine *machine, const char *path, struct error *error);

/* The descriptors that the vCPU process keeps. Returns how many; at most MACHINE_FDS_MAX. */
#define MACHINE_FDS_MAX 4
unsigned machine_fds(const struct machine *machine, int fds[MACHINE_FDS_MAX]);

#endif
