/* SPDX-License-Identifier: MIT
 * A rule of one's own, on whole tiles of scores: a query sees every third key only, counted
 * back from itself. The same rule as a mask of T x S bytes gives the same bits; the callback
 * needs no such mask. Calls come from several threads, so user data is only read. */
#include <attn.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { H = 2, T = 270, D = 16, N = H * T * D };
static float q[N], k[N], v[N], by_callback[N], by_mask[N];
static unsigned char mask[T][T];

static void fill(float *x, int seed)
{
    for (int i = 0; i < N; i++) x[i] = (float)((i * 37 + seed * 11) % 101) / 50 - 1;
}

/* Writing -inf forbids a pair. The scores of f32 inputs are floats. */
static void every_third(void *user, const attn_tile *tile)
{
    const int64_t every = *(const int64_t *)user;
    float *s = tile->s;
    for (int64_t x = 0; x < tile->n_i; x++)
        for (int64_t y = 0; y < tile->n_j; y++)
            if ((tile->i0 + x - (tile->j0 + y)) % every != 0)
                s[x * tile->i_stride + y * tile->j_stride] = -INFINITY;
}

static attn_status attend(const attn_spec *spec, attn_tensor allowed, float *out,
                          attn_error *error)
{
    return attn_forward(NULL, spec,
                        &ATTN_ARGS(.q = ATTN_TENSOR(q, F32, 1, H, T, D),
                                   .k = ATTN_TENSOR(k, F32, 1, H, T, D),
                                   .v = ATTN_TENSOR(v, F32, 1, H, T, D), .mask = allowed,
                                   .out = ATTN_TENSOR(out, F32, 1, H, T, D)),
                        error);
}

int main(void)
{
    int64_t every = 3;
    attn_error error;
    const attn_tensor none = {0}, bytes = ATTN_TENSOR(mask, BOOL, T, T);
    fill(q, 1), fill(k, 2), fill(v, 3);
    for (int i = 0; i < T; i++)
        for (int j = 0; j < T; j++) mask[i][j] = (i - j) % 3 == 0;
    const attn_spec own = ATTN_SPEC(.causal = true, .tile = every_third, .user = &every);
    const attn_spec plain = ATTN_SPEC(.causal = true);
    if (attend(&own, none, by_callback, &error) != ATTN_OK) return puts(error.what), 1;
    if (attend(&plain, bytes, by_mask, &error) != ATTN_OK) return puts(error.what), 1;
    const int differ = memcmp(by_callback, by_mask, sizeof by_mask) != 0;
    printf("callback and mask: %s\n", differ ? "different" : "same bits");
    return differ;
}
