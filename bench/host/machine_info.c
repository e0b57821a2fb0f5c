/* Describes the host, from /proc and from its clocks. */
#include "bench/host/machine_info.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "bench/host/child.h"

/* The value behind ": " of the first line that starts with `key`. */
static void read_cpuinfo(const char *key, char *value, size_t size) {
    char line[4096];
    FILE *file = fopen("/proc/cpuinfo", "re");
    *value = 0;
    while (file && !*value && fgets(line, sizeof line, file)) {
        const char *colon = strchr(line, ':');
        if (colon && !strncmp(line, key, strlen(key)))
            snprintf(value, size, "%.*s", (int)strcspn(colon + 1, "\n"), colon + 1);
    }
    if (file)
        fclose(file);
    while (*value == ' ')
        memmove(value, value + 1, strlen(value));
}

static double measure_tsc(void) {
    uint64_t start = now_ns(), tsc = __rdtsc();
    struct timespec pause = {.tv_nsec = 100000000};
    nanosleep(&pause, NULL);
    uint64_t tsc_end = __rdtsc(), end = now_ns();
    return (double)(tsc_end - tsc) * 1e9 / (double)(end - start);
}

static void ask_qemu(const char *qemu, char *version, size_t size) {
    const char *const argv[] = {qemu, "--version", NULL};
    struct child child = {0};
    *version = 0;
    if (!*qemu || child_start(&child, argv))
        return;
    if (child_read(&child, version, size, now_ns() + 10 * SECONDS_NS) != CHILD_LINE)
        *version = 0;
    child_stop(&child);
}

static double load(void) {
    double average = 0;
    return getloadavg(&average, 1) == 1 ? average : 0;
}

void machine_info_read(struct machine_info *info, const char *qemu) {
    char flags[4096];
    struct utsname name;
    struct sysinfo system;
    time_t now = time(NULL);
    struct tm broken;
    *info = (struct machine_info){.load_before = load(), .tsc_hz = measure_tsc()};
    read_cpuinfo("model name", info->cpu, sizeof info->cpu);
    read_cpuinfo("flags", flags, sizeof flags);
    info->virtual = strstr(flags, " hypervisor") != NULL;
    info->cores = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    if (!sysinfo(&system))
        info->memory_mib = (unsigned long)((uint64_t)system.totalram * system.mem_unit >> 20);
    if (!uname(&name))
        snprintf(info->kernel, sizeof info->kernel, "%s %s", name.sysname, name.release);
    if (gmtime_r(&now, &broken))
        strftime(info->date, sizeof info->date, "%Y-%m-%dT%H:%M:%SZ", &broken);
    ask_qemu(qemu, info->qemu, sizeof info->qemu);
}

void machine_info_finish(struct machine_info *info) { info->load_after = load(); }
