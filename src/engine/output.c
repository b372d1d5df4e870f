/* SPDX-License-Identifier: MIT
 * What is written where no sequence reaches: rows of padding receive 0 and lse -inf, pairs
 * outside every sequence weight 0. Tensors that sequences cover whole are not touched here. */
#include <math.h>
#include <string.h>

#include "engine/engine.h"

typedef struct output_zero {
    const attn_tensor *t;
    int threads;
} output_zero;

static void output_zero_share(void *arg, int thread)
{
    const output_zero *z = arg;
    const attn_tensor *t = z->t;
    int64_t at = 0;
    for (int64_t a = 0; a < t->shape[0]; a++)
        for (int64_t b = 0; b < t->shape[1]; b++)
            for (int64_t c = 0; c < t->shape[2]; c++) {
                if (at++ % z->threads != thread) continue;
                char *row = attn__at(t, a, b, c, 0);
                const size_t size = attn_dtype_size(t->dtype);
                if (t->stride[3] == 1) memset(row, 0, (size_t)t->shape[3] * size);
                for (int64_t d = 0; t->stride[3] != 1 && d < t->shape[3]; d++)
                    memset(row + d * t->stride[3] * (int64_t)size, 0, size);
            }
}

void attn__output_zero(const attn__run *r, const attn_tensor *t)
{
    output_zero zero = {t, r->plan->threads};
    if (attn__present(t)) attn__parallel(r->plan->ctx, zero.threads, output_zero_share, &zero);
}

/* Every element of t (rank 4 or less) = value. */
static void output_fill_all(const attn_tensor *t, double value)
{
    for (int64_t a = 0; a < t->shape[0]; a++)
        for (int64_t b = 0; b < t->shape[1]; b++)
            for (int64_t c = 0; c < t->shape[2]; c++) {
                void *row = attn__at(t, a, b, c, 0);
                for (int64_t d = 0; d < t->shape[3]; d++)
                    attn__put(t->dtype, row, d * t->stride[3], value);
            }
}

/* Rows first .. last of batch entry b in out and lse. */
static void output_empty_rows(const attn__problem *p, int64_t b, int64_t first, int64_t last)
{
    const attn_tensor *out = &p->at.out, *lse = &p->at.lse;
    for (int64_t h = 0; h < p->H; h++)
        for (int64_t i = first; i < last; i++) {
            if (attn__present(lse))
                attn__put(lse->dtype, attn__at(lse, b, h, i, 0), 0, -(double)INFINITY);
            for (int64_t e = 0; attn__present(out) && e < p->E; e++)
                attn__put(out->dtype, attn__at(out, b, h, i, 0), e * out->stride[3], 0);
        }
}

void attn__output_fill(const attn__run *r)
{
    const attn__problem *p = r->p;
    attn__output_zero(r, &p->at.t_out);
    attn__output_zero(r, &p->at.t_lse);
    if (attn__present(&p->at.weights)) output_fill_all(&p->at.weights, 0);
    if (attn__present(&p->at.scores))
        output_fill_all(&p->at.scores,
                        p->spec.scores_stage == ATTN_SCORES_MASKED ? -(double)INFINITY : 0);
    if (p->packed_q) {
        const attn__seq *last = p->N ? &r->seqs[p->N - 1] : NULL;
        output_empty_rows(p, 0, last ? last->q0 + last->T : 0, p->at.q.shape[0] ? p->T : 0);
        return;
    }
    for (int64_t b = 0; b < p->N; b++) {
        output_empty_rows(p, b, 0, r->seqs[b].q0);
        output_empty_rows(p, b, r->seqs[b].q0 + r->seqs[b].T, p->T);
    }
}
