/* SPDX-License-Identifier: MIT
 * Failures others had with layouts and sizes: strides that are not dense, heads and widths that
 * are no power of two, reads past the end, offsets past 2^31, results that depend on company.
 */
#include "guard_case.h"
#include "regression.h"

#include <pthread.h>

static const attn_dtype f32 = ATTN_DTYPE_F32, f16 = ATTN_DTYPE_F16;

static void reg_judge_shape(attn_dtype dtype, reg_shape n)
{
    attn_args a = reg_args(dtype, n);
    safety_run_and_judge(NULL, &a);
}

/* Between forbidden pages, in every layout. */
static void reg_guarded(int64_t T, int64_t S, int64_t D, int64_t E)
{
    guard_catch_faults();
    for (int isa = 0; safety_isa(isa) != NULL; isa++)
        for (int layout = 0; layout < GUARD_N_LAYOUTS; layout++) {
            guard_case c = {
                .ctx = safety_isa(isa), .B = 1, .H = 2, .G = 2, .T = T, .S = S, .D = D, .E = E};
            c.q = c.kv = c.out = f32;
            c.layout = (guard_layout)layout;
            c.spec = ATTN_SPEC(.scale = 1);
            c.about = "regression";
            guard_run(&c);
        }
}

/* Zero pages of a given size; NULL without the address space. */
static char *reg_reserve(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        print_message("# skipped: this much address space is not available here\n");
    return p == MAP_FAILED ? NULL : p;
}

/* The same elements with dimension 0 spread out over a reservation; freed by the caller. */
static attn_tensor reg_far(attn_tensor t, int64_t stride, char **p, size_t *bytes)
{
    attn_tensor far = t;
    *bytes = ((size_t)(t.shape[0] * stride) + safety_size(t)) * attn_dtype_size(t.dtype);
    *p = reg_reserve(*bytes);
    if (*p == NULL) skip();
    far.data = *p;
    far.stride[0] = stride;
    for (int64_t i = 0; i < safety_count(t); i++) safety_put(far, i, safety_at(t, i));
    return far;
}

/* vllm#45500: token times heads times stride overflowed 32 bits in the merge. */
static void reg_035_merge_far_strides(void **state)
{
    (void)state;
    char *p;
    size_t bytes;
    attn_tensor outs[] = {SAFETY_FILLED(F32, 1, 3, 2, 4, 5), SAFETY_FILLED(F32, 2, 3, 2, 4, 5)};
    attn_tensor lses[] = {SAFETY_FILLED(F32, 3, 3, 2, 4), SAFETY_FILLED(F32, 4, 3, 2, 4)};
    attn_tensor near = SAFETY_EMPTY(F32, 3, 2, 4, 5), out = SAFETY_EMPTY(F32, 3, 2, 4, 5);
    assert_int_equal(attn_merge(2, outs, lses, &near, NULL, NULL), ATTN_OK);
    outs[1] = reg_far(outs[1], (INT64_C(1) << 31) + 7, &p, &bytes);
    assert_int_equal(attn_merge(2, outs, lses, &out, NULL, NULL), ATTN_OK);
    munmap(p, bytes);
    safety_same(out, near, "merge with far strides");
}

/* pytorch#162588: silently wrong at 65,537 keys. */
static void reg_046_keys_65537(void **state)
{
    (void)state;
    attn_args a = reg_counting(2, 65537);
    for (int isa = 0; safety_isa(isa) != NULL; isa++) {
        safety_run(safety_isa(isa), NULL, &a);
        for (int64_t i = 0; i < 2; i++) reg_sees(&a, i, 0, 65536);
    }
}

/* mlx#3360: a 16-bit column index in the mask. */
static void reg_051_mask_column(void **state)
{
    (void)state;
    attn_args a = reg_counting(2, 33000);
    a.mask = REG_FILLED(BOOL, 0, 33000);
    safety_put(a.mask, 32769, 1);
    safety_run(NULL, NULL, &a);
    for (int64_t i = 0; i < 2; i++) reg_sees(&a, i, 32769, 32769);
}

static void reg_far_operand(size_t at, int64_t stride)
{
    char *p;
    size_t bytes;
    attn_args a = reg_args(f32, REG_SHAPE(3, 2, 2, 5, 7, 8, 8));
    a.bias = reg_normal(f32, 4, SAFETY_DIMS(3, 2, 5, 7));
    safety_run(NULL, NULL, &a);
    attn_tensor near = safety_copy(a.out), *moved = (attn_tensor *)(void *)((char *)&a + at);
    *moved = reg_far(*moved, stride, &p, &bytes);
    safety_run(NULL, NULL, &a);
    munmap(p, bytes);
    safety_same(a.out, near, "a batch stride beyond 2^31");
}

