/* SPDX-License-Identifier: MIT
 * For programs whose cases run in contexts of every usable instruction set and any number of
 * threads: the contexts, made once a program. */
#ifndef ATTN_TESTS_CONTEXTS_H
#define ATTN_TESTS_CONTEXTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/support.h"

static test_contexts contexts;

static inline int contexts_setup(void **state)
{
    (void)state;
    test_contexts_init(&contexts);
    return 0;
}

static inline int contexts_finish(void **state)
{
    (void)state;
    test_contexts_free(&contexts);
    return 0;
}

#endif
