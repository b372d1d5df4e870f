/* SPDX-License-Identifier: MIT
 * Identities of the query family: what one mechanism is another's special case of. */
#include "gallery_ask.h"

#include <string.h>

static void test_cross_of_itself(void **state)
{
    ask self, cross;
    (void)state;
    ask_open(&self, "self", "B=2,T=5;;mask"),
        ask_open(&cross, "cross", "B=2,T=5,S=5,N=4;;mask");
    ask_share_all(&cross, &self);
    ask_share(&cross, "y", *ask_at(&self, "x"));
    ask_run(&self), ask_run(&cross);
    assert_true(test_same_bits(*ask_at(&self, "out"), *ask_at(&cross, "out")));
    ask_close(&self), ask_close(&cross);
}

/* Causal, the first row sees itself alone. */
static void test_first_row(void **state)
{
    ask all, one;
    (void)state;
    ask_open(&all, "masked", "B=1,T=6;causal=true;mask"),
        ask_open(&one, "self", "B=1,T=1;;mask");
    ask_share_all(&one, &all);
    *ask_at(&one, "x") = attn_tensor_slice(*ask_at(&all, "x"), 1, 0, 1);
    ask_run(&all), ask_run(&one);
    const attn_tensor first = attn_tensor_slice(*ask_at(&all, "out"), 1, 0, 1);
    ask_near(first, *ask_at(&one, "out"), 1e-12);
    ask_close(&all), ask_close(&one);
}

static void test_one_head(void **state)
{
    ask heads, engine;
    (void)state;
    ask_open(&heads, "multi_head", "B=2,T=5,S=7,A=4,P=3,O=3,H=1;heads=1;mask,gate");
    ask_open(&engine, "softmax", "B=2,H=1,G=1,T=5,S=7,D=4,E=3");
    ask_bare(&engine);
    ask_unit(&heads, "w_o");
    ask_share_all(&engine, &heads);
    ask_run(&heads);
    attn_tensor *out = ask_at(&engine, "out");
    *out = test_tensor(&engine.draw.arena, ATTN_DTYPE_F64, 3, (const int64_t[]){2, 5, 3});
    ask_run(&engine);
    ask_near(*ask_at(&heads, "out"), *out, 1e-12);
    ask_close(&heads), ask_close(&engine);
}

/* The last dimension backwards. */
static attn_tensor query_reversed(attn_tensor t)
{
    const int d = t.rank - 1;
    t.data = (double *)t.data + (t.shape[d] - 1) * t.stride[d];
    t.stride[d] = -t.stride[d];
    return t;
}

/* Heads of one feature each in the other order, with the columns of w_o. */
static void test_heads_reordered(void **state)
{
    static const char *const slots[] = {"q", "k", "v", "w_o"};
    ask a, b;
    (void)state;
    ask_open(&a, "multi_head", "B=2,T=4,S=6,A=3,P=3,H=3;heads=3;mask,gate");
    ask_open(&b, "multi_head", "B=2,T=4,S=6,A=3,P=3,H=3;heads=3;mask,gate");
    for (size_t i = 0; i < sizeof slots / sizeof slots[0]; i++)
        *ask_at(&b, slots[i]) = query_reversed(*ask_at(&a, slots[i]));
    ask_run(&a), ask_run(&b);
    ask_near(*ask_at(&a, "out"), *ask_at(&b, "out"), 1e-12);
    ask_close(&a), ask_close(&b);
}

/* One of two heads dropped: the other counts twice. */
static void test_head_drop(void **state)
{
    ask dropped, gated;
    (void)state;
    ask_open(&dropped, "multi_head", "B=1;rescale=true"), ask_open(&gated, "multi_head", "B=1");
    ask_share_all(&gated, &dropped);
    double keep[] = {0, 1}, twice[] = {0, 2};
    ask_share(&dropped, "gate", ATTN_TENSOR(keep, F64, 1, 2));
    ask_share(&gated, "gate", ATTN_TENSOR(twice, F64, 1, 2));
    ask_run(&dropped), ask_run(&gated);
    assert_true(test_same_bits(*ask_at(&dropped, "out"), *ask_at(&gated, "out")));
    test_fill_value(ask_at(&dropped, "gate"), 0);
    ask_run(&dropped);
    for (int64_t i = 0; i < attn_tensor_count(*ask_at(&dropped, "out")); i++)
        assert_true(ask_data(&dropped, "out")[i] == 0);
    ask_close(&dropped), ask_close(&gated);
}

