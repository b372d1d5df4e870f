/* SPDX-License-Identifier: MIT
 * What test programs share: random numbers, memory, tensors in odd layouts, contexts, random
 * cases over every option, and the comparison with the oracle by derived bounds.
 *
 * Everything is reproducible from one seed: a failing test prints it. */
#ifndef SUPPORT_H
#define SUPPORT_H

#include <stdio.h>

#include "attn/attention.h"
#include "oracle/oracle.h"

/* ---- random.c: numbers from a seed, the same everywhere --------------------------------- */

typedef struct test_rng {
    uint64_t state;
} test_rng;

test_rng test_rng_make(uint64_t seed);
uint64_t test_rng_next(test_rng *rng);
int64_t test_rng_range(test_rng *rng, int64_t low, int64_t high); /* both included */
bool test_rng_chance(test_rng *rng, int percent);
double test_rng_uniform(test_rng *rng); /* [0, 1) */
double test_rng_normal(test_rng *rng);  /* variance 1, bell shaped, |x| < 6, no libm */
int64_t test_rng_pick(test_rng *rng, const int64_t *values, size_t n);

/* ---- env.c ------------------------------------------------------------------------------ */

int64_t test_env_int(const char *name, int64_t fallback); /* decimal or 0x */
bool test_env_long(void);                                 /* ATTN_LONG=1 */
int64_t test_env_share(int64_t n); /* n / ATTN_SHARE, at least 1: slow machines */
double test_now(void);             /* seconds */

/* ---- memory.c: memory of one case -------------------------------------------------------- */

typedef struct test_arena {
    struct test_block *blocks;
} test_arena;

void *test_alloc(test_arena *arena,
                 size_t bytes);           /* aligned to 64, zeroed; exits without memory */
void test_arena_reset(test_arena *arena); /* frees all */

/* ---- tensor.c ---------------------------------------------------------------------------- */

/* Dense and zeroed. */
attn_tensor test_tensor(test_arena *arena, attn_dtype dtype, int rank, const int64_t *shape);
#define TEST_TENSOR(arena, TYPE, ...)                                                          \
    test_tensor((arena), ATTN_DTYPE_##TYPE,                                                    \
                (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),                     \
                (const int64_t[]){__VA_ARGS__})
/* Random strides: permuted, padded, negative, non-unit; broadcast too when that is allowed (not
 * for outputs). All bytes are 0xFF: floats between the elements are NaN. */
attn_tensor test_tensor_layout(test_arena *arena, test_rng *rng, attn_dtype dtype, int rank,
                               const int64_t *shape, bool may_broadcast);
/* A dense copy; of another dtype when dtype is not NONE. */
attn_tensor test_tensor_dense(test_arena *arena, attn_tensor t, attn_dtype dtype);
/* Visits every index in row-major order: first call with index all 0, false past the end. */
bool test_index_next(const attn_tensor *t, int64_t *index);
bool test_tensor_empty(const attn_tensor *t);
int64_t test_offset(const attn_tensor *t, const int64_t *index); /* in elements */
double test_get(const attn_tensor *t, const int64_t *index);
void test_put(const attn_tensor *t, const int64_t *index, double value);
void test_fill_normal(const attn_tensor *t, test_rng *rng, double scale);
void test_fill_value(const attn_tensor *t, double value);
void test_fill_range(const attn_tensor *t, test_rng *rng, int64_t low,
                     int64_t high); /* integers */
/* Same shape, dtype and bits in every element; differences are counted, the first one noted. */
int64_t test_count_differing(attn_tensor a, attn_tensor b, int64_t *first);
bool test_same_bits(attn_tensor a, attn_tensor b);
/* A running hash of the bits of all elements in row-major order. Start from 0. */
uint64_t test_hash_bits(attn_tensor t, uint64_t hash);

/* ---- contexts.c: one context per (instruction set, threads), made when asked for ------- */

enum { TEST_MAX_ISAS = 8, TEST_MAX_THREADS = 64 };

typedef struct test_contexts {
    attn_ctx *ctx[TEST_MAX_ISAS][TEST_MAX_THREADS + 1];
    int usable[TEST_MAX_ISAS], n_usable; /* numbers of isa.def, weakest first */
} test_contexts;

void test_contexts_init(test_contexts *contexts); /* finds the usable instruction sets */
attn_ctx *test_contexts_get(test_contexts *contexts, int isa, int threads);
void test_contexts_free(test_contexts *contexts);

/* ---- case.c: a random call --------------------------------------------------------------- */

typedef enum test_option_index {
#define OPTION(name, percent) TEST_INDEX_##name,
#include "support/options.def"
#undef OPTION
    TEST_N_OPTIONS
} test_option_index;

#define TEST_OPTION(name) ((uint64_t)1 << TEST_INDEX_##name)
#define TEST_ALL_OPTIONS  (((uint64_t)1 << TEST_N_OPTIONS) - 1)
/* Those of options.def from L2 on, drawn from streams of their own. */
#define TEST_LATER_OPTIONS (TEST_ALL_OPTIONS & ~(TEST_OPTION(L2) - 1))

typedef struct test_profile {
    uint64_t allow; /* options that may be drawn; 0: all */
    uint64_t force; /* options that must be tried */
    int64_t pairs;  /* upper limit of N H T S; 0: drawn, mostly tiny */
} test_profile;

/* User data of the test callbacks: a score modification of known Lipschitz constant 1 that also
 * masks, and a classifier that agrees with it. Bases are added to the b and i of the tile. */
typedef struct test_user {
    int64_t b_base, i_base, j_base;
    int64_t period;
} test_user;

