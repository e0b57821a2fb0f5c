/* The PC around the CPU: see pc.h. */
#include "devices/pc.h"

#include <assert.h>

#include "base/acpi_ports.h"
#include "devices/acpi_pm.h"
#include "devices/debug_console.h"
#include "devices/debug_exit.h"
#include "devices/fw_cfg.h"
#include "devices/host_bridge.h"
#include "devices/i8042.h"
#include "devices/isa_pnp.h"
#include "devices/pci.h"
#include "devices/pic.h"
#include "devices/pit.h"
#include "devices/port92.h"
#include "devices/post.h"
#include "devices/rtc.h"
#include "devices/uart.h"

enum { IRQ_PIT = 0, IRQ_KEYBOARD = 1, IRQ_INJECTED = 5, IRQ_RTC = 8, IRQ_MOUSE = 12 };

/* The chips that the outside has to reach again; the others live on the bus alone. */
struct pc {
    struct pic *pic;
    struct rtc *rtc;
    struct uart *com1;
};

static struct uart *create_com1(struct arena *arena, struct bus *bus, struct timers *timers,
                                const struct clock *clock, struct pic *pic,
                                const struct pc_options *options) {
    struct uart_options wiring = {
        .name = "com1",
        .port = UART_COM1_PORT,
        .irq = pic_line(pic, UART_COM1_IRQ),
        .tx = options->serial_tx,
        .rx = options->serial_rx,
        .notify = options->serial_notify,
        .opaque = options->opaque,
    };
    return uart_create(arena, bus, timers, clock, &wiring);
}

static void create_console(struct arena *arena, struct bus *bus, const struct pc_options *options) {
    struct debug_console_options wiring = {
        .ring = options->console,
        .notify = options->console_notify,
        .opaque = options->opaque,
    };
    debug_console_create(arena, bus, &wiring);
}

static void create_pci(struct arena *arena, struct bus *bus, struct pulse reset,
                       const struct pc_options *options) {
    if (!options->firmware_ram) {
        pci_create(arena, bus, reset, NULL);
        return;
    }
    struct host_bridge_options wiring = {
        .ram = options->firmware_ram,
        .memory_changed = options->memory_changed,
        .opaque = options->opaque,
    };
    struct pci_function function = host_bridge_function(host_bridge_create(arena, &wiring));
    pci_create(arena, bus, reset, &function);
}

struct pc *pc_create(struct arena *arena, struct bus *bus, struct timers *timers,
                     struct clock *clock, struct trace *trace, const struct pc_options *options) {
    assert(options->set_intr && options->debug_exit && options->reset && options->power_off);
    assert(options->serial_tx && options->serial_rx);
    struct pulse reset = {options->reset, options->opaque};
    struct pulse power_off = {options->power_off, options->opaque};

    struct pc *pc = ARENA_NEW(arena, struct pc);
    struct pic *pic = pic_create(arena, bus, options->set_intr, options->opaque);
    pc->pic = pic;
    pc->rtc = rtc_create(arena, bus, timers, clock, pic_line(pic, IRQ_RTC), options->ram_bytes);
    pc->com1 = create_com1(arena, bus, timers, clock, pic, options);
    pit_create(arena, bus, timers, clock, pic_line(pic, IRQ_PIT));
    i8042_create(arena, bus, pic_line(pic, IRQ_KEYBOARD), pic_line(pic, IRQ_MOUSE), reset);
    acpi_pm_create(arena, bus, timers, clock, trace, pic_line(pic, ACPI_SCI_IRQ), power_off);
    port92_create(arena, bus, reset);
    create_pci(arena, bus, reset, options);
    if (options->firmware_ram)
        fw_cfg_create(arena, bus, options->ram_bytes);
    post_create(arena, bus, trace);
    debug_exit_create(arena, bus, options->debug_exit, options->opaque);
    create_console(arena, bus, options);
    isa_pnp_create(arena, bus);
    return pc;
}

struct pic_port pc_pic(struct pc *pc) {
    return (struct pic_port){.acknowledge = pic_acknowledge, .pic = pc->pic};
}

void pc_poll(struct pc *pc) { uart_poll(pc->com1); }

bool pc_nmi_masked(const struct pc *pc) { return rtc_nmi_masked(pc->rtc); }

/* The line stays high: a request that is withdrawn before INTA would be gone. */
void pc_inject(void *opaque) {
    struct pc *pc = opaque;
    pic_set_line(pc->pic, IRQ_INJECTED, 0);
    pic_set_line(pc->pic, IRQ_INJECTED, 1);
}
