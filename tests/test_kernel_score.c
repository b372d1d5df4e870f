/* SPDX-License-Identifier: MIT
 * Scores that are no products, their tangents and gradients, against plain loops: one chain a
 * number, in ascending order, whatever the tiles; rows apart, repeated or backward; pairs of no
 * weight count nothing, whatever their rows hold. The tanh of one number is that of the scalar
 * table, which test_kernel_softmax holds to the mathematics. */
#include "kernel_case.h"

typedef struct score_case {
    int64_t n, depth;
    int w, ld;
    matrix k, q, weight, t_k, t_q;
    attn__pairs pairs;
} score_case;

static score_case score_make(kernel_case *c, int64_t most)
{
    score_case s = {.n = kernel_size(c, 0), .depth = kernel_size(c, 1), .w = kernel_width(c)};
    if (most > 0 && s.n > most) s.n = most;
    s.ld = s.w + (test_rng_chance(&c->rng, 50) ? 0 : (int)test_rng_range(&c->rng, 1, 17));
    int64_t stride = s.depth + test_rng_range(&c->rng, 0, 5);
    if (test_rng_chance(&c->rng, 20)) stride = test_rng_chance(&c->rng, 50) ? 0 : -stride;
    s.k = matrix_make(c, 0, s.n, s.depth, stride);
    s.q = matrix_make(c, 1, s.depth, s.w, s.ld);
    s.weight = matrix_make(c, 2, s.depth, s.w, s.ld);
    s.t_k = matrix_make(c, 3, s.n, s.depth, s.depth);
    s.t_q = matrix_make(c, 4, s.depth, s.w, s.ld);
    matrix *all[] = {&s.k, &s.q, &s.weight, &s.t_k, &s.t_q};
    for (int i = 0; i < 5; i++) matrix_fill(c, all[i]);
    s.pairs = (attn__pairs){.n = s.n,
                            .depth = s.depth,
                            .w = s.w,
                            .ld = s.ld,
                            .k = s.k.p,
                            .k_stride = stride,
                            .q = s.q.p,
                            .weight = s.weight.p,
                            .t_k = s.t_k.p,
                            .t_q = s.t_q.p,
                            .t_k_stride = s.depth};
    return s;
}

/* Derivatives of pairs: a third of them 0, and rows of k of no weight at all hold rubbish. */
static matrix score_ds(kernel_case *c, const score_case *s, int slot)
{
    matrix ds = matrix_make(c, slot, s->n, s->w, s->ld);
    for (int64_t j = 0; j < s->n; j++) {
        const bool none = s->k.stride != 0 && test_rng_chance(&c->rng, 20);
        for (int l = 0; l < s->w; l++) {
            const bool zero = none || test_rng_chance(&c->rng, 30);
            matrix_put(&ds, j, l, zero ? (l % 2 ? 0.0 : -0.0) : real_draw(c));
        }
        for (int64_t d = 0; d < s->depth && none; d++)
            matrix_put(&s->k, j, d, d % 2 ? (double)NAN : -(double)INFINITY);
    }
    return ds;
}

static double score_tanh(const kernel_case *c, double x)
{
    if (real_is_f32(c)) {
        float y = (float)x;
        c->scalar->cap(1, 1, 1, &y);
        return (double)y;
    }
    c->scalar->cap(1, 1, 1, &x);
    return x;
}

/* ---- scores and tangents ----------------------------------------------------------------- */

typedef double (*score_term)(const kernel_case *c, const score_case *s, int64_t j, int l,
                             int64_t d, double sum);

static void score_check(kernel_case *c, const score_case *s, const char *what, score_term term,
                        double sign, const matrix *got)
{
    double *want = matrix_copy(c, got);
    for (int64_t j = 0; j < s->n; j++)
        for (int l = 0; l < s->w; l++) {
            double sum = 0;
            for (int64_t d = 0; d < s->depth; d++) sum = term(c, s, j, l, d, sum);
            want[j * s->w + l] = real_mul(c, sign, sum);
        }
    kernel_expect_all(c, what, got, want);
}

static double score_apart(const kernel_case *c, const score_case *s, int64_t j, int l,
                          int64_t d)
{
    return real_add(c, matrix_get(&s->q, d, l), -matrix_get(&s->k, j, d));
}

static double term_l2(const kernel_case *c, const score_case *s, int64_t j, int l, int64_t d,
                      double sum)
{
    const double x = score_apart(c, s, j, l, d);
    return real_fma(c, x, x, sum);
}

