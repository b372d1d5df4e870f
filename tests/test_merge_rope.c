/* SPDX-License-Identifier: MIT
 * attn_merge: results over parts of the keys give the result over all of them, by the formula
 *     M = max lse_r,  out = sum exp(lse_r - M) out_r / sum exp(lse_r - M),  lse = M + log sum.
 * attn_rope: pairs turned by their angle, in both layouts,
 *     (a, b) -> (a cos - b sin, a sin + b cos),  angle m base^(-2t/R). */
#include "safety.h"

enum { B = 2, H = 3, T = 5, S = 700, D = 8, E = 6, PARTS_MAX = 9 };

/* ---- merge --------------------------------------------------------------------------- */

typedef struct merge_parts {
    int64_t n;
    attn_tensor out[PARTS_MAX], lse[PARTS_MAX];
    attn_tensor whole_out, whole_lse;
} merge_parts;

static attn_args merge_args(attn_dtype dtype)
{
    return ATTN_ARGS(.q = safety_filled(dtype, 1, SAFETY_DIMS(B, H, T, D)),
                     .k = safety_filled(dtype, 2, SAFETY_DIMS(B, H, S, D)),
                     .v = safety_filled(dtype, 3, SAFETY_DIMS(B, H, S, E)));
}

static void merge_compute(attn_args args, attn_tensor *out, attn_tensor *lse, attn_dtype dtype)
{
    *out = args.out = safety_make(dtype, SAFETY_DIMS(B, H, T, E));
    *lse = args.lse = safety_make(args.q.dtype, SAFETY_DIMS(B, H, T));
    safety_run(NULL, NULL, &args);
}

/* Keys cut[r] .. cut[r + 1] are part r. */
static merge_parts merge_cut(attn_dtype dtype, attn_dtype out, int64_t n, const int64_t *cut)
{
    merge_parts p = {.n = n};
    attn_args args = merge_args(dtype), part = args;
    merge_compute(args, &p.whole_out, &p.whole_lse, out);
    for (int64_t r = 0; r < n; r++) {
        part.k = attn_tensor_slice(args.k, 2, cut[r], cut[r + 1]);
        part.v = attn_tensor_slice(args.v, 2, cut[r], cut[r + 1]);
        merge_compute(part, &p.out[r], &p.lse[r], out);
    }
    return p;
}

static void merge_near(attn_tensor got, attn_tensor want, double tolerance, const char *what)
{
    for (int64_t i = 0, n = safety_count(want); i < n; i++)
        safety_near(safety_at(got, i), safety_at(want, i), tolerance, what);
}

static void merge_gives_whole(const merge_parts *p, double tolerance)
{
    attn_tensor out = safety_make(p->whole_out.dtype, SAFETY_DIMS(B, H, T, E));
    attn_tensor lse = safety_make(p->whole_lse.dtype, SAFETY_DIMS(B, H, T));
    assert_int_equal(attn_merge(p->n, p->out, p->lse, &out, &lse, NULL), ATTN_OK);
    merge_near(out, p->whole_out, tolerance, "merged out");
    merge_near(lse, p->whole_lse, 4e-6, "merged lse");
}

static void merge_whole(void **state)
{
    static const int64_t cuts[][PARTS_MAX + 1] = {{0, S},
                                                  {0, 1, S},
                                                  {0, 256, S},
                                                  {0, 0, 350, 350, S},
                                                  {0, 1, 2, 3, 255, 256, 257, 512, 699, S}};
    static const int64_t n[] = {1, 2, 2, 4, 9};
    (void)state;
    for (int i = 0; i < 5; i++) {
        merge_parts f32 = merge_cut(ATTN_DTYPE_F32, ATTN_DTYPE_F32, n[i], cuts[i]);
        merge_gives_whole(&f32, 2e-6);
        merge_parts f64 = merge_cut(ATTN_DTYPE_F64, ATTN_DTYPE_F64, n[i], cuts[i]);
        merge_gives_whole(&f64, 1e-14);
        merge_parts bf16 = merge_cut(ATTN_DTYPE_F32, ATTN_DTYPE_BF16, n[i], cuts[i]);
        merge_gives_whole(&bf16, 0x1p-8);
    }
}

