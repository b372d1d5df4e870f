/* SPDX-License-Identifier: MIT
 * Attention by its definition, one query at a time: a row of scores, its softmax, the weighted
 * sum. Causal, grouped heads of both maps, biases on both sides of the softcap, a mask that
 * forbids or adds, ALiBi, a sink, a table of offsets and Shaw's vectors, distances and tanh in
 * place of products, a gaussian around a centre, as they fall.
 *
 * Operands in the order of attn_attention_vars. i: B H G T S D E, then causal, tiled heads, R,
 * the kind of score; f: softcap, scale, sigma. */
#include <math.h>

#include "tape_case.h"

enum { Q, K, V, BIAS_PRE, BIAS, MASK, ALIBI, SINK, REL_TABLE, REL_K, REL_V, SCORE_W, CENTER };
enum { B, H, G, T, S, D, E, CAUSAL, TILED, REACH, KIND };
enum { CAP, SCALE, SIGMA };

/* ---- drawing ---------------------------------------------------------------------------- */

static void attention_draw_sizes(tape_draw *d)
{
    d->i[B] = tape_size(d, 0);
    d->i[G] = test_rng_range(d->rng, 1, 2);
    d->i[H] = d->i[G] * test_rng_range(d->rng, 1, 3);
    d->i[T] = tape_size(d, 0);
    d->i[S] = tape_size(d, 0);
    d->i[D] = tape_size(d, 1);
    d->i[E] = tape_size(d, 1);
    d->i[CAUSAL] = test_rng_chance(d->rng, 50);
    d->i[TILED] = test_rng_chance(d->rng, 30);
    d->i[REACH] = test_rng_range(d->rng, 0, 3);
    d->f[CAP] = test_rng_chance(d->rng, 30) ? 2.5 : 0;
    d->f[SCALE] = test_rng_chance(d->rng, 30) ? 0.375 : 0;
    d->i[KIND] = test_rng_chance(d->rng, 40) ? test_rng_range(d->rng, 1, 2) : 0;
    d->f[SIGMA] = test_rng_chance(d->rng, 30) ? 1.75 : 0;
}

/* Every dimension of B H T S full or 1, leading ones perhaps missing. */
static int attention_draw_broadcast(tape_draw *d, int64_t *shape)
{
    const int64_t full[] = {d->i[B], d->i[H], d->i[T], d->i[S]};
    const int skip = (int)test_rng_range(d->rng, 0, 2);
    for (int i = skip; i < 4; i++) shape[i - skip] = test_rng_chance(d->rng, 60) ? full[i] : 1;
    return 4 - skip;
}

static void attention_draw_bias(tape_draw *d, bool wanted)
{
    int64_t shape[4];
    const int rank = attention_draw_broadcast(d, shape);
    if (wanted)
        tape_reals(d, rank, shape, true);
    else
        tape_absent(d);
}

static void attention_draw_mask(tape_draw *d)
{
    int64_t shape[4];
    const int rank = attention_draw_broadcast(d, shape);
    if (test_rng_chance(d->rng, 30))
        tape_bools(d, rank, shape);
    else
        attention_draw_bias(d, test_rng_chance(d->rng, 30));
}

static void attention_draw_table(tape_draw *d, bool wanted, int rank, const int64_t *shape)
{
    if (wanted)
        tape_reals(d, rank, shape, true);
    else
        tape_absent(d);
}

