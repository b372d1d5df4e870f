/* SPDX-License-Identifier: MIT
 * attn_mech_run_grad: every slot of the table that has a gradient gets the one attn_backward
 * gives, with the same bits; and whatever does not fit is refused, with the field named and no
 * output touched.
 *
 * A call of softmax is an attn_args here: slots and gradients are filled from its fields by
 * name, so a slot that gains a gradient is tested by existing. */
#include "grad_call.h"

#include "mech/mech.h"

enum { B = 2, H = 4, G = 2, T = 5, S = 7, D = 8, E = 6, R = 3 };

typedef struct mech_call {
    attn_value params[ATTN_MAX_PARAMS];
    attn_tensor slots[ATTN_MAX_SLOTS], d_slots[ATTN_MAX_SLOTS];
} mech_call;

static const struct {
    const char *name;
    size_t at;
} mech_fields[] = {
#define TENSOR(name, kind) {#name, offsetof(attn_args, name)},
#include "support/tensors.def"
#undef TENSOR
};

/* The field of that name; absent when there is none. */
static attn_tensor mech_field(const attn_args *args, const char *prefix, const char *name)
{
    char whole[64];
    snprintf(whole, sizeof whole, "%s%s", prefix, name);
    for (size_t i = 0; i < sizeof mech_fields / sizeof mech_fields[0]; i++)
        if (strcmp(mech_fields[i].name, whole) == 0)
            return *(const attn_tensor *)(const void *)((const char *)args + mech_fields[i].at);
    return (attn_tensor){0};
}

static mech_call mech_of(const attn_mech *m, const attn_args *args)
{
    mech_call call;
    memset(&call, 0, sizeof call);
    attn_mech_defaults(m, call.params);
    for (int i = 0; m->slots[i].name; i++) {
        call.slots[i] = mech_field(args, "", m->slots[i].name);
        call.d_slots[i] = mech_field(args, "d_", m->slots[i].name);
    }
    return call;
}

static attn_tensor *mech_at(mech_call *call, bool gradient, const char *name)
{
    int i = attn_mech_slot(attn_mech_find("softmax"), name);
    assert_true(i >= 0);
    return gradient ? &call->d_slots[i] : &call->slots[i];
}

static attn_status mech_run(const mech_call *call, attn_error *error)
{
    return attn_mech_run_grad(NULL, attn_mech_find("softmax"), call->slots, call->d_slots,
                              call->params, error);
}

/* Every operand that has a gradient under a kind of score, and out and lse as wide as
 * attn_mech_run_grad keeps them. */
static attn_args mech_args_of(attn_score_kind score)
{
    attn_args a = reg_args(ATTN_DTYPE_F32, REG_SHAPE(B, H, G, T, S, D, E));
    a.lse = SAFETY_EMPTY(F64, B, H, T);
    a.bias_pre = SAFETY_FILLED(F32, 4, H, 1, S);
    a.bias = SAFETY_FILLED(F32, 5, B, H, T, S);
    a.mask = SAFETY_FILLED(F32, 6, T, S);
    a.alibi = SAFETY_FILLED(F32, 7, H);
    a.sink = SAFETY_FILLED(F32, 8, B, H);
    a.rel_table = SAFETY_FILLED(F32, 9, H, R);
    if (score == ATTN_SCORE_DOT) a.rel_k = SAFETY_FILLED(F32, 10, H, R, D);
    if (score == ATTN_SCORE_ADDITIVE) a.score_w = SAFETY_FILLED(F32, 12, H, D);
    a.center = SAFETY_FILLED(F32, 13, H, T);
    a.rel_v = SAFETY_FILLED(F32, 11, H, R, E);
    grad_ask(&a);
    return a;
}

static attn_args mech_args(void)
{
    return mech_args_of(ATTN_SCORE_DOT);
}

static const attn_spec mech_spec = {.size = sizeof mech_spec,
                                    .align = ATTN_ALIGN_TOP_LEFT,
                                    .softcap = 3,
                                    .center_sigma = 2,
                                    .rel = {.kind = ATTN_REL_OFFSET}};

