/* SPDX-License-Identifier: MIT
 * Lines in order. c->attr.i: [1] the dimension as a bit, [2] how many are wanted, [3] falling.
 *
 * A line is sorted by merging, bottom up, its indices; equal numbers keep their order. The few
 * largest of a long line are kept in a short list instead, that every element is compared with
 * the end of. The chosen places are saved: the gradient of a value goes where it came from. */
#ifndef ATTN__TAPE_OP_ORDER_H
#define ATTN__TAPE_OP_ORDER_H

#include "tape/op/reduce.h"

enum { ORDER_LIST = 64 /* so many at most by a list */, ORDER_LANES = 16 };

/* ---- argmax ------------------------------------------------------------------------------ */

static void K(argmax_piece)(void *arg, int64_t from, int64_t to)
{
    const line_job *job = arg;
    const int64_t n = job->shape.n;
    for (int64_t r = from; r < to; r++)
        job->index[r] = K(line_top)(n, (const real *)job->x + r * n);
}

static attn_status K(argmax_forward)(attn__call *c)
{
    line_job job;
    ATTN_TRY(K(line_open)(c, K(line_bits)(c), true, &job));
    job.index = c->out[0].data;
    K(line_run)(&job, K(argmax_piece));
    return ATTN_OK;
}

/* ---- one line ---------------------------------------------------------------------------- */

/* Whether x[b] must stand before x[a], which has the lower index. */
static bool K(order_swaps)(const real *x, int64_t a, int64_t b, bool falling)
{
    const bool above = x[b] > x[a] || (x[b] != x[b] && x[a] == x[a]);
    const bool below = x[b] < x[a] || (x[a] != x[a] && x[b] == x[b]);
    return falling ? above : below;
}

/* to[0 .. a + b) = from[0 .. a) and from[a .. a + b), each in order, merged. */
static void K(order_merge)(const real *x, const int64_t *from, int64_t a, int64_t b,
                           bool falling, int64_t *to)
{
    const int64_t *left = from, *right = from + a;
    while (a > 0 && b > 0) {
        const bool take = K(order_swaps)(x, *left, *right, falling);
        *to++ = take ? *right++ : *left++;
        *(take ? &b : &a) -= 1;
    }
    memcpy(to, a > 0 ? left : right, (size_t)(a + b) * sizeof *to);
}

/* All n indices in order; room for 2 n. Returns the half of it that holds them. */
static const int64_t *K(order_all)(int64_t n, const real *x, bool falling, int64_t *room)
{
    int64_t *from = room, *to = room + n;
    for (int64_t i = 0; i < n; i++) from[i] = i;
    for (int64_t run = 1; run < n; run *= 2) {
        for (int64_t i = 0; i < n; i += 2 * run) {
            const int64_t a = attn__min(run, n - i), b = attn__min(run, n - i - a);
            K(order_merge)(x, from + i, a, b, falling, to + i);
        }
        int64_t *full = to;
        to = from;
        from = full;
    }
    return from;
}

/* The first `most` in falling order, n at least that many. */
static void K(order_few)(int64_t n, const real *x, int64_t most, int64_t *list)
{
    int64_t have = 0;
    for (int64_t i = 0; i < n; i++) {
        if (have == most && !K(order_swaps)(x, list[most - 1], i, true)) continue;
        int64_t at = have < most ? have++ : most - 1;
        for (; at > 0 && K(order_swaps)(x, list[at - 1], i, true); at--)
            list[at] = list[at - 1];
        list[at] = i;
    }
}

/* ---- many -------------------------------------------------------------------------------- */

typedef struct order_job {
    line_job line;
    int64_t most; /* wanted from each line */
    bool falling, few;
    int64_t *room; /* 2 n for each lane */
} order_job;

