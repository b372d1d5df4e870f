/* SPDX-License-Identifier: MIT
 * What oracles of operations along one dimension i[0] share: how it is drawn and named, and the
 * operand seen as before x n x after around it, or as lines of n elements. No code of the
 * library stands behind any of it. */
#ifndef ATTN_TESTS_TAPE_ORACLE_H
#define ATTN_TESTS_TAPE_ORACLE_H

#include "tape_case.h"

static inline int64_t tape_count(const attn_tensor *t)
{
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++) n *= t->shape[i];
    return n;
}

/* ---- one dimension ----------------------------------------------------------------------- */

enum { AXIS_RANK = 4 };

/* Draws reals; their size along i[0] is at_axis or more, others are least or more. */
static inline void axis_draw(tape_draw *d, int64_t least, int64_t at_axis, bool grad)
{
    int64_t shape[AXIS_RANK];
    const int rank = (int)test_rng_range(d->rng, 1, AXIS_RANK);
    d->i[0] = test_rng_range(d->rng, 0, rank - 1);
    for (int i = 0; i < rank; i++) shape[i] = tape_size(d, i == d->i[0] ? at_axis : least);
    tape_reals(d, rank, shape, grad);
}

/* The dimension as it is passed: counted from the end where i[1] is odd. */
static inline int axis_name(const tape_draw *d)
{
    return (int)(d->i[0] - (d->i[1] % 2 ? d->in[0].rank : 0));
}

typedef struct axis {
    int64_t before, n, after; /* after: between elements of a line */
} axis;

static inline axis axis_of(const attn_tensor *t, int64_t dim)
{
    axis a = {1, t->shape[dim], 1};
    for (int64_t i = 0; i < dim; i++) a.before *= t->shape[i];
    for (int64_t i = dim + 1; i < t->rank; i++) a.after *= t->shape[i];
    return a;
}

static inline int64_t axis_lines(const axis *a)
{
    return a->before * a->after;
}

/* Where element i of a line is. */
static inline int64_t axis_at(const axis *a, int64_t line, int64_t i)
{
    return (line / a->after * a->n + i) * a->after + line % a->after;
}

/* ---- values ------------------------------------------------------------------------------ */

/* Fills operand 0 with tenths in random order: no two elements are near each other. */
static inline void tape_tenths(tape_draw *d)
{
    const attn_tensor *t = &d->in[0];
    const int64_t n = tape_count(t);
    int64_t *place = test_alloc(d->arena, (size_t)n * sizeof *place);
    int64_t index[ATTN_MAX_RANK] = {0}, i = 0;
    for (int64_t k = 0; k < n; k++) {
        const int64_t other = test_rng_range(d->rng, 0, k);
        place[k] = place[other];
        place[other] = k;
    }
    do test_put(t, index, 0.1 * (double)(place[i++] - n / 2));
    while (test_index_next(t, index));
}

#endif
