/* SPDX-License-Identifier: MIT
 * Cross-entropy and log_prob: logits ... C and a class for each row. op/entropy.h has the
 * numbers. attr: i[0] the reduction, i[1] the class that is ignored, f[0] the smoothing. Every
 * class is compared with C before anything runs. */
#include "tape/walk.h"

attn_var attn_tape_cross_entropy(attn_tape *t, attn_var logits, attn_var ids, double smoothing,
                                 int64_t ignore, attn_reduction reduction)
{
    const attn__attr attr = {.i = {reduction, ignore}, .f = {smoothing}};
    return attn__apply1(t, ATTN__OP_cross_entropy, 2, (attn_var[]){logits, ids}, &attr);
}

attn_var attn_tape_log_prob(attn_tape *t, attn_var logits, attn_var ids)
{
    const attn__attr attr = {.i = {ATTN_REDUCE_NONE, -1}};
    return attn__apply1(t, ATTN__OP_log_prob, 2, (attn_var[]){logits, ids}, &attr);
}

/* ---- the shape rules --------------------------------------------------------------------- */

/* Operand 1 counts classes below C, or is the ignored number when there is one. */
static attn_status entropy_classes(const attn__call *c, int64_t C, const int64_t *ignore,
                                   attn_error *error)
{
    const attn_tensor *ids = &c->in[1];
    const attn__walk walk = attn__walk_of(ids, ids);
    for (int64_t i = 0; i < attn_tensor_count(*ids); i++) {
        const int64_t id = attn__get_int(ids->dtype, attn__walk_at(&walk, i), 0);
        if ((id < 0 || id >= C) && !(ignore && id == *ignore))
            return attn__fail_count(error, ATTN_E_PARAM, attn__ops[c->op].name,
                                    "a class must be 0 or more and below the last size of the "
                                    "logits",
                                    C, id);
    }
    return ATTN_OK;
}

static attn_status entropy_shape(attn__call *c, const int64_t *ignore, attn_error *error)
{
    const attn_tensor *x = &c->in[0], *ids = &c->in[1];
    const char *op = attn__ops[c->op].name;
    if (c->attr.i[0] < ATTN_REDUCE_MEAN || c->attr.i[0] > ATTN_REDUCE_NONE)
        return attn__fail_count(error, ATTN_E_ENUM, op, "no such reduction", ATTN_REDUCE_NONE,
                                c->attr.i[0]);
    ATTN_TRY(attn__need_real(c, 0, error));
    ATTN_TRY(attn__need_int(c, 1, error));
    ATTN_TRY(attn__need_rank(c, 0, 1, ATTN_MAX_RANK, error));
    ATTN_TRY(attn__need_rank(c, 1, x->rank - 1, x->rank - 1, error));
    for (int i = 0; i < ids->rank; i++)
        ATTN_TRY(attn__need_same(op, "there must be one class for each row of logits",
                                 x->shape[i], ids->shape[i], error));
    c->n_out = 1;
    if (c->attr.i[0] == ATTN_REDUCE_NONE)
        attn__out_like(c, 0, ids);
    else
        attn__out_set(c, 0, c->real, 0, NULL);
    return entropy_classes(c, x->shape[x->rank - 1], ignore, error);
}

attn_status attn__shape_cross_entropy(attn__call *c, attn_error *error)
{
    if (!(c->attr.f[0] >= 0 && c->attr.f[0] <= 1))
        return attn__fail(error, ATTN_E_PARAM, "cross_entropy", "smoothing must be in 0 .. 1");
    return entropy_shape(c, &c->attr.i[1], error);
}

attn_status attn__shape_log_prob(attn__call *c, attn_error *error)
{
    return entropy_shape(c, NULL, error);
}
