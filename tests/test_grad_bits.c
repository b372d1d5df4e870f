/* SPDX-License-Identifier: MIT
 * Gradients, bit by bit: the same on every instruction set, with any number of threads, from
 * any layout, from widened inputs, alone or together with others, for a sequence alone or in
 * its batch, under a host's own parallel_for, and again and again. Random cases over all
 * options. A group of heads is the sum over its members, to rounding.
 *
 *   ATTN_CASES=n  cases of each test (1500)  ATTN_SEED=s  ATTN_LONG=1  twenty times as many
 *   ATTN_SHARE=n  a part of them
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <pthread.h>

#include "support/support.h"

static test_contexts contexts;

static attn_ctx *bits_ctx(int threads)
{
    return test_contexts_get(&contexts, contexts.usable[contexts.n_usable - 1], threads);
}

static void bits_fail(const test_case *c, const char *what, const char *how)
{
    test_case_print(stderr, c);
    fail_msg("%s: %s (ATTN_SEED=0x%llx ATTN_CASES=1 test_grad_bits)", what, how,
             (unsigned long long)c->seed);
}

static void bits_run(attn_ctx *ctx, const test_case *c, const attn_spec *spec,
                     const attn_args *args)
{
    attn_error error = {0};
    char text[200];
    if (attn_backward(ctx, spec, args, &error) == ATTN_OK) return;
    attn_error_text(&error, text, sizeof text);
    bits_fail(c, "refused", text);
}

/* The call again with gradients of its own. */
static void bits_again(attn_ctx *ctx, test_case *c, const attn_args *args, const char *how)
{
    const char *what = "";
    attn_args other = test_fresh(&c->arena, args, 'D');
    bits_run(ctx, c, &c->spec, &other);
    if (!test_same(&c->args, &other, 'D', &what)) bits_fail(c, what, how);
}

/* One more way to run a case that has been run plainly. */
typedef void (*bits_way)(test_case *c, test_rng *rng);

static void bits_for_cases(const test_profile *profile, int share, bits_way way)
{
    int64_t n = test_env_share(test_env_int("ATTN_CASES", 1500)) / share;
    uint64_t seed = (uint64_t)test_env_int("ATTN_SEED", 5500000003);
    if (test_env_long()) n *= 20;
    for (int64_t i = 0; i < (n > 0 ? n : 1); i++) {
        test_case c;
        test_rng rng = test_rng_make(~(seed + (uint64_t)i));
        test_grad_draw(&c, seed + (uint64_t)i, profile);
        assert_int_equal(attn_forward(bits_ctx(1), &c.spec, &c.args, NULL), ATTN_OK);
        bits_run(bits_ctx(1), &c, &c.spec, &c.args);
        way(&c, &rng);
        test_case_free(&c);
    }
}

static void bits_with_threads(test_case *c, test_rng *rng)
{
    static const int counts[] = {2, 3, 8, 17};
    char how[40];
    (void)rng;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        snprintf(how, sizeof how, "%d threads", counts[i]);
        bits_again(bits_ctx(counts[i]), c, &c->args, how);
    }
}

static void bits_threads(void **state)
{
    test_profile small = {0}, large = {.pairs = 60000};
    (void)state;
    bits_for_cases(&small, 1, bits_with_threads);
    bits_for_cases(&large, 8, bits_with_threads);
}

static void bits_with_isas(test_case *c, test_rng *rng)
{
    (void)rng;
    for (int i = 0; i < contexts.n_usable; i++)
        bits_again(test_contexts_get(&contexts, contexts.usable[i], 1), c, &c->args,
                   attn_isa_name(contexts.usable[i]));
}

static void bits_isas(void **state)
{
    test_profile small = {0}, large = {.pairs = 20000};
    (void)state;
    bits_for_cases(&small, 1, bits_with_isas);
    bits_for_cases(&large, 8, bits_with_isas);
}

static void bits_with_dense(test_case *c, test_rng *rng)
{
    attn_args dense = test_args_dense(&c->arena, &c->args, false);
    (void)rng;
    bits_again(bits_ctx(1), c, &dense, "dense tensors");
}

static void bits_layouts(void **state)
{
    test_profile profile = {.force = TEST_OPTION(LAYOUT)};
    (void)state;
    bits_for_cases(&profile, 1, bits_with_dense);
}

