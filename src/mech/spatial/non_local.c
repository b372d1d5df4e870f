/* SPDX-License-Identifier: MIT
 * The non-local block: every place of a picture gathers from all places, by how alike they are.
 *
 *     theta = w_theta x, phi = w_phi x, g = w_g x  at every pixel
 *     out_i = x_i + w_z sum_j f(i, j) g_j + b_z
 *     embedded   f = softmax_j(theta_i . phi_j / sqrt(R))
 *     gaussian   f = softmax_j(x_i . x_j), whatever theta and phi are
 *     dot        f = theta_i . phi_j / N
 *     concat     f = relu(w_f . [theta_i; phi_j]) / N
 *
 * x B C Y X, N the number of places asked, those that mask leaves; a series is a picture with Y
 * = 1, a video one with its frames below each other. The paper has no 1/sqrt(R), its common
 * implementations do: scaled. sub_sample halves the sides of what is asked by 2 x 2 maxima over
 * phi and g. w_z (or a batch norm behind it, which folds into w_z and b_z) starts at 0, so a
 * new block returns x. The two softmaxes stream through the engine, dot is two thin products,
 * and concat is the one that keeps an N x N matrix. Wang et al. 2018 (1711.07971). */
#include "mech/mech.h"

enum { X, W_THETA, B_THETA, W_PHI, B_PHI, W_G, B_G, W_F, W_Z, B_Z, MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B C Y X", "a picture"},
    [W_THETA] = {"w_theta", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "R C",
                 "who asks; without it x itself"},
    [B_THETA] = {"b_theta", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "R", "its bias"},
    [W_PHI] = {"w_phi", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "R C",
               "who is asked; without it x itself"},
    [B_PHI] = {"b_phi", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "R", "its bias"},
    [W_G] = {"w_g", ATTN_PARAM | ATTN_GRAD, "P C", "what is gathered"},
    [B_G] = {"b_g", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "P", "its bias"},
    [W_F] = {"w_f", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "2R", "for mode=concat"},
    [W_Z] = {"w_z", ATTN_PARAM | ATTN_GRAD, "C P", "back to the channels of x"},
    [B_Z] = {"b_z", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "C", "its bias"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B Y X",
              "false hides a place; not with sub_sample"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B C Y X", "x and what was gathered"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B Y X Y X", "f; not with sub_sample"},
    {0}};

enum { MODE, SCALED, SUB_SAMPLE };
enum { EMBEDDED, GAUSSIAN, DOT, CONCAT };
static const attn_param params[] = {
    [MODE] = {"mode", 'e', "embedded", "embedded|gaussian|dot|concat", "what f is"},
    [SCALED] = {"scaled", 'b', "true", NULL, "embedded: divide scores by sqrt(R)"},
    [SUB_SAMPLE] = {"sub_sample", 'b', "false", NULL, "ask the maxima of 2 x 2 places"},
    {0}};

typedef struct non_local_parts {
    attn_var theta, phi, g; /* B N R, B S R, B S P */
    attn_var mask;          /* B S or empty */
    attn_dims pairs;        /* B N S */
} non_local_parts;

/* The pixels of w x + b, or of x itself. */
static attn_var non_local_embed(const attn__build *b, int w, int bias, bool pooled)
{
    static const attn_pool pool = {.size = {2, 2}};
    const bool plain = !attn__given(b->in[w]) || (b->params[MODE].i == GAUSSIAN && w != W_G);
    attn_var y = plain ? b->in[X] : attn__conv_1x1(b->t, b->in[X], b->in[w], b->in[bias]);
    if (pooled) y = attn_tape_max_pool(b->t, y, &pool);
    return attn__pixels(b->t, y);
}

/* f of modes gaussian and embedded, and what it gathers. */
static attn_var non_local_softmax(const attn__build *b, const non_local_parts *p)
{
    const bool scaled = b->params[MODE].i == EMBEDDED && b->params[SCALED].i;
    const attn_spec spec = ATTN_SPEC(.scale = scaled ? 0 : 1);
    const attn_attention_vars vars = {.q = p->theta, .k = p->phi, .v = p->g};
    const attn_tensor weights = attn__build_output(b, WEIGHTS);
    return attn__attend(b->t, &spec, &vars, p->mask, attn__dense_as(weights, p->pairs));
}

/* 1 / N for every place asked, 0 for hidden ones: B 1 S, or a number. */
static attn_var non_local_share(const attn__build *b, const non_local_parts *p)
{
    attn_tape *t = b->t;
    const double asked = (double)attn__max(1, p->pairs.at[2]);
    if (!attn__given(p->mask)) return attn_tape_scalar(t, 1 / asked);
    const attn_var flags = attn_tape_unsqueeze(t, attn_tape_cast(t, p->mask), 1);
    const attn_var count = attn_tape_sum(t, flags, ATTN_DIMS(2), true);
    return attn_tape_div(t, flags, attn_tape_maximum(t, count, attn_tape_scalar(t, 1)));
}

