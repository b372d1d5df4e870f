/* SPDX-License-Identifier: MIT
 * Scans and tensors: the rows of a segment as doubles, states, and the way back. */
#include <string.h>

#include "engine/scan.h"

int64_t attn__scan_head(const attn__scan_job *j, int64_t m)
{
    const attn__scan_problem *p = j->p;
    return p->spec.head_map == ATTN_HEADS_TILED ? m * p->G + j->g : j->g * p->M + m;
}

void attn__scan_share(const attn__scan_job *j, int64_t n, int64_t grain, int64_t *from,
                      int64_t *to)
{
    const int64_t grains = attn__ceil_div(n, grain);
    *from = attn__min(n, grains * j->part / j->parts * grain);
    *to = attn__min(n, grains * (j->part + 1) / j->parts * grain);
}

/* ---- in ---------------------------------------------------------------------------------- */

/* Row (a, b, c) of t as n doubles, 0 up to ld. */
static void scan_row_in(const attn__scan_job *j, const attn_tensor *t, int64_t a, int64_t b,
                        int64_t c, int64_t n, int64_t ld, double *x)
{
    if (n > 0)
        attn__stage_row(j->plan->kernels, t->dtype, attn__at(t, a, b, c, 0), t->stride[3], n,
                        x);
    for (int64_t i = n; i < ld; i++) x[i] = 0;
}

/* a = exp(decay), a number for each key. */
static void scan_decay_in(const attn__scan_job *j, int64_t t)
{
    const attn__scan_problem *p = j->p;
    const attn_tensor *decay = &p->at.decay;
    const attn__scan_layout *at = &j->plan->at;
    const bool constant = attn__scan_constant(decay), one = decay->stride[3] == 0;
    const int64_t row = constant ? 0 : j->seq.row, token = constant ? 0 : j->seq.k0 + j->t0 + t;
    double *a = attn__scan_at(j, at->a) + (constant ? 0 : t * at->lanes_d);
    scan_row_in(j, decay, row, j->g, token, one ? attn__min(1, p->D) : p->D, at->lanes_d, a);
    j->plan->kernels->map[ATTN__MAP_exp](one ? attn__min(1, p->D) : p->D, a, a);
    for (int64_t d = 1; one && d < p->D; d++) a[d] = a[0];
}

static void scan_token_in(const attn__scan_job *j, int64_t t)
{
    const attn__scan_problem *p = j->p;
    const attn__scan_layout *at = &j->plan->at;
    const attn_tensor *beta = &p->at.beta;
    const int64_t row = j->seq.row, token = j->seq.k0 + j->t0 + t;
    double *v = attn__scan_at(j, at->v) + t * at->lanes_e;
    scan_row_in(j, &p->at.k, row, j->g, token, p->D, at->lanes_d,
                attn__scan_at(j, at->k) + t * at->lanes_d);
    scan_row_in(j, &p->at.v, row, j->g, token, p->E, at->lanes_e, v);
    if (p->spec.normalise) v[p->E] = 1;
    if (attn__present(&p->at.decay) && !attn__scan_constant(&p->at.decay)) scan_decay_in(j, t);
    if (p->spec.update != ATTN_SCAN_DELTA) return;
    const bool constant = attn__scan_constant(beta);
    attn__scan_at(j, at->beta)[t] =
        !attn__present(beta)
            ? 1
            : attn__get(beta->dtype,
                        attn__at(beta, constant ? 0 : row, j->g, constant ? 0 : token, 0), 0);
}

void attn__scan_stage(const attn__scan_job *j)
{
    const attn__scan_problem *p = j->p;
    const attn__scan_layout *at = &j->plan->at;
    int64_t from, to;
    attn__scan_share(j, j->n, 1, &from, &to);
    if (j->tokens && from == 0 && to > 0 && attn__scan_constant(&p->at.decay))
        scan_decay_in(j, 0);
    for (int64_t t = from; t < to; t++) {
        if (j->tokens) scan_token_in(j, t);
        for (int64_t m = 0; j->queries && m < p->M; m++)
            scan_row_in(j, &p->at.q, j->seq.row, attn__scan_head(j, m), j->seq.q0 + j->t0 + t,
                        p->D, at->lanes_d,
                        attn__scan_at(j, at->q) + (m * j->plan->segment + t) * at->lanes_d);
    }
}

