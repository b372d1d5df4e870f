/* SPDX-License-Identifier: MIT
 * Cross-entropy and log-probabilities: the softmax is written out, then its logarithm taken.
 * i[0] the reduction, i[1] the ignored class, f[0] the smoothing. */
#include <math.h>

#include "tape_case.h"

static void entropy_draw(tape_draw *d)
{
    int64_t shape[3];
    const int rank = (int)test_rng_range(d->rng, 1, 3);
    for (int i = 0; i < rank; i++) shape[i] = tape_size(d, i == rank - 1);
    tape_reals(d, rank, shape, true);
    tape_ints(d, rank - 1, shape, 0, shape[rank - 1] - 1);
}

static double entropy_log_p(const double *x, int64_t C, int64_t c)
{
    double sum = 0;
    for (int64_t i = 0; i < C; i++) sum += exp(x[i] - x[c]);
    return -log(sum);
}

/* ---- cross_entropy ----------------------------------------------------------------------- */

static void cross_entropy_draw(tape_draw *d)
{
    static const int64_t ignored[] = {-1, -100, 0, 1};
    int64_t at[ATTN_MAX_RANK] = {0};
    entropy_draw(d);
    d->i[0] = test_rng_range(d->rng, ATTN_REDUCE_MEAN, ATTN_REDUCE_NONE);
    d->i[1] = test_rng_pick(d->rng, ignored, sizeof ignored / sizeof ignored[0]);
    d->f[0] = test_rng_chance(d->rng, 50) ? 0 : test_rng_chance(d->rng, 80) ? 0.1 : 1;
    if (test_tensor_empty(&d->in[1])) return;
    do {
        if (test_rng_chance(d->rng, 20) && d->i[1] == -100) test_put(&d->in[1], at, -100);
    } while (test_index_next(&d->in[1], at));
}

static void cross_entropy_apply(attn_tape *t, const tape_draw *d, const attn_var *in,
                                attn_var *out)
{
    out[0] =
        attn_tape_cross_entropy(t, in[0], in[1], d->f[0], d->i[1], (attn_reduction)d->i[0]);
}

static void cross_entropy_oracle(const tape_draw *d, const double *const *in,
                                 const attn_tensor *shape, double *const *out)
{
    const int64_t C = d->in[0].shape[d->in[0].rank - 1], rows = attn_tensor_count(d->in[1]);
    int64_t counted = 0;
    (void)shape;
    for (int64_t row = 0; row < rows; row++) {
        const int64_t y = (int64_t)in[1][row];
        if (y == d->i[1]) continue;
        counted++;
        for (int64_t c = 0; c < C; c++) {
            const double q = (c == y ? 1 - d->f[0] : 0) + d->f[0] / (double)C;
            out[0][d->i[0] == ATTN_REDUCE_NONE ? row : 0] -=
                q * entropy_log_p(in[0] + row * C, C, c);
        }
    }
    if (d->i[0] == ATTN_REDUCE_MEAN && counted > 0) out[0][0] /= (double)counted;
}

const tape_case tape_case_cross_entropy = {"cross_entropy",      1,
                                           cross_entropy_draw,   cross_entropy_apply,
                                           cross_entropy_oracle, .exact = false};

/* ---- log_prob ---------------------------------------------------------------------------- */

static void log_prob_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    (void)d;
    out[0] = attn_tape_log_prob(t, in[0], in[1]);
}

static void log_prob_oracle(const tape_draw *d, const double *const *in,
                            const attn_tensor *shape, double *const *out)
{
    const int64_t C = d->in[0].shape[d->in[0].rank - 1], rows = attn_tensor_count(d->in[1]);
    (void)shape;
    for (int64_t row = 0; row < rows; row++)
        out[0][row] = entropy_log_p(in[0] + row * C, C, (int64_t)in[1][row]);
}

const tape_case tape_case_log_prob = {
    "log_prob", 1, entropy_draw, log_prob_apply, log_prob_oracle, .exact = false};
