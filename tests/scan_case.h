/* SPDX-License-Identifier: MIT
 * A random scan: options, sizes, lengths or packing, element types, layouts in memory; and the
 * same call for the oracle. A case is a function of its seed. */
#ifndef ATTN_TESTS_SCAN_CASE_H
#define ATTN_TESTS_SCAN_CASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <string.h>

#include "attn/recurrent.h"
#include "oracle/oracle_scan.h"
#include "support/support.h"

enum { SCAN_MOST = 4 };

typedef struct scan_case {
    uint64_t seed;
    bool plain; /* f64 and dense throughout */
    test_rng rng;
    test_arena arena;
    attn_scan_spec spec;
    attn_scan_args args;
    int64_t N, H, G, T, S, D, E, B;
    bool packed;
    oracle_scan_span span[SCAN_MOST];
} scan_case;

/* ---- drawing ----------------------------------------------------------------------------- */

static inline attn_dtype scan_dtype(scan_case *c)
{
    static const attn_dtype types[] = {ATTN_DTYPE_F32, ATTN_DTYPE_F64, ATTN_DTYPE_BF16,
                                       ATTN_DTYPE_F16};
    return c->plain ? ATTN_DTYPE_F64 : types[test_rng_range(&c->rng, 0, 3)];
}

static inline attn_tensor scan_tensor(scan_case *c, attn_dtype dtype, int rank,
                                      const int64_t *shape, bool input)
{
    return c->plain ? test_tensor(&c->arena, dtype, rank, shape)
                    : test_tensor_layout(&c->arena, &c->rng, dtype, rank, shape, input);
}

static inline attn_tensor scan_normal(scan_case *c, int rank, const int64_t *shape,
                                      double scale)
{
    const attn_tensor t = scan_tensor(c, scan_dtype(c), rank, shape, true);
    test_fill_normal(&t, &c->rng, scale);
    return t;
}

static inline attn_tensor scan_result(scan_case *c, int rank, const int64_t *shape)
{
    const attn_tensor t = scan_tensor(c, scan_dtype(c), rank, shape, false);
    test_fill_value(&t, 77);
    return t;
}

#define SCAN_DIMS(...)                                                                         \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[])                     \
    {                                                                                          \
        __VA_ARGS__                                                                            \
    }

static inline attn_tensor scan_integers(scan_case *c, int64_t n, const int64_t *values)
{
    const attn_tensor t = test_tensor(&c->arena, ATTN_DTYPE_I64, 1, &n);
    if (n > 0) memcpy(t.data, values, (size_t)n * sizeof *values);
    return t;
}

static inline void scan_draw_packed(scan_case *c)
{
    int64_t k[SCAN_MOST + 1] = {0}, q[SCAN_MOST + 1] = {0};
    for (int64_t b = 0; b < c->N; b++) {
        const int64_t S = test_rng_range(&c->rng, 0, c->S), T = test_rng_range(&c->rng, 0, 5);
        c->span[b] =
            (oracle_scan_span){0, k[b], S, c->spec.whole ? q[b] : k[b], c->spec.whole ? T : S};
        k[b + 1] = k[b] + S;
        q[b + 1] = q[b] + T;
    }
    c->S = k[c->N] + test_rng_range(&c->rng, 0, 2);
    c->T = c->spec.whole ? q[c->N] + test_rng_range(&c->rng, 0, 2) : c->S;
    c->args.cu_k = scan_integers(c, c->N + 1, k);
    if (c->spec.whole) c->args.cu_q = scan_integers(c, c->N + 1, q);
}

static inline void scan_draw_padded(scan_case *c)
{
    int64_t k[SCAN_MOST], q[SCAN_MOST];
    const bool lengths = test_rng_chance(&c->rng, 40);
    c->T = c->spec.whole ? test_rng_range(&c->rng, 0, 9) : c->S;
    for (int64_t b = 0; b < c->N; b++) {
        k[b] = lengths ? test_rng_range(&c->rng, 0, c->S) : c->S;
        q[b] = !c->spec.whole ? k[b] : lengths ? test_rng_range(&c->rng, 0, c->T) : c->T;
        c->span[b] = (oracle_scan_span){b, 0, k[b], 0, q[b]};
    }
    if (!lengths) return;
    c->args.k_len = scan_integers(c, c->N, k);
    if (c->spec.whole) c->args.q_len = scan_integers(c, c->N, q);
}

static inline void scan_draw_spec(scan_case *c)
{
    attn_scan_spec *s = &c->spec;
    *s = ATTN_SCAN_SPEC(.update = ATTN_SCAN_LINEAR);
    if (test_rng_chance(&c->rng, 50)) s->update = ATTN_SCAN_DELTA;
    s->whole = test_rng_chance(&c->rng, 25);
    s->normalise = s->update == ATTN_SCAN_LINEAR && test_rng_chance(&c->rng, 40);
    if (s->normalise) s->eps = test_rng_chance(&c->rng, 50) ? 0.25 : 0;
    if (test_rng_chance(&c->rng, 60)) s->scale = test_rng_chance(&c->rng, 20) ? -0.5 : 0.75;
    if (test_rng_chance(&c->rng, 40)) s->head_map = ATTN_HEADS_TILED;
}

