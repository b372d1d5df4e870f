/* SPDX-License-Identifier: MIT
 * Identities between mechanisms: two calls drawn from the text of a case (see gallery_case.h),
 * slots of one put into the other, outputs compared.
 *
 *     ask a, b;
 *     ask_open(&a, "self", "T=5;causal=true"), ask_open(&b, "cross", "T=5,S=5");
 *     ask_share(&b, "y", *ask_at(&a, "x"));
 *     ask_run(&a), ask_run(&b);
 *     ask_near(*ask_at(&a, "out"), *ask_at(&b, "out"), 1e-12);
 *     ask_close(&a), ask_close(&b); */
#ifndef ATTN_TESTS_GALLERY_ASK_H
#define ATTN_TESTS_GALLERY_ASK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gallery_run.h"

typedef struct ask {
    gallery_row row;
    gallery_draw draw;
    attn_tensor slots[ATTN_MAX_SLOTS];
} ask;

/* Inputs random, f64, dense; outputs blank. */
static inline void ask_open(ask *a, const char *name, const char *text)
{
    static const gallery_oracle none = {0};
    a->row = (gallery_row){"", name, attn_mech_find(name), &none};
    assert_non_null(a->row.mech);
    test_rng rng = test_rng_make(1);
    gallery_draw_case(&a->draw, &a->row, text, 5, false);
    gallery_tensors(&a->draw, ATTN_DTYPE_F64, &rng, a->slots);
    for (int i = 0; a->row.mech->slots[i].name; i++)
        if (a->slots[i].dtype)
            a->slots[i] = test_tensor_dense(&a->draw.arena, a->slots[i], ATTN_DTYPE_NONE);
}

static inline void ask_close(ask *a)
{
    gallery_free(&a->draw);
}

static inline attn_tensor *ask_at(ask *a, const char *slot)
{
    const int i = attn_mech_slot(a->row.mech, slot);
    if (i < 0) fail_msg("%s has no slot %s", a->row.name, slot);
    return &a->slots[i];
}

static inline void ask_share(ask *a, const char *slot, attn_tensor t)
{
    *ask_at(a, slot) = t;
}

/* The same numbers, shared by slots of the same name. */
static inline void ask_share_all(ask *to, ask *from)
{
    for (int i = 0; to->row.mech->slots[i].name; i++) {
        const attn_slot *slot = &to->row.mech->slots[i];
        const int j = attn_mech_slot(from->row.mech, slot->name);
        if (j >= 0 && !(slot->kind & ATTN_OUT)) to->slots[i] = from->slots[j];
    }
}

static inline void ask_run(ask *a)
{
    attn_error error = {0};
    char said[256];
    if (attn_mech_run(NULL, a->row.mech, a->slots, a->draw.call.params, &error) == ATTN_OK)
        return;
    attn_error_text(&error, said, sizeof said);
    fail_msg("%s: %s", a->row.name, said);
}

/* Nothing that may be left out. */
static inline void ask_bare(ask *a)
{
    for (int i = 0; a->row.mech->slots[i].name; i++)
        if (a->row.mech->slots[i].kind & ATTN_OPTIONAL) a->slots[i] = (attn_tensor){0};
}

static inline double *ask_data(ask *a, const char *slot)
{
    return ask_at(a, slot)->data;
}

/* One after the other, whatever the shapes are called; the numbers are as many. */
static inline void ask_near(attn_tensor got, attn_tensor want, double allowed)
{
    int64_t i[ATTN_MAX_RANK] = {0}, j[ATTN_MAX_RANK] = {0};
    assert_int_equal(attn_tensor_count(got), attn_tensor_count(want));
    do {
        const double x = test_get(&got, i), y = test_get(&want, j);
        if (!(fabs(x - y) <= allowed * (1 + fabs(y)))) fail_msg("%.17g, wanted %.17g", x, y);
        test_index_next(&want, j);
    } while (test_index_next(&got, i));
}

/* The unit matrix of a slot of rank 2. */
static inline void ask_unit(ask *a, const char *slot)
{
    const attn_tensor *t = ask_at(a, slot);
    int64_t i[ATTN_MAX_RANK] = {0};
    do test_put(t, i, i[0] == i[1]);
    while (test_index_next(t, i));
}

#endif
