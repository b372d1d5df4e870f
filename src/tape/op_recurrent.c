/* SPDX-License-Identifier: MIT
 * GRU and LSTM: what they take and give. op/recurrent.h and op/cell.h have the numbers.
 *   operands   x B T I, mask B T or empty, a first state (LSTM: two) or empty, then w_x GH I,
 *              w_h GH H, b_x GH, b_h GH of each direction; attr.i[0]: directions, 1 or 2
 *   results    y B T n*H, then the last states
 * A state is B H with one direction and D B H with two. */
#include "tape/tape.h"

enum { RECURRENT_PARTS = 4, RECURRENT_CELLS = 2, RECURRENT_STATES = 2 };

/* ---- the calls --------------------------------------------------------------------------- */

static attn_var recurrent_apply(attn_tape *t, attn__op_index op, attn_var *in, int n_states,
                                int n_cells, const attn_cell *cells, attn_var *const *last)
{
    const attn__attr attr = {.i = {n_cells}};
    attn_var out[1 + RECURRENT_STATES];
    uint32_t wanted = 1;
    int n = 2 + n_states;
    for (int s = 0; s < n_states; s++)
        if (last[s]) *last[s] = (attn_var){0}, wanted |= 2U << s;
    if (n_cells < 1 || n_cells > RECURRENT_CELLS || !cells)
        return attn__var_fail(t, ATTN_E_PARAM, attn__ops[op].name,
                              "there must be 1 or 2 cells, and the list of them",
                              RECURRENT_CELLS, cells ? n_cells : 0);
    for (int i = 0; i < n_cells; i++, n += RECURRENT_PARTS) {
        in[n] = cells[i].w_x, in[n + 1] = cells[i].w_h;
        in[n + 2] = cells[i].b_x, in[n + 3] = cells[i].b_h;
    }
    attn__apply(t, op, n, in, &attr, 1 + n_states, out, wanted);
    for (int s = 0; s < n_states; s++)
        if (last[s]) *last[s] = out[1 + s];
    return out[0];
}

attn_var attn_tape_gru(attn_tape *t, attn_var x, attn_var h0, attn_var mask, int n_cells,
                       const attn_cell *cells, attn_var *h)
{
    attn_var in[3 + RECURRENT_CELLS * RECURRENT_PARTS] = {x, mask, h0};
    return recurrent_apply(t, ATTN__OP_gru, in, 1, n_cells, cells, (attn_var *[]){h});
}

attn_var attn_tape_lstm(attn_tape *t, attn_var x, attn_var h0, attn_var c0, attn_var mask,
                        int n_cells, const attn_cell *cells, attn_var *h, attn_var *c)
{
    attn_var in[4 + RECURRENT_CELLS * RECURRENT_PARTS] = {x, mask, h0, c0};
    return recurrent_apply(t, ATTN__OP_lstm, in, 2, n_cells, cells, (attn_var *[]){h, c});
}

/* ---- the shape rules --------------------------------------------------------------------- */

static attn_status recurrent_need_matrix(const attn__call *c, int i, attn_error *error)
{
    ATTN_TRY(attn__need_real(c, i, error));
    return attn__need_rank(c, i, 2, 2, error);
}

static attn_status recurrent_need_bias(const attn__call *c, const char *op, int i, int64_t GH,
                                       attn_error *error)
{
    if (!attn__present(&c->in[i])) return ATTN_OK;
    ATTN_TRY(attn__need_real(c, i, error));
    ATTN_TRY(attn__need_rank(c, i, 1, 1, error));
    return attn__need_same(op, "a bias must be as long as there are rows of w_h", GH,
                           c->in[i].shape[0], error);
}

