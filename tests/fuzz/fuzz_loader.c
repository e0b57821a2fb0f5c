/* Fuzzes the loader: the first byte says whether the rest is the kernel (and how much memory the
 * machine has), or the initrd of a good kernel. By hand:
 *
 *   clang -std=gnu17 -D_GNU_SOURCE -g -O1 -I. -fsanitize=fuzzer,address,undefined \
 *       tests/fuzz/fuzz_loader.c loader/[a-z]*.c memory/ram.c memory/walk.c base/error.c \
 *       translator/cpu.c -o fuzz_loader
 *
 * Besides the sanitizers: what is loaded enters inside RAM, what is refused says why. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "loader/loader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "broken: %s\n", what);
        abort();
    }
}

static int make_file(const void *bytes, size_t size, char path[64]) {
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    require(fd >= 0 && write(fd, bytes, size) == (ssize_t)size, "the host gives a file");
    snprintf(path, 64, "/proc/self/fd/%d", fd);
    return fd;
}

/* The smallest Linux kernel that the loader takes. */
static const uint8_t *small_kernel(size_t *size) {
    static uint8_t kernel[0x600];
    kernel[0x1f1] = 1;
    kernel[0x1f4] = 2;
    kernel[0x1fe] = 0x55, kernel[0x1ff] = 0xaa;
    kernel[0x201] = 0x6a;
    memcpy(kernel + 0x202, "HdrS\x0f\x02", 6);
    kernel[0x211] = 1;
    memset(kernel + 0x22c, 0x7f, 4);
    *size = sizeof kernel;
    return kernel;
}

static void load(const struct load_options *options, uint64_t memory) {
    struct ram ram;
    struct load_result result;
    struct table_register gdt;
    struct error error = {{0}};
    require(ram_create(&ram, memory) == 0, "the host gives memory");
    if (loader_load(options, &ram, &result, &gdt, &error) == 0) {
        require(ram_ptr(&ram, result.eip, 1) != NULL, "the entry is RAM");
        struct cpu cpu = {.eip = 0};
        loader_enter(&cpu, &result, &gdt);
    } else {
        require(error.text[0] != '\0' && !strchr(error.text, '\n'), "one line of error");
    }
    ram_destroy(&ram);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2)
        return 0;
    char kernel[64], initrd[64], append[64];
    uint64_t memory = (uint64_t)(2 + (data[0] >> 2)) << 20;
    bool is_kernel = (data[0] & 1) != 0;
    size_t small_size;
    const uint8_t *small = small_kernel(&small_size);
    int kernel_fd =
        is_kernel ? make_file(data + 1, size - 1, kernel) : make_file(small, small_size, kernel);
    int initrd_fd = make_file(data + 1, size - 1, initrd);
    snprintf(append, sizeof append, "%.*s", (int)(size - 1 < 40 ? size - 1 : 40),
             (const char *)data + 1);
    struct load_options options = {.kernel = kernel,
                                   .unpack = data[0] & 4 ? UNPACK_HOST : UNPACK_GUEST};
    if (!is_kernel || (data[0] & 2) != 0) {
        options.initrd = initrd;
        options.append = append;
    }
    load(&options, memory);
    close(initrd_fd);
    close(kernel_fd);
    return 0;
}
