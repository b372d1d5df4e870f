/* SPDX-License-Identifier: MIT
 * For tests that ask for gradients of a call they made themselves: every gradient in tensors of
 * its own, forward and backward in one, and both held to the oracle on every instruction set.
 */
#ifndef ATTN_TESTS_GRAD_CALL_H
#define ATTN_TESTS_GRAD_CALL_H

#include "regression.h"

static const attn_spec grad_plain = {.size = sizeof grad_plain};

static inline bool grad_real(const attn_tensor *t)
{
    return t->dtype >= ATTN_DTYPE_F64 && t->dtype <= ATTN_DTYPE_F16;
}

/* Gradients in f32 of every operand that has one; d_out and d_lse unless they are there. */
static inline void grad_ask(attn_args *a)
{
    for (int i = 0; i < ORACLE_N_GRADS; i++) {
        const attn_tensor *operand = test_grad_operand(a, (oracle_grad)i);
        attn_tensor *grad = test_grad_of(a, (oracle_grad)i);
        if (grad_real(operand) && !grad->dtype)
            *grad = safety_make(ATTN_DTYPE_F32, operand->rank, operand->shape);
    }
    if (!a->d_out.dtype) a->d_out = reg_normal(ATTN_DTYPE_F32, 91, a->out.rank, a->out.shape);
    if (!a->d_lse.dtype) a->d_lse = reg_normal(ATTN_DTYPE_F32, 92, a->lse.rank, a->lse.shape);
}

static inline attn_args grad_args(attn_dtype dtype, reg_shape n)
{
    attn_args a = reg_args(dtype, n);
    grad_ask(&a);
    return a;
}

static inline void grad_backward(attn_ctx *ctx, const attn_spec *spec, const attn_args *args)
{
    attn_error error;
    char text[256] = "";
    attn_status status = attn_backward(ctx, spec ? spec : &grad_plain, args, &error);
    if (status != ATTN_OK) attn_error_text(&error, text, sizeof text);
    if (status != ATTN_OK) fail_msg("%s: %s", attn_status_name(status), text);
}

static inline void grad_run(attn_ctx *ctx, const attn_spec *spec, const attn_args *args)
{
    safety_run(ctx, spec, args);
    grad_backward(ctx, spec, args);
}

/* The gradients as they are now, against the oracle. */
static inline void grad_judge(const attn_spec *spec, const attn_args *args)
{
    oracle_grads truth;
    test_report report;
    memset(&report, 0, sizeof report);
    assert_true(
        oracle_backward(&truth, spec ? spec : &grad_plain, args, true, ORACLE_GRAD_FLIP_NONE));
    test_compare_grads(&report, args, &truth);
    oracle_grads_free(&truth);
    if (report.violations != 0) fail_msg("%s", report.text);
}

/* Forward and backward on every usable instruction set, held to the bounds of the oracle. */
static inline void grad_run_and_judge(const attn_spec *spec, const attn_args *args)
{
    for (int i = 0; safety_isa(i) != NULL; i++) {
        grad_run(safety_isa(i), spec, args);
        grad_judge(spec, args);
    }
}

/* The same call with gradients of its own has the same bits. */
static inline void grad_again(attn_ctx *ctx, const attn_spec *spec, const attn_args *args,
                              const char *how)
{
    const char *what = "";
    attn_args other = test_fresh(&safety_arena, args, 'D');
    grad_backward(ctx, spec, &other);
    if (!test_same(args, &other, 'D', &what)) fail_msg("%s differs: %s", what, how);
}

static inline void grad_all_zero(attn_tensor t, const char *what)
{
    for (int64_t i = 0, n = safety_count(t); i < n; i++)
        if (safety_at(t, i) != 0) fail_msg("%s is %g, want 0", what, safety_at(t, i));
}

#endif
