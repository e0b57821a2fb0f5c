/* The guest's symbols for the page. The file is read while files can be opened; it is unpacked and
 * taken apart, which takes a second and may be what a hostile file attacks, by a thread inside the
 * sandbox. */
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "inspect/kernel_image.h"
#include "inspect/web_private.h"

#define FILE_MAX (512u << 20)

static bool read_all(int fd, uint8_t *to, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t got = read(fd, to + done, size - done);
        if (got <= 0)
            return false;
        done += (size_t)got;
    }
    return true;
}

/* A guest without names is a guest all the same: nothing is said of a file that cannot be read. */
void web_symbols_read(struct web_server *server) {
    struct web_symbol_file *file = &server->symbol_file;
    const char *path = server->subject.symbols;
    struct stat info;
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    if (!fstat(fd, &info) && S_ISREG(info.st_mode) && info.st_size > 0 && info.st_size <= FILE_MAX)
        file->bytes = malloc((size_t)info.st_size);
    if (file->bytes && read_all(fd, file->bytes, (size_t)info.st_size))
        file->size = (size_t)info.st_size;
    close(fd);
}

static void *take_apart(void *opaque) {
    struct web_server *server = opaque;
    struct web_symbol_file *file = &server->symbol_file;
    struct kernel_image image;
    struct error error;
    if (kernel_image_from(&image, "symbols", file->bytes, file->size, &error))
        return NULL;
    struct symbols *symbols = symbols_of_image(&image, &error);
    kernel_image_close(&image);
    free(file->bytes);
    server->symbols = symbols;
    return NULL;
}

void web_symbols_start(struct web_server *server) {
    pthread_t thread;
    mallopt(M_ARENA_MAX,
            1); /* a thread's own arena would grow by mprotect, which the sandbox forbids */
    if (server->symbol_file.size && !pthread_create(&thread, NULL, take_apart, server))
        pthread_detach(thread);
}
