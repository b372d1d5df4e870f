/* SPDX-License-Identifier: MIT
 * Spatial attention by four factors: who asks, who is asked, and how far they are from each
 * other.
 *
 *     e(i, j) = b1 q_i . k_j  +  b2 q_i . R_{j-i}  +  b3 u_k . k_j  +  b4 u_p . R_{j-i}
 *     out_i = x_i + gamma w_o concat_h sum_j softmax_j(e_h(i, j)) w_v x_j
 *     R_(dy,dx) = (w_rx wave(dx) + w_ry wave(dy)) / sqrt 2
 *     wave(d) = sin(d f_0) .. sin(d f_{F/2-1}), cos(d f_0) .., f_t = base^(-2t/F), d in pixels
 *
 * x B C Y X, heads share the rows of w_q, w_k, u_k, u_p, w_rx, w_ry (A) and of w_v (P). The
 * factors b1 .. b4 are query_key, query_position, key_only and position_only; the paper's
 * "0110" is 0, 1, 1, 0. Published code has no 1/sqrt (scaled), 9 heads, kv_stride 2, gamma
 * starting at 0 and measures i - j, which only turns signs in w_r; its local window is not
 * here. gamma left out: the attention without x. With q_stride the result is enlarged
 * bilinearly.
 *
 * sin and cos of j - i split into products of those of i and of j, so R needs no table of
 * pairs: each query carries its waves beside its features, each key its own, and the engine
 * streams. With b3 alone no query matters and one row is computed for all. Zhu et al. 2019
 * (1904.05873). */
#include "mech/mech.h"

#include <math.h>

enum { X, W_Q, W_K, W_V, W_O, B_O, W_RX, W_RY, U_KEY, U_POSITION, GAMMA, MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B C Y X", "a picture"},
    [W_Q] = {"w_q", ATTN_PARAM | ATTN_GRAD, "A C", "queries"},
    [W_K] = {"w_k", ATTN_PARAM | ATTN_GRAD, "A C", "keys"},
    [W_V] = {"w_v", ATTN_PARAM | ATTN_GRAD, "P C", "values"},
    [W_O] = {"w_o", ATTN_PARAM | ATTN_GRAD, "C P", "heads to output"},
    [B_O] = {"b_o", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "C", "its bias"},
    [W_RX] = {"w_rx", ATTN_PARAM | ATTN_GRAD, "A F", "waves along X to features, F even"},
    [W_RY] = {"w_ry", ATTN_PARAM | ATTN_GRAD, "A F", "waves along Y to features"},
    [U_KEY] = {"u_key", ATTN_PARAM | ATTN_GRAD, "A", "which keys stand out"},
    [U_POSITION] = {"u_position", ATTN_PARAM | ATTN_GRAD, "A", "which distances stand out"},
    [GAMMA] = {"gamma", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "1", "how much is added"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B Y X", "false hides a place"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B C Y X", "what was gathered, and x"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B H Y X Y X",
                 "of every head; not with strides"},
    {0}};

enum {
    HEADS,
    QUERY_KEY,
    QUERY_POSITION,
    KEY_ONLY,
    POSITION_ONLY,
    SCALED,
    Q_STRIDE,
    KV_STRIDE,
    BASE
};
static const attn_param params[] = {
    [HEADS] = {"heads", 'i', "2", NULL, "they share A and P evenly", 'H'},
    [QUERY_KEY] = {"query_key", 'f', "1", NULL, "factor of the contents of both"},
    [QUERY_POSITION] = {"query_position", 'f', "1", NULL, "factor of query and distance"},
    [KEY_ONLY] = {"key_only", 'f', "1", NULL, "factor of the key alone"},
    [POSITION_ONLY] = {"position_only", 'f', "1", NULL, "factor of the distance alone"},
    [SCALED] = {"scaled", 'b', "false", NULL, "divide scores by sqrt(A / heads)"},
    [Q_STRIDE] = {"q_stride", 'i', "1", NULL, "pixels from query to query"},
    [KV_STRIDE] = {"kv_stride", 'i', "1", NULL, "pixels from key to key"},
    [BASE] = {"base", 'f', "1000", NULL, "of the waves; above 0"},
    {0}};

