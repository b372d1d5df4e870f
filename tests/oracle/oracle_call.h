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
    oracle_operand score_w, center;
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

/* What one sequence and head works on: its keys turned, and a place for one query. */
typedef struct oracle_head {
    const oracle_problem *p;
    const oracle_sequence *s;
    int64_t n, h, g;
    oracle_real *keys, *key_mags, *query; /* S x D each, 2 x D */
} oracle_head;

/* A key of a row as its normaliser sees it: allowed, score and error (absolute, in roundings)
 * come in. */
typedef struct oracle_norm_key {
    bool allowed;
    oracle_real score, error;
    oracle_real weight, weight_error, slope, slope_error; /* slope: by the score alone */
} oracle_norm_key;

typedef struct oracle_norm {
    oracle_norm_key *key; /* n keys, then the sinks: softmax1, sink */
    int64_t n, sinks;
    oracle_real alpha;
    oracle_real total, h, hl, worst; /* ENTMAX: sums of the slopes, of -a ln a, of -a (ln a)^2;
                                        the largest error of a score */
    bool kink; /* an error of the scores may change the result at a jump */
} oracle_norm;

/* A pair as its derivatives see it: everything by which its score enters the results. */
typedef struct oracle_link {
    oracle_pair pair;
    bool allowed;
    oracle_real weight, kept;     /* exp(s - lse); see oracle_head_kept */
    oracle_real cap, cap_mass;    /* slope of the softcap, and of what it is the difference */
    oracle_real cap_rough;        /* what the error of its argument makes of it */
    oracle_real bend, bend_rough; /* slope of the callback */
    oracle_real rough;            /* error of s - lse in roundings */
    oracle_real slope, slope_rough, weight_rough; /* of normalisers that make final weights */
} oracle_link;

/* The row of query i: all its links. */
typedef struct oracle_line {
    oracle_head at;
    oracle_problem p, bare; /* bare: no callback, scores as they leave the softcap */
    oracle_operand lse;
    int64_t i;
    oracle_row query;
    oracle_link *link;              /* S */
    oracle_real total, sink, rough; /* lse; weight of the sink; the worst of the links */
    bool seen, saved;               /* some key is allowed */
    bool own;                       /* weights without lse */
    oracle_norm norm;
    bool kinks; /* some row was at one */
} oracle_line;

/* oracle_call.c */
bool oracle_problem_make(oracle_problem *p, const attn_spec *spec, const attn_args *args,
                         oracle_flip flip);
void oracle_problem_free(oracle_problem *p);
double oracle_read(const oracle_operand *t, int64_t a, int64_t b, int64_t c, int64_t d);
int64_t oracle_read_int(const oracle_operand *t, int64_t a, int64_t b, int64_t c, int64_t d);

/* Tensors of the shape of q, of rows, of pairs, in four dimensions. */
oracle_operand oracle_headed(const attn_tensor *t);
oracle_operand oracle_rows(const attn_tensor *t);
oracle_operand oracle_pairs(const attn_tensor *t); /* B H T S, right aligned */

/* oracle_head.c: made before the first head; next goes on, false past the last one */
bool oracle_head_make(oracle_head *w, const oracle_problem *p);
void oracle_head_free(oracle_head *w);
bool oracle_head_next(oracle_head *w);
oracle_pair oracle_head_pair(const oracle_head *w, int64_t i, int64_t j);
oracle_row oracle_head_key(const oracle_head *w, int64_t j);
oracle_row oracle_head_query(const oracle_head *w, int64_t i);     /* turned here */
int64_t oracle_head_key_position(const oracle_head *w, int64_t j); /* of the rotation */
int64_t oracle_head_query_position(const oracle_head *w, int64_t i);
/* 0 if dropout takes the weight of the pair, else what it is multiplied by. */
oracle_real oracle_head_kept(const oracle_head *w, int64_t i, int64_t j);

