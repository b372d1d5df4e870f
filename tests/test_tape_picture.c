/* SPDX-License-Identifier: MIT
 * Convolution, pooling and resizing beyond what test_tape_ops asks of every operation: each bad
 * size has its status and a sentence with both numbers, large convolutions are cut into pieces
 * that cannot be seen, their sums do not drift, and ties, padding and NaN go where the page
 * says. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "attn/tape.h"

static float cube[96]; /* x: 2 4 3 4; w: 4 2 3 1; series: 2 4 12 */

static attn_tape *picture_open(attn_dtype dtype)
{
    attn_tape *t;
    const attn_tape_config config = {.size = sizeof config, .dtype = dtype};
    assert_int_equal(attn_tape_create(&t, NULL, &config, NULL), ATTN_OK);
    for (int i = 0; i < 96; i++) cube[i] = (float)(i * 37 % 96);
    return t;
}

static void picture_is_fine(const attn_tape *t)
{
    attn_error error;
    if (attn_tape_status(t, &error) != ATTN_OK) fail_msg("%s: %s", error.where, error.what);
}

/* ---- refusals --------------------------------------------------------------------------- */

typedef struct picture {
    attn_tape *t;
    attn_var x, w, series, none;
} picture;

#define BIG (INT64_C(1) << 40)
#define REFUSED(name, call)                                                                    \
    static void name(const picture *p)                                                         \
    {                                                                                          \
        attn_tape *t = p->t;                                                                   \
        (void)(call);                                                                          \
    }
#define CONV(...) (&(attn_conv){__VA_ARGS__})
#define POOL(...) (&(attn_pool){__VA_ARGS__})

REFUSED(conv_nothing, attn_tape_conv2d(t, p->x, p->none, p->none, NULL))
REFUSED(conv_rank, attn_tape_conv1d(t, p->x, p->w, p->none, NULL))
REFUSED(conv_stride, attn_tape_conv2d(t, p->x, p->w, p->none, CONV(.stride = {1, -2})))
REFUSED(conv_dilation, attn_tape_conv2d(t, p->x, p->w, p->none, CONV(.dilation = {-1, 1})))
REFUSED(conv_padding, attn_tape_conv2d(t, p->x, p->w, p->none, CONV(.padding = {0, -3})))
REFUSED(conv_limit, attn_tape_conv2d(t, p->x, p->w, p->none, CONV(.padding = {0, BIG})))
REFUSED(conv_groups, attn_tape_conv2d(t, p->x, p->w, p->none, CONV(.groups = -1)))
REFUSED(conv_uneven, attn_tape_conv2d(t, p->x, p->w, p->none, CONV(.groups = 3)))
REFUSED(conv_channels, attn_tape_conv2d(t, p->x, p->w, p->none, NULL))
REFUSED(conv_filters, attn_tape_conv2d(t, p->x, attn_tape_slice(t, p->w, 0, 0, 3), p->none,
                                       CONV(.groups = 2)))
REFUSED(conv_kernel,
        attn_tape_conv2d(t, p->x, p->w, p->none, CONV(.groups = 2, .dilation = {2, 1})))
REFUSED(conv_no_kernel, attn_tape_conv2d(t, p->x, attn_tape_slice(t, p->w, 2, 0, 0), p->none,
                                         CONV(.groups = 2)))
REFUSED(conv_bias,
        attn_tape_conv2d(t, p->x, p->w, attn_tape_reshape(t, p->series, ATTN_DIMS(96)),
                         CONV(.groups = 2)))
REFUSED(conv_bias_rank, attn_tape_conv2d(t, p->x, p->w, p->x, CONV(.groups = 2)))
REFUSED(back_channels,
        attn_tape_conv2d_transpose(t, attn_tape_slice(t, p->x, 1, 0, 2), p->w, p->none, NULL))
REFUSED(back_padding,
        attn_tape_conv2d_transpose(t, p->x, p->w, p->none, CONV(.padding = {3, 0})))
