/* SPDX-License-Identifier: MIT
 * Guard pages around calls with other normalisers: forward with its weights, backward with the
 * gradients of sinks and alphas, forward mode; in exactly the workspace that the plan asked
 * for, full of NaN, at sizes around the edges of lanes, panels and chunks. */
#include "guard_case.h"

static const int64_t guard_edges[] = {1,  2,  7,  8,  15,  16,  17,  31,  32,  33,  47,  48,
                                      49, 63, 64, 65, 127, 128, 129, 255, 257, 511, 512, 513};
enum { EDGES = sizeof guard_edges / sizeof guard_edges[0] };

static const struct {
    const char *name;
    attn_spec spec;
    bool sums, sink, alpha; /* lse; a sink; an alpha for each head */
} guard_kinds[] = {
    {"sigmoid", {.normaliser = ATTN_NORM_SIGMOID, .norm_count = true}, false, false, false},
    {"relu2", {.normaliser = ATTN_NORM_RELU2, .norm_mean = true}, false, false, false},
    {"linear", {.normaliser = ATTN_NORM_LINEAR, .norm_shift = 0.5}, false, false, false},
    {"entmax", {.normaliser = ATTN_NORM_ENTMAX}, false, true, true},
    {"sparsemax", {.normaliser = ATTN_NORM_ENTMAX, .alpha = 2}, false, true, false},
    {"entmax 3", {.normaliser = ATTN_NORM_ENTMAX, .alpha = 3}, false, false, false},
    {"top 3", {.normaliser = ATTN_NORM_TOP_K, .top_k = 3}, true, true, false},
    {"top 100", {.normaliser = ATTN_NORM_TOP_K, .top_k = 100}, true, false, false},
};
enum { KINDS = sizeof guard_kinds / sizeof guard_kinds[0] };

static void guard_operands(guard_case *c, const void *arg)
{
    const int kind = *(const int *)arg;
    const attn_dtype real = c->q == ATTN_DTYPE_F64 ? ATTN_DTYPE_F64 : ATTN_DTYPE_F32;
    const attn_tensor q = c->args.q, k = c->args.k, v = c->args.v, out = c->args.out;
    guard_out(c, &c->args.weights, ATTN_DTYPE_F32, SAFETY_DIMS(c->B, c->H, c->T, c->S));
    guard_in(c, &c->args.d_out, ATTN_DTYPE_F32, 4, out.shape);
    guard_out(c, &c->args.d_q, real, 4, q.shape);
    guard_out(c, &c->args.d_k, ATTN_DTYPE_F32, 4, k.shape);
    guard_out(c, &c->args.d_v, ATTN_DTYPE_F32, 4, v.shape);
    guard_in(c, &c->args.t_q, ATTN_DTYPE_F32, 4, q.shape);
    guard_out(c, &c->args.t_out, real, 4, out.shape);
    if (guard_kinds[kind].sums) guard_out(c, &c->args.lse, real, 3, out.shape);
    if (guard_kinds[kind].sink) {
        guard_in(c, &c->args.sink, ATTN_DTYPE_F32, SAFETY_DIMS(c->H));
        guard_out(c, &c->args.d_sink, ATTN_DTYPE_F32, SAFETY_DIMS(c->H));
    }
    if (!guard_kinds[kind].alpha) return;
    guard_in(c, &c->args.alpha, ATTN_DTYPE_F32, SAFETY_DIMS(c->H));
    guard_out(c, &c->args.d_alpha, ATTN_DTYPE_F32, SAFETY_DIMS(c->H));
    for (int64_t h = 0; h < c->H; h++) test_put(&c->args.alpha, &h, 1 + 0.25 * (double)(h % 5));
}

static void guard_shape(int kind, int turn, int64_t T, int64_t S, int64_t D, int64_t E)
{
    static const guard_make_plan makes[] = {attn_plan_create, attn_plan_create_backward,
                                            attn_plan_create_jvp};
    guard_case c = {.B = 1 + turn % 2,
                    .H = 2 + turn % 3,
                    .T = T,
                    .S = S,
                    .D = D,
                    .E = E,
                    .G = 1,
                    .q = turn % 3 ? ATTN_DTYPE_F32 : ATTN_DTYPE_F64,
                    .kv = turn % 5 ? ATTN_DTYPE_F32 : ATTN_DTYPE_BF16,
                    .out = turn % 4 ? ATTN_DTYPE_F32 : ATTN_DTYPE_F16,
                    .layout = (guard_layout)(turn % GUARD_N_LAYOUTS),
                    .ctx = safety_isa(turn % safety_contexts.n_usable),
                    .spec = guard_kinds[kind].spec,
                    .about = guard_kinds[kind].name,
                    .extra = guard_operands,
                    .arg = &kind};
    c.spec.size = sizeof c.spec;
    c.spec.causal = turn % 3 == 0;
    c.spec.align = ATTN_ALIGN_BOTTOM_RIGHT;
    c.spec.dropout = turn % 4 ? 0 : 0.25;
    guard_run_plans(&c, makes, 3);
}

static void guard_edges_of(int kind)
{
    const int share = (int)test_env_int("ATTN_SHARE", 1);
    for (int i = 0; i < EDGES; i++) {
        if ((i + kind) % share != 0) continue;
        guard_shape(kind, i, guard_edges[i], guard_edges[EDGES - 1 - i], 5, 3);
        guard_shape(kind, i + 1, 3, guard_edges[i], 1 + i, 4);
        guard_shape(kind, i + 2, guard_edges[i] % 70, 9, 4, 1 + i);
    }
    guard_shape(kind, 1, 5, 0, 4, 3);
    guard_shape(kind, 2, 0, 5, 4, 3);
}

static void guard_normalisers(void **state)
{
    (void)state;
    guard_catch_faults();
    for (int kind = 0; kind < KINDS; kind++) guard_edges_of(kind);
}

int main(void)
{
    const struct CMUnitTest tests[] = {SAFETY_CASE(guard_normalisers)};
    return cmocka_run_group_tests_name("guard_norm", tests, guard_setup, guard_finish);
}
