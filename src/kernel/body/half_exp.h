/* SPDX-License-Identifier: MIT
 * The half mode: weights of scores, by a power of two that is as exact as their products are,
 * and on the way what decides how they are rounded: the sum and the largest of weight times unit. */
#ifndef ATTN__BODY_HALF_EXP_H
#define ATTN__BODY_HALF_EXP_H

enum { HALF_CHAINS = 4 }; /* keys side by side, and sums */

/* 2^f = 1 + f P(f) on |f| <= 1/2, P the minimax polynomial of the relative error: 2.9e-6. */
enum { HALF_TERMS = 4 };
static const real half_c[HALF_TERMS] = {0x1.62e12cp-1f, 0x1.ec0378p-3f, 0x1.c9fc46p-5f,
                                        0x1.3a02ccp-7f};

/* Four powers of two side by side, as v_exp2 of exp2.h makes them. */
static inline __attribute__((always_inline)) void K(half_exp2)(v_vec *x)
{
    v_vec n[HALF_CHAINS], f[HALF_CHAINS], p[HALF_CHAINS];
#pragma GCC unroll 4
    for (int i = 0; i < HALF_CHAINS; i++) {
        n[i] = v_round(x[i]);
        f[i] = v_sub(x[i], n[i]);
        p[i] = v_set(half_c[HALF_TERMS - 1]);
    }
#pragma GCC unroll 3
    for (int term = HALF_TERMS - 2; term >= 0; term--)
#pragma GCC unroll 4
        for (int i = 0; i < HALF_CHAINS; i++) p[i] = v_fma(p[i], f[i], v_set(half_c[term]));
#pragma GCC unroll 4
    for (int i = 0; i < HALF_CHAINS; i++)
        x[i] = v_scale2_from(v_fma(p[i], f[i], v_set(1)), n[i], x[i], v_set(REAL_LOWEST2));
}

/* Keys of a block that one call makes weights of. */
typedef struct half_span {
    int first, end, w;
    const uint64_t *allowed; /* of key first; NULL: all */
    const float *unit;       /* of key 0 */
    real *s;                 /* of key first */
} half_span;

/* Where the sums of one vector of lanes are, behind those of x_j: of weights, the largest x_j. */
enum { HALF_TOTAL = HALF_CHAINS, HALF_MOST, HALF_SUMS };

/* Four keys from a multiple of four on. inside: all of them are in the span. */
static inline __attribute__((always_inline)) void
K(half_exp_keys)(const half_span *b, int j, int lane, v_vec top, v_vec coef, v_vec *sums,
                 const bool inside, const bool masked)
{
    v_vec p[HALF_CHAINS];
    real *s = b->s + (j - b->first) * b->w + lane;
#pragma GCC unroll 4
    for (int i = 0; i < HALF_CHAINS; i++) {
        const bool there = inside || (j + i >= b->first && j + i < b->end);
        p[i] = there ? v_sub(v_mul(v_load(s + i * b->w), coef), top) : v_set(0);
    }
    K(half_exp2)(p);
#pragma GCC unroll 4
    for (int i = 0; i < HALF_CHAINS; i++) {
        if (!inside && (j + i < b->first || j + i >= b->end)) continue;
        if (masked) {
            const v_mask on = v_mask_from(b->allowed[j + i - b->first] >> lane);
            p[i] = v_select(on, p[i], v_set(-(real)0));
        }
        const v_vec x = v_mul(p[i], v_set(b->unit[j + i]));
        sums[i] = v_add(sums[i], x);
        sums[HALF_TOTAL] = v_add(sums[HALF_TOTAL], p[i]);
        sums[HALF_MOST] = v_max(x, sums[HALF_MOST]);
        v_store(s + i * b->w, p[i]);
    }
}

/* Four keys on their way: x = n + f, and where 2^x counts. The next four begin before these end,
 * because one chain is longer than what the hardware sees ahead: 5.2 cycles a vector, not 5.5. */
typedef struct half_parts {
    v_vec n[HALF_CHAINS], f[HALF_CHAINS];
    v_mask on[HALF_CHAINS];
} half_parts;

static inline __attribute__((always_inline)) void
K(half_exp_begin)(const real *s, int w, v_vec coef, v_vec top, half_parts *next)
{
#pragma GCC unroll 4
    for (int i = 0; i < HALF_CHAINS; i++) {
        const v_vec x = v_sub(v_mul(v_load(s + i * w), coef), top);
        next->n[i] = v_round(x);
        next->f[i] = v_sub(x, next->n[i]);
        next->on[i] = i_from(x, v_set(REAL_LOWEST2));
    }
}

