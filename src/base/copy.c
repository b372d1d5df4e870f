/* SPDX-License-Identifier: MIT
 * attn_tensor_copy: dst[index] = src[index] for every index, any strides, any two types.
 *
 * The dimensions are put in the order of dst's memory and neighbours that lie seamlessly behind
 * each other in both tensors are joined, so that a dense copy becomes one run. The innermost
 * dimension is a row; the others are counted through like an odometer. */
#include "base/base.h"

#include <string.h>

typedef struct copy_dim {
    int64_t n, dst, src; /* extent, strides in elements */
} copy_dim;

typedef struct copy_job copy_job;
struct copy_job {
    void (*row)(const copy_job *job, char *dst, const char *src);
    attn_dtype dst_dtype, src_dtype;
    int n_outer;
    copy_dim outer[ATTN_MAX_RANK]; /* innermost last */
    copy_dim inner;
};

static int64_t copy_magnitude(int64_t x)
{
    return x < 0 ? -x : x;
}

/* ---- rows -------------------------------------------------------------------------------- */

static void copy_row_run(const copy_job *job, char *dst, const char *src)
{
    memcpy(dst, src, (size_t)job->inner.n * attn_dtype_size(job->dst_dtype));
}

static void copy_row_convert(const copy_job *job, char *dst, const char *src)
{
    attn__row to = {job->dst_dtype, job->inner.dst}, from = {job->src_dtype, job->inner.src};
    attn__convert(to, dst, from, src, job->inner.n);
}

/* Called with a literal size, which turns memcpy into one move. */
static inline void copy_row_sized(const copy_job *job, char *dst, const char *src, int64_t size)
{
    int64_t to = job->inner.dst * size, from = job->inner.src * size;
    for (int64_t i = 0; i < job->inner.n; i++)
        memcpy(dst + i * to, src + i * from, (size_t)size);
}

static void copy_row_1(const copy_job *job, char *dst, const char *src)
{
    copy_row_sized(job, dst, src, 1);
}

static void copy_row_2(const copy_job *job, char *dst, const char *src)
{
    copy_row_sized(job, dst, src, 2);
}

static void copy_row_4(const copy_job *job, char *dst, const char *src)
{
    copy_row_sized(job, dst, src, 4);
}

static void copy_row_8(const copy_job *job, char *dst, const char *src)
{
    copy_row_sized(job, dst, src, 8);
}

/* ---- the job ----------------------------------------------------------------------------- */

/* Dimensions of extent 1 say nothing; the rest by descending stride in dst. */
static int copy_sort(const attn_tensor *dst, const attn_tensor *src, copy_dim *dims)
{
    int n = 0;
    for (int i = 0; i < dst->rank; i++) {
        copy_dim d = {dst->shape[i], dst->stride[i], src->stride[i]};
        if (d.n == 1) continue;
        int j = n++;
        for (; j > 0 && copy_magnitude(dims[j - 1].dst) < copy_magnitude(d.dst); j--)
            dims[j] = dims[j - 1];
        dims[j] = d;
    }
    return n;
}

static int copy_join(copy_dim *dims, int n)
{
    int kept = 0;
    for (int i = 0; i < n; i++) {
        copy_dim *outer = kept ? &dims[kept - 1] : NULL;
        copy_dim d = dims[i];
        bool seamless = outer && outer->dst == d.dst * d.n && outer->src == d.src * d.n;
        if (seamless)
            *outer = (copy_dim){outer->n * d.n, d.dst, d.src};
        else
            dims[kept++] = d;
    }
    return kept;
}

static void copy_choose_row(copy_job *job)
{
    static void (*const by_size[])(const copy_job *, char *, const char *) = {
        [1] = copy_row_1, [2] = copy_row_2, [4] = copy_row_4, [8] = copy_row_8};
    bool dense = job->inner.dst == 1 && job->inner.src == 1;
    if (job->dst_dtype != job->src_dtype)
        job->row = copy_row_convert;
    else
        job->row = dense ? copy_row_run : by_size[attn_dtype_size(job->dst_dtype)];
}

static copy_job copy_plan(const attn_tensor *dst, const attn_tensor *src)
{
    copy_job job = {.dst_dtype = dst->dtype, .src_dtype = src->dtype, .inner = {1, 1, 1}};
    int n = copy_join(job.outer, copy_sort(dst, src, job.outer));
    if (n > 0) job.inner = job.outer[--n];
    job.n_outer = n;
    copy_choose_row(&job);
    return job;
}

static void copy_run(const copy_job *job, char *dst, const char *src)
{
    int64_t to = (int64_t)attn_dtype_size(job->dst_dtype);
    int64_t from = (int64_t)attn_dtype_size(job->src_dtype);
    int64_t at[ATTN_MAX_RANK] = {0};
    for (;;) {
        job->row(job, dst, src);
        int d = job->n_outer - 1;
        for (; d >= 0 && ++at[d] == job->outer[d].n; d--) {
            dst -= (job->outer[d].n - 1) * job->outer[d].dst * to;
            src -= (job->outer[d].n - 1) * job->outer[d].src * from;
            at[d] = 0;
        }
        if (d < 0) return;
        dst += job->outer[d].dst * to;
        src += job->outer[d].src * from;
    }
}

/* ---- the call ---------------------------------------------------------------------------- */

static attn_status copy_check_shape(const attn_tensor *dst, const attn_tensor *src,
                                    attn_error *error)
{
    if (dst->rank != src->rank)
        return attn__fail_count(error, ATTN_E_RANK, "src", "rank must equal that of dst",
                                dst->rank, src->rank);
    for (int i = 0; i < dst->rank; i++)
        if (dst->shape[i] != src->shape[i])
            return attn__fail_count(error, ATTN_E_SHAPE, "src", "shape must equal that of dst",
                                    dst->shape[i], src->shape[i]);
    return ATTN_OK;
}

static bool copy_is_same_view(const attn_tensor *a, const attn_tensor *b)
{
    bool same = a->data == b->data && a->dtype == b->dtype;
    for (int i = 0; i < a->rank; i++)
        same = same && (a->shape[i] == 1 || a->stride[i] == b->stride[i]);
    return same;
}

attn_status attn_tensor_copy(attn_tensor dst, attn_tensor src, attn_error *error)
{
    ATTN_TRY(attn__tensor_check(&dst, "dst", error));
    ATTN_TRY(attn__tensor_check(&src, "src", error));
    ATTN_TRY(copy_check_shape(&dst, &src, error));
    if (attn_tensor_count(dst) == 0) return ATTN_OK;
    if (!dst.data || !src.data)
        return attn__fail(error, ATTN_E_NULL, dst.data ? "src" : "dst", "data is NULL");
    if (attn__tensor_self_overlap(&dst))
        return attn__fail(error, ATTN_E_ALIAS, "dst", "two of its elements share memory");
    if (copy_is_same_view(&dst, &src)) return ATTN_OK;
    if (attn__tensor_overlap(&dst, &src))
        return attn__fail(error, ATTN_E_ALIAS, "dst", "it overlaps src");
    copy_job job = copy_plan(&dst, &src);
    copy_run(&job, dst.data, src.data);
    return ATTN_OK;
}
