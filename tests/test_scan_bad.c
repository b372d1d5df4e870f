/* SPDX-License-Identifier: MIT
 * Scans and what goes wrong: every broken rule has its status and its field, whoever is asked
 * (check, forward, plan, run), and no output byte changes; memory that runs out; workspaces
 * full of NaN, too small or misaligned; plans asked for other tensors; and values that are no
 * numbers.
 */
#include "safety.h"

#include "attn/recurrent.h"

enum { N = 2, H = 4, G = 2, S = 6, D = 5, E = 3 };

typedef struct bad_scan {
    attn_scan_spec spec;
    attn_scan_args args;
} bad_scan;

static bad_scan scan_good(attn_scan_update update)
{
    return (bad_scan){ATTN_SCAN_SPEC(.update = update),
                      ATTN_SCAN_ARGS(.q = SAFETY_FILLED(F32, 1, N, H, S, D),
                                     .k = SAFETY_FILLED(F32, 2, N, G, S, D),
                                     .v = SAFETY_FILLED(F32, 3, N, G, S, E),
                                     .decay = SAFETY_FILLED(F32, 4, N, G, S),
                                     .state = SAFETY_FILLED(F64, 5, N, G, D, E),
                                     .out = SAFETY_EMPTY(F32, N, H, S, E),
                                     .final_state = SAFETY_EMPTY(F64, N, G, D, E))};
}

/* ---- one broken rule a row --------------------------------------------------------------- */

#define EDIT(name, ...)                                                                        \
    static void name(bad_scan *c)                                                              \
    {                                                                                          \
        __VA_ARGS__;                                                                           \
    }
EDIT(no_q, c->args.q.dtype = ATTN_DTYPE_NONE)
EDIT(no_v, c->args.v.dtype = ATTN_DTYPE_NONE)
EDIT(no_result, c->args.out.dtype = c->args.final_state.dtype = ATTN_DTYPE_NONE)
EDIT(no_data, c->args.k.data = NULL)
EDIT(old_spec, c->spec.size = 8)
EDIT(old_args, c->args.size = 8)
EDIT(odd_update, c->spec.update = (attn_scan_update)7)
EDIT(odd_map, c->spec.head_map = (attn_head_map)5)
EDIT(wild_scale, c->spec.scale = (double)NAN)
EDIT(wild_eps, c->spec.normalise = true; c->spec.eps = -1)
EDIT(lone_eps, c->spec.eps = 1)
EDIT(delta_sum, c->spec.update = ATTN_SCAN_DELTA; c->spec.normalise = true)
EDIT(lone_beta, c->args.beta = SAFETY_FILLED(F32, 6, N, G, S))
EDIT(lone_z, c->args.final_z = SAFETY_EMPTY(F32, N, G, D))
EDIT(q_rank, c->args.q.rank = 5)
EDIT(decay_rank, c->args.decay.rank = 5)
EDIT(beta_rank, c->spec.update = ATTN_SCAN_DELTA; c->args.beta = SAFETY_FILLED(F32, 6, G, S))
EDIT(int_k, c->args.k.dtype = ATTN_DTYPE_I32)
EDIT(float_len, c->args.k_len = SAFETY_FILLED(F32, 6, N))
EDIT(width, c->args.k.shape[3] = D - 1)
EDIT(tokens, c->args.v.shape[2] = S - 1)
EDIT(queries, c->args.q.shape[2] = c->args.out.shape[2] = S - 1)
EDIT(heads, c->args.q.shape[1] = c->args.out.shape[1] = 3)
EDIT(state_shape, c->args.state.shape[2] = D - 1)
EDIT(decay_shape, c->args.decay.shape[1] = 1)
EDIT(huge_dim, c->args.q.shape[0] = INT64_C(1) << 50)
EDIT(below, c->args.v.shape[3] = -1)
EDIT(crooked, c->args.q.data = (char *)c->args.q.data + 1)
EDIT(twice, c->args.out.stride[2] = 0)
EDIT(over_input, c->args.out.data = c->args.q.data)
EDIT(over_state, c->args.final_state.data = (double *)c->args.state.data + 1)
EDIT(q_len_causal, c->args.q_len = SAFETY_LIST(I64, 1, 1))
EDIT(long_len, c->args.k_len = SAFETY_LIST(I64, 1, S + 1))
EDIT(negative_len, c->args.k_len = SAFETY_LIST(I64, -1, 1))
EDIT(lone_cu_q, c->spec.whole = true; c->args.cu_q = SAFETY_LIST(I64, 0, 1))
EDIT(batch_packed, c->args.cu_k = SAFETY_LIST(I64, 0, 3, S))
static void packed(bad_scan *c)
{
    attn_scan_args *a = &c->args;
    attn_tensor *const rows[] = {&a->q, &a->k, &a->v, &a->out, &a->decay};
    for (int i = 0; i < 5; i++) *rows[i] = attn_tensor_slice(*rows[i], 0, 0, 1);
    a->cu_k = SAFETY_LIST(I64, 0, 3, S);
}
EDIT(falling_cu, packed(c); ((int64_t *)c->args.cu_k.data)[1] = S + 1)
EDIT(late_cu, packed(c); ((int64_t *)c->args.cu_k.data)[0] = 1)
EDIT(far_cu, packed(c); ((int64_t *)c->args.cu_k.data)[2] = S + 1)
EDIT(cu_and_len, packed(c); c->args.k_len = SAFETY_LIST(I64, 1, 1))

