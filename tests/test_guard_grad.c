/* SPDX-License-Identifier: MIT
 * Guard pages around gradients and tangents: each case of guard_operand.h runs forward, then
 * backward with every gradient it can have, then forward mode; out and lse, d_out, d_lse and
 * all results lie between pages that may not be touched, and so does the workspace. */
enum { OPERAND_STEP = 7, OPERAND_LSE = 0 };
#include "guard_operand.h"

static const attn_dtype grad_types[] = {ATTN_DTYPE_F32, ATTN_DTYPE_BF16, ATTN_DTYPE_F64,
                                        ATTN_DTYPE_F16};

static attn_dtype grad_type(int turn)
{
    return grad_types[(turn % 4 + 4) % 4];
}

static bool grad_wide(const guard_case *c)
{
    return c->q == ATTN_DTYPE_F64 || c->kv == ATTN_DTYPE_F64;
}

/* What the forward call leaves must be wide enough; it is an output until then. */
static void grad_add_lse(guard_case *c)
{
    const attn_tensor *out = &c->args.out;
    attn_dtype dtype = grad_wide(c) ? ATTN_DTYPE_F64 : ATTN_DTYPE_F32;
    guard_out(c, &c->args.lse, dtype, 3, out->shape);
}

static void grad_add_outputs(guard_case *c, int turn)
{
    for (int g = 0; g < ORACLE_N_GRADS; g++) {
        attn_tensor like = *test_grad_operand(&c->args, (oracle_grad)g);
        bool real = like.dtype >= ATTN_DTYPE_F64 && like.dtype <= ATTN_DTYPE_F16;
        if (real)
            guard_out(c, test_grad_of(&c->args, (oracle_grad)g), grad_type(turn + g), like.rank,
                      like.shape);
    }
}

static void operand_more(guard_case *c, int turn)
{
    const attn_tensor out = c->args.out, q = c->args.q, k = c->args.k;
    grad_add_lse(c);
    guard_in(c, &c->args.d_out, grad_type(turn), 4, out.shape);
    guard_in(c, &c->args.d_lse, grad_type(turn / 4), 3, out.shape);
    grad_add_outputs(c, turn);
    guard_in(c, &c->args.t_q, grad_type(turn + 1), 4, q.shape);
    guard_in(c, &c->args.t_k, grad_type(turn + 2), 4, k.shape);
    guard_out(c, &c->args.t_out, grad_type(turn + 3), 4, out.shape);
}

static void operand_go(guard_case *c)
{
    static const guard_make_plan makes[] = {attn_plan_create, attn_plan_create_backward,
                                            attn_plan_create_jvp};
    guard_run_plans(c, makes, 3);
}

int main(void)
{
    struct CMUnitTest tests[OPERAND_TESTS];
    operand_tests(tests);
    return cmocka_run_group_tests_name("guard_grad", tests, guard_setup, guard_finish);
}
