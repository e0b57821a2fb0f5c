/* Integer programs over bytes: compression after LZ4, hashing, a hash table. */
#include <string.h>

#include "bench/linux/workload.h"

enum {
    TEXT_SIZE = 1 << 20,
    HASH_BITS = 14,
    MATCH_MIN = 4,
    MATCH_MAX = 255 + MATCH_MIN,
    LITERALS_MAX = 255,
    REACH = 65535,
};

/* Words drawn from a small vocabulary: compresses about as prose does. */
static void write_text(uint8_t *text, uint32_t size) {
    uint32_t seed = 12345, at = 0;
    while (at < size) {
        uint32_t word = workload_random(&seed) >> 22, letters = 2 + word % 7;
        word = word * word >> 10; /* short numbers are drawn more often */
        for (uint32_t i = 0; i < letters && at < size; i++)
            text[at++] = (uint8_t)('a' + (word * 7 + i * (word % 5 + 3)) % 26);
        if (at < size)
            text[at++] = ' ';
    }
}

static uint32_t load32(const uint8_t *p) {
    uint32_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

/* A sequence: number of literals, the literals, length of the match less MATCH_MIN, distance in two
 * bytes (0: none follows). */
static uint32_t put_sequence(uint8_t *to, const uint8_t *literals, uint32_t count, uint32_t length,
                             uint32_t distance) {
    uint32_t at = 0;
    to[at++] = (uint8_t)count;
    for (uint32_t i = 0; i < count; i++)
        to[at++] = literals[i];
    to[at++] = (uint8_t)(length - MATCH_MIN);
    to[at++] = (uint8_t)distance;
    to[at++] = (uint8_t)(distance >> 8);
    return at;
}

static uint32_t compress(const uint8_t *from, uint32_t size, uint8_t *to) {
    static uint32_t heads[1 << HASH_BITS];
    memset(heads, 0, sizeof heads);
    uint32_t at = 0, literals = 0, out = 0;
    while (at + MATCH_MIN <= size) {
        uint32_t word = load32(from + at), hash = word * 2654435761u >> (32 - HASH_BITS);
        uint32_t candidate = heads[hash]; /* one more than the place; 0: none */
        heads[hash] = at + 1;
        if (candidate && at - (candidate - 1) <= REACH && load32(from + candidate - 1) == word) {
            uint32_t length = MATCH_MIN;
            while (length < MATCH_MAX && at + length < size &&
                   from[candidate - 1 + length] == from[at + length])
                length++;
            out += put_sequence(to + out, from + at - literals, literals, length,
                                at - (candidate - 1));
            at += length;
            literals = 0;
        } else {
            at++;
            if (++literals == LITERALS_MAX) {
                out += put_sequence(to + out, from + at - literals, literals, MATCH_MIN, 0);
                literals = 0;
            }
        }
    }
    literals += size - at; /* at most three more */
    if (literals > LITERALS_MAX)
        literals = LITERALS_MAX;
    return out + put_sequence(to + out, from + size - literals, literals, MATCH_MIN, 0);
}

static uint32_t expand(const uint8_t *from, uint32_t size, uint8_t *to) {
    uint32_t at = 0, out = 0;
    while (at < size) {
        for (uint32_t count = from[at++]; count; count--)
            to[out++] = from[at++];
        uint32_t length = from[at] + MATCH_MIN,
                 distance = from[at + 1] | (uint32_t)from[at + 2] << 8;
        at += 3;
        for (; distance && length; length--, out++)
            to[out] = to[out - distance];
    }
    return out;
}

static uint32_t run_lz(uint32_t size) {
    uint8_t *text = workload_allocate(TEXT_SIZE), *packed = workload_allocate(2 * TEXT_SIZE);
    uint8_t *unpacked = workload_allocate(TEXT_SIZE);
    uint32_t sum = 0;
    write_text(text, TEXT_SIZE);
    workload_begin();
    for (uint32_t i = 0; i < size; i++) {
        text[i * 997 % TEXT_SIZE] ^= 1;
        uint32_t packed_size = compress(text, TEXT_SIZE, packed);
        if (expand(packed, packed_size, unpacked) != TEXT_SIZE ||
            memcmp(text, unpacked, TEXT_SIZE) != 0)
            workload_fail("the text came back changed");
        sum = workload_mix(sum, packed_size);
    }
    workload_end();
    return sum;
}

/* FNV-1a by the byte, and a multiply-and-rotate hash by the word. */
static uint32_t hash_bytes(const uint8_t *text, uint32_t size) {
    uint32_t hash = 2166136261u;
    for (uint32_t i = 0; i < size; i++)
        hash = (hash ^ text[i]) * 16777619u;
    return hash;
}

static uint32_t hash_words(const uint8_t *text, uint32_t size) {
    uint32_t lanes[4] = {1, 2, 3, 4};
    for (uint32_t i = 0; i + 16 <= size; i += 16)
        for (uint32_t k = 0; k < 4; k++) {
            uint32_t x = lanes[k] + load32(text + i + 4 * k) * 0x85ebca77u;
            lanes[k] = (x << 13 | x >> 19) * 0x9e3779b1u;
        }
    return workload_mix(workload_mix(workload_mix(lanes[0], lanes[1]), lanes[2]), lanes[3]);
}

/* Words counted in an open hash table. */
static uint32_t count_words(const uint8_t *text, uint32_t size) {
    enum { SLOTS = 1 << 12 };
    static struct { uint32_t hash, count; } table[SLOTS];
    memset(table, 0, sizeof table);
    uint32_t start = 0, distinct = 0, longest_run = 0;
    for (uint32_t at = 0; at < size; at++) {
        if (text[at] != ' ')
            continue;
        uint32_t hash = hash_bytes(text + start, at - start) | 1, slot = hash % SLOTS;
        while (table[slot].hash && table[slot].hash != hash)
            slot = (slot + 1) % SLOTS;
        distinct += !table[slot].hash;
        table[slot].hash = hash;
        if (++table[slot].count > longest_run)
            longest_run = table[slot].count;
        start = at + 1;
        if (distinct == SLOTS / 2)
            break;
    }
    return distinct + longest_run;
}

static uint32_t run_hash(uint32_t size) {
    uint8_t *text = workload_allocate(TEXT_SIZE);
    uint32_t sum = 0;
    write_text(text, TEXT_SIZE);
    workload_begin();
    for (uint32_t i = 0; i < size; i++) {
        text[i * 997 % TEXT_SIZE] ^= 1;
        sum = workload_mix(sum, hash_bytes(text, TEXT_SIZE));
        sum = workload_mix(sum, hash_words(text, TEXT_SIZE));
        sum = workload_mix(sum, count_words(text, TEXT_SIZE));
    }
    workload_end();
    return sum;
}

const struct workload text_workloads[] = {
    {"int.lz", WORKLOAD_PROGRAM, run_lz, 60, 4, 0},
    {"int.hash", WORKLOAD_PROGRAM, run_hash, 120, 6, 0},
    {.name = NULL},
};