static void merge_one_is_copy(void **state)
{
    static const int64_t cut[] = {0, S};
    (void)state;
    merge_parts p = merge_cut(ATTN_DTYPE_F32, ATTN_DTYPE_F32, 1, cut);
    attn_tensor out = SAFETY_EMPTY(F32, B, H, T, E), lse = SAFETY_EMPTY(F32, B, H, T);
    assert_int_equal(attn_merge(1, p.out, p.lse, &out, &lse, NULL), ATTN_OK);
    safety_same(out, p.out[0], "out of one part");
    safety_same(lse, p.lse[0], "lse of one part");
}

static void merge_is_empty(const attn_tensor *out, const attn_tensor *lse)
{
    for (int64_t i = 0, n = safety_count(*out); i < n; i++)
        assert_true(safety_plus_zero(safety_at(*out, i)));
    for (int64_t i = 0, n = safety_count(*lse); i < n; i++)
        assert_true(safety_at(*lse, i) == (double)-INFINITY);
}

static void merge_nothing(void **state)
{
    (void)state;
    attn_tensor out = SAFETY_EMPTY(F32, B, H, T, E), lse = SAFETY_EMPTY(F32, B, H, T);
    assert_int_equal(attn_merge(0, NULL, NULL, &out, &lse, NULL), ATTN_OK);
    merge_is_empty(&out, &lse);
}

/* Empty parts count nothing, whatever their out holds; all empty is empty. */
static void merge_empty_parts(void **state)
{
    static const int64_t cut[] = {0, 300, S};
    (void)state;
    merge_parts p = merge_cut(ATTN_DTYPE_F32, ATTN_DTYPE_F32, 2, cut);
    attn_tensor empty = SAFETY_EMPTY(F32, B, H, T, E), minus = SAFETY_EMPTY(F32, B, H, T);
    attn_tensor out = SAFETY_EMPTY(F32, B, H, T, E), lse = SAFETY_EMPTY(F32, B, H, T), first;
    test_fill_value(&empty, (double)NAN);
    test_fill_value(&minus, (double)-INFINITY);
    assert_int_equal(attn_merge(2, p.out, p.lse, &out, &lse, NULL), ATTN_OK);
    first = safety_copy(out);
    const attn_tensor outs[] = {empty, p.out[0], empty, p.out[1], empty};
    const attn_tensor lses[] = {minus, p.lse[0], minus, p.lse[1], minus};
    assert_int_equal(attn_merge(5, outs, lses, &out, &lse, NULL), ATTN_OK);
    safety_same(out, first, "empty parts between the others");
    const attn_tensor none[] = {empty, empty}, none_lse[] = {minus, minus};
    assert_int_equal(attn_merge(2, none, none_lse, &out, &lse, NULL), ATTN_OK);
    merge_is_empty(&out, &lse);
}

/* exp of an lse far beyond the range of f32 must never be formed. */
static void merge_large_lse(void **state)
{
    (void)state;
    attn_tensor a = SAFETY_LIST(F32, 1, -2), b = SAFETY_LIST(F32, 3, 5),
                out = SAFETY_EMPTY(F32, 1, 2);
    attn_tensor la = SAFETY_LIST(F32, 9000), lb = SAFETY_LIST(F32, 9000),
                lse = SAFETY_EMPTY(F32, 1);
    attn_tensor outs[] = {a, b}, lses[] = {la, lb};
    for (int i = 0; i < 2; i++)
        outs[i] = attn_tensor_make(outs[i].data, ATTN_DTYPE_F32, SAFETY_DIMS(1, 2));
    assert_int_equal(attn_merge(2, outs, lses, &out, &lse, NULL), ATTN_OK);
    safety_near(safety_at(out, 0), 2, 1e-6, "mean of two equal parts");
    safety_near(safety_at(out, 1), 1.5, 1e-6, "mean of two equal parts");
    safety_near(safety_at(lse, 0), 9000 + log(2), 1e-3, "their lse");
    safety_put(lb, 0, -9000);
    assert_int_equal(attn_merge(2, outs, lses, &out, &lse, NULL), ATTN_OK);
    safety_same(out, outs[0], "a part that weighs nothing");
}

