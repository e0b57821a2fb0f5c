/* Who calls the interface, and copying to and from whoever calls.
 *
 * Nothing that a plugin hands over is trusted: the caller is known from what ring3 calls, pointers
 * are only used by guarded_copy, and what is written must not be the monitor's own. */
#include <assert.h>
#include <link.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <ucontext.h>

#include "memory/addr.h"
#include "runtime/plugin_private.h"

/* A plugin is called by one thread of one process at a time, and knows no context to hand over. */
static struct plugins *calling;
static _Thread_local char thread_mark;

struct plugins *plugin_caller(unsigned phases) {
    struct plugins *plugins = calling;
    bool is_now = plugins && plugins->thread == &thread_mark && plugins->phase & phases;
    return is_now ? plugins : NULL;
}

void plugin_call_begin(struct plugins *plugins, unsigned index, unsigned phase) {
    assert(!plugins->phase && phase && index < PLUGINS_MAX);
    plugins->current = index;
    plugins->phase = phase;
    plugins->thread = &thread_mark;
    calling = plugins;
}

void plugin_call_end(struct plugins *plugins) {
    plugins->phase = 0;
    calling = NULL;
}

const char *plugins_running(const struct plugins *plugins) {
    return plugins && plugins->phase ? plugins->plugins[plugins->current].name : NULL;
}

void plugins_protect(struct plugins *plugins, const void *start, uint64_t size) {
    assert(plugins->range_count < PLUGIN_RANGES_MAX);
    plugins->ranges[plugins->range_count++] = (struct plugin_range){(uintptr_t)start, size};
}

static bool overlaps(uintptr_t start, uint64_t len, uintptr_t with, uint64_t size) {
    return len && size && start < with + size && with < start + len;
}

int plugin_put(const struct plugins *plugins, void *to, const void *from, uint64_t len) {
    uintptr_t start = (uintptr_t)to;
    if (start + len < start || overlaps(start, len, (uintptr_t)plugins, sizeof *plugins))
        return RING3_BAD_POINTER;
    for (unsigned i = 0; i < plugins->range_count; i++)
        if (overlaps(start, len, plugins->ranges[i].start, plugins->ranges[i].size))
            return RING3_BAD_POINTER;
    return guarded_copy(to, from, len) ? RING3_BAD_POINTER : RING3_OK;
}

int plugin_take(void *to, const void *from, uint64_t len) {
    return guarded_copy(to, from, len) ? RING3_BAD_POINTER : RING3_OK;
}

int plugin_take_string(char *to, const char *from, unsigned room) {
    for (unsigned done = 0; done < room;) {
        unsigned part = PAGE_SIZE - ((uintptr_t)(from + done) & PAGE_MASK);
        if (part > room - done)
            part = room - done;
        if (guarded_copy(to + done, from + done, part))
            return RING3_BAD_POINTER;
        if (memchr(to + done, 0, part))
            return RING3_OK;
        done += part;
    }
    return RING3_BAD_ARGUMENT;
}

struct code_query {
    uintptr_t address;
    bool found;
};

static int look_in_object(struct dl_phdr_info *info, size_t size, void *opaque) {
    struct code_query *query = opaque;
    (void)size;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + part->p_vaddr;
        if (part->p_type == PT_LOAD && part->p_flags & PF_X &&
            query->address - start < part->p_memsz)
            query->found = true;
    }
    return query->found;
}

int plugin_check_code(void (*function)(void)) {
    struct code_query query = {.address = (uintptr_t)function};
    dl_iterate_phdr(look_in_object, &query);
    return query.found ? RING3_OK : RING3_BAD_POINTER;
}

static struct sigaction kept[2];
static const int guarded[2] = {SIGSEGV, SIGBUS};

static void on_guarded_fault(int signal, siginfo_t *info, void *context) {
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    (void)info;
    if ((uintptr_t)regs[REG_RIP] == (uintptr_t)guarded_copy_fault) {
        regs[REG_RIP] = (greg_t)(uintptr_t)guarded_copy_failed;
        return;
    }
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigaction(signal, &standard,
              NULL); /* the fault comes again, and is the plugin's end and ours */
}

void plugin_guard_begin(void) {
    struct sigaction action = {.sa_flags = SA_SIGINFO, .sa_sigaction = on_guarded_fault};
    for (unsigned i = 0; i < 2; i++)
        sigaction(guarded[i], &action, &kept[i]);
}

void plugin_guard_end(void) {
    for (unsigned i = 0; i < 2; i++)
        sigaction(guarded[i], &kept[i], NULL);
}
