/* SPDX-License-Identifier: MIT
 * The same question asked otherwise has the same answer, bit by bit: on every instruction set,
 * with any number of threads, in any layout, from widened inputs, with heads repeated by hand,
 * under a host's own parallel_for, and again and again. Random cases over all options.
 * (Parts of a call: test_bits_parts.c.)
 *
 *   ATTN_CASES=n  cases of each test (3000)   ATTN_SEED=s   ATTN_LONG=1  twenty times as many
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>

#include "support/support.h"

static test_contexts contexts;

/* The best table and one thread: what every other way is compared with. */
static attn_ctx *bits_plain(void)
{
    return test_contexts_get(&contexts, contexts.usable[contexts.n_usable - 1], 1);
}

static void bits_run(attn_ctx *ctx, const test_case *c, const attn_args *args)
{
    attn_error error = {0};
    char text[200];
    if (attn_forward(ctx, &c->spec, args, &error) == ATTN_OK) return;
    attn_error_text(&error, text, sizeof text);
    test_case_print(stderr, c);
    fail_msg("refused: %s", text);
}

static void bits_expect(const test_case *c, const attn_args *a, const attn_args *b,
                        const char *how)
{
    const char *what = "";
    if (test_outputs_same(a, b, &what)) return;
    test_case_print(stderr, c);
    fail_msg("%s differs: %s (ATTN_SEED=0x%llx ATTN_CASES=1 test_bits)", what, how,
             (unsigned long long)c->seed);
}

/* One more way to run a case that has been run plainly. */
typedef void (*bits_way)(test_case *c);

static void bits_for_cases(const test_profile *profile, int share, bits_way way)
{
    int64_t n = test_env_int("ATTN_CASES", 3000) * (test_env_long() ? 20 : 1) / share;
    uint64_t seed = (uint64_t)test_env_int("ATTN_SEED", 5000000029);
    for (int64_t i = 0; i < (n > 0 ? n : 1); i++) {
        test_case c;
        test_case_draw(&c, seed + (uint64_t)i, profile);
        bits_run(bits_plain(), &c, &c.args);
        way(&c);
        test_case_free(&c);
    }
}

static void bits_with_threads(test_case *c)
{
    static const int counts[] = {2, 3, 5, 8, 17};
    char how[40];
    int isa = contexts.usable[contexts.n_usable - 1];
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        attn_args other = test_outputs_fresh(&c->arena, &c->args);
        bits_run(test_contexts_get(&contexts, isa, counts[i]), c, &other);
        snprintf(how, sizeof how, "%d threads", counts[i]);
        bits_expect(c, &c->args, &other, how);
    }
}

static void bits_threads(void **state)
{
    test_profile small = {0}, large = {.pairs = 60000};
    (void)state;
    bits_for_cases(&small, 1, bits_with_threads);
    bits_for_cases(&large, 4, bits_with_threads);
}

static void bits_with_isas(test_case *c)
{
    for (int i = 0; i < contexts.n_usable; i++) {
        attn_args other = test_outputs_fresh(&c->arena, &c->args);
        bits_run(test_contexts_get(&contexts, contexts.usable[i], 1), c, &other);
        bits_expect(c, &c->args, &other, attn_isa_name(contexts.usable[i]));
    }
}

static void bits_isas(void **state)
{
    test_profile small = {0}, large = {.pairs = 20000};
    (void)state;
    bits_for_cases(&small, 1, bits_with_isas);
    bits_for_cases(&large, 8, bits_with_isas);
}

static void bits_with_dense(test_case *c)
{
    attn_args dense = test_args_dense(&c->arena, &c->args, false);
    bits_run(bits_plain(), c, &dense);
    bits_expect(c, &c->args, &dense, "dense tensors");
}

static void bits_layouts(void **state)
{
    test_profile profile = {.force = TEST_OPTION(LAYOUT)};
    (void)state;
    bits_for_cases(&profile, 1, bits_with_dense);
}

