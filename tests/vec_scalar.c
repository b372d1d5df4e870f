/* SPDX-License-Identifier: MIT
 * The vocabulary of vec/scalar.h as a table for test_vec. */
#define VEC_NAME scalar
#include "kernel/vec/scalar.h"

#include "vec_body.h"
