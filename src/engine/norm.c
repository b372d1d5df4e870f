/* SPDX-License-Identifier: MIT
 * Normalisers other than the softmax. A weight follows from its score and a few numbers of its
 * row (attn__norm_rows), so tiles, chunks and gradients are those of the softmax with another
 * kernel. Some of these numbers are only known when the whole row is: how many keys it sees,
 * the threshold of entmax, the k-th largest score. Then every panel is looked at once before
 * its weights are made, all its scores side by side: S reals for each of its rows. */
#include <math.h>
#include <string.h>

#include "engine/norm.h"
#include "engine/source.h"

const attn__norm_kind attn__norm_kinds[] = {
    [ATTN_NORM_SOFTMAX] = {.op = -1},
    [ATTN_NORM_SIGMOID] = {.op = ATTN__NORM_sigmoid},
    [ATTN_NORM_RELU2] = {.op = ATTN__NORM_relu2},
    [ATTN_NORM_LINEAR] = {.op = ATTN__NORM_linear, .negative = true},
    [ATTN_NORM_ENTMAX] = {.op = ATTN__NORM_entmax,
                          .threshold = true,
                          .find = attn__norm_entmax},
    [ATTN_NORM_TOP_K] = {.op = -1, .threshold = true, .find = attn__norm_top},
};

#define NORM_SOFT 1.01 /* alphas below count as 1 */

bool attn__norm_looks(const attn__problem *p)
{
    return attn__norm_of(p)->threshold || p->spec.norm_count || p->spec.norm_mean;
}

double attn__norm_alpha(const attn__problem *p, int64_t h)
{
    return attn__present(&p->at.alpha) ? attn__float_at(&p->at.alpha, h, 0) : p->spec.alpha;
}

/* What is known before any score. Lanes without a query repeat the first. */
void attn__norm_open(const attn__problem *p, attn__panel *panel)
{
    if (!attn__norm_on(p)) return;
    attn__norm_rows *rows = &panel->norm->rows;
    const bool entmax = p->spec.normaliser == ATTN_NORM_ENTMAX;
    for (int l = 0; l < ATTN__PANEL; l++) {
        const double alpha = entmax ? attn__norm_alpha(p, panel->h[l < panel->n ? l : 0]) : 1;
        const bool soft = alpha < NORM_SOFT;
        rows->shift[l] = p->spec.norm_shift * ATTN__LOG2E;
        rows->slope[l] = soft ? 1 : (alpha - 1) * ATTN__LN2;
        rows->power[l] = soft ? 0 : 1 / (alpha - 1);
        rows->factor[l] = 1;
        rows->mean[l] = rows->top[l] = 0;
        panel->norm->limit[l] = INT64_MAX;
        panel->norm->d_sink[l] = panel->norm->d_alpha[l] = 0;
    }
}

int attn__norm_sinks(const attn__problem *p, const attn__seq *seq, int64_t h, double sinks[2])
{
    int n = 0;
    if (p->spec.softmax1) sinks[n++] = 0;
    if (attn__present(&p->at.sink))
        sinks[n++] = attn__float_at(&p->at.sink, seq->b, h) * ATTN__LOG2E;
    return n;
}

/* ---- the keys of a row ------------------------------------------------------------------- */

attn__tile attn__norm_tile(const attn__norm_look *look, int64_t j0)
{
    return (attn__tile){.r = look->r,
                        .seq = look->seq,
                        .panel = look->panel,
                        .scratch = look->scratch,
                        .g = look->g,
                        .j0 = j0,
                        .n = attn__min(ATTN__CHUNK, look->seq->S - j0),
                        .allowed =
                            (uint64_t *)(void *)(look->scratch + look->r->plan->at.allowed)};
}

/* Whether scores, not masks alone, say which pairs are allowed. */
static bool norm_terms_mask(const attn__problem *p)
{
    const attn_args *a = &p->at;
    return attn__present(&a->bias_pre) || attn__present(&a->bias) || p->spec.tile ||
           attn__term_on(ATTN__TERM_mask, p);
}

/* The allowed pairs of a tile, made by its masks or, where that takes them, its scores. */
static bool norm_allowed(attn__tile *t)
{
    const attn__run *r = t->r;
    const bool tensors = r->p->source == ATTN__SOURCE_TENSORS;
    if (tensors && !norm_terms_mask(r->p)) return attn__masks_apply(t);
    const int64_t j0 = t->j0;
    const attn__staged staged =
        attn__stage_chunk(r, t->scratch, t->seq, t->g, j0, t->j0 + t->n);
    t->s = t->scratch + r->plan->at.s;
    return attn__tile_prepare(t, j0, &staged);
}

