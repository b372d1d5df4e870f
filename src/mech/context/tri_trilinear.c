/* SPDX-License-Identifier: MIT
 * Tri-Attention, trilinear: a learned tensor takes a query, a key and a context to a score.
 *
 *     s_ijc = sum_r (w_q q_i)_r (w_k k_j)_r (w_c c_c)_r                    core absent
 *           = sum_rst core_rst (w_q q_i)_r (w_k k_j)_s (w_c c_c)_t         core given
 *     p_i   = softmax over all pairs (j, c) of scale s_ijc
 *     out_i = sum_jc p_ijc ((w_v v_j) * (w_u c_c))                    * element by element
 *
 * q B T D, k B S D, v B S D, and c B J D the context; R is the rank of the factors, E the width
 * of the values. The paper's full tensor is R = D, factors of one and its W as the core: for
 * small R only, R^3 numbers. A pair is allowed where mask allows its key and c_mask its
 * context. Heads share R and E, without a core. Each pair is one key of the fused engine:
 * memory grows with S J and with T, never with T S J. Yu et al. 2022 (2211.02899). */
#include "mech/mech.h"

enum { Q, K, V, C, W_Q, W_K, W_C, W_V, W_U, CORE, MASK, C_MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B S D", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B S D", "values"},
    [C] = {"c", ATTN_IN | ATTN_GRAD, "B J D", "contexts"},
    [W_Q] = {"w_q", ATTN_PARAM | ATTN_GRAD, "R D", "factor of the query"},
    [W_K] = {"w_k", ATTN_PARAM | ATTN_GRAD, "R D", "factor of the key"},
    [W_C] = {"w_c", ATTN_PARAM | ATTN_GRAD, "R D", "factor of the context"},
    [W_V] = {"w_v", ATTN_PARAM | ATTN_GRAD, "E D", "values"},
    [W_U] = {"w_u", ATTN_PARAM | ATTN_GRAD, "E D", "values of contexts"},
    [CORE] = {"core", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "R R R",
              "query, key, context; none: 1 where all three are equal"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [C_MASK] = {"c_mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B J", "and a context"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T E", "sums over pairs"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B H T S J", "of every pair and head"},
    {0}};

enum { HEADS, SCALE };
static const attn_param params[] = {
    [HEADS] = {"heads", 'i', "1", NULL, "they share R and E evenly; 1 with a core", 'H'},
    [SCALE] = {"scale", 'f', "1", NULL, "of the scores; 0: 1 / sqrt(R / heads)"},
    {0}};

static attn_var trilinear_project(const attn__build *b, attn_var x, int w)
{
    return attn_tape_linear(b->t, x, b->in[w], (attn_var){0}, ATTN_ACT_NONE);
}

/* Keys B SJ R with a core: sum_st core_rst k_s c_t, the context's sum first (it is short). */
static attn_var trilinear_keys(const attn__build *b, attn_var k, attn_var c)
{
    attn_tape *t = b->t;
    const int64_t batch = attn__build_size(b, 'B'), S = attn__build_size(b, 'S'),
                  J = attn__build_size(b, 'J'), R = attn__build_size(b, 'R');
    if (!attn__given(b->in[CORE])) return attn__tri_products(t, k, c);
    const attn_var rows = attn_tape_reshape(t, b->in[CORE], ATTN_DIMS(R * R, R)); /* rs t */
    attn_var seen = attn_tape_linear(t, c, rows, (attn_var){0}, ATTN_ACT_NONE);   /* B J rs */
    seen = attn_tape_reshape(t, seen, ATTN_DIMS(batch, J * R, R));                /* B Jr s */
    const attn_var keys = attn_tape_matmul(t, k, attn_tape_transpose(t, seen, 1, 2));
    return attn_tape_reshape(t, keys, ATTN_DIMS(batch, S * J, R));
}

static void tri_trilinear_build(const attn__build *b)
{
    const int64_t heads = b->params[HEADS].i;
    if (!attn__build_need(b, heads == 1 || !attn__given(b->in[CORE]), ATTN_E_HEADS, "core",
                          "is for one head", 1, heads))
        return;
    const attn_var k = attn__mask_rows(b->t, b->in[K], b->in[MASK]);
    const attn_var v = attn__mask_rows(b->t, b->in[V], b->in[MASK]);
    const attn_var c = attn__mask_rows(b->t, b->in[C], b->in[C_MASK]);
    const attn_var values =
        attn__tri_products(b->t, trilinear_project(b, v, W_V), trilinear_project(b, c, W_U));
    const attn_var keys =
        trilinear_keys(b, trilinear_project(b, k, W_K), trilinear_project(b, c, W_C));
    const attn__tri tri = {.q = trilinear_project(b, b->in[Q], W_Q),
                           .keys = keys,
                           .values = values,
                           .mask = attn__tri_mask(b, b->in[MASK], b->in[C_MASK]),
                           .scale = b->params[SCALE].f,
                           .heads = heads};
    b->out[OUT] = attn__tri_attend(b, &tri, WEIGHTS);
}

const attn_mech attn__mech_tri_trilinear = {
    .name = "tri_trilinear",
    .family = "context",
    .about = "a learned tensor scores query, key and context together",
    .formula = "out = sum_jc softmax_jc(core(w_q q, w_k k, w_c c)) (w_v v * w_u c)",
    .cost = "n^2: time T S J (R + E), memory T (R + E) + S J (R + E)",
    .source = "2211.02899",
    .sizes = "B=1,H=1,T=4,S=3,J=2,D=3,R=4,E=4",
    .grows = "TS",
    .slots = slots,
    .params = params,
    .traits = ATTN_KEY_PERMUTABLE | ATTN_SHIFT_INVARIANT | ATTN_LINEAR_IN_V | ATTN_BATCH_FREE |
              ATTN_MASKED_ROW_ZERO | ATTN_STREAMS,
    .build = tri_trilinear_build,
};
