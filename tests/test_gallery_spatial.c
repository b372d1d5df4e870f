/* SPDX-License-Identifier: MIT
 * Identities of attention over places: what a fresh block returns, which mechanism another one
 * becomes, and what must not depend on what. */
#include "gallery_ask.h"

#include <string.h>

static void spatial_same(const ask *a, attn_tensor got, attn_tensor want)
{
    if (!test_same_bits(got, want)) fail_msg("%s: not the same bits", a->row.name);
}

/* B C Y X as B YX C. */
static attn_tensor spatial_pixels(ask *a, const char *slot)
{
    const attn_tensor x = *ask_at(a, slot);
    const int64_t shape[] = {x.shape[0], x.shape[1], x.shape[2] * x.shape[3]};
    const attn_tensor rows = attn_tensor_make(x.data, x.dtype, 3, shape);
    return attn_tensor_permute(rows, (const int[]){0, 2, 1});
}

/* ---- what a fresh block returns ---------------------------------------------------------- */

static void test_fresh_blocks(void **state)
{
    static const char *const blocks[][3] = {
        {"non_local", ";;b_z", "w_z"},
        {"non_local", ";mode=concat;b_z", "w_z"},
        {"spatial_factors", "", "gamma"},
        {"spatial_factors", ";kv_stride=2;weights", "gamma"},
        {"criss_cross", "", "gamma"},
        {"dual_channel", "", "gamma"},
        {"attention_in_attention", "", "w_out"}};
    (void)state;
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        ask a;
        ask_open(&a, blocks[i][0], blocks[i][1]);
        test_fill_value(ask_at(&a, blocks[i][2]), 0);
        ask_run(&a);
        spatial_same(&a, *ask_at(&a, "out"), *ask_at(&a, "x"));
        ask_close(&a);
    }
}

/* Gates of zero weights: of 1/2, or of what the bias says. */
static void test_zero_gates(void **state)
{
    ask p, s;
    (void)state;
    ask_open(&p, "pixel_attention", ";;b"), ask_open(&s, "cbam_spatial", ";;gamma");
    test_fill_value(ask_at(&p, "w"), 0), test_fill_value(ask_at(&s, "w"), 0);
    ask_run(&p), ask_run(&s);
    for (int64_t i = 0; i < attn_tensor_count(*ask_at(&p, "x")); i++)
        assert_true(ask_data(&p, "out")[i] == ask_data(&p, "x")[i] / 2);
    const double gate = 1 / (1 + exp(-ask_data(&s, "beta")[0]));
    for (int64_t i = 0; i < attn_tensor_count(*ask_at(&s, "x")); i++)
        assert_true(fabs(ask_data(&s, "out")[i] - gate * ask_data(&s, "x")[i]) < 1e-14);
    ask_close(&p), ask_close(&s);
}

/* ---- pictures as sequences --------------------------------------------------------------- */

/* A block around cross attention of one head over the pixels. */
static void spatial_is_cross(ask *block, const char *const (*names)[2], const char *text,
                             bool residual)
{
    ask cross;
    ask_open(&cross, "cross", text);
    ask_share(&cross, "x", spatial_pixels(block, "x"));
    ask_share(&cross, "y", spatial_pixels(block, "x"));
    for (int i = 0; i < 4; i++) ask_share(&cross, names[i][0], *ask_at(block, names[i][1]));
    ask_run(block), ask_run(&cross);
    for (int64_t i = 0; residual && i < attn_tensor_count(*ask_at(block, "x")); i++)
        ask_data(block, "out")[i] -= ask_data(block, "x")[i];
    ask_near(spatial_pixels(block, "out"), *ask_at(&cross, "out"), 1e-12);
    ask_close(&cross);
}

static void test_cross_over_pixels(void **state)
{
    static const char *const embedded[][2] = {
        {"w_q", "w_theta"}, {"w_k", "w_phi"}, {"w_v", "w_g"}, {"w_o", "w_z"}};
    static const char *const factors[][2] = {
        {"w_q", "w_q"}, {"w_k", "w_k"}, {"w_v", "w_v"}, {"w_o", "w_o"}};
    ask a, b;
    (void)state;
    ask_open(&a, "non_local", "B=2;;b_theta,b_phi,b_g,b_z,w_f,mask");
    spatial_is_cross(&a, embedded, "B=2,H=1,T=12,S=12,M=4,N=4,A=3,P=2,O=4;heads=1;mask", true);
    ask_open(&b, "spatial_factors",
             "B=2;scaled=true,query_position=0,key_only=0,position_only=0;b_o,gamma,mask");
    spatial_is_cross(&b, factors, "B=2,H=2,T=12,S=12,M=3,N=3,A=4,P=4,O=3;;mask", false);
    ask_close(&a), ask_close(&b);
}

