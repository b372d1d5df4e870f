/* SPDX-License-Identifier: MIT
 * The library against the oracle, element by element, within derived bounds.
 *
 * u is the unit roundoff of the arithmetic (2^-24; 2^-53 when an input is f64), kappa the
 * largest sum of magnitudes of the terms of a score in the row (see oracle_score.c; products,
 * biases, capped values, slopes times distance, tables, what the callback gave; the sink too).
 * What the library promises: out   u (8 + 4 kappa) A, A = sum_j w_j |v_j|        lse   u (8 + 4
 * kappa + 4 |lse|) These speak of averages over many keys. One score has nothing to average
 * with, so its bound is counted: a chain of products over d rounds each partial sum,
 * independent errors under u times it, which together stay under 6.5 standard deviations, the
 * spread, but for one in 10^9 (Hoeffding); every later operation rounds a value under kappa, so
 * their number times kappa: scores   u (6.5 spread + operations * magnitude), of the pair
 *   weights  u (8 + 2 (6.5 spread + operations * kappa) + 4 |lse|) w, of the row: exp(s - lse)
 * Everywhere half an ulp of the output's type is added, half an ulp of f32 when results pass
 * through it, and half an ulp of the double the oracle answers in. Weights under the smallest
 * normal number may be lost: 2^-126 (2^-1022) of each value; our sums of |v| stay under 2^36.
 *
 * Roundings are as often up as down, unless the terms of a sum are equal: then the k-th of n
 * additions errs by u times k terms, always the same way, and all together by u n / 2 times the
 * sum. So n / 2 is added where it can happen: n = D for scores when q repeats along D and k (or
 * rel_k) does; n = min(S, 512), the keys of a chunk, for out when v repeats along S, and for
 * all sums of weights when every product of a row is the same. Nothing here was adjusted to a
 * run. */
#include "support/compare.h"

#include <math.h>

static void compare_fail(const compare_place *at, double want, double got, double bound)
{
    test_report *r = at->report;
    if (r->violations++ > 0) return;
    int n = snprintf(r->text, sizeof r->text, "%s[", at->what);
    for (int i = 0; i < at->t->rank; i++)
        n += snprintf(r->text + n, sizeof r->text - (size_t)n, "%s%lld", i ? "," : "",
                      (long long)at->index[i]);
    snprintf(r->text + n, sizeof r->text - (size_t)n,
             "] is %.17g, should be %.17g within %.3g, off by %.3g", got, want, bound,
             fabs(got - want));
}

static void compare_half(const compare_place *at, double want, double got)
{
    int kind = at->t->dtype == ATTN_DTYPE_BF16 ? 0 : 1;
    if (at->t->dtype != ATTN_DTYPE_BF16 && at->t->dtype != ATTN_DTYPE_F16) return;
    at->report->half[kind]++;
    at->report->right[kind] += oracle_round(at->t->dtype, want) == got;
}

void compare_value(const compare_place *at, double want, double error)
{
    double got = test_get(at->t, at->index);
    if (isinf(got) && oracle_round(at->t->dtype, want) == got) return; /* beyond its type */
    if (isnan(want) || isnan(got) || isinf(want) || isinf(got)) {
        if (isnan(want) ? !isnan(got) : got != want) compare_fail(at, want, got, 0);
        return;
    }
    double size = fmax(fabs(want), fabs(got)), off = fabs(got - want);
    double rounding =
        oracle_half_ulp(at->t->dtype, size) + oracle_half_ulp(ATTN_DTYPE_F64, size);
    if (at->narrow) rounding += oracle_half_ulp(ATTN_DTYPE_F32, size);
    double bound = error + at->tiny;
    if (off - rounding > at->report->worst * bound)
        at->report->worst = (off - rounding) / bound;
    if (off > bound + rounding) compare_fail(at, want, got, bound + rounding);
    compare_half(at, want, got);
}

bool compare_repeats(const attn_tensor *t, int from_last)
{
    int dim = t->rank - 1 - from_last;
    return t->dtype != ATTN_DTYPE_NONE && dim >= 0 && t->shape[dim] > 1 && t->stride[dim] == 0;
}

/* Scale, change of base, back again; an added term is converted and added; a cap divides, bends
 * (two roundings) and multiplies; a callback returns a rounded value. */
static double compare_operations(const attn_spec *spec, const attn_args *a)
{
    const attn_tensor *terms[] = {&a->rel_k, &a->bias_pre,  &a->bias,  &a->mask,
                                  &a->alibi, &a->rel_table, &a->center};
    double n = (spec->score == ATTN_SCORE_ADDITIVE ? 7 : 3) + (spec->softcap > 0 ? 4 : 0) +
               (spec->tile ? 2 : 0);
    for (size_t i = 0; i < sizeof terms / sizeof terms[0]; i++)
        n += terms[i]->dtype != ATTN_DTYPE_NONE ? 2 : 0;
    return n + (spec->rope.kind != ATTN_ROPE_NONE ? 4 : 0);
}