static void attention_draw(tape_draw *d)
{
    attention_draw_sizes(d);
    const int64_t *n = d->i, entries = 2 * n[REACH] + 1;
    const bool shaw = test_rng_chance(d->rng, 30);
    tape_reals(d, TAPE_DIMS(n[B], n[H], n[T], n[D]), true);
    tape_reals(d, TAPE_DIMS(n[B], n[G], n[S], n[D]), true);
    tape_reals(d, TAPE_DIMS(n[B], n[G], n[S], n[E]), true);
    attention_draw_bias(d, test_rng_chance(d->rng, 30));
    attention_draw_bias(d, test_rng_chance(d->rng, 50));
    attention_draw_mask(d);
    attention_draw_table(d, test_rng_chance(d->rng, 30), 1, &n[H]);
    attention_draw_table(d, test_rng_chance(d->rng, 30), 1, &n[H]);
    attention_draw_table(d, test_rng_chance(d->rng, 30), TAPE_DIMS(n[H], entries));
    attention_draw_table(d, shaw && n[KIND] == 0, TAPE_DIMS(n[H], entries, n[D]));
    attention_draw_table(d, shaw, TAPE_DIMS(n[H], entries, n[E]));
    attention_draw_table(d, n[KIND] == ATTN_SCORE_ADDITIVE, TAPE_DIMS(n[H], n[D]));
    attention_draw_table(d, d->f[SIGMA] > 0, TAPE_DIMS(n[B], n[H], n[T]));
}

/* ---- the call --------------------------------------------------------------------------- */

static void attention_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    const attn_attention_vars vars = {.q = in[Q],
                                      .k = in[K],
                                      .v = in[V],
                                      .bias_pre = in[BIAS_PRE],
                                      .bias = in[BIAS],
                                      .mask = in[MASK],
                                      .alibi = in[ALIBI],
                                      .sink = in[SINK],
                                      .rel_table = in[REL_TABLE],
                                      .rel_k = in[REL_K],
                                      .rel_v = in[REL_V],
                                      .score_w = in[SCORE_W],
                                      .center = in[CENTER]};
    attn_spec spec =
        ATTN_SPEC(.scale = d->f[SCALE], .softcap = d->f[CAP], .causal = d->i[CAUSAL] != 0,
                  .align = ATTN_ALIGN_BOTTOM_RIGHT, .score = (attn_score_kind)d->i[KIND],
                  .center_sigma = d->f[SIGMA]);
    if (d->i[TILED]) spec.head_map = ATTN_HEADS_TILED;
    if (in[REL_TABLE].tape) spec.rel.kind = ATTN_REL_OFFSET;
    out[0] = attn_tape_attention(t, &spec, &vars, NULL, &out[1]);
}

/* ---- the oracle ------------------------------------------------------------------------- */

typedef struct attention_row {
    const tape_draw *d;
    const double *const *in;
    int64_t b, h, g, t;
} attention_row;

/* Element (b, h, t, s) of an operand that broadcasts. */
static double attention_broadcast(const attention_row *r, int which, int64_t s)
{
    const attn_tensor *x = &r->d->in[which];
    const int64_t at[] = {r->b, r->h, r->t, s};
    int64_t offset = 0;
    for (int i = 0; i < x->rank; i++)
        offset = offset * x->shape[i] + (x->shape[i] == 1 ? 0 : at[4 - x->rank + i]);
    return r->in[which][offset];
}

static int64_t attention_entry(const attention_row *r, int64_t s)
{
    const int64_t *n = r->d->i;
    int64_t distance = s - (r->t + n[S] - n[T]);
    if (distance < -n[REACH]) distance = -n[REACH];
    if (distance > n[REACH]) distance = n[REACH];
    return r->h * (2 * n[REACH] + 1) + distance + n[REACH];
}

static const double *attention_query(const attention_row *r)
{
    const int64_t *n = r->d->i;
    return r->in[Q] + ((r->b * n[H] + r->h) * n[T] + r->t) * n[D];
}

