/* SPDX-License-Identifier: MIT
 * Few queries against a chunk: decoding. Keys and values are read once, where they lie and as
 * they are, by the kernels for few lanes (kernel/body/few.h); what is between the two products
 * is that of every tile. Memory is what such a call waits for, so every row is told which row
 * to ask for meanwhile: keys of the chunk, its values, keys of the next chunk, in this order,
 * are one long run. */
#include "engine/few.h"
#include "engine/norm.h"
#include "engine/rotate.h"
#include "engine/rows.h"
#include "engine/source.h"

/* A tile of keys is asked for while the one before it is worked on: 16 KiB of rows, 32 at least,
 * which fit into a first cache of 48 KiB beside it. A smaller one loses them before they are read:
 * there twice as much is asked for, for the second cache, and near lines once more for the first. */
enum { FEW_AHEAD_ROWS = ATTN__BLOCK / 2, FEW_AHEAD_BYTES = 16384 };

static bool few_reads(const attn__kernels *k, const attn_tensor *t)
{
    return t->shape[3] > 0 && (t->stride[3] == 1 || t->shape[3] == 1) &&
           k->few_scores[attn__row_kind_of(t->dtype)] != NULL;
}

/* Keys that are still to be turned wait in the workspace, as reals; those of caches and pages
 * are turned in scratch. */
static bool few_reads_all(const attn__kernels *k, const attn__problem *p)
{
    const bool tensors = p->source == ATTN__SOURCE_TENSORS;
    if (p->turns_keys && !tensors) return false;
    if (p->source == ATTN__SOURCE_CACHE)
        return p->D > 0 && p->E > 0 && k->few_scores[attn__source_kind(p->held.key.type)] &&
               k->few_weigh[attn__source_kind(attn__source_values(p)->type)];
    return (p->turns_keys ? p->D > 0 : few_reads(k, &p->at.k)) && few_reads(k, &p->at.v);
}

void attn__few_plan(attn_plan *plan)
{
    const attn__problem *p = &plan->problem;
    plan->few = !plan->half.kernels && p->call == ATTN__FORWARD &&
                plan->score == ATTN_SCORE_DOT && !attn__norm_on(p) &&
                few_reads_all(plan->kernels, p);
}

/* Rows of n keys from j on into row; returns their kind. */
static attn__row_kind few_keys(const attn__run *r, const attn__seq *seq, int64_t g, int64_t j,
                               int64_t n, const void **row)
{
    const attn_tensor *t = &r->p->at.k;
    const attn_dtype real = r->plan->kernels->dtype;
    const bool turned = r->p->turns_keys; /* they wait in the workspace */
    const char *at =
        turned ? attn__rotated_key(r, seq, g, j) : attn__at(t, seq->kb, g, seq->k0 + j, 0);
    const int64_t step = turned ? r->p->D * (int64_t)attn_dtype_size(real)
                                : t->stride[2] * (int64_t)attn_dtype_size(t->dtype);
    attn__rows_list(row, at, step, n);
    return attn__row_kind_of(turned ? real : t->dtype);
}

static attn__row_kind few_values(const attn__run *r, const attn__seq *seq, int64_t g, int64_t j,
                                 int64_t n, const void **row)
{
    const attn_tensor *t = &r->p->at.v;
    const int64_t step = t->stride[2] * (int64_t)attn_dtype_size(t->dtype);
    const char *at = attn__at(t, seq->kb, g, seq->k0 + j, 0);
    attn__rows_list(row, at, step, n);
    return attn__row_kind_of(t->dtype);
}

/* How many rows further on to ask. */
static int64_t few_ahead(int64_t width, attn__row_kind kind, bool far)
{
    const int64_t bits = attn__row_form_of(kind).bits;
    const int64_t rows = attn__ceil_div(FEW_AHEAD_BYTES * 8, width * bits);
    return attn__min(attn__max(rows, FEW_AHEAD_ROWS) * (far ? 2 : 1), ATTN__FEW_AHEAD);
}

/* A piece of keys and values to be: n of them from j0 on, and keys behind them to ask for. */
typedef struct few_piece {
    const attn__seq *seq;
    int64_t g, j0, n, next;
    const void **row; /* [n] keys, [n] values, [ATTN__FEW_AHEAD] keys */
} few_piece;

