/* An explanation as JSON (explain_output.h). */
#include "inspect/explain_output.h"

static json_t *hex_of(const uint8_t *bytes, unsigned len) {
    char hex[2 * INSN_BYTES_MAX + 1] = "";
    for (unsigned i = 0; i < len; i++)
        sprintf(hex + 2 * (size_t)i, "%02x", bytes[i]);
    return json_string(hex);
}

static json_t *host_json(const struct explained_host *host) {
    return json_pack("{s:i, s:b, s:o, s:s, s:s, s:s}", "offset", (int)host->offset, "cold",
                     (int)host->cold, "bytes", hex_of(host->bytes, host->len), "text", host->text,
                     "part", explained_part_name((enum explained_part)host->part), "note",
                     host->note);
}

static json_t *insn_json(const struct explained_fragment *f, unsigned index) {
    const struct explained_insn *insn = &f->insns[index];
    json_t *hosts = json_array();
    for (unsigned i = 0; i < f->host_count; i++)
        if (f->hosts[i].insn == index)
            json_array_append_new(hosts, host_json(&f->hosts[i]));
    return json_pack("{s:I, s:o, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:b, s:o}", "address",
                     (json_int_t)insn->linear, "bytes", hex_of(insn->bytes, insn->len), "text",
                     insn->text, "class", explained_how_name(insn->how), "label", insn->label,
                     "why", insn->why, "row", insn->row, "hot_bytes", (int)insn->hot_bytes,
                     "cold_bytes", (int)insn->cold_bytes, "esp_lag", (int)insn->lag, "starts_block",
                     (int)insn->starts_block, "host", hosts);
}

json_t *explain_fragment_json(const struct explained_fragment *f, const struct symbols *symbols) {
    char name[96];
    json_t *insns = json_array(), *exits = json_array();
    for (unsigned i = 0; i < f->insn_count; i++)
        json_array_append_new(insns, insn_json(f, i));
    for (unsigned i = 0; i < f->exit_count; i++)
        json_array_append_new(exits,
                              json_pack("{s:I, s:s}", "address", (json_int_t)f->exits[i].linear,
                                        "name", f->exits[i].name));
    return json_pack("{s:I, s:s, s:I, s:I, s:I, s:I, s:o, s:o}", "address", (json_int_t)f->linear,
                     "name", symbols_format(symbols, f->linear, name, sizeof name), "mode",
                     (json_int_t)f->mode, "guest_bytes", (json_int_t)f->guest_len, "host_bytes",
                     (json_int_t)f->code_len, "cold_bytes", (json_int_t)f->cold_len, "instructions",
                     insns, "exits", exits);
}

json_t *explain_json(const struct explanation *e, const struct explain_view *view) {
    json_t *fragments = json_array(), *classes = json_object();
    for (unsigned i = 0; i < e->count; i++)
        json_array_append_new(fragments, explain_fragment_json(&e->fragments[i], view->symbols));
    for (unsigned i = 0; i < EXPLAINED_HOWS; i++)
        json_object_set_new(classes, explained_how_name((enum explained_how)i),
                            json_integer(e->hows[i]));
    return json_pack("{s:s, s:s, s:b, s:I, s:I, s:I, s:o, s:o}", "title", view->title, "context",
                     view->context, "cut", (int)e->cut, "guest_bytes", (json_int_t)e->guest_bytes,
                     "host_bytes", (json_int_t)e->hot_bytes, "cold_bytes",
                     (json_int_t)e->cold_bytes, "classes", classes, "fragments", fragments);
}
