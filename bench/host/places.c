/* File names, and the initramfs. */
#include "bench/host/places.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/host/child.h"
#include "bench/host/nano_image.h"

#ifndef RING3_SHARE_RELATIVE
#error "the build defines RING3_SHARE_RELATIVE"
#endif

#define INITRAMFS_PATIENCE (120 * SECONDS_NS)

/* False: it does not fit. */
__attribute__((format(printf, 2, 3))) static bool join(char *to, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int len = vsnprintf(to, PLACE_MAX, format, args);
    va_end(args);
    return len >= 0 && len < PLACE_MAX;
}

static bool find_self(struct places *places) {
    ssize_t len = readlink("/proc/self/exe", places->self, PLACE_MAX - 1);
    if (len <= 0)
        return false;
    places->self[len] = 0;
    return true;
}

static bool find_share(struct places *places) {
    const char *given = getenv("RING3_SHARE");
    if (given && *given)
        return join(places->share, "%s", given);
    const char *slash = strrchr(places->self, '/');
    return slash && join(places->share, "%.*s/" RING3_SHARE_RELATIVE, (int)(slash - places->self),
                         places->self);
}

static bool find_cache(struct places *places) {
    const char *given = getenv("RING3_CACHE"), *xdg = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    if (given && *given)
        return join(places->cache, "%s", given);
    if (xdg && *xdg)
        return join(places->cache, "%s/ring3", xdg);
    return join(places->cache, "%s/.cache/ring3", home ? home : "");
}

/* The first of PATH's. */
static void find_program(char *found, const char *name) {
    const char *path = getenv("PATH");
    for (const char *at = path; at; at = *at ? at + 1 : NULL) {
        size_t len = strcspn(at, ":");
        if (len && join(found, "%.*s/%s", (int)len, at, name) && !access(found, X_OK))
            return;
        at += len;
    }
    *found = 0;
}

static int write_all(int fd, const unsigned char *bytes, size_t size) {
    while (size) {
        ssize_t wrote = write(fd, bytes, size);
        if (wrote < 0 && errno != EINTR)
            return -1;
        bytes += wrote > 0 ? wrote : 0;
        size -= wrote > 0 ? (size_t)wrote : 0;
    }
    return 0;
}

static int place_nano(struct places *places) {
    places->nano_fd = memfd_create("nano guest", MFD_CLOEXEC);
    if (places->nano_fd < 0)
        return -1;
    snprintf(places->nano, sizeof places->nano, "/proc/%d/fd/%d", (int)getpid(), places->nano_fd);
    return write_all(places->nano_fd, ring3_nano_guest,
                     (size_t)(ring3_nano_guest_end - ring3_nano_guest));
}

int places_find(struct places *places, struct error *error) {
    *places = (struct places){.nano_fd = -1, .initramfs_fd = -1};
    if (!find_self(places) || !find_share(places) || !find_cache(places) ||
        !join(places->program, "%s/programs/ring3-bench-guest", places->share) ||
        !join(places->kernel, "%s/kernel-686/vmlinuz", places->cache) ||
        !join(places->busybox, "%s/busybox", places->cache))
        return error_set(error, "a file name is too long, or /proc is not there");
    find_program(places->qemu, "qemu-system-i386");
    if (!*places->qemu)
        find_program(places->qemu, "qemu-system-x86_64");
    if (place_nano(places))
        return error_set(error, "no file for the nano guest: %s", strerror(errno));
    return 0;
}

int places_check_linux(const struct places *places, struct error *error) {
    if (access(places->program, X_OK))
        return error_set(error,
                         "no program %s: RING3_SHARE names the directory that holds programs/ "
                         "(building it needs libc6-dev-i386)",
                         places->program);
    if (access(places->kernel, R_OK))
        return error_set(error, "no kernel %s: run scripts/fetch-guest 686", places->kernel);
    if (access(places->busybox, X_OK))
        return error_set(error, "no busybox %s: run scripts/fetch-guest 686", places->busybox);
    return 0;
}

/* Runs the script to its end. 0, or -1 with what it said last. */
static int run_script(const char *const *argv, struct error *error) {
    struct child child = {0};
    char line[CHILD_LINE_MAX];
    uint64_t deadline = now_ns() + INITRAMFS_PATIENCE;
    int rc = child_start(&child, argv);
    if (rc)
        return error_set(error, "%s: %s", argv[0], strerror(-rc));
    while (child_read(&child, line, sizeof line, deadline) == CHILD_LINE)
        continue;
    if (child_finish(&child, deadline))
        return error_set(error, "%s failed: %.400s", argv[0], child.last);
    return 0;
}

int places_make_initramfs(struct places *places, struct error *error) {
    char script[PLACE_MAX], programs[PLACE_MAX], work[PLACE_MAX], file[PLACE_MAX];
    const char *temporary = getenv("TMPDIR");
    if (!join(script, "%s/scripts/make-initramfs", places->share) ||
        !join(programs, "%s/programs", places->share) ||
        !join(work, "%s/ring3-bench-XXXXXX", temporary && *temporary ? temporary : "/tmp"))
        return error_set(error, "a file name is too long");
    if (!mkdtemp(work))
        return error_set(error, "no directory %s: %s", work, strerror(errno));
    int rc = -1;
    if (!join(file, "%s/initramfs.gz", work)) {
        error_set(error, "a file name is too long");
    } else {
        const char *const argv[] = {script,        "--output",   file,     "--cache",
                                    places->cache, "--programs", programs, NULL};
        rc = run_script(argv, error);
    }
    /* An open file without a name cannot be left behind. */
    if (!rc) {
        places->initramfs_fd = open(file, O_RDONLY | O_CLOEXEC);
        if (places->initramfs_fd < 0)
            rc = error_set(error, "%s: %s", file, strerror(errno));
        snprintf(places->initramfs, sizeof places->initramfs, "/proc/%d/fd/%d", (int)getpid(),
                 places->initramfs_fd);
    }
    unlink(file);
    rmdir(work);
    return rc;
}

void places_release(struct places *places) {
    if (places->nano_fd >= 0)
        close(places->nano_fd);
    if (places->initramfs_fd >= 0)
        close(places->initramfs_fd);
}
