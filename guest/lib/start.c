/* From the Multiboot entry to guest_main(), and the command line. */
#include "guest/lib/guest.h"

enum { MULTIBOOT_MAGIC = 0x2badb002, HAS_COMMAND_LINE = 1 << 2 };

struct multiboot_info {
    uint32_t flags, memory_low, memory_high, boot_device;
    const char *command_line;
};

void guest_start(uint32_t magic, const struct multiboot_info *info);

static char command_line[2048];

void guest_start(uint32_t magic, const struct multiboot_info *info) {
    console_start();
    if (magic == MULTIBOOT_MAGIC && (info->flags & HAS_COMMAND_LINE))
        for (unsigned i = 0; i < sizeof command_line - 1 && info->command_line[i]; i++)
            command_line[i] = info->command_line[i];
    trap_start();
    guest_main();
}

/* The rest after `name` when the word at `word` is the option; else NULL. */
static const char *match(const char *word, const char *name) {
    while (*name && *word == *name)
        word++, name++;
    if (*name)
        return NULL;
    return *word == '=' ? word + 1 : *word == ' ' || !*word ? word : NULL;
}

const char *guest_option(const char *name) {
    for (const char *at = command_line; *at; at++) {
        bool starts_word = at == command_line || at[-1] == ' ';
        const char *value = starts_word ? match(at, name) : NULL;
        if (value)
            return value;
    }
    return NULL;
}

uint32_t guest_option_number(const char *name, uint32_t otherwise) {
    const char *text = guest_option(name);
    if (!text)
        return otherwise;
    uint32_t value = 0;
    while (*text >= '0' && *text <= '9')
        value = value * 10 + (uint32_t)(*text++ - '0');
    return value;
}

enum paging_kind guest_paging(void) {
    if (!guest_option("pae"))
        return PAGING_32;
    if (!(cpuid(1).edx & CPUID_PAE)) {
        print("FAIL the CPU has no PAE\n");
        guest_exit(1);
    }
    return PAGING_PAE;
}
