/* SPDX-License-Identifier: MIT
 * Maxima and means over windows of pictures and series.
 *   max_pool, avg_pool   window o sees o stride - padding + tap dilation, tap < size;
 *                        h = (H + 2 padding - dilation (size - 1) - 1) / stride + 1
 *   adaptive_..._pool    h is given; window o sees floor(o H / h) .. ceil((o + 1) H / h) - 1
 * Padding never wins a maximum, and every window sees at least one pixel; a mean divides by the
 * whole window, or with exclude_pad by what it sees. Attributes: i = size, stride, padding,
 * dilation (a pair each), exclude_pad, series; adaptive: dims = the sizes. */
#include "tape/picture.h"

enum {
    POOL_SIZE = 0,
    POOL_STRIDE = 2,
    POOL_PADDING = 4,
    POOL_DILATION = 6,
    POOL_EXCLUDE = 8,
    POOL_SERIES = 9
};

/* ---- shapes ----------------------------------------------------------------------------- */

static attn_status pool_numbers(const char *op, const int64_t *i, int axis, attn_error *error)
{
    ATTN_TRY(attn__picture_number(op, "a window size must be positive", 1, i[POOL_SIZE + axis],
                                  error));
    ATTN_TRY(
        attn__picture_number(op, "a stride must be positive", 1, i[POOL_STRIDE + axis], error));
    ATTN_TRY(attn__picture_number(op, "a padding must not be negative", 0,
                                  i[POOL_PADDING + axis], error));
    return attn__picture_number(op, "a dilation must be positive", 1, i[POOL_DILATION + axis],
                                error);
}

/* The last two rules see to it that no window lies in the padding alone. */
static attn_status pool_size(const attn__call *c, const char *op, int axis, int64_t *out,
                             attn_error *error)
{
    const int64_t *i = c->attr.i, padding = i[POOL_PADDING + axis];
    const int64_t size = i[POOL_SIZE + axis], dilation = i[POOL_DILATION + axis];
    const int64_t n = attn__picture_size(&c->in[0], axis);
    ATTN_TRY(pool_numbers(op, i, axis, error));
    const int64_t reach = dilation * (size - 1) + 1;
    if (2 * padding > size)
        return attn__fail_count(error, ATTN_E_PARAM, op,
                                "a padding is more than half the window", size / 2, padding);
    if (reach > n + 2 * padding)
        return attn__fail_count(error, ATTN_E_SHAPE, op,
                                "the dilated window is larger than the padded input",
                                n + 2 * padding, reach);
    if (padding > 0 && dilation > n)
        return attn__fail_count(error, ATTN_E_PARAM, op,
                                "with padding, a dilation must not pass the input", n,
                                dilation);
    *out = (n + 2 * padding - reach) / i[POOL_STRIDE + axis] + 1;
    return ATTN_OK;
}

static attn_status pool_shape(attn__call *c, attn_error *error)
{
    const char *op = attn__ops[c->op].name;
    const int rank = c->attr.i[POOL_SERIES] ? 3 : 4;
    int64_t size[2];
    ATTN_TRY(attn__picture_need(c, 0, rank, rank, error));
    for (int axis = 0; axis < 2; axis++) ATTN_TRY(pool_size(c, op, axis, &size[axis], error));
    attn__picture_out(c, c->in[0].shape[1], size);
    return ATTN_OK;
}

static attn_status pool_adaptive_shape(attn__call *c, attn_error *error)
{
    const char *op = attn__ops[c->op].name;
    const attn_dims *dims = &c->attr.dims;
    int64_t size[2] = {1, 1};
    ATTN_TRY(attn__picture_need(c, 0, 3, 4, error));
    ATTN_TRY(attn__need_same(op, "one size a dimension after N C", c->in[0].rank - 2, dims->n,
                             error));
    for (int i = 0; i < dims->n; i++) {
        const int axis = 2 - dims->n + i;
        const int64_t n = attn__picture_size(&c->in[0], axis);
        ATTN_TRY(
            attn__picture_number(op, "a size must not be negative", 0, dims->at[i], error));
        if (n == 0 && dims->at[i] > 0)
            return attn__fail_count(error, ATTN_E_SHAPE, op, "windows over an empty picture", 0,
                                    dims->at[i]);
        size[axis] = dims->at[i];
    }
    attn__picture_out(c, c->in[0].shape[1], size);
    return ATTN_OK;
}

attn_status attn__shape_max_pool(attn__call *c, attn_error *error)
{
    return pool_shape(c, error);
}

attn_status attn__shape_avg_pool(attn__call *c, attn_error *error)
{
    return pool_shape(c, error);
}

attn_status attn__shape_adaptive_max_pool(attn__call *c, attn_error *error)
{
    return pool_adaptive_shape(c, error);
}