REFUSED(back_extra,
        attn_tape_conv2d_transpose(t, p->x, p->w, p->none,
                                   CONV(.stride = {2, 2}, .output_padding = {0, 2})))
REFUSED(pool_null, attn_tape_max_pool(t, p->x, NULL))
REFUSED(pool_series, attn_tape_max_pool(t, p->series, POOL(.size = {2, 2})))
REFUSED(pool_no_size, attn_tape_avg_pool(t, p->series, POOL(.stride = {1})))
REFUSED(pool_stride, attn_tape_avg_pool(t, p->x, POOL(.size = {2, 2}, .stride = {-1, 1})))
REFUSED(pool_padding, attn_tape_max_pool(t, p->x, POOL(.size = {2, 3}, .padding = {1, 2})))
REFUSED(pool_window, attn_tape_avg_pool(t, p->x, POOL(.size = {4, 1})))
REFUSED(pool_reach, attn_tape_max_pool(t, p->series, POOL(.size = {3}, .dilation = {6})))
REFUSED(pool_hole,
        attn_tape_max_pool(t, p->x,
                           POOL(.size = {2, 1}, .dilation = {4, 1}, .padding = {1, 0})))
REFUSED(pool_sizes, attn_tape_adaptive_avg_pool(t, p->x, ATTN_DIMS(3)))
REFUSED(pool_negative, attn_tape_adaptive_max_pool(t, p->x, ATTN_DIMS(3, -1)))
REFUSED(pool_empty,
        attn_tape_adaptive_max_pool(t, attn_tape_slice(t, p->x, 2, 0, 0), ATTN_DIMS(2, 2)))
REFUSED(resize_sizes, attn_tape_upsample_bilinear(t, p->x, ATTN_DIMS(3), true))
REFUSED(resize_negative, attn_tape_upsample_nearest(t, p->x, ATTN_DIMS(3, -2)))
REFUSED(resize_empty,
        attn_tape_upsample_nearest(t, attn_tape_slice(t, p->x, 3, 0, 0), ATTN_DIMS(3, 2)))
REFUSED(resize_limit, attn_tape_upsample_nearest(t, p->x, ATTN_DIMS(BIG, 2)))
REFUSED(grid_last, attn_tape_grid_sample(t, p->x, p->x, true))
REFUSED(grid_samples,
        attn_tape_grid_sample(t, p->x, attn_tape_reshape(t, p->x, ATTN_DIMS(4, 3, 4, 2)), true))
REFUSED(shuffle_factor, attn_tape_pixel_shuffle(t, p->x, 0))
REFUSED(shuffle_channels, attn_tape_pixel_shuffle(t, p->x, 3))
REFUSED(unshuffle_sizes, attn_tape_pixel_unshuffle(t, p->x, 2))
typedef struct refusal {
    void (*call)(const picture *p);
    attn_status status;
    const char *where;
    int64_t want, got; /* -9: says no sizes */
} refusal;

