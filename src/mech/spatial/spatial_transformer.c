/* SPDX-License-Identifier: MIT
 * The spatial transformer: look at a picture through a window that may be moved, turned and
 * scaled.
 *
 *     (u, v)^T = theta (x, y, 1)^T   for every place of the result, coordinates in -1 .. 1
 *     out(y, x) = the picture at (v, u), bilinear, 0 outside
 *
 * x B C Y X; theta B 2 3 comes from a net of any kind that starts at the identity
 * (1 0 0; 0 1 0). With corners=false, -1 and 1 are the outer edges of the border pixels, with
 * corners=true their centres. Places are found in pixels around the middle of the picture, so
 * the identity and turns by 90 degrees of a square meet pixels exactly; there the gradient is
 * that of the cell to the right and below. Jaderberg et al. 2015 (1506.02025). */
#include "mech/mech.h"

enum { X, THETA, OUT };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B C Y X", "a picture"},
    [THETA] = {"theta", ATTN_IN | ATTN_GRAD, "B 2 3", "rows: where u and v come from"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B C Y X", "the picture seen through the window"},
    {0}};

enum { CORNERS };
static const attn_param params[] = {
    [CORNERS] = {"corners", 'b', "false", NULL, "-1 and 1 are centres, not edges"}, {0}};

/* Pixels by unit of a coordinate. */
static double transformer_unit(const attn__build *b, int64_t size)
{
    return (double)(b->params[CORNERS].i ? size - 1 : size) / 2;
}

typedef struct transformer_frame {
    int64_t high, wide;
    double units[2]; /* pixels by unit of x and of y */
} transformer_frame;

/* Elements of 2 x 3: what makes theta act on (x, y, 1) in pixels from the middle. */
static double transformer_length(const void *arg, int64_t i)
{
    const transformer_frame *f = arg;
    const double own = f->units[i / 3];
    if (i % 3 == 2) return own;
    return f->units[i % 3] > 0 ? own / f->units[i % 3] : 0;
}

/* Elements of YX x 3: (x, y, 1) of every pixel, from the middle. */
static double transformer_place(const void *arg, int64_t i)
{
    const transformer_frame *f = arg;
    const int64_t pixel = i / 3;
    if (i % 3 == 2) return 1;
    return i % 3 ? (double)(pixel / f->wide) - (double)(f->high - 1) / 2
                 : (double)(pixel % f->wide) - (double)(f->wide - 1) / 2;
}

static double transformer_middle(const void *arg, int64_t i)
{
    const transformer_frame *f = arg;
    return (double)((i ? f->high : f->wide) - 1) / 2;
}

static void spatial_transformer_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const int64_t high = attn__build_size(b, 'Y'), wide = attn__build_size(b, 'X');
    const transformer_frame f = {
        high, wide, {transformer_unit(b, wide), transformer_unit(b, high)}};
    const int64_t area = attn__size_times(t, high, wide);
    const attn_var theta =
        attn_tape_mul(t, b->in[THETA], attn__table(t, ATTN_DIMS(2, 3), transformer_length, &f));
    const attn_var places = attn__table(t, ATTN_DIMS(area, 3), transformer_place, &f);
    attn_var at = attn_tape_matmul(t, places, attn_tape_transpose(t, theta, 1, 2));
    at = attn_tape_add(t, at, attn__table(t, ATTN_DIMS(2), transformer_middle, &f));
    at = attn_tape_reshape(t, at, ATTN_DIMS(attn__build_size(b, 'B'), high, wide, 2));
    b->out[OUT] = attn_tape_pixel_sample(t, b->in[X], at);
}

const attn_mech attn__mech_spatial_transformer = {
    .name = "spatial_transformer",
    .family = "spatial",
    .about = "looks at a picture through a window moved, turned and scaled",
    .formula = "out(y, x) = picture at theta (x, y, 1), bilinear",
    .cost = "n: time C Y X, memory C Y X",
    .source = "1506.02025",
    .sizes = "B=1,C=2,Y=4,X=5",
    .grows = "YX",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_STREAMS,
    .build = spatial_transformer_build,
};
