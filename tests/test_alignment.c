/* SPDX-License-Identifier: MIT
 * What the alignments are to each other: where one becomes another, to the bit where the
 * arithmetic is the same; that Gumbel draws come as often as softmax says; and REINFORCE over
 * every possible draw of three keys, whose expected gradient is that of the expected reward,
 * whatever the baseline. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "attn/mech.h"
#include "support/support.h"

enum { B = 2, H = 2, T = 9, S = 70, D = 6, E = 5 };

typedef struct alike_call {
    const attn_mech *mech;
    attn_value params[ATTN_MAX_PARAMS];
    attn_tensor slots[ATTN_MAX_SLOTS], d_slots[ATTN_MAX_SLOTS];
} alike_call;

static alike_call alike_new(const char *name)
{
    alike_call c;
    memset(&c, 0, sizeof c);
    c.mech = attn_mech_find(name);
    assert_non_null(c.mech);
    attn_mech_defaults(c.mech, c.params);
    return c;
}

static attn_tensor *alike_slot(alike_call *c, const char *name)
{
    const int i = attn_mech_slot(c->mech, name);
    assert_true(i >= 0);
    return &c->slots[i];
}

static void alike_set(alike_call *c, const char *param, const char *text)
{
    assert_int_equal(attn_mech_set(c->mech, c->params, param, text, NULL), ATTN_OK);
}

/* ---- one becomes another ----------------------------------------------------------------- */

static struct {
    test_arena arena;
    attn_tensor q, k, v;
} alike;

static int alike_begin(void **state)
{
    test_rng rng = test_rng_make(31);
    (void)state;
    alike.q = TEST_TENSOR(&alike.arena, F32, B, H, T, D);
    alike.k = TEST_TENSOR(&alike.arena, F32, B, H, S, D);
    alike.v = TEST_TENSOR(&alike.arena, F32, B, H, S, E);
    test_fill_normal(&alike.q, &rng, 2);
    test_fill_normal(&alike.k, &rng, 1);
    test_fill_normal(&alike.v, &rng, 1);
    return 0;
}

static int alike_end(void **state)
{
    (void)state;
    test_arena_reset(&alike.arena);
    return 0;
}

/* A vector H of this value. */
static attn_tensor alike_heads(double value)
{
    const attn_tensor t = TEST_TENSOR(&alike.arena, F32, H);
    test_fill_value(&t, value);
    return t;
}

/* out of name with params "a=b c=d"; slot, if not NULL, holds heads. */
static attn_tensor alike_out(const char *name, const char *params, const char *slot,
                             double heads)
{
    alike_call c = alike_new(name);
    char copy[128], *rest = copy;
    *alike_slot(&c, "q") = alike.q;
    *alike_slot(&c, "k") = alike.k;
    *alike_slot(&c, "v") = alike.v;
    *alike_slot(&c, "out") = TEST_TENSOR(&alike.arena, F32, B, H, T, E);
    if (slot) *alike_slot(&c, slot) = alike_heads(heads);
    snprintf(copy, sizeof copy, "%s", params);
    for (char *word; (word = strtok_r(rest, " ", &rest)) != NULL;) {
        char *value = strchr(word, '=');
        *value++ = 0;
        alike_set(&c, word, value);
    }
    attn_error error = {0};
    if (attn_mech_run(NULL, c.mech, c.slots, c.params, &error) != ATTN_OK)
        fail_msg("%s: %s %s", name, error.where, error.what);
    return *alike_slot(&c, "out");
}

static double alike_far(attn_tensor a, attn_tensor b)
{
    int64_t index[ATTN_MAX_RANK] = {0};
    double most = 0;
    do most = fmax(most, fabs(test_get(&a, index) - test_get(&b, index)));
    while (test_index_next(&a, index));
    return most;
}

