/* KVM's side of the machine, as far as it can be looked at without KVM: the vCPU's state in its
 * form, memory slots, the CPUID table and the sandbox's list. */
#include <check.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kvm/model.h"
#include "kvm/private.h"
#include "kvm/slots.h"
#include "kvm/state.h"
#include "runtime/cpuid.h"

#define ATTR_ALL 0xf0ffu /* bits 8 to 11 are the limit's in a descriptor */
#define MIB (1024ull * 1024)
#define ADDRESS_END (1ull << 32)

static uint64_t random_state = 1;

static uint32_t random32(void) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 32);
}

START_TEST(segments_come_back_as_they_went) {
    for (uint32_t attr = 0; attr <= 0xffff; attr++) {
        bool pages = attr & SEG_ATTR_G;
        struct segment in = {.selector = (uint16_t)(attr ^ 0x5a5a),
                             .attr = (uint16_t)(attr & ATTR_ALL),
                             .base = attr * 65537u,
                             .limit = pages ? attr << 12 | 0xfff : attr,
                             .usable = attr & 1};
        struct kvm_segment kvm = state_segment_to_kvm(&in);
        struct segment out = state_segment_from_kvm(&kvm);
        ck_assert_uint_eq(out.selector, in.selector);
        ck_assert_uint_eq(out.attr, in.attr);
        ck_assert_uint_eq(out.base, in.base);
        ck_assert_uint_eq(out.limit, in.limit);
        ck_assert(out.usable == in.usable);
    }
}
END_TEST

/* VM entry: G set wants the low 12 bits set, G clear the high 12 clear. */
START_TEST(granularity_agrees_with_the_limit) {
    static const struct {
        uint16_t attr;
        uint32_t limit;
        unsigned g;
    } rows[] = {{0x0093, 0xffff, 0},   {0x0093, 0xfffff, 0}, {0x0093, 0xffffffff, 1},
                {0x0093, 0x100fff, 1}, {0x8093, 0xfff, 1},   {0x8093, 0xffffffff, 1},
                {0x8093, 0x67, 0}};
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct segment in = {.attr = rows[i].attr, .limit = rows[i].limit, .usable = true};
        ck_assert_uint_eq(state_segment_to_kvm(&in).g, rows[i].g);
    }
}
END_TEST

static struct segment random_segment(void) {
    struct segment segment = {.selector = (uint16_t)random32(),
                              .attr = (uint16_t)(random32() & ATTR_ALL & ~SEG_ATTR_G),
                              .base = random32(),
                              .limit = random32() & 0xfffff,
                              .usable = random32() & 1};
    return segment;
}

static struct cpu random_cpu(void) {
    struct cpu cpu;
    memset(&cpu, 0, sizeof cpu);
    for (unsigned i = 0; i < 8; i++) {
        cpu.gpr[i] = random32();
        cpu.dr[i] = i == 4 || i == 5 ? 0 : random32();
    }
    cpu.eip = cpu.next_eip = random32();
    cpu_set_eflags(&cpu, random32(), FL_ALL & ~FL_VM);
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        cpu.seg[i] = random_segment();
        cpu_segment_changed(&cpu, &cpu.seg[i]);
    }
    cpu.ldt = random_segment();
    cpu.tr = random_segment();
    cpu.gdt = (struct table_register){random32(), random32() & 0xffff};
    cpu.idt = (struct table_register){random32(), random32() & 0xffff};
    cpu.paging = (struct paging){.cr0 = random32() | CR0_PE | CR0_PG,
                                 .cr3 = random32(),
                                 .cr4 = random32() | CR4_PAE,
                                 .efer = EFER_NXE};
    for (unsigned i = 0; i < 4; i++)
        cpu.paging.pdpte[i] = random32();
    cpu.cr2 = random32();
    cpu_update_mode(&cpu, SEG_ATTR_DPL(cpu.seg[SEG_SS].attr));
    return cpu;
}

static void check_same_segment(const struct segment *a, const struct segment *b) {
    ck_assert_uint_eq(a->selector, b->selector);
    ck_assert_uint_eq(a->attr, b->attr);
    ck_assert_uint_eq(a->base, b->base);
    ck_assert_uint_eq(a->limit, b->limit);
    ck_assert_uint_eq(a->cls, b->cls);
    ck_assert(a->usable == b->usable);
}

