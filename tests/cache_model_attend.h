/* SPDX-License-Identifier: MIT
 * Attention over a cache and over the plain arrays of its model (cache_model.h), with what is
 * forgotten masked: the same bits. For test_cache_model and fuzz_cache. */
#ifndef CACHE_MODEL_ATTEND_H
#define CACHE_MODEL_ATTEND_H

#include "cache_model.h"

enum { MODEL_QUERIES = 9, MODEL_GROUP = 3 };

typedef struct model_call {
    int64_t N, H, T, S;
    attn_spec spec;
    attn_args plain, over; /* over tensors of the model; over the cache */
    int64_t length[MODEL_SEQS];
    void *memory[7]; /* q, two outputs, k, v, mask, and one to be sure */
    int n_memory;
} model_call;

/* A dense tensor of zeros. */
static attn_tensor model_dense(model_call *c, attn_dtype dtype, int64_t a, int64_t b, int64_t n,
                               int64_t width)
{
    attn_tensor t = attn_tensor_make(NULL, dtype, 4, (const int64_t[]){a, b, n, width});
    t.data = calloc((size_t)attn_tensor_count(t) + 1, 8);
    MODEL_REQUIRE(t.data != NULL, "the machine has memory");
    c->memory[c->n_memory++] = t.data;
    return t;
}

static void model_set(const attn_tensor *t, int64_t b, int64_t h, int64_t i, int64_t d,
                      double x)
{
    const int64_t at = b * t->stride[0] + h * t->stride[1] + i * t->stride[2] + d;
    if (t->dtype == ATTN_DTYPE_F64)
        ((double *)t->data)[at] = x;
    else
        ((float *)t->data)[at] = (float)x;
}

static attn_dtype model_real(bool wide)
{
    return wide ? ATTN_DTYPE_F64 : ATTN_DTYPE_F32;
}

/* Keys, values and the mask as the model has them. */
static void model_call_keys(const cache_model *m, model_call *c)
{
    const attn_cache_spec *s = &m->spec;
    uint8_t *held = c->plain.mask.data;
    for (int64_t b = 0; b < c->N; b++)
        for (int64_t i = 0; i < m->seq[b].length; i++) {
            const model_token *token = m->seq[b].key[i];
            held[b * c->S + i] = token != NULL;
            for (int64_t g = 0; token && g < s->heads; g++) {
                for (int64_t d = 0; d < s->key_width; d++)
                    model_set(&c->plain.k, b, g, i, d, token->number[0][g][d]);
                for (int64_t d = 0; d < s->value_width; d++)
                    model_set(&c->plain.v, b, g, i, d, token->number[1][g][d]);
            }
        }
}

static void model_call_spec(const cache_model *m, model_call *c)
{
    c->spec = ATTN_SPEC(.align = ATTN_ALIGN_BOTTOM_RIGHT, .scale = 0.25);
    c->spec.causal = model_pick(m, 0, 1);
    c->spec.softmax1 = model_pick(m, 0, 3) == 0;
    if (model_pick(m, 0, 3) == 0)
        c->spec.window = (attn_window){true, model_pick(m, -1, 70), model_pick(m, -1, 3)};
}

static void model_call_begin(const cache_model *m, model_call *c)
{
    const attn_cache_spec *s = &m->spec;
    const attn_cache_format *value = s->latent ? &s->key : &s->value;
    const bool k64 = s->key.type == ATTN_CACHE_F64, v64 = value->type == ATTN_CACHE_F64;
    *c = (model_call){.N = s->sequences, .T = MODEL_AMONG(m, 1, 1, 2, MODEL_QUERIES)};
    c->H = s->heads * model_pick(m, 1, MODEL_GROUP);
    for (int64_t b = 0; b < c->N; b++) {
        c->length[b] = m->seq[b].length;
        if (c->length[b] > c->S) c->S = c->length[b];
    }
    model_call_spec(m, c);
    const attn_dtype real = model_real(k64 || v64);
    c->plain =
        ATTN_ARGS(.q = model_dense(c, real, c->N, c->H, c->T, s->key_width),
                  .k = model_dense(c, model_real(k64), c->N, s->heads, c->S, s->key_width),
                  .v = model_dense(c, model_real(v64), c->N, s->heads, c->S, s->value_width),
                  .mask = model_dense(c, ATTN_DTYPE_U8, c->N, 1, 1, c->S),
                  .out = model_dense(c, real, c->N, c->H, c->T, s->value_width),
                  .k_len = ATTN_TENSOR(c->length, I64, c->N));
    for (int64_t x = 0; x < c->N * c->H * c->T * s->key_width; x++)
        model_set(&c->plain.q, 0, 0, 0, x, (double)model_pick(m, -500, 500) / 128);
    model_call_keys(m, c);
    c->over = ATTN_ARGS(.q = c->plain.q, .cache = m->cache,
                        .out = model_dense(c, real, c->N, c->H, c->T, s->value_width));
}

/* Any NaN is as good as another. */
static bool model_same_outputs(const model_call *c)
{
    const int64_t n = attn_tensor_count(c->over.out);
    for (int64_t x = 0; x < n; x++) {
        const double *a = c->plain.out.data, *b = c->over.out.data;
        const float *f = c->plain.out.data, *g = c->over.out.data;
        const bool wide = c->over.out.dtype == ATTN_DTYPE_F64;
        const bool nan = wide ? isnan(a[x]) && isnan(b[x]) : isnan(f[x]) && isnan(g[x]);
        if (!nan && memcmp(wide ? (const void *)&a[x] : &f[x],
                           wide ? (const void *)&b[x] : &g[x], wide ? 8 : 4) != 0)
            return false;
    }
    return true;
}

/* Queries at the ends of all sequences see what they hold. */
static void model_attend(const cache_model *m)
{
    model_call c;
    model_call_begin(m, &c);
    MODEL_REQUIRE(attn_forward(NULL, &c.spec, &c.plain, NULL) == ATTN_OK, "arrays are seen");
    MODEL_REQUIRE(attn_forward(NULL, &c.spec, &c.over, NULL) == ATTN_OK, "a cache is seen");
    MODEL_REQUIRE(model_same_outputs(&c), "attention over a cache is that over arrays");
    while (c.n_memory > 0) free(c.memory[--c.n_memory]);
}

#endif
