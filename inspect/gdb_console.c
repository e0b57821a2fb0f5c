/* What `monitor COMMAND` does in a debugger. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/gdb_session.h"

struct console_command {
    const char *name, *words, *text;
    void (*run)(struct gdb_session *session, const char *words, struct gdb_reply *output);
};

static void no_words(struct gdb_reply *output, const char *name) {
    gdb_reply_print(output, "%s: takes nothing behind it\n", name);
}

static const char *stop_text(const struct inspection_stop *why) {
    static const char *const texts[] = {
        [STOP_NONE] = "stopped",
        [STOP_ASKED] = "stopped as asked",
        [STOP_STEP] = "stopped behind a step",
        [STOP_BREAKPOINT] = "stopped at a breakpoint",
        [STOP_WATCHPOINT] = "stopped behind a watched access",
        [STOP_TRIPLE_FAULT] = "stopped at a triple fault: going on ends the machine",
    };
    return why->reason < sizeof texts / sizeof *texts ? texts[why->reason] : texts[STOP_NONE];
}

static void info(struct gdb_session *s, const char *words, struct gdb_reply *output) {
    if (*words) {
        no_words(output, "info");
        return;
    }
    if (!target_is_stopped(s->target)) {
        gdb_reply_text(output, "the machine runs\n");
        return;
    }
    const struct cpu *cpu = &s->target->vcpu->cpu;
    gdb_reply_print(output, "%s\n", stop_text(&s->last));
    const char *mode = cpu->mode & MODE_REAL   ? "real mode"
                       : cpu->mode & MODE_VM86 ? "virtual-8086 mode"
                                               : "protected mode";
    const char *paging = !(cpu->paging.cr0 & CR0_PG) ? "no paging"
                         : cpu->paging.cr4 & CR4_PAE ? "PAE paging"
                                                     : "32-bit paging";
    gdb_reply_print(output, "%s, CPL %u, %u-bit code, %s%s\n", mode, cpu_cpl(cpu),
                    cpu->mode & MODE_CODE16 ? 16u : 32u, paging, cpu->halted ? ", in HLT" : "");
    gdb_reply_print(output, "cs:eip %04x:%08x (linear %08x)  eflags %08x\n",
                    cpu->seg[SEG_CS].selector, cpu->eip, cpu->seg[SEG_CS].base + cpu->eip,
                    cpu_eflags(cpu));
    gdb_reply_print(output, "cr0 %08x  cr2 %08x  cr3 %08x  cr4 %08x  efer %08x\n", cpu->paging.cr0,
                    cpu->cr2, cpu->paging.cr3, cpu->paging.cr4, cpu->paging.efer);
    gdb_reply_print(output, "gdt %08x+%04x  idt %08x+%04x  ldtr %04x  tr %04x\n", cpu->gdt.base,
                    cpu->gdt.limit, cpu->idt.base, cpu->idt.limit, cpu->ldt.selector,
                    cpu->tr.selector);
    gdb_reply_print(
        output, "memory packets name %s addresses; %u of %u breakpoints, %u of %u watchpoints\n",
        s->physical ? "physical" : "linear", s->target->breakpoint_count,
        INSPECTION_BREAKPOINTS_MAX, s->target->watchpoint_count, INSPECTION_WATCHPOINTS_MAX);
}

/* For `ring3 explain --gdb`: what a translation is made for. */
static void mode(struct gdb_session *s, const char *words, struct gdb_reply *output) {
    const struct cpu *cpu = &s->target->vcpu->cpu;
    if (*words)
        no_words(output, "mode");
    else if (!target_is_stopped(s->target))
        gdb_reply_text(output, "the machine runs\n");
    else
        gdb_reply_print(output, "mode %x eip %x base %x limit %x sysenter %x\n", cpu->mode, cpu->eip,
                        cpu->seg[SEG_CS].base, cpu->seg[SEG_CS].limit, cpu->msr.sysenter_eip);
}

static void physical(struct gdb_session *s, const char *words, struct gdb_reply *output) {
    if (!strcmp(words, "on") || !strcmp(words, "off"))
        s->physical = !strcmp(words, "on");
    else if (*words)
        gdb_reply_text(output, "physical: neither on nor off\n");
    if (!*words)
        gdb_reply_print(output, "memory packets name %s addresses\n",
                        s->physical ? "physical" : "linear");
}

static void translate(struct gdb_session *s, const char *words, struct gdb_reply *output) {
    char *end;
    unsigned long long address = strtoull(words, &end, 16);
    gpa_t gpa;
    if (!*words || *end || address > UINT32_MAX)
        gdb_reply_text(output, "translate: a linear address in hexadecimal is needed\n");
    else if (target_translate(s->target, (gva_t)address, &gpa))
        gdb_reply_print(output, "linear %08llx is physical %09llx\n", address,
                        (unsigned long long)gpa);
    else
        gdb_reply_print(output, "linear %08llx is not mapped\n", address);
}

static void reset(struct gdb_session *s, const char *words, struct gdb_reply *output) {
    if (*words) {
        no_words(output, "reset");
        return;
    }
    s->target->start_stopped = s->resetting = true;
    if (target_exit(s->target, EXIT_RESET))
        s->target->start_stopped = s->resetting = false;
    gdb_reply_text(output, "the machine starts again and stops before its first instruction\n");
}

static void quit(struct gdb_session *s, const char *words, struct gdb_reply *output) {
    if (*words)
        no_words(output, "quit");
    else
        target_exit(s->target, EXIT_QUIT);
}

static void help(struct gdb_session *s, const char *words, struct gdb_reply *output);

static const struct console_command commands[] = {
    {"help", "", "this list", help},
    {"info", "", "what state the CPU is in", info},
    {"mode", "", "what translations are made for: the mode word, EIP, CS, SYSENTER_EIP", mode},
    {"physical", " [on|off]", "whether memory is read and written by physical addresses", physical},
    {"translate", " ADDRESS", "where a linear address lies in physical memory", translate},
    {"reset", "", "reset the machine and stop before its first instruction", reset},
    {"quit", "", "end the machine", quit},
};

static void help(struct gdb_session *s, const char *words, struct gdb_reply *output) {
    (void)s;
    if (*words) {
        no_words(output, "help");
        return;
    }
    for (unsigned i = 0; i < sizeof commands / sizeof *commands; i++)
        gdb_reply_print(output, "%s%s: %s\n", commands[i].name, commands[i].words,
                        commands[i].text);
}

void gdb_console(struct gdb_session *s, const char *line, struct gdb_reply *output) {
    line += strspn(line, " \t");
    size_t size = strcspn(line, " \t");
    for (unsigned i = 0; i < sizeof commands / sizeof *commands; i++) {
        const struct console_command *command = &commands[i];
        if (strlen(command->name) != size || strncmp(line, command->name, size) != 0)
            continue;
        command->run(s, line + size + strspn(line + size, " \t"), output);
        return;
    }
    gdb_reply_print(output, "unknown command '%.64s': monitor help lists them\n", line);
}