static void mech_set(mech_call *call)
{
    static const char *const set[][2] = {
        {"align", "top_left"}, {"softcap", "3"}, {"center_sigma", "2"}, {"rel", "offset"}};
    for (size_t i = 0; i < sizeof set / sizeof set[0]; i++)
        assert_int_equal(
            attn_mech_set(attn_mech_find("softmax"), call->params, set[i][0], set[i][1], NULL),
            ATTN_OK);
}

/* alpha, which the softmax has not: test_norm.c. */
static bool mech_of_entmax(const attn_slot *slot)
{
    return strcmp(slot->name, "alpha") == 0;
}

/* ---- what it computes ---------------------------------------------------------------- */

/* The gradients under one kind of score; found: slots that have one there. */
static void mech_gradients_under(attn_score_kind score, const char *name, bool *found)
{
    const attn_mech *m = attn_mech_find("softmax");
    attn_spec spec = mech_spec;
    spec.score = score;
    attn_args args = mech_args_of(score), own = test_fresh(&safety_arena, &args, 'D');
    grad_run(NULL, &spec, &args);
    mech_call call = mech_of(m, &own);
    mech_set(&call);
    assert_int_equal(attn_mech_set(m, call.params, "score", name, NULL), ATTN_OK);
    assert_int_equal(mech_run(&call, NULL), ATTN_OK);
    for (int i = 0; m->slots[i].name; i++) {
        if (!(m->slots[i].kind & ATTN_GRAD) || mech_of_entmax(&m->slots[i])) continue;
        const attn_tensor want = mech_field(&args, "d_", m->slots[i].name);
        if (!want.dtype) continue;
        found[i] = true;
        if (!(m->slots[i].kind & ATTN_OUT) && safety_untouched(want))
            fail_msg("%s: attn_backward gave nothing", m->slots[i].name);
        safety_same(call.d_slots[i], want, m->slots[i].name);
    }
    safety_same(own.out, args.out, "out");
    grad_judge(&spec, &own);
}

static void mech_every_gradient_of_the_table(void **state)
{
    (void)state;
    const attn_mech *m = attn_mech_find("softmax");
    bool found[ATTN_MAX_SLOTS] = {false};
    mech_gradients_under(ATTN_SCORE_DOT, "dot", found);
    mech_gradients_under(ATTN_SCORE_L2, "l2", found);
    mech_gradients_under(ATTN_SCORE_ADDITIVE, "additive", found);
    for (int i = 0; m->slots[i].name; i++)
        if ((m->slots[i].kind & ATTN_GRAD) && !found[i] && !mech_of_entmax(&m->slots[i]))
            fail_msg("%s: no such gradient in this test", m->slots[i].name);
}

/* One at a time; outputs need not be there. */
static void mech_gradients_one_by_one(void **state)
{
    (void)state;
    const attn_mech *m = attn_mech_find("softmax");
    attn_args args = mech_args();
    grad_run(NULL, &mech_spec, &args);
    args.lse = args.out = (attn_tensor){0};
    for (int i = 0; m->slots[i].name; i++) {
        if (!(m->slots[i].kind & ATTN_GRAD) || (m->slots[i].kind & ATTN_OUT)) continue;
        if (mech_of_entmax(&m->slots[i])) continue;
        mech_call call = mech_of(m, &args);
        const attn_tensor want = call.d_slots[i];
        if (!want.dtype) continue;
        mech_set(&call);
        for (int s = 0; m->slots[s].name; s++)
            if (!(m->slots[s].kind & ATTN_OUT)) call.d_slots[s] = (attn_tensor){0};
        call.d_slots[i] = safety_make(ATTN_DTYPE_F32, want.rank, want.shape);
        assert_int_equal(mech_run(&call, NULL), ATTN_OK);
        safety_same(call.d_slots[i], want, m->slots[i].name);
    }
}

