/* SPDX-License-Identifier: MIT
 * Scans against the oracle: random options, sizes, packing, types and layouts, in contexts of
 * any instruction set and number of threads; gradients against numerical derivatives of the
 * oracle.
 *
 *   ATTN_CASES=n  random cases (600 forward, 150 backward)   ATTN_SEED=s  the first of them */
#include "scan_case.h"

#include "contexts.h"

static attn_ctx *scan_ctx(scan_case *c)
{
    static const int threads[] = {1, 1, 2, 3, 8};
    const int64_t isa = test_rng_range(&c->rng, 0, 20) % contexts.n_usable;
    return test_contexts_get(&contexts, contexts.usable[isa],
                             threads[test_rng_range(&c->rng, 0, 4)]);
}

/* ---- forward ----------------------------------------------------------------------------- */

static void scan_forward_one(uint64_t seed)
{
    static scan_case c;
    scan_draw(&c, seed, false, seed % 8 == 0 ? 700 : 24, seed % 4 == 0 ? 70 : 11);
    const oracle_scan_call call = scan_oracle(&c);
    oracle_scan(&call);
    scan_run(scan_ctx(&c), &c, &c.args, false);
    scan_expect(&c, "out", &c.args.out, call.out, 1e-12);
    scan_expect(&c, "final_state", &c.args.final_state, call.final_state, 1e-12);
    scan_expect(&c, "final_z", &c.args.final_z, call.final_z, 1e-12);
    scan_free(&c);
}

static void scan_forward_random(void **state)
{
    const int64_t first = test_env_int("ATTN_SEED", 1);
    const int64_t n = test_env_int("ATTN_CASES", test_env_share(600));
    (void)state;
    for (int64_t i = 0; i < n; i++) scan_forward_one((uint64_t)(first + i));
}

/* ---- gradients --------------------------------------------------------------------------- */

typedef struct scan_loss {
    oracle_scan_call call;
    const double *d_out, *d_final_state, *d_final_z;
    int64_t n_out, n_state, n_z;
} scan_loss;

static double scan_dot(const double *a, const double *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; a && b && i < n; i++) sum += a[i] * b[i];
    return sum;
}

static double scan_loss_at(const scan_loss *l, double *x, double value)
{
    const double old = *x;
    *x = value;
    oracle_scan(&l->call);
    *x = old;
    return scan_dot(l->d_out, l->call.out, l->n_out) +
           scan_dot(l->d_final_state, l->call.final_state, l->n_state) +
           scan_dot(l->d_final_z, l->call.final_z, l->n_z);
}

/* Four points: the error is of the fourth order. */
static double scan_slope(const scan_loss *l, double *x)
{
    const double h = 1e-4, at = *x;
    const double near = scan_loss_at(l, x, at + h) - scan_loss_at(l, x, at - h);
    const double far = scan_loss_at(l, x, at + 2 * h) - scan_loss_at(l, x, at - 2 * h);
    return (8 * near - far) / (12 * h);
}

static void scan_expect_slopes(const scan_case *c, const char *what, const attn_tensor *d,
                               const scan_loss *l, const double *x)
{
    int64_t n = 1;
    if (!d->dtype) return;
    for (int i = 0; i < d->rank; i++) n *= d->shape[i];
    double *want =
        test_alloc((test_arena *)(uintptr_t)&c->arena, (size_t)(n + 1) * sizeof *want);
    for (int64_t i = 0; i < n; i++) want[i] = scan_slope(l, (double *)(uintptr_t)&x[i]);
    scan_expect(c, what, d, want, 2e-8);
}

static void scan_draw_gradient(scan_case *c, attn_tensor *d, const attn_tensor *of)
{
    if (of->dtype && test_rng_chance(&c->rng, 75)) *d = scan_result(c, of->rank, of->shape);
}

static void scan_draw_gradients(scan_case *c)
{
    attn_scan_args *a = &c->args;
    const int64_t state[] = {c->N, c->G, c->D, c->E};
    const bool final = a->final_state.dtype != 0;
    if (!final || test_rng_chance(&c->rng, 80))
        a->d_out = scan_normal(c, a->out.rank, a->out.shape, 1);
    if (final) a->d_final_state = scan_normal(c, 4, state, 1);
    if (a->final_z.dtype) a->d_final_z = scan_normal(c, 3, state, 1);
    a->d_q = scan_result(c, a->q.rank, a->q.shape);
    scan_draw_gradient(c, &a->d_k, &a->k);
    scan_draw_gradient(c, &a->d_v, &a->v);
    scan_draw_gradient(c, &a->d_decay, &a->decay);
    scan_draw_gradient(c, &a->d_beta, &a->beta);
    scan_draw_gradient(c, &a->d_state, &a->state);
    scan_draw_gradient(c, &a->d_state_z, &a->state_z);
}

