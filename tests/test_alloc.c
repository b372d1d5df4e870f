/* SPDX-License-Identifier: MIT
 * Memory that runs out: for every call that allocates, forward, backward and forward mode,
 * allocation number n fails alone, then every allocation from n on, for n = 0, 1, 2 ... until
 * the call succeeds. Each time: E_MEMORY in status and error, nothing leaked, no output byte
 * changed, and the same call with memory works afterwards. A plan allocates nothing when it
 * runs. */
#include "safety.h"

#include <pthread.h>

#include "attn/mech.h"

enum { SLOTS = 512, T = 70, S = 600, D = 3, TRIES = 200 };

/* An allocator that counts, remembers sizes and fails on order. */
typedef struct meter {
    pthread_mutex_t lock;
    int calls, fail_at;
    bool fail_from; /* also every later one */
    int live, refused;
    bool broken; /* a wrong size, alignment or pointer came in */
    struct {
        void *ptr;
        size_t size;
    } slot[SLOTS];
} meter;

static int meter_find(const meter *m, const void *ptr)
{
    for (int i = 0; i < SLOTS; i++)
        if (m->slot[i].ptr == ptr) return i;
    return -1;
}

static void *meter_give(meter *m, size_t size, size_t align)
{
    int n = m->calls++, at = meter_find(m, NULL);
    bool refuse = n == m->fail_at || (m->fail_from && n > m->fail_at && m->fail_at >= 0);
    if (align == 0 || (align & (align - 1)) != 0 || at < 0) m->broken = true;
    if (refuse) m->refused++;
    if (refuse || m->broken) return NULL;
    size_t padded = (size + align - 1) / align * align;
    void *p = aligned_alloc(align, padded);
    if (p != NULL) memset(p, 0xCB, padded);
    m->slot[at].ptr = p;
    m->slot[at].size = size;
    m->live++;
    return p;
}

static void meter_take(meter *m, void *ptr, size_t size)
{
    int at = meter_find(m, ptr);
    if (at < 0 || m->slot[at].size != size) m->broken = true;
    if (at < 0) return;
    m->slot[at].ptr = NULL;
    m->live--;
    free(ptr);
}

static void *meter_alloc(void *user, void *ptr, size_t old_size, size_t new_size, size_t align)
{
    meter *m = user;
    void *p = NULL;
    pthread_mutex_lock(&m->lock);
    if (ptr != NULL && new_size != 0) m->broken = true; /* promised never to happen */
    if (ptr != NULL && new_size == 0) meter_take(m, ptr, old_size);
    if (ptr == NULL && new_size != 0) p = meter_give(m, new_size, align);
    pthread_mutex_unlock(&m->lock);
    return p;
}

static meter counting;

static void meter_reset(int fail_at, bool fail_from)
{
    counting.calls = counting.refused = 0;
    counting.fail_at = fail_at;
    counting.fail_from = fail_from;
}

static void meter_is_clean(int live)
{
    assert_false(counting.broken);
    assert_int_equal(counting.live, live);
}

/* ---- the calls -------------------------------------------------------------------------- */

typedef struct bench {
    attn_ctx *ctx;
    attn_spec spec;
    attn_args args;
} bench;

static attn_config alloc_config(int threads)
{
    return ATTN_CONFIG(.threads = threads, .alloc = meter_alloc, .alloc_user = &counting);
}

static attn_args alloc_args(void)
{
    return ATTN_ARGS(.q = SAFETY_FILLED(F32, 1, 2, 4, T, D),
                     .k = SAFETY_FILLED(BF16, 2, 2, 2, S, D),
                     .v = SAFETY_FILLED(F32, 3, 2, 2, S, D),
                     .out = SAFETY_EMPTY(F32, 2, 4, T, D), .lse = SAFETY_EMPTY(F32, 2, 4, T),
                     .weights = SAFETY_EMPTY(F32, 2, 4, T, S),
                     .q_len = SAFETY_LIST(I64, T, T / 2), .k_len = SAFETY_LIST(I64, S - 1, S),
                     .bias = SAFETY_FILLED(F32, 4, T, S), .d_bias = SAFETY_EMPTY(F32, T, S),
                     .d_out = SAFETY_FILLED(F32, 5, 2, 4, T, D),
                     .d_q = SAFETY_EMPTY(F32, 2, 4, T, D), .d_k = SAFETY_EMPTY(F32, 2, 2, S, D),
                     .d_v = SAFETY_EMPTY(F16, 2, 2, S, D),
                     .t_k = SAFETY_FILLED(F32, 6, 2, 2, S, D),
                     .t_out = SAFETY_EMPTY(F32, 2, 4, T, D),
                     .t_lse = SAFETY_EMPTY(F64, 2, 4, T));
}

