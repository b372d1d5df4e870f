/* SPDX-License-Identifier: MIT
 * The rows of test_grad_bad: one broken rule each. The good call is q 2 4 5 8, k 2 2 7 8,
 * v 2 2 7 6, bias 4 5 7, rel_k 4 3 8, f32, with all their gradients and some tangents. */

#define AT(field) offsetof(attn_args, field)
#define TENSOR(field, TYPE, rank, ...)                                                         \
    AT(field), 'T', ATTN_DTYPE_##TYPE, (rank),                                                 \
    {                                                                                          \
        __VA_ARGS__                                                                            \
    }
#define ABSENT(field)                                                                          \
    AT(field), 'A', ATTN_DTYPE_NONE, 0,                                                        \
    {                                                                                          \
        0                                                                                      \
    }
#define NODATA(field)                                                                          \
    AT(field), 'N', ATTN_DTYPE_NONE, 0,                                                        \
    {                                                                                          \
        0                                                                                      \
    }
#define REPEATED(field)                                                                        \
    AT(field), '0', ATTN_DTYPE_NONE, 0,                                                        \
    {                                                                                          \
        0                                                                                      \
    }
#define SHIFTED(field)                                                                         \
    AT(field), '+', ATTN_DTYPE_NONE, 0,                                                        \
    {                                                                                          \
        0                                                                                      \
    }
#define OVER(field, from)                                                                      \
    AT(field), 'S', ATTN_DTYPE_NONE, 0,                                                        \
    {                                                                                          \
        (int64_t) AT(from)                                                                     \
    }

/* clang-format off */
static const bad_row rows_backward[] = {
    {"no q", ABSENT(q), ATTN_E_NULL, "q", STATIC},
    {"no k", ABSENT(k), ATTN_E_NULL, "k", STATIC},
    {"no v", ABSENT(v), ATTN_E_NULL, "v", STATIC},
    {"no lse", ABSENT(lse), ATTN_E_STATS, "lse", STATIC},
    {"no out", ABSENT(out), ATTN_E_STATS, "out", STATIC},
    {"lse of more queries", TENSOR(lse, F32, 3, B, H, T + 1), ATTN_E_STATS, "lse", STATIC},
    {"lse of key heads", TENSOR(lse, F32, 3, B, G, T), ATTN_E_STATS, "lse", STATIC},
    {"lse in bf16", TENSOR(lse, BF16, 3, B, H, T), ATTN_E_STATS, "lse", STATIC},
    {"lse in f16", TENSOR(lse, F16, 3, B, H, T), ATTN_E_STATS, "lse", STATIC},
    {"lse of integers", TENSOR(lse, I32, 3, B, H, T), ATTN_E_DTYPE, "lse", STATIC},
    {"lse in f32 of an f64 call", TENSOR(q, F64, 4, B, H, T, D), ATTN_E_STATS, "lse", STATIC},
    {"out of another width", TENSOR(out, F32, 4, B, H, T, E + 1), ATTN_E_STATS, "out", STATIC},
    {"d_out of another width", TENSOR(d_out, F32, 4, B, H, T, D), ATTN_E_SHAPE, "d_out", STATIC},
    {"d_out of fewer queries", TENSOR(d_out, F32, 4, B, H, T - 1, E), ATTN_E_SHAPE, "d_out", STATIC},
    {"d_out without heads", TENSOR(d_out, F32, 3, B, T, E), ATTN_E_RANK, "d_out", STATIC},
    {"d_out of bytes", TENSOR(d_out, U8, 4, B, H, T, E), ATTN_E_DTYPE, "d_out", STATIC},
    {"d_lse of one more dimension", TENSOR(d_lse, F32, 4, B, H, T, 1), ATTN_E_RANK, "d_lse", STATIC},
    {"d_lse of keys", TENSOR(d_lse, F32, 3, B, H, S), ATTN_E_SHAPE, "d_lse", STATIC},
    {"d_q of key heads", TENSOR(d_q, F32, 4, B, G, T, D), ATTN_E_SHAPE, "d_q", STATIC},
    {"d_k of query heads", TENSOR(d_k, F32, 4, B, H, S, D), ATTN_E_SHAPE, "d_k", STATIC},
    {"d_v of the width of k", TENSOR(d_v, F32, 4, B, G, S, D), ATTN_E_SHAPE, "d_v", STATIC},
    {"d_q of integers", TENSOR(d_q, I64, 4, B, H, T, D), ATTN_E_DTYPE, "d_q", STATIC},
    {"d_bias with the batch", TENSOR(d_bias, F32, 4, B, H, T, S), ATTN_E_RANK, "d_bias", STATIC},
    {"d_bias for one head", TENSOR(d_bias, F32, 3, 1, T, S), ATTN_E_SHAPE, "d_bias", STATIC},
    {"d_bias without bias", ABSENT(bias), ATTN_E_PARAM, "d_bias", STATIC},
    {"d_sink without sink", TENSOR(d_sink, F32, 1, H), ATTN_E_PARAM, "d_sink", STATIC},
    {"d_alibi without alibi", TENSOR(d_alibi, F32, 1, H), ATTN_E_PARAM, "d_alibi", STATIC},
    {"d_mask without mask", TENSOR(d_mask, F32, 2, T, S), ATTN_E_PARAM, "d_mask", STATIC},
    {"d_bias_pre without bias_pre", TENSOR(d_bias_pre, F32, 2, T, S), ATTN_E_PARAM, "d_bias_pre", STATIC},
    {"d_rel_table without rel_table", TENSOR(d_rel_table, F32, 2, H, 3), ATTN_E_PARAM, "d_rel_table", STATIC},
    {"d_rel_v without rel_v", TENSOR(d_rel_v, F32, 3, H, R, E), ATTN_E_PARAM, "d_rel_v", STATIC},
    {"d_rel_k of other reach", TENSOR(d_rel_k, F32, 3, H, R + 2, D), ATTN_E_SHAPE, "d_rel_k", STATIC},
    {"d_q repeats rows", REPEATED(d_q), ATTN_E_ALIAS, "d_q", STATIC},
    {"d_bias repeats heads", REPEATED(d_bias), ATTN_E_ALIAS, "d_bias", STATIC},
    {"d_q over q", OVER(d_q, q), ATTN_E_ALIAS, "d_q", LATE},
    {"d_q over d_out", OVER(d_q, d_out), ATTN_E_ALIAS, "d_q", LATE},
    {"d_q over lse", OVER(d_q, lse), ATTN_E_ALIAS, "d_q", LATE},
    {"d_v over out", OVER(d_v, out), ATTN_E_ALIAS, "d_v", LATE},
    {"d_v over d_k", OVER(d_v, d_k), ATTN_E_ALIAS, NULL, LATE},
    {"d_bias over bias", OVER(d_bias, bias), ATTN_E_ALIAS, "d_bias", LATE},
    {"d_rel_k over rel_k", OVER(d_rel_k, rel_k), ATTN_E_ALIAS, "d_rel_k", LATE},
    {"d_out without data", NODATA(d_out), ATTN_E_NULL, "d_out", LATE},
    {"lse without data", NODATA(lse), ATTN_E_NULL, "lse", LATE},
    {"out without data", NODATA(out), ATTN_E_NULL, "out", LATE},
    {"d_q without data", NODATA(d_q), ATTN_E_NULL, "d_q", LATE},
    {"d_rel_k without data", NODATA(d_rel_k), ATTN_E_NULL, "d_rel_k", LATE},
    {"d_k off its alignment", SHIFTED(d_k), ATTN_E_ALIGN, "d_k", LATE},
    {"d_lse off its alignment", SHIFTED(d_lse), ATTN_E_ALIGN, "d_lse", LATE},
};

