/* SPDX-License-Identifier: MIT
 * Bad input to attn_backward and attn_jvp is answered, never run: each row breaks one rule of a
 * good call and says which status and which field must be named. The call and its plan must
 * agree, no output byte may change, and the error must read as one sentence.
 *
 * A row puts another tensor, nothing, or the place of another field where a field was. */
#include "grad_call.h"

enum { B = 2, H = 4, G = 2, T = 5, S = 7, D = 8, E = 6, R = 3 };

typedef struct bad_call {
    attn_spec spec;
    attn_args args;
} bad_call;

typedef attn_status (*bad_make)(attn_plan **plan, attn_ctx *ctx, const attn_spec *spec,
                                const attn_args *args, attn_error *error);
typedef attn_status (*bad_once)(attn_ctx *ctx, const attn_spec *spec, const attn_args *args,
                                attn_error *error);

/* STATIC rules are seen by the plan; LATE ones concern pointers and contents, so a plan of the
 * good call must refuse them when it runs. */
typedef enum bad_stage { STATIC, LATE } bad_stage;

typedef struct bad_row {
    const char *name;
    size_t field;
    char how; /* T tensor of dtype and shape, A absent, N no data, 0 first stride 0,
                 + one byte further, S at the place of the field shape[0] */
    attn_dtype dtype;
    int rank;
    int64_t shape[4];
    attn_status status;
    const char *where;
    bad_stage stage;
} bad_row;

static bad_call good;
static attn_tensor kept_out, kept_lse;

/* ---- the good call ----------------------------------------------------------------------- */

static int bad_setup(void **state)
{
    safety_begin(state);
    good.spec = ATTN_SPEC(.align = ATTN_ALIGN_TOP_LEFT);
    good.args = grad_args(ATTN_DTYPE_F32, REG_SHAPE(B, H, G, T, S, D, E));
    good.args.bias = SAFETY_FILLED(F32, 7, H, T, S);
    good.args.d_bias = SAFETY_EMPTY(F32, H, T, S);
    good.args.rel_k = SAFETY_FILLED(F32, 8, H, R, D);
    good.args.d_rel_k = SAFETY_EMPTY(F32, H, R, D);
    good.args.t_q = SAFETY_FILLED(F32, 9, B, H, T, D);
    good.args.t_k = SAFETY_FILLED(F32, 10, B, G, S, D);
    good.args.t_bias = SAFETY_FILLED(F32, 11, H, T, S);
    good.args.t_out = SAFETY_EMPTY(F32, B, H, T, E);
    good.args.t_lse = SAFETY_EMPTY(F32, B, H, T);
    safety_run(NULL, &good.spec, &good.args);
    kept_out = safety_copy(good.args.out);
    kept_lse = safety_copy(good.args.lse);
    return 0;
}

static const attn_tensor *const bad_outputs[] = {
    &good.args.d_q,     &good.args.d_k,   &good.args.d_v,   &good.args.d_bias,
    &good.args.d_rel_k, &good.args.t_out, &good.args.t_lse,
};

static bool bad_all_untouched(void)
{
    for (size_t i = 0; i < sizeof bad_outputs / sizeof bad_outputs[0]; i++)
        if (!safety_untouched(*bad_outputs[i])) return false;
    return test_same_bits(good.args.out, kept_out) && test_same_bits(good.args.lse, kept_lse);
}

/* ---- rows -------------------------------------------------------------------------------- */

#include "grad_bad_rows.h"

static void bad_apply(bad_call *call, const bad_row *row)
{
    attn_tensor *t = (attn_tensor *)(void *)((char *)&call->args + row->field);
    const char *from = (const char *)&call->args + row->shape[0];
    if (row->how == 'T') {
        *t = safety_make(row->dtype, row->rank, row->shape);
        memset(t->data, 0, safety_size(*t));
    }
    if (row->how == 'A') t->dtype = ATTN_DTYPE_NONE;
    if (row->how == 'N') t->data = NULL;
    if (row->how == '0') t->stride[0] = 0;
    if (row->how == '+') t->data = (char *)t->data + 1;
    if (row->how == 'S') t->data = ((const attn_tensor *)(const void *)from)->data;
}

/* ---- what every refusal must look like --------------------------------------------------- */

static attn_error bad_blank(void)
{
    attn_error error;
    memset(&error, 0xEE, sizeof error);
    return error;
}

