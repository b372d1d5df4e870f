/* SPDX-License-Identifier: MIT
 * precision = half: how far it is from the exact result on inputs that try it, what rows do that
 * integers cannot hold. The bounds are those of docs/numerics.md, section
 * 17; on a machine without the instructions the exact result has to keep them too. */
#include "contexts.h"

#include <math.h>

enum { HALF_T = 24 };

/* ---- errors ------------------------------------------------------------------------------ */

typedef struct half_input {
    attn_tensor q, k, v; /* T D, S D, S D: f64 */
    test_rng rng;
    int64_t S, D;
} half_input;

static double *half_row(const attn_tensor *t, int64_t i)
{
    return (double *)t->data + i * t->shape[1];
}

static void half_times(const attn_tensor *t, double factor)
{
    for (int64_t i = 0; i < t->shape[0] * t->shape[1]; i++) half_row(t, 0)[i] *= factor;
}

static void half_channel(const attn_tensor *t, double factor)
{
    for (int64_t i = 0; i < t->shape[0]; i++) half_row(t, i)[5 % t->shape[1]] *= factor;
}

static void half_outlier(half_input *in)
{
    half_channel(&in->q, 50);
    half_channel(&in->k, 50);
    half_channel(&in->v, 50);
}

static void half_outlier_v(half_input *in)
{
    half_channel(&in->v, 50);
}

/* Scores as large as integers are trusted with, and far beyond. */
static void half_large(half_input *in)
{
    half_times(&in->q, 90 / sqrt((double)in->D));
}

static void half_peaked(half_input *in)
{
    half_times(&in->q, 40);
}

static void half_sharp(half_input *in)
{
    half_times(&in->q, 400);
}

/* Every other key says what its neighbour says, of values that have nothing to do with each other:
 * what the largest scores are off by shows whole. */
static void half_rivals(half_input *in)
{
    half_large(in);
    for (int64_t j = 0; j + 1 < in->S; j += 2)
        for (int64_t d = 0; d < in->D; d++)
            half_row(&in->k, j)[d] = half_row(&in->k, j + 1)[d] * (1 + 1e-4 * (double)(d % 3));
}

static void half_equal(half_input *in)
{
    test_fill_value(&in->q, 1);
    test_fill_value(&in->k, 1);
    test_fill_value(&in->v, 1);
}

static void half_zeros(half_input *in)
{
    half_times(&in->q, 0);
    half_times(&in->k, 0);
    half_times(&in->v, 0);
}

static void half_zero_values(half_input *in)
{
    for (int64_t j = 0; j < in->S; j++)
        if (j % 2)
            for (int64_t d = 0; d < in->D; d++) half_row(&in->v, j)[d] = 0;
}

/* The first key takes half of all weight and has no value. */
static void half_sink(half_input *in)
{
    for (int64_t i = 0; i < HALF_T * in->D; i++) half_row(&in->q, 0)[i] += 1;
    for (int64_t d = 0; d < in->D; d++) {
        half_row(&in->k, 0)[d] = log((double)in->S) / sqrt((double)in->D);
        half_row(&in->v, 0)[d] = 0;
    }
    for (int64_t i = in->D; i < in->S * in->D; i++) half_row(&in->v, 0)[i] += 1;
}

/* Rows of sizes from 2^-60 to 2^60, whatever that does to the weights. */
static void half_sizes(half_input *in)
{
    const attn_tensor *sides[] = {&in->q, &in->k, &in->v};
    for (int side = 0; side < 3; side++)
        for (int64_t i = 0; i < sides[side]->shape[0]; i++) {
            const double factor =
                ldexp(1, (int)test_rng_range(&in->rng, -60, side == 2 ? 60 : 3));
            for (int64_t d = 0; d < in->D; d++) half_row(sides[side], i)[d] *= factor;
        }
}

static void half_tiny(half_input *in)
{
    half_times(&in->q, 0x1p-130);
    half_times(&in->k, 0x1p-130);
    half_times(&in->v, 0x1p-130);
}

typedef struct half_case {
    const char *name;
    void (*make)(half_input *in);
    bool wide; /* needs the exponents of f32 and bf16 */
    bool
        uneven; /* channels of v so unlike that a row without the large one is that much smaller */
} half_case;

static const half_case half_cases[] = {
    {"normal", NULL, false, false},
    {"a channel 50 times the others", half_outlier, false, false},
    {"a channel of v 50 times the others", half_outlier_v, false, true},
    {"q of lengths about 90", half_large, false, false},
    {"the same, keys in pairs", half_rivals, false, false},
    {"q times 40", half_peaked, false, false},
    {"q times 400", half_sharp, false, false},
    {"all equal", half_equal, false, false},
    {"zeros", half_zeros, false, false},
    {"every other value zero", half_zero_values, false, false},
    {"a sink", half_sink, false, false},
    {"rows of all sizes", half_sizes, true, false},
    {"denormals", half_tiny, true, false},
};

