/* SPDX-License-Identifier: MIT
 * The derivative of softmax attention along one direction (tq, tk, tv, tbias_pre, tbias).
 *
 *   ts_ij  = bend (cap (scale (tq'.k' + q'.tk' + tq'.rel_k) + tbias_pre) + tbias)
 *   tlse_i = sum_j w_ij ts_ij
 *   to_i   = sum_j w_ij kept_ij ((ts_ij - tlse_i) (v_j + rel_v) + tv_j) */
#include "oracle/oracle_call.h"

#include <math.h>
#include <stdlib.h>

typedef struct jvp_walk {
    oracle_line line;
    oracle_tangents *t;
    oracle_grad_flip flip;
    oracle_operand q, k, v, bias_pre, bias;
    oracle_real *turned; /* tq and its magnitudes, then tk of each key: 2 D (S + 1) */
    oracle_sum *ts;      /* S */
    oracle_sum mean;     /* tlse */
} jvp_walk;

/* Row 0: the query; row j + 1: key j. */
static oracle_row jvp_turned(const jvp_walk *w, int64_t row)
{
    int64_t D = w->line.p.D;
    return (oracle_row){w->turned + 2 * D * row, w->turned + 2 * D * row + D};
}

static void jvp_turn(const jvp_walk *w, const oracle_operand *t, const int64_t at[3], int64_t m,
                     int64_t row)
{
    oracle_row x = jvp_turned(w, row);
    if (t->data) oracle_turn(&w->line.p, t, at, m, &x);
    for (int64_t d = 0; d < w->line.p.D && !t->data; d++) x.x[d] = x.mag[d] = 0;
}

static void jvp_keys(const jvp_walk *w)
{
    const oracle_head *at = &w->line.at;
    for (int64_t j = 0; j < at->s->S; j++)
        jvp_turn(w, &w->k, (int64_t[]){at->s->k_batch, at->g, at->s->k_row + j},
                 oracle_head_key_position(at, j), j + 1);
}

static oracle_real jvp_shaw(const oracle_operand *t, const oracle_pair *pair, int64_t d)
{
    if (!t->data) return 0;
    int64_t clip = oracle_clip(pair->j - pair->p, t->shape[1]);
    return (oracle_real)oracle_read(t, pair->h, clip, d, 0);
}

static oracle_sum jvp_product(const jvp_walk *w, const oracle_link *link, int64_t j)
{
    const oracle_problem *p = &w->line.p;
    oracle_row q = w->line.query, k = oracle_head_key(&w->line.at, j);
    oracle_row tq = jvp_turned(w, 0), tk = jvp_turned(w, j + 1);
    oracle_chain dot = {0};
    for (int64_t d = 0; d < p->D; d++) {
        oracle_real shaw = jvp_shaw(&p->rel_k, &link->pair, d);
        oracle_feature f = oracle_pair_feature(p, &link->pair, &q, &k, d);
        oracle_real both = tq.x[d] * f.by_q, mass = tq.mag[d] * f.by_q_mass * (1 + f.rough);
        oracle_chain_add(&dot, both, mass);
        if (shaw != 0) oracle_chain_add(&dot, tq.x[d] * shaw, tq.mag[d] * fabsl(shaw));
        if (w->flip != ORACLE_GRAD_FLIP_TANGENT_K)
            oracle_chain_add(&dot, tk.x[d] * f.by_k, tk.mag[d] * f.by_k_mass * (1 + f.rough));
    }
    return oracle_sum_times(oracle_chain_sum(&dot), p->scale, fabsl(p->scale));
}

static void jvp_operand(const oracle_operand *t, const oracle_pair *pair, oracle_sum *s)
{
    if (!t->data) return;
    oracle_real x = (oracle_real)oracle_read(t, pair->n, pair->h, pair->row, pair->key);
    oracle_sum_add(s, (oracle_sum){x, fabsl(x), 0});
}

/* The tangent of the score that the softmax sees. */
static oracle_sum jvp_score(const jvp_walk *w, int64_t j)
{
    const oracle_link *link = &w->line.link[j];
    oracle_real bend = w->flip == ORACLE_GRAD_FLIP_TILE ? 1 : link->bend;
    oracle_real cap = w->flip == ORACLE_GRAD_FLIP_SOFTCAP ? 1 : link->cap;
    oracle_sum plain = jvp_product(w, link, j);
    jvp_operand(&w->bias_pre, &link->pair, &plain);
    oracle_sum capped = oracle_sum_times(plain, cap, link->cap_mass);
    capped.rough += plain.mass * link->cap_rough;
    jvp_operand(&w->bias, &link->pair, &capped);
    oracle_sum bent = oracle_sum_times(capped, bend, fabsl(bend));
    bent.rough += capped.mass * link->bend_rough;
    return bent;
}

/* The mean of ts by the slopes of entmax, sinks among them; of other normalisers 0. */
static void jvp_own_mean(jvp_walk *w)
{
    const oracle_norm *row = &w->line.norm;
    oracle_real total = 0, rough = 0;
    oracle_sum sum = {0};
    w->mean = sum;
    if (w->line.p.spec.normaliser != ATTN_NORM_ENTMAX) return;
    for (int64_t j = 0; j < row->n + row->sinks; j++) {
        const oracle_norm_key *key = &row->key[j];
        if (!key->allowed) continue;
        total += key->slope;
        rough += key->slope_error;
        if (j >= row->n || (key->slope == 0 && key->weight == 0)) continue;
        oracle_sum term = oracle_sum_times(w->ts[j], key->slope, key->slope);
        term.rough += key->slope_error * w->ts[j].mass;
        oracle_sum_add(&sum, term);
    }
    if (total == 0) return;
    w->mean = oracle_sum_times(sum, 1 / total, 1 / total);
    w->mean.rough += w->mean.mass * rough / total;
}