static void few_tensors(const attn__run *r, const few_piece *at, attn__staged *staged)
{
    const int64_t n = at->n;
    staged->k_rows.kind = few_keys(r, at->seq, at->g, at->j0, n, at->row);
    staged->v_rows.kind = few_values(r, at->seq, at->g, at->j0, n, at->row + n);
    if (at->next > 0) few_keys(r, at->seq, at->g, at->j0 + n, at->next, at->row + 2 * n);
}

static void few_source(const attn__run *r, char *scratch, few_piece *at, attn__staged *staged)
{
    attn__cache_look *look = (attn__cache_look *)(void *)(scratch + r->plan->at.look);
    if (!attn__source_rows(r, scratch, at->seq, at->g, at->j0, at->n, &staged->k_rows,
                           &staged->v_rows))
        staged->held = look->held;
    if (at->next > 0) attn__source_behind(r, scratch, at->seq, at->g, at->j0, at->n, at->next);
    at->row = look->row;
}

attn__staged attn__few_stage(const attn__run *r, char *scratch, const attn__seq *seq, int64_t g,
                             int64_t j0, int64_t j1)
{
    const int64_t n = j1 - j0, next = attn__min(ATTN__FEW_AHEAD, seq->S - j1);
    few_piece piece = {seq, g,    j0,
                       n,   next, (const void **)(void *)(scratch + r->plan->at.few_rows)};
    attn__staged staged = {.few = true};
    if (r->p->source == ATTN__SOURCE_TENSORS)
        few_tensors(r, &piece, &staged);
    else
        few_source(r, scratch, &piece, &staged);
    const void **row = piece.row;
    for (int64_t i = next; i < ATTN__FEW_AHEAD; i++) row[2 * n + i] = row[2 * n - 1];
    staged.k_rows.row = row;
    staged.v_rows.row = row + n;
    staged.k_rows.far = staged.v_rows.far = r->plan->far;
    staged.k_rows.ahead = row + few_ahead(r->p->D, staged.k_rows.kind, r->plan->far);
    staged.v_rows.ahead = row + n + few_ahead(r->p->E, staged.v_rows.kind, r->plan->far);
    return staged;
}

/* Scores that nothing but the softmax touches lie as close as the kernels for few lanes can
 * leave them: a vector of exponentials is full, and rows to come keep their place in the first
 * cache. */
int attn__few_width(const attn__tile *t)
{
    static const int narrow[] = {1, 4, 8};
    const attn__problem *p = t->r->p;
    const int step = t->r->plan->kernels->step;
    if (!t->r->plan->plain || p->spec.dropout > 0 || attn__present(&p->at.rel_v))
        return t->panel->w;
    for (size_t i = 0; i < sizeof narrow / sizeof *narrow; i++)
        if (t->panel->n <= narrow[i] && narrow[i] < step) return narrow[i];
    return t->panel->w;
}

void attn__few_scores(const attn__tile *t, const attn__staged *staged, int64_t chunk0)
{
    const attn__rows keys = attn__rows_from(&staged->k_rows, t->j0 - chunk0);
    t->r->plan->kernels->few_scores[keys.kind](t->n, t->panel->n, t->w, t->r->p->D, &keys,
                                               t->panel->qt, t->panel->w, t->s);
}

static int64_t few_ld(const attn__run *r)
{
    return attn__few_ld(r->plan->kernels, r->p->E);
}

void attn__few_weigh(const attn__tile *t, const attn__staged *staged, int64_t chunk0,
                     int64_t first, int64_t n, bool masked)
{
    const attn__kernels *k = t->r->plan->kernels;
    const attn__rows values = attn__rows_from(&staged->v_rows, t->j0 + first - chunk0);
    const char *p = (const char *)t->s + first * t->w * (int64_t)attn__real_size(k);
    void *total = t->w < k->step ? t->scratch + t->r->plan->at.l : NULL;
    k->few_weigh[values.kind](n, t->panel->n, t->w, t->r->p->E, p, total, &values, masked,
                              first == 0, t->scratch + t->r->plan->at.few_acc, few_ld(t->r));
}

void attn__few_turn(const attn__tile *t)
{
    const attn__kernels *k = t->r->plan->kernels;
    const int64_t step = few_ld(t->r) * (int64_t)attn__real_size(k);
    const void *rows[ATTN__FEW];
    for (int l = 0; l < t->panel->n; l++)
        rows[l] = t->scratch + t->r->plan->at.few_acc + l * step;
    k->pack(t->panel->n, t->panel->w, t->r->p->E, rows, 1, t->scratch + t->r->plan->at.acc);
}
