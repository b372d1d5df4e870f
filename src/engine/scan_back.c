/* SPDX-License-Identifier: MIT
 * Gradients of a scan. With g = d o, M the gradient of S_t and everything that comes after it,
 * S' = diag(a) S_{t-1}, r = v - S'^T k, u = beta r (linear: u = v):
 *
 *   M += q g^T,  dq = S_t g
 *   delta: du = M^T k, dv = beta du, dbeta = du . r, w = -beta du    linear: dv = M^T k, w = 0
 *   dk = M u + S' w,  M' = M + k w^T,  what goes on to t - 1 is diag(a) M'
 *   d decay[d] = sum over e of M' S' = what it was for t + 1
 *                + q dq (of t) - k (M u) + k (S' w), by key
 *
 * The last line is an identity of diagonal decays: it needs no states, only sums that are
 * there, f64 and running from the last token to the first. A first walk keeps the state before
 * each segment; the segments are then taken from the last to the first, each with its states
 * computed again. Every gradient is a scan itself: lanes of e for u and w, lanes of d for q and
 * k. */
#include <math.h>

#include "engine/scan.h"

static bool back_solves(const attn__scan_job *j)
{
    return j->p->spec.update == ATTN_SCAN_DELTA;
}

static double *back_row(const attn__scan_job *j, int64_t offset, int64_t t, int64_t ld)
{
    return attn__scan_at(j, offset) + t * ld;
}

/* ---- kept states ------------------------------------------------------------------------- */

static double *back_kept(const attn__scan_job *j, int64_t index)
{
    return attn__scan_at(j, j->plan->at.kept) + index * j->p->D * j->p->columns;
}

/* The state before the first token of the segment; queries alone see the last one. */
static const double *back_before(const attn__scan_job *j)
{
    const int64_t last = attn__ceil_div(j->seq.S, j->plan->segment);
    return back_kept(j, j->tokens ? j->index : last);
}

static void back_keep(const attn__scan_job *j, int64_t index, int64_t from, int64_t to)
{
    const attn__scan_layout *at = &j->plan->at;
    const int64_t width = j->p->columns, last = attn__min(to, width);
    const double *s = attn__scan_at(j, at->s);
    double *kept = back_kept(j, index);
    for (int64_t d = 0; d < j->p->D; d++)
        for (int64_t e = from; e < last; e++) kept[d * width + e] = s[d * at->lanes_e + e];
}

/* phase: the state before the segment is kept, then the segment walked. */
static void back_look(const attn__scan_job *j)
{
    int64_t from, to;
    attn__scan_lanes_e(j, &from, &to);
    back_keep(j, j->index, from, to);
    attn__scan_forward(j, from, to, false);
}

/* phase: the last state; and the gradient that comes in behind it. */
static void back_turn(const attn__scan_job *j)
{
    const attn__scan_problem *p = j->p;
    int64_t from, to;
    attn__scan_lanes_e(j, &from, &to);
    back_keep(j, attn__ceil_div(j->seq.S, j->plan->segment), from, to);
    attn__scan_state_in(j, &p->at.d_final_state, &p->at.d_final_z, from, to,
                        attn__scan_at(j, j->plan->at.me));
}

static double *back_totals(const attn__scan_job *j)
{
    return (double *)(void *)(j->workspace + j->plan->totals) +
           j->stream * (j->plan->at.lanes_d + 1);
}

static bool back_sums(const attn__scan_job *j)
{
    return attn__scan_constant(&j->p->at.d_decay) || attn__scan_constant(&j->p->at.d_beta);
}

/* phase: the same gradient with lanes of d; run = its sum with the last state. */
static void back_turn_d(const attn__scan_job *j)
{
    const attn__scan_layout *at = &j->plan->at;
    const int64_t D = j->p->D, width = j->p->columns;
    const double *me = attn__scan_at(j, at->me);
    const double *last = back_kept(j, attn__ceil_div(j->seq.S, j->plan->segment));
    double *md = attn__scan_at(j, at->md), *run = attn__scan_at(j, at->run);
    int64_t from, to;
    attn__scan_lanes_d(j, &from, &to);
    for (int64_t d = from; d < to; d++) {
        double sum = 0;
        for (int64_t e = 0; e < width; e++) {
            md[e * at->lanes_d + d] = d < D ? me[d * at->lanes_e + e] : 0;
            if (d < D) sum = fma(md[e * at->lanes_d + d], last[d * width + e], sum);
        }
        if (attn__present(&j->p->at.d_decay)) run[d] = sum;
        if (back_sums(j)) back_totals(j)[d] = 0;
    }
    if (back_sums(j) && j->part == 0) back_totals(j)[at->lanes_d] = 0;
}

