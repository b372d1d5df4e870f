/* SPDX-License-Identifier: MIT
 * Rotary positions on the way in: pair t of a head at position m turns by m base^(-2t/R).
 *   half: (t, t + R/2)      interleaved: (2t, 2t + 1)
 * Angles, sines and cosines are doubles from math.c; products are doubles rounded once. Keys
 * are turned once, before any task, into the workspace; queries when their panel opens. */
#include "engine/rotate.h"

void attn__rotate_pair(attn_rope_kind kind, int64_t R, int64_t t, int64_t *first,
                       int64_t *second)
{
    *first = kind == ATTN_ROPE_HALF ? t : 2 * t;
    *second = kind == ATTN_ROPE_HALF ? t + R / 2 : 2 * t + 1;
}

void attn__rotate_plan(attn_plan *plan)
{
    const attn__problem *p = &plan->problem;
    const int64_t pairs = attn__present(&p->at.rope_cos) ? 0 : p->R / 2;
    for (int64_t t = 0; t < attn__min(pairs, ATTN__THETAS); t++)
        plan->theta[t] = attn__root_power(p->spec.rope.base, t, pairs);
}

static void *rotate_at(const attn__run *r, int64_t keys, const attn__seq *seq, int64_t g,
                       int64_t j)
{
    const attn__problem *p = r->p;
    const int64_t row = ((p->packed_k ? 0 : seq->b) * p->G + g) * p->S + seq->k0 + j;
    const int64_t real = (int64_t)attn__real_size(r->plan->kernels);
    return r->workspace + keys + row * p->D * real;
}

void *attn__rotated_key(const attn__run *r, const attn__seq *seq, int64_t g, int64_t j)
{
    return rotate_at(r, r->plan->keys, seq, g, j);
}

void *attn__rotated_tangent(const attn__run *r, const attn__seq *seq, int64_t g, int64_t j)
{
    return rotate_at(r, r->plan->t_keys, seq, g, j);
}

/* thetas [R/2], then cosines and sines of trig_n positions, [position][2][R/2]. */
static double *rotate_thetas(const attn__run *r)
{
    return (double *)(void *)(r->workspace + r->plan->trig);
}

static double *rotate_known(const attn__run *r, int64_t position)
{
    return rotate_thetas(r) + r->p->R / 2 + (position - r->trig_first) * r->p->R;
}

/* Cosines and sines of every threads-th position. */
static void rotate_table_share(void *arg, int thread)
{
    const attn__run *r = arg;
    const int64_t pairs = r->p->R / 2;
    const double *theta = rotate_thetas(r);
    const attn__fpenv saved = attn__fpenv_enter();
    for (int64_t x = thread; x < r->trig_n; x += r->plan->threads) {
        const int64_t m = r->trig_first + x;
        double *row = rotate_known(r, m);
        r->plan->kernels->sincos(pairs, (double)m, theta, row, row + pairs);
    }
    attn__fpenv_leave(saved);
}

/* From 0 to the end of the longest sequence; where keys are turned already, from the first query
 * on. */
static void rotate_span(attn__run *r)
{
    int64_t first = INT64_MAX, last = 0;
    for (int64_t b = 0; b < r->p->N; b++) {
        const attn__seq *seq = &r->seqs[b];
        if (seq->T == 0) continue;
        first = attn__min(first, r->p->turns_keys ? 0 : seq->offset);
        last = attn__max(last, seq->offset + seq->T);
        if (r->p->turns_keys) last = attn__max(last, seq->S);
    }
    r->trig_first = first;
    r->trig_n = attn__min(r->plan->trig_n, attn__max(0, last - first));
}

static void rotate_table(attn__run *r)
{
    const int64_t pairs = r->p->R / 2;
    if (attn__present(&r->p->at.rope_cos)) return;
    rotate_span(r);
    for (int64_t t = 0; t < pairs; t++)
        rotate_thetas(r)[t] = t < ATTN__THETAS
                                  ? r->plan->theta[t]
                                  : attn__root_power(r->p->spec.rope.base, t, pairs);
    attn__parallel(r->plan->ctx, r->plan->threads, rotate_table_share, r);
}

/* One comparison of unsigned distances: a caller's position may be any number. */
static bool rotate_is_known(const attn__run *r, int64_t position)
{
    return !attn__present(&r->p->at.rope_cos) &&
           (uint64_t)position - (uint64_t)r->trig_first < (uint64_t)r->trig_n;
}

