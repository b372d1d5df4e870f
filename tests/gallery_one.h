/* SPDX-License-Identifier: MIT
 * One call of a mechanism for tests of identities: random inputs from the text of a case, some
 * of them set by hand, outputs as plain arrays.
 *
 *     gallery_one a;
 *     one_open(&a, "bidaf", "T=5,S=1;;mask,x_mask", 7);
 *     one_fill(&a, "w", 0);
 *     one_run(&a);
 *     ... one_at(&a, "out")[i] ...
 *     one_close(&a); */
#ifndef ATTN_TESTS_GALLERY_ONE_H
#define ATTN_TESTS_GALLERY_ONE_H

#include <string.h>

#include "gallery_run.h"

typedef struct gallery_one {
    gallery_row row;
    gallery_draw draw;
} gallery_one;

static inline int one_slot(const gallery_one *a, const char *slot)
{
    const int i = attn_mech_slot(a->row.mech, slot);
    if (i < 0) fail_msg("%s has no slot %s", a->row.name, slot);
    return i;
}

/* A dense array of doubles, in the order of the slot's shape: inputs may be written before
 * one_run, outputs are there after it. */
static inline double *one_at(const gallery_one *a, const char *slot)
{
    const int i = one_slot(a, slot);
    return a->row.mech->slots[i].kind & ATTN_OUT ? a->draw.call.at[i] : a->draw.given[i].data;
}

static inline int64_t one_count(const gallery_one *a, const char *slot)
{
    return a->draw.call.count[one_slot(a, slot)];
}

static inline void one_open(gallery_one *a, const char *name, const char *text, uint64_t seed)
{
    static const gallery_oracle none = {.cases = NULL};
    const attn_mech *mech = attn_mech_find(name);
    if (!mech) fail_msg("no mechanism is called %s", name);
    a->row = (gallery_row){mech->family, mech->name, mech, &none};
    gallery_draw_case(&a->draw, &a->row, text, seed, false);
}

/* Leaves out every optional slot but that one. */
static inline void one_bare(gallery_one *a, const char *but)
{
    for (int i = 0; a->row.mech->slots[i].name; i++) {
        const attn_slot *slot = &a->row.mech->slots[i];
        if (!(slot->kind & ATTN_OPTIONAL) || strcmp(slot->name, but) == 0) continue;
        a->draw.absent[i] = true;
        a->draw.given[i] = (attn_tensor){0};
    }
}

static inline void one_close(gallery_one *a)
{
    gallery_free(&a->draw);
}

static inline void one_fill(gallery_one *a, const char *slot, double x)
{
    for (int64_t i = 0; i < one_count(a, slot); i++) one_at(a, slot)[i] = x;
}

static inline void one_copy(gallery_one *a, const char *slot, const double *from)
{
    memcpy(one_at(a, slot), from, (size_t)one_count(a, slot) * sizeof *from);
}

/* A square matrix: ones on its diagonal. */
static inline void one_identity(gallery_one *a, const char *slot, int64_t n)
{
    one_fill(a, slot, 0);
    for (int64_t i = 0; i < n; i++) one_at(a, slot)[i * n + i] = 1;
}

static inline void one_run(gallery_one *a)
{
    attn_tensor slots[ATTN_MAX_SLOTS];
    test_rng rng = test_rng_make(41);
    attn_error error = {0};
    char said[256];
    gallery_tensors(&a->draw, ATTN_DTYPE_F64, &rng, slots);
    if (attn_mech_run(NULL, a->row.mech, slots, a->draw.call.params, &error) != ATTN_OK) {
        attn_error_text(&error, said, sizeof said);
        fail_msg("%s: %s", a->row.name, said);
    }
    for (int i = 0; a->row.mech->slots[i].name; i++) {
        int64_t index[ATTN_MAX_RANK] = {0}, x = 0;
        if (!(a->row.mech->slots[i].kind & ATTN_OUT) || test_tensor_empty(&slots[i])) continue;
        if (!slots[i].dtype) continue;
        do a->draw.call.at[i][x++] = test_get(&slots[i], index);
        while (test_index_next(&slots[i], index));
    }
}

static inline void one_near(const double *got, const double *want, int64_t n, const char *what)
{
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(got[i] - want[i]) <= 1e-11 * (1 + fabs(want[i]))))
            fail_msg("%s: number %d is %.17g, not %.17g", what, (int)i, got[i], want[i]);
}

#endif
