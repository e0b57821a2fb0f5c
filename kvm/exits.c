/* What KVM_RUN comes back for: one case a reason. */
#include <assert.h>
#include <string.h>

#include "kvm/model.h"
#include "kvm/private.h"

/* REP INS and OUTS come as several elements. */
static void access_ports(struct kvm_engine *e) {
    const struct kvm_run *run = e->vm.run;
    struct bus *bus = e->v->bus;
    unsigned size = run->io.size;
    uint8_t *data = (uint8_t *)e->vm.run + run->io.data_offset;
    assert(size == 1 || size == 2 || size == 4);
    assert(run->io.data_offset + (uint64_t)size * run->io.count <= e->vm.run_size);
    for (uint32_t i = 0; i < run->io.count; i++, data += size) {
        uint32_t value = 0;
        if (run->io.direction == KVM_EXIT_IO_OUT) {
            memcpy(&value, data, size);
            bus_write(bus, run->io.port, value, size);
        } else {
            value = bus_read(bus, run->io.port, size);
            memcpy(data, &value, size);
        }
    }
}

/* No memory, or a write to memory that takes none. */
static void access_unclaimed(struct kvm_engine *e) {
    struct kvm_run *run = e->vm.run;
    TRACE(e->v->trace, kvm_unclaimed, run->mmio.phys_addr, run->mmio.is_write);
    e->v->counters->kvm_mmio++;
    if (!run->mmio.is_write)
        memset(run->mmio.data, 0xff, sizeof run->mmio.data);
}

static void read_msr(struct kvm_engine *e) {
    struct kvm_run *run = e->vm.run;
    uint64_t value = 0;
    run->msr.error = !kvm_model_read_msr(e->v, run->msr.index, &value);
    run->msr.data = value;
}

static void write_msr(struct kvm_engine *e) {
    struct kvm_run *run = e->vm.run;
    run->msr.error = !kvm_model_write_msr(e->v, e->vm.vcpu_fd, run->msr.index, run->msr.data);
}

static const char *internal_error(uint32_t suberror) {
    switch (suberror) {
    case KVM_INTERNAL_ERROR_EMULATION:
        return "it cannot emulate the instruction";
    case KVM_INTERNAL_ERROR_SIMUL_EX:
        return "two exceptions at once";
    case KVM_INTERNAL_ERROR_DELIVERY_EV:
        return "an exit while an event was delivered";
    case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON:
        return "an exit that it did not expect";
    default:
        return "of a kind that is not known";
    }
}

/* The instruction in hexadecimal, as far as KVM has told. */
static void name_instruction(const struct kvm_run *run, char *text, size_t size) {
    static const char digits[] = "0123456789abcdef";
    unsigned len = 0;
    if (run->emulation_failure.suberror == KVM_INTERNAL_ERROR_EMULATION &&
        run->emulation_failure.ndata >= 3 &&
        run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES)
        len = run->emulation_failure.insn_size;
    assert(size >= 3 * sizeof run->emulation_failure.insn_bytes + 1);
    for (unsigned i = 0; i < len && i < sizeof run->emulation_failure.insn_bytes; i++) {
        uint8_t byte = run->emulation_failure.insn_bytes[i];
        *text++ = ' ';
        *text++ = digits[byte >> 4];
        *text++ = digits[byte & 15];
    }
    *text = '\0';
}

static void fail_inside(struct kvm_engine *e) {
    const struct kvm_run *run = e->vm.run;
    const struct cpu *cpu = &e->v->cpu;
    char bytes[64];
    name_instruction(run, bytes, sizeof bytes);
    kvm_store_state(e); /* for EIP */
    kvm_host_failure(e, "KVM internal error %u at %04x:%08x: %s%s%s", run->internal.suberror,
                     cpu->seg[SEG_CS].selector, cpu->eip, internal_error(run->internal.suberror),
                     *bytes ? ", bytes" : "", bytes);
}

void kvm_exit_handle(struct kvm_engine *e) {
    const struct kvm_run *run = e->vm.run;
    struct vcpu *v = e->v;
    v->counters->kvm_exits++;
    TRACE(v->trace, kvm_exit, run->exit_reason);
    v->cpu.iflag = run->if_flag ? FL_IF : 0;
    e->unfinished = false;
    switch (run->exit_reason) {
    case KVM_EXIT_IO:
        e->unfinished = true;
        access_ports(e);
        break;
    case KVM_EXIT_MMIO:
        e->unfinished = true;
        access_unclaimed(e);
        break;
    case KVM_EXIT_X86_RDMSR:
        e->unfinished = true;
        read_msr(e);
        break;
    case KVM_EXIT_X86_WRMSR:
        e->unfinished = true;
        write_msr(e);
        break;
    case KVM_EXIT_HLT:
        v->cpu.halted = true;
        break;
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
        break;
    case KVM_EXIT_SHUTDOWN:
        vcpu_request_exit(v, EXIT_TRIPLE_FAULT, 0);
        break;
    case KVM_EXIT_FAIL_ENTRY:
        kvm_host_failure(e, "KVM cannot enter the guest: the processor's reason is %llx",
                         run->fail_entry.hardware_entry_failure_reason);
        break;
    case KVM_EXIT_INTERNAL_ERROR:
        fail_inside(e);
        break;
    case KVM_EXIT_UNKNOWN:
        kvm_host_failure(e, "KVM does not know the processor's exit reason %llx",
                         run->hw.hardware_exit_reason);
        break;
    default:
        kvm_host_failure(e, "KVM came back for reason %u, which nobody asked for",
                         run->exit_reason);
        break;
    }
}
