/* What streams hear of the machine: registers, mode, counters, the cache's size; and once, names
 * for it.
 *
 * Numbers go over in the order of the lists that name them (base/counters.h,
 * translator/callouts.h). */
#include <stdlib.h>
#include <string.h>

#include "inspect/web_private.h"

static json_t *number(uint64_t value) { return json_integer((json_int_t)value); }

static json_t *names_of_counters(void) {
    json_t *list = json_array();
#define COUNTER_NAME(name, text) json_array_append_new(list, json_pack("[ss]", #name, text));
    COUNTERS(COUNTER_NAME)
#undef COUNTER_NAME
    return list;
}

static json_t *names_of_callouts(void) {
    json_t *list = json_array();
#define CALLOUT_NAME(id, arg, operand, insns)                                                      \
    json_array_append_new(list, json_pack("[ss]", #id, insns));
    CALLOUTS(CALLOUT_NAME)
#undef CALLOUT_NAME
    return list;
}

json_t *web_model(const struct web_server *server) {
    return json_pack("{siso*so*so*}", "boot", (int)server->subject.boot, "memory",
                     number(web_ram(server)->size), "counters", names_of_counters(), "callouts",
                     names_of_callouts());
}

static json_t *counters_json(const struct counters *counters) {
    json_t *list = json_array();
#define COUNTER_VALUE(name, text) json_array_append_new(list, number(counters->name));
    COUNTERS(COUNTER_VALUE)
#undef COUNTER_VALUE
    return list;
}

static json_t *callouts_json(const struct cpu *cpu) {
    json_t *list = json_array();
    for (unsigned i = 0; i < CALLOUT_COUNT; i++)
        json_array_append_new(list, number(cpu->callout_counts[i]));
    return list;
}

static json_t *segment_json(const char *name, const struct segment *segment) {
    return json_pack("[siIIib]", name, segment->selector, (json_int_t)segment->base,
                     (json_int_t)segment->limit, segment->attr,
                     *(const uint8_t *)&segment->usable != 0);
}

static json_t *segments_json(const struct cpu *cpu) {
    static const char *const names[SEG_COUNT] = {"ES", "CS", "SS", "DS", "FS", "GS"};
    json_t *list = json_array();
    for (unsigned i = 0; i < SEG_COUNT; i++)
        json_array_append_new(list, segment_json(names[i], &cpu->seg[i]));
    json_array_append_new(list, segment_json("LDT", &cpu->ldt));
    json_array_append_new(list, segment_json("TR", &cpu->tr));
    return list;
}

static json_t *registers_json(const struct cpu *cpu) {
    json_t *list = json_array();
    for (unsigned i = 0; i < 8; i++)
        json_array_append_new(list, number(cpu->gpr[i]));
    return list;
}

static json_t *cpu_json(const struct cpu *cpu) {
    const struct paging *paging = &cpu->paging;
    return json_pack("{so*sIsIsIsisIsIsIsIsIsIsIso*sIsIsIsI}", "gpr", registers_json(cpu), "eip",
                     (json_int_t)cpu->eip, "eflags", (json_int_t)cpu_eflags(cpu), "mode",
                     (json_int_t)cpu->mode, "cpl", (int)cpu_cpl(cpu), "cr0",
                     (json_int_t)paging->cr0, "cr2", (json_int_t)cpu->cr2, "cr3",
                     (json_int_t)paging->cr3, "cr4", (json_int_t)paging->cr4, "efer",
                     (json_int_t)paging->efer, "dr6", (json_int_t)cpu->dr[6], "dr7",
                     (json_int_t)cpu->dr[7], "segments", segments_json(cpu), "gdt",
                     (json_int_t)cpu->gdt.base, "gdt_limit", (json_int_t)cpu->gdt.limit, "idt",
                     (json_int_t)cpu->idt.base, "idt_limit", (json_int_t)cpu->idt.limit);
}

static json_t *cache_json(const struct web_server *server) {
    struct engine_summary summary;
    if (!engine_view_summary(web_tables(server), &summary))
        return json_null();
    return json_pack("{sIsIsIsIsI}", "size", (json_int_t)summary.cache_size, "used",
                     (json_int_t)summary.cache_used, "cold_used", (json_int_t)summary.cold_used, "count",
                     (json_int_t)summary.fragment_count, "generation",
                     (json_int_t)server->births.generation);
}

static bool is_stopped(const struct web_server *server) {
    return atomic_load(&server->subject.inspection->state) == INSPECTION_STOPPED;
}

static const char *why_stopped(const struct web_server *server) {
    static const char *const texts[] = {[STOP_NONE] = "",
                                        [STOP_ASKED] = "on request",
                                        [STOP_STEP] = "after a step",
                                        [STOP_BREAKPOINT] = "at a breakpoint",
                                        [STOP_WATCHPOINT] = "behind a watched access"};
    uint32_t reason = server->subject.inspection->stop.reason;
    return is_stopped(server) && reason < sizeof texts / sizeof *texts ? texts[reason] : "";
}

static const char *activity(const struct web_server *server, const struct cpu *cpu) {
    if (server->ended)
        return "ended";
    if (is_stopped(server))
        return "paused";
    return *(const uint8_t *)&cpu->halted ? "halted" : "running";
}

json_t *web_state(const struct web_server *server) {
    struct cpu cpu;
    struct counters counters;
    memcpy(&cpu, &server->subject.v->cpu, sizeof cpu);
    memcpy(&counters, server->subject.counters, sizeof counters);
    return json_pack("{sIsssssIsisoso*so*so*}", "ms", (json_int_t)web_now_ms(server), "activity",
                     activity(server, &cpu), "why", why_stopped(server), "stops",
                     (json_int_t)atomic_load(&server->subject.inspection->stops), "boot",
                     (int)server->subject.boot, "cache", cache_json(server), "counters",
                     counters_json(&counters), "callouts", callouts_json(&cpu), "cpu",
                     cpu_json(&cpu));
}

void web_copy_paging(const struct web_server *server, struct paging *paging) {
    memcpy(paging, &server->subject.v->cpu.paging, sizeof *paging);
    paging->ac = true; /* for SMAP: all that is mapped counts */
}
