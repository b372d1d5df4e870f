/* SPDX-License-Identifier: MIT
 * Normalisations: y = (x - mean) / sqrt(var + eps) * w + b, with mean and var over a set
 *   layernorm   the last n dims, those of w and b
 *   rmsnorm     the last dim; mean 0, var the mean of squares; no b
 *   groupnorm   x N C ...: C/groups channels of one sample; w, b C
 *   batchnorm   x N C ...: all of one channel; w, b C. In training the caller's running
 *               estimates move by momentum to the mean and the unbiased variance of the batch,
 *               once a forward and not again when a checkpoint repeats it; a single element
 *               says nothing of a variance, no element of neither. Otherwise they are used.
 * Var is divided by the count. Attributes: i = n; groups; train - f = eps, momentum. */
#include <math.h>

#include "tape/norm.h"

/* ---- the three over rows ---------------------------------------------------------------- */

static attn_status norm_eps(const attn__call *c, attn_error *error)
{
    const double eps = c->attr.f[0];
    if (eps > 0 && isfinite(eps)) return ATTN_OK;
    return attn__fail(error, ATTN_E_PARAM, attn__ops[c->op].name,
                      "eps must be positive and finite");
}

/* Operand i, when given, must be of the last n dims of x. */
static attn_status norm_tail(const attn__call *c, int i, int n, attn_error *error)
{
    const attn_tensor *x = &c->in[0], *w = &c->in[i];
    if (i >= c->n_in || !attn__present(w)) return ATTN_OK;
    ATTN_TRY(attn__need_real(c, i, error));
    ATTN_TRY(attn__need_rank(c, i, n, n, error));
    for (int d = 0; d < n; d++)
        ATTN_TRY(attn__need_same(attn__ops[c->op].name,
                                 "w and b must have the sizes that x ends with",
                                 x->shape[x->rank - n + d], w->shape[d], error));
    return ATTN_OK;
}

/* Operand i, when given, must have a number a channel. */
static attn_status norm_channels(const attn__call *c, int i, attn_error *error)
{
    if (!attn__present(&c->in[i])) return ATTN_OK;
    ATTN_TRY(attn__need_real(c, i, error));
    ATTN_TRY(attn__need_rank(c, i, 1, 1, error));
    return attn__need_same(attn__ops[c->op].name, "one number a channel, dim 1 of x",
                           c->in[0].shape[1], c->in[i].shape[0], error);
}

attn_status attn__shape_layernorm(attn__call *c, attn_error *error)
{
    const int64_t n = c->attr.i[0];
    ATTN_TRY(attn__need_real(c, 0, error));
    ATTN_TRY(norm_eps(c, error));
    if (n < 1 || n > c->in[0].rank)
        return attn__fail_count(error, ATTN_E_PARAM, "layernorm",
                                "x must have the dimensions to normalise over, at least one",
                                c->in[0].rank, n);
    for (int i = 1; i <= 2; i++) ATTN_TRY(norm_tail(c, i, (int)n, error));
    attn__out_like(c, 0, &c->in[0]);
    return ATTN_OK;
}

attn_status attn__shape_rmsnorm(attn__call *c, attn_error *error)
{
    ATTN_TRY(attn__need_real(c, 0, error));
    ATTN_TRY(attn__need_rank(c, 0, 1, ATTN_MAX_RANK, error));
    ATTN_TRY(norm_eps(c, error));
    ATTN_TRY(norm_tail(c, 1, 1, error));
    attn__out_like(c, 0, &c->in[0]);
    return ATTN_OK;
}

attn_status attn__shape_groupnorm(attn__call *c, attn_error *error)
{
    const int64_t groups = c->attr.i[0];
    ATTN_TRY(attn__need_real(c, 0, error));
    ATTN_TRY(attn__need_rank(c, 0, 2, ATTN_MAX_RANK, error));
    ATTN_TRY(norm_eps(c, error));
    if (groups < 1)
        return attn__fail_count(error, ATTN_E_PARAM, "groupnorm",
                                "there must be at least one group", 1, groups);
    if (c->in[0].shape[1] % groups != 0)
        return attn__fail_count(error, ATTN_E_SHAPE, "groupnorm",
                                "the groups must divide the channels", groups,
                                c->in[0].shape[1]);
    for (int i = 1; i <= 2; i++) ATTN_TRY(norm_channels(c, i, error));
    attn__out_like(c, 0, &c->in[0]);
    return ATTN_OK;
}

static int64_t norm_product(const attn_tensor *t, int from, int to)
{
    int64_t n = 1;
    for (int d = from; d < to; d++) n *= t->shape[d];
    return n;
}

attn__norm_plan attn__norm_plan_of(const attn__call *c, attn__norm_kind kind)
{
    const attn_tensor *x = &c->in[0];
    const int rank = x->rank;
    attn__norm_plan p = {.eps = c->attr.f[0], .centred = kind != ATTN__NORM_RMS};
    p.groups = p.channels = p.inner = 1;
    if (attn_tensor_count(*x) == 0) return p;
    if (kind == ATTN__NORM_GROUP || kind == ATTN__NORM_BATCH) {
        p.groups = kind == ATTN__NORM_GROUP ? c->attr.i[0] : 1;
        p.channels = x->shape[1] / p.groups;
        p.inner = norm_product(x, 2, rank);
        p.rows = x->shape[0] * p.groups;
    } else {
        const int n = kind == ATTN__NORM_RMS ? 1 : (int)c->attr.i[0];
        p.channels = norm_product(x, rank - n, rank);
        p.rows = norm_product(x, 0, rank - n);
    }
    return p;
}

