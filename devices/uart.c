/* A 16550A serial port: see uart.h. */
#include "devices/uart.h"

#include <assert.h>
#include <string.h>

#include "devices/port_bytes.h"
#include "devices/rate.h"

#define FIFO_SIZE 16
#define TX_RETRY_NS 1000000 /* a full tx ring is looked at again each millisecond */
#define BAUD_CLOCK_HZ 1843200
#define BITS_A_CHARACTER 10
#define TIMEOUT_CHARACTERS 4
#define TIMEOUT_NS_MAX (NS_PER_SECOND / 20)

enum uart_register {
    DATA, /* RBR, THR; DLL while DLAB is set */
    IER,  /* DLM while DLAB is set */
    IIR,  /* write: FCR */
    LCR,
    MCR,
    LSR,
    MSR,
    SCR,
    REGISTER_COUNT,
};
enum { IER_RDA = 0x01, IER_THRE = 0x02, IER_LINE = 0x04, IER_MODEM = 0x08, IER_WRITABLE = 0x0f };
enum {
    IIR_MODEM = 0x00,
    IIR_NONE = 0x01,
    IIR_THRE = 0x02,
    IIR_RDA = 0x04,
    IIR_LINE = 0x06,
    IIR_TIMEOUT = 0x0c,
    IIR_FIFOS = 0xc0,
};
enum { FCR_ENABLE = 0x01, FCR_CLEAR_RX = 0x02, FCR_CLEAR_TX = 0x04 };
enum { LCR_DLAB = 0x80 };
enum {
    MCR_DTR = 0x01,
    MCR_RTS = 0x02,
    MCR_OUT1 = 0x04,
    MCR_OUT2 = 0x08,
    MCR_LOOP = 0x10,
    MCR_WRITABLE = 0x1f,
};
enum { LSR_DR = 0x01, LSR_OE = 0x02, LSR_THRE = 0x20, LSR_TEMT = 0x40 };
enum { MSR_CTS = 0x10, MSR_DSR = 0x20, MSR_RI = 0x40, MSR_DCD = 0x80 };

struct fifo {
    uint8_t bytes[FIFO_SIZE];
    unsigned first, count;
};

struct uart {
    struct uart_options wiring;
    uint8_t ier, fcr, lcr, mcr, msr_deltas, scr;
    uint16_t divisor;
    bool overrun;
    bool thre_pending;    /* the transmitter-empty interrupt, until IIR is read */
    bool timeout_pending; /* the character time-out */
    struct fifo rx, tx;
    struct timer tx_timer, rx_timer;
    struct timers *timers;
    const struct clock *clock;
};

static void fifo_put(struct fifo *fifo, uint8_t byte) {
    assert(fifo->count < FIFO_SIZE);
    fifo->bytes[(fifo->first + fifo->count++) % FIFO_SIZE] = byte;
}

static uint8_t fifo_get(struct fifo *fifo) {
    assert(fifo->count != 0);
    uint8_t byte = fifo->bytes[fifo->first];
    fifo->first = (fifo->first + 1) % FIFO_SIZE;
    fifo->count--;
    return byte;
}

static bool fifos_enabled(const struct uart *uart) { return (uart->fcr & FCR_ENABLE) != 0; }
static bool in_loopback(const struct uart *uart) { return (uart->mcr & MCR_LOOP) != 0; }
static unsigned depth(const struct uart *uart) { return fifos_enabled(uart) ? FIFO_SIZE : 1; }

static unsigned trigger_level(const struct uart *uart) {
    static const uint8_t levels[4] = {1, 4, 8, 14};
    return fifos_enabled(uart) ? levels[uart->fcr >> 6] : 1;
}

/* The enabled interrupt of highest priority as IIR shows it (data sheet, table V). */
static uint8_t interrupt_id(const struct uart *uart) {
    if ((uart->ier & IER_LINE) && uart->overrun)
        return IIR_LINE;
    if ((uart->ier & IER_RDA) && uart->rx.count >= trigger_level(uart))
        return IIR_RDA;
    if ((uart->ier & IER_RDA) && uart->timeout_pending)
        return IIR_TIMEOUT;
    if ((uart->ier & IER_THRE) && uart->thre_pending)
        return IIR_THRE;
    if ((uart->ier & IER_MODEM) && uart->msr_deltas)
        return IIR_MODEM;
    return IIR_NONE;
}

static void update_interrupt(struct uart *uart) {
    bool gate = (uart->mcr & MCR_OUT2) && !in_loopback(uart);
    irq_set(&uart->wiring.irq, gate && interrupt_id(uart) != IIR_NONE);
}

