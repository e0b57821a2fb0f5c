/* Breakpoints and watchpoints of a session: Z and z packets. Software and hardware breakpoints are
 * the same here: neither changes guest memory, and neither is scarce. */
#include <errno.h>

#include "inspect/gdb_session.h"

enum { POINT_SOFTWARE, POINT_HARDWARE, POINT_WRITE, POINT_READ, POINT_ACCESS, POINT_TYPES };

static struct watchpoint watch_of(const struct gdb_point *point) {
    static const uint8_t kinds[] = {
        [POINT_WRITE] = WATCH_WRITE, [POINT_READ] = WATCH_READ, [POINT_ACCESS] = WATCH_ACCESS};
    return (struct watchpoint){point->address, point->len, kinds[(unsigned)point->type]};
}

static int set_in_target(struct target *target, const struct gdb_point *point) {
    if (point->type <= POINT_HARDWARE)
        return target_set_breakpoint(target, point->address);
    const struct watchpoint watch = watch_of(point);
    return target_set_watchpoint(target, &watch);
}

static int clear_in_target(struct target *target, const struct gdb_point *point) {
    if (point->type <= POINT_HARDWARE)
        return target_clear_breakpoint(target, point->address);
    const struct watchpoint watch = watch_of(point);
    return target_clear_watchpoint(target, &watch);
}

static struct gdb_point *find(struct gdb_session *s, const struct gdb_point *wanted) {
    for (unsigned i = 0; i < s->point_count; i++) {
        struct gdb_point *point = &s->points[i];
        if (point->type == wanted->type && point->address == wanted->address &&
            point->len == wanted->len)
            return point;
    }
    return NULL;
}

static int set(struct gdb_session *s, const struct gdb_point *point) {
    if (find(s, point))
        return 0; /* GDB may say it twice, and clears it once */
    if (s->point_count == GDB_POINTS_MAX)
        return -ENOSPC;
    int rc = set_in_target(s->target, point);
    if (!rc)
        s->points[s->point_count++] = *point;
    return rc;
}

static int clear(struct gdb_session *s, const struct gdb_point *point) {
    struct gdb_point *known = find(s, point);
    int rc = known ? clear_in_target(s->target, known) : 0;
    if (known && !rc)
        *known = s->points[--s->point_count];
    return rc;
}

/* "TYPE,ADDRESS,KIND": a watchpoint's kind is its length. Conditions behind are GDB's to check. */
void gdb_command_point(struct gdb_session *s, const char *text, bool set_it) {
    uint64_t type, address, len;
    bool valid = gdb_parse_number(&text, &type) && gdb_parse_word(&text, ",") &&
                 gdb_parse_number(&text, &address) && gdb_parse_word(&text, ",") &&
                 gdb_parse_number(&text, &len) && (!*text || *text == ';');
    if (valid && type >= POINT_TYPES)
        return; /* not known */
    if (!valid || address > UINT32_MAX || len > UINT32_MAX) {
        gdb_reply_error(s, -EINVAL);
        return;
    }
    const struct gdb_point point = {(char)type, (gva_t)address, (uint32_t)len};
    gdb_reply_error(s, set_it ? set(s, &point) : clear(s, &point));
}

bool gdb_session_clear_points(struct gdb_session *s) {
    while (s->point_count) {
        if (clear_in_target(s->target, &s->points[s->point_count - 1]) == -EBUSY)
            return false;
        s->point_count--;
    }
    return true;
}
