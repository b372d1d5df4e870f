/* SPDX-License-Identifier: MIT
 * Forward mode: how the outputs change when the inputs move, in one call and without a loss.
 * All keys drift by t_k; attn_jvp says how fast every output follows, beside the outputs
 * themselves. A second way to the same numbers is a small step; a third is attn_backward: for
 * any y, jvp(t_k) . y = t_k . vjp(y). All three are compared. */
#include <attn.h>
#include <math.h>
#include <stdio.h>

enum { H = 2, T = 37, D = 16, N = H * T * D };
static double q[N], k[N], v[N], drift[N], out[N], moved[N], t_out[N], y[N], d_k[N], lse[H * T];

static void fill(double *x, uint32_t seed)
{
    for (int i = 0; i < N; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (double)seed / 0x1p31 - 1;
    }
}

static attn_tensor heads(double *x)
{
    return ATTN_TENSOR(x, F64, 1, H, T, D);
}

static double dot(const double *a, const double *b)
{
    double sum = 0;
    for (int i = 0; i < N; i++) sum += a[i] * b[i];
    return sum;
}

int main(void)
{
    const attn_spec spec = ATTN_SPEC(.causal = true);
    const double step = 1e-6;
    double worst = 0;
    attn_error e;
    fill(q, 1), fill(k, 2), fill(v, 3), fill(drift, 4), fill(y, 5);
    attn_args args = ATTN_ARGS(.q = heads(q), .k = heads(k), .v = heads(v), .out = heads(out),
                               .lse = ATTN_TENSOR(lse, F64, 1, H, T), .t_k = heads(drift),
                               .t_out = heads(t_out), .d_out = heads(y), .d_k = heads(d_k));
    if (attn_jvp(NULL, &spec, &args, &e) != ATTN_OK) return puts(e.what), 1;
    if (attn_backward(NULL, &spec, &args, &e) != ATTN_OK) return puts(e.what), 1;
    for (int i = 0; i < N; i++) k[i] += step * drift[i];
    args.out = heads(moved);
    if (attn_forward(NULL, &spec, &args, &e) != ATTN_OK) return puts(e.what), 1;
    for (int i = 0; i < N; i++)
        worst = fmax(worst, fabs((moved[i] - out[i]) / step - t_out[i]));
    const double apart = fabs(dot(t_out, y) - dot(drift, d_k));
    printf("jvp . y = %.6f, t_k . vjp(y) = %.6f\n", dot(t_out, y), dot(drift, d_k));
    printf("a step of %g agrees to %.0e\n", step, worst);
    return !(worst < 1e-4 && apart < 1e-10);
}
