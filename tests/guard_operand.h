/* SPDX-License-Identifier: MIT
 * Guard pages for everything that is optional: outputs, biases, masks, lengths, segments,
 * relative tables, rotations. A row of the table is one operand with its shape in letters, its
 * possible types, and what its elements may hold. It runs alone and together with others, on
 * every instruction set, at sizes around the edges.
 *
 * A program says what running a call means (operand_go), what is added to each call
 * (operand_more), how sparse the sizes are (OPERAND_STEP), and whether lse is one of the
 * operands (OPERAND_LSE). */
#ifndef ATTN_TESTS_GUARD_OPERAND_H
#define ATTN_TESTS_GUARD_OPERAND_H

#include "guard_case.h"

static void operand_go(guard_case *c);
static void operand_more(guard_case *c, int turn);

/* Letters: B H T S D E; G the table of a grid; N the extent of a relative table (2R+1), U of
 * one with buckets; P positions of a rotation, R its pairs; Q and K the blocks of a block mask;
 * C is B + 1; 1 is one. */
typedef struct operand {
    const char *name;
    size_t at;
    const char *shape;
    attn_dtype dtypes[3];
    char holds; /* r any float, o output, b 0 or 1, n small integers, t tile kinds, 0 zeros,
                   q or k lengths, Q or K cumulative lengths, p positions */
    void (*enable)(attn_spec *spec);
} operand;

enum {
    N_REL = 9,
    POSITIONS = 40,
    PAIRS = 1,
    BLOCK_Q = 5,
    BLOCK_K = 7,
    GRID_H = 20,
    GRID_W = 26,
    BUCKETS = 8
};

static inline void operand_rel_bucket(attn_spec *spec)
{
    spec->rel.kind = ATTN_REL_BUCKET;
}
static inline void operand_rel_offset(attn_spec *spec)
{
    spec->rel.kind = ATTN_REL_OFFSET;
}
static inline void operand_rel_grid(attn_spec *spec)
{
    spec->rel = (attn_rel_spec){.kind = ATTN_REL_GRID, .height = GRID_H, .width = GRID_W};
}
static inline void operand_softmax1(attn_spec *spec)
{
    spec->softmax1 = true;
}
static inline void operand_causal(attn_spec *spec)
{
    spec->causal = true;
}
static inline void operand_offset(attn_spec *spec)
{
    spec->align = ATTN_ALIGN_OFFSET;
    spec->causal = true;
}

static inline void operand_block(attn_spec *spec)
{
    spec->block_q = BLOCK_Q;
    spec->block_k = BLOCK_K;
}

static inline void operand_rope(attn_spec *spec)
{
    spec->rope = (attn_rope_spec){.kind = ATTN_ROPE_HALF, .dims = 2 * PAIRS};
}

static inline void operand_center(attn_spec *spec)
{
    spec->center_sigma = 3;
}

static inline void operand_local(attn_spec *spec)
{
    spec->center_width = 9;
    spec->score = ATTN_SCORE_L2;
}

static inline void operand_additive(attn_spec *spec)
{
    spec->score = ATTN_SCORE_ADDITIVE;
}

static inline void operand_stage(attn_spec *spec)
{
    spec->scores_stage = ATTN_SCORES_MASKED;
}

#define AT(field) offsetof(attn_args, field)
#define FLOATS                                                                                 \
    {                                                                                          \
        ATTN_DTYPE_F32, ATTN_DTYPE_F16, ATTN_DTYPE_F64                                         \
    }
#define HALVES                                                                                 \
    {                                                                                          \
        ATTN_DTYPE_BF16, ATTN_DTYPE_F32, ATTN_DTYPE_F16                                        \
    }
#define WORDS                                                                                  \
    {                                                                                          \
        ATTN_DTYPE_I64, ATTN_DTYPE_I32, ATTN_DTYPE_I64                                         \
    }
#define SMALL                                                                                  \
    {                                                                                          \
        ATTN_DTYPE_I8, ATTN_DTYPE_U16, ATTN_DTYPE_I32                                          \
    }
#define BYTES                                                                                  \
    {                                                                                          \
        ATTN_DTYPE_BOOL, ATTN_DTYPE_U8, ATTN_DTYPE_BOOL                                        \
    }
