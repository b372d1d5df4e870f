/* SPDX-License-Identifier: MIT
 * Identities of mechanisms that were made for tasks: translation, pointing and copying,
 * captions, sound and sight, graphs, and attention beside recurrence and convolution. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gallery_share.h"

/* ---- translation ------------------------------------------------------------------------- */

static void test_luong_identity(void **state)
{
    (void)state;
    gallery_one g, d;
    share_open(&g, "luong", "B=2,T=3,S=5,D=4,E=4;score=general;w_q,w_k,w", &d, "luong",
               "B=2,T=3,S=5,D=4,E=4;;w_a,w_q,w_k,w");
    one_identity(&g, "w_a", 4);
    share_run(&g, &d);
    share_same(&g, "out", &d, "out", "general with the identity is dot");
    share_same(&g, "weights", &d, "weights", "general with the identity is dot");
    share_close(&g, &d);
}

/* A score of 0 looks everywhere alike, and concat with it sees the mean. */
static void test_luong_even(void **state)
{
    (void)state;
    gallery_one a;
    one_open(&a, "luong", "T=2,S=5,D=3,E=2;score=concat;w_a,mask", 2);
    one_fill(&a, "w", 0);
    one_run(&a);
    for (int i = 0; i < 4; i++) {
        double mean = 0;
        for (int j = 0; j < 5; j++) mean += one_at(&a, "y")[2 * j + i % 2] / 5;
        one_near(one_at(&a, "context") + i, &mean, 1, "the mean");
    }
    one_close(&a);
}

/* Fed nothing, input feeding is luong on the states it has made. */
static void test_feeding_nothing(void **state)
{
    (void)state;
    gallery_one f, l;
    share_open(&f, "input_feeding", "B=2,T=1,S=5", &l, "luong",
               "B=2,T=1,S=5,D=4,E=5,P=3;score=general;w_q,w_k,w");
    one_run(&f);
    one_copy(&l, "q", one_at(&f, "state"));
    one_copy(&l, "w_h", one_at(&f, "w_p"));
    one_run(&l);
    share_same(&f, "out", &l, "out", "luong of one state");
    share_same(&f, "weights", &l, "weights", "luong of one state");
    share_close(&f, &l);
}

static void test_bahdanau_looks_first(void **state)
{
    (void)state;
    gallery_one b, p;
    share_open(&b, "bahdanau", "B=2,T=1,S=5;;b", &p, "pointer", "B=2,T=1,S=5,C=5;;allowed");
    one_copy(&p, "q", one_at(&b, "start"));
    one_copy(&p, "k", one_at(&b, "y"));
    share_run(&b, &p);
    share_same(&b, "weights", &p, "out", "the state before looks");
    share_close(&b, &p);
}

/* A decoder may stop and go on. */
static void test_decoders_go_on(void **state)
{
    static const char *const names[] = {"bahdanau", "input_feeding"};
    (void)state;
    for (int n = 0; n < 2; n++) {
        gallery_one whole, part[2];
        one_open(&whole, names[n], "T=4,S=5", 3);
        one_run(&whole);
        for (int half = 0; half < 2; half++) {
            gallery_one *p = &part[half];
            one_open(p, names[n], "T=2,S=5", 3);
            share_inputs(p, &whole);
            one_copy(p, "x", one_at(&whole, "x") + half * one_count(p, "x"));
            const int64_t width = one_count(&whole, "out") / 4;
            if (half) one_copy(p, "start", one_at(&part[0], "out") + width);
            if (half && n) one_copy(p, "start_state", one_at(&part[0], "state"));
            if (half && n) one_copy(p, "start_cell", one_at(&part[0], "cell"));
            one_run(p);
            one_near(one_at(p, "out"), one_at(&whole, "out") + 2 * half * width, 2 * width,
                     names[n]);
        }
        share_close(&part[0], &part[1]);
        one_close(&whole);
    }
}

/* ---- pointing and copying ---------------------------------------------------------------- */

