/* SPDX-License-Identifier: MIT
 * attn_matmul at its edges: special values, memory between forbidden pages, memory that runs
 * out at each allocation in turn, the caller's rounding mode, and bad input, which is answered
 * with a status and a sentence and changes no byte. */
#include "guard.h"

#include <fenv.h>

#include "attn/tape.h"

static attn_tensor turned(attn_tensor t)
{
    return attn_tensor_permute(t, (const int[]){1, 0});
}

static void run(attn_ctx *ctx, attn_tensor a, attn_tensor b, attn_tensor c, bool add)
{
    attn_error error;
    char text[256] = "";
    attn_status s = attn_matmul(ctx, &a, &b, &c, add, &error);
    if (s != ATTN_OK) attn_error_text(&error, text, sizeof text);
    if (s != ATTN_OK) fail_msg("%s: %s", attn_status_name(s), text);
}

/* ---- special values ------------------------------------------------------------------ */

/* Rows of a times one column; the sum of each row by IEEE, NaN as the one quiet NaN. */
typedef struct value_row {
    const char *name;
    double a[3], b[3], want;
} value_row;

#define INF   ((double)INFINITY)
#define QUIET ((double)NAN)
static const value_row value_rows[] = {
    {"0 inf is NaN", {0, 1, 1}, {INF, 1, 1}, QUIET},
    {"NaN stays", {1, QUIET, 1}, {1, 0, 1}, QUIET},
    {"inf - inf is NaN", {INF, 1, 1}, {1, -INF, 1}, QUIET},
    {"inf stays", {INF, 1, 1}, {1, -1e30, 1}, INF},
    {"negative zeros give zero", {-0.0, -0.0, -0.0}, {1, 1, 1}, 0},
    {"beyond the range inside fma", {-0x1p100, 0x1p100, 0}, {0x1p27, 0x1p28, 0}, 0x1p127},
    {"too large is inf", {0x1p100, 0, 0}, {0x1p100, 0, 0}, INF},
    {"denormals are kept", {0x1p-140, 0, 0}, {0x1p-5, 0, 0}, 0x1p-145},
    {"ties to even", {1, 0x1p-24, 0}, {1, 1, 0}, 1},
    {"one rounding", {-1, 0x1.000002p0, 0}, {0x1.000004p0, 0x1.000002p0, 0}, 0x1p-46},
};
enum { VALUE_ROWS = sizeof value_rows / sizeof value_rows[0] };

static uint32_t value_word(attn_tensor t, int64_t i)
{
    uint32_t word;
    memcpy(&word, (char *)t.data + safety_offset(t, i) * 4, sizeof word);
    return word;
}

/* In each of 50 columns, so that full and cut vectors see them; and as many rows. */
static void value_check(attn_ctx *ctx, const value_row *r, bool turn)
{
    attn_tensor a = SAFETY_EMPTY(F32, 50, 3), b = SAFETY_EMPTY(F32, 3, 50);
    attn_tensor c = SAFETY_EMPTY(F32, 50, 50);
    for (int64_t i = 0; i < 150; i++) safety_put(a, i, r->a[i % 3]);
    for (int64_t i = 0; i < 150; i++) safety_put(b, i, r->b[i / 50]);
    run(ctx, a, b, turn ? turned(c) : c, false);
    for (int64_t i = 0; i < 2500; i++) {
        const float want = (float)r->want;
        uint32_t word = 0x7FC00000;
        if (!isnan(want)) memcpy(&word, &want, sizeof word);
        if (value_word(c, i) != word)
            fail_msg("%s: %08x instead of %08x", r->name, value_word(c, i), word);
    }
}

static void special_values(void **state)
{
    (void)state;
    for (int i = 0; safety_isa(i) != NULL; i++)
        for (int r = 0; r < VALUE_ROWS; r++) {
            value_check(safety_isa(i), &value_rows[r], false);
            value_check(safety_isa(i), &value_rows[r], true);
        }
}

