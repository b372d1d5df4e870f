/* SPDX-License-Identifier: MIT
 * precision = half on inputs that want to break it: every row of q, k and v of its own kind, from
 * 0 and denormals to the largest float, inf and NaN, in any strides, of widths from 1 to beyond
 * every tile, under masks that leave rows nothing. A result is the kind of number that the exact
 * call gives; where that is finite it keeps the bound of docs/numerics.md, section 17; its bits
 * are those of several threads and of each query alone.
 *
 *   ATTN_CASES=n  cases (400)   ATTN_SEED=s   ATTN_LONG=1  twenty times as many */
#include "contexts.h"

#include <math.h>

typedef struct hostile_shape {
    int64_t T, S, D, E;
} hostile_shape;

static const hostile_shape hostile_shapes[] = {
    {1, 1, 1, 1},     {1, 7, 1, 3},      {3, 130, 5, 1},     {49, 200, 33, 17},
    {1, 700, 64, 64}, {20, 129, 300, 9}, {50, 515, 65, 2},   {7, 64, 2, 300},
    {97, 90, 16, 16}, {2, 1030, 8, 8},   {48, 128, 127, 24}, {5, 0, 3, 4},
};

/* What a row is made of; the first for half of all rows, and only it and the next for some cases,
 * where the bound of finite results says something. */
typedef enum hostile_kind {
    HOSTILE_NORMAL,
    HOSTILE_ZERO,
    HOSTILE_SMALL, /* 2^-60 times normal */
    HOSTILE_DENORMAL,
    HOSTILE_EDGE_LOW,  /* around the least row that is rounded */
    HOSTILE_EDGE_HIGH, /* and the largest */
    HOSTILE_SPARSE,    /* one number, all else 0 */
    HOSTILE_EQUAL,
    HOSTILE_HUGE,
    HOSTILE_INF,
    HOSTILE_LESS_INF,
    HOSTILE_NAN,
    HOSTILE_KINDS
} hostile_kind;

static double hostile_number(test_rng *rng, hostile_kind kind, bool first)
{
    const double x = test_rng_normal(rng);
    const double numbers[HOSTILE_KINDS] = {
        [HOSTILE_NORMAL] = x,
        [HOSTILE_ZERO] = x < 0 ? -0.0 : 0.0,
        [HOSTILE_SMALL] = x * 0x1p-60,
        [HOSTILE_DENORMAL] = x * 0x1p-140,
        [HOSTILE_EDGE_LOW] = x < 0 ? -0x1p-40 : 0x1.fffffep-41,
        [HOSTILE_EDGE_HIGH] = x < 0 ? -0x1p40 : 0x1.000002p40,
        [HOSTILE_SPARSE] = first ? 3 * x : 0,
        [HOSTILE_EQUAL] = 1,
        [HOSTILE_HUGE] = x * 0x1p120,
        [HOSTILE_INF] = first ? (double)INFINITY : x,
        [HOSTILE_LESS_INF] = first ? -(double)INFINITY : x,
        [HOSTILE_NAN] = first ? (double)NAN : x,
    };
    return numbers[kind];
}

static void hostile_fill(const attn_tensor *t, test_rng *rng, int kinds)
{
    int64_t index[ATTN_MAX_RANK] = {0};
    if (test_tensor_empty(t)) return;
    for (index[2] = 0; index[2] < t->shape[2]; index[2]++) {
        const bool plain = test_rng_chance(rng, 50);
        const hostile_kind kind =
            plain ? HOSTILE_NORMAL : (hostile_kind)test_rng_range(rng, 0, kinds - 1);
        const int64_t first = test_rng_range(rng, 0, t->shape[3] - 1);
        for (index[3] = 0; index[3] < t->shape[3]; index[3]++)
            test_put(t, index, hostile_number(rng, kind, index[3] == first));
    }
}

typedef struct hostile_case {
    test_arena arena;
    test_rng rng;
    uint64_t seed;
    attn_spec spec;
    attn_args args;
    int64_t T, S, D, E;
} hostile_case;

static attn_tensor hostile_tensor(hostile_case *c, attn_dtype dtype, int64_t rows,
                                  int64_t width, int kinds)
{
    const int64_t shape[] = {1, 1, rows, width};
    attn_tensor t = test_tensor_layout(&c->arena, &c->rng, dtype, 4, shape, true);
    hostile_fill(&t, &c->rng, kinds);
    return t;
}

