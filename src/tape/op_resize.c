/* SPDX-License-Identifier: MIT
 * Pictures at other sizes and places.
 *   upsample_bilinear  to h x w; output o stands at (o + 1/2) H / h - 1/2, not below 0; with
 *                      corners at o (H - 1) / (h - 1); beyond the last pixel there is the last
 *   upsample_nearest   pixel floor(o H / h)
 *   grid_sample        grid N h w 2: x N C H W seen at (x, y), -1 and 1 being the outer edges
 *                      of the border pixels, with corners their centres; 0 outside
 *   pixel_sample       the same with (x, y) in pixels, so that whole numbers meet pixels
 * exactly pixel_shuffle      N (C f f) H W -> N C (H f) (W f); pixel_unshuffle goes back Places
 * of upsampling are fractions of integers, found exactly. At an integer coordinate the gradient
 * of grid_sample is that of the cell to the right. Attributes: dims = h w, i = corners,
 * nearest; i = units of the grid; i = factor. */
#include <math.h>

#include "tape/picture.h"

/* ---- upsampling ------------------------------------------------------------------------- */

static attn_status resize_shape(attn__call *c, attn_error *error)
{
    const char *op = attn__ops[c->op].name;
    const attn_dims *dims = &c->attr.dims;
    ATTN_TRY(attn__picture_need(c, 0, 4, 4, error));
    ATTN_TRY(attn__need_same(op, "the size must be two numbers, height and width", 2, dims->n,
                             error));
    for (int axis = 0; axis < 2; axis++) {
        ATTN_TRY(
            attn__picture_number(op, "a size must not be negative", 0, dims->at[axis], error));
        if (dims->at[axis] > 0 && attn__picture_size(&c->in[0], axis) == 0)
            return attn__fail_count(error, ATTN_E_SHAPE, op, "an empty picture cannot grow", 0,
                                    dims->at[axis]);
    }
    attn__picture_out(c, c->in[0].shape[1], dims->at);
    return ATTN_OK;
}

attn_status attn__shape_upsample_bilinear(attn__call *c, attn_error *error)
{
    return resize_shape(c, error);
}

attn_status attn__shape_upsample_nearest(attn__call *c, attn_error *error)
{
    return resize_shape(c, error);
}

/* Output o stands at above / below pixels. */
static void resize_place(int64_t o, int64_t n_in, int64_t n_out, const int64_t *i,
                         int64_t *above, int64_t *below)
{
    const bool corners = i[0], nearest = i[1];
    *above = 0;
    *below = 1;
    if (nearest) {
        *above = o * n_in / n_out;
    } else if (!corners) {
        *above = attn__max(0, (2 * o + 1) * n_in - n_out);
        *below = 2 * n_out;
    } else if (n_out > 1) {
        *above = o * (n_in - 1);
        *below = n_out - 1;
    }
}

bool attn__resize_taps_make(attn__call *c, int axis, attn__taps *taps)
{
    const int64_t n = attn__picture_size(&c->in[0], axis), n_out = c->attr.dims.at[axis];
    if (!attn__taps_make(c, taps, n_out, n, 2 * n_out)) return false;
    for (int64_t o = 0; o < n_out; o++) {
        int64_t above, below, at = taps->begin[o];
        resize_place(o, n, n_out, c->attr.i, &above, &below);
        const int64_t pixel = above / below;
        const double part = (double)(above % below) / (double)below;
        const bool two = part > 0 && pixel + 1 < n;
        taps->index[at] = pixel;
        taps->weight[at++] = two ? 1 - part : 1;
        if (two) {
            taps->index[at] = pixel + 1;
            taps->weight[at++] = part;
        }
        taps->begin[o + 1] = at;
    }
    return true;
}

/* ---- sampling on a grid ----------------------------------------------------------------- */

attn_status attn__shape_grid_sample(attn__call *c, attn_error *error)
{
    const attn_tensor *x = &c->in[0], *grid = &c->in[1];
    ATTN_TRY(attn__picture_need(c, 0, 4, 4, error));
    ATTN_TRY(attn__need_real(c, 1, error));
    ATTN_TRY(attn__need_rank(c, 1, 4, 4, error));
    ATTN_TRY(attn__need_same("grid_sample", "the grid must have the samples of x", x->shape[0],
                             grid->shape[0], error));
    ATTN_TRY(attn__need_same("grid_sample", "the grid must end in a dimension of 2", 2,
                             grid->shape[3], error));
    const int64_t size[2] = {grid->shape[1], grid->shape[2]};
    attn__picture_out(c, x->shape[1], size);
    return ATTN_OK;
}

