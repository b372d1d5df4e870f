/* SPDX-License-Identifier: MIT
 * Identities of co-attention, of levels and representations of features, and of Tri-Attention:
 * what must come out whatever the data are, and where two mechanisms must agree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gallery_one.h"

/* ---- coarse-grained ---------------------------------------------------------------------- */

/* Without an affinity, parallel co-attention pools each sequence as if it were alone, and so
 * does the last step of alternating co-attention without a guide. */
static void test_parallel_alone(void **state)
{
    (void)state;
    gallery_one p, a;
    one_open(&p, "parallel_coattention", "B=2,T=5,S=4,D=3,N=2,A=4", 1);
    one_open(&a, "alternating_coattention", "B=2,T=5,S=4,D=3,N=2,A=4", 2);
    one_fill(&p, "w_b", 0);
    one_fill(&a, "v_x", 0);
    one_copy(&a, "x", one_at(&p, "x"));
    one_copy(&a, "x_mask", one_at(&p, "x_mask"));
    one_copy(&a, "w_x", one_at(&p, "w_x"));
    one_copy(&a, "u_x", one_at(&p, "u_x"));
    one_run(&p);
    one_run(&a);
    one_near(one_at(&a, "out"), one_at(&p, "out"), one_count(&a, "out"), "pooled alone");
    one_close(&p);
    one_close(&a);
}

/* The affinity of the other way round is the transpose. */
static void test_parallel_swap(void **state)
{
    static const char *const pairs[][2] = {
        {"x", "y"}, {"w_x", "w_y"}, {"u_x", "u_y"}, {"x_mask", "mask"}};
    (void)state;
    gallery_one p, r;
    one_open(&p, "parallel_coattention", "B=2,T=5,S=4,D=3,N=2,A=4", 3);
    one_open(&r, "parallel_coattention", "B=2,T=4,S=5,D=2,N=3,A=4", 4);
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        for (int way = 0; way < 2; way++)
            one_copy(&r, pairs[i][way], one_at(&p, pairs[i][1 - way]));
    for (int d = 0; d < 3; d++)
        for (int n = 0; n < 2; n++) one_at(&r, "w_b")[n * 3 + d] = one_at(&p, "w_b")[d * 2 + n];
    one_run(&p);
    one_run(&r);
    one_near(one_at(&r, "out"), one_at(&p, "out_y"), one_count(&r, "out"), "roles exchanged");
    one_near(one_at(&r, "out_y"), one_at(&p, "out"), one_count(&p, "out"), "roles exchanged");
    one_close(&p);
    one_close(&r);
}

/* One side of interactive attention is one call of rotatory attention. */
static void test_interactive_rotatory(void **state)
{
    (void)state;
    gallery_one i, r;
    one_open(&i, "interactive", "B=2,T=5,S=3,D=4", 5);
    one_open(&r, "rotatory", "B=2,T=3,L=5,R=2,D=4", 6);
    one_copy(&r, "left", one_at(&i, "x"));
    one_copy(&r, "left_mask", one_at(&i, "x_mask"));
    one_copy(&r, "x", one_at(&i, "y"));
    one_copy(&r, "mask", one_at(&i, "mask"));
    one_copy(&r, "w_l", one_at(&i, "w_x"));
    one_copy(&r, "b_l", one_at(&i, "b_x"));
    one_run(&i);
    one_run(&r);
    for (int b = 0; b < 2; b++)
        one_near(one_at(&r, "out") + b * 16, one_at(&i, "out") + b * 8, 4, "left context");
    one_close(&i);
    one_close(&r);
}

