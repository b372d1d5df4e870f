/* SPDX-License-Identifier: MIT
 * Measures of one row of weights, or of two: each is a function of rows of doubles, a table
 * says which, and one walk over leading dimensions serves all. Ranks cost S log S, everything
 * else S; Kendall's tau S^2. attn_measure_rows. */
#include "explain/explain.h"

#include <math.h>
#include <string.h>

/* One row: a and b as they were given, p and q as shares (0 when there is no weight), ranks two
 * rows of scratch. */
typedef struct measure_row {
    int64_t n;
    double *a, *b, *p, *q, *ranks, *order;
} measure_row;

/* ---- functions of a row ------------------------------------------------------------------ */

static double measure_ln(double x)
{
    return attn__log2(x) * ATTN__LN2;
}

static double measure_entropy(const measure_row *r)
{
    double sum = 0;
    for (int64_t i = 0; i < r->n; i++)
        if (r->p[i] != 0) sum -= r->p[i] * measure_ln(r->p[i]);
    return sum;
}

static double measure_total(const double *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i];
    return sum;
}

static double measure_support(const measure_row *r)
{
    return measure_total(r->p, r->n) == 0 ? 0 : attn__exp2(measure_entropy(r) * ATTN__LOG2E);
}

static double measure_largest(const measure_row *r)
{
    double top = r->n > 0 ? r->p[0] : 0;
    for (int64_t i = 1; i < r->n; i++)
        if (!(r->p[i] <= top)) top = r->p[i];
    return top;
}

static double measure_zeros(const measure_row *r)
{
    int64_t n = 0;
    for (int64_t i = 0; i < r->n; i++) {
        if (r->a[i] != r->a[i]) return r->a[i];
        n += r->a[i] == 0;
    }
    return r->n > 0 ? (double)n / (double)r->n : 0;
}

static double measure_first(const measure_row *r)
{
    return r->n > 0 ? r->p[0] : 0;
}

static double measure_last(const measure_row *r)
{
    return r->n > 0 ? r->p[r->n - 1] : 0;
}

static double measure_correctness(const measure_row *r)
{
    double sum = 0;
    for (int64_t i = 0; i < r->n; i++)
        if (r->b[i] != 0) sum += r->p[i];
    return sum;
}

/* p ln (p / m), 0 for p = 0. */
static double measure_surprise(double p, double m)
{
    return p == 0 ? 0 : p * measure_ln(p / m);
}

static double measure_divergence(const measure_row *r)
{
    double sum = 0;
    for (int64_t i = 0; i < r->n; i++) {
        const double m = 0.5 * (r->p[i] + r->q[i]);
        sum += 0.5 * (measure_surprise(r->p[i], m) + measure_surprise(r->q[i], m));
    }
    return sum < 0 ? 0 : sum;
}

static double measure_variation(const measure_row *r)
{
    double sum = 0;
    for (int64_t i = 0; i < r->n; i++) sum += fabs(r->p[i] - r->q[i]);
    return 0.5 * sum;
}

/* ---- ranks ------------------------------------------------------------------------------- */

/* order[0 .. n): places of x, rising; a heap sort, which needs no memory of its own. */
static void measure_sift(const double *x, double *order, int64_t from, int64_t n)
{
    for (int64_t at = from, child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && x[(int64_t)order[child]] < x[(int64_t)order[child + 1]]) child++;
        if (!(x[(int64_t)order[at]] < x[(int64_t)order[child]])) return;
        const double held = order[at];
        order[at] = order[child], order[child] = held;
    }
}

static void measure_sort(const double *x, double *order, int64_t n)
{
    for (int64_t i = 0; i < n; i++) order[i] = (double)i;
    for (int64_t i = n / 2 - 1; i >= 0; i--) measure_sift(x, order, i, n);
    for (int64_t last = n - 1; last > 0; last--) {
        const double held = order[0];
        order[0] = order[last], order[last] = held;
        measure_sift(x, order, 0, last);
    }
}

/* Ranks 1 .. n of x, equal ones at their mean. */
static void measure_ranks(const double *x, double *order, double *ranks, int64_t n)
{
    measure_sort(x, order, n);
    for (int64_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && x[(int64_t)order[end]] == x[(int64_t)order[i]];) end++;
        for (int64_t k = i; k < end; k++)
            ranks[(int64_t)order[k]] = 0.5 * (double)(i + 1 + end);
    }
}

static double measure_nan(const measure_row *r)
{
    for (int64_t i = 0; i < r->n; i++)
        if (r->a[i] != r->a[i] || r->b[i] != r->b[i]) return (double)NAN;
    return 0;
}

