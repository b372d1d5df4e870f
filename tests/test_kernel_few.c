/* SPDX-License-Identifier: MIT
 * The kernels for few lanes against plain loops: rows of every kind anywhere in memory, each
 * flush against a guard page or against rubbish, every width around the words and vectors, and
 * keys that end anywhere. Coded numbers count as fma(q, scale, zero) in f32. */
#include "kernel_case.h"

enum { FEW_ROWS = 80 };

typedef struct few_operand {
    attn__rows rows;
    const void *row[FEW_ROWS + ATTN__ROWS_NEAR];
    float scale[FEW_ROWS], zero[FEW_ROWS], columns[300], offsets[300];
    double *value; /* [n][width]: what the numbers stand for */
} few_operand;

/* One number into a row; returns what it reads as. */
static double few_put_f64(kernel_case *c, char *row, int64_t e)
{
    const double x = real_draw(c);
    memcpy(row + e * 8, &x, sizeof x);
    return x;
}
static double few_put_f32(kernel_case *c, char *row, int64_t e)
{
    const float x = (float)real_draw(c);
    memcpy(row + e * 4, &x, sizeof x);
    return (double)x;
}
static double few_put_bf16(kernel_case *c, char *row, int64_t e)
{
    const uint16_t x = attn__f32_to_bf16((float)real_draw(c));
    memcpy(row + e * 2, &x, sizeof x);
    return (double)attn__bf16_to_f32(x);
}
static double few_put_f16(kernel_case *c, char *row, int64_t e)
{
    const uint16_t x = attn__f32_to_f16((float)real_draw(c));
    memcpy(row + e * 2, &x, sizeof x);
    return (double)attn__f16_to_f32(x);
}
static double few_put_i8(kernel_case *c, char *row, int64_t e)
{
    const int64_t x = test_rng_range(&c->rng, -128, 127);
    row[e] = (char)(signed char)x;
    return (double)x;
}
static double few_put_i4(kernel_case *c, char *row, int64_t e)
{
    const int64_t x = test_rng_range(&c->rng, -8, 7);
    unsigned char *at = (unsigned char *)row + e / 2;
    const int shift = e % 2 ? 4 : 0;
    *at = (unsigned char)((*at & (0xF0 >> shift)) | (unsigned)(x & 15) << shift);
    return (double)x;
}

static double (*const few_put[])(kernel_case *, char *, int64_t) = {
#define ROW(NAME, name, bits, coded) few_put_##name,
#include "kernel/rows.def"
#undef ROW
};

/* n rows of a kind in a slot: dense, apart, in any order, some of them the same; the last byte
 * of the last one, or the first of the first, lies at the guard page. */
static void few_make(kernel_case *c, few_operand *o, int slot, attn__row_kind kind, int64_t n,
                     int64_t width)
{
    const int64_t bytes = (width * attn__row_form_of(kind).bits + 7) / 8;
    const int64_t step =
        bytes + (test_rng_chance(&c->rng, 50) ? test_rng_range(&c->rng, 0, 9) : 0);
    const size_t all = (size_t)(n > 0 ? (n - 1) * step + bytes : 0);
    char *memory = memory_place(slot, c->side, all);
    const bool mixed = test_rng_chance(&c->rng, 50);
    double *value = test_alloc(&c->arena, (size_t)(n * width + 1) * sizeof *value);
    for (int64_t i = 0; i < n; i++)
        for (int64_t e = 0; e < width; e++)
            value[i * width + e] = few_put[kind](c, memory + i * step, e);
    o->value = test_alloc(&c->arena, (size_t)(n * width + 1) * sizeof *value);
    o->rows = (attn__rows){.kind = kind, .row = o->row};
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = mixed ? test_rng_range(&c->rng, 0, n - 1) : i;
        o->row[i] = memory + at * step;
        memcpy(o->value + i * width, value + at * width, (size_t)width * sizeof *value);
    }
    for (int64_t i = 0; i < ATTN__ROWS_NEAR; i++) o->row[n + i] = memory;
    if (test_rng_chance(&c->rng, 50)) o->rows.ahead = o->row;
    o->rows.far = o->rows.ahead && test_rng_chance(&c->rng, 50);
}

/* Scales by row or by column, with or without zeros, for coded kinds. */
static void few_code(kernel_case *c, few_operand *o, int64_t n, int64_t width)
{
    const bool by_row = test_rng_chance(&c->rng, 50), zeros = test_rng_chance(&c->rng, 50);
    if (!attn__row_form_of(o->rows.kind).coded) return;
    for (int i = 0; i < FEW_ROWS; i++) {
        o->scale[i] = (float)test_rng_normal(&c->rng);
        o->zero[i] = (float)test_rng_normal(&c->rng);
    }
    for (int i = 0; i < 300; i++) {
        o->columns[i] = (float)test_rng_normal(&c->rng);
        o->offsets[i] = (float)test_rng_normal(&c->rng);
    }
    o->rows.scale = by_row ? o->scale : NULL;
    o->rows.zero = by_row && zeros ? o->zero : NULL;
    o->rows.columns = by_row ? NULL : o->columns;
    o->rows.offsets = !by_row && zeros ? o->offsets : NULL;
    for (int64_t i = 0; i < n; i++)
        for (int64_t e = 0; e < width; e++) {
            double *x = &o->value[i * width + e];
            const float scale = by_row ? o->scale[i] : o->columns[e];
            const float zero = !zeros ? 0.0f : by_row ? o->zero[i] : o->offsets[e];
            *x = (double)fmaf((float)*x, scale, zero);
        }
}

