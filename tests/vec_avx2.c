/* SPDX-License-Identifier: MIT
 * The vocabulary of vec/avx2.h as a table for test_vec. */
#define VEC_NAME avx2
#include "kernel/vec/avx2.h"

#include "vec_body.h"
