/* SPDX-License-Identifier: MIT
 * The gradients of softmax attention by their definition, a pair at a time.
 *
 *   dv_j   = sum_i w_ij kept_ij do_i            (d_rel_v: the same by distance)
 *   dp_ij  = do_i . (v_j + rel_v),  delta_i = do_i . o_i - dlse_i
 *   ds_ij  = w_ij (kept_ij dp_ij - delta_i)     by the score that the softmax saw
 *   ds' = ds bend (bias, mask, alibi, tables),  ds'' = ds' cap (bias_pre),  dx = scale ds''
 *   dq'_i  = sum_j dx_ij (k'_j + rel_k), dk'_j = sum_i dx_ij q'_i, turned back at the end
 *   dsink  = - sum_i exp(sink - lse_i) delta_i
 *
 * A row without an allowed key has o_i = 0 whatever do_i is: only dlse_i counts, for the sink.
 */
#include "oracle/oracle_call.h"

#include <math.h>
#include <stdlib.h>

typedef struct grad_walk {
    oracle_line line;
    oracle_grads *g;
    oracle_grad_flip flip;
    oracle_operand out, d_out, d_lse;
    oracle_real *go;        /* E: d_out of the row */
    oracle_sum *dq, *dk;    /* D and S x D, turned */
    oracle_sum delta, mean; /* mean: of other normalisers */
    oracle_real d_total;    /* d_lse of the row */
} grad_walk;

static void grad_add(const grad_walk *w, oracle_grad to, const int64_t at[4], oracle_sum term)
{
    const oracle_sums *sums = &w->g->of[to];
    if (sums->x) oracle_sum_add(oracle_sums_at(sums, at[0], at[1], at[2], at[3]), term);
}

#define GRAD_AT(...)                                                                           \
    (const int64_t[4])                                                                         \
    {                                                                                          \
        __VA_ARGS__                                                                            \
    }

static oracle_real grad_rel(const oracle_operand *t, const oracle_pair *pair, int64_t d)
{
    if (!t->data) return 0;
    int64_t clip = oracle_clip(pair->j - pair->p, t->shape[1]);
    return (oracle_real)oracle_read(t, pair->h, clip, d, 0);
}

static oracle_real grad_value(const grad_walk *w, int64_t j, int64_t e)
{
    const oracle_sequence *s = w->line.at.s;
    return (oracle_real)oracle_read(&w->line.p.v, s->k_batch, w->line.at.g, s->k_row + j, e);
}

/* Element e of out: as saved, or as it should be. */
static oracle_real grad_out(const grad_walk *w, int64_t e)
{
    const oracle_line *line = &w->line;
    const oracle_sequence *s = line->at.s;
    oracle_real sum = 0;
    if (line->saved)
        return (oracle_real)oracle_read(&w->out, s->q_batch, line->at.h, s->q_row + line->i, e);
    for (int64_t j = 0; j < s->S; j++) {
        const oracle_link *link = &line->link[j];
        if (link->weight != 0)
            sum += link->weight * link->kept *
                   (grad_value(w, j, e) + grad_rel(&line->p.rel_v, &link->pair, e));
    }
    return sum;
}

/* Reads the gradients that come in for the row; leaves delta. */
static void grad_incoming(grad_walk *w)
{
    const oracle_line *line = &w->line;
    const oracle_sequence *s = line->at.s;
    int64_t row = s->q_row + line->i;
    oracle_chain delta = {0};
    w->d_total = 0;
    for (int64_t e = 0; e < line->p.E; e++) {
        bool none = !w->d_out.data || !line->seen;
        w->go[e] =
            none ? 0 : (oracle_real)oracle_read(&w->d_out, s->q_batch, line->at.h, row, e);
        oracle_real term = none || line->own ? 0 : w->go[e] * grad_out(w, e);
        if (w->flip != ORACLE_GRAD_FLIP_DELTA) oracle_chain_add(&delta, term, fabsl(term));
    }
    if (w->d_lse.data && w->flip != ORACLE_GRAD_FLIP_D_LSE) {
        oracle_real term = (oracle_real)oracle_read(&w->d_lse, s->q_batch, line->at.h, row, 0);
        w->d_total = w->flip == ORACLE_GRAD_FLIP_D_LSE_SIGN ? -term : term;
        oracle_chain_add(&delta, -w->d_total, fabsl(term));
    }
    w->delta = oracle_chain_sum(&delta);
}

