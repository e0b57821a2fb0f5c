/* Running machines: build, load, fork, watch, report; once for each boot.
 *
 *     machine_create -> machine_load -> fork -+- vCPU process: engine
 *                                             `- monitor_run -> outcome -> exit status
 */
#include "cli/run.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/machine.h"
#include "cli/monitor.h"
#include "cli/observatory.h"
#include "cli/names.h"
#include "cli/report.h"
#include "cli/rows.h"
#include "cli/stats.h"
#include "cli/terminal.h"
#include "cli/watching.h"
#include "inspect/gdb.h"
#include "kvm/kvm.h"
#include "loader/kernel_cache.h"
#include "runtime/instrument.h"
#include "runtime/sandbox.h"

/* What lasts over the boots of one command. */
struct session {
    const struct options *options;
    engine_fn engine;
    struct plugins plugins;
    struct names names;
    int serial_fd; /* -1: serial output vanishes */
    int debug_fd;  /* of the debug console, likewise */
    bool has_input, input_is_tty;
    int signal_fd;
    sigset_t old_mask;
    struct stats stats;
    struct watching watching;
    bool reboot;   /* the last machine asked to be started again */
    int signal;    /* the signal that ended the session, or 0 */
    struct sources sources;
    struct target target;
    struct gdb *gdb; /* NULL: nobody may debug */
    struct observatory observatory;
    uint8_t *rows; /* of the instruction table, executed by the current machine; or NULL */
};

static int prepare_plugins(struct session *session, struct error *error) {
    const struct options *options = session->options;
    struct plugins *plugins = &session->plugins;
    plugins->symbols = (struct symbol_source){names_find, &session->names};
    for (unsigned i = 0; i < options->callout_count; i++)
        if (plugins_add_callout(plugins, options->callouts[i], error))
            return -1;
    for (unsigned i = 0; i < options->plugin_count; i++)
        if (plugins_load(plugins, options->plugins[i], error))
            return -1;
    return 0;
}

/* The descriptor that an output goes to, -1: none. */
static int open_output(const struct output *output, const char *option, int *fd,
                       struct error *error) {
    static const int standard[] = {[OUTPUT_STDIO] = STDOUT_FILENO,
                                   [OUTPUT_STDERR] = STDERR_FILENO,
                                   [OUTPUT_FILE] = -1,
                                   [OUTPUT_NONE] = -1};
    *fd = standard[output->kind];
    if (output->kind != OUTPUT_FILE)
        return 0;
    *fd = open(output->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    return *fd < 0 ? error_set(error, "--%s '%s': %s", option, output->path, strerror(errno)) : 0;
}

static int prepare_outputs(struct session *session, struct error *error) {
    const struct options *options = session->options;
    if (open_output(&options->serial, "serial", &session->serial_fd, error) ||
        open_output(&options->debugcon, "debugcon", &session->debug_fd, error))
        return -1;
    if (options->serial.kind == OUTPUT_STDIO) {
        session->has_input = true;
        session->input_is_tty = isatty(STDIN_FILENO);
    }
    return 0;
}

/* The vCPU process from here on ends with its parent, hears no terminal, and has the machine's
 * descriptors and standard error. 0, or a negative errno. */
static int settle_in_child(const struct machine *machine, const struct plugins *plugins,
                           pid_t monitor) {
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGTSTP};
    int fds[MACHINE_FDS_MAX + PLUGIN_OUTPUTS_MAX];
    if (prctl(PR_SET_PDEATHSIG, SIGKILL))
        return -errno;
    if (getppid() != monitor)
        return -ESRCH;
    terminal_forget();
    for (unsigned i = 0; i < sizeof ignored / sizeof *ignored; i++)
        signal(ignored[i], SIG_IGN);
    unsigned count = machine_fds(machine, fds);
    return sandbox_close_fds(fds, count + plugins_fds(plugins, fds + count));
}

static struct sandbox_rules sandbox_rules_for(const struct machine *machine,
                                              const struct plugins *plugins, pid_t monitor) {
    struct sandbox_rules rules = {
        .write_fds = {STDERR_FILENO, machine->serial.event_fd, machine->debug.event_fd,
                      machine->trace.notify_fd, machine->inspection.event_fd},
        .write_fd_count = 5,
        .signal_pids = {monitor},
        .signal_pid_count = 1,
    };
    static_assert(8 + PLUGIN_OUTPUTS_MAX <= SANDBOX_FDS_MAX, "every output has its rule");
    rules.write_fd_count += plugins_fds(plugins, rules.write_fds + rules.write_fd_count);
    return rules;
}

