/* What a guest's kernel does for one process: system calls, memory, files. */
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench/linux/workload.h"

enum {
    PAGE = 4096,
    FAULT_PAGES = 1024, /* touched between two mmaps */
    MAPPING = 64 * 1024,
    FILE_SIZE = 4 << 20,
};

static uint32_t run_getppid(uint32_t count) {
    workload_begin();
    for (uint32_t i = 0; i < count; i++)
        syscall(SYS_getppid);
    workload_end();
    return 0;
}

static char *map_pages(uint32_t pages) {
    return WORKLOAD_CALL((char *)mmap(NULL, (size_t)pages * PAGE, PROT_READ | PROT_WRITE,
                                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

/* First writes to anonymous pages, with their share of making and dropping the mapping. */
static uint32_t run_page_fault(uint32_t count) {
    workload_begin();
    for (uint32_t done = 0; done < count; done += FAULT_PAGES) {
        uint32_t pages = count - done < FAULT_PAGES ? count - done : FAULT_PAGES;
        char *memory = map_pages(pages);
        for (uint32_t i = 0; i < pages; i++)
            *(volatile char *)(memory + (size_t)i * PAGE) = 1;
        WORKLOAD_CALL(munmap(memory, (size_t)pages * PAGE));
    }
    workload_end();
    return 0;
}

/* A mapping made, its first page touched, and dropped. */
static uint32_t run_mmap(uint32_t count) {
    workload_begin();
    for (uint32_t i = 0; i < count; i++) {
        char *memory = map_pages(MAPPING / PAGE);
        *(volatile char *)memory = 1;
        WORKLOAD_CALL(munmap(memory, MAPPING));
    }
    workload_end();
    return 0;
}

static volatile sig_atomic_t signals;

static void on_signal(int number) {
    (void)number;
    signals = signals + 1;
}

static uint32_t run_signal(uint32_t count) {
    struct sigaction action = {.sa_handler = on_signal};
    WORKLOAD_CALL(sigaction(SIGUSR1, &action, NULL));
    pid_t self = getpid();
    signals = 0;
    workload_begin();
    for (uint32_t i = 0; i < count; i++)
        kill(self, SIGUSR1);
    workload_end();
    if ((uint32_t)signals != count)
        workload_fail("signals were lost");
    return 0;
}

/* A file in memory, with no name any more. */
static int open_file(void) {
    char path[] = "/dev/shm/ring3-bench-XXXXXX";
    static const char block[PAGE] = {1};
    int fd = WORKLOAD_CALL(mkstemp(path));
    unlink(path);
    for (off_t at = 0; at < FILE_SIZE; at += PAGE)
        WORKLOAD_CALL(pwrite(fd, block, PAGE, at));
    return fd;
}

static uint32_t run_file_write(uint32_t count) {
    static const char block[PAGE] = {2};
    int fd = open_file();
    workload_begin();
    for (uint32_t i = 0; i < count; i++)
        WORKLOAD_CALL(pwrite(fd, block, PAGE, (off_t)((uint64_t)i * PAGE % FILE_SIZE)));
    workload_end();
    close(fd);
    return 0;
}

static uint32_t run_file_read(uint32_t count) {
    static char block[PAGE];
    int fd = open_file();
    workload_begin();
    for (uint32_t i = 0; i < count; i++)
        WORKLOAD_CALL(pread(fd, block, PAGE, (off_t)((uint64_t)i * PAGE % FILE_SIZE)));
    workload_end();
    close(fd);
    return 0;
}

const struct workload kernel_memory_workloads[] = {
    {.name = "kernel.getppid", .run = run_getppid},
    {.name = "kernel.page-fault", .run = run_page_fault},
    {.name = "kernel.mmap", .run = run_mmap},
    {.name = "kernel.signal", .run = run_signal},
    {.name = "kernel.file-write", .run = run_file_write},
    {.name = "kernel.file-read", .run = run_file_read},
    {.name = NULL},
};