/* ts of the row and its mean by the weights. The weights come from scores of the whole row, so
 * each carries the worst of their errors. */
static void jvp_scores(jvp_walk *w)
{
    w->mean = (oracle_sum){0};
    for (int64_t j = 0; j < w->line.at.s->S; j++) {
        const oracle_link *link = &w->line.link[j];
        if (link->weight == 0 && link->slope == 0) continue;
        w->ts[j] = jvp_score(w, j);
        w->ts[j].rough += w->ts[j].mass * w->line.rough;
        oracle_sum_add(&w->mean, oracle_sum_times(w->ts[j], link->weight, link->weight));
    }
    if (w->line.own) jvp_own_mean(w);
    if (w->flip == ORACLE_GRAD_FLIP_TANGENT_LSE) w->mean = (oracle_sum){0};
}

/* What link j adds to an element: its weight kept times d, of the softmax or of another. */
static oracle_sum jvp_slope(const jvp_walk *w, const oracle_link *link, oracle_sum d,
                            oracle_real value, oracle_real size)
{
    const oracle_real slope = (w->line.own ? link->slope : link->weight) * link->kept;
    oracle_sum term = oracle_sum_times(d, slope * value, slope * size);
    if (w->line.own) term.rough += link->slope_rough * link->kept * size * d.mass;
    return term;
}

static oracle_sum jvp_element(const jvp_walk *w, int64_t e)
{
    const oracle_problem *p = &w->line.p;
    const oracle_head *at = &w->line.at;
    oracle_sum sum = {0};
    for (int64_t j = 0; j < at->s->S; j++) {
        const oracle_link *link = &w->line.link[j];
        oracle_real weight = link->weight * link->kept, tv = 0;
        int64_t key = at->s->k_row + j;
        if (weight == 0 && (link->slope == 0 || link->kept == 0)) continue;
        oracle_real v = (oracle_real)oracle_read(&p->v, at->s->k_batch, at->g, key, e);
        oracle_real shaw = jvp_shaw(&p->rel_v, &link->pair, e), size = fabsl(v) + fabsl(shaw);
        if (w->v.data && w->flip != ORACLE_GRAD_FLIP_TANGENT_V)
            tv = (oracle_real)oracle_read(&w->v, at->s->k_batch, at->g, key, e);
        oracle_sum ds = oracle_sum_times(w->mean, -1, 1);
        oracle_sum_add(&ds, w->ts[j]);
        oracle_real rough = w->line.own ? link->weight_rough : link->weight * w->line.rough;
        oracle_sum_add(&sum, jvp_slope(w, link, ds, v + shaw, size));
        oracle_sum_add(&sum, (oracle_sum){weight * tv, fabsl(weight * tv),
                                          rough * link->kept * fabsl(tv)});
    }
    return sum;
}

static void jvp_row(jvp_walk *w, int64_t i)
{
    const oracle_head *at = &w->line.at;
    int64_t row = at->s->q_row + i;
    oracle_line_at(&w->line, i);
    jvp_turn(w, &w->q, (int64_t[]){at->s->q_batch, at->h, row},
             oracle_head_query_position(at, i), 0);
    jvp_scores(w);
    *oracle_sums_at(&w->t->lse, at->s->q_batch, at->h, row, 0) = w->mean;
    for (int64_t e = 0; e < w->line.p.E; e++)
        *oracle_sums_at(&w->t->out, at->s->q_batch, at->h, row, e) = jvp_element(w, e);
}

static bool jvp_make(jvp_walk *w, const attn_args *args)
{
    const oracle_problem *p = &w->line.p;
    const int64_t rows[4] = {p->q.shape[0], p->H, p->T, 1};
    const int64_t out[4] = {p->q.shape[0], p->H, p->T, p->E};
    w->q = oracle_headed(&args->t_q);
    w->k = oracle_headed(&args->t_k);
    w->v = oracle_headed(&args->t_v);
    w->bias_pre = oracle_pairs(&args->t_bias_pre);
    w->bias = oracle_pairs(&args->t_bias);
    w->turned = malloc((2 * (size_t)p->D * ((size_t)p->S + 1) + 1) * sizeof *w->turned);
    w->ts = malloc(((size_t)p->S + 1) * sizeof *w->ts);
    w->t->unit = (double)p->unit;
    return w->turned && w->ts && oracle_sums_make(&w->t->out, out) &&
           oracle_sums_make(&w->t->lse, rows);
}

bool oracle_jvp(oracle_tangents *t, const attn_spec *spec, const attn_args *args,
                oracle_grad_flip flip)
{
    jvp_walk w = {.t = t, .flip = flip};
    *t = (oracle_tangents){0};
    bool ok = oracle_line_make(&w.line, spec, args, false) && jvp_make(&w, args);
    while (ok && oracle_head_next(&w.line.at)) {
        jvp_keys(&w);
        for (int64_t i = 0; i < w.line.at.s->T; i++) jvp_row(&w, i);
    }
    t->kink = w.line.kinks;
    free(w.turned);
    free(w.ts);
    oracle_line_free(&w.line);
    return ok;
}

void oracle_tangents_free(oracle_tangents *t)
{
    free(t->out.x);
    free(t->lse.x);
    *t = (oracle_tangents){0};
}
