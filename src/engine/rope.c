/* SPDX-License-Identifier: MIT
 * The rotation as a call of its own, for those who turn keys before they store them.
 *   y_a = x_a cos - x_b sin,  y_b = x_b cos + x_a sin   for the pair (a, b) of angle t
 * Doubles inside, rounded once. */
#include "engine/check_tensor.h"
#include "engine/rotate.h"

typedef struct rope_job {
    attn_tensor x, y;     /* B H T D */
    attn_tensor pos;      /* B T or absent */
    attn_tensor cos, sin; /* B T R/2 or P R/2, or absent */
    bool by_token;        /* the tables have a row for each token */
    attn_rope_spec rope;
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

static void rope_angle(const rope_job *job, double theta, int64_t b, int64_t i, int64_t t,
                       double *c, double *s)
{
    if (!attn__present(&job->cos)) {
        attn__sincos((double)rope_position(job, b, i) * theta, s, c);
        return;
    }
    const int64_t row = job->by_token ? i : rope_position(job, b, i);
    const int64_t first = job->by_token ? b : row, second = job->by_token ? row : t;
    *c = attn__get(job->cos.dtype, attn__at(&job->cos, first, second, t, 0), 0);
    *s = attn__get(job->sin.dtype, attn__at(&job->sin, first, second, t, 0), 0);
}

/* Pair t of one token, in every head. */
static void rope_turn(const rope_job *job, double theta, int64_t b, int64_t i, int64_t t)
{
    const attn_tensor *x = &job->x, *y = &job->y;
    int64_t first, second;
    attn__rotate_pair(job->rope.kind, job->rope.dims, t, &first, &second);
    double c, s;
    rope_angle(job, theta, b, i, t, &c, &s);
    for (int64_t h = 0; h < x->shape[1]; h++) {
        const double u = attn__get(x->dtype, attn__at(x, b, h, i, first), 0);
        const double v = attn__get(x->dtype, attn__at(x, b, h, i, second), 0);
        attn__put(y->dtype, attn__at(y, b, h, i, first), 0, u * c - v * s);
        attn__put(y->dtype, attn__at(y, b, h, i, second), 0, v * c + u * s);
    }
}

static void rope_pair(const rope_job *job, int64_t t)
{
    const double theta = attn__root_power(job->rope.base, t, job->rope.dims / 2);
    for (int64_t b = 0; b < job->x.shape[0]; b++)
        for (int64_t i = 0; i < job->x.shape[2]; i++) rope_turn(job, theta, b, i, t);
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
    const attn__fpenv saved = attn__fpenv_enter();
    for (int64_t t = 0; t < job.rope.dims / 2; t++) rope_pair(&job, t);
    const attn_status status = rope_rest(&job, error);
    attn__fpenv_leave(saved);
    return status;
}
