/* SPDX-License-Identifier: MIT
 * Scores of few queries, keys in lanes: words of V_LANES rows at a time are turned in registers,
 * so that lane j holds the next numbers of key j, and join one chain over d for each query.
 * Up to four vectors of keys share the broadcasts of the queries. A part of body/few.h. */
#ifndef ATTN__BODY_FEW_SCORES_H
#define ATTN__BODY_FEW_SCORES_H

enum {
    FEW_TURNED = 16, /* vectors of words in registers at a time */
    FEW_ASKED = 4    /* lines asked for side by side, at most */
};

/* Keys in lanes: their rows, scales and zeros. */
typedef struct K(few_keys) {
    const char *const *row; /* [V_LANES] */
    v_vec scale, zero;
    const char *stand[V_LANES];
} K(few_keys);

/* The keys from j on; the last of n stands in for those behind it. */
static inline void K(few_keys_at)(const attn__rows *k, int64_t j, int64_t n, K(few_keys) * keys)
{
    keys->row = (const char *const *)(const void *)(k->row + j);
    for (int i = 0; i < V_LANES && j + V_LANES > n; i++) {
        keys->stand[i] = k->row[j + i < n ? j + i : n - 1];
        keys->row = keys->stand;
    }
#if REAL_BITS == 32
    if (!k->scale) return;
    keys->scale = v_load_n(k->scale + j, n - j);
    keys->zero = k->zero ? v_load_n(k->zero + j, n - j) : v_set(0);
#endif
}

/* The last words, of which a row may have some: what it lacks is 0. */
static __attribute__((noinline)) void K(few_turn_last)(const K(few_keys) * keys, int64_t d,
                                                       int64_t depth, int bits, real *words)
{
    char bytes[V_LANES][V_COLUMNS * FEW_WORD];
    const char *row[V_LANES];
    v_vec y[V_COLUMNS];
    for (int i = 0; i < V_LANES; i++) {
        K(few_tail)(keys->row[i], d, depth, bits, bytes[i], sizeof bytes[i]);
        row[i] = bytes[i];
    }
    v_columns(row, 0, y);
    UNROLL(16)
    for (int i = 0; i < V_COLUMNS; i++) v_store(words + i * V_LANES, y[i]);
}

/* Lines that a turn of so many vectors of keys asks for: as many as it reads. */
static inline __attribute__((always_inline)) int K(few_turn_lines)(const int groups)
{
    return groups * V_LANES * V_COLUMNS * FEW_WORD / ATTN__LINE;
}

/* Lines of one piece. */
static inline __attribute__((always_inline)) int K(few_asked)(const int groups)
{
    return K(few_turn_lines)(groups) < FEW_ASKED ? K(few_turn_lines)(groups) : FEW_ASKED;
}

/* One line for the first cache, or a far one for the second and a near one for the first: the turn
 * asks for as many lines of its rows as it reads, so it takes some turns to have asked for one of
 * each. */
static inline __attribute__((always_inline)) void
K(few_ask_line)(const K(few_asks) * asks, const char *far, const int groups, const int line)
{
    const int lines = K(few_turn_lines)(groups), rows = lines > groups ? lines / groups : 1;
    if (!asks->near) {
        __builtin_prefetch(far);
        return;
    }
    const void *const *near = asks->near + line / rows * V_LANES + line % rows;
    __builtin_prefetch(far, 0, 2);
    __builtin_prefetch((const char *)*near + asks->near_at);
}

/* What number i of so many that a turn holds asks for, all of them together every line of the
 * turn, spread evenly; the first line of a piece goes on to it. */
static inline __attribute__((always_inline)) void K(few_ask)(K(few_asks) * asks,
                                                             const char **piece,
                                                             const int groups, const int i,
                                                             const int numbers)
{
    const int lines = K(few_turn_lines)(groups), side = K(few_asked)(groups);
    const int many = lines > numbers ? lines / numbers : 1;
    const int every = lines > 0 && lines < numbers ? numbers / lines : 1;
    UNROLL(4)
    for (int x = 0; x < many && lines > 0; x++) {
        if (i % every != 0) continue;
        const int line = i / every * many + x;
        if (line % side == 0) *piece = K(few_asks_next)(asks);
        K(few_ask_line)(asks, *piece + line % side * ATTN__LINE, groups, line);
    }
}

