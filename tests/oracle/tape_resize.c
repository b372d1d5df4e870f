/* SPDX-License-Identifier: MIT
 * Pictures at other sizes and places: every output looks at every pixel and weighs it by how
 * near it stands, max(0, 1 - |distance|) along each axis. */
#include <math.h>

#include "tape_case.h"

static double resize_near(double place, int64_t pixel)
{
    const double away = fabs(place - (double)pixel);
    return away < 1 ? 1 - away : 0;
}

static double resize_look(const double *plane, const int64_t *size, double y, double x)
{
    double sum = 0;
    for (int64_t i = 0; i < size[0]; i++)
        for (int64_t j = 0; j < size[1]; j++)
            sum += resize_near(y, i) * resize_near(x, j) * plane[i * size[1] + j];
    return sum;
}

static void resize_draw_x(tape_draw *d, int64_t least)
{
    const int64_t shape[4] = {tape_size(d, 0), tape_size(d, 0), tape_size(d, least),
                              tape_size(d, least)};
    tape_reals(d, 4, shape, true);
}

/* ---- upsampling: dims; i[0] corners ----------------------------------------------------- */

static void upsample_draw(tape_draw *d)
{
    resize_draw_x(d, 1);
    d->i[0] = test_rng_chance(d->rng, 50);
    d->dims = (attn_dims){2, {test_rng_range(d->rng, 0, 11), test_rng_range(d->rng, 0, 11)}};
}

/* Where output o of n stands among n_in pixels; those beyond the border count as on it. */
static double upsample_place(const tape_draw *d, int axis, int64_t o)
{
    const double n_in = (double)d->in[0].shape[2 + axis], n = (double)d->dims.at[axis];
    double place = ((double)o + 0.5) * n_in / n - 0.5;
    if (d->i[0]) place = n > 1 ? (double)o * (n_in - 1) / (n - 1) : 0;
    if (place < 0) place = 0;
    return place > n_in - 1 ? n_in - 1 : place;
}

static void upsample_oracle(const tape_draw *d, const double *in, const attn_tensor *y,
                            double *out, double (*place)(const tape_draw *, int, int64_t))
{
    const int64_t *size = &d->in[0].shape[2], high = y->shape[2], wide = y->shape[3];
    for (int64_t plane = 0; plane < y->shape[0] * y->shape[1]; plane++)
        for (int64_t i = 0; i < high; i++)
            for (int64_t j = 0; j < wide; j++)
                out[(plane * high + i) * wide + j] = resize_look(
                    in + plane * size[0] * size[1], size, place(d, 0, i), place(d, 1, j));
}

static void upsample_bilinear_apply(attn_tape *t, const tape_draw *d, const attn_var *in,
                                    attn_var *out)
{
    out[0] = attn_tape_upsample_bilinear(t, in[0], d->dims, d->i[0]);
}

static void upsample_bilinear_oracle(const tape_draw *d, const double *const *in,
                                     const attn_tensor *shape, double *const *out)
{
    upsample_oracle(d, in[0], shape, out[0], upsample_place);
}

const tape_case tape_case_upsample_bilinear = {
    "upsample_bilinear", 1, upsample_draw, upsample_bilinear_apply, upsample_bilinear_oracle,
    .exact = false};

static void upsample_nearest_apply(attn_tape *t, const tape_draw *d, const attn_var *in,
                                   attn_var *out)
{
    out[0] = attn_tape_upsample_nearest(t, in[0], d->dims);
}

/* The last pixel that does not stand behind the output. */
static double nearest_place(const tape_draw *d, int axis, int64_t o)
{
    const int64_t n_in = d->in[0].shape[2 + axis], n = d->dims.at[axis];
    int64_t pixel = 0;
    while ((pixel + 1) * n <= o * n_in) pixel++;
    return (double)pixel;
}

static void upsample_nearest_oracle(const tape_draw *d, const double *const *in,
                                    const attn_tensor *shape, double *const *out)
{
    upsample_oracle(d, in[0], shape, out[0], nearest_place);
}

const tape_case tape_case_upsample_nearest = {"upsample_nearest",      1,
                                              upsample_draw,           upsample_nearest_apply,
                                              upsample_nearest_oracle, .exact = true};

/* ---- grid_sample: i[0] 1 corners, 2 pixels ---------------------------------------------- */

/* A coordinate that stands between two pixels, inside or near; or far outside. */
static double grid_draw_coordinate(tape_draw *d, int64_t n)
{
    const double part = 0.1 + 0.8 * test_rng_uniform(d->rng);
    const double place = (double)test_rng_range(d->rng, -2, n) + part;
    if (test_rng_chance(d->rng, 3)) return 1e30;
    if (d->i[0] == 2) return place;
    if (d->i[0]) return n > 1 ? 2 * place / (double)(n - 1) - 1 : part;
    return n > 0 ? (2 * place + 1) / (double)n - 1 : part;
}

