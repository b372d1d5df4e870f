/* SPDX-License-Identifier: MIT
 * Plan once, run often. The check, the choices and the memory are settled before the loop; a
 * run allocates nothing. The same plan may run on several threads at once when each brings its
 * own workspace. */
#include <attn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { H = 4, T = 100, D = 32, N = H * T * D, ROUNDS = 3 };
static float q[N], k[N], v[N], out[N], again[N];

static void fill(float *x, int seed)
{
    for (int i = 0; i < N; i++) x[i] = (float)((i * 37 + seed * 11) % 101) / 50 - 1;
}

static int fail(const attn_error *error)
{
    char text[160];
    attn_error_text(error, text, sizeof text);
    fprintf(stderr, "%s\n", text);
    return 1;
}

/* New data, the plan, and one call of its own: the same bits. */
static int run(const attn_plan *plan, attn_args *args, void *workspace, int round)
{
    const attn_spec spec = ATTN_SPEC(.causal = true);
    attn_error error;
    fill(q, round), fill(k, round + 7), fill(v, round + 13);
    args->out.data = out;
    if (attn_plan_run(plan, args, workspace, attn_plan_workspace(plan), &error) != ATTN_OK)
        return fail(&error);
    args->out.data = again;
    if (attn_forward(NULL, &spec, args, &error) != ATTN_OK) return fail(&error);
    return memcmp(out, again, sizeof out) != 0;
}

int main(void)
{
    const attn_spec spec = ATTN_SPEC(.causal = true);
    const attn_tensor x = ATTN_TENSOR(NULL, F32, 1, H, T, D);
    attn_args args = ATTN_ARGS(.q = x, .k = x, .v = x, .out = x);
    attn_ctx *ctx = NULL;
    attn_plan *plan = NULL;
    attn_plan_info info;
    attn_error error;
    if (attn_ctx_create(&ctx, &ATTN_CONFIG(.threads = 2), &error) != ATTN_OK ||
        attn_plan_create(&plan, ctx, &spec, &args, &error) != ATTN_OK)
        return fail(&error);
    attn_plan_describe(plan, &info);
    printf("%s arithmetic, chunks of %d keys, up to %d queries at once\n",
           attn_dtype_name(info.arithmetic), (int)info.chunk, (int)info.panel);
    void *workspace = aligned_alloc(64, attn_plan_workspace(plan)); /* a multiple of 64 */
    args.q.data = q, args.k.data = k, args.v.data = v;
    int wrong = !workspace;
    for (int round = 0; !wrong && round < ROUNDS; round++)
        wrong = run(plan, &args, workspace, round);
    puts(wrong ? "failed" : "same bits as single calls");
    free(workspace);
    attn_plan_destroy(plan);
    attn_ctx_destroy(ctx);
    return wrong;
}