static void test_groups_of_one(void **state)
{
    ask gqa, self;
    (void)state;
    ask_open(&gqa, "gqa", "B=2,K=8,P=12,Z=12;kv_heads=4;mask");
    ask_open(&self, "self", "B=2,H=4,A=8,P=12;heads=4,causal=true;mask");
    ask_share_all(&self, &gqa);
    ask_run(&gqa), ask_run(&self);
    assert_true(test_same_bits(*ask_at(&gqa, "out"), *ask_at(&self, "out")));
    ask_close(&gqa), ask_close(&self);
}

/* Rows of heads of w, each head twice. */
static void query_repeat(ask *to, ask *from, const char *slot, int64_t groups)
{
    const attn_tensor *w = ask_at(from, slot);
    const int64_t n = attn_tensor_count(*w) / groups;
    for (int64_t g = 0; g < 2 * groups; g++)
        memcpy(ask_data(to, slot) + g * n, (double *)w->data + g / 2 * n,
               (size_t)n * sizeof(double));
}

static void test_groups_repeated(void **state)
{
    ask two, four;
    (void)state;
    ask_open(&two, "gqa", "B=2,K=4,P=6,Z=12;;mask");
    ask_open(&four, "gqa", "B=2,K=8,P=12,Z=12;kv_heads=4;mask");
    query_repeat(&four, &two, "w_k", 2), query_repeat(&four, &two, "w_v", 2);
    ask_share(&four, "x", *ask_at(&two, "x"));
    ask_share(&four, "w_q", *ask_at(&two, "w_q"));
    ask_share(&four, "w_o", *ask_at(&two, "w_o"));
    ask_run(&two), ask_run(&four);
    assert_true(test_same_bits(*ask_at(&two, "out"), *ask_at(&four, "out")));
    ask_close(&two), ask_close(&four);
}

static void test_absorbed(void **state)
{
    ask plain, absorbed;
    (void)state;
    ask_open(&plain, "mla", "B=2,T=9"), ask_open(&absorbed, "mla", "B=2,T=9;absorbed=true");
    ask_share_all(&absorbed, &plain);
    ask_run(&plain), ask_run(&absorbed);
    ask_near(*ask_at(&plain, "out"), *ask_at(&absorbed, "out"), 1e-11);
    ask_near(*ask_at(&plain, "weights"), *ask_at(&absorbed, "weights"), 1e-11);
    ask_close(&plain), ask_close(&absorbed);
}

/* Heads that do not talk are those of the engine. */
static void test_silent_heads(void **state)
{
    ask talking, alibi;
    (void)state;
    ask_open(&talking, "talking_heads", "B=2,H=3,K=3,V=3,E=2;causal=true,offset=2;mask");
    ask_open(&alibi, "alibi", "B=2,H=3,G=3,T=5,E=2;causal=true,offset=2;mask");
    ask_unit(&talking, "w_logits"), ask_unit(&talking, "w_weights");
    ask_share_all(&alibi, &talking);
    test_fill_value(ask_at(&alibi, "slopes"), 0);
    ask_run(&talking), ask_run(&alibi);
    ask_near(*ask_at(&talking, "out"), *ask_at(&alibi, "out"), 1e-12);
    ask_near(*ask_at(&talking, "weights"), *ask_at(&alibi, "weights"), 1e-12);
    ask_close(&talking), ask_close(&alibi);
}

