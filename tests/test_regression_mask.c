/* SPDX-License-Identifier: MIT
 * Failures others had with masks: rows that may see nothing, first blocks masked, sentinels
 * that overflow, several masks at once. */
#include "regression.h"

#include <float.h>

static const attn_dtype f32 = ATTN_DTYPE_F32, f16 = ATTN_DTYPE_F16, bf16 = ATTN_DTYPE_BF16;

/* pytorch#103749: a padding mask with a sequence of padding only gave NaN. */
static void reg_001_padding_mask_all_false(void **state)
{
    (void)state;
    attn_args a = reg_args(f32, REG_SHAPE(2, 2, 2, 5, 9, 8, 8));
    a.mask = REG_FILLED(BOOL, 1, 2, 1, 1, 9);
    for (int64_t j = 0; j < 9; j++) safety_put(a.mask, 9 + j, 0);
    safety_run_and_judge(NULL, &a);
    for (int64_t row = 10; row < 20; row++) reg_row_empty(&a, row);
}

/* pytorch#103963: a bool mask with empty rows among others. */
static void reg_002_bool_mask_empty_rows(void **state)
{
    (void)state;
    attn_args a = reg_args(f32, REG_SHAPE(1, 2, 1, 50, 60, 8, 5));
    a.mask = REG_FILLED(BOOL, 1, 50, 60);
    for (int64_t i = 0; i < 50; i += 3)
        for (int64_t j = 0; j < 60; j++) safety_put(a.mask, i * 60 + j, 0);
    safety_run_and_judge(NULL, &a);
    for (int64_t row = 0; row < 100; row++)
        if (row % 50 % 3 == 0) reg_row_empty(&a, row);
}

/* pytorch#109517: a row of the lowest finite bias silently gave NaN. */
static void reg_003_lowest_bias_row(void **state)
{
    (void)state;
    attn_args a = reg_args(f32, REG_SHAPE(1, 1, 1, 3, 40, 8, 1));
    a.bias = REG_FILLED(F32, -(double)FLT_MAX, 3, 40);
    for (int64_t j = 0; j < 40; j++) safety_put(a.v, j, (double)j);
    safety_run(NULL, NULL, &a);
    reg_all_near(a.out, 19.5, 1e-4, "uniform");
}

/* pytorch#101967: NaN in masked keys and values poisoned the output. */
static void reg_004_nan_behind_mask(void **state)
{
    (void)state;
    attn_args a = reg_args(f32, REG_SHAPE(1, 2, 2, 7, 33, 8, 8));
    a.mask = REG_FILLED(BOOL, 1, 33);
    safety_put(a.mask, 20, 0);
    safety_run(NULL, NULL, &a);
    attn_tensor clean = safety_copy(a.out);
    for (int64_t h = 0; h < 2; h++)
        for (int64_t d = 0; d < 8; d++) {
            safety_put(a.k, (h * 33 + 20) * 8 + d, REG_NAN);
            safety_put(a.v, (h * 33 + 20) * 8 + d, REG_NAN);
        }
    safety_run(NULL, NULL, &a);
    safety_same(a.out, clean, "NaN behind a mask");
}

/* pytorch#127055, #130014: exp(-inf - -inf) when the first blocks are masked. */
static void reg_005_first_blocks_masked(void **state)
{
    (void)state;
    attn_args a = reg_args(f32, REG_SHAPE(1, 1, 1, 4, 1100, 8, 4));
    a.bias = REG_FILLED(F32, 0, 1100);
    for (int64_t j = 0; j < 1050; j++) safety_put(a.bias, j, REG_MINUS_INF);
    safety_run_and_judge(NULL, &a);
    reg_all_finite(a.out);
}

/* pytorch#156487: left-padded bf16 gave NaN. */
static void reg_006_left_padded_bf16(void **state)
{
    (void)state;
    attn_args a = reg_args(bf16, REG_SHAPE(2, 2, 1, 20, 20, 16, 16));
    attn_spec spec = ATTN_SPEC(.causal = true, .align = ATTN_ALIGN_TOP_LEFT);
    a.mask = REG_FILLED(BF16, 0, 2, 1, 1, 20);
    for (int64_t j = 0; j < 13; j++) safety_put(a.mask, 20 + j, REG_MINUS_INF);
    safety_run_and_judge(&spec, &a);
    reg_all_finite(a.out);
    reg_row_empty(&a, 2 * 20 + 5); /* a padding row of the second sequence */
}

/* ml-explore/mlx#2395: a fully masked row gave garbage. */
static void reg_007_fully_masked_garbage(void **state)
{
    (void)state;
    attn_args a = reg_args(f16, REG_SHAPE(1, 1, 1, 6, 70, 64, 64));
    a.mask = REG_FILLED(BOOL, 1, 6, 70);
    for (int64_t j = 0; j < 70; j++) safety_put(a.mask, 3 * 70 + j, 0);
    safety_run_and_judge(NULL, &a);
    reg_row_empty(&a, 3);
}

