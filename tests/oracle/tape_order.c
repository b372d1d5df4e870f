/* SPDX-License-Identifier: MIT
 * Order along one dimension i[0]: an element's place is the number of elements that must stand
 * before it. Values are tenths in random order when a gradient is looked at; else small
 * integers, so that ties abound, and NaN. i[2]: how many, i[3]: falling, i[4]: keep or indices
 * asked for. */
#include <math.h>

#include "tape_case.h"

enum { ORDER_RANK = 4 };

/* ---- draws ------------------------------------------------------------------------------- */

static void order_tenths(tape_draw *d)
{
    const attn_tensor *t = &d->in[0];
    const int64_t n = attn_tensor_count(*t);
    int64_t *place = test_alloc(d->arena, (size_t)n * sizeof *place);
    int64_t index[ATTN_MAX_RANK] = {0}, i = 0;
    for (int64_t k = 0; k < n; k++) {
        const int64_t other = test_rng_range(d->rng, 0, k);
        place[k] = place[other];
        place[other] = k;
    }
    do test_put(t, index, 0.1 * (double)(place[i++] - n / 2));
    while (test_index_next(t, index));
}

static void order_ties(tape_draw *d)
{
    int64_t index[ATTN_MAX_RANK] = {0};
    test_fill_range(&d->in[0], d->rng, -2, 2);
    if (test_rng_chance(d->rng, 50)) return;
    do
        if (test_rng_chance(d->rng, 20)) test_put(&d->in[0], index, (double)NAN);
    while (test_index_next(&d->in[0], index));
}

static void order_draw_least(tape_draw *d, int64_t least, bool grad)
{
    int64_t shape[ORDER_RANK];
    const int rank = (int)test_rng_range(d->rng, 1, ORDER_RANK);
    for (int i = 0; i < rank; i++) shape[i] = tape_size(d, least);
    d->i[0] = test_rng_range(d->rng, 0, rank - 1);
    d->i[1] = test_rng_chance(d->rng, 40); /* say it from the end */
    d->i[3] = test_rng_chance(d->rng, 50);
    d->i[4] = test_rng_chance(d->rng, 70);
    tape_reals(d, rank, shape, grad);
    if (test_tensor_empty(&d->in[0])) return;
    if (grad)
        order_tenths(d);
    else
        order_ties(d);
}

static void argmax_draw(tape_draw *d)
{
    order_draw_least(d, 1, false);
}

static void sort_draw(tape_draw *d)
{
    order_draw_least(d, 0, test_rng_chance(d->rng, 60));
    d->i[2] = d->in[0].shape[d->i[0]];
}

static void topk_draw(tape_draw *d)
{
    sort_draw(d);
    d->i[2] = test_rng_range(d->rng, 0, d->i[2]);
    d->i[3] = true;
}

static int order_name(const tape_draw *d)
{
    return (int)(d->i[1] ? d->i[0] - d->in[0].rank : d->i[0]);
}

/* ---- places ------------------------------------------------------------------------------ */

/* How the values a and b stand to each other: -1 less, 0 equal, 1 larger. */
static int order_compare(double a, double b)
{
    if (isnan(a) || isnan(b)) return isnan(a) - isnan(b);
    return (a > b) - (a < b);
}

/* How many of the line x[0], x[step] .. stand before its element i. */
static int64_t order_place(const double *x, int64_t n, int64_t step, int64_t i, bool falling)
{
    int64_t place = 0;
    for (int64_t j = 0; j < n; j++) {
        const int c = order_compare(x[j * step], x[i * step]);
        place += (falling ? c > 0 : c < 0) || (c == 0 && j < i);
    }
    return place;
}

static int64_t order_step(const tape_draw *d)
{
    int64_t step = 1;
    for (int64_t i = d->i[0] + 1; i < d->in[0].rank; i++) step *= d->in[0].shape[i];
    return step;
}

static void order_oracle(const tape_draw *d, const double *const *in, const attn_tensor *shape,
                         double *const *out)
{
    const int64_t n = d->in[0].shape[d->i[0]], step = order_step(d), most = d->i[2];
    const int64_t lines = n > 0 ? attn_tensor_count(d->in[0]) / n : 0;
    (void)shape;
    for (int64_t r = 0; r < lines; r++) {
        const double *x = in[0] + r / step * n * step + r % step;
        for (int64_t i = 0; i < n; i++) {
            const int64_t place = order_place(x, n, step, i, d->i[3] != 0);
            const int64_t at = r / step * most * step + r % step + place * step;
            if (place >= most) continue;
            out[0][at] = x[i * step];
            if (out[1]) out[1][at] = (double)i;
        }
    }
}

/* ---- the operations ---------------------------------------------------------------------- */

static void argmax_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    out[0] = attn_tape_argmax(t, in[0], order_name(d), d->i[4] != 0);
}

static void argmax_oracle(const tape_draw *d, const double *const *in, const attn_tensor *shape,
                          double *const *out)
{
    const int64_t n = d->in[0].shape[d->i[0]], step = order_step(d);
    for (int64_t r = 0, lines = attn_tensor_count(*shape); r < lines; r++) {
        const double *x = in[0] + r / step * n * step + r % step;
        for (int64_t i = 0; i < n; i++)
            if (order_place(x, n, step, i, true) == 0) out[0][r] = (double)i;
    }
}

const tape_case tape_case_argmax = {"argmax",     1, argmax_draw, argmax_apply, argmax_oracle,
                                    .exact = true};

static void topk_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    out[0] = attn_tape_topk(t, in[0], d->i[2], order_name(d), d->i[4] ? &out[1] : NULL);
}

const tape_case tape_case_topk = {"topk",       2, topk_draw, topk_apply, order_oracle,
                                  .exact = true};

static void sort_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    out[0] = attn_tape_sort(t, in[0], order_name(d), d->i[3] != 0, d->i[4] ? &out[1] : NULL);
}

const tape_case tape_case_sort = {"sort",       2, sort_draw, sort_apply, order_oracle,
                                  .exact = true};
