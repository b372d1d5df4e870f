/* SPDX-License-Identifier: MIT
 * Keys, values and rows that must not matter. Every way to forbid a key is tried with every
 * poison in the forbidden key and value: the result has the bits it had without the poison.
 * Every way to forbid all keys of a row gives +0 and lse -inf, or the logarithm of the sink. */
#include "special.h"

static double hide_limit(const special *s)
{
    return s->dtype == ATTN_DTYPE_F64 ? DBL_MAX : (double)FLT_MAX;
}

/* ---- ways to forbid the pair (i, j), or whole rows or columns ------------------------ */

/* Forbids keys [j0, j1) for queries [i0, i1). */
typedef struct hide_box {
    int64_t i0, i1, j0, j1;
} hide_box;

static bool hide_inside(const hide_box *box, int64_t i, int64_t j)
{
    return i >= box->i0 && i < box->i1 && j >= box->j0 && j < box->j1;
}

static attn_tensor hide_plane(attn_dtype dtype, const hide_box *box, double out, double in)
{
    attn_tensor t = safety_make(dtype, SAFETY_DIMS(SPECIAL_T, SPECIAL_S));
    for (int64_t i = 0; i < SPECIAL_T; i++)
        for (int64_t j = 0; j < SPECIAL_S; j++)
            safety_put(t, i * SPECIAL_S + j, hide_inside(box, i, j) ? in : out);
    return t;
}

static void hide_bool(special *s, hide_box *box)
{
    s->args.mask = hide_plane(ATTN_DTYPE_BOOL, box, 1, 0);
}

static void hide_u8(special *s, hide_box *box)
{
    s->args.mask = hide_plane(ATTN_DTYPE_U8, box, 7, 0);
}

static void hide_float(special *s, hide_box *box)
{
    s->args.mask = hide_plane(ATTN_DTYPE_F32, box, 0, (double)-INFINITY);
}

static void hide_half(special *s, hide_box *box)
{
    s->args.mask = hide_plane(ATTN_DTYPE_F16, box, 0, (double)-INFINITY);
}

static void hide_bias(special *s, hide_box *box)
{
    s->args.bias = hide_plane(s->dtype, box, 0, (double)-INFINITY);
}

static void hide_bias_pre(special *s, hide_box *box)
{
    s->args.bias_pre = hide_plane(ATTN_DTYPE_BF16, box, 0, (double)-INFINITY);
    s->spec.softcap = 30; /* must not turn -inf into -30 */
}

static void hide_block(special *s, hide_box *box)
{
    s->spec.block_q = s->spec.block_k = 1;
    s->args.block_mask = hide_plane(ATTN_DTYPE_U8, box, ATTN_TILE_FULL, ATTN_TILE_EMPTY);
}

static void hide_tile_fn(void *user, const attn_tile *tile)
{
    for (int64_t x = 0; x < tile->n_i; x++)
        for (int64_t y = 0; y < tile->n_j; y++) {
            int64_t at = x * tile->i_stride + y * tile->j_stride;
            if (!hide_inside(user, tile->i0 + x, tile->j0 + y)) continue;
            if (tile->dtype == ATTN_DTYPE_F32) ((float *)tile->s)[at] = -INFINITY;
            if (tile->dtype == ATTN_DTYPE_F64) ((double *)tile->s)[at] = (double)-INFINITY;
        }
}

static void hide_tile(special *s, hide_box *box)
{
    s->spec.tile = hide_tile_fn;
    s->spec.user = box;
}

static attn_tile_kind hide_classify_fn(void *user, const attn_tile *tile)
{
    const hide_box *box = user;
    bool touches = tile->i0 < box->i1 && tile->i0 + tile->n_i > box->i0 && tile->j0 < box->j1 &&
                   tile->j0 + tile->n_j > box->j0;
    bool inside = tile->i0 >= box->i0 && tile->i0 + tile->n_i <= box->i1 &&
                  tile->j0 >= box->j0 && tile->j0 + tile->n_j <= box->j1;
    return inside ? ATTN_TILE_EMPTY : touches ? ATTN_TILE_PARTIAL : ATTN_TILE_FULL;
}

static void hide_classify(special *s, hide_box *box)
{
    hide_tile(s, box);
    s->spec.classify = hide_classify_fn;
}

