/* SPDX-License-Identifier: MIT
 * Deformable attention: every query looks at a few places of one or several pictures, and says
 * itself where they are and how much each counts.
 *
 *     offsets = w_p q + b_p,  A = softmax over l, k of w_a q + b_a
 *     at_l,k  = ref in pixels of level l + offset_l,k         a head: L levels, K places
 *     out     = w_o concat_h sum_l,k A_h,l,k (w_v x_l + b_v)_h(at_h,l,k) + b_o
 *
 * q B T M; levels x1 to x4 are pictures of one depth, as many as are given. ref B T 2 is (x, y)
 * in 0 .. 1 between the outer edges; ref B T 4 is a box (x, y, w, h), and offsets are then in
 * halves of its sides by K. Pictures are seen bilinearly, 0 outside; mask1 to mask4 (false
 * hides) make what is projected 0, as for padding. Rows of w_a are heads, levels, places; those
 * of w_p have x and y behind that. Both start at 0 but for b_p, where head h points in
 * direction 2 pi h / H and place k stands k + 1 pixels away. No query meets a key: the cost is
 * n K. Zhu et al. 2021 (2010.04159). */
#include "mech/mech.h"

enum {
    Q,
    X1,
    X2,
    X3,
    X4,
    REF,
    W_P,
    B_P,
    W_A,
    B_A,
    W_V,
    B_V,
    W_O,
    B_O,
    MASK1,
    MASK2,
    MASK3,
    MASK4,
    OUT,
    WEIGHTS
};
#define LEVEL (ATTN_IN | ATTN_GRAD | ATTN_OPTIONAL)
#define BIAS  (ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL)
#define MASK  (ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS)
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B T M", "who asks"},
    [X1] = {"x1", ATTN_IN | ATTN_GRAD, "B C Y X", "the first level"},
    [X2] = {"x2", LEVEL, "B C V U", "the second"},
    [X3] = {"x3", LEVEL, "B C J I", "the third"},
    [X4] = {"x4", LEVEL, "B C G F", "the fourth"},
    [REF] = {"ref", ATTN_IN | ATTN_GRAD, "B T R", "(x, y) in 0 .. 1, or a box (x, y, w, h)"},
    [W_P] = {"w_p", ATTN_PARAM | ATTN_GRAD, "N M", "where to look, N = 2 S"},
    [B_P] = {"b_p", BIAS, "N", "its bias"},
    [W_A] = {"w_a", ATTN_PARAM | ATTN_GRAD, "S M", "how much it counts, S = heads L K"},
    [B_A] = {"b_a", BIAS, "S", "its bias"},
    [W_V] = {"w_v", ATTN_PARAM | ATTN_GRAD, "P C", "values"},
    [B_V] = {"b_v", BIAS, "P", "its bias"},
    [W_O] = {"w_o", ATTN_PARAM | ATTN_GRAD, "O P", "heads to output"},
    [B_O] = {"b_o", BIAS, "O", "its bias"},
    [MASK1] = {"mask1", MASK, "B Y X", "false hides a pixel of x1"},
    [MASK2] = {"mask2", MASK, "B V U", "of x2"},
    [MASK3] = {"mask3", MASK, "B J I", "of x3"},
    [MASK4] = {"mask4", MASK, "B G F", "of x4"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T O", "answers"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B T S", "A"},
    {0}};
#undef LEVEL
#undef BIAS
#undef MASK

enum { HEADS };
static const attn_param params[] = {
    [HEADS] = {"heads", 'i', "2", NULL, "they share P, and S among their places, evenly"}, {0}};

typedef struct deformable_sizes {
    int64_t B, T, heads, levels, points, each; /* each: features of a head */
} deformable_sizes;

static bool deformable_fits(const attn__build *b, deformable_sizes *z)
{
    const int64_t S = attn__build_size(b, 'S'), P = attn__build_size(b, 'P');
    const int64_t R = attn__build_size(b, 'R'), N = attn__build_size(b, 'N');
    *z = (deformable_sizes){.B = attn__build_size(b, 'B'),
                            .T = attn__build_size(b, 'T'),
                            .heads = b->params[HEADS].i};
    while (z->levels < 4 && attn__given(b->in[X1 + z->levels])) z->levels++;
    if (z->levels == 0) return false; /* the tape could not take x1 */
    for (int64_t l = z->levels; l < 4; l++)
        if (!attn__build_need(b, !attn__given(b->in[X1 + l]), ATTN_E_NULL, "x2",
                              "levels must be given without gaps", z->levels, l + 1))
            return false;
    if (!attn__build_need(b, z->heads > 0 && z->heads <= S && P % z->heads == 0, ATTN_E_HEADS,
                          "heads", "the features of w_v must divide among the heads", z->heads,
                          P))
        return false;
    z->points = S / z->heads / z->levels, z->each = P / z->heads;
    return attn__build_need(b, z->points > 0 && S == z->heads * z->levels * z->points,
                            ATTN_E_SHAPE, "w_a", "rows must divide among heads and levels",
                            z->heads * z->levels, S) &&
           attn__build_need(b, N % 2 == 0 && N / 2 == S, ATTN_E_SHAPE, "w_p",
                            "it must have two rows for each row of w_a", S, N / 2) &&
           attn__build_need(b, R == 2 || R == 4, ATTN_E_SHAPE, "ref",
                            "must hold 2 numbers (a place) or 4 (a box)", 2, R);
}

