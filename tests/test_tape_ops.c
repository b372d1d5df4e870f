/* SPDX-License-Identifier: MIT
 * Every row of ops.def against the oracle of its name, on drawn cases: values in f64 and f32,
 * gradients in f64 against four-point derivatives of the oracle along random directions and in
 * f32 against those in f64. (tape_ops.h says how to ask for one operation; what must not change
 * a bit, and memory that runs out: test_tape_bits.c.) */
#include "tape_ops.h"

/* ---- the table -------------------------------------------------------------------------- */

/* The names stand in the order of the table: a copied row would be tested twice. */
static void ops_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_OPS; i++) assert_string_equal(cases[i]->op, attn__ops[i].name);
}

/* ---- values ----------------------------------------------------------------------------- */

/* Each element within 1e-12 of the largest around it; exact ones by their value. */
static void ops_compare_f64(const ops_case *c, const double *got, const double *want, int64_t n)
{
    double top = 1;
    for (int64_t i = 0; i < n; i++)
        if (isfinite(want[i]) && fabs(want[i]) > top) top = fabs(want[i]);
    for (int64_t i = 0; i < n; i++) {
        const bool near = !c->which->exact && fabs(got[i] - want[i]) <= 1e-12 * top;
        if (!near && !tape_same_number(got[i], want[i]))
            ops_fail(c, "f64 value", got[i], want[i]);
    }
}

/* By norm, 1e-5. What is almost 0 is so because terms of the size of `from`, or about 1 an
 * element, cancel. */
static void ops_compare_f32(const ops_case *c, const char *what, double *got,
                            const double *want, int64_t n, double from)
{
    const double bound = 1e-5 * (tape_size_of(want, n) + 0.1 * sqrt((double)n) + 0.1 * from);
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(want[i]) && !tape_same_number(got[i], want[i]))
            ops_fail(c, what, got[i], want[i]);
        got[i] = isfinite(want[i]) ? got[i] - want[i] : 0;
    }
    if (!(tape_size_of(got, n) <= bound)) ops_fail(c, what, tape_size_of(got, n), bound);
}

static void ops_ask_value(ops_case *c)
{
    const tape_run r64 = tape_run_case(metered, &ops_f64, c->which, &c->draw, NULL);
    const tape_run r32 = tape_run_case(metered, &ops_f32, c->which, &c->draw, NULL);
    ops_ok(c, &r64, "f64 forward");
    ops_ok(c, &r32, "f32 forward");
    const tape_truth o = tape_truth_of(c->which, &c->draw, &r64);
    for (int i = 0; i < c->which->n_out; i++) {
        if (!o.out[i]) continue;
        ops_compare_f64(c, tape_doubles(&c->arena, r64.out[i]), o.out[i], o.n_out[i]);
        ops_compare_f32(c, "f32 value", tape_doubles(&c->arena, r32.out[i]), o.out[i],
                        o.n_out[i], 0);
    }
}

static void ops_values(void **state)
{
    (void)state;
    ops_for_cases(300, ATTN_DTYPE_F32, false, ops_ask_value);
}

/* ---- gradients -------------------------------------------------------------------------- */

static void ops_check_slope(ops_case *c, tape_truth *o, int i, const double *grad,
                            double *const *d_out)
{
    const int64_t n = o->n_in[i];
    double *u = test_alloc(&c->arena, (size_t)n * sizeof(double)), got = 0, size;
    for (int64_t k = 0; k < n; k++) u[k] = 2 * test_rng_uniform(&c->rng) - 1;
    for (int64_t k = 0; k < n && grad; k++) got += grad[k] * u[k];
    const double want = tape_truth_slope(c->which, &c->draw, o, i, u, d_out);
    (void)tape_truth_loss(o, d_out, &size);
    const double scale = grad ? tape_size_of(grad, n) * tape_size_of(u, n) : 0;
    if (!(fabs(got - want) <= 1e-6 * scale + 1e-9 * (1 + size))) {
        char what[64];
        snprintf(what, sizeof what, "slope of operand %d", i);
        ops_fail(c, what, got, want);
    }
}

static void ops_ask_gradient(ops_case *c)
{
    double *d_out[TAPE_CASE_MOST] = {0}, from = 0;
    const tape_run r64 = ops_first_run(c);
    if (!ops_has_gradient(c)) return;
    tape_truth o = tape_truth_of(c->which, &c->draw, &r64);
    const tape_run r32 = tape_run_case(metered, &ops_f32, c->which, &c->draw, c->d_out);
    ops_ok(c, &r32, "f32 backward");
    for (int i = 0; i < c->which->n_out; i++)
        if (c->d_out[i].dtype != ATTN_DTYPE_NONE) {
            d_out[i] = tape_doubles(&c->arena, c->d_out[i]);
            from += tape_size_of(d_out[i], o.n_out[i]);
        }
    for (int i = 0; i < c->draw.n_in; i++) {
        if (!c->draw.grad[i] || c->draw.in[i].dtype == ATTN_DTYPE_NONE) continue;
        const bool came = r64.grad[i].dtype != ATTN_DTYPE_NONE;
        double *grad = came ? tape_doubles(&c->arena, r64.grad[i]) : NULL;
        ops_check_slope(c, &o, i, grad, d_out);
        ops_check_slope(c, &o, i, grad, d_out);
        if (came)
            ops_compare_f32(c, "f32 gradient", tape_doubles(&c->arena, r32.grad[i]), grad,
                            o.n_in[i], from);
    }
}

static void ops_gradients(void **state)
{
    (void)state;
    ops_for_cases(300, ATTN_DTYPE_F32, false, ops_ask_gradient);
}

/* A gradient that is there already is added to. */
static void ops_ask_adding(ops_case *c)
{
    attn_tensor d_in[TAPE_CASE_MOST] = {{0}};
    const tape_run alone = ops_first_run(c);
    if (!ops_has_gradient(c)) return;
    for (int i = 0; i < c->draw.n_in; i++) {
        const attn_tensor *x = &c->draw.in[i];
        if (!c->draw.grad[i] || x->dtype == ATTN_DTYPE_NONE) continue;
        d_in[i] = test_tensor(&c->arena, ATTN_DTYPE_F64, x->rank, x->shape);
        test_fill_normal(&d_in[i], &c->rng, 1);
    }
    const tape_run r = tape_run_added(metered, &ops_f64, c->which, &c->draw, c->d_out, d_in);
    ops_ok(c, &r, "adding");
    for (int i = 0; i < c->draw.n_in; i++) {
        if (d_in[i].dtype == ATTN_DTYPE_NONE) continue;
        const double *before = d_in[i].data, *got = r.grad[i].data, *g = alone.grad[i].data;
        const int64_t n = attn_tensor_count(d_in[i]);
        const double scale = 1 + (g ? tape_size_of(g, n) : 0);
        for (int64_t k = 0; k < n; k++) {
            const double want = before[k] + (g ? g[k] : 0);
            if (!(fabs(got[k] - want) <= 1e-11 * scale)) ops_fail(c, "adding", got[k], want);
        }
    }
}

static void ops_adding(void **state)
{
    (void)state;
    ops_for_cases(30, ATTN_DTYPE_F32, false, ops_ask_adding);
}

/* ---- the program ------------------------------------------------------------------------ */

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ops_names), cmocka_unit_test(ops_values),
        cmocka_unit_test(ops_gradients), cmocka_unit_test(ops_adding)};
    return cmocka_run_group_tests(tests, ops_setup, ops_finish);
}
