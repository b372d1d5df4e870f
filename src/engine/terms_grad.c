/* SPDX-License-Identifier: MIT
 * terms.def backwards: the derivative by the scores that the softmax saw, in tile->ds in
 * natural units, becomes that by scale (q.k + q.rel_k), and what each term adds to the gradient
 * of its own tensor is taken on the way. A term that is only added passes ds on as it is; the
 * relative keys get their share when the tile is weighed (back_tile.c). */
#include <math.h>

#include "engine/back.h"

static bool grad_allowed(const attn__tile *t, int64_t j, int l)
{
    return !t->masked || (t->allowed[j] >> l & 1);
}

static void term_rel_k_grad(attn__tile *t)
{
    (void)t;
}

static void term_scale_grad(attn__tile *t)
{
    (void)t;
}

static void term_bias_pre_grad(attn__tile *t)
{
    attn__back_sums_tile(t, ATTN__SUM_bias_pre);
}

static void term_softcap_grad(attn__tile *t)
{
    t->r->plan->kernels->bend(t->n, t->panel->w, t->r->p->spec.softcap * ATTN__LOG2E, t->capped,
                              t->ds);
}

static void term_bias_grad(attn__tile *t)
{
    attn__back_sums_tile(t, ATTN__SUM_bias);
}

static void term_mask_grad(attn__tile *t)
{
    attn__back_sums_tile(t, ATTN__SUM_mask);
}

static void term_alibi_grad(attn__tile *t)
{
    const attn__panel *panel = t->panel;
    if (!attn__present(&t->r->p->at.d_alibi)) return;
    for (int l = 0; l < panel->n; l++) {
        double *sum = attn__back_sum_at(t->back->s, ATTN__SUM_alibi, t->back->x, l, 0);
        for (int64_t j = 0; j < t->n; j++) {
            if (!grad_allowed(t, j, l)) continue;
            const double far = fabs((double)panel->p[l] - (double)(t->j0 + j));
            *sum -= far * attn__real_get(t->r->plan->kernels, t->ds, j * panel->w + l);
        }
    }
}

static void term_rel_table_grad(attn__tile *t)
{
    const attn__run *r = t->r;
    const attn__panel *panel = t->panel;
    if (!attn__present(&r->p->at.d_rel_table)) return;
    for (int l = 0; l < panel->n; l++) {
        double *sum = attn__back_sum_at(t->back->s, ATTN__SUM_rel_table, t->back->x, l, 0);
        for (int64_t j = 0; j < t->n; j++) {
            if (!grad_allowed(t, j, l)) continue;
            sum[attn__rel_index(r->plan, r->p, panel->p[l], t->j0 + j)] +=
                attn__real_get(r->plan->kernels, t->ds, j * panel->w + l);
        }
    }
}

static void term_center_grad(attn__tile *t)
{
    const attn__panel *panel = t->panel;
    if (!attn__present(&t->r->p->at.d_center)) return;
    for (int l = 0; l < panel->n; l++) {
        double *sum = attn__back_sum_at(t->back->s, ATTN__SUM_center, t->back->x, l, 0);
        const double center = attn__center_at(t->r->p, t->seq, panel->h[l], panel->i[l]);
        for (int64_t j = 0; j < t->n; j++) {
            if (!grad_allowed(t, j, l)) continue;
            const double far = (double)(t->j0 + j) - center;
            *sum += far * attn__real_get(t->r->plan->kernels, t->ds, j * panel->w + l);
        }
    }
}

static void term_callback_grad(attn__tile *t)
{
    t->r->plan->kernels->times(t->n, t->panel->w, t->slope, t->ds);
}

static void (*const term_grads[])(attn__tile *t) = {
#define TERM(name, stage) term_##name##_grad,
#include "engine/terms.def"
#undef TERM
};

void attn__terms_grad(attn__tile *t)
{
    for (int i = ATTN__N_TERMS - 1; i >= 0; i--)
        if (attn__term_on(i, t->r->p)) term_grads[i](t);
}
