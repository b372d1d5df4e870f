/* SPDX-License-Identifier: MIT
 * some.c: weigh and spread over the allowed pairs alone, for rows that are not finite. A part of
 * engine.h. */
#ifndef ATTN__ENGINE_SOME_H
#define ATTN__ENGINE_SOME_H

#include "kernel/kernel.h"

/* n rows stride reals apart. */
bool attn__rows_finite(const attn__kernels *k, int64_t n, int64_t width, const char *rows,
                       int64_t stride);
void attn__weigh_some(const attn__kernels *k, int64_t n, int w, int64_t width, const void *a,
                      const char *rows, int64_t stride, const uint64_t *allowed, bool fresh,
                      void *acc);
/* allowed[part]: [n] words. */
void attn__spread_some(const attn__kernels *k, int64_t n, int64_t width, int parts,
                       const attn__part *part, const uint64_t *const *allowed, double *acc);

#endif
