/* SPDX-License-Identifier: MIT
 * One tensor of a call that has no table of operands: attn_rope, attn_merge, caches. */
#include "engine/check_tensor.h"

attn_status attn__check_floats(const attn_tensor *t, const char *where, attn_error *error)
{
    ATTN_TRY(attn__tensor_check(t, where, error));
    if (attn__dtype_is_float(t->dtype)) return ATTN_OK;
    return attn__fail(error, ATTN_E_DTYPE, where, "must be f64, f32, bf16 or f16");
}

attn_status attn__check_ints(const attn_tensor *t, const char *where, attn_error *error)
{
    ATTN_TRY(attn__tensor_check(t, where, error));
    if (attn__dtype_is_int(t->dtype)) return ATTN_OK;
    return attn__fail(error, ATTN_E_DTYPE, where, "must hold integers");
}

attn_status attn__check_data(const attn_tensor *t, const char *where, attn_error *error)
{
    if (t->data || attn_tensor_count(*t) == 0) return ATTN_OK;
    return attn__fail(error, ATTN_E_NULL, where, "has elements but no data");
}

attn_status attn__check_lift(attn_tensor *t, const char *where, attn_error *error)
{
    /* Dims that are missing stand behind as 1 and are moved to where H and B belong. */
    static const int orders[3][4] = {{2, 3, 0, 1}, {0, 3, 1, 2}, {0, 1, 2, 3}};
    ATTN_TRY(attn__check_floats(t, where, error));
    if (t->rank < 2 || t->rank > 4)
        return attn__fail_count(error, ATTN_E_RANK, where, "must have 2 to 4 dimensions", 4,
                                t->rank);
    const int *order = orders[t->rank - 2];
    for (int i = t->rank; i < ATTN_MAX_RANK; i++) t->shape[i] = 1, t->stride[i] = 0;
    t->rank = 4;
    *t = attn_tensor_permute(*t, order);
    return attn__check_data(t, where, error);
}

attn_status attn__check_rope(attn_rope_spec *rope, int64_t D, attn_error *error)
{
    const bool on = rope->kind != ATTN_ROPE_NONE;
    if (rope->dims == 0) rope->dims = D;
    if (rope->base == 0) rope->base = 10000;
    if (on && (rope->dims < 0 || rope->dims > D || rope->dims % 2))
        return attn__fail_count(error, ATTN_E_PARAM, "rope.dims",
                                "must be even and at most the head width", D, rope->dims);
    if (rope->base > 0 && rope->base <= ATTN__ROPE_BASE_MAX) return ATTN_OK;
    return attn__fail(error, ATTN_E_PARAM, "rope.base", "must be positive and finite");
}
