/* SPDX-License-Identifier: MIT
 * What a run of a mechanism refuses; then softmax through its table against attn_forward itself. */
#include "mech/mech.h"

#include "attn/attention.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <math.h>
#include <string.h>
#include <cmocka.h>

/* ---- running ------------------------------------------------------------------------- */

static attn_status probe_run(attn_ctx *ctx, const attn_mech_call *call, attn_error *error)
{
    (void)ctx;
    (void)error;
    *(int64_t *)call->slots[1].data = call->slots[0].rank * 100 + call->params[0].i;
    return ATTN_OK;
}

static const attn_slot probe_slots[] = {{"x", ATTN_IN, "B H T D", ""},
                                        {"y", ATTN_OUT, "1", ""},
                                        {"w", ATTN_PARAM | ATTN_OPTIONAL, "D", ""},
                                        {0}};
static const attn_param probe_params[] = {{"n", 'i', "7", NULL, ""}, {0}};
static const attn_mech probe = {
    .name = "probe", .slots = probe_slots, .params = probe_params, .run = probe_run};

static void test_run_checks_slots_and_lifts(void **state)
{
    (void)state;
    float x[20], w[8];
    int64_t y = 0;
    attn_value params[ATTN_MAX_PARAMS];
    attn_error error;
    attn_mech_defaults(&probe, params);
    attn_tensor slots[ATTN_MAX_SLOTS] = {0};
    assert_int_equal(attn_mech_run(NULL, &probe, slots, params, &error), ATTN_E_NULL);
    assert_string_equal(error.where, "x");
    slots[0] = ATTN_TENSOR(x, F32, 5, 4);
    assert_int_equal(attn_mech_run(NULL, &probe, slots, params, &error), ATTN_E_NULL);
    slots[1] = ATTN_TENSOR(&y, I64, 1);
    slots[2] = ATTN_TENSOR(w, F32, 5);
    assert_int_equal(attn_mech_run(NULL, &probe, slots, params, &error), ATTN_E_SHAPE);
    assert_int_equal(y, 0);
    slots[2] = ATTN_TENSOR(w, F32, 4);
    assert_int_equal(attn_mech_run(NULL, &probe, slots, params, &error), ATTN_OK);
    assert_int_equal(y, 407);
    slots[0].rank = 99;
    assert_int_equal(attn_mech_run(NULL, &probe, slots, params, &error), ATTN_E_RANK);
    assert_int_equal(attn_mech_run(NULL, NULL, slots, params, &error), ATTN_E_NULL);
}

static void fill(float *x, int n, unsigned seed)
{
    for (int i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) * 0x1p-23f - 1;
    }
}

/* Every field the table sets by hand must arrive: the same bits as the engine itself. */
static void test_softmax_is_the_engine(void **state)
{
    (void)state;
    enum { H = 2, T = 5, S = 5, D = 4 };
    float q[H * T * D], k[H * S * D], v[H * S * D], bias[T * S], sink[H];
    float got[H * T * D], want[H * T * D], got_lse[H * T], want_lse[H * T];
    fill(q, H * T * D, 1), fill(k, H * S * D, 2), fill(v, H * S * D, 3);
    fill(bias, T * S, 4), fill(sink, H, 5);
    const attn_mech *m = attn_mech_find("softmax");
    static const char *const set[][2] = {{"causal", "true"}, {"scale", "0.3"},
                                         {"softcap", "5"},   {"window_left", "3"},
                                         {"rope", "half"},   {"prefix", "1"}};
    attn_value params[ATTN_MAX_PARAMS];
    attn_mech_defaults(m, params);
    for (size_t i = 0; i < sizeof set / sizeof set[0]; i++)
        assert_int_equal(attn_mech_set(m, params, set[i][0], set[i][1], NULL), ATTN_OK);
    attn_tensor slots[ATTN_MAX_SLOTS] = {0};
    slots[0] = ATTN_TENSOR(q, F32, 1, H, T, D);
    slots[1] = ATTN_TENSOR(k, F32, 1, H, S, D);
    slots[2] = ATTN_TENSOR(v, F32, 1, H, S, D);
    slots[3] = ATTN_TENSOR(got, F32, 1, H, T, D);
    slots[attn_mech_slot(m, "lse")] = ATTN_TENSOR(got_lse, F32, 1, H, T);
    slots[attn_mech_slot(m, "bias")] = ATTN_TENSOR(bias, F32, T, S);
    slots[attn_mech_slot(m, "sink")] = ATTN_TENSOR(sink, F32, H);
    int64_t positions[T] = {3, 1, 4, 1, 5};
    slots[attn_mech_slot(m, "positions")] = ATTN_TENSOR(positions, I64, T);
    assert_int_equal(attn_mech_run(NULL, m, slots, params, NULL), ATTN_OK);

    attn_tensor pos = ATTN_TENSOR(positions, I64, 1, T);
    attn_args args = ATTN_ARGS(.q = slots[0], .k = slots[1], .v = slots[2],
                               .out = ATTN_TENSOR(want, F32, 1, H, T, D),
                               .lse = ATTN_TENSOR(want_lse, F32, 1, H, T),
                               .bias = ATTN_TENSOR(bias, F32, T, S),
                               .sink = ATTN_TENSOR(sink, F32, H), .q_pos = pos, .k_pos = pos);
    attn_spec spec = ATTN_SPEC(.causal = true, .scale = 0.3, .softcap = 5, .prefix = 1,
                               .window = ATTN_WINDOW(3, -1), .rope = {ATTN_ROPE_HALF, 0, 0});
    assert_int_equal(attn_forward(NULL, &spec, &args, NULL), ATTN_OK);
    assert_memory_equal(got, want, sizeof got);
    assert_memory_equal(got_lse, want_lse, sizeof got_lse);
}

static void test_softmax_one_head_and_one_sequence(void **state)
{
    (void)state;
    enum { T = 3, S = 7, D = 5 };
    float q[T * D], k[S * D], v[S * D], a[T * D], b[T * D];
    fill(q, T * D, 6), fill(k, S * D, 7), fill(v, S * D, 8);
    const attn_mech *m = attn_mech_find("softmax");
    attn_value params[ATTN_MAX_PARAMS];
    attn_mech_defaults(m, params);
    attn_tensor flat[ATTN_MAX_SLOTS] = {ATTN_TENSOR(q, F32, T, D), ATTN_TENSOR(k, F32, S, D),
                                        ATTN_TENSOR(v, F32, S, D), ATTN_TENSOR(a, F32, T, D)};
    attn_tensor full[ATTN_MAX_SLOTS] = {
        ATTN_TENSOR(q, F32, 1, 1, T, D), ATTN_TENSOR(k, F32, 1, 1, S, D),
        ATTN_TENSOR(v, F32, 1, 1, S, D), ATTN_TENSOR(b, F32, 1, 1, T, D)};
    assert_int_equal(attn_mech_run(NULL, m, flat, params, NULL), ATTN_OK);
    assert_int_equal(attn_mech_run(NULL, m, full, params, NULL), ATTN_OK);
    assert_memory_equal(a, b, sizeof a);
    for (int i = 0; i < T * D; i++) assert_true(isfinite(a[i]) && a[i] != 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_run_checks_slots_and_lifts),
    cmocka_unit_test(test_softmax_is_the_engine),
    cmocka_unit_test(test_softmax_one_head_and_one_sequence),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
