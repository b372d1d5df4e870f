/* SPDX-License-Identifier: MIT
 * Softmax attention by its definition: for every sequence, head and query the scores of all
 * keys, their softmax, the weighted sum of the values.
 *
 *   m = max s_j, l = sum_j exp(s_j - m) (+ exp(sink - m) + exp(0 - m)), lse = m + ln l
 *   w_j = exp(s_j - lse), out = sum_j w_j kept_j / (1 - dropout) (v_j + rel_v_{j - p}) */
#include "oracle/oracle_call.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One head after the other, and the row at hand. */
typedef struct softmax_head {
    oracle_head at;
    oracle_result *r;
    oracle_score *scores; /* S */
    oracle_real *weights; /* S */
    oracle_norm norm;
} softmax_head;

static int64_t softmax_cell(const softmax_head *w, const oracle_pair *pair)
{
    const oracle_result *r = w->r;
    return ((w->at.n * r->H + w->at.h) * r->W_T + pair->row) * r->W_S + pair->key;
}

static void softmax_mark_used(const softmax_head *w, int64_t j)
{
    const oracle_result *r = w->r;
    int64_t batch = r->KB == 1 ? 0 : w->at.s->k_batch;
    r->key_used[(batch * r->G + w->at.g) * r->S + w->at.s->k_row + j] = true;
}

/* All scores of row i; the largest magnitude and spread among the allowed ones. */
static oracle_real softmax_scores(const softmax_head *w, int64_t i, oracle_real *spread)
{
    oracle_real kappa = 0;
    *spread = 0;
    oracle_row query = oracle_head_query(&w->at, i);
    for (int64_t j = 0; j < w->at.s->S; j++) {
        oracle_pair pair = oracle_head_pair(&w->at, i, j);
        oracle_row key = oracle_head_key(&w->at, j);
        oracle_score *s = &w->scores[j];
        *s = oracle_pair_score(w->at.p, &pair, &query, &key);
        w->r->scores[softmax_cell(w, &pair)] = (double)s->staged;
        w->r->magnitude[softmax_cell(w, &pair)] = (double)s->staged_magnitude;
        w->r->spread[softmax_cell(w, &pair)] = (double)s->spread;
        if (!s->allowed) continue;
        softmax_mark_used(w, j);
        if (s->magnitude > kappa) kappa = s->magnitude;
        if (s->spread > *spread) *spread = s->spread;
    }
    return kappa;
}

/* Another normaliser: what it leaves of the row. */
static void softmax_norm(softmax_head *w)
{
    const oracle_problem *p = w->at.p;
    oracle_norm *row = &w->norm;
    if (p->spec.normaliser == ATTN_NORM_SOFTMAX) return;
    row->n = w->at.s->S;
    for (int64_t j = 0; j < row->n; j++)
        row->key[j] = (oracle_norm_key){.allowed = w->scores[j].allowed,
                                        .score = w->scores[j].value,
                                        .error = 6.5L * w->scores[j].spread +
                                                 oracle_operations(p) * w->scores[j].magnitude};
    oracle_norm_row(p, w->at.n, w->at.h, row);
    w->r->kink = w->r->kink || row->kink;
    for (int64_t j = 0; j < row->n; j++) w->scores[j].allowed = row->key[j].allowed;
}

typedef struct softmax_sum {
    oracle_real max, sum;
} softmax_sum;

static void softmax_add(softmax_sum *a, oracle_real s, oracle_real times)
{
    if (isinf(s) && s < 0) return;
    if (s > a->max || isnan(s)) {
        a->sum = isinf(a->max) ? 0 : a->sum * expl(a->max - s);
        a->max = s;
    }
    a->sum += times * expl(s - a->max);
}

static softmax_sum softmax_total(const softmax_head *w, bool sinks)
{
    const oracle_problem *p = w->at.p;
    softmax_sum total = {-(oracle_real)INFINITY, 0};
    for (int64_t j = 0; j < w->at.s->S; j++)
        if (w->scores[j].allowed) softmax_add(&total, w->scores[j].value, 1);
    if (p->flip == ORACLE_FLIP_SUM) softmax_add(&total, total.max, 1);
    if (p->sink.data && sinks && p->flip != ORACLE_FLIP_SINK)
        softmax_add(&total, (oracle_real)oracle_read(&p->sink, w->at.n, w->at.h, 0, 0), 1);
    if (p->spec.softmax1 && p->flip != ORACLE_FLIP_SOFTMAX1) softmax_add(&total, 0, 1);
    return total;
}

static oracle_real softmax_lse(softmax_sum total)
{
    return total.sum == 0 ? total.max : total.max + logl(total.sum);
}