/* Every stride-th pixel, and where they stand. */
typedef struct factors_grid {
    attn_var x; /* B C high wide */
    attn__wave wave;
} factors_grid;

static double factors_beta(const attn__build *b, int param)
{
    return b->params[param].f;
}

static factors_grid factors_pick(const attn__build *b, int64_t stride)
{
    const attn_pool pool = {.size = {1, 1}, .stride = {stride, stride}};
    factors_grid g = {.x = b->in[X]};
    if (stride != 1) g.x = attn_tape_avg_pool(b->t, g.x, &pool);
    const attn_tensor v = attn_tape_value(b->t, g.x);
    g.wave = (attn__wave){.high = v.shape[2],
                          .wide = v.shape[3],
                          .stride = stride,
                          .F = attn__build_size(b, 'F'),
                          .base = b->params[BASE].f};
    return g;
}

/* asks B H N d to the waves it carries, B H N F: what w_r^T asks, by where it stands. */
static attn_var factors_turn(const attn__build *b, attn_var asks, attn_var w, attn_var places)
{
    const int64_t heads = b->params[HEADS].i, A = attn__build_size(b, 'A');
    const attn_var rows =
        attn_tape_reshape(b->t, w, ATTN_DIMS(heads, A / heads, attn__build_size(b, 'F')));
    const attn_var turned = attn__wave_turn(b->t, attn_tape_matmul(b->t, asks, rows), places);
    return attn_tape_mul_scalar(b->t, turned, sqrt(0.5));
}

/* a q + c u, in heads: B H N d. */
static attn_var factors_asks(const attn__build *b, attn_var q, double a, attn_var u, double c)
{
    const attn_var sum =
        attn_tape_add(b->t, attn_tape_mul_scalar(b->t, q, a), attn_tape_mul_scalar(b->t, u, c));
    return attn__heads_split(b->t, sum, b->params[HEADS].i);
}

/* Features of queries and keys, and their waves where distance counts. */
static void factors_score(const attn__build *b, const factors_grid *asks,
                          const factors_grid *asked, attn_attention_vars *vars)
{
    attn_tape *t = b->t;
    const attn_var none = {0};
    const double b2 = factors_beta(b, QUERY_POSITION), b4 = factors_beta(b, POSITION_ONLY);
    const int64_t heads = b->params[HEADS].i, B = attn__build_size(b, 'B');
    const attn_var q =
        attn_tape_linear(t, attn__pixels(t, asks->x), b->in[W_Q], none, ATTN_ACT_NONE);
    const attn_var k =
        attn_tape_linear(t, attn__pixels(t, asked->x), b->in[W_K], none, ATTN_ACT_NONE);
    attn_var qs[3] = {factors_asks(b, q, factors_beta(b, QUERY_KEY), b->in[U_KEY],
                                   factors_beta(b, KEY_ONLY))};
    attn_var ks[3] = {attn__heads_split(t, k, heads)};
    vars->q = qs[0], vars->k = ks[0];
    if (b2 == 0 && b4 == 0) return;
    const attn_var far = factors_asks(b, q, b2, b->in[U_POSITION], b4);
    for (int axis = 0; axis < 2; axis++) {
        qs[1 + axis] = factors_turn(b, far, b->in[axis ? W_RY : W_RX],
                                    attn__wave_places(t, &asks->wave, !axis));
        ks[1 + axis] = attn_tape_expand(t, attn__wave_places(t, &asked->wave, !axis),
                                        ATTN_DIMS(B, heads, -1, -1));
    }
    vars->q = attn_tape_concat(t, 3, qs, -1);
    vars->k = attn_tape_concat(t, 3, ks, -1);
}

/* Which of the picked places may be looked at, B N; empty: all. */
static attn_var factors_seen(const attn__build *b, int64_t stride)
{
    attn_tape *t = b->t;
    const attn_pool pool = {.size = {1, 1}, .stride = {stride, stride}};
    if (!attn__given(b->in[MASK])) return b->in[MASK];
    const attn_var flags = attn_tape_unsqueeze(t, attn_tape_cast(t, b->in[MASK]), 1);
    const attn_var picked = attn__pixels(t, attn_tape_avg_pool(t, flags, &pool));
    return attn_tape_less(t, attn_tape_scalar(t, 0), attn_tape_squeeze(t, picked, 2));
}