/* d_out alone and d_lse alone add up to both. */
static void mech_gradients_of_either_output(void **state)
{
    (void)state;
    attn_args args = mech_args();
    mech_call both = mech_of(attn_mech_find("softmax"), &args), alone[2] = {both, both};
    *mech_at(&alone[0], true, "lse") = *mech_at(&alone[1], true, "out") = (attn_tensor){0};
    mech_call *calls[] = {&alone[0], &alone[1], &both};
    for (int i = 0; i < 3; i++) {
        mech_set(calls[i]);
        *mech_at(calls[i], true, "q") = SAFETY_EMPTY(F32, B, H, T, D);
        assert_int_equal(mech_run(calls[i], NULL), ATTN_OK);
    }
    for (int64_t x = 0; x < B * H * T * D; x++)
        safety_near(safety_at(alone[0].d_slots[0], x) + safety_at(alone[1].d_slots[0], x),
                    safety_at(both.d_slots[0], x), 1e-5, "d_q");
}

/* Heads and batch that are left out are left out of gradients too. */
static void mech_one_head_and_one_sequence(void **state)
{
    (void)state;
    attn_args full = reg_args(ATTN_DTYPE_F32, REG_SHAPE(1, 1, 1, T, S, D, E));
    grad_ask(&full);
    mech_call whole = mech_of(attn_mech_find("softmax"), &full), flat = whole;
    static const char *const names[] = {"q", "k", "v", "out"};
    for (int i = 0; i < 4; i++)
        for (int d = 0; d < 2; d++) {
            attn_tensor *t = mech_at(&flat, d, names[i]);
            const int64_t shape[] = {t->shape[2], t->shape[3]};
            void *data = d && i < 3 ? safety_bytes(safety_size(*t)) : t->data;
            *t = attn_tensor_make(data, ATTN_DTYPE_F32, 2, shape);
        }
    *mech_at(&flat, false, "lse") = *mech_at(&flat, true, "lse") = (attn_tensor){0};
    *mech_at(&whole, true, "lse") = (attn_tensor){0};
    assert_int_equal(mech_run(&whole, NULL), ATTN_OK);
    assert_int_equal(mech_run(&flat, NULL), ATTN_OK);
    for (int i = 0; i < 3; i++) {
        const attn_tensor a = *mech_at(&whole, true, names[i]);
        const attn_tensor b = *mech_at(&flat, true, names[i]);
        assert_memory_equal(a.data, b.data, safety_size(a));
    }
}

/* ---- what it refuses ----------------------------------------------------------------- */

typedef struct bad_row {
    const char *name;
    char side; /* s slot, d gradient */
    const char *slot;
    char how; /* T f32 of shape, U u8 of shape, A absent, N no data, 0 first stride 0,
                 S at the place of slot `over`, D at that of its gradient */
    int rank;
    int64_t shape[4];
    const char *over;
    attn_status status;
    const char *where;
} bad_row;

#define SHAPE(...)                                                                             \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), {__VA_ARGS__}, NULL
#define NONE       0, {0}, NULL
#define OVER(name) 0, {0}, name

