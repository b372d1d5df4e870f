/* SPDX-License-Identifier: MIT
 * What gradients need beside the two products of the forward pass: weights and score gradients
 * from saved log-sum-exps, the product that sums over the lanes, and sums in f64.
 *
 *   p = 2^(s - top),  ds = p (dp - delta);   dv += p^T g,  dk += ds^T q   by spread,
 *   dq += ds k   by weigh of body/matmul.h. */
#ifndef ATTN__BODY_BACKWARD_H
#define ATTN__BODY_BACKWARD_H

enum { D_LINE = ATTN__LINE / sizeof(double) }; /* doubles in a cache line */
enum { DOT_VECTORS = 3 };                      /* sums of dot side by side */

/* A weight is at most 1; the bound of 2 keeps a wrong top from leaving the range of the
 * exponential. */
static inline v_vec K(grade_exponent)(const real *s, v_vec coef, v_vec top)
{
    return v_min(v_set(1), v_sub(v_mul(v_load(s), coef), top));
}

/* Several keys at once, as in exp_sum. */
static inline __attribute__((always_inline)) void
K(grade_keys)(const int keys, int w, v_vec coef, real *s, const uint64_t *allowed, v_vec top,
              v_vec delta, real *dp, int l, const bool masked)
{
    v_vec p[EXP_KEYS];
    p[0] = K(grade_exponent)(s, coef, top);
    if (keys == EXP_KEYS) { /* not a loop: not every compiler would see the registers */
        p[1] = K(grade_exponent)(s + w, coef, top);
        p[2] = K(grade_exponent)(s + 2 * w, coef, top);
        p[3] = K(grade_exponent)(s + 3 * w, coef, top);
    }
    K(v_exp2)(p, keys);
    UNROLL(4)
    for (int j = 0; j < keys; j++) {
        v_vec ds = v_mul(p[j], v_sub(v_load(dp + j * w), delta));
        if (masked) {
            const v_mask ok = v_mask_from(allowed[j] >> l);
            p[j] = v_select(ok, p[j], v_set(-(real)0));
            ds = v_select(ok, ds, v_set(0));
        }
        v_store(s + j * w, p[j]);
        v_store(dp + j * w, ds);
    }
}

static inline __attribute__((always_inline)) void
K(grade_lanes)(int64_t n, int w, v_vec coef, real *s, const uint64_t *allowed, const real *top,
               const real *delta, real *dp, int l, const bool masked)
{
    const v_vec t = v_load(top + l), r = v_load(delta + l);
    int64_t j = 0;
    for (; j + EXP_KEYS <= n; j += EXP_KEYS) K(grade_keys)
    (EXP_KEYS, w, coef, s + j * w + l, masked ? allowed + j : NULL, t, r, dp + j * w + l, l,
     masked);
    for (; j < n; j++) K(grade_keys)
    (1, w, coef, s + j * w + l, masked ? allowed + j : NULL, t, r, dp + j * w + l, l, masked);
}

static void K(grade)(int64_t n, int w, double coef, void *s, const uint64_t *allowed,
                     const void *top, const void *delta, void *dp)
{
    const v_vec c = v_set((real)coef);
    for (int l = 0; l < w; l += V_LANES) {
        if (allowed)
            K(grade_lanes)(n, w, c, s, allowed, top, delta, dp, l, true);
        else
            K(grade_lanes)(n, w, c, s, NULL, top, delta, dp, l, false);
    }
}

/* The first n rows of a tile join sums. With clang a function of its own: else it keeps the tile
 * in memory from the first lane on, which takes three times as long. */
#if defined(__clang__)
#    define SPREAD_JOIN_ROWS
static __attribute__((noinline)) void
#else
#    define SPREAD_JOIN_ROWS UNROLL(8)
static inline __attribute__((always_inline)) void
#endif
K(spread_join)(int64_t n, const real *done, double *to, int64_t width, int64_t columns)
{
    SPREAD_JOIN_ROWS
    for (int r = 0; r < V_TILE_R; r++, done += V_TILE_V * V_LANES, to += width) {
        int64_t x = 0;
        if (r >= n) break;
        for (; x + D_LANES <= columns; x += D_LANES)
            d_store(to + x, d_add(d_load(to + x), d_load_real(done + x)));
        for (; x < columns; x++) to[x] += (double)done[x];
    }
}
#undef SPREAD_JOIN_ROWS

