/* SPDX-License-Identifier: MIT
 * The two products of attention, both as tiles of V_TILE_R rows by up to V_TILE_V vectors of
 * queries held in registers: scores = K q and acc += V^T p. Keys and values are read where they
 * lie, one number broadcast at a time, so nothing is packed and nothing is summed across lanes.
 */
#ifndef ATTN__BODY_MATMUL_H
#define ATTN__BODY_MATMUL_H

enum { LINE = ATTN__LINE / sizeof(real) }; /* reals in a cache line */

/* blocks times V_TILE_R keys (fewer when n is and the tile not whole: the last one stands in for
 * the missing ones and is not stored) by nv vectors. The largest joins top, unless that is NULL,
 * while it is in registers. */
static inline __attribute__((always_inline)) void
K(scores_tile)(int64_t n, int64_t depth, const real *k, int64_t k_stride, const real *q, int ld,
               real *s, const int nv, const int blocks, real *top, const bool whole)
{
    const int64_t block = V_TILE_R * k_stride;
    const int keys = blocks * V_TILE_R;
    const real *row[V_TILE_R];
    v_vec acc[V_TILE_R * V_TILE_V];
    UNROLL(8)
    for (int r = 0; r < V_TILE_R; r++) row[r] = k + k_stride * (whole || r < n ? r : n - 1);
    UNROLL(32)
    for (int a = 0; a < keys * nv; a++) acc[a] = v_set(0);
    for (int64_t d = 0; d < depth; d++, q += ld) {
        v_vec x[V_TILE_V];
        if (d % LINE == 0) { /* the next tile: more streams than the hardware follows */
            UNROLL(8)
            for (int r = 0; r < V_TILE_R; r++) __builtin_prefetch(row[r] + block + d);
        }
        UNROLL(4)
        for (int v = 0; v < nv; v++) x[v] = v_load(q + v * V_LANES);
        UNROLL(16)
        for (int r = 0; r < keys; r++) {
            v_vec b = v_set(row[r % V_TILE_R][r / V_TILE_R * block + d]);
            UNROLL(4)
            for (int v = 0; v < nv; v++) acc[r * nv + v] = v_fma(x[v], b, acc[r * nv + v]);
        }
    }
    UNROLL(16)
    for (int r = 0; r < keys; r++) {
        if (!whole && r >= n) break;
        UNROLL(4)
        for (int v = 0; v < nv; v++) v_store(s + r * ld + v * V_LANES, acc[r * nv + v]);
    }
    if (!top) return;
    UNROLL(4)
    for (int v = 0; v < nv; v++) {
        v_vec most = v_load(top + v * V_LANES);
        UNROLL(16)
        for (int r = 0; r < keys; r++) most = v_max(acc[r * nv + v], most);
        v_store(top + v * V_LANES, most);
    }
}

/* A row of tiles: at most V_TILE_R of n keys, all w lanes. */
static inline __attribute__((always_inline)) void K(scores_row)(int64_t n, int w, int64_t depth,
                                                                const real *k, int64_t k_stride,
                                                                const real *q, int ld, real *s,
                                                                real *top)
{
    enum { WIDE = V_TILE_V * V_LANES, PAIR = 2 * V_LANES };
    const bool whole = V_TILE_R <= n;
    int l = 0;
    for (; l + WIDE <= w && whole; l += WIDE) K(scores_tile)
    (n, depth, k, k_stride, q + l, ld, s + l, V_TILE_V, 1, top ? top + l : NULL, true);
    for (; l + WIDE <= w; l += WIDE) K(scores_tile)
    (n, depth, k, k_stride, q + l, ld, s + l, V_TILE_V, 1, top ? top + l : NULL, false);
    for (; l + PAIR <= w; l += PAIR) K(scores_tile)
    (n, depth, k, k_stride, q + l, ld, s + l, 2, 1, top ? top + l : NULL, false);
    if (l < w) K(scores_tile)
    (n, depth, k, k_stride, q + l, ld, s + l, 1, 1, top ? top + l : NULL, false);
}

/* The same for n keys, from key first of those that soon counts. One vector of lanes takes two
 * blocks of keys, because the chains of one hardly fill the units. */
static inline __attribute__((always_inline)) void
K(scores_rows)(int64_t n, int w, int64_t depth, const real *k, int64_t k_stride, const real *q,
               int ld, real *s, real *top, const attn__soon *soon, int64_t first)
{
    enum { BOTH = 2 * V_TILE_R };
    _Static_assert(V_TILE_V > 1, "registers for two blocks");
    for (; w == V_LANES && n >= BOTH; n -= BOTH, first += BOTH) {
        if (soon)
            attn__soon_ask(soon, first, first + BOTH); /* between tiles registers are free */
        K(scores_tile)(n, depth, k, k_stride, q, ld, s, 1, 2, top, true);
        k += BOTH * k_stride, s += BOTH * ld;
    }
    for (; n > 0; n -= V_TILE_R, first += V_TILE_R) {
        if (soon) attn__soon_ask(soon, first, first + V_TILE_R);
        K(scores_row)(n, w, depth, k, k_stride, q, ld, s, top);
        k += V_TILE_R * k_stride, s += V_TILE_R * ld;
    }
}

