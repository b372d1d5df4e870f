/* SPDX-License-Identifier: MIT
 * The same question asked otherwise, of any call of the engine: a program says which call, and
 * has its bits compared on every instruction set, with any number of threads, in any layout,
 * from widened inputs, under a host's own parallel_for, and again and again. */
#ifndef ATTN_TESTS_BITS_CASE_H
#define ATTN_TESTS_BITS_CASE_H

#include <pthread.h>

#include "contexts.h"

typedef struct bits_program {
    const char *name;
    void (*draw)(test_case *c, uint64_t seed, const test_profile *profile);
    attn_status (*call)(attn_ctx *ctx, const attn_spec *spec, const attn_args *args,
                        attn_error *error);
    char kind; /* of tensors.def: its results */
    int64_t seed;
    int threads[8];     /* up to a 0 */
    int large, repeats; /* one in so many cases is large, is repeated */
} bits_program;

static const bits_program program; /* each program's own */
static int64_t bits_cases(void);

/* The best table; with one thread it is what every other way is compared with. */
static inline attn_ctx *bits_ctx(int threads)
{
    return test_contexts_get(&contexts, contexts.usable[contexts.n_usable - 1], threads);
}

static inline void bits_fail(const test_case *c, const char *what, const char *how)
{
    test_case_print(stderr, c);
    fail_msg("%s: %s (ATTN_SEED=0x%llx ATTN_CASES=1 %s)", what, how,
             (unsigned long long)c->seed, program.name);
}

static inline void bits_run(attn_ctx *ctx, const test_case *c, const attn_spec *spec,
                            const attn_args *args)
{
    attn_error error = {0};
    char text[200];
    if (program.call(ctx, spec, args, &error) == ATTN_OK) return;
    attn_error_text(&error, text, sizeof text);
    bits_fail(c, "refused", text);
}

/* The call again with results of its own. */
static inline void bits_again(attn_ctx *ctx, test_case *c, const attn_args *args,
                              const char *how)
{
    const char *what = "";
    attn_args other = test_fresh(&c->arena, args, program.kind);
    bits_run(ctx, c, &c->spec, &other);
    if (!test_same(&c->args, &other, program.kind, &what)) bits_fail(c, what, how);
}

/* One more way to run a case that has been run plainly. */
typedef void (*bits_way)(test_case *c);

static inline void bits_for_cases(const test_profile *profile, int share, bits_way way)
{
    int64_t n = bits_cases() * (test_env_long() ? 20 : 1) / share;
    uint64_t seed = (uint64_t)test_env_int("ATTN_SEED", program.seed);
    for (int64_t i = 0; i < (n > 0 ? n : 1); i++) {
        test_case c;
        program.draw(&c, seed + (uint64_t)i, profile);
        bits_run(bits_ctx(1), &c, &c.spec, &c.args);
        way(&c);
        test_case_free(&c);
    }
}

/* ---- threads and instruction sets -------------------------------------------------------- */

static inline void bits_with_threads(test_case *c)
{
    char how[40];
    for (const int *n = program.threads; *n > 0; n++) {
        snprintf(how, sizeof how, "%d threads", *n);
        bits_again(bits_ctx(*n), c, &c->args, how);
    }
}

static inline void bits_threads(void **state)
{
    test_profile small = {0}, large = {.pairs = 60000};
    (void)state;
    bits_for_cases(&small, 1, bits_with_threads);
    bits_for_cases(&large, program.large, bits_with_threads);
}

static inline void bits_with_isas(test_case *c)
{
    for (int i = 0; i < contexts.n_usable; i++)
        bits_again(test_contexts_get(&contexts, contexts.usable[i], 1), c, &c->args,
                   attn_isa_name(contexts.usable[i]));
}

static inline void bits_isas(void **state)
{
    test_profile small = {0}, large = {.pairs = 20000};
    (void)state;
    bits_for_cases(&small, 1, bits_with_isas);
    bits_for_cases(&large, 8, bits_with_isas);
}

/* ---- layouts, types, heads --------------------------------------------------------------- */

