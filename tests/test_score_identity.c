/* SPDX-License-Identifier: MIT
 * What the families score and dimension have in common: one mechanism with special parameters is
 * another, moving or stretching the data changes nothing where the formula says so, bounded
 * scores give bounded weights. In f64. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "attn/mech.h"
#include "support/support.h"

enum { B = 2, T = 5, S = 7, D = 4, E = 3, A = 6 };

static test_arena arena;
static test_rng rng;

typedef struct ident_slot {
    const char *name;
    attn_tensor t;
} ident_slot;

#define NORMAL(...)                                                                            \
    ident_normal((int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),                    \
                 (const int64_t[]){__VA_ARGS__})

static attn_tensor ident_normal(int rank, const int64_t *shape)
{
    attn_tensor t = test_tensor(&arena, ATTN_DTYPE_F64, rank, shape);
    test_fill_normal(&t, &rng, 1);
    return t;
}

static int ident_setup(void **state)
{
    (void)state;
    rng = test_rng_make(41);
    return 0;
}

static int ident_finish(void **state)
{
    (void)state;
    test_arena_reset(&arena);
    return 0;
}

/* Runs a mechanism with one parameter (or NULL) and gives the output asked for. */
static attn_tensor ident_run(const char *name, const char *param, const char *value,
                             const char *output, size_t n, const ident_slot *given)
{
    const attn_mech *m = attn_mech_find(name);
    attn_tensor slots[ATTN_MAX_SLOTS] = {{0}};
    attn_value params[ATTN_MAX_PARAMS];
    int64_t shape[ATTN_MAX_RANK];
    attn_error error = {0};
    int rank;
    assert_non_null(m);
    attn_mech_defaults(m, params);
    if (param) assert_int_equal(attn_mech_set(m, params, param, value, NULL), ATTN_OK);
    for (size_t i = 0; i < n; i++) {
        assert_true(attn_mech_slot(m, given[i].name) >= 0);
        slots[attn_mech_slot(m, given[i].name)] = given[i].t;
    }
    const int out = attn_mech_slot(m, output);
    assert_int_equal(attn_mech_shape(m, slots, params, out, &rank, shape, NULL), ATTN_OK);
    slots[out] = test_tensor(&arena, ATTN_DTYPE_F64, rank, shape);
    if (attn_mech_run(NULL, m, slots, params, &error) != ATTN_OK)
        fail_msg("%s: %s %s", name, error.where, error.what);
    return slots[out];
}

#define GIVEN(...)                                                                             \
    sizeof((ident_slot[]){__VA_ARGS__}) / sizeof(ident_slot), (ident_slot[])                   \
    {                                                                                          \
        __VA_ARGS__                                                                            \
    }

static double *ident_at(attn_tensor t)
{
    return t.data;
}

static void ident_near(attn_tensor a, attn_tensor b, double allowed, const char *what)
{
    double error = 0, norm = 0;
    assert_int_equal(attn_tensor_count(a), attn_tensor_count(b));
    for (int64_t i = 0; i < attn_tensor_count(a); i++) {
        const double off = ident_at(a)[i] - ident_at(b)[i];
        error += off * off, norm += ident_at(b)[i] * ident_at(b)[i];
    }
    if (!(error <= allowed * allowed * norm))
        fail_msg("%s: off by %.3g", what, sqrt(error / norm));
}

static attn_tensor ident_copy(attn_tensor t)
{
    return test_tensor_dense(&arena, t, ATTN_DTYPE_NONE);
}

static attn_tensor ident_eye(int64_t n)
{
    attn_tensor t = TEST_TENSOR(&arena, F64, n, n);
    for (int64_t i = 0; i < n; i++) ident_at(t)[i * n + i] = 1;
    return t;
}

/* ---- one is another -------------------------------------------------------------------- */

static void ident_general_of_one(void **state)
{
    (void)state;
    const attn_tensor q = NORMAL(B, T, D), k = NORMAL(B, S, D), v = NORMAL(B, S, E);
    const attn_tensor dot =
        ident_run("dot", NULL, NULL, "out", GIVEN({"q", q}, {"k", k}, {"v", v}));
    const attn_tensor general = ident_run(
        "general", NULL, NULL, "out", GIVEN({"q", q}, {"k", k}, {"v", v}, {"w", ident_eye(D)}));
    assert_true(test_same_bits(dot, general));
}

