/* SPDX-License-Identifier: MIT
 * Checkpoints: the same bits as without one and less memory on the way, nested, with inputs
 * that are dropped, results that are inputs, and everything that a segment may do wrong. */
#include "tape_fixture.h"

enum { N = 48, LAYERS = 8 };

static attn_tensor point_normal(uint64_t seed, int64_t rows, int64_t columns)
{
    return tape_normal(seed, 2, (int64_t[]){rows, columns});
}

static attn_tape *point_tape(bool keep)
{
    return tape_new(&ATTN_TAPE_CONFIG(.keep = keep));
}

/* ---- segments --------------------------------------------------------------------------- */

typedef struct point_mode {
    bool inner, outer; /* checkpoints around steps, around pairs of layers */
    bool drop;
} point_mode;

/* x + tanh(x w) * x, x used three times */
static void point_step(attn_tape *t, void *user, const attn_var *in, attn_var *out)
{
    (void)user;
    attn_var gate = attn_tape_tanh(t, attn_tape_matmul(t, in[0], in[1]));
    attn_var y = attn_tape_add(t, in[0], attn_tape_mul(t, gate, in[0]));
    out[0] = y;
}

static attn_var point_layer(attn_tape *t, const point_mode *mode, attn_var x, attn_var w)
{
    attn_var out = {0};
    if (mode->inner)
        attn_tape_checkpoint(t, point_step, NULL, 2, (attn_var[]){x, w}, 1, &out);
    else
        point_step(t, NULL, (attn_var[]){x, w}, &out);
    if (mode->drop) attn_tape_drop(t, x);
    return out;
}

static void point_pair(attn_tape *t, void *user, const attn_var *in, attn_var *out)
{
    const point_mode mode = {.inner = ((point_mode *)user)->inner};
    out[0] = point_layer(t, &mode, point_layer(t, &mode, in[0], in[1]), in[1]);
}

static attn_var point_model(attn_tape *t, point_mode *mode, attn_var x, attn_var w)
{
    for (int i = 0; i < LAYERS; i += 2) {
        const attn_var in[] = {x, w};
        attn_var out = {0};
        if (mode->outer)
            attn_tape_checkpoint(t, point_pair, mode, 2, in, 1, &out);
        else
            point_pair(t, mode, in, &out);
        if (mode->drop && i > 0) attn_tape_drop(t, x);
        x = out;
    }
    return attn_tape_mean(t, x, ATTN_ALL, false);
}

/* ---- the same bits, less memory --------------------------------------------------------- */

typedef struct point_result {
    attn_tensor y, dx, dw;
    int64_t peak;
} point_result;

static point_result point_run(point_mode mode, bool keep)
{
    point_result r;
    attn_tape *t = point_tape(keep);
    attn_var x = attn_tape_param(t, point_normal(1, 20, N));
    attn_var w = attn_tape_param(t, point_normal(2, N, N));
    meter.peak = meter.live;
    const int64_t live = meter.live;
    attn_var y = point_model(t, &mode, x, w);
    if (keep) {
        assert_int_equal(attn_tape_backward(t, y, NULL), ATTN_OK);
        attn_tape_zero_grads(t);
    }
    assert_int_equal(attn_tape_backward(t, y, NULL), ATTN_OK);
    r.peak = meter.peak - live;
    r.y = tape_copied(&arena, attn_tape_value(t, y));
    r.dx = tape_copied(&arena, attn_tape_grad(t, x));
    r.dw = tape_copied(&arena, attn_tape_grad(t, w));
    attn_tape_destroy(t);
    return r;
}

static void point_same(const point_result *a, const point_result *b)
{
    assert_true(test_same_bits(a->y, b->y));
    assert_true(test_same_bits(a->dx, b->dx));
    assert_true(test_same_bits(a->dw, b->dw));
}

static void point_bits(void **state)
{
    (void)state;
    const point_result plain = point_run((point_mode){0}, false);
    for (int i = 0; i < 16; i++) {
        const point_mode mode = {.inner = i & 1, .outer = i & 2, .drop = i & 4};
        const point_result r = point_run(mode, i & 8);
        point_same(&plain, &r);
    }
}

static void point_peak(void **state)
{
    (void)state;
    const point_result plain = point_run((point_mode){.drop = true}, false);
    const point_result less = point_run((point_mode){.drop = true, .outer = true}, false);
    const point_result least =
        point_run((point_mode){.drop = true, .outer = true, .inner = true}, false);
    assert_true((double)less.peak < 0.75 * (double)plain.peak);
    assert_true(least.peak <= less.peak);
}

static void point_compute(void **state)
{
    (void)state;
    attn_tape *t;
    point_mode mode = {.outer = true, .inner = true};
    const attn_tape_config config = ATTN_TAPE_CONFIG(.compute = true);
    const point_result plain = point_run((point_mode){0}, false);
    assert_int_equal(attn_tape_create(&t, ctx, &config, NULL), ATTN_OK);
    attn_var y = point_model(t, &mode, attn_tape_param(t, point_normal(1, 20, N)),
                             attn_tape_param(t, point_normal(2, N, N)));
    assert_true(test_same_bits(attn_tape_value(t, y), plain.y));
    attn_tape_destroy(t);
}

