/* SPDX-License-Identifier: MIT
 * Identities of mechanisms that sample pictures between pixels: deformable convolution and
 * attention, the spatial transformer. */
#include "gallery_ask.h"

#include "attn/tape.h"

#include <string.h>

static double sampling_at(ask *a, const char *slot, const int64_t *index)
{
    return test_get(ask_at(a, slot), index);
}

/* ---- deformable convolution -------------------------------------------------------------- */

/* Offsets of 0 are the ordinary convolution. */
static void test_no_offsets(void **state)
{
    ask a;
    attn_tape *t;
    (void)state;
    const attn_tape_config config = ATTN_TAPE_CONFIG(.dtype = ATTN_DTYPE_F64);
    const attn_conv conv = {.stride = {2, 2}, .padding = {1, 1}, .groups = 2};
    ask_open(&a, "deformable_conv",
             "B=2,C=4,D=2,M=4,Y=5,X=7,P=3,Q=4;stride=2,groups=2;modulation");
    test_fill_value(ask_at(&a, "offset"), 0);
    ask_run(&a);
    assert_int_equal(attn_tape_create(&t, NULL, &config, NULL), ATTN_OK);
    const attn_var y = attn_tape_conv2d(t, attn_tape_input(t, *ask_at(&a, "x")),
                                        attn_tape_input(t, *ask_at(&a, "w")),
                                        attn_tape_input(t, *ask_at(&a, "b")), &conv);
    ask_near(*ask_at(&a, "out"), attn_tape_value(t, y), 1e-13);
    attn_tape_destroy(t);
    ask_close(&a);
}

/* Whole offsets look at the place beside: the same as no offsets there, where there is one. */
static void test_whole_offsets(void **state)
{
    ask a, b;
    (void)state;
    ask_open(&a, "deformable_conv", ";;modulation"),
        ask_open(&b, "deformable_conv", ";;modulation");
    ask_share_all(&b, &a);
    ask_share(&b, "offset", test_tensor_dense(&b.draw.arena, *ask_at(&a, "offset"), 0));
    test_fill_value(ask_at(&a, "offset"), 0);
    for (int64_t i = 0; i < 18 * 20; i++)
        ask_data(&b, "offset")[i] = i / 20 % 2 ? 2 : -1; /* y - 1, x + 2 */
    ask_run(&a), ask_run(&b);
    for (int64_t m = 0; m < 3; m++)
        for (int64_t y = 1; y < 4; y++)
            for (int64_t x = 0; x + 2 < 5; x++) {
                const double got = sampling_at(&b, "out", (const int64_t[]){0, m, y, x});
                const double want =
                    sampling_at(&a, "out", (const int64_t[]){0, m, y - 1, x + 2});
                assert_true(fabs(got - want) < 1e-13);
            }
    ask_close(&a), ask_close(&b);
}

/* A modulation of 0 through the sigmoid is half of everything but the bias. */
static void test_half_modulation(void **state)
{
    ask a, b;
    (void)state;
    ask_open(&a, "deformable_conv", ";sigmoid=true;b");
    ask_open(&b, "deformable_conv", ";;modulation,b");
    ask_share_all(&b, &a);
    *ask_at(&b, "modulation") = (attn_tensor){0};
    test_fill_value(ask_at(&a, "modulation"), 0);
    ask_run(&a), ask_run(&b);
    for (int64_t i = 0; i < attn_tensor_count(*ask_at(&a, "out")); i++)
        ask_data(&a, "out")[i] *= 2;
    ask_near(*ask_at(&a, "out"), *ask_at(&b, "out"), 1e-13);
    ask_close(&a), ask_close(&b);
}

/* ---- deformable attention ---------------------------------------------------------------- */

