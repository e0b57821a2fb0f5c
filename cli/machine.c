/* Building a machine: arena, memory, clock, rings, bus, devices, CPU, in the order in which each
 * needs the ones before; taken down in reverse. */
#include "cli/machine.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "loader/firmware.h"
#include "runtime/mmu.h"
#include "runtime/system.h"

#define TRACE_PATIENCE_MS 1000 /* how long the guest waits for a trace that is not read */
#define SERIAL_RING (64u << 10)
#define INPUT_RING (4u << 10)
/* The rings, the bus's table of ports, and what the devices take. */
#define ARENA_SIZE (sizeof(struct sampler) + 2 * SERIAL_RING + INPUT_RING + (1u << 20))

static void serial_notify(void *opaque) { channel_tell(&((struct machine *)opaque)->serial); }

static void debug_notify(void *opaque) { channel_tell(&((struct machine *)opaque)->debug); }

static void on_intr(void *opaque, bool asserted) {
    vcpu_set_intr(&((struct machine *)opaque)->vcpu, asserted);
}

static void on_reset(void *opaque) {
    vcpu_request_exit(&((struct machine *)opaque)->vcpu, EXIT_RESET, 0);
}

static void on_power_off(void *opaque) {
    vcpu_request_exit(&((struct machine *)opaque)->vcpu, EXIT_POWER_OFF, 0);
}

static void on_debug_exit(void *opaque, uint32_t value) {
    vcpu_request_exit(&((struct machine *)opaque)->vcpu, EXIT_DEBUG_PORT, value);
}

static void make_ring(struct machine *machine, struct byte_ring *ring, uint32_t size) {
    ring_init(ring, arena_alloc(&machine->arena, size, 64), size);
}

/* The wake-ups. 0, or a negative errno. */
static int make_events(struct machine *machine) {
    int *fds[] = {&machine->serial.event_fd, &machine->debug.event_fd, &machine->trace.notify_fd,
                  &machine->inspection.event_fd};
    for (unsigned i = 0; i < sizeof fds / sizeof *fds; i++)
        if ((*fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) < 0)
            return -errno;
    return 0;
}

static void wire_vcpu(struct machine *machine) {
    struct vcpu *v = &machine->vcpu;
    v->ram = &machine->ram;
    v->bus = &machine->bus;
    v->timers = &machine->timers;
    v->clock = &machine->clock;
    v->trace = &machine->trace;
    v->sampler = machine->sampler;
    machine->trace.guest = (struct trace_guest){&v->cpu.eip, &v->cpu.seg[SEG_CS].base,
                                                &v->cpu.paging.cr3, &v->cpu.mode};
    v->counters = &machine->counters;
    v->pic = pc_pic(machine->pc);
    v->inspection = &machine->inspection;
    vcpu_reset(v);
}

static void on_memory_changed(void *opaque) {
    mmu_memory_changed(&((struct machine *)opaque)->vcpu);
}

static void make_devices(struct machine *machine, uint64_t memory, bool firmware) {
    const struct pc_options options = {
        .ram_bytes = memory,
        .firmware_ram = firmware ? &machine->ram : NULL,
        .memory_changed = on_memory_changed,
        .opaque = machine,
        .set_intr = on_intr,
        .reset = on_reset,
        .power_off = on_power_off,
        .debug_exit = on_debug_exit,
        .serial_tx = &machine->serial_out,
        .serial_rx = &machine->serial_in,
        .serial_notify = serial_notify,
        .console = &machine->debug_out,
        .console_notify = debug_notify,
    };
    machine->pc = pc_create(&machine->arena, &machine->bus, &machine->timers, &machine->clock,
                            &machine->trace, &options);
}

static int fail(struct machine *machine, const char *what, int error_number, struct error *error) {
    error_set(error, "%s: %s", what, strerror(-error_number));
    machine_destroy(machine);
    return -1;
}

static void make_trace(struct machine *machine, const struct machine_options *options) {
    struct trace *trace = &machine->trace;
    trace->enabled = options->trace_channels;
    trace->overwrite = options->flight_recorder;
    trace->patience_ms = TRACE_PATIENCE_MS;
    trace_init(trace,
               arena_alloc(&machine->arena, options->trace_records * sizeof(struct trace_record), 64),
               options->trace_records);
}

static int build(struct machine *machine, const struct machine_options *options,
                 struct error *error) {
    machine->ram.fd = machine->serial.event_fd = machine->debug.event_fd = -1;
    machine->trace.notify_fd = machine->inspection.event_fd = -1;
    int rc = make_events(machine);
    if (rc)
        return fail(machine, "cannot make event descriptors", rc, error);
    rc = ram_create(&machine->ram, options->memory);
    if (rc) {
        machine->ram.fd = -1;
        return fail(machine, "cannot make guest memory", rc, error);
    }
    ram_add_video(&machine->ram);
    clock_begin(&machine->clock);
    timers_init(&machine->timers);
    make_trace(machine, options);
    machine->sampler = ARENA_NEW(&machine->arena, struct sampler);
    atomic_store(&machine->sampler->rate, options->sample_rate);
    make_ring(machine, &machine->serial_in, INPUT_RING);
    make_ring(machine, &machine->serial_out, SERIAL_RING);
    make_ring(machine, &machine->debug_out, SERIAL_RING);
    machine->serial.ring = &machine->serial_out;
    machine->debug.ring = &machine->debug_out;
    bus_init(&machine->bus, &machine->arena, &machine->trace, &machine->counters);
    make_devices(machine, options->memory, options->firmware);
    wire_vcpu(machine);
    return 0;
}

struct machine *machine_create(const struct machine_options *options, struct error *error) {
    struct arena arena;
    int rc = arena_create(&arena, ARENA_SIZE + options->trace_records * sizeof(struct trace_record));
    if (rc) {
        error_set(error, "cannot make the shared arena: %s", strerror(-rc));
        return NULL;
    }
    struct machine *machine = ARENA_NEW(&arena, struct machine);
    machine->arena = arena;
    return build(machine, options, error) ? NULL : machine;
}

void machine_destroy(struct machine *machine) {
    struct arena arena = machine->arena; /* the machine lies in it */
    assert(arena.base <= (uint8_t *)machine && (uint8_t *)machine < arena.base + arena.size);
    const int fds[] = {machine->serial.event_fd, machine->debug.event_fd, machine->trace.notify_fd,
                       machine->inspection.event_fd};
    if (machine->ram.fd >= 0)
        ram_destroy(&machine->ram);
    for (unsigned i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    arena_destroy(&arena);
}

int machine_load(struct machine *machine, const struct load_options *load, struct error *error) {
    struct load_result result;
    assert(machine->vcpu.exit == EXIT_NONE);
    struct table_register gdt;
    if (loader_load(load, &machine->ram, &result, &gdt, error))
        return -1;
    loader_enter(&machine->vcpu.cpu, &result, &gdt);
    return 0;
}

int machine_load_firmware(struct machine *machine, const char *path, struct error *error) {
    assert(machine->vcpu.exit == EXIT_NONE);
    return firmware_load(path, &machine->ram, error);
}

unsigned machine_fds(const struct machine *machine, int fds[MACHINE_FDS_MAX]) {
    fds[0] = machine->ram.fd;
    fds[1] = machine->serial.event_fd;
    fds[2] = machine->debug.event_fd;
    fds[3] = machine->trace.notify_fd;
    fds[4] = machine->inspection.event_fd;
    return 5;
}
