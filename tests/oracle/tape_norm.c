/* SPDX-License-Identifier: MIT
 * Normalisations by plain loops: the places of a set are listed, then its mean, its variance
 * and its results are made from the list. */
#include <math.h>

#include "tape_case.h"

/* Elements of x that are normalised together, and the number of w and b of each. */
typedef struct norm_set {
    int64_t n;
    int64_t *at, *channel;
} norm_set;

typedef struct norm_running {
    attn_tensor mean, var;
} norm_running;

static norm_set norm_set_new(const tape_draw *d, int64_t most)
{
    const size_t bytes = (size_t)(most + 1) * sizeof(int64_t);
    return (norm_set){0, test_alloc(d->arena, bytes), test_alloc(d->arena, bytes)};
}

static void norm_set_add(norm_set *s, int64_t at, int64_t channel)
{
    s->at[s->n] = at;
    s->channel[s->n++] = channel;
}

static void norm_moments(const norm_set *s, const double *x, double *mean, double *var)
{
    *mean = *var = 0;
    for (int64_t i = 0; i < s->n; i++) *mean += x[s->at[i]] / (double)s->n;
    for (int64_t i = 0; i < s->n; i++) *var += pow(x[s->at[i]] - *mean, 2) / (double)s->n;
}

static void norm_write(const norm_set *s, const double *const *in, double mean, double sigma,
                       double *y)
{
    for (int64_t i = 0; i < s->n; i++) {
        const int64_t at = s->at[i], ch = s->channel[i];
        y[at] = (in[0][at] - mean) / sigma * (in[1] ? in[1][ch] : 1) + (in[2] ? in[2][ch] : 0);
    }
}

static int64_t norm_product(const attn_tensor *t, int from, int to)
{
    int64_t n = 1;
    for (int i = from; i < to; i++) n *= t->shape[i];
    return n;
}

/* f[0]: eps. A variance that is small beside it bends too sharply for differences, so the
 * default is for sets that cannot be almost constant. */
static void norm_draw_eps(tape_draw *d, int64_t n)
{
    const bool usual = (n == 1 || n >= 7) && test_rng_chance(d->rng, 40);
    d->f[0] = usual ? 0 : 0.05 + test_rng_uniform(d->rng);
}

static double norm_eps(const tape_draw *d)
{
    return d->f[0] == 0 ? 1e-5 : d->f[0];
}

static void norm_draw_weights(tape_draw *d, int rank, const int64_t *shape, int n)
{
    for (int i = 0; i < n; i++)
        if (test_rng_chance(d->rng, 70))
            tape_reals(d, rank, shape, true);
        else
            tape_absent(d);
}

static int norm_draw_x(tape_draw *d, int least, int64_t *shape)
{
    const int rank = (int)test_rng_range(d->rng, least, 4);
    for (int i = 0; i < rank; i++) shape[i] = tape_size(d, 0);
    return rank;
}

/* ---- layernorm: i[0] dimensions; rmsnorm ------------------------------------------------ */

static void layernorm_draw(tape_draw *d)
{
    int64_t shape[4];
    const int rank = norm_draw_x(d, 1, shape), n = (int)test_rng_range(d->rng, 1, rank);
    d->i[0] = n;
    norm_draw_eps(d, norm_product(tape_reals(d, rank, shape, true), rank - n, rank));
    norm_draw_weights(d, n, shape + rank - n, 2);
}

static void layernorm_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    out[0] = attn_tape_layernorm(t, in[0], (int)d->i[0], in[1], in[2], d->f[0]);
}

/* Rows of the last n dims; centred: about their mean. */
static void norm_over_rows(const tape_draw *d, const double *const *in, int n, bool centred,
                           double *y)
{
    const attn_tensor *x = &d->in[0];
    const int64_t width = norm_product(x, x->rank - n, x->rank);
    norm_set s = norm_set_new(d, width);
    for (int64_t r = 0; r < norm_product(x, 0, x->rank - n); r++) {
        double mean, var;
        s.n = 0;
        for (int64_t i = 0; i < width; i++) norm_set_add(&s, r * width + i, i);
        norm_moments(&s, in[0], &mean, &var);
        if (!centred) var += mean * mean;
        norm_write(&s, in, centred ? mean : 0, sqrt(var + norm_eps(d)), y);
    }
}

static void layernorm_oracle(const tape_draw *d, const double *const *in,
                             const attn_tensor *shape, double *const *out)
{
    (void)shape;
    norm_over_rows(d, in, (int)d->i[0], true, out[0]);
}

const tape_case tape_case_layernorm = {
    "layernorm", 1, layernorm_draw, layernorm_apply, layernorm_oracle, .exact = false};

static void rmsnorm_draw(tape_draw *d)
{
    int64_t shape[4];
    const int rank = norm_draw_x(d, 1, shape);
    tape_reals(d, rank, shape, true);
    d->f[0] = 0.05 + test_rng_uniform(d->rng);
    norm_draw_weights(d, 1, shape + rank - 1, 1);
}