/* Without embeddings the embedded mode is the Gaussian one. */
static void test_gaussian(void **state)
{
    ask g, e;
    (void)state;
    ask_open(&g, "non_local", ";mode=gaussian");
    ask_open(&e, "non_local", "R=4;scaled=false;w_f,b_theta,b_phi");
    ask_share_all(&g, &e);
    ask_unit(&e, "w_theta"), ask_unit(&e, "w_phi");
    ask_run(&g), ask_run(&e);
    spatial_same(&g, *ask_at(&g, "out"), *ask_at(&e, "out"));
    ask_close(&g), ask_close(&e);
}

/* In a picture of one row the cross is the picture. */
static void test_cross_of_a_row(void **state)
{
    ask cross, dense;
    (void)state;
    ask_open(&cross, "criss_cross", "B=2,Y=1,X=7,R=3;rounds=1;b_q,b_k,b_v,mask");
    ask_open(&dense, "non_local",
             "B=2,C=3,Y=1,X=7,R=3,P=3;scaled=false;b_theta,b_phi,b_g,b_z,w_f,mask");
    ask_share(&dense, "x", *ask_at(&cross, "x"));
    ask_share(&dense, "w_theta", *ask_at(&cross, "w_q"));
    ask_share(&dense, "w_phi", *ask_at(&cross, "w_k"));
    ask_share(&dense, "w_g", *ask_at(&cross, "w_v"));
    ask_unit(&dense, "w_z"), test_fill_value(ask_at(&cross, "gamma"), 1);
    ask_run(&cross), ask_run(&dense);
    ask_near(*ask_at(&cross, "out"), *ask_at(&dense, "out"), 1e-12);
    ask_close(&cross), ask_close(&dense);
}

/* How much the far corner changes when the first pixel does. */
static double spatial_reach(const char *name, const char *text)
{
    ask a;
    double before, after;
    ask_open(&a, name, text);
    const int64_t last = attn_tensor_count(*ask_at(&a, "out")) - 1;
    ask_run(&a), before = ask_data(&a, "out")[last];
    ask_data(&a, "x")[0] += 1;
    ask_run(&a), after = ask_data(&a, "out")[last];
    ask_close(&a);
    return fabs(after - before);
}

static void test_reach(void **state)
{
    (void)state;
    assert_true(spatial_reach("criss_cross", ";rounds=1;mask") == 0);
    assert_true(spatial_reach("criss_cross", ";rounds=2;mask") > 1e-6);
    assert_true(spatial_reach("axial", ";;mask") > 1e-6);
    assert_true(spatial_reach("pixel_attention", "") == 0);
    assert_true(spatial_reach("non_local", ";;mask") > 1e-6);
}

/* ---- the four factors -------------------------------------------------------------------- */

enum { FACTORS_ROWS = 2 * 12, FACTORS_KEYS = 12 };

static void test_factors_multiply(void **state)
{
    static const char *const texts[] = {";query_position=0,key_only=0,position_only=0",
                                        ";query_key=0,key_only=0,position_only=0",
                                        ";query_key=0,query_position=0,position_only=0",
                                        ";query_key=0,query_position=0,key_only=0"};
    ask all, one;
    double product[FACTORS_ROWS * FACTORS_KEYS];
    (void)state;
    ask_open(&all, "spatial_factors", ""), ask_run(&all);
    for (int i = 0; i < FACTORS_ROWS * FACTORS_KEYS; i++) product[i] = 1;
    for (int f = 0; f < 4; f++) {
        ask_open(&one, "spatial_factors", texts[f]), ask_share_all(&one, &all);
        ask_run(&one);
        for (int i = 0; i < FACTORS_ROWS * FACTORS_KEYS; i++)
            product[i] *= ask_data(&one, "weights")[i];
        ask_close(&one);
    }
    for (int row = 0; row < FACTORS_ROWS; row++) {
        double sum = 0;
        for (int j = 0; j < FACTORS_KEYS; j++) sum += product[row * FACTORS_KEYS + j];
        for (int j = row * FACTORS_KEYS; j < (row + 1) * FACTORS_KEYS; j++)
            assert_true(fabs(product[j] / sum - ask_data(&all, "weights")[j]) < 1e-12);
    }
    ask_close(&all);
}

