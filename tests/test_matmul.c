/* SPDX-License-Identifier: MIT
 * attn_matmul: every number is the chain that docs/numerics.md describes, and within a bound of
 * the product in wider arithmetic; whatever the layout, types, broadcasting, neighbours,
 * threads and instruction set. A build with a BLAS keeps the bounds and says that it skips the
 * bits.
 *
 *   ATTN_CASES=n  random products (1500)   ATTN_SEED=s  the first of them
 *   ATTN_SHARE=n  a part of all */
#include "safety.h"

#include <float.h>

#include "attn/tape.h"

enum { BLOCK = 256, CAP = 200000 /* multiply-adds of a random product */ };

typedef struct product {
    attn_tensor a, b, c, before; /* before: a dense copy of c */
    bool add;
} product;

static bool product_wide(const product *p)
{
    return p->a.dtype == ATTN_DTYPE_F64 || p->b.dtype == ATTN_DTYPE_F64 ||
           p->c.dtype == ATTN_DTYPE_F64;
}

static void product_run(attn_ctx *ctx, const product *p)
{
    attn_error error;
    char text[256] = "";
    attn_status s = attn_matmul(ctx, &p->a, &p->b, &p->c, p->add, &error);
    if (s != ATTN_OK) attn_error_text(&error, text, sizeof text);
    if (s != ATTN_OK) fail_msg("%s: %s", attn_status_name(s), text);
}

static bool product_bits(void)
{
    if (attn_matmul_has_blas())
        print_message("skipped: the bits of this build are its BLAS's\n");
    return !attn_matmul_has_blas();
}

/* ---- one element by the book --------------------------------------------------------- */

/* An operand at the index of c, its last two places replaced; sizes of 1 repeat. */
static double product_get(const attn_tensor *t, const attn_tensor *c, const int64_t *at,
                          int64_t row, int64_t col)
{
    int64_t index[ATTN_MAX_RANK];
    for (int i = 0; i < t->rank; i++) {
        const int64_t full = at[c->rank - t->rank + i];
        index[i] = t->shape[i] == 1 ? 0 : full;
    }
    index[t->rank - 2] = row;
    index[t->rank - 1] = col;
    return test_get(t, index);
}

typedef struct truth {
    double book;                  /* by the contract, rounded to the type of c */
    long double exact, magnitude; /* of the terms */
} truth;

static truth product_truth(const product *p, const int64_t *at)
{
    const int64_t K = p->a.shape[p->a.rank - 1], row = at[p->c.rank - 2];
    const int64_t col = at[p->c.rank - 1];
    const double start = p->add ? test_get(&p->before, at) : 0;
    truth t = {start, (long double)start, fabsl((long double)start)};
    for (int64_t k0 = 0; k0 < K; k0 += BLOCK) {
        double sum = 0;
        for (int64_t k = k0; k < K && k < k0 + BLOCK; k++) {
            const double a = product_get(&p->a, &p->c, at, row, k);
            const double b = product_get(&p->b, &p->c, at, k, col);
            sum =
                product_wide(p) ? fma(a, b, sum) : (double)fmaf((float)a, (float)b, (float)sum);
            t.exact += (long double)a * (long double)b;
            t.magnitude += fabsl((long double)a * (long double)b);
        }
        t.book = product_wide(p) ? t.book + sum : (double)((float)t.book + (float)sum);
    }
    if (p->c.dtype == ATTN_DTYPE_F32) t.book = (double)(float)t.book;
    return t;
}

/* Every term goes through at most as many roundings as the block and the blocks are long (a
 * BLAS adds in any order), and the result may be rounded once more. */
static long double product_bound(const product *p, const truth *t)
{
    const int64_t K = p->a.shape[p->a.rank - 1];
    const int64_t steps = attn_matmul_has_blas() || K <= BLOCK ? K + 1 : BLOCK + K / BLOCK + 2;
    const long double u =
        product_wide(p) ? (long double)DBL_EPSILON / 2.0L : (long double)FLT_EPSILON / 2.0L;
    const bool narrow = product_wide(p) && p->c.dtype == ATTN_DTYPE_F32;
    const long double last = narrow ? (long double)FLT_EPSILON / 2.0L * fabsl(t->exact) : 0;
    return 1.001L * ((long double)steps * u * t->magnitude + last);
}

