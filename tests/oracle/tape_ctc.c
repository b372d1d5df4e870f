/* SPDX-License-Identifier: MIT
 * CTC by its definition: every sequence of classes is spelled out, those that become the target
 * when repeats are merged and blanks taken out are added up. i[0] the reduction, i[1] the
 * blank. */
#include <math.h>

#include "tape_case.h"

enum { CTC_FRAMES = 5, CTC_CLASSES = 3, CTC_TARGETS = 3 };

/* Frames that target b needs: its length, and a blank between equal neighbours. */
static int64_t ctc_least(const tape_draw *d, int64_t b)
{
    const int64_t n = (int64_t)test_get(&d->in[3], &b);
    int64_t least = n;
    for (int64_t s = 1; s < n; s++)
        least += test_get(&d->in[1], (const int64_t[]){b, s}) ==
                 test_get(&d->in[1], (const int64_t[]){b, s - 1});
    return least;
}

/* Integers of 0 .. most in all of operand i, none of them the blank when there is another. */
static void ctc_fill_targets(tape_draw *d, int64_t C)
{
    int64_t at[2] = {0};
    if (test_tensor_empty(&d->in[1])) return;
    do {
        const int64_t id = test_rng_range(d->rng, 0, C - 2);
        test_put(&d->in[1], at, (double)(id + (id >= d->i[1])));
    } while (test_index_next(&d->in[1], at));
}

static void ctc_draw(tape_draw *d)
{
    const bool large = d->room > 0;
    const int64_t T = large ? 40 : test_rng_range(d->rng, 0, CTC_FRAMES);
    const int64_t B = test_rng_range(d->rng, 0, 3);
    const int64_t C = test_rng_range(d->rng, 1, large ? 20 : CTC_CLASSES);
    const int64_t S = C == 1 ? 0 : test_rng_range(d->rng, 0, large ? 15 : CTC_TARGETS);
    d->i[0] = test_rng_range(d->rng, ATTN_REDUCE_MEAN, ATTN_REDUCE_NONE);
    d->i[1] = test_rng_range(d->rng, 0, C - 1);
    tape_reals(d, 3, (const int64_t[]){T, B, C}, true);
    tape_ints(d, 2, (const int64_t[]){B, S}, 0, 0);
    if (C > 1) ctc_fill_targets(d, C);
    tape_ints(d, 1, &B, T / 2, T);
    tape_ints(d, 1, &B, 0, S);
    for (int64_t b = 0; b < B; b++) /* +inf has no slope to compare with */
        d->grad[0] = d->grad[0] && ctc_least(d, b) <= (int64_t)test_get(&d->in[2], &b);
}

static void ctc_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    out[0] = attn_tape_ctc(t, in[0], in[1], in[2], in[3], d->i[1], (attn_reduction)d->i[0]);
}

/* Whether T classes spell the n targets. */
static bool ctc_spells(const int64_t *path, int64_t T, int64_t blank, const double *target,
                       int64_t n)
{
    int64_t at = 0;
    for (int64_t t = 0; t < T; t++) {
        if (path[t] == blank || (t > 0 && path[t] == path[t - 1])) continue;
        if (at == n || (int64_t)target[at] != path[t]) return false;
        at++;
    }
    return at == n;
}

static double ctc_sum(const tape_draw *d, const double *const *in, int64_t b)
{
    const int64_t B = d->in[0].shape[1], C = d->in[0].shape[2], S = d->in[1].shape[1];
    const int64_t T = (int64_t)in[2][b];
    int64_t path[CTC_FRAMES] = {0}, t;
    double sum = 0;
    do {
        double product = 1;
        for (t = 0; t < T; t++) product *= exp(in[0][(t * B + b) * C + path[t]]);
        if (ctc_spells(path, T, d->i[1], in[1] + b * S, (int64_t)in[3][b])) sum += product;
        for (t = 0; t < T && ++path[t] == C; t++) path[t] = 0;
    } while (t < T);
    return sum;
}

static void ctc_oracle(const tape_draw *d, const double *const *in, const attn_tensor *shape,
                       double *const *out)
{
    const int64_t B = d->in[0].shape[1];
    (void)shape;
    for (int64_t b = 0; b < B; b++)
        out[0][d->i[0] == ATTN_REDUCE_NONE ? b : 0] -= log(ctc_sum(d, in, b));
    if (d->i[0] == ATTN_REDUCE_MEAN && B > 0) out[0][0] /= (double)B;
}

const tape_case tape_case_ctc = {"ctc", 1, ctc_draw, ctc_apply, ctc_oracle, .exact = false};