/* The gradient of the kept weight. */
static oracle_sum grad_product(const grad_walk *w, const oracle_link *link, int64_t j)
{
    oracle_chain dp = {0};
    for (int64_t e = 0; e < w->line.p.E; e++) {
        oracle_real v = grad_value(w, j, e), shaw = grad_rel(&w->line.p.rel_v, &link->pair, e);
        if (w->flip == ORACLE_GRAD_FLIP_REL_V) shaw = 0;
        oracle_chain_add(&dp, w->go[e] * v, fabsl(w->go[e] * v));
        if (shaw != 0) oracle_chain_add(&dp, w->go[e] * shaw, fabsl(w->go[e] * shaw));
    }
    return oracle_chain_sum(&dp);
}

/* d_v and d_rel_v. */
static void grad_values(const grad_walk *w, const oracle_link *link, int64_t j)
{
    const oracle_problem *p = &w->line.p;
    const oracle_sequence *s = w->line.at.s;
    oracle_real kept = w->flip == ORACLE_GRAD_FLIP_DROPOUT_V ? 1 : link->kept;
    oracle_real rough = w->line.own ? link->weight_rough : link->weight * link->rough;
    oracle_sum weight = {link->weight * kept, fabsl(link->weight) * kept, rough * kept};
    int64_t clip =
        p->rel_v.data ? oracle_clip(link->pair.j - link->pair.p, p->rel_v.shape[1]) : 0;
    for (int64_t e = 0; e < p->E; e++) {
        oracle_sum term = oracle_sum_times(weight, w->go[e], fabsl(w->go[e]));
        if (kept == 0) continue;
        grad_add(w, ORACLE_GRAD_v, GRAD_AT(s->k_batch, w->line.at.g, s->k_row + j, e), term);
        grad_add(w, ORACLE_GRAD_rel_v, GRAD_AT(w->line.at.h, clip, e, 0), term);
    }
}

/* By the score that another normaliser saw. */
static oracle_sum grad_own(const grad_walk *w, const oracle_link *link, oracle_sum dp)
{
    const oracle_sum *mean = &w->mean;
    oracle_real mass = link->kept * dp.mass + mean->mass;
    return (oracle_sum){link->slope * (link->kept * dp.value - mean->value), link->slope * mass,
                        link->slope * (link->kept * dp.rough + mean->rough) +
                            link->slope_rough * mass};
}

/* By the score that the softmax saw. */
static oracle_sum grad_softmax(const grad_walk *w, const oracle_link *link, oracle_sum dp)
{
    oracle_real weight = link->weight, kept = link->kept;
    if (kept == 0) dp = (oracle_sum){0}; /* whatever the value was */
    if (w->line.own) return grad_own(w, link, dp);
    oracle_sum ds = {weight * (kept * dp.value - w->delta.value),
                     weight * (kept * dp.mass + w->delta.mass),
                     weight * (kept * dp.rough + w->delta.rough)};
    if (w->flip == ORACLE_GRAD_FLIP_DROPOUT)
        ds.value = weight * kept * (dp.value - w->delta.value);
    ds.rough += ds.mass * link->rough;
    return ds;
}

static void grad_bias(const grad_walk *w, const oracle_pair *pair, oracle_sum ds,
                      oracle_sum capped)
{
    const oracle_problem *p = &w->line.p;
    bool shared = p->bias.data && p->bias.shape[0] == 1;
    bool only_last = w->flip == ORACLE_GRAD_FLIP_BIAS_BATCH && shared && pair->n != p->N - 1;
    const int64_t at[4] = {pair->n, pair->h, pair->row, pair->key};
    if (!only_last)
        grad_add(w, ORACLE_GRAD_bias, at, w->flip == ORACLE_GRAD_FLIP_BIAS_CAP ? capped : ds);
    grad_add(w, ORACLE_GRAD_mask, at, ds);
    grad_add(w, ORACLE_GRAD_bias_pre, at, w->flip == ORACLE_GRAD_FLIP_BIAS_PRE ? ds : capped);
}