/* ---- what the gradients of a segment are made of ----------------------------------------- */

/* phase: rests v - S k (delta), or what the queries read (normalise), once more. */
static void back_again(const attn__scan_job *j)
{
    const attn__scan_layout *at = &j->plan->at;
    const bool reading = j->p->spec.normalise && j->queries;
    const int64_t width = j->p->columns;
    int64_t from, to;
    attn__scan_lanes_e(j, &from, &to);
    if (!reading && !(back_solves(j) && j->tokens)) return;
    const double *kept = back_before(j);
    double *s = attn__scan_at(j, at->s);
    for (int64_t d = 0; d < j->p->D; d++)
        for (int64_t e = from; e < to; e++)
            s[d * at->lanes_e + e] = e < width ? kept[d * width + e] : 0;
    attn__scan_forward(j, from, to, reading);
}

/* g = scale d_out; or through out_e = scale o_e / (scale o_z + eps). */
static void back_normalise(const attn__scan_problem *p, const double *o, double *g)
{
    const double scale = p->spec.scale, divisor = scale * o[p->E] + p->spec.eps;
    const double share = divisor == 0 ? 0 : scale / divisor;
    double sum = 0;
    for (int64_t e = 0; e < p->E; e++) sum = fma(g[e], divisor == 0 ? 0 : o[e], sum);
    for (int64_t e = 0; e < p->E; e++) g[e] = divisor == 0 ? 0 : g[e] * share;
    g[p->E] = divisor == 0 ? 0 : -(sum * share) * share;
}

static void back_gradient_row(const attn__scan_job *j, int64_t m, int64_t t)
{
    const attn__scan_problem *p = j->p;
    const attn__scan_layout *at = &j->plan->at;
    const attn_tensor *d_out = &p->at.d_out;
    const int64_t row = m * j->plan->segment + t;
    double *g = back_row(j, at->g, row, at->lanes_e);
    for (int64_t e = 0; e < at->lanes_e; e++) g[e] = 0;
    if (!attn__present(d_out)) return;
    if (p->E > 0)
        attn__stage_row(
            j->plan->kernels, d_out->dtype,
            attn__at(d_out, j->seq.row, attn__scan_head(j, m), j->seq.q0 + j->t0 + t, 0),
            d_out->stride[3], p->E, g);
    if (p->spec.normalise)
        back_normalise(p, back_row(j, at->o, row, at->lanes_e), g);
    else
        for (int64_t e = 0; e < p->E; e++) g[e] *= p->spec.scale;
}

/* phase */
static void back_gradient(const attn__scan_job *j)
{
    int64_t from, to;
    attn__scan_share(j, j->queries ? j->n : 0, 1, &from, &to);
    for (int64_t m = 0; m < j->p->M; m++)
        for (int64_t t = from; t < to; t++) back_gradient_row(j, m, t);
}

/* ---- lanes of e -------------------------------------------------------------------------- */

static bool back_wants_e(const attn__scan_job *j)
{
    const attn_scan_args *a = &j->p->at;
    return back_solves(j) || attn__present(&a->d_v) || attn__present(&a->d_state) ||
           attn__present(&a->d_state_z);
}

/* phase: back through M; w = -du (delta) or dv (linear) */
static void back_over_e(const attn__scan_job *j)
{
    const attn__scan_layout *at = &j->plan->at;
    int64_t from, to;
    attn__scan_lanes_e(j, &from, &to);
    if (from >= to || !back_wants_e(j)) return;
    attn__scan s = attn__scan_over_e(j, attn__scan_at(j, at->me), from, to);
    s.back = s.late = true;
    if (j->queries)
        s.updates = attn__scan_pair(j, j->p->M, at->q, at->lanes_d, at->g, at->lanes_e, from);
    if (j->tokens && back_solves(j))
        attn__scan_solve(j, &s, at->w, from, true);
    else if (j->tokens)
        s.reads = attn__scan_pair(j, 1, at->k, at->lanes_d, at->w, at->lanes_e, from);
    j->plan->kernels->scan(&s);
}

/* phase: dbeta; u and w in place of the rests they come from */
static void back_learn(const attn__scan_job *j)
{
    const attn__scan_layout *at = &j->plan->at;
    const double *beta = attn__scan_at(j, at->beta);
    int64_t from, to;
    attn__scan_share(j, j->tokens && back_solves(j) ? j->n : 0, 1, &from, &to);
    for (int64_t t = from; t < to; t++) {
        double *v = back_row(j, at->v, t, at->lanes_e), *w = back_row(j, at->w, t, at->lanes_e);
        double sum = 0;
        for (int64_t e = 0; e < j->p->E; e++) sum = fma(-w[e], v[e], sum);
        for (int64_t e = 0; e < at->lanes_e; e++) v[e] *= beta[t], w[e] *= beta[t];
        attn__scan_at(j, at->dbeta)[t] = sum;
    }
}

