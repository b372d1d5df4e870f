/* SPDX-License-Identifier: MIT
 * Identities of the family of few landmarks: what becomes softmax when the landmarks are all
 * tokens, and how the error falls on the way there. */
#include "gallery_dense.h"

static void test_identity_projections(void **state)
{
    ask a, dense;
    (void)state;
    ask_open(&a, "linformer", "B=2,H=2,T=20,S=33,N=33,D=4,E=4;;mask,weights");
    ask_unit(&a, "project_k"), ask_unit(&a, "project_v");
    dense_open(&dense, &a, "B=2,H=2,G=2,T=20,S=33,D=4,E=4");
    ask_run(&a), ask_run(&dense);
    ask_near(*ask_at(&a, "out"), *ask_at(&dense, "out"), 1e-13);
    ask_close(&a), ask_close(&dense);
}

/* ---- nystrom ----------------------------------------------------------------------------- */

/* Tokens along a curve: near ones are alike, as in the data that landmarks are for. */
static void nystrom_smooth(ask *a, const char *slot, double pace)
{
    const attn_tensor *t = ask_at(a, slot);
    int64_t i[ATTN_MAX_RANK] = {0};
    do
        test_put(
            t, i,
            sin(pace * (double)i[2] / (double)t->shape[2] * 6 + (double)(i[3] + 2 * i[1])));
    while (test_index_next(t, i));
}

static double nystrom_error(const char *text, double *residual)
{
    ask a, dense;
    double error = 0, norm = 0;
    ask_open(&a, "nystrom", text);
    nystrom_smooth(&a, "q", 1), nystrom_smooth(&a, "k", 2);
    dense_open(&dense, &a, "B=1,H=2,G=2,T=48,S=48,D=4,E=4");
    ask_run(&a), ask_run(&dense);
    for (int64_t i = 0; i < attn_tensor_count(*ask_at(&a, "out")); i++) {
        const double x = ask_data(&a, "out")[i], y = ask_data(&dense, "out")[i];
        error += (x - y) * (x - y), norm += y * y;
    }
    *residual = fmax(ask_data(&a, "residual")[0], ask_data(&a, "residual")[1]);
    ask_close(&a), ask_close(&dense);
    return sqrt(error / norm);
}

static void test_more_landmarks(void **state)
{
    double residual;
    (void)state;
    const double few =
        nystrom_error("B=1,H=2,T=48,D=4,E=4;landmarks=2,iterations=20;mask,w_conv", &residual);
    const double more =
        nystrom_error("B=1,H=2,T=48,D=4,E=4;landmarks=6,iterations=20;mask,w_conv", &residual);
    const double many =
        nystrom_error("B=1,H=2,T=48,D=4,E=4;landmarks=12,iterations=20;mask,w_conv", &residual);
    assert_true(many < more && more < few);
}

/* Every token a landmark, and weights that can be inverted: large scores on the diagonal. */
static void test_all_landmarks(void **state)
{
    ask a, dense;
    (void)state;
    ask_open(&a, "nystrom", "B=2,H=2,T=6,D=8,E=4;landmarks=9,iterations=30;mask,w_conv");
    for (int64_t x = 0; x < attn_tensor_count(*ask_at(&a, "q")); x++)
        ask_data(&a, "q")[x] = ask_data(&a, "k")[x] =
            ask_data(&a, "k")[x] * 0.3 + (x / 8 % 6 == x % 8 ? 3 : 0);
    dense_open(&dense, &a, "B=2,H=2,G=2,T=6,S=6,D=8,E=4");
    ask_run(&a), ask_run(&dense);
    ask_near(*ask_at(&a, "out"), *ask_at(&dense, "out"), 1e-10);
    for (int i = 0; i < 4; i++) assert_true(ask_data(&a, "residual")[i] < 1e-12);
    ask_close(&a), ask_close(&dense);
}

