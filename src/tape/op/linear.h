/* SPDX-License-Identifier: MIT
 * Products of matrices as operations.
 *   matmul   c = a b            d_a = d_c b^T        d_b = a^T d_c
 *   linear   y = act(x w^T + b) d_z = d_y act'(z)    d_x = d_z w, d_w = d_z^T x, d_b = sum d_z
 * a ... M K, b ... K N, c ... M N; x ... K, w N K, b N. Gradients of an operand that was
 * repeated over leading dimensions are summed over them: when b is the same for all, rows of
 * all items are one matrix with more rows; otherwise the products are laid out and added in
 * f64. linear_out is linear with an activation whose slope is a function of its result. */
#ifndef ATTN__TAPE_OP_LINEAR_H
#define ATTN__TAPE_OP_LINEAR_H

#include "tape/op/real.h"

/* ---- matmul ------------------------------------------------------------------------------ */

/* A vector counts as one row (operand 0) or one column (operand 1). */
static attn_tensor K(matmul_lift)(const attn_tensor *t, int operand)
{
    attn_tensor m = *t;
    if (t->rank > 1) return m;
    const int long_dim = operand == 0 ? 1 : 0;
    m.rank = 2;
    m.shape[long_dim] = t->shape[0];
    m.stride[long_dim] = t->stride[0];
    m.shape[1 - long_dim] = 1;
    m.stride[1 - long_dim] = operand == 0 ? attn__max(t->shape[0], 1) : 1;
    return m;
}

/* The result, or its gradient, with the dimensions that vectors lost. */
static attn_tensor K(matmul_lift_out)(const attn__call *c, const attn_tensor *t)
{
    const attn_tensor a = K(matmul_lift)(&c->in[0], 0), b = K(matmul_lift)(&c->in[1], 1);
    const int leading = t->rank - (c->in[0].rank > 1) - (c->in[1].rank > 1);
    int64_t shape[ATTN_MAX_RANK];
    for (int i = 0; i < leading; i++) shape[i] = t->shape[i];
    shape[leading] = a.shape[a.rank - 2];
    shape[leading + 1] = b.shape[b.rank - 1];
    return attn_tensor_make(t->data, t->dtype, leading + 2, shape);
}

static attn_tensor K(matmul_turned)(attn_tensor t)
{
    int order[ATTN_MAX_RANK];
    for (int i = 0; i < t.rank; i++) order[i] = i;
    order[t.rank - 2] = t.rank - 1;
    order[t.rank - 1] = t.rank - 2;
    return attn_tensor_permute(t, order);
}

/* Elements of the leading dimensions: how many matrices. */
static int64_t K(matmul_items)(const attn_tensor *t)
{
    int64_t items = 1;
    for (int i = 0; i < t->rank - 2; i++) items *= t->shape[i];
    return items;
}

static attn_status K(matmul_forward)(attn__call *c)
{
    return attn__matmul(c->ctx, c->k, K(matmul_lift)(&c->in[0], 0),
                        K(matmul_lift)(&c->in[1], 1), K(matmul_lift_out)(c, &c->out[0]), false);
}

/* to += x y, summed over the leading dimensions of full that to repeats. */
static attn_status K(matmul_add)(attn__call *c, attn_tensor x, attn_tensor y,
                                 const attn_tensor *full, attn_tensor to)
{
    attn_tensor all = *full;
    all.shape[all.rank - 2] = to.shape[to.rank - 2];
    all.shape[all.rank - 1] = to.shape[to.rank - 1];
    if (K(matmul_items)(&to) == K(matmul_items)(&all))
        return attn__matmul(c->ctx, c->k, x, y, to, true);
    if (attn_tensor_count(all) < 0) return ATTN_E_MEMORY;
    void *each = attn__call_temp(c, attn_tensor_count(all), sizeof(real));
    if (!each) return ATTN_E_MEMORY;
    all = attn_tensor_make(each, REAL_DTYPE, all.rank, all.shape);
    ATTN_TRY(attn__matmul(c->ctx, c->k, x, y, all, false));
    return attn__call_reduce(c, each, &all, &to);
}

/* All rows of operand 0 as one matrix: a view where it has no more than one, else dense reals.
 * Absent: no memory. */
