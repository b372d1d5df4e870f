/* SPDX-License-Identifier: MIT
 * The backward pass as a textbook writes it, in float: the whole matrix of weights, then
 *   dv = w^T do,  dp = do v^T,  ds = w (dp - sum_j w dp),  dq = scale ds k,  dk = scale ds^T q.
 * The library must not be less exact. */
#include "oracle/oracle.h"

#include <math.h>
#include <stdlib.h>

static float naive_score(const oracle_naive *c, int64_t i, int64_t j)
{
    float s = 0;
    for (int64_t d = 0; d < c->D; d++) s += c->q[i * c->D + d] * c->k[j * c->D + d];
    s *= 1.0f / sqrtf((float)c->D);
    if (c->bias) s += c->bias[i * c->S + j];
    if (c->slope) s -= *c->slope * fabsf((float)(i - j));
    return s;
}

static int64_t naive_keys(const oracle_naive *c, int64_t i)
{
    return c->causal && i < c->S ? i + 1 : c->S;
}

/* The weights of row i; returns that of the sink. */
static float naive_weights(const oracle_naive *c, int64_t i, float *w)
{
    int64_t keys = naive_keys(c, i);
    float max = c->sink ? *c->sink : -INFINITY, sum = 0;
    for (int64_t j = 0; j < keys; j++) {
        w[j] = naive_score(c, i, j);
        if (w[j] > max) max = w[j];
    }
    for (int64_t j = 0; j < keys; j++) {
        w[j] = expf(w[j] - max);
        sum += w[j];
    }
    if (c->sink) sum += expf(*c->sink - max);
    for (int64_t j = 0; j < keys; j++) w[j] /= sum;
    return c->sink ? expf(*c->sink - max) / sum : 0;
}

/* dp by dp into ds; returns sum_j w dp. */
static float naive_products(const oracle_naive *c, int64_t i, const float *w, float *dp)
{
    float delta = 0;
    for (int64_t j = 0; j < naive_keys(c, i); j++) {
        dp[j] = 0;
        for (int64_t e = 0; e < c->E; e++) dp[j] += c->d_out[i * c->E + e] * c->v[j * c->E + e];
        delta += w[j] * dp[j];
    }
    return delta;
}

static void naive_scores(const oracle_naive *c, int64_t i, float *ds)
{
    float scale = 1.0f / sqrtf((float)c->D);
    for (int64_t j = 0; j < naive_keys(c, i); j++) {
        if (c->d_bias) c->d_bias[i * c->S + j] += ds[j];
        if (c->d_slope) *c->d_slope -= ds[j] * fabsf((float)(i - j));
        for (int64_t d = 0; d < c->D; d++) {
            c->d_q[i * c->D + d] += scale * ds[j] * c->k[j * c->D + d];
            c->d_k[j * c->D + d] += scale * ds[j] * c->q[i * c->D + d];
        }
    }
}

static void naive_row(const oracle_naive *c, int64_t i, float *w, float *ds)
{
    float sink = naive_weights(c, i, w), delta = naive_products(c, i, w, ds);
    for (int64_t d = 0; d < c->D; d++) c->d_q[i * c->D + d] = 0;
    for (int64_t j = 0; j < naive_keys(c, i); j++) {
        ds[j] = w[j] * (ds[j] - delta);
        for (int64_t e = 0; e < c->E; e++)
            c->d_v[j * c->E + e] += w[j] * c->d_out[i * c->E + e];
    }
    if (c->d_sink) *c->d_sink -= sink * delta;
    naive_scores(c, i, ds);
}

bool oracle_naive_backward(const oracle_naive *c)
{
    float *w = malloc(((size_t)c->S + 1) * sizeof *w),
          *ds = malloc(((size_t)c->S + 1) * sizeof *ds);
    for (int64_t i = 0; i < c->T && w && ds; i++) naive_row(c, i, w, ds);
    bool ok = w && ds;
    free(w);
    free(ds);
    return ok;
}
