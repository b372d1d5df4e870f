/* SPDX-License-Identifier: MIT
 * Identities of the family linear: what two mechanisms, or two forms of one, have to agree on. */
#include "safety.h"

#include "attn/mech.h"

enum { B = 2, H = 3, T = 70, D = 5, E = 4 };

typedef struct linear_call {
    const attn_mech *mech;
    attn_tensor slots[ATTN_MAX_SLOTS];
    attn_value params[ATTN_MAX_PARAMS];
} linear_call;

static attn_tensor linear_normal(uint64_t seed, int rank, const int64_t *shape)
{
    test_rng rng = test_rng_make(seed);
    const attn_tensor t = test_tensor(&safety_arena, ATTN_DTYPE_F64, rank, shape);
    test_fill_normal(&t, &rng, 1);
    return t;
}

#define LINEAR_SHAPE(...)                                                                      \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[])               \
    {                                                                                          \
        __VA_ARGS__                                                                            \
    }

static void linear_slot(linear_call *c, const char *name, attn_tensor t)
{
    const int i = attn_mech_slot(c->mech, name);
    assert_true(i >= 0);
    c->slots[i] = t;
}

static void linear_set(linear_call *c, const char *name, const char *value)
{
    assert_int_equal(attn_mech_set(c->mech, c->params, name, value, NULL), ATTN_OK);
}

/* q, k, v of T tokens, always the same ones. */
static linear_call linear_make(const char *name)
{
    linear_call c = {.mech = attn_mech_find(name)};
    assert_non_null(c.mech);
    attn_mech_defaults(c.mech, c.params);
    linear_slot(&c, "q", linear_normal(1, LINEAR_SHAPE(B, H, T, D)));
    linear_slot(&c, "k", linear_normal(2, LINEAR_SHAPE(B, H, T, D)));
    linear_slot(&c, "v", linear_normal(3, LINEAR_SHAPE(B, H, T, E)));
    return c;
}

static attn_tensor linear_of(const linear_call *c, const char *name)
{
    return c->slots[attn_mech_slot(c->mech, name)];
}

static attn_tensor linear_run(linear_call *c)
{
    attn_error error;
    char said[200];
    const attn_tensor q = linear_of(c, "q"), v = linear_of(c, "v");
    const int64_t shape[] = {q.shape[0], q.shape[1], q.shape[2], v.shape[3]};
    const attn_tensor out = test_tensor(&safety_arena, ATTN_DTYPE_F64, 4, shape);
    linear_slot(c, "out", out);
    if (attn_mech_run(NULL, c->mech, c->slots, c->params, &error) == ATTN_OK) return out;
    attn_error_text(&error, said, sizeof said);
    fail_msg("%s: %s", c->mech->name, said);
    return out;
}

static double linear_apart(attn_tensor a, attn_tensor b)
{
    int64_t index[ATTN_MAX_RANK] = {0};
    double off = 0, size = 0;
    do {
        const double x = test_get(&a, index), y = test_get(&b, index);
        off += (x - y) * (x - y);
        size += y * y;
    } while (test_index_next(&a, index));
    return sqrt(off / size);
}

static void linear_near(attn_tensor a, attn_tensor b, double bound, const char *what)
{
    const double apart = linear_apart(a, b);
    if (!(apart <= bound)) fail_msg("%s: %.3g apart", what, apart);
}

/* ---- which mechanisms are one ------------------------------------------------------------ */

/* Without decays, gated is plain: the same bits. */
static void linear_gates_open(void **state)
{
    linear_call gated = linear_make("gated_linear"), plain = linear_make("linear");
    linear_call gated_delta = linear_make("gated_delta"), delta = linear_make("delta");
    const attn_tensor zero = test_tensor(&safety_arena, ATTN_DTYPE_F64, LINEAR_SHAPE(1, 1));
    const attn_tensor beta = SAFETY_FILLED(F64, 5, B, H, T);
    (void)state;
    linear_slot(&gated, "decay", zero);
    linear_set(&gated, "scale", "1");
    linear_set(&plain, "causal", "true");
    linear_set(&plain, "feature", "identity");
    linear_set(&plain, "normalise", "false");
    safety_same(linear_run(&gated), linear_run(&plain), "gated_linear and linear");
    linear_slot(&gated_delta, "decay", zero);
    linear_slot(&gated_delta, "beta", beta);
    linear_slot(&delta, "beta", beta);
    safety_same(linear_run(&gated_delta), linear_run(&delta), "gated_delta and delta");
}

/* Retention is gated linear attention with one gate a head. */
static void linear_retention(void **state)
{
    linear_call retention = linear_make("retention"), gated = linear_make("gated_linear");
    const attn_tensor decay = test_tensor(&safety_arena, ATTN_DTYPE_F64, LINEAR_SHAPE(H, 1, 1));
    (void)state;
    for (int h = 0; h < H; h++) ((double *)decay.data)[h] = log(1 - pow(2, -5 - h));
    linear_slot(&gated, "decay", decay);
    linear_near(linear_run(&retention), linear_run(&gated), 1e-14, "retention by gates");
}