static void grad_tables(const grad_walk *w, const oracle_pair *pair, oracle_sum ds)
{
    const oracle_problem *p = &w->line.p;
    oracle_real far = (oracle_real)(pair->p - pair->j);
    if (w->flip != ORACLE_GRAD_FLIP_ALIBI) far = fabsl(far);
    grad_add(w, ORACLE_GRAD_alibi, GRAD_AT(pair->n, pair->h, 0, 0),
             oracle_sum_times(ds, -far, fabsl(far)));
    if (p->spec.center_sigma > 0) {
        oracle_real sigma = (oracle_real)p->spec.center_sigma;
        oracle_real off = ((oracle_real)pair->j - oracle_pair_center(p, pair)) / sigma / sigma;
        if (w->flip == ORACLE_GRAD_FLIP_CENTER) off = -off;
        grad_add(w, ORACLE_GRAD_center, GRAD_AT(pair->n, pair->h, pair->row, 0),
                 oracle_sum_times(ds, off, fabsl(off)));
    }
    if (p->spec.rel.kind == ATTN_REL_NONE || !p->rel_table.data) return;
    int64_t index = oracle_rel_index(p, pair);
    if (w->flip == ORACLE_GRAD_FLIP_TABLE) index = p->rel_table.shape[1] - 1 - index;
    grad_add(w, ORACLE_GRAD_rel_table, GRAD_AT(pair->h, index, 0, 0), ds);
}

static oracle_feature grad_feature(const grad_walk *w, const oracle_pair *pair,
                                   const oracle_row *q, const oracle_row *k, int64_t d)
{
    oracle_feature f = oracle_pair_feature(&w->line.p, pair, q, k, d);
    if (w->flip == ORACLE_GRAD_FLIP_L2_KEY) f.by_k = -f.by_k;
    if (w->flip == ORACLE_GRAD_FLIP_L2_QUERY) f.by_q = 2 * k->x[d];
    if (w->flip == ORACLE_GRAD_FLIP_TANH_SLOPE) f.by_q = f.by_k = 1;
    return f;
}

static oracle_sum grad_slope(oracle_sum dx, oracle_real slope, oracle_real mass,
                             oracle_real rough)
{
    oracle_sum term = oracle_sum_times(dx, slope, mass);
    term.rough += dx.mass * mass * rough;
    return term;
}

/* dq', dk' and d_rel_k from the gradient of a product. */
static void grad_products(const grad_walk *w, const oracle_link *link, int64_t j, oracle_sum dx)
{
    const oracle_problem *p = &w->line.p;
    oracle_row q = w->line.query, k = oracle_head_key(&w->line.at, j);
    int64_t clip =
        p->rel_k.data ? oracle_clip(link->pair.j - link->pair.p, p->rel_k.shape[1]) : 0;
    oracle_real scale = p->scale == 0 ? 0 : 1 / p->scale;
    for (int64_t d = 0; d < p->D; d++) {
        oracle_real shaw = grad_rel(&p->rel_k, &link->pair, d);
        oracle_feature f = grad_feature(w, &link->pair, &q, &k, d);
        oracle_sum by_q = grad_slope(dx, f.by_k, f.by_k_mass, f.rough);
        oracle_sum plain = oracle_sum_times(by_q, scale, fabsl(scale));
        oracle_sum by_weight = oracle_sum_times(dx, f.by_weight, f.by_weight_mass);
        if (w->flip == ORACLE_GRAD_FLIP_SCORE_W)
            by_weight = oracle_sum_times(by_weight, scale, fabsl(scale));
        grad_add(w, ORACLE_GRAD_score_w, GRAD_AT(w->line.at.h, d, 0, 0), by_weight);
        oracle_sum_add(&w->dq[d], grad_slope(dx, f.by_q, f.by_q_mass, f.rough));
        if (w->flip != ORACLE_GRAD_FLIP_REL_K)
            oracle_sum_add(&w->dq[d], oracle_sum_times(dx, shaw, fabsl(shaw)));
        oracle_sum_add(&w->dk[j * p->D + d],
                       w->flip == ORACLE_GRAD_FLIP_SCALE_K ? plain : by_q);
        grad_add(w, ORACLE_GRAD_rel_k, GRAD_AT(w->line.at.h, clip, d, 0),
                 w->flip == ORACLE_GRAD_FLIP_REL_K_SCALE ? plain : by_q);
    }
}