/* The cell whose first operand is i: gates times H rows, as many columns as x or h. */
static attn_status recurrent_need_cell(const attn__call *c, const char *op, int i, int gates,
                                       int64_t H, attn_error *error)
{
    const attn_tensor *w_x = &c->in[i], *w_h = &c->in[i + 1];
    int64_t GH;
    ATTN_TRY(recurrent_need_matrix(c, i, error));
    ATTN_TRY(recurrent_need_matrix(c, i + 1, error));
    if (!attn__mul(H, gates, &GH))
        return attn__fail(error, ATTN_E_OVERFLOW, op, "gates times H does not fit in 64 bits");
    ATTN_TRY(attn__need_same(op, "columns of w_h must be H in both directions", H,
                             w_h->shape[1], error));
    ATTN_TRY(
        attn__need_same(op, "rows of w_h must be gates times H", GH, w_h->shape[0], error));
    ATTN_TRY(
        attn__need_same(op, "rows of w_x must be gates times H", GH, w_x->shape[0], error));
    ATTN_TRY(attn__need_same(op, "columns of w_x must equal the last size of x",
                             c->in[0].shape[2], w_x->shape[1], error));
    ATTN_TRY(recurrent_need_bias(c, op, i + 2, GH, error));
    return recurrent_need_bias(c, op, i + 3, GH, error);
}

static attn_status recurrent_need_mask(const attn__call *c, const char *op, attn_error *error)
{
    const attn_tensor *x = &c->in[0], *mask = &c->in[1];
    if (!attn__present(mask)) return ATTN_OK;
    ATTN_TRY(attn__need_bool(c, 1, error));
    ATTN_TRY(attn__need_rank(c, 1, 2, 2, error));
    ATTN_TRY(attn__need_same(op, "the mask must have the batch of x", x->shape[0],
                             mask->shape[0], error));
    return attn__need_same(op, "the mask must have the steps of x", x->shape[1], mask->shape[1],
                           error);
}

/* Operand i, when given, has this shape. */
static attn_status recurrent_need_state(const attn__call *c, const char *op, int i, int rank,
                                        const int64_t *shape, attn_error *error)
{
    if (!attn__present(&c->in[i])) return ATTN_OK;
    ATTN_TRY(attn__need_real(c, i, error));
    ATTN_TRY(attn__need_rank(c, i, rank, rank, error));
    for (int d = 0; d < rank; d++)
        ATTN_TRY(attn__need_same(op, "a first state must be B H, or D B H with two directions",
                                 shape[d], c->in[i].shape[d], error));
    return ATTN_OK;
}

static attn_status recurrent_shape(attn__call *c, const char *op, int gates, int states,
                                   attn_error *error)
{
    const attn_tensor *x = &c->in[0];
    const int64_t n = c->attr.i[0];
    const int first = 2 + states;
    ATTN_TRY(attn__need_real(c, 0, error));
    ATTN_TRY(attn__need_rank(c, 0, 3, 3, error));
    ATTN_TRY(recurrent_need_mask(c, op, error));
    ATTN_TRY(recurrent_need_matrix(c, first + 1, error));
    const int64_t H = c->in[first + 1].shape[1];
    for (int i = 0; i < n; i++)
        ATTN_TRY(recurrent_need_cell(c, op, first + i * RECURRENT_PARTS, gates, H, error));
    const int64_t state[] = {n, x->shape[0], H}, out[] = {x->shape[0], x->shape[1], n * H};
    const int skip = n == 1, rank = 3 - skip;
    for (int s = 0; s < states; s++) {
        ATTN_TRY(recurrent_need_state(c, op, 2 + s, rank, state + skip, error));
        attn__out_set(c, 1 + s, c->real, rank, state + skip);
    }
    attn__out_set(c, 0, c->real, 3, out);
    c->n_out = 1 + states;
    return ATTN_OK;
}

attn_status attn__shape_gru(attn__call *c, attn_error *error)
{
    return recurrent_shape(c, "gru", 3, 1, error);
}

attn_status attn__shape_lstm(attn__call *c, attn_error *error)
{
    return recurrent_shape(c, "lstm", 4, 2, error);
}
