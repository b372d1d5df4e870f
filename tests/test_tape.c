/* SPDX-License-Identifier: MIT
 * The tape itself: sums of gradients, what it keeps and for how long, memory that runs out, two
 * at once. (Operations: test_tape_ops.c; refusals: test_tape_error.c; checkpoints:
 * test_tape_checkpoint.c.) */
#include "tape_fixture.h"

#include <pthread.h>

/* ---- the example of the header ---------------------------------------------------------- */

static void tape_example(void **state)
{
    (void)state;
    float xs[] = {1, 2, 3, 4, 5, 6}, ws[] = {1, -1, 2};
    attn_tape *t;
    assert_int_equal(attn_tape_create(&t, NULL, NULL, NULL), ATTN_OK);
    attn_var x = attn_tape_input(t, ATTN_TENSOR(xs, F32, 2, 3));
    attn_var w = attn_tape_param(t, ATTN_TENSOR(ws, F32, 3, 1));
    attn_var y = attn_tape_matmul(t, x, w); /* 5, 11 */
    attn_var loss = attn_tape_mean(t, attn_tape_mul(t, y, y), ATTN_ALL, false);
    assert_int_equal(attn_tape_backward(t, loss, NULL), ATTN_OK);
    attn_tensor dw = attn_tape_grad(t, w), value = attn_tape_value(t, loss);
    assert_int_equal(dw.rank, 2);
    assert_int_equal(dw.shape[0], 3);
    assert_true(((float *)value.data)[0] == 73);
    const float want[] = {5 * 1 + 11 * 4, 5 * 2 + 11 * 5, 5 * 3 + 11 * 6};
    assert_memory_equal(dw.data, want, sizeof want);
    assert_true(attn_tape_grad(t, x).dtype == ATTN_DTYPE_NONE);
    assert_true(attn_tape_grad(t, y).dtype == ATTN_DTYPE_NONE);
    attn_tape_destroy(t);
}

/* ---- sums ------------------------------------------------------------------------------- */

static void tape_uses(void **state)
{
    (void)state;
    attn_tape *t = tape_new(NULL);
    attn_var x = attn_tape_param(t, LIST(1, 2, -3));
    attn_var cube = attn_tape_mul(t, attn_tape_mul(t, x, x), x);
    attn_var y = attn_tape_add(t, cube, attn_tape_mul_scalar(t, x, 5));
    attn_tape_retain(t, cube);
    attn_var ys[] = {y, x, cube};
    const attn_tensor d[] = {LIST(1, 1, 1), LIST(100, 200, 300), LIST(0, 0, 1)};
    assert_int_equal(attn_tape_backward_from(t, 3, ys, d, NULL), ATTN_OK);
    expect_list(attn_tape_grad(t, x), LIST(108, 217, 27 + 5 + 27 + 300), "gradient");
    expect_list(attn_tape_grad(t, cube), LIST(1, 1, 2), "retained");
    assert_int_equal(attn_tape_grad(t, y).dtype, ATTN_DTYPE_NONE);
    attn_tape_destroy(t);
}

static void tape_several_backwards(void **state)
{
    (void)state;
    attn_tape *t = tape_new(&ATTN_TAPE_CONFIG(.keep = true));
    attn_var x = attn_tape_param(t, LIST(1, 2)), e = attn_tape_mul(t, x, x);
    attn_var y = tape_total(t, e), z = tape_total(t, attn_tape_mul_scalar(t, e, 3));
    attn_tape_retain(t, e);
    assert_int_equal(attn_tape_backward(t, y, NULL), ATTN_OK);
    expect_list(attn_tape_grad(t, x), LIST(2, 4), "first");
    assert_int_equal(attn_tape_backward(t, y, NULL), ATTN_OK);
    expect_list(attn_tape_grad(t, x), LIST(4, 8), "second");
    expect_list(attn_tape_grad(t, e), LIST(1, 1), "a result's is of the latest");
    assert_int_equal(attn_tape_backward(t, z, NULL), ATTN_OK);
    expect_list(attn_tape_grad(t, x), LIST(10, 20), "third");
    expect_list(attn_tape_grad(t, e), LIST(3, 3), "a result's is of the latest");
    attn_tape_zero_grads(t);
    assert_int_equal(attn_tape_grad(t, x).dtype, ATTN_DTYPE_NONE);
    assert_int_equal(attn_tape_backward(t, y, NULL), ATTN_OK);
    expect_list(attn_tape_grad(t, x), LIST(2, 4), "after zero_grads");
    attn_tape_destroy(t);
}

/* A million floats on one: the sum is rounded once. */
static void tape_long_sum(void **state)
{
    (void)state;
    enum { N = 1000003 };
    attn_tape *t = tape_new(NULL);
    attn_var x = attn_tape_param(t, LIST(2));
    attn_var y = attn_tape_expand(t, x, ATTN_DIMS(N));
    const attn_tensor d = tape_normal(7, 1, &(int64_t){N});
    const float *terms = d.data;
    double sum = 0;
    for (int64_t i = 0; i < N; i++) sum += (double)terms[i];
    assert_int_equal(attn_tape_backward_from(t, 1, &y, &d, NULL), ATTN_OK);
    assert_true(((float *)attn_tape_grad(t, x).data)[0] == (float)sum);
    attn_tape_destroy(t);
}

