/* SPDX-License-Identifier: MIT
 * What the table promises of every mechanism: its traits, the same bits for any number of
 * threads and on every instruction set, and, where it says that it streams, no memory that
 * grows with the square of the length. */
#include "contexts.h"

#include <stdlib.h>
#include <string.h>

#include "gallery_run.h"

/* ---- a call with its outputs ------------------------------------------------------------- */

typedef struct promise_call {
    gallery_draw draw;
    attn_tensor slots[ATTN_MAX_SLOTS];
} promise_call;

static bool promise_is_out(const gallery_row *row, int i)
{
    return row->mech->slots[i].kind & ATTN_OUT;
}

/* Where there is such a parameter. */
static void promise_causal(promise_call *p, const char *truth)
{
    (void)attn_mech_set(p->draw.row->mech, p->draw.call.params, "causal", truth, NULL);
}

static void promise_draw(promise_call *p, const gallery_row *row, const char *text,
                         attn_dtype real)
{
    test_rng rng = test_rng_make(5);
    gallery_draw_case(&p->draw, row, text, 17, false);
    gallery_tensors(&p->draw, real, &rng, p->slots);
    for (int i = 0; row->mech->slots[i].name; i++)
        if (p->slots[i].dtype)
            p->slots[i] = test_tensor_dense(&p->draw.arena, p->slots[i], ATTN_DTYPE_NONE);
}

/* Runs with outputs of its own, which are handed back. */
static void promise_run(promise_call *p, attn_ctx *ctx, const attn_tensor *in, attn_tensor *out)
{
    const gallery_row *row = p->draw.row;
    attn_tensor slots[ATTN_MAX_SLOTS];
    attn_error error = {0};
    char said[256];
    memcpy(slots, in, sizeof slots);
    for (int i = 0; row->mech->slots[i].name; i++)
        if (promise_is_out(row, i) && slots[i].dtype)
            out[i] = slots[i] =
                test_tensor(&p->draw.arena, slots[i].dtype, slots[i].rank, slots[i].shape);
    if (attn_mech_run(ctx, row->mech, slots, p->draw.call.params, &error) == ATTN_OK) return;
    attn_error_text(&error, said, sizeof said);
    fail_msg("%s: %s", row->name, said);
}

/* The first n (or all, n < 0) along the dimension of letter in every output that has it. */
static attn_tensor promise_part(const gallery_row *row, int i, const attn_tensor *t,
                                char letter, int64_t from, int64_t n)
{
    attn_tensor part = *t;
    int dim = 0;
    for (const char *p = row->mech->slots[i].shape; *p; p++) {
        if (*p == ' ') dim++;
        if (*p != letter || (p[1] != ' ' && p[1] != 0)) continue;
        part.shape[dim] = n;
        part.data =
            (char *)t->data + from * t->stride[dim] * (int64_t)attn_dtype_size(t->dtype);
    }
    return part;
}

static bool promise_has(const gallery_row *row, int i, char letter)
{
    for (const char *p = row->mech->slots[i].shape; *p; p++)
        if (*p == letter && (p[1] == ' ' || p[1] == 0)) return true;
    return false;
}

static void promise_same(const gallery_row *row, int i, attn_tensor a, attn_tensor b,
                         const char *what)
{
    if (!test_same_bits(a, b))
        fail_msg("%s: %s has other bits: %s", row->name, row->mech->slots[i].name, what);
}

/* ---- threads and instruction sets -------------------------------------------------------- */

static void bits_forward(promise_call *p, const attn_tensor *want)
{
    static const int threads[] = {1, 2, 3};
    const gallery_row *row = p->draw.row;
    for (int isa = 0; isa < contexts.n_usable; isa++)
        for (size_t n = 0; n < 3; n++) {
            attn_tensor out[ATTN_MAX_SLOTS];
            promise_run(p, test_contexts_get(&contexts, contexts.usable[isa], threads[n]),
                        p->slots, out);
            for (int i = 0; row->mech->slots[i].name; i++)
                if (promise_is_out(row, i) && p->slots[i].dtype)
                    promise_same(row, i, out[i], want[i], "threads or instruction set");
        }
}

static void bits_gradients(promise_call *p, attn_ctx *ctx, attn_tensor *d_slots)
{
    const gallery_row *row = p->draw.row;
    test_rng rng = test_rng_make(9);
    gallery_gradients(&p->draw, ATTN_DTYPE_F32, &rng, p->slots, d_slots);
    bool in = false, out = false;
    for (int i = 0; row->mech->slots[i].name; i++) {
        if (!d_slots[i].dtype) continue;
        d_slots[i] = test_tensor_dense(&p->draw.arena, d_slots[i], ATTN_DTYPE_NONE);
        *(promise_is_out(row, i) ? &out : &in) = true;
    }
    if (!in || !out) return;
    assert_int_equal(
        attn_mech_run_grad(ctx, row->mech, p->slots, d_slots, p->draw.call.params, NULL),
        ATTN_OK);
}

