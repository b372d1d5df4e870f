/* SPDX-License-Identifier: MIT
 * Pictures B C Y X: their pixels as a sequence, their rows and columns as sequences, and
 * convolutions that keep the size. */
#include "mech/mech.h"

int64_t attn__size_times(attn_tape *t, int64_t a, int64_t b)
{
    int64_t product = 0;
    if (!attn__mul(a, b, &product))
        (void)attn__var_fail(t, ATTN_E_OVERFLOW, "size", "too many elements", a, b);
    return product;
}

attn_var attn__pixels(attn_tape *t, attn_var x)
{
    const attn_tensor v = attn_tape_value(t, x);
    if (!attn__present(&v)) return (attn_var){0};
    const int64_t area = attn__size_times(t, v.shape[2], v.shape[3]);
    const attn_var rows = attn_tape_reshape(t, x, ATTN_DIMS(v.shape[0], v.shape[1], area));
    return attn_tape_transpose(t, rows, 1, 2);
}

attn_var attn__pixels_back(attn_tape *t, attn_var pixels, attn_var like)
{
    const attn_tensor v = attn_tape_value(t, pixels), x = attn_tape_value(t, like);
    if (!attn__present(&v) || !attn__present(&x)) return (attn_var){0};
    return attn_tape_reshape(t, attn_tape_transpose(t, pixels, 1, 2),
                             ATTN_DIMS(v.shape[0], v.shape[2], x.shape[2], x.shape[3]));
}

attn_var attn__picture_mean(attn_tape *t, attn_var x, attn_dims dims)
{
    const attn_tensor v = attn_tape_value(t, x);
    if (attn__present(&v) && attn_tensor_count(v) == 0) return attn_tape_sum(t, x, dims, false);
    return attn_tape_mean(t, x, dims, false);
}

attn_var attn__conv_1x1(attn_tape *t, attn_var x, attn_var w, attn_var b)
{
    attn_var kernel = attn_tape_unsqueeze(t, attn_tape_unsqueeze(t, w, 2), 3);
    return attn_tape_conv2d(t, x, kernel, b, NULL);
}

attn_var attn__conv_same(attn_tape *t, attn_var x, attn_var w, attn_var b, int64_t dilation)
{
    const attn_tensor v = attn_tape_value(t, w);
    if (!attn__present(&v)) return (attn_var){0};
    const int64_t high = v.shape[2], wide = v.shape[3];
    if (high % 2 == 0 || wide % 2 == 0)
        return attn__var_fail(t, ATTN_E_SHAPE, "kernel",
                              "its sides must be odd for the picture to keep its size", 3,
                              high % 2 == 0 ? high : wide);
    if (dilation < 1 || dilation > INT32_MAX)
        return attn__var_fail(t, ATTN_E_PARAM, "kernel", "its rate must be positive", 1,
                              dilation);
    const attn_conv conv = {.dilation = {dilation, dilation},
                            .padding = {high / 2 * dilation, wide / 2 * dilation}};
    return attn_tape_conv2d(t, x, w, b, &conv);
}

attn_tensor attn__dense_as(attn_tensor dense, attn_dims shape)
{
    if (!attn__present(&dense)) return dense;
    return attn_tensor_make(dense.data, dense.dtype, shape.n, shape.at);
}

attn_var attn__lines(attn_tape *t, attn_var x, bool along_x)
{
    const attn_tensor v = attn_tape_value(t, x);
    if (!attn__present(&v)) return (attn_var){0};
    const int64_t lines = attn__size_times(t, v.shape[0], v.shape[along_x ? 2 : 3]);
    const attn_dims order = along_x ? ATTN_DIMS(0, 2, 3, 1) : ATTN_DIMS(0, 3, 2, 1);
    return attn_tape_reshape(t, attn_tape_permute(t, x, order),
                             ATTN_DIMS(lines, v.shape[along_x ? 3 : 2], v.shape[1]));
}

attn_var attn__lines_back(attn_tape *t, attn_var lines, attn_var like, bool along_x)
{
    const attn_tensor v = attn_tape_value(t, lines), x = attn_tape_value(t, like);
    if (!attn__present(&v) || !attn__present(&x)) return (attn_var){0};
    const int64_t outer = x.shape[along_x ? 2 : 3], inner = x.shape[along_x ? 3 : 2];
    const attn_var apart =
        attn_tape_reshape(t, lines, ATTN_DIMS(x.shape[0], outer, inner, v.shape[2]));
    return attn_tape_permute(t, apart, along_x ? ATTN_DIMS(0, 3, 1, 2) : ATTN_DIMS(0, 3, 2, 1));
}

attn_var attn__flag_lines(attn_tape *t, attn_var flags, bool along_x)
{
    if (!attn__given(flags)) return flags;
    const attn_var lines = attn__lines(t, attn_tape_unsqueeze(t, flags, 1), along_x);
    return attn_tape_squeeze(t, lines, 2);
}