/* Width, height. */
static double deformable_side(const void *arg, int64_t i)
{
    return (double)((const int64_t *)arg)[3 - i];
}

/* Where every head looks in level l, (x, y) in pixels: B heads T points 2. */
static attn_var deformable_places(const attn__build *b, const deformable_sizes *z, int l,
                                  attn_var offsets)
{
    attn_tape *t = b->t;
    const int64_t R = attn__build_size(b, 'R');
    const attn_tensor x = attn_tape_value(t, b->in[X1 + l]);
    if (!attn__present(&x)) return (attn_var){0};
    const attn_var size = attn__table(t, ATTN_DIMS(2), deformable_side, x.shape);
    const attn_var half = attn_tape_scalar(t, -0.5);
    const attn_var ref = attn_tape_reshape(t, b->in[REF], ATTN_DIMS(z->B, 1, z->T, 1, R));
    attn_var own = attn_tape_slice(t, offsets, 3, l, l + 1); /* B T heads 1 points 2 */
    own = attn_tape_transpose(t, attn_tape_squeeze(t, own, 3), 1, 2);
    if (R == 4) {
        attn_var side = attn_tape_mul(t, attn_tape_slice(t, ref, -1, 2, 4), size);
        side = attn_tape_mul_scalar(t, side, 0.5 / (double)z->points);
        own = attn_tape_mul(t, own, side);
    }
    const attn_var middle = attn_tape_mul(t, attn_tape_slice(t, ref, -1, 0, 2), size);
    return attn_tape_add(t, own, attn_tape_add(t, middle, half));
}

/* What every head sees there: B heads each T points. */
/* B C Y X with 0 where mask B Y X hides. */
static attn_var deformable_seen(attn_tape *t, attn_var x, attn_var mask)
{
    if (!attn__given(mask)) return x;
    return attn_tape_where(t, attn_tape_unsqueeze(t, mask, 1), x, attn_tape_scalar(t, 0));
}

static attn_var deformable_look(const attn__build *b, const deformable_sizes *z, int l,
                                attn_var offsets)
{
    attn_tape *t = b->t;
    const attn_var mask = b->in[MASK1 + l];
    attn_var value =
        attn__conv_1x1(t, deformable_seen(t, b->in[X1 + l], mask), b->in[W_V], b->in[B_V]);
    value = deformable_seen(t, value, mask); /* where not even the bias is */
    const attn_tensor v = attn_tape_value(t, value);
    const int64_t n = attn__size_times(t, z->B, z->heads);
    value = attn_tape_reshape(t, value, ATTN_DIMS(n, z->each, v.shape[2], v.shape[3]));
    const attn_var at = deformable_places(b, z, l, offsets);
    const attn_var seen = attn_tape_pixel_sample(
        t, value, attn_tape_reshape(t, at, ATTN_DIMS(n, z->T, z->points, 2)));
    return attn_tape_reshape(t, seen, ATTN_DIMS(z->B, z->heads, z->each, z->T, z->points));
}

static void deformable_attention_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in;
    deformable_sizes z;
    if (!deformable_fits(b, &z)) return;
    const attn_var offsets =
        attn_tape_reshape(t, attn_tape_linear(t, in[Q], in[W_P], in[B_P], ATTN_ACT_NONE),
                          ATTN_DIMS(z.B, z.T, z.heads, z.levels, z.points, 2));
    attn_var weights = attn_tape_linear(t, in[Q], in[W_A], in[B_A], ATTN_ACT_NONE);
    weights = attn_tape_softmax(
        t, attn_tape_reshape(t, weights, ATTN_DIMS(z.B, z.T, z.heads, z.levels * z.points)),
        (attn_var){0}, 3);
    attn_var seen[4];
    for (int l = 0; l < z.levels; l++) seen[l] = deformable_look(b, &z, l, offsets);
    const attn_var all = attn_tape_concat(t, (int)z.levels, seen, 4);
    const attn_var row = attn_tape_unsqueeze(t, attn_tape_transpose(t, weights, 1, 2), 2);
    attn_var sum = attn_tape_sum(t, attn_tape_mul(t, all, row), ATTN_DIMS(4), false);
    sum = attn_tape_reshape(t, sum, ATTN_DIMS(z.B, z.heads * z.each, z.T));
    b->out[OUT] =
        attn_tape_linear(t, attn_tape_transpose(t, sum, 1, 2), in[W_O], in[B_O], ATTN_ACT_NONE);
    b->out[WEIGHTS] =
        attn_tape_reshape(t, weights, ATTN_DIMS(z.B, z.T, z.heads * z.levels * z.points));
}

const attn_mech attn__mech_deformable_attention = {
    .name = "deformable_attention",
    .family = "spatial",
    .about = "a query looks at a few places that it chooses, in several pictures",
    .formula = "out = w_o sum_l,k A_l,k (w_v x_l)(ref + offset_l,k)",
    .cost = "n k: time T S P / heads + C P Y X, memory T S P / heads",
    .source = "2010.04159",
    .sizes = "B=1,T=3,M=4,C=3,Y=4,X=5,V=2,U=3,J=2,I=2,G=1,F=2,R=2,N=16,S=8,P=4,O=3",
    .grows = "T",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_STREAMS,
    .build = deformable_attention_build,
};
