/* Packets of GDB's protocol sent, and their replies (gdb_client.h). */
#include "inspect/gdb_client.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "inspect/listen.h"

#define SECONDS 10
#define READ_MAX 1024u /* bytes a packet */

int gdb_client_open(struct gdb_client *client, const char *place, struct error *error) {
    *client = (struct gdb_client){.place = place};
    client->fd = connect_to(place, "gdb", SECONDS, error);
    return client->fd < 0 ? -1 : 0;
}

void gdb_client_close(struct gdb_client *client) {
    assert(client->fd >= 0);
    close(client->fd);
    client->fd = -1;
}

static int fail(const struct gdb_client *client, const char *why, struct error *error) {
    return error_set(error, "--gdb '%s': %s", client->place, why);
}

static int send_all(const struct gdb_client *client, const char *bytes, size_t size,
                    struct error *error) {
    while (size) {
        ssize_t sent = send(client->fd, bytes, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return fail(client, strerror(errno), error);
        bytes += sent;
        size -= (size_t)sent;
    }
    return 0;
}

/* The next packet into the reader; what the stub acknowledges is passed over. */
static int receive(struct gdb_client *client, struct error *error) {
    for (;;) {
        uint8_t byte;
        ssize_t got = recv(client->fd, &byte, 1, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail(client, errno == EAGAIN ? "no answer" : strerror(errno), error);
        if (got == 0)
            return fail(client, "the connection was closed", error);
        switch (gdb_read_byte(&client->reader, byte)) {
        case GDB_PACKET:
            return send_all(client, "+", 1, error);
        case GDB_DAMAGED:
            return fail(client, "a damaged answer", error);
        default:
            break;
        }
    }
}

/* Sends a command and waits for its reply, which is in the reader then. */
static int ask(struct gdb_client *client, const struct gdb_reply *command, struct error *error) {
    char frame[GDB_PACKET_MAX + 4];
    size_t size = gdb_frame(command, frame);
    return send_all(client, frame, size, error) || receive(client, error) ? -1 : 0;
}

int gdb_client_mode(struct gdb_client *client, struct gdb_client_mode *mode, struct error *error) {
    static const char word[] = "mode";
    struct gdb_reply command;
    char line[128] = "";
    gdb_reply_clear(&command);
    gdb_reply_text(&command, "qRcmd,");
    gdb_reply_hex(&command, word, sizeof word - 1);
    if (ask(client, &command, error))
        return -1;
    const char *text = client->reader.bytes;
    size_t bytes = client->reader.size / 2;
    if (bytes >= sizeof line || !gdb_parse_bytes(&text, line, bytes) ||
        sscanf(line, "mode %x eip %x base %x limit %x sysenter %x", &mode->mode, &mode->eip,
               &mode->cs_base, &mode->cs_limit, &mode->sysenter_eip) != 5)
        return fail(client, "no ring3 answers there", error);
    return 0;
}

int gdb_client_read(struct gdb_client *client, gva_t gva, uint8_t *to, uint32_t len,
                    struct error *error) {
    uint32_t done = 0;
    while (done < len) {
        uint32_t wanted = len - done < READ_MAX ? len - done : READ_MAX;
        struct gdb_reply command;
        gdb_reply_clear(&command);
        gdb_reply_print(&command, "m%x,%x", gva + done, wanted);
        if (ask(client, &command, error))
            return -1;
        const char *text = client->reader.bytes;
        size_t got = client->reader.size / 2;
        if (*text == 'E' || !got)
            break;
        if (got > wanted || !gdb_parse_bytes(&text, to + done, got)) {
            fail(client, "an answer that is no memory", error);
            return -1;
        }
        done += (uint32_t)got;
        if (got < wanted)
            break;
    }
    return (int)done;
}