/* Forgetting is softmax with the whole matrix of biases; with open gates, without any. */
static void linear_forgetting(void **state)
{
    linear_call forgetting = linear_make("forgetting"), softmax = linear_make("softmax");
    const attn_tensor f = linear_normal(7, LINEAR_SHAPE(B, H, T));
    const attn_tensor bias =
        test_tensor(&safety_arena, ATTN_DTYPE_F64, LINEAR_SHAPE(B, H, T, T));
    (void)state;
    linear_set(&softmax, "causal", "true");
    for (int64_t n = 0; n < B * H; n++) {
        double *x = (double *)f.data + n * T;
        for (int64_t i = 0; i < T; i++) x[i] = -0.2 * fabs(x[i]);
        for (int64_t i = 0; i < T; i++) {
            double sum = 0, *row = (double *)bias.data + (n * T + i) * T;
            for (int64_t j = i; j >= 0; j--) row[j] = sum, sum += x[j];
        }
    }
    linear_slot(&forgetting, "log_f", f);
    linear_slot(&softmax, "bias", bias);
    linear_near(linear_run(&forgetting), linear_run(&softmax), 1e-13, "forgetting by biases");
    memset(f.data, 0, safety_size(f));
    linear_slot(&softmax, "bias", (attn_tensor){0});
    safety_same(linear_run(&forgetting), linear_run(&softmax), "open gates");
}

/* ---- delta ------------------------------------------------------------------------------- */

/* D keys of one element each, every query a key: what is read is what was written last. */
static linear_call linear_memory(double beta, int64_t tokens)
{
    linear_call c = linear_make("delta");
    const attn_tensor k =
        test_tensor(&safety_arena, ATTN_DTYPE_F64, LINEAR_SHAPE(1, 1, tokens, D));
    const attn_tensor b =
        test_tensor(&safety_arena, ATTN_DTYPE_F64, LINEAR_SHAPE(1, 1, tokens));
    for (int64_t t = 0; t < tokens; t++) ((double *)k.data)[t * D + t % D] = 1;
    test_fill_value(&b, beta);
    linear_slot(&c, "q", k);
    linear_slot(&c, "k", k);
    linear_slot(&c, "v", linear_normal(4, LINEAR_SHAPE(1, 1, tokens, E)));
    linear_slot(&c, "beta", b);
    linear_set(&c, "scale", "1");
    return c;
}

static void linear_delta_facts(void **state)
{
    linear_call c = linear_memory(1, 3 * D), off = linear_memory(0, 3 * D);
    const attn_tensor last =
        test_tensor(&safety_arena, ATTN_DTYPE_F64, LINEAR_SHAPE(1, 1, D, E));
    (void)state;
    linear_slot(&c, "final_state", last);
    linear_near(linear_run(&c), linear_of(&c, "v"), 1e-15, "a key is overwritten");
    const attn_tensor v = attn_tensor_slice(linear_of(&c, "v"), 2, 2 * D, 3 * D);
    linear_near(last, v, 1e-15, "the last value of every key is kept");
    const attn_tensor nothing = linear_run(&off);
    for (int64_t i = 0; i < 3 * D * E; i++)
        assert_true(((double *)nothing.data)[i] == 0); /* beta 0 writes nothing */
}

/* ---- the Performer comes near ------------------------------------------------------------ */

/* The variance of the estimate grows as the exponential of |q + k|^2: q and k of length 1 or so. */
static void linear_shrink(linear_call *c, const char *name)
{
    const attn_tensor t = linear_of(c, name);
    for (int64_t i = 0; i < attn_tensor_count(t); i++) ((double *)t.data)[i] *= 0.5;
}

static double linear_performer_error(const char *features)
{
    linear_call performer = linear_make("performer"), softmax = linear_make("softmax");
    double sum = 0;
    linear_shrink(&performer, "q"), linear_shrink(&softmax, "q");
    linear_shrink(&performer, "k"), linear_shrink(&softmax, "k");
    linear_set(&performer, "features", features);
    linear_set(&performer, "eps", "0");
    const attn_tensor want = linear_run(&softmax);
    static const char *const seeds[] = {"1", "2", "3", "4"};
    for (int i = 0; i < 4; i++) {
        linear_set(&performer, "seed", seeds[i]);
        sum += linear_apart(linear_run(&performer), want) / 4;
    }
    return sum;
}

