/* SPDX-License-Identifier: MIT
 * Convolutions straight from their definition: every pair of a position and a tap meets one
 * pixel, or padding. A transpose sends along the pairs what the other receives. */
#include <string.h>

#include "tape_case.h"

typedef struct conv_sizes {
    int64_t n, groups, image_c, grid_c, image[2], grid[2], kernel[2];
    attn_conv conv; /* without zeros, axis 0 being 1 high for a series */
} conv_sizes;

static int64_t conv_one(int64_t x)
{
    return x == 0 ? 1 : x;
}

/* object: the attn_conv; i[0]: NULL in its place; i[1]: transpose. */
static conv_sizes conv_sizes_of(const tape_draw *d, const attn_tensor *y)
{
    const attn_conv *c = d->object;
    const attn_tensor *x = &d->in[0], *w = &d->in[1];
    const attn_tensor *image = d->i[1] ? y : x, *grid = d->i[1] ? x : y;
    const bool series = x->rank == 3;
    conv_sizes s = {x->shape[0],     conv_one(c->groups),
                    image->shape[1], grid->shape[1],
                    {1, 1},          {1, 1},
                    {1, 1},          *c};
    for (int axis = series; axis < 2; axis++) {
        const int at = series ? 0 : axis;
        s.image[axis] = image->shape[2 + at];
        s.grid[axis] = grid->shape[2 + at];
        s.kernel[axis] = w->shape[2 + at];
        s.conv.stride[axis] = conv_one(c->stride[at]);
        s.conv.dilation[axis] = conv_one(c->dilation[at]);
        s.conv.padding[axis] = c->padding[at];
    }
    if (series) s.conv.stride[0] = s.conv.dilation[0] = 1, s.conv.padding[0] = 0;
    return s;
}

/* ---- drawing ---------------------------------------------------------------------------- */

static void conv_draw_numbers(tape_draw *d, attn_conv *c, bool transpose, const bool plain)
{
    for (int axis = 0; axis < 2 && !plain; axis++) {
        c->stride[axis] = test_rng_range(d->rng, 0, 3);
        c->dilation[axis] = test_rng_range(d->rng, 0, 3);
        c->padding[axis] = test_rng_range(d->rng, 0, 2);
        const int64_t stride = conv_one(c->stride[axis]), gap = conv_one(c->dilation[axis]);
        if (transpose)
            c->output_padding[axis] =
                test_rng_range(d->rng, 0, (stride > gap ? stride : gap) - 1);
    }
    c->groups = plain ? 0 : test_rng_range(d->rng, 0, 3);
}

/* A size of x that leaves something to come out. */
static int64_t conv_draw_size(tape_draw *d, const attn_conv *c, int at, int64_t kernel)
{
    const int64_t reach = conv_one(c->dilation[at]) * (kernel - 1) + 1;
    const int64_t padding = 2 * c->padding[at], more = tape_size(d, d->i[1]);
    if (!d->i[1]) return (reach > padding ? reach - padding : 0) + more;
    return reach > padding ? more : more + padding;
}

static void conv_draw(tape_draw *d, int rank, bool transpose)
{
    attn_conv *c = test_alloc(d->arena, sizeof *c);
    d->object = c;
    d->i[0] = test_rng_chance(d->rng, 10);
    d->i[1] = transpose;
    conv_draw_numbers(d, c, transpose, d->i[0]);
    const bool pointwise = test_rng_chance(d->rng, 15);
    const bool far = d->room == 0 && test_rng_chance(d->rng, 4); /* more than one piece */
    const int64_t most = far ? 1 : 3, groups = conv_one(c->groups);
    const int64_t in = test_rng_range(d->rng, 0, most);
    const int64_t out = groups * test_rng_range(d->rng, 0, most);
    int64_t x[4] = {far ? 1 : tape_size(d, 0), groups * in}, w[4] = {out, in};
    if (transpose) w[0] = groups * in, w[1] = out / groups;
    for (int i = 2; i < rank; i++) {
        w[i] = pointwise ? 1 : test_rng_range(d->rng, 1, 4);
        x[i] = conv_draw_size(d, c, i - 2, w[i]) + (far && i == 2 ? 2400 / (rank - 2) : 0);
    }
    tape_reals(d, rank, x, true);
    tape_reals(d, rank, w, true);
    if (test_rng_chance(d->rng, 60))
        tape_reals(d, 1, &out, true);
    else
        tape_absent(d);
}

/* ---- the definition --------------------------------------------------------------------- */