static void bad_expect(const char *name, attn_status want, const char *where, attn_status got,
                       const attn_error *error)
{
    char text[256] = "";
    if (got != want)
        fail_msg("%s: %s, want %s", name, attn_status_name(got), attn_status_name(want));
    assert_int_equal(error->status, want);
    assert_non_null(error->what);
    assert_non_null(error->where);
    if (where && strcmp(error->where, where) != 0)
        fail_msg("%s: blames '%s', want '%s'", name, error->where, where);
    size_t n = attn_error_text(error, text, sizeof text);
    assert_true(n > 0 && n < sizeof text && strchr(text, '\n') == NULL);
    assert_true(strlen(text) > strlen(error->where));
    if (!bad_all_untouched()) fail_msg("%s: an output was touched", name);
}

static void bad_late(const bad_row *row, bad_make make, const bad_call *call)
{
    attn_error error = bad_blank();
    attn_plan *plan = NULL;
    assert_int_equal(make(&plan, NULL, &good.spec, &good.args, NULL), ATTN_OK);
    size_t n = attn_plan_workspace(plan);
    attn_status s = attn_plan_run(plan, &call->args, safety_bytes(n), n, &error);
    attn_plan_destroy(plan);
    bad_expect(row->name, row->status, row->where, s, &error);
}

static void bad_static(const bad_row *row, bad_make make, const bad_call *call)
{
    attn_error error = bad_blank();
    attn_plan *plan = NULL;
    attn_status s = make(&plan, NULL, &call->spec, &call->args, &error);
    bad_expect(row->name, row->status, row->where, s, &error);
    assert_null(plan);
}

static void bad_table(const bad_row *rows, size_t n, bad_once once, bad_make make)
{
    for (size_t i = 0; i < n; i++) {
        bad_call call = good;
        attn_error error = bad_blank();
        bad_apply(&call, &rows[i]);
        attn_status s = once(NULL, &call.spec, &call.args, &error);
        bad_expect(rows[i].name, rows[i].status, rows[i].where, s, &error);
        assert_int_equal(once(NULL, &call.spec, &call.args, NULL), rows[i].status);
        (rows[i].stage == STATIC ? bad_static : bad_late)(&rows[i], make, &call);
    }
}

/* ---- cases ------------------------------------------------------------------------------- */

static void bad_backward(void **state)
{
    (void)state;
    bad_table(rows_backward, sizeof rows_backward / sizeof rows_backward[0], attn_backward,
              attn_plan_create_backward);
}

static void bad_jvp(void **state)
{
    (void)state;
    bad_table(rows_jvp, sizeof rows_jvp / sizeof rows_jvp[0], attn_jvp, attn_plan_create_jvp);
}

/* The rows prove something only if the call they break is good. Nothing is reported then, and
 * tangents are nothing to a backward call. */
static void bad_good_call_runs(void **state)
{
    (void)state;
    attn_error error = bad_blank(), before = error;
    assert_int_equal(attn_backward(NULL, &good.spec, &good.args, &error), ATTN_OK);
    assert_false(safety_untouched(good.args.d_q));
    assert_true(safety_untouched(good.args.t_out) && safety_untouched(good.args.t_lse));
    attn_tensor d_q = safety_copy(good.args.d_q);
    assert_int_equal(attn_jvp(NULL, &good.spec, &good.args, &error), ATTN_OK);
    assert_false(safety_untouched(good.args.t_out));
    assert_memory_equal(&error, &before, sizeof error);
    safety_same(good.args.d_q, d_q, "d_q after attn_jvp");
}

static void bad_refused(const char *name, bad_once once, const bad_call *call, attn_status want,
                        const char *where)
{
    attn_error error = bad_blank();
    attn_status s = once(NULL, &call->spec, &call->args, &error);
    bad_expect(name, want, where, s, &error);
}

static void bad_nothing_asked(void **state)
{
    (void)state;
    bad_call call = good;
    for (int g = 0; g < ORACLE_N_GRADS; g++)
        *test_grad_of(&call.args, (oracle_grad)g) = (attn_tensor){0};
    bad_refused("no gradient asked", attn_backward, &call, ATTN_E_NULL, "d_q");
    call = good;
    call.args.d_out = call.args.d_lse = (attn_tensor){0};
    bad_refused("nothing comes in", attn_backward, &call, ATTN_E_NULL, "d_out");
    call = good;
    call.args.t_out = call.args.t_lse = (attn_tensor){0};
    bad_refused("no tangent asked", attn_jvp, &call, ATTN_E_NULL, "t_out");
}

static void bad_masks(void **state)
{
    (void)state;
    bad_call call = good;
    call.args.mask = REG_FILLED(BOOL, 1, T, S);
    call.args.d_mask = SAFETY_EMPTY(F32, T, S);
    bad_refused("d_mask of a bool mask", attn_backward, &call, ATTN_E_DTYPE, "d_mask");
}

static void bad_adds_nothing(void *user, const attn_tile *tile)
{
    (void)user, (void)tile;
}

