/* SPDX-License-Identifier: MIT
 * Failures others had with positions: causal masks when T and S differ, windows off by one,
 * caches, ALiBi in decoding, sequences of no or one element, packed sequences. Most count the
 * keys a row sees, which no shared mistake of an oracle can hide. */
#include "regression.h"

static const attn_dtype f32 = ATTN_DTYPE_F32;

static void reg_run_counting(const attn_spec *spec, const attn_args *a, int isa)
{
    safety_run(safety_isa(isa), spec, a);
}

/* Row i of a T x S call sees keys i + offset - left .. i + offset + right, cut to 0 .. S-1. */
static void reg_counts(const attn_spec *spec, int64_t T, int64_t S, int64_t offset,
                       int64_t left, int64_t right)
{
    attn_args a = reg_counting(T, S);
    for (int isa = 0; safety_isa(isa) != NULL; isa++) {
        reg_run_counting(spec, &a, isa);
        for (int64_t i = 0; i < T; i++) {
            int64_t first = i + offset - left, last = i + offset + right;
            reg_sees(&a, i, first < 0 ? 0 : first, last > S - 1 ? S - 1 : last);
        }
    }
}

/* flash-attention#282, #402: causal with T < S was aligned at the top left, silently. */
static void reg_036_causal_short_queries(void **state)
{
    (void)state;
    attn_args a = reg_counting(3, 9);
    attn_spec unset = ATTN_SPEC(.causal = true);
    assert_int_equal(attn_forward(NULL, &unset, &a, NULL), ATTN_E_CAUSAL);
    attn_spec spec = ATTN_SPEC(.causal = true, .align = ATTN_ALIGN_BOTTOM_RIGHT);
    reg_counts(&spec, 3, 9, 6, 1000, 0);
    reg_counts(&spec, 48, 300, 252, 1000, 0);
}

/* flash-attention#1778: with T > S the first rows see nothing and must be 0. */
static void reg_037_causal_long_queries(void **state)
{
    (void)state;
    attn_spec spec = ATTN_SPEC(.causal = true, .align = ATTN_ALIGN_BOTTOM_RIGHT);
    reg_counts(&spec, 9, 3, -6, 1000, 0);
    reg_counts(&spec, 100, 40, -60, 1000, 0);
}

/* cutlass#2336: wrong for T != S, and the verifier made the same mistake. */
static void reg_038_causal_counted_by_hand(void **state)
{
    (void)state;
    attn_spec bottom = ATTN_SPEC(.causal = true, .align = ATTN_ALIGN_BOTTOM_RIGHT);
    attn_spec top = ATTN_SPEC(.causal = true, .align = ATTN_ALIGN_TOP_LEFT);
    for (int64_t T = 1; T <= 65; T += 8)
        for (int64_t S = 1; S <= 65; S += 16) {
            reg_counts(&bottom, T, S, S - T, 1000, 0);
            reg_counts(&top, T, S, 0, 1000, 0);
        }
}

/* gittensor-ai-lab/sparkinfer#3: chunked prefill forgot the prefix. */
static void reg_039_chunked_prefill(void **state)
{
    (void)state;
    attn_args whole = reg_args(f32, REG_SHAPE(1, 2, 1, 60, 60, 8, 8));
    attn_spec spec = ATTN_SPEC(.causal = true, .align = ATTN_ALIGN_TOP_LEFT);
    safety_run(NULL, &spec, &whole);
    for (int64_t from = 0; from < 60; from += 17) {
        int64_t to = from + 17 < 60 ? from + 17 : 60;
        attn_args part = whole;
        part.q = attn_tensor_slice(whole.q, 2, from, to);
        part.k = attn_tensor_slice(whole.k, 2, 0, to),
        part.v = attn_tensor_slice(whole.v, 2, 0, to);
        part.out = SAFETY_EMPTY(F32, 1, 2, to - from, 8), part.lse = (attn_tensor){0};
        attn_spec chunk = ATTN_SPEC(.causal = true, .align = ATTN_ALIGN_BOTTOM_RIGHT);
        safety_run(NULL, &chunk, &part);
        safety_same(part.out, attn_tensor_slice(whole.out, 2, from, to),
                    "a chunk of the prefill");
    }
}