static void hide_bool_in_partial_blocks(special *s, hide_box *box)
{
    s->spec.block_q = s->spec.block_k = 64;
    int64_t n = (SPECIAL_T + 63) / 64, m = (SPECIAL_S + 63) / 64;
    s->args.block_mask = safety_make(ATTN_DTYPE_U8, SAFETY_DIMS(n, m));
    test_fill_value(&s->args.block_mask, ATTN_TILE_PARTIAL);
    hide_bool(s, box);
}

typedef void (*hide_way)(special *s, hide_box *box);
static const hide_way hide_ways[] = {
    hide_bool,     hide_u8,    hide_float, hide_half,     hide_bias,
    hide_bias_pre, hide_block, hide_tile,  hide_classify, hide_bool_in_partial_blocks,
};
enum { WAYS = sizeof hide_ways / sizeof hide_ways[0] };

static void hide_with(special *s, int way, hide_box *box)
{
    attn_args plain = s->args;
    plain.mask = plain.bias = plain.bias_pre = plain.block_mask = (attn_tensor){0};
    s->args = plain;
    s->spec = ATTN_SPEC(0);
    hide_ways[way](s, box);
}

/* ---- poison -------------------------------------------------------------------------- */

static void hide_poison_rows(special *s, int64_t j0, int64_t j1, double value)
{
    for (int64_t h = 0; h < SPECIAL_H; h++)
        for (int64_t j = j0; j < j1; j++) {
            int64_t row = h * SPECIAL_S + j;
            for (int64_t d = 0; d < SPECIAL_D; d++)
                safety_put(s->args.k, row * SPECIAL_D + d, value);
            for (int64_t e = 0; e < SPECIAL_E; e++)
                safety_put(s->args.v, row * SPECIAL_E + e, value);
        }
}

static void hide_poison_all(special *s, int64_t j0, int64_t j1)
{
    double poisons[] = {(double)NAN, (double)INFINITY, (double)-INFINITY, hide_limit(s),
                        0x1p-149};
    special_run_clean(s);
    for (size_t p = 0; p < sizeof poisons / sizeof poisons[0]; p++) {
        hide_poison_rows(s, j0, j1, poisons[p]);
        special_run(s);
        special_all_clean(s);
    }
}

/* ---- checks -------------------------------------------------------------------------- */

static void hide_key_poisoned(special *s)
{
    hide_box box = {0, SPECIAL_T, s->j, s->j + 1};
    int way = (int)((s->i + s->j) % WAYS); /* all ways come up over the places */
    hide_with(s, way, &box);
    hide_poison_all(s, s->j, s->j + 1);
}

static void hide_tail_poisoned(special *s)
{
    if (s->j == 0) return;
    s->args.k_len = SAFETY_LIST(I64, (double)s->j);
    hide_poison_all(s, s->j, SPECIAL_S);
}

static void hide_head_poisoned(special *s)
{
    if (s->j == SPECIAL_S - 1) return;
    s->args.k_start = SAFETY_LIST(I32, (double)(s->j + 1));
    hide_poison_all(s, 0, s->j + 1);
}

static void hide_segment_poisoned(special *s)
{
    s->args.q_seg = safety_make(ATTN_DTYPE_I32, SAFETY_DIMS(1, SPECIAL_T));
    s->args.k_seg = safety_make(ATTN_DTYPE_I64, SAFETY_DIMS(1, SPECIAL_S));
    test_fill_value(&s->args.q_seg, -3);
    test_fill_value(&s->args.k_seg, -3);
    safety_put(s->args.k_seg, s->j, 5);
    hide_poison_all(s, s->j, s->j + 1);
}

/* Rows that may not see the key keep their bits; the others become NaN. */
static void hide_causal_poisoned(special *s)
{
    int64_t offset = SPECIAL_S - SPECIAL_T;
    s->spec.causal = true;
    s->spec.align = ATTN_ALIGN_BOTTOM_RIGHT;
    special_run_clean(s);
    hide_poison_rows(s, s->j, s->j + 1, (double)NAN);
    special_run(s);
    for (int64_t h = 0; h < SPECIAL_H; h++)
        for (int64_t i = 0; i < SPECIAL_T; i++) {
            if (s->j <= i + offset) special_row_is_nan(s, h, i);
            if (s->j > i + offset) assert_true(special_row_is_clean(s, h, i));
        }
}

