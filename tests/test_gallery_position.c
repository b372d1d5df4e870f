/* SPDX-License-Identifier: MIT
 * Identities of the position family: only distances count, buckets begin where they should,
 * slopes are those of the paper, and encodings that say nothing leave plain attention. */
#include "gallery_ask.h"

/* ---- only distances count ---------------------------------------------------------------- */

/* The first two keys hidden, and the same keys gone with all positions moved by two. */
static void position_moved(const char *name, const char *more)
{
    ask all, cut;
    char text[128];
    snprintf(text, sizeof text, "B=1,T=4,S=7;%soffset=3", more);
    ask_open(&all, name, text);
    snprintf(text, sizeof text, "B=1,T=4,S=5;%soffset=1", more);
    ask_open(&cut, name, text);
    ask_share_all(&cut, &all);
    test_fill_value(ask_at(&all, "mask"), 1);
    const attn_tensor hidden = attn_tensor_slice(*ask_at(&all, "mask"), 1, 0, 2);
    test_fill_value(&hidden, 0);
    *ask_at(&cut, "mask") = attn_tensor_slice(*ask_at(&all, "mask"), 1, 2, 7);
    *ask_at(&cut, "k") = attn_tensor_slice(*ask_at(&all, "k"), 2, 2, 7);
    *ask_at(&cut, "v") = attn_tensor_slice(*ask_at(&all, "v"), 2, 2, 7);
    ask_run(&all), ask_run(&cut);
    ask_near(*ask_at(&all, "out"), *ask_at(&cut, "out"), 1e-12);
    ask_close(&all), ask_close(&cut);
}

static void test_moved(void **state)
{
    (void)state;
    position_moved("shaw", "causal=true,"), position_moved("shaw", "");
    position_moved("t5", "max_distance=6,"), position_moved("alibi", "");
    position_moved("cope", ""), position_moved("cope", "causal=false,");
}

/* Rotations: without the slots of positions, which say where the rows are. */
static void test_rope_moved(void **state)
{
    ask near, far;
    (void)state;
    ask_open(&near, "rope", "B=1,T=4,S=6;layout=interleaved;mask");
    ask_open(&far, "rope", "B=1,T=4,S=6;layout=interleaved;mask");
    ask_share_all(&far, &near);
    int64_t *at[] = {ask_at(&far, "q_pos")->data, ask_at(&far, "k_pos")->data};
    int64_t q[4], k[6];
    for (int i = 0; i < 4; i++) q[i] = at[0][i] + 1000;
    for (int i = 0; i < 6; i++) k[i] = at[1][i] + 1000;
    ask_share(&far, "q_pos", ATTN_TENSOR(q, I64, 1, 4));
    ask_share(&far, "k_pos", ATTN_TENSOR(k, I64, 1, 6));
    ask_run(&near), ask_run(&far);
    ask_near(*ask_at(&near, "out"), *ask_at(&far, "out"), 1e-11);
    ask_close(&near), ask_close(&far);
}

/* Elements 0 2 4 .. before 1 3 5 ..: the layout half of what interleaved reads in place. */
static attn_tensor position_sorted(ask *a, attn_tensor t)
{
    attn_tensor y = test_tensor_dense(&a->draw.arena, t, ATTN_DTYPE_NONE);
    const int64_t D = t.shape[3];
    double *to = y.data;
    const double *from = t.data;
    for (int64_t i = 0; i < attn_tensor_count(t); i++) {
        const int64_t d = i % D;
        to[i - d + (d % 2 ? D / 2 : 0) + d / 2] = from[i];
    }
    return y;
}

static void test_rope_layouts(void **state)
{
    ask pairs, halves;
    (void)state;
    ask_open(&pairs, "rope", "B=2,D=6;layout=interleaved"),
        ask_open(&halves, "rope", "B=2,D=6");
    ask_share_all(&halves, &pairs);
    *ask_at(&halves, "q") = position_sorted(&halves, *ask_at(&pairs, "q"));
    *ask_at(&halves, "k") = position_sorted(&halves, *ask_at(&pairs, "k"));
    ask_run(&pairs), ask_run(&halves);
    ask_near(*ask_at(&pairs, "out"), *ask_at(&halves, "out"), 1e-12);
    ask_close(&pairs), ask_close(&halves);
}

/* ---- tables ------------------------------------------------------------------------------ */

