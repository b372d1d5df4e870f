/* SPDX-License-Identifier: MIT
 * Failures others had with the layout and the size of gradients: offsets past 2^31, keys no
 * multiple of anything, inner strides, segments of length zero. */
#include "grad_call.h"

#include <sys/mman.h>

static const attn_dtype f32 = ATTN_DTYPE_F32;

/* ---- large sizes and strides ------------------------------------------------------------ */

/* pytorch#145040, #150054: illegal access in the backward from 65,536 keys, or a large batch.
 */
static void reg_047_backward_65537(void **state)
{
    (void)state;
    static const reg_shape shapes[] = {
        {1, 1, 1, 2, 65537, 2, 3}, {1, 1, 1, 65537, 2, 3, 2}, {65537, 1, 1, 2, 2, 1, 1}};
    for (int i = 0; i < 3; i++) {
        attn_args a = grad_args(f32, shapes[i]);
        grad_run(safety_threads(2), NULL, &a);
        grad_judge(NULL, &a);
        test_arena_reset(&safety_arena);
    }
}

/* A tensor of the same elements whose dimension dim has a stride of its own, over reserved
 * address space; freed by the caller. */
static attn_tensor reg_far(attn_tensor t, int dim, int64_t stride, void **p, size_t *bytes)
{
    attn_tensor far = t;
    *bytes = (size_t)((t.shape[dim] - 1) * stride + safety_count(t)) * attn_dtype_size(t.dtype);
    *p = mmap(NULL, *bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
              -1, 0);
    if (*p == MAP_FAILED) {
        print_message("# skipped: this much address space is not available here\n");
        skip();
    }
    far.data = *p;
    far.stride[dim] = stride;
    for (int64_t i = 0, n = safety_count(t); i < n; i++) safety_put(far, i, safety_at(t, i));
    return far;
}

/* One tensor far spread in one dimension; all gradients stay what they were. */
static void reg_spread(size_t at, int dim, int64_t stride)
{
    void *p;
    size_t bytes;
    attn_args a = grad_args(f32, REG_SHAPE(3, 2, 2, 5, 7, 8, 6)), far;
    grad_run(NULL, NULL, &a);
    far = test_fresh(&safety_arena, &a, 'D');
    attn_tensor *moved = (attn_tensor *)(void *)((char *)&far + at);
    *moved = reg_far(*moved, dim, stride, &p, &bytes);
    grad_backward(NULL, NULL, &far);
    const char *what = "";
    bool same = test_same(&a, &far, 'D', &what);
    munmap(p, bytes);
    if (!same) fail_msg("%s with a stride of %lld", what, (long long)stride);
}

static const int64_t reg_strides[] = {(INT64_C(1) << 31) - 1, (INT64_C(1) << 31) + 3,
                                      (INT64_C(1) << 32) + 5};

#define REG_SPREAD(field, dim)                                                                 \
    for (int i = 0; i < 3; i++) reg_spread(offsetof(attn_args, field), (dim), reg_strides[i])

/* pytorch#190857: addresses of keys and values past INT32_MAX in the backward. */
static void reg_048_far_keys(void **state)
{
    (void)state;
    REG_SPREAD(k, 0);
    REG_SPREAD(v, 0);
    REG_SPREAD(d_k, 0);
    REG_SPREAD(d_v, 2);
}

/* flash-attention#1500: the row offset into the accumulated d_q overflowed. */
static void reg_049_far_query_gradients(void **state)
{
    (void)state;
    REG_SPREAD(d_q, 0);
    REG_SPREAD(d_q, 1);
    REG_SPREAD(d_q, 2);
    REG_SPREAD(q, 0);
}

/* flash-attention#2611: a large outer stride of d_out overflowed 32 bits. */
static void reg_050_far_incoming_gradient(void **state)
{
    (void)state;
    REG_SPREAD(d_out, 0);
    REG_SPREAD(d_out, 1);
    REG_SPREAD(out, 0);
    REG_SPREAD(lse, 0);
    REG_SPREAD(d_lse, 0);
}

/* ---- layouts and lengths ---------------------------------------------------------------- */

/* pytorch#169222, #191937: keys no multiple of 32, and k and v of stride 0. */
static void reg_055_odd_key_counts(void **state)
{
    static const int64_t keys[] = {1, 31, 33, 63, 65, 97, 129, 257, 513};
    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        attn_args a = reg_args(f32, REG_SHAPE(1, 2, 2, 17, keys[i], 12, 12));
        grad_ask(&a);
        grad_run_and_judge(NULL, &a);
        a.k.stride[1] = a.v.stride[1] = 0;
        grad_run_and_judge(NULL, &a);
        test_arena_reset(&safety_arena);
    }
}