static const struct bad_scan_row {
    const char *name;
    void (*edit)(bad_scan *c);
    attn_status status;
    const char *where;
} bad_scan_rows[] = {
    {"no q", no_q, ATTN_E_NULL, "q"},
    {"no v", no_v, ATTN_E_NULL, "v"},
    {"nothing asked for", no_result, ATTN_E_NULL, "out"},
    {"k without data", no_data, ATTN_E_NULL, "k"},
    {"spec of another size", old_spec, ATTN_E_VERSION, "spec"},
    {"args of another size", old_args, ATTN_E_VERSION, "args"},
    {"update out of list", odd_update, ATTN_E_ENUM, "update"},
    {"head map out of list", odd_map, ATTN_E_ENUM, "head_map"},
    {"scale is no number", wild_scale, ATTN_E_PARAM, "scale"},
    {"eps negative", wild_eps, ATTN_E_PARAM, "eps"},
    {"eps alone", lone_eps, ATTN_E_PARAM, "eps"},
    {"delta normalised", delta_sum, ATTN_E_PARAM, "normalise"},
    {"beta alone", lone_beta, ATTN_E_PARAM, "beta"},
    {"sum of keys alone", lone_z, ATTN_E_PARAM, "state_z"},
    {"q of rank 5", q_rank, ATTN_E_RANK, "q"},
    {"decay of rank 5", decay_rank, ATTN_E_RANK, "decay"},
    {"beta of rank 2", beta_rank, ATTN_E_RANK, "beta"},
    {"k of integers", int_k, ATTN_E_DTYPE, "k"},
    {"lengths of floats", float_len, ATTN_E_DTYPE, "k_len"},
    {"k of another width", width, ATTN_E_SHAPE, "k"},
    {"v of other tokens", tokens, ATTN_E_SHAPE, "v"},
    {"queries are not the tokens", queries, ATTN_E_SHAPE, "q"},
    {"heads do not divide", heads, ATTN_E_HEADS, "k"},
    {"state of another shape", state_shape, ATTN_E_SHAPE, "state"},
    {"decay of another shape", decay_shape, ATTN_E_SHAPE, "decay"},
    {"a huge dimension", huge_dim, ATTN_E_DIM, "q"},
    {"a negative dimension", below, ATTN_E_DIM, "v"},
    {"q off its alignment", crooked, ATTN_E_ALIGN, "q"},
    {"out meets itself", twice, ATTN_E_ALIAS, "out"},
    {"out over q", over_input, ATTN_E_ALIAS, "out"},
    {"final state beside its state", over_state, ATTN_E_ALIAS, "final_state"},
    {"q_len of a causal scan", q_len_causal, ATTN_E_PARAM, "q_len"},
    {"a length beyond the rows", long_len, ATTN_E_LENGTH, "k_len"},
    {"a negative length", negative_len, ATTN_E_LENGTH, "k_len"},
    {"cu_q alone", lone_cu_q, ATTN_E_PARAM, "cu_q"},
    {"packed with a batch", batch_packed, ATTN_E_SHAPE, "q"},
    {"cu falls", falling_cu, ATTN_E_CUSEQ, "cu_k"},
    {"cu starts late", late_cu, ATTN_E_CUSEQ, "cu_k"},
    {"cu ends beyond the rows", far_cu, ATTN_E_CUSEQ, "cu_k"},
    {"cu and lengths", cu_and_len, ATTN_E_PARAM, "k_len"},
};