static void bits_with_wide(test_case *c, test_rng *rng)
{
    attn_args wide = test_args_dense(&c->arena, &c->args, true);
    (void)rng;
    bits_again(bits_ctx(1), c, &wide, "inputs widened to f32");
}

static void bits_widened(void **state)
{
    test_profile profile = {.allow = TEST_ALL_OPTIONS & ~TEST_OPTION(F64),
                            .force = TEST_OPTION(DTYPES)};
    (void)state;
    bits_for_cases(&profile, 1, bits_with_wide);
}

/* Each gradient alone has the bits it has among the others. */
static void bits_with_fewer(test_case *c, test_rng *rng)
{
    (void)rng;
    for (int g = 0; g < ORACLE_N_GRADS; g++) {
        attn_args alone = c->args;
        const char *what = "";
        if (!test_grad_in(&c->args, (oracle_grad)g)->dtype) continue;
        for (int i = 0; i < ORACLE_N_GRADS; i++)
            if (i != g) *test_grad_of(&alone, (oracle_grad)i) = (attn_tensor){0};
        alone = test_fresh(&c->arena, &alone, 'D');
        bits_run(bits_ctx(1 + g % 3), c, &c->spec, &alone);
        attn_args both = alone;
        *test_grad_of(&both, (oracle_grad)g) = *test_grad_in(&c->args, (oracle_grad)g);
        if (!test_same(&both, &alone, 'D', &what)) bits_fail(c, what, "asked for alone");
    }
}

static void bits_asked_alone(void **state)
{
    test_profile profile = {0};
    (void)state;
    bits_for_cases(&profile, 2, bits_with_fewer);
}

/* ---- parts ----------------------------------------------------------------------------------
 */

static void bits_with_parts(test_case *c, test_rng *rng)
{
    (void)rng;
    for (int64_t n = 0; n < c->n_seq; n++) {
        attn_spec spec;
        attn_args args;
        test_user user;
        const char *what = "";
        if (!test_case_part_grad(c, n, &c->arena, &spec, &args, &user)) continue;
        bool any = false;
        for (int g = 0; g < ORACLE_N_GRADS; g++)
            any = any || test_grad_in(&args, (oracle_grad)g)->dtype;
        if (!any) continue;
        bits_run(bits_ctx(1 + (int)(n % 3)), c, &spec, &args);
        if (!test_case_part_grad_same(c, n, &args, &what))
            bits_fail(c, what, "of a sequence alone");
    }
}

/* Packed, padded and alone: what holds between each of them and alone holds between them. */
static void bits_parts(void **state)
{
    test_profile any = {0}, packed = {.force = TEST_OPTION(PACKED_Q) | TEST_OPTION(PACKED_K)};
    test_profile padded = {.allow = TEST_ALL_OPTIONS & ~TEST_OPTION(PACKED_Q) &
                                    ~TEST_OPTION(PACKED_K),
                           .force = TEST_OPTION(LENGTHS_Q) | TEST_OPTION(LENGTHS_K)};
    test_profile large = {.pairs = 40000};
    (void)state;
    bits_for_cases(&any, 1, bits_with_parts);
    bits_for_cases(&packed, 1, bits_with_parts);
    bits_for_cases(&padded, 1, bits_with_parts);
    bits_for_cases(&large, 8, bits_with_parts);
}

/* ---- groups of heads ------------------------------------------------------------------------
 */

static int64_t bits_group(const test_case *c, int64_t h, int64_t H, int64_t G)
{
    return c->spec.head_map == ATTN_HEADS_TILED ? h % G : h / (H / G);
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
        int64_t from[4] = {index[0], bits_group(c, index[1], H, G), index[2], index[3]};
        test_put(&all, index, test_get(t, from));
    } while (test_index_next(&all, index));
    return all;
}

