/* `--web`, the monitor's side: see observatory.h. What the web process asks for is done here, and
 * only that. */
#include "cli/observatory.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "cli/report.h"
#include "runtime/engine_view.h"
#include "runtime/sampler.h"

#define SAMPLES_A_SECOND 400
#define SAMPLES_TAKEN_MS 500 /* the ring has room for many more */

int observatory_open(struct observatory *observatory, const struct options *options,
                     struct error *error) {
    observatory->listener.fd = -1;
    observatory->process.channel = -1;
    if (!options->web)
        return 0;
    if (web_listen(&observatory->listener, options->web, error))
        return -1;
    report_line("observatory at %s", observatory->listener.url);
    return 0;
}

int observatory_prepare(struct observatory *observatory, struct machine *machine,
                        const struct options *options, struct error *error) {
    struct web_subject *subject = &observatory->subject;
    if (!observatory_is_open(observatory))
        return 0;
    *subject = (struct web_subject){
        .arena = machine->arena,
        .ram = machine->ram,
        .live_ram = &machine->ram,
        .v = &machine->vcpu,
        .clock = &machine->clock,
        .counters = &machine->counters,
        .inspection = &machine->inspection,
        .input = &machine->serial_in,
        .symbols = options->symbols ? options->symbols : options->load.kernel,
        .boot = observatory->boots++,
    };
    observatory->machine = machine;
    int status = arena_create(&subject->tables, engine_tables_size(options->engine.cache_bytes,
                                                                   ram_page_count(&machine->ram)));
    return status
               ? error_set(error, "--web: no memory for the engine's tables: %s", strerror(-status))
               : 0;
}

static void call_attention(const struct observatory *observatory) {
    if (observatory->target->pid > 1)
        kill(observatory->target->pid, SIGUSR1);
}

/* Samples are taken while somebody looks on; the fragments' heat is counted by the vCPU process
 * itself. */
static void watch(struct observatory *observatory, bool watched) {
    struct sampler *sampler = observatory->machine->sampler;
    if (!observatory->own_samples)
        return;
    atomic_store(&sampler->rate, watched ? SAMPLES_A_SECOND : 0);
    observatory->samples.deadline = watched ? sources_now() + SAMPLES_TAKEN_MS : 0;
    call_attention(observatory);
}

static void take_samples(struct source *source, short revents) {
    struct observatory *observatory = source->opaque;
    struct sample sample;
    (void)revents;
    for (unsigned i = 0;
         i < SAMPLER_SAMPLES && sampler_take(observatory->machine->sampler, &sample); i++)
        ;
    source->deadline = sources_now() + SAMPLES_TAKEN_MS;
}

static void act(struct observatory *observatory, int kind, const uint8_t *bytes, size_t len) {
    switch (kind) {
    case WEB_INPUT:
        if (len && ring_write(&observatory->machine->serial_in, bytes, (uint32_t)len))
            call_attention(observatory);
        break;
    case WEB_PAUSE:
        target_pause(observatory->target);
        break;
    case WEB_STEP:
        target_step(observatory->target);
        break;
    case WEB_RESUME:
        target_resume(observatory->target);
        break;
    case WEB_WATCHED:
        watch(observatory, len && bytes[0]);
        break;
    default:
        break; /* nonsense */
    }
}

static void forget_sources(struct observatory *observatory) {
    sources_remove(observatory->sources, &observatory->messages);
    sources_remove(observatory->sources, &observatory->samples);
}

/* One message a turn: a process that was taken over must not keep the monitor busy for ever. */
static void serve(struct source *source, short revents) {
    struct observatory *observatory = source->opaque;
    uint8_t bytes[WEB_MESSAGE_MAX];
    size_t len = 0;
    (void)revents;
    int kind = web_receive(&observatory->process, bytes, &len);
    if (kind > 0)
        act(observatory, kind, bytes, len);
    if (kind >= 0)
        return;
    forget_sources(observatory);
    int status = web_stop(&observatory->process, "");
    web_close(&observatory->listener); /* or peers would wait for ever */
    report_line(
        "the observatory's process has ended unexpectedly (%s); the guest goes on without it",
        WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "by itself");
}

static void show(void *opaque, const uint8_t *bytes, size_t len) {
    web_console(&((struct observatory *)opaque)->process, bytes, len);
}

void observatory_start(struct observatory *observatory, struct sources *sources,
                       struct target *target, struct outlet *serial) {
    if (!observatory_is_open(observatory))
        return;
    int status = web_start(&observatory->process, &observatory->listener, &observatory->subject);
    if (status) {
        report_line("the observatory cannot be started: %s", strerror(-status));
        return;
    }
    observatory->sources = sources;
    observatory->target = target;
    observatory->own_samples = !atomic_load(&observatory->machine->sampler->rate);
    observatory->messages = (struct source){.fd = observatory->process.channel,
                                            .events = POLLIN,
                                            .serve = serve,
                                            .opaque = observatory};
    observatory->samples = (struct source){.fd = -1, .serve = take_samples, .opaque = observatory};
    if (sources_add(sources, &observatory->messages) || sources_add(sources, &observatory->samples))
        report_line("the observatory's commands are not heard: too many event sources");
    serial->tap = show;
    serial->tap_opaque = observatory;
}

void observatory_stop(struct observatory *observatory, const char *how) {
    if (!observatory->process.pid)
        return;
    forget_sources(observatory);
    web_stop(&observatory->process, how);
}

void observatory_release(struct observatory *observatory) {
    if (observatory->subject.tables.base)
        arena_destroy(&observatory->subject.tables);
}

void observatory_close(struct observatory *observatory) { web_close(&observatory->listener); }
