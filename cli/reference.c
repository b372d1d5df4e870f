/* SPDX-License-Identifier: MIT
 * The check of `attn demo`: plain softmax attention of some rows by the loops of the definition
 * in double precision, on f32 tensors B H T D. Shares nothing with the library. */
#include "demo.h"

#include <math.h>
#include <stdlib.h>

enum { REFERENCE_ROWS = 64 };

static const float *reference_row(const attn_tensor *t, int64_t head, int64_t row)
{
    return (const float *)t->data + head * t->stride[1] + row * t->stride[2];
}

/* out_e = sum_j softmax_j(q.k_j / sqrt D) v_je for one query; score has room for S numbers. */
static void reference_attend(const attn_args *a, int64_t head, const float *q, double *score,
                             double *out)
{
    int64_t keys = a->k.shape[2], width = a->k.shape[3];
    double most = -HUGE_VAL, sum = 0;
    for (int64_t j = 0; j < keys; j++) {
        const float *k = reference_row(&a->k, head, j);
        double dot = 0;
        for (int64_t d = 0; d < width; d++) dot += (double)q[d] * (double)k[d];
        score[j] = dot / sqrt((double)width);
        if (score[j] > most) most = score[j];
    }
    for (int64_t e = 0; e < width; e++) out[e] = 0;
    for (int64_t j = 0; j < keys; j++) {
        double weight = exp(score[j] - most);
        const float *v = reference_row(&a->v, head, j);
        sum += weight;
        for (int64_t e = 0; e < width; e++) out[e] += weight * (double)v[e];
    }
    for (int64_t e = 0; e < width; e++) out[e] /= sum;
}

demo_error demo_check(const attn_args *a)
{
    demo_error error = {0};
    int64_t heads = a->q.shape[1], queries = a->q.shape[2], width = a->q.shape[3];
    double *score = malloc(sizeof *score * (size_t)(a->k.shape[2] + width));
    if (!score) return error;
    double *want = score + a->k.shape[2];
    for (int r = 0; r < REFERENCE_ROWS; r++) {
        int64_t head = r % heads, row = r * (queries - 1) / (REFERENCE_ROWS - 1);
        reference_attend(a, head, reference_row(&a->q, head, row), score, want);
        const float *got = reference_row(&a->out, head, row);
        for (int64_t e = 0; e < width; e++)
            error.most = fmax(error.most, fabs((double)got[e] - want[e]));
        error.rows++;
    }
    free(score);
    return error;
}
