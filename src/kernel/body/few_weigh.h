/* SPDX-License-Identifier: MIT
 * Weighted sums of few queries, columns of values in lanes: row j times p[j][l] joins the sums
 * of each query l. A part of body/few.h. */
#ifndef ATTN__BODY_FEW_WEIGH_H
#define ATTN__BODY_FEW_WEIGH_H

enum { FEW_NEAR = 8 }; /* far: keys further on that are asked for once more */

/* Columns e .. e + V_LANES of row j, the part of it that begins at byte `at`; left: how many the
 * row has from there on, where it is cut. */
static inline __attribute__((always_inline)) v_vec
K(few_columns)(const attn__row_kind kind, const K(few_code) code, const attn__rows *v,
               const char *at, const int x, int64_t j, int64_t e, int64_t left, const bool cut)
{
    v_vec scale = v_set(0), zero = v_set(0);
    char bytes[V_LANES * FEW_WORD];
    if (cut) K(few_tail)(at, 0, left, K(few_bits)(kind), bytes, sizeof bytes);
    const v_vec y = K(few_load)(kind, cut ? bytes : at, x * V_LANES);
    if (code == K(FEW_ROW)) {
        scale = v_set((real)v->scale[j]);
        if (v->zero) zero = v_set((real)v->zero[j]);
    }
#if REAL_BITS == 32
    e += x * V_LANES;
    if (code == K(FEW_COLUMN)) {
        scale = cut ? v_load_n(v->columns + e, left) : v_load(v->columns + e);
        if (v->offsets) zero = cut ? v_load_n(v->offsets + e, left) : v_load(v->offsets + e);
    }
#else
    (void)e;
#endif
    return K(few_decode)(y, scale, zero, code);
}

/* Vectors of columns that a tile of so many queries has, where the row has them. */
static inline __attribute__((always_inline)) int K(few_strip)(const int lanes)
{
    return FEW_SUMS / lanes < FEW_STRIP ? FEW_SUMS / lanes : FEW_STRIP;
}

/* Lines of a piece: as many as a tile reads of a row. */
static inline __attribute__((always_inline)) int K(few_lines_of)(const attn__row_kind kind,
                                                                 const int lanes)
{
    const int bytes = K(few_strip)(lanes) * V_LANES * K(few_bits)(kind) / 8;
    return (bytes + ATTN__LINE - 1) / ATTN__LINE;
}

/* What tile number i of n keys asks for: a piece of the rows ahead with each key. */
static inline K(few_asks)
    K(few_pieces_at)(const attn__rows *v, int64_t i, int64_t n, int64_t bytes, int64_t piece)
{
    const int64_t pieces = (bytes + piece - 1) / piece, first = i * n;
    const int64_t row = first / pieces, rows = (first + n - 1) / pieces + 1 - row;
    const bool any = v->ahead && i < pieces && n > 0;
    K(few_asks)
    asks = K(few_asks_of)(any ? v->ahead + row : NULL, v->row[0], rows, bytes, piece);
    asks.at = any ? first % pieces * piece : 0;
    return asks;
}

/* Asks for lines of a row far ahead, for the second cache; those of a row that is near go into the
 * first. */
static inline __attribute__((always_inline)) const char *
K(few_weigh_far)(const char *ahead, const int lines, const attn__rows *v, int64_t j,
                 int64_t start)
{
    UNROLL(4)
    for (int i = 0; i < lines; i++) __builtin_prefetch(ahead + i * ATTN__LINE, 0, 2);
    return (const char *)v->row[j + FEW_NEAR] + start;
}

