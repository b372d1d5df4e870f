/* SPDX-License-Identifier: MIT
 * The two products of attention for few queries, as in decoding: the chains of body/matmul.h,
 * but keys, or columns of values, lie in the lanes of vectors, and the queries take turns.
 *
 *   few_scores  V_LANES rows of K, a word of each at a time, are turned in registers, so that
 *               lane j holds the next numbers of key j; one chain over d for each query
 *   few_weigh   row j of V times p[j][l] joins the sums of each query l
 *
 * A number is read from memory once for all queries. Rows may lie anywhere and hold any kind of
 * number; it is widened on the way. A word holds 32 bits (f64: 64) of a row: one number, or
 * parts of it, in the order of d. */
#ifndef ATTN__BODY_FEW_H
#define ATTN__BODY_FEW_H

enum {
    FEW_MOST = V_LANES < 8 ? V_LANES : 8, /* queries at a time: so many, or FEW_SOME, or one */
    FEW_SOME = V_LANES < 4 ? V_LANES : 4,
    FEW_SUMS = V_TILE_V * V_TILE_R >= 24 ? 16 : 8,
    FEW_WORD = REAL_BITS / 8,
    FEW_LINE = 64,
    FEW_NEAR = 2 /* ask for the second level: a tile of keys fills the first */
};

/* What turns a kind of number into reals: part i of each word, V_LANES numbers of a row. */
typedef struct K(few_kind) {
    int bits; /* of a number */
    v_vec (*part)(v_vec words, int i);
    v_vec (*load)(const char *row, int64_t e);
} K(few_kind);

/* How a number is coded: not at all, by the scale of its row, by that of its column. */
typedef enum K(few_code) { K(FEW_PLAIN), K(FEW_ROW), K(FEW_COLUMN) } K(few_code);

static inline v_vec K(few_part_whole)(v_vec words, int i)
{
    (void)i;
    return words;
}
static inline v_vec K(few_load_whole)(const char *row, int64_t e)
{
    return v_words(row + e * FEW_WORD);
}
#define FEW_WHOLE REAL_BITS, K(few_part_whole), K(few_load_whole)

#if REAL_BITS == 32
static inline v_vec K(few_load_bf16)(const char *row, int64_t e)
{
    return s_load_bf16((const uint16_t *)(const void *)row + e);
}
static inline v_vec K(few_load_f16)(const char *row, int64_t e)
{
    return s_load_f16((const uint16_t *)(const void *)row + e);
}
static inline v_vec K(few_part_i8)(v_vec words, int i)
{
    return s_word_int(words, 8 * i, 8);
}
static inline v_vec K(few_load_i8)(const char *row, int64_t e)
{
    return s_load_i8((const int8_t *)row, e);
}
static inline v_vec K(few_part_i4)(v_vec words, int i)
{
    return s_word_int(words, 4 * i, 4);
}
static inline v_vec K(few_load_i4)(const char *row, int64_t e)
{
    return s_load_i4((const uint8_t *)row, e);
}
#endif

/* Bytes of a row from element e on, of which the row has the first elements - e: the rest is
 * 0. */
static inline void K(few_tail)(const char *row, int64_t e, int64_t elements, int bits,
                               char *bytes, size_t size)
{
    const size_t have = (size_t)(((elements - e) * bits + 7) / 8);
    memset(bytes, 0, size);
    memcpy(bytes, row + e * bits / 8, have < size ? have : size);
}

/* ---- scores ------------------------------------------------------------------------------ */

/* Keys in lanes: their rows, what to ask for, and their scales and zeros. */
typedef struct K(few_keys) {
    const char *row[V_LANES], *ahead[V_LANES];
    v_vec scale, zero;
} K(few_keys);

/* The keys from j on; the last of n stands in for those behind it. */
static void K(few_keys_at)(const attn__rows *k, int64_t j, int64_t n, K(few_keys) * keys)
{
    real scale[V_LANES] = {0}, zero[V_LANES] = {0};
    for (int i = 0; i < V_LANES; i++) {
        const int64_t key = j + i < n ? j + i : n - 1;
        keys->row[i] = k->row[key];
        keys->ahead[i] = k->ahead ? k->ahead[key] : k->row[key];
        if (k->scale) scale[i] = (real)k->scale[key];
        if (k->scale && k->zero) zero[i] = (real)k->zero[key];
    }
    keys->scale = v_load(scale);
    keys->zero = v_load(zero);
}

