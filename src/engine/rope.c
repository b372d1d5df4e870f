/* SPDX-License-Identifier: MIT
 * The rotation as a call of its own, for those who turn keys before they store them.
 *   y_a = x_a cos - x_b sin,  y_b = x_b cos + x_a sin   for the pair (a, b) of angle t
 * Doubles inside, rounded once. A block of pairs at a time: its frequencies, then for every token
 * its angles, then for every head its elements, by the kernels that turn rows in a run. */
#include "engine/check_tensor.h"
#include "engine/rotate.h"

typedef struct rope_job {
    attn_tensor x, y;     /* B H T D */
    attn_tensor pos;      /* B T or absent */
    attn_tensor cos, sin; /* B T R/2 or P R/2, or absent */
    bool by_token;        /* the tables have a row for each token */
    attn_rope_spec rope;
    const attn__kernels *kernels; /* f64 where doubles come or go, else f32 */
} rope_job;

static attn_status rope_tensors(rope_job *job, attn_error *error)
{
    ATTN_TRY(attn__check_lift(&job->x, "x", error));
    ATTN_TRY(attn__check_lift(&job->y, "y", error));
    for (int i = 0; i < 4; i++)
        if (job->x.shape[i] != job->y.shape[i])
            return attn__fail_count(error, ATTN_E_SHAPE, "y", "must have the shape of x",
                                    job->x.shape[i], job->y.shape[i]);
    if (attn__tensor_self_overlap(&job->y))
        return attn__fail(error, ATTN_E_ALIAS, "y", "an output reaches an element twice");
    if (!attn__same_view(&job->x, &job->y) && attn__tensor_overlap(&job->x, &job->y))
        return attn__fail(error, ATTN_E_ALIAS, "y", "overlaps x, and is not x itself");
    return ATTN_OK;
}

static attn_status rope_table(const rope_job *job, const attn_tensor *t, const char *where,
                              attn_error *error)
{
    ATTN_TRY(attn__check_floats(t, where, error));
    const bool by_token = t->rank == 3;
    if (t->rank != 2 && t->rank != 3)
        return attn__fail_count(error, ATTN_E_RANK, where, "must have 2 or 3 dimensions", 2,
                                t->rank);
    if (t->shape[t->rank - 1] != job->rope.dims / 2)
        return attn__fail_count(error, ATTN_E_SHAPE, where, "one angle for each pair",
                                job->rope.dims / 2, t->shape[t->rank - 1]);
    if (by_token && (t->shape[0] != job->x.shape[0] || t->shape[1] != job->x.shape[2]))
        return attn__fail_count(error, ATTN_E_SHAPE, where, "one row for each token",
                                job->x.shape[2], t->shape[1]);
    return ATTN_OK;
}

static int64_t rope_position(const rope_job *job, int64_t b, int64_t i)
{
    const attn_tensor *pos = &job->pos;
    if (!attn__present(pos)) return i;
    return pos->rank == 1 ? attn__int_at(pos, i, 0) : attn__int_at(pos, b, i);
}

static attn_status rope_positions(const rope_job *job, attn_error *error)
{
    const attn_tensor *pos = &job->pos;
    if (!attn__present(pos)) return ATTN_OK;
    ATTN_TRY(attn__check_ints(pos, "pos", error));
    if (pos->rank != 1 && pos->rank != 2)
        return attn__fail_count(error, ATTN_E_RANK, "pos", "must be B T or T", 2, pos->rank);
    if (pos->shape[pos->rank - 1] != job->x.shape[2] ||
        (pos->rank == 2 && pos->shape[0] != job->x.shape[0]))
        return attn__fail_count(error, ATTN_E_SHAPE, "pos", "one position for each token",
                                job->x.shape[2], pos->shape[pos->rank - 1]);
    return ATTN_OK;
}

