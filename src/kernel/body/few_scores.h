/* SPDX-License-Identifier: MIT
 * Scores of few queries, keys in lanes: words of V_LANES rows at a time are turned in registers,
 * so that lane j holds the next numbers of key j, and join one chain over d for each query.
 * Up to four vectors of keys share the broadcasts of the queries. A part of body/few.h. */
#ifndef ATTN__BODY_FEW_SCORES_H
#define ATTN__BODY_FEW_SCORES_H

/* Keys in lanes: their rows, scales and zeros. */
typedef struct K(few_keys) {
    const char *row[V_LANES];
    v_vec scale, zero;
} K(few_keys);

/* The keys from j on; the last of n stands in for those behind it. */
static void K(few_keys_at)(const attn__rows *k, int64_t j, int64_t n, K(few_keys) * keys)
{
    real scale[V_LANES] = {0}, zero[V_LANES] = {0};
    for (int i = 0; i < V_LANES; i++) {
        const int64_t key = j + i < n ? j + i : n - 1;
        keys->row[i] = k->row[key];
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

/* Number d of all keys, part of the words, joins the chains. */
static inline __attribute__((always_inline)) void
K(few_chain)(const attn__row_kind kind, const K(few_code) code, const int lanes,
             const int groups, const real *words, const int part, const K(few_keys) * keys,
             const attn__rows *k, int64_t d, const real *q, v_vec *acc)
{
    v_vec x[FEW_WIDE], one = v_set(0), none = v_set(0);
    if (code == K(FEW_COLUMN)) {
        one = v_set((real)k->columns[d]);
        none = v_set(k->offsets ? (real)k->offsets[d] : 0);
    }
#pragma GCC unroll 4
    for (int g = 0; g < FEW_WIDE; g++) {
        if (g >= groups) break;
        x[g] = K(few_part)(kind, v_load(words + g * V_LANES * V_LANES), part);
        if (code == K(FEW_ROW)) x[g] = v_fma(x[g], keys[g].scale, keys[g].zero);
        if (code == K(FEW_COLUMN)) x[g] = v_fma(x[g], one, none);
    }
#pragma GCC unroll 8
    for (int l = 0; l < FEW_MOST; l++) {
        if (l >= lanes) break;
        const v_vec b = v_set(q[l]);
#pragma GCC unroll 4
        for (int g = 0; g < FEW_WIDE; g++)
            if (g < groups) acc[l * groups + g] = v_fma(b, x[g], acc[l * groups + g]);
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

/* Rows to ask for, a line at a time: they follow each other as they lie in memory, whatever is
 * read of the rows at hand, because that is what the machine's own prefetching follows. */
typedef struct K(few_lines) {
    const void *const *ahead; /* of the keys at hand; NULL: none */
    int64_t row, until, line, bytes;
} K(few_lines);

/* Those that the keys j .. j + rows of n ask for; nothing when they did so before. */
static inline K(few_lines) K(few_lines_at)(const attn__rows *k, bool first, int64_t n,
                                           int64_t j, int64_t rows, int64_t bytes)
{
    if (!k->ahead || !first) return (K(few_lines)){0};
    return (K(few_lines)){k->ahead + j, 0, n - j < rows ? n - j : rows, 0, bytes};
}

static inline __attribute__((always_inline)) void K(few_ask)(K(few_lines) * lines)
{
    if (lines->row >= lines->until) return;
    __builtin_prefetch((const char *)lines->ahead[lines->row] + lines->line);
    lines->line += FEW_LINE;
    if (lines->line >= lines->bytes) lines->line = 0, lines->row++;
}

/* groups times V_LANES keys from j on against lanes queries from l on. */
static inline __attribute__((always_inline)) void
K(few_scores_tile)(const attn__row_kind kind, const K(few_code) code, const int lanes,
                   const int groups, int64_t n, int64_t j, int w, int l, int64_t depth,
                   const attn__rows *k, const real *q, real *s)
{
    const int parts = REAL_BITS / K(few_bits)(kind);
    const int64_t step = V_LANES * parts, bytes = (depth * K(few_bits)(kind) + 7) / 8;
    K(few_lines) lines = K(few_lines_at)(k, l == 0, n, j, groups * V_LANES, bytes);
    K(few_keys) keys[FEW_WIDE];
    v_vec acc[FEW_SUMS];
    real room[FEW_WIDE * V_LANES * (V_LANES > 4 ? V_LANES : 4)]; /* squares, then the sums */
#pragma GCC unroll 1
    for (int g = 0; g < groups; g++) K(few_keys_at)(k, j + g * V_LANES, n, &keys[g]);
#pragma GCC unroll 16
    for (int a = 0; a < FEW_SUMS; a++) acc[a] = v_set(0);
    q += l;
#pragma GCC unroll 1
    for (int64_t d = 0; d < depth;) {
        const int64_t at = d * K(few_bits)(kind) / 8, left = depth - d;
        const int64_t words = left < step ? (left + parts - 1) / parts : V_LANES;
        if (left >= step)
            K(few_turn)(keys, groups, at, room);
        else
            K(few_turn_last)(keys, groups, d, depth, K(few_bits)(kind), room);
#pragma GCC unroll 1
        for (int64_t i = 0; i < words; i++, d += parts, q += parts * w) {
#pragma GCC unroll 4
            for (int g = 0; g < groups; g++) K(few_ask)(&lines);
#pragma GCC unroll 8
            for (int part = 0; part < 8; part++)
                if (part < parts && (parts == 1 || d + part < depth)) K(few_chain)
            (kind, code, lanes, groups, room + i * V_LANES, part, keys, k, d + part,
             q + part * w, acc);
        }
    }
#pragma GCC unroll 16
    for (int a = 0; a < FEW_SUMS; a++)
        if (a < lanes * groups) v_store(room + a * V_LANES, acc[a]);
    for (int64_t g = 0; g < groups && j + g * V_LANES < n; g++) K(few_store)
    (lanes, n - j - g * V_LANES, room + g * V_LANES, groups * V_LANES, w, l,
     s + (j + g * V_LANES) * w);
}

static inline __attribute__((always_inline)) int64_t
K(few_scores_lanes)(const attn__row_kind kind, const K(few_code) code, const int lanes,
                    int64_t n, int64_t j, int w, int l, int64_t depth, const attn__rows *k,
                    const real *q, real *s)
{
    const int most = K(few_bits)(kind) == REAL_BITS && lanes > 1 ? 2 : FEW_WIDE;
    const int groups = FEW_SUMS / lanes < most ? FEW_SUMS / lanes : most;
    if (groups > 1 && j + groups * V_LANES <= n) {
        K(few_scores_tile)(kind, code, lanes, groups, n, j, w, l, depth, k, q, s);
        return groups * V_LANES;
    }
    K(few_scores_tile)(kind, code, lanes, 1, n, j, w, l, depth, k, q, s);
    return V_LANES;
}

static inline __attribute__((always_inline)) void
K(few_scores_all)(const attn__row_kind kind, const K(few_code) code, int64_t n, int lanes,
                  int w, int64_t depth, const attn__rows *k, const real *q, real *s)
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

#endif
