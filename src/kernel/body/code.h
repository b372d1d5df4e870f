/* SPDX-License-Identifier: MIT
 * Rows on their way into a cache of whole numbers (docs/numerics.md, section 18): how far a row
 * reaches, and q = (x - zero) / scale to the nearest whole number. Each number is one operation
 * after the other, in f32 whatever the reals; the loops over a piece are plain, and compilers
 * make vectors of them. Called by the engine for each row of an append. */
#ifndef ATTN__BODY_CODE_H
#define ATTN__BODY_CODE_H

#if REAL_BITS == 32
enum { CODE_PIECE = 64 };

static bool K(extent)(int64_t n, const float *x, float *low, float *high)
{
    v_vec least = v_set(x[0]), most = least, bad = v_sub(least, least);
    int64_t d = 0;
    for (; d + V_LANES <= n; d += V_LANES) {
        const v_vec v = v_load(x + d);
        least = v_min(least, v);
        most = v_max(most, v);
        bad = v_add(bad, v_sub(v, v)); /* 0, or NaN of an inf or a NaN */
    }
    float l[V_LANES], m[V_LANES], b[V_LANES], sum = 0;
    v_store(l, least);
    v_store(m, most);
    v_store(b, bad);
    *low = l[0];
    *high = m[0];
    for (int i = 0; i < V_LANES; i++) {
        *low = l[i] < *low ? l[i] : *low;
        *high = m[i] > *high ? m[i] : *high;
        sum += b[i];
    }
    for (; d < n; d++) {
        *low = x[d] < *low ? x[d] : *low;
        *high = x[d] > *high ? x[d] : *high;
        sum += x[d] - x[d];
    }
    return sum == 0;
}

/* One piece. near: no q can stand for an infinity. */
static inline __attribute__((always_inline)) void
K(code_piece)(const attn__coding *c, int64_t n, const float *restrict x,
              const float *restrict scale, const float *restrict zero, float *restrict q,
              bool near)
{
    const float low = c->low, high = c->high;
    for (int64_t d = 0; d < n; d++) {
        float t = (x[d] - zero[d]) / scale[d];
        t = t >= low ? t : low;
        t = t <= high ? t : high;
        t = (t + 0x1.8p23f) - 0x1.8p23f;
        if (!near) {
            const float closer = t - (t > 0 ? 1.0f : -1.0f);
            t = __builtin_fabsf(__builtin_fmaf(t, scale[d], zero[d])) <= REAL_MAX ? t : closer;
        }
        q[d] = t;
    }
}

static void K(code_bytes)(int64_t n, const float *restrict q, int8_t *restrict dst)
{
    for (int64_t d = 0; d < n; d++) dst[d] = (int8_t)(int)q[d];
}

/* Two to a byte; q[n] is 0 where n is odd. */
static void K(code_halves)(int64_t n, const float *restrict q, uint8_t *restrict dst)
{
    for (int64_t d = 0; 2 * d < n; d++)
        dst[d] = (uint8_t)(((int)q[2 * d] & 15) | ((int)q[2 * d + 1] & 15) * 16);
}

static void K(code)(const attn__coding *c, int64_t n, const float *x, void *dst)
{
    float scales[CODE_PIECE], zeros[CODE_PIECE], q[CODE_PIECE + 1];
    const float scale0 = c->columns ? 1.0f : c->scale[0];
    const float zero0 = !c->columns && c->zero ? c->zero[0] : 0.0f;
    /* of columns any may be large */
    const bool near = !c->columns && 256 * scale0 + __builtin_fabsf(zero0) < 0x1p126f;
    const bool offsets = c->columns && c->zero;
    for (int i = 0; i < CODE_PIECE; i++) scales[i] = scale0;
    for (int i = 0; i < CODE_PIECE; i++) zeros[i] = zero0;
    for (int64_t d = 0; d < n; d += CODE_PIECE) {
        const int64_t m = n - d < CODE_PIECE ? n - d : CODE_PIECE;
        const float *scale = c->columns ? c->scale + d : scales;
        const float *zero = offsets ? c->zero + d : zeros;
        if (near)
            K(code_piece)(c, m, x + d, scale, zero, q, true);
        else
            K(code_piece)(c, m, x + d, scale, zero, q, false);
        q[m] = 0;
        if (c->bits == 8)
            K(code_bytes)(m, q, (int8_t *)dst + d);
        else
            K(code_halves)(m, q, (uint8_t *)dst + d / 2);
    }
}
#    define K_CODE(what) K(what)
#else
#    define K_CODE(what) NULL
#endif

#endif
