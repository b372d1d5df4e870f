/* SPDX-License-Identifier: MIT
 * Identities of gates of channels and of hybrids: blocks of zero weights, halves that make a
 * whole, and what the published sizes are. */
#include "gallery_ask.h"

#include <string.h>

/* ---- gates ------------------------------------------------------------------------------- */

static void test_half_gates(void **state)
{
    static const char *const gates[][3] = {
        {"squeeze_excite", ";;b2", "w2"}, {"cbam_channel", ";;b2", "w2"}, {"eca", "", "w"}};
    (void)state;
    for (size_t i = 0; i < sizeof gates / sizeof gates[0]; i++) {
        ask a;
        ask_open(&a, gates[i][0], gates[i][1]);
        test_fill_value(ask_at(&a, gates[i][2]), 0);
        ask_run(&a);
        for (int64_t x = 0; x < attn_tensor_count(*ask_at(&a, "x")); x++)
            assert_true(ask_data(&a, "out")[x] == ask_data(&a, "x")[x] / 2);
        ask_close(&a);
    }
}

/* Places in another order come out in that order. */
static void test_places_reordered(void **state)
{
    static const char *const gates[] = {"squeeze_excite", "cbam_channel", "eca",
                                        "dual_channel"};
    (void)state;
    for (size_t i = 0; i < sizeof gates / sizeof gates[0]; i++) {
        ask a, b;
        ask_open(&a, gates[i], "Y=2,X=4"), ask_open(&b, gates[i], "Y=4,X=2");
        ask_share_all(&b, &a);
        ask_share(&b, "x", attn_tensor_permute(*ask_at(&a, "x"), (const int[]){0, 1, 3, 2}));
        ask_run(&a), ask_run(&b);
        ask_near(attn_tensor_permute(*ask_at(&b, "out"), (const int[]){0, 1, 3, 2}),
                 *ask_at(&a, "out"), 1e-13);
        ask_close(&a), ask_close(&b);
    }
}

/* The paper's kernels for its numbers of channels, and no others. */
static void test_eca_rule(void **state)
{
    static const int rule[][2] = {{1, 1},   {2, 1},   {8, 3},   {16, 3},   {32, 3},  {64, 3},
                                  {128, 5}, {256, 5}, {512, 5}, {1024, 5}, {2048, 7}};
    (void)state;
    for (size_t i = 0; i < sizeof rule / sizeof rule[0]; i++)
        for (int kernel = 1; kernel <= 9; kernel += 2) {
            ask a;
            char text[64];
            snprintf(text, sizeof text, "B=1,Y=1,X=1,C=%d,K=%d;rule=true", rule[i][0], kernel);
            ask_open(&a, "eca", text);
            const attn_status said =
                attn_mech_run(NULL, a.row.mech, a.slots, a.draw.call.params, NULL);
            assert_int_equal(said, kernel == rule[i][1] ? ATTN_OK : ATTN_E_SHAPE);
            ask_close(&a);
        }
}

/* ---- CBAM is its halves ------------------------------------------------------------------ */

static void cbam_halves(const char *text, const char *first, const char *second)
{
    ask whole, one, two;
    ask_open(&whole, "cbam", text);
    ask_open(&one, first, "Y=5,X=6"), ask_open(&two, second, "Y=5,X=6");
    ask *const halves[] = {&one, &two};
    for (int i = 0; i < 2; i++) {
        ask_share_all(halves[i], &whole);
        if (attn_mech_slot(halves[i]->row.mech, "w") >= 0)
            ask_share(halves[i], "w", *ask_at(&whole, "w_map"));
    }
    ask_run(&whole), ask_run(&one);
    ask_share(&two, "x", *ask_at(&one, "out"));
    ask_run(&two);
    assert_true(test_same_bits(*ask_at(&two, "out"), *ask_at(&whole, "out")));
    ask_close(&whole), ask_close(&one), ask_close(&two);
}

static void test_cbam_halves(void **state)
{
    (void)state;
    cbam_halves("Y=5,X=6", "cbam_channel", "cbam_spatial");
    cbam_halves("Y=5,X=6;order=spatial_first", "cbam_spatial", "cbam_channel");
}

/* ---- channels that attend to channels ---------------------------------------------------- */

