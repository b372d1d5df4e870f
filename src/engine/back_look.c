/* SPDX-License-Identifier: MIT
 * The first look at every panel of queries, before the units or as the first of them opens it,
 * and what is kept of it: queries and gradients as rows of reals where they are not that
 * already, the keys that it may see, log-sum-exps, and
 *
 *   delta_i = sum over e of g_ie out_ie - d_lse_i      (f64)
 *
 * From these follows the gradient of the sinks, which no pair enters:
 *   d_sink = - sum over i of 2^(sink - lse_i) delta_i */
#include <math.h>
#include <string.h>

#include "engine/back.h"
#include "engine/norm.h"

char *attn__back_kept(const attn__run *r, int64_t index)
{
    return r->workspace + r->plan->back.kept + index * r->plan->back.kept_bytes;
}

static double *look_doubles(char *kept, int64_t at)
{
    return (double *)(void *)(kept + at);
}

/* Sequence, head and panel that stand at number index of all. */
static int64_t look_find(const attn__run *r, int64_t index, attn__seq *seq, int64_t *g)
{
    const int64_t *panel0 =
        (const int64_t *)(const void *)(r->workspace + r->plan->back.panel0);
    const int64_t low = attn__last_start(panel0, r->p->N, index);
    *seq = r->seqs[low];
    const int64_t panels = attn__panels_count(r->p, seq->T);
    *g = (index - panel0[low]) / panels;
    return (index - panel0[low]) % panels;
}

/* The gradients as rows, absent ones zeros, and what they make of the outputs. */
static void look_gradients(const attn__run *r, char *scratch, const attn__seq *seq,
                           const attn__panel *panel, char *kept)
{
    const attn__back_plan *b = &r->plan->back;
    const attn__kernels *k = r->plan->kernels;
    const attn_args *a = &r->p->at;
    const int64_t E = r->p->E, real = (int64_t)attn__real_size(k);
    char *out = scratch + b->look, *gt = out + E * ATTN__PANEL * real;
    const void *rows[ATTN__PANEL];
    if (!attn__present(&a->d_out)) {
        memset(kept + b->g_rows, 0, (size_t)(E * panel->n * real));
        return;
    }
    attn__panel_stage(r, seq, panel, &a->d_out, false, kept + b->g_rows, rows);
    if (attn__norm_of(r->p)->op >= 0) return;
    k->pack(panel->n, panel->w, E, rows, 1, gt);
    attn__panel_stage(r, seq, panel, &a->out, false, scratch + r->plan->at.rows, rows);
    k->pack(panel->n, panel->w, E, rows, 1, out);
    k->dot(E, panel->w, gt, out, look_doubles(kept, b->delta_sum));
}

/* A row without a key has lse -inf; its weights are 0, as those of +inf are. */
static void look_stats(const attn__run *r, const attn__seq *seq, const attn__panel *panel,
                       char *kept)
{
    const attn__back_plan *b = &r->plan->back;
    const attn__kernels *k = r->plan->kernels;
    const attn_tensor *lse = &r->p->at.lse, *d_lse = &r->p->at.d_lse;
    double *top = look_doubles(kept, b->top_sum), *delta = look_doubles(kept, b->delta_sum);
    for (int l = 0; l < panel->n; l++) {
        const int64_t h = panel->h[l], row = seq->q0 + panel->i[l];
        top[l] = attn__get(lse->dtype, attn__at(lse, seq->qb, h, row, 0), 0) * ATTN__LOG2E;
        if (attn__present(d_lse))
            delta[l] -= attn__get(d_lse->dtype, attn__at(d_lse, seq->qb, h, row, 0), 0);
    }
    for (int l = 0; l < panel->w; l++) {
        const bool empty = top[l] < 0 && isinf(top[l]);
        attn__real_put(k, kept + b->top, l, empty ? (double)INFINITY : top[l]);
        attn__real_put(k, kept + b->delta, l, delta[l]);
    }
}

