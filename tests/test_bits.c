/* SPDX-License-Identifier: MIT
 * The same question asked otherwise has the same answer, bit by bit: on every instruction set,
 * with any number of threads, in any layout, from widened inputs, with heads repeated by hand,
 * under a host's own parallel_for, and again and again. Random cases over all options.
 * (Parts of a call: test_bits_parts.c.)
 *
 *   ATTN_CASES=n  cases of each test (3000)   ATTN_SEED=s   ATTN_LONG=1  twenty times as many
 */
#include "bits_case.h"

static const bits_program program = {.name = "test_bits",
                                     .draw = test_case_draw,
                                     .call = attn_forward,
                                     .kind = 'o',
                                     .seed = 5000000029,
                                     .threads = {2, 3, 5, 8, 17},
                                     .large = 4,
                                     .repeats = 300};

static int64_t bits_cases(void)
{
    return test_env_int("ATTN_CASES", 3000);
}

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bits_isas),           cmocka_unit_test(bits_threads),
        cmocka_unit_test(bits_layouts),        cmocka_unit_test(bits_widened),
        cmocka_unit_test(bits_repeated_heads), cmocka_unit_test(bits_host_parallel_for),
        cmocka_unit_test(bits_repeats),
    };
    return cmocka_run_group_tests(tests, contexts_setup, contexts_finish);
}
