/* SPDX-License-Identifier: MIT
 * The ways in and out of a panel against plain loops: rows packed into lanes, chunks folded
 * into the f64 state, the state turned into rows, and the element types at both ends. */
#include "kernel_case.h"

/* ---- rows and lanes ---------------------------------------------------------------------- */

/* Pointers to the n rows of a matrix, not in its order: each of them is the last one in its
 * turn, next to the guard page. The array of pointers has exactly n of them. */
static void **state_rows(kernel_case *c, int slot, const matrix *m)
{
    void **rows = memory_place(slot, c->side, (size_t)m->rows * sizeof *rows);
    int64_t turn = test_rng_range(&c->rng, 0, m->rows);
    for (int64_t l = 0; l < m->rows; l++) rows[l] = matrix_at(m, (l + turn) % m->rows, 0);
    return rows;
}

static void pack(kernel_case *c)
{
    const int64_t depth = kernel_size(c, 1);
    const int w = kernel_width(c), n = (int)test_rng_range(&c->rng, 0, w);
    const double factor = test_rng_chance(&c->rng, 30) ? 1 : fabs(test_rng_normal(&c->rng));
    matrix x = matrix_make(c, 0, n, depth, depth + test_rng_range(&c->rng, 0, 3));
    matrix t = matrix_make(c, 1, depth, w, w);
    matrix_fill(c, &x);
    void **rows = state_rows(c, 2, &x);
    double *want = matrix_copy(c, &t);
    for (int l = 0; l < w; l++)
        for (int64_t d = 0; d < depth; d++) {
            double at = l < n && real_is_f32(c) ? (double)((float *)rows[l])[d]
                        : l < n                 ? ((double *)rows[l])[d]
                                                : 0;
            want[d * w + l] = real_mul(c, real_round(c, factor), at);
        }
    c->k->pack(n, w, depth, (const void *const *)rows, factor, t.p);
    kernel_expect_all(c, "pack", &t, want);
}

/* Lanes beyond n hold NaN; a NaN comes out as the one quiet NaN, a zero as +0. */
static void finish(kernel_case *c)
{
    const int64_t width = kernel_size(c, 1);
    const int w = kernel_width(c), n = (int)test_rng_range(&c->rng, 0, w);
    matrix so = matrix_of(c, ATTN_DTYPE_F64, 0, width, w, w);
    matrix inv = matrix_of(c, ATTN_DTYPE_F64, 1, 1, w, w);
    matrix out = matrix_make(c, 2, n, width, width + test_rng_range(&c->rng, 0, 3));
    void **rows = state_rows(c, 3, &out);
    double *want = matrix_copy(c, &out);
    for (int l = 0; l < n; l++) {
        matrix_put(&inv, 0, l, test_rng_uniform(&c->rng) * (c->wild && l % 5 == 0 ? 1e-38 : 2));
        double *row = want + ((char *)rows[l] - out.p) /
                                 (out.stride * (int64_t)attn_dtype_size(out.dtype)) * width;
        for (int64_t e = 0; e < width; e++) {
            double x = c->wild && test_rng_chance(&c->rng, 5) ? real_special(c)
                                                              : test_rng_normal(&c->rng);
            matrix_put(&so, e, l, x);
            double y = real_round(c, x * matrix_get(&inv, 0, l));
            row[e] = isnan(y) ? (double)NAN : y == 0 ? 0 : y;
        }
    }
    c->k->finish(n, w, width, (const double *)(void *)so.p, (const double *)(void *)inv.p,
                 rows);
    kernel_expect_all(c, "finish", &out, want);
    for (int l = 0; l < n; l++)
        for (int64_t e = 0; e < width; e++)
            if (isnan(matrix_get(&out, l, e))) {
                uint64_t bits = 0, quiet = real_is_f32(c) ? 0x7FC00000u : 0x7FF8000000000000u;
                memcpy(&bits, matrix_at(&out, l, e), attn_dtype_size(out.dtype));
                if (bits != quiet) kernel_fail(c, "the sign of a NaN of finish", l, e, 0, 0);
            }
}

/* ---- chunks and state -------------------------------------------------------------------- */

typedef struct fold_data {
    int w;
    int64_t width;
    bool fresh;
    matrix m, l, acc;  /* the chunk */
    matrix sm, sl, so; /* the state */
    double *was[3];    /* sm, sl, so before */
} fold_data;