static void merge_optional_outputs(void **state)
{
    static const int64_t cut[] = {0, 100, S};
    (void)state;
    merge_parts p = merge_cut(ATTN_DTYPE_F32, ATTN_DTYPE_F32, 2, cut);
    attn_tensor out = SAFETY_EMPTY(F32, B, H, T, E), lse = SAFETY_EMPTY(F32, B, H, T);
    attn_tensor out_only = SAFETY_EMPTY(F32, B, H, T, E), lse_only = SAFETY_EMPTY(F32, B, H, T);
    assert_int_equal(attn_merge(2, p.out, p.lse, &out, &lse, NULL), ATTN_OK);
    assert_int_equal(attn_merge(2, p.out, p.lse, &out_only, NULL, NULL), ATTN_OK);
    assert_int_equal(attn_merge(2, p.out, p.lse, NULL, &lse_only, NULL), ATTN_OK);
    safety_same(out_only, out, "out alone");
    safety_same(lse_only, lse, "lse alone");
}

/* An output may be a part itself; lying over one in any other way is refused. */
static void merge_in_place(void **state)
{
    static const int64_t cut[] = {0, 100, S};
    (void)state;
    merge_parts p = merge_cut(ATTN_DTYPE_F32, ATTN_DTYPE_F32, 2, cut);
    attn_tensor out = SAFETY_EMPTY(F32, B, H, T, E), lse = SAFETY_EMPTY(F32, B, H, T);
    assert_int_equal(attn_merge(2, p.out, p.lse, &out, &lse, NULL), ATTN_OK);
    for (int r = 0; r < 2; r++) {
        attn_tensor before = safety_copy(p.out[r]), before_lse = safety_copy(p.lse[r]);
        attn_status s = attn_merge(2, p.out, p.lse, &p.out[r], &p.lse[r], NULL);
        assert_int_equal(s, ATTN_OK);
        safety_same(p.out[r], out, "out in place");
        safety_same(p.lse[r], lse, "lse in place");
        memcpy(p.out[r].data, before.data, safety_size(before));
        memcpy(p.lse[r].data, before_lse.data, safety_size(before_lse));
    }
    attn_tensor shifted = p.out[0], lse_over_out = p.lse[0];
    shifted.data = (float *)shifted.data + E;
    assert_int_equal(attn_merge(1, &shifted, p.lse, &p.out[0], NULL, NULL), ATTN_E_ALIAS);
    lse_over_out.data = out.data;
    assert_int_equal(attn_merge(2, p.out, p.lse, &out, &lse_over_out, NULL), ATTN_E_ALIAS);
    out.stride[2] = 0;
    assert_int_equal(attn_merge(2, p.out, p.lse, &out, NULL, NULL), ATTN_E_ALIAS);
}

static void merge_refusals(void **state)
{
    static const int64_t cut[] = {0, 100, S};
    (void)state;
    merge_parts p = merge_cut(ATTN_DTYPE_F32, ATTN_DTYPE_F32, 2, cut), bad = p;
    attn_tensor out = SAFETY_EMPTY(F32, B, H, T, E), lse = SAFETY_EMPTY(F32, B, H, T), small;
    assert_int_equal(attn_merge(-1, p.out, p.lse, &out, &lse, NULL), ATTN_E_PARAM);
    assert_int_equal(attn_merge(2, NULL, p.lse, &out, &lse, NULL), ATTN_E_NULL);
    assert_int_equal(attn_merge(2, p.out, NULL, &out, &lse, NULL), ATTN_E_NULL);
    assert_int_equal(attn_merge(2, p.out, p.lse, NULL, NULL, NULL), ATTN_E_NULL);
    small = attn_tensor_slice(out, 3, 0, E - 1);
    assert_int_equal(attn_merge(2, p.out, p.lse, &small, &lse, NULL), ATTN_E_SHAPE);
    bad.lse[1].shape[2]--;
    assert_int_equal(attn_merge(2, p.out, bad.lse, &out, &lse, NULL), ATTN_E_SHAPE);
    bad.out[1].dtype = ATTN_DTYPE_I32;
    assert_int_equal(attn_merge(2, bad.out, p.lse, &out, &lse, NULL), ATTN_E_DTYPE);
    assert_true(safety_untouched(out) && safety_untouched(lse));
}

