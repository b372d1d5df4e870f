/* SPDX-License-Identifier: MIT
 * The dense engine on the q, k and v of another mechanism: what tests of patterns and of
 * landmarks compare with. */
#ifndef ATTN_TESTS_GALLERY_DENSE_H
#define ATTN_TESTS_GALLERY_DENSE_H

#include "gallery_ask.h"

static inline void dense_param(ask *a, const char *name, const char *text)
{
    assert_int_equal(attn_mech_set(a->row.mech, a->draw.call.params, name, text, NULL),
                     ATTN_OK);
}

/* sizes: of softmax, as in a case. */
static inline void dense_open(ask *dense, ask *of, const char *sizes)
{
    ask_open(dense, "softmax", sizes);
    ask_bare(dense);
    *ask_at(dense, "q") = *ask_at(of, "q");
    *ask_at(dense, "k") = *ask_at(of, "k");
    *ask_at(dense, "v") = *ask_at(of, "v");
    *ask_at(dense, "out") =
        test_tensor(&dense->draw.arena, ATTN_DTYPE_F64, 4, ask_at(of, "out")->shape);
}

#endif