static void product_judge(const product *p, bool bits, uint64_t seed)
{
    int64_t at[ATTN_MAX_RANK] = {0};
    if (test_tensor_empty(&p->c)) return;
    do {
        const truth t = product_truth(p, at);
        const double got = test_get(&p->c, at);
        const bool same = got == t.book && signbit(got) == signbit(t.book);
        if (bits && !same) fail_msg("%a instead of %a, ATTN_SEED=%d", got, t.book, (int)seed);
        if (fabsl((long double)got - t.exact) > product_bound(p, &t))
            fail_msg("%a is far from %La, ATTN_SEED=%d", got, t.exact, (int)seed);
    } while (test_index_next(&p->c, at));
}

/* ---- random products ----------------------------------------------------------------- */

static int64_t product_size(test_rng *rng, bool deep)
{
    static const int64_t edges[] = {7, 8, 9, 16, 17, 47, 48, 49, 63, 64, 65, 97, 131};
    static const int64_t depths[] = {255, 256, 257, 511, 512, 513, 700};
    if (test_rng_chance(rng, 3)) return 0;
    if (deep && test_rng_chance(rng, 25)) return test_rng_pick(rng, depths, 7);
    if (test_rng_chance(rng, 35)) return test_rng_pick(rng, edges, 13);
    return test_rng_range(rng, 1, test_rng_chance(rng, 50) ? 3 : 24);
}

static attn_dtype product_type(test_rng *rng, bool result)
{
    static const int64_t types[] = {ATTN_DTYPE_F32, ATTN_DTYPE_F64, ATTN_DTYPE_BF16,
                                    ATTN_DTYPE_F16};
    if (test_rng_chance(rng, 50)) return ATTN_DTYPE_F32;
    return (attn_dtype)test_rng_pick(rng, types, result ? 2 : 4);
}

/* Leading dimensions of c, or of an operand: some missing, some 1. */
static attn_tensor product_operand(test_rng *rng, int lead, const int64_t *dims, int64_t rows,
                                   int64_t cols, bool result)
{
    int64_t shape[ATTN_MAX_RANK];
    const int skip = result ? 0 : (int)test_rng_range(rng, 0, lead);
    int rank = 0;
    for (int i = skip; i < lead; i++)
        shape[rank++] = !result && test_rng_chance(rng, 30) ? 1 : dims[i];
    shape[rank++] = rows;
    shape[rank++] = cols;
    attn_tensor t =
        test_tensor_layout(&safety_arena, rng, product_type(rng, result), rank, shape, !result);
    return t;
}

static product product_draw(test_rng *rng)
{
    const int lead = (int)test_rng_range(rng, 0, 3);
    int64_t dims[3], M, N, K, work;
    do {
        M = product_size(rng, false), N = product_size(rng, false), K = product_size(rng, true);
        work = M * N * (K + 1);
        for (int i = 0; i < lead; i++) {
            dims[i] = test_rng_range(rng, test_rng_chance(rng, 5) ? 0 : 1, 4);
            work *= dims[i];
        }
    } while (work > CAP);
    product p = {.a = product_operand(rng, lead, dims, M, K, false),
                 .b = product_operand(rng, lead, dims, K, N, false),
                 .c = product_operand(rng, lead, dims, M, N, true),
                 .add = test_rng_chance(rng, 40)};
    test_fill_normal(&p.a, rng, 1);
    test_fill_normal(&p.b, rng, 1);
    if (p.add) test_fill_normal(&p.c, rng, 1); /* else it stays NaN: it is only written */
    p.before = safety_copy(p.c);
    return p;
}

static void random_products(void **state)
{
    const uint64_t first = (uint64_t)test_env_int("ATTN_SEED", 1);
    const int64_t n = test_env_int("ATTN_CASES", test_env_share(1500));
    const bool bits = product_bits();
    (void)state;
    for (uint64_t seed = first; seed < first + (uint64_t)n; seed++) {
        test_rng rng = test_rng_make(seed);
        const product p = product_draw(&rng);
        const int isa = safety_contexts.usable[seed % (uint64_t)safety_contexts.n_usable];
        product_run(test_contexts_get(&safety_contexts, isa, 1 + (int)(seed % 3)), &p);
        product_judge(&p, bits, seed);
        test_arena_reset(&safety_arena);
    }
}

