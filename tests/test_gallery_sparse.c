/* SPDX-License-Identifier: MIT
 * Identities of the sparse family: a pattern is the dense engine under its own flags, forward
 * and backward; one bucket, one cluster and all blocks are softmax; layers of a pattern reach
 * what they are said to reach; and how work is cut into segments shows in no bit. */
#include "gallery_ask.h"

#include <string.h>

static void sparse_param(ask *a, const char *name, const char *text)
{
    assert_int_equal(attn_mech_set(a->row.mech, a->draw.call.params, name, text, NULL),
                     ATTN_OK);
}

/* The dense engine on q, k, v of another mechanism. */
static void sparse_dense(ask *dense, ask *of, const char *sizes)
{
    ask_open(dense, "softmax", sizes);
    ask_bare(dense);
    *ask_at(dense, "q") = *ask_at(of, "q");
    *ask_at(dense, "k") = *ask_at(of, "k");
    *ask_at(dense, "v") = *ask_at(of, "v");
    *ask_at(dense, "out") =
        test_tensor(&dense->draw.arena, ATTN_DTYPE_F64, 4, ask_at(of, "q")->shape);
}

/* Gradients of q, k, v (d[0 .. 3)) for the gradient d_out of out. */
static void sparse_gradients(ask *a, attn_tensor d_out, attn_tensor *d)
{
    static const char *const names[] = {"q", "k", "v"};
    attn_tensor d_slots[ATTN_MAX_SLOTS] = {{0}};
    d_slots[attn_mech_slot(a->row.mech, "out")] = d_out;
    for (int i = 0; i < 3; i++) {
        const attn_tensor *x = ask_at(a, names[i]);
        d[i] = test_tensor(&a->draw.arena, x->dtype, x->rank, x->shape);
        d_slots[attn_mech_slot(a->row.mech, names[i])] = d[i];
    }
    assert_int_equal(
        attn_mech_run_grad(NULL, a->row.mech, a->slots, d_slots, a->draw.call.params, NULL),
        ATTN_OK);
}

static attn_tensor sparse_normal(ask *a, attn_tensor like)
{
    test_rng rng = test_rng_make(31);
    attn_tensor t = test_tensor(&a->draw.arena, like.dtype, like.rank, like.shape);
    test_fill_normal(&t, &rng, 1);
    return t;
}

/* ---- patterns ---------------------------------------------------------------------------- */

static const struct {
    const char *name, *params;
    int heads; /* of the pattern: 0 none, 1 one for each, 2 one for each sequence */
} sparse_patterns[] = {
    {"strided", "stride=9", 1},
    {"strided", "stride=9,heads=alternate", 1},
    {"fixed", "block=16,summary=3", 1},
    {"fixed", "block=70,summary=5,heads=alternate", 1},
    {"sliding_window", "window=20", 0},
    {"sliding_window", "window=5,dilation=7,causal=true", 0},
    {"neighbourhood_1d", "size=9", 0},
    {"neighbourhood_1d", "size=8,dilation=3", 0},
    {"bigbird", "block=8,random=2", 1},
    {"longformer", "window=4,dilation=2", 2},
};

enum { PATTERN_T = 150 };

/* The flags as a mask of B H T S. */
static attn_tensor sparse_mask(ask *a, int heads)
{
    attn_tensor m = *ask_at(a, "pattern");
    if (heads != 2) return m;
    m.rank = 4;
    memmove(m.shape + 2, m.shape + 1, 2 * sizeof m.shape[0]);
    memmove(m.stride + 2, m.stride + 1, 2 * sizeof m.stride[0]);
    m.shape[1] = 1, m.stride[1] = 0;
    return m;
}

static void pattern_of(size_t i)
{
    ask a, dense;
    char text[256];
    attn_tensor d_a[3], d_dense[3];
    const char *sizes = "B=2,H=3,G=3,T=150,S=150,D=8,E=8";
    snprintf(text, sizeof text, "B=2,H=3,T=%d,D=8,E=8;%s;mask%s", (int)PATTERN_T,
             sparse_patterns[i].params,
             sparse_patterns[i].heads == 2 ? ",q_global,k_global,v_global" : "");
    ask_open(&a, sparse_patterns[i].name, text);
    if (sparse_patterns[i].heads == 2)
        for (int64_t x = 0; x < 2 * PATTERN_T; x++)
            ((uint8_t *)ask_at(&a, "global")->data)[x] = x % 61 == 7;
    sparse_dense(&dense, &a, sizes);
    ask_run(&a);
    *ask_at(&dense, "mask") = sparse_mask(&a, sparse_patterns[i].heads);
    ask_run(&dense);
    ask_near(*ask_at(&a, "out"), *ask_at(&dense, "out"), 1e-12);
    const attn_tensor d_out = sparse_normal(&a, *ask_at(&a, "out"));
    sparse_gradients(&a, d_out, d_a);
    sparse_gradients(&dense, d_out, d_dense);
    for (int s = 0; s < 3; s++) ask_near(d_a[s], d_dense[s], 1e-12);
    ask_close(&a), ask_close(&dense);
}

