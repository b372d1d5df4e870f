/* SPDX-License-Identifier: MIT
 * The loops of the half mode against plain ones in C integers, where this machine has them: the
 * same bits, in guarded memory. Integers are as large as they may be, so that a sum which left
 * its 32 bits would show. */
#include "half_case.h"

/* x times factor as an integer. */
static int16_t half_whole(double x, float factor)
{
    const float magic = 0x1.8p23f;
    return (int16_t)(fmaf((float)x, factor, magic) - magic);
}

/* Any int16 but the least. */
static int16_t *half_integers(kernel_case *c, int slot, int64_t n)
{
    int16_t *x = memory_place(slot, c->side, (size_t)n * sizeof *x);
    const bool large = test_rng_chance(&c->rng, 30);
    for (int64_t i = 0; i < n; i++) {
        const int64_t y = test_rng_range(&c->rng, -ATTN__HALF_MOST, ATTN__HALF_MOST);
        x[i] = (int16_t)(large ? ATTN__HALF_MOST : y);
    }
    return x;
}

/* ---- rows to integers -------------------------------------------------------------------- */

/* Anything that the loops may meet; most: in no row but a NaN is larger than all. */
static void sizes(kernel_case *c)
{
    const int64_t n = kernel_size(c, 0);
    const int w = kernel_width(c);
    if (!half_of(c)) return;
    matrix t = matrix_make(c, 0, n, w, w);
    matrix_fill(c, &t);
    float *most = half_floats(c, 1, w, 0, 1), *square = half_floats(c, 2, w, 0, 1);
    half_of(c)->sizes(n, w, t.p, most, square);
    for (int l = 0; l < w; l++) {
        double top = 0;
        float sum = 0;
        for (int64_t d = 0; d < n; d++) {
            const double x = fabs(matrix_get(&t, d, l));
            if (!(x <= top)) top = isnan(top) ? top : x;
            sum = fmaf((float)x, (float)x, sum);
        }
        half_expect(c, "most", l, (double)most[l], top);
        half_expect(c, "square", l, (double)square[l], (double)sum);
    }
}

static void most(kernel_case *c)
{
    const int64_t n = kernel_size(c, 0), width = kernel_size(c, 0);
    const int64_t stride = width + test_rng_range(&c->rng, 0, 3);
    if (!half_of(c)) return;
    matrix rows = matrix_make(c, 0, n, width, stride);
    matrix_fill(c, &rows);
    float *top = half_floats(c, 1, n, 0, 1);
    half_of(c)->most(n, width, rows.p, stride, top);
    for (int64_t j = 0; j < n; j++) {
        double want = 0;
        for (int64_t e = 0; e < width; e++) {
            const double x = fabs(matrix_get(&rows, j, e));
            if (!(x <= want)) want = isnan(want) ? want : x;
        }
        half_expect(c, "most of a row", j, (double)top[j], want);
    }
}

/* Numbers within 1 times factors within the largest integer. */
static matrix half_rows(kernel_case *c, int slot, int64_t n, int64_t width, int64_t stride)
{
    matrix m = matrix_make(c, slot, n, width, stride);
    for (int64_t j = 0; j < n; j++)
        for (int64_t d = 0; d < width; d++)
            matrix_put(&m, j, d, 2 * test_rng_uniform(&c->rng) - 1);
    return m;
}

static void queries(kernel_case *c)
{
    const int64_t depth = kernel_size(c, 0), even = depth + depth % 2;
    const int w = kernel_width(c);
    if (!half_of(c)) return;
    matrix t = half_rows(c, 0, depth, w, w);
    float *factor = half_floats(c, 1, w, 0, ATTN__HALF_MOST);
    int16_t *pairs = half_integers(c, 2, even * w);
    half_of(c)->queries(depth, w, t.p, factor, pairs);
    for (int64_t d = 0; d < even; d++)
        for (int l = 0; l < w; l++) {
            const double x = d < depth ? matrix_get(&t, d, l) : 0;
            half_expect(c, "queries", d * w + l, pairs[(d / 2 * w + l) * 2 + d % 2],
                        half_whole(x, factor[l]));
        }
}

static void keys(kernel_case *c)
{
    const int64_t n = kernel_size(c, 0), depth = kernel_size(c, 0), even = depth + depth % 2;
    const int64_t stride = depth + test_rng_range(&c->rng, 0, 3);
    if (!half_of(c)) return;
    matrix k = half_rows(c, 0, n, depth, stride);
    float *factor = half_floats(c, 1, n, 0, ATTN__HALF_MOST);
    int16_t *rows = half_integers(c, 2, n * even);
    half_of(c)->keys(n, depth, k.p, stride, factor, rows);
    for (int64_t j = 0; j < n; j++)
        for (int64_t d = 0; d < even; d++)
            half_expect(c, "keys", j * even + d, rows[j * even + d],
                        half_whole(d < depth ? matrix_get(&k, j, d) : 0, factor[j]));
}