/* Leaves of every float type; their gradients are reals of the tape. */
static void tape_leaf_types(void **state)
{
    (void)state;
    static const attn_dtype types[] = {ATTN_DTYPE_F64, ATTN_DTYPE_F32, ATTN_DTYPE_BF16,
                                       ATTN_DTYPE_F16};
    for (int i = 0; i < 4; i++) {
        attn_tape *t = tape_new(NULL);
        const attn_tensor value = test_tensor_dense(&arena, LIST(1, -2), types[i]);
        attn_var x = attn_tape_param(t, value);
        assert_int_equal(attn_tape_backward(t, tape_total(t, attn_tape_mul(t, x, x)), NULL),
                         ATTN_OK);
        expect_list(attn_tape_grad(t, x), LIST(2, -4), attn_dtype_name(types[i]));
        attn_tape_destroy(t);
    }
}

/* ---- what is kept ----------------------------------------------------------------------- */

enum { BIG = 100000, BYTES = BIG * 4 };

static attn_var tape_big(attn_tape *t, uint64_t seed)
{
    return attn_tape_param(t, tape_normal(seed, 1, &(int64_t){BIG}));
}

/* That memory went down by about so many values of BIG floats. */
static void expect_freed(const attn_tape *t, size_t before, int values, const char *what)
{
    const double freed = ((double)before - (double)attn_tape_memory(t)) / BYTES;
    if (fabs(freed - values) > 0.05) fail_msg("%s: %g values freed", what, freed);
}

static void tape_drops(void **state)
{
    (void)state;
    attn_tape *t = tape_new(NULL);
    attn_var a = tape_big(t, 1), b = tape_big(t, 2);
    attn_var sum = attn_tape_add(t, a, b); /* nobody's backward reads it but that of exp's */
    size_t before = attn_tape_memory(t);
    attn_tape_drop(t, sum);
    expect_freed(t, before, 1, "a sum");
    attn_var e = attn_tape_exp(t, a), view = attn_tape_reshape(t, e, ATTN_DIMS(2, -1));
    before = attn_tape_memory(t);
    attn_tape_drop(t, e);
    attn_tape_drop(t, view);
    expect_freed(t, before, 0, "the result of exp, which its backward reads");
    attn_tape_reset(t);
    a = tape_big(t, 1);
    e = attn_tape_exp(t, a);
    view = attn_tape_reshape(t, e, ATTN_DIMS(2, -1));
    attn_var y = tape_total(t, view);
    attn_tape_drop(t, e);
    before = attn_tape_memory(t);
    assert_int_equal(attn_tape_backward(t, y, NULL), ATTN_OK);
    expect_freed(t, before, -1, "the gradient of a; the view still holds exp");
    before = attn_tape_memory(t);
    attn_tape_drop(t, view);
    expect_freed(t, before, 1, "the last holder of exp");
    before = attn_tape_memory(t);
    attn_tape_zero_grads(t);
    expect_freed(t, before, 1, "the gradient");
    attn_tape_destroy(t);
}

static void tape_compute_keeps_nothing(void **state)
{
    (void)state;
    attn_tape *t = tape_new(&ATTN_TAPE_CONFIG(.compute = true));
    attn_var x = tape_big(t, 1);
    const int64_t live = meter.live;
    for (int i = 0; i < 20; i++) {
        attn_var y = attn_tape_exp(t, attn_tape_mul_scalar(t, x, 0.5));
        attn_tape_drop(t, x);
        x = y;
    }
    attn_tape_drop(t, x);
    assert_true(meter.live - live < 21 * BYTES); /* the halves, that nobody dropped */
    assert_true(meter.live - live > 19 * BYTES);
    attn_tape_destroy(t);
}

/* Saved values and gradients go while the backward walks, those that the caller keeps stay. */
static void tape_walk_frees(bool drop)
{
    enum { STEPS = 12 };
    attn_tape *t = tape_new(NULL);
    attn_var x = tape_big(t, 1);
    for (int i = 0; i < STEPS; i++) {
        attn_var y = attn_tape_relu(t, x);
        if (drop && i > 0) attn_tape_drop(t, x);
        x = y;
    }
    attn_var y = tape_total(t, x);
    if (drop) attn_tape_drop(t, x);
    const size_t before = attn_tape_memory(t);
    meter.peak = meter.live;
    const int64_t live = meter.live;
    assert_int_equal(attn_tape_backward(t, y, NULL), ATTN_OK);
    expect_freed(t, before, drop ? STEPS - 1 : -1, "all but the gradient");
    assert_true(meter.peak - live < 4 * BYTES);
    attn_tape_destroy(t);
}

static void tape_backward_frees(void **state)
{
    (void)state;
    tape_walk_frees(true);
    tape_walk_frees(false);
}