/* iree#24175: 0/0 for a row without keys. */
static void reg_008_zero_over_zero(void **state)
{
    (void)state;
    attn_args a = reg_args(f32, REG_SHAPE(1, 1, 1, 2, 8, 4, 4));
    a.bias = REG_FILLED(F32, REG_MINUS_INF, 2, 8);
    a.weights = SAFETY_EMPTY(F32, 1, 1, 2, 8);
    safety_run_and_judge(NULL, &a);
    for (int64_t row = 0; row < 2; row++) reg_row_empty(&a, row);
    reg_all_near(a.weights, 0, 0, "weights of nothing");
}

/* tracel-ai/burn#4697: a bool mask and causal together leave a row no key. */
static void reg_009_bool_and_causal(void **state)
{
    (void)state;
    attn_args a = reg_args(f32, REG_SHAPE(1, 1, 1, 12, 12, 8, 8));
    attn_spec spec = ATTN_SPEC(.causal = true);
    a.mask = REG_FILLED(BOOL, 1, 12);
    for (int64_t j = 0; j < 5; j++) safety_put(a.mask, j, 0);
    safety_run_and_judge(&spec, &a);
    for (int64_t row = 0; row < 5; row++) reg_row_empty(&a, row);
}

/* openvino#36016: a mask that is all False. */
static void reg_010_all_false(void **state)
{
    (void)state;
    attn_args a = reg_args(f16, REG_SHAPE(2, 2, 2, 9, 17, 8, 8));
    a.mask = REG_FILLED(BOOL, 0, 1);
    safety_run_and_judge(NULL, &a);
    for (int64_t row = 0; row < 36; row++) reg_row_empty(&a, row);
}

/* ik_llama.cpp#2344: a leading block of empty rows with sinks put NaN into the cache. */
static void reg_011_leading_empty_rows_with_sink(void **state)
{
    (void)state;
    attn_args a = reg_args(f32, REG_SHAPE(1, 2, 1, 100, 30, 8, 8));
    attn_spec spec = ATTN_SPEC(.causal = true, .align = ATTN_ALIGN_BOTTOM_RIGHT);
    a.sink = SAFETY_LIST(F32, 1, -3);
    safety_run_and_judge(&spec, &a);
    for (int64_t i = 0; i < 70; i++) {
        safety_near(safety_at(a.lse, i), 1, 1e-6, "lse is the sink");
        safety_near(safety_at(a.lse, 100 + i), -3, 1e-6, "lse is the sink");
        for (int64_t e = 0; e < 8; e++)
            assert_true(safety_plus_zero(safety_at(a.out, i * 8 + e)));
    }
}

/* llama.cpp#12776: a running maximum that starts at -inf and meets nothing first. */
static void reg_012_running_max_minus_inf(void **state)
{
    (void)state;
    attn_args a = reg_args(f32, REG_SHAPE(1, 1, 1, 50, 800, 8, 8));
    a.mask = REG_FILLED(F32, 0, 50, 800);
    for (int64_t i = 0; i < 50; i++)
        for (int64_t j = 0; j < 16 * i; j++) safety_put(a.mask, i * 800 + j, REG_MINUS_INF);
    attn_spec spec = ATTN_SPEC(.softcap = 5);
    safety_run_and_judge(&spec, &a);
    reg_all_finite(a.out);
}

/* NeMo Automodel#2658: two planes of the lowest bf16 summed to -inf. */
static void reg_013_two_lowest_planes(void **state)
{
    (void)state;
    const double lowest = -0x1.FEp127;
    attn_args a = reg_args(bf16, REG_SHAPE(1, 1, 1, 4, 20, 8, 1));
    a.bias = reg_filled(bf16, lowest, SAFETY_DIMS(20));
    a.mask = reg_filled(bf16, lowest, SAFETY_DIMS(20));
    for (int64_t j = 0; j < 20; j++) safety_put(a.v, j, (double)j);
    safety_run(NULL, NULL, &a);
    reg_all_near(a.out, 9.5, 0.05, "uniform over all");
    safety_put(a.bias, 7, 0), safety_put(a.mask, 7, 0);
    safety_run(NULL, NULL, &a);
    reg_all_near(a.out, 7, 0, "the one key that is not masked");
}

static void reg_sentinel(double sentinel)
{
    attn_args a = reg_args(f16, REG_SHAPE(1, 1, 1, 3, 40, 8, 1));
    a.bias = REG_FILLED(F32, sentinel, 40);
    for (int64_t j = 0; j < 40; j++) safety_put(a.v, j, (double)j);
    safety_run(NULL, NULL, &a);
    reg_all_finite(a.out);
    reg_all_near(a.out, 19.5, 5, "finite sentinels are numbers");
    safety_put(a.bias, 31, 0);
    safety_run(NULL, NULL, &a);
    reg_all_near(a.out, 31, 0, "the key without the sentinel");
}

