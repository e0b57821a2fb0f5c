/* An explanation as one HTML page (explain_output.h): a table, a row for each guest instruction. */
#include <string.h>

#include "inspect/explain_output.h"

static const char style[] =
    ":root{color-scheme:light "
    "dark;--bg:#fcfcfa;--fg:#1c1e21;--soft:#5c6370;--line:#d9dbe0;--panel:#f1f2f4;"
    "--copied:#1a7f37;--re-encoded:#0b7285;--rewritten:#9a6700;--inline:#0550ae;--callout:#8250df;-"
    "-undefined:#b42318}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#16181c;--fg:#e4e6ea;--soft:#9aa2ae;--line:#"
    "33373e;--panel:#1f2227;"
    "--copied:#57c26e;--re-encoded:#4fc3d9;--rewritten:#e0b34a;--inline:#7db4ff;--callout:#c297ff;-"
    "-undefined:#ff8a80}}\n"
    "body{background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif;margin:0 "
    "auto;max-width:1400px;padding:1.5rem}\n"
    "h1{font-size:1.4rem;margin:0}h2{font-size:1.05rem;margin:2rem 0 "
    ".5rem}.soft{color:var(--soft)}\n"
    "code,.code{font:13px/1.45 ui-monospace,'DejaVu Sans Mono',monospace}\n"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}\n"
    "td,th{border-top:1px solid var(--line);padding:.35rem "
    ".6rem;text-align:left;vertical-align:top}\n"
    "th{color:var(--soft);font-weight:500}tr.block td{border-top:2px solid var(--soft)}\n"
    "tr:hover td{background:var(--panel)}.why{color:var(--soft);font-size:.85rem;max-width:34rem}\n"
    ".tag{border-left:4px solid var(--kind);color:var(--kind);font-weight:600;padding-left:.4rem}\n"
    ".host{display:grid;grid-template-columns:3rem minmax(20rem,1fr) minmax(12rem,1fr);gap:.6rem}\n"
    ".host .note,.host .at{color:var(--soft)}.bar{display:flex;height:.8rem;margin:.5rem "
    "0;border-radius:3px;overflow:hidden}\n"
    ".bar span{background:var(--kind)}.legend span{margin-right:1.2rem}details "
    "summary{color:var(--soft);cursor:pointer}\n";

