/* What every guest kernel of ours starts with: entry, command line, and all of the library. */
#ifndef RING3_GUEST_GUEST_H
#define RING3_GUEST_GUEST_H

#include "guest/lib/check.h"
#include "guest/lib/console.h"
#include "guest/lib/cpu.h"
#include "guest/lib/paging.h"
#include "guest/lib/pc.h"
#include "guest/lib/trap.h"

/* Written by each guest; console and traps are up, paging and interrupts are off. */
void guest_main(void);
/* The value of "name=..." or "name" (then "") on the command line; NULL when it is not there. */
const char *guest_option(const char *name);
uint32_t guest_option_number(const char *name, uint32_t otherwise);
/* PAGING_PAE with the option "pae" (the CPU must have it), else PAGING_32. */
enum paging_kind guest_paging(void);

#endif