/* google/flax#982: a mask of -1e10 overflowed f16. */
static void reg_014_sentinel_1e10(void **state)
{
    (void)state;
    reg_sentinel(-1e10);
}

/* ocannl#548: a sentinel of -1e9 is not representable in f16. */
static void reg_015_sentinel_1e9(void **state)
{
    (void)state;
    reg_sentinel(-1e9);
}

/* onnx#8068: causal, a mask and a cache at once: alignment, and NaN for rows left empty. */
static void reg_016_causal_mask_cache(void **state)
{
    (void)state;
    attn_args a = reg_args(f32, REG_SHAPE(2, 2, 1, 4, 13, 8, 8));
    attn_spec spec = ATTN_SPEC(.causal = true, .align = ATTN_ALIGN_BOTTOM_RIGHT);
    a.mask = REG_FILLED(BOOL, 1, 2, 1, 4, 13);
    for (int64_t j = 0; j < 11; j++)
        safety_put(a.mask, 13 + j, 0); /* query 1: nothing before p */
    safety_run_and_judge(&spec, &a);
    reg_row_empty(&a, 1);
}

/* onnxruntime#14363: key lengths with a causal mask were wrong by 10 to 50 %. */
static void reg_017_lengths_with_causal(void **state)
{
    (void)state;
    attn_args a = reg_args(f32, REG_SHAPE(3, 2, 2, 16, 16, 8, 8));
    attn_spec spec = ATTN_SPEC(.causal = true, .align = ATTN_ALIGN_TOP_LEFT);
    a.k_len = SAFETY_LIST(I32, 16, 7, 1);
    safety_run_and_judge(&spec, &a);
}

/* xformers#788: strides of a broadcast bias. (The overflow itself: reg_053 in memory.) */
static void reg_053_bias_broadcasts(void **state)
{
    static const int64_t shapes[][4] = {{2, 3, 5, 7}, {1, 3, 5, 7}, {2, 1, 5, 7}, {2, 3, 1, 7},
                                        {2, 3, 5, 1}, {1, 1, 1, 7}, {2, 1, 1, 1}, {1, 1, 5, 1}};
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        attn_args a = reg_args(f32, REG_SHAPE(2, 3, 3, 5, 7, 8, 8));
        a.bias = reg_normal(f32, 9, 4, shapes[i]);
        safety_run_and_judge(NULL, &a);
    }
}

/* TransformerEngine#3391: softcap comes before the bias. */
static void reg_087_softcap_before_bias(void **state)
{
    (void)state;
    attn_args a = reg_args(f32, REG_SHAPE(1, 1, 1, 1, 2, 1, 1));
    attn_spec spec = ATTN_SPEC(.softcap = 2, .scale = 1);
    safety_put(a.q, 0, 1), safety_put(a.k, 0, 3), safety_put(a.k, 1, 0);
    a.bias = SAFETY_LIST(F32, 5, 0);
    safety_run_and_judge(&spec, &a);
    safety_near(safety_at(a.lse, 0), log(exp(2 * tanh(1.5) + 5) + 1), 1e-5,
                "c tanh(s / c) + bias");
    a.bias_pre = a.bias, a.bias = (attn_tensor){0};
    safety_run_and_judge(&spec, &a);
    safety_near(safety_at(a.lse, 0), log(exp(2 * tanh(4)) + 1), 1e-5, "c tanh((s + bias) / c)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SAFETY_CASE(reg_001_padding_mask_all_false),
        SAFETY_CASE(reg_002_bool_mask_empty_rows),
        SAFETY_CASE(reg_003_lowest_bias_row),
        SAFETY_CASE(reg_004_nan_behind_mask),
        SAFETY_CASE(reg_005_first_blocks_masked),
        SAFETY_CASE(reg_006_left_padded_bf16),
        SAFETY_CASE(reg_007_fully_masked_garbage),
        SAFETY_CASE(reg_008_zero_over_zero),
        SAFETY_CASE(reg_009_bool_and_causal),
        SAFETY_CASE(reg_010_all_false),
        SAFETY_CASE(reg_011_leading_empty_rows_with_sink),
        SAFETY_CASE(reg_012_running_max_minus_inf),
        SAFETY_CASE(reg_013_two_lowest_planes),
        SAFETY_CASE(reg_014_sentinel_1e10),
        SAFETY_CASE(reg_015_sentinel_1e9),
        SAFETY_CASE(reg_016_causal_mask_cache),
        SAFETY_CASE(reg_017_lengths_with_causal),
        SAFETY_CASE(reg_053_bias_broadcasts),
        SAFETY_CASE(reg_087_softcap_before_bias),
    };
    return cmocka_run_group_tests_name("regression_mask", tests, NULL, safety_finish);
}
