/* SPDX-License-Identifier: MIT
 * What every mechanism of the table answers to bad calls: a missing slot, a dimension too many,
 * a size that disagrees, elements of the wrong kind, ids beyond their end, an output over an
 * input, numbers that are not finite, gradients of integers, and memory that runs out at any
 * point. Each time a status with a sentence that names a slot, and no output touched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "gallery_run.h"

typedef struct bad_call {
    gallery_draw draw;
    attn_tensor slots[ATTN_MAX_SLOTS], d_slots[ATTN_MAX_SLOTS];
} bad_call;

static void bad_draw(bad_call *b, const gallery_row *row)
{
    test_rng rng = test_rng_make(29);
    gallery_draw_case(&b->draw, row, row->oracle->cases[0], 31, false);
    gallery_tensors(&b->draw, ATTN_DTYPE_F32, &rng, b->slots);
    gallery_gradients(&b->draw, ATTN_DTYPE_F32, &rng, b->slots, b->d_slots);
}

static void bad_untouched(const bad_call *b, const char *what)
{
    const gallery_row *row = b->draw.row;
    for (int i = 0; row->mech->slots[i].name; i++)
        if ((row->mech->slots[i].kind & ATTN_OUT) && !gallery_untouched(&b->slots[i]))
            fail_msg("%s, %s: %s was touched", row->name, what, row->mech->slots[i].name);
}

/* The call must be refused, with a sentence that says where. */
static void bad_refused(bad_call *b, const attn_tensor *slots, const char *what,
                        const char *slot)
{
    const gallery_row *row = b->draw.row;
    attn_error error = {0};
    const attn_status status =
        attn_mech_run(NULL, row->mech, slots, b->draw.call.params, &error);
    if (status == ATTN_OK) fail_msg("%s takes %s %s", row->name, what, slot);
    if (error.status != status || !error.what || !error.where)
        fail_msg("%s, %s %s: no sentence", row->name, what, slot);
    bad_untouched(b, what);
}

/* ---- slots ------------------------------------------------------------------------------- */

static void bad_missing(bad_call *b, int i, const attn_slot *slot)
{
    attn_tensor slots[ATTN_MAX_SLOTS];
    if (slot->kind & (ATTN_OPTIONAL | ATTN_OUT)) return;
    memcpy(slots, b->slots, sizeof slots);
    slots[i] = (attn_tensor){0};
    bad_refused(b, slots, "a call without", slot->name);
}

static void bad_no_data(bad_call *b, int i, const attn_slot *slot)
{
    attn_tensor slots[ATTN_MAX_SLOTS];
    if (slot->kind & ATTN_OUT) return;
    memcpy(slots, b->slots, sizeof slots);
    slots[i].data = NULL;
    bad_refused(b, slots, "NULL as the data of", slot->name);
}

static void bad_rank(bad_call *b, int i, const attn_slot *slot)
{
    attn_tensor slots[ATTN_MAX_SLOTS];
    memcpy(slots, b->slots, sizeof slots);
    if (slots[i].rank == ATTN_MAX_RANK) return;
    slots[i].shape[slots[i].rank] = 1;
    slots[i].stride[slots[i].rank++] = 1;
    bad_refused(b, slots, "one more dimension of", slot->name);
}

/* A size along a letter that another slot has too. */
static void bad_size(bad_call *b, int i, const attn_slot *slot)
{
    attn_tensor slots[ATTN_MAX_SLOTS];
    int dim = 0;
    if (slot->shape[0] == '*' || !(slot->kind & ATTN_OUT)) return;
    for (const char *p = slot->shape; *p; p++) {
        if (*p == ' ') dim++;
        if (*p < 'A' || *p > 'Z') continue;
        memcpy(slots, b->slots, sizeof slots);
        slots[i].shape[dim] -= 1;
        if (slots[i].shape[dim] > 0)
            bad_refused(b, slots, "a smaller dimension of", slot->name);
    }
}

static void bad_dtype(bad_call *b, int i, const attn_slot *slot)
{
    attn_tensor slots[ATTN_MAX_SLOTS];
    memcpy(slots, b->slots, sizeof slots);
    if (slot->kind & ATTN_OUT) return;
    slots[i] = test_tensor(
        &b->draw.arena, slot->kind & (ATTN_IDS | ATTN_FLAGS) ? ATTN_DTYPE_F32 : ATTN_DTYPE_I32,
        slots[i].rank, slots[i].shape);
    bad_refused(b, slots, "another kind of elements in", slot->name);
}

static void bad_ids(bad_call *b, int i, const attn_slot *slot)
{
    attn_tensor slots[ATTN_MAX_SLOTS];
    const int64_t first[ATTN_MAX_RANK] = {0};
    if (!slot->below || test_tensor_empty(&b->slots[i])) return;
    memcpy(slots, b->slots, sizeof slots);
    slots[i] = test_tensor_dense(&b->draw.arena, slots[i], ATTN_DTYPE_I64);
    test_put(&slots[i], first, -1);
    bad_refused(b, slots, "the id -1 in", slot->name);
    test_put(&slots[i], first, 1e6);
    bad_refused(b, slots, "the id 1000000 in", slot->name);
}

static void bad_overlap(bad_call *b, int i, const attn_slot *slot)
{
    attn_tensor slots[ATTN_MAX_SLOTS];
    int out = 0;
    while (!(b->draw.row->mech->slots[out].kind & ATTN_OUT)) out++;
    if (slot->kind & (ATTN_OUT | ATTN_IDS | ATTN_FLAGS)) return;
    if (test_tensor_empty(&b->slots[i]) || test_tensor_empty(&b->slots[out])) return;
    memcpy(slots, b->slots, sizeof slots);
    slots[i] = test_tensor_dense(&b->draw.arena, slots[i], ATTN_DTYPE_NONE);
    slots[out].data = slots[i].data;
    const attn_tensor input = test_tensor_dense(&b->draw.arena, slots[i], ATTN_DTYPE_NONE);
    bad_refused(b, slots, "an output over", slot->name);
    assert_true(test_same_bits(input, slots[i]));
}

