/* SPDX-License-Identifier: MIT
 * The bodies on vec/scalar.h in f32. */
#define VEC_NAME  scalar
#define REAL_BITS 32
#include "vec/scalar.h"

#include "body/all.h"