/* How many vectors of columns are taken at once: whole ones by threes or pairs, at last one that
 * is not whole. */
static inline int K(spread_vectors)(int64_t columns)
{
    const int64_t whole = columns / V_LANES;
    return whole == 4 || whole == 2 ? 2 : whole >= V_TILE_V ? V_TILE_V : 1;
}

/* Such columns of all rows, then the next ones; a vector that is not whole ends in zeros. */
static void K(lay)(int n, int64_t width, const void *const *rows, void *laid)
{
    real *to = laid;
    for (int64_t e = 0; e < width;) {
        const int nv = K(spread_vectors)(width - e);
        for (int l = 0; l < n; l++)
            for (int x = 0; x < nv; x++, to += V_LANES) {
                const int64_t at = e + x * V_LANES;
                v_store(to, v_load_n((const real *)rows[l] + at, width - at));
            }
        e += nv * V_LANES;
    }
}

/* The lanes of a part that some of V_TILE_R keys have a number for; what lies outside would leave
 * a sum as it is. */
static inline void K(spread_lanes)(int64_t n, const attn__part *part, int64_t j, int64_t *from,
                                   int64_t *until)
{
    uint64_t any = 0;
    for (int64_t r = 0; r < V_TILE_R && r < n; r++) any |= part->lanes[j + r];
    any &= ((uint64_t)1 << part->n) - 1;
    *from = any ? __builtin_ctzll(any) : 0;
    *until = any ? 64 - __builtin_clzll(any) : 0;
}

static inline v_vec K(spread_load)(const real *row, const int x, const int nv)
{
    return x < nv ? v_load(row + x * V_LANES) : v_set(0);
}

/* Lanes l .. until of a part, at least one: sum[r][x] += a[r][l] times the columns x of row l;
 * the rows of a that come next are asked for. The columns are no loop, since not every compiler
 * would see the registers. */
static inline __attribute__((always_inline)) void
K(spread_part)(const real *const *a, int64_t l, int64_t until, const real *row,
               const real *next, v_vec *sum, const int nv)
{
    _Static_assert(V_TILE_V <= 4, "a load for each");
    row += l * nv * V_LANES;
    do {
        const v_vec b[4] = {v_load(row), K(spread_load)(row, 1, nv), K(spread_load)(row, 2, nv),
                            K(spread_load)(row, 3, nv)};
        __builtin_prefetch(next + V_TILE_R * l);
        UNROLL(8)
        for (int r = 0; r < V_TILE_R; r++) {
            const v_vec w = v_set(a[r][l]);
            UNROLL(4)
            for (int x = 0; x < nv; x++)
                sum[r * V_TILE_V + x] = v_fma(w, b[x], sum[r * V_TILE_V + x]);
        }
        row += nv * V_LANES;
    } while (++l < until);
}

/* V_TILE_R keys (fewer when n is: the last one stands in) by nv vectors of columns, one chain
 * over the lanes of all parts. What the next tile reads is asked for in passing. */
static inline __attribute__((always_inline)) void
K(spread_tile)(int64_t n, int64_t j, int parts, const attn__part *part, int64_t e, double *to,
               int64_t width, const int nv, const bool cut, const bool some)
{
    v_vec sum[V_TILE_R * V_TILE_V];
    real done[V_TILE_R * V_TILE_V * V_LANES];
    UNROLL(32)
    for (int a = 0; a < V_TILE_R * V_TILE_V; a++) sum[a] = v_set(0);
    for (int p = 0; p < parts; p++) {
        const real *a[V_TILE_R], *row = (const real *)part[p].laid + e * part[p].n;
        UNROLL(8)
        for (int r = 0; r < V_TILE_R; r++)
            a[r] = (const real *)part[p].a + part[p].ld * (r < n ? j + r : j + n - 1);
        for (int x = p * D_LINE; x < nv * V_LANES; x += parts * D_LINE) {
            UNROLL(8)
            for (int r = 0; r < V_TILE_R; r++) __builtin_prefetch(to + r * width + x, 1);
        }
        int64_t l = 0, until = part[p].n;
        if (some && part[p].lanes) K(spread_lanes)(n, &part[p], j, &l, &until);
        if (some && l >= until) continue;
        K(spread_part)(a, l, until, row, a[0] + V_TILE_R * part[p].ld, sum, nv);
    }
    UNROLL(8)
    for (int r = 0; r < V_TILE_R; r++) {
        UNROLL(4)
        for (int x = 0; x < nv; x++)
            v_store(done + (r * V_TILE_V + x) * V_LANES, sum[r * V_TILE_V + x]);
    }
    K(spread_join)(n, done, to, width, cut ? width - e : nv * V_LANES);
}