static inline __attribute__((always_inline)) void K(few_turn_square)(v_vec *x, real *words)
{
    v_transpose(x);
#pragma GCC unroll 16
    for (int i = 0; i < V_LANES; i++) v_store(words + i * V_LANES, x[i]);
}

/* The square of words at byte `at` of the rows: word i of all keys at i * V_LANES. */
static __attribute__((noinline)) void K(few_turn)(const K(few_keys) * keys, int groups,
                                                  int64_t at, real *words)
{
    for (; groups > 0; groups--, keys++, words += V_LANES * V_LANES) {
        v_vec x[V_LANES];
#pragma GCC unroll 16
        for (int i = 0; i < V_LANES; i++) x[i] = v_words(keys->row[i] + at);
        K(few_turn_square)(x, words);
    }
}

/* The words of the last columns, which fill no square. */
static __attribute__((noinline)) void K(few_turn_last)(const K(few_keys) * keys, int groups,
                                                       int64_t d, int64_t depth, int bits,
                                                       real *words)
{
    char bytes[V_LANES * FEW_WORD];
    for (; groups > 0; groups--, keys++, words += V_LANES * V_LANES) {
        v_vec x[V_LANES];
        for (int i = 0; i < V_LANES; i++) {
            K(few_tail)(keys->row[i], d, depth, bits, bytes, sizeof bytes);
            v_store(words + i * V_LANES, v_words(bytes));
        }
#pragma GCC unroll 16
        for (int i = 0; i < V_LANES; i++) x[i] = v_load(words + i * V_LANES);
        K(few_turn_square)(x, words);
    }
}

static inline __attribute__((always_inline)) v_vec
K(few_decode)(v_vec x, v_vec scale, v_vec zero, const K(few_code) code)
{
    return code == K(FEW_PLAIN) ? x : v_fma(x, scale, zero);
}

/* Number d of all keys, part of the words, joins the chains. */
static inline __attribute__((always_inline)) void
K(few_chain)(const K(few_kind) kind, const K(few_code) code, const int lanes, const int groups,
             const real *words, const int part, const K(few_keys) * keys, const attn__rows *k,
             int64_t d, const real *q, v_vec *acc)
{
    v_vec x[4], one, none = v_set(0);
    if (code == K(FEW_COLUMN)) {
        one = v_set((real)k->columns[d]);
        none = v_set(k->offsets ? (real)k->offsets[d] : 0);
    }
#pragma GCC unroll 4
    for (int g = 0; g < groups; g++) {
        x[g] = kind.part(v_load(words + g * V_LANES * V_LANES), part);
        if (code == K(FEW_ROW)) x[g] = v_fma(x[g], keys[g].scale, keys[g].zero);
        if (code == K(FEW_COLUMN)) x[g] = v_fma(x[g], one, none);
    }
#pragma GCC unroll 8
    for (int l = 0; l < lanes; l++) {
        const v_vec b = v_set(q[l]);
#pragma GCC unroll 4
        for (int g = 0; g < groups; g++)
            acc[l * groups + g] = v_fma(b, x[g], acc[l * groups + g]);
    }
}

/* Lanes l .. l + lanes of n keys: numbers of a key side by side again. */
static __attribute__((noinline)) void K(few_store)(int lanes, int64_t n, const real *acc,
                                                   int64_t step, int w, int l, real *s)
{
    v_vec x[V_LANES];
#pragma GCC unroll 16
    for (int i = 0; i < V_LANES; i++) x[i] = i < lanes ? v_load(acc + i * step) : v_set(0);
    v_transpose(x);
#pragma GCC unroll 16
    for (int i = 0; i < V_LANES; i++) {
        if (i >= n) break;
        v_store_n(s + i * w + l, x[i], w - l);
    }
}