/* nv vectors of columns from e on for lanes queries. */
static inline __attribute__((always_inline)) void
K(few_weigh_tile)(const attn__row_kind kind, const K(few_code) code, const int lanes,
                  const int nv, const bool masked, const bool cut, int64_t n, int w,
                  const real *p, real *total, const attn__rows *v, K(few_asks) asks, int64_t e,
                  int64_t width, bool fresh, real *acc, int64_t ld)
{
    const int lines = K(few_lines_of)(kind, lanes);
    const int64_t start = e * K(few_bits)(kind) / 8;
    const bool far = v->far && asks.piece > 0;
    v_vec sum[FEW_SUMS], all = v_set(0);
    UNROLL(16)
    for (int a = 0; a < FEW_SUMS; a++) sum[a] = v_set(0);
    for (int64_t j = 0; j < n; j++, p += w) {
        const char *row = (const char *)v->row[j] + start, *next = K(few_asks_next)(&asks);
        if (far) next = K(few_weigh_far)(next, lines, v, j, start);
        MOVED(row);
        v_vec y[FEW_STRIP], weight[FEW_MOST];
        if (total) all = v_add(all, v_load_n(p, lanes));
        UNROLL(8)
        for (int x = 0; x < FEW_STRIP; x++)
            if (x < nv) y[x] = K(few_columns)(kind, code, v, row, x, j, e, width - e, cut);
        UNROLL(8)
        for (int l = 0; l < FEW_MOST && lanes > FEW_SOME; l++) weight[l] = v_set(p[l]);
        UNROLL(8)
        for (int l = 0; l < FEW_MOST; l++) {
            if (l >= lanes) break;
            if (lanes <= FEW_SOME) weight[l] = v_set(p[l]);
            UNROLL(8)
            for (int x = 0; x < FEW_STRIP; x++) {
                if (x >= nv) break;
                v_vec *to = &sum[l * nv + x];
                *to =
                    masked ? v_fma_unmarked(weight[l], y[x], *to) : v_fma(weight[l], y[x], *to);
            }
            UNROLL(4)
            for (int i = l * lines / lanes; i < (l + 1) * lines / lanes; i++)
                __builtin_prefetch(next + i * ATTN__LINE);
        }
    }
    if (total) v_store_n(total, v_add(v_load_n(total, lanes), all), lanes);
    UNROLL(8)
    for (int l = 0; l < FEW_MOST; l++) {
        UNROLL(8)
        for (int x = 0; x < FEW_STRIP; x++) {
            if (l >= lanes || x >= nv) break;
            real *at = acc + l * ld + e + x * V_LANES;
            v_store(at, v_add(fresh ? v_set(0) : v_load(at), sum[l * nv + x]));
        }
    }
}

/* The next strip: a whole one (two vectors at least), half of one - so that of three nothing is
 * left alone, whose sums would wait for themselves - or one vector. */
static inline __attribute__((always_inline)) int K(few_strip_next)(const int most, int64_t left)
{
    const int half = (most + 1) / 2;
    if (left >= most && !(most % 2 > 0 && left == most + 1)) return most;
    return left >= half ? half : 1;
}

static inline __attribute__((always_inline)) void
K(few_weigh_lanes)(const attn__row_kind kind, const K(few_code) code, const int lanes,
                   const bool masked, int64_t n, int w, int64_t width, const real *p,
                   real *total, const attn__rows *v, bool fresh, real *acc, int64_t ld)
{
    const int most = K(few_strip)(lanes), half = (most + 1) / 2;
    const int64_t bytes = (width * K(few_bits)(kind) + 7) / 8;
    const int64_t piece = ATTN__LINE * K(few_lines_of)(kind, lanes);
    for (int64_t i = 0, e = 0; e < width; i++) {
        const K(few_asks) asks = K(few_pieces_at)(v, i, n, bytes, piece);
        const int nv = K(few_strip_next)(most, (width - e) / V_LANES);
        real *all = e + nv * V_LANES >= width ? total : NULL;
        if (nv == most && !all) K(few_weigh_tile) /* NULL, so that no register waits for it */
        (kind, code, lanes, most, masked, false, n, w, p, NULL, v, asks, e, width, fresh, acc,
         ld);
        else if (nv == most) K(few_weigh_tile)(kind, code, lanes, most, masked, false, n, w, p,
                                               all, v, asks, e, width, fresh, acc, ld);
        else if (half > 1 && nv == half)
            K(few_weigh_tile)(kind, code, lanes, half, masked, false, n, w, p, all, v, asks, e,
                              width, fresh, acc, ld);
        else if (e + V_LANES <= width)
            K(few_weigh_tile)(kind, code, lanes, 1, masked, false, n, w, p, all, v, asks, e,
                              width, fresh, acc, ld);
        else K(few_weigh_tile)(kind, code, lanes, 1, masked, true, n, w, p, all, v, asks, e,
                               width, fresh, acc, ld);
        e += nv * V_LANES;
    }
}

static inline __attribute__((always_inline)) void
K(few_weigh_all)(const attn__row_kind kind, const K(few_code) code, const bool masked,
                 int64_t n, int lanes, int w, int64_t width, const real *p, real *total,
                 const attn__rows *v, bool fresh, real *acc, int64_t ld)
{
    for (int l = 0; l < lanes; l += FEW_HEAVY) {
        const real *pl = p + l;
        real *tl = total ? total + l : NULL;
        attn__rows rows = *v;
        if (l > 0) rows.ahead = NULL; /* they have been asked for */
        real *al = acc + l * ld;
        if (FEW_HEAVY > FEW_SOME && lanes - l > FEW_SOME) K(few_weigh_lanes)
        (kind, code, FEW_HEAVY, masked, n, w, width, pl, tl, &rows, fresh, al, ld);
        else if (lanes - l > 1) K(few_weigh_lanes)(kind, code, FEW_SOME, masked, n, w, width,
                                                   pl, tl, &rows, fresh, al, ld);
        else K(few_weigh_lanes)(kind, code, 1, masked, n, w, width, pl, tl, &rows, fresh, al,
                                ld);
    }
}

#endif