static inline void bits_with_dense(test_case *c)
{
    attn_args dense = test_args_dense(&c->arena, &c->args, false);
    bits_again(bits_ctx(1), c, &dense, "dense tensors");
}

static inline void bits_layouts(void **state)
{
    test_profile profile = {.force = TEST_OPTION(LAYOUT)};
    (void)state;
    bits_for_cases(&profile, 1, bits_with_dense);
}

static inline void bits_with_wide(test_case *c)
{
    attn_args wide = test_args_dense(&c->arena, &c->args, true);
    bits_again(bits_ctx(1), c, &wide, "inputs widened to f32");
}

static inline void bits_widened(void **state)
{
    test_profile profile = {.allow = TEST_ALL_OPTIONS & ~TEST_OPTION(F64),
                            .force = TEST_OPTION(DTYPES)};
    (void)state;
    bits_for_cases(&profile, 1, bits_with_wide);
}

static inline int64_t bits_group(const test_case *c, int64_t h, int64_t H, int64_t G)
{
    return c->spec.head_map == ATTN_HEADS_TILED ? h % G : h / (H / G);
}

/* k or v with a head for every query head. */
static inline attn_tensor bits_repeat(test_case *c, const attn_tensor *t, int64_t H)
{
    attn_tensor all = *t;
    int64_t G = t->shape[1], index[ATTN_MAX_RANK] = {0};
    all.shape[1] = H;
    all = test_tensor(&c->arena, t->dtype, t->rank, all.shape);
    if (test_tensor_empty(&all)) return all;
    do {
        int64_t from[4] = {index[0], bits_group(c, index[1], H, G), index[2], index[3]};
        test_put(&all, index, test_get(t, from));
    } while (test_index_next(&all, index));
    return all;
}

/* ---- a host that runs the regions itself ------------------------------------------------- */

enum { BITS_HOST_THREADS = 3 };

typedef struct bits_region {
    int n, first;
    void (*body)(void *arg, int i);
    void *arg;
} bits_region;

static inline void *bits_host_thread(void *data)
{
    const bits_region *r = data;
    for (int i = r->n - 1 - r->first; i >= 0; i -= BITS_HOST_THREADS) r->body(r->arg, i);
    return NULL;
}

/* From the last to the first, spread over threads of its own. */
static inline void bits_host_for(void *user, int n, void (*body)(void *arg, int i), void *arg)
{
    pthread_t threads[BITS_HOST_THREADS];
    bits_region regions[BITS_HOST_THREADS];
    bool started[BITS_HOST_THREADS];
    *(int *)user += 1;
    for (int t = 0; t < BITS_HOST_THREADS; t++) {
        regions[t] = (bits_region){n, t, body, arg};
        started[t] = !pthread_create(&threads[t], NULL, bits_host_thread, &regions[t]);
        if (!started[t]) bits_host_thread(&regions[t]);
    }
    for (int t = 0; t < BITS_HOST_THREADS; t++)
        if (started[t]) pthread_join(threads[t], NULL);
}

static attn_ctx *host_ctx;

static attn_ctx *host_ctx;

static inline void bits_with_host(test_case *c)
{
    bits_again(host_ctx, c, &c->args, "the host's parallel_for");
}

static inline void bits_host_parallel_for(void **state)
{
    int calls = 0;
    test_profile profile = {.pairs = 20000};
    attn_config config =
        ATTN_CONFIG(.threads = 7, .parallel_for = bits_host_for, .parallel_user = &calls);
    (void)state;
    assert_int_equal(attn_ctx_create(&host_ctx, &config, NULL), ATTN_OK);
    bits_for_cases(&profile, 8, bits_with_host);
    attn_ctx_destroy(host_ctx);
    assert_true(calls > 0);
}

static inline void bits_with_repeats(test_case *c)
{
    for (int i = 0; i < 250; i++) bits_again(bits_ctx(1 + i % 5), c, &c->args, "again");
}

static inline void bits_repeats(void **state)
{
    test_profile profile = {.pairs = 3000};
    (void)state;
    bits_for_cases(&profile, program.repeats, bits_with_repeats);
}

#endif