static void bits_with_wide(test_case *c)
{
    attn_args wide = test_args_dense(&c->arena, &c->args, true);
    bits_run(bits_plain(), c, &wide);
    bits_expect(c, &c->args, &wide, "inputs widened to f32");
}

static void bits_widened(void **state)
{
    test_profile profile = {.allow = TEST_ALL_OPTIONS & ~TEST_OPTION(F64),
                            .force = TEST_OPTION(DTYPES)};
    (void)state;
    bits_for_cases(&profile, 1, bits_with_wide);
}

/* k or v with a head for every query head. */
static attn_tensor bits_repeat(test_case *c, const attn_tensor *t, int64_t H)
{
    attn_tensor all = *t;
    int64_t G = t->shape[1], index[ATTN_MAX_RANK] = {0};
    all.shape[1] = H;
    all = test_tensor(&c->arena, t->dtype, t->rank, all.shape);
    if (test_tensor_empty(&all)) return all;
    do {
        int64_t from[4] = {index[0], index[1], index[2], index[3]};
        from[1] = c->spec.head_map == ATTN_HEADS_TILED ? index[1] % G : index[1] / (H / G);
        test_put(&all, index, test_get(t, from));
    } while (test_index_next(&all, index));
    return all;
}

static void bits_with_repeated_heads(test_case *c)
{
    attn_args other = test_outputs_fresh(&c->arena, &c->args);
    other.k = bits_repeat(c, &c->args.k, c->args.q.shape[1]);
    other.v = bits_repeat(c, &c->args.v, c->args.q.shape[1]);
    bits_run(bits_plain(), c, &other);
    bits_expect(c, &c->args, &other, "key heads repeated");
}

static void bits_repeated_heads(void **state)
{
    test_profile profile = {.allow = TEST_ALL_OPTIONS & ~TEST_OPTION(RANK),
                            .force = TEST_OPTION(GQA)};
    (void)state;
    bits_for_cases(&profile, 1, bits_with_repeated_heads);
}

/* ---- a host that runs the regions itself ---- */

enum { BITS_HOST_THREADS = 3 };

typedef struct bits_region {
    int n, first;
    void (*body)(void *arg, int i);
    void *arg;
} bits_region;

static void *bits_host_thread(void *data)
{
    const bits_region *r = data;
    for (int i = r->n - 1 - r->first; i >= 0; i -= BITS_HOST_THREADS) r->body(r->arg, i);
    return NULL;
}

/* From the last to the first, spread over threads of its own. */
static void bits_host_for(void *user, int n, void (*body)(void *arg, int i), void *arg)
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

static void bits_with_host(test_case *c)
{
    attn_args other = test_outputs_fresh(&c->arena, &c->args);
    bits_run(host_ctx, c, &other);
    bits_expect(c, &c->args, &other, "the host's parallel_for");
}

static void bits_host_parallel_for(void **state)
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

static void bits_with_repeats(test_case *c)
{
    attn_args other = test_outputs_fresh(&c->arena, &c->args);
    int isa = contexts.usable[contexts.n_usable - 1];
    for (int i = 0; i < 250; i++) {
        bits_run(test_contexts_get(&contexts, isa, 1 + i % 5), c, &other);
        bits_expect(c, &c->args, &other, "again");
    }
}

static void bits_repeats(void **state)
{
    test_profile profile = {.pairs = 3000};
    (void)state;
    bits_for_cases(&profile, 300, bits_with_repeats);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bits_isas),           cmocka_unit_test(bits_threads),
        cmocka_unit_test(bits_layouts),        cmocka_unit_test(bits_widened),
        cmocka_unit_test(bits_repeated_heads), cmocka_unit_test(bits_host_parallel_for),
        cmocka_unit_test(bits_repeats),
    };
    test_contexts_init(&contexts);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_contexts_free(&contexts);
    return failed;
}
