/* SPDX-License-Identifier: MIT
 * What a caller may leave out or ask for otherwise changes nothing else: one gradient alone has
 * the bits it has among all, the gradients of outputs one by one add up to those of all, two
 * threads with one context get what one gets, results in other types are rounded from the same
 * numbers, and where there is nothing gradients are numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <pthread.h>
#include <string.h>
#include <cmocka.h>

#include "gallery_run.h"

typedef struct parts_call {
    gallery_draw draw;
    attn_ctx *ctx;
    attn_tensor slots[ATTN_MAX_SLOTS], d_slots[ATTN_MAX_SLOTS];
    attn_status status;
    attn_error error;
} parts_call;

static void parts_draw(parts_call *p, const gallery_row *row, attn_dtype real)
{
    test_rng rng = test_rng_make(4);
    *p = (parts_call){0};
    gallery_draw_case(&p->draw, row, row->oracle->cases[0], 9, false);
    gallery_tensors(&p->draw, real, &rng, p->slots);
    gallery_gradients(&p->draw, real, &rng, p->slots, p->d_slots);
}

static void *parts_run(void *arg)
{
    parts_call *p = arg;
    p->status = attn_mech_run_grad(p->ctx, p->draw.call.mech, p->slots, p->d_slots,
                                   p->draw.call.params, &p->error);
    return NULL;
}

static void parts_go(parts_call *p, const char *what, int slot)
{
    char said[256];
    parts_run(p);
    if (p->status == ATTN_OK) return;
    attn_error_text(&p->error, said, sizeof said);
    fail_msg("%s, %s %s: %s", p->draw.row->name, what, p->draw.call.mech->slots[slot].name,
             said);
}

static bool parts_out(const parts_call *p, int i)
{
    return p->draw.call.mech->slots[i].kind & ATTN_OUT;
}

/* Leaves out every gradient that goes out (outs: comes in) but that of slot i. */
static void parts_only(parts_call *p, int i, bool outs)
{
    for (int k = 0; p->draw.call.mech->slots[k].name; k++)
        if (k != i && parts_out(p, k) == outs) p->d_slots[k] = (attn_tensor){0};
}

static void parts_same(const parts_call *a, const parts_call *b, const char *what)
{
    for (int i = 0; a->draw.call.mech->slots[i].name; i++) {
        const bool out = parts_out(a, i);
        const attn_tensor *x = out ? &a->slots[i] : &a->d_slots[i];
        const attn_tensor *y = out ? &b->slots[i] : &b->d_slots[i];
        if (x->dtype && y->dtype && !test_same_bits(*x, *y))
            fail_msg("%s: %s%s has other bits %s", a->draw.row->name, out ? "" : "d_",
                     a->draw.call.mech->slots[i].name, what);
    }
}

/* ---- one gradient of many ---------------------------------------------------------------- */

static void alone_of(const gallery_row *row)
{
    parts_call all, one;
    parts_draw(&all, row, ATTN_DTYPE_F32);
    parts_go(&all, "all gradients", 0);
    for (int i = 0; row->mech->slots[i].name; i++) {
        if (parts_out(&all, i) || !all.d_slots[i].dtype) continue;
        parts_draw(&one, row, ATTN_DTYPE_F32);
        parts_only(&one, i, false);
        parts_go(&one, "only the gradient of", i);
        parts_same(&all, &one, "alone");
        gallery_free(&one.draw);
    }
    gallery_free(&all.draw);
}

static void test_alone(void **state)
{
    (void)state;
    gallery_each(alone_of);
}

/* ---- one output of many ------------------------------------------------------------------ */

/* sum += d of every input, where there is a place for it. */
static void outputs_add(const parts_call *p, double **sum)
{
    for (int i = 0; p->draw.call.mech->slots[i].name; i++) {
        int64_t index[ATTN_MAX_RANK] = {0}, n = 0;
        if (!sum[i]) continue;
        do sum[i][n++] += test_get(&p->d_slots[i], index);
        while (test_index_next(&p->d_slots[i], index));
    }
}

static void outputs_of(const gallery_row *row)
{
    parts_call all, one;
    double *sum[ATTN_MAX_SLOTS] = {0};
    parts_draw(&all, row, ATTN_DTYPE_F64);
    parts_go(&all, "all gradients", 0);
    for (int i = 0; row->mech->slots[i].name; i++)
        if (!parts_out(&all, i) && all.d_slots[i].dtype && !test_tensor_empty(&all.d_slots[i]))
            sum[i] = gallery_new(&all.draw.call, attn_tensor_count(all.d_slots[i]));
    for (int i = 0; row->mech->slots[i].name; i++) {
        if (!parts_out(&all, i) || !all.d_slots[i].dtype) continue;
        parts_draw(&one, row, ATTN_DTYPE_F64);
        parts_only(&one, i, true);
        parts_go(&one, "only the gradient by", i);
        outputs_add(&one, sum);
        gallery_free(&one.draw);
    }
    for (int i = 0; row->mech->slots[i].name; i++)
        if (sum[i] && !(gallery_error(&all.d_slots[i], sum[i]) <= 1e-11))
            fail_msg("%s: d_%s is not the sum over outputs", row->name,
                     row->mech->slots[i].name);
    gallery_free(&all.draw);
}

static void test_outputs(void **state)
{
    (void)state;
    gallery_each(outputs_of);
}

/* ---- threads ----------------------------------------------------------------------------- */

static attn_ctx *threads_ctx;

