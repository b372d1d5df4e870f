/* SPDX-License-Identifier: MIT
 * What the shape rules of conv, pool and resize have in common (picture.h). */
#include "tape/picture.h"

int64_t attn__picture_size(const attn_tensor *t, int axis)
{
    if (axis == 1) return t->shape[t->rank - 1];
    return t->rank == 4 ? t->shape[2] : 1;
}

int64_t attn__picture_planes(const attn_tensor *t)
{
    return attn_tensor_count(*t) == 0 ? 0 : t->shape[0] * t->shape[1];
}

attn_status attn__picture_number(const char *op, const char *small, int64_t least, int64_t got,
                                 attn_error *error)
{
    if (got < least) return attn__fail_count(error, ATTN_E_PARAM, op, small, least, got);
    if (got > ATTN__PICTURE_MOST)
        return attn__fail_count(error, ATTN_E_LIMIT, op, "a parameter is beyond 2^30",
                                ATTN__PICTURE_MOST, got);
    return ATTN_OK;
}

attn_status attn__picture_need(const attn__call *c, int i, int least, int most,
                               attn_error *error)
{
    ATTN_TRY(attn__need_real(c, i, error));
    ATTN_TRY(attn__need_rank(c, i, least, most, error));
    for (int axis = 0; axis < 2; axis++) {
        const int64_t size = attn__picture_size(&c->in[i], axis);
        if (size > ATTN__PICTURE_MOST)
            return attn__fail_count(error, ATTN_E_LIMIT, attn__ops[c->op].name,
                                    "a height, width or length is beyond 2^30",
                                    ATTN__PICTURE_MOST, size);
    }
    return ATTN_OK;
}

void attn__picture_out(attn__call *c, int64_t channels, const int64_t *size)
{
    const int rank = c->in[0].rank;
    const int64_t shape[4] = {c->in[0].shape[0], channels, size[rank == 4 ? 0 : 1], size[1]};
    attn__out_set(c, 0, c->real, rank, shape);
}