static void scan_backward_one(uint64_t seed)
{
    static scan_case c;
    scan_draw(&c, seed, seed % 3 == 0, seed % 16 == 0 ? 150 : 9, 5);
    scan_draw_gradients(&c);
    attn_scan_args *a = &c.args;
    scan_loss l = {.call = scan_oracle(&c),
                   .d_out = scan_doubles(&c.arena, &a->d_out),
                   .d_final_state = scan_doubles(&c.arena, &a->d_final_state),
                   .d_final_z = scan_doubles(&c.arena, &a->d_final_z),
                   .n_out = c.B * c.H * c.T * c.E,
                   .n_state = c.N * c.G * c.D * c.E,
                   .n_z = c.N * c.G * c.D};
    attn_ctx *ctx = scan_ctx(&c);
    scan_run(ctx, &c, a, true);
    scan_expect_slopes(&c, "d_q", &a->d_q, &l, l.call.q);
    scan_expect_slopes(&c, "d_k", &a->d_k, &l, l.call.k);
    scan_expect_slopes(&c, "d_v", &a->d_v, &l, l.call.v);
    scan_expect_slopes(&c, "d_decay", &a->d_decay, &l, l.call.decay);
    scan_expect_slopes(&c, "d_beta", &a->d_beta, &l, l.call.beta);
    scan_expect_slopes(&c, "d_state", &a->d_state, &l, l.call.state);
    scan_expect_slopes(&c, "d_state_z", &a->d_state_z, &l, l.call.state_z);
    scan_free(&c);
}

static void scan_backward_random(void **state)
{
    const int64_t first = test_env_int("ATTN_SEED", 1);
    const int64_t n = test_env_int("ATTN_CASES", test_env_share(150));
    (void)state;
    for (int64_t i = 0; i < n; i++) scan_backward_one((uint64_t)(first + i));
}

/* ---- a long text ------------------------------------------------------------------------- */

/* Sums of a million products, against sums in wider arithmetic: f32 states would be off by 1e-4. */
static void scan_long(void **state)
{
    enum { D = 2, E = 3 };
    const int64_t T = test_env_share(1000000);
    test_arena arena = {0};
    test_rng rng = test_rng_make(3);
    (void)state;
    const attn_tensor k = TEST_TENSOR(&arena, F32, 1, 1, T, D),
                      q = TEST_TENSOR(&arena, F32, 1, 1, T, D);
    const attn_tensor v = TEST_TENSOR(&arena, F32, 1, 1, T, E),
                      o = TEST_TENSOR(&arena, F64, 1, 1, T, E);
    test_fill_normal(&k, &rng, 1);
    test_fill_normal(&q, &rng, 1);
    test_fill_normal(&v, &rng, 1);
    attn_ctx *ctx = test_contexts_get(&contexts, contexts.usable[contexts.n_usable - 1], 2);
    assert_int_equal(attn_scan_forward(ctx, &ATTN_SCAN_SPEC(.scale = 1),
                                       &ATTN_SCAN_ARGS(.q = q, .k = k, .v = v, .out = o), NULL),
                     ATTN_OK);
    long double s[D][E] = {{0}}, off = 0, size = 0;
    const float *kp = k.data, *qp = q.data, *vp = v.data;
    for (int64_t t = 0; t < T; t++)
        for (int e = 0; e < E; e++) {
            long double want = 0;
            for (int d = 0; d < D; d++) {
                s[d][e] += (long double)kp[t * D + d] * (long double)vp[t * E + e];
                want += s[d][e] * (long double)qp[t * D + d];
            }
            const long double apart = want - (long double)((double *)o.data)[t * E + e];
            off += apart * apart;
            size += want * want;
        }
    if (!(off <= 1e-26L * size)) fail_msg("off by %.3Lg of %.3Lg", sqrtl(off), sqrtl(size));
    test_arena_reset(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scan_forward_random),
        cmocka_unit_test(scan_backward_random),
        cmocka_unit_test(scan_long),
    };
    return cmocka_run_group_tests(tests, contexts_setup, contexts_finish);
}