/* ---- rope ---------------------------------------------------------------------------- */

typedef struct rope_row {
    attn_rope_kind kind;
    int64_t dims, width;
    double base;
} rope_row;

static const rope_row rope_rows[] = {
    {ATTN_ROPE_HALF, 0, 8, 0},     {ATTN_ROPE_INTERLEAVED, 0, 8, 0},
    {ATTN_ROPE_HALF, 4, 9, 500},   {ATTN_ROPE_INTERLEAVED, 6, 7, 1e6},
    {ATTN_ROPE_HALF, 2, 2, 1},     {ATTN_ROPE_INTERLEAVED, 64, 65, 0},
    {ATTN_ROPE_HALF, 260, 261, 0}, {ATTN_ROPE_INTERLEAVED, 132, 140, 0},
};

/* Element d of the turned row x at an angle table by pair. */
static double rope_expect(const rope_row *r, const double *x, int64_t d, double c, double s)
{
    int64_t R = r->dims ? r->dims : r->width, half = R / 2;
    if (d >= R) return x[d];
    bool first = r->kind == ATTN_ROPE_HALF ? d < half : d % 2 == 0;
    int64_t mate = r->kind == ATTN_ROPE_HALF ? (first ? d + half : d - half) : d ^ 1;
    return first ? x[d] * c - x[mate] * s : x[mate] * s + x[d] * c;
}

static int64_t rope_pair(const rope_row *r, int64_t d)
{
    int64_t R = r->dims ? r->dims : r->width;
    return r->kind == ATTN_ROPE_HALF ? d % (R / 2) : d / 2;
}

static double rope_angle(const rope_row *r, int64_t pair, double position)
{
    double R = (double)(r->dims ? r->dims : r->width), base = r->base != 0 ? r->base : 10000;
    return position * pow(base, -2.0 * (double)pair / R);
}

static void rope_judge(const rope_row *r, attn_tensor x, attn_tensor y, const attn_tensor *pos,
                       double tolerance)
{
    double row[261];
    for (int64_t n = 0; n < B * H * T; n++) {
        int64_t t = n % T, b = n / T / H;
        double m = pos == NULL ? (double)t : safety_at(*pos, (pos->rank == 2 ? b * T : 0) + t);
        for (int64_t d = 0; d < r->width; d++) row[d] = safety_at(x, n * r->width + d);
        for (int64_t d = 0; d < r->width; d++) {
            double angle = rope_angle(r, rope_pair(r, d), m);
            safety_near(safety_at(y, n * r->width + d),
                        rope_expect(r, row, d, cos(angle), sin(angle)), tolerance,
                        "turned element");
        }
    }
}

static void rope_turns(const rope_row *r, attn_dtype dtype, const attn_tensor *pos,
                       double tolerance)
{
    attn_rope_spec spec = {r->kind, r->dims, r->base};
    attn_tensor x = safety_filled(dtype, 7, SAFETY_DIMS(B, H, T, r->width));
    attn_tensor y = safety_make(dtype, SAFETY_DIMS(B, H, T, r->width));
    assert_int_equal(attn_rope(&spec, &x, pos, NULL, NULL, &y, NULL), ATTN_OK);
    rope_judge(r, x, y, pos, tolerance);
}

