/* SPDX-License-Identifier: MIT
 * Pictures, N C H W, and series, N C L, which are pictures of height 1: what the families conv,
 * pool and resize share.
 *
 * A convolution joins an image (I channels, H x W) and a grid (G channels, h x w positions): a
 * position sees the pixels position * stride - padding + tap * dilation of the image. conv goes
 * from the image to the grid, conv_transpose from the grid to the image, and with weights
 * G I/groups K K both directions and their gradients are three products (op/conv.h).
 *
 * Taps say which inputs make an output of a linear map along one axis, and with what weights:
 *   y[o] = sum over t in [begin[o], begin[o + 1]) of weight[t] * x[index[t]]
 * Turned round they make the gradient, one fixed chain a pixel. Mean pooling and both kinds of
 * upsampling are taps along H and along W; grid_sample is taps along a picture laid in a row.
 */
#ifndef ATTN__TAPE_PICTURE_H
#define ATTN__TAPE_PICTURE_H

#include "tape/tape.h"

enum {
    ATTN__PICTURE_MOST = 1 << 30,  /* sizes and parameters: products of two fit */
    ATTN__PICTURE_PIECE = 1 << 19, /* reals of columns in memory at once, about */
    ATTN__PICTURE_WIDTH = 2048,    /* positions at most in a piece, so in a chain of d_w */
    ATTN__PICTURE_GRAIN = 1 << 14  /* elements a thread should have at least */
};

/* ---- op_conv.c -------------------------------------------------------------------------- */

typedef struct attn__conv_plan {
    int64_t n, groups;
    int64_t image_c, grid_c;
    int64_t image[2], grid[2], kernel[2], stride[2], dilation[2], padding[2];
    int64_t pixels, positions, taps; /* of a plane, of a plane, of a kernel */
    int64_t rows;                    /* image_c * taps: of the matrix of columns */
    int64_t batch, width;            /* a piece: samples, positions */
    bool empty;                      /* no sums to make */
    bool direct;                     /* the image is the matrix: 1 x 1, stride 1, no padding */
} attn__conv_plan;

/* How a call joins an image and a grid by its operand 1. */
attn__conv_plan attn__conv_plan_of(const attn__call *c, const attn_tensor *image,
                                   const attn_tensor *grid);

/* Positions p .. of one row of the grid, n at most, through one tap: those lo <= l < hi see the
 * pixels at + (l - lo) * stride[1]; the others see padding. */
typedef struct attn__conv_run {
    int64_t n, lo, hi, at;
} attn__conv_run;
attn__conv_run attn__conv_run_of(const attn__conv_plan *g, int64_t tap, int64_t p, int64_t n);

/* ---- taps.c ----------------------------------------------------------------------------- */

typedef struct attn__taps {
    int64_t n_out, n_in;
    int64_t *begin; /* n_out + 1 */
    int64_t *index;
    double *weight;
} attn__taps;

/* Room for `most` taps, from the call's temps. False: out of memory. */
bool attn__taps_make(attn__call *c, attn__taps *taps, int64_t n_out, int64_t n_in,
                     int64_t most);
/* One output, which is its one input. */
bool attn__taps_one(attn__call *c, attn__taps *taps);
/* The transpose, into room made for it: outputs ascend in the taps of an input. */
void attn__taps_turn(const attn__taps *taps, attn__taps *turned);
/* Both at once. */
bool attn__taps_turned(attn__call *c, const attn__taps *taps, attn__taps *turned);

/* ---- op_pool.c -------------------------------------------------------------------------- */

/* Along one axis output o sees the n[o] inputs first[o], first[o] + step ... */
typedef struct attn__pool_axis {
    int64_t n_out, n_in, step;
    int64_t *first, *n;
} attn__pool_axis;
/* Windows of a call's axis 0 or 1; adaptive ones by the two sizes alone. False: memory. */
bool attn__pool_axis_make(attn__call *c, int axis, bool adaptive, attn__pool_axis *a);
/* Their means as taps. */
bool attn__pool_taps_make(attn__call *c, int axis, bool adaptive, attn__taps *taps);

/* ---- op_resize.c ------------------------------------------------------------------------ */

/* Of an upsampling, along one axis of the call. False: out of memory. */
bool attn__resize_taps_make(attn__call *c, int axis, attn__taps *taps);

/* A place between the pixels y x and y + 1 x + 1, of which some may lie outside; slopes: pixels
 * by unit of a coordinate. lost: a coordinate is NaN. */
typedef struct attn__spot {
    int64_t x, y;
    double part_x, part_y, slope_x, slope_y;
    bool inside, lost;
} attn__spot;
/* What the coordinates of a grid count: -1 .. 1 between the outer edges, or between the centres
 * of the border pixels; or pixels. */
enum attn__grid_units { ATTN__GRID_EDGES, ATTN__GRID_CORNERS, ATTN__GRID_PIXELS };
attn__spot attn__spot_of(double x, double y, const int64_t *size, int64_t units);
/* Writes the taps of output o, four at most, into a plane laid in a row. lost: a lost place has
 * one that makes its result NaN. */
void attn__spot_taps(const attn__spot *spot, const int64_t *size, bool lost, attn__taps *taps,
                     int64_t o);

/* ---- picture.c -------------------------------------------------------------------------- */

/* The size along H (axis 0; 1 for a series) or along W (axis 1). */
int64_t attn__picture_size(const attn_tensor *t, int axis);
int64_t attn__picture_planes(const attn_tensor *t); /* N C; 0 when it is empty */
/* A parameter must be `least` or more (small says so), and not beyond what serves here. */
attn_status attn__picture_number(const char *op, const char *small, int64_t least, int64_t got,
                                 attn_error *error);
/* Operand i must be real, of rank least to most, with sizes that serve here. */
attn_status attn__picture_need(const attn__call *c, int i, int least, int most,
                               attn_error *error);
/* out 0: reals, N of operand 0, these channels and sizes; of the rank of operand 0. */
void attn__picture_out(attn__call *c, int64_t channels, const int64_t *size);

#endif
