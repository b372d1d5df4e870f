/* SPDX-License-Identifier: MIT
 * Transformer-XL: a segment sees itself and a memory of what came before, by distances.
 *
 *     y = [memory; x];  q = x w_q^T, k = y w_k^T, v = y w_v^T, r_d = PE(d) w_r^T   in H heads
 *     score_ij = ((q_i + u) . k_j + (q_i + v) . r_{N + i - j}) / sqrt(A/H)
 *     out = concat_h( softmax(score) v ) w_o^T
 *
 * x B T M, memory B N M, u and v_bias A. PE is the sinusoidal encoding (see sinusoidal) of the
 * distance d = N + i - j, which is looked up directly, without the paper's shift of padded
 * rows. The four terms: content, content-dependent position, global content (u), global
 * position (v). memory itself takes no gradient (w_k and w_v do, through it); two segments with
 * a memory of full length are one long segment. memory_mask B N and mask B T hide keys.
 * causal=false has XLNet's form, with distances below 0.
 *
 * Both products are one call of the fused engine: queries [q + u | q + v], keys [k | 0],
 * relative keys [0 | r]. Causal, positions are moved so that a table of N + T distances is
 * enough. Code of the paper has [sines | cosines] in PE: the columns of w_r in another order.
 * Dai et al. 2019 (1901.02860). */
#include "mech/mech.h"

#include <math.h>

enum { X, MEMORY, W_Q, W_K, W_V, W_R, U, V_BIAS, W_O, MEMORY_MASK, MASK, OUT, WEIGHTS, RECALL };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B T M", "the segment"},
    [MEMORY] = {"memory", ATTN_IN, "B N M", "what came before it; N may be 0"},
    [W_Q] = {"w_q", ATTN_PARAM | ATTN_GRAD, "A M", "queries"},
    [W_K] = {"w_k", ATTN_PARAM | ATTN_GRAD, "A M", "keys"},
    [W_V] = {"w_v", ATTN_PARAM | ATTN_GRAD, "P M", "values"},
    [W_R] = {"w_r", ATTN_PARAM | ATTN_GRAD, "A M", "distances"},
    [U] = {"u", ATTN_PARAM | ATTN_GRAD, "A", "asks for content, whatever the query"},
    [V_BIAS] = {"v_bias", ATTN_PARAM | ATTN_GRAD, "A", "asks for distances"},
    [W_O] = {"w_o", ATTN_PARAM | ATTN_GRAD, "O P", "heads to output"},
    [MEMORY_MASK] = {"memory_mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B N",
                     "false hides a key of the memory"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "false hides a key of x"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T O", "answers"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B H T T", "of the segment"},
    [RECALL] = {"memory_weights", ATTN_OUT | ATTN_OPTIONAL, "B H T N", "of the memory"},
    {0}};

enum { HEADS, CAUSAL, BASE };
static const attn_param params[] = {
    [HEADS] = {"heads", 'i', "2", NULL, "they share the features evenly", 'H'},
    [CAUSAL] = {"causal", 'b', "true", NULL, "a position sees itself and what came before"},
    [BASE] = {"base", 'f', "10000", NULL, "of the waves; above 0"},
    {0}};

typedef struct xl_call {
    int64_t heads, width, n_memory, n, reach; /* H, A/H, N, N + T, R of the table 2R + 1 */
    bool causal;
    attn_var all; /* y */
} xl_call;

/* q + bias in heads. */
static attn_var xl_query(const attn__build *b, const xl_call *c, attn_var q, int bias)
{
    return attn__heads_split(b->t, attn_tape_add(b->t, q, b->in[bias]), c->heads);
}

/* H 2R+1 2D: row r is the distance 2R - r (causal) or R - r, behind zeros. */
static attn_var xl_distances(const attn__build *b, const xl_call *c)
{
    attn_tape *t = b->t;
    const attn_var waves = attn__table_sinusoid(t, c->causal ? 0 : -c->reach, 2 * c->reach + 1,
                                                attn__build_size(b, 'M'), b->params[BASE].f);
    const attn_var rows = attn_tape_unsqueeze(t, attn_tape_flip(t, waves, 0), 0);
    const attn_var r = attn_tape_squeeze(t, attn__heads_from(t, rows, b->in[W_R], c->heads), 0);
    return attn_tape_pad(t, r, 2, c->width, 0, 0);
}

