/* SPDX-License-Identifier: MIT
 * What forward mode takes from a whole row of entmax before its tiles can go on: with t the
 * tangents of the scores and w the slopes of the weights (norm_entmax.c, back_norm.c),
 *
 *   q = (sum of w t) / (sum of w, and of the sinks),   the tangent of weight j is w_j (t_j - q)
 *
 * The scores and their tangents are made here once more than in the tiles. */
#include <math.h>
#include <string.h>

#include "engine/jvp.h"
#include "engine/norm.h"

static void norm_chunk(const attn__norm_look *look, int64_t j0, attn__norm_sums *sums)
{
    const attn__run *r = look->r;
    const attn__kernels *k = r->plan->kernels;
    const int w = look->panel->w;
    attn__tile tile = attn__norm_tile(look, j0), *t = &tile;
    const attn__staged staged =
        attn__stage_chunk(r, look->scratch, look->seq, look->g, j0, j0 + t->n);
    t->s = look->scratch + r->plan->at.s;
    attn__jvp_begin(t);
    if (!attn__tile_prepare(t, j0, &staged)) return;
    attn__jvp_scores(t, &staged, j0);
    if (t->masked) k->forbid(t->n, w, t->allowed, t->s);
    k->entmax_sums(t->n, w, &look->panel->norm->rows, t->s, t->ds, false, sums);
}

void attn__norm_tangents(const attn__norm_look *look)
{
    const attn__problem *p = look->r->p;
    attn__norm_rows *rows = &look->panel->norm->rows;
    attn__norm_sums sums;
    memset(&sums, 0, sizeof sums);
    for (int64_t j0 = look->first; j0 < look->first + look->n; j0 += ATTN__CHUNK)
        norm_chunk(look, j0, &sums);
    for (int l = 0; l < look->panel->n; l++) {
        double sinks[2];
        const int n = attn__norm_sinks(p, look->seq, look->panel->h[l], sinks);
        for (int i = 0; i < n; i++) sums.w[l] += attn__norm_sink_slope(rows, l, sinks[i]);
        rows->mean[l] = sums.w[l] == 0 ? 0 : sums.wd[l] / sums.w[l];
    }
}
