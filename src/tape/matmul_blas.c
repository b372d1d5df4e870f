/* SPDX-License-Identifier: MIT
 * A BLAS for large products, if the build was told to use one (ATTN_CBLAS). It serves dense f32
 * or f64 matrices whose sizes its int holds; its bits are its own (docs/numerics.md). */
#include "tape/tape.h"

#ifdef ATTN_CBLAS

#    include <cblas.h>
#    include <limits.h>

enum { BLAS_LEAST = 64 }; /* in each of M, N, K: below that the call costs more than it saves */

bool attn_matmul_has_blas(void)
{
    return true;
}

/* The leading dimension of a matrix that is dense along rows (or, turned, along columns); 0 if
 * it is neither. */
static int blas_lead(const attn__matrix *x, int64_t rows, int64_t cols, bool *turned)
{
    *turned = x->col != 1;
    const int64_t lead = *turned ? x->col : x->row, least = *turned ? rows : cols;
    const bool dense = *turned ? x->row == 1 : true;
    return dense && lead >= least && lead <= INT_MAX ? (int)lead : 0;
}

typedef struct blas_call {
    enum CBLAS_TRANSPOSE a, b;
    int m, n, k, a_lead, b_lead, c_lead;
} blas_call;

static bool blas_fits(const attn__product *p, blas_call *call)
{
    bool a, b, c;
    const attn_dtype real = p->k->dtype;
    if (p->M < BLAS_LEAST || p->N < BLAS_LEAST || p->K < BLAS_LEAST) return false;
    if (p->M > INT_MAX || p->N > INT_MAX || p->K > INT_MAX) return false;
    if (p->a.dtype != real || p->b.dtype != real || p->c.dtype != real) return false;
    *call = (blas_call){.m = (int)p->M,
                        .n = (int)p->N,
                        .k = (int)p->K,
                        .a_lead = blas_lead(&p->a, p->M, p->K, &a),
                        .b_lead = blas_lead(&p->b, p->K, p->N, &b),
                        .c_lead = blas_lead(&p->c, p->M, p->N, &c)};
    call->a = a ? CblasTrans : CblasNoTrans;
    call->b = b ? CblasTrans : CblasNoTrans;
    return call->a_lead && call->b_lead && call->c_lead && !c;
}

bool attn__product_blas(const attn__product *p)
{
    blas_call o;
    if (!blas_fits(p, &o)) return false;
    const attn__fpenv saved = attn__fpenv_enter();
    for (int64_t i = 0; i < p->items; i++) {
        attn__matrix a, b, c;
        attn__product_item(p, i, &a, &b, &c);
        if (p->k->dtype == ATTN_DTYPE_F64)
            cblas_dgemm(CblasRowMajor, o.a, o.b, o.m, o.n, o.k, 1.0,
                        (const double *)(void *)a.data, o.a_lead,
                        (const double *)(void *)b.data, o.b_lead, p->add ? 1.0 : 0.0,
                        (double *)(void *)c.data, o.c_lead);
        else
            cblas_sgemm(CblasRowMajor, o.a, o.b, o.m, o.n, o.k, 1.0f,
                        (const float *)(void *)a.data, o.a_lead, (const float *)(void *)b.data,
                        o.b_lead, p->add ? 1.0f : 0.0f, (float *)(void *)c.data, o.c_lead);
    }
    attn__fpenv_leave(saved);
    return true;
}

#else

bool attn_matmul_has_blas(void)
{
    return false;
}

bool attn__product_blas(const attn__product *p)
{
    (void)p;
    return false;
}

#endif
