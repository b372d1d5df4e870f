/* SPDX-License-Identifier: MIT
 * Pooling from its definition. Maxima are drawn over numbers that are all different, so that
 * the winner stays when one of them moves a little. */
#include <math.h>

#include "tape_case.h"

/* All elements different by 0.0625 at least, in random order. */
static void pool_fill_apart(const tape_draw *d, const attn_tensor *t)
{
    int64_t index[ATTN_MAX_RANK] = {0}, n = 0;
    double *x = test_alloc(d->arena, (size_t)attn_tensor_count(*t) * sizeof *x + 1);
    for (; n < attn_tensor_count(*t); n++) {
        const int64_t other = test_rng_range(d->rng, 0, n);
        x[n] = x[other];
        x[other] = 0.0625 * (double)(n % 2 ? n : -n);
    }
    if (n == 0) return;
    do test_put(t, index, x[--n]);
    while (test_index_next(t, index));
}

/* Size of a tensor N C H W or N C L along H (0) or W (1). */
static int64_t pool_size(const attn_tensor *t, int axis)
{
    if (axis == 0 && t->rank == 3) return 1;
    return t->shape[t->rank - 2 + axis];
}

/* ---- windows that are given: object, an attn_pool --------------------------------------- */

static void pool_draw_axis(tape_draw *d, attn_pool *p, int at, int64_t *x)
{
    const int64_t size = test_rng_range(d->rng, 1, 4);
    p->size[at] = size;
    p->stride[at] = test_rng_range(d->rng, 0, 3);
    p->dilation[at] = test_rng_range(d->rng, 0, 3);
    p->padding[at] = test_rng_range(d->rng, 0, size / 2);
    const int64_t gap = p->dilation[at] ? p->dilation[at] : 1;
    const int64_t least = gap * (size - 1) + 1 - 2 * p->padding[at];
    *x = tape_size(d, 1) + (least > gap ? least : gap) - 1;
}

static void pool_draw(tape_draw *d)
{
    const int rank = (int)test_rng_range(d->rng, 3, 4);
    int64_t shape[4] = {tape_size(d, 0), tape_size(d, 0)};
    attn_pool *p = test_alloc(d->arena, sizeof *p);
    for (int i = 2; i < rank; i++) pool_draw_axis(d, p, i - 2, &shape[i]);
    p->exclude_pad = test_rng_chance(d->rng, 50);
    d->object = p;
    tape_reals(d, rank, shape, true);
}

static void max_pool_draw(tape_draw *d)
{
    pool_draw(d);
    pool_fill_apart(d, &d->in[0]);
}

/* Tap k of window o along an axis; outside: -1. */
static int64_t pool_pixel(const tape_draw *d, int axis, int64_t o, int64_t k)
{
    const attn_pool *p = d->object;
    const attn_tensor *x = &d->in[0];
    const int at = x->rank == 3 ? 0 : axis;
    if (axis == 0 && x->rank == 3) return 0;
    const int64_t stride = p->stride[at] ? p->stride[at] : p->size[at];
    const int64_t gap = p->dilation[at] ? p->dilation[at] : 1;
    const int64_t pixel = o * stride - p->padding[at] + k * gap;
    return pixel >= 0 && pixel < pool_size(x, axis) ? pixel : -1;
}

typedef struct pool_seen {
    double sum, most;
    int64_t n, all; /* pixels, and taps */
} pool_seen;

static pool_seen pool_window(const tape_draw *d, const double *plane, int64_t o, int64_t q)
{
    const attn_pool *p = d->object;
    const bool series = d->in[0].rank == 3;
    const int64_t high = series ? 1 : p->size[0], wide = p->size[series ? 0 : 1];
    pool_seen seen = {.most = -(double)INFINITY, .all = high * wide};
    for (int64_t k = 0; k < high; k++)
        for (int64_t l = 0; l < wide; l++) {
            const int64_t i = pool_pixel(d, 0, o, k), j = pool_pixel(d, 1, q, l);
            if (i < 0 || j < 0) continue;
            const double x = plane[i * pool_size(&d->in[0], 1) + j];
            seen.sum += x;
            seen.most = x > seen.most ? x : seen.most;
            seen.n++;
        }
    return seen;
}

/* Windows of every plane, and what is made of each. */
static void pool_oracle(const tape_draw *d, const double *x, const attn_tensor *y, double *out,
                        pool_seen (*window)(const tape_draw *, const double *, int64_t,
                                            int64_t),
                        double (*made)(const tape_draw *, const pool_seen *))
{
    const int64_t high = pool_size(y, 0), wide = pool_size(y, 1);
    const int64_t pixels = pool_size(&d->in[0], 0) * pool_size(&d->in[0], 1);
    for (int64_t plane = 0; plane < y->shape[0] * y->shape[1]; plane++)
        for (int64_t i = 0; i < high * wide; i++) {
            const pool_seen seen = window(d, x + plane * pixels, i / wide, i % wide);
            out[plane * high * wide + i] = made(d, &seen);
        }
}

