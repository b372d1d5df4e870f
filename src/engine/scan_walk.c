/* SPDX-License-Identifier: MIT
 * The kernel of scans on the memory of a stream: what are rows, what are lanes. */
#include "engine/scan.h"

enum { SCAN_VECTORS = 4 }; /* side by side in the kernel */

void attn__scan_lanes_e(const attn__scan_job *j, int64_t *from, int64_t *to)
{
    attn__scan_share(j, j->plan->at.lanes_e, SCAN_VECTORS * j->plan->kernels->step, from, to);
}

void attn__scan_lanes_d(const attn__scan_job *j, int64_t *from, int64_t *to)
{
    attn__scan_share(j, j->plan->at.lanes_d, SCAN_VECTORS * j->plan->kernels->step, from, to);
}

static attn__scan scan_over(const attn__scan_job *j, double *s, int64_t rows, int64_t ld,
                            int64_t from, int64_t to)
{
    return (attn__scan){.n = j->n, .rows = rows, .w = to - from, .state = s + from, .ld = ld};
}

static void scan_over_decay(const attn__scan_job *j, attn__scan *s, attn__scan_decay decay,
                            int64_t lane)
{
    if (!j->tokens || !attn__present(&j->p->at.decay)) return;
    s->decay = decay;
    s->a = attn__scan_at(j, j->plan->at.a) + lane;
    s->a_step = attn__scan_constant(&j->p->at.decay) ? 0 : j->plan->at.lanes_d;
}

attn__scan attn__scan_over_e(const attn__scan_job *j, double *s, int64_t from, int64_t to)
{
    attn__scan scan = scan_over(j, s, j->p->D, j->plan->at.lanes_e, from, to);
    scan_over_decay(j, &scan, ATTN__SCAN_ROWS, 0);
    return scan;
}

attn__scan attn__scan_over_d(const attn__scan_job *j, double *s, int64_t from, int64_t to)
{
    attn__scan scan = scan_over(j, s, j->p->columns, j->plan->at.lanes_d, from, to);
    scan_over_decay(j, &scan, ATTN__SCAN_LANES, from);
    return scan;
}

attn__scan_side attn__scan_pair(const attn__scan_job *j, int64_t n, int64_t rows,
                                int64_t rows_ld, int64_t lanes, int64_t lanes_ld, int64_t lane)
{
    return (attn__scan_side){.n = (int)n,
                             .rows = attn__scan_at(j, rows),
                             .row_step = rows_ld,
                             .row_head = j->plan->segment * rows_ld,
                             .lanes = attn__scan_at(j, lanes) + lane,
                             .lane_step = lanes_ld,
                             .lane_head = j->plan->segment * lanes_ld};
}

void attn__scan_solve(const attn__scan_job *j, attn__scan *s, int64_t value, int64_t lane,
                      bool from_zero)
{
    const attn__scan_layout *at = &j->plan->at;
    s->key = attn__scan_at(j, at->k);
    s->key_step = at->lanes_d;
    s->beta = attn__scan_at(j, at->beta);
    s->value = attn__scan_at(j, value) + lane;
    s->value_step = at->lanes_e;
    s->from_zero = from_zero;
}

void attn__scan_forward(const attn__scan_job *j, int64_t from, int64_t to, bool reading)
{
    const attn__scan_layout *at = &j->plan->at;
    const bool solve = j->p->spec.update == ATTN_SCAN_DELTA;
    if (from >= to) return;
    attn__scan s = attn__scan_over_e(j, attn__scan_at(j, at->s), from, to);
    if (j->tokens && solve)
        attn__scan_solve(j, &s, at->v, from, false);
    else if (j->tokens)
        s.updates = attn__scan_pair(j, 1, at->k, at->lanes_d, at->v, at->lanes_e, from);
    if (reading)
        s.reads = attn__scan_pair(j, j->p->M, at->q, at->lanes_d, at->o, at->lanes_e, from);
    j->plan->kernels->scan(&s);
}
