/* SPDX-License-Identifier: MIT
 * Failures others had with numbers: sums that stick in 16 bits, scores that overflow, partial
 * results merged with the wrong logarithm, in the wrong precision, or when empty. */
#include "regression.h"

#include <fenv.h>

static const attn_dtype f32 = ATTN_DTYPE_F32, f16 = ATTN_DTYPE_F16, bf16 = ATTN_DTYPE_BF16;

/* Splits the keys of a call into n parts as even as they come, merges, and compares. */
static void reg_merge_parts(const attn_args *whole, int64_t n, double tolerance)
{
    attn_tensor outs[64], lses[64];
    int64_t S = whole->k.shape[2];
    safety_run(NULL, NULL, whole);
    for (int64_t r = 0; r < n; r++) {
        attn_args part = *whole;
        part.k = attn_tensor_slice(whole->k, 2, S * r / n, S * (r + 1) / n);
        part.v = attn_tensor_slice(whole->v, 2, S * r / n, S * (r + 1) / n);
        part.out = outs[r] = safety_make(whole->out.dtype, whole->out.rank, whole->out.shape);
        part.lse = lses[r] = safety_make(whole->lse.dtype, whole->lse.rank, whole->lse.shape);
        safety_run(NULL, NULL, &part);
    }
    attn_tensor out = safety_make(f32, whole->out.rank, whole->out.shape);
    attn_tensor lse = safety_make(f32, whole->lse.rank, whole->lse.shape);
    assert_int_equal(attn_merge(n, outs, lses, &out, &lse, NULL), ATTN_OK);
    for (int64_t i = 0; i < safety_count(out); i++)
        safety_near(safety_at(out, i), safety_at(whole->out, i), tolerance, "merged parts");
    for (int64_t i = 0; i < safety_count(lse); i++)
        safety_near(safety_at(lse, i), safety_at(whole->lse, i), 4e-6, "merged lse");
}

static attn_tensor reg_empty_out(int64_t T, int64_t E)
{
    return REG_FILLED(F32, 0, 1, 1, T, E);
}

/* vllm#39148: the merge of two empty results was NaN. */
static void reg_018_merge_two_empty(void **state)
{
    (void)state;
    attn_tensor outs[] = {reg_empty_out(3, 4), reg_empty_out(3, 4)};
    attn_tensor minus = REG_FILLED(F32, REG_MINUS_INF, 1, 1, 3), lses[] = {minus, minus};
    attn_args a =
        ATTN_ARGS(.out = SAFETY_EMPTY(F32, 1, 1, 3, 4), .lse = SAFETY_EMPTY(F32, 1, 1, 3));
    assert_int_equal(attn_merge(2, outs, lses, &a.out, &a.lse, NULL), ATTN_OK);
    for (int64_t row = 0; row < 3; row++) reg_row_empty(&a, row);
}

/* flashinfer#4051: a cascade of merges that starts from empty states was NaN. */
static void reg_019_cascade_from_empty(void **state)
{
    (void)state;
    attn_args a = reg_args(f32, REG_SHAPE(1, 1, 1, 3, 20, 8, 4));
    safety_run(NULL, NULL, &a);
    attn_tensor out = reg_empty_out(3, 4), lse = REG_FILLED(F32, REG_MINUS_INF, 1, 1, 3);
    attn_tensor minus = safety_copy(lse), empty = safety_copy(out);
    for (int level = 0; level < 4; level++) {
        attn_tensor outs[] = {out, level == 2 ? a.out : empty};
        attn_tensor lses[] = {lse, level == 2 ? a.lse : minus};
        attn_tensor next = SAFETY_EMPTY(F32, 1, 1, 3, 4), next_lse = SAFETY_EMPTY(F32, 1, 1, 3);
        assert_int_equal(attn_merge(2, outs, lses, &next, &next_lse, NULL), ATTN_OK);
        out = next, lse = next_lse;
    }
    safety_same(out, a.out, "the only part that is not empty");
    safety_same(lse, a.lse, "its lse");
}

