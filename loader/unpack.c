/* Decompression of a kernel's payload (unpack.h).
 *
 * All formats but lz4 are streams of the same shape: hand over input and room, be told how much of
 * both was used. One loop drives them and makes room; lz4's legacy frames are blocks. */
#include "loader/unpack.h"

#include <assert.h>
#include <bzlib.h>
#include <lz4.h>
#include <lzma.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#define LZ4_BLOCK ((size_t)8 << 20) /* a legacy block unpacks to at most this */
#define CHUNK ((size_t)4 << 20)

enum step { STEP_MORE, STEP_END, STEP_BAD };

struct stream {
    const uint8_t *in;
    size_t in_left;
    uint8_t *out;
    size_t out_left;
    union {
        z_stream z;
        lzma_stream xz;
        bz_stream bz;
        ZSTD_DStream *zstd;
    } state;
};

struct format {
    const char *name;
    uint8_t magic[6];
    size_t magic_len;
    bool (*start)(struct stream *stream);
    enum step (*step)(struct stream *stream);
    void (*stop)(struct stream *stream);
};

static unsigned clamp_unsigned(size_t n) { return n > 1u << 30 ? 1u << 30 : (unsigned)n; }

/* Takes over what a library used. */
static void advance(struct stream *s, size_t in_used, size_t out_used) {
    assert(in_used <= s->in_left && out_used <= s->out_left);
    s->in += in_used;
    s->in_left -= in_used;
    s->out += out_used;
    s->out_left -= out_used;
}

static bool gzip_start(struct stream *s) {
    return inflateInit2(&s->state.z, 15 + 16) == Z_OK; /* a gzip header, the largest window */
}

static enum step gzip_step(struct stream *s) {
    z_stream *z = &s->state.z;
    unsigned in = clamp_unsigned(s->in_left), out = clamp_unsigned(s->out_left);
    z->next_in = (Bytef *)s->in;
    z->avail_in = in;
    z->next_out = s->out;
    z->avail_out = out;
    int got = inflate(z, Z_NO_FLUSH);
    advance(s, in - z->avail_in, out - z->avail_out);
    return got == Z_STREAM_END ? STEP_END : got == Z_OK ? STEP_MORE : STEP_BAD;
}

static void gzip_stop(struct stream *s) { inflateEnd(&s->state.z); }

static bool xz_start(struct stream *s) {
    s->state.xz = (lzma_stream)LZMA_STREAM_INIT;
    return lzma_auto_decoder(&s->state.xz, UNPACKED_MAX, 0) == LZMA_OK;
}

static enum step xz_step(struct stream *s) {
    lzma_stream *xz = &s->state.xz;
    xz->next_in = s->in;
    xz->avail_in = s->in_left;
    xz->next_out = s->out;
    xz->avail_out = s->out_left;
    lzma_ret got = lzma_code(xz, LZMA_RUN);
    advance(s, s->in_left - xz->avail_in, s->out_left - xz->avail_out);
    return got == LZMA_STREAM_END ? STEP_END : got == LZMA_OK ? STEP_MORE : STEP_BAD;
}

static void xz_stop(struct stream *s) { lzma_end(&s->state.xz); }

static bool bzip2_start(struct stream *s) {
    return BZ2_bzDecompressInit(&s->state.bz, 0, 0) == BZ_OK;
}

static enum step bzip2_step(struct stream *s) {
    bz_stream *bz = &s->state.bz;
    unsigned in = clamp_unsigned(s->in_left), out = clamp_unsigned(s->out_left);
    bz->next_in = (char *)s->in;
    bz->avail_in = in;
    bz->next_out = (char *)s->out;
    bz->avail_out = out;
    int got = BZ2_bzDecompress(bz);
    advance(s, in - bz->avail_in, out - bz->avail_out);
    return got == BZ_STREAM_END ? STEP_END : got == BZ_OK ? STEP_MORE : STEP_BAD;
}

static void bzip2_stop(struct stream *s) { BZ2_bzDecompressEnd(&s->state.bz); }

static bool zstd_start(struct stream *s) {
    s->state.zstd = ZSTD_createDStream();
    return s->state.zstd && !ZSTD_isError(ZSTD_initDStream(s->state.zstd));
}

static enum step zstd_step(struct stream *s) {
    ZSTD_inBuffer in = {.src = s->in, .size = s->in_left};
    ZSTD_outBuffer out = {.dst = s->out, .size = s->out_left};
    size_t got = ZSTD_decompressStream(s->state.zstd, &out, &in);
    advance(s, in.pos, out.pos);
    return ZSTD_isError(got) ? STEP_BAD : got ? STEP_MORE : STEP_END;
}

