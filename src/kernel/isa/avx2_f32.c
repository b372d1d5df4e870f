/* SPDX-License-Identifier: MIT
 * The bodies on vec/avx2.h in f32. */
#define VEC_NAME  avx2
#define REAL_BITS 32
#include "vec/avx2.h"

#include "body/all.h"