static void linear_performer(void **state)
{
    const double few = linear_performer_error("16"), more = linear_performer_error("256"),
                 many = linear_performer_error("4096");
    (void)state;
    if (!(few > 2 * more && more > 2 * many && many < 0.1))
        fail_msg("errors of 16, 256 and 4096 features: %g %g %g", few, more, many);
    linear_call c = linear_make("performer");
    const attn_tensor zero =
        test_tensor(&safety_arena, ATTN_DTYPE_F64, LINEAR_SHAPE(B, H, T, D));
    linear_slot(&c, "q", zero);
    linear_slot(&c, "k", zero);
    const attn_tensor out = linear_run(&c);
    for (int64_t e = 0; e < E; e++) { /* nothing to tell keys apart: the mean */
        double mean = 0;
        for (int64_t t = 0; t < T; t++) mean += ((double *)linear_of(&c, "v").data)[t * E + e];
        assert_true(fabs(((double *)out.data)[e] - mean / T) < 1e-12);
    }
}

/* ---- masks and cuts ---------------------------------------------------------------------- */

/* The gradient of what is hidden is 0, whatever stands there. */
static void linear_hidden_gradient(const linear_call *c)
{
    attn_tensor d[ATTN_MAX_SLOTS] = {{0}};
    const int out = attn_mech_slot(c->mech, "out"), k = attn_mech_slot(c->mech, "k");
    d[out] = linear_normal(8, 4, c->slots[out].shape);
    d[k] = test_tensor(&safety_arena, ATTN_DTYPE_F64, LINEAR_SHAPE(B, H, T, D));
    assert_int_equal(attn_mech_run_grad(NULL, c->mech, c->slots, d, c->params, NULL), ATTN_OK);
    for (int64_t n = 0; n < B * H * T * D; n++) {
        const double x = ((double *)d[k].data)[n];
        if (!(n / D % T >= T / 2 ? x == 0 : isfinite(x)))
            fail_msg("%s: d_k[%d] is %g", c->mech->name, (int)n, x);
    }
}

/* What a mask hides may be anything; hiding all of it is the same as having none of it. */
static void linear_hidden(void **state)
{
    static const char *const names[] = {"linear", "lam", "performer"};
    (void)state;
    for (int i = 0; i < 3; i++) {
        linear_call all = linear_make(names[i]), part = all;
        const attn_tensor mask =
            test_tensor(&safety_arena, ATTN_DTYPE_BOOL, LINEAR_SHAPE(B, T));
        if (i == 2) linear_set(&all, "eps", "0"), linear_set(&part, "eps", "0");
        memset(mask.data, 1, safety_size(mask));
        attn_tensor k = safety_copy(linear_of(&all, "k")),
                    v = safety_copy(linear_of(&all, "v"));
        for (int64_t b = 0; b < B; b++) memset((char *)mask.data + b * T + T / 2, 0, T - T / 2);
        for (int64_t n = 0; n < B * H * T; n++)
            if (n % T >= T / 2)
                ((double *)k.data)[n * D] = ((double *)v.data)[n * E] = (double)NAN;
        linear_slot(&all, "mask", mask);
        linear_slot(&all, "k", k);
        linear_slot(&all, "v", v);
        linear_slot(&part, "k", attn_tensor_slice(linear_of(&part, "k"), 2, 0, T / 2));
        linear_slot(&part, "v", attn_tensor_slice(linear_of(&part, "v"), 2, 0, T / 2));
        linear_near(linear_run(&all), linear_run(&part), 1e-13, names[i]);
        linear_hidden_gradient(&all);
        linear_slot(&part, "k", attn_tensor_slice(linear_of(&part, "k"), 2, 0, 0));
        linear_slot(&part, "v", attn_tensor_slice(linear_of(&part, "v"), 2, 0, 0));
        const attn_tensor none = linear_run(&part);
        for (int64_t x = 0; x < B * H * T * E; x++) assert_true(((double *)none.data)[x] == 0);
    }
}

/* A text in two halves, the state of the first handed to the second: the bits of the whole. */
static void linear_halves(void **state)
{
    static const char *const names[] = {"retention", "delta"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        linear_call whole = linear_make(names[i]);
        const attn_tensor want = linear_run(&whole);
        const attn_tensor between =
            test_tensor(&safety_arena, ATTN_DTYPE_F64, LINEAR_SHAPE(B, H, D, E));
        for (int half = 0; half < 2; half++) {
            linear_call c = linear_make(names[i]);
            const int64_t from = half * T / 2, to = (half + 1) * T / 2;
            static const char *const cut[] = {"q", "k", "v"};
            for (int s = 0; s < 3; s++)
                linear_slot(&c, cut[s], attn_tensor_slice(linear_of(&c, cut[s]), 2, from, to));
            linear_slot(&c, half ? "state" : "final_state", between);
            safety_same(linear_run(&c), attn_tensor_slice(want, 2, from, to), names[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SAFETY_CASE(linear_gates_open), SAFETY_CASE(linear_retention),
        SAFETY_CASE(linear_forgetting), SAFETY_CASE(linear_delta_facts),
        SAFETY_CASE(linear_performer),  SAFETY_CASE(linear_hidden),
        SAFETY_CASE(linear_halves),
    };
    return cmocka_run_group_tests(tests, NULL, safety_finish);
}