static void check_same_cpu(const struct cpu *a, const struct cpu *b) {
    ck_assert_mem_eq(a->gpr, b->gpr, sizeof a->gpr);
    ck_assert_mem_eq(a->dr, b->dr, sizeof a->dr);
    ck_assert_mem_eq(a->paging.pdpte, b->paging.pdpte, sizeof a->paging.pdpte);
    ck_assert_mem_eq(&a->gdt, &b->gdt, sizeof a->gdt);
    ck_assert_mem_eq(&a->idt, &b->idt, sizeof a->idt);
    for (unsigned i = 0; i < SEG_COUNT; i++)
        check_same_segment(&a->seg[i], &b->seg[i]);
    check_same_segment(&a->ldt, &b->ldt);
    check_same_segment(&a->tr, &b->tr);
    ck_assert_uint_eq(a->eip, b->eip);
    ck_assert_uint_eq(cpu_eflags(a), cpu_eflags(b));
    ck_assert_uint_eq(a->paging.cr0, b->paging.cr0);
    ck_assert_uint_eq(a->paging.cr3, b->paging.cr3);
    ck_assert_uint_eq(a->paging.cr4, b->paging.cr4);
    ck_assert_uint_eq(a->paging.efer, b->paging.efer);
    ck_assert_uint_eq(a->cr2, b->cr2);
    ck_assert_uint_eq(a->mode, b->mode);
}

START_TEST(the_state_comes_back_as_it_went) {
    for (int i = 0; i < 1000; i++) {
        struct cpu in = random_cpu(), out;
        memset(&out, 0, sizeof out);
        struct kvm_regs regs = state_regs_to_kvm(&in);
        struct kvm_sregs2 sregs = {.apic_base = 0xfee00900, .cr8 = 3};
        struct kvm_debugregs debugregs = state_debugregs_to_kvm(&in);
        state_sregs_to_kvm(&in, &sregs);
        ck_assert_uint_eq(sregs.apic_base, 0xfee00100); /* no local APIC */
        ck_assert_uint_eq(sregs.cr8, 3);
        state_from_kvm(&out, &regs, &sregs, &debugregs);
        check_same_cpu(&in, &out);
    }
}
END_TEST

START_TEST(the_privilege_level_follows_the_mode) {
    struct cpu cpu = random_cpu();
    struct kvm_regs regs = state_regs_to_kvm(&cpu);
    struct kvm_sregs2 sregs = {0};
    struct kvm_debugregs debugregs = state_debugregs_to_kvm(&cpu);
    cpu.seg[SEG_SS].attr = 0x00f3; /* DPL 3 */
    state_sregs_to_kvm(&cpu, &sregs);
    state_from_kvm(&cpu, &regs, &sregs, &debugregs);
    ck_assert_uint_eq(cpu_cpl(&cpu), 3);
    sregs.cr0 &= ~(__u64)CR0_PE;
    state_from_kvm(&cpu, &regs, &sregs, &debugregs);
    ck_assert_uint_eq(cpu_cpl(&cpu), 0);
    ck_assert(cpu.mode & MODE_REAL);
    sregs.cr0 |= CR0_PE;
    sregs.ss.dpl = 0;
    regs.rflags |= FL_VM;
    state_from_kvm(&cpu, &regs, &sregs, &debugregs);
    ck_assert_uint_eq(cpu_cpl(&cpu), 3);
    ck_assert(cpu.mode & MODE_VM86);
}
END_TEST

static const struct kvm_slot *slot_at(const struct kvm_slots *slots, gpa_t gpa) {
    const struct kvm_slot *found = NULL;
    for (unsigned i = 0; i < slots->count; i++)
        if (gpa >= slots->slots[i].gpa && gpa - slots->slots[i].gpa < slots->slots[i].size) {
            ck_assert_msg(!found, "two slots at %llx", (unsigned long long)gpa);
            found = &slots->slots[i];
        }
    return found;
}

static void check_page(const struct kvm_slots *slots, const struct ram *ram, gpa_t gpa) {
    const struct kvm_slot *slot = slot_at(slots, gpa);
    uint64_t place = ram_locate(ram, gpa);
    ck_assert_msg(!slot == (place == RAM_NOWHERE), "%llx", (unsigned long long)gpa);
    if (!slot)
        return;
    ck_assert_uint_eq(slot->place + (gpa - slot->gpa), place);
    ck_assert_msg(slot->read_only == !ram_is_writable(ram, place), "%llx", (unsigned long long)gpa);
}