/* ---- lanes of d -------------------------------------------------------------------------- */

static void back_forward_d(const attn__scan_job *j, int64_t from, int64_t to)
{
    const attn__scan_layout *at = &j->plan->at;
    const int64_t d = at->lanes_d, e = at->lanes_e, width = j->p->columns;
    const bool solved = j->tokens && back_solves(j);
    const double *kept = back_before(j);
    double *sd = attn__scan_at(j, at->sd);
    if (!j->queries && !solved) return;
    for (int64_t x = 0; x < width; x++)
        for (int64_t y = from; y < to; y++)
            sd[x * d + y] = y < j->p->D ? kept[y * width + x] : 0;
    attn__scan s = attn__scan_over_d(j, sd, from, to);
    if (solved) s.before = attn__scan_pair(j, 1, at->w, e, at->x, d, from);
    if (j->tokens) s.updates = attn__scan_pair(j, 1, at->v, e, at->k, d, from);
    if (j->queries) s.reads = attn__scan_pair(j, j->p->M, at->g, e, at->dq, d, from);
    j->plan->kernels->scan(&s);
}

static void back_backward_d(const attn__scan_job *j, int64_t from, int64_t to)
{
    const attn__scan_layout *at = &j->plan->at;
    const int64_t d = at->lanes_d, e = at->lanes_e;
    attn__scan s = attn__scan_over_d(j, attn__scan_at(j, at->md), from, to);
    s.back = s.late = true;
    if (j->queries) s.updates = attn__scan_pair(j, j->p->M, at->g, e, at->q, d, from);
    if (j->tokens) s.reads = attn__scan_pair(j, 1, at->v, e, at->dk, d, from);
    if (j->tokens && back_solves(j)) s.after = attn__scan_pair(j, 1, at->w, e, at->k, d, from);
    j->plan->kernels->scan(&s);
}

/* The gradient of the decay of token t by key: run goes on, y is what it is there. */
static void back_decay_token(const attn__scan_job *j, int64_t t, int64_t from, int64_t to)
{
    const attn__scan_layout *at = &j->plan->at;
    const int64_t d = at->lanes_d, L = j->plan->segment;
    const double *k = back_row(j, at->k, t, d), *dk = back_row(j, at->dk, t, d);
    const double *x = back_row(j, at->x, t, d);
    const double *a = back_row(j, at->a, attn__scan_constant(&j->p->at.decay) ? 0 : t, d);
    double *run = attn__scan_at(j, at->run), *y = back_row(j, at->y, t, d);
    for (int64_t m = 0; j->queries && m < j->p->M; m++) {
        const double *q = back_row(j, at->q, m * L + t, d);
        const double *dq = back_row(j, at->dq, m * L + t, d);
        for (int64_t i = from; i < to; i++) run[i] = fma(q[i], dq[i], run[i]);
    }
    if (!j->tokens) return;
    for (int64_t i = from; i < to; i++) run[i] = fma(-k[i], dk[i], run[i]);
    for (int64_t i = from; back_solves(j) && i < to; i++) run[i] = fma(k[i], x[i], run[i]);
    for (int64_t i = from; i < to; i++) y[i] = a[i] == 0 ? 0 : run[i];
    if (!attn__scan_constant(&j->p->at.d_decay)) return;
    for (int64_t i = from; i < to; i++) back_totals(j)[i] += y[i];
}

/* phase: forth for dq and S' w, back for M u, and both for the decay */
static void back_over_d(const attn__scan_job *j)
{
    const attn_scan_args *a = &j->p->at;
    int64_t from, to;
    attn__scan_lanes_d(j, &from, &to);
    if (from >= to) return;
    back_forward_d(j, from, to);
    if (attn__present(&a->d_k) || attn__present(&a->d_decay)) back_backward_d(j, from, to);
    if (!attn__present(&a->d_decay)) return;
    for (int64_t t = j->n - 1; t >= 0; t--)
        back_decay_token(j, t, attn__min(from, j->p->D), attn__min(to, j->p->D));
}

/* ---- out --------------------------------------------------------------------------------- */

