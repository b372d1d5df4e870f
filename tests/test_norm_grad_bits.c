/* SPDX-License-Identifier: MIT
 * The bits of the gradients of the other normalisers, asked as in test_norm_bits.c.
 *
 *   ATTN_CASES=n  cases of each test (500)   ATTN_SEED=s   ATTN_LONG=1  twenty times as many
 *   ATTN_SHARE=n  a part of them
 */
#include "bits_case.h"

static void bits_draw(test_case *c, uint64_t seed, const test_profile *profile)
{
    test_norm_grad_draw(c, seed, profile);
    assert_int_equal(attn_forward(bits_ctx(1), &c->spec, &c->args, NULL), ATTN_OK);
}

static const bits_program program = {.name = "test_norm_grad_bits",
                                     .draw = bits_draw,
                                     .call = attn_backward,
                                     .kind = 'D',
                                     .seed = 8400000043,
                                     .threads = {2, 3, 8},
                                     .large = 8,
                                     .repeats = 250};

static int64_t bits_cases(void)
{
    return test_env_share(test_env_int("ATTN_CASES", 500));
}

static void bits_with_parts(test_case *c)
{
    for (int64_t n = 0; n < c->n_seq; n++) {
        attn_spec spec;
        attn_args args;
        test_user user;
        const char *what = "";
        bool any = false;
        if (!test_case_part_grad(c, n, &c->arena, &spec, &args, &user)) continue;
        args.d_alpha = (attn_tensor){0}; /* a sum over sequences */
        for (int g = 0; g < ORACLE_N_GRADS; g++)
            any = any || test_grad_in(&args, (oracle_grad)g)->dtype;
        if (!any) continue;
        bits_run(bits_ctx(1 + (int)(n % 3)), c, &spec, &args);
        if (!test_case_part_grad_same(c, n, &args, &what))
            bits_fail(c, what, "of a sequence alone");
    }
}

static void bits_parts(void **state)
{
    test_profile any = {0};
    (void)state;
    bits_for_cases(&any, 1, bits_with_parts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bits_isas),    cmocka_unit_test(bits_threads),
        cmocka_unit_test(bits_layouts), cmocka_unit_test(bits_widened),
        cmocka_unit_test(bits_parts),   cmocka_unit_test(bits_host_parallel_for),
        cmocka_unit_test(bits_repeats),
    };
    return cmocka_run_group_tests(tests, contexts_setup, contexts_finish);
}