static void rope_definition(void **state)
{
    (void)state;
    attn_tensor row = SAFETY_LIST(I64, 0, 3, 1000, 65535, 1), all = SAFETY_EMPTY(I32, B, T);
    for (int64_t i = 0; i < B * T; i++) safety_put(all, i, (double)(i * 117));
    for (size_t i = 0; i < sizeof rope_rows / sizeof rope_rows[0]; i++) {
        rope_turns(&rope_rows[i], ATTN_DTYPE_F32, NULL, 3e-7);
        rope_turns(&rope_rows[i], ATTN_DTYPE_F32, &row, 3e-7);
        rope_turns(&rope_rows[i], ATTN_DTYPE_F32, &all, 3e-7);
        rope_turns(&rope_rows[i], ATTN_DTYPE_F64, &all, 1e-11);
        rope_turns(&rope_rows[i], ATTN_DTYPE_F16, &all, 0x1p-10);
        rope_turns(&rope_rows[i], ATTN_DTYPE_BF16, NULL, 0x1p-7);
    }
}

static void rope_position_zero(void **state)
{
    (void)state;
    attn_tensor zero = SAFETY_LIST(I64, 0, 0, 0, 0, 0), x = SAFETY_FILLED(F16, 3, B, H, T, D);
    attn_tensor y = SAFETY_EMPTY(F16, B, H, T, D);
    attn_rope_spec spec = {.kind = ATTN_ROPE_HALF};
    assert_int_equal(attn_rope(&spec, &x, &zero, NULL, NULL, &y, NULL), ATTN_OK);
    safety_same(y, x, "position 0");
}

/* Tables by position, and tables that are already in the order of the rows. */
static void rope_tables(void **state)
{
    const rope_row *r = &rope_rows[2];
    const attn_rope_spec spec = {r->kind, r->dims, 0};
    (void)state;
    enum { P = 32, PAIRS = 2 };
    attn_tensor c = SAFETY_EMPTY(F64, P, PAIRS), s = SAFETY_EMPTY(F64, P, PAIRS);
    attn_tensor c3 = SAFETY_EMPTY(F64, B, T, PAIRS), s3 = SAFETY_EMPTY(F64, B, T, PAIRS);
    attn_tensor pos = SAFETY_EMPTY(I64, B, T), x = SAFETY_FILLED(F32, 9, B, H, T, 9);
    for (int64_t i = 0; i < B * T; i++) safety_put(pos, i, (double)(i * 3 % P));
    for (int64_t i = 0; i < P * PAIRS; i++) {
        safety_put(c, i, cos(rope_angle(r, i % PAIRS, (double)(i / PAIRS))));
        safety_put(s, i, sin(rope_angle(r, i % PAIRS, (double)(i / PAIRS))));
    }
    for (int64_t i = 0; i < B * T * PAIRS; i++) {
        int64_t at = (int64_t)safety_at(pos, i / PAIRS) * PAIRS + i % PAIRS;
        safety_put(c3, i, safety_at(c, at));
        safety_put(s3, i, safety_at(s, at));
    }
    attn_tensor y = SAFETY_EMPTY(F32, B, H, T, 9), y3 = SAFETY_EMPTY(F32, B, H, T, 9);
    assert_int_equal(attn_rope(&spec, &x, &pos, &c, &s, &y, NULL), ATTN_OK);
    assert_int_equal(attn_rope(&spec, &x, NULL, &c3, &s3, &y3, NULL), ATTN_OK);
    rope_judge(r, x, y, &pos, 3e-7);
    safety_same(y3, y, "tables in row order");
    safety_put(pos, 4, P);
    assert_int_equal(attn_rope(&spec, &x, &pos, &c, &s, &y, NULL), ATTN_E_LENGTH);
    safety_put(pos, 4, -1);
    assert_int_equal(attn_rope(&spec, &x, &pos, &c, &s, &y, NULL), ATTN_E_LENGTH);
    assert_int_equal(attn_rope(&spec, &x, &pos, &c, NULL, &y, NULL), ATTN_E_PARAM);
}