/* A maximum; whole numbers make 2^x exact. Empty chunks and states have -inf. */
static double fold_draw(kernel_case *c, bool whole)
{
    double x = test_rng_normal(&c->rng) * (test_rng_chance(&c->rng, 10) ? 600 : 9);
    if (test_rng_chance(&c->rng, 20)) return -(double)INFINITY;
    if (c->wild && test_rng_chance(&c->rng, 5)) return real_special(c);
    return real_round(c, whole ? nearbyint(x) : x);
}

static void fold_make(kernel_case *c, fold_data *f, bool whole)
{
    const int w = f->w = kernel_width(c);
    f->width = kernel_size(c, 1);
    f->fresh = test_rng_chance(&c->rng, 25);
    f->m = matrix_make(c, 0, 1, w, w), f->l = matrix_make(c, 1, 1, w, w);
    f->acc = matrix_make(c, 2, f->width, w, w);
    f->sm = matrix_of(c, ATTN_DTYPE_F64, 3, 1, w, w);
    f->sl = matrix_of(c, ATTN_DTYPE_F64, 4, 1, w, w);
    f->so = matrix_of(c, ATTN_DTYPE_F64, 5, f->width, w, w);
    matrix_fill(c, &f->acc);
    for (int l = 0; l < w; l++) {
        double old = fold_draw(c, whole), mine = fold_draw(c, whole);
        matrix_put(&f->m, 0, l, mine);
        matrix_put(&f->l, 0, l,
                   mine >= -DBL_MAX ? fabs(real_draw(c))
                   : l % 2          ? (double)NAN
                                    : 0);
        for (int64_t e = 0; e < f->width && mine < -DBL_MAX; e++)
            matrix_put(&f->acc, e, l, e % 2 ? (double)NAN : (double)INFINITY);
        if (f->fresh) continue; /* the state stays NaN: it is only written */
        matrix_put(&f->sm, 0, l, old);
        matrix_put(&f->sl, 0, l, old < -DBL_MAX ? 0 : test_rng_uniform(&c->rng));
        for (int64_t e = 0; e < f->width; e++)
            matrix_put(&f->so, e, l, old < -DBL_MAX ? 0 : test_rng_normal(&c->rng));
    }
    f->was[0] = matrix_copy(c, &f->sm);
    f->was[1] = matrix_copy(c, &f->sl);
    f->was[2] = matrix_copy(c, &f->so);
}

static void fold_run(const fold_data *f, const attn__kernels *k)
{
    k->fold(f->w, f->width, f->fresh, f->m.p, f->l.p, f->acc.p, (double *)(void *)f->sm.p,
            (double *)(void *)f->sl.p, (double *)(void *)f->so.p);
}

/* exp2 with the cut of the kernels. */
static double fold_exp2(double x)
{
    return x < -1021 ? 0 : exp2(x);
}

/* fma(chunk, 2^(m-M), state * 2^(sm-M)). An empty chunk does not count, whatever it holds; nor
 * do values without weight, but the sum of a chunk always does: a NaN in it must show. */
static double fold_plain(const fold_data *f, int l, double chunk, bool is_sum, double state,
                         double *size)
{
    double m = matrix_get(&f->m, 0, l), sm = f->fresh ? -(double)INFINITY : f->was[0][l];
    double top = m > sm ? m : sm;
    double keep = m < -DBL_MAX ? 1 : fold_exp2(sm - top);
    double gain = m < -DBL_MAX ? 0 : fold_exp2(m - top);
    double kept = f->fresh ? 0 : state * keep;
    bool counts = gain > 0 || is_sum; /* a sum of NaN says that every score was one */
    double term = counts ? chunk : gain;
    *size = fabs(term * gain) + fabs(kept);
    return fma(term, gain, kept);
}

static void fold(kernel_case *c)
{
    fold_data f;
    double size;
    fold_make(c, &f, true);
    fold_run(&f, c->k);
    for (int l = 0; l < f.w; l++) {
        double m = matrix_get(&f.m, 0, l), sm = f.fresh ? -(double)INFINITY : f.was[0][l];
        kernel_expect(c, "fold sm", &f.sm, 0, l, m > sm ? m : sm);
        kernel_expect(c, "fold sl", &f.sl, 0, l,
                      fold_plain(&f, l, matrix_get(&f.l, 0, l), true, f.was[1][l], &size));
        for (int64_t e = 0; e < f.width; e++)
            kernel_expect(c, "fold so", &f.so, e, l,
                          fold_plain(&f, l, matrix_get(&f.acc, e, l), false,
                                     f.was[2][e * f.w + l], &size));
    }
}

