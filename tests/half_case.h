/* SPDX-License-Identifier: MIT
 * What the tests of the half mode's kernels share, over kernel_case.h: its table, floats in guarded
 * memory, comparisons bit for bit. */
#ifndef HALF_CASE_H
#define HALF_CASE_H

#include "kernel_case.h"

static inline const attn__half *half_of(const kernel_case *c)
{
    return attn__half_pick(c->k);
}

static inline float *half_floats(kernel_case *c, int slot, int64_t n, double least, double most)
{
    float *x = memory_place(slot, c->side, (size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)(least + (most - least) * test_rng_uniform(&c->rng));
    return x;
}

static inline void half_expect(const kernel_case *c, const char *what, int64_t i, double got,
                               double want)
{
    if (!real_same(got, want)) kernel_fail(c, what, i, 0, got, want);
}

static inline void half_expect_floats(const kernel_case *c, const char *what, const float *got,
                                      const float *want, int64_t n)
{
    for (int64_t i = 0; i < n; i++) half_expect(c, what, i, (double)got[i], (double)want[i]);
}

#endif
