/* A session's frame: acknowledgements, which command a packet is, stops (gdb_session.h). */
#include "inspect/gdb_session.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define SIGNAL_INTERRUPT 2
#define SIGNAL_TRAP 5
#define SIGNAL_SEGMENT 11 /* a triple fault */

static void send(struct gdb_session *s, const char *bytes, size_t size) {
    if (size > sizeof s->out - s->out_size) {
        s->broken = true;
        return;
    }
    memcpy(s->out + s->out_size, bytes, size);
    s->out_size += size;
}

static void send_reply(struct gdb_session *s) {
    if (s->reply.overflow) {
        gdb_reply_clear(&s->reply);
        gdb_reply_error(s, -E2BIG);
    }
    s->last_size = gdb_frame(&s->reply, s->last_frame);
    send(s, s->last_frame, s->last_size);
}

void gdb_reply_error(struct gdb_session *s, int error) {
    assert(error <= 0);
    if (error)
        gdb_reply_print(&s->reply, "E%02x", (unsigned)-error & 0xffu);
    else
        gdb_reply_text(&s->reply, "OK");
}

static const struct gdb_point *breakpoint_at(const struct gdb_session *s, gva_t address) {
    for (unsigned i = 0; i < s->point_count; i++)
        if (s->points[i].type <= 1 && s->points[i].address == address)
            return &s->points[i];
    return NULL;
}

bool gdb_session_has_point(const struct gdb_session *s, const struct inspection_stop *why) {
    if (why->reason == STOP_BREAKPOINT)
        return breakpoint_at(s, why->address);
    for (unsigned i = 0; why->reason == STOP_WATCHPOINT && i < s->point_count; i++)
        if (s->points[i].type > 1 && s->points[i].address == why->watchpoint)
            return true;
    return false;
}

void gdb_stop_reply(struct gdb_session *s, const struct inspection_stop *why) {
    static const char *const watches[] = {
        [WATCH_WRITE] = "watch", [WATCH_READ] = "rwatch", [WATCH_ACCESS] = "awatch"};
    const struct gdb_point *point = breakpoint_at(s, why->address);
    unsigned signal = why->reason == STOP_ASKED          ? SIGNAL_INTERRUPT
                      : why->reason == STOP_TRIPLE_FAULT ? SIGNAL_SEGMENT
                                                         : SIGNAL_TRAP;
    gdb_reply_print(&s->reply, "T%02xthread:1;", signal);
    if (why->reason == STOP_WATCHPOINT && why->watch >= WATCH_WRITE && why->watch <= WATCH_ACCESS)
        gdb_reply_print(&s->reply, "%s:%x;", watches[why->watch], why->address);
    if (why->reason == STOP_BREAKPOINT && point && s->tells_breaks)
        gdb_reply_text(&s->reply, point->type ? "hwbreak:;" : "swbreak:;");
}

void gdb_session_start(struct gdb_session *s, struct target *target) {
    memset(s, 0, offsetof(struct gdb_session, registers));
    s->in.state = GDB_BETWEEN;
    s->last_size = s->out_size = 0;
    s->target = target;
}

void gdb_session_stopped(struct gdb_session *s, const struct inspection_stop *why) {
    s->last = *why;
    s->resetting = false;
    if (!s->waiting)
        return;
    s->waiting = false;
    gdb_reply_clear(&s->reply);
    gdb_stop_reply(s, why);
    send_reply(s);
}

void gdb_session_exited(struct gdb_session *s, int status) {
    if (!s->waiting)
        return;
    s->waiting = false;
    gdb_reply_clear(&s->reply);
    gdb_reply_print(&s->reply, "W%02x", (unsigned)status & 0xffu);
    send_reply(s);
}

void gdb_command_go(struct gdb_session *s, bool step) {
    int rc = step ? target_step(s->target) : target_resume(s->target);
    if (rc == -EBUSY)
        rc = 0; /* somebody else was quicker: wait for the stop */
    s->waiting = s->silent = !rc;
    if (rc)
        gdb_reply_error(s, rc);
}