static void reg_f16_large_scores(int64_t S, int64_t D, double size)
{
    attn_args a = reg_args(f16, REG_SHAPE(1, 2, 1, 5, S, D, 16));
    for (int64_t i = 0; i < safety_count(a.q); i++)
        safety_put(a.q, i, size * safety_value(1, i));
    for (int64_t i = 0; i < safety_count(a.k); i++)
        safety_put(a.k, i, size * safety_value(2, i));
    safety_run_and_judge(NULL, &a);
    reg_all_finite(a.out);
    reg_all_finite(a.lse);
}

/* metal-flash-attention#8: scaling after the product overflowed half precision. */
static void reg_020_scale_after_product(void **state)
{
    (void)state;
    reg_f16_large_scores(40, 128, 60);
}

/* pytorch#119131: |q k| of 7.8e5 in f16 gave inf and NaN. */
static void reg_021_scores_of_7e5(void **state)
{
    (void)state;
    attn_args a = reg_args(f16, REG_SHAPE(1, 1, 1, 3, 20, 128, 8));
    test_fill_value(&a.q, 78);
    for (int64_t i = 0; i < safety_count(a.k); i++) safety_put(a.k, i, i / 128 % 2 ? 78 : -78);
    for (int isa = 0; safety_isa(isa) != NULL; isa++) {
        safety_run(safety_isa(isa), NULL, &a);
        reg_all_finite(a.out);
        /* 128 equal terms in one chain round the same way each time: D u, not the usual 4 u */
        double score = 128 * 78 * 78 / sqrt(128);
        reg_all_near(a.lse, score + log(10), 128 * 0x1p-24 * score, "ten equal scores");
    }
}

/* onnxruntime#28195: f16 with a head width of 512 was NaN from 6 keys on. */
static void reg_022_width_512_f16(void **state)
{
    (void)state;
    for (int64_t S = 5; S <= 8; S++) reg_f16_large_scores(S, 512, 4);
}

/* All weights equal, all values 1: anything but 1 is a sum that stuck. */
static void reg_uniform_ones(attn_dtype dtype, int64_t S)
{
    attn_args a = reg_args(dtype, REG_SHAPE(1, 1, 1, 2, S, 4, 3));
    test_fill_value(&a.q, 0);
    test_fill_value(&a.v, 1);
    safety_run(NULL, NULL, &a);
    reg_all_near(a.out, 1, 0, "mean of ones");
    reg_all_near(a.lse, log((double)S), 4e-6, "log of the number of keys");
}

/* candle#3727: an f16 sum sticks at 2048, so rows summed to 2. */
static void reg_023_f16_sum_sticks(void **state)
{
    (void)state;
    reg_uniform_ones(f16, 2049);
    reg_uniform_ones(f16, 5000);
}

/* sonos/tract#2586: an f16 row sum was off by 29 % at 4096 keys. */
static void reg_024_f16_row_sum(void **state)
{
    (void)state;
    attn_args a = reg_args(f16, REG_SHAPE(1, 1, 1, 3, 4096, 16, 8));
    safety_run_and_judge(NULL, &a);
}

/* executorch#20090: a bf16 sum sticks at 256. */
static void reg_025_bf16_sum_sticks(void **state)
{
    (void)state;
    reg_uniform_ones(bf16, 257);
    reg_uniform_ones(bf16, 4099);
}

/* SHI-Labs/NATTEN#202: exp(lse) was formed in the merge and overflowed. */
static void reg_026_merge_exp_lse(void **state)
{
    (void)state;
    attn_tensor outs[] = {REG_FILLED(F32, 1, 1, 1, 2, 3), REG_FILLED(F32, 4, 1, 1, 2, 3)};
    attn_tensor lses[] = {REG_FILLED(F32, 500, 1, 1, 2), REG_FILLED(F32, 500, 1, 1, 2)};
    attn_tensor out = SAFETY_EMPTY(F32, 1, 1, 2, 3), lse = SAFETY_EMPTY(F32, 1, 1, 2);
    assert_int_equal(attn_merge(2, outs, lses, &out, &lse, NULL), ATTN_OK);
    reg_all_near(out, 2.5, 1e-6, "merge at lse 500");
    reg_all_near(lse, 500 + log(2), 1e-4, "lse at 500");
}

