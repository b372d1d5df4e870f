/* SPDX-License-Identifier: MIT
 * GRU and LSTM over a sequence, one node.
 *   x B T I -> y B T n*H, last states D B H; cell.h has a step; op_recurrent.c the operands.
 * For each direction: x w_x^T for all steps in one product, then step by step h w_h^T and the
 * gates. Kept for the backward: gates B T GH, states before each step B T H, extra B T H. The
 * backward walks the steps in the opposite order; when all gradients of gates are there, those
 * of x, weights and biases are one product or sum each, over the rows of all steps, b outer.
 * Rows of a step that the mask forbids take no part; not even a NaN in x does. */
#ifndef ATTN__TAPE_OP_RECURRENT_H
#define ATTN__TAPE_OP_RECURRENT_H

#include "tape/op/cell.h"
#include "tape/op/linear.h"

enum { RECURRENT_X, RECURRENT_MASK, RECURRENT_STATE }; /* operands; then the cells' */
enum { CELL_W_X, CELL_W_H, CELL_B_X, CELL_B_H, CELL_PARTS };

/* One direction. Pointers of arrays B T ... and B ... */
typedef struct recurrent {
    attn__call *c;
    const cell_kind *kind;
    int dir, cell; /* and the number of its first operand */
    int64_t B, T, I, H, GH, t;
    const uint8_t *mask;        /* B T, or NULL */
    real *gates, *extra;        /* B T GH, B T H */
    real *before[CELL_STATES];  /* B T H */
    real *state[CELL_STATES];   /* B H */
    real *pushed;               /* B GH */
    real *d_state[CELL_STATES]; /* B H */
    real *da, *dp;              /* B T GH */
    real *y;                    /* B T n*H, at this direction's columns */
    int64_t y_row;
} recurrent;

static attn_tensor K(recurrent_matrix)(void *data, int64_t rows, int64_t cols)
{
    return attn_tensor_make(data, REAL_DTYPE, 2, (int64_t[]){rows, cols});
}

static recurrent K(recurrent_make)(attn__call *c, const cell_kind *kind, int dir)
{
    recurrent r = {.c = c, .kind = kind, .dir = dir};
    const attn_tensor *x = &c->in[RECURRENT_X];
    r.cell = RECURRENT_STATE + kind->states + dir * CELL_PARTS;
    r.B = x->shape[0], r.T = x->shape[1], r.I = x->shape[2];
    r.GH = c->in[r.cell + CELL_W_H].shape[0], r.H = c->in[r.cell + CELL_W_H].shape[1];
    r.y_row = c->attr.i[0] * r.H;
    return r;
}

/* Reals kept for one direction. */
static int64_t K(recurrent_kept)(const recurrent *r)
{
    return r->B * r->T * (r->GH + (r->kind->states + 1) * r->H);
}

/* Where this direction's part of the kept block lies. */
static void K(recurrent_place)(recurrent *r, void *kept)
{
    const int64_t rows = r->B * r->T;
    r->gates = (real *)kept + r->dir * K(recurrent_kept)(r);
    r->extra = r->gates + rows * r->GH;
    for (int s = 0; s < r->kind->states; s++) r->before[s] = r->extra + (s + 1) * rows * r->H;
}

/* Step number `step` in this direction's order. */
static int64_t K(recurrent_time)(const recurrent *r, int64_t step)
{
    return r->dir == 0 ? step : r->T - 1 - step;
}

static int64_t K(recurrent_grain)(const recurrent *r)
{
    return attn__max(1, 8192 / attn__max(r->GH, 1));
}

/* The mask, and B H for each state: operands, or zeros. */
static attn_status K(recurrent_start)(recurrent *r)
{
    attn__call *c = r->c;
    const attn_tensor *mask = &c->in[RECURRENT_MASK];
    if (attn__present(mask) && !(r->mask = attn__call_bools(c, mask))) return ATTN_E_MEMORY;
    for (int s = 0; s < r->kind->states; s++) {
        const attn_tensor *first = &c->in[RECURRENT_STATE + s];
        const size_t size = (size_t)(r->B * r->H) * sizeof(real);
        r->state[s] = attn__call_temp(c, r->B * r->H, sizeof(real));
        if (!r->state[s]) return ATTN_E_MEMORY;
        memset(r->state[s], 0, size);
        if (!attn__present(first)) continue;
        const real *from = attn__call_reals(c, first);
        if (!from) return ATTN_E_MEMORY;
        memcpy(r->state[s], from + r->dir * r->B * r->H, size);
    }
    return ATTN_OK;
}