static const struct {
    const char *name, *params, *slot;
    double heads;
    const char *other, *other_params;
    double far; /* 0: the same bits */
} pairs[] = {
    {"sink", "", "z", -(double)INFINITY, "softmax", "", 0},
    {"sink", "", "z", -90, "softmax", "", 1e-6},
    {"sink", "", NULL, 0, "softmax", "softmax1=true", 0},
    {"entmax", "", "a", 0, "entmax15", "", 0},
    {"entmax", "", "a", 60, "sparsemax", "", 0},
    {"entmax", "", "a", -60, "softmax", "", 2e-6},
    {"top_k", "n=70", NULL, 0, "softmax", "", 0},
    {"top_k", "n=1", NULL, 0, "hard", "", 0},
    {"local_m", "window=70", NULL, 0, "softmax", "align=top_left", 0},
    {"gumbel", "hard=true seed=4", NULL, 0, "reinforce", "seed=4", 0},
    {"gumbel", "temperature=0.0001 seed=4", NULL, 0, "reinforce", "seed=4", 1e-5},
    {"hard", "", NULL, 0, "reinforce", "greedy=true", 0},
};

static void alike_pairs(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        const attn_tensor a =
            alike_out(pairs[i].name, pairs[i].params, pairs[i].slot, pairs[i].heads);
        const attn_tensor b = alike_out(pairs[i].other, pairs[i].other_params, NULL, 0);
        if (pairs[i].far == 0 ? !test_same_bits(a, b) : !(alike_far(a, b) < pairs[i].far))
            fail_msg("%s %s is not %s: %g", pairs[i].name, pairs[i].params, pairs[i].other,
                     alike_far(a, b));
    }
}

/* And they are not all the same. */
static void alike_differ(void **state)
{
    static const char *const names[] = {"softmax", "sink",   "sparsemax",  "entmax15",
                                        "relu2",   "mean",   "l1_sigmoid", "hard",
                                        "local_m", "sigmoid"};
    attn_tensor out[10];
    (void)state;
    for (int i = 0; i < 10; i++) {
        out[i] = alike_out(names[i], "", NULL, 0);
        for (int j = 0; j < i; j++)
            if (alike_far(out[i], out[j]) < 1e-3) fail_msg("%s is %s", names[i], names[j]);
    }
}

/* ---- three keys -------------------------------------------------------------------------- */

enum { KEYS = 3, WIDTH = 2 };
static const double few_q[WIDTH] = {0.9, -0.6},
                    few_k[KEYS * WIDTH] = {1, 0, 0.5, 1, -0.25, 0.75};

static attn_tensor few_tensor(int64_t rows, int64_t width, const double *values)
{
    const attn_tensor t = TEST_TENSOR(&alike.arena, F64, 1, 1, rows, width);
    if (values) memcpy(t.data, values, (size_t)(rows * width) * sizeof *values);
    return t;
}

/* Scores are scaled by 1 / sqrt 2; values are the unit matrix, so out says who was drawn. */
static alike_call few_call(const char *name, int64_t seed)
{
    static const double unit[KEYS * KEYS] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
    alike_call c = alike_new(name);
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)seed);
    alike_set(&c, "seed", text);
    *alike_slot(&c, "q") = few_tensor(1, WIDTH, few_q);
    *alike_slot(&c, "k") = few_tensor(KEYS, WIDTH, few_k);
    *alike_slot(&c, "v") = few_tensor(KEYS, KEYS, unit);
    *alike_slot(&c, "out") = few_tensor(1, KEYS, NULL);
    return c;
}

static int few_drawn(alike_call *c)
{
    const double *out = alike_slot(c, "out")->data;
    assert_int_equal(attn_mech_run(NULL, c->mech, c->slots, c->params, NULL), ATTN_OK);
    for (int j = 0; j < KEYS; j++)
        if (out[j] == 1) return j;
    fail_msg("nobody was drawn");
    return -1;
}

static void few_chances(const double *q, double *p)
{
    double sum = 0;
    for (int j = 0; j < KEYS; j++)
        sum += p[j] =
            exp((q[0] * few_k[j * WIDTH] + q[1] * few_k[j * WIDTH + 1]) / sqrt((double)WIDTH));
    for (int j = 0; j < KEYS; j++) p[j] /= sum;
}

