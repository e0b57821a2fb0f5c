/* perf map files: see perf_map.h. */
#include "inspect/perf_map.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int perf_map_open(struct perf_map *map, pid_t pid, struct error *error) {
    char path[64];
    snprintf(path, sizeof path, "/tmp/perf-%d.map", (int)pid);
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    map->out = fd < 0 ? NULL : fdopen(fd, "w");
    if (map->out)
        return 0;
    int saved = errno;
    if (fd >= 0)
        close(fd);
    return error_set(error, "--perf-map: %s: %s", path, strerror(saved));
}

static void put_name(struct text *text, const struct trace_seen *fragment,
                     const struct trace_names *names) {
    uint64_t start = fragment->args[0];
    bool user = (fragment->args[2] & 3) == 3;
    const char *name = user ? NULL : trace_name(names, start);
    if (name) {
        text_string(text, name);
        return;
    }
    text_string(text, user ? "user:" : "guest:");
    text_hex(text, start, 8);
}

static void put_line(struct perf_map *map, uint64_t start, uint64_t size, const char *part,
                     const struct trace_names *names) {
    if (!size)
        return;
    text_hex(&map->text, start, 1);
    text_char(&map->text, ' ');
    text_hex(&map->text, size, 1);
    text_char(&map->text, ' ');
    put_name(&map->text, &map->fragment, names);
    text_string(&map->text, part);
    text_char(&map->text, '\n');
}

void perf_map_record(struct perf_map *map, const struct trace_seen *seen,
                     const struct trace_names *names) {
    if (seen->event == TRACE_EVENT_translate) {
        map->fragment = *seen;
    } else if (seen->event == TRACE_EVENT_emit && seen->args[0] == map->fragment.args[4]) {
        put_line(map, seen->args[2], seen->args[1], "", names);
        put_line(map, seen->args[4], seen->args[3], " (exits)", names);
    }
}

int perf_map_write(struct perf_map *map) {
    return !map->text.len || text_write(&map->text, map->out) ? 0 : -(errno ? errno : EIO);
}

void perf_map_close(struct perf_map *map) {
    if (map->out)
        fclose(map->out);
    text_free(&map->text);
    *map = (struct perf_map){0};
}