/* Number d of all keys, part of words[g * V_COLUMNS], joins the chains of groups. */
static inline __attribute__((always_inline)) void
K(few_chain)(const attn__row_kind kind, const K(few_code) code, const int lanes,
             const int groups, const v_vec *words, const int part, const K(few_keys) * keys,
             const attn__rows *k, int64_t d, const real *q, v_vec *acc, const int step)
{
    v_vec x[FEW_WIDE], one = v_set(0), none = v_set(0);
    if (code == K(FEW_COLUMN)) {
        one = v_set((real)k->columns[d]);
        none = v_set(k->offsets ? (real)k->offsets[d] : 0);
    }
    UNROLL(4)
    for (int g = 0; g < FEW_WIDE; g++) {
        if (g >= groups) break;
        x[g] = K(few_part)(kind, words[g * V_COLUMNS], part);
        if (code == K(FEW_ROW)) x[g] = v_fma(x[g], keys[g].scale, keys[g].zero);
        if (code == K(FEW_COLUMN)) x[g] = v_fma(x[g], one, none);
    }
    UNROLL(8)
    for (int l = 0; l < FEW_MOST; l++) {
        if (l >= lanes) break;
        const v_vec b = v_set(q[l]);
        UNROLL(4)
        for (int g = 0; g < FEW_WIDE; g++)
            if (g < groups) acc[l * step + g] = v_fma(b, x[g], acc[l * step + g]);
    }
    if (lanes * step == 8) v_held8(acc);
}

/* The numbers of the words y from d on. Those of words of many parts wait in memory: registers
 * would be worth less than the code that names them. */
static inline __attribute__((always_inline)) void
K(few_chains)(const attn__row_kind kind, const K(few_code) code, const int lanes,
              const int groups, const v_vec *y, const K(few_keys) * keys, const attn__rows *k,
              int64_t d, const real *q, int ld, v_vec *acc, const int step, K(few_asks) * asks)
{
    const char *piece = asks->row;
    const int parts = REAL_BITS / K(few_bits)(kind);
    if (parts <= 2) {
        UNROLL(16)
        for (int i = 0; i < V_COLUMNS * parts; i++, q += ld) {
            K(few_ask)(asks, &piece, groups, i, V_COLUMNS * parts);
            MOVED(q);
            K(few_chain)
            (kind, code, lanes, groups, y + i / parts, i % parts, keys, k, d + i, q, acc, step);
        }
        return;
    }
#pragma GCC unroll 1
    for (int i = 0; i < V_COLUMNS; i++, d += parts) {
        K(few_ask)(asks, &piece, groups, i, V_COLUMNS);
        UNROLL(8)
        for (int part = 0; part < parts; part++, q += ld) {
            MOVED(q);
            K(few_chain)
            (kind, code, lanes, groups, y + i, part, keys, k, d + part, q, acc, step);
        }
    }
}

/* The last numbers of a row, which fill no turn: nothing behind them is touched. */
static inline __attribute__((always_inline)) void
K(few_last)(const attn__row_kind kind, const K(few_code) code, const int lanes,
            const K(few_keys) * keys, const attn__rows *k, int64_t d, int64_t depth,
            const real *q, int ld, v_vec *acc, const int step)
{
    const int parts = REAL_BITS / K(few_bits)(kind);
    real words[V_COLUMNS * V_LANES];
    K(few_turn_last)(keys, d, depth, K(few_bits)(kind), words);
#pragma GCC unroll 1
    for (const real *word = words; d < depth; word += V_LANES) {
        const v_vec y[V_COLUMNS] = {v_load(word)};
        UNROLL(8)
        for (int part = 0; part < parts; part++, d++, q += ld)
            if (part == 0 || d < depth) K(few_chain)
        (kind, code, lanes, 1, y, part, keys, k, d, q, acc, step);
    }
}

/* Lanes l .. l + lanes of n keys from acc [lanes][step], numbers of a key side by side again. */
static __attribute__((noinline)) void K(few_store)(int lanes, int64_t n, const real *acc,
                                                   int64_t step, int w, int l, real *s)
{
    v_vec x[V_LANES];
    UNROLL(16)
    for (int i = 0; i < V_LANES; i++) x[i] = i < lanes ? v_load(acc + i * step) : v_set(0);
    v_transpose(x);
    UNROLL(16)
    for (int i = 0; i < V_LANES; i++) {
        if (i >= n) break;
        v_store_n(s + i * w + l, x[i], w - l);
    }
}

/* The same from registers, acc[l * groups + g] for V_LANES keys g. */
static inline __attribute__((always_inline)) void K(few_keep)(const int lanes, const int groups,
                                                              int64_t n, const v_vec *acc,
                                                              int w, int l, real *s)
{
    real room[FEW_SUMS * V_LANES];
    const bool whole = n >= groups * V_LANES;
    if (whole && w == 1) {
        UNROLL(4)
        for (int g = 0; g < groups; g++) v_store(s + g * V_LANES, acc[g]);
    } else if (whole && w == 4 && lanes == 4 && V_LANES > 4) {
        UNROLL(4)
        for (int g = 0; g < groups; g++) {
            const v_vec x[4] = {acc[g], acc[groups + g], acc[2 * groups + g],
                                acc[3 * groups + g]};
            v_store4(s + g * V_LANES * 4, x);
        }
    } else {
        UNROLL(16)
        for (int a = 0; a < FEW_SUMS; a++)
            if (a < lanes * groups) v_store(room + a * V_LANES, acc[a]);
        for (int64_t g = 0; g < groups && g * V_LANES < n; g++) K(few_store)
        (lanes, n - g * V_LANES, room + g * V_LANES, groups * V_LANES, w, l,
         s + g * V_LANES * w);
    }
}

