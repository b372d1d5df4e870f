/* SPDX-License-Identifier: MIT
 * The bits of the other normalisers: the same on every instruction set, with any number of
 * threads, in any layout, from widened inputs, under a host's own parallel_for, and again and
 * again; and so are those of their gradients (test_norm_grad_bits.c). Random cases over all
 * options.
 *
 *   ATTN_CASES=n  cases of each test (800)   ATTN_SEED=s   ATTN_LONG=1  twenty times as many
 *   ATTN_SHARE=n  a part of them
 */
#include "bits_case.h"

static const bits_program program = {.name = "test_norm_bits",
                                     .draw = test_norm_draw,
                                     .call = attn_forward,
                                     .kind = 'o',
                                     .seed = 8300000021,
                                     .threads = {2, 3, 8},
                                     .large = 8,
                                     .repeats = 300};

static int64_t bits_cases(void)
{
    return test_env_share(test_env_int("ATTN_CASES", 800));
}

/* One head of keys for each query head: panels hold other rows, results stay. */
static void bits_with_repeated_heads(test_case *c)
{
    attn_args other = c->args;
    other.k = bits_repeat(c, &c->args.k, c->args.q.shape[1]);
    other.v = bits_repeat(c, &c->args.v, c->args.q.shape[1]);
    bits_again(bits_ctx(1), c, &other, "key heads repeated");
}

static void bits_repeated_heads(void **state)
{
    test_profile profile = {.allow = TEST_ALL_OPTIONS & ~TEST_OPTION(RANK),
                            .force = TEST_OPTION(GQA)};
    (void)state;
    bits_for_cases(&profile, 1, bits_with_repeated_heads);
}

/* Each sequence alone, in parts of its queries. */
static void bits_with_parts(test_case *c)
{
    for (int64_t n = 0; n < c->n_seq; n++)
        for (int64_t begin = 0, end; begin < c->span[n].T; begin = end) {
            attn_spec spec;
            attn_args args;
            test_user user;
            const char *what = "";
            end = begin + 1 + c->span[n].T / 3;
            if (end > c->span[n].T) end = c->span[n].T;
            if (!test_case_part(c, n, begin, end, &c->arena, &spec, &args, &user)) continue;
            bits_run(bits_ctx(1 + (int)(n % 3)), c, &spec, &args);
            if (!test_case_part_same(c, n, begin, end, &args, &what))
                bits_fail(c, what, "of queries alone");
        }
}

static void bits_parts(void **state)
{
    test_profile any = {0}, large = {.pairs = 40000};
    (void)state;
    bits_for_cases(&any, 1, bits_with_parts);
    bits_for_cases(&large, 8, bits_with_parts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bits_isas),
        cmocka_unit_test(bits_threads),
        cmocka_unit_test(bits_layouts),
        cmocka_unit_test(bits_widened),
        cmocka_unit_test(bits_repeated_heads),
        cmocka_unit_test(bits_parts),
        cmocka_unit_test(bits_host_parallel_for),
        cmocka_unit_test(bits_repeats),
    };
    return cmocka_run_group_tests(tests, contexts_setup, contexts_finish);
}