/* sglang#20389: offsets passed 2^31 elements between batch 512 and 513. */
static void reg_052_batch_beyond_2_31(void **state)
{
    (void)state;
    reg_far_operand(offsetof(attn_args, q), (INT64_C(1) << 30) + 1);
    reg_far_operand(offsetof(attn_args, k), INT64_C(1) << 31);
}

/* xformers#788: the stride of the bias overflowed. */
static void reg_053_bias_stride(void **state)
{
    (void)state;
    reg_far_operand(offsetof(attn_args, bias), (INT64_C(1) << 31) + 3);
}

/* FlashDeBERTa#11: the offset of a packed sequence was 32 bits wide. */
static void reg_054_packed_offset(void **state)
{
    (void)state;
    char *p;
    size_t bytes;
    attn_args a = reg_args(f32, REG_SHAPE(1, 1, 1, 6, 6, 4, 4));
    a.cu_q = SAFETY_LIST(I64, 0, 2, 6), a.cu_k = SAFETY_LIST(I64, 0, 3, 6);
    safety_run(NULL, NULL, &a);
    attn_tensor near = safety_copy(a.out);
    attn_tensor rows = attn_tensor_make(a.k.data, f32, SAFETY_DIMS(6, 4));
    rows = reg_far(rows, (INT64_C(1) << 30) + 5, &p, &bytes);
    a.k.data = rows.data, a.k.stride[2] = rows.stride[0];
    safety_run(NULL, NULL, &a);
    munmap(p, bytes);
    safety_same(a.out, near, "packed rows beyond 2^31");
}

/* pytorch#169222: out of bounds when the keys are no multiple of 32. */
static void reg_055_keys_not_32(void **state)
{
    (void)state;
    for (int64_t S = 30; S <= 34; S++) reg_guarded(5, S, 16, 16);
    reg_guarded(5, 97, 16, 16);
}

/* pytorch#191937: keys and values with stride 0, and S % 32 == 1. */
static void reg_056_stride_zero(void **state)
{
    (void)state;
    attn_args a = reg_args(f32, REG_SHAPE(2, 3, 3, 5, 33, 8, 8));
    a.k.stride[0] = a.v.stride[0] = 0;
    a.k.stride[1] = 0;
    a.v.stride[2] = 0;
    safety_run_and_judge(NULL, &a);
}

/* mlc-llm#1889, tt-metal#33434: head widths that are no multiple of 32. */
static void reg_057_widths(void **state)
{
    static const int64_t widths[] = {1, 3, 20, 36, 40, 72, 96, 100, 112, 120, 160, 192};
    (void)state;
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++)
        reg_judge_shape(i % 2 ? f16 : f32, REG_SHAPE(1, 2, 1, 5, 20, widths[i], widths[i]));
}

/* FasterTransformer#89: 80 elements a head. */
static void reg_058_width_80(void **state)
{
    (void)state;
    reg_judge_shape(f32, REG_SHAPE(2, 4, 4, 17, 50, 80, 80));
}

/* ooples/AiDotNet.Tensors#468: a length that is no power of two crashed. */
static void reg_059_lengths(void **state)
{
    (void)state;
    for (int64_t n = 1; n < 60; n += 7)
        reg_judge_shape(f32, REG_SHAPE(1, 1, 1, n, n + 3, 8, 8));
}

/* flame/blis#635: small matrices were read past their end. */
static void reg_060_small(void **state)
{
    (void)state;
    for (int64_t n = 1; n <= 3; n++) reg_guarded(n, n, n, n);
}

/* OpenBLAS#535, #4013: a kernel read past its block. */
static void reg_061_block_ends(void **state)
{
    (void)state;
    for (int64_t n = 15; n <= 17; n++) reg_guarded(n, n, n, n);
    reg_guarded(48, 256, 4, 4);
    reg_guarded(49, 257, 5, 5);
}

/* OpenBLAS#6026: a buffer on the stack was overrun at large depth. */
static void reg_062_large_depth(void **state)
{
    (void)state;
    reg_guarded(2, 3, 9001, 2);
    reg_guarded(2, 3, 2, 9001);
    reg_judge_shape(f32, REG_SHAPE(1, 1, 1, 3, 5, 5000, 5000));
}

