/* SPDX-License-Identifier: MIT
 * Products of matrices: c = a b or c += a b.
 *   a ... M K,  b ... K N,  c ... M N; leading dimensions of a and b broadcast to those of c.
 *
 * The number at (m, n) is a function of row m of a, column n of b, K and, with add, the old
 * number: chains of fma over blocks of 256 k, added up in ascending order (docs/numerics.md).
 * Here the call is checked and put into its plainest form: a product of M K by K N with a list
 * of batch dimensions, turned so that columns of c, and if possible of b, lie side by side, and
 * with rows of many items in one matrix where b is the same for all. matmul_run.c does it.
 * Called by programs, by the operations matmul, linear, conv and the recurrent ones. */
#include "tape/tape.h"

/* ---- checks ------------------------------------------------------------------------------ */

static attn_status matmul_operand(const attn_tensor *t, const char *where, attn_error *error)
{
    if (!t) return attn__fail(error, ATTN_E_NULL, where, "the tensor is missing");
    ATTN_TRY(attn__tensor_check(t, where, error));
    if (!attn__dtype_is_float(t->dtype))
        return attn__fail(error, ATTN_E_DTYPE, where, "must be f64, f32, bf16 or f16");
    if (t->rank < 2)
        return attn__fail_count(error, ATTN_E_RANK, where, "must have at least 2 dimensions", 2,
                                t->rank);
    if (!t->data && attn_tensor_count(*t) > 0)
        return attn__fail(error, ATTN_E_NULL, where, "has elements but no data");
    return ATTN_OK;
}

/* Dimension i of t counted from the right. */
static int64_t matmul_dim(const attn_tensor *t, int i)
{
    return t->shape[t->rank - i];
}

/* Leading dimensions of an operand against those of c. */
static attn_status matmul_leading(const attn_tensor *t, const attn_tensor *c, const char *where,
                                  attn_error *error)
{
    if (t->rank > c->rank)
        return attn__fail_count(error, ATTN_E_RANK, where, "has more dimensions than c",
                                c->rank, t->rank);
    for (int i = 3; i <= t->rank; i++)
        if (matmul_dim(t, i) != 1 && matmul_dim(t, i) != matmul_dim(c, i))
            return attn__fail_count(error, ATTN_E_SHAPE, where,
                                    "a leading dimension must be 1 or that of c",
                                    matmul_dim(c, i), matmul_dim(t, i));
    return ATTN_OK;
}

static attn_status matmul_shapes(const attn_tensor *a, const attn_tensor *b,
                                 const attn_tensor *c, attn_error *error)
{
    ATTN_TRY(matmul_leading(a, c, "a", error));
    ATTN_TRY(matmul_leading(b, c, "b", error));
    if (matmul_dim(a, 1) != matmul_dim(b, 2))
        return attn__fail_count(error, ATTN_E_SHAPE, "b", "rows must equal the columns of a",
                                matmul_dim(a, 1), matmul_dim(b, 2));
    if (matmul_dim(a, 2) != matmul_dim(c, 2))
        return attn__fail_count(error, ATTN_E_SHAPE, "c", "rows must equal those of a",
                                matmul_dim(a, 2), matmul_dim(c, 2));
    if (matmul_dim(b, 1) != matmul_dim(c, 1))
        return attn__fail_count(error, ATTN_E_SHAPE, "c", "columns must equal those of b",
                                matmul_dim(b, 1), matmul_dim(c, 1));
    return ATTN_OK;
}

static attn_status matmul_check(const attn_tensor *a, const attn_tensor *b,
                                const attn_tensor *c, attn_error *error)
{
    ATTN_TRY(matmul_operand(a, "a", error));
    ATTN_TRY(matmul_operand(b, "b", error));
    ATTN_TRY(matmul_operand(c, "c", error));
    if (c->dtype != ATTN_DTYPE_F32 && c->dtype != ATTN_DTYPE_F64)
        return attn__fail(error, ATTN_E_DTYPE, "c", "must be f64 or f32");
    ATTN_TRY(matmul_shapes(a, b, c, error));
    if (attn__tensor_self_overlap(c))
        return attn__fail(error, ATTN_E_ALIAS, "c", "two of its elements share memory");
    if (attn__tensor_overlap(c, a))
        return attn__fail(error, ATTN_E_ALIAS, "c", "it overlaps a");
    if (attn__tensor_overlap(c, b))
        return attn__fail(error, ATTN_E_ALIAS, "c", "it overlaps b");
    return ATTN_OK;
}