static bool factors_fit(const attn__build *b)
{
    const int64_t heads = b->params[HEADS].i, F = attn__build_size(b, 'F');
    const int64_t A = attn__build_size(b, 'A');
    const bool strided = b->params[Q_STRIDE].i != 1 || b->params[KV_STRIDE].i != 1;
    const double base = b->params[BASE].f;
    return attn__build_need(b, base > 0 && isfinite(base), ATTN_E_PARAM, "base",
                            "must be positive and finite", 1000, 0) &&
           attn__build_need(b, F > 0 && F % 2 == 0, ATTN_E_SHAPE, "w_rx",
                            "half of its waves are sines, half cosines", 2, F) &&
           attn__build_need(b, heads > 0 && A % heads == 0, ATTN_E_HEADS, "heads",
                            "features must divide among the heads", heads, A) &&
           attn__build_need(b, !strided || !b->wanted[WEIGHTS], ATTN_E_PARAM, "weights",
                            "they have no such shape with strides", 0, 1);
}

/* B N P to the picture that x is. */
static attn_var factors_close(const attn__build *b, attn_var o, const factors_grid *asks)
{
    attn_tape *t = b->t;
    const int64_t area = attn__size_times(t, asks->wave.high, asks->wave.wide);
    attn_var y = attn_tape_linear(t, o, b->in[W_O], b->in[B_O], ATTN_ACT_NONE);
    y = attn_tape_expand(t, y, ATTN_DIMS(-1, area, -1));
    y = attn__pixels_back(t, y, asks->x);
    if (asks->wave.stride != 1)
        y = attn_tape_upsample_bilinear(
            t, y, ATTN_DIMS(attn__build_size(b, 'Y'), attn__build_size(b, 'X')), false);
    if (!attn__given(b->in[GAMMA])) return y;
    return attn_tape_add(t, attn_tape_mul(t, y, b->in[GAMMA]), b->in[X]);
}

static void spatial_factors_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var none = {0};
    if (!factors_fit(b)) return;
    const double d = (double)(attn__build_size(b, 'A') / b->params[HEADS].i);
    const attn_spec spec = ATTN_SPEC(.scale = b->params[SCALED].i && d > 0 ? 1 / sqrt(d) : 1);
    const factors_grid asks = factors_pick(b, b->params[Q_STRIDE].i);
    const factors_grid asked = factors_pick(b, b->params[KV_STRIDE].i);
    const attn_var v =
        attn_tape_linear(t, attn__pixels(t, asked.x), b->in[W_V], none, ATTN_ACT_NONE);
    attn_attention_vars vars = {.v = attn__heads_split(t, v, b->params[HEADS].i)};
    factors_score(b, &asks, &asked, &vars);
    const bool alone = factors_beta(b, QUERY_KEY) == 0 &&
                       factors_beta(b, QUERY_POSITION) == 0 &&
                       factors_beta(b, POSITION_ONLY) == 0;
    if (alone && !b->wanted[WEIGHTS]) vars.q = attn_tape_slice(t, vars.q, 2, 0, 1);
    const attn_tensor q = attn_tape_value(t, vars.q), k = attn_tape_value(t, vars.k);
    const attn_tensor weights =
        attn__dense_as(attn__build_output(b, WEIGHTS),
                       ATTN_DIMS(q.shape[0], q.shape[1], q.shape[2], k.shape[2]));
    const attn_var seen = factors_seen(b, b->params[KV_STRIDE].i);
    const attn_var o = attn__attend(t, &spec, &vars, seen, weights);
    b->out[OUT] = factors_close(b, attn__heads_join(t, o), &asks);
}

const attn_mech attn__mech_spatial_factors = {
    .name = "spatial_factors",
    .family = "spatial",
    .about = "places attend by content and distance, four factors apart",
    .formula = "softmax_j(b1 q_i k_j + b2 q_i R_{j-i} + b3 u_k k_j + b4 u_p R_{j-i})",
    .cost = "n^2: time N N (A + H F + P), memory N (A + H F + P), N = Y X; b3 alone n",
    .source = "1904.05873",
    .sizes = "B=1,H=2,C=3,Y=3,X=4,A=4,P=4,F=4",
    .grows = "YX",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_STREAMS,
    .build = spatial_factors_build,
};