/* Large enough for a BLAS, where there is one: dense, turned or not, alone or added. */
static void blas_products(void **state)
{
    const bool bits = product_bits();
    (void)state;
    for (uint64_t seed = 1; seed <= 16; seed++) {
        static const int order[] = {0, 2, 1};
        test_rng rng = test_rng_make(seed);
        const attn_dtype dtype = seed % 4 == 0 ? ATTN_DTYPE_F64 : ATTN_DTYPE_F32;
        const int64_t M = test_rng_range(&rng, 64, 80), N = test_rng_range(&rng, 64, 70);
        const int64_t K = test_rng_range(&rng, 64, 66);
        product p = {.add = seed & 1};
        attn_tensor *all[] = {&p.a, &p.b, &p.c};
        const int64_t rows[] = {M, K, M}, cols[] = {K, N, N};
        for (int i = 0; i < 3; i++) {
            const bool turn = test_rng_chance(&rng, 50);
            const int64_t shape[] = {1, turn ? cols[i] : rows[i], turn ? rows[i] : cols[i]};
            *all[i] = test_tensor(&safety_arena, dtype, 3, shape);
            test_fill_normal(all[i], &rng, 1);
            if (turn) *all[i] = attn_tensor_permute(*all[i], order);
        }
        p.before = safety_copy(p.c);
        product_run(safety_threads(2), &p);
        product_judge(&p, bits, seed);
        test_arena_reset(&safety_arena);
    }
}

/* ---- the same bits, otherwise -------------------------------------------------------- */

typedef struct shape_row {
    int64_t items, M, N, K;
    attn_dtype a, b, c;
    bool turn_a, turn_b, turn_c;
} shape_row;

#define F32  ATTN_DTYPE_F32
#define F64  ATTN_DTYPE_F64
#define BF16 ATTN_DTYPE_BF16
#define F16  ATTN_DTYPE_F16
static const shape_row shape_rows[] = {
    {1, 257, 200, 40, F32, F32, F32, false, false, false},
    {1, 140, 150, 300, F32, F32, F32, true, true, false},
    {1, 30, 1100, 37, F32, F32, F32, false, true, true},
    {1, 1500, 20, 60, F32, BF16, F32, true, false, false},
    {1, 300, 1030, 70, F32, F32, F32, false, false, false},
    {1, 1, 900, 700, F32, F32, F32, false, true, false},
    {1, 901, 1, 700, F16, F32, F32, false, false, true},
    {37, 33, 17, 50, F32, F32, F32, true, false, false},
    {3, 90, 70, 99, F64, F32, F64, false, true, true},
    {2, 300, 60, 33, F32, F64, F32, true, false, true},
    {5, 49, 97, 65, BF16, F16, F32, true, true, false},
};
enum { SHAPE_ROWS = sizeof shape_rows / sizeof shape_rows[0] };

/* A share of the rows leaves some out. */
static int64_t shape_step(void)
{
    return SHAPE_ROWS / test_env_share(SHAPE_ROWS);
}

static attn_tensor shape_tensor(attn_dtype dtype, int64_t items, int64_t rows, int64_t cols,
                                bool turn, uint64_t seed)
{
    static const int order[] = {0, 2, 1};
    const int64_t shape[] = {items, turn ? cols : rows, turn ? rows : cols};
    test_rng rng = test_rng_make(seed);
    attn_tensor t = safety_make(dtype, 3, shape);
    test_fill_normal(&t, &rng, 1);
    return turn ? attn_tensor_permute(t, order) : t;
}

static product shape_product(const shape_row *r, bool add)
{
    return (product){.a = shape_tensor(r->a, r->items, r->M, r->K, r->turn_a, 1),
                     .b = shape_tensor(r->b, r->items, r->K, r->N, r->turn_b, 2),
                     .c = shape_tensor(r->c, r->items, r->M, r->N, r->turn_c, 3),
                     .add = add};
}

static attn_tensor shape_result(attn_ctx *ctx, const shape_row *r, bool add)
{
    product p = shape_product(r, add);
    product_run(ctx, &p);
    return p.c;
}

static void threads_and_isas(void **state)
{
    static const int threads[] = {1, 2, 3, 8, 17};
    (void)state;
    if (!product_bits()) return;
    for (int64_t r = 0; r < SHAPE_ROWS; r += shape_step()) {
        const bool add = r % 2 != 0;
        const attn_tensor want = shape_result(safety_isa(0), &shape_rows[r], add);
        for (int i = 0; i < safety_contexts.n_usable; i++)
            for (int t = 0; t < 5; t++) {
                attn_ctx *ctx =
                    test_contexts_get(&safety_contexts, safety_contexts.usable[i], threads[t]);
                safety_same(shape_result(ctx, &shape_rows[r], add), want, "threads, isa");
            }
        test_arena_reset(&safety_arena);
    }
}

