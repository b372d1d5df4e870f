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

/* nv vectors of columns from e on for lanes queries from l on. */
static inline __attribute__((always_inline)) void
K(few_weigh_tile)(const attn__row_kind kind, const K(few_code) code, const int lanes,
                  const int nv, const bool masked, const bool cut, int64_t n, int w,
                  const real *p, const attn__rows *v, int64_t e, int64_t width, bool fresh,
                  real *acc, int64_t ld)
{
    const int64_t bytes = nv * V_LANES * (int64_t)K(few_bits)(kind) / 8,
                  from = e * K(few_bits)(kind) / 8;
    const void *const *ahead = v->ahead ? v->ahead : v->row;
    v_vec sum[FEW_SUMS];
#pragma GCC unroll 16
    for (int a = 0; a < FEW_SUMS; a++) sum[a] = v_set(0);
    for (int64_t j = 0; j < n; j++, p += w) {
        const char *row = v->row[j];
        v_vec weight[FEW_MOST];
        if (FEW_WORD * V_LANES >= FEW_LINE || from % FEW_LINE == 0)
#pragma GCC unroll 8
            for (int64_t x = 0; x < bytes; x += FEW_LINE)
                __builtin_prefetch((const char *)ahead[j] + from + x, 0, FEW_NEAR);
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
    int64_t e = 0;
    for (; e + nv * V_LANES <= width; e += nv * V_LANES) K(few_weigh_tile)
    (kind, code, lanes, nv, masked, false, n, w, p, v, e, width, fresh, acc, ld);
    for (; e + V_LANES <= width; e += V_LANES) K(few_weigh_tile)
    (kind, code, lanes, 1, masked, false, n, w, p, v, e, width, fresh, acc, ld);
    if (e < width) K(few_weigh_tile)
    (kind, code, lanes, 1, masked, true, n, w, p, v, e, width, fresh, acc, ld);
}

static inline __attribute__((always_inline)) void
K(few_weigh_all)(const attn__row_kind kind, const K(few_code) code, const bool masked,
                 int64_t n, int lanes, int w, int64_t width, const real *p, const attn__rows *v,
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

#endif
