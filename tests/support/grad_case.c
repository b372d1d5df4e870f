/* SPDX-License-Identifier: MIT
 * Random gradient calls: a random case with out and lse, then what comes in and what is asked
 * for. They are drawn from a stream of their own, so the cases themselves stay what they are.
 *
 * lse is at least as wide as the arithmetic; everything else may be of any float type. */
#include "support/draw.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

typedef struct grad_field {
    const char *name;
    size_t operand, grad;
} grad_field;

static const grad_field fields[] = {
#define GRAD(name) {"d_" #name, offsetof(attn_args, name), offsetof(attn_args, d_##name)},
#include "oracle/grads.def"
#undef GRAD
};

const attn_tensor *test_grad_operand(const attn_args *args, oracle_grad g)
{
    return (const attn_tensor *)(const void *)((const char *)args + fields[g].operand);
}

attn_tensor *test_grad_of(attn_args *args, oracle_grad g)
{
    return (attn_tensor *)(void *)((char *)args + fields[g].grad);
}

const attn_tensor *test_grad_in(const attn_args *args, oracle_grad g)
{
    return (const attn_tensor *)(const void *)((const char *)args + fields[g].grad);
}

const char *test_grad_name(oracle_grad g)
{
    return fields[g].name;
}

/* ---- drawing ---------------------------------------------------------------------------- */

typedef struct grad_draw {
    test_case *c;
    test_rng rng;
} grad_draw;

static bool grad_has(const grad_draw *d, uint64_t option)
{
    return (d->c->options & option) != 0;
}

static bool grad_is_float(attn_dtype dtype)
{
    return dtype >= ATTN_DTYPE_F64 && dtype <= ATTN_DTYPE_F16;
}

static bool grad_wide(const attn_args *a)
{
    return a->q.dtype == ATTN_DTYPE_F64 || a->k.dtype == ATTN_DTYPE_F64 ||
           a->v.dtype == ATTN_DTYPE_F64;
}

static attn_dtype grad_type(grad_draw *d)
{
    static const attn_dtype types[] = {ATTN_DTYPE_F32, ATTN_DTYPE_BF16, ATTN_DTYPE_F16,
                                       ATTN_DTYPE_F64};
    if (grad_has(d, TEST_OPTION(F64)) && test_rng_chance(&d->rng, 70)) return ATTN_DTYPE_F64;
    if (!grad_has(d, TEST_OPTION(DTYPES))) return ATTN_DTYPE_F32;
    return types[test_rng_range(&d->rng, 0, 3)];
}

/* Of the shape of like; all bytes 0xFF. */
static attn_tensor grad_tensor(grad_draw *d, attn_dtype dtype, const attn_tensor *like,
                               bool may_broadcast)
{
    test_arena *arena = &d->c->arena;
    if (grad_has(d, TEST_OPTION(LAYOUT)))
        return test_tensor_layout(arena, &d->rng, dtype, like->rank, like->shape,
                                  may_broadcast);
    attn_tensor t = test_tensor(arena, dtype, like->rank, like->shape);
    memset(t.data, 0xFF, (size_t)attn_tensor_count(t) * attn_dtype_size(dtype));
    return t;
}

static attn_tensor grad_filled(grad_draw *d, const attn_tensor *like)
{
    attn_tensor t = grad_tensor(d, grad_type(d), like, true);
    test_fill_normal(&t, &d->rng, 1);
    return t;
}

static grad_draw grad_start(test_case *c, uint64_t seed, const test_profile *profile)
{
    const uint64_t never = TEST_OPTION(WEIGHTS) | TEST_OPTION(SCORES);
    test_profile p = *profile;
    p.allow = (p.allow ? p.allow : TEST_ALL_OPTIONS) & ~never;
    p.force |= TEST_OPTION(LSE);
    test_case_draw(c, seed, &p);
    grad_draw d = {c, test_rng_make(seed ^ UINT64_C(0x6AD1E57A11))};
    attn_dtype lse = ATTN_DTYPE_F32;
    if (grad_wide(&c->args) ||
        (grad_has(&d, TEST_OPTION(DTYPES)) && test_rng_chance(&d.rng, 30)))
        lse = ATTN_DTYPE_F64;
    c->args.lse = grad_tensor(&d, lse, &c->args.lse, false);
    test_callback_slope(&c->spec, test_rng_chance(&d.rng, 50));
    return d;
}

void test_grad_draw(test_case *c, uint64_t seed, const test_profile *profile)
{
    grad_draw d = grad_start(c, seed, profile);
    attn_args *a = &c->args;
    int64_t incoming = test_rng_range(&d.rng, 0, 9), asked = 0;
    if (incoming > 0) a->d_out = grad_filled(&d, &a->out);
    if (incoming < 6) a->d_lse = grad_filled(&d, &a->lse);
    int share = test_rng_chance(&d.rng, 50) ? 100 : 50;
    for (int i = 0; i < ORACLE_N_GRADS; i++) {
        const attn_tensor *operand = test_grad_operand(a, (oracle_grad)i);
        /* What came later draws nothing where it is absent: older cases stay what they are. */
        if (i >= ORACLE_GRAD_score_w && !operand->dtype) continue;
        bool ask = test_rng_chance(&d.rng, share);
        if (!grad_is_float(operand->dtype) || !ask) continue;
        *test_grad_of(a, (oracle_grad)i) = grad_tensor(&d, grad_type(&d), operand, false);
        asked++;
    }
    if (!asked) a->d_q = grad_tensor(&d, grad_type(&d), &a->q, false);
}

