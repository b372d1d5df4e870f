/* SPDX-License-Identifier: MIT
 * What an append brings, looked at before anything is written: the check of attn_cache_new, and
 * where row i of its entry b lies. Padded, an entry has T rows of which len count; packed, all
 * entries stand behind each other in one and cu says where. */
#include <float.h>
#include <math.h>

#include "engine/cache_rows.h"
#include "engine/check_tensor.h"

int64_t attn__cache_job_seq(const attn__cache_job *job, int64_t b)
{
    return attn__present(&job->seq) ? attn__int_at(&job->seq, b, 0) : b;
}

int64_t attn__cache_job_len(const attn__cache_job *job, int64_t b)
{
    if (attn__present(&job->cu))
        return attn__int_at(&job->cu, b + 1, 0) - attn__int_at(&job->cu, b, 0);
    return attn__present(&job->len) ? attn__int_at(&job->len, b, 0) : job->k.shape[2];
}

const void *attn__cache_job_row(const attn__cache_job *job, const attn_tensor *t, int64_t b,
                                int64_t g, int64_t i)
{
    if (attn__present(&job->cu)) return attn__at(t, 0, g, attn__int_at(&job->cu, b, 0) + i, 0);
    return attn__at(t, b, g, i, 0);
}

/* ---- one tensor ------------------------------------------------------------------------- */

static attn_status rows_size(const char *where, const char *what, int64_t want, int64_t got,
                             attn_error *error)
{
    if (want == got) return ATTN_OK;
    return attn__fail_count(error, ATTN_E_SHAPE, where, what, want, got);
}

static attn_status rows_list(const attn_tensor *t, const char *where, int64_t n,
                             attn_error *error)
{
    if (!attn__present(t)) return ATTN_OK;
    ATTN_TRY(attn__check_ints(t, where, error));
    if (t->rank != 1)
        return attn__fail_count(error, ATTN_E_RANK, where, "must have 1 dimension", 1, t->rank);
    ATTN_TRY(rows_size(where, "one number for each sequence", n, t->shape[0], error));
    return attn__check_data(t, where, error);
}

/* ---- keys and values -------------------------------------------------------------------- */

static attn_status rows_main(const attn__cache_job *job, attn_tensor *t, const char *where,
                             int64_t width, attn_error *error)
{
    if (!attn__present(t)) return attn__fail(error, ATTN_E_NULL, where, "is required");
    ATTN_TRY(attn__check_lift(t, where, error));
    if (attn__cache_overlaps(job->cache, t))
        return attn__fail(error, ATTN_E_ALIAS, where, "lies in the cache itself");
    ATTN_TRY(
        rows_size(where, "the heads of the cache", job->cache->spec.heads, t->shape[1], error));
    return rows_size(where, "the width of the cache", width, t->shape[3], error);
}

static attn_status rows_values(attn__cache_job *job, attn_error *error)
{
    const attn_cache_spec *s = &job->cache->spec;
    if (s->latent) {
        if (!attn__present(&job->v)) return ATTN_OK;
        return attn__fail(error, ATTN_E_PARAM, "v", "is part of k in a latent cache");
    }
    ATTN_TRY(rows_main(job, &job->v, "v", s->value_width, error));
    ATTN_TRY(rows_size("v", "the batch of k", job->k.shape[0], job->v.shape[0], error));
    return rows_size("v", "the rows of k", job->k.shape[2], job->v.shape[2], error);
}

/* Finite as a float too, which is what coding starts from. */
static bool rows_number(double x)
{
    return fabs(x) <= (double)FLT_MAX;
}

static bool rows_numbers(const attn__cache_job *job, const attn_tensor *t, const void *row)
{
    const int64_t width = t->shape[3];
    float low, high;
    if (t->dtype == ATTN_DTYPE_F32 && t->stride[3] == 1 && width > 0)
        return job->cache->kernels->extent(width, row, &low, &high);
    for (int64_t d = 0; d < width; d++)
        if (!rows_number(attn__get(t->dtype, row, d * t->stride[3]))) return false;
    return true;
}

static bool rows_all_numbers(const attn__cache_job *job, const attn_tensor *t)
{
    for (int64_t b = 0; b < job->B; b++)
        for (int64_t i = 0, n = attn__cache_job_len(job, b); i < n; i++)
            for (int64_t g = 0; g < t->shape[1]; g++)
                if (!rows_numbers(job, t, attn__cache_job_row(job, t, b, g, i))) return false;
    return true;
}

