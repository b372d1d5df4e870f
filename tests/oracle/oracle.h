/* SPDX-License-Identifier: MIT
 * The oracle: softmax attention by its definition, in long double, one pair at a time.
 *
 * It reads the same attn_spec and attn_args as attn_forward and shares no code with the
 * library: own element readers, own Philox, own buckets, own angles. It expects legal
 * arguments; what is illegal is the business of other tests. Nothing here is fast, everything
 * is meant to be read.
 *
 *   oracle_result r;
 *   assert_true(oracle_attention(&r, &spec, &args, ORACLE_FLIP_NONE));
 *   ... r.out[((b * r.H + h) * r.T + t) * r.E + e] ...
 *   oracle_free(&r); */
#ifndef ORACLE_H
#define ORACLE_H

#include "attn/attention.h"

/* A flip is a deliberate mistake. The self test makes each one and demands to see it noticed.
 */
typedef enum oracle_flip {
    ORACLE_FLIP_NONE,
#define FLIP(name, options, what) ORACLE_FLIP_##name,
#include "oracle/flips.def"
#undef FLIP
    ORACLE_N_FLIPS
} oracle_flip;

/* Arrays are dense, row major. B is the batch dimension of q as a tensor (1 when packed), N the
 * number of sequences, T and S the tensor dimensions, W_T x W_S the extent of the weights: T or
 * the longest sequence when packed, the same for S, and at least what args.weights and
 * args.scores have. Rows outside sequences hold 0, lse -inf. */
typedef struct oracle_result {
    int64_t N, B, H, G, T, S, D, E, KB, W_T, W_S;
    attn_spec spec; /* as resolved */
    bool level;     /* all products of a row are equal: no scale, no width, one key repeated */
    double unit;    /* unit roundoff of the arithmetic: 2^-24, or 2^-53 when q, k or v is f64 */
    double *out;    /* B H T E */
    double *mass;   /* B H T E: A = sum_j w |v| (+ w |rel_v|), the scale of the error of out */
    double *lse;    /* B H T */
    double *kappa;  /* B H T: max over allowed j of the sum of the magnitudes in the score */
    double *row_kappa, *row_spread, *row_lse; /* N H W_T: kappa, the largest spread, |lse| */
    double *weights;                          /* N H W_T W_S, 0 outside */
    double *scores;    /* N H W_T W_S at spec.scores_stage; outside 0, or -inf when MASKED */
    double *magnitude; /* N H W_T W_S: what scores went through, as kappa but of the pair */
    double *spread;    /* N H W_T W_S: |scale| times the root of the sum of the squares of all
                          partial sums over d, the standard deviation of what they round away */
    bool own;          /* weights without lse */
    double *rough;     /* B H T E: sum_j |v| times the errors of the weights, in roundings */
    double *weight_rough; /* N H W_T W_S: of the weights, above 0 where allowed */
    bool kink;            /* some row is where an error of its scores makes a jump */
    bool *key_used; /* KB G S: some query is allowed to see this key (KB: batch dim of k) */
} oracle_result;

/* False only without memory. */
bool oracle_attention(oracle_result *r, const attn_spec *spec, const attn_args *args,
                      oracle_flip flip);
void oracle_free(oracle_result *r);

/* ---- softmax_grad.c, softmax_jvp.c: gradients ------------------------------------------- */

typedef enum oracle_grad_flip {
    ORACLE_GRAD_FLIP_NONE,
#define FLIP(name, options, what) ORACLE_GRAD_FLIP_##name,
#include "oracle/grad_flips.def"
#undef FLIP
    ORACLE_N_GRAD_FLIPS
} oracle_grad_flip;

typedef enum oracle_grad {
#define GRAD(name) ORACLE_GRAD_##name,
#include "oracle/grads.def"
#undef GRAD
    ORACLE_N_GRADS
} oracle_grad;

/* A sum with the sum of the magnitudes of its terms, and what the roundings inside the terms
 * may amount to, in roundings u of the arithmetic. */
typedef struct oracle_sum {
    long double value, mass, rough;
} oracle_sum;

/* Dense and row major, in the shape of its tensor with leading dimensions of 1. */
typedef struct oracle_sums {
    int64_t shape[4], n;
    oracle_sum *x; /* NULL: absent */
} oracle_sums;

typedef struct oracle_grads {
    double unit;
    bool kink;
    oracle_sums alpha;              /* H 1 1 1 */
    oracle_sums of[ORACLE_N_GRADS]; /* of every operand that is there, asked for or not */
} oracle_grads;

/* saved: with out and lse as args has them, rounded as they are, and the weights are
 * exp(s - lse). Else with those that belong to the other tensors. False only without memory.
 */
bool oracle_backward(oracle_grads *g, const attn_spec *spec, const attn_args *args, bool saved,
                     oracle_grad_flip flip);
void oracle_grads_free(oracle_grads *g);

typedef struct oracle_tangents {
    double unit;
    bool kink;
    oracle_sums out, lse; /* B H T E and B H T 1; 0 outside sequences */
} oracle_tangents;

bool oracle_jvp(oracle_tangents *t, const attn_spec *spec, const attn_args *args,
                oracle_grad_flip flip);
void oracle_tangents_free(oracle_tangents *t);

/* ---- oracle_naive.c, oracle_naive_grad.c: the error to beat ----------------------------- */

/* The plain case (no options but scale and causal) in ordinary float loops with expf, as anyone
 * would write it first: the error to beat. One head: q T x D, k S x D, v S x E, out T x E. */
bool oracle_naive_f32(int64_t T, int64_t S, int64_t D, int64_t E, bool causal, const float *q,
                      const float *k, const float *v, float *out);

/* Its gradients, as a textbook writes them: whole matrices of weights and their gradients, in
 * float loops. bias (T S), sink and slope are those of the head, each may be NULL with its
 * gradient. */
typedef struct oracle_naive {
    int64_t T, S, D, E;
    bool causal;
    const float *q, *k, *v, *bias, *sink, *slope, *d_out;
    float *d_q, *d_k, *d_v, *d_bias, *d_sink, *d_slope; /* all but d_q are added to */
} oracle_naive;

bool oracle_naive_backward(const oracle_naive *call);

/* ---- oracle_number.c: elements of any dtype ---------------------------------------------- */

/* Element at offset i (in elements) of an array; integers that do not fit a double round. */
double oracle_get(attn_dtype dtype, const void *data, int64_t i);
int64_t oracle_get_int(attn_dtype dtype, const void *data, int64_t i);
/* Stores rounded to nearest even, half precisions in one step; integers are converted. */
void oracle_put(attn_dtype dtype, void *data, int64_t i, double value);
/* The nearest value of that dtype, as double. */
double oracle_round(attn_dtype dtype, double value);
/* Half the distance between neighbours of that dtype around value. */
double oracle_half_ulp(attn_dtype dtype, double value);

/* ---- oracle_position.c, oracle_philox.c: parts, tested on their own ---------------------- */

/* T5 bucket of rel = j - p in a table of n buckets. */
int64_t oracle_bucket(int64_t rel, int64_t n, int64_t max_distance, bool causal);
/* The four words of Philox 4x32-10. */
void oracle_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

#endif
