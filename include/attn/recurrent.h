/* SPDX-License-Identifier: MIT
 * Attention as a recurrence: a state of fixed size that tokens walk through, exact, in time and
 * memory that grow with the number of tokens alone.
 *
 *     S_t = diag(a_t) S_{t-1} + k_t u_t^T,  o_t = scale S_t^T q_t,  S is D x E
 *     linear  u_t = v_t                                        linear attention, retention, GLA
 *     delta   u_t = beta_t (v_t - (diag(a_t) S_{t-1})^T k_t)   DeltaNet, gated delta
 *     a_t = exp(decay_t), or 1
 *
 * Letters as in attention.h: B batch, H query heads, G key/value heads, T queries, S tokens
 * (keys and values), D key width, E value width. A state belongs to a key/value head and is
 * read by the H / G query heads of its group. The state and every sum are f64, whatever the
 * tensors hold; what goes out is rounded once.
 *
 * One token, or a piece of a sequence, with the state of before (state, final_state) gives the
 * bits of the whole, if the state is kept in f64. */
#ifndef ATTN_RECURRENT_H
#define ATTN_RECURRENT_H

#include "attn/attention.h"
#include "attn/ctx.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum attn_scan_update { ATTN_SCAN_LINEAR, ATTN_SCAN_DELTA } attn_scan_update;

typedef struct attn_scan_spec {
    size_t size; /* sizeof(attn_scan_spec); ATTN_SCAN_SPEC() fills it */
    attn_scan_update update;
    double scale;   /* 0: 1 / sqrt(D); ATTN_ZERO: 0 */
    bool whole;     /* queries read the state behind the last token: not causal, T may be any */
    bool normalise; /* linear: out = scale S^T q / (scale z.q + eps), z the sum of the keys with
                       the decays of S; a row whose divisor is 0 gives 0 */
    double eps;
    attn_head_map head_map;
} attn_scan_spec;

/* Absent tensors have dtype NONE (all zero). q, k and v are required; of the calls, forward
 * wants out or final_state, backward d_out or d_final_state and a gradient to write.
 *
 * Rank 4 as written; q, k, v, out and their gradients may have rank 3, which means one head
 * (B T D), or 2, one sequence of one head (T D).
 * Packed: with cu_k the sequences lie behind each other in S and the batch dimension of all but
 * the states is 1. Padded: k_len tokens of each row of the batch count. Queries are the tokens,
 * except with spec.whole, where cu_q and q_len may say otherwise. Rows outside a sequence
 * receive 0. final_state may be the very tensor state, and final_z state_z. */
typedef struct attn_scan_args {
    size_t size;         /* sizeof(attn_scan_args); ATTN_SCAN_ARGS() fills it */
    attn_tensor q, k, v; /* B H T D, B G S D, B G S E: f64 f32 bf16 f16 */
    attn_tensor decay;   /* the log of a: G, or G D, or B G S, or B G S D */
    attn_tensor beta;    /* delta: G or B G S; absent: 1 */
    attn_tensor state;   /* N G D E: before the first token (N sequences); absent: 0 */
    attn_tensor state_z; /* N G D, with normalise: the sum of keys before the first token */
    attn_tensor out;     /* B H T E */
    attn_tensor final_state, final_z; /* N G D E, N G D: behind the last token */
    attn_tensor cu_q, cu_k;           /* N + 1, integers */
    attn_tensor q_len, k_len;         /* B, integers */

    /* attn_scan_backward: gradients come in (absent: 0), and go out for what is given, each of
     * the shape of its tensor. Nothing that the forward call left is needed. */
    attn_tensor d_out, d_final_state, d_final_z;
    attn_tensor d_q, d_k, d_v, d_decay, d_beta, d_state, d_state_z;
} attn_scan_args;

#ifndef __cplusplus
#    define ATTN_SCAN_SPEC(...) ((attn_scan_spec){.size = sizeof(attn_scan_spec), __VA_ARGS__})
#    define ATTN_SCAN_ARGS(...) ((attn_scan_args){.size = sizeof(attn_scan_args), __VA_ARGS__})
#endif

/* ---- one call ---------------------------------------------------------------------------- */

/* Checks, plans, allocates the workspace, runs. spec NULL: causal linear attention. On failure
 * no output has been touched. */
ATTN_API attn_status attn_scan_forward(attn_ctx *ctx, const attn_scan_spec *spec,
                                       const attn_scan_args *args, attn_error *error);
/* Recomputes what it needs, from states kept at every so many tokens. */
ATTN_API attn_status attn_scan_backward(attn_ctx *ctx, const attn_scan_spec *spec,
                                        const attn_scan_args *args, attn_error *error);
/* Says what attn_scan_forward would say, and does nothing. */
ATTN_API attn_status attn_scan_check(const attn_scan_spec *spec, const attn_scan_args *args,
                                     attn_error *error);

/* ---- plan and run ------------------------------------------------------------------------ */

typedef struct attn_scan_plan attn_scan_plan;

typedef struct attn_scan_info {
    const char *isa; /* kernel table */
    int threads;
    int64_t streams;     /* states: sequences times key/value heads */
    int64_t parts;       /* pieces of a state that go to different threads */
    int64_t segment;     /* tokens in memory at once; backward: between two kept states */
    size_t workspace;    /* bytes */
    double flops, bytes; /* of the scans, by the largest lengths; of what is read and written */
} attn_scan_info;

/* A plan fits every later args that differs in nothing but data pointers and in the contents of
 * tensors (lengths included); for decoding it is made once for T = S = 1. It is constant:
 * several threads may run it at once, each with its own workspace. */
ATTN_API attn_status attn_scan_plan_create(attn_scan_plan **plan, attn_ctx *ctx,
                                           const attn_scan_spec *spec,
                                           const attn_scan_args *args, attn_error *error);
ATTN_API attn_status attn_scan_plan_create_backward(attn_scan_plan **plan, attn_ctx *ctx,
                                                    const attn_scan_spec *spec,
                                                    const attn_scan_args *args,
                                                    attn_error *error);
ATTN_API void attn_scan_plan_destroy(attn_scan_plan *plan);           /* NULL is legal */
ATTN_API size_t attn_scan_plan_workspace(const attn_scan_plan *plan); /* aligned to 64 */
/* Checks args against the plan, then runs. Allocates nothing. */
ATTN_API attn_status attn_scan_plan_run(const attn_scan_plan *plan, const attn_scan_args *args,
                                        void *workspace, size_t workspace_size,
                                        attn_error *error);
ATTN_API void attn_scan_plan_describe(const attn_scan_plan *plan, attn_scan_info *info);

#ifdef __cplusplus
}
#endif
#endif