/* Scales by column are given once: no place is left where an inf or a NaN could be kept. */
static attn_status rows_finite(const attn__cache_job *job, int side, const attn_tensor *t,
                               const char *where, attn_error *error)
{
    if (!job->cache->side[side].by_column || !attn__present(t)) return ATTN_OK;
    const attn__fpenv saved = attn__fpenv_enter(); /* looking at an inf raises nothing */
    const bool finite = rows_all_numbers(job, t);
    attn__fpenv_leave(saved);
    if (finite) return ATTN_OK;
    return attn__fail(error, ATTN_E_PARAM, where,
                      "scales by column keep what is finite as f32");
}

/* ---- sequences -------------------------------------------------------------------------- */

static attn_status rows_batch(attn__cache_job *job, attn_error *error)
{
    const bool packed = attn__present(&job->cu);
    if (packed && (job->cu.rank != 1 || job->cu.shape[0] < 1))
        return attn__fail(error, ATTN_E_CUSEQ, "cu",
                          "needs one dimension of at least 1 element");
    if (packed && attn__present(&job->len))
        return attn__fail(error, ATTN_E_PARAM, "len", "packed sequences take no lengths");
    if (packed)
        ATTN_TRY(rows_size("k", "packed rows have a batch of 1", 1, job->k.shape[0], error));
    job->B = packed ? job->cu.shape[0] - 1 : job->k.shape[0];
    ATTN_TRY(rows_list(&job->cu, "cu", job->B + 1, error));
    ATTN_TRY(rows_list(&job->len, "len", job->B, error));
    ATTN_TRY(rows_list(&job->seq, "seq", job->B, error));
    ATTN_TRY(attn__data_cu(&job->cu, "cu", job->k.shape[2], error));
    return attn__data_range(&(attn_tensor){0}, &job->len, "len", job->k.shape[2], job->B,
                            error);
}

/* Which entry is the first that names no sequence, or one that was named before; B if none is. */
static int64_t rows_wrong_seq(const attn__cache_job *job)
{
    const attn_cache *c = job->cache;
    int64_t b = 0;
    for (; b < job->B; b++) {
        const int64_t seq = attn__cache_job_seq(job, b);
        if (seq < 0 || seq >= c->spec.sequences || c->taken[seq]) break;
        c->taken[seq] = true;
    }
    for (int64_t i = 0; i < b; i++) c->taken[attn__cache_job_seq(job, i)] = false;
    return b;
}

static attn_status rows_sequences(const attn__cache_job *job, attn_error *error)
{
    const int64_t b = rows_wrong_seq(job), n = job->cache->spec.sequences;
    if (b == job->B) return ATTN_OK;
    const int64_t seq = attn__cache_job_seq(job, b);
    const bool there = seq >= 0 && seq < n;
    return attn__fail_count(error, there ? ATTN_E_DUP : ATTN_E_PAGE, "seq",
                            there ? "names a sequence twice" : "there is no such sequence",
                            there ? 1 : n, there ? 2 : seq);
}

/* Before a row is looked at: there may be 2^47 of them. */
static attn_status rows_room(const attn__cache_job *job, attn_error *error)
{
    const attn_cache *c = job->cache;
    for (int64_t b = 0; b < job->B; b++) {
        const int64_t length = c->length[attn__cache_job_seq(job, b)];
        const int64_t n = attn__cache_job_len(job, b);
        if (n > c->spec.longest - length)
            return attn__fail_count(error, ATTN_E_FULL, "longest",
                                    "a sequence would become too long", c->spec.longest,
                                    length + n);
    }
    return ATTN_OK;
}

/* ---- rotation --------------------------------------------------------------------------- */

static attn_status rows_table(const attn__cache_job *job, const attn_tensor *t,
                              const char *where, attn_error *error)
{
    ATTN_TRY(attn__check_floats(t, where, error));
    if (t->rank != 2)
        return attn__fail_count(error, ATTN_E_RANK, where, "must have 2 dimensions", 2,
                                t->rank);
    ATTN_TRY(rows_size(where, "one angle for each pair", job->R / 2, t->shape[1], error));
    return attn__check_data(t, where, error);
}

static attn_status rows_positions(const attn__cache_job *job, attn_error *error)
{
    const attn_tensor *pos = &job->pos;
    if (!attn__present(pos)) return ATTN_OK;
    ATTN_TRY(attn__check_ints(pos, "rope_pos", error));
    if (pos->rank != 2)
        return attn__fail_count(error, ATTN_E_RANK, "rope_pos", "must be B T", 2, pos->rank);
    ATTN_TRY(rows_size("rope_pos", "the batch of k", job->k.shape[0], pos->shape[0], error));
    ATTN_TRY(rows_size("rope_pos", "the rows of k", job->k.shape[2], pos->shape[1], error));
    return attn__check_data(pos, "rope_pos", error);
}