/* clang-format off */
static const bad_row bad_rows[] = {
    {"d_q of fewer dimensions", 'd', "q", 'T', SHAPE(H, T, D), ATTN_E_RANK, "q"},
    {"d_q of another width", 'd', "q", 'T', SHAPE(B, H, T, E), ATTN_E_SHAPE, "q"},
    {"d_k of query heads", 'd', "k", 'T', SHAPE(B, H, S, D), ATTN_E_SHAPE, "k"},
    {"d_mask with heads", 'd', "mask", 'T', SHAPE(H, T, S), ATTN_E_RANK, "mask"},
    {"d_bias_pre spread out", 'd', "bias_pre", 'T', SHAPE(H, T, S), ATTN_E_SHAPE, "bias_pre"},
    {"d_out of another width", 'd', "out", 'T', SHAPE(B, H, T, D), ATTN_E_SHAPE, "out"},
    {"d_lse of keys", 'd', "lse", 'T', SHAPE(B, H, S), ATTN_E_SHAPE, "lse"},
    {"d_lse with a dimension more", 'd', "lse", 'T', SHAPE(B, H, T, 1), ATTN_E_RANK, "lse"},
    {"d_q of bytes", 'd', "q", 'U', SHAPE(B, H, T, D), ATTN_E_DTYPE, "d_q"},
    {"d_out of bytes", 'd', "out", 'U', SHAPE(B, H, T, E), ATTN_E_DTYPE, "d_out"},
    {"d_q without data", 'd', "q", 'N', NONE, ATTN_E_NULL, "q"},
    {"d_out without data", 'd', "out", 'N', NONE, ATTN_E_NULL, "out"},
    {"gradient of lengths", 'd', "q_len", 'T', SHAPE(B), ATTN_E_UNSUPPORTED, "q_len"},
    {"gradient of weights", 'd', "weights", 'T', SHAPE(B, H, T, S), ATTN_E_UNSUPPORTED, "weights"},
    {"gradient of what is absent", 's', "sink", 'A', NONE, ATTN_E_NULL, "sink"},
    {"gradient of a mask of bytes", 's', "mask", 'U', SHAPE(T, S), ATTN_E_DTYPE, "mask"},
    {"no q", 's', "q", 'A', NONE, ATTN_E_NULL, "q"},
    {"q without data", 's', "q", 'N', NONE, ATTN_E_NULL, "q"},
    {"out of another width", 's', "out", 'T', SHAPE(B, H, T, D), ATTN_E_SHAPE, "out"},
    {"out without data", 's', "out", 'N', NONE, ATTN_E_NULL, "out"},
    {"weights without data", 's', "weights", 'N', NONE, ATTN_E_NULL, "weights"},
    {"weights of fewer keys", 's', "weights", 'T', SHAPE(B, H, T, S - 1), ATTN_E_SHAPE, "weights"},
    {"d_q repeats rows", 'd', "q", '0', NONE, ATTN_E_ALIAS, "q"},
    {"d_q over q", 'd', "q", 'S', OVER("q"), ATTN_E_ALIAS, "q"},
    {"d_q over out", 'd', "q", 'S', OVER("out"), ATTN_E_ALIAS, NULL},
    {"d_q over weights", 'd', "q", 'S', OVER("weights"), ATTN_E_ALIAS, NULL},
    {"d_q over d_out", 'd', "q", 'D', OVER("out"), ATTN_E_ALIAS, "q"},
    {"d_v over d_k", 'd', "v", 'D', OVER("k"), ATTN_E_ALIAS, NULL},
    {"d_bias over bias", 'd', "bias", 'S', OVER("bias"), ATTN_E_ALIAS, "bias"},
    {"out over d_out", 's', "out", 'D', OVER("out"), ATTN_E_ALIAS, "out"},
    {"lse over d_lse", 's', "lse", 'D', OVER("lse"), ATTN_E_ALIAS, "lse"},
    {"weights over d_bias", 's', "weights", 'D', OVER("bias"), ATTN_E_ALIAS, NULL},
};
/* clang-format on */

static void bad_apply(mech_call *call, const bad_row *row)
{
    attn_tensor *t = mech_at(call, row->side == 'd', row->slot);
    const attn_dtype dtype = row->how == 'U' ? ATTN_DTYPE_U8 : ATTN_DTYPE_F32;
    if (row->how == 'T' || row->how == 'U') *t = safety_make(dtype, row->rank, row->shape);
    if (row->how == 'A') *t = (attn_tensor){0};
    if (row->how == 'N') t->data = NULL;
    if (row->how == '0') t->stride[0] = 0;
    if (row->over) t->data = mech_at(call, row->how == 'D', row->over)->data;
}

/* The call of bad_rows before it is broken, all its outputs rubbish. */
static mech_call bad_good(attn_args *args)
{
    *args = mech_args();
    args->weights = SAFETY_EMPTY(F32, B, H, T, S);
    mech_call call = mech_of(attn_mech_find("softmax"), args);
    mech_set(&call);
    return call;
}

static bool bad_untouched(const mech_call *good)
{
    const attn_mech *m = attn_mech_find("softmax");
    for (int i = 0; m->slots[i].name; i++) {
        const bool out = m->slots[i].kind & ATTN_OUT;
        if (!safety_untouched(out ? good->slots[i] : good->d_slots[i])) return false;
    }
    return true;
}

