/* SPDX-License-Identifier: MIT
 * count_forward CASE N: N forward passes of 512 queries over 512 keys, width 64, one head, one
 * thread; CASE is plain or causal. Without arguments it only names what would be measured: the
 * compiler, and the kernel table. For test_instructions.py. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"

enum { COUNT_LENGTH = 512, COUNT_WIDTH = 64 };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
static const char count_compiler[] = "a build for other checks";
#elif defined(__clang__)
static const char count_compiler[] = "clang";
#else
#    define COUNT_TEXT2(x) #    x
#    define COUNT_TEXT(x)  COUNT_TEXT2(x)
static const char count_compiler[] = "gcc " COUNT_TEXT(__GNUC__);
#endif

static attn_tensor count_operand(test_arena *arena, uint64_t seed)
{
    attn_tensor t = TEST_TENSOR(arena, F32, 1, 1, COUNT_LENGTH, COUNT_WIDTH);
    test_rng rng = test_rng_make(seed);
    test_fill_range(&t, &rng, -1, 1);
    return t;
}

static int count_describe(attn_ctx *ctx, const attn_spec *spec, const attn_args *args)
{
    attn_plan_info info;
    attn_plan *plan = NULL;
    if (attn_plan_create(&plan, ctx, spec, args, NULL) != ATTN_OK) return 1;
    attn_plan_describe(plan, &info);
    printf("%s %s\n", count_compiler, info.isa);
    attn_plan_destroy(plan);
    return 0;
}

int main(int argc, char **argv)
{
    test_arena arena = {NULL};
    attn_ctx *ctx = NULL;
    attn_config config = ATTN_CONFIG(.threads = 1);
    attn_spec spec = ATTN_SPEC(.causal = argc > 1 && strcmp(argv[1], "causal") == 0);
    attn_args args = ATTN_ARGS(.q = count_operand(&arena, 1), .k = count_operand(&arena, 2),
                               .v = count_operand(&arena, 3), .out = count_operand(&arena, 4));
    int failed = attn_ctx_create(&ctx, &config, NULL) != ATTN_OK;
    if (!failed && argc < 3) failed = count_describe(ctx, &spec, &args);
    for (int i = 0, n = argc < 3 ? 0 : atoi(argv[2]); i < n && !failed; i++)
        failed = attn_forward(ctx, &spec, &args, NULL) != ATTN_OK;
    attn_ctx_destroy(ctx);
    test_arena_reset(&arena);
    return failed;
}