/* ml-explore/mlx#2835: T != S differed from the top-left rule of others. */
static void reg_040_top_left(void **state)
{
    (void)state;
    attn_spec spec = ATTN_SPEC(.causal = true, .align = ATTN_ALIGN_TOP_LEFT);
    reg_counts(&spec, 4, 9, 0, 1000, 0);
    reg_counts(&spec, 9, 4, 0, 1000, 0);
}

/* jax#24491: wrong when the lengths of q and k differ. */
static void reg_041_other_lengths(void **state)
{
    (void)state;
    static const int64_t lengths[][2] = {{1, 7},   {7, 1},   {16, 33},
                                         {33, 16}, {5, 300}, {130, 3}};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        attn_args a = reg_args(f32, REG_SHAPE(1, 2, 2, lengths[i][0], lengths[i][1], 8, 8));
        safety_run_and_judge(NULL, &a);
    }
}

/* ROCm/flash-attention#158: a window with one query dropped keys. */
static void reg_042_window_one_query(void **state)
{
    (void)state;
    attn_spec spec = ATTN_SPEC(.window = ATTN_WINDOW(3, 0), .align = ATTN_ALIGN_BOTTOM_RIGHT);
    reg_counts(&spec, 1, 10, 9, 3, 0);
    reg_counts(&spec, 1, 513, 512, 3, 0);
}

/* huggingface/transformers#39408: the window was off by one. A model's window w is left = w
 * - 1. */
static void reg_043_window_size(void **state)
{
    (void)state;
    for (int64_t w = 1; w <= 5; w++) {
        attn_spec spec = ATTN_SPEC(.causal = true, .window = ATTN_WINDOW(w - 1, -1));
        reg_counts(&spec, 20, 20, 0, w - 1, 0);
    }
}

/* vllm#3385: 2048 or 2049 keys in a window of 2048. */
static void reg_044_window_2048(void **state)
{
    (void)state;
    attn_spec spec =
        ATTN_SPEC(.window = ATTN_WINDOW(2047, 0), .align = ATTN_ALIGN_BOTTOM_RIGHT);
    reg_counts(&spec, 1, 2100, 2099, 2047, 0);
    attn_spec both =
        ATTN_SPEC(.window = ATTN_WINDOW(2048, 1), .align = ATTN_ALIGN_BOTTOM_RIGHT);
    reg_counts(&both, 3, 2100, 2097, 2048, 1);
}

/* openvino#30714: a window in a cache was one row off from the plain computation. */
static void reg_045_window_in_cache(void **state)
{
    (void)state;
    attn_args whole = reg_args(f32, REG_SHAPE(1, 1, 1, 40, 40, 8, 8));
    attn_spec spec = ATTN_SPEC(.window = ATTN_WINDOW(6, 0), .align = ATTN_ALIGN_BOTTOM_RIGHT);
    safety_run(NULL, &spec, &whole);
    for (int64_t i = 0; i < 40; i++) {
        attn_args one = whole;
        one.q = attn_tensor_slice(whole.q, 2, i, i + 1);
        one.k = attn_tensor_slice(whole.k, 2, 0, i + 1),
        one.v = attn_tensor_slice(whole.v, 2, 0, i + 1);
        one.out = SAFETY_EMPTY(F32, 1, 1, 1, 8), one.lse = (attn_tensor){0};
        safety_run(NULL, &spec, &one);
        safety_same(one.out, attn_tensor_slice(whole.out, 2, i, i + 1), "a step with a window");
    }
}

