/* SPDX-License-Identifier: MIT
 * Weighted sums of few queries, columns of values in lanes: row j times p[j][l] joins the sums
 * of each query l. A part of body/few.h. */
#ifndef ATTN__BODY_FEW_WEIGH_H
#define ATTN__BODY_FEW_WEIGH_H

static inline __attribute__((always_inline)) v_vec
K(few_columns)(const attn__row_kind kind, const K(few_code) code, const attn__rows *v,
               const char *row, int64_t j, int64_t e, int64_t width, const bool cut)
{
    v_vec scale = v_set(0), zero = v_set(0);
    char bytes[V_LANES * FEW_WORD];
    if (cut) K(few_tail)(row, e, width, K(few_bits)(kind), bytes, sizeof bytes);
    const v_vec x = cut ? K(few_load)(kind, bytes, 0) : K(few_load)(kind, row, e);
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

/* What to ask for with each key: the lines of the rows to come, in the order in which they lie,
 * whatever columns a tile works on. The machine's own prefetching follows that. */
typedef struct K(few_asks) {
    const void *const *ahead;
    int64_t pieces, bytes; /* of a row, one with each key; no pieces: nothing */
    int64_t piece;         /* the first */
} K(few_asks);

/* Those of tile number i of n keys. */
static inline K(few_asks) K(few_asks_at)(K(few_asks) all, int64_t i, int64_t n)
{
    if (all.pieces == 0 || i >= all.pieces) return (K(few_asks)){0};
    all.ahead += i * n / all.pieces;
    all.piece = i * n % all.pieces;
    return all;
}

/* nv vectors of columns from e on for lanes queries from l on. */
static inline __attribute__((always_inline)) void
K(few_weigh_tile)(const attn__row_kind kind, const K(few_code) code, const int lanes,
                  const int nv, const bool masked, const bool cut, int64_t n, int w,
                  const real *p, const attn__rows *v, K(few_asks) asks, int64_t e,
                  int64_t width, bool fresh, real *acc, int64_t ld)
{
    v_vec sum[FEW_SUMS];
#pragma GCC unroll 16
    for (int a = 0; a < FEW_SUMS; a++) sum[a] = v_set(0);
    for (int64_t j = 0; j < n; j++, p += w) {
        const char *row = v->row[j];
        v_vec weight[FEW_MOST];
#pragma GCC unroll 8
        for (int l = 0; l < FEW_MOST; l++)
            if (l < lanes) weight[l] = v_set(p[l]);
#pragma GCC unroll 4
        for (int x = 0; x < FEW_WIDE; x++) {
            if (x >= nv) break;
            const v_vec y = K(few_columns)(kind, code, v, row, j, e + x * V_LANES, width, cut);
#pragma GCC unroll 8
            for (int l = 0; l < FEW_MOST; l++) {
                if (l >= lanes) break;
                v_vec *to = &sum[l * nv + x];
                *to = masked ? v_fma_unmarked(weight[l], y, *to) : v_fma(weight[l], y, *to);
            }
        }
        if (asks.pieces == 0) continue;
        const char *next = (const char *)*asks.ahead + asks.piece * asks.bytes;
#pragma GCC unroll 4
        for (int64_t x = 0; x < asks.bytes; x += FEW_LINE) __builtin_prefetch(next + x);
        if (++asks.piece == asks.pieces) asks.piece = 0, asks.ahead++;
    }
#pragma GCC unroll 8
    for (int l = 0; l < FEW_MOST; l++)
#pragma GCC unroll 4
        for (int x = 0; x < FEW_WIDE; x++) {
            if (l >= lanes || x >= nv) break;
            real *at = acc + l * ld + e + x * V_LANES;
            v_store(at, v_add(fresh ? v_set(0) : v_load(at), sum[l * nv + x]));
        }
}

static inline __attribute__((always_inline)) void
K(few_weigh_lanes)(const attn__row_kind kind, const K(few_code) code, const int lanes,
                   const bool masked, int64_t n, int w, int64_t width, const real *p,
                   const attn__rows *v, bool fresh, real *acc, int64_t ld)
{
    const int nv = FEW_SUMS / lanes < FEW_WIDE ? FEW_SUMS / lanes : FEW_WIDE;
    const int64_t wide = width / (nv * V_LANES), pieces = wide > 0 ? wide : 1;
    const int64_t bytes = (width * K(few_bits)(kind) + 8 * pieces - 1) / (8 * pieces);
    const K(few_asks) asks = {v->ahead, v->ahead ? pieces : 0,
                              (bytes + FEW_LINE - 1) / FEW_LINE * FEW_LINE, 0};
    int64_t e = 0, i = 0;
    for (; e + nv * V_LANES <= width; e += nv * V_LANES, i++) K(few_weigh_tile)
    (kind, code, lanes, nv, masked, false, n, w, p, v, K(few_asks_at)(asks, i, n), e, width,
     fresh, acc, ld);
    for (; e + V_LANES <= width; e += V_LANES, i++) K(few_weigh_tile)
    (kind, code, lanes, 1, masked, false, n, w, p, v, K(few_asks_at)(asks, i, n), e, width,
     fresh, acc, ld);
    if (e < width) K(few_weigh_tile)
    (kind, code, lanes, 1, masked, true, n, w, p, v, K(few_asks_at)(asks, i, n), e, width,
     fresh, acc, ld);
}

static inline __attribute__((always_inline)) void
K(few_weigh_all)(const attn__row_kind kind, const K(few_code) code, const bool masked,
                 int64_t n, int lanes, int w, int64_t width, const real *p, const attn__rows *v,
                 bool fresh, real *acc, int64_t ld)
{
    for (int l = 0; l < lanes; l += FEW_MOST) {
        const real *pl = p + l;
        attn__rows rows = *v;
        if (l > 0) rows.ahead = NULL; /* they have been asked for */
        real *al = acc + l * ld;
        if (lanes - l > FEW_SOME) K(few_weigh_lanes)
        (kind, code, FEW_MOST, masked, n, w, width, pl, &rows, fresh, al, ld);
        else if (lanes - l > 1) K(few_weigh_lanes)(kind, code, FEW_SOME, masked, n, w, width,
                                                   pl, &rows, fresh, al, ld);
        else K(few_weigh_lanes)(kind, code, 1, masked, n, w, width, pl, &rows, fresh, al, ld);
    }
}

#endif
