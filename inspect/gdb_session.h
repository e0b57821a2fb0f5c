/* One debugger's session: what its packets mean, without the socket they come by.
 *
 * Bytes go in by gdb_session_receive, bytes to be sent collect in `out`. Whoever owns the session
 * passes on what the target tells its listeners. Nothing that a peer sends can do more than the
 * commands do: what is malformed is answered by an error or by nothing, as the protocol has it.
 *
 * Commands are in gdb_commands.c, gdb_points.c, gdb_queries.c and gdb_console.c (`monitor`). Each
 * gets the packet behind its name and fills `reply`; an empty reply means "not known". */
#ifndef RING3_INSPECT_GDB_SESSION_H
#define RING3_INSPECT_GDB_SESSION_H

#include "inspect/gdb_packet.h"
#include "inspect/gdb_registers.h"

#define GDB_OUT_MAX (8 * (GDB_PACKET_MAX + 4))
#define GDB_POINTS_MAX (INSPECTION_BREAKPOINTS_MAX + INSPECTION_WATCHPOINTS_MAX)

struct gdb_point {
    char type; /* 0-4, as in Z packets */
    gva_t address;
    uint32_t len;
};

struct gdb_session {
    struct target *target;
    bool no_ack;
    bool tells_breaks; /* it understands swbreak and hwbreak */
    bool physical;     /* memory packets name physical addresses */
    bool waiting;      /* the machine runs for it: its next stop is to be told */
    bool silent;       /* the packet gets no reply, now or ever */
    bool leaves;       /* detached */
    bool broken;       /* it does not read what it is sent */
    bool resetting;    /* the machine was told to reset and stop again: no packets until it has */
    struct inspection_stop last;
    unsigned point_count;
    struct gdb_point points[GDB_POINTS_MAX];
    struct gdb_registers registers;
    struct gdb_reader in;
    struct gdb_reply reply;
    struct gdb_reply console; /* what a command of `monitor` prints */
    size_t last_size, out_size;
    char last_frame[GDB_PACKET_MAX + 4];
    char out[GDB_OUT_MAX];
};

/* Begins with a machine that stands, or will before anything is received. */
void gdb_session_start(struct gdb_session *session, struct target *target);
/* Takes bytes until the session leaves, is broken or is resetting; returns how many. */
size_t gdb_session_receive(struct gdb_session *session, const void *bytes, size_t size);
void gdb_session_stopped(struct gdb_session *session, const struct inspection_stop *why);
/* The machine has ended for good. */
void gdb_session_exited(struct gdb_session *session, int status);
/* Takes breakpoints and watchpoints back. False: the machine runs; call it again when it stands. */
bool gdb_session_clear_points(struct gdb_session *session);
/* Is the stop at something that the session has set? */
bool gdb_session_has_point(const struct gdb_session *session, const struct inspection_stop *why);

/* Between the parts. */
void gdb_reply_error(struct gdb_session *session, int error); /* a negative errno; 0: OK */
void gdb_stop_reply(struct gdb_session *session, const struct inspection_stop *why);
void gdb_command_point(struct gdb_session *session, const char *text, bool set);
void gdb_command_query(struct gdb_session *session, const char *text);
void gdb_command_set(struct gdb_session *session, const char *text);
void gdb_command_verbose(struct gdb_session *session, const char *text);
void gdb_command_go(struct gdb_session *session, bool step);
void gdb_console(struct gdb_session *session, const char *line, struct gdb_reply *output);

#endif