/* Pearson's correlation of the ranks, whose mean is (n + 1) / 2. */
static double measure_spearman(const measure_row *r)
{
    double *x = r->ranks, *y = r->ranks + r->n, xy = 0, xx = 0, yy = 0;
    const double mean = 0.5 * (double)(r->n + 1), bad = measure_nan(r);
    if (bad != bad) return bad;
    measure_ranks(r->a, r->order, x, r->n);
    measure_ranks(r->b, r->order, y, r->n);
    for (int64_t i = 0; i < r->n; i++) {
        xy += (x[i] - mean) * (y[i] - mean);
        xx += (x[i] - mean) * (x[i] - mean);
        yy += (y[i] - mean) * (y[i] - mean);
    }
    return xx > 0 && yy > 0 ? xy / (sqrt(xx) * sqrt(yy)) : 0;
}

/* tau-b: pairs in one order less pairs in opposite order, ties taken out of both counts. */
static double measure_kendall(const measure_row *r)
{
    double order = 0, x = 0, y = 0;
    const double bad = measure_nan(r);
    if (bad != bad) return bad;
    for (int64_t i = 0; i < r->n; i++)
        for (int64_t j = 0; j < i; j++) {
            const int da = (r->a[i] > r->a[j]) - (r->a[i] < r->a[j]);
            const int db = (r->b[i] > r->b[j]) - (r->b[i] < r->b[j]);
            order += da * db, x += da != 0, y += db != 0;
        }
    return x > 0 && y > 0 ? order / (sqrt(x) * sqrt(y)) : 0;
}

/* ---- the table --------------------------------------------------------------------------- */

typedef struct measure_rule {
    attn_measure_info info;
    double (*of)(const measure_row *r);
} measure_rule;

static const measure_rule measure_rules[] = {
#define MEASURE(NAME, name, other, about) {{#name, other, about}, measure_##name},
#include "attn/measure.def"
#undef MEASURE
};

const attn_measure_info *attn_measure_at(int i)
{
    return i >= 0 && i < ATTN_MEASURES ? &measure_rules[i].info : NULL;
}

/* ---- all rows ---------------------------------------------------------------------------- */

typedef struct measure_call {
    const measure_rule *rule;
    attn_tensor a, b, out;
    int64_t rows, S;
} measure_call;

static attn_status measure_check_b(const measure_call *c, attn_error *error)
{
    const attn_tensor *b = &c->b;
    ATTN_TRY(attn__tensor_check(b, "b", error));
    if (b->rank < 1 || b->rank > c->a.rank)
        return attn__fail_count(error, ATTN_E_RANK, "b",
                                "must have the dimensions of a or fewer", c->a.rank, b->rank);
    for (int d = 0; d < b->rank; d++)
        if (b->shape[d] != c->a.shape[c->a.rank - b->rank + d])
            return attn__fail_count(error, ATTN_E_SHAPE, "b", "has another size than a",
                                    c->a.shape[c->a.rank - b->rank + d], b->shape[d]);
    const bool serves = attn__dtype_is_float(b->dtype) || b->dtype == ATTN_DTYPE_BOOL ||
                        b->dtype == ATTN_DTYPE_U8;
    return serves ? ATTN_OK
                  : attn__fail_name(error, ATTN_E_DTYPE, "b", "must hold floats or bools",
                                    attn_dtype_name(b->dtype));
}

static attn_status measure_check_data(const attn_tensor *t, const char *name, attn_error *error)
{
    if (t->data || attn_tensor_count(*t) == 0) return ATTN_OK;
    return attn__fail(error, ATTN_E_NULL, name, "has no data");
}

static attn_status measure_check_out(const measure_call *c, attn_error *error)
{
    ATTN_TRY(attn__tensor_check(&c->out, "out", error));
    if (c->out.rank != c->a.rank - 1)
        return attn__fail_count(error, ATTN_E_RANK, "out",
                                "must have one dimension less than a", c->a.rank - 1,
                                c->out.rank);
    for (int d = 0; d < c->out.rank; d++)
        if (c->out.shape[d] != c->a.shape[d])
            return attn__fail_count(error, ATTN_E_SHAPE, "out", "has another size than a",
                                    c->a.shape[d], c->out.shape[d]);
    if (!attn__dtype_is_float(c->out.dtype))
        return attn__fail_name(error, ATTN_E_DTYPE, "out", "must hold floats",
                               attn_dtype_name(c->out.dtype));
    if (attn__tensor_self_overlap(&c->out) || attn__tensor_overlap(&c->out, &c->a) ||
        (attn__present(&c->b) && attn__tensor_overlap(&c->out, &c->b)))
        return attn__fail(error, ATTN_E_ALIAS, "out", "overlaps itself or an input");
    return measure_check_data(&c->out, "out", error);
}