/* Every position must have its row in the tables. */
static attn_status rope_rows(const rope_job *job, attn_error *error)
{
    if (!attn__present(&job->cos) || job->by_token) return ATTN_OK;
    const int64_t rows = attn__min(job->cos.shape[0], job->sin.shape[0]);
    for (int64_t b = 0; b < job->x.shape[0]; b++)
        for (int64_t i = 0; i < job->x.shape[2]; i++) {
            const int64_t at = rope_position(job, b, i);
            if (at < 0 || at >= rows)
                return attn__fail_count(error, ATTN_E_LENGTH, "pos",
                                        "a position is outside the table of angles", rows, at);
        }
    return ATTN_OK;
}

/* Pairs t .. t + n of all tokens and heads. */
typedef struct rope_block {
    int64_t t, n;
    double theta[ATTN__BLOCK], c[ATTN__BLOCK], s[ATTN__BLOCK];
} rope_block;

/* Cosines and sines of one token. */
static void rope_angles(const rope_job *job, rope_block *block, int64_t b, int64_t i)
{
    const attn_tensor *cosine = &job->cos, *sine = &job->sin;
    if (!attn__present(cosine)) {
        job->kernels->sincos(block->n, (double)rope_position(job, b, i), block->theta, block->c,
                             block->s);
        return;
    }
    const int64_t row = job->by_token ? i : rope_position(job, b, i);
    for (int64_t x = 0; x < block->n; x++) {
        const int64_t t = block->t + x;
        const int64_t at[] = {job->by_token ? b : row, job->by_token ? row : t, t};
        block->c[x] = attn__get(cosine->dtype, attn__at(cosine, at[0], at[1], at[2], 0), 0);
        block->s[x] = attn__get(sine->dtype, attn__at(sine, at[0], at[1], at[2], 0), 0);
    }
}

/* n reals become elements of y. */
static void rope_put(const attn__kernels *k, int64_t n, const void *reals, attn__row to,
                     void *dst)
{
    const attn__row from = {k->dtype, 1};
    if (to.stride == 1)
        k->narrow[to.dtype](n, reals, dst);
    else if (to.dtype != from.dtype)
        attn__convert(to, dst, from, reals, n);
    else
        for (int64_t i = 0; i < n; i++)
            attn__put(to.dtype, dst, i * to.stride, attn__real_get(k, reals, i));
}

/* The pairs are two runs of elements, or one in which they are neighbours. */
static void rope_head(const rope_job *job, const rope_block *block, int64_t b, int64_t h,
                      int64_t i)
{
    const attn_tensor *x = &job->x, *y = &job->y;
    const attn__kernels *k = job->kernels;
    const bool apart = job->rope.kind == ATTN_ROPE_HALF;
    const int64_t runs = apart ? 2 : 1, n = 2 * block->n / runs;
    const bool odd = attn_dtype_size(y->dtype) < attn__real_size(k);
    double memory[2 * ATTN__BLOCK];
    char *run[] = {(char *)memory, (char *)memory + n * (int64_t)attn__real_size(k)};
    int64_t e[2];
    attn__rotate_pair(job->rope.kind, job->rope.dims, block->t, &e[0], &e[1]);
    for (int a = 0; a < runs; a++)
        attn__stage_row(k, x->dtype, attn__at(x, b, h, i, e[a]), x->stride[3], n, run[a]);
    k->turn(block->n, block->c, block->s, apart ? n : 1, odd, memory);
    for (int a = 0; a < runs; a++)
        rope_put(k, n, run[a], (attn__row){y->dtype, y->stride[3]}, attn__at(y, b, h, i, e[a]));
}

static void rope_turn(const rope_job *job, int64_t t)
{
    const int64_t pairs = job->rope.dims / 2;
    rope_block block = {.t = t, .n = attn__min(ATTN__BLOCK, pairs - t)};
    for (int64_t x = 0; x < block.n; x++)
        block.theta[x] = attn__root_power(job->rope.base, t + x, pairs);
    for (int64_t b = 0; b < job->x.shape[0]; b++)
        for (int64_t i = 0; i < job->x.shape[2]; i++) {
            rope_angles(job, &block, b, i);
            for (int64_t h = 0; h < job->x.shape[1]; h++) rope_head(job, &block, b, h, i);
        }
}

