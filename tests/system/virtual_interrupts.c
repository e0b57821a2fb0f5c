/* Virtual interrupts of protected mode (CR4.PVI): what CLI, STI, PUSHF, POPF and IRET do at every
 * CPL and IOPL, from every state of IF, VIF and VIP (SDM vol. 3A, 20.4; vol. 2, CLI, STI, POPF). */
#include "tests/system/record.h"

#define RESULT "; nop" DONE
SNIPPET(cli_, "cli" RESULT);
SNIPPET(sti_, "sti; nop" RESULT);
SNIPPET(sti_cli, "sti; cli" RESULT);
SNIPPET(pushf_, "pushf; pop %ecx" RESULT);
SNIPPET(pushfw_, "pushfw; pop %cx" RESULT);
SNIPPET(popf_set, "pushf; orl $0x200, (%esp); popf" RESULT);
SNIPPET(popf_clear, "pushf; andl $~0x200, (%esp); popf" RESULT);
SNIPPET(popf_virtual, "pushf; xorl $0x180000, (%esp); popf" RESULT);
SNIPPET(popfw_set, "pushfw; orw $0x200, (%esp); popfw" RESULT);
SNIPPET(popfw_clear, "pushfw; andw $~0x200, (%esp); popfw" RESULT);
SNIPPET(iret_flags, "pushf; xorl $0x180200, (%esp); push %cs; call 1f; jmp 2f; 1: iret; 2:" RESULT);
SNIPPET(int_n, "int $0x90" RESULT);
SNIPPET(landing, "pushf; pop %ecx; int $0x81");

struct way {
    const char *name;
    const uint8_t *code, *end;
};
#define WAY(name)                                                                                  \
    { #name, name, name##_end }
static const struct way ways[] = {
    WAY(cli_),      WAY(sti_),        WAY(sti_cli),    WAY(pushf_),
    WAY(pushfw_),   WAY(popf_set),    WAY(popf_clear), WAY(popf_virtual),
    WAY(popfw_set), WAY(popfw_clear), WAY(iret_flags), WAY(int_n),
};

/* Bits 0-2 of a state are IF, VIF, VIP. */
static uint32_t flags_of(unsigned state, unsigned iopl) {
    return iopl << 12 | (state & 1 ? FLAG_IF : 0u) | (state & 2 ? FLAG_VIF : 0u) |
           (state & 4 ? FLAG_VIP : 0u);
}

static void run_state(const struct way *way, unsigned ring, unsigned iopl, unsigned state) {
    struct machine m = ring_at(ring, way->code, (uint32_t)(way->end - way->code));
    memcpy((void *)(CODE + 0x80), landing, SNIPPET_SIZE(landing));
    m.eflags |= flags_of(state, iopl);
    m.ecx = 0;
    guest_run(&m);
    __asm__ volatile("push $2; popfl" : : : "cc");
    line_outcome(&m, 0);
    line_value(m.ecx & ~NO_FLAGS);
    line_flags(m.eflags);
}

void guest_main(void) {
    record_start();
    set_idt_gate(0x90, KERNEL_CS, CODE + 0x80, 0xee);
    for (unsigned pvi = 0; pvi < 2; pvi++) {
        write_cr4((read_cr4() & ~(uint32_t)CR4_PVI) | (pvi ? CR4_PVI : 0u));
        for (unsigned w = 0; w < sizeof ways / sizeof *ways; w++)
            for (unsigned ring = 0; ring < 4; ring++)
                for (unsigned iopl = 0; iopl < 4; iopl++)
                    for (unsigned virtual = 0; virtual < 4; virtual ++) {
                        record_case("pvi%x.ring%x.iopl%x.state%x", pvi, ring, iopl, virtual);
                        line_begin(ways[w].name);
                        run_state(&ways[w], ring, iopl, virtual * 2);
                        run_state(&ways[w], ring, iopl, virtual * 2 + 1);
                        line_end();
                    }
    }
    record_finish();
}