#define BLOCKS                                                                                 \
    {                                                                                          \
        ATTN_DTYPE_U8, ATTN_DTYPE_U8, ATTN_DTYPE_U8                                            \
    }

/* clang-format off */
static const operand operands[] = {
    {"lse",          AT(lse),        "BHT",  FLOATS, 'o', NULL},
    {"weights",      AT(weights),    "BHTS", FLOATS, 'o', NULL},
    {"scores",       AT(scores),     "BHTS", HALVES, 'o', NULL},
    {"masked scores",AT(scores),     "BHTS", FLOATS, 'o', operand_stage},
    {"bias",         AT(bias),       "BHTS", FLOATS, 'r', NULL},
    {"bias row",     AT(bias),       "1S",   HALVES, 'r', NULL},
    {"bias column",  AT(bias),       "HT1",  FLOATS, 'r', NULL},
    {"bias_pre",     AT(bias_pre),   "TS",   HALVES, 'r', NULL},
    {"mask",         AT(mask),       "BHTS", BYTES,  'b', NULL},
    {"mask row",     AT(mask),       "S",    BYTES,  'b', NULL},
    {"mask column",  AT(mask),       "B1T1", BYTES,  'b', NULL},
    {"tree",         AT(tree),       "BTT",  BYTES,  'b', NULL},
    {"one tree",     AT(tree),       "TT",   BYTES,  'b', NULL},
    {"float mask",   AT(mask),       "B1TS", HALVES, 'r', NULL},
    {"block mask",   AT(block_mask), "HQK",  BLOCKS, 't', operand_block},
    {"alibi",        AT(alibi),      "H",    FLOATS, 'r', NULL},
    {"alibi batch",  AT(alibi),      "BH",   HALVES, 'r', NULL},
    {"sink",         AT(sink),       "BH",   FLOATS, 'r', operand_softmax1},
    {"q_len",        AT(q_len),      "B",    WORDS,  'q', NULL},
    {"k_len",        AT(k_len),      "B",    WORDS,  'k', NULL},
    {"q_start",      AT(q_start),    "B",    WORDS,  'q', NULL},
    {"k_start",      AT(k_start),    "B",    WORDS,  'k', NULL},
    {"cu_q",         AT(cu_q),       "C",    WORDS,  'Q', NULL},
    {"cu_k",         AT(cu_k),       "C",    WORDS,  'K', NULL},
    {"offset",       AT(offset),     "B",    WORDS,  'n', operand_offset},
    {"prefix",       AT(prefix),     "B",    WORDS,  'n', operand_causal},
    {"rel bucket",   AT(rel_table),  "HU",   FLOATS, 'r', operand_rel_bucket},
    {"rel offset",   AT(rel_table),  "HN",   HALVES, 'r', operand_rel_offset},
    {"rel grid",     AT(rel_table),  "HG",   FLOATS, 'r', operand_rel_grid},
    {"rel_k",        AT(rel_k),      "HND",  FLOATS, 'r', NULL},
    {"rel_v",        AT(rel_v),      "HNE",  HALVES, 'r', NULL},
    {"center",       AT(center),     "BHT",  FLOATS, 'r', operand_center},
};

/* Operands that only come together. */
static const operand segments[] = {
    {"q_seg", AT(q_seg), "BT", SMALL, 'n', NULL},
    {"k_seg", AT(k_seg), "BS", SMALL, 'n', NULL},
};
static const operand rotations[] = {
    {"q_pos", AT(q_pos), "BT", WORDS, 'p', operand_rope},
    {"k_pos", AT(k_pos), "BS", WORDS, 'p', operand_rope},
    {"rope_cos", AT(rope_cos), "PR", FLOATS, 'r', operand_rope},
    {"rope_sin", AT(rope_sin), "PR", FLOATS, 'r', operand_rope},
};
static const operand locals[] = {
    {"center", AT(center), "H1", HALVES, 'r', operand_local},
    {"bias",   AT(bias),   "S",  FLOATS, 'r', NULL},
};
static const operand features[] = {
    {"score_w", AT(score_w), "HD",  FLOATS, 'r', operand_additive},
    {"center",  AT(center),  "BHT", HALVES, 'r', operand_center},
};
static const operand packs[] = {
    {"cu_q", AT(cu_q), "C", WORDS, 'Q', NULL},
    {"cu_k", AT(cu_k), "C", WORDS, 'K', NULL},
    {"bias", AT(bias), "BHTS", FLOATS, 'r', NULL},
    {"lse",  AT(lse),  "1HT", FLOATS, 'o', NULL},
    {"weights", AT(weights), "BHTS", FLOATS, 'o', NULL},
};
/* clang-format on */

