/* SPDX-License-Identifier: MIT
 * Sequences of different lengths in one call, without padding: they lie behind each other along
 * T, cu says where each begins. Each comes out as if it had been alone, to the bit. */
#include <attn.h>
#include <stdio.h>
#include <string.h>

enum { H = 3, D = 24, SEQUENCES = 4, TOKENS = 391 };
static const int32_t cu[SEQUENCES + 1] = {0, 7, 7, 300, TOKENS}; /* the second is empty */
static float q[H * TOKENS * D], k[H * TOKENS * D], v[H * TOKENS * D];
static float together[H * TOKENS * D], alone[H * TOKENS * D];

static void fill(float *x, int seed)
{
    for (int i = 0; i < H * TOKENS * D; i++)
        x[i] = (float)((i * 37 + seed * 11) % 101) / 50 - 1;
}

static attn_status all_at_once(attn_error *error)
{
    const attn_tensor begins = ATTN_TENSOR((void *)(uintptr_t)cu, I32, SEQUENCES + 1);
    return attn_forward(NULL, &ATTN_SPEC(.causal = true),
                        &ATTN_ARGS(.q = ATTN_TENSOR(q, F32, 1, H, TOKENS, D),
                                   .k = ATTN_TENSOR(k, F32, 1, H, TOKENS, D),
                                   .v = ATTN_TENSOR(v, F32, 1, H, TOKENS, D),
                                   .out = ATTN_TENSOR(together, F32, 1, H, TOKENS, D),
                                   .cu_q = begins, .cu_k = begins),
                        error);
}

/* Rows cu[b] .. cu[b + 1] of every head. */
static attn_tensor part(float *x, int b)
{
    return attn_tensor_slice(ATTN_TENSOR(x, F32, 1, H, TOKENS, D), 2, cu[b], cu[b + 1]);
}

static attn_status one_by_one(attn_error *error)
{
    attn_status status = ATTN_OK;
    for (int b = 0; status == ATTN_OK && b < SEQUENCES; b++)
        status = attn_forward(NULL, &ATTN_SPEC(.causal = true),
                              &ATTN_ARGS(.q = part(q, b), .k = part(k, b), .v = part(v, b),
                                         .out = part(alone, b)),
                              error);
    return status;
}

int main(void)
{
    attn_error error;
    fill(q, 1), fill(k, 2), fill(v, 3);
    if (all_at_once(&error) != ATTN_OK || one_by_one(&error) != ATTN_OK)
        return puts(error.what), 1;
    const int differ = memcmp(together, alone, sizeof alone) != 0;
    printf("%d sequences packed and alone: %s\n", SEQUENCES,
           differ ? "different" : "same bits");
    return differ;
}