static attn_tensor K(matmul_rows)(attn__call *c, int64_t rows, int64_t cols)
{
    const attn_tensor *t = &c->in[0];
    if (t->rank <= 2) return K(matmul_lift)(t, 0);
    void *reals = (void *)attn__call_reals(c, t);
    return attn_tensor_make(reals, reals ? REAL_DTYPE : ATTN_DTYPE_NONE, 2,
                            (int64_t[]){rows, cols});
}

/* d_b += a^T d where all items share b: one product over the rows of all. */
static attn_status K(matmul_add_shared)(attn__call *c, const attn_tensor *d, attn_tensor to)
{
    const int64_t rows = K(matmul_items)(d) * d->shape[d->rank - 2];
    const attn_tensor x = K(matmul_rows)(c, rows, to.shape[to.rank - 2]);
    if (!attn__present(&x)) return ATTN_E_MEMORY;
    const attn_tensor y =
        attn_tensor_make(d->data, REAL_DTYPE, 2, (int64_t[]){rows, d->shape[d->rank - 1]});
    to = attn_tensor_make(to.data, REAL_DTYPE, 2, (int64_t[]){x.shape[1], y.shape[1]});
    return attn__matmul(c->ctx, c->k, K(matmul_turned)(x), y, to, true);
}

static attn_status K(matmul_backward)(attn__call *c)
{
    const attn_tensor a = K(matmul_lift)(&c->in[0], 0), b = K(matmul_lift)(&c->in[1], 1);
    const attn_tensor d = K(matmul_lift_out)(c, &c->d_out[0]);
    if (attn_tensor_count(d) == 0) return ATTN_OK;
    if (attn__present(&c->d_in[0]))
        ATTN_TRY(K(matmul_add)(c, d, K(matmul_turned)(b), &d, K(matmul_lift)(&c->d_in[0], 0)));
    if (!attn__present(&c->d_in[1])) return ATTN_OK;
    const attn_tensor to = K(matmul_lift)(&c->d_in[1], 1);
    if (K(matmul_items)(&to) == 1) return K(matmul_add_shared)(c, &d, to);
    return K(matmul_add)(c, K(matmul_turned)(a), d, &d, to);
}

/* ---- linear ------------------------------------------------------------------------------ */

/* What ends a product: the map that applies it, and the one that gives its slope where that is
 * a function of z; -1: none. */
static const struct linear_act {
    int value, slope;
} linear_acts[] = {
    [ATTN_ACT_NONE] = {-1, -1},
    [ATTN_ACT_RELU] = {-1, -1},
    [ATTN_ACT_GELU] = {ATTN__MAP_gelu, ATTN__MAP_gelu_slope},
    [ATTN_ACT_GELU_TANH] = {ATTN__MAP_gelu_tanh, ATTN__MAP_gelu_tanh_slope},
    [ATTN_ACT_SILU] = {ATTN__MAP_silu, ATTN__MAP_silu_slope},
    [ATTN_ACT_SIGMOID] = {ATTN__MAP_sigmoid, -1},
    [ATTN_ACT_TANH] = {ATTN__MAP_tanh, -1},
};

typedef struct linear_job {
    const attn__kernels *k;
    attn_activation act;
    int64_t N;
    const real *b, *z, *y, *dy; /* N, or rows x N */
    real *to, *keep;            /* rows x N */
} linear_job;

static int64_t K(linear_grain)(int64_t N)
{
    return attn__max(1, 8192 / attn__max(N, 1));
}

/* to = act(to + b); keep: what the activation was applied to. */
static void K(linear_end)(void *arg, int64_t from, int64_t until)
{
    const linear_job *j = arg;
    const int value = linear_acts[j->act].value;
    real *to = j->to + from * j->N;
    const int64_t n = (until - from) * j->N;
    if (j->b)
        for (int64_t row = 0; row < until - from; row++)
            for (int64_t i = 0; i < j->N; i++) to[row * j->N + i] += j->b[i];
    if (j->keep) memcpy(j->keep + from * j->N, to, (size_t)n * sizeof(real));
    if (value >= 0) j->k->map[value](n, to, to);
    if (j->act == ATTN_ACT_RELU)
        for (int64_t i = 0; i < n; i++) to[i] = to[i] < 0 ? 0 : to[i];
}

