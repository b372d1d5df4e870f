/* SPDX-License-Identifier: MIT
 * Tri-Attention, additive: a small network looks at a query, a key and a context together.
 *
 *     s_ijc = p.tanh(w_q q_i + w_k k_j + w_c c_c)
 *     out_i = sum_jc a_ijc (v_j + u_c),   a_i = softmax over all pairs (j, c) of s_ijc
 *
 * q B T D, k B S D, v B S E, and c B J D the context of the conversation; u B J E is its value,
 * c itself when not given (then E = D). A pair is allowed where mask allows its key and c_mask
 * its context. Values are added, so out needs only what each key and each context got in all.
 * With w_c = 0 this is additive attention plus the mean of u. Published code puts a dense layer
 * over all pairs behind tanh, for fixed lengths and without a mask; this is the equation
 * instead. Queries go in blocks that are computed again on the way back, so that no T x S x J
 * tensor is kept. Yu et al. 2022 (2211.02899). */
#include "mech/mech.h"

enum { Q, K, V, C, U, W_Q, W_K, W_C, P, MASK, C_MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B S D", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B S E", "values"},
    [C] = {"c", ATTN_IN | ATTN_GRAD, "B J D", "contexts"},
    [U] = {"u", ATTN_IN | ATTN_GRAD | ATTN_OPTIONAL, "B J E", "values of contexts; none: c"},
    [W_Q] = {"w_q", ATTN_PARAM | ATTN_GRAD, "A D", "hidden layer: of the query"},
    [W_K] = {"w_k", ATTN_PARAM | ATTN_GRAD, "A D", "hidden layer: of the key"},
    [W_C] = {"w_c", ATTN_PARAM | ATTN_GRAD, "A D", "hidden layer: of the context"},
    [P] = {"p", ATTN_PARAM | ATTN_GRAD, "A", "to a score"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [C_MASK] = {"c_mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B J", "and a context"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T E", "sums over pairs"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL | ATTN_GRAD, "B T S J", "of every pair"},
    {0}};

/* What one block of queries is made of and what it gives. */
enum { BLOCK_Q, BLOCK_PAIRS, BLOCK_P, BLOCK_V, BLOCK_U, BLOCK_MASK, BLOCK_IN };
enum { BLOCK_OUT, BLOCK_WEIGHTS, BLOCK_RESULTS };

static attn_var additive_weights(attn_tape *t, const attn_var *in)
{
    const attn_var q = attn_tape_unsqueeze(t, in[BLOCK_Q], 2);         /* B n 1 A */
    const attn_var pairs = attn_tape_unsqueeze(t, in[BLOCK_PAIRS], 1); /* B 1 SJ A */
    const attn_var h = attn_tape_tanh(t, attn_tape_add(t, q, pairs));
    attn_var mask = in[BLOCK_MASK];
    if (attn__given(mask)) mask = attn_tape_unsqueeze(t, mask, 1);
    return attn_tape_softmax(t, attn_tape_matmul(t, h, in[BLOCK_P]), mask, 2);
}

/* What all contexts gave to a key, and all keys to a context, weighs their values. */
static void additive_block(attn_tape *t, void *user, const attn_var *in, attn_var *out)
{
    const attn_tensor q = attn_tape_value(t, in[BLOCK_Q]), v = attn_tape_value(t, in[BLOCK_V]),
                      u = attn_tape_value(t, in[BLOCK_U]);
    (void)user;
    if (!attn__present(&q) || !attn__present(&v) || !attn__present(&u)) return;
    const attn_var w = attn_tape_reshape(
        t, additive_weights(t, in), ATTN_DIMS(q.shape[0], q.shape[1], v.shape[1], u.shape[1]));
    const attn_var keys = attn_tape_sum(t, w, ATTN_DIMS(3), false);
    const attn_var contexts = attn_tape_sum(t, w, ATTN_DIMS(2), false);
    out[BLOCK_WEIGHTS] = w;
    out[BLOCK_OUT] = attn_tape_add(t, attn_tape_matmul(t, keys, in[BLOCK_V]),
                                   attn_tape_matmul(t, contexts, in[BLOCK_U]));
}

static void additive_block_out(attn_tape *t, void *user, const attn_var *in, attn_var *out)
{
    attn_var both[BLOCK_RESULTS] = {{0}};
    additive_block(t, user, in, both);
    out[BLOCK_OUT] = both[BLOCK_OUT];
}

/* 64 queries, or so many that a block's hidden layer has no more than about 2^18 numbers. */
static int64_t additive_rows(const attn__build *b)
{
    const char letters[] = "BSJA";
    int64_t row = 1;
    for (const char *l = letters; *l; l++)
        if (!attn__mul(row, attn__max(attn__build_size(b, *l), 1), &row)) return 1;
    return attn__max(attn__min((INT64_C(1) << 18) / row, 64), 1);
}

static void additive_blocks(const attn__build *b, attn_var *in)
{
    const int64_t T = attn__build_size(b, 'T'), step = additive_rows(b);
    const attn_var q = in[BLOCK_Q];
    attn__tiles out = {.dim = 1}, weights = {.dim = 1};
    for (int64_t i = 0; i == 0 || i < T; i += step) {
        attn_var got[BLOCK_RESULTS] = {{0}};
        in[BLOCK_Q] = attn_tape_slice(b->t, q, 1, i, attn__min(i + step, T));
        if (!attn_tape_checkpoint(
                b->t, b->wanted[WEIGHTS] ? additive_block : additive_block_out, NULL, BLOCK_IN,
                in, b->wanted[WEIGHTS] ? BLOCK_RESULTS : 1, got))
            return;
        attn__tiles_push(b->t, &out, got[BLOCK_OUT]);
        if (b->wanted[WEIGHTS]) attn__tiles_push(b->t, &weights, got[BLOCK_WEIGHTS]);
    }
    b->out[OUT] = attn__tiles_close(b->t, &out);
    if (b->wanted[WEIGHTS]) b->out[WEIGHTS] = attn__tiles_close(b->t, &weights);
}

static attn_var additive_project(const attn__build *b, int x, int w)
{
    return attn_tape_linear(b->t, b->in[x], b->in[w], (attn_var){0}, ATTN_ACT_NONE);
}

static void tri_additive_build(const attn__build *b)
{
    const attn_var u = attn__given(b->in[U]) ? b->in[U] : b->in[C];
    const int64_t width = attn__build_size(b, attn__given(b->in[U]) ? 'E' : 'D');
    if (!attn__build_need(b, width == attn__build_size(b, 'E'), ATTN_E_SHAPE, "c",
                          "without u its width must be that of v", attn__build_size(b, 'E'),
                          width))
        return;
    attn_var in[BLOCK_IN] = {[BLOCK_Q] = additive_project(b, Q, W_Q),
                             [BLOCK_PAIRS] = attn__tri_sums(b->t, additive_project(b, K, W_K),
                                                            additive_project(b, C, W_C)),
                             [BLOCK_P] = b->in[P],
                             [BLOCK_V] = attn__mask_rows(b->t, b->in[V], b->in[MASK]),
                             [BLOCK_U] = attn__mask_rows(b->t, u, b->in[C_MASK]),
                             [BLOCK_MASK] = attn__tri_mask(b, b->in[MASK], b->in[C_MASK])};
    additive_blocks(b, in);
}

const attn_mech attn__mech_tri_additive = {
    .name = "tri_additive",
    .family = "context",
    .about = "a small network scores query, key and context together",
    .formula = "out = sum_jc softmax_jc(p.tanh(w_q q + w_k k_j + w_c c_c)) (v_j + u_c)",
    .cost = "n^2: time T S J A, memory T E + S J A",
    .source = "2211.02899",
    .sizes = "B=1,T=4,S=3,J=2,D=4,E=4,A=3",
    .grows = "TS",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN_KEY_PERMUTABLE | ATTN_SHIFT_INVARIANT | ATTN_BATCH_FREE |
              ATTN_MASKED_ROW_ZERO | ATTN_STREAMS,
    .build = tri_additive_build,
};