/* Where key j of a block and column e lie. */
static int64_t half_value(int64_t j, int64_t e, int64_t width)
{
    const int64_t begin = e - e % ATTN__HALF_GROUP, left = width - begin;
    const int64_t group = left < ATTN__HALF_GROUP ? left : ATTN__HALF_GROUP;
    return begin * ATTN__HALF_BLOCK + (j / 2 * group + e - begin) * 2 + j % 2;
}

/* Some keys of a block; the others stay as they are. */
static void values(kernel_case *c)
{
    const int64_t first = test_rng_range(&c->rng, 0, ATTN__HALF_BLOCK / 2 - 1) * 2;
    const int64_t n = test_rng_range(&c->rng, 1, ATTN__HALF_BLOCK - first);
    const int64_t width = kernel_size(c, 0), stride = width + test_rng_range(&c->rng, 0, 3);
    if (!half_of(c)) return;
    matrix v = half_rows(c, 0, n, width, stride);
    float *factor = half_floats(c, 1, n, 0, ATTN__HALF_MOST);
    int16_t *block = half_integers(c, 2, ATTN__HALF_BLOCK * width);
    for (int64_t i = 0; i < ATTN__HALF_BLOCK * width; i++) block[i] = -1;
    half_of(c)->values(first, n, width, v.p, stride, factor, block);
    for (int64_t j = 0; j < ATTN__HALF_BLOCK; j++)
        for (int64_t e = 0; e < width; e++) {
            const int64_t x = j - first;
            const int want = x >= 0 && x < n   ? half_whole(matrix_get(&v, x, e), factor[x])
                             : x == n && n % 2 ? 0
                                               : -1;
            half_expect(c, "values", j * width + e, block[half_value(j, e, width)], want);
        }
}

/* ---- products ---------------------------------------------------------------------------- */

/* Rows whose products stay in 32 bits. */
static int16_t *half_short(kernel_case *c, int slot, int64_t n, int64_t pairs)
{
    int16_t *x = half_integers(c, slot, n);
    for (int64_t i = 0; i < n; i++)
        x[i] = (int16_t)(x[i] / (pairs > 1 ? (int64_t)ceil(sqrt(2.0 * (double)pairs)) : 1));
    return x;
}

static void scores(kernel_case *c)
{
    const int64_t n = kernel_size(c, 0), pairs = kernel_size(c, 0);
    const int w = kernel_width(c), ld = w + (int)test_rng_range(&c->rng, 0, 17);
    if (!half_of(c)) return;
    int16_t *k = half_short(c, 0, n * 2 * pairs, pairs);
    int16_t *q = half_short(c, 1, pairs > 0 ? 2 * ((pairs - 1) * ld + w) : 0, pairs);
    float *k_unit = half_floats(c, 2, n, 0, 1), *q_unit = half_floats(c, 3, w, 0, 1);
    float *top = half_floats(c, 4, w, -1e4, 1e4), highest[ATTN__PANEL];
    matrix s = matrix_make(c, 5, n, w, ld);
    double *want = matrix_copy(c, &s);
    memcpy(highest, top, (size_t)w * sizeof *top);
    for (int64_t j = 0; j < n; j++)
        for (int l = 0; l < w; l++) {
            int64_t sum = 0;
            for (int64_t d = 0; d < 2 * pairs; d++)
                sum += k[j * 2 * pairs + d] * q[(d / 2 * ld + l) * 2 + d % 2];
            const float score = (float)sum * k_unit[j] * q_unit[l];
            want[j * w + l] = (double)score;
            if (score > highest[l]) highest[l] = score;
        }
    half_of(c)->scores(n, w, pairs, k, k_unit, q, q_unit, ld, s.p, top);
    kernel_expect_all(c, "half scores", &s, want);
    half_expect_floats(c, "top", top, highest, w);
}

/* Weights of the keys from first on, times their units: the sum over each 64 in four chains, and
 * the largest. */
static float half_sum(const matrix *p, const float *unit, int first, int l, float *most)
{
    float part[2][4] = {{0}};
    *most = 0;
    for (int j = 0; j < p->rows; j++) {
        const float x = (float)matrix_get(p, j, l) * unit[first + j];
        part[(first + j) / 64][(first + j) % 4] += x;
        if (x > *most) *most = x;
    }
    const float *a = part[0], *b = part[1];
    return ((a[0] + a[1]) + (a[2] + a[3])) + ((b[0] + b[1]) + (b[2] + b[3]));
}