static void ident_biased_general_turned(void **state)
{
    (void)state;
    const attn_tensor q = NORMAL(B, T, D), k = NORMAL(B, S, A), v = NORMAL(B, S, E);
    const attn_tensor w = NORMAL(A, D), none = TEST_TENSOR(&arena, F64, A);
    attn_tensor turned = attn_tensor_permute(w, (const int[]){1, 0});
    const attn_tensor biased =
        ident_run("biased_general", NULL, NULL, "out",
                  GIVEN({"q", q}, {"k", k}, {"v", v}, {"w", w}, {"b", none}));
    const attn_tensor general = ident_run("general", NULL, NULL, "out",
                                          GIVEN({"q", q}, {"k", k}, {"v", v}, {"w", turned}));
    ident_near(biased, general, 1e-14, "biased_general without a bias");
}

static void ident_trilinear_products(void **state)
{
    (void)state;
    const attn_tensor q = NORMAL(B, T, D), k = NORMAL(B, S, D), v = NORMAL(B, S, E);
    const attn_tensor w = TEST_TENSOR(&arena, F64, 3 * D);
    for (int i = 2 * D; i < 3 * D; i++) ident_at(w)[i] = 1;
    ident_near(ident_run("trilinear", NULL, NULL, "out",
                         GIVEN({"q", q}, {"k", k}, {"v", v}, {"w", w})),
               ident_run("dot", NULL, NULL, "out", GIVEN({"q", q}, {"k", k}, {"v", v})), 1e-14,
               "trilinear of products alone");
}

static void ident_equal_features(void **state)
{
    (void)state;
    const attn_tensor q = NORMAL(B, T, D), k = NORMAL(B, S, D), v = NORMAL(B, S, E);
    const attn_tensor w_q = NORMAL(A, D), w_k = NORMAL(A, D), w = NORMAL(A);
    const attn_tensor rows = TEST_TENSOR(&arena, F64, E, A);
    for (int i = 0; i < E * A; i++) ident_at(rows)[i] = ident_at(w)[i % A];
    ident_near(
        ident_run(
            "multi_dimensional", NULL, NULL, "out",
            GIVEN({"q", q}, {"k", k}, {"v", v}, {"w_q", w_q}, {"w_k", w_k}, {"w_d", rows})),
        ident_run("additive", NULL, NULL, "out",
                  GIVEN({"q", q}, {"k", k}, {"v", v}, {"w_q", w_q}, {"w_k", w_k}, {"w", w})),
        1e-13, "multi_dimensional of equal rows");
    assert_ptr_equal(attn_mech_find("concat"), attn_mech_find("additive"));
}

/* Without a gaussian it does not matter where one would stand. */
static void ident_wide_gaussian(void **state)
{
    (void)state;
    const attn_tensor q = NORMAL(B, T, D), k = NORMAL(B, S, D), v = NORMAL(B, S, E);
    const attn_tensor w_p = NORMAL(A, D), v_p = NORMAL(A);
    const attn_mech *m = attn_mech_find("local_p");
    attn_tensor out[2];
    for (int i = 0; i < 2; i++) {
        attn_tensor slots[ATTN_MAX_SLOTS] = {{0}};
        attn_value params[ATTN_MAX_PARAMS];
        attn_mech_defaults(m, params);
        assert_int_equal(attn_mech_set(m, params, "window", "2", NULL), ATTN_OK);
        assert_int_equal(attn_mech_set(m, params, "sigma", "1e7", NULL), ATTN_OK);
        assert_int_equal(attn_mech_set(m, params, "renormalise", i ? "true" : "false", NULL),
                         ATTN_OK);
        slots[attn_mech_slot(m, "q")] = q, slots[attn_mech_slot(m, "k")] = k;
        slots[attn_mech_slot(m, "v")] = v, slots[attn_mech_slot(m, "w_p")] = w_p;
        slots[attn_mech_slot(m, "v_p")] = v_p;
        slots[attn_mech_slot(m, "out")] = out[i] = TEST_TENSOR(&arena, F64, B, T, E);
        assert_int_equal(attn_mech_run(NULL, m, slots, params, NULL), ATTN_OK);
    }
    ident_near(out[0], out[1], 1e-11, "local_p of a wide gaussian");
}