static void scan_refuses(const struct bad_scan_row *row, attn_status got,
                         const attn_error *error, const char *who)
{
    char text[200];
    if (got != row->status || error->status != got || strcmp(error->where, row->where) != 0)
        fail_msg("%s: %s says %s of %s", row->name, who, attn_status_name(got), error->where);
    assert_in_range(attn_error_text(error, text, sizeof text), 10, 199);
}

static void scan_bad_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_scan_rows / sizeof bad_scan_rows[0]; i++) {
        const struct bad_scan_row *row = &bad_scan_rows[i];
        bad_scan c = scan_good(ATTN_SCAN_LINEAR);
        const attn_tensor out = c.args.out, final = c.args.final_state;
        memset(out.data, SAFETY_RUBBISH, safety_size(out));
        memset(final.data, SAFETY_RUBBISH, safety_size(final));
        attn_tensor want_out = safety_copy(out), want_final = safety_copy(final);
        attn_error e = {.where = ""};
        row->edit(&c);
        scan_refuses(row, attn_scan_check(&c.spec, &c.args, &e), &e, "check");
        scan_refuses(row, attn_scan_forward(NULL, &c.spec, &c.args, &e), &e, "forward");
        assert_memory_equal(out.data, want_out.data, safety_size(out));
        assert_memory_equal(final.data, want_final.data, safety_size(final));
        c = scan_good(ATTN_SCAN_LINEAR);
        assert_int_equal(attn_scan_check(&c.spec, &c.args, &e), ATTN_OK);
    }
}

/* ---- gradients --------------------------------------------------------------------------- */

static bad_scan scan_good_back(void)
{
    bad_scan c = scan_good(ATTN_SCAN_DELTA);
    c.args.d_out = SAFETY_FILLED(F32, 7, N, H, S, E);
    c.args.d_q = SAFETY_EMPTY(F32, N, H, S, D);
    return c;
}

EDIT(no_d_out, c->args.d_out.dtype = ATTN_DTYPE_NONE)
EDIT(no_gradient, c->args.d_q.dtype = ATTN_DTYPE_NONE)
EDIT(lone_d_beta, c->args.d_beta = SAFETY_EMPTY(F32, N, G, S))
EDIT(d_decay_rank, c->args.d_decay = SAFETY_EMPTY(F32, N, G, S, D))
EDIT(d_k_shape, c->args.d_k = SAFETY_EMPTY(F32, N, G, S, D + 1))
EDIT(d_over, c->args.d_q.data = c->args.q.data)

static const struct bad_scan_row bad_back_rows[] = {
    {"no gradient comes in", no_d_out, ATTN_E_NULL, "d_out"},
    {"none is asked for", no_gradient, ATTN_E_NULL, "d_q"},
    {"d_beta without beta", lone_d_beta, ATTN_E_PARAM, "d_beta"},
    {"d_decay of another rank", d_decay_rank, ATTN_E_RANK, "d_decay"},
    {"d_k of another shape", d_k_shape, ATTN_E_SHAPE, "d_k"},
    {"d_q over q", d_over, ATTN_E_ALIAS, "d_q"},
};

static void scan_bad_gradients(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_back_rows / sizeof bad_back_rows[0]; i++) {
        bad_scan c = scan_good_back();
        attn_error e = {.where = ""};
        assert_int_equal(attn_scan_backward(NULL, &c.spec, &c.args, &e), ATTN_OK);
        bad_back_rows[i].edit(&c);
        scan_refuses(&bad_back_rows[i], attn_scan_backward(NULL, &c.spec, &c.args, &e), &e,
                     "backward");
    }
}

