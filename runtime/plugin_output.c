/* Outputs of plugins: files that are opened before the sandbox closes, written by the vCPU process
 * when their buffer is full, and by the monitor when the machine has ended. The buffer is shared,
 * so that nothing is lost however it ends. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/plugin_private.h"

#define STDERR_CHUNK 4096u

/* 0, or a positive errno. */
static int write_all(int fd, const uint8_t *bytes, uint32_t len) {
    while (len) {
        ssize_t wrote = write(fd, bytes, len);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return wrote ? errno : ENOSPC;
        bytes += wrote;
        len -= (uint32_t)wrote;
    }
    return 0;
}

/* `used` is the other process's word too: it is looked at once. */
static int flush(struct plugin_output *output) {
    struct plugin_buffer *buffer = output->buffer;
    uint32_t used = buffer->used;
    buffer->used = 0;
    if (used > sizeof buffer->bytes)
        return EFAULT;
    int error = buffer->error ? buffer->error : write_all(output->fd, buffer->bytes, used);
    buffer->error = error;
    return error;
}

static struct plugin_output *new_output(struct plugins *plugins, const char *path) {
    struct plugin_output *output = &plugins->outputs[plugins->output_count];
    void *buffer = mmap(NULL, sizeof *output->buffer, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (buffer == MAP_FAILED)
        return NULL;
    output->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (output->fd < 0) {
        munmap(buffer, sizeof *output->buffer);
        return NULL;
    }
    output->buffer = buffer;
    output->plugin = (uint8_t)plugins->current;
    snprintf(output->path, sizeof output->path, "%s", path);
    plugins->output_count++;
    return output;
}

int plugin_open_output(const char *path, ring3_handle *handle) {
    struct plugins *plugins = plugin_caller(PHASE_START);
    char copy[sizeof plugins->outputs[0].path];
    ring3_handle made;
    if (!plugins)
        return RING3_WRONG_TIME;
    int status = plugin_take_string(copy, path, sizeof copy);
    if (status || !*copy)
        return status ? status : RING3_BAD_ARGUMENT;
    if (plugins->output_count == PLUGIN_OUTPUTS_MAX)
        return RING3_NO_ROOM;
    made = handle_make(HANDLE_OUTPUT, plugins->current, 0, plugins->output_count);
    status = plugin_put(plugins, handle, &(ring3_handle){0}, sizeof made);
    if (status)
        return status;
    if (!new_output(plugins, copy))
        return RING3_HOST;
    return plugin_put(plugins, handle, &made, sizeof made);
}

static struct plugin_output *find_output(struct plugins *plugins, ring3_handle handle) {
    uint32_t index = (uint32_t)handle;
    if (index >= plugins->output_count)
        return NULL;
    struct plugin_output *output = &plugins->outputs[index];
    bool is_it = handle == handle_make(HANDLE_OUTPUT, output->plugin, output->generation, index);
    return is_it && output->plugin == plugins->current && output->fd >= 0 ? output : NULL;
}

static int write_stderr(const uint8_t *bytes, size_t len) {
    uint8_t chunk[STDERR_CHUNK];
    while (len) {
        uint32_t part = len < sizeof chunk ? (uint32_t)len : STDERR_CHUNK;
        if (plugin_take(chunk, bytes, part))
            return RING3_BAD_POINTER;
        if (write_all(STDERR_FILENO, chunk, part))
            return RING3_HOST;
        bytes += part;
        len -= part;
    }
    return RING3_OK;
}

/* A text shorter than the buffer is not torn apart by a flush, nor half taken when it cannot be
 * read. */
int plugin_write_output(ring3_handle handle, const void *bytes, size_t len) {
    struct plugins *plugins = plugin_caller(PHASE_START | PHASE_CALLBACK);
    const uint8_t *from = bytes;
    if (!plugins)
        return RING3_WRONG_TIME;
    if (len > PLUGIN_LENGTH_MAX)
        return RING3_BAD_ARGUMENT;
    if (handle == RING3_STDERR)
        return write_stderr(from, len);
    struct plugin_output *output = find_output(plugins, handle);
    if (!output)
        return RING3_BAD_HANDLE;
    struct plugin_buffer *buffer = output->buffer;
    while (len) {
        uint32_t room = (uint32_t)sizeof buffer->bytes - buffer->used;
        if (room < len && buffer->used && flush(output))
            return RING3_HOST;
        room = (uint32_t)sizeof buffer->bytes - buffer->used;
        uint32_t part = len < room ? (uint32_t)len : room;
        if (plugin_take(buffer->bytes + buffer->used, from, part))
            return RING3_BAD_POINTER;
        buffer->used += part;
        from += part;
        len -= part;
    }
    return buffer->error ? RING3_HOST : RING3_OK;
}

/* The descriptor stays: the sandbox lets nobody close it. */
int plugin_close_output(ring3_handle handle) {
    struct plugins *plugins = plugin_caller(PHASE_START | PHASE_CALLBACK);
    if (!plugins)
        return RING3_WRONG_TIME;
    struct plugin_output *output = find_output(plugins, handle);
    if (!output)
        return RING3_BAD_HANDLE;
    int error = flush(output);
    output->generation++;
    return error ? RING3_HOST : RING3_OK;
}

unsigned plugins_fds(const struct plugins *plugins, int *fds) {
    for (unsigned i = 0; i < plugins->output_count; i++)
        fds[i] = plugins->outputs[i].fd;
    return plugins->output_count;
}

int plugins_flush(struct plugins *plugins, struct error *error) {
    int status = 0;
    for (unsigned i = 0; i < plugins->output_count; i++) {
        struct plugin_output *output = &plugins->outputs[i];
        int failed = flush(output);
        if (failed && !status)
            status = error_set(error, "cannot write to %s: %s", output->path, strerror(failed));
    }
    return status;
}