/* Cut where lanes drop out, behind the tile in which they stop, and where open keys begin and
 * end. */
static inline __attribute__((always_inline)) void
K(scores_all)(const int64_t *stop, int w, int64_t depth, const real *k, int64_t k_stride,
              const real *q, int ld, real *s, const int64_t *open, real *m,
              const attn__soon *soon)
{
    const int64_t n = stop[(w - 1) / ATTN__SLICE];
    int l = 0;
    for (int64_t j = 0, end; j < n; j = end) {
        while (stop[l / ATTN__SLICE] <= j) l += ATTN__SLICE;
        real *top = m && j >= open[0] && j < open[1] ? m + l : NULL;
        end = j + (stop[l / ATTN__SLICE] - j + V_TILE_R - 1) / V_TILE_R * V_TILE_R;
        if (m && j < open[1]) end = attn__min(end, j < open[0] ? open[0] : open[1]);
        end = attn__min(end, n);
        K(scores_rows)
        (end - j, w - l, depth, k + j * k_stride, k_stride, q + l, ld, s + j * ld + l, top,
         soon, j);
    }
}

static void K(scores)(int64_t n, int w, int64_t depth, const void *k, int64_t k_stride,
                      const void *q, int ld, void *s)
{
    const int64_t stop[] = {n, n, n};
    _Static_assert(sizeof stop / sizeof *stop == ATTN__SLICES, "one for each slice");
    K(scores_all)(stop, w, depth, k, k_stride, q, ld, s, stop, NULL, NULL);
}

static void K(scores_max)(const int64_t *stop, int w, int64_t depth, const void *k,
                          int64_t k_stride, const void *q, int ld, void *s, const int64_t *open,
                          void *m, const attn__soon *soon)
{
    K(scores_all)(stop, w, depth, k, k_stride, q, ld, s, open, m, soon);
}

/* Keys j .. n of nr columns of v by the vectors from first on, of which the first `marked` may
 * hold weights of -0; returns n, or j when that is more. fetch: the numbers of v that lie that far
 * on are asked for in passing. */
static inline __attribute__((always_inline)) int64_t
K(weigh_keys)(int64_t j, int64_t n, const real *p, int ld, const real *v, int64_t v_stride,
              v_vec *sum, const int nr, const int first, const int nv, const int marked,
              int64_t fetch)
{
    const real *row = v + j * v_stride;
    p += j * ld;
    for (; j < n; j++, p += ld, row += v_stride) {
        v_vec w[V_TILE_V];
        if (fetch) __builtin_prefetch(row + fetch);
        UNROLL(4)
        for (int x = first; x < nv; x++) w[x] = v_load(p + x * V_LANES);
        UNROLL(8)
        for (int r = 0; r < nr; r++) {
            v_vec b = v_set(row[r]);
            UNROLL(4)
            for (int x = first; x < nv; x++) {
                v_vec *to = &sum[r * V_TILE_V + x];
                *to = x < first + marked ? v_fma_unmarked(w[x], b, *to) : v_fma(w[x], b, *to);
            }
        }
    }
    return j;
}

/* Which weights may be -0: none, those of the first slice that is not yet over its keys, any. */
enum { MARKS_NONE, MARKS_STAIRS, MARKS_ANY };

/* nr columns of v by nv vectors, each over its own keys [0, stop): chains from 0, added to acc
 * at the end (to 0 when it is fresh). Under stairs the first `clean` keys have no marks at all. */
static inline __attribute__((always_inline)) void
K(weigh_tile)(const int64_t *stop, int64_t clean, const real *p, int ld, const real *v,
              int64_t v_stride, real *acc, const int nr, const int nv, const int marks,
              bool fresh, int64_t fetch)
{
    enum { NEAR = ATTN__SLICE / V_LANES };
    const int marked = marks == MARKS_ANY ? V_TILE_V : marks == MARKS_STAIRS ? NEAR : 0;
    v_vec sum[V_TILE_R * V_TILE_V];
    int64_t j = 0;
    UNROLL(32)
    for (int a = 0; a < V_TILE_R * V_TILE_V; a++) sum[a] = v_set(0);
    _Static_assert(V_TILE_V <= 4, "a call for each");
    if (marks == MARKS_STAIRS)
        j = K(weigh_keys)(j, clean, p, ld, v, v_stride, sum, nr, 0, nv, 0, fetch);
    j = K(weigh_keys)(j, stop[0], p, ld, v, v_stride, sum, nr, 0, nv, marked, fetch);
    if (nv > 1) /* not a loop: not every compiler would know the registers by their index */
        j = K(weigh_keys)(j, stop[1], p, ld, v, v_stride, sum, nr, 1, nv, marked, fetch);
    if (nv > 2)
        j = K(weigh_keys)(j, stop[2], p, ld, v, v_stride, sum, nr, 2, nv, marked, fetch);
    if (nv > 3) K(weigh_keys)(j, stop[3], p, ld, v, v_stride, sum, nr, 3, nv, marked, fetch);
    UNROLL(8)
    for (int r = 0; r < nr; r++) {
        UNROLL(4)
        for (int x = 0; x < nv; x++) {
            real *at = acc + r * ld + x * V_LANES;
            v_vec before = fresh ? v_set(0) : v_load(at);
            v_store(at, v_add(before, sum[r * V_TILE_V + x]));
        }
    }
}