/* By the key alone every place gets the same; one row computed for all has the bits of all. */
static void test_factors_key_only(void **state)
{
    ask a, b;
    (void)state;
    const char *const text = ";query_key=0,query_position=0,position_only=0;gamma";
    ask_open(&a, "spatial_factors", text), ask_open(&b, "spatial_factors", text);
    ask_share_all(&b, &a);
    *ask_at(&b, "weights") = (attn_tensor){0};
    ask_run(&a), ask_run(&b);
    spatial_same(&a, *ask_at(&a, "out"), *ask_at(&b, "out"));
    for (int64_t i = 0; i < attn_tensor_count(*ask_at(&a, "out")); i++)
        assert_true(ask_data(&a, "out")[i] == ask_data(&a, "out")[i / 12 * 12]);
    ask_close(&a), ask_close(&b);
}

/* By position alone the weights do not know the picture. */
static void test_factors_position_only(void **state)
{
    ask a, b;
    (void)state;
    const char *const text = ";query_key=0,query_position=0,key_only=0;gamma,b_o";
    ask_open(&a, "spatial_factors", text), ask_open(&b, "spatial_factors", text);
    for (int64_t i = 0; i < attn_tensor_count(*ask_at(&a, "x")); i++)
        ask_data(&b, "x")[i] = -2 * ask_data(&a, "x")[i];
    ask_run(&a), ask_run(&b);
    spatial_same(&a, *ask_at(&a, "weights"), *ask_at(&b, "weights"));
    for (int64_t i = 0; i < attn_tensor_count(*ask_at(&a, "out")); i++)
        ask_data(&a, "out")[i] *= -2;
    ask_near(*ask_at(&a, "out"), *ask_at(&b, "out"), 1e-13);
    ask_close(&a), ask_close(&b);
}

/* ---- windows ----------------------------------------------------------------------------- */

static void test_windows(void **state)
{
    ask dynamic, light, one;
    (void)state;
    ask_open(&dynamic, "dynamic_conv", "B=2,T=5;renormalise=true");
    ask_open(&light, "lightweight_conv", "B=2,T=5;renormalise=true");
    test_fill_value(ask_at(&dynamic, "w"), 0);
    ask_share(&light, "x", *ask_at(&dynamic, "x"));
    ask_share(&light, "mask", *ask_at(&dynamic, "mask"));
    memcpy(ask_data(&light, "w"), ask_data(&dynamic, "b"), 6 * sizeof(double));
    ask_run(&dynamic), ask_run(&light);
    spatial_same(&light, *ask_at(&light, "out"), *ask_at(&dynamic, "out"));
    ask_open(&one, "dynamic_conv", "T=5,N=2;;mask");
    ask_run(&one);
    spatial_same(&one, *ask_at(&one, "out"), *ask_at(&one, "x"));
    ask_close(&dynamic), ask_close(&light), ask_close(&one);
}

/* Without scores: the mean over the window, with zeros beyond the ends. */
static void test_window_mean(void **state)
{
    ask a;
    (void)state;
    ask_open(&a, "dynamic_conv", "B=1,T=5,C=2;;b,mask"), test_fill_value(ask_at(&a, "w"), 0),
        ask_run(&a);
    const double *x = ask_data(&a, "x"), *out = ask_data(&a, "out");
    for (int i = 0; i < 5; i++)
        for (int c = 0; c < 2; c++) {
            const double before = i > 0 ? x[2 * i - 2 + c] : 0;
            const double after = i < 4 ? x[2 * i + 2 + c] : 0;
            assert_true(fabs(out[2 * i + c] - (before + x[2 * i + c] + after) / 3) < 1e-14);
        }
    ask_close(&a);
}

/* ---- refusals ---------------------------------------------------------------------------- */