static void half_weighed(kernel_case *c, const matrix *p, const attn__half_block *b,
                         int64_t width, int l, double *want)
{
    float most;
    const float sum = half_sum(p, b->unit, b->first, l, &most);
    const float by_sum = sum / 65000, by_most = most / 32700;
    const float worth = sum < 0x1p-100f ? 0 : by_sum > by_most ? by_sum : by_most;
    for (int64_t e = 0; e < width; e++) {
        int64_t total = 0;
        for (int j = 0; j < b->n; j++) {
            const int at = b->first + j;
            const double x = real_mul(c, matrix_get(p, j, l), (double)b->unit[at]);
            const int16_t n = half_whole(x, worth > 0 ? 1 / worth : 0);
            total += n * b->v[half_value(at, e, width)];
        }
        assert_true(total <= INT32_MAX && total >= -INT32_MAX);
        double *to = &want[e * p->cols + l];
        *to = (double)fmaf((float)total, worth, (float)*to);
    }
}

/* Weights up to 1, some forbidden; one alone, or all the same, as large as they get. */
static void half_weights(kernel_case *c, const matrix *p)
{
    const int64_t kind = test_rng_range(&c->rng, 0, 4);
    for (int64_t j = 0; j < p->rows; j++)
        for (int64_t l = 0; l < p->cols; l++) {
            const double x = kind == 0   ? 1
                             : kind == 1 ? (j % 50 == 7)
                                         : test_rng_uniform(&c->rng);
            matrix_put(p, j, l, kind > 2 && test_rng_chance(&c->rng, 10) ? -0.0 : x);
        }
}

/* Blocks cut at both ends; sums made, or given as exp leaves them. */
static void weigh(kernel_case *c)
{
    const int64_t width = kernel_size(c, 0);
    const int w = kernel_width(c), ld = w + (int)test_rng_range(&c->rng, 0, 17);
    const bool fresh = test_rng_chance(&c->rng, 30), known = test_rng_chance(&c->rng, 50);
    attn__half_block b = {.n = ATTN__HALF_BLOCK};
    if (test_rng_chance(&c->rng, 50)) {
        b.first = (int)test_rng_range(&c->rng, 0, ATTN__HALF_BLOCK - 1);
        b.n = (int)test_rng_range(&c->rng, 1, ATTN__HALF_BLOCK - b.first);
    }
    if (!half_of(c)) return;
    b.v = half_integers(c, 0, ATTN__HALF_BLOCK * width);
    b.unit = half_floats(c, 1, ATTN__HALF_BLOCK, 0, test_rng_chance(&c->rng, 10) ? 1e-30 : 1);
    matrix p = matrix_make(c, 2, b.n, w, ld), acc = matrix_make(c, 3, width, w, ld);
    float *sum = half_floats(c, 4, w, 0, 1), *most = half_floats(c, 5, w, 0, 1);
    half_weights(c, &p);
    if (!fresh) matrix_fill(c, &acc);
    double *want = matrix_copy(c, &acc);
    for (int64_t i = 0; i < width * w && fresh; i++) want[i] = 0;
    for (int l = 0; l < w; l++) {
        sum[l] = half_sum(&p, b.unit, b.first, l, &most[l]);
        half_weighed(c, &p, &b, width, l, want);
    }
    if (known) b.sum = sum, b.most = most;
    if (known && b.n == ATTN__HALF_BLOCK && test_rng_chance(&c->rng, 50)) {
        for (int i = 0; i < b.n * w; i++)
            matrix_put(&p, i / w, i % w,
                       real_mul(c, matrix_get(&p, i / w, i % w), (double)b.unit[i / w]));
        b.unit = NULL;
    }
    half_of(c)->weigh(&b, w, width, p.p, ld, fresh, acc.p);
    kernel_expect_all(c, "half weigh", &acc, want);
}

KERNEL_TEST(sizes)
KERNEL_TEST(most)
KERNEL_TEST(queries)
KERNEL_TEST(keys)
KERNEL_TEST(values)
KERNEL_TEST(scores)
KERNEL_TEST(weigh)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_agrees),   cmocka_unit_test(most_agrees),
        cmocka_unit_test(queries_agrees), cmocka_unit_test(keys_agrees),
        cmocka_unit_test(values_agrees),  cmocka_unit_test(scores_agrees),
        cmocka_unit_test(weigh_agrees),
    };
    return cmocka_run_group_tests_name("kernel_half", tests, memory_begin, memory_end);
}
