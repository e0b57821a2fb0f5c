/* What both sides have in common: the data pages and the local descriptor table. */
#include "tests/diff/diff.h"

const uint8_t writable_page[WRITABLE_PAGES] = {1, 2, 5};

/* Flat ones, such with a base and a limit inside the data pages (16-bit addresses reach these), one
 * that expands down, read-only and execute-only ones, one that is not there, and one that ends in a
 * page that is not there. */
const struct ldt_entry ldt_entries[] = {
    {.limit = 0},
    {.base = DATA_PAGE(1) - 0x4560, .limit = 0xfffff, .pages = true},
    {.base = DATA_PAGE(1), .limit = 0x1fff},
    {.base = DATA_PAGE(1) - 0x7f0, .limit = 0x17ef},
    {.base = 0, .limit = DATA_PAGE(1) >> 12, .pages = true},
    {.base = DATA_AT, .limit = 0x1fff, .kind = LDT_DOWN},
    {.base = 0, .limit = 0xfffff, .pages = true, .closed = true},
    {.base = 0, .limit = 0xfffff, .pages = true, .kind = LDT_CODE},
    {.base = 0, .limit = 0xfffff, .pages = true, .kind = LDT_CODE, .closed = true},
    {.base = CODE_AT, .limit = CODE_BYTES - 0x11, .kind = LDT_CODE},
    {.base = 0, .limit = 0xfffff, .pages = true, .absent = true},
    {.base = 0, .limit = 0xfffff, .pages = true},
    {.base = DATA_PAGE(3), .limit = 0x1003},
};
const unsigned ldt_count = sizeof ldt_entries / sizeof *ldt_entries;

uint32_t selector_base(uint16_t selector) {
    unsigned i = selector >> 3;
    return selector & 4 && i < ldt_count ? ldt_entries[i].base : 0;
}