static void test_patterns(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof sparse_patterns / sizeof sparse_patterns[0]; i++)
        pattern_of(i);
}

static void test_pattern_of_pictures(void **state)
{
    ask a, dense;
    (void)state;
    ask_open(&a, "neighbourhood_2d", "B=2,H=2,Y=11,X=17,D=4,E=4;size=5,dilation=2;mask");
    ask_run(&a);
    ask_open(&dense, "softmax", "B=2,H=2,G=2,T=187,S=187,D=4,E=4");
    ask_bare(&dense);
    static const char *const names[] = {"q", "k", "v"};
    for (int i = 0; i < 3; i++) {
        *ask_at(&dense, names[i]) = *ask_at(&a, names[i]);
        *ask_at(&dense, names[i]) = attn_tensor_make(ask_data(&a, names[i]), ATTN_DTYPE_F64, 4,
                                                     (const int64_t[]){2, 2, 187, 4});
    }
    *ask_at(&dense, "mask") = attn_tensor_make(ask_at(&a, "pattern")->data, ATTN_DTYPE_BOOL, 2,
                                               (const int64_t[]){187, 187});
    *ask_at(&dense, "out") =
        test_tensor(&dense.draw.arena, ATTN_DTYPE_F64, 4, (const int64_t[]){2, 2, 187, 4});
    ask_run(&dense);
    ask_near(*ask_at(&a, "out"), *ask_at(&dense, "out"), 1e-12);
    ask_close(&a), ask_close(&dense);
}

/* Which keys `layers` layers of a pattern reach, from flags of n x n for each of them. */
static bool reaches_all(const uint8_t *const *flags, int layers, int64_t n, bool causal)
{
    static uint8_t now[PATTERN_T], next[PATTERN_T];
    for (int64_t i = 0; i < n; i++) {
        memset(now, 0, sizeof now);
        now[i] = 1;
        for (int l = 0; l < layers; l++) {
            memset(next, 0, sizeof next);
            for (int64_t m = 0; m < n; m++)
                for (int64_t j = 0; j < n && now[m]; j++) next[j] |= flags[l][m * n + j];
            memcpy(now, next, sizeof now);
        }
        for (int64_t j = 0; j < n; j++)
            if (!now[j] && !(causal && j > i)) return false;
    }
    return true;
}

/* Two layers reach everything, one does not: near then far, own block or columns and then the
 * block of that column, anything then a global block. */
static void test_reach(void **state)
{
    static const struct {
        const char *name, *params;
        bool causal;
    } rows[] = {{"strided", "stride=12,heads=alternate", true},
                {"strided", "stride=12", true},
                {"fixed", "block=12,summary=1", true},
                {"bigbird", "block=8,random=0", false}};
    (void)state;
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        ask a;
        char text[128];
        snprintf(text, sizeof text, "B=1,H=2,T=%d,D=2,E=2;%s;mask", (int)PATTERN_T,
                 rows[r].params);
        ask_open(&a, rows[r].name, text);
        ask_run(&a);
        const uint8_t *head = ask_at(&a, "pattern")->data;
        const uint8_t *layers[] = {head, head + PATTERN_T * PATTERN_T};
        assert_true(reaches_all(layers, 2, PATTERN_T, rows[r].causal));
        assert_false(reaches_all(layers, 1, PATTERN_T, rows[r].causal));
        ask_close(&a);
    }
}

/* A window reaches as far as layers times window, and no further. */
static void test_reach_of_windows(void **state)
{
    ask a;
    (void)state;
    ask_open(&a, "sliding_window", "B=1,H=1,T=150,D=2,E=2;window=50;mask");
    ask_run(&a);
    const uint8_t *flags = ask_at(&a, "pattern")->data;
    const uint8_t *layers[] = {flags, flags, flags};
    assert_true(reaches_all(layers, 3, PATTERN_T, false));
    assert_false(reaches_all(layers, 2, PATTERN_T, false));
    ask_close(&a);
}

