/* SPDX-License-Identifier: MIT
 * Sums over some dimensions of what an attn__each makes, in f64, without ever holding it:
 * gradients of operands that were broadcast, sum and mean.
 *
 * The order is a function of the shape. Dimensions that are summed and stand next to each other
 * are one. Where the innermost dimension is summed, blocks of 512 along it are summed by eight
 * strands each (element i of a block goes to strand i mod 8), and what the blocks give is added
 * one after the other; all else is added element after element, in row-major order. Threads
 * share the first dimension that is kept, or the blocks when none is. */
#ifndef ATTN__TAPE_OP_SUMS_H
#define ATTN__TAPE_OP_SUMS_H

#include "tape/op/real.h"
#include "tape/walk.h"

static double K(sums_strands)(int64_t n, const real *restrict x)
{
    double s[8] = {0};
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int j = 0; j < 8; j++) s[j] += (double)x[i + j];
    for (int j = 0; i + j < n; j++) s[j] += (double)x[i + j];
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

typedef struct sums_job {
    const attn__each *e;
    int rank; /* of the joined dimensions; steps are those of the sums, 0: summed */
    int64_t size[ATTN_MAX_RANK + 1], step[ATTN_MAX_RANK + 1];
    int64_t lead, cells, cell; /* lead x cells x cell elements; cells are kept */
    double *sum;
} sums_job;

static void K(sums_dims)(sums_job *job, const attn_tensor *shape, uint32_t kept)
{
    int64_t step = 1;
    for (int i = 0; i < shape->rank; i++) {
        const int64_t size = shape->shape[i], keep = kept >> i & 1;
        const int last = job->rank - 1;
        if (!keep && size == 1) continue;
        if (last >= 0 && job->step[last] == keep) {
            job->size[last] *= size;
        } else {
            job->size[job->rank] = size;
            job->step[job->rank++] = keep;
        }
    }
    for (int i = job->rank - 1; i >= 0; i--) {
        if (job->step[i] == 0) continue;
        job->step[i] = step;
        step *= job->size[i];
    }
}

static double *K(sums_at)(const sums_job *job, int64_t i)
{
    double *at = job->sum;
    for (int d = job->rank - 1; d >= 0; d--) {
        at += i % job->size[d] * job->step[d];
        i /= job->size[d];
    }
    return at;
}

/* Elements [from, from + n): whole runs of the innermost dimension, or a part of one. */
static void K(sums_block)(const sums_job *job, int64_t from, int64_t n, const real *x)
{
    const int64_t inner = job->size[job->rank - 1];
    const bool kept = job->step[job->rank - 1] != 0;
    for (int64_t i = 0, run; i < n; i += run) {
        double *restrict sum = K(sums_at)(job, from + i);
        run = attn__min(inner, n - i);
        if (kept)
            for (int64_t j = 0; j < run; j++) sum[j] += (double)x[i + j];
        else
            *sum += K(sums_strands)(run, x + i);
    }
}

static void K(sums_range)(const sums_job *job, int64_t from, int64_t to)
{
    real room[ATTN__WALK_BLOCK];
    const int64_t inner = job->size[job->rank - 1], runs = ATTN__WALK_BLOCK / inner * inner;
    while (from < to) {
        const int64_t rest = inner - from % inner;
        const int64_t most = runs == 0 || rest < inner ? rest : runs;
        const int64_t n = attn__min(attn__min(most, ATTN__WALK_BLOCK), to - from);
        K(sums_block)(job, from, n, attn__each_block(job->e, from, n, room));
        from += n;
    }
}

static void K(sums_piece)(void *arg, int64_t from, int64_t to)
{
    const sums_job *job = arg;
    const int64_t row = job->cells * job->cell;
    if (to - from == job->cells) {
        K(sums_range)(job, 0, job->lead * row);
        return;
    }
    for (int64_t r = 0; r < job->lead; r++)
        K(sums_range)(job, r * row + from * job->cell, r * row + to * job->cell);
}

