/* SPDX-License-Identifier: MIT
 * Products by plain loops: every element of the result is one sum. */
#include <math.h>

#include "tape_case.h"

enum { LINEAR_LEADING = 2 };

/* ---- matmul ------------------------------------------------------------------------------ */

/* The last `n` of the leading sizes, some of them 1, then two more; or one alone. */
static void matmul_operand(tape_draw *d, const int64_t *leading, int64_t rows, int64_t cols,
                           bool vector, int64_t only)
{
    int64_t shape[LINEAR_LEADING + 2];
    const int n = (int)test_rng_range(d->rng, 0, LINEAR_LEADING);
    for (int i = 0; i < n; i++)
        shape[i] = test_rng_chance(d->rng, 30) ? 1 : leading[LINEAR_LEADING - n + i];
    shape[n] = rows;
    shape[n + 1] = cols;
    if (vector)
        tape_reals(d, 1, &only, true);
    else
        tape_reals(d, n + 2, shape, true);
}

static void matmul_draw(tape_draw *d)
{
    const int64_t M = tape_size(d, 0), K = tape_size(d, 0), N = tape_size(d, 0);
    const int64_t leading[LINEAR_LEADING] = {tape_size(d, 0), tape_size(d, 0)};
    matmul_operand(d, leading, M, K, test_rng_chance(d->rng, 20), K);
    matmul_operand(d, leading, K, N, test_rng_chance(d->rng, 20), K);
}

static void matmul_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    (void)d;
    out[0] = attn_tape_matmul(t, in[0], in[1]);
}

/* Which matrix of t belongs to item number `item` of the leading sizes of the result. */
static int64_t matmul_which(const attn_tensor *t, const int64_t *leading, int n, int64_t item)
{
    int64_t which = 0, stride = 1;
    for (int i = 1; i <= n; i++) {
        const int64_t at = item % leading[n - i], dim = t->rank - 2 - i;
        item /= leading[n - i];
        if (dim < 0) continue;
        which += t->shape[dim] == 1 ? 0 : at * stride;
        stride *= t->shape[dim];
    }
    return which;
}

static void matmul_oracle(const tape_draw *d, const double *const *in, const attn_tensor *shape,
                          double *const *out)
{
    const attn_tensor *a = &d->in[0], *b = &d->in[1];
    const int n = shape[0].rank - (a->rank > 1) - (b->rank > 1);
    const int64_t K = a->shape[a->rank - 1], M = a->rank > 1 ? a->shape[a->rank - 2] : 1;
    const int64_t N = b->rank > 1 ? b->shape[b->rank - 1] : 1;
    int64_t items = 1;
    for (int i = 0; i < n; i++) items *= shape[0].shape[i];
    for (int64_t item = 0; item < items; item++) {
        const double *x = in[0] + matmul_which(a, shape[0].shape, n, item) * M * K;
        const double *y = in[1] + matmul_which(b, shape[0].shape, n, item) * K * N;
        for (int64_t i = 0; i < M * N; i++)
            for (int64_t k = 0; k < K; k++)
                out[0][item * M * N + i] += x[i / N * K + k] * y[k * N + i % N];
    }
}

const tape_case tape_case_matmul = {"matmul",      1, matmul_draw, matmul_apply, matmul_oracle,
                                    .exact = false};

/* ---- linear ------------------------------------------------------------------------------ */

static double linear_before(const tape_draw *d, const double *const *in, int64_t row, int64_t n)
{
    const int64_t K = d->in[1].shape[1];
    double z = in[2] ? in[2][n] : 0;
    for (int64_t k = 0; k < K; k++) z += in[0][row * K + k] * in[1][n * K + k];
    return z;
}

static void linear_reals(tape_draw *d, bool tiny)
{
    const int64_t N = tiny ? test_rng_range(d->rng, 1, 3) : tape_size(d, 0);
    const int64_t K = tiny ? test_rng_range(d->rng, 0, 5) : tape_size(d, 0);
    const int rank = (int)test_rng_range(d->rng, 1, 3);
    int64_t shape[3] = {0};
    for (int i = 0; i < rank - 1; i++)
        shape[i] = tiny ? test_rng_range(d->rng, 1, 3) : tape_size(d, 0);
    shape[rank - 1] = K;
    tape_reals(d, rank, shape, true);
    tape_reals(d, 2, (const int64_t[]){N, K}, true);
    if (test_rng_chance(d->rng, 70))
        tape_reals(d, 1, &N, true);
    else
        tape_absent(d);
}