/* Four character times at the programmed rate, within reason. */
static uint64_t timeout_ns(const struct uart *uart) {
    uint64_t divisor = uart->divisor != 0 ? uart->divisor : 1;
    uint64_t clocks = divisor * 16 * BITS_A_CHARACTER * TIMEOUT_CHARACTERS;
    uint64_t ns = rate_ns(clocks, BAUD_CLOCK_HZ);
    return ns < TIMEOUT_NS_MAX ? ns : TIMEOUT_NS_MAX;
}

/* "The most recent character was received, or the FIFO read, more than 4 character times ago":
 * called when either happens. */
static void restart_timeout(struct uart *uart) {
    uart->timeout_pending = false;
    bool wanted = fifos_enabled(uart) && uart->rx.count != 0;
    timer_arm(uart->timers, &uart->rx_timer,
              wanted ? clock_now(uart->clock) + timeout_ns(uart) : TIMER_NEVER);
}

static void rx_timer_fired(void *opaque) {
    struct uart *uart = opaque;
    uart->timeout_pending = fifos_enabled(uart) && uart->rx.count != 0;
    update_interrupt(uart);
}

/* Fills the receive FIFO from the ring; in loopback the line is cut off. */
static void receive(struct uart *uart) {
    unsigned before = uart->rx.count;
    while (!in_loopback(uart) && uart->rx.count < depth(uart)) {
        uint8_t byte;
        if (ring_read(uart->wiring.rx, &byte, 1) == 0)
            break;
        fifo_put(&uart->rx, byte);
    }
    if (uart->rx.count != before)
        restart_timeout(uart);
}

/* A byte comes back in loopback. */
static void receive_looped(struct uart *uart, uint8_t byte) {
    if (uart->rx.count >= depth(uart)) {
        uart->overrun = true;
        if (fifos_enabled(uart))
            return; /* the FIFO stays, the byte in the shift register is lost */
        fifo_get(&uart->rx);
    }
    fifo_put(&uart->rx, byte);
    restart_timeout(uart);
}

/* Empties the transmit FIFO as far as the ring has room. */
static void transmit(struct uart *uart) {
    bool wake = false;
    bool had_bytes = uart->tx.count != 0;
    while (uart->tx.count != 0) {
        uint8_t byte = uart->tx.bytes[uart->tx.first];
        bool caught_up = false;
        if (in_loopback(uart))
            receive_looped(uart, byte);
        else if (ring_write_wake(uart->wiring.tx, &byte, 1, &caught_up) == 0)
            break;
        wake |= caught_up;
        fifo_get(&uart->tx);
    }
    if (had_bytes && uart->tx.count == 0)
        uart->thre_pending = true;
    uint64_t retry = uart->tx.count != 0 ? clock_now(uart->clock) + TX_RETRY_NS : TIMER_NEVER;
    timer_arm(uart->timers, &uart->tx_timer, retry);
    if (wake && uart->wiring.notify)
        uart->wiring.notify(uart->wiring.opaque);
}

static void tx_timer_fired(void *opaque) {
    struct uart *uart = opaque;
    transmit(uart);
    update_interrupt(uart);
}

void uart_poll(struct uart *uart) {
    transmit(uart);
    receive(uart);
    update_interrupt(uart);
}

static uint8_t line_status(const struct uart *uart) {
    uint8_t lsr = 0;
    if (uart->rx.count != 0)
        lsr |= LSR_DR;
    if (uart->overrun)
        lsr |= LSR_OE;
    if (uart->tx.count == 0)
        lsr |= LSR_THRE | LSR_TEMT;
    return lsr;
}

/* The modem's lines; in loopback they are our own outputs. */
static uint8_t modem_lines(const struct uart *uart) {
    if (!in_loopback(uart))
        return MSR_CTS | MSR_DSR | MSR_DCD;
    uint8_t mcr = uart->mcr;
    return (uint8_t)((mcr & MCR_RTS ? MSR_CTS : 0) | (mcr & MCR_DTR ? MSR_DSR : 0) |
                     (mcr & MCR_OUT1 ? MSR_RI : 0) | (mcr & MCR_OUT2 ? MSR_DCD : 0));
}

static void write_modem_control(struct uart *uart, uint8_t value) {
    uint8_t before = modem_lines(uart);
    uart->mcr = value & MCR_WRITABLE;
    uint8_t after = modem_lines(uart), changed = before ^ after;
    /* The ring indicator reports its trailing edge only. */
    if (!(before & MSR_RI))
        changed &= (uint8_t)~MSR_RI;
    uart->msr_deltas |= changed >> 4;
    transmit(uart);
    receive(uart);
}