/* x = sign |x| + shift for every element, as often as strides lead there. */
static inline void scan_fold(const attn_tensor *t, double sign, double shift)
{
    int64_t index[ATTN_MAX_RANK] = {0};
    if (!t->dtype || test_tensor_empty(t)) return;
    do test_put(t, index, sign * fabs(test_get(t, index)) + shift);
    while (test_index_next(t, index));
}

/* Decays are at most 1 and beta is not negative, so that no state grows without bound. */
static inline void scan_draw_rates(scan_case *c)
{
    const int64_t shapes[5][4] = {
        {0}, {c->G}, {c->G, c->D}, {c->B, c->G, c->S}, {c->B, c->G, c->S, c->D}};
    const int rank = (int)test_rng_range(&c->rng, 0, 4);
    if (rank > 0) c->args.decay = scan_normal(c, rank, shapes[rank], 0.3);
    scan_fold(&c->args.decay, -1, 0);
    if (c->spec.update != ATTN_SCAN_DELTA || test_rng_chance(&c->rng, 25)) return;
    const int form = test_rng_chance(&c->rng, 30) ? 1 : 3;
    c->args.beta = scan_normal(c, form, shapes[form], 0.4);
    scan_fold(&c->args.beta, 1, 0);
}

static inline void scan_draw_tensors(scan_case *c)
{
    attn_scan_args *a = &c->args;
    const int drop =
        c->H == 1 && c->G == 1 && test_rng_chance(&c->rng, 40) ? (c->B == 1) + 1 : 0;
    const int64_t q[] = {c->B, c->H, c->T, c->D}, k[] = {c->B, c->G, c->S, c->D};
    const int64_t v[] = {c->B, c->G, c->S, c->E}, out[] = {c->B, c->H, c->T, c->E};
    const int64_t low[4][3] = {{0}, {c->B, c->T, c->D}, {c->B, c->S, c->D}, {c->B, c->S, c->E}};
    const int64_t lo[] = {c->B, c->T, c->E};
    const int r = 4 - drop, x = drop > 1;
    /* Keys and queries mostly point the same way, so that divisors are not near 0. */
    a->q = scan_normal(c, r, drop ? low[1] + x : q, 1);
    a->k = scan_normal(c, r, drop ? low[2] + x : k,
                       c->spec.update ? 0.9 / sqrt((double)c->D + 1) : 1);
    a->v = scan_normal(c, r, drop ? low[3] + x : v, 1);
    a->out = scan_result(c, r, drop ? lo + x : out);
    if (test_rng_chance(&c->rng, 50))
        a->state = scan_normal(c, SCAN_DIMS(c->N, c->G, c->D, c->E), 1);
    if (test_rng_chance(&c->rng, 60))
        a->final_state = scan_result(c, SCAN_DIMS(c->N, c->G, c->D, c->E));
    if (!c->spec.normalise) return;
    if (test_rng_chance(&c->rng, 50))
        a->state_z = scan_normal(c, SCAN_DIMS(c->N, c->G, c->D), 1);
    if (test_rng_chance(&c->rng, 50)) a->final_z = scan_result(c, SCAN_DIMS(c->N, c->G, c->D));
    scan_fold(&a->q, 1, 0.125);
    scan_fold(&a->k, 1, 0.125);
    scan_fold(&a->state_z, 1, 0.125);
}

/* tokens: about how many at most; width: of D and E. */
static inline void scan_draw(scan_case *c, uint64_t seed, bool plain, int64_t tokens,
                             int64_t width)
{
    memset(c, 0, sizeof *c);
    c->seed = seed;
    c->plain = plain;
    c->rng = test_rng_make(seed);
    c->args = ATTN_SCAN_ARGS(.q = {0});
    scan_draw_spec(c);
    c->N = test_rng_range(&c->rng, 1, 3);
    c->G = test_rng_range(&c->rng, 1, 2);
    c->H = c->G * test_rng_range(&c->rng, 1, 3);
    c->D = test_rng_chance(&c->rng, 5) ? 0 : test_rng_range(&c->rng, 1, width);
    c->E = test_rng_chance(&c->rng, 5) ? 0 : test_rng_range(&c->rng, 1, width);
    c->S = test_rng_chance(&c->rng, 5) ? 0 : test_rng_range(&c->rng, 1, tokens);
    c->packed = test_rng_chance(&c->rng, 30);
    if (c->packed)
        scan_draw_packed(c);
    else
        scan_draw_padded(c);
    c->B = c->packed ? 1 : c->N;
    scan_draw_tensors(c);
    scan_draw_rates(c);
}