/* Whether no sum is near the kink of relu. A sum of nothing without a bias is 0 for good. */
static bool linear_clear(const tape_draw *d)
{
    const double *in[3] = {0};
    const int64_t N = d->in[1].shape[0];
    int64_t rows = 1;
    for (int i = 0; i < d->in[0].rank - 1; i++) rows *= d->in[0].shape[i];
    for (int i = 0; i < 3; i++)
        if (d->in[i].dtype != ATTN_DTYPE_NONE)
            in[i] = test_tensor_dense(d->arena, d->in[i], ATTN_DTYPE_NONE).data;
    for (int64_t i = 0; i < rows * N; i++) {
        const double z = linear_before(d, in, i / N, i % N);
        if (fabs(z) < 0.02 && !(d->in[1].shape[1] == 0 && !in[2])) return false;
    }
    return true;
}

static void linear_draw(tape_draw *d)
{
    static const int64_t acts[] = {ATTN_ACT_NONE, ATTN_ACT_GELU, ATTN_ACT_GELU_TANH,
                                   ATTN_ACT_SILU};
    d->i[0] = test_rng_pick(d->rng, acts, sizeof acts / sizeof acts[0]);
    linear_reals(d, false);
}

static void linear_out_draw(tape_draw *d)
{
    static const int64_t acts[] = {ATTN_ACT_RELU, ATTN_ACT_SIGMOID, ATTN_ACT_TANH};
    d->i[0] = test_rng_pick(d->rng, acts, sizeof acts / sizeof acts[0]);
    linear_reals(d, d->i[0] == ATTN_ACT_RELU && d->room == 0);
    while (d->i[0] == ATTN_ACT_RELU && d->room == 0 && !linear_clear(d))
        for (int i = 0; i < d->n_in; i++)
            if (d->in[i].dtype != ATTN_DTYPE_NONE) test_fill_normal(&d->in[i], d->rng, 1);
}

static void linear_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    out[0] = attn_tape_linear(t, in[0], in[1], in[2], (attn_activation)d->i[0]);
}

static double linear_none(double z)
{
    return z;
}

static double linear_relu(double z)
{
    return z > 0 ? z : 0;
}

static double linear_gelu(double z)
{
    return 0.5 * z * erfc(-z * sqrt(0.5));
}

static double linear_gelu_tanh(double z)
{
    return 0.5 * z * (1 + tanh(0.79788456080286535588 * (z + 0.044715 * z * z * z)));
}

static double linear_sigmoid(double z)
{
    return 1 / (1 + exp(-z));
}

static double linear_silu(double z)
{
    return z / (1 + exp(-z));
}

static double linear_tanh(double z)
{
    return tanh(z);
}

static double (*const linear_functions[])(double z) = {
    [ATTN_ACT_NONE] = linear_none,       [ATTN_ACT_RELU] = linear_relu,
    [ATTN_ACT_GELU] = linear_gelu,       [ATTN_ACT_GELU_TANH] = linear_gelu_tanh,
    [ATTN_ACT_SIGMOID] = linear_sigmoid, [ATTN_ACT_SILU] = linear_silu,
    [ATTN_ACT_TANH] = linear_tanh};

static void linear_oracle(const tape_draw *d, const double *const *in, const attn_tensor *shape,
                          double *const *out)
{
    const int64_t N = d->in[1].shape[0], count = attn_tensor_count(shape[0]);
    for (int64_t i = 0; i < count; i++)
        out[0][i] = linear_functions[d->i[0]](linear_before(d, in, i / N, i % N));
}

const tape_case tape_case_linear = {"linear",      1, linear_draw, linear_apply, linear_oracle,
                                    .exact = false};
const tape_case tape_case_linear_out = {
    "linear_out", 1, linear_out_draw, linear_apply, linear_oracle, .exact = false};
