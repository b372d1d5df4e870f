/* SPDX-License-Identifier: MIT
 * Rows that a mask hides may hold anything, a NaN as well: neither results nor the gradients of
 * what is seen, weights above all, are touched by it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gallery_share.h"

/* The slots of a mechanism whose rows its mask hides. */
static const struct {
    const char *name, *call, *mask, *rows[3];
} hidden[] = {
    {"expected_monotonic", "B=2,T=3,S=5", "mask", {"k", "v"}},
    {"hard_monotonic", "B=2,T=3,S=5", "mask", {"k", "v"}},
    {"mocha", "B=2,T=3,S=5;chunk=0", "mask", {"k", "v"}},
    {"location_aware", "B=2,T=3,S=5", "mask", {"k", "v"}},
    {"coverage", "B=2,T=3,S=5", "mask", {"k", "v"}},
    {"monotonic_multihead", "B=2,T=3,S=5;chunk=3", "mask", {"y"}},
    {"sparse_monotonic", "B=2,T=3,S=5", "mask", {"y"}},
    {"luong", "B=2,T=3,S=5,D=3,E=3;;w_a,w_q,w_k,w", "mask", {"y"}},
    {"luong", "B=2,T=3,S=5;score=general;w_q,w_k,w", "mask", {"y"}},
    {"luong", "B=2,T=3,S=5;score=concat;w_a", "mask", {"y"}},
    {"bahdanau", "B=2,T=3,S=5", "mask", {"y"}},
    {"input_feeding", "B=2,T=3,S=5", "mask", {"y"}},
    {"rnn_attention", "B=2,S=5", "mask", {"x"}},
    {"adaptive_sparse", "B=2,T=5", "mask", {"x"}},
    {"pointer", "B=2,T=3,S=5", "mask", {"k"}},
    {"pointer_generator", "B=2,T=3,S=5", "mask", {"y"}},
    {"copy", "B=2,T=3,S=5", "mask", {"y"}},
    {"show_attend_tell", "B=2,T=3,S=5", "mask", {"y"}},
    {"audio_guided", "B=2,S=5", "mask", {"y"}},
    {"dual_stream", "B=2,T=3,S=5,R=4", "y_mask", {"y"}},
    {"crossmodal", "B=2,T=3,S=5;;back,back_weights", "mask", {"y"}},
    {"modality_fusion", "B=2,N=4", "mask", {"x"}},
};

static void hidden_poison(gallery_one *a, const char *mask, const char *rows)
{
    const int64_t n = one_count(a, mask), width = one_count(a, rows) / n;
    for (int64_t r = 0; r < n; r++)
        for (int64_t d = 0; d < width && one_at(a, mask)[r] == 0; d++)
            one_at(a, rows)[r * width + d] = (double)NAN;
}

/* No number that a gradient is asked for is touched by it; rows that are hidden get 0. */
static void hidden_gradients(gallery_one *a)
{
    attn_tensor slots[ATTN_MAX_SLOTS], d_slots[ATTN_MAX_SLOTS];
    test_rng rng = test_rng_make(19);
    gallery_tensors(&a->draw, ATTN_DTYPE_F32, &rng, slots);
    gallery_gradients(&a->draw, ATTN_DTYPE_F32, &rng, slots, d_slots);
    assert_int_equal(
        attn_mech_run_grad(NULL, a->row.mech, slots, d_slots, a->draw.call.params, NULL),
        ATTN_OK);
    for (int i = 0; a->row.mech->slots[i].name; i++) {
        int64_t index[ATTN_MAX_RANK] = {0};
        if (!d_slots[i].dtype || test_tensor_empty(&d_slots[i])) continue;
        do
            if (!isfinite(test_get(&d_slots[i], index)))
                fail_msg("%s: what is hidden reaches the gradient of %s", a->row.name,
                         a->row.mech->slots[i].name);
        while (test_index_next(&d_slots[i], index));
    }
}

static void test_hidden(void **state)
{
    (void)state;
    for (size_t h = 0; h < sizeof hidden / sizeof hidden[0]; h++) {
        gallery_one clean, odd;
        share_open(&clean, hidden[h].name, hidden[h].call, &odd, hidden[h].name,
                   hidden[h].call);
        one_at(&clean, hidden[h].mask)[1] = one_at(&odd, hidden[h].mask)[1] = 0;
        for (const char *const *rows = hidden[h].rows; *rows; rows++)
            hidden_poison(&odd, hidden[h].mask, *rows);
        share_run(&clean, &odd);
        share_same(&odd, "out", &clean, "out", hidden[h].name);
        hidden_gradients(&odd);
        share_close(&clean, &odd);
    }
}

/* A step that is hidden may hold anything. */
static void test_conv_hidden(void **state)
{
    (void)state;
    gallery_one a, b;
    share_open(&a, "conv_attention", "T=7,D=4", &b, "conv_attention", "T=7,D=4");
    for (int i = 0; i < 7; i++) one_at(&a, "mask")[i] = one_at(&b, "mask")[i] = i < 5;
    for (int i = 20; i < 28; i++) one_at(&b, "x")[i] = (double)NAN;
    share_run(&a, &b);
    one_near(one_at(&b, "out"), one_at(&a, "out"), 20, "beside hidden steps");
    share_close(&a, &b);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_hidden),
                                              cmocka_unit_test(test_conv_hidden)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
