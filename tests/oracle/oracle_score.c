/* SPDX-License-Identifier: MIT
 * The score of one pair, term by term in the documented order, with the sum of the magnitudes
 * of all terms beside it.
 *
 * Why that sum bounds the rounding: a product or an added term t contributes at most a few
 * u |t|, and what follows it is additions (which pass an error on unchanged), c tanh(x / c) and
 * a tile callback (slope at most 1, own error a few u of its result, counted as a term). */
#include "oracle/oracle_call.h"

#include <math.h>

static void score_add(oracle_score *s, oracle_real term)
{
    if (term == -(oracle_real)INFINITY) {
        s->allowed = false;
        return;
    }
    s->value += term;
    s->magnitude += fabsl(term);
}

static void score_products(const oracle_problem *p, const oracle_pair *pair,
                           const oracle_row *q, const oracle_row *k, oracle_score *s)
{
    int64_t rel = p->rel_k.data ? oracle_clip(pair->j - pair->p, p->rel_k.shape[1]) : 0;
    oracle_real dot = 0, shaw = 0, squares = 0;
    for (int64_t d = 0; d < p->D; d++) {
        dot += q->x[d] * k->x[d];
        squares += dot * dot;
        s->magnitude += q->mag[d] * k->mag[d];
        if (!p->rel_k.data) continue;
        oracle_real r = (oracle_real)oracle_read(&p->rel_k, pair->h, rel, d, 0);
        shaw += q->x[d] * r;
        squares += shaw * shaw;
        s->magnitude += q->mag[d] * fabsl(r);
    }
    s->value = p->scale * (dot + shaw);
    if (p->flip == ORACLE_FLIP_REL_K) s->value = p->scale * dot + shaw;
    s->magnitude *= fabsl(p->scale);
    s->spread = sqrtl(squares) * fabsl(p->scale);
}

static void score_operand(const oracle_operand *t, const oracle_pair *pair, oracle_score *s)
{
    if (t->data)
        score_add(s, (oracle_real)oracle_read(t, pair->n, pair->h, pair->row, pair->key));
}

static void score_cap(const oracle_problem *p, oracle_score *s)
{
    oracle_real c = (oracle_real)p->spec.softcap;
    if (c == 0 || p->flip == ORACLE_FLIP_SOFTCAP) return;
    s->value = c * tanhl(s->value / c);
    s->magnitude += fabsl(s->value);
}

static void score_before(const oracle_problem *p, const oracle_pair *pair, oracle_score *s)
{
    bool late = p->flip == ORACLE_FLIP_BIAS_PRE;
    if (late) score_cap(p, s);
    score_operand(&p->bias_pre, pair, s);
    if (!late) score_cap(p, s);
}

static void score_bias(const oracle_problem *p, const oracle_pair *pair, oracle_score *s)
{
    if (p->flip == ORACLE_FLIP_BIAS && p->bias.data) {
        oracle_real b =
            (oracle_real)oracle_read(&p->bias, pair->n, pair->h, pair->row, pair->key);
        score_add(s, p->scale * b + b / 2);
        return;
    }
    score_operand(&p->bias, pair, s);
}

static void score_after(const oracle_problem *p, const oracle_pair *pair, oracle_score *s)
{
    int64_t far = pair->p - pair->j;
    bool additive = p->mask.dtype >= ATTN_DTYPE_F64 && p->mask.dtype <= ATTN_DTYPE_F16;
    score_bias(p, pair, s);
    if (additive && p->flip != ORACLE_FLIP_MASK_ADD) score_operand(&p->mask, pair, s);
    if (far < 0 && p->flip != ORACLE_FLIP_ALIBI) far = -far;
    if (p->alibi.data)
        score_add(s, -(oracle_real)oracle_read(&p->alibi, pair->n, pair->h, 0, 0) *
                         (oracle_real)far);
    if (p->spec.rel.kind != ATTN_REL_NONE && p->rel_table.data)
        score_add(s, (oracle_real)oracle_read(&p->rel_table, pair->h, oracle_rel_index(p, pair),
                                              0, 0));
}

/* The callback sees a tile of this one pair. */
static attn_tile score_tile(const oracle_pair *pair)
{
    return (attn_tile){.b = pair->n,
                       .h = pair->h,
                       .i0 = pair->i,
                       .n_i = 1,
                       .j0 = pair->j,
                       .n_j = 1,
                       .dtype = ATTN_DTYPE_F64,
                       .i_stride = 1,
                       .j_stride = 1};
}

static attn_tile_kind score_classify(const oracle_problem *p, const attn_tile *tile)
{
    return p->spec.classify ? p->spec.classify(p->spec.user, tile) : ATTN_TILE_PARTIAL;
}

static void score_callback(const oracle_problem *p, const oracle_pair *pair, oracle_score *s)
{
    if (!p->spec.tile || p->flip == ORACLE_FLIP_TILE) return;
    double x = (double)s->value;
    attn_tile tile = score_tile(pair);
    attn_tile_kind kind = score_classify(p, &tile);
    if (kind == ATTN_TILE_EMPTY) s->allowed = false;
    if (kind != ATTN_TILE_PARTIAL) return;
    tile.s = &x;
    p->spec.tile(p->spec.user, &tile);
    if (isinf(x) && x < 0) s->allowed = false;
    /* What the callback changed is added, so that the digits a double lacks stay. */
    s->value += (oracle_real)x - (oracle_real)(double)s->value;
    s->magnitude += fabsl((oracle_real)x);
}

oracle_real oracle_pair_bend(const oracle_problem *p, const oracle_pair *pair,
                             oracle_real score)
{
    double x = (double)score;
    attn_tile tile = score_tile(pair);
    if (!p->spec.tile || score_classify(p, &tile) == ATTN_TILE_FULL) return 1;
    tile.s = &x;
    p->spec.tile_slope(p->spec.user, &tile);
    return (oracle_real)x;
}

oracle_real oracle_operations(const oracle_problem *p)
{
    const oracle_operand *terms[] = {&p->rel_k, &p->bias_pre, &p->bias,
                                     &p->mask,  &p->alibi,    &p->rel_table};
    oracle_real n = 3 + (p->spec.softcap > 0 ? 4 : 0) + (p->spec.tile ? 2 : 0);
    for (size_t i = 0; i < sizeof terms / sizeof terms[0]; i++) n += terms[i]->data ? 2 : 0;
    return n + (p->spec.rope.kind != ATTN_ROPE_NONE ? 4 : 0);
}

oracle_score oracle_pair_score(const oracle_problem *p, const oracle_pair *pair,
                               const oracle_row *q, const oracle_row *k)
{
    oracle_score s = {.allowed = oracle_allowed(p, pair)};
    score_products(p, pair, q, k, &s);
    s.staged = s.value;
    s.staged_magnitude = s.magnitude;
    score_before(p, pair, &s);
    if (p->spec.scores_stage == ATTN_SCORES_CAPPED) {
        s.staged = s.value;
        s.staged_magnitude = s.magnitude;
    }
    score_after(p, pair, &s);
    score_callback(p, pair, &s);
    if (p->spec.scores_stage == ATTN_SCORES_MASKED) {
        s.staged = s.allowed ? s.value : -(oracle_real)INFINITY;
        s.staged_magnitude = s.magnitude;
    }
    return s;
}
