/* SPDX-License-Identifier: MIT
 * From spec and args to plain numbers: shapes with four dimensions, sequences, offsets. */
#include "oracle/oracle_call.h"

#include <math.h>
#include <stdlib.h>

/* Right aligned in four dimensions: missing leading ones are 1. */
static oracle_operand operand_right(const attn_tensor *t, int dims)
{
    oracle_operand o = {.data = t->data, .dtype = t->dtype, .shape = {1, 1, 1, 1}};
    if (t->dtype == ATTN_DTYPE_NONE) o.data = NULL;
    for (int i = 0; i < t->rank && o.data; i++) {
        int at = dims - t->rank + i;
        o.shape[at] = t->shape[i];
        o.stride[at] = t->stride[i];
    }
    return o;
}

/* q, k, v, out: B H T D; three dimensions leave out the heads, two the batch as well. */
oracle_operand oracle_headed(const attn_tensor *t)
{
    attn_tensor wide = *t;
    if (t->rank == 3) {
        wide.rank = 4;
        wide.shape[1] = 1;
        wide.stride[1] = 0;
        for (int i = 2; i < 4; i++) {
            wide.shape[i] = t->shape[i - 1];
            wide.stride[i] = t->stride[i - 1];
        }
    }
    return operand_right(&wide, 4);
}

oracle_operand oracle_rows(const attn_tensor *t)
{
    attn_tensor wide = *t;
    wide.shape[wide.rank] = 1;
    wide.stride[wide.rank++] = 1;
    return oracle_headed(&wide);
}

oracle_operand oracle_pairs(const attn_tensor *t)
{
    return operand_right(t, 4);
}

static int64_t operand_index(const oracle_operand *t, int64_t a, int64_t b, int64_t c,
                             int64_t d)
{
    const int64_t at[4] = {a, b, c, d};
    int64_t offset = 0;
    for (int i = 0; i < 4; i++)
        if (t->shape[i] != 1) offset += at[i] * t->stride[i];
    return offset;
}

double oracle_read(const oracle_operand *t, int64_t a, int64_t b, int64_t c, int64_t d)
{
    return oracle_get(t->dtype, t->data, operand_index(t, a, b, c, d));
}

int64_t oracle_read_int(const oracle_operand *t, int64_t a, int64_t b, int64_t c, int64_t d)
{
    return oracle_get_int(t->dtype, t->data, operand_index(t, a, b, c, d));
}

static bool problem_has(const attn_tensor *t)
{
    return t->dtype != ATTN_DTYPE_NONE;
}

static int64_t problem_int(const attn_tensor *t, int64_t i, int64_t fallback)
{
    return problem_has(t) ? oracle_get_int(t->dtype, t->data, i * t->stride[0]) : fallback;
}

/* Rows [*row, *row + *n) of a batch entry, by cumulative lengths or by start and length. */
static void problem_cut(const attn_tensor *cu, const attn_tensor *start, const attn_tensor *len,
                        int64_t b, int64_t total, int64_t *row, int64_t *n)
{
    if (problem_has(cu)) {
        *row = problem_int(cu, b, 0);
        *n = problem_int(cu, b + 1, 0) - *row;
    } else {
        *row = problem_int(start, b, 0);
        *n = problem_int(len, b, total - *row);
    }
}

static int64_t problem_offset(const oracle_problem *p, int64_t b, const oracle_sequence *s)
{
    int64_t flipped = p->flip == ORACLE_FLIP_ALIGN;
    if (p->spec.align == ATTN_ALIGN_BOTTOM_RIGHT) return s->S - s->T + flipped;
    if (p->spec.align == ATTN_ALIGN_OFFSET)
        return problem_int(&p->args->offset, b, p->spec.offset) + flipped;
    return flipped;
}