static const refusal refusals[] = {
    {conv_nothing, ATTN_E_NULL, "conv2d", -9, -9},
    {conv_rank, ATTN_E_RANK, "conv1d", 3, 4},
    {conv_stride, ATTN_E_PARAM, "conv2d", 1, -2},
    {conv_dilation, ATTN_E_PARAM, "conv2d", 1, -1},
    {conv_padding, ATTN_E_PARAM, "conv2d", 0, -3},
    {conv_limit, ATTN_E_LIMIT, "conv2d", 1 << 30, BIG},
    {conv_groups, ATTN_E_PARAM, "conv2d", 1, -1},
    {conv_uneven, ATTN_E_SHAPE, "conv2d", 3, 4},
    {conv_channels, ATTN_E_SHAPE, "conv2d", 4, 2},
    {conv_filters, ATTN_E_SHAPE, "conv2d", 2, 3},
    {conv_kernel, ATTN_E_SHAPE, "conv2d", 3, 5},
    {conv_no_kernel, ATTN_E_SHAPE, "conv2d", 1, 0},
    {conv_bias, ATTN_E_SHAPE, "conv2d", 4, 96},
    {conv_bias_rank, ATTN_E_RANK, "conv2d", 1, 4},
    {back_channels, ATTN_E_SHAPE, "conv2d_transpose", 2, 4},
    {back_padding, ATTN_E_SHAPE, "conv2d_transpose", 1, -1},
    {back_extra, ATTN_E_PARAM, "conv2d_transpose", 1, 2},
    {pool_null, ATTN_E_NULL, "max_pool", 1, 0},
    {pool_series, ATTN_E_RANK, "max_pool", 4, 3},
    {pool_no_size, ATTN_E_PARAM, "avg_pool", 1, 0},
    {pool_stride, ATTN_E_PARAM, "avg_pool", 1, -1},
    {pool_padding, ATTN_E_PARAM, "max_pool", 1, 2},
    {pool_window, ATTN_E_SHAPE, "avg_pool", 3, 4},
    {pool_reach, ATTN_E_SHAPE, "max_pool", 12, 13},
    {pool_hole, ATTN_E_PARAM, "max_pool", 3, 4},
    {pool_sizes, ATTN_E_SHAPE, "adaptive_avg_pool", 2, 1},
    {pool_negative, ATTN_E_PARAM, "adaptive_max_pool", 0, -1},
    {pool_empty, ATTN_E_SHAPE, "adaptive_max_pool", 0, 2},
    {resize_sizes, ATTN_E_SHAPE, "upsample_bilinear", 2, 1},
    {resize_negative, ATTN_E_PARAM, "upsample_nearest", 0, -2},
    {resize_empty, ATTN_E_SHAPE, "upsample_nearest", 0, 2},
    {resize_limit, ATTN_E_LIMIT, "upsample_nearest", 1 << 30, BIG},
    {grid_last, ATTN_E_SHAPE, "grid_sample", 2, 4},
    {grid_samples, ATTN_E_SHAPE, "grid_sample", 2, 4},
    {shuffle_factor, ATTN_E_PARAM, "pixel_shuffle", 1, 0},
    {shuffle_channels, ATTN_E_SHAPE, "pixel_shuffle", 9, 4},
    {unshuffle_sizes, ATTN_E_SHAPE, "pixel_unshuffle", 2, 3},
};

static void refuse(attn_tape *t, const refusal *r)
{
    attn_error error;
    const picture p = {.t = t,
                       .x = attn_tape_param(t, ATTN_TENSOR(cube, F32, 2, 4, 3, 4)),
                       .w = attn_tape_param(t, ATTN_TENSOR(cube, F32, 4, 2, 3, 1)),
                       .series = attn_tape_param(t, ATTN_TENSOR(cube, F32, 2, 4, 12))};
    r->call(&p);
    assert_int_equal(attn_tape_status(t, &error), r->status);
    assert_string_equal(error.where, r->where);
    assert_true(strlen(error.what) > 10);
    if (error.counted != (r->want != -9)) fail_msg("%s: %s", error.where, error.what);
    if (error.counted && (error.want != r->want || error.got != r->got))
        fail_msg("%s: %s: %lld, %lld", error.where, error.what, (long long)error.want,
                 (long long)error.got);
}

static void test_refusals(void **state)
{
    (void)state;
    attn_tape *t = picture_open(ATTN_DTYPE_F32);
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        refuse(t, &refusals[i]);
        attn_tape_clear(t);
        const attn_var x = attn_tape_param(t, ATTN_TENSOR(cube, F32, 2, 4, 3, 4));
        const attn_var y = attn_tape_max_pool(t, x, POOL(.size = {3, 2}));
        assert_int_equal(attn_tape_value(t, y).shape[3], 2);
        picture_is_fine(t);
    }
    attn_tape_destroy(t);
}

/* ---- pieces ----------------------------------------------------------------------------- */

enum { SAMPLES = 3, DEEP = 40, HIGH = 31, WIDE = 37, FILTERS = 2, TAPS = 5 };

static double wave(int64_t i)
{
    return (double)(i * 7919 % 1009) / 1009 - 0.5;
}