static attn_status rope_kernels(rope_job *job, attn_error *error)
{
    const bool wide = job->x.dtype == ATTN_DTYPE_F64 || job->y.dtype == ATTN_DTYPE_F64;
    uint32_t allowed;
    ATTN_TRY(attn__isa_allowed(NULL, &allowed, error));
    job->kernels = attn__kernels_pick(wide ? ATTN_DTYPE_F64 : ATTN_DTYPE_F32, allowed);
    if (job->kernels) return ATTN_OK;
    return attn__fail(error, ATTN_E_ISA, "ctx", "no kernels for these instruction sets");
}

/* The elements beyond R stay. */
static attn_status rope_rest(const rope_job *job, attn_error *error)
{
    const int64_t D = job->x.shape[3];
    if (attn__same_view(&job->x, &job->y)) return ATTN_OK;
    return attn_tensor_copy(attn_tensor_slice(job->y, 3, job->rope.dims, D),
                            attn_tensor_slice(job->x, 3, job->rope.dims, D), error);
}

static attn_status rope_spec(rope_job *job, const attn_rope_spec *rope, attn_error *error)
{
    job->rope = *rope;
    if (rope->kind != ATTN_ROPE_HALF && rope->kind != ATTN_ROPE_INTERLEAVED)
        return attn__fail(error, ATTN_E_ENUM, "rope.kind", "must be half or interleaved");
    return attn__check_rope(&job->rope, job->x.shape[3], error);
}

attn_status attn_rope(const attn_rope_spec *rope, const attn_tensor *x, const attn_tensor *pos,
                      const attn_tensor *cos, const attn_tensor *sin, const attn_tensor *y,
                      attn_error *error)
{
    const attn_tensor none = {0};
    if (!rope || !x || !y || !attn__present(x) || !attn__present(y))
        return attn__fail(error, ATTN_E_NULL, !rope ? "rope" : x ? "y" : "x", "is required");
    rope_job job = {.x = *x,
                    .y = *y,
                    .pos = pos ? *pos : none,
                    .cos = cos ? *cos : none,
                    .sin = sin ? *sin : none};
    ATTN_TRY(rope_tensors(&job, error));
    ATTN_TRY(rope_spec(&job, rope, error));
    ATTN_TRY(rope_positions(&job, error));
    if (attn__present(&job.cos) != attn__present(&job.sin))
        return attn__fail(error, ATTN_E_PARAM, "cos", "cos and sin come together");
    if (attn__present(&job.cos)) {
        ATTN_TRY(rope_table(&job, &job.cos, "cos", error));
        ATTN_TRY(rope_table(&job, &job.sin, "sin", error));
        if (job.cos.rank != job.sin.rank)
            return attn__fail_count(error, ATTN_E_RANK, "sin", "must have the rank of cos",
                                    job.cos.rank, job.sin.rank);
        job.by_token = job.cos.rank == 3;
    }
    if (job.by_token && attn__present(&job.pos))
        return attn__fail(error, ATTN_E_PARAM, "pos", "tables by token take no positions");
    const attn_tensor *read[] = {&job.pos, &job.cos, &job.sin};
    for (int i = 0; i < 3; i++)
        if (attn__present(read[i]) && attn__tensor_overlap(&job.y, read[i]))
            return attn__fail(error, ATTN_E_ALIAS, "y", "overlaps positions or angles");
    ATTN_TRY(rope_rows(&job, error));
    ATTN_TRY(rope_kernels(&job, error));
    const attn__fpenv saved = attn__fpenv_enter();
    for (int64_t t = 0; t < job.rope.dims / 2; t += ATTN__BLOCK) rope_turn(&job, t);
    const attn_status status = rope_rest(&job, error);
    attn__fpenv_leave(saved);
    return status;
}
