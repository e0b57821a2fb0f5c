/* `ring3 explain --sensitive`: each of the instructions of inspect/sensitive.h run by this
 * machine's processor in ring 3, run by ring3 as a guest's kernel in ring 0, and what was
 * translated for that. */
#include <cpuid.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/explain.h"
#include "cli/report.h"
#include "inspect/native.h"
#include "inspect/sensitive.h"

#define PIECE_MAX 64u
#define OUTPUT_MAX 65536u
#define GUEST_STATUS 33 /* how the guest says that all is well */
#define VECTOR_DONE 0x81u
#define UMIP_BIT 4u /* CPUID leaf 7, ECX */

struct guest_result {
    bool known;
    uint32_t vector, error, eax, ecx;
};

struct finding {
    const struct sensitive *sensitive;
    uint8_t code[PIECE_MAX];
    uint32_t len;
    struct native_result here;
    struct guest_result guest;
    struct explained_fragment fragment; /* begins with the instruction */
};

static void read_code(struct finding *finding) {
    for (const char *at = finding->sensitive->hex; at[0] && finding->len < PIECE_MAX; at += 2) {
        const char digits[3] = {at[0], at[1], 0};
        finding->code[finding->len++] = (uint8_t)strtoul(digits, NULL, 16);
    }
}

/* The guest's lines: "try0 N: vector V error E eax A ecx C ...". */
static void read_results(struct finding *findings, char *text) {
    unsigned number;
    struct guest_result r = {.known = true};
    for (char *save, *line = strtok_r(text, "\r\n", &save); line;
         line = strtok_r(NULL, "\r\n", &save))
        if (sscanf(line, "try0 %u: vector %u error %x eax %x ecx %x", &number, &r.vector, &r.error,
                   &r.eax, &r.ecx) == 5 &&
            number < sensitive_count)
            findings[number].guest = r;
}

/* All pieces in one run of the embedded guest, in ring 0. */
static int run_guest(struct finding *findings, engine_fn engine, struct error *error) {
    char append[2048] = "try0=", path[64], text[OUTPUT_MAX];
    struct options options;
    int fd = memfd_create("guest output", MFD_CLOEXEC);
    if (fd < 0)
        return error_set(error, "cannot take the guest's output: %s", strerror(errno));
    for (unsigned i = 0; i < sensitive_count; i++)
        strcat(strcat(append, i ? "," : ""), sensitive_table[i].hex);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    char *argv[] = {"ring3", "demo",       "--append", append, "--serial",
                    path,    "--debugcon", "none",     NULL};
    int rc = options_parse(&options, 8, argv, error);
    int status = rc ? 0 : run_demo(&options, engine);
    ssize_t got = pread(fd, text, sizeof text - 1, 0);
    text[got > 0 ? got : 0] = 0;
    close(fd);
    if (!rc && (status != GUEST_STATUS || got <= 0))
        rc = error_set(error, "the guest with the sensitive instructions ended with status %d",
                       status);
    if (!rc)
        read_results(findings, text);
    return rc;
}

static int explain_one(struct finding *finding, enum syntax syntax, struct error *error) {
    const struct explain_code code = {.bytes = finding->code + finding->sensitive->at,
                                      .len = finding->len - finding->sensitive->at,
                                      .mode = explain_mode_word(EXPLAIN_32, 0),
                                      .code_limit = UINT32_MAX,
                                      .syntax = syntax};
    return explain_fragment(&code, &finding->fragment, error);
}

static bool has_umip(void) {
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & UMIP_BIT);
}

static uint32_t shown(const struct sensitive *sensitive, uint32_t eax, uint32_t ecx) {
    return sensitive->shows == SHOWS_EAX ? eax : ecx;
}

static void say_here(const struct finding *finding, char *text, size_t size) {
    const struct native_result *r = &finding->here;
    const struct sensitive *s = finding->sensitive;
    bool umip = s->umip && has_umip();
    switch (r->end) {
    case NATIVE_ENDED:
        snprintf(text, size, "%s, %s %08x%s", umip ? "no signal" : "no trap", s->what,
                 shown(s, r->eax, r->ecx),
                 umip ? " (the processor has UMIP and traps; Linux makes a value up)" : "");
        break;
    case NATIVE_SIGNAL:
        snprintf(text, size, "refused, SIG%s", sigabbrev_np(r->signal));
        break;
    case NATIVE_IMPOSSIBLE:
        snprintf(text, size, "cannot be tried: this host runs no 32-bit code");
        break;
    }
}

