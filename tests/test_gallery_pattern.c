/* SPDX-License-Identifier: MIT
 * Sparse patterns: each is the dense engine under its own flags, forward and backward; layers
 * of a pattern reach what they are said to reach; and how work is cut into segments shows in no
 * bit. */
#include "gallery_dense.h"

#include <string.h>

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
    {"strided", "stride=9,sets=alternate", 1},
    {"fixed", "block=16,summary=3", 1},
    {"fixed", "block=70,summary=5,sets=alternate", 1},
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
    dense_open(&dense, &a, sizes);
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
    } rows[] = {{"strided", "stride=12,sets=alternate", true},
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
    dense_param(&other, "seed", "1");
    ask_run(&a), ask_run(&same), ask_run(&other);
    assert_true(test_same_bits(*ask_at(&a, "pattern"), *ask_at(&same, "pattern")));
    assert_false(test_same_bits(*ask_at(&a, "pattern"), *ask_at(&other, "pattern")));
    const attn_tensor heads = *ask_at(&a, "pattern");
    assert_false(
        test_same_bits(attn_tensor_slice(heads, 0, 0, 1), attn_tensor_slice(heads, 0, 1, 2)));
    ask_close(&a), ask_close(&same), ask_close(&other);
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
        cmocka_unit_test(test_patterns), cmocka_unit_test(test_pattern_of_pictures),
        cmocka_unit_test(test_reach),    cmocka_unit_test(test_reach_of_windows),
        cmocka_unit_test(test_seeds),    cmocka_unit_test(test_segments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
