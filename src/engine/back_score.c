/* SPDX-License-Identifier: MIT
 * From ds, the derivative by the scores in front of the scale, to queries, keys and weights of
 * features, a table by attn_score_kind:
 *
 *   dot       dq_i += ds_ij k_j              dk_j += ds_ij q_i
 *   l2        dq_i += ds_ij (k_j - q_i)      dk_j += ds_ij (q_i - k_j)        (twice: the
 * factor) additive  t_ijd = ds_ij w_d (1 - h^2), h = tanh(q_id + k_jd): dq_i += t_ij    dk_j +=
 * t_ij   dw += ds_ij h
 *
 * The first two take keys block by block against the panels of a step; the last one meets each
 * tanh once, so a tile gives all three. Called by back_tile.c. */
#include <math.h>
#include <string.h>

#include "engine/back.h"
#include "engine/some.h"

double attn__back_factor(const attn_plan *plan)
{
    const double scale = plan->problem.spec.scale;
    if (plan->q_factor == 0) return 0;
    if (plan->score == ATTN_SCORE_L2) return 2 * scale;
    return plan->score == ATTN_SCORE_ADDITIVE ? fabs(scale) : scale;
}

/* ---- a tile: the queries ----------------------------------------------------------------- */

/* The keys of the tile. */
static const char *score_keys(const attn__tile *t, const attn__back_unit *u)
{
    const int64_t real = (int64_t)attn__real_size(t->r->plan->kernels);
    return (const char *)u->staged.k + (t->j0 - u->j0) * u->staged.k_stride * real;
}

/* Where the gradient of the queries adds up from lane on, and whether that counts as 0; lanes
 * before it see nothing of the tile. */
static char *score_acc(const attn__tile *t, attn__back_panel *panel, int lane, bool *fresh)
{
    const int64_t real = (int64_t)attn__real_size(t->r->plan->kernels);
    char *acc = panel->memory + t->r->plan->back.acc;
    if (panel->fresh && lane > 0) memset(acc, 0, (size_t)(t->r->p->D * t->panel->w * real));
    *fresh = panel->fresh && lane == 0;
    panel->fresh = false;
    return acc + lane * real;
}

/* The pairs of the tile from lane on. */
static attn__pairs score_pairs(const attn__tile *t, const attn__back_unit *u, int lane)
{
    const attn__panel *panel = t->panel;
    const int64_t real = (int64_t)attn__real_size(t->r->plan->kernels);
    return (attn__pairs){.n = t->n,
                         .depth = t->r->p->D,
                         .w = panel->w - lane,
                         .ld = panel->w,
                         .k = score_keys(t, u),
                         .k_stride = u->staged.k_stride,
                         .q = (const char *)panel->qt + lane * real,
                         .weight = (const char *)panel->wt + lane * real};
}

/* One chain for every lane that sees any of the block. */
static void score_dot(attn__tile *t, attn__back_panel *panel, const attn__back_unit *u)
{
    const attn__kernels *k = t->r->plan->kernels;
    const int64_t real = (int64_t)attn__real_size(k), D = t->r->p->D;
    const int w = t->panel->w;
    const char *keys = score_keys(t, u);
    if (!attn__present(&t->r->p->at.d_q)) return;
    if (t->masked && !u->k_finite[(t->j0 - u->j0) / ATTN__BLOCK]) {
        attn__weigh_some(k, t->n, w, D, t->ds, keys, u->staged.k_stride, t->allowed,
                         panel->fresh, panel->memory + u->b->acc);
        panel->fresh = false;
        return;
    }
    int64_t until, stop[ATTN__SLICES];
    attn__soon soon;
    bool fresh;
    const int lane = attn__tile_first_lane(t, t->j0, &until);
    char *acc = score_acc(t, panel, lane, &fresh);
    attn__tile_stops(t, 0, t->n, stop, NULL);
    const int64_t *const from = stop + lane / ATTN__SLICE; /* a 0 is no mark there */
    k->weigh_steps(from, from, w - lane, D, (char *)t->ds + lane * real, w, keys,
                   u->staged.k_stride, fresh, acc, attn__warm_take(t->warm, t->n, &soon));
}

static void score_l2(attn__tile *t, attn__back_panel *panel, const attn__back_unit *u)
{
    const attn__kernels *k = t->r->plan->kernels;
    int64_t until;
    bool fresh;
    if (!attn__present(&t->r->p->at.d_q)) return;
    const int lane = attn__tile_first_lane(t, t->j0, &until);
    char *acc = score_acc(t, panel, lane, &fresh);
    const attn__pairs pairs = score_pairs(t, u, lane);
    k->l2_weigh(&pairs, (char *)t->ds + lane * (int64_t)attn__real_size(k), fresh, acc);
}