static void test_channel_attention(void **state)
{
    ask a, b;
    (void)state;
    ask_open(&a, "dual_channel", "B=2;;gamma");
    ask_open(&b, "dual_channel", "B=2;inverted=true;gamma");
    ask_share(&b, "x", *ask_at(&a, "x"));
    const attn_tensor rows =
        attn_tensor_make(ask_data(&a, "x"), ATTN_DTYPE_F64, 3, (const int64_t[]){2, 4, 6});
    const attn_tensor out = TEST_TENSOR(&a.draw.arena, F64, 2, 4, 6);
    const attn_spec plain = ATTN_SPEC(.scale = 1);
    const attn_args args = ATTN_ARGS(.q = rows, .k = rows, .v = rows, .out = out);
    assert_int_equal(attn_forward(NULL, &plain, &args, NULL), ATTN_OK);
    ask_run(&a), ask_run(&b);
    ask_near(*ask_at(&a, "out"), out, 1e-13);
    /* Weights of -score are those of score, turned over. */
    for (int row = 0; row < 8; row++)
        for (int j = 1; j < 4; j++) {
            const double *w = ask_data(&a, "weights") + 4 * row;
            const double *v = ask_data(&b, "weights") + 4 * row;
            assert_true(fabs(log(w[j] / w[0]) + log(v[j] / v[0])) < 1e-9);
        }
    ask_close(&a), ask_close(&b);
}

/* ---- HAR-Net ----------------------------------------------------------------------------- */

/* Masks and gates of a half and a kernel that only looks at its own place: a quarter of x. */
static void test_har_zero(void **state)
{
    static const char *const zero[] = {"w_s5",    "b_s5",     "w2",       "b2",
                                       "b_align", "w_offset", "b_offset", "w_align"};
    ask a;
    (void)state;
    ask_open(&a, "har_net", "");
    for (size_t i = 0; i < sizeof zero / sizeof zero[0]; i++)
        test_fill_value(ask_at(&a, zero[i]), 0);
    for (int64_t c = 0; c < 4; c++) ask_data(&a, "w_align")[(c * 4 + c) * 9 + 4] = 1;
    ask_run(&a);
    for (int64_t i = 0; i < attn_tensor_count(*ask_at(&a, "x1")); i++)
        assert_true(ask_data(&a, "out")[i] == ask_data(&a, "x1")[i] / 4);
    for (int64_t i = 0; i < attn_tensor_count(*ask_at(&a, "x3")); i++)
        assert_true(ask_data(&a, "out3")[i] == ask_data(&a, "x3")[i] / 4);
    ask_close(&a);
}

/* The norm sees all levels: another third level changes what the first one gets. */
static void test_har_levels(void **state)
{
    ask a;
    (void)state;
    ask_open(&a, "har_net", ""), ask_run(&a);
    const double before = ask_data(&a, "gate")[0];
    ask_data(&a, "x3")[0] += 1, ask_run(&a);
    assert_true(fabs(ask_data(&a, "gate")[0] - before) > 1e-6);
    ask_close(&a);
}

/* ---- attention in attention -------------------------------------------------------------- */

static void test_a2b_choice(void **state)
{
    ask even, hard;
    (void)state;
    ask_open(&even, "attention_in_attention", "B=2"), test_fill_value(ask_at(&even, "w_b"), 0);
    ask_open(&hard, "attention_in_attention", "B=2,R=16;temperature=1e-6");
    ask_run(&even), ask_run(&hard);
    for (int i = 0; i < 4; i++) assert_true(ask_data(&even, "pi")[i] == 0.5);
    for (int i = 0; i < 4; i++)
        assert_true(ask_data(&hard, "pi")[i] == 0 || ask_data(&hard, "pi")[i] == 1);
    ask_close(&even), ask_close(&hard);
}

/* A2N at scale 2 has 1,036,443 weights: 16 blocks of 40 channels and what is around them. A2N-M
 * has kernels of 1 x 1 in the branch without attention: 831,643. */
static void test_a2b_weights(void **state)
{
    static const int around = 3 * 9 * 40 + 40 + 40 * 9 * 40 + 40 + 40 * 9 * 24 + 24 + 24 * 24 +
                              24 + 24 * 9 * 24 + 24 + 24 * 9 * 3 + 3;
    static const struct {
        const char *text;
        int weights;
    } nets[] = {{"C=40,F=40,R=10,Y=1,X=1", 1036443},
                {"C=40,F=40,R=10,Y=1,X=1,I=1,J=1", 831643}};
    (void)state;
    for (int n = 0; n < 2; n++) {
        ask a;
        int64_t block = 0;
        ask_open(&a, "attention_in_attention", nets[n].text);
        for (int i = 0; a.row.mech->slots[i].name; i++)
            if (a.row.mech->slots[i].kind & ATTN_PARAM) block += attn_tensor_count(a.slots[i]);
        assert_int_equal(16 * block + around, nets[n].weights);
        ask_close(&a);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_half_gates),        cmocka_unit_test(test_places_reordered),
        cmocka_unit_test(test_eca_rule),          cmocka_unit_test(test_cbam_halves),
        cmocka_unit_test(test_channel_attention), cmocka_unit_test(test_har_zero),
        cmocka_unit_test(test_har_levels),        cmocka_unit_test(test_a2b_choice),
        cmocka_unit_test(test_a2b_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