static void hostile_draw(hostile_case *c, uint64_t seed)
{
    static const int64_t dtypes[] = {ATTN_DTYPE_F32, ATTN_DTYPE_F32, ATTN_DTYPE_BF16,
                                     ATTN_DTYPE_F16};
    const size_t n = sizeof hostile_shapes / sizeof hostile_shapes[0];
    *c = (hostile_case){.rng = test_rng_make(seed), .seed = seed};
    const hostile_shape s = hostile_shapes[test_rng_range(&c->rng, 0, (int64_t)n - 1)];
    const attn_dtype dtype = (attn_dtype)test_rng_pick(&c->rng, dtypes, 4);
    const int kinds = test_rng_chance(&c->rng, 50) ? HOSTILE_HUGE : HOSTILE_KINDS;
    c->T = s.T, c->S = s.S, c->D = s.D, c->E = s.E;
    c->spec = (attn_spec){.size = sizeof c->spec, .precision = ATTN_PRECISION_HALF};
    c->args = (attn_args){.size = sizeof c->args};
    c->args.q = hostile_tensor(c, dtype, s.T, s.D, kinds);
    c->args.k = hostile_tensor(c, dtype, s.S, s.D, kinds);
    c->args.v = hostile_tensor(c, dtype, s.S, s.E, kinds);
    c->args.out = TEST_TENSOR(&c->arena, F32, 1, 1, s.T, s.E);
    if (!test_rng_chance(&c->rng, 50)) return;
    c->args.mask = TEST_TENSOR(&c->arena, BOOL, 1, 1, s.T, s.S);
    test_fill_range(&c->args.mask, &c->rng, 0, 1);
    for (int64_t i = 0; i < s.T; i++) /* rows that see nothing */
        for (int64_t j = 0; j < s.S && i % 5 == 3; j++)
            test_put(&c->args.mask, (int64_t[]){0, 0, i, j}, 0);
}

static void hostile_run(attn_ctx *ctx, hostile_case *c, const attn_spec *spec,
                        const attn_args *args)
{
    attn_error error = {0};
    char text[200];
    if (attn_forward(ctx, spec, args, &error) == ATTN_OK) return;
    attn_error_text(&error, text, sizeof text);
    fail_msg("refused: %s (ATTN_SEED=0x%llx ATTN_CASES=1)", text, (unsigned long long)c->seed);
}

/* The call in f64 with |v|, or the largest |v| of each row, or v itself for the values. */
typedef enum hostile_values { HOSTILE_V, HOSTILE_SIZES, HOSTILE_MOST } hostile_values;

static attn_tensor hostile_reference(hostile_case *c, hostile_values values)
{
    attn_args args = c->args;
    const attn_spec spec = {.size = sizeof spec};
    args.q = test_tensor_dense(&c->arena, c->args.q, ATTN_DTYPE_F64);
    args.k = test_tensor_dense(&c->arena, c->args.k, ATTN_DTYPE_F64);
    args.v = test_tensor_dense(&c->arena, c->args.v, ATTN_DTYPE_F64);
    args.out = TEST_TENSOR(&c->arena, F64, 1, 1, c->T, c->E);
    double *v = args.v.data;
    for (int64_t j = 0; j < c->S && values != HOSTILE_V; j++, v += c->E) {
        double most = 0;
        for (int64_t e = 0; e < c->E; e++) most = fmax(most, v[e] = fabs(v[e]));
        for (int64_t e = 0; e < c->E && values == HOSTILE_MOST; e++) v[e] = most;
    }
    hostile_run(NULL, c, &spec, &args);
    return args.out;
}

static double hostile_length(const attn_tensor *t, int64_t row)
{
    double sum = 0;
    for (int64_t d = 0; d < t->shape[3]; d++) {
        const double x = test_get(t, (int64_t[]){0, 0, row, d});
        sum += x * x;
    }
    return sqrt(sum);
}