/* ring-flash-attention#42: with 16-bit partial results the error grew with the ranks. */
static void reg_027_many_parts(void **state)
{
    (void)state;
    attn_args a = reg_args(f32, REG_SHAPE(1, 2, 2, 4, 1024, 16, 8));
    for (int64_t n = 1; n <= 64; n *= 4) reg_merge_parts(&a, n, 1e-6);
}

/* tt-metal#57095: a running sum over 1,024 chunks in bf16. */
static void reg_028_thousand_chunks(void **state)
{
    (void)state;
    attn_args a =
        ATTN_ARGS(.q = REG_FILLED(BF16, 0, 1, 1), .k = REG_FILLED(BF16, 0, 1 << 19, 1),
                  .v = REG_FILLED(BF16, 1, 1 << 19, 1), .out = SAFETY_EMPTY(BF16, 1, 1),
                  .lse = SAFETY_EMPTY(F32, 1));
    safety_run(NULL, NULL, &a);
    reg_all_near(a.out, 1, 0, "mean of half a million ones");
    reg_all_near(a.lse, 19 * log(2), 2e-6, "log of half a million");
}

/* flash-attention#978: the lse of an empty row was +inf. */
static void reg_029_lse_of_empty_row(void **state)
{
    (void)state;
    attn_args a = reg_args(f16, REG_SHAPE(1, 1, 1, 6, 3, 8, 8));
    attn_spec spec = ATTN_SPEC(.causal = true, .align = ATTN_ALIGN_BOTTOM_RIGHT);
    safety_run_and_judge(&spec, &a);
    for (int64_t row = 0; row < 3; row++) reg_row_empty(&a, row);
}

/* vllm#47079: an lse to base 2 was merged as a natural one. */
static void reg_030_lse_is_natural(void **state)
{
    (void)state;
    attn_args a = reg_args(f32, REG_SHAPE(1, 1, 1, 1, 1, 1, 1));
    attn_spec spec = ATTN_SPEC(.scale = 1);
    safety_put(a.q, 0, 3), safety_put(a.k, 0, 1);
    safety_run(NULL, &spec, &a);
    safety_near(safety_at(a.lse, 0), 3, 1e-6, "lse of one score 3");
    attn_args b = reg_args(f32, REG_SHAPE(2, 2, 1, 5, 90, 8, 8));
    reg_merge_parts(&b, 2, 1e-6);
}

/* sglang#40903: the same with a prefix cache, 12 % error. */
static void reg_031_prefix_and_suffix(void **state)
{
    (void)state;
    attn_args a = reg_args(f32, REG_SHAPE(1, 2, 1, 6, 300, 16, 16)), prefix = a, suffix = a;
    attn_spec causal = ATTN_SPEC(.causal = true, .align = ATTN_ALIGN_BOTTOM_RIGHT);
    safety_run(NULL, &causal, &a);
    prefix.k = attn_tensor_slice(a.k, 2, 0, 290), prefix.v = attn_tensor_slice(a.v, 2, 0, 290);
    suffix.k = attn_tensor_slice(a.k, 2, 290, 300),
    suffix.v = attn_tensor_slice(a.v, 2, 290, 300);
    prefix.out = SAFETY_EMPTY(F32, 1, 2, 6, 16), prefix.lse = SAFETY_EMPTY(F32, 1, 2, 6);
    suffix.out = SAFETY_EMPTY(F32, 1, 2, 6, 16), suffix.lse = SAFETY_EMPTY(F32, 1, 2, 6);
    safety_run(NULL, NULL, &prefix); /* every query sees all of the prefix */
    safety_run(NULL, &causal, &suffix);
    const attn_tensor outs[] = {prefix.out, suffix.out}, lses[] = {prefix.lse, suffix.lse};
    attn_tensor out = SAFETY_EMPTY(F32, 1, 2, 6, 16);
    assert_int_equal(attn_merge(2, outs, lses, &out, NULL, NULL), ATTN_OK);
    for (int64_t i = 0; i < safety_count(out); i++)
        safety_near(safety_at(out, i), safety_at(a.out, i), 1e-6, "prefix and suffix");
}