/* ---- batchnorm and its estimates -------------------------------------------------------- */

/* Operands 3 and 4: C floats each, needed in evaluation; in training they are written. */
static attn_status norm_running(const attn__call *c, attn_error *error)
{
    const attn_tensor *mean = &c->in[3], *var = &c->in[4];
    const bool train = c->attr.i[0];
    if (!train && (!attn__present(mean) || !attn__present(var)))
        return attn__fail(error, ATTN_E_NULL, "batchnorm",
                          "without training the running mean and var are needed");
    for (int i = 3; i <= 4; i++) {
        ATTN_TRY(norm_channels(c, i, error));
        if (train && attn__present(&c->in[i]) && attn__tensor_self_overlap(&c->in[i]))
            return attn__fail(error, ATTN_E_ALIAS, "batchnorm",
                              "the running mean or var overlaps itself");
    }
    if (train && attn__present(mean) && attn__present(var) && attn__tensor_overlap(mean, var))
        return attn__fail(error, ATTN_E_ALIAS, "batchnorm",
                          "the running mean and var overlap each other");
    return ATTN_OK;
}

attn_status attn__shape_batchnorm(attn__call *c, attn_error *error)
{
    const double momentum = c->attr.f[1];
    ATTN_TRY(attn__need_real(c, 0, error));
    ATTN_TRY(attn__need_rank(c, 0, 2, ATTN_MAX_RANK, error));
    ATTN_TRY(norm_eps(c, error));
    if (!(momentum > 0 && momentum <= 1))
        return attn__fail(error, ATTN_E_PARAM, "batchnorm",
                          "the momentum must be above 0 and at most 1");
    for (int i = 1; i <= 2; i++) ATTN_TRY(norm_channels(c, i, error));
    ATTN_TRY(norm_running(c, error));
    attn__out_like(c, 0, &c->in[0]);
    return ATTN_OK;
}

static void norm_move(const attn_tensor *running, int64_t i, double momentum, double to)
{
    const int64_t at = i * running->stride[0];
    const double old = attn__get(running->dtype, running->data, at);
    attn__put(running->dtype, running->data, at, (1 - momentum) * old + momentum * to);
}

void attn__norm_update(const attn__call *c, int64_t count, const double *stats)
{
    const double momentum = c->attr.f[1];
    const double unbiased = count > 1 ? (double)count / (double)(count - 1) : 1;
    if (c->again || !c->attr.i[0] || count == 0) return;
    for (int64_t i = 0; i < c->in[0].shape[1]; i++) {
        if (attn__present(&c->in[3])) norm_move(&c->in[3], i, momentum, stats[2 * i]);
        if (attn__present(&c->in[4]) && count > 1)
            norm_move(&c->in[4], i, momentum, stats[2 * i + 1] * unbiased);
    }
}

/* ---- the public functions --------------------------------------------------------------- */

static double norm_eps_or(double eps)
{
    return eps == 0 ? 1e-5 : eps;
}

attn_var attn_tape_layernorm(attn_tape *t, attn_var x, int n, attn_var w, attn_var b,
                             double eps)
{
    const attn__attr attr = {.i = {n}, .f = {norm_eps_or(eps)}};
    return attn__apply1(t, ATTN__OP_layernorm, 3, (const attn_var[]){x, w, b}, &attr);
}

attn_var attn_tape_rmsnorm(attn_tape *t, attn_var x, attn_var w, double eps)
{
    const attn__attr attr = {.f = {norm_eps_or(eps)}};
    return attn__apply1(t, ATTN__OP_rmsnorm, 2, (const attn_var[]){x, w}, &attr);
}

attn_var attn_tape_groupnorm(attn_tape *t, attn_var x, int64_t groups, attn_var w, attn_var b,
                             double eps)
{
    const attn__attr attr = {.i = {groups}, .f = {norm_eps_or(eps)}};
    return attn__apply1(t, ATTN__OP_groupnorm, 3, (const attn_var[]){x, w, b}, &attr);
}

attn_var attn_tape_batchnorm(attn_tape *t, attn_var x, attn_var w, attn_var b, attn_tensor mean,
                             attn_tensor var, bool train, double momentum, double eps)
{
    const attn__attr attr = {.i = {train},
                             .f = {norm_eps_or(eps), momentum == 0 ? 0.1 : momentum}};
    attn_var in[5] = {x, w, b};
    if (attn__present(&mean)) in[3] = attn_tape_input(t, mean);
    if (attn__present(&var)) in[4] = attn_tape_input(t, var);
    const attn_var y = attn__apply1(t, ATTN__OP_batchnorm, 5, in, &attr);
    for (int i = 3; i < 5; i++) attn_tape_drop(t, in[i]);
    return y;
}
