/* SPDX-License-Identifier: MIT
 * A product of matrices in blocks: c = a b or c += a b for every item of a batch.
 *
 * A task is a rectangle of c of one item. It walks the blocks of 256 k in ascending order; the
 * rows of b of a block pass through scratch (pack_b) when they are not reals side by side, or
 * lie so far apart and are read so often that copying pays; rows of a (pack_a) when they are
 * not reals, or walk across memory. What is read once is read where it lies. c passes through
 * scratch (stage_c) when it is narrower than the arithmetic or its columns are apart. None of
 * this shows in a bit: each number is the same chain. */
#include "tape/tape.h"

#include <stdatomic.h>
#include <string.h>

enum {
    PRODUCT_BLOCK = 256,           /* k summed in one chain; part of the numeric contract */
    PRODUCT_PANEL_BYTES = 1 << 19, /* of b in a block: half of a common second-level cache */
    PRODUCT_NEAR = 1 << 18,        /* bytes of b that stay near while rows of a pass */
    PRODUCT_RUN = 1 << 13,         /* numbers of one row of a, at most, in a pass of tiles */
    PRODUCT_STAGED = 256,          /* rows of c in scratch */
    PRODUCT_TILES = 16,            /* of rows packed at once */
    PRODUCT_TASKS = 4,             /* for each thread */
    PRODUCT_ALONE = 1 << 19        /* multiply-adds that one thread does alone */
};

typedef struct product_scratch {
    size_t a, b, turn, c, bytes; /* offsets, and their end */
} product_scratch;

typedef struct product_job {
    attn__product *p;
    product_scratch at;
    char *scratch;
    int64_t n_rows, n_cols, n_tasks, grain; /* tasks down and across an item, all, at once */
    _Atomic int64_t next;
} product_job;

/* The rectangle of one task. */
typedef struct product_task {
    const attn__product *p;
    attn__matrix a, b, c; /* at its corner */
    int64_t rows, cols;
    char *pack_a, *pack_b, *turn, *stage;
} product_task;

/* ---- choices ----------------------------------------------------------------------------- */

static int64_t product_size(const attn__product *p)
{
    return (int64_t)attn_dtype_size(p->k->dtype);
}

static int64_t product_magnitude(int64_t x)
{
    return x < 0 ? -x : x;
}

static int64_t product_up(int64_t n, int64_t step)
{
    return attn__ceil_div(n, step) * step;
}

static void product_choose(attn__product *p)
{
    const attn_dtype real = p->k->dtype;
    const int64_t page = 4096, size = product_size(p);
    const bool far = product_magnitude(p->b.row) * size >= page && p->M >= 256 && p->K > 64;
    p->pack_b = p->K > 0 && (p->b.dtype != real || (p->N > 1 && p->b.col != 1) || far);
    p->pack_a =
        p->a.dtype != real || (p->K > 1 && p->a.col != 1 && p->M > 1 && p->N > p->k->gemm_cols);
    p->stage_c = p->c.dtype != real || (p->N > 1 && p->c.col != 1);
}

/* Threads cost some microseconds: a small product is done by the caller. */
static int product_threads(const attn__product *p)
{
    const double work = (double)p->items * (double)p->M * (double)p->N * (double)p->K;
    return work < PRODUCT_ALONE ? 1 : attn_ctx_threads(p->ctx);
}

/* Halves tasks until every thread has some, in the direction that costs less packing. */
static void product_divide(attn__product *p, int threads)
{
    const int64_t tile = p->k->gemm_rows, panel = p->k->gemm_cols;
    const int64_t wide = PRODUCT_PANEL_BYTES / (PRODUCT_BLOCK * product_size(p));
    const int64_t panels = attn__ceil_div(p->N, panel);
    int64_t down = p->stage_c ? attn__ceil_div(p->M, PRODUCT_STAGED) : 1;
    int64_t across = attn__ceil_div(panels * panel, wide);
    for (;;) {
        p->rows = product_up(attn__ceil_div(p->M, down), tile);
        p->cols = attn__ceil_div(panels, across) * panel;
        if (threads == 1 || p->items * down * across >= threads * PRODUCT_TASKS) return;
        const bool can_down = p->rows >= 8 * tile, can_across = p->cols >= 4 * panel;
        const int64_t cost_down = p->pack_b ? p->cols : 0,
                      cost_across = p->pack_a ? p->rows : 0;
        if (!can_down && !can_across) return;
        if (can_down && (!can_across || cost_down <= cost_across))
            down *= 2;
        else
            across *= 2;
    }
}

