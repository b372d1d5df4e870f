/* SPDX-License-Identifier: MIT
 * One operand, element by element, by the C library's functions in doubles. Kinks at 0, and for
 * clamp at its ends, are kept away from; logarithms and roots get positive numbers. */
#include <math.h>

#include "tape_case.h"

/* ---- draws ------------------------------------------------------------------------------- */

static void unary_draw(tape_draw *d)
{
    int64_t shape[ATTN_MAX_RANK];
    const int rank = (int)test_rng_range(d->rng, 0, 4);
    for (int i = 0; i < rank; i++) shape[i] = tape_size(d, 0);
    tape_reals(d, rank, shape, true);
}

static void unary_draw_kink(tape_draw *d)
{
    unary_draw(d);
    tape_avoid(&d->in[0], 0);
}

static void unary_draw_positive(tape_draw *d)
{
    int64_t index[ATTN_MAX_RANK] = {0};
    unary_draw(d);
    const attn_tensor *t = &d->in[0];
    if (test_tensor_empty(t)) return;
    do test_put(t, index, 0.3 + fabs(test_get(t, index)));
    while (test_index_next(t, index));
}

static void leaky_draw(tape_draw *d)
{
    unary_draw_kink(d);
    d->f[0] = (double)test_rng_range(d->rng, 0, 16) / 32;
}

static void clamp_draw(tape_draw *d)
{
    unary_draw(d);
    d->f[0] = (double)test_rng_range(d->rng, -64, 16) / 64;
    d->f[1] = d->f[0] + (double)test_rng_range(d->rng, 16, 64) / 64;
    tape_avoid(&d->in[0], d->f[0]);
    tape_avoid(&d->in[0], d->f[1]);
}

/* ---- functions --------------------------------------------------------------------------- */

typedef double (*unary_function)(double x, const double *f);

static double neg_of(double x, const double *f)
{
    (void)f;
    return -x;
}

static double abs_of(double x, const double *f)
{
    (void)f;
    return fabs(x);
}

static double exp_of(double x, const double *f)
{
    (void)f;
    return exp(x);
}

static double log_of(double x, const double *f)
{
    (void)f;
    return log(x);
}

static double sqrt_of(double x, const double *f)
{
    (void)f;
    return sqrt(x);
}

static double rsqrt_of(double x, const double *f)
{
    (void)f;
    return 1 / sqrt(x);
}

static double sin_of(double x, const double *f)
{
    (void)f;
    return sin(x);
}

static double cos_of(double x, const double *f)
{
    (void)f;
    return cos(x);
}

static double tanh_of(double x, const double *f)
{
    (void)f;
    return tanh(x);
}

static double sigmoid_of(double x, const double *f)
{
    (void)f;
    return 1 / (1 + exp(-x));
}

static double relu_of(double x, const double *f)
{
    (void)f;
    return x > 0 ? x : 0;
}

static double leaky_relu_of(double x, const double *f)
{
    return x > 0 ? x : f[0] * x;
}

static double clamp_of(double x, const double *f)
{
    return fmin(fmax(x, f[0]), f[1]);
}

static double elu_of(double x, const double *f)
{
    (void)f;
    return x > 0 ? x : expm1(x);
}

static double gelu_of(double x, const double *f)
{
    (void)f;
    return 0.5 * x * erfc(-x / sqrt(2));
}

static double gelu_tanh_of(double x, const double *f)
{
    const double pi = acos(-1);
    (void)f;
    return 0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x * x * x)));
}

static double silu_of(double x, const double *f)
{
    (void)f;
    return x / (1 + exp(-x));
}

static double softplus_of(double x, const double *f)
{
    (void)f;
    return log1p(exp(-fabs(x))) + fmax(x, 0);
}

static double erf_of(double x, const double *f)
{
    (void)f;
    return erf(x);
}

/* ---- cases ------------------------------------------------------------------------------- */

static void unary_oracle(const tape_draw *d, const double *const *in, const attn_tensor *shape,
                         double *const *out, unary_function f)
{
    for (int64_t i = 0, n = attn_tensor_count(*shape); i < n; i++)
        out[0][i] = f(in[0][i], d->f);
}

