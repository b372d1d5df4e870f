/* SPDX-License-Identifier: MIT
 * Two operands that broadcast, element by element in doubles: each result looks up the elements
 * that it is made of by its own index. Operands of maximum and minimum are odd and even tenths,
 * so that they are never near a tie; those of comparisons are small integers, so that they
 * often are one. */
#include <math.h>

#include "tape_case.h"

/* ---- shapes that fit --------------------------------------------------------------------- */

typedef struct binary_shape {
    int rank;
    int64_t size[ATTN_MAX_RANK];
} binary_shape;

/* n shapes of one common shape: in each dimension of that, each has all of it or 1, and leading
 * ones may be missing. */
static void binary_shapes(tape_draw *d, int n, binary_shape *shapes)
{
    const int rank = (int)test_rng_range(d->rng, 0, 4);
    for (int k = 0; k < n; k++) shapes[k].rank = rank;
    for (int i = 0; i < rank; i++) {
        const int64_t size = tape_size(d, 0), full = test_rng_range(d->rng, 0, n - 1);
        for (int k = 0; k < n; k++)
            shapes[k].size[i] = k == full || test_rng_chance(d->rng, 65) ? size : 1;
    }
    for (int k = 1; k < n; k++) {
        binary_shape *s = &shapes[k];
        while (s->rank > 0 && s->size[0] == 1 && test_rng_chance(d->rng, 60)) {
            for (int i = 1; i < s->rank; i++) s->size[i - 1] = s->size[i];
            s->rank--;
        }
    }
    const int64_t other = test_rng_range(d->rng, 0, n - 1);
    const binary_shape first = shapes[0];
    shapes[0] = shapes[other];
    shapes[other] = first;
}

/* The element of an operand behind element flat of the result. */
static int64_t binary_at(const attn_tensor *operand, const attn_tensor *out, int64_t flat)
{
    int64_t at = 0, step = 1;
    for (int i = 1; i <= out->rank; i++) {
        const int64_t size = out->shape[out->rank - i], index = flat % size;
        flat /= size;
        if (i > operand->rank) continue;
        if (operand->shape[operand->rank - i] > 1) at += index * step;
        step *= operand->shape[operand->rank - i];
    }
    return at;
}

static void binary_change(const attn_tensor *t, double (*f)(double))
{
    int64_t index[ATTN_MAX_RANK] = {0};
    if (test_tensor_empty(t)) return;
    do test_put(t, index, f(test_get(t, index)));
    while (test_index_next(t, index));
}

static void binary_draw(tape_draw *d)
{
    binary_shape shapes[2];
    binary_shapes(d, 2, shapes);
    for (int k = 0; k < 2; k++) tape_reals(d, shapes[k].rank, shapes[k].size, true);
}

static double binary_far(double x)
{
    return x < 0 ? x - 0.5 : x + 0.5;
}

static void binary_draw_divisor(tape_draw *d)
{
    binary_draw(d);
    binary_change(&d->in[1], binary_far);
}

static double binary_even(double x)
{
    return floor(5 * x) / 5;
}

static double binary_odd(double x)
{
    return floor(5 * x) / 5 + 0.1;
}

static void binary_draw_apart(tape_draw *d)
{
    binary_draw(d);
    binary_change(&d->in[0], binary_even);
    binary_change(&d->in[1], binary_odd);
}

static double binary_positive(double x)
{
    return 0.3 + fabs(x);
}

static void binary_draw_power(tape_draw *d)
{
    binary_draw(d);
    binary_change(&d->in[0], binary_positive);
}

/* Reals or integers, -2 to 2. */
static void binary_draw_compare(tape_draw *d)
{
    binary_shape shapes[2];
    const bool reals = test_rng_chance(d->rng, 50);
    binary_shapes(d, 2, shapes);
    for (int k = 0; k < 2; k++) {
        attn_tensor *t = tape_ints(d, shapes[k].rank, shapes[k].size, -2, 2);
        if (reals) *t = test_tensor_dense(d->arena, *t, ATTN_DTYPE_F64);
    }
}

/* ---- the operations ---------------------------------------------------------------------- */

static void binary_oracle(const tape_draw *d, const double *const *in, const attn_tensor *shape,
                          double *out, double (*f)(double, double))
{
    for (int64_t i = 0, n = attn_tensor_count(*shape); i < n; i++)
        out[i] =
            f(in[0][binary_at(&d->in[0], shape, i)], in[1][binary_at(&d->in[1], shape, i)]);
}