/* Nothing to sum: 0, or c as it was, its NaN and -0 included; NULL operands are legal then. */
static void empty_sums(void **state)
{
    (void)state;
    const attn_tensor none_a = ATTN_TENSOR(NULL, F32, 5, 0),
                      none_b = ATTN_TENSOR(NULL, BF16, 0, 7);
    attn_tensor c = SAFETY_EMPTY(F32, 5, 7), d = SAFETY_EMPTY(F64, 7, 5);
    run(NULL, none_a, none_b, c, true);
    assert_true(safety_untouched(c));
    run(NULL, none_a, none_b, c, false);
    run(NULL, none_a, none_b, turned(d), false);
    for (int64_t i = 0; i < 35; i++)
        assert_true(safety_plus_zero(safety_at(c, i)) && safety_plus_zero(safety_at(d, i)));
    run(NULL, ATTN_TENSOR(NULL, F32, 0, 3), SAFETY_FILLED(F32, 1, 3, 7),
        ATTN_TENSOR(NULL, F32, 0, 7), false);
    run(NULL, ATTN_TENSOR(NULL, F32, 0, 4, 3), SAFETY_FILLED(F32, 1, 3, 7),
        ATTN_TENSOR(NULL, F32, 0, 4, 7), false);
}

/* The caller's rounding mode neither reaches a sum nor is lost. */
static void rounding_mode(void **state)
{
    (void)state;
    const attn_tensor a = SAFETY_FILLED(F32, 1, 40, 300), b = SAFETY_FILLED(F32, 2, 300, 30);
    attn_tensor c = SAFETY_EMPTY(F32, 40, 30), d = SAFETY_EMPTY(F32, 40, 30);
    for (int64_t i = 0; i < 40 * 300; i++) safety_put(a, i, safety_at(a, i) * 1.1);
    run(NULL, a, b, c, false);
    assert_int_equal(fesetround(FE_UPWARD), 0);
    run(safety_threads(3), a, b, d, false);
    const int mode = fegetround();
    fesetround(FE_TONEAREST);
    assert_int_equal(mode, FE_UPWARD);
    safety_same(d, c, "rounding mode");
}

/* ---- guard pages --------------------------------------------------------------------- */

static const int64_t guard_edges[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 47, 48, 49, 65, 97};
static const int64_t guard_depths[] = {1, 2, 16, 17, 63, 255, 256, 257, 300};
static const attn_dtype guard_types[] = {ATTN_DTYPE_F32, ATTN_DTYPE_BF16, ATTN_DTYPE_F16,
                                         ATTN_DTYPE_F64};

static guard_tensor guard_matrix(test_rng *rng, int slot, guard_side side, attn_dtype dtype,
                                 int64_t rows, int64_t cols)
{
    const bool turn = test_rng_chance(rng, 50);
    const int64_t shape[] = {2, turn ? cols : rows, turn ? rows : cols};
    guard_tensor g = guard_make(slot, side, dtype, 3, shape,
                                (guard_layout)test_rng_range(rng, 0, GUARD_N_LAYOUTS - 1));
    if (turn) g.view = attn_tensor_permute(g.view, (const int[]){0, 2, 1});
    return g;
}

static attn_dtype guard_type(test_rng *rng, bool result)
{
    if (test_rng_chance(rng, 60)) return ATTN_DTYPE_F32;
    return guard_types[result ? 3 * test_rng_range(rng, 0, 1) : test_rng_range(rng, 0, 3)];
}

/* Both sides; what an element is must not depend on where it lies. */
static void guard_product(uint64_t seed)
{
    attn_tensor first = {0};
    for (int side = GUARD_RIGHT; side <= (int)GUARD_LEFT; side++) {
        test_rng rng = test_rng_make(seed);
        const int64_t M = test_rng_pick(&rng, guard_edges, 16),
                      N = test_rng_pick(&rng, guard_edges, 16);
        const int64_t K = test_rng_pick(&rng, guard_depths, 9);
        guard_tensor a = guard_matrix(&rng, 0, (guard_side)side, guard_type(&rng, false), M, K);
        guard_tensor b = guard_matrix(&rng, 1, (guard_side)side, guard_type(&rng, false), K, N);
        guard_tensor c = guard_matrix(&rng, 2, (guard_side)side, guard_type(&rng, true), M, N);
        guard_fill(&a, 1);
        guard_fill(&b, 2);
        guard_paint(&c, (guard_side)side);
        if (sigsetjmp(guard_jump, 1) != 0) fail_msg("a fault, seed %d", (int)seed);
        run(safety_isa((int)(seed % (uint64_t)safety_contexts.n_usable)), a.view, b.view,
            c.view, false);
        const attn_tensor got = safety_copy(c.view);
        if (side == GUARD_RIGHT) first = got;
        safety_same(got, first, "left and right");
        if (!guard_gaps_intact(&c, (guard_side)side))
            fail_msg("a gap of c, seed %d", (int)seed);
    }
}