attn_status attn__shape_adaptive_avg_pool(attn__call *c, attn_error *error)
{
    return pool_adaptive_shape(c, error);
}

/* ---- windows ---------------------------------------------------------------------------- */

static void pool_window(const int64_t *i, int axis, int64_t o, attn__pool_axis *a)
{
    const int64_t dilation = i[POOL_DILATION + axis];
    const int64_t begin = o * i[POOL_STRIDE + axis] - i[POOL_PADDING + axis];
    const int64_t before = begin < 0 ? attn__ceil_div(-begin, dilation) : 0;
    const int64_t inside = attn__ceil_div(a->n_in - begin, dilation);
    a->first[o] = begin + before * dilation;
    a->n[o] = attn__min(i[POOL_SIZE + axis], inside) - before;
}

bool attn__pool_axis_make(attn__call *c, int axis, bool adaptive, attn__pool_axis *a)
{
    const int64_t n = attn__picture_size(&c->in[0], axis);
    const int64_t n_out = attn__picture_size(&c->out[0], axis);
    *a = (attn__pool_axis){.n_out = n_out,
                           .n_in = n,
                           .step = adaptive ? 1 : c->attr.i[POOL_DILATION + axis],
                           .first = attn__call_temp(c, n_out, sizeof *a->first),
                           .n = attn__call_temp(c, n_out, sizeof *a->n)};
    if (!a->first || !a->n) return false;
    for (int64_t o = 0; o < n_out; o++) {
        if (adaptive) {
            a->first[o] = o * n / n_out;
            a->n[o] = attn__ceil_div((o + 1) * n, n_out) - a->first[o];
        } else {
            pool_window(c->attr.i, axis, o, a);
        }
    }
    return true;
}

bool attn__pool_taps_make(attn__call *c, int axis, bool adaptive, attn__taps *taps)
{
    const bool whole = !adaptive && !c->attr.i[POOL_EXCLUDE];
    attn__pool_axis a;
    int64_t most = 0;
    if (!attn__pool_axis_make(c, axis, adaptive, &a)) return false;
    for (int64_t o = 0; o < a.n_out; o++) most += a.n[o];
    if (!attn__taps_make(c, taps, a.n_out, a.n_in, most)) return false;
    for (int64_t o = 0; o < a.n_out; o++) {
        const int64_t at = taps->begin[o], n = whole ? c->attr.i[POOL_SIZE + axis] : a.n[o];
        for (int64_t t = 0; t < a.n[o]; t++) {
            taps->index[at + t] = a.first[o] + t * a.step;
            taps->weight[at + t] = 1 / (double)n;
        }
        taps->begin[o + 1] = at + a.n[o];
    }
    return true;
}

/* ---- the public functions --------------------------------------------------------------- */

static attn_var pool_apply(attn_tape *t, attn__op_index op, attn_var x, const attn_pool *pool)
{
    if (!pool)
        return attn__var_fail(t, ATTN_E_NULL, attn__ops[op].name, "the pool is missing", 1, 0);
    const bool series = pool->size[1] == 0;
    attn__attr attr = {.i = {[POOL_EXCLUDE] = pool->exclude_pad, [POOL_SERIES] = series}};
    for (int axis = 0; axis < 2; axis++) {
        const int at = series ? 0 : axis; /* where a pair speaks of this axis */
        const bool said = axis == 1 || !series;
        const int64_t size = said ? pool->size[at] : 1;
        attr.i[POOL_SIZE + axis] = size;
        attr.i[POOL_STRIDE + axis] = said && pool->stride[at] ? pool->stride[at] : size;
        attr.i[POOL_PADDING + axis] = said ? pool->padding[at] : 0;
        attr.i[POOL_DILATION + axis] = said && pool->dilation[at] ? pool->dilation[at] : 1;
    }
    return attn__apply1(t, op, 1, &x, &attr);
}

attn_var attn_tape_max_pool(attn_tape *t, attn_var x, const attn_pool *pool)
{
    return pool_apply(t, ATTN__OP_max_pool, x, pool);
}

attn_var attn_tape_avg_pool(attn_tape *t, attn_var x, const attn_pool *pool)
{
    return pool_apply(t, ATTN__OP_avg_pool, x, pool);
}

attn_var attn_tape_adaptive_avg_pool(attn_tape *t, attn_var x, attn_dims size)
{
    const attn__attr attr = {.dims = size};
    return attn__apply1(t, ATTN__OP_adaptive_avg_pool, 1, &x, &attr);
}

attn_var attn_tape_adaptive_max_pool(attn_tape *t, attn_var x, attn_dims size)
{
    const attn__attr attr = {.dims = size};
    return attn__apply1(t, ATTN__OP_adaptive_max_pool, 1, &x, &attr);
}