/* oracle_line.c */
bool oracle_line_make(oracle_line *w, const attn_spec *spec, const attn_args *args, bool saved);
void oracle_line_free(oracle_line *w);
void oracle_line_at(oracle_line *w, int64_t i);
/* An oracle_sum as a chain of additions makes it. */
typedef struct oracle_chain {
    oracle_real value, mass, squares; /* squares: of the partial sums */
} oracle_chain;
void oracle_chain_add(oracle_chain *c, oracle_real value, oracle_real mass);
oracle_sum oracle_chain_sum(const oracle_chain *c);
/* s times a number whose parts have the given magnitude. */
oracle_sum oracle_sum_times(oracle_sum s, oracle_real value, oracle_real mass);
void oracle_sum_add(oracle_sum *s, oracle_sum term);
bool oracle_sums_make(oracle_sums *s, const int64_t shape[4]);
/* Element at, where a dimension of 1 answers to every index. */
oracle_sum *oracle_sums_at(const oracle_sums *s, int64_t a, int64_t b, int64_t c, int64_t d);

/* oracle_norm.c */
bool oracle_norm_make(oracle_norm *row, int64_t keys);
void oracle_norm_free(oracle_norm *row);
/* Weights of the row from its scores; TOP_K only clears allowed. False only without memory. */
bool oracle_norm_row(const oracle_problem *p, int64_t n, int64_t h, oracle_norm *row);
/* The derivative of weight j of entmax by alpha: its mass that of each part, rough what errors
 * of the scores do to it. */
oracle_sum oracle_norm_by_alpha(const oracle_norm *row, int64_t j);
static inline bool oracle_norm_own(const oracle_problem *p)
{
    return p->spec.normaliser != ATTN_NORM_SOFTMAX && p->spec.normaliser != ATTN_NORM_TOP_K;
}

/* oracle_position.c */
int64_t oracle_rel_index(const oracle_problem *p, const oracle_pair *pair);
int64_t oracle_clip(int64_t rel, int64_t table); /* clip(rel, -R, R) + R, table = 2R + 1 */
/* Reads row r of q or k (b, head) and turns it as position m says. */
void oracle_turn(const oracle_problem *p, const oracle_operand *t, const int64_t at[3],
                 int64_t m, const oracle_row *row);
/* The transpose: a gradient by what oracle_turn left becomes one by what it found. */
void oracle_turn_back(const oracle_problem *p, int64_t m, oracle_sum *x);

/* oracle_mask.c: everything that only allows or forbids */
bool oracle_allowed(const oracle_problem *p, const oracle_pair *pair);

/* oracle_score.c */
oracle_score oracle_pair_score(const oracle_problem *p, const oracle_pair *pair,
                               const oracle_row *q, const oracle_row *k);
/* Element d of the score of a pair, without the scale: its value, its slope by q and by k. */
typedef struct oracle_feature {
    oracle_real value, by_q, by_k;
    oracle_real mass; /* magnitude of value, with what roundings of q and k may add */
    oracle_real by_q_mass, by_k_mass; /* of the slopes */
    oracle_real rough;     /* error of the slopes in roundings, as a part of their mass */
    oracle_real by_weight; /* slope by score_w, of magnitude by_weight_mass */
    oracle_real by_weight_mass;
} oracle_feature;
oracle_feature oracle_pair_feature(const oracle_problem *p, const oracle_pair *pair,
                                   const oracle_row *q, const oracle_row *k, int64_t d);
/* The centre of the query, and how far the key is from it. */
oracle_real oracle_pair_center(const oracle_problem *p, const oracle_pair *pair);
/* The slope of the callback at a score. */
oracle_real oracle_pair_bend(const oracle_problem *p, const oracle_pair *pair,
                             oracle_real score);
/* Roundings of a score after its products, in units of its magnitude: scale, change of base,
 * back again; an added term is converted and added; a cap divides, bends (two roundings) and
 * multiplies; a callback returns a rounded value; a rotation. */
oracle_real oracle_operations(const oracle_problem *p);

#endif