/* tanh bounds scores, so weights are within e^2 of each other. */
static void test_interactive_bounded(void **state)
{
    (void)state;
    gallery_one a;
    double least = 1, most = 0;
    one_open(&a, "interactive", "T=50,S=3,D=4;;x_mask,mask,b_x,b_y", 7);
    for (int i = 0; i < 200; i++) one_at(&a, "x")[i] *= 100;
    one_run(&a);
    for (int i = 0; i < 50; i++) {
        least = fmin(least, one_at(&a, "x_weights")[i]);
        most = fmax(most, one_at(&a, "x_weights")[i]);
    }
    assert_true(least > 0 && most / least <= exp(2) * (1 + 1e-12) && most / least > 7);
    one_close(&a);
}

/* An empty context is 0, hidden or not there at all, and is looked back at evenly. */
static void test_rotatory_empty(void **state)
{
    static const char *const calls[] = {"B=1,T=2,L=0,R=3,D=3;;mask,b_l",
                                        "B=1,T=2,L=4,R=3,D=3;;mask,b_l"};
    (void)state;
    for (int n = 0; n < 2; n++) {
        gallery_one a;
        double mean[3];
        one_open(&a, "rotatory", calls[n], 8);
        one_fill(&a, "left_mask", 0);
        one_run(&a);
        const double *x = one_at(&a, "x");
        for (int d = 0; d < 3; d++) {
            assert_true(one_at(&a, "out")[d] == 0);
            mean[d] = (x[d] + x[3 + d]) / 2;
        }
        one_near(one_at(&a, "out") + 3, mean, 3, "target seen from nothing");
        one_close(&a);
    }
}

/* ---- fine-grained ------------------------------------------------------------------------ */

/* One word of question is all that can be seen. */
static void test_bidaf_one_word(void **state)
{
    (void)state;
    gallery_one a;
    one_open(&a, "bidaf", "T=4,S=1,D=3;;mask,x_mask", 9);
    one_run(&a);
    for (int i = 0; i < 4; i++)
        one_near(one_at(&a, "out") + i * 12 + 3, one_at(&a, "y"), 3, "u");
    one_close(&a);
}

/* Rows that are hidden change nothing, in whatever tile they lie. */
static void test_hidden_rows(void **state)
{
    (void)state;
    gallery_one a, b;
    one_open(&a, "mgan", "T=200,S=3,D=2;;mask,location", 10);
    one_open(&b, "mgan", "T=130,S=3,D=2;;mask,location,x_mask", 10);
    for (int i = 0; i < 200; i++) one_at(&a, "x_mask")[i] = i < 130;
    for (int i = 260; i < 400; i++) one_at(&a, "x")[i] = (double)NAN;
    memcpy(one_at(&b, "x"), one_at(&a, "x"), 260 * sizeof(double));
    one_copy(&b, "y", one_at(&a, "y"));
    one_copy(&b, "w_u", one_at(&a, "w_u"));
    one_copy(&b, "w_x", one_at(&a, "w_x"));
    one_copy(&b, "w_y", one_at(&a, "w_y"));
    one_run(&a);
    one_run(&b);
    one_near(one_at(&a, "out"), one_at(&b, "out"), 8, "hidden rows");
    one_close(&a);
    one_close(&b);
}

/* An aspect of one word is that word, fine and coarse. */
static void test_mgan_one_word(void **state)
{
    (void)state;
    gallery_one a;
    one_open(&a, "mgan", "T=4,S=1,D=3;;mask,x_mask", 11);
    one_run(&a);
    one_near(one_at(&a, "out") + 6, one_at(&a, "y"), 3, "fine");
    one_near(one_at(&a, "out") + 9, one_at(&a, "y"), 3, "coarse");
    one_close(&a);
}

/* One word of question: every row sees it and the summary it made. */
static void test_dcn_one_word(void **state)
{
    (void)state;
    gallery_one a;
    one_open(&a, "dcn", "T=4,S=1,D=3;;mask,x_mask,sentinel_x,sentinel_y,w_q,b_q", 12);
    one_run(&a);
    for (int i = 0; i < 4; i++) {
        one_near(one_at(&a, "out") + i * 6, one_at(&a, "y"), 3, "the word");
        one_near(one_at(&a, "out") + i * 6 + 3, one_at(&a, "summary"), 3, "the summary");
        assert_true(fabs(one_at(&a, "weights")[i] - 1) < 1e-12);
    }
    one_close(&a);
}

