/* SPDX-License-Identifier: MIT
 * The bodies on vec/scalar.h in f64. */
#define VEC_NAME  scalar
#define REAL_BITS 64
#include "vec/scalar.h"

#include "body/all.h"