static void rotate_angle(const attn__run *r, int64_t position, int64_t t, double *c, double *s)
{
    const attn__problem *p = r->p;
    if (attn__present(&p->at.rope_cos)) {
        *c = attn__float_at(&p->at.rope_cos, position, t);
        *s = attn__float_at(&p->at.rope_sin, position, t);
    } else if (rotate_is_known(r, position)) {
        const double *row = rotate_known(r, position);
        *c = row[t];
        *s = row[p->R / 2 + t];
    } else {
        attn__sincos((double)position * rotate_thetas(r)[t], s, c);
    }
}

/* Those of pairs t .. t + n. */
static void rotate_angles(const attn__run *r, int64_t position, int64_t t, int64_t n, double *c,
                          double *s)
{
    if (attn__present(&r->p->at.rope_cos))
        for (int64_t i = 0; i < n; i++) rotate_angle(r, position, t + i, &c[i], &s[i]);
    else
        r->plan->kernels->sincos(n, (double)position, rotate_thetas(r) + t, c, s);
}

void attn__rotate_row(const attn__run *r, int64_t position, void *row)
{
    const attn__kernels *k = r->plan->kernels;
    const int64_t pairs = r->p->R / 2;
    int64_t first, step, apart, second;
    attn__rotate_pair(r->p->spec.rope.kind, r->p->R, 0, &first, &apart);
    attn__rotate_pair(r->p->spec.rope.kind, r->p->R, 1, &step, &second);
    if (rotate_is_known(r, position)) {
        const double *c = rotate_known(r, position);
        k->turn(pairs, c, c + pairs, apart, false, row);
        return;
    }
    double c[ATTN__BLOCK], s[ATTN__BLOCK];
    for (int64_t t = 0; t < pairs; t += ATTN__BLOCK) {
        const int64_t n = attn__min(ATTN__BLOCK, pairs - t);
        rotate_angles(r, position, t, n, c, s);
        k->turn(n, c, s, apart, false, (char *)row + t * step * (int64_t)attn__real_size(k));
    }
}

void attn__rotate_back(const attn__run *r, int64_t position, double *row, int64_t stride)
{
    for (int64_t t = 0; t < r->p->R / 2; t++) {
        int64_t i, j;
        double c, s;
        attn__rotate_pair(r->p->spec.rope.kind, r->p->R, t, &i, &j);
        rotate_angle(r, position, t, &c, &s);
        const double x = row[i * stride], y = row[j * stride];
        row[i * stride] = x * c + y * s;
        row[j * stride] = y * c - x * s;
    }
}

int64_t attn__rotate_k_position(const attn__run *r, const attn__seq *seq, int64_t j)
{
    const attn_tensor *pos = &r->p->at.k_pos;
    return attn__present(pos) ? attn__int_at(pos, seq->kb, seq->k0 + j) : j;
}

int64_t attn__rotate_q_position(const attn__run *r, const attn__seq *seq, int64_t i)
{
    const attn_tensor *pos = &r->p->at.q_pos;
    return attn__present(pos) ? attn__int_at(pos, seq->qb, seq->q0 + i) : i + seq->offset;
}

static void rotate_key(const attn__run *r, const attn_tensor *t, const attn__seq *seq,
                       int64_t g, int64_t j, void *dst)
{
    attn__stage_row(r->plan->kernels, t->dtype, attn__at(t, seq->kb, g, seq->k0 + j, 0),
                    t->stride[3], r->p->D, dst);
    attn__rotate_row(r, attn__rotate_k_position(r, seq, j), dst);
}

/* Each thread takes every threads-th key. */
static void rotate_keys_share(void *arg, int thread)
{
    const attn__run *r = arg;
    const attn__fpenv saved = attn__fpenv_enter();
    for (int64_t b = 0; b < r->p->N; b++)
        for (int64_t g = 0; g < r->p->G; g++)
            for (int64_t j = thread; j < r->seqs[b].S; j += r->plan->threads) {
                const attn__seq *seq = &r->seqs[b];
                rotate_key(r, &r->p->at.k, seq, g, j, attn__rotated_key(r, seq, g, j));
                if (attn__present(&r->p->at.t_k))
                    rotate_key(r, &r->p->at.t_k, seq, g, j,
                               attn__rotated_tangent(r, seq, g, j));
            }
    attn__fpenv_leave(saved);
}

void attn__rotate_keys(attn__run *r)
{
    if (!r->p->R) return;
    rotate_table(r);
    if (r->p->turns_keys && r->p->source == ATTN__SOURCE_TENSORS)
        attn__parallel(r->plan->ctx, r->plan->threads, rotate_keys_share, r);
}
