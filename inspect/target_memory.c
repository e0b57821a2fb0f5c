/* Reading a machine's memory from the monitor (target.h). */
#include <string.h>

#include "inspect/target.h"

bool target_translate(const struct target *target, gva_t address, gpa_t *gpa) {
    if (!target->vcpu)
        return false;
    struct paging paging = target->vcpu->cpu.paging;
    paging.ac = true; /* SMAP does not bind us */
    struct walk walk = walk_page(target->ram, &paging, address, ACCESS_READ, false, false);
    *gpa = walk.gpa;
    return walk.ok;
}

size_t target_read(const struct target *target, uint64_t address, bool physical, void *to,
                   size_t len) {
    uint8_t *bytes = to;
    size_t done = 0;
    if (!target->vcpu)
        return 0;
    while (done < len) {
        uint64_t at = address + done;
        size_t left = PAGE_SIZE - (at & PAGE_MASK), part = left < len - done ? left : len - done;
        gpa_t gpa = at;
        if (at < address || (!physical && at > UINT32_MAX))
            break;
        if (!physical && !target_translate(target, (gva_t)at, &gpa))
            break;
        const void *from = ram_ptr(target->ram, gpa, part);
        if (!from)
            break;
        memcpy(bytes + done, from, part);
        done += part;
    }
    return done;
}
