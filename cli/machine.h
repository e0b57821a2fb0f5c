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
#include "runtime/inspection.h"
#include "runtime/sampler.h"
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
    struct sampler *sampler;
    struct byte_ring serial_in, serial_out, debug_out;
    struct channel serial, debug; /* of the two that go out */
    struct inspection inspection;
    volatile bool nmi_pressed;    /* by the monitor: an NMI is asked for */
};

struct machine_options {
    uint64_t memory; /* bytes of RAM */
    bool firmware;   /* with what firmware expects of the board */
    uint32_t trace_channels;
    uint64_t trace_records; /* of the ring, a power of two */
    bool flight_recorder;   /* the ring keeps the last records */
    uint32_t sample_rate;   /* samples a second; 0: none at first */
};

/* Builds a machine with its CPU in reset; its clock runs from clock_finish on. NULL with `error` filled when the host refuses. */
struct machine *machine_create(const struct machine_options *options, struct error *error);
void machine_destroy(struct machine *machine);

/* Loads the guest and puts the CPU at its entry. 0, or -1 with `error` filled. */
int machine_load(struct machine *machine, const struct load_options *load, struct error *error);

/* Puts firmware into the machine's ROM; the CPU stays in reset. 0, or -1 with `error` filled. */
int machine_load_firmware(struct machine *machine, const char *path, struct error *error);

/* The descriptors that the vCPU process keeps. Returns how many; at most MACHINE_FDS_MAX. */
#define MACHINE_FDS_MAX 5
unsigned machine_fds(const struct machine *machine, int fds[MACHINE_FDS_MAX]);

#endif
