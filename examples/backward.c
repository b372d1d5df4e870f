/* SPDX-License-Identifier: MIT
 * Learning without a framework: attn_backward gives gradients, the rest is a loop. A teacher
 * prefers keys by their distance, which a bias of H x T x S, shared by the batch, expresses.
 * The pupil starts with a bias of 0 and sees only the teacher's outputs; every step it goes
 * forward, takes the distance of its outputs from the teacher's, goes backward to the bias, and
 * moves it a little. Its gradient is summed over the batch by the call itself. */
#include <attn.h>
#include <stdio.h>

enum { B = 16, H = 2, T = 8, D = 16, STEPS = 200, N = B * H * T * D, PAIRS = H * T * T };
static float q[N], k[N], v[N], want[N], out[N], d_out[N], lse[B * H * T];
static float teacher[PAIRS], bias[PAIRS], d_bias[PAIRS];

static void fill(float *x, uint32_t seed)
{
    for (int i = 0; i < N; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 16) / 32768 - 1;
    }
}

/* One struct serves both ways: each call takes what it needs. */
static attn_args call(float *with, float *to)
{
    const int64_t rows[] = {B, H, T, D};
    return ATTN_ARGS(.q = attn_tensor_make(q, ATTN_DTYPE_F32, 4, rows),
                     .k = attn_tensor_make(k, ATTN_DTYPE_F32, 4, rows),
                     .v = attn_tensor_make(v, ATTN_DTYPE_F32, 4, rows),
                     .out = attn_tensor_make(to, ATTN_DTYPE_F32, 4, rows),
                     .lse = ATTN_TENSOR(lse, F32, B, H, T),
                     .bias = ATTN_TENSOR(with, F32, H, T, T),
                     .d_out = attn_tensor_make(d_out, ATTN_DTYPE_F32, 4, rows),
                     .d_bias = ATTN_TENSOR(d_bias, F32, H, T, T));
}

/* Half the squared distance from the teacher for each sequence, and its gradient by out. */
static double distance(void)
{
    double sum = 0;
    for (int i = 0; i < N; i++) {
        d_out[i] = (out[i] - want[i]) / B;
        sum += 0.5 * B * (double)d_out[i] * (double)d_out[i];
    }
    return sum;
}

int main(void)
{
    const attn_spec spec = ATTN_SPEC(.causal = true);
    double first = 0, loss = 0;
    attn_error error;
    fill(q, 1), fill(k, 2), fill(v, 3);
    for (int i = 0; i < PAIRS; i++) /* head 0 looks back far, head 1 at what is near */
        teacher[i] = (i < PAIRS / 2 ? 0.5f : -0.5f) * (float)(i / T % T - i % T);
    attn_args args = call(teacher, want);
    if (attn_forward(NULL, &spec, &args, &error) != ATTN_OK) return puts(error.what), 1;
    args = call(bias, out);
    for (int step = 0; step <= STEPS; step++) {
        if (attn_forward(NULL, &spec, &args, &error) != ATTN_OK) return puts(error.what), 1;
        loss = distance();
        if (attn_backward(NULL, &spec, &args, &error) != ATTN_OK) return puts(error.what), 1;
        for (int i = 0; i < PAIRS; i++) bias[i] -= d_bias[i];
        if (step == 0) first = loss;
        if (step % 50 == 0) printf("step %3d  loss %.5f\n", step, loss);
    }
    puts("bias of the last query, beside the teacher's, both from its own key on:");
    for (int j = 0; j < T; j++)
        printf("  %5.2f %5.2f\n", (double)(bias[PAIRS - T + j] - bias[PAIRS - 1]),
               (double)(teacher[PAIRS - T + j] - teacher[PAIRS - 1]));
    return !(loss < first / 100);
}