static void l2_scores(kernel_case *c)
{
    const score_case s = score_make(c, 0);
    const double sign = test_rng_chance(&c->rng, 50) ? 1 : -1;
    const matrix got = matrix_make(c, 5, s.n, s.w, s.ld);
    c->k->l2_scores(&s.pairs, sign, got.p);
    score_check(c, &s, "l2_scores", term_l2, sign, &got);
}

static double term_l2_tangent(const kernel_case *c, const score_case *s, int64_t j, int l,
                              int64_t d, double sum)
{
    const double t = real_add(c, matrix_get(&s->t_q, d, l), -matrix_get(&s->t_k, j, d));
    return real_fma(c, -score_apart(c, s, j, l, d), t, sum);
}

static void l2_tangents(kernel_case *c)
{
    const score_case s = score_make(c, 0);
    const matrix got = matrix_make(c, 5, s.n, s.w, s.ld);
    c->k->l2_tangents(&s.pairs, got.p);
    score_check(c, &s, "l2_tangents", term_l2_tangent, 1, &got);
}

static double score_bent(const kernel_case *c, const score_case *s, int64_t j, int l, int64_t d)
{
    return score_tanh(c, real_add(c, matrix_get(&s->q, d, l), matrix_get(&s->k, j, d)));
}

static double term_tanh(const kernel_case *c, const score_case *s, int64_t j, int l, int64_t d,
                        double sum)
{
    return real_fma(c, matrix_get(&s->weight, d, l), score_bent(c, s, j, l, d), sum);
}

static void tanh_scores(kernel_case *c)
{
    const score_case s = score_make(c, 0);
    const matrix got = matrix_make(c, 5, s.n, s.w, s.ld);
    c->k->tanh_scores(&s.pairs, got.p);
    score_check(c, &s, "tanh_scores", term_tanh, 1, &got);
}

static double term_tanh_tangent(const kernel_case *c, const score_case *s, int64_t j, int l,
                                int64_t d, double sum)
{
    const double h = score_bent(c, s, j, l, d), slope = real_fma(c, -h, h, 1);
    const double t = real_add(c, matrix_get(&s->t_q, d, l), matrix_get(&s->t_k, j, d));
    return real_fma(c, matrix_get(&s->weight, d, l), real_mul(c, slope, t), sum);
}

static void tanh_tangents(kernel_case *c)
{
    const score_case s = score_make(c, 0);
    const matrix got = matrix_make(c, 5, s.n, s.w, s.ld);
    c->k->tanh_tangents(&s.pairs, got.p);
    score_check(c, &s, "tanh_tangents", term_tanh_tangent, 1, &got);
}

/* ---- gradients --------------------------------------------------------------------------- */

static void l2_weigh(kernel_case *c)
{
    const score_case s = score_make(c, 0);
    const bool fresh = test_rng_chance(&c->rng, 30);
    const matrix ds = score_ds(c, &s, 5), acc = matrix_make(c, 6, s.depth, s.w, s.ld);
    if (!fresh) matrix_fill(c, &acc);
    double *want = matrix_copy(c, &acc);
    for (int64_t d = 0; d < s.depth; d++)
        for (int l = 0; l < s.w; l++) {
            double sum = 0;
            for (int64_t j = 0; j < s.n; j++) {
                const double g = matrix_get(&ds, j, l);
                if (g == 0) continue;
                const double x = isnan(g) ? 0 : -score_apart(c, &s, j, l, d);
                sum = real_fma(c, g, x, sum);
            }
            want[d * s.w + l] = real_add(c, fresh ? 0 : want[d * s.w + l], sum);
        }
    c->k->l2_weigh(&s.pairs, ds.p, fresh, acc.p);
    kernel_expect_all(c, "l2_weigh", &acc, want);
}

static void l2_spread(kernel_case *c)
{
    const score_case s = score_make(c, 0);
    const matrix ds = score_ds(c, &s, 5);
    const int64_t width = s.depth;
    const matrix rows = matrix_make(c, 6, s.w, width, width + 2);
    const matrix acc = matrix_of(c, ATTN_DTYPE_F64, 7, s.n, width, width);
    const void *at[2 * ATTN__PANEL];
    matrix_fill(c, &rows), matrix_fill(c, &acc);
    for (int l = 0; l < s.w; l++) at[l] = matrix_at(&rows, l, 0);
    const attn__part part[2] = {{.a = ds.p, .rows = at, .n = s.w, .ld = s.ld},
                                {.a = ds.p, .rows = at, .n = s.w / 2, .ld = s.ld}};
    double *want = matrix_copy(c, &acc);
    for (int64_t i = 0; i < s.n * width; i++) {
        double sum = 0;
        for (int x = 0; x < 2; x++)
            for (int l = 0; l < part[x].n; l++) {
                const double g = matrix_get(&ds, i / width, l);
                const double own = matrix_get(&s.k, i / width, i % width);
                if (g != 0)
                    sum =
                        real_fma(c, g, real_add(c, matrix_get(&rows, l, i % width), -own), sum);
            }
        want[i] += sum;
    }
    c->k->l2_spread(s.n, width, 2, part, s.k.p, s.pairs.k_stride, (double *)(void *)acc.p);
    kernel_expect_all(c, "l2_spread", &acc, want);
}