/* The pixel that position p sees through tap k along an axis; outside: -1. */
static int64_t conv_pixel(const conv_sizes *s, int axis, int64_t p, int64_t k)
{
    const attn_conv *c = &s->conv;
    const int64_t at = p * c->stride[axis] - c->padding[axis] + k * c->dilation[axis];
    return at >= 0 && at < s->image[axis] ? at : -1;
}

/* One channel of the image, one of the grid, one sample: y += w x along every pair. */
static void conv_plane(const conv_sizes *s, const double *x, const double *w, double *y,
                       bool transpose)
{
    for (int64_t p = 0; p < s->grid[0]; p++)
        for (int64_t q = 0; q < s->grid[1]; q++)
            for (int64_t k = 0; k < s->kernel[0]; k++)
                for (int64_t l = 0; l < s->kernel[1]; l++) {
                    const int64_t i = conv_pixel(s, 0, p, k), j = conv_pixel(s, 1, q, l);
                    const int64_t pixel = i * s->image[1] + j, place = p * s->grid[1] + q;
                    if (i < 0 || j < 0) continue;
                    const double by = w[k * s->kernel[1] + l];
                    if (transpose)
                        y[pixel] += by * x[place];
                    else
                        y[place] += by * x[pixel];
                }
}

static void conv_oracle(const tape_draw *d, const double *const *in, const attn_tensor *shape,
                        double *const *out)
{
    const conv_sizes s = conv_sizes_of(d, shape);
    const bool transpose = d->i[1];
    const int64_t pixels = s.image[0] * s.image[1], places = s.grid[0] * s.grid[1];
    const int64_t taps = s.kernel[0] * s.kernel[1], each = s.image_c / s.groups;
    const int64_t size = transpose ? pixels : places, channels = shape->shape[1];
    for (int64_t n = 0; n < s.n; n++) {
        for (int64_t m = 0; m < channels && in[2]; m++)
            for (int64_t i = 0; i < size; i++) out[0][(n * channels + m) * size + i] = in[2][m];
        for (int64_t g = 0; g < s.grid_c; g++)
            for (int64_t c = 0; c < each; c++) {
                const int64_t own = g / (s.grid_c / s.groups) * each + c;
                const int64_t image = (n * s.image_c + own) * pixels;
                const int64_t grid = (n * s.grid_c + g) * places;
                conv_plane(&s, in[0] + (transpose ? grid : image),
                           in[1] + (g * each + c) * taps, out[0] + (transpose ? image : grid),
                           transpose);
            }
    }
}

/* ---- the four --------------------------------------------------------------------------- */

static const attn_conv *conv_given(const tape_draw *d)
{
    return d->i[0] ? NULL : d->object;
}

static void conv1d_draw(tape_draw *d)
{
    conv_draw(d, 3, false);
}

static void conv1d_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    out[0] = attn_tape_conv1d(t, in[0], in[1], in[2], conv_given(d));
}

const tape_case tape_case_conv1d = {"conv1d",     1,           conv1d_draw,
                                    conv1d_apply, conv_oracle, .exact = false};

static void conv2d_draw(tape_draw *d)
{
    conv_draw(d, 4, false);
}

static void conv2d_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    out[0] = attn_tape_conv2d(t, in[0], in[1], in[2], conv_given(d));
}

const tape_case tape_case_conv2d = {"conv2d",     1,           conv2d_draw,
                                    conv2d_apply, conv_oracle, .exact = false};

static void conv1d_transpose_draw(tape_draw *d)
{
    conv_draw(d, 3, true);
}

static void conv1d_transpose_apply(attn_tape *t, const tape_draw *d, const attn_var *in,
                                   attn_var *out)
{
    out[0] = attn_tape_conv1d_transpose(t, in[0], in[1], in[2], conv_given(d));
}

const tape_case tape_case_conv1d_transpose = {"conv1d_transpose",    1,
                                              conv1d_transpose_draw, conv1d_transpose_apply,
                                              conv_oracle,           .exact = false};

static void conv2d_transpose_draw(tape_draw *d)
{
    conv_draw(d, 4, true);
}

static void conv2d_transpose_apply(attn_tape *t, const tape_draw *d, const attn_var *in,
                                   attn_var *out)
{
    out[0] = attn_tape_conv2d_transpose(t, in[0], in[1], in[2], conv_given(d));
}

const tape_case tape_case_conv2d_transpose = {"conv2d_transpose",    1,
                                              conv2d_transpose_draw, conv2d_transpose_apply,
                                              conv_oracle,           .exact = false};