/* ---- forward ----------------------------------------------------------------------------- */

/* Where a bias is given it lies in the rows before the product comes on top. */
static void K(recurrent_fill)(const recurrent *r, const real *bias, real *to, int64_t rows)
{
    const size_t size = (size_t)r->GH * sizeof(real);
    for (int64_t i = 0; bias && i < rows; i++) memcpy(to + i * r->GH, bias, size);
}

/* *bias: NULL when there is none. */
static attn_status K(recurrent_bias)(recurrent *r, int part, const real **bias)
{
    const attn_tensor *t = &r->c->in[r->cell + part];
    *bias = attn__present(t) ? attn__call_reals(r->c, t) : NULL;
    return attn__present(t) && !*bias ? ATTN_E_MEMORY : ATTN_OK;
}

/* gates = x w_x^T + b_x for all steps. */
static attn_status K(recurrent_inputs)(recurrent *r)
{
    const real *bias;
    const attn_tensor w = K(matmul_turned)(r->c->in[r->cell + CELL_W_X]);
    const attn_tensor to =
        attn_tensor_make(r->gates, REAL_DTYPE, 3, (int64_t[]){r->B, r->T, r->GH});
    ATTN_TRY(K(recurrent_bias)(r, CELL_B_X, &bias));
    K(recurrent_fill)(r, bias, r->gates, r->B * r->T);
    return attn__matmul(r->c->ctx, r->c->k, r->c->in[RECURRENT_X], w, to, bias != NULL);
}

static void K(recurrent_step)(void *arg, int64_t from, int64_t to)
{
    const recurrent *r = arg;
    const int64_t H = r->H;
    const size_t size = (size_t)H * sizeof(real);
    for (int64_t b = from; b < to; b++) {
        const int64_t at = b * r->T + r->t;
        real *y = r->y + at * r->y_row;
        cell_row row = {.k = r->c->k,
                        .H = H,
                        .gates = r->gates + at * r->GH,
                        .pushed = r->pushed + b * r->GH,
                        .extra = r->extra ? r->extra + at * H : NULL};
        for (int s = 0; s < r->kind->states; s++) {
            row.state[s] = r->state[s] + b * H;
            if (r->before[s]) memcpy(r->before[s] + at * H, row.state[s], size);
        }
        if (r->mask && !r->mask[at]) {
            memset(y, 0, size);
            continue;
        }
        r->kind->forward(&row);
        memcpy(y, row.state[0], size);
    }
}

static attn_status K(recurrent_run)(recurrent *r)
{
    attn__call *c = r->c;
    const real *bias;
    attn_tensor w = K(matmul_turned)(c->in[r->cell + CELL_W_H]);
    void *turned = (void *)attn__call_reals(c, &w); /* laid out once for all steps */
    r->pushed = attn__call_temp(c, r->B * r->GH, sizeof(real));
    if (!turned || !r->pushed) return ATTN_E_MEMORY;
    ATTN_TRY(K(recurrent_bias)(r, CELL_B_H, &bias));
    w = K(recurrent_matrix)(turned, r->H, r->GH);
    const attn_tensor h = K(recurrent_matrix)(r->state[0], r->B, r->H);
    const attn_tensor pushed = K(recurrent_matrix)(r->pushed, r->B, r->GH);
    for (int64_t step = 0; step < r->T; step++) {
        r->t = K(recurrent_time)(r, step);
        K(recurrent_fill)(r, bias, r->pushed, r->B);
        ATTN_TRY(attn__matmul(c->ctx, c->k, h, w, pushed, bias != NULL));
        attn__call_share(c, r->B, K(recurrent_grain)(r), K(recurrent_step), r);
    }
    return ATTN_OK;
}

