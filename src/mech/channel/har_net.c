/* SPDX-License-Identifier: MIT
 * Hybrid attention of HAR-Net: where, which channel, and kernels that follow, over all levels
 * of a pyramid of features.
 *
 *     spatial    a stack of dilated convolutions ends in one map; y_l = x_l sigmoid(map_l)
 *     channel    group norm with the statistics of all levels together, its mean over all
 *                places goes through w2 relu(w1 z + b1) + b2; y_l = x_l sigmoid(of that)
 *     aligned    deformable convolution, offsets by a 3 x 3 convolution of what came so far
 *
 * x1 B C Y X, and x2, x3 where given; all weights are shared by the levels, so one level has an
 * ordinary group norm and SE. order says which of s, c and a comes first. Only the abstract of
 * the paper (1904.11141) could be read: the widths, the rates 1 2 4 2 1, ReLUs and biases here
 * are a reconstruction, and the rates and groups are parameters. Zero w_offset is an ordinary
 * convolution; zero gates are 1/2. Its advice: train the net first, then with these gates. */
#include "mech/mech.h"

enum {
    X1,
    X2,
    X3,
    W_S1,
    B_S1,
    W_S2,
    B_S2,
    W_S3,
    B_S3,
    W_S4,
    B_S4,
    W_S5,
    B_S5,
    GN_W,
    GN_B,
    W1,
    B1,
    W2,
    B2,
    W_OFFSET,
    B_OFFSET,
    W_ALIGN,
    B_ALIGN,
    OUT,
    OUT2,
    OUT3,
    GATE
};
#define WEIGHT (ATTN_PARAM | ATTN_GRAD)
#define BIAS   (ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL)
static const attn_slot slots[] = {
    [X1] = {"x1", ATTN_IN | ATTN_GRAD, "B C Y X", "the first level"},
    [X2] = {"x2", ATTN_IN | ATTN_GRAD | ATTN_OPTIONAL, "B C V U", "the second"},
    [X3] = {"x3", ATTN_IN | ATTN_GRAD | ATTN_OPTIONAL, "B C J I", "the third"},
    [W_S1] = {"w_s1", WEIGHT, "F C 3 3", "where: to hidden channels, F = C / 4"},
    [B_S1] = {"b_s1", BIAS, "F", "its bias"},
    [W_S2] = {"w_s2", WEIGHT, "F F 3 3", "where: the second layer"},
    [B_S2] = {"b_s2", BIAS, "F", "its bias"},
    [W_S3] = {"w_s3", WEIGHT, "F F 3 3", "where: the third"},
    [B_S3] = {"b_s3", BIAS, "F", "its bias"},
    [W_S4] = {"w_s4", WEIGHT, "F F 3 3", "where: the fourth"},
    [B_S4] = {"b_s4", BIAS, "F", "its bias"},
    [W_S5] = {"w_s5", WEIGHT, "1 F 3 3", "where: to the map"},
    [B_S5] = {"b_s5", BIAS, "1", "its bias"},
    [GN_W] = {"gn_w", BIAS, "C", "factor of the group norm"},
    [GN_B] = {"gn_b", BIAS, "C", "added by the group norm"},
    [W1] = {"w1", WEIGHT, "R C", "channels: squeezes"},
    [B1] = {"b1", BIAS, "R", "its bias"},
    [W2] = {"w2", WEIGHT, "C R", "channels: excites"},
    [B2] = {"b2", BIAS, "C", "its bias"},
    [W_OFFSET] = {"w_offset", WEIGHT, "18 C 3 3", "offsets of the taps, y and x"},
    [B_OFFSET] = {"b_offset", BIAS, "18", "its bias"},
    [W_ALIGN] = {"w_align", WEIGHT, "C C 3 3", "the deformed kernel"},
    [B_ALIGN] = {"b_align", BIAS, "C", "its bias"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B C Y X", "of x1"},
    [OUT2] = {"out2", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B C V U", "of x2"},
    [OUT3] = {"out3", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B C J I", "of x3"},
    [GATE] = {"gate", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B C", "of the channels"},
    {0}};
#undef WEIGHT
#undef BIAS

enum { ORDER, GROUPS, RATE1, RATE2, RATE3, RATE4, RATE5 };
static const attn_param params[] = {
    [ORDER] = {"order", 'e', "sca", "sca|csa|sac|cas|asc|acs", "spatial, channel, aligned"},
    [GROUPS] = {"groups", 'i', "2", NULL, "of channels in the group norm"},
    [RATE1] = {"rate1", 'i', "1", NULL, "dilation of the first layer"},
    [RATE2] = {"rate2", 'i', "2", NULL, "of the second"},
    [RATE3] = {"rate3", 'i', "4", NULL, "of the third"},
    [RATE4] = {"rate4", 'i', "2", NULL, "of the fourth"},
    [RATE5] = {"rate5", 'i', "1", NULL, "of the last"},
    {0}};

enum { HAR_LEVELS = 3, HAR_LAYERS = 5 };
typedef struct har_levels {
    attn_var x[HAR_LEVELS];
    int n;
} har_levels;

static void har_spatial(const attn__build *b, har_levels *levels)
{
    for (int l = 0; l < levels->n; l++) {
        attn_var map = levels->x[l];
        for (int i = 0; i < HAR_LAYERS; i++) {
            if (i > 0) map = attn_tape_relu(b->t, map);
            map = attn__conv_same(b->t, map, b->in[W_S1 + 2 * i], b->in[B_S1 + 2 * i],
                                  b->params[RATE1 + i].i);
        }
        levels->x[l] = attn_tape_mul(b->t, levels->x[l], attn_tape_sigmoid(b->t, map));
    }
}

/* Side by side the places of all levels are one sample, and its group norm is theirs. */
static void har_channel(const attn__build *b, har_levels *levels)
{
    attn_tape *t = b->t;
    const attn__gate_layers layers = {b->in[W1], b->in[B1], b->in[W2], b->in[B2]};
    attn_var all[HAR_LEVELS];
    for (int l = 0; l < levels->n; l++)
        all[l] = attn_tape_transpose(t, attn__pixels(t, levels->x[l]), 1, 2);
    const attn_var joined = attn_tape_concat(t, levels->n, all, 2);
    const attn_var norm =
        attn_tape_groupnorm(t, joined, b->params[GROUPS].i, b->in[GN_W], b->in[GN_B], 0);
    const attn_var z = attn__picture_mean(t, norm, ATTN_DIMS(2));
    b->out[GATE] = attn_tape_sigmoid(t, attn__gate_hidden(t, z, &layers));
    for (int l = 0; l < levels->n; l++)
        levels->x[l] = attn__gate_channels(t, levels->x[l], b->out[GATE]);
}

static void har_aligned(const attn__build *b, har_levels *levels)
{
    for (int l = 0; l < levels->n; l++) {
        const attn_var x = levels->x[l];
        const attn__deform deform = {
            .x = x,
            .offset = attn__conv_same(b->t, x, b->in[W_OFFSET], b->in[B_OFFSET], 1),
            .w = b->in[W_ALIGN],
            .b = b->in[B_ALIGN],
            .conv = {.stride = {1, 1}, .dilation = {1, 1}, .padding = {1, 1}}};
        levels->x[l] = attn__deform_conv(b->t, &deform);
    }
}

static void har_net_build(const attn__build *b)
{
    static const struct {
        char letter;
        void (*run)(const attn__build *, har_levels *);
    } stages[] = {{'s', har_spatial}, {'c', har_channel}, {'a', har_aligned}};
    const char *order = params[ORDER].choices + 4 * b->params[ORDER].i;
    har_levels levels = {.n = 0};
    while (levels.n < HAR_LEVELS && attn__given(b->in[X1 + levels.n]))
        levels.x[levels.n] = b->in[X1 + levels.n], levels.n++;
    if (!attn__build_need(b, levels.n > 1 || !attn__given(b->in[X3]), ATTN_E_NULL, "x2",
                          "levels must be given without gaps", 2, 3))
        return;
    for (int i = 0; i < 3; i++)
        for (int s = 0; s < 3; s++)
            if (stages[s].letter == order[i]) stages[s].run(b, &levels);
    for (int l = 0; l < levels.n; l++) b->out[OUT + l] = levels.x[l];
}

const attn_mech attn__mech_har_net = {
    .name = "har_net",
    .family = "channel",
    .about = "gates places and channels of a pyramid, then deforms (reconstructed)",
    .formula =
        "out_l = deform(x_l sigmoid(map(x_l)) sigmoid(f(mean of group norm over levels)))",
    .cost = "n: time C (F + C) Y X, memory C Y X",
    .source = "1904.11141",
    .sizes = "B=1,C=4,F=2,R=2,Y=3,X=4,V=2,U=2,J=1,I=2",
    .grows = "YX",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_STREAMS,
    .build = har_net_build,
};