/* The two masks as one B N+T; empty when there is none. */
static attn_var xl_mask(const attn__build *b, const xl_call *c)
{
    attn_tape *t = b->t;
    const int64_t B = attn__build_size(b, 'B'), N = c->n_memory;
    const attn_var one = attn_tape_scalar(t, 1), *in = b->in;
    if (!attn__given(in[MASK]) && !attn__given(in[MEMORY_MASK])) return in[MASK];
    const attn_var parts[] = {
        N > 0 && attn__given(in[MEMORY_MASK]) ? attn_tape_cast(t, in[MEMORY_MASK])
                                              : attn_tape_expand(t, one, ATTN_DIMS(B, N)),
        attn__given(in[MASK]) ? attn_tape_cast(t, in[MASK])
                              : attn_tape_expand(t, one, ATTN_DIMS(B, c->n - N))};
    return attn_tape_less(t, attn_tape_scalar(t, 0), attn_tape_concat(t, 2, parts, 1));
}

static attn_spec xl_spec(const xl_call *c)
{
    attn_spec spec = ATTN_SPEC(.align = ATTN_ALIGN_OFFSET, .offset = c->n_memory);
    spec.scale = 1 / sqrt((double)attn__max(c->width, 1));
    if (!c->causal) return spec;
    spec.offset -= c->reach; /* distances 0 .. 2R become offsets R .. -R */
    spec.window = (attn_window)ATTN_WINDOW(-1, c->reach);
    return spec;
}

/* Weights B H T N+T for the engine to write, when one of the two outputs is wanted. */
static attn_var xl_weights(const attn__build *b, const xl_call *c)
{
    if (!b->wanted[WEIGHTS] && !b->wanted[RECALL]) return (attn_var){0};
    const attn_dims shape =
        ATTN_DIMS(attn__build_size(b, 'B'), c->heads, c->n - c->n_memory, c->n);
    return attn__tape_contiguous(b->t,
                                 attn_tape_expand(b->t, attn_tape_scalar(b->t, 0), shape));
}

static attn_var xl_attend(const attn__build *b, const xl_call *c)
{
    attn_tape *t = b->t;
    const attn_var q = attn_tape_linear(t, b->in[X], b->in[W_Q], (attn_var){0}, ATTN_ACT_NONE);
    const attn_var halves[] = {xl_query(b, c, q, U), xl_query(b, c, q, V_BIAS)};
    const attn_var k = attn__heads_from(t, c->all, b->in[W_K], c->heads);
    const attn_spec spec = xl_spec(c);
    const attn_attention_vars vars = {.q = attn_tape_concat(t, 2, halves, 3),
                                      .k = attn_tape_pad(t, k, 3, 0, c->width, 0),
                                      .v = attn__heads_from(t, c->all, b->in[W_V], c->heads),
                                      .rel_k = xl_distances(b, c)};
    const attn_var weights = xl_weights(b, c);
    const attn_var o =
        attn__attend(t, &spec, &vars, xl_mask(b, c), attn_tape_value(t, weights));
    if (attn__given(weights)) {
        b->out[RECALL] = attn_tape_slice(t, weights, 3, 0, c->n_memory);
        b->out[WEIGHTS] = attn_tape_slice(t, weights, 3, c->n_memory, c->n);
    }
    return o;
}

static void transformer_xl_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in;
    xl_call c = {.heads = b->params[HEADS].i, .causal = b->params[CAUSAL].i};
    const int64_t A = attn__build_size(b, 'A');
    if (!attn__build_need(b, c.heads > 0 && A % c.heads == 0, ATTN_E_HEADS, "heads",
                          "must divide the rows of w_q", c.heads, A) ||
        !attn__build_need(b, b->params[BASE].f > 0, ATTN_E_PARAM, "base", "must be above 0", 0,
                          0))
        return;
    const attn_var both[] = {attn_tape_stop(t, in[MEMORY]), in[X]};
    c.n_memory = attn__build_size(b, 'N');
    c.all = attn_tape_concat(t, 2, both, 1);
    c.width = A / c.heads;
    c.n = c.n_memory + attn__build_size(b, 'T');
    c.reach = c.causal ? c.n / 2 : attn__max(c.n - 1, 0);
    b->out[OUT] = attn__heads_to(t, xl_attend(b, &c), in[W_O]);
}

const attn_mech attn__mech_transformer_xl = {
    .name = "transformer_xl",
    .family = "position",
    .about = "a segment and a memory before it, attended to by content and by distance",
    .formula = "score = ((q_i + u) . k_j + (q_i + v) . (w_r PE(N + i - j))) / sqrt(A/H)",
    .cost = "n^2: time T (N + T) (4 A + P), memory (N + T) (A + P)",
    .source = "1901.02860",
    .sizes = "B=1,H=2,T=5,N=4,M=4,A=4,P=6,O=4",
    .grows = "T",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_STREAMS | ATTN_CAUSAL | ATTN_STEPS,
    .build = transformer_xl_build,
};