/* ---- building ------------------------------------------------------------------------ */

static inline int64_t operand_extent(const guard_case *c, char letter)
{
    const int64_t sizes[] = {['1'] = 1,
                             ['B'] = c->B,
                             ['C'] = c->B + 1,
                             ['D'] = c->D,
                             ['E'] = c->E,
                             ['G'] = (2 * GRID_H - 1) * (2 * GRID_W - 1),
                             ['H'] = c->H,
                             ['K'] = (c->S + BLOCK_K - 1) / BLOCK_K,
                             ['N'] = N_REL,
                             ['P'] = POSITIONS,
                             ['Q'] = (c->T + BLOCK_Q - 1) / BLOCK_Q,
                             ['R'] = PAIRS,
                             ['S'] = c->S,
                             ['T'] = c->T,
                             ['U'] = BUCKETS};
    return sizes[(unsigned char)letter];
}

/* Lengths use all of the buffer or a little less; cumulative ones end at its end. */
static inline double operand_value(const guard_case *c, char holds, int64_t i, int64_t n)
{
    int64_t rows = holds == 'q' || holds == 'Q' ? c->T : c->S;
    if (holds == 'q' || holds == 'k') return (double)(i % 2 == 0 ? rows : rows / 2);
    if (holds == 'Q' || holds == 'K') return (double)(i == n - 1 ? rows : rows * i / n);
    if (holds == 'b') return (i % 3) != 0;
    if (holds == 'p') return (double)(i * 7 % POSITIONS);
    return (double)(i % 3); /* n and t */
}

static inline void operand_add(guard_case *c, const operand *o, int turn)
{
    attn_tensor *field = (attn_tensor *)(void *)((char *)&c->args + o->at);
    int rank = (int)strlen(o->shape);
    int64_t shape[ATTN_MAX_RANK];
    for (int d = 0; d < rank; d++) shape[d] = operand_extent(c, o->shape[d]);
    attn_dtype dtype = o->dtypes[turn % 3];
    if (o->enable != NULL) o->enable(&c->spec);
    if (o->holds == 'o') guard_out(c, field, dtype, rank, shape);
    if (o->holds == 'o') return;
    guard_in(c, field, dtype, rank, shape);
    if (o->holds == 'r') return;
    for (int64_t i = 0, n = safety_count(*field); i < n; i++)
        safety_put(*field, i, operand_value(c, o->holds, i, n));
}

static inline bool operand_is(const operand *o, size_t at)
{
    return o->at == at;
}

typedef struct operand_set {
    const operand *list[8];
    int n, turn;
    bool packed_q, packed_k;
} operand_set;

static inline void operand_extra(guard_case *c, const void *arg)
{
    const operand_set *set = arg;
    for (int i = 0; i < set->n; i++)
        if (OPERAND_LSE || !operand_is(set->list[i], AT(lse)))
            operand_add(c, set->list[i], set->turn + i);
    operand_more(c, set->turn);
}

static inline void operand_set_add(operand_set *set, const operand *o)
{
    set->list[set->n++] = o;
    set->packed_q = set->packed_q || operand_is(o, AT(cu_q));
    set->packed_k = set->packed_k || operand_is(o, AT(cu_k));
}

static inline void operand_run(operand_set *set, int isa, int64_t T, int64_t S, int turn)
{
    static const attn_dtype types[] = {ATTN_DTYPE_F32, ATTN_DTYPE_F64, ATTN_DTYPE_F16,
                                       ATTN_DTYPE_F32};
    guard_case c = {
        .ctx = safety_isa(isa), .B = 2, .H = 2, .G = 1, .T = T, .S = S, .D = 4, .E = 3};
    c.q = c.kv = types[turn % 4];
    c.out = types[turn / 4 % 4];
    c.layout = (guard_layout)(turn % GUARD_N_LAYOUTS);
    c.about = set->list[0]->name;
    c.extra = operand_extra;
    c.arg = set;
    c.spec = ATTN_SPEC(.align = ATTN_ALIGN_TOP_LEFT);
    set->turn = turn;
    c.packed_q = set->packed_q;
    c.packed_k = set->packed_k;
    operand_go(&c);
}

