/* SPDX-License-Identifier: MIT
 * CTC: log_probs T B C, targets B S, frames and targets of each sample B. op/ctc.h has the
 * numbers. attr: i[0] the reduction, i[1] the blank class. Every length is compared with T and
 * S, and every target within its length with C and the blank, before anything runs. */
#include "tape/tape.h"

attn_var attn_tape_ctc(attn_tape *t, attn_var log_probs, attn_var targets,
                       attn_var input_lengths, attn_var target_lengths, int64_t blank,
                       attn_reduction reduction)
{
    const attn__attr attr = {.i = {reduction, blank}};
    const attn_var in[] = {log_probs, targets, input_lengths, target_lengths};
    return attn__apply1(t, ATTN__OP_ctc, 4, in, &attr);
}

/* ---- the shape rule ---------------------------------------------------------------------- */

static int64_t ctc_int(const attn_tensor *t, int64_t i)
{
    return attn__get_int(t->dtype, t->data, i * t->stride[0]);
}

/* Operand i: a length of at most `most` for each sample. */
static attn_status ctc_need_lengths(const attn__call *c, int i, int64_t most, const char *what,
                                    attn_error *error)
{
    const attn_tensor *t = &c->in[i];
    ATTN_TRY(attn__need_int(c, i, error));
    ATTN_TRY(attn__need_rank(c, i, 1, 1, error));
    ATTN_TRY(attn__need_same("ctc", "there must be a length for each sample", c->in[0].shape[1],
                             t->shape[0], error));
    for (int64_t b = 0; b < t->shape[0]; b++)
        if (ctc_int(t, b) < 0 || ctc_int(t, b) > most)
            return attn__fail_count(error, ATTN_E_LENGTH, "ctc", what, most, ctc_int(t, b));
    return ATTN_OK;
}

static attn_status ctc_need_targets(const attn__call *c, int64_t blank, attn_error *error)
{
    const attn_tensor *targets = &c->in[1];
    const int64_t C = c->in[0].shape[2];
    for (int64_t b = 0; b < targets->shape[0]; b++)
        for (int64_t s = 0; s < ctc_int(&c->in[3], b); s++) {
            const int64_t id = attn__get_int(targets->dtype, targets->data,
                                             b * targets->stride[0] + s * targets->stride[1]);
            if (id < 0 || id >= C || id == blank)
                return attn__fail_count(error, ATTN_E_PARAM, "ctc",
                                        id == blank ? "a target must not be the blank"
                                                    : "a target must be a class",
                                        C, id);
        }
    return ATTN_OK;
}

attn_status attn__shape_ctc(attn__call *c, attn_error *error)
{
    const attn_tensor *x = &c->in[0], *targets = &c->in[1];
    const int64_t blank = c->attr.i[1];
    if (c->attr.i[0] < ATTN_REDUCE_MEAN || c->attr.i[0] > ATTN_REDUCE_NONE)
        return attn__fail_count(error, ATTN_E_ENUM, "ctc", "no such reduction",
                                ATTN_REDUCE_NONE, c->attr.i[0]);
    ATTN_TRY(attn__need_real(c, 0, error));
    ATTN_TRY(attn__need_rank(c, 0, 3, 3, error));
    ATTN_TRY(attn__need_int(c, 1, error));
    ATTN_TRY(attn__need_rank(c, 1, 2, 2, error));
    ATTN_TRY(attn__need_same("ctc", "log_probs and targets must agree on the batch",
                             x->shape[1], targets->shape[0], error));
    if (blank < 0 || blank >= x->shape[2])
        return attn__fail_count(error, ATTN_E_PARAM, "ctc", "the blank must be a class",
                                x->shape[2], blank);
    ATTN_TRY(ctc_need_lengths(c, 2, x->shape[0], "a sample must not have more frames than T",
                              error));
    ATTN_TRY(ctc_need_lengths(c, 3, targets->shape[1],
                              "a target must not be longer than there are targets", error));
    ATTN_TRY(ctc_need_targets(c, blank, error));
    c->n_out = 1;
    attn__out_set(c, 0, c->real, c->attr.i[0] == ATTN_REDUCE_NONE, &x->shape[1]);
    return ATTN_OK;
}
