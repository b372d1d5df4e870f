/* SPDX-License-Identifier: MIT
 * The callbacks of random cases. Rows come in bands of `period` queries: the first band of
 * three is left alone, in the second nothing is allowed, in the third scores are halved,
 * shifted and a few pairs masked. All of it depends on the element only, whatever the tile.
 *
 * Gradient cases may take another third band, s / (1 + s^2 / 4): its slope depends on s. */
#include "support/draw.h"

#include <math.h>

enum { CALLBACK_FULL, CALLBACK_EMPTY, CALLBACK_PARTIAL, CALLBACK_BANDS };

static int64_t callback_band(const test_user *u, int64_t i)
{
    return (i + u->i_base) / u->period % CALLBACK_BANDS;
}

static double callback_score(const test_user *u, const attn_tile *t, int64_t i, int64_t j,
                             double s)
{
    int64_t band = callback_band(u, i);
    int64_t mix = 3 * (i + u->i_base) + 5 * (j + u->j_base) + t->h + 2 * (t->b + u->b_base);
    if (band == CALLBACK_FULL) return s;
    if (band == CALLBACK_EMPTY || mix % 11 == 0) return -(double)INFINITY;
    return s * 0.5 + 0.25 * (double)(mix % 7);
}

static double callback_bent(const test_user *u, const attn_tile *t, int64_t i, int64_t j,
                            double s)
{
    double halved = callback_score(u, t, i, j, s);
    bool partial = callback_band(u, i) == CALLBACK_PARTIAL && !isinf(halved);
    return partial ? s / (1 + s * s / 4) : halved;
}

/* The derivatives; where nothing is allowed, any number. */
static double callback_halved_slope(const test_user *u, const attn_tile *t, int64_t i,
                                    int64_t j, double s)
{
    (void)t, (void)j, (void)s;
    int64_t band = callback_band(u, i);
    return band == CALLBACK_FULL ? 1 : band == CALLBACK_EMPTY ? (double)NAN : 0.5;
}

static double callback_bent_slope(const test_user *u, const attn_tile *t, int64_t i, int64_t j,
                                  double s)
{
    double y = s * s / 4, plain = callback_halved_slope(u, t, i, j, s);
    return callback_band(u, i) == CALLBACK_PARTIAL ? (1 - y) / ((1 + y) * (1 + y)) : plain;
}

typedef double (*callback_one)(const test_user *u, const attn_tile *t, int64_t i, int64_t j,
                               double s);

static void callback_each(const test_user *u, const attn_tile *t, callback_one one)
{
    for (int64_t x = 0; x < t->n_i; x++)
        for (int64_t y = 0; y < t->n_j; y++) {
            int64_t at = x * t->i_stride + y * t->j_stride;
            double *wide = (double *)t->s + (t->dtype == ATTN_DTYPE_F64 ? at : 0);
            float *narrow = (float *)t->s + (t->dtype == ATTN_DTYPE_F64 ? 0 : at);
            double s = t->dtype == ATTN_DTYPE_F64 ? *wide : (double)*narrow;
            s = one(u, t, t->i0 + x, t->j0 + y, s);
            if (t->dtype == ATTN_DTYPE_F64)
                *wide = s;
            else
                *narrow = (float)s;
        }
}

#define CALLBACK(name, one)                                                                    \
    static void callback_##name(void *user, const attn_tile *t)                                \
    {                                                                                          \
        callback_each(user, t, one);                                                           \
    }
CALLBACK(tile, callback_score)
CALLBACK(tile_slope, callback_halved_slope)
CALLBACK(bend, callback_bent)
CALLBACK(bend_slope, callback_bent_slope)
#undef CALLBACK

void test_callback_slope(attn_spec *spec, bool bend)
{
    if (!spec->tile) return;
    spec->tile = bend ? callback_bend : callback_tile;
    spec->tile_slope = bend ? callback_bend_slope : callback_tile_slope;
}

static attn_tile_kind callback_classify(void *user, const attn_tile *t)
{
    static const attn_tile_kind kinds[] = {[CALLBACK_FULL] = ATTN_TILE_FULL,
                                           [CALLBACK_EMPTY] = ATTN_TILE_EMPTY,
                                           [CALLBACK_PARTIAL] = ATTN_TILE_PARTIAL};
    int64_t band = callback_band(user, t->i0);
    for (int64_t x = 1; x < t->n_i; x++)
        if (callback_band(user, t->i0 + x) != band) return ATTN_TILE_PARTIAL;
    return kinds[band];
}

void draw_callbacks(draw *d)
{
    test_case *c = d->c;
    if (!draw_wants(d, TEST_INDEX_TILE)) return;
    c->user.period = test_rng_range(&d->rng, 1, 20);
    c->spec.tile = callback_tile;
    c->spec.user = &c->user;
    draw_on(d, TEST_INDEX_TILE);
    if (!draw_wants(d, TEST_INDEX_CLASSIFY)) return;
    c->spec.classify = callback_classify;
    draw_on(d, TEST_INDEX_CLASSIFY);
}
