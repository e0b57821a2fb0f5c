/* Page faults: error code and CR2 for each kind of access, the same page in both rings. */
#include "guest/demo.h"

enum { PROBE = 0x40100000 };

SNIPPET(read_probe, "nop; mov 0x40100123, %eax" DONE);
SNIPPET(write_probe, "nop; mov %eax, 0x40100123" DONE);
SNIPPET(modify_probe, "nop; incl 0x40100123" DONE);
SNIPPET(call_probe, "mov $0x40100000, %eax; call *%eax" DONE);
SNIPPET(return_at_once, "ret");

enum { ACCESS_AT = 1 };

struct fault_case {
    const char *name;
    const uint8_t *code, *end;
    uint32_t page; /* entry flags */
    unsigned ring;
    bool faults;
    uint32_t error;
    bool tcg_differs;
};

#define CODE(name) name, name##_end
static const struct fault_case cases[] = {
    {"read-absent", CODE(read_probe), 0, 3, true, PF_USER},
    {"write-absent", CODE(write_probe), 0, 3, true, PF_USER | PF_WRITE},
    /* TCG reads first, and reports that read. */
    {"modify-absent", CODE(modify_probe), 0, 3, true, PF_USER | PF_WRITE, true},
    {"read-absent", CODE(read_probe), 0, 0, true, 0},
    {"write-absent", CODE(write_probe), 0, 0, true, PF_WRITE},
    {"read-supervisor", CODE(read_probe), PTE_P | PTE_W, 3, true, PF_USER | PF_PRESENT},
    {"write-supervisor", CODE(write_probe), PTE_P | PTE_W, 3, true,
     PF_USER | PF_PRESENT | PF_WRITE},
    {"write-supervisor", CODE(write_probe), PTE_P | PTE_W, 0, false, 0},
    {"read-readonly", CODE(read_probe), PTE_P | PTE_U, 3, false, 0},
    {"write-readonly", CODE(write_probe), PTE_P | PTE_U, 3, true, PF_USER | PF_PRESENT | PF_WRITE},
    {"modify-readonly", CODE(modify_probe), PTE_P | PTE_U, 3, true,
     PF_USER | PF_PRESENT | PF_WRITE},
    {"write-readonly-wp", CODE(write_probe), PTE_P | PTE_U, 0, true, PF_PRESENT | PF_WRITE},
    {"write-writable", CODE(write_probe), USER_PAGE, 3, false, 0},
};

static void try_access(struct demo_space *demo, const struct fault_case *c, uint32_t page) {
    uint32_t start = c->ring == 3 ? USER_CODE : address_of(c->code);
    space_map(&demo->space, PROBE, page, c->page);
    invlpg(PROBE);
    uint32_t size = (uint32_t)(c->end - c->code);
    struct machine m = demo_run(demo, c->ring, c->code, size, 0);
    check_variant(c->ring == 3 ? "ring3" : "ring0");
    if (c->faults) {
        (c->tcg_differs ? check_trap_unless_tcg : check_trap)(c->name, &m, VECTOR_PF, c->error,
                                                              start + ACCESS_AT);
        check("cr2", PROBE + 0x123, m.cr2);
    } else {
        check_trap(c->name, &m, VECTOR_DONE, 0, start + size);
    }
    check_variant(NULL);
}

/* An instruction fetch faults at the target, and says so (bit 4) only when NX is in use. */
static void try_fetches(struct demo_space *demo, uint32_t page) {
    space_map(&demo->space, PROBE, page, PTE_P | PTE_W);
    invlpg(PROBE);
    struct machine m = demo_run(demo, 3, call_probe, SNIPPET_SIZE(call_probe), 0);
    uint32_t fetch =
        read_cr4() & CR4_PAE && cpuid(0x80000001).edx & CPUID_NX && read_msr(MSR_EFER) & EFER_NXE
            ? PF_FETCH
            : 0;
    check_trap("fetch-supervisor", &m, VECTOR_PF, PF_USER | PF_PRESENT | fetch, PROBE);
    check("fetch-supervisor.cr2", PROBE, m.cr2);
    if (!fetch)
        return;
    space_map(&demo->space, PROBE, page, USER_PAGE);
    space_entry(&demo->space, PROBE)[1] = 1u << 31;
    invlpg(PROBE);
    m = demo_run(demo, 3, call_probe, SNIPPET_SIZE(call_probe), 0);
    check_trap("fetch-nx", &m, VECTOR_PF, PF_USER | PF_PRESENT | PF_FETCH, PROBE);
    m = demo_run(demo, 3, read_probe, SNIPPET_SIZE(read_probe), 0);
    check("read-nx", VECTOR_DONE, m.vector);
    space_entry(&demo->space, PROBE)[1] = 0;
    invlpg(PROBE);
    m = demo_run(demo, 3, call_probe, SNIPPET_SIZE(call_probe), 0);
    check("fetch-x", VECTOR_DONE, m.vector);
}

void show_page_faults(struct demo_space *demo) {
    uint32_t page = page_take();
    memcpy((void *)page, return_at_once, SNIPPET_SIZE(return_at_once));
    if (demo->space.kind == PAGING_PAE && cpuid(0x80000000).eax >= 0x80000001 &&
        cpuid(0x80000001).edx & CPUID_NX)
        write_msr(MSR_EFER, read_msr(MSR_EFER) | EFER_NXE);
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
        try_access(demo, cases + i, page);
    try_fetches(demo, page);
}