/* What an error of a score of row i may be: that of the half mode, and that of sums in f32. */
static double hostile_score_error(const hostile_case *c, int64_t i)
{
    double longest = 0;
    for (int64_t j = 0; j < c->S; j++) longest = fmax(longest, hostile_length(&c->args.k, j));
    const double of_sums = (double)(c->D + 8) * 0x1p-23;
    return (8.2e-5 + of_sums) * hostile_length(&c->args.q, i) * longest / sqrt((double)c->D);
}

static void hostile_judge(hostile_case *c, const attn_tensor *exact)
{
    const attn_tensor truth = hostile_reference(c, HOSTILE_V);
    const attn_tensor mean = hostile_reference(c, HOSTILE_SIZES);
    const attn_tensor most = hostile_reference(c, HOSTILE_MOST);
    for (int64_t i = 0; i < c->T; i++) {
        /* Beyond, weights that are 0 in f64 may be anything. */
        const double exponent = 2 * hostile_score_error(c, i);
        const double of_score = expm1(exponent);
        for (int64_t e = 0; e < c->E; e++) {
            const int64_t at[] = {0, 0, i, e};
            const double got = test_get(&c->args.out, at), same = test_get(exact, at);
            const double want = test_get(&truth, at);
            const double rounding = 2e-3 * test_get(&most, at) + 0x1p-120;
            const double bound =
                exponent < 600 ? of_score * test_get(&mean, at) + rounding : (double)INFINITY;
            const double error = fmin(fabs(got - want), fabs(got - same));
            if (isfinite(same) ? !isfinite(got) || error > bound
                               : !(isnan(same) ? isnan(got) : got == same))
                fail_msg("T %d S %d D %d E %d: %g, exact %g, in f64 %g at (%d, %d), bound %g "
                         "(ATTN_SEED=0x%llx ATTN_CASES=1)",
                         (int)c->T, (int)c->S, (int)c->D, (int)c->E, got, same, want, (int)i,
                         (int)e, bound, (unsigned long long)c->seed);
        }
    }
}

/* Rows first .. first + n of axis 2. */
static attn_tensor hostile_rows(attn_tensor t, int64_t first, int64_t n)
{
    if (!t.dtype || t.shape[2] == 1) return t;
    t.data = (char *)t.data + first * t.stride[2] * (int64_t)attn_dtype_size(t.dtype);
    t.shape[2] = n;
    return t;
}

static void hostile_alone(hostile_case *c, int64_t i)
{
    attn_args one = c->args;
    one.q = hostile_rows(c->args.q, i, 1);
    one.mask = hostile_rows(c->args.mask, i, 1);
    one.out = TEST_TENSOR(&c->arena, F32, 1, 1, 1, c->E);
    hostile_run(NULL, c, &c->spec, &one);
    if (!test_same_bits(one.out, hostile_rows(c->args.out, i, 1)))
        fail_msg("query %d alone differs (ATTN_SEED=0x%llx ATTN_CASES=1)", (int)i,
                 (unsigned long long)c->seed);
}

static void hostile_one(uint64_t seed)
{
    hostile_case c;
    const attn_spec spec = {.size = sizeof spec};
    hostile_draw(&c, seed);
    hostile_run(NULL, &c, &c.spec, &c.args);
    attn_args exact = c.args, other = c.args;
    exact.out = TEST_TENSOR(&c.arena, F32, 1, 1, c.T, c.E);
    other.out = TEST_TENSOR(&c.arena, F32, 1, 1, c.T, c.E);
    hostile_run(NULL, &c, &spec, &exact);
    hostile_judge(&c, &exact.out);
    attn_ctx *ctx = test_contexts_get(&contexts, contexts.usable[contexts.n_usable - 1], 3);
    hostile_run(ctx, &c, &c.spec, &other);
    assert_true(test_same_bits(c.args.out, other.out));
    hostile_alone(&c, test_rng_range(&c.rng, 0, c.T - 1));
    test_arena_reset(&c.arena);
}

static void hostile_rows_of_every_kind(void **state)
{
    const int64_t n = test_env_share(test_env_int("ATTN_CASES", 400));
    const uint64_t seed = (uint64_t)test_env_int("ATTN_SEED", 5500000003);
    (void)state;
    for (int64_t i = 0; i < n * (test_env_long() ? 20 : 1); i++)
        hostile_one(seed + (uint64_t)i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_rows_of_every_kind),
    };
    return cmocka_run_group_tests(tests, contexts_setup, contexts_finish);
}
