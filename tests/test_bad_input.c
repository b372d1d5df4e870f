/* SPDX-License-Identifier: MIT
 * Bad input is answered, never run: every row below breaks one rule of a call that is otherwise
 * good, and says which status and which field must be named. attn_check, attn_forward and
 * attn_plan_create (or attn_plan_run, for rules about pointers and contents) must agree, no
 * output byte may change, and the error must read as one sentence.
 *
 * A row is a list of edits of {spec, args}: a field's place and its new value. */
#include "safety.h"

enum { B = 2, H = 4, G = 2, T = 5, S = 7, D = 8, E = 6, EDITS = 4, GUARD = 64 };

typedef struct bad_call {
    attn_spec spec;
    attn_args args;
} bad_call;

typedef struct bad_edit {
    char kind; /* one of bad_edits; 0 ends the list */
    size_t at;
    int64_t i[4];
    double d;
} bad_edit;

/* STATIC rules are seen by attn_plan_create; LATE ones concern pointers and contents, so a plan
 * made of the good call must refuse them when it runs. */
typedef enum bad_stage { STATIC, LATE } bad_stage;

typedef struct bad_row {
    const char *name;
    bad_edit edits[EDITS];
    attn_status status;
    const char *where;
    bad_stage stage;
} bad_row;

static struct {
    attn_tensor q, k, v, out, lse, weights, scores, extra;
} good;

/* ---- edits --------------------------------------------------------------------------- */

#define AT(field) offsetof(bad_call, field)
#define I64(field, v)                                                                          \
    {                                                                                          \
        'l', AT(field), {(v)}, 0                                                               \
    }
#define I32(field, v)                                                                          \
    {                                                                                          \
        'i', AT(field), {(v)}, 0                                                               \
    }
#define F64(field, v)                                                                          \
    {                                                                                          \
        'd', AT(field), {0}, (v)                                                               \
    }
#define YES(field)                                                                             \
    {                                                                                          \
        'y', AT(field), {0}, 0                                                                 \
    }
#define NODATA(field)                                                                          \
    {                                                                                          \
        'n', AT(field.data), {0}, 0                                                            \
    }
#define SHIFT(field, n)                                                                        \
    {                                                                                          \
        '+', AT(field.data), {(n)}, 0                                                          \
    }
#define ABSENT(field)                                                                          \
    {                                                                                          \
        'i', AT(field.dtype), {0}, 0                                                           \
    }
#define SAME(field, from)                                                                      \
    {                                                                                          \
        '=', AT(field), {(int64_t)AT(from)}, 0                                                 \
    }
#define LIST(field, ...)                                                                       \
    {                                                                                          \
        'w', AT(field), {__VA_ARGS__}, 0                                                       \
    }
#define TENSOR(field, TYPE, rank, ...)                                                         \
    {                                                                                          \
        (char)('0' + (rank)), AT(field), {__VA_ARGS__}, ATTN_DTYPE_##TYPE                      \
    }

static void bad_edit_list(void *field, const bad_edit *e)
{
    attn_tensor *t = field;
    *t = SAFETY_EMPTY(I64, 3);
    memcpy(t->data, e->i, 3 * sizeof e->i[0]);
    t->shape[0] = e->i[3]; /* how many of the words belong to the list */
}

static void bad_edit_tensor(void *field, const bad_edit *e)
{
    attn_tensor *t = field;
    *t = attn_tensor_make(good.extra.data, (attn_dtype)e->d, e->kind - '0', e->i);
}

static void bad_apply(bad_call *call, const bad_edit *e)
{
    char *field = (char *)call + e->at;
    int32_t word = (int32_t)e->i[0];
    bool yes = true;
    if (e->kind == 'l') memcpy(field, e->i, sizeof e->i[0]);
    if (e->kind == 'i') memcpy(field, &word, sizeof word);
    if (e->kind == 'd') memcpy(field, &e->d, sizeof e->d);
    if (e->kind == 'y') memcpy(field, &yes, sizeof yes);
    if (e->kind == 'n') *(void **)(void *)field = NULL;
    if (e->kind == '+') *(char **)(void *)field += e->i[0];
    if (e->kind == '=') memcpy(field, (char *)call + e->i[0], sizeof(attn_tensor));
    if (e->kind == 'w') bad_edit_list(field, e);
    if (e->kind >= '0' && e->kind <= '9') bad_edit_tensor(field, e);
}

/* ---- the good call ------------------------------------------------------------------- */

static bad_call bad_good_call(void)
{
    return (bad_call){ATTN_SPEC(.align = ATTN_ALIGN_UNSET),
                      ATTN_ARGS(.q = good.q, .k = good.k, .v = good.v, .out = good.out,
                                .lse = good.lse, .weights = good.weights,
                                .scores = good.scores)};
}

