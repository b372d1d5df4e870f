/* SPDX-License-Identifier: MIT
 * Convolutions and their transposes, of pictures and of series.
 *   conv            x N C H W, w M C/groups K K, b M:  y N M h w,
 *                   h = (H + 2 padding - dilation (K - 1) - 1) / stride + 1
 *   conv_transpose  x N C h w, w C M/groups K K, b M:  y N M H W,
 *                   H = (h - 1) stride - 2 padding + dilation (K - 1) + output_padding + 1
 * A series lies along W of a picture of height 1. The numbers are made in op/conv.h; here is
 * what they go by. Attributes: i = stride, dilation, padding, output padding (a pair each),
 * groups. */
#include "tape/picture.h"

enum { CONV_STRIDE = 0, CONV_DILATION = 2, CONV_PADDING = 4, CONV_EXTRA = 6, CONV_GROUPS = 8 };

/* ---- shapes ----------------------------------------------------------------------------- */

static attn_status conv_numbers(const char *op, const attn__attr *attr, attn_error *error)
{
    static const struct {
        int at;
        int64_t least;
        const char *small;
    } rules[] = {{CONV_STRIDE, 1, "a stride must be positive"},
                 {CONV_DILATION, 1, "a dilation must be positive"},
                 {CONV_PADDING, 0, "a padding must not be negative"},
                 {CONV_EXTRA, 0, "an output padding must not be negative"}};
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        for (int axis = 0; axis < 2; axis++)
            ATTN_TRY(attn__picture_number(op, rules[i].small, rules[i].least,
                                          attr->i[rules[i].at + axis], error));
    return attn__picture_number(op, "there must be at least one group", 1, attr->i[CONV_GROUPS],
                                error);
}

static attn_status conv_divides(const char *op, const char *what, int64_t groups, int64_t n,
                                attn_error *error)
{
    if (n % groups == 0) return ATTN_OK;
    return attn__fail_count(error, ATTN_E_SHAPE, op, what, groups, n);
}

/* Channels in, *out channels that come out, and the bias. */
static attn_status conv_channels(const attn__call *c, const char *op, bool transpose,
                                 int64_t *out, attn_error *error)
{
    const attn_tensor *x = &c->in[0], *w = &c->in[1], *b = &c->in[2];
    const int64_t groups = c->attr.i[CONV_GROUPS];
    ATTN_TRY(conv_divides(op, "the groups must divide the channels of x", groups, x->shape[1],
                          error));
    if (transpose) {
        ATTN_TRY(attn__need_same(op, "dim 0 of w must be the channels of x", x->shape[1],
                                 w->shape[0], error));
        if (!attn__mul(w->shape[1], groups, out))
            return attn__fail(error, ATTN_E_OVERFLOW, op, "too many channels come out");
    } else {
        ATTN_TRY(attn__need_same(op, "dim 1 of w must be the channels of x by groups",
                                 x->shape[1] / groups, w->shape[1], error));
        *out = w->shape[0];
        ATTN_TRY(conv_divides(op, "the groups must divide dim 0 of w", groups, *out, error));
    }
    if (!attn__present(b)) return ATTN_OK;
    return attn__need_same(op, "b must have one number a channel that comes out", *out,
                           b->shape[0], error);
}

/* Output size along an axis: every factor is at most 2^30, so nothing overflows. */
static attn_status conv_size(const attn__call *c, const char *op, bool transpose, int axis,
                             int64_t *out, attn_error *error)
{
    const int64_t *i = c->attr.i;
    const int64_t size = attn__picture_size(&c->in[0], axis);
    const int64_t kernel = attn__picture_size(&c->in[1], axis);
    const int64_t stride = i[CONV_STRIDE + axis], padding = 2 * i[CONV_PADDING + axis];
    if (kernel < 1)
        return attn__fail_count(error, ATTN_E_SHAPE, op, "w has an empty kernel", 1, kernel);
    const int64_t reach = i[CONV_DILATION + axis] * (kernel - 1) + 1;
    if (!transpose) {
        if (reach > size + padding)
            return attn__fail_count(error, ATTN_E_SHAPE, op,
                                    "the dilated kernel is larger than the padded input",
                                    size + padding, reach);
        *out = (size + padding - reach) / stride + 1;
        return ATTN_OK;
    }
    *out = size ? (size - 1) * stride - padding + reach + i[CONV_EXTRA + axis] : 0;
    if (size && *out < 1)
        return attn__fail_count(error, ATTN_E_SHAPE, op, "the padding leaves no output", 1,
                                *out);
    if (i[CONV_EXTRA + axis] >= attn__max(stride, i[CONV_DILATION + axis]))
        return attn__fail_count(error, ATTN_E_PARAM, op,
                                "an output padding must be below the stride or the dilation",
                                attn__max(stride, i[CONV_DILATION + axis]) - 1,
                                i[CONV_EXTRA + axis]);
    return ATTN_OK;
}

static attn_status conv_shape(attn__call *c, int rank, bool transpose, attn_error *error)
{
    const char *op = attn__ops[c->op].name;
    int64_t channels, size[2];
    for (int i = 0; i < 2; i++) ATTN_TRY(attn__picture_need(c, i, rank, rank, error));
    if (attn__present(&c->in[2])) {
        ATTN_TRY(attn__need_real(c, 2, error));
        ATTN_TRY(attn__need_rank(c, 2, 1, 1, error));
    }
    ATTN_TRY(conv_numbers(op, &c->attr, error));
    ATTN_TRY(conv_channels(c, op, transpose, &channels, error));
    for (int axis = 0; axis < 2; axis++)
        ATTN_TRY(conv_size(c, op, transpose, axis, &size[axis], error));
    attn__picture_out(c, channels, size);
    return ATTN_OK;
}

