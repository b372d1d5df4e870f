/* SPDX-License-Identifier: MIT
 * The gradients of keys and values. A unit holds those of its 512 keys in f64. When no other
 * unit meets these keys they go to the caller as the unit ends; else they join f64 rows of all,
 * range after range, and go to him at the end.
 *
 *   dk_j = scale sum_i ds_ij q_i, turned back       dv_j = sum_i p_ij g_i / (1 - dropout) */
#include <string.h>

#include "engine/back.h"
#include "engine/rotate.h"

/* One row of n sums, times factor, where it belongs. */
static void back_row(const attn__run *r, char *scratch, const attn_tensor *t, int64_t b,
                     int64_t g, int64_t j, const double *sum, double factor)
{
    const attn__kernels *k = r->plan->kernels;
    char *row = scratch + r->plan->at.rows, *to = attn__at(t, b, g, j, 0);
    const bool direct = attn__stage_direct(k, t);
    k->settle(t->shape[3], sum, factor, direct ? to : row);
    if (!direct) attn__write_row(k, t, t->shape[3], row, to);
}

/* Row j of head g of batch entry b among the f64 rows of all. */
static double *back_all(const attn__run *r, int64_t at, const attn_tensor *t, int64_t b,
                        int64_t g, int64_t j)
{
    const int64_t batch = t->shape[0] == 1 ? 0 : b;
    return (double *)(void *)(r->workspace + at) +
           ((batch * t->shape[1] + g) * t->shape[2] + j) * t->shape[3];
}

static void back_keys_give(attn__back_unit *u, const attn_tensor *t, const double *sum,
                           bool collect, int64_t all, double factor)
{
    enum { AHEAD = 16 }; /* rows */
    const int64_t width = t->shape[3], row0 = u->seq.k0 + u->j0;
    attn__warm warm = {0};
    if (!collect) attn__warm_out(&warm, t, u->seq.kb, u->g, row0, u->n);
    attn__warm_some(&warm, AHEAD);
    for (int64_t j = 0; j < u->n; j++) {
        const int64_t row = row0 + j;
        attn__warm_some(&warm, 1);
        if (!collect) {
            back_row(u->r, u->scratch, t, u->seq.kb, u->g, row, sum + j * width, factor);
            continue;
        }
        double *to = back_all(u->r, all, t, u->seq.kb, u->g, row);
        for (int64_t x = 0; x < width; x++) to[x] += sum[j * width + x];
    }
}

void attn__back_keys_end(attn__back_unit *u)
{
    const attn__run *r = u->r;
    const attn__back_plan *b = u->b;
    const attn_args *a = &r->p->at;
    double *dk = (double *)(void *)(u->scratch + b->dk);
    const double *dv = (const double *)(const void *)(u->scratch + b->dv);
    const int64_t *chunk0 = (const int64_t *)(const void *)(r->workspace + b->chunk0);
    _Atomic int64_t *done = (_Atomic int64_t *)(void *)(r->workspace + b->dk_done) +
                            chunk0[u->seq.b] + u->g * u->chunks + u->c;
    const bool collect = b->collect_k || b->collect_v;
    if (collect) attn__back_wait(done, u->range);
    for (int64_t j = 0; attn__present(&a->d_k) && r->p->turns_keys && j < u->n; j++)
        attn__rotate_back(r, attn__rotate_k_position(r, &u->seq, u->j0 + j), dk + j * r->p->D,
                          1);
    if (attn__present(&a->d_k))
        back_keys_give(u, &a->d_k, dk, b->collect_k, b->dk_all, b->factor);
    if (attn__present(&a->d_v))
        back_keys_give(u, &a->d_v, dv, b->collect_v, b->dv_all, b->gain);
    if (collect) atomic_store_explicit(done, u->range + 1, memory_order_release);
}

typedef struct back_settle {
    attn__run *r;
    const attn_tensor *t;
    int64_t all;
    double factor;
} back_settle;

/* Each thread takes every threads-th row. */
static void back_settle_share(void *arg, int thread)
{
    const back_settle *s = arg;
    const attn__run *r = s->r;
    const attn_tensor *t = s->t;
    char *scratch = r->workspace + r->plan->scratch + thread * r->plan->at.bytes;
    const attn__fpenv saved = attn__fpenv_enter();
    for (int64_t b = 0; b < t->shape[0]; b++)
        for (int64_t g = 0; g < t->shape[1]; g++)
            for (int64_t j = thread; j < t->shape[2]; j += r->plan->threads)
                back_row(r, scratch, t, b, g, j, back_all(r, s->all, t, b, g, j), s->factor);
    attn__fpenv_leave(saved);
}

void attn__back_keys_settle(attn__run *r)
{
    const attn__back_plan *b = &r->plan->back;
    const back_settle k = {r, &r->p->at.d_k, b->dk_all, b->factor};
    const back_settle v = {r, &r->p->at.d_v, b->dv_all, b->gain};
    if (b->collect_k)
        attn__parallel(r->plan->ctx, r->plan->threads, back_settle_share, (void *)&k);
    if (b->collect_v)
        attn__parallel(r->plan->ctx, r->plan->threads, back_settle_share, (void *)&v);
}