static int bad_setup(void **state)
{
    (void)state;
    good.q = SAFETY_FILLED(F32, 1, B, H, T, D);
    good.k = SAFETY_FILLED(F32, 2, B, G, S, D);
    good.v = SAFETY_FILLED(F32, 3, B, G, S, E);
    good.out = SAFETY_EMPTY(F32, B, H, T, E);
    good.lse = SAFETY_EMPTY(F32, B, H, T);
    good.weights = SAFETY_EMPTY(F32, B, H, T, S);
    good.scores = SAFETY_EMPTY(F32, B, H, T, S);
    good.extra = SAFETY_EMPTY(F64, 64, 1024);
    memset(good.extra.data, 0, 64 * 1024 * sizeof(double));
    return 0;
}

#include "bad_rows.h"

/* ---- what every refusal must look like ----------------------------------------------- */

static void bad_outputs_untouched(const bad_row *row)
{
    bool ok = safety_untouched(good.out) && safety_untouched(good.lse) &&
              safety_untouched(good.weights) && safety_untouched(good.scores);
    if (!ok) fail_msg("%s: an output was touched", row->name);
}

static void bad_expect(const bad_row *row, const char *call, attn_status status,
                       const attn_error *error)
{
    char text[256] = "";
    if (status != row->status)
        fail_msg("%s: %s said %s, want %s", row->name, call, attn_status_name(status),
                 attn_status_name(row->status));
    assert_int_equal(error->status, row->status);
    assert_non_null(error->what);
    assert_non_null(error->where);
    if (row->where != NULL && strcmp(error->where, row->where) != 0)
        fail_msg("%s: %s blames '%s', want '%s'", row->name, call, error->where, row->where);
    size_t n = attn_error_text(error, text, sizeof text);
    assert_true(n > 0 && n < sizeof text && strchr(text, '\n') == NULL);
    assert_true(strlen(text) > strlen(error->where));
    bad_outputs_untouched(row);
}

static attn_error bad_blank(void)
{
    attn_error error;
    memset(&error, 0xEE, sizeof error);
    return error;
}

static void bad_static(const bad_row *row, const bad_call *call)
{
    attn_error error = bad_blank();
    attn_plan *plan = NULL;
    attn_status s = attn_plan_create(&plan, NULL, &call->spec, &call->args, &error);
    bad_expect(row, "attn_plan_create", s, &error);
    assert_null(plan);
}

/* What LATE rules are about: the plan is made without any of it. */
static const size_t bad_fields[] = {
    AT(args.q),       AT(args.k),       AT(args.v),    AT(args.out),     AT(args.lse),
    AT(args.scores),  AT(args.weights), AT(args.bias), AT(args.q_start), AT(args.q_len),
    AT(args.k_start), AT(args.k_len),   AT(args.cu_q), AT(args.cu_k),
};

static void bad_late(const bad_row *row, const bad_call *call)
{
    attn_error error = bad_blank();
    attn_plan *plan = NULL;
    bad_call fine = *call;
    for (size_t i = 0; i < sizeof bad_fields / sizeof bad_fields[0]; i++)
        ((attn_tensor *)(void *)((char *)&fine + bad_fields[i]))->data = NULL;
    attn_status s = attn_plan_create(&plan, NULL, &fine.spec, &fine.args, &error);
    if (s != ATTN_OK)
        fail_msg("%s: no plan: %s, %s", row->name, attn_status_name(s), error.what);
    size_t n = attn_plan_workspace(plan);
    s = attn_plan_run(plan, &call->args, safety_bytes(n), n, &error);
    bad_expect(row, "attn_plan_run", s, &error);
    attn_plan_destroy(plan);
}

static void bad_row_run(const bad_row *row)
{
    bad_call call = bad_good_call();
    for (int i = 0; i < EDITS && row->edits[i].kind != 0; i++) bad_apply(&call, &row->edits[i]);
    attn_error error = bad_blank();
    bad_expect(row, "attn_check", attn_check(&call.spec, &call.args, &error), &error);
    error = bad_blank();
    bad_expect(row, "attn_forward", attn_forward(NULL, &call.spec, &call.args, &error), &error);
    assert_int_equal(attn_forward(NULL, &call.spec, &call.args, NULL), row->status);
    assert_int_equal(attn_check(&call.spec, &call.args, NULL), row->status);
    (row->stage == STATIC ? bad_static : bad_late)(row, &call);
}

static void bad_table(const bad_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) bad_row_run(&rows[i]);
}

/* ---- cases --------------------------------------------------------------------------- */

