/* Which bytes `ring3 explain` is about, and the mode that they run in (explain.h). */
#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/explain.h"
#include "guest/ring3_guest.h"
#include "inspect/gdb_client.h"
#include "translator/cpu.h"

#define LENGTH_MAX 65536u  /* bytes at most; more is no reading matter */
#define FUNCTION_MAX 8192u /* where no next symbol says where one ends */
#define DEFAULT_LENGTH 512u

static int digit_of(char c) {
    return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

/* "90 0f01 00"; blanks may stand anywhere between bytes. */
static int parse_hex(struct explain_subject *subject, const char *text, struct error *error) {
    size_t room = strlen(text) / 2 + 1;
    uint32_t len = 0;
    subject->hex = calloc(1, room);
    if (!subject->hex)
        return error_set(error, "no memory");
    for (const char *at = text; *at;) {
        if (isspace((unsigned char)*at) || *at == ',') {
            at++;
            continue;
        }
        if (!isxdigit((unsigned char)at[0]) || !isxdigit((unsigned char)at[1]))
            return error_set(error, "--hex '%.60s': no pair of hexadecimal digits at '%.8s'", text,
                             at);
        if (len == LENGTH_MAX)
            return error_set(error, "--hex: more than %u bytes", LENGTH_MAX);
        subject->hex[len++] = (uint8_t)(digit_of(at[0]) << 4 | digit_of(at[1]));
        at += 2;
    }
    subject->code.bytes = subject->hex;
    subject->code.len = len;
    return len ? 0 : error_set(error, "--hex: no bytes");
}

static int open_image(struct explain_subject *subject, const struct explain_options *options,
                      struct error *error) {
    if (options->file)
        return kernel_image_open(&subject->image, options->file, error);
    return kernel_image_from(&subject->image, "the embedded guest", ring3_demo_guest,
                             (size_t)(ring3_demo_guest_end - ring3_demo_guest), error);
}

/* Names are welcome, and needed for --symbol only. */
static int open_symbols(struct explain_subject *subject, const struct explain_options *options,
                        struct error *error) {
    struct error ignored;
    if (options->symbols) {
        subject->symbols = symbols_load(options->symbols, error);
        return subject->symbols ? 0 : -1;
    }
    if (subject->image.elf)
        subject->symbols = symbols_of_image(&subject->image, options->symbol ? error : &ignored);
    else if (options->symbol)
        return error_set(error, "--symbol '%s': %s has no symbols: neither ELF nor bzImage",
                         options->symbol, subject->image.name);
    return subject->symbols || !options->symbol ? 0 : -1;
}

/* The linked address where to begin. */
static int find_start(struct explain_subject *subject, const struct explain_options *options,
                      gva_t *start, struct error *error) {
    struct symbol symbol;
    *start = options->has_address ? options->address
                                  : kernel_image_linked(&subject->image, subject->image.entry);
    if (!options->symbol)
        return 0;
    if (!symbols_find(subject->symbols, options->symbol, &symbol))
        return error_set(error, "%s: has no symbol '%s'",
                         options->symbols ? options->symbols : subject->image.name,
                         options->symbol);
    *start = symbol.address;
    return 0;
}

/* To where the next symbol begins, or as far as was asked for. */
static uint32_t wanted_length(const struct explain_subject *subject,
                              const struct explain_options *options, gva_t start) {
    if (options->has_length)
        return options->length;
    gva_t next = subject->symbols ? symbols_next(subject->symbols, start) : UINT32_MAX;
    if (next == UINT32_MAX)
        return DEFAULT_LENGTH;
    return next - start < FUNCTION_MAX ? next - start : FUNCTION_MAX;
}

static int take_kernel(struct explain_subject *subject, const struct explain_options *options,
                       struct error *error) {
    gva_t start;
    if (find_start(subject, options, &start, error))
        return -1;
    size_t room = kernel_image_at(&subject->image, start, &subject->code.bytes);
    if (!room)
        return error_set(error, "%s: holds no bytes of address %08x", subject->image.name, start);
    uint32_t wanted = wanted_length(subject, options, start);
    subject->code.len = room < wanted ? (uint32_t)room : wanted;
    subject->code.linear = start;
    char name[96];
    symbols_format(subject->symbols, start, name, sizeof name);
    snprintf(subject->title, sizeof subject->title, "%.100s%s%.50s", subject->image.name,
             *name ? ": " : "", name);
    return 0;
}

static void take_raw(struct explain_subject *subject, const struct explain_options *options) {
    uint32_t wanted = options->has_length ? options->length : LENGTH_MAX;
    subject->code.bytes = subject->image.bytes;
    subject->code.len = subject->image.size < wanted ? (uint32_t)subject->image.size : wanted;
    subject->code.linear = options->address;
    snprintf(subject->title, sizeof subject->title, "%.150s", subject->image.name);
}

static void choose_mode(struct explain_subject *subject, const struct explain_options *options) {
    static const char *const names[] = {[EXPLAIN_32] = "32-bit protected mode",
                                        [EXPLAIN_16] = "16-bit protected mode",
                                        [EXPLAIN_REAL] = "real mode",
                                        [EXPLAIN_VM86] = "virtual-8086 mode"};
    struct explain_code *code = &subject->code;
    code->mode = explain_mode_word(options->mode, options->cpl);
    code->code_limit = options->mode == EXPLAIN_32 ? UINT32_MAX : 0xffff;
    code->eip = code->linear;
    /* 16-bit code: CS is 0 where all of it lies below 64 KiB, else a paragraph at most below it. */
    if (options->mode != EXPLAIN_32 && (uint64_t)code->linear + code->len > 0x10000)
        code->eip &= 0xfu;
    snprintf(subject->context, sizeof subject->context, "%s, CPL %u", names[options->mode], code->mode & MODE_CPL);
}

/* Copies what can be read; the guest stands still only while this runs. */
static int copy_live(struct explain_subject *subject, const struct explain_options *options,
                     struct gdb_client *client, struct error *error) {
    struct gdb_client_mode mode;
    struct explain_code *code = &subject->code;
    if (gdb_client_mode(client, &mode, error))
        return -1;
    if (subject->symbols)
        symbols_slide_from_sysenter(subject->symbols, mode.sysenter_eip);
    gva_t start = mode.cs_base + mode.eip;
    if (options->has_address || options->symbol)
        if (find_start(subject, options, &start, error))
            return -1;
    uint32_t wanted = options->symbol || options->has_length
                          ? wanted_length(subject, options, start)
                          : DEFAULT_LENGTH;
    subject->hex = malloc(wanted);
    if (!subject->hex)
        return error_set(error, "no memory");
    int got = gdb_client_read(client, start, subject->hex, wanted, error);
    if (got < 0)
        return -1;
    *code = (struct explain_code){.bytes = subject->hex,
                                  .len = (uint32_t)got,
                                  .linear = start,
                                  .eip = start - mode.cs_base,
                                  .mode = mode.mode,
                                  .code_limit = mode.cs_limit,
                                  .syntax = options->syntax};
    return got ? 0
               : error_set(error, "--gdb '%s': %08x is not mapped in the guest", options->gdb,
                           start);
}

/* A guest that runs: its memory and its mode as they are. */
static int take_live(struct explain_subject *subject, const struct explain_options *options,
                     struct error *error) {
    struct gdb_client client;
    char name[96];
    if (options->file && kernel_image_open(&subject->image, options->file, error))
        return -1;
    if ((options->file || options->symbols) && open_symbols(subject, options, error))
        return -1;
    if (options->symbol && !subject->symbols)
        return error_set(error,
                         "--symbol '%s': with --gdb, a kernel or --symbols has to be given too",
                         options->symbol);
    if (gdb_client_open(&client, options->gdb, error))
        return -1;
    int rc = copy_live(subject, options, &client, error);
    gdb_client_close(&client);
    symbols_format(subject->symbols, subject->code.linear, name, sizeof name);
    snprintf(subject->title, sizeof subject->title, "guest at %.80s%s%.60s", options->gdb,
             *name ? ": " : "", name);
    return rc;
}

static void say_live_mode(struct explain_subject *subject) {
    uint32_t mode = subject->code.mode;
    snprintf(subject->context, sizeof subject->context, "%s, %u-bit code, CPL %u, mode %x",
             mode & MODE_REAL   ? "real mode"
             : mode & MODE_VM86 ? "virtual-8086 mode"
                                : "protected mode",
             mode & MODE_CODE16 ? 16u : 32u, mode & MODE_CPL, mode);
}

static int find_code(struct explain_subject *subject, const struct explain_options *options,
                     struct error *error) {
    if (options->hex) {
        snprintf(subject->title, sizeof subject->title, "%.60s%s", options->hex,
                 strlen(options->hex) > 60 ? "..." : "");
        subject->code.linear = options->address;
        return parse_hex(subject, options->hex, error);
    }
    if (open_image(subject, options, error) || open_symbols(subject, options, error))
        return -1;
    if (subject->image.elf)
        return take_kernel(subject, options, error);
    take_raw(subject, options);
    return 0;
}

int explain_subject_open(struct explain_subject *subject, const struct explain_options *options,
                         struct error *error) {
    *subject = (struct explain_subject){.code.syntax = options->syntax};
    int rc = options->gdb ? take_live(subject, options, error) : find_code(subject, options, error);
    if (!rc && subject->code.len - 1 > UINT32_MAX - subject->code.linear)
        rc = error_set(error, "%08x: the code goes beyond 4 GiB", subject->code.linear);
    if (rc) {
        explain_subject_close(subject);
        return -1;
    }
    assert(subject->code.len > 0);
    subject->code.symbols = subject->symbols;
    if (options->gdb)
        say_live_mode(subject);
    else
        choose_mode(subject, options);
    return 0;
}

void explain_subject_close(struct explain_subject *subject) {
    kernel_image_close(&subject->image);
    symbols_free(subject->symbols);
    free(subject->hex);
    subject->symbols = NULL;
    subject->hex = NULL;
}