/* Port 70h gates all sources of NMIs. */
static void raise_nmi(void *opaque) {
    struct machine *machine = opaque;
    if (!pc_nmi_masked(machine->pc))
        vcpu_raise_nmi(&machine->vcpu);
}

static void poll_devices(void *opaque) {
    struct machine *machine = opaque;
    pc_poll(machine->pc);
    if (machine->nmi_pressed)
        raise_nmi(machine);
    machine->nmi_pressed = false;
}


static void fail_in_child(struct vcpu *v, const char *what, int error_number) {
    if (v->exit != EXIT_NONE)
        return;
    vcpu_request_exit(v, EXIT_HOST_FAILURE, 0);
    snprintf(v->exit_text, sizeof v->exit_text, "%s: %s", what, strerrordesc_np(-error_number));
}

static _Noreturn void vcpu_process(struct session *session, struct machine *machine,
                                   pid_t monitor) {
    struct vcpu *v = &machine->vcpu;
    int rc = settle_in_child(machine, &session->plugins, monitor); /* the monitor may have asked for the end already */
    if (rc) {
        fail_in_child(v, "the vCPU process cannot be set up", rc);
        _exit(0);
    }
    struct sandbox_rules rules = sandbox_rules_for(machine, &session->plugins, monitor);
    struct engine_options engine = session->options->engine;
    engine.sandbox_rules = &rules;
    engine.poll = poll_devices;
    engine.poll_opaque = machine;
    engine.rows = session->rows;
    engine.tables = observatory_tables(&session->observatory);
    engine.perf_map = session->options->trace.perf_map;
    if (session->options->inject) {
        engine.inject.raise = engine.inject.nmi ? raise_nmi : pc_inject;
        engine.inject.opaque = engine.inject.nmi ? (void *)machine : machine->pc;
    }
    rc = session->engine(v, &engine);
    if (rc)
        fail_in_child(v, "the engine failed", rc);
    _exit(0);
}

/* How the vCPU process ended, when not by saying so in v->exit. */
static int report_death(const struct vcpu *v, const struct monitor *monitor) {
    int status = monitor->wait_status;
    if (monitor->killed) {
        report_line("the vCPU process did not stop within %d ms and was killed", STOP_PATIENCE_MS);
        return STATUS_HOST_FAILURE;
    }
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
        report_line("the vCPU process made a system call that its sandbox forbids, and was killed");
    else if (WIFSIGNALED(status))
        report_line("the vCPU process was killed by SIG%s (%s)%s", sigabbrev_np(WTERMSIG(status)),
                    sigdescr_np(WTERMSIG(status)),
                    WTERMSIG(status) == SIGBUS ? ": is the host out of memory?" : "");
    else
        report_line("the vCPU process ended unexpectedly, status %d", WEXITSTATUS(status));
    fprintf(stderr, "registers as last stored:\n");
    report_registers(v);
    return STATUS_HOST_FAILURE;
}

/* KVM does not tell what it could not deliver. */
static void report_triple_fault(const struct session *session, const struct vcpu *v) {
    if (session->options->accel == ACCEL_KVM)
        report_line("triple fault: the guest could not handle an exception%s", v->exit_text);
    else
        report_line("triple fault: the guest could not handle an exception (last: vector %u, "
                    "error code %x)",
                    v->fault.vector, v->fault.error);
}

/* What the vCPU said, printed and turned into an exit status. */
static int conclude(struct session *session, const struct vcpu *v) {
    assert(v->exit != EXIT_NONE);
    switch (v->exit) {
    case EXIT_RESET:
        session->reboot = !session->options->no_reboot;
        return STATUS_OK;
    case EXIT_POWER_OFF:
    case EXIT_QUIT:
        return STATUS_OK;
    case EXIT_DEBUG_PORT:
        return (int)(v->exit_value << 1 | 1) & 0xff;
    case EXIT_TRIPLE_FAULT:
        report_triple_fault(session, v);
        report_machine(v);
        return STATUS_TRIPLE_FAULT;
    case EXIT_HOST_FAILURE:
        report_line("host failure: %s", v->exit_text);
        report_machine(v);
        break;
    case EXIT_NONE:
        break; /* told apart before, as a death */
    }
    return STATUS_HOST_FAILURE;
}

