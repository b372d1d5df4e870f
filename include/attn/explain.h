/* SPDX-License-Identifier: MIT
 * Intrinsic measures of attention: what a matrix of weights looks like, and how near it comes
 * to what people marked. Alignment error rate after Och and Ney 2003, attention correctness
 * after Liu et al. 2017 (1605.09553); the list is the survey's (2203.14263). */
#ifndef ATTN_EXPLAIN_H
#define ATTN_EXPLAIN_H

#include "attn/ctx.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- rows of weights --------------------------------------------------------------------- */

typedef enum attn_measure {
#define MEASURE(NAME, name, other, about) ATTN_MEASURE_##NAME,
#include "attn/measure.def"
#undef MEASURE
    ATTN_MEASURES
} attn_measure;

typedef struct attn_measure_info {
    const char *name, *other, *about; /* other: what b holds; NULL: there is no b */
} attn_measure_info;
ATTN_API const attn_measure_info *attn_measure_at(int i); /* NULL past the end */

/* out[...] = the measure of row a[... S], and of b[... S] where it has one: the same shape, or
 * fewer leading dimensions, which then repeat. Floats; b may be bool too. A row without weight
 * (all 0, or S = 0) measures 0; rank correlations with a row that is all one value too. A NaN
 * in a row makes its measure NaN. */
ATTN_API attn_status attn_measure_rows(attn_ctx *ctx, attn_measure measure,
                                       const attn_tensor *a, const attn_tensor *b,
                                       const attn_tensor *out, attn_error *error);

/* ---- links between words ----------------------------------------------------------------- */

typedef struct attn_link {
    int64_t from, to;
    bool possible; /* of a gold standard: possible only, not sure */
} attn_link;

/* How many links there are and agree, summed over sentences. */
typedef struct attn_link_counts {
    int64_t found, sure;                /* |A|, |S| */
    int64_t found_sure, found_possible; /* |A and S|, |A and P|: sure links are possible too */
} attn_link_counts;

/* Adds one sentence: links found, and the gold standard's. A link that stands twice counts
 * once, and is sure when one of them is. */
ATTN_API attn_status attn_measure_links(attn_ctx *ctx, int64_t n_found, const attn_link *found,
                                        int64_t n_gold, const attn_link *gold,
                                        attn_link_counts *counts, attn_error *error);
/* 1 - (|A and S| + |A and P|) / (|A| + |S|); 0 when both are empty. */
ATTN_API double attn_measure_aer(const attn_link_counts *counts);
ATTN_API double attn_measure_precision(const attn_link_counts *counts); /* |A and P| / |A| */
ATTN_API double attn_measure_recall(const attn_link_counts *counts);    /* |A and S| / |S| */
/* links[i]: the key with the most weight of each row i of weights T S, the first of equal ones.
 * Rows without weight have none. Returns how many; links holds T at most. */
ATTN_API attn_status attn_measure_strongest(const attn_tensor *weights, attn_link *links,
                                            int64_t *n, attn_error *error);

#ifdef __cplusplus
}
#endif
#endif
