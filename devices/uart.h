/* A 16550A serial port between two byte rings.
 *
 * Sent bytes go to the tx ring at once, without the pace of a baud rate. When that ring is full
 * they stay in the transmit FIFO and THRE stays clear until there is room: a driver that looks
 * at THRE loses nothing. Received bytes wait in the rx ring until the receive FIFO has room, so
 * input never overruns. The modem at the other end is always there: DCD, DSR and CTS are set.
 * Registers after the PC16550D data sheet; as on a PC, OUT2 gates the interrupt. */
#ifndef RING3_DEVICES_UART_H
#define RING3_DEVICES_UART_H

#include "base/arena.h"
#include "base/clock.h"
#include "base/ring.h"
#include "base/timer.h"
#include "runtime/bus.h"

#define UART_COM1_PORT 0x3f8
#define UART_COM1_IRQ 4

struct uart;

struct uart_options {
    const char *name;
    uint16_t port;
    struct irq_line irq;
    struct byte_ring *tx, *rx;
    void (*notify)(void *opaque); /* the reader of `tx` may be asleep; or NULL */
    void *opaque;
};

struct uart *uart_create(struct arena *arena, struct bus *bus, struct timers *timers,
                         const struct clock *clock, const struct uart_options *options);
/* Looks at both rings; the run loop calls it when the monitor asked for attention. */
void uart_poll(struct uart *uart);

#endif