/* What no shape string can say, each with its sizes. */
static const struct {
    const char *name, *text;
    attn_status status;
    const char *where;
    int64_t want, got;
} spatial_refusals[] = {
    {"non_local", ";mode=concat;w_f", ATTN_E_NULL, "w_f", 1, 0},
    {"non_local", "Y=4;sub_sample=true;mask", ATTN_E_PARAM, "weights", 0, 1},
    {"non_local", "Y=4;sub_sample=true;weights", ATTN_E_PARAM, "mask", 0, 1},
    {"spatial_factors", "F=3", ATTN_E_SHAPE, "w_rx", 2, 3},
    {"spatial_factors", "A=3", ATTN_E_HEADS, "heads", 2, 3},
    {"spatial_factors", ";kv_stride=2", ATTN_E_PARAM, "weights", 0, 1},
    {"criss_cross", ";rounds=0", ATTN_E_PARAM, "rounds", 2, 0},
    {"dynamic_conv", "N=7", ATTN_E_HEADS, "heads", 2, 7},
    {"dynamic_conv", "C=3", ATTN_E_HEADS, "heads", 2, 3},
    {"dynamic_conv", "N=0", ATTN_E_SHAPE, "w", 1, 0},
    {"lightweight_conv", "H=3", ATTN_E_HEADS, "heads", 3, 4},
    {"cbam_spatial", "K=4", ATTN_E_SHAPE, "kernel", 3, 4},
    {"eca", "K=2", ATTN_E_SHAPE, "w", 3, 2},
    {"eca", "C=16,K=5;rule=true", ATTN_E_SHAPE, "w", 3, 5},
    {"har_net", ";rate3=0", ATTN_E_PARAM, "kernel", 1, 0},
    {"har_net", ";;x2,out2", ATTN_E_NULL, "x2", 2, 3},
    {"attention_in_attention", ";temperature=0", ATTN_E_PARAM, "temperature", 30, 0},
    {"deformable_conv", ";groups=0", ATTN_E_PARAM, "groups", 1, 0},
    {"deformable_conv", ";groups=2", ATTN_E_SHAPE, "groups", 2, 3},
    {"deformable_conv", "D=1", ATTN_E_SHAPE, "w", 2, 1},
    {"deformable_conv", "K=0", ATTN_E_SHAPE, "w", 1, 0},
    {"deformable_conv", "N=20", ATTN_E_SHAPE, "offset", 18, 20},
    {"deformable_conv", "N=54,J=27", ATTN_E_SHAPE, "offset", 3, 2},
    {"deformable_conv", "J=8", ATTN_E_SHAPE, "modulation", 9, 8},
    {"deformable_conv", ";stride=2", ATTN_E_SHAPE, "offset", 2, 4},
    {"deformable_conv", ";stride=0", ATTN_E_SHAPE, "stride", 1, 0},
    {"deformable_attention", "P=3", ATTN_E_HEADS, "heads", 2, 3},
    {"deformable_attention", "S=6,N=12", ATTN_E_SHAPE, "w_a", 8, 6},
    {"deformable_attention", "N=18", ATTN_E_SHAPE, "w_p", 8, 9},
    {"deformable_attention", "R=3", ATTN_E_SHAPE, "ref", 2, 3},
    {"deformable_attention", ";;x2,mask2", ATTN_E_NULL, "x2", 1, 3},
};

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof spatial_refusals / sizeof spatial_refusals[0]; i++) {
        ask a;
        attn_error error = {0};
        char said[256];
        ask_open(&a, spatial_refusals[i].name, spatial_refusals[i].text);
        const attn_status status =
            attn_mech_run(NULL, a.row.mech, a.slots, a.draw.call.params, &error);
        attn_error_text(&error, said, sizeof said);
        if (status != spatial_refusals[i].status || error.want != spatial_refusals[i].want ||
            error.got != spatial_refusals[i].got || !error.where ||
            strcmp(error.where, spatial_refusals[i].where) != 0)
            fail_msg("%s '%s': %s", spatial_refusals[i].name, spatial_refusals[i].text, said);
        ask_close(&a);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fresh_blocks),          cmocka_unit_test(test_zero_gates),
        cmocka_unit_test(test_cross_over_pixels),     cmocka_unit_test(test_gaussian),
        cmocka_unit_test(test_cross_of_a_row),        cmocka_unit_test(test_reach),
        cmocka_unit_test(test_factors_multiply),      cmocka_unit_test(test_factors_key_only),
        cmocka_unit_test(test_factors_position_only), cmocka_unit_test(test_windows),
        cmocka_unit_test(test_window_mean),           cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