/* ---- cases --------------------------------------------------------------------------- */

static const int64_t operand_edges[] = {1,  2,  8,  15,  16,  17,  33,  47,
                                        48, 49, 65, 130, 255, 256, 257, 513};
enum { EDGES = sizeof operand_edges / sizeof operand_edges[0] };

static inline void operand_sizes(operand_set *set, int seed)
{
    int64_t step = test_env_long() ? 1 : OPERAND_STEP * test_env_int("ATTN_SHARE", 1);
    for (int isa = 0; safety_isa(isa) != NULL; isa++)
        for (int64_t n = seed % step; n < EDGES * EDGES; n += step) {
            int64_t T = operand_edges[n % EDGES], S = operand_edges[n / EDGES];
            if (T * S <= (test_env_long() ? 70000 : 9000))
                operand_run(set, isa, T, S, (int)n + seed + isa);
        }
}

static inline void operand_alone(void **state)
{
    const operand *o = *state;
    operand_set set = {.n = 0};
    guard_catch_faults();
    operand_set_add(&set, o);
    operand_sizes(&set, (int)(o - operands));
}

static inline void operand_group(const operand *list, int n)
{
    operand_set set = {.n = 0};
    guard_catch_faults();
    for (int i = 0; i < n; i++) operand_set_add(&set, &list[i]);
    operand_sizes(&set, n);
}

static inline void operand_segments(void **state)
{
    (void)state;
    operand_group(segments, 2);
}

static inline void operand_rotations(void **state)
{
    (void)state;
    operand_group(rotations, 4);
}

static inline void operand_locals(void **state)
{
    (void)state;
    operand_group(locals, 2);
}

static inline void operand_features(void **state)
{
    (void)state;
    operand_group(features, 2);
}

static inline void operand_packed(void **state)
{
    (void)state;
    operand_group(packs, 5);
}

/* Several at once, no field twice. */
static inline void operand_mixed(void **state)
{
    enum { N = sizeof operands / sizeof operands[0] };
    test_rng rng = test_rng_make((uint64_t)test_env_int("ATTN_SEED", 1));
    int64_t rounds = test_env_int("ATTN_CASES", test_env_long() ? 50000 : 6000 / OPERAND_STEP);
    (void)state;
    guard_catch_faults();
    for (int64_t n = 0; n < rounds; n++) {
        operand_set set = {.n = 0};
        uint32_t fields = 0;
        for (int i = 0; i < 4; i++) {
            const operand *o = &operands[test_rng_range(&rng, 0, N - 1)];
            uint32_t bit = UINT32_C(1) << (o->at / sizeof(attn_tensor) % 32);
            bool lengths = strchr("qkQK", o->holds) != NULL; /* each needs all of its buffer */
            if ((fields & bit) == 0 && !lengths) operand_set_add(&set, o);
            if (!lengths) fields |= bit;
        }
        if (set.n == 0) continue;
        operand_run(&set, (int)test_rng_range(&rng, 0, safety_contexts.n_usable - 1),
                    test_rng_pick(&rng, operand_edges, 12),
                    test_rng_pick(&rng, operand_edges, 14), (int)n);
    }
}

/* The tests of a program. */
enum { OPERAND_N = sizeof operands / sizeof operands[0], OPERAND_TESTS = OPERAND_N + 6 };

static inline void operand_tests(struct CMUnitTest *tests)
{
    static const struct CMUnitTest groups[] = {
        SAFETY_CASE(operand_segments), SAFETY_CASE(operand_rotations),
        SAFETY_CASE(operand_locals),   SAFETY_CASE(operand_features),
        SAFETY_CASE(operand_packed),   SAFETY_CASE(operand_mixed),
    };
    for (size_t i = 0; i < OPERAND_N; i++)
        tests[i] = (struct CMUnitTest)SAFETY_ROW(operands[i].name, operand_alone,
                                                 (void *)(uintptr_t)&operands[i]);
    memcpy(tests + OPERAND_N, groups, sizeof groups);
}

#endif