static void guard_pages(void **state)
{
    (void)state;
    guard_catch_faults();
    for (int64_t seed = 1; seed <= test_env_share(800); seed++) {
        guard_product((uint64_t)seed);
        test_arena_reset(&safety_arena);
    }
}

/* ---- memory that runs out ------------------------------------------------------------ */

typedef struct meter {
    int calls, fail_at, live;
} meter;

static void *meter_alloc(void *user, void *ptr, size_t old_size, size_t new_size, size_t align)
{
    meter *m = user;
    (void)old_size;
    if (ptr != NULL) {
        m->live--;
        free(ptr);
        return NULL;
    }
    if (m->calls++ == m->fail_at) return NULL;
    m->live++;
    return aligned_alloc(align, (new_size + align - 1) / align * align);
}

/* Products that pack a, pack b, pass c through scratch, all of it, and none. */
typedef struct memory_row {
    attn_dtype a, b, c;
    bool turn_a, turn_b;
    int least; /* allocations at least */
} memory_row;

static const memory_row memory_rows[] = {
    {ATTN_DTYPE_F32, ATTN_DTYPE_F32, ATTN_DTYPE_F32, true, false, 1},
    {ATTN_DTYPE_F32, ATTN_DTYPE_F32, ATTN_DTYPE_F32, false, true, 1},
    {ATTN_DTYPE_F64, ATTN_DTYPE_F64, ATTN_DTYPE_F32, false, false, 1},
    {ATTN_DTYPE_F16, ATTN_DTYPE_BF16, ATTN_DTYPE_F64, true, true, 1},
    {ATTN_DTYPE_F32, ATTN_DTYPE_F32, ATTN_DTYPE_F32, false, false, 0},
};

static attn_tensor memory_operand(attn_dtype dtype, int64_t rows, int64_t cols, bool turn)
{
    const int64_t shape[] = {turn ? cols : rows, turn ? rows : cols};
    const attn_tensor t = safety_filled(dtype, 1, 2, shape);
    return turn ? turned(t) : t;
}

static void memory_sweep(const memory_row *r)
{
    meter m = {.fail_at = -1};
    attn_ctx *ctx = NULL;
    const attn_config config =
        ATTN_CONFIG(.threads = 1, .alloc = meter_alloc, .alloc_user = &m);
    assert_int_equal(attn_ctx_create(&ctx, &config, NULL), ATTN_OK);
    const int live = m.live;
    const attn_tensor a = memory_operand(r->a, 60, 70, r->turn_a);
    const attn_tensor b = memory_operand(r->b, 70, 120, r->turn_b);
    attn_tensor c = safety_make(r->c, 2, (const int64_t[]){60, 120});
    attn_status s = ATTN_E_MEMORY;
    for (int n = 0; s == ATTN_E_MEMORY; n++) {
        attn_error error = {0};
        m.calls = 0;
        m.fail_at = n;
        s = attn_matmul(ctx, &a, &b, &c, false, &error);
        assert_int_equal(m.live, live);
        assert_true(s == ATTN_OK || (error.status == s && error.what && safety_untouched(c)));
        assert_true(n < 20 && (s != ATTN_OK || n >= r->least));
    }
    assert_int_equal(s, ATTN_OK);
    attn_ctx_destroy(ctx);
    assert_int_equal(m.live, 0);
}

static void memory(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof memory_rows / sizeof memory_rows[0]; i++)
        memory_sweep(&memory_rows[i]);
}

/* ---- bad input ----------------------------------------------------------------------- */

typedef struct bad {
    attn_tensor a, b, c;
} bad;