/* ---- odd results ------------------------------------------------------------------------ */

/* An input goes through, one result stands twice, one needs no gradient, one is another's
 * factor. */
static void point_odd(attn_tape *t, void *user, const attn_var *in, attn_var *out)
{
    (void)user;
    attn_var unused = attn_tape_exp(t, in[0]);
    out[0] = in[0];
    out[1] = attn_tape_mul(t, in[0], in[1]);
    out[2] = out[1];
    out[3] = attn_tape_stop(t, unused);
    out[4] = attn_tape_mul(t, out[1], out[3]);
}

static point_result point_run_odd(bool checkpoint, bool retain, attn_tensor *kept)
{
    point_result r = {.peak = 0};
    attn_tape *t = point_tape(false);
    const attn_var in[] = {attn_tape_param(t, point_normal(3, 4, 5)),
                           attn_tape_param(t, point_normal(4, 4, 5)),
                           {0}};
    attn_var out[5];
    if (checkpoint)
        assert_true(attn_tape_checkpoint(t, point_odd, NULL, 3, in, 5, out));
    else
        point_odd(t, NULL, in, out);
    attn_var sum = attn_tape_stack(t, 5, out, 0);
    if (retain) attn_tape_retain(t, out[1]);
    assert_int_equal(attn_tape_backward(t, attn_tape_norm(t, sum, ATTN_ALL, false), NULL),
                     ATTN_OK);
    r.y = tape_copied(&arena, attn_tape_value(t, out[4]));
    r.dx = tape_copied(&arena, attn_tape_grad(t, in[0]));
    r.dw = tape_copied(&arena, attn_tape_grad(t, in[1]));
    *kept = tape_copied(&arena, attn_tape_grad(t, out[1]));
    attn_tape_destroy(t);
    return r;
}

static void point_odd_results(void **state)
{
    (void)state;
    for (int retain = 0; retain < 2; retain++) {
        attn_tensor kept, kept_too;
        const point_result plain = point_run_odd(false, retain, &kept);
        const point_result r = point_run_odd(true, retain, &kept_too);
        point_same(&plain, &r);
        assert_int_equal(kept.dtype, retain ? ATTN_DTYPE_F32 : ATTN_DTYPE_NONE);
        assert_int_equal(kept_too.dtype, kept.dtype);
        if (retain) assert_true(test_same_bits(kept, kept_too));
    }
}

/* ---- what goes wrong -------------------------------------------------------------------- */

typedef void (*point_wrong)(attn_tape *t, int run, const attn_var *in, attn_var *out);

typedef struct point_trouble {
    point_wrong wrong;
    int runs;
} point_trouble;

static void point_run_wrong(attn_tape *t, void *user, const attn_var *in, attn_var *out)
{
    point_trouble *trouble = user;
    trouble->wrong(t, trouble->runs++, in, out);
}

static void wrong_empty(attn_tape *t, int run, const attn_var *in, attn_var *out)
{
    (void)t, (void)run, (void)in, (void)out;
}

static void wrong_param(attn_tape *t, int run, const attn_var *in, attn_var *out)
{
    float one = 1;
    (void)run;
    out[0] = attn_tape_mul(t, in[0], attn_tape_param(t, ATTN_TENSOR(&one, F32, 1)));
}

static void wrong_backward(attn_tape *t, int run, const attn_var *in, attn_var *out)
{
    (void)run;
    out[0] = attn_tape_mean(t, in[0], ATTN_ALL, false);
    (void)attn_tape_backward(t, out[0], NULL);
}

static void wrong_shape(attn_tape *t, int run, const attn_var *in, attn_var *out)
{
    (void)run;
    out[0] = attn_tape_matmul(t, in[0], in[0]);
}

/* In the first run these are good. */
static void wrong_later_shape(attn_tape *t, int run, const attn_var *in, attn_var *out)
{
    out[0] = attn_tape_sum(t, in[0], ATTN_DIMS(run), true);
}

static void wrong_later_constant(attn_tape *t, int run, const attn_var *in, attn_var *out)
{
    out[0] = run ? attn_tape_stop(t, in[0]) : attn_tape_neg(t, in[0]);
}

static void wrong_later_input(attn_tape *t, int run, const attn_var *in, attn_var *out)
{
    out[0] = run ? in[0] : attn_tape_neg(t, in[0]);
}

static void wrong_later_failure(attn_tape *t, int run, const attn_var *in, attn_var *out)
{
    out[0] = attn_tape_matmul(t, in[0], run ? in[0] : attn_tape_transpose(t, in[0], 0, 1));
}

static void wrong_reset(attn_tape *t, int run, const attn_var *in, attn_var *out)
{
    (void)run;
    attn_tape_reset(t);
    attn_tape_destroy(t);
    out[0] = attn_tape_neg(t, in[0]);
}