static void bad_expect(const char *name, const mech_call *call, const mech_call *good,
                       attn_status status, const char *where)
{
    char text[256] = "";
    attn_error error;
    memset(&error, 0xEE, sizeof error);
    attn_status got = mech_run(call, &error);
    if (got != status)
        fail_msg("%s: %s, want %s", name, attn_status_name(got), attn_status_name(status));
    assert_int_equal(error.status, status);
    if (where && strcmp(error.where, where) != 0)
        fail_msg("%s: blames '%s', want '%s'", name, error.where, where);
    assert_true(attn_error_text(&error, text, sizeof text) > strlen(error.where));
    if (!bad_untouched(good)) fail_msg("%s: an output was touched", name);
    assert_int_equal(mech_run(call, NULL), status);
}

static void bad_every_row(void **state)
{
    (void)state;
    attn_args args;
    const mech_call good = bad_good(&args);
    for (size_t i = 0; i < sizeof bad_rows / sizeof bad_rows[0]; i++) {
        mech_call call = good;
        bad_apply(&call, &bad_rows[i]);
        bad_expect(bad_rows[i].name, &call, &good, bad_rows[i].status, bad_rows[i].where);
    }
    assert_int_equal(mech_run(&good, NULL), ATTN_OK); /* what the rows broke was whole */
    for (int i = 0; i < 3; i++) assert_false(safety_untouched(good.d_slots[i]));
}

static void bad_nothing_comes_or_goes(void **state)
{
    (void)state;
    const attn_mech *m = attn_mech_find("softmax");
    attn_args args;
    const mech_call good = bad_good(&args);
    for (int out = 0; out < 2; out++) {
        mech_call call = good;
        for (int i = 0; m->slots[i].name; i++)
            if (!(m->slots[i].kind & ATTN_OUT) == !out) call.d_slots[i] = (attn_tensor){0};
        bad_expect(out ? "nothing comes in" : "nothing is asked", &call, &good, ATTN_E_NULL,
                   "softmax");
    }
}

static void bad_contents_and_params(void **state)
{
    (void)state;
    attn_args args;
    const mech_call good = bad_good(&args);
    mech_call call = good;
    *mech_at(&call, false, "k_len") = SAFETY_LIST(I64, S, S + 1);
    bad_expect("k_len too long", &call, &good, ATTN_E_LENGTH, "k_len");
    call = good;
    assert_int_equal(
        attn_mech_set(attn_mech_find("softmax"), call.params, "align", "unset", NULL), ATTN_OK);
    bad_expect("no alignment", &call, &good, ATTN_E_CAUSAL, NULL);
}

static void bad_null_pointers(void **state)
{
    (void)state;
    attn_args args;
    const mech_call good = bad_good(&args);
    const attn_mech *m = attn_mech_find("softmax");
    const struct {
        const attn_mech *mech;
        const attn_tensor *slots, *d_slots;
        const attn_value *params;
    } rows[] = {{NULL, good.slots, good.d_slots, good.params},
                {m, NULL, good.d_slots, good.params},
                {m, good.slots, NULL, good.params},
                {m, good.slots, good.d_slots, NULL}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(attn_mech_run_grad(NULL, rows[i].mech, rows[i].slots, rows[i].d_slots,
                                            rows[i].params, NULL),
                         ATTN_E_NULL);
    assert_true(bad_untouched(&good));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SAFETY_CASE(mech_every_gradient_of_the_table),
        SAFETY_CASE(mech_gradients_one_by_one),
        SAFETY_CASE(mech_gradients_of_either_output),
        SAFETY_CASE(mech_one_head_and_one_sequence),
        SAFETY_CASE(bad_every_row),
        SAFETY_CASE(bad_nothing_comes_or_goes),
        SAFETY_CASE(bad_contents_and_params),
        SAFETY_CASE(bad_null_pointers),
    };
    return cmocka_run_group_tests_name("mech_grad", tests, NULL, safety_finish);
}
