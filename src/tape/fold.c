/* SPDX-License-Identifier: MIT
 * to += x, where several elements of x may fall on one of to: the gradient of whatever was
 * broadcast or viewed. Dimensions along which to does not move are summed, in f64 and in
 * row-major order, and rounded once into to; the others are kept. The work is cut along the
 * kept ones, into strips of the innermost. */
#include "tape/graph.h"

/* Appends a dimension, or makes the last one longer when it lies seamlessly outside of d. */
static void fold_append(attn__fold_dim *dims, int *n, attn__fold_dim d)
{
    attn__fold_dim *last = *n > 0 ? &dims[*n - 1] : NULL;
    if (last && last->from == d.from * d.n && last->to == d.to * d.n)
        *last = (attn__fold_dim){last->n * d.n, d.from, d.to};
    else
        dims[(*n)++] = d;
}

static void fold_plan(attn__fold_plan *plan, const void *x, const attn_tensor *to)
{
    int64_t from[ATTN_MAX_RANK], stride = 1;
    *plan = (attn__fold_plan){.x = x, .to = to->data, .strips = 1};
    for (int d = to->rank - 1; d >= 0; d--) {
        from[d] = stride;
        stride *= to->shape[d];
    }
    for (int d = 0; d < to->rank; d++) {
        const attn__fold_dim dim = {to->shape[d], from[d], to->stride[d]};
        if (dim.n == 1) continue;
        if (dim.to == 0)
            fold_append(plan->summed, &plan->n_summed, dim);
        else
            fold_append(plan->kept, &plan->n_kept, dim);
    }
    if (plan->n_kept == 0) plan->kept[plan->n_kept++] = (attn__fold_dim){1, 1, 1};
    if (plan->n_summed == 0) plan->summed[plan->n_summed++] = (attn__fold_dim){1, 0, 0};
}

void attn__fold(const attn__call *c, const void *x, const attn_tensor *to)
{
    attn__fold_plan plan;
    if (attn_tensor_count(*to) == 0) return;
    fold_plan(&plan, x, to);
    const int64_t strip = ATTN__FOLD_STRIP;
    int64_t adds = strip;
    for (int d = 0; d < plan.n_summed; d++) adds *= plan.summed[d].n;
    plan.strips = attn__ceil_div(plan.kept[plan.n_kept - 1].n, strip);
    for (int d = 0; d < plan.n_kept - 1; d++) plan.strips *= plan.kept[d].n;
    attn__call_share(c, plan.strips, attn__max(16384 / adds, 1),
                     c->real == ATTN_DTYPE_F64 ? attn__fold_strips_f64 : attn__fold_strips_f32,
                     &plan);
}