static void grad_pair(const grad_walk *w, int64_t j)
{
    const oracle_link *link = &w->line.link[j];
    oracle_real bend = w->flip == ORACLE_GRAD_FLIP_TILE ? 1 : link->bend;
    oracle_real cap = w->flip == ORACLE_GRAD_FLIP_SOFTCAP ? 1 : link->cap,
                scale = w->line.p.scale;
    grad_values(w, link, j);
    oracle_sum ds = grad_softmax(w, link, grad_product(w, link, j));
    oracle_sum bent = oracle_sum_times(ds, bend, fabsl(bend));
    bent.rough += ds.mass * link->bend_rough;
    oracle_sum capped = oracle_sum_times(bent, cap, link->cap_mass);
    capped.rough += bent.mass * link->cap_rough;
    grad_bias(w, &link->pair, bent, capped);
    grad_tables(w, &link->pair, bent);
    grad_products(w, link, j, oracle_sum_times(capped, scale, fabsl(scale)));
}

/* d alpha of the row, of every weight what comes in for it. */
static void grad_alpha(const grad_walk *w)
{
    oracle_sum *to = oracle_sums_at(&w->g->alpha, w->line.at.h, 0, 0, 0);
    for (int64_t j = 0; j < w->line.norm.n; j++) {
        const oracle_link *link = &w->line.link[j];
        if (!link->allowed || link->kept == 0) continue;
        const oracle_sum by = oracle_norm_by_alpha(&w->line.norm, j);
        oracle_sum term = oracle_sum_times(grad_product(w, link, j), by.value * link->kept,
                                           by.mass * link->kept);
        term.rough += term.mass * by.rough;
        oracle_sum_add(to, term);
    }
}

/* The mean that entmax takes from the gradients of its weights, the sinks' gradient and that of
 * alpha. */
static void grad_entmax(grad_walk *w)
{
    const oracle_norm *row = &w->line.norm;
    oracle_sum sum = {0};
    oracle_real total = 0, rough = 0;
    w->mean = (oracle_sum){0};
    if (w->line.p.spec.normaliser != ATTN_NORM_ENTMAX || !w->line.seen) return;
    for (int64_t j = 0; j < row->n + row->sinks; j++) {
        if (!row->key[j].allowed) continue;
        total += row->key[j].slope;
        rough += row->key[j].slope_error;
        if (j >= row->n || w->line.link[j].kept == 0) continue;
        oracle_sum dp = grad_product(w, &w->line.link[j], j);
        oracle_sum term = oracle_sum_times(dp, row->key[j].slope * w->line.link[j].kept,
                                           row->key[j].slope * w->line.link[j].kept);
        term.rough += row->key[j].slope_error * dp.mass * w->line.link[j].kept;
        oracle_sum_add(&sum, term);
    }
    if (total == 0) return;
    w->mean = oracle_sum_times(sum, 1 / total, 1 / total);
    w->mean.rough += w->mean.mass * rough / total;
    const oracle_norm_key *sink = &row->key[row->n + 1];
    oracle_sum term = oracle_sum_times(w->mean, -sink->slope, sink->slope);
    term.rough += w->mean.mass * sink->slope_error;
    if (sink->allowed)
        grad_add(w, ORACLE_GRAD_sink, GRAD_AT(w->line.at.n, w->line.at.h, 0, 0), term);
    grad_alpha(w);
}

static void grad_sink(const grad_walk *w)
{
    oracle_sum delta = w->delta;
    if (w->flip == ORACLE_GRAD_FLIP_SINK_LSE) delta.value += w->d_total;
    if (w->flip == ORACLE_GRAD_FLIP_SINK) delta.value = -delta.value;
    oracle_sum term = oracle_sum_times(delta, -w->line.sink, w->line.sink);
    if (w->line.sink == 0) return;
    term.rough += term.mass * 8 * fabsl(w->line.total);
    grad_add(w, ORACLE_GRAD_sink, GRAD_AT(w->line.at.n, w->line.at.h, 0, 0), term);
}

