/* SPDX-License-Identifier: MIT
 * Keys and values in pages of a pool, and trees over the last keys: the same bits as a
 * contiguous tensor and as an explicit mask, with every other option, on every instruction set
 * and for any threads.
 *
 *   ATTN_CASES=n  cases of each test (2000)   ATTN_SEED=s   ATTN_LONG=1  twenty times as many
 */
#include "over_case.h"

#include <string.h>

/* ---- a table of pages is a tensor in pieces ---------------------------------------------- */

static attn_args pages_args(const test_case *c, const over_pools *o)
{
    attn_args args = c->args;
    args.k = o->k;
    args.v = o->v;
    args.k_len = o->len;
    args.page_table = o->table;
    return args;
}

static void pages_one(test_case *c, test_rng *rng)
{
    if (!over_serves(c)) return;
    const over_pools o = over_pools_make(c, rng);
    const attn_args args = pages_args(c, &o);
    over_same(c, rng, &c->spec, &args, "pages");
}

static void pages_are_a_tensor(void **state)
{
    (void)state;
    over_for_cases(OVER_OPTIONS, 6000000011, pages_one);
}

/* ---- a tree is a mask -------------------------------------------------------------------- */

/* Operand row of query i and column of key j of a sequence. */
static int64_t tree_row(const test_case *c, int64_t b, int64_t i)
{
    return c->q_packed ? i : c->span[b].q_row + i;
}

static int64_t tree_col(const test_case *c, int64_t b, int64_t j)
{
    return c->k_packed ? j : c->span[b].k_row + j;
}

static bool tree_says(const attn_tensor *tree, const test_case *c, int64_t b, int64_t i,
                      int64_t x)
{
    const int64_t at = tree->shape[0] == 1 ? 0 : b;
    return test_get(tree, (int64_t[]){at, tree_row(c, b, i), tree_row(c, b, x)}) != 0;
}

/* What the tree forbids, as a mask N 1 T S. */
static attn_tensor tree_mask(test_case *c, const attn_tensor *tree, int64_t most_t,
                             int64_t most_s)
{
    attn_tensor mask = TEST_TENSOR(&c->arena, BOOL, c->n_seq, 1, most_t, most_s);
    test_fill_value(&mask, 1);
    for (int64_t b = 0; b < c->n_seq; b++)
        for (int64_t i = 0; i < c->span[b].T; i++)
            for (int64_t x = 0; x < c->span[b].T; x++) {
                const int64_t j = c->span[b].S - c->span[b].T + x;
                if (j < 0 || tree_says(tree, c, b, i, x)) continue;
                test_put(&mask, (int64_t[]){b, 0, tree_row(c, b, i), tree_col(c, b, j)}, 0);
            }
    return mask;
}

static void tree_one(test_case *c, test_rng *rng)
{
    int64_t most_t = c->q_packed ? 0 : c->args.q.shape[2];
    int64_t most_s = c->k_packed ? 0 : c->args.k.shape[2];
    for (int64_t b = 0; b < c->n_seq; b++) {
        if (c->q_packed && c->span[b].T > most_t) most_t = c->span[b].T;
        if (c->k_packed && c->span[b].S > most_s) most_s = c->span[b].S;
    }
    const int64_t shape[] = {test_rng_chance(rng, 30) ? 1 : c->n_seq, most_t, most_t};
    attn_args args = c->args;
    args.tree = test_tensor_layout(&c->arena, rng,
                                   test_rng_chance(rng, 50) ? ATTN_DTYPE_U8 : ATTN_DTYPE_BOOL,
                                   3, shape, false);
    test_fill_range(&args.tree, rng, 0, 1);
    attn_args masked = c->args;
    masked.mask = tree_mask(c, &args.tree, most_t, most_s);
    attn_error error = {0};
    assert_int_equal(attn_forward(NULL, &c->spec, &masked, &error), ATTN_OK);
    over_same(c, rng, &c->spec, &args, "tree");
}

static void tree_is_a_mask(void **state)
{
    (void)state;
    over_for_cases((TEST_ALL_OPTIONS &
                    ~(TEST_OPTION(MASK) | TEST_OPTION(MASK_ADD) | TEST_OPTION(BLOCK_MASK) |
                      TEST_OPTION(POISON) | TEST_OPTION(RANK))),
                   6000000023, tree_one);
}

/* ---- what is refused --------------------------------------------------------------------- */

enum { N = 2, H = 4, G = 2, T = 3, D = 5, E = 6, P = 7, PAGE = 4, M = 3 };