/* Sums of ds h by lane and feature join those of the unit. */
static void score_weight_sums(const attn__tile *t, int lane, const char *lanes)
{
    const attn__kernels *k = t->r->plan->kernels;
    const int64_t D = t->r->p->D;
    if (!attn__present(&t->r->p->at.d_score_w)) return;
    for (int l = lane; l < t->panel->n; l++) {
        double *sum = attn__back_sum_at(t->back->s, ATTN__SUM_score_w, t->back->x, l, 0);
        for (int64_t d = 0; d < D; d++) sum[d] += attn__real_get(k, lanes, d * t->panel->w + l);
    }
}

static void score_additive(attn__tile *t, attn__back_panel *panel, const attn__back_unit *u)
{
    const attn_plan *plan = t->r->plan;
    const attn_args *a = &t->r->p->at;
    const int64_t real = (int64_t)attn__real_size(plan->kernels);
    int64_t until;
    bool fresh;
    if (!attn__present(&a->d_q) && !attn__present(&a->d_k) && !attn__present(&a->d_score_w))
        return;
    const int lane = attn__tile_first_lane(t, t->j0, &until);
    char *acc = score_acc(t, panel, lane, &fresh), *term = u->scratch + plan->at.term;
    char *weight = u->scratch + u->b->weight;
    double *dk = (double *)(void *)(u->scratch + u->b->dk) + (t->j0 - u->j0) * t->r->p->D;
    const attn__pairs pairs = score_pairs(t, u, lane);
    const attn__tanh_sums sums = {.ds = (char *)t->ds + lane * real,
                                  .fresh = fresh,
                                  .lanes = t->panel->n - lane,
                                  .d_q = acc,
                                  .d_weight = weight + lane * real,
                                  .d_k = attn__present(&a->d_k) ? dk : NULL,
                                  .t = term,
                                  .turned = term + ATTN__BLOCK * ATTN__PANEL * real};
    plan->kernels->tanh_grad(&pairs, &sums);
    score_weight_sums(t, lane, weight);
}

void attn__back_score_tile(attn__tile *t, attn__back_panel *panel, const attn__back_unit *u)
{
    static void (*const tiles[])(attn__tile *, attn__back_panel *, const attn__back_unit *) = {
        [ATTN_SCORE_DOT] = score_dot,
        [ATTN_SCORE_L2] = score_l2,
        [ATTN_SCORE_ADDITIVE] = score_additive};
    tiles[t->r->plan->score](t, panel, u);
}

/* ---- a block: the keys ------------------------------------------------------------------- */

static void score_l2_keys(const attn__back_step *s, const bool *some, int64_t j0, int64_t n,
                          double *acc)
{
    const attn__back_unit *u = s->u;
    const attn__kernels *k = u->r->plan->kernels;
    const int64_t real = (int64_t)attn__real_size(k);
    attn__part part[ATTN__BACK_STEP];
    int parts = 0;
    for (int x = 0; x < s->n; x++) {
        const attn__back_panel *panel = &s->panel[x];
        if (some[x])
            part[parts++] = (attn__part){.a = panel->memory + u->b->ds,
                                         .rows = panel->q_rows,
                                         .n = panel->lanes.n,
                                         .ld = panel->lanes.w};
    }
    k->l2_spread(n, u->r->p->D, parts, part,
                 (const char *)u->staged.k + (j0 - u->j0) * u->staged.k_stride * real,
                 u->staged.k_stride, acc);
}

/* Additive scores have been here, tile by tile. */
static void score_done(const attn__back_step *s, const bool *some, int64_t j0, int64_t n,
                       double *acc)
{
    (void)s, (void)some, (void)j0, (void)n, (void)acc;
}

void attn__back_score_keys(const attn__back_step *s, const bool *some, int64_t j0, int64_t n,
                           double *acc)
{
    static void (*const keys[])(const attn__back_step *, const bool *, int64_t, int64_t,
                                double *) = {[ATTN_SCORE_DOT] = attn__back_send_keys,
                                             [ATTN_SCORE_L2] = score_l2_keys,
                                             [ATTN_SCORE_ADDITIVE] = score_done};
    keys[s->u->r->plan->score](s, some, j0, n, acc);
}