/* table[b] = b / 8 and nothing else in the scores, so ratios of weights tell buckets. */
static void position_buckets(const char *text, int64_t offset, const int64_t (*want)[2])
{
    ask a;
    ask_open(&a, "t5", text);
    test_fill_value(ask_at(&a, "q"), 0);
    for (int b = 0; b < 32; b++) ask_data(&a, "table")[b] = b / 8.0;
    ask_run(&a);
    const double *w = ask_data(&a, "weights");
    for (; (*want)[1] >= 0; want++) {
        const double bucket = 8 * log(w[offset + (*want)[0]] / w[offset]);
        if (fabs(bucket - (double)(*want)[1]) > 1e-9)
            fail_msg("distance %d is in bucket %g, not %d", (int)(*want)[0], bucket,
                     (int)(*want)[1]);
    }
    ask_close(&a);
}

static void test_t5_buckets(void **state)
{
    static const int64_t both[][2] = {
        {-200, 15}, {-91, 15}, {-90, 14}, {-64, 14}, {-63, 13}, {-46, 13}, {-45, 12}, {-32, 12},
        {-31, 11},  {-23, 11}, {-22, 10}, {-16, 10}, {-15, 9},  {-12, 9},  {-11, 8},  {-8, 8},
        {-7, 7},    {-1, 1},   {0, 0},    {1, 17},   {8, 24},   {20, 26},  {128, 31}, {0, -1}};
    static const int64_t one[][2] = {{0, 0},     {-15, 15},  {-16, 16}, {-18, 16}, {-19, 17},
                                     {-20, 17},  {-21, 18},  {-24, 19}, {-27, 20}, {-31, 21},
                                     {-35, 22},  {-40, 23},  {-46, 24}, {-52, 25}, {-59, 26},
                                     {-67, 27},  {-77, 28},  {-87, 29}, {-99, 30}, {-112, 30},
                                     {-113, 31}, {-200, 31}, {0, -1}};
    (void)state;
    position_buckets("B=1,H=1,G=1,T=1,S=330,N=32;offset=200;mask", 200, both);
    position_buckets("B=1,H=1,G=1,T=1,S=201,N=32;offset=200,causal=true;mask", 200, one);
}

/* Weights of two keys at distance 0 and 1 differ by the slope alone. */
static void position_slopes(const char *text, int64_t heads, const double *want)
{
    ask a;
    ask_open(&a, "alibi", text);
    test_fill_value(ask_at(&a, "q"), 0);
    ask_run(&a);
    const double *w = ask_data(&a, "weights");
    for (int64_t h = 0; h < heads; h++)
        assert_true(fabs(log(w[2 * h] / w[2 * h + 1]) - want[h]) < 1e-12);
    ask_close(&a);
}

static void test_alibi_slopes(void **state)
{
    static const double eight[] = {0x1p-1, 0x1p-2, 0x1p-3, 0x1p-4,
                                   0x1p-5, 0x1p-6, 0x1p-7, 0x1p-8};
    static const double six[] = {.25, .0625, .015625, .00390625, .5, .125};
    (void)state;
    position_slopes("B=1,H=8,G=1,T=1,S=2;causal=false;slopes,mask", 8, eight);
    position_slopes("B=1,H=6,G=1,T=1,S=2;causal=false;slopes,mask", 6, six);
}

/* ---- encodings that say nothing ---------------------------------------------------------- */

static void position_silent(const char *name, const char *text, const char *table)
{
    ask a, plain;
    ask_open(&a, name, text);
    ask_open(&plain, "alibi", "B=2,T=5,S=6;causal=false,offset=1");
    ask_share_all(&plain, &a);
    test_fill_value(ask_at(&plain, "slopes"), 0);
    if (table) test_fill_value(ask_at(&a, table), 0);
    ask_run(&a), ask_run(&plain);
    ask_near(*ask_at(&a, "out"), *ask_at(&plain, "out"), 1e-12);
    ask_close(&a), ask_close(&plain);
}

static void test_silent(void **state)
{
    (void)state;
    position_silent("shaw", "B=2,T=5,S=6;causal=false,offset=1;rel_v", "rel_k");
    position_silent("t5", "B=2,T=5,S=6;causal=false,offset=1,scale=0", "table");
    position_silent("cope", "B=2,T=5,S=6;causal=false,offset=1", "table");
    /* One position for all adds the same to every score of a row. */
    position_silent("cope", "B=2,T=5,S=6,N=1;causal=false,offset=1", NULL);
}

