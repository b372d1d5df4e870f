/* SPDX-License-Identifier: MIT
 * The bodies on vec/neon.h in f32. */
#define VEC_NAME  neon
#define REAL_BITS 32
#include "vec/neon.h"

#include "body/all.h"
