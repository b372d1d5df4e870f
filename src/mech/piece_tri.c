/* SPDX-License-Identifier: MIT
 * Attention of three: a query, a key and a context score together, and the softmax runs over
 * all pairs of a key and a context at once. Scores that are linear in the query see such a pair
 * as one key, so a list of S J keys and values serves the fused engine and no T x S x J tensor
 * is kept. Pair (j, c) stands at j J + c. */
#include "mech/mech.h"

#include "attn/attention.h"

/* B S D and B J D as B S 1 D and B 1 J D, which broadcast to every pair. */
typedef struct tri_pair {
    attn_var a, b;
    int64_t batch, n_a, n_b, width;
} tri_pair;

static tri_pair tri_pair_of(attn_tape *t, attn_var a, attn_var b)
{
    const attn_tensor x = attn_tape_value(t, a), y = attn_tape_value(t, b);
    if (!attn__present(&x) || !attn__present(&y)) return (tri_pair){0};
    return (tri_pair){.a = attn_tape_unsqueeze(t, a, 2),
                      .b = attn_tape_unsqueeze(t, b, 1),
                      .batch = x.shape[0],
                      .n_a = x.shape[1],
                      .n_b = y.shape[1],
                      .width = x.shape[2]};
}

static attn_var tri_list(attn_tape *t, const tri_pair *p, attn_var pairs)
{
    return attn_tape_reshape(t, pairs, ATTN_DIMS(p->batch, p->n_a * p->n_b, p->width));
}

attn_var attn__tri_products(attn_tape *t, attn_var a, attn_var b)
{
    const tri_pair p = tri_pair_of(t, a, b);
    return tri_list(t, &p, attn_tape_mul(t, p.a, p.b));
}

attn_var attn__tri_sums(attn_tape *t, attn_var a, attn_var b)
{
    const tri_pair p = tri_pair_of(t, a, b);
    return tri_list(t, &p, attn_tape_add(t, p.a, p.b));
}

attn_var attn__tri_values(const attn__build *b, attn_var u, attn_var c)
{
    const int64_t want = attn__build_size(b, 'E'), got = attn__build_size(b, 'D');
    if (attn__given(u)) return u;
    if (!attn__build_need(b, want == got, ATTN_E_SHAPE, "c",
                          "without u its width must be that of v", want, got))
        return u;
    return c;
}

attn_var attn__tri_mask(const attn__build *b, attn_var keys, attn_var contexts)
{
    attn_tape *t = b->t;
    const int64_t batch = attn__build_size(b, 'B'), n = attn__build_size(b, 'S'),
                  m = attn__build_size(b, 'J');
    if (!attn__given(keys) && !attn__given(contexts)) return keys;
    if (attn__given(keys)) keys = attn_tape_unsqueeze(t, keys, 2);
    if (attn__given(contexts)) contexts = attn_tape_unsqueeze(t, contexts, 1);
    const attn_var both =
        attn_tape_expand(t, attn__pair_mask(t, keys, contexts), ATTN_DIMS(batch, n, m));
    return attn_tape_reshape(t, both, ATTN_DIMS(batch, n * m));
}

/* A of all heads to H A/H. */
static attn_var tri_score_w(const attn__build *b, const attn__tri *tri)
{
    const attn_tensor w = attn_tape_value(b->t, tri->score_w);
    if (!attn__given(tri->score_w) || !attn__present(&w)) return (attn_var){0};
    if (!attn__build_need(b, tri->heads >= 1 && w.shape[0] % tri->heads == 0, ATTN_E_HEADS,
                          "heads", "the hidden layer must divide among the heads", tri->heads,
                          w.shape[0]))
        return (attn_var){0};
    return attn_tape_reshape(b->t, tri->score_w,
                             ATTN_DIMS(tri->heads, w.shape[0] / tri->heads));
}

attn_var attn__tri_attend(const attn__build *b, const attn__tri *tri, int weights)
{
    attn_tape *t = b->t;
    attn_tensor w = attn__build_output(b, weights); /* B H T S J, dense, as B H T SJ */
    const attn_attention_vars vars = {.score_w = tri_score_w(b, tri),
                                      .q = attn__heads_split(t, tri->q, tri->heads),
                                      .k = attn__heads_split(t, tri->keys, tri->heads),
                                      .v = attn__heads_split(t, tri->values, tri->heads)};
    if (attn__present(&w)) {
        w.shape[3] *= w.shape[4], w.stride[3] = 1;
        w.rank = 4;
    }
    const attn_spec spec = ATTN_SPEC(.scale = tri->scale, .score = tri->score);
    return attn__heads_join(t, attn__attend(t, &spec, &vars, tri->mask, w));
}

/* ---- the two forms without weights ------------------------------------------------------- */

enum { Q, K, V, C, U, MASK, C_MASK, OUT, WEIGHTS };
const attn_slot attn__tri_slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B S D", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B S E", "values"},
    [C] = {"c", ATTN_IN | ATTN_GRAD, "B J D", "contexts"},
    [U] = {"u", ATTN_IN | ATTN_GRAD | ATTN_OPTIONAL, "B J E", "values of contexts; none: c"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [C_MASK] = {"c_mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B J", "and a context"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T E", "sums over pairs"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B H T S J", "of every pair and head"},
    {0}};

enum { HEADS };
const attn_param attn__tri_params[] = {
    [HEADS] = {"heads", 'i', "1", NULL, "they share D and E evenly", 'H'}, {0}};

void attn__tri_dot_build(const attn__build *b, double scale)
{
    const attn_var *in = b->in;
    const attn_var c = attn__mask_rows(b->t, in[C], in[C_MASK]),
                   u = attn__mask_rows(b->t, attn__tri_values(b, in[U], in[C]), in[C_MASK]);
    const attn__tri tri = {
        .q = in[Q],
        .keys = attn__tri_products(b->t, attn__mask_rows(b->t, in[K], in[MASK]), c),
        .values = attn__tri_products(b->t, attn__mask_rows(b->t, in[V], in[MASK]), u),
        .mask = attn__tri_mask(b, in[MASK], in[C_MASK]),
        .scale = scale,
        .heads = b->params[HEADS].i};
    b->out[OUT] = attn__tri_attend(b, &tri, WEIGHTS);
}