static const struct {
    point_wrong wrong;
    attn_status status; /* of the first run, or of the backward */
    bool later;
    const char *where, *part;
} wrongs[] = {
    {wrong_empty, ATTN_E_HANDLE, false, "attn_tape_checkpoint", "empty"},
    {wrong_param, ATTN_E_PARAM, false, "attn_tape_param", "segment"},
    {wrong_backward, ATTN_E_HANDLE, false, "attn_tape_backward", "checkpointed segment"},
    {wrong_shape, ATTN_E_SHAPE, false, "matmul", "expected"},
    {wrong_later_shape, ATTN_E_PARAM, true, "attn_tape_checkpoint", "second time"},
    {wrong_later_constant, ATTN_E_PARAM, true, "attn_tape_checkpoint", "second time"},
    {wrong_later_input, ATTN_E_PARAM, true, "attn_tape_checkpoint", "second time"},
    {wrong_later_failure, ATTN_E_SHAPE, true, "matmul", "expected"},
    {wrong_reset, ATTN_OK, true, "", ""},
};

static void point_wrongs(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrongs / sizeof wrongs[0]; i++) {
        const int64_t live = meter.live;
        attn_tape *t = point_tape(false);
        point_trouble trouble = {wrongs[i].wrong, 0};
        attn_var x = attn_tape_param(t, point_normal(5, 2, 3)), out;
        const bool ok = attn_tape_checkpoint(t, point_run_wrong, &trouble, 1, &x, 1, &out);
        assert_int_equal(ok, wrongs[i].later);
        assert_true(ok || out.tape == NULL);
        attn_var mean = attn_tape_mean(t, out, ATTN_ALL, false);
        const size_t before = attn_tape_memory(t);
        if (ok) (void)attn_tape_backward(t, mean, NULL);
        expect_error(t, wrongs[i].status, wrongs[i].where, wrongs[i].part);
        attn_tape_zero_grads(t);
        assert_true(attn_tape_memory(t) <= before);
        attn_var y = attn_tape_mean(t, attn_tape_exp(t, x), ATTN_ALL, false);
        assert_int_equal(attn_tape_backward(t, y, NULL), ATTN_OK);
        attn_tape_destroy(t);
        assert_int_equal(meter.live, live);
    }
}

static void point_leak_handle(attn_tape *t, void *user, const attn_var *in, attn_var *out)
{
    out[0] = attn_tape_neg(t, *(attn_var *)user = attn_tape_exp(t, in[0]));
}

static void point_refusals(void **state)
{
    (void)state;
    attn_tape *t = point_tape(false), *other = point_tape(false);
    attn_var x = attn_tape_param(t, point_normal(5, 2, 3)), out, inside = {0};
    attn_var far = attn_tape_scalar(other, 1);
    assert_false(attn_tape_checkpoint(t, NULL, NULL, 1, &x, 1, &out));
    expect_error(t, ATTN_E_NULL, "attn_tape_checkpoint", "no function");
    assert_false(attn_tape_checkpoint(t, point_leak_handle, &inside, 1, &x, 1, NULL));
    expect_error(t, ATTN_E_NULL, "attn_tape_checkpoint", "no place");
    assert_false(attn_tape_checkpoint(t, point_leak_handle, &inside, 1, &far, 1, &out));
    expect_error(t, ATTN_E_HANDLE, "attn_tape_checkpoint", "another tape");
    assert_true(attn_tape_checkpoint(t, point_leak_handle, &inside, 1, &x, 1, &out));
    (void)attn_tape_exp(t, inside);
    expect_error(t, ATTN_E_HANDLE, "exp", "inside a checkpoint");
    assert_false(attn_tape_checkpoint(NULL, point_leak_handle, &inside, 1, &x, 1, &out));
    attn_tape_destroy(t);
    attn_tape_destroy(other);
}

/* Allocation k fails: E_MEMORY, nothing leaks, and after a clear the tape does it all. */
static void point_failing(void **state)
{
    (void)state;
    const attn_tensor xs = point_normal(1, 3, 4), ws = point_normal(2, 4, 4);
    point_mode mode = {.outer = true, .inner = true};
    for (int64_t k = 0;; k++) {
        const int64_t live = meter.live;
        attn_tape *t = point_tape(false);
        attn_status s = ATTN_OK;
        for (int again = 0; again < 2; again++) {
            meter.calls = 0;
            meter.fail_at = again ? -1 : k;
            attn_var w = attn_tape_param(t, ws);
            attn_var y = point_model(t, &mode, attn_tape_input(t, xs), w);
            s = attn_tape_backward(t, y, NULL);
            meter.fail_at = -1;
            if (again || s == ATTN_OK) break;
            assert_int_equal(s, ATTN_E_MEMORY);
            attn_tape_clear(t);
        }
        assert_int_equal(s, ATTN_OK);
        attn_tape_destroy(t);
        assert_int_equal(meter.live, live);
        if (meter.calls <= k) return;
        assert_true(k < 5000);
    }
}

/* ---- the program ------------------------------------------------------------------------ */

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(point_bits),   CASE(point_peak),     CASE(point_compute), CASE(point_odd_results),
        CASE(point_wrongs), CASE(point_refusals), CASE(point_failing)};
    return cmocka_run_group_tests(tests, tape_setup, tape_finish);
}
