/* Fuzzes the translator: any bytes, mode and hints give a fragment in the room that the engine has for
 * it, all of which is host code. By hand:
 *
 *   clang -std=gnu17 -D_GNU_SOURCE -g -O1 -I. -fsanitize=fuzzer,address,undefined \
 *       tests/fuzz/fuzz_translate.c translator/[a-z]*.c -lZydis -o fuzz_translate
 *
 * Besides the sanitizers and asserts: the lists are consistent, exits lie in the code, and a second
 * decoding of the host code ends exactly at its end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <Zydis/Zydis.h>

#include "runtime/engine_private.h"
#include "translator/cpu.h"
#include "translator/translate.h"

#define CODE_COPIED 512u /* at most, of a page */
#define MODE_ALL 0x0fdfffffu
#define HEADER_BYTES 12u
#define CODE_BASE 0x12345678u /* of a code segment that is not flat */
#define POLL_ADDRESS 0x20000000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t *hint_seed;

static void require(int holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "broken: %s\n", what);
        abort();
    }
}

static uint8_t hint_of(void *opaque, uint32_t eip) {
    (void)opaque;
    unsigned operand = (hint_seed[0] >> (eip & 3)) % 3u, second = (hint_seed[1] >> (eip & 3)) % 3u;
    return (uint8_t)(operand | second << 2);
}

/* What a guess at called code finds: a get-PC thunk, something else, or nothing to read. */
static bool peek_of(void *opaque, uint32_t eip, uint32_t *bytes) {
    (void)opaque;
    *bytes = eip & 1 ? 0xc3241c8bu : 0x90909090u;
    return (eip & 6) != 6;
}

static uint32_t fixed_slot_of(void *opaque, uint32_t target) {
    (void)opaque;
    return target & 3 ? target % JUMP_CACHE_FIXED : NO_FIXED_SLOT;
}

static int watch_of(void *opaque, uint32_t linear) {
    (void)opaque;
    return linear & 8 ? 3 : -1;
}

static void check_decodes(const uint8_t *code, uint32_t len) {
    ZydisDecoder decoder;
    ZydisDecodedInstruction z;
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    for (uint32_t at = 0; at < len; at += z.length)
        require(
            ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, NULL, code + at, len - at, &z)),
            "the host code decodes");
}

static void check_translation(const struct translate_request *req, const struct translation *t) {
    require(t->insn_count >= 1 && t->insn_count <= TRANSLATION_INSNS_MAX,
            "a number of instructions");
    require(t->guest_len >= 1 && t->guest_len <= req->len, "guest bytes that were given");
    require(t->exit_count <= TRANSLATION_EXITS_MAX, "a number of exits");
    for (uint32_t i = 0; i < t->exit_count; i++)
        require(t->exits[i].site + 4 <= t->code_len, "exits in the code");
    for (uint32_t i = 1; i < t->insn_count; i++)
        require(t->map[i].host >= t->map[i - 1].host && t->map[i].guest > t->map[i - 1].guest,
                "a map in order");
    require(t->map[0].host == 0 && t->map[0].guest == 0, "a map from the start");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t code[TRANSLATION_CODE_MAX + COLD_CODE_MAX], bytes[CODE_COPIED + 16];
    struct translation t;
    uint32_t mode, place;
    if (size <= HEADER_BYTES)
        return 0;
    memcpy(&mode, data, 4);
    memcpy(&place, data + 4, 4);
    uint8_t flags = data[8], more = data[11];
    hint_seed = data + 9;
    uint32_t given = (uint32_t)(size - HEADER_BYTES);
    memset(bytes, 0x90, sizeof bytes);
    memcpy(bytes, data + HEADER_BYTES, given < sizeof bytes ? given : sizeof bytes);
    uint32_t linear = place + (mode & MODE_GENERAL_CS ? CODE_BASE : 0);
    uint32_t left = PAGE_SIZE - (linear & PAGE_MASK);
    uint32_t page_bytes = left < CODE_COPIED ? left : CODE_COPIED;
    struct translate_request req = {
        .bytes = bytes,
        .len = page_bytes,
        .page_bytes = page_bytes,
        .eip = place,
        .linear = linear,
        .mode = mode & MODE_ALL,
        .code_limit = flags & 4 ? UINT32_MAX : place | 0xffu,
        .max_insns = flags & 1 ? 1 : 0,
        .no_links = flags & 2,
        .direct_cross_page = flags & 4,
        .tsc_is_host = flags & 8,
        .cold = flags & 16 ? code + TRANSLATION_CODE_MAX : NULL,
        .cold_room = COLD_CODE_MAX,
        .max_branches = flags >> 6 ? (flags >> 6) * 7u : 0,
        .hint = hint_of,
        .watch = flags & 32 ? watch_of : NULL,
        .poll_address = more & 1 ? POLL_ADDRESS : 0,
        .peek = more & 2 ? peek_of : NULL,
        .fixed_slot = more & 4 ? fixed_slot_of : NULL,
    };
    enum translate_status status = translate_block(&req, code, TRANSLATION_CODE_MAX, &t);
    if (status == TRANSLATE_MORE) {
        require(left <= 15, "more bytes are wanted at a page's end only");
        req.len += 15;
        status = translate_block(&req, code, TRANSLATION_CODE_MAX, &t);
    }
    require(status == TRANSLATE_OK, "the block has room");
    check_translation(&req, &t);
    check_decodes(code, t.code_len);
    if (req.cold)
        check_decodes(req.cold, t.cold_len);
    return 0;
}
