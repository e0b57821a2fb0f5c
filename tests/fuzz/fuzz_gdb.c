/* Fuzzes the session of a debugger over a target without a machine.
 *
 * An input is a list of records: a kind, a length, bytes. Bytes are a packet's contents, framed
 * here, so that they come past the checksum; or bytes as they come from a socket; or something
 * that happens meanwhile: a stop, somebody else who resumes, the end of the machine.
 *
 * What is sent must be packets and acknowledgements and nothing else, a debugger's points must be
 * those that the target has, and it must be told of each stop that it waits for, once. */
#include <stdio.h>
#include <stdlib.h>

#include "inspect/gdb_session.h"
#include "tests/common/fake_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum kind { PACKET, RAW, STOP, RESUME, EXITED, KINDS };

static struct gdb_session session;
static struct gdb_reader peer; /* reads what the session sends */
static unsigned replies;

static void require(bool holds, const char *what) {
    if (holds)
        return;
    fprintf(stderr, "broken: %s\n", what);
    abort();
}

/* Takes what was sent, as a debugger would. */
static void drain(void) {
    require(session.out_size <= sizeof session.out, "more to send than there is room for");
    replies = 0;
    for (size_t i = 0; i < session.out_size; i++) {
        uint8_t byte = (uint8_t)session.out[i];
        bool between = peer.state == GDB_BETWEEN;
        enum gdb_event event = gdb_read_byte(&peer, byte);
        require(!between || byte == '$' || byte == '+' || byte == '-', "a byte between packets");
        require(event != GDB_DAMAGED, "a damaged packet");
        replies += event == GDB_PACKET;
    }
    require(peer.state == GDB_BETWEEN, "a packet without an end");
    session.out_size = 0;
}

static void receive(const void *bytes, size_t size) {
    bool waited = session.waiting;
    size_t taken = gdb_session_receive(&session, bytes, size);
    require(taken == size || session.leaves || session.broken || session.resetting,
            "bytes left over");
    require(session.waiting || !waited || session.leaves || fake_stands(),
            "forgot to wait for a stop");
    drain();
}

static void packet(const uint8_t *bytes, size_t size) {
    static struct gdb_reply reply;
    static char frame[GDB_PACKET_MAX + 4];
    gdb_reply_clear(&reply);
    gdb_reply_binary(&reply, bytes, size);
    unsigned before = fake.resumes + fake.steps;
    receive(frame, gdb_frame(&reply, frame));
    bool went = fake.resumes + fake.steps != before;
    bool silent = session.waiting || session.leaves;
    require(replies == 1 || (silent && !replies), "a packet without one reply");
    require(!went || session.waiting, "resumed and does not wait");
}

static void stop(const uint8_t *bytes, size_t size) {
    struct inspection_stop why = {.reason = STOP_ASKED};
    if (fake_stands() && !session.resetting)
        return;
    if (size > 0)
        why.reason = STOP_ASKED + bytes[0] % STOP_TRIPLE_FAULT;
    if (size > 1)
        why.watch = bytes[1];
    if (size > 2)
        why.address = why.watchpoint = bytes[2];
    bool waited = session.waiting;
    atomic_store(&fake.inspection.state, INSPECTION_STOPPED);
    gdb_session_stopped(&session, &why);
    drain();
    require(replies == waited && !session.waiting, "a stop is told of when it is waited for");
}

static void check_points(void) {
    unsigned watches = 0;
    for (unsigned i = 0; i < session.point_count; i++)
        watches += session.points[i].type > 1;
    require(watches == fake_target.watchpoint_count, "watchpoints of the target's own");
    require(session.point_count - watches == fake_target.breakpoint_count,
            "breakpoints of the target's own");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fake_reset();
    memset(&peer, 0, sizeof peer);
    gdb_session_start(&session, &fake_target);
    for (size_t at = 0; at + 2 <= size && !session.leaves && !session.broken;) {
        enum kind kind = data[at] % KINDS;
        size_t len = data[at + 1] < size - at - 2 ? data[at + 1] : size - at - 2;
        const uint8_t *bytes = data + at + 2;
        at += 2 + len;
        if (kind == STOP || session.resetting)
            stop(bytes, len);
        else if (kind == PACKET && session.in.state == GDB_BETWEEN)
            packet(bytes, len);
        else if (kind == RESUME)
            atomic_store(&fake.inspection.state, INSPECTION_RUNS);
        else if (kind == EXITED)
            gdb_session_exited(&session, 3);
        else
            receive(bytes, len);
        session.out_size = 0;
        check_points();
    }
    atomic_store(&fake.inspection.state, INSPECTION_STOPPED);
    require(gdb_session_clear_points(&session), "points that cannot be cleared");
    require(!fake_target.breakpoint_count && !fake_target.watchpoint_count, "points are left over");
    return 0;
}
