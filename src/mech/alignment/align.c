/* SPDX-License-Identifier: MIT
 * The data flow that alignments share, and Gumbel noise on scores as a tile callback, so that
 * what draws keys by it streams too. Word (j & 3) of the Philox block at (j / 4, i, h, b) with
 * key seed makes the noise of a pair:
 *
 *     u = (word + 1/2) / 2^32,   g = -log(-log u),   score' = (score + g) / temperature */
#include "mech/alignment/align.h"

#include <math.h>

const attn_slot attn__align_slots[] = {ALIGN_SLOT_ROWS, {0}};
const attn_param attn__align_params[] = {ALIGN_PARAM_ROWS, {0}};

attn_spec attn__align_spec(const attn__build *b)
{
    return ATTN_SPEC(.scale = b->params[SCALE].f, .causal = b->params[CAUSAL].i != 0,
                     .align = ATTN_ALIGN_TOP_LEFT);
}

attn_attention_vars attn__align_vars(const attn__build *b)
{
    return (attn_attention_vars){
        .q = b->in[Q], .k = b->in[K], .v = b->in[V], .bias = b->in[BIAS]};
}

attn_var attn__align(const attn__build *b, const attn_spec *spec,
                     const attn_attention_vars *vars, attn_tensor weights)
{
    return attn__attend(b->t, spec, vars, b->in[MASK], weights);
}

void attn__align_run(const attn__build *b, const attn_spec *spec)
{
    const attn_attention_vars vars = attn__align_vars(b);
    b->out[OUT] = attn__align(b, spec, &vars, attn__build_output(b, WEIGHTS));
}

/* ---- noise ------------------------------------------------------------------------------- */

static double align_noise(const attn_value *g, const attn_tile *tile, int64_t i, int64_t j)
{
    const double ln2 = 0x1.62e42fefa39efp-1;
    const uint32_t key[2] = {(uint32_t)g[0].i, (uint32_t)((uint64_t)g[0].i >> 32)};
    const uint32_t counter[4] = {(uint32_t)(j >> 2), (uint32_t)i, (uint32_t)tile->h,
                                 (uint32_t)tile->b};
    uint32_t words[4];
    attn__philox(counter, key, words);
    const double u = ((double)words[j & 3] + 0.5) * 0x1p-32;
    return -attn__log2(-attn__log2(u) * ln2) * ln2;
}

/* What a score becomes; of a forbidden one nothing. */
static double align_noisy(const attn_value *g, const attn_tile *tile, int64_t x, int64_t y,
                          double score)
{
    if (score == -(double)INFINITY) return score;
    return (score + align_noise(g, tile, tile->i0 + x, tile->j0 + y)) / g[1].f;
}

static void align_tile(void *user, const attn_tile *tile)
{
    const attn_value *g = user;
    for (int64_t x = 0; x < tile->n_i; x++)
        for (int64_t y = 0; y < tile->n_j; y++) {
            const int64_t at = x * tile->i_stride + y * tile->j_stride;
            if (tile->dtype == ATTN_DTYPE_F64)
                ((double *)tile->s)[at] = align_noisy(g, tile, x, y, ((double *)tile->s)[at]);
            else
                ((float *)tile->s)[at] =
                    (float)align_noisy(g, tile, x, y, (double)((float *)tile->s)[at]);
        }
}

static void align_slope(void *user, const attn_tile *tile)
{
    const attn_value *g = user;
    for (int64_t x = 0; x < tile->n_i; x++)
        for (int64_t y = 0; y < tile->n_j; y++) {
            const int64_t at = x * tile->i_stride + y * tile->j_stride;
            if (tile->dtype == ATTN_DTYPE_F64)
                ((double *)tile->s)[at] = 1 / g[1].f;
            else
                ((float *)tile->s)[at] = (float)(1 / g[1].f);
        }
}

void attn__align_noise(attn_spec *spec, const attn_value *seed)
{
    spec->tile = align_tile;
    spec->tile_slope = align_slope;
    spec->user = (void *)(uintptr_t)seed; /* only read */
}
