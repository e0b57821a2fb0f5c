/* The one list of counters. Every count a machine keeps is a row here; --stats prints them in
 * this order, --stats=json by these names. They live in the arena and only the vCPU process
 * writes them. Callouts by class are counted beside them, a count a row of callouts.def. */
#ifndef RING3_BASE_COUNTERS_H
#define RING3_BASE_COUNTERS_H

#include <stdint.h>

/* name, what it counts */
#define COUNTERS(X)                                                                                \
    X(fragments, "fragments made")                                                                 \
    X(fragment_bytes, "bytes of host code emitted")                                                \
    X(guest_bytes, "bytes of guest code translated")                                               \
    X(guest_insns, "guest instructions translated")                                                \
    X(translate_cycles, "cycles spent translating")                                                \
    X(cache_flushes, "translation cache flushed")                                                  \
    X(renewals, "of these to make what is in use anew, closer together")                           \
    X(parts_evicted, "parts of the translation cache evicted")                                     \
    X(fragments_evicted, "fragments evicted with them")                                            \
    X(exits_chain, "exits through a link not yet made")                                            \
    X(links_made, "fragments chained")                                                             \
    X(links_undone, "links undone")                                                                \
    X(lookup_hits, "dispatcher look-ups that found a fragment")                                    \
    X(lookup_misses, "dispatcher look-ups that translated")                                        \
    X(jump_cache_misses, "indirect transfers that missed the jump cache")                          \
    X(slots_contended, "jump cache slots found to be wanted by several targets")                   \
    X(loops, "loops that were found running, and got fragments of their own")                        \
    X(copies, "code that leads to indirect jumps, copied for branches that lead there")                \
    X(crossings, "loops that were found running across the end of a page")                           \
    X(landings_wary, "landings that a return to elsewhere has reached")                            \
    X(retranslations, "sites retranslated for another way of reaching memory")                     \
    X(one_shots, "instructions run once beside their page's code")                                 \
    X(hidden_faults, "hidden faults (shadow entry filled)")                                        \
    X(true_faults, "true page faults")                                                             \
    X(faults_answered, "pages mapped on the return to a true fault")                     \
    X(other_faults, "other exceptions raised by hardware in translated code")                      \
    X(pages_mapped, "guest pages mapped into windows")                                             \
    X(map_calls, "mmap calls that mapped them")                                                    \
    X(prefaults, "pages mapped ahead of their use")                                                \
    X(flush_cr3, "address space loads")                                                            \
    X(flush_all, "flushes of everything")                                                          \
    X(flush_page, "INVLPG")                                                                        \
    X(entries_compared, "shadowed entries compared at flushes")                                    \
    X(entries_dropped, "shadowed entries dropped")                                                 \
    X(windows_new, "address spaces given a fresh window")                                          \
    X(windows_dense, "address spaces whose data were looked up for long, and are mapped from then on") \
    X(windows_evicted, "windows evicted")                                                          \
    X(invalidate_write, "fragments invalidated by a guest write")                                  \
    X(invalidate_device, "fragments invalidated by a monitor or device write")                     \
    X(invalidate_remap, "fragments unlinked by a mapping change")                                  \
    X(exceptions, "exceptions delivered to the guest")                                             \
    X(soft_interrupts, "software interrupts")                                                      \
    X(interrupts, "external interrupts delivered")                                                 \
    X(host_signals, "host signals that asked for attention")                                       \
    X(halts, "HLT")                                                                                \
    X(halt_ns, "nanoseconds in HLT")                                                               \
    X(port_reads, "port reads")                                                                    \
    X(port_writes, "port writes")                                                                  \
    X(kvm_exits, "returns from KVM")                                                               \
    X(kvm_mmio, "accesses to unclaimed memory under KVM")

struct counters {
#define COUNTER_FIELD(name, text) uint64_t name;
    COUNTERS(COUNTER_FIELD)
#undef COUNTER_FIELD
};

#endif