/* FlagGems#5235: combining split keys wrote out of bounds for B T H D. */
static void reg_063_split_keys_bthd(void **state)
{
    (void)state;
    guard_catch_faults();
    guard_case c = {
        .ctx = safety_threads(4), .B = 2, .H = 3, .G = 3, .T = 1, .S = 4000, .D = 16, .E = 16};
    c.q = c.kv = c.out = f32;
    c.layout = GUARD_SWAPPED;
    c.spec = ATTN_SPEC(.scale = 1);
    c.about = "split keys";
    guard_run(&c);
}

/* xformers#813: a bias whose rows are not 8-aligned. */
static void reg_064_bias_rows(void **state)
{
    (void)state;
    for (int64_t S = 5; S <= 19; S += 7) {
        attn_args a = reg_args(f16, REG_SHAPE(1, 2, 2, 6, S, 8, 8));
        a.bias = reg_normal(f16, 5, SAFETY_DIMS(1, 2, 6, S));
        safety_run_and_judge(NULL, &a);
    }
}

/* The call on permuted, sliced and reversed views equals the call on copies. */
static void reg_views(attn_tensor q, attn_tensor k, attn_tensor v)
{
    attn_args views = ATTN_ARGS(.q = q, .k = k, .v = v), dense = views;
    views.out = SAFETY_EMPTY(F32, q.shape[0], q.shape[1], q.shape[2], v.shape[3]);
    dense.out = SAFETY_EMPTY(F32, q.shape[0], q.shape[1], q.shape[2], v.shape[3]);
    dense.q = safety_copy(q), dense.k = safety_copy(k), dense.v = safety_copy(v);
    safety_run_and_judge(NULL, &dense);
    for (int isa = 0; safety_isa(isa) != NULL; isa++) {
        safety_run(safety_isa(isa), NULL, &views);
        safety_same(views.out, dense.out, "views and copies");
    }
}

/* pytorch#187506: wrong when the innermost stride is not 1. */
static void reg_065_inner_stride(void **state)
{
    static const int order[] = {0, 1, 3, 2};
    (void)state;
    attn_tensor q = attn_tensor_permute(reg_normal(f32, 1, SAFETY_DIMS(1, 2, 8, 20)), order);
    attn_tensor k = attn_tensor_permute(reg_normal(f32, 2, SAFETY_DIMS(1, 2, 8, 33)), order);
    attn_tensor v = attn_tensor_permute(reg_normal(f32, 3, SAFETY_DIMS(1, 2, 9, 33)), order);
    reg_views(q, k, v);
}

/* pytorch#112577: inputs that are not contiguous returned garbage. */
static void reg_066_not_contiguous(void **state)
{
    static const int order[] = {0, 2, 1, 3};
    (void)state;
    attn_tensor qkv = reg_normal(f32, 1, SAFETY_DIMS(2, 30, 6, 12)); /* B T 3H D, packed */
    qkv = attn_tensor_permute(qkv, order);
    attn_tensor q = attn_tensor_slice(attn_tensor_slice(qkv, 1, 0, 2), 2, 3, 20);
    attn_tensor k = attn_tensor_slice(attn_tensor_slice(qkv, 1, 2, 4), 3, 0, 12);
    attn_tensor v = attn_tensor_slice(attn_tensor_slice(qkv, 1, 4, 6), 3, 5, 11);
    reg_views(q, k, v);
}

/* ROCm/pytorch#3230, FlagGems#5896: v as a transposed view. */
static void reg_067_transposed_v(void **state)
{
    static const int order[] = {0, 1, 3, 2};
    (void)state;
    reg_views(reg_normal(f32, 1, SAFETY_DIMS(2, 2, 7, 16)),
              reg_normal(f32, 2, SAFETY_DIMS(2, 2, 40, 16)),
              attn_tensor_permute(reg_normal(f32, 3, SAFETY_DIMS(2, 2, 16, 40)), order));
}

/* BobMcDear/attorch#14: every head came out as head 0. */
static void reg_068_heads_differ(void **state)
{
    (void)state;
    attn_args a = reg_args(f32, REG_SHAPE(1, 4, 2, 3, 5, 8, 1));
    for (int64_t i = 0; i < safety_count(a.v); i++) safety_put(a.v, i, (double)(i / 5));
    for (int map = 0; map < 2; map++) {
        attn_spec spec = ATTN_SPEC(.head_map = (attn_head_map)map);
        safety_run_and_judge(&spec, &a);
        for (int64_t row = 0; row < 12; row++)
            safety_near(safety_at(a.out, row), (double)(map ? row / 3 % 2 : row / 3 / 2), 1e-6,
                        "the group of a head");
    }
}