static double attention_dot(const double *x, const double *y, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

static bool attention_forbidden(const attention_row *r, int64_t s)
{
    const int64_t *n = r->d->i;
    const bool bools = r->in[MASK] && r->d->in[MASK].dtype == ATTN_DTYPE_BOOL;
    if (n[CAUSAL] && s > r->t + n[S] - n[T]) return true;
    return bools && attention_broadcast(r, MASK, s) == 0;
}

/* Query and key by themselves, scaled. */
static double attention_pair(const attention_row *r, int64_t s)
{
    const int64_t *n = r->d->i;
    const double *q = attention_query(r);
    const double *k = r->in[K] + ((r->b * n[G] + r->g) * n[S] + s) * n[D];
    double x = n[KIND] == ATTN_SCORE_DOT ? attention_dot(q, k, n[D]) : 0;
    for (int64_t d = 0; d < n[D] && n[KIND] == ATTN_SCORE_L2; d++)
        x -= (q[d] - k[d]) * (q[d] - k[d]);
    for (int64_t d = 0; d < n[D] && n[KIND] == ATTN_SCORE_ADDITIVE; d++)
        x += r->in[SCORE_W][r->h * n[D] + d] * tanh(q[d] + k[d]);
    if (r->in[REL_K]) x += attention_dot(q, r->in[REL_K] + attention_entry(r, s) * n[D], n[D]);
    if (r->d->f[SCALE] != 0) return x * r->d->f[SCALE];
    return n[KIND] == ATTN_SCORE_ADDITIVE ? x : x / sqrt((double)n[D]);
}

static double attention_score(const attention_row *r, int64_t s)
{
    const int64_t *n = r->d->i;
    const double cap = r->d->f[CAP], sigma = r->d->f[SIGMA];
    const double away = fabs((double)(s - (r->t + n[S] - n[T])));
    double x = attention_pair(r, s);
    if (r->in[BIAS_PRE]) x += attention_broadcast(r, BIAS_PRE, s);
    if (cap != 0) x = cap * tanh(x / cap);
    if (r->in[BIAS]) x += attention_broadcast(r, BIAS, s);
    if (r->in[ALIBI]) x -= r->in[ALIBI][r->h] * away;
    if (r->in[REL_TABLE]) x += r->in[REL_TABLE][attention_entry(r, s)];
    if (sigma > 0) {
        const double far = (double)s - r->in[CENTER][(r->b * n[H] + r->h) * n[T] + r->t];
        x -= far * far / (2 * sigma * sigma);
    }
    if (r->in[MASK] && r->d->in[MASK].dtype != ATTN_DTYPE_BOOL)
        x += attention_broadcast(r, MASK, s);
    return x;
}

/* The log of the sum of exp(score) over allowed keys and the sink. */
static double attention_lse(const attention_row *r)
{
    double top = r->in[SINK] ? r->in[SINK][r->h] : (double)-INFINITY, sum = 0;
    for (int64_t s = 0; s < r->d->i[S]; s++)
        if (!attention_forbidden(r, s)) top = fmax(top, attention_score(r, s));
    if (isinf(top)) return top;
    for (int64_t s = 0; s < r->d->i[S]; s++)
        if (!attention_forbidden(r, s)) sum += exp(attention_score(r, s) - top);
    if (r->in[SINK]) sum += exp(r->in[SINK][r->h] - top);
    return top + log(sum);
}

static void attention_one(const attention_row *r, double *out, double *lse)
{
    const int64_t *n = r->d->i;
    *lse = attention_lse(r);
    for (int64_t s = 0; s < n[S]; s++) {
        if (attention_forbidden(r, s)) continue;
        const double weight = exp(attention_score(r, s) - *lse);
        const double *v = r->in[V] + ((r->b * n[G] + r->g) * n[S] + s) * n[E];
        for (int64_t e = 0; e < n[E]; e++) {
            const double shaw =
                r->in[REL_V] ? r->in[REL_V][attention_entry(r, s) * n[E] + e] : 0;
            out[e] += weight * (v[e] + shaw);
        }
    }
}

static void attention_oracle(const tape_draw *d, const double *const *in,
                             const attn_tensor *shape, double *const *out)
{
    const int64_t *n = d->i;
    (void)shape;
    for (int64_t b = 0; b < n[B]; b++)
        for (int64_t h = 0; h < n[H]; h++)
            for (int64_t t = 0; t < n[T]; t++) {
                const int64_t row = (b * n[H] + h) * n[T] + t;
                const int64_t g = n[TILED] ? h % n[G] : h / (n[H] / n[G]);
                attention_one(&(attention_row){d, in, b, h, g, t}, out[0] + row * n[E],
                              &out[1][row]);
            }
}

const tape_case tape_case_attention = {"attention", 2, attention_draw, attention_apply,
                                       .oracle = attention_oracle};