static void slots_of(const gallery_row *row)
{
    static void (*const tries[])(bad_call *, int, const attn_slot *) = {
        bad_missing, bad_no_data, bad_rank, bad_size, bad_dtype, bad_ids, bad_overlap};
    bad_call b;
    bad_draw(&b, row);
    for (int i = 0; row->mech->build && row->mech->slots[i].name; i++)
        for (size_t n = 0; n < sizeof tries / sizeof tries[0]; n++)
            if (b.slots[i].dtype) tries[n](&b, i, &row->mech->slots[i]);
    gallery_free(&b.draw);
}

static void test_slots(void **state)
{
    (void)state;
    gallery_each(slots_of);
}

/* ---- parameters and gradients ------------------------------------------------------------ */

static void numbers_of(const gallery_row *row)
{
    static const double odd[] = {(double)NAN, (double)INFINITY, -(double)INFINITY};
    bad_call b;
    bad_draw(&b, row);
    attn_value *params = b.draw.call.params;
    for (int i = 0; row->mech->build && row->mech->params[i].name; i++) {
        const attn_value was = params[i];
        for (size_t n = 0; row->mech->params[i].kind == 'f' && n < 3; n++) {
            params[i].f = odd[n];
            bad_refused(&b, b.slots, "no finite", row->mech->params[i].name);
        }
        params[i] = was;
    }
    gallery_free(&b.draw);
}

static void test_numbers(void **state)
{
    (void)state;
    gallery_each(numbers_of);
}

/* A gradient of whole numbers would be rounded to nothing. */
static void gradients_of(const gallery_row *row)
{
    bad_call b;
    bad_draw(&b, row);
    for (int i = 0; row->mech->slots[i].name; i++) {
        attn_tensor d_slots[ATTN_MAX_SLOTS];
        attn_error error = {0};
        if (!b.d_slots[i].dtype) continue;
        memcpy(d_slots, b.d_slots, sizeof d_slots);
        d_slots[i] =
            test_tensor(&b.draw.arena, ATTN_DTYPE_I64, b.d_slots[i].rank, b.d_slots[i].shape);
        const attn_status status =
            attn_mech_run_grad(NULL, row->mech, b.slots, d_slots, b.draw.call.params, &error);
        if (status != ATTN_E_DTYPE)
            fail_msg("%s: d_%s of integers gives %s", row->name, row->mech->slots[i].name,
                     attn_status_name(status));
        bad_untouched(&b, "a gradient of integers");
    }
    gallery_free(&b.draw);
}

static void test_gradients(void **state)
{
    (void)state;
    gallery_each(gradients_of);
}

/* ---- memory that runs out ---------------------------------------------------------------- */

typedef struct bad_memory {
    pthread_mutex_t lock;
    int64_t calls, fail_at, live;
} bad_memory;

static void *memory_alloc(void *user, void *ptr, size_t old_size, size_t new_size, size_t align)
{
    bad_memory *m = user;
    void *p = NULL;
    (void)old_size;
    pthread_mutex_lock(&m->lock);
    if (ptr) free(ptr), m->live--;
    if (new_size && m->calls++ != m->fail_at)
        p = aligned_alloc(align, (new_size + align - 1) / align * align);
    if (p) m->live++;
    pthread_mutex_unlock(&m->lock);
    return p;
}

/* Allocation n fails, for every n or (of many) a spread of them, until one call succeeds. */
static void memory_tries(bad_call *b, attn_ctx *ctx, bad_memory *m, bool backward)
{
    const attn_mech *mech = b->draw.row->mech;
    const int64_t live = m->live;
    for (int64_t n = 0;; n += 1 + n / 24) {
        m->calls = 0, m->fail_at = n;
        const attn_status status =
            backward
                ? attn_mech_run_grad(ctx, mech, b->slots, b->d_slots, b->draw.call.params, NULL)
                : attn_mech_run(ctx, mech, b->slots, b->draw.call.params, NULL);
        if (m->live != live)
            fail_msg("%s: memory is lost when allocation %d fails", mech->name, (int)n);
        if (status == ATTN_OK) break;
        if (status != ATTN_E_MEMORY)
            fail_msg("%s: status %d without memory", mech->name, status);
        bad_untouched(b, "without memory");
    }
}

static void memory_of(const gallery_row *row)
{
    bad_memory m = {.lock = PTHREAD_MUTEX_INITIALIZER, .fail_at = -1};
    attn_ctx *ctx;
    bad_call b;
    bool in = false, out = false;
    assert_int_equal(
        attn_ctx_create(
            &ctx, &ATTN_CONFIG(.threads = 1, .alloc = memory_alloc, .alloc_user = &m), NULL),
        ATTN_OK);
    bad_draw(&b, row);
    for (int i = 0; row->mech->slots[i].name; i++)
        if (b.d_slots[i].dtype) *(row->mech->slots[i].kind & ATTN_OUT ? &in : &out) = true;
    if (in && out) memory_tries(&b, ctx, &m, true);
    gallery_free(&b.draw);
    bad_draw(&b, row);
    memory_tries(&b, ctx, &m, false);
    gallery_free(&b.draw);
    attn_ctx_destroy(ctx);
    assert_int_equal(m.live, 0);
}

static void test_memory(void **state)
{
    (void)state;
    gallery_each(memory_of);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slots),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
