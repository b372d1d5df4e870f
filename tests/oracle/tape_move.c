/* SPDX-License-Identifier: MIT
 * Where pad, roll and concat put elements, by plain loops over a tensor seen as before x n x
 * after around one dimension. */
#include "tape_oracle.h"

enum { MOVE_PARTS = 5 };

/* ---- pad: i[1] before, i[2] after, f[0] ------------------------------------------------- */

static void pad_draw(tape_draw *d)
{
    axis_draw(d, 0, 0, true);
    const int64_t n = d->in[0].shape[d->i[0]];
    d->i[1] = test_rng_range(d->rng, -n - 1, 4);
    const int64_t least = -(n + d->i[1]);
    d->i[2] = test_rng_range(d->rng, least > -n - 1 ? least : -n - 1, least > 4 ? least : 4);
    d->f[0] = test_rng_normal(d->rng);
}

static void pad_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    out[0] = attn_tape_pad(t, in[0], axis_name(d), d->i[1], d->i[2], d->f[0]);
}

static void pad_oracle(const tape_draw *d, const double *const *in, const attn_tensor *shape,
                       double *const *out)
{
    const axis x = axis_of(&d->in[0], d->i[0]), y = axis_of(shape, d->i[0]);
    for (int64_t b = 0; b < y.before; b++)
        for (int64_t i = 0; i < y.n; i++)
            for (int64_t a = 0; a < y.after; a++) {
                const int64_t from = i - d->i[1];
                const bool inside = from >= 0 && from < x.n;
                out[0][(b * y.n + i) * y.after + a] =
                    inside ? in[0][(b * x.n + from) * x.after + a] : d->f[0];
            }
}

const tape_case tape_case_pad = {"pad", 1, pad_draw, pad_apply, pad_oracle, .exact = true};

/* ---- roll: i[1] -------------------------------------------------------------------------- */

static void roll_draw(tape_draw *d)
{
    axis_draw(d, 0, 0, true);
    d->i[1] = test_rng_range(d->rng, -20, 20);
}

static void roll_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    out[0] = attn_tape_roll(t, in[0], axis_name(d), d->i[1]);
}

static void roll_oracle(const tape_draw *d, const double *const *in, const attn_tensor *shape,
                        double *const *out)
{
    const axis x = axis_of(shape, d->i[0]);
    for (int64_t b = 0; b < x.before; b++)
        for (int64_t i = 0; i < x.n; i++)
            for (int64_t a = 0; a < x.after; a++) {
                const int64_t to = ((i + d->i[1]) % x.n + x.n) % x.n;
                out[0][(b * x.n + to) * x.after + a] = in[0][(b * x.n + i) * x.after + a];
            }
}

const tape_case tape_case_roll = {"roll", 1, roll_draw, roll_apply, roll_oracle, .exact = true};

/* ---- concat: i[2] parts, which are the operands over and over; i[3]: stack --------------- */

enum { CONCAT_MOST = 70 };

static void concat_draw(tape_draw *d)
{
    axis_draw(d, 0, 0, true);
    int64_t shape[AXIS_RANK];
    const int n_in = (int)test_rng_range(d->rng, 1, MOVE_PARTS), rank = d->in[0].rank;
    d->i[3] = test_rng_range(d->rng, 0, 1);
    for (int i = 1; i < n_in; i++) {
        for (int k = 0; k < rank; k++) shape[k] = d->in[0].shape[k];
        if (!d->i[3]) shape[d->i[0]] = tape_size(d, 0);
        tape_reals(d, rank, shape, test_rng_chance(d->rng, 80));
    }
    d->i[2] = test_rng_chance(d->rng, 10) ? test_rng_range(d->rng, 31, CONCAT_MOST) : n_in;
    if (d->i[3]) d->i[0] = test_rng_range(d->rng, 0, rank);
}

static void concat_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    attn_var parts[CONCAT_MOST];
    for (int64_t i = 0; i < d->i[2]; i++) parts[i] = in[i % d->n_in];
    if (d->i[3])
        out[0] = attn_tape_stack(t, (int)d->i[2], parts, (int)d->i[0]);
    else
        out[0] = attn_tape_concat(t, (int)d->i[2], parts, (int)d->i[0] - d->in[0].rank);
}

/* A stacked part is one whose dimension i[0] is a new one of size 1. */
static void concat_oracle(const tape_draw *d, const double *const *in, const attn_tensor *shape,
                          double *const *out)
{
    const axis y = axis_of(shape, d->i[0]);
    int64_t at = 0;
    for (int64_t part = 0; part < d->i[2]; part++) {
        const int64_t from = part % d->n_in;
        const int64_t n = d->i[3] ? 1 : d->in[from].shape[d->i[0]];
        for (int64_t b = 0; b < y.before; b++)
            for (int64_t i = 0; i < n * y.after; i++)
                out[0][(b * y.n + at) * y.after + i] = in[from][b * n * y.after + i];
        at += n;
    }
}

const tape_case tape_case_concat = {"concat",     1, concat_draw, concat_apply, concat_oracle,
                                    .exact = true};