/* Writes the weights and keeps them, dropped or rescaled, for the sum. */
static void softmax_weights(const softmax_head *w, int64_t i, softmax_sum total)
{
    for (int64_t j = 0; j < w->at.s->S; j++) {
        oracle_pair pair = oracle_head_pair(&w->at, i, j);
        bool allowed = w->scores[j].allowed && w->scores[j].value > -(oracle_real)INFINITY;
        bool bad = isnan(total.sum);
        w->weights[j] = 0;
        if (w->scores[j].allowed && bad) w->weights[j] = total.sum;
        if (allowed && !bad) w->weights[j] = expl(w->scores[j].value - total.max) / total.sum;
        if (w->r->own) w->weights[j] = allowed ? w->norm.key[j].weight : 0;
        if (w->r->own && allowed)
            w->r->weight_rough[softmax_cell(w, &pair)] =
                (double)(w->norm.key[j].weight_error + 1e-300L);
        w->r->weights[softmax_cell(w, &pair)] = (double)w->weights[j];
        w->weights[j] *= oracle_head_kept(&w->at, i, j);
    }
}

static void softmax_values(const softmax_head *w, int64_t i, double *out, double *mass,
                           double *rough)
{
    const oracle_problem *p = w->at.p;
    bool rel = p->rel_v.data && p->flip != ORACLE_FLIP_REL_V;
    for (int64_t e = 0; e < p->E; e++) {
        oracle_real sum = 0, size = 0, off = 0;
        for (int64_t j = 0; j < w->at.s->S; j++) {
            const bool unsure = w->r->own && w->scores[j].allowed &&
                                w->norm.key[j].weight_error > 0 &&
                                oracle_head_kept(&w->at, i, j) != 0;
            if (w->weights[j] == 0 && !unsure) continue;
            oracle_real weight = w->weights[j], shaw = 0;
            oracle_real v = (oracle_real)oracle_read(&p->v, w->at.s->k_batch, w->at.g,
                                                     w->at.s->k_row + j, e);
            int64_t clip = rel ? oracle_clip(j - i - w->at.s->offset, p->rel_v.shape[1]) : 0;
            if (rel) shaw = (oracle_real)oracle_read(&p->rel_v, w->at.h, clip, e, 0);
            sum += weight * (v + shaw);
            size += fabsl(weight) * (fabsl(v) + fabsl(shaw));
            if (unsure)
                off += w->norm.key[j].weight_error * oracle_head_kept(&w->at, i, j) *
                       (fabsl(v) + fabsl(shaw));
        }
        rough[e] = (double)off;
        out[e] = (double)sum;
        mass[e] = (double)size;
    }
}

static void softmax_row(softmax_head *w, int64_t i)
{
    oracle_result *r = w->r;
    const oracle_problem *p = w->at.p;
    int64_t row = (w->at.s->q_batch * r->H + w->at.h) * r->T + w->at.s->q_row + i;
    int64_t line = (w->at.n * r->H + w->at.h) * r->W_T + oracle_head_pair(&w->at, i, 0).row;
    oracle_real spread, kappa = softmax_scores(w, i, &spread);
    softmax_norm(w);
    softmax_sum total = softmax_total(w, true);
    softmax_weights(w, i, total);
    softmax_values(w, i, r->out + row * r->E, r->mass + row * r->E, r->rough + row * r->E);
    r->lse[row] = (double)softmax_lse(softmax_total(w, p->flip != ORACLE_FLIP_LSE_SINK));
    /* The sink is a score too: its own rounding and its distance to the maximum count. */
    if (p->sink.data) {
        oracle_real sink = fabsl((oracle_real)oracle_read(&p->sink, w->at.n, w->at.h, 0, 0));
        if (sink > kappa && !isinf(sink)) kappa = sink;
    }
    /* Squares all have one sign: their partial sums, and what those round away, are as large as
     * the sum, with nothing to cancel against. */
    bool squares = p->spec.score == ATTN_SCORE_L2;
    r->kappa[row] = (double)(kappa + (squares ? 6.5L / 4 * spread : 0));
    r->row_kappa[line] = (double)kappa;
    r->row_spread[line] = (double)spread;
    r->row_lse[line] = isinf(r->lse[row]) ? 0 : fabs(r->lse[row]);
}

static void softmax_all(softmax_head *w)
{
    while (oracle_head_next(&w->at))
        for (int64_t i = 0; i < w->at.s->T; i++) softmax_row(w, i);
}

