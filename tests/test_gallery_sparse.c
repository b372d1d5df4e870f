/* SPDX-License-Identifier: MIT
 * Identities of the sparse family: one bucket, one cluster, all blocks, all tokens global and
 * each branch that sees everything are softmax. */
#include "gallery_dense.h"

static void test_all_blocks(void **state)
{
    ask a, dense;
    (void)state;
    ask_open(&a, "block_sparse", "B=2,H=2,T=70,S=90,D=4,E=4,M=5,N=7;;mask");
    test_fill_value(ask_at(&a, "blocks"), 1);
    dense_open(&dense, &a, "B=2,H=2,G=2,T=70,S=90,D=4,E=4");
    ask_run(&a), ask_run(&dense);
    assert_true(test_same_bits(*ask_at(&a, "out"), *ask_at(&dense, "out")));
    ask_close(&a), ask_close(&dense);
}

static void test_causal_blocks(void **state)
{
    ask a, dense;
    (void)state;
    ask_open(&a, "block_sparse", "B=1,H=2,T=77,S=77,D=4,E=4,M=5,N=11;causal=true;mask");
    test_fill_value(ask_at(&a, "blocks"), 1);
    dense_open(&dense, &a, "B=1,H=2,G=2,T=77,S=77,D=4,E=4");
    dense_param(&dense, "causal", "true");
    ask_run(&a), ask_run(&dense);
    assert_true(test_same_bits(*ask_at(&a, "out"), *ask_at(&dense, "out")));
    ask_close(&a), ask_close(&dense);
}

/* Shared queries and keys, every token hidden from itself. */
static void bucket_dense(ask *dense, ask *of, int64_t T)
{
    ask_open(dense, "softmax", "B=2,H=2,G=2,T=150,S=150,D=4,E=4");
    ask_bare(dense);
    *ask_at(dense, "q") = *ask_at(dense, "k") = *ask_at(of, "qk");
    *ask_at(dense, "v") = *ask_at(of, "v");
    *ask_at(dense, "k") = test_tensor_dense(&dense->draw.arena, *ask_at(of, "qk"), 0);
    double *k = ask_data(dense, "k");
    for (int64_t i = 0; i < 4 * T; i++) {
        double length = 0;
        for (int d = 0; d < 4; d++) length += k[4 * i + d] * k[4 * i + d];
        for (int d = 0; d < 4; d++) k[4 * i + d] /= sqrt(length);
    }
    *ask_at(dense, "mask") =
        test_tensor(&dense->draw.arena, ATTN_DTYPE_BOOL, 2, (const int64_t[]){T, T});
    for (int64_t x = 0; x < T * T; x++)
        ((uint8_t *)ask_at(dense, "mask")->data)[x] = x / T != x % T;
    *ask_at(dense, "out") =
        test_tensor(&dense->draw.arena, ATTN_DTYPE_F64, 4, (const int64_t[]){2, 2, T, 4});
}

static void test_one_bucket(void **state)
{
    ask a, dense;
    (void)state;
    ask_open(&a, "lsh", "B=2,H=2,T=150,D=4,E=4,R=1,N=0;chunk=0;mask");
    bucket_dense(&dense, &a, 150);
    ask_run(&a), ask_run(&dense);
    ask_near(*ask_at(&a, "out"), *ask_at(&dense, "out"), 1e-12);
    ask_close(&a), ask_close(&dense);
}

static double bucket_error(const char *text)
{
    ask a, dense;
    double error = 0, norm = 0;
    ask_open(&a, "lsh", text);
    bucket_dense(&dense, &a, 150);
    ask_run(&a), ask_run(&dense);
    for (int64_t i = 0; i < attn_tensor_count(*ask_at(&a, "out")); i++) {
        const double x = ask_data(&a, "out")[i], y = ask_data(&dense, "out")[i];
        error += (x - y) * (x - y), norm += y * y;
    }
    ask_close(&a), ask_close(&dense);
    return sqrt(error / norm);
}

/* More rounds show more pairs, and each counts once. */
static void test_many_rounds(void **state)
{
    (void)state;
    const double few = bucket_error("B=2,H=2,T=150,D=4,E=4,R=1,N=1;chunk=150;mask");
    const double some = bucket_error("B=2,H=2,T=150,D=4,E=4,R=4,N=1;chunk=150;mask");
    const double many = bucket_error("B=2,H=2,T=150,D=4,E=4,R=32,N=1;chunk=150;mask");
    assert_true(many < some && some < few && many < 0.02);
}

