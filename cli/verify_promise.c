/* SPDX-License-Identifier: MIT
 * What every mechanism promises by its traits, and what the numeric contract promises for all:
 * the same bits from any kernel table, any number of threads and any batch. */
#include "verify.h"

#include <math.h>
#include <string.h>

/* What a problem gives, in a new dense tensor; absent when it failed. */
typedef attn_tensor (*promise_fn)(const verify_problem *p, attn_ctx *ctx);

/* Its first output. */
static attn_tensor promise_run(const verify_problem *p, attn_ctx *ctx)
{
    attn_tensor out = verify_new_output(p);
    if (out.data && !verify_run(p, ctx, out)) cli_array_free(&out);
    return out;
}

/* A changed problem against the problem itself: bits where allowed is 0. */
static double promise_compare(promise_fn run, const verify_problem *a, attn_ctx *actx,
                              const verify_problem *b, attn_ctx *bctx, bool bits)
{
    attn_tensor x = run(a, actx), y = run(b, bctx);
    double error = HUGE_VAL;
    if (x.data && y.data)
        error = !bits ? verify_difference(x, y) : verify_same_bits(x, y) ? 0 : HUGE_VAL;
    cli_array_free(&x);
    cli_array_free(&y);
    return error;
}

static double promise_any_threads(promise_fn run, const verify_problem *p, attn_ctx *ctx)
{
    attn_ctx *one = NULL;
    uint32_t mask = 0;
    for (int i = 0; attn_isa_name(i); i++)
        if (attn_isa_usable(ctx, i)) mask |= attn_isa_bit(i);
    attn_config config = ATTN_CONFIG(.threads = 1, .isa_mask = mask);
    if (attn_ctx_create(&one, &config, NULL) != ATTN_OK) return HUGE_VAL;
    double error = promise_compare(run, p, ctx, p, one, true);
    attn_ctx_destroy(one);
    return error;
}

/* ctx against the weakest table, the written-out loops. */
static double promise_any_table(promise_fn run, const verify_problem *p, attn_ctx *ctx)
{
    static const char *const settings[] = {
        "", "causal=true align=bottom_right", "softcap=3 window_left=5 align=top_left",
        "rope=half rope_base=100 align=top_left", "softmax1=true dropout=0.25 seed=7"};
    attn_ctx *weakest = NULL;
    attn_config config = ATTN_CONFIG(.threads = 1, .isa_mask = 1);
    if (attn_ctx_create(&weakest, &config, NULL) != ATTN_OK) return HUGE_VAL;
    double worst = 0;
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        verify_problem changed = *p;
        if (!verify_set(&changed, settings[i])) continue;
        worst = fmax(worst, promise_compare(run, &changed, ctx, &changed, weakest, true));
    }
    attn_ctx_destroy(weakest);
    return worst;
}

static double promise_threads(const verify_problem *p, attn_ctx *ctx)
{
    return promise_any_threads(promise_run, p, ctx);
}

static double promise_tables(const verify_problem *p, attn_ctx *ctx)
{
    return promise_any_table(promise_run, p, ctx);
}

static double promise_grad_threads(const verify_problem *p, attn_ctx *ctx)
{
    return promise_any_threads(verify_random_gradients, p, ctx);
}

static double promise_grad_tables(const verify_problem *p, attn_ctx *ctx)
{
    return promise_any_table(verify_random_gradients, p, ctx);
}

static double promise_rows_sum_1(const verify_problem *p, attn_ctx *ctx)
{
    int v = attn_mech_slot(p->mech, "v");
    if (v < 0) return HUGE_VAL;
    verify_problem ones = *p;
    float one = 1;
    ones.slots[v].data = &one;
    memset(ones.slots[v].stride, 0, sizeof ones.slots[v].stride);
    attn_tensor out = promise_run(&ones, ctx);
    if (!out.data) return HUGE_VAL;
    attn_tensor want = ones.slots[v];
    memcpy(want.shape, out.shape, sizeof want.shape);
    double error = verify_difference(out, want);
    cli_array_free(&out);
    return error;
}

/* The dimensions called S, from behind. */
static void promise_turn(const char *shape, attn_tensor *t)
{
    int dim = 0;
    for (const char *c = shape; *c; c++) {
        if (*c == ' ') dim++;
        if (*c != 'S' || (c[1] != ' ' && c[1] != 0)) continue;
        t->data = (char *)t->data +
                  (t->shape[dim] - 1) * t->stride[dim] * (int64_t)attn_dtype_size(t->dtype);
        t->stride[dim] = -t->stride[dim];
    }
}

/* Keys and values read backwards, through negative strides. */
static double promise_key_permutable(const verify_problem *p, attn_ctx *ctx)
{
    verify_problem turned = *p;
    for (int i = 0; p->mech->slots[i].name; i++) {
        attn_tensor *t = &turned.slots[i];
        if (!t->data || (p->mech->slots[i].kind & ATTN_OUT)) continue;
        promise_turn(p->mech->slots[i].shape, t);
    }
    return promise_compare(promise_run, p, ctx, &turned, ctx, false);
}

