/* SPDX-License-Identifier: MIT
 * The product of matrices, C += A B, for one block of depth: tiles of V_TILE_R rows of A by
 * V_TILE_V vectors of columns of B stand in registers. A lane is a column of C; elements of A
 * are broadcast from where they lie, so A may have any strides, while columns of B and C lie
 * side by side. A tile at the edge reads its last row again for those it lacks, and neither
 * loads nor stores the columns it lacks. Who calls it: src/tape/matmul_run.c. */
#ifndef ATTN__BODY_GEMM_H
#define ATTN__BODY_GEMM_H

static inline __attribute__((always_inline)) v_vec K(gemm_sum)(v_vec old, v_vec sum)
{
    const v_vec y = v_add(old, sum);
    return v_select(v_nan(y), v_set((real)NAN), y);
}

/* Sums of a tile, nv vectors a row, to the m rows and n columns of c that exist. */
static __attribute__((noinline)) void K(gemm_edge)(const attn__gemm *g, const real *sum, int nv,
                                                   int64_t m, int64_t n, real *c)
{
    for (int64_t r = 0; r < m; r++, c += g->c_row, sum += nv * V_LANES)
        for (int64_t j = 0; j < n; j += V_LANES) {
            const v_vec old = g->fresh ? v_set(0) : v_load_n(c + j, n - j);
            v_store_n(c + j, K(gemm_sum)(old, v_load(sum + j)), n - j);
        }
}

/* Every row and column of the tile exists. */
static inline __attribute__((always_inline)) void K(gemm_whole)(const attn__gemm *g,
                                                                const v_vec *sum, real *c)
{
    const int64_t c_row = g->c_row;
    const bool fresh = g->fresh;
    UNROLL(8)
    for (int r = 0; r < V_TILE_R; r++, c += c_row) {
        UNROLL(4)
        for (int v = 0; v < V_TILE_V; v++) {
            const v_vec old = fresh ? v_set(0) : v_load(c + v * V_LANES);
            v_store(c + v * V_LANES, K(gemm_sum)(old, sum[r * V_TILE_V + v]));
        }
    }
}

/* One tile: m of nr rows, n columns in nv vectors, the last of which is full if whole. Rows of
 * c are asked for before the sums, because they are needed right after them. */
static inline __attribute__((always_inline)) void
K(gemm_tile)(const attn__gemm *g, const real *a, const real *b, real *c, int64_t m, int64_t n,
             const int nr, const int nv, const bool whole)
{
    const real *row[V_TILE_R];
    v_vec sum[V_TILE_R * V_TILE_V];
    const int64_t cut = n - (nv - 1) * V_LANES, depth = g->depth;
    const int64_t a_step = g->a_step, b_row = g->b_row;
    UNROLL(8)
    for (int r = 0; r < nr; r++) row[r] = a + (r < m ? r : m - 1) * g->a_row;
    UNROLL(32)
    for (int x = 0; x < nr * nv; x++) sum[x] = v_set(0);
    for (int64_t r = 0; r < m && r < nr; r++)
        for (int v = 0; v < nv; v++) __builtin_prefetch(c + r * g->c_row + v * V_LANES, 1);
    for (int64_t k = 0, at = 0; k < depth; k++, at += a_step, b += b_row) {
        v_vec y[V_TILE_V];
        UNROLL(4)
        for (int v = 0; v < nv; v++)
            y[v] =
                whole || v < nv - 1 ? v_load(b + v * V_LANES) : v_load_n(b + v * V_LANES, cut);
        UNROLL(8)
        for (int r = 0; r < nr; r++) {
            const v_vec x = v_set(row[r][at]);
            UNROLL(4)
            for (int v = 0; v < nv; v++) sum[r * nv + v] = v_fma(x, y[v], sum[r * nv + v]);
        }
    }
    if (whole && nr == V_TILE_R && m >= nr) {
        K(gemm_whole)(g, sum, c);
        return;
    }
    real edge[V_TILE_R * V_TILE_V * V_LANES];
    UNROLL(32)
    for (int x = 0; x < nr * nv; x++) v_store(edge + x * V_LANES, sum[x]);
    K(gemm_edge)(g, edge, nv, m < nr ? m : nr, whole ? nv * V_LANES : n, c);
}

/* A tile of nr rows, by the number of vectors its columns need. */
static inline __attribute__((always_inline)) void K(gemm_strip)(const attn__gemm *g,
                                                                const real *a, const real *b,
                                                                real *c, int64_t m, int64_t n,
                                                                const int nr)
{
    const int64_t vectors = (n + V_LANES - 1) / V_LANES;
    if (n >= V_TILE_V * V_LANES)
        K(gemm_tile)(g, a, b, c, m, n, nr, V_TILE_V, true);
    else if (V_TILE_V > 3 && vectors > 3)
        K(gemm_tile)(g, a, b, c, m, n, nr, V_TILE_V > 3 ? 4 : 1, false);
    else if (V_TILE_V > 2 && vectors > 2)
        K(gemm_tile)(g, a, b, c, m, n, nr, V_TILE_V > 2 ? 3 : 1, false);
    else if (vectors > 1)
        K(gemm_tile)(g, a, b, c, m, n, nr, 2, false);
    else
        K(gemm_tile)(g, a, b, c, m, n, nr, 1, false);
}

/* Columns outside: a panel of B stays near while all rows of A pass. */
static void K(gemm)(const attn__gemm *g)
{
    enum { WIDE = V_TILE_V * V_LANES };
    const real *b = g->b;
    for (int64_t j = 0; j < g->n; j += WIDE, b += g->b_panel) {
        const real *a = g->a;
        real *c = (real *)g->c + j;
        int64_t left = g->m;
        for (; left > V_TILE_R / 2; left -= V_TILE_R) {
            K(gemm_strip)(g, a, b, c, left, g->n - j, V_TILE_R);
            a += V_TILE_R * g->a_row;
            c += V_TILE_R * g->c_row;
        }
        if (left > 1)
            K(gemm_strip)(g, a, b, c, left, g->n - j, V_TILE_R / 2);
        else if (left == 1)
            K(gemm_strip)(g, a, b, c, 1, g->n - j, 1);
    }
}

#endif
