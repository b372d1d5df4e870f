/* SPDX-License-Identifier: MIT
 * Elements that move to other places, or next to others; nothing is computed. Any element type:
 * floats become reals of the tape, integers and bools stay what they are and take no gradient.
 *
 *   pad     values before and after one dimension, or elements cut away there
 *   roll    one dimension round: y[(j + by) mod n] = x[j]
 *   concat  operands one behind the other; also stack
 *
 * A list of any length is concatenated by a tree: bodies take ATTN__OP_MOST operands at once.
 */
#include "tape/tape.h"

/* out 0: operand 0 with another size of its dimension dim, which must exist. */
static attn_status move_out(attn__call *c, int dim, int64_t size)
{
    const attn_tensor *a = &c->in[0];
    int64_t shape[ATTN_MAX_RANK];
    for (int i = 0; i < a->rank; i++) shape[i] = i == dim ? size : a->shape[i];
    c->n_out = 1;
    attn__out_set(c, 0, attn__dtype_is_float(a->dtype) ? c->real : a->dtype, a->rank, shape);
    return ATTN_OK;
}

static attn_status move_dim(const attn__call *c, const char *op, int *dim, attn_error *error)
{
    ATTN_TRY(attn__need_rank(c, 0, 1, ATTN_MAX_RANK, error));
    *dim = attn__dim(c->in[0].rank, c->attr.i[0]);
    if (*dim >= 0) return ATTN_OK;
    return attn__fail_count(error, ATTN_E_PARAM, op, "the tensor has no such dimension",
                            c->in[0].rank, c->attr.i[0]);
}

/* ---- pad and roll ------------------------------------------------------------------------ */

attn_status attn__shape_pad(attn__call *c, attn_error *error)
{
    const int64_t widest = ATTN__FAR;
    const int64_t before = c->attr.i[1], after = c->attr.i[2];
    int dim;
    ATTN_TRY(move_dim(c, "pad", &dim, error));
    if (before < -widest || before > widest || after < -widest || after > widest)
        return attn__fail_count(error, ATTN_E_DIM, "pad", "a width must not be above 2^47",
                                widest, attn__max(before, after));
    const int64_t size = c->in[0].shape[dim] + before + after;
    if (size < 0)
        return attn__fail_count(error, ATTN_E_SHAPE, "pad", "more is cut away than there is", 0,
                                size);
    return move_out(c, dim, size);
}

attn_var attn_tape_pad(attn_tape *t, attn_var a, int dim, int64_t before, int64_t after,
                       double value)
{
    const attn__attr attr = {.i = {dim, before, after}, .f = {value}};
    return attn__apply1(t, ATTN__OP_pad, 1, &a, &attr);
}

attn_status attn__shape_roll(attn__call *c, attn_error *error)
{
    int dim;
    ATTN_TRY(move_dim(c, "roll", &dim, error));
    return move_out(c, dim, c->in[0].shape[dim]);
}

attn_var attn_tape_roll(attn_tape *t, attn_var a, int dim, int64_t by)
{
    const attn__attr attr = {.i = {dim, by}};
    return attn__apply1(t, ATTN__OP_roll, 1, &a, &attr);
}

/* ---- concat ------------------------------------------------------------------------------ */

/* Operand i goes behind operand 0 along dim. */
static attn_status move_fits(const attn__call *c, int i, int dim, attn_error *error)
{
    const attn_tensor *a = &c->in[0], *b = &c->in[i];
    const bool reals = attn__dtype_is_float(a->dtype);
    ATTN_TRY(attn__need_rank(c, i, a->rank, a->rank, error));
    if (b->dtype != a->dtype && !(reals && attn__dtype_is_float(b->dtype)))
        return attn__fail(error, ATTN_E_DTYPE, "concat",
                          "the parts must all be reals, or of one type");
    for (int d = 0; d < a->rank; d++)
        if (d != dim)
            ATTN_TRY(attn__need_same("concat", "the other sizes of the parts must be equal",
                                     a->shape[d], b->shape[d], error));
    return ATTN_OK;
}

