/* SPDX-License-Identifier: MIT
 * Feature-wise attention: every feature has weights of its own.
 *
 *     s_ij[f] = scale q_i[f] k_j[f],   out_i[f] = sum_j softmax_j(s_ij[f]) v_j[f]
 *
 * q B T D, k B S D, v B S D; mask B S hides keys. The single score of a pair, a sum over
 * features, becomes a vector: the survey's multi-dimensional weights in their barest form, and
 * the limit of multi-head attention with one feature a head - which is how the engine runs it,
 * so the T S D weights are never all there. multi_dimensional and disan score with learned
 * layers. The survey 2203.14263, section on dimensionality; this member of the family is our
 * own. */
#include "mech/mech.h"

enum { Q, K, V, MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B S D", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B S D", "values"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T D", "weighted sums of v"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B D T S", "of every feature"},
    {0}};

enum { SCALE };
static const attn_param params[] = {
    [SCALE] = {"scale", 'f', "1", NULL, "factor of the products; not 0"}, {0}};

static void feature_wise_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const int64_t D = attn__build_size(b, 'D');
    const attn_spec spec = ATTN_SPEC(.scale = b->params[SCALE].f);
    if (!attn__build_need(b, b->params[SCALE].f != 0, ATTN_E_PARAM, "scale", "must not be 0", 1,
                          0) ||
        !attn__build_need(b, D > 0, ATTN_E_SHAPE, "q", "needs a feature", 1, D))
        return;
    const attn_attention_vars vars = {.q = attn__heads_split(t, b->in[Q], D),
                                      .k = attn__heads_split(t, b->in[K], D),
                                      .v = attn__heads_split(t, b->in[V], D)};
    const attn_var o =
        attn__attend(t, &spec, &vars, b->in[MASK], attn__build_output(b, WEIGHTS));
    b->out[OUT] = attn__heads_join(t, o);
}

const attn_mech attn__mech_feature_wise = {
    .name = "feature_wise",
    .family = "dimension",
    .about = "a weight for every feature of every key",
    .formula = "out_i[f] = sum_j softmax_j(scale q_i[f] k_j[f]) v_j[f]",
    .cost = "n^2: time T S D, memory T D",
    .source = "2203.14263 (form: our own)",
    .sizes = "B=1,T=5,S=6,D=4",
    .grows = "TS",
    .slots = slots,
    .params = params,
    .traits = ATTN__SOFT_TRAITS,
    .build = feature_wise_build,
};