/* flash-attention#907: ALiBi differed between training and decoding with a cache. */
static void reg_088_alibi_in_decoding(void **state)
{
    (void)state;
    attn_args whole = reg_args(f32, REG_SHAPE(1, 3, 3, 50, 50, 8, 8));
    whole.alibi = SAFETY_LIST(F32, 0.5, 0.25, 0.125);
    attn_spec spec = ATTN_SPEC(.causal = true, .align = ATTN_ALIGN_BOTTOM_RIGHT);
    safety_run_and_judge(&spec, &whole);
    for (int64_t i = 0; i < 50; i += 7) {
        attn_args one = whole;
        one.q = attn_tensor_slice(whole.q, 2, i, i + 1);
        one.k = attn_tensor_slice(whole.k, 2, 0, i + 1),
        one.v = attn_tensor_slice(whole.v, 2, 0, i + 1);
        one.out = SAFETY_EMPTY(F32, 1, 3, 1, 8), one.lse = (attn_tensor){0};
        attn_tensor want = attn_tensor_slice(whole.out, 2, i, i + 1);
        safety_run(safety_isa(0), &spec, &one);
        safety_same(one.out, want, "a step with ALiBi");
    }
}

/* ---- sequences ----------------------------------------------------------------------- */

/* Dao-AILab/flash-attention#2470: no keys at all was a division by zero. */
static void reg_069_no_keys(void **state)
{
    (void)state;
    attn_args a = reg_args(f32, REG_SHAPE(2, 2, 1, 20, 0, 8, 8));
    safety_run_and_judge(NULL, &a);
    for (int64_t row = 0; row < 80; row++) reg_row_empty(&a, row);
}

static attn_args reg_packed(int64_t rows_q, int64_t rows_k)
{
    return reg_args(f32, REG_SHAPE(1, 2, 1, rows_q, rows_k, 8, 8));
}

/* flash-attention#2568: segments of length zero. */
static void reg_070_zero_length_segments(void **state)
{
    (void)state;
    attn_args a = reg_packed(20, 25);
    a.cu_q = SAFETY_LIST(I32, 0, 0, 7, 7, 20, 20),
    a.cu_k = SAFETY_LIST(I32, 0, 5, 5, 5, 24, 24);
    safety_run_and_judge(NULL, &a);
    for (int64_t row = 0; row < 7; row++) reg_row_empty(&a, row); /* queries without keys */
}

/* flash-attention#1537: one query at most in each segment, some of them empty. */
static void reg_071_single_query_segments(void **state)
{
    (void)state;
    attn_args a = reg_packed(3, 30);
    attn_spec spec = ATTN_SPEC(.causal = true, .align = ATTN_ALIGN_BOTTOM_RIGHT);
    a.cu_q = SAFETY_LIST(I64, 0, 1, 1, 2, 3, 3),
    a.cu_k = SAFETY_LIST(I64, 0, 10, 12, 12, 29, 30);
    safety_run_and_judge(&spec, &a);
}

/* deepseek-ai/FlashMLA#11, HabanaAI/vllm-fork#318: length 0 put NaN into the cache. */
static void reg_072_length_zero(void **state)
{
    (void)state;
    attn_args a = reg_args(f32, REG_SHAPE(3, 2, 1, 1, 40, 8, 8));
    a.k_len = SAFETY_LIST(I32, 17, 0, 40);
    for (int64_t i = 0; i < 40 * 8; i++) safety_put(a.k, 40 * 8 + i, REG_NAN);
    safety_run_and_judge(NULL, &a);
    reg_all_finite(a.out);
    reg_row_empty(&a, 2), reg_row_empty(&a, 3);
}

/* pytorch#81077: a nested batch in which some have no elements. */
static void reg_073_nested_batch(void **state)
{
    (void)state;
    attn_args a = reg_args(f32, REG_SHAPE(4, 2, 2, 9, 9, 8, 8));
    a.q_len = SAFETY_LIST(I64, 9, 0, 3, 0), a.k_len = SAFETY_LIST(I64, 0, 9, 4, 0);
    safety_run_and_judge(NULL, &a);
    reg_all_finite(a.out);
}