/* vllm#2622: a wrong width wrote over other memory. */
static void reg_078_wrong_width(void **state)
{
    (void)state;
    attn_args a = reg_args(f32, REG_SHAPE(1, 2, 2, 4, 9, 16, 8));
    attn_tensor out = a.out;
    a.out = SAFETY_EMPTY(F32, 1, 2, 4, 16);
    assert_int_equal(attn_forward(NULL, NULL, &a, NULL), ATTN_E_SHAPE);
    assert_true(safety_untouched(a.out));
    a.out = out, a.k.shape[3] = 8;
    assert_int_equal(attn_forward(NULL, NULL, &a, NULL), ATTN_E_SHAPE);
    assert_true(safety_untouched(a.out));
}

/* native-sparse-attention-triton#27: values of another width than keys. */
static void reg_084_other_value_width(void **state)
{
    (void)state;
    reg_judge_shape(f32, REG_SHAPE(2, 3, 1, 9, 20, 24, 40));
    reg_judge_shape(f16, REG_SHAPE(1, 2, 2, 9, 20, 192, 128));
    reg_judge_shape(f32, REG_SHAPE(1, 2, 2, 9, 20, 1, 65));
}

/* flash-attention#1897, pegainfer#613: the choice of a path depended on the batch. */
static void reg_093_batch_invariance(void **state)
{
    (void)state;
    attn_args all = reg_args(f32, REG_SHAPE(9, 4, 2, 3, 700, 16, 16));
    safety_run(safety_threads(4), NULL, &all);
    for (int64_t b = 0; b < 9; b++) {
        attn_args one = all;
        one.q = attn_tensor_slice(all.q, 0, b, b + 1),
        one.k = attn_tensor_slice(all.k, 0, b, b + 1);
        one.v = attn_tensor_slice(all.v, 0, b, b + 1), one.lse = (attn_tensor){0};
        one.out = SAFETY_EMPTY(F32, 1, 4, 3, 16);
        safety_run(safety_threads(b % 2 ? 4 : 1), NULL, &one);
        safety_same(one.out, attn_tensor_slice(all.out, 0, b, b + 1), "alone and in company");
    }
}

static void *reg_094_call(void *arg)
{
    return attn_forward(NULL, NULL, arg, NULL) == ATTN_OK ? arg : NULL;
}

/* OpenBLAS#1755, #2126, #5825: concurrent calls gave wrong results. */
static void reg_094_concurrent_calls(void **state)
{
    (void)state;
    attn_args calls[6];
    pthread_t threads[6];
    void *done = NULL;
    for (int i = 0; i < 6; i++) calls[i] = reg_args(f32, REG_SHAPE(1, 4, 4, 60, 300, 32, 32));
    safety_run(NULL, NULL, &calls[0]);
    attn_tensor want = safety_copy(calls[0].out);
    for (int i = 0; i < 6; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, reg_094_call, &calls[i]), 0);
    for (int i = 0; i < 6; i++) {
        pthread_join(threads[i], &done);
        assert_ptr_equal(done, &calls[i]);
        safety_same(calls[i].out, want, "the same call in six threads");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SAFETY_CASE(reg_035_merge_far_strides),
        SAFETY_CASE(reg_046_keys_65537),
        SAFETY_CASE(reg_051_mask_column),
        SAFETY_CASE(reg_052_batch_beyond_2_31),
        SAFETY_CASE(reg_053_bias_stride),
        SAFETY_CASE(reg_054_packed_offset),
        SAFETY_CASE(reg_055_keys_not_32),
        SAFETY_CASE(reg_056_stride_zero),
        SAFETY_CASE(reg_057_widths),
        SAFETY_CASE(reg_058_width_80),
        SAFETY_CASE(reg_059_lengths),
        SAFETY_CASE(reg_060_small),
        SAFETY_CASE(reg_061_block_ends),
        SAFETY_CASE(reg_062_large_depth),
        SAFETY_CASE(reg_063_split_keys_bthd),
        SAFETY_CASE(reg_064_bias_rows),
        SAFETY_CASE(reg_065_inner_stride),
        SAFETY_CASE(reg_066_not_contiguous),
        SAFETY_CASE(reg_067_transposed_v),
        SAFETY_CASE(reg_068_heads_differ),
        SAFETY_CASE(reg_078_wrong_width),
        SAFETY_CASE(reg_084_other_value_width),
        SAFETY_CASE(reg_093_batch_invariance),
        SAFETY_CASE(reg_094_concurrent_calls),
    };
    return cmocka_run_group_tests_name("regression_layout", tests, guard_setup, guard_finish);
}