/* Both softmaxes alike, and lambda = lambda_init: a part of ordinary attention. */
static void test_same_difference(void **state)
{
    ask two, self;
    (void)state;
    ask_open(&two, "differential", "B=2,A=12,L=3;norm=false,lambda_init=0.25;mask");
    ask_open(&self, "self", "B=2,A=6;causal=true;mask");
    static const char *const lambdas[] = {"lambda_q1", "lambda_k2"};
    for (int i = 0; i < 2; i++) test_fill_value(ask_at(&two, lambdas[i]), 0);
    ask_share_all(&self, &two);
    *ask_at(&self, "w_q") = test_tensor(&self.draw.arena, ATTN_DTYPE_F64, 2, (int64_t[]){6, 4});
    *ask_at(&self, "w_k") = test_tensor(&self.draw.arena, ATTN_DTYPE_F64, 2, (int64_t[]){6, 4});
    test_rng rng = test_rng_make(4);
    test_fill_normal(ask_at(&self, "w_q"), &rng, 1);
    test_fill_normal(ask_at(&self, "w_k"), &rng, 1);
    query_repeat(&two, &self, "w_q", 2), query_repeat(&two, &self, "w_k", 2);
    ask_run(&two), ask_run(&self);
    double *out = ask_data(&self, "out");
    for (int64_t i = 0; i < attn_tensor_count(*ask_at(&self, "out")); i++) out[i] *= 0.75;
    ask_near(*ask_at(&two, "out"), *ask_at(&self, "out"), 1e-12);
    ask_close(&two), ask_close(&self);
}

/* One question: the penalty is (sum of squares - 1)^2. Questions that read one word each, all
 * different: 0. */
static void test_penalty(void **state)
{
    ask one, sharp;
    double sum = 0, x[] = {1, 0, 0, 1}, w_2[] = {1e4, 0, 0, 1e4};
    (void)state;
    ask_open(&one, "self_attentive_pooling", "B=1,R=1;;mask");
    ask_run(&one);
    for (int64_t i = 0; i < 6; i++) sum += pow(ask_data(&one, "weights")[i], 2);
    assert_true(fabs(ask_data(&one, "penalty")[0] - (sum - 1) * (sum - 1)) < 1e-12);
    ask_open(&sharp, "structured_self", "B=1,S=2,U=2,N=2,R=2;;mask");
    ask_share(&sharp, "x", ATTN_TENSOR(x, F64, 1, 2, 2));
    ask_share(&sharp, "w_1", ATTN_TENSOR(x, F64, 2, 2));
    ask_share(&sharp, "w_2", ATTN_TENSOR(w_2, F64, 2, 2));
    ask_run(&sharp);
    assert_true(ask_data(&sharp, "penalty")[0] == 0);
    ask_close(&one), ask_close(&sharp);
}

/* One hop over one-word sentences is attention of u to the rows of two tables; and what is read
 * is linear in the second. */
static void test_one_hop(void **state)
{
    ask memory, engine;
    const char *text =
        "B=1,S=5,J=1,K=1,V=5,N=2,H=1,D=6;hops=1,position_encoding=false;time,w_h,mask";
    int64_t story[] = {0, 1, 2, 3, 4}, question[] = {2};
    (void)state;
    ask_open(&memory, "memory_hops", text);
    ask_open(&engine, "multi_head", "B=1,T=1,S=5,A=6,P=6,O=6,H=1;heads=1;mask,gate");
    ask_share(&memory, "story", ATTN_TENSOR(story, I64, 1, 5, 1));
    ask_share(&memory, "question", ATTN_TENSOR(question, I64, 1, 1));
    double *tables = ask_data(&memory, "tables"), q[6];
    for (int d = 0; d < 6; d++) q[d] = tables[12 + d] * sqrt(6);
    ask_share(&engine, "q", ATTN_TENSOR(q, F64, 1, 1, 6));
    ask_share(&engine, "k", ATTN_TENSOR(tables, F64, 1, 5, 6));
    ask_share(&engine, "v", ATTN_TENSOR(tables + 30, F64, 1, 5, 6));
    ask_unit(&engine, "w_o");
    ask_run(&engine);
    for (int scale = 1; scale <= 2; scale++) {
        double want[6];
        for (int d = 0; d < 6; d++)
            want[d] = tables[12 + d] + scale * ask_data(&engine, "out")[d];
        ask_run(&memory);
        ask_near(*ask_at(&memory, "out"), ATTN_TENSOR(want, F64, 1, 6), 1e-12);
        for (int i = 0; i < 30; i++) tables[30 + i] *= 2;
    }
    ask_close(&memory), ask_close(&engine);
}

