/* SPDX-License-Identifier: MIT
 * Inflate (RFC 1951), strict: the output size is known beforehand and never exceeded, codes
 * must be exactly full, a distance must lie inside the output, and the stream must end where
 * the input ends. Codes of up to 10 bits are one table look-up; longer ones are found by
 * counting. */
#include "io/io.h"

#include <string.h>

enum { MAX_BITS = 15, FAST_BITS = 10, N_LITERALS = 288, N_DISTANCES = 30, LAST_LITERAL = 285 };

typedef struct inflate_stream {
    const uint8_t *in, *end;
    uint8_t *out;
    size_t n, size; /* written, announced */
    uint64_t bits;  /* read ahead, lowest first */
    unsigned n_bits;
    attn_error *error;
} inflate_stream;

typedef struct inflate_code {
    uint16_t fast[1 << FAST_BITS]; /* symbol << 4 | length; 0: longer, or none */
    uint16_t count[MAX_BITS + 1];  /* codes of each length */
    uint16_t symbol[N_LITERALS];   /* in the order of their codes */
} inflate_code;

static attn_status inflate_bad(const inflate_stream *s, const char *what)
{
    return attn__fail(s->error, ATTN_E_FORMAT, "deflate", what);
}

/* ---- bits -------------------------------------------------------------------------------- */

static void inflate_refill(inflate_stream *s)
{
    for (; s->n_bits <= 56 && s->in < s->end; s->n_bits += 8)
        s->bits |= (uint64_t)*s->in++ << s->n_bits;
}

static attn_status inflate_drop(inflate_stream *s, unsigned n)
{
    if (n > s->n_bits)
        return attn__fail(s->error, ATTN_E_TRUNC, "deflate", "the data ends too early");
    s->bits >>= n;
    s->n_bits -= n;
    return ATTN_OK;
}

/* n <= 16. */
static attn_status inflate_take(inflate_stream *s, unsigned n, unsigned *value)
{
    inflate_refill(s);
    *value = (unsigned)(s->bits & ((1u << n) - 1));
    return inflate_drop(s, n);
}

/* ---- codes ------------------------------------------------------------------------------- */

static unsigned inflate_reverse(unsigned code, unsigned length)
{
    unsigned reversed = 0;
    for (; length; length--, code >>= 1) reversed = reversed << 1 | (code & 1);
    return reversed;
}

static void inflate_fill(inflate_code *c, const uint8_t *length, unsigned n)
{
    unsigned next[MAX_BITS + 2] = {0}, place[MAX_BITS + 2] = {0};
    for (unsigned b = 1; b <= MAX_BITS; b++) {
        next[b + 1] = (next[b] + c->count[b]) << 1;
        place[b + 1] = place[b] + c->count[b];
    }
    memset(c->fast, 0, sizeof c->fast);
    for (unsigned i = 0; i < n; i++) {
        unsigned b = length[i];
        if (b == 0) continue;
        c->symbol[place[b]++] = (uint16_t)i;
        unsigned code = inflate_reverse(next[b]++, b);
        for (unsigned f = code; b <= FAST_BITS && f < 1u << FAST_BITS; f += 1u << b)
            c->fast[f] = (uint16_t)(i << 4 | b);
    }
}

/* Makes a code from the lengths of its n symbols. Every bit pattern must mean something; only a
 * code of one symbol of length 1, or when lone says so of none, may be incomplete. */
static attn_status inflate_build(const inflate_stream *s, inflate_code *c,
                                 const uint8_t *length, unsigned n, bool lone)
{
    int left = 1;
    unsigned used = 0;
    memset(c->count, 0, sizeof c->count);
    for (unsigned i = 0; i < n; i++) c->count[length[i]]++;
    c->count[0] = 0;
    for (unsigned b = 1; b <= MAX_BITS; b++) {
        left = 2 * left - (int)c->count[b];
        used += c->count[b];
        if (left < 0) return inflate_bad(s, "a code has too many symbols");
    }
    if (left > 0 && !(lone && (used == 0 || (used == 1 && c->count[1] == 1))))
        return inflate_bad(s, "a code is incomplete");
    inflate_fill(c, length, n);
    return ATTN_OK;
}