void test_jvp_draw(test_case *c, uint64_t seed, const test_profile *profile)
{
    grad_draw d = grad_start(c, seed, profile);
    attn_args *a = &c->args;
    const struct {
        const attn_tensor *operand;
        attn_tensor *tangent;
    } tangents[] = {{&a->q, &a->t_q},
                    {&a->k, &a->t_k},
                    {&a->v, &a->t_v},
                    {&a->bias_pre, &a->t_bias_pre},
                    {&a->bias, &a->t_bias}};
    int64_t only = test_rng_range(&d.rng, 0, 9); /* one of them, or all there may be */
    for (int64_t i = 0; i < 5; i++)
        if (tangents[i].operand->dtype && (only >= 5 || only == i))
            *tangents[i].tangent = grad_filled(&d, tangents[i].operand);
    if (!a->t_q.dtype && !a->t_k.dtype && !a->t_v.dtype) a->t_q = grad_filled(&d, &a->q);
    bool both = test_rng_chance(&d.rng, 60), lse = test_rng_chance(&d.rng, 50);
    if (both || !lse) a->t_out = grad_tensor(&d, grad_type(&d), &a->out, false);
    if (both || lse) a->t_lse = grad_tensor(&d, grad_type(&d), &a->lse, false);
    if (test_rng_chance(&d.rng, 50)) a->lse = (attn_tensor){0};
    if (test_rng_chance(&d.rng, 30)) a->out = (attn_tensor){0};
}

/* ---- poison ----------------------------------------------------------------------------- */

/* Rows that share memory with others cannot be poisoned alone. */
static bool grad_shares(const attn_tensor *t)
{
    for (int i = 0; i < t->rank; i++)
        if (t->stride[i] == 0 && t->shape[i] > 1) return true;
    return false;
}

/* Whether row (b, h, row) of q sees a key: seen is B H T. */
static void grad_mark_seen(const test_case *c, const oracle_result *r, bool *seen)
{
    for (int64_t n = 0; n < c->n_seq; n++)
        for (int64_t h = 0; h < r->H; h++)
            for (int64_t i = 0; i < c->span[n].T; i++) {
                const test_span *s = &c->span[n];
                int64_t line = (n * r->H + h) * r->W_T + (c->q_packed ? i : s->q_row + i);
                int64_t row = (s->q_batch * r->H + h) * r->T + s->q_row + i;
                for (int64_t j = 0; j < r->W_S; j++)
                    seen[row] = seen[row] || r->weights[line * r->W_S + j] != 0 ||
                                r->weight_rough[line * r->W_S + j] > 0;
            }
}

/* rows: how many of the leading dimensions name a row. Tensors without heads or batch have the
 * same rows in the same order. */
static void grad_poison_rows(const attn_tensor *t, int rows, const bool *seen)
{
    int64_t index[ATTN_MAX_RANK] = {0};
    if (!t->dtype || grad_shares(t) || test_tensor_empty(t)) return;
    do {
        int64_t row = 0;
        for (int i = 0; i < rows; i++) row = row * t->shape[i] + index[i];
        if (!seen[row]) test_put(t, index, (double)NAN);
    } while (test_index_next(t, index));
}

static void grad_poison_keys(const attn_tensor *t, const oracle_result *r)
{
    int64_t index[ATTN_MAX_RANK] = {0};
    if (!t->dtype || t->rank != 4 || grad_shares(t) || test_tensor_empty(t)) return;
    do {
        bool used = false;
        for (int64_t b = 0; b < r->KB; b++)
            if (t->shape[0] == 1 || b == index[0] || r->KB == 1)
                used = used || r->key_used[(b * r->G + index[1]) * r->S + index[2]];
        if (!used) test_put(t, index, (double)NAN);
    } while (test_index_next(t, index));
}

static void grad_poison(test_case *c, const oracle_result *r, bool *seen)
{
    attn_args *a = &c->args;
    const attn_tensor *keys[] = {&a->k, &a->v, &a->t_k, &a->t_v};
    const attn_tensor *rows[] = {&a->q, &a->t_q, &a->d_out};
    bool sink = a->sink.dtype || c->spec.softmax1;
    for (int i = 0; i < 4; i++) grad_poison_keys(keys[i], r);
    /* With a sink, weights of an enormous spread may be 0 of a row that sees keys. */
    if (sink && (c->options & TEST_OPTION(LARGE))) return;
    grad_mark_seen(c, r, seen);
    for (int i = 0; i < 3; i++) grad_poison_rows(rows[i], rows[i]->rank - 1, seen);
    if (!sink) grad_poison_rows(&a->d_lse, a->d_lse.rank, seen);
}

void test_grad_poison(test_case *c)
{
    oracle_result r;
    if (!(c->options & TEST_OPTION(POISON))) return;
    bool made = oracle_attention(&r, &c->spec, &c->args, ORACLE_FLIP_NONE);
    if (made) grad_poison(c, &r, test_alloc(&c->arena, (size_t)(r.B * r.H * r.T) + 1));
    oracle_free(&r);
}