static void rmsnorm_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    out[0] = attn_tape_rmsnorm(t, in[0], in[1], d->f[0]);
}

static void rmsnorm_oracle(const tape_draw *d, const double *const *in,
                           const attn_tensor *shape, double *const *out)
{
    const double *const own[3] = {in[0], in[1], NULL};
    (void)shape;
    norm_over_rows(d, own, 1, false, out[0]);
}

const tape_case tape_case_rmsnorm = {
    "rmsnorm", 1, rmsnorm_draw, rmsnorm_apply, rmsnorm_oracle, .exact = false};

/* ---- groupnorm: i[0] groups ------------------------------------------------------------- */

static void groupnorm_draw(tape_draw *d)
{
    int64_t shape[4];
    const int rank = norm_draw_x(d, 2, shape);
    const int64_t groups = test_rng_range(d->rng, 1, 3);
    shape[1] = (shape[1] > 2 ? 2 : shape[1]) * groups;
    d->i[0] = groups;
    tape_reals(d, rank, shape, true);
    norm_draw_eps(d, norm_product(&d->in[0], 1, rank) / groups);
    norm_draw_weights(d, 1, &shape[1], 2);
}

static void groupnorm_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    out[0] = attn_tape_groupnorm(t, in[0], d->i[0], in[1], in[2], d->f[0]);
}

static void groupnorm_oracle(const tape_draw *d, const double *const *in,
                             const attn_tensor *shape, double *const *out)
{
    const attn_tensor *x = &d->in[0];
    const int64_t channels = x->shape[1], inner = norm_product(x, 2, x->rank);
    norm_set s = norm_set_new(d, channels * inner);
    (void)shape;
    for (int64_t n = 0; n < x->shape[0]; n++)
        for (int64_t g = 0; g < d->i[0]; g++) {
            double mean, var;
            s.n = 0;
            for (int64_t c = 0; c < channels; c++)
                for (int64_t i = 0; i < inner && c / (channels / d->i[0]) == g; i++)
                    norm_set_add(&s, (n * channels + c) * inner + i, c);
            norm_moments(&s, in[0], &mean, &var);
            norm_write(&s, in, mean, sqrt(var + norm_eps(d)), out[0]);
        }
}

const tape_case tape_case_groupnorm = {
    "groupnorm", 1, groupnorm_draw, groupnorm_apply, groupnorm_oracle, .exact = false};

/* ---- batchnorm: i[0] training; object: the running estimates ---------------------------- */

static void batchnorm_draw(tape_draw *d)
{
    int64_t shape[4];
    const int rank = norm_draw_x(d, 2, shape);
    norm_running *running = test_alloc(d->arena, sizeof *running);
    const attn_dtype dtype = test_rng_chance(d->rng, 50) ? ATTN_DTYPE_F64 : ATTN_DTYPE_F32;
    d->i[0] = test_rng_chance(d->rng, 60);
    tape_reals(d, rank, shape, true);
    norm_draw_eps(d, norm_product(&d->in[0], 2, rank) * shape[0]);
    norm_draw_weights(d, 1, &shape[1], 2);
    running->mean = test_tensor_layout(d->arena, d->rng, dtype, 1, &shape[1], false);
    running->var = test_tensor_layout(d->arena, d->rng, dtype, 1, &shape[1], false);
    test_fill_normal(&running->mean, d->rng, 1);
    for (int64_t c = 0; c < shape[1]; c++)
        test_put(&running->var, &c, 0.2 + test_rng_uniform(d->rng));
    if (d->i[0] && test_rng_chance(d->rng, 30)) running->mean.dtype = ATTN_DTYPE_NONE;
    if (d->i[0] && test_rng_chance(d->rng, 30)) running->var.dtype = ATTN_DTYPE_NONE;
    d->object = running;
}

static void batchnorm_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    const norm_running *running = d->object;
    out[0] = attn_tape_batchnorm(t, in[0], in[1], in[2], running->mean, running->var, d->i[0],
                                 0, d->f[0]);
}

static void batchnorm_oracle(const tape_draw *d, const double *const *in,
                             const attn_tensor *shape, double *const *out)
{
    const norm_running *running = d->object;
    const attn_tensor *x = &d->in[0];
    const int64_t channels = x->shape[1], inner = norm_product(x, 2, x->rank);
    norm_set s = norm_set_new(d, x->shape[0] * inner);
    (void)shape;
    for (int64_t c = 0; c < channels; c++) {
        double mean, var;
        s.n = 0;
        for (int64_t n = 0; n < x->shape[0]; n++)
            for (int64_t i = 0; i < inner; i++)
                norm_set_add(&s, (n * channels + c) * inner + i, c);
        norm_moments(&s, in[0], &mean, &var);
        if (!d->i[0]) mean = test_get(&running->mean, &c), var = test_get(&running->var, &c);
        norm_write(&s, in, mean, sqrt(var + norm_eps(d)), out[0]);
    }
}

const tape_case tape_case_batchnorm = {
    "batchnorm", 1, batchnorm_draw, batchnorm_apply, batchnorm_oracle, .exact = false};