static void few_scores_kind(kernel_case *c, attn__row_kind kind)
{
    few_operand k = {.value = NULL};
    const int64_t n = test_rng_range(&c->rng, 1, FEW_ROWS);
    const int64_t depth = test_rng_range(&c->rng, 1, test_rng_chance(&c->rng, 20) ? 200 : 40);
    const int lanes = (int)test_rng_range(&c->rng, 1, ATTN__FEW), w = kernel_narrow(c, lanes);
    const int ld = (w + c->k->step - 1) / c->k->step * c->k->step;
    matrix q = matrix_make(c, 1, depth, ld, ld), s = matrix_make(c, 2, n, w, w);
    few_make(c, &k, 0, kind, n, depth);
    few_code(c, &k, n, depth);
    matrix_fill(c, &q);
    for (int64_t d = 0; d < depth; d++)
        for (int l = lanes; l < ld; l++) matrix_put(&q, d, l, 0);
    double *want = matrix_copy(c, &s);
    for (int64_t j = 0; j < n; j++)
        for (int l = 0; l < w; l++) {
            double sum = 0;
            for (int64_t d = 0; d < depth; d++)
                sum = real_fma(c, matrix_get(&q, d, l), k.value[j * depth + d], sum);
            want[j * w + l] = sum;
        }
    c->k->few_scores[kind](n, lanes, w, depth, &k.rows, q.p, ld, s.p);
    for (int64_t j = 0; j < n; j++)
        for (int l = 0; l < lanes; l++)
            kernel_expect(c, "few_scores", &s, j, l, want[j * w + l]);
}

/* Forbidden ones meet infinities and NaN as often as others. */
static void few_weights(kernel_case *c, const matrix *p, bool masked)
{
    for (int64_t j = 0; j < p->rows; j++)
        for (int64_t l = 0; l < p->cols; l++) {
            const bool forbidden = masked && test_rng_chance(&c->rng, 40);
            matrix_put(p, j, l, forbidden ? -0.0 : fabs(real_draw(c)));
        }
}

static void few_weigh_kind(kernel_case *c, attn__row_kind kind)
{
    few_operand v = {.value = NULL};
    const int64_t n = test_rng_range(&c->rng, 0, ATTN__BLOCK);
    const int64_t width = test_rng_range(&c->rng, 1, test_rng_chance(&c->rng, 20) ? 200 : 40);
    const int lanes = (int)test_rng_range(&c->rng, 1, ATTN__FEW), w = kernel_narrow(c, lanes);
    const int64_t ld = (width + c->k->step - 1) / c->k->step * c->k->step;
    const bool masked = test_rng_chance(&c->rng, 50), fresh = test_rng_chance(&c->rng, 30);
    matrix p = matrix_make(c, 0, n, w, w), acc = matrix_make(c, 2, w, ld, ld);
    matrix total = matrix_make(c, 3, 1, w, w);
    const bool sums = test_rng_chance(&c->rng, 50);
    few_make(c, &v, 1, kind, n, width);
    few_code(c, &v, n, width);
    few_weights(c, &p, masked);
    matrix_fill(c, &total);
    double *all = matrix_copy(c, &total);
    for (int l = 0; l < lanes && sums; l++) {
        double sum = 0;
        for (int64_t j = 0; j < n; j++) sum = real_add(c, sum, matrix_get(&p, j, l));
        all[l] = real_add(c, all[l], sum);
    }
    if (!fresh) matrix_fill(c, &acc); /* else it stays NaN: it is only written */
    double *want = matrix_copy(c, &acc);
    for (int l = 0; l < lanes; l++)
        for (int64_t e = 0; e < width; e++) {
            double sum = 0;
            for (int64_t j = 0; j < n; j++) {
                const double weight = matrix_get(&p, j, l);
                if (masked && signbit(weight)) continue;
                sum = real_fma(c, weight, v.value[j * width + e], sum);
            }
            want[l * ld + e] = real_add(c, fresh ? 0 : want[l * ld + e], sum);
        }
    c->k->few_weigh[kind](n, lanes, w, width, p.p, sums ? total.p : NULL, &v.rows, masked,
                          fresh, acc.p, ld);
    for (int l = 0; l < lanes; l++) kernel_expect(c, "sums of weights", &total, 0, l, all[l]);
    for (int l = 0; l < lanes; l++)
        for (int64_t e = 0; e < width; e++)
            kernel_expect(c, masked ? "few_weigh, masked" : "few_weigh", &acc, l, e,
                          want[l * ld + e]);
}

/* A table has both kernels of a kind or none; f32 tables all kinds but f64, f64 that one; those
 * whose vectors are single numbers none. */
static void few_has(kernel_case *c)
{
    for (int kind = 0; kind < ATTN__N_ROWS; kind++) {
        const bool has = c->k->step > 1 && (kind == ATTN__ROW_F64) != real_is_f32(c);
        assert_int_equal(c->k->few_scores[kind] != NULL, has);
        assert_int_equal(c->k->few_weigh[kind] != NULL, has);
    }
}

static void few_tables_are_whole(void **state)
{
    (void)state;
    kernel_tables(few_has);
}

static void few_scores(kernel_case *c)
{
    for (int kind = 0; kind < ATTN__N_ROWS; kind++)
        if (c->k->few_scores[kind]) few_scores_kind(c, (attn__row_kind)kind);
}

static void few_weigh(kernel_case *c)
{
    for (int kind = 0; kind < ATTN__N_ROWS; kind++)
        if (c->k->few_weigh[kind]) few_weigh_kind(c, (attn__row_kind)kind);
}

KERNEL_TEST(few_scores)
KERNEL_TEST(few_weigh)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_tables_are_whole),
        cmocka_unit_test(few_scores_agrees),
        cmocka_unit_test(few_weigh_agrees),
    };
    return cmocka_run_group_tests_name("kernel_few", tests, memory_begin, memory_end);
}