static void grad_row(grad_walk *w, int64_t i)
{
    const oracle_problem *p = &w->line.p;
    const oracle_sequence *s = w->line.at.s;
    oracle_line_at(&w->line, i);
    grad_incoming(w);
    if (!w->line.own) grad_sink(w);
    grad_entmax(w);
    for (int64_t d = 0; d < p->D; d++) w->dq[d] = (oracle_sum){0};
    for (int64_t j = 0; j < s->S; j++)
        if (w->line.link[j].weight != 0 || w->line.link[j].slope != 0) grad_pair(w, j);
    if (w->flip != ORACLE_GRAD_FLIP_ROPE)
        oracle_turn_back(p, oracle_head_query_position(&w->line.at, i), w->dq);
    for (int64_t d = 0; d < p->D; d++)
        grad_add(w, ORACLE_GRAD_q, GRAD_AT(s->q_batch, w->line.at.h, s->q_row + i, d),
                 w->dq[d]);
}

static void grad_keys(grad_walk *w)
{
    const oracle_problem *p = &w->line.p;
    const oracle_head *at = &w->line.at;
    bool later =
        at->h > 0 && p->H > p->G &&
        (p->spec.head_map == ATTN_HEADS_TILED ? at->h >= p->G : at->h % (p->H / p->G) != 0);
    if (w->flip == ORACLE_GRAD_FLIP_GQA && later) return;
    for (int64_t j = 0; j < at->s->S; j++) {
        oracle_sum *dk = w->dk + j * p->D;
        bool beyond = w->flip == ORACLE_GRAD_FLIP_ROPE_KEY;
        oracle_turn_back(p, oracle_head_key_position(at, j) + beyond, dk);
        for (int64_t d = 0; d < p->D; d++)
            grad_add(w, ORACLE_GRAD_k, GRAD_AT(at->s->k_batch, at->g, at->s->k_row + j, d),
                     dk[d]);
    }
}

static void grad_all(grad_walk *w)
{
    while (oracle_head_next(&w->line.at)) {
        const oracle_sequence *s = w->line.at.s;
        for (int64_t d = 0; d < s->S * w->line.p.D; d++) w->dk[d] = (oracle_sum){0};
        for (int64_t i = 0; i < s->T; i++) grad_row(w, i);
        grad_keys(w);
    }
}

static bool grad_sums_make(oracle_grads *g, const oracle_problem *p)
{
    const oracle_operand *operands[] = {
#define GRAD(name) &p->name,
#include "oracle/grads.def"
#undef GRAD
    };
    bool ok = oracle_sums_make(&g->alpha, GRAD_AT(p->H, 1, 1, 1));
    g->unit = (double)p->unit;
    for (int i = 0; i < ORACLE_N_GRADS; i++) {
        attn_dtype dtype = operands[i]->dtype;
        bool real = dtype >= ATTN_DTYPE_F64 && dtype <= ATTN_DTYPE_F16;
        if (operands[i]->data && real)
            ok = ok && oracle_sums_make(&g->of[i], operands[i]->shape);
    }
    return ok;
}

static bool grad_make(grad_walk *w, const attn_args *args)
{
    const oracle_problem *p = &w->line.p;
    w->out = oracle_headed(&args->out);
    w->d_out = oracle_headed(&args->d_out);
    if (args->d_lse.dtype != ATTN_DTYPE_NONE) w->d_lse = oracle_rows(&args->d_lse);
    w->go = malloc(((size_t)p->E + 1) * sizeof *w->go);
    w->dq = malloc(((size_t)p->D + 1) * sizeof *w->dq);
    w->dk = malloc(((size_t)(p->S * p->D) + 1) * sizeof *w->dk);
    return w->go && w->dq && w->dk && grad_sums_make(w->g, p);
}

bool oracle_backward(oracle_grads *g, const attn_spec *spec, const attn_args *args, bool saved,
                     oracle_grad_flip flip)
{
    grad_walk w = {.g = g, .flip = flip};
    *g = (oracle_grads){0};
    bool ok = oracle_line_make(&w.line, spec, args, saved) && grad_make(&w, args);
    if (ok) grad_all(&w);
    g->kink = w.line.kinks;
    free(w.go);
    free(w.dq);
    free(w.dk);
    oracle_line_free(&w.line);
    return ok;
}

void oracle_grads_free(oracle_grads *g)
{
    free(g->alpha.x);
    for (int i = 0; i < ORACLE_N_GRADS; i++) free(g->of[i].x);
    *g = (oracle_grads){0};
}