/* ---- what changes nothing -------------------------------------------------------------- */

static void ident_cosine_stretched(void **state)
{
    (void)state;
    const attn_tensor q = NORMAL(B, T, D), k = NORMAL(B, S, D), v = NORMAL(B, S, E);
    const attn_tensor far = ident_copy(q), near = ident_copy(k);
    for (int i = 0; i < B * T * D; i++) ident_at(far)[i] *= 1 + i / D; /* each row its own */
    for (int i = 0; i < B * S * D; i++) ident_at(near)[i] /= 3 + i / D;
    ident_near(
        ident_run("cosine", "tau", "20", "out", GIVEN({"q", far}, {"k", near}, {"v", v})),
        ident_run("cosine", "tau", "20", "out", GIVEN({"q", q}, {"k", k}, {"v", v})), 1e-12,
        "cosine of longer vectors");
}

/* A vector of length 0 has no direction: its cosines are 0, its weights uniform. */
static void ident_cosine_of_nothing(void **state)
{
    (void)state;
    const attn_tensor q = TEST_TENSOR(&arena, F64, B, T, D), k = NORMAL(B, S, D);
    const attn_tensor w =
        ident_run("cosine", NULL, NULL, "weights", GIVEN({"q", q}, {"k", k}, {"v", k}));
    for (int64_t i = 0; i < attn_tensor_count(w); i++)
        assert_true(fabs(ident_at(w)[i] - 1.0 / S) < 1e-15);
}

/* The gradient of q, of out = 1, under a mechanism that reads these slots. */
static attn_tensor ident_gradient(const char *name, size_t n, const ident_slot *given)
{
    const attn_mech *m = attn_mech_find(name);
    attn_tensor slots[ATTN_MAX_SLOTS] = {{0}}, d_slots[ATTN_MAX_SLOTS] = {{0}};
    attn_value params[ATTN_MAX_PARAMS];
    attn_mech_defaults(m, params);
    for (size_t i = 0; i < n; i++) slots[attn_mech_slot(m, given[i].name)] = given[i].t;
    const attn_tensor d_q = TEST_TENSOR(&arena, F64, B, T, D);
    const attn_tensor d_out = TEST_TENSOR(&arena, F64, B, T, E);
    test_fill_value(&d_out, 1);
    test_fill_value(&d_q, (double)NAN);
    d_slots[attn_mech_slot(m, "q")] = d_q;
    d_slots[attn_mech_slot(m, "out")] = d_out;
    assert_int_equal(attn_mech_run_grad(NULL, m, slots, d_slots, params, NULL), ATTN_OK);
    return d_q;
}

/* What has no direction, or sees no key, takes no gradient - and no NaN. */
static void ident_gradients_of_nothing(void **state)
{
    const attn_tensor none = TEST_TENSOR(&arena, F64, B, T, D), k = NORMAL(B, S, D);
    const attn_tensor v = NORMAL(B, S, E), hidden = TEST_TENSOR(&arena, BOOL, B, S);
    attn_tensor d[2];
    (void)state;
    d[0] = ident_gradient("cosine", GIVEN({"q", none}, {"k", k}, {"v", v}));
    d[1] = ident_gradient("local_p",
                          GIVEN({"q", NORMAL(B, T, D)}, {"k", k}, {"v", v}, {"mask", hidden},
                                {"w_p", NORMAL(A, D)}, {"v_p", NORMAL(A)}));
    for (int which = 0; which < 2; which++)
        for (int i = 0; i < B * T * D; i++) assert_true(ident_at(d[which])[i] == 0);
}

static void ident_gaussian_moved(void **state)
{
    (void)state;
    const attn_tensor q = NORMAL(B, T, D), k = NORMAL(B, S, D), v = NORMAL(B, S, E);
    const attn_tensor far = ident_copy(q), near = ident_copy(k);
    for (int i = 0; i < B * T * D; i++) ident_at(far)[i] += 1000;
    for (int i = 0; i < B * S * D; i++) ident_at(near)[i] += 1000;
    ident_near(
        ident_run("gaussian", NULL, NULL, "out", GIVEN({"q", far}, {"k", near}, {"v", v})),
        ident_run("gaussian", NULL, NULL, "out", GIVEN({"q", q}, {"k", k}, {"v", v})), 1e-11,
        "gaussian of what moved together");
}