/* With one chunk nothing depends on positions, but for what is drawn. */
static void test_bucket_order(void **state)
{
    static const char *const names[] = {"qk", "v"};
    ask a, back;
    (void)state;
    const char *text = "B=1,H=1,T=40,D=4,E=4,R=3,N=2;chunk=40;mask";
    ask_open(&a, "lsh", text), ask_open(&back, "lsh", text);
    *ask_at(&back, "rotations") = *ask_at(&a, "rotations");
    for (int i = 0; i < 2; i++)
        for (int64_t x = 0; x < 160; x++)
            ask_data(&back, names[i])[(39 - x / 4) * 4 + x % 4] = ask_data(&a, names[i])[x];
    ask_run(&a), ask_run(&back);
    for (int64_t x = 0; x < 160; x++)
        assert_true(fabs(ask_data(&back, "out")[(39 - x / 4) * 4 + x % 4] -
                         ask_data(&a, "out")[x]) < 1e-12);
    ask_close(&a), ask_close(&back);
}

static void test_one_cluster(void **state)
{
    ask a, dense;
    (void)state;
    ask_open(&a, "routing", "B=2,H=2,T=60,D=4,E=4,C=1;;mask,k_memory,v_memory");
    dense_open(&dense, &a, "B=2,H=2,G=2,T=60,S=60,D=4,E=4");
    ask_run(&a), ask_run(&dense);
    ask_near(*ask_at(&a, "out"), *ask_at(&dense, "out"), 1e-12);
    ask_close(&a), ask_close(&dense);
}

/* Tokens that are all alike: every cluster takes the first ones, nobody the others. */
static void test_ties(void **state)
{
    ask a;
    (void)state;
    ask_open(&a, "routing", "B=1,H=1,T=9,D=2,E=2,C=3;window=4;mask,k_memory,v_memory");
    test_fill_value(ask_at(&a, "q"), 1), test_fill_value(ask_at(&a, "k"), 1);
    test_fill_value(ask_at(&a, "v"), 1);
    ask_run(&a);
    for (int64_t x = 0; x < 18; x++)
        assert_true(fabs(ask_data(&a, "out")[x] - (x / 2 < 4)) < 1e-15);
    ask_close(&a);
}

/* Each branch alone, wide enough: causal softmax. */
static void test_native_branches(void **state)
{
    static const char *const rows[] = {"block=1,stride=1,select=4,top=1,window=1",
                                       "block=8,stride=4,select=4,top=99,window=1",
                                       "block=8,stride=4,select=4,top=1,window=99"};
    (void)state;
    for (int branch = 0; branch < 3; branch++) {
        ask a, dense;
        char text[256];
        snprintf(text, sizeof text,
                 "B=2,H=4,G=2,T=70,D=4,E=4;%s;pos_k,w1_k,w2_k,pos_v,w1_v,w2_v", rows[branch]);
        ask_open(&a, "native_sparse", text);
        for (int64_t x = 0; x < attn_tensor_count(*ask_at(&a, "gates")); x++)
            ask_data(&a, "gates")[x] = x % 3 == branch ? 1e3 : -1e3;
        dense_open(&dense, &a, "B=2,H=4,G=2,T=70,S=70,D=4,E=4");
        dense_param(&dense, "causal", "true");
        ask_run(&a), ask_run(&dense);
        ask_near(*ask_at(&a, "out"), *ask_at(&dense, "out"), 1e-12);
        ask_close(&a), ask_close(&dense);
    }
}

static void test_no_globals(void **state)
{
    ask a, window;
    (void)state;
    ask_open(&a, "longformer", "B=2,T=50;window=6;global,q_global,k_global,v_global");
    ask_open(&window, "sliding_window", "B=2,T=50;window=6");
    ask_share_all(&window, &a);
    ask_run(&a), ask_run(&window);
    ask_near(*ask_at(&a, "out"), *ask_at(&window, "out"), 1e-13);
    ask_close(&a), ask_close(&window);
}

static void test_all_global(void **state)
{
    ask a, dense;
    (void)state;
    ask_open(&a, "longformer", "B=2,H=2,T=50,D=4,E=4;;mask");
    test_fill_value(ask_at(&a, "global"), 1);
    dense_open(&dense, &a, "B=2,H=2,G=2,T=50,S=50,D=4,E=4");
    *ask_at(&dense, "q") = *ask_at(&a, "q_global");
    *ask_at(&dense, "k") = *ask_at(&a, "k_global");
    *ask_at(&dense, "v") = *ask_at(&a, "v_global");
    ask_run(&a), ask_run(&dense);
    assert_true(test_same_bits(*ask_at(&a, "out"), *ask_at(&dense, "out")));
    ask_close(&a), ask_close(&dense);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_blocks),   cmocka_unit_test(test_causal_blocks),
        cmocka_unit_test(test_one_bucket),   cmocka_unit_test(test_many_rounds),
        cmocka_unit_test(test_bucket_order), cmocka_unit_test(test_one_cluster),
        cmocka_unit_test(test_ties),         cmocka_unit_test(test_native_branches),
        cmocka_unit_test(test_no_globals),   cmocka_unit_test(test_all_global),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
