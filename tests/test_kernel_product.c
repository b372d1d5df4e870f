/* SPDX-License-Identifier: MIT
 * The two products against plain loops: one fma chain a number, in ascending order, whatever
 * the tiles; rows apart, repeated or backward; NaN in every gap. */
#include "kernel_case.h"

/* Rows as far apart as they are wide, further, backward, or all the same. */
static int64_t product_stride(kernel_case *c, int64_t width)
{
    int64_t stride = width + test_rng_range(&c->rng, 0, 5);
    if (test_rng_chance(&c->rng, 10)) return 0;
    return test_rng_chance(&c->rng, 20) ? -stride : stride;
}

/* Other lanes of a wider panel, which are nobody's business here. */
static int product_ld(kernel_case *c, int w)
{
    return w + (test_rng_chance(&c->rng, 50) ? 0 : (int)test_rng_range(&c->rng, 1, 17));
}

/* Rows to ask for, which change nothing; some lie outside of all memory. */
static const attn__soon *product_soon(kernel_case *c, attn__soon *soon)
{
    static const char memory[4096];
    *soon = (attn__soon){.row = memory,
                         .step = test_rng_range(&c->rng, -300, 300),
                         .bytes = test_rng_range(&c->rng, 0, 300),
                         .rows = test_rng_range(&c->rng, 0, 70),
                         .write = test_rng_chance(&c->rng, 50),
                         .far = test_rng_chance(&c->rng, 50)};
    return test_rng_chance(&c->rng, 70) ? soon : NULL;
}

/* Keys of whole tiles that no lane misses; to the end where all lanes go there. */
static void scores_open(kernel_case *c, int64_t n, int64_t least, int64_t *open)
{
    const int64_t tile = c->k->gemm_rows;
    open[0] = test_rng_range(&c->rng, 0, least) / tile * tile;
    open[1] = open[0] + test_rng_range(&c->rng, 0, least - open[0]) / tile * tile;
    if (least == n && test_rng_chance(&c->rng, 50)) open[1] = n;
}

/* The same numbers where lanes have not stopped, and the largest of each lane among open keys,
 * beside what was there; NaN is passed over. */
static void scores_top(kernel_case *c, const matrix *s, int64_t n, int w, const matrix *k,
                       const matrix *q, int64_t k_stride, int ld, const double *want)
{
    matrix m = matrix_make(c, 3, 1, w, w);
    attn__soon soon;
    int64_t stop[ATTN__SLICES], open[2];
    double *most = test_alloc(&c->arena, (size_t)w * sizeof *most);
    kernel_stops(c, test_rng_chance(&c->rng, 50), n, stop);
    stop[(w - 1) / ATTN__SLICE] = n;
    scores_open(c, n, stop[0], open);
    for (int l = 0; l < w; l++) matrix_put(&m, 0, l, l % 2 ? -(double)INFINITY : real_draw(c));
    for (int l = 0; l < w; l++) most[l] = matrix_get(&m, 0, l);
    for (int64_t j = open[0]; j < open[1]; j++)
        for (int l = 0; l < w; l++)
            if (want[j * w + l] > most[l]) most[l] = want[j * w + l];
    for (int64_t i = 0; i < n * w; i++) matrix_put(s, i / w, i % w, (double)NAN);
    c->k->scores_max(stop, w, k->cols, k->p, k_stride, q->p, ld, s->p, open, m.p,
                     product_soon(c, &soon));
    for (int64_t j = 0; j < n; j++)
        for (int l = 0; l < w; l++)
            if (j < stop[l / ATTN__SLICE])
                kernel_expect(c, "scores of scores_max", s, j, l, want[j * w + l]);
    for (int l = 0; l < w; l++)
        if (matrix_get(&m, 0, l) != most[l]) kernel_expect(c, "scores_max", &m, 0, l, most[l]);
}

