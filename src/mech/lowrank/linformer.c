/* SPDX-License-Identifier: MIT
 * Linformer: keys and values are projected along the sequence to N of each, then attended to.
 *
 *     k' = project_k k,  v' = project_v v,  out = softmax(q k'^T / sqrt(D)) v'
 *
 * q B H T D, k B H S D, v B H S E, project_k and project_v N S, shared by all heads; project_v
 * may be left out when it is project_k too. Hidden keys and values count as zeros in the
 * projections. A projection mixes all positions, so there is no causal form, and its S is that
 * of the data: shorter sequences are padded and masked. Rows of project_v that do not sum to 1
 * make outputs that are no averages. N = S and both the identity is softmax attention.
 * Wang et al. 2020 (2006.04768). */
#include "mech/mech.h"

enum { Q, K, V, PROJECT_K, PROJECT_V, MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B H T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B H S D", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B H S E", "values"},
    [PROJECT_K] = {"project_k", ATTN_PARAM | ATTN_GRAD, "N S", "keys along the sequence"},
    [PROJECT_V] = {"project_v", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "N S",
                   "values along the sequence; project_k"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B H T E", "answers"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B H T N", "of the projected keys"},
    {0}};

/* p N S times x B H S *, hidden rows 0. */
static attn_var linformer_project(const attn__build *b, attn_var p, attn_var x)
{
    return attn_tape_matmul(b->t, p, attn__mask_rows(b->t, x, b->in[MASK]));
}

static void linformer_build(const attn__build *b)
{
    const attn_var *in = b->in, none = {0};
    const attn_var project_v = attn__given(in[PROJECT_V]) ? in[PROJECT_V] : in[PROJECT_K];
    const attn_attention_vars vars = {.q = in[Q],
                                      .k = linformer_project(b, in[PROJECT_K], in[K]),
                                      .v = linformer_project(b, project_v, in[V])};
    b->out[OUT] = attn__attend(b->t, NULL, &vars, none, attn__build_output(b, WEIGHTS));
}

const attn_mech attn__mech_linformer = {
    .name = "linformer",
    .family = "lowrank",
    .about = "keys and values projected along the sequence to a few",
    .formula = "out = softmax(q (project_k k)^T / sqrt(D)) project_v v",
    .cost = "n k: time (T + S) N (D + E), memory T (D + E) + S N",
    .source = "2006.04768",
    .sizes = "B=1,H=2,T=5,S=6,D=4,E=4,N=3",
    .grows = "TS",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN_LINEAR_IN_V | ATTN_KEY_PERMUTABLE | ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO |
              ATTN_STREAMS,
    .build = linformer_build,
};
