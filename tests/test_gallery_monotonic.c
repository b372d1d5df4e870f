/* SPDX-License-Identifier: MIT
 * Identities of alignments that move forward: hard and expected, chunks of one and of all,
 * calls that go on where another ended, and what is left when the memory of earlier rows is
 * taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "attn/tape.h"
#include "gallery_share.h"

/* Energies far from 0 leave nothing to expect. */
static void test_hard_is_expected(void **state)
{
    (void)state;
    gallery_one e, h;
    share_open(&e, "expected_monotonic", "B=3,T=5,S=9;;noise,start", &h, "hard_monotonic",
               "B=3,T=5,S=9;;start");
    one_at(&e, "g")[0] *= 1e7;
    one_at(&e, "r")[0] *= 1e7;
    share_run(&e, &h);
    share_same(&e, "weights", &h, "weights", "hard and expected");
    share_same(&e, "out", &h, "out", "hard and expected");
    share_close(&e, &h);
}

/* Who stops everywhere stays at key 0; who stops nowhere is lost, or kept at the last key. */
static void test_standing_and_lost(void **state)
{
    (void)state;
    for (int n = 0; n < 4; n++) {
        const bool lost = n % 2;
        gallery_one a;
        one_open(&a, "expected_monotonic",
                 lost ? "T=4,S=5,E=2;keep_mass=true;mask,noise,start"
                      : "T=4,S=5,E=2;;mask,noise,start",
                 3);
        one_fill(&a, n / 2 ? "w" : "g", 0); /* a vector without a direction counts as 0 */
        one_fill(&a, "r", lost ? -800 : 800);
        one_run(&a);
        for (int i = 0; i < 4; i++)
            one_near(one_at(&a, "out") + 2 * i, one_at(&a, "v") + (lost ? 8 : 0), 2, "one key");
        one_close(&a);
    }
}

static void test_mass_falls(void **state)
{
    (void)state;
    gallery_one a;
    one_open(&a, "mocha", "T=7,S=6;chunk=3;mask,start", 4);
    one_run(&a);
    for (int i = 0; i < 7; i++) {
        const double *stops = one_at(&a, "stops") + 6 * i, mass = share_sum(stops, 6);
        const double weighed = share_sum(one_at(&a, "weights") + 6 * i, 6);
        assert_true(mass <= (i > 0 ? share_sum(stops - 6, 6) : 1) + 1e-12);
        one_near(&weighed, &mass, 1, "chunks share what stopped");
    }
    one_close(&a);
}

static void test_chunk_of_one(void **state)
{
    (void)state;
    gallery_one m, e;
    share_open(&m, "mocha", "B=2,T=5,S=6;chunk=1", &e, "expected_monotonic",
               "B=2,T=5,S=6;;noise");
    share_run(&m, &e);
    share_same(&m, "out", &e, "out", "a chunk of one key");
    share_close(&m, &e);
}

static void test_chunk_of_all(void **state)
{
    (void)state;
    gallery_one m, e;
    share_open(&m, "mocha", "B=2,T=5,S=6;chunk=0", &e, "mocha", "B=2,T=5,S=6;chunk=6");
    share_run(&m, &e);
    share_same(&m, "out", &e, "out", "all keys are a chunk");
    share_close(&m, &e);
}

/* Scores far apart overflow no exponential, in chunks or in all keys. */
static void test_chunk_extremes(void **state)
{
    (void)state;
    gallery_one m, e;
    share_open(&m, "mocha", "T=4,S=9;chunk=0;mask", &e, "mocha", "T=4,S=9;chunk=9;mask");
    for (int64_t i = 0; i < one_count(&m, "w_u"); i++)
        one_at(&m, "w_u")[i] = one_at(&e, "w_u")[i] = i % 2 ? 1e4 : -1e4;
    share_run(&m, &e);
    for (int64_t i = 0; i < one_count(&m, "out"); i++)
        assert_true(isfinite(one_at(&m, "out")[i]));
    share_same(&m, "out", &e, "out", "scores far apart");
    share_close(&m, &e);
}

/* The recorded chunk of two on the recorded alignment: A_2 of three rows, u of one. */
static void test_recorded_chunk(void **state)
{
    static const double a[] = {.03, .312, .2452, .30144}, u[] = {.3, -.5, 1.2, .1};
    static const double want[] = {.245272, .134603, .433484, .075282};
    attn_tape *t;
    (void)state;
    assert_int_equal(
        attn_tape_create(&t, NULL, &ATTN_TAPE_CONFIG(.dtype = ATTN_DTYPE_F64), NULL), ATTN_OK);
    const attn_var weights =
        attn_tape_chunkwise(t, attn_tape_input(t, ATTN_TENSOR((double *)(uintptr_t)a, F64, 4)),
                            attn_tape_input(t, ATTN_TENSOR((double *)(uintptr_t)u, F64, 4)), 2);
    const double *got = attn_tape_value(t, weights).data;
    for (int i = 0; i < 4; i++) assert_true(fabs(got[i] - want[i]) < 1e-6);
    attn_tape_destroy(t);
}

