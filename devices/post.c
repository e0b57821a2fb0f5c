/* The diagnostic port: see post.h. */
#include "devices/post.h"

#include "devices/port_bytes.h"

#define POST_PORT 0x80
#define DELAY_PORT 0xed

struct post {
    uint8_t code;
    struct trace *trace;
};

static void post_write(void *device, uint16_t port, uint32_t value, unsigned size) {
    struct post *post = device;
    (void)size;
    uint8_t code = (uint8_t)value;
    if (code != post->code) /* delays repeat one value */
        TRACE(post->trace, post, code, port);
    post->code = code;
}

static uint32_t post_read(void *device, uint16_t port, unsigned size) {
    const struct post *post = device;
    if (size > 1)
        return port_read_bytes(post_read, device, port, size);
    return port == POST_PORT || port == DELAY_PORT ? post->code : PORT_FLOATING;
}

struct post *post_create(struct arena *arena, struct bus *bus, struct trace *trace) {
    struct post *post = ARENA_NEW(arena, struct post);
    post->trace = trace;
    bus_claim(bus, "post", POST_PORT, 1, post_read, post_write, post);
    bus_claim(bus, "io delay", DELAY_PORT, 1, post_read, post_write, post);
    return post;
}