static void bits_of(const gallery_row *row)
{
    promise_call p;
    attn_tensor want[ATTN_MAX_SLOTS], one[ATTN_MAX_SLOTS], other[ATTN_MAX_SLOTS];
    for (int c = 0; row->oracle->cases[c]; c++) {
        promise_draw(&p, row, row->oracle->cases[c], ATTN_DTYPE_F32);
        promise_run(&p, NULL, p.slots, want);
        bits_forward(&p, want);
        bits_gradients(&p, test_contexts_get(&contexts, contexts.usable[0], 1), one);
        bits_gradients(
            &p, test_contexts_get(&contexts, contexts.usable[contexts.n_usable - 1], 3), other);
        for (int i = 0; row->mech->slots[i].name; i++)
            if (one[i].dtype)
                promise_same(row, i, one[i], other[i], "its gradient, by threads");
        gallery_free(&p.draw);
    }
}

static void test_bits(void **state)
{
    (void)state;
    gallery_each(bits_of);
}

/* ---- traits ------------------------------------------------------------------------------ */

static int trait_slot(const gallery_row *row, const char *name)
{
    return attn_mech_slot(row->mech, name);
}

/* With v all ones the result is ones wherever some key is allowed: everywhere without a mask.
 */
static void trait_rows_sum_1(promise_call *p)
{
    const gallery_row *row = p->draw.row;
    const int v = trait_slot(row, "v"), out = trait_slot(row, "out"),
              mask = trait_slot(row, "mask"), sink = trait_slot(row, "sink");
    attn_tensor got[ATTN_MAX_SLOTS];
    assert_true(v >= 0 && out >= 0);
    if (sink >= 0) p->slots[sink] = (attn_tensor){0}; /* takes a share */
    test_fill_value(&p->slots[v], 1);
    if (mask >= 0 && p->slots[mask].dtype) test_fill_value(&p->slots[mask], 1);
    promise_run(p, NULL, p->slots, got);
    int64_t index[ATTN_MAX_RANK] = {0};
    do
        if (fabs(test_get(&got[out], index) - 1) > 1e-9)
            fail_msg("%s: a row of weights sums to %.9g", row->name,
                     test_get(&got[out], index));
    while (test_index_next(&got[out], index));
}

/* Every slot along S in the opposite order. */
static attn_tensor trait_reversed(const gallery_row *row, int i, attn_tensor t)
{
    int dim = 0;
    for (const char *p = row->mech->slots[i].shape; *p; p++) {
        if (*p == ' ') dim++;
        if (*p != 'S' || (p[1] != ' ' && p[1] != 0)) continue;
        t.data = (char *)t.data +
                 (t.shape[dim] - 1) * t.stride[dim] * (int64_t)attn_dtype_size(t.dtype);
        t.stride[dim] = -t.stride[dim];
    }
    return t;
}

static void trait_near(const gallery_row *row, int i, attn_tensor a, attn_tensor b,
                       const char *what)
{
    int64_t index[ATTN_MAX_RANK] = {0}, n = 0;
    double *want = malloc((size_t)(attn_tensor_count(b) + 1) * sizeof *want);
    if (!test_tensor_empty(&b)) {
        do want[n++] = test_get(&b, index);
        while (test_index_next(&b, index));
    }
    const double error = gallery_error(&a, want);
    free(want);
    if (!(error <= 1e-9))
        fail_msg("%s: %s is off by %.3g: %s", row->name, row->mech->slots[i].name, error, what);
}

static void trait_key_permutable(promise_call *p)
{
    const gallery_row *row = p->draw.row;
    const int out = trait_slot(row, "out");
    attn_tensor other[ATTN_MAX_SLOTS], want[ATTN_MAX_SLOTS], got[ATTN_MAX_SLOTS];
    promise_causal(p, "false");
    promise_run(p, NULL, p->slots, want);
    memcpy(other, p->slots, sizeof other);
    for (int i = 0; row->mech->slots[i].name; i++)
        if (other[i].dtype && !promise_is_out(row, i))
            other[i] = trait_reversed(row, i, other[i]);
    promise_run(p, NULL, other, got);
    trait_near(row, out, got[out], want[out], "keys in another order");
}

static void trait_linear_in_v(promise_call *p)
{
    const gallery_row *row = p->draw.row;
    const int v = trait_slot(row, "v"), out = trait_slot(row, "out");
    attn_tensor want[ATTN_MAX_SLOTS], got[ATTN_MAX_SLOTS];
    int64_t index[ATTN_MAX_RANK] = {0};
    assert_true(v >= 0);
    promise_run(p, NULL, p->slots, want);
    do test_put(&p->slots[v], index, -2 * test_get(&p->slots[v], index));
    while (test_index_next(&p->slots[v], index));
    promise_run(p, NULL, p->slots, got);
    memset(index, 0, sizeof index);
    do test_put(&want[out], index, -2 * test_get(&want[out], index));
    while (test_index_next(&want[out], index));
    trait_near(row, out, got[out], want[out], "not linear in v");
}

