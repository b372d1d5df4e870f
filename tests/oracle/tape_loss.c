/* SPDX-License-Identifier: MIT
 * Losses of pairs of numbers. i[0] the reduction, f[0] huber's delta. */
#include <math.h>

#include "tape_case.h"

static void loss_draw(tape_draw *d)
{
    int64_t shape[3];
    const int rank = (int)test_rng_range(d->rng, 0, 3);
    for (int i = 0; i < rank; i++) shape[i] = tape_size(d, 0);
    d->i[0] = test_rng_range(d->rng, ATTN_REDUCE_MEAN, ATTN_REDUCE_NONE);
    d->f[0] = 0.7;
    tape_reals(d, rank, shape, true);
    tape_reals(d, rank, shape, true);
}

/* The second operand moves where |difference| is within 0.02 of a kink. */
static void loss_avoid(tape_draw *d, double kink)
{
    int64_t at[ATTN_MAX_RANK] = {0};
    if (test_tensor_empty(&d->in[0])) return;
    do {
        const double x = test_get(&d->in[0], at), y = test_get(&d->in[1], at);
        if (fabs(fabs(x - y) - kink) < 0.02) test_put(&d->in[1], at, x > y ? y - 0.1 : y + 0.1);
    } while (test_index_next(&d->in[0], at));
}

static void loss_sum(const tape_draw *d, const double *const *in, double *out,
                     double (*loss)(const tape_draw *d, double x, double y))
{
    const int64_t n = attn_tensor_count(d->in[0]);
    for (int64_t i = 0; i < n; i++)
        out[d->i[0] == ATTN_REDUCE_NONE ? i : 0] += loss(d, in[0][i], in[1][i]);
    if (d->i[0] == ATTN_REDUCE_MEAN && n > 0) out[0] /= (double)n;
}

/* ---- bce: targets in 0 .. 1 -------------------------------------------------------------- */

static void bce_draw(tape_draw *d)
{
    int64_t at[ATTN_MAX_RANK] = {0};
    loss_draw(d);
    if (test_tensor_empty(&d->in[1])) return;
    do {
        const bool whole = test_rng_chance(d->rng, 30);
        const double y = test_rng_uniform(d->rng);
        test_put(&d->in[1], at, whole ? (double)(y > 0.5) : y);
    } while (test_index_next(&d->in[1], at));
}

static void bce_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    out[0] = attn_tape_bce(t, in[0], in[1], (attn_reduction)d->i[0]);
}

static double bce_loss(const tape_draw *d, double x, double y)
{
    (void)d;
    return y * log1p(exp(-x)) + (1 - y) * log1p(exp(x));
}

static void bce_oracle(const tape_draw *d, const double *const *in, const attn_tensor *shape,
                       double *const *out)
{
    (void)shape;
    loss_sum(d, in, out[0], bce_loss);
}

const tape_case tape_case_bce = {"bce", 1, bce_draw, bce_apply, bce_oracle, .exact = false};

/* ---- mse --------------------------------------------------------------------------------- */

static void mse_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    out[0] = attn_tape_mse(t, in[0], in[1], (attn_reduction)d->i[0]);
}

static double mse_loss(const tape_draw *d, double x, double y)
{
    (void)d;
    return (x - y) * (x - y);
}

static void mse_oracle(const tape_draw *d, const double *const *in, const attn_tensor *shape,
                       double *const *out)
{
    (void)shape;
    loss_sum(d, in, out[0], mse_loss);
}

const tape_case tape_case_mse = {"mse", 1, loss_draw, mse_apply, mse_oracle, .exact = false};

/* ---- l1 ---------------------------------------------------------------------------------- */

static void l1_draw(tape_draw *d)
{
    loss_draw(d);
    loss_avoid(d, 0);
}

static void l1_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    out[0] = attn_tape_l1(t, in[0], in[1], (attn_reduction)d->i[0]);
}

static double l1_loss(const tape_draw *d, double x, double y)
{
    (void)d;
    return x > y ? x - y : y - x;
}

static void l1_oracle(const tape_draw *d, const double *const *in, const attn_tensor *shape,
                      double *const *out)
{
    (void)shape;
    loss_sum(d, in, out[0], l1_loss);
}

const tape_case tape_case_l1 = {"l1", 1, l1_draw, l1_apply, l1_oracle, .exact = false};

/* ---- huber ------------------------------------------------------------------------------- */

static void huber_draw(tape_draw *d)
{
    loss_draw(d);
    loss_avoid(d, d->f[0]);
}

static void huber_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    out[0] = attn_tape_huber(t, in[0], in[1], d->f[0], (attn_reduction)d->i[0]);
}

static double huber_loss(const tape_draw *d, double x, double y)
{
    const double away = l1_loss(d, x, y), delta = d->f[0];
    return away <= delta ? away * away / 2 : delta * away - delta * delta / 2;
}

static void huber_oracle(const tape_draw *d, const double *const *in, const attn_tensor *shape,
                         double *const *out)
{
    (void)shape;
    loss_sum(d, in, out[0], huber_loss);
}

const tape_case tape_case_huber = {"huber",       1, huber_draw, huber_apply, huber_oracle,
                                   .exact = false};
