/* SPDX-License-Identifier: MIT
 * The products of kernel.h over some of the pairs only, in the same order and so with the same
 * bits: for rows that hold a NaN or an infinity, which would not leave a sum alone even times
 * 0. Rare, so these are plain loops. */
#include <math.h>

#include "engine/engine.h"
#include "engine/some.h"

static double some_fma(attn_dtype real, double a, double b, double c)
{
    return real == ATTN_DTYPE_F64 ? fma(a, b, c) : (double)fmaf((float)a, (float)b, (float)c);
}

static bool some_bit(const uint64_t *words, int64_t j, int l)
{
    return words[j] >> l & 1;
}

bool attn__rows_finite(const attn__kernels *k, int64_t n, int64_t width, const char *rows,
                       int64_t stride)
{
    bool finite = true;
    if (stride == width) return k->finite(n * width, rows);
    for (int64_t j = 0; j < n && finite; j++)
        finite = k->finite(width, rows + j * stride * (int64_t)attn__real_size(k));
    return finite;
}

void attn__weigh_some(const attn__kernels *k, int64_t n, int w, int64_t width, const void *a,
                      const char *rows, int64_t stride, const uint64_t *allowed, bool fresh,
                      void *acc)
{
    for (int64_t e = 0; e < width; e++)
        for (int l = 0; l < w; l++) {
            double sum = 0;
            for (int64_t j = 0; j < n; j++)
                if (some_bit(allowed, j, l))
                    sum = some_fma(k->dtype, attn__real_get(k, rows, j * stride + e),
                                   attn__real_get(k, a, j * w + l), sum);
            const double old = fresh ? 0 : attn__real_get(k, acc, e * w + l);
            attn__real_put(k, acc, e * w + l, old + sum);
        }
}

void attn__spread_some(const attn__kernels *k, int64_t n, int64_t width, int parts,
                       const attn__part *part, const uint64_t *const *allowed, double *acc)
{
    for (int64_t j = 0; j < n; j++)
        for (int64_t e = 0; e < width; e++) {
            double sum = 0;
            for (int p = 0; p < parts; p++)
                for (int l = 0; l < part[p].n; l++)
                    if (some_bit(allowed[p], j, l))
                        sum =
                            some_fma(k->dtype, attn__real_get(k, part[p].a, j * part[p].ld + l),
                                     attn__real_get(k, part[p].rows[l], e), sum);
            acc[j * width + e] += sum;
        }
}
