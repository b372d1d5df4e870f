/* SPDX-License-Identifier: MIT
 * Convolution, pooling and resizing beyond what test_tape_ops asks of every operation: each bad
 * size has its status and a sentence with both numbers, large convolutions are cut into pieces
 * that cannot be seen, their sums do not drift, and ties, padding and NaN go where the page
 * says. */
#include "tape_refusal.h"

static float cube[96]; /* x: 2 4 3 4; w: 4 2 3 1; series: 2 4 12 */

static attn_tape *picture_open(attn_dtype dtype)
{
    for (int i = 0; i < 96; i++) cube[i] = (float)(i * 37 % 96);
    return tape_new(&ATTN_TAPE_CONFIG(.dtype = dtype));
}

/* ---- refusals --------------------------------------------------------------------------- */

static const attn_var nothing;

struct operands {
    attn_var x, w, series;
};

#define BIG       (INT64_C(1) << 40)
#define CONV(...) (&(attn_conv){__VA_ARGS__})
#define POOL(...) (&(attn_pool){__VA_ARGS__})

REFUSED(conv_nothing, attn_tape_conv2d(t, v->x, nothing, nothing, NULL))
REFUSED(conv_rank, attn_tape_conv1d(t, v->x, v->w, nothing, NULL))
REFUSED(conv_stride, attn_tape_conv2d(t, v->x, v->w, nothing, CONV(.stride = {1, -2})))
REFUSED(conv_dilation, attn_tape_conv2d(t, v->x, v->w, nothing, CONV(.dilation = {-1, 1})))
REFUSED(conv_padding, attn_tape_conv2d(t, v->x, v->w, nothing, CONV(.padding = {0, -3})))
REFUSED(conv_limit, attn_tape_conv2d(t, v->x, v->w, nothing, CONV(.padding = {0, BIG})))
REFUSED(conv_groups, attn_tape_conv2d(t, v->x, v->w, nothing, CONV(.groups = -1)))
REFUSED(conv_uneven, attn_tape_conv2d(t, v->x, v->w, nothing, CONV(.groups = 3)))
REFUSED(conv_channels, attn_tape_conv2d(t, v->x, v->w, nothing, NULL))
REFUSED(conv_filters, attn_tape_conv2d(t, v->x, attn_tape_slice(t, v->w, 0, 0, 3), nothing,
                                       CONV(.groups = 2)))
REFUSED(conv_kernel,
        attn_tape_conv2d(t, v->x, v->w, nothing, CONV(.groups = 2, .dilation = {2, 1})))
REFUSED(conv_no_kernel, attn_tape_conv2d(t, v->x, attn_tape_slice(t, v->w, 2, 0, 0), nothing,
                                         CONV(.groups = 2)))
REFUSED(conv_bias,
        attn_tape_conv2d(t, v->x, v->w, attn_tape_reshape(t, v->series, ATTN_DIMS(96)),
                         CONV(.groups = 2)))
REFUSED(conv_bias_rank, attn_tape_conv2d(t, v->x, v->w, v->x, CONV(.groups = 2)))
REFUSED(back_channels,
        attn_tape_conv2d_transpose(t, attn_tape_slice(t, v->x, 1, 0, 2), v->w, nothing, NULL))
REFUSED(back_padding,
        attn_tape_conv2d_transpose(t, v->x, v->w, nothing, CONV(.padding = {3, 0})))
REFUSED(back_extra,
        attn_tape_conv2d_transpose(t, v->x, v->w, nothing,
                                   CONV(.stride = {2, 2}, .output_padding = {0, 2})))
REFUSED(pool_null, attn_tape_max_pool(t, v->x, NULL))
REFUSED(pool_series, attn_tape_max_pool(t, v->series, POOL(.size = {2, 2})))
REFUSED(pool_no_size, attn_tape_avg_pool(t, v->series, POOL(.stride = {1})))
REFUSED(pool_stride, attn_tape_avg_pool(t, v->x, POOL(.size = {2, 2}, .stride = {-1, 1})))
REFUSED(pool_padding, attn_tape_max_pool(t, v->x, POOL(.size = {2, 3}, .padding = {1, 2})))
REFUSED(pool_window, attn_tape_avg_pool(t, v->x, POOL(.size = {4, 1})))
REFUSED(pool_reach, attn_tape_max_pool(t, v->series, POOL(.size = {3}, .dilation = {6})))
REFUSED(pool_hole,
        attn_tape_max_pool(t, v->x,
                           POOL(.size = {2, 1}, .dilation = {4, 1}, .padding = {1, 0})))
REFUSED(pool_sizes, attn_tape_adaptive_avg_pool(t, v->x, ATTN_DIMS(3)))
REFUSED(pool_negative, attn_tape_adaptive_max_pool(t, v->x, ATTN_DIMS(3, -1)))
REFUSED(pool_empty,
        attn_tape_adaptive_max_pool(t, attn_tape_slice(t, v->x, 2, 0, 0), ATTN_DIMS(2, 2)))
REFUSED(resize_sizes, attn_tape_upsample_bilinear(t, v->x, ATTN_DIMS(3), true))
REFUSED(resize_negative, attn_tape_upsample_nearest(t, v->x, ATTN_DIMS(3, -2)))
REFUSED(resize_empty,
        attn_tape_upsample_nearest(t, attn_tape_slice(t, v->x, 3, 0, 0), ATTN_DIMS(3, 2)))