/* One output pixel of a TAPS x TAPS kernel, padding 2, by its definition. */
static double piece_pixel(const double *x, const double *w, int64_t n, int64_t m, int64_t y,
                          int64_t z)
{
    double sum = 0;
    for (int64_t c = 0; c < DEEP; c++)
        for (int64_t k = 0; k < TAPS * TAPS; k++) {
            const int64_t i = y + k / TAPS - 2, j = z + k % TAPS - 2;
            if (i < 0 || j < 0 || i >= HIGH || j >= WIDE) continue;
            sum +=
                w[(m * DEEP + c) * TAPS * TAPS + k] * x[((n * DEEP + c) * HIGH + i) * WIDE + j];
        }
    return sum;
}

/* 1000 rows of columns leave room for 524 of 1147 positions: three pieces a sample. */
static void test_conv_in_pieces(void **state)
{
    (void)state;
    static double x[SAMPLES * DEEP * HIGH * WIDE], w[FILTERS * DEEP * TAPS * TAPS];
    static double dy[SAMPLES * FILTERS * HIGH * WIDE];
    for (int64_t i = 0; i < SAMPLES * DEEP * HIGH * WIDE; i++) x[i] = wave(i);
    for (int64_t i = 0; i < FILTERS * DEEP * TAPS * TAPS; i++) w[i] = wave(i + 5);
    for (int64_t i = 0; i < SAMPLES * FILTERS * HIGH * WIDE; i++) dy[i] = wave(i * i + 3);
    attn_tape *t = picture_open(ATTN_DTYPE_F64);
    const attn_var wv = attn_tape_param(t, ATTN_TENSOR(w, F64, FILTERS, DEEP, TAPS, TAPS));
    const attn_var xv = attn_tape_param(t, ATTN_TENSOR(x, F64, SAMPLES, DEEP, HIGH, WIDE));
    const attn_var y = attn_tape_conv2d(t, xv, wv, (attn_var){0}, CONV(.padding = {2, 2}));
    const double *got = attn_tape_value(t, y).data;
    double loss = 0, by_w = 0, by_x = 0;
    picture_is_fine(t);
    for (int64_t i = 0; i < SAMPLES * FILTERS * HIGH * WIDE; i++) {
        const int64_t plane = i / (HIGH * WIDE), at = i % (HIGH * WIDE);
        const double want =
            piece_pixel(x, w, plane / FILTERS, plane % FILTERS, at / WIDE, at % WIDE);
        if (!(fabs(got[i] - want) <= 1e-12 * 1000)) fail_msg("%g is not %g", got[i], want);
        loss += dy[i] * want;
    }
    const attn_tensor d = ATTN_TENSOR(dy, F64, SAMPLES, FILTERS, HIGH, WIDE);
    assert_int_equal(attn_tape_backward_from(t, 1, &y, &d, NULL), ATTN_OK);
    const double *dw = attn_tape_grad(t, wv).data, *dx = attn_tape_grad(t, xv).data;
    for (int64_t i = 0; i < FILTERS * DEEP * TAPS * TAPS; i++) by_w += dw[i] * w[i];
    for (int64_t i = 0; i < SAMPLES * DEEP * HIGH * WIDE; i++) by_x += dx[i] * x[i];
    assert_true(fabs(by_w - loss) <= 1e-9); /* linear in w and in x */
    assert_true(fabs(by_x - loss) <= 1e-9);
    attn_tape_destroy(t);
}

/* The gradient of one weight over 4 x 10^6 positions, where a chain of floats would be lost. */
static void test_conv_sums_do_not_drift(void **state)
{
    (void)state;
    const int64_t n = 4000000;
    float *x = malloc((size_t)n * sizeof *x), w = 1;
    double want = 0;
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++) want += (double)(x[i] = (float)(1 + wave(i)));
    attn_tape *t = picture_open(ATTN_DTYPE_F32);
    const attn_var wv = attn_tape_param(t, ATTN_TENSOR(&w, F32, 1, 1, 1));
    const attn_var xv = attn_tape_input(t, ATTN_TENSOR(x, F32, 1, 1, n));
    const attn_var y = attn_tape_conv1d(t, xv, wv, (attn_var){0}, NULL);
    const attn_tensor ones = {
        .data = (float[]){1}, .dtype = ATTN_DTYPE_F32, .rank = 3, .shape = {1, 1, n}};
    assert_int_equal(attn_tape_backward_from(t, 1, &y, &ones, NULL), ATTN_OK);
    const float got = *(float *)attn_tape_grad(t, wv).data;
    assert_true(fabs((double)got / want - 1) < 3e-7);
    attn_tape_destroy(t);
    free(x);
}