/* Two calls, of which the second starts where the first ended, are one. */
static void going_on(const char *name, const char *text, const char *half_text, const char *end)
{
    gallery_one whole, part;
    one_open(&whole, name, text, 5);
    one_run(&whole);
    double start[5];
    memcpy(start, one_at(&whole, "start"), sizeof start);
    for (int half = 0; half < 2; half++) {
        one_open(&part, name, half_text, 5);
        share_inputs(&part, &whole);
        one_copy(&part, "q", one_at(&whole, "q") + half * one_count(&part, "q"));
        one_copy(&part, "start", start);
        one_run(&part);
        one_near(one_at(&part, "out"), one_at(&whole, "out") + half * one_count(&part, "out"),
                 one_count(&part, "out"), name);
        memcpy(start, one_at(&part, end) + one_count(&part, end) - 5, sizeof start);
        one_close(&part);
    }
    one_close(&whole);
}

static void test_going_on(void **state)
{
    (void)state;
    going_on("expected_monotonic", "T=6,S=5;;noise,mask", "T=3,S=5;;noise,mask", "weights");
    going_on("mocha", "T=6,S=5;;mask", "T=3,S=5;;mask", "stops");
    going_on("location_aware", "T=6,S=5;;mask", "T=3,S=5;;mask", "weights");
    going_on("coverage", "T=6,S=5;;mask", "T=3,S=5;;mask", "coverage");
}

/* Without features of the alignment before, every row is additive attention. */
static void test_without_memory(void **state)
{
    static const char *const names[] = {"location_aware", "coverage"},
                             *const memory[] = {"w_u", "w_c"},
                             *const texts[] = {"B=2,T=4,S=6;;b", "B=2,T=4,S=6;;b"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        gallery_one a, p;
        share_open(&a, names[i], texts[i], &p, "pointer", "B=2,T=4,S=6,A=6;;allowed");
        one_fill(&a, memory[i], 0);
        share_run(&a, &p);
        share_same(&a, "weights", &p, "out", names[i]);
        share_close(&a, &p);
    }
}

/* With nothing to tell keys apart but the alignment before, moving that moves this. */
static void test_location_shift(void **state)
{
    (void)state;
    gallery_one a, b;
    share_open(&a, "location_aware", "T=1,S=12,K=3;;mask", &b, "location_aware",
               "T=1,S=12,K=3;;mask");
    for (int i = 0; i < 2; i++) {
        gallery_one *one = i ? &b : &a;
        one_fill(one, "w_k", 0);
        one_fill(one, "start", 0);
        one_at(one, "start")[5 + i] = 1;
        one_run(one);
    }
    one_near(one_at(&b, "weights") + 1, one_at(&a, "weights"), 11, "one key further");
    share_close(&a, &b);
}

/* What has been seen is what was looked at, and looking again costs. */
static void test_coverage_loss(void **state)
{
    (void)state;
    gallery_one a;
    one_open(&a, "coverage", "T=3,S=4;;mask,start", 6);
    one_fill(&a, "w", 0); /* every row is even: 1/4 */
    one_run(&a);
    for (int j = 0; j < 4; j++) assert_true(fabs(one_at(&a, "coverage")[j] - .75) < 1e-12);
    for (int i = 0; i < 3; i++) assert_true(fabs(one_at(&a, "loss")[i] - (i > 0)) < 1e-12);
    one_close(&a);
}

static void test_gates_of_one(void **state)
{
    (void)state;
    gallery_one g, m;
    share_open(&g, "sparse_monotonic", "B=2,T=4,S=6", &m, "monotonic_multihead",
               "B=2,T=4,S=6;chunk=2");
    one_fill(&g, "gate", 1);
    share_run(&g, &m);
    share_same(&g, "out", &m, "out", "gates of 1");
    assert_true(one_at(&g, "penalty")[0] == 2);
    for (int64_t row = 0; row < 2 * 2 * 4; row++)
        assert_true(share_sum(one_at(&g, "stops") + 6 * row, 6) <= 1 + 1e-12);
    share_close(&g, &m);
}

