/* The cache of unpacked kernels: see kernel_cache.h.
 *
 * A file appears under its name by rename() when it is complete, and is never changed but for its
 * time of modification, which says when it was used. */
#include "loader/kernel_cache.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "ring3 kernel 1\n"
#define COMPARED ((size_t)64 << 10) /* at a time: stays in the processor's cache */
#define NAME_MAX_LEN 40

struct head {
    char magic[16];
    uint64_t packed, unpacked; /* bytes */
    uint32_t checksum;         /* of the unpacked ones */
    uint32_t zero;
};

/* CRC32C by the host's instruction, which ring3 needs anyway. */
__attribute__((target("sse4.2"))) static uint32_t checksum(const uint8_t *bytes, size_t size) {
    uint64_t crc = UINT32_MAX;
    for (; size >= 8; bytes += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, bytes, sizeof word);
        crc = __builtin_ia32_crc32di(crc, word);
    }
    for (; size; bytes++, size--)
        crc = __builtin_ia32_crc32qi((uint32_t)crc, *bytes);
    return (uint32_t)crc;
}

bool kernel_cache_directory(char *path, size_t room) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int len = -1;
    if (cache && *cache == '/')
        len = snprintf(path, room, "%s/ring3/unpacked", cache);
    else if (home && *home == '/')
        len = snprintf(path, room, "%s/.cache/ring3/unpacked", home);
    return len >= 0 && (size_t)len < room;
}

/* Makes it and what is above it. What fails here fails again where a file is opened. */
static void make_directories(const char *path) {
    char part[PATH_MAX];
    size_t len = strlen(path);
    assert(len < sizeof part);
    memcpy(part, path, len + 1);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(part, 0700);
        *slash = '/';
    }
    mkdir(part, 0700);
}

/* The directory, if it is the user's and nobody else may write to it; -1. */
static int open_directory(const char *path) {
    struct stat stat;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &stat) == 0 && stat.st_uid == geteuid() && !(stat.st_mode & 022))
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static void make_name(const uint8_t *packed, size_t size, char name[NAME_MAX_LEN]) {
    snprintf(name, NAME_MAX_LEN, "%08x-%zx.kernel", checksum(packed, size), size);
}

static bool read_all(int fd, void *to, size_t size, off_t offset) {
    for (size_t done = 0; done < size;) {
        ssize_t got = pread(fd, (uint8_t *)to + done, size - done, offset + (off_t)done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        done += (size_t)got;
    }
    return true;
}

static bool write_all(int fd, const void *from, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t put = write(fd, (const uint8_t *)from + done, size - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return false;
        done += (size_t)put;
    }
    return true;
}

/* Are these `size` bytes at `offset` of the file? */
static bool has_bytes(int fd, const uint8_t *bytes, size_t size, off_t offset) {
    static _Thread_local uint8_t buffer[COMPARED];
    for (size_t done = 0; done < size;) {
        size_t part = size - done < COMPARED ? size - done : COMPARED;
        if (!read_all(fd, buffer, part, offset + (off_t)done) ||
            memcmp(buffer, bytes + done, part) != 0)
            return false;
        done += part;
    }
    return true;
}

/* Is the file behind `head` as long as it says, and are both lengths believable? */
static bool is_whole(int fd, struct head *head, size_t packed) {
    struct stat stat;
    return fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode) && stat.st_uid == geteuid() &&
           !(stat.st_mode & 022) && read_all(fd, head, sizeof *head, 0) &&
           memcmp(head->magic, MAGIC, sizeof head->magic) == 0 && head->packed == packed &&
           head->unpacked != 0 && head->unpacked <= UNPACKED_MAX &&
           (uint64_t)stat.st_size == sizeof *head + head->packed + head->unpacked;
}

static bool read_kernel(int fd, const uint8_t *packed, size_t size, struct unpacked *unpacked) {
    struct head head;
    if (!is_whole(fd, &head, size) || !has_bytes(fd, packed, size, sizeof head))
        return false;
    uint8_t *bytes = malloc(head.unpacked);
    if (!bytes || !read_all(fd, bytes, head.unpacked, (off_t)(sizeof head + size)) ||
        checksum(bytes, head.unpacked) != head.checksum) {
        free(bytes);
        return false;
    }
    *unpacked = (struct unpacked){bytes, head.unpacked};
    return true;
}

bool kernel_cache_find(const char *directory, const uint8_t *packed, size_t size,
                       struct unpacked *unpacked) {
    char name[NAME_MAX_LEN];
    int at = open_directory(directory);
    if (at < 0)
        return false;
    make_name(packed, size, name);
    int fd = openat(at, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    close(at);
    if (fd < 0)
        return false;
    bool found = read_kernel(fd, packed, size, unpacked);
    if (found)
        futimens(fd, NULL);
    close(fd);
    return found;
}

/* One of ours, finished or left behind by a process that was killed. */
static bool is_ours(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot && (!strcmp(dot, ".kernel") || !strcmp(dot, ".new"));
}

/* How many are there, and the name of the oldest. */
static unsigned count_files(int at, DIR *entries, char oldest[NAME_MAX + 1]) {
    struct timespec age = {0};
    unsigned count = 0;
    rewinddir(entries);
    for (const struct dirent *entry; (entry = readdir(entries));) {
        struct stat stat;
        if (!is_ours(entry->d_name) || fstatat(at, entry->d_name, &stat, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        bool older = stat.st_mtim.tv_sec < age.tv_sec ||
                     (stat.st_mtim.tv_sec == age.tv_sec && stat.st_mtim.tv_nsec < age.tv_nsec);
        if (count++ == 0 || older) {
            age = stat.st_mtim;
            strcpy(oldest, entry->d_name);
        }
    }
    return count;
}

/* Makes room for one more. */
static void remove_oldest(int at) {
    char oldest[NAME_MAX + 1];
    int copy = fcntl(at, F_DUPFD_CLOEXEC, 0);
    DIR *entries = copy < 0 ? NULL : fdopendir(copy);
    if (!entries) {
        if (copy >= 0)
            close(copy);
        return;
    }
    while (count_files(at, entries, oldest) >= KERNEL_CACHE_MAX)
        if (unlinkat(at, oldest, 0) != 0)
            break;
    closedir(entries);
}

static bool write_kernel(int fd, const uint8_t *packed, size_t size,
                         const struct unpacked *unpacked) {
    struct head head = {.magic = MAGIC,
                        .packed = size,
                        .unpacked = unpacked->size,
                        .checksum = checksum(unpacked->bytes, unpacked->size)};
    return write_all(fd, &head, sizeof head) && write_all(fd, packed, size) &&
           write_all(fd, unpacked->bytes, unpacked->size);
}

void kernel_cache_keep(const char *directory, const uint8_t *packed, size_t size,
                       const struct unpacked *unpacked) {
    char name[NAME_MAX_LEN], fresh[NAME_MAX_LEN];
    if (strlen(directory) >= PATH_MAX)
        return;
    make_directories(directory);
    int at = open_directory(directory);
    if (at < 0)
        return;
    remove_oldest(at);
    make_name(packed, size, name);
    snprintf(fresh, sizeof fresh, "%d.new", getpid());
    unlinkat(at, fresh, 0);
    int fd = openat(at, fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0) {
        bool good = write_kernel(fd, packed, size, unpacked);
        if (close(fd) != 0 || !good || renameat(at, fresh, at, name) != 0)
            unlinkat(at, fresh, 0);
    }
    close(at);
}
