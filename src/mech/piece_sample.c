/* SPDX-License-Identifier: MIT
 * Deformable convolution: every tap of a kernel looks where an offset moves it.
 *
 *     out(p) = b + sum_k w_k m_k(p) x(p stride - padding + k dilation + offset_k(p))
 *
 * x is seen bilinearly, 0 outside. The places of all taps are sampled into columns, as an
 * ordinary convolution gathers them, and one product follows. Offsets may differ among groups
 * of channels. Dai et al. 2017 (1703.06211), m: Zhu et al. 2018 (1811.11168). */
#include "mech/mech.h"

typedef struct deform_sizes {
    int64_t batch, channels, high, wide; /* of x */
    int64_t out, each, kernel[2];        /* of w: M, C / groups, K, L */
    int64_t taps, places, rows, sets;    /* K L, P Q, P, channel groups of offsets */
    int64_t groups;                      /* of the product */
} deform_sizes;

static bool deform_no(attn_tape *t, const char *where, const char *what, int64_t want,
                      int64_t got)
{
    (void)attn__var_fail(t, ATTN_E_SHAPE, where, what, want, got);
    return false;
}

static void deform_read(attn_tape *t, const attn__deform *d, deform_sizes *z)
{
    const attn_tensor x = attn_tape_value(t, d->x), w = attn_tape_value(t, d->w);
    const attn_tensor offset = attn_tape_value(t, d->offset);
    *z = (deform_sizes){.batch = x.shape[0],
                        .channels = x.shape[1],
                        .high = x.shape[2],
                        .wide = x.shape[3],
                        .out = w.shape[0],
                        .each = w.shape[1],
                        .kernel = {w.shape[2], w.shape[3]},
                        .rows = offset.shape[2],
                        .groups = d->conv.groups ? d->conv.groups : 1};
    z->taps = attn__size_times(t, w.shape[2], w.shape[3]);
    z->places = attn__size_times(t, offset.shape[2], offset.shape[3]);
    z->sets = z->taps > 0 ? offset.shape[1] / 2 / z->taps : 0;
}

/* Channels of w, offset and modulation. */
static bool deform_fits(attn_tape *t, const attn__deform *d, const deform_sizes *z)
{
    const attn_tensor offset = attn_tape_value(t, d->offset);
    const attn_tensor m = attn_tape_value(t, d->modulation);
    if (z->taps < 1) return deform_no(t, "w", "its kernel is empty", 1, z->taps);
    if (z->groups < 1 || z->out % z->groups != 0 || z->channels % z->groups != 0)
        return deform_no(t, "groups", "they must divide the channels of x and w", z->groups,
                         z->groups > 0 && z->channels % z->groups ? z->channels : z->out);
    if (z->each != z->channels / z->groups)
        return deform_no(t, "w", "it must have the channels of x by groups",
                         z->channels / z->groups, z->each);
    if (z->sets < 1 || offset.shape[1] != z->sets * 2 * z->taps)
        return deform_no(t, "offset", "two channels (y, x) for each tap of w", 2 * z->taps,
                         offset.shape[1]);
    if (z->channels % z->sets != 0)
        return deform_no(t, "offset", "its groups must divide the channels of x", z->sets,
                         z->channels);
    if (attn__present(&m) && m.shape[1] != z->sets * z->taps)
        return deform_no(t, "modulation", "one channel for each tap of the offsets",
                         z->sets * z->taps, m.shape[1]);
    return true;
}

/* Sizes, steps and what comes out along an axis; factors stay below 2^31. */
static bool deform_reaches(attn_tape *t, const attn__deform *d, const deform_sizes *z, int axis)
{
    const attn_conv *c = &d->conv;
    const int64_t size = axis ? z->wide : z->high, limit = INT32_MAX;
    const attn_tensor offset = attn_tape_value(t, d->offset);
    if (c->stride[axis] < 1 || c->dilation[axis] < 1 || c->padding[axis] < 0 ||
        c->stride[axis] > limit || c->dilation[axis] > limit || c->padding[axis] > limit ||
        z->kernel[axis] > limit)
        return deform_no(t, "stride",
                         "stride and dilation must be positive, padding not negative", 1,
                         c->stride[axis]);
    const int64_t span =
        size + 2 * c->padding[axis] - c->dilation[axis] * (z->kernel[axis] - 1);
    const int64_t want = span < 1 ? 0 : (span - 1) / c->stride[axis] + 1;
    if (offset.shape[2 + axis] == want) return true;
    return deform_no(t, "offset", "its height and width must be those that come out", want,
                     offset.shape[2 + axis]);
}

typedef struct deform_taps {
    const attn_conv *conv;
    const deform_sizes *z;
} deform_taps;

/* Element i of taps places 2: x or y of where a tap stands before it is moved. */
static double deform_place(const void *arg, int64_t i)
{
    const deform_taps *d = arg;
    const deform_sizes *z = d->z;
    const int64_t axis = 1 - i % 2, place = i / 2 % z->places, tap = i / 2 / z->places;
    const int64_t wide = z->places / z->rows;
    const int64_t at = axis ? place % wide : place / wide;
    const int64_t step = axis ? tap % z->kernel[1] : tap / z->kernel[1];
    return (double)(at * d->conv->stride[axis] - d->conv->padding[axis] +
                    step * d->conv->dilation[axis]);
}

/* What all taps see: batch sets, channels / sets, taps, places. */
static attn_var deform_columns(attn_tape *t, const attn__deform *d, const deform_sizes *z)
{
    const int64_t n = attn__size_times(t, z->batch, z->sets), each = z->channels / z->sets;
    const deform_taps base = {&d->conv, z};
    attn_var moves = attn_tape_reshape(t, d->offset, ATTN_DIMS(n, z->taps, 2, z->places));
    moves = attn_tape_flip(t, attn_tape_transpose(t, moves, 2, 3), 3); /* y x -> x y */
    const attn_var at = attn_tape_add(
        t, moves, attn__table(t, ATTN_DIMS(z->taps, z->places, 2), deform_place, &base));
    const attn_var x = attn_tape_reshape(t, d->x, ATTN_DIMS(n, each, z->high, z->wide));
    const attn_var seen = attn_tape_pixel_sample(t, x, at);
    if (!attn__given(d->modulation)) return seen;
    return attn_tape_mul(
        t, seen, attn_tape_reshape(t, d->modulation, ATTN_DIMS(n, 1, z->taps, z->places)));
}

attn_var attn__deform_conv(attn_tape *t, const attn__deform *d)
{
    deform_sizes z;
    if (attn_tape_status(t, NULL) != ATTN_OK) return (attn_var){0};
    deform_read(t, d, &z);
    if (!deform_fits(t, d, &z) || !deform_reaches(t, d, &z, 0) || !deform_reaches(t, d, &z, 1))
        return (attn_var){0};
    const int64_t rows = attn__size_times(t, z.each, z.taps);
    const attn_tensor offset = attn_tape_value(t, d->offset);
    attn_var columns = attn_tape_reshape(t, deform_columns(t, d, &z),
                                         ATTN_DIMS(z.batch, z.groups, rows, z.places));
    attn_var w = attn_tape_reshape(t, d->w, ATTN_DIMS(z.groups, z.out / z.groups, rows));
    attn_var out =
        attn_tape_reshape(t, attn_tape_matmul(t, w, columns),
                          ATTN_DIMS(z.batch, z.out, offset.shape[2], offset.shape[3]));
    if (!attn__given(d->b)) return out;
    return attn_tape_add(t, out, attn_tape_reshape(t, d->b, ATTN_DIMS(z.out, 1, 1)));
}
