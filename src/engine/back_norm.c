/* SPDX-License-Identifier: MIT
 * The whole rows of a backward call with another normaliser than softmax: what their weights
 * need is found as in the forward call (norm.c). The gradient of entmax takes more. With d_j
 * the gradient of weight a_j, w_j = a_j^(2 - alpha) on the support, and a sink as a key more
 * whose d is 0:
 *
 *   q = (sum of w d) / (sum of w),  ds_j = w_j (d_j - q),  d_sink = -w_sink q
 *   d_alpha = (sum of a d - q) / (alpha - 1)^2 + (sum of h d - q sum of h) / (alpha - 1),
 *   h = -a ln a; where alpha counts as 1: (sum of h d ln a - sum of a d sum of h ln a) / 2 */
#include <math.h>
#include <string.h>

#include "engine/back.h"
#include "engine/norm.h"

/* The gradients of the rows in lanes, and their products with rel_v. */
typedef struct norm_lanes {
    char *gt, *gr;
} norm_lanes;

static norm_lanes norm_gradients(const attn__norm_look *look)
{
    const attn__run *r = look->r;
    const attn__back_plan *b = &r->plan->back;
    const attn__kernels *k = r->plan->kernels;
    const attn_args *a = &r->p->at;
    const attn__panel *panel = look->panel;
    const void *rows[ATTN__PANEL];
    norm_lanes lanes = {look->scratch + b->look, look->scratch + r->plan->at.bucket};
    attn__panel_stage(r, look->seq, panel, &a->d_out, false, look->scratch + r->plan->at.rows,
                      rows);
    k->pack(panel->n, panel->w, r->p->E, rows, b->gain, lanes.gt);
    if (attn__present(&a->rel_v))
        attn__panel_table(r, panel, &a->rel_v, lanes.gt, look->scratch + r->plan->at.rel_v,
                          lanes.gr);
    return lanes;
}

/* One chunk: gradients of its weights, as a tile of the units has them, join the sums. */
static void norm_chunk(const attn__norm_look *look, const norm_lanes *lanes, int64_t j0,
                       attn__norm_sums *sums)
{
    const attn__run *r = look->r;
    const attn__kernels *k = r->plan->kernels;
    const int w = look->panel->w;
    const int64_t n = attn__min(ATTN__CHUNK, look->first + look->n - j0);
    const char *s = look->scores + (j0 - look->first) * w * (int64_t)attn__real_size(k);
    uint64_t *keep = (uint64_t *)(void *)(look->scratch + r->plan->at.keep);
    const attn__staged staged =
        attn__stage_chunk(r, look->scratch, look->seq, look->g, j0, j0 + n);
    attn__tile tile = {.r = r,
                       .seq = look->seq,
                       .panel = look->panel,
                       .scratch = look->scratch,
                       .g = look->g,
                       .j0 = j0,
                       .n = n,
                       .ds = look->scratch + r->plan->at.term};
    attn__tile_product(&tile, staged.v, staged.v_stride, r->p->E, lanes->gt, tile.ds);
    if (attn__present(&r->p->at.rel_v)) attn__shaw_add(&tile, lanes->gr, tile.ds);
    if (r->p->spec.dropout > 0) {
        attn__tile_keep(&tile, 0, n, keep);
        k->drop(n, w, keep, tile.ds);
    }
    k->entmax_sums(n, w, &look->panel->norm->rows, s, tile.ds, attn__present(&r->p->at.d_alpha),
                   sums);
}

/* A sink joins the sums; returns the slope of its weight. */
static double norm_sink(const attn__norm_rows *rows, int l, double sink, attn__norm_sums *sums)
{
    double slope;
    const double y = attn__norm_sink_y(rows, l, sink);
    const double a = rows->factor[l] * attn__norm_power(y, rows->power[l], &slope);
    const double ln = attn__log2(a) * ATTN__LN2;
    if (rows->power[l] == 0) slope = a;
    sums->w[l] += slope;
    if (!(a > 0)) return slope;
    sums->h[l] -= a * ln;
    sums->hl[l] -= a * ln * ln;
    return slope;
}

static double norm_alpha(const attn__norm_sums *sums, int l, double power, double alpha,
                         double mean)
{
    const double less = alpha - 1;
    if (power == 0) return (sums->hld[l] - sums->ad[l] * sums->hl[l]) / 2;
    return (sums->ad[l] - mean) / (less * less) + (sums->hd[l] - mean * sums->h[l]) / less;
}

/* Lane l, when all keys have joined. */
static void norm_settle(const attn__norm_look *look, int l, attn__norm_sums *sums)
{
    const attn__problem *p = look->r->p;
    attn__norm *norm = look->panel->norm;
    attn__norm_rows *rows = &norm->rows;
    double sinks[2], slope = 0;
    const int64_t h = look->panel->h[l];
    const int n = attn__norm_sinks(p, look->seq, h, sinks);
    for (int i = 0; i < n; i++) slope = norm_sink(rows, l, sinks[i], sums);
    const double mean = sums->w[l] == 0 ? 0 : sums->wd[l] / sums->w[l];
    rows->mean[l] = mean;
    if (attn__present(&p->at.sink)) norm->d_sink[l] = -slope * mean;
    norm->d_alpha[l] = norm_alpha(sums, l, rows->power[l], attn__norm_alpha(p, h), mean);
}

static void norm_entmax(attn__norm_look *look)
{
    attn__norm_sums sums;
    const norm_lanes lanes = norm_gradients(look);
    memset(&sums, 0, sizeof sums);
    for (int64_t j0 = look->first; j0 < look->first + look->n; j0 += ATTN__CHUNK)
        norm_chunk(look, &lanes, j0, &sums);
    for (int l = 0; l < look->panel->n; l++) norm_settle(look, l, &sums);
}

void attn__back_norm(const attn__run *r, char *scratch, const attn__seq *seq, int64_t g,
                     int64_t index, attn__norm *norm)
{
    attn__panel panel;
    attn__panel_open(r, scratch, seq, g, index, &panel, scratch + r->plan->at.panels);
    attn__norm_look look = attn__norm_look_at(r, scratch, seq, g, &panel);
    if (r->p->spec.normaliser == ATTN_NORM_ENTMAX) norm_entmax(&look);
    *norm = *panel.norm;
}
