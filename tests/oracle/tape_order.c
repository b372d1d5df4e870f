/* SPDX-License-Identifier: MIT
 * Order along one dimension i[0]: an element's place is the number of elements that must stand
 * before it. Values are tenths in random order when a gradient is looked at; else small
 * integers, so that ties abound, and NaN. i[2]: how many, i[3]: falling, i[4]: keep or indices
 * asked for. */
#include <math.h>

#include "tape_oracle.h"

/* ---- draws ------------------------------------------------------------------------------- */

static void order_ties(tape_draw *d)
{
    int64_t index[ATTN_MAX_RANK] = {0};
    test_fill_range(&d->in[0], d->rng, -2, 2);
    if (test_rng_chance(d->rng, 50)) return;
    do
        if (test_rng_chance(d->rng, 20)) test_put(&d->in[0], index, (double)NAN);
    while (test_index_next(&d->in[0], index));
}

static void order_draw(tape_draw *d, int64_t least, bool grad)
{
    axis_draw(d, least, least, grad);
    d->i[1] = test_rng_chance(d->rng, 40);
    d->i[3] = test_rng_chance(d->rng, 50);
    d->i[4] = test_rng_chance(d->rng, 70);
    if (test_tensor_empty(&d->in[0])) return;
    if (grad)
        tape_tenths(d);
    else
        order_ties(d);
}

static void argmax_draw(tape_draw *d)
{
    order_draw(d, 1, false);
}

static void sort_draw(tape_draw *d)
{
    order_draw(d, 0, test_rng_chance(d->rng, 60));
    d->i[2] = d->in[0].shape[d->i[0]];
}

static void topk_draw(tape_draw *d)
{
    sort_draw(d);
    d->i[2] = test_rng_range(d->rng, 0, d->i[2]);
    d->i[3] = true;
}

/* ---- places ------------------------------------------------------------------------------ */

/* How the values a and b stand to each other: -1 less, 0 equal, 1 larger. */
static int order_compare(double a, double b)
{
    if (isnan(a) || isnan(b)) return isnan(a) - isnan(b);
    return (a > b) - (a < b);
}

/* How many of a line stand before its element i. */
static int64_t order_place(const double *x, const axis *a, int64_t line, int64_t i,
                           bool falling)
{
    int64_t place = 0;
    for (int64_t j = 0; j < a->n; j++) {
        const int c = order_compare(x[axis_at(a, line, j)], x[axis_at(a, line, i)]);
        place += (falling ? c > 0 : c < 0) || (c == 0 && j < i);
    }
    return place;
}

static void order_oracle(const tape_draw *d, const double *const *in, const attn_tensor *shape,
                         double *const *out)
{
    const axis x = axis_of(&d->in[0], d->i[0]), y = axis_of(shape, d->i[0]);
    for (int64_t r = 0; r < axis_lines(&x); r++)
        for (int64_t i = 0; i < x.n; i++) {
            const int64_t place = order_place(in[0], &x, r, i, d->i[3] != 0);
            if (place >= y.n) continue;
            out[0][axis_at(&y, r, place)] = in[0][axis_at(&x, r, i)];
            if (out[1]) out[1][axis_at(&y, r, place)] = (double)i;
        }
}

/* ---- the operations ---------------------------------------------------------------------- */

static void argmax_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    out[0] = attn_tape_argmax(t, in[0], axis_name(d), d->i[4] != 0);
}

static void argmax_oracle(const tape_draw *d, const double *const *in, const attn_tensor *shape,
                          double *const *out)
{
    const axis x = axis_of(&d->in[0], d->i[0]);
    (void)shape;
    for (int64_t r = 0; r < axis_lines(&x); r++)
        for (int64_t i = 0; i < x.n; i++)
            if (order_place(in[0], &x, r, i, true) == 0) out[0][r] = (double)i;
}

const tape_case tape_case_argmax = {"argmax",     1, argmax_draw, argmax_apply, argmax_oracle,
                                    .exact = true};

static void topk_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    out[0] = attn_tape_topk(t, in[0], d->i[2], axis_name(d), d->i[4] ? &out[1] : NULL);
}

const tape_case tape_case_topk = {"topk",       2, topk_draw, topk_apply, order_oracle,
                                  .exact = true};

static void sort_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    out[0] = attn_tape_sort(t, in[0], axis_name(d), d->i[3] != 0, d->i[4] ? &out[1] : NULL);
}

const tape_case tape_case_sort = {"sort",       2, sort_draw, sort_apply, order_oracle,
                                  .exact = true};
