/* SPDX-License-Identifier: MIT
 * The bodies on vec/avx512.h in f64. */
#define VEC_NAME  avx512
#define REAL_BITS 64
#include "vec/avx512.h"

#include "body/all.h"