static bench alloc_bench(int threads)
{
    bench b = {NULL, ATTN_SPEC(.causal = true, .align = ATTN_ALIGN_BOTTOM_RIGHT), alloc_args()};
    attn_config config = alloc_config(threads);
    meter_reset(-1, false);
    assert_int_equal(attn_ctx_create(&b.ctx, &config, NULL), ATTN_OK);
    return b;
}

static attn_status alloc_ctx(bench *b, attn_error *error)
{
    attn_config config = alloc_config(3);
    attn_ctx *ctx = NULL;
    attn_status s = attn_ctx_create(&ctx, &config, error);
    (void)b;
    assert_true((s == ATTN_OK) == (ctx != NULL));
    attn_ctx_destroy(ctx);
    return s;
}

typedef attn_status (*alloc_make)(attn_plan **plan, attn_ctx *ctx, const attn_spec *spec,
                                  const attn_args *args, attn_error *error);
static const alloc_make makes[] = {attn_plan_create, attn_plan_create_backward,
                                   attn_plan_create_jvp};
enum { MAKES = sizeof makes / sizeof makes[0] };

static attn_status alloc_make_plan(bench *b, alloc_make make, attn_error *error)
{
    attn_plan *plan = NULL;
    attn_status s = make(&plan, b->ctx, &b->spec, &b->args, error);
    assert_true((s == ATTN_OK) == (plan != NULL));
    attn_plan_destroy(plan);
    return s;
}

static attn_status alloc_plan(bench *b, attn_error *error)
{
    return alloc_make_plan(b, attn_plan_create, error);
}

static attn_status alloc_plan_backward(bench *b, attn_error *error)
{
    return alloc_make_plan(b, attn_plan_create_backward, error);
}

static attn_status alloc_plan_jvp(bench *b, attn_error *error)
{
    return alloc_make_plan(b, attn_plan_create_jvp, error);
}

static attn_status alloc_forward(bench *b, attn_error *error)
{
    return attn_forward(b->ctx, &b->spec, &b->args, error);
}

/* On an out and lse of rubbish: memory is all that is asked here. */
static attn_status alloc_backward(bench *b, attn_error *error)
{
    return attn_backward(b->ctx, &b->spec, &b->args, error);
}

static attn_status alloc_jvp(bench *b, attn_error *error)
{
    return attn_jvp(b->ctx, &b->spec, &b->args, error);
}

/* Forward and backward by name: no weight may be written before all memory is there. */
static attn_status alloc_mech(bench *b, attn_error *error)
{
    const attn_args *a = &b->args;
    const struct {
        const char *name;
        attn_tensor slot, gradient;
    } given[] = {{"q", a->q, a->d_q},          {"k", a->k, a->d_k},
                 {"v", a->v, a->d_v},          {"out", a->out, a->d_out},
                 {"weights", a->weights, {0}}, {"bias", a->bias, a->d_bias},
                 {"q_len", a->q_len, {0}},     {"k_len", a->k_len, {0}}};
    const attn_mech *m = attn_mech_find("softmax");
    attn_tensor slots[ATTN_MAX_SLOTS] = {0}, d_slots[ATTN_MAX_SLOTS] = {0};
    attn_value params[ATTN_MAX_PARAMS];
    attn_mech_defaults(m, params);
    for (size_t i = 0; i < sizeof given / sizeof given[0]; i++) {
        slots[attn_mech_slot(m, given[i].name)] = given[i].slot;
        d_slots[attn_mech_slot(m, given[i].name)] = given[i].gradient;
    }
    return attn_mech_run_grad(b->ctx, m, slots, d_slots, params, error);
}

typedef attn_status (*alloc_call)(bench *b, attn_error *error);

static bool alloc_untouched(const bench *b)
{
    const attn_args *a = &b->args;
    const attn_tensor outputs[] = {a->out, a->lse,    a->weights, a->d_q,  a->d_k,
                                   a->d_v, a->d_bias, a->t_out,   a->t_lse};
    for (size_t i = 0; i < sizeof outputs / sizeof outputs[0]; i++)
        if (!safety_untouched(outputs[i])) return false;
    return true;
}

/* One failing try; false when the call no longer reaches allocation n. */
static bool alloc_try(alloc_call call, bench *b, int n, bool from)
{
    attn_error error;
    memset(&error, 0xEE, sizeof error);
    int live = counting.live;
    meter_reset(n, from);
    attn_status s = call(b, &error);
    meter_is_clean(live);
    if (counting.refused == 0) return false;
    assert_int_equal(s, ATTN_E_MEMORY);
    assert_int_equal(error.status, ATTN_E_MEMORY);
    assert_non_null(error.what);
    assert_true(alloc_untouched(b));
    return true;
}

static void alloc_sweep(alloc_call call, int threads, bool from)
{
    bench b = alloc_bench(threads);
    int n = 0;
    while (n < TRIES && alloc_try(call, &b, n, from)) n++;
    assert_in_range(n, 1, TRIES - 1); /* it does allocate, and in the end it succeeds */
    meter_reset(-1, false);
    assert_int_equal(call(&b, NULL), ATTN_OK);
    attn_ctx_destroy(b.ctx);
    meter_is_clean(0);
}

