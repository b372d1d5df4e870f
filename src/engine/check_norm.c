/* SPDX-License-Identifier: MIT
 * The normaliser and what belongs to it: which fields it has, what no sum of exponentials
 * has to do with, and an alpha in its range. */
#include <float.h>
#include <math.h>

#include "engine/args.h"
#include "engine/norm.h"

#define NORM_ALPHA_MOST 4.0

/* Fields that only some normalisers read: set for another one, they are a mistake. */
static attn_status norm_fields(const attn__problem *p, attn_error *error)
{
    const attn_spec *s = &p->spec;
    const attn_norm_kind kind = s->normaliser;
    const double most = (p->real == ATTN_DTYPE_F32 ? (double)FLT_MAX : DBL_MAX) / 2;
    const bool each =
        kind == ATTN_NORM_SIGMOID || kind == ATTN_NORM_RELU2 || kind == ATTN_NORM_LINEAR;
    const attn__rule rules[] = {
        {s->norm_shift == 0 || each, ATTN_E_PARAM, "norm_shift",
         "belongs to the sigmoid, relu2 and linear normalisers"},
        {fabs(s->norm_shift) <= most, ATTN_E_PARAM, "norm_shift",
         "must be finite and not too large for f32"},
        {!s->norm_count || kind == ATTN_NORM_SIGMOID, ATTN_E_PARAM, "norm_count",
         "belongs to the sigmoid normaliser"},
        {!s->norm_count || s->norm_shift == 0, ATTN_E_PARAM, "norm_count",
         "takes the place of norm_shift: one of them"},
        {!s->norm_mean || each, ATTN_E_PARAM, "norm_mean",
         "belongs to the sigmoid, relu2 and linear normalisers"},
        {(s->alpha == 0 && !attn__present(&p->at.alpha)) || kind == ATTN_NORM_ENTMAX,
         ATTN_E_PARAM, "alpha", "belongs to the entmax normaliser"},
        {s->alpha == 0 || !attn__present(&p->at.alpha), ATTN_E_PARAM, "alpha",
         "is a number or a tensor, not both"},
        {s->alpha == 0 || (s->alpha >= 1 && s->alpha <= NORM_ALPHA_MOST), ATTN_E_PARAM, "alpha",
         "must lie in [1, 4]"},
        {s->top_k == 0 || kind == ATTN_NORM_TOP_K, ATTN_E_PARAM, "top_k",
         "belongs to the top_k normaliser"},
        {s->top_k >= 1 || kind != ATTN_NORM_TOP_K, ATTN_E_PARAM, "top_k", "must be positive"},
    };
    return attn__rules_check(rules, sizeof rules / sizeof rules[0], error);
}

/* What is a part of a sum of exponentials. */
static attn_status norm_sums(const attn__problem *p, attn_error *error)
{
    const attn_args *a = &p->at;
    const bool sinks = attn__present(&a->sink) || p->spec.softmax1;
    const bool own = attn__norm_of(p)->op >= 0;
    const attn__rule rules[] = {
        {!sinks || !own || p->spec.normaliser == ATTN_NORM_ENTMAX, ATTN_E_PARAM,
         p->spec.softmax1 ? "softmax1" : "sink",
         "a sink shares in a sum, and this normaliser makes each weight alone"},
        {!own || !attn__present(&a->lse), ATTN_E_PARAM, "lse",
         "this normaliser has no log-sum-exp: only softmax and top_k do"},
        {!own || !attn__present(&a->d_lse), ATTN_E_PARAM, "d_lse",
         "this normaliser has no log-sum-exp: only softmax and top_k do"},
        {!own || !attn__present(&a->t_lse), ATTN_E_PARAM, "t_lse",
         "this normaliser has no log-sum-exp: only softmax and top_k do"},
    };
    return attn__rules_check(rules, sizeof rules / sizeof rules[0], error);
}

attn_status attn__norm_check(attn__problem *p, attn_error *error)
{
    ATTN_TRY(norm_fields(p, error));
    ATTN_TRY(norm_sums(p, error));
    if (p->spec.alpha == 0) p->spec.alpha = 1.5;
    return ATTN_OK;
}

attn_status attn__norm_check_data(const attn__problem *p, attn_error *error)
{
    const attn_tensor *alpha = &p->at.alpha;
    for (int64_t h = 0; attn__present(alpha) && h < alpha->shape[0]; h++) {
        const double x = attn__float_at(alpha, h, 0);
        if (!(x >= 1 && x <= NORM_ALPHA_MOST))
            return attn__fail(error, ATTN_E_PARAM, "alpha", "every one must lie in [1, 4]");
    }
    return ATTN_OK;
}