static attn_status K(recurrent_direction)(recurrent *r, void *kept)
{
    attn__call *c = r->c;
    if (kept)
        K(recurrent_place)(r, kept);
    else
        r->gates = attn__call_temp(c, r->B * r->T * r->GH, sizeof(real));
    if (!r->gates) return ATTN_E_MEMORY;
    r->y = (real *)c->out[0].data + r->dir * r->H;
    ATTN_TRY(K(recurrent_start)(r));
    ATTN_TRY(K(recurrent_inputs)(r));
    ATTN_TRY(K(recurrent_run)(r));
    for (int s = 0; s < r->kind->states; s++)
        if (c->out[1 + s].data)
            memcpy((real *)c->out[1 + s].data + r->dir * r->B * r->H, r->state[s],
                   (size_t)(r->B * r->H) * sizeof(real));
    return ATTN_OK;
}

static attn_status K(recurrent_forward)(attn__call *c, const cell_kind *kind)
{
    void *kept = NULL;
    const int n_dirs = (int)c->attr.i[0];
    const recurrent first = K(recurrent_make)(c, kind, 0);
    if (first.H == 0) return ATTN_OK;
    if (c->recording &&
        !(kept = attn__call_save(c, n_dirs * K(recurrent_kept)(&first), sizeof(real))))
        return ATTN_E_MEMORY;
    for (int dir = 0; dir < n_dirs; dir++) {
        recurrent r = K(recurrent_make)(c, kind, dir);
        ATTN_TRY(K(recurrent_direction)(&r, kept));
    }
    return ATTN_OK;
}

/* ---- backward ---------------------------------------------------------------------------- */

static void K(recurrent_step_back)(void *arg, int64_t from, int64_t to)
{
    const recurrent *r = arg;
    const int64_t H = r->H;
    for (int64_t b = from; b < to; b++) {
        const int64_t at = b * r->T + r->t;
        cell_back row = {.H = H,
                         .gates = r->gates + at * r->GH,
                         .extra = r->extra + at * H,
                         .da = r->da + at * r->GH,
                         .dp = r->dp + at * r->GH};
        if (r->mask && !r->mask[at]) {
            memset(row.da, 0, (size_t)r->GH * sizeof(real));
            memset(row.dp, 0, (size_t)r->GH * sizeof(real));
            continue;
        }
        for (int s = 0; s < r->kind->states; s++) {
            row.before[s] = r->before[s] + at * H;
            row.d[s] = r->d_state[s] + b * H;
        }
        for (int64_t i = 0; r->y && i < H; i++) row.d[0][i] += r->y[at * r->y_row + i];
        r->kind->backward(&row);
    }
}

/* Room for gradients of gates, and those of the last states. */
static attn_status K(recurrent_start_back)(recurrent *r)
{
    attn__call *c = r->c;
    const int64_t n = r->B * r->H, rows = r->B * r->T;
    r->da = attn__call_temp(c, rows * r->GH, sizeof(real));
    r->dp = r->kind->same ? r->da : attn__call_temp(c, rows * r->GH, sizeof(real));
    if (!r->da || !r->dp) return ATTN_E_MEMORY;
    for (int s = 0; s < r->kind->states; s++) {
        const real *last = c->d_out[1 + s].data;
        r->d_state[s] = attn__call_temp(c, n, sizeof(real));
        if (!r->d_state[s]) return ATTN_E_MEMORY;
        memset(r->d_state[s], 0, (size_t)n * sizeof(real));
        if (last) memcpy(r->d_state[s], last + r->dir * n, (size_t)n * sizeof(real));
    }
    return ATTN_OK;
}

/* Through time: da, dp of all steps, and gradients of the first states. */
static attn_status K(recurrent_run_back)(recurrent *r)
{
    attn__call *c = r->c;
    void *reals = (void *)attn__call_reals(c, &c->in[r->cell + CELL_W_H]);
    if (!reals) return ATTN_E_MEMORY;
    const attn_tensor w = K(recurrent_matrix)(reals, r->GH, r->H);
    const attn_tensor d_h = K(recurrent_matrix)(r->d_state[0], r->B, r->H);
    attn_tensor dp = K(recurrent_matrix)(r->dp, r->B, r->GH);
    dp.stride[0] = r->T * r->GH;
    for (int64_t step = r->T - 1; step >= 0; step--) {
        r->t = K(recurrent_time)(r, step);
        attn__call_share(c, r->B, K(recurrent_grain)(r), K(recurrent_step_back), r);
        dp.data = r->dp + r->t * r->GH;
        ATTN_TRY(attn__matmul(c->ctx, c->k, dp, w, d_h, true));
    }
    return ATTN_OK;
}

