/* A guest file while it is being loaded: its head in memory, the rest read where it is needed.
 *
 * Reading instead of mapping: a file that shrinks meanwhile is an error line, not a SIGBUS, and
 * what was checked is what is used. */
#ifndef RING3_LOADER_IMAGE_H
#define RING3_LOADER_IMAGE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/error.h"

#define IMAGE_HEAD 8192

struct image {
    const char *name; /* for error lines; the path or, of a very long one, its end */
    int fd;
    uint64_t size;
    size_t head_size; /* min(size, IMAGE_HEAD) */
    uint8_t head[IMAGE_HEAD];
};

/* Opens a regular file that is not empty. 0, or -1 with `error` filled and nothing to close. */
int image_open(struct image *image, const char *path, struct error *error);
void image_close(struct image *image);

/* Are [offset, offset+len) bytes of the file? */
static inline int image_has(const struct image *image, uint64_t offset, uint64_t len) {
    return offset <= image->size && len <= image->size - offset;
}
/* Reads [offset, offset+len), which the error line calls `what`. 0, or -1 with `error` filled. */
int image_read(const struct image *image, uint64_t offset, void *to, uint64_t len, const char *what,
               struct error *error);

/* Little-endian fields, at any alignment. The caller has checked the offset. */
static inline uint16_t get16(const uint8_t *at) {
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return value;
}
static inline uint32_t get32(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}
static inline uint64_t get64(const uint8_t *at) {
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}
static inline void put32(uint8_t *at, uint32_t value) { memcpy(at, &value, sizeof value); }
static inline void put64(uint8_t *at, uint64_t value) { memcpy(at, &value, sizeof value); }

#endif