/* vllm#936, #47305: the tail of the last page was not initialised, and 0 * NaN is NaN. */
static void reg_074_uninitialised_tail(void **state)
{
    (void)state;
    attn_args a = reg_args(f32, REG_SHAPE(2, 2, 2, 3, 64, 8, 8));
    a.k_len = SAFETY_LIST(I32, 50, 33);
    safety_run(NULL, NULL, &a);
    attn_tensor clean = safety_copy(a.out);
    for (int64_t row = 0; row < 4 * 64; row++)
        for (int64_t d = 0; d < 8 && row % 64 >= (row < 128 ? 50 : 33); d++)
            safety_put(a.k, row * 8 + d, REG_NAN), safety_put(a.v, row * 8 + d, REG_NAN);
    safety_run_and_judge(NULL, &a);
    safety_same(a.out, clean, "NaN behind the length");
}

/* onnxruntime#20521: grouped heads with a batch and caches of their own were NaN. */
static void reg_079_grouped_batch(void **state)
{
    (void)state;
    attn_args a = reg_args(f32, REG_SHAPE(3, 8, 2, 1, 70, 16, 16));
    attn_spec spec = ATTN_SPEC(.causal = true, .align = ATTN_ALIGN_BOTTOM_RIGHT);
    a.k_len = SAFETY_LIST(I64, 70, 1, 33);
    safety_run_and_judge(&spec, &a);
    reg_all_finite(a.out);
}

/* b12x#155, HunyuanVideo#310: cumulative lengths ignored, or believed without a look. */
static void reg_095_cumulative_lengths(void **state)
{
    static const double bad[][4] = {
        {1, 5, 9, 12}, {0, 9, 5, 12}, {0, 5, 9, 13}, {0, -1, 9, 12}};
    (void)state;
    attn_args a = reg_packed(12, 12);
    a.cu_q = SAFETY_LIST(I32, 0, 5, 9, 12), a.cu_k = SAFETY_LIST(I32, 0, 5, 9, 12);
    safety_run_and_judge(NULL, &a);
    attn_tensor packed = safety_copy(a.out);
    attn_args plain = reg_packed(12, 12);
    safety_run(NULL, NULL, &plain);
    assert_false(test_same_bits(packed, plain.out));
    memset(a.out.data, SAFETY_RUBBISH, safety_size(a.out));
    for (int n = 0; n < 4; n++) {
        a.cu_k = safety_list(ATTN_DTYPE_I32, 4, bad[n]);
        assert_int_equal(attn_forward(NULL, NULL, &a, NULL), ATTN_E_CUSEQ);
        assert_true(safety_untouched(a.out));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SAFETY_CASE(reg_036_causal_short_queries),
        SAFETY_CASE(reg_037_causal_long_queries),
        SAFETY_CASE(reg_038_causal_counted_by_hand),
        SAFETY_CASE(reg_039_chunked_prefill),
        SAFETY_CASE(reg_040_top_left),
        SAFETY_CASE(reg_041_other_lengths),
        SAFETY_CASE(reg_042_window_one_query),
        SAFETY_CASE(reg_043_window_size),
        SAFETY_CASE(reg_044_window_2048),
        SAFETY_CASE(reg_045_window_in_cache),
        SAFETY_CASE(reg_069_no_keys),
        SAFETY_CASE(reg_070_zero_length_segments),
        SAFETY_CASE(reg_071_single_query_segments),
        SAFETY_CASE(reg_072_length_zero),
        SAFETY_CASE(reg_073_nested_batch),
        SAFETY_CASE(reg_074_uninitialised_tail),
        SAFETY_CASE(reg_079_grouped_batch),
        SAFETY_CASE(reg_088_alibi_in_decoding),
        SAFETY_CASE(reg_095_cumulative_lengths),
    };
    return cmocka_run_group_tests_name("regression_position", tests, NULL, safety_finish);
}