/* A capsule is what it is without the others. */
static void test_capsule_alone(void **state)
{
    ask all, one;
    (void)state;
    ask_open(&all, "capsule", "B=2,C=3;;target,loss,mask");
    ask_open(&one, "capsule", "B=2,C=1;;target,loss,mask");
    ask_share(&one, "x", *ask_at(&all, "x"));
    *ask_at(&one, "w") = attn_tensor_slice(*ask_at(&all, "w"), 0, 1, 2);
    *ask_at(&one, "w_p") = attn_tensor_slice(*ask_at(&all, "w_p"), 0, 1, 2);
    *ask_at(&one, "b_p") = attn_tensor_slice(*ask_at(&all, "b_p"), 0, 1, 2);
    ask_run(&all), ask_run(&one);
    const attn_tensor out = attn_tensor_slice(*ask_at(&all, "out"), 1, 1, 2);
    assert_true(test_same_bits(out, *ask_at(&one, "out")));
    ask_close(&all), ask_close(&one);
}

/* ---- what shape strings cannot say ------------------------------------------------------- */

static void test_refusals(void **state)
{
    static const struct {
        const char *name, *text, *missing;
        attn_status status;
        const char *where;
    } rows[] = {
        {"self", "B=1,A=3", NULL, ATTN_E_HEADS, "heads"},
        {"gqa", "B=1,H=4,K=6,P=6,Z=12;kv_heads=2", NULL, ATTN_E_SHAPE, "w_k"},
        {"gqa", "B=1,H=4,A=8,K=6,P=9,Z=12;kv_heads=3", NULL, ATTN_E_HEADS, "kv_heads"},
        {"gqa", "B=1,Z=11", NULL, ATTN_E_SHAPE, "w_o"},
        {"mla", "B=1,P=6", NULL, ATTN_E_SHAPE, "w_o"},
        {"self", "B=1,T=1,A=0,P=0;heads=100000", NULL, ATTN_E_HEADS, "heads"},
        {"mla", "B=1,A=9", NULL, ATTN_E_HEADS, "heads"},
        {"mla", "B=1,C=7", NULL, ATTN_E_SHAPE, "w_kva"},
        {"mla", "B=1,C=16;rope_dims=12", NULL, ATTN_E_PARAM, "rope_dims"},
        {"mla", "B=1,K=4", NULL, ATTN_E_SHAPE, "w_kvb"},
        {"differential", "B=1,A=16", NULL, ATTN_E_HEADS, "w_q"},
        {"memory_hops", "B=1,N=3", NULL, ATTN_E_SHAPE, "tables"},
        {"memory_hops", "B=1,H=33,N=34;hops=33", NULL, ATTN_E_PARAM, "hops"},
        {"capsule", "B=1", "target", ATTN_E_NULL, "target"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        ask a;
        attn_error error = {0};
        ask_open(&a, rows[i].name, rows[i].text);
        if (rows[i].missing) ask_share(&a, rows[i].missing, (attn_tensor){0});
        const attn_status status =
            attn_mech_run(NULL, a.row.mech, a.slots, a.draw.call.params, &error);
        if (status != rows[i].status ||
            (rows[i].where && strcmp(error.where, rows[i].where) != 0))
            fail_msg("%s '%s': %d, %s %s", rows[i].name, rows[i].text, (int)status, error.where,
                     error.what);
        ask_close(&a);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cross_of_itself), cmocka_unit_test(test_first_row),
        cmocka_unit_test(test_one_head),        cmocka_unit_test(test_heads_reordered),
        cmocka_unit_test(test_head_drop),       cmocka_unit_test(test_groups_of_one),
        cmocka_unit_test(test_groups_repeated), cmocka_unit_test(test_absorbed),
        cmocka_unit_test(test_silent_heads),    cmocka_unit_test(test_same_difference),
        cmocka_unit_test(test_penalty),         cmocka_unit_test(test_one_hop),
        cmocka_unit_test(test_capsule_alone),   cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
