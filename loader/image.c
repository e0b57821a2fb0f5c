/* Opening and reading guest files: see image.h. */
#include "loader/image.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_SHOWN 200

static const char *shown_name(const char *path) {
    size_t len = strlen(path);
    return len > NAME_SHOWN ? path + len - NAME_SHOWN : path;
}

static int check_kind(struct image *image, struct error *error) {
    struct stat status;
    if (fstat(image->fd, &status) != 0)
        return error_set(error, "%s: %s", image->name, strerror(errno));
    if (S_ISDIR(status.st_mode))
        return error_set(error, "%s: is a directory", image->name);
    if (!S_ISREG(status.st_mode))
        return error_set(error, "%s: is not a regular file", image->name);
    if (status.st_size == 0)
        return error_set(error, "%s: is empty", image->name);
    image->size = (uint64_t)status.st_size;
    return 0;
}

int image_open(struct image *image, const char *path, struct error *error) {
    image->name = shown_name(path);
    /* O_NONBLOCK: a FIFO without a writer would hang the open. */
    image->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (image->fd < 0)
        return error_set(error, "%s: %s", image->name, strerror(errno));
    if (check_kind(image, error) == 0) {
        image->head_size = image->size < IMAGE_HEAD ? image->size : IMAGE_HEAD;
        if (image_read(image, 0, image->head, image->head_size, "its head", error) == 0)
            return 0;
    }
    image_close(image);
    return -1;
}

void image_close(struct image *image) {
    close(image->fd);
    image->fd = -1;
}

int image_read(const struct image *image, uint64_t offset, void *to, uint64_t len, const char *what,
               struct error *error) {
    if (!image_has(image, offset, len))
        return error_set(error,
                         "%s: offset %#llx: %s (%llu bytes) ends behind the file's end at %#llx",
                         image->name, (unsigned long long)offset, what, (unsigned long long)len,
                         (unsigned long long)image->size);
    for (uint64_t done = 0; done < len;) {
        ssize_t got = pread(image->fd, (uint8_t *)to + done, len - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return error_set(error, "%s: offset %#llx: cannot read %s: %s", image->name,
                             (unsigned long long)(offset + done), what,
                             got < 0 ? strerror(errno) : "the file became shorter");
        done += (uint64_t)got;
    }
    return 0;
}
