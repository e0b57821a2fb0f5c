/* The translation cache: fragments in the order of their making, how often a sample found each
 * running, and one of them in both its languages. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/explain.h"
#include "inspect/web_private.h"

#define RECORDS_MAX 32768u /* of one answer */
#define RECORD_WORDS 5u
#define HEADER_WORDS 4u
#define DEAD 0x80000000u
#define HOT_MAX 12u
#define BIRTHS_STEP 65536u

static bool make_room(struct web_births *births, uint32_t count) {
    if (count <= births->max)
        return true;
    uint32_t max = (count / BIRTHS_STEP + 1) * BIRTHS_STEP;
    uint32_t *more = realloc(births->ms, max * sizeof *more);
    if (!more)
        return false;
    births->ms = more;
    births->max = max;
    return true;
}

void web_births_note(struct web_server *server) {
    struct web_births *births = &server->births;
    struct engine_summary summary;
    if (!engine_view_summary(web_tables(server), &summary))
        return;
    if (summary.generation != births->generation || summary.fragment_count < births->count)
        births->count = 0;
    births->generation = summary.generation;
    if (!make_room(births, summary.fragment_count))
        return;
    for (; births->count < summary.fragment_count; births->count++)
        births->ms[births->count] = web_now_ms(server);
}

static void put_record(const struct web_server *server, uint32_t index, uint32_t *to) {
    struct fragment_view f = {0};
    bool there = engine_view_fragment(web_tables(server), index, &f);
    to[0] = f.linear;
    to[1] = (uint32_t)f.place;
    to[2] = (f.code_len & 0xffffu) | f.guest_len << 16;
    to[3] = there ? f.mode : 0;
    to[4] = server->births.ms[index];
}

uint32_t *web_fragment_records(const struct web_server *server, uint64_t generation, uint32_t from,
                               size_t *len) {
    const struct web_births *births = &server->births;
    if (generation != births->generation || from > births->count)
        from = 0;
    uint32_t count = births->count - from < RECORDS_MAX ? births->count - from : RECORDS_MAX;
    *len = (HEADER_WORDS + (size_t)count * RECORD_WORDS) * sizeof(uint32_t);
    uint32_t *words = malloc(*len);
    if (!words)
        return NULL;
    words[0] = (uint32_t)births->generation;
    words[1] = from;
    words[2] = count;
    words[3] = births->count;
    for (uint32_t i = 0; i < count; i++)
        put_record(server, from + i, words + HEADER_WORDS + (size_t)i * RECORD_WORDS);
    return words;
}

uint32_t *web_fragment_heat(const struct web_server *server, size_t *len) {
    const struct web_births *births = &server->births;
    *len = (2 + (size_t)births->count) * sizeof(uint32_t);
    uint32_t *words = malloc(*len);
    if (!words)
        return NULL;
    words[0] = (uint32_t)births->generation;
    words[1] = births->count;
    for (uint32_t i = 0; i < births->count; i++) {
        struct fragment_view f;
        bool dead = !engine_view_fragment(web_tables(server), i, &f) || f.dead;
        words[2 + i] = (engine_view_heat(web_tables(server), i) & ~DEAD) | (dead ? DEAD : 0);
    }
    return words;
}

/* Keeps `hot` in order, the hottest first. */
static void insert_hot(uint32_t hot[HOT_MAX], uint32_t heats[HOT_MAX], uint32_t index,
                       uint32_t heat) {
    unsigned at = HOT_MAX;
    while (at && heats[at - 1] < heat)
        at--;
    for (unsigned i = HOT_MAX - 1; i > at && at < HOT_MAX; i--) {
        hot[i] = hot[i - 1];
        heats[i] = heats[i - 1];
    }
    if (at == HOT_MAX)
        return;
    hot[at] = index;
    heats[at] = heat;
}

json_t *web_hot(const struct web_server *server) {
    uint32_t hot[HOT_MAX] = {0}, heats[HOT_MAX] = {0};
    uint64_t samples = 0;
    json_t *list = json_array();
    for (uint32_t i = 1; i < server->births.count; i++) {
        uint32_t heat = engine_view_heat(web_tables(server), i) & ~DEAD;
        samples += heat;
        if (heat)
            insert_hot(hot, heats, i, heat);
    }
    for (unsigned i = 0; i < HOT_MAX && heats[i]; i++) {
        struct fragment_view f;
        if (!engine_view_fragment(web_tables(server), hot[i], &f))
            continue;
        json_array_append_new(list, json_pack("{sIsIsIsIso*}", "index", (json_int_t)hot[i], "heat",
                                              (json_int_t)heats[i], "linear", (json_int_t)f.linear,
                                              "mode", (json_int_t)f.mode, "name",
                                              web_name(server, f.linear)));
    }
    return json_pack("{sIso*}", "samples", (json_int_t)samples, "hot", list);
}

