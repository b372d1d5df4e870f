/* SPDX-License-Identifier: MIT
 * The half mode: rows of floats become 16-bit integers, and what their factors follow from. A
 * number x becomes n = fma(x, f, M) - M; n stands in the low bits of the sum. */
#ifndef ATTN__BODY_HALF_ROW_H
#define ATTN__BODY_HALF_ROW_H

/* The largest of positive floats as integers: in their order a NaN is the largest of all. */
static void K(half_sizes)(int64_t n, int w, const void *t, float *most, float *square)
{
    for (int l = 0; l < w; l += V_LANES) {
        const real *x = (const real *)t + l;
        i_vec top = i_zero();
        v_vec sum = v_set(0);
        for (int64_t d = 0; d < n; d++) {
            const v_vec y = v_load(x + d * w);
            top = i_max(top, i_bits(v_abs(y)));
            sum = v_fma(y, y, sum);
        }
        v_store(most + l, i_floats(top));
        v_store(square + l, sum);
    }
}

/* Rows as they lie: the largest is the same in any order. */
static void K(half_most)(int64_t n, int64_t width, const void *rows, int64_t stride,
                         float *most)
{
    for (int64_t j = 0; j < n; j++) {
        const real *x = (const real *)rows + j * stride;
        i_vec top = i_zero();
        for (int64_t e = 0; e < width; e += V_LANES)
            top = i_max(top, i_bits(v_abs(v_load_n(x + e, width - e))));
        most[j] = i_largest(top);
    }
}

static inline v_vec K(half_whole)(v_vec x, v_vec factor)
{
    return v_fma(x, factor, v_set(REAL_MAGIC));
}

static void K(half_queries)(int64_t depth, int w, const void *t, const float *factor,
                            int16_t *pairs)
{
    const real *x = t;
    for (int l = 0; l < w; l += V_LANES) {
        const v_vec f = v_load(factor + l);
        for (int64_t d = 0; d < depth; d += 2) {
            v_vec low = K(half_whole)(v_load(x + d * w + l), f);
            v_vec high = v_set(0);
            if (d + 1 < depth) high = K(half_whole)(v_load(x + (d + 1) * w + l), f);
            i_store(pairs + d * w + 2 * l, i_pairs(low, high));
        }
    }
}

static void K(half_keys)(int64_t n, int64_t depth, const void *k, int64_t k_stride,
                         const float *factor, int16_t *rows)
{
    const int64_t width = depth + depth % 2;
    for (int64_t j = 0; j < n; j++, rows += width) {
        const real *x = (const real *)k + j * k_stride;
        const v_vec f = v_set(factor[j]);
        for (int64_t d = 0; d < depth; d += V_LANES)
            i_store_narrow(rows + d, K(half_whole)(v_load_n(x + d, depth - d), f), width - d);
    }
}

/* Pairs of columns e .. e + V_LANES; left: columns from e on; at: the first group's pair. */
static inline void K(half_spread)(i_vec x, int64_t left, int64_t pair, int16_t *group)
{
    enum { PAIRS = ATTN__HALF_BLOCK / 2, GROUP = ATTN__HALF_GROUP };
    for (int part = 0; part < V_LANES && part < left; part += GROUP) {
        const int64_t n = left - part < GROUP ? left - part : GROUP;
        i_store_n(group + 2 * (part * PAIRS + pair * n), x, n);
        x = i_upper(x);
    }
}

static void K(half_values)(int64_t first, int64_t n, int64_t width, const void *v,
                           int64_t v_stride, const float *factor, int16_t *block)
{
    for (int64_t e = 0; e < width; e += V_LANES)
        for (int64_t j = 0; j < n; j += 2) {
            const bool both = j + 1 < n;
            const real *x = (const real *)v + j * v_stride + e;
            const v_vec f = v_set(factor[j]), g = v_set(both ? factor[j + 1] : 0);
            v_vec low = K(half_whole)(v_load_n(x, width - e), f), high = v_set(0);
            if (both) high = K(half_whole)(v_load_n(x + v_stride, width - e), g);
            K(half_spread)
            (i_pairs(low, high), width - e, (first + j) / 2, block + e * ATTN__HALF_BLOCK);
        }
}

#endif
