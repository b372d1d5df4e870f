/* SPDX-License-Identifier: MIT
 * Whether query i may see key j: every rule looked at for the one pair, all must agree. */
#include "oracle/oracle_call.h"

#include <math.h>

static int64_t mask_floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static bool mask_causal(const oracle_problem *p, const oracle_pair *pair)
{
    int64_t prefix = p->sequence[pair->n].prefix + (p->flip == ORACLE_FLIP_PREFIX);
    if (!p->spec.causal || pair->j < prefix) return true;
    return p->flip == ORACLE_FLIP_CAUSAL ? pair->j < pair->p : pair->j <= pair->p;
}

static bool mask_window(const oracle_problem *p, const oracle_pair *pair)
{
    const attn_window *w = &p->spec.window;
    int64_t left = w->left + (p->flip == ORACLE_FLIP_WINDOW_LEFT);
    int64_t right = w->right - (p->flip == ORACLE_FLIP_WINDOW_RIGHT);
    if (!w->on) return true;
    return (w->left < 0 || pair->j >= pair->p - left) &&
           (w->right < 0 || pair->j <= pair->p + right);
}

static bool mask_chunk(const oracle_problem *p, const oracle_pair *pair)
{
    int64_t c = p->spec.chunk, shift = p->flip == ORACLE_FLIP_CHUNK;
    return c == 0 || mask_floor_div(pair->p, c) == mask_floor_div(pair->j + shift, c);
}

static bool mask_center(const oracle_problem *p, const oracle_pair *pair)
{
    double width = p->spec.center_width, j = (double)pair->j;
    if (width == 0) return true;
    double center = (double)oracle_pair_center(p, pair);
    if (p->flip == ORACLE_FLIP_CENTER_WIDTH) return fabs(j - center) < width;
    return j >= ceil(center - width) && j <= floor(center + width);
}

static bool mask_segments(const oracle_problem *p, const oracle_pair *pair)
{
    const oracle_sequence *s = &p->sequence[pair->n];
    if (!p->q_seg.data || p->flip == ORACLE_FLIP_SEGMENTS) return true;
    return oracle_read_int(&p->q_seg, s->q_batch, s->q_row + pair->i, 0, 0) ==
           oracle_read_int(&p->k_seg, s->k_batch, s->k_row + pair->j, 0, 0);
}

static attn_tile_kind mask_block(const oracle_problem *p, const oracle_pair *pair)
{
    if (!p->block_mask.data || p->flip == ORACLE_FLIP_BLOCK_MASK) return ATTN_TILE_PARTIAL;
    int64_t row = pair->row / p->spec.block_q, key = pair->key / p->spec.block_k;
    return (attn_tile_kind)oracle_read_int(&p->block_mask, pair->n, pair->h, row, key);
}

static bool mask_dense(const oracle_problem *p, const oracle_pair *pair, attn_tile_kind kind)
{
    bool boolean = p->mask.dtype == ATTN_DTYPE_BOOL || p->mask.dtype == ATTN_DTYPE_U8;
    if (!p->mask.data || !boolean || p->flip == ORACLE_FLIP_MASK) return true;
    if (kind == ATTN_TILE_FULL && p->flip != ORACLE_FLIP_BLOCK_FULL) return true;
    return oracle_read_int(&p->mask, pair->n, pair->h, pair->row, pair->key) != 0;
}

bool oracle_allowed(const oracle_problem *p, const oracle_pair *pair)
{
    attn_tile_kind kind = mask_block(p, pair);
    return mask_causal(p, pair) && mask_window(p, pair) && mask_chunk(p, pair) &&
           mask_center(p, pair) && mask_segments(p, pair) && kind != ATTN_TILE_EMPTY &&
           mask_dense(p, pair, kind);
}
