/* SPDX-License-Identifier: MIT
 * The tensors themselves: q, k, v and the outputs, masks, biases, sinks. */
#include "support/draw.h"

#include <math.h>
#include <string.h>

static const attn_dtype half_types[] = {ATTN_DTYPE_F32, ATTN_DTYPE_BF16, ATTN_DTYPE_F16};

/* q, k, v or out: B H T X with as many dimensions as the case has. */
static attn_tensor operand_make(draw *d, attn_dtype dtype, const int64_t *shape, bool input)
{
    const int64_t three[3] = {shape[0], shape[2], shape[3]};
    const int64_t *use = d->rank == 4 ? shape : d->rank == 3 ? three : shape + 2;
    if (input) return draw_input(d, dtype, d->rank, use);
    if (!draw_wants(d, TEST_INDEX_LAYOUT))
        return test_tensor(&d->c->arena, dtype, d->rank, use);
    return test_tensor_layout(&d->c->arena, &d->rng, dtype, d->rank, use, false);
}

static attn_dtype operand_type(draw *d)
{
    bool wide = draw_wants(d, TEST_INDEX_F64) && test_rng_chance(&d->rng, 70);
    if (wide) return ATTN_DTYPE_F64;
    return draw_wants(d, TEST_INDEX_DTYPES) ? half_types[test_rng_range(&d->rng, 0, 2)]
                                            : ATTN_DTYPE_F32;
}

static attn_dtype operand_out_type(draw *d)
{
    if (draw_wants(d, TEST_INDEX_F64) && test_rng_chance(&d->rng, 70)) return ATTN_DTYPE_F64;
    return draw_float(d);
}

static void operand_outputs(draw *d)
{
    attn_args *a = &d->c->args;
    int64_t shape[4] = {d->q.batch, d->H, d->q.rows, d->E};
    const int64_t pairs[4] = {d->N, d->H, d->q.extent, d->k.extent};
    a->out = operand_make(d, operand_out_type(d), shape, false);
    memset(&a->lse, 0, sizeof a->lse);
    if (draw_wants(d, TEST_INDEX_LSE)) {
        shape[3] = 1;
        a->lse = operand_make(d, operand_out_type(d), shape, false);
        a->lse.rank--;
        draw_on(d, TEST_INDEX_LSE);
    }
    /* Without a batch dimension there is no place for the pairs of several sequences. */
    if (d->rank == 2 && d->N != 1) return;
    if (draw_wants(d, TEST_INDEX_WEIGHTS)) {
        a->weights = operand_make(d, operand_out_type(d), pairs, false);
        draw_on(d, TEST_INDEX_WEIGHTS);
    }
    if (draw_wants(d, TEST_INDEX_SCORES)) {
        a->scores = operand_make(d, operand_out_type(d), pairs, false);
        d->c->spec.scores_stage = (attn_scores_stage)test_rng_range(&d->rng, 0, 2);
        draw_on(d, TEST_INDEX_SCORES);
    }
}

void draw_tensors(draw *d)
{
    attn_args *a = &d->c->args;
    int64_t v_batch = d->k.batch;
    double spread = 1;
    if (draw_wants(d, TEST_INDEX_LARGE)) {
        spread = (double)test_rng_range(&d->rng, 5, 60);
        draw_on(d, TEST_INDEX_LARGE);
    }
    if (!d->k.packed && d->rank > 2 && d->N > 1 && test_rng_chance(&d->rng, 10)) v_batch = 1;
    a->q =
        operand_make(d, operand_type(d), (int64_t[]){d->q.batch, d->H, d->q.rows, d->D}, true);
    a->k =
        operand_make(d, operand_type(d), (int64_t[]){d->k.batch, d->G, d->k.rows, d->D}, true);
    a->v = operand_make(d, operand_type(d), (int64_t[]){v_batch, d->G, d->k.rows, d->E}, true);
    test_fill_normal(&a->q, &d->rng, spread);
    test_fill_normal(&a->k, &d->rng, 1);
    test_fill_normal(&a->v, &d->rng, 1);
    operand_outputs(d);
    if (draw_wants(d, TEST_INDEX_F64)) draw_on(d, TEST_INDEX_F64);
    if (draw_wants(d, TEST_INDEX_DTYPES)) draw_on(d, TEST_INDEX_DTYPES);
    if (draw_wants(d, TEST_INDEX_LAYOUT)) draw_on(d, TEST_INDEX_LAYOUT);
}

/* A shape that broadcasts against full: dimensions become 1, leading ones go. */
static int operand_broadcast(draw *d, const int64_t full[4], int64_t shape[4])
{
    int first = 0;
    for (int i = 0; i < 4; i++)
        shape[i] = test_rng_chance(&d->rng, i == 0 ? 50 : 20) ? 1 : full[i];
    while (first < 3 && shape[first] == 1 && test_rng_chance(&d->rng, 60)) first++;
    memmove(shape, shape + first, (size_t)(4 - first) * sizeof *shape);
    return 4 - first;
}

static attn_tensor operand_dense(draw *d, attn_dtype dtype)
{
    const int64_t full[4] = {d->N, d->H, d->q.extent, d->k.extent};
    int64_t shape[4];
    int rank = operand_broadcast(d, full, shape);
    return draw_input(d, dtype, rank, shape);
}

