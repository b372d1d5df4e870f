/* SPDX-License-Identifier: MIT
 * Merging results over disjoint sets of keys. Part r with output o_r and log-sum-exp L_r stands
 * for sums exp(L_r) and exp(L_r) o_r; with M the largest L_r, out = sum_r exp(L_r - M) o_r /
 * sum_r exp(L_r - M),    lse = M + log sum_r exp(L_r - M), in doubles, in the order given. */
#include <float.h>
#include <math.h>

#include "engine/check_tensor.h"

typedef struct merge_job {
    int64_t n;
    const attn_tensor *outs, *lses; /* [n] */
    attn_tensor out, lse;           /* absent when not wanted */
    int dims;                       /* of a log-sum-exp */
    int64_t shape[4];               /* of an output */
} merge_job;

static attn_status merge_tensor(const merge_job *job, const attn_tensor *t, int rank,
                                const char *where, attn_error *error)
{
    ATTN_TRY(attn__check_floats(t, where, error));
    if (t->rank != rank)
        return attn__fail_count(error, ATTN_E_RANK, where, "has another rank than its fellows",
                                rank, t->rank);
    for (int i = 0; i < rank; i++)
        if (t->shape[i] != job->shape[i])
            return attn__fail_count(error, ATTN_E_SHAPE, where,
                                    "has another shape than its fellows", job->shape[i],
                                    t->shape[i]);
    return attn__check_data(t, where, error);
}

/* An output may be one of the parts itself, element for element, and overlap nothing else. */
static attn_status merge_output(const merge_job *job, const attn_tensor *t, int rank,
                                const attn_tensor *parts, const attn_tensor *others,
                                const char *where, attn_error *error)
{
    if (!attn__present(t)) return ATTN_OK;
    ATTN_TRY(merge_tensor(job, t, rank, where, error));
    bool bad = attn__tensor_self_overlap(t);
    for (int64_t r = 0; r < job->n; r++)
        bad = bad || attn__tensor_overlap(t, &others[r]) ||
              (!attn__same_view(t, &parts[r]) && attn__tensor_overlap(t, &parts[r]));
    return bad ? attn__fail(error, ATTN_E_ALIAS, where, "overlaps itself or a part") : ATTN_OK;
}

/* What all shapes are compared with: the first part, or the outputs when there is none. */
static attn_status merge_shape(merge_job *job, attn_error *error)
{
    const attn_tensor *like = job->n > 0                 ? &job->outs[0]
                              : attn__present(&job->out) ? &job->out
                                                         : &job->lse;
    const int rank = like->rank + (like == &job->lse);
    if (rank < 1 || rank > 4)
        return attn__fail_count(error, ATTN_E_RANK, "outs", "must have 1 to 4 dimensions", 4,
                                rank);
    job->dims = rank - 1;
    for (int i = 0; i < like->rank; i++) job->shape[i] = like->shape[i];
    return ATTN_OK;
}

static attn_status merge_check(merge_job *job, attn_error *error)
{
    if (job->n < 0)
        return attn__fail_count(error, ATTN_E_PARAM, "n", "must not be negative", 0, job->n);
    if (job->n > 0 && (!job->outs || !job->lses))
        return attn__fail(error, ATTN_E_NULL, job->outs ? "lses" : "outs", "is required");
    if (!attn__present(&job->out) && !attn__present(&job->lse))
        return attn__fail(error, ATTN_E_NULL, "out", "at least one output is needed");
    ATTN_TRY(merge_shape(job, error));
    for (int64_t r = 0; r < job->n; r++) {
        ATTN_TRY(merge_tensor(job, &job->outs[r], job->dims + 1, "outs", error));
        ATTN_TRY(merge_tensor(job, &job->lses[r], job->dims, "lses", error));
    }
    ATTN_TRY(merge_output(job, &job->out, job->dims + 1, job->outs, job->lses, "out", error));
    ATTN_TRY(merge_output(job, &job->lse, job->dims, job->lses, job->outs, "lse", error));
    if (attn__present(&job->out) && attn__present(&job->lse) &&
        attn__tensor_overlap(&job->out, &job->lse))
        return attn__fail(error, ATTN_E_ALIAS, "lse", "overlaps out");
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

static double merge_lse(const merge_job *job, int64_t r, int64_t row)
{
    const attn_tensor *t = &job->lses[r];
    return attn__get(t->dtype, t->data, merge_index(t, job->dims, job->shape, row)) *
           ATTN__LOG2E;
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

static double merge_element(const merge_job *job, int64_t row, int64_t e, double top,
                            double sum)
{
    double value = 0;
    for (int64_t r = 0; r < job->n; r++) {
        const attn_tensor *t = &job->outs[r];
        const double x = merge_lse(job, r, row), weight = attn__exp2(x - top);
        const int64_t at =
            merge_index(t, job->dims, job->shape, row) + e * t->stride[job->dims];
        if (x >= -DBL_MAX || x != x) value += weight * attn__get(t->dtype, t->data, at);
    }
    return sum == 0 ? 0 : value / sum;
}

static void merge_row(const merge_job *job, int64_t row)
{
    const attn_tensor *out = &job->out, *lse = &job->lse;
    double top, sum = merge_total(job, row, &top);
    for (int64_t e = 0; attn__present(out) && e < job->shape[job->dims]; e++)
        attn__put(out->dtype, out->data,
                  merge_index(out, job->dims, job->shape, row) + e * out->stride[job->dims],
                  merge_element(job, row, e, top, sum));
    if (attn__present(lse))
        attn__put(lse->dtype, lse->data, merge_index(lse, job->dims, job->shape, row),
                  sum == 0 ? -(double)INFINITY : (top + attn__log2(sum)) * ATTN__LN2);
}

attn_status attn_merge(int64_t n, const attn_tensor *outs, const attn_tensor *lses,
                       const attn_tensor *out, const attn_tensor *lse, attn_error *error)
{
    const attn_tensor none = {0};
    merge_job job = {
        .n = n, .outs = outs, .lses = lses, .out = out ? *out : none, .lse = lse ? *lse : none};
    int64_t rows = 1;
    ATTN_TRY(merge_check(&job, error));
    for (int i = 0; i < job.dims; i++) rows *= job.shape[i];
    const attn__fpenv saved = attn__fpenv_enter();
    for (int64_t row = 0; row < rows; row++) merge_row(&job, row);
    attn__fpenv_leave(saved);
    return ATTN_OK;
}
