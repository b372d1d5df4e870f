/* SPDX-License-Identifier: MIT
 * Identities of two mechanisms: one call gets what the other was given, by the names of
 * slots. */
#ifndef ATTN_TESTS_GALLERY_SHARE_H
#define ATTN_TESTS_GALLERY_SHARE_H

#include "gallery_one.h"

/* Inputs of a become those of b where the name and the size are the same. */
static inline void share_inputs(gallery_one *a, const gallery_one *b)
{
    for (int i = 0; a->row.mech->slots[i].name; i++) {
        const char *name = a->row.mech->slots[i].name;
        const int other = attn_mech_slot(b->row.mech, name);
        if (other < 0 || !a->draw.given[i].dtype || !b->draw.given[other].dtype) continue;
        if (a->draw.call.count[i] == b->draw.call.count[other])
            one_copy(a, name, b->draw.given[other].data);
    }
}

/* Opens two calls of one size; b gets what a has. */
static inline void share_open(gallery_one *a, const char *name_a, const char *text_a,
                              gallery_one *b, const char *name_b, const char *text_b)
{
    one_open(a, name_a, text_a, 1);
    one_open(b, name_b, text_b, 2);
    share_inputs(b, a);
}

static inline void share_run(gallery_one *a, gallery_one *b)
{
    one_run(a);
    one_run(b);
}

/* Output a's slot is b's, and both are closed. */
static inline void share_same(gallery_one *a, const char *slot_a, gallery_one *b,
                              const char *slot_b, const char *what)
{
    assert_int_equal(one_count(a, slot_a), one_count(b, slot_b));
    one_near(one_at(a, slot_a), one_at(b, slot_b), one_count(a, slot_a), what);
}

static inline void share_close(gallery_one *a, gallery_one *b)
{
    one_close(a);
    one_close(b);
}

static inline double share_sum(const double *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i];
    return sum;
}

#endif