/* Turning q and k first is what the engine does itself, up to rounding. */
static void rope_in_engine(void **state)
{
    const attn_rope_spec rope = {.kind = ATTN_ROPE_INTERLEAVED, .dims = 6};
    attn_args args = merge_args(ATTN_DTYPE_F32);
    (void)state;
    args.out = SAFETY_EMPTY(F32, B, H, T, E);
    attn_spec spec = ATTN_SPEC(.rope = rope, .align = ATTN_ALIGN_TOP_LEFT);
    safety_run(NULL, &spec, &args);
    attn_tensor inside = safety_copy(args.out), q = SAFETY_EMPTY(F32, B, H, T, D);
    attn_tensor k = SAFETY_EMPTY(F32, B, H, S, D);
    assert_int_equal(attn_rope(&rope, &args.q, NULL, NULL, NULL, &q, NULL), ATTN_OK);
    assert_int_equal(attn_rope(&rope, &args.k, NULL, NULL, NULL, &k, NULL), ATTN_OK);
    args.q = q, args.k = k;
    safety_run(NULL, NULL, &args);
    merge_near(args.out, inside, 2e-6, "rotation outside and inside");
}

/* In place is fine; lying over x in any other way, or broken shapes, are not. */
static void rope_refusals(void **state)
{
    (void)state;
    attn_rope_spec spec = {.kind = ATTN_ROPE_INTERLEAVED}, bad = spec;
    attn_tensor x = SAFETY_FILLED(F32, 3, B, H, T, D), y = SAFETY_EMPTY(F32, B, H, T, D), z = y;
    assert_int_equal(attn_rope(&spec, &x, NULL, NULL, NULL, &y, NULL), ATTN_OK);
    attn_tensor inside = safety_copy(x);
    assert_int_equal(attn_rope(&spec, &inside, NULL, NULL, NULL, &inside, NULL), ATTN_OK);
    safety_same(inside, y, "turned in place");
    memset(y.data, SAFETY_RUBBISH, safety_size(y));
    z.data = (float *)x.data + 1;
    assert_int_equal(attn_rope(&spec, &x, NULL, NULL, NULL, &z, NULL), ATTN_E_ALIAS);
    assert_int_equal(attn_rope(&spec, NULL, NULL, NULL, NULL, &y, NULL), ATTN_E_NULL);
    assert_int_equal(attn_rope(&spec, &x, NULL, NULL, NULL, NULL, NULL), ATTN_E_NULL);
    assert_int_equal(attn_rope(NULL, &x, NULL, NULL, NULL, &y, NULL), ATTN_E_NULL);
    z = attn_tensor_slice(y, 2, 0, T - 1);
    assert_int_equal(attn_rope(&spec, &x, NULL, NULL, NULL, &z, NULL), ATTN_E_SHAPE);
    bad.dims = 3;
    assert_int_equal(attn_rope(&bad, &x, NULL, NULL, NULL, &y, NULL), ATTN_E_PARAM);
    bad.dims = D + 2;
    assert_int_equal(attn_rope(&bad, &x, NULL, NULL, NULL, &y, NULL), ATTN_E_PARAM);
    bad = (attn_rope_spec){.kind = (attn_rope_kind)3};
    assert_int_equal(attn_rope(&bad, &x, NULL, NULL, NULL, &y, NULL), ATTN_E_ENUM);
    assert_true(safety_untouched(y));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SAFETY_CASE(merge_whole),     SAFETY_CASE(merge_one_is_copy),
        SAFETY_CASE(merge_nothing),   SAFETY_CASE(merge_empty_parts),
        SAFETY_CASE(merge_large_lse), SAFETY_CASE(merge_optional_outputs),
        SAFETY_CASE(merge_in_place),  SAFETY_CASE(merge_refusals),
        SAFETY_CASE(rope_definition), SAFETY_CASE(rope_position_zero),
        SAFETY_CASE(rope_tables),     SAFETY_CASE(rope_in_engine),
        SAFETY_CASE(rope_refusals),
    };
    return cmocka_run_group_tests_name("merge_rope", tests, NULL, safety_finish);
}
