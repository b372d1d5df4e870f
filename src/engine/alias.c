/* SPDX-License-Identifier: MIT
 * Outputs may overlap nothing. Two views of one buffer often interleave without touching (q, k,
 * v and out as slices of one array), so spans that cross are looked at modulo a common period:
 * when all larger strides of both are multiples of it, the small parts decide. */
#include <stdlib.h>

#include "engine/args.h"

/* The bytes that dims with a stride below period reach, [*low, *high); false when a larger
 * stride is not a multiple of it. */
static bool alias_small_part(const attn_tensor *t, int64_t period, int64_t *low, int64_t *high)
{
    const int64_t size = (int64_t)attn_dtype_size(t->dtype);
    *low = 0;
    *high = size;
    for (int i = 0; i < t->rank; i++) {
        const int64_t stride = t->stride[i] * size, reach = stride * (t->shape[i] - 1);
        if (t->shape[i] <= 1) continue;
        if (llabs(stride) >= period) {
            if (stride % period != 0) return false;
            continue;
        }
        if (reach < 0) *low += reach;
        else *high += reach;
    }
    return *high - *low <= period;
}

static bool alias_apart_modulo(const attn_tensor *a, const attn_tensor *b, int64_t period)
{
    int64_t a0, a1, b0, b1;
    if (!alias_small_part(a, period, &a0, &a1) || !alias_small_part(b, period, &b0, &b1))
        return false;
    int64_t shift = ((int64_t)((uintptr_t)b->data - (uintptr_t)a->data) + b0 - a0) % period;
    if (shift < 0) shift += period;
    return shift >= a1 - a0 && shift + (b1 - b0) <= period;
}

static bool alias_overlap(const attn_tensor *a, const attn_tensor *b)
{
    int64_t a0, a1, b0, b1;
    attn__tensor_span(a, &a0, &a1);
    attn__tensor_span(b, &b0, &b1);
    if (a0 == a1 || b0 == b1 || !a->data || !b->data) return false;
    const uintptr_t x = (uintptr_t)a->data, y = (uintptr_t)b->data;
    if (x + (uintptr_t)a1 <= y + (uintptr_t)b0 || y + (uintptr_t)b1 <= x + (uintptr_t)a0)
        return false;
    for (int i = 0; i < a->rank; i++) {
        const int64_t period = llabs(a->stride[i]) * (int64_t)attn_dtype_size(a->dtype);
        if (period > 0 && alias_apart_modulo(a, b, period)) return false;
    }
    return true;
}

attn_status attn__alias_check(const attn__problem *p, attn_error *error)
{
    for (int i = 0; i < ATTN__N_ARGS; i++) {
        const attn_tensor *out = attn__arg_in(&p->at, &attn__arg_list[i]);
        if (attn__arg_list[i].dtypes != 'o' || !attn__present(out)) continue;
        for (int j = 0; j < ATTN__N_ARGS; j++) {
            const attn_tensor *other = attn__arg_in(&p->at, &attn__arg_list[j]);
            if (i != j && attn__present(other) && alias_overlap(out, other))
                return attn__fail_name(error, ATTN_E_ALIAS, attn__arg_list[i].name,
                                       "an output overlaps another tensor",
                                       attn__arg_list[j].name);
        }
    }
    return ATTN_OK;
}