static void back_write_decay(const attn__scan_job *j, int64_t t, int64_t token)
{
    const attn_tensor *d_decay = &j->p->at.d_decay;
    double *y = back_row(j, j->plan->at.y, t, j->plan->at.lanes_d), sum = 0;
    if (!attn__present(d_decay) || attn__scan_constant(d_decay)) return;
    if (d_decay->shape[3] == j->p->D && d_decay->shape[3] != 1) {
        attn__scan_write(j, d_decay, j->seq.row, j->g, token, j->p->D, y);
        return;
    }
    for (int64_t d = 0; d < j->p->D; d++) sum += y[d];
    attn__scan_write(j, d_decay, j->seq.row, j->g, token, d_decay->shape[3], &sum);
}

static void back_write_token(const attn__scan_job *j, int64_t t)
{
    const attn_scan_args *a = &j->p->at;
    const attn__scan_layout *at = &j->plan->at;
    const int64_t token = j->seq.k0 + j->t0 + t, D = j->p->D;
    double *dk = back_row(j, at->dk, t, at->lanes_d), *dv = back_row(j, at->w, t, at->lanes_e);
    const double *x = back_row(j, at->x, t, at->lanes_d);
    for (int64_t d = 0; back_solves(j) && attn__present(&a->d_k) && d < D; d++) dk[d] += x[d];
    if (attn__present(&a->d_k)) attn__scan_write(j, &a->d_k, j->seq.row, j->g, token, D, dk);
    for (int64_t e = 0; back_solves(j) && e < j->p->E; e++) dv[e] = -dv[e];
    if (attn__present(&a->d_v))
        attn__scan_write(j, &a->d_v, j->seq.row, j->g, token, j->p->E, dv);
    back_write_decay(j, t, token);
    if (attn__present(&a->d_beta) && !attn__scan_constant(&a->d_beta))
        attn__scan_write(j, &a->d_beta, j->seq.row, j->g, token, 1,
                         attn__scan_at(j, at->dbeta) + t);
}

static void back_write_query(const attn__scan_job *j, int64_t t)
{
    const attn__scan_layout *at = &j->plan->at;
    if (!attn__present(&j->p->at.d_q)) return;
    for (int64_t m = 0; m < j->p->M; m++)
        attn__scan_write(j, &j->p->at.d_q, j->seq.row, attn__scan_head(j, m),
                         j->seq.q0 + j->t0 + t, j->p->D,
                         back_row(j, at->dq, m * j->plan->segment + t, at->lanes_d));
}

/* phase */
static void back_write(const attn__scan_job *j)
{
    int64_t from, to;
    attn__scan_share(j, j->n, 1, &from, &to);
    for (int64_t t = from; t < to; t++) {
        if (j->queries) back_write_query(j, t);
        if (j->tokens) back_write_token(j, t);
    }
    if (j->part > 0 || !j->tokens || !attn__scan_constant(&j->p->at.d_beta)) return;
    const double *dbeta = attn__scan_at(j, j->plan->at.dbeta);
    double *total = back_totals(j) + j->plan->at.lanes_d;
    for (int64_t t = j->n - 1; t >= 0; t--) *total += dbeta[t];
}

/* phase: what is left is the gradient of the state before the first token */
static void back_close(const attn__scan_job *j)
{
    int64_t from, to;
    attn__scan_lanes_e(j, &from, &to);
    attn__scan_state_out(j, &j->p->at.d_state, &j->p->at.d_state_z, from, to,
                         attn__scan_at(j, j->plan->at.me));
}

/* ---- the programs ------------------------------------------------------------------------ */

#define BACK_OPEN                                                                              \
    {ATTN__SCAN_ONCE, false, false, false, {attn__scan_load}},                                 \
        {ATTN__SCAN_TOKENS, true, false, false, {attn__scan_stage, back_look}},                \
    {                                                                                          \
        ATTN__SCAN_ONCE, false, false, false,                                                  \
        {                                                                                      \
            back_turn, back_turn_d                                                             \
        }                                                                                      \
    }
#define BACK_PHASES                                                                            \
    {                                                                                          \
        attn__scan_stage, back_again, back_gradient, back_over_e, back_learn, back_over_d,     \
            back_write                                                                         \
    }

static const attn__scan_leg back_causal[] = {
    BACK_OPEN,
    {ATTN__SCAN_TOKENS, true, true, true, BACK_PHASES},
    {ATTN__SCAN_ONCE, false, false, false, {back_close}},
    {.phase = {NULL}}};

static const attn__scan_leg back_whole[] = {
    BACK_OPEN,
    {ATTN__SCAN_QUERIES, false, true, true, BACK_PHASES},
    {ATTN__SCAN_TOKENS, true, false, true, BACK_PHASES},
    {ATTN__SCAN_ONCE, false, false, false, {back_close}},
    {.phase = {NULL}}};

const attn__scan_leg *attn__scan_back_program(const attn__scan_problem *p)
{
    return p->spec.whole ? back_whole : back_causal;
}
