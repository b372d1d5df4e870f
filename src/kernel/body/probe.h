/* SPDX-License-Identifier: MIT
 * What the machine can do at most, with the instructions of this table: multiply-adds that wait
 * for nothing, and reading that adds up what it reads. attn_probe_fma and attn_probe_read call
 * them; speeds are told as fractions of theirs. */
#ifndef ATTN__BODY_PROBE_H
#define ATTN__BODY_PROBE_H

static double K(probe)(int64_t n, double *sink)
{
    v_vec acc[24], x = v_set((real)1.0000001), y = v_set((real)1e-9);
    real last[V_LANES];
    UNROLL(24)
    for (int i = 0; i < 24; i++) acc[i] = v_set((real)i);
    for (int64_t r = 0; r < n; r++) {
        UNROLL(24)
        for (int i = 0; i < (V_LANES > 8 || REAL_BITS == 64 ? 24 : 12); i++)
            acc[i] = v_fma(acc[i], x, y);
    }
    UNROLL(24)
    for (int i = 1; i < 24; i++) acc[0] = v_add(acc[0], acc[i]);
    v_store(last, acc[0]);
    *sink = (double)last[0];
    return (double)n * (V_LANES > 8 || REAL_BITS == 64 ? 24 : 12) * 2.0 * V_LANES;
}

enum { PROBE_VECTORS = 8 };

/* As many chains as additions are in flight. A line is prefetched once. */
static inline __attribute__((always_inline)) void
K(probe_block)(const real *x, int64_t ahead, v_vec acc[PROBE_VECTORS], const bool fetch)
{
    const int line = V_LANES * (int)sizeof(real) < 64 ? 64 / (int)sizeof(real) : V_LANES;
    UNROLL(8)
    for (int i = 0; i < PROBE_VECTORS; i++) {
        if (fetch && i * V_LANES % line == 0)
            __builtin_prefetch((const char *)(x + i * V_LANES) + ahead);
        acc[i] = v_add(acc[i], v_load(x + i * V_LANES));
    }
}

static inline __attribute__((always_inline)) void K(probe_streams)(int64_t n, const real *x,
                                                                   int streams, int64_t ahead,
                                                                   v_vec acc[PROBE_VECTORS],
                                                                   const bool fetch)
{
    const int64_t block = PROBE_VECTORS * V_LANES, each = n / streams / block * block;
    for (int64_t i = 0; i < each; i += block)
        for (int s = 0; s < streams; s++) K(probe_block)(x + s * each + i, ahead, acc, fetch);
    for (int64_t i = each * streams; i < n; i += V_LANES)
        acc[0] = v_add(acc[0], v_load_n(x + i, n - i));
}

static void K(probe_read)(int64_t n, const void *x, int streams, int64_t ahead, double *sink)
{
    v_vec acc[PROBE_VECTORS];
    real last[V_LANES];
    UNROLL(8)
    for (int i = 0; i < PROBE_VECTORS; i++) acc[i] = v_set(0);
    if (ahead > 0)
        K(probe_streams)(n, x, streams, ahead, acc, true);
    else
        K(probe_streams)(n, x, streams, ahead, acc, false);
    UNROLL(8)
    for (int i = 1; i < PROBE_VECTORS; i++) acc[0] = v_add(acc[0], acc[i]);
    v_store(last, acc[0]);
    *sink = 0;
    for (int i = 0; i < V_LANES; i++) *sink += (double)last[i];
}

#endif