/* call: what is made of in[0] on tape t. */
#define UNARY(name, how, call, is_exact)                                                       \
    static void name##_apply(attn_tape *t, const tape_draw *d, const attn_var *in,             \
                             attn_var *out)                                                    \
    {                                                                                          \
        (void)d;                                                                               \
        out[0] = call;                                                                         \
    }                                                                                          \
    static void name##_oracle(const tape_draw *d, const double *const *in,                     \
                              const attn_tensor *shape, double *const *out)                    \
    {                                                                                          \
        unary_oracle(d, in, shape, out, name##_of);                                            \
    }                                                                                          \
    const tape_case tape_case_##name = {                                                       \
        #name, 1, how, name##_apply, name##_oracle, .exact = is_exact};
UNARY(neg, unary_draw, attn_tape_neg(t, in[0]), true)
UNARY(abs, unary_draw_kink, attn_tape_abs(t, in[0]), true)
UNARY(exp, unary_draw, attn_tape_exp(t, in[0]), false)
UNARY(log, unary_draw_positive, attn_tape_log(t, in[0]), false)
UNARY(sqrt, unary_draw_positive, attn_tape_sqrt(t, in[0]), true)
UNARY(rsqrt, unary_draw_positive, attn_tape_rsqrt(t, in[0]), true)
UNARY(sin, unary_draw, attn_tape_sin(t, in[0]), false)
UNARY(cos, unary_draw, attn_tape_cos(t, in[0]), false)
UNARY(tanh, unary_draw, attn_tape_tanh(t, in[0]), false)
UNARY(sigmoid, unary_draw, attn_tape_sigmoid(t, in[0]), false)
UNARY(relu, unary_draw_kink, attn_tape_relu(t, in[0]), true)
UNARY(leaky_relu, leaky_draw, attn_tape_leaky_relu(t, in[0], d->f[0]), true)
UNARY(clamp, clamp_draw, attn_tape_clamp(t, in[0], d->f[0], d->f[1]), true)
UNARY(elu, unary_draw_kink, attn_tape_elu(t, in[0]), false)
UNARY(gelu, unary_draw, attn_tape_gelu(t, in[0]), false)
UNARY(gelu_tanh, unary_draw, attn_tape_gelu_tanh(t, in[0]), false)
UNARY(silu, unary_draw, attn_tape_silu(t, in[0]), false)
UNARY(softplus, unary_draw, attn_tape_softplus(t, in[0]), false)
UNARY(erf, unary_draw, attn_tape_erf(t, in[0]), false)

/* ---- what only passes things on ---------------------------------------------------------- */

static void pass_oracle(const tape_draw *d, const double *const *in, const attn_tensor *shape,
                        double *const *out)
{
    (void)d;
    for (int64_t i = 0, n = attn_tensor_count(*shape); i < n; i++) out[0][i] = in[0][i];
}

static void stop_draw(tape_draw *d)
{
    unary_draw(d);
    d->grad[0] = false;
}

static void stop_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    (void)d;
    out[0] = attn_tape_stop(t, in[0]);
}

const tape_case tape_case_stop = {"stop", 1, stop_draw, stop_apply, pass_oracle, .exact = true};

/* Floats, which carry a gradient, or integers. */
static void cast_draw(tape_draw *d)
{
    unary_draw(d);
    if (test_rng_chance(d->rng, 60)) return;
    const attn_tensor x = d->in[0];
    d->n_in = 0;
    tape_ints(d, x.rank, x.shape, -9, 9);
}

static void cast_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    (void)d;
    out[0] = attn_tape_cast(t, in[0]);
}

const tape_case tape_case_cast = {"cast", 1, cast_draw, cast_apply, pass_oracle, .exact = true};

static void not_draw(tape_draw *d)
{
    unary_draw(d);
    const attn_tensor x = d->in[0];
    d->n_in = 0;
    tape_bools(d, x.rank, x.shape);
}

static void not_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    (void)d;
    out[0] = attn_tape_not(t, in[0]);
}

static void not_oracle(const tape_draw *d, const double *const *in, const attn_tensor *shape,
                       double *const *out)
{
    (void)d;
    for (int64_t i = 0, n = attn_tensor_count(*shape); i < n; i++) out[0][i] = in[0][i] == 0;
}

const tape_case tape_case_not = {"not", 1, not_draw, not_apply, not_oracle, .exact = true};

/* The value is hard, the derivative that of soft: hard + (soft - what soft was when drawn),
 * which is kept in f32, as exact as the operands are. */
static void straight_through_draw(tape_draw *d)
{
    unary_draw(d);
    const attn_tensor x = d->in[0];
    d->grad[0] = false;
    tape_reals(d, x.rank, x.shape, true);
    d->object = test_tensor_dense(d->arena, d->in[1], ATTN_DTYPE_F32).data;
}

static void straight_through_apply(attn_tape *t, const tape_draw *d, const attn_var *in,
                                   attn_var *out)
{
    (void)d;
    out[0] = attn_tape_straight_through(t, in[0], in[1]);
}

static void straight_through_oracle(const tape_draw *d, const double *const *in,
                                    const attn_tensor *shape, double *const *out)
{
    const float *drawn = d->object;
    for (int64_t i = 0, n = attn_tensor_count(*shape); i < n; i++)
        out[0][i] = in[0][i] + (in[1][i] - (double)drawn[i]);
}

const tape_case tape_case_straight_through = {"straight_through",      1,
                                              straight_through_draw,   straight_through_apply,
                                              straight_through_oracle, .exact = false};
