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

/* ---- how q and k meet, element by element ---- */

static oracle_feature feature_dot(const oracle_problem *p, const oracle_pair *pair,
                                  const oracle_row *q, const oracle_row *k, int64_t d)
{
    (void)p, (void)pair;
    return (oracle_feature){.value = q->x[d] * k->x[d],
                            .mass = q->mag[d] * k->mag[d],
                            .by_q = k->x[d],
                            .by_k = q->x[d],
                            .by_q_mass = k->mag[d],
                            .by_k_mass = q->mag[d]};
}

/* Without a rotation q and k are exact and their difference rounds once; a turned element is
 * off by its magnitude. The square counts twice: so does what rounds in it. */
static oracle_feature feature_l2(const oracle_problem *p, const oracle_pair *pair,
                                 const oracle_row *q, const oracle_row *k, int64_t d)
{
    (void)pair;
    oracle_real x = q->x[d] - k->x[d], mag = fabsl(x);
    if (p->spec.rope.kind != ATTN_ROPE_NONE) mag += q->mag[d] + k->mag[d];
    oracle_feature f = {.value = -x * x,
                        .mass = 2 * fabsl(x) * mag,
                        .by_q = -2 * x,
                        .by_k = 2 * x,
                        .by_q_mass = 2 * mag,
                        .by_k_mass = 2 * mag};
    if (p->flip == ORACLE_FLIP_L2_SIGN) f.value = x * x;
    if (p->flip == ORACLE_FLIP_L2_ROOT) f.value = -fabsl(x);
    return f;
}

/* A rounding u of the argument x moves the tanh by slope |x| u, under half a rounding; a turned
 * x by slope times its magnitudes. The slope, 1 - h h, moves by 2 |h| times what h does. */
static oracle_feature feature_additive(const oracle_problem *p, const oracle_pair *pair,
                                       const oracle_row *q, const oracle_row *k, int64_t d)
{
    oracle_real x = q->x[d] + k->x[d], h = tanhl(x), slope = 1 - h * h;
    oracle_real w =
        p->score_w.data ? (oracle_real)oracle_read(&p->score_w, pair->h, d, 0, 0) : 1;
    bool turned = p->spec.rope.kind != ATTN_ROPE_NONE;
    oracle_real moved = slope * (turned ? q->mag[d] + k->mag[d] : fabsl(x));
    if (p->flip == ORACLE_FLIP_SCORE_W) w = 1;
    if (p->flip == ORACLE_FLIP_ADDITIVE_TANH) h = x;
    oracle_real mass = fabsl(w) * (1 + h * h);
    return (oracle_feature){.value = w * h,
                            .mass = fabsl(w) * (fabsl(h) + moved),
                            .by_q = w * slope,
                            .by_k = w * slope,
                            .by_q_mass = mass,
                            .by_k_mass = mass,
                            .rough = 8 * fabsl(h) * moved,
                            .by_weight = h,
                            .by_weight_mass = fabsl(h) + 4 * moved};
}

oracle_feature oracle_pair_feature(const oracle_problem *p, const oracle_pair *pair,
                                   const oracle_row *q, const oracle_row *k, int64_t d)
{
    static oracle_feature (*const features[])(
        const oracle_problem *, const oracle_pair *, const oracle_row *, const oracle_row *,
        int64_t) = {feature_dot, feature_l2, feature_additive};
    return features[p->spec.score](p, pair, q, k, d);
}

static void score_products(const oracle_problem *p, const oracle_pair *pair,
                           const oracle_row *q, const oracle_row *k, oracle_score *s)
{
    int64_t rel = p->rel_k.data ? oracle_clip(pair->j - pair->p, p->rel_k.shape[1]) : 0;
    oracle_real dot = 0, shaw = 0, squares = 0;
    for (int64_t d = 0; d < p->D; d++) {
        oracle_feature f = oracle_pair_feature(p, pair, q, k, d);
        dot += f.value;
        squares += dot * dot;
        s->magnitude += f.mass;
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

oracle_real oracle_pair_center(const oracle_problem *p, const oracle_pair *pair)
{
    return (oracle_real)oracle_read(&p->center, pair->n, pair->h, pair->row, 0);
}

static void score_center(const oracle_problem *p, const oracle_pair *pair, oracle_score *s)
{
    oracle_real sigma = (oracle_real)p->spec.center_sigma;
    if (sigma == 0) return;
    oracle_real far = (oracle_real)pair->j - oracle_pair_center(p, pair);
    oracle_real by = p->flip == ORACLE_FLIP_CENTER_SIGMA ? sigma : sigma * sigma;
    score_add(s, -far * far / (2 * by));
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
    score_center(p, pair, s);
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
    const oracle_operand *terms[] = {&p->rel_k, &p->bias_pre,  &p->bias,  &p->mask,
                                     &p->alibi, &p->rel_table, &p->center};
    oracle_real n = (p->spec.score == ATTN_SCORE_ADDITIVE ? 7 : 3) +
                    (p->spec.softcap > 0 ? 4 : 0) + (p->spec.tile ? 2 : 0);
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
