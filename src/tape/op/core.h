/* SPDX-License-Identifier: MIT
 * What the tape itself needs: dense copies, and the sums of fold.c. */
#include "tape/graph.h"

/* ---- contiguous: out = in, floats and others -------------------------------------------- */

static attn_status K(contiguous_forward)(attn__call *c)
{
    attn__call_copy(c, &c->out[0], &c->in[0]);
    return ATTN_OK;
}

static attn_status K(contiguous_backward)(attn__call *c)
{
    if (!attn__present(&c->d_in[0])) return ATTN_OK;
    return attn__call_reduce(c, c->d_out[0].data, &c->d_out[0], &c->d_in[0]);
}

/* ---- fold.c ----------------------------------------------------------------------------- */

/* sum[l] += x[l * step] for l < w, over everything that is summed, in row-major order. */
static void K(fold_sum)(const attn__fold_plan *plan, const real *x, int64_t step, int64_t w,
                        double *sum)
{
    const attn__fold_dim *last = &plan->summed[plan->n_summed - 1];
    int64_t at[ATTN_MAX_RANK] = {0};
    for (;;) {
        for (int64_t j = 0; j < last->n; j++)
            for (int64_t l = 0; l < w; l++) sum[l] += (double)x[j * last->from + l * step];
        int d = plan->n_summed - 2;
        for (; d >= 0 && ++at[d] == plan->summed[d].n; d--) {
            x -= (plan->summed[d].n - 1) * plan->summed[d].from;
            at[d] = 0;
        }
        if (d < 0) return;
        x += plan->summed[d].from;
    }
}

static void K(fold_strip)(const attn__fold_plan *plan, int64_t strip)
{
    const attn__fold_dim *last = &plan->kept[plan->n_kept - 1];
    const int64_t across = attn__ceil_div(last->n, ATTN__FOLD_STRIP);
    const int64_t first = strip % across * ATTN__FOLD_STRIP;
    const int64_t w = attn__min(last->n - first, ATTN__FOLD_STRIP);
    double sum[ATTN__FOLD_STRIP] = {0};
    int64_t from = first * last->from, to = first * last->to;
    strip /= across;
    for (int d = plan->n_kept - 2; d >= 0; d--) {
        from += strip % plan->kept[d].n * plan->kept[d].from;
        to += strip % plan->kept[d].n * plan->kept[d].to;
        strip /= plan->kept[d].n;
    }
    const real *x = (const real *)plan->x + from;
    real *y = (real *)plan->to + to;
    if (last->from == 1 && w == ATTN__FOLD_STRIP)
        K(fold_sum)(plan, x, 1, ATTN__FOLD_STRIP, sum);
    else
        K(fold_sum)(plan, x, last->from, w, sum);
    for (int64_t l = 0; l < w; l++) y[l * last->to] = (real)((double)y[l * last->to] + sum[l]);
}

void K(attn__fold_strips)(void *plan, int64_t begin, int64_t end)
{
    for (int64_t i = begin; i < end; i++) K(fold_strip)(plan, i);
}
