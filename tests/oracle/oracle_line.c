/* SPDX-License-Identifier: MIT
 * A row of scores as its derivatives see it, and the sums they end in.
 *
 *   s_j    = b(c(x_j) + terms), c the softcap, b the callback; slopes cap = c', bend = b'
 *   weight = exp(s_j - lse), sink = (exp(sink) + 0) / exp(lse)
 *
 * Beside each number stands how much of it roundings may move (see support/compare_grad.c):
 * rough is 6.5 standard deviations of the chain of products, the operations on the score times
 * its magnitude, and lse read from a tensor, all absolute errors of s - lse. */
#include "oracle/oracle_call.h"

#include <math.h>
#include <stdlib.h>

/* ---- sums ------------------------------------------------------------------------------- */

void oracle_chain_add(oracle_chain *c, oracle_real value, oracle_real mass)
{
    c->value += value;
    c->mass += mass;
    c->squares += c->value * c->value;
}

oracle_sum oracle_chain_sum(const oracle_chain *c)
{
    return (oracle_sum){c->value, c->mass, 6.5L * sqrtl(c->squares)};
}

oracle_sum oracle_sum_times(oracle_sum s, oracle_real value, oracle_real mass)
{
    return (oracle_sum){s.value * value, s.mass * mass, s.rough * mass};
}

void oracle_sum_add(oracle_sum *s, oracle_sum term)
{
    s->value += term.value;
    s->mass += term.mass;
    s->rough += term.rough;
}

bool oracle_sums_make(oracle_sums *s, const int64_t shape[4])
{
    s->n = 1;
    for (int i = 0; i < 4; i++) {
        s->shape[i] = shape[i];
        s->n *= shape[i];
    }
    s->x = calloc((size_t)s->n + 1, sizeof *s->x);
    return s->x != NULL;
}

oracle_sum *oracle_sums_at(const oracle_sums *s, int64_t a, int64_t b, int64_t c, int64_t d)
{
    const int64_t at[4] = {a, b, c, d};
    int64_t flat = 0;
    for (int i = 0; i < 4; i++) flat = flat * s->shape[i] + (s->shape[i] == 1 ? 0 : at[i]);
    return &s->x[flat];
}

/* ---- the row ---------------------------------------------------------------------------- */

bool oracle_line_make(oracle_line *w, const attn_spec *spec, const attn_args *args, bool saved)
{
    *w = (oracle_line){.saved = saved};
    bool ok = oracle_problem_make(&w->p, spec, args, ORACLE_FLIP_NONE);
    w->bare = w->p;
    w->bare.spec.tile = NULL;
    w->bare.spec.scores_stage = ATTN_SCORES_CAPPED;
    w->own = oracle_norm_own(&w->p);
    w->saved = saved && !w->own;
    if (w->saved) w->lse = oracle_rows(&args->lse);
    w->link = malloc(((size_t)w->p.S + 1) * sizeof *w->link);
    return ok && oracle_head_make(&w->at, &w->p) && oracle_norm_make(&w->norm, w->p.S) &&
           w->link;
}

void oracle_line_free(oracle_line *w)
{
    free(w->link);
    oracle_norm_free(&w->norm);
    oracle_head_free(&w->at);
    oracle_problem_free(&w->p);
}

static void line_cap(const oracle_line *w, oracle_link *link, const oracle_score *s)
{
    oracle_real c = (oracle_real)w->p.spec.softcap, t = c > 0 ? s->staged / c : 0;
    link->cap = 1 - t * t;
    link->cap_mass = 1 + t * t;
    link->cap_rough = c > 0 ? 2 * fabsl(t) * link->cap * s->staged_magnitude / c : 0;
}

/* A callback bends where the score is; its slope changes by at most the error of the score. */
static void line_bend(const oracle_line *w, oracle_link *link, const oracle_score *s)
{
    link->bend = link->allowed ? oracle_pair_bend(&w->p, &link->pair, s->value) : 0;
    link->bend_rough = w->p.spec.tile ? 6.5L * s->spread + 2 * s->magnitude + 2 : 0;
}