/* groups times V_LANES keys from j on against lanes queries from l on. */
static inline __attribute__((always_inline)) void
K(few_scores_tile)(const K(few_kind) kind, const K(few_code) code, const int lanes,
                   const int groups, int64_t n, int64_t j, int w, int l, int64_t depth,
                   const attn__rows *k, const real *q, real *s)
{
    const int parts = REAL_BITS / kind.bits;
    const int64_t step = V_LANES * parts, bytes = (depth * kind.bits + 7) / 8;
    int64_t row = l > 0 ? V_LANES : 0, line = 0; /* to ask for next */
    K(few_keys) keys[4];
    v_vec acc[FEW_SUMS];
    real room[4 * V_LANES * V_LANES];
#pragma GCC unroll 1
    for (int g = 0; g < groups; g++) K(few_keys_at)(k, j + g * V_LANES, n, &keys[g]);
#pragma GCC unroll 16
    for (int a = 0; a < lanes * groups; a++) acc[a] = v_set(0);
    q += l;
#pragma GCC unroll 1
    for (int64_t d = 0; d < depth;) {
        if (d + step <= depth)
            K(few_turn)(keys, groups, d * kind.bits / 8, room);
        else
            K(few_turn_last)(keys, groups, d, depth, kind.bits, room);
        const int64_t left = depth - d,
                      words = left < step ? (left + parts - 1) / parts : V_LANES;
#pragma GCC unroll 1
        for (int64_t i = 0; i < words; i++, d += parts, q += parts * w) {
#pragma GCC unroll 4
            for (int g = 0; g < groups && row < V_LANES; g++)
                __builtin_prefetch(keys[g].ahead[row] + line, 0, FEW_NEAR);
            line += FEW_LINE;
            if (line >= bytes) line = 0, row++;
#pragma GCC unroll 8
            for (int part = 0; part < parts; part++)
                if (parts == 1 || d + part < depth) K(few_chain)
            (kind, code, lanes, groups, room + i * V_LANES, part, keys, k, d + part,
             q + part * w, acc);
        }
    }
#pragma GCC unroll 16
    for (int a = 0; a < lanes * groups; a++) v_store(room + a * V_LANES, acc[a]);
    for (int64_t g = 0; g < groups && j + g * V_LANES < n; g++) K(few_store)
    (lanes, n - j - g * V_LANES, room + g * V_LANES, groups * V_LANES, w, l,
     s + (j + g * V_LANES) * w);
}

static inline __attribute__((always_inline)) int64_t
K(few_scores_lanes)(const K(few_kind) kind, const K(few_code) code, const int lanes, int64_t n,
                    int64_t j, int w, int l, int64_t depth, const attn__rows *k, const real *q,
                    real *s)
{
    const int groups = FEW_SUMS / lanes < 4 ? FEW_SUMS / lanes : 4;
    if (groups > 1 && j + groups * V_LANES <= n) {
        K(few_scores_tile)(kind, code, lanes, groups, n, j, w, l, depth, k, q, s);
        return groups * V_LANES;
    }
    K(few_scores_tile)(kind, code, lanes, 1, n, j, w, l, depth, k, q, s);
    return V_LANES;
}

static inline __attribute__((always_inline)) void
K(few_scores_all)(const K(few_kind) kind, const K(few_code) code, int64_t n, int lanes, int w,
                  int64_t depth, const attn__rows *k, const real *q, real *s)
{
    for (int l = 0; l < lanes; l += FEW_MOST)
        for (int64_t j = 0; j < n;) {
            if (lanes - l > FEW_SOME)
                j += K(few_scores_lanes)(kind, code, FEW_MOST, n, j, w, l, depth, k, q, s);
            else if (lanes - l > 1)
                j += K(few_scores_lanes)(kind, code, FEW_SOME, n, j, w, l, depth, k, q, s);
            else
                j += K(few_scores_lanes)(kind, code, 1, n, j, w, l, depth, k, q, s);
        }
}

/* ---- weighted sums ----------------------------------------------------------------------- */