/* All pages below 2 MiB, and both sides of every other border. */
static void check_slots(const struct ram *ram) {
    struct kvm_slots slots;
    const gpa_t rom = ADDRESS_END - ram->rom_size;
    kvm_slots_build(&slots, ram);
    for (gpa_t gpa = 0; gpa < 2 * MIB; gpa += PAGE_SIZE)
        check_page(&slots, ram, gpa);
    const gpa_t borders[] = {ram->size - PAGE_SIZE, ram->size, rom - PAGE_SIZE,
                             ram->rom_size ? rom : 0, ADDRESS_END - PAGE_SIZE};
    for (unsigned i = 0; i < sizeof borders / sizeof *borders; i++)
        check_page(&slots, ram, borders[i]);
}

START_TEST(slots_show_memory_as_it_is) {
    static const uint64_t sizes[] = {4 * MIB, 256 * MIB, 3584 * MIB};
    static const uint64_t roms[] = {0,         PAGE_SIZE, 5 * PAGE_SIZE, 64 << 10,
                                    128 << 10, 256 << 10, 16 * MIB};
    for (unsigned s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (unsigned r = 0; r < sizeof roms / sizeof *roms; r++)
            for (unsigned tries = 0; tries < 20; tries++) {
                struct ram ram = {.size = sizes[s], .rom_size = roms[r], .has_video = tries & 1};
                for (unsigned i = 0; i < sizeof ram.legacy; i++)
                    ram.legacy[i] = (uint8_t)(tries < 2 ? RAM_LEGACY_RAM : random32() % 3);
                check_slots(&ram);
            }
}
END_TEST

START_TEST(slots_above_keep_their_numbers) {
    struct ram ram = {.size = 64 * MIB, .rom_size = 256 << 10, .has_video = true};
    struct kvm_slots before, after;
    kvm_slots_build(&before, &ram);
    ck_assert(!kvm_slots_differ(&before, &ram));
    ram.legacy[12] = RAM_LEGACY_ROM;
    ck_assert(kvm_slots_differ(&before, &ram));
    kvm_slots_build(&after, &ram);
    ck_assert(!kvm_slots_differ(&after, &ram));
    ck_assert_uint_eq(after.slots[0].gpa, ADDRESS_END - ram.rom_size);
    ck_assert_uint_eq(after.slots[1].gpa, MIB);
    ck_assert_mem_eq(before.slots, after.slots, 2 * sizeof *before.slots);
}
END_TEST

static struct clock clock_of_3_ghz = {.tsc_hz = 3000000000u};
static struct vcpu vcpu = {.clock = &clock_of_3_ghz};
static struct kvm_cpuid_table supported, table;

static const struct kvm_cpuid_entry2 *entry_of(uint32_t leaf, uint32_t subleaf) {
    for (unsigned i = 0; i < table.count; i++)
        if (table.entries[i].function == leaf && table.entries[i].index == subleaf)
            return &table.entries[i];
    ck_abort_msg("no leaf %x.%x", leaf, subleaf);
    return NULL;
}

/* A KVM that supports every feature, or none, of each leaf. */
static void support(uint32_t features) {
    static const uint32_t leaves[][2] = {{1, 0},   {7, 0},          {0xd, 0},       {0xd, 1},
                                         {0xd, 2}, {0x80000001, 0}, {0x80000007, 0}};
    supported.count = 0;
    for (unsigned i = 0; i < sizeof leaves / sizeof *leaves; i++)
        supported.entries[supported.count++] = (struct kvm_cpuid_entry2){
            .function = leaves[i][0],
            .index = leaves[i][1],
            .flags = leaves[i][0] == 7 || leaves[i][0] == 0xd ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
            .eax = features,
            .ebx = features,
            .ecx = features,
            .edx = features};
    kvm_cpuid_build(&vcpu, &supported, &table);
}

START_TEST(cpuid_is_the_models) {
    support(UINT32_MAX);
    for (unsigned i = 0; i < table.count; i++) {
        const struct kvm_cpuid_entry2 *entry = &table.entries[i];
        struct cpuid_regs model;
        cpuid_query(&vcpu, entry->function, entry->index, &model);
        if (entry->function == 0x80000008u) /* KVM takes no other linear address width */
            model.eax = (model.eax & ~0xff00u) | 48u << 8;
        ck_assert_msg(entry->eax == model.eax && entry->ebx == model.ebx &&
                          entry->ecx == model.ecx && entry->edx == model.edx,
                      "leaf %x.%x", entry->function, entry->index);
    }
    ck_assert_uint_eq(entry_of(0, 0)->eax, 0x16);
    ck_assert_uint_eq(entry_of(4, 3)->eax & 31, 3);
    ck_assert_uint_eq(entry_of(0x40000000, 0)->eax, 0x40000000);
    entry_of(0x80000004, 0);
}
END_TEST

START_TEST(cpuid_names_no_feature_that_kvm_lacks) {
    support(0);
    ck_assert_uint_eq(entry_of(1, 0)->edx, 0);
    ck_assert_uint_eq(entry_of(1, 0)->ecx, 1u << 31); /* the hypervisor's bit is ours */
    ck_assert_uint_eq(entry_of(1, 0)->eax, CPUID_SIGNATURE);
    ck_assert_uint_eq(entry_of(7, 0)->ebx | entry_of(7, 0)->edx, 0);
    ck_assert_uint_eq(entry_of(0x80000001, 0)->edx | entry_of(0x80000001, 0)->ecx, 0);
    for (uint32_t i = 0; i < 3; i++)
        ck_assert_uint_eq(entry_of(0xd, i)->eax | entry_of(0xd, i)->ebx | entry_of(0xd, i)->ecx, 0);
    supported.count = 0; /* nor one of a leaf that KVM does not have */
    kvm_cpuid_build(&vcpu, &supported, &table);
    ck_assert_uint_eq(entry_of(7, 0)->ebx, 0);
}
END_TEST

/* What the process does in its sandbox; 0: it lived. */
enum act { RUN, SET_MEMORY, OTHER_REQUEST, OTHER_DESCRIPTOR, SWAPPED, MAP, OPEN, ACT_COUNT };

static int act(enum act what, int vcpu_fd, int vm_fd) {
    switch (what) {
    case RUN:
        return ioctl(vcpu_fd, KVM_RUN, 0) != -1; /* no vCPU: it fails, and that is all */
    case SET_MEMORY:
        return ioctl(vm_fd, KVM_SET_USER_MEMORY_REGION, 0) != -1;
    case OTHER_REQUEST:
        return ioctl(vcpu_fd, KVM_SET_SREGS2, 0);
    case OTHER_DESCRIPTOR:
        return ioctl(STDERR_FILENO, KVM_RUN, 0);
    case SWAPPED:
        return ioctl(vm_fd, KVM_RUN, 0);
    case MAP:
        return mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED;
    default:
        return dup(vm_fd);
    }
}

START_TEST(the_sandbox_has_kvms_calls_and_no_others) {
    int fds[2], status;
    ck_assert_int_eq(pipe(fds), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        const struct kvm_vm vm = {.kvm_fd = -1, .vm_fd = fds[0], .vcpu_fd = fds[1]};
        const struct sandbox_rules rules = {.write_fd_count = 0};
        if (kvm_sandbox_enter(&rules, &vm))
            _exit(100);
        _exit(act((enum act)_i, vm.vcpu_fd, vm.vm_fd));
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    if (_i <= SET_MEMORY)
        ck_assert_int_eq(status, 0);
    else
        ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "wait status %x",
                      (unsigned)status);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("kvm");
    TCase *tests = tcase_create("all");
    tcase_add_test(tests, segments_come_back_as_they_went);
    tcase_add_test(tests, granularity_agrees_with_the_limit);
    tcase_add_test(tests, the_state_comes_back_as_it_went);
    tcase_add_test(tests, the_privilege_level_follows_the_mode);
    tcase_add_test(tests, slots_show_memory_as_it_is);
    tcase_add_test(tests, slots_above_keep_their_numbers);
    tcase_add_test(tests, cpuid_is_the_models);
    tcase_add_test(tests, cpuid_names_no_feature_that_kvm_lacks);
#ifndef RING3_SANITIZED
    tcase_add_loop_test(tests, the_sandbox_has_kvms_calls_and_no_others, 0, ACT_COUNT);
#else
    (void)the_sandbox_has_kvms_calls_and_no_others;
#endif
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
