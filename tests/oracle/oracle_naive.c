/* SPDX-License-Identifier: MIT
 * What anyone writes first: three float loops and expf. The library must not be less exact. */
#include "oracle/oracle.h"

#include <math.h>
#include <stdlib.h>

static void naive_row(int64_t keys, int64_t D, int64_t E, const float *q, const float *k,
                      const float *v, float *s, float *out)
{
    float scale = 1.0f / sqrtf((float)D), max = -INFINITY, sum = 0;
    for (int64_t j = 0; j < keys; j++) {
        s[j] = 0;
        for (int64_t d = 0; d < D; d++) s[j] += q[d] * k[j * D + d];
        s[j] *= scale;
        if (s[j] > max) max = s[j];
    }
    for (int64_t j = 0; j < keys; j++) {
        s[j] = expf(s[j] - max);
        sum += s[j];
    }
    for (int64_t e = 0; e < E; e++) {
        float x = 0;
        for (int64_t j = 0; j < keys; j++) x += s[j] * v[j * E + e];
        out[e] = x / sum;
    }
}

bool oracle_naive_f32(int64_t T, int64_t S, int64_t D, int64_t E, bool causal, const float *q,
                      const float *k, const float *v, float *out)
{
    float *s = malloc(((size_t)S + 1) * sizeof *s);
    for (int64_t i = 0; i < T && s; i++)
        naive_row(causal && i < S ? i + 1 : S, D, E, q + i * D, k, v, s, out + i * E);
    free(s);
    return s != NULL;
}