/* The call in f64 on the same numbers with v in place of the values; out: T of v's width. */
static attn_tensor half_reference(test_arena *arena, const half_input *in, attn_tensor v)
{
    attn_args args = {.size = sizeof args, .q = in->q, .k = in->k, .v = v};
    args.out = TEST_TENSOR(arena, F64, HALF_T, v.shape[1]);
    assert_int_equal(attn_forward(NULL, NULL, &args, NULL), ATTN_OK);
    return args.out;
}

/* |v|, or the largest of each row of it. */
static attn_tensor half_sized(test_arena *arena, const attn_tensor *v, bool rows)
{
    attn_tensor t = TEST_TENSOR(arena, F64, v->shape[0], rows ? 1 : v->shape[1]);
    for (int64_t j = 0; j < v->shape[0]; j++)
        for (int64_t e = 0; e < v->shape[1]; e++) {
            double *to = half_row(&t, j) + (rows ? 0 : e);
            *to = fmax(*to, fabs(half_row(v, j)[e]));
        }
    return t;
}

static double half_norm(const double *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i] * x[i];
    return sqrt(sum);
}

/* What an error of a score may be, in natural units. */
static double half_score_error(const half_input *in, int64_t i)
{
    double longest = 0;
    for (int64_t j = 0; j < in->S; j++)
        longest = fmax(longest, half_norm(half_row(&in->k, j), in->D));
    const double product = half_norm(half_row(&in->q, i), in->D) * longest;
    return 8.2e-5 * fmin(product / sqrt((double)in->D), 96); /* beyond it scores are exact */
}

static void half_judge(test_arena *arena, const half_case *c, const half_input *in,
                       const attn_tensor *out)
{
    const attn_tensor truth = half_reference(arena, in, in->v);
    const attn_tensor mean = half_reference(arena, in, half_sized(arena, &in->v, false));
    const attn_tensor most = half_reference(arena, in, half_sized(arena, &in->v, true));
    double far = 0, size = 0, worst = 0;
    for (int64_t i = 0; i < HALF_T; i++) {
        double off = 0, norm = 0;
        const double of_score = expm1(fmin(2 * half_score_error(in, i), 700));
        for (int64_t e = 0; e < in->D; e++) {
            const double got = test_get(out, (int64_t[]){i, e}), want = half_row(&truth, i)[e];
            const double error = fabs(got - want);
            const double bound =
                of_score * half_row(&mean, i)[e] + 2e-3 * half_row(&most, i)[0] + 0x1p-140;
            if (!(error <= bound))
                fail_msg("%s, S %d, D %d: %g instead of %g at (%d, %d), bound %g", c->name,
                         (int)in->S, (int)in->D, got, want, (int)i, (int)e, bound);
            off += error * error;
            norm += want * want;
        }
        if (norm > 0) worst = fmax(worst, sqrt(off / norm));
        far += off;
        size += norm;
    }
    print_message("# %-36s S %5d D %3d: norm error %.1e, of a row %.1e\n", c->name, (int)in->S,
                  (int)in->D, size > 0 ? sqrt(far / size) : far, worst);
    assert_true(sqrt(far) <= 0x1p-10 * sqrt(size) + 0x1p-140);
    assert_true(c->uneven || worst <= 0x1p-8);
}

static void half_errors_of(const half_case *c, int64_t S, int64_t D, attn_dtype dtype)
{
    test_arena arena = {0};
    half_input in = {.rng = test_rng_make((uint64_t)(S + D)), .S = S, .D = D};
    const attn_spec spec = {.size = sizeof spec, .precision = ATTN_PRECISION_HALF};
    in.q = TEST_TENSOR(&arena, F64, HALF_T, D);
    in.k = TEST_TENSOR(&arena, F64, S, D);
    in.v = TEST_TENSOR(&arena, F64, S, D);
    test_fill_normal(&in.q, &in.rng, 1);
    test_fill_normal(&in.k, &in.rng, 1);
    test_fill_normal(&in.v, &in.rng, 1);
    if (c->make) c->make(&in);
    attn_args args = {.size = sizeof args, .out = TEST_TENSOR(&arena, F32, HALF_T, D)};
    args.q = test_tensor_dense(&arena, in.q, dtype);
    args.k = test_tensor_dense(&arena, in.k, dtype);
    args.v = test_tensor_dense(&arena, in.v, dtype);
    in.q = test_tensor_dense(&arena, args.q, ATTN_DTYPE_F64); /* as they were rounded */
    in.k = test_tensor_dense(&arena, args.k, ATTN_DTYPE_F64);
    in.v = test_tensor_dense(&arena, args.v, ATTN_DTYPE_F64);
    assert_int_equal(attn_forward(NULL, &spec, &args, NULL), ATTN_OK);
    half_judge(&arena, c, &in, &args.out);
    test_arena_reset(&arena);
}