/* t = (ds w) (1 - h h); *h: as the sums of ds h see it. */
static double score_t(const kernel_case *c, const score_case *s, const matrix *ds, int64_t j,
                      int l, int64_t d, double *h)
{
    const double g = matrix_get(ds, j, l), w = matrix_get(&s->weight, d, l);
    *h = 0;
    if (g == 0 || isnan(g)) return g;
    *h = score_bent(c, s, j, l, d);
    return real_mul(c, real_mul(c, g, w), real_fma(c, -*h, *h, 1));
}

static void tanh_grad(kernel_case *c)
{
    const score_case s = score_make(c, ATTN__BLOCK);
    const bool fresh = test_rng_chance(&c->rng, 30);
    const int lanes = (int)test_rng_range(&c->rng, s.w > 1, s.w);
    const matrix ds = score_ds(c, &s, 5), d_q = matrix_make(c, 6, s.depth, s.w, s.ld);
    const matrix d_weight = matrix_make(c, 7, s.depth, s.w, s.ld);
    const matrix d_k = matrix_of(c, ATTN_DTYPE_F64, 8, s.n, s.depth, s.depth);
    const matrix t = matrix_make(c, 9, s.n, s.w, s.ld);
    if (!fresh) matrix_fill(c, &d_q);
    matrix_fill(c, &d_k);
    double *by_q = matrix_copy(c, &d_q), *by_k = matrix_copy(c, &d_k);
    double *by_w = matrix_copy(c, &d_weight);
    for (int64_t d = 0; d < s.depth; d++) {
        for (int l = 0; l < s.w; l++) {
            double sum = 0, weight = 0, h;
            for (int64_t j = 0; j < s.n; j++) {
                sum = real_add(c, sum, score_t(c, &s, &ds, j, l, d, &h));
                weight = real_fma(c, matrix_get(&ds, j, l), h, weight);
            }
            by_q[d * s.w + l] = real_add(c, fresh ? 0 : by_q[d * s.w + l], sum);
            by_w[d * s.w + l] = weight;
        }
        for (int64_t j = 0; j < s.n; j++) {
            double sum = 0, h;
            for (int l = 0; l < lanes; l++)
                sum = real_add(c, sum, score_t(c, &s, &ds, j, l, d, &h));
            by_k[j * s.depth + d] += sum;
        }
    }
    const attn__tanh_sums sums = {
        .ds = ds.p,
        .fresh = fresh,
        .lanes = lanes,
        .d_q = d_q.p,
        .d_weight = d_weight.p,
        .d_k = (double *)(void *)d_k.p,
        .t = t.p,
        .turned = test_alloc(&c->arena, ATTN__PANEL * ATTN__BLOCK * sizeof(double))};
    c->k->tanh_grad(&s.pairs, &sums);
    kernel_expect_all(c, "d_q of tanh_grad", &d_q, by_q);
    kernel_expect_all(c, "d_weight of tanh_grad", &d_weight, by_w);
    kernel_expect_all(c, "d_k of tanh_grad", &d_k, by_k);
}

KERNEL_TEST(l2_scores)
KERNEL_TEST(l2_tangents)
KERNEL_TEST(l2_weigh)
KERNEL_TEST(l2_spread)
KERNEL_TEST(tanh_scores)
KERNEL_TEST(tanh_tangents)
KERNEL_TEST(tanh_grad)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(l2_scores_agrees),   cmocka_unit_test(l2_tangents_agrees),
        cmocka_unit_test(l2_weigh_agrees),    cmocka_unit_test(l2_spread_agrees),
        cmocka_unit_test(tanh_scores_agrees), cmocka_unit_test(tanh_tangents_agrees),
        cmocka_unit_test(tanh_grad_agrees),
    };
    return cmocka_run_group_tests_name("kernel_score", tests, memory_begin, memory_end);
}
