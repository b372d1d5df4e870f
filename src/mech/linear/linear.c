/* SPDX-License-Identifier: MIT
 * Kernel linear attention: the weight of a key is a product of features, so the sum over keys
 * is made once, for all queries.
 *
 *     out_i = phi(q_i)^T S_i / (phi(q_i)^T z_i + eps),  S_i = sum_j phi(k_j) v_j^T,
 *     z_i = sum_j phi(k_j),  over all keys j, or j <= i with causal=true
 *
 * q B H T D, k B H S D, v B H S E; causal wants T = S. mask B S hides keys. phi is elu + 1 (the
 * default: positive, so weights are and sum to 1), relu, exp, the square or none. Features that
 * may be negative (identity) can give a divisor near 0: set normalise=false with them. A
 * divisor of exactly 0 gives 0. Katharopoulos et al. 2020 (2006.16236). */
#include "mech/mech.h"

enum { Q, K, V, MASK, OUT };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B H T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B H S D", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B H S E", "values"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B H T E", "the weighted means of v"},
    {0}};

#define LINEAR_FEATURES "elu1|relu|exp|square|identity"
enum { FEATURE, CAUSAL, NORMALISE, EPS };
static const attn_param params[] = {
    [FEATURE] = {"feature", 'e', "elu1", LINEAR_FEATURES, "phi, of queries and keys"},
    [CAUSAL] = {"causal", 'b', "false", NULL, "keys up to the query's position"},
    [NORMALISE] = {"normalise", 'b', "true", NULL, "divide by the sum of the weights"},
    [EPS] = {"eps", 'f', "0", NULL, "added to that sum"},
    {0}};

/* relu(x) + exp(min(x, 0)): elu(x) + 1 without the sum that loses what is small. */
static attn_var linear_elu1(attn_tape *t, attn_var x)
{
    const attn_var low = attn_tape_minimum(t, x, attn_tape_scalar(t, 0));
    return attn_tape_add(t, attn_tape_relu(t, x), attn_tape_exp(t, low));
}

static attn_var linear_square(attn_tape *t, attn_var x)
{
    return attn_tape_mul(t, x, x);
}

static attn_var linear_identity(attn_tape *t, attn_var x)
{
    (void)t;
    return x;
}

static attn_var linear_feature(const attn__build *b, attn_var x, int64_t kind)
{
    /* in the order of LINEAR_FEATURES */
    static attn_var (*const features[])(attn_tape *, attn_var) = {
        linear_elu1, attn_tape_relu, attn_tape_exp, linear_square, linear_identity};
    const int64_t n = sizeof features / sizeof features[0];
    if (!attn__build_need(b, kind >= 0 && kind < n, ATTN_E_ENUM, "feature",
                          "not a place in the list of features", n, kind))
        return (attn_var){0};
    return features[kind](b->t, x);
}

static void linear_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_value *p = b->params;
    const int64_t T = attn__build_size(b, 'T'), S = attn__build_size(b, 'S');
    if (!attn__build_need(b, !p[CAUSAL].i || T == S, ATTN_E_CAUSAL, "causal",
                          "queries stand at the keys: T and S must agree", T, S))
        return;
    const attn_scan_spec spec =
        ATTN_SCAN_SPEC(.scale = 1, .whole = !p[CAUSAL].i, .normalise = p[NORMALISE].i,
                       .eps = p[NORMALISE].i ? p[EPS].f : 0);
    const attn_var seen = attn__mask_rows(t, b->in[K], b->in[MASK]);
    const attn_var k = linear_feature(b, seen, p[FEATURE].i);
    const attn_scan_vars vars = {.q = linear_feature(b, b->in[Q], p[FEATURE].i),
                                 .k = attn__mask_rows(t, k, b->in[MASK]),
                                 .v = attn__mask_rows(t, b->in[V], b->in[MASK])};
    b->out[OUT] = attn__remember(b, &spec, &vars, -1);
}

const attn_mech attn__mech_linear = {
    .name = "linear",
    .family = "linear",
    .about = "weights are products of features, so keys are summed up once",
    .formula = "out_i = phi(q_i)^T sum_j phi(k_j) v_j^T / (phi(q_i)^T sum_j phi(k_j) + eps)",
    .cost = "n: time (T + S) D E, memory D E",
    .source = "2006.16236",
    .sizes = "B=1,H=2,T=6,S=6,D=3,E=4",
    .grows = "TS",
    .slots = slots,
    .params = params,
    .traits = ATTN_KEY_PERMUTABLE | ATTN_LINEAR_IN_V | ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO |
              ATTN_STREAMS,
    .build = linear_build,
};