static void test_pointer_allowed(void **state)
{
    (void)state;
    gallery_one a;
    one_open(&a, "pointer", "T=3,S=4;;mask", 4);
    one_fill(&a, "allowed", 0);
    one_at(&a, "allowed")[2] = one_at(&a, "allowed")[4 + 1] = 1; /* row 2: nowhere */
    one_run(&a);
    assert_true(one_at(&a, "out")[2] == 1 && one_at(&a, "out")[5] == 1);
    assert_true(share_sum(one_at(&a, "out") + 8, 4) == 0);
    assert_true(one_at(&a, "pick")[0] == 2 && one_at(&a, "pick")[1] == 1);
    assert_true(one_at(&a, "log_weights")[2] == 0 && isinf(one_at(&a, "log_weights")[0]));
    one_close(&a);
}

/* An open gate only generates, a shut one only copies; both give probabilities. */
static void test_generator_gate(void **state)
{
    (void)state;
    for (int shut = 0; shut < 2; shut++) {
        gallery_one a;
        one_open(&a, "pointer_generator", "T=3,S=4,V=5,N=8;;mask", 5);
        one_fill(&a, "words", 1);
        one_fill(&a, "b_g", shut ? -800 : 800);
        one_run(&a);
        for (int i = 0; i < 3; i++) {
            const double *out = one_at(&a, "out") + 8 * i;
            const double one = 1, all = share_sum(out, 8), unknown = share_sum(out + 5, 3);
            one_near(&all, &one, 1, "probabilities of words");
            assert_true(shut || unknown == 0);
            for (int word = 0; shut && word < 8; word++) {
                double copied = 0;
                for (int j = 0; j < 4; j++)
                    if (one_at(&a, "ids")[j] == word)
                        copied += one_at(&a, "weights")[4 * i + j];
                one_near(out + word, &copied, 1, "a copied word");
            }
        }
        one_close(&a);
    }
}

static void test_generator_covers(void **state)
{
    (void)state;
    gallery_one g, c;
    share_open(&g, "pointer_generator", "B=2,T=3,S=4,D=4,E=3,A=5", &c, "coverage",
               "B=2,T=3,S=4,D=4,C=3,A=5");
    one_copy(&c, "k", one_at(&g, "y"));
    one_copy(&c, "w_c", one_at(&g, "w_cov"));
    share_run(&g, &c);
    share_same(&g, "weights", &c, "weights", "coverage");
    share_same(&g, "loss", &c, "loss", "coverage");
    share_close(&g, &c);
}

/* Nothing to copy from: the vocabulary alone. */
static void test_copy_nothing(void **state)
{
    (void)state;
    gallery_one a;
    one_open(&a, "copy", "T=2,S=4,V=5,N=7", 6);
    one_fill(&a, "words", 1);
    one_run(&a);
    for (int i = 0; i < 2; i++) {
        const double all = share_sum(one_at(&a, "out") + 7 * i, 7), one = 1;
        one_near(&all, &one, 1, "probabilities of words");
    }
    one_fill(&a, "mask", 0);
    one_run(&a);
    assert_true(one_at(&a, "copying")[0] == 0 && share_sum(one_at(&a, "out") + 5, 2) == 0);
    one_close(&a);
}

/* ---- captions, sound and sight ----------------------------------------------------------- */

/* As many words as cells that look everywhere alike are doubly stochastic. */
static void test_caption_penalty(void **state)
{
    (void)state;
    gallery_one a;
    one_open(&a, "show_attend_tell", "T=4,S=4;;mask,w_g,b_g", 7);
    one_fill(&a, "w", 0);
    one_run(&a);
    assert_true(fabs(one_at(&a, "penalty")[0]) < 1e-12);
    one_close(&a);
    one_open(&a, "show_attend_tell", "T=2,S=4;;mask,w_g,b_g", 7);
    one_fill(&a, "w", 0);
    one_run(&a);
    assert_true(fabs(one_at(&a, "penalty")[0] - 1) < 1e-12); /* 4 (1 - 2/4)^2 */
    one_close(&a);
}

static void test_dual_is_two(void **state)
{
    (void)state;
    gallery_one d, x;
    share_open(&d, "dual_stream", "B=1,T=3,S=4,R=5", &x, "show_attend_tell",
               "B=1,T=3,S=4,D=4,E=3,A=4;;w_g,b_g");
    one_copy(&x, "y", one_at(&d, "x"));
    share_run(&d, &x);
    for (int i = 0; i < 3; i++)
        one_near(one_at(&d, "out") + 6 * i, one_at(&x, "out") + 3 * i, 3, "the first stream");
    share_close(&d, &x);
}

