/* SPDX-License-Identifier: MIT
 * The call that test_special and test_special_hide disturb: one sequence of two heads whose
 * lengths cross lane groups, query panels and the chunk of 512 keys, run for every instruction
 * set, both arithmetic types and a list of positions around those edges. */
#ifndef ATTN_TESTS_SPECIAL_H
#define ATTN_TESTS_SPECIAL_H

#include "safety.h"

#include <float.h>

enum { SPECIAL_H = 2, SPECIAL_T = 51, SPECIAL_S = 530, SPECIAL_D = 9, SPECIAL_E = 10 };

typedef struct special {
    attn_ctx *ctx;
    attn_dtype dtype;
    int64_t i, j; /* the query and the key of this round */
    attn_spec spec;
    attn_args args;
    attn_tensor clean_out, clean_lse; /* results of the call before it is disturbed */
} special;

typedef struct special_place {
    int64_t i, j;
} special_place;

static const special_place special_places[] = {
    {0, 0},    {7, 1},   {8, 7},   {15, 8},   {16, 15},  {17, 16},
    {31, 31},  {47, 32}, {48, 47}, {49, 48},  {50, 49},  {33, 255},
    {32, 256}, {1, 511}, {2, 512}, {50, 513}, {48, 528}, {50, 529},
};

static inline attn_tensor special_view(const attn_tensor *t, int64_t head, int64_t row)
{
    attn_tensor head_view = attn_tensor_slice(*t, 1, head, head + 1);
    return t->rank > 2 ? attn_tensor_slice(head_view, 2, row, row + 1) : head_view;
}

static inline void special_run(special *s)
{
    memset(s->args.out.data, SAFETY_RUBBISH, safety_size(s->args.out));
    memset(s->args.lse.data, SAFETY_RUBBISH, safety_size(s->args.lse));
    safety_run(s->ctx, &s->spec, &s->args);
}

/* Runs, and takes the result as what later runs are compared with. */
static inline void special_run_clean(special *s)
{
    special_run(s);
    s->clean_out = safety_copy(s->args.out);
    s->clean_lse = safety_copy(s->args.lse);
}

static inline special special_make(attn_ctx *ctx, attn_dtype dtype, special_place place)
{
    const int64_t H = SPECIAL_H, T = SPECIAL_T, S = SPECIAL_S, D = SPECIAL_D, E = SPECIAL_E;
    special s = {.ctx = ctx, .dtype = dtype, .i = place.i, .j = place.j, .spec = ATTN_SPEC(0)};
    s.args = ATTN_ARGS(.q = safety_filled(dtype, 1, SAFETY_DIMS(1, H, T, D)),
                       .k = safety_filled(dtype, 2, SAFETY_DIMS(1, H, S, D)),
                       .v = safety_filled(dtype, 3, SAFETY_DIMS(1, H, S, E)),
                       .out = safety_make(dtype, SAFETY_DIMS(1, H, T, E)),
                       .lse = safety_make(dtype, SAFETY_DIMS(1, H, T)));
    return s;
}

typedef void (*special_check)(special *s);

static inline void special_each(void **state)
{
    static const attn_dtype dtypes[] = {ATTN_DTYPE_F32, ATTN_DTYPE_F64};
    special_check check = *(special_check *)*state;
    const int n = sizeof special_places / sizeof special_places[0];
    const int step = n / (int)test_env_share(n);
    for (int isa = 0; safety_isa(isa) != NULL; isa++)
        for (int p = isa % step; p < n; p += step)
            for (int d = 0; d < 2; d++) {
                special s = special_make(safety_isa(isa), dtypes[d], special_places[p]);
                check(&s);
                test_arena_reset(&safety_arena);
            }
}

/* ---- what rows may look like ------------------------------------------------------------ */

static inline int64_t special_row(int64_t h, int64_t i)
{
    return h * SPECIAL_T + i;
}

static inline double special_out(const special *s, int64_t h, int64_t i, int64_t e)
{
    return safety_at(s->args.out, special_row(h, i) * SPECIAL_E + e);
}

static inline double special_lse(const special *s, int64_t h, int64_t i)
{
    return safety_at(s->args.lse, special_row(h, i));
}

static inline void special_row_is_zero(const special *s, int64_t h, int64_t i, double lse)
{
    for (int64_t e = 0; e < SPECIAL_E; e++)
        assert_true(safety_plus_zero(special_out(s, h, i, e)));
    safety_near(special_lse(s, h, i), lse, 1e-6, "lse of a row without a key");
}

/* NaN comes in one form only: positive, quiet, no payload. */
static inline bool special_is_nan(const special *s, int64_t h, int64_t i, int64_t e)
{
    int64_t at = special_row(h, i) * SPECIAL_E + e;
    uint32_t f32 = 0;
    uint64_t f64 = 0;
    if (s->dtype == ATTN_DTYPE_F32) memcpy(&f32, (float *)s->args.out.data + at, sizeof f32);
    if (s->dtype == ATTN_DTYPE_F64) memcpy(&f64, (double *)s->args.out.data + at, sizeof f64);
    return f32 == 0x7FC00000u || f64 == 0x7FF8000000000000u;
}

static inline void special_row_is_nan(const special *s, int64_t h, int64_t i)
{
    for (int64_t e = 0; e < SPECIAL_E; e++) assert_true(special_is_nan(s, h, i, e));
    assert_true(isnan(special_lse(s, h, i)));
}

static inline bool special_row_is_clean(const special *s, int64_t h, int64_t i)
{
    return test_same_bits(special_view(&s->args.out, h, i),
                          special_view(&s->clean_out, h, i)) &&
           test_same_bits(special_view(&s->args.lse, h, i), special_view(&s->clean_lse, h, i));
}

/* Every row but those of query i (and head h, if not negative) has its clean bits. */
static inline void special_others_are_clean(const special *s, int64_t h, int64_t i)
{
    for (int64_t g = 0; g < SPECIAL_H; g++)
        for (int64_t t = 0; t < SPECIAL_T; t++) {
            bool disturbed = t == i && (h < 0 || g == h);
            if (!disturbed && !special_row_is_clean(s, g, t))
                fail_msg("row %d of head %d changed", (int)t, (int)g);
        }
}

static inline void special_all_clean(const special *s)
{
    safety_same(s->args.out, s->clean_out, "out");
    safety_same(s->args.lse, s->clean_lse, "lse");
}

#endif