/* c, s: with an address to go on at. C, S: with a signal, for which there is no use, and then that.
 */
static void go(struct gdb_session *s, const char *text, bool step, bool signal) {
    uint64_t number;
    if (signal) {
        gdb_parse_number(&text, &number);
        gdb_parse_word(&text, ";");
    }
    if (*text) {
        bool valid = gdb_parse_number(&text, &number) && !*text && number <= UINT32_MAX;
        int rc = valid ? target_write_register(s->target, INSPECT_EIP, number) : -EINVAL;
        if (rc) {
            gdb_reply_error(s, rc);
            return;
        }
    }
    gdb_command_go(s, step);
}

static void read_all_registers(struct gdb_session *s) {
    int rc = gdb_registers_fetch(s->target, &s->registers);
    for (unsigned i = 0; !rc && i < gdb_register_count(); i++) {
        uint8_t value[GDB_REGISTER_BYTES_MAX];
        gdb_register_get(&s->registers, i, value);
        gdb_reply_hex(&s->reply, value, gdb_register_size(i));
    }
    if (rc)
        gdb_reply_error(s, rc);
}

/* Those that cannot be written stay as they are. */
static void write_all_registers(struct gdb_session *s, const char *text) {
    int rc = gdb_registers_fetch(s->target, &s->registers);
    for (unsigned i = 0; !rc && *text && i < gdb_register_count(); i++) {
        uint8_t value[GDB_REGISTER_BYTES_MAX];
        if (!gdb_parse_bytes(&text, value, gdb_register_size(i)))
            rc = -EINVAL;
        else
            rc = gdb_register_set(s->target, &s->registers, i, value);
        if (rc == -ENOTSUP)
            rc = 0;
    }
    gdb_reply_error(s, rc);
}

static void read_register(struct gdb_session *s, const char *text) {
    uint64_t number;
    uint8_t value[GDB_REGISTER_BYTES_MAX];
    bool valid = gdb_parse_number(&text, &number) && !*text && number < gdb_register_count();
    int rc = valid ? gdb_registers_fetch(s->target, &s->registers) : -EINVAL;
    if (rc) {
        gdb_reply_error(s, rc);
        return;
    }
    gdb_register_get(&s->registers, (unsigned)number, value);
    gdb_reply_hex(&s->reply, value, gdb_register_size((unsigned)number));
}

static void write_register(struct gdb_session *s, const char *text) {
    uint64_t number;
    uint8_t value[GDB_REGISTER_BYTES_MAX];
    bool valid = gdb_parse_number(&text, &number) && number < gdb_register_count() &&
                 gdb_parse_word(&text, "=") &&
                 gdb_parse_bytes(&text, value, gdb_register_size((unsigned)number)) && !*text;
    int rc = valid ? gdb_registers_fetch(s->target, &s->registers) : -EINVAL;
    if (!rc)
        rc = gdb_register_set(s->target, &s->registers, (unsigned)number, value);
    gdb_reply_error(s, rc);
}

/* "ADDRESS,LENGTH" of memory packets. */
static bool parse_place(const char **text, uint64_t *address, uint64_t *len) {
    return gdb_parse_number(text, address) && gdb_parse_word(text, ",") &&
           gdb_parse_number(text, len);
}

static void read_memory(struct gdb_session *s, const char *text) {
    uint64_t address, len;
    uint8_t bytes[GDB_PACKET_MAX / 2];
    if (!parse_place(&text, &address, &len) || *text) {
        gdb_reply_error(s, -EINVAL);
        return;
    }
    size_t wanted = len < sizeof bytes ? (size_t)len : sizeof bytes;
    size_t got = target_read(s->target, address, s->physical, bytes, wanted);
    if (got)
        gdb_reply_hex(&s->reply, bytes, got);
    else if (len)
        gdb_reply_error(s, -EFAULT);
}

