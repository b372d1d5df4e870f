/* SPDX-License-Identifier: MIT
 * The vocabulary of vec/sve.h at 256 bits as a table for test_vec. */
#define VEC_NAME sve256
#include "kernel/vec/sve.h"

#include "vec_body.h"