static void hide_window_poisoned(special *s)
{
    s->spec.window = (attn_window)ATTN_WINDOW(3, 2);
    s->spec.align = ATTN_ALIGN_OFFSET;
    s->spec.offset = s->j - SPECIAL_T / 2;
    special_run_clean(s);
    hide_poison_rows(s, s->j, s->j + 1, (double)INFINITY);
    special_run(s);
    for (int64_t i = 0; i < SPECIAL_T; i++) {
        int64_t p = i + s->spec.offset;
        bool sees = s->j >= p - 3 && s->j <= p + 2;
        assert_true(special_row_is_clean(s, 0, i) == !sees);
    }
}

static void hide_row_of_nothing(special *s)
{
    for (int way = 0; way < WAYS; way++) {
        hide_box none = {0, 0, 0, 0}, box = {s->i, s->i + 1, 0, SPECIAL_S};
        hide_with(s, way, &none);
        special_run_clean(s);
        hide_with(s, way, &box);
        special_run(s);
        for (int64_t h = 0; h < SPECIAL_H; h++)
            special_row_is_zero(s, h, s->i, (double)-INFINITY);
        special_others_are_clean(s, -1, s->i);
    }
}

/* The first chunks empty, the last key alone seen: no exp(-inf - -inf) on the way. */
static void hide_leading_chunks(special *s)
{
    hide_box box = {0, SPECIAL_T, 0, s->j};
    hide_with(s, (int)(s->j % WAYS), &box);
    s->args.k_len = SAFETY_LIST(I64, (double)(s->j + 1));
    special_run(s);
    for (int64_t h = 0; h < SPECIAL_H; h++)
        for (int64_t i = 0; i < SPECIAL_T; i++)
            for (int64_t e = 0; e < SPECIAL_E; e++)
                safety_near(special_out(s, h, i, e),
                            safety_at(s->args.v, (h * SPECIAL_S + s->j) * SPECIAL_E + e), 0,
                            "the only key");
}

static void hide_with_sink(special *s)
{
    hide_box box = {s->i, s->i + 1, 0, SPECIAL_S};
    hide_with(s, (int)(s->i % WAYS), &box);
    s->args.sink = SAFETY_LIST(F32, -2, 0.5);
    special_run(s);
    special_row_is_zero(s, 0, s->i, -2);
    special_row_is_zero(s, 1, s->i, 0.5);
    s->spec.softmax1 = true;
    special_run(s);
    special_row_is_zero(s, 0, s->i, log(exp(-2) + 1));
    s->args.sink = (attn_tensor){0};
    special_run(s);
    special_row_is_zero(s, 0, s->i, 0);
}

/* Whether a way goes through the terms that are added to scores; those scale scores first. */
static bool hide_adds(const special *s)
{
    return s->args.bias.rank > 0 || s->args.bias_pre.rank > 0 || s->spec.tile != NULL ||
           s->args.mask.dtype == ATTN_DTYPE_F32 || s->args.mask.dtype == ATTN_DTYPE_F16;
}

/* -inf added is the same as forbidden: the same bits for all ways that add, for all that do
 * not, and nearly the same for the two. */
static void hide_ways_agree(special *s)
{
    hide_box box = {s->i / 2, s->i + 1, s->j / 2, s->j + 1};
    attn_tensor out[2] = {{0}};
    for (int way = 0; way < WAYS; way++) {
        hide_with(s, way, &box);
        s->spec.softcap = 0;
        special_run(s);
        attn_tensor *first = &out[hide_adds(s)];
        if (first->data == NULL) *first = safety_copy(s->args.out);
        safety_same(s->args.out, *first, "two ways to forbid");
    }
    for (int64_t n = safety_count(out[0]), x = 0; x < n; x++)
        safety_near(safety_at(out[1], x), safety_at(out[0], x), 1e-5, "added and forbidden");
}

/* clang-format off */
#define CHECKS(X) \
    X(key_poisoned) X(tail_poisoned) X(head_poisoned) X(segment_poisoned) \
    X(causal_poisoned) X(window_poisoned) X(row_of_nothing) X(leading_chunks) X(with_sink) \
    X(ways_agree)
/* clang-format on */

#define X(name) static special_check check_##name = hide_##name;
CHECKS(X)
#undef X

int main(void)
{
#define X(name) SAFETY_ROW("hide_" #name, special_each, &check_##name),
    const struct CMUnitTest tests[] = {CHECKS(X)};
#undef X
    return cmocka_run_group_tests_name("special_hide", tests, NULL, safety_finish);
}