static attn_status K(linear_forward)(attn__call *c)
{
    const attn_activation act = (attn_activation)c->attr.i[0];
    const int64_t count = attn_tensor_count(c->out[0]), N = c->in[1].shape[0];
    linear_job j = {.k = c->k, .act = act, .N = N, .to = c->out[0].data};
    ATTN_TRY(attn__matmul(c->ctx, c->k, K(matmul_lift)(&c->in[0], 0),
                          K(matmul_turned)(c->in[1]), K(matmul_lift)(&c->out[0], 0), false));
    if (attn__present(&c->in[2]) && !(j.b = attn__call_reals(c, &c->in[2])))
        return ATTN_E_MEMORY;
    if (c->recording && linear_acts[act].slope >= 0 &&
        !(j.keep = attn__call_save(c, count, sizeof(real))))
        return ATTN_E_MEMORY;
    if (count > 0 && (j.b || act != ATTN_ACT_NONE))
        attn__call_share(c, count / N, K(linear_grain)(N), K(linear_end), &j);
    return ATTN_OK;
}

static attn_status K(linear_out_forward)(attn__call *c)
{
    return K(linear_forward)(c);
}

/* to = dy act'. z: before the activation; y: after it, for those that need no more. */
static void K(linear_slope)(void *arg, int64_t from, int64_t until)
{
    const linear_job *j = arg;
    const int64_t at = from * j->N, n = (until - from) * j->N;
    const real *y = j->y ? j->y + at : NULL, *dy = j->dy + at;
    real *to = j->to + at;
    if (j->z) {
        j->k->map[linear_acts[j->act].slope](n, j->z + at, to);
        for (int64_t i = 0; i < n; i++) to[i] *= dy[i];
    } else if (j->act == ATTN_ACT_RELU) {
        for (int64_t i = 0; i < n; i++) to[i] = y[i] > 0 ? dy[i] : 0;
    } else if (j->act == ATTN_ACT_SIGMOID) {
        for (int64_t i = 0; i < n; i++) to[i] = dy[i] * (y[i] * (1 - y[i]));
    } else {
        for (int64_t i = 0; i < n; i++) to[i] = dy[i] * (1 - y[i] * y[i]);
    }
}

/* d_z as rows x N: d_y itself where there is no activation. NULL: no memory. */
static void *K(linear_before)(attn__call *c, int64_t rows, int64_t N)
{
    const attn_activation act = (attn_activation)c->attr.i[0];
    if (act == ATTN_ACT_NONE) return c->d_out[0].data;
    const bool saved = linear_acts[act].slope >= 0;
    linear_job j = {.k = c->k,
                    .act = act,
                    .N = N,
                    .z = saved ? c->saved : NULL,
                    .y = saved ? NULL : c->out[0].data,
                    .dy = c->d_out[0].data,
                    .to = attn__call_temp(c, rows * N, sizeof(real))};
    if (j.to) attn__call_share(c, rows, K(linear_grain)(N), K(linear_slope), &j);
    return j.to;
}

static attn_status K(linear_backward)(attn__call *c)
{
    const attn_tensor *w = &c->in[1];
    const int64_t N = w->shape[0], depth = w->shape[1];
    const int64_t count = attn_tensor_count(c->d_out[0]), rows = N > 0 ? count / N : 0;
    if (count == 0) return ATTN_OK;
    void *dz = K(linear_before)(c, rows, N);
    if (!dz) return ATTN_E_MEMORY;
    const attn_tensor d = attn_tensor_make(dz, REAL_DTYPE, 2, (int64_t[]){rows, N});
    const attn_tensor dx =
        attn_tensor_make(c->d_in[0].data, REAL_DTYPE, 2, (int64_t[]){rows, depth});
    if (dx.data) ATTN_TRY(attn__matmul(c->ctx, c->k, d, *w, dx, true));
    if (attn__present(&c->d_in[2])) ATTN_TRY(attn__call_reduce(c, dz, &d, &c->d_in[2]));
    if (!attn__present(&c->d_in[1])) return ATTN_OK;
    const attn_tensor in = K(matmul_rows)(c, rows, depth);
    if (!attn__present(&in)) return ATTN_E_MEMORY;
    return attn__matmul(c->ctx, c->k, K(matmul_turned)(d), in, c->d_in[1], true);
}

static attn_status K(linear_out_backward)(attn__call *c)
{
    return K(linear_backward)(c);
}

#endif