static void tape_resets(void **state)
{
    (void)state;
    attn_tape *t = tape_new(NULL);
    const size_t empty = attn_tape_memory(t);
    const int64_t live = meter.live;
    attn_tensor first = {0};
    for (int i = 0; i < 3; i++) {
        attn_var x = attn_tape_param(t, LIST(0.5, 1.5, -2));
        attn_var y = tape_total(t, attn_tape_exp(t, x));
        assert_int_equal(attn_tape_backward(t, y, NULL), ATTN_OK);
        const attn_tensor d = tape_copied(&arena, attn_tape_grad(t, x));
        if (i > 0) expect_list(d, first, "after a reset");
        first = d;
        attn_tape_reset(t);
        assert_int_equal(attn_tape_memory(t), empty);
        assert_int_equal(meter.live, live);
    }
    attn_tape_destroy(t);
}

/* ---- memory that runs out --------------------------------------------------------------- */

static attn_var tape_formula(attn_tape *t, attn_var x, attn_var w)
{
    attn_var y = attn_tape_tanh(t, attn_tape_matmul(t, x, w));
    return tape_total(t, attn_tape_mul(t, y, attn_tape_softmax(t, y, (attn_var){0}, -1)));
}

/* Allocation k fails, alone: E_MEMORY, and after a clear the same tape does it all. */
static void tape_failing(void **state)
{
    (void)state;
    const attn_tensor x = tape_normal(1, 2, (int64_t[]){5, 4});
    const attn_tensor w = tape_normal(2, 2, (int64_t[]){4, 3});
    for (int64_t k = 0;; k++) {
        const int64_t live = meter.live;
        attn_tape *t = tape_new(NULL);
        meter.calls = 0;
        meter.fail_at = k;
        attn_var p = attn_tape_param(t, w);
        attn_status s = attn_tape_backward(t, tape_formula(t, attn_tape_input(t, x), p), NULL);
        meter.fail_at = -1;
        if (s == ATTN_OK) assert_true(meter.calls <= k);
        if (s != ATTN_OK) {
            assert_int_equal(s, ATTN_E_MEMORY);
            assert_int_equal(attn_tape_status(t, NULL), ATTN_E_MEMORY);
            attn_tape_clear(t);
            p = attn_tape_param(t, w);
            s = attn_tape_backward(t, tape_formula(t, attn_tape_input(t, x), p), NULL);
            assert_int_equal(s, ATTN_OK);
        }
        assert_int_equal(attn_tape_grad(t, p).dtype, ATTN_DTYPE_F32);
        attn_tape_destroy(t);
        assert_int_equal(meter.live, live);
        if (meter.calls <= k) return;
        assert_true(k < 1000);
    }
}

/* ---- two at once ------------------------------------------------------------------------ */

typedef struct tape_job {
    attn_tensor x, w, d;
    attn_ctx *ctx;
    bool ok;
} tape_job;

static void *tape_work(void *user)
{
    tape_job *job = user;
    attn_tape *t;
    job->ok = attn_tape_create(&t, job->ctx, NULL, NULL) == ATTN_OK;
    for (int i = 0; i < 50 && job->ok; i++) {
        attn_tape_reset(t);
        attn_var w = attn_tape_param(t, job->w);
        attn_var y = tape_formula(t, attn_tape_input(t, job->x), w);
        job->ok = attn_tape_backward(t, y, NULL) == ATTN_OK;
        const attn_tensor d = attn_tape_grad(t, w);
        if (i > 0) job->ok = job->ok && test_same_bits(d, job->d);
        if (i == 0) job->ok = attn_tensor_copy(job->d, d, NULL) == ATTN_OK;
    }
    attn_tape_destroy(t);
    return NULL;
}

static void tape_two_threads(void **state)
{
    (void)state;
    attn_ctx *shared;
    tape_job job[2];
    pthread_t thread;
    assert_int_equal(attn_ctx_create(&shared, &ATTN_CONFIG(.threads = 2), NULL), ATTN_OK);
    for (int i = 0; i < 2; i++)
        job[i] = (tape_job){tape_normal(1, 2, (int64_t[]){40, 30}),
                            tape_normal(2, 2, (int64_t[]){30, 20}),
                            TEST_TENSOR(&arena, F32, 30, 20), shared, false};
    assert_int_equal(pthread_create(&thread, NULL, tape_work, &job[0]), 0);
    tape_work(&job[1]);
    pthread_join(thread, NULL);
    assert_true(job[0].ok && job[1].ok);
    expect_list(job[0].d, job[1].d, "the other thread's");
    attn_ctx_destroy(shared);
}

/* ---- the program ------------------------------------------------------------------------ */

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(tape_example),
                                       CASE(tape_uses),
                                       CASE(tape_several_backwards),
                                       CASE(tape_long_sum),
                                       CASE(tape_leaf_types),
                                       CASE(tape_drops),
                                       CASE(tape_compute_keeps_nothing),
                                       CASE(tape_backward_frees),
                                       CASE(tape_resets),
                                       CASE(tape_failing),
                                       CASE(tape_two_threads)};
    return cmocka_run_group_tests(tests, tape_setup, tape_finish);
}