void attn__scan_state_in(const attn__scan_job *j, const attn_tensor *t, const attn_tensor *z,
                         int64_t from, int64_t to, double *s)
{
    const attn__scan_problem *p = j->p;
    const int64_t last = attn__min(to, p->E), n = attn__present(t) ? last - from : 0;
    for (int64_t d = 0; d < p->D; d++) {
        double *row = s + d * j->plan->at.lanes_e;
        for (int64_t e = from; e < to; e++) row[e] = 0;
        if (n > 0)
            attn__stage_row(j->plan->kernels, t->dtype, attn__at(t, j->seq.b, j->g, d, from),
                            t->stride[3], n, row + from);
        if (attn__present(z) && from <= p->E && p->E < to)
            row[p->E] = attn__get(z->dtype, attn__at(z, j->seq.b, j->g, d, 0), 0);
    }
}

void attn__scan_load(const attn__scan_job *j)
{
    int64_t from, to;
    attn__scan_lanes_e(j, &from, &to);
    attn__scan_state_in(j, &j->p->at.state, &j->p->at.state_z, from, to,
                        attn__scan_at(j, j->plan->at.s));
}

/* ---- out --------------------------------------------------------------------------------- */

void attn__scan_write(const attn__scan_job *j, const attn_tensor *t, int64_t a, int64_t b,
                      int64_t c, int64_t n, double *x)
{
    if (n <= 0) return;
    j->plan->kernels->tidy(n, x);
    attn__write_row(j->plan->kernels, t, n, x, attn__at(t, a, b, c, 0));
}

void attn__scan_state_out(const attn__scan_job *j, const attn_tensor *t, const attn_tensor *z,
                          int64_t from, int64_t to, double *s)
{
    const attn__scan_problem *p = j->p;
    const attn__kernels *k = j->plan->kernels;
    const int64_t n = attn__present(t) ? attn__min(to, p->E) - from : 0;
    for (int64_t d = 0; d < p->D; d++) {
        double *row = s + d * j->plan->at.lanes_e;
        k->tidy(to - from, row + from);
        if (n > 0) attn__write_row(k, t, n, row + from, attn__at(t, j->seq.b, j->g, d, from));
        if (attn__present(z) && from <= p->E && p->E < to)
            attn__put(z->dtype, attn__at(z, j->seq.b, j->g, d, 0), 0, row[p->E]);
    }
}

void attn__scan_store(const attn__scan_job *j)
{
    int64_t from, to;
    attn__scan_lanes_e(j, &from, &to);
    attn__scan_state_out(j, &j->p->at.final_state, &j->p->at.final_z, from, to,
                         attn__scan_at(j, j->plan->at.s));
}

/* Rows from first on of batch entry b; of a constant there are none. */
static void scan_fill_rows(const attn_tensor *t, int64_t b, int64_t first)
{
    if (!attn__present(t)) return;
    for (int64_t h = 0; h < t->shape[1]; h++)
        for (int64_t i = first; i < t->shape[2]; i++)
            for (int64_t d = 0; d < t->shape[3]; d++)
                attn__put(t->dtype, attn__at(t, b, h, i, d), 0, 0);
}

void attn__scan_fill(const attn__scan_problem *p)
{
    const attn_scan_args *at = &p->at;
    const attn_tensor *cu_q = attn__present(&at->cu_q) ? &at->cu_q : &at->cu_k;
    const attn_tensor *q_len = p->spec.whole ? &at->q_len : &at->k_len;
    const attn_tensor *tokens[] = {&at->d_k, &at->d_v, &at->d_decay, &at->d_beta};
    const bool constant[] = {false, false, attn__scan_constant(&at->d_decay),
                             attn__scan_constant(&at->d_beta)};
    for (int64_t b = 0; b < (p->packed ? 1 : p->N); b++) {
        const int64_t T = p->packed              ? attn__int_at(cu_q, p->N, 0)
                          : attn__present(q_len) ? attn__int_at(q_len, b, 0)
                                                 : p->T;
        const int64_t S = p->packed                   ? attn__int_at(&at->cu_k, p->N, 0)
                          : attn__present(&at->k_len) ? attn__int_at(&at->k_len, b, 0)
                                                      : p->S;
        scan_fill_rows(&at->out, b, T);
        scan_fill_rows(&at->d_q, b, T);
        for (int i = 0; i < 4; i++)
            if (!constant[i]) scan_fill_rows(tokens[i], b, S);
    }
}