static int64_t softmax_extent(const oracle_problem *p, bool keys)
{
    int64_t extent = keys ? p->S : p->T;
    int dim = keys ? 3 : 2;
    if (keys ? p->k_packed : p->q_packed) {
        extent = 0;
        for (int64_t b = 0; b < p->N; b++) {
            int64_t n = keys ? p->sequence[b].S : p->sequence[b].T;
            if (n > extent) extent = n;
        }
    }
    const attn_tensor *outputs[2] = {&p->args->weights, &p->args->scores};
    for (int i = 0; i < 2; i++) {
        int at = outputs[i]->rank - 4 + dim;
        if (outputs[i]->dtype != ATTN_DTYPE_NONE && outputs[i]->shape[at] > extent)
            extent = outputs[i]->shape[at];
    }
    return extent;
}

static double *softmax_array(int64_t n, double value)
{
    double *x = malloc(((size_t)n + 1) * sizeof *x);
    for (int64_t i = 0; i < n && x; i++) x[i] = value;
    return x;
}

static bool softmax_result_make(const oracle_problem *p, oracle_result *r)
{
    bool masked = p->spec.scores_stage == ATTN_SCORES_MASKED;
    *r = (oracle_result){.N = p->N,
                         .B = p->q.shape[0],
                         .H = p->H,
                         .G = p->G,
                         .T = p->T,
                         .S = p->S,
                         .D = p->D,
                         .E = p->E,
                         .KB = p->k.shape[0],
                         .unit = (double)p->unit,
                         .W_T = softmax_extent(p, false),
                         .W_S = softmax_extent(p, true)};
    int64_t rows = r->B * r->H * r->T, cells = r->N * r->H * r->W_T * r->W_S;
    if (p->v.shape[0] > r->KB) r->KB = p->v.shape[0];
    r->out = softmax_array(rows * r->E, 0);
    r->mass = softmax_array(rows * r->E, 0);
    r->rough = softmax_array(rows * r->E, 0);
    r->weight_rough = softmax_array(cells, 0);
    r->own = oracle_norm_own(p);
    r->lse = softmax_array(rows, -(double)INFINITY);
    r->kappa = softmax_array(rows, 0);
    r->row_kappa = softmax_array(r->N * r->H * r->W_T, 0);
    r->row_spread = softmax_array(r->N * r->H * r->W_T, 0);
    r->row_lse = softmax_array(r->N * r->H * r->W_T, 0);
    r->weights = softmax_array(cells, 0);
    r->scores = softmax_array(cells, masked ? -(double)INFINITY : 0);
    r->magnitude = softmax_array(cells, 0);
    r->spread = softmax_array(cells, 0);
    r->spec = p->spec;
    r->level = p->D == 0 || p->scale == 0 || (p->S > 1 && p->k.stride[2] == 0);
    r->key_used = calloc((size_t)(r->KB * r->G * r->S) + 1, 1);
    return r->out && r->mass && r->rough && r->weight_rough && r->lse && r->kappa &&
           r->row_kappa && r->row_spread && r->row_lse && r->weights && r->scores &&
           r->magnitude && r->spread && r->key_used;
}

static bool softmax_head_make(const oracle_problem *p, oracle_result *r, softmax_head *w)
{
    size_t keys = (size_t)p->S + 1;
    *w = (softmax_head){.r = r};
    w->scores = malloc(keys * sizeof *w->scores);
    w->weights = malloc(keys * sizeof *w->weights);
    return oracle_head_make(&w->at, p) && oracle_norm_make(&w->norm, p->S) && w->scores &&
           w->weights;
}

static void softmax_head_free(softmax_head *w)
{
    oracle_head_free(&w->at);
    oracle_norm_free(&w->norm);
    free(w->scores);
    free(w->weights);
}

bool oracle_attention(oracle_result *r, const attn_spec *spec, const attn_args *args,
                      oracle_flip flip)
{
    oracle_problem p;
    softmax_head w = {0};
    bool ok = oracle_problem_make(&p, spec, args, flip);
    *r = (oracle_result){0};
    ok = ok && softmax_result_make(&p, r) && softmax_head_make(&p, r, &w);
    if (ok) softmax_all(&w);
    softmax_head_free(&w);
    oracle_problem_free(&p);
    return ok;
}

void oracle_free(oracle_result *r)
{
    free(r->out);
    free(r->mass);
    free(r->rough);
    free(r->weight_rough);
    free(r->lse);
    free(r->kappa);
    free(r->row_kappa);
    free(r->row_spread);
    free(r->row_lse);
    free(r->spread);
    free(r->weights);
    free(r->scores);
    free(r->magnitude);
    free(r->key_used);
    *r = (oracle_result){0};
}
