/* Bytes -> lines of assembly, by Capstone. The bytes are the guest's, or host code that a guest may
 * have written: what does not decode is shown as bytes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "inspect/web_private.h"

#define INSN_MAX 15
#define LINES_AT_EIP 12u
#define NAME_REACH 0x10000u /* farther behind a symbol it says nothing */

int web_code_open(struct web_server *server) {
    if (cs_open(CS_ARCH_X86, CS_MODE_32, &server->guest32) ||
        cs_open(CS_ARCH_X86, CS_MODE_16, &server->guest16) ||
        cs_open(CS_ARCH_X86, CS_MODE_64, &server->host))
        return -ENOMEM;
    return 0;
}

static void add_line(json_t *lines, uint64_t address, const uint8_t *bytes, size_t len,
                     const char *mnemonic, const char *operands) {
    char hex[2 * INSN_MAX + 1] = "", text[256];
    for (size_t i = 0; i < len && i < INSN_MAX; i++)
        snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
    snprintf(text, sizeof text, "%s%s%s", mnemonic, *operands ? " " : "", operands);
    json_array_append_new(lines, json_pack("[Iss]", (json_int_t)address, hex, text));
}

void web_code_lines(csh handle, json_t *lines, const uint8_t *bytes, size_t len, uint64_t address,
                    unsigned max_lines) {
    cs_insn *insn = cs_malloc(handle);
    if (!insn)
        return;
    while (len && max_lines && cs_disasm_iter(handle, &bytes, &len, &address, insn)) {
        add_line(lines, insn->address, insn->bytes, insn->size, insn->mnemonic, insn->op_str);
        max_lines--;
    }
    if (len && max_lines)
        add_line(lines, address, bytes, len, "(bytes)", "");
    cs_free(insn, 1);
}

/* Copies what can be fetched from `gva` on. Returns how many bytes. */
static size_t fetch(const struct web_server *server, gva_t gva, uint8_t *to, size_t len) {
    struct paging paging;
    web_copy_paging(server, &paging);
    for (size_t i = 0; i < len; i++) {
        struct walk walk =
            walk_page(web_ram(server), &paging, gva + (gva_t)i, ACCESS_READ, false, false);
        const uint8_t *from = walk.ok ? ram_ptr(web_ram(server), walk.gpa, 1) : NULL;
        if (!from)
            return i;
        to[i] = *from;
    }
    return len;
}

json_t *web_name(const struct web_server *server, gva_t linear) {
    char name[160] = "";
    struct symbol symbol;
    uint32_t offset;
    if (server->symbols && symbols_at(server->symbols, linear, &symbol, &offset) &&
        offset < NAME_REACH)
        symbols_format(server->symbols, linear, name, sizeof name);
    json_t *text = json_string(name);
    return text ? text : json_string(""); /* a name that is not UTF-8 */
}

json_t *web_code_at_eip(const struct web_server *server) {
    uint8_t bytes[LINES_AT_EIP * INSN_MAX];
    struct cpu cpu;
    memcpy(&cpu, &server->subject.v->cpu, sizeof cpu);
    gva_t gva = cpu.seg[SEG_CS].base + cpu.eip;
    size_t len = fetch(server, gva, bytes, sizeof bytes);
    json_t *lines = json_array();
    web_code_lines(cpu.seg[SEG_CS].attr & SEG_ATTR_DB ? server->guest32 : server->guest16, lines,
                   bytes, len, gva, LINES_AT_EIP);
    return json_pack("{sIso*so*}", "linear", (json_int_t)gva, "name", web_name(server, gva),
                     "lines", lines);
}
