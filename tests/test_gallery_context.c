/* SPDX-License-Identifier: MIT
 * Identities of Tri-Attention: one context that says nothing is attention of two, contexts are
 * a set, forms that must agree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gallery_one.h"

/* A context of ones multiplies nothing: the fused engine, scaled or not, in heads or not. */
static void context_ones(const char *name, const char *scale)
{
    gallery_one a, s;
    char text[128];
    one_open(&a, name, "B=1,H=1,T=4,S=5,J=1,D=3,E=2;;mask,c_mask", 1);
    snprintf(text, sizeof text, "B=1,H=1,G=1,T=4,S=5,D=3,E=2;%s", scale);
    one_open(&s, "softmax", text, 2);
    one_bare(&s, "weights");
    one_fill(&a, "c", 1);
    one_fill(&a, "u", 1);
    one_copy(&s, "q", one_at(&a, "q"));
    one_copy(&s, "k", one_at(&a, "k"));
    one_copy(&s, "v", one_at(&a, "v"));
    one_run(&a);
    one_run(&s);
    one_near(one_at(&a, "out"), one_at(&s, "out"), one_count(&a, "out"), "out");
    one_near(one_at(&a, "weights"), one_at(&s, "weights"), 20, "weights");
    one_close(&a);
    one_close(&s);
}

static void test_ones(void **state)
{
    (void)state;
    context_ones("tri_dot", "scale=1");
    context_ones("tri_scaled_dot", "");
}

/* Contexts in the opposite order, with their values and flags. */
static void context_reverse(gallery_one *a, const char *slot, int64_t J)
{
    const int64_t B = gallery_size(&a->draw.call, 'B'), width = one_count(a, slot) / (B * J);
    double *x = one_at(a, slot);
    for (int64_t b = 0; b < B; b++)
        for (int64_t i = 0; i < J / 2; i++)
            for (int64_t d = 0; d < width; d++) {
                double *one = x + (b * J + i) * width + d,
                       *other = x + (b * J + J - 1 - i) * width + d;
                const double keep = *one;
                *one = *other, *other = keep;
            }
}

static void test_contexts_are_a_set(void **state)
{
    static const struct {
        const char *name, *text;
        bool u;
    } calls[] = {{"tri_additive", "B=2,T=3,S=4,J=5,D=2,E=3,A=2", true},
                 {"tri_dot", "B=2,H=1,T=3,S=4,J=5,D=2,E=3", true},
                 {"tri_scaled_dot", "B=2,H=1,T=3,S=4,J=5,D=2,E=3", true},
                 {"tri_trilinear", "B=2,H=1,T=3,S=4,J=5,D=2,R=2,E=3", false}};
    (void)state;
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        gallery_one a, b;
        one_open(&a, calls[i].name, calls[i].text, 3);
        one_open(&b, calls[i].name, calls[i].text, 3);
        context_reverse(&b, "c", 5);
        context_reverse(&b, "c_mask", 5);
        if (calls[i].u) context_reverse(&b, "u", 5);
        one_run(&a);
        one_run(&b);
        one_near(one_at(&b, "out"), one_at(&a, "out"), one_count(&a, "out"), calls[i].name);
        one_close(&a);
        one_close(&b);
    }
}

/* A score that does not see the context leaves attention of two, plus the mean of the contexts.
 */
static void test_additive_blind(void **state)
{
    static const char *const same[] = {"q", "k", "v", "w_q", "w_k", "p"};
    (void)state;
    gallery_one a, b;
    one_open(&a, "tri_additive", "B=1,T=3,S=4,J=5,D=2,E=3,A=2;;mask,c_mask", 4);
    one_open(&b, "tri_additive", "B=1,T=3,S=4,J=1,D=2,E=3,A=2;;mask,c_mask", 5);
    one_fill(&a, "w_c", 0);
    one_fill(&b, "c", 0);
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        one_copy(&b, same[i], one_at(&a, same[i]));
    for (int e = 0; e < 3; e++) {
        one_at(&b, "u")[e] = 0;
        for (int c = 0; c < 5; c++) one_at(&b, "u")[e] += one_at(&a, "u")[c * 3 + e] / 5;
    }
    one_run(&a);
    one_run(&b);
    one_near(one_at(&a, "out"), one_at(&b, "out"), 9, "blind to the context");
    one_close(&a);
    one_close(&b);
}

/* Factors of one are no factors. */
static void test_trilinear_is_dot(void **state)
{
    static const char *const factors[] = {"w_q", "w_k", "w_c", "w_v", "w_u"};
    static const char *const same[] = {"q", "k", "v", "c", "mask", "c_mask"};
    (void)state;
    gallery_one a, d;
    one_open(&a, "tri_trilinear", "B=2,H=1,T=3,S=4,J=2,D=3,R=3,E=3;;core", 8);
    one_open(&d, "tri_dot", "B=2,H=1,T=3,S=4,J=2,D=3,E=3;;u", 9);
    for (size_t i = 0; i < 5; i++) one_identity(&a, factors[i], 3);
    for (size_t i = 0; i < 6; i++) one_copy(&d, same[i], one_at(&a, same[i]));
    one_run(&a);
    one_run(&d);
    one_near(one_at(&a, "out"), one_at(&d, "out"), one_count(&a, "out"), "out");
    one_close(&a);
    one_close(&d);
}

/* A core with ones where all three are equal is no core. */
static void test_trilinear_core(void **state)
{
    (void)state;
    gallery_one a, b;
    one_open(&a, "tri_trilinear", "B=2,H=1,T=3,S=4,J=2,D=3,R=2,E=3", 10);
    one_open(&b, "tri_trilinear", "B=2,H=1,T=3,S=4,J=2,D=3,R=2,E=3;;core", 11);
    one_fill(&a, "core", 0);
    one_at(&a, "core")[0] = one_at(&a, "core")[7] = 1;
    for (int i = 0; a.row.mech->slots[i].name; i++) {
        const char *slot = a.row.mech->slots[i].name;
        if (a.row.mech->slots[i].kind & ATTN_OUT || strcmp(slot, "core") == 0) continue;
        one_copy(&b, slot, one_at(&a, slot));
    }
    one_run(&a);
    one_run(&b);
    one_near(one_at(&a, "out"), one_at(&b, "out"), one_count(&a, "out"), "out");
    one_close(&a);
    one_close(&b);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ones),
        cmocka_unit_test(test_contexts_are_a_set),
        cmocka_unit_test(test_additive_blind),

        cmocka_unit_test(test_trilinear_is_dot),
        cmocka_unit_test(test_trilinear_core),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
