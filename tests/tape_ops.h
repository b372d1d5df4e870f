/* SPDX-License-Identifier: MIT
 * Questions asked of every row of ops.def: the table of cases, a case as it is drawn, and the
 * walk over all of them. Used by test_tape_ops.c and test_tape_bits.c.
 *
 *   ATTN_CASES=n  cases of each operation (300)      ATTN_TAPE_OP=name  only this one
 *   ATTN_SEED=s   the first seed                     ATTN_LONG=1  ten times as many */
#ifndef ATTN_TESTS_TAPE_OPS_H
#define ATTN_TESTS_TAPE_OPS_H

#include "tape_run.h"

#include "tape/tape.h"

#define OP(name, flags) extern const tape_case tape_case_##name;
#define OP_0(name)      extern const tape_case tape_case_##name;
#define OP_VIEW(name)   extern const tape_case tape_case_##name;
#include "tape/ops.def"
#undef OP
#undef OP_0
#undef OP_VIEW

static const tape_case *const cases[] = {
#define OP(name, flags) &tape_case_##name,
#define OP_0(name)      &tape_case_##name,
#define OP_VIEW(name)   &tape_case_##name,
#include "tape/ops.def"
#undef OP
#undef OP_0
#undef OP_VIEW
};

enum { N_OPS = sizeof cases / sizeof cases[0] };

static test_contexts contexts;
static tape_meter meter = {.fail_at = -1};
static attn_ctx *metered;

/* ---- a case ----------------------------------------------------------------------------- */

typedef struct ops_case {
    const tape_case *which;
    uint64_t seed;
    test_rng rng;
    test_arena arena;
    tape_draw draw;
    attn_tensor d_out[TAPE_CASE_MOST]; /* f64; absent: not given */
    bool large;
} ops_case;

static const attn_tape_config ops_f64 = {.size = sizeof ops_f64, .dtype = ATTN_DTYPE_F64};
static const attn_tape_config ops_f32 = {.size = sizeof ops_f32, .dtype = ATTN_DTYPE_F32};

static inline void ops_fail(const ops_case *c, const char *what, double got, double want)
{
    fail_msg("%s: %s: got %.17g, want %.17g (ATTN_TAPE_OP=%s ATTN_SEED=%llu ATTN_CASES=1)",
             c->which->op, what, got, want, c->which->op, (unsigned long long)c->seed);
}

static inline void ops_ok(const ops_case *c, const tape_run *r, const char *what)
{
    char text[256] = "";
    if (r->status == ATTN_OK) return;
    attn_error_text(&r->error, text, sizeof text);
    fail_msg("%s: %s: %s: %s (ATTN_TAPE_OP=%s ATTN_SEED=%llu ATTN_CASES=1)", c->which->op, what,
             attn_status_name(r->status), text, c->which->op, (unsigned long long)c->seed);
}

/* Any byte but 0 is true. */
static inline void ops_stir_bools(ops_case *c, const attn_tensor *t)
{
    int64_t index[ATTN_MAX_RANK] = {0};
    uint8_t *data = t->data;
    if (t->dtype != ATTN_DTYPE_BOOL || test_tensor_empty(t)) return;
    do {
        uint8_t *at = data + test_offset(t, index);
        if (*at) *at = (uint8_t)test_rng_range(&c->rng, 1, 255);
    } while (test_index_next(t, index));
}

static inline void ops_begin(ops_case *c, const tape_case *which, uint64_t seed,
                             attn_dtype rounded, bool large)
{
    *c = (ops_case){.which = which, .seed = seed, .rng = test_rng_make(seed), .large = large};
    c->draw.rng = &c->rng;
    c->draw.arena = &c->arena;
    c->draw.room = large ? 150000 : 0;
    which->draw(&c->draw);
    for (int i = 0; i < c->draw.n_in; i++) {
        tape_rounded(&c->draw.in[i], rounded);
        ops_stir_bools(c, &c->draw.in[i]);
    }
}

/* Gradients for the results that have one; now and then none for one of several. */
static inline void ops_draw_d_out(ops_case *c, const tape_run *like)
{
    int given = 0;
    for (int i = 0; i < c->which->n_out; i++) {
        const attn_tensor *y = &like->out[i];
        const bool real = y->dtype == ATTN_DTYPE_F64 || y->dtype == ATTN_DTYPE_F32;
        if (!real || (given > 0 && test_rng_chance(&c->rng, 25))) continue;
        c->d_out[i] =
            test_tensor_layout(&c->arena, &c->rng, ATTN_DTYPE_F64, y->rank, y->shape, false);
        test_fill_normal(&c->d_out[i], &c->rng, 1);
        tape_rounded(&c->d_out[i], ATTN_DTYPE_F32);
        given++;
    }
}

static inline bool ops_has_gradient(const ops_case *c)
{
    bool any = false;
    for (int i = 0; i < c->draw.n_in; i++) any = any || c->draw.grad[i];
    for (int i = 0; any && i < c->which->n_out; i++)
        if (c->d_out[i].dtype != ATTN_DTYPE_NONE) return true;
    return false;
}

/* The f64 tape's values, and its gradients when the case has any. */
static inline tape_run ops_first_run(ops_case *c)
{
    tape_run r = tape_run_case(metered, &ops_f64, c->which, &c->draw, NULL);
    ops_ok(c, &r, "f64 forward");
    ops_draw_d_out(c, &r);
    if (!ops_has_gradient(c)) return r;
    r = tape_run_case(metered, &ops_f64, c->which, &c->draw, c->d_out);
    ops_ok(c, &r, "f64 backward");
    return r;
}

typedef void (*ops_question)(ops_case *c);

static inline void ops_for_cases(int64_t usual, attn_dtype rounded, bool large,
                                 ops_question ask)
{
    const char *only = getenv("ATTN_TAPE_OP");
    const uint64_t seed = (uint64_t)test_env_int("ATTN_SEED", 90001);
    int64_t n = test_env_int("ATTN_CASES", 300) * usual / 300;
    if (!only && !test_env_long() && n > usual) n = usual; /* there are many operations */
    n = test_env_share((n > 0 ? n : 1) * (test_env_long() ? 10 : 1));
    for (size_t k = 0; k < N_OPS; k++) {
        if (only && strcmp(only, cases[k]->op) != 0) continue;
        for (int64_t i = 0; i < n; i++) {
            ops_case c;
            ops_begin(&c, cases[k], seed + (uint64_t)i, rounded, large && !cases[k]->small);
            ask(&c);
            test_arena_reset(&c.arena);
            if (meter.live != meter.base) ops_fail(&c, "memory leaked", (double)meter.live, 0);
        }
    }
}

/* ---- around all ------------------------------------------------------------------------- */

static inline int ops_setup(void **state)
{
    (void)state;
    test_contexts_init(&contexts);
    const attn_config config =
        ATTN_CONFIG(.threads = 1, .alloc = tape_meter_alloc, .alloc_user = &meter);
    if (attn_ctx_create(&metered, &config, NULL) != ATTN_OK) return -1;
    meter.base = meter.live;
    return 0;
}

static inline int ops_finish(void **state)
{
    (void)state;
    attn_ctx_destroy(metered);
    test_contexts_free(&contexts);
    return 0;
}

#endif
