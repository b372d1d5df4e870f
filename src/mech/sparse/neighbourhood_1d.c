/* SPDX-License-Identifier: MIT
 * Neighbourhood attention of a series: each token sees the `size` nearest ones, everywhere.
 *
 *     N(i) = { s, s + 1 ... s + size - 1 },  s = clamp(i - floor(size / 2), 0, T - size)
 *     out_i = sum_(j in N(i)) softmax_j(q_i . k_j / sqrt(D)) v_j
 *
 * q, k B H T D, v B H T E. Unlike a sliding window this one is moved inside at the ends instead
 * of being cut, so that every token sees `size` keys (all T when there are fewer). A dilation d
 * does the same among the tokens that are a multiple of d away. With an odd size i stands in
 * the middle of its window; with an even one the extra key is on the left. mask B T hides keys
 * and does not move windows. Hassani et al. 2022 (2204.07143; dilated: 2209.15001). */
#include "mech/mech.h"

enum { Q, K, V, MASK, OUT, PATTERN };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B H T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B H T D", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B H T E", "values"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B H T E", "answers"},
    [PATTERN] = {"pattern", ATTN_OUT | ATTN_OPTIONAL | ATTN_FLAGS, "T T",
                 "which key each query may see"},
    {0}};

enum { SIZE, DILATION };
static const attn_param params[] = {
    [SIZE] = {"size", 'i', "7", NULL, "keys that each query sees"},
    [DILATION] = {"dilation", 'i', "1", NULL, "from one seen key to the next"},
    {0}};

static bool neighbourhood_1d_sees(const void *user, const int64_t *at)
{
    return attn__neighbours_see(user, 1, at[0], at[1]);
}

static void neighbourhood_1d_build(const attn__build *b)
{
    const int64_t size = b->params[SIZE].i, dilation = b->params[DILATION].i;
    const attn_attention_vars vars = {.q = b->in[Q], .k = b->in[K], .v = b->in[V]};
    if (!attn__build_need(b, size > 0, ATTN_E_PARAM, "size", "must be positive", 1, size) ||
        !attn__build_need(b, dilation > 0, ATTN_E_PARAM, "dilation", "must be positive", 1,
                          dilation))
        return;
    const attn__neighbours n = attn__neighbours_of(1, attn__build_size(b, 'T'), size, dilation);
    attn__build_flags(b, PATTERN, neighbourhood_1d_sees, &n);
    b->out[OUT] = attn__attend_neighbours(b->t, &vars, b->in[MASK], &n);
}

const attn_mech attn__mech_neighbourhood_1d = {
    .name = "neighbourhood_1d",
    .family = "sparse",
    .about = "each token of a series sees its nearest ones, equally many everywhere",
    .formula =
        "out_i = softmax_N(q_i k_j / sqrt(D)) v_j, N: the `size` nearest keys, everywhere",
    .cost = "n k: time T size (D + E), memory T (D + E)",
    .source = "2204.07143",
    .sizes = "B=1,H=2,T=9,D=4,E=4",
    .grows = "T",
    .example = "compute neighbourhood_1d -s size=3 --random T=9 --want out,pattern",
    .slots = slots,
    .params = params,
    .traits = ATTN_ROWS_SUM_1 | ATTN_LINEAR_IN_V | ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO |
              ATTN_STREAMS,
    .build = neighbourhood_1d_build,
};