static void test_seeds(void **state)
{
    ask a, same, other;
    (void)state;
    const char *text = "B=1,H=2,T=96,D=2,E=2;block=4,random=3;mask";
    ask_open(&a, "bigbird", text), ask_open(&same, "bigbird", text);
    ask_open(&other, "bigbird", text);
    sparse_param(&other, "seed", "1");
    ask_run(&a), ask_run(&same), ask_run(&other);
    assert_true(test_same_bits(*ask_at(&a, "pattern"), *ask_at(&same, "pattern")));
    assert_false(test_same_bits(*ask_at(&a, "pattern"), *ask_at(&other, "pattern")));
    const attn_tensor heads = *ask_at(&a, "pattern");
    assert_false(
        test_same_bits(attn_tensor_slice(heads, 0, 0, 1), attn_tensor_slice(heads, 0, 1, 2)));
    ask_close(&a), ask_close(&same), ask_close(&other);
}

/* ---- what becomes softmax ---------------------------------------------------------------- */

static void test_all_blocks(void **state)
{
    ask a, dense;
    (void)state;
    ask_open(&a, "block_sparse", "B=2,H=2,T=70,S=90,D=4,E=4,M=5,N=7;;mask");
    test_fill_value(ask_at(&a, "blocks"), 1);
    sparse_dense(&dense, &a, "B=2,H=2,G=2,T=70,S=90,D=4,E=4");
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
    sparse_dense(&dense, &a, "B=1,H=2,G=2,T=77,S=77,D=4,E=4");
    sparse_param(&dense, "causal", "true");
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
    sparse_dense(&dense, &a, "B=2,H=2,G=2,T=60,S=60,D=4,E=4");
    ask_run(&a), ask_run(&dense);
    ask_near(*ask_at(&a, "out"), *ask_at(&dense, "out"), 1e-12);
    ask_close(&a), ask_close(&dense);
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
        sparse_dense(&dense, &a, "B=2,H=4,G=2,T=70,S=70,D=4,E=4");
        sparse_param(&dense, "causal", "true");
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
    sparse_dense(&dense, &a, "B=2,H=2,G=2,T=50,S=50,D=4,E=4");
    *ask_at(&dense, "q") = *ask_at(&a, "q_global");
    *ask_at(&dense, "k") = *ask_at(&a, "k_global");
    *ask_at(&dense, "v") = *ask_at(&a, "v_global");
    ask_run(&a), ask_run(&dense);
    assert_true(test_same_bits(*ask_at(&a, "out"), *ask_at(&dense, "out")));
    ask_close(&a), ask_close(&dense);
}

/* ---- segments ---------------------------------------------------------------------------- */

/* Long enough for several segments: each sequence alone has the same bits, backwards too. */
static void test_segments(void **state)
{
    ask both, one;
    attn_tensor d_both[3], d_one[3];
    (void)state;
    ask_open(&both, "bigbird", "B=2,H=2,T=6000,D=2,E=2;block=32,random=8;mask");
    ask_open(&one, "bigbird", "B=1,H=2,T=6000,D=2,E=2;block=32,random=8;mask");
    *ask_at(&both, "pattern") = *ask_at(&one, "pattern") = (attn_tensor){0};
    const attn_tensor d_out = sparse_normal(&both, *ask_at(&both, "out"));
    ask_run(&both);
    sparse_gradients(&both, d_out, d_both);
    for (int64_t b = 0; b < 2; b++) {
        static const char *const names[] = {"q", "k", "v"};
        for (int i = 0; i < 3; i++)
            *ask_at(&one, names[i]) = attn_tensor_slice(*ask_at(&both, names[i]), 0, b, b + 1);
        ask_run(&one);
        sparse_gradients(&one, attn_tensor_slice(d_out, 0, b, b + 1), d_one);
        assert_true(test_same_bits(*ask_at(&one, "out"),
                                   attn_tensor_slice(*ask_at(&both, "out"), 0, b, b + 1)));
        for (int i = 0; i < 3; i++)
            assert_true(test_same_bits(d_one[i], attn_tensor_slice(d_both[i], 0, b, b + 1)));
    }
    ask_close(&both), ask_close(&one);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patterns),      cmocka_unit_test(test_pattern_of_pictures),
        cmocka_unit_test(test_reach),         cmocka_unit_test(test_reach_of_windows),
        cmocka_unit_test(test_seeds),         cmocka_unit_test(test_all_blocks),
        cmocka_unit_test(test_causal_blocks), cmocka_unit_test(test_one_bucket),
        cmocka_unit_test(test_many_rounds),   cmocka_unit_test(test_bucket_order),
        cmocka_unit_test(test_one_cluster),   cmocka_unit_test(test_native_branches),
        cmocka_unit_test(test_no_globals),    cmocka_unit_test(test_all_global),
        cmocka_unit_test(test_segments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
