/* The model of page protection: see pages_model.h. Sections are of SDM vol. 3A. */
#include "tests/system/pages_model.h"

enum { ERROR_P = 1, ERROR_W = 2, ERROR_U = 4, ERROR_RSVD = 8, ERROR_ID = 16 };

/* 4.7, "Page-Fault Exceptions": the bits that depend on the access alone. */
static uint8_t error_of_access(const struct control *c, const struct access *a) {
    bool tells_fetch = c->smep || (c->pae && c->nxe);
    return (uint8_t)((a->kind == ACCESS_WRITE ? ERROR_W : 0) | (a->user ? ERROR_U : 0) |
                     (a->kind == ACCESS_FETCH && tells_fetch ? ERROR_ID : 0));
}

/* 4.3 (table 4-4, figure 4-4) and 4.4.2: bit 63 is reserved while NXE is clear. */
static bool has_reserved(const struct control *c, const struct entry *e) {
    return e->reserved || (c->pae && e->no_execute && !c->nxe);
}

/* 4.6.1, "Determination of Access Rights". */
static bool allowed(const struct control *c, const struct access *a, bool user_page, bool writable,
                    bool no_execute) {
    bool executable = !(c->pae && c->nxe && no_execute);
    if (a->user) {
        if (!user_page)
            return false;
        return a->kind == ACCESS_FETCH ? executable : a->kind == ACCESS_READ || writable;
    }
    if (a->kind == ACCESS_FETCH)
        return executable && !(c->smep && user_page);
    if (user_page && c->smap && (a->implicit || !a->ac))
        return false;
    return a->kind == ACCESS_READ || writable || !c->wp;
}

static struct verdict fault(struct verdict v, unsigned error) {
    v.fault = true;
    v.error |= (uint8_t)error;
    return v;
}

struct verdict model_access(const struct control *c, const struct access *a, struct entry pde,
                            struct entry pte) {
    struct verdict v = {.error = error_of_access(c, a), .pde = pde, .pte = pte};
    bool large = pde.large && (c->pae || c->pse);
    if (!pde.present)
        return fault(v, 0);
    /* In 32-bit paging only entries of 4 MiB pages have reserved bits (table 4-4). */
    if (has_reserved(c, &pde) && (c->pae || large))
        return fault(v, ERROR_P | ERROR_RSVD);
    v.upper_accessed_free = !large;
    if (!large) {
        if (!pte.present)
            return fault(v, 0);
        if (c->pae && has_reserved(c, &pte))
            return fault(v, ERROR_P | ERROR_RSVD);
    }
    const struct entry *leaf = large ? &pde : &pte;
    if (!allowed(c, a, pde.user && leaf->user, pde.writable && leaf->writable,
                 pde.no_execute || leaf->no_execute)) {
        v.upper_accessed_free = true;
        return fault(v, ERROR_P);
    }
    v.upper_accessed_free = false;
    v.pde.accessed = true; /* 4.8 */
    if (!large)
        v.pte.accessed = true;
    if (a->kind == ACCESS_WRITE)
        *(large ? &v.pde.dirty : &v.pte.dirty) = true;
    return v;
}
