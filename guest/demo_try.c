/* Runs pieces of code that the command line brings, and prints what each leaves: "try0=HEX,HEX..."
 * in ring 0, "try3=HEX,..." in ring 3. EBX is the address of scratch memory. */
#include "guest/demo.h"

enum { TRY_BYTES = 64, CODE_END = 2 };

static int digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One piece, up to a comma or the option's end. Returns where it ends; NULL: not hexadecimal, or
 * too long. */
static const char *take(const char *text, uint8_t *code, uint32_t *size) {
    *size = 0;
    while (digit(text[0]) >= 0) {
        if (digit(text[1]) < 0 || *size == TRY_BYTES)
            return NULL;
        code[(*size)++] = (uint8_t)(digit(text[0]) << 4 | digit(text[1]));
        text += 2;
    }
    return *text && *text != ' ' && *text != ',' ? NULL : text;
}

static void try(struct demo_space *demo, unsigned ring, unsigned number, uint8_t *code,
                uint32_t size) {
    volatile uint32_t *data = (volatile uint32_t *)(void *)demo->data;
    data[0] = data[1] = 0;
    code[size] = 0xcd; /* INT: the end */
    code[size + 1] = VECTOR_DONE;
    struct machine m = demo_run(demo, ring, code, size + CODE_END, 0);
    print("try%u %u: vector %u error %x eax %08x ecx %08x edx %08x flags %08x data %08x %08x\n",
          ring, number, m.vector, m.error, m.eax, m.ecx, m.edx, m.eflags, data[0], data[1]);
}

static bool try_all(struct demo_space *demo, unsigned ring, const char *text) {
    static uint8_t code[TRY_BYTES + CODE_END] __attribute__((aligned(16)));
    uint32_t size;
    for (unsigned number = 0; text && *text && *text != ' '; number++) {
        text = take(text, code, &size);
        if (!text) {
            print("FAIL try%u: piece %u is not hexadecimal, or longer than %u bytes\n", ring,
                  number, TRY_BYTES);
            return false;
        }
        try(demo, ring, number, code, size);
        text += *text == ',';
    }
    return true;
}

bool demo_wants_try(void) { return guest_option("try0") || guest_option("try3"); }

void demo_try(void) {
    static struct demo_space demo;
    demo_space_make(&demo, PAGING_32);
    space_enter(&demo.space);
    bool good = try_all(&demo, 0, guest_option("try0")) && try_all(&demo, 3, guest_option("try3"));
    guest_exit(good ? 0x10 : 1);
}