/* Column by column of tiles, so that the rows of one stay near while the keys go by. */
static inline __attribute__((always_inline)) void
K(spread_column)(int64_t n, int64_t width, int parts, const attn__part *part, int64_t e,
                 double *acc, const int nv, const bool cut, const bool some)
{
    for (int64_t j = 0; j < n; j += V_TILE_R) K(spread_tile)
    (n - j, j, parts, part, e, acc + j * width + e, width, nv, cut, some);
}

static __attribute__((noinline)) void K(spread_all)(int64_t n, int64_t width, int parts,
                                                    const attn__part *part, double *acc)
{
    for (int64_t e = 0; e < width;) {
        const int nv = K(spread_vectors)(width - e);
        if (e + V_LANES > width)
            K(spread_column)(n, width, parts, part, e, acc, 1, true, false);
        else if (nv == V_TILE_V)
            K(spread_column)(n, width, parts, part, e, acc, V_TILE_V, false, false);
        else if (nv == 2)
            K(spread_column)(n, width, parts, part, e, acc, 2, false, false);
        else
            K(spread_column)(n, width, parts, part, e, acc, 1, false, false);
        e += nv * V_LANES;
    }
}

/* With lanes left out a tile needs more registers: each kind of it is a function of its own. */
#define SPREAD_SOME(name, nv, cut)                                                             \
    static __attribute__((noinline)) void K(name)(                                             \
        int64_t n, int64_t width, int parts, const attn__part *part, int64_t e, double *acc)   \
    {                                                                                          \
        K(spread_column)(n, width, parts, part, e, acc, nv, cut, true);                        \
    }
SPREAD_SOME(spread_rest, 1, true)
SPREAD_SOME(spread_one, 1, false)
SPREAD_SOME(spread_two, 2, false)
SPREAD_SOME(spread_tiles, V_TILE_V, false)
#undef SPREAD_SOME

static void K(spread)(int64_t n, int64_t width, int parts, const attn__part *part, double *acc)
{
    static void (*const columns[])(int64_t, int64_t, int, const attn__part *, int64_t,
                                   double *) = {K(spread_rest), K(spread_one), K(spread_two),
                                                K(spread_tiles)};
    bool some = false;
    for (int p = 0; p < parts; p++) some = some || part[p].lanes || part[p].n == 0;
    if (!some) K(spread_all)(n, width, parts, part, acc);
    for (int64_t e = 0; some && e < width;) {
        const int nv = K(spread_vectors)(width - e);
        columns[e + V_LANES > width ? 0
                : nv == V_TILE_V    ? 3
                                    : nv](n, width, parts, part, e, acc);
        e += nv * V_LANES;
    }
}

/* Scores of forbidden pairs are anything, even memory that nobody wrote; their ds, 0, is kept
 * rather than multiplied, so that it is seen not to depend on them. */
static void K(bend)(int64_t n, int w, double cap, const void *capped, void *ds)
{
    const v_vec c = v_set((real)cap), one = v_set(1), zero = v_set(0);
    const real *s = capped;
    real *x = ds;
    for (int64_t i = 0; i < n * w; i += V_LANES) {
        const v_vec t = v_div(v_load(s + i), c), at = v_load(x + i);
        const v_vec bent = v_mul(at, v_max(v_sub(one, v_mul(t, t)), zero));
        v_store(x + i, v_select(v_lt(zero, v_abs(at)), bent, at));
    }
}

static void K(times)(int64_t n, int w, const void *slope, void *ds)
{
    const real *s = slope;
    real *x = ds;
    for (int64_t i = 0; i < n * w; i += V_LANES)
        v_store(x + i, v_mul(v_load(x + i), v_load(s + i)));
}

static void K(tilt)(int64_t n, int w, const void *p, void *ts, void *sum)
{
    const real *weight = p;
    real *x = ts, *total = sum;
    for (int l = 0; l < w; l += V_LANES) {
        v_vec part = v_set(0);
        for (int64_t j = 0; j < n; j++) {
            const v_vec at = v_load(weight + j * w + l);
            const v_vec term = v_mul(at, v_load(x + j * w + l));
            const v_vec y = v_select(v_sign(at), v_set(-(real)0), term);
            v_store(x + j * w + l, y);
            part = v_add(part, y);
        }
        v_store(total + l, v_add(v_load(total + l), part));
    }
}