/* ---- plans ------------------------------------------------------------------------------- */

typedef attn_status (*scan_make)(attn_scan_plan **plan, attn_ctx *ctx,
                                 const attn_scan_spec *spec, const attn_scan_args *args,
                                 attn_error *error);

static void scan_plan_one(scan_make make, bad_scan *c, attn_tensor result)
{
    attn_scan_plan *plan = NULL;
    attn_scan_info info;
    attn_error e;
    assert_int_equal(make(&plan, NULL, &c->spec, &c->args, &e), ATTN_OK);
    const attn_tensor want = safety_copy(result);
    const size_t n = attn_scan_plan_workspace(plan);
    attn_scan_plan_describe(plan, &info);
    assert_int_equal(info.workspace, n);
    assert_int_equal(info.streams, N * G);
    assert_true(info.flops > 0 && info.bytes > 0 && info.threads == 1 && info.isa);
    char *workspace = safety_bytes(n + 64);
    memset(workspace, 0xFF, n + 64);
    memset(result.data, SAFETY_RUBBISH, safety_size(result));
    assert_int_equal(attn_scan_plan_run(plan, &c->args, workspace, n, &e), ATTN_OK);
    safety_same(result, want, "a plan in a workspace of NaN");
    for (size_t i = n; i < n + 64; i++) assert_int_equal((unsigned char)workspace[i], 0xFF);
    assert_int_equal(attn_scan_plan_run(plan, &c->args, workspace, n - 1, &e),
                     ATTN_E_WORKSPACE);
    assert_int_equal(attn_scan_plan_run(plan, &c->args, NULL, n, &e), ATTN_E_WORKSPACE);
    assert_int_equal(attn_scan_plan_run(plan, &c->args, workspace + 8, n, &e),
                     ATTN_E_WORKSPACE);
    bad_scan other = *c;
    other.args.q.dtype = ATTN_DTYPE_F16;
    assert_int_equal(attn_scan_plan_run(plan, &other.args, workspace, n, &e), ATTN_E_SHAPE);
    other = *c;
    other.args.k.data = NULL;
    assert_int_equal(attn_scan_plan_run(plan, &other.args, workspace, n, &e), ATTN_E_NULL);
    attn_scan_plan_destroy(plan);
}

static void scan_plans(void **state)
{
    (void)state;
    bad_scan c = scan_good(ATTN_SCAN_DELTA), back = scan_good_back();
    assert_int_equal(attn_scan_forward(NULL, &c.spec, &c.args, NULL), ATTN_OK);
    scan_plan_one(attn_scan_plan_create, &c, c.args.out);
    assert_int_equal(attn_scan_backward(NULL, &back.spec, &back.args, NULL), ATTN_OK);
    scan_plan_one(attn_scan_plan_create_backward, &back, back.args.d_q);
    attn_scan_plan_destroy(NULL);
    assert_int_equal(attn_scan_plan_workspace(NULL), 0);
}

/* ---- memory ------------------------------------------------------------------------------ */

typedef struct scan_meter {
    int left, live;
} scan_meter;

static void *scan_alloc(void *user, void *ptr, size_t old_size, size_t new_size, size_t align)
{
    scan_meter *m = user;
    (void)old_size;
    if (new_size == 0) m->live--, free(ptr);
    if (new_size == 0 || m->left-- <= 0) return NULL;
    m->live++;
    return aligned_alloc(align, (new_size + align - 1) / align * align);
}