static void operand_bias(draw *d, attn_tensor *t, test_option_index option, int forbid)
{
    int64_t index[ATTN_MAX_RANK] = {0};
    if (!draw_wants(d, option)) return;
    *t = operand_dense(d, draw_float(d));
    draw_on(d, option);
    if (test_tensor_empty(t)) return;
    do {
        bool minus = test_rng_chance(&d->rng, forbid);
        test_put(t, index, minus ? -(double)INFINITY : 2 * test_rng_normal(&d->rng));
    } while (test_index_next(t, index));
}

static void operand_per_head(draw *d, attn_tensor *t, test_option_index option, double low,
                             double high)
{
    int64_t index[ATTN_MAX_RANK] = {0};
    int rank = (int)test_rng_range(&d->rng, 1, 2);
    const int64_t shape[2] = {test_rng_chance(&d->rng, 40) ? 1 : d->N, d->H};
    if (!draw_wants(d, option)) return;
    *t = draw_input(d, draw_float(d), rank, shape + 2 - rank);
    draw_on(d, option);
    if (test_tensor_empty(t)) return;
    do test_put(t, index, low + (high - low) * test_rng_uniform(&d->rng));
    while (test_index_next(t, index));
}

void draw_biases(draw *d)
{
    attn_args *a = &d->c->args;
    int forbid = test_rng_chance(&d->rng, 50) ? 20 : 0;
    bool staged =
        d->c->spec.scores_stage != ATTN_SCORES_SCALED && draw_wants(d, TEST_INDEX_SCORES);
    /* What CAPPED shows where bias_pre is -inf is nobody's promise. */
    operand_bias(d, &a->bias_pre, TEST_INDEX_BIAS_PRE, staged ? 0 : forbid);
    operand_bias(d, &a->bias, TEST_INDEX_BIAS, forbid);
    if (a->mask.dtype == ATTN_DTYPE_NONE)
        operand_bias(d, &a->mask, TEST_INDEX_MASK_ADD, forbid);
    operand_per_head(d, &a->alibi, TEST_INDEX_ALIBI, -0.1, 1);
    operand_per_head(d, &a->sink, TEST_INDEX_SINK, -4, 6);
    if (draw_wants(d, TEST_INDEX_SOFTMAX1)) {
        d->c->spec.softmax1 = true;
        draw_on(d, TEST_INDEX_SOFTMAX1);
    }
}

static void operand_segments(draw *d)
{
    static const attn_dtype types[] = {ATTN_DTYPE_I64, ATTN_DTYPE_I32, ATTN_DTYPE_I16,
                                       ATTN_DTYPE_I8,  ATTN_DTYPE_U8,  ATTN_DTYPE_U16,
                                       ATTN_DTYPE_U32, ATTN_DTYPE_U64};
    attn_args *a = &d->c->args;
    attn_dtype type = types[test_rng_range(&d->rng, 0, 7)];
    if (!draw_wants(d, TEST_INDEX_SEGMENTS)) return;
    a->q_seg = draw_input(d, type, 2, (int64_t[]){d->q.batch, d->q.rows});
    a->k_seg = draw_input(d, type, 2, (int64_t[]){d->k.batch, d->k.rows});
    test_fill_range(&a->q_seg, &d->rng, 0, 2);
    test_fill_range(&a->k_seg, &d->rng, 0, 2);
    draw_on(d, TEST_INDEX_SEGMENTS);
}

static void operand_blocks(draw *d)
{
    attn_spec *s = &d->c->spec;
    if (!draw_wants(d, TEST_INDEX_BLOCK_MASK)) return;
    s->block_q = test_rng_range(&d->rng, 1, 20);
    s->block_k = test_rng_range(&d->rng, 1, 20);
    const int64_t full[4] = {d->N, d->H, (d->q.extent + s->block_q - 1) / s->block_q,
                             (d->k.extent + s->block_k - 1) / s->block_k};
    int64_t shape[4];
    int rank = operand_broadcast(d, full, shape);
    d->c->args.block_mask = draw_input(d, ATTN_DTYPE_U8, rank, shape);
    test_fill_range(&d->c->args.block_mask, &d->rng, 0, 2);
    draw_on(d, TEST_INDEX_BLOCK_MASK);
}

static void operand_mask(draw *d)
{
    attn_args *a = &d->c->args;
    int64_t index[ATTN_MAX_RANK] = {0};
    if (!draw_wants(d, TEST_INDEX_MASK)) return;
    bool u8 = test_rng_chance(&d->rng, 30);
    a->mask = operand_dense(d, u8 ? ATTN_DTYPE_U8 : ATTN_DTYPE_BOOL);
    draw_on(d, TEST_INDEX_MASK);
    if (test_tensor_empty(&a->mask)) return;
    int percent = test_rng_chance(&d->rng, 20) ? 5 : 70;
    do test_put(&a->mask, index, test_rng_chance(&d->rng, percent) ? (u8 ? 7 : 1) : 0);
    while (test_index_next(&a->mask, index));
}

void draw_masks(draw *d)
{
    operand_segments(d);
    operand_blocks(d);
    operand_mask(d);
}
