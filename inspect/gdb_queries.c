/* What a debugger asks of the stub and sets in it: q, Q and v packets. */
#include <errno.h>
#include <string.h>

#include "inspect/gdb_session.h"

static void supported(struct gdb_session *s, const char *text) {
    s->tells_breaks = strstr(text, "swbreak+") && strstr(text, "hwbreak+");
    gdb_reply_print(
        &s->reply,
        "PacketSize=%x;QStartNoAckMode+;qXfer:features:read+;vContSupported+;swbreak%c;hwbreak%c",
        GDB_PACKET_MAX, s->tells_breaks ? '+' : '-', s->tells_breaks ? '+' : '-');
}

/* "target.xml:OFFSET,LENGTH" */
static void features(struct gdb_session *s, const char *text) {
    const char *xml = gdb_target_description();
    uint64_t offset, len, size = strlen(xml);
    bool valid = gdb_parse_word(&text, "target.xml:") && gdb_parse_number(&text, &offset) &&
                 gdb_parse_word(&text, ",") && gdb_parse_number(&text, &len) && !*text;
    if (!valid || offset > size) {
        gdb_reply_text(&s->reply, "E00");
        return;
    }
    uint64_t room = (GDB_PACKET_MAX - 1) / 2; /* each byte may be escaped */
    uint64_t part = size - offset < len ? size - offset : len;
    part = part < room ? part : room;
    gdb_reply_text(&s->reply, offset + part < size ? "m" : "l");
    gdb_reply_binary(&s->reply, xml + offset, (size_t)part);
}

/* A command of `monitor`, in hex both ways. */
static void command(struct gdb_session *s, const char *text) {
    struct gdb_reply *output = &s->console;
    char line[256];
    size_t size = strlen(text) / 2;
    if (strlen(text) % 2 || size >= sizeof line || !gdb_parse_bytes(&text, line, size)) {
        gdb_reply_error(s, -EINVAL);
        return;
    }
    line[size] = 0;
    gdb_reply_clear(output);
    gdb_console(s, line, output);
    size_t shown = output->size < GDB_PACKET_MAX / 2 ? output->size : GDB_PACKET_MAX / 2;
    if (shown)
        gdb_reply_hex(&s->reply, output->bytes, shown);
    else
        gdb_reply_error(s, 0);
}

static void thread_text(struct gdb_session *s) {
    bool halted = target_is_stopped(s->target) && s->target->vcpu->cpu.halted;
    const char *text = halted ? "CPU 0, in HLT" : "CPU 0";
    gdb_reply_hex(&s->reply, text, strlen(text));
}

void gdb_command_query(struct gdb_session *s, const char *text) {
    if (gdb_parse_word(&text, "Supported"))
        supported(s, text);
    else if (gdb_parse_word(&text, "Xfer:features:read:"))
        features(s, text);
    else if (gdb_parse_word(&text, "Rcmd,"))
        command(s, text);
    else if (gdb_parse_word(&text, "ThreadExtraInfo,"))
        thread_text(s);
    else if (!strcmp(text, "fThreadInfo"))
        gdb_reply_text(&s->reply, "m1");
    else if (!strcmp(text, "sThreadInfo"))
        gdb_reply_text(&s->reply, "l");
    else if (!strcmp(text, "C"))
        gdb_reply_text(&s->reply, "QC1");
    else if (gdb_parse_word(&text, "Attached"))
        gdb_reply_text(&s->reply, "1");
    else if (gdb_parse_word(&text, "Symbol:"))
        gdb_reply_text(&s->reply, "OK");
    else if (!strcmp(text, "qemu.PhyMemMode"))
        gdb_reply_text(&s->reply, s->physical ? "1" : "0");
}

void gdb_command_set(struct gdb_session *s, const char *text) {
    if (!strcmp(text, "StartNoAckMode")) {
        s->no_ack = true;
        gdb_reply_error(s, 0);
    } else if (gdb_parse_word(&text, "qemu.PhyMemMode:")) {
        bool valid = (*text == '0' || *text == '1') && !text[1];
        if (valid)
            s->physical = *text == '1';
        gdb_reply_error(s, valid ? 0 : -EINVAL);
    }
}

/* The first action that is for our thread: "c", "s;..." or with a thread behind. */
static void resume(struct gdb_session *s, const char *text) {
    while (gdb_parse_word(&text, ";")) {
        char action = *text;
        const char *thread = text + strcspn(text, ":;");
        const char *end = text + strcspn(text, ";");
        bool ours = *thread != ':' || !strncmp(thread + 1, "1", 1) ||
                    !strncmp(thread + 1, "-1", 2) || !strncmp(thread + 1, "0", 1);
        if (ours && action && strchr("cCsS", action)) {
            gdb_command_go(s, action == 's' || action == 'S');
            return;
        }
        text = end;
    }
    gdb_reply_error(s, -EINVAL);
}

void gdb_command_verbose(struct gdb_session *s, const char *text) {
    if (!strcmp(text, "Cont?")) {
        gdb_reply_text(&s->reply, "vCont;c;C;s;S");
    } else if (gdb_parse_word(&text, "Cont")) {
        resume(s, text);
    } else if (gdb_parse_word(&text, "Kill")) {
        target_exit(s->target, EXIT_QUIT);
        s->leaves = true;
        gdb_reply_error(s, 0);
    }
}
