/* SPDX-License-Identifier: MIT
 * Gradients, bit by bit: the same on every instruction set, with any number of threads, from
 * any layout, from widened inputs, alone or together with others, for a sequence alone or in
 * its batch, under a host's own parallel_for, and again and again. Random cases over all
 * options. A group of heads is the sum over its members, to rounding.
 *
 *   ATTN_CASES=n  cases of each test (1500)  ATTN_SEED=s  ATTN_LONG=1  twenty times as many
 *   ATTN_SHARE=n  a part of them
 */
#include "bits_case.h"

#include <math.h>

static void bits_draw(test_case *c, uint64_t seed, const test_profile *profile)
{
    test_grad_draw(c, seed, profile);
    assert_int_equal(attn_forward(bits_ctx(1), &c->spec, &c->args, NULL), ATTN_OK);
}

static const bits_program program = {.name = "test_grad_bits",
                                     .draw = bits_draw,
                                     .call = attn_backward,
                                     .kind = 'D',
                                     .seed = 5500000003,
                                     .threads = {2, 3, 8, 17},
                                     .large = 8,
                                     .repeats = 150};

static int64_t bits_cases(void)
{
    return test_env_share(test_env_int("ATTN_CASES", 1500));
}

/* ---- one gradient ------------------------------------------------------------------------ */

/* Each gradient alone has the bits it has among the others. */
static void bits_with_fewer(test_case *c)
{
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

/* ---- parts ------------------------------------------------------------------------------ */

static void bits_with_parts(test_case *c)
{
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

/* ---- groups of heads -------------------------------------------------------------------- */

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

static void bits_with_repeated_heads(test_case *c)
{
    attn_args other = test_fresh(&c->arena, &c->args, 'D');
    int64_t H = c->args.q.shape[1];
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bits_isas),           cmocka_unit_test(bits_threads),
        cmocka_unit_test(bits_layouts),        cmocka_unit_test(bits_widened),
        cmocka_unit_test(bits_asked_alone),    cmocka_unit_test(bits_parts),
        cmocka_unit_test(bits_repeated_heads), cmocka_unit_test(bits_host_parallel_for),
        cmocka_unit_test(bits_repeats),
    };
    return cmocka_run_group_tests_name("grad_bits", tests, contexts_setup, contexts_finish);
}