/* A sentinel takes a share of every row, and a loud one takes all. */
static void test_dcn_sentinel(void **state)
{
    (void)state;
    gallery_one a;
    one_open(&a, "dcn", "T=3,S=4,D=2;;mask,x_mask,w_q,b_q", 13);
    for (int loud = 0; loud < 2; loud++) {
        if (loud) {
            one_fill(&a, "sentinel_y", 100);
            for (int i = 0; i < 6; i++) one_at(&a, "x")[i] = 1 + i;
        }
        one_run(&a);
        for (int i = 0; i < 3; i++) {
            double sum = 0;
            for (int j = 0; j < 4; j++) sum += one_at(&a, "weights")[i * 4 + j];
            assert_true(loud ? sum < 1e-12 : sum > 0 && sum < 1 - 1e-6);
        }
    }
    one_close(&a);
}

static void test_dca_one_word(void **state)
{
    (void)state;
    gallery_one a;
    one_open(&a, "dca", "T=1,S=1,D=3;;mask,x_mask", 14);
    one_run(&a);
    one_near(one_at(&a, "out"), one_at(&a, "x"), 3, "c");
    one_near(one_at(&a, "out") + 3, one_at(&a, "y"), 3, "a");
    one_near(one_at(&a, "out") + 6, one_at(&a, "x"), 3, "d");
    one_close(&a);
}

/* out is a distribution; with one word of question it is that word's alpha. */
static void test_aoa(void **state)
{
    (void)state;
    gallery_one a;
    double sum = 0;
    one_open(&a, "attention_over_attention", "T=5,S=4,D=3", 15);
    one_at(&a, "mask")[0] = one_at(&a, "x_mask")[0] = 1;
    one_run(&a);
    for (int i = 0; i < 5; i++) sum += one_at(&a, "out")[i];
    assert_true(fabs(sum - 1) < 1e-12);
    one_close(&a);
    one_open(&a, "attention_over_attention", "T=5,S=1,D=3;;mask,x_mask", 16);
    one_run(&a);
    one_near(one_at(&a, "out"), one_at(&a, "weights"), 5, "one word of question");
    one_close(&a);
}

/* Scores that are all alike point at the first word that may be pointed at, and then stand. */
static void test_decoder_constant(void **state)
{
    (void)state;
    gallery_one a;
    one_open(&a, "dcn_decoder", "B=1,T=5,L=2,P=2,K=4", 17);
    one_fill(&a, "w_3_start", 0);
    one_fill(&a, "w_3_end", 0);
    for (int t = 0; t < 5; t++) one_at(&a, "mask")[t] = t > 1;
    one_run(&a);
    assert_true(one_at(&a, "span")[0] == 2 && one_at(&a, "span")[1] == 2);
    one_close(&a);
}

/* When two rounds guess alike, later ones repeat the logits; without stop they go on. */
static void test_decoder_stops(void **state)
{
    (void)state;
    int stood = 0;
    for (uint64_t seed = 0; seed < 8; seed++) {
        gallery_one a, b;
        one_open(&a, "dcn_decoder", "B=1,T=5,L=2,P=2,K=8;iterations=8", seed);
        one_open(&b, "dcn_decoder", "B=1,T=5,L=2,P=2,K=8;iterations=8,stop=false", seed);
        one_run(&a);
        one_run(&b);
        const double *s = one_at(&a, "steps"), *go = one_at(&b, "steps");
        one_near(s, go, 20, "the first two rounds");
        const bool stands = memcmp(s + 60, s + 70, 10 * sizeof *s) == 0;
        stood += stands && memcmp(go + 60, go + 70, 10 * sizeof *s) != 0;
        one_close(&a);
        one_close(&b);
    }
    assert_true(stood > 0);
}