/* Any maxima: the bits of the scalar table, and 2^x, the product and the fma are worth 3 ulp of
 * the larger part together. */
static void fold_between(kernel_case *c)
{
    fold_data f;
    double size;
    fold_make(c, &f, false);
    fold_run(&f, c->scalar);
    double *sm = matrix_copy(c, &f.sm), *sl = matrix_copy(c, &f.sl),
           *so = matrix_copy(c, &f.so);
    matrix_load(&f.sm, f.was[0]);
    matrix_load(&f.sl, f.was[1]);
    matrix_load(&f.so, f.was[2]);
    fold_run(&f, c->k);
    kernel_expect_all(c, "fold sm", &f.sm, sm);
    kernel_expect_all(c, "fold sl", &f.sl, sl);
    kernel_expect_all(c, "fold so", &f.so, so);
    for (int64_t i = 0; i < f.width * f.w; i++) {
        int l = (int)(i % f.w);
        double want =
            fold_plain(&f, l, matrix_get(&f.acc, i / f.w, l), false, f.was[2][i], &size);
        bool near = fabs(so[i] - want) <= 3 * 0x1p-52 * size + 0x1p-1074;
        if (!near && !real_same(so[i], want))
            kernel_fail(c, "fold so", i / f.w, l, so[i], want);
    }
}

/* Sums of a chunk as they mostly are, and their reciprocals; among what they divide, now and then,
 * something very small or large. */
static void finish_plain(kernel_case *c, const fold_data *f, const matrix *inv)
{
    const bool odd = test_rng_chance(&c->rng, 30);
    for (int l = 0; l < f->w; l++) {
        const double sum = real_round(c, 1 + 511 * test_rng_uniform(&c->rng));
        matrix_put(&f->m, 0, l, test_rng_normal(&c->rng));
        matrix_put(&f->l, 0, l, sum);
        matrix_put(inv, 0, l, 1 / sum);
        for (int64_t e = 0; e < f->width; e++) {
            const int far = odd && test_rng_chance(&c->rng, 3) ? 124 : 20;
            const int size = (int)test_rng_range(&c->rng, -far, far);
            matrix_put(&f->acc, e, l, real_round(c, ldexp(test_rng_normal(&c->rng), size)));
        }
    }
}

/* One chunk goes out as if it had been folded: lanes without weight hold anything but count as
 * 0; a maximum that is no number has made a NaN of the sum, and so of inv. */
static void finish_chunk(kernel_case *c)
{
    fold_data f;
    fold_make(c, &f, false);
    const int n = (int)test_rng_range(&c->rng, 0, f.w);
    matrix inv = matrix_of(c, ATTN_DTYPE_F64, 6, 1, f.w, f.w);
    matrix out = matrix_make(c, 7, n, f.width, f.width + test_rng_range(&c->rng, 0, 3));
    void **rows = state_rows(c, 8, &out);
    const bool plain = test_rng_chance(&c->rng, 50);
    if (plain) finish_plain(c, &f, &inv);
    for (int l = 0; l < f.w && !plain; l++) {
        if (test_rng_chance(&c->rng, 20)) matrix_put(&f.m, 0, l, -(double)INFINITY);
        const bool bad = !(matrix_get(&f.m, 0, l) <= DBL_MAX) || test_rng_chance(&c->rng, 10);
        matrix_put(&inv, 0, l, bad ? (double)NAN : 2 * test_rng_uniform(&c->rng));
    }
    const double *by = (const double *)(void *)inv.p;
    f.fresh = true;
    fold_run(&f, c->scalar);
    c->scalar->finish(n, f.w, f.width, (const double *)(void *)f.so.p, by, rows);
    double *want = matrix_copy(c, &out);
    for (int64_t i = 0; i < n * f.width; i++) matrix_put(&out, i / f.width, i % f.width, 77);
    c->k->finish_chunk(n, f.w, f.width, f.m.p, f.l.p, f.acc.p, by, rows);
    kernel_expect_all(c, "finish_chunk", &out, want);
}

/* ---- element types ----------------------------------------------------------------------- */

static bool state_has_nan(attn_dtype dtype, const void *p, int64_t i)
{
    return isnan(oracle_get(dtype, p, i));
}

