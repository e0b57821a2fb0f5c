/* What can be traced: the channels, by stage of the machine's work, and the kinds of records in each.
 *
 * A record's arguments are integers with names; the text of its row says how people read them:
 * {name} decimal, {name:x} hexadecimal, {name:a} the linear address of guest code, and by name {name:callout},
 * {name:leave} (why the run loop got control back), {name:vector}, {name:delivery}. inspect/ reads it. */
#ifndef RING3_BASE_TRACE_EVENTS_H
#define RING3_BASE_TRACE_EVENTS_H

/* identifier, name, what it shows */
#define TRACE_CHANNELS(X)                                                                          \
    X(fetch, "fetch", "instruction fetches that walk the guest's page tables")                     \
    X(translate, "translate", "every fragment made: addresses and lengths of both sides")          \
    X(link, "link", "links between fragments and jump cache slots, made and undone")               \
    X(enter, "enter", "every entry into translated code by the run loop")                          \
    X(exit, "exit", "every return to the run loop, with its reason")                               \
    X(callout, "callout", "every callout")                                                         \
    X(inject, "inject", "events and system calls as the guest gets them, and returns from both")   \
    X(hidden_fault, "hidden-fault", "shadow entries filled, and sites that need another window")   \
    X(true_fault, "true-fault", "exceptions that the guest's own instructions raise")              \
    X(flush, "flush", "address space loads, INVLPG, changes of paging, the cache emptied")         \
    X(invalidate, "invalidate", "translated code that goes because its page was written")          \
    X(io, "io", "every access to a port, with its value")                                          \
    X(mmio, "mmio", "accesses to memory that is not there, and writes to ROM")                     \
    X(irq, "irq", "the interrupt line, and interrupts taken from it")                              \
    X(device, "device", "what is out of the ordinary: ports and MSRs that nobody has, POST codes")

/* Older names, and what they stand for now. */
#define TRACE_ALIASES(X)                                                                           \
    X("run", TRACE_BIT(enter) | TRACE_BIT(exit))                                                   \
    X("fault", TRACE_BIT(true_fault) | TRACE_BIT(inject))                                          \
    X("shadow", TRACE_BIT(hidden_fault) | TRACE_BIT(flush))                                        \
    X("code", TRACE_BIT(invalidate))                                                               \
    X("port", TRACE_BIT(device) | TRACE_BIT(mmio))                                                 \
    X("msr", TRACE_BIT(device))

/* identifier, channel, text */
#define TRACE_EVENTS(X)                                                                            \
    X(fetch, fetch, "page of {gva:x} is physical {gpa:x}")                                         \
    X(translate, translate,                                                                        \
      "{start:a} (physical {gpa:x} mode {mode:x}): {guest_bytes} guest bytes, fragment {fragment}") \
    X(emit, translate,                                                                             \
      "fragment {fragment}: {host_bytes} host bytes at {host:x}, {cold_bytes} at {cold:x}")        \
    X(one_shot, translate, "one-shot: physical {gpa:x}, {host_bytes} host bytes")                  \
    X(link, link, "exit at {site:x} of fragment {from} goes to fragment {to}, {target:a}")         \
    X(unlink, link, "exit at {site:x} leads back to its stub")                                     \
    X(jump_cache, link, "jump cache: {target:a} enters fragment {fragment}")                       \
    X(enter, enter, "fragment {fragment} at {host:x}")                                             \
    X(exit, exit, "left for {reason:leave}")                                                       \
    X(stopped, exit, "stands still for inspection, reason {reason}")                               \
    X(kvm_exit, exit, "KVM exit {reason}")                                                         \
    X(callout, callout, "{callout:callout} argument {argument:x} operand {operand:x}")             \
    X(deliver, inject, "{kind:delivery} {vector:vector} error {error:x} from {from:a} eax {eax:x}") \
    X(syscall, inject, "SYSENTER eax {number}")                                                    \
    X(resume, inject, "return to level {level}, {target:a}")                                       \
    X(task, inject, "task {from:x} -> {to:x}, eip {target:a}")                                     \
    X(fill, hidden_fault, "window {window}: {gva:x} -> physical {gpa:x} write {write}")            \
    X(hint, hidden_fault, "site {site:x} at {gva:x}: hint {old:x} -> {new:x}")                     \
    X(exception, true_fault, "{vector:vector} error {error:x} cr2 {cr2:x}")                        \
    X(triple_fault, true_fault, "triple fault, cr2 {cr2:x}")                                       \
    X(host_fault, true_fault,                                                                      \
      "host fault: trap {trap} rip {rip:x} address {address:x} error {error:x}")                   \
    X(load_cr3, flush, "cr3 {old:x} -> {new:x}")                                                   \
    X(paging, flush, "paging changed: cr0 {cr0:x} cr3 {new_cr3:x} cr4 {cr4:x}")                    \
    X(invlpg, flush, "INVLPG {gva:x}")                                                             \
    X(empty_cache, flush, "translation cache emptied of {fragments} fragments, {bytes} bytes")     \
    X(evict_part, flush, "part {part} of the translation cache evicted: {fragments} fragments, {bytes} bytes") \
    X(code_page, invalidate, "page {gpa:x}")                                                       \
    X(code_bytes, invalidate, "{bytes} bytes at {gpa:x}")                                          \
    X(port_read, io, "read of port {port:x}, {bytes} bytes: {value:x}")                            \
    X(port_write, io, "write of {value:x} to port {port:x}, {bytes} bytes")                        \
    X(unclaimed, mmio, "unclaimed memory at {gva:x}")                                              \
    X(kvm_unclaimed, mmio, "unclaimed memory at physical {gpa:x}, write {write}")                  \
    X(line, irq, "INTR {level}")                                                                   \
    X(interrupt, irq, "interrupt {vector:x} taken")                                                \
    X(unclaimed_read, device, "read of unclaimed port {port:x}, {bytes} bytes")                    \
    X(unclaimed_write, device, "write of {value:x} to unclaimed port {port:x}, {bytes} bytes")     \
    X(rdmsr, device, "rdmsr {msr:x}: unknown")                                                     \
    X(wrmsr, device, "wrmsr {msr:x} = {value:x}: refused")                                         \
    X(post, device, "diagnostic code {code:x} at port {port:x}")                                   \
    X(sleep, device, "sleep type {type} is not one we offer")

#endif
