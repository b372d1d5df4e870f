/* SPDX-License-Identifier: MIT
 * Merging results over disjoint sets of keys. Part r with output o_r and log-sum-exp L_r stands for
 * sums exp(L_r) and exp(L_r) o_r; with M the largest L_r,
 *   out = sum_r exp(L_r - M) o_r / sum_r exp(L_r - M),    lse = M + log sum_r exp(L_r - M),
 * in doubles, in the order given. */
#include <float.h>
#include <math.h>

#include "engine/engine.h"

static attn_status merge_same(const attn_tensor *t, const attn_tensor *like, int rank,
                              const char *where, attn_error *error)
{
    ATTN_TRY(attn__tensor_check(t, where, error));
    if (!attn__dtype_is_float(t->dtype))
        return attn__fail(error, ATTN_E_DTYPE, where, "must be f64, f32, bf16 or f16");
    if (t->rank != rank)
        return attn__fail_count(error, ATTN_E_RANK, where, "has another rank than its fellows",
                                rank, t->rank);
    for (int i = 0; i < rank; i++)
        if (t->shape[i] != like->shape[i])
            return attn__fail_count(error, ATTN_E_SHAPE, where, "has another shape than its fellows",
                                    like->shape[i], t->shape[i]);
    if (!t->data && attn_tensor_count(*t) > 0)
        return attn__fail(error, ATTN_E_NULL, where, "has elements but no data");
    return ATTN_OK;
}

static attn_status merge_check(int64_t n, const attn_tensor *outs, const attn_tensor *lses,
                               const attn_tensor *out, const attn_tensor *lse, attn_error *error)
{
    const bool with_out = out && attn__present(out);
    if (n < 1 || !outs || !lses)
        return attn__fail(error, n < 0 ? ATTN_E_PARAM : ATTN_E_NULL, "outs",
                          "at least one part is needed");
    if (outs[0].rank < 1 || outs[0].rank > 4)
        return attn__fail_count(error, ATTN_E_RANK, "outs", "must have 1 to 4 dimensions", 4,
                                outs[0].rank);
    for (int64_t r = 0; r < n; r++) {
        ATTN_TRY(merge_same(&outs[r], &outs[0], outs[0].rank, "outs", error));
        ATTN_TRY(merge_same(&lses[r], &outs[0], outs[0].rank - 1, "lses", error));
    }
    if (with_out) ATTN_TRY(merge_same(out, &outs[0], outs[0].rank, "out", error));
    if (with_out && attn__tensor_self_overlap(out))
        return attn__fail(error, ATTN_E_ALIAS, "out", "an output reaches an element twice");
    if (lse && attn__present(lse))
        ATTN_TRY(merge_same(lse, &outs[0], outs[0].rank - 1, "lse", error));
    return ATTN_OK;
}

/* Element index of row (in row-major order over all dims but the last of rank). */
static int64_t merge_index(const attn_tensor *t, int dims, const int64_t *shape, int64_t row)
{
    int64_t index = 0;
    for (int i = dims - 1; i >= 0; i--) {
        index += row % shape[i] * t->stride[i];
        row /= shape[i];
    }
    return index;
}

typedef struct merge_job {
    int64_t n;
    const attn_tensor *outs, *lses;
    int dims;
    const int64_t *shape;
} merge_job;

static double merge_lse(const merge_job *job, int64_t r, int64_t row)
{
    const attn_tensor *t = &job->lses[r];
    return attn__get(t->dtype, t->data, merge_index(t, job->dims, job->shape, row)) * ATTN__LOG2E;
}

/* The largest lse of a row and the sum relative to it, in units of log 2. */
static double merge_total(const merge_job *job, int64_t row, double *top)
{
    double sum = 0;
    *top = -(double)INFINITY;
    for (int64_t r = 0; r < job->n; r++) {
        const double x = merge_lse(job, r, row);
        if (x > *top || x != x) *top = x;
    }
    for (int64_t r = 0; r < job->n; r++) {
        const double x = merge_lse(job, r, row);
        if (x >= -DBL_MAX || x != x) sum += attn__exp2(x - *top);
    }
    return sum;
}

static double merge_element(const merge_job *job, int64_t row, int64_t e, double top, double sum)
{
    double value = 0;
    for (int64_t r = 0; r < job->n; r++) {
        const attn_tensor *t = &job->outs[r];
        const double x = merge_lse(job, r, row), weight = attn__exp2(x - top);
        const int64_t at = merge_index(t, job->dims, job->shape, row) + e * t->stride[job->dims];
        if (x >= -DBL_MAX || x != x) value += weight * attn__get(t->dtype, t->data, at);
    }
    return sum == 0 ? 0 : value / sum;
}

attn_status attn_merge(int64_t n, const attn_tensor *outs, const attn_tensor *lses,
                       const attn_tensor *out, const attn_tensor *lse, attn_error *error)
{
    ATTN_TRY(merge_check(n, outs, lses, out, lse, error));
    const merge_job job = {n, outs, lses, outs[0].rank - 1, outs[0].shape};
    const int64_t width = outs[0].shape[job.dims];
    const attn__fpenv saved = attn__fpenv_enter();
    int64_t rows = 1;
    for (int i = 0; i < job.dims; i++) rows *= job.shape[i];
    for (int64_t row = 0; row < rows; row++) {
        double top, sum = merge_total(&job, row, &top);
        for (int64_t e = 0; out && attn__present(out) && e < width; e++)
            attn__put(out->dtype, out->data,
                      merge_index(out, job.dims, job.shape, row) + e * out->stride[job.dims],
                      merge_element(&job, row, e, top, sum));
        if (lse && attn__present(lse))
            attn__put(lse->dtype, lse->data, merge_index(lse, job.dims, job.shape, row),
                      sum == 0 ? -(double)INFINITY : (top + attn__log2(sum)) * ATTN__LN2);
    }
    attn__fpenv_leave(saved);
    return ATTN_OK;
}
