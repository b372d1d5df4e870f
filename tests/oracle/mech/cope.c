/* SPDX-License-Identifier: MIT
 * Contextual positions, one row of gates at a time. */
#include "../mech_heads.h"

static double cope_logit(const heads_case *a, int64_t b, int64_t h, int64_t i, int64_t j)
{
    return heads_dot(a, b, h, i, j);
}

/* The sum of the gates of j and of all visible keys after it, at most N - 1. */
static double cope_position(const heads_case *a, int64_t b, int64_t h, int64_t i, int64_t j)
{
    double sum = 0;
    for (int64_t k = a->S - 1; k >= j; k--)
        if (!heads_hidden(a, b, i, k)) sum += 1 / (1 + exp(-cope_logit(a, b, h, i, k)));
    return fmin(sum, (double)(gallery_size(a->c, 'N') - 1));
}

static double cope_at(const heads_case *a, int64_t b, int64_t h, int64_t i, int64_t n)
{
    const int64_t N = gallery_size(a->c, 'N');
    return n >= N ? 0
                  : heads_inner(heads_q(a, b, h, i),
                                gallery_at(a->c, "table") +
                                    ((gallery_size(a->c, 'L') == 1 ? 0 : h) * N + n) * a->D,
                                a->D);
}

static double cope_score(const heads_case *a, int64_t b, int64_t h, int64_t i, int64_t j)
{
    const double p = cope_position(a, b, h, i, j), f = p - floor(p);
    const int64_t n = (int64_t)floor(p);
    return cope_logit(a, b, h, i, j) + (1 - f) * cope_at(a, b, h, i, n) +
           f * cope_at(a, b, h, i, n + 1);
}

static void cope_oracle(gallery_call *c)
{
    heads_case a = heads_given(c);
    if (gallery_f(c, "scale") != 0) a.scale = gallery_f(c, "scale");
    for (int64_t row = 0; row < a.B * a.H * a.T; row++)
        for (int64_t j = 0; j < a.S; j++)
            gallery_at(c, "positions")[row * a.S + j] =
                cope_position(&a, row / a.T / a.H, row / a.T % a.H, row % a.T, j);
    heads_run(&a, cope_score);
}

static const char *const cope_cases[] = {"B=2,T=5,S=7", "B=1,H=3,L=3,T=6,S=6,N=3;scale=1;mask",
                                         "B=2,H=1,L=1,T=3,S=5,N=1;causal=false",
                                         "B=1,H=2,L=1,T=4,S=9,N=12;offset=3", NULL};

const gallery_oracle gallery_oracle_cope = {.cases = cope_cases, .run = cope_oracle};