/* grad has G heads, each the sum of heads of all. */
static void bits_sums(const test_case *c, const attn_tensor *grad, const attn_tensor *all,
                      const char *what)
{
    int64_t index[ATTN_MAX_RANK] = {0}, H = all->shape[1], G = grad->shape[1];
    double error = 0, norm = 0;
    if (!grad->dtype || test_tensor_empty(grad)) return;
    do {
        double sum = 0, size = 0;
        for (int64_t h = 0; h < H; h++) {
            int64_t from[4] = {index[0], h, index[2], index[3]};
            if (bits_group(c, h, H, G) != index[1]) continue;
            sum += test_get(all, from);
            size += fabs(test_get(all, from));
        }
        double off = test_get(grad, index) - sum;
        error += off * off;
        norm += size * size;
    } while (test_index_next(grad, index));
    if (!(error <= 1e-12 * norm)) bits_fail(c, what, "is not the sum over its group");
}

/* To 1e-5 of the norm: what is shared by heads is summed in another order. */
static void bits_near(const test_case *c, const attn_tensor *a, const attn_tensor *b,
                      const char *what)
{
    int64_t index[ATTN_MAX_RANK] = {0};
    double error = 0, norm = 1e-12;
    if (test_tensor_empty(a)) return;
    do {
        double x = test_get(a, index), y = test_get(b, index);
        error += (x - y) * (x - y);
        norm += x * x;
    } while (test_index_next(a, index));
    if (!(error <= 1e-10 * norm)) bits_fail(c, what, "key heads repeated");
}

static void bits_with_repeated_heads(test_case *c, test_rng *rng)
{
    attn_args other = test_fresh(&c->arena, &c->args, 'D');
    int64_t H = c->args.q.shape[1];
    (void)rng;
    other.k = bits_repeat(c, &c->args.k, H);
    other.v = bits_repeat(c, &c->args.v, H);
    if (other.d_k.dtype) other.d_k = test_tensor(&c->arena, ATTN_DTYPE_F32, 4, other.k.shape);
    if (other.d_v.dtype) other.d_v = test_tensor(&c->arena, ATTN_DTYPE_F32, 4, other.v.shape);
    bits_run(bits_ctx(1), c, &c->spec, &other);
    bits_sums(c, &c->args.d_k, &other.d_k, "d_k");
    bits_sums(c, &c->args.d_v, &other.d_v, "d_v");
    if (c->args.d_q.dtype && !test_same_bits(c->args.d_q, other.d_q))
        bits_fail(c, "d_q", "key heads repeated");
    for (int g = ORACLE_GRAD_bias_pre; g < ORACLE_N_GRADS; g++)
        if (test_grad_in(&c->args, (oracle_grad)g)->dtype)
            bits_near(c, test_grad_in(&c->args, (oracle_grad)g),
                      test_grad_in(&other, (oracle_grad)g), test_grad_name((oracle_grad)g));
}

static void bits_repeated_heads(void **state)
{
    test_profile profile = {.allow = TEST_ALL_OPTIONS & ~TEST_OPTION(RANK) &
                                     ~TEST_OPTION(DTYPES) & ~TEST_OPTION(F64) &
                                     ~TEST_OPTION(LARGE),
                            .force = TEST_OPTION(GQA)};
    (void)state;
    bits_for_cases(&profile, 1, bits_with_repeated_heads);
}

/* ---- a host that runs the regions itself
 * ----------------------------------------------------- */

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

static void bits_with_host(test_case *c, test_rng *rng)
{
    (void)rng;
    bits_again(host_ctx, c, &c->args, "the host's parallel_for");
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

static void bits_with_repeats(test_case *c, test_rng *rng)
{
    (void)rng;
    for (int i = 0; i < 250; i++) bits_again(bits_ctx(1 + i % 5), c, &c->args, "again");
}

static void bits_repeats(void **state)
{
    test_profile profile = {.pairs = 3000};
    (void)state;
    bits_for_cases(&profile, 150, bits_with_repeats);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bits_isas),           cmocka_unit_test(bits_threads),
        cmocka_unit_test(bits_layouts),        cmocka_unit_test(bits_widened),
        cmocka_unit_test(bits_asked_alone),    cmocka_unit_test(bits_parts),
        cmocka_unit_test(bits_repeated_heads), cmocka_unit_test(bits_host_parallel_for),
        cmocka_unit_test(bits_repeats),
    };
    test_contexts_init(&contexts);
    int failed = cmocka_run_group_tests_name("grad_bits", tests, NULL, NULL);
    test_contexts_free(&contexts);
    return failed;
}
