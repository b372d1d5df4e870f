/* SPDX-License-Identifier: MIT
 * count_calls CASE: a call of one question by a plan, on one thread. Without arguments it names
 * what would be measured, the compiler and the kernel table, and then each case with the pairs of
 * a query and a key in the call. For test_instructions.py. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "support/support.h"

typedef struct count_case {
    const char *name;
    int64_t H, G, T, S, D;
    attn_dtype dtype;
    bool causal, backward;
} count_case;

static const count_case count_cases[] = {
    {"plain", 1, 1, 192, 512, 64, ATTN_DTYPE_F32, false, false},
    {"wide", 1, 1, 192, 512, 128, ATTN_DTYPE_F32, false, false},
    {"causal", 1, 1, 384, 384, 64, ATTN_DTYPE_F32, true, false},
    {"short", 2, 2, 128, 128, 64, ATTN_DTYPE_F32, false, false},
    {"short_causal", 2, 2, 128, 128, 64, ATTN_DTYPE_F32, true, false},
    {"bf16", 1, 1, 192, 512, 64, ATTN_DTYPE_BF16, false, false},
    {"backward", 1, 1, 192, 256, 64, ATTN_DTYPE_F32, false, true},
    {"backward_causal", 1, 1, 256, 256, 64, ATTN_DTYPE_F32, true, true},
    {"decode", 4, 1, 1, 4096, 128, ATTN_DTYPE_F32, true, false},
    {"decode_bf16", 4, 1, 1, 4096, 128, ATTN_DTYPE_BF16, true, false},
    {"verify", 4, 1, 8, 1024, 128, ATTN_DTYPE_F32, true, false},
};
enum { COUNT_CASES = (int)(sizeof count_cases / sizeof count_cases[0]) };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
static const char count_compiler[] = "a build for other checks";
#elif defined(__clang__)
static const char count_compiler[] = "clang";
#else
#    define COUNT_TEXT2(x) #    x
#    define COUNT_TEXT(x)  COUNT_TEXT2(x)
static const char count_compiler[] = "gcc " COUNT_TEXT(__GNUC__);
#endif

static attn_tensor count_operand(test_arena *arena, const count_case *c, int64_t heads,
                                 int64_t rows, uint64_t seed)
{
    const int64_t shape[] = {1, heads, rows, c->D};
    attn_tensor t = test_tensor(arena, c->dtype, 4, shape);
    test_rng rng = test_rng_make(seed);
    test_fill_range(&t, &rng, -1, 1);
    return t;
}

static attn_args count_args(test_arena *arena, const count_case *c)
{
    attn_args args = ATTN_ARGS(.q = count_operand(arena, c, c->H, c->T, 1),
                               .k = count_operand(arena, c, c->G, c->S, 2),
                               .v = count_operand(arena, c, c->G, c->S, 3),
                               .out = count_operand(arena, c, c->H, c->T, 4));
    if (!c->backward) return args;
    args.lse = TEST_TENSOR(arena, F32, 1, c->H, c->T);
    args.d_out = count_operand(arena, c, c->H, c->T, 5);
    args.d_q = count_operand(arena, c, c->H, c->T, 6);
    args.d_k = count_operand(arena, c, c->G, c->S, 7);
    args.d_v = count_operand(arena, c, c->G, c->S, 8);
    return args;
}

/* What is counted: a symbol that callgrind finds by its name. */
__attribute__((noinline)) attn_status count_call(const attn_plan *plan, const attn_args *args,
                                                 void *workspace, size_t size);
attn_status count_call(const attn_plan *plan, const attn_args *args, void *workspace,
                       size_t size)
{
    attn_status status = attn_plan_run(plan, args, workspace, size, NULL);
    return status == ATTN_OK ? ATTN_OK : status; /* no tail call */
}

/* The call, after the one that leaves out and lse; unless only the table's name is wanted. */
static attn_status count_run(attn_ctx *ctx, test_arena *arena, const count_case *c, bool call,
                             const char **isa)
{
    const attn_spec spec = ATTN_SPEC(.causal = c->causal, .align = ATTN_ALIGN_BOTTOM_RIGHT);
    const attn_args args = count_args(arena, c);
    attn_plan *plan = NULL;
    attn_plan_info info;
    attn_status status = call ? attn_forward(ctx, &spec, &args, NULL) : ATTN_OK;
    if (status == ATTN_OK)
        status = (c->backward ? attn_plan_create_backward : attn_plan_create)(&plan, ctx, &spec,
                                                                              &args, NULL);
    if (status != ATTN_OK) return status;
    attn_plan_describe(plan, &info);
    *isa = info.isa;
    const size_t size = attn_plan_workspace(plan);
    void *workspace = test_alloc(arena, size);
    if (call) status = count_call(plan, &args, workspace, size);
    attn_plan_destroy(plan);
    return status;
}

static const count_case *count_find(const char *name)
{
    for (int i = 0; i < COUNT_CASES; i++)
        if (strcmp(count_cases[i].name, name) == 0) return &count_cases[i];
    return NULL;
}

static void count_describe(const char *isa)
{
    printf("%s %s\n", count_compiler, isa);
    for (int i = 0; i < COUNT_CASES; i++) {
        const count_case *c = &count_cases[i];
        printf("%s %" PRId64 "\n", c->name, c->H * c->T * c->S);
    }
}

int main(int argc, char **argv)
{
    test_arena arena = {NULL};
    attn_ctx *ctx = NULL;
    const attn_config config = ATTN_CONFIG(.threads = 1);
    const count_case *c = argc < 2 ? &count_cases[0] : count_find(argv[1]);
    const char *isa = "";
    bool done = c && attn_ctx_create(&ctx, &config, NULL) == ATTN_OK;
    done = done && count_run(ctx, &arena, c, argc > 1, &isa) == ATTN_OK;
    if (done && argc < 2) count_describe(isa);
    attn_ctx_destroy(ctx);
    test_arena_reset(&arena);
    return !done;
}