#define TABLE(name)                                                                            \
    static void bad_##name(void **state)                                                       \
    {                                                                                          \
        (void)state;                                                                           \
        bad_table(rows_##name, sizeof rows_##name / sizeof rows_##name[0]);                    \
    }
TABLE(missing)
TABLE(structs)
TABLE(ranks_and_dims)
TABLE(shapes)
TABLE(dtypes)
TABLE(aliases)
TABLE(params)
TABLE(operands)
TABLE(lengths)
#undef TABLE

/* The rows prove something only if the call they break is good. */
static void bad_good_call_runs(void **state)
{
    (void)state;
    bad_call call = bad_good_call();
    attn_error error = bad_blank(), before = error;
    assert_int_equal(attn_check(&call.spec, &call.args, &error), ATTN_OK);
    assert_memory_equal(&error, &before, sizeof error); /* written only on failure */
    assert_true(safety_untouched(good.out));
    assert_int_equal(attn_forward(NULL, &call.spec, &call.args, &error), ATTN_OK);
    assert_memory_equal(&error, &before, sizeof error);
    assert_false(safety_untouched(good.out));
}

static void bad_null_pointers(void **state)
{
    (void)state;
    attn_error error = bad_blank();
    bad_call call = bad_good_call();
    attn_plan *plan = NULL;
    assert_int_equal(attn_forward(NULL, &call.spec, NULL, &error), ATTN_E_NULL);
    assert_int_equal(error.status, ATTN_E_NULL);
    assert_int_equal(attn_check(&call.spec, NULL, NULL), ATTN_E_NULL);
    assert_int_equal(attn_plan_create(&plan, NULL, &call.spec, NULL, NULL), ATTN_E_NULL);
    assert_int_equal(attn_plan_create(NULL, NULL, &call.spec, &call.args, NULL), ATTN_E_NULL);
    assert_int_equal(attn_plan_run(NULL, &call.args, good.extra.data, 0, NULL), ATTN_E_NULL);
    assert_null(plan);
    assert_true(safety_untouched(good.out));
}

/* A null pointer is no mistake where there is nothing to read or write. */
static void bad_null_data_of_empty_tensors(void **state)
{
    (void)state;
    bad_call call = bad_good_call();
    call.args.q.shape[2] = call.args.out.shape[2] = call.args.lse.shape[2] = 0;
    call.args.weights = call.args.scores = (attn_tensor){0};
    call.args.q.data = call.args.out.data = call.args.lse.data = NULL;
    assert_int_equal(attn_forward(NULL, &call.spec, &call.args, NULL), ATTN_OK);
    assert_true(safety_untouched(good.out));
}

/* An instruction set that is not there, and names that are none. */
static void bad_instruction_sets(void **state)
{
    (void)state;
    bad_call call = bad_good_call();
    attn_error error = bad_blank();
    attn_ctx *ctx = NULL;
    attn_config config = ATTN_CONFIG(.isa_mask = UINT32_C(1) << 30);
    attn_status s = attn_ctx_create(&ctx, &config, &error);
    if (s == ATTN_OK) s = attn_forward(ctx, &call.spec, &call.args, &error);
    attn_ctx_destroy(ctx);
    assert_int_equal(s, ATTN_E_ISA);
    assert_int_equal(error.status, ATTN_E_ISA);
    const char *before = getenv("ATTN_ISA");
    char *kept = before != NULL ? strdup(before) : NULL;
    setenv("ATTN_ISA", "abacus", 1);
    s = attn_forward(NULL, &call.spec, &call.args, &error);
    if (kept != NULL) setenv("ATTN_ISA", kept, 1);
    if (kept == NULL) unsetenv("ATTN_ISA");
    free(kept);
    assert_int_equal(s, ATTN_E_ISA);
    assert_true(safety_untouched(good.out));
}

/* Memory that is no context or plan is recognised, as far as that can be done. */
static void bad_handles(void **state)
{
    (void)state;
    bad_call call = bad_good_call();
    void *zeros = test_alloc(&safety_arena, 65536);
    attn_plan *plan = NULL;
    assert_int_equal(attn_forward(zeros, &call.spec, &call.args, NULL), ATTN_E_HANDLE);
    assert_int_equal(attn_plan_create(&plan, zeros, &call.spec, &call.args, NULL),
                     ATTN_E_HANDLE);
    assert_null(plan);
    assert_int_equal(attn_plan_run(zeros, &call.args, good.extra.data, 1 << 19, NULL),
                     ATTN_E_HANDLE);
    assert_true(safety_untouched(good.out));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, bad_setup, safety_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(bad_good_call_runs),
        CASE(bad_null_pointers),
        CASE(bad_null_data_of_empty_tensors),
        CASE(bad_missing),
        CASE(bad_structs),
        CASE(bad_ranks_and_dims),
        CASE(bad_shapes),
        CASE(bad_dtypes),
        CASE(bad_aliases),
        CASE(bad_params),
        CASE(bad_operands),
        CASE(bad_lengths),
        CASE(bad_instruction_sets),
        CASE(bad_handles),
    };
    return cmocka_run_group_tests_name("bad_input", tests, NULL, safety_finish);
}
