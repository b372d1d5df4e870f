/* SPDX-License-Identifier: MIT
 * One guarded call: shapes, types and layout, run at both sides of the slots with a workspace
 * of exactly the planned size, full of NaN. Both runs must give the same bits. */
#ifndef ATTN_TESTS_GUARD_CASE_H
#define ATTN_TESTS_GUARD_CASE_H

#include "guard.h"

enum { GUARD_OPERANDS = 30 };

typedef struct guard_case {
    attn_ctx *ctx;
    int64_t B, H, G, T, S, D, E;
    bool packed_q, packed_k; /* the tensors have batch 1; B counts sequences */
    attn_dtype q, kv, out;
    guard_layout layout;
    guard_side side;
    attn_spec spec;
    attn_args args;
    guard_tensor tensor[GUARD_OPERANDS];
    int n;
    const char *about;
    /* Adds optional operands after q, k, v and out; may be NULL. */
    void (*extra)(struct guard_case *c, const void *arg);
    const void *arg;
} guard_case;

static inline void guard_explain(const guard_case *c, const char *what)
{
    fail_msg("%s: %s B %d H %d G %d T %d S %d D %d E %d, q %s k %s out %s, layout %d, side %s",
             what, c->about, (int)c->B, (int)c->H, (int)c->G, (int)c->T, (int)c->S, (int)c->D,
             (int)c->E, attn_dtype_name(c->q), attn_dtype_name(c->kv), attn_dtype_name(c->out),
             (int)c->layout, c->side == GUARD_LEFT ? "left" : "right");
}

static inline guard_tensor *guard_add(guard_case *c, attn_tensor *field, attn_dtype dtype,
                                      int rank, const int64_t *shape, guard_layout layout)
{
    assert_true(c->n < GUARD_OPERANDS);
    guard_tensor *g = &c->tensor[c->n];
    *g = guard_make(c->n + 1, c->side, dtype, rank, shape, layout);
    c->n++;
    *field = g->view;
    return g;
}

static inline void guard_in(guard_case *c, attn_tensor *field, attn_dtype dtype, int rank,
                            const int64_t *shape)
{
    guard_fill(guard_add(c, field, dtype, rank, shape, c->layout), (uint64_t)c->n + 1);
}

static inline void guard_out(guard_case *c, attn_tensor *field, attn_dtype dtype, int rank,
                             const int64_t *shape)
{
    guard_tensor *g = guard_add(c, field, dtype, rank, shape, c->layout);
    g->output = true;
    guard_paint(g, c->side);
}

static inline void guard_build(guard_case *c, guard_side side)
{
    int64_t q_batch = c->packed_q ? 1 : c->B, k_batch = c->packed_k ? 1 : c->B;
    c->side = side;
    c->n = 0;
    c->args = ATTN_ARGS(.k = {0});
    guard_in(c, &c->args.q, c->q, SAFETY_DIMS(q_batch, c->H, c->T, c->D));
    guard_in(c, &c->args.k, c->kv, SAFETY_DIMS(k_batch, c->G, c->S, c->D));
    guard_in(c, &c->args.v, c->kv, SAFETY_DIMS(k_batch, c->G, c->S, c->E));
    guard_out(c, &c->args.out, c->out, SAFETY_DIMS(q_batch, c->H, c->T, c->E));
    if (c->extra != NULL) c->extra(c, c->arg);
}

typedef attn_status (*guard_make_plan)(attn_plan **plan, attn_ctx *ctx, const attn_spec *spec,
                                       const attn_args *args, attn_error *error);

/* A plan that runs in exactly the workspace it asked for. */
static inline attn_status guard_call(guard_case *c, guard_make_plan make)
{
    attn_plan *plan = NULL;
    attn_status s = make(&plan, c->ctx, &c->spec, &c->args, NULL);
    if (s != ATTN_OK) return s;
    size_t n = attn_plan_workspace(plan);
    char *workspace = guard_place(0, c->side, n, 64);
    memset(workspace, 0xFF, n);
    s = attn_plan_run(plan, &c->args, workspace, n, NULL);
    attn_plan_destroy(plan);
    return s;
}

static inline uint64_t guard_judge(guard_case *c)
{
    uint64_t hash = 0;
    for (int i = 0; i < c->n; i++)
        if (c->tensor[i].output) hash = test_hash_bits(c->tensor[i].view, hash);
    for (int i = 0; i < c->n; i++)
        if (c->tensor[i].output && !guard_gaps_intact(&c->tensor[i], c->side))
            guard_explain(c, "bytes between or around elements were written");
    return hash;
}

static inline uint64_t guard_side_run(guard_case *c, guard_side side,
                                      const guard_make_plan *makes, int n)
{
    guard_build(c, side);
    if (sigsetjmp(guard_jump, 1) != 0) guard_explain(c, "touched memory outside its operands");
    for (int i = 0; i < n; i++) {
        attn_status s = guard_call(c, makes[i]);
        if (s != ATTN_OK) guard_explain(c, attn_status_name(s));
    }
    return guard_judge(c);
}

/* The n plans one after the other, at both sides. */
static inline void guard_run_plans(guard_case *c, const guard_make_plan *makes, int n)
{
    uint64_t right = guard_side_run(c, GUARD_RIGHT, makes, n);
    uint64_t left = guard_side_run(c, GUARD_LEFT, makes, n);
    if (right != left) guard_explain(c, "an element was not written, or read from a gap");
}

static inline void guard_run(guard_case *c)
{
    static const guard_make_plan forward[] = {attn_plan_create};
    guard_run_plans(c, forward, 1);
}

#endif
