/* SPDX-License-Identifier: MIT
 * Every row of ops.def, forward and backward: bits that know nothing of threads, instruction
 * sets, layouts, element types of leaves or recording; and memory that runs out at every place
 * in turn. */
#include "tape_ops.h"

/* ---- bits ------------------------------------------------------------------------------- */

static void ops_expect(const ops_case *c, const tape_run *a, const tape_run *b, bool gradients,
                       const char *how)
{
    ops_ok(c, b, how);
    for (int i = 0; i < TAPE_CASE_MOST; i++) {
        if (!tape_same_bits(a->out[i], b->out[i])) ops_fail(c, how, i, -1);
        if (gradients && !tape_same_bits(a->grad[i], b->grad[i])) ops_fail(c, how, -1, i);
    }
}

/* Only large cases are cut into pieces, so threads are for them. */
static void ops_with_contexts(ops_case *c, const attn_tape_config *config,
                              const tape_run *plain, const attn_tensor *d_out)
{
    static const int threads[] = {2, 3, 8, 17};
    const int best = contexts.usable[contexts.n_usable - 1];
    for (size_t i = 0; (c->large || c->which->small) && i < sizeof threads / sizeof threads[0];
         i++) {
        const tape_run r = tape_run_case(test_contexts_get(&contexts, best, threads[i]), config,
                                         c->which, &c->draw, d_out);
        ops_expect(c, plain, &r, true, "threads");
    }
    for (int i = 0; i < contexts.n_usable; i++) {
        const tape_run r = tape_run_case(test_contexts_get(&contexts, contexts.usable[i], 1),
                                         config, c->which, &c->draw, d_out);
        ops_expect(c, plain, &r, true, attn_isa_name(contexts.usable[i]));
    }
}

static void ops_with_config(ops_case *c, const attn_tape_config *config)
{
    const attn_tensor *d_out = ops_has_gradient(c) ? c->d_out : NULL;
    const tape_run plain = tape_run_case(metered, config, c->which, &c->draw, d_out);
    ops_ok(c, &plain, "forward and backward");
    ops_with_contexts(c, config, &plain, d_out);
    attn_tape_config compute = *config;
    compute.compute = true;
    tape_run r = tape_run_case(metered, &compute, c->which, &c->draw, NULL);
    ops_expect(c, &plain, &r, false, "a tape that only computes");
    tape_draw dense = c->draw;
    for (int i = 0; i < dense.n_in; i++) dense.in[i] = tape_copied(&c->arena, dense.in[i]);
    r = tape_run_case(metered, config, c->which, &dense, d_out);
    ops_expect(c, &plain, &r, true, "dense operands");
}

static void ops_ask_bits(ops_case *c)
{
    (void)ops_first_run(c);
    ops_with_config(c, &ops_f32);
    ops_with_config(c, &ops_f64);
}

static void ops_bits(void **state)
{
    (void)state;
    ops_for_cases(12, ATTN_DTYPE_F32, false, ops_ask_bits);
    ops_for_cases(3, ATTN_DTYPE_F32, true, ops_ask_bits);
}

/* Operands of every float type that holds the same numbers. */
static void ops_widen(ops_case *c, tape_run *r)
{
    for (int i = 0; i < TAPE_CASE_MOST; i++)
        if (r->out[i].dtype != ATTN_DTYPE_NONE)
            r->out[i] = test_tensor_dense(&c->arena, r->out[i], ATTN_DTYPE_F64);
}

/* Views have the type of what they look at, so results are compared as numbers. */
static void ops_ask_types(ops_case *c)
{
    static const attn_dtype types[] = {ATTN_DTYPE_F32, ATTN_DTYPE_BF16};
    (void)ops_first_run(c);
    const attn_tensor *d_out = ops_has_gradient(c) ? c->d_out : NULL;
    tape_run plain = tape_run_case(metered, &ops_f32, c->which, &c->draw, d_out);
    ops_widen(c, &plain);
    for (size_t k = 0; k < sizeof types / sizeof types[0]; k++) {
        tape_draw other = c->draw;
        for (int i = 0; i < other.n_in; i++)
            if (other.in[i].dtype == ATTN_DTYPE_F64)
                other.in[i] = test_tensor_dense(&c->arena, other.in[i], types[k]);
        tape_run r = tape_run_case(metered, &ops_f32, c->which, &other, d_out);
        ops_widen(c, &r);
        ops_expect(c, &plain, &r, true, attn_dtype_name(types[k]));
    }
}

static void ops_types(void **state)
{
    (void)state;
    ops_for_cases(12, ATTN_DTYPE_BF16, false, ops_ask_types);
}

/* ---- memory ----------------------------------------------------------------------------- */

static uint64_t ops_hash(const ops_case *c)
{
    uint64_t hash = 0;
    for (int i = 0; i < c->draw.n_in; i++) hash = test_hash_bits(c->draw.in[i], hash);
    return hash;
}

static void ops_ask_memory(ops_case *c)
{
    (void)ops_first_run(c);
    const attn_tensor *d_out = ops_has_gradient(c) ? c->d_out : NULL;
    const uint64_t hash = ops_hash(c);
    for (int64_t k = 0;; k++) {
        meter.calls = 0;
        meter.fail_at = k;
        const tape_run r = tape_run_case(metered, &ops_f32, c->which, &c->draw, d_out);
        const bool reached = meter.calls > k;
        meter.fail_at = -1;
        if (meter.live != meter.base) ops_fail(c, "leak at failing allocation", (double)k, 0);
        if (ops_hash(c) != hash) ops_fail(c, "inputs changed at failing", (double)k, 0);
        if (!reached) break;
        if (r.status != ATTN_E_MEMORY || r.error.status != r.status || !*r.error.where)
            ops_fail(c, "status of a failing allocation", r.status, ATTN_E_MEMORY);
    }
}

static void ops_memory(void **state)
{
    (void)state;
    ops_for_cases(4, ATTN_DTYPE_F32, false, ops_ask_memory);
}

/* ---- the program ------------------------------------------------------------------------ */

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(ops_bits), cmocka_unit_test(ops_types),
                                       cmocka_unit_test(ops_memory)};
    return cmocka_run_group_tests(tests, ops_setup, ops_finish);
}
