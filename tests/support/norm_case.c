/* SPDX-License-Identifier: MIT
 * Random calls with another normaliser: a random case, and then a kind with its numbers, drawn
 * from a stream of their own. What the kind has no use for - lse, sinks - is taken away. */
#include "support/draw.h"

#include <math.h>

/* Alphas where the search takes another way, and any other. most: 2 where slopes are asked for,
 * because beyond they have no bound. */
static double norm_alpha(test_rng *rng, double most)
{
    static const double some[] = {1, 1.005, 1.01, 1.33, 1.5, 1.5, 2, 2};
    if (test_rng_chance(rng, 50)) return some[test_rng_range(rng, 0, 7)];
    return 1 + (most - 1) * test_rng_uniform(rng);
}

static void norm_entmax(test_case *c, test_rng *rng, double most)
{
    const attn_tensor *q = &c->args.q;
    const int64_t H = q->rank == 4 ? q->shape[1] : 1, n = test_rng_chance(rng, 30) ? 1 : H;
    if (test_rng_chance(rng, 50)) {
        c->spec.alpha = test_rng_chance(rng, 10) ? 0 : norm_alpha(rng, most);
        return;
    }
    c->args.alpha = test_tensor(&c->arena, ATTN_DTYPE_F32, 1, &n);
    for (int64_t h = 0; h < n; h++) test_put(&c->args.alpha, &h, norm_alpha(rng, most));
}

static void norm_each(test_case *c, test_rng *rng)
{
    c->spec.norm_mean = test_rng_chance(rng, 30);
    if (c->spec.normaliser == ATTN_NORM_SIGMOID && test_rng_chance(rng, 40))
        c->spec.norm_count = true;
    else if (test_rng_chance(rng, 50))
        c->spec.norm_shift = 2 * test_rng_normal(rng);
    c->spec.softmax1 = false;
    c->args.sink = c->args.d_sink = (attn_tensor){0};
}

/* kind: 0 for any. */
static void norm_apply(test_case *c, test_rng *rng, attn_norm_kind kind, double most)
{
    const attn_norm_kind any = (attn_norm_kind)test_rng_range(rng, 1, ATTN_NORM_TOP_K);
    c->spec.normaliser = kind != ATTN_NORM_SOFTMAX ? kind : any;
    if (c->spec.normaliser == ATTN_NORM_TOP_K) {
        c->spec.top_k = test_rng_range(rng, 1, test_rng_chance(rng, 50) ? 4 : 60);
        return;
    }
    c->args.lse = c->args.d_lse = (attn_tensor){0};
    if (c->spec.normaliser == ATTN_NORM_ENTMAX)
        norm_entmax(c, rng, most);
    else
        norm_each(c, rng);
}

void test_norm_draw(test_case *c, uint64_t seed, const test_profile *profile)
{
    test_rng rng = test_rng_make(seed ^ UINT64_C(0x9042a11));
    test_case_draw(c, seed, profile);
    norm_apply(c, &rng, ATTN_NORM_SOFTMAX, 3);
}

void test_norm_jvp_draw(test_case *c, uint64_t seed, const test_profile *profile)
{
    test_rng rng = test_rng_make(seed ^ UINT64_C(0x9042a11));
    test_jvp_draw(c, seed, profile);
    const bool sums = c->args.t_lse.dtype && !c->args.t_out.dtype;
    norm_apply(c, &rng, sums ? ATTN_NORM_TOP_K : ATTN_NORM_SOFTMAX, 2);
    if (c->spec.normaliser != ATTN_NORM_TOP_K) c->args.t_lse = (attn_tensor){0};
}

void test_norm_grad_draw(test_case *c, uint64_t seed, const test_profile *profile)
{
    test_rng rng = test_rng_make(seed ^ UINT64_C(0x9042a11));
    test_grad_draw(c, seed, profile);
    attn_args *a = &c->args;
    norm_apply(c, &rng, a->d_out.dtype ? ATTN_NORM_SOFTMAX : ATTN_NORM_TOP_K, 2);
    if (a->alpha.dtype && test_rng_chance(&rng, 70))
        a->d_alpha = test_tensor(&c->arena, ATTN_DTYPE_F32, 1, a->alpha.shape);
    for (int g = 0; g < ORACLE_N_GRADS; g++)
        if (test_grad_in(a, (oracle_grad)g)->dtype) return;
    a->d_q = test_tensor(&c->arena, ATTN_DTYPE_F32, a->q.rank, a->q.shape);
}