static const char *exit_name(const struct vcpu *v, bool died) {
    static const char *const names[] = {
        [EXIT_NONE] = "nothing",
        [EXIT_POWER_OFF] = "power-off",
        [EXIT_RESET] = "reset",
        [EXIT_DEBUG_PORT] = "debug port",
        [EXIT_TRIPLE_FAULT] = "triple fault",
        [EXIT_HOST_FAILURE] = "host failure",
        [EXIT_QUIT] = "request",
    };
    assert(died || v->exit < sizeof names / sizeof *names);
    return died ? "death of the vCPU process" : names[v->exit];
}

/* Watches a vCPU process to its end. Returns the exit status. */
static int watch(struct session *session, struct machine *machine, pid_t pid) {
    struct monitor monitor = {
        .vcpu_pid = pid,
        .vcpu = &machine->vcpu,
        .trace = session->watching.trace,
        .signal_fd = session->signal_fd,
        .input_fd = session->has_input ? STDIN_FILENO : -1,
        .input_is_tty = session->input_is_tty,
        .input_ring = &machine->serial_in,
        .nmi_button = session->options->accel == ACCEL_BT ? &machine->nmi_pressed : NULL,
        .serial = {.channel = &machine->serial, .fd = session->serial_fd, .name = "serial output"},
        .debug = {.channel = &machine->debug, .fd = session->debug_fd, .name = "debug console"},
        .sources = &session->sources,
        .target = &session->target,
    };
    uint64_t start = clock_now(&machine->clock);
    target_started(&session->target, pid);
    watching_start(&session->watching, pid);
    observatory_start(&session->observatory, &session->sources, &session->target, &monitor.serial);
    monitor_run(&monitor);
    target_detach(&session->target);
    watching_stop(&session->watching);
    const struct vcpu *v = &machine->vcpu;
    bool died = !WIFEXITED(monitor.wait_status) || WEXITSTATUS(monitor.wait_status) ||
                v->exit == EXIT_NONE || v->exit > EXIT_QUIT;
    session->signal = monitor.signal;
    stats_add(&session->stats, &machine->counters, &v->cpu, &monitor.usage,
              (double)(clock_now(&machine->clock) - start) / 1e9);
    session->stats.exit = exit_name(v, died);
    observatory_stop(&session->observatory, session->stats.exit);
    if (session->input_is_tty && died)
        fputc('\n', stderr);
    int status = died ? report_death(v, &monitor) : conclude(session, v);
    return monitor.write_failed ? STATUS_HOST_FAILURE : status;
}

static void give_plugins(struct session *session, struct machine *machine) {
    struct plugins *plugins = &session->plugins;
    plugins->boot++;
    plugins->range_count = 0; /* the machine's own memory, and what the engine will name */
    plugins_protect(plugins, machine->arena.base, machine->arena.size);
    instrument_protect(plugins);
    if (plugins->count)
        machine->vcpu.plugins = plugins;
}

/* Writes what the plugins' outputs hold. Returns the exit status. */
static int flush_plugins(struct session *session, int status) {
    struct error error;
    if (!plugins_flush(&session->plugins, &error))
        return status;
    report_line("%s", error.text);
    return STATUS_HOST_FAILURE;
}

static int load_guest(const struct options *options, struct machine *machine,
                      struct error *error) {
    char cache[PATH_MAX];
    struct load_options load = options->load;
    if (options->firmware)
        return machine_load_firmware(machine, options->firmware, error);
    if (options->keep_unpacked && kernel_cache_directory(cache, sizeof cache))
        load.cache = cache;
    return machine_load(machine, &load, error);
}

