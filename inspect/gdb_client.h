/* The other end of the stub (gdb.h): asks a running ring3 for its CPU's mode and its memory. While
 * connected the guest stands still; it goes on afterwards. The peer may be anything: what it says
 * is checked. */
#ifndef RING3_INSPECT_GDB_CLIENT_H
#define RING3_INSPECT_GDB_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "inspect/gdb_packet.h"
#include "memory/addr.h"

struct gdb_client {
    int fd;
    const char *place; /* for error lines: the caller's string */
    struct gdb_reader reader;
};

/* What a translation depends on (`monitor mode`). */
struct gdb_client_mode {
    uint32_t mode; /* MODE_* */
    uint32_t eip, cs_base, cs_limit;
    uint32_t sysenter_eip;
};

/* "[ADDRESS:]PORT", loopback without an address. 0, or -1 with `error` filled and nothing to close.
 */
int gdb_client_open(struct gdb_client *client, const char *place, struct error *error);
void gdb_client_close(struct gdb_client *client);

int gdb_client_mode(struct gdb_client *client, struct gdb_client_mode *mode, struct error *error);
/* Bytes at a linear address, through the guest's page tables as they are. Returns how many could be
 * read from the start (at most `len`), or -1 with `error` filled. */
int gdb_client_read(struct gdb_client *client, gva_t gva, uint8_t *to, uint32_t len,
                    struct error *error);

#endif
