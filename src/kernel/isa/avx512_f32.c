/* SPDX-License-Identifier: MIT
 * The bodies on vec/avx512.h in f32. */
#define VEC_NAME  avx512
#define REAL_BITS 32
#include "vec/avx512.h"

#include "body/all.h"
