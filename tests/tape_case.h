/* SPDX-License-Identifier: MIT
 * One operation of the tape as the tests see it: how a case is drawn, how it goes through the
 * public functions, and what comes out according to plain loops in doubles. test_tape_ops walks
 * ops.def and asks for tape_case_<name> of every row, so an operation without one does not
 * link. It compares values, and gradients with four-point derivatives of the oracle in random
 * directions; so draw keeps away from kinks and ties by 1e-2 at least, and picks shapes with 0,
 * 1 and primes in them. */
#ifndef ATTN_TESTS_TAPE_CASE_H
#define ATTN_TESTS_TAPE_CASE_H

#include "attn/tape.h"
#include "support/support.h"

enum { TAPE_CASE_MOST = 16 };

typedef struct tape_draw {
    test_rng *rng;
    test_arena *arena;
    int n_in;
    attn_tensor in[TAPE_CASE_MOST]; /* f64 for reals, any strides; absent: operand not given */
    bool grad[TAPE_CASE_MOST];      /* its gradient is looked at */
    int64_t i[16];                  /* whatever apply and oracle need besides */
    double f[4];
    attn_dims dims;
    const void *object;
    int64_t room; /* above 0: tape_size gives large sizes too, of this product at most */
} tape_draw;

typedef struct tape_case {
    const char *op;
    int n_out;
    void (*draw)(tape_draw *d);
    /* in: parameters (where grad) and inputs on t; out[0 .. n_out): any of them may stay empty
     */
    void (*apply)(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out);
    /* in: dense row-major, integers and bools as doubles, NULL where absent; out: zeroed, of
     * the shapes that apply's results have, shape[i] their tensors (no data) */
    void (*oracle)(const tape_draw *d, const double *const *in, const attn_tensor *shape,
                   double *const *out);
    bool exact; /* values must be the oracle's bits in f64: moves, comparisons, indices */
    bool small; /* draw does not stand sizes above 7 */
    bool
        keeps_dtype; /* a result has the type of operand 0, so leaves of bf16 give other bits */
} tape_case;

/* A size: 1, 2, 3, 5, 7 mostly, 0 now and then (not when least is 1). */
static inline int64_t tape_size(tape_draw *d, int64_t least)
{
    static const int64_t sizes[] = {0, 1, 1, 2, 3, 3, 5, 7};
    static const int64_t more[] = {1, 2, 3, 17, 40, 150, 600, 3000};
    int64_t size = test_rng_pick(d->rng, sizes, sizeof sizes / sizeof sizes[0]);
    if (d->room > 0) {
        size = test_rng_pick(d->rng, more, sizeof more / sizeof more[0]);
        size = size < d->room ? size : d->room;
        d->room /= size;
    }
    return size < least ? least : size;
}

/* Normal reals of f64 in a random layout, operand number d->n_in, which becomes one more. */
static inline attn_tensor *tape_reals(tape_draw *d, int rank, const int64_t *shape, bool grad)
{
    attn_tensor *t = &d->in[d->n_in];
    *t = test_tensor_layout(d->arena, d->rng, ATTN_DTYPE_F64, rank, shape, false);
    test_fill_normal(t, d->rng, 1);
    d->grad[d->n_in++] = grad;
    return t;
}

/* Integers low .. high of i64. */
static inline attn_tensor *tape_ints(tape_draw *d, int rank, const int64_t *shape, int64_t low,
                                     int64_t high)
{
    attn_tensor *t = &d->in[d->n_in];
    *t = test_tensor_layout(d->arena, d->rng, ATTN_DTYPE_I64, rank, shape, false);
    test_fill_range(t, d->rng, low, high);
    d->grad[d->n_in++] = false;
    return t;
}

static inline attn_tensor *tape_bools(tape_draw *d, int rank, const int64_t *shape)
{
    attn_tensor *t = tape_ints(d, rank, shape, 0, 1);
    *t = test_tensor_dense(d->arena, *t, ATTN_DTYPE_BOOL);
    return t;
}

static inline void tape_absent(tape_draw *d)
{
    d->in[d->n_in++] = (attn_tensor){0};
}

/* Every element moved away from kink by at least 0.02. */
static inline void tape_avoid(const attn_tensor *t, double kink)
{
    int64_t index[ATTN_MAX_RANK] = {0};
    if (test_tensor_empty(t)) return;
    do {
        const double x = test_get(t, index), away = x - kink;
        if (away > -0.02 && away < 0.02) test_put(t, index, x + (away < 0 ? -0.05 : 0.05));
    } while (test_index_next(t, index));
}

#define TAPE_DIMS(...)                                                                         \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[])               \
    {                                                                                          \
        __VA_ARGS__                                                                            \
    }

#endif