static void put(FILE *out, const char *text) {
    for (; *text; text++)
        switch (*text) {
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '&':
            fputs("&amp;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        default:
            fputc((unsigned char)*text < ' ' ? '?' : *text, out);
        }
}

static const char *kind(enum explained_how how) { return explained_how_name(how); }

static void put_host(FILE *out, const struct explained_host *host) {
    fprintf(out, "<div class=\"host %s\" title=\"",
            explained_part_name((enum explained_part)host->part));
    for (unsigned i = 0; i < host->len; i++)
        fprintf(out, "%s%02x", i ? " " : "", host->bytes[i]);
    fprintf(out, "\"><span class=\"at\">%04x</span><span>", host->offset);
    put(out, host->text);
    fputs("</span><span class=\"note\">", out);
    put(out, host->note);
    fputs("</span></div>\n", out);
}

static void put_hosts(FILE *out, const struct explained_fragment *f, unsigned insn, bool cold) {
    for (unsigned i = 0; i < f->host_count; i++)
        if (f->hosts[i].insn == insn && f->hosts[i].cold == cold)
            put_host(out, &f->hosts[i]);
}

static void put_insn(FILE *out, const struct explained_fragment *f, unsigned index) {
    const struct explained_insn *insn = &f->insns[index];
    fprintf(out, "<tr%s><td class=\"code soft\">%08x</td><td class=\"code\">",
            insn->starts_block ? " class=\"block\"" : "", insn->linear);
    put(out, insn->text);
    fputs("<div class=\"soft\">", out);
    for (unsigned i = 0; i < insn->len; i++)
        fprintf(out, "%02x ", insn->bytes[i]);
    fprintf(out, "</div></td><td><span class=\"tag\" style=\"--kind:var(--%s)\">", kind(insn->how));
    put(out, insn->label);
    fputs("</span><div class=\"why\">", out);
    put(out, insn->why);
    if (insn->lag)
        fprintf(out, "; ESP is r12d%+d here", insn->lag);
    fprintf(out, "</div></td><td class=\"code\" title=\"%u bytes from %u\">", insn->hot_bytes,
            insn->len);
    put_hosts(out, f, index, false);
    if (insn->cold_bytes) {
        fprintf(out, "<details><summary>%u bytes of cold code</summary>\n", insn->cold_bytes);
        put_hosts(out, f, index, true);
        fputs("</details>", out);
    }
    fputs("</td></tr>\n", out);
}

/* A link where the page has the fragment. */
static void put_exit(FILE *out, const struct explanation *e, const struct explained_exit *exit) {
    bool here = false;
    for (unsigned i = 0; i < e->count; i++)
        here |= e->fragments[i].linear == exit->linear;
    if (here)
        fprintf(out, "<a href=\"#f%08x\"><code>%08x</code></a> ", exit->linear, exit->linear);
    else
        fprintf(out, "<code>%08x</code> ", exit->linear);
    put(out, exit->name);
}

static void put_fragment(FILE *out, const struct explanation *e, const struct explained_fragment *f,
                         const struct explain_view *view) {
    char name[96], text[16];
    fprintf(out, "<h2 id=\"f%08x\"><code>%08x</code> ", f->linear, f->linear);
    put(out, symbols_format(view->symbols, f->linear, name, sizeof name));
    fprintf(out,
            "</h2>\n<p class=\"soft\">%u instructions, %u bytes &rarr; %u bytes and %u of cold "
            "code, &times;%s",
            f->insn_count, f->guest_len, f->code_len, f->cold_len,
            explain_expansion(f->guest_len, f->code_len, text));
    for (unsigned i = 0; i < f->exit_count; i++) {
        fputs(i ? ", " : "; leads to ", out);
        put_exit(out, e, &f->exits[i]);
    }
    fputs("</p>\n<div class=\"scroll\"><table><thead><tr><th>address</th><th>guest</th><th>what "
          "became of it</th>"
          "<th>host</th></tr></thead><tbody>\n",
          out);
    for (unsigned i = 0; i < f->insn_count; i++)
        put_insn(out, f, i);
    fputs("</tbody></table></div>\n", out);
}

static void put_legend(FILE *out, const struct explanation *e) {
    fputs("<div class=\"bar\" aria-hidden=\"true\">", out);
    for (unsigned i = 0; i < EXPLAINED_HOWS; i++)
        if (e->hows[i])
            fprintf(out, "<span style=\"--kind:var(--%s);flex:%u\"></span>",
                    kind((enum explained_how)i), e->hows[i]);
    fputs("</div>\n<p class=\"legend\">", out);
    for (unsigned i = 0; i < EXPLAINED_HOWS; i++)
        if (e->hows[i])
            fprintf(out, "<span class=\"tag\" style=\"--kind:var(--%s)\">%s %u</span>",
                    kind((enum explained_how)i), kind((enum explained_how)i), e->hows[i]);
    fputs("</p>\n", out);
}

void explain_print_html(FILE *out, const struct explanation *e, const struct explain_view *view) {
    char text[16];
    fputs("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>",
          out);
    put(out, view->title);
    fprintf(out, " - ring3 explain</title>\n<style>%s</style></head>\n<body>\n<h1>", style);
    put(out, view->title);
    fputs("</h1>\n<p class=\"soft\">", out);
    put(out, view->context);
    fprintf(out,
            ". %u fragment%s%s, %u instructions, %u guest bytes &rarr; %u host bytes and %u of "
            "cold code: expansion %s.</p>\n",
            e->count, e->count == 1 ? "" : "s", e->cut ? " (there is more)" : "", e->insns,
            e->guest_bytes, e->hot_bytes, e->cold_bytes,
            explain_expansion(e->guest_bytes, e->hot_bytes, text));
    put_legend(out, e);
    for (unsigned i = 0; i < e->count; i++)
        put_fragment(out, e, &e->fragments[i], view);
    fputs("</body></html>\n", out);
}