/* The eight layouts of three matrices: turned or not, the numbers are those. */
static void layouts(void **state)
{
    (void)state;
    if (!product_bits()) return;
    for (int64_t r = 0; r < SHAPE_ROWS; r += shape_step()) {
        const product whole = shape_product(&shape_rows[r], true);
        const attn_tensor before = safety_copy(whole.c);
        product_run(NULL, &whole);
        for (int turned = 0; turned < 8; turned++) {
            shape_row row = shape_rows[r];
            row.turn_a = turned & 1, row.turn_b = turned & 2, row.turn_c = turned & 4;
            const product p = shape_product(&row, true);
            assert_int_equal(attn_tensor_copy(p.a, whole.a, NULL), ATTN_OK);
            assert_int_equal(attn_tensor_copy(p.b, whole.b, NULL), ATTN_OK);
            assert_int_equal(attn_tensor_copy(p.c, before, NULL), ATTN_OK);
            product_run(NULL, &p);
            safety_same(p.c, whole.c, "layouts");
        }
        test_arena_reset(&safety_arena);
    }
}

/* Rows [i, i + rows), columns [j, j + cols) of item n alone are those of the whole. */
static void part(const product *whole, int64_t n, int64_t i, int64_t rows, int64_t j,
                 int64_t cols)
{
    const int64_t shape[] = {1, rows, cols};
    const attn_tensor row =
        attn_tensor_slice(attn_tensor_slice(whole->c, 0, n, n + 1), 1, i, i + rows);
    const attn_tensor a = attn_tensor_slice(whole->a, 0, n, n + 1);
    const attn_tensor b = attn_tensor_slice(whole->b, 0, n, n + 1);
    const product p = {.a = attn_tensor_slice(a, 1, i, i + rows),
                       .b = attn_tensor_slice(b, 2, j, j + cols),
                       .c = safety_make(whole->c.dtype, 3, shape)};
    product_run(NULL, &p);
    safety_same(p.c, attn_tensor_slice(row, 2, j, j + cols), "a part alone");
}

static void parts(void **state)
{
    (void)state;
    if (!product_bits()) return;
    test_rng rng = test_rng_make(5);
    for (int64_t r = 0; r < SHAPE_ROWS; r += shape_step()) {
        const shape_row *s = &shape_rows[r];
        const product whole = shape_product(s, false);
        product_run(NULL, &whole);
        for (int k = 0; k < 12; k++) {
            const int64_t n = test_rng_range(&rng, 0, s->items - 1);
            const int64_t i = test_rng_range(&rng, 0, s->M - 1);
            const int64_t j = test_rng_range(&rng, 0, s->N - 1);
            const bool row = k % 3 == 0, col = k % 3 == 1;
            part(&whole, n, i, row ? 1 : test_rng_range(&rng, 1, s->M - i), j,
                 col ? 1 : test_rng_range(&rng, 1, s->N - j));
        }
        test_arena_reset(&safety_arena);
    }
}

/* Sharing b among items, or a, is the same as a copy for each. */
static void shared(void **state)
{
    (void)state;
    if (!product_bits()) return;
    for (int64_t r = 0; r < SHAPE_ROWS; r += shape_step())
        for (int which = 0; which < 2; which++) {
            shape_row row = shape_rows[r];
            row.items = 4;
            const product copies = shape_product(&row, false);
            product p = shape_product(&row, false);
            attn_tensor *one = which ? &p.a : &p.b;
            const attn_tensor *all = which ? &copies.a : &copies.b;
            *one = attn_tensor_slice(*one, 0, 1, 2);
            for (int64_t n = 0; n < 4; n++)
                assert_int_equal(
                    attn_tensor_copy(attn_tensor_slice(*all, 0, n, n + 1), *one, NULL),
                    ATTN_OK);
            product_run(NULL, &copies);
            product_run(NULL, &p);
            safety_same(p.c, copies.c, "shared");
            test_arena_reset(&safety_arena);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SAFETY_CASE(random_products), SAFETY_CASE(blas_products), SAFETY_CASE(threads_and_isas),
        SAFETY_CASE(layouts),         SAFETY_CASE(parts),         SAFETY_CASE(shared),
    };
    return cmocka_run_group_tests_name("matmul", tests, NULL, safety_finish);
}