static void K(order_line)(const order_job *job, int64_t lane, int64_t r)
{
    const int64_t n = job->line.shape.n;
    const real *x = (const real *)job->line.x + r * n;
    real *y = (real *)job->line.to + r * job->most;
    int64_t *index = job->line.index + r * job->most;
    if (job->few)
        K(order_few)(n, x, job->most, index);
    else
        memcpy(index, K(order_all)(n, x, job->falling, job->room + lane * 2 * n),
               (size_t)job->most * sizeof *index);
    for (int64_t i = 0; i < job->most; i++) y[i] = x[index[i]];
}

/* Line r is sorted in the scratch of lane r mod ORDER_LANES. */
static void K(order_lanes)(void *arg, int64_t from, int64_t to)
{
    const order_job *job = arg;
    for (int64_t lane = from; lane < to; lane++)
        for (int64_t r = lane; r < job->line.shape.n_rows; r += ORDER_LANES)
            K(order_line)(job, lane, r);
}

/* Where the chosen places go: into out[1], and into saved when a backward may come. */
static attn_status K(order_keep)(attn__call *c, const line_job *line, int64_t count)
{
    attn__tape_rows rows;
    if (c->recording) {
        int64_t *saved = attn__call_save(c, count, sizeof *saved);
        if (!saved) return ATTN_E_MEMORY;
        if (count > 0) memcpy(saved, line->index, (size_t)count * sizeof *saved);
    }
    if (!c->wanted[1]) return ATTN_OK;
    ATTN_TRY(attn__rows_open(c, &c->out[1], K(line_bits)(c), &rows));
    if (count > 0) memcpy(rows.data, line->index, (size_t)count * sizeof *line->index);
    attn__rows_store(&rows);
    return ATTN_OK;
}

static attn_status K(order_forward)(attn__call *c)
{
    const int64_t count = attn_tensor_count(c->out[0]);
    attn__tape_rows rows;
    order_job job = {.most = c->attr.i[2], .falling = c->attr.i[3] != 0};
    ATTN_TRY(K(line_open)(c, K(line_bits)(c), true, &job.line));
    ATTN_TRY(attn__rows_open(c, &c->out[0], K(line_bits)(c), &rows));
    job.line.to = rows.data;
    job.line.index = attn__call_temp(c, count, sizeof(int64_t));
    job.few = c->op == ATTN__OP_topk && job.most <= ORDER_LIST;
    const int64_t lanes = attn__min(job.line.shape.n_rows, ORDER_LANES);
    job.room = attn__call_temp(c, job.few ? 0 : lanes * job.line.shape.n, 2 * sizeof(int64_t));
    if (!job.line.index || !job.room) return ATTN_E_MEMORY;
    if (count > 0) attn__call_share(c, lanes, 1, K(order_lanes), &job);
    attn__rows_store(&rows);
    return K(order_keep)(c, &job.line, count);
}

static void K(order_slope)(void *arg, int64_t from, int64_t to)
{
    const order_job *job = arg;
    const line_job *line = &job->line;
    for (int64_t r = from; r < to; r++) {
        real *d = (real *)line->to + r * line->shape.n;
        const real *g = (const real *)line->g + r * job->most;
        const int64_t *index = line->index + r * job->most;
        for (int64_t i = 0; i < job->most; i++) d[index[i]] += g[i];
    }
}

static attn_status K(order_backward)(attn__call *c)
{
    const uint32_t bits = K(line_bits)(c);
    order_job job = {.most = c->attr.i[2]};
    if (!attn__present(&c->d_in[0]) || !attn__present(&c->d_out[0])) return ATTN_OK;
    ATTN_TRY(K(line_open)(c, bits, false, &job.line));
    ATTN_TRY(K(line_reals)(c, &c->d_out[0], bits, &job.line.g));
    job.line.index = c->saved;
    return K(line_add)(&job.line, c, bits, K(order_slope));
}

static attn_status K(topk_forward)(attn__call *c)
{
    return K(order_forward)(c);
}

static attn_status K(topk_backward)(attn__call *c)
{
    return K(order_backward)(c);
}

static attn_status K(sort_forward)(attn__call *c)
{
    return K(order_forward)(c);
}

static attn_status K(sort_backward)(attn__call *c)
{
    return K(order_backward)(c);
}

#endif