typedef struct pages_call {
    test_arena arena;
    attn_args args;
    attn_spec spec;
} pages_call;

static void pages_good(pages_call *c)
{
    test_rng rng = test_rng_make(5);
    *c = (pages_call){.spec = ATTN_SPEC(.causal = true, .align = ATTN_ALIGN_BOTTOM_RIGHT)};
    c->args = (attn_args){.size = sizeof c->args,
                          .q = TEST_TENSOR(&c->arena, F32, N, H, T, D),
                          .k = TEST_TENSOR(&c->arena, F32, P, G, PAGE, D),
                          .v = TEST_TENSOR(&c->arena, F32, P, G, PAGE, E),
                          .out = TEST_TENSOR(&c->arena, F32, N, H, T, E),
                          .k_len = TEST_TENSOR(&c->arena, I64, N),
                          .page_table = TEST_TENSOR(&c->arena, I32, N, M)};
    test_fill_normal(&c->args.q, &rng, 1);
    test_fill_normal(&c->args.k, &rng, 1);
    test_fill_normal(&c->args.v, &rng, 1);
    test_fill_range(&c->args.page_table, &rng, 0, P - 1);
    test_fill_range(&c->args.k_len, &rng, 9, PAGE * M);
    test_fill_value(&c->args.out, -3);
}

static void bad_page(pages_call *c)
{
    test_put(&c->args.page_table, (int64_t[]){1, 2}, P);
}
static void bad_page_below(pages_call *c)
{
    test_put(&c->args.page_table, (int64_t[]){0, 0}, -1);
}
static void bad_length(pages_call *c)
{
    test_put(&c->args.k_len, (int64_t[]){1}, PAGE * M + 1);
}
static void bad_length_below(pages_call *c)
{
    test_put(&c->args.k_len, (int64_t[]){0}, -1);
}
static void bad_no_length(pages_call *c)
{
    c->args.k_len = (attn_tensor){0};
}
static void bad_start(pages_call *c)
{
    c->args.k_start = TEST_TENSOR(&c->arena, I64, N);
}
static void bad_cu(pages_call *c)
{
    c->args.k_len = (attn_tensor){0}, c->args.k_len = c->args.page_table,
    c->args.cu_k = TEST_TENSOR(&c->arena, I64, N + 1);
}
static void bad_table_dtype(pages_call *c)
{
    c->args.page_table.dtype = ATTN_DTYPE_F32;
}
static void bad_table_rank(pages_call *c)
{
    c->args.page_table.rank = 1;
}
static void bad_table_rows(pages_call *c)
{
    c->args.page_table.shape[0] = N - 1;
}
static void bad_table_data(pages_call *c)
{
    c->args.page_table.data = NULL;
}
static void bad_pools(pages_call *c)
{
    c->args.v.shape[0] = P - 1;
}
static void bad_page_size(pages_call *c)
{
    c->args.v.shape[2] = PAGE - 1;
}
static void bad_width(pages_call *c)
{
    c->args.k.shape[3] = D - 1;
}
static void bad_heads(pages_call *c)
{
    c->args.q.shape[1] = 3;
}
static void bad_far(pages_call *c)
{
    c->args.page_table.shape[1] = INT64_C(1) << 46, c->args.page_table.stride[1] = 0;
}
static void bad_no_k(pages_call *c)
{
    c->args.k = (attn_tensor){0};
}
static void bad_cache_seq(pages_call *c)
{
    c->args.cache_seq = TEST_TENSOR(&c->arena, I64, N);
}
static void bad_bias(pages_call *c)
{
    c->args.bias = TEST_TENSOR(&c->arena, F32, T, PAGE * M - 1);
}
static void bad_tree_shape(pages_call *c)
{
    c->args.tree = TEST_TENSOR(&c->arena, BOOL, T, T + 1);
}
static void bad_tree_dtype(pages_call *c)
{
    c->args.tree = TEST_TENSOR(&c->arena, F32, T, T);
}
static void bad_tree_rank(pages_call *c)
{
    c->args.tree = TEST_TENSOR(&c->arena, BOOL, 1, N, T, T);
}
static void bad_turned(pages_call *c)
{
    c->spec.keys_turned = true;
}
static void bad_alias(pages_call *c)
{
    c->args.out.data = c->args.v.data;
}

