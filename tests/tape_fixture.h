/* SPDX-License-Identifier: MIT
 * What the tests of the tape itself share: a context whose memory is counted, tensors that the
 * end of a test frees, and the question whether the tape's error is the expected one. */
#ifndef ATTN_TESTS_TAPE_FIXTURE_H
#define ATTN_TESTS_TAPE_FIXTURE_H

#include "tape_run.h"

#include "attn.h"

static test_arena arena;
static tape_meter meter = {.fail_at = -1};
static attn_ctx *ctx;

static inline int tape_setup(void **state)
{
    (void)state;
    const attn_config config =
        ATTN_CONFIG(.threads = 1, .alloc = tape_meter_alloc, .alloc_user = &meter);
    return attn_ctx_create(&ctx, &config, NULL) == ATTN_OK ? 0 : -1;
}

static inline int tape_after(void **state)
{
    (void)state;
    test_arena_reset(&arena);
    return 0;
}

static inline int tape_finish(void **state)
{
    attn_ctx_destroy(ctx);
    tape_after(state);
    return meter.live == 0 ? 0 : -1;
}

#define CASE(f) cmocka_unit_test_teardown(f, tape_after)

/* ---- tensors and tapes ------------------------------------------------------------------- */

static inline attn_tensor tape_list(int64_t n, const double *x)
{
    attn_tensor t = TEST_TENSOR(&arena, F32, n);
    for (int64_t i = 0; i < n; i++) test_put(&t, &i, x[i]);
    return t;
}

#define LIST(...)                                                                              \
    tape_list((int64_t)(sizeof((double[]){__VA_ARGS__}) / sizeof(double)),                     \
              (const double[]){__VA_ARGS__})

static inline attn_tensor tape_normal(uint64_t seed, int rank, const int64_t *shape)
{
    attn_tensor t = test_tensor(&arena, ATTN_DTYPE_F32, rank, shape);
    test_rng rng = test_rng_make(seed);
    test_fill_normal(&t, &rng, 0.5);
    return t;
}

static inline attn_tape *tape_new(const attn_tape_config *config)
{
    attn_tape *t = NULL;
    assert_int_equal(attn_tape_create(&t, ctx, config, NULL), ATTN_OK);
    return t;
}

static inline attn_var tape_total(attn_tape *t, attn_var x)
{
    return attn_tape_sum(t, x, ATTN_ALL, false);
}

static inline void expect_list(attn_tensor got, attn_tensor want, const char *what)
{
    if (!test_same_bits(got, want)) fail_msg("%s differs", what);
}

/* The tape's error is this one; it is forgotten. */
static inline void expect_error(attn_tape *t, attn_status status, const char *where,
                                const char *part)
{
    attn_error error = {.status = ATTN_OK, .where = where};
    char text[256];
    assert_int_equal(attn_tape_status(t, &error), status);
    assert_int_equal(error.status, status);
    attn_error_text(&error, text, sizeof text);
    if (strcmp(error.where, where) != 0 || !strstr(text, part))
        fail_msg("expected \"%s\" ... \"%s\", got \"%s\"", where, part, text);
    attn_tape_clear(t);
    assert_int_equal(attn_tape_status(t, NULL), ATTN_OK);
}

/* No operation was refused. */
static inline void expect_fine(const attn_tape *t)
{
    attn_error error;
    if (attn_tape_status(t, &error) != ATTN_OK) fail_msg("%s: %s", error.where, error.what);
}

static inline bool is_empty(attn_var x)
{
    return x.tape == NULL && x.id == 0 && x.age == 0;
}

#endif