static double promise_linear_in_v(const verify_problem *p, attn_ctx *ctx)
{
    int v = attn_mech_slot(p->mech, "v");
    attn_tensor twice =
        v < 0 ? (attn_tensor){0}
              : cli_array_new(ATTN_DTYPE_F32, p->slots[v].rank, p->slots[v].shape);
    if (!twice.data) return HUGE_VAL;
    int64_t n = attn_tensor_count(twice);
    for (int64_t i = 0; i < n; i++)
        ((float *)twice.data)[i] = 2 * ((const float *)p->slots[v].data)[i];
    verify_problem doubled = *p;
    doubled.slots[v] = twice;
    attn_tensor out = promise_run(p, ctx), out2 = promise_run(&doubled, ctx);
    n = out.data ? attn_tensor_count(out) : 0;
    for (int64_t i = 0; i < n; i++) ((float *)out.data)[i] *= 2;
    double error = out.data && out2.data && verify_same_bits(out, out2) ? 0 : HUGE_VAL;
    cli_array_free(&twice);
    cli_array_free(&out);
    cli_array_free(&out2);
    return error;
}

/* Whether its first dimension is the batch, and more than a broadcast 1. */
static bool promise_has_batch(const char *shape, const attn_tensor *t)
{
    int rank = 1;
    const bool broadcasts = *shape == '*';
    for (const char *p = shape; *p; p++) rank += *p == ' ';
    return t->data && shape[broadcasts] == 'B' && t->rank == rank && t->shape[0] > 1;
}

/* Sequence 1 alone against sequence 1 in its batch. */
static double promise_batch_free(const verify_problem *p, attn_ctx *ctx)
{
    verify_problem alone = *p;
    for (int i = 0; p->mech->slots[i].name; i++)
        if (promise_has_batch(p->mech->slots[i].shape, &alone.slots[i]))
            alone.slots[i] = attn_tensor_slice(alone.slots[i], 0, 1, 2);
    attn_tensor all = promise_run(p, ctx), one = promise_run(&alone, ctx);
    double error = HUGE_VAL;
    if (all.data && one.data)
        error = verify_same_bits(attn_tensor_slice(all, 0, 1, 2), one) ? 0 : HUGE_VAL;
    cli_array_free(&all);
    cli_array_free(&one);
    return error;
}

/* Only the mechanism that a cache serves: none other takes one. */
static bool promise_caches(const attn_mech *mech)
{
    return strcmp(mech->name, "softmax") == 0;
}

/* A mask that forbids everything. */
static double promise_masked_row_zero(const verify_problem *p, attn_ctx *ctx)
{
    int mask = attn_mech_slot(p->mech, "mask"), rank;
    int64_t shape[ATTN_MAX_RANK];
    if (mask < 0 ||
        attn_mech_shape(p->mech, p->slots, p->params, mask, &rank, shape, NULL) != ATTN_OK)
        return HUGE_VAL;
    verify_problem masked = *p;
    masked.slots[mask] = cli_array_new(ATTN_DTYPE_BOOL, rank, shape);
    attn_tensor out = promise_run(&masked, ctx);
    double error = out.data ? 0 : HUGE_VAL;
    for (int64_t i = 0; out.data && i < attn_tensor_count(out); i++)
        if (cli_array_get(out, i) != 0) error = HUGE_VAL;
    cli_array_free(&out);
    cli_array_free(&masked.slots[mask]);
    return error;
}

static const struct verify_promise_row {
    const char *name;
    uint32_t trait;                      /* 0: promised by all */
    bool (*only)(const attn_mech *mech); /* by these; NULL: by all */
    double allowed;
    double (*error)(const verify_problem *p, attn_ctx *ctx);
} promise_rows[] = {
    {"same bits on every kernel table", 0, NULL, 0, promise_tables},
    {"same bits for any number of threads", 0, NULL, 0, promise_threads},
    {"gradients: same bits on every table", 0, verify_differentiable, 0, promise_grad_tables},
    {"gradients: same bits for any threads", 0, verify_differentiable, 0, promise_grad_threads},
    {"same bits in any batch", ATTN_BATCH_FREE, NULL, 0, promise_batch_free},
    {"decoding over a cache: bits of prefill", 0, promise_caches, 0, verify_cache},
    {"weights sum to 1", ATTN_ROWS_SUM_1, NULL, 1e-6, promise_rows_sum_1},
    {"order of keys does not matter", ATTN_KEY_PERMUTABLE, NULL, 2e-6, promise_key_permutable},
    {"linear in the values", ATTN_LINEAR_IN_V, NULL, 0, promise_linear_in_v},
    {"a masked row is 0", ATTN_MASKED_ROW_ZERO, NULL, 0, promise_masked_row_zero},
};

enum { PROMISE_ROWS = (int)(sizeof promise_rows / sizeof promise_rows[0]) };

bool verify_promise(int i, const verify_problem *p, attn_ctx *ctx, const char **name,
                    verify_finding *finding)
{
    if (i >= PROMISE_ROWS) return false;
    const struct verify_promise_row *row = &promise_rows[i];
    bool applies =
        (p->mech->traits & row->trait) == row->trait && (!row->only || row->only(p->mech));
    *name = row->name;
    *finding = (verify_finding){.applies = applies, .allowed = row->allowed};
    if (applies) finding->error = row->error(p, ctx);
    return true;
}