static void threads_of(const gallery_row *row)
{
    parts_call alone, both[2];
    pthread_t thread[2];
    parts_draw(&alone, row, ATTN_DTYPE_F32);
    parts_go(&alone, "alone", 0);
    for (int i = 0; i < 2; i++) {
        parts_draw(&both[i], row, ATTN_DTYPE_F32);
        both[i].ctx = threads_ctx;
    }
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, parts_run, &both[i]), 0);
    for (int i = 0; i < 2; i++) pthread_join(thread[i], NULL);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(both[i].status, ATTN_OK);
        parts_same(&alone, &both[i], "beside another call with the same context");
        gallery_free(&both[i].draw);
    }
    gallery_free(&alone.draw);
}

static void test_threads(void **state)
{
    (void)state;
    assert_int_equal(attn_ctx_create(&threads_ctx, &ATTN_CONFIG(.threads = 2), NULL), ATTN_OK);
    gallery_each(threads_of);
    attn_ctx_destroy(threads_ctx);
}

/* ---- types ------------------------------------------------------------------------------- */

static void types_narrow(parts_call *p, attn_dtype real)
{
    for (int i = 0; p->draw.call.mech->slots[i].name; i++) {
        attn_tensor *t = parts_out(p, i) ? &p->slots[i] : &p->d_slots[i];
        if (t->dtype == ATTN_DTYPE_F32)
            *t = test_tensor(&p->draw.arena, real, t->rank, t->shape);
    }
}

/* Values, because the helper that rounds here makes 0 of what is below 0 and tiny. */
static bool types_equal(attn_tensor a, attn_tensor b)
{
    int64_t index[ATTN_MAX_RANK] = {0};
    if (test_tensor_empty(&a)) return true;
    do {
        const double x = test_get(&a, index), y = test_get(&b, index);
        if (x != y && !(isnan(x) && isnan(y))) return false;
    } while (test_index_next(&a, index));
    return true;
}

static void types_compare(parts_call *narrow, parts_call *wide, attn_dtype real)
{
    for (int i = 0; wide->draw.call.mech->slots[i].name; i++) {
        const bool out = parts_out(wide, i);
        const attn_tensor *w = out ? &wide->slots[i] : &wide->d_slots[i];
        const attn_tensor *n = out ? &narrow->slots[i] : &narrow->d_slots[i];
        if (w->dtype != ATTN_DTYPE_F32) continue;
        const attn_tensor rounded = test_tensor_dense(&wide->draw.arena, *w, real);
        if (!types_equal(rounded, *n))
            fail_msg("%s: %s%s in %s is not the rounded one", wide->draw.row->name,
                     out ? "" : "d_", wide->draw.call.mech->slots[i].name,
                     attn_dtype_name(real));
    }
}

static void types_of(const gallery_row *row)
{
    static const attn_dtype types[] = {ATTN_DTYPE_BF16, ATTN_DTYPE_F16, ATTN_DTYPE_F64};
    for (size_t n = 0; row->mech->build && n < sizeof types / sizeof types[0]; n++) {
        parts_call wide, narrow;
        parts_draw(&wide, row, ATTN_DTYPE_F32);
        parts_go(&wide, "f32", 0);
        parts_draw(&narrow, row, ATTN_DTYPE_F32);
        types_narrow(&narrow, types[n]);
        parts_go(&narrow, attn_dtype_name(types[n]), 0);
        types_compare(&narrow, &wide, types[n]);
        gallery_free(&narrow.draw);
        gallery_free(&wide.draw);
    }
}

static void test_types(void **state)
{
    (void)state;
    gallery_each(types_of);
}

/* ---- nothing ----------------------------------------------------------------------------- */

static void nothing_gradients(const parts_call *p, const char *text, bool zero)
{
    for (int i = 0; p->draw.call.mech->slots[i].name; i++) {
        const attn_tensor *d = &p->d_slots[i];
        int64_t index[ATTN_MAX_RANK] = {0};
        if (parts_out(p, i) || !d->dtype || test_tensor_empty(d)) continue;
        do {
            const double x = test_get(d, index);
            if (zero ? x != 0 : isnan(x))
                fail_msg("%s, %s: d_%s is %g", p->draw.row->name, text,
                         p->draw.call.mech->slots[i].name, x);
        } while (test_index_next(d, index));
    }
}

/* No sequence at all is taken; no length may be refused, but if not it spoils no gradient. */
static void nothing_of(const gallery_row *row)
{
    char letters[32], text[8];
    snprintf(letters, sizeof letters, "B%s", row->mech->grows);
    for (const char *l = letters; row->mech->build && *l; l++) {
        parts_call p = {0};
        test_rng rng = test_rng_make(3);
        snprintf(text, sizeof text, "%c=0", *l);
        gallery_draw_bare(&p.draw, row, text, 5);
        gallery_tensors(&p.draw, ATTN_DTYPE_F32, &rng, p.slots);
        gallery_gradients(&p.draw, ATTN_DTYPE_F32, &rng, p.slots, p.d_slots);
        if (*l == 'B')
            parts_go(&p, "no batch by", 0);
        else
            parts_run(&p);
        if (p.status == ATTN_OK) nothing_gradients(&p, text, *l == 'B');
        gallery_free(&p.draw);
    }
}

static void test_nothing(void **state)
{
    (void)state;
    gallery_each(nothing_of);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alone), cmocka_unit_test(test_outputs),
        cmocka_unit_test(test_threads), cmocka_unit_test(test_types),
        cmocka_unit_test(test_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