/* x_j in place of the scores, and the sums. */
static inline __attribute__((always_inline)) void
K(half_exp_end)(const half_parts *now, real *s, int w, const float *unit, v_vec *sums)
{
    v_vec p[HALF_CHAINS];
#pragma GCC unroll 4
    for (int i = 0; i < HALF_CHAINS; i++) p[i] = v_set(half_c[HALF_TERMS - 1]);
#pragma GCC unroll 3
    for (int term = HALF_TERMS - 2; term >= 0; term--)
#pragma GCC unroll 4
        for (int i = 0; i < HALF_CHAINS; i++)
            p[i] = v_fma(p[i], now->f[i], v_set(half_c[term]));
#pragma GCC unroll 4
    for (int i = 0; i < HALF_CHAINS; i++) {
        p[i] = i_scale2(v_fma(p[i], now->f[i], v_set(1)), now->n[i], now->on[i]);
        const v_vec x = v_mul(p[i], v_set(unit[i]));
        sums[i] = v_add(sums[i], x);
        sums[HALF_TOTAL] = v_add(sums[HALF_TOTAL], p[i]);
        sums[HALF_MOST] = v_max(x, sums[HALF_MOST]);
        v_store(s + i * w, x);
    }
}

/* 64 keys of one vector of lanes, all of them in the span; x_j stays, not the weight. */
static inline __attribute__((always_inline)) void
K(half_exp_times)(const half_span *b, int lane, v_vec top, v_vec coef, v_vec *sums)
{
    const int w = b->w;
    const float *unit = b->unit;
    real *s = b->s + lane;
    half_parts now, next;
    K(half_exp_begin)(s, w, coef, top, &next);
#pragma GCC unroll 1
    for (int j = HALF_CHAINS; j < ATTN__BLOCK; j += HALF_CHAINS) {
        now = next;
        K(half_exp_begin)(s + j * w, w, coef, top, &next);
        K(half_exp_end)(&now, s + (j - HALF_CHAINS) * w, w, unit + j - HALF_CHAINS, sums);
    }
    const int last = ATTN__BLOCK - HALF_CHAINS;
    K(half_exp_end)(&next, s + last * w, w, unit + last, sums);
}

static inline __attribute__((always_inline)) void
K(half_exp_lane)(const half_span *b, int lane, v_vec coef, const float *m, float *l, float *sum,
                 float *most, const bool whole, const bool masked, const bool times)
{
    v_vec top = v_load(m + lane), sums[HALF_SUMS];
#pragma GCC unroll 6
    for (int i = 0; i < HALF_SUMS; i++) sums[i] = v_set(0);
    top = v_select(v_lt(top, v_set(-REAL_MAX)), v_set(0), top);
    if (times) K(half_exp_times)(b, lane, top, coef, sums);
    for (int j = whole ? 0 : b->first & -HALF_CHAINS;
         j < (whole ? ATTN__BLOCK : b->end) && !times; j += HALF_CHAINS) {
        if (whole || (j >= b->first && j + HALF_CHAINS <= b->end))
            K(half_exp_keys)(b, j, lane, top, coef, sums, true, masked);
        else
            K(half_exp_keys)(b, j, lane, top, coef, sums, false, masked);
    }
    const v_vec parts = v_add(v_add(sums[0], sums[1]), v_add(sums[2], sums[3]));
    v_store(l + lane, v_add(v_load(l + lane), sums[HALF_TOTAL]));
    v_store(sum + lane, v_add(v_load(sum + lane), parts));
    v_store(most + lane, v_max(sums[HALF_MOST], v_load(most + lane)));
}

static void K(half_exp)(int first, int n, int w, double coef, void *s, const uint64_t *allowed,
                        const float *unit, const float *m, float *l, float *sum, float *most)
{
    const half_span b = {first, first + n, w, allowed, unit, s};
    const v_vec c = v_set((real)coef);
    for (int x = 0; x < w; x += V_LANES) {
        if (allowed)
            K(half_exp_lane)(&b, x, c, m, l, sum, most, false, true, false);
        else if (n == ATTN__BLOCK)
            K(half_exp_lane)(&b, x, c, m, l, sum, most, true, false, false);
        else
            K(half_exp_lane)(&b, x, c, m, l, sum, most, false, false, false);
    }
}

static void K(half_exp_block)(int w, double coef, void *s, const float *unit, const float *m,
                              float *l, float *sum, float *most)
{
    const v_vec c = v_set((real)coef);
    for (int j = 0; j < ATTN__HALF_BLOCK; j += ATTN__BLOCK) {
        const half_span b = {0, ATTN__BLOCK, w, NULL, unit + j, (real *)s + j * w};
        for (int x = 0; x < w; x += V_LANES)
            K(half_exp_lane)(&b, x, c, m, l, sum, most, true, false, true);
    }
}

#endif