attn_status attn_matmul(attn_ctx *ctx, const attn_tensor *a, const attn_tensor *b,
                        const attn_tensor *c, bool add, attn_error *error)
{
    uint32_t allowed;
    ATTN_TRY(attn__ctx_check(ctx, error));
    ATTN_TRY(matmul_check(a, b, c, error));
    ATTN_TRY(attn__isa_allowed(ctx, &allowed, error));
    const bool wide =
        a->dtype == ATTN_DTYPE_F64 || b->dtype == ATTN_DTYPE_F64 || c->dtype == ATTN_DTYPE_F64;
    const attn__kernels *k =
        attn__kernels_pick(wide ? ATTN_DTYPE_F64 : ATTN_DTYPE_F32, allowed);
    if (!k)
        return attn__fail(error, ATTN_E_ISA, "ctx",
                          "no kernels of this build are allowed to run here");
    if (attn__matmul(ctx, k, *a, *b, *c, add) == ATTN_OK) return ATTN_OK;
    return attn__fail(error, ATTN_E_MEMORY, "matmul", "no memory for blocks of the operands");
}

/* ---- the plainest form ------------------------------------------------------------------- */

static attn__matrix matmul_matrix(const attn_tensor *t)
{
    return (attn__matrix){t->data, t->dtype, t->stride[t->rank - 2], t->stride[t->rank - 1]};
}

/* The stride of an operand along dimension i of c, from the right; 0 where it repeats. */
static int64_t matmul_stride(const attn_tensor *t, int i)
{
    return i <= t->rank && matmul_dim(t, i) != 1 ? t->stride[t->rank - i] : 0;
}

/* Batch dimensions from the inner to the outer one; seamless neighbours become one. */
static void matmul_batch(attn__product *p, const attn_tensor *a, const attn_tensor *b,
                         const attn_tensor *c)
{
    for (int i = 3; i <= c->rank; i++) {
        const attn__batch_dim d = {matmul_dim(c, i), matmul_stride(a, i), matmul_stride(b, i),
                                   c->stride[c->rank - i]};
        attn__batch_dim *in = p->n_dims ? &p->dims[p->n_dims - 1] : NULL;
        if (d.n == 1) continue;
        p->items *= d.n;
        if (in && d.a == in->n * in->a && d.b == in->n * in->b && d.c == in->n * in->c)
            in->n *= d.n;
        else
            p->dims[p->n_dims++] = d;
    }
}

/* c^T = b^T a^T: the same numbers, because fma does not care which factor comes first. */
static void matmul_turn(attn__product *p)
{
    const attn__matrix a = p->a;
    const int64_t M = p->M;
    p->a = (attn__matrix){p->b.data, p->b.dtype, p->b.col, p->b.row};
    p->b = (attn__matrix){a.data, a.dtype, a.col, a.row};
    p->c = (attn__matrix){p->c.data, p->c.dtype, p->c.col, p->c.row};
    p->M = p->N;
    p->N = M;
    for (int i = 0; i < p->n_dims; i++) {
        attn__batch_dim *d = &p->dims[i];
        *d = (attn__batch_dim){d->n, d->b, d->a, d->c};
    }
}

/* Lanes are columns: c must have them side by side, or it passes through scratch. With one row
 * or one column both ways will do; then the matrix, not the vector, should lie well. */
static bool matmul_should_turn(const attn__product *p)
{
    const bool as_is = p->c.col == 1 || p->N == 1, turned = p->c.row == 1 || p->M == 1;
    if (as_is != turned) return turned;
    if (p->M == 1 && p->N > 1) return p->b.col != 1;
    if (p->N == 1 && p->M > 1) return p->a.row == 1;
    return false;
}

/* Items that share b and whose rows follow each other are one matrix with more rows. */
static void matmul_join(attn__product *p)
{
    while (p->n_dims > 0) {
        const attn__batch_dim d = p->dims[0];
        const bool one = p->M == 1;
        if (d.b != 0 || (!one && (d.a != p->M * p->a.row || d.c != p->M * p->c.row))) return;
        if (one) p->a.row = d.a, p->c.row = d.c;
        p->M *= d.n;
        p->items /= d.n;
        p->n_dims--;
        for (int i = 0; i < p->n_dims; i++) p->dims[i] = p->dims[i + 1];
    }
}

attn_status attn__matmul(attn_ctx *ctx, const attn__kernels *k, attn_tensor a, attn_tensor b,
                         attn_tensor c, bool add)
{
    const attn_tensor nothing = {.data = c.data, .dtype = k->dtype, .rank = 2, .shape = {1, 1}};
    const int64_t K = matmul_dim(&a, 1);
    if (K == 0) a = b = nothing; /* their pointers may be NULL */
    attn__product p = {.ctx = ctx,
                       .k = k,
                       .M = matmul_dim(&c, 2),
                       .N = matmul_dim(&c, 1),
                       .K = K,
                       .items = 1,
                       .a = matmul_matrix(&a),
                       .b = matmul_matrix(&b),
                       .c = matmul_matrix(&c),
                       .add = add};
    if (attn_tensor_count(c) == 0 || (add && p.K == 0)) return ATTN_OK;
    matmul_batch(&p, &a, &b, &c);
    matmul_join(&p);
    if (matmul_should_turn(&p)) {
        matmul_turn(&p);
        matmul_join(&p);
    }
    return attn__product_blas(&p) ? ATTN_OK : attn__product_run(&p);
}
