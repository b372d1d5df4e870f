/* SPDX-License-Identifier: MIT
 * How the kernels for few lanes read a row: kinds of numbers, their words, and what turns both
 * into reals. A word holds 32 bits (f64: 64) of a row: one number, or parts of it, in the order
 * of the columns. A part of body/few.h. */
#ifndef ATTN__BODY_FEW_KIND_H
#define ATTN__BODY_FEW_KIND_H

#include "vec/few.h"

#if REAL_BITS == 32
enum { V_COLUMNS = S_COLUMNS };
#else
enum { V_COLUMNS = D_COLUMNS };
#endif

enum {
    FEW_MANY = V_TILE_V * V_TILE_R >= 24, /* 32 registers: turned words wait in some of them */
    FEW_SUMS = FEW_MANY ? 16 : 12,        /* kept in registers */
    FEW_MOST = V_LANES < 8 ? V_LANES : 8, /* queries at a time: so many, or FEW_SOME, or one */
    FEW_SOME = V_LANES < 4 ? V_LANES : 4,
    FEW_HEAVY = FEW_MANY ? FEW_MOST : FEW_SOME, /* the most of a weighted sum */
    FEW_WIDE = 4,                               /* vectors of keys at a time, at most */
    FEW_STRIP = FEW_MANY ? 4 : 6,               /* of columns */
    FEW_WORD = REAL_BITS / 8
};

/* How a number is coded: not at all, by the scale of its row, by that of its column. */
typedef enum K(few_code) { K(FEW_PLAIN), K(FEW_ROW), K(FEW_COLUMN) } K(few_code);

/* Part i of each word, as reals before they are decoded. Kinds are known where a kernel is
 * made, so nothing is asked when it runs. */
static inline __attribute__((always_inline)) v_vec K(few_part)(const attn__row_kind kind,
                                                               v_vec words, const int i)
{
#if REAL_BITS == 32
    if (kind == ATTN__ROW_BF16) return s_word_bf16(words, i);
    if (kind == ATTN__ROW_F16) return s_word_f16(words, i);
    if (kind == ATTN__ROW_I8) return s_word_int(words, 8 * i, 8);
    if (kind == ATTN__ROW_I4) return s_word_int(words, 4 * i, 4);
#endif
    (void)kind, (void)i;
    return words;
}

/* Elements e .. e + V_LANES of a row. */
static inline __attribute__((always_inline)) v_vec K(few_load)(const attn__row_kind kind,
                                                               const char *row, int64_t e)
{
#if REAL_BITS == 32
    if (kind == ATTN__ROW_BF16) return s_load_bf16((const uint16_t *)(const void *)row + e);
    if (kind == ATTN__ROW_F16) return s_load_f16((const uint16_t *)(const void *)row + e);
    if (kind == ATTN__ROW_I8) return s_load_i8((const int8_t *)row, e);
    if (kind == ATTN__ROW_I4) return s_load_i4((const uint8_t *)row, e);
#endif
    (void)kind;
    return v_words(row + e * FEW_WORD);
}

static inline __attribute__((always_inline)) int K(few_bits)(const attn__row_kind kind)
{
    return attn__row_form_of(kind).bits;
}

/* Bytes of a row from element e on, of which the row has the first elements - e: the rest is
 * 0. */
static inline void K(few_tail)(const char *row, int64_t e, int64_t elements, int bits,
                               char *bytes, size_t size)
{
    const size_t have = (size_t)(((elements - e) * bits + 7) / 8);
    memset(bytes, 0, size);
    memcpy(bytes, row + e * bits / 8, have < size ? have : size);
}

static inline __attribute__((always_inline)) v_vec
K(few_decode)(v_vec x, v_vec scale, v_vec zero, const K(few_code) code)
{
    return code == K(FEW_PLAIN) ? x : v_fma(x, scale, zero);
}

/* Memory to ask for: rows as they lie, a piece at a time and in this order, whatever is read of
 * the rows at hand, because that is what the machine's own prefetching follows. Rows that lie
 * evenly are not looked up: an address that waits for memory comes too late. */
typedef struct K(few_asks) {
    const char *row;
    int64_t at, bytes, step; /* in the row; of a row; to the next row */
    int64_t piece;           /* bytes; 0: nothing to ask for */
    const void *const *list; /* the rows behind it, when they lie unevenly */
    const void *const *near; /* far: rows that are read next, at byte near_at of each */
    int64_t near_at;
} K(few_asks);

/* n rows from ahead on, NULL: none; here: memory that is at hand. Rows without a gap are one. */
static inline K(few_asks) K(few_asks_of)(const void *const *ahead, const void *here, int64_t n,
                                         int64_t bytes, int64_t piece)
{
    K(few_asks) asks = {.row = here, .bytes = 1};
    if (!ahead || n <= 0) return asks;
    asks.row = ahead[0];
    asks.piece = piece;
    asks.step = n > 1 ? (const char *)ahead[1] - asks.row : bytes;
    asks.bytes = asks.step == bytes ? n * bytes : (bytes + piece - 1) / piece * piece;
    if ((const char *)ahead[n - 1] - asks.row != (n - 1) * asks.step) {
        asks.bytes = (bytes + piece - 1) / piece * piece;
        asks.list = ahead + 1;
    }
    return asks;
}

/* The next piece; no more of them than rows have. */
static inline __attribute__((always_inline)) const char *K(few_asks_next)(K(few_asks) * asks)
{
    if (asks->at >= asks->bytes) {
        asks->at = 0;
        asks->row = asks->list ? (const char *)*asks->list++ : asks->row + asks->step;
    }
    const char *place = asks->row + asks->at;
    asks->at += asks->piece;
    return place;
}

#endif