/* ---- levels and representations ---------------------------------------------------------- */

static void test_hierarchical(void **state)
{
    (void)state;
    gallery_one a, b;
    const char *no_gru = "B=1,N=3,T=4,D=2,E=2;;w_gru_x,w_gru_h,b_gru_x,b_gru_h,mask";
    one_open(&a, "hierarchical", "N=1,T=4", 18);
    one_at(&a, "mask")[0] = 1;
    one_run(&a);
    assert_true(one_at(&a, "sentence_weights")[0] == 1);
    one_close(&a);
    one_open(&a, "hierarchical", no_gru, 19);
    one_open(&b, "hierarchical", no_gru, 19);
    for (int n = 0; n < 3; n++)
        memcpy(one_at(&b, "x") + n * 8, one_at(&a, "x") + (2 - n) * 8, 8 * sizeof(double));
    one_run(&a);
    one_run(&b);
    one_near(one_at(&b, "out"), one_at(&a, "out"), 2, "sentences in another order");
    one_close(&a);
    one_close(&b);
}

/* Words that are all alike say the same however many they are. */
static void test_via_constant(void **state)
{
    (void)state;
    gallery_one a, b;
    one_open(&a, "attention_via_attention", "B=1,T=3,S=4,N=5;;mask,y_mask", 20);
    one_open(&b, "attention_via_attention", "B=1,T=3,S=1,N=5;;mask,y_mask", 20);
    static const char *const same[] = {"q", "y", "w_x", "w_y", "u_y"};
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        one_copy(&b, same[i], one_at(&a, same[i]));
    for (int i = 0; i < 12; i++) one_at(&a, "x")[i] = one_at(&b, "x")[i % 3];
    one_run(&a);
    one_run(&b);
    one_near(one_at(&a, "out"), one_at(&b, "out"), one_count(&a, "out"), "constant words");
    one_close(&a);
    one_close(&b);
}

/* Representations that are all alike, in one projection, give that projection. */
static void test_meta_alike(void **state)
{
    (void)state;
    gallery_one a, b;
    const char *left = "b_p,mask,w_lstm_x,w_lstm_h,b_lstm,u_h";
    char many[128], one[128];
    snprintf(many, sizeof many, "T=3,N=4,D=2,A=3;;%s", left);
    snprintf(one, sizeof one, "T=3,N=1,D=2,A=3;;%s", left);
    one_open(&a, "meta_embedding", many, 21);
    one_open(&b, "meta_embedding", one, 22);
    for (int i = 0; i < 24; i++) one_at(&a, "x")[i] = one_at(&b, "x")[i / 8 * 2 + i % 2];
    for (int i = 0; i < 24; i++) one_at(&a, "w_p")[i] = one_at(&b, "w_p")[i % 6];
    one_run(&a);
    one_run(&b);
    one_near(one_at(&a, "out"), one_at(&b, "out"), 9, "alike");
    for (int i = 0; i < 12; i++) assert_true(one_at(&a, "weights")[i] == .25);
    one_close(&a);
    one_close(&b);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parallel_alone),       cmocka_unit_test(test_parallel_swap),
        cmocka_unit_test(test_interactive_rotatory), cmocka_unit_test(test_interactive_bounded),
        cmocka_unit_test(test_rotatory_empty),       cmocka_unit_test(test_bidaf_one_word),
        cmocka_unit_test(test_hidden_rows),          cmocka_unit_test(test_mgan_one_word),
        cmocka_unit_test(test_dcn_one_word),         cmocka_unit_test(test_dcn_sentinel),
        cmocka_unit_test(test_dca_one_word),         cmocka_unit_test(test_aoa),
        cmocka_unit_test(test_decoder_constant),     cmocka_unit_test(test_decoder_stops),
        cmocka_unit_test(test_hierarchical),         cmocka_unit_test(test_via_constant),
        cmocka_unit_test(test_meta_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