/* The same bytes; where nan_differs, a NaN may be any NaN. */
static void state_same(kernel_case *c, const char *what, attn_dtype dtype, const void *got,
                       const void *want, int64_t n, bool nan_differs)
{
    const size_t size = attn_dtype_size(dtype);
    for (int64_t i = 0; i < n; i++) {
        const char *a = (const char *)got + i * (int64_t)size;
        if (!memcmp(a, (const char *)want + i * (int64_t)size, size)) continue;
        if (nan_differs && state_has_nan(dtype, got, i) && state_has_nan(dtype, want, i))
            continue;
        kernel_fail(c, what, n, i, oracle_get(dtype, got, i), oracle_get(dtype, want, i));
    }
}

/* Rounded by the oracle, which does not care for the sign of what rounds to 0; we do. */
static void state_put(attn_dtype dtype, void *p, int64_t i, double x)
{
    oracle_put(dtype, p, i, x);
    if (oracle_get(dtype, p, i) == 0) oracle_put(dtype, p, i, copysign(0, x));
}

/* From one type to another, n elements at the guard page. */
static void state_convert(kernel_case *c, attn_dtype from, attn_dtype to, const double *values,
                          int64_t n)
{
    size_t in_bytes = (size_t)n * attn_dtype_size(from),
           bytes = (size_t)n * attn_dtype_size(to);
    void *src = memory_place(0, c->side, in_bytes), *dst = memory_place(1, c->side, bytes);
    void *want = test_alloc(&c->arena, bytes + 1);
    for (int64_t i = 0; i < n; i++) {
        state_put(from, src, i, values[i]);
        state_put(to, want, i, oracle_get(from, src, i));
    }
    if (from == c->k->dtype)
        c->k->narrow[to](n, src, dst);
    else
        c->k->widen[from](n, src, dst);
    bool half = to == ATTN_DTYPE_BF16 || to == ATTN_DTYPE_F16;
    state_same(c, half ? "narrow" : "conversion", to, dst, want, n, !half);
}

/* At, beside and half way between neighbours of the narrow type. */
static double state_draw(kernel_case *c, attn_dtype narrow)
{
    static const double steps[] = {0, 0, 1, -1, 0.999, 1.001, -0.5};
    uint64_t bits = test_rng_next(&c->rng);
    double x = oracle_get(narrow, &bits, 0);
    if (isinf(x)) x = 2 * oracle_get(narrow, &(uint64_t){0x7B7F7B7F7B7F7B7F}, 0);
    if (isnan(x)) return x;
    return x + steps[bits % 7] * oracle_half_ulp(narrow, x);
}

static void convert(kernel_case *c)
{
    const int64_t n = kernel_size(c, 0);
    double *values = test_alloc(&c->arena, (size_t)(n + 1) * sizeof *values);
    for (int dtype = ATTN_DTYPE_F64; dtype < ATTN__N_FLOATS; dtype++) {
        for (int64_t i = 0; i < n; i++) values[i] = state_draw(c, (attn_dtype)dtype);
        state_convert(c, (attn_dtype)dtype, c->k->dtype, values, n);
        state_convert(c, c->k->dtype, (attn_dtype)dtype, values, n);
    }
}

static void widen_halves(kernel_case *c)
{
    enum { HALVES = 1 << 16 };
    static const attn_dtype halves[] = {ATTN_DTYPE_BF16, ATTN_DTYPE_F16};
    uint16_t *all = test_alloc(&c->arena, HALVES * sizeof *all);
    void *want = test_alloc(&c->arena, HALVES * sizeof(double));
    for (int h = 0; h < 2; h++) {
        void *dst = memory_place(0, c->side, HALVES * attn_dtype_size(c->k->dtype));
        for (int64_t i = 0; i < HALVES; i++) {
            all[i] = (uint16_t)i;
            oracle_put(c->k->dtype, want, i, oracle_get(halves[h], all, i));
        }
        c->k->widen[halves[h]](HALVES, all, dst);
        state_same(c, "widen", c->k->dtype, dst, want, HALVES, true);
    }
}

static void widen_every_half(void **state)
{
    (void)state;
    kernel_tables(widen_halves);
}

KERNEL_TEST(pack)
KERNEL_TEST(finish)
KERNEL_TEST(fold)
KERNEL_TEST(fold_between)
KERNEL_TEST(finish_chunk)
KERNEL_TEST(convert)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pack_agrees),         cmocka_unit_test(finish_agrees),
        cmocka_unit_test(fold_agrees),         cmocka_unit_test(fold_between_agrees),
        cmocka_unit_test(finish_chunk_agrees), cmocka_unit_test(convert_agrees),
        cmocka_unit_test(widen_every_half),
    };
    return cmocka_run_group_tests_name("kernel_state", tests, memory_begin, memory_end);
}