static inline __attribute__((always_inline)) v_vec
K(few_columns)(const K(few_kind) kind, const K(few_code) code, const attn__rows *v,
               const char *row, int64_t j, int64_t e, int64_t width, const bool cut)
{
    v_vec scale = v_set(0), zero = v_set(0);
    char bytes[V_LANES * FEW_WORD];
    if (cut) K(few_tail)(row, e, width, kind.bits, bytes, sizeof bytes);
    const v_vec x = cut ? kind.load(bytes, 0) : kind.load(row, e);
    if (code == K(FEW_ROW)) {
        scale = v_set((real)v->scale[j]);
        if (v->zero) zero = v_set((real)v->zero[j]);
    }
#if REAL_BITS == 32
    if (code == K(FEW_COLUMN)) {
        scale = cut ? v_load_n(v->columns + e, width - e) : v_load(v->columns + e);
        if (v->offsets)
            zero = cut ? v_load_n(v->offsets + e, width - e) : v_load(v->offsets + e);
    }
#endif
    return K(few_decode)(x, scale, zero, code);
}

/* nv vectors of columns from e on for lanes queries from l on. */
static inline __attribute__((always_inline)) void
K(few_weigh_tile)(const K(few_kind) kind, const K(few_code) code, const int lanes, const int nv,
                  const bool masked, const bool cut, int64_t n, int w, const real *p,
                  const attn__rows *v, int64_t e, int64_t width, bool fresh, real *acc,
                  int64_t ld)
{
    const int64_t bytes = nv * V_LANES * (int64_t)kind.bits / 8, from = e * kind.bits / 8;
    const void *const *ahead = v->ahead ? v->ahead : v->row;
    v_vec sum[FEW_SUMS];
#pragma GCC unroll 16
    for (int a = 0; a < lanes * nv; a++) sum[a] = v_set(0);
    for (int64_t j = 0; j < n; j++, p += w) {
        const char *row = v->row[j];
        v_vec weight[FEW_MOST];
        if (FEW_WORD * V_LANES >= FEW_LINE || from % FEW_LINE == 0)
#pragma GCC unroll 8
            for (int64_t x = 0; x < bytes; x += FEW_LINE)
                __builtin_prefetch((const char *)ahead[j] + from + x, 0, FEW_NEAR);
#pragma GCC unroll 8
        for (int l = 0; l < lanes; l++) weight[l] = v_set(p[l]);
#pragma GCC unroll 4
        for (int x = 0; x < nv; x++) {
            const v_vec y = K(few_columns)(kind, code, v, row, j, e + x * V_LANES, width, cut);
#pragma GCC unroll 8
            for (int l = 0; l < lanes; l++) {
                v_vec *to = &sum[l * nv + x];
                *to = masked ? v_fma_unmarked(weight[l], y, *to) : v_fma(weight[l], y, *to);
            }
        }
    }
#pragma GCC unroll 8
    for (int l = 0; l < lanes; l++)
#pragma GCC unroll 4
        for (int x = 0; x < nv; x++) {
            real *at = acc + l * ld + e + x * V_LANES;
            v_store(at, v_add(fresh ? v_set(0) : v_load(at), sum[l * nv + x]));
        }
}

static inline __attribute__((always_inline)) void
K(few_weigh_lanes)(const K(few_kind) kind, const K(few_code) code, const int lanes,
                   const bool masked, int64_t n, int w, int64_t width, const real *p,
                   const attn__rows *v, bool fresh, real *acc, int64_t ld)
{
    enum { WIDE = FEW_SUMS / 4 };
    const int nv = FEW_SUMS / lanes < WIDE ? FEW_SUMS / lanes : WIDE;
    int64_t e = 0;
    for (; e + nv * V_LANES <= width; e += nv * V_LANES) K(few_weigh_tile)
    (kind, code, lanes, nv, masked, false, n, w, p, v, e, width, fresh, acc, ld);
    for (; e + V_LANES <= width; e += V_LANES) K(few_weigh_tile)
    (kind, code, lanes, 1, masked, false, n, w, p, v, e, width, fresh, acc, ld);
    if (e < width) K(few_weigh_tile)
    (kind, code, lanes, 1, masked, true, n, w, p, v, e, width, fresh, acc, ld);
}