REFUSED(resize_limit, attn_tape_upsample_nearest(t, v->x, ATTN_DIMS(BIG, 2)))
REFUSED(grid_last, attn_tape_grid_sample(t, v->x, v->x, true))
REFUSED(grid_samples,
        attn_tape_grid_sample(t, v->x, attn_tape_reshape(t, v->x, ATTN_DIMS(4, 3, 4, 2)), true))
REFUSED(shuffle_factor, attn_tape_pixel_shuffle(t, v->x, 0))
REFUSED(shuffle_channels, attn_tape_pixel_shuffle(t, v->x, 3))
REFUSED(unshuffle_sizes, attn_tape_pixel_unshuffle(t, v->x, 2))

static const refusal refusals[] = {
    {conv_nothing, ATTN_E_NULL, "conv2d", NO_SIZES},
    {conv_rank, ATTN_E_RANK, "conv1d", SIZES(3, 4)},
    {conv_stride, ATTN_E_PARAM, "conv2d", SIZES(1, -2)},
    {conv_dilation, ATTN_E_PARAM, "conv2d", SIZES(1, -1)},
    {conv_padding, ATTN_E_PARAM, "conv2d", SIZES(0, -3)},
    {conv_limit, ATTN_E_LIMIT, "conv2d", SIZES(1 << 30, BIG)},
    {conv_groups, ATTN_E_PARAM, "conv2d", SIZES(1, -1)},
    {conv_uneven, ATTN_E_SHAPE, "conv2d", SIZES(3, 4)},
    {conv_channels, ATTN_E_SHAPE, "conv2d", SIZES(4, 2)},
    {conv_filters, ATTN_E_SHAPE, "conv2d", SIZES(2, 3)},
    {conv_kernel, ATTN_E_SHAPE, "conv2d", SIZES(3, 5)},
    {conv_no_kernel, ATTN_E_SHAPE, "conv2d", SIZES(1, 0)},
    {conv_bias, ATTN_E_SHAPE, "conv2d", SIZES(4, 96)},
    {conv_bias_rank, ATTN_E_RANK, "conv2d", SIZES(1, 4)},
    {back_channels, ATTN_E_SHAPE, "conv2d_transpose", SIZES(2, 4)},
    {back_padding, ATTN_E_SHAPE, "conv2d_transpose", SIZES(1, -1)},
    {back_extra, ATTN_E_PARAM, "conv2d_transpose", SIZES(1, 2)},
    {pool_null, ATTN_E_NULL, "max_pool", SIZES(1, 0)},
    {pool_series, ATTN_E_RANK, "max_pool", SIZES(4, 3)},
    {pool_no_size, ATTN_E_PARAM, "avg_pool", SIZES(1, 0)},
    {pool_stride, ATTN_E_PARAM, "avg_pool", SIZES(1, -1)},
    {pool_padding, ATTN_E_PARAM, "max_pool", SIZES(1, 2)},
    {pool_window, ATTN_E_SHAPE, "avg_pool", SIZES(3, 4)},
    {pool_reach, ATTN_E_SHAPE, "max_pool", SIZES(12, 13)},
    {pool_hole, ATTN_E_PARAM, "max_pool", SIZES(3, 4)},
    {pool_sizes, ATTN_E_SHAPE, "adaptive_avg_pool", SIZES(2, 1)},
    {pool_negative, ATTN_E_PARAM, "adaptive_max_pool", SIZES(0, -1)},
    {pool_empty, ATTN_E_SHAPE, "adaptive_max_pool", SIZES(0, 2)},
    {resize_sizes, ATTN_E_SHAPE, "upsample_bilinear", SIZES(2, 1)},
    {resize_negative, ATTN_E_PARAM, "upsample_nearest", SIZES(0, -2)},
    {resize_empty, ATTN_E_SHAPE, "upsample_nearest", SIZES(0, 2)},
    {resize_limit, ATTN_E_LIMIT, "upsample_nearest", SIZES(1 << 30, BIG)},
    {grid_last, ATTN_E_SHAPE, "grid_sample", SIZES(2, 4)},
    {grid_samples, ATTN_E_SHAPE, "grid_sample", SIZES(2, 4)},
    {shuffle_factor, ATTN_E_PARAM, "pixel_shuffle", SIZES(1, 0)},
    {shuffle_channels, ATTN_E_SHAPE, "pixel_shuffle", SIZES(9, 4)},
    {unshuffle_sizes, ATTN_E_SHAPE, "pixel_unshuffle", SIZES(2, 3)},
};

static void picture_works(attn_tape *t, const operands *v)
{
    const attn_var y = attn_tape_max_pool(t, v->x, POOL(.size = {3, 2}));
    assert_int_equal(attn_tape_value(t, y).shape[3], 2);
}

static void test_refusals(void **state)
{
    (void)state;
    attn_tape *t = picture_open(ATTN_DTYPE_F32);
    const operands v = {.x = attn_tape_param(t, ATTN_TENSOR(cube, F32, 2, 4, 3, 4)),
                        .w = attn_tape_param(t, ATTN_TENSOR(cube, F32, 4, 2, 3, 1)),
                        .series = attn_tape_param(t, ATTN_TENSOR(cube, F32, 2, 4, 12))};
    refusals_walk(t, REFUSALS(refusals), &v, picture_works);
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
    expect_fine(t);
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
        CASE(test_refusals),
        CASE(test_conv_in_pieces),
        CASE(test_conv_sums_do_not_drift),
        CASE(test_max_pool_takes_the_first),
        CASE(test_padding_never_wins),
        CASE(test_grid_sample_nan),
    };
    return cmocka_run_group_tests(tests, tape_setup, tape_finish);
}