/* A stream that is not there leaves its half empty and the other as it is. */
static void test_dual_missing(void **state)
{
    (void)state;
    gallery_one d, m;
    share_open(&d, "dual_stream", "T=3,S=4,R=5;;mask", &m, "dual_stream", "T=3,S=4,R=5;;mask");
    one_fill(&m, "y_mask", 0);
    one_fill(&m, "y", (double)NAN);
    share_run(&d, &m);
    for (int i = 0; i < 3; i++) {
        one_near(one_at(&m, "out") + 6 * i, one_at(&d, "out") + 6 * i, 3, "what is there");
        for (int e = 3; e < 6; e++) assert_true(one_at(&m, "out")[6 * i + e] == 0);
    }
    share_close(&d, &m);
}

static void test_audio_constant(void **state)
{
    (void)state;
    gallery_one a;
    one_open(&a, "audio_guided", "S=9;;mask", 8);
    one_fill(&a, "y", 0.7);
    one_run(&a);
    for (int j = 0; j < 9; j++) assert_true(fabs(one_at(&a, "weights")[j] - 1. / 9) < 1e-15);
    one_close(&a);
}

static void test_localisation_direction(void **state)
{
    (void)state;
    gallery_one a, b;
    share_open(&a, "sound_localisation", "B=2,D=3;scale=4", &b, "sound_localisation",
               "B=2,D=3;scale=4");
    for (int d = 0; d < 3; d++) one_at(&b, "x")[d] *= 9, one_at(&b, "x")[3 + d] = 0;
    share_run(&a, &b);
    const int64_t cells = one_count(&a, "out") / 2;
    one_near(one_at(&b, "out"), one_at(&a, "out"), cells, "a louder sound");
    for (int64_t i = 0; i < cells; i++) {
        assert_true(fabs(one_at(&a, "out")[i]) <= 4);
        assert_true(one_at(&b, "out")[cells + i] == 0);
    }
    share_close(&a, &b);
}

/* The way back is the way there with the roles exchanged. */
static void test_crossmodal_exchanged(void **state)
{
    static const char *const swap[][2] = {{"x", "y"},          {"w_q", "w_back_q"},
                                          {"w_k", "w_back_k"}, {"w_v", "w_back_v"},
                                          {"w_o", "w_back_o"}, {"mask", "x_mask"}};
    (void)state;
    gallery_one a, b;
    one_open(&a, "crossmodal", "B=2,T=4,S=5,M=3,N=6", 9);
    one_open(&b, "crossmodal", "B=2,T=5,S=4,M=6,N=3", 10);
    for (size_t i = 0; i < sizeof swap / sizeof swap[0]; i++)
        for (int way = 0; way < 2; way++)
            one_copy(&b, swap[i][way], one_at(&a, swap[i][1 - way]));
    share_run(&a, &b);
    share_same(&a, "back", &b, "out", "roles exchanged");
    share_same(&a, "out", &b, "back", "roles exchanged");
    share_close(&a, &b);
}

/* One that is missing is as if there were one less; gates of 0 are a half each. */
static void test_fusion_missing(void **state)
{
    (void)state;
    gallery_one a, b;
    one_open(&a, "modality_fusion", "N=3,D=2,P=4", 11);
    one_open(&b, "modality_fusion", "N=2,D=2,P=4;;mask", 12);
    for (int n = 0; n < 3; n++) one_at(&a, "mask")[n] = n < 2;
    one_at(&a, "x")[4] = (double)NAN;
    memcpy(one_at(&b, "x"), one_at(&a, "x"), 4 * sizeof(double));
    memcpy(one_at(&b, "w_h"), one_at(&a, "w_h"), 16 * sizeof(double));
    memcpy(one_at(&b, "b_h"), one_at(&a, "b_h"), 8 * sizeof(double));
    one_copy(&b, "w", one_at(&a, "w"));
    share_run(&a, &b);
    share_same(&a, "out", &b, "out", "two of three");
    share_close(&a, &b);
    one_open(&a, "modality_fusion", "N=3;weigh=sigmoid;mask", 13);
    one_fill(&a, "w", 0);
    one_run(&a);
    for (int n = 0; n < 3; n++) assert_true(one_at(&a, "weights")[n] == 0.5);
    one_close(&a);
}