/* A residual that falls with the iterations. */
static void test_iterations(void **state)
{
    static const char *const counts[] = {"1", "4", "8", "20"};
    double last = HUGE_VAL;
    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        double residual;
        char text[128];
        snprintf(text, sizeof text,
                 "B=1,H=2,T=48,D=4,E=4;landmarks=3,iterations=%s;mask,w_conv", counts[i]);
        (void)nystrom_error(text, &residual);
        assert_true(residual < last);
        last = residual;
    }
    assert_true(last < 1e-9);
}

/* ---- latent, pooled ---------------------------------------------------------------------- */

/* One latent: everybody who asks gets the same answer. */
static void test_one_latent(void **state)
{
    ask a;
    (void)state;
    ask_open(&a, "latent", "B=2,T=5,S=9,L=1,O=3;;mask");
    ask_run(&a);
    const attn_tensor out = *ask_at(&a, "out");
    for (int64_t i = 1; i < 5; i++)
        ask_near(attn_tensor_slice(out, 1, i, i + 1), attn_tensor_slice(out, 1, 0, 1), 1e-13);
    ask_close(&a);
}

/* The order of the latents is nobody's business. */
static void test_latents_reordered(void **state)
{
    ask a, b;
    (void)state;
    ask_open(&a, "latent", "B=2,L=3,N=2;;mask"), ask_open(&b, "latent", "B=2,L=3,N=2;;mask");
    ask_share_all(&b, &a);
    *ask_at(&b, "latents") = test_tensor_dense(&b.draw.arena, *ask_at(&a, "latents"), 0);
    for (int64_t x = 0; x < 6; x++)
        ask_data(&b, "latents")[(2 - x / 2) * 2 + x % 2] = ask_data(&a, "latents")[x];
    ask_run(&a), ask_run(&b);
    ask_near(*ask_at(&b, "out"), *ask_at(&a, "out"), 1e-13);
    ask_close(&a), ask_close(&b);
}

static void pooled_is_dense(const char *params, const char *causal)
{
    ask a, dense;
    char text[128];
    snprintf(text, sizeof text, "B=2,H=2,T=41,D=4,E=4;%s;mask,w_k,w_v", params);
    ask_open(&a, "pooled", text);
    dense_open(&dense, &a, "B=2,H=2,G=2,T=41,S=41,D=4,E=4");
    dense_param(&dense, "causal", causal);
    ask_run(&a), ask_run(&dense);
    ask_near(*ask_at(&a, "out"), *ask_at(&dense, "out"), 1e-13);
    ask_close(&a), ask_close(&dense);
}

/* Blocks of one token, or a present that is everything. */
static void test_blocks_of_one(void **state)
{
    (void)state;
    pooled_is_dense("stride=1", "false");
    pooled_is_dense("stride=1,causal=true,local=true", "true");
    pooled_is_dense("stride=64,local=true", "false");
    pooled_is_dense("stride=64,causal=true,local=true", "true");
}

/* Weights that are all 1 over the block's size, on the diagonal: the mean. */
static void test_pooling_weights(void **state)
{
    static const char *const names[] = {"w_k", "w_v"};
    ask a, mean;
    (void)state;
    ask_open(&a, "pooled", "B=2,T=12,L=4;stride=4;mask");
    ask_open(&mean, "pooled", "B=2,T=12;stride=4;mask,w_k,w_v");
    for (int i = 0; i < 2; i++)
        for (int64_t x = 0; x < 64; x++) ask_data(&a, names[i])[x] = x / 16 == x % 4 ? 0.25 : 0;
    ask_share(&mean, "q", *ask_at(&a, "q")), ask_share(&mean, "k", *ask_at(&a, "k"));
    ask_share(&mean, "v", *ask_at(&a, "v"));
    ask_run(&a), ask_run(&mean);
    ask_near(*ask_at(&a, "out"), *ask_at(&mean, "out"), 1e-13);
    ask_close(&a), ask_close(&mean);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identity_projections), cmocka_unit_test(test_more_landmarks),
        cmocka_unit_test(test_all_landmarks),        cmocka_unit_test(test_iterations),
        cmocka_unit_test(test_one_latent),           cmocka_unit_test(test_latents_reordered),
        cmocka_unit_test(test_blocks_of_one),        cmocka_unit_test(test_pooling_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