/* The first chunk with keys that begins at j or beyond it. */
static int64_t norm_next(const attn__norm_look *look, int64_t j)
{
    return attn__source_next(look->r->p, look->seq, j / ATTN__CHUNK) * ATTN__CHUNK;
}

int64_t attn__norm_key(const attn__norm_look *look, int64_t x)
{
    int64_t j = norm_next(look, look->first);
    for (; x >= ATTN__CHUNK; x -= ATTN__CHUNK) j = norm_next(look, j + ATTN__CHUNK);
    return j + x;
}

static void norm_count(const attn__norm_look *look)
{
    const attn_spec *spec = &look->r->p->spec;
    attn__norm_rows *rows = &look->panel->norm->rows;
    int64_t count[ATTN__PANEL] = {0};
    for (int64_t j0 = norm_next(look, look->first); j0 < look->first + look->n;
         j0 = norm_next(look, j0 + ATTN__CHUNK)) {
        attn__tile tile = attn__norm_tile(look, j0);
        if (!norm_allowed(&tile)) continue;
        for (int64_t j = 0; j < tile.n && tile.masked; j++)
            for (int l = 0; l < look->panel->n; l++)
                count[l] += (int64_t)(tile.allowed[j] >> l & 1);
        for (int l = 0; l < look->panel->n && !tile.masked; l++) count[l] += tile.n;
    }
    for (int l = 0; l < look->panel->n; l++) {
        if (count[l] == 0) continue;
        if (spec->norm_count) rows->shift[l] = -attn__log2((double)count[l]);
        if (spec->norm_mean) rows->factor[l] = 1 / (double)count[l];
    }
}

/* Rows from .. to of a piece of the scores. */
static void norm_never(const attn__norm_look *look, char *piece, int64_t from, int64_t to)
{
    const attn__kernels *k = look->r->plan->kernels;
    const int64_t w = look->panel->w;
    for (int64_t i = from * w; i < to * w; i++) attn__real_put(k, piece, i, -(double)INFINITY);
}

/* The scores of one chunk. */
static void norm_chunk(const attn__norm_look *look, attn__tile *t, char *scores)
{
    const int64_t j0 = t->j0, n = t->n;
    const attn__staged staged =
        attn__stage_chunk(look->r, look->scratch, look->seq, look->g, j0, j0 + n);
    t->s = scores;
    if (!attn__tile_prepare(t, j0, &staged)) {
        norm_never(look, scores, 0, n);
        return;
    }
    norm_never(look, scores, 0, t->j0 - j0);
    norm_never(look, scores, t->j0 + t->n - j0, n);
    if (t->masked) look->r->plan->kernels->forbid(t->n, look->panel->w, t->allowed, t->s);
}

/* Side by side; chunks whose keys are all forgotten are left out. */
static void norm_scores(attn__norm_look *look)
{
    const attn__run *r = look->r;
    const int64_t row = look->panel->w * (int64_t)attn__real_size(r->plan->kernels);
    int64_t rows = 0;
    look->scores = look->scratch + r->plan->at.whole;
    for (int64_t j0 = norm_next(look, look->first); j0 < look->first + look->n;
         j0 = norm_next(look, j0 + ATTN__CHUNK)) {
        attn__tile tile = attn__norm_tile(look, j0);
        const int64_t n = tile.n;
        norm_chunk(look, &tile, look->scores + rows * row);
        rows += n;
    }
    look->n = rows;
}

attn__norm_look attn__norm_look_at(const attn__run *r, char *scratch, const attn__seq *seq,
                                   int64_t g, attn__panel *panel)
{
    attn__norm_look look = {.r = r, .scratch = scratch, .seq = seq, .g = g, .panel = panel};
    if (panel->any_hi > 0) {
        look.first = panel->any_lo / ATTN__CHUNK * ATTN__CHUNK;
        look.n = panel->any_hi - look.first;
        look.n =
            attn__min(attn__ceil_div(look.n, ATTN__CHUNK) * ATTN__CHUNK, seq->S - look.first);
    }
    if (!attn__norm_of(r->p)->threshold) {
        norm_count(&look);
        return look;
    }
    norm_scores(&look);
    attn__norm_of(r->p)->find(&look);
    if (r->p->call == ATTN__JVP && r->p->spec.normaliser == ATTN_NORM_ENTMAX)
        attn__norm_tangents(&look);
    return look;
}