static attn_status measure_check(measure_call *c, attn_error *error)
{
    ATTN_TRY(attn__tensor_check(&c->a, "a", error));
    if (c->a.rank < 1)
        return attn__fail_count(error, ATTN_E_RANK, "a", "must have a dimension of keys", 1, 0);
    if (!attn__dtype_is_float(c->a.dtype))
        return attn__fail_name(error, ATTN_E_DTYPE, "a", "must hold floats",
                               attn_dtype_name(c->a.dtype));
    if (!c->rule->info.other != !attn__present(&c->b))
        return attn__fail_name(error, ATTN_E_NULL, "b",
                               c->rule->info.other ? "this measure compares two rows"
                                                   : "this measure looks at one row",
                               c->rule->info.name);
    ATTN_TRY(measure_check_data(&c->a, "a", error));
    if (attn__present(&c->b)) {
        ATTN_TRY(measure_check_b(c, error));
        ATTN_TRY(measure_check_data(&c->b, "b", error));
    }
    return measure_check_out(c, error);
}

/* Row number i of t, which may have fewer leading dimensions than like. */
static void measure_read(const attn_tensor *t, const attn_tensor *like, int64_t i, double *x)
{
    int64_t at = 0;
    for (int d = like->rank - 2; d >= 0; d--) {
        const int own = d - (like->rank - t->rank);
        if (own >= 0) at += i % like->shape[d] * t->stride[own];
        i /= like->shape[d];
    }
    const int64_t step = t->stride[t->rank - 1];
    for (int64_t j = 0; j < t->shape[t->rank - 1]; j++)
        x[j] = t->dtype == ATTN_DTYPE_BOOL || t->dtype == ATTN_DTYPE_U8
                   ? (double)attn__get_int(t->dtype, t->data, at + j * step)
                   : attn__get(t->dtype, t->data, at + j * step);
}

static void measure_shares(const double *x, double *p, int64_t n)
{
    const double sum = measure_total(x, n);
    for (int64_t i = 0; i < n; i++) p[i] = sum == 0 ? 0 : x[i] / sum;
}

static void measure_run(const measure_call *c, double *memory)
{
    measure_row r = {.n = c->S};
    double **parts[] = {&r.a, &r.b, &r.p, &r.q, &r.order, &r.ranks};
    for (int i = 0; i < 6; i++) *parts[i] = memory + i * c->S; /* ranks has two rows */
    memset(memory, 0, 7 * (size_t)c->S * sizeof *memory);
    for (int64_t i = 0; i < c->rows; i++) {
        int64_t at = 0, rest = i;
        measure_read(&c->a, &c->a, i, r.a);
        if (attn__present(&c->b)) measure_read(&c->b, &c->a, i, r.b);
        measure_shares(r.a, r.p, c->S);
        measure_shares(r.b, r.q, c->S);
        for (int d = c->out.rank - 1; d >= 0; d--) {
            at += rest % c->out.shape[d] * c->out.stride[d];
            rest /= c->out.shape[d];
        }
        attn__put(c->out.dtype, c->out.data, at, c->rule->of(&r));
    }
}

attn_status attn_measure_rows(attn_ctx *ctx, attn_measure measure, const attn_tensor *a,
                              const attn_tensor *b, const attn_tensor *out, attn_error *error)
{
    if (!a || !out) return attn__fail(error, ATTN_E_NULL, a ? "out" : "a", "is missing");
    if ((int)measure < 0 || measure >= ATTN_MEASURES)
        return attn__fail_count(error, ATTN_E_ENUM, "measure", "there are as many measures",
                                ATTN_MEASURES, (int64_t)measure);
    measure_call c = {.rule = &measure_rules[measure], .a = *a, .out = *out};
    if (b) c.b = *b;
    ATTN_TRY(attn__ctx_check(ctx, error));
    ATTN_TRY(measure_check(&c, error));
    c.S = a->shape[a->rank - 1];
    c.rows = attn_tensor_count(*out);
    if (c.rows == 0) return ATTN_OK;
    const size_t bytes = (7 * (size_t)c.S + 1) * sizeof(double);
    double *memory = attn__new(ctx, bytes);
    if (!memory) return attn__fail(error, ATTN_E_MEMORY, "a", "an allocation failed");
    measure_run(&c, memory);
    attn__delete(ctx, memory, bytes);
    return ATTN_OK;
}