static void write_fifo_control(struct uart *uart, uint8_t value) {
    bool toggled = ((value ^ uart->fcr) & FCR_ENABLE) != 0;
    if (toggled || (value & FCR_CLEAR_RX)) {
        uart->rx = (struct fifo){0};
        restart_timeout(uart);
    }
    if ((toggled || (value & FCR_CLEAR_TX)) && uart->tx.count != 0) {
        uart->tx = (struct fifo){0};
        uart->thre_pending = true;
        transmit(uart); /* stops the timer */
    }
    /* "Must be a 1 when other FCR bits are written to or they will not be programmed" */
    uart->fcr = value & FCR_ENABLE ? value & 0xc9 : 0;
    receive(uart);
}

static void write_data(struct uart *uart, uint8_t value) {
    if (uart->lcr & LCR_DLAB) {
        uart->divisor = (uint16_t)((uart->divisor & 0xff00) | value);
        return;
    }
    uart->thre_pending = false;
    assert(uart->tx.count <= FIFO_SIZE);
    if (uart->tx.count >= depth(uart))
        return; /* the driver did not wait for THRE: the byte is lost, as in the chip */
    fifo_put(&uart->tx, value);
    transmit(uart);
}

static void write_interrupt_enable(struct uart *uart, uint8_t value) {
    if (uart->lcr & LCR_DLAB) {
        uart->divisor = (uint16_t)((uart->divisor & 0x00ff) | value << 8);
        return;
    }
    bool thre_enabled = (value & ~uart->ier & IER_THRE) != 0;
    uart->ier = value & IER_WRITABLE;
    if (thre_enabled && uart->tx.count == 0)
        uart->thre_pending = true;
}

static void uart_write(void *device, uint16_t port, uint32_t value, unsigned size) {
    struct uart *uart = device;
    if (size > 1) {
        port_write_bytes(uart_write, device, port, value, size);
        return;
    }
    uint8_t byte = (uint8_t)value;
    switch (port - uart->wiring.port) {
    case DATA:
        write_data(uart, byte);
        break;
    case IER:
        write_interrupt_enable(uart, byte);
        break;
    case IIR:
        write_fifo_control(uart, byte);
        break;
    case LCR:
        uart->lcr = byte;
        break;
    case MCR:
        write_modem_control(uart, byte);
        break;
    case SCR:
        uart->scr = byte;
        break;
    default:
        return; /* LSR and MSR are for factory tests; the rest is not ours */
    }
    update_interrupt(uart);
}

static uint8_t read_data(struct uart *uart) {
    if (uart->lcr & LCR_DLAB)
        return (uint8_t)uart->divisor;
    if (uart->rx.count == 0)
        return 0;
    uint8_t byte = fifo_get(&uart->rx);
    restart_timeout(uart);
    receive(uart);
    return byte;
}

static uint8_t read_interrupt_id(struct uart *uart) {
    uint8_t id = interrupt_id(uart);
    if (id == IIR_THRE)
        uart->thre_pending = false;
    return id | (fifos_enabled(uart) ? IIR_FIFOS : 0);
}

static uint8_t read_modem_status(struct uart *uart) {
    uint8_t value = modem_lines(uart) | uart->msr_deltas;
    uart->msr_deltas = 0;
    return value;
}

static uint32_t uart_read(void *device, uint16_t port, unsigned size) {
    struct uart *uart = device;
    if (size > 1)
        return port_read_bytes(uart_read, device, port, size);
    uint8_t value;
    switch (port - uart->wiring.port) {
    case DATA:
        value = read_data(uart);
        break;
    case IER:
        value = uart->lcr & LCR_DLAB ? (uint8_t)(uart->divisor >> 8) : uart->ier;
        break;
    case IIR:
        value = read_interrupt_id(uart);
        break;
    case LCR:
        return uart->lcr;
    case MCR:
        return uart->mcr;
    case LSR:
        value = line_status(uart);
        uart->overrun = false;
        break;
    case MSR:
        value = read_modem_status(uart);
        break;
    case SCR:
        return uart->scr;
    default:
        return PORT_FLOATING;
    }
    update_interrupt(uart);
    return value;
}

struct uart *uart_create(struct arena *arena, struct bus *bus, struct timers *timers,
                         const struct clock *clock, const struct uart_options *options) {
    assert(options->tx && options->rx && options->name);
    struct uart *uart = ARENA_NEW(arena, struct uart);
    uart->wiring = *options;
    uart->divisor = 1; /* 115200 baud, as firmware leaves it */
    uart->timers = timers;
    uart->clock = clock;
    timer_add(timers, &uart->tx_timer, "uart tx", tx_timer_fired, uart);
    timer_add(timers, &uart->rx_timer, "uart rx", rx_timer_fired, uart);
    bus_claim(bus, options->name, options->port, REGISTER_COUNT, uart_read, uart_write, uart);
    return uart;
}