static void grid_sample_draw(tape_draw *d)
{
    resize_draw_x(d, 0);
    int64_t index[4] = {0};
    const int64_t shape[4] = {d->in[0].shape[0], tape_size(d, 0), tape_size(d, 0), 2};
    d->i[0] = test_rng_range(d->rng, 0, 2);
    const attn_tensor *grid = tape_reals(d, 4, shape, true);
    if (test_tensor_empty(grid)) return;
    do test_put(grid, index, grid_draw_coordinate(d, d->in[0].shape[3 - index[3]]));
    while (test_index_next(grid, index));
}

static void grid_sample_apply(attn_tape *t, const tape_draw *d, const attn_var *in,
                              attn_var *out)
{
    out[0] = d->i[0] == 2 ? attn_tape_pixel_sample(t, in[0], in[1])
                          : attn_tape_grid_sample(t, in[0], in[1], d->i[0]);
}

static double grid_place(const tape_draw *d, double at, int64_t n)
{
    if (d->i[0] == 2) return at;
    return d->i[0] ? (at + 1) / 2 * (double)(n - 1) : ((at + 1) * (double)n - 1) / 2;
}

static void grid_sample_oracle(const tape_draw *d, const double *const *in,
                               const attn_tensor *shape, double *const *out)
{
    const int64_t *size = &d->in[0].shape[2], places = shape->shape[2] * shape->shape[3];
    const int64_t channels = shape->shape[1];
    for (int64_t plane = 0; plane < shape->shape[0] * channels; plane++)
        for (int64_t i = 0; i < places; i++) {
            const double *at = in[1] + 2 * (plane / channels * places + i);
            out[0][plane * places + i] =
                resize_look(in[0] + plane * size[0] * size[1], size,
                            grid_place(d, at[1], size[0]), grid_place(d, at[0], size[1]));
        }
}

const tape_case tape_case_grid_sample = {
    "grid_sample", 1, grid_sample_draw, grid_sample_apply, grid_sample_oracle, .exact = false};

/* ---- pixel_shuffle and back: i[0] factor ------------------------------------------------ */

static void pixel_draw(tape_draw *d, bool shuffle)
{
    const int64_t f = test_rng_range(d->rng, 1, 3);
    int64_t shape[4] = {tape_size(d, 0), tape_size(d, 0), tape_size(d, 0), tape_size(d, 0)};
    if (shuffle)
        shape[1] *= f * f;
    else
        shape[2] *= f, shape[3] *= f;
    d->i[0] = f;
    tape_reals(d, 4, shape, true);
}

/* Every pixel of N C H f W f, and the place it has in N C f f H W. */
static void pixel_walk(const attn_tensor *fine, int64_t f, const double *from, double *to,
                       bool to_fine)
{
    const int64_t planes = fine->shape[0] * fine->shape[1];
    const int64_t high = fine->shape[2], wide = fine->shape[3];
    for (int64_t plane = 0; plane < planes; plane++)
        for (int64_t y = 0; y < high; y++)
            for (int64_t x = 0; x < wide; x++) {
                const int64_t channel = plane * f * f + y % f * f + x % f;
                const int64_t coarse = (channel * (high / f) + y / f) * (wide / f) + x / f;
                const int64_t at = (plane * high + y) * wide + x;
                to[to_fine ? at : coarse] = from[to_fine ? coarse : at];
            }
}

static void pixel_shuffle_draw(tape_draw *d)
{
    pixel_draw(d, true);
}

static void pixel_shuffle_apply(attn_tape *t, const tape_draw *d, const attn_var *in,
                                attn_var *out)
{
    out[0] = attn_tape_pixel_shuffle(t, in[0], d->i[0]);
}

static void pixel_shuffle_oracle(const tape_draw *d, const double *const *in,
                                 const attn_tensor *shape, double *const *out)
{
    pixel_walk(shape, d->i[0], in[0], out[0], true);
}

const tape_case tape_case_pixel_shuffle = {"pixel_shuffle",      1,
                                           pixel_shuffle_draw,   pixel_shuffle_apply,
                                           pixel_shuffle_oracle, .exact = true};

static void pixel_unshuffle_draw(tape_draw *d)
{
    pixel_draw(d, false);
}

static void pixel_unshuffle_apply(attn_tape *t, const tape_draw *d, const attn_var *in,
                                  attn_var *out)
{
    out[0] = attn_tape_pixel_unshuffle(t, in[0], d->i[0]);
}

static void pixel_unshuffle_oracle(const tape_draw *d, const double *const *in,
                                   const attn_tensor *shape, double *const *out)
{
    (void)shape;
    pixel_walk(&d->in[0], d->i[0], in[0], out[0], false);
}

const tape_case tape_case_pixel_unshuffle = {"pixel_unshuffle",      1,
                                             pixel_unshuffle_draw,   pixel_unshuffle_apply,
                                             pixel_unshuffle_oracle, .exact = true};
