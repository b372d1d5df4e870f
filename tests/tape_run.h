/* SPDX-License-Identifier: MIT
 * A drawn case of one operation, run: on the tape, by its oracle, and the oracle's derivative.
 * Memory of the tape comes from an allocator that counts, fails on order and fills what it
 * gives with NaN, so that nothing passes by luck. */
#ifndef ATTN_TESTS_TAPE_RUN_H
#define ATTN_TESTS_TAPE_RUN_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tape_case.h"

/* ---- an allocator ----------------------------------------------------------------------- */

typedef struct tape_meter {
    int64_t calls, fail_at; /* fail_at -1: never */
    int64_t live;           /* bytes out; base: what a context holds */
    int64_t peak, base;
} tape_meter;

static inline void *tape_meter_alloc(void *user, void *ptr, size_t old_size, size_t new_size,
                                     size_t align)
{
    tape_meter *m = user;
    if (new_size == 0) {
        m->live -= (int64_t)old_size;
        free(ptr);
        return NULL;
    }
    if (m->calls++ == m->fail_at) return NULL;
    const size_t padded = (new_size + align - 1) / align * align;
    void *p = aligned_alloc(align, padded);
    if (!p) return NULL;
    m->live += (int64_t)new_size;
    m->peak = m->live > m->peak ? m->live : m->peak;
    return memset(p, 0xFF, padded);
}

/* ---- numbers ---------------------------------------------------------------------------- */

/* Reals that every element type up to f32 (or bf16) holds exactly. */
static inline void tape_rounded(const attn_tensor *t, attn_dtype to)
{
    int64_t index[ATTN_MAX_RANK] = {0};
    if (t->dtype != ATTN_DTYPE_F64 || test_tensor_empty(t)) return;
    do {
        uint32_t word = 0;
        oracle_put(to, &word, 0, test_get(t, index));
        test_put(t, index, oracle_get(to, &word, 0));
    } while (test_index_next(t, index));
}

static inline double tape_size_of(const double *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += isfinite(x[i]) ? x[i] * x[i] : 0;
    return sqrt(sum);
}

