/* SPDX-License-Identifier: MIT
 * Softmax, or the argmax, of scores with Gumbel noise. */
#include "oracle/mech/align.h"

/* The row with its noise. */
static align_row gumbel_row(const align_row *r)
{
    double *s = gallery_new(r->c, r->S);
    for (int64_t j = 0; j < r->S; j++)
        s[j] = (r->s[j] + align_noise(r, j)) / gallery_f(r->c, "temperature");
    align_row noisy = *r;
    noisy.s = s;
    return noisy;
}

static void gumbel_soft_weigh(const align_row *r, double *w)
{
    const align_row noisy = gumbel_row(r);
    align_softmax(&noisy, NULL, w);
}

static void gumbel_hard_weigh(const align_row *r, double *w)
{
    const align_row noisy = gumbel_row(r);
    for (int64_t j = 0; j < r->S; j++)
        w[j] = r->s[j] > -GALLERY_INF && align_before(&noisy, j) == 0;
}

static void gumbel_oracle(gallery_call *c)
{
    align_run(c, gallery_i(c, "hard") ? gumbel_hard_weigh : gumbel_soft_weigh);
}

static void gumbel_soft(gallery_call *c)
{
    align_run(c, gumbel_soft_weigh);
}

static const char *const gumbel_cases[] = {
    "B=2,H=4,G=2,T=4,S=6;seed=5", "T=5,S=5;causal=true,temperature=0.5;mask",
    "T=3,S=7,E=2;hard=true,seed=123456789012;bias", NULL};

const gallery_oracle gallery_oracle_gumbel = {
    .cases = gumbel_cases, .run = gumbel_oracle, .soft = gumbel_soft, .grad32 = 1e-3};
