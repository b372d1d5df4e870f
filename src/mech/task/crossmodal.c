/* SPDX-License-Identifier: MIT
 * Crossmodal attention: two modalities read each other, each keeping its own pace.
 *
 *     out  = x + concat_h( softmax(q_h k_h^T / sqrt(A/H)) v_h ) w_o^T,
 *            q = norm(x) w_q^T, k = norm(y) w_k^T, v = norm(y) w_v^T
 *     back = y + the same with x and y exchanged and weights of its own
 *
 * x B T M and y B S N need not be aligned: sound and text may have any lengths. norm is layer
 * normalisation without gain and offset. x_mask and mask hide padding of either: nobody reads
 * it, and it reads as a vector of zeros would. What reads only padding stays as it is. back is
 * computed when it is asked for and needs its four weights. One pair of directions; three
 * modalities are three such calls. The feed-forward layer that follows in a transformer is the
 * caller's. Tsai et al. 2019 (1906.00295). */
#include "mech/mech.h"

enum {
    X,
    Y,
    W_Q,
    W_K,
    W_V,
    W_O,
    V_Q,
    V_K,
    V_V,
    V_O,
    MASK,
    X_MASK,
    OUT,
    BACK,
    WEIGHTS,
    BACK_WEIGHTS
};
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B T M", "one modality"},
    [Y] = {"y", ATTN_IN | ATTN_GRAD, "B S N", "the other"},
    [W_Q] = {"w_q", ATTN_PARAM | ATTN_GRAD, "A M", "x asks"},
    [W_K] = {"w_k", ATTN_PARAM | ATTN_GRAD, "A N", "y is asked"},
    [W_V] = {"w_v", ATTN_PARAM | ATTN_GRAD, "P N", "y answers"},
    [W_O] = {"w_o", ATTN_PARAM | ATTN_GRAD, "M P", "heads to x"},
    [V_Q] = {"w_back_q", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "A N", "y asks"},
    [V_K] = {"w_back_k", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "A M", "x is asked"},
    [V_V] = {"w_back_v", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "P M", "x answers"},
    [V_O] = {"w_back_o", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "N P", "heads to y"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a step of y"},
    [X_MASK] = {"x_mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "and of x"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T M", "x, having read y"},
    [BACK] = {"back", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B S N", "y, having read x"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B H T S", "of x on y"},
    [BACK_WEIGHTS] = {"back_weights", ATTN_OUT | ATTN_OPTIONAL, "B H S T", "of y on x"},
    {0}};

enum { HEADS };
static const attn_param params[] = {
    [HEADS] = {"heads", 'i', "2", NULL, "they share the features of the weights evenly", 'H'},
    {0}};

/* One direction: the slots of who asks, who is asked, the first weight, and so on. */
typedef struct crossmodal_way {
    int x, y, w, x_mask, mask, weights;
} crossmodal_way;

static attn_var crossmodal_norm(const attn__build *b, int slot, int mask)
{
    const attn_var none = {0}, x = attn__mask_rows(b->t, b->in[slot], b->in[mask]);
    return attn_tape_layernorm(b->t, x, 1, none, none, 0);
}

static attn_var crossmodal_read(const attn__build *b, const crossmodal_way *way)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in, *w = in + way->w, none = {0};
    const int64_t heads = b->params[HEADS].i;
    const attn_var x = crossmodal_norm(b, way->x, way->x_mask);
    const attn_var y = crossmodal_norm(b, way->y, way->mask);
    const attn_attention_vars vars = {
        .q = attn__heads_split(t, attn_tape_linear(t, x, w[0], none, ATTN_ACT_NONE), heads),
        .k = attn__heads_split(t, attn_tape_linear(t, y, w[1], none, ATTN_ACT_NONE), heads),
        .v = attn__heads_split(t, attn_tape_linear(t, y, w[2], none, ATTN_ACT_NONE), heads)};
    const attn_var o =
        attn__attend(t, NULL, &vars, in[way->mask], attn__build_output(b, way->weights));
    return attn_tape_add(
        t, in[way->x], attn_tape_linear(t, attn__heads_join(t, o), w[3], none, ATTN_ACT_NONE));
}

static void crossmodal_build(const attn__build *b)
{
    static const crossmodal_way there = {X, Y, W_Q, X_MASK, MASK, WEIGHTS},
                                back = {Y, X, V_Q, MASK, X_MASK, BACK_WEIGHTS};
    int given = 0;
    for (int i = V_Q; i <= V_O; i++) given += attn__given(b->in[i]);
    b->out[OUT] = crossmodal_read(b, &there);
    if (!b->wanted[BACK] && !b->wanted[BACK_WEIGHTS]) return;
    if (attn__build_need(b, given == 4, ATTN_E_NULL, "w_back_q w_back_k w_back_v w_back_o",
                         "all are needed for the way back", 4, given))
        b->out[BACK] = crossmodal_read(b, &back);
}

const attn_mech attn__mech_crossmodal = {
    .name = "crossmodal",
    .family = "task",
    .about = "two modalities read each other, each at its own pace",
    .formula =
        "out = x + concat_h(softmax(q_h k_h^T / sqrt(A/H)) v_h) w_o^T, q of norm(x), k v "
        "of norm(y); back: exchanged",
    .cost = "n^2: time T S (A + P), memory (T + S) (A + P)",
    .source = "1906.00295",
    .sizes = "B=1,H=2,T=5,S=6,M=4,N=6,A=4,P=8",
    .grows = "TS",
    .slots = slots,
    .params = params,
    .traits = ATTN_KEY_PERMUTABLE | ATTN_BATCH_FREE | ATTN_STREAMS,
    .build = crossmodal_build,
};
