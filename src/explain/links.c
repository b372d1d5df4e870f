/* SPDX-License-Identifier: MIT
 * Links between words, and how many of those found agree with a gold standard of sure and
 * possible ones: counts are added sentence by sentence, figures are made of the counts.
 *
 *     AER = 1 - (|A and S| + |A and P|) / (|A| + |S|),  S a part of P        Och and Ney 2003
 */
#include "explain/explain.h"

#include <stdlib.h>
#include <string.h>

/* By ends; of the same ends the sure one first. */
static int links_order(const void *a, const void *b)
{
    const attn_link *x = a, *y = b;
    if (x->from != y->from) return x->from < y->from ? -1 : 1;
    if (x->to != y->to) return x->to < y->to ? -1 : 1;
    return (int)x->possible - (int)y->possible;
}

static bool links_same(const attn_link *a, const attn_link *b)
{
    return a->from == b->from && a->to == b->to;
}

/* Sorted, each pair of ends once; returns how many are left. */
static int64_t links_settle(attn_link *links, int64_t n)
{
    int64_t kept = 0;
    if (n > 0) qsort(links, (size_t)n, sizeof *links, links_order);
    for (int64_t i = 0; i < n; i++)
        if (kept == 0 || !links_same(&links[kept - 1], &links[i])) links[kept++] = links[i];
    return kept;
}

/* Both lists are settled: one walk along them. */
static void links_count(const attn_link *found, int64_t n_found, const attn_link *gold,
                        int64_t n_gold, attn_link_counts *counts)
{
    counts->found += n_found;
    for (int64_t g = 0; g < n_gold; g++) counts->sure += !gold[g].possible;
    for (int64_t f = 0, g = 0; f < n_found && g < n_gold;) {
        if (links_same(&found[f], &gold[g])) {
            counts->found_possible++;
            counts->found_sure += !gold[g].possible;
            f++, g++;
            continue;
        }
        attn_link left = found[f], right = gold[g];
        left.possible = right.possible = false;
        *(links_order(&left, &right) < 0 ? &f : &g) += 1;
    }
}

attn_status attn_measure_links(attn_ctx *ctx, int64_t n_found, const attn_link *found,
                               int64_t n_gold, const attn_link *gold, attn_link_counts *counts,
                               attn_error *error)
{
    int64_t n, bytes;
    if (!counts || (n_found > 0 && !found) || (n_gold > 0 && !gold))
        return attn__fail(error, ATTN_E_NULL, counts ? "links" : "counts", "is missing");
    if (n_found < 0 || n_gold < 0)
        return attn__fail_count(error, ATTN_E_DIM, "links", "there cannot be fewer than none",
                                0, n_found < 0 ? n_found : n_gold);
    ATTN_TRY(attn__ctx_check(ctx, error));
    if (!attn__add(n_found, n_gold, &n) ||
        !attn__mul(n + 1, (int64_t)sizeof(attn_link), &bytes))
        return attn__fail(error, ATTN_E_OVERFLOW, "links", "their number does not fit");
    attn_link *copy = attn__new(ctx, (size_t)bytes);
    if (!copy) return attn__fail(error, ATTN_E_MEMORY, "links", "an allocation failed");
    if (n_found) memcpy(copy, found, (size_t)n_found * sizeof *copy);
    if (n_gold) memcpy(copy + n_found, gold, (size_t)n_gold * sizeof *copy);
    for (int64_t i = 0; i < n_found; i++) copy[i].possible = false;
    const int64_t left = links_settle(copy, n_found),
                  right = links_settle(copy + n_found, n_gold);
    links_count(copy, left, copy + n_found, right, counts);
    attn__delete(ctx, copy, (size_t)bytes);
    return ATTN_OK;
}

static double links_share(int64_t part, int64_t whole)
{
    return whole > 0 ? (double)part / (double)whole : 0;
}

double attn_measure_aer(const attn_link_counts *c)
{
    const int64_t whole = c->found + c->sure;
    return whole > 0 ? 1 - links_share(c->found_sure + c->found_possible, whole) : 0;
}

double attn_measure_precision(const attn_link_counts *c)
{
    return links_share(c->found_possible, c->found);
}

double attn_measure_recall(const attn_link_counts *c)
{
    return links_share(c->found_sure, c->sure);
}

attn_status attn_measure_strongest(const attn_tensor *weights, attn_link *links, int64_t *n,
                                   attn_error *error)
{
    if (!weights || !links || !n)
        return attn__fail(error, ATTN_E_NULL, weights ? "links" : "weights", "is missing");
    ATTN_TRY(attn__tensor_check(weights, "weights", error));
    if (weights->rank != 2)
        return attn__fail_count(error, ATTN_E_RANK, "weights", "must be T S", 2, weights->rank);
    if (!attn__dtype_is_float(weights->dtype))
        return attn__fail_name(error, ATTN_E_DTYPE, "weights", "must hold floats",
                               attn_dtype_name(weights->dtype));
    if (!weights->data && attn_tensor_count(*weights) > 0)
        return attn__fail(error, ATTN_E_NULL, "weights", "has no data");
    *n = 0;
    for (int64_t i = 0; i < weights->shape[0]; i++) {
        attn_link best = {.from = i, .to = -1};
        double top = 0;
        for (int64_t j = 0; j < weights->shape[1]; j++) {
            const double w = attn__get(weights->dtype, weights->data,
                                       i * weights->stride[0] + j * weights->stride[1]);
            if (w > top) top = w, best.to = j;
        }
        if (best.to >= 0) links[(*n)++] = best;
    }
    return ATTN_OK;
}
