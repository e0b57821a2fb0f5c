/* The web process's parts, private to it. */
#ifndef RING3_INSPECT_WEB_PRIVATE_H
#define RING3_INSPECT_WEB_PRIVATE_H

#include <capstone/capstone.h>
#include <jansson.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>

#include "inspect/symbols.h"
#include "inspect/web.h"
#include "runtime/engine_view.h"

#define WEB_TICK_MS 200 /* how often streams hear of the machine */
#define WEB_CONSOLE_KEPT (256u << 10)
#define WEB_STREAMS_MAX 8u
#define WEB_CONNECTIONS_MAX 32u
#define WEB_BODY_MAX 4096u

/* The last of the guest's console output; `end` counts all bytes ever. */
struct web_console_log {
    uint64_t end;
    uint8_t bytes[WEB_CONSOLE_KEPT];
};

/* When the fragments of this generation were first seen. */
struct web_births {
    uint64_t generation;
    uint32_t count;
    uint32_t *ms; /* by fragment, of the machine's clock */
    uint32_t max;
};

struct web_server {
    struct web_subject subject;
    const struct web_listener *listener;
    struct web_process monitor; /* the other end of the channel; pid is the monitor's */
    struct MHD_Daemon *daemon;
    csh guest32, guest16, host;
    struct web_console_log console;
    struct web_births births;
    struct web_stream *streams; /* a list */
    unsigned stream_count;
    bool watched;                    /* as the monitor was told */
    struct symbols *_Atomic symbols; /* NULL: none, or none yet */
    struct web_symbol_file { /* read before the sandbox closes, unpacked by a thread of its own */
        uint8_t *bytes;
        size_t size;
    } symbol_file;
    bool ended;
    char how[64]; /* it ended */
};

/* web_server.c: HTTP. */
int web_server_start(struct web_server *server);
/* Waits for requests or the channel, `timeout_ms` at most, and serves. */
void web_server_wait(struct web_server *server, int timeout_ms);

/* A pure reader of tables: their arena. */
static inline const struct arena *web_tables(const struct web_server *server) {
    return &server->subject.tables;
}
static inline const struct ram *web_ram(const struct web_server *server) {
    return &server->subject.ram;
}

/* web_process.c */
uint32_t web_now_ms(const struct web_server *server); /* of the machine */
bool web_send(const struct web_process *to, enum web_message kind, const void *bytes, size_t len);

/* web_symbols.c: a kernel takes a second to unpack, in which the page is to be served. */
void web_symbols_read(struct web_server *server);
void web_symbols_start(struct web_server *server);

/* web_sandbox.c. 0, or a negative errno. */
int web_sandbox_enter(void);

/* web_stream.c: server-sent events. */
enum MHD_Result web_stream_open(struct web_server *server, struct MHD_Connection *connection);
/* Tells all streams what is new. */
void web_streams_tell(struct web_server *server);

/* web_state.c: the vCPU and what is counted. */
json_t *web_model(const struct web_server *server); /* names and sentences, which do not change */
json_t *web_state(const struct web_server *server);
void web_copy_paging(const struct web_server *server, struct paging *paging);

/* web_fragments.c: the translation cache. */
void web_births_note(struct web_server *server);
/* Records of fragments from index `from` on (or of all, if `generation` is over): see
 * web/fragments.js. The caller frees. NULL: no memory. */
uint32_t *web_fragment_records(const struct web_server *server, uint64_t generation, uint32_t from,
                               size_t *len);
/* A word for each fragment: its heat, bit 31: dead. */
uint32_t *web_fragment_heat(const struct web_server *server, size_t *len);
/* The hottest, and how many samples there were. */
json_t *web_hot(const struct web_server *server);
/* One fragment, both sides disassembled; NULL: there is none such. */
json_t *web_fragment(const struct web_server *server, uint32_t index);

/* web_windows.c: windows against the guest's page tables. */
json_t *web_windows(const struct web_server *server);
/* Blocks of 4 MiB of a window's address space; NULL: no such window. */
json_t *web_blocks(const struct web_server *server, unsigned window);
/* The pages of one block, a letter for each. */
json_t *web_pages(const struct web_server *server, unsigned window, unsigned block);

/* web_code.c: bytes -> lines. */
int web_code_open(struct web_server *server);
/* Appends [address, hex bytes, text] for what is in `bytes`; what does not decode is one line. */
void web_code_lines(csh handle, json_t *lines, const uint8_t *bytes, size_t len, uint64_t address,
                    unsigned max_lines);
/* The guest's name for a linear address, "" where there is none. */
json_t *web_name(const struct web_server *server, gva_t linear);
/* The instructions at EIP. */
json_t *web_code_at_eip(const struct web_server *server);

/* page.S: the files of the page. */
struct web_file {
    const char *name, *type;
    const char *start, *end;
};
extern const struct web_file web_files[];
extern const unsigned web_file_count;

#endif