/* 4000 draws: chi-square with 2 degrees of freedom stays under 20 but for 5 in 10^5. */
static void few_draws(void **state)
{
    enum { DRAWS = 4000 };
    double p[KEYS], count[KEYS] = {0}, chi = 0;
    (void)state;
    few_chances(few_q, p);
    for (int64_t seed = 0; seed < DRAWS; seed++) {
        alike_call c = few_call("gumbel", seed);
        alike_set(&c, "hard", "true");
        count[few_drawn(&c)]++;
        test_arena_reset(&alike.arena);
    }
    for (int j = 0; j < KEYS; j++) {
        const double off = count[j] - DRAWS * p[j];
        chi += off * off / (DRAWS * p[j]);
    }
    if (chi > 20) fail_msg("chi-square %g", chi);
}

/* Expected surrogate with weight on the entropy, by its definition. */
static double few_expected(const double *q, const double *reward, double weight)
{
    double p[KEYS], sum = 0;
    few_chances(q, p);
    for (int j = 0; j < KEYS; j++) sum -= p[j] * reward[j] - weight * p[j] * log(p[j]);
    return sum;
}

/* The gradient of q for the draw j, added p_j times. */
static void few_add(int64_t seed, double p, double reward, double baseline, double *d_q)
{
    alike_call c = few_call("reinforce", seed);
    const int q = attn_mech_slot(c.mech, "q"), to = attn_mech_slot(c.mech, "surrogate");
    const double one = 1;
    *alike_slot(&c, "reward") = TEST_TENSOR(&alike.arena, F64, 1, 1, 1);
    *alike_slot(&c, "baseline") = TEST_TENSOR(&alike.arena, F64, 1, 1, 1);
    *(double *)alike_slot(&c, "reward")->data = reward;
    *(double *)alike_slot(&c, "baseline")->data = baseline;
    c.d_slots[q] = few_tensor(1, WIDTH, NULL);
    c.d_slots[to] = TEST_TENSOR(&alike.arena, F64, 1, 1, 1);
    memcpy(c.d_slots[to].data, &one, sizeof one);
    assert_int_equal(attn_mech_run_grad(NULL, c.mech, c.slots, c.d_slots, c.params, NULL),
                     ATTN_OK);
    for (int d = 0; d < WIDTH; d++) d_q[d] += p * ((double *)c.d_slots[q].data)[d];
}

static void few_reinforce(void **state)
{
    static const double reward[KEYS] = {1.5, -0.5, 0.25}, baselines[] = {0, 0.7};
    int64_t seed_of[KEYS] = {-1, -1, -1};
    double p[KEYS];
    (void)state;
    few_chances(few_q, p);
    for (int64_t seed = 0; seed < 200; seed++) {
        alike_call c = few_call("reinforce", seed);
        seed_of[few_drawn(&c)] = seed;
    }
    for (int i = 0; i < 2; i++) {
        double d_q[WIDTH] = {0};
        for (int j = 0; j < KEYS; j++) {
            assert_true(seed_of[j] >= 0);
            few_add(seed_of[j], p[j], reward[j], baselines[i], d_q);
        }
        for (int d = 0; d < WIDTH; d++) {
            const double h = 1e-5;
            double up[WIDTH] = {few_q[0], few_q[1]}, down[WIDTH] = {few_q[0], few_q[1]};
            up[d] += h, down[d] -= h;
            const double want =
                (few_expected(up, reward, 0.01) - few_expected(down, reward, 0.01)) / (2 * h);
            if (fabs(d_q[d] - want) > 1e-8) fail_msg("%.9g, expected %.9g", d_q[d], want);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(alike_pairs, alike_begin, alike_end),
        cmocka_unit_test_setup_teardown(alike_differ, alike_begin, alike_end),
        cmocka_unit_test_setup_teardown(few_draws, NULL, alike_end),
        cmocka_unit_test_setup_teardown(few_reinforce, NULL, alike_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
