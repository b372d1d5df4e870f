/* SPDX-License-Identifier: MIT
 * The common data of known numbers: four keys and values of width two, and comparison with six
 * published digits. */
#ifndef ATTN_TESTS_GOLD_H
#define ATTN_TESTS_GOLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "support/support.h"

static test_contexts contexts;

enum { GOLD_KEYS = 4, GOLD_WIDTH = 2, GOLD_QUERIES = 3 };

#define GOLD_K                                                                                 \
    {                                                                                          \
        1, 0, 0, 1, 1, 1, -1, 0.5                                                              \
    }

static const double gold_values[GOLD_KEYS * GOLD_WIDTH] = {1, 0, 0, 1, 2, 2, -1, 1};

static inline attn_tensor gold_tensor(test_arena *arena, attn_dtype dtype, int64_t n,
                                      int64_t width, const double *values)
{
    attn_tensor t = test_tensor(arena, dtype, 2, (int64_t[]){n, width});
    for (int64_t i = 0; i < n * width && values; i++) oracle_put(dtype, t.data, i, values[i]);
    return t;
}

/* The published digits are rounded to 1e-6; f32 adds its own. */
static inline void gold_expect(const char *name, const attn_tensor *t, const double *want)
{
    double tolerance = t->dtype == ATTN_DTYPE_F64 ? 5.1e-7 : 1.5e-6;
    int64_t n = attn_tensor_count(*t);
    for (int64_t i = 0; i < n; i++) {
        double got = oracle_get(t->dtype, t->data, i);
        if (fabs(got - want[i]) > tolerance)
            fail_msg("%s: element %lld is %.9g, should be %.9g", name, (long long)i, got,
                     want[i]);
    }
}

#endif
