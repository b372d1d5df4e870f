/* SPDX-License-Identifier: MIT
 * Rows wherever they lie, as reals: every kind against its definition, an element at a time,
 * each row against a guard page, any width. And the way there: how far a row reaches, and the
 * whole numbers that its numbers become. */
#include "kernel_case.h"

typedef struct rows_kind {
    int bits;
    bool coded;
} rows_kind;

static const rows_kind kinds[] = {
#define ROW(NAME, name, bits, coded) {bits, coded},
#include "kernel/rows.def"
#undef ROW
};

/* n rows of random bytes; row 0 lies flush against a guard page, the others as their elements
 * want it. */
static const void **rows_make(kernel_case *c, int64_t n, int64_t bytes, int64_t element)
{
    const void **row = test_alloc(&c->arena, (size_t)n * sizeof *row);
    for (int64_t i = 0; i < n; i++) {
        uint8_t *at = i == 0 ? memory_place(0, c->side, (size_t)bytes)
                             : test_alloc(&c->arena, (size_t)(bytes + element));
        if (i > 0) at += i % 2 * element;
        for (int64_t x = 0; x < bytes; x++) at[x] = (uint8_t)test_rng_next(&c->rng);
        row[i] = at;
    }
    return row;
}

static float *rows_floats(kernel_case *c, int64_t n)
{
    float *x = test_alloc(&c->arena, (size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++) x[i] = (float)test_rng_normal(&c->rng);
    return x;
}

/* The whole number at element d. */
static float rows_code(attn__row_kind kind, const void *row, int64_t d)
{
    if (kind == ATTN__ROW_I8) return (float)((const int8_t *)row)[d];
    const int half = ((const uint8_t *)row)[d / 2] >> d % 2 * 4 & 15;
    return (float)(half < 8 ? half : half - 16);
}

static double rows_number(const kernel_case *c, const attn__rows *rows, int64_t i, int64_t d)
{
    static const attn_dtype types[] = {ATTN_DTYPE_F64, ATTN_DTYPE_F32, ATTN_DTYPE_BF16,
                                       ATTN_DTYPE_F16};
    char element[8];
    if (!kinds[rows->kind].coded) {
        const size_t size = attn_dtype_size(types[rows->kind]);
        memcpy(element, (const char *)rows->row[i] + d * (int64_t)size, size);
        return real_round(c, oracle_get(types[rows->kind], element, 0));
    }
    const float scale = rows->scale ? rows->scale[i] : rows->columns[d];
    const float zero = rows->scale     ? rows->zero ? rows->zero[i] : 0.0f
                       : rows->offsets ? rows->offsets[d]
                                       : 0.0f;
    return (double)fmaf(rows_code(rows->kind, rows->row[i], d), scale, zero);
}

static void widen_kind(kernel_case *c, attn__row_kind kind)
{
    const int64_t n = test_rng_range(&c->rng, 1, 9), width = test_rng_range(&c->rng, 0, 300);
    const bool by_row = test_rng_chance(&c->rng, 50), zero = test_rng_chance(&c->rng, 50);
    const int64_t bytes = (width * kinds[kind].bits + 7) / 8;
    attn__rows rows = {.kind = kind, .row = rows_make(c, n, bytes, (kinds[kind].bits + 7) / 8)};
    if (kinds[kind].coded && by_row) rows.scale = rows_floats(c, n);
    if (kinds[kind].coded && by_row && zero) rows.zero = rows_floats(c, n);
    if (kinds[kind].coded && !by_row) rows.columns = rows_floats(c, width + 1);
    if (kinds[kind].coded && !by_row && zero) rows.offsets = rows_floats(c, width + 1);
    matrix dst = matrix_make(c, 1, n, width, width);
    double *want = matrix_copy(c, &dst);
    for (int64_t i = 0; i < n; i++)
        for (int64_t d = 0; d < width; d++) want[i * width + d] = rows_number(c, &rows, i, d);
    c->k->widen_rows[kind](&rows, n, width, dst.p);
    kernel_expect_all(c, "widen_rows", &dst, want);
}

static void widen_rows(kernel_case *c)
{
    for (int kind = 0; kind < ATTN__N_ROWS; kind++)
        if (kind != ATTN__ROW_F64 || !real_is_f32(c)) widen_kind(c, (attn__row_kind)kind);
}

KERNEL_TEST(widen_rows)

/* ---- rows to be coded --------------------------------------------------------------------- */

/* Numbers of any size against a guard page, now and then one that is none. */
static float *code_input(kernel_case *c, int64_t n, bool finite)
{
    static const float odd[] = {0, -0.0f, FLT_MAX, -FLT_MAX, 0x1p-140f, 1e30f};
    float *x = memory_place(0, c->side, (size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++) {
        x[i] = (float)test_rng_normal(&c->rng);
        if (c->wild && test_rng_chance(&c->rng, 10)) x[i] = odd[test_rng_range(&c->rng, 0, 5)];
        if (!finite && test_rng_chance(&c->rng, 1))
            x[i] = test_rng_chance(&c->rng, 50) ? NAN : -INFINITY;
    }
    return x;
}

static void extent(kernel_case *c)
{
    const int64_t n = test_rng_range(&c->rng, 1, 200);
    const float *x = code_input(c, n, false);
    float low = 7, high = 7, least = x[0], most = x[0];
    bool finite = true;
    for (int64_t i = 0; i < n; i++) {
        finite = finite && isfinite(x[i]);
        if (x[i] < least) least = x[i];
        if (x[i] > most) most = x[i];
    }
    if (!c->k->extent) return;
    if (c->k->extent(n, x, &low, &high) != finite)
        fail_msg("%s: extent, finite; ATTN_SEED=%llu", c->k->name, (unsigned long long)c->seed);
    if (finite && !(low == least && high == most))
        fail_msg("%s: extent; ATTN_SEED=%llu", c->k->name, (unsigned long long)c->seed);
}

/* Scales of a column, or of the row, as their makers leave them: none is subnormal. */
static float *code_scales(kernel_case *c, int64_t n)
{
    float *x = rows_floats(c, n + 1);
    for (int64_t i = 0; i <= n; i++) x[i] = fmaxf(fabsf(x[i]) / 20, FLT_MIN);
    if (c->wild && test_rng_chance(&c->rng, 30)) x[0] = FLT_MAX / 100;
    return x;
}

static int code_number(const attn__coding *a, float x, int64_t d)
{
    const int64_t at = a->columns ? d : 0;
    const float zero = a->zero ? a->zero[at] : 0;
    float q = nearbyintf(fminf(fmaxf((x - zero) / a->scale[at], a->low), a->high));
    if (isinf(fmaf(q, a->scale[at], zero))) q -= copysignf(1, q);
    return (int)q;
}

static void code(kernel_case *c)
{
    const int64_t n = test_rng_range(&c->rng, 0, 200);
    const float *x = code_input(c, n, true);
    attn__coding a = {.bits = test_rng_chance(&c->rng, 50) ? 8 : 4,
                      .columns = test_rng_chance(&c->rng, 50),
                      .scale = code_scales(c, n)};
    const bool zero = test_rng_chance(&c->rng, 50);
    a.high = a.bits == 8 ? 127 : 7;
    a.low = zero ? -a.high - 1 : -a.high;
    if (zero) a.zero = rows_floats(c, n + 1);
    const int64_t bytes = (n * a.bits + 7) / 8;
    uint8_t *dst = memory_place(1, c->side, (size_t)bytes);
    memset(dst, 0x5A, (size_t)bytes);
    if (!c->k->code) return;
    c->k->code(&a, n, x, dst);
    const attn__row_kind kind = a.bits == 8 ? ATTN__ROW_I8 : ATTN__ROW_I4;
    for (int64_t d = 0; d < n; d++)
        if (rows_code(kind, dst, d) != (float)code_number(&a, x[d], d))
            fail_msg("%s: code, element %lld; ATTN_SEED=%llu", c->k->name, (long long)d,
                     (unsigned long long)c->seed);
    if (n % 2 && a.bits == 4) assert_int_equal(dst[bytes - 1] >> 4, 0);
}

KERNEL_TEST(extent)
KERNEL_TEST(code)

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(widen_rows_agrees),
                                       cmocka_unit_test(extent_agrees),
                                       cmocka_unit_test(code_agrees)};
    return cmocka_run_group_tests_name("kernel_rows", tests, memory_begin, memory_end);
}