static attn_status inflate_symbol_slow(inflate_stream *s, const inflate_code *c,
                                       unsigned *symbol)
{
    int code = 0, first = 0, place = 0;
    for (unsigned b = 1; b <= MAX_BITS; b++) {
        code |= (int)(s->bits >> (b - 1) & 1);
        if (code - first < c->count[b]) {
            *symbol = c->symbol[place + code - first];
            return inflate_drop(s, b);
        }
        place += c->count[b];
        first = (first + c->count[b]) << 1;
        code <<= 1;
    }
    return s->n_bits < MAX_BITS ? inflate_drop(s, MAX_BITS)
                                : inflate_bad(s, "a code word means nothing");
}

static inline attn_status inflate_symbol(inflate_stream *s, const inflate_code *c,
                                         unsigned *symbol)
{
    inflate_refill(s);
    unsigned hit = c->fast[s->bits & ((1u << FAST_BITS) - 1)];
    if (!hit) return inflate_symbol_slow(s, c, symbol);
    *symbol = hit >> 4;
    return inflate_drop(s, hit & 15);
}

/* ---- blocks ------------------------------------------------------------------------------ */

static attn_status inflate_copy(inflate_stream *s, unsigned symbol,
                                const inflate_code *distances)
{
    static const uint16_t length_base[29] = {3,  4,  5,  6,   7,   8,   9,   10,  11, 13,
                                             15, 17, 19, 23,  27,  31,  35,  43,  51, 59,
                                             67, 83, 99, 115, 131, 163, 195, 227, 258};
    static const uint8_t length_bits[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                            2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
    unsigned extra, d;
    ATTN_TRY(inflate_take(s, length_bits[symbol - 257], &extra));
    size_t length = length_base[symbol - 257] + extra;
    ATTN_TRY(inflate_symbol(s, distances, &d));
    if (d >= N_DISTANCES) return inflate_bad(s, "a distance symbol means nothing");
    /* From symbol 4 on, two symbols share a number of extra bits, and those double the base. */
    unsigned bits = d < 4 ? 0 : d / 2 - 1;
    ATTN_TRY(inflate_take(s, bits, &extra));
    size_t distance = (d < 4 ? d : (2 + d % 2) << bits) + extra + 1;
    if (distance > s->n) return inflate_bad(s, "a distance reaches before the start");
    if (length > s->size - s->n) return inflate_bad(s, "the data is longer than announced");
    for (; length; length--, s->n++) s->out[s->n] = s->out[s->n - distance];
    return ATTN_OK;
}

static attn_status inflate_codes(inflate_stream *s, const inflate_code *literals,
                                 const inflate_code *distances)
{
    for (unsigned symbol;;) {
        ATTN_TRY(inflate_symbol(s, literals, &symbol));
        if (symbol == 256) return ATTN_OK;
        if (symbol > LAST_LITERAL) return inflate_bad(s, "a length symbol means nothing");
        if (symbol > 256) {
            ATTN_TRY(inflate_copy(s, symbol, distances));
            continue;
        }
        if (s->n == s->size) return inflate_bad(s, "the data is longer than announced");
        s->out[s->n++] = (uint8_t)symbol;
    }
}

static attn_status inflate_stored(inflate_stream *s)
{
    unsigned length, check, pad = s->n_bits % 8;
    ATTN_TRY(inflate_drop(s, pad));
    ATTN_TRY(inflate_take(s, 16, &length));
    ATTN_TRY(inflate_take(s, 16, &check));
    if ((length ^ check) != 0xFFFF) return inflate_bad(s, "a stored length is damaged");
    /* Whole bytes that were read ahead go back. */
    s->in -= s->n_bits / 8;
    s->bits = s->n_bits = 0;
    if (length > (size_t)(s->end - s->in))
        return attn__fail(s->error, ATTN_E_TRUNC, "deflate", "the data ends too early");
    if (length > s->size - s->n) return inflate_bad(s, "the data is longer than announced");
    if (length) memcpy(s->out + s->n, s->in, length);
    s->in += length;
    s->n += length;
    return ATTN_OK;
}

static attn_status inflate_fixed(inflate_stream *s)
{
    uint8_t length[N_LITERALS];
    inflate_code literals, distances;
    memset(length, 8, 144);
    memset(length + 144, 9, 112);
    memset(length + 256, 7, 24);
    memset(length + 280, 8, 8);
    ATTN_TRY(inflate_build(s, &literals, length, N_LITERALS, false));
    memset(length, 5, 32);
    ATTN_TRY(inflate_build(s, &distances, length, 32, false));
    return inflate_codes(s, &literals, &distances);
}

/* The lengths of n symbols, themselves packed: 16 repeats the last one, 17 and 18 are zeros. */
static attn_status inflate_lengths(inflate_stream *s, const inflate_code *code, uint8_t *length,
                                   unsigned n)
{
    static const uint8_t bits[3] = {2, 3, 7}, base[3] = {3, 3, 11};
    for (unsigned i = 0, symbol, extra; i < n;) {
        ATTN_TRY(inflate_symbol(s, code, &symbol));
        if (symbol < 16) {
            length[i++] = (uint8_t)symbol;
            continue;
        }
        ATTN_TRY(inflate_take(s, bits[symbol - 16], &extra));
        unsigned run = base[symbol - 16] + extra;
        if (symbol == 16 && i == 0) return inflate_bad(s, "nothing to repeat");
        if (run > n - i) return inflate_bad(s, "too many code lengths");
        memset(length + i, symbol == 16 ? length[i - 1] : 0, run);
        i += run;
    }
    return ATTN_OK;
}

static attn_status inflate_dynamic(inflate_stream *s)
{
    static const uint8_t order[19] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                      11, 4,  12, 3, 13, 2, 14, 1, 15};
    uint8_t length[N_LITERALS + 32] = {0};
    inflate_code literals, distances;
    unsigned n_literals, n_distances, n_lengths, value;
    ATTN_TRY(inflate_take(s, 5, &n_literals));
    ATTN_TRY(inflate_take(s, 5, &n_distances));
    ATTN_TRY(inflate_take(s, 4, &n_lengths));
    n_literals += 257;
    n_distances += 1;
    if (n_literals > LAST_LITERAL + 1 || n_distances > N_DISTANCES)
        return inflate_bad(s, "too many symbols");
    for (unsigned i = 0; i < n_lengths + 4; i++) {
        ATTN_TRY(inflate_take(s, 3, &value));
        length[order[i]] = (uint8_t)value;
    }
    ATTN_TRY(inflate_build(s, &literals, length, 19, false));
    ATTN_TRY(inflate_lengths(s, &literals, length, n_literals + n_distances));
    if (length[256] == 0) return inflate_bad(s, "a block has no end");
    ATTN_TRY(inflate_build(s, &distances, length + n_literals, n_distances, true));
    ATTN_TRY(inflate_build(s, &literals, length, n_literals, true));
    return inflate_codes(s, &literals, &distances);
}

static attn_status inflate_reserved(inflate_stream *s)
{
    return inflate_bad(s, "a block is of no known kind");
}

attn_status attn__inflate(const uint8_t *in, size_t n, uint8_t *out, size_t out_size,
                          attn_error *error)
{
    static attn_status (*const kinds[4])(inflate_stream *) = {
        inflate_stored, inflate_fixed, inflate_dynamic, inflate_reserved};
    inflate_stream s = {.in = in, .end = in + n, .out = out, .size = out_size, .error = error};
    unsigned last, kind;
    do {
        ATTN_TRY(inflate_take(&s, 1, &last));
        ATTN_TRY(inflate_take(&s, 2, &kind));
        ATTN_TRY(kinds[kind](&s));
    } while (!last);
    if (s.n != out_size)
        return attn__fail_count(error, ATTN_E_TRUNC, "deflate",
                                "the data is shorter than announced", (int64_t)out_size,
                                (int64_t)s.n);
    if (s.in - s.n_bits / 8 != s.end)
        return attn__fail(error, ATTN_E_TRAIL, "deflate", "bytes are left after the end");
    return ATTN_OK;
}