attn_status attn__shape_concat(attn__call *c, attn_error *error)
{
    int dim;
    int64_t size = 0;
    ATTN_TRY(move_dim(c, "concat", &dim, error));
    for (int i = 0; i < c->n_in; i++) {
        ATTN_TRY(move_fits(c, i, dim, error));
        if (!attn__add(size, c->in[i].shape[dim], &size))
            return attn__fail(error, ATTN_E_OVERFLOW, "concat",
                              "the size does not fit in 64 bits");
    }
    return move_out(c, dim, size);
}

/* A number with ATTN__OP_MOST as its base: level 0 collects parts, a full level becomes one
 * part of the next. Parts that the tree made are dropped once they are used. */
enum { MOVE_LEVELS = 7 }; /* 32^7 parts are more than an int counts */

typedef struct move_tree {
    attn_tape *tape;
    int dim;
    bool made; /* the parts of level 0 are the tree's as well */
    int n[MOVE_LEVELS];
    attn_var part[MOVE_LEVELS][ATTN__OP_MOST];
} move_tree;

/* The parts of one level become one. */
static attn_var move_join(move_tree *m, int level)
{
    const attn__attr attr = {.i = {m->dim}};
    const attn_var *part = m->part[level];
    const int n = m->n[level];
    m->n[level] = 0;
    if (level > 0 && n == 1) return part[0];
    const attn_var whole = attn__apply1(m->tape, ATTN__OP_concat, n, part, &attr);
    for (int i = 0; i < n && (level > 0 || m->made); i++) attn_tape_drop(m->tape, part[i]);
    return whole;
}

static void move_push(move_tree *m, attn_var part)
{
    for (int level = 0; level < MOVE_LEVELS; level++) {
        m->part[level][m->n[level]++] = part;
        if (m->n[level] < ATTN__OP_MOST) return;
        part = move_join(m, level);
    }
}

static attn_var move_close(move_tree *m)
{
    attn_var whole = {0};
    for (int level = 0; level < MOVE_LEVELS; level++) {
        if (whole.tape) m->part[level][m->n[level]++] = whole;
        if (m->n[level] > 0) whole = move_join(m, level);
    }
    return whole;
}

static bool move_parts(attn_tape *t, const char *op, int n, const attn_var *parts)
{
    if (n < 1)
        attn__var_fail(t, ATTN_E_PARAM, op, "at least one part is needed", 1, n);
    else if (!parts)
        attn__var_fail(t, ATTN_E_NULL, op, "the list of parts is NULL", n, 0);
    return n > 0 && parts;
}

/* Whether the parts have room for a dimension at dim, so that stack says no by its own name. */
static bool move_place(attn_tape *t, attn_var part, int dim)
{
    const int rank = attn__var_value(t, part).rank;
    const bool full = rank == ATTN_MAX_RANK, nowhere = attn__dim(rank + 1, dim) < 0;
    if (!attn__var_live(t, part)) return true;
    if (full)
        attn__var_fail(t, ATTN_E_RANK, "stack", "the rank must be below 8", rank - 1, rank);
    else if (nowhere)
        attn__var_fail(t, ATTN_E_PARAM, "stack", "there is no such place", rank, dim);
    return !full && !nowhere;
}

attn_var attn_tape_concat(attn_tape *t, int n, const attn_var *parts, int dim)
{
    move_tree m = {.tape = t, .dim = dim};
    if (!move_parts(t, "concat", n, parts)) return (attn_var){0};
    for (int i = 0; i < n; i++) move_push(&m, parts[i]);
    return move_close(&m);
}

attn_var attn_tape_stack(attn_tape *t, int n, const attn_var *parts, int dim)
{
    move_tree m = {.tape = t, .dim = dim, .made = true};
    if (!move_parts(t, "stack", n, parts) || !move_place(t, parts[0], dim))
        return (attn_var){0};
    for (int i = 0; i < n; i++) move_push(&m, attn_tape_unsqueeze(t, parts[i], dim));
    return move_close(&m);
}