/* x as rows of reals, 0 where the mask forbids them. NULL: no memory. */
static void *K(recurrent_seen)(recurrent *r)
{
    const real *x = attn__call_reals(r->c, &r->c->in[RECURRENT_X]);
    const int64_t rows = r->B * r->T;
    if (!r->mask || !x) return (void *)x;
    real *seen = attn__call_temp(r->c, rows * r->I, sizeof(real));
    if (!seen) return NULL;
    for (int64_t i = 0; i < rows; i++) {
        const size_t size = (size_t)r->I * sizeof(real);
        if (r->mask[i])
            memcpy(seen + i * r->I, x + i * r->I, size);
        else
            memset(seen + i * r->I, 0, size);
    }
    return seen;
}

/* d_w += d^T of, d_b += sum of the rows of d. */
static attn_status K(recurrent_weights)(recurrent *r, real *d, int w, int b, void *of,
                                        int64_t width)
{
    attn__call *c = r->c;
    const int64_t rows = r->B * r->T;
    const attn_tensor *d_w = &c->d_in[r->cell + w], *d_b = &c->d_in[r->cell + b];
    const attn_tensor left = K(recurrent_matrix)(d, rows, r->GH);
    if (attn__present(d_w))
        ATTN_TRY(attn__matmul(c->ctx, c->k, K(matmul_turned)(left),
                              K(recurrent_matrix)(of, rows, width), *d_w, true));
    return attn__present(d_b) ? attn__call_reduce(c, d, &left, d_b) : ATTN_OK;
}

static attn_status K(recurrent_direction_back)(recurrent *r)
{
    attn__call *c = r->c;
    const attn_tensor *d_x = &c->d_in[RECURRENT_X];
    const attn_tensor *mask = &c->in[RECURRENT_MASK];
    if (attn__present(mask) && !(r->mask = attn__call_bools(c, mask))) return ATTN_E_MEMORY;
    K(recurrent_place)(r, c->saved);
    if (c->d_out[0].data) r->y = (real *)c->d_out[0].data + r->dir * r->H;
    ATTN_TRY(K(recurrent_start_back)(r));
    ATTN_TRY(K(recurrent_run_back)(r));
    void *seen = K(recurrent_seen)(r);
    if (!seen) return ATTN_E_MEMORY;
    ATTN_TRY(K(recurrent_weights)(r, r->da, CELL_W_X, CELL_B_X, seen, r->I));
    ATTN_TRY(K(recurrent_weights)(r, r->dp, CELL_W_H, CELL_B_H, r->before[0], r->H));
    for (int s = 0; s < r->kind->states; s++) {
        real *to = c->d_in[RECURRENT_STATE + s].data;
        for (int64_t i = 0; to && i < r->B * r->H; i++)
            to[r->dir * r->B * r->H + i] += r->d_state[s][i];
    }
    if (!attn__present(d_x)) return ATTN_OK;
    const attn_tensor da =
        attn_tensor_make(r->da, REAL_DTYPE, 3, (int64_t[]){r->B, r->T, r->GH});
    return attn__matmul(c->ctx, c->k, da, c->in[r->cell + CELL_W_X], *d_x, true);
}

static attn_status K(recurrent_backward)(attn__call *c, const cell_kind *kind)
{
    for (int dir = 0; dir < (int)c->attr.i[0]; dir++) {
        recurrent r = K(recurrent_make)(c, kind, dir);
        if (r.H > 0) ATTN_TRY(K(recurrent_direction_back)(&r));
    }
    return ATTN_OK;
}

static attn_status K(gru_forward)(attn__call *c)
{
    return K(recurrent_forward)(c, &cell_kind_gru);
}

static attn_status K(gru_backward)(attn__call *c)
{
    return K(recurrent_backward)(c, &cell_kind_gru);
}

static attn_status K(lstm_forward)(attn__call *c)
{
    return K(recurrent_forward)(c, &cell_kind_lstm);
}

static attn_status K(lstm_backward)(attn__call *c)
{
    return K(recurrent_backward)(c, &cell_kind_lstm);
}

#endif