/* ---- memory ------------------------------------------------------------------------------ */

/* Whether panels of b must be turned from rows in scratch, not from where they lie. */
static bool product_turns(const attn__product *p)
{
    return p->pack_b && p->b.col != 1 && !(p->b.dtype == p->k->dtype && p->b.row == 1);
}

static size_t product_part(size_t *bytes, bool used, int64_t rows, int64_t cols, int64_t size)
{
    const size_t at = *bytes;
    if (used) *bytes += (size_t)product_up(rows * cols * size, 64);
    return at;
}

static product_scratch product_layout(const attn__product *p)
{
    const int64_t size = product_size(p), depth = attn__min(p->K, PRODUCT_BLOCK);
    const int64_t tiles = PRODUCT_TILES * p->k->gemm_rows, panel = p->k->gemm_cols;
    product_scratch s = {0};
    s.a = product_part(&s.bytes, p->pack_a, tiles, depth, size);
    s.b = product_part(&s.bytes, p->pack_b, p->cols, depth, size);
    s.turn = product_part(&s.bytes, product_turns(p), panel, depth, size);
    s.c = product_part(&s.bytes, p->stage_c, p->rows, p->cols, size);
    return s;
}

/* ---- moving numbers ---------------------------------------------------------------------- */

/* dst[i * to] = src[i * from], elements of 4 or 8 bytes. */
static void product_move(int64_t size, char *dst, int64_t to, const char *src, int64_t from,
                         int64_t n)
{
    if (size == 8)
        for (int64_t i = 0; i < n; i++) memcpy(dst + i * to * 8, src + i * from * 8, 8);
    else
        for (int64_t i = 0; i < n; i++) memcpy(dst + i * to * 4, src + i * from * 4, 4);
}

/* n numbers of a matrix, stride apart, to reals side by side. */
static void product_fetch(const attn__product *p, const attn__matrix *x, const char *src,
                          int64_t stride, int64_t n, char *dst)
{
    const attn_dtype real = p->k->dtype;
    if (stride == 1)
        p->k->widen[x->dtype](n, src, dst);
    else if (x->dtype == real)
        product_move(product_size(p), dst, 1, src, stride, n);
    else
        attn__convert((attn__row){real, 1}, dst, (attn__row){x->dtype, stride}, src, n);
}

static char *product_at(const attn__matrix *x, int64_t row, int64_t col)
{
    return x->data + (row * x->row + col * x->col) * (int64_t)attn_dtype_size(x->dtype);
}

/* Rows of a as they are, or, when they walk across memory, as [depth][rows]. */
static void product_pack_a(const product_task *t, int64_t i, int64_t rows, int64_t k,
                           attn__gemm *g)
{
    const attn__product *p = t->p;
    const int64_t size = product_size(p), most = PRODUCT_TILES * p->k->gemm_rows;
    const bool across = t->a.row == 1 && t->a.col != 1;
    g->a = t->pack_a;
    g->a_row = across ? 1 : g->depth;
    g->a_step = across ? most : 1;
    for (int64_t d = 0; across && d < g->depth; d++)
        product_fetch(p, &t->a, product_at(&t->a, i, k + d), 1, rows,
                      t->pack_a + d * most * size);
    for (int64_t r = 0; !across && r < rows; r++)
        product_fetch(p, &t->a, product_at(&t->a, i + r, k), t->a.col, g->depth,
                      t->pack_a + r * g->depth * size);
}

