/* SPDX-License-Identifier: MIT
 * What bodies ask: scratch, operands as dense arrays, sums back onto operands that were
 * broadcast, and threads. */
#include "tape/graph.h"

/* ---- scratch ----------------------------------------------------------------------------- */

/* In front of the memory of a temp; 64 bytes, so that what follows stays aligned. */
typedef struct attn__temp {
    struct attn__temp *next;
    size_t size; /* of head and data */
    char fill[64 - sizeof(void *) - sizeof(size_t)];
} attn__temp;

static bool data_bytes(int64_t count, size_t size, size_t head, size_t *bytes)
{
    return count >= 0 && attn__mul_size((size_t)count, size, bytes) &&
           attn__add_size(*bytes, head, bytes);
}

void *attn__call_temp(attn__call *c, int64_t count, size_t size)
{
    size_t bytes;
    if (!data_bytes(count, size, sizeof(attn__temp), &bytes)) return NULL;
    attn__temp *temp = attn__tape_new(c->tape, bytes);
    if (!temp) return NULL;
    temp->next = c->temps;
    temp->size = bytes;
    c->temps = temp;
    return temp + 1;
}

void attn__call_end(attn__call *c)
{
    while (c->temps) {
        attn__temp *temp = c->temps;
        c->temps = temp->next;
        attn__tape_delete(c->tape, temp, temp->size);
    }
}

void *attn__call_save(attn__call *c, int64_t count, size_t size)
{
    size_t bytes;
    if (!data_bytes(count, size, 0, &bytes)) return NULL;
    attn__block *block = attn__block_new(c->tape, bytes);
    if (!block) return NULL;
    c->saved = attn__block_data(block);
    c->saved_size = bytes;
    return c->saved;
}

/* ---- operands as dense arrays ------------------------------------------------------------ */

static bool data_is_dense(const attn_tensor *t)
{
    int64_t stride = 1;
    for (int d = t->rank - 1; d >= 0; d--) {
        if (t->shape[d] != 1 && t->stride[d] != stride) return false;
        stride *= t->shape[d];
    }
    return true;
}

enum { DATA_GRAIN = 1 << 15 }; /* elements that are worth a thread */

typedef struct data_job {
    const attn__call *c;
    attn_tensor to, from;
    int dim; /* that is cut */
} data_job;

static void data_copy_part(void *arg, int64_t begin, int64_t end)
{
    const data_job *job = arg;
    /* Both are legal and apart, so that this cannot fail. */
    (void)attn_tensor_copy(attn_tensor_slice(job->to, job->dim, begin, end),
                           attn_tensor_slice(job->from, job->dim, begin, end), NULL);
}

void attn__call_copy(const attn__call *c, const attn_tensor *to, const attn_tensor *from)
{
    data_job job = {c, *to, *from, 0};
    const int64_t count = attn_tensor_count(*to);
    if (count == 0) return;
    while (job.dim < to->rank - 1 && to->shape[job.dim] == 1) job.dim++;
    if (to->rank == 0) {
        (void)attn_tensor_copy(*to, *from, NULL);
        return;
    }
    const int64_t n = to->shape[job.dim];
    attn__call_share(c, n, attn__ceil_div(DATA_GRAIN, count / n), data_copy_part, &job);
}

static void data_widen_part(void *arg, int64_t begin, int64_t end)
{
    const data_job *job = arg;
    const size_t size = attn_dtype_size(job->to.dtype);
    const char *from = (const char *)job->from.data + (size_t)begin * sizeof(uint16_t);
    job->c->k->widen[job->from.dtype](end - begin, from,
                                      (char *)job->to.data + (size_t)begin * size);
}

/* A dense array of t's elements in another type. 16-bit floats become reals by the kernels,
 * whatever their strides, so that even the bits of a NaN do not depend on those. */
