/* A stub for GDB's remote protocol on a TCP port.
 *
 * Serves one debugger at a time, from the monitor's loop; the guest stops when one attaches and
 * goes on when it detaches or its connection breaks, its breakpoints taken back. Whoever can
 * connect owns the guest, so the address is loopback unless one is given. */
#ifndef RING3_INSPECT_GDB_H
#define RING3_INSPECT_GDB_H

#include "base/error.h"
#include "inspect/sources.h"
#include "inspect/target.h"

struct gdb;

/* Listens on "[ADDRESS:]PORT" (loopback without an address; [ADDRESS] for IPv6; port 0: any free
 * one). `say` prints a line for the user. NULL with `error` filled. */
struct gdb *gdb_open(const char *place, struct target *target, struct sources *sources,
                     void (*say)(const char *line), struct error *error);
/* The command ends with `status`, which a debugger that waits is told. NULL is fine. */
void gdb_close(struct gdb *gdb, int status);

#endif