/* Every position must have its row in the tables, of numbers where those must be. */
static attn_status rows_angle(const attn__cache_job *job, int64_t at, attn_error *error)
{
    const int64_t rows = attn__min(job->cos.shape[0], job->sin.shape[0]);
    if (at < 0 || at >= rows)
        return attn__fail_count(error, ATTN_E_LENGTH, "rope_cos",
                                "a position is outside the table of angles", rows, at);
    for (int64_t t = 0; job->cache->side[0].by_column && t < job->R / 2; t++)
        if (!rows_number(attn__float_at(&job->cos, at, t)) ||
            !rows_number(attn__float_at(&job->sin, at, t)))
            return attn__fail(error, ATTN_E_PARAM, "rope_cos",
                              "scales by column keep what is finite as f32");
    return ATTN_OK;
}

static attn_status rows_angles(const attn__cache_job *job, attn_error *error)
{
    if (!attn__present(&job->cos)) return ATTN_OK;
    for (int64_t b = 0; b < job->B; b++)
        for (int64_t i = 0, n = attn__cache_job_len(job, b); i < n; i++) {
            const int64_t first = job->cache->length[attn__cache_job_seq(job, b)];
            ATTN_TRY(rows_angle(job, attn__cache_job_position(job, b, i, first + i), error));
        }
    return ATTN_OK;
}

int64_t attn__cache_job_position(const attn__cache_job *job, int64_t b, int64_t i,
                                 int64_t position)
{
    if (!attn__present(&job->pos)) return position;
    if (attn__present(&job->cu))
        return attn__int_at(&job->pos, 0, attn__int_at(&job->cu, b, 0) + i);
    return attn__int_at(&job->pos, b, i);
}

static attn_status rows_rope_spec(attn__cache_job *job, const attn_rope_spec *rope,
                                  attn_error *error)
{
    if ((unsigned)rope->kind > ATTN_ROPE_INTERLEAVED)
        return attn__fail(error, ATTN_E_ENUM, "rope.kind", "not an attn_rope_kind");
    const bool on = rope->kind != ATTN_ROPE_NONE;
    const attn_tensor *const extras[] = {&job->cos, &job->sin, &job->pos};
    static const char *const names[] = {"rope_cos", "rope_sin", "rope_pos"};
    for (int i = 0; i < 3; i++)
        if (!on && attn__present(extras[i]))
            return attn__fail(error, ATTN_E_PARAM, names[i], "needs rope");
    job->rope = *rope;
    ATTN_TRY(attn__check_rope(&job->rope, job->cache->spec.key_width, error));
    job->R = on ? job->rope.dims : 0;
    return ATTN_OK;
}

static attn_status rows_rope(attn__cache_job *job, const attn_rope_spec *rope,
                             attn_error *error)
{
    ATTN_TRY(rows_rope_spec(job, rope, error));
    if (attn__present(&job->cos) != attn__present(&job->sin))
        return attn__fail(error, ATTN_E_PARAM, "rope_cos", "cos and sin come together");
    if (attn__present(&job->cos)) {
        ATTN_TRY(rows_table(job, &job->cos, "rope_cos", error));
        ATTN_TRY(rows_table(job, &job->sin, "rope_sin", error));
    }
    ATTN_TRY(rows_positions(job, error));
    return rows_angles(job, error);
}

attn_status attn__cache_job_check(attn__cache_job *job, attn_cache *cache,
                                  const attn_cache_new *rows, attn_error *error)
{
    if (!cache || !rows)
        return attn__fail(error, ATTN_E_NULL, cache ? "rows" : "cache", "is required");
    if (!attn__cache_alive(cache))
        return attn__fail(error, ATTN_E_HANDLE, "cache", "not a live cache");
    if (rows->size != sizeof *rows)
        return attn__fail_count(error, ATTN_E_VERSION, "rows",
                                "size must be that of attn_cache_new: use ATTN_CACHE_NEW()",
                                (int64_t)sizeof *rows, (int64_t)rows->size);
    *job = (attn__cache_job){.cache = cache,
                             .k = rows->k,
                             .v = rows->v,
                             .seq = rows->seq,
                             .len = rows->len,
                             .cu = rows->cu,
                             .cos = rows->rope_cos,
                             .sin = rows->rope_sin,
                             .pos = rows->rope_pos};
    ATTN_TRY(rows_main(job, &job->k, "k", cache->spec.key_width, error));
    ATTN_TRY(rows_values(job, error));
    ATTN_TRY(rows_batch(job, error));
    ATTN_TRY(rows_sequences(job, error));
    ATTN_TRY(rows_room(job, error));
    ATTN_TRY(rows_rope(job, &rows->rope, error));
    ATTN_TRY(rows_finite(job, 0, &job->k, "k", error));
    return rows_finite(job, 1, &job->v, "v", error);
}
