/* SPDX-License-Identifier: MIT
 * How the queries of a panel meet the keys of a tile, a table by attn_score_kind: the scores in
 * front of the scale, and their tangents.
 *
 *   dot q.k    l2 -|q - k|^2    additive sum over d of w_d tanh(q_d + k_d)
 *
 * The sign of the scale goes with the queries, the distance or the weights, so that the largest
 * number here is the largest score. With a scale of zero every kind is the product with queries
 * of zeros, and no infinity meets a factor 0. */
#include <math.h>
#include <string.h>

#include "engine/norm.h"
#include "engine/score.h"

/* ---- plan -------------------------------------------------------------------------------- */

void attn__score_plan(attn_plan *plan)
{
    const attn_spec *s = &plan->problem.spec;
    const double coef = fabs(s->scale) * ATTN__LOG2E;
    const bool zero =
        s->scale == ATTN_ZERO || (plan->problem.real == ATTN_DTYPE_F32 && (float)coef == 0);
    const double sign = zero ? 0 : s->scale < 0 ? -1 : 1;
    plan->score = zero ? ATTN_SCORE_DOT : s->score;
    plan->q_factor = plan->score == ATTN_SCORE_DOT ? sign : 1;
    plan->sign = plan->score == ATTN_SCORE_L2 ? -sign : sign;
    plan->coef = zero ? 1 : coef;
    plan->plain = plan->score == ATTN_SCORE_DOT && !attn__norm_on(&plan->problem);
    for (int i = 0; i < ATTN__N_TERMS; i++)
        plan->plain = plan->plain && !attn__term_on(i, &plan->problem);
    plan->slope = plan->score == ATTN_SCORE_L2 ? 2 * s->scale : zero ? 0 : fabs(s->scale);
}

/* ---- the weights of the features --------------------------------------------------------- */

void attn__score_weights(const attn__run *r, char *memory, attn__panel *panel)
{
    const attn__kernels *k = r->plan->kernels;
    const attn_tensor *w = &r->p->at.score_w;
    const int64_t D = r->p->D;
    const void *rows[ATTN__PANEL];
    if (r->plan->score != ATTN_SCORE_ADDITIVE) return;
    for (int l = 0; l < panel->n; l++) {
        const bool again = l > 0 && (!attn__present(w) || panel->h[l] == panel->h[l - 1]);
        char *row = memory + l * D * (int64_t)attn__real_size(k);
        rows[l] = again ? rows[l - 1] : row;
        if (again) continue;
        if (attn__present(w))
            attn__stage_row(k, w->dtype, attn__at(w, panel->h[l], 0, 0, 0), w->stride[1], D,
                            row);
        for (int64_t d = 0; !attn__present(w) && d < D; d++) attn__real_put(k, row, d, 1);
    }
    k->pack(panel->n, panel->w, D, rows, r->plan->sign, panel->wt);
}

/* ---- scores ------------------------------------------------------------------------------ */

/* The keys of a slice of the tile as rows, and its lanes; *to: its numbers in an array of the
 * tile. */
static attn__pairs score_pairs(const attn__tile *t, const attn__slice *s, const char *keys,
                               int64_t stride, char **to)
{
    const attn__panel *panel = t->panel;
    const int64_t real = (int64_t)attn__real_size(t->r->plan->kernels), j = s->j - t->j0;
    *to += (j * panel->w + s->lane) * real;
    return (attn__pairs){.n = s->n,
                         .depth = t->r->p->D,
                         .w = panel->w - s->lane,
                         .ld = panel->w,
                         .k = keys + j * stride * real,
                         .k_stride = stride,
                         .q = (const char *)panel->qt + s->lane * real,
                         .weight = (const char *)panel->wt + s->lane * real};
}

static void score_dot(attn__tile *t, const char *keys, int64_t stride)
{
    attn__tile_dot(t, keys, stride);
}

static void score_l2(attn__tile *t, const char *keys, int64_t stride)
{
    for (attn__slice s = attn__tile_slices(t); attn__tile_next(t, &s);) {
        char *to = t->s;
        const attn__pairs pairs = score_pairs(t, &s, keys, stride, &to);
        t->r->plan->kernels->l2_scores(&pairs, t->r->plan->sign, to);
    }
}

static void score_additive(attn__tile *t, const char *keys, int64_t stride)
{
    for (attn__slice s = attn__tile_slices(t); attn__tile_next(t, &s);) {
        char *to = t->s;
        const attn__pairs pairs = score_pairs(t, &s, keys, stride, &to);
        t->r->plan->kernels->tanh_scores(&pairs, to);
    }
}

void attn__score_tile(attn__tile *t, const char *keys, int64_t stride)
{
    static void (*const scores[])(attn__tile *, const char *,
                                  int64_t) = {[ATTN_SCORE_DOT] = score_dot,
                                              [ATTN_SCORE_L2] = score_l2,
                                              [ATTN_SCORE_ADDITIVE] = score_additive};
    scores[t->r->plan->score](t, keys, stride);
}

/* ---- tangents ---------------------------------------------------------------------------- */

static void tangent_dot(attn__tile *t, const attn__pairs *p, void *term)
{
    const attn__kernels *k = t->r->plan->kernels;
    memset(t->ds, 0, (size_t)(t->n * t->panel->w) * attn__real_size(k));
    if (p->t_q) attn__tile_product(t, p->k, p->k_stride, p->depth, p->t_q, t->ds);
    if (!p->t_k) return;
    attn__tile_product(t, p->t_k, p->t_k_stride, p->depth, p->q, term);
    k->add(t->n, t->panel->w, term, 1, t->ds);
}

/* An absent tangent is zeros, in the memory of the term: D rows of lanes, or one row that every
 * key reads. */
static attn__pairs tangent_whole(const attn__tile *t, const attn__pairs *p, void *zeros)
{
    attn__pairs whole = *p;
    if (!p->t_q) whole.t_q = zeros;
    if (!p->t_k) whole.t_k = zeros, whole.t_k_stride = 0;
    if (!p->t_q || !p->t_k)
        memset(zeros, 0,
               (size_t)(p->depth * t->panel->w) * attn__real_size(t->r->plan->kernels));
    return whole;
}

static void tangent_l2(attn__tile *t, const attn__pairs *p, void *zeros)
{
    const attn__pairs whole = tangent_whole(t, p, zeros);
    t->r->plan->kernels->l2_tangents(&whole, t->ds);
}

static void tangent_additive(attn__tile *t, const attn__pairs *p, void *zeros)
{
    const attn__pairs whole = tangent_whole(t, p, zeros);
    t->r->plan->kernels->tanh_tangents(&whole, t->ds);
}

void attn__score_tangents(attn__tile *t, const attn__pairs *pairs, void *memory)
{
    static void (*const tangents[])(attn__tile *, const attn__pairs *,
                                    void *) = {[ATTN_SCORE_DOT] = tangent_dot,
                                               [ATTN_SCORE_L2] = tangent_l2,
                                               [ATTN_SCORE_ADDITIVE] = tangent_additive};
    tangents[t->r->plan->score](t, pairs, memory);
}