static void problem_sequence(oracle_problem *p, int64_t b)
{
    const attn_args *a = p->args;
    oracle_sequence *s = &p->sequence[b];
    *s = (oracle_sequence){.q_batch = p->q_packed ? 0 : b, .k_batch = p->k_packed ? 0 : b};
    problem_cut(&a->cu_q, &a->q_start, &a->q_len, b, p->T, &s->q_row, &s->T);
    problem_cut(&a->cu_k, &a->k_start, &a->k_len, b, p->S, &s->k_row, &s->S);
    s->offset = problem_offset(p, b, s);
    s->prefix = problem_int(&a->prefix, b, p->spec.prefix);
    if (p->flip == ORACLE_FLIP_LENGTH && problem_has(&a->k_len) && s->k_row + s->S < p->S)
        s->S++;
}

static void problem_operands(oracle_problem *p)
{
    const attn_args *a = p->args;
    p->q = oracle_headed(&a->q);
    p->k = oracle_headed(&a->k);
    p->v = oracle_headed(&a->v);
    p->bias_pre = operand_right(&a->bias_pre, 4);
    p->bias = operand_right(&a->bias, 4);
    p->mask = operand_right(&a->mask, 4);
    p->block_mask = operand_right(&a->block_mask, 4);
    p->alibi = operand_right(&a->alibi, 2);
    p->sink = operand_right(&a->sink, 2);
    p->rel_table = operand_right(&a->rel_table, 2);
    p->rel_k = operand_right(&a->rel_k, 3);
    p->rel_v = operand_right(&a->rel_v, 3);
    p->score_w = operand_right(&a->score_w, 2);
    p->center = operand_right(&a->center, 3);
    p->q_seg = operand_right(&a->q_seg, 2);
    p->k_seg = operand_right(&a->k_seg, 2);
    p->q_pos = operand_right(&a->q_pos, 2);
    p->k_pos = operand_right(&a->k_pos, 2);
    p->rope_cos = operand_right(&a->rope_cos, 2);
    p->rope_sin = operand_right(&a->rope_sin, 2);
}

static void problem_scale(oracle_problem *p)
{
    const attn_args *a = p->args;
    bool wide = a->q.dtype == ATTN_DTYPE_F64 || a->k.dtype == ATTN_DTYPE_F64 ||
                a->v.dtype == ATTN_DTYPE_F64;
    p->unit = wide ? 0x1p-53L : 0x1p-24L;
    p->scale = (oracle_real)p->spec.scale;
    if (p->spec.scale == 0) p->scale = p->D ? 1 / sqrtl((oracle_real)p->D) : 1;
    if (p->spec.scale == 0 && p->spec.score == ATTN_SCORE_ADDITIVE) p->scale = 1;
    if (p->spec.scale == ATTN_ZERO) p->scale = 0;
    if (p->flip == ORACLE_FLIP_SCALE) p->scale = p->scale == 1 ? 2 : 1;
}

static void problem_sizes(oracle_problem *p)
{
    p->H = p->q.shape[1];
    p->G = p->k.shape[1];
    p->T = p->q.shape[2];
    p->S = p->k.shape[2];
    p->D = p->q.shape[3];
    p->E = p->v.shape[3];
    p->N = p->q_packed ? p->args->cu_q.shape[0] - 1 : p->q.shape[0];
    p->R = p->spec.rope.dims ? p->spec.rope.dims : p->D;
}

bool oracle_problem_make(oracle_problem *p, const attn_spec *spec, const attn_args *args,
                         oracle_flip flip)
{
    *p = (oracle_problem){.args = args, .flip = flip};
    if (spec) p->spec = *spec;
    p->q_packed = problem_has(&args->cu_q);
    p->k_packed = problem_has(&args->cu_k);
    problem_operands(p);
    problem_sizes(p);
    problem_scale(p);
    if (p->spec.rope.base == 0) p->spec.rope.base = 10000;
    if (!p->spec.rel.max_distance) p->spec.rel.max_distance = 128;
    p->sequence = calloc((size_t)p->N + 1, sizeof *p->sequence);
    for (int64_t b = 0; b < p->N && p->sequence; b++) problem_sequence(p, b);
    return p->sequence != NULL;
}

void oracle_problem_free(oracle_problem *p)
{
    free(p->sequence);
    p->sequence = NULL;
}
