/* SPDX-License-Identifier: MIT
 * The bodies on vec/neon.h in f64. */
#define VEC_NAME  neon
#define REAL_BITS 64
#include "vec/neon.h"

#include "body/all.h"