/* Entry b alone, as a batch of one: parts of every slot that has a batch. */
static void trait_batch_free(promise_call *p)
{
    const gallery_row *row = p->draw.row;
    attn_tensor part[ATTN_MAX_SLOTS], want[ATTN_MAX_SLOTS], got[ATTN_MAX_SLOTS];
    promise_run(p, NULL, p->slots, want);
    for (int64_t b = 0; b < gallery_size(&p->draw.call, 'B'); b++) {
        memcpy(part, p->slots, sizeof part);
        for (int i = 0; row->mech->slots[i].name; i++)
            if (part[i].dtype) part[i] = promise_part(row, i, &part[i], 'B', b, 1);
        promise_run(p, NULL, part, got);
        for (int i = 0; row->mech->slots[i].name; i++)
            if (promise_is_out(row, i) && p->slots[i].dtype && promise_has(row, i, 'B'))
                promise_same(row, i, got[i], promise_part(row, i, &want[i], 'B', b, 1),
                             "alone and in a batch");
    }
}

static void trait_masked_row_zero(promise_call *p)
{
    const gallery_row *row = p->draw.row;
    const int mask = trait_slot(row, "mask"), out = trait_slot(row, "out");
    attn_tensor got[ATTN_MAX_SLOTS];
    int64_t index[ATTN_MAX_RANK] = {0};
    assert_true(mask >= 0);
    if (!p->slots[mask].dtype || test_tensor_empty(&p->slots[mask])) return;
    test_fill_value(&p->slots[mask], 0);
    promise_run(p, NULL, p->slots, got);
    do
        if (test_get(&got[out], index) != 0)
            fail_msg("%s: everything is masked, and out is not 0", row->name);
    while (test_index_next(&got[out], index));
}

/* The first half of the rows, when what comes later is another thing. */
static void trait_causal(promise_call *p)
{
    const gallery_row *row = p->draw.row;
    const int64_t T = gallery_size(&p->draw.call, 'T'), half = T / 2;
    const int out = trait_slot(row, "out");
    attn_tensor want[ATTN_MAX_SLOTS], got[ATTN_MAX_SLOTS];
    test_rng rng = test_rng_make(23);
    promise_causal(p, "true");
    promise_run(p, NULL, p->slots, want);
    for (int i = 0; row->mech->slots[i].name; i++) {
        if (promise_is_out(row, i) || !p->slots[i].dtype || !promise_has(row, i, 'T')) continue;
        if (row->mech->slots[i].kind & (ATTN_IDS | ATTN_FLAGS)) continue;
        attn_tensor late = promise_part(row, i, &p->slots[i], 'T', half, T - half);
        test_fill_normal(&late, &rng, 1);
    }
    promise_run(p, NULL, p->slots, got);
    promise_same(row, out, promise_part(row, out, &got[out], 'T', 0, half),
                 promise_part(row, out, &want[out], 'T', 0, half), "what comes later");
}

static void trait_steps(promise_call *p)
{
    const gallery_row *row = p->draw.row;
    const int out = trait_slot(row, "out");
    attn_tensor part[ATTN_MAX_SLOTS], want[ATTN_MAX_SLOTS], got[ATTN_MAX_SLOTS];
    promise_causal(p, "true");
    promise_run(p, NULL, p->slots, want);
    for (int64_t n = 1; n < gallery_size(&p->draw.call, 'T'); n++) {
        memcpy(part, p->slots, sizeof part);
        for (int i = 0; row->mech->slots[i].name; i++)
            if (part[i].dtype) part[i] = promise_part(row, i, &part[i], 'T', 0, n);
        promise_run(p, NULL, part, got);
        promise_same(row, out, got[out], promise_part(row, out, &want[out], 'T', 0, n),
                     "the first rows alone");
    }
}

static const struct {
    uint32_t bit;
    void (*check)(promise_call *p);
} trait_checks[] = {
    {ATTN_ROWS_SUM_1, trait_rows_sum_1},
    {ATTN_KEY_PERMUTABLE, trait_key_permutable},
    {ATTN_LINEAR_IN_V, trait_linear_in_v},
    {ATTN_BATCH_FREE, trait_batch_free},
    {ATTN_CAUSAL, trait_causal},
    {ATTN_STEPS, trait_steps},
    {ATTN_MASKED_ROW_ZERO, trait_masked_row_zero},
};

static void traits_of(const gallery_row *row)
{
    for (size_t i = 0; i < sizeof trait_checks / sizeof trait_checks[0]; i++)
        for (int c = 0; row->oracle->cases[c]; c++) {
            promise_call p;
            if (!(row->mech->traits & trait_checks[i].bit)) continue;
            promise_draw(&p, row, row->oracle->cases[c], ATTN_DTYPE_F64);
            trait_checks[i].check(&p);
            gallery_free(&p.draw);
        }
}

static void test_traits(void **state)
{
    (void)state;
    gallery_each(traits_of);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_traits),
    };
    return cmocka_run_group_tests(tests, contexts_setup, contexts_finish);
}