static inline bool tape_same_number(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

/* Absent ones are alike. */
static inline bool tape_same_bits(attn_tensor a, attn_tensor b)
{
    if (a.dtype == ATTN_DTYPE_NONE) return b.dtype == ATTN_DTYPE_NONE;
    return test_same_bits(a, b);
}

/* ---- what a run leaves ------------------------------------------------------------------ */

typedef struct tape_run {
    attn_status status;
    attn_error error;
    attn_tensor out[TAPE_CASE_MOST], grad[TAPE_CASE_MOST];    /* dense copies; absent: none */
    attn_var in_var[TAPE_CASE_MOST], out_var[TAPE_CASE_MOST]; /* while the tape lives */
} tape_run;

static inline attn_tensor tape_copied(test_arena *arena, attn_tensor t)
{
    return t.dtype == ATTN_DTYPE_NONE ? t : test_tensor_dense(arena, t, ATTN_DTYPE_NONE);
}

/* Gradients of the results, and of the parameters themselves where d_in (may be NULL) has one:
 * those come first. */
static inline void tape_run_gradients(attn_tape *t, const tape_run *r, const attn_tensor *d_out,
                                      const attn_tensor *d_in)
{
    attn_var y[2 * TAPE_CASE_MOST];
    attn_tensor d[2 * TAPE_CASE_MOST];
    int n = 0;
    for (int i = 0; i < TAPE_CASE_MOST && d_in; i++) {
        if (d_in[i].dtype == ATTN_DTYPE_NONE) continue;
        y[n] = r->in_var[i];
        d[n++] = d_in[i];
    }
    for (int i = 0; i < TAPE_CASE_MOST; i++) {
        if (!r->out_var[i].tape || d_out[i].dtype == ATTN_DTYPE_NONE) continue;
        y[n] = r->out_var[i];
        d[n++] = d_out[i];
    }
    (void)attn_tape_backward_from(t, n, y, d, NULL);
}

static inline void tape_run_collect(attn_tape *t, const tape_draw *d, bool gradients,
                                    tape_run *r)
{
    r->status = attn_tape_status(t, &r->error);
    for (int i = 0; i < TAPE_CASE_MOST && r->status == ATTN_OK; i++) {
        r->out[i] = tape_copied(d->arena, attn_tape_value(t, r->out_var[i]));
        if (gradients && d->grad[i])
            r->grad[i] = tape_copied(d->arena, attn_tape_grad(t, r->in_var[i]));
    }
}

/* d_out NULL: values only. */
static inline tape_run tape_run_added(attn_ctx *ctx, const attn_tape_config *config,
                                      const tape_case *which, const tape_draw *d,
                                      const attn_tensor *d_out, const attn_tensor *d_in)
{
    tape_run r = {.status = ATTN_OK};
    attn_tape *t;
    r.status = attn_tape_create(&t, ctx, config, &r.error);
    if (r.status != ATTN_OK) return r;
    for (int i = 0; i < d->n_in; i++) {
        if (d->in[i].dtype == ATTN_DTYPE_NONE) continue;
        r.in_var[i] = d->grad[i] ? attn_tape_param(t, d->in[i]) : attn_tape_input(t, d->in[i]);
    }
    which->apply(t, d, r.in_var, r.out_var);
    if (d_out && attn_tape_status(t, NULL) == ATTN_OK) tape_run_gradients(t, &r, d_out, d_in);
    tape_run_collect(t, d, d_out != NULL, &r);
    attn_tape_destroy(t);
    return r;
}

static inline tape_run tape_run_case(attn_ctx *ctx, const attn_tape_config *config,
                                     const tape_case *which, const tape_draw *d,
                                     const attn_tensor *d_out)
{
    return tape_run_added(ctx, config, which, d, d_out, NULL);
}

/* ---- the oracle ------------------------------------------------------------------------- */

typedef struct tape_truth {
    double *in[TAPE_CASE_MOST], *out[TAPE_CASE_MOST]; /* NULL: absent */
    int64_t n_in[TAPE_CASE_MOST], n_out[TAPE_CASE_MOST];
    attn_tensor shape[TAPE_CASE_MOST];
} tape_truth;

/* Dense doubles of any tensor. */
static inline double *tape_doubles(test_arena *arena, attn_tensor t)
{
    return test_tensor_dense(arena, t, ATTN_DTYPE_F64).data;
}

static inline void tape_truth_again(const tape_case *which, const tape_draw *d, tape_truth *o)
{
    const double *in[TAPE_CASE_MOST];
    for (int i = 0; i < TAPE_CASE_MOST; i++) in[i] = o->in[i];
    for (int i = 0; i < which->n_out; i++)
        if (o->out[i]) memset(o->out[i], 0, (size_t)o->n_out[i] * sizeof(double));
    which->oracle(d, in, o->shape, o->out);
}

/* like: a run of the same case, which says what the results' shapes are. */
static inline tape_truth tape_truth_of(const tape_case *which, const tape_draw *d,
                                       const tape_run *like)
{
    tape_truth o = {.in = {0}};
    for (int i = 0; i < d->n_in; i++) {
        if (d->in[i].dtype == ATTN_DTYPE_NONE) continue;
        o.in[i] = tape_doubles(d->arena, d->in[i]);
        o.n_in[i] = attn_tensor_count(d->in[i]);
    }
    for (int i = 0; i < which->n_out; i++) {
        o.shape[i] = like->out[i];
        o.shape[i].data = NULL;
        if (like->out[i].dtype == ATTN_DTYPE_NONE) continue;
        o.n_out[i] = attn_tensor_count(like->out[i]);
        o.out[i] = test_alloc(d->arena, (size_t)o.n_out[i] * sizeof(double));
    }
    tape_truth_again(which, d, &o);
    return o;
}

/* sum of d_out[i] * out[i] over all results that have one; *size: the sum of magnitudes. */
static inline double tape_truth_loss(const tape_truth *o, double *const *d_out, double *size)
{
    double sum = 0;
    *size = 0;
    for (int i = 0; i < TAPE_CASE_MOST; i++)
        for (int64_t k = 0; d_out[i] && o->out[i] && k < o->n_out[i]; k++) {
            if (!isfinite(o->out[i][k])) continue; /* nothing moves it */
            const double term = d_out[i][k] * o->out[i][k];
            sum += term;
            *size += fabs(term);
        }
    return sum;
}

/* The loss with operand i moved by h along u. */
static inline double tape_truth_moved(const tape_case *which, const tape_draw *d, tape_truth *o,
                                      int i, const double *u, double h, double *const *d_out)
{
    double *kept = o->in[i], size;
    o->in[i] = test_alloc(d->arena, (size_t)o->n_in[i] * sizeof(double));
    for (int64_t k = 0; k < o->n_in[i]; k++) o->in[i][k] = kept[k] + h * u[k];
    tape_truth_again(which, d, o);
    o->in[i] = kept;
    return tape_truth_loss(o, d_out, &size);
}

/* Derivative of the loss along u, from four points. */
static inline double tape_truth_slope(const tape_case *which, const tape_draw *d, tape_truth *o,
                                      int i, const double *u, double *const *d_out)
{
    const double h = 5e-4;
    const double far = tape_truth_moved(which, d, o, i, u, 2 * h, d_out) -
                       tape_truth_moved(which, d, o, i, u, -2 * h, d_out);
    const double near = tape_truth_moved(which, d, o, i, u, h, d_out) -
                        tape_truth_moved(which, d, o, i, u, -h, d_out);
    return (8 * near - far) / (12 * h);
}

#endif
