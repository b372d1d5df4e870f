/* SPDX-License-Identifier: MIT
 * For the programs test_norm and test_norm_edges: contexts of every instruction set, a call of
 * usual size. */
#ifndef ATTN_TESTS_NORM_CALL_H
#define ATTN_TESTS_NORM_CALL_H

#include "contexts.h"

#include <math.h>
#include <string.h>

static inline attn_ctx *norm_ctx(int i)
{
    return test_contexts_get(&contexts, contexts.usable[i], 1);
}

static inline void norm_near(const char *name, double got, double want, double by)
{
    if (!(fabs(got - want) <= by)) fail_msg("%s: %.9g instead of %.9g", name, got, want);
}

/* ---- a call of usual size -----------------------------------------------------------------
 */

enum { H = 2, T = 50, S = 700, D = 16, E = 8 };

static inline attn_args norm_call(test_arena *arena)
{
    test_rng rng = test_rng_make(4);
    attn_args a = ATTN_ARGS(.q = TEST_TENSOR(arena, F32, 1, H, T, D),
                            .k = TEST_TENSOR(arena, F32, 1, H, S, D),
                            .v = TEST_TENSOR(arena, F32, 1, H, S, E),
                            .out = TEST_TENSOR(arena, F32, 1, H, T, E));
    test_fill_normal(&a.q, &rng, 1);
    test_fill_normal(&a.k, &rng, 1);
    test_fill_normal(&a.v, &rng, 1);
    return a;
}

#endif