/* The first pass asks for rows, those that follow for lines. */
static inline __attribute__((always_inline)) void
K(weigh_columns)(const int64_t *stop, int64_t clean, int64_t width, const real *p, int ld,
                 const real *v, int64_t v_stride, real *acc, const int nv, const int marks,
                 bool fresh, const attn__soon *soon)
{
    const int64_t ahead = V_TILE_R * v_stride;
    int64_t e = 0;
    for (; e + V_TILE_R <= width; e += V_TILE_R) {
        const int64_t next = e / LINE * LINE + LINE;
        const int64_t fetch = e == 0                                    ? ahead
                              : e + 2 * V_TILE_R > next && next < width ? next - e
                                                                        : 0;
        if (soon)
            attn__soon_ask(soon, soon->rows * e / width, soon->rows * (e + V_TILE_R) / width);
        K(weigh_tile)
        (stop, clean, p, ld, v + e, v_stride, acc + e * ld, V_TILE_R, nv, marks, fresh, fetch);
    }
    for (; e + 2 <= width; e += 2) K(weigh_tile)
    (stop, clean, p, ld, v + e, v_stride, acc + e * ld, 2, nv, marks, fresh, 0);
    if (e < width) K(weigh_tile)
    (stop, clean, p, ld, v + e, v_stride, acc + e * ld, 1, nv, marks, fresh, 0);
}

static inline __attribute__((always_inline)) void
K(weigh_all)(const int64_t *stop, const int64_t *clean, int w, int64_t width, const real *p,
             int ld, const real *v, int64_t v_stride, real *acc, const int marks, bool fresh,
             const attn__soon *soon)
{
    int64_t until[V_TILE_V];
    int l = 0;
    for (; l + V_TILE_V * V_LANES <= w; l += V_TILE_V * V_LANES) {
        for (int x = 0; x < V_TILE_V; x++) until[x] = stop[(l + x * V_LANES) / ATTN__SLICE];
        K(weigh_columns)
        (until, clean[l / ATTN__SLICE], width, p + l, ld, v, v_stride, acc + l, V_TILE_V, marks,
         fresh, l ? NULL : soon);
    }
    for (; l + 2 * V_LANES <= w; l += 2 * V_LANES) {
        for (int x = 0; x < 2; x++) until[x] = stop[(l + x * V_LANES) / ATTN__SLICE];
        K(weigh_columns)
        (until, clean[l / ATTN__SLICE], width, p + l, ld, v, v_stride, acc + l, 2, marks, fresh,
         l ? NULL : soon);
    }
    if (l < w) K(weigh_columns)
    (stop + l / ATTN__SLICE, clean[l / ATTN__SLICE], width, p + l, ld, v, v_stride, acc + l, 1,
     marks, fresh, l ? NULL : soon);
}

/* Under stairs the slices in front are over their keys where the next one has marks. */
static void K(weigh_steps)(const int64_t *stop, const int64_t *clean, int w, int64_t width,
                           const void *p, int ld, const void *v, int64_t v_stride, bool fresh,
                           void *acc, const attn__soon *soon)
{
    bool none = true, stairs = true;
    for (int x = 0; x <= (w - 1) / ATTN__SLICE; x++) {
        none = none && clean[x] >= stop[x];
        stairs = stairs && (x == 0 || clean[x] >= stop[x - 1]);
    }
    if (none)
        K(weigh_all)(stop, clean, w, width, p, ld, v, v_stride, acc, MARKS_NONE, fresh, soon);
    else if (stairs)
        K(weigh_all)(stop, clean, w, width, p, ld, v, v_stride, acc, MARKS_STAIRS, fresh, soon);
    else
        K(weigh_all)(stop, clean, w, width, p, ld, v, v_stride, acc, MARKS_ANY, fresh, soon);
}

static void K(weigh)(int64_t n, int w, int64_t width, const void *p, int ld, const void *v,
                     int64_t v_stride, bool masked, bool fresh, void *acc)
{
    const int64_t stop[] = {n, n, n}, none[] = {0, 0, 0};
    _Static_assert(sizeof stop / sizeof *stop == ATTN__SLICES, "one for each slice");
    K(weigh_steps)(stop, masked ? none : stop, w, width, p, ld, v, v_stride, fresh, acc, NULL);
}

#endif