/* A callback without its slope; a slope without a callback. attn_forward needs none. */
static void bad_slopes(void **state)
{
    (void)state;
    bad_call call = good;
    call.spec.tile = bad_adds_nothing;
    bad_refused("no slope", attn_backward, &call, ATTN_E_PARAM, "tile_slope");
    bad_refused("no slope", attn_jvp, &call, ATTN_E_PARAM, "tile_slope");
    assert_int_equal(attn_check(&call.spec, &call.args, NULL), ATTN_OK);
    call.spec.tile = NULL;
    call.spec.tile_slope = attn_tile_adds;
    bad_refused("slope alone", attn_backward, &call, ATTN_E_PARAM, "tile_slope");
    call.spec.tile = bad_adds_nothing;
    assert_int_equal(attn_backward(NULL, &call.spec, &call.args, NULL), ATTN_OK);
    attn_tensor d_q = safety_copy(good.args.d_q);
    assert_int_equal(attn_backward(NULL, &good.spec, &good.args, NULL), ATTN_OK);
    safety_same(good.args.d_q, d_q, "a callback that adds nothing");
}

static void bad_structs(void **state)
{
    (void)state;
    bad_call call = good;
    call.spec.size = 8;
    bad_refused("spec size", attn_backward, &call, ATTN_E_VERSION, "spec");
    bad_refused("spec size", attn_jvp, &call, ATTN_E_VERSION, "spec");
    call = good;
    call.args.size = offsetof(attn_args, d_out); /* of a header without gradients */
    bad_refused("args size", attn_backward, &call, ATTN_E_VERSION, "args");
    bad_refused("args size", attn_jvp, &call, ATTN_E_VERSION, "args");
}

static void bad_lengths(void **state)
{
    (void)state;
    bad_call call = good;
    call.args.k_len = SAFETY_LIST(I64, S, S + 1);
    bad_refused("k_len too long", attn_backward, &call, ATTN_E_LENGTH, "k_len");
    bad_refused("k_len too long", attn_jvp, &call, ATTN_E_LENGTH, "k_len");
}

static void bad_null_pointers(void **state)
{
    (void)state;
    attn_error error = bad_blank();
    attn_plan *plan = NULL;
    assert_int_equal(attn_backward(NULL, &good.spec, NULL, &error), ATTN_E_NULL);
    assert_int_equal(error.status, ATTN_E_NULL);
    assert_int_equal(attn_jvp(NULL, &good.spec, NULL, NULL), ATTN_E_NULL);
    assert_int_equal(attn_plan_create_backward(&plan, NULL, &good.spec, NULL, NULL),
                     ATTN_E_NULL);
    assert_int_equal(attn_plan_create_jvp(&plan, NULL, &good.spec, NULL, NULL), ATTN_E_NULL);
    assert_int_equal(attn_plan_create_backward(NULL, NULL, &good.spec, &good.args, NULL),
                     ATTN_E_NULL);
    assert_int_equal(attn_plan_create_jvp(NULL, NULL, &good.spec, &good.args, NULL),
                     ATTN_E_NULL);
    assert_null(plan);
    assert_true(bad_all_untouched());
}

/* Plans know which call they are for, and how much memory it needs. */
static void bad_plans(void **state)
{
    (void)state;
    const bad_make makes[] = {attn_plan_create_backward, attn_plan_create_jvp};
    for (int i = 0; i < 2; i++) {
        attn_plan *plan = NULL;
        attn_error error = bad_blank();
        assert_int_equal(makes[i](&plan, NULL, &good.spec, &good.args, NULL), ATTN_OK);
        size_t n = attn_plan_workspace(plan);
        char *memory = safety_bytes(n + 64);
        attn_status s = attn_plan_run(plan, &good.args, memory, n - 1, &error);
        bad_expect("small workspace", ATTN_E_WORKSPACE, "workspace", s, &error);
        s = attn_plan_run(plan, &good.args, memory + 4, n, &error);
        bad_expect("odd workspace", ATTN_E_WORKSPACE, "workspace", s, &error);
        attn_args other = good.args;
        other.d_v = other.t_lse = (attn_tensor){0};
        s = attn_plan_run(plan, &other, memory, n, &error);
        bad_expect("other outputs", ATTN_E_SHAPE, "args", s, &error);
        attn_plan_destroy(plan);
    }
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, bad_setup, safety_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(bad_good_call_runs), CASE(bad_backward), CASE(bad_jvp),
        CASE(bad_nothing_asked),  CASE(bad_masks),    CASE(bad_slopes),
        CASE(bad_structs),        CASE(bad_lengths),  CASE(bad_null_pointers),
        CASE(bad_plans),
    };
    return cmocka_run_group_tests_name("grad_bad", tests, NULL, safety_finish);
}