/* The guest's bytes as they are now, which need not be those that were translated. */
static uint32_t copy_guest(const struct web_server *server, const struct fragment_view *f,
                           uint8_t *to) {
    uint64_t end = web_ram(server)->size + web_ram(server)->rom_size;
    uint32_t left = PAGE_SIZE - (uint32_t)(f->place & PAGE_MASK);
    uint32_t first = f->guest_len < left ? f->guest_len : left, second = f->guest_len - first;
    uint64_t next = f->place2 & ~(uint64_t)PAGE_MASK;
    if (f->place >= end || first > end - f->place)
        return 0;
    memcpy(to, web_ram(server)->base + f->place, first);
    if (!second || !f->place2 || next >= end || second > end - next)
        return first;
    memcpy(to + first, web_ram(server)->base + next, second);
    return first + second;
}

struct sides {
    uint8_t guest[TRANSLATION_INSNS_MAX * 15], host[TRANSLATION_CODE_MAX];
    uint32_t guest_len, host_len;
    struct insn_map insns[TRANSLATION_INSNS_MAX];
    unsigned count;
    struct explained_fragment
        explained; /* the same bytes, translated here: for classes and reasons */
};

/* What became of the guest instruction at an offset, or NULL. */
static const struct explained_insn *explained_at(const struct sides *sides, uint32_t offset) {
    for (unsigned i = 0; i < sides->explained.insn_count; i++)
        if (sides->explained.insns[i].eip - sides->explained.eip == offset)
            return &sides->explained.insns[i];
    return NULL;
}

static void explain(const struct web_server *server, const struct fragment_view *f,
                    struct sides *sides) {
    struct error error;
    const struct explain_code code = {.bytes = sides->guest,
                                      .len = sides->guest_len,
                                      .linear = f->linear,
                                      .eip = f->eip,
                                      .mode = f->mode,
                                      .code_limit = UINT32_MAX,
                                      .symbols = server->symbols};
    if (!sides->guest_len || explain_fragment(&code, &sides->explained, &error))
        sides->explained = (struct explained_fragment){0};
}

/* One guest instruction and the host instructions made of it. */
static json_t *pair_json(const struct web_server *server, const struct sides *sides,
                         const struct fragment_view *f, unsigned i) {
    bool last = i + 1 == sides->count;
    uint32_t guest = sides->insns[i].guest,
             guest_end = last ? sides->guest_len : sides->insns[i + 1].guest;
    uint32_t host = sides->insns[i].host,
             host_end = last ? sides->host_len : sides->insns[i + 1].host;
    json_t *left = json_array(), *right = json_array();
    if (guest <= guest_end && guest_end <= sides->guest_len)
        web_code_lines(f->mode & MODE_CODE16 ? server->guest16 : server->guest32, left,
                       sides->guest + guest, guest_end - guest, f->linear + guest, 1);
    if (host <= host_end && host_end <= sides->host_len)
        web_code_lines(server->host, right, sides->host + host, host_end - host, f->code + host,
                       UINT32_MAX);
    const struct explained_insn *insn = explained_at(sides, guest);
    return json_pack("{so*so*sssssi}", "guest", left, "host", right, "class",
                     insn ? explained_how_name(insn->how) : "", "why", insn ? insn->why : "",
                     "block", insn ? (int)insn->starts_block : 0);
}

json_t *web_fragment(const struct web_server *server, uint32_t index) {
    const struct arena *tables = web_tables(server);
    struct fragment_view f;
    struct sides sides;
    if (!engine_view_fragment(tables, index, &f))
        return NULL;
    sides.guest_len = copy_guest(server, &f, sides.guest);
    sides.host_len = engine_view_code(tables, index, sides.host, sizeof sides.host);
    sides.count = engine_view_insns(tables, index, sides.insns);
    explain(server, &f, &sides);
    json_t *pairs = json_array();
    for (unsigned i = 0; i < sides.count; i++)
        json_array_append_new(pairs, pair_json(server, &sides, &f, i));
    explained_fragment_release(&sides.explained);
    return json_pack("{sIsIso*sIsIsIsIsIsIsbso*}", "index", (json_int_t)index, "linear",
                     (json_int_t)f.linear, "name", web_name(server, f.linear), "place",
                     (json_int_t)f.place, "code", (json_int_t)f.code, "mode", (json_int_t)f.mode,
                     "guest_len", (json_int_t)f.guest_len, "host_len", (json_int_t)f.code_len,
                     "heat", (json_int_t)engine_view_heat(tables, index), "dead", (int)f.dead,
                     "pairs", pairs);
}