/* local-inference-lab/vllm#468: lse shared by an input and the output of a merge. Right, or
 * refused; never silently wrong. */
static void reg_032_merge_lse_in_place(void **state)
{
    (void)state;
    attn_tensor outs[] = {REG_FILLED(F32, 1, 1, 2, 8, 3), REG_FILLED(F32, 4, 1, 2, 8, 3)};
    attn_tensor lses[] = {REG_FILLED(F32, 2, 1, 2, 8), REG_FILLED(F32, 2, 1, 2, 8)};
    attn_tensor out = SAFETY_EMPTY(F32, 1, 2, 8, 3);
    attn_status s = attn_merge(2, outs, lses, &out, &lses[0], NULL);
    assert_true(s == ATTN_OK || s == ATTN_E_ALIAS);
    if (s == ATTN_OK) reg_all_near(out, 2.5, 1e-6, "out when lse is in place");
    reg_all_near(lses[0], s == ATTN_OK ? 2 + log(2) : 2, 1e-6, "lse in place");
}

/* tt-metal#53216: a test so loose that the lse of one part passed for that of all. */
static void reg_034_lse_counts_all_keys(void **state)
{
    (void)state;
    attn_args a = reg_args(f32, REG_SHAPE(1, 1, 1, 2, 1000, 8, 8));
    test_fill_value(&a.q, 0);
    safety_run_and_judge(NULL, &a);
    reg_all_near(a.lse, log(1000), 1e-6, "lse over all keys");
}

/* ring-flash-attention#51, diffusers#12706: a length that the parts do not divide. */
static void reg_097_uneven_parts(void **state)
{
    (void)state;
    attn_args a = reg_args(f32, REG_SHAPE(1, 3, 1, 5, 101, 8, 8));
    for (int64_t n = 2; n <= 7; n++) reg_merge_parts(&a, n, 1e-6);
}

/* llvm-project#57589: a library that makes its host flush denormals, or round elsewhere. */
static void reg_104_host_keeps_its_denormals(void **state)
{
    (void)state;
    attn_args a = reg_args(f32, REG_SHAPE(1, 2, 2, 40, 40, 16, 16));
    volatile float tiny = 0x1p-149f;
    volatile double small = 0x1p-1074;
    safety_run(safety_threads(2), NULL, &a);
    assert_true(tiny * 1.0f > 0 && small * 1.0 > 0);
    assert_int_equal(fegetround(), FE_TONEAREST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SAFETY_CASE(reg_018_merge_two_empty),     SAFETY_CASE(reg_019_cascade_from_empty),
        SAFETY_CASE(reg_020_scale_after_product), SAFETY_CASE(reg_021_scores_of_7e5),
        SAFETY_CASE(reg_022_width_512_f16),       SAFETY_CASE(reg_023_f16_sum_sticks),
        SAFETY_CASE(reg_024_f16_row_sum),         SAFETY_CASE(reg_025_bf16_sum_sticks),
        SAFETY_CASE(reg_026_merge_exp_lse),       SAFETY_CASE(reg_027_many_parts),
        SAFETY_CASE(reg_028_thousand_chunks),     SAFETY_CASE(reg_029_lse_of_empty_row),
        SAFETY_CASE(reg_030_lse_is_natural),      SAFETY_CASE(reg_031_prefix_and_suffix),
        SAFETY_CASE(reg_032_merge_lse_in_place),  SAFETY_CASE(reg_034_lse_counts_all_keys),
        SAFETY_CASE(reg_097_uneven_parts),        SAFETY_CASE(reg_104_host_keeps_its_denormals),
    };
    return cmocka_run_group_tests_name("regression_number", tests, NULL, safety_finish);
}