static inline __attribute__((always_inline)) void
K(few_weigh_all)(const K(few_kind) kind, const K(few_code) code, const bool masked, int64_t n,
                 int lanes, int w, int64_t width, const real *p, const attn__rows *v,
                 bool fresh, real *acc, int64_t ld)
{
    for (int l = 0; l < lanes; l += FEW_MOST) {
        const real *pl = p + l;
        real *al = acc + l * ld;
        if (lanes - l > FEW_SOME)
            K(few_weigh_lanes)(kind, code, FEW_MOST, masked, n, w, width, pl, v, fresh, al, ld);
        else if (lanes - l > 1)
            K(few_weigh_lanes)(kind, code, FEW_SOME, masked, n, w, width, pl, v, fresh, al, ld);
        else
            K(few_weigh_lanes)(kind, code, 1, masked, n, w, width, pl, v, fresh, al, ld);
    }
}

/* ---- kinds ------------------------------------------------------------------------------- */

#define FEW_KIND(name, code, ...)                                                              \
    static void K(few_scores_##name)(int64_t n, int lanes, int w, int64_t depth,               \
                                     const attn__rows *k, const void *q, void *s)              \
    {                                                                                          \
        const K(few_kind) kind = {__VA_ARGS__};                                                \
        K(few_scores_all)(kind, code, n, lanes, w, depth, k, q, s);                            \
    }                                                                                          \
    static void K(few_weigh_##name)(int64_t n, int lanes, int w, int64_t width, const void *p, \
                                    const attn__rows *v, bool masked, bool fresh, void *acc,   \
                                    int64_t ld)                                                \
    {                                                                                          \
        const K(few_kind) kind = {__VA_ARGS__};                                                \
        if (masked)                                                                            \
            K(few_weigh_all)(kind, code, true, n, lanes, w, width, p, v, fresh, acc, ld);      \
        else                                                                                   \
            K(few_weigh_all)(kind, code, false, n, lanes, w, width, p, v, fresh, acc, ld);     \
    }

FEW_KIND(whole, K(FEW_PLAIN), FEW_WHOLE)
#if REAL_BITS == 32
FEW_KIND(bf16, K(FEW_PLAIN), 16, s_word_bf16, K(few_load_bf16))
FEW_KIND(f16, K(FEW_PLAIN), 16, s_word_f16, K(few_load_f16))
FEW_KIND(i8_row, K(FEW_ROW), 8, K(few_part_i8), K(few_load_i8))
FEW_KIND(i8_column, K(FEW_COLUMN), 8, K(few_part_i8), K(few_load_i8))
FEW_KIND(i4_row, K(FEW_ROW), 4, K(few_part_i4), K(few_load_i4))
FEW_KIND(i4_column, K(FEW_COLUMN), 4, K(few_part_i4), K(few_load_i4))

#    define FEW_CODED(name)                                                                    \
        static void K(few_scores_##name)(int64_t n, int lanes, int w, int64_t depth,           \
                                         const attn__rows *k, const void *q, void *s)          \
        {                                                                                      \
            (k->scale ? K(few_scores_##name##_row)                                             \
                      : K(few_scores_##name##_column))(n, lanes, w, depth, k, q, s);           \
        }                                                                                      \
        static void K(few_weigh_##name)(int64_t n, int lanes, int w, int64_t width,            \
                                        const void *p, const attn__rows *v, bool masked,       \
                                        bool fresh, void *acc, int64_t ld)                     \
        {                                                                                      \
            (v->scale ? K(few_weigh_##name##_row) : K(few_weigh_##name##_column))(             \
                n, lanes, w, width, p, v, masked, fresh, acc, ld);                             \
        }
FEW_CODED(i8)
FEW_CODED(i4)
#    undef FEW_CODED

#    define K_FEW(what)                                                                        \
        {                                                                                      \
            [ATTN__ROW_F32] = K(what##_whole), [ATTN__ROW_BF16] = K(what##_bf16),              \
            [ATTN__ROW_F16] = K(what##_f16), [ATTN__ROW_I8] = K(what##_i8),                    \
            [ATTN__ROW_I4] = K(what##_i4)                                                      \
        }
#else
#    define K_FEW(what)                                                                        \
        {                                                                                      \
            [ATTN__ROW_F64] = K(what##_whole)                                                  \
        }
#endif
#undef FEW_KIND

#endif