/* Outside, and where a coordinate is NaN, the place is pixel 0 0, which nobody looks at. */
attn__spot attn__spot_of(double x, double y, const int64_t *size, int64_t units)
{
    const bool corners = units == ATTN__GRID_CORNERS, pixels = units == ATTN__GRID_PIXELS;
    const double high = (double)size[0], wide = (double)size[1];
    const double sx = pixels    ? 1
                      : corners ? (wide - 1) / 2
                                : wide / 2,
                 sy = pixels    ? 1
                      : corners ? (high - 1) / 2
                                : high / 2;
    const double px = pixels ? x : corners ? (x + 1) * sx : (x + 1) * sx - 0.5;
    const double py = pixels ? y : corners ? (y + 1) * sy : (y + 1) * sy - 0.5;
    attn__spot spot = {.slope_x = sx, .slope_y = sy};
    spot.lost = isnan(px) || isnan(py);
    spot.inside = px >= -1 && px < wide && py >= -1 && py < high;
    if (!spot.inside) return spot;
    spot.x = (int64_t)floor(px);
    spot.y = (int64_t)floor(py);
    spot.part_x = px - floor(px);
    spot.part_y = py - floor(py);
    return spot;
}

void attn__spot_taps(const attn__spot *spot, const int64_t *size, bool lost, attn__taps *taps,
                     int64_t o)
{
    int64_t at = taps->begin[o];
    for (int corner = 0; corner < 4 && spot->inside; corner++) {
        const int64_t x = spot->x + corner % 2, y = spot->y + corner / 2;
        const double weight = (corner / 2 ? spot->part_y : 1 - spot->part_y) *
                              (corner % 2 ? spot->part_x : 1 - spot->part_x);
        if (x < 0 || y < 0 || x >= size[1] || y >= size[0] || weight == 0) continue;
        taps->index[at] = y * size[1] + x;
        taps->weight[at++] = weight;
    }
    if (spot->lost && lost && taps->n_in > 0) {
        taps->index[at] = 0;
        taps->weight[at++] = (double)NAN;
    }
    taps->begin[o + 1] = at;
}

/* ---- pixels to channels and back -------------------------------------------------------- */

attn_status attn__shape_pixel_shuffle(attn__call *c, attn_error *error)
{
    const attn_tensor *x = &c->in[0];
    const int64_t f = c->attr.i[0];
    ATTN_TRY(attn__picture_need(c, 0, 4, 4, error));
    ATTN_TRY(attn__picture_number("pixel_shuffle", "the factor must be positive", 1, f, error));
    if (x->shape[1] % (f * f) != 0)
        return attn__fail_count(error, ATTN_E_SHAPE, "pixel_shuffle",
                                "the square of the factor must divide the channels", f * f,
                                x->shape[1]);
    const int64_t size[2] = {x->shape[2] * f, x->shape[3] * f};
    attn__picture_out(c, x->shape[1] / (f * f), size);
    return ATTN_OK;
}

attn_status attn__shape_pixel_unshuffle(attn__call *c, attn_error *error)
{
    const char *op = "pixel_unshuffle";
    const attn_tensor *x = &c->in[0];
    const int64_t f = c->attr.i[0];
    int64_t channels;
    ATTN_TRY(attn__picture_need(c, 0, 4, 4, error));
    ATTN_TRY(attn__picture_number(op, "the factor must be positive", 1, f, error));
    for (int axis = 0; axis < 2; axis++)
        if (attn__picture_size(x, axis) % f != 0)
            return attn__fail_count(error, ATTN_E_SHAPE, op,
                                    "the factor must divide height and width", f,
                                    attn__picture_size(x, axis));
    if (!attn__mul(x->shape[1], f * f, &channels))
        return attn__fail(error, ATTN_E_OVERFLOW, op, "too many channels come out");
    const int64_t size[2] = {x->shape[2] / f, x->shape[3] / f};
    attn__picture_out(c, channels, size);
    return ATTN_OK;
}

/* ---- the public functions --------------------------------------------------------------- */

attn_var attn_tape_upsample_bilinear(attn_tape *t, attn_var x, attn_dims size, bool corners)
{
    const attn__attr attr = {.i = {corners, false}, .dims = size};
    return attn__apply1(t, ATTN__OP_upsample_bilinear, 1, &x, &attr);
}

attn_var attn_tape_upsample_nearest(attn_tape *t, attn_var x, attn_dims size)
{
    const attn__attr attr = {.i = {false, true}, .dims = size};
    return attn__apply1(t, ATTN__OP_upsample_nearest, 1, &x, &attr);
}

attn_var attn_tape_grid_sample(attn_tape *t, attn_var x, attn_var grid, bool corners)
{
    const attn__attr attr = {.i = {corners ? ATTN__GRID_CORNERS : ATTN__GRID_EDGES}};
    return attn__apply1(t, ATTN__OP_grid_sample, 2, (const attn_var[]){x, grid}, &attr);
}

attn_var attn_tape_pixel_sample(attn_tape *t, attn_var x, attn_var at)
{
    const attn__attr attr = {.i = {ATTN__GRID_PIXELS}};
    return attn__apply1(t, ATTN__OP_grid_sample, 2, (const attn_var[]){x, at}, &attr);
}

attn_var attn_tape_pixel_shuffle(attn_tape *t, attn_var x, int64_t factor)
{
    const attn__attr attr = {.i = {factor}};
    return attn__apply1(t, ATTN__OP_pixel_shuffle, 1, &x, &attr);
}

attn_var attn_tape_pixel_unshuffle(attn_tape *t, attn_var x, int64_t factor)
{
    const attn__attr attr = {.i = {factor}};
    return attn__apply1(t, ATTN__OP_pixel_unshuffle, 1, &x, &attr);
}