/* Gates of 1 count every token: positions are i - j + 1, and those past the table are its last. */
static void test_cope_open(void **state)
{
    ask a;
    double w[5];
    (void)state;
    ask_open(&a, "cope", "B=1,H=1,L=1,T=5,S=5,D=1,E=5,N=4;;mask");
    test_fill_value(ask_at(&a, "q"), 20), test_fill_value(ask_at(&a, "k"), 20);
    for (int n = 0; n < 4; n++) ask_data(&a, "table")[n] = 0.01 * n * n;
    ask_run(&a);
    for (int i = 0; i < 5; i++) {
        double sum = 0;
        for (int j = 0; j <= i; j++) {
            const double p = fmin(i - j + 1, 3);
            assert_true(fabs(ask_data(&a, "positions")[5 * i + j] - p) < 1e-12);
            sum += w[j] = exp(20 * 0.01 * p * p);
        }
        for (int j = 0; j <= i; j++)
            assert_true(fabs(ask_data(&a, "weights")[5 * i + j] - w[j] / sum) < 1e-12);
    }
    ask_close(&a);
}

/* Waves are rows of a table, and self-attention of what they were added to. */
static void test_added(void **state)
{
    ask waves, table, self;
    (void)state;
    ask_open(&waves, "sinusoidal", "B=2,T=6;causal=true,offset=2;mask");
    ask_open(&table, "learned_absolute", "B=2,T=6,N=16;causal=true,offset=2;mask,positions");
    ask_open(&self, "self", "B=2,T=6;causal=true;mask");
    ask_share_all(&table, &waves), ask_share_all(&self, &waves);
    ask_run(&waves);
    const attn_tensor y = *ask_at(&waves, "encoded"), *x = ask_at(&waves, "x");
    attn_tensor *rows = ask_at(&table, "table");
    *rows = test_tensor(&table.draw.arena, ATTN_DTYPE_F64, 2, (const int64_t[]){16, 4});
    for (int i = 0; i < 24; i++)
        ((double *)rows->data)[8 + i] = ((double *)y.data)[i] - ((double *)x->data)[i];
    ask_share(&self, "x", y);
    ask_run(&table), ask_run(&self);
    ask_near(*ask_at(&table, "out"), *ask_at(&waves, "out"), 1e-12);
    assert_true(test_same_bits(*ask_at(&self, "out"), *ask_at(&waves, "out")));
    ask_close(&waves), ask_close(&table), ask_close(&self);
}

/* ---- Transformer-XL ---------------------------------------------------------------------- */

/* Two segments, the second with the first as its memory, are one long segment. */
static void test_xl_segments(void **state)
{
    ask whole, second;
    (void)state;
    ask_open(&whole, "transformer_xl", "B=2,T=9,N=0;;memory_mask,memory_weights,mask,weights");
    ask_open(&second, "transformer_xl", "B=2,T=5,N=4;;memory_mask,memory_weights,mask,weights");
    ask_share_all(&second, &whole);
    *ask_at(&second, "memory") = attn_tensor_slice(*ask_at(&whole, "x"), 1, 0, 4);
    *ask_at(&second, "x") = attn_tensor_slice(*ask_at(&whole, "x"), 1, 4, 9);
    ask_run(&whole), ask_run(&second);
    const attn_tensor rest = attn_tensor_slice(*ask_at(&whole, "out"), 1, 4, 9);
    ask_near(*ask_at(&second, "out"), rest, 1e-12);
    ask_close(&whole), ask_close(&second);
}

/* Without distances and biases it is self-attention, one way and both. */
static void position_xl_plain(const char *xl, const char *text)
{
    static const char *const zero[] = {"w_r", "u", "v_bias"};
    ask a, self;
    ask_open(&a, "transformer_xl", xl), ask_open(&self, "self", text);
    for (int i = 0; i < 3; i++) test_fill_value(ask_at(&a, zero[i]), 0);
    ask_share_all(&self, &a);
    ask_run(&a), ask_run(&self);
    ask_near(*ask_at(&a, "out"), *ask_at(&self, "out"), 1e-12);
    ask_near(*ask_at(&a, "weights"), *ask_at(&self, "weights"), 1e-12);
    ask_close(&a), ask_close(&self);
}

static void test_xl_plain(void **state)
{
    (void)state;
    position_xl_plain("B=2,T=6,N=0;;memory_mask,memory_weights", "B=2,T=6,P=6;causal=true");
    position_xl_plain("B=2,T=6,N=0;causal=false;memory_mask,memory_weights", "B=2,T=6,P=6");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moved),        cmocka_unit_test(test_rope_moved),
        cmocka_unit_test(test_rope_layouts), cmocka_unit_test(test_t5_buckets),
        cmocka_unit_test(test_alibi_slopes), cmocka_unit_test(test_silent),
        cmocka_unit_test(test_added),        cmocka_unit_test(test_xl_segments),
        cmocka_unit_test(test_xl_plain),     cmocka_unit_test(test_cope_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