static void say_guest(const struct finding *finding, char *text, size_t size) {
    const struct guest_result *r = &finding->guest;
    if (!r->known)
        snprintf(text, size, "the guest said nothing");
    else if (r->vector == VECTOR_DONE)
        snprintf(text, size, "%s %08x", finding->sensitive->what,
                 shown(finding->sensitive, r->eax, r->ecx));
    else
        snprintf(text, size, "vector %#x by the guest's IDT, %s %08x", r->vector,
                 finding->sensitive->what, shown(finding->sensitive, r->eax, r->ecx));
}

static void print_finding(const struct finding *finding, unsigned number) {
    const struct explained_fragment *f = &finding->fragment;
    char text[256];
    printf("\n%2u. %-6s %s\n", number, finding->sensitive->name, f->insns[0].text);
    printf("    in ring 3 the processor %s:\n    %s\n", finding->sensitive->hardware,
           finding->sensitive->breaks);
    say_here(finding, text, sizeof text);
    printf("    here, in ring 3:   %s\n", text);
    say_guest(finding, text, sizeof text);
    printf("    in a ring3 guest:  %s\n", text);
    printf("    translated:        %s; %s\n", f->insns[0].label, f->insns[0].why);
    for (unsigned i = 0; i < f->host_count; i++)
        if (f->hosts[i].insn == 0 && !f->hosts[i].cold)
            printf("      %04x  %-*s%s%s\n", f->hosts[i].offset, *f->hosts[i].note ? 44 : 0,
                   f->hosts[i].text, *f->hosts[i].note ? "; " : "", f->hosts[i].note);
}

static json_t *finding_json(const struct finding *finding) {
    char here[256], guest[256];
    say_here(finding, here, sizeof here);
    say_guest(finding, guest, sizeof guest);
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:I, s:I, s:I, s:o}", "name", finding->sensitive->name,
        "code", finding->sensitive->hex, "hardware", finding->sensitive->hardware, "breaks",
        finding->sensitive->breaks, "here", here, "guest", guest, "here_refused",
        (int)(finding->here.end == NATIVE_SIGNAL), "here_value",
        (json_int_t)shown(finding->sensitive, finding->here.eax, finding->here.ecx), "guest_value",
        (json_int_t)shown(finding->sensitive, finding->guest.eax, finding->guest.ecx),
        "guest_vector", (json_int_t)finding->guest.vector, "translation",
        explain_fragment_json(&finding->fragment, NULL));
}

static int print_json(const struct finding *findings) {
    json_t *all = json_array();
    for (unsigned i = 0; i < sensitive_count; i++)
        json_array_append_new(all, finding_json(&findings[i]));
    int rc = json_dumpf(all, stdout, JSON_INDENT(1));
    putchar('\n');
    json_decref(all);
    return rc;
}

static void print_text(const struct finding *findings) {
    puts("Sensitive instructions that do not trap in ring 3 (Robin and Irvine, 2000). Each was run "
         "just now: by this\n"
         "machine's processor in ring 3, as a guest kernel would run there without help, and by "
         "ring3 as a guest's\n"
         "kernel in its ring 0; with the code that ring3 ran.");
    for (unsigned i = 0; i < sensitive_count; i++)
        print_finding(&findings[i], i + 1);
}

static int find_all(struct finding *findings, const struct explain_options *options,
                    engine_fn engine, struct error *error) {
    for (unsigned i = 0; i < sensitive_count; i++) {
        findings[i].sensitive = &sensitive_table[i];
        read_code(&findings[i]);
        native_run(findings[i].code, findings[i].len, &findings[i].here);
        if (explain_one(&findings[i], options->syntax, error))
            return -1;
    }
    return run_guest(findings, engine, error);
}

int explain_sensitive(const struct explain_options *options, engine_fn engine) {
    struct finding *findings = calloc(sensitive_count, sizeof *findings);
    struct error error;
    int status = STATUS_HOST_FAILURE;
    if (!findings) {
        report_line("no memory");
        return status;
    }
    if (find_all(findings, options, engine, &error)) {
        report_line("%s", error.text);
    } else {
        status = STATUS_OK;
        if (options->json)
            print_json(findings);
        else
            print_text(findings);
        if (fflush(stdout) || ferror(stdout))
            status = STATUS_HOST_FAILURE;
    }
    for (unsigned i = 0; i < sensitive_count; i++)
        explained_fragment_release(&findings[i].fragment);
    free(findings);
    return status;
}
