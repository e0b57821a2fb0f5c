/* The command line with an engine that executes no guest: it does what RING3_TEST_ENGINE names, so
 * that the monitor's side can be tested by itself. Never part of the product. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/run.h"
#include "runtime/bus.h"
#include "runtime/sandbox.h"

#define UART 0x3f8
#define UART_LSR 0x3fd
#define LSR_DATA 0x01u
#define LSR_ROOM 0x20u

static unsigned *boots; /* shared with every vCPU process */

static void on_attention(int signal) { (void)signal; }

/* Waits for SIGUSR1; false when the vCPU is to stop. */
static bool wait_for_attention(struct vcpu *v, const struct engine_options *options) {
    sigset_t none;
    sigemptyset(&none);
    if (v->exit == EXIT_NONE)
        ppoll(NULL, 0, NULL, &none);
    options->poll(options->poll_opaque);
    return v->exit == EXIT_NONE;
}

static bool send(struct vcpu *v, const struct engine_options *options, uint8_t byte) {
    while (!(bus_read(v->bus, UART_LSR, 1) & LSR_ROOM))
        if (!wait_for_attention(v, options))
            return false;
    bus_write(v->bus, UART, byte, 1);
    return true;
}

static void send_text(struct vcpu *v, const struct engine_options *options, const char *text) {
    while (*text && send(v, options, (uint8_t)*text))
        text++;
}

static void hear_nmi(struct vcpu *v, const struct engine_options *options) {
    send_text(v, options, "ready\n");
    while (!v->cpu.nmi_pending && wait_for_attention(v, options))
        continue;
    send_text(v, options, "NMI\n");
    vcpu_request_exit(v, EXIT_POWER_OFF, 0);
}

/* Sends back what comes in; 'q' powers off. */
static void echo(struct vcpu *v, const struct engine_options *options) {
    send_text(v, options, "ready\n");
    do {
        while (bus_read(v->bus, UART_LSR, 1) & LSR_DATA) {
            uint8_t byte = (uint8_t)bus_read(v->bus, UART, 1);
            if (!send(v, options, byte))
                return;
            if (byte == 'q')
                vcpu_request_exit(v, EXIT_POWER_OFF, 0);
        }
    } while (wait_for_attention(v, options));
}

static void flood(struct vcpu *v, const struct engine_options *options) {
    for (unsigned i = 0; i < 1000000; i++)
        if (!send(v, options, (uint8_t)('a' + i % 26)))
            return;
    vcpu_request_exit(v, EXIT_POWER_OFF, 0);
}

static void triple_fault(struct vcpu *v) {
    static const uint8_t code[] = {0x90, 0xb8, 0x78, 0x56, 0x34, 0x12, 0x0f, 0x0b, 0xf4};
    memcpy(ram_ptr(v->ram, 0x200000, sizeof code), code, sizeof code);
    v->cpu.eip = 0x200006;
    v->cpu.cr2 = 0xdeadbeef;
    v->fault = (struct guest_fault){.vector = VEC_UD};
    vcpu_request_exit(v, EXIT_TRIPLE_FAULT, 0);
}

static int act(struct vcpu *v, const struct engine_options *options, const char *what) {
    if (!strcmp(what, "hello")) {
        send_text(v, options, "hello\n");
        vcpu_request_exit(v, EXIT_POWER_OFF, 0);
    } else if (!strcmp(what, "echo")) {
        echo(v, options);
    } else if (!strcmp(what, "nmi")) {
        hear_nmi(v, options);
    } else if (!strcmp(what, "flood")) {
        flood(v, options);
    } else if (!strcmp(what, "deaf")) {
        send_text(v, options, "ready\n");
        for (;;)
            ppoll(NULL, 0, NULL, NULL);
    } else if (!strcmp(what, "crash")) {
        raise(SIGSEGV);
    } else if (!strcmp(what, "forbidden")) {
        open("/dev/null", O_RDONLY);
    } else if (!strcmp(what, "debug-exit")) {
        bus_write(v->bus, 0xf4, 5, 1);
    } else if (!strcmp(what, "debug-console")) {
        for (const char *text = "from 0xe9\n"; *text; text++)
            bus_write(v->bus, 0xe9, (uint8_t)*text, 1);
        vcpu_request_exit(v, EXIT_POWER_OFF, 0);
    } else if (!strcmp(what, "reset")) {
        send_text(v, options, "boot\n");
        vcpu_request_exit(v, ++*boots < 3 ? EXIT_RESET : EXIT_POWER_OFF, 0);
    } else if (!strcmp(what, "triple-fault")) {
        triple_fault(v);
    } else if (!strcmp(what, "unclaimed")) {
        bus_read(v->bus, 0xeeee, 1);
        vcpu_request_exit(v, EXIT_POWER_OFF, 0);
    } else if (!strcmp(what, "user-callout")) {
        v->cpu.paging.cr3 = 0x1000;
        plugins_callout(v, CALLOUT_mov_to_cr, 3, 0x2000);
        vcpu_request_exit(v, EXIT_POWER_OFF, 0);
    } else if (!strcmp(what, "errno")) {
        return -ENOMEM;
    }
    return 0;
}

static int fake_engine(struct vcpu *v, const struct engine_options *options) {
    struct sigaction action = {.sa_handler = on_attention};
    const char *what = getenv("RING3_TEST_ENGINE");
    sigaction(SIGUSR1, &action, NULL);
    int rc = 0;
#ifndef RING3_SANITIZED
    if (options->sandbox)
        rc = sandbox_enter(options->sandbox_rules);
#endif
    return rc ? rc : act(v, options, what ? what : "hello");
}

int main(int argc, char **argv) {
    boots = mmap(NULL, sizeof *boots, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return boots == MAP_FAILED ? 1 : cli_main(argc, argv, fake_engine);
}