static inline void scan_free(scan_case *c)
{
    test_arena_reset(&c->arena);
}

/* ---- for the oracle ---------------------------------------------------------------------- */

/* All elements in row-major order; NULL for an absent tensor. */
static inline double *scan_doubles(test_arena *arena, const attn_tensor *t)
{
    if (!t->dtype) return NULL;
    int64_t n = 1, at = 0, index[ATTN_MAX_RANK] = {0};
    for (int i = 0; i < t->rank; i++) n *= t->shape[i];
    double *x = test_alloc(arena, (size_t)(n + 1) * sizeof *x);
    if (n > 0) do
            x[at++] = test_get(t, index);
        while (test_index_next(t, index));
    return x;
}

static inline double *scan_zeros(test_arena *arena, const attn_tensor *t)
{
    if (!t->dtype) return NULL;
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++) n *= t->shape[i];
    double *x = test_alloc(arena, (size_t)(n + 1) * sizeof *x);
    memset(x, 0, (size_t)(n + 1) * sizeof *x);
    return x;
}

static inline oracle_scan_call scan_oracle(scan_case *c)
{
    const attn_scan_args *a = &c->args;
    const attn_scan_spec *s = &c->spec;
    return (oracle_scan_call){.delta = s->update == ATTN_SCAN_DELTA,
                              .whole = s->whole,
                              .normalise = s->normalise,
                              .tiled = s->head_map == ATTN_HEADS_TILED,
                              .scale = s->scale != 0 ? s->scale
                                       : c->D > 0    ? 1 / sqrt((double)c->D)
                                                     : 1,
                              .eps = s->eps,
                              .N = c->N,
                              .H = c->H,
                              .G = c->G,
                              .T = c->T,
                              .S = c->S,
                              .D = c->D,
                              .E = c->E,
                              .decay_rank = a->decay.dtype ? a->decay.rank : 0,
                              .beta_rank = a->beta.dtype ? a->beta.rank : 0,
                              .span = c->span,
                              .q = scan_doubles(&c->arena, &a->q),
                              .k = scan_doubles(&c->arena, &a->k),
                              .v = scan_doubles(&c->arena, &a->v),
                              .decay = scan_doubles(&c->arena, &a->decay),
                              .beta = scan_doubles(&c->arena, &a->beta),
                              .state = scan_doubles(&c->arena, &a->state),
                              .state_z = scan_doubles(&c->arena, &a->state_z),
                              .out = scan_zeros(&c->arena, &a->out),
                              .final_state = scan_zeros(&c->arena, &a->final_state),
                              .final_z = scan_zeros(&c->arena, &a->final_z)};
}

/* ---- comparison -------------------------------------------------------------------------- */

static inline double scan_rounding(attn_dtype dtype)
{
    static const double unit[] = {[ATTN_DTYPE_F64] = 0x1p-53,
                                  [ATTN_DTYPE_F32] = 0x1p-24,
                                  [ATTN_DTYPE_BF16] = 0x1p-8,
                                  [ATTN_DTYPE_F16] = 0x1p-11};
    return unit[dtype];
}

/* Every element within one rounding of its type and slack times the largest of them all. */
static inline void scan_expect(const scan_case *c, const char *what, const attn_tensor *t,
                               const double *want, double slack)
{
    int64_t at = 0, n = 1, index[ATTN_MAX_RANK] = {0};
    double most = 1;
    if (!t->dtype || test_tensor_empty(t)) return;
    for (int i = 0; i < t->rank; i++) n *= t->shape[i];
    for (int64_t i = 0; i < n; i++) most = fmax(most, fabs(want[i]));
    do {
        const double got = test_get(t, index), w = want[at++];
        const double bound = 1.0001 * scan_rounding(t->dtype) * fabs(w) + slack * most +
                             (t->dtype == ATTN_DTYPE_F16 ? 0x1p-24 : 0);
        if (!(fabs(got - w) <= bound))
            fail_msg("%s[%d]: %.17g, the oracle says %.17g (bound %g); ATTN_SEED=%llu", what,
                     (int)at - 1, got, w, bound, (unsigned long long)c->seed);
    } while (test_index_next(t, index));
}

static inline void scan_run(attn_ctx *ctx, const scan_case *c, const attn_scan_args *args,
                            bool backward)
{
    attn_error error;
    char text[200] = "";
    const attn_status status = backward ? attn_scan_backward(ctx, &c->spec, args, &error)
                                        : attn_scan_forward(ctx, &c->spec, args, &error);
    if (status != ATTN_OK) attn_error_text(&error, text, sizeof text);
    if (status != ATTN_OK)
        fail_msg("%s: %s; ATTN_SEED=%llu", attn_status_name(status), text,
                 (unsigned long long)c->seed);
}

#endif