/* Places are looked at whatever stands there. */
static void ident_location_blind(void **state)
{
    (void)state;
    const attn_tensor q = NORMAL(B, T, D), w = NORMAL(S, D);
    assert_true(test_same_bits(ident_run("location", NULL, NULL, "weights",
                                         GIVEN({"q", q}, {"w", w}, {"v", NORMAL(B, S, E)})),
                               ident_run("location", NULL, NULL, "weights",
                                         GIVEN({"q", q}, {"w", w}, {"v", NORMAL(B, S, E)}))));
}

/* ---- bounds ---------------------------------------------------------------------------- */

static void ident_activated_never_sharp(void **state)
{
    (void)state;
    const attn_tensor q = NORMAL(B, T, D), k = NORMAL(B, S, D), w = ident_eye(D);
    for (int i = 0; i < D * D; i++) ident_at(w)[i] *= 1000;
    const attn_tensor weights = ident_run("activated_general", NULL, NULL, "weights",
                                          GIVEN({"q", q}, {"k", k}, {"v", k}, {"w", w}));
    double most = 0;
    for (int row = 0; row < B * T; row++) {
        const double *x = ident_at(weights) + row * S;
        double low = x[0], high = x[0];
        for (int j = 1; j < S; j++) low = fmin(low, x[j]), high = fmax(high, x[j]);
        assert_true(high <= low * exp(2.0) * (1 + 1e-12));
        most = fmax(most, high / low);
    }
    assert_true(most > 7); /* nearly e^2, with weights this large */
}

static attn_tensor ident_self(double stretch, attn_tensor x, const attn_tensor *w)
{
    attn_tensor at = ident_copy(x);
    for (int64_t i = 0; i < attn_tensor_count(x); i++) ident_at(at)[i] *= stretch;
    return ident_run("lipschitz_l2", "heads", "2", "out",
                     GIVEN({"x", at}, {"w", w[0]}, {"w_v", w[1]}, {"w_o", w[2]}));
}

/* How fast the result follows x, however far from 0; and a token is its own nearest. */
static void ident_lipschitz(void **state)
{
    const attn_tensor x = NORMAL(1, T, D), y = ident_copy(x);
    const attn_tensor w[] = {NORMAL(4, D), NORMAL(4, D), NORMAL(D, 4)};
    double slope[4], stretch = 1;
    (void)state;
    for (int i = 0; i < T * D; i++) ident_at(y)[i] += 1e-3 * test_rng_normal(&rng);
    for (int s = 0; s < 4; s++, stretch *= 10) {
        const attn_tensor a = ident_self(stretch, x, w), b = ident_self(stretch, y, w);
        double out = 0, in = 0;
        for (int i = 0; i < T * D; i++) {
            const double d = ident_at(x)[i] - ident_at(y)[i];
            out += (ident_at(a)[i] - ident_at(b)[i]) * (ident_at(a)[i] - ident_at(b)[i]);
            in += d * d * stretch * stretch;
        }
        slope[s] = sqrt(out / in);
        assert_true(slope[s] <= 8 * slope[0]);
    }
    const attn_tensor weights =
        ident_run("lipschitz_l2", "heads", "2", "weights",
                  GIVEN({"x", x}, {"w", w[0]}, {"w_v", w[1]}, {"w_o", w[2]}));
    for (int row = 0; row < 2 * T; row++)
        for (int j = 0; j < T; j++)
            assert_true(ident_at(weights)[row * T + row % T] >= ident_at(weights)[row * T + j]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ident_general_of_one),
        cmocka_unit_test(ident_biased_general_turned),
        cmocka_unit_test(ident_trilinear_products),
        cmocka_unit_test(ident_equal_features),
        cmocka_unit_test(ident_wide_gaussian),
        cmocka_unit_test(ident_cosine_stretched),
        cmocka_unit_test(ident_cosine_of_nothing),
        cmocka_unit_test(ident_gaussian_moved),
        cmocka_unit_test(ident_location_blind),
        cmocka_unit_test(ident_activated_never_sharp),
        cmocka_unit_test(ident_lipschitz),
        cmocka_unit_test(ident_gradients_of_nothing),
    };
    return cmocka_run_group_tests_name("score_identity", tests, ident_setup, ident_finish);
}