void attn__back_look_at(const attn__run *r, char *scratch, const attn__seq *seq,
                        attn__panel *panel, char *kept)
{
    const attn__back_plan *b = &r->plan->back;
    const void *rows[ATTN__PANEL];
    int64_t *keys = (int64_t *)(void *)(kept + b->keys);
    keys[0] = panel->any_lo, keys[1] = panel->any_hi;
    memset(kept + b->top_sum, 0, (size_t)ATTN__PANEL * sizeof(double));
    memset(kept + b->delta_sum, 0, (size_t)ATTN__PANEL * sizeof(double));
    attn__panel_stage(r, seq, panel, &r->p->at.q, r->p->R > 0, kept + b->q_rows, rows);
    look_gradients(r, scratch, seq, panel, kept);
    if (attn__norm_of(r->p)->op < 0) look_stats(r, seq, panel, kept);
    panel->norm = (attn__norm *)(void *)(kept + b->norm);
    attn__norm_open(r->p, panel);
}

void attn__back_look(const attn__run *r, char *scratch, int64_t index)
{
    attn__seq seq;
    attn__panel panel;
    int64_t g;
    const int64_t at = look_find(r, index, &seq, &g);
    attn__panel_lanes(r, &seq, g, at, &panel);
    attn__back_look_at(r, scratch, &seq, &panel, attn__back_kept(r, index));
    if (attn__norm_looks(r->p)) attn__back_norm(r, scratch, &seq, g, at, panel.norm);
}

/* ---- sinks ------------------------------------------------------------------------------- */

/* The lanes of a panel add to the sums of their heads. */
static void look_sink(const attn__run *r, const attn__seq *seq, const attn__panel *panel,
                      char *kept, double *sums)
{
    const attn__back_plan *b = &r->plan->back;
    const attn_tensor *d_sink = &r->p->at.d_sink;
    const double *top = look_doubles(kept, b->top_sum);
    const double *delta = look_doubles(kept, b->delta_sum);
    const attn__norm *norm = (const attn__norm *)(const void *)(kept + b->norm);
    for (int l = 0; l < panel->n; l++) {
        const int64_t h = panel->h[l];
        const double sink = attn__float_at(&r->p->at.sink, seq->b, h) * ATTN__LOG2E;
        const int64_t at = (d_sink->shape[0] == 1 ? 0 : seq->b) * d_sink->shape[1] +
                           (d_sink->shape[1] == 1 ? 0 : h);
        if (attn__norm_of(r->p)->op >= 0)
            sums[at] += norm->d_sink[l];
        else if (sink > -(double)INFINITY || sink != sink)
            sums[at] -= attn__exp2(sink - top[l]) * delta[l];
    }
}

static void look_alpha(const attn__run *r, const attn__panel *panel, const attn__norm *norm,
                       double *sums)
{
    const attn_tensor *d_alpha = &r->p->at.d_alpha;
    for (int l = 0; l < panel->n; l++)
        sums[d_alpha->shape[0] == 1 ? 0 : panel->h[l]] += norm->d_alpha[l];
}

void attn__back_sinks(const attn__run *r)
{
    const attn_tensor *d_sink = &r->p->at.d_sink, *d_alpha = &r->p->at.d_alpha;
    const int64_t *panel0 =
        (const int64_t *)(const void *)(r->workspace + r->plan->back.panel0);
    double *sums = look_doubles(r->workspace, r->plan->back.sink);
    double *alphas = look_doubles(r->workspace, r->plan->back.alpha);
    if (!attn__present(d_sink) && !attn__present(d_alpha)) return;
    const int64_t heads = d_sink->shape[1];
    const int64_t n = attn__present(d_sink) ? d_sink->shape[0] * heads : 0;
    const int64_t n_alpha = attn__present(d_alpha) ? d_alpha->shape[0] : 0;
    memset(sums, 0, (size_t)n * sizeof *sums);
    memset(alphas, 0, (size_t)n_alpha * sizeof *alphas);
    for (int64_t index = 0; index < panel0[r->p->N]; index++) {
        attn__seq seq;
        attn__panel panel;
        int64_t g;
        const int64_t at = look_find(r, index, &seq, &g);
        attn__panel_lanes(r, &seq, g, at, &panel);
        const char *kept = attn__back_kept(r, index);
        if (n) look_sink(r, &seq, &panel, attn__back_kept(r, index), sums);
        if (n_alpha)
            look_alpha(r, &panel, (const attn__norm *)(const void *)(kept + r->plan->back.norm),
                       alphas);
    }
    for (int64_t b = 0; b < n; b++)
        attn__put(d_sink->dtype, attn__at(d_sink, b / heads, b % heads, 0, 0), 0, sums[b]);
    for (int64_t h = 0; h < n_alpha; h++)
        attn__put(d_alpha->dtype, attn__at(d_alpha, h, 0, 0, 0), 0, alphas[h]);
}
