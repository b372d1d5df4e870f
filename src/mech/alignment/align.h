/* SPDX-License-Identifier: MIT
 * What the alignments share: one data flow, q k v and a mask to out and weights, through the
 * fused engine. Each file of the family begins its tables with these rows and says what is
 * different. (align.c) */
#ifndef ATTN__MECH_ALIGN_H
#define ATTN__MECH_ALIGN_H

#include "mech/mech.h"

enum { Q, K, V, BIAS, MASK, OUT, WEIGHTS, ALIGN_SLOTS };
#define ALIGN_SLOT_ROWS                                                                        \
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B H T D", "queries"},                                    \
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B G S D", "keys; G divides H"},                          \
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B G S E", "values"},                                     \
    [BIAS] = {"bias", ATTN_IN | ATTN_GRAD | ATTN_OPTIONAL, "*B H T S",                         \
              "added to the scores; -inf hides a pair"},                                       \
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},       \
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B H T E", "the weighted sums of v"},                \
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B H T S", "of every pair"}

enum { SCALE, CAUSAL, ALIGN_PARAMS };
#define ALIGN_PARAM_ROWS                                                                       \
    [SCALE] = {"scale", 'f', "0", NULL, "factor of q.k; 0: 1 / sqrt(D)"},                      \
    [CAUSAL] = {"causal", 'b', "false", NULL, "query i sees keys j <= i"}

/* A table with nothing else. */
extern const attn_slot attn__align_slots[];
extern const attn_param attn__align_params[];

/* The rows of params in a spec; query i stands at key i. */
attn_spec attn__align_spec(const attn__build *b);
attn_attention_vars attn__align_vars(const attn__build *b);
/* The engine on them; weights: that output, where wanted. */
attn_var attn__align(const attn__build *b, const attn_spec *spec,
                     const attn_attention_vars *vars, attn_tensor weights);
/* The whole mechanism when only the spec is another one. */
void attn__align_run(const attn__build *b, const attn_spec *spec);

/* Scores become (score + Gumbel noise) / temperature; so the largest one is a draw from their
 * softmax, whatever the temperature. The seed and the temperature are two neighbouring params,
 * which live as long as the build. */
void attn__align_noise(attn_spec *spec, const attn_value *seed);

#endif
