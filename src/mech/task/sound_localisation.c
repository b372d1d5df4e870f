/* SPDX-License-Identifier: MIT
 * Sound localisation: where in a picture a sound comes from, as a map of cosines.
 *
 *     out[cell] = scale (x/|x|) . (y[cell]/|y[cell]|)
 *     score = max of out, or the mean of out weighed by softmax(out), or the plain mean
 *
 * x B D is the sound, y B D Y X the picture, out B Y X the map. score tells how well sound and
 * picture belong together: training compares it among the pairs of a batch, each sound with
 * each picture. The gradient of the maximum goes to the first of equals. A vector shorter than
 * 1e-12 has no direction: its cosine and gradient are 0. Arandjelovic and Zisserman 2018
 * (1712.06651) take the maximum, Senocak et al. 2018 (1803.03849) attend by softmax. */
#include "mech/mech.h"

enum { X, Y, OUT, SCORE, WEIGHTS };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B D", "the sound"},
    [Y] = {"y", ATTN_IN | ATTN_GRAD, "B D Y X", "the picture"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B Y X", "how alike each cell is"},
    [SCORE] = {"score", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B", "how alike the pair is"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B Y X", "softmax of out"},
    {0}};

enum { SCALE, POOL };
static const attn_param params[] = {
    [SCALE] = {"scale", 'f', "1", NULL, "factor of the cosines"},
    [POOL] = {"pool", 'e', "max", "max|softmax|mean", "how the map becomes the score"},
    {0}};

static attn_var localisation_score(const attn__build *b, attn_var map, attn_var weights)
{
    attn_tape *t = b->t;
    static attn_var (*const pools[])(attn_tape *, attn_var, attn_dims,
                                     bool) = {attn_tape_max, attn_tape_sum, attn_tape_mean};
    const bool soft = pools[b->params[POOL].i] == attn_tape_sum;
    return pools[b->params[POOL].i](t, soft ? attn_tape_mul(t, weights, map) : map,
                                    ATTN_DIMS(1), false);
}

static void sound_localisation_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var none = {0};
    const attn_tensor y = attn_tape_value(t, b->in[Y]);
    const attn_dims picture = ATTN_DIMS(y.shape[0], y.shape[2], y.shape[3]);
    const attn_var cells = attn_tape_reshape(
        t, b->in[Y], ATTN_DIMS(y.shape[0], y.shape[1], y.shape[2] * y.shape[3]));
    const attn_var sound = attn_tape_unsqueeze(t, attn__unit(t, b->in[X], 1), 1);
    const attn_var cosine =
        attn_tape_squeeze(t, attn_tape_matmul(t, sound, attn__unit(t, cells, 1)), 1);
    const attn_var map = attn_tape_mul_scalar(t, cosine, b->params[SCALE].f);
    const attn_var weights = attn_tape_softmax(t, map, none, 1);
    b->out[OUT] = attn_tape_reshape(t, map, picture);
    b->out[WEIGHTS] = attn_tape_reshape(t, weights, picture);
    if (b->wanted[SCORE] &&
        attn__build_need(b, picture.at[1] * picture.at[2] > 0, ATTN_E_SHAPE, "y",
                         "a picture without a cell has no score", 1, 0))
        b->out[SCORE] = localisation_score(b, map, weights);
}

const attn_mech attn__mech_sound_localisation = {
    .name = "sound_localisation",
    .family = "task",
    .about = "where in a picture a sound comes from, as a map of cosines",
    .formula = "out = scale cos(x, y_cell), score = max, softmax mean or mean of out",
    .cost = "n: time D Y X, memory D Y X",
    .source = "1712.06651",
    .sizes = "B=1,D=4,Y=3,X=5",
    .grows = "YX",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_STREAMS,
    .build = sound_localisation_build,
};
