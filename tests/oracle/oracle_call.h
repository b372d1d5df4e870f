/* SPDX-License-Identifier: MIT
 * Inside the oracle: the call with its defaults resolved, and how an operand is indexed.
 *
 * Sums and functions are long double, so that the oracle is exact enough to judge f64 too. */
#ifndef ORACLE_CALL_H
#define ORACLE_CALL_H

#include "oracle/oracle.h"

typedef long double oracle_real;

/* A tensor seen with four dimensions; a dimension of 1 answers to every index. */
typedef struct oracle_operand {
    const void *data; /* NULL: absent */
    attn_dtype dtype;
    int64_t shape[4], stride[4];
} oracle_operand;

typedef struct oracle_sequence {
    int64_t q_batch, q_row, T; /* where its queries start in the tensor, how many */
    int64_t k_batch, k_row, S;
    int64_t offset, prefix;
} oracle_sequence;

typedef struct oracle_problem {
    attn_spec spec;
    const attn_args *args;
    oracle_flip flip;
    bool q_packed, k_packed;
    int64_t N, H, G, T, S, D, E, R; /* R: turned elements */
    oracle_real scale, unit;
    oracle_sequence *sequence;
    oracle_operand q, k, v, bias_pre, bias, mask, block_mask, alibi, sink, rel_table, rel_k,
        rel_v;
    oracle_operand q_seg, k_seg, q_pos, k_pos, rope_cos, rope_sin;
} oracle_problem;

/* One pair: query i and key j of sequence n in head h, position p, and the rows by which
 * operands of the shape B H T S know them. */
typedef struct oracle_pair {
    int64_t n, h, g, i, j, p, row, key;
} oracle_pair;

/* A score on its way: the value, the sum of the magnitudes it was made of, whether the softmax
 * may see it, and the value at the stage asked for. */
typedef struct oracle_score {
    oracle_real value, magnitude, staged, staged_magnitude, spread;
    bool allowed;
} oracle_score;

/* One query or key row, turned, and what the magnitudes of its elements were. */
typedef struct oracle_row {
    oracle_real *x, *mag;
} oracle_row;

/* oracle_call.c */
bool oracle_problem_make(oracle_problem *p, const attn_spec *spec, const attn_args *args,
                         oracle_flip flip);
void oracle_problem_free(oracle_problem *p);
double oracle_read(const oracle_operand *t, int64_t a, int64_t b, int64_t c, int64_t d);
int64_t oracle_read_int(const oracle_operand *t, int64_t a, int64_t b, int64_t c, int64_t d);

/* oracle_position.c */
int64_t oracle_rel_index(const oracle_problem *p, const oracle_pair *pair);
int64_t oracle_clip(int64_t rel, int64_t table); /* clip(rel, -R, R) + R, table = 2R + 1 */
/* Reads row r of q or k (b, head) and turns it as position m says. */
void oracle_turn(const oracle_problem *p, const oracle_operand *t, const int64_t at[3],
                 int64_t m, const oracle_row *row);

/* oracle_mask.c: everything that only allows or forbids */
bool oracle_allowed(const oracle_problem *p, const oracle_pair *pair);

/* oracle_score.c */
oracle_score oracle_pair_score(const oracle_problem *p, const oracle_pair *pair,
                               const oracle_row *q, const oracle_row *k);

#endif