/* ---- graphs ------------------------------------------------------------------------------ */

/* Without a bend between them the second kind is the first. */
static void test_gat_straight(void **state)
{
    (void)state;
    gallery_one a, b;
    share_open(&a, "gat", "B=2,T=5;slope=1", &b, "gatv2", "B=2,T=5;slope=1");
    one_copy(&b, "w_to", one_at(&a, "w"));
    one_copy(&b, "w_from", one_at(&a, "w"));
    one_copy(&b, "w", one_at(&a, "w_to"));
    one_copy(&a, "w_from", one_at(&a, "w_to"));
    share_run(&a, &b);
    share_same(&a, "out", &b, "out", "straight");
    share_same(&a, "mean", &b, "mean", "straight");
    share_close(&a, &b);
}

/* gat: every node likes the same neighbour best. */
static void test_gat_ranks_alike(void **state)
{
    (void)state;
    gallery_one a;
    one_open(&a, "gat", "T=9,H=1,F=3,A=3", 14);
    one_fill(&a, "edges", 1);
    one_run(&a);
    for (int i = 1; i < 9; i++) {
        const double *first = one_at(&a, "weights"), *row = first + 9 * i;
        for (int j = 0; j < 9; j++)
            for (int k = 0; k < 9; k++)
                assert_false(first[j] > first[k] * 1.0001 && row[k] > row[j] * 1.0001);
    }
    one_close(&a);
}

static void test_gat_alone(void **state)
{
    static const char *const names[] = {"gat", "gatv2"};
    (void)state;
    for (int n = 0; n < 2; n++)
        for (int loops = 0; loops < 2; loops++) {
            gallery_one a;
            one_open(&a, names[n], loops ? "T=3" : "T=3;self_loops=false", 15);
            one_fill(&a, "edges", 0);
            one_run(&a);
            for (int x = 0; x < 18; x++) /* two heads of 3 x 3 */
                assert_true(one_at(&a, "weights")[x] == (loops && x % 9 / 3 == x % 3));
            one_close(&a);
        }
}

/* ---- recurrence and convolution ---------------------------------------------------------- */

static void test_rnn_even(void **state)
{
    (void)state;
    gallery_one a;
    one_open(&a, "rnn_attention", "S=5,R=2;;mask", 16);
    one_fill(&a, "w", 0);
    one_run(&a);
    for (int r = 0; r < 4; r++) {
        double mean = 0;
        for (int j = 0; j < 5; j++) mean += one_at(&a, "states")[4 * j + r] / 5;
        one_near(one_at(&a, "out") + r, &mean, 1, "the mean of states");
    }
    one_close(&a);
}

/* Near without filters is nothing: only what was there remains. */
static void test_conv_near_nothing(void **state)
{
    (void)state;
    gallery_one a;
    one_open(&a, "conv_attention", "T=5;;mask", 17);
    one_fill(&a, "w_d", 0);
    one_fill(&a, "b_g", -800);
    one_run(&a);
    one_near(one_at(&a, "out"), one_at(&a, "x"), one_count(&a, "x"), "nothing added");
    one_close(&a);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_luong_identity),
        cmocka_unit_test(test_luong_even),
        cmocka_unit_test(test_feeding_nothing),
        cmocka_unit_test(test_bahdanau_looks_first),
        cmocka_unit_test(test_decoders_go_on),
        cmocka_unit_test(test_pointer_allowed),
        cmocka_unit_test(test_generator_gate),
        cmocka_unit_test(test_generator_covers),
        cmocka_unit_test(test_copy_nothing),
        cmocka_unit_test(test_caption_penalty),
        cmocka_unit_test(test_dual_is_two),
        cmocka_unit_test(test_dual_missing),
        cmocka_unit_test(test_audio_constant),
        cmocka_unit_test(test_localisation_direction),
        cmocka_unit_test(test_crossmodal_exchanged),
        cmocka_unit_test(test_fusion_missing),
        cmocka_unit_test(test_gat_straight),
        cmocka_unit_test(test_gat_ranks_alike),
        cmocka_unit_test(test_gat_alone),
        cmocka_unit_test(test_rnn_even),
        cmocka_unit_test(test_conv_near_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