/* One chain waits for itself, so a few run side by side. */
static inline __attribute__((always_inline)) void
K(dot_lanes)(int64_t n, int w, const real *x, const real *y, double *sum, const int vectors)
{
    const d_vec least = d_set(0x1p-1074); /* only 0 is less */
    d_vec total[DOT_VECTORS];
    UNROLL(4)
    for (int v = 0; v < vectors; v++) total[v] = d_set(0);
    for (int64_t i = 0; i < n; i++) {
        UNROLL(4)
        for (int v = 0; v < vectors; v++) {
            const d_vec by = d_load_real(y + i * w + v * D_LANES);
            const d_vec more = d_fma(d_load_real(x + i * w + v * D_LANES), by, total[v]);
            total[v] = d_select(d_lt(d_abs(by), least), total[v], more);
        }
    }
    UNROLL(4)
    for (int v = 0; v < vectors; v++) d_store(sum + v * D_LANES, total[v]);
}

static void K(dot)(int64_t n, int w, const void *a, const void *b, double *sum)
{
    enum { WIDE = DOT_VECTORS * D_LANES };
    const real *x = a, *y = b;
    int l = 0;
    for (; l + WIDE <= w; l += WIDE) K(dot_lanes)(n, w, x + l, y + l, sum + l, DOT_VECTORS);
    for (; l < w; l += D_LANES) K(dot_lanes)(n, w, x + l, y + l, sum + l, 1);
}

static void K(gather)(int64_t n, bool fresh, const void *x, double *sum)
{
    const real *y = x;
    int64_t i = 0;
    for (; i + D_LANES <= n; i += D_LANES) {
        const d_vec term = d_load_real(y + i);
        d_store(sum + i, fresh ? term : d_add(d_load(sum + i), term));
    }
    for (; i < n; i++) sum[i] = fresh ? (double)y[i] : sum[i] + (double)y[i];
}

static void K(settle)(int64_t n, const double *sum, double factor, void *x)
{
    const v_vec quiet = v_set((real)NAN), zero = v_set(0);
    real *y = x;
    double factors[V_LANES];
    int64_t i = 0;
    for (int l = 0; l < V_LANES; l++) factors[l] = factor;
    for (; i + V_LANES <= n; i += V_LANES) {
        const v_vec value = v_mul_wide(sum + i, factors);
        v_store(y + i, v_add(v_select(v_nan(value), quiet, value), zero));
    }
    for (; i < n; i++) {
        const real value = (real)(sum[i] * factor);
        y[i] = value == value ? value + 0 : (real)NAN;
    }
}

static void K(tidy)(int64_t n, void *x)
{
    const v_vec quiet = v_set((real)NAN), zero = v_set(0);
    real *y = x;
    int64_t i = 0;
    for (; i + V_LANES <= n; i += V_LANES) {
        const v_vec a = v_load(y + i);
        v_store(y + i, v_add(v_select(v_nan(a), quiet, a), zero));
    }
    for (; i < n; i++) y[i] = y[i] == y[i] ? y[i] + 0 : (real)NAN;
}

/* 0 times a finite number is 0, times anything else NaN. Four sums run side by side. */
static bool K(finite)(int64_t n, const void *x)
{
    const real *y = x;
    const v_vec zero = v_set(0);
    v_vec sum[4] = {zero, zero, zero, zero};
    real lanes[V_LANES];
    bool all = true;
    int64_t i = 0;
    for (; i + 4 * V_LANES <= n; i += 4 * V_LANES) {
        UNROLL(4)
        for (int s = 0; s < 4; s++) sum[s] = v_fma(v_load(y + i + s * V_LANES), zero, sum[s]);
    }
    for (; i + V_LANES <= n; i += V_LANES) sum[0] = v_fma(v_load(y + i), zero, sum[0]);
    if (i < n) sum[1] = v_fma(v_load_n(y + i, n - i), zero, sum[1]);
    v_store(lanes, v_add(v_add(sum[0], sum[1]), v_add(sum[2], sum[3])));
    for (int l = 0; l < V_LANES; l++) all = all & (lanes[l] == 0);
    return all;
}

#endif