/* All heads left out: nothing remains. One left: it counts for all. */
static void test_head_drop(void **state)
{
    (void)state;
    gallery_one none, half, whole;
    one_open(&none, "sparse_monotonic", "T=3,S=4;drop=1", 7);
    one_run(&none);
    for (int64_t i = 0; i < one_count(&none, "out"); i++)
        assert_true(one_at(&none, "out")[i] == 0);
    one_close(&none);
    int seen = 0;
    for (int seed = 0; seed < 20 && !seen; seed++) {
        char text[64];
        snprintf(text, sizeof text, "T=3,S=4;drop=0.5,seed=%d", seed);
        share_open(&half, "sparse_monotonic", text, &whole, "sparse_monotonic", "T=3,S=4");
        one_run(&half);
        for (int h = 0; h < 2; h++) { /* this head alone, twice */
            const double gate = one_at(&half, "gate")[h];
            one_fill(&whole, "gate", 0);
            one_at(&whole, "gate")[h] = 2 * gate;
            one_run(&whole);
            seen += fabs(one_at(&whole, "out")[0] - one_at(&half, "out")[0]) < 1e-13;
        }
        share_close(&half, &whole);
    }
    assert_int_equal(seen, 1);
}

/* Heads that want no sparseness are those of self-attention; others leave keys out, and the
 * more the larger a is. */
static void test_adaptive_heads(void **state)
{
    (void)state;
    gallery_one a, s;
    int zeros[2] = {0, 0};
    share_open(&a, "adaptive_sparse", "B=2,T=6,P=8,O=4;;mask", &s, "self",
               "B=2,T=6,P=8,O=4;;mask");
    one_fill(&a, "a", -800);
    share_run(&a, &s);
    share_same(&a, "out", &s, "out", "softmax");
    for (int sparse = 0; sparse < 2; sparse++) {
        one_fill(&a, "a", sparse ? 8 : -1);
        one_run(&a);
        for (int64_t i = 0; i < one_count(&a, "weights"); i++)
            zeros[sparse] += one_at(&a, "weights")[i] == 0;
    }
    assert_true(zeros[1] > zeros[0]);
    share_close(&a, &s);
}

/* ---- the operations of the tape refuse --------------------------------------------------- */

static void refused(attn_var (*call)(attn_tape *, attn_var, attn_var), attn_status status,
                    const char *word)
{
    static double zeros[24];
    attn_tape *t;
    attn_error error;
    char said[256];
    assert_int_equal(
        attn_tape_create(&t, NULL, &ATTN_TAPE_CONFIG(.dtype = ATTN_DTYPE_F64), NULL), ATTN_OK);
    (void)call(t, attn_tape_input(t, ATTN_TENSOR(zeros, F64, 2, 3, 4)),
               attn_tape_input(t, ATTN_TENSOR(zeros, F64, 2, 3)));
    assert_int_equal(attn_tape_status(t, &error), status);
    attn_error_text(&error, said, sizeof said);
    assert_non_null(strstr(said, word));
    attn_tape_destroy(t);
}

static attn_var refused_first(attn_tape *t, attn_var a, attn_var b)
{
    return attn_tape_monotonic(t, a, b);
}

static attn_var refused_rank(attn_tape *t, attn_var a, attn_var b)
{
    return attn_tape_monotonic(t, attn_tape_sum(t, b, ATTN_DIMS(0), false), a);
}

static attn_var refused_pair(attn_tape *t, attn_var a, attn_var b)
{
    return attn_tape_chunkwise(t, a, b, 2);
}

static attn_var refused_width(attn_tape *t, attn_var a, attn_var b)
{
    (void)b;
    return attn_tape_chunkwise(t, a, a, -1);
}

static void test_refusals(void **state)
{
    (void)state;
    refused(refused_first, ATTN_E_SHAPE, "one row of p");
    refused(refused_rank, ATTN_E_RANK, "monotonic");
    refused(refused_pair, ATTN_E_SHAPE, "one rank");
    refused(refused_width, ATTN_E_PARAM, "a chunk must have a size");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hard_is_expected), cmocka_unit_test(test_standing_and_lost),
        cmocka_unit_test(test_mass_falls),       cmocka_unit_test(test_chunk_of_one),
        cmocka_unit_test(test_chunk_of_all),     cmocka_unit_test(test_chunk_extremes),
        cmocka_unit_test(test_recorded_chunk),   cmocka_unit_test(test_going_on),
        cmocka_unit_test(test_without_memory),   cmocka_unit_test(test_location_shift),
        cmocka_unit_test(test_coverage_loss),    cmocka_unit_test(test_gates_of_one),
        cmocka_unit_test(test_adaptive_heads),   cmocka_unit_test(test_head_drop),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