static const struct {
    const char *about;
    void (*spoil)(pages_call *c);
    attn_status status;
    const char *where;
    int64_t want, got;
} bad[] = {
    {"a page at P", bad_page, ATTN_E_PAGE, "page_table", P, P},
    {"a page below 0", bad_page_below, ATTN_E_PAGE, "page_table", P, -1},
    {"a length beyond the table", bad_length, ATTN_E_LENGTH, "k_len", PAGE *M, PAGE *M + 1},
    {"a length below 0", bad_length_below, ATTN_E_LENGTH, "k_len", PAGE *M, -1},
    {"no lengths", bad_no_length, ATTN_E_NULL, "k_len", 0, 0},
    {"starts", bad_start, ATTN_E_PARAM, "k_start", 0, 0},
    {"packed keys", bad_cu, ATTN_E_PARAM, "cu_k", 0, 0},
    {"a table of floats", bad_table_dtype, ATTN_E_DTYPE, "page_table", 0, 0},
    {"a table of one dimension", bad_table_rank, ATTN_E_RANK, "page_table", 2, 1},
    {"a table of fewer sequences", bad_table_rows, ATTN_E_SHAPE, "page_table", N, N - 1},
    {"a table without data", bad_table_data, ATTN_E_NULL, "page_table", 0, 0},
    {"pools of two sizes", bad_pools, ATTN_E_SHAPE, "v", P, P - 1},
    {"pages of two sizes", bad_page_size, ATTN_E_SHAPE, "v", PAGE, PAGE - 1},
    {"keys of another width", bad_width, ATTN_E_SHAPE, "k", D, D - 1},
    {"heads that do not divide", bad_heads, ATTN_E_HEADS, "k", 3, G},
    {"more keys than positions", bad_far, ATTN_E_OVERFLOW, "page_table", 0, 0},
    {"no pool of keys", bad_no_k, ATTN_E_NULL, "k", 0, 0},
    {"sequences of a cache", bad_cache_seq, ATTN_E_PARAM, "cache_seq", 0, 0},
    {"a bias of another length", bad_bias, ATTN_E_MASK, "bias", PAGE *M, PAGE *M - 1},
    {"a tree that is not square", bad_tree_shape, ATTN_E_MASK, "tree", T, T + 1},
    {"a tree of floats", bad_tree_dtype, ATTN_E_DTYPE, "tree", 0, 0},
    {"a tree of rank 4", bad_tree_rank, ATTN_E_RANK, "tree", 3, 4},
    {"turned keys without a rotation", bad_turned, ATTN_E_PARAM, "rope.kind", 0, 0},
    {"an output in the pool", bad_alias, ATTN_E_ALIAS, "out", 0, 0},
};

static void pages_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        pages_call c;
        attn_error error = {0};
        pages_good(&c);
        assert_int_equal(attn_forward(NULL, &c.spec, &c.args, NULL), ATTN_OK);
        test_fill_value(&c.args.out, -3);
        const attn_tensor out = c.args.out, before = test_tensor_dense(&c.arena, out, 0);
        bad[i].spoil(&c);
        if (attn_forward(NULL, &c.spec, &c.args, &error) != bad[i].status ||
            strcmp(error.where, bad[i].where) != 0 || error.want != bad[i].want ||
            error.got != bad[i].got)
            fail_msg("%s: status %d, %s: %s (%lld, %lld)", bad[i].about, error.status,
                     error.where, error.what, (long long)error.want, (long long)error.got);
        assert_true(test_same_bits(out, before));
        test_arena_reset(&c.arena);
    }
}

/* A page in the part of the table that a length leaves unused is never looked at. */
static void pages_unused(void **state)
{
    pages_call c;
    (void)state;
    pages_good(&c);
    test_put(&c.args.k_len, (int64_t[]){1}, PAGE);
    bad_page(&c);
    assert_int_equal(attn_forward(NULL, &c.spec, &c.args, NULL), ATTN_OK);
    test_arena_reset(&c.arena);
}

static void pages_gradients(void **state)
{
    pages_call c;
    attn_error error = {0};
    (void)state;
    pages_good(&c);
    c.args.lse = TEST_TENSOR(&c.arena, F32, N, H, T);
    c.args.d_out = c.args.out;
    c.args.d_q = TEST_TENSOR(&c.arena, F32, N, H, T, D);
    assert_int_equal(attn_backward(NULL, &c.spec, &c.args, &error), ATTN_E_UNSUPPORTED);
    assert_string_equal(error.where, "page_table");
    test_arena_reset(&c.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_are_a_tensor), cmocka_unit_test(tree_is_a_mask),
        cmocka_unit_test(pages_refused),      cmocka_unit_test(pages_unused),
        cmocka_unit_test(pages_gradients),
    };
    return cmocka_run_group_tests(tests, contexts_setup, contexts_finish);
}