/* Columns of a panel that lie along k are rows to turn. */
static void product_turn_panel(const product_task *t, int64_t k, int64_t j, int64_t n, int w,
                               int64_t depth, char *to)
{
    const attn__product *p = t->p;
    const void *column[ATTN__PANEL];
    for (int64_t i = 0; i < n; i++) {
        char *copy = t->turn + i * depth * product_size(p);
        column[i] = product_at(&t->b, k, j + i);
        if (!product_turns(p)) continue;
        product_fetch(p, &t->b, column[i], t->b.row, depth, copy);
        column[i] = copy;
    }
    p->k->pack((int)n, w, depth, column, 1.0, to);
}

static void product_pack_b(const product_task *t, int64_t k, attn__gemm *g)
{
    const attn__product *p = t->p;
    const int64_t size = product_size(p), panel = p->k->gemm_cols;
    const int64_t w = attn__min(panel, product_up(g->n, p->k->step));
    g->b = t->pack_b;
    g->b_row = w;
    g->b_panel = w * g->depth;
    for (int64_t j = 0; j < g->n; j += panel) {
        const int64_t n = attn__min(panel, g->n - j);
        char *to = t->pack_b + j * g->depth * size;
        if (t->b.col != 1 && p->N > 1)
            product_turn_panel(t, k, j, n, (int)w, g->depth, to);
        else
            for (int64_t d = 0; d < g->depth; d++)
                p->k->widen[t->b.dtype](n, product_at(&t->b, k + d, j), to + d * w * size);
    }
}

/* Rows of c into scratch (in), or back. */
static void product_stage(const product_task *t, bool in)
{
    const attn__product *p = t->p;
    const attn_dtype real = p->k->dtype;
    for (int64_t i = 0; i < t->rows; i++) {
        char *c = product_at(&t->c, i, 0), *row = t->stage + i * p->cols * product_size(p);
        if (in)
            product_fetch(p, &t->c, c, t->c.col, t->cols, row);
        else if (t->c.dtype == real)
            product_move(product_size(p), c, t->c.col, row, 1, t->cols);
        else
            attn__convert((attn__row){t->c.dtype, t->c.col}, c, (attn__row){real, 1}, row,
                          t->cols);
    }
}

/* ---- a task ------------------------------------------------------------------------------ */

/* One block of k for rows [i, i + rows) of the task. */
static void product_block(const product_task *t, int64_t i, int64_t rows, int64_t k)
{
    const attn__product *p = t->p;
    const int64_t size = product_size(p), tiles = PRODUCT_TILES * p->k->gemm_rows;
    const attn__matrix c =
        p->stage_c ? (attn__matrix){t->stage, p->k->dtype, p->cols, 1} : t->c;
    const int64_t step = p->pack_a ? tiles : rows;
    attn__gemm g = {.n = t->cols,
                    .depth = attn__min(PRODUCT_BLOCK, p->K - k),
                    .a_row = t->a.row,
                    .a_step = t->a.col,
                    .b = product_at(&t->b, k, 0),
                    .b_row = t->b.row,
                    .b_panel = p->k->gemm_cols,
                    .c_row = c.row,
                    .fresh = k == 0 && !p->add};
    if (p->pack_b) product_pack_b(t, k, &g);
    for (int64_t r = i; r < i + rows; r += step) {
        g.m = attn__min(step, i + rows - r);
        g.a = product_at(&t->a, r, k);
        g.c = c.data + r * c.row * size;
        if (p->pack_a) product_pack_a(t, r, g.m, k, &g);
        p->k->gemm(&g);
    }
}

/* Rows that go through all of k together: all of the task, block by block; or, where b stays
 * near, so few that long rows of a are read in one go. */
static int64_t product_pass(const product_task *t)
{
    const attn__product *p = t->p;
    const bool near = p->K <= PRODUCT_NEAR / product_size(p) / t->cols;
    if (p->pack_b || !near) return t->rows;
    return p->k->gemm_rows * attn__max(1, PRODUCT_RUN / attn__max(p->K, 1));
}