/* ---- ties and NaN ----------------------------------------------------------------------- */

static void test_max_pool_takes_the_first(void **state)
{
    (void)state;
    float x[8] = {3, 3, 1, 2, NAN, 2, NAN, -INFINITY}, dy[2] = {1, 10};
    const float want[8] = {1, 0, 0, 0, 10, 0, 0, 0};
    attn_tape *t = picture_open(ATTN_DTYPE_F32);
    const attn_var xv = attn_tape_param(t, ATTN_TENSOR(x, F32, 1, 1, 8));
    const attn_var y = attn_tape_max_pool(t, xv, POOL(.size = {4}));
    const attn_tensor d = ATTN_TENSOR(dy, F32, 1, 1, 2);
    assert_int_equal(attn_tape_backward_from(t, 1, &y, &d, NULL), ATTN_OK);
    const float *got = attn_tape_value(t, y).data;
    assert_true(got[0] == 3 && isnan(got[1]));
    assert_memory_equal(attn_tape_grad(t, xv).data, want, sizeof want);
    attn_tape_destroy(t);
}

/* Every window has a number below 0, so a 0 of the padding would show. */
static void test_padding_never_wins(void **state)
{
    (void)state;
    float x[3] = {-5, -INFINITY, -7};
    attn_tape *t = picture_open(ATTN_DTYPE_F32);
    const attn_var y = attn_tape_max_pool(t, attn_tape_input(t, ATTN_TENSOR(x, F32, 1, 1, 3)),
                                          POOL(.size = {2}, .stride = {1}, .padding = {1}));
    const float want[4] = {-5, -5, -7, -7};
    assert_memory_equal(attn_tape_value(t, y).data, want, sizeof want);
    attn_tape_destroy(t);
}

/* A lost coordinate loses its own result and nothing else. */
static void test_grid_sample_nan(void **state)
{
    (void)state;
    float x[4] = {1, 2, 3, 4}, grid[6] = {NAN, 0, 0, 0, INFINITY, 0}, dy[3] = {1, 1, 1};
    const float want[4] = {0.25f, 0.25f, 0.25f, 0.25f};
    attn_tape *t = picture_open(ATTN_DTYPE_F32);
    const attn_var xv = attn_tape_param(t, ATTN_TENSOR(x, F32, 1, 1, 2, 2));
    const attn_var gv = attn_tape_param(t, ATTN_TENSOR(grid, F32, 1, 1, 3, 2));
    const attn_var y = attn_tape_grid_sample(t, xv, gv, true);
    const attn_tensor d = ATTN_TENSOR(dy, F32, 1, 1, 1, 3);
    assert_int_equal(attn_tape_backward_from(t, 1, &y, &d, NULL), ATTN_OK);
    const float *got = attn_tape_value(t, y).data, *dg = attn_tape_grad(t, gv).data;
    assert_true(isnan(got[0]) && got[1] == 2.5f && got[2] == 0);
    assert_memory_equal(attn_tape_grad(t, xv).data, want, sizeof want);
    assert_true(isnan(dg[0]) && dg[2] == 0.5f && dg[3] == 1 && dg[4] == 0 && dg[5] == 0);
    attn_tape_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_conv_in_pieces),
        cmocka_unit_test(test_conv_sums_do_not_drift),
        cmocka_unit_test(test_max_pool_takes_the_first),
        cmocka_unit_test(test_padding_never_wins),
        cmocka_unit_test(test_grid_sample_nan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