static const bad_row rows_jvp[] = {
    {"no q", ABSENT(q), ATTN_E_NULL, "q", STATIC},
    {"t_q of key heads", TENSOR(t_q, F32, 4, B, G, T, D), ATTN_E_SHAPE, "t_q", STATIC},
    {"t_k of query heads", TENSOR(t_k, F32, 4, B, H, S, D), ATTN_E_SHAPE, "t_k", STATIC},
    {"t_v of the width of k", TENSOR(t_v, F32, 4, B, G, S, D), ATTN_E_SHAPE, "t_v", STATIC},
    {"t_q without heads", TENSOR(t_q, F32, 3, B, T, D), ATTN_E_RANK, "t_q", STATIC},
    {"t_q of integers", TENSOR(t_q, I32, 4, B, H, T, D), ATTN_E_DTYPE, "t_q", STATIC},
    {"t_bias without bias", ABSENT(bias), ATTN_E_PARAM, "t_bias", STATIC},
    {"t_bias with the batch", TENSOR(t_bias, F32, 4, B, H, T, S), ATTN_E_RANK, "t_bias", STATIC},
    {"t_bias_pre without bias_pre", TENSOR(t_bias_pre, F32, 2, T, S), ATTN_E_PARAM, "t_bias_pre", STATIC},
    {"t_out of another width", TENSOR(t_out, F32, 4, B, H, T, D), ATTN_E_SHAPE, "t_out", STATIC},
    {"t_lse of keys", TENSOR(t_lse, F32, 3, B, H, S), ATTN_E_SHAPE, "t_lse", STATIC},
    {"t_out of bytes", TENSOR(t_out, BOOL, 4, B, H, T, E), ATTN_E_DTYPE, "t_out", STATIC},
    {"t_out repeats rows", REPEATED(t_out), ATTN_E_ALIAS, "t_out", STATIC},
    {"t_out over q", OVER(t_out, q), ATTN_E_ALIAS, "t_out", LATE},
    {"t_out over t_q", OVER(t_out, t_q), ATTN_E_ALIAS, "t_out", LATE},
    {"t_out over out", OVER(t_out, out), ATTN_E_ALIAS, NULL, LATE},
    {"t_lse over t_out", OVER(t_lse, t_out), ATTN_E_ALIAS, NULL, LATE},
    {"t_k without data", NODATA(t_k), ATTN_E_NULL, "t_k", LATE},
    {"t_out without data", NODATA(t_out), ATTN_E_NULL, "t_out", LATE},
    {"t_lse off its alignment", SHIFTED(t_lse), ATTN_E_ALIGN, "t_lse", LATE},
};
/* clang-format on */
