/* SPDX-License-Identifier: MIT
 * The parts of `attn verify`: one small problem for a mechanism, and the checks on it. */
#ifndef ATTN_CLI_VERIFY_H
#define ATTN_CLI_VERIFY_H

#include "cli.h"

/* One problem: inputs filled, required outputs allocated. */
typedef struct verify_problem {
    const attn_mech *mech;
    attn_tensor slots[ATTN_MAX_SLOTS];
    attn_value params[ATTN_MAX_PARAMS];
} verify_problem;

/* What a check found: error against what is allowed. A check that does not apply to a mechanism
 * says so. error is inf when the call itself failed. */
typedef struct verify_finding {
    bool applies;
    double error, allowed;
} verify_finding;

bool verify_init(verify_problem *p, const attn_mech *mech);
void verify_destroy(verify_problem *p);
/* Runs into out, dense f32 like the mechanism's first output; false when the library refuses.
 */
bool verify_run(const verify_problem *p, attn_ctx *ctx, attn_tensor out);
int verify_output(const attn_mech *mech);               /* its first output slot */
attn_tensor verify_new_output(const verify_problem *p); /* absent without memory */
/* Sets "name=value name=value"; false when the mechanism has no such parameter. */
bool verify_set(verify_problem *p, const char *params);
/* The largest |a - b| over the largest of |b| and 1; inf for a NaN. */
double verify_difference(attn_tensor a, attn_tensor b);
bool verify_same_bits(attn_tensor a, attn_tensor b);

/* ---- verify_gold.c ------------------------------------------------------------------- */

/* Recorded values; row i, false past the end. */
bool verify_gold(int i, const attn_mech *mech, attn_ctx *ctx, const char **name,
                 verify_finding *finding);

/* ---- verify_recorded.c --------------------------------------------------------------- */

/* What the oracle found for the mechanism's small call: false when there is no such record. */
bool verify_recorded(const attn_mech *mech, attn_ctx *ctx, verify_finding *finding);

/* ---- verify_promise.c ---------------------------------------------------------------- */

/* Promises of the mechanism's traits and of the numeric contract; check i, false past the end.
 */
bool verify_promise(int i, const verify_problem *p, attn_ctx *ctx, const char **name,
                    verify_finding *finding);

/* ---- verify_cache.c ------------------------------------------------------------------ */

/* Of softmax: 0 when decoding over a cache gives the bits of prefill, else inf. */
double verify_cache(const verify_problem *p, attn_ctx *ctx);

/* ---- verify_grad.c ------------------------------------------------------------------- */

bool verify_differentiable(const attn_mech *mech);
/* Gradients of all inputs of floats for d_out, one behind the other in a new array, absent when
 * it failed; d_slots are views of it. */
attn_tensor verify_gradients(const verify_problem *p, attn_ctx *ctx, attn_tensor out,
                             attn_tensor d_out, attn_tensor *d_slots);
attn_tensor verify_random_gradients(const verify_problem *p, attn_ctx *ctx);
/* Checks of gradients, as above. */
bool verify_grad(int i, const verify_problem *p, attn_ctx *ctx, const char **name,
                 verify_finding *finding);

#endif
