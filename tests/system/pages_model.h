/* An independent model of page protection, written from SDM vol. 3A, 4.3-4.8: what an access to a
 * page must give, from the bits of the two entries that translate it. */
#ifndef RING3_TESTS_SYSTEM_PAGES_MODEL_H
#define RING3_TESTS_SYSTEM_PAGES_MODEL_H

#include <stdbool.h>
#include <stdint.h>

struct control {
    bool pae, wp, pse, pge, smep, nxe, smap;
};

enum access_kind { ACCESS_READ, ACCESS_WRITE, ACCESS_FETCH };

struct access {
    enum access_kind kind;
    bool user;     /* made at CPL 3 and not implicitly by the processor */
    bool implicit; /* by the processor: EFLAGS.AC does not lift SMAP */
    bool ac;
};

struct entry {
    bool present, writable, user, accessed, dirty, large, no_execute, reserved;
};

struct verdict {
    bool fault;
    uint8_t error;            /* of the fault */
    struct entry pde, pte;    /* A and D afterwards */
    bool upper_accessed_free; /* a fault may leave A of the entries above set or not: 4.8 */
};

struct verdict model_access(const struct control *control, const struct access *access,
                            struct entry pde, struct entry pte);

#endif