/* No offsets and references on the centres of pixels: a lookup. */
static void test_lookup(void **state)
{
    ask a;
    (void)state;
    ask_open(&a, "deformable_attention",
             "T=20,S=4,N=8,O=4;;x2,x3,x4,mask1,mask2,mask3,mask4,b_p,b_v,b_o");
    test_fill_value(ask_at(&a, "w_p"), 0);
    ask_unit(&a, "w_o");
    for (int64_t i = 0; i < 20; i++) {
        ask_data(&a, "ref")[2 * i] = ((double)(i % 5) + 0.5) / 5;
        ask_data(&a, "ref")[2 * i + 1] = ((double)(i / 5) + 0.5) / 4;
    }
    ask_run(&a);
    for (int64_t i = 0; i < 20; i++)
        for (int64_t e = 0; e < 4; e++) {
            double want = 0;
            for (int64_t c = 0; c < 3; c++)
                want += ask_data(&a, "w_v")[e * 3 + c] * ask_data(&a, "x1")[c * 20 + i];
            assert_true(fabs(ask_data(&a, "out")[i * 4 + e] - want) < 1e-12);
        }
    ask_close(&a);
}

/* Weights of a head sum to 1, whatever the levels; what is hidden gives nothing. */
static void test_levels(void **state)
{
    static const char *const masks[] = {"mask1", "mask2", "mask3", "mask4"};
    ask a;
    (void)state;
    ask_open(&a, "deformable_attention", "B=2;;b_o");
    for (int l = 0; l < 4; l++) test_fill_value(ask_at(&a, masks[l]), 0);
    ask_run(&a);
    for (int64_t h = 0; h < 2 * 3 * 2; h++) {
        const double *w = ask_data(&a, "weights") + 4 * h;
        assert_true(fabs(w[0] + w[1] + w[2] + w[3] - 1) < 1e-14);
    }
    for (int64_t i = 0; i < attn_tensor_count(*ask_at(&a, "out")); i++)
        assert_true(ask_data(&a, "out")[i] == 0);
    ask_close(&a);
}

/* ---- the spatial transformer ------------------------------------------------------------- */

static void transformer_open(ask *a, const char *text, const double *theta)
{
    ask_open(a, "spatial_transformer", text);
    memcpy(ask_data(a, "theta"), theta, 6 * sizeof *theta);
    ask_run(a);
}

/* The identity is the identity, to the last bit, by either kind of coordinate. */
static void test_identity(void **state)
{
    static const char *const texts[] = {"Y=5,X=7", "Y=5,X=7;corners=true",
                                        "Y=1,X=6;corners=true"};
    ask a;
    (void)state;
    for (int i = 0; i < 3; i++) {
        transformer_open(&a, texts[i], (const double[]){1, 0, 0, 0, 1, 0});
        assert_true(test_same_bits(*ask_at(&a, "out"), *ask_at(&a, "x")));
        ask_close(&a);
    }
}

/* A step of one pixel to the right, and a turn by 90 degrees. */
static void test_moves(void **state)
{
    ask step, turn;
    (void)state;
    transformer_open(&step, "C=1,Y=3,X=8", (const double[]){1, 0, 0.25, 0, 1, 0});
    transformer_open(&turn, "C=1,Y=5,X=5", (const double[]){0, 1, 0, -1, 0, 0});
    for (int i = 0; i < 24; i++) {
        const double want = i % 8 < 7 ? ask_data(&step, "x")[i + 1] : 0;
        assert_true(ask_data(&step, "out")[i] == want);
    }
    for (int y = 0; y < 5; y++)
        for (int x = 0; x < 5; x++)
            assert_true(ask_data(&turn, "out")[5 * y + x] ==
                        ask_data(&turn, "x")[5 * (4 - x) + y]);
    ask_close(&step), ask_close(&turn);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_offsets),      cmocka_unit_test(test_whole_offsets),
        cmocka_unit_test(test_half_modulation), cmocka_unit_test(test_lookup),
        cmocka_unit_test(test_levels),          cmocka_unit_test(test_identity),
        cmocka_unit_test(test_moves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