static void zstd_stop(struct stream *s) { ZSTD_freeDStream(s->state.zstd); }

static const struct format formats[] = {
    {"gzip", {0x1f, 0x8b, 8}, 3, gzip_start, gzip_step, gzip_stop},
    {"xz", {0xfd, '7', 'z', 'X', 'Z', 0}, 6, xz_start, xz_step, xz_stop},
    {"lzma", {0x5d, 0, 0}, 3, xz_start, xz_step, xz_stop},
    {"bzip2", {'B', 'Z', 'h'}, 3, bzip2_start, bzip2_step, bzip2_stop},
    {"zstd", {0x28, 0xb5, 0x2f, 0xfd}, 4, zstd_start, zstd_step, zstd_stop},
};

/* More room behind what is there. False: the limit is reached, or no memory. */
static bool grow(struct unpacked *to, size_t *room, size_t more, size_t limit) {
    if (*room - to->size >= more)
        return true;
    size_t wanted = *room + (*room / 2 > more ? *room / 2 : more);
    wanted = wanted > limit ? limit : wanted;
    if (wanted - to->size < more)
        return false;
    uint8_t *bytes = realloc(to->bytes, wanted);
    if (!bytes)
        return false;
    to->bytes = bytes;
    *room = wanted;
    return true;
}

/* What is wrong with the stream; NULL: it is unpacked. */
static const char *run_stream(const struct format *format, const uint8_t *from, size_t size,
                              size_t limit, struct unpacked *to) {
    struct stream stream = {.in = from, .in_left = size};
    size_t room = 0;
    const char *wrong = format->start(&stream) ? NULL : "its library does not start";
    for (enum step step = STEP_MORE; !wrong && step != STEP_END;) {
        if (!grow(to, &room, CHUNK, limit)) {
            wrong = "it unpacks to more than memory or the limit";
            break;
        }
        size_t in_before = stream.in_left;
        stream.out = to->bytes + to->size;
        stream.out_left = room - to->size;
        step = format->step(&stream);
        assert(stream.out_left <= room - to->size && stream.in_left <= size);
        size_t made = room - to->size - stream.out_left;
        to->size += made;
        if (step == STEP_BAD)
            wrong = "damaged";
        else if (step == STEP_MORE && !made && in_before == stream.in_left)
            wrong = "cut off";
    }
    format->stop(&stream);
    return wrong;
}

/* The legacy frame: a magic number, then blocks with their packed length in front. The kernel
 * appends the unpacked size, which is no block. */
static const char *run_lz4(const uint8_t *from, size_t size, size_t limit, struct unpacked *to) {
    size_t room = 0;
    for (size_t at = 4; size - at > 4;) {
        uint32_t packed;
        memcpy(&packed, from + at, sizeof packed);
        at += sizeof packed;
        if (!packed || packed > size - at || packed > LZ4_COMPRESSBOUND(LZ4_BLOCK))
            return "cut off";
        if (!grow(to, &room, LZ4_BLOCK, limit))
            return "it unpacks to more than memory or the limit";
        int got = LZ4_decompress_safe((const char *)from + at, (char *)to->bytes + to->size,
                                      (int)packed, (int)LZ4_BLOCK);
        if (got < 0)
            return "damaged";
        to->size += (size_t)got;
        at += packed;
    }
    return to->size ? NULL : "cut off";
}

int unpack(const char *name, const uint8_t *from, size_t size, size_t limit, struct unpacked *to,
           struct error *error) {
    static const uint8_t lz4_magic[4] = {0x02, 0x21, 0x4c, 0x18};
    const char *wrong = NULL, *format = NULL;
    *to = (struct unpacked){0};
    if (size >= 4 && !memcmp(from, lz4_magic, 4)) {
        format = "lz4";
        wrong = run_lz4(from, size, limit, to);
    }
    for (unsigned i = 0; !format && i < sizeof formats / sizeof *formats; i++)
        if (size >= formats[i].magic_len && !memcmp(from, formats[i].magic, formats[i].magic_len)) {
            format = formats[i].name;
            wrong = run_stream(&formats[i], from, size, limit, to);
        }
    if (!format)
        return error_set(error,
                         "%s: the kernel in it is not packed by gzip, xz, lzma, bzip2, zstd or lz4",
                         name);
    if (!wrong)
        return 0;
    free(to->bytes);
    *to = (struct unpacked){0};
    return error_set(error, "%s: the kernel in it, packed by %s: %s", name, format, wrong);
}