/* ---- cases ------------------------------------------------------------------------------ */

static void alloc_ctx_create(void **state)
{
    (void)state;
    alloc_sweep(alloc_ctx, 1, false);
    alloc_sweep(alloc_ctx, 1, true);
}

static void alloc_plan_create(void **state)
{
    (void)state;
    alloc_sweep(alloc_plan, 1, false);
    alloc_sweep(alloc_plan, 3, true);
    alloc_sweep(alloc_plan_backward, 1, false);
    alloc_sweep(alloc_plan_backward, 3, true);
    alloc_sweep(alloc_plan_jvp, 1, false);
    alloc_sweep(alloc_plan_jvp, 3, true);
}

static void alloc_forward_one_thread(void **state)
{
    (void)state;
    alloc_sweep(alloc_forward, 1, false);
    alloc_sweep(alloc_forward, 1, true);
}

static void alloc_backward_one_thread(void **state)
{
    (void)state;
    alloc_sweep(alloc_backward, 1, false);
    alloc_sweep(alloc_backward, 1, true);
}

static void alloc_jvp_one_thread(void **state)
{
    (void)state;
    alloc_sweep(alloc_jvp, 1, false);
    alloc_sweep(alloc_jvp, 1, true);
}

static void alloc_mech_one_thread(void **state)
{
    (void)state;
    alloc_sweep(alloc_mech, 1, false);
    alloc_sweep(alloc_mech, 1, true);
}

/* A pool without memory is a smaller pool, never another result; so only the failures before
 * the first output byte count as errors. */
static void alloc_threads(alloc_call call, size_t output)
{
    bench b = alloc_bench(1);
    const attn_tensor *t = (const attn_tensor *)(const void *)((const char *)&b.args + output);
    assert_int_equal(call(&b, NULL), ATTN_OK);
    attn_tensor want = safety_copy(*t);
    for (int n = 0; n < TRIES; n++) {
        bench c = alloc_bench(3);
        memset(t->data, SAFETY_RUBBISH, safety_size(*t));
        c.args = b.args;
        meter_reset(n, true);
        attn_status s = call(&c, NULL);
        int refused = counting.refused;
        if (s == ATTN_OK) safety_same(*t, want, "result with little memory");
        if (s != ATTN_OK) assert_int_equal(s, ATTN_E_MEMORY);
        attn_ctx_destroy(c.ctx);
        if (refused == 0) break;
        assert_true(n < TRIES - 1);
    }
    attn_ctx_destroy(b.ctx);
    meter_is_clean(0);
}

static void alloc_all_threads(void **state)
{
    (void)state;
    alloc_threads(alloc_forward, offsetof(attn_args, out));
    alloc_threads(alloc_backward, offsetof(attn_args, d_k));
    alloc_threads(alloc_jvp, offsetof(attn_args, t_out));
}

/* Everything a run needs is in the plan and the workspace, also with workers. */
static void alloc_plan_run_none(void **state)
{
    (void)state;
    for (int i = 0; i < 3 * MAKES; i++) {
        bench b = alloc_bench(1 + i / MAKES);
        attn_plan *plan = NULL;
        assert_int_equal(makes[i % MAKES](&plan, b.ctx, &b.spec, &b.args, NULL), ATTN_OK);
        size_t n = attn_plan_workspace(plan);
        void *workspace = safety_bytes(n);
        meter_reset(0, true);
        for (int run = 0; run < 20; run++)
            assert_int_equal(attn_plan_run(plan, &b.args, workspace, n, NULL), ATTN_OK);
        assert_int_equal(counting.calls, 0);
        attn_plan_destroy(plan);
        attn_ctx_destroy(b.ctx);
        meter_is_clean(0);
    }
}

/* Checking costs no memory either; merging and turning work in place. */
static void alloc_check_none(void **state)
{
    (void)state;
    bench b = alloc_bench(1);
    meter_reset(0, true);
    assert_int_equal(attn_check(&b.spec, &b.args, NULL), ATTN_OK);
    assert_int_equal(counting.calls, 0);
    attn_ctx_destroy(b.ctx);
    meter_is_clean(0);
}

static int alloc_setup(void **state)
{
    memset(&counting, 0, sizeof counting);
    safety_begin(state);
    return pthread_mutex_init(&counting.lock, NULL);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, alloc_setup, safety_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(alloc_ctx_create),         CASE(alloc_plan_create),
        CASE(alloc_forward_one_thread), CASE(alloc_backward_one_thread),
        CASE(alloc_jvp_one_thread),     CASE(alloc_mech_one_thread),
        CASE(alloc_all_threads),        CASE(alloc_plan_run_none),
        CASE(alloc_check_none),
    };
    return cmocka_run_group_tests_name("alloc", tests, NULL, safety_finish);
}
