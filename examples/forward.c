/* SPDX-License-Identifier: MIT
 * One call. Eight query heads share two key/value heads; five new queries stand at the end of
 * twelve keys. Queries and keys are 0 here, so every output is the average of the values that
 * its query may see. These lines are those of the README. */
#include <attn.h>
#include <stdio.h>

enum { B = 1, H = 8, G = 2, T = 5, S = 12, D = 64 };
static float q[B * H * T * D], k[B * G * S * D], v[B * G * S * D], out[B * H * T * D];

int main(void)
{
    for (int i = 0; i < B * G * S * D; i++) v[i] = (float)(i / D); /* value j holds j */
    attn_spec spec = ATTN_SPEC(.causal = true, .align = ATTN_ALIGN_BOTTOM_RIGHT);
    attn_args args =
        ATTN_ARGS(.q = ATTN_TENSOR(q, F32, B, H, T, D), .k = ATTN_TENSOR(k, F32, B, G, S, D),
                  .v = ATTN_TENSOR(v, F32, B, G, S, D),
                  .out = ATTN_TENSOR(out, F32, B, H, T, D));
    attn_error error;
    if (attn_forward(NULL, &spec, &args, &error) != ATTN_OK) return puts(error.what), 1;
    printf("query 0 sees keys 0 to 7 and averages %g\n", (double)out[0]);
}