static void scores(kernel_case *c)
{
    const int64_t n = kernel_size(c, 0), depth = kernel_size(c, 1);
    const int64_t k_stride = product_stride(c, depth);
    const int w = kernel_width(c), ld = product_ld(c, w);
    matrix k = matrix_make(c, 0, n, depth, k_stride), q = matrix_make(c, 1, depth, w, ld);
    matrix s = matrix_make(c, 2, n, w, ld);
    double *want = matrix_copy(c, &s);
    matrix_fill(c, &k);
    matrix_fill(c, &q);
    for (int64_t j = 0; j < n; j++)
        for (int l = 0; l < w; l++) {
            double sum = 0;
            for (int64_t d = 0; d < depth; d++)
                sum = real_fma(c, matrix_get(&k, j, d), matrix_get(&q, d, l), sum);
            want[j * w + l] = sum;
        }
    c->k->scores(n, w, depth, k.p, k_stride, q.p, ld, s.p);
    kernel_expect_all(c, "scores", &s, want);
    scores_top(c, &s, n, w, &k, &q, k_stride, ld, want);
}

/* Where marks begin: at once, anywhere, or behind the last key of the slice in front. */
static void weigh_clean(kernel_case *c, const int64_t *stop, bool masked, int64_t *clean)
{
    const bool stairs = test_rng_chance(&c->rng, 50), any = test_rng_chance(&c->rng, 50);
    for (int x = 0; x < ATTN__SLICES; x++) {
        const int64_t least = stairs && x > 0 ? stop[x - 1] : 0;
        clean[x] = stairs || any ? test_rng_range(&c->rng, least, stop[x]) : 0;
        if (!masked) clean[x] = stop[x];
    }
}

/* Weights from 0 up; behind the clean ones some forbidden, some rows of them entirely, and there
 * v holds rubbish. */
static void weigh_fill(kernel_case *c, const matrix *p, const matrix *v, bool masked,
                       const int64_t *clean)
{
    int64_t most = 0;
    for (int x = 0; x < ATTN__SLICES; x++) most = clean[x] > most ? clean[x] : most;
    matrix_fill(c, v);
    for (int64_t j = 0; j < p->rows; j++) {
        bool none = masked && v->stride != 0 && test_rng_chance(&c->rng, 20) && j >= most;
        for (int64_t l = 0; l < p->cols; l++) {
            double x = fabs(real_draw(c));
            bool forbidden = none || (masked && test_rng_chance(&c->rng, 30));
            forbidden = forbidden && j >= clean[l / ATTN__SLICE];
            matrix_put(p, j, l, forbidden ? -0.0 : x);
        }
        for (int64_t e = 0; e < v->cols && none; e++)
            matrix_put(v, j, e, e % 2 ? (double)NAN : -(double)INFINITY);
    }
}

static void weigh(kernel_case *c)
{
    const int64_t n = kernel_size(c, 0), width = kernel_size(c, 1);
    const int64_t v_stride = product_stride(c, width);
    const int w = kernel_width(c), ld = product_ld(c, w);
    const bool masked = test_rng_chance(&c->rng, 50), fresh = test_rng_chance(&c->rng, 30);
    const bool steps = test_rng_chance(&c->rng, 50);
    attn__soon soon;
    int64_t stop[ATTN__SLICES], clean[ATTN__SLICES];
    matrix p = matrix_make(c, 0, n, w, ld), v = matrix_make(c, 1, n, width, v_stride);
    matrix acc = matrix_make(c, 2, width, w, ld);
    if (!fresh) matrix_fill(c, &acc); /* else it stays NaN: it is only written */
    kernel_stops(c, steps, n, stop);
    weigh_clean(c, stop, masked, clean);
    weigh_fill(c, &p, &v, masked, clean);
    double *want = matrix_copy(c, &acc);
    for (int64_t e = 0; e < width; e++)
        for (int l = 0; l < w; l++) {
            double sum = 0;
            for (int64_t j = 0; j < stop[l / ATTN__SLICE]; j++) {
                double weight = matrix_get(&p, j, l);
                if (masked && signbit(weight)) continue;
                sum = real_fma(c, weight, matrix_get(&v, j, e), sum);
            }
            want[e * w + l] = real_add(c, fresh ? 0 : want[e * w + l], sum);
        }
    if (steps)
        c->k->weigh_steps(stop, clean, w, width, p.p, ld, v.p, v_stride, fresh, acc.p,
                          product_soon(c, &soon));
    else
        c->k->weigh(n, w, width, p.p, ld, v.p, v_stride, masked, fresh, acc.p);
    kernel_expect_all(c, masked ? "weigh, masked" : "weigh", &acc, want);
}

KERNEL_TEST(scores)
KERNEL_TEST(weigh)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_agrees),
        cmocka_unit_test(weigh_agrees),
    };
    return cmocka_run_group_tests_name("kernel_product", tests, memory_begin, memory_end);
}
