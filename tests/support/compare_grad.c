/* SPDX-License-Identifier: MIT
 * Gradients and tangents of the library against the oracle's, element by element.
 *
 * A gradient is a sum of products, so its scale is not itself but its mass, the sum of the
 * magnitudes of everything that was multiplied and added. The oracle carries both, and rough:
 * for each term how many roundings u its factors may be off. There
 *   a weight exp(s - lse) has 6.5 spread of the chain of products (Hoeffding, one in 10^9),
 *     operations * magnitude of the score, and 4 |lse|;
 *   do.v and do.o have 6.5 standard deviations of their chains;
 *   slopes of the cap and of the callback what the error of their argument makes of them.
 * The bound is
 *   u (8 + 6.5 sqrt(n / 3)) mass + 2 u rough, n = min(longest chain, 512),
 * the root for a chain of n equal terms whose roundings are independent: the k-th partial sum
 * is off by u k at most, and the squares of 1 .. n add up to n^3 / 3. With repeated elements
 * roundings are not independent and n / 2 takes the place of the root (see compare.c). Half an
 * ulp of the output's type is added, of f32 when results pass through it, and of a double.
 *
 * The oracle is given the same out and lse as the library, rounded as they are: an out of 16
 * bits makes delta = do.o what it is, and nobody's error. Nothing here was adjusted to a run.
 */
#include "support/compare.h"

#include <math.h>

enum { GRAD_CHAIN = 512 };

static double grad_longest(const attn_args *args)
{
    int64_t T = args->q.shape[args->q.rank - 2], S = args->k.shape[args->k.rank - 2];
    int64_t n = T > S ? T : S;
    return (double)(n < GRAD_CHAIN ? n : GRAD_CHAIN);
}

static bool grad_repeats(const attn_args *args)
{
    const attn_tensor *all[] = {&args->q,     &args->k,     &args->v,   &args->d_out,
                                &args->rel_k, &args->rel_v, &args->t_q, &args->t_k,
                                &args->t_v,   &args->d_lse};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (compare_repeats(all[i], 0) || compare_repeats(all[i], 1)) return true;
    return args->k.shape[args->k.rank - 1] == 0;
}

static compare_place grad_start(test_report *report, const attn_args *args, double unit)
{
    double n = grad_longest(args), chain = 6.5 * sqrt(n / 3);
    bool narrow = unit > 0x1p-30;
    if (grad_repeats(args)) chain += n / 2 + (double)args->q.shape[args->q.rank - 1] / 2;
    return (compare_place){.unit = unit,
                           .flat = 8 + chain,
                           .per_kappa = 2,
                           .narrow = narrow,
                           .tiny = narrow ? 0x1p-90 : 0x1p-986,
                           .report = report};
}

static void grad_compare(compare_place *at, const char *what, const attn_tensor *t,
                         const oracle_sums *truth)
{
    int64_t flat = 0;
    if (!compare_begin(at, what, t)) return;
    do {
        const oracle_sum *x = &truth->x[flat++];
        double error = at->flat * (double)x->mass + at->per_kappa * (double)x->rough;
        compare_value(at, (double)x->value, at->unit * error);
    } while (test_index_next(t, at->index));
}

void test_compare_grads(test_report *report, const attn_args *args, const oracle_grads *g)
{
    compare_place at = grad_start(report, args, g->unit);
    for (int i = 0; i < ORACLE_N_GRADS; i++)
        grad_compare(&at, test_grad_name((oracle_grad)i), test_grad_in(args, (oracle_grad)i),
                     &g->of[i]);
}

void test_compare_tangents(test_report *report, const attn_args *args, const oracle_tangents *t)
{
    compare_place at = grad_start(report, args, t->unit);
    grad_compare(&at, "t_out", &args->t_out, &t->out);
    grad_compare(&at, "t_lse", &args->t_lse, &t->lse);
}

double test_grad_error(const attn_tensor *t, const oracle_sums *truth, bool by_mass)
{
    int64_t index[ATTN_MAX_RANK] = {0}, flat = 0;
    double error = 0, norm = 0;
    if (test_tensor_empty(t)) return 0;
    do {
        const oracle_sum *x = &truth->x[flat++];
        double off = test_get(t, index) - (double)x->value;
        double size = (double)(by_mass ? x->mass : x->value);
        error += off * off;
        norm += size * size;
    } while (test_index_next(t, index));
    return error == 0 ? 0 : sqrt(error / norm);
}