static void bad_no_a(bad *x)
{
    x->a.dtype = ATTN_DTYPE_NONE;
}
static void bad_int(bad *x)
{
    x->b.dtype = ATTN_DTYPE_I32;
}
static void bad_half(bad *x)
{
    x->c.dtype = ATTN_DTYPE_BF16;
}
static void bad_vector(bad *x)
{
    x->a.rank = 1;
}
static void bad_depth(bad *x)
{
    x->b.shape[x->b.rank - 2] = 5;
}
static void bad_rows(bad *x)
{
    x->c.shape[1] = 3;
}
static void bad_cols(bad *x)
{
    x->c.shape[2] = 2;
}
static void bad_lead(bad *x)
{
    x->a.shape[0] = 3;
}
static void bad_deep(bad *x)
{
    x->b.rank = 4;
    for (int i = 0; i < 4; i++) x->b.shape[i] = i < 2 ? 1 : 4;
}
static void bad_data(bad *x)
{
    x->b.data = NULL;
}
static void bad_self(bad *x)
{
    x->c.stride[0] = 0;
}
static void bad_over_a(bad *x)
{
    x->c.data = (char *)x->a.data + 8;
}
static void bad_over_b(bad *x)
{
    x->b.data = x->c.data;
}
static void bad_negative(bad *x)
{
    x->a.shape[1] = -1;
}
static void bad_place(bad *x)
{
    x->c.data = (char *)x->c.data + 1;
}

typedef struct bad_row {
    void (*spoil)(bad *x);
    attn_status status;
    const char *where;
    int64_t want, got; /* both 0: not said */
} bad_row;

static const bad_row bad_table[] = {
    {bad_no_a, ATTN_E_NULL, "a", 0, 0},    {bad_int, ATTN_E_DTYPE, "b", 0, 0},
    {bad_half, ATTN_E_DTYPE, "c", 0, 0},   {bad_vector, ATTN_E_RANK, "a", 2, 1},
    {bad_depth, ATTN_E_SHAPE, "b", 4, 5},  {bad_rows, ATTN_E_SHAPE, "c", 4, 3},
    {bad_cols, ATTN_E_SHAPE, "c", 4, 2},   {bad_lead, ATTN_E_SHAPE, "a", 2, 3},
    {bad_deep, ATTN_E_RANK, "b", 3, 4},    {bad_data, ATTN_E_NULL, "b", 0, 0},
    {bad_self, ATTN_E_ALIAS, "c", 0, 0},   {bad_over_a, ATTN_E_ALIAS, "c", 0, 0},
    {bad_over_b, ATTN_E_ALIAS, "c", 0, 0}, {bad_negative, ATTN_E_DIM, "a", 0, -1},
    {bad_place, ATTN_E_ALIGN, "c", 4, 1},
};

static void bad_input(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_table / sizeof bad_table[0]; i++) {
        const bad_row *r = &bad_table[i];
        const attn_tensor c = SAFETY_EMPTY(F32, 2, 4, 4);
        bad x = {SAFETY_FILLED(F32, 1, 2, 4, 4), SAFETY_FILLED(F32, 2, 2, 4, 4), c};
        attn_error error = {0};
        char text[256];
        r->spoil(&x);
        assert_int_equal(attn_matmul(NULL, &x.a, &x.b, &x.c, false, &error), r->status);
        assert_int_equal(error.status, r->status);
        assert_string_equal(error.where, r->where);
        assert_true(error.counted == (r->want != 0 || r->got != 0));
        assert_true(!error.counted || (error.want == r->want && error.got == r->got));
        assert_true(attn_error_text(&error, text, sizeof text) > 10);
        assert_true(safety_untouched(c));
        assert_int_equal(attn_matmul(NULL, &x.a, &x.b, &x.c, false, NULL), r->status);
    }
    const attn_tensor t = SAFETY_FILLED(F32, 1, 4, 4);
    assert_int_equal(attn_matmul(NULL, NULL, &t, &t, false, NULL), ATTN_E_NULL);
    assert_int_equal(attn_matmul(NULL, &t, NULL, &t, false, NULL), ATTN_E_NULL);
    assert_int_equal(attn_matmul(NULL, &t, &t, NULL, false, NULL), ATTN_E_NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SAFETY_CASE(special_values), SAFETY_CASE(empty_sums), SAFETY_CASE(rounding_mode),
        SAFETY_CASE(guard_pages),    SAFETY_CASE(memory),     SAFETY_CASE(bad_input),
    };
    return cmocka_run_group_tests_name("matmul_safety", tests, guard_setup, guard_finish);
}