/* The line behind that which the words at d are in, of the rows whose turn it is; behind the last
 * line of a row the first one of the rows of the next tile. */
static inline __attribute__((always_inline)) void K(few_near)(const attn__rows *k, int64_t j,
                                                              const int keys, int64_t at,
                                                              int64_t bytes, K(few_asks) * asks)
{
    const int turn = V_COLUMNS * FEW_WORD, rows = V_LANES * turn / ATTN__LINE;
    const int64_t next = (at / ATTN__LINE + 1) * ATTN__LINE;
    const bool more = next < bytes;
    asks->near = k->row + j + (more ? 0 : keys) + at % ATTN__LINE / turn * rows;
    asks->near_at = more ? next : 0;
}

/* groups times V_LANES keys from j on against lanes queries from l on. */
static inline __attribute__((always_inline)) void
K(few_scores_tile)(const attn__row_kind kind, const K(few_code) code, const int lanes,
                   const int groups, int64_t n, int64_t j, int w, int l, int64_t depth,
                   const attn__rows *k, const real *q, int ld, real *s)
{
    const int bits = K(few_bits)(kind), words = V_COLUMNS * REAL_BITS / bits;
    const int side = groups * V_COLUMNS <= FEW_TURNED ? groups : 1;
    const bool asking = k->ahead && l == 0 && K(few_asked)(side) > 0;
    K(few_asks)
    asks = K(few_asks_of)(asking ? k->ahead + j : NULL, k->row[j],
                          n - j < groups * V_LANES ? n - j : groups * V_LANES,
                          (depth * bits + 7) / 8, K(few_asked)(side) * ATTN__LINE);
    K(few_keys) keys[FEW_WIDE];
    v_vec acc[FEW_SUMS];
    int64_t d = 0;
    UNROLL(4)
    for (int g = 0; g < groups; g++) K(few_keys_at)(k, j + g * V_LANES, n, &keys[g]);
    UNROLL(16)
    for (int a = 0; a < FEW_SUMS; a++) acc[a] = v_set(0);
    q += l;
#pragma GCC unroll 1
    for (; d + words <= depth; d += words, q += words * ld) {
        UNROLL(4)
        for (int g = 0; g < groups; g += side) {
            v_vec y[FEW_TURNED];
            UNROLL(4)
            for (int x = 0; x < side; x++)
                v_columns(keys[g + x].row, d * bits / 8, y + x * V_COLUMNS);
            if (asking && k->far) K(few_near)
            (k, j + g * V_LANES, groups * V_LANES, d * bits / 8, (depth * bits + 7) / 8, &asks);
            K(few_chains)
            (kind, code, lanes, side, y, keys + g, k, d, q, ld, acc + g, groups, &asks);
        }
    }
    if (d < depth) {
        UNROLL(4)
        for (int g = 0; g < groups; g++) K(few_last)
        (kind, code, lanes, keys + g, k, d, depth, q, ld, acc + g, groups);
    }
    K(few_keep)(lanes, groups, n - j, acc, w, l, s + j * w);
}

static inline __attribute__((always_inline)) int64_t
K(few_scores_lanes)(const attn__row_kind kind, const K(few_code) code, const int lanes,
                    int64_t n, int64_t j, int w, int l, int64_t depth, const attn__rows *k,
                    const real *q, int ld, real *s)
{
    const int most = lanes > 1 || !FEW_MANY ? 2 : FEW_WIDE;
    const int groups = FEW_SUMS / lanes < most ? FEW_SUMS / lanes : most;
    if (groups > 1 && j + groups * V_LANES <= n) {
        K(few_scores_tile)(kind, code, lanes, groups, n, j, w, l, depth, k, q, ld, s);
        return groups * V_LANES;
    }
    K(few_scores_tile)(kind, code, lanes, 1, n, j, w, l, depth, k, q, ld, s);
    return V_LANES;
}

static inline __attribute__((always_inline)) void
K(few_scores_all)(const attn__row_kind kind, const K(few_code) code, int64_t n, int lanes,
                  int w, int64_t depth, const attn__rows *k, const real *q, int ld, real *s)
{
    for (int l = 0; l < lanes; l += FEW_MOST)
        for (int64_t j = 0; j < n;) {
            if (lanes - l > FEW_SOME)
                j += K(few_scores_lanes)(kind, code, FEW_MOST, n, j, w, l, depth, k, q, ld, s);
            else if (lanes - l > 1)
                j += K(few_scores_lanes)(kind, code, FEW_SOME, n, j, w, l, depth, k, q, ld, s);
            else
                j += K(few_scores_lanes)(kind, code, 1, n, j, w, l, depth, k, q, ld, s);
        }
}

#endif