/* pytorch#187506, #112577, ROCm/pytorch#3230: inner strides other than 1, transposed v. */
static void reg_065_inner_strides(void **state)
{
    (void)state;
    attn_args a = grad_args(f32, REG_SHAPE(2, 2, 2, 20, 33, 8, 8)), odd;
    grad_run(NULL, NULL, &a);
    odd = test_fresh(&safety_arena, &a, 'D');
    attn_tensor *turned[] = {&odd.q, &odd.k, &odd.v, &odd.d_out, &odd.d_q, &odd.d_k, &odd.d_v};
    for (int i = 0; i < 7; i++) {
        attn_tensor from = *turned[i], t = from;
        const int64_t shape[4] = {t.shape[0], t.shape[1], t.shape[3], t.shape[2]};
        t = attn_tensor_permute(safety_make(f32, 4, shape), (const int[]){0, 1, 3, 2});
        for (int64_t k = 0; k < safety_count(t); k++) safety_put(t, k, safety_at(from, k));
        *turned[i] = t;
    }
    grad_backward(NULL, NULL, &odd);
    const char *what = "";
    if (!test_same(&a, &odd, 'D', &what)) fail_msg("%s of transposed tensors", what);
}

/* flash-attention#2470: no keys at all. Queries have no gradient, with a sink nor without. */
static void reg_069_no_keys(void **state)
{
    (void)state;
    for (int sink = 0; sink < 2; sink++) {
        attn_args a = reg_args(f32, REG_SHAPE(2, 3, 3, 9, 0, 8, 8));
        if (sink) a.sink = SAFETY_FILLED(F32, 5, 3);
        grad_ask(&a);
        for (int isa = 0; safety_isa(isa) != NULL; isa++) {
            grad_run(safety_isa(isa), NULL, &a);
            grad_all_zero(a.d_q, "d_q without keys");
            grad_judge(NULL, &a);
        }
    }
}

static attn_args reg_packed(attn_tensor cu_q, attn_tensor cu_k)
{
    attn_args a = reg_args(f32, REG_SHAPE(1, 4, 2, 60, 80, 16, 8));
    a.cu_q = cu_q, a.cu_k = cu_k;
    grad_ask(&a);
    return a;
}

/* flash-attention#2568: segments of length zero in the backward; rows behind the last one. */
static void reg_070_empty_segments(void **state)
{
    (void)state;
    attn_spec spec = ATTN_SPEC(.causal = true, .align = ATTN_ALIGN_BOTTOM_RIGHT);
    attn_args a = reg_packed(SAFETY_LIST(I32, 0, 0, 17, 17, 17, 50, 55, 55),
                             SAFETY_LIST(I32, 0, 9, 9, 30, 30, 70, 70, 70));
    attn_tensor k = attn_tensor_slice(a.d_k, 2, 70, 80),
                q = attn_tensor_slice(a.d_q, 2, 50, 60);
    for (int isa = 0; safety_isa(isa) != NULL; isa++) {
        grad_run(safety_isa(isa), &spec, &a);
        grad_all_zero(q, "d_q of a segment without keys, and behind the last segment");
        grad_all_zero(k, "d_k behind the last segment");
        grad_all_zero(attn_tensor_slice(a.d_k, 2, 0, 9), "d_k of a segment without queries");
        grad_judge(&spec, &a);
    }
}

/* flash-attention#1537: at most one query a segment, some none. */
static void reg_071_single_queries(void **state)
{
    (void)state;
    attn_args a =
        reg_packed(SAFETY_LIST(I64, 0, 1, 1, 2, 3, 3), SAFETY_LIST(I64, 0, 40, 45, 45, 46, 80));
    grad_run_and_judge(NULL, &a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SAFETY_CASE(reg_047_backward_65537),
        SAFETY_CASE(reg_048_far_keys),
        SAFETY_CASE(reg_049_far_query_gradients),
        SAFETY_CASE(reg_050_far_incoming_gradient),
        SAFETY_CASE(reg_055_odd_key_counts),
        SAFETY_CASE(reg_065_inner_strides),
        SAFETY_CASE(reg_069_no_keys),
        SAFETY_CASE(reg_070_empty_segments),
        SAFETY_CASE(reg_071_single_queries),
    };
    return cmocka_run_group_tests_name("regression_grad_layout", tests, NULL, safety_finish);
}
