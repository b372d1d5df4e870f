/* SPDX-License-Identifier: MIT
 * Deformable convolution: each place decides where the taps of its kernel look.
 *
 *     out(p) = b + sum_k w_k m_k(p) x(p stride - padding + k dilation + offset_k(p))
 *
 * x B C Y X, seen bilinearly and 0 outside; w M C/groups K L. offset B N P Q holds y and x in
 * pixels for tap after tap, group after group: N = 2 G K L, and each of the G groups moves its
 * own share of the channels. modulation B N/2 P Q (the second version) weighs the taps; it is
 * used as it comes, or through a sigmoid with sigmoid=true. As attention it is a choice of K L
 * places with the bilinear kernel as weights (1904.05873).
 *
 * Both are usually a 3 x 3 convolution of x that starts at 0: then it is the ordinary
 * convolution, exactly (with sigmoid, of half the size). On whole pixels the gradient of an
 * offset is that of the cell to the right and below. Dai et al. 2017 (1703.06211), Zhu et al.
 * 2018 (1811.11168). */
#include "mech/mech.h"

enum { X, OFFSET, MODULATION, W, BIAS, OUT };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B C Y X", "a picture"},
    [OFFSET] = {"offset", ATTN_IN | ATTN_GRAD, "B N P Q", "y and x of every tap, in pixels"},
    [MODULATION] = {"modulation", ATTN_IN | ATTN_GRAD | ATTN_OPTIONAL, "B J P Q",
                    "factors of the taps, J = N/2"},
    [W] = {"w", ATTN_PARAM | ATTN_GRAD, "M D K L", "the kernel, D = C / groups"},
    [BIAS] = {"b", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "M", "its bias"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B M P Q", "what the kernel finds"},
    {0}};

enum { STRIDE, PADDING, DILATION, GROUPS, SIGMOID };
static const attn_param params[] = {
    [STRIDE] = {"stride", 'i', "1", NULL, "pixels from place to place"},
    [PADDING] = {"padding", 'i', "1", NULL, "zeros around the picture"},
    [DILATION] = {"dilation", 'i', "1", NULL, "pixels from tap to tap"},
    [GROUPS] = {"groups", 'i', "1", NULL, "of channels that the kernel keeps apart"},
    [SIGMOID] = {"sigmoid", 'b', "false", NULL, "take the modulation through a sigmoid"},
    {0}};

static void deformable_conv_build(const attn__build *b)
{
    const attn_var *in = b->in;
    const attn_value *p = b->params;
    const bool gated = attn__given(in[MODULATION]) && p[SIGMOID].i;
    const attn__deform deform = {.x = in[X],
                                 .offset = in[OFFSET],
                                 .modulation = gated ? attn_tape_sigmoid(b->t, in[MODULATION])
                                                     : in[MODULATION],
                                 .w = in[W],
                                 .b = in[BIAS],
                                 .conv = {.stride = {p[STRIDE].i, p[STRIDE].i},
                                          .dilation = {p[DILATION].i, p[DILATION].i},
                                          .padding = {p[PADDING].i, p[PADDING].i},
                                          .groups = p[GROUPS].i}};
    if (attn__build_need(b, p[GROUPS].i > 0, ATTN_E_PARAM, "groups", "must be positive", 1,
                         p[GROUPS].i))
        b->out[OUT] = attn__deform_conv(b->t, &deform);
}

const attn_mech attn__mech_deformable_conv = {
    .name = "deformable_conv",
    .family = "spatial",
    .about = "each place decides where the taps of its kernel look",
    .formula = "out(p) = sum_k w_k m_k x(p + k + offset_k(p))",
    .cost = "n k: time P Q K L C M, memory P Q K L C",
    .source = "1703.06211",
    .sizes = "B=1,C=2,Y=4,X=5,N=18,J=9,P=4,Q=5,M=3,D=2,K=3,L=3",
    .grows = "YXPQ",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_STREAMS,
    .build = deformable_conv_build,
};