#define BINARY(name, how, is_exact)                                                            \
    static void name##_apply(attn_tape *t, const tape_draw *d, const attn_var *in,             \
                             attn_var *out)                                                    \
    {                                                                                          \
        (void)d;                                                                               \
        out[0] = attn_tape_##name(t, in[0], in[1]);                                            \
    }                                                                                          \
    static void name##_oracle(const tape_draw *d, const double *const *in,                     \
                              const attn_tensor *shape, double *const *out)                    \
    {                                                                                          \
        binary_oracle(d, in, shape, out[0], name##_of);                                        \
    }                                                                                          \
    const tape_case tape_case_##name = {                                                       \
        #name, 1, how, name##_apply, name##_oracle, .exact = is_exact};

static double add_of(double a, double b)
{
    return a + b;
}

static double sub_of(double a, double b)
{
    return a - b;
}

static double mul_of(double a, double b)
{
    return a * b;
}

static double div_of(double a, double b)
{
    return a / b;
}

static double maximum_of(double a, double b)
{
    return a >= b ? a : b;
}

static double minimum_of(double a, double b)
{
    return a <= b ? a : b;
}

static double pow_of(double a, double b)
{
    return pow(a, b);
}

static double less_of(double a, double b)
{
    return a < b;
}

static double less_equal_of(double a, double b)
{
    return a <= b;
}

static double equal_of(double a, double b)
{
    return a == b;
}

BINARY(add, binary_draw, true)
BINARY(sub, binary_draw, true)
BINARY(mul, binary_draw, true)
BINARY(div, binary_draw_divisor, true)
BINARY(maximum, binary_draw_apart, true)
BINARY(minimum, binary_draw_apart, true)
BINARY(pow, binary_draw_power, false)
BINARY(less, binary_draw_compare, true)
BINARY(less_equal, binary_draw_compare, true)
BINARY(equal, binary_draw_compare, true)

/* ---- where ------------------------------------------------------------------------------- */

static void where_draw(tape_draw *d)
{
    binary_shape shapes[3];
    binary_shapes(d, 3, shapes);
    tape_bools(d, shapes[0].rank, shapes[0].size);
    for (int k = 1; k < 3; k++) tape_reals(d, shapes[k].rank, shapes[k].size, true);
}

static void where_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    (void)d;
    out[0] = attn_tape_where(t, in[0], in[1], in[2]);
}

static void where_oracle(const tape_draw *d, const double *const *in, const attn_tensor *shape,
                         double *const *out)
{
    for (int64_t i = 0, n = attn_tensor_count(*shape); i < n; i++) {
        const int which = in[0][binary_at(&d->in[0], shape, i)] != 0 ? 1 : 2;
        out[0][i] = in[which][binary_at(&d->in[which], shape, i)];
    }
}

const tape_case tape_case_where = {"where",      1, where_draw, where_apply, where_oracle,
                                   .exact = true};

/* ---- with a number: f[0] ----------------------------------------------------------------- */

static void scalar_draw(tape_draw *d)
{
    int64_t shape[ATTN_MAX_RANK];
    const int rank = (int)test_rng_range(d->rng, 0, 4);
    for (int i = 0; i < rank; i++) shape[i] = tape_size(d, 0);
    tape_reals(d, rank, shape, true);
    d->f[0] = (double)test_rng_range(d->rng, -40, 40) / 8;
}

/* Fractions want a positive base; whole exponents one that is not near 0. */
static void power_draw(tape_draw *d)
{
    static const double exponents[] = {0, 1, 2, 3, 7, -1, -2, 0.5, -0.5, 1.5, 2.25, -1.25};
    scalar_draw(d);
    d->f[0] = exponents[test_rng_range(d->rng, 0, 11)];
    binary_change(&d->in[0], floor(d->f[0]) == d->f[0] ? binary_far : binary_positive);
}

static double add_scalar_of(double a, double b)
{
    return a + b;
}

static double mul_scalar_of(double a, double b)
{
    return a * b;
}

static double pow_scalar_of(double a, double b)
{
    return pow(a, b);
}

#define SCALAR(name, how, is_exact)                                                            \
    static void name##_apply(attn_tape *t, const tape_draw *d, const attn_var *in,             \
                             attn_var *out)                                                    \
    {                                                                                          \
        out[0] = attn_tape_##name(t, in[0], d->f[0]);                                          \
    }                                                                                          \
    static void name##_oracle(const tape_draw *d, const double *const *in,                     \
                              const attn_tensor *shape, double *const *out)                    \
    {                                                                                          \
        for (int64_t i = 0, n = attn_tensor_count(*shape); i < n; i++)                         \
            out[0][i] = name##_of(in[0][i], d->f[0]);                                          \
    }                                                                                          \
    const tape_case tape_case_##name = {                                                       \
        #name, 1, how, name##_apply, name##_oracle, .exact = is_exact};
SCALAR(add_scalar, scalar_draw, true)
SCALAR(mul_scalar, scalar_draw, true)
SCALAR(pow_scalar, power_draw, false)