/* One boot. Returns the exit status. */
static int run_once(struct session *session) {
    const struct options *options = session->options;
    struct error error;
    struct machine_options wanted = {
        .memory = options->memory,
        .firmware = options->firmware != NULL,
    };
    watching_want(&session->watching, &wanted);
    struct machine *machine = machine_create(&wanted, &error);
    if (!machine) {
        report_line("%s", error.text);
        return STATUS_HOST_FAILURE;
    }
    int status = STATUS_BAD_INPUT;
    pid_t monitor = getpid(), pid = -1;
    int rc = load_guest(options, machine, &error);
    if (!rc) /* the TSC's rate was measured meanwhile */
        clock_finish(&machine->clock);
    if (!rc)
        rc = observatory_prepare(&session->observatory, machine, options, &error);
    if (rc) {
        report_line("%s", error.text);
    } else {
        give_plugins(session, machine);
        if (*options->rows_path)
            session->rows = rows_create(&machine->arena);
        watching_attach(&session->watching, machine);
        target_attach(&session->target, &machine->vcpu);
        fflush(NULL);
        pid = fork();
        if (!pid)
            vcpu_process(session, machine, monitor);
        if (pid < 0) {
            report_line("cannot fork: %s", strerror(errno));
            target_detach(&session->target);
        }
        status = pid < 0 ? STATUS_HOST_FAILURE : watch(session, machine, pid);
        status = flush_plugins(session, status);
        rc = session->rows ? rows_append(session->rows, options->rows_path) : 0;
        if (rc) {
            report_line("--debug 'rows=%s': %s", options->rows_path, strerror(-rc));
            status = STATUS_HOST_FAILURE;
        }
    }
    machine_destroy(machine);
    observatory_release(&session->observatory);
    return status;
}

static int run_boots(struct session *session) {
    int status;
    session->signal_fd = monitor_block_signals(&session->old_mask);
    if (session->signal_fd < 0) {
        report_line("cannot make a signal descriptor: %s", strerror(-session->signal_fd));
        return STATUS_HOST_FAILURE;
    }
    if (session->input_is_tty)
        terminal_enter_raw();
    do {
        session->reboot = false;
        status = run_once(session);
    } while (session->reboot && !session->signal);
    terminal_restore();
    close(session->signal_fd);
    return status;
}

/* Ends the process by the signal that it was asked to end by, so that its parent sees that. */
static void die_of(const struct session *session) {
    assert(session->signal > 0);
    fflush(NULL);
    signal(session->signal, SIG_DFL);
    sigprocmask(SIG_SETMASK, &session->old_mask, NULL);
    raise(session->signal);
}

/* Looks at /dev/kvm and says what it is. 0, or -1 with `error` filled. */
static int prepare_kvm(struct session *session, struct error *error) {
    struct kvm_quality quality;
    if (kvm_try(&quality, error))
        return -1;
    session->engine = kvm_engine_run;
    report_line("/dev/kvm %s: %llu cycles for two simple instructions%s",
                quality.emulated ? "emulates" : "is hardware",
                (unsigned long long)quality.pair_cycles,
                quality.paging ? "" : "; it refuses 32-bit paging, which most kernels need");
    return 0;
}

static void say(const char *line) { report_line("%s", line); }

static int prepare_inspection(struct session *session, struct error *error) {
    const struct options *options = session->options;
    session->target.start_stopped = options->start_stopped;
    if (options->gdb)
        session->gdb = gdb_open(options->gdb, &session->target, &session->sources, say, error);
    return options->gdb && !session->gdb ? -1 : 0;
}

int run_machine(const struct options *options, engine_fn engine) {
    struct session session = {
        .options = options, .engine = engine, .serial_fd = -1, .debug_fd = -1, .observatory.listener.fd = -1};
    struct error error;
    int status = STATUS_BAD_INPUT;
    session.names = (struct names){.file = options->symbols, .kernel = options->load.kernel};
    if (options->accel == ACCEL_KVM && prepare_kvm(&session, &error)) {
        report_line("%s", error.text);
        status = STATUS_HOST_FAILURE;
    } else if (prepare_plugins(&session, &error) || prepare_outputs(&session, &error) ||
               watching_prepare(&session.watching, options, &session.names, &session.sources,
                                &error) ||
               prepare_inspection(&session, &error) ||
               observatory_open(&session.observatory, options, &error)) {
        report_line("%s", error.text);
    } else {
        status = run_boots(&session);
        gdb_close(session.gdb, status);
        if (!watching_finish(&session.watching))
            status = STATUS_HOST_FAILURE;
        if (session.stats.boots)
            stats_print(&session.stats, options->stats);
        if (session.signal)
            die_of(&session);
        sigprocmask(SIG_SETMASK, &session.old_mask, NULL);
    }
    if (session.serial_fd > STDERR_FILENO)
        close(session.serial_fd);
    if (session.debug_fd > STDERR_FILENO)
        close(session.debug_fd);
    observatory_close(&session.observatory);
    plugins_release(&session.plugins);
    watching_release(&session.watching);
    names_release(&session.names);
    return status;
}