static const void *data_convert(attn__call *c, const attn_tensor *t, attn_dtype dtype)
{
    const int64_t count = attn_tensor_count(*t);
    const bool half = t->dtype == ATTN_DTYPE_BF16 || t->dtype == ATTN_DTYPE_F16;
    attn_tensor to = attn_tensor_make(NULL, dtype, t->rank, t->shape);
    data_job job = {.c = c, .from = *t};
    to.data = attn__call_temp(c, count, attn_dtype_size(dtype));
    if (!to.data) return NULL;
    if (dtype != c->real || !half) {
        attn__call_copy(c, &to, t);
        return to.data;
    }
    job.to = to;
    if (!data_is_dense(t)) {
        job.from = attn_tensor_make(NULL, t->dtype, t->rank, t->shape);
        job.from.data = attn__call_temp(c, count, sizeof(uint16_t));
        if (!job.from.data) return NULL;
        attn__call_copy(c, &job.from, t);
    }
    attn__call_share(c, count, DATA_GRAIN, data_widen_part, &job);
    return to.data;
}

/* In place when it is that already. */
static const void *data_dense(attn__call *c, const attn_tensor *t, attn_dtype dtype)
{
    const bool there = t->dtype == dtype && attn_tensor_count(*t) > 0 && data_is_dense(t);
    return there ? t->data : data_convert(c, t, dtype);
}

const void *attn__call_reals(attn__call *c, const attn_tensor *t)
{
    return data_dense(c, t, c->real);
}

const int64_t *attn__call_ints(attn__call *c, const attn_tensor *t)
{
    return data_dense(c, t, ATTN_DTYPE_I64);
}

/* Memory that says it is bool may hold any byte, so it is read as numbers. */
const uint8_t *attn__call_bools(attn__call *c, const attn_tensor *t)
{
    const int64_t count = attn_tensor_count(*t);
    attn_tensor from = *t, dense = attn_tensor_make(NULL, ATTN_DTYPE_U8, t->rank, t->shape);
    uint8_t *bools = attn__call_temp(c, count, 1);
    if (!bools) return NULL;
    from.dtype = from.dtype == ATTN_DTYPE_BOOL ? ATTN_DTYPE_U8 : from.dtype;
    dense.data = bools;
    attn__call_copy(c, &dense, &from);
    for (int64_t i = 0; i < count; i++) bools[i] = bools[i] != 0;
    return bools;
}

/* t seen with a wider shape: stride 0 along what it repeats. */
static attn_tensor data_widened(const attn_tensor *t, const attn_tensor *shape)
{
    attn_tensor wide = *t;
    wide.rank = shape->rank;
    for (int d = 0; d < shape->rank; d++) {
        const int at = d - (shape->rank - t->rank);
        const bool full = at >= 0 && t->shape[at] == shape->shape[d];
        wide.shape[d] = shape->shape[d];
        wide.stride[d] = full ? t->stride[at] : 0;
    }
    return wide;
}

const void *attn__call_expand(attn__call *c, const attn_tensor *t, const attn_tensor *shape)
{
    const attn_tensor wide = data_widened(t, shape);
    return attn__call_reals(c, &wide);
}

attn_status attn__call_reduce(attn__call *c, const void *x, const attn_tensor *shape,
                              const attn_tensor *d)
{
    const attn_tensor wide = data_widened(d, shape);
    attn__fold(c, x, &wide);
    return ATTN_OK;
}

/* ---- threads ----------------------------------------------------------------------------- */

enum { SHARE_PIECES = 256 };

typedef struct data_share {
    void (*body)(void *arg, int64_t from, int64_t to);
    void *arg;
    int64_t n, piece;
} data_share;

static void data_share_piece(void *arg, int i)
{
    const data_share *share = arg;
    const int64_t from = i * share->piece;
    const attn__fpenv saved = attn__fpenv_enter();
    share->body(share->arg, from, attn__min(from + share->piece, share->n));
    attn__fpenv_leave(saved);
}

void attn__call_share(const attn__call *c, int64_t n, int64_t grain,
                      void (*body)(void *arg, int64_t from, int64_t to), void *arg)
{
    const int64_t pieces = attn__min(n / attn__max(grain, 1), SHARE_PIECES);
    data_share share = {body, arg, n, attn__ceil_div(n, attn__max(pieces, 1))};
    if (n <= 0) return;
    attn__parallel(c->ctx, (int)attn__ceil_div(n, share.piece), data_share_piece, &share);
}
