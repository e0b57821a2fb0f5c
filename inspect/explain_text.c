/* An explanation in two columns of text (explain_output.h). */
#include <assert.h>
#include <stdarg.h>
#include <string.h>

#include "inspect/explain_output.h"

#define LEFT 64      /* columns of the guest's side */
#define HOST_TEXT 50 /* columns of a host instruction, before its note */
#define REASONS_MAX 64u

struct printer {
    FILE *out;
    const struct explain_view *view;
    const char *reasons[REASONS_MAX]; /* given already */
    unsigned reason_count;
};

/* The lines of the left side of one instruction. */
struct left {
    char lines[8][LEFT];
    unsigned count;
};

static const char *const colours[EXPLAINED_HOWS] = {
    [EXPLAINED_COPIED] = "\33[32m",    [EXPLAINED_ENCODED] = "\33[36m",
    [EXPLAINED_REWRITTEN] = "\33[33m", [EXPLAINED_INLINE] = "\33[34m",
    [EXPLAINED_CALLOUT] = "\33[35m",   [EXPLAINED_UNDEFINED] = "\33[31m"};
#define DIM "\33[2m"
#define BOLD "\33[1m"
#define PLAIN "\33[0m"

static const char *colour(const struct printer *p, const char *code) {
    return p->view->colour ? code : "";
}

const char *explain_expansion(uint32_t guest, uint32_t host, char text[16]) {
    uint64_t hundredths = guest ? ((uint64_t)host * 100 + guest / 2) / guest : 0;
    snprintf(text, 16, "%u.%02u", (unsigned)(hundredths / 100), (unsigned)(hundredths % 100));
    return text;
}

static bool is_new(struct printer *p, const char *why) {
    for (unsigned i = 0; i < p->reason_count; i++)
        if (p->reasons[i] == why)
            return false;
    if (p->reason_count < REASONS_MAX)
        p->reasons[p->reason_count++] = why;
    return true;
}

static void add_line(struct left *left, const char *text, size_t len) {
    if (left->count < sizeof left->lines / sizeof *left->lines)
        snprintf(left->lines[left->count++], LEFT, "%.*s", (int)len, text);
}

/* Breaks at blanks. */
static void add_wrapped(struct left *left, const char *text) {
    const size_t room = LEFT - 5;
    while (*text) {
        char line[LEFT];
        size_t len = strlen(text);
        if (len > room) {
            len = room;
            while (len > room / 2 && text[len] != ' ')
                len--;
        }
        snprintf(line, sizeof line, "    %.*s", (int)len, text);
        add_line(left, line, strlen(line));
        text += len;
        text += *text == ' ';
    }
}

static void make_left(struct printer *p, const struct explained_insn *insn, struct left *left) {
    char hex[2 * INSN_BYTES_MAX + 1] = "", line[256];
    for (unsigned i = 0; i < insn->len; i++)
        sprintf(hex + 2 * (size_t)i, "%02x", insn->bytes[i]);
    left->count = 0;
    int len = snprintf(line, sizeof line, "%08x  %-14s %s", insn->linear, hex, insn->text);
    add_line(left, line, (size_t)len);
    if (len >= LEFT)
        add_wrapped(left, line + LEFT - 1);
    char label[80];
    if (insn->lag)
        snprintf(label, sizeof label, "  %s; ESP is r12d%+d", insn->label, insn->lag);
    else
        snprintf(label, sizeof label, "  %s", insn->label);
    add_line(left, label, strlen(label));
    if (is_new(p, insn->why))
        add_wrapped(left, insn->why);
}

static void print_left(struct printer *p, const struct explained_insn *insn,
                       const struct left *left, unsigned line) {
    const char *text = line < left->count ? left->lines[line] : "";
    const char *code = line == 0 ? BOLD : !strncmp(text, "    ", 4) ? DIM : colours[insn->how];
    fprintf(p->out, "%s%-*s%s |", colour(p, code), LEFT - 1, text, colour(p, PLAIN));
}

static void print_host(struct printer *p, const struct explained_host *host) {
    fprintf(p->out, " %s%04x  ", host->cold ? "cold " : "", host->offset);
    if (*host->note)
        fprintf(p->out, "%-*s %s; %s%s", HOST_TEXT, host->text, colour(p, DIM), host->note,
                colour(p, PLAIN));
    else
        fputs(host->text, p->out);
}

static void print_insn(struct printer *p, const struct explained_fragment *f, unsigned index) {
    const struct explained_insn *insn = &f->insns[index];
    struct left left;
    unsigned line = 0;
    make_left(p, insn, &left);
    for (unsigned i = 0; i < f->host_count; i++) {
        const struct explained_host *host = &f->hosts[i];
        if (host->insn != index || (host->cold && !p->view->cold))
            continue;
        print_left(p, insn, &left, line++);
        print_host(p, host);
        fputc('\n', p->out);
    }
    if (insn->cold_bytes && !p->view->cold) {
        print_left(p, insn, &left, line++);
        fprintf(p->out, " %s      and %u bytes of cold code%s\n", colour(p, DIM), insn->cold_bytes,
                colour(p, PLAIN));
    }
    while (line < left.count) {
        print_left(p, insn, &left, line++);
        fputc('\n', p->out);
    }
}

static void print_fragment(struct printer *p, const struct explained_fragment *f) {
    char name[96], text[16];
    symbols_format(p->view->symbols, f->linear, name, sizeof name);
    fprintf(p->out,
            "\n%sfragment %08x%s%s%s: %u instruction%s, %u bytes -> %u bytes and %u cold, x%s\n",
            colour(p, BOLD), f->linear, *name ? " " : "", name, colour(p, PLAIN), f->insn_count,
            f->insn_count == 1 ? "" : "s", f->guest_len, f->code_len, f->cold_len,
            explain_expansion(f->guest_len, f->code_len, text));
    for (unsigned i = 0; i < f->insn_count; i++) {
        if (i && f->insns[i].starts_block)
            fprintf(p->out, "%s%-*s%s |\n", colour(p, DIM), LEFT - 1, "  -- next basic block",
                    colour(p, PLAIN));
        print_insn(p, f, i);
    }
    for (unsigned i = 0; i < f->exit_count; i++)
        fprintf(p->out, "  leads to %08x%s%s\n", f->exits[i].linear, *f->exits[i].name ? " " : "",
                f->exits[i].name);
}

void explain_print_text(FILE *out, const struct explanation *e, const struct explain_view *view) {
    struct printer printer = {.out = out, .view = view};
    char text[16];
    fprintf(out, "%s%s%s, %s\n", colour(&printer, BOLD), view->title, colour(&printer, PLAIN),
            view->context);
    for (unsigned i = 0; i < e->count; i++)
        print_fragment(&printer, &e->fragments[i]);
    fprintf(out, "\n%u fragment%s%s, %u instruction%s:", e->count, e->count == 1 ? "" : "s",
            e->cut ? " (there is more)" : "", e->insns, e->insns == 1 ? "" : "s");
    for (unsigned i = 0; i < EXPLAINED_HOWS; i++)
        if (e->hows[i])
            fprintf(out, " %s%u %s%s", colour(&printer, colours[i]), e->hows[i],
                    explained_how_name((enum explained_how)i), colour(&printer, PLAIN));
    fprintf(out, "\n%u guest bytes -> %u host bytes and %u cold: expansion %s\n", e->guest_bytes,
            e->hot_bytes, e->cold_bytes, explain_expansion(e->guest_bytes, e->hot_bytes, text));
}