enum { TEST_MAX_SEQ = 6 };

/* Where sequence n lies in the tensors, and where its query 0 stands. */
typedef struct test_span {
    int64_t q_batch, q_row, T, k_batch, k_row, S, offset, prefix;
} test_span;

typedef struct test_case {
    uint64_t seed, options; /* options: those really on */
    attn_spec spec;
    attn_args args;
    test_user user;
    int64_t n_seq;
    bool q_packed, k_packed;
    test_span span[TEST_MAX_SEQ];
    int isa_choice, threads; /* isa_choice: any non-negative number, taken modulo the usable */
    test_arena arena;
} test_case;

/* Draws everything, inputs filled. Outputs hold 0xFF bytes. The case must not be moved. */
void test_case_draw(test_case *c, uint64_t seed, const test_profile *profile);
void test_case_free(test_case *c);
void test_case_print(FILE *file, const test_case *c);
/* Puts NaN into the keys and values the oracle says nobody sees (option POISON). */
void test_case_poison(test_case *c, const oracle_result *r);
/* Runs it in the context it asks for. */
attn_status test_case_run(test_case *c, test_contexts *contexts, attn_error *error);

/* ---- views.c: parts of a case ------------------------------------------------------------ */

/* Queries [begin, end) of sequence n alone: views of the inputs, dense outputs of its own from
 * the arena, no lengths, no packing, ATTN_ALIGN_OFFSET. False when views cannot say it: a block
 * mask cut inside a block, dropout (which counts b and i from the start). */
bool test_case_part(const test_case *c, int64_t n, int64_t begin, int64_t end,
                    test_arena *arena, attn_spec *spec, attn_args *args, test_user *user);
/* Whether out, lse, weights and scores of the whole, run before, have the same bits as those of
 * such a part. *what names the first output that differs. */
bool test_case_part_same(const test_case *c, int64_t n, int64_t begin, int64_t end,
                         const attn_args *part, const char **what);

/* The same for the backward call of sequence n: what came in and what forward left are views,
 * the gradients that belong to this sequence alone are asked for. */
bool test_case_part_grad(const test_case *c, int64_t n, test_arena *arena, attn_spec *spec,
                         attn_args *args, test_user *user);
bool test_case_part_grad_same(const test_case *c, int64_t n, const attn_args *part,
                              const char **what);

/* ---- outputs.c: the same call otherwise ------------------------------------------------- */

/* args with outputs of their own, dense, everything else shared. */
attn_args test_outputs_fresh(test_arena *arena, const attn_args *args);
/* Whether all outputs have the same bits; *what names the first that differs. */
bool test_outputs_same(const attn_args *a, const attn_args *b, const char **what);
/* The same for one kind of tensors.def. */
attn_args test_fresh(test_arena *arena, const attn_args *args, char kind);
bool test_same(const attn_args *a, const attn_args *b, char kind, const char **what);
/* Dense copies of all tensors; those that hold floats of half precision as f32 when widen. */
attn_args test_args_dense(test_arena *arena, const attn_args *args, bool widen);

/* ---- compare.c: against the oracle ------------------------------------------------------- */

typedef struct test_report {
    char text[400]; /* the first violation, one line; "" when none */
    int64_t violations;
    double worst;              /* largest error over bound, roundings of the output left out */
    int64_t half[2], right[2]; /* bf16, f16 elements seen, correctly rounded */
} test_report;

/* Adds the outputs of the call to the report. Bounds: see compare.c. */
void test_compare(test_report *report, const attn_args *args, const oracle_result *r);
/* Norm of the difference over the norm of the truth, over all elements of out. */
double test_norm_error(const attn_tensor *out, const oracle_result *r);

/* ---- grad_case.c: a random call with gradients ------------------------------------------ */

/* Draws a case with out and lse, then which of d_out and d_lse come and which gradients are
 * asked for, in types and layouts of their own. Those hold 0xFF bytes. */
void test_grad_draw(test_case *c, uint64_t seed, const test_profile *profile);
/* The same with tangents, and t_out, t_lse asked for. */
void test_jvp_draw(test_case *c, uint64_t seed, const test_profile *profile);
/* norm_case.c: the same with another normaliser. */
void test_norm_draw(test_case *c, uint64_t seed, const test_profile *profile);
void test_norm_grad_draw(test_case *c, uint64_t seed, const test_profile *profile);
void test_norm_jvp_draw(test_case *c, uint64_t seed, const test_profile *profile);
/* NaN into keys and values nobody sees, into queries that see nobody and what comes in for
 * them, into padding, and into tangents of the same places (option POISON). */
void test_grad_poison(test_case *c);
/* The callback of the case with its slope: the usual one, or one that is no line. */
void test_callback_slope(attn_spec *spec, bool bend);
/* args.name and args.d_name of gradient g. */
const attn_tensor *test_grad_operand(const attn_args *args, oracle_grad g);
attn_tensor *test_grad_of(attn_args *args, oracle_grad g);
const attn_tensor *test_grad_in(const attn_args *args, oracle_grad g);
const char *test_grad_name(oracle_grad g);

/* ---- compare_grad.c: against the oracle's gradients -------------------------------------- */

/* Adds all gradients asked for, or the tangents, to the report. Bounds: see compare_grad.c. */
void test_compare_grads(test_report *report, const attn_args *args, const oracle_grads *g);
void test_compare_tangents(test_report *report, const attn_args *args,
                           const oracle_tangents *t);
/* Norm of the difference over the norm of the truth; of the masses if by_mass. */
double test_grad_error(const attn_tensor *t, const oracle_sums *truth, bool by_mass);

#endif