static double pool_most(const tape_draw *d, const pool_seen *seen)
{
    (void)d;
    return seen->most;
}

static double pool_mean(const tape_draw *d, const pool_seen *seen)
{
    const attn_pool *p = d->object;
    return seen->sum / (double)(!p || p->exclude_pad ? seen->n : seen->all);
}

static void max_pool_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    out[0] = attn_tape_max_pool(t, in[0], d->object);
}

static void max_pool_oracle(const tape_draw *d, const double *const *in,
                            const attn_tensor *shape, double *const *out)
{
    pool_oracle(d, in[0], shape, out[0], pool_window, pool_most);
}

const tape_case tape_case_max_pool = {
    "max_pool", 1, max_pool_draw, max_pool_apply, max_pool_oracle, .exact = true};

static void avg_pool_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    out[0] = attn_tape_avg_pool(t, in[0], d->object);
}

static void avg_pool_oracle(const tape_draw *d, const double *const *in,
                            const attn_tensor *shape, double *const *out)
{
    pool_oracle(d, in[0], shape, out[0], pool_window, pool_mean);
}

const tape_case tape_case_avg_pool = {
    "avg_pool", 1, pool_draw, avg_pool_apply, avg_pool_oracle, .exact = false};

/* ---- sizes that are given: dims --------------------------------------------------------- */

static void adaptive_draw(tape_draw *d)
{
    const int rank = (int)test_rng_range(d->rng, 3, 4);
    int64_t shape[4] = {tape_size(d, 0), tape_size(d, 0)};
    d->dims.n = rank - 2;
    for (int i = 2; i < rank; i++) {
        shape[i] = tape_size(d, 1);
        d->dims.at[i - 2] = test_rng_range(d->rng, 0, 9);
    }
    tape_reals(d, rank, shape, true);
}

static void adaptive_max_pool_draw(tape_draw *d)
{
    adaptive_draw(d);
    pool_fill_apart(d, &d->in[0]);
}

/* Pixels floor(o H / h) .. ceil((o + 1) H / h) - 1 of H. */
static bool adaptive_sees(const tape_draw *d, int axis, int64_t o, int64_t pixel)
{
    const int64_t n = pool_size(&d->in[0], axis);
    const bool series = d->dims.n == 1;
    const int64_t out = series && axis == 0 ? 1 : d->dims.at[series ? 0 : axis];
    const double from = floor((double)(o * n) / (double)out);
    const double to = ceil((double)((o + 1) * n) / (double)out);
    return (double)pixel >= from && (double)pixel < to;
}

static pool_seen adaptive_window(const tape_draw *d, const double *plane, int64_t o, int64_t p)
{
    const int64_t high = pool_size(&d->in[0], 0), wide = pool_size(&d->in[0], 1);
    pool_seen seen = {.most = -(double)INFINITY};
    for (int64_t i = 0; i < high; i++)
        for (int64_t j = 0; j < wide; j++) {
            if (!adaptive_sees(d, 0, o, i) || !adaptive_sees(d, 1, p, j)) continue;
            const double x = plane[i * wide + j];
            seen.sum += x;
            seen.most = x > seen.most ? x : seen.most;
            seen.n++;
        }
    return seen;
}

static void adaptive_max_pool_apply(attn_tape *t, const tape_draw *d, const attn_var *in,
                                    attn_var *out)
{
    out[0] = attn_tape_adaptive_max_pool(t, in[0], d->dims);
}

static void adaptive_max_pool_oracle(const tape_draw *d, const double *const *in,
                                     const attn_tensor *shape, double *const *out)
{
    pool_oracle(d, in[0], shape, out[0], adaptive_window, pool_most);
}

const tape_case tape_case_adaptive_max_pool = {
    "adaptive_max_pool",      1,
    adaptive_max_pool_draw,   adaptive_max_pool_apply,
    adaptive_max_pool_oracle, .exact = true};

static void adaptive_avg_pool_apply(attn_tape *t, const tape_draw *d, const attn_var *in,
                                    attn_var *out)
{
    out[0] = attn_tape_adaptive_avg_pool(t, in[0], d->dims);
}

static void adaptive_avg_pool_oracle(const tape_draw *d, const double *const *in,
                                     const attn_tensor *shape, double *const *out)
{
    pool_oracle(d, in[0], shape, out[0], adaptive_window, pool_mean);
}

const tape_case tape_case_adaptive_avg_pool = {
    "adaptive_avg_pool", 1, adaptive_draw, adaptive_avg_pool_apply, adaptive_avg_pool_oracle,
    .exact = false};
