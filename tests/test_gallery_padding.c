/* SPDX-License-Identifier: MIT
 * What a mask hides is never looked at. Huge numbers in every row of an input that its mask
 * hides leave the bits of all outputs and gradients that are not hidden themselves; and so does
 * NaN, except in gradients where a hidden row also asks: there the sum over all who ask meets
 * 0 times NaN. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <string.h>
#include <cmocka.h>

#include "gallery_run.h"

typedef struct hidden_call {
    gallery_draw draw;
    attn_tensor slots[ATTN_MAX_SLOTS], d_slots[ATTN_MAX_SLOTS];
} hidden_call;

/* Where each letter of a plain shape string stands; -1: it does not. */
static int hidden_dim(const char *shape, char letter)
{
    int dim = 0;
    for (const char *p = shape; *p; p++) {
        if (*p == ' ') dim++;
        if (*p == letter && (p == shape || p[-1] == ' ') && (p[1] == ' ' || !p[1])) return dim;
    }
    return -1;
}

/* Whether slot i has every letter of the mask and so rows that it hides. Weights of earlier
 * calls (start) are no rows: their mass walks on from where it is. */
static bool hidden_by(const attn_mech *mech, int i, int mask)
{
    if (strcmp(mech->slots[i].name, "start") == 0) return false;
    for (const char *p = mech->slots[mask].shape; *p; p++)
        if (*p != ' ' && hidden_dim(mech->slots[i].shape, *p) < 0) return false;
    return true;
}

/* Whether the mask hides element index of slot i. */
static bool hidden_at(const attn_mech *mech, int i, int mask, const attn_tensor *flags,
                      const int64_t *index)
{
    int64_t at[ATTN_MAX_RANK] = {0};
    int n = 0;
    for (const char *p = mech->slots[mask].shape; *p; p++)
        if (*p != ' ') at[n++] = index[hidden_dim(mech->slots[i].shape, *p)];
    return test_get(flags, at) == 0;
}

static void hidden_run(hidden_call *c, const char *what)
{
    attn_error error = {0};
    char said[256];
    if (attn_mech_run_grad(NULL, c->draw.call.mech, c->slots, c->d_slots, c->draw.call.params,
                           &error) == ATTN_OK)
        return;
    attn_error_text(&error, said, sizeof said);
    fail_msg("%s, %s: %s", c->draw.row->name, what, said);
}

static bool hidden_any(const hidden_call *c, int i, const int *masks, const int64_t *index)
{
    const attn_mech *mech = c->draw.call.mech;
    for (int m = 0; masks[m] >= 0; m++)
        if (hidden_by(mech, i, masks[m]) &&
            hidden_at(mech, i, masks[m], &c->slots[masks[m]], index))
            return true;
    return false;
}

/* Whether a row of an output is hidden, and so is asked by what nobody may see. */
static bool hidden_asks(const hidden_call *c, const int *masks)
{
    const attn_mech *mech = c->draw.call.mech;
    for (int i = 0; mech->slots[i].name; i++)
        for (int m = 0; (mech->slots[i].kind & ATTN_OUT) && masks[m] >= 0; m++)
            if (hidden_by(mech, i, masks[m])) return true;
    return false;
}

static void hidden_spoil(hidden_call *c, const int *masks, double by)
{
    const attn_mech *mech = c->draw.call.mech;
    for (int i = 0; mech->slots[i].name; i++) {
        int64_t index[ATTN_MAX_RANK] = {0};
        if (!c->slots[i].dtype || (mech->slots[i].kind & (ATTN_OUT | ATTN_IDS | ATTN_FLAGS)) ||
            test_tensor_empty(&c->slots[i]))
            continue;
        do
            if (hidden_any(c, i, masks, index)) test_put(&c->slots[i], index, by);
        while (test_index_next(&c->slots[i], index));
    }
}

/* Nobody asks hidden rows of an output for anything. */
static void hidden_quiet(hidden_call *c, const int *masks)
{
    const attn_mech *mech = c->draw.call.mech;
    for (int i = 0; mech->slots[i].name; i++) {
        int64_t index[ATTN_MAX_RANK] = {0};
        if (!c->d_slots[i].dtype || !(mech->slots[i].kind & ATTN_OUT) ||
            test_tensor_empty(&c->d_slots[i]))
            continue;
        do
            if (hidden_any(c, i, masks, index)) test_put(&c->d_slots[i], index, 0);
        while (test_index_next(&c->d_slots[i], index));
    }
}

static void hidden_compare(const hidden_call *c, const int *masks, int i, const attn_tensor *t,
                           const attn_tensor *want, const char *what)
{
    int64_t index[ATTN_MAX_RANK] = {0};
    if (!want->dtype || test_tensor_empty(t)) return;
    do {
        const double x = test_get(t, index), y = test_get(want, index);
        if (hidden_any(c, i, masks, index) || x == y || (isnan(x) && isnan(y))) continue;
        fail_msg("%s: %s%s is %g instead of %g", c->draw.row->name, what,
                 c->draw.call.mech->slots[i].name, x, y);
    } while (test_index_next(t, index));
}

static void hidden_open(hidden_call *c, const gallery_row *row, const char *text, int *masks)
{
    test_rng rng = test_rng_make(3);
    int n = 0;
    gallery_draw_case(&c->draw, row, text, 23, false);
    gallery_tensors(&c->draw, ATTN_DTYPE_F32, &rng, c->slots);
    gallery_gradients(&c->draw, ATTN_DTYPE_F32, &rng, c->slots, c->d_slots);
    for (int i = 0; row->mech->slots[i].name; i++)
        if (c->slots[i].dtype && strstr(row->mech->slots[i].name, "mask")) masks[n++] = i;
    masks[n] = -1;
    hidden_quiet(c, masks);
}

static void hidden_case(const gallery_row *row, const char *text, double by)
{
    hidden_call c;
    int masks[ATTN_MAX_SLOTS];
    attn_tensor want[ATTN_MAX_SLOTS] = {0}, d_want[ATTN_MAX_SLOTS] = {0};
    hidden_open(&c, row, text, masks);
    hidden_run(&c, "as it is");
    const bool gradients = isfinite(by) || !hidden_asks(&c, masks);
    for (int i = 0; row->mech->slots[i].name; i++) {
        const bool out = row->mech->slots[i].kind & ATTN_OUT;
        if (out && c.slots[i].dtype)
            want[i] = test_tensor_dense(&c.draw.arena, c.slots[i], ATTN_DTYPE_NONE);
        if (!out && gradients && c.d_slots[i].dtype)
            d_want[i] = test_tensor_dense(&c.draw.arena, c.d_slots[i], ATTN_DTYPE_NONE);
    }
    hidden_spoil(&c, masks, by);
    hidden_run(&c, "spoilt");
    for (int i = 0; row->mech->slots[i].name; i++) {
        hidden_compare(&c, masks, i, &c.slots[i], &want[i], "");
        hidden_compare(&c, masks, i, &c.d_slots[i], &d_want[i], "d_");
    }
    gallery_free(&c.draw);
}

/* Hidden tokens of lsh keep their places in the order, as its story says. */
static void hidden_of(const gallery_row *row)
{
    if (strcmp(row->name, "lsh") == 0) return;
    for (const char *const *text = row->oracle->cases; *text; text++) {
        hidden_case(row, *text, 1e30);
        hidden_case(row, *text, (double)NAN);
    }
}

static void test_hidden(void **state)
{
    (void)state;
    gallery_each(hidden_of);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_hidden)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