static compare_place compare_start(test_report *report, const attn_args *args,
                                   const oracle_result *r)
{
    bool narrow = r->unit > 0x1p-30;
    bool products = compare_repeats(&args->q, 0) &&
                    (compare_repeats(&args->k, 0) || compare_repeats(&args->rel_k, 0));
    double chunk = r->S < 512 ? (double)r->S : 512;
    return (compare_place){.unit = r->unit,
                           .per_kappa = products ? 4 + (double)r->D : 4,
                           .flat = compare_repeats(&args->v, 1) || r->level ? 8 + chunk / 2 : 8,
                           .operations = compare_operations(&r->spec, args) +
                                         (products ? (double)r->D : 0),
                           .narrow = narrow,
                           .tiny = narrow ? 0x1p-90 : 0x1p-986,
                           .report = report};
}

bool compare_begin(compare_place *at, const char *what, const attn_tensor *t)
{
    at->what = what;
    at->t = t;
    for (int i = 0; i < ATTN_MAX_RANK; i++) at->index[i] = 0;
    return t->dtype != ATTN_DTYPE_NONE && !test_tensor_empty(t);
}

/* Row of the arrays B H T that an index of out or lse means, whatever their rank. */
static int64_t compare_row(const oracle_result *r, const int64_t *index, int rows_rank)
{
    if (rows_rank == 3) return (index[0] * r->H + index[1]) * r->T + index[2];
    return rows_rank == 2 ? index[0] * r->T + index[1] : index[0];
}

static void compare_out(compare_place *at, const attn_tensor *t, const oracle_result *r)
{
    if (!compare_begin(at, "out", t)) return;
    do {
        int64_t row = compare_row(r, at->index, t->rank - 1);
        int64_t e = row * r->E + at->index[t->rank - 1];
        double relative = at->flat + at->per_kappa * r->kappa[row];
        if (r->own) relative = at->flat + 6.5 * sqrt((double)(r->S < 512 ? r->S : 512) / 3);
        compare_value(at, r->out[e], at->unit * (relative * r->mass[e] + r->rough[e]));
    } while (test_index_next(t, at->index));
}

static void compare_lse(compare_place *at, const attn_tensor *t, const oracle_result *r)
{
    if (!compare_begin(at, "lse", t)) return;
    do {
        int64_t row = compare_row(r, at->index, t->rank);
        double error = at->flat + at->per_kappa * r->kappa[row] + 4 * fabs(r->lse[row]);
        compare_value(at, r->lse[row], at->unit * error);
    } while (test_index_next(t, at->index));
}

static int64_t compare_cell(const oracle_result *r, const attn_tensor *t, const int64_t *index)
{
    int64_t n = t->rank == 2 ? 0 : index[0], h = t->rank == 4 ? index[1] : 0;
    int64_t i = index[t->rank - 2], j = index[t->rank - 1];
    return ((n * r->H + h) * r->W_T + i) * r->W_S + j;
}

static void compare_weights(compare_place *at, const attn_tensor *t, const oracle_result *r)
{
    if (!compare_begin(at, "weights", t)) return;
    do {
        int64_t cell = compare_cell(r, t, at->index), row = cell / r->W_S;
        double score = 6.5 * r->row_spread[row] + at->operations * r->row_kappa[row];
        double error = at->flat + 2 * score + 4 * r->row_lse[row];
        error = r->own ? r->weight_rough[cell] : error * r->weights[cell];
        compare_value(at, r->weights[cell], at->unit * error);
    } while (test_index_next(t, at->index));
}

static void compare_scores(compare_place *at, const attn_tensor *t, const oracle_result *r)
{
    if (!compare_begin(at, "scores", t)) return;
    do {
        int64_t cell = compare_cell(r, t, at->index);
        double error = 6.5 * r->spread[cell] + at->operations * r->magnitude[cell];
        compare_value(at, r->scores[cell], at->unit * error);
    } while (test_index_next(t, at->index));
}

void test_compare(test_report *report, const attn_args *args, const oracle_result *r)
{
    compare_place at = compare_start(report, args, r);
    compare_out(&at, &args->out, r);
    compare_lse(&at, &args->lse, r);
    compare_weights(&at, &args->weights, r);
    compare_scores(&at, &args->scores, r);
}

double test_norm_error(const attn_tensor *out, const oracle_result *r)
{
    int64_t index[ATTN_MAX_RANK] = {0}, at = 0;
    double error = 0, norm = 0;
    if (test_tensor_empty(out)) return 0;
    do {
        double want = r->out[at++], d = test_get(out, index) - want;
        error += d * d;
        norm += want * want;
    } while (test_index_next(out, index));
    return sqrt(error / norm);
}