/* Leaves the score in weight. */
static void line_link(const oracle_line *w, int64_t j)
{
    oracle_link *link = &w->link[j];
    oracle_row key = oracle_head_key(&w->at, j);
    oracle_pair pair = oracle_head_pair(&w->at, w->i, j);
    oracle_score s = oracle_pair_score(&w->p, &pair, &w->query, &key), bare = s;
    if (w->p.spec.softcap > 0 || w->p.spec.tile)
        bare = oracle_pair_score(&w->bare, &pair, &w->query, &key);
    *link = (oracle_link){.pair = pair, .allowed = s.allowed, .weight = s.value};
    if (!s.allowed) return;
    link->kept = oracle_head_kept(&w->at, w->i, j);
    link->rough = 6.5L * s.spread + oracle_operations(&w->p) * s.magnitude;
    line_cap(w, link, &bare);
    line_bend(w, link, &bare);
}

static oracle_real line_sink(const oracle_line *w)
{
    if (!w->p.sink.data) return -(oracle_real)INFINITY;
    return (oracle_real)oracle_read(&w->p.sink, w->at.n, w->at.h, 0, 0);
}

static oracle_real line_log_sum(const oracle_line *w)
{
    oracle_real max = line_sink(w), sum = 0;
    if (w->p.spec.softmax1 && max < 0) max = 0;
    for (int64_t j = 0; j < w->at.s->S; j++)
        if (w->link[j].allowed && w->link[j].weight > max) max = w->link[j].weight;
    if (isinf(max)) return max;
    for (int64_t j = 0; j < w->at.s->S; j++)
        if (w->link[j].allowed) sum += expl(w->link[j].weight - max);
    sum += expl(line_sink(w) - max) + (w->p.spec.softmax1 ? expl(-max) : 0);
    return max + logl(sum);
}

static oracle_real line_exp(const oracle_line *w, oracle_real s)
{
    return isinf(s) && s < 0 ? 0 : expl(s - w->total);
}

/* Another normaliser: what TOP_K leaves, or weights with their slopes. */
static void line_norm(oracle_line *w)
{
    oracle_norm *row = &w->norm;
    if (w->p.spec.normaliser == ATTN_NORM_SOFTMAX) return;
    row->n = w->at.s->S;
    for (int64_t j = 0; j < row->n; j++)
        row->key[j] = (oracle_norm_key){.allowed = w->link[j].allowed,
                                        .score = w->link[j].weight,
                                        .error = w->link[j].rough};
    oracle_norm_row(&w->p, w->at.n, w->at.h, row);
    w->kinks = w->kinks || row->kink;
    for (int64_t j = 0; j < row->n; j++) {
        oracle_link *link = &w->link[j];
        link->allowed = row->key[j].allowed;
        if (!w->own || !link->allowed) continue;
        link->weight = row->key[j].weight;
        link->weight_rough = row->key[j].weight_error;
        link->slope = row->key[j].slope;
        link->slope_rough = row->key[j].slope_error;
    }
}

void oracle_line_at(oracle_line *w, int64_t i)
{
    const oracle_sequence *s = w->at.s;
    w->i = i;
    w->query = oracle_head_query(&w->at, i);
    for (int64_t j = 0; j < s->S; j++) line_link(w, j);
    line_norm(w);
    w->seen = false;
    for (int64_t j = 0; j < s->S; j++) {
        if (!w->link[j].allowed) w->link[j].weight = 0;
        w->seen = w->seen || w->link[j].allowed;
    }
    if (w->own) return;
    w->total = w->saved
                   ? (oracle_real)oracle_read(&w->lse, s->q_batch, w->at.h, s->q_row + i, 0)
                   : line_log_sum(w);
    w->sink = line_exp(w, line_sink(w));
    w->rough = 0;
    for (int64_t j = 0; j < s->S; j++) {
        oracle_link *link = &w->link[j];
        link->weight = link->allowed ? line_exp(w, link->weight) : 0;
        link->rough += 4 * fabsl(w->total);
        if (link->allowed && link->rough > w->rough) w->rough = link->rough;
    }
}
