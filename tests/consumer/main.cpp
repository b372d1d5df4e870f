/* SPDX-License-Identifier: MIT
 * main.c for a C++17 user: no compound literals, the same call. */
#include <attn.h>
#include <cstdio>
#include <string>

static attn_tensor matrix(float *data, int64_t rows, int64_t cols)
{
    const int64_t shape[] = {1, 1, rows, cols};
    return attn_tensor_make(data, ATTN_DTYPE_F32, 4, shape);
}

int main()
{
    float q[] = {1, 1}, k[] = {2, 0, 0, 2}, v[] = {1, 2, 3, 4}, out[] = {0, 0};
    attn_args args = {};
    args.size = sizeof args;
    args.q = matrix(q, 1, 2);
    args.k = matrix(k, 2, 2);
    args.v = matrix(v, 2, 2);
    args.out = matrix(out, 1, 2);
    attn_status status = attn_forward(nullptr, nullptr, &args, nullptr);
    std::printf("attn %s: %s %g %g\n", attn_version(), attn_status_name(status),
                static_cast<double>(out[0]), static_cast<double>(out[1]));
    return status != ATTN_OK || std::string(attn_version()) != ATTN_VERSION || out[0] != 2 ||
           out[1] != 3;
}
