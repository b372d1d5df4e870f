/* SPDX-License-Identifier: MIT
 * No byte outside the described tensors is read or written: q, k, v, out and the workspace lie
 * between forbidden pages, at every size around the edges of lanes, panels and chunks, for
 * every element type and instruction set. ATTN_LONG=1 runs every combination of a sweep;
 * otherwise the combinations take turns. */
#include "guard_case.h"

static const int64_t guard_edges[] = {1,   2,   7,   8,   9,   15,  16,  17,  31,  32,
                                      33,  47,  48,  49,  50,  63,  64,  65,  96,  97,
                                      127, 128, 129, 130, 255, 256, 257, 511, 512, 513};
enum { EDGES = sizeof guard_edges / sizeof guard_edges[0], TYPES = 4, D_MAX = 259 };

static const attn_dtype guard_types[TYPES] = {ATTN_DTYPE_F32, ATTN_DTYPE_BF16, ATTN_DTYPE_F16,
                                              ATTN_DTYPE_F64};

/* Combinations of instruction set, types and layout, by number. */
static int64_t guard_n_turns(void)
{
    return (int64_t)safety_contexts.n_usable * TYPES * TYPES * GUARD_N_LAYOUTS;
}

static guard_case guard_turn(int64_t n, int64_t T, int64_t S, int64_t D, int64_t E)
{
    guard_case c = {.B = 1, .H = 2, .G = 1, .T = T, .S = S, .D = D, .E = E, .about = "plain"};
    int64_t isas = safety_contexts.n_usable;
    c.ctx = safety_isa((int)(n % isas));
    c.q = guard_types[n / isas % TYPES];
    c.kv = c.q;
    c.out = guard_types[n / isas / TYPES % TYPES];
    c.layout = (guard_layout)(n / isas / TYPES / TYPES % GUARD_N_LAYOUTS);
    c.spec = ATTN_SPEC(.scale = 1);
    return c;
}

/* How many of count runs to do, so that one in ATTN_SHARE of all of them is done. */
static int64_t guard_share(int64_t count)
{
    static int64_t due;
    int64_t share = test_env_int("ATTN_SHARE", 1);
    due += count;
    count = due / share;
    due %= share;
    return count;
}

/* All turns of one shape, or `some` of them, another set for each shape. */
static void guard_shape(int64_t some, int64_t T, int64_t S, int64_t D, int64_t E)
{
    int64_t n = guard_n_turns();
    int64_t count = guard_share(test_env_long() || some > n ? n : some);
    static int64_t turn;
    for (int64_t i = 0; i < count; i++) {
        /* 37 has no factor in common with n, so that consecutive shapes visit every turn */
        guard_case c = guard_turn(turn++ * 37 % n, T, S, D, E);
        guard_run(&c);
    }
}

static void guard_widths(void **state)
{
    (void)state;
    guard_catch_faults();
    for (int64_t d = 1; d <= D_MAX; d++) {
        guard_shape(12, 3, 5, d, d);
        guard_shape(8, 17, 9, d, D_MAX + 1 - d);
    }
}

static void guard_queries(void **state)
{
    (void)state;
    guard_catch_faults();
    for (int t = 0; t < EDGES; t++) guard_shape(40, guard_edges[t], 9, 5, 3);
}

static void guard_keys(void **state)
{
    (void)state;
    guard_catch_faults();
    for (int s = 0; s < EDGES; s++) guard_shape(40, 5, guard_edges[s], 7, 4);
}

static void guard_pairs(void **state)
{
    (void)state;
    guard_catch_faults();
    for (int t = 0; t < EDGES; t++)
        for (int s = 0; s < EDGES; s++)
            guard_shape(3, guard_edges[t], guard_edges[s], 1 + (t + s) % 9,
                        1 + (t + 2 * s) % 11);
}

static void guard_width_pairs(void **state)
{
    (void)state;
    guard_catch_faults();
    for (int d = 0; d < EDGES; d++)
        for (int e = 0; e < EDGES; e++)
            guard_shape(1, 1 + d % 5, 1 + e % 3, guard_edges[d], guard_edges[e]);
}

/* Empty dimensions: pointers at the guard page itself, where not one byte may be read. */
static void guard_empty(void **state)
{
    static const int64_t shapes[][4] = {{0, 5, 4, 3}, {5, 0, 4, 3}, {5, 4, 3, 0}, {0, 0, 1, 1}};
    (void)state;
    guard_catch_faults();
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        guard_shape(1000, shapes[i][0], shapes[i][1], shapes[i][2], shapes[i][3]);
}

/* Larger heads, batches and groups at random edges. */
static void guard_random(void **state)
{
    int64_t rounds = test_env_int("ATTN_CASES", test_env_long() ? 20000 : 400);
    test_rng rng = test_rng_make((uint64_t)test_env_int("ATTN_SEED", 1));
    (void)state;
    guard_catch_faults();
    for (int64_t n = 0; n < rounds; n++) {
        guard_case c = guard_turn(test_rng_range(&rng, 0, guard_n_turns() - 1),
                                  test_rng_pick(&rng, guard_edges, EDGES - 3),
                                  test_rng_pick(&rng, guard_edges, EDGES),
                                  test_rng_pick(&rng, guard_edges, EDGES - 12),
                                  test_rng_pick(&rng, guard_edges, EDGES - 12));
        c.B = test_rng_range(&rng, 1, 2);
        c.G = test_rng_range(&rng, 1, 2);
        c.H = c.G * test_rng_range(&rng, 1, 2);
        c.kv = guard_types[test_rng_range(&rng, 0, TYPES - 1)];
        c.spec.causal = test_rng_chance(&rng, 30);
        c.spec.align = ATTN_ALIGN_BOTTOM_RIGHT;
        guard_run(&c);
    }
}

/* Whether reading this byte is a fault. It is kept, for valgrind leaves out idle reads. */
static bool guard_forbids(const volatile char *byte)
{
    if (sigsetjmp(guard_jump, 1) != 0) return true;
    volatile char seen = *byte;
    (void)seen;
    return false;
}

/* The guard works: one byte past a tensor is a fault, one changed byte of a gap is seen. */
static void guard_has_teeth(void **state)
{
    static const guard_side sides[] = {GUARD_LEFT, GUARD_RIGHT};
    (void)state;
    guard_catch_faults();
    for (int i = 0; i < 2; i++) {
        guard_tensor g = guard_make(1, sides[i], ATTN_DTYPE_F32, SAFETY_DIMS(3, 5), GUARD_GAPS);
        assert_true(guard_forbids(sides[i] == GUARD_LEFT ? g.low - 1 : g.high));
        assert_false(guard_forbids(sides[i] == GUARD_LEFT ? g.low : g.high - 1));
        guard_paint(&g, sides[i]);
        assert_true(guard_gaps_intact(&g, sides[i]));
        g.low[5 * sizeof(float)] ^= 1; /* the first byte of a gap */
        assert_false(guard_gaps_intact(&g, sides[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SAFETY_CASE(guard_has_teeth), SAFETY_CASE(guard_widths), SAFETY_CASE(guard_queries),
        SAFETY_CASE(guard_keys),      SAFETY_CASE(guard_pairs),  SAFETY_CASE(guard_width_pairs),
        SAFETY_CASE(guard_empty),     SAFETY_CASE(guard_random),
    };
    return cmocka_run_group_tests_name("guard", tests, guard_setup, guard_finish);
}