static void product_rectangle(const product_task *t)
{
    const attn__product *p = t->p;
    const int64_t step = product_pass(t);
    if (p->stage_c && p->add) product_stage(t, true);
    for (int64_t i = 0; i < t->rows; i += step)
        for (int64_t k = 0; k == 0 || k < p->K; k += PRODUCT_BLOCK)
            product_block(t, i, attn__min(step, t->rows - i), k);
    if (p->stage_c) product_stage(t, false);
}

void attn__product_item(const attn__product *p, int64_t i, attn__matrix *a, attn__matrix *b,
                        attn__matrix *c)
{
    int64_t at_a = 0, at_b = 0, at_c = 0;
    for (int d = 0; d < p->n_dims; d++) {
        const attn__batch_dim *dim = &p->dims[d];
        const int64_t index = i % dim->n;
        i /= dim->n;
        at_a += index * dim->a;
        at_b += index * dim->b;
        at_c += index * dim->c;
    }
    *a = p->a, *b = p->b, *c = p->c;
    a->data += at_a * (int64_t)attn_dtype_size(a->dtype);
    b->data += at_b * (int64_t)attn_dtype_size(b->dtype);
    c->data += at_c * (int64_t)attn_dtype_size(c->dtype);
}

static void product_task_run(const product_job *job, char *scratch, int64_t index)
{
    const attn__product *p = job->p;
    const int64_t each = job->n_rows * job->n_cols;
    const int64_t row = index % each % job->n_rows * p->rows;
    const int64_t col = index % each / job->n_rows * p->cols;
    product_task t = {
        .p = p, .rows = attn__min(p->rows, p->M - row), .cols = attn__min(p->cols, p->N - col)};
    attn__product_item(p, index / each, &t.a, &t.b, &t.c);
    t.a.data = product_at(&t.a, row, 0);
    t.b.data = product_at(&t.b, 0, col);
    t.c.data = product_at(&t.c, row, col);
    if (scratch) {
        t.pack_a = scratch + job->at.a;
        t.pack_b = scratch + job->at.b;
        t.turn = scratch + job->at.turn;
        t.stage = scratch + job->at.c;
    }
    product_rectangle(&t);
}

/* ---- all of them ------------------------------------------------------------------------- */

static void product_worker(void *arg, int thread)
{
    product_job *job = arg;
    char *scratch = job->scratch ? job->scratch + (size_t)thread * job->at.bytes : NULL;
    const attn__fpenv saved = attn__fpenv_enter();
    for (;;) {
        const int64_t first =
            atomic_fetch_add_explicit(&job->next, job->grain, memory_order_relaxed);
        const int64_t last = attn__min(first + job->grain, job->n_tasks);
        if (first >= job->n_tasks) break;
        for (int64_t i = first; i < last; i++) product_task_run(job, scratch, i);
    }
    attn__fpenv_leave(saved);
}

attn_status attn__product_run(attn__product *p)
{
    product_choose(p);
    const int threads = product_threads(p);
    product_divide(p, threads);
    product_job job = {.p = p,
                       .at = product_layout(p),
                       .n_rows = attn__ceil_div(p->M, p->rows),
                       .n_cols = attn__ceil_div(p->N, p->cols)};
    job.n_tasks = p->items * job.n_rows * job.n_cols;
    const int workers = (int)attn__min(threads, job.n_tasks);
    job.grain = attn__max(1, job.n_tasks / (workers * 4 * PRODUCT_TASKS));
    const size_t bytes = (size_t)workers * job.at.bytes;
    if (bytes && !(job.scratch = attn__new(p->ctx, bytes))) return ATTN_E_MEMORY;
    attn__parallel(p->ctx, workers, product_worker, &job);
    if (job.scratch) attn__delete(p->ctx, job.scratch, bytes);
    return ATTN_OK;
}
