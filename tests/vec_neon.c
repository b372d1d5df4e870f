/* SPDX-License-Identifier: MIT
 * The vocabulary of vec/neon.h as a table for test_vec. */
#define VEC_NAME neon
#include "kernel/vec/neon.h"

#include "vec_body.h"