static void half_errors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof half_cases / sizeof half_cases[0]; i++) {
        const half_case *c = &half_cases[i];
        half_errors_of(c, 512, 64, ATTN_DTYPE_F32);
        half_errors_of(c, 1000, 128, ATTN_DTYPE_BF16);
        half_errors_of(c, 333, 33, c->wide ? ATTN_DTYPE_F32 : ATTN_DTYPE_F16);
        half_errors_of(c, 70, 7, ATTN_DTYPE_F32);
        half_errors_of(c, test_env_share(16384), 64, ATTN_DTYPE_F32);
    }
}

/* ---- rows that stay as they are ---------------------------------------------------------- */

enum { HALF_N = 150, HALF_D = 20 };

/* How near half and exact are, of what a number is and of what else is there: a sigmoid's weights
 * do not add up to 1, a small weight of entmax goes with the square root of what it is off by. */
typedef struct half_kind {
    attn_norm_kind normaliser;
    double near;
} half_kind;

static const half_kind half_kinds[] = {{ATTN_NORM_SOFTMAX, 0x1p-8},
                                       {ATTN_NORM_TOP_K, 0x1p-8},
                                       {ATTN_NORM_ENTMAX, 0x1p-6},
                                       {ATTN_NORM_SIGMOID, 0x1p-4}};

/* A bad number in one row of a tensor. Half and exact agree on what is a number, and are near each
 * other where it is one. */
static void half_bad_row(const half_kind *kind, int side, double bad, int64_t row)
{
    test_arena arena = {0};
    test_rng rng = test_rng_make(5);
    attn_spec spec = {.size = sizeof spec,
                      .causal = true,
                      .normaliser = kind->normaliser,
                      .top_k = kind->normaliser == ATTN_NORM_TOP_K ? HALF_N : 0};
    attn_args a = {.size = sizeof a};
    attn_tensor *tensors[] = {&a.q, &a.k, &a.v, &a.out};
    for (int i = 0; i < 4; i++) {
        *tensors[i] = TEST_TENSOR(&arena, F32, HALF_N, HALF_D);
        if (i < 3) test_fill_normal(tensors[i], &rng, 1);
    }
    test_put(tensors[side], (int64_t[]){row, 3}, bad);
    attn_args b = a;
    b.out = TEST_TENSOR(&arena, F32, HALF_N, HALF_D);
    assert_int_equal(attn_forward(NULL, &spec, &a, NULL), ATTN_OK);
    spec.precision = ATTN_PRECISION_HALF;
    assert_int_equal(attn_forward(NULL, &spec, &b, NULL), ATTN_OK);
    for (int64_t i = 0; i < HALF_N; i++)
        for (int64_t e = 0; e < HALF_D; e++) {
            const double x = test_get(&a.out, (int64_t[]){i, e});
            const double y = test_get(&b.out, (int64_t[]){i, e});
            const bool same = isnan(x)   ? isnan(y)
                              : isinf(x) ? x == y
                                         : fabs(x - y) <= kind->near * (fabs(x) + 1);
            if (!same)
                fail_msg("normaliser %d, %g in row %d of %c: %g and not %g at (%d, %d)",
                         (int)kind->normaliser, bad, (int)row, "qkv"[side], y, x, (int)i,
                         (int)e);
        }
    test_arena_reset(&arena);
}

static void half_bad_rows(void **state)
{
    static const double bad[] = {(double)NAN, (double)INFINITY, -(double)INFINITY, 1e30,
                                 -1e37,       0x1p41,           0x1p-145,          0x1p-41};
    static const int64_t rows[] = {0, 17, 63, 64, 100, HALF_N - 1};
    (void)state;
    for (size_t n = 0; n < 4 * 3 * sizeof bad / sizeof bad[0]; n++)
        for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++)
            half_bad_row(&half_kinds[n % 4], (int)(n / 4 % 3), bad[n / 12], rows[r]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(half_errors),
        cmocka_unit_test(half_bad_rows),
    };
    return cmocka_run_group_tests(tests, contexts_setup, contexts_finish);
}