/* M has digits, X has bytes. */
static void write_memory(struct gdb_session *s, const char *text, bool binary) {
    uint64_t address, len;
    uint8_t bytes[GDB_PACKET_MAX];
    bool valid = parse_place(&text, &address, &len) && gdb_parse_word(&text, ":");
    size_t left = valid ? (size_t)(s->in.bytes + s->in.size - text) : 0;
    if (binary)
        valid &= len == left;
    else
        valid &=
            len <= sizeof bytes && left == 2 * len && gdb_parse_bytes(&text, bytes, (size_t)len);
    int rc = valid ? target_write(s->target, address, s->physical,
                                  binary ? (const void *)text : bytes, (size_t)len)
                   : -EINVAL;
    gdb_reply_error(s, rc);
}

/* The one thread is number 1; 0 and -1 are any and all. */
static void check_thread(struct gdb_session *s, const char *text) {
    bool known = !strcmp(text, "1") || !strcmp(text, "0") || !strcmp(text, "-1");
    gdb_reply_error(s, known ? 0 : -ESRCH);
}

static void detach(struct gdb_session *s) {
    s->leaves = true;
    gdb_reply_error(s, 0);
}

static void kill_machine(struct gdb_session *s) {
    target_exit(s->target, EXIT_QUIT);
    s->leaves = s->silent = true;
}

static void report_stop(struct gdb_session *s) {
    struct inspection_stop why = s->last;
    if (why.reason == STOP_ASKED || why.reason == STOP_NONE)
        why.reason = STOP_STEP; /* no signal that a program would have got */
    gdb_stop_reply(s, &why);
}

/* Registers and memory. False: another packet. */
static bool dispatch_data(struct gdb_session *s, char command, const char *text) {
    switch (command) {
    case 'g':
        read_all_registers(s);
        break;
    case 'G':
        write_all_registers(s, text);
        break;
    case 'p':
        read_register(s, text);
        break;
    case 'P':
        write_register(s, text);
        break;
    case 'm':
        read_memory(s, text);
        break;
    case 'M':
    case 'X':
        write_memory(s, text, command == 'X');
        break;
    default:
        return false;
    }
    return true;
}

static void dispatch(struct gdb_session *s, const char *text) {
    char command = *text++;
    if (dispatch_data(s, command, text))
        return;
    switch (command) {
    case '?':
        report_stop(s);
        break;
    case 'c':
    case 's':
    case 'C':
    case 'S':
        go(s, text, command == 's' || command == 'S', command == 'C' || command == 'S');
        break;
    case 'Z':
    case 'z':
        gdb_command_point(s, text, command == 'Z');
        break;
    case 'H':
        check_thread(s, *text ? text + 1 : text);
        break;
    case 'T':
        check_thread(s, text);
        break;
    case 'D':
        detach(s);
        break;
    case 'k':
        kill_machine(s);
        break;
    case 'q':
        gdb_command_query(s, text);
        break;
    case 'Q':
        gdb_command_set(s, text);
        break;
    case 'v':
        gdb_command_verbose(s, text);
        break;
    default:
        break; /* the empty reply */
    }
}

static void take_packet(struct gdb_session *s) {
    bool acks = !s->no_ack;
    if (acks)
        send(s, "+", 1);
    gdb_reply_clear(&s->reply);
    s->silent = false;
    dispatch(s, s->in.bytes);
    if (!s->silent)
        send_reply(s);
}

static void interrupt(struct gdb_session *s) {
    if (s->waiting)
        target_pause(s->target);
}

size_t gdb_session_receive(struct gdb_session *s, const void *bytes, size_t size) {
    const uint8_t *at = bytes;
    size_t taken = 0;
    while (taken < size && !s->leaves && !s->broken && !s->resetting) {
        switch (gdb_read_byte(&s->in, at[taken++])) {
        case GDB_NOTHING:
            break;
        case GDB_PACKET:
            take_packet(s);
            break;
        case GDB_DAMAGED:
            if (!s->no_ack)
                send(s, "-", 1);
            break;
        case GDB_INTERRUPT:
            interrupt(s);
            break;
        case GDB_RESEND:
            if (!s->no_ack)
                send(s, s->last_frame, s->last_size);
            break;
        }
    }
    return taken;
}
