/* SPDX-License-Identifier: MIT
 * The vocabulary of vec/avx512.h as a table for test_vec. */
#define VEC_NAME avx512
#include "kernel/vec/avx512.h"

#include "vec_body.h"