/* Nothing is kept: block number i to sum[i]. */
static void K(sums_whole_piece)(void *arg, int64_t from, int64_t to)
{
    const sums_job *job = arg;
    real room[ATTN__WALK_BLOCK];
    for (int64_t i = from; i < to; i++) {
        const int64_t at = i * ATTN__WALK_BLOCK;
        const int64_t n = attn__min(ATTN__WALK_BLOCK, job->cell - at);
        job->sum[i] = K(sums_strands)(n, attn__each_block(job->e, at, n, room));
    }
}

static double *K(sums_whole)(sums_job *job)
{
    const int64_t blocks = attn__ceil_div(job->cell, ATTN__WALK_BLOCK);
    job->sum = attn__call_temp(job->e->c, blocks + 1, sizeof(double));
    if (!job->sum) return NULL;
    attn__call_share(job->e->c, blocks, 16, K(sums_whole_piece), job);
    double sum = 0;
    for (int64_t i = 0; i < blocks; i++) sum += job->sum[i];
    job->sum[0] = sum;
    return job->sum;
}

/* The sums, dense over the dimensions named by kept, n of them; NULL: no memory. */
static double *K(sums_of)(const attn__each *e, uint32_t kept, int64_t n)
{
    sums_job job = {.e = e, .lead = 1, .cell = 1};
    K(sums_dims)(&job, e->shape, kept);
    const bool leads = job.rank > 0 && job.step[0] == 0;
    for (int i = leads ? 1 : 0; i < job.rank; i++) job.cell *= job.size[i];
    if (job.rank == (leads ? 1 : 0)) {
        job.cell = leads ? job.size[0] : 1;
        return K(sums_whole)(&job);
    }
    if (leads) job.lead = job.size[0];
    job.cells = job.size[leads ? 1 : 0];
    if (job.cells > 0) job.cell /= job.cells;
    job.sum = attn__call_temp(e->c, n, sizeof(double));
    if (!job.sum) return NULL;
    for (int64_t i = 0; i < n; i++) job.sum[i] = 0;
    if (attn_tensor_count(*e->shape) == 0) return job.sum;
    const int64_t grain = attn__max(ATTN__EACH_GRAIN / (job.lead * job.cell), 1);
    attn__call_share(e->c, job.cells, job.cell > 1 ? grain : attn__max(grain, 64),
                     K(sums_piece), &job);
    return job.sum;
}

/* ---- gradients --------------------------------------------------------------------------- */

static void K(sums_add_piece)(void *arg, int64_t from, int64_t to)
{
    const attn__each *e = arg;
    real room[ATTN__WALK_BLOCK];
    for (int64_t i = from; i < to; i += ATTN__WALK_BLOCK) {
        const int64_t n = attn__min(ATTN__WALK_BLOCK, to - i);
        real *restrict y = (real *)e->y->data + i;
        const real *x = attn__each_block(e, i, n, room);
        for (int64_t j = 0; j < n; j++) y[j] += x[j];
    }
}

/* The dimensions of shape along which t does not repeat. */
static uint32_t K(sums_kept)(const attn_tensor *t, const attn_tensor *shape)
{
    uint32_t kept = 0;
    for (int i = 0; i < t->rank; i++) {
        const int at = i + shape->rank - t->rank;
        if (t->shape[i] == shape->shape[at]) kept |= UINT32_C(1) << at;
    }
    return kept;
}

/* d_in[i], which broadcasts to the shape of e, receives what e makes. */
static attn_status K(sums_add)(attn__each *e, int i)
{
    const attn_tensor *d = &e->c->d_in[i];
    const int64_t count = attn_tensor_count(*d);
    e->y = d;
    if (count == attn_tensor_count(*e->shape)) {
        if (e->c->fresh[i])
            attn__each_fill(e, d);
        else
            attn__call_share(e->c, count, ATTN__EACH_GRAIN, K(sums_add_piece), e);
        return ATTN_OK;
    }
    real *y = d->data;
    const double *sum = K(sums_of)(e, K(sums_kept)(d, e->shape), count);
    if (!sum) return ATTN_E_MEMORY;
    for (int64_t j = 0; j < count; j++) y[j] = (real)((double)y[j] + sum[j]);
    return ATTN_OK;
}

#endif