attn_status attn__shape_conv1d(attn__call *c, attn_error *error)
{
    return conv_shape(c, 3, false, error);
}

attn_status attn__shape_conv2d(attn__call *c, attn_error *error)
{
    return conv_shape(c, 4, false, error);
}

attn_status attn__shape_conv1d_transpose(attn__call *c, attn_error *error)
{
    return conv_shape(c, 3, true, error);
}

attn_status attn__shape_conv2d_transpose(attn__call *c, attn_error *error)
{
    return conv_shape(c, 4, true, error);
}

/* ---- the plan of the bodies ------------------------------------------------------------- */

/* As many positions as columns of one sample find room for; whole samples if more fit. */
static void conv_pieces(attn__conv_plan *g)
{
    const int64_t room = attn__max(1, ATTN__PICTURE_PIECE / g->rows);
    g->width = attn__min(g->positions, attn__min(room, ATTN__PICTURE_WIDTH));
    g->batch = g->width < g->positions ? 1 : attn__min(g->n, attn__max(1, room / g->width));
}

attn__conv_plan attn__conv_plan_of(const attn__call *c, const attn_tensor *image,
                                   const attn_tensor *grid)
{
    const attn_tensor *w = &c->in[1];
    attn__conv_plan g = {.n = image->shape[0],
                         .groups = c->attr.i[CONV_GROUPS],
                         .image_c = image->shape[1],
                         .grid_c = grid->shape[1],
                         .direct = true};
    g.empty = attn_tensor_count(*image) == 0 || attn_tensor_count(*grid) == 0;
    if (g.empty) return g;
    for (int axis = 0; axis < 2; axis++) {
        g.image[axis] = attn__picture_size(image, axis);
        g.grid[axis] = attn__picture_size(grid, axis);
        g.kernel[axis] = attn__picture_size(w, axis);
        g.stride[axis] = c->attr.i[CONV_STRIDE + axis];
        g.dilation[axis] = c->attr.i[CONV_DILATION + axis];
        g.padding[axis] = c->attr.i[CONV_PADDING + axis];
        g.direct = g.direct && g.kernel[axis] == 1 && g.stride[axis] == 1 &&
                   g.padding[axis] == 0 && g.grid[axis] == g.image[axis];
    }
    g.pixels = g.image[0] * g.image[1];
    g.positions = g.grid[0] * g.grid[1];
    g.taps = g.kernel[0] * g.kernel[1];
    g.rows = g.image_c * g.taps;
    conv_pieces(&g);
    return g;
}

attn__conv_run attn__conv_run_of(const attn__conv_plan *g, int64_t tap, int64_t p, int64_t n)
{
    const int64_t row = p / g->grid[1], column = p % g->grid[1], stride = g->stride[1];
    const int64_t y = row * g->stride[0] - g->padding[0] + tap / g->kernel[1] * g->dilation[0];
    const int64_t x = column * stride - g->padding[1] + tap % g->kernel[1] * g->dilation[1];
    attn__conv_run run = {.n = attn__min(n, g->grid[1] - column)};
    if (y < 0 || y >= g->image[0] || x >= g->image[1]) return run;
    run.lo = x < 0 ? attn__min(run.n, attn__ceil_div(-x, stride)) : 0;
    run.hi = attn__min(run.n, attn__ceil_div(g->image[1] - x, stride));
    run.hi = attn__max(run.lo, run.hi);
    run.at = y * g->image[1] + x + run.lo * stride;
    return run;
}

/* ---- the public functions --------------------------------------------------------------- */

static int64_t conv_default(int64_t x)
{
    return x == 0 ? 1 : x;
}

static attn_var conv_apply(attn_tape *t, attn__op_index op, const attn_var in[3],
                           const attn_conv *conv, bool series)
{
    const attn_conv none = {.groups = 1};
    const attn_conv *from = conv ? conv : &none;
    attn__attr attr = {.i = {[CONV_GROUPS] = conv_default(from->groups)}};
    for (int axis = 0; axis < 2; axis++) {
        const int at = series ? 0 : axis; /* where a pair speaks of this axis */
        const bool said = axis == 1 || !series;
        attr.i[CONV_STRIDE + axis] = said ? conv_default(from->stride[at]) : 1;
        attr.i[CONV_DILATION + axis] = said ? conv_default(from->dilation[at]) : 1;
        attr.i[CONV_PADDING + axis] = said ? from->padding[at] : 0;
        attr.i[CONV_EXTRA + axis] = said ? from->output_padding[at] : 0;
    }
    return attn__apply1(t, op, 3, in, &attr);
}

attn_var attn_tape_conv1d(attn_tape *t, attn_var x, attn_var w, attn_var b,
                          const attn_conv *conv)
{
    return conv_apply(t, ATTN__OP_conv1d, (const attn_var[]){x, w, b}, conv, true);
}

attn_var attn_tape_conv2d(attn_tape *t, attn_var x, attn_var w, attn_var b,
                          const attn_conv *conv)
{
    return conv_apply(t, ATTN__OP_conv2d, (const attn_var[]){x, w, b}, conv, false);
}

attn_var attn_tape_conv1d_transpose(attn_tape *t, attn_var x, attn_var w, attn_var b,
                                    const attn_conv *conv)
{
    return conv_apply(t, ATTN__OP_conv1d_transpose, (const attn_var[]){x, w, b}, conv, true);
}

attn_var attn_tape_conv2d_transpose(attn_tape *t, attn_var x, attn_var w, attn_var b,
                                    const attn_conv *conv)
{
    return conv_apply(t, ATTN__OP_conv2d_transpose, (const attn_var[]){x, w, b}, conv, false);
}
