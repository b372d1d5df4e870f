/* SPDX-License-Identifier: MIT
 * Token by token. Keys and values grow in a buffer of fixed capacity, k_len says how far; the
 * one query of a step stands at the last key. Lengths are contents, not shapes, so one plan
 * serves every step. At the end each step is compared with its row of one call over all
 * tokens: they are the same bits. */
#include <attn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { H = 4, G = 2, D = 16, TOKENS = 300 };
static float q[H * TOKENS * D], k[G * TOKENS * D], v[G * TOKENS * D];
static float whole[H * TOKENS * D], step[H * D];

static void fill(float *x, int n, int seed)
{
    for (int i = 0; i < n; i++) x[i] = (float)((i * 37 + seed * 11) % 101) / 50 - 1;
}

static attn_status prefill(attn_error *error)
{
    return attn_forward(NULL, &ATTN_SPEC(.causal = true),
                        &ATTN_ARGS(.q = ATTN_TENSOR(q, F32, 1, H, TOKENS, D),
                                   .k = ATTN_TENSOR(k, F32, 1, G, TOKENS, D),
                                   .v = ATTN_TENSOR(v, F32, 1, G, TOKENS, D),
                                   .out = ATTN_TENSOR(whole, F32, 1, H, TOKENS, D)),
                        error);
}

/* All steps by one plan; returns how many rows differ from the prefill, -1 on failure. */
static int decode(const attn_plan *plan, attn_args *args, int64_t *length, void *workspace)
{
    int differing = 0;
    for (int t = 0; t < TOKENS; t++) {
        *length = t + 1;
        args->q.data = q + t * D; /* row t of every head */
        if (attn_plan_run(plan, args, workspace, attn_plan_workspace(plan), NULL) != ATTN_OK)
            return -1;
        for (int h = 0; h < H; h++)
            differing +=
                memcmp(step + h * D, whole + (h * TOKENS + t) * D, sizeof step / H) != 0;
    }
    return differing;
}

int main(void)
{
    int64_t length = 0;
    const attn_tensor all = ATTN_TENSOR(q, F32, 1, H, TOKENS, D);
    const attn_spec spec = ATTN_SPEC(.causal = true, .align = ATTN_ALIGN_BOTTOM_RIGHT);
    attn_args args = ATTN_ARGS(.q = attn_tensor_slice(all, 2, 0, 1),
                               .k = ATTN_TENSOR(k, F32, 1, G, TOKENS, D),
                               .v = ATTN_TENSOR(v, F32, 1, G, TOKENS, D),
                               .k_len = ATTN_TENSOR(&length, I64, 1),
                               .out = ATTN_TENSOR(step, F32, 1, H, 1, D));
    attn_plan *plan = NULL;
    attn_error error;
    fill(q, H * TOKENS * D, 1), fill(k, G * TOKENS * D, 2), fill(v, G * TOKENS * D, 3);
    if (prefill(&error) != ATTN_OK) return 1;
    if (attn_plan_create(&plan, NULL, &spec, &args, &error) != ATTN_OK) return 1;
    void *workspace = aligned_alloc(64, attn_plan_workspace(plan));
    const int differing = workspace ? decode(plan, &args, &length, workspace) : -1;
    printf("%d steps, %d heads: %d rows differ from the prefill\n", TOKENS, H, differing);
    free(workspace);
    attn_plan_destroy(plan);
    return differing != 0;
}