static void scan_no_memory(void **state)
{
    (void)state;
    scan_meter meter = {1000, 0};
    attn_ctx *ctx = NULL;
    const attn_config config =
        ATTN_CONFIG(.threads = 1, .alloc = scan_alloc, .alloc_user = &meter);
    assert_int_equal(attn_ctx_create(&ctx, &config, NULL), ATTN_OK);
    const int base = meter.live;
    bad_scan c = scan_good_back();
    attn_scan_plan *plan = (attn_scan_plan *)(void *)&meter;
    meter.left = 0;
    assert_int_equal(attn_scan_forward(ctx, &c.spec, &c.args, NULL), ATTN_E_MEMORY);
    assert_int_equal(attn_scan_backward(ctx, &c.spec, &c.args, NULL), ATTN_E_MEMORY);
    assert_int_equal(attn_scan_plan_create(&plan, ctx, &c.spec, &c.args, NULL), ATTN_E_MEMORY);
    assert_null(plan);
    assert_int_equal(meter.live, base);
    meter.left = 1;
    assert_int_equal(attn_scan_backward(ctx, &c.spec, &c.args, NULL), ATTN_OK);
    assert_int_equal(meter.live, base);
    attn_ctx_destroy(ctx);
    assert_int_equal(meter.live, 0);
}

/* ---- values ------------------------------------------------------------------------------ */

/* A decay of -inf forgets everything, a NaN before it included only where 0 times it is not 0.
 */
static void scan_reset(void **state)
{
    (void)state;
    bad_scan c = scan_good(ATTN_SCAN_LINEAR);
    attn_scan_args *a = &c.args;
    for (int64_t i = 0; i < N * G; i++) ((float *)a->decay.data)[i * S + 2] = -INFINITY;
    assert_int_equal(attn_scan_forward(NULL, &c.spec, a, NULL), ATTN_OK);
    const attn_tensor want = safety_copy(a->final_state);
    attn_scan_args late = *a;
    attn_tensor *const rows[] = {&late.q, &late.k, &late.v, &late.out, &late.decay};
    for (int i = 0; i < 5; i++) *rows[i] = attn_tensor_slice(*rows[i], 2, 2, S);
    late.state = (attn_tensor){0};
    assert_int_equal(attn_scan_forward(NULL, &c.spec, &late, NULL), ATTN_OK);
    safety_same(late.final_state, want, "what came before a decay of -inf is forgotten");
}

/* A NaN stays in its sequence, its head and the tokens from it on. */
static void scan_poison(void **state)
{
    (void)state;
    bad_scan c = scan_good(ATTN_SCAN_DELTA);
    assert_int_equal(attn_scan_forward(NULL, &c.spec, &c.args, NULL), ATTN_OK);
    const attn_tensor clean = safety_copy(c.args.out);
    float *k = c.args.k.data;
    k[((1 * G + 1) * S + 3) * D + 2] = NAN;
    assert_int_equal(attn_scan_forward(NULL, &c.spec, &c.args, NULL), ATTN_OK);
    const float *got = c.args.out.data, *want = clean.data;
    for (int64_t i = 0; i < N * H * S * E; i++) {
        const bool hit = i / (H * S * E) == 1 && i / (S * E) % H >= 2 && i / E % S >= 3;
        if (hit ? !isnan(got[i]) : memcmp(&got[i], &want[i], sizeof *got) != 0)
            fail_msg("element %d", (int)i);
    }
}

/* A divisor of 0 gives 0, and no gradient. */
static void scan_nothing(void **state)
{
    (void)state;
    bad_scan c = scan_good(ATTN_SCAN_LINEAR);
    attn_scan_args *a = &c.args;
    c.spec.normalise = true;
    a->state = (attn_tensor){0};
    memset(a->k.data, 0, safety_size(a->k));
    a->d_out = SAFETY_FILLED(F32, 7, N, H, S, E);
    a->d_k = SAFETY_EMPTY(F32, N, G, S, D);
    assert_int_equal(attn_scan_forward(NULL, &c.spec, a, NULL), ATTN_OK);
    assert_int_equal(attn_scan_backward(NULL, &c.spec, a, NULL), ATTN_OK);
    for (int64_t i = 0; i < N * H * S * E; i++) assert_true(((float *)a->out.data)[i] == 0);
    for (int64_t i = 0; i < N * G * S * D; i++) assert_true(((float *)a->d_k.data)[i] == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SAFETY_CASE(scan_bad_rows),  SAFETY_CASE(scan_bad_gradients), SAFETY_CASE(scan_plans),
        SAFETY_CASE(scan_no_memory), SAFETY_CASE(scan_reset),         SAFETY_CASE(scan_poison),
        SAFETY_CASE(scan_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, safety_finish);
}
