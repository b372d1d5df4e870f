/* SPDX-License-Identifier: MIT
 * Neighbourhood attention of a picture: each place sees a square around it, whole everywhere.
 *
 *     N(y, x) = N_Y(y) x N_X(x)
 *     N_n(a) = { s, s + 1 ... s + size - 1 },  s = clamp(a - floor(size / 2), 0, n - size)
 *     out = sum over N of softmax(q . k / sqrt(D)) v
 *
 * q, k B H Y X D, v B H Y X E. At a border the square is moved inside instead of being cut, so
 * that places see equally many keys: in a corner the query stands in the corner of its square.
 * Dilation as in neighbourhood_1d, along each side. Local window attention that cuts, and
 * windows that do not move with the query (Swin), are other mechanisms. mask B Y X hides keys
 * and does not move squares. Hassani et al. 2022 (2204.07143; dilated: 2209.15001). */
#include "mech/mech.h"

enum { Q, K, V, MASK, OUT, PATTERN };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B H Y X D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B H Y X D", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B H Y X E", "values"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B Y X", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B H Y X E", "answers"},
    [PATTERN] = {"pattern", ATTN_OUT | ATTN_OPTIONAL | ATTN_FLAGS, "Y X Y X",
                 "which place each place may see"},
    {0}};

enum { SIZE, DILATION };
static const attn_param params[] = {
    [SIZE] = {"size", 'i', "7", NULL, "side of the square that each place sees"},
    [DILATION] = {"dilation", 'i', "1", NULL, "from one seen place to the next"},
    {0}};

static bool neighbourhood_2d_sees(const void *user, const int64_t *at)
{
    return attn__neighbours_see(user, 0, at[0], at[2]) &&
           attn__neighbours_see(user, 1, at[1], at[3]);
}

static void neighbourhood_2d_build(const attn__build *b)
{
    const int64_t size = b->params[SIZE].i, dilation = b->params[DILATION].i;
    const attn_attention_vars vars = {.q = b->in[Q], .k = b->in[K], .v = b->in[V]};
    if (!attn__build_need(b, size > 0, ATTN_E_PARAM, "size", "must be positive", 1, size) ||
        !attn__build_need(b, dilation > 0, ATTN_E_PARAM, "dilation", "must be positive", 1,
                          dilation))
        return;
    const attn__neighbours n =
        attn__neighbours_of(attn__build_size(b, 'Y'), attn__build_size(b, 'X'), size, dilation);
    attn__build_flags(b, PATTERN, neighbourhood_2d_sees, &n);
    b->out[OUT] = attn__attend_neighbours(b->t, &vars, b->in[MASK], &n);
}

const attn_mech attn__mech_neighbourhood_2d = {
    .name = "neighbourhood_2d",
    .family = "sparse",
    .about = "each place of a picture sees a square around it, whole everywhere",
    .formula =
        "out = softmax_N(q k / sqrt(D)) v, N: the `size` x `size` nearest places, everywhere",
    .cost = "n k: time Y X size^2 (D + E), memory Y X (D + E)",
    .source = "2204.07143",
    .sizes = "B=1,H=2,Y=4,X=5,D=4,E=4",
    .grows = "YX",
    .example = "compute neighbourhood_2d -s size=3 --random Y=4,X=5 --want out,pattern",
    .slots = slots,
    .params = params,
    .traits = ATTN_ROWS_SUM_1 | ATTN_LINEAR_IN_V | ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO |
              ATTN_STREAMS,
    .build = neighbourhood_2d_build,
};