/* f itself from a matrix of scores; also what the caller asked to see. */
static attn_var non_local_f(const attn__build *b, const non_local_parts *p, attn_var scores)
{
    const int64_t high = attn__build_size(b, 'Y'), wide = attn__build_size(b, 'X');
    const attn_var f = attn_tape_mul(b->t, scores, non_local_share(b, p));
    const attn_dims shape = ATTN_DIMS(p->pairs.at[0], high, wide, high, wide);
    if (b->wanted[WEIGHTS]) b->out[WEIGHTS] = attn_tape_reshape(b->t, f, shape);
    return f;
}

/* theta (phi^T g / N): the N x N matrix only for who asked for it. */
static attn_var non_local_dot(const attn__build *b, const non_local_parts *p)
{
    attn_tape *t = b->t;
    const attn_var turned = attn_tape_transpose(t, p->phi, 1, 2);
    if (b->wanted[WEIGHTS]) (void)non_local_f(b, p, attn_tape_matmul(t, p->theta, turned));
    const attn_var shares = attn_tape_mul(t, turned, non_local_share(b, p));
    return attn_tape_matmul(t, p->theta, attn_tape_matmul(t, shares, p->g));
}

static attn_var non_local_concat(const attn__build *b, const non_local_parts *p)
{
    attn_tape *t = b->t;
    const int64_t R = attn__build_size(b, 'R');
    const attn_var w_asks = attn_tape_slice(t, b->in[W_F], 0, 0, R);
    const attn_var w_asked = attn_tape_slice(t, b->in[W_F], 0, R, 2 * R);
    const attn_var asks = attn_tape_unsqueeze(t, attn_tape_matmul(t, p->theta, w_asks), 2);
    const attn_var asked = attn_tape_unsqueeze(t, attn_tape_matmul(t, p->phi, w_asked), 1);
    const attn_var scores = attn_tape_relu(t, attn_tape_add(t, asks, asked));
    return attn_tape_matmul(t, non_local_f(b, p, scores), p->g);
}

static bool non_local_asked(const attn__build *b)
{
    const bool part = b->params[SUB_SAMPLE].i;
    return attn__build_need(b, attn__given(b->in[W_F]) || b->params[MODE].i != CONCAT,
                            ATTN_E_NULL, "w_f", "mode=concat needs it", 1, 0) &&
           attn__build_need(b, !part || !b->wanted[WEIGHTS], ATTN_E_PARAM, "weights",
                            "they have no such shape with sub_sample", 0, 1) &&
           attn__build_need(b, !part || !attn__given(b->in[MASK]), ATTN_E_PARAM, "mask",
                            "it does not go with sub_sample", 0, 1);
}

static void non_local_build(const attn__build *b)
{
    static attn_var (*const gather[])(const attn__build *, const non_local_parts *) = {
        [EMBEDDED] = non_local_softmax,
        [GAUSSIAN] = non_local_softmax,
        [DOT] = non_local_dot,
        [CONCAT] = non_local_concat};
    attn_tape *t = b->t;
    const bool pooled = b->params[SUB_SAMPLE].i;
    if (!non_local_asked(b)) return;
    non_local_parts p = {.theta = non_local_embed(b, W_THETA, B_THETA, false),
                         .phi = non_local_embed(b, W_PHI, B_PHI, pooled),
                         .g = non_local_embed(b, W_G, B_G, pooled)};
    const attn_tensor asks = attn_tape_value(t, p.theta), asked = attn_tape_value(t, p.g);
    if (attn__given(b->in[MASK]))
        p.mask = attn_tape_reshape(t, b->in[MASK], ATTN_DIMS(asks.shape[0], asks.shape[1]));
    p.phi = attn__mask_rows(t, p.phi, p.mask);
    p.g = attn__mask_rows(t, p.g, p.mask);
    p.pairs = ATTN_DIMS(asks.shape[0], asks.shape[1], asked.shape[1]);
    const attn_var y = gather[b->params[MODE].i](b, &p);
    const attn_var z =
        attn__conv_1x1(t, attn__pixels_back(t, y, b->in[X]), b->in[W_Z], b->in[B_Z]);
    b->out[OUT] = attn_tape_add(t, z, b->in[X]);
}

const attn_mech attn__mech_non_local = {
    .name = "non_local",
    .family = "spatial",
    .about = "every place of a picture attends to all places",
    .formula = "out_i = x_i + w_z sum_j f(theta_i, phi_j) g_j",
    .cost = "n^2: time N N (R + P), memory N (R + P), N = Y X; dot n: N R P; concat memory N N",
    .source = "1711.07971",
    .sizes = "B=1,C=4,R=3,P=2,Y=3,X=4",
    .grows = "YX",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_STREAMS,
    .build = non_local_build,
};
