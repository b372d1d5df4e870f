/* SPDX-License-Identifier: MIT
 * Attention as a recurrence, token by token: a gated delta rule whose memory is a state of D x
 * E numbers for each key/value head, however long the text grows. The first half is read in one
 * call, which leaves its state; then one plan steps that state on in its own place. At the end
 * each row is compared with that of one call over all tokens: they are the same bits. */
#include <attn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { H = 4, G = 2, D = 16, TOKENS = 600, PROMPT = 300 };
static float q[H * TOKENS * D], k[G * TOKENS * D], v[G * TOKENS * D];
static float decay[G * TOKENS], beta[G * TOKENS];
static float whole[H * TOKENS * D], step[H * D];
static double state[G * D * D]; /* f64: what it holds is never rounded */

static void fill(float *x, int n, float from, float to, int seed)
{
    for (int i = 0; i < n; i++)
        x[i] = from + (to - from) * (float)((i * 37 + seed * 11) % 101) / 100;
}

static void fill_all(void)
{
    fill(q, H * TOKENS * D, -1, 1, 1);
    fill(k, G * TOKENS * D, -0.25f, 0.25f, 2);
    fill(v, G * TOKENS * D, -1, 1, 3);
    fill(decay, G * TOKENS, -0.1f, 0, 4);
    fill(beta, G * TOKENS, 0, 1, 5);
}

/* Tokens from .. to of everything. */
static attn_scan_args tokens(int from, int to)
{
    return ATTN_SCAN_ARGS(
            .q = attn_tensor_slice(ATTN_TENSOR(q, F32, 1, H, TOKENS, D), 2, from, to),
            .k = attn_tensor_slice(ATTN_TENSOR(k, F32, 1, G, TOKENS, D), 2, from, to),
            .v = attn_tensor_slice(ATTN_TENSOR(v, F32, 1, G, TOKENS, D), 2, from, to),
            .decay = attn_tensor_slice(ATTN_TENSOR(decay, F32, 1, G, TOKENS), 2, from, to),
            .beta = attn_tensor_slice(ATTN_TENSOR(beta, F32, 1, G, TOKENS), 2, from, to));
}

static attn_tensor state_tensor(void)
{
    return ATTN_TENSOR(state, F64, 1, G, D, D);
}

/* All steps by one plan; returns how many rows differ from the whole, -1 on failure. */
static int decode(const attn_scan_plan *plan, void *workspace)
{
    int differing = 0;
    for (int t = PROMPT; t < TOKENS; t++) {
        attn_scan_args args = tokens(t, t + 1);
        args.state = args.final_state = state_tensor();
        args.out = ATTN_TENSOR(step, F32, 1, H, 1, D);
        if (attn_scan_plan_run(plan, &args, workspace, attn_scan_plan_workspace(plan), NULL) !=
            ATTN_OK)
            return -1;
        for (int h = 0; h < H; h++)
            differing +=
                memcmp(step + h * D, whole + (h * TOKENS + t) * D, sizeof step / H) != 0;
    }
    return differing;
}

int main(void)
{
    const attn_scan_spec spec = ATTN_SCAN_SPEC(.update = ATTN_SCAN_DELTA);
    attn_scan_args all = tokens(0, TOKENS), prompt = tokens(0, PROMPT), one = tokens(0, 1);
    attn_scan_plan *plan = NULL;
    fill_all();
    all.out = ATTN_TENSOR(whole, F32, 1, H, TOKENS, D);
    prompt.final_state = one.state = one.final_state = state_tensor();
    one.out = ATTN_TENSOR(step, F32, 1, H, 1, D);
    if (attn_scan_forward(NULL, &spec, &all, NULL) != ATTN_OK) return 1;
    if (attn_scan_forward(NULL, &spec, &prompt, NULL) != ATTN_OK) return 1;
    if (attn_scan_plan_create(&plan, NULL, &spec, &one, NULL) != ATTN_OK) return 1;
    void *workspace = aligned_alloc(64, attn_scan_plan_workspace(plan));
    const int differing = workspace ? decode(plan, workspace) : -1;
    printf("%d steps, %d heads, a state of %zu bytes: %d rows differ from the whole\n",
           TOKENS - PROMPT, H, sizeof state, differing);
    free(workspace);
    attn_scan_plan_destroy(plan);
    return differing != 0;
}
